#include "sweep/merge.h"

#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/index.h"
#include "store/record.h"
#include "store/table.h"

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

void pq_sweep_tidy(const char *dir)
{
    static const char *const folders[] = {"",       "cells", "models",
                                          "arrays", "cache", "plots"};

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = pq_path_join(dir, folders[i]);
        if (path != NULL) {
            pq_folder_tidy(path);
        }
        pq_free(path);
    }
}
