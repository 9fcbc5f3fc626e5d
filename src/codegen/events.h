/**
 * @file
 * Blocks of events: what NAME_runN computes together. Every step of a model appends
 * itself once for one event, and once for a block: dense layers go over their weights
 * once for several events, and everything else goes from event to event. The order of all
 * sums is that of one event, so that no result depends on how many there are. For
 * codegen/ only.
 *
 * Within a block EVENT(k) declares x, y and stack of event k.
 */
#ifndef PQ_CODEGEN_EVENTS_H
#define PQ_CODEGEN_EVENTS_H

#include "codegen/emit.h"

enum { PQ_EVENTS = 8 /**< of a block */ };

/** Directs what is appended to the body into the block, and back. */
void pq_events_turn(pq_emitter *e);

/** Appends what the body holds from byte `from` up to `to` to the block, event by event.
 */
void pq_events_each(pq_emitter *e, size_t from, size_t to);

/** Takes the block away where it does not pay: most multiplications of the model are not
 * in layers that go over their weights once, some are in tiles (AMX), or the values of
 * all events are too many. */
void pq_events_decide(pq_emitter *e);

/** Whether there is a block. */
static inline bool pq_events_has(const pq_emitter *e)
{
    return e->block.length > 0;
}

/** Appends EVENT(k), for a stack of a type, FRAME `of` of an event, and what `more`
 * declares of each. */
void pq_events_define(const pq_emitter *e, const char *type, const char *of,
                      const char *more, pq_text *out);

/** Appends the sum of two chains to that of the first, `to`. */
typedef void pq_events_join(void *context, size_t to, size_t from);

/** Joins of a tree of sums, pairs first, that chain `done` of `chains` makes possible:
 * calls `join` with both numbers of each. */
void pq_events_joins(size_t done, size_t chains, pq_events_join *join, void *context);

#endif
