/* Closed-form cases of every kind, and convolution against its definition. */
#include "run.h"

#include <math.h>
#include <stdio.h>

static const double exact = 1e-14; /* relative; a few roundings of double */

static void expect_out(const run *r, const double *due)
{
    const size_t n = r->batch * run_items(&r->out_shape);

    for (size_t i = 0; i < n; i++) {
        cr_expect_leq(fabs(r->out[i] - due[i]), exact * fmax(1.0, fabs(due[i])),
                      "%s: output %zu is %.17g, not %.17g", r->layer->kind->name, i,
                      r->out[i], due[i]);
    }
}

/* Runs a one-input layer on a batch of one and frees it. */
static void expect_one(pq_layer *layer, pq_shape in, const double *x, pq_shape out,
                       const double *due)
{
    run r = run_create(layer, 1, 1, &in);

    memcpy(r.in[0], x, run_items(&in) * sizeof *x);
    cr_expect(pq_shape_equal(&r.out_shape, &out), "%s", layer->kind->name);
    run_forward(&r);
    expect_out(&r, due);
    run_free(&r);
}

Test(forward, dense_is_a_matrix_product_plus_bias)
{
    pq_layer *layer = run_layer("dense", "");

    run_weight(layer, "kernel", PQ_SHAPE(2, 3), (float[]){1, 2, 3, 4, 5, 6});
    run_weight(layer, "bias", PQ_SHAPE(2), (float[]){10, 20});
    expect_one(layer, PQ_SHAPE(3), (double[]){1, 0, -1}, PQ_SHAPE(2), (double[]){8, 18});
}

Test(forward, dense_runs_along_the_last_axis)
{
    pq_layer *layer = run_layer("dense", "");

    run_weight(layer, "kernel", PQ_SHAPE(1, 2), (float[]){1, 10});
    expect_one(layer, PQ_SHAPE(2, 2), (double[]){1, 2, 3, 4}, PQ_SHAPE(2, 1),
               (double[]){21, 43});
}

/* y[o] = sum_i x[i] trace(core1[n_1, m_1] core2[n_2, m_2] core3[n_3, m_3]). */
static void expect_cores(const char *kind, const size_t r[4])
{
    const size_t n[] = {2, 1, 3}, m[] = {3, 2, 2};
    const char  *names[] = {"core1", "core2", "core3"};
    pq_layer    *layer   = run_layer(kind, "");
    pq_rng       rng     = pq_rng_stream(7, "test");
    double       x[12], due[6] = {0.0};
    float        core[3][96];

    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < r[k] * n[k] * m[k] * r[k + 1]; i++) {
            core[k][i] = (float)pq_rng_normal(&rng);
        }
        run_weight(layer, names[k], PQ_SHAPE(r[k], n[k], m[k], r[k + 1]), core[k]);
    }
    for (size_t i = 0; i < 12; i++) {
        x[i] = pq_rng_normal(&rng);
    }
    for (size_t at = 0; at < 6 * 12 * r[0] * r[1] * r[2]; at++) {
        const size_t o = at / 12 % 6, i = at % 12, a = at / 72 % r[0];
        const size_t b = at / 72 / r[0] % r[1], c = at / 72 / r[0] / r[1];
        const size_t row[] = {o / 3, 0, o % 3}, col[] = {i / 4, i / 2 % 2, i % 2};
        const size_t left[] = {a, b, c}, right[] = {b, c, a};
        double       product = x[i];
        for (size_t k = 0; k < 3; k++) {
            product *=
                (double)core[k][((left[k] * n[k] + row[k]) * m[k] + col[k]) * r[k + 1] +
                                right[k]];
        }
        due[o] += product;
    }
    expect_one(layer, PQ_SHAPE(12), x, PQ_SHAPE(6), due);
}

Test(forward, trains_and_rings_are_traces_of_products_of_cores)
{
    expect_cores("tt_dense", (size_t[]){1, 3, 2, 1});
    expect_cores("ring_dense", (size_t[]){3, 2, 4, 3});
    expect_cores("ring_dense", (size_t[]){2, 1, 1, 2});
    expect_cores("ring_dense", (size_t[]){1, 2, 3, 1});
}

