/**
 * @file
 * The axes of one pipeline: `sweep:` (crossed), `zip:` (side by side), `exclude:`.
 */
#ifndef PQ_SWEEP_GRID_H
#define PQ_SWEEP_GRID_H

#include "sweep/pipeline.h"

/** One axis; owns the list of values. */
typedef struct {
    const pq_yaml *key;    /**< where it is named */
    pq_yaml       *values; /**< a list, never empty */
    bool           used;   /**< some stage names it */
} pq_axis;

/** Owns the axes; {0} has one case. */
typedef struct {
    size_t         n_axes;
    size_t         n_swept; /**< the first axes are crossed, the others zipped */
    pq_axis       *axes;
    const pq_yaml *pipeline;      /**< the map that the axes are in, or NULL; borrowed */
    const pq_yaml *exclude;       /**< list of maps, or NULL; borrowed */
    bool          *excluded_some; /**< [exclude->n] whether an entry has matched a case */
} pq_grid;

/**
 * Reads the axes of a pipeline's map.
 * @retval PQ_ERR_NOMEM  Out of memory; anything else wrong is a problem.
 */
pq_status pq_grid_read(pq_problems *p, const pq_yaml *pipeline, pq_grid *out,
                       pq_err *err);
void      pq_grid_free(pq_grid *grid);

/** Cases before exclusion; 0 when there are more than PQ_CASES_MAX. */
size_t pq_grid_count(const pq_grid *grid);

/** Values of case i, last axis fastest. @param[out] values  [n_axes] */
void pq_grid_case(const pq_grid *grid, size_t i, pq_substitute *values);

/** Whether `exclude:` names this case. */
bool pq_grid_excludes(pq_grid *grid, const pq_substitute *values);

/** Notes undefined `$names` in a tree and marks those that are axes as used. */
void pq_grid_check_names(pq_problems *p, pq_grid *grid, const pq_yaml *tree);

/** Notes axes that no stage names and exclusions that exclude nothing. */
void pq_grid_check_unused(pq_problems *p, const pq_grid *grid);

#endif
