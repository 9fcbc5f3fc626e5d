#include "models.h"

#include <string.h>

#include "core/threads.h"
#include "exec/engine.h"
#include "exec/onednn.h"
#include "formats/zoo.h"
#include "kernels/cpu.h"

/* float32 against double through about ten layers of outputs of size 1. */
static const double most_difference = 5e-5;

/* Residual network with everything that is fused or aliased: stride, shortcut, dropout,
 * flatten. */
static pq_graph *residual_net(void)
{
    static const char *const same[]  = {"padding=same", NULL};
    static const char *const twice[] = {"padding=same", "stride_h=2", "stride_w=2", NULL};
    pq_rng                   rng     = pq_rng_stream(11, "test");
    pq_graph                *g       = NULL;

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "[12, 12, 3]");
    add_layer(g, "stem",
              affine(&rng, make_layer_with("conv2d", same), PQ_SHAPE(16, 3, 3, 3), true),
              "x");
    add_layer(g, "stem_bn", norm_layer(&rng, 16), "stem");
    add_layer(g, "stem_relu", make_layer("relu"), "stem_bn");
    add_layer(
        g, "a",
        affine(&rng, make_layer_with("conv2d", twice), PQ_SHAPE(24, 3, 3, 16), false),
        "stem_relu");
    add_layer(g, "a_bn", norm_layer(&rng, 24), "a");
    add_layer(g, "a_clip", make_layer("clip"), "a_bn");
    add_layer(g, "b",
              affine(&rng, make_layer_with("conv2d", same), PQ_SHAPE(24, 3, 3, 24), true),
              "a_clip");
    add_layer(g, "b_bn", norm_layer(&rng, 24), "b");
    add_layer(
        g, "short",
        affine(&rng, make_layer_with("conv2d", twice), PQ_SHAPE(24, 1, 1, 16), true),
        "stem_relu");
    add_layer2(g, "sum", make_layer("add"), "b_bn", "short");
    add_layer(g, "sum_relu", make_layer("relu"), "sum");
    add_layer(g, "tanh", make_layer("tanh"), "sum_relu");
    add_layer2(g, "product", make_layer("multiply"), "tanh", "sum_relu");
    add_layer(g, "pool", make_layer("global_avg_pool"), "product");
    add_layer(g, "flat", make_layer("flatten"), "pool");
    add_layer(g, "drop", make_layer("dropout"), "flat");
    add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(5, 24), true), "drop");
    add_layer(g, "y", make_layer("softmax"), "fc");
    OK(pq_graph_check(g, &err));
    return g;
}

static float *normal_values(size_t n, uint64_t seed)
{
    pq_rng rng = pq_rng_stream(seed, "values");
    float *x   = pq_calloc(n, sizeof *x);

    fill_normal(&rng, 1.0, n, x);
    return x;
}

enum { NET_IN = 12 * 12 * 3, NET_OUT = 5, N = 70 };

Test(plan, blas_agrees_with_the_reference_on_a_residual_network)
{
    pq_graph *g   = residual_net();
    float    *x   = normal_values(N * NET_IN, 1);
    float    *due = run_graph(g, "reference", N, N, x),
          *out    = run_graph(g, "float32", N, N, x);

    cr_expect_lt(largest_difference(due, out, N * NET_OUT), most_difference);
    for (size_t i = 0; i < N; i++) {
        double sum = 0.0;
        for (size_t k = 0; k < NET_OUT; k++) {
            sum += (double)out[i * NET_OUT + k];
        }
        cr_expect_float_eq(sum, 1.0, 1e-5);
    }
    pq_free(x);
    pq_free(due);
    pq_free(out);
    pq_graph_free(&g);
}

Test(plan, outputs_do_not_depend_on_the_batch_in_either_engine)
{
    static const size_t batches[] = {1, 3, 7, 64};
    pq_graph           *g         = residual_net();
    float              *x         = normal_values(N * NET_IN, 2);

    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        if (!engine_runs(pq_engine_names[e])) {
            continue;
        }
        float *due = run_graph(g, pq_engine_names[e], N, N, x);
        for (size_t b = 0; b < sizeof batches / sizeof batches[0]; b++) {
            float *out = run_graph(g, pq_engine_names[e], batches[b], N, x);
            cr_expect_eq(memcmp(out, due, N * NET_OUT * sizeof *out), 0,
                         "%s at batch %zu differs", pq_engine_names[e], batches[b]);
            pq_free(out);
        }
        pq_free(due);
    }
    pq_free(x);
    pq_graph_free(&g);
}

