/**
 * @file
 * What this processor can do: which kernels are used, and whether OpenBLAS
 * has recognised it. PQUANT_ISA in the environment caps the instruction set of
 * our kernels, of oneDNN's and of OpenBLAS's, so that a machine gives what a
 * lesser one would.
 */
#ifndef PQ_KERNELS_CPU_H
#define PQ_KERNELS_CPU_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/** Instruction sets that own kernels exist for, low to high. */
typedef enum { PQ_ISA_PORTABLE, PQ_ISA_AVX2, PQ_ISA_AVX512, PQ_ISA_COUNT } pq_isa;

/** "portable", "avx2", "avx512". */
const char *pq_isa_name(pq_isa isa);

/** The highest instruction set this processor and system have. */
pq_isa pq_cpu_isa_whole(void);

/** What the engines use: the highest that the processor has, or PQUANT_ISA where that is
 * less. The variable is read once. */
pq_isa pq_cpu_isa(void);

/** Whether PQUANT_ISA names an instruction set, be it the highest. */
bool pq_cpu_is_capped(void);

/**
 * Refuses a PQUANT_ISA that is no instruction set or above the processor's own.
 *
 * @retval PQ_ERR_CONFIG  with the value and those that are allowed.
 */
pq_status pq_cpu_check_cap(pq_err *err);

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
 * fits the processor and PQUANT_ISA.
 */
const char *pq_blas_wanted_coretype(void);

#endif
