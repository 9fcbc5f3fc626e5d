#include <string.h>

#include "core/memory.h"
#include "train/trainer.h"

static bool has_kernel(const pq_node *node)
{
    return pq_layer_weight(node->layer, "kernel") != NULL;
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

pq_status pq_teacher_create(pq_trainer *t, size_t n_names, const char *const *names,
                            pq_err *err)
{
    const size_t batch = t->net->chunk * t->net->chunks;
    pq_teacher  *d     = &t->teacher;
    pq_status    st;

    PQ_TRY(pq_net_create(
        t->options->teacher,
        &(pq_net_options){
            .batch = batch, .n_pinned = n_names, .pinned = names, .pool = t->pool},
        &d->net, err));
    PQ_CHECK(d->net->width == t->net->width && d->net->values[d->net->input].count ==
                                                   t->net->values[t->net->input].count,
             PQ_ERR_SHAPE,
             "the teacher has %zu inputs and %zu outputs, the graph %zu and %zu",
             d->net->values[d->net->input].count, d->net->width,
             t->net->values[t->net->input].count, t->net->width);
    PQ_NEW(d->logits, batch * d->net->width);
    PQ_NEW(d->pairs, n_names);
    for (d->n_pairs = 0; d->n_pairs < n_names; d->n_pairs++) {
        pq_teacher_pair *p = &d->pairs[d->n_pairs];
        p->student         = pq_net_find(t->net, t->graph, names[d->n_pairs]);
        p->teacher         = pq_net_find(d->net, t->options->teacher, names[d->n_pairs]);
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
    pq_free(teacher->pairs);
    pq_free(teacher->logits);
    *teacher = (pq_teacher){0};
}

static void keep_outputs(void *context, const pq_net_call *c)
{
    pq_trainer       *t     = context;
    const pq_teacher *d     = &t->teacher;
    const size_t      first = c->chunk * c->net->chunk;

    memcpy(d->logits + first * c->net->width, pq_net_value(c, c->net->logits),
           c->rows * c->net->width * sizeof(float));
    for (size_t i = 0; i < d->n_pairs; i++) {
        const pq_teacher_pair *p = &d->pairs[i];
        memcpy(p->target + first * p->count, pq_net_value(c, p->teacher),
               c->rows * p->count * sizeof(float));
    }
}

void pq_teacher_run(pq_trainer *t, size_t n)
{
    if (t->teacher.net != NULL) {
        pq_net_infer(t->teacher.net,
                     &(pq_net_batch){n, 0, pq_trainer_fill, keep_outputs, t});
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
