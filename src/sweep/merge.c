#include "sweep/merge.h"

#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/index.h"
#include "store/record.h"
#include "store/table.h"

enum { COPY_BYTES = 1 << 30 };

pq_status pq_sweep_collect(const char *dir, pq_shelf *shelf, bool made, json_t **results,
                           pq_results_count *count, pq_err *err)
{
    pq_shelf *own   = NULL;
    json_t   *all   = NULL;
    pq_table  table = {0};
    char     *csv   = pq_path_join(dir, "table.csv");
    char     *index = pq_path_join(dir, "results.sqlite");
    pq_status st;

    PQ_CHECK(csv != NULL && index != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (shelf == NULL) {
        PQ_TRY(pq_shelf_open(dir, &own, err));
        shelf = own;
    }
    PQ_TRY(pq_results_join(dir, shelf, &all, count, err));
    if (!made) {
        st = pq_table_build(all, &table, err);
        if (st != PQ_OK) {
            pq_err_context(err, "%s", dir);
            goto cleanup;
        }
        PQ_TRY(pq_table_write(&table, csv, err));
        PQ_TRY(pq_index_write(all, index, err));
    }
    PQ_TRY(pq_shelf_save(shelf, err));
    if (results != NULL) {
        *results = json_incref(all);
    }
cleanup:
    pq_shelf_close(&own);
    json_decref(all);
    pq_table_free(&table);
    pq_free(csv);
    pq_free(index);
    return st;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

/* Copies a file of one results folder into another where it lacks it. */
static pq_status copy_file(const char *from, const char *dir, const char *name,
                           pq_err *err)
{
    char     *source = pq_path_join(from, name);
    char     *target = pq_path_join(dir, name);
    char     *bytes = NULL, *inner = NULL;
    size_t    n = 0;
    pq_status st;

    PQ_CHECK(source != NULL && target != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (pq_file_exists(source) && !pq_file_exists(target)) {
        PQ_CHECK(pq_path_is_inside(from, name), PQ_ERR_FORMAT,
                 "%s: leads out of its folder: it is not copied", source);
        PQ_TRY(pq_folder_make(dir, err));
        inner = pq_format("%.*s", (int)strcspn(name, "/"), name);
        PQ_CHECK(inner != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        if (strchr(name, '/') != NULL) {
            PQ_TRY(pq_folder_make_inside(dir, inner, NULL, err));
        }
        PQ_TRY(pq_file_read(source, COPY_BYTES, &bytes, &n, err));
        PQ_TRY(pq_file_write(target, bytes, n, err));
    }
cleanup:
    pq_free(source);
    pq_free(target);
    pq_free(bytes);
    pq_free(inner);
    return st;
}

/* Name of the first metric in which two records of one key differ, or NULL. */
static const char *difference(const json_t *a, const json_t *b)
{
    const json_t *other = json_object_get(b, "metrics"), *value;
    const char   *name;

    json_object_foreach(json_object_get(a, "metrics"), name, value)
    {
        if (!json_equal(value, json_object_get(other, name))) {
            return name;
        }
    }
    return NULL;
}

static bool is_ok(const json_t *record)
{
    return strcmp(text_of(record, "status"), "ok") == 0;
}

/* Copies a file that a record names: one in arrays/ or models/ (store/schema.h). */
static pq_status copy_named(const char *from, const char *dir, const json_t *record,
                            const char *field, pq_err *err)
{
    const char *name = text_of(record, field);

    return *name == '\0' ? PQ_OK : copy_file(from, dir, name, err);
}

/* Takes a record over if it is better than what is there; two good ones of a cell must
 * agree. */
static pq_status merge_record(const char *dir, const char *from, const json_t *record,
                              size_t *copied, pq_err *err)
{
    const char *key = text_of(record, "key"), *metric;
    json_t     *own = NULL;
    pq_status   st  = PQ_OK;

    (void)pq_record_read(dir, key, &own, NULL);
    if (own != NULL && is_ok(own) && is_ok(record) &&
        strcmp(text_of(record, "phase"), "eval") == 0) {
        metric = difference(own, record);
        PQ_CHECK(metric == NULL, PQ_ERR_NUMERIC,
                 "%s and %s differ in %s of cell '%s' (key %s): the same key must give "
                 "the same "
                 "value; one of them comes from another version or a broken machine",
                 dir, from, metric, text_of(record, "label"), key);
    }
    if (own == NULL || (is_ok(record) && !is_ok(own))) {
        PQ_TRY(copy_named(from, dir, record, "model_file", err));
        PQ_TRY(copy_named(from, dir, record, "arrays_file", err));
        PQ_TRY(pq_record_write(dir, record, err));
        (*copied)++;
    }
cleanup:
    json_decref(own);
    return st;
}

pq_status pq_sweep_merge(const char *dir, size_t n, const char *const *from,
                         size_t *copied, json_t **results, pq_results_count *counted,
                         pq_err *err)
{
    json_t   *records = NULL, *record;
    size_t    i, count = 0;
    pq_status st;

    for (size_t f = 0; f < n; f++) {
        PQ_CHECK(pq_folder_exists(from[f]), PQ_ERR_NOT_FOUND,
                 "%s: there is no such folder", from[f]);
        PQ_TRY(copy_file(from[f], dir, "plan.json", err));
        PQ_TRY(pq_records_read(from[f], &records, NULL, err));
        json_array_foreach(records, i, record)
        {
            PQ_TRY(merge_record(dir, from[f], record, &count, err));
        }
        json_decref(records);
        records = NULL;
    }
    PQ_TRY(pq_sweep_collect(dir, NULL, false, results, counted, err));
    if (copied != NULL) {
        *copied = count;
    }
cleanup:
    json_decref(records);
    return st;
}
