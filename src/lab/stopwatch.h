/**
 * @file
 * The clock that methods of compress decide by: graphs planned on an engine and timed
 * alternately, in one thread.
 */
#ifndef PQ_LAB_STOPWATCH_H
#define PQ_LAB_STOPWATCH_H

#include "compress/method.h"

/** How graphs are run. Borrowed by the stopwatch. */
typedef struct {
    const char *engine; /**< NULL = "float32" */
    size_t      batch;  /**< 0 = 1 */
    uint64_t    seed;   /**< of inputs and order */
} pq_stopwatch_options;

/** Stopwatch whose times are medians of calls back to back, random inputs, a few
 * milliseconds a graph. */
pq_stopwatch pq_stopwatch_of(pq_stopwatch_options *options);

/** What its times depend on, for keys: how it measures, host, processor, compiler. */
void pq_stopwatch_describe(const pq_stopwatch_options *options, pq_text *out);

#endif
