#include "nets.h"

static float   x[EVENTS * IN];
static int64_t y[EVENTS];

static pquant_data *make_data(void)
{
    pquant_events e[2] = {{.name = "train"}, {.name = "val"}};

    make_events(x, y);
    e[0].x = matrix(x, PQUANT_FLOAT32, 600, IN);
    e[0].y = matrix(y, PQUANT_INT64, 600, 0);
    e[1].x = matrix(x + 600 * IN, PQUANT_FLOAT32, EVENTS - 600, IN);
    e[1].y = matrix(y + 600, PQUANT_INT64, EVENTS - 600, 0);
    return pquant_data_create(2, e, NULL);
}

static double accuracy(pquant_model *m, pquant_data *data)
{
    pquant_metrics *got = pquant_evaluate(m, data);
    double          value;

    cr_assert_not_null(got, "%s", pquant_error());
    value = pquant_metrics_find(got, "accuracy")->value;
    pquant_metrics_free(got);
    return value;
}

/* Counts, and cancels when told to. */
typedef struct {
    size_t calls, stop_after, changes;
} watcher;

static int on_progress(void *context, const char *what, size_t done, size_t total,
                       const char *note)
{
    watcher *w = context;

    (void)note;
    cr_assert_not_null(what);
    cr_assert(done <= total);
    w->calls++;
    return w->stop_after > 0 && w->calls >= w->stop_after;
}

static void on_change(void *context, const char *method, const char *layer,
                      const char *what)
{
    cr_assert(*method != '\0' && *layer != '\0' && *what != '\0');
    ((watcher *)context)->changes++;
}

Test(compress, of_arrays_trains_back_what_svd_lost)
{
    const char *const methods[] = {"svd:rank=2,clip_rank=true"};
    watcher           w         = {0};
    pquant_data      *data      = make_data();
    pquant_options    o         = {.size     = sizeof o,
                                   .train    = data,
                                   .progress = on_progress,
                                   .changed  = on_change,
                                   .context  = &w};
    pquant_model     *m         = make_net(), *small, *tuned, *taught;

    small = pquant_compress_with(m, methods, 1, &o);
    cr_assert_not_null(small, "%s", pquant_error());
    cr_assert_geq(w.changes, 1);
    tuned = pquant_finetune(small, "epochs=5,lr=0.01", &o);
    cr_assert_not_null(tuned, "%s", pquant_error());
    cr_assert_gt(accuracy(tuned, data), accuracy(small, data));
    cr_assert_geq(w.calls, 1);
    o.teacher = m;
    taught    = pquant_distill(small, "epochs=5,lr=0.01", &o);
    cr_assert_not_null(taught, "%s", pquant_error());
    cr_assert_gt(accuracy(taught, data), accuracy(small, data));
    pquant_model_free(taught);
    pquant_model_free(tuned);
    pquant_model_free(small);
    pquant_model_free(m);
    pquant_data_close(data);
}

Test(compress, stops_when_a_flag_is_set_or_progress_says_so)
{
    volatile int   cancel = 1;
    watcher        w      = {.stop_after = 1};
    pquant_data   *data   = make_data();
    pquant_options o      = {.size = sizeof o, .train = data, .cancel = &cancel};
    pquant_model  *m      = make_net();

    cr_assert_null(pquant_finetune(m, "epochs=1000", &o));
    cr_assert_eq(pquant_error_status(), PQUANT_INTERRUPTED, "%s", pquant_error());
    cr_assert_null(pquant_evaluate_with(m, data, &o));
    cr_assert_eq(pquant_error_status(), PQUANT_INTERRUPTED);
    o = (pquant_options){
        .size = sizeof o, .train = data, .progress = on_progress, .context = &w};
    cr_assert_null(pquant_finetune(m, "epochs=100000", &o));
    cr_assert_eq(pquant_error_status(), PQUANT_INTERRUPTED);
    pquant_model_free(m);
    pquant_data_close(data);
}

Test(compress, without_the_events_it_needs_says_so)
{
    pquant_model *m = make_net();

    cr_assert_null(pquant_finetune(m, NULL, NULL));
    cr_assert_eq(pquant_error_status(), PQUANT_BAD_CONFIG, "%s", pquant_error());
    cr_assert_null(pquant_compress_with(m, &(const char *){"svd:rnk=2"}, 1, NULL));
    cr_assert_not_null(strstr(pquant_error(), "did you mean 'rank'"), "%s",
                       pquant_error());
    pquant_model_free(m);
}

