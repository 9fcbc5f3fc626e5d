#include "sweep/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"

/* Files that are being read, outermost last. */
typedef struct chain {
    const char         *path;
    const struct chain *outer;
    size_t              depth;
} chain;

static bool same_file(const char *a, const char *b)
{
    char      *x    = realpath(a, NULL); /* the C library's own block: freed with free */
    char      *y    = realpath(b, NULL);
    const bool same = x != NULL && y != NULL && strcmp(x, y) == 0;

    free(x);
    free(y);
    return same;
}

static char *beside(const char *file, const char *name)
{
    const size_t n = (size_t)(pq_path_base(file) - file);
    char        *folder, *path;

    folder = pq_format("%.*s", (int)n, file);
    path   = folder != NULL ? pq_path_join(folder, name) : NULL;
    pq_free(folder);
    return path;
}

static pq_status read_file(const char *path, const chain *outer, pq_yaml **out,
                           pq_err *err);

/* One entry of `include:`, merged into `into`. */
static pq_status include(const pq_yaml *entry, const chain *here, pq_yaml *into,
                         pq_err *err)
{
    char     *path = NULL;
    pq_yaml  *tree = NULL;
    pq_err    why  = {0};
    pq_status st   = PQ_OK;

    if (entry->kind != PQ_YAML_SCALAR || entry->text[0] == '\0') {
        return pq_yaml_fail(entry, err, PQ_ERR_CONFIG, "include: a path is due here");
    }
    path = beside(here->path, entry->text);
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (!pq_file_exists(path)) {
        st = pq_yaml_fail(entry, err, PQ_ERR_CONFIG, "include: there is no file '%s'",
                          path);
        goto cleanup;
    }
    if (pq_file_check(path, &why) != PQ_OK || pq_folder_exists(path)) {
        st = pq_yaml_fail(entry, err, PQ_ERR_CONFIG, "include: %s%s",
                          why.code != PQ_OK ? why.message : path,
                          why.code != PQ_OK ? "" : " is a folder");
        goto cleanup;
    }
    for (const chain *c = here; c != NULL; c = c->outer) {
        if (same_file(c->path, path) || c->depth > PQ_INCLUDE_DEPTH) {
            st = pq_yaml_fail(entry, err, PQ_ERR_CONFIG, "include: '%s' includes itself",
                              path);
            goto cleanup;
        }
    }
    PQ_TRY(read_file(path, here, &tree, err));
    PQ_TRY(pq_yaml_merge(into, tree, err));
cleanup:
    pq_free(path);
    pq_yaml_free(&tree);
    return st;
}

static pq_status read_file(const char *path, const chain *outer, pq_yaml **out,
                           pq_err *err)
{
    const chain here = {path, outer, outer == NULL ? 0 : outer->depth + 1};
    pq_yaml    *tree = NULL, *whole = NULL;
    pq_yaml    *names;
    pq_status   st;

    PQ_TRY(pq_yaml_read(path, &tree, err));
    PQ_CHECK(tree->kind == PQ_YAML_MAP, PQ_ERR_CONFIG, "%s: a map is due here, not %s",
             path, pq_yaml_kind_text(tree->kind));
    names = pq_yaml_find(tree, "include");
    if (names == NULL) {
        *out = tree;
        return PQ_OK;
    }
    PQ_TRY(pq_yaml_parse("{}", 2, path, &whole, err));
    if (names->kind == PQ_YAML_LIST) {
        for (size_t i = 0; i < names->n; i++) {
            PQ_TRY(include(names->items[i], &here, whole, err));
        }
    } else {
        PQ_TRY(include(names, &here, whole, err));
    }
    pq_yaml_remove(tree, "include");
    PQ_TRY(pq_yaml_merge(whole, tree, err));
    *out  = whole;
    whole = NULL;
cleanup:
    pq_yaml_free(&tree);
    pq_yaml_free(&whole);
    return st;
}

pq_status pq_source_read(const char *path, pq_yaml **out, pq_err *err)
{
    return read_file(path, NULL, out, err);
}

static void problem_of(pq_problems *p, const char *option, const char *text,
                       const char *what)
{
    char line[1400];

    (void)snprintf(line, sizeof line, "%s %.200s: %s", option, text, what);
    pq_problem_line(p, line);
}

/* Whether a value has nothing that a map in its place would lose. */
static bool is_blank(const pq_yaml *y)
{
    return y == NULL || (y->kind == PQ_YAML_SCALAR && !y->quoted &&
                         (y->text[0] == '\0' || strcmp(y->text, "~") == 0 ||
                          strcmp(y->text, "null") == 0));
}

/* The map that the last word of a dotted path is a key of; made where nothing is there,
 * NULL where something else is. */
