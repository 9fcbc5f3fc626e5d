/* Comma-separated values under a line of names, plain or gzip; one column is the class.
 */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/table.h"

static bool ends_with(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);

    return n >= m && strcmp(path + n - m, end) == 0;
}

static bool recognises(const char *path)
{
    return !pq_folder_exists(path) &&
           (ends_with(path, ".csv") || ends_with(path, ".csv.gz"));
}

/* Tabs or semicolons where the line of names holds more of them than commas. */
static char find_separator(const char *line)
{
    static const char separators[] = {',', ';', '\t'};
    size_t            most         = 0;
    char              best         = ',';

    for (size_t i = 0; i < sizeof separators; i++) {
        size_t n    = 0;
        char   open = '\0';
        for (const char *p = line; *p != '\0'; p++) {
            if (*p == open || (open == '\0' && (*p == '"' || *p == '\''))) {
                open = open == '\0' ? *p : '\0';
            }
            n += open == '\0' && *p == separators[i] ? 1 : 0;
        }
        if (n > most) {
            most = n;
            best = separators[i];
        }
    }
    return best;
}

static pq_status read_header(pq_source *s, pq_table *t, pq_err *err)
{
    char    **cells = NULL;
    bool      there = false;
    size_t    n     = 0;
    double    value;
    pq_status st;

    PQ_TRY(pq_lines_next(&t->lines, &there, err));
    PQ_CHECK(there, PQ_ERR_FORMAT, "%s: is empty", s->path);
    t->separator = find_separator(t->lines.text);
    PQ_NEW(cells, PQ_TABLE_COLUMNS);
    PQ_CHECK(pq_table_cut(t->lines.text, t->separator, cells, PQ_TABLE_COLUMNS, &n),
             PQ_ERR_FORMAT, "%s:1: has more than %d columns", s->path, PQ_TABLE_COLUMNS);
    for (size_t i = 0; i < n; i++) {
        const bool index = i == 0 && cells[i][0] == '\0' && n > 1;
        PQ_CHECK(index || (cells[i][0] != '\0' &&
                           !pq_parse_real(cells[i], PQ_UNIT_NONE, &value)),
                 PQ_ERR_FORMAT,
                 "%s:1: column %zu is called '%s': the first line must give names",
                 s->path, i + 1, cells[i]);
        for (size_t k = 0; k < i; k++) {
            PQ_CHECK(strcmp(cells[i], cells[k]) != 0, PQ_ERR_FORMAT,
                     "%s:1: columns %zu and %zu are both called '%s'", s->path, k + 1,
                     i + 1, cells[i]);
        }
    }
    PQ_TRY(pq_texts_copy((const char *const *)cells, n, &t->names, err));
    t->n = n;
cleanup:
    pq_free(cells);
    return st;
}

static pq_status open_csv(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    pq_table *t = NULL;
    pq_status st;

    PQ_NEW(t, 1);
    s->state   = t;
    t->sorted  = true;
    t->comment = '#';
    PQ_TRY(pq_lines_open(s->path, &t->lines, err));
    PQ_TRY(read_header(s, t, err));
    PQ_TRY(pq_table_choose(s, t, options, err));
    PQ_TRY(pq_table_scan(s, t, err));
cleanup:
    return st;
}

const pq_layout pq_layout_csv = {
    .name         = "csv",
    .summary      = "comma-separated values under a line of names, plain or gzip",
    .recognises   = recognises,
    .open         = open_csv,
    .read         = pq_table_read,
    .read_aux     = pq_table_read_aux,
    .list_aux     = pq_table_list_aux,
    .close        = pq_table_close,
    .takes_inputs = true,
    .takes_label  = true,
};
