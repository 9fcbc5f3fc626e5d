/*
 * AutoSparse: thresholds T are trained with the weights,
 *
 *     w' = sign(w) relu(|w| - sigmoid(T)).
 *
 * Backward the relu passes gradients on times 1 where it is open and alpha where it is
 * not, so that a weight can come back; with backward_sparsity only the largest half of
 * |w| - sigmoid(T) of a layer passes any on. In epoch e of E of a round
 *
 *     alpha_e = alpha max((1 + cos(pi e / E)) / 2, 1 - 1 / (1 + exp(6 - 12 e / E))),
 *
 * and 0 from alpha_reset_epoch on.
 *
 * Source: Kundu et al., arXiv:2304.06941; schedule as in PQuantML 0.1.0.
 */
#include <math.h>
#include <string.h>

#include "compress/sparse_training.h"

typedef struct {
    pq_sparse_params common;
    double           alpha;
    int64_t          alpha_reset_epoch;
    bool             backward_sparsity;
    double           threshold_init;
    int              threshold_type;
} autosparse_params;

#define AT(field) offsetof(autosparse_params, field)
static const pq_param params[] = {
    PQ_SPARSE_ROWS("0", "100", "1", "0", "never", NULL),
    PQ_ROW_REAL(AT(alpha), "alpha", "0.5", 0, 1,
                "what masked weights get of their gradient at first"),
    PQ_ROW_INT(AT(alpha_reset_epoch), "alpha_reset_epoch", "90", 0, 100000,
               "epoch of a round, from 0, from which on they get nothing"),
    PQ_ROW_BOOL(AT(backward_sparsity), "backward_sparsity", "false",
                "only the largest half of a layer gets gradients"),
    PQ_ROW_REAL(AT(threshold_init), "threshold_init", "-5", -100, 100,
                "first T: weights up to sigmoid(T) are 0"),
    PQ_ROW_CHOICE(AT(threshold_type), "threshold_type", "channelwise",
                  pq_sparse_thresholds, "what has a threshold of its own"),
    {0},
};

static size_t parameters(const void *values, const pq_sparse_kernel *k)
{
    return pq_sparse_thresholds_of(((const autosparse_params *)values)->threshold_type,
                                   k);
}

static void start(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    for (size_t i = 0; i < k->n_p; i++) {
        k->p[i] = (float)((const autosparse_params *)run->params)->threshold_init;
    }
}

static double alpha_now(const pq_sparse_run *run)
{
    const autosparse_params *p     = (const autosparse_params *)run->params;
    const double             share = (double)run->epoch / (double)run->epochs;

    if ((int64_t)run->epoch >= p->alpha_reset_epoch) {
        return 0.0;
    }
    return p->alpha * fmax((1.0 + cos(3.14159265358979323846 * share)) / 2.0,
                           1.0 - 1.0 / (1.0 + exp(6.0 - 12.0 * share)));
}

/* |v| - sigmoid(T) of an item. */
static float excess(const pq_sparse_kernel *k, size_t i)
{
    return fabsf(k->v[i]) - pq_sparse_sigmoid(k->p[pq_sparse_parameter(k, i)]);
}

static void shape(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    (void)run;
    for (size_t i = 0; i < k->count; i++) {
        k->w[i] = copysignf(fmaxf(excess(k, i), 0.0F), k->v[i]);
    }
}

/* The k-th largest excess, k half of all. */
static float middle(const pq_sparse_kernel *k)
{
    float upper = -INFINITY, lower;

    for (size_t i = 0; i < k->count; i++) {
        k->scratch[i] = excess(k, i);
    }
    if (k->count >= 2) {
        pq_sparse_neighbours(k->scratch, k->count, k->count / 2, &upper, &lower);
    }
    return upper;
}

static void backward(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    const bool  half  = ((const autosparse_params *)run->params)->backward_sparsity;
    const float least = half ? middle(k) : -INFINITY, closed = (float)alpha_now(run);

    for (size_t i = 0; i < k->count; i++) {
        const size_t at = pq_sparse_parameter(k, i);
        const float  x = excess(k, i), s = pq_sparse_sigmoid(k->p[at]);
        const float  d = x < least ? 0.0F : k->d[i] * (x > 0.0F ? 1.0F : closed);
        k->dp[at] -= copysignf(1.0F, k->v[i]) * d * s * (1.0F - s);
        k->d[i] = d;
    }
}

static void score(const pq_sparse_run *run, const pq_sparse_kernel *k, float *out)
{
    (void)run;
    for (size_t i = 0; i < k->count; i++) {
        out[i] = excess(k, i);
    }
}

const pq_sparse_method pq_sparse_autosparse = {.name       = "autosparse",
                                               .parameters = parameters,
                                               .start      = start,
                                               .shape      = shape,
                                               .backward   = backward,
                                               .score      = score};

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_sparse_training_apply(task, &pq_sparse_autosparse, params, err);
}

const pq_method pq_method_autosparse = PQ_SPARSE_METHOD(
    "autosparse", "trains thresholds that weights are shrunk by, and prunes below them",
    "arXiv:2304.06941", params, autosparse_params, pq_sparse_training_check, apply);
