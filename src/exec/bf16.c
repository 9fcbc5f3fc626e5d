/*
 * Dense layers and convolutions with inputs and weights rounded to bfloat16 and sums in
 * float32, by AVX-512 BF16; values between layers, biases, residuals and all other kinds
 * are float32, as in `float32`. A BatchNorm is folded in before a weight is rounded. The
 * dense layer that gives the answer, behind others, is float32 too: it is small, and its
 * rounding is what turns a close decision (13 of 10,000 events of ResNet-8).
 */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/fold.h"
#include "exec/geometry.h"
#include "exec/linear.h"
#include "kernels/bf16.h"

extern const pq_engine pq_engine_float32;

enum {
    CHUNK = 256, /**< rows of a flat layer that are rounded and computed together */
    FEW   = 16   /**< rows that are not shared: threads take panels */
};

typedef struct {
    pq_op                  op;
    const pq_bf16_kernels *kernels;
    pq_geometry            at;
    size_t                 residual; /* which input is added, 0 = none */
    size_t                 in_count, out_count;
    size_t                 n_panels;
    pq_bf16_panel         *panels; /* all but rows, in, out and residual */
    size_t                *in_at, *channel;
    uint16_t              *weight;
    float                 *bias;
} bf16_op;

static void release(pq_op *op)
{
    bf16_op *b = (bf16_op *)op;

    pq_geometry_free(&b->at);
    pq_free(b->panels);
    pq_free(b->in_at);
    pq_free(b->channel);
    pq_free(b->weight);
    pq_free(b->bias);
    pq_free(b);
}

/* Lines of an image, or rows of some flat samples, times some panels. */
static void run_rows(const bf16_op *b, pq_range panels, size_t lines, size_t rows,
                     const uint16_t *in, const float *residual, float *out)
{
    for (size_t i = panels.first; i < panels.end; i++) {
        pq_bf16_panel call = b->panels[i];
        call.lines         = lines;
        call.rows          = rows;
        call.in            = in + b->in_at[i];
        call.out           = out + b->channel[i];
        call.residual      = residual != NULL ? residual + b->channel[i] : NULL;
        b->kernels->panel(&call);
    }
}

/* Lines of an image, rounded, in the middle of zeros. */
static void take_lines(const bf16_op *b, pq_range lines, const float *in, uint16_t *frame)
{
    const pq_geometry       *g    = &b->at;
    const pq_geometry_inside p    = pq_geometry_place_image(g);
    const size_t             line = g->frame_w * g->channels;
    const size_t             from = g->window.in_w * g->window.channels;

    if (g->channels != g->window.channels) {
        uint16_t *rounded = frame + g->frame_count;
        b->kernels->round(b->in_count, in, rounded);
        pq_geometry_frame(g, lines, sizeof *frame, 0, rounded, frame);
        return;
    }
    if (!g->framed) {
        b->kernels->round((lines.end - lines.first) * line, in + lines.first * line,
                          frame + lines.first * line);
        return;
    }
    memset(frame + lines.first * line, 0,
           (lines.end - lines.first) * line * sizeof *frame);
    for (size_t y = lines.first; y < lines.end; y++) {
        if (y >= p.above && y < p.above + p.lines) {
            b->kernels->round(p.columns * g->channels, in + (y - p.above) * from,
                              frame + y * line + p.left * g->channels);
        }
    }
}

/* Rows of flat samples, as many at a time as stay in the cache. */
static void run_flat(const bf16_op *b, pq_range rows, pq_range panels,
                     const float *values, const float *residual, float *results,
                     uint16_t *rounded)
{
    const pq_geometry *g = &b->at;

    for (size_t r = rows.first; r < rows.end; r += CHUNK) {
        const size_t n  = rows.end - r < CHUNK ? rows.end - r : CHUNK;
        const size_t at = r * g->outputs;
        b->kernels->round(n * g->row_step, values + r * g->row_step, rounded);
        run_rows(b, panels, 1, n, rounded, residual != NULL ? residual + at : NULL,
                 results + at);
    }
}

