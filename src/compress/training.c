#include "compress/training.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/lora.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "core/text.h"
#include "train/train.h"

bool pq_training_accepts(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    for (size_t w = 0; w < node->layer->n_weights; w++) {
        if (node->layer->kind->role(node->layer->weights[w].name) !=
            PQ_WEIGHT_STATISTIC) {
            return true;
        }
    }
    return false;
}

unsigned pq_training_needs(const void *params)
{
    (void)params;
    return PQ_NEEDS_TRAINING;
}

static bool is_selected(const pq_compress_task *task, const char *name)
{
    for (size_t i = 0; i < task->n_nodes; i++) {
        if (strcmp(task->nodes[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Which selected layers train: never the base of adapters; and where there are adapters
 * and the user names no layers, the adapters alone. */
static bool is_trained(const pq_compress_task *task, const char *name)
{
    bool adapted = false;

    for (size_t i = 0; i < task->graph->n_nodes; i++) {
        adapted = adapted || pq_is_adapter(task->graph->nodes[i].name);
    }
    return is_selected(task, name) && !pq_has_adapter(task->graph, name) &&
           (!adapted || task->layers != NULL || pq_is_adapter(name));
}

/* The user's pattern, and by name every other layer. */
static pq_status list_frozen(const pq_compress_task *task, const char *freeze, char **out,
                             pq_err *err)
{
    pq_text   text = {0};
    pq_status st   = PQ_OK;

    pq_text_add(&text, "%s", freeze != NULL ? freeze : "");
    for (size_t i = 0; i < task->graph->n_nodes; i++) {
        const pq_node *node = &task->graph->nodes[i];
        if (pq_training_accepts(task->graph, node) && !is_trained(task, node->name)) {
            pq_text_add(&text, "%s%s", text.length > 0 ? "," : "", node->name);
        }
    }
    *out = NULL;
    if (text.length > 0) {
        PQ_TRY(pq_text_take(&text, out, err));
    }
cleanup:
    pq_text_free(&text);
    return st;
}

/* |W - W'|_F / |W|_F over all weights of a layer. */
static double distance(const pq_layer *before, const pq_layer *after)
{
    double moved = 0.0, size = 0.0;

    for (size_t w = 0; w < before->n_weights; w++) {
        const float *a = pq_f32(before->weights[w].value);
        const float *b = pq_f32(after->weights[w].value);
        for (size_t i = 0; i < before->weights[w].value->count; i++) {
            const double d = (double)b[i] - (double)a[i];
            moved += d * d;
            size += (double)a[i] * (double)a[i];
        }
    }
    return size > 0.0 ? sqrt(moved / size) : 0.0;
}

/* "; recalls b 0.81, c 0.55": as many as there is room for. */
static void add_recalls(const pq_graph *graph, const pq_train_epoch *best, size_t n,
                        char *text, size_t size)
{
    size_t at = 0;

    text[0] = '\0';
    for (size_t k = 0; best->recall != NULL && k < n; k++) {
        char      one[96];
        const int length =
            pq_snprintf(one, sizeof one, "%s %s %.2f", k > 0 ? "," : "; recall",
                        graph->class_names[k], best->recall[k]);
        if (length < 0 || at + (size_t)length >= size) {
            break;
        }
        memcpy(text + at, one, (size_t)length + 1);
        at += (size_t)length;
    }
}

void pq_floor_missed(const pq_graph *graph, const pq_train_summary *s,
                     pq_layer_change *change)
{
    const pq_train_epoch *best  = s->best > 0 ? &s->history[s->best - 1] : NULL;
    size_t                worst = 0;

    if (s->floor_held || best == NULL || s->floors == NULL) {
        return;
    }
    for (size_t k = 1; k < s->n_classes; k++) {
        const double lack = s->floors[k] - best->recall[k];
        worst             = lack > s->floors[worst] - best->recall[worst] ? k : worst;
    }
    change->infeasible = true;
    (void)pq_snprintf(change->missed, sizeof change->missed,
                      "recall %.4g of %s not held: %.4g", s->floors[worst],
                      graph->class_names[worst], best->recall[worst]);
}

/* A BatchNorm that was to be folded but cannot. */
static bool keeps_norm(const pq_graph *graph, size_t node, bool folds)
{
    const pq_weight *w = pq_node_kernel(&graph->nodes[node]);

    return folds && w != NULL && pq_grid_folds(w->quant) &&
           pq_batch_norm_behind(graph, node) != SIZE_MAX &&
           pq_foldable_batch_norm(graph, node) == SIZE_MAX;
}

static pq_status report(pq_compress_task *task, const pq_graph *before, bool folds,
                        const pq_train_summary *s)
{
    const pq_train_epoch *best = s->best > 0 ? &s->history[s->best - 1] : NULL;
    char                  recalls[56];
    bool                  told = false;
    pq_status             st   = PQ_OK;

    for (size_t i = 0; i < task->n_nodes && st == PQ_OK; i++) {
        const size_t at = pq_graph_find(task->graph, task->nodes[i]);
        if (!is_trained(task, task->nodes[i])) {
            continue;
        }
        const double moved =
            distance(before->nodes[at].layer, task->graph->nodes[at].layer);
        if (best == NULL) {
            st = pq_task_change(task, task->nodes[i], moved, "not trained: 0 epochs");
            continue;
        }
        add_recalls(task->graph, best, s->n_classes, recalls, sizeof recalls);
        st = pq_task_change(
            task, task->nodes[i], moved,
            "%s%sepoch %zu of %zu, accuracy %.4f on %zu events%s",
            keeps_norm(task->graph, at, folds)
                ? "BatchNorm stays, its gamma turns codes beyond the grid; "
                : "",
            s->floor_held ? "" : "recall floor not held; ", s->best, s->n_epochs,
            best->accuracy, s->validation_events, recalls);
        if (st == PQ_OK && !told) {
            pq_floor_missed(task->graph, s, &task->changes[task->n_changes - 1]);
            told = true;
        }
    }
    return st;
}

/* A selected layer with a BatchNorm by `norm_of` that its grid can take along, or
 * SIZE_MAX. */
static size_t find_norm(const pq_compress_task *task,
                        size_t (*norm_of)(const pq_graph *graph, size_t node))
{
    for (size_t i = 0; i < task->n_nodes; i++) {
        const size_t     at = pq_graph_find(task->graph, task->nodes[i]);
        const pq_weight *w =
            at == SIZE_MAX ? NULL : pq_node_kernel(&task->graph->nodes[at]);
        if (w != NULL && pq_grid_folds(w->quant) &&
            norm_of(task->graph, at) != SIZE_MAX) {
            return at;
        }
    }
    return SIZE_MAX;
}

static pq_status fold_norms(pq_compress_task *task, pq_err *err)
{
    size_t    at;
    pq_status st = PQ_OK;

    while ((at = find_norm(task, pq_foldable_batch_norm)) != SIZE_MAX) {
        PQ_TRY(pq_fold_batch_norm(task->graph, at, err));
    }
    PQ_TRY(pq_graph_check(task->graph, err));
cleanup:
    return st;
}

pq_status pq_training_check(const void *params, pq_err *err)
{
    return pq_train_check(params, err);
}

pq_status pq_training_apply(pq_compress_task *task, const pq_graph *teacher, pq_err *err)
{
    const pq_training     *t       = task->training;
    pq_train_params        params  = {0};
    pq_train_summary       summary = {0};
    pq_graph              *before  = NULL;
    char                  *frozen  = NULL;
    const pq_train_options options = {.threads            = t->threads,
                                      .teacher            = teacher,
                                      .reference          = t->teacher,
                                      .checkpoint         = t->checkpoint,
                                      .replace_checkpoint = true,
                                      .stop     = pq_progress_stop(task->progress),
                                      .progress = task->progress};
    pq_status              st;

    PQ_TRY(pq_graph_clone(task->graph, &before, err));
    PQ_TRY(pq_params_copy(pq_train_param_table, task->params, &params, err));
    PQ_CHECK(
        params.fold_norm_after == PQ_UNSET ||
            find_norm(task, pq_batch_norm_behind) != SIZE_MAX,
        PQ_ERR_CONFIG,
        "fold_norm_after: no selected layer has a BatchNorm behind a kernel of whole "
        "numbers with one scale a channel");
    PQ_TRY(list_frozen(task, params.freeze, &frozen, err));
    pq_free(params.freeze);
    params.freeze      = frozen;
    params.standardize = false; /* its weights are for the scale they were trained in */
    params.seed        = (int64_t)((task->seed + (uint64_t)params.seed) & INT64_MAX);
    PQ_TRY(pq_train(task->graph,
                    &(pq_train_data){.dataset    = t->dataset,
                                     .train      = t->train,
                                     .validation = t->validation,
                                     .watched    = t->watched},
                    &params, &options, &summary, err));
    PQ_TRY(report(task, before, params.fold_norm_after != PQ_UNSET, &summary));
    if (params.fold_norm_after != PQ_UNSET) {
        PQ_TRY(fold_norms(task, err));
    }
    if (t->done != NULL) {
        t->done(t->context, task->graph, &summary);
    }
cleanup:
    pq_params_free(pq_train_param_table, &params);
    pq_train_summary_free(&summary);
    pq_graph_free(&before);
    return st;
}
