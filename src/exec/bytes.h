/**
 * @file
 * Values as bytes, for int8 engines: code minus the lowest code of a node's grid, where
 * that has one scale, at most 256 codes, and rounds half to even and clips; other
 * values are floats.
 */
#ifndef PQ_EXEC_BYTES_H
#define PQ_EXEC_BYTES_H

#include "exec/engine.h"

/** Grid of a node's bytes, or NULL: floats. */
const pq_quant *pq_byte_grid(const pq_graph *graph, size_t node);

/** Byte of the value 0. */
int32_t pq_byte_zero(const pq_quant *grid);

/** Engine hooks: floats to a node's values, quantized, and back. */
void pq_bytes_take(const pq_graph *graph, size_t node, size_t n, const float *from,
                   void *to);
void pq_bytes_give(const pq_graph *graph, size_t node, size_t n, const void *from,
                   float *to);

/** Whether pq_bytes_prepare has an operation on bytes for this step. */
bool pq_bytes_has(const pq_step *step);

/** Sum of two inputs, with relu where fused, or the mean over all positions. */
pq_status pq_bytes_prepare(const pq_step *step, pq_op **out, pq_err *err);

/** Any step by the `float32` engine in floats, between bytes where there are grids. */
pq_status pq_bytes_between(const pq_step *step, size_t tile, pq_op **out, pq_err *err);

#endif
