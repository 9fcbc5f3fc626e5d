/* plan.json: names and order of cells for those who read results. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "store/json.h"
#include "store/results.h"
#include "sweep/cell.h"
#include "sweep/plan.h"
#include "sweep/published.h"

static json_t *axes_json(const pq_case *variant)
{
    json_t *axes = json_object();

    for (size_t i = 0; i < variant->n_axes; i++) {
        (void)json_object_set_new(axes, variant->axes[i].name,
                                  json_string(variant->axes[i].value));
    }
    return axes;
}

static json_t *cell_json(const pq_cells *cells, const pq_cell *cell)
{
    json_t *latency = json_array();

    for (size_t i = 0; cell->latency != NULL && i < cells->config->latency.batch.n; i++) {
        (void)json_array_append_new(latency, json_string(cell->latency[i]));
    }
    return json_pack("{s:I, s:s, s:s, s:o, s:I, s:s, s:o, s:b}", "order",
                     (json_int_t)cell->order, "pipeline", cell->pipeline->name, "label",
                     cell->variant->label, "axes", axes_json(cell->variant), "repeat",
                     (json_int_t)cell->repeat, "eval", cell->eval, "latency", latency,
                     "reference", cell->order == cells->reference);
}

static json_t *constraints_json(const pq_config *config)
{
    json_t *all = json_object();

    for (size_t i = 0; i < config->n_constraints; i++) {
        const pq_constraint *c   = &config->constraints[i];
        json_t              *one = json_object();
        if (!isnan(c->min)) {
            (void)json_object_set_new(one, "min", json_real(c->min));
        }
        if (!isnan(c->max)) {
            (void)json_object_set_new(one, "max", json_real(c->max));
        }
        (void)json_object_set_new(all, c->metric, one);
    }
    return all;
}

/* Every field of a struct as text. */
static json_t *params_json(const pq_param *table, const void *values)
{
    json_t *all  = json_object();
    pq_text text = {0};

    for (const pq_param *row = table; row->name != NULL; row++) {
        pq_param_print(row, values, &text);
        (void)json_object_set_new(all, row->name, json_string(text.text));
        pq_text_free(&text);
    }
    return all;
}

static json_t *gates_json(const pq_config *config)
{
    json_t *all = json_object();

    for (size_t i = 0; i < config->n_gates; i++) {
        (void)json_object_set_new(all, config->gates[i].metric,
                                  params_json(pq_gate_params, &config->gates[i]));
    }
    return all;
}

static json_t *output_json(const pq_config *config)
{
    for (const pq_config_block *b = pq_config_blocks; b->name != NULL; b++) {
        if (strcmp(b->name, "output") == 0) {
            return params_json(b->params, (const char *)config + b->offset);
        }
    }
    return json_object();
}

/* Everything but the cells. */
static json_t *head_json(const pq_cells *cells)
{
    const pq_config    *config = cells->config;
    const pq_evaluation view   = pq_cells_view(cells);
    pq_text             shown  = {0};
    json_t             *head   = NULL;

    pq_config_show(config, &view, &shown);
    if (!shown.failed) {
        head = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:s?}", "schema",
                         PQ_PLAN_SCHEMA, "name", config->name, "config", config->path,
                         "resolved", shown.text, "assumed", pq_note_json(cells->note),
                         "output", output_json(config), "constraints",
                         constraints_json(config), "gates", gates_json(config),
                         "baseline", config->baseline);
    }
    pq_text_free(&shown);
    if (head != NULL && config->n_published > 0 &&
        json_object_set_new(head, "published", pq_published_json(config)) != 0) {
        json_decref(head);
        head = NULL;
    }
    return head;
}

/* A cell a line, and each is forgotten once it is written: there may be 100,000. */
static bool add_cells(const pq_cells *cells, pq_text *out)
{
    bool fine = true;

    for (size_t i = 0; fine && i < cells->n; i++) {
        json_t *cell = cell_json(cells, &cells->cells[i]);
        char   *line = cell != NULL ? json_dumps(cell, JSON_COMPACT) : NULL;
        fine         = line != NULL;
        pq_text_add(out, "%s\n  %s", i == 0 ? "" : ",", fine ? line : "");
        free(line);
        json_decref(cell);
    }
    return fine && !out->failed;
}

pq_status pq_cells_text(const pq_cells *cells, pq_text *out, pq_err *err)
{
    json_t   *head = head_json(cells);
    pq_status st;

    PQ_CHECK(head != NULL && pq_json_add(head, out), PQ_ERR_NOMEM,
             "cannot allocate the plan");
    out->length -= strlen("\n}"); /* goes on */
    pq_text_add(out, ",\n \"cells\": [");
    PQ_CHECK(add_cells(cells, out), PQ_ERR_NOMEM, "cannot allocate a plan of %zu cells",
             cells->n);
    pq_text_add(out, "\n ]\n}");
    PQ_CHECK(!out->failed, PQ_ERR_NOMEM, "cannot allocate the plan");
cleanup:
    json_decref(head);
    return st;
}

json_t *pq_cells_json(const pq_cells *cells, const bool *chosen)
{
    json_t *plan = head_json(cells), *list = json_array();
    bool    fine = plan != NULL && list != NULL;

    for (size_t i = 0; fine && i < cells->n; i++) {
        fine = !chosen[i] ||
               json_array_append_new(list, cell_json(cells, &cells->cells[i])) == 0;
    }
    fine = fine && json_object_set(plan, "cells", list) == 0;
    json_decref(list);
    if (!fine) {
        json_decref(plan);
        plan = NULL;
    }
    return plan;
}

/* Whether the file is this text. */
static bool is_there(const char *path, const pq_text *text)
{
    char  *bytes = NULL;
    size_t n     = 0;
    bool   same  = pq_file_read(path, text->length, &bytes, &n, NULL) == PQ_OK &&
                n == text->length && memcmp(bytes, text->text, n) == 0;

    pq_free(bytes);
    return same;
}

pq_status pq_plan_write(const char *dir, const pq_text *text, pq_err *err)
{
    char     *path = pq_path_join(dir, "plan.json");
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (!is_there(path, text)) {
        PQ_TRY(pq_folder_make(dir, err));
        PQ_TRY(pq_file_write(path, text->text, text->length, err));
    }
cleanup:
    pq_free(path);
    return st;
}
