/*
 * Gradual magnitude pruning: after every t_delta steps t of the n of the training stage
 * the least weights get a mask, so many that the share
 *
 *     s_t = s_f + (s_i - s_f) (1 - t / n)^3
 *
 * is 0; s_f is target_sparsity, s_i initial_sparsity. Masks are made anew each time from
 * the weights, which keep what they were when they were masked.
 *
 * Source: Zhu & Gupta, arXiv:1710.01878, eq. 1.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/sparse_training.h"

enum { GLOBAL, PER_LAYER };

typedef struct {
    pq_sparse_params common;
    double           initial_sparsity;
    int64_t          t_delta;
    int              scope;
} gradual_params;

static const char *const scopes[] = {"global", "per_layer", NULL};

#define AT(field) offsetof(gradual_params, field)
static const pq_param params[] = {
    PQ_SPARSE_ROWS("0", "20", "1", "10", "never", "0.8"),
    PQ_ROW_REAL(AT(initial_sparsity), "initial_sparsity", "0", 0, 1,
                "share that is 0 when the training stage begins"),
    PQ_ROW_INT(AT(t_delta), "t_delta", "100", 1, 1000000, "steps between new masks"),
    PQ_ROW_CHOICE(AT(scope), "scope", "global", scopes,
                  "one threshold for all selected layers, or one a layer"),
    {0},
};

/* The least |v| of kernels from `first` to before `last` are masked: those at most the
   threshold, of equal ones the first. */
static void mask_least(pq_sparse_run *run, size_t first, size_t last, double share)
{
    size_t n = 0, due, below = 0, at = 0;
    float *x = run->kernels[first].scratch, upper, lower;

    for (size_t i = first; i < last; i++) {
        n += run->kernels[i].count;
    }
    due = (size_t)round(share * (double)n);
    for (size_t i = first; i < last; i++) {
        const pq_sparse_kernel *k = &run->kernels[i];
        for (size_t j = 0; j < k->count; j++) {
            x[at++] = fabsf(k->v[j]);
        }
    }
    if (due == 0 || due >= n) {
        upper = due == 0 ? -1.0F : INFINITY;
        lower = upper;
    } else {
        pq_sparse_neighbours(x, n, n - due, &upper, &lower);
    }
    for (size_t i = 0; i < n; i++) {
        below += x[i] < lower ? 1 : 0;
    }
    size_t ties = due > below ? due - below : 0;
    for (size_t i = first; i < last; i++) {
        pq_sparse_kernel *k = &run->kernels[i];
        for (size_t j = 0; j < k->count; j++) {
            const float size = fabsf(k->v[j]);
            const bool  tie  = size == lower && ties > 0; /* NOLINT: the same number */
            ties -= tie ? 1 : 0;
            k->m[j] = size < lower || tie ? 0.0F : 1.0F;
        }
    }
}

static void mask_all(pq_sparse_run *run, double share)
{
    const gradual_params *p = (const gradual_params *)run->params;

    for (size_t i = 0; p->scope == PER_LAYER && i < run->n; i++) {
        mask_least(run, i, i + 1, share);
    }
    if (p->scope == GLOBAL) {
        mask_least(run, 0, run->n, share);
    }
}

static void step(pq_sparse_run *run)
{
    const gradual_params *p    = (const gradual_params *)run->params;
    const double          left = 1.0 - (double)run->step / (double)run->steps;
    const double          end  = p->common.target_sparsity;

    if (run->step % (size_t)p->t_delta == 0) {
        mask_all(run, end + (p->initial_sparsity - end) * left * left * left);
    }
}

static pq_status begin(pq_sparse_run *run, pq_err *err)
{
    (void)err;
    mask_all(run, ((const gradual_params *)run->params)->initial_sparsity);
    return PQ_OK;
}

static void finish(pq_sparse_run *run)
{
    mask_all(run, run->params->target_sparsity);
}

static void score(const pq_sparse_run *run, const pq_sparse_kernel *k, float *out)
{
    (void)run;
    memcpy(out, k->m, k->count * sizeof *out);
}

const pq_sparse_method pq_sparse_gradual = {.name       = "gradual",
                                            .begin      = begin,
                                            .shape      = pq_sparse_mask_weights,
                                            .backward   = pq_sparse_mask_gradient,
                                            .step       = step,
                                            .finish     = finish,
                                            .score      = score,
                                            .own_target = true};

static pq_status check(const void *values, pq_err *err)
{
    const gradual_params *p = values;
    pq_status             st;

    PQ_TRY(pq_sparse_training_check(values, err));
    PQ_CHECK(p->initial_sparsity <= p->common.target_sparsity, PQ_ERR_RANGE,
             "initial_sparsity = %g is not in 0..%g, the target_sparsity",
             p->initial_sparsity, p->common.target_sparsity);
cleanup:
    return st;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_sparse_training_apply(task, &pq_sparse_gradual, params, err);
}

const pq_method pq_method_gradual =
    PQ_SPARSE_METHOD("gradual", "prunes the least weights step by step while it trains",
                     "arXiv:1710.01878", params, gradual_params, check, apply);
