#include "kernels/bytes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define TARGET                                                                           \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512vnni,avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET

enum { ROWS = 8, VECTORS = 4, SUMS = 16, LANES = PQ_BYTES_LANES };

/* As _mm512_dpbusd_epi32, which compilers put into registers of their own and back. */
INLINE void add_products(__m512i *sum, __m512i x, __m512i w)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(x), "v"(w));
}

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define foreach(i, n) UNROLL for (size_t i = 0; i < (n); i++)

/* Four bytes of a row, or fewer at its end. */
INLINE __m512i spread_quad(const uint8_t *in, size_t left)
{
    int32_t quad = 0;

    memcpy(&quad, in, left);
    return _mm512_set1_epi32(quad);
}

/* What the rounding of sums to codes takes, in registers. */
typedef struct {
    __m512i zero, lo, hi; /* int16; bytes */
    __m512  doubt;
} rounding;

/* How far product and quotient in double may be from one product in float, for codes of 8
 * bits: sum, factor and product are each rounded by 2^-24, of 2^8 at most. */
static const float doubt = 0.5f - 0x1p-14f;

/* Computes in double those codes of a vector that float does not tell for certain. */
static TARGET __attribute__((noinline)) void
certain_codes(const pq_words_scale *s, size_t at, __m512i sum, size_t n, uint8_t *to)
{
    const __m512 x =
        _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(s->near + at));
    const __m512 off = _mm512_sub_ps(x, _mm512_cvtepi32_ps(_mm512_cvtps_epi32(x)));
    unsigned     which =
        _mm512_cmp_ps_mask(_mm512_abs_ps(off), _mm512_set1_ps(doubt), _CMP_GE_OQ);
    int32_t sums[LANES];

    _mm512_storeu_si512(sums, sum);
    for (; which != 0; which &= which - 1) {
        const size_t c = (size_t)__builtin_ctz(which);
        if (c < n) {
            const double code =
                rint((double)sums[c] * s->multiplier[at + c] / s->scale) + s->zero;
            to[c] = (uint8_t)(code > s->lo ? (code < s->hi ? code : s->hi) : s->lo);
        }
    }
}

/*
 * One row of sums to bytes. Whole numbers are packed by saturation, first to int16, to
 * which the zero point is added, then to bytes, which are clamped. Where a product in
 * float lies so close to a half that its own rounding could decide, all are computed
 * anew: one of a thousand.
 */
INLINE void give_codes(const pq_bytes_panel *p, const rounding *k, size_t row, size_t at,
                       const __m512i *sum, const size_t vectors, const __m512 *near)
{
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const size_t n =
        p->scale.n - at < vectors * LANES ? p->scale.n - at : vectors * LANES;
    uint8_t *to   = p->code + row * p->scale.pitch + at;
    __m512   most = _mm512_setzero_ps();
    __m512i  code[VECTORS];

    foreach (v, VECTORS) {
        code[v] = _mm512_setzero_si512();
    }
    foreach (v, vectors) {
        const __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[v]), near[v]);
        code[v]        = _mm512_cvtps_epi32(x);
        most = _mm512_range_ps(most, _mm512_sub_ps(x, _mm512_cvtepi32_ps(code[v])),
                               11 /* largest, no sign */);
    }
    __m512i low  = _mm512_packs_epi32(code[0], code[1]);
    __m512i high = _mm512_packs_epi32(code[2], code[3]);

    low                 = _mm512_adds_epi16(low, k->zero);
    high                = _mm512_adds_epi16(high, k->zero);
    const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
    const __m512i inside = _mm512_min_epu8(_mm512_max_epu8(bytes, k->lo), k->hi);

    if (n == VECTORS * LANES) {
        _mm512_storeu_si512(to, inside);
    } else {
        _mm512_mask_storeu_epi8(to, ((__mmask64)1 << n) - 1, inside);
    }
    if (_mm512_cmp_ps_mask(most, k->doubt, _CMP_GE_OQ) != 0) {
        foreach (v, vectors) {
            const size_t left = n > v * LANES ? n - v * LANES : 0;
            certain_codes(&p->scale, at + v * LANES, sum[v], left, to + v * LANES);
        }
    }
}

