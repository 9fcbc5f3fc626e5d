#include "data/files.h"

#include <zlib.h>

#define FASHION "/usr/share/datasets/fashion-mnist"

enum { RECORD = 3073 };

TestSuite(images, .init = setup, .fini = teardown);

/* n CIFAR-10 records: label i % 10; pixel p of plane c is (i + 2 c + p) % 256. */
static void write_cifar(const char *name, size_t n, size_t labels)
{
    const size_t record = labels + 3072;
    uint8_t     *bytes  = calloc(n, record);

    for (size_t i = 0; i < n; i++) {
        bytes[i * record + labels - 1] = (uint8_t)(i % 10);
        for (size_t k = 0; k < 3072; k++) {
            bytes[i * record + labels + k] = (uint8_t)(i + 2 * (k / 1024) + k % 1024);
        }
    }
    write_file(name, bytes, n * record);
    free(bytes);
}

static void write_cifar_10(void)
{
    static const char names[] =
        "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\n"
        "truck\n\n";
    char name[32];

    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        write_cifar(name, 20, 1);
    }
    write_cifar("test_batch.bin", 30, 1);
    write_file("batches.meta.txt", names, sizeof names - 1);
    strcpy(path, folder);
}

Test(images, cifar_10_comes_as_pixels_with_its_classes)
{
    pq_dataset            *d;
    const pq_dataset_info *info;
    float                 *x = calloc(50 * 3072, sizeof *x);
    int32_t                y[50];

    write_cifar_10();
    d    = open_with(NULL);
    info = pq_dataset_describe(d);
    cr_expect_str_eq(info->layout, "cifar");
    cr_expect(pq_shape_equal(&info->sample, &PQ_SHAPE(32, 32, 3)));
    cr_expect_str_eq(info->class_names[9], "truck");
    cr_expect_eq(info->splits[0].n, 100);
    cr_expect_eq(info->splits[1].n, 30);
    OK(pq_dataset_read(d, 0, 15, 50, &(pq_batch){x, y, NULL},
                       err)); /* over three files */
    for (size_t i = 0; i < 50; i++) {
        const size_t event = (15 + i) % 20;
        cr_assert_eq(y[i], (int32_t)(event % 10));
        for (size_t k = 0; k < 3072; k++) {
            cr_assert_eq(x[i * 3072 + k], (float)((event + 2 * (k % 3) + k / 3) % 256));
        }
    }
    pq_dataset_close(&d);
    free(x);
}

Test(images, a_set_is_found_by_its_bare_name_as_unpacked)
{
    pq_dataset *d = NULL;
    char        inner[128];

    setenv("PQUANT_DATA_DIR", folder, 1);
    snprintf(inner, sizeof inner, "%s/cifar-10/cifar-10-batches-bin", folder);
    OK(pq_folder_make(inner, err));
    for (int i = 1; i <= 5; i++) {
        snprintf(inner, sizeof inner, "cifar-10/cifar-10-batches-bin/data_batch_%d.bin",
                 i);
        write_cifar(inner, 2, 1);
    }
    OK(pq_dataset_open("cifar-10", NULL, &d, err));
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 10);
    pq_dataset_close(&d);
    cr_expect_eq(pq_dataset_open("cifar-11", NULL, &d, NULL), PQ_ERR_NOT_FOUND);
}

Test(images, cifar_100_gives_its_fine_labels)
{
    pq_dataset *d;
    int32_t     y[4];
    char        names[100 * 4];
    size_t      n = 0;

    for (int i = 0; i < 100; i++) {
        n += (size_t)snprintf(names + n, sizeof names - n, "c%d\n", i);
    }
    write_cifar("train.bin", 4, 2);
    write_cifar("test.bin", 2, 2);
    write_file("fine_label_names.txt", names, n);
    strcpy(path, folder);
    d = open_with(NULL);
    cr_expect_eq(pq_dataset_describe(d)->n_classes, 100);
    OK(pq_dataset_read(d, 0, 0, 4, &(pq_batch){.y = y}, err));
    cr_expect_eq(y[3], 3);
    pq_dataset_close(&d);
}

