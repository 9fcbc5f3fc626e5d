#include "compress/budget.h"
#include "nets.h"

static pq_layer_change *changes;
static size_t           n_changes;

static pq_share list(size_t n, const pq_option *options, double dense)
{
    pq_share s = {.limit = dense};

    for (size_t i = 0; i < n; i++) {
        OK(pq_share_add(&s, options[i].rank, options[i].cost, -1, options[i].loss, &err));
    }
    OK(pq_share_end(&s, &err));
    return s;
}

/* Least loss of two layers within a budget, by trying all pairs. */
static double least_loss(const pq_share *a, const pq_share *b, double most, double *cost)
{
    double best = HUGE_VAL;

    for (size_t i = 0; i < a->n; i++) {
        for (size_t j = 0; j < b->n; j++) {
            const double c = a->option[i].cost + b->option[j].cost;
            const double l = a->option[i].loss + b->option[j].loss;
            if (c <= most && l < best) {
                best  = l;
                *cost = c;
            }
        }
    }
    return best;
}

/* Concave lists: greedy is best whenever it spends what the best pair does. */
Test(budget, greedy_is_the_best_of_all_pairs_up_to_the_last_step)
{
    pq_option a[8], b[12];
    size_t    equal = 0;

    for (size_t i = 0; i < 8; i++) {
        a[i] = (pq_option){i + 1, 10.0 * (double)(i + 1), pow(0.5, (double)i)};
    }
    for (size_t i = 0; i < 12; i++) {
        b[i] = (pq_option){i + 1, 7.0 * (double)(i + 1), 0.8 * pow(0.7, (double)i)};
    }
    for (double budget = 1.0; budget < 10.0; budget += 0.25) {
        pq_share     s[2] = {list(8, a, 100), list(12, b, 90)};
        double       cost = 0.0;
        const double best = least_loss(&s[0], &s[1], 190 / budget, &cost);
        cr_expect_eq(pq_share_out(s, 2, 190, budget), budget);
        const double mine = s[0].option[s[0].at].loss + s[1].option[s[1].at].loss;
        const double used = s[0].option[s[0].at].cost + s[1].option[s[1].at].cost;
        cr_expect_leq(used, 190 / budget);
        cr_expect_geq(mine, best - 1e-12);
        cr_expect_gt(used, fmin(190 / budget, 190) - 20, "budget %g leaves %g", budget,
                     190 / budget - used);
        equal += mine <= best * (1 + 1e-9);
        pq_free(s[0].option);
        pq_free(s[1].option);
    }
    cr_expect_geq(equal, 24, "%zu of 36 are the best", equal);
}

/* The middle of the list saves little for its cost: it is skipped. */
Test(budget, a_step_may_skip_options_that_are_worth_less)
{
    static const pq_option flat[]  = {{1, 10, 1.0}, {2, 20, 0.99}, {3, 30, 0.1}};
    static const pq_option steep[] = {{1, 10, 1.0}, {2, 20, 0.98}};
    pq_share               s[2]    = {list(3, flat, 100), list(2, steep, 100)};

    cr_expect_eq(pq_share_out(s, 2, 200, 5), 5.0); /* 40: 20 above the least */
    cr_expect_eq(s[0].option[s[0].at].rank, 3);
    cr_expect_eq(s[1].option[s[1].at].rank, 1);
    pq_free(s[0].option);
    pq_free(s[1].option);
}

