/**
 * @file
 * How a tensor's values are represented when they are quantized.
 *
 * A quantized weight is kept as float32 values that lie exactly on the grid of
 * its quantizer, so that every engine can run it; the integer codes are derived
 * from the values when it is stored or executed in integers:
 *
 *     code  = clamp(round_half_even(value / scale) + zero_point, lo, hi)
 *     value = (code - zero_point) * scale
 *
 * Fixed point with k sign, i integer and f fraction bits has scale 2^-f, codes of
 * k + i + f bits, and rounds and overflows as its modes say. NF4 has 16 levels,
 * quantiles of a normal distribution, times a scale. Its scales may be codes themselves
 * (double quantization): their mean plus whole numbers of 8 bits times a step, which 256
 * of them share.
 *
 * A quantizer on a node's output is applied to the activations by every engine.
 *
 * Source: Jacob et al., CVPR 2018, arXiv:1712.05877, eq. 1; fixed point: IEEE
 *         1666-2011 (SystemC) section 7.10 and AMD UG1399 (ap_fixed); NF4: Dettmers
 *         et al., NeurIPS 2023, arXiv:2305.14314, section 3 and appendix E.
 */
#ifndef PQ_TENSOR_QUANT_H
#define PQ_TENSOR_QUANT_H

#include "tensor/tensor.h"

typedef enum {
    PQ_QUANT_INTEGER, /**< affine or symmetric integer codes of `bits` */
    PQ_QUANT_FLOAT16,
    PQ_QUANT_BFLOAT16,
    PQ_QUANT_FIXED, /**< fixed point: scale 2^-f, a width for each scale */
    PQ_QUANT_NF4,   /**< 16 levels in -1 .. 1 times a scale */
} pq_quant_scheme;

/** What a fixed-point code beyond its range becomes. */
typedef enum {
    PQ_OVERFLOW_SAT,     /**< the nearest code, -2^(w-1) .. 2^(w-1) - 1 */
    PQ_OVERFLOW_SAT_SYM, /**< the nearest code without the lowest */
    PQ_OVERFLOW_WRAP,    /**< modulo 2^w */
    PQ_OVERFLOW_WRAP_SM, /**< reflected at both ends (sign-magnitude wrap-around) */
} pq_overflow;

/** To which of its two neighbours on the grid a value goes; RND to the nearest, these
 * differ in ties only. */
typedef enum {
    PQ_ROUND_RND_CONV,    /**< ties to even */
    PQ_ROUND_RND,         /**< ties to plus infinity */
    PQ_ROUND_RND_ZERO,    /**< ties to zero */
    PQ_ROUND_RND_MIN_INF, /**< ties to minus infinity */
    PQ_ROUND_RND_INF,     /**< ties away from zero */
    PQ_ROUND_TRN,         /**< to minus infinity */
    PQ_ROUND_TRN_ZERO,    /**< to zero */
} pq_rounding;

/** Names of the modes, "SAT" and "RND_CONV" first, NULL-terminated. */
extern const char *const pq_overflow_names[];
extern const char *const pq_rounding_names[];

/** Names of the schemes, by pq_quant_scheme, NULL-terminated. */
extern const char *const pq_quant_scheme_names[];

enum {
    PQ_QUANT_PER_TENSOR = -1,
    PQ_QUANT_PER_ITEM   = -2, /**< fixed point only: a width and fraction a value */
    PQ_QUANT_PER_GROUP  = -3, /**< one scale for `group` neighbours in a row of axis 0 */
};

enum { PQ_QUANT_SCALE_BLOCK = 256 };

