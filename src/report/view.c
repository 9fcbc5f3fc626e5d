#include "report/view.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "io/yaml.h"
#include "report/choice.h"
#include "store/json.h"

/* How a number is shown; what its unit becomes depends on its size. */
typedef enum {
    SHOW_REAL,
    SHOW_PERCENT,
    SHOW_POINTS,
    SHOW_RATIO,
    SHOW_COUNT,
    SHOW_BYTES,
    SHOW_TIME
} show;

/* The main table: order here is order there, rank is importance. %zu takes the batch
 * size; `single` ones are shown for single events only. */
typedef struct {
    const char *name, *title;
    show        kind;
    int         rank;
    bool        single;
} spec;

static const spec specs[] = {
    {"accuracy", "accuracy", SHOW_PERCENT, 1, false},
    {"delta_accuracy", "\xce\x94 acc.", SHOW_POINTS, 6, false},
    {"auc.macro", "AUC macro", SHOW_REAL, 5, false},
    {"stored_bytes", "stored", SHOW_BYTES, 2, false},
    {"size_ratio", "ratio", SHOW_RATIO, 3, false},
    {"latency.b%zu.ratio", "speed-up b=%zu", SHOW_RATIO, 4, false},
    {"latency.b%zu.throughput_s", "time b=%zu", SHOW_TIME, 7, false},
    {"latency.b%zu.p50_s", "p50", SHOW_TIME, 12, true},
    {"latency.b%zu.p99_s", "p99", SHOW_TIME, 11, true},
    {"latency.b%zu.call_s", "call", SHOW_TIME, 14, true},
    {"latency.b%zu.l1_evicted_s", "L1 evicted", SHOW_TIME, 17, true},
    {"latency.b%zu.flushed_s", "flushed", SHOW_TIME, 16, true},
    {"latency.b%zu.idle_1ms_s", "after 1 ms idle", SHOW_TIME, 18, true},
    {"latency.b%zu.code_bytes", "code", SHOW_BYTES, 15, true},
    {"macs", "MACs", SHOW_COUNT, 8, false},
    {"ebops", "EBOPs", SHOW_COUNT, 19, false},
    {"parameters", "parameters", SHOW_COUNT, 9, false},
    {"nonzero", "non-zero", SHOW_COUNT, 10, false},
    {"file_bytes", "file", SHOW_BYTES, 13, false},
};

enum { N_SPECS = sizeof specs / sizeof *specs };

static const pq_number nothing = {(double)NAN, (double)NAN, (double)NAN};

static double real_of(const json_t *object, const char *name)
{
    const json_t *number = json_object_get(object, name);

    return json_is_number(number) ? json_number_value(number) : (double)NAN;
}

static pq_number metric_of(const json_t *cell, const char *name)
{
    const json_t *metric = json_object_get(json_object_get(cell, "metrics"), name);

    return (pq_number){real_of(metric, "value"), real_of(metric, "lo"),
                       real_of(metric, "hi")};
}

/* Row of the table above for a metric, with its batch size; N_SPECS for a further one. */
static size_t spec_of(const char *name, size_t *batch)
{
    *batch = 0;
    for (size_t i = 0; i < N_SPECS; i++) {
        const char *hole = strstr(specs[i].name, "%zu");
        const char *s    = name;
        size_t      b    = 0;
        if (hole == NULL) {
            if (strcmp(specs[i].name, name) == 0) {
                return i;
            }
            continue;
        }
        if (strncmp(name, specs[i].name, (size_t)(hole - specs[i].name)) != 0) {
            continue;
        }
        for (s += hole - specs[i].name; *s >= '0' && *s <= '9' && b < 100000000; s++) {
            b = b * 10 + (size_t)(*s - '0');
        }
        if (b > 0 && strcmp(s, hole + 3) == 0 && (b == 1 || !specs[i].single)) {
            *batch = b;
            return i;
        }
    }
    return N_SPECS;
}

/* Engines by batch size, in one word where they are one. */
static pq_status name_engines(pq_view_row *row, pq_err *err)
{
    json_t     *engines = json_object_get(row->cell, "engines"), *engine;
    const char *name, *first = NULL;
    pq_text     text = {0};
    bool        same = true;
    pq_status   st;

    json_object_foreach(engines, name, engine)
    {
        first = first != NULL ? first : json_string_value(engine);
        same  = same && strcmp(first, json_string_value(engine)) == 0;
    }
    pq_text_add(&text, "%s", same && first != NULL ? first : "");
    json_object_foreach(engines, name, engine)
    {
        if (!same) {
            pq_text_add(&text, "%s%s", text.length > 0 ? "/" : "",
                        json_string_value(engine));
        }
    }
    PQ_TRY(pq_text_take(&text, &row->engine, err));
cleanup:
    pq_text_free(&text);
    return st;
}

