/* Keys and values of a configuration: followed, known to change nothing, or refused. */
#include <math.h>

#include "core/file.h"
#include "formats/keras_files.h"

TestSuite(keras_config, .init = setup, .fini = teardown);

/* A model of one layer without weights over 3 features. */
static void one(const char *class_name, const char *config)
{
    char  text[2048];
    keras k = begin("model_weights");

    snprintf(
        text, sizeof text,
        "{\"class_name\":\"Functional\",\"config\":{\"layers\":[" INPUT(
            "3") ",{\"class_name\":\"%s\",\"name\":\"l\",\"config\":{\"name\":\"l\"%s}"
                 ",\"inbound_nodes\":[[[\"in\",0,0,{}]]]}],"
                 "\"output_layers\":[[\"l\",0,0]]}}",
        class_name, config);
    finish(&k, text);
}

Test(keras_config, numbers_that_old_keras_wraps_are_read)
{
    static const char *const configs[][2] = {
        {"LeakyReLU", ",\"alpha\":{\"type\":\"ndarray\",\"value\":0.1}"},
        {"ReLU", ",\"max_value\":null,\"negative_slope\":{\"type\":\"ndarray\",\"value\":"
                 "0.1},\"threshold\":{\"type\":\"ndarray\",\"value\":0.0}"},
        {"ReLU", ",\"max_value\":{\"type\":\"ndarray\",\"value\":1.5}"},
        {"ELU", ",\"alpha\":{\"class_name\":\"__numpy__\",\"config\":{\"value\":0.1,"
                "\"dtype\":\"float32\"}}"},
    };
    const double in[]      = {-1.0, 0.5, 2.0};
    const double want[][3] = {{-0.1, 0.5, 2.0},
                              {-0.1, 0.5, 2.0},
                              {0.0, 0.5, 1.5},
                              {0.1 * (exp(-1.0) - 1.0), 0.5, 2.0}};

    for (size_t i = 0; i < 4; i++) {
        double    got[3];
        pq_graph *g;
        one(configs[i][0], configs[i][1]);
        g = load();
        run_graph(g, in, got);
        for (size_t k = 0; k < 3; k++) {
            cr_expect_float_eq(got[k], want[i][k], 1e-12, "case %zu", i);
        }
        pq_graph_free(&g);
    }
}

Test(keras_config, numbers_that_json_does_not_know_are_read)
{
    const double in[] = {-1.0, 0.5, 20.0};
    double       got[3];
    pq_graph    *g;

    one("ReLU", ",\"max_value\":Infinity,\"trainable\":NaN");
    g = load();
    run_graph(g, in, got);
    cr_expect_eq(got[2], 20.0);
    pq_graph_free(&g);
    one("ReLU", ",\"max_value\":NaN");
    refused(PQ_ERR_FORMAT, "layer 'l': max_value is nan, not a finite number");
    one("ELU", ",\"alpha\":-Infinity");
    refused(PQ_ERR_FORMAT, "layer 'l': alpha is -inf, not a finite number");
}

