/**
 * @file
 * What methods of compress run networks on: the calibration events, by float32 kernels,
 * and a clock, by graphs planned on an engine and timed alternately in one thread.
 */
#ifndef PQ_LAB_BENCH_H
#define PQ_LAB_BENCH_H

#include "lab/compress.h"

/**
 * A bench whose events are those of pq_calibrate, none without a dataset, and whose times
 * are medians of calls back to back on random inputs, a few milliseconds a graph.
 *
 * @param[in] options  borrowed by the bench
 * @retval PQ_ERR_CONFIG  The split is empty.
 */
pq_status pq_bench_of(pq_compress_options *options, pq_bench *out, pq_err *err);

/** What its times depend on, for keys: how it measures, host, processor, compiler. */
void pq_bench_describe(const char *engine, size_t batch, pq_text *out);

#endif
