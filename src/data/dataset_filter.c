/* What is left out or refused when a dataset is opened: other labels, values that are not
 * finite. */
#include "core/memory.h"
#include "data/dataset_inside.h"

/* Marks what stays of one block of events. */
static pq_status mark_block(pq_dataset *d, size_t split, size_t first, size_t n,
                            const pq_raw *block, bool *keep, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_dataset_raw(d, split, first, n, block, err));
    for (size_t i = 0; i < n; i++) {
        keep[first + i] = block->y == NULL || pq_dataset_class(d, block->y[i]) >= 0;
        d->info.left_out += keep[first + i] ? 0 : 1;
        if (block->x != NULL && keep[first + i] &&
            pq_first_nonfinite(block->x + i * d->items, d->items) != SIZE_MAX) {
            keep[first + i] = false;
            d->info.nonfinite++;
        }
    }
cleanup:
    return st;
}

pq_status pq_dataset_filter(pq_dataset *d, pq_err *err)
{
    const bool drop  = d->nonfinite == PQ_NONFINITE_DROP;
    pq_raw     block = {0};
    bool      *keep  = NULL;
    pq_status  st    = PQ_OK;

    if (!drop && !d->partial_labels) {
        return PQ_OK;
    }
    if (drop) {
        PQ_NEW(block.x, d->block * d->items);
    }
    if (d->partial_labels) {
        PQ_NEW(block.y, d->block);
    }
    for (size_t k = 0; k < d->splits.n; k++) {
        const size_t n = d->splits.items[k].n;
        PQ_CHECK(n <= UINT32_MAX, PQ_ERR_FORMAT,
                 "%s: has %zu events; at most %u can be filtered", d->source.path, n,
                 UINT32_MAX);
        pq_free(keep);
        PQ_NEW(keep, n);
        for (size_t first = 0; first < n; first += d->block) {
            const size_t m = n - first < d->block ? n - first : d->block;
            PQ_TRY(mark_block(d, k, first, m, &block, keep, err));
        }
        PQ_TRY(pq_split_keep(&d->splits.items[k], keep, err));
    }
cleanup:
    pq_free(block.x);
    pq_free(block.y);
    pq_free(keep);
    return st;
}
