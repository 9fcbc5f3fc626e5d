#include "sweep/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"

enum { LINES_MAX = 1000 };

void pq_problem_line(pq_problems *p, const char *line)
{
    const size_t n  = strlen(line);
    const char  *at = p->lines.text;

    p->met++;
    if (p->n >= LINES_MAX) { /* counted, no longer compared with each other */
        p->n++;
        return;
    }
    while (at != NULL && *at != '\0') {
        const char *end = strchr(at, '\n');
        if (end == NULL || ((size_t)(end - at) == n && strncmp(at, line, n) == 0)) {
            return;
        }
        at = end + 1;
    }
    pq_text_add(&p->lines, "%s\n", line);
    p->n++;
}

static void note(pq_problems *p, const char *file, size_t line, size_t column,
                 const char *fmt, va_list args)
{
    char sentence[1024], whole[1400];

    (void)pq_vsnprintf(sentence, sizeof sentence, fmt, args);
    (void)snprintf(whole, sizeof whole, "%s:%zu:%zu: %s", file, line, column, sentence);
    pq_problem_line(p, whole);
}

void pq_problem(pq_problems *p, const pq_yaml *node, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    note(p, node->file, node->line, node->column, fmt, args);
    va_end(args);
}

void pq_problem_key(pq_problems *p, const pq_yaml *node, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    note(p, node->file, node->key_line, node->key_column, fmt, args);
    va_end(args);
}

void pq_problems_list(const pq_problems *p, pq_text *out)
{
    pq_text_add_bytes(out, p->lines.text, p->lines.length);
    if (p->n > LINES_MAX) {
        pq_text_add(out, "and %zu more\n", p->n - LINES_MAX);
    }
}

pq_status pq_problems_status(const pq_problems *p, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(!p->lines.failed, PQ_ERR_NOMEM, "cannot allocate the list of problems");
    if (p->n == 1) {
        PQ_FAIL(PQ_ERR_CONFIG, "%.*s", (int)strcspn(p->lines.text, "\n"), p->lines.text);
    }
    if (p->n > 1) {
        PQ_FAIL(PQ_ERR_CONFIG, "%.*s (and %zu more)", (int)strcspn(p->lines.text, "\n"),
                p->lines.text, p->n - 1);
    }
cleanup:
    return st;
}

bool pq_expect_map(pq_problems *p, const pq_yaml *node, const char *what)
{
    if (node->kind != PQ_YAML_MAP) {
        pq_problem(p, node, "%s: a map is due here, not %s", what,
                   pq_yaml_kind_text(node->kind));
        return false;
    }
    return true;
}

bool pq_expect_key(pq_problems *p, const pq_yaml *item, const pq_param *table,
                   pq_known_keys others, const char *what)
{
    const char *names[128];
    const char *near;
    size_t      n = 0;

    for (const pq_param *r = table; r != NULL && r->name != NULL && n < 112; r++) {
        names[n++] = r->name;
    }
    for (size_t i = 0; others != NULL && others[i] != NULL && n < 128; i++) {
        names[n++] = others[i];
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], item->key) == 0) {
            return true;
        }
    }
    near = pq_nearest(item->key, names, n);
    pq_problem_key(p, item, "%s: unknown key '%s'%s%s%s", what, item->key,
                   near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                   near != NULL ? "'?" : "");
    return false;
}

/* A scalar's text, or a list of scalars joined by `between`. */
static bool add_flat(pq_text *t, const pq_yaml *node, const char *between)
{
    if (node->kind == PQ_YAML_SCALAR) {
        pq_text_add(t, "%s", node->text);
        return true;
    }
    for (size_t i = 0; i < node->n; i++) {
        if (node->kind != PQ_YAML_LIST || node->items[i]->kind != PQ_YAML_SCALAR) {
            return false;
        }
        pq_text_add(t, "%s%s", i == 0 ? "" : between, node->items[i]->text);
    }
    return node->kind == PQ_YAML_LIST;
}

/* Strings that may be written as a list of names, or as a map of names to values. */
static const char *const lists[] = {"inputs", "classes", "layers", "tables",
                                    "plots",  "freeze",  NULL};
