#include "nets.h"

enum { EVENTS = 200 };

static pq_layer_change *changes;
static size_t           n_changes;

/* Inputs of fc2 that are far from white: 64 features of which `live` vary, with means. */
static float *inputs(size_t live)
{
    pq_rng rng = pq_rng_stream(5, "inputs");
    float *x   = pq_calloc(EVENTS * 64, sizeof *x);

    for (size_t i = 0; i < EVENTS * 64; i++) {
        const size_t k = i % 64;
        x[i] =
            k < live ? (float)((pq_rng_normal(&rng) + 1.0) * exp(-0.1 * (double)k)) : 0;
    }
    return x;
}

static pq_calib *calibrate(const pq_graph *g, const float *x)
{
    pq_calib *calib = NULL;

    OK(pq_calib_create(g, &calib, &err));
    if (x != NULL) {
        OK(pq_calib_add_gram(calib, g, pq_graph_find(g, "fc2"), EVENTS, x, &err));
    }
    return calib;
}

/* Mean of |(W x + b) - (W' x + b')|^2 over the events, and the largest mean of a
 * difference. */
static double loss(const pq_graph *a, const pq_graph *b, const float *x, double *shift)
{
    const float *w   = pq_f32(net_weight(a, "fc2", "kernel"));
    const float *u   = pq_f32(net_weight(b, "fc2", "kernel"));
    const float *ba  = pq_f32(net_weight(a, "fc2", "bias"));
    const float *bb  = pq_f32(net_weight(b, "fc2", "bias"));
    double       sum = 0.0;

    *shift = 0.0;
    for (size_t o = 0; o < 32; o++) {
        double mean = 0.0;
        for (size_t e = 0; e < EVENTS; e++) {
            double d = (double)ba[o] - (double)bb[o];
            for (size_t i = 0; i < 64; i++) {
                d += ((double)w[o * 64 + i] - (double)u[o * 64 + i]) *
                     (double)x[e * 64 + i];
            }
            sum += d * d / EVENTS;
            mean += d / EVENTS;
        }
        *shift = fmax(*shift, fabs(mean));
    }
    return sum;
}

static double loss_of(const char *weighting, size_t live, double *shift)
{
    pq_graph        *g     = net_mlp(3), *out;
    float           *x     = inputs(live);
    pq_calib        *calib = calibrate(g, x);
    pq_apply_options how   = {.calib = calib};
    char             text[128];
    double           l;

    snprintf(text, sizeof text, "svd:rank=6,layers=fc2,run_as=reconstructed,%s",
             weighting);
    out = net_apply(text, g, &how, NULL, NULL);
    l   = loss(g, out, x, shift);
    pq_graph_free(&out);
    pq_graph_free(&g);
    pq_calib_free(&calib);
    pq_free(x);
    return l;
}

Test(svd_weighted, whitened_loses_least_and_correction_leaves_no_mean)
{
    double       shift, unused;
    const double plain = loss_of("weighting=none", 64, &unused);
    const double asvd  = loss_of("weighting=asvd", 64, &unused);
    const double uncentred =
        loss_of("weighting=whitened,bias_correction=no", 64, &unused);
    const double whitened = loss_of("weighting=whitened", 64, &shift);

    cr_expect_lt(asvd, plain);
    cr_expect_lt(uncentred, asvd);
    cr_expect_lt(whitened, uncentred);
    cr_expect_lt(shift, 1e-5);
}

/* Six inputs vary: rank 6 loses nothing of what the layer computes. */
Test(svd_weighted, singular_moments_are_no_trouble)
{
    double shift;

    cr_expect_lt(loss_of("weighting=whitened,bias_correction=no", 6, &shift), 1e-9);
    cr_expect_lt(loss_of("weighting=whitened", 6, &shift), 1e-9);
    cr_expect(isfinite(loss_of("weighting=asvd", 6, &shift)));
}

Test(svd_weighted, no_calibration_and_bad_weights_are_refused_with_their_words)
{
    pq_graph        *g     = net_mlp(3);
    pq_calib        *calib = calibrate(g, NULL);
    pq_apply_options how   = {.calib = calib};
    pq_err           err;

    cr_expect_eq(net_refusal("svd:rank=6,layers=fc2,weighting=whitened", g, &how, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "layer 'fc2': no calibration event reached it: weighting "
                     "needs some");
    cr_expect_eq(net_refusal("svd:rank=6,layers=fc2,weighting=whitened", g, NULL, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "svd needs calibration events with these parameters");
    cr_expect_eq(net_refusal("svd:rank=6,weighting=asvd,form=spatial", g, NULL, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "svd: weighting needs form=channel");
    pq_calib_free(&calib);
    pq_graph_free(&g);
}

Test(svd_weighted, a_budget_is_kept_and_shared_by_need)
{
    static const char *const texts[] = {"svd:budget=2", "svd:budget=4",
                                        "svd:budget=2,budget_unit=macs"};
    pq_graph                *g       = net_mlp(3), *out;
    const pq_count_rule      rule    = {0};

    for (size_t i = 0; i < 3; i++) {
        const double due = i == 1 ? 4.0 : 2.0;
        out              = net_apply(texts[i], g, NULL, NULL, NULL);
        cr_expect_leq((double)pq_graph_parameters(out, rule, NULL) * due,
                      (double)pq_graph_parameters(g, rule, NULL), "%s", texts[i]);
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

Test(svd_weighted, ranks_are_aligned)
{
    pq_graph *g = net_mlp(3), *out;

    out = net_apply("svd:rank=13,align=8,layers=fc2", g, NULL, &changes, &n_changes);
    cr_expect_str_eq(changes[0].what, "rank 16 of 32");
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(svd_weighted, every_failed_allocation_leaves_nothing_behind)
{
    pq_graph        *g     = net_mlp(3);
    float           *x     = inputs(64);
    pq_calib        *calib = calibrate(g, x);
    pq_apply_options how   = {.calib = calib};

    net_survives("svd:rank=6,layers=fc2,weighting=whitened", g, &how);
    net_survives("svd:budget=2,layers=fc2|fc3", g, NULL);
    pq_calib_free(&calib);
    pq_free(x);
    pq_graph_free(&g);
}
