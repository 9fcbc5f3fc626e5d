#include "nets.h"

static const double TOL_FORWARD = 1e-6; /* float32 against double */

static float   x[EVENTS * IN], out[EVENTS * OUT];
static double  wide[EVENTS * IN * 2];
static int64_t y[EVENTS];

static void check_outputs(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float due[OUT];
        forward(x + i * IN, due);
        for (size_t k = 0; k < OUT; k++) {
            cr_assert_float_eq(out[i * OUT + k], due[k], TOL_FORWARD, "event %zu", i);
        }
    }
}

Test(plans, predict_what_plain_loops_give_for_any_number_of_samples_and_threads)
{
    static const size_t n[] = {1, 2, 255, 256, 257, 600, EVENTS};
    pquant_model       *m   = make_net();

    make_events(x, y);
    for (size_t threads = 1; threads <= 3; threads++) {
        const pquant_options o    = {.size = sizeof o, .threads = threads};
        pquant_plan         *plan = pquant_plan_create(m, &o);
        for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
            pquant_array in = matrix(x, PQUANT_FLOAT32, n[i], IN);
            pquant_array to = matrix(out, PQUANT_FLOAT32, n[i], OUT);
            memset(out, 0, sizeof out);
            cr_assert_eq(pquant_plan_predict(plan, &in, &to), 0, "%s", pquant_error());
            check_outputs(n[i]);
        }
        pquant_plan_free(plan);
    }
    pquant_model_free(m);
}

Test(plans, read_doubles_columns_apart_and_rows_backwards)
{
    pquant_model *m    = make_net();
    pquant_plan  *plan = pquant_plan_create(m, NULL);
    pquant_array  in =
        matrix(wide + (size_t)(EVENTS - 1) * IN * 2, PQUANT_FLOAT64, EVENTS, IN);
    pquant_array to = matrix(out, PQUANT_FLOAT32, EVENTS, OUT);

    make_events(x, y);
    for (size_t i = 0; i < EVENTS; i++) {
        for (size_t k = 0; k < IN; k++) {
            wide[((EVENTS - 1 - i) * IN + k) * 2] = (double)x[i * IN + k];
        }
    }
    in.strides[0] = -(ptrdiff_t)(IN * 2 * sizeof(double));
    in.strides[1] = 2 * sizeof(double);
    cr_assert_eq(pquant_plan_predict(plan, &in, &to), 0, "%s", pquant_error());
    check_outputs(EVENTS);
    pquant_plan_free(plan);
    pquant_model_free(m);
}

Test(plans, refuse_arrays_that_do_not_fit)
{
    pquant_model *m    = make_net();
    pquant_plan  *plan = pquant_plan_create(m, NULL);
    pquant_array  in   = matrix(x, PQUANT_FLOAT32, 4, IN - 1);
    pquant_array  to   = matrix(out, PQUANT_FLOAT32, 4, OUT);

    cr_assert_neq(pquant_plan_predict(plan, &in, &to), 0);
    cr_assert_str_eq(pquant_error(),
                     "input 0 has 4 samples of 5 values, but 4 of 6 are due");
    cr_assert_eq(pquant_error_status(), PQUANT_BAD_SHAPE);
    in       = matrix(x, PQUANT_FLOAT32, 4, IN);
    to.dtype = PQUANT_FLOAT64;
    cr_assert_neq(pquant_plan_predict(plan, &in, &to), 0);
    to      = matrix(out, PQUANT_FLOAT32, 4, OUT);
    to.ndim = 1000;
    cr_assert_neq(pquant_plan_predict(plan, &in, &to), 0);
    to      = matrix(out, PQUANT_FLOAT32, 4, OUT);
    in.ndim = 1000;
    cr_assert_neq(pquant_plan_predict(plan, &in, &to), 0);
    in          = matrix(x, PQUANT_FLOAT32, 4, IN); /* a product that wraps to IN */
    in.ndim     = 3;
    in.shape[1] = SIZE_MAX / 2 + 1 + IN / 2;
    in.shape[2] = 2;
    cr_assert_neq(pquant_plan_predict(plan, &in, &to), 0);
    in = matrix(NULL, PQUANT_FLOAT32, 4, IN);
    cr_assert_neq(pquant_plan_predict(plan, &in, &to), 0);
    cr_assert_str_eq(pquant_error(), "input 0 has no data");
    pquant_plan_free(plan);
    pquant_model_free(m);
}

Test(plans, refuse_more_threads_than_there_can_be)
{
    const pquant_options o = {.size = sizeof o, .threads = 1000000000};
    pquant_model        *m = make_net();
    pquant_timing        t;

    cr_expect_null(pquant_plan_create(m, &o));
    cr_expect_str_eq(pquant_error(), "threads = 1000000000 is not in 0..1024");
    cr_expect_eq(pquant_error_status(), PQUANT_OUT_OF_RANGE);
    cr_expect_neq(pquant_latency(m, 1, &o, &t), 0);
    cr_expect_null(pquant_compress_with(m, (const char *const[]){"prune"}, 1, &o));
    pquant_model_free(m);
}

