/**
 * @file
 * Samples of models taken in a process of its own that is started anew, the program
 * itself with a word that no verb has: where its code, libraries, stack and heap lie is
 * drawn again, as it is from one run to the next. What it is to do and what it found go
 * through files without names, so that nothing is left behind however it ends; it ends
 * with the process that started it.
 */
#ifndef PQ_SWEEP_TIMING_PROCESS_H
#define PQ_SWEEP_TIMING_PROCESS_H

#include "metrics/latency.h"
#include "sweep/worker.h"

/** First argument of the program that makes it such a process. */
extern const char pq_timing_word[];

/** Model and engine. Borrowed. */
typedef struct {
    const char *path, *engine;
} pq_timed_model;

/** What is to be timed. Borrows. */
typedef struct {
    const char           *program; /**< path of an executable that knows the word */
    size_t                n;
    const pq_timed_model *models; /**< [n], the first is the reference */
    size_t                batch, threads;
    bool                  logits; /**< without a softmax at the end */
    size_t                n_inputs, item;
    const float          *events; /**< [n_inputs, batch, item] */
    pq_latency_options    how;
    uint64_t              seed; /**< of the order */
} pq_timing_job;

/**
 * Starts the process and waits for it.
 *
 * @param[out] out    caller frees with pq_takes_free
 * @param[out] state  how it ended; on failure what went wrong is the process's own
 *                    unless this is PQ_WORKER_IDLE
 * @retval PQ_ERR_IO  No process or file could be made.
 * @retval others     As the process says, or that it crashed.
 */
pq_status pq_timing_process_run(const pq_timing_job *job, pq_takes *out,
                                pq_worker_state *state, pq_err *err);

/**
 * The process: what the program does after the word.
 * @param[in] arguments  numbers of the two descriptors, of the job and of the answer
 * @return exit code
 */
int pq_timing_process_main(int n, char *const *arguments);

#endif
