#include "build.h"

#include <math.h>

static void expect_failure(pq_graph *g, pq_status code, const char *message)
{
    pq_err err = {0};

    cr_expect_eq(pq_graph_check(g, &err), code);
    cr_expect_str_eq(err.message, message);
    pq_graph_free(&g);
}

static float *kernel(const pq_graph *g, const char *node)
{
    return pq_f32(
        pq_layer_weight(g->nodes[pq_graph_find(g, node)].layer, "kernel")->value);
}

Test(check, fills_every_shape)
{
    pq_graph *g = residual();

    cr_expect(pq_shape_equal(&g->nodes[0].shape, &PQ_SHAPE(6, 6, 3)));
    cr_expect(pq_shape_equal(&g->nodes[4].shape, &PQ_SHAPE(6, 6, 4)));
    cr_expect(pq_shape_equal(&g->nodes[7].shape, &PQ_SHAPE(3)));
    pq_graph_free(&g);
}

Test(check, names_the_layer_whose_shapes_do_not_fit)
{
    pq_graph *g     = residual();
    pq_layer *layer = a_layer("dense", 3, 5);

    cr_assert_eq(pq_graph_replace(g, pq_graph_find(g, "fc"), 1, NULL, &layer, NULL),
                 PQ_OK);
    expect_failure(g, PQ_ERR_SHAPE,
                   "layer 'fc': kernel is [3, 5] but the input is [4] with 4 features");
}

Test(check, finds_weights_that_are_not_finite)
{
    pq_graph *g = residual();

    kernel(g, "conv2")[17] = NAN;
    expect_failure(g, PQ_ERR_NUMERIC, "layer 'conv2': kernel holds nan at index 17");
    g                     = residual();
    kernel(g, "conv2")[0] = -INFINITY;
    expect_failure(g, PQ_ERR_NUMERIC, "layer 'conv2': kernel holds -inf at index 0");
}

Test(check, quantizers_must_fit)
{
    pq_graph *g = residual();

    g->nodes[2].quant->scale[0] = 0.0f;
    expect_failure(g, PQ_ERR_NUMERIC,
                   "layer 'relu1': scale 0 of the quantizer is 0, not a positive number");
    g = residual();
    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, 0, 5,
                                 &pq_layer_weight(g->nodes[6].layer, "kernel")->quant,
                                 NULL),
                 PQ_OK);
    expect_failure(g, PQ_ERR_SHAPE,
                   "layer 'fc': a quantizer with 5 scales along axis 0 does not fit the "
                   "shape [3, 4]");
}

Test(check, the_scaler_must_fit)
{
    pq_graph *g = residual();

    pq_f32(g->scaler_std)[1] = 0.0f;
    expect_failure(g, PQ_ERR_NUMERIC,
                   "the input scaler has mean 0 and standard deviation 0 for feature 1");
    g = residual();
    pq_tensor_free(&g->scaler_mean);
    expect_failure(g, PQ_ERR_FORMAT, "the input scaler has no mean");
    g = residual();
    pq_tensor_free(&g->scaler_std);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(2), &g->scaler_std, NULL),
                 PQ_OK);
    expect_failure(
        g, PQ_ERR_SHAPE,
        "the input scaler has 3 means and 2 deviations but the input 3 features");
}

Test(check, an_empty_graph_is_no_model)
{
    pq_graph *g = NULL;

    cr_assert_eq(pq_graph_create(&g, NULL), PQ_OK);
    expect_failure(g, PQ_ERR_FORMAT, "the model does not begin with an input");
}

Test(check, outputs_that_would_not_fit_in_memory_are_refused)
{
    pq_graph         *g     = NULL;
    pq_layer         *pad   = a_layer("pad", 0, 0);
    const char *const image = "image";

    cr_assert_eq(pq_graph_create(&g, NULL), PQ_OK);
    cr_assert_eq(build_node(g, "input", "image", NULL, NULL, (pq_shape){0}, NULL), PQ_OK);
    cr_assert_eq(pq_layer_set(pad, "top", "65535", NULL), PQ_OK);
    cr_assert_eq(pq_layer_set(pad, "left", "65535", NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(g, "big", pad, 1, &image, NULL), PQ_OK);
    expect_failure(
        g, PQ_ERR_SHAPE,
        "layer 'big': an output of [65541, 65541, 3] has not 1..4294967295 values");
}
