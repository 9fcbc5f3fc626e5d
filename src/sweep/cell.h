/**
 * @file
 * The work of one cell: compress, evaluate, record. Done in a process of its own.
 */
#ifndef PQ_SWEEP_CELL_H
#define PQ_SWEEP_CELL_H

#include <jansson.h>

#include "core/progress.h"
#include "lab/diff.h"
#include "lab/evaluate.h"
#include "sweep/plan.h"

/** How a cell is computed; nothing of it changes the result. */
typedef struct {
    size_t             threads;  /**< for evaluation */
    bool               fresh;    /**< takes up no model of an earlier run */
    const pq_progress *progress; /**< of stages that train, or NULL */
} pq_cell_options;

/**
 * Saves the network before any stage. Done once, before the processes of cells are made:
 * they find the libraries as writing and reading a model leaves them, and need not look
 * up each function again.
 * @retval PQ_ERR_IO, PQ_ERR_ACCESS  The folder cannot be written.
 */
pq_status pq_cells_save_model(const pq_cells *cells, pq_err *err);

/**
 * Computes a cell and writes its record, its model and its curves.
 *
 * Starts from the longest prefix of stages whose model is in the results folder.
 */
pq_status pq_cell_compute(const pq_cells *cells, const pq_cell *cell,
                          const pq_cell_options *options, pq_err *err);

/** Path of the model of an artifact; NULL when out of memory; caller frees with pq_free.
 */
char *pq_artifact_path(const pq_cells *cells, const char *artifact);

/** A record with what all records of a cell have; caller decrefs. NULL when out of
 * memory. */
json_t *pq_cell_record(const pq_cells *cells, const pq_cell *cell, const char *phase,
                       const char *key, const char *status);

/** Why a cell has no numbers. Borrows. */
typedef struct {
    const char   *phase, *key; /**< of the record */
    const char   *status;      /**< "failed", "timeout", "oom" or "crashed" */
    const pq_err *why;
    double        seconds; /**< it took */
} pq_cell_failure;

/** Records that a cell did not succeed. */
pq_status pq_cell_record_failure(const pq_cells *cells, const pq_cell *cell,
                                 const pq_cell_failure *failure, pq_err *err);

/** Sets `unreached` and `infeasible` of a record from what the stages did, where anything
 * asked for was out of reach; false when out of memory. */
bool pq_record_unreached(json_t *record, const json_t *changes);

/** Sets metrics.<name> of a record; NAN becomes null. */
pq_status pq_record_metric(json_t *record, const pq_value *value, pq_err *err);

/** Notes what the model does with its inputs, what the outputs mean, and the metrics that
 * such outputs have no value of. */
pq_status pq_record_outputs(json_t *record, const pq_evaluated *e, pq_err *err);

/** Which events were decided for their label, four to a digit, into a record or its part
 * of an engine; nothing where outputs decide nothing or events have weights. */
pq_status pq_record_correct(json_t *out, const pq_evaluated *e, const pq_graph *graph,
                            pq_err *err);

/** Adds to the provenance of a record the kernels that ran, and the layers that engine
 * `integer` computed in double. */
pq_status pq_record_kernels(json_t *record, const pq_evaluated *e, pq_err *err);

/** Adds how far each layer is from the network before any stage; nothing where that was
 * not compared. */
pq_status pq_record_diff(json_t *record, const pq_diff *diff, pq_err *err);

/** Versions, processor, engine, hashes of the inputs, date; caller decrefs. */
json_t *pq_note_json(const char *note); /* of text that may be cut within a character */
json_t *pq_cell_provenance(const pq_cells *cells, const char *engine);

#endif
