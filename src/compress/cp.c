/*
 * Canonical polyadic decomposition of a convolution into terms that are each a product of
 * vectors: 1 x 1 to r channels, a depthwise window, 1 x 1 to all channels.
 *
 * three axes (default): [o, (a, b), i]: the window is one depthwise h x w; values
 *                       r (O + h w + I).
 * four axes:            [o, a, b, i]: depthwise h x 1 (which keeps what belongs to rows),
 *                       then 1 x w; values r (O + h + w + I).
 *
 * Depthwise layers keep stride, padding and dilation.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/lowrank.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "layers/kinds.h"
#include "linalg/cp.h"

enum { THREE, FOUR };

typedef struct {
    pq_rank_params rank;
    int            axes;
    int64_t        starts, sweeps;
    double         ridge, swell;
} cp_params;

static const char *const axes_names[] = {"three", "four", NULL};

static const pq_param params[] = {
    PQ_RANK_ROWS(cp_params, rank),
    {.name     = "axes",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(cp_params, axes),
     .fallback = "three",
     .choices  = axes_names,
     .help     = "three: one depthwise h x w; four: depthwise h x 1, then 1 x w"},
    {.name     = "starts",
     .type     = PQ_PARAM_INT,
     .offset   = offsetof(cp_params, starts),
     .fallback = "5",
     .min      = 1,
     .max      = 1000,
     .help     = "starts of the iteration: singular vectors, then random ones"},
    {.name     = "sweeps",
     .type     = PQ_PARAM_INT,
     .offset   = offsetof(cp_params, sweeps),
     .fallback = "200",
     .min      = 1,
     .max      = 100000,
     .help     = "most sweeps of each start"},
    {.name     = "ridge",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(cp_params, ridge),
     .fallback = "1e-8",
     .min      = 0,
     .max      = 1,
     .help     = "part of their mean diagonal that is added to the normal equations"},
    {.name     = "swell",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(cp_params, swell),
     .fallback = "100",
     .min      = 0,
     .max      = 1e12,
     .help     = "sum of the terms' squares over the kernel's above which they are "
                 "corrected"},
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const cp_params *p = values;
    pq_status        st;

    PQ_CHECK(isnan(p->rank.energy) && !p->rank.evbmf, PQ_ERR_CONFIG,
             "terms have no singular values: give rank, ratio or epsilon");
    PQ_TRY(pq_rank_check(&p->rank, 0, "rank, epsilon and ratio", err));
cleanup:
    return st;
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    return pq_node_is(node, "conv2d") && pq_accepts_kernel(graph, node);
}

/* Values of one term. */
static size_t term_values(const pq_shape *k, int axes)
{
    const size_t *d = k->dim;

    return d[0] + d[3] + (axes == THREE ? d[1] * d[2] : d[1] + d[2]);
}

/* The largest rank there is: more terms than the product of all sizes but the largest
 * are never needed. */
static size_t rank_limit(const pq_tensor *t)
{
    size_t largest = 1;

    for (size_t k = 0; k < t->shape.ndim; k++) {
        largest = t->shape.dim[k] > largest ? t->shape.dim[k] : largest;
    }
    return t->count / largest;
}

static pq_status view(const pq_tensor *kernel, int axes, pq_tensor **out, pq_err *err)
{
    const size_t *d = kernel->shape.dim;
    pq_status     st;

    PQ_TRY(pq_tensor_convert(kernel, PQ_DTYPE_F64, out, err));
    if (axes == THREE) {
        PQ_TRY(pq_tensor_reshape(*out, PQ_SHAPE(d[0], d[1] * d[2], d[3]), err));
    }
cleanup:
    return st;
}

/* The fewest terms within epsilon: doubling, then halving the interval. Ends at `limit`
 * where none is that good. */
