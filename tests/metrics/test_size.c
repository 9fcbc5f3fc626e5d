#include <criterion/criterion.h>
#include <math.h>

#include "events.h"

static pq_graph *graph;

/* input 4 -> dense 3 with bias, one kernel weight zero -> batch_norm */
static void setup(void)
{
    pq_layer  *layer = NULL;
    pq_tensor *t     = NULL;

    cr_assert_eq(pq_graph_create(&graph, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("input", &layer, NULL), PQ_OK);
    cr_assert_eq(pq_layer_set(layer, "shape", "4", NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(graph, "in", layer, 0, NULL, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("dense", &layer, NULL), PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(3, 4), &t, NULL), PQ_OK);
    for (size_t i = 1; i < 12; i++) {
        pq_f32(t)[i] = 1.0f;
    }
    cr_assert_eq(pq_layer_add_weight(layer, "kernel", t, NULL), PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(3), &t, NULL), PQ_OK);
    cr_assert_eq(pq_layer_add_weight(layer, "bias", t, NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(graph, "fc", layer, 1, (const char *[]){"in"}, NULL),
                 PQ_OK);
    cr_assert_eq(pq_layer_create("batch_norm", &layer, NULL), PQ_OK);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(3), &t, NULL), PQ_OK);
        cr_assert_eq(
            pq_layer_add_weight(
                layer, (const char *[]){"gamma", "beta", "mean", "variance"}[i], t, NULL),
            PQ_OK);
    }
    cr_assert_eq(pq_graph_add(graph, "bn", layer, 1, (const char *[]){"fc"}, NULL),
                 PQ_OK);
    cr_assert_eq(pq_graph_check(graph, NULL), PQ_OK);
}

static void teardown(void)
{
    pq_graph_free(&graph);
}

static pq_values run(const char *metric, const void *params)
{
    const pq_evaluation e      = {.graph = graph, .file_bytes = 1234};
    pq_values           values = {0};

    cr_assert_eq(pq_metric_find(metric)->compute(&e, params, &values, NULL), PQ_OK);
    return values;
}

Test(size, counts_follow_the_rule, .init = setup, .fini = teardown)
{
    static const struct {
        const char *biases, *norms, *statistics;
        double      parameters, nonzero;
    } rules[] = {
        {"false", "false", "false", 12, 11},
        {"true", "false", "false", 15, 11},
        {"true", "true", "false", 21, 11},
        {"true", "true", "true", 27, 11},
    };
    const pq_metric *m = pq_metric_find("size");

    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        char      params[64] = {0};
        pq_values values;

        cr_assert_eq(pq_params_default(m->params, params, NULL), PQ_OK);
        cr_assert_eq(pq_params_set(m->params, params, "biases", rules[i].biases, NULL),
                     PQ_OK);
        cr_assert_eq(pq_params_set(m->params, params, "norms", rules[i].norms, NULL),
                     PQ_OK);
        cr_assert_eq(
            pq_params_set(m->params, params, "statistics", rules[i].statistics, NULL),
            PQ_OK);
        values = run("size", params);
        cr_expect_eq(value_of(&values, "parameters")->value, rules[i].parameters);
        cr_expect_eq(value_of(&values, "nonzero")->value, rules[i].nonzero);
        pq_values_free(&values);
    }
}

Test(size, defaults_count_biases_and_norms_and_all_stored_bytes, .init = setup,
     .fini = teardown)
{
    pq_values values = run("size", NULL);

    cr_expect_eq(value_of(&values, "parameters")->value, 21.0);
    cr_expect_eq(value_of(&values, "stored_bytes")->value, 27.0 * 4.0);
    cr_expect_eq(value_of(&values, "file_bytes")->value, 1234.0);
    cr_expect_str_eq(value_of(&values, "file_bytes")->unit, "byte");
    pq_values_free(&values);
}

