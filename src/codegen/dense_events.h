/**
 * @file
 * A dense layer for several events at once. For codegen/ only.
 */
#ifndef PQ_CODEGEN_DENSE_EVENTS_H
#define PQ_CODEGEN_DENSE_EVENTS_H

#include "codegen/rows.h"

/** Sums of a group of panels over all inputs, as one event has them. */
typedef struct {
    pq_panels group;
    size_t    chains;          /**< input i goes into sum i % chains */
    size_t    biases, weights; /**< numbers of tables: [panels][16], [inputs][panels of
                                  the group][16] */
} pq_dense_sums;

/** Appends the sums of a group for a block, and their functions and stores. */
void pq_dense_events(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                     const pq_dense_sums *sums);

#endif
