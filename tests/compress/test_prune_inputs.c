/* Inputs that no weight reads leave, with their names and their places in the scaler. */
#include "compress/prune_groups.h"
#include "graph/head.h"
#include "layers/channels.h"
#include "layers/common.h"
#include "nets.h"
#include "random_dags.h"

/* With or without an input whose weights are zero: only the order of sums differs. */
static const double tolerance = 1e-5;
enum { WIDTH = 16, MOST = 64, DAGS = 400 };

static const char *const sweep = "structured_prune:target_sparsity=0";

/* Names x0, x1, … and a scaler, of the last axis of the input. */
static void name_inputs(pq_graph *g)
{
    const size_t n = pq_channels_of(&g->nodes[0].shape);
    char         text[MOST][8];
    const char  *names[MOST];

    cr_assert_leq(n, MOST);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(text[i], sizeof text[i], "x%zu", i);
        names[i] = text[i];
    }
    OK(pq_graph_set_features(g, n, names, &err));
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n), &g->scaler_mean, &err));
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n), &g->scaler_std, &err));
    for (size_t i = 0; i < n; i++) {
        pq_f32(g->scaler_mean)[i] = (float)i;
        pq_f32(g->scaler_std)[i]  = 1.0F + (float)i;
    }
}

/* Zeroes what reads a channel of the input, directly or through what hands it on. */
static void forget(pq_graph *g, size_t channel)
{
    bool             *may    = pq_calloc(g->n_nodes, sizeof *may);
    pq_channel_groups groups = {0};

    OK(pq_channel_groups_find(g, may, &groups, &err));
    for (size_t i = 0; i < g->n_nodes; i++) {
        const pq_node *node = &g->nodes[i];
        for (size_t k = 0; pq_makes_channels(node) && k < node->layer->n_weights; k++) {
            const pq_weight *w = &node->layer->weights[k];
            if (node->layer->kind->role(w->name) != PQ_WEIGHT_KERNEL) {
                continue;
            }
            for (size_t at = 0; at < w->value->count; at++) {
                size_t in, out;
                node->layer->kind->channels->place(node->layer, w, at, &in, &out);
                if (groups.group[groups.first[node->inputs[0]] + in] ==
                    groups.group[channel]) {
                    pq_f32(w->value)[at] = 0.0F;
                }
            }
        }
    }
    pq_channel_groups_free(&groups);
    pq_free(may);
}

static const char *row_of(const pq_layer_change *changes, size_t n, const char *layer)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(changes[i].layer, layer) == 0) {
            return changes[i].what;
        }
    }
    return "no row";
}

/* Largest difference of outputs, of their largest value: the second graph gets of each
 * row the values it has names for. */
static double difference(const pq_graph *all, const pq_graph *part)
{
    const size_t rows = 3, n = pq_channels_of(&all->nodes[0].shape),
                 m  = pq_channels_of(&part->nodes[0].shape);
    const size_t in = pq_items(&all->nodes[0].shape), out = pq_graph_width(all);
    float *x = pq_calloc(rows * in, sizeof *x), *y = pq_calloc(rows * in, sizeof *y);
    float *p, *q, most = 1.0F;
    double d;
    pq_rng rng = pq_rng_stream(5, "events");

    fill_normal(&rng, 1.0, rows * in, x);
    for (size_t r = 0; r < rows * in / n; r++) {
        for (size_t i = 0; i < m; i++) {
            y[r * m + i] = x[r * n + (size_t)atoi(part->feature_names[i] + 1)];
        }
    }
    p = run_graph(all, "reference", rows, rows, x);
    q = run_graph(part, "reference", rows, rows, y);
    for (size_t i = 0; i < rows * out; i++) {
        most = fmaxf(most, fabsf(p[i]));
    }
    d = largest_difference(p, q, rows * out) / (double)most;
    pq_free(x);
    pq_free(y);
    pq_free(p);
    pq_free(q);
    return d;
}

