#include "models.h"

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