typedef struct {
    const pq_graph *graph;
    size_t          next;
    float          *values[32]; /* copy of each node's output */
    size_t          n;
} witness;

static void look(void *context, size_t node, size_t n, const float *values)
{
    witness *w     = context;
    size_t   count = 0;

    cr_assert_eq(node, w->next++, "nodes are not shown in order");
    cr_assert_eq(n, w->n);
    cr_assert(pq_shape_count(&w->graph->nodes[node].shape, &count));
    w->values[node] = pq_calloc(n * count, sizeof *values);
    memcpy(w->values[node], values, n * count * sizeof *values);
}

/* Values of all nodes by one engine. */
static witness observe(const pq_graph *g, const char *engine, size_t n, const float *x,
                       float *out)
{
    const pq_plan_options options = {engine, n};
    witness               w       = {.graph = g, .n = n};
    pq_plan              *plan    = NULL;

    OK(pq_plan_create(g, &options, &plan, &err));
    pq_plan_observe(plan, look, &w);
    OK(pq_plan_run(plan, n, &x, out, &err));
    cr_expect_eq(w.next, g->n_nodes, "%zu nodes were shown", w.next);
    pq_plan_observe(plan, NULL, NULL);
    w.next = SIZE_MAX;
    OK(pq_plan_run(plan, n, &x, out, &err));
    cr_expect_eq(w.next, SIZE_MAX, "shown after it was cleared");
    pq_plan_free(&plan);
    return w;
}

Test(plan, the_observer_sees_every_node_in_order_with_its_value)
{
    pq_graph *g = residual_net();
    float    *x = normal_values(6 * NET_IN, 3), a[6 * NET_OUT], b[6 * NET_OUT];
    witness due = observe(g, "reference", 6, x, a), out = observe(g, "float32", 6, x, b);

    cr_expect_eq(memcmp(due.values[0], x, 6 * NET_IN * sizeof *x), 0);
    cr_expect_eq(memcmp(due.values[g->output], a, sizeof a), 0);
    for (size_t i = 0; i < g->n_nodes; i++) {
        size_t count = 0;
        cr_assert(pq_shape_count(&g->nodes[i].shape, &count));
        const double d = largest_difference(due.values[i], out.values[i], 6 * count);
        cr_expect(d < most_difference, "node '%s' is off by %g", g->nodes[i].name, d);
        pq_free(due.values[i]);
        pq_free(out.values[i]);
    }
    pq_free(x);
    pq_graph_free(&g);
}

static void set_quant(pq_graph *g, const char *name, int axis, size_t n, float scale,
                      int32_t zero)
{
    pq_quant *q = NULL;

    OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, false, axis, n, &q, &err));
    for (size_t i = 0; i < n; i++) {
        q->scale[i]      = scale * (1.0f + 0.25f * (float)i);
        q->zero_point[i] = zero;
    }
    g->nodes[pq_graph_find(g, name)].quant = q;
}

