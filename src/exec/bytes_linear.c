#include "exec/bytes_linear.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "exec/bytes.h"
#include "exec/geometry.h"
#include "kernels/bytes.h"

typedef struct {
    pq_op                  op;
    const pq_bytes_kernel *kernel;
    pq_geometry            at;
    pq_bytes_panel        *calls; /* [groups] all but rows, in, code, real */
    size_t                 in_count, out_count; /* of a sample */
    int                    zero;                /* beside an image */
    bool                   codes;
    int8_t                *weight;
    int32_t               *bias;
    double                *multiplier, *factor;
    float                 *near;
} linear_op;

/* All groups of lines of one image, or of rows of flat samples; `to`: items before them.
 */
static void run_groups(const linear_op *d, size_t lines, size_t rows, const uint8_t *in,
                       size_t to, void *out)
{
    const pq_geometry *g = &d->at;

    for (size_t i = 0; i < g->groups; i++) {
        pq_bytes_panel call = d->calls[i];
        const size_t   at   = to + i * g->group_out;
        call.lines          = lines;
        call.rows           = rows;
        call.in             = in + i * g->group_in;
        call.code           = d->codes ? (uint8_t *)out + at : NULL;
        call.real           = d->codes ? NULL : (float *)out + at;
        d->kernel->panel(&call);
    }
}

static void run_part(const pq_op *op, pq_part part, size_t n, const void *const *in,
                     void *out, void *scratch)
{
    const linear_op   *d    = (const linear_op *)op;
    const pq_geometry *g    = &d->at;
    const uint8_t     *from = in[0];
    const pq_range     mine = pq_part_of(part, g->flat ? n * g->rows : g->lines);

    if (mine.first == mine.end) {
        return;
    }
    if (g->flat) {
        run_groups(d, 1, mine.end - mine.first, from + mine.first * g->row_step,
                   mine.first * g->outputs, out);
        return;
    }
    for (size_t s = 0; s < n; s++, from += d->in_count) {
        const uint8_t *image = g->framed ? scratch : from;
        if (g->framed) {
            pq_geometry_frame(g, pq_geometry_read(g, mine), 1, d->zero, from, scratch);
        }
        run_groups(d, mine.end - mine.first, g->rows, image + mine.first * g->line_step,
                   s * d->out_count + mine.first * g->rows * g->outputs, out);
    }
}

static void run(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch)
{
    run_part(op, PQ_WHOLE, n, in, out, scratch);
}

static void release(pq_op *op)
{
    linear_op *d = (linear_op *)op;

    pq_geometry_free(&d->at);
    pq_free(d->calls);
    pq_free(d->weight);
    pq_free(d->bias);
    pq_free(d->multiplier);
    pq_free(d->factor);
    pq_free(d->near);
    pq_free(d);
}

/* What the kernel starts its sums from: sum_i (byte_i - zero) w_i + b. */
static int64_t start_of(const pq_units *u, size_t o, int64_t zero)
{
    int64_t sum = 0;

    for (size_t i = 0; i < u->length; i++) {
        sum += u->weight[o * u->length + i];
    }
    return u->bias[o] - zero * sum;
}

/* Whether weights are bytes, and every partial sum, of any bytes, and what is rounded of
 * it have 32 bits. */
static bool fits(const pq_units *u, int64_t zero, double scale)
{
    for (size_t i = 0; i < u->outputs * u->length; i++) {
        if (u->weight[i] < INT8_MIN || u->weight[i] > INT8_MAX) {
            return false;
        }
    }
    for (size_t o = 0; o < u->outputs; o++) {
        int64_t most = llabs(start_of(u, o, zero));
        for (size_t i = 0; i < u->length; i++) {
            most += 255 * (int64_t)abs(u->weight[o * u->length + i]);
        }
        if (most > INT32_MAX || (double)most * u->multiplier[o] / scale > 0x1p30) {
            return false;
        }
    }
    return true;
}

/* Output channel o in the arrays of its group. */
static void pack_channel(const pq_units *u, size_t o, int64_t zero, double scale,
                         const linear_op *d)
{
    const pq_geometry    *g     = &d->at;
    const size_t          group = o / g->group_out, c = o % g->group_out;
    const pq_bytes_panel *call  = &d->calls[group];
    const size_t          quads = (g->length + 3) / 4, at = group * call->width + c;
    int8_t               *to = d->weight + (call->weight - d->weight);

    for (size_t k = 0; k < u->length; k++) {
        const size_t where = pq_geometry_weight(g, k);
        const size_t t = where / g->length, i = where % g->length;
        to[((t * quads + i / 4) * call->width + c) * 4 + i % 4] =
            (int8_t)u->weight[o * u->length + k];
    }
    d->bias[at]       = (int32_t)start_of(u, o, zero);
    d->multiplier[at] = u->multiplier[o];
    d->factor[at]     = u->multiplier[o] / scale;
    d->near[at]       = (float)d->factor[at];
}

