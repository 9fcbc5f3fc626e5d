#include "nets.h"

static const double TOL_RUN = 5e-5; /* of outputs of order 1, float32 weights */

static pq_layer_change *changes;
static size_t           n_changes;

/* 12 inputs to 10 outputs, in rows of a sample. */
static pq_graph *dense_net(void)
{
    pq_rng    rng = pq_rng_stream(4, "test");
    pq_graph *g   = NULL;

    OK(pq_graph_create(&g, &err));
    net_input(g, "3, 12");
    net_add(g, "fc", net_kernel(&rng, PQ_SHAPE(10, 12), true), "in");
    OK(pq_graph_check(g, &err));
    return g;
}

static pq_graph *conv_net(void)
{
    pq_rng    rng = pq_rng_stream(5, "test");
    pq_graph *g   = NULL;
    pq_layer *l   = net_kernel(&rng, PQ_SHAPE(8, 3, 5, 12), true);

    OK(pq_layer_set(l, "padding", "same", &err));
    OK(pq_layer_set(l, "stride_h", "2", &err));
    OK(pq_layer_set(l, "dilation_w", "2", &err));
    OK(pq_graph_create(&g, &err));
    net_input(g, "7, 11, 12");
    net_add(g, "conv", l, "in");
    OK(pq_graph_check(g, &err));
    return g;
}

/* What the blas engine computes against the reference. */
static double engine_difference(const pq_graph *g)
{
    const pq_plan_options options = {.engine = "blas", .batch = 20};
    size_t                n, in;
    float                *due     = net_run(g, 20, &n), *x, *y;
    double                largest = 0.0;
    pq_rng                rng     = pq_rng_stream(99, "events");
    pq_plan              *plan    = NULL;

    cr_assert(pq_shape_count(&g->nodes[0].shape, &in));
    x = pq_calloc(20 * in, sizeof *x);
    y = pq_calloc(n, sizeof *y);
    for (size_t i = 0; i < 20 * in; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    OK(pq_plan_create(g, &options, &plan, &err));
    OK(pq_plan_run(plan, 20, (const float *[]){x}, y, &err));
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)y[i] - (double)due[i]));
    }
    pq_plan_free(&plan);
    pq_free(x);
    pq_free(y);
    pq_free(due);
    return largest;
}

/* Full ranks change nothing; low ones compute the same factored, rebuilt and in float32.
 */
static void check_both_ways(pq_graph *g, const char *stage)
{
    char      text[160];
    pq_graph *a, *b;

    snprintf(text, sizeof text, "%s,rank=1000,clip_rank=yes,keep_dense=no", stage);
    a = net_apply(text, g, NULL, &changes, &n_changes);
    cr_expect_lt(changes[0].error, 1e-6);
    cr_expect_lt(net_difference(g, a), TOL_RUN, "%s", text);
    cr_expect_lt(engine_difference(a), TOL_RUN, "%s", text);
    pq_free(changes);
    pq_graph_free(&a);
    snprintf(text, sizeof text, "%s,rank=2", stage);
    a = net_apply(text, g, NULL, &changes, &n_changes);
    cr_expect_gt(changes[0].error, 0.01);
    pq_free(changes);
    snprintf(text, sizeof text, "%s,rank=2,run_as=reconstructed", stage);
    b = net_apply(text, g, NULL, NULL, NULL);
    cr_expect_gt(net_difference(g, b), 0.01);
    cr_expect_lt(net_difference(a, b), 1e-5, "%s", text);
    cr_expect_lt(engine_difference(a), TOL_RUN, "%s", text);
    pq_graph_free(&a);
    pq_graph_free(&b);
    pq_graph_free(&g);
}

Test(tensor_train, dense_layers_with_modes_given_and_chosen)
{
    check_both_ways(dense_net(), "tensor_train:in_modes=[2,3,2],out_modes=[5,1,2]");
    check_both_ways(dense_net(), "tensor_train:in_modes=[4,3],out_modes=[2,5]");
    check_both_ways(dense_net(), "tensor_train:cores=2");
    check_both_ways(dense_net(), "tensor_train:cores=4");
}

