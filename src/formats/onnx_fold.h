/**
 * @file
 * Computing constants while a graph of ONNX is read: what those that move items
 * (onnx_fold_moves.c) and those that compute (onnx_fold.c) share.
 */
#ifndef PQ_FORMATS_ONNX_FOLD_H
#define PQ_FORMATS_ONNX_FOLD_H

#include "formats/onnx_import.h"

/** An operator of constants. */
typedef struct {
    const char *name;
    size_t      inputs; /**< least */
    pq_status (*compute)(pq_onnx_import *im, pq_err *err);
} pq_onnx_foldable;

/** Those that move items; the last has no name. */
extern const pq_onnx_foldable pq_onnx_fold_moves[];

/** Whether input k is a constant of whole numbers; false of what is no constant. */
bool pq_onnx_fold_is_whole(const pq_onnx_import *im, size_t k);

/** Constant k as int64 where it is whole numbers, else as float64. */
pq_status pq_onnx_fold_take(const pq_onnx_import *im, size_t k, pq_tensor **out,
                            pq_err *err);

/** Makes a tensor the node's output; takes *t, also on failure. */
pq_status pq_onnx_fold_give(pq_onnx_import *im, pq_tensor **t, pq_err *err);

/** Items of an int64 tensor. */
static inline int64_t *pq_i64(const pq_tensor *t)
{
    return t->data;
}

#endif
