/**
 * @file
 * Where names stand in a list: a hash of them, by open addressing, so that one of many is
 * found at once.
 */
#ifndef PQ_CORE_PLACES_H
#define PQ_CORE_PLACES_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

/** Places by name; {0} has none. Borrows the names, which must stay where they are. */
typedef struct {
    struct pq_place *slots; /**< [room] */
    size_t           room;  /**< a power of two, or 0 */
    size_t           n;
} pq_places;

/** Makes room for n names in all. On failure all is as it was. */
pq_status pq_places_reserve(pq_places *p, size_t n, pq_err *err);

/** Adds a name that is not there, for which there is room. */
void pq_places_add(pq_places *p, const char *name, size_t at);

/** Takes a name out, if it is there. */
void pq_places_remove(pq_places *p, const char *name);

/** Moves all places from `first` on: by items that come before them, or that went. */
void pq_places_shift(pq_places *p, size_t first, ptrdiff_t by);

/** Place of a name, or SIZE_MAX. */
size_t pq_places_find(const pq_places *p, const char *name);

/** Frees and zeroes. */
void pq_places_free(pq_places *p);

#endif