/* A part of the rows or lines; of few rows, of the panels. */
static void run_part(const pq_op *op, pq_part part, size_t n, const void *const *in,
                     void *out, void *scratch)
{
    const bf16_op     *b        = (const bf16_op *)op;
    const pq_geometry *g        = &b->at;
    const float       *values   = in[0];
    const float       *residual = b->residual > 0 ? in[b->residual] : NULL;
    float             *results  = out;
    const size_t       rows     = g->flat ? n * g->rows : g->lines;
    const bool         few      = rows < FEW * part.of && g->lines == 1;
    const pq_range     mine     = few ? (pq_range){0, rows} : pq_part_of(part, rows);
    const pq_range     panels   = pq_part_of(few ? part : PQ_WHOLE, b->n_panels);

    if (mine.first == mine.end || panels.first == panels.end) {
        return;
    }
    if (g->flat) {
        run_flat(b, mine, panels, values, residual, results, scratch);
        return;
    }
    for (size_t s = 0; s < n; s++) {
        uint16_t    *frame = scratch;
        const size_t at    = s * b->out_count + mine.first * g->rows * g->outputs;
        take_lines(b, pq_geometry_read(g, mine), values + s * b->in_count, frame);
        run_rows(b, panels, mine.end - mine.first, g->rows,
                 frame + mine.first * g->line_step,
                 residual != NULL ? residual + at : NULL, results + at);
    }
}

static void run(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch)
{
    run_part(op, PQ_WHOLE, n, in, out, scratch);
}

static pq_clip clip_of(const pq_step *step)
{
    const pq_layer *f = step->activation == PQ_NO_NODE
                            ? NULL
                            : step->graph->nodes[step->activation].layer;

    if (f == NULL) {
        return (pq_clip){-INFINITY, INFINITY};
    }
    if (strcmp(f->kind->name, "relu") == 0) {
        return pq_clip_relu;
    }
    return (pq_clip){(float)((const pq_clip_params *)f->params)->lo,
                     (float)((const pq_clip_params *)f->params)->hi};
}

static size_t width_of(const pq_geometry *g, size_t from)
{
    const size_t left = g->group_out - from;

    return left >= PQ_BF16_PANEL ? PQ_BF16_PANEL : pq_geometry_whole(left, PQ_BF16_LANES);
}

/* Weights of one panel in pairs, its factors folded in. */
static void fill_panel(const bf16_op *b, const float *kernel, const double *scale,
                       const pq_bf16_panel *p, size_t channel, uint16_t *weight)
{
    const pq_geometry *g     = &b->at;
    const size_t       pairs = (g->length + 1) / 2;

    for (size_t c = 0; c < p->n; c++) {
        const size_t o = channel + c;
        for (size_t k = 0; k < g->sum; k++) {
            const size_t at = pq_geometry_weight(g, k), t = at / g->length;
            const size_t i = at % g->length;
            const float  w = (float)(scale[o] * (double)kernel[o * g->sum + k]);
            b->kernels->round(1, &w,
                              &weight[((t * pairs + i / 2) * p->width + c) * 2 + i % 2]);
        }
    }
}

static pq_status pack(bf16_op *b, const float *kernel, const pq_affine *affine,
                      pq_clip clip, pq_err *err)
{
    const pq_geometry *g     = &b->at;
    const size_t       pairs = g->taps * ((g->length + 1) / 2);
    size_t             wide = 0, i = 0, at = 0;
    pq_status          st;

    for (size_t from = 0; from < g->group_out; from += PQ_BF16_PANEL) {
        wide += width_of(g, from);
        b->n_panels += g->groups;
    }
    PQ_NEW(b->panels, b->n_panels);
    PQ_NEW(b->in_at, b->n_panels);
    PQ_NEW(b->channel, b->n_panels);
    PQ_NEW(b->weight, g->groups * wide * pairs * 2);
    PQ_NEW(b->bias, g->groups * wide);
    b->op.weight_bytes =
        g->groups * wide * (pairs * 2 * sizeof *b->weight + sizeof *b->bias);
    for (size_t group = 0; group < g->groups; group++) {
        for (size_t from = 0; from < g->group_out; from += PQ_BF16_PANEL, i++) {
            const size_t   left = g->group_out - from;
            pq_bf16_panel *p    = &b->panels[i];
            b->in_at[i]         = group * g->group_in;
            b->channel[i]       = group * g->group_out + from;
            *p                  = (pq_bf16_panel){.lines     = g->lines,
                                                  .taps      = g->taps,
                                                  .length    = g->length,
                                                  .in_line   = g->line_step,
                                                  .in_pitch  = g->row_step,
                                                  .tap       = g->tap,
                                                  .weight    = b->weight + at * pairs * 2,
                                                  .bias      = b->bias + at,
                                                  .width     = width_of(g, from),
                                                  .n         = left < PQ_BF16_PANEL ? left : PQ_BF16_PANEL,
                                                  .out_pitch = g->outputs,
                                                  .clip      = clip};
            fill_panel(b, kernel, affine->scale, p, b->channel[i],
                       b->weight + at * pairs * 2);
            for (size_t c = 0; c < p->n; c++) {
                b->bias[at + c] = (float)affine->shift[b->channel[i] + c];
            }
            at += p->width;
        }
    }
cleanup:
    return st;
}

