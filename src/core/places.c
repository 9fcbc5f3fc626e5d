#include "core/places.h"

#include <assert.h>
#include <string.h>

#include "core/memory.h"

typedef struct pq_place {
    const char *name; /* NULL: free */
    uint64_t    hash;
    size_t      at;
} place;

/* FNV-1a, and a last step that brings its high bits down. */
static uint64_t hash_of(const char *name)
{
    uint64_t h = 0xcbf29ce484222325ULL;

    for (; *name != '\0'; name++) {
        h = (h ^ (unsigned char)*name) * 0x100000001b3ULL;
    }
    return h ^ (h >> 32);
}

/* Slot of a name, or the free one that it would get. */
static size_t slot_of(const pq_places *p, const char *name, uint64_t hash)
{
    size_t i = (size_t)hash & (p->room - 1);

    while (p->slots[i].name != NULL &&
           (p->slots[i].hash != hash || strcmp(p->slots[i].name, name) != 0)) {
        i = (i + 1) & (p->room - 1);
    }
    return i;
}

pq_status pq_places_reserve(pq_places *p, size_t n, pq_err *err)
{
    pq_places more = {.room = 16, .n = p->n};
    pq_status st   = PQ_OK;

    while (more.room / 2 <
           n) { /* half of the slots stay free, so that searches end soon */
        more.room *= 2;
    }
    if (more.room <= p->room) {
        return PQ_OK;
    }
    PQ_NEW(more.slots, more.room);
    for (size_t i = 0; i < p->room; i++) {
        if (p->slots[i].name != NULL) {
            const place *s                               = &p->slots[i];
            more.slots[slot_of(&more, s->name, s->hash)] = *s;
        }
    }
    pq_free(p->slots);
    *p = more;
cleanup:
    return st;
}

void pq_places_add(pq_places *p, const char *name, size_t at)
{
    const uint64_t hash = hash_of(name);

    assert(p->n < p->room / 2);
    p->slots[slot_of(p, name, hash)] = (place){name, hash, at};
    p->n++;
}

void pq_places_remove(pq_places *p, const char *name)
{
    size_t gap;

    if (p->room == 0) {
        return;
    }
    gap = slot_of(p, name, hash_of(name));
    if (p->slots[gap].name == NULL) {
        return;
    }
    /* Those behind move up where a search from their own slot would meet the gap. */
    for (size_t i = (gap + 1) & (p->room - 1); p->slots[i].name != NULL;
         i        = (i + 1) & (p->room - 1)) {
        const size_t own = (size_t)p->slots[i].hash & (p->room - 1);
        if (((i - own) & (p->room - 1)) >= ((i - gap) & (p->room - 1))) {
            p->slots[gap] = p->slots[i];
            gap           = i;
        }
    }
    p->slots[gap] = (place){0};
    p->n--;
}

void pq_places_shift(pq_places *p, size_t first, ptrdiff_t by)
{
    for (size_t i = 0; i < p->room; i++) {
        if (p->slots[i].name != NULL && p->slots[i].at >= first) {
            p->slots[i].at = (size_t)((ptrdiff_t)p->slots[i].at + by);
        }
    }
}

size_t pq_places_find(const pq_places *p, const char *name)
{
    const place *s;

    if (p->room == 0) {
        return SIZE_MAX;
    }
    s = &p->slots[slot_of(p, name, hash_of(name))];
    return s->name != NULL ? s->at : SIZE_MAX;
}

void pq_places_free(pq_places *p)
{
    pq_free(p->slots);
    *p = (pq_places){0};
}
