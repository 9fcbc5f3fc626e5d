/* A sweep while it runs: run.c and the files it is made of. */
#ifndef PQ_SWEEP_RUN_INSIDE_H
#define PQ_SWEEP_RUN_INSIDE_H

#include "core/clock.h"
#include "store/claim.h"
#include "sweep/cell.h"
#include "sweep/run.h"
#include "sweep/worker.h"

typedef enum { LEFT_ALONE, CACHED, WAITING, AT_WORK, COMPUTED, FAILED } cell_state;

/* A worker and the cell it is at. */
typedef struct {
    pq_worker       worker;
    size_t          cell;
    pq_cell_options options;
    const pq_cells *cells;
    const json_t   *made; /* of the sweep */
} slot;

/* How the file of a record was. */
typedef struct {
    ino_t           inode; /* 0 = not there */
    struct timespec changed;
} seen_record;

typedef struct {
    const pq_cells         *cells;
    const pq_sweep_options *options;
    pq_text                 plan;   /* as it stands in plan.json */
    cell_state             *states; /* [cells->n] */
    bool                   *mine;   /* [cells->n] whether a cell is selected */
    seen_record            *seen;   /* [cells->n] of cells that wait, as it was before */
    pq_claims              *claims; /* while cells are computed or timed */
    bool                    draining;     /* starts no more cells */
    double                  look_again_s; /* when cells of others are looked at next */
    double                  patience_s;   /* and how long after that */
    size_t                  n_slots;
    slot                   *slots;
    size_t                  todo, ended;
    size_t                  first; /* no cell before it waits */
    json_t *made;    /* artifacts that cells of this run have saved: the stamps of their
                        models */
    pq_shelf *shelf; /* closed while cells are computed */
} sweep;

/** Fails once a signal has come, but for one that lets cells end. @retval
 * PQ_ERR_INTERRUPTED  What is done is kept. */
pq_status pq_sweep_check_signal(pq_err *err);

/** Whether cells at work shall end, and no more be started. */
bool pq_sweep_is_draining(void);

/** PQ_ERR_INTERRUPTED, with the signal. */
pq_status pq_sweep_interrupted(pq_err *err);

/** How the record of a cell is now. */
seen_record pq_sweep_look(const sweep *s, const pq_cell *cell);

/** Seconds after which workers are looked at, even if none has ended: for what they tell,
 * and their limits. */
#define PQ_SWEEP_LOOK_S 0.02

/** Opens the folder's records, if they are not. */
pq_status pq_sweep_open_shelf(sweep *s, pq_err *err);

/** Tidies the folder, whose disk may be full of what others left, and opens its claims,
 * if they are not. */
pq_status pq_sweep_open_claims(sweep *s, pq_err *err);

/** Removes what dead workers have left of the claims, once nothing waits. */
void pq_sweep_tidy_claims(sweep *s);

/** Claims a cell and what it will make on its way; false where another worker has any of
 * it. */
pq_status pq_sweep_claim(sweep *s, const pq_cell *cell, bool *taken, pq_err *err);

/** Gives them back; `done` clears away what dead workers left of them, too. */
void pq_sweep_unclaim(sweep *s, const pq_cell *cell, bool done);

/** Whether another worker has written the record of a cell that waits here. */
bool pq_sweep_ended_elsewhere(const sweep *s, const pq_cell *cell);

/** Computes all cells that wait, a process each. */
pq_status pq_sweep_compute(sweep *s, pq_err *err);

/** Measures the latency of what is due, beside nothing else. */
pq_status pq_sweep_time(sweep *s, pq_sweep_summary *summary, pq_err *err);

#endif
