/*
 * Structured pruning: takes whole channels (neurons of a dense layer, filters of a
 * convolution) out of the network, with everything that goes with them: rows and columns
 * of kernels, BatchNorm vectors, scales. What is left is a smaller network of ordinary
 * layers, and faster on every engine.
 *
 * Channels that only go together (residual streams, depthwise convolutions) are one
 * group (prune_groups.h); groups made by the same layers are a family. Those of the least
 * score go, of equal ones the first: round(target_sparsity n) of the n groups that can
 * go, in every family (per_layer) or of all (global).
 */
#include <math.h>

#include "compress/method.h"
#include "compress/prune_inputs.h"
#include "compress/prune_score.h"
#include "compress/prune_select.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "graph/init.h"
#include "layers/channels.h"

enum { SHRINK, MASK };
enum { DROP, KEEP };

typedef pq_structured_params prune_params;

static const char *const scopes[] = {"per_layer", "global", NULL};
static const char *const forms[]  = {"shrink", "mask", NULL};
static const char *const unread[] = {"drop", "keep", NULL};

static const pq_param params[] = {
    {.name   = "target_sparsity",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(prune_params, target_sparsity),
     .min    = 0,
     .max    = 0.999999,
     .help   = "fraction of the channels that go; this or `channels`"},
    {.name   = "channels",
     .type   = PQ_PARAM_LIST,
     .offset = offsetof(prune_params, channels),
     .min    = 0,
     .max    = 1048575,
     .help   = "these channels of every selected layer go, counted from 0"},
    {.name     = "scope",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(prune_params, scope),
     .fallback = "per_layer",
     .choices  = scopes,
     .help     = "the same fraction of each layer, or the least channels of all layers"},
    {.name     = "criterion",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(prune_params, criterion),
     .fallback = "l2",
     .choices  = pq_score_names,
     .help     = "what a channel is worth: norm of the weights that make it (l1, l2), of "
                 "those that read it too (group_norm), its BatchNorm's gamma "
                 "(batch_norm), or on calibration events what readers lose (activation), "
                 "the mean square of its outputs before the bias (whitened), or what the "
                 "loss gains (taylor)"},
    {.name     = "normalize",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(prune_params, normalize),
     .fallback = "true",
     .help     = "with `scope: global`: divide scores by their mean in each layer"},
    {.name     = "align",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(prune_params, align),
     .fallback = "1",
     .choices  = pq_prune_aligns,
     .help = "round what is left of a layer to the nearest multiple, as kernels work on "
             "vectors; auto: 16 from 32 channels on, 8 from 16 on, else 1"},
    {.name     = "form",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(prune_params, form),
     .fallback = "shrink",
     .choices  = forms,
     .help     = "smaller layers (shrink), or zeros in layers of the old size (mask), "
                 "which compute the same"},
    {.name     = "unread_inputs",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(prune_params, unread_inputs),
     .fallback = "drop",
     .choices  = unread,
     .help     = "inputs of the network that no weight reads leave it, its list of "
                 "features and its scaler, target or not (drop, with form: shrink), or "
                 "stay"},
    {.name     = "scratch",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(prune_params, scratch),
     .fallback = "false",
     .help     = "draw all weights anew (He), to be trained from there: the control of "
                 "whether the old ones were worth keeping"},
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const prune_params *p  = values;
    pq_status           st = PQ_OK;

    PQ_CHECK(isnan(p->target_sparsity) != (p->channels.n == 0), PQ_ERR_CONFIG,
             "exactly one of target_sparsity and channels must be given");
    for (size_t i = 0; i < p->channels.n; i++) {
        PQ_CHECK(rint(p->channels.value[i]) == p->channels.value[i], PQ_ERR_RANGE,
                 "channels[%zu] = %g is not a whole number", i, p->channels.value[i]);
    }
cleanup:
    return st;
}

static unsigned needs(const void *values)
{
    const prune_params *p = values;

    return p->channels.n == 0 ? pq_score_needs(p->criterion) : 0;
}

static bool draws(const void *values)
{
    return ((const prune_params *)values)->scratch;
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    return pq_makes_channels(node);
}

/* Norm of the kernel's items that go, over that of all; NAN without a kernel. */
static double lost(const pq_prune_selection *s, size_t i)
{
    const pq_node   *node = &s->graph->nodes[i];
    const pq_weight *w;
    double           all = 0.0, gone = 0.0;

    if (!pq_makes_channels(node)) {
        return (double)NAN;
    }
    w = pq_node_kernel(node);
    for (size_t k = 0; k < w->value->count; k++) {
        const double x = (double)pq_f32(w->value)[k];
        size_t       in, out;
        node->layer->kind->channels->place(node->layer, w, k, &in, &out);
        all += x * x;
        if (s->gone[s->groups.group[s->groups.first[node->inputs[0]] + in]] ||
            s->gone[s->groups.group[s->groups.first[i] + out]]) {
            gone += x * x;
        }
    }
    return gone > 0.0 ? sqrt(gone / all) : 0.0;
}

