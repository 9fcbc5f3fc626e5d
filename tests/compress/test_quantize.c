#include "nets.h"

static const double TOL_16 = 1e-4; /* of probabilities at 16 bits: a few steps of 1e-5 */
static const double TOL_8  = 2e-2; /* and at 8 bits, 256 times coarser */

static pq_layer_change *changes;
static size_t           n_changes;

static const pq_weight *kernel(const pq_graph *g, const char *name)
{
    return pq_layer_weight(net_node(g, name)->layer, "kernel");
}

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
    cr_expect_str_eq(changes[0].what, "float16 weights");
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

Test(quantize, activations_are_quantized_on_both_sides_of_each_kernel)
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

Test(quantize, residual_block_is_folded_and_quantized_where_integers_flow)
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

Test(quantize, keeps_batch_norms_for_training_where_it_is_told_to)
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

Test(quantize, calibration_rules_narrow_the_range)
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

Test(quantize, stacks_on_svd_factors)
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

Test(quantize, statistics_of_another_network_are_refused)
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

typedef struct {
    pq_calib       *calib;
    const pq_graph *graph;
} grams;

static void add_grams(void *context, size_t node, size_t n, const float *values)
{
    const grams *w = context;

    for (size_t i = 0; i < w->graph->n_nodes; i++) {
        if (pq_layer_weight(w->graph->nodes[i].layer, "kernel") != NULL &&
            w->graph->nodes[i].inputs[0] == node) {
            OK(pq_calib_add_gram(w->calib, w->graph, i, n, values, &err));
        }
    }
}

