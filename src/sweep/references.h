/**
 * @file
 * Numbers that results must have, and failures that are known: a file beside the
 * baseline, written by hand.
 *
 *   schema: pquant-references/1
 *   cells:
 *     "svd rank=8":                              # glob over labels
 *       accuracy: {value: 0.5616, lower: 1%, upper: 2%}
 *       stored_bytes: {value: 8868, upper: 0}    # any smaller one will do
 *   expected_failures:
 *     - {cell: "svd rank=4", metric: accuracy, why: "known since the new calibration"}
 *
 * Source of the idea: ReFrame's references and `$xfail`.
 */
#ifndef PQ_SWEEP_REFERENCES_H
#define PQ_SWEEP_REFERENCES_H

#include "sweep/gate.h"

typedef struct pq_references pq_references;

/** Reads a file. @retval PQ_ERR_CONFIG  With the place of the first problem. */
pq_status pq_references_read(const char *path, pq_references **out, pq_err *err);
void      pq_references_free(pq_references **references);

/**
 * Adds a finding for each number of a reference in each cell that it names; then turns
 * failures that were expected into PQ_GATE_EXPECTED. An expected failure that does not
 * fail is a failure itself: it has to be taken out of the file.
 */
pq_status pq_references_judge(const pq_references *references, const json_t *now,
                              pq_findings *findings, pq_err *err);

#endif
