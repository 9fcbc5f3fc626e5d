/* Rows of a table: their numbers and labels, and quantities beside them. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/memory.h"
#include "core/text.h"
#include "data/split.h"
#include "data/table.h"

/* A missing value (empty or ?) is NaN, so that the policy for those decides. */
static pq_status number(const pq_table *t, size_t row, size_t column, double *out,
                        pq_err *err)
{
    const char *text    = t->cells[column];
    const bool  percent = strchr(text, '%') != NULL;
    pq_status   st;

    if (text[0] == '\0' || strcmp(text, "?") == 0 || strcasecmp(text, "nan") == 0) {
        *out = (double)NAN;
        return PQ_OK;
    }
    if (strcasecmp(text + strspn(text, "+-"), "inf") == 0) {
        *out = text[0] == '-' ? -HUGE_VAL : HUGE_VAL;
        return PQ_OK;
    }
    PQ_CHECK(!percent && pq_parse_real(text, PQ_UNIT_NONE, out), PQ_ERR_FORMAT,
             "%s: event %zu: column '%s' holds '%.40s', not a number", t->lines.path, row,
             t->names[column], text);
cleanup:
    return st;
}

/* A whole number to its last digit, other numbers to the nearest; those of 2^63 and more
 * as the bits of a number without a sign. */
static pq_status whole_number(const pq_table *t, size_t row, size_t column, int64_t *out,
                              pq_err *err)
{
    double    value = 0.0;
    char     *end;
    pq_status st = PQ_OK;

    errno = 0;
    *out  = t->cells[column][0] == '-' ? strtoll(t->cells[column], &end, 10)
                                       : (int64_t)strtoull(t->cells[column], &end, 10);
    if (end == t->cells[column] || *end != '\0' || errno != 0) {
        PQ_TRY(number(t, row, column, &value, err));
        PQ_CHECK(value > -0x1p63 && value < 0x1p64, PQ_ERR_FORMAT,
                 "%s: event %zu: column '%s' holds '%.40s', not an event number",
                 t->lines.path, row, t->names[column], t->cells[column]);
        *out = value < 0.0 ? (int64_t)value : (int64_t)(uint64_t)value;
    }
cleanup:
    return st;
}

static pq_status read_row(pq_source *s, size_t row, size_t at, const pq_raw *out,
                          pq_err *err)
{
    pq_table *t  = s->state;
    pq_status st = PQ_OK;

    for (size_t i = 0; out->x != NULL && i < t->n_inputs; i++) {
        PQ_TRY(number(t, row, t->inputs[i], &t->values[t->inputs[i]], err));
        out->x[at * t->n_inputs + i] = (float)t->values[t->inputs[i]];
    }
    if (out->y != NULL) {
        out->y[at] = (double)pq_table_class(t, pq_table_label(t));
    }
    if (t->weight != SIZE_MAX && (out->weight != NULL || t->kept_n > 0)) {
        PQ_TRY(number(t, row, t->weight, &t->values[t->weight], err));
    }
    if (out->weight != NULL) {
        out->weight[at] = t->weight != SIZE_MAX ? (float)t->values[t->weight] : 1.0F;
    }
cleanup:
    return st;
}

/* The line of row `row`, going there from wherever the file is. */
static pq_status go_to(pq_table *t, size_t row, pq_err *err)
{
    bool      there = true;
    z_off_t   place;
    pq_status st;

    PQ_TRY(pq_lines_seek(&t->lines, row, err));
    do {
        PQ_TRY(pq_table_next(t, &place, &there, err));
        PQ_CHECK(there, PQ_ERR_IO, "%s: got shorter while it was read", t->lines.path);
        t->lines.row++;
    } while (t->lines.row <= row);
cleanup:
    if (st != PQ_OK) {
        t->lines.row = SIZE_MAX; /* unknown: the next call seeks */
    }
    return st;
}

/* The same of a line that reads plainly. */
static bool read_plain(pq_table *t, size_t at, const pq_raw *out)
{
    size_t class;

    if (!pq_table_read_plain(t, t->wanted, out->y != NULL ? &class : NULL)) {
        return false;
    }
    for (size_t i = 0; out->x != NULL && i < t->n_inputs; i++) {
        out->x[at * t->n_inputs + i] = (float)t->values[t->inputs[i]];
    }
    if (out->y != NULL) {
        out->y[at] = (double)class;
    }
    if (out->weight != NULL) {
        out->weight[at] = t->weight != SIZE_MAX ? (float)t->values[t->weight] : 1.0F;
    }
    return true;
}

/* Room to keep the numbers of n rows, where they will be asked for again. */
static pq_status keep_rows(pq_source *s, size_t first, size_t n, pq_err *err)
{
    pq_table *t  = s->state;
    pq_status st = PQ_OK;

    t->kept_n = 0;
    if (!s->aux_kept) {
        return PQ_OK;
    }
    if (s->aux_room < n) {
        pq_free(s->aux_numbers);
        s->aux_numbers = NULL;
        s->aux_room    = 0;
        PQ_NEW(s->aux_numbers, n * t->n);
        s->aux_room = n;
    }
    t->kept_first = first;
    t->kept_n     = n;
cleanup:
    return st;
}

