/**
 * @file
 * What reading a file may cost: memory and time are for files that are worth them
 * (SECURITY.md). Every allocation goes through core/memory.h, so that the door to the
 * heap is where a hostile file is held.
 */
#ifndef PQ_CORE_BUDGET_H
#define PQ_CORE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/** A file that this thread reads. While it is begun, allocations beyond it fail. */
typedef struct {
    size_t   bytes;   /**< that may still be allocated */
    size_t   given;   /**< of them at the start */
    double   until_s; /**< of the thread's processor time */
    int      broken;  /**< 0, or why an allocation failed: 1 memory, 2 time */
    size_t   n;       /**< bytes of the file */
    unsigned calls;   /**< since the start */
    bool     inner;   /**< within another one, which holds */
} pq_budget;

/** Begins the budget of a file, or of a folder of files, of n bytes: 64 MB + 64 n, and 2
 * s + 1 s for each MB of this thread's processor time, looked at where memory is asked
 * for (or PQUANT_READ_LIMIT bytes, if that is more). Within another budget only that one
 * holds. Ends in the same thread. */
void pq_budget_start(pq_budget *b, const char *path);

/** Begins one of bytes alone, for what is no file: work that grows with what was asked
 * for.
 */
void pq_budget_start_bytes(pq_budget *b, size_t bytes);

/** Gives a budget at work another number of bytes, less those that are in use under it.
 */
void pq_budget_regive(pq_budget *b, size_t bytes);

/** Whether memory was what failed. After the end, which says it where a file is to blame.
 */
bool pq_budget_out_of_bytes(const pq_budget *b);

/** Ends it. Where it broke and `st` is a failure, err says so instead, with the file.
 * @return the status: PQ_ERR_FORMAT then, else st */
pq_status pq_budget_end(pq_budget *b, const char *path, pq_status st, pq_err *err);

/** Adds what another file of n bytes, which the first one names, is worth: 64 n bytes and
 * 1 s for each MB. */
void pq_budget_add(size_t n);

/** Whether so many bytes more fit into the budget at work; true without one. */
bool pq_budget_fits(size_t bytes);

#endif
