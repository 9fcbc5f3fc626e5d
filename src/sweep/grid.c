#include "sweep/grid.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"

/* Columns of the table of results that an axis cannot be called. */
static const char *const reserved[] = {"pipeline", "label", "repeat", "status", "error"};

static bool is_name(const char *text)
{
    const size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_");

    return n > 0 && text[n] == '\0' && strchr("0123456789", text[0]) == NULL;
}

/* Three numbers of `range: [lo, hi, step]` or `linspace: [lo, hi, n]`. */
static bool three_numbers(pq_problems *p, const pq_yaml *node, double out[3])
{
    bool fine = node->kind == PQ_YAML_LIST && node->n == 3;

    for (size_t i = 0; fine && i < 3; i++) {
        fine = node->items[i]->kind == PQ_YAML_SCALAR &&
               pq_parse_real(node->items[i]->text, PQ_UNIT_NONE, &out[i]) &&
               isfinite(out[i]);
    }
    if (!fine) {
        pq_problem(p, node, "%s: three numbers are due here, [lo, hi, %s]", node->key,
                   strcmp(node->key, "range") == 0 ? "step" : "n");
    }
    return fine;
}

/* How many values a range has; 0 with a problem noted when it has none or too many. */
static size_t range_count(pq_problems *p, const pq_yaml *node, const double x[3])
{
    const bool   is_range = strcmp(node->key, "range") == 0;
    const double n =
        is_range ? floor((x[1] - x[0]) / x[2] * (1.0 + 1e-12) + 1e-9) + 1.0 : x[2];

    if (is_range && (x[2] <= 0.0 || x[1] < x[0])) {
        pq_problem(p, node, "range: lo <= hi and step > 0 are due here");
        return 0;
    }
    if (!is_range && (n < 2.0 || floor(n) != n)) {
        pq_problem(p, node,
                   "linspace: the third number is how many, a whole number from 2");
        return 0;
    }
    if (n > (double)PQ_CASES_MAX) {
        pq_problem(p, node, "%s: has more than %d values", node->key, PQ_CASES_MAX);
        return 0;
    }
    return (size_t)n;
}

/* A list in place of `range:` or `linspace:`, inclusive; NULL when a problem was noted.
 */
static pq_status expand_range(pq_problems *p, const pq_yaml *node, pq_yaml **out,
                              pq_err *err)
{
    double    x[3] = {0};
    size_t    n    = three_numbers(p, node, x) ? range_count(p, node, x) : 0;
    pq_yaml  *list = NULL, *item = NULL;
    pq_status st = PQ_OK;

    if (n == 0) {
        return PQ_OK;
    }
    PQ_TRY(pq_yaml_parse("[]", 2, node->file, &list, err));
    for (size_t i = 0; i < n; i++) {
        const double step =
            strcmp(node->key, "range") == 0 ? x[2] : (x[1] - x[0]) / (x[2] - 1.0);
        char text[32];
        /* twelve digits: 0.1 + 2 * 0.1 is to be 0.3 */
        (void)pq_snprintf(text, sizeof text, "%.12g", x[0] + (double)i * step);
        PQ_TRY(pq_yaml_clone(node->items[0], &item, err));
        PQ_TRY(pq_yaml_set_text(item, text, err));
        st   = pq_yaml_append(list, item, err);
        item = NULL;
        PQ_TRY(st);
    }
    *out = list;
    list = NULL;
cleanup:
    pq_yaml_free(&list);
    pq_yaml_free(&item);
    return st;
}

/* The values of one axis as a list, or NULL when a problem was noted. */
static pq_status axis_values(pq_problems *p, const pq_yaml *node, pq_yaml **out,
                             pq_err *err)
{
    *out = NULL;
    if (node->kind == PQ_YAML_MAP && node->n == 1 &&
        (strcmp(node->items[0]->key, "range") == 0 ||
         strcmp(node->items[0]->key, "linspace") == 0)) {
        return expand_range(p, node->items[0], out, err);
    }
    if (node->kind != PQ_YAML_LIST || node->n == 0) {
        pq_problem(p, node,
                   "axis '%s': a list of values, {range: [lo, hi, step]} or "
                   "{linspace: [lo, hi, n]} is due here",
                   node->key);
        return PQ_OK;
    }
    return pq_yaml_clone(node, out, err);
}

/* A value whose spelling does not matter: 8 and 8.0, 25% and 0.25 are one. */
static void add_value(pq_text *t, const pq_yaml *node)
{
    char   number[32];
    double x;

    if (node->kind == PQ_YAML_SCALAR) {
        pq_text_add(t, "%s",
                    pq_parse_real(node->text, PQ_UNIT_NONE, &x)
                        ? pq_real_text(x, number, sizeof number)
                        : node->text);
    }
    for (size_t i = 0; i < node->n; i++) {
        pq_text_add(t, "%s", i == 0 ? "[" : ", ");
        add_value(t, node->items[i]);
    }
    pq_text_add(t, "%s", node->n > 0 ? "]" : "");
}

