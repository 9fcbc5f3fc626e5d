#include "exec/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define ISA     PQ_ISA_AVX512
#define KERNELS pq_kernels_avx512
#define VEC     __m512
#define TARGET  __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma")))
#define ROWS    8
enum { LANES = 16 };

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

#include "exec/kernels_body.h"
#endif
