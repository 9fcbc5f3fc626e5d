#include "train/simd_tables.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

const pq_simd *pq_simd_find(pq_isa isa)
{
    static const pq_simd *const tables[PQ_ISA_COUNT] = {
        [PQ_ISA_PORTABLE] = &pq_simd_portable,
#if defined(__x86_64__)
        [PQ_ISA_AVX2]   = &pq_simd_avx2,
        [PQ_ISA_AVX512] = &pq_simd_avx512,
#endif
    };

    return isa <= pq_cpu_isa() ? tables[isa] : NULL;
}

unsigned pq_simd_flush_denormals(void)
{
#if defined(__x86_64__)
    const unsigned before = _mm_getcsr();

    _mm_setcsr(before | 0x8040U); /* FTZ and DAZ */
    return before;
#else
    return 0;
#endif
}

void pq_simd_restore(unsigned state)
{
#if defined(__x86_64__)
    _mm_setcsr(state);
#else
    (void)state;
#endif
}
