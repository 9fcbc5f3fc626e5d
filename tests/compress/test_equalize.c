#include "nets.h"

static double row_range(const pq_tensor *w, size_t o)
{
    const size_t row  = w->count / w->shape.dim[0];
    double       most = 0.0;

    for (size_t i = o * row; i < (o + 1) * row; i++) {
        most = fmax(most, fabs((double)pq_f32(w)[i]));
    }
    return most;
}

static double column_range(const pq_tensor *w, size_t in)
{
    const size_t columns = w->shape.dim[w->shape.ndim - 1];
    double       most    = 0.0;

    for (size_t i = in; i < w->count; i += columns) {
        most = fmax(most, fabs((double)pq_f32(w)[i]));
    }
    return most;
}

Test(equalize, ranges_meet_and_the_function_stays)
{
    pq_graph *g = net_mlp(31), *out;

    for (size_t i = 0; i < 16; i++) { /* fc1 with channels of very different size */
        for (size_t c = 0; c < 64; c++) {
            pq_f32(net_weight(g, "fc1", "kernel"))[c * 16 + i] *=
                (float)exp(0.1 * (double)c - 3.0);
        }
    }
    out = net_apply("equalize", g, NULL, NULL, NULL);
    cr_expect_lt(net_difference(g, out), 1e-5);
    for (size_t c = 0; c < 64; c++) {
        cr_expect_float_eq(row_range(net_weight(out, "fc1", "kernel"), c),
                           column_range(net_weight(out, "fc2", "kernel"), c), 2e-3);
    }
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(equalize, not_across_a_sum_and_after_folding)
{
    pq_graph *g = net_residual(8), *out;

    out = net_apply("equalize", g, NULL, NULL, NULL);
    cr_expect_lt(net_difference(g, out), 1e-4);
    cr_expect_eq(pq_graph_find(out, "bn0"), SIZE_MAX);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(equalize, a_quantized_kernel_is_refused)
{
    pq_graph *g     = net_mlp(32),
             *q     = net_apply("quantize:activations=no", g, NULL, NULL, NULL);
    pq_graph *out   = NULL;
    pq_stage  stage = {0};
    pq_err    err   = {0};

    cr_assert_eq(pq_stage_parse("equalize", &stage, NULL), PQ_OK);
    cr_expect_eq(
        pq_stage_apply(&stage, q, &(pq_apply_options){0}, &out, NULL, NULL, &err),
        PQ_ERR_CONFIG);
    cr_expect_not_null(
        strstr(err.message, "is quantized already; equalize belongs before"), "%s",
        err.message);
    pq_stage_free(&stage);
    pq_graph_free(&q);
    pq_graph_free(&g);
}
