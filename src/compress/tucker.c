/*
 * Tucker-2 of a convolution: the kernel [o, a, b, i] = sum_{p, q} U[o, p] C[p, a, b, q]
 * V[i, q] becomes 1 x 1 to r_in channels, h x w to r_out that keeps stride, padding and
 * dilation, and 1 x 1 to all channels.
 *
 * Values: I r_in + h w r_in r_out + r_out O. HOSVD gives both factors; HOOI improves them
 * while it pays. `epsilon` holds: each side drops at most epsilon |W| / sqrt(2). With
 * `whiten` all of this is said of the layer's outputs (linalg/whitened.h), `epsilon` as
 * if the pixels of a patch were independent.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/lowrank.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "layers/kinds.h"
#include "linalg/tucker.h"
#include "linalg/whitened.h"

typedef struct {
    pq_rank_params rank;
    int64_t        rank_in, sweeps;
    bool           whiten, bias_correction;
} tucker_params;

static const pq_param params[] = {
    PQ_RANK_ROWS(tucker_params, rank),
    {.name   = "rank_in",
     .type   = PQ_PARAM_INT,
     .offset = offsetof(tucker_params, rank_in),
     .min    = 1,
     .max    = 1048576,
     .help   = "channels kept on the input side, where `rank` is for the output's alone"},
    {.name     = "sweeps",
     .type     = PQ_PARAM_INT,
     .offset   = offsetof(tucker_params, sweeps),
     .fallback = "50",
     .min      = 0,
     .max      = 10000,
     .help     = "most sweeps of HOOI; 0 is HOSVD"},
    PQ_WHITEN_ROWS(tucker_params),
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const tucker_params *p = values;
    pq_status            st;

    PQ_TRY(pq_rank_check(&p->rank, 0, "", err));
    PQ_CHECK(p->rank_in == PQ_UNSET || p->rank.rank != PQ_UNSET, PQ_ERR_CONFIG,
             "rank_in goes with rank only");
    PQ_CHECK(!p->whiten || !p->rank.evbmf, PQ_ERR_CONFIG,
             "evbmf looks for noise in weights, so whiten does not go with it");
cleanup:
    return st;
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    return pq_node_is(node, "conv2d") && pq_accepts_kernel(graph, node);
}

static size_t values_of(const pq_shape *k, size_t out, size_t in)
{
    return k->dim[3] * in + k->dim[1] * k->dim[2] * in * out + k->dim[0] * out;
}

/* What a layer is factored from. */
typedef struct {
    size_t           node;
    const pq_tensor *kernel;
    pq_side          out, in; /* the unfoldings at its channels */
    pq_whiten        white;
} target;

static void free_target(target *t)
{
    pq_side_free(&t->out);
    pq_side_free(&t->in);
    pq_whiten_free(&t->white);
}

/* The sides of the outputs in place of the weight's. */
static pq_status open_whitened(const pq_compress_task *task, const char *name, target *t,
                               pq_err *err)
{
    const tucker_params *p = task->params;
    const size_t        *d = t->kernel->shape.dim;
    pq_status            st;

    PQ_TRY(pq_whiten_open(task, name, t->kernel, p->bias_correction, &t->white, err));
    PQ_TRY(pq_whitened_sides(t->white.wide, t->white.moments, &t->out.s, &t->in.s,
                             &t->in.u, err));
    t->out.m = d[0];
    t->in.m  = d[3];
    t->out.n = t->kernel->count / d[0];
    t->in.n  = t->kernel->count / d[3];
cleanup:
    return st;
}

static pq_status open_target(const pq_compress_task *task, const char *name, target *t,
                             pq_err *err)
{
    pq_status st;

    t->node   = pq_graph_find(task->graph, name);
    t->kernel = pq_layer_weight(task->graph->nodes[t->node].layer, "kernel")->value;
    if (((const tucker_params *)task->params)->whiten) {
        PQ_TRY(open_whitened(task, name, t, err));
        goto cleanup;
    }
    PQ_TRY(pq_side_open(task->cache, t->kernel, 0, &t->out, err));
    PQ_TRY(pq_side_open(task->cache, t->kernel, 3, &t->in, err));
cleanup:
    return st;
}

