#include <math.h>

#include "core/file.h"
#include "formats/keras_files.h"

#define SHARED PQ_TEST_SOURCE_ROOT "/../shared/data/models/"

TestSuite(keras, .init = setup, .fini = teardown);

Test(keras, dense_is_turned_and_its_fused_activation_is_a_node_of_its_own)
{
    const double in[] = {0.5, -1.0, 2.0};
    double       got[2];
    pq_tensor   *w = noise(PQ_SHAPE(3, 2), 1), *b = noise(PQ_SHAPE(2), 2);
    pq_graph    *g;

    write_dense(MODEL(
        INPUT("3") "," LAYER("Dense", "d", "in",
                             ",\"units\":2,\"activation\":\"sigmoid\",\"use_bias\":true"),
        "d"));
    g = load();
    cr_assert_eq(g->n_nodes, 3);
    cr_expect_str_eq(g->nodes[1].name, "d");
    cr_expect_str_eq(g->nodes[2].name, "d.sigmoid");
    cr_expect_eq(g->output, 2);
    run_graph(g, in, got);
    for (size_t o = 0; o < 2; o++) {
        double sum = (double)pq_f32(b)[o];
        for (size_t i = 0; i < 3; i++) {
            sum += in[i] * (double)pq_f32(w)[2 * i + o];
        }
        cr_expect_float_eq(got[o], 1.0 / (1.0 + exp(-sum)), 1e-12);
    }
    pq_graph_free(&g);
    pq_tensor_free(&w);
    pq_tensor_free(&b);
}

/* out[y, x, o] of a convolution as Keras defines it: kernel (h, w, in, out), stride 2,
 * same, 5x5 -> 3x3. */
static double keras_conv(const double *in, const pq_tensor *w, size_t y, size_t x,
                         size_t o)
{
    const size_t *k   = w->shape.dim;
    double        sum = 0.0;

    for (size_t i = 0; i < k[0]; i++) {
        for (size_t j = 0; j < k[1]; j++) {
            for (size_t c = 0; c < k[2]; c++) {
                const long r = (long)(2 * y + i) - 1, s = (long)(2 * x + j) - 1;
                if (r >= 0 && r < 5 && s >= 0 && s < 5) {
                    sum += in[((size_t)r * 5 + (size_t)s) * k[2] + c] *
                           (double)pq_f32(w)[((i * k[1] + j) * k[2] + c) * k[3] + o];
                }
            }
        }
    }
    return sum;
}

Test(keras, convolution_agrees_with_its_definition)
{
    keras      k = begin("model_weights");
    pq_tensor *w = noise(PQ_SHAPE(3, 3, 2, 4), 3), *image = noise(PQ_SHAPE(5, 5, 2), 4);
    double     in[50], got[36];
    pq_graph  *g;

    layer(&k, "c", 1, (pq_tensor *[]){noise(PQ_SHAPE(3, 3, 2, 4), 3)});
    finish(&k,
           MODEL(INPUT("5,5,2") "," LAYER("Conv2D", "c", "in",
                                          ",\"filters\":4,\"kernel_size\":[3,3],"
                                          "\"strides\":[2,2],\"padding\":\"same\","
                                          "\"use_bias\":false,\"activation\":\"linear\""),
                 "c"));
    for (size_t i = 0; i < 50; i++) {
        in[i] = (double)pq_f32(image)[i];
    }
    g = load();
    run_graph(g, in, got);
    for (size_t i = 0; i < 36; i++) {
        cr_expect_float_eq(got[i], keras_conv(in, w, i / 12, i / 4 % 3, i % 4), 1e-12);
    }
    pq_graph_free(&g);
    pq_tensor_free(&w);
    pq_tensor_free(&image);
}

