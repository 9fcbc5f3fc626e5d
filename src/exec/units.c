#include "exec/units.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/codes.h"

/* Sums stay exact in double, where the reference adds them. */
static const double most_exact = 9007199254740992.0;

/* Scales of a product that were rounded to float32 one by one, relative. */
static const double near_scale = 1e-6;

/* Units of the bias of a channel whose weights are all zero: a power of two, so that
 * nothing of it is lost. */
static const double bias_of_zeros = 65536.0;

void pq_units_free(pq_units **units)
{
    if (*units != NULL) {
        pq_free((*units)->weight);
        pq_free((*units)->bias);
        pq_free((*units)->multiplier);
        pq_free(*units);
        *units = NULL;
    }
}

/* Scale of channel o, or 0 when it has several that are not powers of two. */
static double channel_scale(const pq_weight *w, size_t o, size_t length)
{
    const pq_quant *q     = w->quant;
    double          scale = HUGE_VAL;
    bool            one   = true;

    for (size_t i = o * length; i < (o + 1) * length; i++) {
        const double s = (double)q->scale[pq_quant_index(q, &w->value->shape, i)];
        one            = one && (i == o * length || s == scale);
        scale          = s < scale ? s : scale;
    }
    return one || q->scheme == PQ_QUANT_FIXED ? scale : 0.0;
}

/* Scale of a bias that has codes, else 0. */
static double bias_scale(const pq_weight *bias, size_t o)
{
    const pq_quant *q = bias != NULL ? bias->quant : NULL;

    return q != NULL && pq_quant_has_codes(q) && (double)pq_f32(bias->value)[o] != 0.0
               ? (double)q->scale[pq_quant_index(q, &bias->value->shape, o)]
               : 0.0;
}

/* Whether a scale is that of a bias, times a whole number, but for the rounding of scales
 * to float32: the bias of a QDQ layer has s_x s_w in a file. */
static bool is_multiple(double own, double scale)
{
    const double times = rint(own / scale);

    return times >= 1.0 && fabs(own / scale - times) <= near_scale * times;
}

/* Units of channel o's weights in which a bias with codes of its own is whole too; 0 when
 * there are none. */
static double bias_unit(const pq_weight *bias, double in_scale, double scale, size_t o)
{
    const double own = bias_scale(bias, o) / in_scale;
    int          e;

    if (own == 0.0 || is_multiple(own, scale)) {
        return scale;
    }
    return frexp(own, &e) == 0.5 && frexp(scale, &e) == 0.5 ? own : 0.0;
}

/* Whole numbers of channel o; a phrase on failure. */
static const char *fill_channel(pq_units *u, const pq_weight *w, const pq_weight *bias,
                                double in_scale, size_t o)
{
    double       scale = channel_scale(w, o, u->length);
    const float *x     = pq_f32(w->value);
    double       sum = 0.0, b = 0.0;

    if (scale == 0.0) {
        return "its kernel has several scales in one output channel";
    }
    scale = bias_unit(bias, in_scale, scale, o);
    if (scale == 0.0) {
        return "its bias has codes that are no multiples of the scales of its sums";
    }
    for (size_t i = o * u->length; i < (o + 1) * u->length; i++) {
        const double unit = rint((double)x[i] / scale);
        if (fabs((double)x[i] / scale - unit) > 0.01) {
            return "its kernel is not on its grid";
        }
        if (fabs(unit) > (double)INT32_MAX) {
            return "its widths differ by more than 32 bits in one output channel, or "
                   "from "
                   "its bias";
        }
        u->weight[i] = (int32_t)unit;
        u->most_weight =
            abs(u->weight[i]) > u->most_weight ? abs(u->weight[i]) : u->most_weight;
        sum += fabs(unit) * (double)u->most_input;
    }
    u->multiplier[o] = in_scale * scale;
    if (bias != NULL && (double)pq_f32(bias->value)[o] != 0.0) {
        if (sum == 0.0) { /* zeros have no scale of their own, which must not round it */
            u->multiplier[o] = fabs((double)pq_f32(bias->value)[o]) / bias_of_zeros;
        }
        b = rint((double)pq_f32(bias->value)[o] / u->multiplier[o]);
    }
    sum += fabs(b);
    if (!(sum <= most_exact)) {
        return "its sums, with the bias in units of the scales, exceed 53 bits";
    }
    u->bias[o] = (int64_t)b;
    u->bound   = (int64_t)sum > u->bound ? (int64_t)sum : u->bound;
    return NULL;
}

static const char *refusal(const pq_layer *layer, const pq_quant *grid)
{
    const pq_weight *w = pq_layer_weight(layer, "kernel");

    if (strcmp(layer->kind->name, "dense") != 0 &&
        strcmp(layer->kind->name, "conv2d") != 0) {
        return "its kind is not computed in whole numbers";
    }
    if (w->quant == NULL || !pq_quant_has_codes(w->quant)) {
        return "its kernel has no whole-number codes";
    }
    return grid == NULL ? "its input has no codes of one scale" : NULL;
}

pq_status pq_units_create(const pq_graph *graph, size_t node, pq_units **out,
                          const char **why, pq_err *err)
{
    const pq_layer  *layer  = graph->nodes[node].layer;
    const pq_weight *w      = pq_layer_weight(layer, "kernel");
    const pq_quant  *grid   = graph->nodes[node].n_inputs == 1
                                  ? pq_code_grid(graph, graph->nodes[node].inputs[0])
                                  : NULL;
    const char      *phrase = refusal(layer, grid);
    pq_units        *u      = NULL;
    pq_status        st     = PQ_OK;

    *out = NULL;
    if (phrase == NULL) {
        const int32_t below = grid->zero_point[0] - pq_quant_least(grid, 0);
        const int32_t above = pq_quant_most(grid, 0) - grid->zero_point[0];

        PQ_NEW(u, 1);
        u->outputs    = w->value->shape.dim[0];
        u->length     = w->value->count / u->outputs;
        u->most_input = below > above ? below : above;
        PQ_NEW(u->weight, w->value->count);
        PQ_NEW(u->bias, u->outputs);
        PQ_NEW(u->multiplier, u->outputs);
        for (size_t o = 0; o < u->outputs && phrase == NULL; o++) {
            phrase = fill_channel(u, w, pq_layer_weight(layer, "bias"),
                                  (double)grid->scale[0], o);
        }
    }
    if (phrase == NULL) {
        *out = u;
        u    = NULL;
    } else if (why != NULL) {
        *why = phrase;
    }
cleanup:
    pq_units_free(&u);
    return st;
}

pq_status pq_units_biases(const pq_graph *graph, size_t node, size_t n, double *out,
                          pq_err *err)
{
    const pq_weight *bias = pq_layer_weight(graph->nodes[node].layer, "bias");
    pq_units        *u    = NULL;
    pq_status        st   = PQ_OK;

    if (bias != NULL) {
        PQ_TRY(pq_units_create(graph, node, &u, NULL, err));
    }
    for (size_t o = 0; o < n; o++) {
        out[o] = u != NULL      ? (double)u->bias[o] * u->multiplier[o]
                 : bias != NULL ? pq_tensor_get(bias->value, o)
                                : 0.0;
    }
cleanup:
    pq_units_free(&u);
    return st;
}
