#include <criterion/criterion.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/threads.h"
#include "io/hdf5.h"
#include "scratch.h"

TestSuite(hdf5, .init = setup, .fini = teardown);

/* Expects a failing status and a message that starts with the file's path. */
#define FAILS(call, status, text)                                                        \
    do {                                                                                 \
        pq_err  fail_err = {0};                                                          \
        pq_err *err      = &fail_err;                                                    \
        char    want[600];                                                               \
        cr_expect_eq((call), (status));                                                  \
        snprintf(want, sizeof want, "%s%s", path, (text));                               \
        cr_expect_str_eq(fail_err.message, want);                                        \
    } while (0)

static pq_tensor *counting(pq_dtype dtype, pq_shape shape)
{
    pq_tensor *t = NULL, *out = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, shape, &t, err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = (float)i;
    }
    OK(pq_tensor_convert(t, dtype, &out, err));
    pq_tensor_free(&t);
    return out;
}

static pq_h5 *create(void)
{
    pq_h5 *file = NULL;

    OK(pq_h5_create(path, &file, err));
    return file;
}

static pq_h5 *reopen(pq_h5 *file)
{
    pq_h5 *read = NULL;

    OK(pq_h5_commit(&file, err));
    OK(pq_h5_open(path, &read, err));
    return read;
}

Test(hdf5, arrays_of_every_type_come_back)
{
    static const pq_dtype types[] = {
        PQ_DTYPE_F32, PQ_DTYPE_F64, PQ_DTYPE_F16, PQ_DTYPE_I8,  PQ_DTYPE_U8,
        PQ_DTYPE_I16, PQ_DTYPE_U16, PQ_DTYPE_I32, PQ_DTYPE_U32, PQ_DTYPE_I64};
    pq_h5 *file = create();

    for (int gzip = 0; gzip < 2; gzip++) {
        for (size_t i = 0; i < 10; i++) {
            pq_tensor *t = counting(types[i], PQ_SHAPE(5, 4, 6));
            char       name[64];
            snprintf(name, sizeof name, "g/%d/%s", gzip, pq_dtype_name(types[i]));
            OK(pq_h5_write(file, name, t, gzip, err));
            pq_tensor_free(&t);
        }
    }
    file = reopen(file);
    for (int gzip = 0; gzip < 2; gzip++) {
        for (size_t i = 0; i < 10; i++) {
            pq_tensor *t = NULL, *as_float = NULL;
            char       name[64];
            snprintf(name, sizeof name, "g/%d/%s", gzip, pq_dtype_name(types[i]));
            OK(pq_h5_read(file, name, types[i], 1 << 20, &t, err));
            OK(pq_h5_read(file, name, PQ_DTYPE_F32, 1 << 20, &as_float, err));
            cr_assert_eq(t->count, 120);
            for (size_t k = 0; k < t->count; k++) {
                cr_assert_eq(pq_tensor_get(t, k), (double)k);
                cr_assert_eq(pq_f32(as_float)[k], (float)k);
            }
            pq_tensor_free(&t);
            pq_tensor_free(&as_float);
        }
    }
    pq_h5_close(&file);
}

Test(hdf5, rows_grow_when_written_and_are_read_in_ranges)
{
    pq_tensor *t    = counting(PQ_DTYPE_F32, PQ_SHAPE(10, 3));
    pq_h5     *file = create();
    pq_h5_info info;
    float      got[12];

    OK(pq_h5_make_rows(file, "train/x", PQ_DTYPE_F32, PQ_SHAPE(3), 4, err));
    OK(pq_h5_write_rows(file, "train/x", (pq_rows){0, 6}, PQ_DTYPE_F32, pq_f32(t), err));
    OK(pq_h5_write_rows(file, "train/x", (pq_rows){6, 4}, PQ_DTYPE_F32, pq_f32(t) + 18,
                        err));
    file = reopen(file);
    OK(pq_h5_describe(file, "train/x", &info, err));
    cr_expect_eq(info.kind, PQ_H5_FLOAT);
    cr_expect(pq_shape_equal(&info.shape, &PQ_SHAPE(10, 3)));
    OK(pq_h5_read_rows(file, "train/x", (pq_rows){5, 4}, PQ_DTYPE_F32, got, err));
    for (size_t i = 0; i < 12; i++) {
        cr_expect_eq(got[i], (float)(15 + i));
    }
    OK(pq_h5_read_rows(file, "train/x", (pq_rows){10, 0}, PQ_DTYPE_F32, got, err));
    FAILS(pq_h5_read_rows(file, "train/x", (pq_rows){8, 3}, PQ_DTYPE_F32, got, err),
          PQ_ERR_RANGE, ": train/x has no rows 8..11; it has 10");
    FAILS(
        pq_h5_read_rows(file, "train/x", (pq_rows){SIZE_MAX, 2}, PQ_DTYPE_F32, got, err),
        PQ_ERR_RANGE, ": train/x has no rows 18446744073709551615..1; it has 10");
    pq_h5_close(&file);
    pq_tensor_free(&t);
}

