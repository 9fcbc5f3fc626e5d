/**
 * @file
 * From values as a dataset hands them out to values in a model's own scale.
 *
 * A dataset gives (x - m) / s with its own scaler, or x; a model that carries a
 * scaler wants (x - M) / S: value' = value * s / S + (m - M) / S, by feature, in
 * double, since both scalers may be far from 1. The same leads from one model's
 * scale to another's.
 */
#ifndef PQ_EXEC_RESCALE_H
#define PQ_EXEC_RESCALE_H

#include "core/text.h"
#include "data/dataset.h"
#include "graph/graph.h"

/** Owns its arrays; {0} changes nothing. */
typedef struct {
    size_t  n;      /**< features; 0 = nothing to do */
    size_t  kept;   /**< of them that are taken, 1 .. n; the others leave */
    size_t *swap;   /**< [kept] feature i changes places with swap[i] >= i, one after the
                       other, before all else; NULL = they stand right */
    double *factor; /**< [kept], or NULL: the scale is right */
    double *summand;
    bool    padded;      /**< the last feature is a mask and stays; padding stays 0 */
    bool    as_they_are; /**< the model has no scaler: the file's values, unscaled */
} pq_rescale;

/**
 * Features are matched by name where model and file name theirs, and put into the
 * model's order; the file may have more than the model takes. Who scales what: the model
 * does. Its scaler is applied to the events' raw values; a model without one gets them as
 * they are in the file. The scale has nothing to do where both have the same scaler, or
 * the file's values are standardized by a scaler it does not tell.
 *
 * @param[out] out  caller frees with pq_rescale_free
 * @retval PQ_ERR_CONFIG   The file lacks a feature of the model, with its name.
 * @retval PQ_ERR_SHAPE    The model's scaler has another number of features.
 * @retval PQ_ERR_NUMERIC  It has a deviation of 0.
 */
pq_status pq_rescale_make(const pq_graph *graph, const pq_dataset_info *info,
                          pq_rescale *out, pq_err *err);

/**
 * Where each feature that is wanted stands among those at hand: `want` in the order of
 * `have`.
 *
 * @param[in]  have    [n]
 * @param[in]  n       of what is at hand
 * @param[in]  want    [wanted]
 * @param[in]  wanted  at most n
 * @param[in]  whose   what has `have`, for messages: a path
 * @param[out] order   [wanted], caller frees with pq_free; NULL where nothing is to move
 * @param[out] err     details of a failure, or NULL
 * @retval PQ_ERR_CONFIG  A name that is wanted is not there, or one is there twice.
 */
pq_status pq_features_order(const char *const *have, size_t n, const char *const *want,
                            size_t wanted, const char *whose, size_t **order,
                            pq_err *err);

/** A scale (x - mean) / std by feature; NULLs are the values themselves. Borrows. */
typedef struct {
    const float  *mean, *std; /**< [features], both or none */
    const size_t *order;      /**< [kept] of what is scaled from: where the features of
                                 the other stand, or NULL = alike */
} pq_scale;

/**
 * From one scale to another; nothing to do where they are the same.
 * @param[in]  n       features there are
 * @param[in]  kept    of them that are taken, 1 .. n
 * @param[in]  padded  as in pq_dataset_info
 * @param[in]  from    [n] scale and order of what there is
 * @param[in]  to      [kept] scale of what is taken
 * @param[out] out  caller frees with pq_rescale_free
 * @param[out] err  details of a failure, or NULL
 * @retval PQ_ERR_NUMERIC  `to` has a deviation of 0.
 */
pq_status pq_rescale_between(size_t n, size_t kept, bool padded, pq_scale from,
                             pq_scale to, pq_rescale *out, pq_err *err);

/** Values of an event as the model takes it, of `count` that the file has. */
size_t pq_rescale_values(const pq_rescale *r, size_t count);

/** Where a model without a scaler gets one: nowhere, or from the dataset. */
typedef enum { PQ_SCALER_NONE, PQ_SCALER_DATASET } pq_scaler_choice;

/** Names of pq_scaler_choice, NULL-terminated. */
extern const char *const pq_scaler_names[];

/** Reads events in the scale that `r` leads to; as pq_dataset_read. They are as long as
 * pq_rescale_values says, one behind the other, but need room for the file's own. */
pq_status pq_rescale_read(const pq_rescale *r, pq_dataset *dataset, size_t split,
                          size_t first, size_t n, const pq_batch *batch, pq_err *err);

/**
 * Makes a dataset's scaler the model's own; a model that has one keeps it.
 * @retval PQ_ERR_CONFIG  The dataset has none.
 */
pq_status pq_scaler_take(pq_graph *graph, const pq_dataset_info *info, pq_err *err);

/** Whether a model without a scaler gets raw events though their file has one. */
bool pq_scaler_is_left(const pq_graph *graph, const pq_dataset_info *info);

/** Appends one sentence on what a model does with its inputs, for reports. */
void pq_scaler_describe(const pq_graph *graph, pq_text *out);

/**
 * Appends why scaled inputs look wrong for a model's own scaler: their mean is not near
 * 0, or their deviation not near 1, as of images in 0..1 for a model that scales 0..255.
 * Nothing where they look right.
 */
void pq_scaler_doubt(const pq_graph *graph, double mean, double deviation, pq_text *out);

/** Rescales n values, whole events, in place; what is kept of them comes first. */
void pq_rescale_apply(const pq_rescale *r, size_t n, float *x);

void pq_rescale_free(pq_rescale *r);

#endif
