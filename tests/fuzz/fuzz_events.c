/* Events in binary layouts, lines and tables: the first byte chooses the layout, the rest
 * is the file, or every file of a folder; any bytes give events or an error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "data/dataset.h"
#include "fuzz.h"

enum { MOST_FILES = 6 };

typedef struct {
    const char *layout;
    const char *files[MOST_FILES + 1]; /* that hold the bytes */
} place;

static const place places[] = {
    {"ftag", {"ftag.h5"}},
    {"pquant", {"own.h5"}},
    {"cifar",
     {"cifar/data_batch_1.bin", "cifar/data_batch_2.bin", "cifar/data_batch_3.bin",
      "cifar/data_batch_4.bin", "cifar/data_batch_5.bin", "cifar/test_batch.bin"}},
    {"jetnet", {"jetnet/g.hdf5", "jetnet/q.hdf5", "jetnet/t.hdf5"}},
    {"guest", {"guest.json"}},
    {"zenodo", {"zenodo.h5"}},
    {"cernbox", {"cernbox.h5"}},
    {"idx", {"idx/train-images-idx3-ubyte", "idx/train-labels-idx1-ubyte"}},
    {"csv", {"table.csv"}},
    {"arff", {"table.arff"}},
};

enum { N_PLACES = sizeof places / sizeof *places };

/* Of IDX files the pictures come first, then as many bytes of labels as the second byte
 * says. */
static const char *put_idx(const place *p, const uint8_t *bytes, size_t n)
{
    const size_t labels = n == 0 ? 0 : bytes[0] < n - 1 ? bytes[0] : n - 1;
    const size_t images = n == 0 ? 0 : n - 1 - labels;

    bytes += n == 0 ? 0 : 1;
    (void)pq_fuzz_put(p->files[1], bytes + images, labels);
    return pq_fuzz_put(p->files[0], bytes, images);
}

static const char *put(const place *p, const uint8_t *bytes, size_t n)
{
    const char *path = NULL;

    if (strcmp(p->layout, "idx") == 0) {
        return put_idx(p, bytes, n);
    }
    for (size_t i = 0; p->files[i] != NULL; i++) {
        path = pq_fuzz_put(p->files[i], bytes, n);
    }
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const place             *p       = &places[n > 0 ? bytes[0] % N_PLACES : 0];
    const pq_dataset_options options = {.layout    = p->layout,
                                        .nonfinite = PQ_NONFINITE_ZERO};
    const size_t             skip    = n > 0 ? 1 : 0;
    char                     path[256], hash[65];
    pq_dataset              *d = NULL;

    (void)snprintf(path, sizeof path, "%s", put(p, bytes + skip, n - skip));
    if (strchr(p->files[0], '/') != NULL) { /* the folder is what is opened */
        *strrchr(path, '/') = '\0';
    }
    if (pq_dataset_open(path, &options, &d, NULL) == PQ_OK) {
        for (size_t k = 0; k < pq_dataset_describe(d)->n_splits; k++) {
            (void)pq_dataset_hash(d, k, hash, NULL);
        }
    }
    pq_dataset_close(&d);
    return pq_memory_live() == 0 ? 0 : (abort(), 0);
}
