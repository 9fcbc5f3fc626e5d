#include "data/table.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/memory.h"
#include "core/text.h"
#include "data/split.h"

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(name, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_weight(const char *name)
{
    static const char *const list[] = {"weight", "event_weight", "mcEventWeight"};

    return is_one_of(name, list, 3);
}

static bool is_class(const char *name)
{
    static const char *const list[] = {"class", "label", "target", "y"};

    return is_one_of(name, list, 4);
}

pq_status pq_table_find(const pq_source *s, const pq_table *t, const char *name,
                        size_t *out, pq_err *err)
{
    const char *near;
    pq_status   st;

    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->names[i], name) == 0) {
            *out = i;
            return PQ_OK;
        }
    }
    near = pq_nearest(name, (const char *const *)t->names, t->n);
    PQ_FAIL(PQ_ERR_NOT_FOUND, "%s: has no column '%s'%s%s%s", s->path, name,
            near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'?" : "");
cleanup:
    return st;
}

static pq_status choose_inputs(pq_source *s, pq_table *t, const char *inputs, pq_err *err)
{
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st;

    PQ_NEW(t->inputs, t->n);
    if (inputs == NULL) {
        for (size_t i = 0; i < t->n; i++) {
            if (i != t->label && i != t->weight && !pq_is_event_name(t->names[i]) &&
                t->names[i][0] != '\0') { /* the index that pandas writes */
                t->inputs[t->n_inputs++] = i;
            }
        }
    } else {
        PQ_TRY(pq_texts_split(inputs, &names, &n, err));
        PQ_CHECK(n <= t->n, PQ_ERR_CONFIG,
                 "%s: more inputs are named than there are columns", s->path);
        for (size_t i = 0; i < n; i++) {
            PQ_TRY(pq_table_find(s, t, names[i], &t->inputs[i], err));
            t->n_inputs++;
        }
    }
    PQ_CHECK(t->n_inputs > 0, PQ_ERR_FORMAT, "%s: has no columns of features", s->path);
cleanup:
    pq_texts_free(&names, n);
    return st;
}

pq_status pq_table_choose(pq_source *s, pq_table *t, const pq_dataset_options *options,
                          pq_err *err)
{
    pq_status st;

    PQ_CHECK(t->n >= 2, PQ_ERR_FORMAT,
             "%s: has %zu columns; features and a class need at least 2", s->path, t->n);
    t->weight = SIZE_MAX;
    t->label  = t->n - 1;
    if (options->label != NULL) {
        PQ_TRY(pq_table_find(s, t, options->label, &t->label, err));
        t->named = true;
    }
    if (options->weight != NULL && strcmp(options->weight, "none") != 0) {
        PQ_TRY(pq_table_find(s, t, options->weight, &t->weight, err));
    }
    for (size_t i = 0; i < t->n; i++) {
        if (!t->named && is_class(t->names[i])) {
            t->label = i;
            t->named = true;
        }
        if (t->weight == SIZE_MAX && is_weight(t->names[i])) {
            t->weight = i;
        }
    }
    PQ_TRY(choose_inputs(s, t, options->inputs, err));
    s->sample     = PQ_SHAPE(t->n_inputs);
    s->n_features = t->n_inputs;
    if (!t->numbered) {
        PQ_NEW(s->feature_names, t->n_inputs);
    }
    for (size_t i = 0; !t->numbered && i < t->n_inputs; i++) {
        PQ_STRDUP(s->feature_names[i], t->names[t->inputs[i]]);
    }
    PQ_NEW(t->cells, t->n);
    PQ_NEW(t->values, t->n);
    PQ_NEW(t->wanted, t->n);
    for (size_t i = 0; i < t->n_inputs; i++) {
        t->wanted[t->inputs[i]] = true;
    }
    if (t->weight != SIZE_MAX) {
        t->wanted[t->weight] = true;
    }
    s->aux_beside = true;
    for (size_t i = 0; i < t->n; i++) {
        s->aux_beside =
            s->aux_beside && (t->wanted[i] || i == t->label || t->names[i][0] == '\0' ||
                              pq_is_event_name(t->names[i]));
    }
cleanup:
    return st;
}

/* Takes the quotes off a cell that begins at one; where it ends in the line. */
static char *unquote(char *p)
{
    const char quote = *p;
    char      *to    = p;

    for (p++; *p != '\0' && (*p != quote || p[1] == quote); p++) {
        p += *p == quote ? 1 : 0; /* the second of two */
        *to++ = *p;
    }
    p += *p == quote ? 1 : 0;
    if (to < p) {
        *to = '\0';
    }
    return p;
}

bool pq_table_cut(char *line, char separator, char **cells, size_t room, size_t *n)
{
    const char between[] = {separator, separator == ' ' ? '\t' : '\0', '\0'};
    char      *p         = line;

    *n = 0;
    for (;;) {
        char *end, *next;
        while (*p == ' ' || (*p == '\t' && separator != '\t')) {
            p++;
        }
        if (separator == ' ' && *n > 0 && *p == '\0') { /* blanks at the end */
            return true;
        }
        if (*n == room) {
            return false;
        }
        cells[(*n)++] = p;
        if (*p == '"' || *p == '\'') {
            next = strpbrk(unquote(p), between);
        } else {
            next = strpbrk(p, between);
            end  = next != NULL ? next : p + strlen(p);
            while (end > p && isspace((unsigned char)end[-1])) {
                end--;
            }
            *end = '\0';
        }
        if (next == NULL) {
            return true;
        }
        p = next + 1;
    }
}

