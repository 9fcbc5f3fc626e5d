/*
 * Low-rank adapters on frozen weights:
 *
 *     y = W x + b + (alpha / r) B A x
 *
 * dense: A [r, I], B [O, r]. conv2d: A is a convolution h x w to r channels that keeps
 * stride, padding and dilation, B is 1 x 1 to O. The base W does not train any more
 * (training.c); it may be put into NF4.
 *
 * zero:   A uniform in +-1 / sqrt(inputs), B = 0: the network as it was.
 * pissa:  (alpha / r) B A is the best rank-r product of W, the base what is left.
 * loftq:  from B A = 0: Q = nf4(W - (alpha / r) B A), then (alpha / r) B A the best
 *         rank-r product of W - Q, and so on; the best round is taken. The first is no
 *         worse than nf4 alone.
 *
 * Source: Hu et al., arXiv:2106.09685, section 4.1; Dettmers et al., arXiv:2305.14314;
 *         Meng et al., arXiv:2404.02948; Li et al., arXiv:2310.08659, algorithm 1.
 */
#include "compress/lora.h"

#include <math.h>
#include <string.h>

#include "compress/lowrank.h"
#include "compress/quantize_weights.h"
#include "compress/svd_factor.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "core/rng.h"
#include "layers/kinds.h"
#include "linalg/partial.h"

enum { ADD, MERGE, UNMERGE };
enum { ZERO, PISSA, LOFTQ };
enum { AS_IT_IS, NF4 };

typedef struct {
    int     action, init, base;
    int64_t rank, group, loftq_rounds;
    double  alpha, dropout;
    bool    clip_rank, keep, double_scales;
} lora_params;

static const char *const actions[] = {"add", "merge", "unmerge", NULL};
static const char *const inits[]   = {"zero", "pissa", "loftq", NULL};
static const char *const bases[]   = {"keep", "nf4", NULL};

#define FIELD(member, kind, text)                                                        \
    .name = #member, .type = kind, .offset = offsetof(lora_params, member), .help = text

static const pq_param params[] = {
    {FIELD(action, PQ_PARAM_CHOICE,
           "add adapters, merge them into the weights, or unmerge: put back what was "
           "merged, bit by bit"),
     .fallback = "add", .choices = actions},
    {FIELD(rank, PQ_PARAM_INT, "add: width r of the adapters"), .fallback = "8", .min = 1,
     .max = 1048576},
    {FIELD(clip_rank, PQ_PARAM_BOOL,
           "add: take a layer's full rank where `rank` is above it, instead of an error"),
     .fallback = "false"},
    {FIELD(alpha, PQ_PARAM_REAL,
           "add: the adapters' output is multiplied by alpha / r; none = r"),
     .min = 1e-6, .max = 1e6},
    {FIELD(dropout, PQ_PARAM_REAL,
           "add: share of the adapters' inputs set to 0 in training"),
     .fallback = "0", .min = 0, .max = 0.99},
    {FIELD(init, PQ_PARAM_CHOICE,
           "add: B = 0 (zero), the weight's largest components (pissa), or what nf4 "
           "loses of it (loftq)"),
     .fallback = "zero", .choices = inits},
    {FIELD(base, PQ_PARAM_CHOICE, "add: the frozen weight as it is, or in nf4"),
     .fallback = "keep", .choices = bases},
    {FIELD(group, PQ_PARAM_INT, "add, base = nf4: weights that share a scale"),
     .fallback = "64", .min = 1, .max = 65536},
    {FIELD(double_scales, PQ_PARAM_BOOL,
           "add, base = nf4: scales are codes of 8 bits themselves, as of quantize"),
     .fallback = "false"},
    {FIELD(loftq_rounds, PQ_PARAM_INT, "add, init = loftq: rounds at most"),
     .fallback = "5", .min = 1, .max = 100},
    {FIELD(
         keep, PQ_PARAM_BOOL,
         "merge: remember in the model what unmerge needs; not counted as stored bytes"),
     .fallback = "true"},
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const lora_params *p = values;
    pq_status          st;

    PQ_CHECK(p->init != LOFTQ || p->base == NF4, PQ_ERR_CONFIG,
             "init = loftq needs base = nf4");
    PQ_CHECK(!p->double_scales || p->base == NF4, PQ_ERR_CONFIG,
             "double_scales = true needs base = nf4");
cleanup:
    return st;
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    return pq_accepts_kernel(graph, node) && !pq_is_adapter(node->name);
}

