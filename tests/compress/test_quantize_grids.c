/* Grids that a network gets after training: what they cover, and that nothing wraps. */
#include "nets.h"

#include <float.h>

static const pq_weight *kernel(const pq_graph *g, const char *name)
{
    return pq_layer_weight(net_node(g, name)->layer, "kernel");
}

/* Weights whose extremes round up to a power of two, of either sign. */
static pq_graph *hard_net(uint64_t seed)
{
    pq_graph                *g       = net_mlp(seed);
    static const char *const names[] = {"fc1", "fc2", "fc3", "out"};

    for (size_t k = 0; k < 4; k++) {
        const pq_tensor *w = net_weight(g, names[k], "kernel");
        for (size_t i = 0; i < w->count; i += 5) {
            const float sign = i % 2 == 0 ? 1.0f : -1.0f;
            pq_f32(w)[i]     = sign * (i % 3 == 0   ? 1.0f
                                       : i % 3 == 1 ? 1.0f - FLT_EPSILON
                                                    : 0.4999f);
        }
    }
    return g;
}

Test(quantize_grids, no_weight_changes_its_sign_whatever_the_modes)
{
    static const char *const granularities[] = {"per_tensor", "per_channel",
                                                "per_weight"};
    pq_graph                *g               = hard_net(1);

    for (size_t o = 0; pq_overflow_names[o] != NULL; o++) {
        for (size_t r = 0; pq_rounding_names[r] != NULL; r++) {
            for (size_t k = 0; k < 9; k++) {
                char      text[160];
                pq_graph *out;
                snprintf(text, sizeof text,
                         "quantize:format=fixed,activations=no,bits=%d,overflow=%s,"
                         "rounding=%s,granularity=%s",
                         (int)(k / 3 * 3 + 2), pq_overflow_names[o], pq_rounding_names[r],
                         granularities[k % 3]);
                out = net_apply(text, g, NULL, NULL, NULL);
                for (size_t i = 0; i < kernel(g, "fc2")->value->count; i++) {
                    const float x = pq_f32(kernel(g, "fc2")->value)[i];
                    const float y = pq_f32(kernel(out, "fc2")->value)[i];
                    cr_assert(x * y >= 0.0f, "%s: %g became %g", text, (double)x,
                              (double)y);
                }
                pq_graph_free(&out);
            }
        }
    }
    pq_graph_free(&g);
}

/* 0.99 in 4 bits without integer bits rounds to 8 of -8..7. */
Test(quantize_grids, an_extreme_that_rounds_out_of_the_range_gets_a_bit_where_it_wraps)
{
    static const struct {
        const char *modes;
        int         whole;
    } cases[] = {
        {"overflow=SAT", 0},
        {"overflow=SAT_SYM", 0},
        {"overflow=WRAP", 1},
        {"overflow=WRAP_SM", 1},
        {"overflow=WRAP,rounding=TRN", 0},
        {"overflow=WRAP,rounding=TRN_ZERO", 0},
    };
    pq_graph        *g = net_mlp(2), *out;
    const pq_tensor *w = net_weight(g, "fc2", "kernel");

    for (size_t i = 0; i < w->count; i++) {
        pq_f32(w)[i] = i == 0 ? 0.99f : 0.25f;
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        snprintf(text, sizeof text,
                 "quantize:format=fixed,bits=4,activations=no,granularity=per_tensor,%s",
                 cases[i].modes);
        out = net_apply(text, g, NULL, NULL, NULL);
        cr_expect_eq(pq_quant_integer_bits(kernel(out, "fc2")->quant, 0), cases[i].whole,
                     "%s", cases[i].modes);
        pq_graph_free(&out);
    }
    pq_f32(w)[0] = 16777216.0f; /* 2^24 */
    pq_err err;
    cr_expect_eq(
        net_refusal("quantize:format=fixed,activations=no,overflow=WRAP", g, NULL, &err),
        PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "layer 'fc2': values from 0 to 1.67772e+07 wrap even "
                                  "with 23 integer bits");
    pq_graph_free(&g);
}

