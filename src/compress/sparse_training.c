#include "compress/sparse_training.h"

#include <string.h>

#include "compress/wiring.h"
#include "core/memory.h"
#include "core/text.h"

const char *const pq_sparse_rewinds[]    = {"never", "every-round", "post-training-stage",
                                            NULL};
const char *const pq_sparse_thresholds[] = {"layerwise", "channelwise", "weightwise",
                                            NULL};

size_t pq_sparse_thresholds_of(int type, const pq_sparse_kernel *k)
{
    return type == PQ_THRESHOLD_LAYER     ? 1
           : type == PQ_THRESHOLD_CHANNEL ? k->rows
                                          : k->count;
}

bool pq_sparse_training_accepts(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    return pq_makes_channels(node);
}

pq_status pq_sparse_training_check(const void *params, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_train_check(params, err));
    PQ_TRY(pq_sparse_check(params, err));
cleanup:
    return st;
}

/* |W - W'| / |W| of the layer's kernel, and how much of it is 0. */
static pq_status report_layer(pq_compress_task *task, const pq_graph *before,
                              const char *name, const pq_train_summary *s)
{
    const size_t          at    = pq_graph_find(task->graph, name);
    const pq_weight      *w     = pq_node_kernel(&task->graph->nodes[at]);
    const pq_weight      *old   = pq_node_kernel(&before->nodes[at]);
    const pq_train_epoch *best  = s->best > 0 ? &s->history[s->best - 1] : NULL;
    double                moved = 0.0, size = 0.0;
    size_t                zeros = 0;

    for (size_t i = 0; i < w->value->count; i++) {
        const double a = (double)pq_f32(old->value)[i], b = (double)pq_f32(w->value)[i];
        moved += (b - a) * (b - a);
        size += a * a;
        zeros += pq_weight_is_pruned(w, i) ? 1 : 0;
    }
    return pq_task_change(task, name, size > 0.0 ? sqrt(moved / size) : 0.0,
                          "%zu of %zu weights are zero; epoch %zu of %zu, accuracy %.4f "
                          "on %zu events%s",
                          zeros, w->value->count, s->best, s->n_epochs,
                          best != NULL ? best->accuracy : (double)NAN,
                          s->validation_events,
                          s->floor_held ? "" : "; recall floor not held");
}

static pq_status run(pq_compress_task *task, const pq_sparse_plan *plan,
                     const pq_train_params *params, pq_err *err)
{
    const pq_training     *t       = task->training;
    pq_train_summary       summary = {0};
    pq_graph              *before  = NULL;
    const pq_train_options options = {.threads            = t->threads,
                                      .reference          = t->teacher,
                                      .checkpoint         = t->checkpoint,
                                      .replace_checkpoint = true,
                                      .sparse             = plan,
                                      .progress           = task->progress};
    pq_status              st;

    PQ_TRY(pq_graph_clone(task->graph, &before, err));
    PQ_TRY(pq_train(task->graph,
                    &(pq_train_data){.dataset    = t->dataset,
                                     .train      = t->train,
                                     .validation = t->validation,
                                     .watched    = t->watched},
                    params, &options, &summary, err));
    for (size_t i = 0; i < task->n_nodes; i++) {
        PQ_TRY(report_layer(task, before, task->nodes[i], &summary));
    }
    if (task->n_changes > 0) {
        pq_floor_missed(task->graph, &summary, &task->changes[task->n_changes - 1]);
    }
    if (t->done != NULL) {
        t->done(t->context, task->graph, &summary);
    }
cleanup:
    pq_train_summary_free(&summary);
    pq_graph_free(&before);
    return st;
}

pq_status pq_sparse_training_apply(pq_compress_task *task, const pq_sparse_method *method,
                                   const pq_param *table, pq_err *err)
{
    const pq_sparse_params *own    = task->params;
    pq_text                 key    = {0};
    pq_train_params         params = {0};
    pq_sparse_plan          plan   = {
                   .method = method, .params = own, .n_nodes = task->n_nodes, .nodes = task->nodes};
    pq_status st;

    PQ_TRY(pq_params_copy(pq_train_param_table, &own->train, &params, err));
    pq_text_add(&key, "%s: ", method->name);
    pq_params_print(table, task->params, &key);
    for (size_t i = 0; i < task->n_nodes; i++) {
        pq_text_add(&key, " %s", task->nodes[i]);
    }
    PQ_CHECK(!key.failed, PQ_ERR_NOMEM, "cannot allocate a string");
    plan.key           = key.text;
    params.epsilon     = 1e-8;
    params.temperature = 1.0;
    params.epochs      = pq_sparse_epochs(own);
    params.standardize = false; /* its weights are for the scale they were trained in */
    params.seed        = (int64_t)((task->seed + (uint64_t)params.seed) & INT64_MAX);
    PQ_TRY(run(task, &plan, &params, err));
cleanup:
    pq_params_free(pq_train_param_table, &params);
    pq_text_free(&key);
    return st;
}