/* A layer being adapted; owns a and b. */
typedef struct {
    const char *name;
    size_t      node, m, n, rank; /* the weight as [m, n] */
    double      scale;            /* alpha / r */
    pq_weight  *w;
    pq_tensor  *a, *b; /* float32 [r, n], [m, r] */
} target;

static void free_target(target *t)
{
    pq_tensor_free(&t->a);
    pq_tensor_free(&t->b);
}

static pq_status open_target(const pq_compress_task *task, const char *name, target *t,
                             pq_err *err)
{
    const lora_params *p = task->params;
    size_t             full;
    pq_status          st;

    PQ_CHECK(!pq_has_adapter(task->graph, name), PQ_ERR_CONFIG,
             "it has adapters already; merge them first");
    t->name = name;
    t->node = pq_graph_find(task->graph, name);
    t->w    = pq_node_kernel(&task->graph->nodes[t->node]);
    t->m    = t->w->value->shape.dim[0];
    t->n    = t->w->value->count / t->m;
    full    = t->m < t->n ? t->m : t->n;
    PQ_CHECK((uint64_t)p->rank <= full || p->clip_rank, PQ_ERR_RANGE,
             "rank %lld is not in 1..%zu", (long long)p->rank, full);
    t->rank  = (uint64_t)p->rank < full ? (size_t)p->rank : full;
    t->scale = isnan(p->alpha) ? 1.0 : p->alpha / (double)t->rank;
cleanup:
    return st;
}

/* Uniform with the variance of Kaiming's rule for a = sqrt(5), and zeros. */
static pq_status start_at_zero(target *t, uint64_t seed, pq_err *err)
{
    pq_rng       layers = pq_rng_stream(seed, "lora");
    pq_rng       rng    = pq_rng_stream(pq_rng_bits(&layers), t->name);
    const double bound  = 1.0 / sqrt((double)t->n);
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(t->rank, t->n), &t->a, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(t->m, t->rank), &t->b, err));
    for (size_t i = 0; i < t->a->count; i++) {
        pq_f32(t->a)[i] = (float)(bound * (2.0 * pq_rng_uniform(&rng) - 1.0));
    }
cleanup:
    return st;
}

/* b, a with scale b a the best product of rank r in place of a matrix. */
static pq_status best_product(const pq_tensor *matrix, size_t rank, double scale,
                              pq_tensor **b, pq_tensor **a, pq_err *err)
{
    const double root = 1.0 / sqrt(scale);
    pq_svd_part  part = {0};
    pq_status    st;

    PQ_TRY(pq_svd_leading(matrix,
                          pq_svd_rung(matrix->shape.dim[0], matrix->shape.dim[1], rank),
                          &part, err));
    for (size_t k = 0; k < rank; k++) {
        pq_f64(part.svd.s)[k] *= root * root;
    }
    PQ_TRY(pq_svd_split(&part.svd, rank, b, a, err));
cleanup:
    pq_svd_part_free(&part);
    return st;
}

static pq_status put_in_nf4(const lora_params *p, pq_weight *w, pq_err *err)
{
    const pq_quantize_params nf4     = {.format        = PQ_FORMAT_NF4,
                                        .granularity   = PQ_PER_GROUP,
                                        .group         = p->group,
                                        .double_scales = p->double_scales};
    double                   sums[2] = {0.0, 0.0};

    return pq_quantize_weight(&nf4, w, NULL, sums, err);
}

/* The base becomes what the product leaves of it. */
static pq_status start_at_components(const lora_params *p, target *t, pq_err *err)
{
    pq_tensor *matrix = NULL, *rest = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_convert(t->w->value, PQ_DTYPE_F64, &matrix, err));
    PQ_TRY(pq_tensor_reshape(matrix, PQ_SHAPE(t->m, t->n), err));
    PQ_TRY(best_product(matrix, t->rank, t->scale, &t->b, &t->a, err));
    PQ_TRY(pq_lora_sum(t->w->value, -t->scale, t->b, t->a, &rest, err));
    if (p->base == NF4) {
        pq_quant_free(&t->w->quant);
    }
    PQ_TRY(pq_lora_set(t->w, rest, err));
cleanup:
    pq_tensor_free(&matrix);
    pq_tensor_free(&rest);
    return st;
}

