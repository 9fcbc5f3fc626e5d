/*
 * Canonical polyadic decomposition of a convolution into terms that are each a product of
 * vectors: 1 x 1 to r channels, a depthwise window, 1 x 1 to all channels.
 *
 * three axes (default): [o, (a, b), i]: the window is one depthwise h x w; values
 *                       r (O + h w + I).
 * four axes:            [o, a, b, i]: depthwise h x 1 (which keeps what belongs to rows),
 *                       then 1 x w; values r (O + h + w + I).
 *
 * Depthwise layers keep stride, padding and dilation. With `whiten` errors are those of
 * the layer's outputs (linalg/whitened.h).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/lowrank.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "core/text.h"
#include "layers/kinds.h"
#include "linalg/cp.h"
#include "linalg/whitened.h"

enum { THREE, FOUR };

typedef struct {
    pq_rank_params rank;
    int            axes;
    int64_t        starts, sweeps;
    double         ridge, swell;
    bool           whiten, bias_correction;
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
     .fallback = "1e-10",
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
    PQ_WHITEN_ROWS(cp_params),
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const cp_params *p = values;
    pq_status        st;

    PQ_TRY(pq_rank_check(&p->rank, 0, "", err));
    PQ_CHECK(!p->whiten || !p->rank.evbmf, PQ_ERR_CONFIG,
             "evbmf looks for noise in weights, so whiten does not go with it");
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

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A layer, seen as a tensor of three or four axes. */
typedef struct {
    size_t        node;
    pq_shape      kernel;
    pq_tensor    *t;
    pq_cp_options options;
    pq_whiten     white;
} target;

static void free_target(target *t)
{
    pq_tensor_free(&t->t);
    pq_whiten_free(&t->white);
}

/* Terms for the weight, and with `whiten` on from there for the outputs. */
static pq_status decompose(const target *t, size_t rank, pq_cp *cp, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_cp_als(t->t, rank, &t->options, cp, err));
    if (t->white.gram != NULL) {
        PQ_TRY(pq_cp_whitened(t->t, t->white.moments, &t->options, cp, err));
    }
cleanup:
    return st;
}

/* The fewest terms (in multiples of `step`) within epsilon: doubling, then halving the
 * interval. Ends at `limit` where none is that good. */
static pq_status search(const target *t, double epsilon, size_t limit, size_t step,
                        pq_cp *out, size_t *rank, pq_err *err)
{
    const size_t most = (limit + step - 1) / step;
    size_t       lo = 0, hi = 1;
    bool         found = false;
    pq_cp        cp    = {0};
    pq_status    st    = PQ_OK;

    while (!found || hi - lo > 1) {
        const size_t at = found ? (lo + hi) / 2 : hi, r = least_of(at * step, limit);
        PQ_TRY(decompose(t, r, &cp, err));
        if (cp.error <= epsilon || (!found && at == most)) {
            pq_cp_free(out);
            *out  = cp;
            cp    = (pq_cp){0};
            *rank = r;
            hi    = at;
            found = true;
        } else {
            pq_cp_free(&cp);
            lo = at;
            hi = found ? hi : least_of(2 * hi, most);
        }
    }
cleanup:
    pq_cp_free(&cp);
    return st;
}

/* EVBMF of a tensor: the largest rank of its unfoldings. */
static pq_status rank_of_noise(const pq_compress_task *task, const pq_tensor *t,
                               size_t *rank, pq_err *err)
{
    const cp_params *p    = task->params;
    pq_side          side = {0};
    pq_status        st   = PQ_OK;

    *rank = 1;
    for (size_t k = 0; k < t->shape.ndim; k++) {
        PQ_TRY(pq_side_open(task->cache, t, k, &side, err));
        const pq_spectrum s = pq_side_spectrum(&side);
        const size_t      r = pq_rank_of_noise(&p->rank, &s);
        *rank               = r > *rank ? r : *rank;
        pq_side_free(&side);
    }
cleanup:
    pq_side_free(&side);
    return st;
}

