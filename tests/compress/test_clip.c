#include "nets.h"

#include "compress/clip.h"

static pq_calib_range range;

/* Statistics of values in any number, by the room's own means. */
static void see(const float *x, size_t n)
{
    pq_graph *g     = net_mlp(1);
    pq_calib *calib = NULL;

    OK(pq_calib_create(g, &calib, &err));
    OK(pq_calib_add(calib, 0, n, 1, 1, x, &err));
    range            = calib->ranges[0];
    range.channel_lo = range.channel_hi = range.channel_mean = NULL;
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

static void expect_range(pq_clip_rule rule, double percentile, double lo, double hi,
                         double tol)
{
    double got_lo, got_hi;

    pq_clip_range(&range, rule, percentile, 8, &got_lo, &got_hi);
    cr_expect_float_eq(got_lo, lo, tol);
    cr_expect_float_eq(got_hi, hi, tol);
}

Test(clip, minmax_covers_all_and_zero)
{
    see((float[]){-1.5f, 2.0f, 7.0f}, 3);
    expect_range(PQ_CLIP_MINMAX, 0.0, -1.5, 7.0, 0.0);
    see((float[]){3.0f, 2.0f, 7.0f}, 3);
    expect_range(PQ_CLIP_MINMAX, 0.0, 0.0, 7.0, 0.0);
    see((float[]){-3.0f, -2.0f}, 2);
    expect_range(PQ_CLIP_MINMAX, 0.0, -3.0, 0.0, 0.0);
}

Test(clip, percentile_cuts_the_tail_to_one_bin)
{
    static float x[1000];

    for (size_t i = 0; i < 1000; i++) {
        x[i] = (float)i; /* 0 .. 999, so |x| < 990 holds 99 % */
    }
    see(x, 1000);
    expect_range(PQ_CLIP_PERCENTILE, 99.0, 0.0, 990.0, range.bin_width);
    expect_range(PQ_CLIP_PERCENTILE, 100.0, 0.0, 999.0, 0.0);
    for (size_t i = 0; i < 1000; i++) {
        x[i] = -x[i];
    }
    see(x, 1000);
    expect_range(PQ_CLIP_PERCENTILE, 50.0, -500.0, 0.0, range.bin_width);
}

/* Sum of the true squared errors of all values for a cut, by the quantizer itself. */
static double true_error(const float *x, size_t n, int bits, double lo, double hi)
{
    pq_quant *q   = NULL;
    double    sum = 0.0;

    OK(pq_quant_create(PQ_QUANT_INTEGER, bits, true, false, PQ_QUANT_PER_TENSOR, 1, &q,
                       &err));
    pq_quant_set_range(q, 0, lo, hi, false);
    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - (double)pq_quant_round(q, 0, x[i]);
        sum += d * d;
    }
    pq_quant_free(&q);
    return sum;
}

Test(clip, mse_is_near_the_best_cut_of_the_values_themselves)
{
    static float x[20000];
    pq_rng       rng = pq_rng_stream(1, "values");

    for (size_t i = 0; i < 20000; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    x[7] = 30.0f; /* one outlier, which minmax would follow */
    see(x, 20000);
    for (int bits = 3; bits <= 8; bits++) {
        double lo, hi, best = HUGE_VAL;

        pq_clip_range(&range, PQ_CLIP_MSE, 0.0, bits, &lo, &hi);
        for (int i = 1; i <= 100; i++) {
            const double cut = 0.3 * i;
            best             = fmin(
                            best, true_error(x, 20000, bits, fmax(range.lo, -cut), fmin(30.0, cut)));
        }
        cr_expect_leq(true_error(x, 20000, bits, lo, hi), 1.05 * best, "%d bits", bits);
        cr_expect_lt(hi, bits < 6 ? 10.0 : 30.1);
    }
}

Test(clip, zeros_alone_give_an_empty_range)
{
    see((float[]){0.0f, 0.0f}, 2);
    expect_range(PQ_CLIP_MINMAX, 0.0, 0.0, 0.0, 0.0);
    expect_range(PQ_CLIP_PERCENTILE, 99.0, 0.0, 0.0, 0.0);
    expect_range(PQ_CLIP_MSE, 0.0, 0.0, 0.0, 0.0);
}

/* A thin tail far out: entropy gives it up, and keeps all of an even distribution. */
Test(clip, entropy_cuts_a_thin_tail_only)
{
    static float x[40000];
    pq_rng       rng = pq_rng_stream(1, "clip");
    double       lo, hi;

    for (size_t i = 0; i < 40000; i++) {
        x[i] = fabsf((float)pq_rng_normal(&rng));
    }
    x[0] = 40.0f;
    see(x, 40000);
    pq_clip_range(&range, PQ_CLIP_ENTROPY, 0.0, 8, &lo, &hi);
    cr_expect(lo == 0.0 && hi > 2.5 && hi < 10.0, "%g", hi);
    for (size_t i = 0; i < 40000; i++) {
        x[i] = (float)i / 40000.0f;
    }
    see(x, 40000);
    pq_clip_range(&range, PQ_CLIP_ENTROPY, 0.0, 8, &lo, &hi);
    cr_expect_gt(hi, 0.95);
}

Test(clip, moving_average_follows_the_extremes_of_events)
{
    see((float[]){-1.0f, 2.0f, 3.0f}, 3); /* three events of one value */
    expect_range(PQ_CLIP_MOVING_AVERAGE, 0.0,
                 -1.0 * 0.99 * 0.99 + 2.0 * 0.01 * 0.99 + 3.0 * 0.01, 0.0, 1e-12);
    see((float[]){4.0f, 4.0f}, 2);
    expect_range(PQ_CLIP_MOVING_AVERAGE, 0.0, 0.0, 4.0, 1e-12);
}