Test(events, refuse_labels_of_too_many_axes)
{
    pquant_events e = {.name = "test",
                       .x    = matrix(x, PQUANT_FLOAT32, 4, IN),
                       .y    = matrix(y, PQUANT_INT64, 4, 1)};

    e.y.ndim = 1000;
    cr_expect_null(pquant_data_create(1, &e, NULL));
    cr_expect_eq(pquant_error_status(), PQUANT_BAD_SHAPE);
}

Test(events, of_arrays_are_evaluated_as_they_are)
{
    pquant_model   *m = make_net();
    pquant_events   e = {.name = "test"};
    pquant_data    *data;
    pquant_metrics *got;
    int32_t         labels[4];
    float           first[4 * IN];
    size_t          dims[8];

    make_events(x, y);
    e.x  = matrix(x, PQUANT_FLOAT32, EVENTS, IN);
    e.y  = matrix(y, PQUANT_INT64, EVENTS, 0);
    data = pquant_data_create(1, &e, "a,b,c");
    cr_assert_not_null(data, "%s", pquant_error());
    cr_assert_eq(pquant_data_events(data), EVENTS);
    cr_assert_eq(pquant_data_shape(data, dims), 1);
    cr_assert_eq(dims[0], IN);
    cr_assert_eq(pquant_data_classes(data), 3);
    cr_assert_str_eq(pquant_data_class(data, 2), "c");
    cr_assert_null(pquant_data_class(data, 3));
    cr_assert_eq(pquant_data_read(data, 5, 4, first, labels), 0);
    cr_assert_eq(memcmp(first, x + 5 * IN, sizeof first), 0);
    cr_assert_eq(labels[3], y[8]);
    cr_assert_neq(pquant_data_read(data, EVENTS - 1, 2, first, labels), 0);
    got = pquant_evaluate_with(m, data, NULL);
    cr_assert_not_null(got, "%s", pquant_error());
    cr_assert_eq(pquant_metrics_find(got, "accuracy")->value, 1.0);
    pquant_metrics_free(got);
    pquant_data_close(data);
    pquant_model_free(m);
}

Test(events, of_negative_weights_are_evaluated_where_that_is_asked_for)
{
    pquant_model   *m     = make_net();
    pquant_events   e     = {.name = "test"};
    pquant_options  asked = {.size = sizeof asked, .negative_weights = 1};
    float           weights[EVENTS];
    double          right = 0.0, all = 0.0;
    pquant_data    *data;
    pquant_metrics *got;

    make_events(x, y);
    for (size_t i = 0; i < EVENTS; i++) {
        weights[i] = i % 7 == 0 ? -0.5F : 1.5F;
        y[i] = i % 5 == 0 ? (y[i] + 1) % 3 : y[i]; /* the net decides by make_events */
        right += i % 5 == 0 ? 0.0 : (double)weights[i];
        all += (double)weights[i];
    }
    e.x      = matrix(x, PQUANT_FLOAT32, EVENTS, IN);
    e.y      = matrix(y, PQUANT_INT64, EVENTS, 0);
    e.weight = matrix(weights, PQUANT_FLOAT32, EVENTS, 0);
    data     = pquant_data_create(1, &e, "a,b,c");
    cr_assert_not_null(data, "%s", pquant_error());
    cr_expect_null(pquant_evaluate_with(m, data, NULL));
    cr_expect_not_null(strstr(pquant_error(), "negative"), "%s", pquant_error());
    got = pquant_evaluate_with(m, data, &asked);
    cr_assert_not_null(got, "%s", pquant_error());
    cr_expect_float_eq(pquant_metrics_find(got, "accuracy")->value, right / all, 1e-9);
    pquant_metrics_free(got);
    asked.size = offsetof(pquant_options, negative_weights); /* of an older header */
    cr_expect_null(pquant_evaluate_with(m, data, &asked));
    pquant_data_close(data);
    pquant_model_free(m);
}

Test(events, with_labels_that_are_no_classes_are_refused)
{
    pquant_events e = {.name = "test"};

    make_events(x, y);
    y[17] = -1;
    e.x   = matrix(x, PQUANT_FLOAT32, EVENTS, IN);
    e.y   = matrix(y, PQUANT_INT64, EVENTS, 0);
    cr_assert_null(pquant_data_create(1, &e, NULL));
    cr_assert_str_eq(pquant_error(), "label -1 of event 17 is no class in 0..99999");
    e.y = matrix(y, PQUANT_INT64, EVENTS - 1, 0);
    cr_assert_null(pquant_data_create(1, &e, NULL));
    cr_assert_eq(pquant_error_status(), PQUANT_BAD_SHAPE);
    cr_expect_str_eq(pquant_error(),
                     "split 'test': there are 900 events, but 899 labels");
    e.y      = (pquant_array){0};
    e.weight = matrix(x, PQUANT_FLOAT32, 3, 0);
    cr_assert_null(pquant_data_create(1, &e, "a"));
    cr_expect_str_eq(pquant_error(), "split 'test': there are 900 events, but 3 weights");
    e.weight = (pquant_array){0};
    cr_assert_null(pquant_data_create(1, &e, "a,b,a"));
    cr_expect_str_eq(pquant_error(), "arrays: class 'a' is there twice");
}
