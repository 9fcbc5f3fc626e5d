/**
 * @file
 * One layer quantized on its own, to measure what it costs.
 */
#ifndef PQ_COMPRESS_QUANTIZE_ALONE_H
#define PQ_COMPRESS_QUANTIZE_ALONE_H

#include "compress/method.h"

/** Largest width of a stage of `quantize`. */
int pq_quantize_bits(const pq_stage *stage);

/**
 * A copy of a graph in which the kernel of one layer has the grid that a stage of
 * `quantize` would give it with `bits`; all else stays float. A BatchNorm behind it is
 * folded, as the stage does.
 */
pq_status pq_quantize_alone(const pq_stage *stage, const pq_graph *graph,
                            const char *layer, int bits, pq_graph **out, pq_err *err);

#endif
