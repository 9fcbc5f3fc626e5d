/**
 * @file
 * Arrays of NumPy (.npy): the header, and items as numbers or texts. Versions 1 to 3,
 * little-endian; nothing in them is executed: pickled objects are refused.
 *
 * Source: numpy.lib.format (NEP 1).
 */
#ifndef PQ_IO_NPY_H
#define PQ_IO_NPY_H

#include <stdbool.h>
#include <stdint.h>

#include "tensor/tensor.h"

enum { PQ_NPY_START = 12 /**< bytes that tell how long a header is */ };

/** What the items are. */
typedef enum {
    PQ_NPY_NUMBER, /**< of `dtype`; truth values are uint8 */
    PQ_NPY_U64,    /**< uint64, which no tensor of ours holds */
    PQ_NPY_BYTES,  /**< texts of `item` bytes, zeros behind them */
    PQ_NPY_UNICODE /**< texts of `item` / 4 code points */
} pq_npy_sort;

/** A header. */
typedef struct {
    pq_npy_sort sort;
    pq_dtype    dtype;
    size_t      item; /**< bytes of one */
    pq_shape    shape;
    size_t      count;
    bool        by_columns; /**< Fortran's order: the first axis varies fastest */
    size_t      data;       /**< where the items begin */
} pq_npy;

/** Whether a file begins like an array of NumPy. */
bool pq_npy_looks(const void *start, size_t n);

/** Bytes before the items, from the first PQ_NPY_START of them.
 * @retval PQ_ERR_FORMAT  No array of NumPy. */
pq_status pq_npy_head(const uint8_t *start, size_t n, size_t *out, pq_err *err);

/**
 * Reads a header.
 *
 * @param[in] bytes  [head], as pq_npy_head says
 * @param[in] total  of header and items, which must be what shape and type take
 * @retval PQ_ERR_FORMAT       Malformed, no items, or too few bytes.
 * @retval PQ_ERR_UNSUPPORTED  Objects, columns with names, dates, big-endian, …
 */
pq_status pq_npy_read(const uint8_t *bytes, size_t head, size_t total, pq_npy *out,
                      pq_err *err);

/** Converts n numbers that lie side by side, to every `step`-th place of `out`.
 * @param[out] out  float32 or float64, as `to` says */
void pq_npy_numbers(const pq_npy *a, const uint8_t *from, size_t n, pq_dtype to,
                    void *out, size_t step);

/** A text as UTF-8; caller frees with pq_free. @retval PQ_ERR_FORMAT  Code points that
 * are none. */
pq_status pq_npy_text(const pq_npy *a, const uint8_t *from, char **out, pq_err *err);

#endif