Test(size, macs_are_those_of_the_dense_layer, .init = setup, .fini = teardown)
{
    pq_values values = run("macs", NULL);

    cr_expect_eq(value_of(&values, "macs")->value, (double)pq_graph_macs(graph));
    cr_expect_geq(value_of(&values, "macs")->value, 12.0);
    pq_values_free(&values);
}

Test(size, needs_the_model)
{
    const pq_evaluation e      = {0};
    pq_values           values = {0};
    pq_err              err    = {0};

    cr_expect_eq(pq_metric_find("size")->compute(&e, NULL, &values, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "metric 'size' needs the model, not only its outputs");
}

/* 11 products of 32 x 32 bits, and 12 (32 + 32 + log2 4); then with widths of 6 and 5. */
Test(size, bit_operations_of_a_dense_layer_by_hand, .init = setup, .fini = teardown)
{
    pq_weight *w      = pq_layer_weight(graph->nodes[1].layer, "kernel");
    pq_values  values = run("bops", NULL);

    cr_expect_eq(values.items[0].value, 11 * 32 * 32 + 12 * (32 + 32 + 2));
    pq_values_free(&values);
    values = run("ebops", NULL);
    cr_expect_eq(values.items[0].value, 11 * 32 * 32, "a bias of zeros has no bits");
    pq_values_free(&values);
    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 6, true, true, -1, 1, &w->quant, NULL),
                 PQ_OK);
    w->quant->scale[0] = 0.5f;
    cr_assert_eq(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND, -1, 1,
                                       &graph->nodes[0].quant, NULL),
                 PQ_OK);
    cr_assert_eq(pq_quant_set_fixed(graph->nodes[0].quant, 0, 2, 2, NULL), PQ_OK);
    pq_f32(pq_layer_weight(graph->nodes[1].layer, "bias")->value)[1] = 0.5f;
    values                                                           = run("bops", NULL);
    cr_expect_eq(values.items[0].value, 11 * 6 * 5 + 12 * (6 + 5 + 2));
    pq_values_free(&values);
    values = run("ebops", NULL);
    cr_expect_eq(values.items[0].value, 11 * 6 * 5 + 4, "0.5 is 4 steps of 1/4 x 1/2");
    pq_values_free(&values);
}

/* What asks for a window under an item asks the kind. */
Test(size, kinds_with_windows_say_so)
{
    static const char *const windows[] = {"max_pool", "avg_pool", NULL};

    for (size_t i = 0; pq_layer_kinds[i] != NULL; i++) {
        const pq_layer_kind *kind = pq_layer_kinds[i];
        bool                 due  = false;
        for (size_t w = 0; windows[w] != NULL; w++) {
            due = due || strcmp(kind->name, windows[w]) == 0;
        }
        cr_expect_eq((kind->traits & PQ_TRAIT_WINDOW) != 0, due, "%s", kind->name);
    }
}

/* Eleven of 4 x 3 weights are not zero, so that four products and a bias meet in one sum:
 * ceil(log2(5)) adders behind a multiplier. A kernel or an input without codes has no
 * estimate. */
Test(size, estimates_for_a_circuit_by_hand, .init = setup, .fini = teardown)
{
    pq_weight *w      = pq_layer_weight(graph->nodes[1].layer, "kernel");
    pq_values  values = run("fpga", NULL), ebops;

    cr_expect_eq(values.n, 0);
    pq_values_free(&values);
    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 6, true, true, -1, 1, &w->quant, NULL),
                 PQ_OK);
    w->quant->scale[0] = 0.5f;
    values             = run("fpga", NULL);
    cr_expect_eq(values.n, 0);
    pq_values_free(&values);
    cr_assert_eq(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND, -1, 1,
                                       &graph->nodes[0].quant, NULL),
                 PQ_OK);
    cr_assert_eq(pq_quant_set_fixed(graph->nodes[0].quant, 0, 2, 2, NULL), PQ_OK);
    values = run("fpga", NULL);
    ebops  = run("ebops", NULL);
    cr_expect_eq(value_of(&values, "fpga.estimated_luts")->value, ebops.items[0].value);
    const size_t row  = w->value->count / w->value->shape.dim[0];
    double       most = 0.0;
    for (size_t r = 0; r < w->value->shape.dim[0]; r++) {
        double terms = pq_layer_weight(graph->nodes[1].layer, "bias") != NULL ? 1.0 : 0.0;
        for (size_t i = 0; i < row; i++) {
            terms += pq_f32(w->value)[r * row + i] != 0.0f ? 1.0 : 0.0;
        }
        most = terms > most ? terms : most;
    }
    cr_expect_eq(value_of(&values, "fpga.estimated_levels")->value,
                 1.0 + ceil(log2(most)));
    cr_expect_eq(most, 5.0, "%g", most);
    pq_values_free(&values);
    pq_values_free(&ebops);
}

