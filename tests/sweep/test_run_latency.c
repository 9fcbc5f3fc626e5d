#include "run_support.h"

Test(run, latency_is_measured_against_the_reference)
{
    const char *const rest =
        "latency: {batch: [1, 16], warmup: {seconds: 1ms}, single_shots: 20,\n"
        "  samples: {count: 6, sample_time: 100us, rounds: 2, max_seconds: "
        "1}}\n" PIPELINES;
    pq_sweep_summary s;
    pq_table         t;

    enter_inputs(100);
    s = run(rest, (pq_sweep_options){.only = "reference"});
    cr_expect_eq(s.timed, 2);
    pq_sweep_summary_free(&s);
    s = run(rest, (pq_sweep_options){0});
    cr_expect_eq(s.timed, 12, "what was timed is not timed again");
    t = table_of(s.dir);
    cr_expect_float_eq(value_at(&t, 0, "latency.b1.ratio"), 1.0, 1e-12);
    for (size_t i = 0; i < t.n_rows; i++) {
        const double one  = value_at(&t, i, "latency.b1.throughput_s");
        const double many = value_at(&t, i, "latency.b16.throughput_s");
        cr_expect(one > 1e-9 && one < 1e-2, "row %zu: %g s", i, one);
        cr_expect(many > 1e-9 && many < 1e-1);
        cr_expect_gt(value_at(&t, i, "latency.b16.ratio"), 0.0);
        cr_expect_leq(value_at(&t, i, "latency.b1.p50_s"),
                      value_at(&t, i, "latency.b1.p99_s"));
    }
    cr_expect_str_eq(t.columns[t.n_columns - 1].name, "latency.b16.ratio_hi");
    pq_table_free(&t);
    pq_sweep_summary_free(&s);
    s = run(rest, (pq_sweep_options){0});
    cr_expect_eq(s.timed, 0);
    pq_sweep_summary_free(&s);
}

/* Each cell's timing names its engine, and its accuracy is that engine's; a float model
 * is computed by one alone. */
Test(run, every_model_is_timed_on_the_fastest_engine_that_is_faithful)
{
    const char *const rest =
        "latency: {batch: [16], warmup: {seconds: 1ms}, single_shots: 20,\n"
        "  samples: {count: 6, sample_time: 100us, rounds: 2, max_seconds: "
        "1}}\n" PIPELINES;
    pq_sweep_summary s;
    json_t          *results = NULL, *cell;
    size_t           i, twice = 0;

    enter_inputs(100);
    s = run(rest, (pq_sweep_options){0});
    OK(pq_results_read(s.dir, &results, NULL, ERR));
    json_array_foreach(json_object_get(results, "cells"), i, cell)
    {
        const json_t *timing = json_array_get(json_object_get(cell, "timings"), 0);
        const json_t *about  = json_object_get(timing, "timing");
        const json_t *record = json_object_get(cell, "record");
        const json_t *race   = json_object_get(about, "race_s");
        const char   *engine = json_string_value(json_object_get(about, "engine"));
        const json_t *other = json_object_get(json_object_get(record, "engines"), engine);
        const json_t *numbers =
            json_object_get(other != NULL ? other : record, "metrics");
        cr_assert(strcmp(engine, "float32") == 0 || strcmp(engine, "int8") == 0, "%s",
                  engine);
        cr_expect_str_eq(json_string_value(json_object_get(
                             json_object_get(timing, "provenance"), "engine")),
                         engine);
        cr_expect(
            json_equal(json_object_get(json_object_get(cell, "metrics"), "accuracy"),
                       json_object_get(numbers, "accuracy")));
        if (json_object_get(record, "engines") == NULL) {
            cr_expect_str_eq(engine, "float32");
            cr_expect_eq(json_array_size(race), 0);
            continue;
        }
        twice++;
        cr_assert_eq(json_array_size(race), 2);
        cr_expect_eq(json_real_value(json_array_get(race, 0)) >
                         json_real_value(json_array_get(race, 1)),
                     strcmp(engine, "int8") == 0);
    }
    cr_expect_eq(twice, strstr(PQ_TEST_ENGINES, "int8") != NULL ? 3U : 0U,
                 "those with grids of 8 bits");
    json_decref(results);
    pq_sweep_summary_free(&s);
}

Test(run, a_named_engine_is_timed_whatever_is_faster)
{
    pq_sweep_summary s;
    pq_table         t;

    enter_inputs(100);
    s = run("latency: {batch: [16], engine: reference, warmup: {seconds: 1ms},\n"
            "  single_shots: 20, samples: {count: 6, sample_time: 100us, rounds: 2,\n"
            "  max_seconds: 1}}\n" PIPELINES,
            (pq_sweep_options){0});
    t = table_of(s.dir);
    for (size_t i = 0; i < t.n_rows; i++) {
        cr_expect_str_eq(text_at(&t, i, "latency.b16.engine"), "reference");
    }
    pq_table_free(&t);
    pq_sweep_summary_free(&s);
}

Test(run, constraints_mark_cells_that_are_not_feasible)
{
    pq_sweep_summary s;
    pq_table         t;
    double           limit;
    char            *rest;

    enter_inputs(300);
    s     = run(PIPELINES, (pq_sweep_options){0});
    t     = table_of(s.dir);
    limit = value_at(&t, 0, "stored_bytes") - 1.0;
    pq_table_free(&t);
    pq_sweep_summary_free(&s);
    rest = pq_format(
        "constraints: {stored_bytes: {max: %g}, accuracy_loss: {max: 0.1}}\n" PIPELINES,
        limit);
    s = run(rest, (pq_sweep_options){0});
    cr_expect_eq(s.cached, 7, "constraints are no part of a key");
    t = table_of(s.dir);
    for (size_t i = 0; i < t.n_rows; i++) {
        const bool fits =
            value_at(&t, i, "stored_bytes") <= limit &&
            value_at(&t, 0, "accuracy") - value_at(&t, i, "accuracy") <= 0.1;
        cr_expect_str_eq(text_at(&t, i, "status"), fits ? "ok" : "infeasible", "row %zu",
                         i);
    }
    cr_expect_str_eq(text_at(&t, 0, "status"), "infeasible");
    cr_expect_str_eq(text_at(&t, 4, "status"), "ok");
    pq_table_free(&t);
    pq_sweep_summary_free(&s);
    pq_free(rest);
}
