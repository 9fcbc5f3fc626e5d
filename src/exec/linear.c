#include "exec/linear.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/fold.h"
#include "exec/tt_conv.h"
#include "layers/kinds.h"

/* One panel of weights and what belongs to it. */
typedef struct {
    pq_panel_kernel kernel;
    pq_panel        call;    /* all but in, out, residual and rows */
    size_t          in_at;   /* first input channel of its group */
    size_t          channel; /* first output channel */
} panel;

typedef struct {
    pq_op  op;
    size_t residual;            /* which input is added, 0 = none */
    size_t in_count, out_count; /* floats of a sample */
    size_t outputs;             /* channels, or features */
    /* Rows of a line lie in_pitch apart; a flat operation has one line through all
     * samples. */
    bool   flat;
    size_t rows, lines, line_step;
    /* The input is copied into a frame of zeros where the window leaves it. */
    bool      framed;
    size_t    frame_h, frame_w, channels; /* of the frame; channels may be rounded up */
    pq_window window;
    size_t    taps, length;
    size_t   *tap;
    size_t    n_panels;
    panel    *panels;
    float    *weight, *bias;
} linear_op;

static const pq_layer *layer_of(const pq_step *step, size_t node)
{
    return step->graph->nodes[node].layer;
}

static bool is_kind(const pq_layer *layer, const char *kind)
{
    return strcmp(layer->kind->name, kind) == 0;
}

bool pq_linear_has(const char *kind)
{
    return strcmp(kind, "dense") == 0 || strcmp(kind, "conv2d") == 0 ||
           strcmp(kind, "tt_conv2d") == 0;
}

pq_fusion pq_linear_fuses(const pq_step *step, size_t next)
{
    const pq_node  *nodes = step->graph->nodes;
    const pq_layer *first = layer_of(step, step->node), *then = nodes[next].layer;

    if (!pq_linear_has(first->kind->name) || step->activation != PQ_NO_NODE) {
        return PQ_FUSE_NOT;
    }
    if (is_kind(then, "relu") || is_kind(then, "clip")) {
        return PQ_FUSE_ACTIVATION;
    }
    if (step->add != PQ_NO_NODE) {
        return PQ_FUSE_NOT;
    }
    if (is_kind(then, "batch_norm")) {
        return step->norm == PQ_NO_NODE ? PQ_FUSE_NORM : PQ_FUSE_NOT;
    }
    if (is_kind(then, "add") && nodes[next].n_inputs == 2 &&
        pq_shape_equal(&nodes[nodes[next].inputs[0]].shape,
                       &nodes[nodes[next].inputs[1]].shape)) {
        return PQ_FUSE_ADD;
    }
    return PQ_FUSE_NOT;
}

/* Copies one image into the middle of zeros. */
static const float *frame_image(const linear_op *l, const float *in, float *frame)
{
    const pq_window *w    = &l->window;
    const size_t     line = l->frame_w * l->channels;

    memset(frame, 0, l->frame_h * line * sizeof *frame);
    for (size_t y = 0; y < w->in_h && y + w->pad_top < l->frame_h; y++) {
        const size_t room = l->frame_w - w->pad_left;
        const size_t n    = w->in_w < room ? w->in_w : room;
        const float *from = in + y * w->in_w * w->channels;
        float       *to   = frame + (y + w->pad_top) * line + w->pad_left * l->channels;
        if (l->channels == w->channels) {
            memcpy(to, from, n * w->channels * sizeof *to);
            continue;
        }
        for (size_t x = 0; x < n; x++) {
            memcpy(to + x * l->channels, from + x * w->channels,
                   w->channels * sizeof *to);
        }
    }
    return frame;
}

static void run_lines(const linear_op *l, const float *in, const float *residual,
                      float *out, size_t rows)
{
    for (size_t i = 0; i < l->n_panels; i++) {
        const panel *p    = &l->panels[i];
        pq_panel     call = p->call;

        call.rows = rows;
        for (size_t y = 0; y < l->lines; y++) {
            const size_t at = y * rows * l->outputs + p->channel;
            call.in         = in + y * l->line_step + p->in_at;
            call.out        = out + at;
            call.residual   = residual != NULL ? residual + at : NULL;
            p->kernel(&call);
        }
    }
}

static void linear_run(const pq_op *op, size_t n, const void *const *in, void *out,
                       void *scratch)
{
    const linear_op *l        = (const linear_op *)op;
    const float     *values   = in[0];
    const float     *residual = l->residual > 0 ? in[l->residual] : NULL;
    float           *results  = out;

    if (l->flat) {
        run_lines(l, values, residual, results, n * l->rows);
        return;
    }
    for (size_t s = 0; s < n; s++) {
        const float *image = values + s * l->in_count;
        const size_t at    = s * l->out_count;
        run_lines(l, l->framed ? frame_image(l, image, scratch) : image,
                  residual != NULL ? residual + at : NULL, results + at, l->rows);
    }
}

