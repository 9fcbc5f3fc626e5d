/**
 * @file
 * Brings results folders together, and builds what is made from records.
 */
#ifndef PQ_SWEEP_MERGE_H
#define PQ_SWEEP_MERGE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/text.h"
#include "store/results.h"

/**
 * Rebuilds `<dir>/table.csv`, `<dir>/results.sqlite` and the index of the records from
 * plan and records, each of which is parsed once at most.
 *
 * @param[in]  shelf    of the folder, or NULL = opened here
 * @param[in]  made     the files are of these records (sweep/made.h): only the results
 * are read
 * @param[out] results  pq_results_read's answer, caller decrefs; may be NULL
 * @param[out] count    may be NULL
 * @retval PQ_ERR_NOT_FOUND  No plan in the folder.
 */
pq_status pq_sweep_collect(const char *dir, pq_shelf *shelf, bool made, json_t **results,
                           pq_results_count *count, pq_err *err);

/** Removes what processes of this host left half written in a folder when they died. */
void pq_sweep_tidy(const char *dir);

/** How folders are brought together; {0} is the usual. */
typedef struct {
    bool      force; /**< folders of different plans, too */
    pq_shelf *shelf; /**< of the folder that all go to, whose lock is held: is given the
                        records that are copied; borrowed, or NULL */
} pq_join_options;

/** What bringing folders together did. Free with pq_merged_free. */
typedef struct {
    size_t  copied;      /**< records */
    size_t  duplicates;  /**< records of a key that another of the folders has, too */
    size_t  damaged;     /**< record files that could not be read: left out */
    pq_text damage;      /**< a line for each: the file, and what is wrong with it */
    size_t  n_conflicts; /**< records with other values than another of the same key */
    pq_text conflicts;   /**< a line for each */
} pq_merged;

/**
 * Copies the records (and models, arrays) of other folders that `dir` lacks. Of several
 * records of one key one is kept: with numbers before failed, quiet timings before noisy
 * ones, then by date; so neither the order of the folders nor merging again matters.
 *
 * Files get their names in batches of thousands, each on disk before; killed in between,
 * the same command goes on.
 *
 * @param[in]  from     [n] folders of the same plan
 * @param[in]  options  NULL = {0}
 * @param[out] merged  also on failure, with the conflicts
 * @retval PQ_ERR_NUMERIC  Two folders give different values for the same eval key: a
 *                         determinism bug, or mixed versions; nothing was changed.
 * @retval PQ_ERR_CONFIG   Folders of different plans; nothing was changed.
 *
 * Cost: memory for the names of the records, and a few records; with a shelf for what of
 * them tables are made of.
 */
pq_status pq_sweep_join(const char *dir, size_t n, const char *const *from,
                        const pq_join_options *options, pq_merged *merged, pq_err *err);
void      pq_merged_free(pq_merged *merged);

#endif
