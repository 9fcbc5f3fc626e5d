/*
 * Continuous sparsification: a trained s a weight, and
 *
 *     w' = w m,  m = sigmoid(beta s) / sigmoid(s_0),
 *
 * so that m = 1 at first; beta rises from 1 in each epoch of a round to final_temp in its
 * last, which makes m a step. Added to the loss: threshold_decay sum m. Between rounds
 * s = min(beta s, s_0), beta = 1: what is off stays off. What has s > 0 is kept.
 *
 * Source: Savarese, Silva & Maire, NeurIPS 2020, arXiv:1912.04427.
 */
#include <math.h>
#include <string.h>

#include "compress/sparse_training.h"

typedef struct {
    pq_sparse_params common;
    double           final_temp, threshold_init, threshold_decay;
} cs_params;

#define AT(field) offsetof(cs_params, field)
static const pq_param params[] = {
    PQ_SPARSE_ROWS("0", "85", "3", "85", "post-training-stage", NULL),
    PQ_ROW_REAL(AT(final_temp), "final_temp", "200", 1, 1e6,
                "beta in the last epoch of a round"),
    PQ_ROW_REAL(AT(threshold_init), "threshold_init", "0", -100, 100, "s_0"),
    PQ_ROW_REAL(AT(threshold_decay), "threshold_decay", "1e-09", 0, 1000,
                "price of the sum of all masks in the loss"),
    {0},
};

static const cs_params *of(const pq_sparse_run *run)
{
    return (const cs_params *)run->params;
}

static size_t parameters(const void *values, const pq_sparse_kernel *k)
{
    (void)values;
    return k->count;
}

static void start(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    for (size_t i = 0; i < k->count; i++) {
        k->p[i] = (float)of(run)->threshold_init;
    }
}

/* beta in epoch `at` of a round: final_temp^(at / (epochs - 1)). */
static float temperature(const pq_sparse_run *run, size_t at)
{
    const double last = run->epochs > 1 ? (double)(run->epochs - 1) : 1.0;

    return (float)pow(of(run)->final_temp, (double)at / last);
}

/* Of all kept ones, 1 / sigmoid(s_0). */
static float scaling(const pq_sparse_run *run)
{
    return 1.0F / pq_sparse_sigmoid((float)of(run)->threshold_init);
}

static void shape(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    const float beta = temperature(run, run->epoch), most = scaling(run);

    for (size_t i = 0; i < k->count; i++) {
        k->w[i] = k->v[i] * pq_sparse_sigmoid(beta * k->p[i]) * most;
    }
}

/* dm/ds = beta m (1 - sigmoid(beta s)). */
static void backward(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    const float beta = temperature(run, run->epoch), most = scaling(run);
    const float price = (float)of(run)->threshold_decay;

    for (size_t i = 0; i < k->count; i++) {
        const float on = pq_sparse_sigmoid(beta * k->p[i]);
        k->dp[i]       = (k->d[i] * k->v[i] + price) * beta * on * (1.0F - on) * most;
        k->d[i] *= on * most;
    }
}

static double penalty(const pq_sparse_run *run, const pq_sparse_kernel *k)
{
    const float beta = temperature(run, run->epoch), most = scaling(run);
    double      sum = 0.0;

    for (size_t i = 0; i < k->count; i++) {
        sum += (double)(pq_sparse_sigmoid(beta * k->p[i]) * most);
    }
    return of(run)->threshold_decay * sum;
}

static void end_round(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    const float beta = temperature(run, run->epochs);

    for (size_t i = 0; i < k->count; i++) {
        k->p[i] = fminf(beta * k->p[i], (float)of(run)->threshold_init);
    }
}

static void score(const pq_sparse_run *run, const pq_sparse_kernel *k, float *out)
{
    (void)run;
    memcpy(out, k->p, k->count * sizeof *out);
}

const pq_sparse_method pq_sparse_cs = {.name       = "cs",
                                       .parameters = parameters,
                                       .start      = start,
                                       .shape      = shape,
                                       .backward   = backward,
                                       .penalty    = penalty,
                                       .round      = end_round,
                                       .score      = score};

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_sparse_training_apply(task, &pq_sparse_cs, params, err);
}

const pq_method pq_method_cs = PQ_SPARSE_METHOD(
    "cs", "continuous sparsification: trains soft masks that turn into steps",
    "arXiv:1912.04427", params, cs_params, pq_sparse_training_check, apply);
