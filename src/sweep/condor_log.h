/**
 * @file
 * The user log of HTCondor (`log` of a submit file): what has become of each job. Other
 * lines than those of known events are passed over.
 *
 * Source: HTCondor manual, "Job Event Log Codes".
 */
#ifndef PQ_SWEEP_CONDOR_LOG_H
#define PQ_SWEEP_CONDOR_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/text.h"

/** How a job stands. */
typedef enum {
    PQ_CONDOR_IDLE,
    PQ_CONDOR_RUNNING,
    PQ_CONDOR_HELD,
    PQ_CONDOR_ENDED,
    PQ_CONDOR_REMOVED,
    PQ_CONDOR_STATES
} pq_condor_state;

/** One job. */
typedef struct {
    long            cluster, process;
    long            shard; /**< that its note names ("shard=7"), else the process */
    pq_condor_state state;
    long            exit_code;   /**< of one that has ended; -1 by a signal */
    long            hold_code;   /**< of one that is held: 26 and 34 are for memory */
    long            asked_mb;    /**< memory that its note names, or 0 */
    long            used_mb;     /**< most memory that events tell, or 0 */
    char            reason[160]; /**< why it is held */
} pq_condor_job;

/** In the order of their submission; owns. */
typedef struct {
    size_t         n;
    pq_condor_job *jobs;
} pq_condor_log;

/**
 * Reads a log.
 * @param[out] out  caller frees with pq_condor_log_free
 * @retval PQ_ERR_NOT_FOUND  No such file.
 * @retval PQ_ERR_FORMAT     No event stands in it, or it names more than 100,000 jobs.
 */
pq_status pq_condor_log_read(const char *path, pq_condor_log *out, pq_err *err);
void      pq_condor_log_free(pq_condor_log *log);

/** Whether a job is held since it took more memory than it had asked for. */
bool pq_condor_for_memory(const pq_condor_job *job);

/** One job to be submitted anew. */
typedef struct {
    long shard, memory_mb;
} pq_condor_again;

/**
 * Appends the submit file of the sweep anew, for some shards alone, each with its memory.
 * @param[in] submit  text of sweep.sub, as pq_jobs_engines wrote it
 * @retval PQ_ERR_FORMAT  It has no line of the memory, the arguments or the queue.
 */
pq_status pq_condor_resubmit(const char *submit, const pq_condor_again *jobs, size_t n,
                             pq_text *out, pq_err *err);

#endif
