/*
 * Parameter-free differentiable pruning. After pretraining, one threshold on |w| over all
 * layers gives each the share r_0 of its weights that is below it. In epoch e
 *
 *     r = r_0 min(1, epsilon (e + 1)),
 *     m = sigmoid((w^2 - t^2) / temperature),  w' = m w,
 *
 * t the mean of the two |w| between which the least r N of a layer's N end; gradients go
 * through m, t included. With structured_pruning w is the norm of a row (of a filter),
 * and rows that are the network's outputs stay.
 *
 * Source: Cho, Adya & Naik, NeurIPS 2023, arXiv:2305.11203.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/sparse_training.h"
#include "core/memory.h"

typedef struct {
    pq_sparse_params common;
    double           epsilon, temperature;
    bool             structured_pruning;
} pdp_params;

#define AT(field) offsetof(pdp_params, field)
static const pq_param params[] = {
    PQ_SPARSE_ROWS("1", "100", "1", "20", "never", "0.8"),
    PQ_ROW_REAL(AT(epsilon), "epsilon", "0.015", 1e-6, 1,
                "share of the target that each epoch of a round adds"),
    PQ_ROW_REAL(AT(temperature), "temperature", "1e-05", 1e-12, 100,
                "softness of masks, in squares of weights"),
    PQ_ROW_BOOL(AT(structured_pruning), "structured_pruning", "false",
                "whole neurons and filters"),
    {0},
};

static const pdp_params *of(const pq_sparse_run *run)
{
    return (const pdp_params *)run->params;
}

static size_t unit(const void *values, const pq_sparse_kernel *k)
{
    return ((const pdp_params *)values)->structured_pruning ? k->row : 1;
}

/* s[0] is r_0. */
static size_t state(const void *values, const pq_sparse_kernel *k)
{
    (void)values;
    (void)k;
    return 1;
}

static bool stays(const pq_sparse_run *run, const pq_sparse_kernel *k)
{
    return of(run)->structured_pruning && k->ends;
}

/* Squared norms of units, after those the norms. */
static size_t measure(const pq_sparse_run *run, const pq_sparse_kernel *k)
{
    const size_t each = unit(run->params, k), n = k->count / each;

    for (size_t u = 0; u < n; u++) {
        float sum = 0.0F;
        for (size_t j = u * each; j < (u + 1) * each; j++) {
            sum += k->v[j] * k->v[j];
        }
        k->scratch[u]     = sum;
        k->scratch[n + u] = sqrtf(sum);
    }
    return n;
}

/* Norms over the root of their items, so that long rows are not worth more. */
static size_t list(const pq_sparse_run *run, pq_sparse_unit *units)
{
    size_t at = 0;

    for (size_t i = 0; i < run->n; i++) {
        const pq_sparse_kernel *k    = &run->kernels[i];
        const size_t            each = unit(run->params, k), n = measure(run, k);
        for (size_t u = 0; !stays(run, k) && u < n; u++, at++) {
            units[at] = (pq_sparse_unit){.kernel = i,
                                         .n      = each,
                                         .order  = at,
                                         .score = k->scratch[n + u] / sqrtf((float)each)};
        }
    }
    return at;
}

static pq_status begin(pq_sparse_run *run, pq_err *err)
{
    pq_sparse_unit *units = NULL;
    size_t          all = 0, n, gone = 0;
    pq_status       st;

    for (size_t i = 0; i < run->n; i++) {
        all += run->kernels[i].count;
        run->kernels[i].s[0] = 0.0F;
    }
    PQ_NEW(units, all);
    n = list(run, units);
    qsort(units, n, sizeof *units, pq_sparse_compare);
    const size_t due = (size_t)round(run->params->target_sparsity * (double)all);
    for (size_t i = 0; i < n && gone + units[i].n <= due; i++) {
        run->kernels[units[i].kernel].s[0] += (float)units[i].n;
        gone += units[i].n;
    }
    for (size_t i = 0; i < run->n; i++) {
        run->kernels[i].s[0] /= (float)run->kernels[i].count;
    }
cleanup:
    pq_free(units);
    return st;
}

