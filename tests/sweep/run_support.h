/* Runs sweeps of the small model and looks into their tables. */
#ifndef PQ_TESTS_SWEEP_RUN_SUPPORT_H
#define PQ_TESTS_SWEEP_RUN_SUPPORT_H

#include "support.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "store/record.h"
#include "store/results.h"
#include "store/table.h"
#include "sweep/run.h"

#define METRICS "metrics: [accuracy, auc, log_loss, confusion, size, macs]\n"

#define PIPELINES                                                                        \
    METRICS                                                                              \
    "pipelines:\n  reference: []\n  svd: {stages: [{svd: {rank: $r}}], sweep: {r: [1, "  \
    "2, 3]}}\n"                                                                          \
    "  int8: [quantize]\n  both: {stages: [{svd: {rank: $r}}, quantize], sweep: {r: "    \
    "[1, 2]}}\n"

/* Many cells, so that a run can be stopped in the middle. */
#define MANY                                                                             \
    METRICS "pipelines:\n  reference: []\n"                                              \
            "  p: {stages: [{prune: {target_sparsity: $s}}, quantize], "                 \
            "sweep: {s: {linspace: [0.1, 0.9, 33]}}}\n"

static inline pq_sweep_summary run(const char *rest, pq_sweep_options options)
{
    pq_config       *config  = read_config(rest, NULL);
    pq_sweep_summary summary = {0};

    OK(pq_sweep_run(config, &options, &summary, ERR));
    pq_config_free(&config);
    return summary;
}

static inline char *text_of_file(const char *path)
{
    char  *bytes = NULL;
    size_t n;

    OK(pq_file_read(path, 1 << 24, &bytes, &n, ERR));
    return bytes;
}

static inline pq_table table_of(const char *dir)
{
    json_t  *results = NULL;
    pq_table table   = {0};

    OK(pq_results_read(dir, &results, NULL, ERR));
    OK(pq_table_build(results, &table, ERR));
    json_decref(results);
    return table;
}

static inline const char *text_at(const pq_table *t, size_t row, const char *column)
{
    const pq_entry *entry = pq_table_entry(t, row, column);

    return entry != NULL && entry->text != NULL ? entry->text : "";
}

static inline double value_at(const pq_table *t, size_t row, const char *column)
{
    const pq_entry *entry = pq_table_entry(t, row, column);

    cr_assert_not_null(entry, "no column %s", column);
    return entry->value;
}

static inline void expect_same_file(const char *a, const char *b)
{
    char *x = text_of_file(a), *y = text_of_file(b);

    cr_expect_str_eq(x, y);
    pq_free(x);
    pq_free(y);
}

#endif
