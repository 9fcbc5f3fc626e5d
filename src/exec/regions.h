/**
 * @file
 * Outputs of a convolution grouped by the part of the kernel that meets the image there,
 * so that padding is neither stored nor multiplied: for 3 x 3 cells the inside, four
 * edges and four corners.
 */
#ifndef PQ_EXEC_REGIONS_H
#define PQ_EXEC_REGIONS_H

#include "exec/geometry.h"
#include "kernels/kernels.h"

/** A rectangle of outputs. */
typedef struct {
    size_t            y, x, ny, nx;
    size_t            at; /**< what its first output reads first, items from the image */
    size_t            n_segments;
    const pq_segment *segments; /**< `a` from there */
} pq_region;

/** Owns its arrays. {0} is none. */
typedef struct {
    bool        framed; /**< the image is read in its frame: one region */
    size_t      n;
    pq_region  *region; /**< [n] */
    pq_segment *segments;
    size_t      row_step, line_step; /**< from an output to the next, items read */
} pq_regions;

/**
 * Regions of a dense layer or a convolution that is not depthwise; in the frame where the
 * kernel is large or the image small.
 *
 * @param[in]  panel  columns of a panel of weights, which the segments' `b` count
 * @param[out] out    caller frees with pq_regions_free, also on failure
 */
pq_status pq_regions_place(const pq_geometry *g, size_t panel, pq_regions *out,
                           pq_err *err);
void      pq_regions_free(pq_regions *r);

#endif
