/* Architectures of Keras beside one fixed file of weights: this reaches our reader
 * without libhdf5 in between. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/memory.h"
#include "formats/model.h"
#include "fuzz.h"
#include "io/hdf5.h"

/* Layers d (3 -> 2, with bias), c (3x3x2x4) and b (BatchNorm of 2). */
static void write_weights(const char *path)
{
    static const struct {
        const char *layer, *weight;
        pq_shape    shape;
    } list[] = {
        {"d", "a", {2, {3, 2}}}, {"d", "b", {1, {2}}}, {"c", "a", {4, {3, 3, 2, 4}}},
        {"c", "b", {1, {4}}},    {"b", "a", {1, {2}}}, {"b", "b", {1, {2}}},
        {"b", "c", {1, {2}}},    {"b", "d", {1, {2}}},
    };
    static const char *const layers[] = {"d", "c", "b"};
    static const char *const names[]  = {"a", "b", "c", "d"};
    pq_h5                   *file     = NULL;
    bool                     ok       = pq_h5_create(path, &file, NULL) == PQ_OK;

    for (size_t i = 0; ok && i < sizeof list / sizeof *list; i++) {
        pq_tensor *t = NULL;
        char       name[32];
        (void)snprintf(name, sizeof name, "%s/%s", list[i].layer, list[i].weight);
        ok = pq_tensor_create(PQ_DTYPE_F32, list[i].shape, &t, NULL) == PQ_OK &&
             pq_h5_write(file, name, t, 0, NULL) == PQ_OK;
        pq_tensor_free(&t);
    }
    for (size_t i = 0; ok && i < 3; i++) {
        ok = pq_h5_set_texts(file, layers[i], "weight_names", names, i == 2 ? 4 : 2,
                             NULL) == PQ_OK;
    }
    ok = ok && pq_h5_set_texts(file, "/", "layer_names", layers, 3, NULL) == PQ_OK &&
         pq_h5_commit(&file, NULL) == PQ_OK;
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static char weights[64];
    pq_graph   *graph = NULL;

    if (weights[0] == '\0') {
        (void)snprintf(weights, sizeof weights, "/tmp/pq-fuzz-%ld-weights.h5",
                       (long)getpid());
        write_weights(weights);
    }
    (void)pq_model_load(weights, pq_fuzz_put("a.json", bytes, n), &graph, NULL);
    pq_graph_free(&graph);
    return pq_memory_live() == 0 ? 0 : (abort(), 0);
}
