#include "lab/helpers.h"

#include "core/rng.h"
#include "lab/compress.h"
#include "lab/stopwatch.h"

/* A dense layer of n to n. */
static pq_graph *square(size_t n)
{
    pq_rng     rng = pq_rng_stream(1, "test");
    pq_graph  *g   = NULL;
    pq_layer  *in = NULL, *fc = NULL;
    pq_tensor *w = NULL;
    char       shape[32];

    snprintf(shape, sizeof shape, "[%zu]", n);
    cr_assert_eq(pq_graph_create(&g, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("input", &in, NULL), PQ_OK);
    cr_assert_eq(pq_layer_set(in, "shape", shape, NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(g, "in", in, 0, NULL, NULL), PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(n, n), &w, NULL), PQ_OK);
    for (size_t i = 0; i < w->count; i++) {
        pq_f32(w)[i] = (float)(pq_rng_normal(&rng) * 0.05);
    }
    cr_assert_eq(pq_layer_create("dense", &fc, NULL), PQ_OK);
    cr_assert_eq(pq_layer_add_weight(fc, "kernel", w, NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(g, "fc", fc, 1, (const char *[]){"in"}, NULL), PQ_OK);
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    return g;
}

Test(stopwatch, a_thousand_times_the_work_takes_longer)
{
    pq_stopwatch_options options   = {.batch = 4};
    const pq_stopwatch   watch     = pq_stopwatch_of(&options);
    pq_graph            *graphs[2] = {square(512), square(16)};
    double               s[2];

    cr_assert_eq(watch.time(watch.context, 2, (const pq_graph *const *)graphs, s, NULL),
                 PQ_OK);
    cr_expect_gt(s[1], 0.0);
    cr_expect_gt(s[0], 2.0 * s[1]);
    pq_graph_free(&graphs[0]);
    pq_graph_free(&graphs[1]);
}

Test(stopwatch, says_what_its_times_depend_on)
{
    pq_text text = {0};

    pq_stopwatch_describe(&(pq_stopwatch_options){.engine = "reference", .batch = 3},
                          &text);
    cr_expect_not_null(strstr(text.text, "engine reference, batch 3"), "%s", text.text);
    cr_expect_not_null(strstr(text.text, "\nhost "), "%s", text.text);
    pq_text_free(&text);
}

Test(stopwatch, an_engine_that_is_not_there_is_named)
{
    pq_stopwatch_options options = {.engine = "abacus"};
    const pq_stopwatch   watch   = pq_stopwatch_of(&options);
    pq_graph            *g       = square(4);
    pq_err               err     = {0};
    double               s;

    cr_expect_eq(watch.time(watch.context, 1, (const pq_graph *const *)&g, &s, &err),
                 PQ_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "abacus"), "%s", err.message);
    pq_graph_free(&g);
}

/* Rank 4 of 256 x 256 saves 97 % of the work, full rank doubles it: no clock is that bad.
 */
Test(stopwatch, stages_choose_by_it)
{
    static const char *const stages[] = {"svd:rank=4,run_as=auto",
                                         "svd:rank=256,run_as=auto"};
    pq_graph                *g        = square(256);

    for (size_t i = 0; i < 2; i++) {
        pq_compress_options options = {.batch = 32};
        pq_graph           *out     = NULL;
        cr_assert_eq(
            pq_compress_methods(&stages[i], 1, g, &options, NULL, NULL, &out, NULL),
            PQ_OK);
        cr_expect_eq(pq_graph_find(out, "fc.b") != SIZE_MAX, i == 0, "%s", stages[i]);
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}
