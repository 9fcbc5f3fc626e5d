#include "compress/calib.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "layers/kinds.h"
#include "linalg/gemm.h"

pq_status pq_calib_create(const pq_graph *graph, pq_calib **out, pq_err *err)
{
    pq_calib *calib = NULL;
    pq_status st;

    PQ_NEW(calib, 1);
    calib->n_nodes = graph->n_nodes;
    PQ_NEW(calib->names, graph->n_nodes);
    PQ_NEW(calib->ranges, graph->n_nodes);
    PQ_NEW(calib->grams, graph->n_nodes);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        PQ_STRDUP(calib->names[i], graph->nodes[i].name);
    }
    *out  = calib;
    calib = NULL;
cleanup:
    pq_calib_free(&calib);
    return st;
}

void pq_calib_free(pq_calib **calib)
{
    pq_calib *c = *calib;

    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->n_nodes; i++) {
        if (c->names != NULL) {
            pq_free(c->names[i]);
        }
        if (c->ranges != NULL) {
            pq_free(c->ranges[i].channel_lo);
            pq_free(c->ranges[i].channel_hi);
            pq_free(c->ranges[i].channel_mean);
        }
        if (c->grams != NULL) {
            pq_free(c->grams[i].gram);
            pq_free(c->grams[i].mean);
        }
    }
    pq_free(c->names);
    pq_free(c->ranges);
    pq_free(c->grams);
    pq_free(c);
    *calib = NULL;
}

