/* A sweep while it runs: run.c and the files it is made of. */
#ifndef PQ_SWEEP_RUN_INSIDE_H
#define PQ_SWEEP_RUN_INSIDE_H

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

typedef struct {
    const pq_cells         *cells;
    const pq_sweep_options *options;
    pq_text                 plan;   /* as it stands in plan.json */
    cell_state             *states; /* [cells->n] */
    size_t                  n_slots;
    slot                   *slots;
    size_t                  todo, ended;
    size_t                  first; /* no cell before it waits */
    json_t *made;    /* artifacts that cells of this run have saved: the stamps of their
                        models */
    pq_shelf *shelf; /* closed while cells are computed */
} sweep;

/** Fails once a signal has come. @retval PQ_ERR_INTERRUPTED  What is done is kept. */
pq_status pq_sweep_check_signal(pq_err *err);

/** Seconds after which workers are looked at, even if none has ended: for what they tell,
 * and their limits. */
#define PQ_SWEEP_LOOK_S 0.02

/** Whether `only` names a cell. */
bool pq_sweep_selects(const sweep *s, const pq_cell *cell);

/** Opens the folder's records, if they are not. */
pq_status pq_sweep_open_shelf(sweep *s, pq_err *err);

/** Computes all cells that wait, a process each. */
pq_status pq_sweep_compute(sweep *s, pq_err *err);

/** Measures the latency of what is due, in one process beside nothing else. */
pq_status pq_sweep_time(sweep *s, pq_sweep_summary *summary, pq_err *err);

#endif
