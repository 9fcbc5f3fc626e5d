/* Models within models and layers that are called more than once, as Keras 2 writes them;
 * those of Keras 3 are compared with Keras itself in tests/interop. */
#include <criterion/criterion.h>

#include "formats/keras_files.h"

#define CALL(name, number) "[[\"" name "\"," number ",0,{}]]"
/* A model of one dense layer 'd', called as `calls` say. */
#define INNER(calls)                                                                     \
    "{\"class_name\":\"Functional\",\"name\":\"inner\",\"config\":{\"name\":\"inner\","  \
    "\"layers\":[{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"x\","             \
    "\"batch_input_shape\":[null,3]},\"name\":\"x\",\"inbound_nodes\":[]}," LAYER(       \
        "Dense", "d", "x", "") "],\"input_layers\":[[\"x\",0,0]],\"output_layers\":"     \
                               "[[\"d\",0,0]]},\"inbound_nodes\":[" calls "]}"
#define SUM(first, second)                                                               \
    "{\"class_name\":\"Add\",\"name\":\"sum\",\"config\":{\"name\":\"sum\"},"            \
    "\"inbound_nodes\":[[[\"" first "],[\"" second "]]]}"

/* Weights "<folder>/kernel:0" and "…/bias:0" of each folder in the group 'inner'. */
static void write_inner(const char *config, size_t n, const char *const *folders)
{
    keras       k = begin("model_weights");
    char        names[8][64], full[128];
    const char *list[8];

    layer(&k, "in", 0, NULL);
    OK(pq_h5_make_group(k.file, "model_weights/inner", err));
    for (size_t i = 0; i < 2 * n; i++) {
        pq_tensor *t =
            i % 2 == 0 ? noise(PQ_SHAPE(3, 2), 1 + i) : noise(PQ_SHAPE(2), 1 + i);
        snprintf(names[i], sizeof names[i], "%s/%s:0", folders[i / 2],
                 i % 2 == 0 ? "kernel" : "bias");
        snprintf(full, sizeof full, "model_weights/inner/%s", names[i]);
        list[i] = names[i];
        OK(pq_h5_write(k.file, full, t, 0, err));
        pq_tensor_free(&t);
    }
    OK(pq_h5_set_texts(k.file, "model_weights/inner", "weight_names", list, 2 * n, err));
    k.layers[k.n++] = "inner";
    finish(&k, config);
}

Test(keras_models, a_model_called_twice_is_two_of_each_of_its_layers, .init = setup,
     .fini = teardown)
{
    /* Its first call is the one that it made of itself: those outside count from 1. */
    pq_graph  *g;
    pq_tensor *kernel = noise(PQ_SHAPE(3, 2), 1);
    size_t     first, second;

    write_inner(MODEL(INPUT("3") "," LAYER("ReLU", "r", "in", "") "," SUM(
                          "inner\",1,0,{}",
                          "inner\",2,0,{}") "," INNER(CALL("in", "0") "," CALL("r", "0")),
                      "sum"),
                1, (const char *const[]){"d"});
    g      = load();
    first  = pq_graph_find(g, "inner.d");
    second = pq_graph_find(g, "inner.d.call2");
    second = second == SIZE_MAX ? pq_graph_find(g, "inner.call2.d") : second;
    cr_assert(first != SIZE_MAX && second != SIZE_MAX);
    cr_expect_eq(g->n_nodes, 5);
    cr_expect_str_eq(g->nodes[g->output].name, "sum");
    cr_expect_eq(g->nodes[g->output].inputs[0], first);
    cr_expect_eq(g->nodes[g->output].inputs[1], second);
    cr_expect_str_eq(g->nodes[g->nodes[first].inputs[0]].name, "in");
    cr_expect_str_eq(g->nodes[g->nodes[second].inputs[0]].name, "r");
    for (size_t i = 0; i < 6; i++) { /* (in, out) -> [out, in] */
        const float  due = pq_f32(kernel)[i];
        const size_t at  = i % 2 * 3 + i / 2;
        cr_expect_eq(pq_f32(pq_layer_weight(g->nodes[first].layer, "kernel")->value)[at],
                     due);
        cr_expect_eq(pq_f32(pq_layer_weight(g->nodes[second].layer, "kernel")->value)[at],
                     due);
    }
    pq_graph_free(&g);
    pq_tensor_free(&kernel);
}

Test(keras_models, weights_are_told_apart_by_their_folders, .init = setup,
     .fini = teardown)
{
    static const struct {
        const char *folders[3], *taken; /* NULL: refused */
    } cases[] = {
        {{"d", NULL}, "d"},
        {{"inner/d", "other/d", NULL}, "inner/d"},
        {{"other/d", "d", NULL}, "d"},
        {{"some/where/d", NULL}, "some/where/d"},
        {{"a/d", "b/d", NULL}, NULL},
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        size_t n = 0, at = 0;
        for (; cases[k].folders[n] != NULL; n++) {
            at =
                cases[k].taken != NULL && strcmp(cases[k].taken, cases[k].folders[n]) == 0
                    ? n
                    : at;
        }
        write_inner(MODEL(INPUT("3") "," INNER(CALL("in", "0")), "inner"), n,
                    cases[k].folders);
        if (cases[k].taken == NULL) {
            refused(PQ_ERR_UNSUPPORTED,
                    "layer 'inner.d': its weights could be those of 'a/d' or of 'b/d'; "
                    "save the model as .keras, which tells");
            continue;
        }
        pq_graph  *g   = load();
        pq_tensor *due = noise(PQ_SHAPE(2), 2 + 2 * at);
        cr_expect_eq(pq_f32(pq_layer_weight(g->nodes[1].layer, "bias")->value)[1],
                     pq_f32(due)[1], "case %zu", k);
        pq_tensor_free(&due);
        pq_graph_free(&g);
    }
}