/* Part i of `most` of both sides' channels, aligned. */
static void ranks_of_part(const tucker_params *p, const target *t, size_t i, size_t *out,
                          size_t *in)
{
    const size_t o = t->out.s->count, n = t->in.s->count, most = o > n ? o : n;
    const double part = (double)i / (double)most;

    *out = pq_rank_down((size_t)ceil(part * (double)o), p->rank.align);
    *in  = pq_rank_down((size_t)ceil(part * (double)n), p->rank.align);
}

/* How many parts ranks_of_part() tells apart. */
static size_t parts(const target *t)
{
    return t->out.s->count > t->in.s->count ? t->out.s->count : t->in.s->count;
}

/* Both ranks the same part of their channels, as large as the ratio allows. */
static void ranks_of_ratio(const tucker_params *p, const target *t, size_t *out,
                           size_t *in)
{
    const double ratio = pq_rank_ratio(&p->rank);

    *out = *in = 1;
    for (size_t i = 1; i <= parts(t); i++) {
        size_t o, n;
        ranks_of_part(p, t, i, &o, &n);
        if ((double)values_of(&t->kernel->shape, o, n) * ratio <=
            (double)t->kernel->count) {
            *out = o;
            *in  = n;
        }
    }
}

static pq_status choose(const tucker_params *p, const target *t, size_t *out, size_t *in,
                        pq_err *err)
{
    const pq_spectrum o = pq_side_spectrum(&t->out), i = pq_side_spectrum(&t->in);
    pq_rank_params    side = p->rank;
    pq_status         st   = PQ_OK;

    if (!isnan(pq_rank_ratio(&p->rank))) {
        ranks_of_ratio(p, t, out, in);
        return PQ_OK;
    }
    side.epsilon = p->rank.epsilon / sqrt(2.0);
    PQ_TRY(pq_rank_choose(&side, &o, out, err));
    side.rank = p->rank_in != PQ_UNSET ? p->rank_in : p->rank.rank;
    PQ_TRY(pq_rank_choose(&side, &i, in, err));
cleanup:
    return st;
}

static pq_status replace(pq_graph *graph, size_t node, const pq_tucker *t,
                         const double *shift, pq_err *err)
{
    pq_layer  *layers[3] = {NULL};
    pq_tensor *core      = NULL;
    pq_status  st;

    const pq_shape *v = &t->factor[3]->shape, *u = &t->factor[0]->shape;

    PQ_TRY(pq_factor_conv(t->factor[3], true, PQ_SHAPE(v->dim[1], 1, 1, v->dim[0]),
                          &layers[0], err));
    PQ_TRY(pq_tensor_convert(t->core, PQ_DTYPE_F32, &core, err));
    PQ_TRY(pq_factor_layer("conv2d", core, &layers[1], err));
    *(pq_conv2d_params *)layers[1]->params =
        *(const pq_conv2d_params *)graph->nodes[node].layer->params;
    PQ_TRY(pq_factor_conv(t->factor[0], false, PQ_SHAPE(u->dim[0], 1, 1, u->dim[1]),
                          &layers[2], err));
    PQ_TRY(pq_chain_replace(graph, node, 3, layers, shift, err));
cleanup:
    for (size_t i = 0; i < 3; i++) {
        pq_layer_free(&layers[i]);
    }
    return st;
}

static pq_status rebuild(pq_graph *graph, size_t node, const pq_tensor *full,
                         const double *shift, pq_err *err)
{
    pq_tensor *narrow = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_convert(full, PQ_DTYPE_F32, &narrow, err));
    PQ_TRY(pq_kernel_replace(graph, node, narrow, shift, err));
cleanup:
    return st;
}