Test(plan, quantizers_of_nodes_put_their_values_on_the_grid)
{
    pq_graph *g    = residual_net();
    pq_plan  *plan = NULL;
    float    *x    = normal_values(4 * NET_IN, 4), out[4 * NET_OUT];

    set_quant(g, "x", PQ_QUANT_PER_TENSOR, 1, 0.03f, 5);
    set_quant(g, "stem", PQ_QUANT_PER_TENSOR, 1, 0.02f, -3);
    set_quant(g, "a_bn", 2, 24, 0.01f, 0);
    set_quant(g, "flat", PQ_QUANT_PER_TENSOR, 1, 0.05f, 0);
    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        if (strcmp(pq_engine_names[e], "generated") ==
            0) { /* refuses kernels of floats */
            cr_expect_eq(
                pq_plan_create(g, &(pq_plan_options){"generated", 4}, &plan, NULL),
                PQ_ERR_UNSUPPORTED);
            continue;
        }
        if (!engine_runs(pq_engine_names[e])) {
            continue;
        }
        witness w = observe(g, pq_engine_names[e], 4, x, out);
        for (size_t i = 0; i < g->n_nodes; i++) {
            const pq_quant *q     = g->nodes[i].quant;
            size_t          count = 0;
            cr_assert(pq_shape_count(&g->nodes[i].shape, &count));
            for (size_t k = 0; q != NULL && k < 4 * count; k++) {
                const size_t s = pq_quant_index(q, &g->nodes[i].shape, k % count);
                cr_assert_eq(w.values[i][k], pq_quant_round(q, s, w.values[i][k]),
                             "%s: item %zu of '%s' is not on the grid",
                             pq_engine_names[e], k, g->nodes[i].name);
            }
            pq_free(w.values[i]);
        }
    }
    pq_free(x);
    pq_graph_free(&g);
}

Test(plan, a_quantizer_between_convolution_and_norm_is_not_skipped)
{
    pq_graph *g = residual_net();
    float    *x = normal_values(N * NET_IN, 5), *plain = run_graph(g, "float32", N, N, x),
          *due, *out;

    set_quant(g, "stem", PQ_QUANT_PER_TENSOR, 1, 0.5f, 0);
    set_quant(g, "sum", PQ_QUANT_PER_TENSOR, 1, 0.5f, 0);
    due = run_graph(g, "reference", N, N, x);
    out = run_graph(g, "float32", N, N, x);
    cr_expect_gt(largest_difference(plain, due, N * NET_OUT), 1e-3);
    /* A value near the middle between two grid points may fall on either side. */
    cr_expect_lt(largest_difference(due, out, N * NET_OUT), 0.03);
    pq_free(x);
    pq_free(plain);
    pq_free(due);
    pq_free(out);
    pq_graph_free(&g);
}

typedef struct {
    pq_plan *plans[3];
    float   *x, *out;
} shared_work;

static pq_status run_piece(void *context, size_t piece, size_t thread, pq_err *err)
{
    shared_work *w  = context;
    const float *in = w->x + piece * NET_IN;

    return pq_plan_run(w->plans[thread], 1, &in, w->out + piece * NET_OUT, err);
}

Test(plan, forks_run_at_the_same_time_and_agree)
{
    const pq_plan_options options = {NULL, 1};
    pq_graph             *g       = residual_net();
    shared_work           w       = {.x   = normal_values(N * NET_IN, 6),
                                     .out = pq_calloc(N * NET_OUT, sizeof(float))};
    float                *due     = run_graph(g, "float32", 1, N, w.x);

    OK(pq_plan_create(g, &options, &w.plans[0], &err));
    OK(pq_plan_fork(w.plans[0], &w.plans[1], &err));
    OK(pq_plan_fork(w.plans[0], &w.plans[2], &err));
    cr_expect_eq(pq_plan_weight_bytes(w.plans[1]), pq_plan_weight_bytes(w.plans[0]));
    pq_graph_free(&g); /* plans hold a copy */
    OK(pq_threads_run(3, N, run_piece, &w, &err));
    cr_expect_eq(memcmp(due, w.out, N * NET_OUT * sizeof *due), 0);
    for (size_t i = 3; i-- > 0;) {
        pq_plan_free(&w.plans[i]);
    }
    pq_free(w.x);
    pq_free(w.out);
    pq_free(due);
}

Test(plan, memory_is_less_than_all_activations_together)
{
    const pq_plan_options options = {"float32", 1};
    pq_graph             *g       = residual_net();
    pq_plan              *plan    = NULL;
    size_t                all = 0, count = 0;

    for (size_t i = 0; i < g->n_nodes; i++) {
        cr_assert(pq_shape_count(&g->nodes[i].shape, &count));
        all += count * sizeof(float);
    }
    OK(pq_plan_create(g, &options, &plan, &err));
    cr_expect_gt(pq_plan_activation_bytes(plan), 0);
    cr_expect_lt(pq_plan_activation_bytes(plan), all);
    cr_expect_gt(pq_plan_weight_bytes(plan), 24 * 24 * 9 * sizeof(float));
    pq_plan_free(&plan);
    pq_graph_free(&g);
}

