#include "sweep/pipeline.h"

#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "sweep/expand.h"
#include "sweep/recipe.h"

enum { NAME_BYTES = 200 };

static const char *const pipeline_keys[] = {"stages", "sweep", "zip", "exclude", NULL};
static const char *const stage_keys[]    = {"layers", NULL};

static const pq_param layers_row = {.name = "layers", .type = PQ_PARAM_STRING};

pq_status pq_substitute_names(pq_yaml *tree, size_t n, const pq_substitute *values,
                              pq_err *err)
{
    pq_yaml  *copy = NULL;
    char     *key  = NULL;
    pq_status st   = PQ_OK;

    for (size_t i = 0; i < tree->n; i++) {
        pq_yaml       *item = tree->items[i];
        const pq_yaml *with = NULL;
        PQ_TRY(pq_substitute_names(item, n, values, err));
        for (size_t v = 0; v < n && item->kind == PQ_YAML_SCALAR; v++) {
            if (item->text[0] == '$' && strcmp(values[v].name, item->text + 1) == 0) {
                with = values[v].value;
            }
        }
        if (with == NULL) {
            continue;
        }
        if (tree->kind == PQ_YAML_MAP) {
            PQ_STRDUP(key, item->key); /* the old item takes its own along */
            PQ_TRY(pq_yaml_clone(with, &copy, err));
            st   = pq_yaml_set(tree, key, copy, err);
            copy = NULL;
            PQ_TRY(st);
            pq_free(key);
            key = NULL;
        } else {
            PQ_CHECK(with->kind == PQ_YAML_SCALAR, PQ_ERR_CONFIG,
                     "%s:%zu:%zu: a list cannot stand inside a list", item->file,
                     item->line, item->column);
            PQ_TRY(pq_yaml_set_text(item, with->text, err));
        }
    }
cleanup:
    pq_free(key);
    pq_yaml_free(&copy);
    return st;
}

static const pq_method *find_method(pq_problems *p, const pq_yaml *at, const char *name,
                                    const char *what)
{
    const pq_method *method = pq_method_find(name);
    const char      *names[64];
    const char      *near;
    size_t           n = 0;

    if (method != NULL) {
        return method;
    }
    for (; pq_methods[n] != NULL && n < 64; n++) {
        names[n] = pq_methods[n]->name;
    }
    for (size_t r = 0; pq_recipes[r] != NULL && n < 64; r++) {
        names[n++] = pq_recipes[r]->name;
    }
    near = pq_nearest(name, names, n);
    pq_problem_key(p, at, "%s: unknown stage '%s'%s%s%s", what, name,
                   near != NULL ? "; did you mean '" : " (`pquant methods` lists them)",
                   near != NULL ? near : "", near != NULL ? "'?" : "");
    return NULL;
}

static void read_stage_params(pq_problems *p, const pq_yaml *map, const char *what,
                              pq_stage *stage)
{
    const pq_yaml *layers = pq_yaml_find(map, "layers");

    pq_read_block(p, map, stage->method->params, stage->params, stage_keys, what);
    if (layers != NULL) {
        pq_value_text(p, layers, &layers_row, &stage->layers);
    }
}

pq_status pq_read_stage(pq_problems *p, const pq_yaml *node, const char *what,
                        pq_stage *out, pq_err *err)
{
    const bool     plain = node->kind == PQ_YAML_SCALAR;
    const pq_yaml *params;
    char           where[256];
    pq_status      st = PQ_OK;

    *out = (pq_stage){0};
    if (!plain && (node->kind != PQ_YAML_MAP || node->n != 1)) {
        pq_problem(p, node,
                   "%s: a stage is one method and its parameters, '- svd: {rank: 8}'",
                   what);
        return PQ_OK;
    }
    params = plain ? NULL : node->items[0];
    if (find_method(p, plain ? node : params, plain ? node->text : params->key, what) ==
        NULL) {
        return PQ_OK;
    }
    PQ_TRY(pq_stage_create(plain ? node->text : params->key, out, err));
    out->place = pq_format("%s:%zu:%zu", node->file, (plain ? node : params)->key_line,
                           (plain ? node : params)->key_column);
    PQ_CHECK(out->place != NULL, PQ_ERR_NOMEM, "cannot allocate the place of a stage");
    (void)snprintf(where, sizeof where, "%s: %s", what, out->method->name);
    if (params != NULL && (params->kind != PQ_YAML_SCALAR || params->text[0] != '\0')) {
        read_stage_params(p, params, where, out);
    }
cleanup:
    if (st != PQ_OK) {
        pq_stage_free(out);
    }
    return st;
}