/* Gram matrices of all kernels on n random samples. */
static pq_calib *calibrate_grams(const pq_graph *g, size_t n)
{
    pq_rng   rng     = pq_rng_stream(98, "events");
    grams    context = {NULL, g};
    pq_plan *plan    = NULL;
    float    x[16 * 200], y[5 * 200];

    for (size_t i = 0; i < 16 * n; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    OK(pq_calib_create(g, &context.calib, &err));
    OK(pq_plan_create(g, &(pq_plan_options){"reference", n}, &plan, &err));
    pq_plan_observe(plan, add_grams, &context);
    OK(pq_plan_run(plan, n, (const float *[]){x}, y, &err));
    pq_plan_free(&plan);
    return context.calib;
}

/* (w' - w)^T G (w' - w) of a layer, by the statistics it was made with. */
static double output_error(const pq_graph *before, const pq_graph *after,
                           const char *name, const pq_calib *calib)
{
    const pq_calib_gram *gram = pq_calib_gram_of(calib, name);
    const float         *a    = pq_f32(kernel(before, name)->value);
    const float         *b    = pq_f32(kernel(after, name)->value);
    double               sum  = 0.0;

    for (size_t o = 0; o < kernel(before, name)->value->count; o += gram->n) {
        for (size_t i = 0; i < gram->n; i++) {
            for (size_t k = 0; k < gram->n; k++) {
                sum += ((double)b[o + i] - (double)a[o + i]) *
                       gram->gram[i * gram->n + k] *
                       ((double)b[o + k] - (double)a[o + k]);
            }
        }
    }
    return sum;
}

Test(quantize, adaptive_choice_changes_the_output_less_and_stays_on_the_grid)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(23);
    pq_calib        *calib   = calibrate_grams(g, 200);
    pq_graph        *near, *adaptive;

    options.calib = calib;
    near          = net_apply("quantize:bits=4,activations=no", g, &options, NULL, NULL);
    adaptive = net_apply("quantize:bits=4,activations=no,choice=adaptive", g, &options,
                         NULL, NULL);
    const pq_weight *w = kernel(adaptive, "fc2"), *from = kernel(g, "fc2");

    cr_expect_lt(output_error(g, adaptive, "fc2", calib),
                 0.8 * output_error(g, near, "fc2", calib));
    for (size_t i = 0; i < w->value->count; i++) {
        const size_t s = pq_quant_index(w->quant, &w->value->shape, i);
        const float  y = pq_f32(w->value)[i], x = pq_f32(from->value)[i];
        cr_expect_eq(pq_quant_round(w->quant, s, y), y);
        cr_expect_leq(fabsf(y - x), 1.001f * w->quant->scale[s], "one of two neighbours");
    }
    pq_graph_free(&near);
    pq_graph_free(&adaptive);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize, bias_correction_takes_the_mean_shift_off)
{
    pq_apply_options options = {0};
    pq_graph        *g       = net_mlp(24);
    pq_calib        *calib   = calibrate_grams(g, 200);
    pq_graph        *out;

    options.calib = calib;
    out = net_apply("quantize:bits=3,activations=no,bias_correction=yes", g, &options,
                    NULL, NULL);
    const pq_calib_gram *gram = pq_calib_gram_of(calib, "fc2");
    const float         *a    = pq_f32(kernel(g, "fc2")->value);
    const float         *b    = pq_f32(kernel(out, "fc2")->value);

    for (size_t o = 0; o < 32; o++) {
        double shift = 0.0;
        for (size_t i = 0; i < gram->n; i++) {
            shift +=
                ((double)b[o * gram->n + i] - (double)a[o * gram->n + i]) * gram->mean[i];
        }
        cr_expect_float_eq(pq_f32(net_weight(out, "fc2", "bias"))[o] + (float)shift,
                           pq_f32(net_weight(g, "fc2", "bias"))[o], 1e-5);
    }
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(quantize, stages_for_different_layers_compose)
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

Test(quantize, parameters_that_do_not_fit_are_refused)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"quantize:bits=1", "quantize: bits = 1 is not in 2..16"},
        {"quantize:bits=17", "quantize: bits = 17 is not in 2..16"},
        {"quantize:granularity=per_weight",
         "quantize: granularity = per_weight is for format = fixed, not int"},
        {"quantize:format=fixed,granularity=per_group",
         "quantize: granularity = per_group is for format = int or nf4, not fixed"},
        {"quantize:format=fixed,fold=false",
         "quantize: fold = false is for format = int, symmetric, granularity = "
         "per_channel, choice = nearest and no bias_correction: only such grids can be "
         "folded later"},
        {"quantize:average_bits=9", "quantize: average_bits = 9 is above bits = 8"},
        {"quantize:integer_bits=2", "quantize: integer_bits = 2 has no effect here: it "
                                    "is for format = fixed (format "
                                    "is int)"},
        {"quantize:format=float16,activation_bits=6",
         "quantize: activation_bits = 6 has no effect here: it is for format = int or "
         "fixed with activations (format is float16)"},
        {"quantize:format=float16,calibration=mse",
         "quantize: calibration = mse has no effect here: it is for format = int or "
         "fixed "
         "with activations (format is float16)"},
        {"quantize:overflow=WRAP", "quantize: overflow = WRAP has no effect here: it is "
                                   "for format = fixed (format is int)"},
        {"quantize:rounding=TRN",
         "quantize: rounding = TRN has no effect here: it is for "
         "format = fixed (format is int)"},
        {"quantize:group=3", "quantize: group = 3 has no effect here: it is for "
                             "granularity = per_group (format is int)"},
        {"quantize:format=nf4,bits=6", "quantize: bits = 6 has no effect here: it is for "
                                       "format = int or fixed (format is nf4)"},
        {"quantize:format=nf4,choice=adaptive",
         "quantize: choice = adaptive has no effect here: it is for format = int or "
         "fixed "
         "(format is nf4)"},
        {"quantize:format=bfloat16,granularity=per_tensor",
         "quantize: granularity = per_tensor has no effect here: it is for format = int, "
         "fixed or nf4 (format is bfloat16)"},
        {"quantize:format=fixed,range=full", "quantize: range = full has no effect here: "
                                             "it is for format = int and symmetric "
                                             "(format is fixed)"},
        {"quantize:symmetric=no,range=full", "quantize: range = full has no effect here: "
                                             "it is for format = int and symmetric "
                                             "(format is int)"},
        {"quantize:format=fixed,weight_range=mse",
         "quantize: weight_range = mse has no effect here: it is for format = int "
         "(format "
         "is fixed)"},
        {"quantize:activations=no,calibration=mse",
         "quantize: calibration = mse has no effect here: it is for format = int or "
         "fixed "
         "with activations (format is int)"},
        {"quantize:percentile=99",
         "quantize: percentile = 99 has no effect here: it is for calibration = "
         "percentile, with activations (format is int)"},
        {"quantize:activation_rounding=TRN", "quantize: activation_rounding = TRN has no "
                                             "effect here: it is for format = fixed "
                                             "with activations (format is int)"},
        {"quantize:format=fixed,activation_symmetric=yes",
         "quantize: activation_symmetric = true has no effect here: it is for format = "
         "int with activations (format is fixed)"},
        {"quantize:format=fixed,bits=4,activation_integer_bits=5",
         "quantize: activation_integer_bits = 5 of 4 bits leave -2 fraction bits, not in "
         "0..24"},
        {"quantize:format=fixed,bits=4,integer_bits=5",
         "quantize: integer_bits = 5 of 4 bits leave -2 fraction bits, not in 0..24"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pq_stage stage = {0};
        pq_err   err   = {0};
        cr_expect_neq(pq_stage_parse(bad[i].text, &stage, &err), PQ_OK);
        cr_expect_str_eq(err.message, bad[i].message);
        pq_stage_free(&stage);
    }
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

/* Every calibration event is zero: grids that know only 0, and the report says so. */
Test(quantize, constant_activations_are_told)
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
