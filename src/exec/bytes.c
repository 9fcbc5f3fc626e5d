#include "exec/bytes.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "core/memory.h"
#include "exec/codes.h"
#include "exec/cpu.h"
#include "exec/quantize.h"

enum { BLOCK = 256 };

extern const pq_engine pq_engine_blas;

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

#if defined(__x86_64__)
/* As pq_quant_code, 16 at a time; how many were done. */
__attribute__((target("avx512f"))) static size_t
floats_to_bytes_wide(const pq_quant *q, size_t n, const float *from, uint8_t *to)
{
    const __m512 scale = _mm512_set1_ps(q->scale[0]);
    const __m512 zero  = _mm512_set1_ps((float)q->zero_point[0]);
    const __m512 lo    = _mm512_set1_ps((float)pq_quant_least(q, 0));
    const __m512 hi    = _mm512_set1_ps((float)pq_quant_most(q, 0));
    size_t       i     = 0;

    for (; i + 16 <= n; i += 16) {
        const __m512 steps = _mm512_roundscale_ps(
            _mm512_div_ps(_mm512_loadu_ps(from + i), scale), _MM_FROUND_TO_NEAREST_INT);
        /* a NaN gives the second operand: the lowest code */
        const __m512 code =
            _mm512_min_ps(_mm512_max_ps(_mm512_add_ps(steps, zero), lo), hi);
        _mm_storeu_si128(
            (__m128i *)(void *)(to + i),
            _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_sub_ps(code, lo))));
    }
    return i;
}
#endif

/* n <= BLOCK values in steps to bytes, clamped; a NaN gives lo. Two loops, as gcc does
   not vectorize two comparisons in a row. */
static void clamp_bytes(size_t n, float *steps, float lo, float hi, float least,
                        uint8_t *to)
{
    for (size_t i = 0; i < n; i++) {
        steps[i] = steps[i] > lo ? steps[i] : lo;
    }
    for (size_t i = 0; i < n; i++) {
        const float code = steps[i] < hi ? steps[i] : hi;
        to[i]            = (uint8_t)(int32_t)(code - least);
    }
}

static void floats_to_bytes(const pq_quant *q, size_t n, const float *from, uint8_t *to)
{
    const float scale = q->scale[0], zero = (float)q->zero_point[0];
    const float lo = (float)pq_quant_least(q, 0), hi = (float)pq_quant_most(q, 0);
    size_t      i = 0;

#if defined(__x86_64__)
    if (q->scheme == PQ_QUANT_INTEGER && pq_cpu_isa() == PQ_ISA_AVX512) {
        i = floats_to_bytes_wide(q, n, from, to);
    }
#endif
    while (i < n) {
        const size_t block = n - i < BLOCK ? n - i : BLOCK;
        float        steps[BLOCK];
        for (size_t k = 0; k < block; k++) {
            steps[k] = pq_round_even(from[i + k] / scale) + zero;
        }
        clamp_bytes(block, steps, lo, hi, lo, to + i);
        i += block;
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

/* y = clamp(a x1 + b x2 + c, lo, hi), rounded half to even; a mean has only x1. */
typedef struct {
    pq_op   op;
    size_t  count, cells, channels;
    float   a, b, c;
    int32_t lo, hi;
    bool    wide; /* 512-bit vectors */
} byte_op;

static uint8_t round_byte(const byte_op *o, float y)
{
    const int32_t code = (int32_t)lrintf(y);

    return (uint8_t)(code < o->lo ? o->lo : code > o->hi ? o->hi : code);
}

static void add_plain(const byte_op *o, size_t n, const uint8_t *x1, const uint8_t *x2,
                      uint8_t *y)
{
    for (size_t i = 0; i < n; i += BLOCK) {
        const size_t block = n - i < BLOCK ? n - i : BLOCK;
        float        steps[BLOCK];
        for (size_t k = 0; k < block; k++) {
            steps[k] =
                pq_round_even(((float)x1[i + k] * o->a + (float)x2[i + k] * o->b) + o->c);
        }
        clamp_bytes(block, steps, (float)o->lo, (float)o->hi, 0.0f, y + i);
    }
}

#if defined(__x86_64__)
/* As add_plain, 16 at a time, in the same order of roundings. */
__attribute__((target("avx512f"))) static size_t
add_wide(const byte_op *o, size_t n, const uint8_t *x1, const uint8_t *x2, uint8_t *y)
{
    const __m512  a = _mm512_set1_ps(o->a), b = _mm512_set1_ps(o->b);
    const __m512  c  = _mm512_set1_ps(o->c);
    const __m512i lo = _mm512_set1_epi32(o->lo), hi = _mm512_set1_epi32(o->hi);
    size_t        i = 0;

    for (; i + 16 <= n; i += 16) {
        const __m512  p = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(
             _mm_loadu_si128((const __m128i *)(const void *)(x1 + i))));
        const __m512  q = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(
             _mm_loadu_si128((const __m128i *)(const void *)(x2 + i))));
        const __m512  s = _mm512_add_ps(_mm512_mul_ps(p, a), _mm512_mul_ps(q, b));
        const __m512i r = _mm512_cvtps_epi32(_mm512_add_ps(s, c));
        _mm_storeu_si128(
            (__m128i *)(void *)(y + i),
            _mm512_cvtepi32_epi8(_mm512_min_epi32(_mm512_max_epi32(r, lo), hi)));
    }
    return i;
}
#endif

static void add_run(const pq_op *op, size_t n, const void *const *in, void *out,
                    void *scratch)
{
    const byte_op *o  = (const byte_op *)op;
    const uint8_t *x1 = in[0], *x2 = in[1];
    uint8_t       *y    = out;
    size_t         done = 0;

    (void)scratch;
#if defined(__x86_64__)
    if (o->wide) {
        done = add_wide(o, n * o->count, x1, x2, y);
    }
#endif
    add_plain(o, n * o->count - done, x1 + done, x2 + done, y + done);
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
            y[c] = round_byte(o, (float)sum[c] * o->a + o->c);
        }
    }
}

static void byte_release(pq_op *op)
{
    pq_free(op);
}

bool pq_bytes_has(const pq_step *step)
{
    const pq_graph *g    = step->graph;
    const char     *kind = g->nodes[step->node].layer->kind->name;

    if (pq_byte_grid(g, step->in[0]) == NULL || pq_byte_grid(g, step->last) == NULL) {
        return false;
    }
    return (strcmp(kind, "add") == 0 && step->n_in == 2 &&
            pq_byte_grid(g, step->in[1]) != NULL) ||
           strcmp(kind, "global_avg_pool") == 0;
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
    o->a    = (float)a;
    o->b    = (float)b;
    o->c    = (float)offset;
    o->lo   = step->activation != PQ_NO_NODE ? pq_byte_zero(to) : 0;
    o->hi   = pq_quant_most(to, 0) - pq_quant_least(to, 0);
    o->wide = pq_cpu_isa() == PQ_ISA_AVX512;
    *out    = &o->op;
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
    PQ_TRY(pq_engine_blas.prepare(step, tile, &b->inner, err));
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
