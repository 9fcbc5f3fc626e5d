#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "graph/head.h"
#include "train/classes.h"
#include "train/front.h"
#include "train/hold.h"
#include "train/sparsify.h"

pq_status pq_net_link_of(const pq_graph *graph, const pq_net *net, bool squared,
                         pq_link *out, pq_err *err)
{
    const pq_head head = pq_graph_head(graph);
    pq_status     st;

    *out = strcmp(net->link, "softmax") == 0   ? PQ_LINK_SOFTMAX
           : strcmp(net->link, "sigmoid") == 0 ? PQ_LINK_SIGMOID
                                               : PQ_LINK_NONE;
    PQ_CHECK(head != PQ_HEAD_NONE || squared, PQ_ERR_CONFIG,
             "loss = cross_entropy: %s; or loss = mse", pq_head_no_probability(head));
    PQ_CHECK(head == PQ_HEAD_NONE || head == PQ_HEAD_LOGITS || *out != PQ_LINK_NONE,
             PQ_ERR_UNSUPPORTED,
             "head = %s cannot be trained behind a layer '%s': it gives no logits",
             pq_head_name(head), graph->nodes[pq_head_node(graph)].layer->kind->name);
    if (head == PQ_HEAD_LOGITS && net->width == 1) {
        PQ_CHECK(!squared, PQ_ERR_CONFIG,
                 "loss = mse needs an output that is a probability, but this one is a "
                 "logit: end the graph in a sigmoid");
        *out = PQ_LINK_SIGMOID;
    }
cleanup:
    return st;
}

/* What a fresh graph does not know yet comes from the data. */
static pq_status adopt(pq_graph *graph, const pq_dataset_info *info, bool standardize,
                       pq_err *err)
{
    const size_t n = info->sample.ndim == 0 ? 0 : info->sample.dim[info->sample.ndim - 1];
    pq_status    st = PQ_OK;

    if (graph->class_names == NULL && info->n_classes > 0) {
        PQ_TRY(pq_graph_set_classes(graph, info->n_classes, info->class_names, err));
    }
    if (graph->feature_names == NULL && info->feature_names != NULL && n > 0) {
        PQ_TRY(pq_graph_set_features(graph, n, info->feature_names, err));
    }
    if (standardize && info->scaler_mean != NULL && info->scaler_std != NULL) {
        PQ_TRY(pq_scaler_take(graph, info, err));
    }
cleanup:
    return st;
}

/* Cuts `order`, in which classes follow each other, by systematic sampling: every class
   gives its share to within one event, and at least one where it has two. */
static void cut_by_class(pq_trainer *t)
{
    const double share = t->params->validation;
    const size_t n     = t->train_events.n;
    size_t       taken = 0;

    for (size_t i = 0; i < n; i++) {
        const int32_t y     = t->train_events.y[t->order[i]];
        const bool    first = i == 0 || t->train_events.y[t->order[i - 1]] != y;
        const bool    ends  = i + 1 == n || t->train_events.y[t->order[i + 1]] != y;
        const bool    alone = first && ends; /* then it is needed in training */
        const bool    due   = floor((double)(i + 1) * share) > floor((double)i * share);
        taken               = first ? 0 : taken;
        if (!alone && (due || (ends && taken == 0 && share > 0.0))) {
            t->valid_index[t->n_valid++] = t->order[i];
            taken++;
        } else {
            t->train_index[t->n_train++] = t->order[i];
        }
    }
}

/* Sets a share of each class aside when there is no validation split. */
static pq_status split_events(pq_trainer *t, const pq_train_data *data, pq_err *err)
{
    const bool   own   = data->validation != SIZE_MAX;
    const size_t n     = t->train_events.n;
    size_t      *mixed = NULL, at = 0;
    pq_rng       rng = pq_rng_stream((uint64_t)t->params->seed, "validation");
    pq_status    st;

    t->valid_events = own ? &t->other_events : &t->train_events;
    PQ_NEW(t->train_index, n);
    PQ_NEW(t->valid_index, t->valid_events->n);
    PQ_NEW(t->order, n);
    PQ_NEW(t->next_order, n);
    PQ_NEW(mixed, n);
    for (size_t i = 0; i < n; i++) {
        mixed[i] = t->train_index[i] = i;
    }
    if (own) {
        t->n_train = n;
        t->n_valid = t->other_events.n;
        for (size_t i = 0; i < t->n_valid; i++) {
            t->valid_index[i] = i;
        }
        goto cleanup;
    }
    pq_rng_shuffle(&rng, mixed, n);
    for (size_t c = 0; c < t->classes; c++) {
        for (size_t i = 0; i < n; i++) {
            if ((size_t)t->train_events.y[mixed[i]] == c) {
                t->order[at++] = mixed[i];
            }
        }
    }
    cut_by_class(t);
cleanup:
    pq_free(mixed);
    return st;
}