/* Appends how many outputs of a layer stay whatever is asked, and why. */
static void add_why_not(const pq_prune_selection *s, size_t i, pq_text *out)
{
    const size_t           *group = s->groups.group + s->groups.first[i];
    const size_t            n     = s->groups.first[i + 1] - s->groups.first[i];
    const pq_channel_group *first = NULL;
    size_t                  stay  = 0;

    for (size_t c = 0; c < n; c++) {
        const pq_channel_group *g = &s->groups.groups[group[c]];
        first                     = first == NULL && g->why != NULL ? g : first;
        stay += g->why != NULL ? 1 : 0;
    }
    if (first != NULL) {
        pq_text_add(out, "; %zu of its outputs stay: '%s' %s", stay,
                    s->graph->nodes[first->node].name, first->why);
    }
}

static pq_status report(const pq_prune_selection *s, pq_compress_task *task, size_t i,
                        bool selected, pq_err *err)
{
    const pq_node *node    = &s->graph->nodes[i];
    const size_t   all_out = pq_channels_of(&node->shape);
    pq_text        what    = {0};
    size_t         in, all_in;
    pq_status      st;

    if (node->layer->n_weights == 0 || node->n_inputs == 0) {
        return PQ_OK;
    }
    in     = s->left[node->inputs[0]];
    all_in = pq_channels_of(&s->graph->nodes[node->inputs[0]].shape);
    if (!selected && in == all_in && s->left[i] == all_out) {
        return PQ_OK;
    }
    if (pq_makes_channels(node)) {
        pq_text_add(&what, "%zu of %zu outputs, %zu of %zu inputs kept", s->left[i],
                    all_out, in, all_in);
    } else {
        pq_text_add(&what, "%zu of %zu channels kept", s->left[i], all_out);
    }
    if (selected) {
        add_why_not(s, i, &what);
    }
    PQ_CHECK(!what.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    PQ_TRY(pq_task_change(task, node->name, lost(s, i), "%s", what.text));
cleanup:
    pq_text_free(&what);
    return st;
}

static pq_status report_all(const pq_prune_selection *s, pq_compress_task *task,
                            pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < s->graph->n_nodes; i++) {
        PQ_TRY(report(s, task, i, s->may[i], err));
    }
cleanup:
    return st;
}

/* New weights in the shape that is left; what was pruned stays 0. */
static pq_status start_again(pq_compress_task *task, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < task->graph->n_nodes; i++) {
        const pq_node *node = &task->graph->nodes[i];
        for (size_t k = 0; k < node->layer->n_weights; k++) {
            PQ_CHECK(node->layer->weights[k].quant == NULL, PQ_ERR_CONFIG,
                     "layer '%s' is quantized already: scratch draws weights that are on "
                     "no grid",
                     node->name);
        }
    }
    pq_graph_init_weights(task->graph, PQ_INIT_HE, task->seed);
    for (size_t i = 0; i < task->graph->n_nodes; i++) {
        const pq_layer *layer = task->graph->nodes[i].layer;
        for (size_t k = 0; k < layer->n_weights; k++) {
            pq_weight *w = &layer->weights[k];
            for (size_t at = 0; w->pruned != NULL && at < w->value->count; at++) {
                if (pq_weight_is_pruned(w, at)) {
                    pq_f32(w->value)[at] = 0.0f;
                }
            }
        }
    }
cleanup:
    return st;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const prune_params *p = task->params;
    pq_prune_selection  s = {0};
    pq_status           st;

    PQ_CHECK(task->graph->aside == NULL, PQ_ERR_UNSUPPORTED,
             "the model holds pieces of merged adapters: their channels cannot go along");
    PQ_TRY(pq_prune_select(task, &s, err));
    if (p->form == SHRINK && p->unread_inputs == DROP) {
        PQ_TRY(pq_prune_unread_inputs(&s, task, err));
    }
    PQ_TRY(report_all(&s, task, err));
    if (p->form == MASK) {
        PQ_TRY(pq_channels_mask(task->graph, &s.groups, s.gone, err));
    } else {
        PQ_TRY(pq_channels_shrink(task->graph, &s.groups, s.gone, err));
    }
    if (p->scratch) {
        PQ_TRY(start_again(task, err));
    }
cleanup:
    pq_prune_selection_free(&s);
    return st;
}

const pq_method pq_method_structured_prune = {
    .name    = "structured_prune",
    .summary = "takes whole channels out, with all that hangs on them: a smaller, faster "
               "network",
    .source  = "arXiv:1608.08710, arXiv:2301.12900",
    .params  = params,
    .params_size = sizeof(prune_params),
    .version     = "2",
    .keeps       = PQ_KEEPS_ALL | PQ_KEEPS_REST,
    .draws       = draws,
    .needs       = needs,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
