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

/** Bits of item i; those of a fixed-point code are its own. */
unsigned pq_pack_item_bits(const pq_quant *q, size_t i);

/** `bits` <= 32 in little-endian order; the bytes were zero. */
void     pq_pack_write(uint8_t *bytes, size_t at, unsigned bits, uint32_t word);
uint32_t pq_pack_read(const uint8_t *bytes, size_t at, unsigned bits);

/** Codes of the items that a bitmap says are stored (NULL: all), from bit `at` on. */
void pq_pack_codes(const pq_quant *q, const pq_tensor *t, const uint8_t *stored,
                   size_t at, uint8_t *packed);

/** Their bytes. */
size_t pq_pack_code_bytes(const pq_quant *q, const pq_tensor *t, const uint8_t *stored);

/** The inverse of pq_pack_codes; other items become 0. There are so many bytes.
 * @retval PQ_ERR_FORMAT  A code that its quantizer does not have. */
pq_status pq_unpack_codes(const pq_quant *q, const uint8_t *packed, size_t at,
                          const uint8_t *stored, pq_tensor *t, pq_err *err);

#endif
