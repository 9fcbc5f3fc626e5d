/*
 * Prunes single weights of kernels: zeroes those of the least score, and marks them, so
 * that they stay 0. What a weight w_ij is worth:
 *
 *     magnitude   |w_ij|
 *     wanda       |w_ij| sqrt(E[x_j^2]), x_j what it is multiplied with
 *     sparsegpt   (w_ij / U_jj)^2, and the weights that stay make up (prune_sparsegpt.h)
 *     taylor      F_ij w_ij^2 / 2, F the Fisher diagonal (prune_taylor.h)
 *
 * Exactly round(target_sparsity N) of the N weights of all selected kernels together
 * (global), of each layer, or of each output channel go; or all but N of every M
 * neighbours along the inputs. Of equal scores those that come first go first: layers in
 * graph order, items in memory order. Biases and norms stay.
 *
 * Source: Sun et al., ICLR 2024, arXiv:2306.11695 (wanda; per output channel, as there
 * for dense layers; PQuantML ranks a dense layer as a whole: per_layer).
 */
#include <math.h>
#include <string.h>

#include "compress/method.h"
#include "compress/prune_blocks.h"
#include "compress/prune_groups.h"
#include "compress/prune_sparsegpt.h"
#include "compress/prune_taylor.h"
#include "compress/prune_weights.h"
#include "compress/wiring.h"
#include "core/memory.h"

enum { GLOBAL, PER_LAYER, PER_CHANNEL };
enum { MAGNITUDE, WANDA, SPARSEGPT, TAYLOR };

typedef struct {
    double   target_sparsity;
    int      scope, criterion;
    int64_t  N, M;
    pq_reals block;
} prune_params;

static const char *const scopes[]   = {"global", "per_layer", "per_channel", NULL};
static const char *const criteria[] = {"magnitude", "wanda", "sparsegpt", "taylor", NULL};

static const pq_param params[] = {
    {.name     = "target_sparsity",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(prune_params, target_sparsity),
     .fallback = "0.5",
     .min      = 0,
     .max      = 0.999999,
     .help     = "fraction of the kernel weights that is zero afterwards"},
    {.name     = "scope",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(prune_params, scope),
     .fallback = "global",
     .choices  = scopes,
     .help = "one threshold for all selected layers (global), one a layer (per_layer), "
             "or one an output channel (per_channel)"},
    {.name     = "criterion",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(prune_params, criterion),
     .fallback = "magnitude",
     .choices  = criteria,
     .help =
         "what a weight is worth: |w| (magnitude), |w| times the size of its input "
         "on calibration events (wanda), what the layer's outputs lose when the "
         "weights that stay make up for it (sparsegpt: per_layer, or N and M), or what "
         "the loss gains on calibration events (taylor)"},
    {.name   = "N",
     .type   = PQ_PARAM_INT,
     .offset = offsetof(prune_params, N),
     .min    = 1,
     .max    = 64,
     .help   = "with M: so many of every M neighbours along the inputs stay, instead of "
               "target_sparsity and scope"},
    {.name   = "M",
     .type   = PQ_PARAM_INT,
     .offset = offsetof(prune_params, M),
     .min    = 1,
     .max    = 64,
     .help   = "with N: neighbours in a group; the rest of a row is a shorter one"},
    {.name   = "block",
     .type   = PQ_PARAM_LIST,
     .offset = offsetof(prune_params, block),
     .min    = 1,
     .max    = 1024,
     .help = "[inputs, outputs]: weights go in blocks of so many neighbours, by the mean "
             "square of their scores; target_sparsity counts blocks. What float32 "
             "computes of dense layers and convolutions skips blocks of [1, 16] and "
             "more"},
    {0},
};

static bool has_pattern(const prune_params *p)
{
    return p->M != PQ_UNSET;
}

static bool has_blocks(const prune_params *p)
{
    return p->block.n > 0;
}

static pq_status check_blocks(const prune_params *p, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(p->block.n == 2, PQ_ERR_CONFIG,
             "block has %zu numbers, not [inputs, outputs]", p->block.n);
    for (size_t i = 0; i < 2; i++) {
        PQ_CHECK(rint(p->block.value[i]) == p->block.value[i], PQ_ERR_RANGE,
                 "block[%zu] = %g is not a whole number", i, p->block.value[i]);
    }
    PQ_CHECK(!has_pattern(p), PQ_ERR_CONFIG,
             "block and N, M exclude each other: blocks go, or N of every M stay");
    PQ_CHECK(p->scope != PER_CHANNEL, PQ_ERR_CONFIG,
             "a block is of several output channels: scope: global or per_layer");
    PQ_CHECK(p->criterion != SPARSEGPT, PQ_ERR_CONFIG,
             "criterion sparsegpt chooses single weights, not blocks");
cleanup:
    return st;
}

