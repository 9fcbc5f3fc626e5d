/**
 * @file
 * Results as one table: a row a cell in the order of the plan.
 *
 * Columns: pipeline, label, one for each axis, repeat (only where there is more
 * than one), status, error, unreached (only where something asked for was: which layers
 * reached what), then for each metric `<metric>`, `<metric>_lo` and
 * `<metric>_hi` (the two only if any cell has an interval). Latency comes last:
 * `latency.b1.engine`, then `latency.b1.throughput_s`, …, `latency.b1.ratio` (b = batch
 * size). Names are unique: an axis with the name of another column is `axis.<name>`.
 */
#ifndef PQ_STORE_TABLE_H
#define PQ_STORE_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/** Column; owns its name. */
typedef struct {
    char *name;
    char  unit[16]; /**< "byte", "s", …; "" for plain numbers and texts */
    bool  number;   /**< entries are numbers */
    int   better;   /**< 1 higher, -1 lower, 0 neither */
} pq_column;

/** Entry. Texts have value NAN; undefined numbers are NAN; entries that are not there
 * have text NULL. */
typedef struct {
    char  *text; /**< as CSV has it (shortest decimal that reads back as value); owned */
    double value;
} pq_entry;

/** Owns everything; {0} is empty. */
typedef struct {
    size_t     n_rows, n_columns;
    pq_column *columns;   /**< [n_columns] */
    pq_entry  *entries;   /**< [n_rows, n_columns] */
    size_t     reference; /**< row of the uncompressed cell, or SIZE_MAX */
} pq_table;

/** Builds the table of pq_results_read's answer. */
pq_status pq_table_build(const json_t *results, pq_table *out, pq_err *err);
void      pq_table_free(pq_table *t);

/** Index of a column, or SIZE_MAX. */
size_t pq_table_column(const pq_table *t, const char *name);

/** Entry of a row and a named column, or NULL. */
const pq_entry *pq_table_entry(const pq_table *t, size_t row, const char *name);

/** Writes CSV (RFC 4180, lines ending in \n), atomically: names, then rows; what is not
 * there is empty, an undefined number is "nan". */
pq_status pq_table_write(const pq_table *t, const char *path, pq_err *err);

#endif
