/**
 * @file
 * What the system says about a file without reading it: device, number, size, times of
 * change. A file put in place of another has another number, one written to another time
 * of change (ctime), which no program can set back. Tells whether a file is still the one
 * that was hashed.
 */
#ifndef PQ_SWEEP_STAMP_H
#define PQ_SWEEP_STAMP_H

#include <stdbool.h>
#include <time.h>

#include "core/hash.h"

/** Stamps of several files, gathered. */
typedef struct {
    pq_hash         hash;
    struct timespec newest;  /**< last change of any of them */
    bool            missing; /**< one of them is not there */
} pq_stamp;

void pq_stamp_start(pq_stamp *s);

/** Adds a file; one that is not there counts as such. */
void pq_stamp_add(pq_stamp *s, const char *path);

void pq_stamp_end(pq_stamp *s, char out[PQ_HASH_TEXT]);

/** Whether none changed in the last seconds: within one tick of a file system's clock a
 * second change leaves no trace. */
bool pq_stamp_settled(const pq_stamp *s);

/** Whether any changed after this time (CLOCK_REALTIME). */
bool pq_stamp_since(const pq_stamp *s, struct timespec start);

#endif