Test(images, broken_cifar_files_are_refused)
{
    char full[200];

    write_cifar_10();
    write_file("data_batch_3.bin", "abc", 3);
    snprintf(path, sizeof path, "%s", folder);
    {
        pq_dataset *d   = NULL;
        pq_err      err = {0};
        cr_expect_eq(pq_dataset_open(path, NULL, &d, &err), PQ_ERR_FORMAT);
        snprintf(full, sizeof full,
                 "%s/data_batch_3.bin: has 3 bytes, which is no whole number of records "
                 "of 3073: "
                 "it is truncated or no CIFAR file",
                 folder);
        cr_expect_str_eq(err.message, full);
    }
    write_cifar("data_batch_3.bin", 1, 1);
    snprintf(full, sizeof full, "%s/data_batch_4.bin", folder);
    cr_assert_eq(remove(full), 0);
    refused(NULL, PQ_ERR_FORMAT, ": data_batch_4.bin is missing");
    write_cifar("data_batch_4.bin", 1, 1);
    write_file("batches.meta.txt", "a\nb\n", 4);
    snprintf(path, sizeof path, "%s/batches.meta.txt", folder);
    {
        pq_dataset *d   = NULL;
        pq_err      err = {0};
        cr_expect_eq(pq_dataset_open(folder, NULL, &d, &err), PQ_ERR_FORMAT);
        snprintf(full, sizeof full, "%s: has 2 names, not 10", path);
        cr_expect_str_eq(err.message, full);
    }
}

/* An IDX array; `announce` is the number of items its header claims. */
static size_t idx_bytes(uint8_t *out, size_t announce, size_t n, bool images)
{
    const uint8_t side[] = {0, 0, 0, 4, 0, 0, 0, 3};
    const uint8_t head[] = {
        0, 0, 8, images ? 3 : 1, 0, 0, (uint8_t)(announce >> 8), (uint8_t)announce};
    size_t at = sizeof head;

    memcpy(out, head, sizeof head);
    if (images) {
        memcpy(out + at, side, sizeof side);
        at += sizeof side;
    }
    for (size_t i = 0; i < n * (images ? 12 : 1); i++) {
        out[at++] = (uint8_t)(images ? 7 * i : i % 10);
    }
    return at;
}

static void write_idx(const char *name, bool gz, size_t announce, size_t n, bool images)
{
    uint8_t bytes[4096];
    size_t  size = idx_bytes(bytes, announce, n, images);
    char    full[256];
    gzFile  file;

    if (!gz) {
        write_file(name, bytes, size);
        return;
    }
    snprintf(full, sizeof full, "%s/%s.gz", folder, name);
    file = gzopen(full, "wb");
    cr_assert_eq(gzwrite(file, bytes, (unsigned)size), (int)size);
    cr_assert_eq(gzclose(file), Z_OK);
}

Test(images, idx_files_are_read_plain_and_gzipped)
{
    for (int gz = 0; gz < 2; gz++) {
        pq_dataset            *d;
        const pq_dataset_info *info;
        float                  x[24];
        int32_t                y[2];

        write_idx("train-images-idx3-ubyte", gz == 1, 30, 30, true);
        write_idx("train-labels-idx1-ubyte", gz == 1, 30, 30, false);
        write_idx("t10k-images-idx3-ubyte", gz == 1, 10, 10, true);
        write_idx("t10k-labels-idx1-ubyte", gz == 1, 10, 10, false);
        strcpy(path, folder);
        d    = open_with(NULL);
        info = pq_dataset_describe(d);
        cr_expect(pq_shape_equal(&info->sample, &PQ_SHAPE(4, 3, 1)));
        cr_expect_eq(info->n_classes, 10);
        cr_expect_str_eq(info->class_names[3], "3");
        cr_expect_str_eq(info->splits[1].name, "test");
        cr_expect_eq(info->splits[0].n, 30);
        OK(pq_dataset_read(d, 0, 12, 2, &(pq_batch){x, y, NULL}, err));
        cr_expect_eq(y[1], 3);
        cr_expect_eq(x[5], (float)(7 * (12 * 12 + 5) % 256));
        pq_dataset_close(&d);
        snprintf(path, sizeof path, "%s/t10k-images-idx3-ubyte%s", folder,
                 gz == 1 ? ".gz" : "");
        d = open_with(NULL);
        cr_expect_eq(pq_dataset_describe(d)->n_splits, 1);
        cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 10);
        pq_dataset_close(&d);
    }
}

/* The folder's images file alone, replaced by these bytes. */
static void refused_idx(const void *bytes, size_t n, pq_status status, const char *text)
{
    snprintf(path, sizeof path, "%s/t10k-images-idx3-ubyte", folder);
    OK(pq_file_write(path, bytes, n, err));
    refused(NULL, status, text);
}