Test(keras, depthwise_and_separable_agree_with_their_definition)
{
    keras      k = begin("model_weights");
    pq_tensor *d = noise(PQ_SHAPE(3, 3, 2, 2), 5), *p = noise(PQ_SHAPE(1, 1, 4, 3), 6);
    pq_tensor *image = noise(PQ_SHAPE(3, 3, 2), 7);
    double     in[18], got[3], depth[4] = {0};
    pq_graph  *g;

    layer(&k, "s", 3,
          (pq_tensor *[]){noise(PQ_SHAPE(3, 3, 2, 2), 5), noise(PQ_SHAPE(1, 1, 4, 3), 6),
                          noise(PQ_SHAPE(3), 8)});
    finish(&k, MODEL(INPUT("3,3,2") "," LAYER("SeparableConv2D", "s", "in",
                                              ",\"filters\":3,\"kernel_size\":[3,3],"
                                              "\"depth_multiplier\":2,\"activation\":"
                                              "\"relu\""),
                     "s"));
    for (size_t i = 0; i < 18; i++) {
        in[i] = (double)pq_f32(image)[i];
        for (size_t m = 0; m < 2; m++) {
            depth[i % 2 * 2 + m] += in[i] * (double)pq_f32(d)[i * 2 + m];
        }
    }
    g = load();
    cr_assert_eq(g->n_nodes, 4);
    cr_expect_str_eq(g->nodes[1].name, "s.depthwise");
    cr_expect_str_eq(g->nodes[2].name, "s");
    cr_expect_str_eq(g->nodes[3].name, "s.relu");
    run_graph(g, in, got);
    pq_tensor_free(&image);
    image = noise(PQ_SHAPE(3), 8);
    for (size_t o = 0; o < 3; o++) {
        double sum = (double)pq_f32(image)[o];
        for (size_t c = 0; c < 4; c++) {
            sum += depth[c] * (double)pq_f32(p)[c * 3 + o];
        }
        cr_expect_float_eq(got[o], fmax(sum, 0.0), 1e-12);
    }
    pq_graph_free(&g);
    pq_tensor_free(&d);
    pq_tensor_free(&p);
    pq_tensor_free(&image);
}

static pq_tensor *constant(float value, size_t n)
{
    pq_tensor *t = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n), &t, err));
    for (size_t i = 0; i < n; i++) {
        pq_f32(t)[i] = value;
    }
    return t;
}

Test(keras, batch_norm_follows_scale_and_center)
{
    static const char *const flags[] = {"\"scale\":true,\"center\":true",
                                        "\"scale\":false,\"center\":true",
                                        "\"scale\":true,\"center\":false"};
    const double             in[]    = {3.0, 3.0};

    for (size_t f = 0; f < 3; f++) {
        keras      k    = begin("model_weights");
        pq_tensor *w[4] = {NULL};
        char       config[1024];
        size_t     n = 0;
        double     got[2], want;
        pq_graph  *g;

        if (f != 1) {
            w[n++] = constant(2.0F, 2); /* gamma */
        }
        if (f != 2) {
            w[n++] = constant(0.5F, 2); /* beta */
        }
        w[n++] = constant(1.0F, 2); /* mean */
        w[n++] = constant(4.0F, 2); /* variance */
        layer(&k, "b", n, w);
        snprintf(config, sizeof config,
                 "{\"class_name\":\"Functional\",\"config\":{\"layers\":[" INPUT(
                     "2") ",{\"class_name\":\"BatchNormalization\",\"name\":\"b\","
                          "\"config\":{\"name\":"
                          "\"b\",\"axis\":[1],\"epsilon\":0.0,%s},\"inbound_nodes\":[[["
                          "\"in\",0,0,{}]]]}],"
                          "\"output_layers\":[[\"b\",0,0]]}}",
                 flags[f]);
        finish(&k, config);
        g    = load();
        want = (3.0 - 1.0) / 2.0 * (f != 1 ? 2.0 : 1.0) + (f != 2 ? 0.5 : 0.0);
        run_graph(g, in, got);
        cr_expect_float_eq(got[0], want, 1e-12);
        pq_graph_free(&g);
    }
}

