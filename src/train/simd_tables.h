/**
 * @file
 * The tables of loops that this build has, one a file.
 */
#ifndef PQ_TRAIN_SIMD_TABLES_H
#define PQ_TRAIN_SIMD_TABLES_H

#include "train/simd.h"

extern const pq_simd pq_simd_portable;
#if defined(__x86_64__)
extern const pq_simd pq_simd_avx2;
extern const pq_simd pq_simd_avx512;
#endif

#endif