/* What calibration saw never wraps on a grid made from it. */
Test(quantize_grids, no_activation_that_was_seen_wraps)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_residual(3);
    pq_calib        *calib   = net_calibrate(g, 50);

    for (size_t i = 0; i < calib->n_nodes; i++) { /* extremes just below a power of two */
        calib->ranges[i].hi = calib->ranges[i].hi > 0.0 ? 1.999 : 0.0;
        calib->ranges[i].lo = calib->ranges[i].lo < 0.0 ? -1.999 : 0.0;
    }
    options.calib = calib;
    for (size_t o = PQ_OVERFLOW_WRAP; pq_overflow_names[o] != NULL; o++) {
        for (size_t r = 0; pq_rounding_names[r] != NULL; r++) {
            char      text[128];
            pq_graph *out;
            snprintf(text, sizeof text,
                     "quantize:format=fixed,bits=6,overflow=%s,rounding=%s",
                     pq_overflow_names[o], pq_rounding_names[r]);
            out = net_apply(text, g, &options, NULL, NULL);
            for (size_t i = 0; i < out->n_nodes; i++) {
                const pq_quant *q = out->nodes[i].quant;
                if (q != NULL) {
                    const double hi = pq_quant_round_real(q, 0, 1.999);
                    cr_expect(hi >= 1.5, "%s: 1.999 became %g", text, hi);
                    cr_expect(!q->is_signed || pq_quant_round_real(q, 0, -1.999) <= -1.5);
                }
            }
            pq_graph_free(&out);
        }
    }
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

/* The scale of the full range is set by whichever side needs more: -8 steps reach the
   least weight exactly, where 7 steps reach the largest. */
Test(quantize_grids, the_full_range_reaches_the_lowest_code)
{
    pq_graph        *g = net_mlp(4), *out;
    const pq_tensor *w = net_weight(g, "fc2", "kernel");

    for (size_t i = 0; i < w->count; i++) {
        pq_f32(w)[i] = i % 64 == 0 ? -0.8f : i % 64 == 1 ? 0.5f : 0.1f;
    }
    out = net_apply("quantize:bits=4,activations=no,range=full", g, NULL, NULL, NULL);
    cr_expect_float_eq(kernel(out, "fc2")->quant->scale[0], 0.1f, 1e-6);
    cr_expect_eq(pq_quant_code(kernel(out, "fc2")->quant, 0, -0.8f), -8);
    pq_graph_free(&out);
    out = net_apply("quantize:bits=4,activations=no", g, NULL, NULL, NULL);
    cr_expect_float_eq(kernel(out, "fc2")->quant->scale[0], 0.8f / 7.0f, 1e-6);
    pq_graph_free(&out);
    for (size_t i = 0; i < w->count; i++) {
        pq_f32(w)[i] = -pq_f32(w)[i];
    }
    out = net_apply("quantize:bits=4,activations=no,range=full", g, NULL, NULL, NULL);
    cr_expect_float_eq(kernel(out, "fc2")->quant->scale[0], 0.8f / 7.0f, 1e-6);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* Weights from 0 to 0.3: 15 steps of 0.02 instead of 7 of 0.3 / 7. */
Test(quantize_grids, affine_weights_use_all_codes)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(5), *out;
    pq_calib        *calib;
    const pq_tensor *w = net_weight(g, "fc2", "kernel");

    for (size_t i = 0; i < w->count; i++) {
        pq_f32(w)[i] = (float)(i % 16) * 0.02f;
    }
    calib         = net_calibrate(g, 50);
    options.calib = calib;
    for (size_t k = 0; k < 2; k++) {
        out = net_apply(k == 0 ? "quantize:bits=4,symmetric=no,activation_bits=8"
                               : "quantize:bits=4,symmetric=no,activation_bits=8,"
                                 "weight_range=mse,granularity=per_tensor",
                        g, &options, NULL, NULL);
        const pq_quant *q = kernel(out, "fc2")->quant;
        cr_expect_float_eq(q->scale[0], 0.02f, 1e-6);
        cr_expect_eq(q->zero_point[0], -8);
        for (size_t i = 0; i < w->count; i++) {
            cr_assert_float_eq(pq_f32(kernel(out, "fc2")->value)[i], pq_f32(w)[i], 1e-6);
        }
        pq_graph_free(&out);
    }
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize_grids, symmetric_activations_have_no_zero_point)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(6), *out;
    pq_calib        *calib   = net_calibrate(g, 50);

    options.calib = calib;
    out = net_apply("quantize:activation_symmetric=yes", g, &options, NULL, NULL);
    const pq_quant *in      = net_node(out, "in")->quant,
                   *relu    = net_node(out, "relu1")->quant;
    const pq_calib_range *r = pq_calib_range_of(calib, "in");

    cr_expect(in->is_signed && in->zero_point[0] == 0);
    cr_expect_float_eq(in->scale[0], fmax(-r->lo / 128.0, r->hi / 127.0), 1e-6);
    r = pq_calib_range_of(calib, "relu1");
    cr_expect(!relu->is_signed && relu->zero_point[0] == 0);
    cr_expect_float_eq(relu->scale[0], r->hi / 255.0, 1e-6);
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize_grids, fixed_point_activations_have_modes_and_bits_of_their_own)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(7), *out;
    pq_calib        *calib   = net_calibrate(g, 50);

    options.calib = calib;
    out = net_apply("quantize:format=fixed,overflow=SAT_SYM,activation_overflow=WRAP,"
                    "activation_rounding=TRN,activation_integer_bits=2",
                    g, &options, NULL, NULL);
    const pq_quant *in   = net_node(out, "in")->quant,
                   *relu = net_node(out, "relu1")->quant;

    cr_expect_eq(kernel(out, "fc1")->quant->overflow, PQ_OVERFLOW_SAT_SYM);
    cr_expect_eq(kernel(out, "fc1")->quant->rounding, PQ_ROUND_RND_CONV);
    cr_expect(in->overflow == PQ_OVERFLOW_WRAP && in->rounding == PQ_ROUND_TRN);
    cr_expect(pq_quant_integer_bits(in, 0) == 2 && pq_quant_fraction_bits(in, 0) == 5);
    cr_expect(pq_quant_integer_bits(relu, 0) == 2 && pq_quant_fraction_bits(relu, 0) == 6,
              "no sign where nothing is negative");
    pq_graph_free(&out);
    out = net_apply("quantize:format=fixed,overflow=WRAP,rounding=RND", g, &options, NULL,
                    NULL);
    cr_expect_eq(net_node(out, "in")->quant->overflow, PQ_OVERFLOW_WRAP, "as weights");
    cr_expect_eq(net_node(out, "in")->quant->rounding, PQ_ROUND_RND);
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize_grids, a_layer_that_always_gives_the_same_value_is_told)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(8), *out;
    pq_calib        *calib   = net_calibrate(g, 20);
    pq_layer_change *changes = NULL;
    size_t           n = 0, told = 0;

    for (size_t i = 0; i < calib->n_nodes; i++) {
        if (strcmp(calib->names[i], "relu2") == 0) {
            calib->ranges[i].lo = calib->ranges[i].hi = 0.7;
        }
    }
    options.calib = calib;
    out           = net_apply("quantize", g, &options, &changes, &n);
    for (size_t i = 0; i < n; i++) {
        const bool warned = strstr(changes[i].what, ": the same value in all calibration "
                                                    "events") != NULL;
        cr_expect(!warned || strcmp(changes[i].layer, "relu2") == 0);
        told += warned;
    }
    cr_expect_eq(told, 1);
    pq_free(changes);
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