/* What is known while a step is packed. */
typedef struct {
    const pq_kernels *kernels;
    const pq_layer   *layer; /* the step's, or what stands in for it */
    const pq_tensor  *kernel;
    size_t            groups, group_in, group_out, sum; /* sum: products of one output */
    bool              depthwise;
    pq_affine         affine; /* [outputs]: y = scale (kernel x) + shift */
    float             lo, hi;
} recipe;

/* Bias and BatchNorm as a factor and a summand of each output channel. */
static pq_status fold(const pq_step *step, size_t outputs, recipe *r, pq_err *err)
{
    const pq_weight *bias = pq_layer_weight(r->layer, "bias");
    pq_status        st;

    PQ_TRY(pq_affine_create(outputs, &r->affine, err));
    for (size_t c = 0; bias != NULL && c < outputs; c++) {
        r->affine.shift[c] = pq_tensor_get(bias->value, c);
    }
    if (step->norm != PQ_NO_NODE) {
        pq_affine_normalise(&r->affine, layer_of(step, step->norm));
    }
cleanup:
    return st;
}

static void set_clip(const pq_step *step, recipe *r)
{
    const pq_layer *f =
        step->activation == PQ_NO_NODE ? NULL : layer_of(step, step->activation);

    r->lo = -INFINITY;
    r->hi = INFINITY;
    if (f != NULL && is_kind(f, "relu")) {
        r->lo = 0.0f;
    } else if (f != NULL) {
        r->lo = (float)((const pq_clip_params *)f->params)->lo;
        r->hi = (float)((const pq_clip_params *)f->params)->hi;
    }
}

static pq_status set_taps(linear_op *l, size_t rows, size_t columns, size_t length,
                          pq_err *err)
{
    const pq_window *w = &l->window;
    pq_status        st;

    l->taps   = rows * columns;
    l->length = length;
    PQ_NEW(l->tap, l->taps);
    for (size_t t = 0; t < l->taps; t++) {
        l->tap[t] =
            (t / columns * w->dilation_h * l->frame_w + t % columns * w->dilation_w) *
            l->channels;
    }
cleanup:
    return st;
}

/* The frame is what the window reaches: padding that no window reads is left out. */
static pq_status place_convolution(const pq_step *step, linear_op *l, recipe *r,
                                   pq_err *err)
{
    const pq_conv2d_params *p     = r->layer->params;
    pq_window              *w     = &l->window;
    size_t                  count = 0;
    pq_status               st;

    PQ_TRY(pq_conv2d_window(r->layer, &step->graph->nodes[step->in[0]].shape, w, err));
    r->groups    = (size_t)p->groups;
    r->group_in  = w->channels / r->groups;
    r->group_out = l->outputs / r->groups;
    r->sum       = w->kernel_h * w->kernel_w * r->group_in;
    r->depthwise = r->groups > 1 && r->group_in == 1 && r->group_out == 1;
    l->channels  = w->channels;
    if (r->depthwise) {
        const size_t lanes = r->kernels->lanes;
        l->channels        = (w->channels + lanes - 1) / lanes * lanes;
    }
    l->frame_h = (w->out_h - 1) * w->stride_h + (w->kernel_h - 1) * w->dilation_h + 1;
    l->frame_w = (w->out_w - 1) * w->stride_w + (w->kernel_w - 1) * w->dilation_w + 1;
    l->framed  = w->pad_top > 0 || w->pad_left > 0 || l->frame_h > w->in_h ||
                l->frame_w > w->in_w || l->channels != w->channels;
    if (l->framed) {
        const pq_shape frame = PQ_SHAPE(l->frame_h, l->frame_w, l->channels);
        PQ_CHECK(pq_shape_count(&frame, &count) && count < SIZE_MAX / 8, PQ_ERR_RANGE,
                 "the padded image of %zux%zux%zu does not fit into memory", l->frame_h,
                 l->frame_w, l->channels);
        l->op.scratch_bytes = count * sizeof(float);
    } else {
        l->frame_h = w->in_h;
        l->frame_w = w->in_w;
    }
    l->lines     = w->out_h;
    l->rows      = w->out_w;
    l->line_step = w->stride_h * l->frame_w * l->channels;
    if (r->groups == 1 && w->dilation_w == 1) {
        PQ_TRY(set_taps(l, w->kernel_h, 1, w->kernel_w * w->channels, err));
    } else {
        PQ_TRY(set_taps(l, w->kernel_h, w->kernel_w, r->group_in, err));
    }
    l->flat = !l->framed && r->sum == w->channels && w->stride_h == 1 && w->stride_w == 1;
    if (l->flat) {
        l->rows  = w->out_h * w->out_w;
        l->lines = 1;
    }
cleanup:
    return st;
}