static pq_status check(const void *values, pq_err *err)
{
    const prune_params *p  = values;
    pq_status           st = PQ_OK;

    if (has_blocks(p)) {
        PQ_TRY(check_blocks(p, err));
    }
    PQ_CHECK((p->N == PQ_UNSET) == (p->M == PQ_UNSET), PQ_ERR_CONFIG,
             "N and M go together: N of every M weights stay");
    PQ_CHECK(!has_pattern(p) || p->N <= p->M, PQ_ERR_RANGE,
             "N = %lld is not in 1..%lld: N of every M weights stay", (long long)p->N,
             (long long)p->M);
    PQ_CHECK(!has_pattern(p) || p->scope == GLOBAL, PQ_ERR_CONFIG,
             "scope has no say where N of every M weights stay");
    PQ_CHECK(p->criterion != SPARSEGPT || has_pattern(p) || p->scope == PER_LAYER,
             PQ_ERR_CONFIG,
             "criterion sparsegpt goes layer by layer: scope: per_layer, or N and M");
cleanup:
    return st;
}

static unsigned needs(const void *values)
{
    static const unsigned of[] = {0, PQ_NEEDS_GRAMS, PQ_NEEDS_GRAMS, PQ_NEEDS_EVENTS};

    return of[((const prune_params *)values)->criterion];
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    return pq_node_kernel(node) != NULL;
}

/* One kernel, or core, of a layer. */
typedef struct {
    pq_weight *w;
    float     *score;   /* of wanda and taylor */
    double     dropped; /* squares that were zeroed */
    size_t     row;     /* items of an output channel; 0: it has no such rows */
    bool       fresh;   /* its mask was made here */
} kernel;

typedef struct {
    pq_compress_task   *task;
    const prune_params *p;
    size_t              n;       /* kernels */
    kernel             *kernels; /* [n] layer by layer */
    pq_weight_run      *runs;    /* [n] of whole kernels */
    const char        **left;    /* [n_nodes] why a layer is left as it is, or NULL */
    size_t             *histogram;
} work;

static const pq_node *node_of(const work *s, size_t i)
{
    return &s->task->graph->nodes[pq_graph_find(s->task->graph, s->task->nodes[i])];
}

static bool is_kernel(const pq_node *node, size_t i)
{
    return node->layer->kind->role(node->layer->weights[i].name) == PQ_WEIGHT_KERNEL;
}

static size_t kernels_of(const pq_node *node)
{
    size_t n = 0;

    for (size_t i = 0; i < node->layer->n_weights; i++) {
        n += is_kernel(node, i) ? 1 : 0;
    }
    return n;
}

static const pq_calib_gram *gram_of(const work *s, const pq_node *node)
{
    const pq_calib_gram *g =
        s->task->calib != NULL ? pq_calib_gram_of(s->task->calib, node->name) : NULL;

    return g != NULL && g->rows > 0 ? g : NULL;
}

/* Why these parameters do not fit a layer, or NULL. */
static const char *why_not(const work *s, const pq_node *node)
{
    const bool rows = s->p->scope == PER_CHANNEL || has_pattern(s->p) || has_blocks(s->p);
    const bool grams = s->p->criterion == WANDA || s->p->criterion == SPARSEGPT;

    if ((rows || grams) && !pq_makes_channels(node)) {
        return "its kernel has no rows of outputs";
    }
    if (grams && gram_of(s, node) == NULL) {
        return "there are no second moments of its input, since it is in groups";
    }
    if (s->p->criterion == SPARSEGPT && pq_node_kernel(node)->quant != NULL) {
        return "its weights lie on a grid, which the correction would leave";
    }
    return NULL;
}

static pq_status score_wanda(const pq_calib_gram *g, kernel *k, pq_err *err)
{
    pq_status st;

    PQ_NEW(k->score, k->w->value->count);
    for (size_t i = 0; i < k->w->value->count; i++) {
        const size_t j = i % g->n;
        k->score[i]    = (float)(fabs((double)pq_f32(k->w->value)[i]) *
                              sqrt(fmax(g->gram[j * g->n + j], 0.0) / (double)g->rows));
    }
cleanup:
    return st;
}

