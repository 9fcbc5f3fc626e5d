#include "store/index.h"

#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"

static const char schema[] =
    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
    "CREATE TABLE cells(cell INTEGER PRIMARY KEY, pipeline TEXT, label TEXT, repeat "
    "INTEGER,"
    " status TEXT, error TEXT, key TEXT);"
    "CREATE TABLE axes(cell INTEGER, name TEXT, value, PRIMARY KEY(cell, name));"
    "CREATE TABLE metrics(cell INTEGER, name TEXT, value REAL, lo REAL, hi REAL, n REAL,"
    " unit TEXT, better TEXT, PRIMARY KEY(cell, name));"
    "BEGIN";

enum { CELLS, AXES, METRICS, STATEMENTS };

static const char *const inserts[STATEMENTS] = {
    "INSERT INTO cells VALUES(?, ?, ?, ?, ?, ?, ?)",
    "INSERT INTO axes VALUES(?, ?, ?)",
    "INSERT INTO metrics VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
};

typedef struct {
    sqlite3      *file;
    sqlite3_stmt *insert[STATEMENTS];
    const char   *path;
} index_file;

static pq_status fail(const index_file *f, pq_err *err)
{
    return pq_err_set(err, PQ_ERR_IO, __FILE__, __LINE__, "%s: cannot be written: %s",
                      f->path,
                      f->file != NULL ? sqlite3_errmsg(f->file) : "out of memory");
}

/* Binds a JSON value to the i-th place: number, text or NULL. */
static void bind(sqlite3_stmt *s, int i, const json_t *value)
{
    if (json_is_integer(value)) {
        (void)sqlite3_bind_int64(s, i, json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)sqlite3_bind_double(s, i, json_real_value(value));
    } else if (json_is_string(value)) {
        (void)sqlite3_bind_text(s, i, json_string_value(value), -1, SQLITE_STATIC);
    } else {
        (void)sqlite3_bind_null(s, i);
    }
}

/* Runs an insert with the values bound. */
static pq_status insert(index_file *f, int which, pq_err *err)
{
    const int code = sqlite3_step(f->insert[which]);

    (void)sqlite3_reset(f->insert[which]);
    return code == SQLITE_DONE ? PQ_OK : fail(f, err);
}

static pq_status add_cell(index_file *f, sqlite3_int64 id, const json_t *cell,
                          pq_err *err)
{
    static const char *const cell_fields[]   = {"pipeline", "label", "repeat", "status"};
    static const char *const metric_fields[] = {"value", "lo",   "hi",
                                                "n",     "unit", "better"};
    const json_t *error = json_object_get(json_object_get(cell, "record"), "error");
    const json_t *value;
    const char   *name;
    pq_status     st;

    (void)sqlite3_bind_int64(f->insert[CELLS], 1, id);
    for (int i = 0; i < 4; i++) {
        bind(f->insert[CELLS], 2 + i, json_object_get(cell, cell_fields[i]));
    }
    bind(f->insert[CELLS], 6, json_object_get(error, "message"));
    bind(f->insert[CELLS], 7, json_object_get(cell, "eval"));
    PQ_TRY(insert(f, CELLS, err));
    json_object_foreach(json_object_get(cell, "axes"), name, value)
    {
        (void)sqlite3_bind_int64(f->insert[AXES], 1, id);
        (void)sqlite3_bind_text(f->insert[AXES], 2, name, -1, SQLITE_STATIC);
        bind(f->insert[AXES], 3, value);
        PQ_TRY(insert(f, AXES, err));
    }
    json_object_foreach(json_object_get(cell, "metrics"), name, value)
    {
        (void)sqlite3_bind_int64(f->insert[METRICS], 1, id);
        (void)sqlite3_bind_text(f->insert[METRICS], 2, name, -1, SQLITE_STATIC);
        for (int i = 0; i < 6; i++) {
            bind(f->insert[METRICS], 3 + i, json_object_get(value, metric_fields[i]));
        }
        PQ_TRY(insert(f, METRICS, err));
    }
cleanup:
    return st;
}

static pq_status fill(index_file *f, const char *path, const json_t *results, pq_err *err)
{
    const json_t *cells = json_object_get(results, "cells"), *cell;
    size_t        i;
    pq_status     st = PQ_OK;

    /* without a journal beside it: the file is thrown away when it is not finished */
    if (sqlite3_open(path, &f->file) != SQLITE_OK ||
        sqlite3_exec(f->file, "PRAGMA journal_mode = OFF", NULL, NULL, NULL) !=
            SQLITE_OK ||
        sqlite3_exec(f->file, schema, NULL, NULL, NULL) != SQLITE_OK) {
        return fail(f, err);
    }
    for (int s = 0; s < STATEMENTS; s++) {
        if (sqlite3_prepare_v2(f->file, inserts[s], -1, &f->insert[s], NULL) !=
            SQLITE_OK) {
            return fail(f, err);
        }
    }
    json_array_foreach(cells, i, cell)
    {
        PQ_TRY(add_cell(f, (sqlite3_int64)i, cell, err));
    }
    if (sqlite3_exec(f->file, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
        st = fail(f, err);
    }
cleanup:
    return st;
}

pq_status pq_index_write(const json_t *results, const char *path, pq_err *err)
{
    index_file f         = {.path = path};
    char      *temporary = NULL;
    pq_status  st;

    PQ_TRY(pq_file_temporary(path, &temporary, err));
    st = fill(&f, temporary, results, err);
    for (int s = 0; s < STATEMENTS; s++) {
        (void)sqlite3_finalize(f.insert[s]);
    }
    (void)sqlite3_close(f.file);
    if (st == PQ_OK) {
        st = pq_file_commit(temporary, path, err);
    } else {
        (void)unlink(temporary);
    }
cleanup:
    pq_free(temporary);
    return st;
}
