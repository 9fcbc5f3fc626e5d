/**
 * @file
 * For tests of the Keras reader: files as Keras lays them out, and refusals.
 */
#ifndef PQ_TESTS_FORMATS_KERAS_FILES_H
#define PQ_TESTS_FORMATS_KERAS_FILES_H

#include "core/memory.h"
#include "formats/model.h"
#include "formats/run.h"

enum { MOST_LAYERS = 16, MOST_WEIGHTS = 6 };

/* A Keras file in the making. */
typedef struct {
    pq_h5      *file;
    const char *root;
    size_t      n;
    const char *layers[MOST_LAYERS];
} keras;

static inline keras begin(const char *root)
{
    keras k = {.root = root};

    OK(pq_h5_create(path, &k.file, err));
    OK(pq_h5_make_group(k.file, root, err));
    return k;
}

/* Adds a layer's group with its weights, freed here; names are "w0:0", "w1:0" … unless
 * given. */
static inline void layer(keras *k, const char *name, size_t n, pq_tensor *const *weights)
{
    char        group[128], names[MOST_WEIGHTS][64], full[256];
    const char *list[MOST_WEIGHTS];

    snprintf(group, sizeof group, "%s%s%s", k->root, strcmp(k->root, "/") == 0 ? "" : "/",
             name);
    OK(pq_h5_make_group(k->file, group, err));
    for (size_t i = 0; i < n; i++) {
        pq_tensor *t = weights[i];
        /* In reverse alphabetical order: only weight_names tells the order. */
        snprintf(names[i], sizeof names[i], "%s/%c:0", name, (char)('z' - (int)i));
        list[i] = names[i];
        snprintf(full, sizeof full, "%s/%s", group, names[i]);
        OK(pq_h5_write(k->file, full, t, 0, err));
        pq_tensor_free(&t);
    }
    OK(pq_h5_set_texts(k->file, group, "weight_names", list, n, err));
    k->layers[k->n++] = name;
}

static inline void finish(keras *k, const char *config)
{
    OK(pq_h5_set_texts(k->file, k->root, "layer_names", k->layers, k->n, err));
    if (config != NULL) {
        OK(pq_h5_set_text(k->file, "/", "model_config", config, err));
    }
    OK(pq_h5_commit(&k->file, err));
}

static inline pq_graph *load(void)
{
    pq_graph *graph = NULL;

    OK(pq_model_load(path, NULL, &graph, err));
    return graph;
}

/* Loading fails with this status and "<path>: <text>". */
static inline void refused(pq_status status, const char *text)
{
    const size_t live  = pq_memory_live();
    pq_graph    *graph = NULL;
    pq_err       err   = {0};
    char         want[1024];

    cr_expect_eq(pq_model_load(path, NULL, &graph, &err), status, "%s", err.message);
    snprintf(want, sizeof want, "%s: %s", path, text);
    cr_expect_str_eq(err.message, want);
    cr_expect_null(graph);
    cr_expect_eq(pq_memory_live(), live);
}

#define INPUT(shape)                                                                     \
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\",\"batch_input_shape\":"  \
    "[null," shape "]},\"name\":\"in\",\"inbound_nodes\":[]}"
#define LAYER(class, name, from, config)                                                 \
    "{\"class_name\":\"" class "\",\"name\":\"" name "\",\"config\":{\"name\":\"" name   \
                               "\"" config "},\"inbound_nodes\":[[[\"" from              \
                               "\",0,0,{}]]]}"
#define MODEL(layers, output)                                                            \
    "{\"class_name\":\"Functional\",\"config\":{\"name\":\"m\",\"layers\":[" layers      \
    "],\"input_layers\":[[\"in\",0,0]],\"output_layers\":[[\"" output "\",0,0]]}}"

static inline void write_dense(const char *config)
{
    keras k = begin("model_weights");

    layer(&k, "in", 0, NULL);
    layer(&k, "d", 2, (pq_tensor *[]){noise(PQ_SHAPE(3, 2), 1), noise(PQ_SHAPE(2), 2)});
    finish(&k, config);
}

#define SEQUENTIAL(layers) "{\"class_name\":\"Sequential\",\"config\":" layers "}"

#endif