INLINE void give_reals(const pq_bytes_panel *p, size_t row, size_t at, __m512i sum,
                       __mmask16 mask)
{
    const double *m  = p->scale.multiplier + at;
    __m512d       lo = _mm512_cvtepi32_pd(_mm512_castsi512_si256(sum));
    __m512d       hi = _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(sum, 1));

    lo = _mm512_mul_pd(lo, _mm512_loadu_pd(m));
    hi = _mm512_mul_pd(hi, _mm512_loadu_pd(m + LANES / 2));
    if (p->relu) {
        lo = _mm512_max_pd(lo, _mm512_setzero_pd());
        hi = _mm512_max_pd(hi, _mm512_setzero_pd());
    }
    const __m512 both = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo)),
                                           _mm512_cvtpd_ps(hi), 1);
    _mm512_mask_storeu_ps(p->real + row * p->scale.pitch + at, mask, both);
}

/* `rows` x `vectors` sums in registers; both are constants where this is inlined. */
INLINE void block(const pq_bytes_panel *p, const rounding *k, size_t row, size_t at,
                  const size_t rows, const size_t vectors)
{
    const size_t   whole = p->length / 4, rest = p->length % 4, pitch = p->in_pitch;
    const size_t   step   = p->width * 4;
    const int8_t  *weight = p->weight + at * 4;
    const uint8_t *in     = p->in + row * pitch;
    __m512i        sum[ROWS][VECTORS], w[VECTORS];
    __m512         near[VECTORS];

    foreach (r, rows) {
        foreach (v, vectors) {
            sum[r][v] = _mm512_loadu_si512(p->bias + at + v * LANES);
        }
    }
    for (size_t i = 0; i < whole; i++, weight += step) {
        foreach (v, vectors) {
            w[v] = _mm512_loadu_si512(weight + v * LANES * 4);
        }
        foreach (r, rows) {
            const __m512i x = spread_quad(in + r * pitch + i * 4, 4);
            foreach (v, vectors) {
                add_products(&sum[r][v], x, w[v]);
            }
        }
    }
    if (rest > 0) {
        foreach (r, rows) {
            const __m512i x = spread_quad(in + r * pitch + whole * 4, rest);
            foreach (v, vectors) {
                add_products(&sum[r][v], x, _mm512_loadu_si512(weight + v * LANES * 4));
            }
        }
    }
    foreach (v, vectors) {
        near[v] = _mm512_loadu_ps(p->scale.near + at + v * LANES);
    }
    foreach (r, rows) {
        if (p->code != NULL) {
            give_codes(p, k, row + r, at, sum[r], vectors, near);
            continue;
        }
        foreach (v, vectors) {
            const size_t from = at + v * LANES, left = p->scale.n - from;
            give_reals(p, row + r, from, sum[r][v],
                       (__mmask16)(left < LANES ? (1U << left) - 1U : 0xffffU));
        }
    }
}

#define CASE(n)                                                                          \
    case n:                                                                              \
        block(&own, &k, row, at, n <= SUMS / vectors ? n : 1, vectors);                  \
        break;

/* All rows of some vectors of channels, in blocks of nearly equal size. */
INLINE void column(const pq_bytes_panel *p, size_t at, const size_t vectors)
{
    const pq_bytes_panel own    = *p; /* the bytes might be its own */
    const rounding       k      = {.zero  = _mm512_set1_epi16((int16_t)p->scale.zero),
                                   .lo    = _mm512_set1_epi8((char)(uint8_t)p->scale.lo),
                                   .hi    = _mm512_set1_epi8((char)(uint8_t)p->scale.hi),
                                   .doubt = _mm512_set1_ps(doubt)};
    const size_t         most   = SUMS / vectors < ROWS ? SUMS / vectors : ROWS;
    const size_t         blocks = (p->rows + most - 1) / most;
    size_t               row    = 0;

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

static TARGET void four(const pq_bytes_panel *p, size_t at)
{
    column(p, at, 4);
}

static TARGET void two(const pq_bytes_panel *p, size_t at)
{
    column(p, at, 2);
}

static TARGET void one(const pq_bytes_panel *p, size_t at)
{
    column(p, at, 1);
}

void pq_bytes_vnni(const pq_bytes_panel *p)
{
    size_t at = 0;

    for (; at + 4 * LANES <= p->width; at += 4 * LANES) {
        four(p, at);
    }
    for (; at + 2 * LANES <= p->width; at += 2 * LANES) {
        two(p, at);
    }
    for (; at < p->width; at += LANES) {
        one(p, at);
    }
}
#endif
