/**
 * @file
 * Layers that work item by item, and softmax, in float32: loops that compilers
 * vectorize, and the exponentials of the kernels.
 */
#ifndef PQ_EXEC_ELEMENTS_H
#define PQ_EXEC_ELEMENTS_H

#include "exec/engine.h"
#include "kernels/kernels.h"

/** Whether a layer kind has a function here. */
bool pq_elements_has(const char *kind);

/** Prepares a step of such a kind (pq_engine.prepare). */
pq_status pq_elements_prepare(const pq_step *step, const pq_kernels *kernels, pq_op **out,
                              pq_err *err);

#endif
