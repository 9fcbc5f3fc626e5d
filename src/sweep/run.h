/**
 * @file
 * Runs what a plan still lacks: every missing cell in a process of its own,
 * then the latency of all of them together, beside nothing else.
 *
 * A failed, crashed, too large or too slow cell is one record with its reason;
 * the rest goes on. Whatever is done is on disk, so that a run may be stopped
 * in any way at any time, and the next one computes only what is missing. The
 * results do not depend on `jobs`, nor on how many runs, on whatever hosts, are at work
 * in one folder: they share the cells (store/claim.h), and each that was not told to do
 * a part alone waits for the rest.
 */
#ifndef PQ_SWEEP_RUN_H
#define PQ_SWEEP_RUN_H

#include "core/progress.h"
#include "store/results.h"
#include "sweep/plan.h"
#include "sweep/select.h"

/** Which parts are run. */
enum {
    PQ_PHASE_EVAL    = 1 << 0, /**< compress and evaluate */
    PQ_PHASE_LATENCY = 1 << 1,
    PQ_PHASE_ALL     = PQ_PHASE_EVAL | PQ_PHASE_LATENCY,
};

typedef struct pq_sweep_summary pq_sweep_summary;

/** {0} is one cell at a time, all phases, the configuration's folder. */
typedef struct {
    size_t      jobs;    /**< cells at once; 0 = 1 */
    unsigned    phases;  /**< PQ_PHASE_*; 0 = all */
    bool        force;   /**< computes cells that are done, too */
    const char *dir;     /**< results folder, or NULL = the configuration's */
    const char *only;    /**< pq_cells_select: the others are left alone; or NULL */
    pq_shard    shard;   /**< does this part alone, makes no tables, times nothing */
    bool        collect; /**< computes nothing: tables of what is there */
    const char *program; /**< pq_timing_process_main by pq_timing_word: is
                            started where latency.processes is above 1; or NULL */
    const pq_progress *progress; /**< "cells", then "latency" */
    /** Called at the end of a run that was not interrupted, or NULL, with the results
     * (pq_results_read): they, and what it reads in the folder, are of this run, whatever
     * others do there at the same time. */
    pq_status (*finish)(void *context, const pq_sweep_summary *summary,
                        const json_t *results, const pq_results_count *count,
                        pq_err *err);
    void *context;
} pq_sweep_options;

/** Owns dir and table. */
struct pq_sweep_summary {
    char  *dir;
    char  *table;      /**< path of table.csv; NULL for a shard */
    char   note[1024]; /**< what is assumed about the inputs, or "" */
    size_t cells;      /**< of the plan */
    size_t selected;   /**< by `only` and `shard` */
    size_t cached;     /**< done before */
    size_t computed;   /**< done now */
    size_t failed;     /**< of those selected */
    size_t missing;    /**< not done and not selected, or interrupted */
    size_t timed;      /**< latency records made now */
    size_t untimed;    /**< of those due, that have a reason in place of numbers */
    size_t noisy;      /**< of them noisy */
    bool   made;       /**< tables, plots and page are of these records already, and
                          untouched: `finish` need not make them again */
    char   made_of[PQ_HASH_TEXT]; /**< what they are made of, for pq_made_note */
    int    signal;                /**< that ended the run, or 0 */
    double seconds;
};

/**
 * Plans, runs, and builds `table.csv` and `results.sqlite` in the results folder.
 * SIGINT and SIGTERM are caught meanwhile: cells at work are stopped; SIGUSR1 lets them
 * end and starts no more. A second one ends the process. Any number of runs may be at
 * work in one folder: plan and tables are made under its lock (store/lock.h), and in the
 * end are those of the run that ended last.
 *
 * @retval PQ_OK               Also when cells failed: see the summary.
 * @retval PQ_ERR_INTERRUPTED  By a signal; resumable; the summary is filled.
 * @retval PQ_ERR_IO           The results folder cannot be written.
 * @retval PQ_ERR_UNSUPPORTED  Several processes shall measure, and there is no program.
 * @retval others              As pq_cells_plan.
 */
pq_status pq_sweep_run(const pq_config *config, const pq_sweep_options *options,
                       pq_sweep_summary *summary, pq_err *err);
void      pq_sweep_summary_free(pq_sweep_summary *summary);

#endif