Test(plan, an_output_that_is_an_input_is_copied)
{
    pq_graph *g = NULL;
    float    *x = normal_values(3 * 6, 7), *out;

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "[2, 3]");
    add_layer(g, "y", make_layer("flatten"), "x");
    OK(pq_graph_check(g, &err));
    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        if (!engine_runs(pq_engine_names[e])) {
            continue;
        }
        out = run_graph(g, pq_engine_names[e], 3, 3, x);
        cr_expect_eq(memcmp(x, out, 18 * sizeof *x), 0, "%s", pq_engine_names[e]);
        pq_free(out);
    }
    pq_free(x);
    pq_graph_free(&g);
}

Test(plan, several_inputs_come_in_the_order_of_their_nodes_and_unread_layers_are_left_out)
{
    const pq_plan_options options = {"float32", 2};
    pq_rng                rng     = pq_rng_stream(8, "test");
    pq_graph             *g       = NULL;
    pq_plan              *plan    = NULL;
    const float           a[2]    = {1.0f, 2.0f};
    const float           b[2]    = {10.0f, 20.0f};
    const float *const    in[2]   = {a, b};
    float                 out[2]  = {0};

    OK(pq_graph_create(&g, &err));
    add_input(g, "a", "[1]");
    add_input(g, "b", "[1]");
    add_layer(g, "unread", affine(&rng, make_layer("dense"), PQ_SHAPE(7, 1), true), "a");
    add_layer2(g, "twice_a", make_layer("add"), "a", "a");
    add_layer2(g, "y", make_layer("add"), "twice_a", "b");
    OK(pq_graph_check(g, &err));
    OK(pq_plan_create(g, &options, &plan, &err));
    cr_expect_eq(pq_plan_inputs(plan), 2);
    cr_expect_eq(pq_plan_weight_bytes(plan), 0);
    OK(pq_plan_run(plan, 2, in, out, &err));
    cr_expect_eq(out[0], 12.0f);
    cr_expect_eq(out[1], 24.0f);
    pq_plan_free(&plan);
    pq_graph_free(&g);
}

Test(plan, a_value_with_two_readers_is_not_fused_away)
{
    pq_rng    rng = pq_rng_stream(9, "test");
    pq_graph *g   = NULL;
    float    *x   = normal_values(8 * 10, 9), *due, *out;

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "[10]");
    add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(10, 10), true), "x");
    add_layer(g, "relu", make_layer("relu"), "fc");
    add_layer2(g, "sum", make_layer("add"), "fc", "relu");
    add_layer(g, "fc2", affine(&rng, make_layer("dense"), PQ_SHAPE(10, 10), true), "sum");
    add_layer2(g, "self", make_layer("add"), "fc2", "fc2");
    OK(pq_graph_check(g, &err));
    due = run_graph(g, "reference", 8, 8, x);
    out = run_graph(g, "float32", 8, 8, x);
    cr_expect_lt(largest_difference(due, out, 80), most_difference);
    pq_free(x);
    pq_free(due);
    pq_free(out);
    pq_graph_free(&g);
}

Test(plan, an_engine_of_an_older_name_is_todays)
{
    static const struct {
        const char *name, *today;
    } names[] = {{"blas", "float32"}, {"onednn", "int8"}, {"integer", "integer"}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const pq_engine *engine = NULL;
        OK(pq_engine_find(names[i].name, &engine, NULL));
        cr_expect_str_eq(engine->name, names[i].today);
    }
}

Test(plan, an_engine_tells_what_its_numbers_depend_on_and_no_more)
{
    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        const bool whole = strcmp(pq_engine_names[e], "reference") == 0 ||
                           strcmp(pq_engine_names[e], "integer") == 0;
        const bool dnnl = strcmp(pq_engine_names[e], "int8") == 0 && *pq_onednn_isa();
        pq_text    text = {0};
        pq_engine_describe(pq_engine_names[e], &text);
        cr_expect_eq(text.text == NULL, whole, "%s", pq_engine_names[e]);
        cr_expect(whole || strstr(text.text, pq_isa_name(pq_cpu_isa())) != NULL, "%s",
                  pq_engine_names[e]);
        cr_expect_eq(!whole && strstr(text.text, "oneDNN") != NULL, dnnl, "%s",
                     pq_engine_names[e]);
        pq_text_free(&text);
    }
}

