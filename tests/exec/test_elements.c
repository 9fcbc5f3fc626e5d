#include "models.h"

#include <string.h>

#include "kernels/kernels.h"

/* Values are of size 10 at most; exponentials are good to 2 ulp. */
static const double most_difference = 4e-6;

enum { SAMPLES = 16 };

typedef struct {
    const char *kind;
    const char *input; /* shape */
    const char *attributes[6];
} kind_case;

static const kind_case cases[] = {
    {"relu", "[3, 5, 7]", {NULL}},
    {"clip", "[41]", {NULL}},
    {"clip", "[41]", {"lo=-0.5", "hi=0.25", NULL}},
    {"leaky_relu", "[41]", {"slope=0.3", NULL}},
    {"scale", "[41]", {"factor=-1.75", NULL}},
    {"elu", "[41]", {"alpha=1.5", NULL}},
    {"sigmoid", "[41]", {NULL}},
    {"tanh", "[41]", {NULL}},
    {"softmax", "[41]", {NULL}},
    {"softmax", "[6, 5]", {NULL}},
    {"softmax", "[7, 1]", {NULL}},
    {"gelu", "[41]", {NULL}},
    {"gelu", "[41]", {"form=tanh", NULL}},
    {"max_pool", "[8, 6, 5]", {NULL}},
    {"max_pool",
     "[7, 9, 4]",
     {"kernel_h=3", "kernel_w=2", "stride_h=2", "stride_w=1", "padding=same", NULL}},
    {"avg_pool", "[8, 6, 5]", {NULL}},
    {"avg_pool",
     "[7, 9, 17]",
     {"kernel_h=3", "kernel_w=3", "stride_h=2", "stride_w=2", "padding=same", NULL}},
    {"avg_pool",
     "[7, 9, 3]",
     {"kernel_h=3", "kernel_w=3", "padding=explicit", "pad_top=1", "pad_right=2", NULL}},
    {"avg_pool",
     "[7, 9, 3]",
     {"kernel_h=3", "kernel_w=3", "padding=same", "count_padding=true", "stride_h=1",
      NULL}},
    {"global_avg_pool", "[8, 6, 5]", {NULL}},
    {"global_max_pool", "[8, 6, 5]", {NULL}},
    {"global_avg_pool", "[12, 5]", {NULL}},
    {"slice", "[12, 5]", {"from=1", "to=4", NULL}},
    {"slice", "[17]", {"from=16", NULL}},
};

static pq_graph *one_layer(const char *shape, pq_layer *layer)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", shape);
    add_layer(g, "y", layer, "x");
    OK(pq_graph_check(g, &err));
    return g;
}

static size_t count_of(const pq_graph *g, size_t node)
{
    size_t count = 0;

    cr_assert(pq_shape_count(&g->nodes[node].shape, &count));
    return count;
}

/* Compares the engines on normal values of several sizes; takes the graph. */
static void compare_engines(pq_graph *g, pq_rng *rng, const char *what)
{
    const size_t n = SAMPLES * count_of(g, 0), m = SAMPLES * count_of(g, g->output);
    float       *x    = pq_calloc(n, sizeof *x), *due, *out;
    double       most = 0.0;

    fill_normal(rng, 3.0, n, x);
    due  = run_graph(g, "reference", SAMPLES, SAMPLES, x);
    out  = run_graph(g, "float32", SAMPLES, SAMPLES, x);
    most = largest_difference(due, out, m);
    cr_expect(most <= most_difference, "%s: off by %g", what, most);
    pq_free(x);
    pq_free(due);
    pq_free(out);
    pq_graph_free(&g);
}

Test(elements, every_kind_agrees_with_its_own_forward_in_double)
{
    pq_rng rng = pq_rng_stream(21, "test");

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        compare_engines(one_layer(cases[i].input,
                                  make_layer_with(cases[i].kind, cases[i].attributes)),
                        &rng, cases[i].kind);
    }
    compare_engines(one_layer("[3, 4, 6]", norm_layer(&rng, 6)), &rng, "batch_norm");
}

Test(elements, sums_and_products_of_three_inputs)
{
    static const char *const kinds[] = {"add", "multiply"};
    pq_rng                   rng     = pq_rng_stream(22, "test");

    for (size_t i = 0; i < 2; i++) {
        const char *from[3] = {"x", "tanh", "relu"};
        pq_graph   *g       = NULL;
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", "[19]");
        add_layer(g, "tanh", make_layer("tanh"), "x");
        add_layer(g, "relu", make_layer("relu"), "x");
        OK(pq_graph_add(g, "y", make_layer(kinds[i]), 3, from, &err));
        OK(pq_graph_check(g, &err));
        compare_engines(g, &rng, kinds[i]);
    }
}

Test(elements, pooling_over_masked_rows_agrees_in_every_engine)
{
    static const char *const modes[] = {"mode=mean", "mode=sum", "mode=max"};
    static const char *const mask[] = {"from=5", NULL}, *const part[] = {"to=5", NULL};
    pq_rng rng = pq_rng_stream(23, "test");

    for (size_t i = 0; i < 3; i++) {
        const char *attributes[] = {modes[i], NULL};
        pq_graph   *g            = NULL;
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", "[3, 6]");
        add_layer(g, "mask", make_layer_with("slice", mask), "x");
        add_layer(g, "part", make_layer_with("slice", part), "x");
        add_layer2(g, "y", make_layer_with("masked_pool", attributes), "part", "mask");
        OK(pq_graph_check(g, &err));
        compare_engines(g, &rng, modes[i]);
    }
}

