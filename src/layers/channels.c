#include "layers/channels.h"

#include <string.h>

#include "core/memory.h"
#include "layers/common.h"
#include "layers/kinds.h"

size_t pq_channels_of(const pq_shape *shape)
{
    return shape->ndim == 0 ? 1 : shape->dim[shape->ndim - 1];
}

size_t pq_channels_kept(const bool *kept, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        count += kept[i] ? 1 : 0;
    }
    return count;
}

/* Channels from..from+n of a port go with channels 0..n of the output from `at`. */
static void tie_run(const pq_channel_sink *to, size_t port, size_t from, size_t n,
                    size_t at)
{
    for (size_t c = 0; c < n; c++) {
        to->tie(to->context, port, from + c, PQ_CHANNELS_OUT, at + c);
    }
}

static void tie_same(const pq_layer *layer, size_t n_in, const pq_shape *in,
                     const pq_shape *out, const pq_channel_sink *to)
{
    (void)layer;
    (void)in;
    for (size_t k = 0; k < n_in; k++) {
        tie_run(to, k, 0, pq_channels_of(out), 0);
    }
}

const pq_channel_rule pq_channels_same = {.tie = tie_same};

static void place_vector(const pq_layer *layer, const pq_weight *w, size_t item,
                         size_t *in, size_t *out)
{
    (void)layer;
    (void)w;
    *in  = item;
    *out = item;
}

const pq_channel_rule pq_channels_vector = {.tie = tie_same, .place = place_vector};

/* Item i is channel i mod C of the input and i mod D of the output: all ties are told
 * once i has gone through the least common multiple. */
static void tie_flat(const pq_layer *layer, size_t n_in, const pq_shape *in,
                     const pq_shape *out, const pq_channel_sink *to)
{
    const size_t a = pq_channels_of(in), b = pq_channels_of(out);
    const size_t items = pq_items(out);

    (void)layer;
    (void)n_in;
    for (size_t i = 0; i < items && (i == 0 || i % a != 0 || i % b != 0); i++) {
        to->tie(to->context, 0, i % a, PQ_CHANNELS_OUT, i % b);
    }
}

const pq_channel_rule pq_channels_flat = {.tie = tie_flat};

static void cut_reshape(pq_layer *layer, const pq_channel_cut *cut)
{
    pq_reals *shape = &((pq_reshape_params *)layer->params)->shape;

    if (shape->value[shape->n - 1] > 0.0) { /* -1 finds its size itself */
        shape->value[shape->n - 1] =
            (double)pq_channels_kept(cut->kept_out, pq_channels_of(&cut->out));
    }
}

const pq_channel_rule pq_channels_reshape = {.tie = tie_flat, .cut = cut_reshape};

static void tie_input(const pq_layer *layer, size_t n_in, const pq_shape *in,
                      const pq_shape *out, const pq_channel_sink *to)
{
    (void)layer;
    (void)n_in;
    (void)in;
    (void)out;
    (void)to;
}

static void cut_input(pq_layer *layer, const pq_channel_cut *cut)
{
    pq_reals *shape = &((pq_input_params *)layer->params)->shape;

    shape->value[shape->n - 1] =
        (double)pq_channels_kept(cut->kept_out, pq_channels_of(&cut->out));
}

const pq_channel_rule pq_channels_input = {.tie = tie_input, .cut = cut_input};

/* Scales that a cut along the inputs would tear apart. */
static void lock_grouped_scales(const pq_layer *layer, const pq_channel_sink *to)
{
    const pq_quant *q = pq_layer_weight(layer, "kernel")->quant;

    if (q != NULL && q->axis == PQ_QUANT_PER_GROUP) {
        to->lock(to->context, 0, "has scales for groups of its inputs");
    }
    if (q != NULL && q->scale_code != NULL) {
        to->lock(to->context, PQ_CHANNELS_OUT, "has scales that share steps");
    }
}

static void tie_dense(const pq_layer *layer, size_t n_in, const pq_shape *in,
                      const pq_shape *out, const pq_channel_sink *to)
{
    (void)n_in;
    (void)in;
    (void)out;
    lock_grouped_scales(layer, to);
}

static bool is_bias(const pq_weight *w)
{
    return strcmp(w->name, "bias") == 0;
}

static void place_dense(const pq_layer *layer, const pq_weight *w, size_t item,
                        size_t *in, size_t *out)
{
    (void)layer;
    if (is_bias(w)) {
        *in  = SIZE_MAX;
        *out = item;
        return;
    }
    *in  = item % w->value->shape.dim[1];
    *out = item / w->value->shape.dim[1];
}