Test(plan, bad_requests_are_refused)
{
    pq_graph       *g       = residual_net();
    pq_plan        *plan    = NULL;
    pq_plan_options options = {"flaot32", 4};
    const float    *in[1]   = {NULL};
    pq_err          err     = {0};

    cr_expect_eq(pq_plan_create(g, &options, &plan, &err), PQ_ERR_UNSUPPORTED);
    cr_expect_eq(strncmp(err.message,
                         "unknown engine 'flaot32'; this build has reference, float32, "
                         "bf16, int8, integer",
                         strlen("unknown engine 'flaot32'; this build has reference, "
                                "float32, bf16, int8, integer")),
                 0);
    cr_expect_str_eq(err.hint, "did you mean 'float32'?");
    err     = (pq_err){0};
    options = (pq_plan_options){"float32", 0};
    cr_expect_eq(pq_plan_create(g, &options, &plan, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "batch 0 is not at least 1");
    err     = (pq_err){0};
    options = (pq_plan_options){"float32", SIZE_MAX / 2};
    cr_expect_eq(pq_plan_create(g, &options, &plan, &err), PQ_ERR_RANGE);
    cr_expect_null(plan);
    options = (pq_plan_options){"float32", 4};
    OK(pq_plan_create(g, &options, &plan, &err));
    err = (pq_err){0};
    cr_expect_eq(pq_plan_run(plan, 5, in, NULL, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "5 samples are not in 1..4");
    pq_plan_free(&plan);
    pq_graph_free(&g);
}

Test(plan, a_graph_that_does_not_fit_together_is_refused_with_the_layer)
{
    const pq_plan_options options = {"float32", 1};
    pq_rng                rng     = pq_rng_stream(10, "test");
    pq_graph             *g       = NULL;
    pq_plan              *plan    = NULL;
    pq_err                err     = {0};

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "[15]");
    add_layer(g, "fc1", affine(&rng, make_layer("dense"), PQ_SHAPE(8, 16), true), "x");
    cr_expect_eq(pq_plan_create(g, &options, &plan, &err), PQ_ERR_SHAPE);
    cr_expect(strstr(err.message, "'fc1'") != NULL, "%s", err.message);
    cr_expect_null(plan);
    pq_graph_free(&g);
}

Test(plan, every_failed_allocation_leaves_nothing_behind)
{
    pq_graph    *g    = residual_net();
    float       *x    = normal_values(2 * NET_IN, 12), out[2 * NET_OUT];
    const size_t live = pq_memory_live();

    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        if (!engine_runs(pq_engine_names[e])) {
            continue;
        }
        const pq_plan_options options = {pq_engine_names[e], 2};
        pq_status             st      = PQ_OK;
        size_t                n = 0, fine = 0, failed = 0;
        /* A list made for a message may fail unseen: only many successes in a row are the
         * end. */
        for (; fine < 20; n++) {
            pq_plan     *plan = NULL, *fork = NULL;
            const float *in = x;
            witness      w  = {.graph = g, .n = 2};
            pq_memory_fail_after(n);
            st = pq_plan_create(g, &options, &plan, NULL);
            st = st == PQ_OK ? pq_plan_fork(plan, &fork, NULL) : st;
            if (st == PQ_OK) {
                pq_memory_fail_after(SIZE_MAX);
                pq_plan_observe(fork, look, &w);
                OK(pq_plan_run(fork, 2, &in, out, &err));
                for (size_t i = 0; i < g->n_nodes; i++) {
                    pq_free(w.values[i]);
                }
            }
            cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
            fine = st == PQ_OK ? fine + 1 : 0;
            failed += st == PQ_OK ? 0 : 1;
            pq_plan_free(&fork);
            pq_plan_free(&plan);
            cr_assert_eq(pq_memory_live(), live, "after failure %zu", n);
        }
        cr_expect(failed > 50, "only %zu failed", failed);
    }
    pq_memory_fail_after(SIZE_MAX);
    pq_free(x);
    pq_graph_free(&g);
}

