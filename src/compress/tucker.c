/*
 * Tucker-2 of a convolution: the kernel [o, a, b, i] = sum_{p, q} U[o, p] C[p, a, b, q]
 * V[i, q] becomes 1 x 1 to r_in channels, h x w to r_out that keeps stride, padding and
 * dilation, and 1 x 1 to all channels.
 *
 * Values: I r_in + h w r_in r_out + r_out O. HOSVD gives both factors; HOOI improves them
 * while it pays. `epsilon` holds: each side drops at most epsilon |W| / sqrt(2).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/lowrank.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "layers/kinds.h"
#include "linalg/svd.h"
#include "linalg/tucker.h"

typedef struct {
    pq_rank_params rank;
    int64_t        rank_in, sweeps;
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
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const tucker_params *p = values;
    pq_status            st;

    PQ_TRY(pq_rank_check(&p->rank, 0, "rank, energy, epsilon, evbmf and ratio", err));
    PQ_CHECK(p->rank_in == PQ_UNSET || p->rank.rank != PQ_UNSET, PQ_ERR_CONFIG,
             "rank_in goes with rank only");
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

/* Both ranks the same part of their channels, as large as the ratio allows. */
static void ranks_of_ratio(const pq_shape *k, double ratio, size_t *out, size_t *in)
{
    const double all  = (double)(k->dim[0] * k->dim[1] * k->dim[2] * k->dim[3]);
    const size_t most = k->dim[0] > k->dim[3] ? k->dim[0] : k->dim[3];

    *out = *in = 1;
    for (size_t i = 1; i <= most; i++) {
        const double part = (double)i / (double)most;
        const size_t o    = (size_t)ceil(part * (double)k->dim[0]);
        const size_t n    = (size_t)ceil(part * (double)k->dim[3]);
        if ((double)values_of(k, o, n) * ratio <= all) {
            *out = o;
            *in  = n;
        }
    }
}

/* Rank of one side, by the singular values of its unfolding. */
static pq_status choose_side(const pq_rank_params *p, const pq_tensor *kernel,
                             size_t axis, size_t *rank, pq_err *err)
{
    pq_tensor     *flat = NULL;
    pq_svd         svd  = {0};
    pq_rank_params side = *p;
    pq_status      st;

    PQ_TRY(pq_tensor_unfold(kernel, axis, &flat, err));
    const size_t m = flat->shape.dim[0], n = flat->shape.dim[1];
    pq_spectrum  s = {m, n, m < n ? m : n, NULL};

    if (pq_rank_needs_spectrum(p)) {
        PQ_TRY(pq_svd_thin(flat, &svd, err));
        s.s = pq_f64(svd.s);
    }
    side.epsilon = p->epsilon / sqrt(2.0);
    PQ_TRY(pq_rank_choose(&side, &s, rank, err));
cleanup:
    pq_tensor_free(&flat);
    pq_svd_free(&svd);
    return st;
}

static pq_status choose(const tucker_params *p, const pq_tensor *kernel, size_t *out,
                        size_t *in, pq_err *err)
{
    pq_rank_params side = p->rank;
    pq_status      st;

    if (!isnan(p->rank.ratio)) {
        ranks_of_ratio(&kernel->shape, p->rank.ratio, out, in);
        return PQ_OK;
    }
    PQ_TRY(choose_side(&side, kernel, 0, out, err));
    side.rank = p->rank_in != PQ_UNSET ? p->rank_in : p->rank.rank;
    PQ_TRY(choose_side(&side, kernel, 3, in, err));
cleanup:
    return st;
}

/* A factor [n, r] in double as the kernel of a 1 x 1 convolution: from r to n channels,
 * or transposed, from n to r. */
static pq_status pointwise(const pq_tensor *factor, bool transposed, pq_layer **out,
                           pq_err *err)
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
    PQ_TRY(pq_tensor_reshape(
        narrow, PQ_SHAPE(narrow->shape.dim[0], 1, 1, narrow->shape.dim[1]), err));
    st     = pq_factor_layer("conv2d", narrow, out, err);
    narrow = NULL;