static pq_status check_weight(const pq_events *e, const size_t *index, size_t n,
                              const char *what, pq_err *err)
{
    double    sum = 0.0;
    pq_status st  = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        sum += (double)e->weight[index[i]];
    }
    PQ_CHECK(n == 0 || (isfinite(sum) && sum > 0.0), PQ_ERR_CONFIG,
             "the weights of the %zu events of %s add up to %g", n, what, sum);
cleanup:
    return st;
}

static pq_status read_events(pq_trainer *t, const pq_train_data *data, pq_err *err)
{
    const pq_dataset_info *info    = pq_dataset_describe(data->dataset);
    const bool             weights = t->params->event_weights;
    pq_status              st;

    t->info    = info;
    t->classes = info->n_classes;
    PQ_TRY(adopt(t->graph, info, t->params->standardize, err));
    PQ_TRY(pq_events_read(data->dataset, data->train, t->graph, weights, &t->train_events,
                          err));
    if (t->params->standardize && t->graph->scaler_mean == NULL && !info->standardized) {
        PQ_TRY(pq_events_standardize(&t->train_events, t->graph, err));
    }
    if (data->validation != SIZE_MAX) {
        PQ_TRY(pq_events_read(pq_train_watched(data), data->validation, t->graph, weights,
                              &t->other_events, err));
    }
    PQ_TRY(split_events(t, data, err));
    PQ_TRY(check_weight(&t->train_events, t->train_index, t->n_train, "training", err));
    PQ_TRY(check_weight(t->valid_events, t->valid_index, t->n_valid, "validation", err));
    PQ_TRY(pq_classes_weigh(t, err));
    if (t->params->augment_flip || t->params->augment_crop > 0) {
        PQ_TRY(pq_augment_init(&t->graph->nodes[0].shape, t->params->augment_flip,
                               (size_t)t->params->augment_crop, &t->how, err));
    }
cleanup:
    return st;
}

/* A variance needs two values: with fewer in every batch there is nothing to go by. */
static pq_status check_norms(const pq_trainer *t, size_t batch, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < t->net->n_ops && t->params->fold_norm_after != 0; i++) {
        const pq_op *op = &t->net->ops[i];
        PQ_CHECK(op->cls != &pq_op_batch_norm || op->frozen ||
                     batch * t->net->values[op->out].count >
                         pq_layer_weight(op->layer, "mean")->value->count,
                 PQ_ERR_CONFIG,
                 "layer '%s': batches of one event have no variance for BatchNorm; batch "
                 "must be at least 2, and so must be the training events",
                 op->name);
    }
cleanup:
    return st;
}

static pq_status make_loss(pq_trainer *t, pq_err *err)
{
    const pq_train_params *p = t->params;
    pq_link                link;
    pq_status              st;

    PQ_TRY(pq_net_link_of(t->graph, t->net, p->loss == PQ_LOSS_MSE, &link, err));
    t->loss = (pq_loss){.squared         = p->loss == PQ_LOSS_MSE,
                        .link            = link,
                        .width           = t->net->width,
                        .label_smoothing = (float)p->label_smoothing,
                        .focal_gamma     = (float)p->focal_gamma,
                        .temperature     = (float)p->temperature,
                        .alpha           = (float)p->alpha};
    PQ_TRY(pq_loss_check(&t->loss, err));
    PQ_CHECK(pq_head_classes(pq_graph_head(t->graph), t->net->width) == t->classes,
             PQ_ERR_SHAPE, "the graph has %zu outputs, but there are %zu classes",
             t->net->width, t->classes);
cleanup:
    return st;
}

