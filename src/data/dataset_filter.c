/* What is left out or refused when a dataset is opened: other labels, values that are not
 * finite, leaks. */
#include <stdlib.h>

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

/* An event number and the split it is in. */
typedef struct {
    double number;
    size_t split;
} numbered;

static int by_number(const void *a, const void *b)
{
    const numbered *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number ? 1 : 0;
}

/* Splits without numbers are left out. */
static pq_status read_numbers(pq_dataset *d, size_t *total, numbered *all, pq_err *err)
{
    pq_source *s      = &d->source;
    double    *values = NULL;
    char      *name   = NULL;
    size_t     at     = 0;
    pq_status  st;

    PQ_NEW(values, d->block);
    for (size_t k = 0; k < s->n_splits; k++) {
        const size_t n = s->splits[k].n;
        pq_free(name);
        name = NULL;
        PQ_TRY(pq_source_event_name(s, k, &name, err));
        for (size_t first = 0; name != NULL && first < n; first += d->block) {
            const size_t m = n - first < d->block ? n - first : d->block;
            PQ_TRY(s->layout->read_aux(s, k, name, first, m, values, err));
            for (size_t i = 0; i < m && at < *total; i++) {
                all[at++] = (numbered){values[i], k};
            }
        }
    }
    *total = at;
cleanup:
    pq_free(values);
    pq_free(name);
    return st;
}

pq_status pq_dataset_check_leaks(pq_dataset *d, pq_err *err)
{
    const pq_source *s     = &d->source;
    numbered        *all   = NULL;
    size_t           total = 0;
    char            *name  = NULL;
    pq_status        st    = PQ_OK;

    if (s->n_splits < 2) {
        return PQ_OK;
    }
    PQ_TRY(pq_source_event_name(&d->source, 0, &name, err));
    if (name == NULL) {
        goto cleanup;
    }
    for (size_t k = 0; k < s->n_splits; k++) {
        total += s->splits[k].n;
    }
    PQ_NEW(all, total);
    PQ_TRY(read_numbers(d, &total, all, err));
    qsort(all, total, sizeof *all, by_number);
    for (size_t i = 1; i < total; i++) {
        PQ_CHECK(all[i].number != all[i - 1].number || all[i].split == all[i - 1].split,
                 PQ_ERR_FORMAT, "%s: event %.0f is in split '%s' and in split '%s'",
                 s->path, all[i].number, s->splits[all[i - 1].split].name,
                 s->splits[all[i].split].name);
    }
cleanup:
    pq_free(all);
    pq_free(name);
    return st;
}