Test(forward, conv2d_valid_and_same_as_tensorflow)
{
    static const double image[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const float  box[]   = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    pq_layer           *valid   = run_layer("conv2d", ""),
             *same = run_layer("conv2d", "padding=same; stride_h=2; stride_w=2");

    run_weight(valid, "kernel", PQ_SHAPE(1, 3, 3, 1), box);
    run_weight(same, "kernel", PQ_SHAPE(1, 3, 3, 1), box);
    expect_one(valid, PQ_SHAPE(4, 4, 1), image, PQ_SHAPE(2, 2, 1),
               (double[]){54, 63, 90, 99});
    /* in 4, stride 2, kernel 3: one padded row, below. */
    expect_one(same, PQ_SHAPE(4, 4, 1), image, PQ_SHAPE(2, 2, 1),
               (double[]){54, 45, 72, 54});
}

Test(forward, depthwise_with_a_multiplier_keeps_channels_apart)
{
    pq_layer *layer = run_layer("conv2d", "groups=2");

    run_weight(layer, "kernel", PQ_SHAPE(4, 1, 1, 1), (float[]){1, 10, 100, 1000});
    expect_one(layer, PQ_SHAPE(1, 1, 2), (double[]){2, 3}, PQ_SHAPE(1, 1, 4),
               (double[]){2, 20, 300, 3000});
}

/* The definition, written with a padded copy of the image and signed positions. */
static double conv_at(const run *r, size_t sample, long p, long q, size_t o)
{
    const pq_conv2d_params *a = r->layer->params;
    const pq_shape         *k = &pq_layer_weight(r->layer, "kernel")->value->shape;
    const long   h = (long)r->in_shape[0].dim[0], w = (long)r->in_shape[0].dim[1];
    const size_t c = r->in_shape[0].dim[2], per = k->dim[3],
                 group = o / (k->dim[0] / (size_t)a->groups);
    double sum         = r->weight[1][o];

    for (long i = 0; i < (long)k->dim[1]; i++) {
        for (long j = 0; j < (long)k->dim[2]; j++) {
            const long y = p * a->window.stride_h + i * a->dilation_h - a->window.pad_top;
            const long x =
                q * a->window.stride_w + j * a->dilation_w - a->window.pad_left;
            for (size_t m = 0; y >= 0 && y < h && x >= 0 && x < w && m < per; m++) {
                sum +=
                    r->weight[0][((o * k->dim[1] + (size_t)i) * k->dim[2] + (size_t)j) *
                                     per +
                                 m] *
                    r->in[0]
                         [((sample * (size_t)h + (size_t)y) * (size_t)w + (size_t)x) * c +
                          group * per + m];
            }
        }
    }
    return sum;
}

Test(forward, conv2d_equals_its_definition_for_random_sizes)
{
    pq_rng rng = pq_rng_stream(5, "forward");

    for (int trial = 0; trial < 60; trial++) {
        const size_t groups = 1 + pq_rng_below(&rng, 4),
                     in     = groups * (1 + pq_rng_below(&rng, 3));
        const size_t out    = groups * (1 + pq_rng_below(&rng, 19));
        pq_layer    *layer  = run_layer("conv2d", "padding=explicit");
        char         text[160];
        run          r;
        snprintf(text, sizeof text,
                 "stride_h=%zu;stride_w=%zu;pad_top=%zu;pad_bottom=%zu;pad_left=%zu;"
                 "dilation_h=%zu;"
                 "dilation_w=%zu;groups=%zu",
                 1 + pq_rng_below(&rng, 3), 1 + pq_rng_below(&rng, 3),
                 pq_rng_below(&rng, 4), pq_rng_below(&rng, 4), pq_rng_below(&rng, 4),
                 1 + pq_rng_below(&rng, 2), 1 + pq_rng_below(&rng, 2), groups);
        run_set(layer, text);
        run_weight(layer, "kernel",
                   PQ_SHAPE(out, 1 + pq_rng_below(&rng, 3), 1 + pq_rng_below(&rng, 3),
                            in / groups),
                   NULL);
        run_weight(layer, "bias", PQ_SHAPE(out), NULL);
        r = run_create(
            layer, 2, 1,
            &PQ_SHAPE(5 + pq_rng_below(&rng, 4), 5 + pq_rng_below(&rng, 4), in));
        for (size_t i = 0; i < 2 * run_items(&r.in_shape[0]); i++) {
            r.in[0][i] = pq_rng_normal(&rng);
        }
        for (size_t k = 0; k < 2; k++) {
            for (size_t i = 0; i < layer->weights[k].value->count; i++) {
                r.weight[k][i] = pq_rng_normal(&rng);
            }
        }
        run_forward(&r);
        for (size_t i = 0; i < 2 * run_items(&r.out_shape); i++) {
            const size_t *d = r.out_shape.dim, pixel = i / d[2];
            const double  due =
                conv_at(&r, pixel / d[1] / d[0], (long)(pixel / d[1] % d[0]),
                        (long)(pixel % d[1]), i % d[2]);
            cr_assert_leq(fabs(r.out[i] - due), 1e-13 * fmax(1.0, fabs(due)));
        }
        run_free(&r);
    }
}

Test(forward, batch_norm_normalises_each_channel)
{
    pq_layer *layer = run_layer("batch_norm", "epsilon=0"),
             *bare  = run_layer("batch_norm", "");

    run_weight(layer, "gamma", PQ_SHAPE(2), (float[]){2, 3});
    run_weight(layer, "beta", PQ_SHAPE(2), (float[]){10, 20});
    run_weight(layer, "mean", PQ_SHAPE(2), (float[]){1, -1});
    run_weight(layer, "variance", PQ_SHAPE(2), (float[]){4, 0.25f});
    expect_one(layer, PQ_SHAPE(2, 2), (double[]){5, 0, 1, -1}, PQ_SHAPE(2, 2),
               (double[]){14, 26, 10, 20});
    run_set(bare, "epsilon=0.75");
    run_weight(bare, "variance", PQ_SHAPE(1), (float[]){0.25f});
    run_weight(bare, "mean", PQ_SHAPE(1), (float[]){1});
    expect_one(bare, PQ_SHAPE(1), (double[]){3.5}, PQ_SHAPE(1), (double[]){2.5});
}

Test(forward, activations_at_known_points)
{
    static const double x[] = {-2, -0.5, 0, 0.5, 8};
    const pq_shape      s   = PQ_SHAPE(5);

    expect_one(run_layer("relu", ""), s, x, s, (double[]){0, 0, 0, 0.5, 8});
    expect_one(run_layer("leaky_relu", "slope=0.25"), s, x, s,
               (double[]){-0.5, -0.125, 0, 0.5, 8});
    expect_one(run_layer("clip", ""), s, x, s, (double[]){0, 0, 0, 0.5, 6});
    expect_one(run_layer("clip", "lo=-1; hi=inf"), s, x, s,
               (double[]){-1, -0.5, 0, 0.5, 8});
    expect_one(run_layer("scale", "factor=-0.5"), s, x, s,
               (double[]){1, 0.25, 0, -0.25, -4});
    expect_one(run_layer("elu", "alpha=2"), s, x, s,
               (double[]){2 * (exp(-2) - 1), 2 * (exp(-0.5) - 1), 0, 0.5, 8});
    expect_one(run_layer("dropout", ""), s, x, s, x);
    expect_one(run_layer("tanh", ""), s, x, s,
               (double[]){tanh(-2), tanh(-0.5), 0, tanh(0.5), tanh(8)});
    expect_one(run_layer("sigmoid", ""), PQ_SHAPE(4),
               (double[]){0, log(3), -log(3), -1000}, PQ_SHAPE(4),
               (double[]){0.5, 0.75, 0.25, 0});
    /* x Phi(x): Phi(1) = 0.841344746068543 (Abramowitz & Stegun, table 26.1) */
    expect_one(run_layer("gelu", ""), PQ_SHAPE(3), (double[]){0, 1, -1}, PQ_SHAPE(3),
               (double[]){0, 0.8413447460685429, -0.15865525393145707});
    expect_one(run_layer("gelu", "form=tanh"), PQ_SHAPE(2), (double[]){0, 1}, PQ_SHAPE(2),
               (double[]){0, 0.5 * (1 + tanh(sqrt(2 / acos(-1.0)) * 1.044715))});
}

Test(forward, softmax_is_shifted_and_sums_to_one)
{
    expect_one(run_layer("softmax", ""), PQ_SHAPE(3, 2),
               (double[]){0, log(3), 800, 800, -800, 0}, PQ_SHAPE(3, 2),
               (double[]){0.25, 0.75, 0.5, 0.5, 0, 1});
}

Test(forward, slice_takes_features_of_the_last_axis)
{
    static const double x[] = {1, 2, 3, 4, 5, 6};

    expect_one(run_layer("slice", "from=1; to=2"), PQ_SHAPE(2, 3), x, PQ_SHAPE(2, 1),
               (double[]){2, 5});
    expect_one(run_layer("slice", "from=1"), PQ_SHAPE(2, 3), x, PQ_SHAPE(2, 2),
               (double[]){2, 3, 5, 6});
    expect_one(run_layer("slice", ""), PQ_SHAPE(6), x, PQ_SHAPE(6), x);
}

Test(forward, masked_pool_takes_only_rows_that_are_there_and_0_where_none_is)
{
    static const struct {
        const char *mode;
        double      due[6];
    } cases[] = {{"mode=mean", {2, -3, 5, 50, 0, 0}},
                 {"mode=sum", {4, -6, 5, 50, 0, 0}},
                 {"mode=max", {3, -2, 5, 50, 0, 0}}};

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const pq_shape in[] = {PQ_SHAPE(3, 2), PQ_SHAPE(3, 1)};
        run            r = run_create(run_layer("masked_pool", cases[k].mode), 3, 2, in);
        memcpy(r.in[0],
               (double[]){1, -2, NAN, NAN, 3, -4, 7, 70, 5, 50, 9, 90, 1, 1, 1, 1, 1, 1},
               18 * sizeof(double));
        memcpy(r.in[1], (double[]){1, 0, 1, -1, 0.5, 0, 0, 0, 0}, 9 * sizeof(double));
        run_forward(&r);
        expect_out(&r, cases[k].due);
        run_free(&r);
    }
}

