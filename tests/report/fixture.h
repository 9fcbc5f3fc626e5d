/**
 * @file
 * Results folders as a sweep would leave them, with invented numbers: they
 * stand for nothing and never leave the tests.
 */
#ifndef PQ_TESTS_REPORT_FIXTURE_H
#define PQ_TESTS_REPORT_FIXTURE_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/memory.h"
#include "core/name.h"
#include "io/hdf5.h"
#include "store/record.h"
#include "store/results.h"

/* What a made-up cell shows; NAN = no such number. */
typedef struct {
    const char *pipeline, *label, *axis, *axis_value;
    const char *status; /* "ok", "failed", …, or "missing": no record */
    double      accuracy, bytes, speed_up;
    const char *noise; /* or NULL */
} fixture_cell;

typedef struct {
    const char         *name, *dataset;
    const char *const  *classes;
    size_t              n_classes, n_cells;
    const fixture_cell *cells;
    int                 arrays; /* 1: with ROC curves, 2: with arrays of b taggers, too */
    size_t              samples; /* of each timing; 0: not in the record */
    const char         *assumed; /* of the inputs, or NULL */
} fixture;

/* A new empty folder; the caller removes it with fixture_remove. */
static inline char *fixture_folder(void)
{
    char pattern[] = "/tmp/pquant-report-XXXXXX";

    cr_assert_not_null(mkdtemp(pattern));
    return pq_strdup(pattern);
}

static inline void fixture_remove(char *dir)
{
    static const char *const inner[] = {"plots", "cells", "arrays", "."};

    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        char  *folder = pq_path_join(dir, inner[i]), **names = NULL;
        size_t n = 0;
        if (pq_folder_exists(folder) &&
            pq_folder_list(folder, "", &names, &n, NULL) == PQ_OK) {
            for (size_t k = 0; k < n; k++) {
                char *path = pq_path_join(folder, names[k]);
                (void)unlink(path);
                pq_free(path);
                pq_free(names[k]);
            }
            pq_free(names);
        }
        if (inner[i][0] != '.') {
            (void)rmdir(folder);
        }
        pq_free(folder);
    }
    cr_expect_eq(rmdir(dir), 0, "%s: something is left in the folder", dir);
    pq_free(dir);
}

static inline void fixture_key(const char *text, char out[PQ_HASH_TEXT])
{
    pq_hash h;

    pq_hash_start(&h);
    pq_hash_text(&h, text);
    pq_hash_end(&h, out);
}

static inline json_t *fixture_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static inline void fixture_metric(json_t *metrics, const char *name, double value,
                                  double half, double n, const char *unit,
                                  const char *better)
{
    if (isnan(value)) {
        return;
    }
    json_object_set_new(
        metrics, name,
        json_pack("{s:o, s:o, s:o, s:f, s:s, s:s}", "value", fixture_number(value), "lo",
                  fixture_number(value - half), "hi", fixture_number(value + half), "n",
                  n, "unit", unit, "better", better));
}

static inline json_t *fixture_metrics(const fixture *f, const fixture_cell *c)
{
    const double n       = 10000.0;
    json_t      *metrics = json_object();

    fixture_metric(metrics, "accuracy", c->accuracy,
                   sqrt(c->accuracy * (1.0 - c->accuracy) / n), n, "", "higher");
    fixture_metric(metrics, "auc.macro", 0.5 + 0.58 * c->accuracy, 0.0014, n, "",
                   "higher");
    for (size_t i = 0; i < f->n_classes; i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "auc.%s", f->classes[i]);
        fixture_metric(metrics, name, 0.5 + 0.57 * c->accuracy + 0.005 * (double)i, 0.002,
                       n, "", "higher");
    }
    fixture_metric(metrics, "stored_bytes", c->bytes, (double)NAN, 0.0, "byte", "lower");
    fixture_metric(metrics, "file_bytes", c->bytes + 9000.0, (double)NAN, 0.0, "byte",
                   "lower");
    fixture_metric(metrics, "parameters", floor(c->bytes / 4.0), (double)NAN, 0.0, "",
                   "lower");
    fixture_metric(metrics, "macs", floor(c->bytes / 4.1), (double)NAN, 0.0, "MAC",
                   "lower");
    return metrics;
}

