#include "build.h"

#include "core/rng.h"

Test(surgery, a_chain_takes_the_place_of_a_node_and_readers_follow)
{
    pq_graph                *g        = residual();
    const size_t             fc       = pq_graph_find(g, "fc");
    pq_layer                *layers[] = {a_layer("dense", 2, 4), a_layer("relu", 0, 0),
                                         a_layer("dense", 3, 2)};
    static const char *const names[]  = {"fc_v", "fc_mid"};

    cr_assert_eq(pq_quant_create(PQ_QUANT_FLOAT16, 16, true, false, -1, 0,
                                 &g->nodes[fc].quant, NULL),
                 PQ_OK);
    cr_assert_eq(pq_graph_replace(g, fc, 3, names, layers, NULL), PQ_OK);
    cr_expect_eq(g->n_nodes, 10);
    expect_reads(g, "fc_v", "mean", NULL);
    expect_reads(g, "fc_mid", "fc_v", NULL);
    expect_reads(g, "fc", "fc_mid", NULL);
    expect_reads(g, "out", "fc", NULL);
    cr_expect_str_eq(g->nodes[g->output].name, "out");
    cr_expect_null(g->nodes[pq_graph_find(g, "fc_v")].quant);
    cr_expect_not_null(g->nodes[pq_graph_find(g, "fc")].quant);
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    pq_graph_free(&g);
}

Test(surgery, replacing_inside_a_residual_keeps_both_branches)
{
    pq_graph                *g        = residual();
    pq_layer                *layers[] = {a_layer("relu", 0, 0), a_layer("tanh", 0, 0)};
    static const char *const names[]  = {"before"};

    cr_assert_eq(pq_graph_replace(g, pq_graph_find(g, "relu1"), 2, names, layers, NULL),
                 PQ_OK);
    expect_reads(g, "before", "conv1", NULL);
    expect_reads(g, "relu1", "before", NULL);
    expect_reads(g, "conv2", "relu1", NULL);
    expect_reads(g, "sum", "relu1", "conv2");
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    pq_graph_free(&g);
}

Test(surgery, one_layer_may_replace_the_output)
{
    pq_graph *g     = residual();
    pq_layer *layer = a_layer("sigmoid", 0, 0);

    cr_assert_eq(pq_graph_replace(g, g->output, 1, NULL, &layer, NULL), PQ_OK);
    cr_expect_eq(g->n_nodes, 8);
    cr_expect_str_eq(g->nodes[g->output].name, "out");
    cr_expect_str_eq(g->nodes[g->output].layer->kind->name, "sigmoid");
    pq_graph_free(&g);
}

Test(surgery, a_chain_may_replace_the_output)
{
    pq_graph                *g        = residual();
    pq_layer                *layers[] = {a_layer("tanh", 0, 0), a_layer("sigmoid", 0, 0)};
    static const char *const names[]  = {"squash"};

    cr_assert_eq(pq_graph_replace(g, g->output, 2, names, layers, NULL), PQ_OK);
    cr_expect_str_eq(g->nodes[g->output].name, "out");
    expect_reads(g, "out", "squash", NULL);
    pq_graph_free(&g);
}

