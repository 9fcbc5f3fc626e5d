#include "lab/helpers.h"

#include <math.h>

#include "lab/calibrate.h"
#include "lab/compress.h"
#include "lab/evaluate.h"

enum { RIGHT = EVENTS - (EVENTS + 6) / 7 };

static pq_evaluated evaluate(pq_graph *graph, const char *path,
                             const pq_evaluate_options *options)
{
    pq_dataset  *data = NULL;
    pq_evaluated e    = {0};
    size_t       split;

    cr_assert_eq(pq_dataset_open(path, NULL, &data, NULL), PQ_OK);
    cr_assert_eq(pq_dataset_split(data, NULL, &split, NULL), PQ_OK);
    cr_assert_eq(pq_evaluate(graph, data, split, options, &e, NULL), PQ_OK);
    pq_dataset_close(&data);
    return e;
}

Test(evaluate, classes_are_matched_by_name_not_by_place)
{
    static const size_t      straight[] = {0, 1, 2}, turned[] = {2, 0, 1};
    static const char *const names[] = {"c", "a", "b"};
    char                    *path    = write_events(scratch_folder());
    pq_graph    *plain = make_model(straight, true), *other = make_model(turned, true);
    pq_evaluated a = evaluate(plain, path, &(pq_evaluate_options){0}), b;

    cr_assert_eq(pq_graph_set_classes(other, CLASSES, names, NULL), PQ_OK);
    b = evaluate(other, path, &(pq_evaluate_options){0});
    cr_expect_eq(a.n, EVENTS);
    cr_expect_eq(a.correct, RIGHT);
    cr_expect_eq(b.correct, RIGHT);
    cr_expect_str_eq(b.class_names[0], "c");
    pq_evaluated_free(&a);
    pq_evaluated_free(&b);
    pq_graph_free(&plain);
    pq_graph_free(&other);
    pq_free(path);
}

Test(evaluate, logits_and_softmax_give_the_same_numbers)
{
    static const size_t order[] = {0, 1, 2};
    char               *path    = write_events(scratch_folder());
    pq_graph    *with = make_model(order, true), *without = make_model(order, false);
    pq_evaluated a = evaluate(with, path, &(pq_evaluate_options){0});
    pq_evaluated b = evaluate(without, path, &(pq_evaluate_options){0});

    cr_expect_eq(a.head, PQ_HEAD_SOFTMAX);
    cr_expect_eq(b.head, PQ_HEAD_LOGITS);
    cr_expect_eq(a.correct, b.correct);
    float *outputs = pq_calloc(a.n * a.classes, sizeof *outputs);
    pq_evaluated_outputs(&a, outputs);
    for (size_t i = 0; i < a.n * a.classes; i++) {
        const pq_evaluation view = pq_evaluated_view(&b, without, 0);
        cr_assert_float_eq((double)outputs[i],
                           pq_evaluation_probability(&view, i / CLASSES, i % CLASSES),
                           1e-6);
    }
    pq_free(outputs);
    cr_assert_eq(a.values.n, b.values.n);
    for (size_t i = 0; i < a.values.n;
         i++) { /* to the last bit: the softmax only ranks */
        const double x = a.values.items[i].value, y = b.values.items[i].value;
        cr_expect_str_eq(a.values.items[i].name, b.values.items[i].name);
        cr_expect((isnan(x) && isnan(y)) || x == y, "%s: %.17g, %.17g",
                  a.values.items[i].name, x, y);
    }
    cr_expect_float_eq(pq_values_find(&a.values, "accuracy")->value,
                       RIGHT / (double)EVENTS, 1e-12);
    pq_evaluated_free(&a);
    pq_evaluated_free(&b);
    pq_graph_free(&with);
    pq_graph_free(&without);
    pq_free(path);
}