static pq_status make_buffers(pq_trainer *t, size_t batch, pq_err *err)
{
    const size_t cells = t->net->chunks * t->classes, n = t->net->n_flat;
    pq_status    st;

    PQ_NEW(t->y, batch);
    PQ_NEW(t->w, batch);
    PQ_NEW(t->next_y, batch);
    PQ_NEW(t->next_w, batch);
    PQ_NEW(t->results, t->net->chunks);
    PQ_NEW(t->hits, cells);
    PQ_NEW(t->seen, cells);
    PQ_NEW(t->best, n);
    PQ_NEW(t->aside, n);
    PQ_NEW(t->history, (size_t)t->params->epochs);
    PQ_NEW(t->recalls, (size_t)t->params->epochs * t->classes);
    memcpy(t->best, t->net->flat, n * sizeof(float));
cleanup:
    return st;
}

pq_status pq_trainer_create(pq_trainer *t, const pq_train_data *data, pq_err *err)
{
    const size_t threads =
        t->options->threads == 0 ? pq_threads_available() : t->options->threads;
    const pq_sparse_plan *sparse = t->options->sparse;
    const char          **names  = NULL;
    size_t                batch = (size_t)t->params->batch, n_names = 0;
    pq_status             st;

    PQ_TRY(pq_graph_check(t->graph, err));
    PQ_TRY(read_events(t, data, err));
    batch = batch > t->train_events.n ? t->train_events.n : batch;
    PQ_TRY(pq_pool_create(threads, &t->pool, err));
    if (t->options->teacher != NULL && t->params->layer_mse > 0.0) {
        PQ_TRY(pq_teacher_names(t->graph, t->options->teacher, &names, &n_names, err));
    } else if (sparse != NULL && sparse->method->needs_outputs) {
        PQ_NEW(names, sparse->n_nodes);
        memcpy(names, sparse->nodes, sparse->n_nodes * sizeof *names);
        n_names = sparse->n_nodes;
    }
    PQ_TRY(pq_net_create(
        t->graph,
        &(pq_net_options){.batch         = batch,
                          .training      = true,
                          .freeze        = t->params->freeze,
                          .norm_momentum = t->params->norm_momentum,
                          .qat           = {(pq_qat)t->params->qat, t->params->hgq_beta,
                                            t->params->hgq_gamma, t->params->pact_decay},
                          .sparse        = sparse,
                          .n_pinned      = n_names,
                          .pinned        = names,
                          .pool          = t->pool},
        &t->net, err));
    PQ_TRY(check_norms(t, batch < t->n_train ? batch : t->n_train, err));
    PQ_TRY(make_loss(t, err));
    if (t->options->teacher != NULL) {
        PQ_TRY(
            pq_teacher_create(t, t->options->teacher, n_names, names, &t->teacher, err));
    }
    PQ_TRY(pq_optimizer_create(t->params, t->net, &t->optimizer, err));
    PQ_TRY(make_buffers(t, batch, err));
    PQ_TRY(pq_classes_floors(t, data, err));
    PQ_TRY(pq_hold_create(t, err));
cleanup:
    pq_free(names);
    return st;
}

void pq_trainer_free(pq_trainer *t)
{
    pq_optimizer_free(&t->optimizer);
    pq_teacher_free(&t->teacher);
    pq_net_free(&t->net);
    pq_pool_free(&t->pool);
    pq_events_free(&t->train_events);
    pq_events_free(&t->other_events);
    pq_free(t->train_index);
    pq_free(t->valid_index);
    pq_free(t->order);
    pq_free(t->next_order);
    pq_free(t->class_weight);
    pq_free(t->floors);
    pq_hold_free(&t->hold);
    pq_front_free(&t->front);
    pq_free(t->y);
    pq_free(t->w);
    pq_free(t->next_y);
    pq_free(t->next_w);
    pq_free(t->results);
    pq_free(t->hits);
    pq_free(t->seen);
    pq_free(t->best);
    pq_free(t->aside);
    pq_free(t->history);
    pq_free(t->recalls);
}
