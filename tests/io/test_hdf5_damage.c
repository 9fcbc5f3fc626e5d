/* Damaged files are read: libhdf5 1.10 crashes on some of them, this process never. */
#include <criterion/criterion.h>
#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/rng.h"
#include "io/hdf5.h"
#include "scratch.h"

TestSuite(hdf5_damage, .init = setup, .fini = teardown, .timeout = 300);

static const char *const words[] = {"gluon", "quark", "top"};

static void put(hid_t in, const char *name, bool is_attr, hid_t type, hsize_t n, int gzip,
                const void *values)
{
    const hid_t space = H5Screate_simple(1, &n, NULL),
                list  = H5Pcreate(H5P_DATASET_CREATE);
    hid_t id;

    if (gzip > 0) {
        const hsize_t chunk = n / 4;
        (void)H5Pset_chunk(list, 1, &chunk);
        (void)H5Pset_deflate(list, (unsigned)gzip);
    }
    id = is_attr ? H5Acreate2(in, name, type, space, H5P_DEFAULT, H5P_DEFAULT)
                 : H5Dcreate2(in, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    cr_assert((is_attr ? H5Awrite(id, type, values)
                       : H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values)) >= 0);
    (void)(is_attr ? H5Aclose(id) : H5Dclose(id));
    (void)H5Pclose(list);
    (void)H5Sclose(space);
}

/* A file in the oldest layout, as h5py and Keras write: symbol tables, B-trees, global
 * heaps, and no checksums. */
static void write_old(hsize_t n_texts, hsize_t n_numbers)
{
    const hid_t  file    = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t  text    = H5Tcopy(H5T_C_S1);
    const hid_t  group   = H5Gcreate2(file, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    const char **texts   = calloc(n_texts, sizeof *texts);
    float       *numbers = calloc(n_numbers, sizeof *numbers);

    (void)H5Tset_size(text, H5T_VARIABLE);
    for (size_t i = 0; i < n_texts; i++) {
        texts[i] = words[i % 3];
    }
    put(file, "class_names", true, text, 3, 0, words);
    put(group, "texts", false, text, n_texts, 0, texts);
    put(group, "plain", false, H5T_NATIVE_FLOAT, n_numbers, 0, numbers);
    put(group, "packed", false, H5T_NATIVE_FLOAT, n_numbers, 1, numbers);
    free(numbers);
    free(texts);
    (void)H5Gclose(group);
    (void)H5Tclose(text);
    (void)H5Fclose(file);
}

/* Opens the file and reads all that our readers can read; whether it opened. */
static bool read_all(pq_err *err)
{
    static const char *const paths[] = {"g/texts", "g/plain", "g/packed"};
    pq_h5                   *file    = NULL;
    char                   **texts   = NULL;
    size_t                   n       = 0;
    const bool               opened  = pq_h5_open(path, &file, err) == PQ_OK;

    if (opened && pq_h5_attr_texts(file, "/", "class_names", &texts, &n, NULL) == PQ_OK) {
        pq_h5_free_texts(&texts, n);
    }
    for (size_t i = 0; opened && i < 3; i++) {
        pq_tensor *t = NULL;
        if (pq_h5_read_texts(file, paths[i], &texts, &n, NULL) == PQ_OK) {
            pq_h5_free_texts(&texts, n);
        }
        (void)pq_h5_read(file, paths[i], PQ_DTYPE_F32, 1 << 20, &t, NULL);
        pq_tensor_free(&t);
    }
    pq_h5_close(&file);
    return opened;
}

/* Writes the bytes with `at` changed. */
static void write_changed(const char *bytes, size_t n, size_t at, uint8_t value)
{
    char *copy = malloc(n);

    memcpy(copy, bytes, n);
    copy[at] = (char)value;
    OK(pq_file_write(path, copy, n, err));
    free(copy);
}

static size_t count(size_t usual)
{
    const char *text = getenv("PQ_DAMAGE_TRIES");

    return text != NULL ? (size_t)strtoull(text, NULL, 10) : usual;
}

Test(hdf5_damage, no_change_of_a_byte_ends_this_process)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    const size_t         tries    = count(800);
    pq_rng               rng      = pq_rng_stream(1, "damage");
    size_t               n = 0, opened = 0, crashed = 0;
    char                *bytes = NULL;

    write_old(8, 64);
    OK(pq_file_read(path, 1 << 20, &bytes, &n, err));
    for (size_t i = 0; i < tries; i++) {
        pq_err       err = {0};
        const size_t k   = pq_rng_below(&rng, 6);
        write_changed(bytes, n, pq_rng_below(&rng, n),
                      k < 5 ? values[k] : (uint8_t)pq_rng_bits(&rng));
        opened += read_all(&err);
        crashed += strstr(err.message, "crashes or does not end") != NULL;
    }
    (void)printf("# %zu changes of one byte: %zu open, %zu would have crashed\n", tries,
                 opened, crashed);
    pq_free(bytes);
    cr_expect_gt(opened, tries / 4); /* most bytes hold values, or nothing */
    cr_expect_eq(pq_memory_live(), 0);
}

