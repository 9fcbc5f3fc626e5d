/* Runs one stage on a copy of a graph: which layers, what it cost, where it came from. */
#include <math.h>
#include <string.h>

#include "compress/lora.h"
#include "compress/method.h"
#include "compress/undone.h"
#include "core/hash.h"
#include "core/memory.h"
#include "graph/head.h"
#include "layers/kinds.h"

bool pq_stage_selects(const pq_stage *stage, const pq_graph *graph, const pq_node *node)
{
    bool  found = stage->layers == NULL || pq_glob_match(stage->layers, node->name);
    char *owner, *dot;

    if (found || strchr(node->name, '.') == NULL) {
        return found;
    }
    owner = pq_strdup(node->name);
    while (!found && owner != NULL && (dot = strrchr(owner, '.')) != NULL) {
        *dot  = '\0';
        found = pq_graph_find(graph, owner) != SIZE_MAX &&
                pq_glob_match(stage->layers, owner);
    }
    pq_free(owner);
    return found;
}

static pq_status nothing_selected(const pq_stage *stage, const pq_graph *graph,
                                  pq_err *err)
{
    pq_text   able = {0};
    pq_status st;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (stage->method->accepts(graph, &graph->nodes[i])) {
            pq_text_add(&able, "%s%s", able.length == 0 ? "" : ", ",
                        graph->nodes[i].name);
        }
    }
    st = pq_err_set(
        err, PQ_ERR_CONFIG, __FILE__, __LINE__,
        "%s: layers = '%s' selects nothing it can work on; it could work on: %s",
        stage->method->name, stage->layers != NULL ? stage->layers : "*",
        able.text != NULL ? able.text : "no layer of this model");
    pq_text_free(&able);
    return st;
}

/* Names of the selected nodes; the array is freed by free_names. */
static pq_status select_nodes(const pq_stage *stage, const pq_graph *graph, char ***names,
                              size_t *n, pq_err *err)
{
    pq_status st;

    *n = 0;
    PQ_NEW(*names, graph->n_nodes);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        if (stage->method->accepts(graph, node) && pq_stage_selects(stage, graph, node)) {
            PQ_STRDUP((*names)[*n], node->name);
            ++*n;
        }
    }
    if (*n == 0) {
        st = nothing_selected(stage, graph, err);
    }
cleanup:
    return st;
}

static void free_names(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(names);
}

static size_t node_bytes(const pq_node *node)
{
    size_t bytes = 0;

    for (size_t w = 0; w < node->layer->n_weights; w++) {
        bytes += pq_weight_stored_bytes(&node->layer->weights[w]);
    }
    return bytes;
}

/* Bytes and operations of a layer, with its pieces that the graph `other` does not have.
 */
static void add_up(const pq_graph *graph, const pq_graph *other, const char *layer,
                   size_t *bytes, uint64_t *macs)
{
    for (size_t k = 0; k < graph->n_nodes; k++) {
        if (pq_came_from(other, graph->nodes[k].name, layer)) {
            *bytes += node_bytes(&graph->nodes[k]);
            *macs += pq_node_macs(graph, k);
        }
    }
}

/*
 * Bytes and operations of a layer before and after, with the pieces that came or went; in
 * the first of several changes to one layer only, so that they can be added up.
 */
static void measure(const pq_graph *before, const pq_graph *after,
                    pq_layer_change *changes, size_t i)
{
    pq_layer_change *change = &changes[i];

    for (size_t k = 0; k < i; k++) {
        if (strcmp(changes[k].layer, change->layer) == 0) {
            return;
        }
    }
    add_up(before, after, change->layer, &change->bytes_before, &change->macs_before);
    add_up(after, before, change->layer, &change->bytes_after, &change->macs_after);
}

static pq_status note(const pq_stage *stage, const pq_graph *before, pq_graph *after,
                      pq_err *err)
{
    char      hash[PQ_HASH_TEXT];
    pq_text   text = {0};
    json_t   *step = NULL;
    pq_status st;

    PQ_TRY(pq_graph_hash(before, hash, err));
    pq_params_print(stage->method->params, stage->params, &text);
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate a string");
    step = json_pack("{s:s, s:s, s:s, s:s, s:s}", "method", stage->method->name,
                     "version", stage->method->version, "layers",
                     stage->layers != NULL ? stage->layers : "*", "params",
                     text.text != NULL ? text.text : "", "input", hash);
    PQ_CHECK(step != NULL, PQ_ERR_NOMEM, "cannot allocate a step of provenance");
    PQ_TRY(pq_graph_note(after, step, err));
cleanup:
    pq_text_free(&text);
    return st;
}

