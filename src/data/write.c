#include "data/write.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/dataset_inside.h"
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
    double            *aux;
} job;

static bool is_bytes(const job *j)
{
    return j->d->source.bytes;
}

/* Mean and spread of each feature, in one pass over the rows that are there; a mask keeps
 * 0 and 1. Source: Welford, Technometrics 4 (1962),
 * doi:10.1080/00401706.1962.10490022. */
static pq_status fit(const job *j, size_t split, float *mean, float *std, pq_err *err)
{
    pq_dataset  *d = j->d;
    const size_t n = d->splits.items[split].n, per = d->items / d->features;
    const size_t fitted = d->features - (d->info.padded ? 1 : 0);
    double      *m = NULL, *sum = NULL;
    double       seen = 0.0;
    pq_status    st;

    PQ_NEW(m, d->features);
    PQ_NEW(sum, d->features);
    for (size_t first = 0; first < n; first += d->block) {
        const size_t count = n - first < d->block ? n - first : d->block;
        PQ_TRY(pq_dataset_read(d, split, first, count, &(pq_batch){.x = j->x}, err));
        for (size_t i = 0; i < count * per; i++) {
            const float *row = j->x + i * d->features;
            if (d->info.padded && !(row[fitted] > 0.0F)) {
                continue;
            }
            seen += 1.0;
            for (size_t k = 0; k < fitted; k++) {
                const double value = (double)row[k], delta = value - m[k];
                m[k] += delta / seen;
                sum[k] += delta * (value - m[k]);
            }
        }
    }
    for (size_t k = 0; k < d->features; k++) {
        mean[k] = (float)m[k];
        std[k]  = seen > 0.0 ? (float)sqrt(sum[k] / seen) : 1.0F;
        std[k]  = std[k] > 0.0F ? std[k] : 1.0F;
    }
cleanup:
    pq_free(m);
    pq_free(sum);
    return st;
}

static pq_status write_scaler(const job *j, pq_err *err)
{
    pq_dataset  *d    = j->d;
    const int8_t flag = d->source.standardized ? 1 : 0;
    float       *mean = NULL, *std = NULL;
    size_t       train;
    pq_status    st;

    PQ_NEW(mean, d->features);
    PQ_NEW(std, d->features);
    if (d->mean != NULL) {
        memcpy(mean, d->mean, d->features * sizeof *mean);
        memcpy(std, d->std, d->features * sizeof *std);
    } else if (d->info.sample.ndim == 1 || d->info.padded) {
        if (pq_dataset_split(d, "train", &train, NULL) != PQ_OK) {
            train = 0;
        }
        PQ_TRY(fit(j, train, mean, std, err));
    } else {
        goto cleanup;
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

static pq_status write_about(const job *j, pq_err *err)
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
    PQ_TRY(write_scaler(j, err));
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

static pq_status copy_aux(const job *j, size_t split, const char *name, pq_err *err)
{
    pq_dataset  *d    = j->d;
    const size_t n    = d->splits.items[split].n;
    char        *path = pq_format("aux/%s", name);
    pq_status    st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(make_rows(j, split, path, PQ_DTYPE_F64, (pq_shape){0}, err));
    for (size_t first = 0; first < n; first += d->block) {
        const size_t count = n - first < d->block ? n - first : d->block;
        PQ_TRY(pq_dataset_read_aux(d, split, name, first, count, j->aux, err));
        PQ_TRY(write_rows(j, split, path, (pq_rows){first, count}, PQ_DTYPE_F64, j->aux,
                          err));
    }
cleanup:
    pq_free(path);
    return st;
}

static pq_status copy_split(job *j, size_t split, pq_err *err)
{
    pq_dataset      *d     = j->d;
    const pq_layout *from  = d->source.layout;
    const size_t     n     = d->splits.items[split].n;
    char           **names = NULL;
    size_t           n_aux = 0;
    pq_status        st;

    PQ_TRY(make_rows(j, split, "x", is_bytes(j) ? PQ_DTYPE_U8 : PQ_DTYPE_F32,
                     d->info.sample, err));
    PQ_TRY(make_rows(j, split, "y", PQ_DTYPE_I32, (pq_shape){0}, err));
    PQ_TRY(make_rows(j, split, "weight", PQ_DTYPE_F32, (pq_shape){0}, err));
    for (size_t first = 0; first < n; first += d->block) {
        const pq_rows rows = {first, n - first < d->block ? n - first : d->block};
        PQ_TRY(copy_block(j, split, rows, err));
        j->done += rows.n;
        pq_progress_report(j->progress, "events", j->done, j->total,
                           d->splits.items[split].name);
    }
    if (from->list_aux != NULL) {
        PQ_TRY(
            from->list_aux(&d->source, d->splits.items[split].base, &names, &n_aux, err));
    }
    for (size_t i = 0; i < n_aux; i++) {
        PQ_TRY(copy_aux(j, split, names[i], err));
    }
cleanup:
    pq_texts_free(&names, n_aux);
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
    PQ_NEW(j.aux, dataset->block);
    for (size_t i = 0; i < dataset->splits.n; i++) {
        j.total += dataset->splits.items[i].n;
    }
    PQ_TRY(pq_h5_create(path, &j.file, err));
    PQ_TRY(write_about(&j, err));
    for (size_t i = 0; i < dataset->splits.n; i++) {
        PQ_TRY(copy_split(&j, i, err));
    }
    PQ_TRY(pq_h5_commit(&j.file, err));
cleanup:
    pq_h5_close(&j.file);
    pq_free(j.x);
    pq_free(j.y);
    pq_free(j.weight);
    pq_free(j.aux);
    return st;
}
