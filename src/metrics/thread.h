/**
 * @file
 * What is changed of the calling thread while it measures: one core, and denormals that
 * count as zeros. For metrics only; includers define _GNU_SOURCE.
 */
#ifndef PQ_METRICS_THREAD_H
#define PQ_METRICS_THREAD_H

#include <sched.h>
#include <stdbool.h>

/** As it was before. */
typedef struct {
    cpu_set_t cores;
    bool      pinned; /**< it is now, to the core it ran on */
    unsigned  mxcsr;
} pq_thread_state;

/** @param[in] pin  whether to stay on one core */
pq_thread_state pq_thread_enter(bool pin);

/** Makes the thread what it was. */
void pq_thread_leave(const pq_thread_state *before);

#endif