static pq_status check_needs(const pq_stage *stage, const pq_apply_options *options,
                             pq_err *err)
{
    const unsigned needs =
        stage->method->needs != NULL ? stage->method->needs(stage->params) : 0;
    pq_status st;

    PQ_TRY(pq_stage_check(stage, err));
    if ((needs & PQ_NEEDS_TRAINING) != 0 && options->training == NULL) {
        st = pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                        "%s needs events to train on", stage->method->name);
        pq_err_hint(err, "name a split to train on: --train FILE[:SPLIT], or `train:` "
                         "under `dataset:` in a configuration");
        goto cleanup;
    }
    PQ_CHECK((needs & PQ_NEEDS_TIMES) == 0 ||
                 (options->bench != NULL && options->bench->time != NULL),
             PQ_ERR_CONFIG,
             "%s needs measured times with these parameters, and nothing that measures "
             "was given",
             stage->method->name);
    PQ_CHECK((needs & PQ_NEEDS_CALLS) == 0 ||
                 (options->bench != NULL && options->bench->call != NULL &&
                  options->bench->calibrate != NULL),
             PQ_ERR_CONFIG,
             "%s needs times of generated C, and nothing that measures was given",
             stage->method->name);
    if (((needs & PQ_NEEDS_STATISTICS) != 0 && options->calib == NULL) ||
        ((needs & PQ_NEEDS_EVENTS) != 0 &&
         (options->bench == NULL || options->bench->events == 0))) {
        st = pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                        "%s needs calibration events with these parameters",
                        stage->method->name);
        pq_err_hint(
            err, "name a split for calibration: --calib FILE[:SPLIT], or `calib:` in a "
                 "configuration");
    }
cleanup:
    return st;
}

static bool has_kernel(const pq_node *node)
{
    for (size_t w = 0; w < node->layer->n_weights; w++) {
        if (node->layer->kind->role(node->layer->weights[w].name) == PQ_WEIGHT_KERNEL) {
            return true;
        }
    }
    return false;
}

static bool is_told(const pq_compress_task *task, const char *layer)
{
    for (size_t i = 0; i < task->n_changes; i++) {
        if (strcmp(task->changes[i].layer, layer) == 0) {
            return true;
        }
    }
    return false;
}

/* Layers with kernels that were asked for and that the method has nothing for. */
static pq_status note_left(const pq_stage *stage, const pq_graph *before,
                           pq_compress_task *task)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < before->n_nodes && st == PQ_OK; i++) {
        const pq_node *node = &before->nodes[i];
        if (has_kernel(node) && !pq_is_adapter(node->name) &&
            pq_stage_selects(stage, before, node) &&
            !stage->method->accepts(before, node) && !is_told(task, node->name)) {
            const size_t groups =
                strcmp(node->layer->kind->name, "conv2d") == 0
                    ? (size_t)((const pq_conv2d_params *)node->layer->params)->groups
                    : 1;
            st = groups > 1
                     ? pq_task_change(task, node->name, (double)NAN,
                                      "left: %s is not for conv2d in %zu groups",
                                      stage->method->name, groups)
                     : pq_task_change(task, node->name, (double)NAN,
                                      "left: %s is not for %s", stage->method->name,
                                      node->layer->kind->name);
        }
    }
    return st;
}

pq_status pq_stage_apply(const pq_stage *stage, const pq_graph *graph,
                         const pq_apply_options *options, pq_graph **out,
                         pq_layer_change **changes, size_t *n_changes, pq_err *err)
{
    pq_compress_task task   = {.params     = stage->params,
                               .calib      = options->calib,
                               .cache      = options->cache,
                               .training   = options->training,
                               .bench      = options->bench,
                               .seed       = options->seed,
                               .n_features = options->n_features,
                               .features   = options->features,
                               .progress   = options->progress};
    pq_graph        *before = NULL;
    char           **names  = NULL;
    pq_status        st;

    PQ_TRY(check_needs(stage, options, err));
    PQ_TRY(pq_graph_clone(graph, &before, err));
    PQ_TRY(pq_graph_check(before, err)); /* shapes, and no NaN gets into a method */
    pq_graph_keep_head(before);          /* what the last layer tells may be rewritten */
    if ((stage->method->keeps & PQ_KEEPS_FRONT) == 0) {
        pq_graph_free(&before->front);
    }
    PQ_TRY(pq_graph_clone(before, &task.graph, err));
    PQ_TRY(select_nodes(stage, before, &names, &task.n_nodes, err));
    task.nodes  = (const char *const *)names;
    task.layers = stage->layers;
    PQ_TRY(stage->method->apply(&task, err));
    PQ_TRY(pq_graph_check(task.graph, err));
    PQ_TRY(pq_note_undone(before, stage->method->keeps, &task, err));
    PQ_TRY(note_left(stage, before, &task));
    for (size_t i = 0; i < task.n_changes; i++) {
        measure(before, task.graph, task.changes, i);
    }
    PQ_TRY(note(stage, before, task.graph, err));
    *out         = task.graph;
    *changes     = task.changes;
    *n_changes   = task.n_changes;
    task.graph   = NULL;
    task.changes = NULL;
cleanup:
    free_names(names, names != NULL ? task.n_nodes : 0);
    pq_graph_free(&before);
    pq_graph_free(&task.graph);
    pq_free(task.changes);
    return st;
}
