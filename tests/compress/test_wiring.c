#include "nets.h"

#include "compress/wiring.h"

static const double TOL_FOLD = 2e-6; /* float32 kernels, outputs of order 1 */

Test(wiring, folding_leaves_the_function_unchanged)
{
    static const char *const folds[] = {"stem", "conv1", "conv2"};
    pq_graph                *g = net_residual(1), *out = NULL;

    OK(pq_graph_clone(g, &out, &err));
    for (size_t i = 0; i < 3; i++) {
        OK(pq_fold_batch_norm(out, pq_graph_find(out, folds[i]), &err));
    }
    OK(pq_graph_check(out, &err));
    cr_expect_eq(out->n_nodes, g->n_nodes - 3);
    cr_expect_eq(pq_graph_find(out, "bn0"), SIZE_MAX);
    cr_expect_not_null(pq_layer_weight(net_node(out, "stem")->layer, "bias"));
    cr_expect_lt(net_difference(g, out), TOL_FOLD);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* One channel: gamma 3, beta 5, mean 2, variance 4 - epsilon gives W' = 1.5 W, b' = (b -
 * 2) 1.5 + 5. */
Test(wiring, folded_weights_are_those_of_the_formula)
{
    pq_rng    rng = pq_rng_stream(1, "test");
    pq_graph *g   = NULL;
    pq_layer *norm;

    OK(pq_graph_create(&g, &err));
    net_input(g, "2");
    net_add(g, "fc", net_kernel(&rng, PQ_SHAPE(1, 2), true), "in");
    norm                                                = net_norm(&rng, 1);
    pq_f32(pq_layer_weight(norm, "gamma")->value)[0]    = 3.0f;
    pq_f32(pq_layer_weight(norm, "beta")->value)[0]     = 5.0f;
    pq_f32(pq_layer_weight(norm, "mean")->value)[0]     = 2.0f;
    pq_f32(pq_layer_weight(norm, "variance")->value)[0] = 3.75f;
    OK(pq_layer_set(norm, "epsilon", "0.25", &err));
    net_add(g, "bn", norm, "fc");

    const float w = pq_f32(net_weight(g, "fc", "kernel"))[1];
    const float b = pq_f32(net_weight(g, "fc", "bias"))[0];

    OK(pq_fold_batch_norm(g, 1, &err));
    cr_expect_float_eq(pq_f32(net_weight(g, "fc", "kernel"))[1], 1.5f * w, 1e-6);
    cr_expect_float_eq(pq_f32(net_weight(g, "fc", "bias"))[0], (b - 2.0f) * 1.5f + 5.0f,
                       1e-6);
    cr_expect_eq(g->output, 1);
    pq_graph_free(&g);
}

Test(wiring, what_others_read_too_is_not_folded)
{
    pq_rng    rng = pq_rng_stream(2, "test");
    pq_graph *g   = NULL;

    OK(pq_graph_create(&g, &err));
    net_input(g, "4");
    net_add(g, "fc", net_kernel(&rng, PQ_SHAPE(4, 4), true), "in");
    net_add(g, "bn", net_norm(&rng, 4), "fc");
    OK(pq_graph_add(g, "add", net_layer("add"), 2, (const char *[]){"fc", "bn"}, &err));
    cr_expect_eq(pq_foldable_batch_norm(g, 1), SIZE_MAX);
    cr_expect_eq(pq_foldable_batch_norm(g, 2), SIZE_MAX);
    OK(pq_fold_batch_norm(g, 1, &err));
    cr_expect_eq(g->n_nodes, 4);
    cr_expect_eq(pq_sole_reader(g, 0), 1);
    cr_expect_eq(pq_sole_reader(g, 1), SIZE_MAX);
    cr_expect_eq(pq_sole_reader(g, 2), 3);
    cr_expect_eq(pq_sole_reader(g, 3), SIZE_MAX);
    pq_graph_free(&g);
}

/* Scales of whole-number grids take the factor, codes its sign. */
Test(wiring, folding_keeps_the_codes_of_a_grid_with_one_scale_a_channel)
{
    pq_graph  *g = net_residual(5), *out = NULL;
    pq_weight *w = pq_layer_weight(net_node(g, "conv1")->layer, "kernel"), *f;

    pq_f32(net_weight(g, "bn1", "gamma"))[1] *= -1.0f;
    pq_f32(net_weight(g, "bn1", "gamma"))[2] = 0.0f;
    OK(pq_quant_create(PQ_QUANT_INTEGER, 4, true, true, 0, w->value->shape.dim[0],
                       &w->quant, &err));
    for (size_t o = 0; o < w->quant->n; o++) {
        pq_quant_set_range(w->quant, o, -0.5, 0.5, true);
    }
    OK(pq_quant_apply(w->quant, w->value, &err));
    OK(pq_graph_check(g, &err));
    OK(pq_graph_clone(g, &out, &err));
    OK(pq_fold_batch_norm(out, pq_graph_find(out, "conv1"), &err));
    OK(pq_graph_check(out, &err));
    f = pq_layer_weight(net_node(out, "conv1")->layer, "kernel");
    cr_assert_not_null(f->quant);
    for (size_t i = 0; i < w->value->count; i++) {
        const size_t  o    = pq_quant_index(w->quant, &w->value->shape, i);
        const int32_t code = pq_quant_code(w->quant, o, pq_f32(w->value)[i]);
        const int32_t sign = o == 1 ? -1 : o == 2 ? 0 : 1;
        cr_expect_eq(pq_quant_code(f->quant, o, pq_f32(f->value)[i]), sign * code);
        cr_expect_eq(pq_quant_round(f->quant, o, pq_f32(f->value)[i]),
                     pq_f32(f->value)[i]);
    }
    cr_expect_lt(net_difference(g, out), TOL_FOLD);
    pq_graph_free(&out);
    pq_graph_free(&g);
}