cleanup:
    pq_tensor_free(&narrow);
    return st;
}

static pq_status replace(pq_graph *graph, size_t node, const pq_tucker *t, pq_err *err)
{
    pq_layer  *layers[3] = {NULL};
    pq_tensor *core      = NULL;
    pq_status  st;

    PQ_TRY(pointwise(t->factor[3], true, &layers[0], err));
    PQ_TRY(pq_tensor_convert(t->core, PQ_DTYPE_F32, &core, err));
    PQ_TRY(pq_factor_layer("conv2d", core, &layers[1], err));
    *(pq_conv2d_params *)layers[1]->params =
        *(const pq_conv2d_params *)graph->nodes[node].layer->params;
    PQ_TRY(pointwise(t->factor[0], false, &layers[2], err));
    PQ_TRY(pq_chain_replace(graph, node, 3, layers, NULL, err));
cleanup:
    for (size_t i = 0; i < 3; i++) {
        pq_layer_free(&layers[i]);
    }
    return st;
}

static pq_status rebuild(pq_graph *graph, size_t node, const pq_tucker *t, pq_err *err)
{
    pq_tensor *full = NULL, *narrow = NULL;
    pq_status  st;

    PQ_TRY(pq_tucker_full(t, &full, err));
    PQ_TRY(pq_tensor_convert(full, PQ_DTYPE_F32, &narrow, err));
    PQ_TRY(pq_kernel_replace(graph, node, narrow, NULL, err));
cleanup:
    pq_tensor_free(&full);
    return st;
}

static pq_status apply_one(pq_compress_task *task, const char *name, pq_err *err)
{
    const tucker_params *p  = task->params;
    const size_t         at = pq_graph_find(task->graph, name);
    const pq_tensor     *kernel =
        pq_layer_weight(task->graph->nodes[at].layer, "kernel")->value;
    const pq_tucker_options options  = {(size_t)p->sweeps, 1e-7};
    size_t                  ranks[4] = {0};
    pq_tucker               t        = {0};
    char                    words[64];
    pq_status               st;

    PQ_TRY(choose(p, kernel, &ranks[0], &ranks[3], err));
    const size_t after   = values_of(&kernel->shape, ranks[0], ranks[3]);
    const bool   gains   = after < kernel->count;
    const bool   rebuilt = p->rank.run_as == PQ_RUN_RECONSTRUCTED ||
                         (p->rank.run_as == PQ_RUN_AUTO && !gains);

    (void)snprintf(words, sizeof words, "ranks %zu of %zu and %zu of %zu", ranks[0],
                   kernel->shape.dim[0], ranks[3], kernel->shape.dim[3]);
    if (p->rank.keep_dense && !gains && !rebuilt) {
        PQ_TRY(pq_note_dense(task, name, words, kernel->count, after, err));
        goto cleanup;
    }
    PQ_TRY(pq_tucker_decompose(kernel, ranks, &options, &t, err));
    PQ_TRY(rebuilt ? rebuild(task->graph, at, &t, err)
                   : replace(task->graph, at, &t, err));
    PQ_TRY(pq_task_change(task, name, t.error, "%s%s", words,
                          rebuilt ? ", reconstructed" : ""));
cleanup:
    pq_tucker_free(&t);
    return st;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_task_each(task, ((const tucker_params *)task->params)->rank.fold, apply_one,
                        err);
}

const pq_method pq_method_tucker = {
    .name        = "tucker",
    .summary     = "Tucker-2 of convolutions: 1 x 1, a smaller h x w, 1 x 1",
    .source      = "arXiv:1511.06530, doi:10.1137/S0895479898346995",
    .params      = params,
    .params_size = sizeof(tucker_params),
    .version     = "1",
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
