/* A batch size while it is timed: timing.c, and what is recorded of it. */
#ifndef PQ_SWEEP_TIMING_INSIDE_H
#define PQ_SWEEP_TIMING_INSIDE_H

#include "core/text.h"
#include "lab/caller.h"
#include "sweep/cell.h"
#include "sweep/engines.h"
#include "sweep/timing.h"
#include "sweep/worker.h"

/* A model ready to be timed; owns the caller. */
typedef struct {
    const pq_cell *cell;
    const char    *engine;
    double         race_s[PQ_FAST_ENGINES]; /* of the engines it was chosen from */
    pq_caller      caller; /* closed where other processes take the samples */
    char          *path;   /* owned, of its model */
    pq_text        kernels;
    size_t         code_bytes;
} pq_runner;

/* One batch size: all models that are timed together. */
typedef struct {
    const pq_timing_task *task;
    size_t                size; /* index of the batch size */
    size_t                batch;
    float                *events; /* [n_inputs * batch, item], of the test split */
    size_t                n_inputs, item;
    size_t                n;
    pq_runner            *runners; /* [n]; the first is the reference */
    pq_timing            *results;
    size_t                n_takes; /* processes */
    pq_takes             *takes;   /* [n_takes] */
} pq_timing_session;

/** Threads of a call. */
size_t pq_timing_threads(const pq_timing_session *s);

/** Whether a cell is to be timed at this batch size. */
bool pq_timing_is_due(const pq_timing_session *s, size_t cell);

/** Writes the record of a runner. */
pq_status pq_timing_write(const pq_timing_session *s, size_t i, pq_err *err);

/** Writes why nothing of this session is known, in place of its cells' times. */
pq_status pq_timing_write_loss(const pq_timing_session *s, pq_worker_state state,
                               const pq_err *why, double seconds, pq_err *err);

#endif