/* Every class without weights, in a graph with branches. */
Test(keras, every_class_without_weights_has_its_kind)
{
    static const char *const want[][3] = {
        {"in", "input", "[8, 8, 2]"},
        {"zp", "pad", "[10, 11, 2]"},
        {"mp", "max_pool", "[5, 5, 2]"},
        {"ap", "avg_pool", "[5, 5, 2]"},
        {"r6", "clip", "[5, 5, 2]"},
        {"lr", "leaky_relu", "[5, 5, 2]"},
        {"ad", "add", "[5, 5, 2]"},
        {"mu", "multiply", "[5, 5, 2]"},
        {"cc", "concat", "[5, 5, 4]"},
        {"gm", "global_max_pool", "[4]"},
        {"gm.keepdims", "reshape", "[1, 1, 4]"},
        {"ga", "global_avg_pool", "[4]"},
        {"fl", "flatten", "[4]"},
        {"el", "elu", "[4]"},
        {"rs", "reshape", "[2, 2]"},
        {"dr", "dropout", "[2, 2]"},
        {"sm", "softmax", "[2, 2]"},
        {"ge", "gelu", "[2, 2]"},
    };
    keras     k = begin("model_weights");
    pq_graph *g;
    char      shape[128];

    finish(
        &k, MODEL(INPUT("8,8,2") "," LAYER(
                      "ZeroPadding2D", "zp",
                      "in", ",\"padding\":[[1,1],[1,2]]") "," LAYER("MaxPooling2D", "mp",
                                                                    "zp",
                                                                    ",\"pool_size\":[2,2]"
                                                                    ",\"strides\":null") "," LAYER("AveragePooling2D",
                                                                                                   "ap", "zp", ",\"pool_size\":2,\"strides\":[2,2],\"padding\":\"valid\"") "," LAYER("ReLU", "r6", "mp", ",\"max_value\":6.0,\"negative_slope\":0.0,\"threshold\":0.0") "," LAYER("LeakyReLU", "lr", "ap", ",\"alpha\":0.25") ","
                                                                                                                                                                                                                                                                                                                              "{\"class_name\":\"Add\",\"name\":\"ad\",\"config\":{\"name\":\"ad\"},\"inbound_nodes\":[[[\"r6\",0,0,{}],[\"lr\",0,0,{}]]]},"
                                                                                                                                                                                                                                                                                                                              "{\"class_name\":\"Multiply\",\"name\":\"mu\",\"config\":{\"name\":\"mu\"},\"inbound_nodes\":[[[\"r6\",0,0,{}],[\"lr\",0,0,{}]]]},"
                                                                                                                                                                                                                                                                                                                              "{\"class_name\":\"Concatenate\",\"name\":\"cc\",\"config\":{\"name\":\"cc\",\"axis\":3},\"inbound_nodes\":[[[\"ad\",0,0,{}],[\"mu\",0,0,{}]]]}," LAYER("GlobalMaxPooling2D", "gm", "cc",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      ",\"keepdims\":true") "," LAYER("GlobalAveragePooling2D", "ga", "gm",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      "") "," LAYER("Flatten",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "fl",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "ga",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "") "," LAYER("ELU",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "el",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "fl", ",\"alpha\":1.0") "," LAYER("Reshape",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "rs",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "el",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    ",\"target_shape\":[2,-1]") "," LAYER("Dropout",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "dr",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "rs",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          ",\"rate\":0.5") "," LAYER("GaussianNoise",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "gn",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "dr", "") "," LAYER("Softmax", "sm", "gn", ",\"axis\":-1") "," LAYER("Activation",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "ge",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "sm", ",\"activation\":\"gelu\"") "," LAYER("Activation", "li", "ge", ",\"activation\":\"linear\""),
                  "li"));
    g = load();
    cr_assert_eq(g->n_nodes, sizeof want / sizeof *want);
    for (size_t i = 0; i < g->n_nodes; i++) {
        cr_expect_str_eq(g->nodes[i].name, want[i][0]);
        cr_expect_str_eq(g->nodes[i].layer->kind->name, want[i][1]);
        cr_expect_str_eq(pq_shape_text(&g->nodes[i].shape, shape, sizeof shape),
                         want[i][2], "%s is %s", want[i][0], shape);
    }
    cr_expect_eq(g->output, g->n_nodes - 1);
    pq_graph_free(&g);
}

#define FIRST                                                                            \
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"d\",\"units\":2,"                  \
    "\"batch_input_shape\":[null,3],\"activation\":\"relu\"}}"

Test(keras, sequential_models_of_every_age_are_read)
{
    static const char *const configs[] = {
        SEQUENTIAL("[" FIRST "]"),
        SEQUENTIAL("{\"name\":\"s\",\"layers\":[" FIRST "]}"),
        SEQUENTIAL(
            "{\"layers\":[{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\","
            "\"batch_shape\":[null,3]}}," FIRST "]}"),
    };

    for (size_t i = 0; i < 3; i++) {
        pq_graph *g;
        write_dense(configs[i]);
        g = load();
        cr_expect_eq(g->n_nodes, 3);
        cr_expect_str_eq(g->nodes[2].name, "d.relu");
        pq_graph_free(&g);
    }
}

#define TENSOR(name)                                                                     \
    "{\"class_name\":\"__keras_tensor__\",\"config\":{\"shape\":[null,3],\"dtype\":"     \
    "\"float32\",\"keras_history\":[\"" name "\",0,0]}}"