const pq_channel_rule pq_channels_dense = {.tie = tie_dense, .place = place_dense};

/* Sizes of a convolution in groups: of one group. */
typedef struct {
    size_t groups, in, out;
} grouping;

static grouping grouping_of(const pq_layer *layer)
{
    const pq_shape *k = &pq_layer_weight(layer, "kernel")->value->shape;
    const size_t    n = (size_t)((const pq_conv2d_params *)layer->params)->groups;

    return (grouping){n, k->dim[3], k->dim[0] / n};
}

/*
 * Depthwise, an input goes with the outputs made of it. Otherwise the k-th input of every
 * group goes, and the k-th output: groups stay alike.
 */
static void tie_conv2d(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       const pq_shape *out, const pq_channel_sink *to)
{
    const grouping g = grouping_of(layer);

    (void)n_in;
    (void)in;
    (void)out;
    lock_grouped_scales(layer, to);
    for (size_t i = 0; g.groups > 1 && i < g.groups; i++) {
        for (size_t k = 0; k < g.out; k++) {
            if (g.in == 1) {
                to->tie(to->context, 0, i, PQ_CHANNELS_OUT, i * g.out + k);
            } else {
                to->tie(to->context, PQ_CHANNELS_OUT, k, PQ_CHANNELS_OUT, i * g.out + k);
            }
        }
        for (size_t k = 0; k < g.in; k++) {
            if (g.in > 1) {
                to->tie(to->context, 0, k, 0, i * g.in + k);
            }
        }
    }
}

static void place_conv2d(const pq_layer *layer, const pq_weight *w, size_t item,
                         size_t *in, size_t *out)
{
    const grouping g   = grouping_of(layer);
    const size_t   row = w->value->count / w->value->shape.dim[0];

    *out = item / row;
    *in  = is_bias(w) ? SIZE_MAX : *out / g.out * g.in + item % g.in;
}

static void cut_conv2d(pq_layer *layer, const pq_channel_cut *cut)
{
    pq_conv2d_params *p  = layer->params;
    const size_t      in = pq_channels_of(&cut->in[0]);

    if (p->groups > 1 && (size_t)p->groups == in) {
        p->groups = (int64_t)pq_channels_kept(cut->kept_in[0], in);
    }
}

const pq_channel_rule pq_channels_conv2d = {
    .tie = tie_conv2d, .place = place_conv2d, .cut = cut_conv2d};

static void tie_concat(const pq_layer *layer, size_t n_in, const pq_shape *in,
                       const pq_shape *out, const pq_channel_sink *to)
{
    size_t at = 0;

    if (pq_concat_axis(layer, out->ndim) + 1 != out->ndim) {
        tie_same(layer, n_in, in, out, to);
        return;
    }
    for (size_t k = 0; k < n_in; k++) {
        tie_run(to, k, 0, pq_channels_of(&in[k]), at);
        at += pq_channels_of(&in[k]);
    }
}

const pq_channel_rule pq_channels_concat = {.tie = tie_concat};

static void tie_pad(const pq_layer *layer, size_t n_in, const pq_shape *in,
                    const pq_shape *out, const pq_channel_sink *to)
{
    (void)n_in;
    (void)out;
    tie_run(to, 0, 0, pq_channels_of(in),
            (size_t)((const pq_pad_params *)layer->params)->before);
}

static void cut_pad(pq_layer *layer, const pq_channel_cut *cut)
{
    pq_pad_params *p     = layer->params;
    const size_t   first = (size_t)p->before + pq_channels_of(&cut->in[0]);

    p->before = (int64_t)pq_channels_kept(cut->kept_out, (size_t)p->before);
    p->after  = (int64_t)pq_channels_kept(cut->kept_out + first, (size_t)p->after);
}

const pq_channel_rule pq_channels_pad = {.tie = tie_pad, .cut = cut_pad};

static void tie_slice(const pq_layer *layer, size_t n_in, const pq_shape *in,
                      const pq_shape *out, const pq_channel_sink *to)
{
    (void)n_in;
    (void)in;
    tie_run(to, 0, (size_t)((const pq_slice_params *)layer->params)->from,
            pq_channels_of(out), 0);
}

static void cut_slice(pq_layer *layer, const pq_channel_cut *cut)
{
    pq_slice_params *p = layer->params;

    p->from = (int64_t)pq_channels_kept(cut->kept_in[0], (size_t)p->from);
    if (p->to != PQ_UNSET) {
        p->to =
            p->from + (int64_t)pq_channels_kept(cut->kept_out, pq_channels_of(&cut->out));
    }
}

