#include "sweep/published.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "sweep/bounds.h"

static const char *const parts[]  = {"source", "why", "cells", NULL};
static const char *const fields[] = {"value", "ratio", "source", "why", NULL};

/* Text of a member, or NULL; notes what is none. */
static const char *text_of(pq_problems *p, const pq_yaml *map, const char *key)
{
    const pq_yaml *node = pq_yaml_find(map, key);

    if (node == NULL) {
        return NULL;
    }
    if (node->kind != PQ_YAML_SCALAR || node->text[0] == '\0') {
        pq_problem(p, node, "published: %s: a text is due here", key);
        return NULL;
    }
    return node->text;
}

/* The reason that stands for all cells, or NULL. */
static const char *usual_why(const pq_yaml *why, const char *metric)
{
    for (size_t i = 0; why != NULL && why->kind == PQ_YAML_MAP && i < why->n; i++) {
        if (why->items[i]->kind == PQ_YAML_SCALAR &&
            pq_glob_match(why->items[i]->key, metric)) {
            return why->items[i]->text;
        }
    }
    return NULL;
}

static pq_status read_number(pq_problems *p, const pq_yaml *block, const pq_yaml *cell,
                             const pq_yaml *metric, const pq_config *config,
                             pq_published *out, pq_err *err)
{
    const char *value, *ratio, *source, *why;
    double      number;
    pq_status   st = PQ_OK;

    if (!pq_expect_map(p, metric, "published")) {
        return PQ_OK;
    }
    for (size_t i = 0; i < metric->n; i++) {
        (void)pq_expect_key(p, metric->items[i], NULL, fields, "published");
    }
    value  = text_of(p, metric, "value");
    ratio  = text_of(p, metric, "ratio");
    source = text_of(p, metric, "source");
    why    = text_of(p, metric, "why");
    source = source != NULL ? source : text_of(p, block, "source");
    why    = why != NULL ? why : usual_why(pq_yaml_find(block, "why"), metric->key);
    if ((value == NULL) == (ratio == NULL)) {
        pq_problem_key(p, metric, "published: '%s': either value or ratio is due",
                       metric->key);
        return PQ_OK;
    }
    out->ratio = ratio != NULL;
    if (!pq_parse_real(out->ratio ? ratio : value, PQ_UNIT_NONE, &number) ||
        !isfinite(number)) {
        pq_problem(p, pq_yaml_find(metric, out->ratio ? "ratio" : "value"),
                   "published: '%s' is not a number", out->ratio ? ratio : value);
    } else if (out->ratio && number <= 0.0) {
        pq_problem(p, pq_yaml_find(metric, "ratio"),
                   "published: ratio = %s is not above 0", ratio);
    }
    if (source == NULL) {
        pq_problem_key(p, metric, "published: '%s': a source is due, here or for all",
                       metric->key);
    }
    pq_check_value(p, metric, config, "published", why != NULL);
    PQ_STRDUP(out->cell, cell->key);
    PQ_STRDUP(out->metric, metric->key);
    PQ_STRDUP(out->printed, out->ratio ? ratio : value);
    PQ_STRDUP(out->source, source != NULL ? source : "");
    PQ_STRDUP(out->why, why != NULL ? why : "");
cleanup:
    return st;
}

static bool has_cell(const pq_config *config, const char *name)
{
    for (size_t i = 0; i < config->n_pipelines; i++) {
        for (size_t k = 0; k < config->pipelines[i].n_cases; k++) {
            const char *label = config->pipelines[i].cases[k].label;
            if (strcmp(name, label) == 0 || pq_glob_match(name, label)) {
                return true;
            }
        }
    }
    return false;
}

static pq_status read_cells(pq_problems *p, const pq_yaml *block, const pq_yaml *cells,
                            bool changed, pq_config *config, pq_err *err)
{
    size_t    n  = 0;
    pq_status st = PQ_OK;

    for (size_t i = 0; i < cells->n; i++) {
        n += cells->items[i]->n;
    }
    PQ_NEW(config->published, n + 1);
    for (size_t i = 0; i < cells->n; i++) {
        const pq_yaml *cell = cells->items[i];
        if (!pq_expect_map(p, cell, "published")) {
            continue;
        }
        if (!changed && p->n == 0 && !has_cell(config, cell->key)) {
            pq_problem_key(p, cell, "published: no cell has the label '%s'", cell->key);
        }
        for (size_t k = 0; k < cell->n; k++) {
            pq_published *one = &config->published[config->n_published++];
            PQ_TRY(read_number(p, block, cell, cell->items[k], config, one, err));
        }
    }
cleanup:
    return st;
}

/* A reason for values that no cell publishes is a misspelling. */
static void check_whys(pq_problems *p, const pq_yaml *why, const pq_config *config)
{
    if (why == NULL || !pq_expect_map(p, why, "published: why")) {
        return;
    }
    for (size_t i = 0; i < why->n; i++) {
        bool used = false;
        for (size_t k = 0; k < config->n_published; k++) {
            const char *metric = config->published[k].metric;
            used = used || (metric != NULL && pq_glob_match(why->items[i]->key, metric));
        }
        if (why->items[i]->kind != PQ_YAML_SCALAR) {
            pq_problem(p, why->items[i], "published: why: a text is due here");
        } else if (!used && p->n == 0) {
            pq_problem_key(p, why->items[i],
                           "published: why: no number of '%s' is published here",
                           why->items[i]->key);
        }
    }
}

pq_status pq_read_published(pq_problems *p, const pq_yaml *tree, bool changed,
                            pq_config *config, pq_err *err)
{
    const pq_yaml *block = pq_yaml_find(tree, "published"), *cells;
    pq_status      st    = PQ_OK;

    if (block == NULL || !pq_expect_map(p, block, "published")) {
        return PQ_OK;
    }
    for (size_t i = 0; i < block->n; i++) {
        (void)pq_expect_key(p, block->items[i], NULL, parts, "published");
    }
    cells = pq_yaml_find(block, "cells");
    if (cells == NULL) {
        pq_problem(p, block,
                   "published: cells are due: {LABEL: {METRIC: {value: 75%%}}}");
    } else if (pq_expect_map(p, cells, "published: cells")) {
        PQ_TRY(read_cells(p, block, cells, changed, config, err));
        check_whys(p, pq_yaml_find(block, "why"), config);
    }
cleanup:
    return st;
}

json_t *pq_published_json(const pq_config *config)
{
    json_t *all = json_array();

    for (size_t i = 0; i < config->n_published; i++) {
        const pq_published *one = &config->published[i];
        if (json_array_append_new(all,
                                  json_pack("{s:s, s:s, s:s, s:b, s:s, s:s}", "cell",
                                            one->cell, "metric", one->metric, "printed",
                                            one->printed, "ratio", one->ratio, "source",
                                            one->source, "why", one->why)) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

void pq_published_free(pq_config *config)
{
    for (size_t i = 0; i < config->n_published; i++) {
        pq_published *one = &config->published[i];
        pq_free(one->cell);
        pq_free(one->metric);
        pq_free(one->printed);
        pq_free(one->source);
        pq_free(one->why);
    }
    pq_free(config->published);
}
