/* Tucker and CP that keep a layer's outputs on calibration events. */
#include "nets.h"

enum { EVENTS = 60 };

static pq_layer_change *changes;
static size_t           n_changes;

/* One convolution; of its inputs channel 3 is dead and the others are far from white. */
static pq_graph *conv_net(void)
{
    pq_rng    rng = pq_rng_stream(3, "test");
    pq_graph *g   = NULL;

    OK(pq_graph_create(&g, &err));
    net_input(g, "6, 5, 4");
    net_add(g, "conv", net_kernel(&rng, PQ_SHAPE(8, 3, 2, 4), true), "in");
    OK(pq_graph_check(g, &err));
    return g;
}

static float *inputs(void)
{
    pq_rng rng = pq_rng_stream(5, "inputs");
    float *x   = pq_calloc(EVENTS * 120, sizeof *x);

    for (size_t i = 0; i < EVENTS * 120; i++) {
        const size_t k = i % 4;
        x[i] =
            k < 3 ? (float)((pq_rng_normal(&rng) + 2.0) * exp(-1.0 * (double)k)) : 0.0F;
    }
    return x;
}

/* Outputs [EVENTS, pixels, 8]; the caller frees with pq_free. */
static float *run(const pq_graph *g, const float *x, size_t *count)
{
    const pq_plan_options options = {.engine = "reference", .batch = EVENTS};
    pq_plan              *plan    = NULL;
    pq_shape              shape;
    float                *y;

    OK(pq_plan_create(g, &options, &plan, &err));
    shape = pq_plan_output_shape(plan);
    cr_assert(pq_shape_count(&shape, count));
    *count *= EVENTS;
    y = pq_calloc(*count, sizeof *y);
    OK(pq_plan_run(plan, EVENTS, (const float *[]){x}, y, &err));
    pq_plan_free(&plan);
    return y;
}

/* Mean square of the outputs' difference on the events, and the largest mean of it. */
static double loss(const pq_graph *a, const pq_graph *b, const float *x, double *mean)
{
    size_t n, same;
    float *y = run(a, x, &n), *z = run(b, x, &same);
    double sum = 0.0, means[8] = {0.0};

    cr_assert_eq(n, same);
    for (size_t i = 0; i < n; i++) {
        const double d = (double)y[i] - (double)z[i];
        sum += d * d / (double)n;
        means[i % 8] += 8.0 * d / (double)n;
    }
    *mean = 0.0;
    for (size_t k = 0; k < 8; k++) {
        *mean = fmax(*mean, fabs(means[k]));
    }
    pq_free(y);
    pq_free(z);
    return sum;
}

static const char *const methods[] = {"tucker", "cp", "cp:axes=four"};

/* A stage of a method with further keys. */
static void stage_text(const char *method, const char *keys, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s", method, strchr(method, ':') != NULL ? "," : ":", keys);
}

static double loss_of(const char *method, const char *keys, double *mean)
{
    pq_graph        *g     = conv_net(), *out;
    float           *x     = inputs();
    pq_calib        *calib = NULL;
    pq_apply_options how   = {0};
    char             text[160];
    double           lost;

    OK(pq_calib_create(g, &calib, &err));
    OK(pq_calib_add_gram(calib, g, pq_graph_find(g, "conv"), EVENTS, x, &err));
    how.calib = calib;
    stage_text(method, keys, text, sizeof text);
    out  = net_apply(text, g, &how, &changes, &n_changes);
    lost = loss(g, out, x, mean);
    cr_expect_eq(strstr(changes[0].what, "error of the outputs") != NULL,
                 strstr(keys, "whiten=yes") != NULL, "%s: %s", text, changes[0].what);
    pq_free(changes);
    pq_graph_free(&g);
    pq_graph_free(&out);
    pq_calib_free(&calib);
    pq_free(x);
    return lost;
}

