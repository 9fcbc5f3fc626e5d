#include "store/results.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/json.h"
#include "store/record.h"
#include "store/schema.h"
#include "store/shelf.h"

enum { MAX_BYTES = 256 << 20 };

static pq_status read_plan(const char *dir, json_t **out, pq_err *err)
{
    json_error_t why;
    json_t      *plan  = NULL;
    char        *path  = pq_path_join(dir, "plan.json");
    char        *bytes = NULL;
    size_t       n     = 0;
    pq_status    st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    st = pq_file_read(path, MAX_BYTES, &bytes, &n, err);
    if (st == PQ_ERR_NOT_FOUND) {
        pq_err_hint(err, "a results folder is made by `pquant run CONFIG`");
    }
    PQ_TRY(st);
    plan = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &why);
    PQ_CHECK(plan != NULL, PQ_ERR_FORMAT, "%s:%d:%d: is not valid JSON: %s", path,
             why.line, why.column, why.text);
    PQ_CHECK(strcmp(pq_json_get_text(plan, "schema"), PQ_PLAN_SCHEMA) == 0 &&
                 json_is_array(json_object_get(plan, "cells")),
             PQ_ERR_FORMAT, "%s: is not a plan of schema %s", path, PQ_PLAN_SCHEMA);
    st = pq_schema_plan(plan, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
        goto cleanup;
    }
    *out = plan;
    plan = NULL;
cleanup:
    json_decref(plan);
    pq_free(path);
    pq_free(bytes);
    return st;
}

/* Puts the record of a key into the cell; its status becomes the cell's. */
static pq_status join_record(pq_shelf *shelf, json_t *cell, pq_results_count *count,
                             pq_err *err)
{
    json_t     *record = NULL, *metrics = json_object();
    const char *status = "missing";
    pq_status   st;

    st = pq_shelf_read(shelf, pq_json_get_text(cell, "eval"), &record, NULL);
    count->damaged += st == PQ_ERR_FORMAT;
    if (st == PQ_OK) {
        status = strcmp(pq_json_get_text(record, "status"), "interrupted") == 0
                     ? "missing"
                     : pq_json_get_text(record, "status");
        (void)json_object_update(metrics, json_object_get(record, "metrics"));
    }
    PQ_CHECK(
        json_object_set_new(cell, "status", json_string(status)) == 0 &&
            json_object_set(cell, "metrics", metrics) == 0 &&
            json_object_set_new(cell, "record",
                                record != NULL ? json_incref(record) : json_null()) == 0,
        PQ_ERR_NOMEM, "cannot allocate results");
cleanup:
    json_decref(metrics);
    return st;
}

/* Notes the engine of a timing. Numbers of the cell's first are those of its engine,
 * where the eval record has them. */
static pq_status join_engine(json_t *cell, const json_t *timing, json_t *engines,
                             pq_err *err)
{
    const json_t *about = json_object_get(timing, "timing");
    const char   *engine =
        pq_json_get_text(json_object_get(timing, "provenance"), "engine");
    json_t *record  = json_object_get(cell, "record");
    json_t *numbers = json_object_get(
        json_object_get(json_object_get(record, "engines"), engine), "metrics");
    char *name =
        pq_format("latency.b%lld.engine",
                  (long long)json_integer_value(json_object_get(about, "batch")));
    pq_status st;

    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate results");
    if (json_object_size(engines) == 0 && json_is_object(numbers)) {
        PQ_CHECK(json_object_update(json_object_get(cell, "metrics"), numbers) == 0,
                 PQ_ERR_NOMEM, "cannot allocate results");
    }
    PQ_CHECK(json_object_set_new(engines, name, json_string(engine)) == 0, PQ_ERR_NOMEM,
             "cannot allocate results");
cleanup:
    pq_free(name);
    return st;
}

static pq_status join_timings(pq_shelf *shelf, json_t *cell, pq_results_count *count,
                              pq_err *err)
{
    const bool    due     = strcmp(pq_json_get_text(cell, "status"), "ok") == 0;
    json_t       *metrics = json_object_get(cell, "metrics");
    json_t       *timings = json_array(), *record = NULL, *engines = json_object();
    const json_t *keys = json_object_get(cell, "latency"), *key;
    size_t        i;
    pq_status     st = PQ_OK;

    PQ_CHECK(timings != NULL && json_object_set(cell, "engines", engines) == 0,
             PQ_ERR_NOMEM, "cannot allocate results");
    json_array_foreach(keys, i, key)
    {
        const pq_status read =
            pq_shelf_read(shelf, json_string_value(key), &record, NULL);
        const bool ok =
            read == PQ_OK && strcmp(pq_json_get_text(record, "status"), "ok") == 0;
        count->latency++;
        count->latency_missing += due && !ok;
        count->damaged += read == PQ_ERR_FORMAT;
        if (due && read == PQ_OK && !ok) { /* why it was not timed */
            PQ_CHECK(json_object_set_new(
                         cell, "untimed",
                         json_string(pq_json_get_text(json_object_get(record, "error"),
                                                      "message"))) == 0,
                     PQ_ERR_NOMEM, "cannot allocate results");
        }
        if (ok) {
            PQ_TRY(join_engine(cell, record, engines, err));
            PQ_CHECK(json_object_update(metrics, json_object_get(record, "metrics")) ==
                             0 &&
                         json_array_append(timings, record) == 0,
                     PQ_ERR_NOMEM, "cannot allocate results");
        }
    }
    PQ_CHECK(json_object_set(cell, "timings", timings) == 0, PQ_ERR_NOMEM,
             "cannot allocate results");
cleanup:
    json_decref(engines);
    json_decref(timings);
    return st;
}