/* The value a kind gives for one number. */
static float value_by(const char *engine, const char *kind, float x)
{
    pq_graph *g = one_layer("[1]", make_layer(kind));
    float    *y = run_graph(g, engine, 1, 1, &x), value = y[0];

    pq_free(y);
    pq_graph_free(&g);
    return value;
}

static float value_at(const char *kind, float x)
{
    return value_by("float32", kind, x);
}

Test(elements, extreme_values_saturate)
{
    cr_expect_eq(value_at("sigmoid", 1000.0f), 1.0f);
    cr_expect_lt(value_at("sigmoid", -1000.0f), 1e-37f);
    cr_expect_geq(value_at("sigmoid", -1000.0f), 0.0f);
    cr_expect_eq(value_at("tanh", 1000.0f), 1.0f);
    cr_expect_eq(value_at("tanh", -1000.0f), -1.0f);
    cr_expect_eq(value_at("tanh", 0.0f), 0.0f);
    cr_expect_eq(value_at("elu", -1000.0f), -1.0f);
    cr_expect_eq(value_at("elu", 1000.0f), 1000.0f);
    cr_expect_eq(value_at("softmax", 1e30f), 1.0f);
    cr_expect_eq(value_at("relu", (float)INFINITY), (float)INFINITY);
}

static const char *const engines[] = {"reference", "float32", "integer", "bf16", "int8"};
enum { N_ENGINES = sizeof engines / sizeof *engines };

Test(elements, a_nan_is_not_hidden)
{
    static const char *const kinds[] = {"sigmoid",    "tanh", "softmax", "elu",
                                        "leaky_relu", "clip", "relu",    "gelu"};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        for (size_t e = 0; e < N_ENGINES; e++) {
            cr_expect(!engine_runs(engines[e]) ||
                          isnan(value_by(engines[e], kinds[i], (float)NAN)),
                      "%s, %s", kinds[i], engines[e]);
        }
    }
}

/* [3, 3, 2] into a pool over all of it; or, with a mask in front of each pair, [9, 3]. */
static pq_graph *pool_of_nine(const char *kind, const char *mode)
{
    static const char *const mask[] = {"to=1", NULL}, *const part[] = {"from=1", NULL};
    const char *attributes[] = {mode, "kernel_w=3", NULL};
    pq_graph   *g            = NULL;

    if (strcmp(kind, "masked_pool") != 0) {
        return one_layer("[3, 3, 2]",
                         make_layer_with(kind, mode != NULL ? attributes : NULL));
    }
    attributes[1] = NULL;
    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "[9, 3]");
    add_layer(g, "mask", make_layer_with("slice", mask), "x");
    add_layer(g, "part", make_layer_with("slice", part), "x");
    add_layer2(g, "y", make_layer_with(kind, attributes), "part", "mask");
    OK(pq_graph_check(g, &err));
    return g;
}

Test(elements, a_nan_under_a_pool_is_not_hidden_wherever_it_stands)
{
    static const char *const pools[][2] = {
        {"max_pool", "kernel_h=3"},  {"avg_pool", "kernel_h=3"},
        {"global_max_pool", NULL},   {"global_avg_pool", NULL},
        {"masked_pool", "mode=max"}, {"masked_pool", "mode=sum"},
        {"masked_pool", "mode=mean"}};

    for (size_t i = 0; i < 9 * N_ENGINES * sizeof pools / sizeof *pools; i++) {
        const char *const *pool   = pools[i / 9 / N_ENGINES],
                          *engine = engines[i / 9 % N_ENGINES];
        pq_graph    *g            = pool_of_nine(pool[0], pool[1]);
        const size_t n            = count_of(g, 0) / 9;
        float        x[27], *y;
        for (size_t k = 0; k < 9 * n; k++) {
            x[k] = (float)(1 + k);
        }
        x[i % 9 * n + n - 2] = NAN;
        if (engine_runs(engine)) {
            y = run_graph(g, engine, 1, 1, x);
            cr_expect(isnan(y[0]) && isfinite(y[1]),
                      "%s, %s: %g, %g of a NaN in cell %zu", pool[0], engine,
                      (double)y[0], (double)y[1], i % 9);
            pq_free(y);
        }
        pq_graph_free(&g);
    }
}

Test(elements,
     exponentials_of_every_instruction_set_are_good_to_three_units_in_the_last_place)
{
    static const pq_isa isas[] = {PQ_ISA_PORTABLE, PQ_ISA_AVX2, PQ_ISA_AVX512};
    enum { N = 100003 };
    static float x[N], y[N], wide[N];

    for (size_t k = 0; k < sizeof isas / sizeof isas[0]; k++) {
        const pq_kernels *kernels = pq_kernels_find(isas[k]);
        if (kernels == NULL) {
            continue;
        }
        for (size_t i = 0; i < N; i++) {
            x[i] = -87.0f + 174.0f * (float)i / (float)N;
        }
        memcpy(y, x, sizeof y);
        kernels->exponentials(N, y);
        for (size_t i = 0; i < N; i++) {
            const double due = exp((double)x[i]);
            cr_assert(fabs((double)y[i] - due) <= 3.0 * 6e-8 * due,
                      "%s: exp(%g) = %g, not %g", pq_isa_name(isas[k]), (double)x[i],
                      (double)y[i], due);
        }
        if (isas[k] == PQ_ISA_AVX512) {
            cr_expect_eq(memcmp(y, wide, sizeof y), 0, "AVX-512 differs from AVX2");
        }
        memcpy(wide, y, sizeof y);
    }
}