const pq_channel_rule pq_channels_slice = {.tie = tie_slice, .cut = cut_slice};

static pq_status keep_arrays(pq_quant *q, const bool *kept, pq_err *err)
{
    size_t    n  = 0;
    pq_status st = PQ_OK;

    PQ_CHECK(q->scale_code == NULL || pq_channels_kept(kept, q->n) == q->n,
             PQ_ERR_UNSUPPORTED, "scales that share steps cannot be taken apart");
    for (size_t i = 0; i < q->n; i++) {
        if (kept[i]) {
            q->scale[n]      = q->scale[i];
            q->zero_point[n] = q->zero_point[i];
            if (q->width != NULL) {
                q->width[n] = q->width[i];
            }
            n++;
        }
    }
    q->n = n;
    if (q->scheme == PQ_QUANT_FIXED) {
        q->bits = 0;
        for (size_t i = 0; i < n; i++) {
            q->bits = q->width[i] > q->bits ? q->width[i] : q->bits;
        }
    }
cleanup:
    return st;
}

pq_status pq_quant_keep_items(pq_quant *q, const pq_shape *shape, const bool *kept,
                              pq_err *err)
{
    bool     *used = NULL;
    pq_status st   = PQ_OK;

    if (q == NULL || q->n == 0 || q->axis == PQ_QUANT_PER_TENSOR) {
        return PQ_OK;
    }
    PQ_NEW(used, q->n);
    for (size_t i = 0, n = pq_items(shape); i < n; i++) {
        used[pq_quant_index(q, shape, i)] |= kept[i];
    }
    PQ_TRY(keep_arrays(q, used, err));
cleanup:
    pq_free(used);
    return st;
}

/* A weight without the items that go: rows by output, and what is left in a row. */
static pq_status take_out_items(pq_weight *w, const bool *kept, size_t rows, pq_err *err)
{
    pq_shape   shape = w->value->shape;
    pq_tensor *less  = NULL;
    uint8_t   *mask  = NULL;
    size_t     n = pq_channels_kept(kept, w->value->count), at = 0;
    pq_status  st;

    shape.dim[0] = rows;
    if (shape.ndim > 1) {
        size_t *last = &shape.dim[shape.ndim - 1];
        *last        = 1;
        *last        = n / pq_items(&shape);
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, shape, &less, err));
    assert(less->count == n);
    if (w->pruned != NULL) {
        PQ_NEW(mask, pq_mask_bytes(n));
    }
    for (size_t i = 0; i < w->value->count; i++) {
        if (kept[i]) {
            pq_f32(less)[at] = pq_f32(w->value)[i];
            if (pq_weight_is_pruned(w, i)) {
                mask[at / 8] |= (uint8_t)(1u << at % 8);
            }
            at++;
        }
    }
    PQ_TRY(pq_quant_keep_items(w->quant, &w->value->shape, kept, err));
    pq_tensor_free(&w->value);
    pq_free(w->pruned);
    w->value  = less;
    w->pruned = mask;
    return PQ_OK;
cleanup:
    pq_tensor_free(&less);
    pq_free(mask);
    return st;
}

pq_status pq_channels_take_out(pq_layer *layer, const pq_channel_cut *cut, pq_err *err)
{
    const pq_channel_rule *rule = layer->kind->channels;
    const size_t rows = pq_channels_kept(cut->kept_out, pq_channels_of(&cut->out));
    bool       **kept = NULL;
    pq_status    st;

    PQ_NEW(kept, layer->n_weights + 1);
    for (size_t k = 0; k < layer->n_weights; k++) { /* before any of them changes */
        const pq_weight *w = &layer->weights[k];
        PQ_NEW(kept[k], w->value->count);
        for (size_t i = 0; i < w->value->count; i++) {
            size_t in, out;
            rule->place(layer, w, i, &in, &out);
            kept[k][i] = (in == SIZE_MAX || cut->kept_in[0][in]) &&
                         (out == SIZE_MAX || cut->kept_out[out]);
        }
    }
    for (size_t k = 0; k < layer->n_weights; k++) {
        PQ_TRY(take_out_items(&layer->weights[k], kept[k], rows, err));
    }
    if (rule->cut != NULL) {
        rule->cut(layer, cut);
    }
cleanup:
    for (size_t k = 0; kept != NULL && k < layer->n_weights; k++) {
        pq_free(kept[k]);
    }
    pq_free(kept);
    return st;
}
