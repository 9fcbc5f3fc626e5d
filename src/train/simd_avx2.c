#include "train/simd_tables.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VL            8
#define TARGET        __attribute__((target("avx2,fma")))
#define LOAD(p)       _mm256_loadu_ps(p)
#define STORE(p, x)   _mm256_storeu_ps((p), (x))
#define SPLAT(x)      _mm256_set1_ps(x)
#define MADD(a, b, c) _mm256_fmadd_ps((a), (b), (c))
/* The second operand is returned when either is NaN: a NaN stays one. */
#define RELU(x) _mm256_max_ps(_mm256_setzero_ps(), (x))
#define ROOT(x) _mm256_sqrt_ps(x)
#define SELECT_LESS(a, b)                                                                \
    _mm256_and_ps(_mm256_cmp_ps((a), (b), _CMP_LT_OQ), _mm256_set1_ps(1.0F))
#define ROWS1      8
#define ROWS2      6
#define ROWS3      4
#define SIMD_ISA   PQ_ISA_AVX2
#define SIMD_TABLE pq_simd_avx2
typedef __m256 vf;

#include "train/simd_loops.inc"
#endif