Test(keras, inbound_nodes_of_keras_3_and_layers_in_any_order_are_read)
{
    keras     k = begin("model_weights");
    pq_graph *g;

    finish(&k,
           "{\"class_name\":\"Functional\",\"config\":{\"layers\":["
           "{\"class_name\":\"Add\",\"name\":\"a\",\"config\":{\"name\":\"a\"},"
           "\"inbound_nodes\":[{\"args\":[[" TENSOR("t") "," TENSOR(
               "in") "]],\"kwargs\":{}}]},"
                     "{\"class_name\":\"Activation\",\"name\":\"t\",\"config\":{\"name\":"
                     "\"t\","
                     "\"activation\":{\"class_name\":\"function\",\"config\":\"tanh\"}},"
                     "\"inbound_nodes\":[{\"args\":[" TENSOR(
                         "in") "],\"kwargs\":{}}]},"
                               "{\"class_name\":\"InputLayer\",\"name\":\"in\","
                               "\"config\":{\"name\":\"in\","
                               "\"batch_shape\":[null,3]},\"inbound_nodes\":[]}],"
                               "\"input_layers\":[\"in\",0,0],\"output_layers\":[\"a\",0,"
                               "0]}}");
    g = load();
    cr_assert_eq(g->n_nodes, 3);
    cr_expect_str_eq(g->nodes[0].name, "in");
    cr_expect_str_eq(g->nodes[g->output].name, "a");
    cr_expect_eq(g->nodes[g->output].inputs[0], pq_graph_find(g, "t"));
    cr_expect_eq(g->nodes[g->output].inputs[1], 0);
    pq_graph_free(&g);
}

Test(keras, a_pruning_wrapper_is_taken_off)
{
    keras     k = begin("model_weights");
    pq_graph *g;

    layer(&k, "prune_low_magnitude_d", 5,
          (pq_tensor *[]){noise(PQ_SHAPE(3, 2), 1), noise(PQ_SHAPE(2), 2),
                          noise(PQ_SHAPE(3, 2), 3), noise(PQ_SHAPE(1), 4),
                          noise(PQ_SHAPE(1), 5)});
    finish(&k,
           MODEL(INPUT("3") "," LAYER("PruneLowMagnitude", "prune_low_magnitude_d", "in",
                                      ",\"layer\":{\"class_name\":\"Dense\",\"config\":{"
                                      "\"name\":\"d\",\"units\":2}}"),
                 "prune_low_magnitude_d"));
    g = load();
    cr_expect_eq(g->n_nodes, 2);
    cr_expect_eq(g->nodes[1].layer->n_weights, 2);
    pq_graph_free(&g);
}

