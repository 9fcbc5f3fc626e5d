#include "lab/diff.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "exec/predict.h"
#include "exec/rescale.h"

enum { DEFAULT_EVENTS = 256, MOST_EVENTS = 4096, BATCH = 32 };

/* A model that runs, and what it gave for the batch at hand. */
typedef struct {
    const pq_graph *graph;
    pq_graph       *checked; /* a copy with shapes */
    pq_plan        *plan;
    pq_rescale      scale;
    float         **values; /* [n_nodes] each [BATCH, count] */
    float          *x, *y;
} side;

static size_t count_of(const pq_graph *graph, size_t node)
{
    size_t count = 0;

    (void)pq_shape_count(&graph->nodes[node].shape, &count);
    return count;
}

static void keep(void *context, size_t node, size_t n, const float *values)
{
    const side *s = context;

    memcpy(s->values[node], values, n * count_of(s->checked, node) * sizeof *values);
}

static void close_side(side *s)
{
    for (size_t i = 0; s->values != NULL && i < s->checked->n_nodes; i++) {
        pq_free(s->values[i]);
    }
    pq_free(s->values);
    pq_free(s->x);
    pq_free(s->y);
    pq_rescale_free(&s->scale);
    pq_plan_free(&s->plan);
    pq_graph_free(&s->checked);
}

static pq_status open_side(const pq_graph *graph, const char *engine,
                           const pq_dataset_info *info, side *s, pq_err *err)
{
    size_t    read = 0; /* values of an event in the file */
    pq_status st;

    PQ_TRY(pq_graph_clone(graph, &s->checked, err));
    PQ_TRY(pq_graph_check(s->checked, err));
    PQ_TRY(pq_plan_create(graph, &(pq_plan_options){engine, BATCH}, &s->plan, err));
    if (info != NULL) {
        PQ_TRY(pq_rescale_make(graph, info, &s->scale, err));
        PQ_TRY(pq_predict_check(s->plan, info, &s->scale, err));
        (void)pq_shape_count(&info->sample, &read);
    }
    PQ_NEW(s->values, graph->n_nodes);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        PQ_NEW(s->values[i], BATCH * count_of(s->checked, i));
    }
    read = read > count_of(s->checked, 0) ? read : count_of(s->checked, 0);
    PQ_NEW(s->x, BATCH * read);
    PQ_NEW(s->y, BATCH * count_of(s->checked, s->checked->output));
    pq_plan_observe(s->plan, keep, s);
cleanup:
    return st;
}

/* Node of the first model whose value stands for one of the second, or SIZE_MAX. */
static size_t match(const pq_graph *first, const pq_graph *second, size_t node)
{
    size_t at = pq_graph_find(first, second->nodes[node].name);

    if (at == SIZE_MAX) {
        return SIZE_MAX;
    }
    /* folded away? only what has weights takes a BatchNorm in */
    for (size_t i = at + 1; i < first->n_nodes && first->nodes[at].layer->n_weights > 0;
         i++) {
        if (first->nodes[i].n_inputs == 1 && first->nodes[i].inputs[0] == at &&
            strcmp(first->nodes[i].layer->kind->name, "batch_norm") == 0 &&
            pq_graph_find(second, first->nodes[i].name) == SIZE_MAX) {
            at = i;
            break;
        }
    }
    return pq_shape_equal(&first->nodes[at].shape, &second->nodes[node].shape) ? at
                                                                               : SIZE_MAX;
}

static pq_status list_layers(const side *a, const side *b, size_t *matches, pq_diff *out,
                             pq_err *err)
{
    pq_status st;

    PQ_NEW(out->layers, b->checked->n_nodes);
    for (size_t i = 0; i < b->checked->n_nodes; i++) {
        matches[i] = match(a->checked, b->checked, i);
        if (matches[i] != SIZE_MAX) {
            pq_layer_diff *layer = &out->layers[out->n++];
            PQ_STRDUP(layer->name, b->checked->nodes[i].name);
            PQ_STRDUP(layer->measured, a->checked->nodes[matches[i]].name);
        }
    }
    st = PQ_OK;
cleanup:
    return st;
}

/* Adds a batch: error and signal hold sums of squares until the end. */
static void add_batch(const side *a, const side *b, const size_t *matches, size_t n,
                      pq_diff *out)
{
    size_t layer = 0;

    for (size_t i = 0; i < b->checked->n_nodes; i++) {
        if (matches[i] == SIZE_MAX) {
            continue;
        }
        pq_layer_diff *d = &out->layers[layer++];
        const float   *x = a->values[matches[i]], *y = b->values[i];
        for (size_t k = 0; k < n * count_of(b->checked, i); k++) {
            const double gap = (double)x[k] - (double)y[k];
            d->error += gap * gap;
            d->signal += (double)x[k] * (double)x[k];
            d->largest = fmax(d->largest, fabs(gap));
        }
    }
}

static pq_status run_batch(side *s, pq_dataset *dataset, size_t split, size_t first,
                           size_t n, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_rescale_read(&s->scale, dataset, split, first, n, &(pq_batch){.x = s->x},
                           err));
    PQ_TRY(pq_plan_run(s->plan, n, (const float *const[]){s->x}, s->y, err));
cleanup:
    return st;
}

/* Random inputs in place of events: standard normal once they are scaled, be it by the
 * scaler of the model or, for one without, by that of the other (NULL: by none). */