static void drop_names(pq_yaml *map)
{
    for (size_t i = map->n; i-- > 0;) {
        if (map->items[i]->kind == PQ_YAML_SCALAR && map->items[i]->text[0] == '$' &&
            map->kind == PQ_YAML_MAP) {
            pq_yaml_remove(map, map->items[i]->key);
        } else {
            drop_names(map->items[i]);
        }
    }
}

/* Where the axes are wrong, the stages are still read, without what comes from axes. */
static pq_status check_stages(pq_problems *p, const pq_yaml *stages, const char *what,
                              pq_err *err)
{
    pq_yaml  *tree  = NULL;
    pq_stage  stage = {0};
    pq_status st;

    PQ_TRY(pq_yaml_clone(stages, &tree, err));
    drop_names(tree);
    for (size_t i = 0; i < tree->n; i++) {
        PQ_TRY(pq_read_stage(p, tree->items[i], what, &stage, err));
        pq_stage_free(&stage);
    }
cleanup:
    pq_yaml_free(&tree);
    return st;
}

static pq_status read_pipeline(pq_problems *p, const pq_yaml *node, pq_pipeline *out,
                               pq_err *err)
{
    const bool     is_map = node->kind == PQ_YAML_MAP;
    const pq_yaml *stages = is_map ? pq_yaml_find(node, "stages") : node;
    const size_t   before = p->met;
    pq_grid        grid   = {0};
    char           what[NAME_BYTES + 16];
    pq_status      st;

    PQ_STRDUP(out->name, node->key);
    if (node->key[0] == '\0' || strlen(node->key) > NAME_BYTES) {
        pq_problem_key(p, node, "pipelines: a name has 1 to %d bytes, not %zu",
                       NAME_BYTES, strlen(node->key));
        return PQ_OK;
    }
    (void)snprintf(what, sizeof what, "pipeline '%s'", node->key);
    for (size_t i = 0; is_map && i < node->n; i++) {
        (void)pq_expect_key(p, node->items[i], NULL, pipeline_keys, what);
    }
    if (stages == NULL || stages->kind != PQ_YAML_LIST) {
        pq_problem(p, stages == NULL ? node : stages,
                   "%s: a list of stages is due here ([] is the uncompressed model)",
                   what);
        goto cleanup;
    }
    if (is_map) {
        PQ_TRY(pq_grid_read(p, node, &grid, err));
    }
    pq_grid_check_names(p, &grid, stages);
    if (p->met == before) {
        PQ_TRY(pq_expand(p, stages, &grid, out, err));
        pq_grid_check_unused(p, &grid);
    } else {
        PQ_TRY(check_stages(p, stages, what, err));
    }
    if (p->met == before && out->n_cases == 0) {
        pq_problem_key(p, node, "%s: every cell is excluded", what);
    }
cleanup:
    pq_grid_free(&grid);
    return st;
}

pq_status pq_read_pipelines(pq_problems *p, const pq_yaml *node, pq_config *config,
                            pq_err *err)
{
    size_t    cells = 0;
    pq_status st    = PQ_OK;

    if (!pq_expect_map(p, node, "pipelines")) {
        return PQ_OK;
    }
    if (node->n == 0) {
        pq_problem(p, node, "pipelines: at least one is due here, e.g. 'reference: []'");
    }
    PQ_NEW(config->pipelines, node->n);
    for (size_t i = 0; i < node->n; i++) {
        config->n_pipelines          = i + 1;
        config->pipelines[i].room    = PQ_CASES_MAX - cells;
        config->pipelines[i].limited = config->limits.memory_bytes > 0.0;
        PQ_TRY(read_pipeline(p, node->items[i], &config->pipelines[i], err));
        cells += config->pipelines[i].expanded;
    }
cleanup:
    return st;
}

void pq_pipelines_free(pq_config *config)
{
    for (size_t i = 0; i < config->n_pipelines; i++) {
        pq_pipeline *pipeline = &config->pipelines[i];
        pq_expand_free(pipeline);
        pq_free(pipeline->name);
    }
    pq_free(config->pipelines);
    config->pipelines   = NULL;
    config->n_pipelines = 0;
}
