/* The rows that matter of many. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "report/view.h"

/* A row, and what speaks for showing it. */
typedef struct {
    size_t row;
    int class; /* 0 chosen, 1 on the front, 2 others */
    double accuracy, bytes;
} candidate;

static int by_merit(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->class != y->class) {
        return x->class - y->class;
    }
    if (x->accuracy > y->accuracy || x->accuracy < y->accuracy) {
        return x->accuracy > y->accuracy ? -1 : 1;
    }
    if (x->bytes < y->bytes || x->bytes > y->bytes) {
        return x->bytes < y->bytes ? -1 : 1;
    }
    return x->row < y->row ? -1 : 1;
}

static double or_else(double value, double otherwise)
{
    return isfinite(value) ? value : otherwise;
}

/* Rows with numbers, those first that are to be shown. */
static size_t list_candidates(const pq_view *v, candidate *all)
{
    const size_t accuracy = pq_view_column_of(v, "accuracy");
    const size_t bytes    = pq_view_column_of(v, "stored_bytes");
    size_t       n        = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        const bool chosen = r == v->reference || r == v->best || r == v->strong;
        if (v->rows[r].done) {
            all[n++] =
                (candidate){r,
                            chosen             ? 0
                            : v->rows[r].front ? 1
                                               : 2,
                            or_else(pq_view_number(v, r, accuracy).value, -1.0),
                            or_else(pq_view_number(v, r, bytes).value, (double)INFINITY)};
        }
    }
    qsort(all, n, sizeof *all, by_merit);
    return n;
}

/* Takes over the rows that are kept, in their order. */
static void take_rows(const pq_view *v, const bool *kept, pq_view *out)
{
    for (size_t r = 0; r < v->n_rows; r++) {
        if (!kept[r]) {
            continue;
        }
        out->reference         = r == v->reference ? out->n_rows : out->reference;
        out->best              = r == v->best ? out->n_rows : out->best;
        out->strong            = r == v->strong ? out->n_rows : out->strong;
        out->rows[out->n_rows] = v->rows[r];
        if (v->n_columns > 0) {
            memcpy(&out->numbers[out->n_rows * v->n_columns],
                   &v->numbers[r * v->n_columns], v->n_columns * sizeof *v->numbers);
        }
        out->n_rows++;
    }
}

pq_status pq_view_shorten(const pq_view *v, size_t most, pq_view *out, pq_err *err)
{
    candidate *all        = NULL;
    bool      *kept       = NULL;
    pq_view    short_view = *v;
    size_t     n, failed = 0;
    pq_status  st;

    short_view.borrows   = true;
    short_view.rows      = NULL;
    short_view.numbers   = NULL;
    short_view.n_rows    = 0;
    short_view.reference = short_view.best = short_view.strong = PQ_VIEW_NONE;
    PQ_NEW(all, v->n_rows);
    PQ_NEW(kept, v->n_rows);
    PQ_NEW(short_view.rows, v->n_rows);
    PQ_NEW(short_view.numbers, v->n_rows * v->n_columns);
    n    = list_candidates(v, all);
    most = n <= PQ_VIEW_ROWS_MAX ? n : most;
    for (size_t i = 0; i < most; i++) {
        kept[all[i].row] = true;
    }
    for (size_t r = 0; r < v->n_rows; r++) {
        kept[r] = kept[r] || (pq_view_failed(&v->rows[r]) && failed++ < PQ_FAILURES_MAX);
    }
    take_rows(v, kept, &short_view);
    short_view.left_out = n - most;
    short_view.failures_left_out =
        failed > PQ_FAILURES_MAX ? failed - PQ_FAILURES_MAX : 0;
    *out       = short_view;
    short_view = (pq_view){.borrows = true};
cleanup:
    pq_view_free(&short_view);
    pq_free(all);
    pq_free(kept);
    return st;
}

void pq_view_add_left_out(const pq_view *v, pq_text *out)
{
    size_t shown = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        shown += v->rows[r].done;
    }
    if (v->left_out > 0) {
        pq_text_add(out,
                    "Shown are %zu of %zu models: the reference, the Pareto front of "
                    "stored bytes and accuracy, then the most accurate; all are in "
                    "table.csv and results.sqlite.\n",
                    shown, shown + v->left_out);
    }
    if (v->failures_left_out > 0) {
        pq_text_add(out,
                    "Of the failed cells %zu more are not named: their reasons are in "
                    "table.csv, column error.\n",
                    v->failures_left_out);
    }
}
