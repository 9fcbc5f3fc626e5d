#include <string.h>

#include "core/memory.h"
#include "graph/head.h"
#include "train/trainer.h"

static bool has_kernel(const pq_node *node)
{
    for (size_t w = 0; w < node->layer->n_weights; w++) {
        if (node->layer->kind->role(node->layer->weights[w].name) == PQ_WEIGHT_KERNEL) {
            return true;
        }
    }
    return false;
}

/* The logits have a loss of their own. */
static bool is_logits(const pq_graph *graph, size_t node)
{
    const pq_node *last = &graph->nodes[graph->output];

    return node == graph->output ||
           (!has_kernel(last) && last->n_inputs == 1 && last->inputs[0] == node);
}

pq_status pq_teacher_names(const pq_graph *student, const pq_graph *teacher,
                           const char ***names, size_t *n, pq_err *err)
{
    pq_status st;

    *n = 0;
    PQ_NEW(*names, student->n_nodes);
    for (size_t i = 0; i < student->n_nodes; i++) {
        const pq_node *node = &student->nodes[i];
        const size_t   same = pq_graph_find(teacher, node->name);
        if (has_kernel(node) && same != SIZE_MAX && !is_logits(student, i) &&
            pq_shape_equal(&node->shape, &teacher->nodes[same].shape)) {
            (*names)[(*n)++] = node->name;
        }
    }
    PQ_CHECK(*n > 0, PQ_ERR_CONFIG,
             "layer_mse: graph and teacher have no layer of one name and shape");
cleanup:
    return st;
}

/* Which of the teacher's outputs stands for each of the graph's, by class name; a
   teacher without names has the dataset's order, as a graph without names has. */
static pq_status match_outputs(const pq_trainer *t, const pq_graph *graph, pq_teacher *d,
                               pq_err *err)
{
    const bool         named = graph->class_names != NULL;
    const size_t       n     = named ? graph->n_classes : t->info->n_classes;
    const char *const *names =
        named ? (const char *const *)graph->class_names : t->info->class_names;
    pq_status st;

    PQ_CHECK(n == t->classes, PQ_ERR_CONFIG, "the teacher has %zu classes, the graph %zu",
             n, t->classes);
    PQ_NEW(d->place, n);
    for (size_t k = 0; k < n; k++) {
        d->place[k] = SIZE_MAX;
        for (size_t j = 0; j < n; j++) {
            if (strcmp(t->graph->class_names[k], names[j]) == 0) {
                d->place[k] = j;
            }
        }
        PQ_CHECK(d->place[k] != SIZE_MAX, PQ_ERR_CONFIG,
                 "class '%s' of the graph is none of the teacher's ('%s', …)",
                 t->graph->class_names[k], names[0]);
    }
cleanup:
    return st;
}

/* The scale a graph reads events in: its own, else that of the values in the file. */
static pq_scale scale_of(const pq_graph *graph, const pq_dataset_info *info)
{
    if (graph->scaler_mean != NULL && graph->scaler_std != NULL) {
        return (pq_scale){pq_f32(graph->scaler_mean), pq_f32(graph->scaler_std), NULL};
    }
    return info->standardized && info->scaler_mean != NULL && info->scaler_std != NULL
               ? (pq_scale){info->scaler_mean, info->scaler_std, NULL}
               : (pq_scale){NULL, NULL, NULL};
}

/* The events lie in memory in the scale of the graph. Where the file's values are
   standardized by a scaler it does not tell, they are taken as every graph's own. */
static pq_status match_scale(const pq_trainer *t, const pq_graph *graph, pq_teacher *d,
                             pq_err *err)
{
    const pq_dataset_info *info  = t->info;
    const pq_shape        *in    = &t->graph->nodes[0].shape;
    const size_t           n     = in->ndim == 0 ? 0 : in->dim[in->ndim - 1];
    const char *const     *own   = (const char *const *)t->graph->feature_names;
    size_t                *order = NULL;
    pq_scale               from = {0}, to = {0};
    pq_status              st;

    PQ_CHECK(graph->scaler_mean == NULL || graph->scaler_std == NULL ||
                 (graph->scaler_mean->count == n && graph->scaler_std->count == n),
             PQ_ERR_SHAPE,
             "the teacher's scaler has %zu means, but the events have %zu features",
             graph->scaler_mean->count, n);
    PQ_CHECK(own == NULL || graph->feature_names == NULL ||
                 t->graph->n_features == graph->n_features,
             PQ_ERR_CONFIG, "the teacher takes %zu features, the graph %zu",
             graph->n_features, t->graph->n_features);
    if (own != NULL && graph->feature_names != NULL) {
        PQ_TRY(pq_features_order(own, n, (const char *const *)graph->feature_names, n,
                                 "the graph", &order, err));
    }
    if (!info->standardized || (info->scaler_mean != NULL && info->scaler_std != NULL)) {
        from = scale_of(t->graph, info);
        to   = scale_of(graph, info);
    }
    from.order = order;
    PQ_TRY(pq_rescale_between(n, n, info->padded, from, to, &d->scale, err));
cleanup:
    pq_free(order);
    return st;
}

/* Whether each output stands for itself. */
static bool is_coins(const pq_graph *graph, size_t width)
{
    const pq_head head = pq_graph_head(graph);

    return width == 1 || head == PQ_HEAD_SIGMOID || head == PQ_HEAD_BINARY;
}

