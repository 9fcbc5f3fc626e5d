#include "quantized.h"

/* Names of all nodes with a quantizer, in order. */
static char *quantized(const pq_graph *g)
{
    static char text[512];

    text[0] = '\0';
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].quant != NULL) {
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s ",
                     g->nodes[i].name);
        }
    }
    return text;
}

Test(quantize_activations, activations_are_quantized_on_both_sides_of_each_kernel)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(7), *out;
    pq_calib        *calib   = net_calibrate(g, 50);

    options.calib = calib;
    out           = net_apply("quantize", g, &options, NULL, NULL);
    cr_expect_str_eq(quantized(out), "in relu1 relu2 relu3 ");

    const pq_quant       *q = net_node(out, "relu2")->quant;
    const pq_calib_range *r = pq_calib_range_of(calib, "relu2");

    cr_expect(q->bits == 8 && q->is_signed && !q->narrow &&
              q->axis == PQ_QUANT_PER_TENSOR);
    cr_expect_float_eq(q->scale[0], r->hi / 255.0, 1e-6 * r->hi);
    cr_expect_eq(q->zero_point[0], -128);
    pq_graph_free(&out);
    out = net_apply("quantize:layers=fc2", g, &options, NULL, NULL);
    cr_expect_str_eq(quantized(out), "relu1 relu2 ");
    pq_graph_free(&out);
    out = net_apply("quantize:layers=out,activation_bits=6", g, &options, NULL, NULL);
    cr_expect_str_eq(quantized(out), "relu3 ");
    cr_expect_eq(net_node(out, "relu3")->quant->bits, 6);
    pq_graph_free(&out);
    out = net_apply("quantize:activations=no", g, NULL, NULL, NULL);
    cr_expect_str_eq(quantized(out), "");
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize_activations, residual_block_is_folded_and_quantized_where_integers_flow)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_residual(8), *out;
    pq_calib        *calib   = net_calibrate(g, 50);

    options.calib = calib;
    out           = net_apply("quantize", g, &options, NULL, NULL);
    cr_expect_eq(pq_graph_find(out, "bn0"), SIZE_MAX);
    cr_expect_eq(pq_graph_find(out, "bn2"), SIZE_MAX);
    /* conv2 has no relu behind it; add is quantized after its relu; pool hands codes on
     */
    cr_expect_str_eq(quantized(out), "in relu0 relu1 conv2 relu2 conv3 mean ");

    /* what conv2 gives now is what bn2 gave: its range is that of bn2 */
    const pq_quant       *q = net_node(out, "conv2")->quant;
    const pq_calib_range *r = pq_calib_range_of(calib, "bn2");

    cr_expect_float_eq(q->scale[0], (r->hi - r->lo) / 255.0, 1e-6);
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize_activations, keeps_batch_norms_for_training_where_it_is_told_to)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_residual(8), *out;
    pq_calib        *calib   = net_calibrate(g, 50);

    options.calib = calib;
    out           = net_apply("quantize:fold=false", g, &options, NULL, NULL);
    cr_expect_eq(out->n_nodes, g->n_nodes);
    cr_expect_str_eq(quantized(out), "in relu0 relu1 bn2 relu2 conv3 mean ");
    cr_expect_not_null(pq_layer_weight(net_node(out, "conv2")->layer, "kernel")->quant);
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize_activations, calibration_rules_narrow_the_range)
{
    pq_apply_options         options = {0};
    pq_graph                *g       = net_mlp(9);
    pq_calib                *calib   = net_calibrate(g, 200);
    float                    scale[3];
    static const char *const rules[] = {"minmax", "percentile,percentile=90",
                                        "mse,bits=3"};

    options.calib = calib;
    for (size_t i = 0; i < 3; i++) {
        char      text[64];
        pq_graph *out;

        snprintf(text, sizeof text, "quantize:calibration=%s", rules[i]);
        out      = net_apply(text, g, &options, NULL, NULL);
        scale[i] = net_node(out, "relu1")->quant->scale[0];
        pq_graph_free(&out);
    }
    cr_expect_lt(scale[1], scale[0]);
    cr_expect_lt(scale[2] * 7.0f, scale[0] * 255.0f);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize_activations, statistics_of_another_network_are_refused)
{
    pq_apply_options options = {0};
    pq_graph        *g = net_mlp(13), *other = net_residual(13);
    pq_calib        *calib = net_calibrate(other, 10);
    pq_err           err;

    options.calib = calib;
    cr_expect_eq(net_refusal("quantize", g, &options, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "layer 'relu3': the calibration statistics do not know its output");
    pq_calib_free(&calib);
    pq_graph_free(&g);
    pq_graph_free(&other);
}

Test(quantize_activations, stages_for_different_layers_compose)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(25);
    pq_calib        *calib   = net_calibrate(g, 50);
    pq_graph        *first, *both;

    options.calib = calib;
    first         = net_apply("quantize:bits=8,layers=fc1", g, &options, NULL, NULL);
    both          = net_apply("quantize:bits=4,layers=fc2", first, &options, NULL, NULL);
    cr_expect_eq(kernel(both, "fc1")->quant->bits, 8);
    cr_expect_eq(kernel(both, "fc2")->quant->bits, 4);
    cr_expect_eq(net_node(both, "in")->quant->bits, 8);
    cr_expect_eq(net_node(both, "relu1")->quant->bits, 8,
                 "what fc1 gives stays as it was");
    cr_expect_eq(net_node(both, "relu2")->quant->bits, 4);
    pq_graph_free(&first);
    pq_graph_free(&both);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

/* Every calibration event is zero: grids that know only 0, and the report says so. */
Test(quantize_activations, constant_activations_are_told)
{
    pq_apply_options options   = {0};
    pq_graph        *g         = net_mlp(27), *out;
    pq_calib        *calib     = NULL;
    pq_layer_change *changes   = NULL;
    const float      zeros[64] = {0.0f};
    size_t           n = 0, told = 0;

    OK(pq_graph_check(g, &err));
    OK(pq_calib_create(g, &calib, &err));
    for (size_t i = 0; i < g->n_nodes; i++) {
        OK(pq_calib_add(calib, i, 1, g->nodes[i].shape.dim[0], g->nodes[i].shape.dim[0],
                        zeros, &err));
    }
    options.calib = calib;
    for (size_t rule = 0; rule < 5; rule++) {
        static const char *const rules[] = {"minmax", "percentile", "mse",
                                            "moving_average", "entropy"};
        char                     text[64];
        snprintf(text, sizeof text, "quantize:calibration=%s", rules[rule]);
        out = net_apply(text, g, &options, &changes, &n);
        for (size_t i = 0; i < n; i++) {
            told += strstr(changes[i].what, ": always 0") != NULL ? 1 : 0;
        }
        cr_expect_eq(net_node(out, "relu1")->quant->scale[0], 1.0f);
        pq_free(changes);
        pq_graph_free(&out);
    }
    cr_expect_geq(told, 5 * 3);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize_activations, stacks_on_svd_factors)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(12), *low, *out;
    pq_calib        *calib;

    low           = net_apply("svd:rank=8,layers=fc1|fc2", g, NULL, NULL, NULL);
    calib         = net_calibrate(low, 50);
    options.calib = calib;
    out           = net_apply("quantize", low, &options, NULL, NULL);
    cr_expect_str_eq(quantized(out), "in fc1.b relu1 fc2.b relu2 relu3 ");
    cr_expect_lt(net_difference(low, out), TOL_8);
    pq_graph_free(&out);
    pq_graph_free(&low);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

/* The input's grid goes with the kernels that read it; others stay with who gives them.
 */
Test(quantize_activations, a_second_stage_sets_the_inputs_grid_or_says_that_one_stays)
{
    pq_graph        *g       = net_mlp(7), *first, *out;
    pq_calib        *calib   = net_calibrate(g, 50);
    pq_apply_options options = {.calib = calib};
    pq_layer_change *changes = NULL;
    size_t           n       = 0;
    bool             said    = false;

    first = net_apply("quantize:bits=8", g, &options, NULL, NULL);
    out   = net_apply("quantize:bits=4", first, &options, NULL, NULL);
    cr_expect_eq(net_node(out, "in")->quant->bits, 4);
    cr_expect_eq(net_node(out, "relu2")->quant->bits, 4);
    pq_graph_free(&out);
    out = net_apply("quantize:bits=4,layers=fc3", first, &options, &changes, &n);
    cr_expect_eq(net_node(out, "in")->quant->bits, 8);
    cr_expect_eq(net_node(out, "relu2")->quant->bits, 8);
    cr_expect_eq(net_node(out, "relu3")->quant->bits, 4);
    for (size_t i = 0; i < n; i++) {
        said =
            said || (strcmp(changes[i].layer, "relu2") == 0 &&
                     strcmp(changes[i].what,
                            "activations stay int8, as an earlier stage made them") == 0);
    }
    cr_expect(said);
    pq_free(changes);
    pq_graph_free(&first);
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}
