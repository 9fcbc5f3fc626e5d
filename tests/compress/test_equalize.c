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

/* fc1 bn relu fc2, where three channels of four are far above 0 nearly always. */
static pq_graph *lifted(const char *padding)
{
    pq_rng    rng = pq_rng_stream(51, "test");
    pq_graph *g   = NULL;
    pq_layer *norm, *last;

    OK(pq_graph_create(&g, &err));
    net_input(g, padding != NULL ? "5, 5, 3" : "3");
    net_add(
        g, "fc1",
        net_kernel(&rng, padding != NULL ? PQ_SHAPE(4, 1, 1, 3) : PQ_SHAPE(4, 3), false),
        "in");
    norm = net_norm(&rng, 4);
    for (size_t c = 0; c < 4; c++) {
        pq_f32(pq_layer_weight(norm, "gamma")->value)[c]    = c % 2 == 0 ? 0.5f : -0.25f;
        pq_f32(pq_layer_weight(norm, "beta")->value)[c]     = (float)c + 1.0f;
        pq_f32(pq_layer_weight(norm, "mean")->value)[c]     = 0.0f;
        pq_f32(pq_layer_weight(norm, "variance")->value)[c] = 4.0f;
    }
    net_add(g, "bn", norm, "fc1");
    net_plain(g, "relu", "relu", "bn");
    last =
        net_kernel(&rng, padding != NULL ? PQ_SHAPE(2, 3, 3, 4) : PQ_SHAPE(2, 4), false);
    if (padding != NULL) {
        OK(pq_layer_set(last, "padding", padding, &err));
    }
    net_add(g, "fc2", last, "relu");
    OK(pq_graph_check(g, &err));
    return g;
}

/* b1 -= c / s and b2 += W2 c, c = beta - 3 |gamma| where that is positive; the function
 * stays, for all are above c here. */
Test(equalize, absorbs_what_is_exceeded_nearly_always)
{
    for (size_t conv = 0; conv < 2; conv++) {
        pq_graph        *g = lifted(conv == 1 ? "valid" : NULL), *plain, *out;
        pq_layer_change *changes;
        size_t           n;

        plain = net_apply("equalize", g, NULL, NULL, NULL);
        out   = net_apply("equalize:absorb_bias=yes", g, NULL, &changes, &n);
        cr_assert_eq(n, 2);
        cr_expect_str_eq(changes[1].what,
                         "its outputs keep their scale: no kernel alone reads them");
        cr_expect_not_null(strstr(changes[0].what, "; biases of 3 channels absorbed"),
                           "%s", changes[0].what);
        cr_expect_lt(net_difference(g, out), 2e-5);
        const float *b          = pq_f32(net_weight(plain, "fc1", "bias"));
        const float *a          = pq_f32(net_weight(out, "fc1", "bias"));
        const float *w          = pq_f32(net_weight(plain, "fc1", "kernel"));
        const float *v          = pq_f32(net_weight(g, "fc1", "kernel"));
        const double g_over_s[] = {0.5, -0.25, 0.5, -0.25};
        const double due[]      = {0.0, 1.25, 1.5, 3.25}; /* 1 - 1.5 is below 0 */
        for (size_t c = 0; c < 4; c++) {
            const double folded = (double)v[c * 3] * g_over_s[c] / sqrt(4.0 + 1e-3);
            const double s      = folded / (double)w[c * 3];
            cr_expect_float_eq((double)b[c] - (double)a[c], due[c] / s,
                               1e-3 * due[c] + 1e-9);
        }
        pq_free(changes);
        pq_graph_free(&plain);
        pq_graph_free(&out);
        pq_graph_free(&g);
    }
}

/* Padding has no c; neither has what comes without a BatchNorm. */
Test(equalize, absorbs_nothing_where_it_cannot)
{
    pq_graph        *g = lifted("same"), *mlp = net_mlp(52), *out, *plain;
    pq_layer_change *changes;
    size_t           n;
    pq_err           err;

    plain = net_apply("equalize", g, NULL, NULL, NULL);
    out   = net_apply("equalize:absorb_bias=yes", g, NULL, &changes, &n);
    cr_expect_not_null(strstr(changes[0].what, "; nothing absorbed: padding"));
    cr_expect_eq(net_difference(plain, out), 0.0);
    pq_free(changes);
    pq_graph_free(&plain);
    pq_graph_free(&out);
    out = net_apply("equalize:absorb_bias=yes", mlp, NULL, &changes, &n);
    cr_expect_eq(n, 4);
    for (size_t i = 0; i + 1 < n; i++) {
        cr_expect_not_null(strstr(changes[i].what, "; nothing absorbed: no BatchNorm"));
    }
    pq_free(changes);
    pq_graph_free(&out);
    cr_expect_eq(net_refusal("equalize:absorb_bias=yes,pairs=factors", mlp, NULL, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "equalize: absorb_bias = true has no effect with pairs = "
                     "factors: no relu is between factors");
    pq_graph_free(&mlp);
    pq_graph_free(&g);
}

Test(equalize, survives_every_failed_allocation)
{
    pq_graph *g = lifted("valid"), *residual = net_residual(53);

    net_survives("equalize:absorb_bias=yes", g, NULL);
    net_survives("equalize", residual, NULL);
    pq_graph_free(&g);
    pq_graph_free(&residual);
}
