#include "random_nets.h"

#include <stdlib.h>
#include <string.h>

#include "exec/integer.h"

/* Values of all nodes, one after the other. */
typedef struct {
    const pq_graph *graph;
    size_t          n, room;
    float          *values;
} seen;

static void see(void *context, size_t node, size_t n, const float *values)
{
    seen  *s     = context;
    size_t count = 0;

    (void)pq_shape_count(&s->graph->nodes[node].shape, &count);
    cr_assert_leq(s->n + n * count, s->room);
    memcpy(s->values + s->n, values, n * count * sizeof *values);
    s->n += n * count;
}

/* All values of a run where every node shows, and the outputs of one where none does. */
static seen run_all(const pq_graph *graph, const char *engine, size_t n, const float *x)
{
    const pq_plan_options options = {engine, n};
    seen                  s       = {.graph = graph, .room = 1 << 15};
    pq_plan              *plan    = NULL;
    float                *out;

    s.values = pq_calloc(s.room, sizeof *s.values);
    OK(pq_plan_create(graph, &options, &plan, &err));
    pq_plan_observe(plan, see, &s);
    out = pq_calloc(1 << 12, sizeof *out);
    OK(pq_plan_run(plan, n, &x, out, &err));
    pq_plan_observe(plan, NULL, NULL);
    OK(pq_plan_run(plan, n, &x, out, &err));
    see(&s, graph->output, n, out);
    pq_free(out);
    pq_plan_free(&plan);
    return s;
}

static size_t whole_layers(const pq_graph *graph)
{
    size_t whole = 0;
    char   text[128];

    for (size_t i = 0; i < graph->n_nodes; i++) {
        OK(pq_integer_describe(graph, i, text, sizeof text, &err));
        whole += text[0] != '\0' && strncmp(text, "float", 5) != 0 ? 1 : 0;
    }
    return whole;
}

enum { SAMPLES = 3 };

static size_t check_net(uint64_t seed, bool dyadic)
{
    net    t = make_net(seed, dyadic);
    float  x[SAMPLES * 60];
    size_t whole = whole_layers(t.graph);
    seen   a, b;

    fill_normal(&t.rng, 1.5, sizeof x / sizeof *x, x);
    a = run_all(t.graph, "reference", SAMPLES, x);
    b = run_all(t.graph, "integer", SAMPLES, x);
    cr_assert_eq(a.n, b.n);
    for (size_t i = 0; i < a.n; i++) {
        cr_assert(memcmp(&a.values[i], &b.values[i], sizeof(float)) == 0 ||
                      (a.values[i] == 0.0f && b.values[i] == 0.0f),
                  "seed %llu: value %zu is %.9g in double, %.9g in integers",
                  (unsigned long long)seed, i, (double)a.values[i], (double)b.values[i]);
    }
    pq_free(a.values);
    if (dyadic) { /* kernels as plain float32: nothing but their own forward */
        for (size_t i = 0; i < t.graph->n_nodes; i++) {
            pq_layer *layer = t.graph->nodes[i].layer;
            for (size_t k = 0; k < layer->n_weights; k++) {
                pq_quant_free(&layer->weights[k].quant);
            }
        }
        a = run_all(t.graph, "reference", SAMPLES, x);
        for (size_t i = 0; i < a.n; i++) {
            cr_assert_eq(a.values[i], b.values[i], "seed %llu: value %zu",
                         (unsigned long long)seed, i);
        }
        pq_free(a.values);
    }
    pq_free(b.values);
    pq_graph_free(&t.graph);
    return whole;
}

/* That the nets have the kinds which few of them draw. */
static size_t drawn(const char *kind)
{
    size_t n = 0;

    for (uint64_t seed = 0; seed < 200; seed++) {
        net t = make_net(seed, false);
        for (size_t i = 0; i < t.graph->n_nodes; i++) {
            const pq_node *node = &t.graph->nodes[i];
            n += strcmp(node->layer->kind->name, kind) == 0 &&
                 (strcmp(kind, "dense") != 0 || node->shape.ndim == 2);
        }
        pq_graph_free(&t.graph);
    }
    return n;
}

static uint64_t cases(void)
{
    return getenv("PQ_LONG") != NULL ? 100000 : 1000;
}

/* Every value of every node, bit by bit, over random nets of all kinds, widths and
 * modes. */
Test(integer, equals_the_fake_quantized_path_bit_by_bit)
{
    size_t whole = 0;

    for (uint64_t seed = 0; seed < cases(); seed++) {
        whole += check_net(seed, false);
    }
    cr_expect_gt(whole, 2 * cases(), "%zu layers were in whole numbers", whole);
}

