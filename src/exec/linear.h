/**
 * @file
 * Dense layers and convolutions (also tt_conv2d, rebuilt) on own kernels, with what
 * follows them folded in: BatchNorm into the weights, a residual, and relu or clip at the
 * end.
 */
#ifndef PQ_EXEC_LINEAR_H
#define PQ_EXEC_LINEAR_H

#include "exec/engine.h"
#include "kernels/kernels.h"

/** Whether a layer kind has kernels here. */
bool pq_linear_has(const pq_layer *layer);

/** What computes them, for records. */
const char *pq_linear_kernel(const pq_kernels *kernels);

/** Whether `next` can be computed along with such a step (pq_engine.fuses). */
pq_fusion pq_linear_fuses(const pq_step *step, size_t next);

/** Packs such a step for kernels of one instruction set (pq_engine.prepare). Zeros that
 * lie in blocks are left out (skips.h), and of a single event those beside few weights of
 * every four (kernels/fours.h). */
pq_status pq_linear_prepare(const pq_step *step, size_t tile, const pq_kernels *kernels,
                            pq_op **out, pq_err *err);

#endif