static void add(pq_graph *g, const char *name, const char *kind, const char *const *keys,
                size_t n_inputs, const char *const *inputs)
{
    pq_layer *layer = NULL;

    cr_assert_eq(pq_layer_create(kind, &layer, NULL), PQ_OK);
    for (; keys != NULL && keys[0] != NULL; keys += 2) {
        cr_assert_eq(pq_layer_set(layer, keys[0], keys[1], NULL), PQ_OK);
    }
    cr_assert_eq(pq_graph_add(g, name, layer, n_inputs, inputs, NULL), PQ_OK);
}

/* Means and maxima are trees of what is under their windows; what moves is a wire. */
Test(size, pools_have_levels_and_a_concat_has_none)
{
    static const char *const shape[] = {"shape", "[6, 6, 2]", NULL};
    static const char *const three[] = {"kernel_h", "3", "kernel_w", "3", NULL};
    static const double      due[]   = {0.0, 4.0, 4.0, 4.0, 6.0, 7.0}; /* to each node */

    cr_assert_eq(pq_graph_create(&graph, NULL), PQ_OK);
    add(graph, "in", "input", shape, 0, NULL);
    add(graph, "max", "max_pool", three, 1, (const char *[]){"in"});
    add(graph, "avg", "avg_pool", three, 1, (const char *[]){"in"});
    add(graph, "both", "concat", NULL, 2, (const char *[]){"max", "avg"});
    add(graph, "mean", "global_avg_pool", NULL, 1, (const char *[]){"both"});
    add(graph, "sum", "add", NULL, 2, (const char *[]){"mean", "mean"});
    cr_assert_eq(pq_graph_check(graph, NULL), PQ_OK);
    for (graph->output = 0; graph->output < graph->n_nodes; graph->output++) {
        pq_values values = run("fpga", NULL);
        cr_expect_eq(value_of(&values, "fpga.estimated_levels")->value,
                     due[graph->output], "%s", graph->nodes[graph->output].name);
        pq_values_free(&values);
    }
    pq_graph_free(&graph);
}

/* With scales 1/8 and 1/4 a bias of 0.5 is 16 steps: 5 bits and a sign. */
Test(size, a_bias_has_the_bits_it_has_in_whole_numbers, .init = setup, .fini = teardown)
{
    pq_weight *w    = pq_layer_weight(graph->nodes[1].layer, "kernel");
    float     *bias = pq_f32(pq_layer_weight(graph->nodes[1].layer, "bias")->value);
    pq_values  values;

    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 6, true, true, 0, 3, &w->quant, NULL),
                 PQ_OK);
    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 5, true, false, -1, 1,
                                 &graph->nodes[0].quant, NULL),
                 PQ_OK);
    graph->nodes[0].quant->scale[0] = 0.25f;
    w->quant->scale[0] = w->quant->scale[1] = 0.125f;
    w->quant->scale[2]                      = 1.0f;
    bias[1]                                 = 0.5f;
    bias[2]                                 = -0.1f; /* 0.4 steps: 0 */
    values                                  = run("ebops", NULL);
    cr_expect_eq(values.items[0].value, 11 * 6 * 5 + 6);
    pq_values_free(&values);
    pq_quant_free(&graph->nodes[0].quant);
    values = run("ebops", NULL);
    cr_expect_eq(values.items[0].value, 11 * 6 * 32 + 64, "no whole numbers");
    pq_values_free(&values);
}