Test(forward, pools_leave_padding_out_of_the_maximum_and_by_wish_of_the_mean)
{
    static const double x[] = {-1, -2, -3, -4, -5, -6, -7, -8, -9};
    const pq_shape      in = PQ_SHAPE(3, 3, 1), out = PQ_SHAPE(2, 2, 1);
    const char         *same = "padding=same";
    const char *counted = "padding=explicit;pad_bottom=1;pad_right=1;count_padding=true";

    expect_one(run_layer("max_pool", same), in, x, out, (double[]){-1, -3, -7, -9});
    expect_one(run_layer("avg_pool", same), in, x, out, (double[]){-3, -4.5, -7.5, -9});
    expect_one(run_layer("avg_pool", counted), in, x, out,
               (double[]){-3, -2.25, -3.75, -2.25});
    expect_one(run_layer("max_pool", ""), in, x, PQ_SHAPE(1, 1, 1), (double[]){-1});
    expect_one(run_layer("max_pool", "kernel_h=1;kernel_w=1;stride_h=2;stride_w=2"), in,
               x, out, (double[]){-1, -3, -7, -9});
    expect_one(run_layer("global_max_pool", ""), PQ_SHAPE(2, 1, 2),
               (double[]){-1, 5, -3, 4}, PQ_SHAPE(2), (double[]){-1, 5});
    expect_one(run_layer("global_avg_pool", ""), PQ_SHAPE(2, 1, 2),
               (double[]){-1, 5, -3, 4}, PQ_SHAPE(2), (double[]){-2, 4.5});
}

