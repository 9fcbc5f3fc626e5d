#include "data/write.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/dataset_inside.h"
#include "data/moments.h"
#include "io/hdf5.h"

/* One import. */
typedef struct {
    pq_dataset        *d;
    pq_h5             *file;
    int                gzip;
    const pq_progress *progress;
    size_t             done, total; /* events */
    float             *x;           /* [block, items] */
    int32_t           *y;
    float             *weight;
    uint64_t          *aux;    /* [block, quantities], 8 bytes of either type */
    uint64_t          *column; /* [block] */
    float             *fill;   /* [features] for values that are not finite, or NULL */
    pq_hash            hash;   /* of all events as they were handed over */
    size_t             fitted; /* split whose moments are taken on the way, or SIZE_MAX */
    pq_moments         moments;
} job;

/* x, y and weights of the block at work. */
static void hash_block(job *j, pq_hash *hash, size_t n)
{
    pq_hash_bytes(hash, j->x, n * j->d->items * sizeof *j->x);
    pq_hash_bytes(hash, j->y, n * sizeof *j->y);
    pq_hash_bytes(hash, j->weight, n * sizeof *j->weight);
}

static bool is_bytes(const job *j)
{
    return j->d->source.bytes;
}

/* Of the rows that are there; values that are not finite become its mean. */
static pq_status fit(job *j, size_t split, pq_err *err)
{
    pq_dataset  *d = j->d;
    const size_t n = d->splits.items[split].n, per = d->items / d->features;
    float       *std = NULL;
    pq_status    st;

    for (size_t first = 0; first < n; first += d->block) {
        const size_t count = n - first < d->block ? n - first : d->block;
        (void)pthread_mutex_lock(&d->lock);
        st = pq_dataset_raw(d, split, first, count, &(pq_raw){.x = j->x}, err);
        (void)pthread_mutex_unlock(&d->lock);
        PQ_TRY(st);
        pq_moments_add(&j->moments, count * per, j->x);
    }
    PQ_NEW(j->fill, d->features);
    PQ_NEW(std, d->features);
    pq_moments_scaler(&j->moments, j->fill, std);
    d->fill = j->fill;
cleanup:
    pq_free(std);
    return st;
}

/* Whether the scaler is of the events: ahead where their values that are not finite
 * become its mean, else on the way. */
static pq_status start_scaler(job *j, pq_err *err)
{
    pq_dataset *d = j->d;
    size_t      train;
    pq_status   st = PQ_OK;

    j->fitted = SIZE_MAX;
    if (d->mean != NULL || (d->info.sample.ndim != 1 && !d->info.padded)) {
        return PQ_OK;
    }
    if (pq_dataset_split(d, "train", &train, NULL) != PQ_OK) {
        train = 0;
    }
    PQ_TRY(pq_moments_create(d->features, d->info.padded, &j->moments, err));
    if (d->nonfinite == PQ_NONFINITE_ZERO) {
        PQ_TRY(fit(j, train, err));
    } else {
        j->fitted = train;
    }
cleanup:
    return st;
}

/* Of the file, or fitted. */
static pq_status write_scaler(const job *j, pq_err *err)
{
    const pq_dataset *d    = j->d;
    const int8_t      flag = d->source.standardized ? 1 : 0;
    float            *mean = NULL, *std = NULL;
    pq_status         st = PQ_OK;

    if (d->mean == NULL && j->moments.features == 0) {
        return PQ_OK;
    }
    PQ_NEW(mean, d->features);
    PQ_NEW(std, d->features);
    if (d->mean != NULL) {
        memcpy(mean, d->mean, d->features * sizeof *mean);
        memcpy(std, d->std, d->features * sizeof *std);
    } else {
        pq_moments_scaler(&j->moments, mean, std);
    }
    PQ_TRY(pq_h5_set_numbers(j->file, "/", "scaler_mean", PQ_DTYPE_F32, mean, d->features,
                             err));
    PQ_TRY(pq_h5_set_numbers(j->file, "/", "scaler_std", PQ_DTYPE_F32, std, d->features,
                             err));
    PQ_TRY(pq_h5_set_numbers(j->file, "/", "standardized", PQ_DTYPE_I8, &flag, 1, err));
cleanup:
    pq_free(mean);
    pq_free(std);
    return st;
}