/* One round of LoftQ: a trial of the base, and the product of what it loses of x. */
static pq_status loftq_round(const lora_params *p, const target *t, const pq_tensor *x,
                             const target *from, target *to, pq_err *err)
{
    pq_tensor *rest = NULL, *lost = NULL;
    pq_status  st;

    if (from->a != NULL) {
        PQ_TRY(pq_lora_sum(x, -t->scale, from->b, from->a, &rest, err));
        PQ_TRY(pq_lora_set(to->w, rest, err));
    }
    PQ_TRY(put_in_nf4(p, to->w, err));
    PQ_TRY(pq_tensor_convert(x, PQ_DTYPE_F64, &lost, err));
    PQ_TRY(pq_tensor_reshape(lost, PQ_SHAPE(t->m, t->n), err));
    for (size_t i = 0; i < lost->count; i++) {
        pq_f64(lost)[i] -= (double)pq_f32(to->w->value)[i];
    }
    PQ_TRY(best_product(lost, t->rank, t->scale, &to->b, &to->a, err));
cleanup:
    pq_tensor_free(&rest);
    pq_tensor_free(&lost);
    return st;
}

/* Takes the best of all rounds. */
static pq_status start_at_loss(const lora_params *p, target *t, pq_err *err)
{
    pq_tensor *x     = NULL;
    target     last  = {0}, next;
    pq_weight  trial = {.name = t->w->name};
    double     least = HUGE_VAL, error;
    pq_status  st;

    PQ_TRY(pq_tensor_clone(t->w->value, &x, err));
    for (int64_t round = 0; round < p->loftq_rounds; round++) {
        next = (target){.w = &trial};
        PQ_TRY(pq_tensor_clone(x, &trial.value, err));
        st = loftq_round(p, t, x, &last, &next, err);
        free_target(&last);
        last = next;
        PQ_TRY(st);
        PQ_TRY(pq_lora_error(x, trial.value, t->scale, last.b, last.a, &error, err));
        if (error < least) {
            least = error;
            free_target(t);
            PQ_TRY(pq_tensor_clone(last.a, &t->a, err));
            PQ_TRY(pq_tensor_clone(last.b, &t->b, err));
            pq_tensor_free(&t->w->value);
            pq_quant_free(&t->w->quant);
            t->w->value = trial.value;
            t->w->quant = trial.quant;
            trial.value = NULL;
            trial.quant = NULL;
        }
        pq_tensor_free(&trial.value);
        pq_quant_free(&trial.quant);
    }
    pq_weight_unprune(t->w);
cleanup:
    free_target(&last);
    pq_tensor_free(&x);
    pq_tensor_free(&trial.value);
    pq_quant_free(&trial.quant);
    return st;
}

static pq_status start(const pq_compress_task *task, target *t, pq_err *err)
{
    const lora_params *p = task->params;
    pq_status          st;

    if (p->init == LOFTQ) {
        return start_at_loss(p, t, err);
    }
    PQ_TRY(p->init == PISSA ? start_at_components(p, t, err)
                            : start_at_zero(t, task->seed, err));
    if (p->base == NF4) {
        PQ_TRY(put_in_nf4(p, t->w, err));
    }
cleanup:
    return st;
}

/* Layer of one part of the adapter; takes a and b of the target where it uses them. */
static pq_status make_part(const lora_params *p, const pq_layer *base, target *t,
                           int part, pq_layer **out, pq_err *err)
{
    static const char *const kinds[] = {"dropout", NULL, "scale", NULL, "add"};
    const bool               conv    = strcmp(base->kind->name, "conv2d") == 0;
    const size_t            *d       = t->w->value->shape.dim;
    pq_tensor               *kernel;
    pq_status                st;

    if (part == PQ_LORA_A || part == PQ_LORA_B) {
        kernel = part == PQ_LORA_A ? t->a : t->b;
        if (conv) {
            PQ_TRY(pq_tensor_reshape(kernel,
                                     part == PQ_LORA_A
                                         ? PQ_SHAPE(t->rank, d[1], d[2], d[3])
                                         : PQ_SHAPE(d[0], 1, 1, t->rank),
                                     err));
        }
        *(part == PQ_LORA_A ? &t->a : &t->b) = NULL;
        PQ_TRY(pq_factor_layer(base->kind->name, kernel, out, err));
        if (conv && part == PQ_LORA_A) {
            *(pq_conv2d_params *)(*out)->params = *(const pq_conv2d_params *)base->params;
        }
        return PQ_OK;
    }
    PQ_TRY(pq_layer_create(kinds[part], out, err));
    if (part == PQ_LORA_DROP) {
        ((pq_dropout_params *)(*out)->params)->rate = p->dropout;
    } else if (part == PQ_LORA_SCALE) {
        ((pq_scale_params *)(*out)->params)->factor = t->scale;
    }
cleanup:
    return st;
}

