/* Reading events: which rows, which columns, what is left out, scaling, hashing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "data/dataset_inside.h"

/* A range of rows of the source, and where the picked events of it go. */
static pq_status read_picked(pq_dataset *d, size_t base, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    pq_source   *s    = &d->source;
    const size_t last = s->sample.dim[s->sample.ndim - 1];
    pq_raw       raw  = *out;
    float       *all  = NULL;
    pq_status    st;

    PQ_CHECK(out->y == NULL || s->unlabelled == NULL, PQ_ERR_FORMAT,
             "%s: no labels are beside the events '%s', and labels are needed here",
             s->path, s->unlabelled);
    if (d->columns == NULL || out->x == NULL) {
        return s->layout->read(s, base, first, n, out, err);
    }
    PQ_NEW(all, n * d->source_items);
    raw.x = all;
    PQ_TRY(s->layout->read(s, base, first, n, &raw, err));
    for (size_t i = 0; i < n * (d->source_items / last); i++) {
        for (size_t c = 0; c < d->n_columns; c++) {
            out->x[i * d->n_columns + c] = all[i * last + d->columns[c]];
        }
    }
cleanup:
    pq_free(all);
    return st;
}

static pq_raw advanced(const pq_dataset *d, const pq_raw *out, size_t events)
{
    return (pq_raw){.x      = out->x == NULL ? NULL : out->x + events * d->items,
                    .y      = out->y == NULL ? NULL : out->y + events,
                    .weight = out->weight == NULL ? NULL : out->weight + events};
}

/* Listed rows: reads the stretch they lie in, block by block, and keeps those that are
 * listed. */
static pq_status read_listed(pq_dataset *d, const pq_split *split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    const uint32_t *rows  = split->rows + first;
    pq_raw          block = {0};
    pq_status       st    = PQ_OK;

    if (out->x != NULL) {
        PQ_NEW(block.x, d->block * d->items);
    }
    if (out->y != NULL) {
        PQ_NEW(block.y, d->block);
    }
    if (out->weight != NULL) {
        PQ_NEW(block.weight, d->block);
    }
    for (size_t i = 0; i < n;) {
        const size_t from = rows[i];
        size_t       end  = i;
        while (end < n && rows[end] - from < d->block) {
            end++;
        }
        PQ_TRY(read_picked(d, split->base, from, rows[end - 1] - from + 1, &block, err));
        for (; i < end; i++) {
            const pq_raw to   = advanced(d, out, i),
                         have = advanced(d, &block, rows[i] - from);
            if (to.x != NULL) {
                memcpy(to.x, have.x, d->items * sizeof *to.x);
            }
            if (to.y != NULL) {
                *to.y = *have.y;
            }
            if (to.weight != NULL) {
                *to.weight = *have.weight;
            }
        }
    }
cleanup:
    pq_free(block.x);
    pq_free(block.y);
    pq_free(block.weight);
    return st;
}

pq_status pq_dataset_raw(pq_dataset *d, size_t split, size_t first, size_t n,
                         const pq_raw *out, pq_err *err)
{
    const pq_split *s   = &d->splits.items[split];
    pq_raw          raw = *out;

    if (n == 0) {
        return PQ_OK;
    }
    for (size_t i = 0; d->unweighted && out->weight != NULL && i < n; i++) {
        out->weight[i] = 1.0F;
    }
    raw.weight = d->unweighted ? NULL : out->weight;
    return s->rows != NULL ? read_listed(d, s, first, n, &raw, err)
                           : read_picked(d, s->base, s->first + first, n, &raw, err);
}

int32_t pq_dataset_class(const pq_dataset *d, double label)
{
    const pq_source *s = &d->source;

    if (s->label_values == NULL) {
        return label >= 0.0 && label < (double)s->n_classes && label == floor(label)
                   ? (int32_t)label
                   : -1;
    }
    for (size_t i = 0; i < s->n_classes; i++) {
        if (s->label_values[i] == label) {
            return (int32_t)i;
        }
    }
    return -1;
}

