#include "models.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "exec/predict.h"
#include "exec/rescale.h"
#include "io/hdf5.h"

/* float32 values of a file, scaled in float or double, through a small network. */
static const double most_difference = 1e-5;

enum { EVENTS = 150, FEATURES = 4, CLASSES = 3 };

static const float mean[FEATURES]      = {10.0f, -3.0f, 0.5f, 100.0f};
static const float deviation[FEATURES] = {2.0f, 0.5f, 1.0f, 40.0f};

static char folder[64], path[128];

static void setup(void)
{
    strcpy(folder, "/tmp/pq-predict-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/d.h5", folder);
}

static void teardown(void)
{
    (void)unlink(path);
    cr_assert_eq(rmdir(folder), 0);
}

/* Events as they were measured. */
static void raw_events(float *x)
{
    pq_rng rng = pq_rng_stream(51, "events");

    for (size_t i = 0; i < EVENTS * FEATURES; i++) {
        x[i] = mean[i % FEATURES] + deviation[i % FEATURES] * (float)pq_rng_normal(&rng);
    }
}

static void standard_events(float *x)
{
    raw_events(x);
    for (size_t i = 0; i < EVENTS * FEATURES; i++) {
        x[i] = (x[i] - mean[i % FEATURES]) / deviation[i % FEATURES];
    }
}

static pq_tensor *tensor_of(pq_shape shape, const float *values)
{
    pq_tensor *t = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, shape, &t, &err));
    memcpy(t->data, values, t->count * sizeof *values);
    return t;
}

/* A file of events x, with or without names, a scaler, standardized or not. */
static pq_dataset *make_file(const float *x, const char *const *names, bool scaler,
                             bool standardized)
{
    pq_h5       *file = NULL;
    pq_dataset  *d    = NULL;
    pq_tensor   *t = tensor_of(PQ_SHAPE(EVENTS, FEATURES), x), *labels = NULL;
    const int8_t one = 1;

    OK(pq_h5_create(path, &file, &err));
    OK(pq_h5_set_text(file, "/", "format", "pquant-dataset", &err));
    OK(pq_h5_write(file, "x", t, 0, &err));
    OK(pq_tensor_create(PQ_DTYPE_I32, PQ_SHAPE(EVENTS), &labels, &err));
    for (size_t i = 0; i < EVENTS; i++) {
        ((int32_t *)labels->data)[i] = (int32_t)(i % CLASSES);
    }
    OK(pq_h5_write(file, "y", labels, 0, &err));
    if (names != NULL) {
        OK(pq_h5_set_texts(file, "/", "feature_names", names, FEATURES, &err));
    }
    if (scaler) {
        OK(pq_h5_set_numbers(file, "/", "scaler_mean", PQ_DTYPE_F32, mean, FEATURES,
                             &err));
        OK(pq_h5_set_numbers(file, "/", "scaler_std", PQ_DTYPE_F32, deviation, FEATURES,
                             &err));
    }
    if (standardized) {
        OK(pq_h5_set_numbers(file, "/", "standardized", PQ_DTYPE_I8, &one, 1, &err));
    }
    OK(pq_h5_commit(&file, &err));
    pq_tensor_free(&t);
    pq_tensor_free(&labels);
    OK(pq_dataset_open(path, NULL, &d, &err));
    return d;
}

static pq_dataset *make_dataset(const float *x, bool scaler, bool standardized)
{
    return make_file(x, NULL, scaler, standardized);
}

static pq_graph *classifier(size_t features)
{
    pq_rng    rng = pq_rng_stream(52, "test");
    pq_graph *g   = NULL;
    char      shape[32];

    (void)snprintf(shape, sizeof shape, "[%zu]", features);
    OK(pq_graph_create(&g, &err));
    add_input(g, "x", shape);
    add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(20, features), true),
              "x");
    add_layer(g, "relu", make_layer("relu"), "fc");
    add_layer(g, "fc2", affine(&rng, make_layer("dense"), PQ_SHAPE(CLASSES, 20), true),
              "relu");
    add_layer(g, "y", make_layer("softmax"), "fc2");
    OK(pq_graph_check(g, &err));
    return g;
}

