#include "train/events.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "data/moments.h"
#include "exec/rescale.h"

enum { READ_EVENTS = 16384 };

void pq_events_free(pq_events *e)
{
    pq_free(e->x);
    pq_free(e->y);
    pq_free(e->weight);
    *e = (pq_events){0};
}

/* Place of each of the dataset's classes among the graph's. */
static pq_status match_classes(const pq_graph *graph, const pq_dataset_info *info,
                               int32_t *place, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(info->unlabelled == NULL, PQ_ERR_CONFIG,
             "%s: no labels are beside the events '%s', and a loss needs them",
             info->path, info->unlabelled);
    PQ_CHECK(info->n_classes >= 2, PQ_ERR_CONFIG,
             "%s has no classes: there is nothing to train towards", info->path);
    PQ_CHECK(graph->class_names == NULL || graph->n_classes == info->n_classes,
             PQ_ERR_CONFIG, "the graph has %zu classes but %s has %zu", graph->n_classes,
             info->path, info->n_classes);
    for (size_t i = 0; i < info->n_classes; i++) {
        place[i] = graph->class_names == NULL ? (int32_t)i : -1;
        for (size_t k = 0; graph->class_names != NULL && k < graph->n_classes; k++) {
            if (strcmp(graph->class_names[k], info->class_names[i]) == 0) {
                place[i] = (int32_t)k;
            }
        }
        PQ_CHECK(place[i] >= 0, PQ_ERR_CONFIG,
                 "class '%s' of %s is none of the graph's classes ('%s', …)",
                 info->class_names[i], info->path, graph->class_names[0]);
    }
cleanup:
    return st;
}

static pq_status check_sample(const pq_graph *graph, const pq_dataset_info *info,
                              const pq_rescale *scale, size_t *count, pq_err *err)
{
    size_t    due = 0, all = 0;
    char      a[128], b[128];
    pq_status st;

    PQ_CHECK(graph->n_nodes > 0 &&
                 strcmp(graph->nodes[0].layer->kind->name, "input") == 0 &&
                 pq_shape_count(&graph->nodes[0].shape, &due),
             PQ_ERR_SHAPE, "the graph does not start with an input");
    PQ_CHECK(pq_shape_count(&info->sample, &all) && pq_rescale_values(scale, all) == due,
             PQ_ERR_SHAPE, "the events of %s are %s, but the graph's input is %s",
             info->path, pq_shape_text(&info->sample, a, sizeof a),
             pq_shape_text(&graph->nodes[0].shape, b, sizeof b));
    *count = due;
cleanup:
    return st;
}

/* Too many events are a matter of the configuration: trying again would not help. */
static pq_status allocate(pq_events *e, const char *path, pq_err *err)
{
    const bool fits = e->count == 0 || e->n < SIZE_MAX / sizeof(float) / e->count;
    char       size[32];
    pq_status  st = PQ_OK;

    e->x      = fits ? pq_calloc(e->n * e->count, sizeof *e->x) : NULL;
    e->y      = pq_calloc(e->n, sizeof *e->y);
    e->weight = pq_calloc(e->n, sizeof *e->weight);
    if (e->x == NULL || e->y == NULL || e->weight == NULL) {
        st = pq_err_set(
            err, PQ_ERR_CONFIG, __FILE__, __LINE__,
            "%s: %zu training events of %zu values (%s) do not fit into memory", path,
            e->n, e->count,
            pq_bytes_text(4.0 * (double)e->n * (double)e->count, size, sizeof size));
        pq_err_hint(err, "train on a part of them, e.g. splits train=0:0.1, or on fewer "
                         "inputs");
    }
    return st;
}

/* The rule of training, validation and test: an event counts as much as it weighs. */
static pq_status check_weights(const pq_events *e, const pq_dataset_info *info,
                               size_t split, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < e->n; i++) {
        const double weight = (double)e->weight[i];
        PQ_CHECK(isfinite(weight) && weight >= 0.0, PQ_ERR_CONFIG,
                 "%s: split '%s': event %zu weighs %g, which is not a number from 0 on",
                 info->path, info->splits[split].name, i, weight);
    }
