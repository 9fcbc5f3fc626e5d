#include "kernels/fours.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define ISA       PQ_ISA_AVX2
#define KERNELS   pq_kernels_avx2
#define VEC       __m256
#define TARGET    __attribute__((target("avx2,fma")))
#define ROWS      6
#define ROWS1     8
#define ROWS2     6
#define ROWS3     4
#define INTS      __m256i
#define REALS_VEC __m256d
enum { LANES = 8, REALS = 4 };

static inline TARGET __m256 load(const float *from)
{
    return _mm256_loadu_ps(from);
}

static inline TARGET void store(float *to, __m256 v)
{
    _mm256_storeu_ps(to, v);
}

static inline TARGET __m256 spread(float x)
{
    return _mm256_set1_ps(x);
}

static inline TARGET __m256 multiply_add(__m256 a, __m256 b, __m256 c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* A NaN stays one: these give the second operand then. */
static inline TARGET __m256 at_least(float lo, __m256 v)
{
    return _mm256_max_ps(spread(lo), v);
}

static inline TARGET __m256 at_most(float hi, __m256 v)
{
    return _mm256_min_ps(spread(hi), v);
}

static inline TARGET __m256 root(__m256 v)
{
    return _mm256_sqrt_ps(v);
}

static inline TARGET __m256 one_where_less(__m256 a, __m256 b)
{
    return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), spread(1.0f));
}

/* v where y > 0, else 0. */
static inline TARGET __m256 where_positive(__m256 y, __m256 v)
{
    return _mm256_and_ps(_mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_GT_OQ), v);
}

static inline TARGET __m256 load_part(const float *from, size_t n)
{
    float buffer[LANES] = {0};

    memcpy(buffer, from, n * sizeof *from);
    return load(buffer);
}

static inline TARGET void store_part(float *to, size_t n, __m256 v)
{
    float buffer[LANES];

    store(buffer, v);
    memcpy(to, buffer, n * sizeof *to);
}

static inline TARGET __m256 power_of_two(__m256 v)
{
    const __m256i k = _mm256_add_epi32(_mm256_castps_si256(v), _mm256_set1_epi32(127));

    return _mm256_castsi256_ps(_mm256_slli_epi32(k, 23));
}

static inline TARGET __m256i load_ints(const int32_t *from)
{
    return _mm256_loadu_si256((const void *)from);
}

static inline TARGET void store_ints(int32_t *to, __m256i v)
{
    _mm256_storeu_si256((void *)to, v);
}

/* Of four floats, for each lane, the one at the place in its lowest two bits. */
static inline TARGET __m256 pick(const float *four, __m256i places)
{
    return _mm256_permutevar_ps(_mm256_broadcast_ps((const void *)four), places);
}

static inline TARGET __m256i next_place(__m256i places)
{
    return _mm256_srli_epi32(places, 2);
}

static inline TARGET __m256i spread_pair(const int16_t *from)
{
    int32_t pair;

    memcpy(&pair, from, sizeof pair);
    return _mm256_set1_epi32(pair);
}

static inline TARGET __m256i add_pairs(__m256i sum, __m256i a, __m256i b)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

static inline TARGET __m256d reals_of(const int32_t *from)
{
    return _mm256_cvtepi32_pd(_mm_loadu_si128((const void *)from));
}

static inline TARGET __m256d load_reals(const double *from)
{
    return _mm256_loadu_pd(from);
}

static inline TARGET __m256d spread_real(double x)
{
    return _mm256_set1_pd(x);
}

static inline TARGET __m256d clamp_reals(__m256d x, double lo, double hi)
{
    return _mm256_min_pd(_mm256_max_pd(x, spread_real(lo)), spread_real(hi));
}

/* Whether a distance to a whole number is `doubt` or more. */
static inline TARGET bool in_doubt(__m256d x, __m256d whole, double doubt)
{
    const __m256d apart = _mm256_andnot_pd(spread_real(-0.0), x - whole);

    return _mm256_movemask_pd(_mm256_cmp_pd(apart, spread_real(doubt), _CMP_GE_OQ)) != 0;
}

static inline TARGET void store_codes(int32_t *to, __m256d x)
{
    _mm_storeu_si128((void *)to, _mm256_cvttpd_epi32(x));
}

static inline TARGET void store_byte_codes(uint8_t *to, __m256d x)
{
    const __m128i lowest = _mm_set1_epi32(0x0c080400);
    const int32_t four =
        _mm_cvtsi128_si32(_mm_shuffle_epi8(_mm256_cvttpd_epi32(x), lowest));

    memcpy(to, &four, sizeof four);
}

static inline TARGET __m256 floats_of(const int32_t *from)
{
    return _mm256_cvtepi32_ps(load_ints(from));
}

static inline TARGET bool floats_in_doubt(__m256 x, __m256 whole, float doubt)
{
    const __m256 apart = _mm256_andnot_ps(spread(-0.0f), x - whole);

    return _mm256_movemask_ps(_mm256_cmp_ps(apart, spread(doubt), _CMP_GE_OQ)) != 0;
}

/* A NaN becomes lo. */
static inline TARGET __m256 number_at_least(float lo, __m256 v)
{
    return _mm256_max_ps(v, spread(lo));
}

static inline TARGET __m256 load_bytes(const uint8_t *from)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)from)));
}

static inline TARGET void store_bytes(uint8_t *to, __m256 v)
{
    const __m256i ints = _mm256_cvttps_epi32(v);
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256(ints, 1));

    _mm_storel_epi64((void *)to, _mm_packus_epi16(words, words));
}

/* The nearest whole numbers of four vectors, in 0 .. 255. */
static inline TARGET void store_four_bytes(uint8_t *to, const __m256 v[4])
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i low =
        _mm256_packs_epi32(_mm256_cvtps_epi32(v[0]), _mm256_cvtps_epi32(v[1]));
    const __m256i high =
        _mm256_packs_epi32(_mm256_cvtps_epi32(v[2]), _mm256_cvtps_epi32(v[3]));

    _mm256_storeu_si256(
        (void *)to, _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order));
}

#include "kernels/isa.inc"
#endif
