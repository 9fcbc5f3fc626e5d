#include "compress/prune_sparsegpt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "linalg/cholesky.h"

enum { BLOCK = 128 };
static const double damping = 0.01;

typedef struct {
    size_t  rows, columns;
    double *w; /* [rows, columns] */
    double *u; /* [columns, columns] */
    bool   *gone;
} work;

typedef struct {
    double score;
    size_t item;
} ranked;

static int by_score(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    return x->score != y->score ? (x->score > y->score) - (x->score < y->score)
                                : (x->item > y->item) - (x->item < y->item);
}

/* Factor of the inverse of the damped moments; inputs that are always 0 get a diagonal of
 * 1, and their weights are worth nothing. */
static pq_status prepare(work *s, const double *gram, pq_err *err)
{
    const size_t n    = s->columns;
    double       mean = 0.0;

    memcpy(s->u, gram, n * n * sizeof *s->u);
    for (size_t j = 0; j < n; j++) {
        if (s->u[j * n + j] <= 0.0) {
            s->u[j * n + j] = 1.0;
            for (size_t i = 0; i < s->rows; i++) {
                s->w[i * n + j] = 0.0;
            }
        }
        mean += s->u[j * n + j] / (double)n;
    }
    for (size_t j = 0; j < n; j++) {
        s->u[j * n + j] += damping * mean;
    }
    return pq_inverse_factor(n, s->u, err);
}

/* What is pruned already comes first. */
static double score_of(const work *s, size_t i, size_t j)
{
    const double x = s->w[i * s->columns + j] / s->u[j * s->columns + j];

    return s->gone[i * s->columns + j] ? -1.0 : x * x;
}

/* Chooses `count` of the n weights of rows i .. i + rows, columns from .. to. */
static void choose(work *s, size_t i, size_t rows, size_t from, size_t to, size_t count,
                   ranked *list)
{
    size_t n = 0;

    for (size_t r = i; r < i + rows; r++) {
        for (size_t j = from; j < to; j++) {
            list[n++] = (ranked){score_of(s, r, j), r * s->columns + j};
        }
    }
    qsort(list, n, sizeof *list, by_score);
    for (size_t k = 0; k < count; k++) {
        s->gone[list[k].item] = true;
    }
}

/* Zeroes what goes of a column and corrects the later ones. */
static void settle_column(work *s, size_t j)
{
    const size_t n = s->columns;

    for (size_t i = 0; i < s->rows; i++) {
        double *row = s->w + i * n;
        double  e;
        if (!s->gone[i * n + j]) {
            continue;
        }
        e      = row[j] / s->u[j * n + j];
        row[j] = 0.0;
        for (size_t k = j + 1; k < n; k++) {
            row[k] -= e * s->u[j * n + k];
        }
    }
}

static void prune_all(work *s, pq_sparsegpt_target t, ranked *list)
{
    size_t done = 0;

    for (size_t from = 0; from < s->columns; from += BLOCK) {
        const size_t to = s->columns - from < BLOCK ? s->columns : from + BLOCK;
        if (t.M == 0) {
            const size_t due = (size_t)round(t.sparsity * (double)(s->rows * to));
            choose(s, 0, s->rows, from, to, due - done, list);
            done = due;
        }
        for (size_t j = from; j < to; j++) {
            const size_t end = t.M == 0 || s->columns - j < t.M ? s->columns : j + t.M;
            for (size_t i = 0; t.M > 0 && j % t.M == 0 && i < s->rows; i++) {
                choose(s, i, 1, j, end, end - j > t.N ? end - j - t.N : 0, list);
            }
            settle_column(s, j);
        }
    }
}

pq_status pq_sparsegpt(size_t rows, size_t columns, const double *gram,
                       pq_sparsegpt_target target, float *w, bool *gone, pq_err *err)
{
    const size_t n    = rows * columns;
    work         s    = {rows, columns, NULL, NULL, gone};
    ranked      *list = NULL;
    pq_status    st;

    PQ_NEW(s.w, n);
    PQ_NEW(s.u, columns * columns);
    PQ_NEW(list, target.M > 0 ? target.M : rows * (columns < BLOCK ? columns : BLOCK));
    for (size_t i = 0; i < n; i++) {
        s.w[i] = (double)w[i];
    }
    PQ_TRY(prepare(&s, gram, err));
    prune_all(&s, target, list);
    for (size_t i = 0; i < n; i++) {
        const size_t j = i % columns;
        if (gone[i]) {
            w[i] = 0.0f;
        } else if (gram[j * columns + j] > 0.0) {
            w[i] = (float)s.w[i];
        }
    }
cleanup:
    pq_free(s.w);
    pq_free(s.u);
    pq_free(list);
    return st;
}