/* Keras 3 writes a mask for each input of a model, null where there is none. */
Test(keras_models, a_mask_is_read_where_it_is_null_for_each_input, .init = setup,
     .fini = teardown)
{
    static const struct {
        const char *config;
        bool        is_read;
    } cases[] = {
#define MASKED(mask)                                                                     \
    MODEL(INPUT("3") "," INNER("[[\"in\",0,0,{\"mask\":" mask "}]]"), "inner")
        {MASKED("null"), true},
        {MASKED("[null]"), true},
        {MASKED("[null,null]"), true},
        {MASKED("[]"), false},
        {MASKED("[null,[\"in\",0,0]]"), false},
#undef MASKED
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        write_inner(cases[k].config, 1, (const char *const[]){"d"});
        if (cases[k].is_read) {
            pq_graph *g = load();
            cr_expect_eq(g->n_nodes, 2, "case %zu", k);
            pq_graph_free(&g);
        } else {
            refused(PQ_ERR_UNSUPPORTED, "layer 'inner': 'mask' of its call is set; it is "
                                        "read only where it is null or false");
        }
    }
}

Test(keras_models, a_layer_called_twice_is_two_with_the_same_weights, .init = setup,
     .fini = teardown)
{
    pq_graph *g;

    write_dense(
        MODEL(INPUT("3") "," LAYER("ReLU", "r", "in", "") "," SUM(
                  "d\",0,0,{}", "d\",1,0,{}") ","
                                              "{\"class_name\":\"Dense\",\"name\":\"d\","
                                              "\"config\":{\"name\":\"d\"},"
                                              "\"inbound_nodes\":[" CALL(
                                                  "in", "0") "," CALL("r", "0") "]}",
              "sum"));
    g = load();
    cr_expect_eq(g->n_nodes, 5);
    cr_assert_neq(pq_graph_find(g, "d.call2"), SIZE_MAX);
    cr_expect_str_eq(g->nodes[g->nodes[pq_graph_find(g, "d.call2")].inputs[0]].name, "r");
    pq_graph_free(&g);
}

Test(keras_models, one_output_of_several_is_read_and_what_it_needs, .init = setup,
     .fini = teardown)
{
    static const char config[] =
        "{\"class_name\":\"Model\",\"config\":{\"layers\":[" INPUT("3") "," LAYER(
            "Dense", "d", "in",
            "") "," LAYER("ReLU", "r", "in",
                          "") "],\"input_layers\":[[\"in\",0,0]],\"output_layers\":[["
                              "\"d\",0,0],[\"r\",0,0]]}}";
    static const struct {
        const char *output;
        size_t      nodes;
        const char *name, *message;
    } cases[] = {
        {"d", 2, "d", NULL},
        {"r", 2, "r", NULL},
        {"1", 2, "r", NULL},
        {"2", 0, NULL, "'2' is none of the model's outputs: d, r"},
        {NULL, 0, NULL, "the model has 2 outputs (d, r); one is read"},
    };

    write_dense(config);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_graph *g   = NULL;
        pq_err    why = {0};
        cr_expect_eq(pq_model_load_output(path, NULL, cases[k].output, &g, &why) == PQ_OK,
                     cases[k].message == NULL, "case %zu: %s", k, why.message);
        if (cases[k].message != NULL) {
            cr_expect_not_null(strstr(why.message, cases[k].message), "%s", why.message);
            continue;
        }
        cr_expect_eq(g->n_nodes, cases[k].nodes);
        cr_expect_str_eq(g->nodes[g->output].name, cases[k].name);
        pq_graph_free(&g);
    }
}

/* Each model calls the one in it many times: more calls than there are atoms. */
Test(keras_models, calls_within_calls_are_counted, .init = setup, .fini = teardown)
{
    pq_text text = {0}, calls = {0};

    for (size_t i = 0; i < 200; i++) {
        pq_text_add(&calls, "%s" CALL("x", "0"), i == 0 ? "" : ",");
    }
    for (size_t i = 0; i < 12; i++) {
        pq_text_add(&text,
                    "%s{\"class_name\":\"Functional\",\"config\":{"
                    "\"name\":\"m%zu\",\"layers\":[{\"class_name\":\"InputLayer\","
                    "\"config\":{\"name\":\"x\",\"batch_input_shape\":[null,3]},\"name\":"
                    "\"x\",\"inbound_nodes\":[]}",
                    i == 0 ? "" : ",", i);
    }
    for (size_t i = 12; i-- > 0;) {
        pq_text_add(
            &text,
            "],\"input_layers\":[[\"x\",0,0]],\"output_layers\":[[\"x\",0,0]]}%s%s%s}",
            i > 0 ? ",\"inbound_nodes\":[" : "", i > 0 ? calls.text : "",
            i > 0 ? "]" : "");
    }
    cr_assert_not(text.failed || calls.failed);
    write_dense(text.text);
    refused(PQ_ERR_FORMAT,
            "has more than 16384 layers, each call counted: " PQ_GRAPH_NODES_WHY);
    pq_text_free(&text);
    pq_text_free(&calls);
}