static pq_status search(const pq_tensor *t, double epsilon, size_t limit,
                        const pq_cp_options *options, pq_cp *out, size_t *rank,
                        pq_err *err)
{
    size_t    lo = 0, hi = 1;
    bool      found = false;
    pq_cp     cp    = {0};
    pq_status st    = PQ_OK;

    while (true) {
        const size_t r = found ? (lo + hi) / 2 : hi;
        PQ_TRY(pq_cp_als(t, r, options, &cp, err));
        const bool good = cp.error <= epsilon || (!found && r == limit);
        if (good) {
            pq_cp_free(out);
            *out  = cp;
            cp    = (pq_cp){0};
            *rank = hi = r;
            found      = true;
        } else {
            pq_cp_free(&cp);
            lo = r;
            hi = found ? hi : 2 * hi < limit ? 2 * hi : limit;
        }
        if (found && hi - lo <= 1) {
            break;
        }
    }
cleanup:
    pq_cp_free(&cp);
    return st;
}

static pq_status choose(const cp_params *p, const pq_shape *kernel, size_t limit,
                        size_t *rank, pq_err *err)
{
    const size_t count =
        kernel->dim[0] * kernel->dim[1] * kernel->dim[2] * kernel->dim[3];
    const size_t each = term_values(kernel, p->axes);
    pq_status    st   = PQ_OK;

    if (!isnan(p->rank.ratio)) {
        *rank = (size_t)((double)count / (p->rank.ratio * (double)each));
        *rank = *rank < 1 ? 1 : *rank < limit ? *rank : limit;
        if (p->rank.align > 1) {
            const size_t step = (size_t)p->rank.align;
            *rank             = *rank < step ? step : *rank / step * step;
        }
        return PQ_OK;
    }
    PQ_CHECK((uint64_t)p->rank.rank <= limit || p->rank.clip_rank, PQ_ERR_RANGE,
             "rank %lld is not in 1..%zu", (long long)p->rank.rank, limit);
    *rank = (uint64_t)p->rank.rank < limit ? (size_t)p->rank.rank : limit;
cleanup:
    return st;
}

/* A factor [n, r] in double as a kernel of that shape, transposed to [r, n] or not. */
static pq_status factor_layer(const pq_tensor *factor, bool transposed, pq_shape shape,
                              pq_layer **out, pq_err *err)
{
    const size_t swap[] = {1, 0};
    pq_tensor   *narrow = NULL, *t = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_convert(factor, PQ_DTYPE_F32, &narrow, err));
    if (transposed) {
        PQ_TRY(pq_tensor_permute(narrow, swap, &t, err));
        pq_tensor_free(&narrow);
        narrow = t;
        t      = NULL;
    }
    PQ_TRY(pq_tensor_reshape(narrow, shape, err));
    st     = pq_factor_layer("conv2d", narrow, out, err);
    narrow = NULL;
cleanup:
    pq_tensor_free(&narrow);
    return st;
}

/* Attributes of the depthwise layers: of the whole window, or of its rows or columns. */
static void depthwise(const pq_conv2d_params *p, size_t rank, bool rows, bool columns,
                      pq_layer *layer)
{
    pq_conv2d_params *to = layer->params;

    *to        = *p;
    to->groups = (int64_t)rank;
    if (!rows) {
        to->window.stride_h = 1;
        to->window.pad_top = to->window.pad_bottom = 0;
        to->dilation_h                             = 1;
    }
    if (!columns) {
        to->window.stride_w = 1;
        to->window.pad_left = to->window.pad_right = 0;
        to->dilation_w                             = 1;
    }
}

static pq_status replace(pq_graph *graph, size_t node, const pq_cp *cp, pq_err *err)
{
    const pq_layer         *old = graph->nodes[node].layer;
    const pq_conv2d_params *p   = old->params;
    const size_t           *d   = pq_layer_weight(old, "kernel")->value->shape.dim;
    const size_t            r = cp->factor[0]->shape.dim[1], last = cp->d;
    pq_layer               *layers[4] = {NULL};
    pq_status               st;

    PQ_TRY(factor_layer(cp->factor[last - 1], true, PQ_SHAPE(r, 1, 1, d[3]), &layers[0],
                        err));
    if (cp->d == 3) {
        PQ_TRY(factor_layer(cp->factor[1], true, PQ_SHAPE(r, d[1], d[2], 1), &layers[1],
                            err));
        depthwise(p, r, true, true, layers[1]);
    } else {
        PQ_TRY(
            factor_layer(cp->factor[1], true, PQ_SHAPE(r, d[1], 1, 1), &layers[1], err));
        PQ_TRY(
            factor_layer(cp->factor[2], true, PQ_SHAPE(r, 1, d[2], 1), &layers[2], err));
        depthwise(p, r, true, false, layers[1]);
        depthwise(p, r, false, true, layers[2]);
    }
    PQ_TRY(factor_layer(cp->factor[0], false, PQ_SHAPE(d[0], 1, 1, r), &layers[last - 1],
                        err));
    PQ_TRY(pq_chain_replace(graph, node, last, layers, NULL, err));
cleanup:
    for (size_t i = 0; i < 4; i++) {
        pq_layer_free(&layers[i]);
    }
    return st;
}

