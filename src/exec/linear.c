#include "exec/linear.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/fold.h"
#include "exec/geometry.h"
#include "exec/tt_conv.h"

/* One panel of weights and what belongs to it. */
typedef struct {
    pq_panel_kernel kernel;
    pq_panel        call;    /* all but in, out, residual and rows */
    size_t          in_at;   /* first input channel of its group */
    size_t          channel; /* first output channel */
} panel;

typedef struct {
    pq_op       op;
    size_t      residual;            /* which input is added, 0 = none */
    size_t      in_count, out_count; /* floats of a sample */
    pq_geometry at;
    size_t      n_panels;
    panel      *panels;
    float      *weight, *bias;
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
static const float *frame_image(const pq_geometry *g, const float *in, float *frame)
{
    const pq_window *w    = &g->window;
    const size_t     line = g->frame_w * g->channels;

    memset(frame, 0, g->frame_h * line * sizeof *frame);
    for (size_t y = 0; y < w->in_h && y + w->pad_top < g->frame_h; y++) {
        const size_t room = g->frame_w - w->pad_left;
        const size_t n    = w->in_w < room ? w->in_w : room;
        const float *from = in + y * w->in_w * w->channels;
        float       *to   = frame + (y + w->pad_top) * line + w->pad_left * g->channels;
        if (g->channels == w->channels) {
            memcpy(to, from, n * w->channels * sizeof *to);
            continue;
        }
        for (size_t x = 0; x < n; x++) {
            memcpy(to + x * g->channels, from + x * w->channels,
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
        for (size_t y = 0; y < l->at.lines; y++) {
            const size_t at = y * rows * l->at.outputs + p->channel;
            call.in         = in + y * l->at.line_step + p->in_at;
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

    if (l->at.flat) {
        run_lines(l, values, residual, results, n * l->at.rows);
        return;
    }
    for (size_t s = 0; s < n; s++) {
        const float *image = values + s * l->in_count;
        const size_t at    = s * l->out_count;
        run_lines(l, l->at.framed ? frame_image(&l->at, image, scratch) : image,
                  residual != NULL ? residual + at : NULL, results + at, l->at.rows);
    }
}

/* What is known while a step is packed. */
typedef struct {
    const pq_kernels *kernels;
    const pq_layer   *layer; /* the step's, or what stands in for it */
    const pq_tensor  *kernel;
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

/* Weights and bias of one panel; `width` floats for each product. */
static void fill_panel(const recipe *r, size_t sum, size_t channel, size_t n,
                       size_t width, float *weight, float *bias)
{
    for (size_t c = 0; c < n; c++) {
        const size_t o = channel + c;
        for (size_t k = 0; k < sum; k++) {
            weight[k * width + c] =
                (float)(r->affine.scale[o] * pq_tensor_get(r->kernel, o * sum + k));
        }
        bias[c] = (float)r->affine.shift[o];
    }
}

static pq_status pack(linear_op *l, const recipe *r, pq_err *err)
{
    const pq_geometry *g     = &l->at;
    const size_t       lanes = r->kernels->lanes;
    size_t             n = 0, width, widths = 0, at = 0;
    pq_status          st;

    for (size_t c = 0; c < g->outputs; c += n) {
        widths += pq_geometry_panel(g, lanes, c, &n);
        l->n_panels++;
    }
    PQ_NEW(l->panels, l->n_panels);
    PQ_NEW(l->weight, widths * g->sum);
    PQ_NEW(l->bias, widths);
    l->op.weight_bytes = widths * (g->sum + 1) * sizeof(float);
    for (size_t c = 0, i = 0; c < g->outputs; c += n, i++, at += width) {
        panel *p      = &l->panels[i];
        float *weight = l->weight + at * g->sum;
        width         = pq_geometry_panel(g, lanes, c, &n);
        fill_panel(r, g->sum, c, n, width, weight, l->bias + at);
        p->kernel  = g->depthwise     ? r->kernels->depthwise
                     : width == lanes ? r->kernels->narrow
                                      : r->kernels->wide;
        p->in_at   = g->depthwise ? 0 : c / g->group_out * g->group_in;
        p->channel = c;
        p->call    = (pq_panel){.taps      = g->taps,
                                .length    = g->length,
                                .tap       = g->tap,
                                .weight    = weight,
                                .bias      = l->bias + at,
                                .in_pitch  = g->row_step,
                                .out_pitch = g->outputs,
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

    pq_geometry_free(&l->at);
    pq_free(l->panels);
    pq_free(l->weight);
    pq_free(l->bias);
    pq_free(l);
}

pq_status pq_linear_prepare(const pq_step *step, const pq_kernels *kernels, pq_op **out,
                            pq_err *err)
{
    static const char *const names[PQ_ISA_COUNT] = {"float32:portable", "float32:avx2",
                                                    "float32:avx512"};
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
    l->op.kernel  = names[kernels->isa];
    r.kernel      = pq_layer_weight(r.layer, "kernel")->value;
    l->in_count   = pq_node_count(step->graph, step->in[0]);
    l->out_count  = pq_node_count(step->graph, step->node);
    l->residual   = step->add != PQ_NO_NODE ? step->n_in - 1 : 0;
    PQ_TRY(pq_geometry_place(step, r.layer, kernels->lanes, &l->at, err));
    if (l->at.framed) {
        l->op.scratch_bytes = l->at.frame_count * sizeof(float);
    }
    set_clip(step, &r);
    PQ_TRY(fold(step, l->at.outputs, &r, err));
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