static inline json_t *fixture_confusion(size_t n, double accuracy)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < n; i++) {
        json_t *row = json_array();
        for (size_t j = 0; j < n; j++) {
            const double share = i == j ? accuracy : (1.0 - accuracy) / (double)(n - 1);
            json_array_append_new(row, json_integer((json_int_t)(2000.0 * share)));
        }
        json_array_append_new(rows, row);
    }
    return rows;
}

/* Arrays of a b tagger: what is in a column falls with the row and the accuracy. */
static inline void fixture_taggers(pq_h5 *file, double accuracy)
{
    static const struct {
        const char *name;
        size_t      columns;
    } arrays[] = {{"/btag/roc", 7},
                  {"/btag/discriminant", 5},
                  {"/btag/probability", 17},
                  {"/btag/scan", 3}};
    enum { ROWS = 50 };
    pq_err err = {0};

    for (size_t a = 0; a < sizeof arrays / sizeof *arrays; a++) {
        const size_t columns = arrays[a].columns;
        pq_tensor   *t       = NULL;
        cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(ROWS, columns), &t, &err),
                     PQ_OK);
        for (size_t i = 0; i < t->count; i++) {
            const double x = (double)(i / columns) / ROWS;
            pq_f64(t)[i]   = i % columns == 0
                                 ? 0.5 + x / 2.0
                                 : pow(accuracy / 0.8, 64.0) * (1000.0 - 900.0 * x);
        }
        cr_assert_eq(pq_h5_write(file, arrays[a].name, t, 0, &err), PQ_OK, "%s",
                     err.message);
        pq_tensor_free(&t);
    }
}

/* Curves of two unit Gaussians whose means differ by more, the better the model. */
static inline void fixture_arrays(const char *dir, const char *name, const fixture *f,
                                  double accuracy)
{
    enum { POINTS = 400 };
    char      *path = pq_path_join(dir, name), *folder = pq_path_join(dir, "arrays");
    pq_h5     *file = NULL;
    pq_tensor *s = NULL, *b = NULL;
    pq_err     err = {0};

    cr_assert_eq(pq_folder_make(folder, &err), PQ_OK, "%s", err.message);
    cr_assert_eq(pq_h5_create(path, &file, &err), PQ_OK, "%s", err.message);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(POINTS), &s, &err), PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(POINTS), &b, &err), PQ_OK);
    for (size_t c = 0; c < f->n_classes; c++) {
        char *where[] = {pq_name_curve(f->classes[c], "signal_efficiency"),
                         pq_name_curve(f->classes[c], "background_efficiency")};
        for (size_t i = 0; i < POINTS; i++) {
            const double t = 5.0 - 10.0 * (double)i / (POINTS - 1);
            const double d = 3.2 * accuracy - 0.5 + 0.22 * (double)c;
            pq_f32(s)[i]   = (float)(0.5 * erfc((t - d) / sqrt(2.0)));
            pq_f32(b)[i]   = (float)(0.5 * erfc(t / sqrt(2.0)));
        }
        cr_assert_eq(pq_h5_write(file, where[0], s, 0, &err), PQ_OK, "%s", err.message);
        cr_assert_eq(pq_h5_write(file, where[1], b, 0, &err), PQ_OK, "%s", err.message);
        pq_free(where[0]);
        pq_free(where[1]);
    }
    if (f->arrays == 2) {
        fixture_taggers(file, accuracy);
    }
    cr_assert_eq(pq_h5_commit(&file, &err), PQ_OK, "%s", err.message);
    pq_tensor_free(&s);
    pq_tensor_free(&b);
    pq_free(path);
    pq_free(folder);
}

