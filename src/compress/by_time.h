/**
 * @file
 * What the low-rank methods decide by measured time: how a factored layer runs, and what
 * ranks cost. Methods cannot run networks, so the clock comes from outside
 * (pq_bench); a layer is timed alone, behind an input of its own. For compress only.
 */
#ifndef PQ_COMPRESS_BY_TIME_H
#define PQ_COMPRESS_BY_TIME_H

#include "compress/lowrank.h"

/**
 * Applies a method to one layer factorised and reconstructed, times both and the layer as
 * it is alternately, keeps the faster one, and notes the three times in its change.
 *
 * @param[in] rank  as for steps->apply
 */
pq_status pq_apply_faster(pq_compress_task *task, const pq_rank_params *p,
                          const pq_lowrank_steps *steps, const char *name, size_t rank,
                          pq_err *err);

/**
 * Turns the costs of a layer's options from values into microseconds: some options and
 * the layer as it is are timed alternately, the others lie on lines between them.
 * Options that are no faster than one of less loss, or than the layer, are left out.
 *
 * @param[in,out] share  options in values; its limit becomes the layer's time unless it
 *                       is infinite
 * @param[out]    dense  the layer's time, in microseconds
 */
pq_status pq_share_time(const pq_compress_task *task, const pq_rank_params *p,
                        const pq_lowrank_steps *steps, const char *name, pq_share *share,
                        double *dense, pq_err *err);

#endif