static pq_status pack(const pq_units *u, int64_t zero, double scale,
                      const pq_bytes_panel *call, linear_op *d, pq_err *err)
{
    const pq_geometry *g     = &d->at;
    const size_t       width = call->width;
    const size_t       bytes = g->taps * ((g->length + 3) / 4) * width * 4;
    pq_status          st;

    PQ_NEW(d->calls, g->groups);
    PQ_NEW(d->weight, g->groups * bytes);
    PQ_NEW(d->bias, g->groups * width);
    PQ_NEW(d->multiplier, g->groups * width);
    PQ_NEW(d->factor, g->groups * width);
    PQ_NEW(d->near, g->groups * width);
    for (size_t i = 0; i < g->groups; i++) {
        d->calls[i]                  = *call;
        d->calls[i].weight           = d->weight + i * bytes;
        d->calls[i].bias             = d->bias + i * width;
        d->calls[i].scale.multiplier = d->multiplier + i * width;
        d->calls[i].scale.factor     = d->factor + i * width;
        d->calls[i].scale.near       = d->near + i * width;
    }
    for (size_t o = 0; o < u->outputs; o++) {
        pack_channel(u, o, zero, scale, d);
    }
    d->op.weight_bytes = g->groups * (bytes + width * sizeof *d->bias);
cleanup:
    return st;
}

/* What is the same for all groups. */
static pq_bytes_panel call_of(const pq_step *step, const pq_quant *to,
                              const pq_geometry *g)
{
    const bool     relu = step->activation != PQ_NO_NODE;
    pq_bytes_panel call = {.lines    = g->lines,
                           .taps     = g->taps,
                           .length   = g->length,
                           .in_line  = g->line_step,
                           .in_pitch = g->row_step,
                           .tap      = g->tap,
                           .width    = pq_geometry_whole(g->group_out, PQ_BYTES_LANES),
                           .scale    = {.n = g->group_out, .pitch = g->outputs},
                           .relu     = relu};

    if (to != NULL) { /* a byte is the code minus the lowest */
        const double lowest = pq_quant_least(to, 0);
        call.scale.scale    = (double)to->scale[0];
        call.scale.zero     = (double)to->zero_point[0] - lowest;
        call.scale.hi       = (double)pq_quant_most(to, 0) - lowest;
        call.scale.lo       = relu ? call.scale.zero : 0.0;
        call.scale.doubt    = pq_words_doubt(call.scale.scale);
    }
    return call;
}

pq_status pq_bytes_linear_prepare(const pq_step *step, const pq_units *units, pq_op **out,
                                  pq_err *err)
{
    const pq_bytes_kernel *kernel = pq_bytes_find();
    const pq_graph        *g      = step->graph;
    const pq_quant        *to     = pq_byte_grid(g, step->last);
    const int64_t          zero   = pq_byte_zero(pq_byte_grid(g, step->in[0]));
    const double           scale  = to != NULL ? (double)to->scale[0] : 1.0;
    linear_op             *d      = NULL;
    pq_status              st     = PQ_OK;

    if (kernel == NULL || !fits(units, zero, scale)) {
        return PQ_OK;
    }
    PQ_NEW(d, 1);
    PQ_TRY(pq_geometry_place(step, g->nodes[step->node].layer, PQ_BYTES_LANES, 4, &d->at,
                             err));
    if (d->at.depthwise) {
        goto cleanup;
    }
    d->op.run                 = run;
    d->op.run_part            = run_part;
    d->op.products            = pq_geometry_products(&d->at);
    d->op.release             = release;
    d->op.kernel              = kernel->name;
    d->op.scratch_bytes       = d->at.framed ? d->at.frame_count : 0;
    d->kernel                 = kernel;
    d->codes                  = to != NULL;
    d->zero                   = (int)zero;
    d->in_count               = pq_node_count(g, step->in[0]);
    d->out_count              = pq_node_count(g, step->last);
    const pq_bytes_panel call = call_of(step, to, &d->at);
    PQ_TRY(pack(units, zero, scale, &call, d, err));
    *out = &d->op;
    d    = NULL;
cleanup:
    if (d != NULL) {
        release(&d->op);
    }
    return st;
}
