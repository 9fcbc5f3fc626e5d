#include "exec/layout.h"

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"

enum { ALIGNMENT = 64 };

static bool alive_together(const pq_span *a, const pq_span *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Insertion sort of indices by falling size; equal sizes keep their order. */
static void sort_by_size(const pq_span *spans, size_t n, size_t *order)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        for (; k > 0 && spans[order[k - 1]].bytes < spans[i].bytes; k--) {
            order[k] = order[k - 1];
        }
        order[k] = i;
    }
}

/* Lowest offset where spans[order[k]] fits beside those placed before it. */
static size_t lowest_offset(const pq_span *spans, const size_t *order, size_t k)
{
    const pq_span *me     = &spans[order[k]];
    size_t         offset = 0;
    bool           moved  = true;

    while (moved) {
        moved = false;
        for (size_t i = 0; i < k; i++) {
            const pq_span *other = &spans[order[i]];
            if (alive_together(me, other) && other->bytes > 0 &&
                offset < other->offset + other->bytes &&
                other->offset < offset + me->bytes) {
                offset = other->offset + other->bytes;
                moved  = true;
            }
        }
    }
    return offset;
}

pq_status pq_layout_place(pq_span *spans, size_t n, size_t *total, pq_err *err)
{
    size_t   *order = NULL;
    size_t    sum = 0, end = 0;
    pq_status st;

    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(spans[i].bytes < SIZE_MAX / 2 &&
                     !__builtin_add_overflow(sum, spans[i].bytes + ALIGNMENT, &sum),
                 PQ_ERR_RANGE, "the activations of the model do not fit into memory");
        spans[i].bytes = (spans[i].bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    PQ_NEW(order, n);
    sort_by_size(spans, n, order);
    for (size_t k = 0; k < n; k++) {
        pq_span *s = &spans[order[k]];
        s->offset  = lowest_offset(spans, order, k);
        end        = s->offset + s->bytes > end ? s->offset + s->bytes : end;
    }
    *total = end;
cleanup:
    pq_free(order);
    return st;
}
