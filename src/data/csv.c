/*
 * Values between commas, semicolons, tabs or blanks, under a line of names, which a '#'
 * may begin as NumPy writes it; plain or gzip; one column is the class.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
    static const char *const ends[] = {".csv", ".tsv", ".txt", ".dat"};
    bool                     yes    = false;

    for (size_t i = 0; i < sizeof ends / sizeof *ends && !yes; i++) {
        char *packed = pq_format("%s.gz", ends[i]);
        yes = ends_with(path, ends[i]) || (packed != NULL && ends_with(path, packed));
        pq_free(packed);
    }
    return yes && !pq_folder_exists(path);
}

/* Tabs or semicolons where the line holds more of them than commas, blanks where it holds
 * nothing else. */
static char find_separator(const char *line)
{
    static const char separators[] = {',', ';', '\t'};
    size_t            most         = 0;
    char              best         = ' ';

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

/* The first line that is no comment, and the last comment before it, or NULL; caller
 * frees both. */
static pq_status first_lines(pq_source *s, pq_table *t, char **line, char **comment,
                             pq_err *err)
{
    bool      there = false;
    pq_status st;

    for (;;) {
        const char *text;
        PQ_TRY(pq_lines_next(&t->lines, &there, err));
        PQ_CHECK(there, PQ_ERR_FORMAT, "%s: is empty", s->path);
        text = t->lines.text + strspn(t->lines.text, " \t");
        if (*text == '\0') {
            continue;
        }
        if (*text != t->comment) {
            PQ_STRDUP(*line, t->lines.text);
            return PQ_OK;
        }
        pq_free(*comment);
        PQ_STRDUP(*comment, text + strspn(text, "# \t"));
    }
cleanup:
    return st;
}

/* Whether a cell is a value; "100%" may be a name. */
static bool is_number(const char *cell)
{
    double value;

    return strchr(cell, '%') == NULL && pq_parse_real(cell, PQ_UNIT_NONE, &value);
}

/* How many cells are numbers. */
static size_t count_numbers(char *const *cells, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        count += is_number(cells[i]) ? 1 : 0;
    }
    return count;
}

/* Whether names are 0, 1, 2, … beside others that are no numbers, as pandas counts
 * columns without a name: so many of them that no row of values is meant, or beside the
 * class. */
static bool are_counted(char *const *cells, size_t n, const char *label)
{
    static const char *const words[] = {"class", "label", "target"};
    enum { SURE = 4 };
    bool   named = false;
    size_t next  = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t value;
        if (pq_parse_int(cells[i], &value) && value == (int64_t)next) {
            next++;
            continue;
        }
        if (is_number(cells[i])) {
            return false;
        }
        named = named || (label != NULL && strcmp(cells[i], label) == 0);
        for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
            named = named || strcasecmp(cells[i], words[k]) == 0;
        }
    }
    return next >= SURE || (named && next > 0);
}

static pq_status check_names(const pq_source *s, const pq_table *t, char *const *cells,
                             size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        const bool index = i == 0 && cells[i][0] == '\0' && n > 1;
        PQ_CHECK(index || (cells[i][0] != '\0' && (t->numbered || !is_number(cells[i]))),
                 PQ_ERR_FORMAT,
                 "%s:%zu: column %zu is called '%s': the first line must give names",
                 s->path, t->lines.number, i + 1, cells[i]);
        for (size_t k = 0; k < i; k++) {
            PQ_CHECK(strcmp(cells[i], cells[k]) != 0, PQ_ERR_FORMAT,
                     "%s:%zu: columns %zu and %zu are both called '%s'", s->path,
                     t->lines.number, k + 1, i + 1, cells[i]);
        }
    }
cleanup:
    return st;
}

/* Names of n columns of a file whose first line holds values: in the comment above, or
 * their numbers. */
static pq_status name_columns(pq_source *s, pq_table *t, char *comment, char **cells,
                              size_t n, const pq_dataset_options *options, pq_err *err)
{
    size_t    words = 0;
    pq_status st;

    if (comment != NULL &&
        pq_table_cut(comment, find_separator(comment), cells, PQ_TABLE_COLUMNS, &words) &&
        words == n && count_numbers(cells, n) == 0) {
        PQ_TRY(check_names(s, t, cells, n, err));
        return pq_texts_copy((const char *const *)cells, n, &t->names, err);
    }
    PQ_CHECK(options->label != NULL, PQ_ERR_FORMAT,
             "%s:%zu: gives no names but values, so the columns are called 0 to %zu: say "
             "which holds the class with label",
             s->path, t->lines.number, n - 1);
    t->numbered = true;
    PQ_NEW(t->names, n);
    t->n = n;
    for (size_t i = 0; i < n; i++) {
        t->names[i] = pq_format("%zu", i);
        PQ_CHECK(t->names[i] != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    }
cleanup:
    return st;
}

static pq_status read_header(pq_source *s, pq_table *t, const pq_dataset_options *options,
                             pq_err *err)
{
    char    **cells = NULL, *line = NULL, *comment = NULL;
    size_t    n = 0;
    pq_status st;

    PQ_TRY(first_lines(s, t, &line, &comment, err));
    t->separator = find_separator(line);
    PQ_NEW(cells, PQ_TABLE_COLUMNS);
    PQ_CHECK(pq_table_cut(line, t->separator, cells, PQ_TABLE_COLUMNS, &n), PQ_ERR_FORMAT,
             "%s:%zu: has more than %d columns", s->path, t->lines.number,
             PQ_TABLE_COLUMNS);
    t->numbered = are_counted(cells, n, options->label);
    if (n > 1 && !t->numbered &&
        count_numbers(cells, n) + 1 >= n) { /* a row; one may be a class */
        PQ_TRY(name_columns(s, t, comment, cells, n, options, err));
        pq_lines_close(&t->lines);
        PQ_TRY(pq_lines_open(s->path, &t->lines, err));
    } else {
        PQ_TRY(check_names(s, t, cells, n, err));
        PQ_TRY(pq_texts_copy((const char *const *)cells, n, &t->names, err));
    }
    t->n = n;
cleanup:
    pq_free(cells);
    pq_free(line);
    pq_free(comment);
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
    PQ_TRY(read_header(s, t, options, err));
    PQ_TRY(pq_table_choose(s, t, options, err));
    PQ_TRY(pq_table_scan(s, t, err));
cleanup:
    return st;
}

const pq_layout pq_layout_csv = {
    .name = "csv",
    .summary =
        "values between commas, semicolons, tabs or blanks under a line of names (.csv, "
        ".tsv, .txt, .dat), plain or gzip",
    .recognises   = recognises,
    .open         = open_csv,
    .read         = pq_table_read,
    .read_aux     = pq_table_read_aux,
    .list_aux     = pq_table_list_aux,
    .close        = pq_table_close,
    .takes_inputs = true,
    .takes_label  = true,
};
