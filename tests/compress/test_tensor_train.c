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

/* What the engine float32 computes against the reference. */
static double engine_difference(const pq_graph *g)
{
    const pq_plan_options options = {.engine = "float32", .batch = 20};
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
         "tensor_train: give exactly one of ranks, rank, energy, epsilon, evbmf, ratio, "
         "target_sparsity and budget",
         PQ_ERR_CONFIG},
        {"tensor_train:rank=0", "tensor_train: rank = 0 is not in 1..1048576",
         PQ_ERR_RANGE},
        {"tensor_train:in_modes=[4,3],out_modes=[2,5],ranks=[2],align=2",
         "tensor_train: align does not go with ranks", PQ_ERR_CONFIG},
        {"tensor_train:epsilon=0.5,init=random",
         "tensor_train: init = random goes with rank, ranks, ratio and target_sparsity "
         "only",
         PQ_ERR_CONFIG},
        {"tensor_train:budget=2,init=random",
         "tensor_train: init = random goes with rank, ranks, ratio and target_sparsity "
         "only",
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

/* Six and seven modes: more axes than a tensor has when modes are kept apart. */
Test(tensor_train, many_modes_of_dense_layers_and_convolutions)
{
    pq_rng    rng = pq_rng_stream(6, "test");
    pq_graph *g   = NULL;

    OK(pq_graph_create(&g, &err));
    net_input(g, "128");
    net_add(g, "fc", net_kernel(&rng, PQ_SHAPE(192, 128), true), "in");
    OK(pq_graph_check(g, &err));
    check_both_ways(g, "tensor_train:in_modes=[2,2,2,2,2,4],out_modes=[2,2,3,4,2,2]");
    g = NULL;
    OK(pq_graph_create(&g, &err));
    net_input(g, "128");
    net_add(g, "fc", net_kernel(&rng, PQ_SHAPE(192, 128), true), "in");
    OK(pq_graph_check(g, &err));
    check_both_ways(g, "tensor_train:cores=7");
    check_both_ways(conv_net(), "tensor_train:cores=4");
    check_both_ways(conv_net(), "tensor_train:cores=7");
}

/* Rank 1 of every cut of a product of vectors is exact, and the cores say which mode is
 * which: W[(n1 n2), (m1 m2)] = a[n1, m1] b[n2, m2]. */
Test(tensor_train, modes_are_those_of_the_definition)
{
    pq_rng    rng = pq_rng_stream(6, "test");
    pq_graph *g   = dense_net(), *out;
    pq_layer *fc  = g->nodes[pq_graph_find(g, "fc")].layer;
    float    *w   = pq_f32(pq_layer_weight(fc, "kernel")->value), a[2][4], b[5][3];

    for (size_t i = 0; i < 23; i++) {
        *(i < 8 ? &a[i / 4][i % 4] : &b[(i - 8) / 3][(i - 8) % 3]) =
            (float)pq_rng_normal(&rng);
    }
    for (size_t o = 0; o < 10; o++) {
        for (size_t i = 0; i < 12; i++) {
            w[o * 12 + i] = a[o / 5][i / 3] * b[o % 5][i % 3];
        }
    }
    out = net_apply("tensor_train:in_modes=[4,3],out_modes=[2,5],rank=1", g, NULL,
                    &changes, &n_changes);
    cr_expect_lt(changes[0].error, 1e-6);
    const float *one = pq_f32(net_weight(out, "fc", "core1"));
    const float *two = pq_f32(net_weight(out, "fc", "core2"));
    for (size_t i = 0; i < 120; i++) {
        const size_t o = i / 12, in = i % 12;
        cr_expect_float_eq(one[o / 5 * 4 + in / 3] * two[o % 5 * 3 + in % 3], w[i], 1e-5);
    }
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* A train is rounded as if its kernel were: within epsilon, from any form it has. */
Test(tensor_train, a_second_stage_rounds_the_train_of_the_first)
{
    static const char *const stages[] = {
        "epsilon=0.5", "epsilon=0.35",         "energy=0.9", "epsilon=0.5,align=2",
        "rank=2",      "evbmf=yes,weaken=0.3", "ratio=1.5",  "budget=2"};
    static const double limits[] = {0.5, 0.35, 0.3162278, 0.5, 1, 1, 1, 1};

    for (size_t i = 0; i < 16; i++) {
        pq_graph *g = i % 2 == 0 ? dense_net() : conv_net(), *a, *b, *c;
        char      text[96];
        a = net_apply("tensor_train:cores=2,clip_rank=yes,rank=1000,keep_dense=no", g,
                      NULL, NULL, NULL);
        snprintf(text, sizeof text, "tensor_train:%s", stages[i / 2]);
        b = net_apply(text, a, NULL, &changes, &n_changes);
        cr_assert_eq(n_changes, 1);
        cr_expect_leq(changes[0].error, limits[i / 2], "%s", text);
        cr_expect_gt(changes[0].error, 1e-3, "%s", text);
        cr_expect_lt(pq_graph_parameters(b, (pq_count_rule){0}, NULL),
                     pq_graph_parameters(a, (pq_count_rule){0}, NULL));
        const double error = changes[0].error;
        pq_free(changes);
        snprintf(text, sizeof text, "tensor_train:%s,run_as=reconstructed",
                 stages[i / 2]);
        c = net_apply(text, a, NULL, &changes, &n_changes);
        cr_expect_str_eq(net_node(c, i % 2 == 0 ? "fc" : "conv")->layer->kind->name,
                         i % 2 == 0 ? "dense" : "conv2d");
        cr_expect_float_eq(changes[0].error, error, 1e-12);
        cr_expect_lt(net_difference(b, c), TOL_RUN, "%s", text);
        pq_free(changes);
        pq_graph_free(&a);
        pq_graph_free(&b);
        pq_graph_free(&c);
        pq_graph_free(&g);
    }
}

static double variance(const pq_tensor *t)
{
    double sum = 0.0;

    for (size_t i = 0; i < t->count; i++) {
        sum += (double)pq_f32(t)[i] * (double)pq_f32(t)[i];
    }
    return sum / (double)t->count;
}

/* Ranks above what the kernel has, drawn anew by the seed; the kernel they make has He's
 * variance 2 / 180 (of 10 draws: products of normals vary much). */
Test(tensor_train, random_cores_have_any_ranks_and_the_variance_of_he)
{
    pq_graph *g    = conv_net(), *out;
    double    mean = 0.0;

    for (uint64_t seed = 0; seed < 10; seed++) {
        const pq_apply_options how = {.seed = seed};
        out = net_apply("tensor_train:cores=2,ranks=[20,20],init=random,keep_dense=no", g,
                        &how, &changes, &n_changes);
        cr_expect_str_eq(changes[0].what, "ranks 20 20, random");
        cr_expect(isnan(changes[0].error));
        cr_expect_eq(net_weight(out, "conv", "window")->shape.dim[3], 20);
        pq_free(changes);
        pq_graph_free(&out);
        out = net_apply("tensor_train:cores=2,ranks=[20,20],init=random,run_as="
                        "reconstructed",
                        g, &how, NULL, NULL);
        mean += variance(net_weight(out, "conv", "kernel")) / 10;
        pq_graph_free(&out);
    }
    cr_expect_float_eq(mean, 2.0 / 180, 0.25 * 2.0 / 180, "%g", mean);
    out = net_apply("tensor_train:ratio=4,init=random", g, NULL, &changes, &n_changes);
    cr_expect_leq(4 * pq_graph_parameters(out, (pq_count_rule){0}, NULL), 1440);
    pq_free(changes);
    pq_graph_free(&out);
    net_survives("tensor_train:rank=3,init=random", g, NULL);
    pq_graph_free(&g);
}

/* |W - W'| / |W| of the one kernel of two networks. */
static double kernel_distance(const pq_graph *a, const pq_graph *b, const char *name)
{
    const pq_tensor *x = net_weight(a, name, "kernel"),
                    *y = net_weight(b, name, "kernel");
    double lost = 0.0, all = 0.0;

    cr_assert(pq_shape_equal(&x->shape, &y->shape));
    for (size_t i = 0; i < x->count; i++) {
        const double d = (double)pq_f32(x)[i] - (double)pq_f32(y)[i];
        lost += d * d;
        all += (double)pq_f32(x)[i] * (double)pq_f32(x)[i];
    }
    return sqrt(lost / all);
}

Test(tensor_train, a_ring_becomes_one_kernel_and_tells_its_error)
{
    pq_graph   *nets[]  = {dense_net(), conv_net()}, *out;
    const char *names[] = {"fc", "conv"};

    for (size_t i = 0; i < 2; i++) {
        double last = 1.0;
        for (size_t rank = 1; rank <= 4; rank += 3) {
            char text[96];
            snprintf(text, sizeof text, "tensor_train:form=ring,cores=2,rank=%zu%s", rank,
                     i == 0 ? ",run_as=reconstructed" : "");
            out = net_apply(text, nets[i], NULL, &changes, &n_changes);
            cr_assert_eq(n_changes, 1);
            cr_expect_eq(out->n_nodes, nets[i]->n_nodes);
            cr_expect_float_eq(changes[0].error, kernel_distance(nets[i], out, names[i]),
                               1e-6);
            cr_expect_lt(changes[0].error, last);
            cr_expect(rank > 1 || changes[0].error > 0.1);
            cr_expect_not_null(strstr(changes[0].what, "reconstructed"), "%s",
                               changes[0].what);
            cr_expect_eq(strstr(changes[0].what, ": no layer runs it") != NULL, i == 1);
            last = changes[0].error;
            pq_free(changes);
            pq_graph_free(&out);
        }
        pq_graph_free(&nets[i]);
    }
}

Test(tensor_train, a_ring_of_full_rank_is_the_layer_and_of_rank_one_the_train)
{
    pq_graph *g     = dense_net();
    pq_graph *full  = net_apply("tensor_train:form=ring,in_modes=[4,3],out_modes=[5,2],"
                                 "rank=6,run_as=reconstructed",
                                g, NULL, &changes, &n_changes);
    pq_graph *one   = net_apply("tensor_train:form=ring,in_modes=[4,3],out_modes=[5,2],"
                                  "rank=1,run_as=reconstructed",
                                g, NULL, NULL, NULL);
    pq_graph *train = net_apply("tensor_train:in_modes=[4,3],out_modes=[5,2],rank=1,"
                                "run_as=reconstructed",
                                g, NULL, NULL, NULL);

    cr_expect_lt(net_difference(g, full), 1e-5);
    cr_expect_lt(net_difference(one, train), 1e-5);
    /* [5 x 4, 2 x 3] of rank 6 = r_0 r_1: 2 x 3 or 3 x 2 */
    cr_expect(strstr(changes[0].what, "ring of ranks 2 3 and 156 values") != NULL ||
                  strstr(changes[0].what, "ring of ranks 3 2 and 156 values") != NULL,
              "%s", changes[0].what);
    pq_free(changes);
    pq_graph_free(&g);
    pq_graph_free(&full);
    pq_graph_free(&one);
    pq_graph_free(&train);
}

Test(tensor_train, a_ring_runs_by_its_cores_as_its_kernel_does)
{
    static const char *const ranks[] = {"rank=1", "rank=2", "rank=4", "rank=6"};
    pq_graph                *g       = dense_net();

    for (size_t i = 0; i < 4; i++) {
        pq_graph *by_cores, *whole;
        char      text[128];
        snprintf(text, sizeof text,
                 "tensor_train:form=ring,in_modes=[4,3],out_modes=[5,2],keep_dense=no,%s",
                 ranks[i]);
        by_cores = net_apply(text, g, NULL, &changes, &n_changes);
        cr_expect_null(strstr(changes[0].what, "reconstructed"));
        snprintf(text, sizeof text,
                 "tensor_train:form=ring,in_modes=[4,3],out_modes=[5,2],"
                 "run_as=reconstructed,%s",
                 ranks[i]);
        whole = net_apply(text, g, NULL, NULL, NULL);
        cr_expect_str_eq(by_cores->nodes[pq_graph_find(by_cores, "fc")].layer->kind->name,
                         i == 0 ? "tt_dense" : "ring_dense");
        cr_expect_lt(net_difference(by_cores, whole), 1e-5);
        pq_free(changes);
        pq_graph_free(&by_cores);
        pq_graph_free(&whole);
    }
    pq_graph_free(&g);
}

Test(tensor_train, a_ring_that_saves_nothing_leaves_the_layer_dense)
{
    pq_graph *g   = dense_net();
    pq_graph *out = net_apply("tensor_train:form=ring,in_modes=[4,3],out_modes=[5,2],"
                              "rank=6",
                              g, NULL, &changes, &n_changes);

    cr_expect_str_eq(out->nodes[pq_graph_find(out, "fc")].layer->kind->name, "dense");
    cr_expect_not_null(strstr(changes[0].what, "dense kept"), "%s", changes[0].what);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(tensor_train, what_a_ring_does_not_take_is_refused)
{
    static const char *const texts[] = {"tensor_train:form=ring,epsilon=0.1",
                                        "tensor_train:form=ring,budget=2",
                                        "tensor_train:form=ring,rank=2,run_as=auto",
                                        "tensor_train:form=ring,rank=2,init=random"};
    pq_graph                *g       = dense_net();
    pq_err                   err;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_expect_eq(net_refusal(texts[i], g, NULL, &err), PQ_ERR_CONFIG, "%s", texts[i]);
        cr_expect_str_eq(err.message,
                         "tensor_train: form = ring goes with rank only, without init = "
                         "random and run_as = auto");
    }
    cr_expect_eq(
        net_refusal("tensor_train:form=ring,in_modes=[4,3],out_modes=[5,2],rank=7", g,
                    NULL, &err),
        PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "layer 'fc': rank 7 is not in 1..6");
    net_survives("tensor_train:form=ring,cores=2,rank=2", g, NULL);
    net_survives("tensor_train:form=ring,cores=2,rank=2,run_as=reconstructed", g, NULL);
    pq_graph_free(&g);
}