/* Lets every text of g/texts point to one long one, as the heap of the file allows. */
static void share_one_text(size_t n, size_t length)
{
    hid_t    file, data;
    haddr_t  at;
    uint8_t *bytes = NULL, first[16];
    char    *text  = calloc(length + 1, 1);
    size_t   size  = 0;

    memset(text, 'x', length);
    write_old(n, 64);
    file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    data = H5Dopen2(file, "g/texts", H5P_DEFAULT);
    {
        const hid_t   type = H5Dget_type(data), space = H5Dget_space(data);
        const hsize_t zero = 0, one = 1;
        const hid_t   single = H5Screate(H5S_SCALAR);
        (void)H5Sselect_hyperslab(space, H5S_SELECT_SET, &zero, NULL, &one, NULL);
        cr_assert_geq(H5Dwrite(data, type, single, space, H5P_DEFAULT, &text), 0);
        (void)H5Sclose(single);
        (void)H5Sclose(space);
        (void)H5Tclose(type);
    }
    at = H5Dget_offset(data);
    (void)H5Dclose(data);
    (void)H5Fclose(file);
    OK(pq_file_read(path, 64 << 20, (char **)&bytes, &size, err));
    memcpy(first, bytes + at, sizeof first); /* length, address and number in the heap */
    for (size_t i = 1; i < n; i++) {
        memcpy(bytes + at + i * sizeof first, first, sizeof first);
    }
    OK(pq_file_write(path, bytes, size, err));
    pq_free(bytes);
    free(text);
}

Test(hdf5_damage, texts_that_share_one_long_text_stay_within_the_memory_of_their_file)
{
    pq_h5 *file  = NULL;
    char **texts = NULL;
    size_t n     = 0;
    pq_err err   = {0};
    char   want[400];

#if defined(__SANITIZE_ADDRESS__)
    cr_skip_test("skipped: the sanitizer needs more address space than any limit leaves");
#endif
    share_one_text(30000, 60000); /* 1.8 GB of texts in 0.6 MB */
    OK(pq_h5_open(path, &file, err));
    cr_expect_eq(pq_h5_read_texts(file, "g/texts", &texts, &n, &err), PQ_ERR_FORMAT);
    snprintf(want, sizeof want,
             "%s: is damaged: reading it takes more than the %zu MB that a file of %zu "
             "bytes may cost",
             path, 64 + ((64 * pq_file_bytes(path)) >> 20), pq_file_bytes(path));
    cr_expect_str_eq(err.message, want);
    pq_h5_close(&file);
    cr_expect_eq(pq_memory_live(), 0);
}

Test(hdf5_damage, chunks_beyond_the_memory_of_their_file_are_refused_with_the_way_out)
{
    const hid_t   file  = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hsize_t n     = 50 << 20; /* 200 MB in one chunk, some 200 kB when packed */
    const hid_t   space = H5Screate_simple(1, &n, NULL);
    const hid_t   list  = H5Pcreate(H5P_DATASET_CREATE);
    float        *zeros = calloc(n, sizeof *zeros);
    pq_h5_info    info;
    pq_h5        *in  = NULL;
    pq_err        err = {0};
    hid_t         data;

    (void)H5Pset_chunk(list, 1, &n);
    (void)H5Pset_deflate(list, 1);
    data = H5Dcreate2(file, "x", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    cr_assert_geq(H5Dwrite(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros),
                  0);
    free(zeros);
    (void)H5Dclose(data);
    (void)H5Pclose(list);
    (void)H5Sclose(space);
    (void)H5Fclose(file);
    OK(pq_h5_open(path, &in, err));
    cr_expect_eq(pq_h5_describe(in, "x", &info, &err), PQ_ERR_UNSUPPORTED);
    cr_expect_not_null(
        strstr(err.message, "the chunks that one row of x crosses take more"), "%s",
        err.message);
    cr_expect_not_null(strstr(err.hint, "h5repack -l x:CHUNK="), "%s", err.hint);
    pq_h5_close(&in);
}

/* Reads through a file that was opened before the fork, in both processes. */
Test(hdf5_damage, a_process_that_is_forked_reads_what_its_parent_opened)
{
    pq_h5     *file  = NULL;
    pq_tensor *t     = NULL;
    int        state = 0;
    pid_t      child;

    write_old(8, 64);
    OK(pq_h5_open(path, &file, err));
    child = fork();
    cr_assert_geq(child, 0);
    OK(pq_h5_read(file, "g/packed", PQ_DTYPE_F32, 1 << 20, &t, err));
    cr_expect_eq(t->count, 64);
    pq_tensor_free(&t);
    pq_h5_close(&file);
    if (child == 0) {
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &state, 0), child);
    cr_expect(WIFEXITED(state) && WEXITSTATUS(state) == 0, "the child ended with %d",
              state);
}