static void give_scaler(pq_graph *g, const float *m, const float *s)
{
    g->scaler_mean = tensor_of(PQ_SHAPE(FEATURES), m);
    g->scaler_std  = tensor_of(PQ_SHAPE(FEATURES), s);
}

Test(predict, any_batch_and_thread_count_gives_the_same_bits_in_every_engine,
     .init = setup, .fini = teardown)
{
    static const size_t batches[] = {0, 1, 7, 64, 100, 1000}, threads[] = {0, 1, 2, 5};
    float               x[EVENTS * FEATURES];

    standard_events(x);
    pq_dataset *d = make_dataset(x, false, false);
    pq_graph   *g = classifier(FEATURES);
    for (size_t e = 0; pq_engine_names[e] != NULL; e++) {
        if (!engine_runs(pq_engine_names[e])) {
            continue;
        }
        float *due = run_graph(g, pq_engine_names[e], EVENTS, EVENTS, x);
        for (size_t i = 0; i < 6 * 4; i++) {
            const pq_predict_options o = {.engine  = pq_engine_names[e],
                                          .batch   = batches[i / 4],
                                          .threads = threads[i % 4]};
            pq_predictions           p = {0};
            OK(pq_predict(g, d, 0, &o, &p, &err));
            cr_assert_eq(p.n, EVENTS);
            cr_assert_eq(p.width, CLASSES);
            cr_expect_eq(memcmp(p.outputs, due, EVENTS * CLASSES * sizeof *due), 0,
                         "%s, batch %zu, %zu threads", o.engine, o.batch, o.threads);
            for (size_t k = 0; k < EVENTS; k++) {
                cr_assert_eq(p.labels[k], (int32_t)(k % CLASSES));
                cr_assert_eq(p.weights[k], 1.0f);
            }
            pq_predictions_free(&p);
            cr_expect_null(p.outputs);
        }
        pq_free(due);
    }
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

/* Batches 1 to 300, and around every power of two: beyond the events too. */
static size_t next_size(size_t batch)
{
    size_t power = 1;

    while (power < batch) {
        power *= 2;
    }
    return batch < 300         ? batch + 1
           : batch + 1 < power ? power - 1
           : batch <= power    ? batch + 1
                               : 2 * power - 1;
}

Test(predict, every_batch_size_gives_the_same_bits, .init = setup, .fini = teardown)
{
    float x[EVENTS * FEATURES];

    standard_events(x);
    pq_dataset *d   = make_dataset(x, false, false);
    pq_graph   *g   = classifier(FEATURES);
    float      *due = run_graph(g, "float32", EVENTS, EVENTS, x);
    for (size_t batch = 1; batch <= 1 << 16; batch = next_size(batch)) {
        const pq_predict_options o = {.batch = batch, .threads = 1 + batch % 2};
        pq_predictions           p = {0};
        OK(pq_predict(g, d, 0, &o, &p, &err));
        cr_assert_eq(p.n, EVENTS);
        cr_expect_eq(memcmp(p.outputs, due, EVENTS * CLASSES * sizeof *due), 0,
                     "batch %zu", batch);
        pq_predictions_free(&p);
    }
    pq_free(due);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

typedef struct {
    const char *what;
    bool        raw, scaler, standardized; /* the file's values, its scaler, its claim */
    bool        due_raw;                   /* what a model without a scaler sees */
    bool model_sees_raw_minus; /* a model with a scaler of its own sees the raw values
                                  through it */
} scaler_case;

/* The model's scaler: another than the file's. */
static const float own_mean[FEATURES] = {11.0f, -2.0f, 0.0f, 80.0f};
static const float own_std[FEATURES]  = {3.0f, 1.0f, 2.0f, 30.0f};

static const scaler_case scaler_cases[] = {
    {"raw values and a scaler", true, true, false, true, true},
    {"raw values without a scaler", true, false, false, true, true},
    {"standardized values and their scaler", false, true, true, false, true},
    {"standardized values of an unknown scaler", false, false, true, false, false},
};

Test(predict, the_models_scaler_scales_and_without_one_values_are_as_they_are,
     .init = setup, .fini = teardown)
{
    static float raw[EVENTS * FEATURES], standard[EVENTS * FEATURES],
        own[EVENTS * FEATURES];
    const pq_predict_options o = {.threads = 2};

    raw_events(raw);
    standard_events(standard);
    for (size_t i = 0; i < EVENTS * FEATURES; i++) {
        own[i] = (raw[i] - own_mean[i % FEATURES]) / own_std[i % FEATURES];
    }
    for (size_t c = 0; c < sizeof scaler_cases / sizeof scaler_cases[0]; c++) {
        const scaler_case *s = &scaler_cases[c];
        pq_dataset *d = make_dataset(s->raw ? raw : standard, s->scaler, s->standardized);
        pq_graph   *g = classifier(FEATURES);
        pq_predictions p = {0};
        float *due = run_graph(g, "float32", EVENTS, EVENTS, s->due_raw ? raw : standard);

        OK(pq_predict(g, d, 0, &o, &p, &err));
        cr_expect_lt(largest_difference(p.outputs, due, EVENTS * CLASSES),
                     most_difference, "%s", s->what);
        pq_predictions_free(&p);
        pq_free(due);
        give_scaler(g, own_mean, own_std);
        due = run_graph(g, "float32", EVENTS, EVENTS,
                        s->model_sees_raw_minus ? own : standard);
        OK(pq_predict(g, d, 0, &o, &p, &err));
        cr_expect_lt(largest_difference(p.outputs, due, EVENTS * CLASSES),
                     most_difference, "%s, own scaler", s->what);
        pq_predictions_free(&p);
        pq_free(due);
        pq_graph_free(&g);
        pq_dataset_close(&d);
    }
}

static void count_up(void *context, const char *what, size_t done, size_t total,
                     const char *note)
{
    size_t *last = context;

    (void)note;
    cr_expect_str_eq(what, "events");
    cr_expect(done >= *last && done <= total);
    *last = done;
}

/* Every third event from the first on, some of them: the rows of a whole run. */
Test(predict, a_stride_takes_the_rows_it_says, .init = setup, .fini = teardown)
{
    static const struct {
        size_t stride, limit;
    } cases[] = {{1, 0}, {3, 0}, {3, 20}, {64, 0}, {1000000, 0}};
    float              x[EVENTS * FEATURES];
    pq_predictions     whole = {0}, some = {0};
    pq_predict_options o = {.threads = 2};

    standard_events(x);
    pq_dataset *d = make_dataset(x, false, false);
    pq_graph   *g = classifier(FEATURES);
    OK(pq_predict(g, d, 0, &o, &whole, &err));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t stride = cases[i].stride;
        size_t       due    = (EVENTS + stride - 1) / stride;
        o.stride            = stride;
        o.limit             = cases[i].limit;
        due                 = o.limit > 0 && o.limit < due ? o.limit : due;
        OK(pq_predict(g, d, 0, &o, &some, &err));
        cr_assert_eq(some.n, due);
        for (size_t e = 0; e < due; e++) {
            cr_expect_eq(some.labels[e], whole.labels[e * stride]);
            cr_expect_eq(some.weights[e], whole.weights[e * stride]);
            cr_expect_eq(memcmp(some.outputs + e * some.width,
                                whole.outputs + e * stride * some.width,
                                some.width * sizeof(float)),
                         0);
        }
        pq_predictions_free(&some);
    }
    pq_predictions_free(&whole);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

Test(predict, a_limit_is_kept_and_progress_ends_at_it, .init = setup, .fini = teardown)
{
    float                    x[EVENTS * FEATURES];
    size_t                   last     = 0;
    const pq_progress        progress = {.report = count_up, .context = &last};
    const pq_predict_options o = {.limit = 70, .threads = 2, .progress = &progress};
    pq_predictions           p = {0};

    standard_events(x);
    pq_dataset *d   = make_dataset(x, false, false);
    pq_graph   *g   = classifier(FEATURES);
    float      *due = run_graph(g, "float32", EVENTS, EVENTS, x);
    OK(pq_predict(g, d, 0, &o, &p, &err));
    cr_expect_eq(p.n, 70);
    cr_expect_eq(last, 70);
    cr_expect_eq(memcmp(p.outputs, due, 70 * CLASSES * sizeof *due), 0);
    pq_predictions_free(&p);
    pq_free(due);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

Test(predict, what_does_not_fit_is_refused_with_both_shapes, .init = setup,
     .fini = teardown)
{
    const pq_predict_options o    = {.threads = 1};
    const size_t             live = pq_memory_live();
    float                    x[EVENTS * FEATURES];
    pq_predictions           p   = {0};
    pq_err                   err = {0};
    char                     due[256];

    standard_events(x);
    pq_dataset *d = make_dataset(x, false, false);
    pq_graph   *g = classifier(5);
    cr_expect_eq(pq_predict(g, d, 0, &o, &p, &err), PQ_ERR_SHAPE);
    (void)snprintf(due, sizeof due,
                   "the events of %s are [4], but the model's input is [5]", path);
    cr_expect_str_eq(err.message, due);
    pq_graph_free(&g);

    g              = classifier(FEATURES);
    err            = (pq_err){0};
    g->scaler_mean = tensor_of(PQ_SHAPE(2), own_mean);
    g->scaler_std  = tensor_of(PQ_SHAPE(2), own_std);
    cr_expect_eq(pq_predict(g, d, 0, &o, &p, &err), PQ_ERR_SHAPE);
    (void)snprintf(due, sizeof due,
                   "the model's scaler has 2 means and 2 deviations, but the events of "
                   "%s have 4 features",
                   path);
    cr_expect_str_eq(err.message, due);
    pq_graph_free(&g);

    g   = classifier(FEATURES);
    err = (pq_err){0};
    add_input(g, "second", "[3]");
    add_layer2(g, "sum", make_layer("add"), "y", "second");
    cr_expect_eq(pq_predict(g, d, 0, &o, &p, &err), PQ_ERR_UNSUPPORTED);
    cr_expect_str_eq(err.message, "the model has 2 inputs, but a dataset gives one");
    cr_expect_null(p.outputs);
    pq_graph_free(&g);
    pq_dataset_close(&d);
    cr_expect_eq(pq_memory_live(), live);
}

Test(predict, every_failed_allocation_leaves_nothing_behind, .init = setup,
     .fini = teardown)
{
    const pq_predict_options o = {.threads = 2};
    float                    x[EVENTS * FEATURES];

    standard_events(x);
    pq_dataset  *d    = make_dataset(x, true, false);
    pq_graph    *g    = classifier(FEATURES);
    const size_t live = pq_memory_live();
    size_t       fine = 0;
    give_scaler(g, own_mean, own_std);
    const size_t with_scaler = pq_memory_live();
    for (size_t n = 0; fine < 10; n++) {
        pq_predictions p = {0};
        pq_memory_fail_after(n);
        const pq_status st = pq_predict(g, d, 0, &o, &p, NULL);
        fine               = st == PQ_OK ? fine + 1 : 0;
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "status %d", (int)st);
        pq_predictions_free(&p);
        cr_assert_eq(pq_memory_live(), with_scaler, "after failure %zu", n);
    }
    pq_memory_fail_after(SIZE_MAX);
    cr_expect_gt(with_scaler, live);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

Test(predict, rescaling_leaves_padding_and_its_mask_alone)
{
    static const float mean[FEATURES] = {1, 2, 3, 9}, deviation[FEATURES] = {4, 1, 2, 3};
    const pq_dataset_info info  = {.sample = PQ_SHAPE(3, FEATURES), .padded = true};
    float                 x[]   = {3, 5, 7, 1, 0, 0, 0, 0, 5, 2, 1, 1};
    const float           due[] = {0.5F, 3, 2, 1, 0, 0, 0, 0, 1, 0, -1, 1};
    pq_rescale            r     = {0};
    pq_graph             *g     = classifier(FEATURES);

    give_scaler(g, mean, deviation);
    OK(pq_rescale_make(g, &info, &r, &err));
    pq_rescale_apply(&r, 12, x);
    cr_expect_arr_eq(x, due, sizeof due);
    pq_rescale_free(&r);
    pq_graph_free(&g);
}

/* A file with more features than the model has names for: those of the model, by name. */
Test(predict, features_are_picked_by_name)
{
    static const char *const have[] = {"a", "b", "c", "d", "e"}, *const want[] = {"d",
                                                                                  "b"};
    static const float from[] = {1, 2, 3, 4, 5}, by[] = {1, 2, 1, 4, 1};
    static const float mean_of[] = {8, 4}, by_of[] = {2, 1};
    pq_dataset_info    info = {.sample        = PQ_SHAPE(2, 5),
                               .feature_names = have,
                               .path          = "events.h5",
                               .scaler_mean   = from,
                               .scaler_std    = by};
    /* x' = (x by + from - mean_of) / by_of of d and b, row by row */
    float       x[]   = {9, 1, 9, 2, 9, 9, 3, 9, 5, 9};
    const float due[] = {2, 0, 8, 4};
    pq_rescale  r     = {0};
    pq_graph   *g     = classifier(2);
    pq_err      e     = {0};

    OK(pq_graph_set_features(g, 2, want, &err));
    g->scaler_mean = tensor_of(PQ_SHAPE(2), mean_of);
    g->scaler_std  = tensor_of(PQ_SHAPE(2), by_of);
    OK(pq_rescale_make(g, &info, &r, &err));
    cr_expect_eq(r.kept, 2);
    cr_expect_eq(pq_rescale_values(&r, 10), 4);
    pq_rescale_apply(&r, 10, x);
    cr_expect_arr_eq(x, due, sizeof due);
    pq_rescale_free(&r);
    info.padded = true;
    cr_expect_eq(pq_rescale_make(g, &info, &r, &e), PQ_ERR_CONFIG);
    cr_expect_str_eq(e.message, "the last feature says which rows are there, but is not "
                                "the model's last");
    e                  = (pq_err){0};
    info.padded        = false;
    info.feature_names = (const char *const[]){"a", "b", "c", "D", "e"};
    cr_expect_eq(pq_rescale_make(g, &info, &r, &e), PQ_ERR_CONFIG);
    cr_expect_not_null(
        strstr(e.message, "events.h5 has no feature 'd', which the model takes"), "%s",
        e.message);
    pq_graph_free(&g);
}

/* Predictions from such a file are those of a file with the model's features alone. */
Test(predict, a_part_of_the_features_is_read_in_any_batch, .init = setup,
     .fini = teardown)
{
    static const char *const all[FEATURES] = {"a", "b", "c", "d"}, *const names[] = {"c",
                                                                                     "a"};
    const size_t batches[] = {0, 1, 64, 100};
    float        x[EVENTS * FEATURES], part[EVENTS * 2], *due;

    standard_events(x);
    for (size_t i = 0; i < EVENTS; i++) {
        part[2 * i]     = x[FEATURES * i + 2];
        part[2 * i + 1] = x[FEATURES * i];
    }
    pq_graph *g = classifier(2);
    OK(pq_graph_set_features(g, 2, names, &err));
    pq_dataset *d = make_file(x, all, false, false);
    due           = run_graph(g, "float32", EVENTS, EVENTS, part);
    for (size_t b = 0; b < 4; b++) {
        const pq_predict_options o = {.threads = 1 + b % 2, .batch = batches[b]};
        pq_predictions           p = {0};
        OK(pq_predict(g, d, 0, &o, &p, &err));
        cr_expect_lt(largest_difference(p.outputs, due, EVENTS * CLASSES),
                     most_difference);
        pq_predictions_free(&p);
    }
    pq_free(due);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}
