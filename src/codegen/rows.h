/**
 * @file
 * Layers with kernels as rows of weights, and the panels of 16 outputs that they are
 * computed in. For codegen/ only.
 */
#ifndef PQ_CODEGEN_ROWS_H
#define PQ_CODEGEN_ROWS_H

#include "codegen/emit.h"

/** A layer as y = W x + b, its bias and the BatchNorm layers behind it included; owned.
 */
typedef struct {
    size_t  outputs, length; /**< rows of W and their length */
    double *weight, *bias;   /**< [outputs, length], [outputs] */
    size_t  after;           /**< node behind which functions follow */
} pq_rows;

/** Reads a step's kernel: as stored, or rebuilt from a tensor train or ring. */
pq_status pq_rows_of(const pq_emitter *e, const pq_emit_step *s, pq_rows *out,
                     pq_err *err);
void      pq_rows_free(pq_rows *a);

/** Appends the table of the biases, in whole panels. */
pq_status pq_rows_biases(pq_emitter *e, const pq_rows *a, size_t *number, pq_err *err);

/** Outputs first .. first + n, as panels of PQ_LANES, the last filled up. */
typedef struct {
    size_t first, n, panels;
} pq_panels;

/** The next at most `most` panels from output `first` on. */
pq_panels pq_panels_at(size_t outputs, size_t first, size_t most);

/** Weights of item `item` for the PQ_LANES outputs from `output` on; 0 beyond the last.
 */
void pq_block_put(const pq_rows *a, size_t output, size_t item, double *to);
bool pq_block_is_zero(const pq_rows *a, size_t output, size_t item);

/** Appends the functions on the vector `sum`, then its store at `to`: whole, or the lanes
 * that there are. */
void pq_panel_store(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                    const char *sum, const char *to, size_t lanes);

#endif