Test(surgery, a_chain_that_does_not_fit_is_refused_and_nothing_changes)
{
    static const char *const taken[] = {"conv1", "x"}, *const same[] = {"x", "x"};
    pq_graph    *g      = residual();
    const size_t before = pq_memory_live(), fc = pq_graph_find(g, "fc");
    pq_err       err = {0};
    char         a[65], b[65];

    pq_graph_hash(g, a, NULL);
    for (int i = 0; i < 2; i++) {
        pq_layer *layers[] = {a_layer("relu", 0, 0), a_layer("relu", 0, 0),
                              a_layer("relu", 0, 0)};
        err                = (pq_err){0};
        cr_expect_eq(pq_graph_replace(g, fc, 3, i == 0 ? taken : same, layers, &err),
                     PQ_ERR_FORMAT);
        cr_expect_str_eq(err.message, i == 0 ? "two layers have the name 'conv1'"
                                             : "two layers have the name 'x'");
    }
    pq_layer *layers[] = {a_layer("relu", 0, 0), a_layer("add", 0, 0)};
    err                = (pq_err){0};
    cr_expect_eq(pq_graph_replace(g, fc, 2, same, layers, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "layer 'fc': add takes 2..8 inputs, not 1");
    pq_graph_hash(g, b, NULL);
    cr_expect_str_eq(a, b);
    cr_expect_eq(pq_memory_live(), before);
    pq_graph_free(&g);
}

static pq_status replace_once(void *context, pq_err *err)
{
    static const char *const names[]   = {"a", "b"};
    pq_graph                *g         = NULL;
    pq_layer                *layers[3] = {0};
    pq_status                st;

    (void)context;
    PQ_TRY(build_residual(&g, err));
    for (size_t i = 0; i < 3; i++) {
        PQ_TRY(pq_layer_create("relu", &layers[i], err));
    }
    st = pq_graph_replace(g, 2, 3, names, layers, err);
    memset(layers, 0, sizeof layers); /* taken, also on failure */
cleanup:
    for (size_t i = 0; i < 3; i++) {
        pq_layer_free(&layers[i]);
    }
    pq_graph_free(&g);
    return st;
}

Test(surgery, failed_allocations_leave_nothing_behind)
{
    expect_no_leak(replace_once, NULL);
}

Test(surgery, a_bypassed_node_is_gone_and_its_readers_read_its_input)
{
    pq_graph *g = residual();

    cr_assert_eq(pq_graph_bypass(g, pq_graph_find(g, "relu1"), NULL), PQ_OK);
    cr_expect_eq(g->n_nodes, 7);
    expect_reads(g, "conv2", "conv1", NULL);
    expect_reads(g, "sum", "conv1", "conv2");
    expect_reads(g, "mean", "sum", NULL);
    cr_expect_str_eq(g->nodes[g->output].name, "out");
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    cr_assert_eq(pq_graph_bypass(g, g->output, NULL), PQ_OK);
    cr_expect_str_eq(g->nodes[g->output].name, "fc");
    pq_graph_free(&g);
}

Test(surgery, only_nodes_with_one_input_can_be_bypassed)
{
    pq_graph *g   = residual();
    pq_err    err = {0};

    cr_expect_eq(pq_graph_bypass(g, pq_graph_find(g, "sum"), &err), PQ_ERR_SHAPE);
    cr_expect_str_eq(err.message, "layer 'sum' has 2 inputs and cannot be bypassed");
    cr_expect_eq(pq_graph_bypass(g, 0, NULL), PQ_ERR_SHAPE);
    pq_graph_free(&g);
}

/* A relu and a sum with `node` behind it, as pq_graph_insert takes them. */
static pq_status branch(size_t node, const char *name, pq_node fresh[2], pq_err *err)
{
    pq_status st;

    PQ_STRDUP(fresh[0].name, name);
    PQ_STRDUP(fresh[1].name, "joined");
    PQ_TRY(pq_layer_create("relu", &fresh[0].layer, err));
    PQ_TRY(pq_layer_create("add", &fresh[1].layer, err));
    fresh[0].n_inputs  = 1;
    fresh[0].inputs[0] = node;
    fresh[1].n_inputs  = 2;
    fresh[1].inputs[0] = node;
    fresh[1].inputs[1] = node + 1;
cleanup:
    return st;
}

Test(surgery, an_inserted_branch_takes_over_the_readers_and_the_quantizer)
{
    pq_graph    *g        = residual();
    const size_t relu1    = pq_graph_find(g, "relu1");
    pq_node      fresh[2] = {0};

    cr_assert_eq(pq_quant_create(PQ_QUANT_FLOAT16, 16, true, false, -1, 0,
                                 &g->nodes[relu1].quant, NULL),
                 PQ_OK);
    cr_assert_eq(branch(relu1, "side", fresh, NULL), PQ_OK);
    cr_assert_eq(pq_graph_insert(g, relu1, 2, fresh, NULL), PQ_OK);
    cr_expect_eq(g->n_nodes, 10);
    expect_reads(g, "side", "relu1", NULL);
    expect_reads(g, "joined", "relu1", "side");
    expect_reads(g, "conv2", "joined", NULL);
    expect_reads(g, "sum", "joined", "conv2");
    expect_reads(g, "mean", "sum", NULL);
    cr_expect_null(g->nodes[relu1].quant);
    cr_expect_not_null(g->nodes[pq_graph_find(g, "joined")].quant);
    cr_expect_str_eq(g->nodes[g->output].name, "out");
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    pq_graph_free(&g);
}

Test(surgery, a_branch_behind_the_output_ends_in_the_output)
{
    pq_graph *g        = residual();
    pq_node   fresh[2] = {0};

    cr_assert_eq(branch(g->output, "side", fresh, NULL), PQ_OK);
    cr_assert_eq(pq_graph_insert(g, g->output, 2, fresh, NULL), PQ_OK);
    cr_expect_str_eq(g->nodes[g->output].name, "joined");
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    pq_graph_free(&g);
}

Test(surgery, a_branch_with_a_name_in_use_is_refused)
{
    pq_graph    *g        = residual();
    const size_t before   = pq_memory_live();
    pq_node      fresh[2] = {0};
    pq_err       err      = {0};

    cr_assert_eq(branch(2, "conv1", fresh, NULL), PQ_OK);
    cr_expect_eq(pq_graph_insert(g, 2, 2, fresh, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "two layers have the name 'conv1'");
    cr_assert_eq(branch(2, "joined", fresh, NULL), PQ_OK);
    err = (pq_err){0};
    cr_expect_eq(pq_graph_insert(g, 2, 2, fresh, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "two layers have the name 'joined'");
    cr_expect_eq(g->n_nodes, 8);
    cr_expect_eq(pq_memory_live(), before);
    pq_graph_free(&g);
}

static pq_status insert_once(void *context, pq_err *err)
{
    pq_graph *g        = NULL;
    pq_node   fresh[2] = {0};
    pq_status st;

    (void)context;
    PQ_TRY(build_residual(&g, err));
    PQ_TRY(branch(2, "side", fresh, err));
    st = pq_graph_insert(g, 2, 2, fresh, err);
    memset(fresh, 0, sizeof fresh); /* taken, also on failure */
cleanup:
    pq_node_free(&fresh[0]);
    pq_node_free(&fresh[1]);
    pq_graph_free(&g);
    return st;
}

Test(surgery, inserting_survives_failed_allocations)
{
    expect_no_leak(insert_once, NULL);
}

static void expect_names(const pq_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        cr_assert_eq(pq_graph_find(g, g->nodes[i].name), i, "%s", g->nodes[i].name);
    }
    cr_assert_eq(g->names.n, g->n_nodes);
}

/* Whatever is replaced, put in, taken out or copied, a name finds its node. */
Test(surgery, names_are_found_where_their_nodes_went)
{
    pq_graph *g = residual(), *copy = NULL;
    pq_rng    rng  = pq_rng_stream(2, "surgery");
    int       last = 0;

    for (int step = 0; step < 400; step++) {
        const size_t node = 1 + pq_rng_below(&rng, g->n_nodes - 1);
        char         a[16], b[16];
        const char  *names[] = {a, b};
        (void)snprintf(a, sizeof a, "s%d", last++);
        (void)snprintf(b, sizeof b, "s%d", last++);
        if (g->nodes[node].n_inputs == 1 && pq_rng_uniform(&rng) < 0.4) {
            char *gone = pq_strdup(g->nodes[node].name);
            cr_assert_eq(pq_graph_bypass(g, node, NULL), PQ_OK);
            cr_assert_eq(pq_graph_find(g, gone), SIZE_MAX);
            pq_free(gone);
        } else if (g->nodes[node].n_inputs == 1 && pq_rng_uniform(&rng) < 0.5) {
            pq_layer *layers[] = {a_layer("relu", 0, 0), a_layer("tanh", 0, 0),
                                  a_layer("relu", 0, 0)};
            cr_assert_eq(pq_graph_replace(g, node, 3, names, layers, NULL), PQ_OK);
        } else {
            pq_node fresh[2] = {{.n_inputs = 1, .inputs = {node}},
                                {.n_inputs = 1, .inputs = {node + 1}}};
            for (size_t i = 0; i < 2; i++) {
                fresh[i].name  = pq_strdup(names[i]);
                fresh[i].layer = a_layer("relu", 0, 0);
            }
            cr_assert_eq(pq_graph_insert(g, node, 2, fresh, NULL), PQ_OK);
        }
        expect_names(g);
        if (g->n_nodes < 4 || step % 50 == 49) {
            cr_assert_eq(pq_graph_clone(g, &copy, NULL), PQ_OK);
            pq_graph_free(&g);
            g    = copy;
            copy = NULL;
            pq_graph_drop_unread(g);
            expect_names(g);
            pq_graph_free(&g);
            g = residual();
        }
    }
    pq_graph_free(&g);
}
