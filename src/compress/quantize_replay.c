/*
 * What of quantization is done layer by layer, in the order of the graph, on the events
 * themselves: each layer sees what the layers before it give as they are quantized now,
 * and should give what the network gave before the stage.
 *
 *   - choice = adaround: rounding.h, on rows drawn evenly over all events and positions,
 *     so many as fit into MOST_BYTES.
 *   - bias_correction: b -= E[y'] - E[y], y and y' what the layer gives before and now.
 */
#include <math.h>
#include <string.h>

#include "compress/quantize_weights.h"
#include "compress/rounding.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "core/rng.h"
#include "layers/kinds.h"

enum { MOST_BYTES = 1 << 27 /* of the rows of a layer */ };

/* Rows of a layer; its groups one after the other. Owns its arrays. */
typedef struct {
    bool      conv;
    pq_window window;
    size_t    groups, inputs, outputs; /* inputs and outputs of a group */
    size_t    sample, positions;       /* values that enter, rows of one event */
    size_t    rows;
    size_t   *at;    /* [rows] event * positions + position, rising */
    size_t   *place; /* [rows] where the row is kept: at random */
    float    *x;     /* [groups, rows, inputs] */
    float    *y;     /* [groups, rows, outputs] */
    double    lo, hi;
    size_t    event, next; /* of the run: events seen, rows taken */
} samples;

static void free_samples(samples *s)
{
    pq_free(s->at);
    pq_free(s->place);
    pq_free(s->x);
    pq_free(s->y);
}

/* Where part i of n of `all` begins, i <= n <= all. */
static size_t part_start(size_t i, size_t n, size_t all)
{
    return i * (all / n) + i * (all % n) / n;
}

/* Rows drawn evenly: one of each of so many equal parts of all. */
static pq_status draw(samples *s, size_t events, uint64_t seed, pq_err *err)
{
    const size_t row  = s->groups * (s->inputs + s->outputs) * sizeof(float);
    const size_t all  = events * s->positions;
    size_t       rows = MOST_BYTES / row;
    pq_rng       rng  = pq_rng_stream(seed, "rounding");
    pq_status    st;

    rows    = rows < 1 ? 1 : rows;
    s->rows = rows < all ? rows : all;
    PQ_NEW(s->at, s->rows);
    PQ_NEW(s->place, s->rows);
    PQ_NEW(s->x, s->groups * s->rows * s->inputs);
    PQ_NEW(s->y, s->groups * s->rows * s->outputs);
    for (size_t i = 0; i < s->rows; i++) {
        const size_t from = part_start(i, s->rows, all);
        const size_t to   = part_start(i + 1, s->rows, all);
        s->at[i]          = from + pq_rng_below(&rng, to - from);
        s->place[i]       = i;
    }
    pq_rng_shuffle(&rng, s->place, s->rows);
cleanup:
    return st;
}

static pq_status describe(samples *s, const pq_graph *graph, size_t node, pq_err *err)
{
    const pq_node  *n      = &graph->nodes[node];
    const pq_shape *in     = &graph->nodes[n->inputs[0]].shape;
    const pq_shape *kernel = &pq_node_kernel(n)->value->shape;
    const size_t    next   = pq_sole_reader(graph, node);
    pq_status       st     = PQ_OK;

    s->conv = pq_node_is(n, "conv2d");
    s->groups =
        s->conv ? (size_t)((const pq_conv2d_params *)n->layer->params)->groups : 1;
    s->inputs  = pq_node_kernel(n)->value->count / kernel->dim[0];
    s->outputs = kernel->dim[0] / s->groups;
    s->lo      = -HUGE_VAL;
    s->hi      = HUGE_VAL;
    if (next != SIZE_MAX && pq_node_is(&graph->nodes[next], "relu")) {
        s->lo = 0.0;
    } else if (next != SIZE_MAX && pq_node_is(&graph->nodes[next], "clip")) {
        const pq_clip_params *p = graph->nodes[next].layer->params;
        s->lo                   = p->lo;
        s->hi                   = p->hi;
    }
    (void)pq_shape_count(in, &s->sample);
    s->positions = s->sample / s->inputs;
    if (s->conv) {
        PQ_TRY(pq_conv2d_window(n->layer, in, &s->window, err));
        s->positions = s->window.out_h * s->window.out_w;
    }
cleanup:
    return st;
}

static pq_status check_row(const char *what, const float *row, size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(isfinite(row[i]), PQ_ERR_NUMERIC, "%s on a calibration event is %g",
                 what, (double)row[i]);
    }
cleanup:
    return st;
}