static inline json_t *fixture_names(const fixture *f)
{
    json_t *names = json_array();

    for (size_t i = 0; i < f->n_classes; i++) {
        json_array_append_new(names, json_string(f->classes[i]));
    }
    return names;
}

static inline json_t *fixture_provenance(void)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "pquant", "0.1.0", "cpu", "Example CPU",
                     "instructions", "avx2", "date", "2026-01-31T12:34:56Z");
}

static inline json_t *fixture_record(const fixture *f, const fixture_cell *c,
                                     size_t order, const char *key, const char *phase)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:{}, s:i, s:s, s:[s], s:o, s:o, "
        "s:{s:i}}",
        "schema", PQ_RECORD_SCHEMA, "key", key, "phase", phase, "experiment", f->name,
        "pipeline", c->pipeline, "label", c->label, "order", (json_int_t)order, "axes",
        "repeat", 0, "status", c->status, "stages", c->label, "provenance",
        fixture_provenance(), "class_names", fixture_names(f), "seeds", "base", 42);
}

static inline void fixture_write_record(const char *dir, json_t *record)
{
    pq_err err = {0};

    cr_assert_not_null(record);
    cr_assert_eq(pq_record_write(dir, record, &err), PQ_OK, "%s", err.message);
    json_decref(record);
}

static inline void fixture_eval(const char *dir, const fixture *f, size_t order,
                                const char *key)
{
    const fixture_cell *c      = &f->cells[order];
    json_t             *record = fixture_record(f, c, order, key, "eval");
    char                arrays[100];

    if (strcmp(c->status, "ok") != 0) {
        json_object_set_new(record, "error",
                            json_pack("{s:s, s:s, s:s}", "code", "value out of range",
                                      "message", "layer 'fc1': rank 99 is not in 1..32",
                                      "hint", ""));
        fixture_write_record(dir, record);
        return;
    }
    json_object_set_new(record, "metrics", fixture_metrics(f, c));
    json_object_set_new(record, "confusion",
                        fixture_confusion(f->n_classes, c->accuracy));
    json_object_set_new(record, "layers",
                        json_pack("[{s:s, s:s, s:f, s:i, s:i, s:i, s:i}]", "layer", "fc1",
                                  "what", "rank 8 of 16", "error", 0.1234, "bytes_before",
                                  4352, "bytes_after", 2816, "macs_before", 1024,
                                  "macs_after", 640));
    json_object_set_new(record, "quantization",
                        json_pack("{s:i, s:i, s:[{s:s, s:f, s:f, s:f}]}", "events", 256,
                                  "agree", 250, "layers", "layer", "fc1", "error", 0.0123,
                                  "largest", 0.5, "signal", 2.0));
    json_object_set_new(json_object_get(record, "provenance"), "fallbacks",
                        json_pack("[s]", "fc2: its kernel has no whole-number codes"));
    if (f->arrays > 0) {
        (void)snprintf(arrays, sizeof arrays, "arrays/%s.h5", key);
        fixture_arrays(dir, arrays, f, c->accuracy);
        json_object_set_new(record, "arrays_file", json_string(arrays));
    }
    fixture_write_record(dir, record);
}

