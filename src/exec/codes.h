/**
 * @file
 * Values as whole-number codes: which nodes have them, and conversion at the
 * borders of the integer engine. The contract stands in docs/quantization.md.
 */
#ifndef PQ_EXEC_CODES_H
#define PQ_EXEC_CODES_H

#include "graph/graph.h"

/** Most cells of a pool on codes: a sum of so many 17-bit differences times a 24-bit
 * scale is exact in double, which is how the reference adds. */
enum { PQ_CODES_CELLS = 4096 };

/**
 * Quantizer on whose codes a node's value lies: its own, where that has one scale for
 * all values; of flatten, reshape, dropout, slice, subsample, max pooling and padding
 * with 0 without a quantizer, that of the input. NULL: a real number.
 */
const pq_quant *pq_code_grid(const pq_graph *graph, size_t node);

/** Floats to a node's values: int32 codes where it has a grid, else double, quantized. */
void pq_codes_take(const pq_graph *graph, size_t node, size_t n, const float *from,
                   void *to);

/** A node's values to floats. */
void pq_codes_give(const pq_graph *graph, size_t node, size_t n, const void *from,
                   float *to);

/** Codes (grid not NULL) or doubles to doubles. */
void pq_codes_to_real(const pq_quant *grid, size_t n, const void *from, double *to);

/** n samples of doubles to a node's values; quantizes. `from` may be changed. */
void pq_codes_from_real(const pq_graph *graph, size_t node, size_t n, double *from,
                        void *to);

#endif
