#include "store/record.h"

#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/json.h"
#include "store/schema.h"

#define FOLDER "cells"

enum { MAX_BYTES = 256 << 20 };

/* Keys are file names: hexadecimal digits, so that none leads out of the folder. */
static bool is_key(const char *key)
{
    const size_t n = strlen(key);

    return n > 0 && n <= 64 && strspn(key, "0123456789abcdef") == n;
}

static char *path_of(const char *dir, const char *key)
{
    return pq_format("%s/" FOLDER "/%s.json", dir, key);
}

pq_status pq_record_write(const char *dir, const json_t *record, pq_err *err)
{
    const char *key  = pq_json_get_text(record, "key");
    char       *path = NULL;
    pq_text     text = {0};
    pq_status   st;

    PQ_CHECK(is_key(key), PQ_ERR_FORMAT, "a record has the key '%s', which is no hash",
             key);
    path = path_of(dir, key);
    PQ_CHECK(path != NULL && pq_json_add(record, &text), PQ_ERR_NOMEM,
             "cannot allocate a record");
    PQ_TRY(pq_folder_make_inside(dir, FOLDER, NULL, err));
    PQ_TRY(pq_file_write(path, text.text, text.length, err));
cleanup:
    pq_free(path);
    pq_text_free(&text);
    return st;
}

/* What every record has; the rest is for those who read it to miss. */
static pq_status check(const json_t *record, const char *path, const char *key,
                       pq_err *err)
{
    pq_status st;

    PQ_CHECK(strcmp(pq_json_get_text(record, "schema"), PQ_RECORD_SCHEMA) == 0,
             PQ_ERR_FORMAT, "%s: is not a record of schema %s", path, PQ_RECORD_SCHEMA);
    st = pq_schema_record(record, err);
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
        goto cleanup;
    }
    PQ_CHECK(strcmp(pq_json_get_text(record, "key"), key) == 0, PQ_ERR_FORMAT,
             "%s: holds the record of another key, '%s'", path,
             pq_json_get_text(record, "key"));
    PQ_CHECK(*pq_json_get_text(record, "status") != '\0' &&
                 *pq_json_get_text(record, "phase") != '\0' &&
                 (strcmp(pq_json_get_text(record, "status"), "ok") != 0 ||
                  json_is_object(json_object_get(record, "metrics"))),
             PQ_ERR_FORMAT, "%s: status, phase or metrics are missing", path);
cleanup:
    return st;
}

pq_status pq_record_load(const char *dir, const char *key, json_t **out, char **text,
                         size_t *n_text, pq_err *err)
{
    json_error_t why;
    json_t      *record = NULL;
    char        *path   = NULL;
    char        *bytes  = NULL;
    size_t       n      = 0;
    pq_status    st;

    PQ_CHECK(is_key(key), PQ_ERR_FORMAT, "'%s' is not the key of a record", key);
    path = path_of(dir, key);
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_file_read(path, MAX_BYTES, &bytes, &n, err));
    record = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &why);
    PQ_CHECK(record != NULL, PQ_ERR_FORMAT, "%s:%d:%d: is not valid JSON: %s", path,
             why.line, why.column, why.text);
    PQ_TRY(check(record, path, key, err));
    *out   = record;
    record = NULL;
    if (text != NULL) {
        *text   = bytes;
        *n_text = n;
        bytes   = NULL;
    }
cleanup:
    json_decref(record);
    pq_free(path);
    pq_free(bytes);
    return st;
}

pq_status pq_record_read(const char *dir, const char *key, json_t **out, pq_err *err)
{
    return pq_record_load(dir, key, out, NULL, NULL, err);
}

static int by_order(const void *a, const void *b)
{
    const json_t    *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    const json_int_t i = json_integer_value(json_object_get(x, "order"));
    const json_int_t j = json_integer_value(json_object_get(y, "order"));
    int              c = (i > j) - (i < j);

    c = c != 0 ? c : strcmp(pq_json_get_text(x, "label"), pq_json_get_text(y, "label"));
    return c != 0 ? c : strcmp(pq_json_get_text(x, "key"), pq_json_get_text(y, "key"));
}

/* Reads the records of the files named; damaged ones are left out. */
static size_t read_all(const char *dir, char **names, size_t n, json_t **records,
                       size_t *damaged)
{
    size_t count = 0;

    *damaged = 0;
    for (size_t i = 0; i < n; i++) {
        names[i][strlen(names[i]) - strlen(".json")] = '\0';
        if (pq_record_read(dir, names[i], &records[count], NULL) == PQ_OK) {
            count++;
        } else {
            (*damaged)++;
        }
    }
    return count;
}

pq_status pq_records_read(const char *dir, json_t **out, size_t *damaged, pq_err *err)
{
    char     *folder  = NULL;
    char    **names   = NULL;
    json_t  **records = NULL;
    json_t   *array   = json_array();
    size_t    n = 0, count = 0, bad = 0;
    pq_status st;

    folder = pq_path_join(dir, FOLDER);
    PQ_CHECK(folder != NULL && array != NULL, PQ_ERR_NOMEM, "cannot allocate records");
    if (pq_folder_exists(folder)) {
        PQ_TRY(pq_folder_list(folder, ".json", &names, &n, err));
    }
    PQ_NEW(records, n);
    count = read_all(dir, names, n, records, &bad);
    if (count > 0) {
        qsort(records, count, sizeof(json_t *), by_order);
    }
    for (size_t i = 0; i < count; i++) {
        PQ_CHECK(json_array_append(array, records[i]) == 0, PQ_ERR_NOMEM,
                 "cannot allocate records");
    }
    if (damaged != NULL) {
        *damaged = bad;
    }
    *out  = array;
    array = NULL;
cleanup:
    for (size_t i = 0; i < count; i++) {
        json_decref(records[i]);
    }
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(records);
    pq_free(names);
    pq_free(folder);
    json_decref(array);
    return st;
}

bool pq_record_done(const char *dir, const char *key)
{
    json_t *record = NULL;
    bool    done   = pq_record_read(dir, key, &record, NULL) == PQ_OK;

    done = done && strcmp(pq_json_get_text(record, "status"), "ok") == 0;
    json_decref(record);
    return done;
}
