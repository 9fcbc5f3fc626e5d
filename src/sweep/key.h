/**
 * @file
 * The texts whose hashes are the keys of cells.
 */
#ifndef PQ_SWEEP_KEY_H
#define PQ_SWEEP_KEY_H

#include "sweep/plan.h"

/** SHA-256 of a text; fails when the text is incomplete. */
pq_status pq_key_of(const pq_text *text, char out[PQ_HASH_TEXT], pq_err *err);

/** Of the artifact after `stages` stages; those of fewer stages must be known. */
void pq_key_artifact(const pq_cells *cells, const pq_cell *cell, size_t stages,
                     pq_text *out);

/** What is the same of all evaluations of a plan: its `evaluation`. */
void pq_key_evaluation(const pq_cells *cells, pq_text *out);

void pq_key_eval(const pq_cells *cells, const pq_cell *cell, pq_text *out);

/** Of the network before any stage, evaluated as cells are. */
void pq_key_reference(const pq_cells *cells, const pq_cell *cell, pq_text *out);

/** Of the i-th batch size. */
void pq_key_latency(const pq_cells *cells, const pq_cell *cell, size_t i, pq_text *out);

/** What a stage asks of calibration events (PQ_NEEDS_*). */
unsigned pq_stage_needs(const pq_stage *stage);

/** Seed of a stage: the cell's if it is stochastic, else that of the configuration, so
 * that deterministic prefixes are shared. */
uint64_t pq_stage_seed(const pq_cells *cells, const pq_cell *cell, const pq_stage *stage);

/** The artifact of a cell: its last prefix. */
const char *pq_cell_artifact(const pq_cell *cell);

#endif
