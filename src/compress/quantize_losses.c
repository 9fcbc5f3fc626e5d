/* What a network loses when one layer alone is quantized, measured on events. */
#include <string.h>

#include "compress/quantize_weights.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "graph/head.h"

/* Outputs of the graph as it is, [events, width], and what another's outputs differ. */
typedef struct {
    float  *plain;
    size_t  events, width, event; /* event: the next to be seen */
    pq_head head;
    double  divergence, changed;
} comparison;

static pq_status keep(void *context, size_t n, const float *values, pq_err *err)
{
    comparison *c = context;

    (void)err;
    memcpy(c->plain + c->event * c->width, values, n * c->width * sizeof *values);
    c->event += n;
    return PQ_OK;
}

static pq_status compare(void *context, size_t n, const float *values, pq_err *err)
{
    comparison *c = context;

    (void)err;
    for (size_t i = 0; i < n; i++, c->event++, values += c->width) {
        const float *plain = c->plain + c->event * c->width;
        c->divergence += pq_head_divergence(c->head, c->width, plain, values);
        c->changed += pq_head_agree(c->head, c->width, plain, values) ? 0.0 : 1.0;
    }
    return PQ_OK;
}

/* A copy of the graph in which the kernel of one layer has the grid of `bits`; all else
 * stays float. */
static pq_status quantize_alone(const pq_compress_task *task, const char *name, int bits,
                                pq_graph **out, pq_err *err)
{
    pq_quantize_params own     = *(const pq_quantize_params *)task->params;
    pq_graph          *alone   = NULL;
    double             sums[2] = {0.0, 0.0};
    pq_status          st;

    own.bits = bits;
    PQ_TRY(pq_graph_clone(task->graph, &alone, err));
    const size_t node = pq_graph_find(alone, name);
    if (own.fold && pq_foldable_batch_norm(alone, node) != SIZE_MAX) {
        PQ_TRY(pq_fold_batch_norm(alone, node, err));
    }
    pq_layer *layer = alone->nodes[pq_graph_find(alone, name)].layer;
    for (size_t i = 0; i < layer->n_weights; i++) {
        if (layer->kind->role(layer->weights[i].name) == PQ_WEIGHT_KERNEL) {
            PQ_TRY(pq_quantize_weight(&own, &layer->weights[i], NULL, sums, err));
        }
    }
    PQ_TRY(pq_graph_check(alone, err));
    *out  = alone;
    alone = NULL;
cleanup:
    pq_graph_free(&alone);
    return st;
}

static pq_status measure_layer(const pq_compress_task *task, const char *name,
                               comparison *c, pq_quantize_loss *loss, pq_err *err)
{
    const pq_quantize_params *p     = task->params;
    pq_graph                 *alone = NULL;
    pq_status                 st    = PQ_OK;

    for (int bits = PQ_LEAST_BITS; bits <= (int)p->bits; bits++) {
        PQ_TRY(quantize_alone(task, name, bits, &alone, err));
        c->event      = 0;
        c->divergence = c->changed = 0.0;
        PQ_TRY(task->bench->run(task->bench->context, alone, alone->output, compare, c,
                                err));
        loss->divergence[bits] = c->divergence / (double)c->events;
        loss->changed[bits]    = c->changed / (double)c->events;
        pq_graph_free(&alone);
    }
cleanup:
    pq_graph_free(&alone);
    return st;
}

pq_status pq_quantize_measure_losses(const pq_compress_task *task,
                                     pq_quantize_loss *losses, pq_err *err)
{
    const pq_graph *graph = task->graph;
    comparison      c     = {.events = task->bench->events, .head = pq_graph_head(graph)};
    pq_status       st;

    PQ_CHECK(pq_head_no_probability(c.head) == NULL, PQ_ERR_CONFIG,
             "width_rule = loss: %s", pq_head_no_probability(c.head));
    PQ_CHECK(pq_shape_count(&graph->nodes[graph->output].shape, &c.width) &&
                 c.events <= SIZE_MAX / sizeof *c.plain / (c.width == 0 ? 1 : c.width),
             PQ_ERR_NOMEM, "%zu events of %zu outputs do not fit into memory", c.events,
             c.width);
    PQ_NEW(c.plain, c.events * c.width);
    PQ_TRY(task->bench->run(task->bench->context, graph, graph->output, keep, &c, err));
    for (size_t k = 0; k < task->n_nodes; k++) {
        PQ_TRY(measure_layer(task, task->nodes[k], &c, &losses[k], err));
    }
cleanup:
    pq_free(c.plain);
    return st;
}
