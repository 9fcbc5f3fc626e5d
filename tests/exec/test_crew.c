#include "draw_conv.h"

#include <string.h>

#include "exec/crew.h"

static pq_graph *two_layers(void)
{
    pq_rng    rng = pq_rng_stream(41, "test");
    pq_graph *g   = NULL;

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "[16]");
    add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(24, 16), true), "x");
    add_layer(g, "relu", make_layer("relu"), "fc");
    add_layer(g, "y", affine(&rng, make_layer("dense"), PQ_SHAPE(5, 24), true), "relu");
    OK(pq_graph_check(g, &err));
    return g;
}

Test(crew, any_number_of_threads_gives_the_values_of_one_plan)
{
    enum { N = 37 };
    const pq_plan_options options = {"float32", N};
    pq_graph             *g       = two_layers();
    pq_rng                rng     = pq_rng_stream(42, "test");
    float                 x[N * 16], out[N * 5], *due;
    const float          *in = x;

    fill_normal(&rng, 1.0, N * 16, x);
    due = run_graph(g, "float32", N, N, x);
    for (size_t threads = 1; threads <= 5; threads++) {
        pq_crew *crew = NULL;
        OK(pq_crew_create(g, &options, threads, &crew, &err));
        for (size_t run = 0; run < 200; run++) {
            const size_t n = 1 + run % N;
            memset(out, 0, sizeof out);
            OK(pq_crew_run(crew, n, &in, out, &err));
            cr_assert_eq(memcmp(out, due, n * 5 * sizeof *out), 0,
                         "%zu threads, %zu samples", threads, n);
        }
        cr_expect_eq(pq_plan_inputs(pq_crew_plan(crew)), 1);
        pq_crew_free(&crew);
        cr_expect_null(crew);
    }
    pq_free(due);
    pq_graph_free(&g);
}

/* A dense layer of many columns on a few rows. */
static pq_graph *wide_layer(pq_rng *rng, size_t in[3])
{
    pq_graph *g = NULL;
    char      shape[32];

    in[0] = in[1] = 1;
    in[2]         = 200 + pq_rng_below(rng, 200);
    OK(pq_graph_create(&g, &err));
    (void)snprintf(shape, sizeof shape, "[%zu]", in[2]);
    add_input(g, "x", shape);
    add_layer(g, "fc",
              affine(rng, make_layer("dense"),
                     PQ_SHAPE(700 + pq_rng_below(rng, 99), in[2]), true),
              "x");
    OK(pq_graph_check(g, &err));
    return g;
}

/* Multiplications of a sample in the layer behind the input. */
static size_t products(const pq_graph *g)
{
    const pq_tensor *kernel = pq_layer_weight(g->nodes[1].layer, "kernel")->value;
    size_t           items  = 0;

    cr_assert(pq_shape_count(&g->nodes[1].shape, &items));
    return items * (kernel->count / kernel->shape.dim[0]);
}

/* n samples by crews of more threads than that. */
static void share_layers(const pq_graph *g, const char *engine, const size_t in[3],
                         size_t n, size_t trial, pq_rng *rng)
{
    const pq_plan_options options = {engine, n};
    const size_t          count   = in[0] * in[1] * in[2];
    float                *x       = pq_calloc(n * count, sizeof *x), *due, *out;
    const float          *from    = x;
    size_t                width   = 0;

    cr_assert(pq_shape_count(&g->nodes[g->output].shape, &width));
    fill_normal(rng, 1.0, n * count, x);
    due = run_graph(g, engine, n, n, x);
    for (size_t threads = n + 1; threads <= 5; threads++) {
        pq_crew *crew = NULL;
        OK(pq_crew_create(g, &options, threads, &crew, &err));
        out = pq_calloc(n * width, sizeof *out);
        OK(pq_crew_run(crew, n, &from, out, &err));
        cr_expect_arr_eq(out, due, n * width * sizeof *out, "%s, trial %zu, %zu threads",
                         engine, trial, threads);
        pq_free(out);
        pq_crew_free(&crew);
    }
    pq_free(x);
    pq_free(due);
}

Test(crew, threads_that_share_a_layer_give_the_values_of_one_plan)
{
    static const char *const engines[] = {"float32", "bf16", "int8", "integer"};
    pq_rng                   rng       = pq_rng_stream(43, "test");
    size_t                   large[4]  = {0};

    for (size_t trial = 0; trial < 160; trial++) {
        const size_t e      = trial % 4;
        const bool   whole  = e >= 2;
        const size_t follow = trial / 4 & (whole ? WITH_RELU : WITH_ALL);
        size_t       in[3];
        pq_graph    *g =
            trial % 5 == 0 ? wide_layer(&rng, in) : draw_conv_graph(&rng, follow, in);
        if (whole) {
            put_on_bytes(g, &rng, trial);
        }
        OK(pq_graph_check(g, &err));
        large[e] += products(g) >= 1 << 17 ? 1 : 0;
        if (engine_runs(engines[e])) {
            share_layers(g, engines[e], in, 1 + trial / 4 % 2, trial, &rng);
        }
        pq_graph_free(&g);
    }
    for (size_t e = 0; e < 4; e++) {
        cr_expect_geq(large[e], 12, "layers of %s that are large enough", engines[e]);
    }
}

Test(crew, bad_requests_are_refused)
{
    const pq_plan_options options   = {"float32", 4};
    pq_graph             *g         = two_layers();
    pq_crew              *crew      = NULL;
    float                 x[16 * 9] = {0}, out[5 * 9];
    const float          *in        = x;
    pq_err                err       = {0};

    cr_expect_eq(pq_crew_create(g, &options, 0, &crew, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "0 threads are not at least 1");
    OK(pq_crew_create(g, &options, 2, &crew, &err));
    err = (pq_err){0};
    cr_expect_eq(pq_crew_run(crew, 9, &in, out, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "9 samples are not in 1..4");
    pq_crew_free(&crew);
    pq_graph_free(&g);
}

Test(crew, every_failed_allocation_leaves_nothing_behind)
{
    const pq_plan_options options = {"float32", 4};
    pq_graph             *g       = two_layers();
    const size_t          live    = pq_memory_live();
    size_t                fine    = 0;

    for (size_t n = 0; fine < 10; n++) {
        pq_crew  *crew = NULL;
        pq_status st;
        pq_memory_fail_after(n);
        st   = pq_crew_create(g, &options, 3, &crew, NULL);
        fine = st == PQ_OK ? fine + 1 : 0;
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        pq_crew_free(&crew);
        cr_assert_eq(pq_memory_live(), live, "after failure %zu", n);
    }
    pq_memory_fail_after(SIZE_MAX);
    pq_graph_free(&g);
}
