#include "kernels/bf16.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "kernels/amx.h"

#define TARGET                                                                           \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,amx-tile,"      \
                          "amx-bf16,avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define PANEL  pq_bf16_panel
#define ITEM   sizeof(uint16_t)
#define DOT    _tile_dpbf16ps

enum { LANES = PQ_BF16_LANES };

/* What is the same for all rows of some channels. */
typedef struct {
    size_t    at;
    __m512    bias[2], lo, hi;
    __mmask16 mask[2];
} giver;

INLINE giver giver_of(const pq_bf16_panel *p, size_t at, const size_t vectors)
{
    giver to = {
        .at = at, .lo = _mm512_set1_ps(p->clip.lo), .hi = _mm512_set1_ps(p->clip.hi)};

    for (size_t v = 0; v < vectors; v++) {
        const size_t from = at + v * LANES, left = p->n > from ? p->n - from : 0;
        to.bias[v] = _mm512_loadu_ps(p->bias + from);
        to.mask[v] = (__mmask16)(left < LANES ? (1U << left) - 1U : 0xffffU);
    }
    return to;
}

INLINE void give_tile(const pq_bf16_panel *p, const giver *to, size_t row,
                      const size_t vectors, size_t rows, const int32_t (*sums)[16][LANES])
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t v = 0; v < vectors; v++) {
            const size_t at  = (row + r) * p->out_pitch + to->at + v * LANES;
            __m512       sum = _mm512_add_ps(to->bias[v], _mm512_load_ps(sums[v][r]));
            if (p->residual != NULL) {
                sum = _mm512_add_ps(sum,
                                    _mm512_maskz_loadu_ps(to->mask[v], p->residual + at));
            }
            /* a NaN stays one: these give the second operand then */
            sum = _mm512_min_ps(to->hi, _mm512_max_ps(to->lo, sum));
            _mm512_mask_storeu_ps(p->out + at, to->mask[v], sum);
        }
    }
}

#include "kernels/amx.inc"

static TARGET void panel(const pq_bf16_panel *p)
{
    if (pq_amx_fits(p->length * ITEM)) {
        tile_panel(p);
    } else {
        pq_bf16_avx512.panel(p);
    }
}

static void round_floats(size_t n, const float *x, uint16_t *y)
{
    pq_bf16_avx512.round(n, x, y);
}

static const pq_bf16_kernels kernels = {"bf16:amx", panel, round_floats};

const pq_bf16_kernels *pq_bf16_amx(void)
{
    return pq_amx_may(PQ_AMX_BF16) ? &kernels : NULL;
}
#endif