pq_status pq_table_next(pq_table *t, z_off_t *place, bool *there, pq_err *err)
{
    char      first;
    pq_status st;

    do {
        *place = pq_lines_place(&t->lines);
        PQ_TRY(pq_lines_next(&t->lines, there, err));
        first = *there ? t->lines.text[strspn(t->lines.text, " \t")] : '\0';
    } while (*there && (first == '\0' || first == t->comment));
cleanup:
    return st;
}

pq_status pq_table_cut_row(pq_table *t, pq_err *err)
{
    size_t    n = 0;
    pq_status st;

    PQ_CHECK(pq_table_cut(t->lines.text, t->separator, t->cells, t->n, &n) && n == t->n,
             PQ_ERR_FORMAT, "%s:%zu: has %s%zu values, but there are %zu columns",
             t->lines.path, t->lines.number, n == t->n ? "more than " : "", n, t->n);
cleanup:
    return st;
}

/* The same, of which only the class is wanted. */
static pq_status cut_class(pq_table *t, pq_err *err)
{
    char *cell = t->label + 1 == t->n ? pq_table_last_cell(t) : NULL;

    if (cell == NULL) {
        return pq_table_cut_row(t, err);
    }
    t->cells[t->label] = cell;
    return PQ_OK;
}

const char *pq_table_label(const pq_table *t)
{
    char  *text = t->cells[t->label], whole[24];
    double value;

    if (t->sorted && strpbrk(text, ".eE") != NULL &&
        pq_parse_real(text, PQ_UNIT_NONE, &value) && value == floor(value) &&
        fabs(value) <= 0x1p53) {
        (void)pq_snprintf(whole, sizeof whole, "%.0f", value + 0.0);
        if (strlen(whole) <= strlen(text)) {
            strcpy(text, whole);
        }
    }
    return text;
}

size_t pq_table_class(const pq_table *t, const char *text)
{
    for (size_t i = 0; i < t->n_classes; i++) {
        if (strcmp(t->classes[i], text) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static pq_status meet_class(pq_table *t, const char *text, pq_err *err)
{
    char    **grown;
    pq_status st = PQ_OK;

    double value;

    if (pq_table_class(t, text) != SIZE_MAX) {
        return PQ_OK;
    }
    PQ_CHECK(t->named || !pq_parse_real(text, PQ_UNIT_NONE, &value) ||
                 value == floor(value),
             PQ_ERR_FORMAT,
             "%s:%zu: no column is called class, label, target or y, and the last, '%s', "
             "holds %s, which is no class: name the column with `label`",
             t->lines.path, t->lines.number, t->names[t->label], text);
    PQ_CHECK(t->sorted, PQ_ERR_FORMAT, "%s:%zu: class '%s' is not declared",
             t->lines.path, t->lines.number, text);
    PQ_CHECK(text[0] != '\0', PQ_ERR_FORMAT, "%s:%zu: column '%s' holds no class",
             t->lines.path, t->lines.number, t->names[t->label]);
    PQ_CHECK(t->n_classes < PQ_TABLE_CLASSES, PQ_ERR_FORMAT,
             "%s:%zu: column '%s' holds more than %d different classes", t->lines.path,
             t->lines.number, t->names[t->label], PQ_TABLE_CLASSES);
    grown = pq_recalloc(t->classes, t->n_classes, t->n_classes + 1, sizeof *grown);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate class names");
    t->classes = grown;
    PQ_STRDUP(grown[t->n_classes], text);
    t->n_classes++;
cleanup:
    return st;
}

/* Numbers by value, other names by their letters. */
static int by_name(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    double      p, q;

    if (pq_parse_real(x, PQ_UNIT_NONE, &p) && pq_parse_real(y, PQ_UNIT_NONE, &q)) {
        return p < q ? -1 : p > q ? 1 : strcmp(x, y);
    }
    return strcmp(x, y);
}

pq_status pq_table_scan(pq_source *s, pq_table *t, pq_err *err)
{
    bool      there = true;
    z_off_t   place = 0;
    pq_status st;

    for (;;) {
        PQ_TRY(pq_table_next(t, &place, &there, err));
        if (!there) {
            break;
        }
        PQ_TRY(cut_class(t, err));
        PQ_TRY(meet_class(t, pq_table_label(t), err));
        PQ_TRY(pq_lines_mark(&t->lines, place, err));
    }
    PQ_CHECK(t->lines.n_rows > 0, PQ_ERR_FORMAT, "%s: holds no events", s->path);
    if (t->sorted) {
        qsort(t->classes, t->n_classes, sizeof *t->classes, by_name);
    }
    PQ_TRY(pq_texts_copy((const char *const *)t->classes, t->n_classes, &s->class_names,
                         err));
    s->n_classes = t->n_classes;
    PQ_TRY(pq_source_add_split(s, "", t->lines.n_rows, err));
cleanup:
    return st;
}
