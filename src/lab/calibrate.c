#include "lab/calibrate.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "exec/predict.h"
#include "exec/rescale.h"
#include "layers/kinds.h"

enum { DEFAULT_EVENTS = 1000 };

/* What the observer needs while a batch goes through. */
typedef struct {
    const pq_graph *graph;
    pq_calib       *calib;
    unsigned        needs;
    pq_status       status; /* first failure inside the observer */
    pq_err         *err;
} collector;

/* Whether second moments of the node's input are of use: it has a kernel in one group. */
static bool has_kernel(const pq_node *node)
{
    return strcmp(node->layer->kind->name, "dense") == 0 ||
           (strcmp(node->layer->kind->name, "conv2d") == 0 &&
            ((const pq_conv2d_params *)node->layer->params)->groups == 1);
}

/* A node's output serves as its own range, and as the input of every kernel that reads
 * it. */
static void collect(void *context, size_t node, size_t n, const float *values)
{
    collector      *c     = context;
    const pq_shape *shape = &c->graph->nodes[node].shape;
    size_t          count = 0;

    if (c->status != PQ_OK || !pq_shape_count(shape, &count)) {
        return;
    }
    if ((c->needs & PQ_NEEDS_RANGES) != 0) {
        const size_t channels = shape->ndim > 0 ? shape->dim[shape->ndim - 1] : 1;
        c->status = pq_calib_add(c->calib, node, n, count, channels, values, c->err);
    }
    for (size_t i = node + 1;
         c->status == PQ_OK && i < c->graph->n_nodes && (c->needs & PQ_NEEDS_GRAMS) != 0;
         i++) {
        if (c->graph->nodes[i].n_inputs == 1 && c->graph->nodes[i].inputs[0] == node &&
            has_kernel(&c->graph->nodes[i])) {
            c->status = pq_calib_add_gram(c->calib, c->graph, i, n, values, c->err);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;

    return (x > y) - (x < y);
}

pq_status pq_calib_count(const pq_dataset *dataset, size_t split, size_t events,
                         size_t *out, pq_err *err)
{
    const pq_dataset_info *info = pq_dataset_describe(dataset);
    const size_t           n    = info->splits[split].n;
    pq_status              st;

    PQ_CHECK(n > 0, PQ_ERR_CONFIG, "%s: split '%s' has no events to calibrate on",
             info->path, info->splits[split].name);
    events = events == 0 ? DEFAULT_EVENTS : events;
    *out   = events > n ? n : events;
cleanup:
    return st;
}

pq_status pq_calib_choose(const pq_dataset *dataset, size_t split, size_t events,
                          uint64_t seed, size_t **out, size_t *chosen, pq_err *err)
{
    const size_t n     = pq_dataset_describe(dataset)->splits[split].n;
    pq_rng       rng   = pq_rng_stream(seed, "calibration");
    size_t      *index = NULL;
    pq_status    st;

    PQ_TRY(pq_calib_count(dataset, split, events, &events, err));
    PQ_NEW(index, n);
    for (size_t i = 0; i < n; i++) {
        index[i] = i;
    }
    pq_rng_shuffle(&rng, index, n);
    qsort(index, events, sizeof *index, by_size);
    *out    = index;
    *chosen = events;
cleanup:
    return st;
}

pq_status pq_calib_run(pq_plan *plan, const pq_graph *graph, pq_dataset *dataset,
                       size_t split, size_t events, uint64_t seed, pq_bench_seen seen,
                       void *context, pq_err *err)
{
    const pq_dataset_info *info  = pq_dataset_describe(dataset);
    const pq_shape         shape = pq_plan_output_shape(plan);
    const size_t           batch = PQ_CALIB_BATCH;
    pq_rescale             scale = {0};
    size_t                *index = NULL;
    float                 *x = NULL, *y = NULL;
    size_t                 in = 0, out = 0;
    pq_status              st;

    PQ_TRY(pq_rescale_make(graph, info, &scale, err));
    PQ_TRY(pq_predict_check(plan, info, &scale, err));
    PQ_TRY(pq_calib_choose(dataset, split, events, seed, &index, &events, err));
    PQ_CHECK(pq_shape_count(&info->sample, &in) && pq_shape_count(&shape, &out),
             PQ_ERR_SHAPE, "samples are too large");
    PQ_NEW(x, batch * in);
    PQ_NEW(y, batch * out);
    in = pq_rescale_values(&scale, in); /* the next event overwrites what is not taken */
    for (size_t first = 0; first < events; first += batch) {
        const size_t n = events - first < batch ? events - first : batch;
        for (size_t i = 0; i < n; i++) {
            const pq_batch one = {.x = x + i * in};
            PQ_TRY(
                pq_rescale_read(&scale, dataset, split, index[first + i], 1, &one, err));
        }
        PQ_TRY(pq_plan_run(plan, n, (const float *const[]){x}, y, err));
        PQ_TRY(seen(context, n, y, err));
    }
cleanup:
    pq_rescale_free(&scale);
    pq_free(index);
    pq_free(x);
    pq_free(y);
    return st;
}

/* What the observer found in the batch that went through. */
static pq_status check_batch(void *context, size_t n, const float *values, pq_err *err)
{
    (void)n;
    (void)values;
    (void)err; /* the observer has filled it */
    return ((const collector *)context)->status;
}

pq_status pq_calibrate(const pq_graph *graph, pq_dataset *dataset, size_t split,
                       unsigned needs, size_t events, uint64_t seed, pq_calib **out,
                       pq_err *err)
{
    const pq_plan_options options = {.engine = "float32", .batch = PQ_CALIB_BATCH};
    pq_plan              *plan    = NULL;
    pq_calib             *calib   = NULL;
    collector             c       = {.graph = graph, .needs = needs, .err = err};
    pq_status             st;

    PQ_TRY(pq_plan_create(graph, &options, &plan, err));
    PQ_TRY(pq_calib_create(graph, &calib, err));
    PQ_TRY(pq_calib_count(dataset, split, events, &calib->events, err));
    c.calib = calib;
    pq_plan_observe(plan, collect, &c);
    PQ_TRY(pq_calib_run(plan, graph, dataset, split, events, seed, check_batch, &c, err));
    *out  = calib;
    calib = NULL;
cleanup:
    pq_plan_free(&plan);
    pq_calib_free(&calib);
    return st;
}