/* The first kernel after ten epochs on the first split of `train`. */
static void trained(pquant_data *train, pquant_data *validation, float *kernel)
{
    pquant_options o = {.size = sizeof o, .train = train, .validation = validation};
    pquant_model  *m = make_net(), *tuned;
    pquant_array   a = {0};

    tuned = pquant_finetune(m, "epochs=10,lr=0.02", &o);
    cr_assert_not_null(tuned, "%s", pquant_error());
    cr_assert_eq(pquant_model_weight(tuned, "fc1", "kernel", &a), 0);
    memcpy(kernel, a.data, sizeof net_kernel1);
    pquant_model_free(tuned);
    pquant_model_free(m);
}

Test(compress, watches_the_events_it_is_given)
{
    static float   beside[HIDDEN * IN], apart[HIDDEN * IN], wrong[HIDDEN * IN];
    pquant_data   *both  = make_data(), *train, *val, *turned;
    pquant_options o     = {.size = sizeof o};
    pquant_events  e     = {.name = "train", .x = matrix(x, PQUANT_FLOAT32, 600, IN)};
    pquant_events  other = {.name = "other"};
    static int64_t turns[EVENTS];

    e.y     = matrix(y, PQUANT_INT64, 600, 0);
    train   = pquant_data_create(1, &e, NULL);
    other.x = matrix(x + 600 * IN, PQUANT_FLOAT32, EVENTS - 600, IN);
    other.y = matrix(y + 600, PQUANT_INT64, EVENTS - 600, 0);
    val     = pquant_data_create(1, &other, NULL);
    for (size_t i = 600; i < EVENTS; i++) {
        turns[i] = (y[i] + 1) % OUT;
    }
    other.y = matrix(turns + 600, PQUANT_INT64, EVENTS - 600, 0);
    turned  = pquant_data_create(1, &other, NULL);
    trained(both, NULL, beside);
    trained(train, val, apart);
    trained(both, turned, wrong); /* not the split beside */
    cr_expect_eq(memcmp(beside, apart, sizeof beside), 0);
    cr_expect_neq(memcmp(beside, wrong, sizeof beside), 0);
    o.validation = val;
    cr_expect_null(pquant_compress_with(NULL, &(const char *){"svd:rank=2"}, 1, &o));
    cr_expect_not_null(strstr(pquant_error(), "none to train on"), "%s", pquant_error());
    pquant_data_close(both);
    pquant_data_close(train);
    pquant_data_close(val);
    pquant_data_close(turned);
}

Test(compress, is_the_same_for_any_number_of_threads)
{
    pquant_data   *data = make_data();
    pquant_model  *m    = make_net(), *made[2];
    pquant_array   a[2] = {{0}};
    pquant_options o    = {.size = sizeof o, .train = data, .seed = 5};

    for (size_t i = 0; i < 2; i++) {
        o.threads = i + 1;
        made[i]   = pquant_finetune(m, "epochs=2", &o);
        cr_assert_not_null(made[i], "%s", pquant_error());
        cr_assert_eq(pquant_model_weight(made[i], "fc1", "kernel", &a[i]), 0);
    }
    cr_assert_eq(memcmp(a[0].data, a[1].data, sizeof net_kernel1), 0);
    pquant_model_free(made[0]);
    pquant_model_free(made[1]);
    pquant_model_free(m);
    pquant_data_close(data);
}

Test(latency, is_of_an_engine_and_above_nothing)
{
    pquant_model *m = make_net();
    pquant_timing t = {0};

    cr_assert_eq(pquant_latency(m, 1, NULL, &t), 0, "%s", pquant_error());
    cr_assert_gt(t.p50_s, 0.0);
    cr_assert_geq(t.p99_s, t.p50_s);
    cr_assert_str_eq(t.engine, "float32");
    cr_assert_neq(pquant_latency(m, 0, NULL, &t), 0);
    cr_assert_eq(pquant_error_status(), PQUANT_OUT_OF_RANGE);
    pquant_model_free(m);
}

Test(btag, needs_classes_of_flavours)
{
    pquant_model *m    = make_net();
    pquant_data  *data = make_data();

    cr_assert_null(pquant_evaluate_btag(m, data, -1.0, NULL));
    cr_assert_str_eq(pquant_error(),
                     "class '0' is none of b, c, light and tau, or the second of one");
    pquant_data_close(data);
    pquant_model_free(m);
}