/* {class, config, what is said} */
Test(keras_config, what_is_there_and_not_understood_is_refused)
{
    static const char *const bad[][3] = {
        {"ReLU", ",\"slope\":1",
         "key 'slope' of ReLU is not known, so neither is what it "
         "computes"},
        {"Dropout", ",\"rate\":0.5,\"mode\":\"x\"",
         "key 'mode' of Dropout is not known, so neither is what it computes"},
        {"Flatten",
         ",\"dtype\":{\"class_name\":\"QuantizedDTypePolicy\",\"config\":{"
         "\"name\":\"int8_from_float32\"}}",
         "dtype 'int8_from_float32' is not read, only floats: float32, float16, "
         "bfloat16, "
         "float64, mixed_float16, mixed_bfloat16"},
        {"BatchNormalization", ",\"renorm\":true",
         "'renorm' of BatchNormalization is set; it is read only where it is null or "
         "false"},
        {"Dense", ",\"lora_rank\":4",
         "'lora_rank' of Dense is set; it is read only where it is null or false"},
        {"Convolution2D", ",\"nb_filter\":4",
         "key 'nb_filter' of Convolution2D is not known, so neither is what it computes"},
        {"Activation",
         ",\"activation\":{\"class_name\":\"function\",\"config\":\"relu\",\"registered_"
         "name\":\"my>relu\"}",
         "'function' is not of Keras, QKeras or HGQ (module 'keras', registered as "
         "'my>relu')"},
        {"Activation",
         ",\"activation\":{\"class_name\":\"LeakyReLU\",\"config\":{\"a\":1}}",
         "key 'a' of LeakyReLU is not known, so neither is what it computes"},
    };
    static const char *const wrong[][3] = {
        {"Activation", ",\"activation\":7", "its activation is not a name"},
        {"LeakyReLU", ",\"alpha\":\"0.1\"", "alpha is \"0.1\", not a finite number"},
        {"LeakyReLU", ",\"alpha\":[0.1,0.2]", "alpha is [0.1,0.2], not a finite number"},
        {"LeakyReLU", ",\"alpha\":0.1,\"negative_slope\":0.2",
         "LeakyReLU has both alpha and negative_slope"},
        {"ReLU", ",\"max_value\":-1.0", "max_value is -1, not 0 or more"},
        {"Softmax", ",\"axis\":3", "axis 3 is not in -2..1 of an input with 2 axes"},
        {"Softmax", ",\"axis\":null", "axis is null, not a whole number"},
        {"Flatten", ",\"data_format\":1", "data_format is 1, not a text"},
        {"BatchNormalization", ",\"scale\":\"yes\"",
         "scale is \"yes\", not true or false"},
        {"Reshape", ",\"target_shape\":[1.5]",
         "entry 0 of 'target_shape' is not a whole number"},
    };
    char text[512];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        one(bad[i][0], bad[i][1]);
        snprintf(text, sizeof text, "layer 'l': %s", bad[i][2]);
        refused(PQ_ERR_UNSUPPORTED, text);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        one(wrong[i][0], wrong[i][1]);
        snprintf(text, sizeof text, "layer 'l': %s", wrong[i][2]);
        refused(PQ_ERR_FORMAT, text);
    }
}

Test(keras_config, calls_with_more_than_tensors_are_refused)
{
    static const char *const calls[][2] = {
        {"[[[\"in\",0,0,{\"training\":true}]]]",
         "layer 'l': 'training' of its call is set; it is read only where it is null or "
         "false"},
        {"[{\"args\":[{\"class_name\":\"__keras_tensor__\",\"config\":{\"keras_history\":"
         "["
         "\"in\",0,0]}},3.0],\"kwargs\":{}}]",
         "layer 'l': is called with an argument that is no tensor"},
        {"[{\"args\":[{\"class_name\":\"__keras_tensor__\",\"config\":{\"keras_history\":"
         "["
         "\"in\",0,0]}}],\"kwargs\":{\"axis\":1}}]",
         "layer 'l': key 'axis' of its call is not known, so neither is what it "
         "computes"},
    };

    for (size_t i = 0; i < 3; i++) {
        char  text[1024];
        keras k = begin("model_weights");
        snprintf(
            text, sizeof text,
            "{\"class_name\":\"Functional\",\"config\":{\"layers\":[" INPUT(
                "3") ",{\"class_name\":\"Dropout\",\"name\":\"l\",\"config\":{\"name\":"
                     "\"l\"},\"inbound_nodes\":%s}],\"output_layers\":[[\"l\",0,0]]}}",
            calls[i][0]);
        finish(&k, text);
        refused(PQ_ERR_UNSUPPORTED, calls[i][1]);
    }
}

Test(keras_config, a_layer_of_many_weights_is_refused_by_its_class)
{
    pq_tensor  *w[MOST_WEIGHTS];
    keras       k = begin("model_weights");
    char        group[128];
    const char *names[12];

    for (size_t i = 0; i < MOST_WEIGHTS; i++) {
        w[i] = noise(PQ_SHAPE(1), 1);
    }
    layer(&k, "m", MOST_WEIGHTS, w);
    snprintf(group, sizeof group, "model_weights/m");
    for (size_t i = 0; i < 12; i++) {
        names[i] = "m/z:0";
    }
    OK(pq_h5_set_texts(k.file, group, "weight_names", names, 12, err));
    finish(&k, MODEL(INPUT("3") "," LAYER("MultiHeadAttention", "m", "in", ""), "m"));
    refused(PQ_ERR_UNSUPPORTED,
            "layer 'm': layer class 'MultiHeadAttention' is not known");
}

