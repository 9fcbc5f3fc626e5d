/**
 * @file
 * Whether other processes of this host are still there.
 */
#ifndef PQ_CORE_PROCESS_H
#define PQ_CORE_PROCESS_H

#include <stdbool.h>

/** When a process was started, in ticks of its host; 0 where that is not known. */
unsigned long long pq_process_start(long pid);

/**
 * Whether there is no such process, one that has ended and was not waited for, or one
 * that was started at another time.
 * @param[in] pid    above 0
 * @param[in] start  0 = not known
 */
bool pq_process_gone(long pid, unsigned long long start);

#endif
