/**
 * @file
 * A list of stages applied one after the other, each calibrated on what the
 * stages before it left.
 */
#ifndef PQ_LAB_COMPRESS_H
#define PQ_LAB_COMPRESS_H

#include "compress/method.h"
#include "data/dataset.h"

/** What stages may draw on; fields may be NULL or 0. Borrowed. */
typedef struct {
    pq_dataset        *dataset;      /**< calibration events; needed by some stages */
    size_t             calib_split;  /**< never the one results are quoted on */
    size_t             calib_events; /**< 0 = 1000 */
    pq_cache          *cache;
    const pq_training *training; /**< events for stages that train, or NULL */
    const char *engine; /**< measured times are of this engine, NULL = "float32", … */
    size_t      batch;  /**< … and this batch size, 0 = 1 */
    uint64_t    seed;
    const pq_progress *progress;
} pq_compress_options;

/**
 * Applies one stage to a copy of a graph, calibrating first where the stage asks for it.
 *
 * @param[out] changes  [*n_changes], caller frees with pq_free
 * @retval PQ_ERR_CONFIG  The stage needs calibration events and there is no dataset.
 * @retval others         As pq_calibrate and pq_stage_apply.
 */
pq_status pq_compress_stage(const pq_stage *stage, const pq_graph *graph,
                            const pq_compress_options *options, pq_graph **out,
                            pq_layer_change **changes, size_t *n_changes, pq_err *err);

/** Told of each stage that is done. */
typedef void (*pq_stage_done)(void *context, const pq_stage *stage,
                              const pq_layer_change *changes, size_t n_changes);

/**
 * Applies stages written as on the command line ("svd:rank=8", "quantize"), in order.
 *
 * @param[in] methods  [n], n >= 1
 * @param[in] done     called after each stage, or NULL
 * @retval PQ_ERR_CONFIG  Unknown method or parameter, and as pq_compress_stage.
 */
pq_status pq_compress_methods(const char *const *methods, size_t n, const pq_graph *graph,
                              const pq_compress_options *options, pq_stage_done done,
                              void *context, pq_graph **out, pq_err *err);

#endif