static size_t find(const pq_calib *calib, const char *node)
{
    for (size_t i = 0; i < calib->n_nodes; i++) {
        if (strcmp(calib->names[i], node) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

const pq_calib_range *pq_calib_range_of(const pq_calib *calib, const char *node)
{
    const size_t i = find(calib, node);

    return i != SIZE_MAX && calib->ranges[i].n > 0 ? &calib->ranges[i] : NULL;
}

const pq_calib_gram *pq_calib_gram_of(const pq_calib *calib, const char *node)
{
    const size_t i = find(calib, node);

    return i != SIZE_MAX && calib->grams[i].n > 0 ? &calib->grams[i] : NULL;
}

/* Doubles the bins until `largest` falls into one: bin i becomes the sum of 2i and 2i
 * + 1. */
static void widen(pq_calib_range *r, double largest)
{
    if (largest == 0.0) {
        return;
    }
    if (r->bin_width == 0.0) { /* only zeros so far: they stay in bin 0 at any width */
        int exponent;
        (void)frexp(largest / PQ_CALIB_BINS, &exponent);
        r->bin_width = ldexp(1.0, exponent - 1);
    }
    while (largest >= r->bin_width * PQ_CALIB_BINS) {
        for (size_t i = 0; i < PQ_CALIB_BINS / 2; i++) {
            r->histogram[i] = r->histogram[2 * i] + r->histogram[2 * i + 1];
        }
        memset(r->histogram + PQ_CALIB_BINS / 2, 0,
               PQ_CALIB_BINS / 2 * sizeof *r->histogram);
        r->bin_width *= 2.0;
    }
}

/* Arrays of a range that sees its first values. */
static pq_status start(pq_calib_range *r, size_t channels, pq_err *err)
{
    pq_status st;

    PQ_NEW(r->channel_lo, channels);
    PQ_NEW(r->channel_hi, channels);
    PQ_NEW(r->channel_mean, channels);
    for (size_t c = 0; c < channels; c++) {
        r->channel_lo[c] = HUGE_VAL;
        r->channel_hi[c] = -HUGE_VAL;
    }
    r->channels = channels;
    r->lo       = HUGE_VAL;
    r->hi       = -HUGE_VAL;
    return PQ_OK;
cleanup:
    pq_free(r->channel_lo);
    pq_free(r->channel_hi);
    pq_free(r->channel_mean);
    *r = (pq_calib_range){0};
    return st;
}

/* Running mean after `n` values, of which `added` are new with sum `sum`. */
static double updated_mean(double mean, double sum, size_t added, size_t n)
{
    return n > 0 ? mean + (sum - mean * (double)added) / (double)n : mean;
}

static void add_values(pq_calib_range *r, const float *values, size_t total)
{
    const size_t per_channel = total / r->channels;
    double       sum = 0.0, squares = 0.0;

    r->n += total;
    for (size_t c = 0; c < r->channels; c++) {
        double channel_sum = 0.0;
        for (size_t i = c; i < total; i += r->channels) {
            const double x   = (double)values[i];
            r->channel_lo[c] = fmin(r->channel_lo[c], x);
            r->channel_hi[c] = fmax(r->channel_hi[c], x);
            r->histogram[r->bin_width > 0.0 ? (size_t)(fabs(x) / r->bin_width) : 0] +=
                1.0;
            channel_sum += x;
            squares += x * x;
        }
        r->lo              = fmin(r->lo, r->channel_lo[c]);
        r->hi              = fmax(r->hi, r->channel_hi[c]);
        r->channel_mean[c] = updated_mean(r->channel_mean[c], channel_sum, per_channel,
                                          r->n / r->channels);
        sum += channel_sum;
    }
    r->mean        = updated_mean(r->mean, sum, total, r->n);
    r->mean_square = updated_mean(r->mean_square, squares, total, r->n);
}

/* Moving averages of extremes, event by event; the first starts them. */
static void follow(pq_calib_range *r, const float *values, size_t n, size_t count)
{
    const double memory = 0.99;

    for (size_t s = 0; s < n; s++) {
        double lo = HUGE_VAL, hi = -HUGE_VAL;
        for (size_t i = s * count; i < (s + 1) * count; i++) {
            lo = fmin(lo, (double)values[i]);
            hi = fmax(hi, (double)values[i]);
        }
        if (r->n == 0 && s == 0) {
            r->average_lo = lo;
            r->average_hi = hi;
        }
        r->average_lo += (1.0 - memory) * (lo - r->average_lo);
        r->average_hi += (1.0 - memory) * (hi - r->average_hi);
    }
}

pq_status pq_calib_add(pq_calib *calib, size_t node, size_t n, size_t sample_count,
                       size_t channels, const float *values, pq_err *err)
{
    pq_calib_range *r       = &calib->ranges[node];
    const size_t    total   = n * sample_count;
    double          largest = 0.0;
    pq_status       st;

    assert(node < calib->n_nodes && channels > 0 && sample_count % channels == 0);
    for (size_t i = 0; i < total; i++) {
        PQ_CHECK(isfinite(values[i]), PQ_ERR_NUMERIC,
                 "layer '%s': an output on a calibration event is %g (channel %zu)",
                 calib->names[node], (double)values[i], i % channels);
        largest = fmax(largest, fabs((double)values[i]));
    }
    if (r->channels == 0) {
        PQ_TRY(start(r, channels, err));
    }
    assert(r->channels == channels);
    widen(r, largest);
    follow(r, values, n, sample_count);
    add_values(r, values, total);
cleanup:
    return st;
}

static pq_status start_gram(pq_calib_gram *g, size_t n, pq_err *err)
{
    pq_status st;

    if (g->n == n) {
        return PQ_OK;
    }
    PQ_CHECK(n <= SIZE_MAX / n, PQ_ERR_SHAPE, "a Gram matrix of %zu inputs is too large",
             n);
    PQ_NEW(g->gram, n * n);
    PQ_NEW(g->mean, n);
    g->n = n;
cleanup:
    return st;
}

/* gram += rows^T rows; mean runs along. */
static pq_status add_rows(pq_calib_gram *g, const pq_tensor *rows, pq_err *err)
{
    const size_t count = rows->shape.dim[0];
    pq_tensor    gram  = {PQ_DTYPE_F64, PQ_SHAPE(g->n, g->n), g->n * g->n, g->gram};
    pq_status    st;

    PQ_TRY(pq_gemm((pq_operand){rows, true}, (pq_operand){rows, false}, 1.0, &gram, err));
    g->rows += count;
    for (size_t i = 0; i < g->n; i++) {
        double sum = 0.0;
        for (size_t r = 0; r < count; r++) {
            sum += pq_f64(rows)[r * g->n + i];
        }
        g->mean[i] = updated_mean(g->mean[i], sum, count, g->rows);
    }
cleanup:
    return st;
}

pq_status pq_calib_add_gram(pq_calib *calib, const pq_graph *graph, size_t node, size_t n,
                            const float *input, pq_err *err)
{
    const pq_layer *layer = graph->nodes[node].layer;
    const pq_shape *in    = &graph->nodes[graph->nodes[node].inputs[0]].shape;
    const bool      conv  = strcmp(layer->kind->name, "conv2d") == 0;
    pq_tensor      *rows  = NULL;
    float          *patch = NULL;
    pq_window       w;
    size_t          sample = 0, length, positions;
    pq_status       st;

    PQ_CHECK((conv && ((const pq_conv2d_params *)layer->params)->groups == 1) ||
                 strcmp(layer->kind->name, "dense") == 0,
             PQ_ERR_UNSUPPORTED,
             "layer '%s': second moments are for dense and ungrouped conv2d layers",
             graph->nodes[node].name);
    (void)pq_shape_count(in, &sample);
    length = pq_layer_weight(layer, "kernel")->value->count /
             pq_layer_weight(layer, "kernel")->value->shape.dim[0];
    positions = sample / length;
    if (conv) {
        PQ_TRY(pq_conv2d_window(layer, in, &w, err));
        positions = w.out_h * w.out_w;
    }
    PQ_TRY(start_gram(&calib->grams[node], length, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(positions, length), &rows, err));
    PQ_NEW(patch, length);
    for (size_t i = 0; i < n; i++) {
        for (size_t p = 0; p < positions; p++) {
            const float *x = conv ? patch : input + i * sample + p * length;
            if (conv) {
                pq_window_patch(&w, input + i * sample, p, 0, w.channels, patch);
            }
            for (size_t k = 0; k < length; k++) {
                pq_f64(rows)[p * length + k] = (double)x[k];
            }
        }
        PQ_TRY(add_rows(&calib->grams[node], rows, err));
    }
cleanup:
    pq_free(patch);
    pq_tensor_free(&rows);
    return st;
}

pq_status pq_calib_moments(const pq_calib_gram *g, bool centred, pq_tensor **out,
                           pq_err *err)
{
    const double n = (double)g->rows;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(g->n, g->n), out, err));
    for (size_t i = 0; i < g->n; i++) {
        for (size_t j = 0; j < g->n; j++) {
            const double about         = centred ? g->mean[i] * g->mean[j] : 0.0;
            pq_f64(*out)[i * g->n + j] = g->gram[i * g->n + j] / n - about;
        }
    }
cleanup:
    return st;
}

pq_status pq_calib_shift(const pq_calib_gram *g, const pq_tensor *w,
                         const pq_tensor *other, double **shift, pq_err *err)
{
    pq_status st;

    PQ_NEW(*shift, w->count / g->n);
    for (size_t i = 0; i < w->count; i++) {
        (*shift)[i / g->n] += (pq_f64(w)[i] - pq_f64(other)[i]) * g->mean[i % g->n];
    }
cleanup:
    return st;
}