Test(integer, random_nets_have_rows_and_trains_of_cores)
{
    cr_expect_gt(drawn("reshape"), 20);
    cr_expect_gt(drawn("tt_dense"), 20);
    cr_expect_gt(drawn("dense"), 20, "on rows");
}

/* With power-of-two scales nothing rounds in double, so that the plain forward of the
   layers on float weights, ignorant of codes, must give the same bits too. */
Test(integer, equals_plain_layers_where_scales_are_powers_of_two)
{
    size_t whole = 0;

    for (uint64_t seed = 0; seed < cases() / 4; seed++) {
        whole += check_net(seed + 1000000, true);
    }
    cr_expect_gt(whole, cases() / 2);
}

static pq_graph *one_dense(float scale, float bias)
{
    pq_graph  *g     = NULL;
    pq_layer  *layer = make_layer("dense");
    pq_tensor *w = NULL, *b = NULL;

    OK(pq_graph_create(&g, &err));
    add_input(g, "in", "[2]");
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(1, 2), &w, &err));
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(1), &b, &err));
    pq_f32(w)[0] = 3.0f * scale;
    pq_f32(w)[1] = -2.0f * scale;
    pq_f32(b)[0] = bias;
    OK(pq_layer_add_weight(layer, "kernel", w, &err));
    OK(pq_layer_add_weight(layer, "bias", b, &err));
    OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, -1, 1, &layer->weights[0].quant,
                       &err));
    layer->weights[0].quant->scale[0] = scale;
    add_layer(g, "fc", layer, "in");
    OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, false, -1, 1, &g->nodes[0].quant,
                       &err));
    g->nodes[0].quant->scale[0]      = 0.5f;
    g->nodes[0].quant->zero_point[0] = 4;
    OK(pq_graph_check(g, &err));
    return g;
}

Test(integer, one_dense_by_hand)
{
    pq_graph   *g    = one_dense(0.25f, 0.3f);
    const float x[2] = {1.6f, -0.9f}; /* 3 and -2 steps of 0.5 */
    float      *y    = run_graph(g, "integer", 1, 1, x);
    char        text[64];

    /* 3 * 3 + 2 * 2 = 13, and 0.3 / 0.125 rounds to 2 */
    cr_expect_eq(y[0], 15.0f * 0.125f);
    OK(pq_integer_describe(g, 1, text, sizeof text, &err));
    cr_expect_str_eq(text, "int8 x int8 in int32");
    pq_free(y);
    pq_graph_free(&g);
}

/* 13 units of 0.125 and the bias, 0.3 as 2 units: every engine computes the model as it
 * is defined, also before a BatchNorm that it fuses, and of every number of events. */
Test(integer, every_engine_adds_the_bias_in_units_of_the_sums)
{
    static const char *const engines[] = {"reference", "integer", "float32", "int8",
                                          "bf16"};
    static const float       x[6]      = {1.6f, -0.9f, 1.6f, -0.9f, 1.6f, -0.9f};
    const size_t             n         = pq_bf16_find() != NULL ? 5 : 4;

    for (size_t i = 0; i < 4 * n; i++) {
        const size_t batch = i / n % 2 == 0 ? 1 : 3;
        const bool   norm  = i / n >= 2;
        pq_graph    *g     = one_dense(0.25f, 0.3f);
        float       *y;
        if (norm) {
            pq_rng rng = pq_rng_stream(1, "test");
            add_layer(g, "norm", norm_layer(&rng, 1), "fc");
            OK(pq_graph_check(g, &err));
            pq_layer *layer                                      = g->nodes[2].layer;
            pq_f32(pq_layer_weight(layer, "mean")->value)[0]     = 0.875f;
            pq_f32(pq_layer_weight(layer, "variance")->value)[0] = 1.0f;
            pq_f32(pq_layer_weight(layer, "gamma")->value)[0]    = 2.0f;
            pq_f32(pq_layer_weight(layer, "beta")->value)[0]     = 0.0f;
            OK(pq_layer_set(layer, "epsilon", "0", &err));
        }
        y = run_graph(g, engines[i % n], batch, batch, x);
        for (size_t k = 0; k < batch; k++) {
            cr_expect_eq(y[k], norm ? 2.0f : 1.875f, "%s, %zu events: %.9g",
                         engines[i % n], batch, (double)y[k]);
        }
        pq_free(y);
        pq_graph_free(&g);
    }
}