Test(budget, a_budget_of_one_leaves_all_layers_as_they_are)
{
    static const char *const methods[] = {"svd", "svd:form=spatial", "tucker",
                                          "cp:starts=1", "tensor_train:form=naive"};
    pq_graph                *g         = net_residual(3), *out;

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        char text[96];
        snprintf(text, sizeof text, "%s%sbudget=1,layers=conv1|conv2", methods[i],
                 strchr(methods[i], ':') != NULL ? "," : ":");
        out = net_apply(text, g, NULL, &changes, &n_changes);
        cr_assert_eq(n_changes, 2);
        cr_expect_str_eq(changes[0].what, "dense kept: the budget allows it", "%s", text);
        cr_expect_eq(net_difference(g, out), 0.0);
        pq_free(changes);
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

Test(budget, one_that_is_out_of_reach_gives_the_smallest_ranks_and_says_so)
{
    pq_graph *g = net_mlp(3), *out;

    /* rank 1: 16+64, 64+32, 32+32, 32+5 = 277 of 1024+2048+1024+160 = 4256 */
    out = net_apply("svd:budget=16", g, NULL, &changes, &n_changes);
    cr_expect_eq(pq_graph_parameters(out, (pq_count_rule){0}, NULL), 277);
    cr_expect_eq(n_changes, 4);
    for (size_t i = 0; i < n_changes; i++) {
        cr_expect_str_eq(changes[i].missed, "budget 16 not reached: 15.36");
        cr_expect_not_null(strstr(changes[i].what, "; budget 16 not reached: 15.36"));
    }
    pq_free(changes);
    pq_graph_free(&out);
    out = net_apply("svd:budget=15.3", g, NULL, &changes, &n_changes);
    cr_expect_str_eq(changes[0].missed, "");
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* Four convolutions whose strides make the factors work on unequal images. */
static pq_graph *strided_net(void)
{
    static const char *const strides[][2] = {
        {"2", "2"}, {"2", "1"}, {"1", "2"}, {"1", "1"}};
    pq_rng      rng  = pq_rng_stream(8, "test");
    pq_graph   *g    = NULL;
    const char *last = "in";
    static char names[4][8];

    OK(pq_graph_create(&g, &err));
    net_input(g, "31, 29, 12");
    for (size_t i = 0; i < 4; i++) {
        pq_layer *l = net_kernel(&rng, PQ_SHAPE(16, 3, 5, i == 0 ? 12 : 16), true);
        OK(pq_layer_set(l, "stride_h", strides[i][0], &err));
        OK(pq_layer_set(l, "stride_w", strides[i][1], &err));
        OK(pq_layer_set(l, "padding", "same", &err));
        snprintf(names[i], sizeof names[i], "conv%zu", i);
        net_add(g, names[i], l, last);
        last = names[i];
    }
    OK(pq_graph_check(g, &err));
    return g;
}

static double total_macs(const pq_graph *g)
{
    double sum = 0.0;

    for (size_t i = 0; i < g->n_nodes; i++) {
        sum += (double)pq_node_macs(g, i);
    }
    return sum;
}

static size_t total_values(const pq_graph *g)
{
    return pq_graph_parameters(g, (pq_count_rule){0}, NULL);
}

/* Counted in the network that comes out, not by the formulas that planned it. */
Test(budget, operations_and_values_are_kept_by_every_method_on_strided_convolutions)
{
    static const char *const methods[] = {
        "svd:form=channel",       "svd:form=channel_in", "svd:form=spatial",
        "tucker:sweeps=0",        "cp:starts=1",         "cp:starts=1,axes=four",
        "tensor_train:form=naive"};
    static const double budgets[] = {1.3, 2, 3.5};
    pq_graph           *g         = strided_net(), *out;

    for (size_t i = 0; i < 2 * 3 * sizeof methods / sizeof methods[0]; i++) {
        const double budget = budgets[i / 2 % 3];
        char         text[128];
        snprintf(text, sizeof text, "%s,budget=%g,budget_unit=%s", methods[i / 6], budget,
                 i % 2 == 0 ? "macs" : "parameters");
        out                = net_apply(text, g, NULL, NULL, NULL);
        const double all   = i % 2 == 0 ? total_macs(g) : (double)total_values(g);
        const double spent = i % 2 == 0 ? total_macs(out) : (double)total_values(out);
        cr_expect_leq(spent * budget, all, "%s: %.4g of %.4g", text, spent, all);
        cr_expect_geq(spent * budget, 0.85 * all, "%s: %.4g of %.4g", text, spent, all);
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

Test(budget, dense_trains_count_the_operations_of_their_cores)
{
    pq_graph *g = net_mlp(3), *out;

    out = net_apply("tensor_train:cores=2,budget=2,budget_unit=macs,layers=fc2|fc3", g,
                    NULL, NULL, NULL);
    const double others = (double)(64 * 16 + 5 * 32);
    cr_expect_leq(2 * (total_macs(out) - others), total_macs(g) - others);
    cr_expect_gt(2 * (total_macs(out) - others), 0.7 * (total_macs(g) - others));
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* Layers that no rank makes smaller neither fail nor count. */
Test(budget, layers_that_cannot_shrink_stay_and_are_paid_for)
{
    pq_rng    rng = pq_rng_stream(4, "test");
    pq_graph *g   = NULL, *out;

    OK(pq_graph_create(&g, &err));
    net_input(g, "24");
    net_add(g, "fc1", net_kernel(&rng, PQ_SHAPE(32, 24), true), "in");
    net_add(g, "fc2", net_kernel(&rng, PQ_SHAPE(1, 32), true), "fc1");
    OK(pq_graph_check(g, &err));
    out = net_apply("svd:budget=2", g, NULL, &changes, &n_changes);
    cr_expect_str_eq(changes[1].what, "dense kept: the budget allows it");
    cr_expect_leq(2 * total_values(out), total_values(g));
    cr_expect_str_eq(changes[0].what, "rank 6 of 24"); /* (800 / 2 - 32) / 56 = 6.6 */
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(budget, every_failed_allocation_leaves_nothing_behind)
{
    pq_graph *g = net_residual(3), *m = net_mlp(3);

    net_survives("svd:budget=2,form=spatial,budget_unit=macs,layers=conv1|conv2", g,
                 NULL);
    net_survives("tucker:budget=2,sweeps=0,layers=conv1|conv2", g, NULL);
    net_survives("cp:budget=2,starts=1,sweeps=2,layers=conv1", g, NULL);
    net_survives("tensor_train:budget=2,form=naive,layers=conv1", g, NULL);
    net_survives("tensor_train:budget=2,cores=2,layers=fc2|fc3", m, NULL);
    pq_graph_free(&g);
    pq_graph_free(&m);
}