Test(whiten_method, less_of_the_outputs_is_lost_and_no_mean)
{
    for (size_t m = 0; m < 3; m++) {
        for (int rank = 1; rank <= 3; rank++) {
            char   plain[96], white[96], whole[96], biased[96];
            double mean[4], lost[4];
            snprintf(plain, sizeof plain, "rank=%d,keep_dense=no", rank);
            snprintf(white, sizeof white, "%s,whiten=yes", plain);
            snprintf(whole, sizeof whole, "%s,run_as=reconstructed", white);
            snprintf(biased, sizeof biased, "%s,bias_correction=no", white);
            lost[0] = loss_of(methods[m], plain, &mean[0]);
            lost[1] = loss_of(methods[m], white, &mean[1]);
            lost[2] = loss_of(methods[m], whole, &mean[2]);
            lost[3] = loss_of(methods[m], biased, &mean[3]);
            cr_expect_lt(lost[1], lost[0], "%s %s: %g, %g", methods[m], white, lost[1],
                         lost[0]);
            cr_expect_leq(lost[1], 1.001 * lost[3], "%s %s: %g, %g", methods[m], biased,
                          lost[1], lost[3]);
            cr_expect_float_eq(lost[2], lost[1], 1e-4 * lost[1]);
            cr_expect_lt(mean[1], 1e-5);
            cr_expect_gt(mean[3], 1e-4);
        }
    }
}

Test(whiten_method, full_ranks_lose_nothing_and_a_dead_channel_is_free)
{
    double mean;

    cr_expect_lt(loss_of("tucker", "rank=8,rank_in=4,keep_dense=no,whiten=yes", &mean),
                 1e-9);
    cr_expect_lt(loss_of("tucker", "rank=8,rank_in=3,keep_dense=no,whiten=yes", &mean),
                 1e-9);
    cr_expect_gt(loss_of("tucker", "rank=8,rank_in=3,keep_dense=no", &mean), 1e-4);
}

/* energy and epsilon are those of the outputs, and a budget shares ranks by them. */
Test(whiten_method, rules_of_ranks_go_by_the_outputs)
{
    double                   mean, all;
    static const char *const rules[] = {"energy=0.9", "epsilon=0.3", "budget=1.5",
                                        "ratio=1.5"};

    all = loss_of("tucker", "rank=1,keep_dense=no", &mean);
    for (size_t m = 0; m < 3; m++) {
        for (size_t r = 0; r < 4; r++) {
            char   keys[96];
            double lost;
            snprintf(keys, sizeof keys, "%s,keep_dense=no,whiten=yes", rules[r]);
            lost = loss_of(methods[m], keys, &mean);
            cr_expect_lt(lost, all, "%s:%s", methods[m], keys);
        }
    }
}

Test(whiten_method, what_cannot_be_is_refused_in_one_sentence)
{
    pq_graph *g   = conv_net();
    pq_err    err = {0};

    net_stage_refused("tucker:evbmf=yes,whiten=yes",
                      "tucker: evbmf looks for noise in weights, so whiten does not go "
                      "with it");
    net_stage_refused("cp:evbmf=yes,whiten=yes",
                      "cp: evbmf looks for noise in weights, so whiten does not go with "
                      "it");
    for (size_t m = 0; m < 3; m++) {
        char text[96];
        stage_text(methods[m], "rank=2,whiten=yes", text, sizeof text);
        cr_expect_neq(net_refusal(text, g, NULL, &err), PQ_OK);
        cr_expect(strstr(err.message, "no calibration event") != NULL ||
                      strstr(err.message, "calibration") != NULL,
                  "%s: %s", text, err.message);
    }
    pq_graph_free(&g);
}

Test(whiten_method, every_failed_allocation_is_told_and_leaves_nothing)
{
    pq_graph        *g     = conv_net();
    float           *x     = inputs();
    pq_calib        *calib = NULL;
    pq_apply_options how   = {0};

    OK(pq_calib_create(g, &calib, &err));
    OK(pq_calib_add_gram(calib, g, pq_graph_find(g, "conv"), EVENTS, x, &err));
    how.calib = calib;
    net_survives("tucker:rank=2,keep_dense=no,whiten=yes,sweeps=1", g, &how);
    net_survives("cp:rank=2,keep_dense=no,whiten=yes,sweeps=1,starts=1", g, &how);
    pq_graph_free(&g);
    pq_calib_free(&calib);
    pq_free(x);
}