static pq_status make_rows(const json_t *results, pq_view *v, pq_err *err)
{
    const json_t *cells    = json_object_get(results, "cells");
    bool          repeated = false;
    pq_status     st;

    v->n_rows = json_array_size(cells);
    PQ_NEW(v->rows, v->n_rows);
    for (size_t i = 0; i < v->n_rows; i++) {
        const json_t *repeat = json_object_get(json_array_get(cells, i), "repeat");
        repeated             = repeated || json_integer_value(repeat) > 0;
    }
    for (size_t i = 0; i < v->n_rows; i++) {
        const json_t *cell = json_array_get(cells, i), *timing;
        pq_view_row  *row  = &v->rows[i];
        size_t        k;
        row->cell     = cell;
        row->pipeline = pq_json_get_text(cell, "pipeline");
        row->status   = pq_json_get_text(cell, "status");
        row->done =
            strcmp(row->status, "ok") == 0 || strcmp(row->status, "infeasible") == 0;
        row->label = repeated ? pq_format("%s #%lld", pq_json_get_text(cell, "label"),
                                          (long long)json_integer_value(
                                              json_object_get(cell, "repeat")))
                              : pq_strdup(pq_json_get_text(cell, "label"));
        PQ_CHECK(row->label != NULL, PQ_ERR_NOMEM, "cannot allocate a label");
        PQ_TRY(name_engines(row, err));
        v->timed = v->timed || *row->engine != '\0';
        json_array_foreach(json_object_get(cell, "timings"), k, timing)
        {
            const json_t *samples = json_object_get(timing, "timing");
            if (json_is_true(json_object_get(samples, "noisy"))) {
                row->noise = pq_json_get_text(samples, "why");
            }
        }
    }
cleanup:
    return st;
}

static size_t find_reference(const pq_view *v)
{
    for (size_t i = 0; i < v->n_rows; i++) {
        if (v->rows[i].done &&
            json_is_true(json_object_get(v->rows[i].cell, "reference"))) {
            return i;
        }
    }
    return PQ_VIEW_NONE;
}

static pq_number number_of(const pq_view *v, size_t row, const char *name)
{
    const json_t *cell = v->rows[row].cell;
    pq_number     mine, other;

    if (!v->rows[row].done) {
        return nothing;
    }
    if (strcmp(name, "delta_accuracy") == 0 && v->reference != PQ_VIEW_NONE) {
        mine  = metric_of(cell, "accuracy");
        other = metric_of(v->rows[v->reference].cell, "accuracy");
        return row == v->reference
                   ? nothing
                   : (pq_number){mine.value - other.value, (double)NAN, (double)NAN};
    }
    if (strcmp(name, "size_ratio") == 0 && v->reference != PQ_VIEW_NONE) {
        mine  = metric_of(cell, "stored_bytes");
        other = metric_of(v->rows[v->reference].cell, "stored_bytes");
        return (pq_number){mine.value > 0.0 ? other.value / mine.value : (double)NAN,
                           (double)NAN, (double)NAN};
    }
    return metric_of(cell, name);
}

/* Numbers of a metric into a column of all rows; the largest magnitude, or NAN where no
 * row has it. */
static double fill_column(const pq_view *v, const char *name, pq_number *column)
{
    double largest = (double)NAN;

    for (size_t r = 0; r < v->n_rows; r++) {
        column[r]      = number_of(v, r, name);
        const double x = fabs(column[r].value);
        largest        = isfinite(x) ? fmax(largest, x) : largest;
    }
    return largest;
}

