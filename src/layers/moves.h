/**
 * @file
 * Layers of PQ_TRAIT_MOVES as a list of runs: which items of the inputs, side by side, go
 * where. Found from the layer's own forward, which moves the numbers of places.
 */
#ifndef PQ_LAYERS_MOVES_H
#define PQ_LAYERS_MOVES_H

#include "layers/layer.h"

/** Items that lie side by side, in an input and in the output. */
typedef struct {
    size_t input, from, to, n;
} pq_move;

/** Owns its list. What no run reaches is a constant. */
typedef struct {
    size_t          n, n_in, out_count, in_count[PQ_LAYER_INPUTS]; /**< of one sample */
    pq_move        *runs;                                          /**< [n] */
    bool            has_constants;
    double          constant; /**< if it has any; one of all */
    const pq_layer *layer;
} pq_moves;

/**
 * @param[in] out_shape  as the layer's `shape` says.
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_moves_create(const pq_layer *layer, size_t n_in, const pq_shape *in_shape,
                          const pq_shape *out_shape, pq_moves *out, pq_err *err);
void      pq_moves_free(pq_moves *m);

/** Moves `batch` samples of items of any kind; constants become *constant. */
void pq_moves_run(const pq_moves *m, size_t batch, size_t item_bytes,
                  const void *const *in, const void *constant, void *out);

/** Adds to the gradient of one input; float32. */
void pq_moves_back(const pq_moves *m, const pq_kernels *kernels, size_t batch,
                   size_t input, const float *grad_out, float *grad_in);

#endif
