#include "nets.h"

static const double TOL_RUN = 5e-5; /* of outputs of order 1, float32 weights */

static pq_layer_change *changes;
static size_t           n_changes;

static pq_graph *conv_net(const char *const *attributes)
{
    pq_rng    rng = pq_rng_stream(3, "test");
    pq_graph *g   = NULL;
    pq_layer *l   = net_kernel(&rng, PQ_SHAPE(7, 3, 5, 4), true);

    for (; *attributes != NULL; attributes += 2) {
        OK(pq_layer_set(l, attributes[0], attributes[1], &err));
    }
    OK(pq_graph_create(&g, &err));
    net_input(g, "13, 17, 4");
    net_add(g, "conv", l, "in");
    OK(pq_graph_check(g, &err));
    return g;
}

static const char *const odd[] = {"stride_h", "2",          "stride_w", "1", "padding",
                                  "same",     "dilation_w", "2",        NULL};
static const char *const explicit_pads[] = {"padding",  "explicit", "pad_top",   "2",
                                            "pad_left", "1",        "pad_right", "3",
                                            "stride_w", "3",        NULL};

/* Full ranks compute what the layer did; lower ones the same, factored or rebuilt. */
static void check_both_ways(const char *full, const char *low)
{
    for (int which = 0; which < 2; which++) {
        pq_graph *g = conv_net(which == 0 ? odd : explicit_pads), *a, *b;
        char      text[128];

        a = net_apply(full, g, NULL, NULL, NULL);
        cr_expect_gt(a->n_nodes, g->n_nodes);
        cr_expect_lt(net_difference(g, a), TOL_RUN);
        pq_graph_free(&a);
        a = net_apply(low, g, NULL, &changes, &n_changes);
        cr_expect_gt(changes[0].error, 0.01);
        pq_free(changes);
        snprintf(text, sizeof text, "%s,run_as=reconstructed", low);
        b = net_apply(text, g, NULL, &changes, &n_changes);
        cr_expect_eq(b->n_nodes, g->n_nodes);
        cr_expect_gt(net_difference(g, b), 0.01);
        cr_expect_lt(net_difference(a, b), 1e-5);
        pq_free(changes);
        pq_graph_free(&a);
        pq_graph_free(&b);
        pq_graph_free(&g);
    }
}

Test(tucker_method, full_ranks_change_nothing_and_both_ways_to_run_agree)
{
    check_both_ways("tucker:rank=7,rank_in=4,keep_dense=no", "tucker:rank=3");
}

Test(tucker_method, cp_of_high_rank_comes_near_and_both_ways_to_run_agree)
{
    check_both_ways("cp:rank=60,clip_rank=yes,sweeps=2000,keep_dense=no", "cp:rank=3");
    check_both_ways("cp:axes=four,rank=60,clip_rank=yes,sweeps=2000,keep_dense=no",
                    "cp:axes=four,rank=3");
}

/* |W - W'| of a convolution that was rebuilt. */
static double relative_loss(const pq_graph *before, const pq_graph *after)
{
    const pq_tensor *a    = net_weight(before, "conv", "kernel");
    const pq_tensor *b    = net_weight(after, "conv", "kernel");
    double           lost = 0.0, all = 0.0;

    for (size_t i = 0; i < a->count; i++) {
        const double x = (double)pq_f32(a)[i], d = x - (double)pq_f32(b)[i];
        lost += d * d;
        all += x * x;
    }
    return sqrt(lost / all);
}

Test(tucker_method, epsilon_holds_and_the_error_told_is_true)
{
    static const char *const methods[] = {"svd", "tucker", "cp"};
    static const double      limits[]  = {0.7, 0.4, 0.1};
    pq_graph                *g         = conv_net(odd);

    for (size_t i = 0; i < 9; i++) {
        char      text[96];
        pq_graph *out;
        snprintf(text, sizeof text, "%s:epsilon=%g,run_as=reconstructed", methods[i / 3],
                 limits[i % 3]);
        out = net_apply(text, g, NULL, &changes, &n_changes);
        cr_expect_leq(relative_loss(g, out), limits[i % 3] * (1 + 1e-6), "%s", text);
        cr_expect_float_eq(relative_loss(g, out), changes[0].error, 1e-6, "%s", text);
        pq_free(changes);
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

Test(tucker_method, ratio_is_reached_and_no_gain_is_said)
{
    static const char *const methods[] = {"svd", "tucker", "cp"};
    pq_graph                *g         = conv_net(odd), *out;

    for (size_t i = 0; i < 3; i++) {
        char text[96];
        snprintf(text, sizeof text, "%s:ratio=2", methods[i]);
        out = net_apply(text, g, NULL, &changes, &n_changes);
        cr_expect_leq(2 * (changes[0].bytes_after - 28), changes[0].bytes_before - 28,
                      "%s", text);
        pq_free(changes);
        pq_graph_free(&out);
    }
    out = net_apply("tucker:rank=7,rank_in=4", g, NULL, &changes, &n_changes);
    cr_expect_str_eq(
        changes[0].what,
        "dense kept: ranks 7 of 7 and 4 of 4 would take 485 values instead of "
        "420");
    cr_expect_eq(out->n_nodes, g->n_nodes);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(tucker_method, bad_input_is_refused_with_its_words)
{
    static const struct {
        const char *text, *words;
        pq_status   status;
    } cases[] = {
        {"tucker:rank=8", "layer 'conv': rank 8 is not in 1..7", PQ_ERR_RANGE},
        {"tucker:rank=4,rank_in=5", "layer 'conv': rank 5 is not in 1..4", PQ_ERR_RANGE},
        {"tucker:rank=0", "tucker: rank = 0 is not in 1..1048576", PQ_ERR_RANGE},
        {"tucker:rank_in=2,energy=0.5", "tucker: rank_in goes with rank only",
         PQ_ERR_CONFIG},
        {"tucker",
         "tucker: give exactly one of rank, energy, epsilon, evbmf, ratio, "
         "target_sparsity and budget",
         PQ_ERR_CONFIG},
        {"cp:rank=29", "layer 'conv': rank 29 is not in 1..28", PQ_ERR_RANGE},
        {"cp:rank=3,weaken=0.5", "cp: weaken goes with evbmf only", PQ_ERR_CONFIG},
    };
    pq_graph *g = conv_net(odd);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pq_err err;
        cr_expect_eq(net_refusal(cases[i].text, g, NULL, &err), cases[i].status, "%s",
                     cases[i].text);
        cr_expect_str_eq(err.message, cases[i].words);
    }
    pq_graph_free(&g);
}

Test(tucker_method, every_failed_allocation_leaves_nothing_behind)
{
    pq_graph *g = conv_net(odd);

    net_survives("tucker:rank=3,sweeps=1", g, NULL);
    net_survives("tucker:energy=0.5,sweeps=0,run_as=reconstructed", g, NULL);
    net_survives("cp:rank=2,starts=1,sweeps=1", g, NULL);
    net_survives("cp:rank=2,starts=1,sweeps=1,axes=four", g, NULL);
    pq_graph_free(&g);
}