static void choose_unit(pq_view_column *c, show kind, double largest)
{
    static const char *const bytes[]  = {"B", "kB", "MB", "GB", "TB"};
    static const char *const counts[] = {"", "k", "M", "G", "T"};
    static const char *const times[]  = {"ns", "\xc2\xb5s", "ms", "s"};
    size_t                   step     = 0;

    *c = (pq_view_column){.name   = c->name,
                          .title  = c->title,
                          .unit   = "",
                          .scale  = 1.0,
                          .digits = kind == SHOW_REAL ? 4 : 3};
    if (kind == SHOW_PERCENT || kind == SHOW_POINTS) {
        c->scale  = 100.0;
        c->unit   = kind == SHOW_PERCENT ? "%" : "pp";
        c->digits = -2;
    } else if (kind == SHOW_COUNT || kind == SHOW_BYTES) {
        c->count = largest < 1e5;
        while (!c->count && step < 4 && largest * c->scale >= 1e4) {
            c->scale /= 1e3;
            step++;
        }
        c->digits = 4;
        c->unit   = kind == SHOW_BYTES ? bytes[step] : counts[step];
    } else if (kind == SHOW_TIME) {
        c->scale = 1e9;
        while (step < 3 && largest * c->scale >= 1e3) {
            c->scale /= 1e3;
            step++;
        }
        c->unit = times[step];
    }
}

static show kind_of_unit(const char *unit)
{
    return strcmp(unit, "byte") == 0  ? SHOW_BYTES
           : strcmp(unit, "s") == 0   ? SHOW_TIME
           : strcmp(unit, "MAC") == 0 ? SHOW_COUNT
                                      : SHOW_REAL;
}

/* `columns` are those of all rows so far, one after the other. */
static pq_status add_column(pq_view *v, const char *name, const char *unit,
                            pq_number *columns, pq_err *err)
{
    const double    largest = fill_column(v, name, columns + v->n_columns * v->n_rows);
    size_t          batch;
    const size_t    which = spec_of(name, &batch);
    const show      kind  = which < N_SPECS ? specs[which].kind : kind_of_unit(unit);
    pq_view_column *c     = &v->columns[v->n_columns];
    pq_status       st    = PQ_OK;

    if (isnan(largest)) {
        return PQ_OK;
    }
    v->n_columns++;
    PQ_STRDUP(c->name, name);
    if (which == N_SPECS) {
        PQ_STRDUP(c->title, name);
    } else if (strstr(specs[which].title, "%zu") == NULL) {
        PQ_STRDUP(c->title, specs[which].title);
    } else {
        const int n = (int)(strstr(specs[which].title, "%zu") - specs[which].title);
        c->title    = pq_format("%.*s%zu", n, specs[which].title, batch);
        PQ_CHECK(c->title != NULL, PQ_ERR_NOMEM, "cannot allocate a title");
    }
    choose_unit(c, kind, largest);
    c->rank = which == N_SPECS ? 0 : specs[which].rank + (batch > 1 ? N_SPECS : 0);
cleanup:
    return st;
}

/* Names of all metrics and of what is derived, each with its unit, in order of
 * appearance. */
static pq_status list_metrics(const pq_view *v, json_t **out, pq_err *err)
{
    json_t   *names = json_object();
    pq_status st;

    PQ_CHECK(names != NULL, PQ_ERR_NOMEM, "cannot allocate a list of metrics");
    for (size_t r = 0; r < v->n_rows; r++) {
        json_t     *metrics = json_object_get(v->rows[r].cell, "metrics");
        const char *name;
        json_t     *metric;
        json_object_foreach(metrics, name, metric)
        {
            if (json_object_get(names, name) == NULL) {
                json_object_set_new(names, name,
                                    json_string(pq_json_get_text(metric, "unit")));
            }
        }
    }
    json_object_set_new(names, "delta_accuracy", json_string(""));
    json_object_set_new(names, "size_ratio", json_string(""));
    *out = names;
cleanup:
    return st;
}

static size_t next_batch(const json_t *names, size_t after)
{
    size_t      next = 0, batch;
    const char *name;
    json_t     *unit;

    json_object_foreach((json_t *)names, name, unit)
    {
        (void)spec_of(name, &batch);
        if (batch > after && (next == 0 || batch < next)) {
            next = batch;
        }
    }
    return next;
}

static pq_status add_spec(pq_view *v, const json_t *names, size_t which, size_t wanted,
                          pq_number *columns, pq_err *err)
{
    const char *name;
    json_t     *unit;
    size_t      batch;

    json_object_foreach((json_t *)names, name, unit)
    {
        if (spec_of(name, &batch) == which && batch == wanted) {
            return add_column(v, name, json_string_value(unit), columns, err);
        }
    }
    return PQ_OK;
}