Test(evaluate, engine_batch_and_threads_do_not_change_predictions)
{
    static const size_t order[] = {0, 1, 2};
    char               *path    = write_events(scratch_folder());
    pq_graph           *graph   = make_model(order, true);
    pq_evaluated        first   = evaluate(graph, path, &(pq_evaluate_options){0});

    for (size_t batch = 1; batch <= 512; batch *= 8) {
        for (size_t threads = 1; threads <= 3; threads++) {
            const pq_evaluate_options options = {
                .predict = {.batch = batch, .threads = threads}};
            pq_evaluated e = evaluate(graph, path, &options);
            cr_assert_arr_eq(e.outputs, first.outputs, EVENTS * CLASSES * sizeof(float));
            pq_evaluated_free(&e);
        }
    }
    pq_evaluated_free(&first);
    pq_graph_free(&graph);
    pq_free(path);
}

Test(evaluate, kernels_and_what_is_not_in_whole_numbers_are_told)
{
    static const size_t order[] = {0, 1, 2};
    char               *path    = write_events(scratch_folder());
    pq_graph           *model   = make_model(order, true);
    pq_evaluated        a       = evaluate(model, path, &(pq_evaluate_options){0});
    pq_evaluate_options options = {.predict = {.engine = "integer"}};
    pq_evaluated        b       = evaluate(model, path, &options);

    cr_expect_not_null(strstr(a.kernels, "1 x float32:"), "%s", a.kernels);
    cr_expect_eq(a.n_fallbacks, 0, "only whole numbers can fall back");
    cr_expect_str_eq(b.kernels, "1 x plain loops in double",
                     "the softmax is left to the metrics");
    cr_assert_eq(b.n_fallbacks, 1, "softmax has no kernel");
    cr_expect_str_eq(b.fallbacks[0], "fc: its kernel has no whole-number codes");
    pq_evaluated_free(&a);
    pq_evaluated_free(&b);
    pq_graph_free(&model);
    pq_free(path);
}

Test(evaluate, foreign_class_names_are_refused_with_both_lists)
{
    static const size_t      order[] = {0, 1, 2};
    static const char *const names[] = {"a", "b", "x"};
    char                    *path    = write_events(scratch_folder());
    pq_graph                *graph   = make_model(order, true);
    pq_dataset              *data    = NULL;
    pq_evaluated             e       = {0};
    pq_err                   err     = {0};

    cr_assert_eq(pq_graph_set_classes(graph, CLASSES, names, NULL), PQ_OK);
    cr_assert_eq(pq_dataset_open(path, NULL, &data, NULL), PQ_OK);
    cr_expect_eq(pq_evaluate(graph, data, 0, &(pq_evaluate_options){0}, &e, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "the model's classes (a,b,x) have no 'c' of the dataset's (a,b,c)");
    pq_dataset_close(&data);
    pq_graph_free(&graph);
    pq_free(path);
}

Test(evaluate, stages_are_calibrated_on_what_came_before_and_need_events_to_do_so)
{
    static const char *const methods[] = {"svd:rank=2,keep_dense=false", "quantize"};
    static const size_t      order[]   = {0, 1, 2};
    char                    *path      = write_events(scratch_folder());
    pq_graph                *graph = make_model(order, true), *small = NULL;
    pq_compress_options      how = {.seed = 1};
    pq_err                   err = {0};

    cr_expect_eq(pq_compress_methods(methods, 2, graph, &how, NULL, NULL, &small, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "quantize needs calibration events, and no dataset was given");
    cr_assert_eq(pq_dataset_open(path, NULL, &how.dataset, NULL), PQ_OK);
    cr_assert_eq(pq_compress_methods(methods, 2, graph, &how, NULL, NULL, &small, NULL),
                 PQ_OK);
    cr_expect_lt(pq_graph_stored_bytes(small), pq_graph_stored_bytes(graph));
    cr_expect_neq(pq_graph_find(small, "fc.b"), SIZE_MAX);
    pq_dataset_close(&how.dataset);
    pq_graph_free(&graph);
    pq_graph_free(&small);
    pq_free(path);
}
