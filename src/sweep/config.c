#include "sweep/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/budget.h"
#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "formats/zoo.h"
#include "sweep/bounds.h"
#include "sweep/pipeline.h"
#include "sweep/problems.h"
#include "sweep/published.h"
#include "sweep/recipe.h"
#include "sweep/source.h"

#define SCHEMA "pquant/1"

static const char *const top_keys[] = {"schema",    "name",   "model",     "dataset",
                                       "pipelines", "seeds",  "metrics",   "evaluate",
                                       "latency",   "limits", "output",    "constraints",
                                       "baseline",  "gates",  "published", NULL};

static const char *const latency_keys[] = {"warmup", "samples", NULL};

static const char *const table_names[] = {"csv", "md", "tex", NULL};
static const char *const plot_names[]  = {"pareto", "rank_curve", "roc", "btag", NULL};

/* "latency.samples" in the tree, or NULL. */
static const pq_yaml *find_block(const pq_yaml *tree, const char *name)
{
    char           outer[64];
    const char    *dot = strchr(name, '.');
    const pq_yaml *node;

    if (dot == NULL) {
        return pq_yaml_find(tree, name);
    }
    (void)snprintf(outer, sizeof outer, "%.*s", (int)(dot - name), name);
    node = pq_yaml_find(tree, outer);
    return node != NULL ? pq_yaml_find(node, dot + 1) : NULL;
}

static pq_status read_blocks(pq_problems *p, const pq_yaml *tree, pq_config *config,
                             pq_err *err)
{
    pq_status st = PQ_OK;

    for (const pq_config_block *b = pq_config_blocks; b->name != NULL; b++) {
        void          *values = (char *)config + b->offset;
        const pq_yaml *node   = find_block(tree, b->name);
        PQ_TRY(pq_params_default(b->params, values, err));
        if (node != NULL) {
            pq_read_block(p, node, b->params, values,
                          strcmp(b->name, "latency") == 0 ? latency_keys : NULL, b->name);
        }
    }
    config->latency.wanted = pq_yaml_find(tree, "latency") != NULL;
cleanup:
    return st;
}

static const pq_metric *find_metric(pq_problems *p, const pq_yaml *at, const char *name)
{
    const pq_metric *metric = pq_metric_find(name);
    const char      *names[64];
    const char      *near;
    size_t           n = 0;

    if (metric != NULL) {
        return metric;
    }
    for (; pq_metrics[n] != NULL && n < 64; n++) {
        names[n] = pq_metrics[n]->name;
    }
    near = pq_nearest(name, names, n);
    pq_problem_key(p, at, "metrics: unknown metric '%s'%s%s%s", name,
                   near != NULL ? "; did you mean '" : " (`pquant metrics` lists them)",
                   near != NULL ? near : "", near != NULL ? "'?" : "");
    return NULL;
}

/* One metric with its parameters, `params` being a map or NULL. */
static pq_status add_metric(pq_problems *p, const pq_metric *metric,
                            const pq_yaml *params, pq_config *config, pq_err *err)
{
    pq_metric_choice *choice = &config->metrics[config->n_metrics];
    char              what[96];
    pq_status         st;

    choice->metric = metric;
    choice->params = pq_calloc(1, metric->params_size);
    PQ_CHECK(choice->params != NULL, PQ_ERR_NOMEM, "cannot allocate parameters");
    config->n_metrics++;
    PQ_TRY(pq_params_default(metric->params, choice->params, err));
    (void)snprintf(what, sizeof what, "metrics: %s", metric->name);
    if (params != NULL && (params->kind != PQ_YAML_SCALAR || params->text[0] != '\0')) {
        pq_read_block(p, params, metric->params, choice->params, NULL, what);
    }
cleanup:
    return st;
}

const void *pq_config_params(const pq_config *config, const char *name)
{
    for (size_t i = 0; i < config->n_metrics; i++) {
        if (strcmp(config->metrics[i].metric->name, name) == 0) {
            return config->metrics[i].params;
        }
    }
    return NULL;
}