/* Pruned weights take no part in the descent: what is left does as well as it can around
   zeros that stay. */
Test(quantize_grids, adaptive_choice_leaves_pruned_weights_out)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(9), *p, *out;
    pq_calib        *calib   = NULL;
    double           moment;

    p = net_apply("prune:target_sparsity=0.6", g, NULL, NULL, NULL);
    OK(pq_calib_create(p, &calib, &err));
    pq_rng rng = pq_rng_stream(4, "events");
    float  x[64 * 16];
    for (size_t i = 0; i < 64 * 16; i++) {
        x[i] = (float)(pq_rng_normal(&rng) + (i % 16 > 0 ? x[i - 1] : 0.0));
    }
    OK(pq_calib_add_gram(calib, p, pq_graph_find(p, "fc1"), 64, x, &err));
    options.calib = calib;
    out = net_apply("quantize:bits=3,activations=no,choice=adaptive,layers=fc1", p,
                    &options, NULL, NULL);
    const pq_calib_gram *gram = pq_calib_gram_of(calib, "fc1");
    const pq_weight     *w = kernel(out, "fc1"), *from = kernel(p, "fc1");
    const float         *a = pq_f32(from->value), *b = pq_f32(w->value);

    for (size_t i = 0; i < w->value->count; i++) {
        const size_t first = i / 16 * 16;
        if (a[i] == 0.0f) {
            cr_assert_eq(b[i], 0.0f);
            continue;
        }
        moment = 0.0;
        for (size_t k = 0; k < 16; k++) {
            moment += gram->gram[i % 16 * 16 + k] *
                      ((double)b[first + k] - (double)a[first + k]);
        }
        /* the other neighbour would not be better */
        const double step = (double)w->quant->scale[i / 16] * (b[i] > a[i] ? -1.0 : 1.0);
        const double to   = (double)b[i] + step;
        const double edge = 3.001 * (double)w->quant->scale[i / 16];
        cr_expect(fabs(to) > edge ||
                      2.0 * step * moment + step * step * gram->gram[i % 16 * 17] >=
                          -1e-6,
                  "weight %zu should move", i);
    }
    pq_graph_free(&out);
    pq_graph_free(&p);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize_grids, survives_every_failed_allocation)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(10);
    pq_calib        *calib   = net_calibrate(g, 10);

    options.calib = calib;
    net_survives("quantize:symmetric=no,weight_range=mse,activation_symmetric=yes", g,
                 &options);
    net_survives("quantize:format=fixed,overflow=WRAP,activation_rounding=TRN", g,
                 &options);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}