/* The rows that lie in the next n events of the outputs. */
static pq_status take_targets(void *sink, size_t n, const float *values, pq_err *err)
{
    samples  *s  = sink;
    pq_status st = PQ_OK;

    for (; s->next < s->rows && s->at[s->next] < (s->event + n) * s->positions;
         s->next++) {
        const size_t flat = s->at[s->next] - s->event * s->positions;
        for (size_t g = 0; g < s->groups; g++) {
            float *row = s->y + (g * s->rows + s->place[s->next]) * s->outputs;
            for (size_t o = 0; o < s->outputs; o++) {
                const double y = (double)values[(flat * s->groups + g) * s->outputs + o];
                row[o]         = (float)fmin(fmax(y, s->lo), s->hi);
            }
            PQ_TRY(check_row("an output", row, s->outputs, err));
        }
    }
    s->event += n;
cleanup:
    return st;
}

static pq_status take_inputs(void *sink, size_t n, const float *values, pq_err *err)
{
    samples  *s  = sink;
    pq_status st = PQ_OK;

    for (; s->next < s->rows && s->at[s->next] < (s->event + n) * s->positions;
         s->next++) {
        const size_t event    = s->at[s->next] / s->positions - s->event;
        const size_t position = s->at[s->next] % s->positions;
        const float *from     = values + event * s->sample;
        for (size_t g = 0; g < s->groups; g++) {
            float       *row      = s->x + (g * s->rows + s->place[s->next]) * s->inputs;
            const size_t channels = s->conv ? s->window.channels / s->groups : 0;
            if (s->conv) {
                pq_window_patch(&s->window, from, position, g * channels, channels, row);
            } else {
                memcpy(row, from + position * s->inputs, s->inputs * sizeof *row);
            }
            PQ_TRY(check_row("an input", row, s->inputs, err));
        }
    }
    s->event += n;
cleanup:
    return st;
}

/* Runs the events as far as a node, whose own grid is left out where `bare`. */
static pq_status replay(const pq_compress_task *task, pq_graph *graph, size_t node,
                        bool bare, pq_bench_seen seen, void *sink, pq_err *err)
{
    pq_quant *quant = graph->nodes[node].quant;
    pq_status st;

    graph->nodes[node].quant = bare ? NULL : quant;
    st = task->bench->run(task->bench->context, graph, node, seen, sink, err);
    graph->nodes[node].quant = quant;
    return st;
}

static pq_status gather(samples *s, const pq_compress_task *task, pq_graph *before,
                        size_t node, pq_err *err)
{
    const size_t from = task->graph->nodes[node].inputs[0];
    pq_status    st;

    PQ_TRY(describe(s, before, node, err));
    PQ_TRY(draw(s, task->bench->events, task->seed, err));
    PQ_TRY(replay(task, before, node, true, take_targets, s, err));
    s->event = s->next = 0;
    PQ_TRY(replay(task, task->graph, from, false, take_inputs, s, err));
cleanup:
    return st;
}

/* The grid's values on both sides of each weight; the same twice where there is no
   choice: beyond the range, pruned. */
static void find_sides(const pq_weight *w, const float *from, float *lower, float *upper)
{
    const float *near = pq_f32(w->value);

    for (size_t i = 0; i < w->value->count; i++) {
        const size_t s = pq_quant_index(w->quant, &w->value->shape, i);
        const float  other =
            (float)pq_quantize_other_side(w->quant, s, (double)from[i], (double)near[i]);
        lower[i] = fminf(near[i], other);
        upper[i] = fmaxf(near[i], other);
        if (pq_weight_is_pruned(w, i) || from[i] < lower[i] || from[i] > upper[i]) {
            lower[i] = upper[i] = near[i];
        }
    }
}

static pq_status learn_groups(const samples *s, const pq_weight *w, const float *from,
                              const float *bias, size_t steps, double error[2],
                              pq_err *err)
{
    const size_t count = s->inputs * s->outputs;
    float       *lower = NULL, *upper = NULL;
    pq_status    st;

    PQ_NEW(lower, w->value->count);
    PQ_NEW(upper, w->value->count);
    find_sides(w, from, lower, upper);
    error[0] = error[1] = 0.0;
    for (size_t g = 0; g < s->groups; g++) {
        const pq_rounding_rows   rows   = {.rows    = s->rows,
                                           .inputs  = s->inputs,
                                           .outputs = s->outputs,
                                           .x       = s->x + g * s->rows * s->inputs,
                                           .target  = s->y + g * s->rows * s->outputs,
                                           .bias =
                                           bias != NULL ? bias + g * s->outputs : NULL,
                                           .lo = s->lo,
                                           .hi = s->hi};
        const pq_rounding_choice choice = {from + g * count, lower + g * count,
                                           upper + g * count};
        double                   now[2];
        PQ_TRY(pq_learn_rounding(&rows, &choice, steps, pq_f32(w->value) + g * count, now,
                                 err));
        error[0] += now[0] / (double)s->groups;
        error[1] += now[1] / (double)s->groups;
    }
cleanup:
    pq_free(lower);
    pq_free(upper);
    return st;
}

