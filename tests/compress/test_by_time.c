/* Choices by measured time, with a clock that computes. */
#include "compress/by_time.h"
#include "nets.h"

/* Microseconds of a graph: so much a layer with weights, and a multiply-accumulate. */
typedef struct {
    double layer, mac;
    size_t calls, most; /* how often it was asked, and of how many graphs at once */
    bool   broken;
} fake_clock;

static double time_of(const fake_clock *c, const pq_graph *g)
{
    double us = 0.0;

    for (size_t i = 0; i < g->n_nodes; i++) {
        us += g->nodes[i].layer->n_weights > 0 ? c->layer : 0.0;
        us += c->mac * (double)pq_node_macs(g, i);
    }
    return us;
}

static pq_status fake_time(void *context, size_t n, const pq_graph *const *graphs,
                           double *seconds, pq_err *err)
{
    fake_clock *c = context;
    pq_status   st;

    PQ_CHECK(!c->broken, PQ_ERR_UNSUPPORTED, "the clock stands still");
    c->calls++;
    c->most = n > c->most ? n : c->most;
    for (size_t i = 0; i < n; i++) {
        seconds[i] = time_of(c, graphs[i]) * 1e-6;
    }
cleanup:
    return st;
}

static pq_graph *timed(const char *text, const pq_graph *g, fake_clock *c,
                       pq_layer_change **changes, size_t *n)
{
    const pq_bench         watch   = {.time = fake_time, .context = c};
    const pq_apply_options options = {.bench = &watch};

    return net_apply(text, g, &options, changes, n);
}

static const char *const methods[] = {
    "svd:rank=3,layers=conv1", "tucker:rank=3,layers=conv1",
    "cp:rank=4,starts=1,layers=conv1", "tensor_train:rank=2,form=naive,layers=conv1"};

Test(by_time, auto_takes_the_faster_form_and_both_agree)
{
    pq_graph *g = net_residual(1);

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        fake_clock       small = {.mac = 1e-3}, many = {.layer = 50.0, .mac = 1e-3};
        char             text[128], fixed[128];
        pq_layer_change *changes;
        size_t           n;
        pq_graph        *fast, *slow, *want;
        snprintf(text, sizeof text, "%s,run_as=auto", methods[i]);

        /* time goes with operations: factors are faster */
        fast = timed(text, g, &small, &changes, &n);
        cr_assert_eq(n, 1);
        cr_expect_null(strstr(changes[0].what, "reconstructed;"), "%s", changes[0].what);
        cr_expect_not_null(strstr(changes[0].what, " us factorised, "), "%s",
                           changes[0].what);
        cr_expect_eq(small.calls, 1);
        cr_expect_eq(small.most, 3);
        pq_free(changes);
        snprintf(fixed, sizeof fixed, "%s,keep_dense=false", methods[i]);
        want = net_apply(fixed, g, NULL, NULL, NULL);
        cr_expect_eq(net_difference(fast, want), 0.0, "%s", text);
        pq_graph_free(&want);

        /* a layer costs more than all its operations: one kernel is faster */
        slow = timed(text, g, &many, &changes, &n);
        snprintf(fixed, sizeof fixed, "%s,run_as=reconstructed", methods[i]);
        want = net_apply(fixed, g, NULL, NULL, NULL);
        cr_expect_not_null(strstr(changes[0].what, "reconstructed; "), "%s",
                           changes[0].what);
        cr_expect_eq(slow->n_nodes, g->n_nodes);
        cr_expect_eq(net_difference(slow, want), 0.0, "%s", text);
        cr_expect_lt(net_difference(fast, want), 1e-5, "%s", text);
        pq_free(changes);
        pq_graph_free(&want);
        pq_graph_free(&fast);
        pq_graph_free(&slow);
    }
    pq_graph_free(&g);
}

