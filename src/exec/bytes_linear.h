/**
 * @file
 * Dense layers and convolutions from bytes to bytes (or floats) by a kernel of our own,
 * where the processor multiplies bytes; the same bits as the integer engine's.
 */
#ifndef PQ_EXEC_BYTES_LINEAR_H
#define PQ_EXEC_BYTES_LINEAR_H

#include "exec/units.h"

/**
 * @param[in]  units  those of the step, borrowed, read now
 * @param[out] out    stays NULL where this is not for the layer or the processor:
 * depthwise, weights beyond 8 bits, sums beyond 32
 */
pq_status pq_bytes_linear_prepare(const pq_step *step, const pq_units *units, pq_op **out,
                                  pq_err *err);

#endif