/* What the record says of a layer: the error anew, and what was won. */
static void note_learnt(pq_compress_task *task, const char *layer, const pq_tensor *from,
                        const pq_tensor *to, const double error[2])
{
    double sums[2] = {0.0, 0.0};

    for (size_t i = 0; i < from->count; i++) {
        const double x = (double)pq_f32(from)[i], y = (double)pq_f32(to)[i];
        sums[0] += x * x;
        sums[1] += (x - y) * (x - y);
    }
    for (size_t i = 0; i < task->n_changes; i++) {
        pq_layer_change *c = &task->changes[i];
        if (strcmp(c->layer, layer) == 0) {
            c->error = sums[0] > 0.0 ? sqrt(sums[1] / sums[0]) : 0.0;
            pq_change_add(c, "; rounding learnt, error of its output %.3g, from %.3g",
                          sqrt(error[1]), sqrt(error[0]));
            return;
        }
    }
}

static pq_status learn(pq_compress_task *task, pq_graph *before, size_t node, pq_err *err)
{
    const pq_quantize_params *p     = task->params;
    const pq_layer           *layer = task->graph->nodes[node].layer;
    const pq_weight          *bias  = pq_layer_weight(layer, "bias");
    const pq_weight          *to    = pq_node_kernel(&task->graph->nodes[node]);
    const pq_tensor          *from  = pq_node_kernel(&before->nodes[node])->value;
    samples                   s     = {0};
    double                    error[2];
    pq_status                 st;

    PQ_TRY(gather(&s, task, before, node, err));
    PQ_TRY(learn_groups(&s, to, pq_f32(from), bias != NULL ? pq_f32(bias->value) : NULL,
                        (size_t)p->rounding_steps, error, err));
    note_learnt(task, task->graph->nodes[node].name, from, to->value, error);
cleanup:
    free_samples(&s);
    return st;
}

/* Sums of a node's values by channel. Owns its array. */
typedef struct {
    size_t  count, channels; /* values of an event, of the last axis */
    double *sum;             /* [channels] */
} channel_sums;

static pq_status add_sums(void *sink, size_t n, const float *values, pq_err *err)
{
    channel_sums *s = sink;

    (void)err;
    for (size_t i = 0; i < n * s->count; i++) {
        s->sum[i % s->channels] += (double)values[i];
    }
    return PQ_OK;
}

static pq_status correct_bias(pq_compress_task *task, pq_graph *before, size_t node,
                              pq_err *err)
{
    const pq_shape *shape  = &before->nodes[node].shape;
    channel_sums    was    = {.channels = shape->dim[shape->ndim - 1]}, is;
    double          values = 0.0;
    pq_status       st;

    (void)pq_shape_count(shape, &was.count);
    is     = was;
    values = (double)(task->bench->events * (was.count / was.channels));
    PQ_NEW(was.sum, was.channels);
    PQ_NEW(is.sum, is.channels);
    PQ_TRY(replay(task, before, node, true, add_sums, &was, err));
    PQ_TRY(replay(task, task->graph, node, true, add_sums, &is, err));
    PQ_TRY(pq_add_bias(task->graph->nodes[node].layer, was.channels, err));
    float *bias = pq_f32(pq_layer_weight(task->graph->nodes[node].layer, "bias")->value);
    for (size_t c = 0; c < was.channels; c++) {
        const double added = pq_bias_value(task->graph, node, c);
        bias[c]            = (float)(added - (is.sum[c] - was.sum[c]) / values);
        PQ_CHECK(isfinite(bias[c]), PQ_ERR_NUMERIC,
                 "the mean of output %zu over the calibration events is %g, and %g once "
                 "quantized",
                 c, was.sum[c] / values, is.sum[c] / values);
    }
cleanup:
    pq_free(was.sum);
    pq_free(is.sum);
    return st;
}

pq_status pq_quantize_on_events(pq_compress_task *task, pq_graph *before, pq_err *err)
{
    const pq_quantize_params *p = task->params;
    pq_status                 st;

    PQ_TRY(pq_graph_check(before, err));
    PQ_TRY(pq_graph_check(task->graph, err));
    for (size_t k = 0; k < task->n_nodes; k++) {
        const size_t   node  = pq_graph_find(task->graph, task->nodes[k]);
        const pq_node *n     = &task->graph->nodes[node];
        const bool     plain = pq_node_is(n, "dense") || pq_node_is(n, "conv2d");
        pq_progress_report(task->progress, "layers", k, task->n_nodes, task->nodes[k]);
        st = p->choice == PQ_CHOICE_ADAROUND && plain ? learn(task, before, node, err)
                                                      : PQ_OK;
        st = st == PQ_OK && p->bias_correction ? correct_bias(task, before, node, err)
                                               : st;
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", task->nodes[k]);
            goto cleanup;
        }
    }
cleanup:
    return st;
}
