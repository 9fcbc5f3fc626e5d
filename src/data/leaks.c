/* Events that are in two splits: told apart by their numbers, or by their values. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "data/dataset_inside.h"

/* An event, by its number or a hash of its values, and the split it is in. */
typedef struct {
    uint64_t key;
    size_t   split;
} marked;

static int by_key(const void *a, const void *b)
{
    const marked *x = a, *y = b;

    return x->key < y->key   ? -1
           : x->key > y->key ? 1
                             : (x->split > y->split) - (x->split < y->split);
}

/* Numbers of one split of the source; none where it has none. */
static pq_status read_numbers(pq_dataset *d, size_t split, marked *all, size_t *n,
                              pq_err *err)
{
    pq_source   *s      = &d->source;
    const size_t total  = s->splits[split].n;
    char        *name   = NULL;
    int64_t     *values = NULL;
    pq_status    st;

    PQ_NEW(values, d->block);
    PQ_TRY(pq_source_event_name(s, split, &name, err));
    for (size_t first = 0; name != NULL && first < total; first += d->block) {
        const char *const names[] = {name};
        const pq_aux      aux     = {1, names, PQ_DTYPE_I64};
        const size_t      m       = total - first < d->block ? total - first : d->block;
        PQ_TRY(s->layout->read_aux(s, split, &aux, first, m, values, err));
        for (size_t i = 0; i < m; i++) {
            all[(*n)++] = (marked){(uint64_t)values[i], split};
        }
    }
cleanup:
    pq_free(values);
    pq_free(name);
    return st;
}

pq_status pq_dataset_check_leaks(pq_dataset *d, pq_err *err)
{
    const pq_source *s     = &d->source;
    marked          *all   = NULL;
    size_t           total = 0, n = 0;
    pq_status        st = PQ_OK;

    if (s->n_splits < 2 || s->layout->list_aux == NULL) {
        return PQ_OK;
    }
    for (size_t k = 0; k < s->n_splits; k++) {
        total += s->splits[k].n;
    }
    PQ_NEW(all, total);
    for (size_t k = 0; k < s->n_splits; k++) {
        PQ_TRY(read_numbers(d, k, all, &n, err));
    }
    qsort(all, n, sizeof *all, by_key);
    for (size_t i = 1; i < n; i++) {
        PQ_CHECK(all[i].key != all[i - 1].key || all[i].split == all[i - 1].split,
                 PQ_ERR_FORMAT, "%s: event %llu is in split '%s' and in split '%s'",
                 s->path, (unsigned long long)all[i].key,
                 s->splits[all[i - 1].split].name, s->splits[all[i].split].name);
    }
cleanup:
    pq_free(all);
    return st;
}

/* FNV-1a by words with a final mix. Source: Fowler, Noll, Vo; Appleby, MurmurHash3. */
static uint64_t hash_values(const float *x, size_t n)
{
    uint64_t h = 0xcbf29ce484222325U;

    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        h = (h ^ bits) * 0x100000001b3U;
        h ^= h >> 29;
    }
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdU;
    return h ^ (h >> 33);
}

static pq_status hash_events(pq_dataset *d, size_t split, marked *all, size_t *n,
                             pq_err *err)
{
    const size_t total = d->splits.items[split].n;
    float       *x     = NULL;
    pq_status    st;

    PQ_NEW(x, d->block * d->items);
    for (size_t first = 0; first < total; first += d->block) {
        const size_t m = total - first < d->block ? total - first : d->block;
        PQ_TRY(pq_dataset_read(d, split, first, m, &(pq_batch){.x = x}, err));
        for (size_t i = 0; i < m; i++) {
            all[(*n)++] = (marked){hash_values(x + i * d->items, d->items), split};
        }
    }
cleanup:
    pq_free(x);
    return st;
}

pq_status pq_dataset_count_repeats(pq_dataset *d, size_t max_events, size_t *out,
                                   bool *counted, pq_err *err)
{
    marked   *all   = NULL;
    size_t    total = 0, n = 0;
    pq_status st = PQ_OK;

    *out = 0;
    for (size_t k = 0; k < d->splits.n; k++) {
        total += d->splits.items[k].n;
    }
    *counted = d->splits.n > 1 && total <= max_events;
    if (!*counted) {
        return PQ_OK;
    }
    PQ_NEW(all, total);
    for (size_t k = 0; k < d->splits.n; k++) {
        PQ_TRY(hash_events(d, k, all, &n, err));
    }
    qsort(all, n, sizeof *all, by_key);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && all[end].key == all[i].key; end++) {
        }
        *out += all[end - 1].split != all[i].split ? end - i : 0;
    }
cleanup:
    pq_free(all);
    return st;
}