bool pq_config_metric(const pq_config *config, const char *name)
{
    for (size_t i = 0; i < config->n_metrics; i++) {
        if (strcmp(config->metrics[i].metric->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static pq_status all_metrics(pq_problems *p, pq_config *config, pq_err *err)
{
    size_t    n = 0;
    pq_status st;

    while (pq_metrics[n] != NULL) {
        n++;
    }
    PQ_NEW(config->metrics, n);
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(add_metric(p, pq_metrics[i], NULL, config, err));
        config->metrics[i].usual = true;
    }
cleanup:
    return st;
}

/* `metrics: {accuracy: {interval: wilson}, size: }` or `metrics: [accuracy, size]`. */
static pq_status read_metrics(pq_problems *p, const pq_yaml *node, const bool *recipes,
                              pq_config *config, pq_err *err)
{
    pq_status st = PQ_OK;

    if (node == NULL) {
        return all_metrics(p, config, err);
    }
    if (node->kind == PQ_YAML_SCALAR || node->n == 0) {
        pq_problem(p, node, "metrics: a list or map of metrics is due here");
        return PQ_OK;
    }
    PQ_NEW(config->metrics, node->n + (size_t)PQ_RECIPES * PQ_RECIPE_METRICS);
    for (size_t i = 0; i < node->n; i++) {
        const pq_yaml   *item = node->items[i];
        const bool       list = node->kind == PQ_YAML_LIST;
        const pq_metric *metric;
        if (list && item->kind != PQ_YAML_SCALAR) {
            pq_problem(p, item, "metrics: the name of a metric is due here");
            continue;
        }
        metric = find_metric(p, item, list ? item->text : item->key);
        if (metric != NULL && pq_config_metric(config, metric->name)) {
            pq_problem(p, item, "metrics: '%s' stands here twice", metric->name);
        } else if (metric != NULL) {
            PQ_TRY(add_metric(p, metric, list ? NULL : item, config, err));
        }
    }
    for (size_t r = 0; r < PQ_RECIPES; r++) {
        const char *const *name = pq_recipes[r]->metrics;
        for (; recipes[r] && *name != NULL; name++) {
            if (!pq_config_metric(config, *name)) {
                PQ_TRY(add_metric(p, pq_metric_find(*name), NULL, config, err));
                config->metrics[config->n_metrics - 1].usual = true;
            }
        }
    }
cleanup:
    return st;
}

/* Words of a list that only certain ones may stand in. */
static void check_words(pq_problems *p, const pq_yaml *tree, const char *key,
                        const char *value, pq_known_keys known)
{
    const pq_yaml *node = find_block(tree, key);
    char           word[64];

    for (const char *at = value; node != NULL && at != NULL && *at != '\0';) {
        const size_t n     = strcspn(at, ",");
        bool         found = false;
        (void)snprintf(word, sizeof word, "%.*s", (int)n, at);
        for (size_t i = 0; known[i] != NULL; i++) {
            found = found || strcmp(known[i], word) == 0;
        }
        if (!found) {
            pq_problem(p, node, "%s: '%s' is not one of %s, %s, %s", key, word, known[0],
                       known[1], known[2]);
        }
        at += at[n] == ',' ? n + 1 : n;
    }
}

/* Whether more than the network itself is looked at; stages are asked by the plan. */
static bool needs_events(const pq_config *config)
{
    bool needs = config->latency.wanted;

    for (size_t i = 0; i < config->n_metrics; i++) {
        needs = needs || !config->metrics[i].metric->eventless;
    }
    return needs;
}

static void check_model(pq_problems *p, const pq_yaml *tree, const pq_config_model *m)
{
    const pq_yaml *zoo = find_block(tree, "model.zoo");

    if (m->weights == NULL && m->zoo == NULL) {
        pq_problem(p, tree, "model: weights must be given");
    }
    if (m->zoo == NULL) {
        return;
    }
    if (!pq_zoo_has(m->zoo)) {
        pq_problem(p, zoo, "model: there is no network '%s' in the zoo", m->zoo);
    }
    if (m->weights != NULL || m->arch != NULL || m->format != NULL ||
        m->output_layer != NULL) {
        pq_problem(p, zoo,
                   "model: zoo goes without weights, arch, format and output_layer");
    }
}

static void check_batches(pq_problems *p, const pq_yaml *node, const pq_reals *batch)
{
    if (batch->n == 0) {
        pq_problem(p, node, "latency: batch: at least one size is due here");
    }
    for (size_t i = 0; i < batch->n; i++) {
        if (floor(batch->value[i]) != batch->value[i]) {
            pq_problem(p, node, "latency: batch = %g is not a whole number",
                       batch->value[i]);
        }
        for (size_t k = 0; k < i; k++) {
            if (batch->value[k] == batch->value[i]) {
                pq_problem(p, node, "latency: batch: %g stands here twice",
                           batch->value[i]);
            }
        }
    }
}

/* Each process takes two samples at least. */
static void check_processes(pq_problems *p, const pq_yaml *node,
                            const pq_config_latency *l)
{
    if (2 * l->processes > l->options.samples) {
        pq_problem(
            p, node,
            "latency: %lld processes share samples.count = %lld, which leaves less "
            "than 2 to each",
            (long long)l->processes, (long long)l->options.samples);
    }
}

/* What must be given, and what tables cannot say. */
static void check_whole(pq_problems *p, const pq_yaml *tree, const pq_config *config)
{
    const pq_yaml *schema    = pq_yaml_find(tree, "schema");
    const pq_yaml *batch     = find_block(tree, "latency.batch");
    const pq_yaml *format    = find_block(tree, "model.format");
    const pq_yaml *processes = find_block(tree, "latency.processes");
    bool           known     = false;

    if (schema == NULL || schema->kind != PQ_YAML_SCALAR ||
        strcmp(schema->text, SCHEMA) != 0) {
        pq_problem(p, schema == NULL ? tree : schema, "'schema: " SCHEMA "' is due here");
    }
    check_model(p, tree, &config->model);
    if (config->dataset.file == NULL && needs_events(config)) {
        pq_problem(p, tree, "dataset: file must be given");
    }
    if (pq_yaml_find(tree, "pipelines") == NULL) {
        pq_problem(p, tree, "pipelines must be given");
    }
    check_words(p, tree, "output.tables", config->output.tables, table_names);
    check_words(p, tree, "output.plots", config->output.plots, plot_names);
    if (batch != NULL) {
        check_batches(p, batch, &config->latency.batch);
    }
    if (processes != NULL) {
        check_processes(p, processes, &config->latency);
    }
    for (size_t i = 0;
         format != NULL && config->model.format != NULL && pq_formats[i] != NULL; i++) {
        known = known || strcmp(pq_formats[i]->name, config->model.format) == 0;
    }
    if (format != NULL && config->model.format != NULL && !known) {
        pq_problem(p, format, "model: unknown format '%s' (`pquant formats` lists them)",
                   config->model.format);
    }
}

static pq_status read_name(pq_problems *p, const pq_yaml *tree, pq_config *config,
                           pq_err *err)
{
    const pq_yaml *node = pq_yaml_find(tree, "name");
    const char    *base = pq_path_base(config->path);
    pq_status      st   = PQ_OK;

    if (node == NULL) {
        config->name = pq_format("%.*s", (int)strcspn(base, "."), base);
        PQ_CHECK(config->name != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    } else if (node->kind != PQ_YAML_SCALAR || node->text[0] == '\0' ||
               strchr(node->text, '/') != NULL || node->text[0] == '.') {
        pq_problem(p, node,
                   "name: a text without '/' is due here (it names the results folder)");
    } else {
        PQ_STRDUP(config->name, node->text);
    }
cleanup:
    return st;
}

/* From here on, `limits.memory` says what the plan may cost. */
static void apply_limit(const pq_config *config, pq_budget *budget)
{
    if (config->limits.memory_bytes > 0.0) {
        pq_budget_regive(budget, (size_t)config->limits.memory_bytes);
    }
}

static pq_status read_tree(pq_problems *p, pq_config *config, bool changed,
                           pq_budget *budget, pq_err *err)
{
    const pq_yaml *tree                = config->tree;
    pq_yaml       *pipelines           = pq_yaml_find(tree, "pipelines");
    bool           recipes[PQ_RECIPES] = {0};
    pq_status      st;

    for (size_t i = 0; i < tree->n; i++) {
        (void)pq_expect_key(p, tree->items[i], NULL, top_keys, "configuration");
    }
    PQ_TRY(read_name(p, tree, config, err));
    PQ_TRY(read_blocks(p, tree, config, err));
    apply_limit(config, budget);
    if (pipelines != NULL) {
        PQ_TRY(pq_recipes_expand(p, pipelines, recipes, err));
    }
    PQ_TRY(read_metrics(p, pq_yaml_find(tree, "metrics"), recipes, config, err));
    check_whole(p, tree, config);
    PQ_TRY(pq_read_bounds(p, tree, config, err));
    if (pipelines != NULL) {
        PQ_TRY(pq_read_pipelines(p, pipelines, config, err));
    }
    PQ_TRY(pq_read_published(p, tree, changed, config, err));
cleanup:
    return st;
}

/* Blames the cells, where there are any, instead of the file. */
static pq_status blame_cells(const pq_config *config, const pq_budget *budget,
                             pq_status st, pq_err *err)
{
    size_t n = 0;

    for (size_t i = 0; config != NULL && i < config->n_pipelines; i++) {
        n += config->pipelines[i].expanded;
    }
    if (st == PQ_OK || !pq_budget_out_of_bytes(budget) || config == NULL ||
        (n == 0 && !(config->limits.memory_bytes > 0.0))) {
        return st;
    }
    *err = (pq_err){0};
    return pq_config_too_large(config, n, (double)budget->given, err);
}

pq_status pq_config_too_large(const pq_config *config, size_t n, double bytes,
                              pq_err *err)
{
    char limit[32], cells[32] = ""; /* how many is not known while axes are read */

    if (n > 0) {
        (void)snprintf(cells, sizeof cells, "%zu ", n);
    }
    (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                     "%s: planning its %scells takes more memory than %s%s", config->path,
                     cells, config->limits.memory_bytes > 0.0 ? "limits.memory = " : "",
                     pq_bytes_text(bytes, limit, sizeof limit));
    pq_err_hint(err,
                "raise it by limits.memory (--set limits.memory=1GB), or sweep less");
    return PQ_ERR_CONFIG;
}

pq_status pq_config_read(const char *path, const pq_config_changes *changes,
                         pq_config **out, pq_text *problems, pq_err *err)
{
    pq_problems p      = {0};
    pq_config  *config = NULL;
    pq_budget   budget;
    pq_err      why = {0};
    pq_status   st;

    err = err != NULL ? err : &why;
    pq_budget_start(&budget, path);
    PQ_NEW(config, 1);
    PQ_STRDUP(config->path, path);
    PQ_TRY(pq_source_read(path, &config->tree, err));
    if (changes != NULL) {
        PQ_TRY(pq_source_change(&p, changes, config->tree, err));
    }
    PQ_TRY(read_tree(&p, config, changes != NULL && changes->n_set + changes->n_axes > 0,
                     &budget, err));
    if (problems != NULL && p.n > 0) {
        pq_problems_list(&p, problems);
    }
    PQ_TRY(pq_problems_status(&p, err));
    *out   = config;
    config = NULL;
cleanup:
    st = pq_budget_end(&budget, path, st, err);
    st = blame_cells(config, &budget, st, err);
    pq_text_free(&p.lines);
    pq_config_free(&config);
    return st;
}

void pq_config_free(pq_config **config)
{
    pq_config *c = *config;

    if (c == NULL) {
        return;
    }
    pq_pipelines_free(c);
    for (const pq_config_block *b = pq_config_blocks; b->name != NULL; b++) {
        pq_params_free(b->params, (char *)c + b->offset);
    }
    for (size_t i = 0; i < c->n_metrics; i++) {
        pq_params_free(c->metrics[i].metric->params, c->metrics[i].params);
        pq_free(c->metrics[i].params);
    }
    pq_bounds_free(c);
    pq_published_free(c);
    pq_free(c->metrics);
    pq_free(c->path);
    pq_free(c->name);
    pq_yaml_free(&c->tree);
    pq_free(c);
    *config = NULL;
}

char *pq_config_dir(const pq_config *config)
{
    return config->output.dir != NULL ? pq_strdup(config->output.dir)
                                      : pq_format("results/%s", config->name);
}
