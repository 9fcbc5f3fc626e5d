#include "exec/bytes.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/codes.h"
#include "exec/quantize.h"
#include "kernels/kernels.h"
#include "layers/kinds.h"

extern const pq_engine pq_engine_float32;

const pq_quant *pq_byte_grid(const pq_graph *graph, size_t node)
{
    const pq_quant *q = pq_code_grid(graph, node);

    return q != NULL && q->bits <= 8 && pq_quant_clips(q) &&
                   q->rounding == PQ_ROUND_RND_CONV
               ? q
               : NULL;
}

int32_t pq_byte_zero(const pq_quant *grid)
{
    return grid->zero_point[0] - pq_quant_least(grid, 0);
}

enum { BLOCK = 256 };

/* As pq_quant_code. */
static void floats_to_bytes(const pq_quant *q, size_t n, const float *from, uint8_t *to)
{
    const pq_byte_code code = {q->scale[0],
                               (float)(pq_quant_least(q, 0) - q->zero_point[0]),
                               (float)(pq_quant_most(q, 0) - q->zero_point[0])};

    const pq_kernels *kernels = pq_kernels_find(pq_cpu_isa());

    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t end = n - first < BLOCK ? n : first + BLOCK;
        if (!kernels->to_bytes(&code, end - first, from + first, to + first)) {
            continue;
        }
        for (size_t i = first; i < end; i++) {
            to[i] = (uint8_t)(pq_quant_code(q, 0, from[i]) - pq_quant_least(q, 0));
        }
    }
}

static void bytes_to_floats(const pq_quant *q, size_t n, const uint8_t *from, float *to)
{
    const int32_t zero  = pq_byte_zero(q);
    const float   scale = q->scale[0];

    for (size_t i = 0; i < n; i++) {
        to[i] = (float)((int32_t)from[i] - zero) * scale;
    }
}

void pq_bytes_take(const pq_graph *graph, size_t node, size_t n, const float *from,
                   void *to)
{
    const pq_quant *grid  = pq_byte_grid(graph, node);
    const pq_node  *at    = &graph->nodes[node];
    const size_t    count = n * pq_node_count(graph, node);

    if (grid != NULL) {
        floats_to_bytes(grid, count, from, to);
        return;
    }
    memmove(to, from, count * sizeof *from);
    if (at->quant != NULL) {
        pq_quantize_values(at->quant, &at->shape, n, sizeof *from, to);
    }
}

void pq_bytes_give(const pq_graph *graph, size_t node, size_t n, const void *from,
                   float *to)
{
    const pq_quant *grid  = pq_byte_grid(graph, node);
    const size_t    count = n * pq_node_count(graph, node);

    if (grid != NULL) {
        bytes_to_floats(grid, count, from, to);
    } else {
        memcpy(to, from, count * sizeof *to);
    }
}

/* --- sums and means of bytes --- */

/* A mean has only x1. */
typedef struct {
    pq_op             op;
    const pq_kernels *kernels;
    size_t            count, cells, channels;
    pq_byte_sum       sum;
} byte_op;

static void add_run(const pq_op *op, size_t n, const void *const *in, void *out,
                    void *scratch)
{
    const byte_op *o = (const byte_op *)op;

    (void)scratch;
    o->kernels->add_bytes(&o->sum, n * o->count, in[0], in[1], out);
}

static void mean_run(const pq_op *op, size_t n, const void *const *in, void *out,
                     void *scratch)
{
    const byte_op *o   = (const byte_op *)op;
    const uint8_t *x   = in[0];
    uint8_t       *y   = out;
    uint32_t      *sum = scratch;

    for (size_t s = 0; s < n; s++, y += o->channels) {
        memset(sum, 0, o->channels * sizeof *sum);
        for (size_t k = 0; k < o->cells; k++, x += o->channels) {
            for (size_t c = 0; c < o->channels; c++) {
                sum[c] += x[c];
            }
        }
        for (size_t c = 0; c < o->channels; c++) {
            const float mean = (float)sum[c] * o->sum.a + o->sum.c;
            y[c] = (uint8_t)pq_round_even(fminf(fmaxf(mean, o->sum.lo), o->sum.hi));
        }
    }
}

static void byte_release(pq_op *op)
{
    pq_free(op);
}

/* Whether a pool is the mean over all positions, by its kind or by its window. */
static bool is_mean_of_all(const pq_step *step)
{
    const pq_node *node = &step->graph->nodes[step->node];
    const char    *kind = node->layer->kind->name;
    pq_window      w;

    if (strcmp(kind, "avg_pool") != 0) {
        return strcmp(kind, "global_avg_pool") == 0;
    }
    return pq_pool_window(node->layer, &step->graph->nodes[step->in[0]].shape, &w,
                          NULL) == PQ_OK &&
           w.out_h * w.out_w == 1 && w.pad_top == 0 && w.pad_left == 0 &&
           w.kernel_h == w.in_h && w.kernel_w == w.in_w;
}