static inline void fixture_latency(const char *dir, const fixture *f, size_t order,
                                   const char *key)
{
    const fixture_cell *c       = &f->cells[order];
    json_t             *record  = fixture_record(f, c, order, key, "latency");
    json_t             *metrics = json_object(), *timing;
    const double        time    = 2.1e-6 / c->speed_up;

    fixture_metric(metrics, "latency.b1.throughput_s", time, 0.03e-6, 30.0, "s", "lower");
    fixture_metric(metrics, "latency.b1.p50_s", 1.05 * time, (double)NAN, 0.0, "s",
                   "lower");
    fixture_metric(metrics, "latency.b1.p99_s", 1.6 * time, (double)NAN, 0.0, "s",
                   "lower");
    if (f->samples > 0) {
        fixture_metric(metrics, "latency.b1.call_s", 1.1 * time, (double)NAN, 0.0, "s",
                       "lower");
    }
    fixture_metric(metrics, "latency.b1.ratio", c->speed_up, 0.02, 30.0, "", "higher");
    json_object_set_new(record, "metrics", metrics);
    timing = json_pack("{s:b, s:s}", "noisy", c->noise != NULL, "why",
                       c->noise != NULL ? c->noise : "");
    if (f->samples > 0) {
        json_object_set_new(timing, "batch", json_integer(1));
        json_object_set_new(timing, "samples", json_array());
        json_object_set_new(timing, "shots",
                            json_pack("{s:{s:f, s:[[f, i], [f, i], [f, i]]}}", "hot",
                                      "step_ns", 1.0, "ns_calls", 1e9 * time, 90,
                                      1.2e9 * time, 9, 5e9 * time, 1));
    }
    for (size_t i = 0; i < f->samples; i++) {
        json_array_append_new(json_object_get(timing, "samples"), json_real(time));
    }
    json_object_set_new(record, "timing", timing);
    fixture_write_record(dir, record);
}

/* Writes plan and records. */
static inline void fixture_write(const char *dir, const fixture *f)
{
    json_t *cells = json_array(), *plan;
    char   *path = pq_path_join(dir, "plan.json"), *folder = pq_path_join(dir, "cells"),
         *text;

    cr_assert_eq(pq_folder_make(folder, NULL), PQ_OK);
    for (size_t i = 0; i < f->n_cells; i++) {
        const fixture_cell *c = &f->cells[i];
        char                eval[PQ_HASH_TEXT], latency[PQ_HASH_TEXT], seed[300];
        json_t             *axes = json_object(), *timings = json_array();
        (void)snprintf(seed, sizeof seed, "%s %zu", c->label, i);
        fixture_key(seed, eval);
        fixture_key(eval, latency);
        if (c->axis != NULL) {
            json_object_set_new(axes, c->axis, json_string(c->axis_value));
        }
        if (isfinite(c->speed_up)) {
            json_array_append_new(timings, json_string(latency));
            fixture_latency(dir, f, i, latency);
        }
        if (strcmp(c->status, "missing") != 0) {
            fixture_eval(dir, f, i, eval);
        }
        json_array_append_new(
            cells, json_pack("{s:I, s:s, s:s, s:o, s:i, s:s, s:o, s:b}", "order",
                             (json_int_t)i, "pipeline", c->pipeline, "label", c->label,
                             "axes", axes, "repeat", 0, "eval", eval, "latency", timings,
                             "reference", strcmp(c->pipeline, "reference") == 0));
    }
    json_t *dataset = json_string(f->dataset);
    char   *name    = json_dumps(dataset, JSON_ENCODE_ANY), *resolved;
    json_decref(dataset);
    resolved = pq_format("schema: pquant/1\ndataset:\n  file: %s\n", name);
    plan =
        json_pack("{s:s, s:s, s:s, s:s, s:o}", "schema", PQ_PLAN_SCHEMA, "name", f->name,
                  "config", "configs/example.yaml", "resolved", resolved, "cells", cells);
    if (f->assumed != NULL) {
        json_object_set_new(plan, "assumed", json_string(f->assumed));
    }
    free(name);
    pq_free(resolved);
    text = json_dumps(plan, JSON_INDENT(1));
    cr_assert_eq(pq_file_write(path, text, strlen(text), NULL), PQ_OK);
    free(text);
    json_decref(plan);
    pq_free(path);
    pq_free(folder);
}

/* Puts constraints into the plan that was written. */
static inline void fixture_constrain(const char *dir, const char *constraints)
{
    char   *path = pq_path_join(dir, "plan.json"), *text;
    json_t *plan = json_load_file(path, 0, NULL);

    json_object_set_new(plan, "constraints", json_loads(constraints, 0, NULL));
    text = json_dumps(plan, 0);
    cr_assert_eq(pq_file_write(path, text, strlen(text), NULL), PQ_OK);
    free(text);
    json_decref(plan);
    pq_free(path);
}

#endif