Test(hdf5, attributes_come_back_whatever_their_kind)
{
    static const char *const names[] = {"g", "quark", "\xc3\xa9"};
    const double             mean[]  = {1.5, -2.0};
    const int32_t            one     = 7;
    pq_h5                   *file    = create();
    char                    *text = NULL, **texts = NULL;
    double                  *numbers = NULL;
    size_t                   n       = 0;

    OK(pq_h5_set_text(file, "/", "format", "pquant-model", err));
    OK(pq_h5_set_text(file, "/", "empty", "", err));
    OK(pq_h5_set_texts(file, "/", "class_names", names, 3, err));
    OK(pq_h5_set_numbers(file, "/", "mean", PQ_DTYPE_F64, mean, 2, err));
    OK(pq_h5_set_numbers(file, "/", "version", PQ_DTYPE_I32, &one, 1, err));
    OK(pq_h5_write_text(file, "graph", "{\"a\": 1}", err));
    file = reopen(file);
    OK(pq_h5_attr_text(file, "/", "format", &text, err));
    cr_expect_str_eq(text, "pquant-model");
    pq_free(text);
    OK(pq_h5_attr_text(file, "/", "empty", &text, err));
    cr_expect_str_eq(text, "");
    pq_free(text);
    OK(pq_h5_attr_texts(file, "/", "class_names", &texts, &n, err));
    cr_assert_eq(n, 3);
    cr_expect_str_eq(texts[1], "quark");
    cr_expect_str_eq(texts[2], "\xc3\xa9");
    pq_h5_free_texts(&texts, n);
    OK(pq_h5_attr_numbers(file, "/", "mean", &numbers, &n, err));
    cr_assert_eq(n, 2);
    cr_expect_eq(numbers[1], -2.0);
    pq_free(numbers);
    OK(pq_h5_attr_numbers(file, "/", "version", &numbers, &n, err));
    cr_assert_eq(n, 1);
    cr_expect_eq(numbers[0], 7.0);
    pq_free(numbers);
    OK(pq_h5_read_texts(file, "graph", &texts, &n, err));
    cr_assert_eq(n, 1);
    cr_expect_str_eq(texts[0], "{\"a\": 1}");
    pq_h5_free_texts(&texts, n);
    cr_expect(pq_h5_has_attr(file, "/", "version"));
    cr_expect_not(pq_h5_has_attr(file, "/", "none"));
    FAILS(pq_h5_attr_text(file, "/", "none", &text, err), PQ_ERR_NOT_FOUND,
          ": / has no attribute 'none'");
    FAILS(pq_h5_attr_text(file, "/", "class_names", &text, err), PQ_ERR_FORMAT,
          ": attribute 'class_names' of / holds 3 texts, not one");
    FAILS(pq_h5_attr_text(file, "/", "mean", &text, err), PQ_ERR_FORMAT,
          ": attribute 'mean' of /: holds no text");
    FAILS(pq_h5_attr_numbers(file, "/", "format", &numbers, &n, err), PQ_ERR_FORMAT,
          ": attribute 'format' of / holds no numbers");
    pq_h5_close(&file);
}

/* Writes a string attribute as other programs do. */
static void foreign_texts(hid_t object, const char *name, bool variable, H5T_cset_t cset,
                          H5T_str_t pad, const char *const *texts, size_t n)
{
    const hsize_t dim   = n;
    const hid_t   type  = H5Tcopy(H5T_C_S1);
    const hid_t   space = H5Screate_simple(1, &dim, NULL);
    char          fixed[8 * 16];
    hid_t         id;

    memset(fixed, pad == H5T_STR_SPACEPAD ? ' ' : 0, sizeof fixed);
    for (size_t i = 0; i < n; i++) {
        memcpy(fixed + 16 * i, texts[i], strlen(texts[i]));
    }
    H5Tset_size(type, variable ? H5T_VARIABLE : 16);
    H5Tset_cset(type, cset);
    H5Tset_strpad(type, pad);
    id = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert(H5Awrite(id, type, variable ? (const void *)texts : fixed) >= 0);
    H5Aclose(id);
    H5Sclose(space);
    H5Tclose(type);
}

