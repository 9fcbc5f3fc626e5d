#define _GNU_SOURCE
#include "metrics/cold.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/memory.h"

enum { USUAL_L1 = 48 << 10, LINE = 64, IDLE_NS = 1000000 };

const char *const pq_cold_names[PQ_COLD_STATES] = {"l1_evicted", "flushed", "idle_1ms"};

size_t pq_cold_first_cache(void)
{
    long l1 = 0;

#if defined(_SC_LEVEL1_DCACHE_SIZE)
    l1 = sysconf(_SC_LEVEL1_DCACHE_SIZE);
#endif
    return (size_t)(l1 > 0 ? l1 : USUAL_L1);
}

pq_status pq_cold_create(pq_cold *out, pq_err *err)
{
    pq_status st;

    out->bytes = 4 * pq_cold_first_cache();
    PQ_NEW(out->block, out->bytes);
    memset(out->block, 1, out->bytes); /* pages of its own: unwritten ones are all one */
cleanup:
    return st;
}

void pq_cold_free(pq_cold *c)
{
    pq_free(c->block);
    *c = (pq_cold){0};
}

bool pq_cold_enter(const pq_cold *c, pq_cold_state state, const pq_variant *v)
{
    struct timespec idle = {.tv_nsec = IDLE_NS};

    switch (state) {
    case PQ_COLD_L1:
        for (size_t pass = 0; pass < 2; pass++) {
            for (size_t i = 0; i < c->bytes; i += LINE) {
                (void)*(volatile const char *)(c->block + i);
            }
        }
        return true;
    case PQ_COLD_FLUSHED:
        if (v->flush != NULL) {
            v->flush(v->context);
        }
        return v->flush != NULL;
    case PQ_COLD_IDLE:
        (void)nanosleep(&idle, NULL);
        return true;
    case PQ_COLD_STATES:
        break;
    }
    return false;
}
