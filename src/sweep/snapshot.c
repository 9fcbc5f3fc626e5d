#include "sweep/snapshot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "core/text.h"
#include "metrics/tests.h"
#include "store/json.h"
#include "store/record.h"
#include "store/results.h"

enum { BYTES_MAX = 1 << 30 };

static const char latency[] = "latency.";

/* Numbers that are not times: those are compared by their samples. */
static json_t *metrics_of(const json_t *cell)
{
    json_t       *all = json_object();
    const char   *name;
    const json_t *value;

    json_object_foreach(json_object_get(cell, "metrics"), name, value)
    {
        if (strncmp(name, latency, sizeof latency - 1) != 0) {
            (void)json_object_set(all, name, (json_t *)value);
        }
    }
    return all;
}

/* Of each process its time over the reference's; none where a record has none. */
static json_t *processes_of(const json_t *timing)
{
    json_t       *all = json_array();
    const json_t *part;
    size_t        i;

    json_array_foreach(json_object_get(timing, "processes"), i, part)
    {
        const double ratio = json_number_value(json_object_get(part, "ratio"));
        if (isfinite(ratio) && ratio > 0.0) {
            (void)json_array_append_new(all, json_real(1.0 / ratio));
        }
    }
    return all;
}

static json_t *timings_of(const json_t *cell)
{
    json_t       *all = json_object();
    const json_t *record;
    size_t        i;

    json_array_foreach(json_object_get(cell, "timings"), i, record)
    {
        const json_t *timing = json_object_get(record, "timing");
        const json_t *about  = json_object_get(record, "provenance");
        json_t       *ratios = json_object_get(timing, "ratios");
        char         *name =
            pq_format("%sb%lld", latency,
                      (long long)json_integer_value(json_object_get(timing, "batch")));
        char *machine = pq_format("%s, %s, %s", pq_json_get_text(about, "cpu"),
                                  pq_json_get_text(about, "instructions"),
                                  pq_json_get_text(about, "compiler"));
        if (name != NULL && machine != NULL && json_is_array(ratios)) {
            (void)json_object_set_new(
                all, name,
                json_pack("{s:O, s:o, s:b, s:s, s:s}", "ratios", ratios, "processes",
                          processes_of(timing), "noisy",
                          json_is_true(json_object_get(timing, "noisy")), "machine",
                          machine, "measured", pq_json_get_text(about, "date")));
        }
        pq_free(name);
        pq_free(machine);
    }
    return all;
}

/* The part of a record that holds the decisions behind a cell's numbers: of the engine
 * that it was timed on first where the record has numbers of it (store/results.h). */
static const json_t *decided_by(const json_t *record, const json_t *cell)
{
    const json_t *first = json_array_get(json_object_get(cell, "timings"), 0);
    const char   *name = pq_json_get_text(json_object_get(first, "provenance"), "engine");
    const json_t *part = json_object_get(json_object_get(record, "engines"), name);

    return json_is_object(json_object_get(part, "metrics")) ? part : record;
}

/* What the joined results leave out of a record. */
static void add_correct(const char *dir, const json_t *cell, json_t *out)
{
    json_t *record = NULL, *correct;

    if (pq_record_read(dir, pq_json_get_text(cell, "eval"), &record, NULL) == PQ_OK) {
        correct = json_object_get(decided_by(record, cell), "correct");
        if (json_is_string(correct)) {
            (void)json_object_set(out, "correct", correct);
        }
    }
    json_decref(record);
}

static bool wants_correct(const json_t *plan)
{
    const char   *name;
    const json_t *gate;

    json_object_foreach((json_t *)json_object_get(plan, "gates"), name, gate)
    {
        if (strcmp(pq_json_get_text(gate, "test"), "paired") == 0) {
            return true;
        }
    }
    return false;
}

static bool is_number_or_null(const json_t *value)
{
    return value == NULL || json_is_null(value) || json_is_number(value);
}

/* A number as a record has it: what is none must not pass for "no value". */
static bool is_metric(const json_t *metric)
{
    const char *better = pq_json_get_text(metric, "better");

    return json_is_object(metric) &&
           is_number_or_null(json_object_get(metric, "value")) &&
           is_number_or_null(json_object_get(metric, "lo")) &&
           is_number_or_null(json_object_get(metric, "hi")) &&
           (strcmp(better, "higher") == 0 || strcmp(better, "lower") == 0 ||
            strcmp(better, "none") == 0);
}

