/**
 * @file
 * The cells of a configuration in order, each with its content-addressed keys.
 *
 * A key is the SHA-256 of a text that names everything the result depends on
 * and nothing else: no file names, pipeline names, order or tags.
 *   artifact  model content; each stage with all parameters, its method's
 *             version, calibration content if the stage needs it, seed if it
 *             is stochastic
 *   eval      artifact, test content, classes, engine and instruction set,
 *             metrics with parameters and versions
 *   latency   artifact, the reference's artifact, batch, threads, engine,
 *             protocol, host, compiler, instruction set
 */
#ifndef PQ_SWEEP_PLAN_H
#define PQ_SWEEP_PLAN_H

#include <time.h>

#include "core/hash.h"
#include "sweep/config.h"

/** One cell. Borrows case and pipeline from the configuration. */
typedef struct {
    size_t             order;
    const pq_pipeline *pipeline;
    const pq_case     *variant; /**< its stages and axes */
    size_t             repeat;  /**< 0 .. ; always 0 for deterministic cells */
    uint64_t           seed;    /**< of its stochastic stages */
    bool reference; /**< has no stages; the first of them is what others are compared with
                     */
    char (*artifact)[PQ_HASH_TEXT]; /**< [stages + 1], of each prefix; the last is the
                                       cell's */
    char eval[PQ_HASH_TEXT];
    char (*latency)[PQ_HASH_TEXT]; /**< [config->latency.batch.n], or NULL */
} pq_cell;

/** A file that results depend on. */
typedef struct {
    char *path;
    char  stamp[PQ_HASH_TEXT]; /**< when it was hashed (sweep/stamp.h) */
} pq_input;

/** Inputs found, and the cells. Borrows the configuration. */
typedef struct {
    const pq_config *config;
    char            *dir;     /**< results folder */
    char            *weights; /**< path of the model */
    char            *arch;    /**< or NULL */
    char            *data;    /**< path of the dataset */
    char            *test;    /**< split */
    char *
        calib_data; /**< path of the calibration dataset, or NULL if no stage needs one */
    char           *calib; /**< split, or NULL */
    char            model_hash[PQ_HASH_TEXT];
    char            test_hash[PQ_HASH_TEXT];
    char            calib_hash[PQ_HASH_TEXT]; /**< "" if not needed */
    char           *train, *validation;       /**< splits, or NULL */
    char            train_hash[PQ_HASH_TEXT]; /**< "" if no stage trains */
    char            validation_hash[PQ_HASH_TEXT];
    struct timespec start; /**< of the plan, CLOCK_REALTIME */
    size_t          n_inputs;
    pq_input       *inputs; /**< [n_inputs] */
    size_t          n;
    pq_cell        *cells;     /**< [n] */
    size_t          reference; /**< index of the first cell without stages, or SIZE_MAX */
    pq_graph       *model; /**< the network before any stage: what `model_hash` is of */
    pq_head         head;  /**< what the model's outputs mean */
    size_t          width; /**< and how many they are */
    size_t          n_features;
    char          **features; /**< [n_features] the model's, or NULL */
    size_t          n_classes;
    char          **classes; /**< [n_classes] the model's, else the dataset's, or NULL */
    char           *evaluation; /**< what the keys of all evaluations end in */
    char            note[1024]; /**< what is assumed about the inputs, or "" */
} pq_cells;

/**
 * Finds the inputs, hashes them (remembered in `<dir>/hashes.json` by the
 * stamps of the files) and lists the cells. Writes nothing else.
 *
 * @param[in]  config  must outlive the result
 * @param[in]  dir     results folder, or NULL = the configuration's
 *
 * @retval PQ_ERR_NOT_FOUND  Model or dataset is not there (the hint says how to get it),
 * or a split is not.
 * @retval PQ_ERR_CONFIG     Calibration would see test events; latency without a
 * reference.
 * @retval others            As pq_model_load and pq_dataset_open.
 */
pq_status pq_cells_plan(const pq_config *config, const char *dir, pq_cells *out,
                        pq_err *err);
void      pq_cells_free(pq_cells *cells);

/**
 * Everything that pq_cells_plan refuses, from headers alone: reads no event, writes
 * nothing.
 *
 * @param[out] missing  why inputs could not be looked at, since they are not there (PQ_OK
 *                      then); code PQ_OK where they could
 */
pq_status pq_cells_check(const pq_config *config, pq_err *missing, pq_err *err);

/** Outputs and classes of the network, without events; borrows. Metrics that nobody named
 * are asked whether they have a value for them. */
pq_evaluation pq_cells_view(const pq_cells *cells);

/**
 * The configuration as it runs: pq_config_show for the model's outputs and classes, from
 * headers alone, which are read only where a recipe has added a metric.
 *
 * @param[in]  config   what is shown
 * @param[out] out      gets the text
 * @param[out] unknown  why the inputs could not be looked at, code PQ_OK where they were:
 *                      then metrics of recipes stand in the text
 */
void pq_cells_show(const pq_config *config, pq_text *out, pq_err *unknown);

/** Fails, with its name, when an input is no longer the file that was hashed: nothing may
 * then be written under keys made of the hash. @retval PQ_ERR_CONFIG  Replaced or
 * changed. */
pq_status pq_cells_unchanged(const pq_cells *cells, pq_err *err);

/** Opens a dataset as all cells see it: the model's features picked by name. */
pq_status pq_cells_dataset(const pq_cells *cells, const char *path, pq_dataset **out,
                           pq_err *err);

/** Fails when a dataset that was opened again reads a file that the plan has not seen. */
pq_status pq_cells_same_files(const pq_cells *cells, const pq_dataset *dataset,
                              pq_err *err);

/** Appends the texts behind a cell's keys: what `pquant explain` prints. */
void pq_cell_explain(const pq_cells *cells, const pq_cell *cell, pq_text *out);

/** Appends what stands in `<dir>/plan.json` (store/results.h). */
pq_status pq_cells_text(const pq_cells *cells, pq_text *out, pq_err *err);

/** Writes `<dir>/plan.json`, if it is another there. */
pq_status pq_plan_write(const char *dir, const pq_text *text, pq_err *err);

/** The same plan as JSON, of some cells: caller decrefs. NULL when out of memory.
 * @param[in] chosen  [cells->n] */
json_t *pq_cells_json(const pq_cells *cells, const bool *chosen);

#endif