/* 40 tracks of 8 values, the last one the mask: some there, some not. */
Test(plan, a_deep_sets_tagger_sees_neither_the_order_of_tracks_nor_padding)
{
    enum { TRACKS = 40, WIDTH = 8, JETS = 5 };
    pq_graph *g     = NULL;
    float    *x     = normal_values(JETS * TRACKS * WIDTH, 9), *plain, *turned;
    float    *other = pq_calloc(JETS * TRACKS * WIDTH, sizeof *other);

    OK(pq_zoo_build("dips", 1, &g, &err));
    cr_expect_eq(pq_graph_macs(g), 40 * (7 * 100 + 100 * 100 + 100 * 128) + 128 * 100 +
                                       100 * 100 + 100 * 4);
    for (size_t r = 0; r < JETS * TRACKS; r++) {
        const size_t to          = r / TRACKS * TRACKS + (r % TRACKS * 7 + 3) % TRACKS;
        const bool   is          = r % TRACKS < 9 * (r / TRACKS); /* 0, 9, 18, … */
        x[r * WIDTH + WIDTH - 1] = is ? 1.0f : 0.0f;
        memcpy(other + to * WIDTH, x + r * WIDTH, WIDTH * sizeof *x);
        for (size_t k = 0; !is && k + 1 < WIDTH; k++) {
            other[to * WIDTH + k] = -99.0f;
        }
    }
    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        if (!engine_runs(pq_engine_names[e])) {
            continue;
        }
        plain  = run_graph(g, pq_engine_names[e], JETS, JETS, x);
        turned = run_graph(g, pq_engine_names[e], JETS, JETS, other);
        cr_expect_lt(largest_difference(plain, turned, JETS * 4), most_difference, "%s",
                     pq_engine_names[e]);
        pq_free(plain);
        pq_free(turned);
    }
    pq_free(x);
    pq_free(other);
    pq_graph_free(&g);
}

/* More than 64 MB: dense -> batch_norm -> relu -> dense. */
static pq_graph *large_net(size_t side)
{
    pq_rng    rng = pq_rng_stream(12, "large");
    pq_graph *g   = NULL;
    char      shape[32];

    (void)snprintf(shape, sizeof shape, "[%zu]", side);
    OK(pq_graph_create(&g, &err));
    add_input(g, "x", shape);
    add_layer(g, "fc1", affine(&rng, make_layer("dense"), PQ_SHAPE(side, side), true),
              "x");
    add_layer(g, "bn", norm_layer(&rng, side), "fc1");
    add_layer(g, "act", make_layer("relu"), "bn");
    add_layer(g, "fc2", affine(&rng, make_layer("dense"), PQ_SHAPE(side, side), true),
              "act");
    OK(pq_graph_check(g, &err));
    return g;
}

Test(plan, a_lean_one_gives_the_same_bits_in_a_tenth_of_the_weights_memory)
{
    enum { SIDE = 3000, SAMPLES = 9 };
    const pq_plan_options options = {.engine = "float32", .batch = SAMPLES};
    const size_t          weights = (size_t)2 * SIDE * SIDE * sizeof(float);
    pq_graph             *g       = large_net(SIDE);
    float                *x       = normal_values(SAMPLES * SIDE, 8), *due, *out;
    pq_plan              *plan    = NULL;
    size_t                before;

    due    = run_graph(g, "float32", SAMPLES, SAMPLES, x);
    out    = pq_calloc(SAMPLES * SIDE, sizeof *out);
    before = pq_memory_bytes();
    pq_memory_peak_start();
    OK(pq_plan_create_lean(g, &options, &plan, &err));
    OK(pq_plan_run(plan, SAMPLES, (const float *const[]){x}, out, &err));
    cr_expect_lt(pq_memory_peak() - before, weights / 10,
                 "%zu bytes beside the weights' %zu", pq_memory_peak() - before, weights);
    cr_expect_eq(memcmp(out, due, SAMPLES * SIDE * sizeof *out), 0);
    pq_plan_free(&plan);
    cr_expect_eq(pq_memory_bytes(), before);
    pq_free(x);
    pq_free(due);
    pq_free(out);
    pq_graph_free(&g);
}
