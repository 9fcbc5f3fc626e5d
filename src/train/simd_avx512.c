#include "train/simd_tables.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VL            16
#define TARGET        __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#define LOAD(p)       _mm512_loadu_ps(p)
#define STORE(p, x)   _mm512_storeu_ps((p), (x))
#define SPLAT(x)      _mm512_set1_ps(x)
#define MADD(a, b, c) _mm512_fmadd_ps((a), (b), (c))
/* The second operand is returned when either is NaN: a NaN stays one. */
#define RELU(x) _mm512_max_ps(_mm512_setzero_ps(), (x))
#define ROOT(x) _mm512_sqrt_ps(x)
#define SELECT_LESS(a, b)                                                                \
    _mm512_maskz_mov_ps(_mm512_cmp_ps_mask((a), (b), _CMP_LT_OQ), _mm512_set1_ps(1.0F))
#define ROWS1      8
#define ROWS2      8
#define ROWS3      8
#define SIMD_ISA   PQ_ISA_AVX512
#define SIMD_TABLE pq_simd_avx512
typedef __m512 vf;

#include "train/simd_loops.inc"
#endif