cleanup:
    if (st != PQ_OK) {
        pq_err_hint(err, "event_weights: false lets every event count once");
    }
    return st;
}

/* Reads n events from `first` on as the i-th to come; through `whole`, [n, file's
 * values], where the graph takes a part of them. */
static pq_status read_some(pq_dataset *dataset, size_t split, const pq_rescale *scale,
                           size_t first, size_t n, float *whole, pq_events *e, size_t i,
                           pq_err *err)
{
    float    *x = e->x + i * e->count;
    pq_status st;

    PQ_TRY(pq_rescale_read(scale, dataset, split, first, n,
                           &(pq_batch){.x      = whole != NULL ? whole : x,
                                       .y      = e->y + i,
                                       .weight = e->weight + i},
                           err));
    if (whole != NULL) {
        memcpy(x, whole, n * e->count * sizeof *x);
    }
cleanup:
    return st;
}

/* Events of an ascending index, or all of them. */
static pq_status read_all(pq_dataset *dataset, size_t split, const pq_rescale *scale,
                          const size_t *index, pq_events *e, pq_err *err)
{
    float    *whole = NULL;
    size_t    all   = 0;
    pq_status st    = PQ_OK;

    (void)pq_shape_count(&pq_dataset_describe(dataset)->sample, &all);
    if (all != e->count) {
        PQ_NEW(whole, (e->n < READ_EVENTS ? e->n : READ_EVENTS) * all);
    }
    for (size_t i = 0, n; i < e->n; i += n) {
        const size_t most = e->n - i < READ_EVENTS ? e->n - i : READ_EVENTS;
        for (n = 1; n < most && (index == NULL || index[i + n] == index[i] + n); n++) {
        }
        PQ_TRY(read_some(dataset, split, scale, index != NULL ? index[i] : i, n, whole, e,
                         i, err));
    }
cleanup:
    pq_free(whole);
    return st;
}

/* The events of an index, NULL = all. */
static pq_status read_events(pq_dataset *dataset, size_t split, const pq_graph *graph,
                             const size_t *index, size_t count, bool weights,
                             pq_events *out, pq_err *err)
{
    const pq_dataset_info *info  = pq_dataset_describe(dataset);
    pq_events              e     = {.n = count, .padded = info->padded};
    int32_t               *place = NULL;
    pq_rescale             scale = {0};
    pq_status              st;

    PQ_TRY(pq_rescale_make(graph, info, &scale, err));
    PQ_TRY(check_sample(graph, info, &scale, &e.count, err));
    PQ_NEW(place, info->n_classes + 1);
    PQ_TRY(match_classes(graph, info, place, err));
    PQ_CHECK(e.n > 0, PQ_ERR_CONFIG, "%s: split '%s' is empty", info->path,
             info->splits[split].name);
    PQ_TRY(allocate(&e, info->path, err));
    PQ_TRY(read_all(dataset, split, &scale, index, &e, err));
    for (size_t i = 0; i < e.n; i++) {
        e.y[i]      = place[e.y[i]];
        e.weight[i] = weights ? e.weight[i] : 1.0F;
    }
    PQ_TRY(check_weights(&e, info, split, err));
    *out = e;
    e    = (pq_events){0};
cleanup:
    pq_events_free(&e);
    pq_rescale_free(&scale);
    pq_free(place);
    return st;
}

pq_status pq_events_read(pq_dataset *dataset, size_t split, const pq_graph *graph,
                         bool weights, pq_events *out, pq_err *err)
{
    return read_events(dataset, split, graph, NULL,
                       pq_dataset_describe(dataset)->splits[split].n, weights, out, err);
}

pq_status pq_events_pick(pq_dataset *dataset, size_t split, const pq_graph *graph,
                         const size_t *index, size_t n, pq_events *out, pq_err *err)
{
    return read_events(dataset, split, graph, index, n, false, out, err);
}