/* Lists the kernels of a layer, unless it is left as it is. */
static pq_status add_layer(work *s, size_t i, pq_err *err)
{
    const pq_node *node = node_of(s, i);
    pq_status      st   = PQ_OK;

    s->left[i] = why_not(s, node);
    for (size_t k = 0; s->left[i] == NULL && k < node->layer->n_weights; k++) {
        pq_weight *w = &node->layer->weights[k];
        kernel    *to;
        if (!is_kernel(node, k)) {
            continue;
        }
        to  = &s->kernels[s->n];
        *to = (kernel){.w = w, .fresh = w->pruned == NULL};
        if (pq_makes_channels(node)) {
            to->row = w->value->count / w->value->shape.dim[0];
        }
        s->n++;
        if (s->p->criterion == WANDA) {
            PQ_TRY(score_wanda(gram_of(s, node), to, err));
        } else if (s->p->criterion == TAYLOR) {
            PQ_NEW(to->score, w->value->count); /* filled at once for all */
        }
        if (to->fresh) {
            PQ_NEW(w->pruned, pq_mask_bytes(w->value->count));
        }
        s->runs[s->n - 1] =
            (pq_weight_run){w, to->score, 0, w->value->count, &to->dropped};
    }
cleanup:
    return st;
}

static size_t due(const work *s, size_t n)
{
    return (size_t)round(s->p->target_sparsity * (double)n);
}

static size_t items(const pq_weight_run *runs, size_t n)
{
    size_t all = 0;

    for (size_t k = 0; k < n; k++) {
        all += runs[k].n;
    }
    return all;
}

/* Of the n kernels from `at` on together. */
static pq_status prune_blocks(const work *s, size_t at, size_t n, pq_err *err)
{
    size_t   *row = NULL;
    pq_status st;

    PQ_NEW(row, n);
    for (size_t k = 0; k < n; k++) {
        row[k] = s->kernels[at + k].row;
    }
    PQ_TRY(pq_prune_blocks(
        s->runs + at, row, n,
        (pq_block_size){(size_t)s->p->block.value[0], (size_t)s->p->block.value[1]},
        s->p->target_sparsity, err));
cleanup:
    pq_free(row);
    return st;
}

/* Updates what stays of a kernel, and zeroes the rest. */
static pq_status prune_sparsegpt(const work *s, const pq_node *node, kernel *k,
                                 pq_err *err)
{
    const pq_calib_gram      *g      = gram_of(s, node);
    const size_t              n      = k->w->value->count;
    const pq_sparsegpt_target target = {s->p->target_sparsity,
                                        has_pattern(s->p) ? (size_t)s->p->N : 0,
                                        has_pattern(s->p) ? (size_t)s->p->M : 0};
    float                    *w      = pq_f32(k->w->value);
    bool                     *gone   = NULL;
    pq_status                 st;

    PQ_NEW(gone, n);
    for (size_t i = 0; i < n; i++) {
        gone[i] = pq_weight_is_pruned(k->w, i);
        k->dropped += gone[i] ? 0.0 : (double)w[i] * (double)w[i];
    }
    st = pq_sparsegpt(n / k->row, k->row, g->gram, target, w, gone, err);
    if (st != PQ_OK) {
        pq_err_context(err, "layer '%s'", node->name);
        goto cleanup;
    }
    for (size_t i = 0; i < n; i++) {
        if (gone[i]) {
            k->w->pruned[i / 8] |= (uint8_t)(1u << i % 8);
        }
    }
cleanup:
    pq_free(gone);
    return st;
}

/* Prunes the n kernels from `at` on, which are those of one layer. */
static pq_status prune_layer(work *s, size_t layer, size_t at, size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    if (s->p->criterion == SPARSEGPT) {
        return prune_sparsegpt(s, node_of(s, layer), &s->kernels[at], err);
    }
    if (has_blocks(s->p)) {
        return prune_blocks(s, at, n, err);
    }
    if (!has_pattern(s->p) && s->p->scope == PER_LAYER) {
        pq_prune_least(s->runs + at, n, due(s, items(s->runs + at, n)), s->histogram);
        return st;
    }
    for (size_t k = at; k < at + n; k++) {
        const size_t row = s->kernels[k].row;
        if (has_pattern(s->p)) {
            pq_prune_pattern(&s->runs[k], row, (size_t)s->p->N, (size_t)s->p->M);
        }
        for (size_t i = 0; !has_pattern(s->p) && i < s->runs[k].n; i += row) {
            pq_weight_run one = s->runs[k];
            one.first         = i;
            one.n             = row;
            pq_prune_least(&one, 1, due(s, row), s->histogram);
        }
    }
    return st;
}

