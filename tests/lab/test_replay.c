#include "lab/helpers.h"

#include <math.h>
#include <unistd.h>

#include "lab/calibrate.h"
#include "lab/compress.h"
#include "lab/replay.h"

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
Test(replay, shows_the_calibration_events)
{
    char             *folder = scratch_folder(), *path = write_events(folder);
    pq_graph         *g     = make_model(order, true);
    pq_dataset       *data  = NULL;
    pq_calib         *calib = NULL;
    pq_replay         replay;
    size_t            split;
    pq_replay_options options = {.events = 150, .seed = 4};

    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    cr_assert_eq(pq_dataset_open(path, NULL, &data, NULL), PQ_OK);
    cr_assert_eq(pq_dataset_split(data, NULL, &split, NULL), PQ_OK);
    options.dataset = data;
    options.split   = split;
    cr_assert_eq(pq_replay_of(&options, &replay, NULL), PQ_OK);
    cr_expect_eq(replay.events, 150);
    cr_assert_eq(pq_calibrate(g, data, split, PQ_NEEDS_RANGES, 150, 4, &calib, NULL),
                 PQ_OK);
    cr_expect_eq(calib->events, 150);
    for (size_t round = 0; round < 2; round++) {
        for (size_t node = 0; node < 2; node++) {
            seen                  s = {.count = FEATURES};
            const pq_calib_range *r = pq_calib_range_of(calib, g->nodes[node].name);
            cr_assert_eq(replay.run(replay.context, g, node, see, &s, NULL), PQ_OK);
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

Test(replay, ends_where_it_is_told_to_and_knows_its_events)
{
    char             *folder = scratch_folder(), *path = write_events(folder);
    pq_graph         *g    = make_model(order, false);
    pq_dataset       *data = NULL;
    pq_replay         replay;
    pq_replay_options options = {.seed = 4};
    seen              s       = {.count = FEATURES, .stop = 2};
    pq_err            err     = {0};

    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    cr_assert_eq(pq_dataset_open(path, NULL, &data, NULL), PQ_OK);
    options.dataset = data;
    cr_assert_eq(pq_dataset_split(data, NULL, &options.split, NULL), PQ_OK);
    cr_assert_eq(pq_replay_of(&options, &replay, NULL), PQ_OK);
    cr_expect_eq(replay.events, pq_dataset_describe(data)->splits[options.split].n,
                 "all there are, below 1000");
    cr_expect_eq(replay.run(replay.context, g, 1, see, &s, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "enough");
    cr_expect_eq(s.batches, 2);
    pq_dataset_close(&data);
    pq_graph_free(&g);
    pq_free(path);
}

/* A stage that asks for nothing but events gets them. */
Test(replay, stages_get_it_from_the_dataset)
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