pq_status pq_table_read(pq_source *s, size_t split, size_t first, size_t n,
                        const pq_raw *out, pq_err *err)
{
    pq_table *t = s->state;
    pq_status st;

    (void)split;
    PQ_TRY(keep_rows(s, first, n, err));
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(go_to(t, first + i, err));
        if (!read_plain(t, i, out)) {
            PQ_TRY(pq_table_cut_row(t, err));
            PQ_TRY(read_row(s, first + i, i, out, err));
        }
        if (t->kept_n > 0) {
            memcpy(s->aux_numbers + i * t->n, t->values, t->n * sizeof *t->values);
        }
    }
cleanup:
    if (st != PQ_OK) {
        t->kept_n = 0;
    }
    return st;
}

/* Whether numbers are among those that were kept, where they are given. */
static bool read_kept(const pq_source *s, const pq_aux *aux, const size_t *columns,
                      size_t first, size_t n, double *out)
{
    const pq_table *t    = s->state;
    bool            fine = s->aux_numbers != NULL && aux->dtype == PQ_DTYPE_F64 &&
                first >= t->kept_first && first - t->kept_first <= t->kept_n &&
                n <= t->kept_n - (first - t->kept_first);

    for (size_t k = 0; k < aux->n_names; k++) {
        fine = fine && t->wanted[columns[k]];
    }
    for (size_t i = 0; fine && i < n; i++) {
        const double *row = s->aux_numbers + (first - t->kept_first + i) * t->n;
        for (size_t k = 0; k < aux->n_names; k++) {
            out[i * aux->n_names + k] = row[columns[k]];
        }
    }
    return fine;
}

static pq_status read_aux_row(pq_table *t, size_t row, const pq_aux *aux,
                              const size_t *columns, uint64_t *out, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_table_cut_row(t, err));
    for (size_t k = 0; k < aux->n_names; k++) {
        double  real  = 0.0;
        int64_t whole = 0;
        if (aux->dtype == PQ_DTYPE_I64) {
            PQ_TRY(whole_number(t, row, columns[k], &whole, err));
            memcpy(&out[k], &whole, sizeof whole);
        } else {
            PQ_TRY(number(t, row, columns[k], &real, err));
            memcpy(&out[k], &real, sizeof real);
        }
    }
cleanup:
    return st;
}

/* The same of a line that reads plainly; whole numbers where a double holds them. */
static bool read_aux_plain(pq_table *t, const pq_aux *aux, const size_t *columns,
                           const bool *wanted, uint64_t *out)
{
    bool fine = pq_table_read_plain(t, wanted, NULL);

    for (size_t k = 0; fine && k < aux->n_names; k++) {
        const double  real  = t->values[columns[k]];
        const int64_t whole = fabs(real) < 0x1p53 ? (int64_t)real : 0;
        if (aux->dtype == PQ_DTYPE_I64) {
            fine = fabs(real) < 0x1p53;
            memcpy(&out[k], &whole, sizeof whole);
        } else {
            memcpy(&out[k], &real, sizeof real);
        }
    }
    return fine;
}

pq_status pq_table_read_aux(pq_source *s, size_t split, const pq_aux *aux, size_t first,
                            size_t n, void *out, pq_err *err)
{
    pq_table *t       = s->state;
    uint64_t *to      = out; /* of either type: both have 8 bytes */
    size_t   *columns = NULL;
    bool     *wanted  = NULL;
    pq_status st;

    (void)split;
    PQ_NEW(columns, aux->n_names);
    PQ_NEW(wanted, t->n);
    for (size_t k = 0; k < aux->n_names; k++) {
        PQ_TRY(pq_table_find(s, t, aux->names[k], &columns[k], err));
        wanted[columns[k]] = true;
    }
    if (read_kept(s, aux, columns, first, n, out)) {
        goto cleanup;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t *row = to + i * aux->n_names;
        PQ_TRY(go_to(t, first + i, err));
        if (!read_aux_plain(t, aux, columns, wanted, row)) {
            PQ_TRY(read_aux_row(t, first + i, aux, columns, row, err));
        }
    }
cleanup:
    pq_free(columns);
    pq_free(wanted);
    return st;
}

/* Whether the row at hand, cut, has a text in a column that need hold no numbers. */
static bool is_text(const pq_table *t, size_t column)
{
    double none;

    return !t->wanted[column] && !pq_is_event_name(t->names[column]) &&
           number(t, 0, column, &none, NULL) != PQ_OK;
}

/* All columns but the label, an index as pandas writes it, which has no name, and texts:
 * the first row tells. */
pq_status pq_table_list_aux(pq_source *s, size_t split, char ***names, size_t *n,
                            pq_err *err)
{
    pq_table *t     = s->state;
    char    **list  = NULL;
    size_t    count = 0;
    pq_status st;

    (void)split;
    PQ_NEW(list, t->n);
    PQ_TRY(go_to(t, 0, err));
    PQ_TRY(pq_table_cut_row(t, err));
    for (size_t i = 0; i < t->n; i++) {
        if (i != t->label && t->names[i][0] != '\0' && !is_text(t, i)) {
            PQ_STRDUP(list[count], t->names[i]);
            count++;
        }
    }
    *names = list;
    *n     = count;
    list   = NULL;
cleanup:
    pq_texts_free(&list, count);
    return st;
}

void pq_table_close(pq_source *s)
{
    pq_table *t = s->state;

    if (t != NULL) {
        pq_lines_close(&t->lines);
        pq_texts_free(&t->names, t->n);
        pq_texts_free(&t->classes, t->n_classes);
        pq_free(t->inputs);
        pq_free(t->cells);
        pq_free(t->values);
        pq_free(t->wanted);
        pq_free(t);
    }
}