Test(images, broken_idx_files_are_refused)
{
    uint8_t bytes[4096];
    size_t  size;

    write_idx("t10k-labels-idx1-ubyte", false, 9, 9, false);
    size = idx_bytes(bytes, 10, 10, true);
    refused_idx(bytes, size - 5, PQ_ERR_FORMAT,
                ": is truncated or damaged: 5 more bytes are due");
    refused_idx(bytes, 9, PQ_ERR_FORMAT,
                ": is truncated or damaged: 7 more bytes are due");
    refused_idx(bytes, size + 1, PQ_ERR_FORMAT,
                ": goes on after the 120 values it announces, or its end is damaged");
    bytes[4] = 200;
    refused_idx(bytes, size, PQ_ERR_FORMAT,
                ": claims 40265318520 values in a file of 136 bytes");
    bytes[4] = 0;
    bytes[2] = 13;
    refused_idx(bytes, size, PQ_ERR_UNSUPPORTED,
                ": holds values of type 0x0d; only unsigned bytes (0x08) are read");
    bytes[2] = 8;
    bytes[3] = 2;
    refused_idx(bytes, size, PQ_ERR_SHAPE, ": has 2 dimensions, not 3");
    bytes[0] = 1;
    refused_idx(bytes, size, PQ_ERR_FORMAT, ": is not an IDX file");
    size = idx_bytes(bytes, 10, 10, true);
    {
        char want[400];
        snprintf(want, sizeof want,
                 ": has 10 images, but %s/t10k-labels-idx1-ubyte has 9 labels", folder);
        refused_idx(bytes, size, PQ_ERR_SHAPE, want);
        snprintf(want, sizeof want, "%s/t10k-labels-idx1-ubyte", folder);
        cr_assert_eq(remove(want), 0);
    }
    refused_idx(bytes, size, PQ_ERR_FORMAT, ": its labels file is not beside it");
}

Test(images, a_truncated_gzip_is_refused)
{
    char  *bytes = NULL;
    size_t n     = 0;

    write_idx("t10k-images-idx3-ubyte", true, 10, 10, true);
    write_idx("t10k-labels-idx1-ubyte", true, 10, 10, false);
    snprintf(path, sizeof path, "%s/t10k-images-idx3-ubyte.gz", folder);
    OK(pq_file_read(path, 1 << 20, &bytes, &n, err));
    for (size_t cut = 1; cut < n; cut += 3) {
        pq_dataset *d = NULL;
        OK(pq_file_write(path, bytes, n - cut, err));
        cr_expect_eq(pq_dataset_open(path, NULL, &d, NULL), PQ_ERR_FORMAT, "%zu of %zu",
                     n - cut, n);
        cr_expect_null(d);
    }
    pq_free(bytes);
}

Test(images, fashion_mnist_of_debian_is_read_with_its_names)
{
    pq_dataset            *d = NULL;
    const pq_dataset_info *info;
    int32_t                y[10000];
    int                    count[10] = {0};

    if (!pq_folder_exists(FASHION)) {
        cr_skip_test("skipped: no real data at %s (package dataset-fashion-mnist)",
                     FASHION);
    }
    OK(pq_dataset_open(FASHION, NULL, &d, err));
    info = pq_dataset_describe(d);
    cr_expect_str_eq(info->class_names[9], "Ankle boot");
    cr_expect_eq(info->splits[0].n, 60000);
    OK(pq_dataset_read(d, 1, 0, 10000, &(pq_batch){.y = y}, err));
    for (size_t i = 0; i < 10000; i++) {
        count[y[i]]++;
    }
    for (size_t k = 0; k < 10; k++) {
        cr_expect_eq(count[k], 1000);
    }
    pq_dataset_close(&d);
}

/* What a hash is remembered by: every file that is read, beside the path or below it. */
static void expect_files(const char *const *names, size_t n)
{
    pq_dataset            *d    = open_with(NULL);
    const pq_dataset_info *info = pq_dataset_describe(d);

    cr_assert_eq(info->n_files, n);
    for (size_t i = 0; i < n; i++) {
        cr_expect_str_eq(pq_path_base(info->files[i]), names[i]);
        cr_expect(pq_file_exists(info->files[i]));
    }
    pq_dataset_close(&d);
}

Test(images, every_file_that_is_read_is_named)
{
    static const char *const idx[]   = {"x-images-idx3-ubyte", "x-labels-idx1-ubyte"};
    static const char *const cifar[] = {
        "data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
        "data_batch_5.bin", "test_batch.bin",   "batches.meta.txt"};

    write_idx(idx[0], false, 3, 3, true);
    write_idx(idx[1], false, 3, 3, false);
    snprintf(path, sizeof path, "%s/%s", folder, idx[0]);
    expect_files(idx, 2);
    write_cifar_10();
    expect_files(cifar, 7);
}