static pq_status prepare_linear(const pq_step *step, const pq_bf16_kernels *kernels,
                                pq_op **out, pq_err *err)
{
    const pq_layer *layer  = step->graph->nodes[step->node].layer;
    pq_affine       affine = {0};
    bf16_op        *b      = NULL;
    pq_status       st;

    PQ_NEW(b, 1);
    b->op.run     = run;
    b->op.release = release;
    b->op.kernel  = kernels->name;
    b->kernels    = kernels;
    b->in_count   = pq_node_count(step->graph, step->in[0]);
    b->out_count  = pq_node_count(step->graph, step->node);
    b->residual   = step->add != PQ_NO_NODE ? step->n_in - 1 : 0;
    PQ_TRY(pq_geometry_place(step, layer, PQ_BF16_LANES, 2, &b->at, err));
    b->op.run_part = run_part;
    b->op.products = pq_geometry_products(&b->at);
    PQ_TRY(pq_affine_of_step(step, b->at.outputs, &affine, err));
    PQ_TRY(pack(b, pq_f32(pq_layer_weight(layer, "kernel")->value), &affine,
                clip_of(step), err));
    b->op.scratch_bytes =
        ((b->at.flat ? CHUNK * b->at.row_step : b->at.frame_count + b->in_count) + 1) *
        sizeof(uint16_t);
    *out = &b->op;
    b    = NULL;
cleanup:
    pq_affine_free(&affine);
    if (b != NULL) {
        release(&b->op);
    }
    return st;
}

/* Each channel on its own has no pairs to multiply. */
static bool is_depthwise(const pq_layer *layer)
{
    const pq_shape *kernel = &pq_layer_weight(layer, "kernel")->value->shape;

    return layer->kind->form == PQ_FORM_CONVOLUTION &&
           kernel->dim[kernel->ndim - 1] == 1 &&
           ((const pq_conv2d_params *)layer->params)->groups > 1;
}

/* Whether a dense layer gives the network's answer, or what softmax makes it of, from
 * values of other layers. */
static bool is_answer(const pq_step *step)
{
    const pq_graph *g   = step->graph;
    const pq_node  *end = &g->nodes[g->output];

    return g->nodes[step->node].layer->kind->form == PQ_FORM_DENSE &&
           strcmp(g->nodes[step->in[0]].layer->kind->name, "input") != 0 &&
           (step->last == g->output || (strcmp(end->layer->kind->name, "softmax") == 0 &&
                                        end->inputs[0] == step->last));
}

static pq_status prepare(const pq_step *step, size_t tile, pq_op **out, pq_err *err)
{
    const pq_layer        *layer   = step->graph->nodes[step->node].layer;
    const pq_bf16_kernels *kernels = pq_bf16_find();
    pq_status              st;

    PQ_CHECK(kernels != NULL, PQ_ERR_UNSUPPORTED,
             "engine 'bf16' needs AVX-512 BF16, which this processor does not have, or "
             "PQUANT_ISA takes from it");
    if ((layer->kind->form == PQ_FORM_DENSE ||
         layer->kind->form == PQ_FORM_CONVOLUTION) &&
        !is_depthwise(layer) && !is_answer(step)) {
        return prepare_linear(step, kernels, out, err);
    }
    return pq_engine_float32.prepare(step, tile, out, err);
cleanup:
    return st;
}

static void describe(pq_text *out)
{
    const pq_bf16_kernels *kernels = pq_bf16_find();

    pq_text_add(out, "%s, %s, bias last, in units of codes", pq_isa_name(pq_cpu_isa()),
                kernels != NULL ? kernels->name : "no bf16");
}

const pq_engine pq_engine_bf16 = {
    .name       = "bf16",
    .summary    = "as `float32`, with products of bfloat16 summed in float32",
    .item_bytes = sizeof(float),
    .describe   = describe,
    .fuses      = pq_linear_fuses,
    .prepare    = prepare,
};