/* Units of a kernel's n that are to be 0 in this epoch. */
static size_t due_now(const pq_sparse_run *run, const pq_sparse_kernel *k, size_t n)
{
    const double risen = fmin(1.0, of(run)->epsilon * (double)(run->epoch + 1));
    const size_t due   = (size_t)round(risen * (double)k->s[0] * (double)n);

    return due < n ? due : n - 1;
}

/* The two norms that t is the mean of; both 0 where nothing goes. */
static size_t edge(const pq_sparse_run *run, const pq_sparse_kernel *k, float *upper,
                   float *lower)
{
    const size_t n = measure(run, k), due = due_now(run, k, n);

    *upper = *lower = 0.0F;
    if (due > 0) {
        pq_sparse_neighbours(k->scratch + n, n, n - due, upper, lower);
    }
    return n;
}

static float mask_of(const pq_sparse_run *run, float square, float t)
{
    const double x = ((double)square - (double)t * (double)t) / of(run)->temperature;

    return (float)(1.0 / (1.0 + exp(-x)));
}

static void shape(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    const size_t each = unit(run->params, k);
    float        upper, lower;

    if (stays(run, k)) {
        return;
    }
    const size_t n = edge(run, k, &upper, &lower);
    for (size_t u = 0; u < n; u++) {
        const float m =
            upper > 0.0F ? mask_of(run, k->scratch[u], 0.5F * (upper + lower)) : 1.0F;
        for (size_t j = u * each; j < (u + 1) * each; j++) {
            k->w[j] = m * k->v[j];
        }
    }
}

/* Adds `pull` times d norm / dv of the first unit that has this norm. */
static void pull_unit(pq_sparse_kernel *k, size_t n, float norm, double pull)
{
    const size_t each = k->count / n;
    size_t       u    = 0;

    while (u + 1 < n && sqrtf(k->scratch[u]) != norm) { /* NOLINT: the same number */
        u++;
    }
    for (size_t j = u * each; norm > 0.0F && j < (u + 1) * each; j++) {
        k->d[j] += (float)(pull * (double)k->v[j] / (double)norm);
    }
}

/*
 * With G_u = sum_j d_j v_j over a unit and m' = m (1 - m) / temperature:
 * dL/dv_j = d_j m + 2 G_u m' v_j, dL/dt = -2 t sum_u G_u m'.
 */
static void backward(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    const size_t each      = unit(run->params, k);
    double       edge_pull = 0.0;
    float        upper, lower;

    if (stays(run, k)) {
        return;
    }
    const size_t n = edge(run, k, &upper, &lower);
    const float  t = 0.5F * (upper + lower);
    for (size_t u = 0; upper > 0.0F && u < n; u++) {
        const double m     = (double)mask_of(run, k->scratch[u], t);
        const double slope = m * (1.0 - m) / of(run)->temperature;
        double       sum   = 0.0;
        for (size_t j = u * each; j < (u + 1) * each; j++) {
            sum += (double)k->d[j] * (double)k->v[j];
        }
        for (size_t j = u * each; j < (u + 1) * each; j++) {
            k->d[j] = (float)((double)k->d[j] * m + 2.0 * sum * slope * (double)k->v[j]);
        }
        edge_pull -= 2.0 * (double)t * sum * slope;
    }
    if (upper > 0.0F) {
        pull_unit(k, n, upper, 0.5 * edge_pull);
        pull_unit(k, n, lower, 0.5 * edge_pull);
    }
}

/* w^2 - t^2 with the t of the last epoch. */
static void score(const pq_sparse_run *run, const pq_sparse_kernel *k, float *out)
{
    const size_t each = unit(run->params, k);
    float        upper, lower;
    const size_t n = edge(run, k, &upper, &lower);
    const float  t = 0.5F * (upper + lower);

    for (size_t j = 0; j < k->count; j++) {
        out[j] = k->scratch[j / each] - t * t;
    }
    (void)n;
}

const pq_sparse_method pq_sparse_pdp = {.name     = "pdp",
                                        .state    = state,
                                        .begin    = begin,
                                        .shape    = shape,
                                        .backward = backward,
                                        .unit     = unit,
                                        .score    = score};

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_sparse_training_apply(task, &pq_sparse_pdp, params, err);
}

const pq_method pq_method_pdp = PQ_SPARSE_METHOD(
    "pdp", "soft masks around a threshold that rises while it trains", "arXiv:2305.11203",
    params, pdp_params, pq_sparse_training_check, apply);