/* The definition of both pools, with signed positions; sample 0. */
static double pool_at(const run *r, bool mean, long p, long q, size_t c)
{
    const pq_pool_params *a = r->layer->params;
    const long h = (long)r->in_shape[0].dim[0], w = (long)r->in_shape[0].dim[1];
    double     most = -INFINITY, sum = 0.0, n = 0.0;

    for (long i = 0; i < a->kernel_h; i++) {
        for (long j = 0; j < a->kernel_w; j++) {
            const long y = p * a->window.stride_h + i - a->window.pad_top;
            const long x = q * a->window.stride_w + j - a->window.pad_left;
            if (y >= 0 && y < h && x >= 0 && x < w) {
                const double v =
                    r->in[0][(size_t)(y * w + x) * r->in_shape[0].dim[2] + c];
                most = fmax(most, v);
                sum += v;
                n += 1.0;
            }
        }
    }
    return mean ? sum / (a->count_padding ? (double)(a->kernel_h * a->kernel_w) : n)
                : most;
}

Test(forward, pools_equal_their_definition_for_random_sizes)
{
    pq_rng rng = pq_rng_stream(6, "pools");

    for (int trial = 0; trial < 60; trial++) {
        const bool mean  = trial % 3 != 0;
        pq_layer  *layer = run_layer(mean ? "avg_pool" : "max_pool", "padding=explicit");
        char       text[160];
        run        r;
        snprintf(
            text, sizeof text,
            "kernel_h=3;kernel_w=4;stride_h=%zu;stride_w=%zu;pad_top=%zu;pad_bottom=%zu;"
            "pad_left=%zu;pad_right=%zu",
            1 + pq_rng_below(&rng, 3), 1 + pq_rng_below(&rng, 3), pq_rng_below(&rng, 3),
            pq_rng_below(&rng, 3), pq_rng_below(&rng, 4), pq_rng_below(&rng, 4));
        run_set(layer, text);
        if (trial % 3 == 1) {
            run_set(layer, "count_padding=true");
        }
        r = run_create(
            layer, 1, 1,
            &PQ_SHAPE(3 + pq_rng_below(&rng, 5), 4 + pq_rng_below(&rng, 5), 2));
        for (size_t i = 0; i < run_items(&r.in_shape[0]); i++) {
            r.in[0][i] = pq_rng_normal(&rng);
        }
        run_forward(&r);
        for (size_t i = 0; i < run_items(&r.out_shape); i++) {
            const long   pixel = (long)(i / 2), width = (long)r.out_shape.dim[1];
            const double due = pool_at(&r, mean, pixel / width, pixel % width, i % 2);
            cr_assert_leq(fabs(r.out[i] - due), exact * fmax(1.0, fabs(due)));
        }
        run_free(&r);
    }
}