static pq_status write_about(job *j, pq_err *err)
{
    const pq_dataset_info *info    = &j->d->info;
    const int32_t          version = 1;
    const int8_t           padded  = 1;
    pq_status              st;

    PQ_TRY(pq_h5_set_text(j->file, "/", "format", "pquant-dataset", err));
    PQ_TRY(pq_h5_set_numbers(j->file, "/", "version", PQ_DTYPE_I32, &version, 1, err));
    PQ_TRY(pq_h5_set_text(j->file, "/", "layout",
                          info->sample.ndim == 3 ? "nhwc" : "features", err));
    PQ_TRY(pq_h5_set_texts(j->file, "/", "class_names", info->class_names,
                           info->n_classes, err));
    if (info->padded) {
        PQ_TRY(pq_h5_set_numbers(j->file, "/", "padded", PQ_DTYPE_I8, &padded, 1, err));
    }
    if (info->feature_names != NULL) {
        PQ_TRY(pq_h5_set_texts(j->file, "/", "feature_names", info->feature_names,
                               j->d->features, err));
    }
    if (info->licence != NULL) {
        PQ_TRY(pq_h5_set_text(j->file, "/", "licence", info->licence, err));
    }
    PQ_TRY(pq_h5_set_text(j->file, "/", "source",
                          info->source != NULL ? info->source : pq_path_base(info->path),
                          err));
cleanup:
    return st;
}

static char *split_path(const job *j, size_t split, const char *name)
{
    const char *folder = j->d->splits.items[split].name;

    return pq_format("%s%s%s", folder, folder[0] != '\0' ? "/" : "", name);
}

static pq_status make_rows(const job *j, size_t split, const char *name, pq_dtype dtype,
                           pq_shape row, pq_err *err)
{
    char     *path = split_path(j, split, name);
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_h5_make_rows(j->file, path, dtype, row, j->gzip, err));
cleanup:
    pq_free(path);
    return st;
}

static pq_status write_rows(const job *j, size_t split, const char *name, pq_rows rows,
                            pq_dtype dtype, const void *data, pq_err *err)
{
    char     *path = split_path(j, split, name);
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_h5_write_rows(j->file, path, rows, dtype, data, err));
cleanup:
    pq_free(path);
    return st;
}

/* Values before scaling: what is read, with the scaling undone by reading without it. */
static pq_status copy_block(job *j, size_t split, pq_rows rows, pq_err *err)
{
    pq_dataset *d = j->d;
    pq_status   st;

    PQ_TRY(pq_dataset_read_unscaled(d, split, rows.first, rows.n,
                                    &(pq_batch){j->x, j->y, j->weight}, err));
    hash_block(j, &j->hash, rows.n);
    if (split == j->fitted) {
        pq_moments_add(&j->moments, rows.n * (d->items / d->features), j->x);
    }
    if (is_bytes(j)) {
        uint8_t *bytes = (uint8_t *)j->x; /* in place: a byte never overtakes its float */
        for (size_t i = 0; i < rows.n * d->items; i++) {
            const float value = j->x[i];
            bytes[i]          = (uint8_t)value;
        }
    }
    PQ_TRY(write_rows(j, split, "x", rows, is_bytes(j) ? PQ_DTYPE_U8 : PQ_DTYPE_F32, j->x,
                      err));
    PQ_TRY(write_rows(j, split, "y", rows, PQ_DTYPE_I32, j->y, err));
    PQ_TRY(write_rows(j, split, "weight", rows, PQ_DTYPE_F32, j->weight, err));
cleanup:
    return st;
}

