#include "exec/bytes_dense.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "exec/bytes.h"
#include "kernels/bytes.h"

typedef struct {
    pq_op           op;
    pq_bytes_kernel kernel;
    pq_bytes_panel  call; /* all but rows, in, code, real */
    size_t          rows; /* of a sample */
    bool            codes;
    int8_t         *weight;
    int32_t        *bias;
    double         *multiplier, *factor;
    float          *near;
} dense_op;

static void run(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch)
{
    const dense_op *d    = (const dense_op *)op;
    pq_bytes_panel  call = d->call;

    (void)scratch;
    call.rows = n * d->rows;
    call.in   = in[0];
    call.code = d->codes ? out : NULL;
    call.real = d->codes ? NULL : out;
    d->kernel(&call);
}

static void release(pq_op *op)
{
    dense_op *d = (dense_op *)op;

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

static pq_status pack(const pq_units *u, int64_t zero, double scale, dense_op *d,
                      pq_err *err)
{
    const size_t width = d->call.width, quads = (u->length + 3) / 4;
    pq_status    st;

    PQ_NEW(d->weight, quads * width * 4);
    PQ_NEW(d->bias, width);
    PQ_NEW(d->multiplier, width);
    PQ_NEW(d->factor, width);
    PQ_NEW(d->near, width);
    for (size_t o = 0; o < u->outputs; o++) {
        for (size_t i = 0; i < u->length; i++) {
            d->weight[(i / 4 * width + o) * 4 + i % 4] =
                (int8_t)u->weight[o * u->length + i];
        }
        d->bias[o]       = (int32_t)start_of(u, o, zero);
        d->multiplier[o] = u->multiplier[o];
        d->factor[o]     = u->multiplier[o] / scale;
        d->near[o]       = (float)d->factor[o];
    }
    d->op.weight_bytes       = quads * width * 4 + width * sizeof *d->bias;
    d->call.weight           = d->weight;
    d->call.bias             = d->bias;
    d->call.scale.multiplier = d->multiplier;
    d->call.scale.factor     = d->factor;
    d->call.scale.near       = d->near;
cleanup:
    return st;
}

pq_status pq_bytes_dense_prepare(const pq_step *step, const pq_units *units, pq_op **out,
                                 pq_err *err)
{
    const pq_graph *g     = step->graph;
    const pq_quant *to    = pq_byte_grid(g, step->last);
    const int64_t   zero  = pq_byte_zero(pq_byte_grid(g, step->in[0]));
    const double    scale = to != NULL ? (double)to->scale[0] : 1.0;
    const bool      relu  = step->activation != PQ_NO_NODE;
    dense_op       *d     = NULL;
    pq_status       st    = PQ_OK;

    if (strcmp(g->nodes[step->node].layer->kind->name, "dense") != 0 ||
        pq_bytes_find() == NULL || !fits(units, zero, scale)) {
        return PQ_OK;
    }
    PQ_NEW(d, 1);
    d->op.run     = run;
    d->op.release = release;
    d->op.kernel  = "bytes:avx512 vnni" PQ_KERNEL_NATIVE;
    d->kernel     = pq_bytes_find();
    d->codes      = to != NULL;
    d->rows       = pq_node_count(g, step->in[0]) / units->length;
    d->call       = (pq_bytes_panel){.length   = units->length,
                                     .in_pitch = units->length,
                                     .width    = (units->outputs + PQ_BYTES_LANES - 1) /
                                              PQ_BYTES_LANES * PQ_BYTES_LANES,
                                     .scale = {.n = units->outputs, .pitch = units->outputs},
                                     .relu  = relu};
    if (to != NULL) { /* a byte is the code minus the lowest */
        const double lowest = pq_quant_least(to, 0);
        d->call.scale.scale = scale;
        d->call.scale.zero  = (double)to->zero_point[0] - lowest;
        d->call.scale.hi    = (double)pq_quant_most(to, 0) - lowest;
        d->call.scale.lo    = relu ? d->call.scale.zero : 0.0;
        d->call.scale.doubt = pq_words_doubt(scale);
    }
    PQ_TRY(pack(units, zero, scale, d, err));
    *out = &d->op;
    d    = NULL;
cleanup:
    if (d != NULL) {
        release(&d->op);
    }
    return st;
}