/* Puts the adapter behind its base. */
static pq_status insert(pq_compress_task *task, target *t, pq_err *err)
{
    const pq_node *base                 = &task->graph->nodes[t->node];
    pq_node        fresh[PQ_LORA_PARTS] = {0};
    size_t         input                = base->inputs[0];
    pq_status      st;

    for (int part = 0; part < PQ_LORA_PARTS; part++) {
        pq_node *node = &fresh[part];
        node->name    = pq_lora_name(t->name, part);
        PQ_CHECK(node->name != NULL, PQ_ERR_NOMEM, "cannot allocate a string");
        PQ_TRY(make_part(task->params, base->layer, t, part, &node->layer, err));
        node->n_inputs  = 1;
        node->inputs[0] = input;
        input           = t->node + 1 + (size_t)part;
    }
    fresh[PQ_LORA_ADD].inputs[1] = fresh[PQ_LORA_ADD].inputs[0];
    fresh[PQ_LORA_ADD].inputs[0] = t->node;
    fresh[PQ_LORA_ADD].n_inputs  = 2;
    return pq_graph_insert(task->graph, t->node, PQ_LORA_PARTS, fresh, err);
cleanup:
    for (int part = 0; part < PQ_LORA_PARTS; part++) {
        pq_node_free(&fresh[part]);
    }
    return st;
}

static pq_status add(pq_compress_task *task, const char *name, pq_err *err)
{
    const lora_params *p = task->params;
    target             t = {0};
    pq_tensor         *x = NULL;
    double             error;
    pq_status          st;

    PQ_TRY(open_target(task, name, &t, err));
    PQ_TRY(pq_tensor_clone(t.w->value, &x, err));
    PQ_TRY(start(task, &t, err));
    PQ_TRY(pq_lora_error(x, t.w->value, t.scale, t.b, t.a, &error, err));
    PQ_TRY(insert(task, &t, err));
    PQ_TRY(pq_task_change(task, name, error,
                          "adapters of rank %zu, scale %g, %s%s: %zu "
                          "values to train",
                          t.rank, t.scale, inits[p->init],
                          p->base == NF4 ? " beside nf4" : "", t.rank * (t.m + t.n)));
cleanup:
    free_target(&t);
    pq_tensor_free(&x);
    return st;
}

static pq_status one(pq_compress_task *task, const char *name, pq_err *err)
{
    const lora_params *p = task->params;

    switch (p->action) {
    case MERGE:
        return pq_lora_merge(task, name, p->keep, err);
    case UNMERGE:
        return pq_lora_unmerge(task, name, err);
    default:
        return add(task, name, err);
    }
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const lora_params *p  = task->params;
    pq_status          st = PQ_OK;

    for (size_t i = 0; i < task->n_nodes; i++) {
        pq_progress_report(task->progress, "layers", i, task->n_nodes, task->nodes[i]);
        st = one(task, task->nodes[i], err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", task->nodes[i]);
            goto cleanup;
        }
    }
    PQ_CHECK(task->n_changes > 0, PQ_ERR_CONFIG, "%s",
             p->action == MERGE ? "no selected layer has adapters to merge"
                                : "no selected layer was merged with keep = true");
cleanup:
    return st;
}

static bool draws(const void *values)
{
    const lora_params *p = values;

    return p->action == ADD && p->init == ZERO;
}

const pq_method pq_method_lora = {
    .name    = "lora",
    .summary = "low-rank adapters on frozen weights, which may be in nf4; merged into "
               "them and taken out again",
    .source  = "arXiv:2106.09685, arXiv:2305.14314, arXiv:2404.02948, arXiv:2310.08659",
    .params  = params,
    .params_size = sizeof(lora_params),
    .version     = "1",
    .keeps       = PQ_KEEPS_GRIDS | PQ_KEEPS_ACTIVATIONS,
    .draws       = draws,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
