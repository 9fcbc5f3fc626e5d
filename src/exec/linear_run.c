#include "exec/linear_op.h"

enum {
    FEW_ROWS  = 16, /* of flat samples, and */
    FEW_LINES = 2,  /* lines of an image, for each thread: they take products instead */
};

pq_range pq_linear_rows(const pq_linear_op *l, size_t n)
{
    return (pq_range){0, l->at.flat ? n * l->at.rows : l->at.lines};
}

/* What of a region lies in those rows or lines. */
static pq_region region_of(const pq_linear_op *l, size_t i, pq_range rows)
{
    pq_region    r    = l->regions.region[i];
    const size_t last = r.y + r.ny < rows.end ? r.y + r.ny : rows.end;
    const size_t y    = r.y > rows.first ? r.y : rows.first;

    if (l->at.flat) {
        r.x  = rows.first;
        r.nx = rows.end - rows.first;
        r.at += r.x * l->regions.row_step;
        return r;
    }
    r.at += (y - r.y) * l->regions.line_step;
    r.y  = y;
    r.ny = last > y ? last - y : 0;
    return r;
}

void pq_linear_multiply(const pq_linear_op *l, const pq_linear_product *p,
                        const float *weight, pq_range rows, const float *in,
                        const float *residual, float *out)
{
    const size_t outputs = l->at.outputs;
    pq_matmul    call    = p->call;

    call.b = weight;
    for (size_t i = 0; i < l->regions.n; i++) {
        const pq_region r      = region_of(l, i, rows);
        const bool      down   = r.ny > r.nx;
        const size_t    line   = l->at.rows * outputs;
        const size_t    step   = down ? outputs : line;
        const size_t    steps  = down ? r.nx : r.ny;
        const size_t    to_row = down ? l->regions.line_step : l->regions.row_step;
        const size_t    to_run = down ? l->regions.row_step : l->regions.line_step;
        size_t          at     = r.y * line + r.x * outputs + p->channel;

        call.m          = down ? r.ny : r.nx;
        call.a          = in + r.at + p->in_at;
        call.a_row      = to_row;
        call.c_row      = down ? line : outputs;
        call.n_segments = r.n_segments;
        call.segments   = r.segments;
        if (l->skips.first != NULL) {
            const size_t *first =
                l->skips.first + (size_t)(p - l->products) * l->regions.n;
            call.n_segments = first[i + 1] - first[i];
            call.segments   = l->skips.segments + first[i];
        }
        for (size_t k = 0; k < steps; k++, at += step, call.a += to_run) {
            call.c   = out + at;
            call.add = residual != NULL ? residual + at : NULL;
            l->kernels->gemm(&call);
        }
    }
}

static void run_depthwise(const pq_linear_op *l, pq_range lines, const float *in,
                          const float *residual, float *out)
{
    const size_t rows = l->at.rows;

    for (size_t y = lines.first; y < lines.end; y++) {
        const size_t at = y * rows * l->at.outputs;
        l->kernels->depthwise(
            &(pq_depthwise){.rows      = rows,
                            .taps      = l->at.taps,
                            .in        = in + y * l->at.line_step,
                            .in_pitch  = l->at.row_step,
                            .tap       = l->at.tap,
                            .weight    = l->weight,
                            .bias      = l->bias,
                            .residual  = residual != NULL ? residual + at : NULL,
                            .out       = out + at,
                            .out_pitch = l->at.outputs,
                            .n         = l->at.outputs,
                            .clip      = &l->clip});
    }
}

const float *pq_linear_image(const pq_linear_op *l, const float *values, size_t s,
                             void *scratch)
{
    const float   *image = values + s * l->in_count;
    const pq_range lines = {0, l->at.frame_h};

    if (l->framed) {
        pq_geometry_frame(&l->at, lines, sizeof *image, 0, image, scratch);
    }
    return l->framed ? scratch : image;
}

void pq_linear_run_part(const pq_op *op, pq_part part, size_t n, const void *const *in,
                        void *out, void *scratch)
{
    const pq_linear_op *l        = (const pq_linear_op *)op;
    const float        *values   = in[0];
    const float        *residual = l->residual > 0 ? in[l->residual] : NULL;
    float              *results  = out;
    pq_range            rows = pq_linear_rows(l, n), products = {0, l->n_products};

    if (rows.end < part.of * (l->at.flat ? FEW_ROWS : FEW_LINES) &&
        products.end >= part.of) {
        products = pq_part_of(part, products.end);
    } else {
        rows = pq_part_of(part, rows.end);
    }
    if (rows.first == rows.end) {
        return;
    }
    for (size_t i = products.first; l->at.flat && i < products.end; i++) {
        pq_linear_multiply(l, &l->products[i], l->products[i].call.b, rows, values,
                           residual, results);
    }
    for (size_t s = 0; !l->at.flat && s < n; s++) {
        const float *image = pq_linear_image(l, values, s, scratch);
        const size_t at    = s * l->out_count;
        const float *add   = residual != NULL ? residual + at : NULL;
        if (l->at.depthwise) {
            run_depthwise(l, rows, image, add, results + at);
        }
        for (size_t i = products.first; i < products.end; i++) {
            pq_linear_multiply(l, &l->products[i], l->products[i].call.b, rows, image,
                               add, results + at);
        }
    }
}

void pq_linear_run(const pq_op *op, size_t n, const void *const *in, void *out,
                   void *scratch)
{
    pq_linear_run_part(op, PQ_WHOLE, n, in, out, scratch);
}

void pq_linear_run_fours(const pq_op *op, size_t n, const void *const *in, void *out,
                         void *scratch)
{
    const pq_linear_op *l    = (const pq_linear_op *)op;
    pq_fours            call = l->fours;

    (void)n;
    (void)scratch;
    call.x   = in[0];
    call.add = l->residual > 0 ? in[l->residual] : NULL;
    call.y   = out;
    l->kernels->fours(&call);
}