/** Quantizer; owns its arrays. */
typedef struct {
    pq_quant_scheme scheme;
    int         bits; /**< 2 .. 16 for integers, 16 for floats, 4 NF4, fixed: widest */
    bool        is_signed; /**< codes -2^(b-1).. or 0.. */
    bool        narrow;    /**< signed codes without the lowest: -127..127 */
    int         axis;      /**< axis with one scale an index, or PQ_QUANT_PER_… */
    size_t      n; /**< scales: 1, the size of the axis, groups, items, or 0: floats */
    float      *scale;      /**< [n], > 0 */
    int32_t    *zero_point; /**< [n]; all 0 when symmetric */
    size_t      group;      /**< items of a group, 0 without groups */
    int8_t     *scale_code; /**< [n] of scales that are codes themselves, else NULL */
    float      *scale_step; /**< one for PQ_QUANT_SCALE_BLOCK of these, >= 0 */
    float       scale_mean; /**< scale = mean + step code, rounded to float32 */
    uint8_t    *width;    /**< [n], fixed: k + i + f in 0 .. 16; 0: always 0; else NULL */
    pq_overflow overflow; /**< fixed */
    pq_rounding rounding; /**< fixed */
} pq_quant;

/** Quantizer with n zeroed scales and zero points (integers; floats have n = 0). */
pq_status pq_quant_create(pq_quant_scheme scheme, int bits, bool is_signed, bool narrow,
                          int axis, size_t n, pq_quant **out, pq_err *err);

/** Quantizer of integers or NF4 with one scale for `group` neighbours in a row (the items
 * under one index of axis 0; of a vector: all of it). Rows end with a shorter group. */
pq_status pq_quant_create_grouped(pq_quant_scheme scheme, int bits, const pq_shape *shape,
                                  size_t group, pq_quant **out, pq_err *err);

/** Fixed-point quantizer with n widths of 0 (PQ_QUANT_PER_ITEM: n values). */
pq_status pq_quant_create_fixed(bool is_signed, pq_overflow overflow,
                                pq_rounding rounding, int axis, size_t n, pq_quant **out,
                                pq_err *err);

/**
 * Sets integer and fraction bits i, f of index `at`; either may be negative. i is raised
 * to -f where it is less: what has no width is always 0 (PQuantML, HGQ).
 *
 * @retval PQ_ERR_RANGE  i is not in -24..23, f not in -24..24, or k + i + f not in 0..16.
 */
pq_status pq_quant_set_fixed(pq_quant *q, size_t at, int integer_bits, int fraction_bits,
                             pq_err *err);

/** Integer and fraction bits (without the sign) of a fixed-point index. */
int pq_quant_integer_bits(const pq_quant *q, size_t at);
int pq_quant_fraction_bits(const pq_quant *q, size_t at);

void      pq_quant_free(pq_quant **q);
pq_status pq_quant_clone(const pq_quant *q, pq_quant **out, pq_err *err);

/** Whether values have whole-number codes: integers and fixed point. */
bool pq_quant_has_codes(const pq_quant *q);

/** Whether values beyond the codes become the last one (no float, no wrapping). */
bool pq_quant_clips(const pq_quant *q);

/** Lowest and highest code of scale index i; for fixed point with wrapping as for SAT. */
int32_t pq_quant_least(const pq_quant *q, size_t i);
int32_t pq_quant_most(const pq_quant *q, size_t i);

/** The same of scale index 0. */
int32_t pq_quant_lo(const pq_quant *q);
int32_t pq_quant_hi(const pq_quant *q);

/**
 * Whether a quantizer can serve a tensor of this shape.
 *
 * @retval PQ_ERR_SHAPE    The axis is not there, or its size is not the number of scales.
 * @retval PQ_ERR_NUMERIC  A scale is not positive and finite.
 * @retval PQ_ERR_RANGE    A zero point is not a code.
 */
pq_status pq_quant_check(const pq_quant *q, const pq_shape *shape, pq_err *err);

/** Value on the grid nearest to `value` for scale index i (0 for the float schemes). */
float pq_quant_round(const pq_quant *q, size_t i, float value);

/** Code of a value (integers and fixed point), by one division in double: the contract of
 * docs/quantization.md. NaN gives the lowest code. */
int32_t pq_quant_code(const pq_quant *q, size_t i, float value);

/** The same of a double. */
int32_t pq_quant_code_real(const pq_quant *q, size_t i, double value);

/** The same before it is brought into the range of codes. */
double pq_quant_code_free(const pq_quant *q, size_t i, double value);

