#include "kernels/bf16.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET                                                                           \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET

enum { ROWS = 8, VECTORS = 4, SUMS = 24, LANES = PQ_BF16_LANES };

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define foreach(i, n) UNROLL for (size_t i = 0; i < (n); i++)

/* As _mm512_dpbf16_ps, which compilers put into registers of their own and back. */
INLINE void add_products(__m512 *sum, __m512i x, __m512i w)
{
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(*sum) : "v"(x), "v"(w));
}

/* Two neighbours, or one and 0: what follows a row may be no number. */
INLINE __m512i spread_pair(const uint16_t *in, size_t left)
{
    int32_t pair = 0;

    memcpy(&pair, in, 2 * left);
    return _mm512_set1_epi32(pair);
}

/* A vector of sums of one row, channels from `from` on: adds the residual, clips, stores
 * the channels that there are. */
INLINE void give(const pq_bf16_panel *p, size_t row, size_t from, __m512 sum)
{
    const size_t    left = p->n > from ? p->n - from : 0, at = row * p->out_pitch + from;
    const __mmask16 mask = (__mmask16)(left < LANES ? (1U << left) - 1U : 0xffffU);

    if (p->residual != NULL) {
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, p->residual + at));
    }
    /* a NaN stays one: these give the second operand then */
    sum = _mm512_max_ps(_mm512_set1_ps(p->clip.lo), sum);
    sum = _mm512_min_ps(_mm512_set1_ps(p->clip.hi), sum);
    _mm512_mask_storeu_ps(p->out + at, mask, sum);
}

/* `rows` x `vectors` sums in registers; both are constants where this is inlined. */
INLINE void block(const pq_bf16_panel *p, size_t row, const size_t rows,
                  const size_t vectors)
{
    const size_t    pairs = p->length / 2, pitch = p->in_pitch;
    const uint16_t *weight = p->weight;
    __m512          sum[ROWS][VECTORS];
    __m512i         w[VECTORS];

    foreach (r, rows) {
        foreach (v, vectors) {
            sum[r][v] = _mm512_loadu_ps(p->bias + v * LANES);
        }
    }
    for (size_t t = 0; t < p->taps; t++) {
        const uint16_t *in = p->in + row * pitch + p->tap[t];
        for (size_t i = 0; i < pairs; i++, weight += vectors * LANES * 2) {
            foreach (v, vectors) {
                w[v] = _mm512_loadu_si512(weight + v * LANES * 2);
            }
            foreach (r, rows) {
                const __m512i x = spread_pair(in + r * pitch + i * 2, 2);
                foreach (v, vectors) {
                    add_products(&sum[r][v], x, w[v]);
                }
            }
        }
        if (p->length % 2 == 1) {
            foreach (r, rows) {
                const __m512i x = spread_pair(in + r * pitch + pairs * 2, 1);
                foreach (v, vectors) {
                    add_products(&sum[r][v], x,
                                 _mm512_loadu_si512(weight + v * LANES * 2));
                }
            }
            weight += vectors * LANES * 2;
        }
    }
    foreach (r, rows) {
        foreach (v, vectors) {
            give(p, row + r, v * LANES, sum[r][v]);
        }
    }
}

#define CASE(n)                                                                          \
    case n:                                                                              \
        block(p, row, n <= most ? n : 1, vectors);                                       \
        break;

/* All rows, in blocks of nearly equal size. */
INLINE void all_rows(const pq_bf16_panel *p, const size_t vectors)
{
    const size_t most   = SUMS / vectors < ROWS ? SUMS / vectors : ROWS;
    const size_t blocks = (p->rows + most - 1) / most;
    size_t       row    = 0;

    for (size_t b = 0; b < blocks; b++) {
        const size_t rows = (p->rows - row + blocks - b - 1) / (blocks - b);
        switch (rows) {
            CASE(1)
            CASE(2)
            CASE(3)
            CASE(4)
            CASE(5)
            CASE(6)
            CASE(7)
            CASE(8)
        default:
            break;
        }
        row += rows;
    }
}

static TARGET void panel(const pq_bf16_panel *p)
{
    pq_bf16_panel line = *p;

    for (size_t l = 0; l < p->lines; l++) {
        switch (line.width / LANES) {
        case 1:
            all_rows(&line, 1);
            break;
        case 2:
            all_rows(&line, 2);
            break;
        case 3:
            all_rows(&line, 3);
            break;
        default:
            all_rows(&line, 4);
            break;
        }
        line.in += p->in_line;
        line.out += p->rows * p->out_pitch;
        line.residual += p->residual != NULL ? p->rows * p->out_pitch : 0;
    }
}

static TARGET void round_floats(size_t n, const float *x, uint16_t *y)
{
    size_t i = 0;

    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        const __m512bh two =
            _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + LANES), _mm512_loadu_ps(x + i));
        _mm512_storeu_si512(y + i, (__m512i)two);
    }
    for (; i < n; i += LANES) {
        const size_t    left = n - i;
        const __mmask16 mask = (__mmask16)(left < LANES ? (1U << left) - 1U : 0xffffU);
        const __m512    v    = _mm512_maskz_loadu_ps(mask, x + i);
        _mm256_mask_storeu_epi16(y + i, mask, (__m256i)_mm512_cvtneps_pbh(v));
    }
}

const pq_bf16_kernels pq_bf16_avx512 = {"bf16:avx512", panel, round_floats};
#endif
