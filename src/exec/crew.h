/**
 * @file
 * One model on a few threads that stay: for small work that is run again and
 * again, where starting threads would take longer than the work. Threads wait
 * for the next run awake for some microseconds, then asleep.
 */
#ifndef PQ_EXEC_CREW_H
#define PQ_EXEC_CREW_H

#include "exec/plan.h"

typedef struct pq_crew pq_crew;

/**
 * Plans the graph and starts threads - 1 threads; the caller's is the first.
 *
 * @param[in]  threads  >= 1
 * @param[out] out      Freed with pq_crew_free.
 *
 * @retval PQ_ERR_RANGE  No threads.
 * @retval PQ_ERR_NOMEM  The system starts no further thread.
 * @retval others        As pq_plan_create.
 */
pq_status pq_crew_create(const pq_graph *graph, const pq_plan_options *options,
                         size_t threads, pq_crew **out, pq_err *err);
void      pq_crew_free(pq_crew **crew);

/**
 * As pq_plan_run, the samples in equal shares on all threads, or where they are fewer
 * than those, all threads on each large layer: the same values as one plan gives. From
 * one thread at a time.
 */
pq_status pq_crew_run(pq_crew *crew, size_t n, const float *const *in, float *out,
                      pq_err *err);

/** The first thread's plan, for its shapes and sizes. */
const pq_plan *pq_crew_plan(const pq_crew *crew);

#endif
