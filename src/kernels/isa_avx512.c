#include "kernels/fours.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define ISA       PQ_ISA_AVX512
#define KERNELS   pq_kernels_avx512
#define VEC       __m512
#define TARGET    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#define ROWS      8
#define ROWS1     16
#define ROWS2     12
#define ROWS3     8
#define INTS      __m512i
#define REALS_VEC __m512d
enum { LANES = 16, REALS = 8 };

static inline TARGET __m512 load(const float *from)
{
    return _mm512_loadu_ps(from);
}

static inline TARGET void store(float *to, __m512 v)
{
    _mm512_storeu_ps(to, v);
}

static inline TARGET __m512 spread(float x)
{
    return _mm512_set1_ps(x);
}

static inline TARGET __m512 multiply_add(__m512 a, __m512 b, __m512 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* A NaN stays one: these give the second operand then. */
static inline TARGET __m512 at_least(float lo, __m512 v)
{
    return _mm512_max_ps(spread(lo), v);
}

static inline TARGET __m512 at_most(float hi, __m512 v)
{
    return _mm512_min_ps(spread(hi), v);
}

static inline TARGET __m512 root(__m512 v)
{
    return _mm512_sqrt_ps(v);
}

static inline TARGET __m512 one_where_less(__m512 a, __m512 b)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), spread(1.0f));
}

/* v where y > 0, else 0. */
static inline TARGET __m512 where_positive(__m512 y, __m512 v)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_GT_OQ), v);
}

static inline TARGET __m512 load_part(const float *from, size_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1U), from);
}

static inline TARGET void store_part(float *to, size_t n, __m512 v)
{
    _mm512_mask_storeu_ps(to, (__mmask16)((1U << n) - 1U), v);
}

static inline TARGET __m512 power_of_two(__m512 v)
{
    const __m512i k = _mm512_add_epi32(_mm512_castps_si512(v), _mm512_set1_epi32(127));

    return _mm512_castsi512_ps(_mm512_slli_epi32(k, 23));
}

static inline TARGET __m512i load_ints(const int32_t *from)
{
    return _mm512_loadu_si512(from);
}

static inline TARGET void store_ints(int32_t *to, __m512i v)
{
    _mm512_storeu_si512(to, v);
}

/* Of four floats, for each lane, the one at the place in its lowest two bits. */
static inline TARGET __m512 pick(const float *four, __m512i places)
{
    return _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(four)), places);
}

static inline TARGET __m512i next_place(__m512i places)
{
    return _mm512_srli_epi32(places, 2);
}

static inline TARGET __m512i spread_pair(const int16_t *from)
{
    int32_t pair;

    memcpy(&pair, from, sizeof pair);
    return _mm512_set1_epi32(pair);
}

static inline TARGET __m512i add_pairs(__m512i sum, __m512i a, __m512i b)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}

static inline TARGET __m512d reals_of(const int32_t *from)
{
    return _mm512_cvtepi32_pd(_mm256_loadu_si256((const void *)from));
}

static inline TARGET __m512d load_reals(const double *from)
{
    return _mm512_loadu_pd(from);
}

static inline TARGET __m512d spread_real(double x)
{
    return _mm512_set1_pd(x);
}

static inline TARGET __m512d clamp_reals(__m512d x, double lo, double hi)
{
    return _mm512_min_pd(_mm512_max_pd(x, spread_real(lo)), spread_real(hi));
}

/* Whether a distance to a whole number is `doubt` or more. */
static inline TARGET bool in_doubt(__m512d x, __m512d whole, double doubt)
{
    return _mm512_cmp_pd_mask(_mm512_abs_pd(x - whole), spread_real(doubt), _CMP_GE_OQ) !=
           0;
}

static inline TARGET void store_codes(int32_t *to, __m512d x)
{
    _mm256_storeu_si256((void *)to, _mm512_cvttpd_epi32(x));
}

static inline TARGET void store_byte_codes(uint8_t *to, __m512d x)
{
    _mm_storel_epi64((void *)to, _mm256_cvtepi32_epi8(_mm512_cvttpd_epi32(x)));
}

static inline TARGET __m512 floats_of(const int32_t *from)
{
    return _mm512_cvtepi32_ps(load_ints(from));
}

static inline TARGET bool floats_in_doubt(__m512 x, __m512 whole, float doubt)
{
    return _mm512_cmp_ps_mask(_mm512_abs_ps(x - whole), spread(doubt), _CMP_GE_OQ) != 0;
}

/* A NaN becomes lo. */
static inline TARGET __m512 number_at_least(float lo, __m512 v)
{
    return _mm512_max_ps(v, spread(lo));
}

static inline TARGET __m512 load_bytes(const uint8_t *from)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)from)));
}

static inline TARGET void store_bytes(uint8_t *to, __m512 v)
{
    _mm_storeu_si128((void *)to, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v)));
}

/* The nearest whole numbers of four vectors, in 0 .. 255. */
static inline TARGET void store_four_bytes(uint8_t *to, const __m512 v[4])
{
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i low =
        _mm512_packs_epi32(_mm512_cvtps_epi32(v[0]), _mm512_cvtps_epi32(v[1]));
    const __m512i high =
        _mm512_packs_epi32(_mm512_cvtps_epi32(v[2]), _mm512_cvtps_epi32(v[3]));

    _mm512_storeu_si512(to,
                        _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high)));
}

#include "kernels/isa.inc"
#endif