static pq_status rebuild(pq_graph *graph, size_t node, const pq_cp *cp, pq_err *err)
{
    const pq_shape shape =
        pq_layer_weight(graph->nodes[node].layer, "kernel")->value->shape;
    pq_tensor *full = NULL, *narrow = NULL;
    pq_status  st;

    PQ_TRY(pq_cp_full(cp, &full, err));
    PQ_TRY(pq_tensor_reshape(full, shape, err));
    PQ_TRY(pq_tensor_convert(full, PQ_DTYPE_F32, &narrow, err));
    PQ_TRY(pq_kernel_replace(graph, node, narrow, NULL, err));
cleanup:
    pq_tensor_free(&full);
    return st;
}

static pq_status apply_one(pq_compress_task *task, const char *name, pq_err *err)
{
    const cp_params *p  = task->params;
    const size_t     at = pq_graph_find(task->graph, name);
    const pq_tensor *kernel =
        pq_layer_weight(task->graph->nodes[at].layer, "kernel")->value;
    pq_cp_options options = pq_cp_defaults;
    pq_tensor    *t       = NULL;
    pq_cp         cp      = {0};
    size_t        rank    = 0;
    char          words[48];
    pq_status     st;

    options.starts     = (size_t)p->starts;
    options.max_sweeps = (size_t)p->sweeps;
    options.ridge      = p->ridge;
    options.swell      = p->swell;
    options.seed       = task->seed;
    PQ_TRY(view(kernel, p->axes, &t, err));
    if (!isnan(p->rank.epsilon)) {
        PQ_TRY(search(t, p->rank.epsilon, rank_limit(t), &options, &cp, &rank, err));
    } else {
        PQ_TRY(choose(p, &kernel->shape, rank_limit(t), &rank, err));
    }
    const size_t after   = rank * term_values(&kernel->shape, p->axes);
    const bool   gains   = after < kernel->count;
    const bool   rebuilt = p->rank.run_as == PQ_RUN_RECONSTRUCTED ||
                         (p->rank.run_as == PQ_RUN_AUTO && !gains);

    (void)snprintf(words, sizeof words, "rank %zu", rank);
    if (p->rank.keep_dense && !gains && !rebuilt) {
        PQ_TRY(pq_note_dense(task, name, words, kernel->count, after, err));
        goto cleanup;
    }
    if (cp.d == 0) {
        PQ_TRY(pq_cp_als(t, rank, &options, &cp, err));
    }
    PQ_TRY(rebuilt ? rebuild(task->graph, at, &cp, err)
                   : replace(task->graph, at, &cp, err));
    PQ_TRY(pq_task_change(task, name, cp.error, "%s, swell %.2g%s%s", words, cp.swell,
                          cp.corrected ? " corrected" : "",
                          rebuilt ? ", reconstructed" : ""));
cleanup:
    pq_tensor_free(&t);
    pq_cp_free(&cp);
    return st;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_task_each(task, ((const cp_params *)task->params)->rank.fold, apply_one,
                        err);
}

const pq_method pq_method_cp = {
    .name        = "cp",
    .summary     = "convolutions as 1 x 1, depthwise window, 1 x 1 (CP by ALS)",
    .source      = "arXiv:1412.6553, arXiv:2008.05441",
    .params      = params,
    .params_size = sizeof(cp_params),
    .version     = "1",
    .stochastic  = true,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