Test(prune_inputs, leave_with_names_and_scaler)
{
    pq_graph        *g = net_mlp(1), *out;
    pq_layer_change *changes;
    size_t           n;

    name_inputs(g);
    forget(g, 2);
    forget(g, 11);
    out = net_apply(sweep, g, NULL, &changes, &n);
    cr_expect_str_eq(row_of(changes, n, "in"),
                     "2 of 16 inputs leave, no weight reads them: x2, x11");
    cr_expect_str_eq(row_of(changes, n, "fc1"), "64 of 64 outputs, 14 of 16 inputs kept");
    cr_assert_eq(out->n_features, 14);
    cr_expect_str_eq(out->feature_names[2], "x3");
    cr_expect_str_eq(out->feature_names[10], "x12");
    cr_expect_eq(out->scaler_mean->count, 14);
    cr_expect_eq(pq_f32(out->scaler_mean)[2], 3.0F);
    cr_expect_eq(pq_f32(out->scaler_std)[13], 16.0F);
    cr_expect_leq(difference(g, out), tolerance);
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* x5 is read by one neuron alone, which goes. */
Test(prune_inputs, leave_when_their_last_reader_goes)
{
    pq_graph *g = net_mlp(2), *out;
    float    *w = pq_f32(net_weight(g, "fc1", "kernel"));

    name_inputs(g);
    forget(g, 5);
    w[9 * WIDTH + 5] = 3.0F;
    out              = net_apply(sweep, g, NULL, NULL, NULL);
    cr_expect_eq(out->n_features, 16);
    pq_graph_free(&out);
    out = net_apply("structured_prune:channels=[9],layers=fc1", g, NULL, NULL, NULL);
    cr_expect_eq(out->n_features, 15);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

/* What was asked, what the input's row says, and how many inputs are left of 16. */
Test(prune_inputs, stay_where_they_must)
{
    static const struct {
        const char *stage;
        bool        named, all;
        const char *row;
        size_t      left;
    } cases[] = {
        {"structured_prune:target_sparsity=0,unread_inputs=keep", true, false, "no row",
         16},
        {"structured_prune:target_sparsity=0,form=mask", true, false, "no row", 16},
        {"structured_prune:target_sparsity=0", false, false,
         "1 of 16 inputs are read by no weight but stay: without names, events cannot be "
         "read for the rest",
         16},
        {"structured_prune:target_sparsity=0", true, true,
         "15 of 16 inputs leave, no weight reads them: x0, x1, x2, x3, x4, x5, x6, x7, "
         "x8, x9, x10, x11, x12, x13, x14",
         1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_graph        *g = net_mlp(3), *out;
        pq_layer_change *changes;
        size_t           n;
        if (cases[i].named) {
            name_inputs(g);
        }
        forget(g, 4);
        for (size_t c = 0; cases[i].all && c < WIDTH; c++) {
            forget(g, c);
        }
        out = net_apply(cases[i].stage, g, NULL, &changes, &n);
        cr_expect_str_eq(row_of(changes, n, "in"), cases[i].row);
        cr_expect_eq(pq_channels_of(&net_node(out, "in")->shape), cases[i].left);
        pq_free(changes);
        pq_graph_free(&out);
        pq_graph_free(&g);
    }
}

/* A model without names takes those of the events it is used on, by place. */
Test(prune_inputs, names_may_be_those_of_the_events)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h",
                                        "i", "j", "k", "l", "m", "n", "o", "p"};
    const pq_apply_options   with    = {.features = names, .n_features = 16};
    pq_graph                *g       = net_mlp(4), *out;

    out = net_apply(sweep, g, &with, NULL, NULL);
    cr_expect_null(out->feature_names, "nothing left: the model stays as it was");
    pq_graph_free(&out);
    forget(g, 1);
    out = net_apply(sweep, g, &with, NULL, NULL);
    cr_assert_eq(out->n_features, 15);
    cr_expect_str_eq(out->feature_names[1], "c");
    pq_graph_free(&out);
    pq_graph_free(&g);
}

static pq_graph *pruned(const pq_graph *g, const char *text)
{
    const pq_apply_options none    = {0};
    pq_stage               stage   = {0};
    pq_layer_change       *changes = NULL;
    pq_graph              *out     = NULL;
    size_t                 n;

    OK(pq_stage_parse(text, &stage, &err));
    (void)pq_stage_apply(&stage, g, &none, &out, &changes, &n, NULL);
    pq_stage_free(&stage);
    pq_free(changes);
    return out;
}

/* Some channels of the input of a random graph forgotten; whether some left. */
static bool leaves(uint64_t seed)
{
    net       t = make_dag(seed);
    pq_graph *kept, *out;
    bool      left = false;

    name_inputs(t.graph);
    for (size_t i = 0; i < t.graph->n_nodes; i++) { /* grids need not hold zeros */
        const pq_layer *layer = t.graph->nodes[i].layer;
        for (size_t k = 0; k < layer->n_weights; k++) {
            pq_quant_free(&layer->weights[k].quant);
        }
    }
    for (size_t c = 0; c < pq_channels_of(&t.graph->nodes[0].shape); c++) {
        if (chance(&t, 0.5)) {
            forget(t.graph, c);
        }
    }
    OK(pq_graph_check(t.graph, &err));
    out  = pruned(t.graph, "structured_prune:target_sparsity=0.3,scope=global");
    kept = pruned(t.graph, "structured_prune:target_sparsity=0.3,scope=global,form=mask");
    if (out != NULL) { /* else a layer would lose all */
        const double d = difference(kept, out);
        cr_expect_leq(d, tolerance, "seed %zu: %g", (size_t)seed, d);
        left = out->n_features < t.graph->n_features;
    }
    cr_expect_eq(out == NULL, kept == NULL);
    pq_graph_free(&kept);
    pq_graph_free(&out);
    pq_graph_free(&t.graph);
    return left;
}

Test(prune_inputs, random_graphs_compute_the_same_without_them)
{
    size_t left = 0;

    for (uint64_t seed = 1; seed <= DAGS; seed++) {
        left += leaves(seed) ? 1 : 0;
    }
    cr_expect_gt(left, DAGS / 8, "%zu", left);
}

Test(prune_inputs, survives_every_failed_allocation)
{
    pq_graph *g = net_mlp(6);

    name_inputs(g);
    forget(g, 3);
    net_survives(sweep, g, NULL);
    pq_graph_free(&g);
}
