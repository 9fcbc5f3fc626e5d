#include "sweep/references.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "core/visible.h"
#include "store/json.h"
#include "sweep/gate_inside.h"
#include "sweep/problems.h"

#define SCHEMA "pquant-references/1"

/* A number that cells must have. Owns its texts. */
typedef struct {
    char  *cell, *metric;
    double value, lower, upper; /* relative; NAN = any */
} reference;

/* Owns its texts. */
typedef struct {
    char *cell, *metric, *why;
    char  place[256];
} expected;

struct pq_references {
    size_t     n_cells;
    reference *cells;
    size_t     n_expected;
    expected  *expected;
};

static const pq_param reference_params[] = {
    {.name   = "value",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(reference, value),
     .help   = "what the number should be"},
    {.name   = "lower",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(reference, lower),
     .min    = 0.0,
     .max    = 1e6,
     .help   = "by how much it may be smaller, relative"},
    {.name   = "upper",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(reference, upper),
     .min    = 0.0,
     .max    = 1e6,
     .help   = "by how much it may be larger, relative"},
    {0},
};

static const pq_param expected_params[] = {
    {.name   = "cell",
     .type   = PQ_PARAM_STRING,
     .offset = offsetof(expected, cell),
     .help   = "glob over labels"},
    {.name   = "metric",
     .type   = PQ_PARAM_STRING,
     .offset = offsetof(expected, metric),
     .help   = "glob over values"},
    {.name   = "why",
     .type   = PQ_PARAM_STRING,
     .offset = offsetof(expected, why),
     .help   = "why it fails"},
    {0},
};

static const char *const parts[] = {"schema", "cells", "expected_failures", NULL};

static pq_status read_metric(pq_problems *p, const pq_yaml *cell, const pq_yaml *metric,
                             reference *out, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_params_default(reference_params, out, err));
    PQ_STRDUP(out->cell, cell->key);
    PQ_STRDUP(out->metric, metric->key);
    pq_read_block(p, metric, reference_params, out, NULL, metric->key);
    if (isnan(out->value)) {
        pq_problem_key(p, metric, "%s: value is due here", metric->key);
    } else if (isinf(out->value)) {
        pq_problem_key(p, metric, "%s: value is not finite", metric->key);
    }
    if (strncmp(metric->key, "latency.", 8) == 0) {
        pq_problem_key(p, metric,
                       "%s: times are of a machine and a run: they have gates, "
                       "not references",
                       metric->key);
    }
cleanup:
    return st;
}

static pq_status read_cells(pq_problems *p, const pq_yaml *cells, pq_references *out,
                            pq_err *err)
{
    size_t    n  = 0;
    pq_status st = PQ_OK;

    if (cells == NULL || !pq_expect_map(p, cells, "cells")) {
        return PQ_OK;
    }
    for (size_t i = 0; i < cells->n; i++) {
        n += cells->items[i]->n;
    }
    PQ_NEW(out->cells, n + 1);
    for (size_t i = 0; i < cells->n; i++) {
        const pq_yaml *cell = cells->items[i];
        if (!pq_expect_map(p, cell, cell->key)) {
            continue;
        }
        for (size_t k = 0; k < cell->n; k++) {
            reference *one = &out->cells[out->n_cells++];
            PQ_TRY(read_metric(p, cell, cell->items[k], one, err));
        }
    }
cleanup:
    return st;
}

static pq_status read_expected(pq_problems *p, const pq_yaml *list, pq_references *out,
                               pq_err *err)
{
    pq_status st = PQ_OK;

    if (list == NULL) {
        return PQ_OK;
    }
    if (list->kind != PQ_YAML_LIST) {
        pq_problem(p, list, "expected_failures: a list is due here");
        return PQ_OK;
    }
    PQ_NEW(out->expected, list->n + 1);
    for (size_t i = 0; i < list->n; i++) {
        const pq_yaml *item = list->items[i];
        expected      *one  = &out->expected[out->n_expected++];
        (void)snprintf(one->place, sizeof one->place, "%.200s", item->file);
        pq_utf8_cut(one->place);
        (void)snprintf(one->place + strlen(one->place),
                       sizeof one->place - strlen(one->place), ":%zu", item->line);
        PQ_TRY(pq_params_default(expected_params, one, err));
        if (pq_expect_map(p, item, "expected_failures")) {
            pq_read_block(p, item, expected_params, one, NULL, "expected_failures");
            if (one->cell == NULL || one->metric == NULL || one->why == NULL) {
                pq_problem(p, item, "expected_failures: cell, metric and why are due");
            }
        }
    }
cleanup:
    return st;
}

static pq_status read_all(pq_problems *p, const pq_yaml *root, pq_references *out,
                          pq_err *err)
{
    const pq_yaml *schema;
    pq_status      st = PQ_OK;

    if (!pq_expect_map(p, root, "references")) {
        return PQ_OK;
    }
    for (size_t i = 0; i < root->n; i++) {
        (void)pq_expect_key(p, root->items[i], NULL, parts, "references");
    }
    schema = pq_yaml_find(root, "schema");
    if (schema == NULL || schema->kind != PQ_YAML_SCALAR ||
        strcmp(schema->text, SCHEMA) != 0) {
        pq_problem(p, schema != NULL ? schema : root, "schema: %s is due here", SCHEMA);
    }
    PQ_TRY(read_cells(p, pq_yaml_find(root, "cells"), out, err));
    PQ_TRY(read_expected(p, pq_yaml_find(root, "expected_failures"), out, err));
cleanup:
    return st;
}

