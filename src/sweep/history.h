/**
 * @file
 * Numbers of many nights: every value of every cell as a series in time, made of
 * snapshots (sweep/snapshot.h), and the steps in it (metrics/steps.h). Times are their
 * medians over the reference's of the same night.
 */
#ifndef PQ_SWEEP_HISTORY_H
#define PQ_SWEEP_HISTORY_H

#include <stdbool.h>

#include "core/text.h"
#include "metrics/steps.h"

/** One value of one cell. Owns its texts and arrays. */
typedef struct {
    char   *cell;   /**< label, and the repeat where there are several */
    char   *metric; /**< "accuracy", "latency.b1.ratio" */
    int     better; /**< 1 higher, -1 lower, 0 none */
    bool    timed;
    double *value; /**< [nights], NAN where a night has none */
    bool   *noisy; /**< [nights] the stopwatch called it so: kept, and counted as any */
} pq_series;

/** A change of level. */
typedef struct {
    size_t series;
    size_t night; /**< the first of the new level */
    double before, after;
} pq_history_step;

/** Owns everything; free with pq_history_free. */
typedef struct {
    size_t           nights;
    char           **made;    /**< [nights] dates, ascending */
    char           **program; /**< [nights] version of pquant */
    char            *name;
    size_t           n;
    pq_series       *series; /**< [n] in the order of the last night's cells */
    size_t           n_steps;
    pq_history_step *steps; /**< [n_steps] by series, then night */
} pq_history;

/**
 * Reads snapshots, folders of results, or folders of snapshots (*.json).
 *
 * A step counts when it changes the level by more than three times the noise on either
 * side, and where it is of times, by more than 5 %.
 *
 * @param[in] paths    [n]
 * @param[in] cells    glob over labels, or NULL
 * @param[in] metrics  glob over values, or NULL
 * @retval PQ_ERR_CONFIG  Of different experiments; more than PQ_STEP_VALUES_MAX.
 */
pq_status pq_history_read(size_t n, const char *const *paths, const char *cells,
                          const char *metrics, pq_history *out, pq_err *err);
void      pq_history_free(pq_history *history);

/** Appends a row a night: time (ISO 8601), version, and a column a series. */
void pq_history_csv(const pq_history *history, pq_text *out);

/** Appends a configuration of Apache Otava that reads that file. */
void pq_history_otava(const pq_history *history, const char *csv, pq_text *out);

#endif