static double metric_value(const json_t *cell, const char *name)
{
    const json_t *metric = json_object_get(json_object_get(cell, "metrics"), name);
    const json_t *value  = json_object_get(metric, "value");

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static bool lower_is_better(const json_t *cell, const char *name)
{
    const json_t *metric = json_object_get(json_object_get(cell, "metrics"), name);

    return strcmp(pq_json_get_text(metric, "better"), "lower") == 0;
}

/* Value of a constraint's metric; of "auc.macro_loss" by how much the reference is
 * better.
 */
static double bounded_value(const json_t *cell, const json_t *reference, const char *name)
{
    const size_t n    = strlen(name);
    double       loss = (double)NAN;
    char        *base;

    if (json_object_get(json_object_get(cell, "metrics"), name) != NULL || n < 6 ||
        strcmp(name + n - 5, "_loss") != 0) {
        return metric_value(cell, name);
    }
    base = pq_format("%.*s", (int)(n - 5), name);
    if (base != NULL) {
        loss = metric_value(reference, base) - metric_value(cell, base);
        loss = lower_is_better(cell, base) ? -loss : loss;
    }
    pq_free(base);
    return loss;
}

/* Whether any constraint fails, or a stage missed a bound of its own. What was not
 * measured, or has no value, decides nothing: such constraints are listed under
 * `undecided`. */
static bool infeasible(const json_t *constraints, json_t *cell, const json_t *reference)
{
    const char   *name;
    const json_t *bounds;
    json_t       *undecided = json_array();
    const json_t *record    = json_object_get(cell, "record");
    bool          fails     = json_is_true(json_object_get(record, "infeasible"));

    json_object_foreach((json_t *)constraints, name, bounds)
    {
        const double  value = bounded_value(cell, reference, name);
        const json_t *min   = json_object_get(bounds, "min");
        const json_t *max   = json_object_get(bounds, "max");
        if (isnan(value)) {
            (void)json_array_append_new(undecided, json_string(name));
        }
        fails = fails || (json_is_number(min) && value < json_number_value(min)) ||
                (json_is_number(max) && value > json_number_value(max));
    }
    (void)json_object_set_new(cell, "undecided", undecided);
    return fails;
}

static void judge(const json_t *plan, json_t *cells, pq_results_count *count)
{
    const json_t *constraints = json_object_get(plan, "constraints");
    const json_t *reference   = NULL;
    json_t       *cell;
    size_t        i;

    json_array_foreach(cells, i, cell)
    {
        if (reference == NULL && json_is_true(json_object_get(cell, "reference"))) {
            reference = cell;
        }
    }
    json_array_foreach(cells, i, cell)
    {
        const char *status = pq_json_get_text(cell, "status");
        count->cells++;
        if (strcmp(status, "ok") == 0) {
            count->done++;
            if (infeasible(constraints, cell, reference)) {
                (void)json_object_set_new(cell, "status", json_string("infeasible"));
            }
            count->undecided += json_array_size(json_object_get(cell, "undecided")) > 0;
        } else if (strcmp(status, "missing") == 0) {
            count->missing++;
        } else {
            count->failed++;
        }
    }
}

pq_status pq_results_fill(json_t *plan, pq_shelf *shelf, pq_results_count *count,
                          pq_err *err)
{
    pq_results_count counted = {0};
    json_t          *cells   = json_object_get(plan, "cells"), *cell;
    size_t           i;
    pq_status        st = PQ_OK;

    json_array_foreach(cells, i, cell)
    {
        PQ_CHECK(json_is_object(cell) && json_is_array(json_object_get(cell, "latency")),
                 PQ_ERR_FORMAT, "plan.json: cell %zu is not complete", i);
        PQ_TRY(join_record(shelf, cell, &counted, err));
        PQ_TRY(join_timings(shelf, cell, &counted, err));
    }
    judge(plan, cells, &counted);
    if (count != NULL) {
        *count = counted;
    }
cleanup:
    return st;
}

pq_status pq_results_join(const char *dir, pq_shelf *shelf, json_t **out,
                          pq_results_count *count, pq_err *err)
{
    json_t   *plan = NULL;
    pq_status st;

    PQ_TRY(read_plan(dir, &plan, err));
    st = pq_results_fill(plan, shelf, count, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", dir);
        goto cleanup;
    }
    *out = plan;
    plan = NULL;
cleanup:
    json_decref(plan);
    return st;
}

pq_status pq_results_read(const char *dir, json_t **out, pq_results_count *count,
                          pq_err *err)
{
    pq_shelf *shelf = NULL;
    pq_status st;

    PQ_TRY(pq_shelf_open(dir, &shelf, err));
    PQ_TRY(pq_results_join(dir, shelf, out, count, err));
cleanup:
    pq_shelf_close(&shelf);
    return st;
}