Test(hdf5, texts_of_every_encoding_and_in_numbered_parts_are_read)
{
    static const char *const some[]  = {"dense", "dense_1"};
    static const char *const names[] = {"v_ascii", "v_utf8", "f_null", "f_space",
                                        "f_utf8"};
    const hid_t raw  = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    pq_h5      *file = NULL;
    char      **texts;
    size_t      n;

    foreign_texts(raw, "v_ascii", true, H5T_CSET_ASCII, H5T_STR_NULLTERM, some, 2);
    foreign_texts(raw, "v_utf8", true, H5T_CSET_UTF8, H5T_STR_NULLTERM, some, 2);
    foreign_texts(raw, "f_null", false, H5T_CSET_ASCII, H5T_STR_NULLPAD, some, 2);
    foreign_texts(raw, "f_space", false, H5T_CSET_ASCII, H5T_STR_SPACEPAD, some, 2);
    foreign_texts(raw, "f_utf8", false, H5T_CSET_UTF8, H5T_STR_NULLTERM, some, 2);
    foreign_texts(raw, "layer_names0", false, H5T_CSET_ASCII, H5T_STR_NULLPAD, some, 2);
    foreign_texts(raw, "layer_names1", true, H5T_CSET_UTF8, H5T_STR_NULLTERM, some, 1);
    H5Fclose(raw);
    OK(pq_h5_open(path, &file, err));
    for (size_t i = 0; i < 5; i++) {
        OK(pq_h5_attr_texts(file, "/", names[i], &texts, &n, err));
        cr_assert_eq(n, 2);
        cr_expect_str_eq(texts[0], "dense", "%s: '%s'", names[i], texts[0]);
        cr_expect_str_eq(texts[1], "dense_1", "%s: '%s'", names[i], texts[1]);
        pq_h5_free_texts(&texts, n);
    }
    OK(pq_h5_attr_texts(file, "/", "layer_names", &texts, &n, err));
    cr_assert_eq(n, 3);
    cr_expect_str_eq(texts[1], "dense_1");
    cr_expect_str_eq(texts[2], "dense");
    pq_h5_free_texts(&texts, n);
    pq_h5_close(&file);
}

typedef struct {
    double   pt;
    int32_t  label;
    int8_t   valid;
    uint16_t half;
    float    eta;
} jet;

