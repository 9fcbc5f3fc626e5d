/* The archives of Keras 3: what is written here is read again, and the same. */
#include "run.h"

#include <math.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/rng.h"
#include "formats/keras.h"
#include "formats/model.h"
#include "formats/zoo.h"

static size_t count_of(const pq_graph *g, size_t node)
{
    size_t count = 0;

    cr_assert(pq_shape_count(&g->nodes[node].shape, &count));
    return count;
}

/* Largest difference of two graphs on one sample in the range of the nets' inputs. */
static double apart(const pq_graph *a, const pq_graph *b)
{
    pq_rng       rng = pq_rng_stream(5, "keras_v3");
    const size_t in = count_of(a, 0), out = count_of(a, a->output);
    double      *x = calloc(in, sizeof *x), *ya = calloc(out, sizeof *ya),
           *yb = calloc(out, sizeof *yb), most = 0.0;

    cr_assert_eq(count_of(b, 0), in);
    cr_assert_eq(count_of(b, b->output), out);
    for (size_t i = 0; i < in; i++) {
        x[i] = pq_rng_normal(&rng);
    }
    run_graph(a, x, ya);
    run_graph(b, x, yb);
    for (size_t i = 0; i < out; i++) {
        most = fmax(most, fabs(ya[i] - yb[i]));
    }
    free(x);
    free(ya);
    free(yb);
    return most;
}

Test(keras_v3, nets_of_the_zoo_come_back, .init = setup, .fini = teardown)
{
    static const char *const nets[]    = {"jsc-mlp", "btag-mlp", "fashion-mlp",
                                          "resnet8", "resnet20", "garipov-conv"};
    static const char *const classes[] = {"a", "b", "c", "d", "e"};

    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++) {
        pq_graph *g = NULL, *again = NULL;
        OK(pq_zoo_build(nets[k], 3, &g, err));
        OK(pq_graph_check(g, err));
        if (k == 0) {
            OK(pq_graph_set_classes(g, 5, classes, err));
        }
        OK(pq_keras_save(g, path, err));
        cr_expect(pq_keras_is_archive(path));
        OK(pq_model_load(path, NULL, &again, err));
        cr_expect_lt(apart(g, again), 1e-5, "%s: %g", nets[k], apart(g, again));
        cr_expect_eq(again->n_classes, g->n_classes, "%s", nets[k]);
        pq_graph_free(&g);
        pq_graph_free(&again);
    }
}

static pq_graph *one_layer(const char *shape, const char *kind,
                           const char *const *attributes)
{
    const char *input = "x";
    pq_graph   *g     = NULL;
    pq_layer   *layer = NULL;

    OK(pq_graph_create(&g, err));
    OK(pq_layer_create("input", &layer, err));
    OK(pq_layer_set(layer, "shape", shape, err));
    OK(pq_graph_add(g, "x", layer, 0, NULL, err));
    OK(pq_layer_create(kind, &layer, err));
    for (; *attributes != NULL; attributes += 2) {
        OK(pq_layer_set(layer, attributes[0], attributes[1], err));
    }
    OK(pq_graph_add(g, "y/z", layer, 1, &input, err));
    OK(pq_graph_check(g, err));
    return g;
}

static const struct {
    const char *shape, *kind, *attributes[7];
    const char *refusal; /* NULL: comes back */
} layers[] = {
    {"[6]", "relu", {NULL}, NULL},
    {"[6]", "leaky_relu", {"slope", "0.3", NULL}, NULL},
    {"[6]", "clip", {"hi", "4", NULL}, NULL},
    {"[6]",
     "clip",
     {"lo", "-1", NULL},
     "Keras has no layer that limits values to -1..6, only from 0 on"},
    {"[6]", "elu", {"alpha", "0.5", NULL}, NULL},
    {"[6]", "gelu", {NULL}, NULL},
    {"[6]",
     "gelu",
     {"form", "tanh", NULL},
     "a saved model of Keras cannot name the form of gelu by tanh"},
    {"[6]", "sigmoid", {NULL}, NULL},
    {"[6]", "tanh", {NULL}, NULL},
    {"[6]", "softmax", {NULL}, NULL},
    {"[6]", "scale", {"factor", "0.25", NULL}, NULL},
    {"[6]", "slice", {"from", "2", "to", "5", NULL}, NULL},
    {"[6]", "reshape", {"shape", "[3, 2]", NULL}, NULL},
    {"[6]", "dropout", {NULL}, NULL},
    {"[4, 3]", "global_avg_pool", {NULL}, NULL},
    {"[4, 3]", "global_max_pool", {NULL}, NULL},
    {"[5, 4, 3]", "global_max_pool", {NULL}, NULL},
    {"[5, 4, 3]", "flatten", {NULL}, NULL},
    {"[5, 4, 3]", "slice", {"from", "1", NULL}, NULL},
    {"[5, 4, 3]", "subsample", {NULL}, NULL},
    {"[5, 4, 3]", "pad", {"top", "1", "right", "2", "after", "3", NULL}, NULL},
    {"[5, 4, 3]",
     "pad",
     {"value", "1", "top", "1", NULL},
     "Keras pads with 0 alone, not with 1"},
    {"[5, 4, 3]", "max_pool", {NULL}, NULL},
    {"[5, 4, 3]", "max_pool", {"padding", "same", "stride_h", "1", NULL}, NULL},
    {"[5, 4, 3]",
     "max_pool",
     {"padding", "explicit", "pad_top", "1", NULL},
     "Keras pads a pooling only as 'same'"},
    {"[5, 4, 3]", "avg_pool", {"padding", "same", NULL}, NULL},
    {"[5, 4, 3]",
     "avg_pool",
     {"padding", "explicit", "pad_top", "1", "count_padding", "true", NULL},
     NULL},
    {"[5, 4, 3]",
     "avg_pool",
     {"padding", "same", "count_padding", "true", NULL},
     "Keras does not count padded zeros in a mean"},
};