/* One row of an axis, or of all zipped axes, and where it stands. */
typedef struct {
    pq_text        text;
    const pq_yaml *node;
    size_t         at;
} row_text;

static int by_text(const void *a, const void *b)
{
    const row_text *x = a, *y = b;
    const int       c = strcmp(x->text.text, y->text.text);

    return c != 0 ? c : (x->at > y->at) - (x->at < y->at);
}

/* Equal rows of these axes, which go side by side, would be the same cell twice. */
static pq_status check_rows(pq_problems *p, const pq_axis *axes, size_t n_axes,
                            pq_err *err)
{
    const size_t n    = axes[0].values->n;
    row_text    *rows = NULL;
    pq_status    st;

    PQ_NEW(rows, n);
    for (size_t i = 0; i < n; i++) {
        rows[i].node = axes[0].values->items[i];
        rows[i].at   = i;
        for (size_t a = 0; a < n_axes; a++) {
            pq_text_add(&rows[i].text, "%s", a == 0 ? "" : ", ");
            add_value(&rows[i].text, axes[a].values->items[i]);
        }
        PQ_CHECK(!rows[i].text.failed, PQ_ERR_NOMEM, "cannot allocate the text of a row");
    }
    qsort(rows, n, sizeof *rows, by_text);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(rows[i - 1].text.text, rows[i].text.text) == 0) {
            pq_problem(p, rows[i].node, "axis '%s': %s stands here twice",
                       axes[0].key->key, rows[i].text.text);
        }
    }
cleanup:
    for (size_t i = 0; rows != NULL && i < n; i++) {
        pq_text_free(&rows[i].text);
    }
    pq_free(rows);
    return st;
}

static bool name_is_free(pq_problems *p, const pq_grid *grid, const pq_yaml *node)
{
    if (!is_name(node->key)) {
        pq_problem_key(p, node, "axis '%s': a name is letters, digits and _", node->key);
        return false;
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
        if (strcmp(reserved[i], node->key) == 0) {
            pq_problem_key(p, node,
                           "axis '%s': is a column of the table of results; "
                           "choose another name",
                           node->key);
            return false;
        }
    }
    for (size_t i = 0; i < grid->n_axes; i++) {
        if (strcmp(grid->axes[i].key->key, node->key) == 0) {
            pq_problem_key(p, node, "axis '%s': is swept and zipped", node->key);
            return false;
        }
    }
    return true;
}

static pq_status read_axes(pq_problems *p, const pq_yaml *map, pq_grid *grid, pq_err *err)
{
    pq_axis  *grown;
    pq_status st = PQ_OK;

    if (map == NULL || !pq_expect_map(p, map, map->key)) {
        return PQ_OK;
    }
    grown = pq_recalloc(grid->axes, grid->n_axes, grid->n_axes + map->n, sizeof *grown);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate %zu axes", map->n);
    grid->axes = grown;
    for (size_t i = 0; i < map->n; i++) {
        pq_yaml *values = NULL;
        if (!name_is_free(p, grid, map->items[i])) {
            continue;
        }
        PQ_TRY(axis_values(p, map->items[i], &values, err));
        if (values != NULL) {
            grid->axes[grid->n_axes++] =
                (pq_axis){.key = map->items[i], .values = values};
        }
    }
cleanup:
    return st;
}

/* Zipped axes go side by side, so they must be as long as each other. */
static void check_zip(pq_problems *p, const pq_grid *grid)
{
    for (size_t i = grid->n_swept + 1; i < grid->n_axes; i++) {
        const pq_axis *first = &grid->axes[grid->n_swept], *other = &grid->axes[i];
        if (other->values->n != first->values->n) {
            pq_problem_key(p, other->key, "zip: '%s' has %zu values but '%s' has %zu",
                           other->key->key, other->values->n, first->key->key,
                           first->values->n);
        }
    }
}

static pq_status check_twins(pq_problems *p, const pq_grid *grid, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < grid->n_swept; i++) {
        PQ_TRY(check_rows(p, &grid->axes[i], 1, err));
    }
    if (grid->n_axes > grid->n_swept) {
        PQ_TRY(
            check_rows(p, &grid->axes[grid->n_swept], grid->n_axes - grid->n_swept, err));
    }
cleanup:
    return st;
}