pq_status pq_references_read(const char *path, pq_references **out, pq_err *err)
{
    pq_references *r    = NULL;
    pq_yaml       *root = NULL;
    pq_problems    p    = {0};
    pq_status      st;

    PQ_TRY(pq_yaml_read(path, &root, err));
    PQ_NEW(r, 1);
    PQ_TRY(read_all(&p, root, r, err));
    PQ_TRY(pq_problems_status(&p, err));
    *out = r;
    r    = NULL;
cleanup:
    pq_text_free(&p.lines);
    pq_yaml_free(&root);
    pq_references_free(&r);
    return st;
}

void pq_references_free(pq_references **references)
{
    pq_references *r = *references;

    for (size_t i = 0; r != NULL && i < r->n_cells; i++) {
        pq_free(r->cells[i].cell);
        pq_free(r->cells[i].metric);
    }
    for (size_t i = 0; r != NULL && i < r->n_expected; i++) {
        pq_params_free(expected_params, &r->expected[i]);
    }
    if (r != NULL) {
        pq_free(r->cells);
        pq_free(r->expected);
    }
    pq_free(r);
    *references = NULL;
}

/* One number of one cell against its reference. */
static pq_status judge_number(const reference *r, const json_t *cell, const char *name,
                              pq_findings *f, pq_err *err)
{
    const json_t *metric = json_object_get(json_object_get(cell, "metrics"), name);
    const json_t *value  = json_object_get(metric, "value");
    const double  scale  = r->value != 0.0 ? fabs(r->value) : 1.0;
    pq_finding   *one;
    pq_status     st;

    PQ_TRY(pq_findings_add(f, cell, name, &one, err));
    one->before = r->value;
    if (!json_is_number(value)) {
        one->verdict = PQ_GATE_MISSING;
        (void)snprintf(one->why, sizeof one->why, "no value for its reference");
    } else {
        one->now   = json_number_value(value);
        one->worse = (one->now - r->value) / scale;
        if (one->worse < -(r->lower + 1e-12) || one->worse > r->upper + 1e-12) {
            one->verdict = PQ_GATE_FAIL;
            (void)snprintf(one->why, sizeof one->why, "outside its reference by hand");
        }
    }
    f->count[one->verdict]++;
cleanup:
    return st;
}

/* The numbers of a cell that a reference means. One that is named, and what a cell
 * without any number should have, is missing. */
static pq_status judge_cell(const reference *r, const json_t *cell, pq_findings *f,
                            pq_err *err)
{
    json_t       *metrics = json_object_get(cell, "metrics");
    const char   *name;
    const json_t *value;
    pq_status     st = PQ_OK;

    if (strpbrk(r->metric, "*?[,") == NULL || json_object_size(metrics) == 0) {
        return judge_number(r, cell, r->metric, f, err);
    }
    json_object_foreach(metrics, name, value)
    {
        if (pq_glob_match(r->metric, name)) {
            PQ_TRY(judge_number(r, cell, name, f, err));
        }
    }
cleanup:
    return st;
}

static pq_status judge_reference(const reference *r, const json_t *now, pq_findings *f,
                                 pq_err *err)
{
    const size_t  first = f->n;
    const json_t *cell;
    size_t        i, met = 0;
    pq_status     st = PQ_OK;

    json_array_foreach(json_object_get((json_t *)now, "cells"), i, cell)
    {
        if (pq_glob_match(r->cell, pq_json_get_text(cell, "label"))) {
            met++;
            PQ_TRY(judge_cell(r, cell, f, err));
        }
    }
    PQ_CHECK(met > 0, PQ_ERR_CONFIG, "references: '%s' is the label of no cell", r->cell);
    PQ_CHECK(f->n > first, PQ_ERR_CONFIG,
             "references: '%s' is the value of no cell that '%s' means", r->metric,
             r->cell);
cleanup:
    return st;
}

static bool is_meant(const expected *e, const pq_finding *one)
{
    return pq_glob_match(e->cell, one->label) && pq_glob_match(e->metric, one->metric);
}

/* Turns what was expected to fail. */
static pq_status expect(const expected *e, pq_findings *f, pq_err *err)
{
    char      place[61];
    size_t    met = 0, failed = 0;
    pq_status st = PQ_OK;

    (void)snprintf(place, sizeof place, "%.60s", e->place);
    pq_utf8_cut(place);
    for (size_t i = 0; i < f->n; i++) {
        pq_finding *one = &f->items[i];
        met += is_meant(e, one);
        if (is_meant(e, one) && one->verdict == PQ_GATE_FAIL) {
            failed++;
            f->count[PQ_GATE_FAIL]--;
            f->count[PQ_GATE_EXPECTED]++;
            one->verdict = PQ_GATE_EXPECTED;
            (void)snprintf(one->why, sizeof one->why, "%.120s", e->why);
            pq_utf8_cut(one->why);
        }
    }
    PQ_CHECK(met > 0, PQ_ERR_CONFIG, "%s: nothing is compared of '%s', '%s'", e->place,
             e->cell, e->metric);
    for (size_t i = 0; failed == 0 && i < f->n; i++) {
        pq_finding *one = &f->items[i];
        if (is_meant(e, one) && one->verdict == PQ_GATE_PASS) {
            f->count[PQ_GATE_PASS]--;
            f->count[PQ_GATE_FAIL]++;
            one->verdict = PQ_GATE_FAIL;
            (void)snprintf(one->why, sizeof one->why,
                           "passes, though a failure is expected (%s)", place);
        }
    }
cleanup:
    return st;
}

pq_status pq_references_judge(const pq_references *references, const json_t *now,
                              pq_findings *findings, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < references->n_cells; i++) {
        PQ_TRY(judge_reference(&references->cells[i], now, findings, err));
    }
    for (size_t i = 0; i < references->n_expected; i++) {
        PQ_TRY(expect(&references->expected[i], findings, err));
    }
cleanup:
    return st;
}