static pq_status place_dense(linear_op *l, recipe *r, pq_err *err)
{
    r->groups    = 1;
    r->group_in  = r->kernel->shape.dim[1];
    r->group_out = l->outputs;
    r->sum       = r->group_in;
    l->channels  = r->group_in;
    l->window    = (pq_window){.stride_w = 1};
    l->flat      = true;
    l->rows      = l->out_count / l->outputs;
    l->lines     = 1;
    return set_taps(l, 1, 1, r->group_in, err);
}

/* Weights and bias of one panel; `width` floats for each product. */
static void fill_panel(const recipe *r, size_t channel, size_t n, size_t width,
                       float *weight, float *bias)
{
    for (size_t c = 0; c < n; c++) {
        const size_t o = channel + c;
        for (size_t k = 0; k < r->sum; k++) {
            weight[k * width + c] =
                (float)(r->affine.scale[o] * pq_tensor_get(r->kernel, o * r->sum + k));
        }
        bias[c] = (float)r->affine.shift[o];
    }
}

/* Channels of the panel at `channel`, and its width in memory. */
static size_t panel_width(const recipe *r, size_t channel, size_t outputs, size_t *n)
{
    const size_t lanes = r->kernels->lanes;
    const size_t left  = r->group_out - channel % r->group_out;

    if (r->depthwise) {
        *n = outputs;
        return (outputs + lanes - 1) / lanes * lanes;
    }
    *n = left < 2 * lanes ? left : 2 * lanes;
    if (left > lanes) {
        return 2 * lanes;
    }
    return lanes;
}

static pq_status pack(linear_op *l, const recipe *r, pq_err *err)
{
    size_t    n = 0, width, widths = 0, at = 0;
    pq_status st;

    for (size_t c = 0; c < l->outputs; c += n) {
        widths += panel_width(r, c, l->outputs, &n);
        l->n_panels++;
    }
    PQ_NEW(l->panels, l->n_panels);
    PQ_NEW(l->weight, widths * r->sum);
    PQ_NEW(l->bias, widths);
    l->op.weight_bytes = widths * (r->sum + 1) * sizeof(float);
    for (size_t c = 0, i = 0; c < l->outputs; c += n, i++, at += width) {
        panel *p = &l->panels[i];
        width    = panel_width(r, c, l->outputs, &n);
        fill_panel(r, c, n, width, l->weight + at * r->sum, l->bias + at);
        p->kernel  = r->depthwise                 ? r->kernels->depthwise
                     : width == r->kernels->lanes ? r->kernels->narrow
                                                  : r->kernels->wide;
        p->in_at   = r->depthwise ? 0 : c / r->group_out * r->group_in;
        p->channel = c;
        p->call    = (pq_panel){.taps      = l->taps,
                                .length    = l->length,
                                .tap       = l->tap,
                                .weight    = l->weight + at * r->sum,
                                .bias      = l->bias + at,
                                .in_pitch  = l->window.stride_w * l->channels,
                                .out_pitch = l->outputs,
                                .n         = n,
                                .lo        = r->lo,
                                .hi        = r->hi};
    }
cleanup:
    return st;
}

static void linear_release(pq_op *op)
{
    linear_op *l = (linear_op *)op;

    pq_free(l->tap);
    pq_free(l->panels);
    pq_free(l->weight);
    pq_free(l->bias);
    pq_free(l);
}

pq_status pq_linear_prepare(const pq_step *step, const pq_kernels *kernels, pq_op **out,
                            pq_err *err)
{
    recipe     r        = {.kernels = kernels, .layer = layer_of(step, step->node)};
    linear_op *l        = NULL;
    pq_layer  *stand_in = NULL;
    pq_status  st;

    PQ_NEW(l, 1);
    if (is_kind(r.layer, "tt_conv2d")) {
        PQ_TRY(pq_tt_conv_rebuild(r.layer, &stand_in, err));
        r.layer = stand_in;
    }
    l->op.run     = linear_run;
    l->op.release = linear_release;
    r.kernel      = pq_layer_weight(r.layer, "kernel")->value;
    l->outputs    = r.kernel->shape.dim[0];
    l->in_count   = pq_node_count(step->graph, step->in[0]);
    l->out_count  = pq_node_count(step->graph, step->node);
    l->residual   = step->add != PQ_NO_NODE ? step->n_in - 1 : 0;
    set_clip(step, &r);
    PQ_TRY(fold(step, l->outputs, &r, err));
    PQ_TRY(is_kind(r.layer, "conv2d") ? place_convolution(step, l, &r, err)
                                      : place_dense(l, &r, err));
    PQ_TRY(pack(l, &r, err));
    *out = &l->op;
    l    = NULL;
cleanup:
    pq_affine_free(&r.affine);
    pq_layer_free(&stand_in);
    if (l != NULL) {
        linear_release(&l->op);
    }
    return st;
}
