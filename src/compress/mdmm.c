/*
 * Modified differential method of multipliers: sparsity as a constraint on each layer,
 * which a multiplier enforces.
 *
 *     g    = (target_sparsity^2 - l0^2) L1
 *     inf  = |g - t|, max(g - t, 0) or max(t - g, 0),  t = target_value
 *     loss += scale (lambda inf + damping inf^2 / 2)
 *     lambda <- lambda + constraint_lr scale inf, once a step, from 1
 *
 * L1 is the mean (or sum) of the norms of groups: of single weights, or of `rf` inputs in
 * a row that go together (StructuredSparsity). l0 is the share of groups whose norm is at
 * most epsilon, or with l0_mode smooth the mean of exp(-100 norm^2), whose gradient
 * counts, too. Weights are masked only at the end of training: those of the least norm.
 *
 * Source: Platt & Barr, NIPS 1987; metric as in PQuantML 0.1.0, arXiv:2603.26595.
 */
#include <math.h>
#include <string.h>

#include "compress/sparse_training.h"

enum { EQUALITY, AT_MOST, AT_LEAST };
enum { UNSTRUCTURED, STRUCTURED };
enum { COARSE, SMOOTH };
enum { MEAN, SUM };
enum { LAMBDA, INFEASIBLE, STATE };

typedef struct {
    pq_sparse_params common;
    int              constraint_type, metric_type, l0_mode, scale_mode;
    double           target_value, epsilon, scale, damping, constraint_lr;
    int64_t          rf;
} mdmm_params;

static const char *const constraints[] = {"Equality", "LessThanOrEqual",
                                          "GreaterThanOrEqual", NULL};
static const char *const metrics[] = {"UnstructuredSparsity", "StructuredSparsity", NULL};
static const char *const modes[]   = {"coarse", "smooth", NULL};
static const char *const scales[]  = {"mean", "sum", NULL};

#define AT(field) offsetof(mdmm_params, field)
static const pq_param params[] = {
    PQ_SPARSE_ROWS("0", "200", "1", "30", "never", "0.9"),
    PQ_ROW_CHOICE(AT(constraint_type), "constraint_type", "Equality", constraints,
                  "what g must be to target_value"),
    PQ_ROW_REAL(AT(target_value), "target_value", "0", -1e6, 1e6, "what g is held to"),
    PQ_ROW_CHOICE(AT(metric_type), "metric_type", "UnstructuredSparsity", metrics,
                  "of single weights, or of groups of rf inputs"),
    PQ_ROW_INT(AT(rf), "rf", "1", 1, 65536,
               "of StructuredSparsity: inputs in a row that go together"),
    PQ_ROW_REAL(AT(epsilon), "epsilon", "0.001", 0, 100,
                "norm up to which a group counts as 0"),
    PQ_ROW_REAL(AT(scale), "scale", "10", 0, 1e9, "weight of the penalty"),
    PQ_ROW_REAL(AT(damping), "damping", "1", 0, 1e9, "weight of its square"),
    PQ_ROW_CHOICE(AT(l0_mode), "l0_mode", "coarse", modes, "how zeros are counted"),
    PQ_ROW_CHOICE(AT(scale_mode), "scale_mode", "mean", scales,
                  "L1 by weight, or in all"),
    PQ_ROW_REAL(AT(constraint_lr), "constraint_lr", "0.001", 0, 100,
                "step of the multiplier"),
    {0},
};

static const double steepness = 100.0;

static const mdmm_params *of(const pq_sparse_run *run)
{
    return (const mdmm_params *)run->params;
}

static size_t state(const void *values, const pq_sparse_kernel *k)
{
    (void)values;
    (void)k;
    return STATE;
}

static void start(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    (void)run;
    k->s[LAMBDA]     = 1.0F;
    k->s[INFEASIBLE] = 0.0F;
}

static size_t unit(const void *values, const pq_sparse_kernel *k)
{
    const mdmm_params *p = values;

    return p->metric_type == UNSTRUCTURED ? 1
           : (size_t)p->rf < k->row       ? (size_t)p->rf
                                          : k->row;
}

/* Norm of the group that begins with an item; its size. */
static double norm_at(const pq_sparse_kernel *k, size_t each, size_t first, size_t *n)
{
    const size_t left = k->row - first % k->row;
    double       sum  = 0.0;

    *n = left < each ? left : each;
    for (size_t j = first; j < first + *n; j++) {
        sum += (double)k->v[j] * (double)k->v[j];
    }
    return sqrt(sum);
}

