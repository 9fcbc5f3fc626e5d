/* Events: what opens is read, imported into our own layout, and opened again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "data/dataset.h"
#include "data/write.h"
#include "fuzz.h"
#include "targets.h"

enum { ROWS = 64, MOST_VALUES = 1 << 20 };

static pq_status read_rows(pq_dataset *d, size_t split, pq_err *err)
{
    const pq_dataset_info   *info  = pq_dataset_describe(d);
    static const char *const aux[] = {"pt", "eta", "event_number", "event",
                                      "eventNumber"};
    size_t   rows = info->splits[split].n < ROWS ? info->splits[split].n : ROWS, item = 0;
    float   *x = NULL, *w = NULL;
    int32_t *y = NULL;
    double  *a = NULL;
    char     hash[65];
    pq_status st;

    PQ_CHECK(pq_shape_count(&info->sample, &item), PQ_ERR_SHAPE, "too large");
    rows = item > 0 && rows > MOST_VALUES / item ? MOST_VALUES / item : rows;
    PQ_NEW(x, rows * item);
    PQ_NEW(y, rows);
    PQ_NEW(w, rows);
    PQ_NEW(a, rows);
    const pq_batch batch = {x, y, w};
    PQ_TRY(pq_dataset_read(d, split, 0, rows, &batch, err));
    PQ_TRY(pq_dataset_read_unscaled(d, split, rows / 2, rows - rows / 2, &batch, err));
    for (size_t i = 0; i < sizeof aux / sizeof *aux; i++) {
        (void)pq_dataset_read_aux(d, split, aux[i], 0, rows, a, NULL);
    }
    PQ_TRY(pq_dataset_hash(d, split, hash, err));
cleanup:
    pq_free(x);
    pq_free(y);
    pq_free(w);
    pq_free(a);
    return st;
}

static pq_status import(const fuzz_input *in, pq_dataset *d, pq_err *err)
{
    pq_dataset *again = NULL;
    pq_err      why   = {0};
    char        path[512];
    pq_status   st;

    (void)fuzz_path(in, "imported.h5", path, sizeof path);
    PQ_TRY(pq_data_import(d, path, 1, NULL, err));
    if (pq_dataset_open(path, NULL, &again, &why) != PQ_OK) {
        fuzz_broken("imported events do not open", &why);
    }
cleanup:
    pq_dataset_close(&again);
    return st;
}

pq_status fuzz_events(const fuzz_input *in, pq_err *err)
{
    static const struct {
        const char *key;
        size_t      offset;
    } keys[] = {{"layout", offsetof(pq_dataset_options, layout)},
                {"inputs", offsetof(pq_dataset_options, inputs)},
                {"label", offsetof(pq_dataset_options, label)},
                {"weight", offsetof(pq_dataset_options, weight)},
                {"labels", offsetof(pq_dataset_options, labels)},
                {"splits", offsetof(pq_dataset_options, splits)},
                {"x", offsetof(pq_dataset_options, x)},
                {"y", offsetof(pq_dataset_options, y)}};
    char               values[8][FUZZ_FIELD], where[FUZZ_FIELD], path[512];
    pq_dataset_options options = {.nonfinite = PQ_NONFINITE_ZERO};
    pq_dataset        *d       = NULL;
    size_t             repeats = 0;
    bool               counted = false;
    pq_status          st;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = fuzz_option(in, keys[i].key, values[i]);
        memcpy((char *)&options + keys[i].offset, &value, sizeof value);
    }
    if (fuzz_option(in, "nonfinite", where) != NULL) {
        options.nonfinite = PQ_NONFINITE_DROP;
    }
    if (fuzz_option(in, "open", where) != NULL) { /* a folder, not its first file */
        (void)fuzz_path(in, where[0] == '.' ? "" : where, path, sizeof path);
    } else {
        (void)snprintf(path, sizeof path, "%s", in->first);
    }
    PQ_TRY(pq_dataset_open(path, &options, &d, err));
    for (size_t k = 0; k < pq_dataset_describe(d)->n_splits; k++) {
        PQ_TRY(read_rows(d, k, err));
    }
    PQ_TRY(pq_dataset_count_repeats(d, 1000, &repeats, &counted, err));
    PQ_TRY(import(in, d, err));
cleanup:
    pq_dataset_close(&d);
    return st;
}
