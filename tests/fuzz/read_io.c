/* HDF5 and YAML as the rooms above read them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../io/print.h"
#include "core/file.h"
#include "core/memory.h"
#include "fuzz.h"
#include "io/hdf5.h"
#include "io/zip.h"
#include "targets.h"

enum { MOST_BYTES = 1 << 22, ROWS = 8, COLUMNS = 4 };

static void read_columns(pq_h5 *file, const char *path, pq_rows rows, size_t items)
{
    char **names = NULL;
    size_t n     = 0;
    float *out;

    if (pq_h5_columns(file, path, &names, &n, NULL) == PQ_OK && n > 0) {
        const size_t taken = n < COLUMNS ? n : COLUMNS;
        out                = pq_calloc(items * taken, sizeof *out);
        (void)pq_h5_read_columns(file, path, rows, (const char *const *)names, taken,
                                 PQ_DTYPE_F32, out, NULL);
        pq_free(out);
    }
    pq_h5_free_texts(&names, n);
}

static void read_dataset(pq_h5 *file, const char *path, const pq_h5_info *info)
{
    pq_tensor    *t     = NULL;
    char        **texts = NULL;
    size_t        n = 0, items = 1;
    const pq_rows rows = {
        0, info->shape.ndim > 0 && info->shape.dim[0] < ROWS ? info->shape.dim[0] : ROWS};
    double *values;

    for (size_t i = 0; i < info->shape.ndim; i++) {
        const size_t each = i == 0 ? rows.n : info->shape.dim[i];
        if (__builtin_mul_overflow(items, each, &items) || items > MOST_BYTES / 64) {
            items = 0;
            break;
        }
    }
    (void)pq_h5_read(file, path, PQ_DTYPE_F32, MOST_BYTES, &t, NULL);
    pq_tensor_free(&t);
    (void)pq_h5_read(file, path, PQ_DTYPE_I8, MOST_BYTES, &t, NULL);
    pq_tensor_free(&t);
    (void)pq_h5_read_texts(file, path, &texts, &n, NULL);
    pq_h5_free_texts(&texts, n);
    if (items > 0) {
        values = pq_calloc(items, sizeof *values);
        (void)pq_h5_read_rows(file, path, rows, PQ_DTYPE_F64, values, NULL);
        (void)pq_h5_read_rows(file, path, rows, PQ_DTYPE_I64, values, NULL);
        pq_free(values);
        read_columns(file, path, rows, items);
    }
}

static void read_attribute(pq_h5 *file, const char *path, const char *name)
{
    char   *text = NULL, **texts = NULL;
    double *numbers = NULL;
    size_t  n       = 0;

    (void)pq_h5_has_attr(file, path, name);
    (void)pq_h5_attr_text(file, path, name, &text, NULL);
    pq_free(text);
    (void)pq_h5_attr_texts(file, path, name, &texts, &n, NULL);
    pq_h5_free_texts(&texts, n);
    (void)pq_h5_attr_numbers(file, path, name, &numbers, &n, NULL);
    pq_free(numbers);
}

static void read_object(pq_h5 *file, const char *path)
{
    char     **names = NULL;
    size_t     n     = 0;
    pq_h5_info info;

    (void)pq_h5_has(file, path);
    (void)pq_h5_kind(file, path);
    if (pq_h5_describe(file, path, &info, NULL) == PQ_OK) {
        if (info.kind == PQ_H5_GROUP) {
            (void)pq_h5_list(file, path, &names, &n, NULL);
            pq_h5_free_texts(&names, n);
        } else {
            read_dataset(file, path, &info);
        }
    }
}

/* What the records say is there, whether it is or not. */
pq_status fuzz_hdf5(const fuzz_input *in, pq_err *err)
{
    pq_h5      *file = NULL;
    fuzz_record r;
    pq_status   st;

    PQ_TRY(pq_h5_open(in->first, &file, err));
    read_object(file, "/");
    for (size_t at = 0; fuzz_next(in->bytes, in->n, &at, &r);) {
        if (r.kind == 'A') {
            read_attribute(file, r.fields[0], r.fields[1]);
        } else if (r.kind != 'F' && r.kind != 'H' && r.kind != 'O') {
            read_object(file, r.fields[0]);
        }
    }
cleanup:
    pq_h5_close(&file);
    return st;
}

static void walk(pq_h5 *file, const char *group, size_t depth)
{
    char **names = NULL;
    size_t n     = 0;

    if (depth < 5 && pq_h5_list(file, group, &names, &n, NULL) == PQ_OK) {
        for (size_t i = 0; i < n && i < 32; i++) {
            char *path = pq_path_join(group, names[i]);
            read_object(file, path);
            read_attribute(file, path, "shape");
            if (pq_h5_kind(file, path) == PQ_H5_GROUP) {
                walk(file, path, depth + 1);
            }
            pq_free(path);
        }
    }
    pq_h5_free_texts(&names, n);
}

static pq_status walk_file(const char *path, pq_err *err)
{
    pq_h5    *file = NULL;
    pq_status st;

    fuzz_use_child(true);
    PQ_TRY(pq_h5_open(path, &file, err));
    read_attribute(file, "/", "format");
    walk(file, "/", 0);
cleanup:
    pq_h5_close(&file);
    return st;
}

pq_status fuzz_hdf5_bytes(const fuzz_input *in, pq_err *err)
{
    return walk_file(in->first, err);
}

/* The first file is what is told of the second. */
pq_status fuzz_hdf5_told(const fuzz_input *in, pq_err *err)
{
    char     *bytes = NULL, path[512];
    pq_status st;

    PQ_TRY(pq_file_read(in->first, 1 << 20, &bytes, &fuzz_n_told, err));
    fuzz_told = (const uint8_t *)bytes;
    st        = walk_file(fuzz_path(in, "b.h5", path, sizeof path), err);
cleanup:
    fuzz_told = NULL;
    pq_free(bytes);
    return st;
}

/* A tree prints, and reads back. */
pq_status fuzz_yaml(const fuzz_input *in, pq_err *err)
{
    pq_yaml  *root = NULL, *again = NULL;
    pq_text   text = {0};
    pq_err    why  = {0};
    pq_status st;

    PQ_TRY(pq_yaml_read(in->first, &root, err));
    print_yaml(root, 0, &text);
    if (!text.failed && text.length < PQ_YAML_MAX_BYTES &&
        pq_yaml_parse(text.text, text.length, "printed", &again, &why) != PQ_OK) {
        fuzz_broken("a tree that was printed is not read", &why);
    }
cleanup:
    pq_yaml_free(&root);
    pq_yaml_free(&again);
    pq_text_free(&text);
    return st;
}

pq_status fuzz_zip(const fuzz_input *in, pq_err *err)
{
    char     *bytes = NULL, *content = NULL;
    size_t    n   = 0;
    pq_zip    zip = {0};
    pq_status st;

    PQ_TRY(pq_file_read(in->first, MOST_BYTES, &bytes, &n, err));
    PQ_TRY(pq_zip_open((const uint8_t *)bytes, n, &zip, err));
    for (size_t i = 0; i < zip.n; i++) {
        if (pq_zip_content(&zip.members[i], &content, NULL) == PQ_OK) {
            if (content[zip.members[i].n] != '\0') {
                fuzz_broken("a member without an end", err);
            }
            pq_free(content);
        }
    }
    (void)pq_zip_find(&zip, "config.json");
cleanup:
    pq_zip_free(&zip);
    pq_free(bytes);
    return st;
}
