#include "build.h"

Test(graph, nodes_are_found_and_the_last_is_the_output)
{
    pq_graph *g = residual();

    cr_expect_eq(g->n_nodes, 8);
    cr_expect_eq(pq_graph_find(g, "sum"), 4);
    cr_expect_eq(pq_graph_find(g, "nothing"), SIZE_MAX);
    cr_expect_eq(g->output, 7);
    expect_reads(g, "sum", "relu1", "conv2");
    pq_graph_free(&g);
    cr_expect_null(g);
    pq_graph_free(&g);
}

Test(graph, what_cannot_be_added_is_refused_and_freed)
{
    static const char *const fc[] = {"fc"}, *const later[] = {"later"},
                             *const two[]  = {"fc", "mean"};
    pq_graph                       *g      = residual();
    const size_t                    before = pq_memory_live();
    pq_err                          err    = {0};

    cr_expect_eq(pq_graph_add(g, "fc", a_layer("relu", 0, 0), 1, fc, &err),
                 PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "two layers have the name 'fc'");
    err = (pq_err){0};
    cr_expect_eq(pq_graph_add(g, "x", a_layer("relu", 0, 0), 1, later, &err),
                 PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "layer 'x' reads 'later', which is no earlier layer");
    err = (pq_err){0};
    cr_expect_eq(pq_graph_add(g, "x", a_layer("relu", 0, 0), 2, two, &err),
                 PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "layer 'x': relu takes 1..1 inputs, not 2");
    err = (pq_err){0};
    cr_expect_eq(pq_graph_add(g, "", a_layer("relu", 0, 0), 1, fc, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "a layer has an empty name");
    cr_expect_eq(pq_memory_live(), before);
    cr_expect_eq(g->n_nodes, 8);
    pq_graph_free(&g);
}

Test(graph, readers_are_counted_with_the_output)
{
    pq_graph *g = residual();

    cr_expect_eq(pq_graph_readers(g, 2), 2);
    cr_expect_eq(pq_graph_readers(g, 0), 1);
    cr_expect_eq(pq_graph_readers(g, 7), 1);
    pq_graph_free(&g);
}

Test(graph, counts_follow_the_rule)
{
    pq_graph    *g = residual();
    size_t       nonzero;
    const size_t kernels = 4 * 27 + 4 * 36 + 12, biases = 4 + 4 + 3;

    cr_expect_eq(pq_graph_macs(g), 36 * (4 * 27 + 4 * 36) + 12);
    cr_expect_eq(pq_node_macs(g, 6), 12);
    cr_expect_eq(pq_node_macs(g, 4), 0);
    cr_expect_eq(pq_graph_parameters(g, (pq_count_rule){0}, NULL), kernels);
    cr_expect_eq(pq_graph_parameters(g, (pq_count_rule){.biases = true}, &nonzero),
                 kernels + biases);
    /* every fifth value is 0, beginning with the first */
    cr_expect_eq(nonzero, kernels + biases - (22 + 29 + 3) - 3);
    cr_expect_eq(pq_graph_stored_bytes(g), 4 * (kernels + biases));
    pq_graph_free(&g);
}

Test(graph, a_clone_is_deep)
{
    pq_graph *g = residual(), *copy = NULL;
    char      a[65], b[65];
    size_t    i;

    cr_assert_eq(pq_graph_note(g, json_pack("{s:s}", "method", "svd"), NULL), PQ_OK);
    cr_assert_eq(pq_graph_clone(g, &copy, NULL), PQ_OK);
    pq_graph_hash(g, a, NULL);
    pq_graph_hash(copy, b, NULL);
    cr_expect_str_eq(a, b);
    cr_expect(json_equal(g->provenance, copy->provenance));
    cr_expect_neq(g->provenance, copy->provenance);
    i                                                 = pq_graph_find(copy, "conv1");
    pq_f32(copy->nodes[i].layer->weights[0].value)[0] = 42.0f;
    pq_graph_hash(g, b, NULL);
    cr_expect_str_eq(a, b, "the original did not change");
    pq_graph_free(&g);
    cr_assert_eq(pq_graph_check(copy, NULL), PQ_OK);
    cr_expect_str_eq(copy->class_names[2], "w");
    pq_graph_free(&copy);
}

Test(graph, a_shared_copy_has_the_same_weights_and_a_wiring_of_its_own)
{
    pq_graph *g = residual(), *copy = NULL;
    char      a[65], b[65];
    size_t    n = g->n_nodes;

    pq_graph_hash(g, a, NULL);
    cr_assert_eq(pq_graph_share(g, &copy, NULL), PQ_OK);
    pq_graph_hash(copy, b, NULL);
    cr_expect_str_eq(a, b);
    for (size_t i = 0; i < n; i++) {
        const pq_layer *mine = copy->nodes[i].layer, *its = g->nodes[i].layer;
        cr_assert_eq(mine->n_weights, its->n_weights);
        for (size_t w = 0; w < mine->n_weights; w++) {
            cr_expect_eq(mine->weights[w].value, its->weights[w].value);
        }
    }
    cr_assert_eq(pq_graph_bypass(copy, pq_graph_find(copy, "relu1"), NULL), PQ_OK);
    pq_graph_free(&copy);
    cr_expect_eq(g->n_nodes, n);
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    pq_graph_hash(g, b, NULL);
    cr_expect_str_eq(a, b, "the original is as it was");
    pq_graph_free(&g);
}

static pq_status build_clone_hash(void *context, pq_err *err)
{
    pq_graph *g = NULL, *copy = NULL, *shared = NULL;
    char      hash[65];
    pq_status st;

    (void)context;
    PQ_TRY(build_residual(&g, err));
    PQ_TRY(pq_graph_share(g, &shared, err));
    PQ_TRY(pq_graph_clone(g, &copy, err));
    PQ_TRY(pq_graph_check(copy, err));
    PQ_TRY(pq_graph_hash(copy, hash, err));
cleanup:
    pq_graph_free(&shared);
    pq_graph_free(&g);
    pq_graph_free(&copy);
    return st;
}

Test(graph, failed_allocations_leave_nothing_behind)
{
    expect_no_leak(build_clone_hash, NULL);
}

Test(graph, has_a_largest_size)
{
    pq_graph *g   = NULL;
    pq_err    err = {0};
    char      name[16], last[16] = "n0";

    cr_assert_eq(pq_graph_create(&g, NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(g, "n0", a_layer("input", 0, 0), 0, NULL, NULL), PQ_OK);
    for (int i = 1; i <= PQ_GRAPH_NODES; i++) {
        const char *input = last;
        pq_status   st;
        (void)snprintf(name, sizeof name, "n%d", i);
        st = pq_graph_add(g, name, a_layer("relu", 0, 0), 1, &input, &err);
        cr_assert_eq(st, i < PQ_GRAPH_NODES ? PQ_OK : PQ_ERR_FORMAT);
        memcpy(last, name, sizeof name);
    }
    cr_expect_str_eq(err.message, "more than 16384 layers: " PQ_GRAPH_NODES_WHY);
    pq_graph_free(&g);
}