bool pq_bytes_has(const pq_step *step)
{
    const pq_graph *g     = step->graph;
    const pq_layer *layer = g->nodes[step->node].layer;

    if (pq_byte_grid(g, step->in[0]) == NULL || pq_byte_grid(g, step->last) == NULL) {
        return false;
    }
    return (layer->kind->form == PQ_FORM_SUM && step->n_in == 2 &&
            pq_byte_grid(g, step->in[1]) != NULL) ||
           is_mean_of_all(step);
}

pq_status pq_bytes_prepare(const pq_step *step, pq_op **out, pq_err *err)
{
    const pq_graph *g     = step->graph;
    const bool      mean  = step->n_in == 1;
    const pq_quant *first = pq_byte_grid(g, step->in[0]);
    const pq_quant *to    = pq_byte_grid(g, step->last);
    const double    unit  = (double)to->scale[0];
    double          a = (double)first->scale[0] / unit, b = 0.0, offset;
    byte_op        *o = NULL;
    pq_status       st;

    PQ_NEW(o, 1);
    o->op.run     = mean ? mean_run : add_run;
    o->op.release = byte_release;
    o->op.kernel  = "sums and means of bytes";
    o->count      = pq_node_count(g, step->last);
    o->channels   = o->count;
    o->cells      = pq_node_count(g, step->in[0]) / o->count;
    offset        = (double)pq_byte_zero(to) - a * (double)pq_byte_zero(first);
    if (mean) {
        o->op.scratch_bytes = o->channels * sizeof(uint32_t);
        a /= (double)o->cells;
    } else {
        const pq_quant *second = pq_byte_grid(g, step->in[1]);
        b                      = (double)second->scale[0] / unit;
        offset -= b * (double)pq_byte_zero(second);
    }
    o->kernels = pq_kernels_find(pq_cpu_isa());
    o->sum     = (pq_byte_sum){
            .a  = (float)a,
            .b  = (float)b,
            .c  = (float)offset,
            .lo = step->activation != PQ_NO_NODE ? (float)pq_byte_zero(to) : 0.0f,
            .hi = (float)(pq_quant_most(to, 0) - pq_quant_least(to, 0)),
    };
    *out = &o->op;
cleanup:
    return st;
}

/* --- floats between bytes --- */

typedef struct {
    pq_op           op;
    pq_op          *inner; /* owned */
    const pq_graph *graph;
    size_t          last, n_in, tile;
    size_t          in[PQ_STEP_INPUTS], in_count[PQ_STEP_INPUTS];
    size_t          count;
} between_op;

static size_t rounded(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

static void between_run(const pq_op *op, size_t n, const void *const *in, void *out,
                        void *scratch)
{
    const between_op *b                      = (const between_op *)op;
    float            *next                   = scratch;
    float            *result                 = next;
    const void       *values[PQ_STEP_INPUTS] = {NULL};

    next += rounded(b->tile * b->count);
    for (size_t i = 0; i < b->n_in; i++) {
        values[i] = in[i];
        if (pq_byte_grid(b->graph, b->in[i]) != NULL) {
            pq_bytes_give(b->graph, b->in[i], n, in[i], next);
            values[i] = next;
        }
        next += rounded(b->tile * b->in_count[i]);
    }
    b->inner->run(b->inner, n, values, result, next);
    pq_bytes_take(b->graph, b->last, n, result, out);
}

static void between_release(pq_op *op)
{
    between_op *b = (between_op *)op;

    if (b->inner != NULL) {
        b->inner->release(b->inner);
    }
    pq_free(b);
}

pq_status pq_bytes_between(const pq_step *step, size_t tile, pq_op **out, pq_err *err)
{
    between_op *b = NULL;
    size_t      floats;
    pq_status   st;

    PQ_NEW(b, 1);
    b->op.run     = between_run;
    b->op.release = between_release;
    b->graph      = step->graph;
    b->last       = step->last;
    b->n_in       = step->n_in;
    b->tile       = tile;
    b->count      = pq_node_count(step->graph, step->last);
    floats        = rounded(tile * b->count);
    for (size_t i = 0; i < step->n_in; i++) {
        b->in[i]       = step->in[i];
        b->in_count[i] = pq_node_count(step->graph, step->in[i]);
        floats += rounded(tile * b->in_count[i]);
    }
    PQ_TRY(pq_engine_float32.prepare(step, tile, &b->inner, err));
    b->op.scratch_bytes = floats * sizeof(float) + b->inner->scratch_bytes;
    b->op.weight_bytes  = b->inner->weight_bytes;
    b->op.kernel        = b->inner->kernel;
    *out                = &b->op;
    b                   = NULL;
cleanup:
    if (b != NULL) {
        between_release(&b->op);
    }
    return st;
}