Test(forward, shapes_change_and_items_stay)
{
    static const double x[] = {1, 2, 3, 4, 5, 6};

    expect_one(run_layer("flatten", ""), PQ_SHAPE(1, 2, 3), x, PQ_SHAPE(6), x);
    expect_one(run_layer("reshape", "shape=[3,-1]"), PQ_SHAPE(6), x, PQ_SHAPE(3, 2), x);
    expect_one(run_layer("pad", "left=1;after=1;value=9"), PQ_SHAPE(1, 1, 2), x,
               PQ_SHAPE(1, 2, 3), (double[]){9, 9, 9, 1, 2, 9});
    expect_one(run_layer("subsample", ""), PQ_SHAPE(3, 2, 1), x, PQ_SHAPE(2, 1, 1),
               (double[]){1, 5});
}

Test(forward, several_inputs_are_joined)
{
    const pq_shape two[]              = {PQ_SHAPE(2, 1), PQ_SHAPE(2, 1)},
                   wide[]             = {PQ_SHAPE(2, 1), PQ_SHAPE(2, 2)};
    static const char *const kinds[]  = {"add", "multiply", "concat"};
    static const double      due[][4] = {{11, 22}, {10, 40}, {1, 10, 2, 20}};

    for (size_t k = 0; k < 3; k++) {
        run r = run_create(run_layer(kinds[k], ""), 1, 2, two);
        memcpy(r.in[0], (double[]){1, 2}, 16);
        memcpy(r.in[1], (double[]){10, 20}, 16);
        run_forward(&r);
        expect_out(&r, due[k]);
        run_free(&r);
    }
    run r = run_create(run_layer("concat", "axis=1"), 1, 2, wide);
    memcpy(r.in[0], (double[]){1, 2}, 16);
    memcpy(r.in[1], (double[]){10, 11, 20, 21}, 32);
    run_forward(&r);
    expect_out(&r, (double[]){1, 10, 11, 2, 20, 21});
    run_free(&r);
}

Test(forward, samples_of_a_batch_do_not_touch)
{
    for (size_t k = 0; pq_layer_kinds[k] != NULL; k++) {
        const pq_layer_kind *kind = pq_layer_kinds[k];
        pq_layer            *layer;
        pq_rng               rng  = pq_rng_stream(9, "batch");
        const bool           rows = strcmp(kind->name, "masked_pool") == 0;
        const pq_shape       in[] = {rows ? PQ_SHAPE(16, 2) : PQ_SHAPE(4, 4, 2),
                               rows ? PQ_SHAPE(16, 1) : PQ_SHAPE(4, 4, 2)};
        run both, one;
        if (kind->forward == NULL || kind->role != NULL) {
            continue; /* kinds with weights: test_gradient runs batches of 3 */
        }
        layer =
            run_layer(kind->name, strcmp(kind->name, "reshape") == 0 ? "shape=[-1]" : "");
        both = run_create(layer, 2, kind->min_inputs, in);
        layer =
            run_layer(kind->name, strcmp(kind->name, "reshape") == 0 ? "shape=[-1]" : "");
        one = run_create(layer, 1, kind->min_inputs, in);
        for (size_t i = 0; i < kind->min_inputs; i++) {
            const size_t n = run_items(&in[i]);
            for (size_t j = 0; j < 2 * n; j++) {
                both.in[i][j] = pq_rng_normal(&rng);
            }
            memcpy(one.in[i], both.in[i] + n, n * sizeof(double));
        }
        run_forward(&both);
        run_forward(&one);
        cr_expect_arr_eq(one.out, both.out + run_items(&one.out_shape),
                         run_items(&one.out_shape) * sizeof(double), "%s", kind->name);
        run_free(&both);
        run_free(&one);
    }
}
