/* A small model, events and configurations in a folder of the test's own. */
#ifndef PQ_TESTS_SWEEP_SUPPORT_H
#define PQ_TESTS_SWEEP_SUPPORT_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/rng.h"
#include "formats/model.h"
#include "io/hdf5.h"
#include "sweep/config.h"

enum { FEATURES = 6, HIDDEN = 8, CLASSES = 3 };

#define OK(call)                                                                         \
    do {                                                                                 \
        pq_err err_ = {0};                                                               \
        (void)err_;                                                                      \
        cr_assert_eq((call), PQ_OK, "%s", err_.message);                                 \
    } while (0)

/* The call sees `&err_`. */
#define ERR (&err_)

/* Goes into a new folder, so that paths in messages are short. */
static inline void enter_folder(void)
{
    char folder[] = "/tmp/pq-sweep-XXXXXX";

    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static inline void write_text(const char *path, const char *text)
{
    OK(pq_file_write(path, text, strlen(text), ERR));
}

/* n events of one split; feature y is larger, but for every seventh. */
static inline void write_split(pq_h5 *file, const char *split, size_t n)
{
    pq_rng     rng = pq_rng_stream(7, split);
    pq_tensor *x = NULL, *y = NULL;
    char       path[64];

    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n, FEATURES), &x, ERR));
    OK(pq_tensor_create(PQ_DTYPE_U8, PQ_SHAPE(n), &y, ERR));
    for (size_t i = 0; i < n; i++) {
        for (size_t f = 0; f < FEATURES; f++) {
            pq_f32(x)[i * FEATURES + f] =
                (float)pq_rng_normal(&rng) + (f == i % 3 ? 2.0F : 0.0F);
        }
        ((uint8_t *)y->data)[i] = (uint8_t)(i % 7 == 0 ? (i + 1) % 3 : i % 3);
    }
    (void)snprintf(path, sizeof path, "/%s/x", split);
    OK(pq_h5_write(file, path, x, 0, ERR));
    (void)snprintf(path, sizeof path, "/%s/y", split);
    OK(pq_h5_write(file, path, y, 0, ERR));
    pq_tensor_free(&x);
    pq_tensor_free(&y);
}

static inline void write_events(const char *path, size_t n)
{
    static const char *const names[] = {"a", "b", "c"};
    pq_h5                   *file    = NULL;

    OK(pq_h5_create(path, &file, ERR));
    write_split(file, "train", 200);
    write_split(file, "test", n);
    OK(pq_h5_set_text(file, "/", "format", "pquant-dataset", ERR));
    OK(pq_h5_set_texts(file, "/", "class_names", names, CLASSES, ERR));
    OK(pq_h5_commit(&file, ERR));
}

static inline void add_layer(pq_graph *graph, const char *kind, const char *name,
                             const char *after, pq_tensor *kernel)
{
    pq_layer *layer = NULL;

    OK(pq_layer_create(kind, &layer, ERR));
    if (strcmp(kind, "input") == 0) {
        OK(pq_layer_set(layer, "shape", "[6]", ERR));
    }
    if (kernel != NULL) {
        OK(pq_layer_add_weight(layer, "kernel", kernel, ERR));
    }
    OK(pq_graph_add(graph, name, layer, after != NULL, &after, ERR));
}

/* 6-8-3 with softmax; hidden units copy and mix the features, so that all ranks matter.
 */
static inline void write_model(const char *path, float last)
{
    pq_rng     rng   = pq_rng_stream(3, "model");
    pq_graph  *graph = NULL;
    pq_tensor *first = NULL, *second = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(HIDDEN, FEATURES), &first, ERR));
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(CLASSES, HIDDEN), &second, ERR));
    for (size_t i = 0; i < HIDDEN * FEATURES; i++) {
        pq_f32(first)[i] = 0.3F * (float)pq_rng_normal(&rng) +
                           (i / FEATURES == i % FEATURES ? 1.0F : 0.0F);
    }
    for (size_t i = 0; i < CLASSES * HIDDEN; i++) {
        pq_f32(second)[i] =
            0.2F * (float)pq_rng_normal(&rng) + (i / HIDDEN == i % HIDDEN ? 2.0F : 0.0F);
    }
    pq_f32(second)[CLASSES * HIDDEN - 1] = last;
    OK(pq_graph_create(&graph, ERR));
    add_layer(graph, "input", "in", NULL, NULL);
    add_layer(graph, "dense", "fc1", "in", first);
    add_layer(graph, "relu", "act", "fc1", NULL);
    add_layer(graph, "dense", "fc2", "act", second);
    add_layer(graph, "softmax", "out", "fc2", NULL);
    OK(pq_model_save(graph, path, ERR));
    pq_graph_free(&graph);
}

/* Model m.h5, events d.h5 and a folder around them. */
static inline void enter_inputs(size_t events)
{
    enter_folder();
    write_model("m.h5", 0.5F);
    write_events("d.h5", events);
}

#define HEAD "schema: pquant/1\nname: t\nmodel: {weights: m.h5}\ndataset: {file: d.h5}\n"

/* Reads HEAD and what follows it. */
static inline pq_config *read_config(const char *rest, const pq_config_changes *changes)
{
    char      *text   = pq_format("%s%s", HEAD, rest);
    pq_config *config = NULL;

    write_text("c.yaml", text);
    pq_free(text);
    OK(pq_config_read("c.yaml", changes, &config, NULL, ERR));
    return config;
}

#endif
