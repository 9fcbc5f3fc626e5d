/* Which weights are 0 for good, by score. */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "train/net.h"
#include "train/sparsify.h"

int pq_sparse_compare(const void *a, const void *b)
{
    const pq_sparse_unit *x = a, *y = b;

    return x->score < y->score   ? -1
           : x->score > y->score ? 1
           : x->order < y->order ? -1
                                 : 1;
}

/* Hoare's selection, pivot the middle of three: x[k] ends in its sorted place, largest
   first, with nothing larger behind and nothing smaller before it. */
static void select_largest(float *x, size_t n, size_t k)
{
    size_t lo = 0, hi = n - 1;

    while (lo < hi) {
        const float a = x[lo], b = x[lo + (hi - lo) / 2], c = x[hi];
        const float pivot = fmaxf(fminf(a, b), fminf(fmaxf(a, b), c));
        size_t      i = lo, j = hi;
        for (;;) {
            while (x[i] > pivot) {
                i++;
            }
            while (x[j] < pivot) {
                j--;
            }
            if (i >= j) {
                break;
            }
            const float t = x[i];
            x[i++]        = x[j];
            x[j--]        = t;
        }
        if (k <= j) {
            hi = j;
        } else {
            lo = j + 1;
        }
    }
}

void pq_sparse_neighbours(float *x, size_t n, size_t k, float *upper, float *lower)
{
    select_largest(x, n, k - 1);
    *upper = x[k - 1];
    *lower = x[k];
    for (size_t i = k; i < n; i++) {
        *lower = fmaxf(*lower, x[i]);
    }
}

/* What was pruned before goes first. */
static bool is_gone(const pq_sparse_run *run, const pq_sparse_unit *u)
{
    const pq_net_weight *w = run->net->weights + run->kernels[u->kernel].weight;

    for (size_t j = u->first; j < u->first + u->n; j++) {
        if (!pq_weight_is_pruned(w->from, j)) {
            return false;
        }
    }
    return true;
}

/* What goes together, but rows that are the network's outputs, where whole rows go. */
static size_t list_units(const pq_sparse_run *run, size_t i, float *score,
                         pq_sparse_unit *units, size_t at)
{
    const pq_sparse_kernel *k = &run->kernels[i];
    const size_t unit = run->method->unit != NULL ? run->method->unit(run->params, k) : 1;

    if (unit == k->row && k->row > 1 && k->ends) {
        return at;
    }
    run->method->score(run, k, score);
    for (size_t r = 0; r < k->count; r += k->row) {
        for (size_t j = 0; j < k->row; j += unit) {
            const size_t left = k->row - j;
            units[at]         = (pq_sparse_unit){.kernel = i,
                                                 .first  = r + j,
                                                 .n      = left < unit ? left : unit,
                                                 .order  = at,
                                                 .score  = score[r + j]};
            if (is_gone(run, &units[at])) {
                units[at].score = -INFINITY;
            }
            at++;
        }
    }
    return at;
}

static bool is_row(const pq_sparse_run *run, const pq_sparse_unit *u)
{
    return u->n > 1 && u->n == run->kernels[u->kernel].row;
}

static void drop(const pq_sparse_run *run, const pq_sparse_unit *u)
{
    for (size_t j = 0; j < u->n; j++) {
        run->kernels[u->kernel].m[u->first + j] = 0.0F;
    }
}

/* The least scores, as long as that comes nearer to what is due. */
static size_t drop_least(const pq_sparse_run *run, const pq_sparse_unit *units, size_t n,
                         size_t due, size_t *left)
{
    size_t gone = 0;

    for (size_t i = 0; i < n && gone < due; i++) {
        const pq_sparse_unit *u = &units[i];
        const bool nearer       = gone + u->n <= due || gone + u->n - due < due - gone;
        if (nearer && (!is_row(run, u) || left[u->kernel] > 1)) {
            drop(run, u);
            left[u->kernel]--;
            gone += u->n;
        }
    }
    return gone;
}

static size_t drop_rejected(const pq_sparse_run *run, const pq_sparse_unit *units,
                            size_t n, size_t *left)
{
    size_t gone = 0;

    for (size_t i = 0; i < n && units[i].score <= 0.0F; i++) {
        if (!is_row(run, &units[i]) || left[units[i].kernel] > 1) {
            drop(run, &units[i]);
            left[units[i].kernel]--;
            gone += units[i].n;
        }
    }
    return gone;
}

pq_status pq_sparse_harden(pq_sparse_run *run, pq_err *err)
{
    const double    target = run->params->target_sparsity;
    const bool      own    = isnan(target) || run->method->own_target;
    size_t          all = 0, n = 0, most = 1, unit = 1, gone, *left = NULL;
    float          *score = NULL;
    pq_sparse_unit *units = NULL;
    pq_status       st;

    for (size_t i = 0; i < run->n; i++) {
        all += run->kernels[i].count;
        most = run->kernels[i].count > most ? run->kernels[i].count : most;
    }
    PQ_NEW(score, most);
    PQ_NEW(units, all);
    PQ_NEW(left, run->n);
    for (size_t i = 0; i < run->n; i++) {
        n = list_units(run, i, score, units, n);
        for (size_t j = 0; j < run->kernels[i].count; j++) {
            run->kernels[i].m[j] = 1.0F;
        }
    }
    for (size_t i = 0; i < n; i++) {
        left[units[i].kernel]++;
        unit = units[i].n > unit ? units[i].n : unit;
    }
    qsort(units, n, sizeof *units, pq_sparse_compare);
    const size_t due = own ? 0 : (size_t)round(target * (double)all);
    gone =
        own ? drop_rejected(run, units, n, left) : drop_least(run, units, n, due, left);
    PQ_CHECK(
        gone + unit / 2 >= due, PQ_ERR_CONFIG,
        "target_sparsity = %g is out of reach: %zu of %zu weights can go, since every "
        "layer keeps one channel and the last all",
        target, gone, all);
cleanup:
    pq_free(score);
    pq_free(units);
    pq_free(left);
    return st;
}
