/*
 * CIFAR in its binary form: records of one label (CIFAR-100: two) and 3072
 * pixels, the red plane first, then green, then blue.
 *
 * Source: https://www.cs.toronto.edu/~kriz/cifar.html.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/layout.h"

enum {
    SIDE            = 32,
    CHANNELS        = 3,
    PIXELS          = SIDE * SIDE,
    MAX_FILES       = 5,
    MAX_NAMES_BYTES = 1 << 16
};

#define UNPACKED "cifar-10-batches-bin"

/* A file of a split. */
typedef struct {
    FILE  *file;
    size_t first, n; /* its events in the split */
} part;

typedef struct {
    size_t labels; /* bytes before the pixels; the last one is the class */
    struct {
        part   parts[MAX_FILES];
        size_t n;
    } splits[2];
} cifar;

static bool has(const char *folder, const char *name)
{
    char *path = pq_path_join(folder, name);
    bool  yes  = pq_file_exists(path);

    pq_free(path);
    return yes;
}

static bool is_hundred(const char *path)
{
    return has(path, "fine_label_names.txt") &&
           (has(path, "train.bin") || has(path, "test.bin"));
}

static bool is_ten(const char *path)
{
    return has(path, "data_batch_1.bin") || has(path, "test_batch.bin");
}

/* The folder itself, or the one that holds what the published archive unpacks to. */
static bool recognises(const char *path)
{
    return pq_folder_exists(path) &&
           (is_ten(path) || is_hundred(path) || has(path, UNPACKED "/data_batch_1.bin"));
}

static pq_status add_file(pq_source *s, size_t split, const char *name, pq_err *err)
{
    cifar       *c      = s->state;
    const size_t record = c->labels + CHANNELS * PIXELS;
    char        *path   = pq_path_join(s->path, name);
    part        *p      = &c->splits[split].parts[c->splits[split].n];
    size_t       bytes;
    pq_status    st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_source_note(s, path, err));
    p->file = pq_file_stream(path);
    PQ_CHECK(p->file != NULL, pq_status_of_errno(errno), "%s: %s", path, strerror(errno));
    c->splits[split].n++;
    bytes = pq_file_bytes(path);
    PQ_CHECK(
        bytes > 0 && bytes % record == 0, PQ_ERR_FORMAT,
        "%s: has %zu bytes, which is no whole number of records of %zu: it is truncated "
        "or no CIFAR file",
        path, bytes, record);
    p->first = s->splits[split].n;
    p->n     = bytes / record;
    s->splits[split].n += p->n;
cleanup:
    pq_free(path);
    return st;
}

/* Adds a split of those files that are there. */
static pq_status add_split(pq_source *s, const char *name, const char *const *files,
                           size_t n, pq_err *err)
{
    const size_t split = s->n_splits;
    bool         any   = false;
    pq_status    st    = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        any = any || has(s->path, files[i]);
    }
    if (!any) {
        return PQ_OK;
    }
    PQ_TRY(pq_source_add_split(s, name, 0, err));
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(has(s->path, files[i]), PQ_ERR_FORMAT, "%s: %s is missing", s->path,
                 files[i]);
        PQ_TRY(add_file(s, split, files[i], err));
    }
cleanup:
    return st;
}

/* One name a line; a folder without names has numbers. */
static pq_status read_names(pq_source *s, const char *name, size_t due, pq_err *err)
{
    char     *path = pq_path_join(s->path, name);
    char     *text = NULL, *rest = NULL;
    size_t    bytes = 0;
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (!pq_file_exists(path)) {
        PQ_TRY(pq_source_number_classes(s, due, err));
        goto cleanup;
    }
    PQ_TRY(pq_source_note(s, path, err));
    PQ_TRY(pq_file_read(path, MAX_NAMES_BYTES, &text, &bytes, err));
    PQ_NEW(s->class_names, due);
    s->n_classes = due;
    bytes        = 0;
    for (char *line = strtok_r(text, "\r\n", &rest); line != NULL;
         line       = strtok_r(NULL, "\r\n", &rest)) {
        PQ_CHECK(bytes < due, PQ_ERR_FORMAT, "%s: has more than %zu names", path, due);
        PQ_STRDUP(s->class_names[bytes++], line);
    }
    PQ_CHECK(bytes == due, PQ_ERR_FORMAT, "%s: has %zu names, not %zu", path, bytes, due);
cleanup:
    pq_free(path);
    pq_free(text);
    return st;
}

