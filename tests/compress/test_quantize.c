#include "quantized.h"

static const double TOL_16 = 1e-4; /* of probabilities at 16 bits: a few steps of 1e-5 */

static pq_layer_change *changes;
static size_t           n_changes;

/* round(w / s) s with s = max|w of the row| / 127, written out. */
Test(quantize, int8_per_channel_is_the_textbook_formula)
{
    pq_graph *g   = net_mlp(1);
    pq_graph *out = net_apply("quantize:activations=no", g, NULL, &changes, &n_changes);
    const pq_tensor *w = net_weight(g, "fc2", "kernel");
    const pq_weight *q = kernel(out, "fc2");

    cr_assert_eq(n_changes, 4);
    cr_expect_str_eq(changes[1].what, "int8 weights, per_channel");
    cr_expect_eq(changes[1].bytes_before, 4 * (32 * 64 + 32));
    cr_expect_eq(changes[1].bytes_after, 32 * 64 + 4 * 32 + 4 * 32);
    cr_assert_not_null(q->quant);
    cr_expect(q->quant->n == 32 && q->quant->axis == 0 && q->quant->narrow &&
              q->quant->bits == 8);
    for (size_t o = 0; o < 32; o++) {
        float largest = 0.0f;
        for (size_t i = 0; i < 64; i++) {
            largest = fmaxf(largest, fabsf(pq_f32(w)[o * 64 + i]));
        }
        const float scale = (float)((double)largest / 127.0);
        cr_expect_eq(q->quant->scale[o], scale);
        cr_expect_eq(q->quant->zero_point[o], 0);
        for (size_t i = 0; i < 64; i++) {
            cr_expect_eq(pq_f32(q->value)[o * 64 + i],
                         rintf(pq_f32(w)[o * 64 + i] / scale) * scale);
        }
    }
    cr_expect_null(pq_layer_weight(net_node(out, "fc2")->layer, "bias")->quant);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(quantize, codes_survive_packing)
{
    pq_graph *g = net_residual(2);

    for (int bits = 2; bits <= 16; bits++) {
        char      text[64];
        pq_graph *out;

        snprintf(text, sizeof text, "quantize:activations=no,bits=%d", bits);
        out = net_apply(text, g, NULL, NULL, NULL);
        for (size_t i = 0; i < out->n_nodes; i++) {
            const pq_weight *w      = pq_layer_weight(out->nodes[i].layer, "kernel");
            uint8_t         *packed = NULL;
            pq_tensor       *back   = NULL;
            size_t           bytes;

            if (w == NULL) {
                continue;
            }
            OK(pq_tensor_create(PQ_DTYPE_F32, w->value->shape, &back, &err));
            OK(pq_quant_pack(w->quant, w->value, false, &packed, &bytes, &err));
            cr_expect_eq(bytes, (w->value->count * (size_t)bits + 7) / 8);
            OK(pq_quant_unpack(w->quant, packed, bytes, false, back, &err));
            cr_expect_eq(memcmp(back->data, w->value->data, back->count * sizeof(float)),
                         0);
            pq_free(packed);
            pq_tensor_free(&back);
        }
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

Test(quantize, per_tensor_has_one_scale_and_a_larger_error)
{
    pq_graph *g = net_mlp(3);
    pq_graph *a =
        net_apply("quantize:activations=no,bits=5", g, NULL, &changes, &n_changes);
    double    error = changes[0].error;
    pq_graph *b;

    pq_free(changes);
    b = net_apply("quantize:activations=no,bits=5,granularity=per_tensor", g, NULL,
                  &changes, &n_changes);
    cr_expect_eq(kernel(b, "fc1")->quant->n, 1);
    cr_expect_eq(kernel(b, "fc1")->quant->axis, PQ_QUANT_PER_TENSOR);
    cr_expect_gt(changes[0].error, error);
    pq_free(changes);
    pq_graph_free(&a);
    pq_graph_free(&b);
    pq_graph_free(&g);
}

Test(quantize, error_falls_and_size_grows_with_bits)
{
    pq_graph *g     = net_mlp(4);
    double    error = 10.0;
    size_t    bytes = 0;

    for (int bits = 2; bits <= 16; bits++) {
        char      text[64];
        pq_graph *out;

        snprintf(text, sizeof text, "quantize:activations=no,bits=%d", bits);
        out = net_apply(text, g, NULL, &changes, &n_changes);
        cr_expect_lt(changes[1].error, error);
        cr_expect_gt(changes[1].bytes_after, bytes);
        error = changes[1].error;
        bytes = changes[1].bytes_after;
        pq_free(changes);
        pq_graph_free(&out);
    }
    cr_expect_lt(error, 1e-4);
    pq_graph_free(&g);
}

Test(quantize, sixteen_bits_change_nearly_nothing)
{
    pq_graph        *nets[]  = {net_mlp(5), net_residual(5)};
    pq_apply_options options = {0};

    for (size_t i = 0; i < 2; i++) {
        pq_calib *calib = net_calibrate(nets[i], 64);
        pq_graph *out;

        options.calib = calib;
        out           = net_apply("quantize:bits=16", nets[i], &options, NULL, NULL);
        cr_expect_lt(net_difference(nets[i], out), TOL_16);
        pq_graph_free(&out);
        out = net_apply("quantize:bits=8", nets[i], &options, NULL, NULL);
        cr_expect_lt(net_difference(nets[i], out), TOL_8);
        pq_graph_free(&out);
        pq_calib_free(&calib);
        pq_graph_free(&nets[i]);
    }
}

Test(quantize, float16_rounds_kernels_and_biases_and_nothing_else)
{
    pq_graph *g   = net_mlp(6);
    pq_graph *out = net_apply("quantize:format=float16", g, NULL, &changes, &n_changes);

    for (size_t i = 0; i < g->n_nodes; i++) {
        const pq_layer *layer = g->nodes[i].layer;
        cr_expect_null(out->nodes[i].quant);
        for (size_t w = 0; w < layer->n_weights; w++) {
            const pq_weight *q = &out->nodes[i].layer->weights[w];
            cr_expect_eq(q->quant->scheme, PQ_QUANT_FLOAT16);
            for (size_t k = 0; k < q->value->count; k++) {
                cr_expect_eq(
                    pq_f32(q->value)[k],
                    pq_f32_from_f16(pq_f16_from_f32(pq_f32(layer->weights[w].value)[k])));
            }
        }
    }
    cr_expect_eq(strncmp(changes[0].what, "float16 weights; errors: kernel ", 32), 0);
    cr_expect_lt(changes[0].error, 1e-3 / 2.0);
    cr_expect_eq(changes[0].bytes_after, changes[0].bytes_before / 2);
    pq_free(changes);
    pq_graph_free(&out);
    out = net_apply("quantize:format=bfloat16", g, NULL, &changes, &n_changes);
    cr_expect_gt(changes[0].error, 1e-3 / 2.0);
    cr_expect_lt(changes[0].error, 1e-2);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(quantize, what_float16_cannot_hold_is_refused)
{
    pq_graph *g = net_mlp(6);
    pq_err    err;

    pq_f32(net_weight(g, "fc2", "kernel"))[3] = 70000.0f;
    cr_expect_eq(net_refusal("quantize:format=float16", g, NULL, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message,
                     "layer 'fc2': kernel 3 = 70000 is beyond the range of float16");
    pq_graph_free(&g);
}

Test(quantize, a_channel_of_zeros_stays_zero)
{
    pq_graph *g = net_mlp(10), *out;

    memset(pq_f32(net_weight(g, "fc3", "kernel")) + 32 * 4, 0, 32 * sizeof(float));
    out = net_apply("quantize:activations=no", g, NULL, NULL, NULL);
    cr_expect_eq(kernel(out, "fc3")->quant->scale[4], 1.0f);
    for (size_t i = 0; i < 32; i++) {
        cr_expect_eq(pq_f32(kernel(out, "fc3")->value)[32 * 4 + i], 0.0f);
    }
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(quantize, pruned_zeros_stay_zero_and_pruned)
{
    pq_graph *g = net_mlp(11), *p, *out;

    p   = net_apply("prune:target_sparsity=0.7", g, NULL, NULL, NULL);
    out = net_apply("quantize:activations=no", p, NULL, NULL, NULL);
    for (size_t i = 0; i < kernel(p, "fc2")->value->count; i++) {
        cr_expect(pq_f32(kernel(p, "fc2")->value)[i] != 0.0f ||
                  pq_f32(kernel(out, "fc2")->value)[i] == 0.0f);
    }
    cr_expect(kernel(out, "fc2")->pruned);
    cr_expect_lt(pq_graph_stored_bytes(out), pq_graph_stored_bytes(p));
    pq_graph_free(&out);
    pq_graph_free(&p);
    pq_graph_free(&g);
}

Test(quantize, survives_every_failed_allocation)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_residual(14);
    pq_calib        *calib   = net_calibrate(g, 10);

    options.calib = calib;
    net_survives("quantize:calibration=mse", g, &options);
    net_survives("quantize:format=bfloat16", g, NULL);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize, fixed_point_fits_its_bits_to_the_range)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(21);
    pq_calib        *calib   = net_calibrate(g, 50);
    pq_graph        *out;

    options.calib = calib;
    out = net_apply("quantize:format=fixed,bits=6,granularity=per_weight,rounding=RND,"
                    "overflow=SAT_SYM",
                    g, &options, NULL, NULL);
    const pq_quant *q = kernel(out, "fc1")->quant;

    cr_assert_eq(q->scheme, PQ_QUANT_FIXED);
    cr_expect_eq(q->n, kernel(out, "fc1")->value->count);
    for (size_t i = 0; i < q->n; i++) {
        const double w    = fabs((double)pq_f32(kernel(g, "fc1")->value)[i]);
        const double step = (double)q->scale[i];
        cr_expect_eq(q->width[i], 6);
        cr_expect_leq(w, 32.0 * step, "in the range");
        cr_expect_gt(w, 15.99 * step, "with no bit to spare");
    }
    cr_expect_eq(net_node(out, "relu1")->quant->scheme, PQ_QUANT_FIXED);
    cr_expect_not(net_node(out, "relu1")->quant->is_signed);
    cr_expect(net_node(out, "in")->quant->is_signed);
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize, groups_and_nf4_lose_less_than_one_scale)
{
    static const char *const stages[] = {
        "quantize:activations=no,bits=4,granularity=per_tensor",
        "quantize:activations=no,bits=4,granularity=per_channel",
        "quantize:activations=no,bits=4,granularity=per_group,group=8",
        "quantize:activations=no,bits=4,granularity=per_channel,weight_range=mse",
        "quantize:format=nf4,granularity=per_group,group=8"};
    pq_graph *g = net_mlp(22);
    double    error[5];

    for (size_t k = 0; k < 5; k++) {
        pq_graph *out = net_apply(stages[k], g, NULL, NULL, NULL);
        error[k]      = 0.0;
        for (size_t i = 0; i < kernel(g, "fc1")->value->count; i++) {
            const double d = (double)pq_f32(kernel(out, "fc1")->value)[i] -
                             (double)pq_f32(kernel(g, "fc1")->value)[i];
            error[k] += d * d;
        }
        pq_graph_free(&out);
    }
    cr_expect_lt(error[1], error[0]);
    cr_expect_lt(error[2], error[1]);
    cr_expect_lt(error[3], error[1], "least square range");
    cr_expect_lt(error[4], error[0]);
    pq_graph_free(&g);
}

/* 8-bit scales take a quarter of the bytes and cost little of the error; what is stored
 * is counted, and a group of zeros does not spoil the others' grid. */
Test(quantize, scales_as_codes_cost_little_and_are_counted)
{
    pq_graph *g        = net_mlp(22), *once, *twice;
    double    error[2] = {0.0, 0.0};

    for (size_t i = 0; i < 8; i++) {
        pq_f32(kernel(g, "fc1")->value)[i] = 0.0F;
    }
    once  = net_apply("quantize:format=nf4,granularity=per_group,group=8", g, NULL, NULL,
                      NULL);
    twice = net_apply("quantize:format=nf4,granularity=per_group,group=8,"
                      "double_scales=yes",
                      g, NULL, NULL, NULL);
    const pq_weight *w = kernel(g, "fc1"), *a = kernel(once, "fc1"),
                    *b = kernel(twice, "fc1");
    const size_t n     = a->quant->n;

    for (size_t i = 0; i < w->value->count; i++) {
        const double x  = (double)pq_f32(w->value)[i];
        const double da = (double)pq_f32(a->value)[i] - x,
                     db = (double)pq_f32(b->value)[i] - x;
        error[0] += da * da;
        error[1] += db * db;
    }
    cr_expect_gt(error[0], 0.0);
    cr_expect_leq(sqrt(error[1]), 1.05 * sqrt(error[0]));
    cr_expect_eq(pq_weight_stored_bytes(a) - pq_weight_stored_bytes(b),
                 4 * n - (n + 4 * ((n + 255) / 256 + 1)));
    for (size_t i = 0; i < 8; i++) {
        cr_expect_eq(pq_f32(b->value)[i], 0.0F);
    }
    net_survives("quantize:format=nf4,granularity=per_group,group=8,double_scales=yes", g,
                 NULL);
    pq_graph_free(&g);
    pq_graph_free(&once);
    pq_graph_free(&twice);
}

/* A layer whose weights are all of one size needs but few bits. */
Test(quantize, average_bits_are_shared_out_by_what_layers_lose)
{
    static const char *const names[] = {"fc1", "fc2", "fc3"};
    pq_graph                *g       = net_mlp(26), *out;
    double                   bits = 0.0, total = 0.0;

    for (size_t i = 0; i < net_weight(g, "fc1", "kernel")->count; i++) {
        float *w = &pq_f32(net_weight(g, "fc1", "kernel"))[i];
        *w       = *w < 0.0f ? -0.25f : 0.25f;
    }
    out = net_apply("quantize:bits=8,average_bits=4.5,activations=no,layers=fc1|fc2|fc3",
                    g, NULL, NULL, NULL);
    for (size_t k = 0; k < 3; k++) {
        const pq_weight *w = kernel(out, names[k]);
        bits += (double)w->quant->bits * (double)w->value->count;
        total += (double)w->value->count;
    }
    cr_expect_leq(bits, 4.5 * total);
    cr_expect_gt(bits, 3.0 * total);
    cr_expect_eq(kernel(out, "fc1")->quant->bits, 2);
    cr_expect_gt(kernel(out, "fc2")->quant->bits, 4);
    pq_graph_free(&out);
    out = net_apply("quantize:bits=8,average_bits=8,activations=no", g, NULL, NULL, NULL);
    cr_expect_eq(kernel(out, "fc1")->quant->bits, 8, "nothing to save");
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* A kernel that bfloat16 holds exactly has no error, whatever its bias has. */
Test(quantize, the_error_is_the_kernels_and_those_of_other_weights_stand_beside_it)
{
    pq_graph        *g       = net_mlp(3), *out;
    pq_layer_change *changes = NULL;
    size_t           n       = 0;
    pq_tensor       *w = pq_layer_weight(net_node(g, "fc1")->layer, "kernel")->value;

    for (size_t i = 0; i < w->count; i++) {
        pq_f32(w)[i] = rintf(pq_f32(w)[i] * 8.0f) / 8.0f;
    }
    out = net_apply("quantize:format=bfloat16,layers=fc1", g, NULL, &changes, &n);
    cr_assert_eq(n, 1);
    cr_expect_eq(changes[0].error, 0.0);
    const float *x = pq_f32(pq_layer_weight(net_node(g, "fc1")->layer, "bias")->value);
    const float *y = pq_f32(pq_layer_weight(net_node(out, "fc1")->layer, "bias")->value);
    double       lost = 0.0, all = 0.0;
    char         due[64];
    for (size_t i = 0; i < 64; i++) {
        lost += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        all += (double)x[i] * (double)x[i];
    }
    snprintf(due, sizeof due, "bfloat16 weights; errors: kernel 0, bias %.2g",
             sqrt(lost / all));
    cr_expect_str_eq(changes[0].what, due);
    pq_free(changes);
    pq_graph_free(&g);
    pq_graph_free(&out);
}
