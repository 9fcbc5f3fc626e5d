#include "exec/kernels.h"

#include <math.h>

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