/* Quantities of one type, next to each other in each row of the block. */
static pq_status write_aux(job *j, size_t split, const pq_aux *aux, pq_rows rows,
                           pq_err *err)
{
    char     *path = NULL;
    pq_status st   = PQ_OK;

    if (aux->n_names == 0) {
        return PQ_OK;
    }
    PQ_TRY(pq_dataset_aux(j->d, split, aux, rows.first, rows.n, j->aux, err));
    for (size_t k = 0; k < aux->n_names; k++) {
        for (size_t i = 0; i < rows.n; i++) {
            j->column[i] = j->aux[i * aux->n_names + k];
        }
        pq_free(path);
        path = pq_format("aux/%s", aux->names[k]);
        PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        if (rows.first == 0) {
            PQ_TRY(make_rows(j, split, path, aux->dtype, (pq_shape){0}, err));
        }
        PQ_TRY(write_rows(j, split, path, rows, aux->dtype, j->column, err));
    }
cleanup:
    pq_free(path);
    return st;
}

/* Whether HDF5 can hold a quantity by its name: "/" leads into a group, and "." is one.
 */
static bool can_be_named(const char *name)
{
    return name[0] != '\0' && strcmp(name, ".") != 0 && strchr(name, '/') == NULL;
}

/* Auxiliary quantities of a split. */
typedef struct {
    char       **names; /* [n] */
    size_t       n;
    const char **list; /* event numbers, then the rest */
    pq_aux       numbers, rest;
} aux_lists;

static pq_status list_aux(job *j, size_t split, aux_lists *out, pq_err *err)
{
    pq_source *s     = &j->d->source;
    size_t     whole = 0, listed = 0;
    pq_status  st = PQ_OK;

    if (s->layout->list_aux == NULL) {
        return PQ_OK;
    }
    PQ_TRY(s->layout->list_aux(s, j->d->splits.items[split].base, &out->names, &out->n,
                               err));
    PQ_NEW(out->list, out->n);
    for (size_t i = 0; i < out->n; i++) {
        if (pq_is_event_name(out->names[i])) {
            out->list[whole++] = out->names[i];
        }
    }
    listed = whole;
    for (size_t i = 0; i < out->n; i++) {
        if (!pq_is_event_name(out->names[i]) && can_be_named(out->names[i])) {
            out->list[listed++] = out->names[i];
        }
    }
    out->numbers = (pq_aux){whole, out->list, PQ_DTYPE_I64};
    out->rest    = (pq_aux){listed - whole, out->list + whole, PQ_DTYPE_F64};
    PQ_NEW(j->aux, j->d->block * out->n);
cleanup:
    return st;
}

static void aux_free(job *j, aux_lists *a)
{
    pq_free(j->aux);
    j->aux = NULL;
    pq_free(a->list);
    pq_texts_free(&a->names, a->n);
}

/* What was not copied beside the events, the file read through once. */
static pq_status copy_aux(job *j, size_t split, const aux_lists *a, bool beside,
                          pq_err *err)
{
    const size_t n = j->d->splits.items[split].n, block = j->d->block;
    pq_status    st = PQ_OK;

    for (size_t first = 0; first < n; first += block) {
        const pq_rows rows = {first, n - first < block ? n - first : block};
        PQ_TRY(write_aux(j, split, &a->numbers, rows, err));
        if (!beside) {
            PQ_TRY(write_aux(j, split, &a->rest, rows, err));
        }
    }
cleanup:
    return st;
}

static pq_status copy_split(job *j, size_t split, pq_err *err)
{
    pq_dataset  *d      = j->d;
    const size_t n      = d->splits.items[split].n;
    const bool   beside = d->source.aux_beside && d->splits.items[split].rows == NULL;
    aux_lists    aux    = {0};
    pq_status    st;

    PQ_TRY(list_aux(j, split, &aux, err));
    d->source.aux_kept = beside;
    PQ_TRY(make_rows(j, split, "x", is_bytes(j) ? PQ_DTYPE_U8 : PQ_DTYPE_F32,
                     d->info.sample, err));
    PQ_TRY(make_rows(j, split, "y", PQ_DTYPE_I32, (pq_shape){0}, err));
    PQ_TRY(make_rows(j, split, "weight", PQ_DTYPE_F32, (pq_shape){0}, err));
    for (size_t first = 0; first < n; first += d->block) {
        const pq_rows rows = {first, n - first < d->block ? n - first : d->block};
        PQ_TRY(copy_block(j, split, rows, err));
        if (beside) {
            PQ_TRY(write_aux(j, split, &aux.rest, rows, err));
        }
        j->done += rows.n;
        pq_progress_report(j->progress, "events", j->done, j->total,
                           d->splits.items[split].name);
    }
    PQ_TRY(copy_aux(j, split, &aux, beside, err));
cleanup:
    d->source.aux_kept = false;
    d->source.aux_room = 0;
    pq_free(d->source.aux_numbers);
    d->source.aux_numbers = NULL;
    aux_free(j, &aux);
    return st;
}