/* Rows of numbers from columns of them. */
static pq_status turn(pq_view *v, const pq_number *columns, pq_err *err)
{
    pq_status st;

    PQ_NEW(v->numbers, v->n_rows * v->n_columns);
    for (size_t r = 0; r < v->n_rows; r++) {
        for (size_t c = 0; c < v->n_columns; c++) {
            v->numbers[r * v->n_columns + c] = columns[c * v->n_rows + r];
        }
    }
cleanup:
    return st;
}

static pq_status make_columns(pq_view *v, pq_err *err)
{
    json_t     *names   = NULL, *unit;
    pq_number  *columns = NULL;
    const char *name;
    size_t      batch;
    pq_status   st;

    PQ_TRY(list_metrics(v, &names, err));
    PQ_NEW(v->columns, json_object_size(names));
    PQ_NEW_UNSET(columns, json_object_size(names) * v->n_rows);
    for (size_t i = 0; i < N_SPECS; i++) {
        size_t b = 0; /* columns without batch size, then those with one, in order */
        do {
            PQ_TRY(add_spec(v, names, i, b, columns, err));
            b = next_batch(names, b);
        } while (b > 0);
    }
    json_object_foreach(names, name, unit)
    {
        if (spec_of(name, &batch) == N_SPECS) {
            PQ_TRY(add_column(v, name, json_string_value(unit), columns, err));
        }
    }
    PQ_TRY(turn(v, columns, err));
cleanup:
    pq_free(columns);
    json_decref(names);
    return st;
}

/* How many events were evaluated; older records hold only the effective number. */
static void count_events(pq_view *v)
{
    v->events = v->effective = (double)NAN;
    for (size_t r = 0; r < v->n_rows && isnan(v->events); r++) {
        const json_t *metrics = json_object_get(v->rows[r].cell, "metrics");
        const double  n       = real_of(json_object_get(metrics, "accuracy"), "n");
        v->events = real_of(json_object_get(v->rows[r].cell, "record"), "events");
        if (isnan(v->events)) {
            v->events = n;
        } else if (n < v->events * (1.0 - 1e-9)) {
            v->effective = n;
        }
    }
}

/* "data/jets.h5" -> "jets", from the configuration that the plan holds. */
static pq_status describe_data(pq_view *v, pq_err *err)
{
    const char *resolved = pq_json_get_text(v->results, "resolved");
    const char *file     = "";
    pq_yaml    *config   = NULL;
    pq_status   st, parsed;

    parsed = pq_yaml_parse(resolved, strlen(resolved), "plan.json", &config, NULL);
    PQ_CHECK(parsed != PQ_ERR_NOMEM, PQ_ERR_NOMEM, "cannot allocate the configuration");
    if (config != NULL) {
        const pq_yaml *dataset = pq_yaml_find(config, "dataset");
        const pq_yaml *value   = dataset != NULL ? pq_yaml_find(dataset, "file") : NULL;
        const char    *path = value != NULL && value->text != NULL ? value->text : "none";
        file                = strcmp(path, "none") == 0 ? "" : pq_path_base(path);
    }
    v->dataset = pq_format("%.*s", (int)strcspn(file, "."), file);
    PQ_CHECK(v->dataset != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    count_events(v);
cleanup:
    pq_yaml_free(&config);
    return st;
}

pq_status pq_view_build(const json_t *results, pq_view *out, pq_err *err)
{
    pq_view   v = {.results = results};
    pq_status st;

    v.name = pq_json_get_text(results, "name");
    PQ_TRY(make_rows(results, &v, err));
    v.reference = find_reference(&v);
    PQ_TRY(make_columns(&v, err));
    PQ_TRY(pq_view_choose(&v, err));
    PQ_TRY(describe_data(&v, err));
    *out = v;
    v    = (pq_view){0};
cleanup:
    pq_view_free(&v);
    return st;
}

void pq_view_free(pq_view *v)
{
    for (size_t r = 0; !v->borrows && v->rows != NULL && r < v->n_rows; r++) {
        pq_free(v->rows[r].label);
        pq_free(v->rows[r].engine);
    }
    for (size_t c = 0; !v->borrows && v->columns != NULL && c < v->n_columns; c++) {
        pq_free(v->columns[c].name);
        pq_free(v->columns[c].title);
    }
    if (!v->borrows) {
        pq_free(v->dataset);
        pq_free(v->columns);
    }
    pq_free(v->rows);
    pq_free(v->numbers);
    *v = (pq_view){0};
}