static bool are_metrics(const json_t *metrics)
{
    const char   *name;
    const json_t *metric;

    json_object_foreach((json_t *)metrics, name, metric)
    {
        if (!is_metric(metric)) {
            return false;
        }
    }
    return json_is_object(metrics);
}

static bool are_numbers(const json_t *list)
{
    const json_t *value;
    size_t        i;

    json_array_foreach((json_t *)list, i, value)
    {
        if (!json_is_number(value)) {
            return false;
        }
    }
    return json_is_array(list);
}

static bool are_timings(const json_t *timings)
{
    const char   *name;
    const json_t *timing;

    json_object_foreach((json_t *)timings, name, timing)
    {
        const json_t *processes = json_object_get(timing, "processes");
        if (!are_numbers(json_object_get(timing, "ratios")) ||
            (processes != NULL && !are_numbers(processes))) {
            return false;
        }
    }
    return json_is_object(timings);
}

/* Digits of events, or none. */
static bool is_correct(const json_t *correct)
{
    const char *text = json_string_value(correct);

    return correct == NULL ||
           (text != NULL && strspn(text, "0123456789abcdef") == strlen(text));
}

static pq_status check_cell(const json_t *cell, size_t i, json_t *seen, pq_err *err)
{
    const json_t *repeat = json_object_get(cell, "repeat");
    const char   *label  = pq_json_get_text(cell, "label");
    char         *key    = NULL;
    pq_status     st;

    PQ_CHECK(json_is_string(json_object_get(cell, "label")) && json_is_integer(repeat) &&
                 json_integer_value(repeat) >= 0,
             PQ_ERR_FORMAT, "cell %zu has no label or no repeat of at least 0", i);
    PQ_CHECK(are_metrics(json_object_get(cell, "metrics")), PQ_ERR_FORMAT,
             "cell %zu, '%.80s': metrics are not numbers as a baseline has them", i,
             label);
    PQ_CHECK(are_timings(json_object_get(cell, "timings")), PQ_ERR_FORMAT,
             "cell %zu, '%.80s': timings are not lists of ratios", i, label);
    PQ_CHECK(is_correct(json_object_get(cell, "correct")), PQ_ERR_FORMAT,
             "cell %zu, '%.80s': correct is not of hexadecimal digits", i, label);
    key = pq_snapshot_key(cell);
    PQ_CHECK(key != NULL, PQ_ERR_NOMEM, "cannot allocate a baseline");
    PQ_CHECK(json_object_get(seen, key) == NULL, PQ_ERR_FORMAT,
             "cell %zu, '%.80s': is there twice", i, label);
    PQ_CHECK(json_object_set_new(seen, key, json_true()) == 0, PQ_ERR_NOMEM,
             "cannot allocate a baseline");
cleanup:
    pq_free(key);
    return st;
}

/* What is compared later: a number that is none would pass. */
static pq_status check(const json_t *snapshot, pq_err *err)
{
    const json_t *cells = json_object_get(snapshot, "cells"), *cell;
    json_t       *seen  = json_object();
    size_t        i;
    pq_status     st;

    PQ_CHECK(seen != NULL, PQ_ERR_NOMEM, "cannot allocate a baseline");
    PQ_CHECK(strcmp(pq_json_get_text(snapshot, "schema"), PQ_BASELINE_SCHEMA) == 0 &&
                 json_is_array(cells),
             PQ_ERR_FORMAT, "is not of schema %s", PQ_BASELINE_SCHEMA);
    json_array_foreach((json_t *)cells, i, cell)
    {
        PQ_TRY(check_cell(cell, i, seen, err));
    }
cleanup:
    json_decref(seen);
    return st;
}

pq_status pq_snapshot_take(const char *dir, json_t **out, json_t **plan, pq_err *err)
{
    char          date[32];
    json_t       *results = NULL, *cells = json_array(), *all = NULL;
    const json_t *cell;
    size_t        i;
    pq_status     st;

    PQ_TRY(pq_results_read(dir, &results, NULL, err));
    json_array_foreach(json_object_get(results, "cells"), i, cell)
    {
        const json_t *record = json_object_get(cell, "record");
        json_t       *one =
            json_pack("{s:s, s:I, s:s, s:b, s:s, s:o, s:o}", "label",
                      pq_json_get_text(cell, "label"), "repeat",
                      (json_int_t)json_integer_value(json_object_get(cell, "repeat")),
                      "status", pq_json_get_text(cell, "status"), "reference",
                      json_is_true(json_object_get(cell, "reference")), "events",
                      pq_json_get_text(json_object_get(record, "provenance"), "test"),
                      "metrics", metrics_of(cell), "timings", timings_of(cell));
        if (wants_correct(results)) {
            add_correct(dir, cell, one);
        }
        PQ_CHECK(one != NULL && json_array_append_new(cells, one) == 0, PQ_ERR_NOMEM,
                 "cannot allocate a baseline");
    }
    all =
        json_pack("{s:s, s:s, s:s, s:s, s:O}", "schema", PQ_BASELINE_SCHEMA, "name",
                  pq_json_get_text(results, "name"), "made",
                  pq_clock_date(date, sizeof date), "pquant", PQ_VERSION, "cells", cells);
    PQ_CHECK(all != NULL, PQ_ERR_NOMEM, "cannot allocate a baseline");
    st = check(all, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", dir);
        goto cleanup;
    }
    *out = all;
    all  = NULL;
    if (plan != NULL) {
        *plan   = results;
        results = NULL;
    }
cleanup:
    json_decref(results);
    json_decref(cells);
    json_decref(all);
    return st;
}

