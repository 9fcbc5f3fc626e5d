/**
 * @file
 * A pickle machine for PyTorch's state dicts. It builds plain values (texts,
 * numbers, tuples, dicts, descriptions of tensors) and executes nothing: the
 * few global names it knows stand for values, any other is refused.
 *
 * Source: Python's Lib/pickletools.py (protocols 0 to 5); torch/serialization.py.
 */
#ifndef PQ_FORMATS_TORCH_PICKLE_H
#define PQ_FORMATS_TORCH_PICKLE_H

#include "tensor/tensor.h"

enum { PQ_PICKLE_NONE = 0 /**< index of the value None */ };

typedef enum {
    PQ_PICKLE_NULL,
    PQ_PICKLE_INT,
    PQ_PICKLE_REAL,
    PQ_PICKLE_TEXT,
    PQ_PICKLE_LIST, /**< tuple, list or set */
    PQ_PICKLE_DICT, /**< items alternate: key, value */
    PQ_PICKLE_GLOBAL,
    PQ_PICKLE_STORAGE, /**< items: key, number of items; `number` is its pq_dtype */
    PQ_PICKLE_TENSOR,  /**< items: storage, offset, shape, strides */
} pq_pickle_type;

/** One value. */
typedef struct {
    pq_pickle_type type;
    int64_t        number; /**< of INT; place in the list of globals of GLOBAL */
    double         real;
    const char    *text; /**< [text_bytes] inside the pickle, no NUL */
    size_t         text_bytes;
    size_t         n;     /**< items */
    size_t        *items; /**< [n] indices of values; owned */
} pq_pickle_value;

/** All values of one pickle; owns them. The bytes that were read must stay. */
typedef struct {
    size_t           n;
    pq_pickle_value *values; /**< [n]; 0 is None */
    size_t           root;   /**< what the pickle is */
} pq_pickle;

/**
 * Reads one pickle up to its STOP.
 *
 * @param[out] used  bytes it took
 * @retval PQ_ERR_FORMAT       Truncated or malformed, with the byte.
 * @retval PQ_ERR_UNSUPPORTED  An instruction or a global name that state dicts do not
 * need; named.
 * Cost: linear in n, at most 256 bytes of memory for a byte of pickle.
 */
pq_status pq_pickle_read(const uint8_t *bytes, size_t n, pq_pickle *out, size_t *used,
                         pq_err *err);
void      pq_pickle_free(pq_pickle *p);

/** Value of a key of a dict, or NULL. */
const pq_pickle_value *pq_pickle_get(const pq_pickle *p, const pq_pickle_value *dict,
                                     const char *key);

/** Whether a value is this text. */
bool pq_pickle_is(const pq_pickle_value *v, const char *text);

#endif