static pq_status walk(pq_problems *p, const char *text, pq_yaml *tree, char *path,
                      const char *name, pq_yaml **map, char **last, pq_err *err)
{
    char      line[400];
    pq_status st = PQ_OK;

    *map = NULL;

    for (char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        pq_yaml *next;
        *dot = '\0';
        next = pq_yaml_find(tree, path);
        if (!is_blank(next) && next->kind != PQ_YAML_MAP) {
            (void)snprintf(line, sizeof line,
                           "'%.200s' is %s in the configuration, and no map of keys",
                           path, pq_yaml_kind_text(next->kind));
            problem_of(p, "-S", text, line);
            goto cleanup;
        }
        if (is_blank(next)) {
            pq_yaml *made = NULL;
            PQ_TRY(pq_yaml_parse("{}", 2, name, &made, err));
            PQ_TRY(pq_yaml_set(tree, path, made, err));
            next = pq_yaml_find(tree, path);
        }
        tree = next;
    }
    *map  = tree;
    *last = path;
cleanup:
    return st;
}

static pq_status set_key(pq_problems *p, const char *text, pq_yaml *tree, pq_err *err)
{
    char        name[256];
    const char *given = text;
    char       *path  = NULL, *last;
    pq_yaml    *value = NULL, *map;
    pq_err      why   = {0};
    pq_status   st;

    PQ_STRDUP(path, text);
    path[strcspn(path, "=")] = '\0';
    if (strchr(text, '=') == NULL || path[0] == '\0') {
        problem_of(p, "-S", text, "KEY.PATH=VALUE is due here");
        goto cleanup;
    }
    (void)snprintf(name, sizeof name, "-S %s", path);
    text += strlen(path) + 1;
    if (pq_yaml_parse(text, strlen(text), name, &value, &why) != PQ_OK) {
        pq_problem_line(p, why.message);
        goto cleanup;
    }
    PQ_TRY(walk(p, given, tree, path, name, &map, &last, err));
    if (map != NULL) {
        st    = pq_yaml_set(map, last, value, err);
        value = NULL;
    }
cleanup:
    pq_free(path);
    pq_yaml_free(&value);
    return st;
}

/* Puts the list under an axis wherever one of that name is swept; counts them. */
static pq_status replace_axis(pq_yaml *tree, const char *axis, const pq_yaml *values,
                              size_t *count, pq_err *err)
{
    pq_yaml  *pipelines = pq_yaml_find(tree, "pipelines"), *copy = NULL;
    pq_status st = PQ_OK;

    for (size_t i = 0; pipelines != NULL && i < pipelines->n; i++) {
        pq_yaml *sweep = pq_yaml_find(pipelines->items[i], "sweep");
        if (sweep == NULL || pq_yaml_find(sweep, axis) == NULL) {
            continue;
        }
        PQ_TRY(pq_yaml_clone(values, &copy, err));
        st   = pq_yaml_set(sweep, axis, copy, err);
        copy = NULL;
        PQ_TRY(st);
        (*count)++;
    }
cleanup:
    pq_yaml_free(&copy);
    return st;
}

static pq_status set_axis(pq_problems *p, const char *text, pq_yaml *tree, pq_err *err)
{
    char      name[256];
    char     *axis = NULL, *list = NULL;
    pq_yaml  *values = NULL;
    size_t    count  = 0;
    pq_err    why    = {0};
    pq_status st;

    PQ_STRDUP(axis, text);
    axis[strcspn(axis, "=")] = '\0';
    if (strchr(text, '=') == NULL || axis[0] == '\0') {
        problem_of(p, "-P", text, "AXIS=V1,V2 is due here");
        goto cleanup;
    }
    (void)snprintf(name, sizeof name, "-P %s", axis);
    list = pq_format("[%s]", text + strlen(axis) + 1);
    PQ_CHECK(list != NULL, PQ_ERR_NOMEM, "cannot allocate a text");
    if (pq_yaml_parse(list, strlen(list), name, &values, &why) != PQ_OK) {
        pq_problem_line(p, why.message);
        goto cleanup;
    }
    PQ_TRY(replace_axis(tree, axis, values, &count, err));
    if (count == 0) {
        problem_of(p, "-P", axis, "no pipeline sweeps an axis of this name");
    }
cleanup:
    pq_free(axis);
    pq_free(list);
    pq_yaml_free(&values);
    return st;
}

pq_status pq_source_change(pq_problems *p, const pq_config_changes *changes,
                           pq_yaml *tree, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < changes->n_set; i++) {
        PQ_TRY(set_key(p, changes->set[i], tree, err));
    }
    for (size_t i = 0; i < changes->n_axes; i++) {
        PQ_TRY(set_axis(p, changes->axes[i], tree, err));
    }
cleanup:
    return st;
}
