#include "sweep/select.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"

enum { WORD_BYTES = 256, DEPTH_MAX = 32 };

/* An expression while it is read. */
typedef struct {
    const char     *text, *at;
    const pq_cell  *cell; /* that it is about, or NULL: only the form counts */
    const pq_cells *cells;
    size_t          depth;
    pq_status       st;
    pq_err         *err;
} reader;

static bool fail(reader *r, const char *what)
{
    if (r->st == PQ_OK) {
        r->st = pq_err_set(r->err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                           "--only '%s': %s is due at character %zu", r->text, what,
                           (size_t)(r->at - r->text) + 1);
    }
    return false;
}

static void skip_space(reader *r)
{
    while (isspace((unsigned char)*r->at) != 0) {
        r->at++;
    }
}

static bool take(reader *r, const char *sign)
{
    const size_t n = strlen(sign);

    skip_space(r);
    if (strncmp(r->at, sign, n) != 0) {
        return false;
    }
    r->at += n;
    return true;
}

/* A word, or a text between quotes. */
static bool take_word(reader *r, char out[WORD_BYTES])
{
    size_t n;
    char   quote = '\0';

    skip_space(r);
    if (*r->at == '\'' || *r->at == '"') {
        quote = *r->at++;
        n     = strcspn(r->at, quote == '"' ? "\"" : "'");
    } else {
        n = strcspn(r->at, " \t\n&|()=!<>'\"");
    }
    if (n >= WORD_BYTES || (quote == '\0' && n == 0) ||
        (quote != '\0' && r->at[n] != quote)) {
        return false;
    }
    memcpy(out, r->at, n);
    out[n] = '\0';
    r->at += n + (quote != '\0');
    return true;
}

/* What a cell has under a name, or NULL. */
static const char *value_of(const pq_cell *cell, const char *name, char number[32])
{
    if (strcmp(name, "pipeline") == 0) {
        return cell->pipeline->name;
    }
    if (strcmp(name, "label") == 0) {
        return cell->variant->label;
    }
    if (strcmp(name, "repeat") == 0) {
        (void)snprintf(number, 32, "%zu", cell->repeat);
        return number;
    }
    for (size_t a = 0; a < cell->variant->n_axes; a++) {
        if (strcmp(cell->variant->axes[a].name, name) == 0) {
            return cell->variant->axes[a].value;
        }
    }
    return NULL;
}

typedef enum { EQUAL, UNEQUAL, AT_MOST, AT_LEAST, BELOW, ABOVE, N_OPS } operation;

static const char *const signs[N_OPS] = {"==", "!=", "<=", ">=", "<", ">"};

static bool compare(const char *have, operation op, const char *want)
{
    double     a = 0.0, b = 0.0;
    const bool numbers =
        pq_parse_real(have, PQ_UNIT_NONE, &a) && pq_parse_real(want, PQ_UNIT_NONE, &b);

    switch (op) {
    case EQUAL:
        return numbers ? a >= b && a <= b : pq_glob_match(want, have);
    case UNEQUAL:
        return numbers ? a < b || a > b : !pq_glob_match(want, have);
    case AT_MOST:
        return numbers && a <= b;
    case AT_LEAST:
        return numbers && a >= b;
    case BELOW:
        return numbers && a < b;
    case ABOVE:
    case N_OPS:
    default:
        return numbers && a > b;
    }
}

/* Whether some cell has a value of that name. */
static bool check_name(reader *r, const char *name)
{
    char number[32];

    for (size_t i = 0; i < r->cells->n; i++) {
        if (value_of(&r->cells->cells[i], name, number) != NULL) {
            return true;
        }
    }
    if (r->st == PQ_OK) {
        r->st = pq_err_set(r->err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                           "--only '%s': no cell has an axis '%s'; there are also "
                           "pipeline, label and repeat",
                           r->text, name);
    }
    return false;
}

static bool read_comparison(reader *r)
{
    char        name[WORD_BYTES], want[WORD_BYTES], number[32];
    const char *have;
    double      x;
    size_t      op = 0;

    if (!take_word(r, name)) {
        return fail(r, "a name");
    }
    while (op < N_OPS && !take(r, signs[op])) {
        op++;
    }
    if (op == N_OPS) {
        return fail(r, "one of == != <= >= < >");
    }
    if (!take_word(r, want)) {
        return fail(r, "a value");
    }
    if (r->cell == NULL) {
        if (op >= AT_MOST && !pq_parse_real(want, PQ_UNIT_NONE, &x)) {
            return fail(r, "a number before this");
        }
        return check_name(r, name);
    }
    have = value_of(r->cell, name, number);
    return have != NULL && compare(have, (operation)op, want);
}

static bool read_any(reader *r);

static bool read_term(reader *r)
{
    bool is;

    if (r->st != PQ_OK || ++r->depth > DEPTH_MAX) {
        return fail(r, "an end of the brackets");
    }
    if (take(r, "!")) {
        is = !read_term(r);
    } else if (take(r, "(")) {
        is = read_any(r);
        if (!take(r, ")")) {
            is = fail(r, "')'");
        }
    } else {
        is = read_comparison(r);
    }
    r->depth--;
    return is;
}

static bool read_all(reader *r)
{
    bool is = read_term(r);

    while (r->st == PQ_OK && take(r, "&&")) {
        is = read_term(r) && is;
    }
    return is;
}

static bool read_any(reader *r)
{
    bool is = read_all(r);

    while (r->st == PQ_OK && take(r, "||")) {
        is = read_all(r) || is;
    }
    return is;
}

/* Whether a cell is meant; without one, whether the expression is well formed. */
static pq_status read_whole(const pq_cells *cells, const pq_cell *cell, const char *text,
                            bool *is, pq_err *err)
{
    reader r = {.text = text, .at = text, .cell = cell, .cells = cells, .err = err};

    *is = read_any(&r);
    skip_space(&r);
    if (r.st == PQ_OK && *r.at != '\0') {
        (void)fail(&r, "&& or ||");
    }
    return r.st;
}

static bool is_expression(const char *only)
{
    return strpbrk(only, "<>") != NULL || strstr(only, "==") != NULL ||
           strstr(only, "!=") != NULL;
}

pq_status pq_cells_select(const pq_cells *cells, const char *only, bool *mine,
                          pq_err *err)
{
    pq_status st = PQ_OK;

    if (only != NULL && is_expression(only)) {
        bool is;
        PQ_TRY(read_whole(cells, NULL, only, &is, err));
        for (size_t i = 0; i < cells->n; i++) {
            PQ_TRY(read_whole(cells, &cells->cells[i], only, &mine[i], err));
        }
        return PQ_OK;
    }
    for (size_t i = 0; i < cells->n; i++) {
        mine[i] = only == NULL || pq_glob_match(only, cells->cells[i].variant->label);
    }
cleanup:
    return st;
}