Test(keras_config, classes_and_models_of_others_are_refused)
{
    keras k = begin("model_weights");

    finish(&k,
           MODEL(INPUT("3") ",{\"class_name\":\"Flatten\",\"module\":\"mine.layers\","
                            "\"registered_name\":\"mine>Flatten\",\"config\":{\"name\":"
                            "\"l\"},\"name\":\"l\",\"inbound_nodes\":[[[\"in\",0,0]]]}",
                 "l"));
    refused(PQ_ERR_UNSUPPORTED,
            "layer 'l': 'Flatten' is not of Keras, QKeras or HGQ (module "
            "'mine.layers', registered as 'mine>Flatten')");
    k = begin("model_weights");
    finish(&k,
           MODEL(INPUT("3") ",{\"class_name\":\"ReLU\",\"module\":null,"
                            "\"registered_name\":\"ReLU\",\"config\":{\"name\":"
                            "\"l\"},\"name\":\"l\",\"inbound_nodes\":[[[\"in\",0,0]]]}",
                 "l"));
    refused(PQ_ERR_UNSUPPORTED, "layer 'l': 'ReLU' is a class of the one who saved the "
                                "model, not of Keras, QKeras or HGQ");
    k = begin("model_weights");
    OK(pq_h5_set_text(k.file, "model_weights", "backend", "theano", err));
    finish(&k, MODEL(INPUT("3"), "in"));
    refused(PQ_ERR_UNSUPPORTED, "the model was saved with Theano, whose kernels are "
                                "turned; save it with TensorFlow");
    k = begin("model_weights");
    finish(&k, "{\"class_name\":\"Functional\",\"config\":{\"layers\":[" INPUT(
                   "3") "],\"output_layers\":[[\"in\",0,0]],\"loops\":2}}");
    refused(PQ_ERR_UNSUPPORTED,
            "key 'loops' of the model is not known, so neither is what it computes");
}

Test(keras_config, what_a_layer_computed_in_is_kept_with_the_model)
{
    char     *text;
    pq_graph *g;

    one("Flatten", ",\"dtype\":{\"class_name\":\"Policy\",\"config\":{\"name\":\"mixed_"
                   "float16\"}}");
    g    = load();
    text = json_dumps(g->provenance, JSON_COMPACT);
    cr_expect_str_eq(text, "[{\"read\":\"keras\",\"dtype\":\"mixed_float16\",\"computed_"
                           "in\":\"float32\"}]");
    free(text);
    pq_graph_free(&g);
    one("Flatten", ",\"dtype\":\"float32\"");
    g = load();
    cr_expect_eq(json_array_size(g->provenance), 0);
    pq_graph_free(&g);
}

Test(keras_config, a_sequential_model_may_say_itself_what_it_takes)
{
    pq_graph *g;
    keras     k = begin("model_weights");

    finish(&k,
           "{\"class_name\":\"Sequential\",\"config\":{\"build_input_shape\":{\"class_"
           "name\":\"TensorShape\",\"items\":[null,7]},\"layers\":[{\"class_name\":"
           "\"Flatten\",\"config\":{\"name\":\"f\"}}]}}");
    g = load();
    cr_expect_eq(g->nodes[g->output].shape.dim[0], 7);
    pq_graph_free(&g);
}

/* HGQ's layers have two sums of their bits behind their weights where they count them;
 * its batch norm has mean and variance behind those. */
Test(keras_config, layers_of_hgq_have_the_weights_that_their_configuration_says)
{
#define HGQ_LAYER(class, more)                                                           \
    MODEL(                                                                               \
        INPUT("3") ",{\"class_name\":\"" class "\",\"name\":\"d\",\"module\":\"hgq."     \
                                               "layers\",\"registered_name\":"           \
                                               "\"hgq>" class "\",\"config\":{\"name\":" \
                                                              "\"d\",\"units\":2" more   \
                                                              "},\"inbound_nodes\":[[["  \
                                                              "\"in\",0,0,{}]]]}",       \
        "d")
    write_dense(HGQ_LAYER("QDense", ",\"enable_ebops\":true"));
    refused(PQ_ERR_FORMAT, "layer 'd': the file holds 2 weights, but hgq>QDense as "
                           "configured has 4");
    write_dense(HGQ_LAYER("QDense", ",\"use_bias\":false"));
    refused(PQ_ERR_FORMAT, "layer 'd': the file holds 2 weights, but hgq>QDense as "
                           "configured has 1");
    write_dense(HGQ_LAYER("QBatchNormDense", ",\"enable_ebops\":true"));
    refused(PQ_ERR_FORMAT, "layer 'd': the file holds 2 weights, but hgq>QBatchNormDense "
                           "as configured has 7");
    write_dense(HGQ_LAYER("QBatchNormDense", ",\"scale\":false"));
    refused(PQ_ERR_FORMAT, "layer 'd': the file holds 2 weights, but hgq>QBatchNormDense "
                           "as configured has 4");
    write_dense(HGQ_LAYER("QDense", ""));
    refused(PQ_ERR_FORMAT, "layer 'd': 'kq_conf': is missing");
#undef HGQ_LAYER
}
