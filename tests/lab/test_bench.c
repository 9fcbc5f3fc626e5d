#include "lab/helpers.h"

#include "core/rng.h"
#include "lab/bench.h"
#include "lab/calibrate.h"

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

Test(bench, a_thousand_times_the_work_takes_longer)
{
    pq_compress_options options   = {.batch = 4};
    pq_graph           *graphs[2] = {square(512), square(16)};
    pq_bench            bench;
    double              s[2];

    cr_assert_eq(pq_bench_of(&options, &bench, NULL), PQ_OK);
    cr_expect_eq(bench.events, 0);
    cr_assert_eq(bench.time(bench.context, 2, (const pq_graph *const *)graphs, s, NULL),
                 PQ_OK);
    cr_expect_gt(s[1], 0.0);
    cr_expect_gt(s[0], 2.0 * s[1]);
    pq_graph_free(&graphs[0]);
    pq_graph_free(&graphs[1]);
}

Test(bench, says_what_its_times_depend_on)
{
    pq_text text = {0};

    pq_bench_describe("reference", 3, &text);
    cr_expect_not_null(strstr(text.text, "engine reference, batch 3"), "%s", text.text);
    cr_expect_not_null(strstr(text.text, "\nhost "), "%s", text.text);
    pq_text_free(&text);
}

Test(bench, an_engine_that_is_not_there_is_named)
{
    pq_compress_options options = {.engine = "abacus"};
    pq_graph           *g       = square(4);
    pq_err              err     = {0};
    pq_bench            bench;
    double              s;

    cr_assert_eq(pq_bench_of(&options, &bench, NULL), PQ_OK);
    cr_expect_eq(bench.time(bench.context, 1, (const pq_graph *const *)&g, &s, &err),
                 PQ_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "abacus"), "%s", err.message);
    pq_graph_free(&g);
}

/* Rank 4 of 256 x 256 saves 97 % of the work, full rank doubles it: no clock is that bad.
 */
Test(bench, stages_choose_by_it)
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

static const size_t order[] = {2, 0, 1};

/* What a run showed. */
typedef struct {
    size_t batches, events, count;
    double sum[FEATURES];
    size_t stop; /* fail at this batch */
} seen;

static pq_status see(void *sink, size_t n, const float *values, pq_err *err)
{
    seen *s = sink;

    for (size_t i = 0; i < n * s->count; i++) {
        s->sum[i % s->count] += (double)values[i];
    }
    s->events += n;
    return ++s->batches == s->stop
               ? pq_err_set(err, PQ_ERR_RANGE, __FILE__, __LINE__, "enough")
               : PQ_OK;
}

/* The events are those that statistics are made of, as far as the node asked for, and the
 * same again. */
Test(bench, shows_the_calibration_events)
{
    char               *folder = scratch_folder(), *path = write_events(folder);
    pq_graph           *g     = make_model(order, true);
    pq_dataset         *data  = NULL;
    pq_calib           *calib = NULL;
    pq_bench            bench;
    size_t              split;
    pq_compress_options options = {.calib_events = 150, .seed = 4};

    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    cr_assert_eq(pq_dataset_open(path, NULL, &data, NULL), PQ_OK);
    cr_assert_eq(pq_dataset_split(data, NULL, &split, NULL), PQ_OK);
    options.dataset     = data;
    options.calib_split = split;
    cr_assert_eq(pq_bench_of(&options, &bench, NULL), PQ_OK);
    cr_expect_eq(bench.events, 150);
    cr_assert_eq(pq_calibrate(g, data, split, PQ_NEEDS_RANGES, 150, 4, &calib, NULL),
                 PQ_OK);
    cr_expect_eq(calib->events, 150);
    for (size_t round = 0; round < 2; round++) {
        for (size_t node = 0; node < 2; node++) {
            seen                  s = {.count = FEATURES};
            const pq_calib_range *r = pq_calib_range_of(calib, g->nodes[node].name);
            cr_assert_eq(bench.run(bench.context, g, node, see, &s, NULL), PQ_OK);
            cr_expect_eq(s.events, 150);
            cr_expect_eq(s.batches, 3);
            for (size_t c = 0; c < FEATURES; c++) {
                cr_expect_float_eq(s.sum[c] / 150.0, r->channel_mean[c], 1e-9);
            }
        }
    }
    cr_expect_eq(g->output, 2, "the graph is as it was");
    pq_calib_free(&calib);
    pq_dataset_close(&data);
    pq_graph_free(&g);
    pq_free(path);
}

Test(bench, ends_where_it_is_told_to_and_knows_its_events)
{
    char               *folder = scratch_folder(), *path = write_events(folder);
    pq_graph           *g    = make_model(order, false);
    pq_dataset         *data = NULL;
    pq_bench            bench;
    pq_compress_options options = {.seed = 4};
    seen                s       = {.count = FEATURES, .stop = 2};
    pq_err              err     = {0};

    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    cr_assert_eq(pq_dataset_open(path, NULL, &data, NULL), PQ_OK);
    options.dataset = data;
    cr_assert_eq(pq_dataset_split(data, NULL, &options.calib_split, NULL), PQ_OK);
    cr_assert_eq(pq_bench_of(&options, &bench, NULL), PQ_OK);
    cr_expect_eq(bench.events, pq_dataset_describe(data)->splits[options.calib_split].n,
                 "all there are, below 1000");
    cr_expect_eq(bench.run(bench.context, g, 1, see, &s, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "enough");
    cr_expect_eq(s.batches, 2);
    pq_dataset_close(&data);
    pq_graph_free(&g);
    pq_free(path);
}

/* A stage that asks for nothing but events gets them. */
Test(bench, stages_get_events_from_the_dataset)
{
    static const char *const methods[] = {
        "quantize:bits=2,activations=no,choice=adaround,rounding_steps=20,"
        "bias_correction=yes"};
    char               *folder = scratch_folder(), *path = write_events(folder);
    pq_graph           *g = make_model(order, false), *out = NULL;
    pq_dataset         *data    = NULL;
    pq_compress_options options = {.calib_events = 100};
    pq_err              err     = {0};

    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    cr_expect_eq(pq_compress_methods(methods, 1, g, &options, NULL, NULL, &out, &err),
                 PQ_ERR_CONFIG);
    cr_assert_eq(pq_dataset_open(path, NULL, &data, NULL), PQ_OK);
    options.dataset = data;
    cr_assert_eq(pq_dataset_split(data, NULL, &options.calib_split, NULL), PQ_OK);
    err = (pq_err){0};
    cr_assert_eq(pq_compress_methods(methods, 1, g, &options, NULL, NULL, &out, &err),
                 PQ_OK, "%s", err.message);
    cr_expect_not_null(pq_layer_weight(out->nodes[1].layer, "bias"));
    pq_dataset_close(&data);
    pq_graph_free(&out);
    pq_graph_free(&g);
    pq_free(path);
}