static pq_status choose(const pq_compress_task *task, const pq_shape *kernel,
                        const pq_tensor *t, size_t *rank, pq_err *err)
{
    const cp_params *p     = task->params;
    const double     ratio = pq_rank_ratio(&p->rank);
    const size_t     limit = rank_limit(t), each = term_values(kernel, p->axes);
    pq_status        st = PQ_OK;

    if (!isnan(ratio)) {
        *rank = (size_t)((double)t->count / (ratio * (double)each));
        *rank = pq_rank_down(*rank < 1 ? 1 : least_of(*rank, limit), p->rank.align);
        return PQ_OK;
    }
    if (p->rank.evbmf) {
        PQ_TRY(rank_of_noise(task, t, rank, err));
    } else {
        PQ_CHECK((uint64_t)p->rank.rank <= limit || p->rank.clip_rank, PQ_ERR_RANGE,
                 "rank %lld is not in 1..%zu", (long long)p->rank.rank, limit);
        *rank = (size_t)p->rank.rank;
    }
    *rank = pq_rank_up(*rank, p->rank.align, limit);
cleanup:
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

static pq_status replace(pq_graph *graph, size_t node, const pq_cp *cp,
                         const double *shift, pq_err *err)
{
    const pq_layer         *old = graph->nodes[node].layer;
    const pq_conv2d_params *p   = old->params;
    const size_t           *d   = pq_layer_weight(old, "kernel")->value->shape.dim;
    const size_t            r = cp->factor[0]->shape.dim[1], last = cp->d;
    pq_layer               *layers[4] = {NULL};
    pq_status               st;

    PQ_TRY(pq_factor_conv(cp->factor[last - 1], true, PQ_SHAPE(r, 1, 1, d[3]), &layers[0],
                          err));
    if (cp->d == 3) {
        PQ_TRY(pq_factor_conv(cp->factor[1], true, PQ_SHAPE(r, d[1], d[2], 1), &layers[1],
                              err));
        depthwise(p, r, true, true, layers[1]);
    } else {
        PQ_TRY(pq_factor_conv(cp->factor[1], true, PQ_SHAPE(r, d[1], 1, 1), &layers[1],
                              err));
        PQ_TRY(pq_factor_conv(cp->factor[2], true, PQ_SHAPE(r, 1, d[2], 1), &layers[2],
                              err));
        depthwise(p, r, true, false, layers[1]);
        depthwise(p, r, false, true, layers[2]);
    }
    PQ_TRY(pq_factor_conv(cp->factor[0], false, PQ_SHAPE(d[0], 1, 1, r),
                          &layers[last - 1], err));
    PQ_TRY(pq_chain_replace(graph, node, last, layers, shift, err));
cleanup:
    for (size_t i = 0; i < 4; i++) {
        pq_layer_free(&layers[i]);
    }
    return st;
}

static pq_status rebuild(pq_graph *graph, size_t node, pq_tensor *full,
                         const double *shift, pq_err *err)
{
    const pq_shape shape =
        pq_layer_weight(graph->nodes[node].layer, "kernel")->value->shape;
    pq_tensor *narrow = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_reshape(full, shape, err));
    PQ_TRY(pq_tensor_convert(full, PQ_DTYPE_F32, &narrow, err));
    PQ_TRY(pq_kernel_replace(graph, node, narrow, shift, err));
cleanup:
    return st;
}

static pq_status open_target(const pq_compress_task *task, const char *name, target *t,
                             pq_err *err)
{
    const cp_params *p = task->params;
    const pq_tensor *kernel;
    pq_status        st;

    t->node    = pq_graph_find(task->graph, name);
    kernel     = pq_layer_weight(task->graph->nodes[t->node].layer, "kernel")->value;
    t->kernel  = kernel->shape;
    t->options = pq_cp_defaults;
    t->options.starts     = (size_t)p->starts;
    t->options.max_sweeps = (size_t)p->sweeps;
    t->options.ridge      = p->ridge;
    t->options.swell      = p->swell;
    t->options.seed       = task->seed;
    PQ_TRY(view(kernel, p->axes, &t->t, err));
    if (p->whiten) {
        PQ_TRY(pq_whiten_open(task, name, kernel, p->bias_correction, &t->white, err));
    }
cleanup:
    return st;
}

/* Puts `rank` terms into the graph; they are found here where `cp` is empty. */
static pq_status reduce(pq_compress_task *task, const char *name, const target *t,
                        size_t rank, bool shared, pq_cp *cp, pq_err *err)
{
    const cp_params *p       = task->params;
    const size_t     after   = rank * term_values(&t->kernel, p->axes);
    const double     epsilon = pq_rank_epsilon(&p->rank);
    const bool       gains   = after < t->t->count;
    const bool       rebuilt = p->rank.run_as == PQ_RUN_RECONSTRUCTED;
    const bool       misses  = cp->d > 0 && cp->error > epsilon;
    pq_tensor       *full    = NULL;
    double          *shift   = NULL;
    char             words[64];
    pq_status        st;

    (void)snprintf(words, sizeof words, "rank %zu", rank);
    if (p->rank.keep_dense && !gains && !rebuilt && !shared) {
        return pq_note_dense(task, name, words, t->t->count, after, err);
    }
    if (cp->d == 0) {
        PQ_TRY(decompose(t, rank, cp, err));
    }
    PQ_TRY(pq_cp_full(cp, &full, err));
    if (p->whiten && p->bias_correction) {
        PQ_TRY(pq_calib_shift(t->white.gram, t->white.wide, full, &shift, err));
    }
    PQ_TRY(rebuilt ? rebuild(task->graph, t->node, full, shift, err)
                   : replace(task->graph, t->node, cp, shift, err));
    PQ_TRY(pq_task_change(task, name, cp->error, "%s, swell %.2g%s%s%s", words, cp->swell,
                          cp->corrected ? " corrected" : "",
                          p->whiten ? ", error of the outputs" : "",
                          rebuilt ? ", reconstructed" : ""));
    if (misses && isnan(p->rank.energy)) {
        pq_change_miss(&task->changes[task->n_changes - 1], "epsilon", epsilon,
                       cp->error);
    } else if (misses) {
        pq_change_miss(&task->changes[task->n_changes - 1], "energy", p->rank.energy,
                       1.0 - cp->error * cp->error);
    }
cleanup:
    pq_tensor_free(&full);
    pq_free(shift);
    return st;
}

