#include "kernels/kernels.h"

#include <math.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

const pq_clip pq_clip_relu = {0.0f, INFINITY};

double pq_words_doubt(double scale)
{
    int exponent;

    return frexp(scale, &exponent) > 0.5 ? 0.5 - 0x1p-32 : 1.0;
}

const pq_kernels *pq_kernels_find(pq_isa isa)
{
    if (isa > pq_cpu_isa()) {
        return NULL;
    }
    switch (isa) {
#if defined(__x86_64__)
    case PQ_ISA_AVX512:
        return &pq_kernels_avx512;
    case PQ_ISA_AVX2:
        return &pq_kernels_avx2;
#else
    case PQ_ISA_AVX512:
    case PQ_ISA_AVX2:
        break;
#endif
    case PQ_ISA_PORTABLE:
        return &pq_kernels_portable;
    case PQ_ISA_COUNT:
        break;
    }
    return NULL;
}

unsigned pq_flush_denormals(void)
{
#if defined(__x86_64__)
    const unsigned before = _mm_getcsr();

    _mm_setcsr(before | 0x8040U); /* FTZ and DAZ */
    return before;
#else
    return 0;
#endif
}

void pq_restore_denormals(unsigned state)
{
#if defined(__x86_64__)
    _mm_setcsr(state);
#else
    (void)state;
#endif
}
