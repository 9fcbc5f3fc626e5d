/**
 * @file
 * Many events cut into slices of a class's scores. For auc_sliced.c, which ranks them,
 * and auc_cut.c, which cuts.
 */
#ifndef PQ_METRICS_AUC_SLICED_H
#define PQ_METRICS_AUC_SLICED_H

#include "metrics/auc.h"
#include "metrics/rank.h"

enum {
    PQ_SLICED_EVENTS =
        1 << 16, /* events that are sorted at a time: they stay in the cache */
    PQ_SLICED_LEAST_SLICES = 8,
    PQ_SLICED_MOST_SLICES  = 250,
    PQ_SLICED_CELL_BITS    = 11, /* cells that a key's slice is looked for in */
    PQ_SLICED_CELLS        = 1 << PQ_SLICED_CELL_BITS,
    PQ_SLICED_SAMPLES      = 64, /* to find where a slice ends */
    PQ_SLICED_BLOCK = 1 << 15,   /* events whose number in it leaves a bit of two bytes */
    PQ_SLICED_AHEAD = 24,        /* events to be fetched */
};

/* What an event is beside its number. */
#define PQ_SLICED_POSITIVE ((uint32_t)1 << 30)
#define PQ_SLICED_EVENT    (PQ_SLICED_POSITIVE - 1)

#define PQ_SLICED_OF_CLASS ((uint16_t)PQ_SLICED_BLOCK)

/* Scratch of a thread. */
typedef struct {
    uint8_t  *place;      /* [PQ_SLICED_BLOCK] slice of the event */
    uint64_t *block_keys; /* [PQ_SLICED_BLOCK] */
    size_t    room;
    uint64_t *keys, *list, *spare, *more; /* [room] */
    uint32_t *events;                     /* [room] */
} pq_slice_buffers;

/* Sums over events of w^2 v^0, v^1, v^2 and of w^4 v^0 to v^4. */
typedef struct {
    double second[3], fourth[5];
} pq_slice_moments;

/* Events whose scores of a class lie between those of its neighbours. */
typedef struct {
    size_t           n;
    double           below[2]; /* weight of all slices before it */
    double           won;      /* by its events of the class: sum of w times component */
    pq_slice_moments of[2];    /* sides */
} pq_slice;

typedef struct {
    const pq_evaluation *e;
    pq_weight_sum       *labelled; /* [classes] events of each label */
    double              *total;    /* [n] sum over classes of w f v */
    double              *missing;  /* [classes] sum over classes of f d, of each label */
    size_t               defined;  /* classes that are there */
    bool                 nothing_yet; /* of them is counted */
    pq_slice_buffers    *of;          /* [threads] */
    size_t               n_slices, n_blocks;
    pq_auc_sides         now;
    double               shift;
    pq_slice            *slices; /* [n_slices] */
    uint64_t            *cuts;   /* [n_slices - 1] least key of slices 1, 2, … */
    int                  cell_shift;
    uint8_t              before[PQ_SLICED_CELLS + 1]; /* cuts before each cell */
    uint16_t            *numbers; /* [n] events of each block, slice by slice */
    uint32_t            *leads;   /* [n] leading bits of their keys */
    uint32_t            *ends;    /* [n_blocks, n_slices] where they end in it */
    double              *weights; /* [n_blocks, n_slices, 2] of them, by side */
} pq_sliced;

static inline uint64_t pq_sliced_key(const pq_sliced *j, size_t event)
{
    return pq_rank_key(pq_evaluation_score(j->e, event, j->now.class_index));
}

static inline size_t pq_sliced_side(const pq_sliced *j, size_t event)
{
    return (size_t)j->e->labels[event] == j->now.class_index ? 1 : 0;
}

/** Least key that a slice may hold, and how many low bits of what is above it do not fit
 * into 32. */
uint64_t pq_sliced_start(const pq_sliced *j, size_t s, int *shift);

/** Cuts a class into slices, and says what lies below each. @retval PQ_ERR_NOMEM  Out of
 * memory. */
pq_status pq_sliced_cut(pq_sliced *j, pq_err *err);

#endif
