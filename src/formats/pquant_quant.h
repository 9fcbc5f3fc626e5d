/**
 * @file
 * Quantizers as attributes of a packed weight in our model file. For pquant.c only.
 */
#ifndef PQ_FORMATS_PQUANT_QUANT_H
#define PQ_FORMATS_PQUANT_QUANT_H

#include "io/hdf5.h"
#include "tensor/quant.h"

/** Attribute `scheme` of a packed weight without a quantizer. */
#define PQ_H5_PLAIN "float32"

/** Sets a small whole number. */
pq_status pq_h5_set_flag(pq_h5 *file, const char *path, const char *name, int value,
                         pq_err *err);

/** A whole number in lo..hi; `fallback` where the attribute is absent. @retval
 * PQ_ERR_FORMAT  It is something else. */
pq_status pq_h5_whole(pq_h5 *file, const char *path, const char *name, int fallback,
                      int lo, int hi, int *out, pq_err *err);

/** Writes the attributes of a quantizer but its scheme; those that are 0 are left out. */
pq_status pq_h5_save_quantizer(pq_h5 *file, const char *path, const pq_quant *q,
                               pq_err *err);

/** Quantizer of a packed weight of this shape; NULL for float32. */
pq_status pq_h5_load_quantizer(pq_h5 *file, const char *path, const pq_shape *shape,
                               pq_quant **out, pq_err *err);

#endif
