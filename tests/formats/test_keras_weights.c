/* Weights of Keras files: that they fit, are finite, and are held once. */
#include <math.h>

#include "core/file.h"
#include "formats/keras_files.h"

TestSuite(keras_weights, .init = setup, .fini = teardown);

Test(keras_weights, what_does_not_fit_together_is_said)
{
    write_dense(
        MODEL(INPUT("3") "," LAYER("Dense", "d", "in", ",\"use_bias\":false"), "d"));
    refused(PQ_ERR_FORMAT,
            "layer 'd': the file holds 2 weights, but Dense as configured has 1");
    write_dense(MODEL(INPUT("3") "," LAYER("Dense", "e", "in", ""), "e"));
    refused(PQ_ERR_FORMAT,
            "layer 'e': the file holds 0 weights, but Dense as configured has 2");
    write_dense(MODEL(INPUT("3") "," LAYER("Dense", "d", "in", ",\"units\":5"), "d"));
    refused(
        PQ_ERR_SHAPE,
        "layer 'd': the kernel in the file is [3, 2], the configuration says [any, 5]");
    write_dense(MODEL(INPUT("4") "," LAYER("Dense", "d", "in", ""), "d"));
    refused(PQ_ERR_SHAPE,
            "layer 'd': kernel is [2, 3] but the input is [4] with 4 features");
    write_dense(MODEL(INPUT("3") "," LAYER("Dense", "d", "x", ""), "d"));
    refused(PQ_ERR_FORMAT, "layer 'd': reads layers that are not there, or itself");
    write_dense(MODEL(INPUT("3") "," LAYER("Dense", "d", "in", ""), "e"));
    refused(PQ_ERR_FORMAT, "the model's output 'e' is not one of its layers");
    write_dense("{\"class_name\":\"Model\",\"config\":{\"layers\":[" INPUT(
        "3") "],\"output_layers\":"
             "[[\"in\",0,0],[\"in\",0,0]]}}");
    refused(PQ_ERR_CONFIG, "the model has 2 outputs (in, in); one is read");
    write_dense("{\"class_name\":\"Model\",\"config\":{}}");
    refused(PQ_ERR_FORMAT, "the architecture has no layers");
    write_dense("{\"class_name\"");
    refused(PQ_ERR_FORMAT,
            "is not valid JSON: line 1, column 13: ':' expected near end of file");
}

Test(keras_weights, nan_weights_are_refused_with_their_place)
{
    keras      k = begin("model_weights");
    pq_tensor *w = noise(PQ_SHAPE(3, 2), 1);

    pq_f32(w)[4] = NAN;
    layer(&k, "d", 2, (pq_tensor *[]){w, noise(PQ_SHAPE(2), 2)});
    finish(&k, MODEL(INPUT("3") "," LAYER("Dense", "d", "in", ""), "d"));
    pq_graph *graph = NULL;
    pq_err    err   = {0};
    cr_expect_eq(pq_model_load(path, NULL, &graph, &err), PQ_ERR_NUMERIC);
    cr_expect_not_null(strstr(err.message, ": layer 'd': "), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "model_weights/d/d/z:0 holds nan at [2, 0]"),
                       "%s", err.message);
    cr_expect_null(graph);
}

Test(keras_weights, a_large_kernel_is_turned_without_a_second_one)
{
    /* 3000 rows are read in pieces that do not divide them. */
    const size_t in = 3000, out = 700, bytes = in * out * sizeof(float);
    keras        k = begin("model_weights");
    pq_tensor   *w = noise(PQ_SHAPE(in, out), 1);
    pq_graph    *g;
    size_t       before;

    layer(&k, "d", 2,
          (pq_tensor *[]){noise(PQ_SHAPE(in, out), 1), noise(PQ_SHAPE(out), 2)});
    finish(&k, MODEL(INPUT("3000") "," LAYER("Dense", "d", "in", ",\"units\":700"), "d"));
    before = pq_memory_bytes();
    pq_memory_peak_start();
    g = load();
    cr_expect_lt(pq_memory_peak() - before, bytes + bytes / 4, "%zu bytes",
                 pq_memory_peak() - before);
    const pq_weight *kernel = pq_layer_weight(g->nodes[1].layer, "kernel");
    for (size_t i = 0; i < in; i++) {
        for (size_t o = 0; o < out; o++) {
            cr_assert_eq(pq_f32(kernel->value)[o * in + i], pq_f32(w)[i * out + o]);
        }
    }
    pq_graph_free(&g);
    pq_tensor_free(&w);
}
