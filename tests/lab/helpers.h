/* Small models and datasets for the tests of lab and api. */
#ifndef PQ_TESTS_LAB_HELPERS_H
#define PQ_TESTS_LAB_HELPERS_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "graph/graph.h"
#include "io/hdf5.h"

enum { EVENTS = 300, FEATURES = 3, CLASSES = 3 };

static inline char *scratch_folder(void)
{
    static char folder[64];

    strcpy(folder, "/tmp/pq-lab-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    return folder;
}

/* Events whose largest feature is feature y, but for every seventh; classes named a,b,c.
 */
static inline char *write_events(const char *folder)
{
    static const char *const names[] = {"a", "b", "c"};
    char                    *path    = pq_format("%s/events.h5", folder);
    pq_rng                   rng     = pq_rng_stream(5, "events");
    pq_tensor               *x = NULL, *y = NULL;
    pq_h5                   *file = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(EVENTS, FEATURES), &x, NULL),
                 PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_U8, PQ_SHAPE(EVENTS), &y, NULL), PQ_OK);
    for (size_t i = 0; i < EVENTS; i++) {
        const size_t largest = i % CLASSES;
        for (size_t f = 0; f < FEATURES; f++) {
            pq_f32(x)[i * FEATURES + f] =
                (float)pq_rng_uniform(&rng) + (f == largest ? 1.5F : 0.0F);
        }
        ((uint8_t *)y->data)[i] =
            (uint8_t)(i % 7 == 0 ? (largest + 1) % CLASSES : largest);
    }
    cr_assert_eq(pq_h5_create(path, &file, NULL), PQ_OK);
    cr_assert_eq(pq_h5_write(file, "/x", x, 0, NULL), PQ_OK);
    cr_assert_eq(pq_h5_write(file, "/y", y, 0, NULL), PQ_OK);
    cr_assert_eq(pq_h5_set_text(file, "/", "format", "pquant-dataset", NULL), PQ_OK);
    cr_assert_eq(pq_h5_set_texts(file, "/", "class_names", names, CLASSES, NULL), PQ_OK);
    cr_assert_eq(pq_h5_commit(&file, NULL), PQ_OK);
    pq_tensor_free(&x);
    pq_tensor_free(&y);
    return path;
}

/* A dense layer that hands feature order[k] out as output k, then softmax if asked. */
static inline pq_graph *make_model(const size_t *order, bool softmax)
{
    pq_graph  *graph = NULL;
    pq_layer  *input = NULL, *dense = NULL, *top = NULL;
    pq_tensor *kernel = NULL;

    cr_assert_eq(pq_graph_create(&graph, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("input", &input, NULL), PQ_OK);
    cr_assert_eq(pq_layer_set(input, "shape", "[3]", NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(graph, "in", input, 0, NULL, NULL), PQ_OK);
    cr_assert_eq(
        pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(CLASSES, FEATURES), &kernel, NULL),
        PQ_OK);
    for (size_t k = 0; k < CLASSES; k++) {
        pq_f32(kernel)[k * FEATURES + order[k]] = 4.0F;
    }
    cr_assert_eq(pq_layer_create("dense", &dense, NULL), PQ_OK);
    cr_assert_eq(pq_layer_add_weight(dense, "kernel", kernel, NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(graph, "fc", dense, 1, (const char *const[]){"in"}, NULL),
                 PQ_OK);
    if (softmax) {
        cr_assert_eq(pq_layer_create("softmax", &top, NULL), PQ_OK);
        cr_assert_eq(
            pq_graph_add(graph, "top", top, 1, (const char *const[]){"fc"}, NULL), PQ_OK);
    }
    return graph;
}

#endif