pq_status pq_grid_read(pq_problems *p, const pq_yaml *pipeline, pq_grid *out, pq_err *err)
{
    const size_t before = p->met;
    pq_grid      grid   = {.pipeline = pipeline};
    pq_status    st;

    PQ_TRY(read_axes(p, pq_yaml_find(pipeline, "sweep"), &grid, err));
    grid.n_swept = grid.n_axes;
    PQ_TRY(read_axes(p, pq_yaml_find(pipeline, "zip"), &grid, err));
    check_zip(p, &grid);
    if (p->met == before) {
        PQ_TRY(check_twins(p, &grid, err));
    }
    grid.exclude = pq_yaml_find(pipeline, "exclude");
    if (grid.exclude != NULL && grid.exclude->kind != PQ_YAML_LIST) {
        pq_problem(p, grid.exclude, "exclude: a list of maps is due here");
    } else if (grid.exclude != NULL && p->met == before) {
        pq_exclusions_check(p, &grid);
    }
    *out = grid;
    grid = (pq_grid){0};
cleanup:
    pq_grid_free(&grid);
    return st;
}

void pq_grid_free(pq_grid *grid)
{
    pq_exclusions_free(grid);
    for (size_t i = 0; i < grid->n_axes; i++) {
        pq_yaml_free(&grid->axes[i].values);
    }
    pq_free(grid->axes);
    *grid = (pq_grid){0};
}

size_t pq_grid_count(const pq_grid *grid)
{
    size_t count = 1;

    for (size_t i = 0; i < grid->n_axes; i++) {
        /* all zipped axes together are one dimension */
        count *= i <= grid->n_swept ? grid->axes[i].values->n : 1;
        if (count > PQ_CASES_MAX) {
            return 0;
        }
    }
    return count;
}

void pq_grid_rows(const pq_grid *grid, size_t i, size_t *rows)
{
    size_t row = 0;

    if (grid->n_axes > grid->n_swept) {
        row = i % grid->axes[grid->n_swept].values->n;
        i /= grid->axes[grid->n_swept].values->n;
    }
    for (size_t a = grid->n_swept; a < grid->n_axes; a++) {
        rows[a] = row;
    }
    for (size_t a = grid->n_swept; a-- > 0;) {
        rows[a] = i % grid->axes[a].values->n;
        i /= grid->axes[a].values->n;
    }
}

void pq_grid_values(const pq_grid *grid, const size_t *rows, pq_substitute *values)
{
    for (size_t a = 0; a < grid->n_axes; a++) {
        values[a] =
            (pq_substitute){grid->axes[a].key->key, grid->axes[a].values->items[rows[a]]};
    }
}

size_t pq_grid_strides(const pq_grid *grid, const bool *uses, size_t *strides)
{
    size_t count = 1;
    bool   zips  = false;

    for (size_t a = 0; a < grid->n_axes; a++) {
        const bool zipped = a >= grid->n_swept;
        const bool counts = uses[a] && !(zipped && zips); /* one speaks for all of them */
        strides[a]        = counts ? count : 0;
        count *= counts ? grid->axes[a].values->n : 1;
        zips = zips || (zipped && uses[a]);
    }
    return count;
}

/* An axis whose values are wrong is named all the same. */
static bool names_axis(const pq_grid *grid, const char *name)
{
    const pq_yaml *pipeline = grid->pipeline;
    const pq_yaml *sweep    = pipeline != NULL ? pq_yaml_find(pipeline, "sweep") : NULL;
    const pq_yaml *zip      = pipeline != NULL ? pq_yaml_find(pipeline, "zip") : NULL;

    return (sweep != NULL && pq_yaml_find(sweep, name) != NULL) ||
           (zip != NULL && pq_yaml_find(zip, name) != NULL);
}

void pq_grid_check_names(pq_problems *p, pq_grid *grid, const pq_yaml *tree)
{
    const char *names[64];
    const char *near;
    size_t      n = 0;

    for (size_t i = 0; i < tree->n; i++) {
        pq_grid_check_names(p, grid, tree->items[i]);
    }
    if (tree->kind != PQ_YAML_SCALAR || tree->text[0] != '$') {
        return;
    }
    for (size_t a = 0; a < grid->n_axes; a++) {
        if (strcmp(grid->axes[a].key->key, tree->text + 1) == 0) {
            grid->axes[a].used = true;
            return;
        }
        if (n < 64) {
            names[n++] = grid->axes[a].key->key;
        }
    }
    if (names_axis(grid, tree->text + 1)) {
        return;
    }
    near = pq_nearest(tree->text + 1, names, n);
    pq_problem(p, tree, "'%s' is neither swept nor zipped%s%s%s", tree->text,
               near != NULL ? "; did you mean '$" : "", near != NULL ? near : "",
               near != NULL ? "'?" : "");
}

void pq_grid_check_unused(pq_problems *p, const pq_grid *grid)
{
    for (size_t a = 0; a < grid->n_axes; a++) {
        if (!grid->axes[a].used) {
            pq_problem_key(p, grid->axes[a].key, "axis '%s': no stage uses '$%s'",
                           grid->axes[a].key->key, grid->axes[a].key->key);
        }
    }
    pq_exclusions_check_met(p, grid);
}
