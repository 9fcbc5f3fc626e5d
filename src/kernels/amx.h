/**
 * @file
 * Whether tiles (AMX) can be used: the processor has them, and the system gives a process
 * their registers when it asks.
 */
#ifndef PQ_KERNELS_AMX_H
#define PQ_KERNELS_AMX_H

#include <stdbool.h>
#include <stddef.h>

/** Products that tiles can do. */
typedef enum { PQ_AMX_BF16 = 22, PQ_AMX_INT8 = 25 } pq_amx_kind;

/** Whether they may be used, after asking the system for them. */
bool pq_amx_may(pq_amx_kind kind);

enum { PQ_AMX_DEPTH = 16 /**< quads of bytes of a row that one product takes */ };

/** Whether a run of `bytes` is made of equal steps of whole quads, at most a tile's: then
 * no tile reads beyond it. */
static inline bool pq_amx_fits(size_t bytes)
{
    const size_t quads = bytes / 4, steps = (quads + PQ_AMX_DEPTH - 1) / PQ_AMX_DEPTH;

    return bytes % 4 == 0 && quads > 0 && quads % steps == 0;
}

#endif
