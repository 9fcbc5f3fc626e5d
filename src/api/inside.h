/**
 * @file
 * What the files of the library's front share; nobody else includes it.
 */
#ifndef PQ_API_INSIDE_H
#define PQ_API_INSIDE_H

#include "pquant.h"

#include <jansson.h>
#include <signal.h>

#include "core/progress.h"
#include "data/dataset.h"
#include "graph/graph.h"
#include "metrics/metric.h"

struct pquant_model {
    pq_graph *graph;
};

struct pquant_data {
    pq_dataset *dataset;
    size_t      split;
};

/** Starts a call: errors of earlier calls are forgotten. */
pq_err *pq_api_begin(void);

/** Wraps a graph; takes it. NULL on failure. */
pquant_model *pq_api_wrap(pq_graph *graph, pq_err *err);

/** View of numbers for users; takes them on success. NULL on failure. */
pquant_metrics *pq_api_view(pq_values *values, pq_err *err);

/** Text of JSON for users, who free it; NULL on failure. */
char *pq_api_text(const json_t *json, pq_err *err);

/** The options of a call, with what they did not say. */
pquant_options pq_api_options(const pquant_options *options);

/** Whether the options lie in their ranges. */
pq_status pq_api_check(const pquant_options *options, pq_err *err);

/** Progress of a call that can be cancelled; borrowed by `progress`. */
typedef struct {
    const pquant_options *options;
    double                told_s; /**< when the user was told last */
    volatile sig_atomic_t stop;   /**< where the user gave no flag */
    pq_progress           progress;
} pq_api_watch;

/** Starts one. `watch` must stay where it is during the call. */
void pq_api_watch_start(pq_api_watch *watch, const pquant_options *options);

/** Items of an array as float32, row-major. @retval PQ_ERR_UNSUPPORTED  Unknown type. */
pq_status pq_api_gather(const pquant_array *a, size_t first, size_t n, float *out,
                        pq_err *err);

/** Items first .. first + n - 1 along the first axis, as double. */
pq_status pq_api_gather_double(const pquant_array *a, size_t first, size_t n, double *out,
                               pq_err *err);

/** Items of one index of the first axis. */
size_t pq_api_row(const pquant_array *a);

/** Whether it is float32, row-major, without gaps. */
bool pq_api_is_plain(const pquant_array *a);

#endif