/* Goes on in the inner folder where the archive was unpacked. */
static pq_status enter_unpacked(pq_source *s, pq_err *err)
{
    char     *inner = NULL;
    pq_status st    = PQ_OK;

    if (is_ten(s->path) || is_hundred(s->path)) {
        return PQ_OK;
    }
    inner = pq_path_join(s->path, UNPACKED);
    PQ_CHECK(inner != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (pq_folder_exists(inner)) {
        pq_free(s->path);
        s->path = inner;
        inner   = NULL;
    }
cleanup:
    pq_free(inner);
    return st;
}

static pq_status open_cifar(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    static const char *const ten[]      = {"data_batch_1.bin", "data_batch_2.bin",
                                           "data_batch_3.bin", "data_batch_4.bin",
                                           "data_batch_5.bin"};
    static const char *const ten_test[] = {"test_batch.bin"};
    static const char *const hundred[] = {"train.bin"}, *const hundred_test[] = {
                                                            "test.bin"};
    bool      is_100;
    cifar    *c = NULL;
    pq_status st;

    (void)options;
    PQ_NEW(c, 1);
    s->state = c;
    PQ_TRY(enter_unpacked(s, err));
    is_100    = is_hundred(s->path);
    s->bytes  = true;
    c->labels = is_100 ? 2 : 1;
    s->sample = PQ_SHAPE(SIDE, SIDE, CHANNELS);
    PQ_TRY(add_split(s, "train", is_100 ? hundred : ten, is_100 ? 1 : MAX_FILES, err));
    PQ_TRY(add_split(s, "test", is_100 ? hundred_test : ten_test, 1, err));
    PQ_CHECK(s->n_splits > 0, PQ_ERR_FORMAT,
             "%s: holds neither data_batch_1.bin to data_batch_5.bin nor test_batch.bin",
             s->path);
    PQ_TRY(read_names(s, is_100 ? "fine_label_names.txt" : "batches.meta.txt",
                      is_100 ? 100 : 10, err));
    PQ_STRDUP(s->source, "https://www.cs.toronto.edu/~kriz/cifar.html");
cleanup:
    return st;
}

/* n records of one file, from event `from` of the file on. */
static pq_status read_part(const pq_source *s, const part *p, size_t from, size_t n,
                           const pq_raw *out, pq_err *err)
{
    const cifar *c      = s->state;
    const size_t record = c->labels + CHANNELS * PIXELS;
    uint8_t     *bytes  = NULL;
    pq_status    st;

    PQ_NEW(bytes, n * record);
    PQ_CHECK(fseeko(p->file, (off_t)(from * record), SEEK_SET) == 0 &&
                 fread(bytes, record, n, p->file) == n,
             PQ_ERR_IO, "%s: cannot be read", s->path);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *r = bytes + i * record;
        if (out->y != NULL) {
            out->y[i] = (double)r[c->labels - 1];
        }
        for (size_t k = 0; out->x != NULL && k < CHANNELS; k++) {
            for (size_t j = 0; j < PIXELS; j++) {
                out->x[(i * PIXELS + j) * CHANNELS + k] =
                    (float)r[c->labels + k * PIXELS + j];
            }
        }
    }
cleanup:
    pq_free(bytes);
    return st;
}

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    cifar    *c  = s->state;
    pq_status st = PQ_OK;

    for (size_t k = 0; k < c->splits[split].n; k++) {
        const part  *p    = &c->splits[split].parts[k];
        const size_t from = first > p->first ? first : p->first;
        const size_t end  = first + n < p->first + p->n ? first + n : p->first + p->n;
        const size_t at   = from - first;
        const pq_raw to   = {.x = out->x == NULL ? NULL : out->x + at * CHANNELS * PIXELS,
                             .y = out->y == NULL ? NULL : out->y + at};
        if (from < end) {
            PQ_TRY(read_part(s, p, from - p->first, end - from, &to, err));
        }
    }
    for (size_t i = 0; out->weight != NULL && i < n; i++) {
        out->weight[i] = 1.0F;
    }
cleanup:
    return st;
}

static void close_cifar(pq_source *s)
{
    cifar *c = s->state;

    for (size_t i = 0; c != NULL && i < 2; i++) {
        for (size_t k = 0; k < c->splits[i].n; k++) {
            (void)fclose(c->splits[i].parts[k].file);
        }
    }
    pq_free(c);
}

const pq_layout pq_layout_cifar = {
    .name       = "cifar",
    .summary    = "folder of CIFAR-10 or CIFAR-100 in binary form; pixels 0..255",
    .recognises = recognises,
    .open       = open_cifar,
    .read       = read_events,
    .close      = close_cifar,
};