Test(tensor_train, convolutions_in_both_forms)
{
    check_both_ways(conv_net(), "tensor_train:in_modes=[2,3,2],out_modes=[2,2,2]");
    check_both_ways(conv_net(), "tensor_train:cores=2");
    check_both_ways(conv_net(), "tensor_train:form=naive");
}

Test(tensor_train, epsilon_holds_and_ratio_is_reached)
{
    static const double limits[] = {0.8, 0.5, 0.2, 0.01};
    pq_graph           *g        = conv_net(), *out;
    char                text[96];

    for (size_t i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "tensor_train:epsilon=%g,keep_dense=no", limits[i]);
        out = net_apply(text, g, NULL, &changes, &n_changes);
        cr_expect_leq(changes[0].error, limits[i]);
        pq_free(changes);
        pq_graph_free(&out);
    }
    out = net_apply("tensor_train:ratio=4", g, NULL, &changes, &n_changes);
    cr_expect_leq(4 * (changes[0].bytes_after - 32), changes[0].bytes_before - 32);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(tensor_train, operations_are_those_of_the_formula)
{
    pq_graph *g = dense_net();
    pq_graph *out =
        net_apply("tensor_train:in_modes=[4,3],out_modes=[2,5],rank=3,keep_dense=no", g,
                  NULL, NULL, NULL);

    /* step 1: 1 x 4 x 2 x 3 for each of 3; step 2: 3 x 3 x 5 x 1 for each of 2; 3 rows */
    cr_expect_eq(pq_node_macs(out, pq_graph_find(out, "fc")), 3 * (24 * 3 + 45 * 2));
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(tensor_train, bad_input_is_refused_with_its_words)
{
    static const struct {
        const char *text, *words;
        pq_status   status;
    } cases[] = {
        {"tensor_train:rank=2,in_modes=[2,3],out_modes=[2,5]",
         "layer 'fc': in_modes 2 x 3 multiply to 6, not to 12", PQ_ERR_SHAPE},
        {"tensor_train:rank=2,in_modes=[4,3],out_modes=[2,4]",
         "layer 'fc': out_modes 2 x 4 multiply to 8, not to 10", PQ_ERR_SHAPE},
        {"tensor_train:rank=2,in_modes=[4,3],out_modes=[10]",
         "tensor_train: 2 in_modes and 1 out_modes do not pair", PQ_ERR_CONFIG},
        {"tensor_train:in_modes=[4,3],out_modes=[2,5],rank=9",
         "layer 'fc': rank 9 is not in 1..8", PQ_ERR_RANGE},
        {"tensor_train:in_modes=[4,3],out_modes=[2,5],ranks=[9]",
         "layer 'fc': rank 9 between cores 1 and 2 is not in 1..8", PQ_ERR_RANGE},
        {"tensor_train:in_modes=[4,3],out_modes=[2,5],ranks=[2,2]",
         "layer 'fc': 2 ranks are given for 2 cores: one between each two",
         PQ_ERR_CONFIG},
        {"tensor_train",
         "tensor_train: give exactly one of rank, ranks, epsilon and ratio",
         PQ_ERR_CONFIG},
        {"tensor_train:rank=0", "tensor_train: rank = 0 is not in 1..1048576",
         PQ_ERR_RANGE},
        {"tensor_train:energy=0.5",
         "tensor_train: a train has no one spectrum: give rank, ranks, ratio or epsilon",
         PQ_ERR_CONFIG},
    };
    pq_graph *g = dense_net();
    pq_err    err;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(net_refusal(cases[i].text, g, NULL, &err), cases[i].status, "%s",
                     cases[i].text);
        cr_expect_str_eq(err.message, cases[i].words);
    }
    pq_graph_free(&g);
}

Test(tensor_train, every_failed_allocation_leaves_nothing_behind)
{
    pq_graph *g = dense_net(), *c = conv_net();

    net_survives("tensor_train:rank=2,cores=2", g, NULL);
    net_survives("tensor_train:rank=2,cores=2", c, NULL);
    net_survives("tensor_train:rank=2,form=naive", c, NULL);
    net_survives("tensor_train:rank=2,run_as=reconstructed", c, NULL);
    pq_graph_free(&g);
    pq_graph_free(&c);
}