/* A compound dataset "jets" [3, 2] with f8, i4, bool enum, f2 and f4. */
static void write_compound(void)
{
    jet           rows[6];
    const hsize_t dim[] = {3, 2};
    const hid_t   raw   = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t   type  = H5Tcreate(H5T_COMPOUND, sizeof *rows);
    const hid_t   truth = H5Tenum_create(H5T_NATIVE_INT8);
    const hid_t   half  = H5Tcopy(H5T_IEEE_F32LE);
    const hid_t   name  = H5Tcopy(H5T_C_S1);
    const hid_t   space = H5Screate_simple(2, dim, NULL);
    const int8_t  no = 0, yes = 1;
    hid_t         id;

    H5Tenum_insert(truth, "FALSE", &no);
    H5Tenum_insert(truth, "TRUE", &yes);
    H5Tset_fields(half, 15, 10, 5, 0, 10);
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    H5Tinsert(type, "pt", HOFFSET(jet, pt), H5T_NATIVE_DOUBLE);
    H5Tinsert(type, "label", HOFFSET(jet, label), H5T_NATIVE_INT32);
    H5Tinsert(type, "valid", HOFFSET(jet, valid), truth);
    H5Tinsert(type, "half", HOFFSET(jet, half), half);
    H5Tinsert(type, "eta", HOFFSET(jet, eta), H5T_NATIVE_FLOAT);
    for (int i = 0; i < 6; i++) {
        rows[i] = (jet){10.0 * i, i - 3, (int8_t)(i % 2),
                        pq_f16_from_f32(0.5F * (float)i), (float)-i};
    }
    id = H5Dcreate2(raw, "jets", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert(H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    H5Dclose(id);
    H5Fclose(raw);
    H5Tclose(type);
    H5Tclose(truth);
    H5Tclose(half);
    H5Tclose(name);
    H5Sclose(space);
}

Test(hdf5, compound_columns_are_read_by_name_in_one_pass)
{
    static const char *const want[]  = {"half", "pt", "valid", "label"};
    static const char *const wrong[] = {"ptt"};
    static const char *const twice[] = {"pt", "pt"};
    pq_h5                   *file    = NULL;
    char                   **names;
    size_t                   n;
    float                    got[16];
    double                   one[2];

    write_compound();
    OK(pq_h5_open(path, &file, err));
    OK(pq_h5_columns(file, "jets", &names, &n, err));
    cr_assert_eq(n, 5);
    cr_expect_str_eq(names[4], "eta");
    pq_h5_free_texts(&names, n);
    OK(pq_h5_read_columns(file, "jets", (pq_rows){1, 2}, want, 4, PQ_DTYPE_F32, got,
                          err));
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(got[4 * i], 0.5F * (float)(i + 2));
        cr_expect_eq(got[4 * i + 1], 10.0F * (float)(i + 2));
        cr_expect_eq(got[4 * i + 2], (float)(i % 2));
        cr_expect_eq(got[4 * i + 3], (float)i - 1.0F);
    }
    OK(pq_h5_read_columns(file, "jets", (pq_rows){0, 1}, want + 1, 1, PQ_DTYPE_F64, one,
                          err));
    cr_expect_eq(one[1], 10.0);
    FAILS(pq_h5_read_columns(file, "jets", (pq_rows){0, 1}, wrong, 1, PQ_DTYPE_F32, got,
                             err),
          PQ_ERR_NOT_FOUND, ": jets has no column 'ptt'; did you mean 'pt'?");
    FAILS(pq_h5_read_columns(file, "jets", (pq_rows){0, 1}, twice, 2, PQ_DTYPE_F32, got,
                             err),
          PQ_ERR_FORMAT, ": jets: column 'pt' is wanted twice");
    FAILS(pq_h5_read_rows(file, "jets", (pq_rows){0, 1}, PQ_DTYPE_F32, got, err),
          PQ_ERR_FORMAT, ": jets holds a compound, not numbers");
    pq_h5_close(&file);
}

Test(hdf5, what_is_not_there_or_not_hdf5_is_said)
{
    pq_h5     *file = NULL;
    pq_tensor *t    = NULL;
    pq_h5_info info;

    FAILS(pq_h5_open(path, &file, err), PQ_ERR_NOT_FOUND, ": no such file or folder");
    OK(pq_file_write(path, "not hdf5", 8, err));
    FAILS(pq_h5_open(path, &file, err), PQ_ERR_FORMAT, ": is not an HDF5 file");
    cr_expect_not(pq_h5_is_file(path));
    file = create();
    OK(pq_h5_make_group(file, "g/h", err));
    OK(pq_h5_make_group(file, "g/h", err));
    file = reopen(file);
    cr_expect(pq_h5_is_file(path));
    cr_expect(pq_h5_has(file, "/g/h"));
    cr_expect(pq_h5_has(file, "/"));
    cr_expect_not(pq_h5_has(file, "g/h/x"));
    FAILS(pq_h5_read(file, "g/x", PQ_DTYPE_F32, 100, &t, err), PQ_ERR_NOT_FOUND,
          ": g/x is not there");
    FAILS(pq_h5_read(file, "g/h", PQ_DTYPE_F32, 100, &t, err), PQ_ERR_FORMAT,
          ": g/h is a group, not a dataset");
    OK(pq_h5_describe(file, "g", &info, err));
    cr_expect_eq(info.kind, PQ_H5_GROUP);
    cr_expect_null(t);
    pq_h5_close(&file);
}

/* Of a small file all is told at once, and its child let go; whoever asks for more gets
 * another. A name is found among many, and none that is a part of one. */
Test(hdf5, what_was_told_and_what_is_asked_for_are_the_same)
{
    pq_h5     *file = create(), *expected = NULL;
    pq_tensor *t = counting(PQ_DTYPE_F32, PQ_SHAPE(3, 5)), *out;
    char       name[16];

    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "g/x%d", i);
        pq_f32(t)[0] = (float)i;
        OK(pq_h5_write(file, name, t, 0, err));
    }
    OK(pq_h5_commit(&file, err));
    OK(pq_h5_expect(path, &expected, err));
    OK(pq_h5_open(path, &file, err));
    pq_h5_close(&expected);
    for (int i = 199; i >= 0; i--) {
        snprintf(name, sizeof name, "g/x%d", i);
        for (int k = 0; k < 2; k++) { /* as it lies there, and in another type */
            const pq_dtype type = k == 0 || i % 50 != 0 ? PQ_DTYPE_F32 : PQ_DTYPE_F64;
            OK(pq_h5_read(file, name, type, 1000, &out, err));
            cr_assert_eq(pq_tensor_get(out, 0), i, "%s", name);
            cr_assert_eq(pq_tensor_get(out, 14), 14);
            pq_tensor_free(&out);
        }
    }
    cr_expect_not(pq_h5_has(file, "g/x"));
    cr_expect_not(pq_h5_has(file, "g/x200"));
    cr_expect_not(pq_h5_has(file, "g/a"));
    cr_expect_not(pq_h5_has(file, "g/y"));
    pq_tensor_free(&t);
    pq_h5_close(&file);
}

/* Files that this process opens itself are told apart, also when one is closed before. */
Test(hdf5, trusted_files_that_are_open_at_once_are_two)
{
    static char other[sizeof path + 8];
    pq_h5      *a = NULL, *b = NULL;
    pq_tensor  *t = counting(PQ_DTYPE_F32, PQ_SHAPE(3)), *out;

    snprintf(other, sizeof other, "%s.other", path);
    a = create();
    OK(pq_h5_write(a, "x", t, 0, err));
    OK(pq_h5_commit(&a, err));
    pq_f32(t)[0] = 7.0f;
    OK(pq_h5_create(other, &b, err));
    OK(pq_h5_write(b, "x", t, 0, err));
    OK(pq_h5_commit(&b, err));
    pq_h5_trust(path);
    pq_h5_trust(other);
    OK(pq_h5_open(path, &a, err));
    OK(pq_h5_open(other, &b, err));
    for (int i = 0; i < 2; i++) {
        OK(pq_h5_read(i == 0 ? a : b, "x", PQ_DTYPE_F32, 100, &out, err));
        cr_expect_eq(pq_f32(out)[0], i == 0 ? 0.0f : 7.0f);
        pq_tensor_free(&out);
        pq_h5_close(&a);
    }
    pq_h5_close(&b);
    pq_tensor_free(&t);
}

