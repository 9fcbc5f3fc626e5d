#include "compress/wiring.h"
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

/* Squared error of quantized outputs, weights only and one scale a kernel. */
static double quantized_error(const pq_graph *g)
{
    pq_graph *q    = net_apply("quantize:bits=4,granularity=per_tensor,activations=no", g,
                               NULL, NULL, NULL);
    double    lost = 0.0;
    size_t    n;
    float    *a = net_run(g, 100, &n), *b = net_run(q, 100, &n);

    for (size_t i = 0; i < n; i++) {
        lost += pow((double)a[i] - (double)b[i], 2);
    }
    pq_free(a);
    pq_free(b);
    pq_graph_free(&q);
    return lost;
}

/* Components of falling size: their scales go into both factors evenly, so that one scale
 * for a kernel loses less. */
Test(equalize, factor_pairs_share_the_scale_of_each_component)
{
    static const char *const stages[] = {"svd:rank=5", "svd:rank=5,form=spatial",
                                         "cp:rank=5,starts=1", "tucker:rank=5"};
    pq_rng                   rng      = pq_rng_stream(41, "test");

    for (size_t i = 0; i < 4; i++) {
        pq_graph *g = NULL, *low, *out;
        pq_layer *l = net_kernel(&rng, PQ_SHAPE(12, 3, 3, 10), true);
        double    before;
        OK(pq_graph_create(&g, &err));
        net_input(g, "7, 7, 10");
        net_add(g, "conv", l, "in");
        net_plain(g, "relu", "relu", "conv");
        net_add(g, "next", net_kernel(&rng, PQ_SHAPE(4, 1, 1, 12), true), "relu");
        OK(pq_graph_check(g, &err));
        char text[64];
        snprintf(text, sizeof text, "%s,layers=conv", stages[i]);
        low               = net_apply(text, g, NULL, NULL, NULL);
        pq_tensor *first  = pq_node_kernel(net_node(low, "conv.b"))->value;
        pq_node   *reader = &low->nodes[pq_graph_find(low, "conv.b") + 1];
        pq_tensor *second = pq_node_kernel(reader)->value;
        const bool deep   = second->shape.dim[3] == 1 && second->shape.dim[0] == 5;
        for (size_t c = 0; c < 5; c++) { /* as a product of any other scaling is */
            const float s = (float)exp((double)c - 2.0);
            for (size_t k = 0; k < first->count / 5; k++) {
                pq_f32(first)[c * (first->count / 5) + k] *= s;
            }
            for (size_t k = 0; k < second->count / 5; k++) {
                pq_f32(second)[deep ? c * (second->count / 5) + k : k * 5 + c] /= s;
            }
        }
        before = quantized_error(low);
        out    = net_apply("equalize:pairs=factors", low, NULL, NULL, NULL);
        cr_expect_lt(net_difference(low, out), 2e-5, "%s", stages[i]);
        cr_expect_lt(quantized_error(out), 0.5 * before, "%s: %g, %g", stages[i],
                     quantized_error(out), before);
        cr_expect_eq(memcmp(net_weight(out, "next", "kernel")->data,
                            net_weight(low, "next", "kernel")->data, 48 * sizeof(float)),
                     0, "%s: not across relu", stages[i]);
        pq_graph_free(&out);
        pq_graph_free(&low);
        pq_graph_free(&g);
    }
}
