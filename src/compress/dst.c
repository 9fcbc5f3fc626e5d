/*
 * Dynamic sparse training: thresholds T are trained with the weights,
 *
 *     w' = w step(x),  x = |w| - T,
 *     step'(x) = 2 - 4 |x| for |x| <= 0.4, 0.4 for |x| <= 1, else 0.
 *
 * Added to the loss: alpha sum exp(-T). When a layer's share of zeros reaches
 * max_pruning_pct, its T return to 0.
 *
 * Source: Liu et al., ICLR 2020, arXiv:2005.06870.
 */
#include <math.h>
#include <string.h>

#include "compress/sparse_training.h"

typedef struct {
    pq_sparse_params common;
    double           alpha, max_pruning_pct, threshold_init;
    int              threshold_type;
} dst_params;

#define AT(field) offsetof(dst_params, field)
static const pq_param params[] = {
    PQ_SPARSE_ROWS("0", "160", "1", "0", "never", NULL),
    PQ_ROW_REAL(AT(alpha), "alpha", "5e-06", 0, 1000,
                "price of exp(-T), summed over all thresholds, in the loss"),
    PQ_ROW_REAL(AT(max_pruning_pct), "max_pruning_pct", "0.99", 0, 1,
                "share of zeros of a layer at which its thresholds return to 0"),
    PQ_ROW_REAL(AT(threshold_init), "threshold_init", "0", -100, 100, "first T"),
    PQ_ROW_CHOICE(AT(threshold_type), "threshold_type", "weightwise",
                  pq_sparse_thresholds, "what has a threshold of its own"),
    {0},
};

static const dst_params *of(const pq_sparse_run *run)
{
    return (const dst_params *)run->params;
}

static size_t parameters(const void *values, const pq_sparse_kernel *k)
{
    return pq_sparse_thresholds_of(((const dst_params *)values)->threshold_type, k);
}

static void start(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    for (size_t i = 0; i < k->n_p; i++) {
        k->p[i] = (float)of(run)->threshold_init;
    }
}

static float excess(const pq_sparse_kernel *k, size_t i)
{
    return fabsf(k->v[i]) - k->p[pq_sparse_parameter(k, i)];
}

static float slope(float x)
{
    const float size = fabsf(x);

    return size <= 0.4F ? 2.0F - 4.0F * size : size <= 1.0F ? 0.4F : 0.0F;
}

static void shape(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    (void)run;
    for (size_t i = 0; i < k->count; i++) {
        k->w[i] = excess(k, i) > 0.0F ? k->v[i] : 0.0F;
    }
}

static void backward(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    for (size_t i = 0; i < k->count; i++) {
        const float x = excess(k, i), pull = k->d[i] * k->v[i] * slope(x);
        k->dp[pq_sparse_parameter(k, i)] -= pull;
        k->d[i] = (x > 0.0F ? k->d[i] : 0.0F) + copysignf(1.0F, k->v[i]) * pull;
    }
    for (size_t i = 0; i < k->n_p; i++) {
        k->dp[i] -= (float)of(run)->alpha * expf(-k->p[i]);
    }
}

static double penalty(const pq_sparse_run *run, const pq_sparse_kernel *k)
{
    double sum = 0.0;

    for (size_t i = 0; i < k->n_p; i++) {
        sum += (double)expf(-k->p[i]);
    }
    return of(run)->alpha * sum;
}

static void step(pq_sparse_run *run)
{
    for (size_t n = 0; n < run->n; n++) {
        pq_sparse_kernel *k     = &run->kernels[n];
        size_t            zeros = 0;
        for (size_t i = 0; i < k->count; i++) {
            zeros += excess(k, i) > 0.0F ? 0 : 1;
        }
        if ((double)zeros >= of(run)->max_pruning_pct * (double)k->count) {
            memset(k->p, 0, k->n_p * sizeof *k->p);
        }
    }
}

static void score(const pq_sparse_run *run, const pq_sparse_kernel *k, float *out)
{
    (void)run;
    for (size_t i = 0; i < k->count; i++) {
        out[i] = excess(k, i);
    }
}

const pq_sparse_method pq_sparse_dst = {.name       = "dst",
                                        .parameters = parameters,
                                        .start      = start,
                                        .shape      = shape,
                                        .backward   = backward,
                                        .penalty    = penalty,
                                        .step       = step,
                                        .score      = score};

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_sparse_training_apply(task, &pq_sparse_dst, params, err);
}

const pq_method pq_method_dst = PQ_SPARSE_METHOD(
    "dst", "dynamic sparse training: trains thresholds under a reward for high ones",
    "arXiv:2005.06870", params, dst_params, pq_sparse_training_check, apply);