Test(keras_v3, every_layer_comes_back_or_is_refused_by_name, .init = setup,
     .fini = teardown)
{
    for (size_t k = 0; k < sizeof layers / sizeof *layers; k++) {
        pq_graph *g = one_layer(layers[k].shape, layers[k].kind, layers[k].attributes);
        pq_graph *again    = NULL;
        pq_err    err      = {0};
        const pq_status st = pq_keras_save(g, path, &err);
        if (layers[k].refusal == NULL) {
            cr_assert_eq(st, PQ_OK, "%s: %s", layers[k].kind, err.message);
            OK(pq_model_load(path, NULL, &again, err));
            cr_expect_lt(apart(g, again), 1e-6, "case %zu, %s", k, layers[k].kind);
            cr_expect_eq(remove(path), 0);
        } else {
            cr_expect_eq(st, PQ_ERR_UNSUPPORTED, "case %zu", k);
            cr_expect_eq(strncmp(err.message, "layer 'y/z': ", 13), 0, "%s", err.message);
            cr_expect_str_eq(err.message + 13, layers[k].refusal);
            cr_expect_not(pq_file_exists(path), "nothing is written");
        }
        pq_graph_free(&g);
        pq_graph_free(&again);
    }
}

Test(keras_v3, a_grid_on_values_is_refused, .init = setup, .fini = teardown)
{
    static const char *const none[] = {NULL};
    pq_graph                *g      = one_layer("[6]", "relu", none);
    pq_err                   err    = {0};

    OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, -1, 1, &g->nodes[1].quant, err));
    pq_quant_set_range(g->nodes[1].quant, 0, -1.0, 1.0, true);
    cr_expect_eq(pq_keras_save(g, path, &err), PQ_ERR_UNSUPPORTED);
    cr_expect_str_eq(err.message,
                     "layer 'y/z': its values lie on a grid, for which Keras "
                     "has no layer; write ONNX");
    pq_graph_free(&g);
}

/* A dense layer of 12 to 6 of two cores, whose outer ranks are r. */
static pq_graph *cores(const char *kind, size_t r)
{
    const pq_shape shapes[] = {PQ_SHAPE(r, 2, 3, 2), PQ_SHAPE(2, 3, 4, r)};
    const char    *input    = "x";
    pq_rng         rng      = pq_rng_stream(8, "cores");
    pq_graph      *g        = NULL;
    pq_layer      *layer    = NULL;

    OK(pq_graph_create(&g, err));
    OK(pq_layer_create("input", &layer, err));
    OK(pq_layer_set(layer, "shape", "[12]", err));
    OK(pq_graph_add(g, "x", layer, 0, NULL, err));
    OK(pq_layer_create(kind, &layer, err));
    for (size_t k = 0; k < 2; k++) {
        pq_tensor *t = NULL;
        OK(pq_tensor_create(PQ_DTYPE_F32, shapes[k], &t, err));
        for (size_t i = 0; i < t->count; i++) {
            pq_f32(t)[i] = (float)pq_rng_normal(&rng);
        }
        OK(pq_layer_add_weight(layer, k == 0 ? "core1" : "core2", t, err));
    }
    OK(pq_graph_add(g, "y", layer, 1, &input, err));
    OK(pq_graph_check(g, err));
    return g;
}

Test(keras_v3, trains_and_rings_are_rebuilt_in_every_format, .init = setup,
     .fini = teardown)
{
    static const struct {
        const char *kind;
        size_t      r;
    } cases[] = {
        {"tt_dense", 1}, {"ring_dense", 1}, {"ring_dense", 2}, {"ring_dense", 3}};

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_graph *g = cores(cases[k].kind, cases[k].r);
        for (size_t f = 0; pq_formats[f] != NULL; f++) {
            pq_graph *again = NULL;
            if (pq_formats[f]->save == NULL ||
                strcmp(pq_formats[f]->name, "safetensors") == 0 ||
                strcmp(pq_formats[f]->name, "npz") == 0) {
                continue; /* those hold the cores themselves, without their network */
            }
            OK(pq_formats[f]->save(g, path, err));
            OK(pq_model_load(path, NULL, &again, err));
            cr_expect_lt(apart(g, again), 1e-4, "%s of rank %zu in %s: off by %g",
                         cases[k].kind, cases[k].r, pq_formats[f]->name, apart(g, again));
            pq_graph_free(&again);
        }
        pq_graph_free(&g);
    }
}
