#include "nets.h"

static const double TOL_MOMENT = 1e-12;
static const double TOL_GRAM   = 1e-10; /* relative to the largest entry */

static pq_calib *fresh(const pq_graph *g)
{
    pq_calib *calib = NULL;

    OK(pq_calib_create(g, &calib, &err));
    return calib;
}

/* Moments, extremes and histogram of known values, added in pieces. */
Test(calib, extremes_means_and_histogram_are_those_of_all_values)
{
    pq_graph *g     = net_mlp(1);
    pq_calib *calib = fresh(g);
    pq_rng    rng   = pq_rng_stream(1, "values");
    float     x[600];
    double    lo = 0.0, hi = 0.0, sum = 0.0, squares = 0.0, counted = 0.0;

    for (size_t i = 0; i < 600; i++) {
        x[i] = (float)(pq_rng_normal(&rng) * (i < 60 ? 1e-3 : 3.0));
        lo   = fmin(lo, (double)x[i]);
        hi   = fmax(hi, (double)x[i]);
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    for (size_t i = 0; i < 600; i += 60) {
        OK(pq_calib_add(calib, 1, 10, 6, 3, x + i, &err));
    }
    const pq_calib_range *r = pq_calib_range_of(calib, "fc1");

    cr_assert_not_null(r);
    cr_expect_eq(r->n, 600);
    cr_expect_eq(r->lo, lo);
    cr_expect_eq(r->hi, hi);
    cr_expect_float_eq(r->mean, sum / 600.0, TOL_MOMENT);
    cr_expect_float_eq(r->mean_square, squares / 600.0, TOL_MOMENT * 10.0);
    cr_expect_eq(r->channels, 3);
    for (size_t c = 0; c < 3; c++) {
        double channel = 0.0, least = HUGE_VAL;
        for (size_t i = c; i < 600; i += 3) {
            channel += (double)x[i];
            least = fmin(least, (double)x[i]);
        }
        cr_expect_float_eq(r->channel_mean[c], channel / 200.0, TOL_MOMENT);
        cr_expect_eq(r->channel_lo[c], least);
    }
    for (size_t b = 0; b < PQ_CALIB_BINS; b++) {
        double due = 0.0;
        for (size_t i = 0; i < 600; i++) {
            const double at = fabs((double)x[i]) / r->bin_width;
            due += at >= (double)b && at < (double)b + 1.0 ? 1.0 : 0.0;
        }
        cr_expect_eq(r->histogram[b], due);
        counted += r->histogram[b];
    }
    cr_expect_eq(counted, 600.0);
    cr_expect(fmax(-lo, hi) >= 1024.0 * r->bin_width &&
              fmax(-lo, hi) < 2048.0 * r->bin_width);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(calib, histogram_does_not_depend_on_the_order)
{
    static const float up[] = {0.0f, 1e-30f, 0.001f, 0.7f, 3.0f, 1e6f, 1024.0f, 2048.0f};
    pq_graph          *g    = net_mlp(1);
    pq_calib          *a = fresh(g), *b = fresh(g);

    for (size_t i = 0; i < 8; i++) {
        OK(pq_calib_add(a, 0, 1, 1, 1, &up[i], &err));
        OK(pq_calib_add(b, 0, 1, 1, 1, &up[7 - i], &err));
    }
    cr_expect_eq(a->ranges[0].bin_width, b->ranges[0].bin_width);
    cr_expect_eq(memcmp(a->ranges[0].histogram, b->ranges[0].histogram,
                        sizeof a->ranges[0].histogram),
                 0);
    pq_calib_free(&a);
    pq_calib_free(&b);
    pq_graph_free(&g);
}

Test(calib, zeros_alone_are_a_range_of_width_zero)
{
    const float zeros[4] = {0};
    pq_graph   *g        = net_mlp(1);
    pq_calib   *calib    = fresh(g);

    cr_expect_null(pq_calib_range_of(calib, "in"));
    OK(pq_calib_add(calib, 0, 4, 1, 1, zeros, &err));
    cr_expect_eq(pq_calib_range_of(calib, "in")->histogram[0], 4.0);
    cr_expect_eq(pq_calib_range_of(calib, "in")->hi, 0.0);
    cr_expect_null(pq_calib_range_of(calib, "no such layer"));
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(calib, activations_that_are_not_numbers_are_named)
{
    const float bad[4] = {0.0f, 1.0f, 2.0f, NAN};
    pq_graph   *g      = net_mlp(1);
    pq_calib   *calib  = fresh(g);
    pq_err      err    = {0};

    cr_expect_eq(pq_calib_add(calib, 1, 2, 2, 2, bad, &err), PQ_ERR_NUMERIC);
    cr_expect_str_eq(err.message,
                     "layer 'fc1': an output on a calibration event is nan (channel 1)");
    cr_expect_null(pq_calib_range_of(calib, "fc1"));
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

/* y = W x over patches, so W G W^T must be the second moment of the layer's own output.
 */
Test(calib, gram_predicts_the_second_moment_of_a_convolution)
{
    pq_graph *g     = net_residual(2);
    pq_calib *calib = fresh(g), *seen = net_calibrate(g, 16);
    pq_rng    rng = pq_rng_stream(99, "events");
    float     x[16 * 8 * 8 * 3];
    double    total = 0.0;

    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    OK(pq_calib_add_gram(calib, g, pq_graph_find(g, "stem"), 7, x, &err));
    OK(pq_calib_add_gram(calib, g, pq_graph_find(g, "stem"), 9, x + 7 * 8 * 8 * 3, &err));

    const pq_calib_gram *m = pq_calib_gram_of(calib, "stem");
    const float         *w = pq_f32(net_weight(g, "stem", "kernel"));

    cr_assert_not_null(m);
    cr_expect_eq(m->n, 27);
    cr_expect_eq(m->rows, 16 * 64);
    for (size_t o = 0; o < 6; o++) {
        for (size_t i = 0; i < 27 * 27; i++) {
            total += (double)w[o * 27 + i / 27] * m->gram[i] * (double)w[o * 27 + i % 27];
        }
    }
    const pq_calib_range *r = pq_calib_range_of(seen, "stem");

    cr_expect_float_eq(total / (double)r->n, r->mean_square, 1e-6 * r->mean_square);
    pq_calib_free(&seen);
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(calib, gram_of_a_dense_layer_is_the_sum_of_outer_products)
{
    pq_graph *g     = net_mlp(3);
    pq_calib *calib = fresh(g);
    pq_rng    rng   = pq_rng_stream(1, "values");
    float     x[5 * 16];

    for (size_t i = 0; i < 80; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    OK(pq_calib_add_gram(calib, g, 1, 2, x, &err));
    OK(pq_calib_add_gram(calib, g, 1, 3, x + 32, &err));

    const pq_calib_gram *m = pq_calib_gram_of(calib, "fc1");

    for (size_t i = 0; i < 16; i++) {
        double mean = 0.0;
        for (size_t j = 0; j < 16; j++) {
            double sum = 0.0;
            for (size_t s = 0; s < 5; s++) {
                sum += (double)x[s * 16 + i] * (double)x[s * 16 + j];
            }
            cr_expect_float_eq(m->gram[i * 16 + j], sum, TOL_GRAM);
        }
        for (size_t s = 0; s < 5; s++) {
            mean += (double)x[s * 16 + i] / 5.0;
        }
        cr_expect_float_eq(m->mean[i], mean, TOL_MOMENT);
    }
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(calib, gram_of_a_depthwise_convolution_is_refused)
{
    pq_graph *g     = net_residual(2);
    pq_calib *calib = fresh(g);
    pq_err    err   = {0};
    float     x[96] = {0};

    cr_expect_eq(pq_calib_add_gram(calib, g, pq_graph_find(g, "conv3"), 1, x, &err),
                 PQ_ERR_UNSUPPORTED);
    cr_expect_str_eq(
        err.message,
        "layer 'conv3': second moments are for dense and ungrouped conv2d layers");
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(calib, survives_every_failed_allocation)
{
    const float x[16] = {1.0f};
    pq_graph   *g     = net_mlp(1);
    pq_status   st    = PQ_ERR_NOMEM;

    for (size_t n = 0; st != PQ_OK; n++) {
        const size_t live  = pq_memory_live();
        pq_calib    *calib = NULL;

        pq_memory_fail_after(n);
        st = pq_calib_create(g, &calib, NULL);
        st = st == PQ_OK ? pq_calib_add(calib, 0, 1, 16, 16, x, NULL) : st;
        st = st == PQ_OK ? pq_calib_add_gram(calib, g, 1, 1, x, NULL) : st;
        pq_memory_fail_after(SIZE_MAX);
        pq_calib_free(&calib);
        cr_assert_eq(pq_memory_live(), live);
    }
    pq_graph_free(&g);
}
