/**
 * @file
 * What this processor can do: which kernels are used, and whether OpenBLAS
 * has recognised it.
 */
#ifndef PQ_EXEC_CPU_H
#define PQ_EXEC_CPU_H

#include <stddef.h>

/** Instruction sets that own kernels exist for, low to high. */
typedef enum { PQ_ISA_PORTABLE, PQ_ISA_AVX2, PQ_ISA_AVX512, PQ_ISA_COUNT } pq_isa;

/** "portable", "avx2", "avx512". */
const char *pq_isa_name(pq_isa isa);

/** The highest instruction set this processor and system have; what the engines use. */
pq_isa pq_cpu_isa(void);

/** Features of CPUID that matter to kernels, "sse4.2 avx avx2 fma …", low to high; "" on
 * other architectures. */
const char *pq_cpu_features(char *buffer, size_t size);

/** Brand of the processor, "AMD EPYC …", or "unknown". Buffer of at least 49 bytes;
 * returns buffer. */
const char *pq_cpu_name(char *buffer, size_t size);

/** Core type that OpenBLAS runs kernels for, "Zen", "SkylakeX", "Prescott", … */
const char *pq_blas_coretype(void);

/**
 * Core type that OpenBLAS should be told by OPENBLAS_CORETYPE (read when the library
 * loads, so that the program has to be executed anew), or NULL when what it has found
 * fits the processor.
 */
const char *pq_blas_wanted_coretype(void);

#endif