/* |W - W'| / |W| where weights were only zeroed; of sparsegpt |zeroed| / |W|. */
static pq_status report(work *s, size_t layer, size_t at, size_t n)
{
    double kept = 0.0, dropped = 0.0;
    size_t zeros = 0, count = 0;

    if (s->left[layer] != NULL) {
        return pq_task_change(s->task, s->task->nodes[layer], (double)NAN, "left: %s",
                              s->left[layer]);
    }
    for (size_t k = at; k < at + n; k++) {
        const pq_tensor *w = s->kernels[k].w->value;
        for (size_t i = 0; i < w->count; i++) {
            kept += (double)pq_f32(w)[i] * (double)pq_f32(w)[i];
            zeros += pq_f32(w)[i] == 0.0f ? 1 : 0;
        }
        dropped += s->kernels[k].dropped;
        count += w->count;
    }
    return pq_task_change(s->task, s->task->nodes[layer],
                          dropped > 0.0 ? sqrt(dropped / (kept + dropped)) : 0.0,
                          "%zu of %zu weights are zero%s", zeros, count,
                          zeros == count ? ": nothing passes this layer" : "");
}

static pq_status score_taylor(const work *s, pq_err *err)
{
    const pq_weight **weights = NULL;
    float           **score   = NULL;
    pq_status         st;

    PQ_NEW(weights, s->n);
    PQ_NEW(score, s->n);
    for (size_t k = 0; k < s->n; k++) {
        weights[k] = s->kernels[k].w;
        score[k]   = s->kernels[k].score;
    }
    PQ_TRY(pq_taylor_weights(s->task, s->n, weights, score, err));
cleanup:
    pq_free(weights);
    pq_free(score);
    return st;
}

static pq_status start(work *s, pq_err *err)
{
    size_t    all = 0;
    pq_status st;

    for (size_t i = 0; i < s->task->n_nodes; i++) {
        all += kernels_of(node_of(s, i));
    }
    PQ_NEW(s->kernels, all);
    PQ_NEW(s->runs, all);
    PQ_NEW(s->left, s->task->n_nodes);
    PQ_NEW(s->histogram, 65536);
    for (size_t i = 0; i < s->task->n_nodes; i++) {
        PQ_TRY(add_layer(s, i, err));
    }
    if (s->p->criterion == TAYLOR) {
        PQ_TRY(score_taylor(s, err));
    }
cleanup:
    return st;
}

/* A mask that was made and marks nothing goes again. */
static void drop_empty_masks(work *s)
{
    for (size_t k = 0; k < s->n; k++) {
        const pq_weight *w    = s->kernels[k].w;
        bool             some = false;
        for (size_t b = 0; b < pq_mask_bytes(w->value->count); b++) {
            some = some || w->pruned[b] != 0;
        }
        if (s->kernels[k].fresh && !some) {
            pq_weight_unprune(s->kernels[k].w);
        }
    }
}

static void finish(work *s)
{
    for (size_t k = 0; s->kernels != NULL && k < s->n; k++) {
        pq_free(s->kernels[k].score);
    }
    pq_free(s->kernels);
    pq_free(s->runs);
    pq_free(s->left);
    pq_free(s->histogram);
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    work      s = {.task = task, .p = task->params};
    pq_status st;

    PQ_TRY(start(&s, err));
    if (s.p->scope == GLOBAL && has_blocks(s.p)) {
        PQ_TRY(prune_blocks(&s, 0, s.n, err));
    } else if (s.p->scope == GLOBAL && !has_pattern(s.p)) {
        pq_prune_least(s.runs, s.n, due(&s, items(s.runs, s.n)), s.histogram);
    }
    for (size_t i = 0, at = 0; i < task->n_nodes; i++) {
        const size_t n = s.left[i] != NULL ? 0 : kernels_of(node_of(&s, i));
        if (n > 0 && (s.p->scope != GLOBAL || has_pattern(s.p))) {
            PQ_TRY(prune_layer(&s, i, at, n, err));
        }
        PQ_TRY(report(&s, i, at, n));
        at += n;
    }
    drop_empty_masks(&s);
cleanup:
    finish(&s);
    return st;
}

const pq_method pq_method_prune = {
    .name    = "prune",
    .summary = "zeroes single weights, to a sparsity met to one weight, N of every M, or "
               "blocks",
    .source  = "arXiv:1506.02626, arXiv:2306.11695, arXiv:2301.00774, arXiv:1801.05787",
    .params  = params,
    .params_size = sizeof(prune_params),
    .version     = "5",
    .keeps       = PQ_KEEPS_ALL,
    .needs       = needs,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
