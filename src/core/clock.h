/**
 * @file
 * Clocks in seconds. Only differences mean anything, but for pq_clock_date.
 */
#ifndef PQ_CORE_CLOCK_H
#define PQ_CORE_CLOCK_H

#include <stddef.h>

/** Monotonic wall clock, s. */
double pq_clock_wall_s(void);

/** CPU time of the calling thread, s. */
double pq_clock_thread_s(void);

/** UTC date and time, "2026-01-31T12:34:56Z"; buffer of at least 32 bytes. */
char *pq_clock_date(char *buffer, size_t size);

#endif