static pq_status run_random(side *s, const pq_graph *scaled, size_t first, size_t n,
                            pq_err *err)
{
    const size_t     count = count_of(s->checked, 0);
    const pq_tensor *mean =
        s->graph->scaler_mean == NULL && scaled != NULL ? scaled->scaler_mean : NULL;
    const pq_tensor *std = mean != NULL ? scaled->scaler_std : NULL;
    pq_status        st;

    for (size_t i = 0; i < n; i++) {
        pq_rng rng = pq_rng_stream(first + i, "diff");
        for (size_t k = 0; k < count; k++) {
            const double z = pq_rng_normal(&rng);
            s->x[i * count + k] =
                (float)(mean == NULL ? z
                                     : pq_tensor_get(mean, k % mean->count) +
                                           pq_tensor_get(std, k % std->count) * z);
        }
    }
    PQ_TRY(pq_plan_run(s->plan, n, (const float *const[]){s->x}, s->y, err));
cleanup:
    return st;
}

static void finish(const side *b, const size_t *matches, pq_diff *out)
{
    size_t layer = 0;

    for (size_t i = 0; i < b->checked->n_nodes; i++) {
        if (matches[i] != SIZE_MAX) {
            pq_layer_diff *d = &out->layers[layer++];
            d->error         = d->signal > 0.0 ? sqrt(d->error / d->signal)
                                               : (d->error > 0.0 ? HUGE_VAL : 0.0);
            d->signal =
                sqrt(d->signal / (double)out->events / (double)count_of(b->checked, i));
        }
    }
}

static pq_status compare(side *a, side *b, pq_dataset *dataset, size_t split,
                         pq_diff *out, pq_err *err)
{
    const size_t width   = count_of(b->checked, b->checked->output);
    size_t      *matches = NULL;
    pq_status    st;

    PQ_NEW(matches, b->checked->n_nodes);
    PQ_TRY(list_layers(a, b, matches, out, err));
    for (size_t first = 0; first < out->events; first += BATCH) {
        const size_t n = out->events - first < BATCH ? out->events - first : BATCH;
        if (dataset != NULL) {
            PQ_TRY(run_batch(a, dataset, split, first, n, err));
            PQ_TRY(run_batch(b, dataset, split, first, n, err));
        } else {
            PQ_TRY(run_random(a, b->graph, first, n, err));
            PQ_TRY(run_random(b, a->graph, first, n, err));
        }
        add_batch(a, b, matches, n, out);
        for (size_t i = 0; i < n; i++) {
            out->agree +=
                pq_head_agree(out->head, width, a->y + i * width, b->y + i * width) ? 1
                                                                                    : 0;
        }
    }
    finish(b, matches, out);
cleanup:
    pq_free(matches);
    return st;
}

pq_status pq_diff_models(const pq_graph *first, const pq_graph *second,
                         pq_dataset *dataset, size_t split,
                         const pq_diff_options *options, pq_diff *out, pq_err *err)
{
    const pq_dataset_info *info = dataset != NULL ? pq_dataset_describe(dataset) : NULL;
    const size_t           n    = info != NULL ? info->splits[split].n : MOST_EVENTS;
    size_t    events            = options->events == 0 ? DEFAULT_EVENTS : options->events;
    side      a = {.graph = first}, b = {.graph = second};
    pq_diff   diff = {0};
    char      x[128], y[128];
    pq_status st;

    PQ_CHECK(n > 0, PQ_ERR_CONFIG, "%s: split '%s' has no events",
             info != NULL ? info->path : "",
             info != NULL ? info->splits[split].name : "");
    events      = events < MOST_EVENTS ? events : MOST_EVENTS;
    diff.events = events < n ? events : n;
    PQ_TRY(open_side(first, options->first_engine, info, &a, err));
    PQ_TRY(open_side(second, options->second_engine, info, &b, err));
    PQ_CHECK(info != NULL ||
                 (pq_plan_inputs(a.plan) == 1 && pq_plan_inputs(b.plan) == 1 &&
                  pq_shape_equal(&a.checked->nodes[0].shape, &b.checked->nodes[0].shape)),
             PQ_ERR_SHAPE, "one model takes %s, the other %s, or one has several inputs",
             pq_shape_text(&a.checked->nodes[0].shape, x, sizeof x),
             pq_shape_text(&b.checked->nodes[0].shape, y, sizeof y));
    const pq_shape *of_a = &a.checked->nodes[a.checked->output].shape;
    const pq_shape *of_b = &b.checked->nodes[b.checked->output].shape;
    PQ_CHECK(pq_shape_equal(of_a, of_b), PQ_ERR_SHAPE, "one model gives %s, the other %s",
             pq_shape_text(of_a, x, sizeof x), pq_shape_text(of_b, y, sizeof y));
    diff.head  = pq_graph_head(a.checked);
    diff.width = pq_graph_width(a.checked);
    PQ_CHECK(diff.head == pq_graph_head(b.checked), PQ_ERR_CONFIG,
             "one model's head is %s, the other's %s", pq_head_name(diff.head),
             pq_head_name(pq_graph_head(b.checked)));
    PQ_TRY(compare(&a, &b, dataset, split, &diff, err));
    *out = diff;
    diff = (pq_diff){0};
cleanup:
    close_side(&a);
    close_side(&b);
    pq_diff_free(&diff);
    return st;
}

void pq_diff_free(pq_diff *diff)
{
    for (size_t i = 0; i < diff->n; i++) {
        pq_free(diff->layers[i].name);
        pq_free(diff->layers[i].measured);
    }
    pq_free(diff->layers);
    *diff = (pq_diff){0};
}
