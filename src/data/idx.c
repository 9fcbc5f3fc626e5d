/*
 * IDX as MNIST has it: images and labels in files of their own, plain or gzip.
 * A folder with train- and t10k- files is two splits; an images file with its
 * labels beside it is one.
 *
 * Source: yann.lecun.com/exdb/mnist, "the IDX file format".
 */
#define _GNU_SOURCE /* strcasestr */

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/layout.h"

#define MAX_BYTES ((size_t)4 << 30)

/* One array of bytes; gzip ones are unpacked into memory, plain ones too, as they are
 * small. */
typedef struct {
    pq_shape shape;
    uint8_t *bytes;
} array;

typedef struct {
    array images[2], labels[2];
} idx;

static const char *const fashion[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                      "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                      "Bag",         "Ankle boot"};

/* Path of `name` or `name.gz` in a folder, or NULL. */
static char *find_file(const char *folder, const char *name)
{
    char *path = pq_path_join(folder, name);
    char *gz   = path == NULL ? NULL : pq_format("%s.gz", path);

    if (pq_file_exists(path)) {
        pq_free(gz);
        return path;
    }
    pq_free(path);
    if (pq_file_exists(gz)) {
        return gz;
    }
    pq_free(gz);
    return NULL;
}

static bool folder_has(const char *folder, const char *name)
{
    char *path = find_file(folder, name);
    bool  yes  = path != NULL;

    pq_free(path);
    return yes;
}

static bool recognises(const char *path)
{
    if (pq_folder_exists(path)) {
        return folder_has(path, "train-images-idx3-ubyte") ||
               folder_has(path, "t10k-images-idx3-ubyte");
    }
    return strstr(pq_path_base(path), "images-idx3-ubyte") != NULL;
}

static pq_status read_exactly(gzFile file, const char *path, void *out, size_t n,
                              pq_err *err)
{
    char     *at = out;
    pq_status st = PQ_OK;

    while (n > 0) {
        const unsigned want = n < (1U << 30) ? (unsigned)n : 1U << 30;
        const int      got  = gzread(file, at, want);
        PQ_CHECK(got > 0, PQ_ERR_FORMAT,
                 "%s: is truncated or damaged: %zu more bytes are due", path, n);
        at += got;
        n -= (size_t)got;
    }
cleanup:
    return st;
}

/* Two zero bytes, type, number of dimensions, sizes (big-endian), values. */
static pq_status read_array(const char *path, size_t ndim, array *out, pq_err *err)
{
    gzFile    file = gzdopen(pq_file_open(path), "rb");
    uint8_t   head[4 + 4 * 4];
    size_t    count = 0;
    uint8_t   extra;
    bool      whole;
    pq_status st;

    PQ_CHECK(file != NULL, PQ_ERR_IO, "%s: cannot be opened", path);
    PQ_TRY(read_exactly(file, path, head, 4, err));
    PQ_CHECK(head[0] == 0 && head[1] == 0, PQ_ERR_FORMAT, "%s: is not an IDX file", path);
    PQ_CHECK(head[2] == 8, PQ_ERR_UNSUPPORTED,
             "%s: holds values of type 0x%02x; only unsigned bytes (0x08) are read", path,
             head[2]);
    PQ_CHECK(head[3] == ndim, PQ_ERR_SHAPE, "%s: has %u dimensions, not %zu", path,
             head[3], ndim);
    PQ_TRY(read_exactly(file, path, head + 4, 4 * ndim, err));
    out->shape.ndim = ndim;
    for (size_t i = 0; i < ndim; i++) {
        const uint8_t *b = head + 4 + 4 * i;
        out->shape.dim[i] =
            ((size_t)b[0] << 24) | ((size_t)b[1] << 16) | ((size_t)b[2] << 8) | b[3];
    }
    /* The size a header claims is believed only as far as gzip could have packed it. */
    PQ_CHECK(pq_shape_count(&out->shape, &count) && count > 0 && count <= MAX_BYTES &&
                 count / 1100 <= pq_file_bytes(path),
             PQ_ERR_FORMAT, "%s: claims %zu values in a file of %zu bytes", path, count,
             pq_file_bytes(path));
    PQ_NEW(out->bytes, count);
    PQ_TRY(read_exactly(file, path, out->bytes, count, err));
    whole =
        gzread(file, &extra, 1) == 0; /* gzclose tells whether the checksum was there */
    whole = gzclose(file) == Z_OK && whole;
    file  = NULL;
    PQ_CHECK(whole, PQ_ERR_FORMAT,
             "%s: goes on after the %zu values it announces, or its end is damaged", path,
             count);
cleanup:
    if (file != NULL) {
        (void)gzclose(file);
    }
    return st;
}

static pq_status add_pair(pq_source *s, const char *split, const char *images,
                          const char *labels, pq_err *err)
{
    idx         *x  = s->state;
    const size_t k  = s->n_splits;
    pq_status    st = PQ_OK;
    pq_shape     event;

    PQ_CHECK(labels != NULL, PQ_ERR_FORMAT, "%s: its labels file is not beside it",
             images);
    PQ_TRY(pq_source_note(s, images, err));
    PQ_TRY(pq_source_note(s, labels, err));
    PQ_TRY(read_array(images, 3, &x->images[k], err));
    PQ_TRY(read_array(labels, 1, &x->labels[k], err));
    PQ_CHECK(x->images[k].shape.dim[0] == x->labels[k].shape.dim[0], PQ_ERR_SHAPE,
             "%s: has %zu images, but %s has %zu labels", images,
             x->images[k].shape.dim[0], labels, x->labels[k].shape.dim[0]);
    event = PQ_SHAPE(x->images[k].shape.dim[1], x->images[k].shape.dim[2], 1);
    PQ_CHECK(k == 0 || pq_shape_equal(&event, &s->sample), PQ_ERR_SHAPE,
             "%s: its images have another size than those of the other split", images);
    s->sample = event;
    PQ_TRY(pq_source_add_split(s, split, x->images[k].shape.dim[0], err));
cleanup:
    return st;
}

static pq_status add_folder(pq_source *s, pq_err *err)
{
    static const char *const names[2][3] = {
        {"train", "train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
        {"test", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}};
    char     *images = NULL, *labels = NULL;
    pq_status st = PQ_OK;

    for (size_t i = 0; i < 2; i++) {
        pq_free(images);
        pq_free(labels);
        images = find_file(s->path, names[i][1]);
        labels = find_file(s->path, names[i][2]);
        if (images != NULL) {
            PQ_TRY(add_pair(s, names[i][0], images, labels, err));
        }
    }
cleanup:
    pq_free(images);
    pq_free(labels);
    return st;
}

/* …images-idx3-ubyte[.gz] and …labels-idx1-ubyte[.gz] beside it. */
static pq_status add_file(pq_source *s, pq_err *err)
{
    const char *mark = strstr(pq_path_base(s->path), "images-idx3-ubyte");
    char       *stem = NULL, *labels = NULL;
    pq_status   st;

    PQ_CHECK(mark != NULL, PQ_ERR_FORMAT,
             "%s: an IDX file of images is called …images-idx3-ubyte[.gz]", s->path);
    stem = pq_format("%.*slabels-idx1-ubyte", (int)(mark - s->path), s->path);
    PQ_CHECK(stem != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    labels = find_file(NULL, stem);
    PQ_TRY(add_pair(s, "", s->path, labels, err));
cleanup:
    pq_free(stem);
    pq_free(labels);
    return st;
}

static pq_status name_classes(pq_source *s, pq_err *err)
{
    const idx *x    = s->state;
    size_t     most = 9;
    pq_status  st;

    for (size_t k = 0; k < s->n_splits; k++) {
        for (size_t i = 0; i < s->splits[k].n; i++) {
            most = x->labels[k].bytes[i] > most ? x->labels[k].bytes[i] : most;
        }
    }
    if (strcasestr(s->path, "fashion") != NULL && most == 9) {
        PQ_TRY(pq_texts_copy(fashion, 10, &s->class_names, err));
        s->n_classes = 10;
    } else {
        PQ_TRY(pq_source_number_classes(s, most + 1, err));
    }
cleanup:
    return st;
}

static pq_status open_idx(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    idx      *x = NULL;
    pq_status st;

    (void)options;
    PQ_NEW(x, 1);
    s->state = x;
    s->bytes = true;
    if (pq_folder_exists(s->path)) {
        PQ_TRY(add_folder(s, err));
        PQ_CHECK(s->n_splits > 0, PQ_ERR_FORMAT,
                 "%s: holds neither train-images-idx3-ubyte[.gz] nor "
                 "t10k-images-idx3-ubyte[.gz]",
                 s->path);
    } else {
        PQ_TRY(add_file(s, err));
    }
    PQ_TRY(name_classes(s, err));
cleanup:
    return st;
}

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    const idx     *x     = s->state;
    const size_t   items = s->sample.dim[0] * s->sample.dim[1];
    const uint8_t *image = x->images[split].bytes + first * items;

    (void)err;
    for (size_t i = 0; out->x != NULL && i < n * items; i++) {
        out->x[i] = (float)image[i];
    }
    for (size_t i = 0; i < n; i++) {
        if (out->y != NULL) {
            out->y[i] = (double)x->labels[split].bytes[first + i];
        }
        if (out->weight != NULL) {
            out->weight[i] = 1.0F;
        }
    }
    return PQ_OK;
}

static void close_idx(pq_source *s)
{
    idx *x = s->state;

    for (size_t i = 0; x != NULL && i < 2; i++) {
        pq_free(x->images[i].bytes);
        pq_free(x->labels[i].bytes);
    }
    pq_free(x);
}

const pq_layout pq_layout_idx = {
    .name       = "idx",
    .summary    = "IDX images and labels as MNIST and Fashion-MNIST have them, plain or "
                  "gzip; pixels 0..255",
    .recognises = recognises,
    .open       = open_idx,
    .read       = read_events,
    .close      = close_idx,
};
