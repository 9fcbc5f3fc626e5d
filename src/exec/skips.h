/**
 * @file
 * Products that leave out zeros: where all columns of a panel of weights are 0 for an
 * input, it is not multiplied. What is left is a list of runs for each panel, over the
 * same packed weights and by the same kernels, and gives the same bits, since 0 is added
 * nowhere; but for inputs that are not finite, which meet no 0 then.
 *
 * That pays for blocks of zeros as wide as a vector: `prune` with `block`.
 */
#ifndef PQ_EXEC_SKIPS_H
#define PQ_EXEC_SKIPS_H

#include "exec/regions.h"

/** Runs of each panel in each region; owns its arrays. {0}: nothing is left out. */
typedef struct {
    size_t      panel; /**< columns, 0: as without zeros */
    size_t     *first; /**< [products * regions + 1] where the runs of one begin */
    pq_segment *segments;
} pq_skips;

/**
 * Chooses the panel of least work, and whether leaving out zeros is any.
 *
 * @param[in]  g        not depthwise
 * @param[in]  kernels  of the instruction set
 * @param[in]  kernel   [outputs, sum], as float32
 * @param[in]  rows     rows of a product, as many as one region or batch has
 * @param[out] out      its panel, 0 where the zeros are too few
 * @param[out] err      details of a failure, or NULL
 * @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_skips_choose(const pq_geometry *g, const pq_kernels *kernels,
                          const float *kernel, size_t rows, pq_skips *out, pq_err *err);

/**
 * Lists the runs, once the panel is chosen.
 *
 * @param[in]     g        as above
 * @param[in]     kernel   as above
 * @param[in]     regions  placed for the panel
 * @param[in,out] skips    with a panel; caller frees with pq_skips_free, also on failure
 * @param[out]    err      details of a failure, or NULL
 * @retval PQ_ERR_NOMEM    Out of memory.
 */
pq_status pq_skips_place(const pq_geometry *g, const float *kernel,
                         const pq_regions *regions, pq_skips *skips, pq_err *err);
void      pq_skips_free(pq_skips *skips);

#endif