/* Weights that are all zero have any scale, 1 say: it must not round the bias away. */
Test(integer, a_channel_of_zeros_keeps_its_bias)
{
    static const char *const engines[] = {"reference", "integer", "blas", "onednn"};
    static const float       biases[]  = {0.2f, -0.3f, 7e-5f, 1e-30f, 1234.5f, 0.0f};
    const float              x[2]      = {1.6f, -0.9f};
    const size_t             n_biases  = sizeof biases / sizeof *biases;

    for (size_t i = 0; i < 4 * n_biases; i++) {
        pq_graph *g   = one_dense(1.0f, biases[i % n_biases]);
        float *kernel = pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value), *y;
        kernel[0] = kernel[1] = 0.0f;
        y                     = run_graph(g, engines[i / n_biases], 1, 1, x);
        cr_expect_eq(y[0], biases[i % n_biases], "%s: %g, not %g", engines[i / n_biases],
                     (double)y[0], (double)biases[i % n_biases]);
        pq_free(y);
        pq_graph_free(&g);
    }
}

/* The unit of the sums of one_dense(0.3) is 0.15. */
Test(integer, a_bias_with_a_grid_of_its_own_is_not_rounded)
{
    static const struct {
        float       scale, value;
        const char *text;
    } grids[] = {
        {0.15f, 0.45f, "int8 x int8 in int32"},
        {0.45000002f, 0.90000004f, "int8 x int8 in int32"}, /* 3 units, of float32 */
        {0.06f, 0.3f,
         "float: its bias has codes that are no multiples of the scales of "
         "its sums"},
        {0.2f, 0.4f,
         "float: its bias has codes that are no multiples of the scales of "
         "its sums"},
    };
    static const char *const engines[] = {"reference", "integer", "float32"};
    const float              x[2]      = {1.6f, -0.9f}; /* 3 and -2 steps of 0.5 */

    for (size_t i = 0; i < 3 * sizeof grids / sizeof *grids; i++) {
        const size_t k    = i / 3;
        pq_graph    *g    = one_dense(0.3f, grids[k].value);
        pq_weight   *bias = pq_layer_weight(g->nodes[1].layer, "bias");
        char         text[128];
        OK(pq_quant_create(PQ_QUANT_INTEGER, 16, true, false, -1, 1, &bias->quant, &err));
        bias->quant->scale[0] = grids[k].scale;
        float *y              = run_graph(g, engines[i % 3], 1, 1, x);
        cr_expect_float_eq(y[0], 13.0 * 0.15 + (double)grids[k].value, 1e-6,
                           "%s, scale %g: %g", engines[i % 3], (double)grids[k].scale,
                           (double)y[0]);
        OK(pq_integer_describe(g, 1, text, sizeof text, &err));
        cr_expect_str_eq(text, grids[k].text);
        pq_free(y);
        pq_graph_free(&g);
    }
}

Test(integer, what_cannot_be_whole_says_why)
{
    static const struct {
        float       scale, bias;
        const char *text;
    } cases_of[] = {
        {1e-30f, 1.0f,
         "float: its sums, with the bias in units of the scales, exceed 53 bits"},
        {1e-6f, 500.0f, "int8 x int8 in int32"},
        {1e-6f, 5000.0f, "int8 x int8 in int64"},
    };
    char text[128];

    for (size_t i = 0; i < sizeof cases_of / sizeof *cases_of; i++) {
        pq_graph *g = one_dense(cases_of[i].scale, cases_of[i].bias);
        OK(pq_integer_describe(g, 1, text, sizeof text, &err));
        cr_expect_str_eq(text, cases_of[i].text);
        if (i == 0) {
            const float x[2] = {0.5f, 0.5f};
            float      *y    = run_graph(g, "integer", 1, 1, x);
            cr_expect_eq(y[0], 1.0f, "computed in double");
            pq_free(y);
        }
        if (i == 1) {
            pq_quant_free(&g->nodes[0].quant);
            OK(pq_integer_describe(g, 1, text, sizeof text, &err));
            cr_expect_str_eq(text, "float: its input has no codes of one scale");
        }
        if (i == 2) {
            pq_quant_free(&g->nodes[1].layer->weights[0].quant);
            OK(pq_integer_describe(g, 1, text, sizeof text, &err));
            cr_expect_str_eq(text, "float: its kernel has no whole-number codes");
        }
        pq_graph_free(&g);
    }
}

Test(integer, every_failed_allocation_leaves_nothing_behind)
{
    const pq_plan_options options = {"integer", 2};

    for (uint64_t seed = 0; seed < 12; seed++) {
        net          t    = make_net(seed, false);
        const size_t live = pq_memory_live();
        pq_status    st   = PQ_ERR_NOMEM;
        for (size_t at = 0; st != PQ_OK; at++) {
            pq_plan *plan = NULL;
            pq_memory_fail_after(at);
            st = pq_plan_create(t.graph, &options, &plan, NULL);
            pq_memory_fail_after(SIZE_MAX);
            pq_plan_free(&plan);
            cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
            cr_assert_eq(pq_memory_live(), live, "seed %llu, allocation %zu",
                         (unsigned long long)seed, at);
        }
        pq_graph_free(&t.graph);
    }
}