/** (code - zero point) scale, exact in double. */
double pq_quant_value(const pq_quant *q, size_t i, int32_t code);

/** pq_quant_value of pq_quant_code_real; other schemes as pq_quant_round. */
double pq_quant_round_real(const pq_quant *q, size_t i, double value);

/** Puts every item of a float32 tensor on the grid. @retval PQ_ERR_SHAPE  n differs from
 * the axis. */
pq_status pq_quant_apply(const pq_quant *q, pq_tensor *t, pq_err *err);

/** Scale index of item `item` of a tensor of this shape. */
size_t pq_quant_index(const pq_quant *q, const pq_shape *shape, size_t item);

/**
 * Fixes scale and zero point i from a finite range. 0 is forced inside [lo, hi].
 * Symmetric: zero point 0 and scale max(lo / lowest code, hi / highest code) (unsigned
 * codes: hi / highest code). Affine: scale (hi - lo) /
 * (codes - 1) and zero point round(lowest code - lo / scale).
 * A range beyond float32 gets the largest finite scale that keeps its values finite.
 * A range of zero width gets scale 1 (all codes 0) and is reported by the return value.
 *
 * @return false when the range was empty.
 */
bool pq_quant_set_range(pq_quant *q, size_t i, double lo, double hi, bool symmetric);

/**
 * Packs a tensor that is on the grid, at its true bit width.
 *
 * Layout: codes - lo (unsigned), `bits` each, little-endian bit order, no
 * padding between items; each fixed-point code has its own width; float schemes are
 * 16-bit words, NF4 the number of the level. With `sparse`, a
 * bitmap of count bits (1 = kept) comes first, padded to a byte, then the
 * codes of the kept items (those not zero) only. A NULL quantizer packs float32.
 *
 * @param[out] out  caller frees with pq_free
 */
pq_status pq_quant_pack(const pq_quant *q, const pq_tensor *t, bool sparse, uint8_t **out,
                        size_t *bytes, pq_err *err);

/** Bytes pq_quant_pack gives for a tensor. */
size_t pq_quant_packed_bytes(const pq_quant *q, const pq_tensor *t, bool sparse);

/** Inverse of pq_quant_pack into a float32 tensor of known shape. @retval PQ_ERR_FORMAT
 * Wrong number of bytes. */
pq_status pq_quant_unpack(const pq_quant *q, const uint8_t *packed, size_t bytes,
                          bool sparse, pq_tensor *t, pq_err *err);

/** Puts scales that are known onto the nearest values of a grid of their own, all
 * positive. May be called again after they have changed. */
pq_status pq_quant_code_scales(pq_quant *q, pq_err *err);

/** For a file's reader: room for codes and steps, and the scales that they mean. */
pq_status pq_quant_expect_coded_scales(pq_quant *q, pq_err *err);
void      pq_quant_decode_scales(pq_quant *q);

/** Number of steps of coded scales. */
size_t pq_quant_scale_blocks(const pq_quant *q);

/** Bytes of scales (4 each; codes 1, their steps and mean 4 each; fixed point: 2 for
 * width and fraction) and zero points (4 each, 0 when all are 0) that belong to the
 * stored tensor. */
size_t pq_quant_side_bytes(const pq_quant *q);

/**
 * Packs the integer and fraction bits of all indices of a fixed-point quantizer: the
 * least of both lists (a signed byte each) and the bits of what is above it (a byte),
 * then the lists, so many bits an index, little-endian bit order without padding.
 *
 * @param[out] out  [*bytes], caller frees with pq_free
 */
pq_status pq_quant_pack_widths(const pq_quant *q, uint8_t **out, size_t *bytes,
                               pq_err *err);

/**
 * Sets the widths of q->n indices from what pq_quant_pack_widths gave.
 * @retval PQ_ERR_FORMAT  The bytes are not as many as are due, or more than 6 bits an
 *                        index.
 * @retval PQ_ERR_RANGE   As pq_quant_set_fixed.
 */
pq_status pq_quant_unpack_widths(const uint8_t *packed, size_t bytes, pq_quant *q,
                                 pq_err *err);

#endif