static const char *const maps[]  = {
     "labels", "splits", "class_weights", "min_recall", "bins", "x", "y", "weight", NULL};

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

/* The first text of a list or map that holds what is to separate it from the next, as a
 * class called "q,g"; or NULL. Values of `splits` are ranges, which hold a colon. */
static const char *unseparated(const pq_yaml *node, const char *name)
{
    const char *between = strcmp(name, "splits") == 0 ? "," : ",:";
    const bool  map     = node->kind == PQ_YAML_MAP;
    const char *found   = NULL;

    for (size_t i = 0; node->kind != PQ_YAML_SCALAR && found == NULL && i < node->n;
         i++) {
        const pq_yaml *item = node->items[i];
        found               = map && strpbrk(item->key, ",=") != NULL ? item->key : NULL;
        if (found == NULL && item->kind == PQ_YAML_SCALAR &&
            strpbrk(item->text, map ? between : ",") != NULL) {
            found = item->text;
        } else if (found == NULL && map) {
            found = unseparated(item, name);
        }
    }
    return found;
}

static bool add_string(pq_text *t, const pq_yaml *node, const char *name)
{
    bool fine = true;

    if (node->kind == PQ_YAML_SCALAR || is_one_of(name, lists)) {
        return add_flat(t, node, ",");
    }
    if (node->kind != PQ_YAML_MAP || !is_one_of(name, maps)) {
        return false;
    }
    for (size_t i = 0; fine && i < node->n; i++) {
        pq_text_add(t, "%s%s=", i == 0 ? "" : ",", node->items[i]->key);
        fine = add_flat(t, node->items[i], ":");
    }
    return fine;
}

void pq_value_text(pq_problems *p, const pq_yaml *node, const pq_param *row, char **out)
{
    pq_text t    = {0};
    bool    fine = true;
    bool empty   = node->kind == PQ_YAML_SCALAR && node->text[0] == '\0' && !node->quoted;

    *out = NULL;
    if (empty) {
        pq_problem(p, node, "%s has no value", row->name);
    } else if (row->type == PQ_PARAM_STRING && unseparated(node, row->name) != NULL) {
        pq_problem(p, node,
                   "%s: '%s' holds one of , = : which separate names here: such "
                   "a name cannot be given",
                   row->name, unseparated(node, row->name));
        return;
    } else if (row->type == PQ_PARAM_STRING) {
        fine = add_string(&t, node, row->name);
    } else if (row->type == PQ_PARAM_LIST && node->kind == PQ_YAML_LIST) {
        pq_text_add(&t, "[");
        fine = add_flat(&t, node, ", ");
        pq_text_add(&t, "]");
    } else {
        fine = node->kind == PQ_YAML_SCALAR;
        pq_text_add(&t, "%s", fine ? node->text : "");
    }
    if (!fine) {
        pq_problem(p, node, "%s: one value is due here, not %s%s", row->name,
                   pq_yaml_kind_text(node->kind),
                   node->kind == PQ_YAML_LIST ? "; to try several, name it $x and list x "
                                                "under sweep:"
                                              : "");
    }
    if (fine && !empty && pq_text_take(&t, out, NULL) != PQ_OK) {
        p->lines.failed = true;
    }
    pq_text_free(&t);
}

static void set_value(pq_problems *p, const pq_yaml *node, const pq_param *table,
                      void *values, const char *what)
{
    char  *text = NULL;
    pq_err err  = {0};

    pq_value_text(p, node, pq_params_find(table, node->key), &text);
    if (text != NULL && pq_params_set(table, values, node->key, text, &err) != PQ_OK) {
        pq_problem(p, node, "%s: %s", what, err.message);
    }
    pq_free(text);
}

void pq_read_block(pq_problems *p, const pq_yaml *map, const pq_param *table,
                   void *values, pq_known_keys others, const char *what)
{
    if (!pq_expect_map(p, map, what)) {
        return;
    }
    for (size_t i = 0; i < map->n; i++) {
        const pq_yaml *item = map->items[i];
        if (pq_expect_key(p, item, table, others, what) &&
            pq_params_find(table, item->key) != NULL) {
            set_value(p, item, table, values, what);
        }
    }
}