/* HDF5 lets a block of the user's stand before it. */
Test(hdf5, a_signature_is_looked_for_behind_a_block_of_the_users)
{
    for (hsize_t block = 512; block <= 4096; block *= 2) {
        const hid_t list = H5Pcreate(H5P_FILE_CREATE);
        hid_t       id;
        pq_h5      *file = NULL;
        H5Pset_userblock(list, block);
        id = H5Fcreate(path, H5F_ACC_TRUNC, list, H5P_DEFAULT);
        H5Gclose(H5Gcreate2(id, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        H5Fclose(id);
        H5Pclose(list);
        cr_expect(pq_h5_is_file(path));
        OK(pq_h5_open(path, &file, err));
        cr_expect(pq_h5_has(file, "g"));
        pq_h5_close(&file);
    }
}

/* A type that stands in a file under a name is neither group nor dataset. */
Test(hdf5, named_types_are_no_groups)
{
    const hid_t raw  = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t type = H5Tcopy(H5T_NATIVE_FLOAT);
    pq_h5      *file = NULL;
    pq_tensor  *t    = NULL;

    cr_assert_geq(H5Tcommit2(raw, "kind", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                  0);
    H5Tclose(type);
    H5Fclose(raw);
    OK(pq_h5_open(path, &file, err));
    cr_expect_eq(pq_h5_kind(file, "kind"), PQ_H5_OTHER);
    FAILS(pq_h5_read(file, "kind", PQ_DTYPE_F32, 100, &t, err), PQ_ERR_FORMAT,
          ": kind is a type, not a dataset");
    pq_h5_close(&file);
}

Test(hdf5, a_truncated_file_is_refused_at_every_length)
{
    pq_tensor *t     = counting(PQ_DTYPE_F32, PQ_SHAPE(40, 40));
    pq_h5     *file  = create();
    char      *bytes = NULL;
    size_t     size  = 0;
    char       cut[160];

    OK(pq_h5_write(file, "x", t, 0, err));
    OK(pq_h5_commit(&file, err));
    OK(pq_file_read(path, 1 << 20, &bytes, &size, err));
    snprintf(cut, sizeof cut, "%s/cut.h5", folder);
    for (size_t n = 0; n < size; n += 97) {
        pq_tensor *back = NULL;
        pq_status  st;
        OK(pq_file_write(cut, bytes, n, err));
        st = pq_h5_open(cut, &file, NULL);
        if (st == PQ_OK) {
            st = pq_h5_read(file, "x", PQ_DTYPE_F32, 1 << 20, &back, NULL);
        }
        cr_expect_eq(st, PQ_ERR_FORMAT, "%zu of %zu bytes gave %d", n, size, st);
        cr_expect_null(back);
        pq_h5_close(&file);
    }
    pq_free(bytes);
    pq_tensor_free(&t);
}

Test(hdf5, links_and_values_kept_elsewhere_are_refused)
{
    const hsize_t dim   = 4;
    const hid_t   raw   = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t   list  = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t   space = H5Screate_simple(1, &dim, NULL);
    pq_h5        *file  = NULL;
    pq_tensor    *t     = NULL;

    H5Lcreate_soft("/x", raw, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("/etc/passwd", "/x", raw, "outside", H5P_DEFAULT, H5P_DEFAULT);
    H5Pset_external(list, "/etc/passwd", 0, 16);
    H5Dclose(
        H5Dcreate2(raw, "raw", H5T_NATIVE_INT, space, H5P_DEFAULT, list, H5P_DEFAULT));
    H5Pclose(list);
    H5Sclose(space);
    H5Fclose(raw);
    OK(pq_h5_open(path, &file, err));
    FAILS(pq_h5_read(file, "soft", PQ_DTYPE_I32, 99, &t, err), PQ_ERR_UNSUPPORTED,
          ": soft is a soft or external link; links are not followed");
    FAILS(pq_h5_read(file, "outside/x", PQ_DTYPE_I32, 99, &t, err), PQ_ERR_UNSUPPORTED,
          ": outside is a soft or external link; links are not followed");
    FAILS(pq_h5_read(file, "raw", PQ_DTYPE_I32, 99, &t, err), PQ_ERR_UNSUPPORTED,
          ": raw keeps its values in other files; that is not read");
    cr_expect_not(pq_h5_has(file, "soft"));
    cr_expect_null(t);
    pq_h5_close(&file);
}

Test(hdf5, declared_sizes_are_checked_before_memory_is_taken)
{
    const hsize_t dim[]   = {1000000, 1000000};
    const hid_t   raw     = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t   list    = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t   space   = H5Screate_simple(2, dim, NULL);
    const hsize_t chunk[] = {10, 10};
    const size_t  live    = pq_memory_live();
    pq_h5        *file    = NULL;
    pq_tensor    *t       = NULL;
    pq_tensor    *small   = counting(PQ_DTYPE_F32, PQ_SHAPE(100));

    H5Pset_chunk(list, 2, chunk);
    H5Dclose(
        H5Dcreate2(raw, "x", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT));
    H5Pclose(list);
    H5Sclose(space);
    H5Fclose(raw);
    OK(pq_h5_open(path, &file, err));
    FAILS(pq_h5_read(file, "x", PQ_DTYPE_F32, SIZE_MAX, &t, err), PQ_ERR_FORMAT,
          ": x declares 4000000000000 bytes but stores 0");
    pq_h5_close(&file);
    file = create();
    OK(pq_h5_write(file, "s", small, 0, err));
    file = reopen(file);
    FAILS(pq_h5_read(file, "s", PQ_DTYPE_F32, 399, &t, err), PQ_ERR_FORMAT,
          ": s has more than the 399 bytes that are read");
    cr_expect_null(t);
    pq_h5_close(&file);
    pq_tensor_free(&small);
    cr_expect_eq(pq_memory_live(), live);
}

/* A filter that only this test knows while it writes: afterwards it is unknown, as LZ4
 * is. */
static size_t pass(unsigned flags, size_t n, const unsigned values[], size_t bytes,
                   size_t *size, void **buffer)
{
    (void)flags;
    (void)n;
    (void)values;
    (void)size;
    (void)buffer;
    return bytes;
}

Test(hdf5, a_filter_that_is_missing_is_named_with_the_way_out)
{
    static const H5Z_class2_t lz4 = {
        H5Z_CLASS_T_VERS, 32004, 1, 1, "lz4", NULL, NULL, pass};
    const hsize_t dim   = 64;
    const float   x[64] = {0};
    const hid_t   raw   = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t   list  = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t   space = H5Screate_simple(1, &dim, NULL);
    hid_t         id;
    pq_h5        *file = NULL;
    pq_tensor    *t    = NULL;
    pq_err        why  = {0};

    H5Zregister(&lz4);
    H5Pset_chunk(list, 1, &dim);
    H5Pset_filter(list, 32004, H5Z_FLAG_MANDATORY, 0, NULL);
    id = H5Dcreate2(raw, "x", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    cr_assert(H5Dwrite(id, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) >= 0);
    H5Dclose(id);
    H5Pclose(list);
    H5Sclose(space);
    H5Fclose(raw);
    H5Zunregister(32004);
    OK(pq_h5_open(path, &file, err));
    cr_expect_eq(pq_h5_kind(file, "x"), PQ_H5_FLOAT);
    cr_expect_eq(pq_h5_kind(file, "/"), PQ_H5_GROUP);
    cr_expect_eq(pq_h5_kind(file, "none"), PQ_H5_OTHER);
    FAILS(pq_h5_read(file, "x", PQ_DTYPE_F32, 999, &t, err), PQ_ERR_UNSUPPORTED,
          ": x is compressed with filter 32004 (LZ4), which this libhdf5 does not have");
    (void)pq_h5_read(file, "x", PQ_DTYPE_F32, 999, &t, &why);
    cr_expect_str_eq(
        why.hint,
        "install the filter's HDF5 plugin and set HDF5_PLUGIN_PATH, or where it "
        "is installed repack once: h5repack -f GZIP=4 IN OUT");
    pq_h5_close(&file);
}

/* A filter that counts how often a chunk is unpacked. */
enum { COUNTING_FILTER = 256 };

static size_t *n_unpacked; /* shared with the processes that read files */

static size_t count_unpacked(unsigned flags, size_t n, const unsigned values[],
                             size_t bytes, size_t *size, void **buffer)
{
    (void)n;
    (void)values;
    (void)size;
    (void)buffer;
    *n_unpacked += (flags & H5Z_FLAG_REVERSE) != 0 ? 1 : 0;
    return bytes;
}

/* Floats [rows, 16] in chunks of [chunk_rows, chunk_columns]. */
static void write_counted(hsize_t rows, hsize_t chunk_rows, hsize_t chunk_columns)
{
    static const H5Z_class2_t filter = {
        H5Z_CLASS_T_VERS, COUNTING_FILTER, 1, 1, "count", NULL, NULL, count_unpacked};
    const hsize_t dim[] = {rows, 16}, chunk[] = {chunk_rows, chunk_columns};
    const hid_t   raw   = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t   list  = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t   space = H5Screate_simple(2, dim, NULL);
    float        *x     = pq_calloc((size_t)rows * 16, sizeof *x);
    hid_t         id;

    for (size_t i = 0; i < (size_t)rows * 16; i++) {
        x[i] = (float)i;
    }
    H5Zregister(&filter);
    H5Pset_chunk(list, 2, chunk);
    H5Pset_filter(list, COUNTING_FILTER, H5Z_FLAG_MANDATORY, 0, NULL);
    H5Pset_deflate(list, 1);
    id = H5Dcreate2(raw, "x", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    cr_assert(H5Dwrite(id, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) >= 0);
    H5Dclose(id);
    H5Pclose(list);
    H5Sclose(space);
    H5Fclose(raw);
    pq_free(x);
}

/* Chunks unpacked while all rows are read in blocks that fit no chunk. */
static size_t unpacked_by_blocks(size_t rows)
{
    const size_t block = 1000;
    pq_h5       *file  = NULL;
    float       *x     = pq_calloc(block * 16, sizeof *x);
    pq_h5_info   info;

    OK(pq_h5_open(path, &file, err));
    cr_expect_eq(pq_h5_kind(file, "x"), PQ_H5_FLOAT);
    OK(pq_h5_describe(file, "x", &info, err));
    *n_unpacked = 0;
    for (size_t first = 0; first < rows; first += block) {
        const size_t n = rows - first < block ? rows - first : block;
        OK(pq_h5_read_rows(file, "x", (pq_rows){first, n}, PQ_DTYPE_F32, x, err));
        cr_assert_eq(x[0], (float)(first * 16));
        cr_assert_eq(x[n * 16 - 1], (float)((first + n) * 16 - 1));
    }
    pq_h5_close(&file);
    pq_free(x);
    return *n_unpacked;
}

Test(hdf5, a_chunk_is_unpacked_once_whatever_its_size)
{
    n_unpacked = mmap(NULL, sizeof *n_unpacked, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(n_unpacked, MAP_FAILED);
    write_counted(100000, 4096, 16); /* 0.25 MB */
    cr_expect_eq(unpacked_by_blocks(100000), 25);
    write_counted(100000, 32768, 16); /* 2 MB: above libhdf5's own cache of 1 MB */
    cr_expect_eq(unpacked_by_blocks(100000), 4);
    write_counted(100000, 50000, 4); /* 0.8 MB, four across */
    cr_expect_eq(unpacked_by_blocks(100000), 8);
    write_counted(600000, 600000, 16); /* 38 MB: above our smallest cache */
    cr_expect_eq(unpacked_by_blocks(600000), 1);
}

Test(hdf5, a_file_appears_whole_or_not_at_all)
{
    pq_tensor *t    = counting(PQ_DTYPE_F32, PQ_SHAPE(4));
    pq_h5     *file = create();
    char     **names;
    size_t     n;

    OK(pq_h5_write(file, "x", t, 0, err));
    cr_expect_not(pq_file_exists(path));
    pq_h5_close(&file);
    cr_expect_not(pq_file_exists(path));
    OK(pq_folder_list(folder, "", &names, &n, err));
    cr_expect_eq(n, 0);
    pq_h5_free_texts(&names, n);
    snprintf(path, sizeof path, "%s/none/a.h5", folder);
    cr_expect_eq(pq_h5_create(path, &file, NULL), PQ_ERR_NOT_FOUND);
    cr_expect_null(file);
    pq_tensor_free(&t);
}

Test(hdf5, the_same_content_gives_the_same_bytes_and_few_of_them)
{
    pq_tensor *t = counting(PQ_DTYPE_U8, PQ_SHAPE(100));
    char      *bytes[2];
    size_t     size[2];

    for (int i = 0; i < 2; i++) {
        pq_h5 *file = create();
        for (int k = 0; k < 8; k++) {
            const float scale[64] = {1.0F};
            char        name[64];
            snprintf(name, sizeof name, "weights/layer%d/kernel", k);
            OK(pq_h5_write(file, name, t, 0, err));
            OK(pq_h5_set_numbers(file, name, "scale", PQ_DTYPE_F32, scale, 1, err));
        }
        OK(pq_h5_commit(&file, err));
        OK(pq_file_read(path, 1 << 20, &bytes[i], &size[i], err));
        usleep(i == 0 ? 1100000 : 0);
    }
    cr_expect_eq(size[0], size[1]);
    cr_expect_arr_eq(bytes[0], bytes[1], size[0]);
    cr_expect_leq(size[0], 8 * 100 + 8 * 600, "file of %zu bytes", size[0]);
    pq_free(bytes[0]);
    pq_free(bytes[1]);
    pq_tensor_free(&t);
}

static pq_status read_piece(void *context, size_t piece, size_t thread, pq_err *err)
{
    pq_tensor *t = NULL;
    pq_status  st =
        pq_h5_read(context, piece % 2 == 0 ? "a" : "b", PQ_DTYPE_F32, 1 << 20, &t, err);

    (void)thread;
    if (st == PQ_OK && pq_f32(t)[99] != 99.0F) {
        st = PQ_ERR_NUMERIC;
    }
    pq_tensor_free(&t);
    return st;
}

Test(hdf5, calls_may_come_from_several_threads)
{
    pq_tensor *t    = counting(PQ_DTYPE_F32, PQ_SHAPE(100));
    pq_h5     *file = create();

    OK(pq_h5_write(file, "a", t, 4, err));
    OK(pq_h5_write(file, "b", t, 0, err));
    file = reopen(file);
    OK(pq_threads_run(4, 400, read_piece, file, err));
    pq_h5_close(&file);
    pq_tensor_free(&t);
}

/* A limit on file sizes fails writes as a full disk does. */
Test(hdf5, a_full_disk_is_said_and_leaves_nothing)
{
    const struct rlimit limit = {300000, 300000};

    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int gzip = 0; gzip < 2; gzip++) {
        pq_tensor *t    = counting(PQ_DTYPE_F32, PQ_SHAPE(500, 1000));
        pq_h5     *file = create();
        pq_status  st;
        char     **names;
        size_t     n;
        pq_err     err = {0};

        for (size_t i = 0; i < t->count; i++) {
            pq_f32(t)[i] = sinf((float)i * 1.7F); /* not compressible */
        }
        st = pq_h5_write(file, "x", t, gzip, &err);
        if (st == PQ_OK) {
            st = pq_h5_commit(&file, &err);
        }
        cr_expect_eq(st, PQ_ERR_IO);
        cr_expect_not_null(strstr(err.message, "/d.h5: "), "%s", err.message);
        cr_expect_not_null(strstr(err.message, "cannot be written: File too large"), "%s",
                           err.message);
        pq_h5_close(&file);
        OK(pq_folder_list(folder, "", &names, &n, err));
        cr_expect_eq(n, 0);
        pq_h5_free_texts(&names, n);
        pq_tensor_free(&t);
    }
}

/* One chunk of 80 MB that must be unpacked whole, in a file that may cost as much. */
static void write_large_chunk(void)
{
    const hsize_t n[] = {20 << 20}, pad[] = {2 << 20};
    const hid_t   file   = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t   create = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t   space  = H5Screate_simple(1, n, NULL);
    const float   one    = 1.0F;
    const hsize_t at[]   = {5};
    hid_t         data;

    const hid_t plain = H5Screate_simple(1, pad, NULL);
    cr_assert_geq(H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY), 0);
    (void)H5Dclose(H5Dcreate2(file, "pad", H5T_NATIVE_UINT8, plain, H5P_DEFAULT, create,
                              H5P_DEFAULT));
    (void)H5Sclose(plain);
    cr_assert_geq(H5Pset_chunk(create, 1, n), 0);
    cr_assert_geq(H5Pset_deflate(create, 1), 0);
    data =
        H5Dcreate2(file, "x", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, create, H5P_DEFAULT);
    cr_assert_geq(H5Sselect_elements(space, H5S_SELECT_SET, 1, at), 0);
    const hid_t single = H5Screate(H5S_SCALAR);
    cr_assert_geq(H5Dwrite(data, H5T_NATIVE_FLOAT, single, space, H5P_DEFAULT, &one), 0);
    (void)H5Sclose(single);
    (void)H5Dclose(data);
    (void)H5Sclose(space);
    (void)H5Pclose(create);
    cr_assert_geq(H5Fclose(file), 0);
}

/* Bytes of the address space in use, and so many more are the limit. */
static void limit_memory(size_t more)
{
    size_t pages = 0;
    FILE  *f     = fopen("/proc/self/statm", "r");

    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%zu", &pages), 1);
    (void)fclose(f);
    const rlim_t bytes = pages * (size_t)sysconf(_SC_PAGESIZE) + more;
    cr_assert_eq(setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes}), 0);
}

Test(hdf5, memory_that_runs_out_inside_is_no_damage)
{
    pq_h5 *file = NULL;
    float  x    = 0.0F;
    pq_err err  = {0};

#ifdef __SANITIZE_ADDRESS__
    cr_skip_test("skipped: the sanitizer needs more address space than any limit leaves");
#endif
    pid_t writer = fork(); /* what it frees would do for the reading */
    if (writer == 0) {
        write_large_chunk();
        _exit(0);
    }
    cr_assert_eq(waitpid(writer, NULL, 0), writer);
    limit_memory(20 << 20);
    OK(pq_h5_open(path, &file, err));
    cr_expect_eq(pq_h5_read_rows(file, "x", (pq_rows){5, 1}, PQ_DTYPE_F32, &x, &err),
                 PQ_ERR_NOMEM, "%s", err.message);
    cr_expect_not_null(strstr(err.message, "x cannot be read: memory allocation failed"),
                       "%s", err.message);
    pq_h5_close(&file);
}