static size_t inputs_of(const pq_net *net)
{
    return net->values[net->input].count;
}

/* Net, outputs and their buffer; `inputs` are what it must take. */
static pq_status make_net(const pq_trainer *t, const pq_graph *graph, size_t inputs,
                          const pq_net_options *options, pq_teacher *d, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_net_create(graph, options, &d->net, err));
    PQ_CHECK(d->net->width == t->net->width && inputs_of(d->net) == inputs, PQ_ERR_SHAPE,
             "the teacher has %zu inputs and %zu outputs, the graph %zu and %zu",
             inputs_of(d->net), d->net->width, inputs_of(t->net), t->net->width);
    PQ_CHECK(is_coins(graph, d->net->width) == is_coins(t->graph, t->net->width),
             PQ_ERR_CONFIG,
             "teacher and graph must both end in a sigmoid, or neither of them");
    PQ_TRY(match_outputs(t, graph, d, err));
    PQ_NEW(d->logits, t->net->batch * d->net->width);
cleanup:
    return st;
}

pq_status pq_teacher_apart(const pq_trainer *t, const pq_graph *graph, size_t inputs,
                           pq_teacher *d, pq_err *err)
{
    const pq_net_options options = {.batch = t->net->batch, .pool = t->pool};

    return make_net(t, graph, inputs, &options, d, err);
}

pq_status pq_teacher_create(const pq_trainer *t, const pq_graph *graph, size_t n_names,
                            const char *const *names, pq_teacher *d, pq_err *err)
{
    const size_t         batch   = t->net->batch;
    const pq_net_options options = {
        .batch = batch, .n_pinned = n_names, .pinned = names, .pool = t->pool};
    pq_status st;

    PQ_TRY(make_net(t, graph, inputs_of(t->net), &options, d, err));
    PQ_TRY(match_scale(t, graph, d, err));
    PQ_NEW(d->pairs, n_names);
    for (d->n_pairs = 0; d->n_pairs < n_names; d->n_pairs++) {
        pq_teacher_pair *p = &d->pairs[d->n_pairs];
        p->student         = pq_net_find(t->net, t->graph, names[d->n_pairs]);
        p->teacher         = pq_net_find(d->net, graph, names[d->n_pairs]);
        p->count           = t->net->values[p->student].count;
        PQ_NEW(p->target, batch * p->count);
    }
cleanup:
    return st;
}

void pq_teacher_free(pq_teacher *teacher)
{
    for (size_t i = 0; teacher->pairs != NULL && i < teacher->n_pairs; i++) {
        pq_free(teacher->pairs[i].target);
    }
    pq_net_free(&teacher->net);
    pq_rescale_free(&teacher->scale);
    pq_free(teacher->place);
    pq_free(teacher->pairs);
    pq_free(teacher->logits);
    *teacher = (pq_teacher){0};
}

/* A teacher at work on a trainer's batch. */
typedef struct {
    pq_trainer *t;
    pq_teacher *d;
} lesson;

static void fill(void *context, size_t first, size_t rows, float *x)
{
    const lesson *l = context;

    pq_trainer_fill(l->t, first, rows, x);
    pq_rescale_apply(&l->d->scale, rows * l->t->events->count, x);
}

/* One output stands for the second class: for the graph's first one where the names are
   the other way round, and then with the other sign. */
static void keep_logits(const pq_teacher *d, const float *from, size_t rows, float *to)
{
    const size_t width = d->net->width;

    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < width; k++) {
            to[i * width + k] = width > 1          ? from[i * width + d->place[k]]
                                : d->place[1] == 1 ? from[i]
                                                   : -from[i];
        }
    }
}

static void keep_outputs(void *context, const pq_net_call *c)
{
    const lesson     *l     = context;
    const pq_teacher *d     = l->d;
    const size_t      first = c->chunk * c->net->chunk;

    keep_logits(d, pq_net_value(c, c->net->logits), c->rows,
                d->logits + first * c->net->width);
    for (size_t i = 0; i < d->n_pairs; i++) {
        const pq_teacher_pair *p = &d->pairs[i];
        memcpy(p->target + first * p->count, pq_net_value(c, p->teacher),
               c->rows * p->count * sizeof(float));
    }
}

void pq_teacher_run(pq_trainer *t, pq_teacher *d, size_t n)
{
    lesson l = {t, d};

    if (d->net != NULL) {
        pq_net_infer(
            d->net,
            &(pq_net_batch){.n = n, .fill = fill, .loss = keep_outputs, .context = &l});
    }
}

double pq_teacher_layers(const pq_trainer *t, const pq_net_call *c, size_t first)
{
    double sum = 0.0;

    for (size_t i = 0; i < t->teacher.n_pairs; i++) {
        const pq_teacher_pair *p = &t->teacher.pairs[i];
        const float           *y = pq_net_value(c, p->student);
        float                 *g = pq_net_gradient(c, p->student);
        for (size_t k = 0; k < c->rows * p->count; k++) {
            const size_t row = first + k / p->count;
            const double d   = (double)y[k] - (double)p->target[first * p->count + k];
            const double factor =
                t->params->layer_mse * t->scale * (double)t->w[row] / (double)p->count;
            sum += factor * d * d;
            g[k] = (float)(2.0 * factor * d);
        }
    }
    return sum;
}