/* The events of one split, read back. */
static pq_status hash_split(job *j, pq_dataset *back, size_t split, pq_hash *hash,
                            pq_err *err)
{
    const pq_split *due = &j->d->splits.items[split];
    size_t          at  = 0;
    pq_status       st;

    PQ_TRY(pq_dataset_split(back, due->name, &at, err));
    PQ_CHECK(pq_dataset_describe(back)->splits[at].n == due->n &&
                 pq_shape_equal(&pq_dataset_describe(back)->sample, &j->d->info.sample),
             PQ_ERR_FORMAT, "split '%s' has another shape than was written", due->name);
    for (size_t first = 0; first < due->n; first += j->d->block) {
        const size_t   n = due->n - first < j->d->block ? due->n - first : j->d->block;
        const pq_batch batch = {j->x, j->y, j->weight};
        PQ_TRY(pq_dataset_read_unscaled(back, at, first, n, &batch, err));
        hash_block(j, hash, n);
    }
cleanup:
    return st;
}

/* A file that cannot be read back, or as other events, gets no name. */
static pq_status check_written(const char *path, const void *context, pq_err *err)
{
    job        *j    = (job *)(uintptr_t)context; /* its buffers are free by now */
    pq_dataset *back = NULL;
    pq_hash     hash;
    char        due[PQ_HASH_TEXT], is[PQ_HASH_TEXT];
    pq_status   st;

    pq_hash_start(&hash);
    PQ_TRY(pq_dataset_open(path, &(pq_dataset_options){.layout = "pquant"}, &back, err));
    for (size_t i = 0; i < j->d->splits.n; i++) {
        PQ_TRY(hash_split(j, back, i, &hash, err));
    }
    pq_hash_end(&hash, is);
    pq_hash_end(&j->hash, due);
    PQ_CHECK(strcmp(is, due) == 0, PQ_ERR_FORMAT,
             "%s: what was written are not the events that were to be", path);
cleanup:
    if (st != PQ_OK && st != PQ_ERR_NOMEM) {
        pq_err_context(err, "the file is not kept, as it cannot be read back");
    }
    pq_dataset_close(&back);
    return st;
}

pq_status pq_data_import(pq_dataset *dataset, const char *path, int gzip,
                         const pq_progress *progress, pq_err *err)
{
    job       j = {.d = dataset, .gzip = gzip, .progress = progress};
    pq_status st;

    PQ_NEW(j.x, dataset->block * dataset->items);
    PQ_NEW(j.y, dataset->block);
    PQ_NEW(j.weight, dataset->block);
    PQ_NEW(j.column, dataset->block);
    for (size_t i = 0; i < dataset->splits.n; i++) {
        j.total += dataset->splits.items[i].n;
    }
    pq_hash_start(&j.hash);
    PQ_TRY(pq_h5_create(path, &j.file, err));
    PQ_TRY(write_about(&j, err));
    PQ_TRY(start_scaler(&j, err));
    for (size_t i = 0; i < dataset->splits.n; i++) {
        PQ_TRY(copy_split(&j, i, err));
    }
    PQ_TRY(write_scaler(&j, err));
    PQ_TRY(pq_h5_commit_checked(&j.file, check_written, &j, err));
cleanup:
    pq_h5_close(&j.file);
    pq_free(j.x);
    pq_free(j.y);
    pq_free(j.weight);
    pq_free(j.column);
    pq_free(j.fill);
    pq_moments_free(&j.moments);
    dataset->fill = NULL;
    return st;
}
