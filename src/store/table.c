#include "store/table.h"

#include <math.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/text.h"
#include "store/json.h"

/* What a column is made from. */
typedef enum {
    FROM_CELL,
    FROM_AXIS,
    FROM_ERROR,
    FROM_UNREACHED,
    FROM_ENGINE,
    FROM_METRIC
} origin;

typedef struct {
    origin      from;
    const char *name;  /* of the axis, metric or field; borrowed from the results */
    const char *field; /* "value", "lo", "hi" of a metric */
} source;

/* A table while it is built. */
typedef struct {
    pq_table *table;
    source   *sources; /* [n_columns] */
    size_t    room;
    json_t   *known; /* names as keys, a letter in front: see knows() */
} builder;

enum { COLUMNS_MAX = 16384 };

static bool is_ours(const char *name)
{
    static const char *const ours[] = {"pipeline", "label", "repeat",
                                       "status",   "error", "unreached"};

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (strcmp(ours[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a name is known to be: of a column (t), a metric or an end of its interval (m),
 * a metric with an interval (i), or what a column is made from (its origin as a digit).
 */
static bool knows(const builder *b, char what, const char *name)
{
    char *key = pq_format("%c%s", what, name);
    bool  yes = key == NULL || json_object_get(b->known, key) != NULL;

    pq_free(key);
    return yes;
}

static pq_status learn(builder *b, char what, const char *name, const char *end,
                       pq_err *err)
{
    char     *key = pq_format("%c%s%s", what, name, end);
    pq_status st;

    PQ_CHECK(key != NULL && json_object_set_new(b->known, key, json_true()) == 0,
             PQ_ERR_NOMEM, "cannot allocate a name");
cleanup:
    pq_free(key);
    return st;
}

static pq_status learn_metrics(builder *b, const json_t *cells, pq_err *err)
{
    const json_t *cell, *metric;
    const char   *name;
    size_t        i;
    pq_status     st = PQ_OK;

    json_array_foreach(cells, i, cell)
    {
        json_object_foreach(json_object_get(cell, "metrics"), name, metric)
        {
            PQ_TRY(learn(b, 'm', name, "", err));
            PQ_TRY(learn(b, 'm', name, "_lo", err));
            PQ_TRY(learn(b, 'm', name, "_hi", err));
            if (json_is_number(json_object_get(metric, "lo")) ||
                json_is_number(json_object_get(metric, "hi"))) {
                PQ_TRY(learn(b, 'i', name, "", err));
            }
        }
    }
cleanup:
    return st;
}

/* Names of axes and classes are the user's: an axis that has the name of another column
 * is "axis.<name>"; should a column still be there, the next is "<name>#2". */
static pq_status name_column(const builder *b, source from, const char *suffix,
                             char **out, pq_err *err)
{
    const char *prefix =
        from.from == FROM_AXIS && (is_ours(from.name) || knows(b, 'm', from.name))
            ? "axis."
            : "";
    char     *name = pq_format("%s%s%s", prefix, from.name, suffix);
    pq_status st   = PQ_OK;

    for (size_t i = 2; name != NULL && knows(b, 't', name); i++) {
        pq_free(name);
        name = pq_format("%s%s%s#%zu", prefix, from.name, suffix, i);
    }
    PQ_CHECK(name != NULL, PQ_ERR_NOMEM, "cannot allocate a column");
    *out = name;
cleanup:
    return st;
}

static pq_status add_column(builder *b, source from, const char *suffix,
                            const json_t *metric, pq_err *err)
{
    pq_table   *t = b->table;
    pq_column  *column, *columns;
    source     *sources;
    const char *better = pq_json_get_text(metric, "better");
    pq_status   st;

    PQ_CHECK(
        t->n_columns < COLUMNS_MAX, PQ_ERR_FORMAT,
        "the axes and metrics of all cells are more than %d columns: no table is made "
        "of them",
        COLUMNS_MAX);
    if (t->n_columns == b->room) {
        columns = pq_recalloc(t->columns, b->room, 2 * b->room + 16, sizeof *columns);
        PQ_CHECK(columns != NULL, PQ_ERR_NOMEM, "cannot allocate columns");
        t->columns = columns;
        sources    = pq_recalloc(b->sources, b->room, 2 * b->room + 16, sizeof *sources);
        PQ_CHECK(sources != NULL, PQ_ERR_NOMEM, "cannot allocate columns");
        b->sources = sources;
        b->room    = 2 * b->room + 16;
    }
    column = &t->columns[t->n_columns];
    PQ_TRY(name_column(b, from, suffix, &column->name, err));
    column->number = from.from == FROM_METRIC;
    column->better = strcmp(better, "higher") == 0  ? 1
                     : strcmp(better, "lower") == 0 ? -1
                                                    : 0;
    strncpy(column->unit, pq_json_get_text(metric, "unit"), sizeof column->unit - 1);
    b->sources[t->n_columns++] = from;
    PQ_TRY(learn(b, 't', column->name, "", err));
    PQ_TRY(learn(b, (char)('0' + (int)from.from), from.name, "", err));
cleanup:
    return st;
}

static bool has_column(const builder *b, origin from, const char *name)
{
    return knows(b, (char)('0' + (int)from), name);
}

static pq_status add_metrics(builder *b, const json_t *cells, bool latency, pq_err *err)
{
    const json_t *cell, *metric;
    const char   *name;
    size_t        i;
    pq_status     st = PQ_OK;

    json_array_foreach(cells, i, cell)
    {
        json_object_foreach(json_object_get(cell, "metrics"), name, metric)
        {
            if ((strncmp(name, "latency.", 8) == 0) != latency ||
                has_column(b, FROM_METRIC, name)) {
                continue;
            }
            PQ_TRY(add_column(b, (source){FROM_METRIC, name, "value"}, "", metric, err));
            if (knows(b, 'i', name)) {
                PQ_TRY(
                    add_column(b, (source){FROM_METRIC, name, "lo"}, "_lo", metric, err));
                PQ_TRY(
                    add_column(b, (source){FROM_METRIC, name, "hi"}, "_hi", metric, err));
            }
        }
    }
cleanup:
    return st;
}

/* A column for each name that the cells have in one of their objects. */
static pq_status add_names(builder *b, const json_t *cells, const char *object,
                           origin from, pq_err *err)
{
    const json_t *cell, *value;
    const char   *name;
    size_t        i;
    pq_status     st = PQ_OK;

    json_array_foreach(cells, i, cell)
    {
        json_object_foreach(json_object_get(cell, object), name, value)
        {
            if (!has_column(b, from, name)) {
                PQ_TRY(add_column(b, (source){from, name, NULL}, "", NULL, err));
            }
        }
    }
cleanup:
    return st;
}

static bool any_repeats(const json_t *cells)
{
    const json_t *cell;
    size_t        i;

    json_array_foreach(cells, i, cell)
    {
        if (json_integer_value(json_object_get(cell, "repeat")) > 0) {
            return true;
        }
    }
    return false;
}

static const json_t *unreached(const json_t *cell)
{
    return json_object_get(json_object_get(cell, "record"), "unreached");
}

/* Whether what was asked for was out of reach anywhere. */
static bool any_unreached(const json_t *cells)
{
    const json_t *cell;
    size_t        i;

    json_array_foreach(cells, i, cell)
    {
        if (json_array_size(unreached(cell)) > 0) {
            return true;
        }
    }
    return false;
}

static pq_status add_columns(builder *b, const json_t *cells, pq_err *err)
{
    pq_status st;

    PQ_TRY(add_column(b, (source){FROM_CELL, "pipeline", NULL}, "", NULL, err));
    PQ_TRY(add_column(b, (source){FROM_CELL, "label", NULL}, "", NULL, err));
    PQ_TRY(add_names(b, cells, "axes", FROM_AXIS, err));
    if (any_repeats(cells)) {
        PQ_TRY(add_column(b, (source){FROM_CELL, "repeat", NULL}, "", NULL, err));
    }
    PQ_TRY(add_column(b, (source){FROM_CELL, "status", NULL}, "", NULL, err));
    PQ_TRY(add_column(b, (source){FROM_ERROR, "error", NULL}, "", NULL, err));
    if (any_unreached(cells)) {
        PQ_TRY(add_column(b, (source){FROM_UNREACHED, "unreached", NULL}, "", NULL, err));
    }
    PQ_TRY(add_metrics(b, cells, false, err));
    PQ_TRY(add_names(b, cells, "engines", FROM_ENGINE, err));
    PQ_TRY(add_metrics(b, cells, true, err));
cleanup:
    return st;
}

static const json_t *find_value(const json_t *cell, source from)
{
    switch (from.from) {
    case FROM_CELL:
        return json_object_get(cell, from.name);
    case FROM_AXIS:
        return json_object_get(json_object_get(cell, "axes"), from.name);
    case FROM_ERROR:
        return json_object_get(json_object_get(json_object_get(cell, "record"), "error"),
                               "message");
    case FROM_UNREACHED:
        return unreached(cell);
    case FROM_ENGINE:
        return json_object_get(json_object_get(cell, "engines"), from.name);
    case FROM_METRIC:
        return json_object_get(
            json_object_get(json_object_get(cell, "metrics"), from.name), from.field);
    }
    return NULL;
}

/* Texts in one, the first three of them. */
static pq_status join_texts(const json_t *list, char **out, pq_err *err)
{
    enum { NAMED_MAX = 3 };
    const json_t *one;
    pq_text       text = {0};
    size_t        i;
    pq_status     st;

    json_array_foreach((json_t *)list, i, one)
    {
        if (i < NAMED_MAX && json_is_string(one)) {
            pq_text_add(&text, "%s%s", i > 0 ? "; " : "", json_string_value(one));
        }
    }
    if (i > NAMED_MAX) {
        pq_text_add(&text, "; and %zu more", i - NAMED_MAX);
    }
    PQ_TRY(pq_text_take(&text, out, err));
cleanup:
    pq_text_free(&text);
    return st;
}

static pq_status fill(pq_entry *entry, const json_t *value, pq_err *err)
{
    char      number[32];
    pq_status st = PQ_OK;

    entry->value = (double)NAN;
    if (value == NULL) {
        return PQ_OK;
    }
    if (json_is_array(value)) {
        PQ_TRY(join_texts(value, &entry->text, err));
    } else if (json_is_string(value)) {
        PQ_STRDUP(entry->text, json_string_value(value));
    } else {
        entry->value = json_is_number(value) ? json_number_value(value) : (double)NAN;
        PQ_STRDUP(entry->text, pq_real_text(entry->value, number, sizeof number));
    }
cleanup:
    return st;
}

static pq_status add_rows(builder *b, const json_t *cells, pq_err *err)
{
    pq_table     *t = b->table;
    const json_t *cell;
    size_t        i;
    pq_status     st;

    PQ_NEW(t->entries, json_array_size(cells) * t->n_columns);
    t->n_rows = json_array_size(cells);
    json_array_foreach(cells, i, cell)
    {
        if (t->reference == SIZE_MAX &&
            json_is_true(json_object_get(cell, "reference"))) {
            t->reference = i;
        }
        for (size_t k = 0; k < t->n_columns; k++) {
            PQ_TRY(fill(&t->entries[i * t->n_columns + k],
                        find_value(cell, b->sources[k]), err));
        }
    }
cleanup:
    return st;
}

pq_status pq_table_build(const json_t *results, pq_table *out, pq_err *err)
{
    const json_t *cells = json_object_get(results, "cells");
    pq_table      table = {.reference = SIZE_MAX};
    builder       b     = {.table = &table, .known = json_object()};
    pq_status     st;

    PQ_TRY(learn_metrics(&b, cells, err));
    PQ_TRY(add_columns(&b, cells, err));
    PQ_TRY(add_rows(&b, cells, err));
    *out  = table;
    table = (pq_table){0};
cleanup:
    pq_free(b.sources);
    json_decref(b.known);
    pq_table_free(&table);
    return st;
}

void pq_table_free(pq_table *t)
{
    for (size_t i = 0; t->entries != NULL && i < t->n_rows * t->n_columns; i++) {
        pq_free(t->entries[i].text);
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        pq_free(t->columns[i].name);
    }
    pq_free(t->entries);
    pq_free(t->columns);
    *t = (pq_table){0};
}

size_t pq_table_column(const pq_table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i].name, name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

const pq_entry *pq_table_entry(const pq_table *t, size_t row, const char *name)
{
    const size_t column = pq_table_column(t, name);

    return column == SIZE_MAX || row >= t->n_rows
               ? NULL
               : &t->entries[row * t->n_columns + column];
}

pq_status pq_table_write(const pq_table *t, const char *path, pq_err *err)
{
    pq_text   text = {0};
    pq_status st;

    for (size_t k = 0; k < t->n_columns; k++) {
        pq_text_add(&text, "%s", k == 0 ? "" : ",");
        pq_csv_add(&text, t->columns[k].name);
    }
    pq_text_add(&text, "\n");
    for (size_t i = 0; i < t->n_rows; i++) {
        for (size_t k = 0; k < t->n_columns; k++) {
            const pq_entry *entry = &t->entries[i * t->n_columns + k];
            pq_text_add(&text, "%s", k == 0 ? "" : ",");
            pq_csv_add(&text, entry->text != NULL ? entry->text : "");
        }
        pq_text_add(&text, "\n");
    }
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate a table");
    PQ_TRY(pq_file_write(path, text.text, text.length, err));
cleanup:
    pq_text_free(&text);
    return st;
}