Test(by_time, the_change_tells_all_three_times)
{
    fake_clock       c = {.layer = 1.0, .mac = 0.01};
    pq_graph        *g = net_mlp(1), *out;
    pq_layer_change *changes;
    size_t           n;

    /* dense 1 + 0.01 * 64 * 16 = 11.24; rank 4: 2 + 0.01 * 4 * 80 = 5.2 */
    out = timed("svd:rank=4,layers=fc1,run_as=auto", g, &c, &changes, &n);
    cr_expect_str_eq(changes[0].what,
                     "rank 4 of 16; 5.2 us factorised, 11.2 reconstructed, "
                     "11.2 dense");
    cr_expect_not_null(net_node(out, "fc1.b"));
    pq_free(changes);
    pq_graph_free(&out);
    /* beyond break-even in values factors are not taken for granted, nor refused */
    out = timed("svd:rank=16,layers=fc1,run_as=auto", g, &c, &changes, &n);
    cr_expect_str_eq(changes[0].what, "rank 16 of 16, reconstructed; 14.8 us factorised, "
                                      "11.2 reconstructed, 11.2 dense");
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* A residual network: several layers in one stage, each cut out on its own. */
Test(by_time, several_layers_are_chosen_one_by_one)
{
    fake_clock       c = {.layer = 8.0, .mac = 0.01};
    pq_graph        *g = net_mlp(2), *out;
    pq_layer_change *changes;
    size_t           n;

    out = timed("svd:rank=4,run_as=auto,clip_rank=true", g, &c, &changes, &n);
    cr_assert_eq(n, 4);
    cr_expect_eq(c.calls, 4);
    cr_expect_null(strstr(changes[1].what, "reconstructed;"), "%s", changes[1].what);
    cr_expect_not_null(strstr(changes[3].what, "reconstructed;"), "%s", changes[3].what);
    cr_expect_neq(pq_graph_find(out, "fc2.b"), SIZE_MAX);
    cr_expect_eq(pq_graph_find(out, "out.b"), SIZE_MAX);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* Where time goes with values, a budget in time is one in values. */
Test(by_time, a_budget_in_microseconds_with_time_as_operations_is_that_of_operations)
{
    static const char *const stages[] = {"svd:", "tensor_train:cores=2,"};
    pq_graph                *g        = net_mlp(3);

    for (size_t i = 0; i < 2; i++) {
        for (double budget = 1.25; budget < (i == 0 ? 5 : 2.4); budget += 0.5) {
            fake_clock c = {.mac = 1.0};
            char       text[64], by_time[128], by_macs[128];
            pq_graph  *a, *b;
            snprintf(text, sizeof text, "%sbudget=%g", stages[i], budget);
            snprintf(by_time, sizeof by_time, "%s,budget_unit=microseconds", text);
            snprintf(by_macs, sizeof by_macs, "%s,budget_unit=macs", text);
            a = timed(by_time, g, &c, NULL, NULL);
            b = net_apply(by_macs, g, NULL, NULL, NULL);
            cr_expect_leq(budget * (double)pq_graph_macs(a),
                          (double)pq_graph_macs(g) + 1e-6, "%s", by_time);
            if (i == 0) { /* of svd both grow alike with the rank */
                cr_expect_eq(net_difference(a, b), 0.0, "%s", by_time);
            }
            cr_expect_eq(c.calls, 4);
            cr_expect_leq(c.most, 6);
            pq_graph_free(&a);
            pq_graph_free(&b);
        }
    }
    pq_graph_free(&g);
}

/* Each further layer costs: what would not be faster stays dense, and the rest pays. */
Test(by_time, a_budget_counts_what_a_layer_costs_beside_its_operations)
{
    pq_graph        *g = net_mlp(4), *out;
    fake_clock       c = {.layer = 3.0, .mac = 0.01};
    pq_layer_change *changes;
    size_t           n;

    out = timed("svd:budget=1.5,budget_unit=microseconds", g, &c, &changes, &n);
    cr_expect_leq(1.5 * time_of(&c, out), time_of(&c, g) + 1e-9);
    cr_expect_gt(1.5 * time_of(&c, out), 0.9 * time_of(&c, g));
    /* out: 3 + 0.01 * 160 = 4.6 us, with factors at least 6.37 */
    cr_expect_str_eq(changes[3].what, "dense kept: the budget allows it; 4.6 of 4.6 us");
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(by_time, what_cannot_be_had_is_said)
{
    pq_graph      *g    = net_mlp(5);
    fake_clock     slow = {.layer = 3.0, .mac = 0.01}, broken = {.broken = true};
    const pq_bench watch          = {.time = fake_time, .context = &slow},
                   dead           = {.time = fake_time, .context = &broken};
    const pq_apply_options timing = {.bench = &watch}, failing = {.bench = &dead};
    pq_layer_change       *changes = NULL;
    size_t                 n_changes;
    pq_err                 err;

    cr_expect_eq(net_refusal("svd:rank=2,run_as=auto", g, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "svd needs measured times with these parameters, and "
                                  "nothing that measures was given");
    /* all dense 12 + 42.56 = 54.56; least: fc1 6.8, fc2 6.96, fc3 6.64, out 4.6 */
    pq_graph *out = net_apply("svd:budget=4,budget_unit=microseconds", g, &timing,
                              &changes, &n_changes);
    cr_expect_str_eq(changes[0].missed, "budget 4 not reached: 2.182");
    pq_free(changes);
    pq_graph_free(&out);
    cr_expect_eq(net_refusal("svd:rank=2,layers=fc1,run_as=auto", g, &failing, &err),
                 PQ_ERR_UNSUPPORTED);
    cr_expect_str_eq(err.message, "layer 'fc1': the clock stands still");
    pq_graph_free(&g);
}

Test(by_time, only_what_is_measured_needs_a_clock)
{
    static const struct {
        const char *text;
        bool        needs;
    } cases[] = {{"svd:rank=2", false},
                 {"svd:rank=2,run_as=auto", true},
                 {"svd:budget=2", false},
                 {"svd:budget=2,budget_unit=microseconds", true},
                 {"svd:rank=2,budget_unit=microseconds", false},
                 {"tucker:rank=2,run_as=auto", true},
                 {"cp:rank=2,run_as=auto", true},
                 {"tensor_train:rank=2,run_as=auto", true},
                 {"tensor_train:rank=2", false}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pq_stage stage = {0};
        OK(pq_stage_parse(cases[i].text, &stage, &err));
        cr_expect_eq((stage.method->needs(stage.params) & PQ_NEEDS_TIMES) != 0,
                     cases[i].needs, "%s", cases[i].text);
        pq_stage_free(&stage);
    }
}

Test(by_time, every_failed_allocation_leaves_nothing_behind)
{
    pq_graph              *g       = net_mlp(6);
    fake_clock             c       = {.layer = 1.0, .mac = 0.01};
    const pq_bench         watch   = {.time = fake_time, .context = &c};
    const pq_apply_options options = {.bench = &watch};

    net_survives("svd:rank=2,layers=fc3,run_as=auto", g, &options);
    net_survives("svd:budget=1.5,layers=fc3,budget_unit=microseconds", g, &options);
    pq_graph_free(&g);
}
