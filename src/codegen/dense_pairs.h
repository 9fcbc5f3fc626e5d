/**
 * @file
 * A dense layer of one event in AVX-512, two inputs at a time. For codegen/ only.
 */
#ifndef PQ_CODEGEN_DENSE_PAIRS_H
#define PQ_CODEGEN_DENSE_PAIRS_H

#include "codegen/rows.h"

/** Operations that the statements use, for the set AVX-512. */
extern const char pq_dense_pairs_set[];

/** Whether a group that is written out can be computed in pairs.
 * @param[in] chains  input i goes into sum i % chains */
bool pq_dense_pairs_may(const pq_emitter *e, const pq_rows *a, pq_panels g,
                        size_t chains);

/** Appends the sums of a group, their functions and stores, for `in` and `out` of one
 * row: bit by bit those of chains that are joined as a tree of neighbours. */
pq_status pq_dense_pairs(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                         pq_panels g, size_t chains, pq_err *err);

#endif