/* Puts the factors at these ranks into the graph. */
static pq_status reduce(pq_compress_task *task, const char *name, const target *t,
                        const size_t *ranks, bool shared, pq_err *err)
{
    const tucker_params    *p       = task->params;
    const pq_tensor *const  start[] = {t->out.u, NULL, NULL, t->in.u};
    const pq_tucker_options options = {(size_t)p->sweeps, p->whiten ? 1e-5 : 1e-7, start};
    const size_t            before  = t->kernel->count;
    const size_t            after   = values_of(&t->kernel->shape, ranks[0], ranks[3]);
    const bool              gains   = after < before;
    const bool              rebuilt = p->rank.run_as == PQ_RUN_RECONSTRUCTED;
    pq_tucker               tucker  = {0};
    pq_tensor              *full    = NULL;
    double                 *shift   = NULL;
    char                    words[96];
    pq_status               st;

    (void)snprintf(words, sizeof words, "ranks %zu of %zu and %zu of %zu", ranks[0],
                   t->kernel->shape.dim[0], ranks[3], t->kernel->shape.dim[3]);
    if (p->rank.keep_dense && !gains && !rebuilt && !shared) {
        return pq_note_dense(task, name, words, before, after, err);
    }
    PQ_TRY(p->whiten ? pq_tucker_whitened(t->white.wide, t->white.moments, ranks,
                                          &options, t->in.u, &tucker, err)
                     : pq_tucker_decompose(t->kernel, ranks, &options, &tucker, err));
    PQ_TRY(pq_tucker_full(&tucker, &full, err));
    if (p->whiten && p->bias_correction) {
        PQ_TRY(pq_calib_shift(t->white.gram, t->white.wide, full, &shift, err));
    }
    PQ_TRY(rebuilt ? rebuild(task->graph, t->node, full, shift, err)
                   : replace(task->graph, t->node, &tucker, shift, err));
    PQ_TRY(pq_task_change(task, name, tucker.error, "%s%s%s", words,
                          p->whiten ? ", error of the outputs" : "",
                          rebuilt ? ", reconstructed" : ""));
cleanup:
    pq_tensor_free(&full);
    pq_free(shift);
    pq_tucker_free(&tucker);
    return st;
}

/* One layer; `part` of its channels is given by a budget, or 0. */
static pq_status apply_one(pq_compress_task *task, const char *name, size_t part,
                           pq_err *err)
{
    const tucker_params *p        = task->params;
    size_t               ranks[4] = {0};
    target               t        = {0};
    pq_status            st;

    PQ_TRY(open_target(task, name, &t, err));
    if (part > 0) {
        ranks_of_part(p, &t, part, &ranks[0], &ranks[3]);
    } else {
        PQ_TRY(choose(p, &t, &ranks[0], &ranks[3], err));
    }
    PQ_TRY(reduce(task, name, &t, ranks, part > 0, err));
cleanup:
    free_target(&t);
    return st;
}

/* Losses are HOSVD's bound: what both sides drop. */
static pq_status offer(pq_compress_task *task, const char *name, pq_share *share,
                       pq_err *err)
{
    const tucker_params *p      = task->params;
    size_t               before = 0;
    target               t      = {0};
    pq_status            st;

    PQ_TRY(open_target(task, name, &t, err));
    const pq_pixels px = pq_pixels_of(task->graph, t.node);
    const size_t   *d  = t.kernel->shape.dim;
    for (size_t i = 1; i <= parts(&t); i++) {
        size_t o, n;
        ranks_of_part(p, &t, i, &o, &n);
        const size_t values = values_of(&t.kernel->shape, o, n);
        if (values > before) {
            PQ_TRY(pq_share_add(share, i, (double)values,
                                px.in * (double)(d[3] * n) +
                                    px.out * (double)(d[1] * d[2] * n * o + d[0] * o),
                                pq_lost_part(pq_f64(t.out.s), t.out.s->count, o) +
                                    pq_lost_part(pq_f64(t.in.s), t.in.s->count, n),
                                err));
        }
        before = values;
    }
cleanup:
    free_target(&t);
    return st;
}

static unsigned needs(const void *values)
{
    const tucker_params *p = values;

    return (p->whiten ? PQ_NEEDS_GRAMS : 0) | pq_rank_needs(&p->rank);
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const pq_lowrank_steps steps = {sizeof(tucker_params), offer, apply_one};

    return pq_lowrank_apply(task, &((const tucker_params *)task->params)->rank, &steps,
                            err);
}

const pq_method pq_method_tucker = {
    .name    = "tucker",
    .summary = "Tucker-2 of convolutions: 1 x 1, a smaller h x w, 1 x 1",
    .source =
        "arXiv:1511.06530, doi:10.1137/S0895479898346995, arXiv:2511.04494 (whiten)",
    .params      = params,
    .params_size = sizeof(tucker_params),
    .version     = "4",
    .keeps       = PQ_KEEPS_ACTIVATIONS,
    .needs       = needs,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
