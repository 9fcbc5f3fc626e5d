/**
 * @file
 * Steps of quantizers that several files of this room share.
 */
#ifndef PQ_TENSOR_QUANT_INSIDE_H
#define PQ_TENSOR_QUANT_INSIDE_H

#include "tensor/quant.h"

/** Whole number next to x by a rounding mode; infinities and NaN stay. */
double pq_fixed_round(double x, pq_rounding mode);

/** Code of `width` bits for a whole number; NaN, and infinities that should wrap, give
 * the lowest code. */
int32_t pq_fixed_overflow(double code, int width, bool is_signed, pq_overflow mode);

/** Level of NF4 nearest to value / scale (ties to the lower), and its value. */
unsigned pq_nf4_code(float value, float scale);
float    pq_nf4_level(unsigned code);

/** Bytes of the widths of fixed point, as stored: pq_quant_pack_widths(), of one index
 * two. */
size_t pq_quant_widths_bytes(const pq_quant *q);

#endif