size_t pq_first_nonfinite(const float *row, size_t n)
{
    uint32_t any = 0;

    for (size_t i = 0; i < n;
         i++) { /* exponent all ones; branch-free, so that it is vectorised */
        uint32_t bits;
        memcpy(&bits, &row[i], sizeof bits);
        any |= (bits & 0x7f800000U) == 0x7f800000U ? 1U : 0U;
    }
    for (size_t i = 0; any != 0 && i < n; i++) {
        if (!isfinite(row[i])) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* Counts an event once, however often it is read. */
static void count_nonfinite(pq_dataset *d, size_t split, size_t event)
{
    const uint8_t bit = (uint8_t)(1U << (event % 8));
    uint8_t      *met = d->met[split];

    d->info.nonfinite += met == NULL || (met[event / 8] & bit) == 0 ? 1 : 0;
    if (met != NULL) {
        met[event / 8] |= bit;
    }
}

/* Follows the policy for one event's values, in the file's units. */
static pq_status check_event(pq_dataset *d, size_t split, size_t event, float *x,
                             pq_err *err)
{
    const size_t bad = pq_first_nonfinite(x, d->items);
    char         feature[96];
    pq_status    st;

    if (bad == SIZE_MAX) {
        return PQ_OK;
    }
    count_nonfinite(d, split, event);
    if (d->feature_names != NULL) {
        (void)snprintf(feature, sizeof feature, "feature '%s'",
                       d->feature_names[bad % d->features]);
    } else {
        (void)snprintf(feature, sizeof feature, "value %zu", bad);
    }
    PQ_CHECK(
        d->nonfinite != PQ_NONFINITE_FAIL, PQ_ERR_FORMAT,
        "%s%s%s: event %zu: %s is %g; only finite values are read unless `nonfinite` is "
        "drop or zero",
        d->source.path, d->splits.items[split].name[0] != '\0' ? ":" : "",
        d->splits.items[split].name, event, feature, (double)x[bad]);
    for (size_t i = 0; i < d->items; i++) {
        if (!isfinite(x[i])) {
            x[i] = d->fill != NULL                              ? d->fill[i % d->features]
                   : d->mean != NULL && !d->source.standardized ? d->mean[i % d->features]
                                                                : 0.0F;
        }
    }
cleanup:
    return st;
}

static void standardize(const pq_dataset *d, float *x, size_t n)
{
    const bool   padded = d->info.padded;
    const size_t rows   = n * (d->items / d->features);

    if (d->mean == NULL || d->source.standardized) {
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * d->features;
        if (padded && !(row[d->features - 1] > 0.0F)) {
            memset(row, 0, d->features * sizeof *row);
            continue;
        }
        for (size_t i = 0; i < d->features - (padded ? 1 : 0); i++) {
            row[i] = (row[i] - d->mean[i]) / d->std[i];
        }
    }
}

static pq_status set_labels(const pq_dataset *d, size_t split, size_t first, size_t n,
                            const double *labels, int32_t *y, pq_err *err)
{
    char      number[32];
    pq_text   known = {0};
    pq_status st    = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        y[i] = pq_dataset_class(d, labels[i]);
        if (y[i] < 0) {
            for (size_t k = 0; k < d->source.n_classes; k++) {
                pq_text_add(&known, "%s%s", k == 0 ? "" : ", ", d->source.class_names[k]);
            }
            PQ_FAIL(PQ_ERR_FORMAT,
                    "%s%s%s: event %zu: label %s is none of the %zu classes (%s)",
                    d->source.path, d->splits.items[split].name[0] != '\0' ? ":" : "",
                    d->splits.items[split].name, first + i,
                    pq_real_text(labels[i], number, sizeof number), d->source.n_classes,
                    known.text);
        }
    }
cleanup:
    pq_text_free(&known);
    return st;
}

/* Everything but scaling. */
static pq_status read_locked(pq_dataset *d, size_t split, size_t first, size_t n,
                             const pq_batch *batch, pq_err *err)
{
    pq_raw    raw = {.x = batch->x, .weight = batch->weight};
    pq_status st;

    if (batch->y != NULL) {
        PQ_NEW(raw.y, n);
    }
    PQ_TRY(pq_dataset_raw(d, split, first, n, &raw, err));
    for (size_t i = 0; batch->x != NULL && i < n; i++) {
        PQ_TRY(check_event(d, split, first + i, batch->x + i * d->items, err));
    }
    if (batch->y != NULL) {
        PQ_TRY(set_labels(d, split, first, n, raw.y, batch->y, err));
    }
cleanup:
    pq_free(raw.y);
    return st;
}

static pq_status check_range(const pq_dataset *d, size_t split, size_t first, size_t n,
                             pq_err *err)
{
    pq_status st;

    PQ_CHECK(split < d->splits.n && n <= d->splits.items[split].n &&
                 first <= d->splits.items[split].n - n,
             PQ_ERR_RANGE, "%s: has no events %zu..%zu in split %zu", d->source.path,
             first, first + n, split);
cleanup:
    return st;
}

pq_status pq_dataset_read(pq_dataset *d, size_t split, size_t first, size_t n,
                          const pq_batch *batch, pq_err *err)
{
    pq_status st;

    (void)pthread_mutex_lock(&d->lock);
    PQ_TRY(check_range(d, split, first, n, err));
    PQ_TRY(read_locked(d, split, first, n, batch, err));
    if (batch->x != NULL) {
        standardize(d, batch->x, n);
    }
cleanup:
    (void)pthread_mutex_unlock(&d->lock);
    return st;
}

pq_status pq_dataset_read_unscaled(pq_dataset *d, size_t split, size_t first, size_t n,
                                   const pq_batch *batch, pq_err *err)
{
    pq_status st;

    (void)pthread_mutex_lock(&d->lock);
    PQ_TRY(check_range(d, split, first, n, err));
    PQ_TRY(read_locked(d, split, first, n, batch, err));
cleanup:
    (void)pthread_mutex_unlock(&d->lock);
    return st;
}

static pq_status no_aux(pq_source *s, size_t split, const char *name, pq_err *err)
{
    char    **names = NULL;
    size_t    n     = 0;
    pq_text   known = {0};
    pq_status st    = PQ_OK;

    if (s->layout->list_aux != NULL) {
        PQ_TRY(s->layout->list_aux(s, split, &names, &n, err));
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            goto cleanup;
        }
        pq_text_add(&known, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    PQ_FAIL(PQ_ERR_NOT_FOUND, "%s: has no auxiliary quantity '%s'; it has: %s", s->path,
            name, n == 0 ? "none" : known.text);
cleanup:
    pq_texts_free(&names, n);
    pq_text_free(&known);
    return st;
}

/* Listed rows: reads the stretch they lie in, block by block. */
static pq_status read_listed_aux(pq_dataset *d, const pq_split *s, const pq_aux *aux,
                                 size_t first, size_t n, uint64_t *out, pq_err *err)
{
    const pq_layout *from  = d->source.layout;
    const uint32_t  *rows  = s->rows + first;
    uint64_t        *block = NULL; /* of either type: both have 8 bytes */
    pq_status        st;

    PQ_NEW(block, d->block * aux->n_names);
    for (size_t i = 0; i < n;) {
        const size_t at  = rows[i];
        size_t       end = i;
        while (end < n && rows[end] - at < d->block) {
            end++;
        }
        PQ_TRY(from->read_aux(&d->source, s->base, aux, at, rows[end - 1] - at + 1, block,
                              err));
        for (; i < end; i++) {
            memcpy(out + i * aux->n_names, block + (rows[i] - at) * aux->n_names,
                   aux->n_names * sizeof *out);
        }
    }
cleanup:
    pq_free(block);
    return st;
}

pq_status pq_dataset_aux(pq_dataset *d, size_t split, const pq_aux *aux, size_t first,
                         size_t n, void *out, pq_err *err)
{
    const pq_split *s;
    pq_status       st;

    (void)pthread_mutex_lock(&d->lock);
    PQ_TRY(check_range(d, split, first, n, err));
    s = &d->splits.items[split];
    for (size_t k = 0; k < aux->n_names; k++) {
        PQ_TRY(no_aux(&d->source, s->base, aux->names[k], err));
    }
    if (n > 0) {
        st = s->rows == NULL ? d->source.layout->read_aux(&d->source, s->base, aux,
                                                          s->first + first, n, out, err)
                             : read_listed_aux(d, s, aux, first, n, out, err);
    }
cleanup:
    (void)pthread_mutex_unlock(&d->lock);
    return st;
}

pq_status pq_dataset_read_aux(pq_dataset *d, size_t split, const char *name, size_t first,
                              size_t n, double *out, pq_err *err)
{
    return pq_dataset_aux(d, split, &(pq_aux){1, &name, PQ_DTYPE_F64}, first, n, out,
                          err);
}

/* Everything a result can depend on, in the order it is handed out. */
static pq_status hash_split(pq_dataset *d, size_t split, pq_hash *h, pq_err *err)
{
    const size_t n = d->splits.items[split].n;
    pq_batch     b = {0};
    pq_status    st;

    PQ_NEW(b.x, d->block * d->items);
    PQ_NEW(b.y, d->block);
    PQ_NEW(b.weight, d->block);
    pq_hash_bytes(h, &d->info.sample, sizeof d->info.sample);
    for (size_t i = 0; i < d->source.n_classes; i++) {
        pq_hash_text(h, d->source.class_names[i]);
    }
    if (d->mean != NULL) {
        pq_hash_bytes(h, d->mean, d->features * sizeof *d->mean);
        pq_hash_bytes(h, d->std, d->features * sizeof *d->std);
    }
    for (size_t first = 0; first < n; first += d->block) {
        const size_t m = n - first < d->block ? n - first : d->block;
        PQ_TRY(read_locked(d, split, first, m, &b, err));
        standardize(d, b.x, m);
        pq_hash_bytes(h, b.x, m * d->items * sizeof *b.x);
        pq_hash_bytes(h, b.y, m * sizeof *b.y);
        pq_hash_bytes(h, b.weight, m * sizeof *b.weight);
    }
cleanup:
    pq_free(b.x);
    pq_free(b.y);
    pq_free(b.weight);
    return st;
}

pq_status pq_dataset_hash(pq_dataset *d, size_t split, char out[65], pq_err *err)
{
    pq_hash   h;
    pq_status st;

    (void)pthread_mutex_lock(&d->lock);
    PQ_TRY(check_range(d, split, 0, 0, err));
    if (d->hashes[split][0] == '\0') {
        pq_hash_start(&h);
        PQ_TRY(hash_split(d, split, &h, err));
        pq_hash_end(&h, d->hashes[split]);
    }
    memcpy(out, d->hashes[split], PQ_HASH_TEXT);
cleanup:
    (void)pthread_mutex_unlock(&d->lock);
    return st;
}