static bool is_there(const pq_events *e, const float *row, size_t n)
{
    return !e->padded || row[n - 1] > 0.0F;
}

pq_status pq_events_standardize(pq_events *e, pq_graph *graph, pq_err *err)
{
    const pq_shape *shape   = &graph->nodes[0].shape;
    const size_t    n       = shape->dim[shape->ndim - 1];
    pq_moments      moments = {0};
    float          *mean, *std;
    pq_status       st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n), &graph->scaler_mean, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n), &graph->scaler_std, err));
    mean = pq_f32(graph->scaler_mean);
    std  = pq_f32(graph->scaler_std);
    PQ_TRY(pq_moments_create(n, e->padded, &moments, err));
    pq_moments_add(&moments, e->n * e->count / n, e->x);
    pq_moments_scaler(&moments, mean, std);
    for (size_t at = 0; at < e->n * e->count; at += n) {
        for (size_t k = 0; k < n && is_there(e, e->x + at, n); k++) {
            e->x[at + k] = (e->x[at + k] - mean[k]) / std[k];
        }
    }
cleanup:
    pq_moments_free(&moments);
    if (st != PQ_OK) { /* no half of a scaler stays */
        pq_tensor_free(&graph->scaler_mean);
        pq_tensor_free(&graph->scaler_std);
    }
    return st;
}

static pq_rng epoch_stream(uint64_t seed, size_t epoch)
{
    char purpose[64];

    (void)snprintf(purpose, sizeof purpose, "shuffle %zu", epoch);
    return pq_rng_stream(seed, purpose);
}

void pq_order_start(uint64_t seed, size_t epoch, const size_t *index, size_t n,
                    size_t *out, pq_order *order)
{
    memcpy(out, index, n * sizeof *out);
    *order = (pq_order){epoch, epoch_stream(seed, epoch), n, out};
}

void pq_order_go_on(pq_order *order, size_t swaps)
{
    order->left = pq_rng_shuffle_part(&order->rng, order->out, order->left, swaps);
}

void pq_order_uniform(uint64_t seed, size_t epoch, const size_t *index, size_t n,
                      size_t *out)
{
    pq_order order;

    pq_order_start(seed, epoch, index, n, out, &order);
    pq_order_go_on(&order, n);
}

pq_status pq_order_balanced(uint64_t seed, size_t epoch, const pq_events *events,
                            size_t classes, const size_t *index, size_t n, size_t *out,
                            pq_err *err)
{
    pq_rng    rng   = epoch_stream(seed, epoch);
    size_t   *mixed = NULL, *first = NULL, *next = NULL, *there = NULL, kinds = 0;
    pq_status st;

    PQ_NEW(mixed, n);
    PQ_NEW(first, classes + 1);
    PQ_NEW(next, classes + 1);
    PQ_NEW(there, classes);
    for (size_t i = 0; i < n; i++) {
        first[events->y[index[i]] + 1]++;
    }
    for (size_t c = 0; c < classes; c++) {
        there[kinds] = c;
        kinds += first[c + 1] > 0 ? 1 : 0;
        first[c + 1] += first[c];
        next[c] = first[c];
    }
    for (size_t i = 0; i < n; i++) {
        mixed[next[events->y[index[i]]]++] = index[i];
    }
    for (size_t c = 0; c < classes; c++) {
        pq_rng_shuffle(&rng, mixed + first[c], first[c + 1] - first[c]);
        next[c] = first[c];
    }
    for (size_t i = 0; i < n; i++) {
        const size_t c = there[i % kinds];
        out[i]         = mixed[next[c]++];
        next[c]        = next[c] == first[c + 1] ? first[c] : next[c];
    }
    pq_rng_shuffle(&rng, out, n);
cleanup:
    pq_free(mixed);
    pq_free(first);
    pq_free(next);
    pq_free(there);
    return st;
}