typedef struct {
    double zeros, size, groups; /* l0, L1, how many */
    double g, inf, sign;        /* d inf / dg */
} metric;

static metric measure(const pq_sparse_run *run, const pq_sparse_kernel *k)
{
    const mdmm_params *p    = of(run);
    const size_t       each = unit(p, k);
    const double       end  = p->common.target_sparsity;
    metric             m    = {0};
    size_t             n;

    for (size_t i = 0; i < k->count; i += n) {
        const double norm = norm_at(k, each, i, &n);
        m.size += norm;
        m.groups += 1.0;
        m.zeros += p->l0_mode == SMOOTH ? exp(-steepness * norm * norm)
                   : norm <= p->epsilon ? 1.0
                                        : 0.0;
    }
    m.zeros /= m.groups;
    m.size /= p->scale_mode == MEAN ? m.groups : 1.0;
    m.g              = (end * end - m.zeros * m.zeros) * m.size;
    const double off = m.g - p->target_value;
    m.sign           = p->constraint_type == EQUALITY  ? (off > 0.0) - (off < 0.0)
                       : p->constraint_type == AT_MOST ? (off > 0.0 ? 1.0 : 0.0)
                                                       : (off < 0.0 ? -1.0 : 0.0);
    m.inf            = m.sign * off;
    return m;
}

static void shape(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    (void)run;
    (void)k; /* as they are */
}

static double penalty(const pq_sparse_run *run, const pq_sparse_kernel *k)
{
    const metric m = measure(run, k);

    return of(run)->scale *
           ((double)k->s[LAMBDA] * m.inf + of(run)->damping * m.inf * m.inf / 2.0);
}

/* dg/dnorm = (target^2 - l0^2) / N, and where l0 is smooth -2 l0 L1 dl0/dnorm. */
static void backward(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    const mdmm_params *p    = of(run);
    const size_t       each = unit(p, k);
    const metric       m    = measure(run, k);
    const double       end = p->common.target_sparsity, share = 1.0 / m.groups;
    const double pull = p->scale * ((double)k->s[LAMBDA] + p->damping * m.inf) * m.sign;
    size_t       n;

    for (size_t i = 0; i < k->count; i += n) {
        const double norm = norm_at(k, each, i, &n);
        double       dg =
            (end * end - m.zeros * m.zeros) * (p->scale_mode == MEAN ? share : 1.0);
        if (p->l0_mode == SMOOTH) {
            dg += 4.0 * m.zeros * m.size * share * steepness * norm *
                  exp(-steepness * norm * norm);
        }
        for (size_t j = i; norm > 0.0 && j < i + n; j++) {
            k->d[j] += (float)(pull * dg * (double)k->v[j] / norm);
        }
    }
    k->s[INFEASIBLE] = (float)m.inf;
}

static void step(pq_sparse_run *run)
{
    for (size_t i = 0; i < run->n; i++) {
        float *s = run->kernels[i].s;
        s[LAMBDA] += (float)(of(run)->constraint_lr * of(run)->scale) * s[INFEASIBLE];
    }
}

static void score(const pq_sparse_run *run, const pq_sparse_kernel *k, float *out)
{
    const size_t each = unit(run->params, k);
    size_t       n;

    for (size_t i = 0; i < k->count; i += n) {
        const double norm = norm_at(k, each, i, &n);
        for (size_t j = i; j < i + n; j++) {
            out[j] = (float)(norm - of(run)->epsilon);
        }
    }
}

const pq_sparse_method pq_sparse_mdmm = {.name     = "mdmm",
                                         .state    = state,
                                         .start    = start,
                                         .shape    = shape,
                                         .backward = backward,
                                         .penalty  = penalty,
                                         .step     = step,
                                         .unit     = unit,
                                         .score    = score};

static pq_status check(const void *values, pq_err *err)
{
    const mdmm_params *p = values;
    pq_status          st;

    PQ_TRY(pq_sparse_training_check(values, err));
    PQ_CHECK(p->rf == 1 || p->metric_type == STRUCTURED, PQ_ERR_CONFIG,
             "rf = %lld: groups are for metric_type StructuredSparsity",
             (long long)p->rf);
cleanup:
    return st;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_sparse_training_apply(task, &pq_sparse_mdmm, params, err);
}

const pq_method pq_method_mdmm =
    PQ_SPARSE_METHOD("mdmm", "holds layers to a sparsity by multipliers while it trains",
                     "arXiv:2603.26595", params, mdmm_params, check, apply);