/* A graph of one layer of cores, all of ones, on 3 rows of 6. */
static void build_cores(const char *kind, const pq_shape *shapes, size_t n)
{
    pq_layer  *layer = NULL;
    pq_tensor *t     = NULL;

    cr_assert_eq(pq_graph_create(&graph, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("input", &layer, NULL), PQ_OK);
    cr_assert_eq(pq_layer_set(layer, "shape", "3, 6", NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(graph, "in", layer, 0, NULL, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create(kind, &layer, NULL), PQ_OK);
    for (size_t k = 0; k < n; k++) {
        char name[16];
        (void)snprintf(name, sizeof name, "core%zu", k + 1);
        cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, shapes[k], &t, NULL), PQ_OK);
        for (size_t i = 0; i < t->count; i++) {
            pq_f32(t)[i] = 1.0f;
        }
        cr_assert_eq(pq_layer_add_weight(layer, name, t, NULL), PQ_OK);
    }
    cr_assert_eq(pq_graph_add(graph, "cores", layer, 1, (const char *[]){"in"}, NULL),
                 PQ_OK);
    cr_assert_eq(pq_graph_check(graph, NULL), PQ_OK);
}

/* 6 to 4 by a ring of rank 2 on 3 rows: every core is used twice a row, the one between
   by each of the two trains. */
Test(size, rings_count_the_cores_between_for_every_train)
{
    const pq_shape shapes[] = {PQ_SHAPE(2, 2, 3, 2), PQ_SHAPE(2, 1, 2, 3),
                               PQ_SHAPE(3, 2, 1, 2)};
    pq_values      values;

    build_cores("ring_dense", shapes, 3);
    values = run("macs", NULL);
    cr_expect_eq(values.items[0].value, 3 * (2 * 24 + 2 * 2 * 12 + 2 * 12));
    pq_values_free(&values);
    values = run("bops", NULL);
    cr_expect_float_eq(values.items[0].value,
                       3 * (2 * 24 * (1088.0 + log2(6.0)) +
                            4 * 12 * (1088.0 + log2(4.0)) +
                            2 * 12 * (1088.0 + log2(3.0))),
                       1e-6);
    pq_values_free(&values);
    pq_graph_free(&graph);
}

/* 6 to 4 by cores [1, 2, 3, 2] and [2, 2, 2, 1], on 3 rows: core 1 is used 2 times a row,
   core 2 as often. */
Test(size, cores_count_each_on_its_own)
{
    const pq_shape shapes[] = {PQ_SHAPE(1, 2, 3, 2), PQ_SHAPE(2, 2, 2, 1)};
    pq_values      values;

    build_cores("tt_dense", shapes, 2);
    values = run("macs", NULL);
    cr_expect_eq(values.items[0].value, 3 * (2 * 12 + 2 * 8));
    pq_values_free(&values);
    values = run("bops", NULL);
    cr_expect_float_eq(
        values.items[0].value,
        3 * (2 * 12 * (1024.0 + 64.0 + log2(3.0)) + 2 * 8 * (1024.0 + 64.0 + log2(4.0))),
        1e-6);
    pq_values_free(&values);
    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 5, true, false, -1, 1,
                                 &graph->nodes[0].quant, NULL),
                 PQ_OK);
    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 6, true, false, -1, 1,
                                 &graph->nodes[1].layer->weights[1].quant, NULL),
                 PQ_OK);
    values = run("ebops", NULL);
    cr_expect_eq(values.items[0].value, 12 * 32 * 5 + 8 * 6 * 32);
    pq_values_free(&values);
    pq_graph_free(&graph);
}
