/**
 * @file
 * What each instruction set calls the operations of whole.h, as C source: parts that are
 * written one after the other, NULL-terminated. A sum is that of 16 outputs; four inputs
 * are multiplied at once with 64 weights, [16][4] bytes or, in the portable variant,
 * [4][16] floats, whose sums are exact below 2^24. For codegen/ only.
 */
#ifndef PQ_CODEGEN_SET_OPERATIONS_H
#define PQ_CODEGEN_SET_OPERATIONS_H

extern const char *const pq_set_common[]; /**< headers, and what every set uses */
extern const char *const pq_set_portable[];
extern const char *const pq_set_avx2[];    /**< halves follow the first part */
extern const char *const pq_set_avxvnni[]; /**< the same */
extern const char *const pq_set_halves[];
extern const char *const pq_set_avx512[];
extern const char *const pq_set_permission[]; /**< to use tiles */

#endif
