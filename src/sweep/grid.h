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

/** An entry of `exclude:`: which values of each axis it is about. */
typedef struct {
    bool **values; /**< [n_axes][values of the axis], NULL for an axis it does not name */
    bool   met;    /**< some case is like this */
} pq_exclusion;

/** Owns the axes; {0} has one case. */
typedef struct {
    size_t         n_axes;
    size_t         n_swept; /**< the first axes are crossed, the others zipped */
    pq_axis       *axes;
    const pq_yaml *pipeline;   /**< the map that the axes are in, or NULL; borrowed */
    const pq_yaml *exclude;    /**< list of maps, or NULL; borrowed */
    pq_exclusion  *exclusions; /**< [exclude->n], or NULL before pq_exclusions_open */
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

/** Which value of each axis case i has, last axis fastest. @param[out] rows  [n_axes] */
void pq_grid_rows(const pq_grid *grid, size_t i, size_t *rows);

/** The values themselves. @param[out] values  [n_axes] */
void pq_grid_values(const pq_grid *grid, const size_t *rows, pq_substitute *values);

/**
 * Numbers cases by some axes alone: sum of rows[a] * strides[a].
 * @param[in]  uses     [n_axes] the axes that count
 * @param[out] strides  [n_axes], 0 for the others
 * @return how many numbers there are, at most pq_grid_count
 */
size_t pq_grid_strides(const pq_grid *grid, const bool *uses, size_t *strides);

/** Notes what in `exclude:` is no map of the axes. */
void pq_exclusions_check(pq_problems *p, const pq_grid *grid);
void pq_exclusions_free(pq_grid *grid);

/** Notes entries that excluded no case. */
void pq_exclusions_check_met(pq_problems *p, const pq_grid *grid);

/** Compares the entries of `exclude:` with the values of all axes, once.
 * @retval PQ_ERR_NOMEM  Out of memory. */
pq_status pq_exclusions_open(pq_grid *grid, pq_err *err);

/** Whether `exclude:` names this case; after pq_exclusions_open. */
bool pq_exclusions_match(pq_grid *grid, const size_t *rows);

/** Notes undefined `$names` in a tree and marks those that are axes as used. */
void pq_grid_check_names(pq_problems *p, pq_grid *grid, const pq_yaml *tree);

/** Notes axes that no stage names and exclusions that exclude nothing. */
void pq_grid_check_unused(pq_problems *p, const pq_grid *grid);

#endif
