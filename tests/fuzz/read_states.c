/* What the program kept for itself, and reads back as if anybody had written it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/cache.h"
#include "core/memory.h"
#include "data/dataset.h"
#include "formats/zoo.h"
#include "fuzz.h"
#include "io/hdf5.h"
#include "targets.h"
#include "train/train.h"

/* Entries as the SVD keeps them: U, S and V of a matrix. */
pq_status fuzz_cache(const fuzz_input *in, pq_err *err)
{
    static const pq_shape due[]     = {{2, {6, 0}}, {1, {0}}, {2, {0, 4}}};
    pq_tensor            *arrays[3] = {NULL};
    pq_cache             *cache     = NULL;
    pq_status             st;

    fuzz_blind_hashes = true;
    PQ_TRY(pq_cache_open(in->folder, &cache, err));
    PQ_CHECK(pq_cache_get(cache, "a", 3, due, arrays), PQ_ERR_FORMAT, "is not found");
    for (size_t i = 0; i < 3; i++) {
        pq_tensor_free(&arrays[i]);
    }
cleanup:
    pq_cache_close(&cache);
    return st;
}

static pq_status write_events(const char *path, pq_err *err)
{
    static const char *const classes[] = {"a", "b"};
    pq_tensor               *x = NULL, *y = NULL;
    pq_h5                   *file = NULL;
    pq_status                st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(4, 3), &x, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_U8, PQ_SHAPE(4), &y, err));
    ((uint8_t *)y->data)[1] = 1;
    PQ_TRY(pq_h5_create(path, &file, err));
    PQ_TRY(pq_h5_write(file, "/train/x", x, 0, err));
    PQ_TRY(pq_h5_write(file, "/train/y", y, 0, err));
    PQ_TRY(pq_h5_set_texts(file, "/", "class_names", classes, 2, err));
    PQ_TRY(pq_h5_set_text(file, "/", "format", "pquant-dataset", err));
    PQ_TRY(pq_h5_commit(&file, err));
cleanup:
    pq_h5_close(&file);
    pq_tensor_free(&x);
    pq_tensor_free(&y);
    return st;
}

static pq_status make_net(pq_graph **out, pq_err *err)
{
    const char *input = "in";
    pq_layer   *layer = NULL;
    pq_tensor  *t     = NULL;
    pq_status   st;

    PQ_TRY(pq_graph_create(out, err));
    PQ_TRY(pq_layer_create("input", &layer, err));
    PQ_TRY(pq_layer_set(layer, "shape", "3", err));
    PQ_TRY(pq_graph_add(*out, "in", layer, 0, NULL, err));
    PQ_TRY(pq_layer_create("dense", &layer, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(2, 3), &t, err));
    PQ_TRY(pq_layer_add_weight(layer, "kernel", t, err));
    PQ_TRY(pq_graph_add(*out, "fc", layer, 1, &input, err));
    pq_graph_init_weights(*out, PQ_INIT_HE, 1);
    PQ_TRY(pq_graph_check(*out, err));
cleanup:
    return st;
}

/* Checksum and name of the run are all zeros, so that what they guard is reached. */
static pq_status train(const fuzz_input *in, const char *checkpoint, int64_t epochs,
                       bool *resumed, pq_err *err)
{
    const pq_train_options options = {.threads = 1, .checkpoint = checkpoint};
    pq_train_params        params  = {0};
    pq_train_summary       summary = {0};
    pq_dataset            *dataset = NULL;
    pq_graph              *graph   = NULL;
    char                   path[512], optimizer[FUZZ_FIELD];
    pq_status              st;

    fuzz_blind_hashes = true;
    (void)fuzz_path(in, "events.h5", path, sizeof path);
    PQ_TRY(write_events(path, err));
    PQ_TRY(pq_dataset_open(path, NULL, &dataset, err));
    PQ_TRY(make_net(&graph, err));
    PQ_TRY(pq_params_default(pq_train_param_table, &params, err));
    if (fuzz_option(in, "optimizer", optimizer) != NULL) {
        params.optimizer = PQ_OPTIMIZER_SGD;
        params.ema       = 0.9;
    }
    params.epochs            = epochs;
    const pq_train_data data = {.dataset = dataset, .validation = SIZE_MAX};
    PQ_TRY(pq_train(graph, &data, &params, &options, &summary, err));
    *resumed = summary.resumed;
cleanup:
    pq_train_summary_free(&summary);
    pq_graph_free(&graph);
    pq_dataset_close(&dataset);
    pq_params_free(pq_train_param_table, &params);
    return st;
}

/* A training of one layer on four events, of two epochs, goes on for another. */
pq_status fuzz_checkpoint(const fuzz_input *in, pq_err *err)
{
    bool      resumed = false;
    pq_status st;

    PQ_TRY(train(in, in->first, 3, &resumed, err));
    PQ_CHECK(resumed, PQ_ERR_NOT_FOUND, "there is no checkpoint");
cleanup:
    return st;
}

pq_status fuzz_make_checkpoint(const fuzz_input *in, const char *path, pq_err *err)
{
    bool resumed;

    return train(in, path, 2, &resumed, err);
}

pq_status fuzz_make_entry(const char *folder, pq_err *err)
{
    pq_tensor *arrays[3] = {NULL};
    pq_cache  *cache     = NULL;
    pq_status  st;

    fuzz_blind_hashes = true;
    PQ_TRY(pq_cache_open(folder, &cache, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(6, 3), &arrays[0], err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(3), &arrays[1], err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(3, 4), &arrays[2], err));
    pq_cache_put(cache, "a", 3, arrays);
cleanup:
    for (size_t i = 0; i < 3; i++) {
        pq_tensor_free(&arrays[i]);
    }
    pq_cache_close(&cache);
    return st;
}