pq_status pq_snapshot_read(const char *path, json_t **out, pq_err *err)
{
    json_error_t why;
    json_t      *snapshot = NULL;
    char        *bytes    = NULL;
    size_t       n        = 0;
    pq_status    st;

    if (pq_folder_exists(path)) {
        return pq_snapshot_take(path, out, NULL, err);
    }
    st = pq_file_read(path, BYTES_MAX, &bytes, &n, err);
    if (st == PQ_ERR_NOT_FOUND) {
        pq_err_hint(err, "a baseline is made by `pquant baseline set DIR`");
    }
    PQ_TRY(st);
    snapshot = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &why);
    PQ_CHECK(snapshot != NULL, PQ_ERR_FORMAT, "%s:%d:%d: is not valid JSON: %s", path,
             why.line, why.column, why.text);
    st = check(snapshot, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
        goto cleanup;
    }
    *out     = snapshot;
    snapshot = NULL;
cleanup:
    json_decref(snapshot);
    pq_free(bytes);
    return st;
}

pq_status pq_snapshot_write(const json_t *snapshot, const char *path, pq_err *err)
{
    const int n      = (int)(pq_path_base(path) - path);
    char     *folder = n > 0 ? pq_format("%.*s", n, path) : NULL;
    pq_text   text   = {0};
    pq_status st;

    PQ_CHECK(pq_json_add(snapshot, &text), PQ_ERR_NOMEM, "cannot allocate a baseline");
    pq_text_add(&text, "\n");
    if (folder != NULL) {
        PQ_TRY(pq_folder_make(folder, err));
    }
    PQ_TRY(pq_file_write(path, text.text, text.length, err));
cleanup:
    pq_free(folder);
    pq_text_free(&text);
    return st;
}

pq_status pq_snapshot_values(const json_t *timing, const char *list, double **out,
                             size_t *n, pq_err *err)
{
    const json_t *all = json_object_get(timing, list), *value;
    size_t        i;
    pq_status     st;

    *n = 0;
    PQ_NEW(*out, json_array_size(all) + 1);
    json_array_foreach((json_t *)all, i, value)
    {
        const double number = json_is_number(value) ? json_number_value(value) : 0.0;
        if (isfinite(number) && number > 0.0) {
            (*out)[(*n)++] = number;
        }
    }
cleanup:
    return st;
}

pq_status pq_snapshot_ratio(const json_t *timing, double *out, pq_err *err)
{
    double   *values = NULL;
    size_t    n;
    pq_status st;

    PQ_TRY(pq_snapshot_values(timing, "processes", &values, &n, err));
    if (n <= 1) { /* of one it is that of its samples, which older ones have alone */
        pq_free(values);
        PQ_TRY(pq_snapshot_values(timing, "ratios", &values, &n, err));
    }
    *out = n > 0 ? pq_median_of(values, n) : (double)NAN;
cleanup:
    pq_free(values);
    return st;
}

char *pq_snapshot_key(const json_t *cell)
{
    return pq_format("%s|%lld", pq_json_get_text(cell, "label"),
                     (long long)json_integer_value(json_object_get(cell, "repeat")));
}

json_t *pq_snapshot_index(const json_t *snapshot)
{
    json_t *index = json_object(), *cell;
    size_t  i;

    json_array_foreach(json_object_get(snapshot, "cells"), i, cell)
    {
        char *key = pq_snapshot_key(cell);
        if (key == NULL || json_object_set(index, key, cell) != 0) {
            json_decref(index);
            index = NULL;
        }
        pq_free(key);
    }
    return index;
}