/* One layer; `rank` is given by a budget, or 0. */
static pq_status apply_one(pq_compress_task *task, const char *name, size_t rank,
                           pq_err *err)
{
    const cp_params *p       = task->params;
    const double     epsilon = pq_rank_epsilon(&p->rank);
    const bool       shared  = rank > 0;
    target           t       = {0};
    pq_cp            cp      = {0};
    pq_status        st;

    PQ_TRY(open_target(task, name, &t, err));
    if (!shared && !isnan(epsilon)) {
        PQ_TRY(
            search(&t, epsilon, rank_limit(t.t), (size_t)p->rank.align, &cp, &rank, err));
    } else if (!shared) {
        PQ_TRY(choose(task, &t.kernel, t.t, &rank, err));
    }
    PQ_TRY(reduce(task, name, &t, rank, shared, &cp, err));
cleanup:
    free_target(&t);
    pq_cp_free(&cp);
    return st;
}

/* Operations of one term. */
static double term_macs(const pq_graph *graph, const target *t, int axes)
{
    const pq_pixels px = pq_pixels_of(graph, t->node);
    const size_t   *d  = t->kernel.dim;
    const double    h = (double)d[1], w = (double)d[2];

    return px.in * (double)d[3] + px.out * (double)d[0] +
           (axes == THREE ? px.out * h * w : px.rows * h + px.out * w);
}

/* Ranks up to one, with losses that fall evenly (in their logarithms) to its own. */
static pq_status offer_up_to(pq_share *share, const target *t, const cp_params *p,
                             double macs, size_t from, double before, size_t to,
                             double loss, pq_err *err)
{
    const size_t step = (size_t)p->rank.align, each = term_values(&t->kernel, p->axes);
    pq_status    st = PQ_OK;

    for (size_t r = least_of(from + step, to); r > from; r = least_of(r + step, to)) {
        const double part = (double)(r - from) / (double)(to - from);
        PQ_TRY(pq_share_add(share, r, (double)(r * each), (double)r * macs,
                            pow(before, 1.0 - part) * pow(loss, part), err));
        if (r == to) {
            break;
        }
    }
cleanup:
    return st;
}

/* Losses are measured by one short iteration at ranks that double. */
static pq_status offer(pq_compress_task *task, const char *name, pq_share *share,
                       pq_err *err)
{
    enum { PROBE_SWEEPS = 20 };
    const cp_params *p      = task->params;
    double           before = 1.0, macs;
    size_t           from   = 0, limit;
    target           t      = {0};
    pq_cp            cp     = {0};
    pq_status        st;

    PQ_TRY(open_target(task, name, &t, err));
    macs  = term_macs(task->graph, &t, p->axes);
    limit = rank_limit(t.t);
    if (share->limit < HUGE_VAL) { /* none above break-even is of use */
        limit = least_of(
            limit,
            (size_t)(share->limit /
                     (share->by_macs ? macs : (double)term_values(&t.kernel, p->axes))));
    }
    t.options.starts     = 1;
    t.options.max_sweeps = least_of(t.options.max_sweeps, PROBE_SWEEPS);
    for (size_t to = least_of((size_t)p->rank.align, limit); to > from;
         to        = least_of(2 * to, limit)) {
        PQ_TRY(decompose(&t, to, &cp, err));
        const double loss = fmin(cp.error * cp.error, before);
        pq_cp_free(&cp);
        PQ_TRY(offer_up_to(share, &t, p, macs, from, before, to, loss, err));
        from   = to;
        before = loss;
    }
cleanup:
    free_target(&t);
    pq_cp_free(&cp);
    return st;
}

static unsigned needs(const void *values)
{
    const cp_params *p = values;

    return (p->whiten ? PQ_NEEDS_GRAMS : 0) | pq_rank_needs(&p->rank);
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const pq_lowrank_steps steps = {sizeof(cp_params), offer, apply_one};

    return pq_lowrank_apply(task, &((const cp_params *)task->params)->rank, &steps, err);
}

const pq_method pq_method_cp = {
    .name        = "cp",
    .summary     = "convolutions as 1 x 1, depthwise window, 1 x 1 (CP by ALS)",
    .source      = "arXiv:1412.6553, arXiv:2008.05441, arXiv:2511.04494 (whiten)",
    .params      = params,
    .params_size = sizeof(cp_params),
    .version     = "4",
    .keeps       = PQ_KEEPS_ACTIVATIONS,
    .draws       = pq_draws_always,
    .needs       = needs,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
