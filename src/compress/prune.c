/*
 * Magnitude pruning: zeroes the weights of smallest |w|, in all selected kernels
 * together (global) or in each of them (per_layer), so that exactly
 * round(target_sparsity N) of N are zero. Of equal magnitudes those that come
 * first go first: layers in graph order, items in memory order. Biases and
 * norms stay.
 */
#include <math.h>
#include <string.h>

#include "compress/method.h"
#include "compress/wiring.h"
#include "core/memory.h"

enum { GLOBAL, PER_LAYER };

typedef struct {
    double target_sparsity;
    int    scope;
} prune_params;

static const char *const scopes[] = {"global", "per_layer", NULL};

static const pq_param params[] = {
    {.name     = "target_sparsity",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(prune_params, target_sparsity),
     .fallback = "0.5",
     .min      = 0,
     .max      = 1,
     .help     = "fraction of the kernel weights that is zero afterwards"},
    {.name     = "scope",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(prune_params, scope),
     .fallback = "global",
     .choices  = scopes,
     .help =
         "one threshold for all selected layers (global), or one a layer (per_layer)"},
    {0},
};

/* A run of kernels that share one threshold: all, or those of one layer. */
typedef struct {
    pq_weight **kernels; /* [n] */
    double     *dropped; /* [n] sum of the squares that were zeroed */
    size_t      n;
} group;

/* Kernels of a layer: one, or its cores. */
static size_t kernels_of(const pq_node *node, pq_weight **out)
{
    size_t n = 0;

    for (size_t i = 0; i < node->layer->n_weights; i++) {
        pq_weight *w = &node->layer->weights[i];
        if (node->layer->kind->role(w->name) == PQ_WEIGHT_KERNEL) {
            if (out != NULL) {
                out[n] = w;
            }
            n++;
        }
    }
    return n;
}

/* The order weights go in: what is pruned already, then by |x|. For finite floats the
 * order of the bits is the order of the values. */
static uint32_t place_of(const pq_weight *w, size_t i)
{
    uint32_t bits;

    memcpy(&bits, &pq_f32(w->value)[i], sizeof bits);
    return pq_weight_is_pruned(w, i) ? 0 : (bits & 0x7FFFFFFFu) + 1;
}

/*
 * The place of the count-th weight, and how many of exactly that place are among
 * the first count: a radix selection, high half first.
 */
static void select_threshold(group g, size_t count, size_t *histogram,
                             uint32_t *threshold, size_t *ties)
{
    uint32_t high = 0;

    for (int half = 0; half < 2; half++) {
        uint32_t bin = 0;
        memset(histogram, 0, 65536 * sizeof *histogram);
        for (size_t k = 0; k < g.n; k++) {
            for (size_t i = 0; i < g.kernels[k]->value->count; i++) {
                const uint32_t x = place_of(g.kernels[k], i);
                if (half == 0) {
                    histogram[x >> 16]++;
                } else if (x >> 16 == high) {
                    histogram[x & 0xFFFFu]++;
                }
            }
        }
        while (histogram[bin] < count) {
            count -= histogram[bin++];
        }
        if (half == 0) {
            high = bin;
        } else {
            *threshold = high << 16 | bin;
        }
    }
    *ties = count;
}

/* Zeroes and marks what comes before the threshold, and the first of those at it. */
static void prune_kernel(pq_weight *w, uint32_t threshold, size_t *ties, double *dropped)
{
    float *x = pq_f32(w->value);

    for (size_t i = 0; i < w->value->count; i++) {
        const uint32_t place = place_of(w, i);
        if (place < threshold || (place == threshold && *ties > 0)) {
            *ties -= place == threshold ? 1 : 0;
            *dropped += (double)x[i] * (double)x[i];
            x[i] = 0.0f;
            w->pruned[i / 8] |= (uint8_t)(1u << i % 8);
        }
    }
}

static pq_status prune_group(group g, double sparsity, size_t *histogram, pq_err *err)
{
    size_t    all = 0, ties = 0;
    uint32_t  threshold = 0;
    pq_status st        = PQ_OK;

    for (size_t k = 0; k < g.n; k++) {
        all += g.kernels[k]->value->count;
    }
    const size_t count = (size_t)round(sparsity * (double)all);

    if (count == 0) {
        return PQ_OK;
    }
    select_threshold(g, count, histogram, &threshold, &ties);
    for (size_t k = 0; k < g.n; k++) {
        if (g.kernels[k]->pruned == NULL) {
            PQ_NEW(g.kernels[k]->pruned, pq_mask_bytes(g.kernels[k]->value->count));
        }
        prune_kernel(g.kernels[k], threshold, &ties, &g.dropped[k]);
    }
cleanup:
    return st;
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    return pq_node_kernel(node) != NULL;
}

static pq_status report(pq_compress_task *task, const char *name, group g)
{
    double kept = 0.0, dropped = 0.0;
    size_t zeros = 0, count = 0;

    for (size_t k = 0; k < g.n; k++) {
        const pq_tensor *w = g.kernels[k]->value;
        for (size_t i = 0; i < w->count; i++) {
            kept += (double)pq_f32(w)[i] * (double)pq_f32(w)[i];
            zeros += pq_f32(w)[i] == 0.0f ? 1 : 0;
        }
        dropped += g.dropped[k];
        count += w->count;
    }
    return pq_task_change(task, name,
                          dropped > 0.0 ? sqrt(dropped / (kept + dropped)) : 0.0,
                          "%zu of %zu weights are zero", zeros, count);
}

static const pq_node *node_of(const pq_compress_task *task, size_t i)
{
    return &task->graph->nodes[pq_graph_find(task->graph, task->nodes[i])];
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const prune_params *p         = task->params;
    size_t             *histogram = NULL;
    group               all       = {0};
    pq_status           st;

    for (size_t i = 0; i < task->n_nodes; i++) {
        all.n += kernels_of(node_of(task, i), NULL);
    }
    PQ_NEW(all.kernels, all.n);
    PQ_NEW(all.dropped, all.n);
    PQ_NEW(histogram, 65536);
    for (size_t i = 0, at = 0; i < task->n_nodes; i++) {
        at += kernels_of(node_of(task, i), all.kernels + at);
    }
    if (p->scope == GLOBAL) {
        PQ_TRY(prune_group(all, p->target_sparsity, histogram, err));
    }
    for (size_t i = 0, at = 0; i < task->n_nodes; i++) {
        const group one = {&all.kernels[at], &all.dropped[at],
                           kernels_of(node_of(task, i), NULL)};
        if (p->scope == PER_LAYER) {
            PQ_TRY(prune_group(one, p->target_sparsity, histogram, err));
        }
        PQ_TRY(report(task, task->nodes[i], one));
        at += one.n;
    }
cleanup:
    pq_free(all.kernels);
    pq_free(all.dropped);
    pq_free(histogram);
    return st;
}

const pq_method pq_method_prune = {
    .name = "prune",
    .summary =
        "zeroes the weights of smallest magnitude, to a sparsity met to one weight",
    .source      = "arXiv:1506.02626, arXiv:1710.01878",
    .params      = params,
    .params_size = sizeof(prune_params),
    .version     = "3",
    .keeps       = PQ_KEEPS_ALL,
    .accepts     = accepts,
    .apply       = apply,
};
