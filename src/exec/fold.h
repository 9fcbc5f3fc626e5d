/**
 * @file
 * A factor and a summand for each channel: what biases and BatchNorm come to.
 */
#ifndef PQ_EXEC_FOLD_H
#define PQ_EXEC_FOLD_H

#include "exec/engine.h"

/** y = scale x + shift by channel; owns both. {0} is empty. */
typedef struct {
    size_t  n;
    double *scale, *shift; /**< [n] */
} pq_affine;

/** y = x for n channels. @retval PQ_ERR_NOMEM  Out of memory. */
pq_status pq_affine_create(size_t n, pq_affine *out, pq_err *err);
void      pq_affine_free(pq_affine *a);

/** The bias of a step's layer, and the BatchNorm that is fused with it. */
pq_status pq_affine_of_step(const pq_step *step, size_t outputs, pq_affine *out,
                            pq_err *err);

/** Puts a batch_norm layer after what is there: gamma (y - mean) / sqrt(variance +
 * epsilon) + beta. */
void pq_affine_normalise(pq_affine *a, const pq_layer *norm);

#endif