Test(keras, weights_without_architecture_need_one_beside_them)
{
    char      arch[128];
    keras     k     = begin("/");
    pq_graph *graph = NULL;
    pq_err    err   = {0};

    layer(&k, "d", 2, (pq_tensor *[]){noise(PQ_SHAPE(3, 2), 1), noise(PQ_SHAPE(2), 2)});
    finish(&k, NULL);
    refused(PQ_ERR_FORMAT, "holds weights of Keras without their architecture");
    (void)pq_model_load(path, NULL, &graph, &err);
    cr_expect_str_eq(err.hint,
                     "give the JSON of model.to_json() with --arch FILE, or "
                     "`arch:` (of a teacher `teacher_arch:`) in a configuration");
    snprintf(arch, sizeof arch, "%s/a.json", folder);
    err = (pq_err){0};
    cr_expect_eq(pq_model_load(path, arch, &graph, &err), PQ_ERR_NOT_FOUND);
    OK(pq_file_write(arch, "{\"a\": }", 7, err));
    err = (pq_err){0};
    cr_expect_eq(pq_model_load(path, arch, &graph, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(
        strstr(err.message, "a.json: is not valid JSON: line 1, column 7: "));
    OK(pq_file_write(arch, SEQUENTIAL("[" FIRST "]"), strlen(SEQUENTIAL("[" FIRST "]")),
                     err));
    OK(pq_model_load(path, arch, &graph, err));
    cr_expect_eq(graph->n_nodes, 3);
    pq_graph_free(&graph);
}

Test(keras, what_cannot_be_read_is_named_with_its_layer)
{
    write_dense(MODEL(INPUT("3") "," LAYER("LSTM", "d", "in", ""), "d"));
    refused(PQ_ERR_UNSUPPORTED, "layer 'd': layer class 'LSTM' is not known");
    write_dense(
        MODEL(INPUT("3") "," LAYER("Dense", "d", "in", ",\"activation\":\"mish\""), "d"));
    refused(
        PQ_ERR_UNSUPPORTED,
        "layer 'd': activation 'mish' has no kind here; read are linear, relu, relu6, "
        "leaky_relu, elu, celu, selu, gelu, softplus, sigmoid, silu, swish, tanh, "
        "hard_tanh, softmax, softmax_v2");
    write_dense(MODEL(INPUT("3,3,3") "," LAYER("MaxPooling2D", "d", "in",
                                               ",\"data_format\":\"channels_first\""),
                      "d"));
    refused(PQ_ERR_UNSUPPORTED,
            "layer 'd': data_format 'channels_first' is not read, only "
            "channels_last; save the model with channels last");
    write_dense(
        MODEL(INPUT("3") "," LAYER("ReLU", "d", "in", ",\"threshold\":1.0"), "d"));
    refused(PQ_ERR_UNSUPPORTED,
            "layer 'd': ReLU with threshold 1, max_value inf and negative_slope 0 is not "
            "read: a "
            "threshold, and a slope with a maximum, have no kind here");
    write_dense(MODEL(
        INPUT("3,3,3") "," LAYER("ZeroPadding2D", "d", "in", ",\"padding\":[[1,1],2]"),
        "d"));
    refused(PQ_ERR_FORMAT, "layer 'd': 'padding' is not [[top, bottom], [left, right]]");
    write_dense(MODEL(INPUT("null") "," LAYER("Dense", "d", "in", ""), "d"));
    refused(
        PQ_ERR_UNSUPPORTED,
        "layer 'in': dimension 1 of the input is not fixed; only fixed sizes are read");
    write_dense("{\"class_name\":\"MyModel\",\"config\":{\"layers\":[" INPUT("3") "]}}");
    refused(PQ_ERR_UNSUPPORTED,
            "the model is a 'MyModel'; Sequential, Functional and Model are read");
}

/* The refusal lists every format there is. */
static const char *unknown_format(void)
{
    static char text[512];
    size_t n = (size_t)snprintf(text, sizeof text, "is not a model in a known format (");

    for (size_t i = 0; pq_formats[i] != NULL; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i == 0 ? "" : ", ",
                              pq_formats[i]->name);
    }
    snprintf(text + n, sizeof text - n, ")");
    return text;
}

Test(keras, files_that_are_no_models_are_refused)
{
    pq_graph *graph = NULL;
    pq_err    err   = {0};
    keras     k;

    cr_expect_eq(pq_model_load(path, NULL, &graph, &err), PQ_ERR_NOT_FOUND);
    OK(pq_file_write(path, "hello", 5, err));
    refused(PQ_ERR_FORMAT, unknown_format());
    k = begin("somewhere");
    OK(pq_h5_commit(&k.file, err));
    refused(PQ_ERR_FORMAT, unknown_format());
}

Test(keras, every_failed_allocation_leaves_nothing_behind)
{
    const size_t live = pq_memory_live();
    pq_status    st   = PQ_ERR_NOMEM;

    write_dense(
        MODEL(INPUT("3") "," LAYER("Dense", "d", "in", ",\"activation\":\"relu\""), "d"));
    for (size_t i = 0; st != PQ_OK && i < 5000; i++) {
        pq_graph *graph = NULL;
        pq_memory_fail_after(i);
        st = pq_model_load(path, NULL, &graph, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert_eq(graph != NULL, st == PQ_OK);
        pq_graph_free(&graph);
        cr_assert_eq(pq_memory_live(), live, "after failure %zu", i);
    }
    cr_expect_eq(st, PQ_OK);
}

Test(keras, the_real_jet_tagger_loads)
{
    const char   *file = SHARED "KERAS_3layer_70pruned_retrained_weights.h5";
    pq_graph     *g    = NULL;
    pq_count_rule all  = {true, true, true};
    size_t        nonzero;

    if (!pq_file_exists(file)) {
        cr_skip_test("skipped: no real data at %s", SHARED);
    }
    OK(pq_model_load(file, SHARED "KERAS_3layer.json", &g, err));
    cr_expect_eq(g->n_nodes, 9);
    cr_expect_eq(pq_graph_parameters(g, all, &nonzero),
                 16 * 64 + 64 + 64 * 32 + 32 + 32 * 32 + 32 + 32 * 5 + 5);
    cr_expect_eq(pq_graph_macs(g), 4256);
    cr_expect_str_eq(g->nodes[g->output].name, "output_softmax.softmax");
    pq_graph_free(&g);
}

Test(keras, the_real_resnet_8_loads_with_all_its_parameters)
{
    pq_graph     *g   = NULL;
    pq_count_rule all = {true, true, true};

    if (!pq_file_exists(SHARED "mlperf_tiny_resnet8.h5")) {
        cr_skip_test("skipped: no real data at %s", SHARED);
    }
    OK(pq_model_load(SHARED "mlperf_tiny_resnet8.h5", NULL, &g, err));
    cr_expect_eq(pq_graph_parameters(g, all, NULL), 78666);
    cr_expect_eq(pq_graph_macs(g), 12501632);
    cr_expect_eq(g->nodes[g->output].shape.dim[0], 10);
    pq_graph_free(&g);
}
