/**
 * @file
 * How a pruned weight is stored: which of its items are, told by an index that comes
 * first, and their codes (quant.h), `bits` each, bit after bit in little-endian order. A
 * weight is [rows, columns]: its first axis, and the others in a row.
 *
 * | form    | index                                               | items stored |
 * |---------|-----------------------------------------------------|-----------------------|
 * | dense   | none                                                | all | | bitmap  | a
 * bit an item, 1 = stored                           | those not 0           | | csr     |
 * a row: how many are stored, in the fewest bits that | those not 0, row by   | | | hold
 * `columns`; then a column each, in the fewest   | row                   | |         |
 * bits that hold `columns` - 1                        |                       | | pattern
 * | bytes N, M; then a place in its group each, in the  | N of every M          | | |
 * fewest bits that hold M - 1                         | neighbours in a row   | | blocks
 * | bytes I, O; then a bit a block, row by row          | blocks of I columns   | | | |
 * by O rows not all 0   |
 *
 * Groups and blocks at the end of a row, or of the rows, are smaller. An index is padded
 * to a byte. Of a group with less than N items that are not 0, the first zeros are stored
 * too.
 */
#ifndef PQ_TENSOR_STORE_H
#define PQ_TENSOR_STORE_H

#include "tensor/quant.h"

typedef enum {
    PQ_STORE_DENSE,
    PQ_STORE_BITMAP,
    PQ_STORE_CSR,
    PQ_STORE_PATTERN,
    PQ_STORE_BLOCKS,
    PQ_STORE_FORMS, /**< how many there are */
} pq_store_form;

/** Items that a byte may stand for: forms that would be smaller are not taken, so that a
 * small file makes no large weight. */
enum { PQ_STORE_ITEMS_A_BYTE = 64 };

/** "dense", …; NULL-terminated. */
extern const char *const pq_store_names[];

/**
 * Bytes of a tensor on its grid in a form; SIZE_MAX where it has none: `pattern` and
 * `blocks` are for one width of all items, and those after `bitmap` for at most
 * PQ_STORE_ITEMS_A_BYTE. The pattern, or block, is the one of least bytes.
 */
size_t pq_store_bytes(const pq_quant *q, const pq_tensor *t, pq_store_form form);

/** Form of least bytes, of equal ones the first. */
pq_store_form pq_store_least(const pq_quant *q, const pq_tensor *t, size_t *bytes);

/**
 * Packs a tensor that is on its grid, in a form it has.
 * @param[in]  q      quantizer, or NULL: float32
 * @param[in]  t      [rows, …]
 * @param[in]  form   one that pq_store_bytes has bytes for
 * @param[out] out    [*bytes], caller frees with pq_free
 * @param[out] bytes  as pq_store_bytes
 * @param[out] err    details of a failure, or NULL
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_store_pack(const pq_quant *q, const pq_tensor *t, pq_store_form form,
                        uint8_t **out, size_t *bytes, pq_err *err);

/**
 * The inverse, into a float32 tensor of known shape.
 * @param[in]  q       quantizer, or NULL: float32
 * @param[in]  packed  [bytes]
 * @param[in]  bytes   how many
 * @param[in]  form    of them
 * @param[out] t       filled
 * @param[out] err     details of a failure, or NULL
 * @retval PQ_ERR_FORMAT  Another number of bytes, or an index that cannot be.
 */
pq_status pq_store_unpack(const pq_quant *q, const uint8_t *packed, size_t bytes,
                          pq_store_form form, pq_tensor *t, pq_err *err);

#endif
