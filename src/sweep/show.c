/* A configuration as YAML, with every default. */
#include <math.h>
#include <string.h>

#include "sweep/config.h"

/* A text that YAML could take for something else stands in quotes. */
static void add_word(pq_text *out, const char *text)
{
    const size_t n     = strlen(text);
    const bool   plain = n > 0 && strpbrk(text, ",[]{}#&*!|>'\"%@`?\n\t") == NULL &&
                       strstr(text, ": ") == NULL && text[0] != ' ' &&
                       text[n - 1] != ' ' && text[n - 1] != ':' &&
                       strcmp(text, "-") != 0 && strncmp(text, "- ", 2) != 0;

    if (plain) {
        pq_text_add(out, "%s", text);
        return;
    }
    pq_text_add(out, "'");
    for (; *text != '\0'; text++) {
        pq_text_add(out, *text == '\'' ? "''" : "%c", *text);
    }
    pq_text_add(out, "'");
}

/* A tree in flow form: {a: 1, b: [2, 3]}. */
static void add_flow(pq_text *out, const pq_yaml *node)
{
    if (node->kind == PQ_YAML_SCALAR) {
        add_word(out, node->text);
        return;
    }
    pq_text_add(out, node->kind == PQ_YAML_LIST ? "[" : "{");
    for (size_t i = 0; i < node->n; i++) {
        pq_text_add(out, "%s", i == 0 ? "" : ", ");
        if (node->kind == PQ_YAML_MAP) {
            add_word(out, node->items[i]->key);
            pq_text_add(out, ": ");
        }
        add_flow(out, node->items[i]);
    }
    pq_text_add(out, node->kind == PQ_YAML_LIST ? "]" : "}");
}

static void add_param(pq_text *out, const pq_param *row, const void *values)
{
    const void *at   = (const char *)values + row->offset;
    pq_text     text = {0};

    pq_text_add(out, "%s: ", row->name);
    pq_param_print(row, values, &text);
    if (row->type == PQ_PARAM_STRING && *(char *const *)at != NULL) {
        add_word(out, *(char *const *)at);
    } else {
        pq_text_add(out, "%s", text.text);
    }
    pq_text_free(&text);
}

static void add_params(pq_text *out, const pq_param *table, const void *values)
{
    pq_text_add(out, "{");
    for (const pq_param *row = table; row != NULL && row->name != NULL; row++) {
        pq_text_add(out, "%s", row == table ? "" : ", ");
        add_param(out, row, values);
    }
    pq_text_add(out, "}");
}

void pq_show_name(pq_text *out, const char *name)
{
    pq_text_add(out, "name: ");
    add_word(out, name);
    pq_text_add(out, "\n");
}

void pq_show_block(pq_text *out, const pq_config_block *block, const void *config,
                   const char *indent)
{
    for (const pq_param *row = block->params; row->name != NULL; row++) {
        pq_text_add(out, "%s", indent);
        add_param(out, row, (const char *)config + block->offset);
        pq_text_add(out, "\n");
    }
}

static void add_blocks(pq_text *out, const pq_config *config)
{
    for (const pq_config_block *b = pq_config_blocks; b->name != NULL; b++) {
        const char *dot = strchr(b->name, '.');
        if (strncmp(b->name, "latency", 7) == 0 && !config->latency.wanted) {
            continue;
        }
        pq_text_add(out, "%s%s:\n", dot != NULL ? "  " : "",
                    dot != NULL ? dot + 1 : b->name);
        pq_show_block(out, b, config, dot != NULL ? "    " : "  ");
    }
}

/* A stage as written, `$names` and all, and the defaults of what was not. */
static void add_stage(pq_text *out, const pq_yaml *stage)
{
    const bool       plain  = stage->kind == PQ_YAML_SCALAR;
    const char      *name   = plain ? stage->text : stage->items[0]->key;
    const pq_yaml   *params = plain ? NULL : stage->items[0];
    const pq_yaml   *layers = params != NULL ? pq_yaml_find(params, "layers") : NULL;
    const pq_method *method = pq_method_find(name);

    pq_text_add(out, "      - %s: {layers: ", name);
    if (layers != NULL) {
        add_flow(out, layers);
    } else {
        pq_text_add(out, "'*'");
    }
    for (const pq_param *row = method->params; row != NULL && row->name != NULL; row++) {
        const pq_yaml *given = params != NULL ? pq_yaml_find(params, row->name) : NULL;
        pq_text_add(out, ", %s: ", row->name);
        if (given != NULL) {
            add_flow(out, given);
        } else {
            pq_text_add(out, "%s",
                        row->fallback == NULL        ? "none"
                        : row->type == PQ_PARAM_LIST ? "["
                                                     : "");
            pq_text_add(out, "%s", row->fallback == NULL ? "" : row->fallback);
            pq_text_add(out, "%s",
                        row->fallback != NULL && row->type == PQ_PARAM_LIST ? "]" : "");
        }
    }
    pq_text_add(out, "}\n");
}

static void add_pipelines(pq_text *out, const pq_yaml *pipelines)
{
    static const char *const grid[] = {"sweep", "zip", "exclude"};

    pq_text_add(out, "pipelines:\n");
    for (size_t i = 0; i < pipelines->n; i++) {
        const pq_yaml *node = pipelines->items[i];
        const pq_yaml *stages =
            node->kind == PQ_YAML_MAP ? pq_yaml_find(node, "stages") : node;
        pq_text_add(out, "  ");
        add_word(out, node->key);
        pq_text_add(out, ":\n    stages:%s\n", stages->n == 0 ? " []" : "");
        for (size_t k = 0; k < stages->n; k++) {
            add_stage(out, stages->items[k]);
        }
        for (size_t k = 0; k < 3; k++) {
            const pq_yaml *part = pq_yaml_find(node, grid[k]);
            if (part != NULL) {
                pq_text_add(out, "    %s: ", grid[k]);
                add_flow(out, part);
                pq_text_add(out, "\n");
            }
        }
    }
}

static void add_bounds(pq_text *out, const pq_config *config)
{
    char number[32];

    pq_text_add(out, config->n_constraints > 0 ? "constraints:\n" : "constraints: {}\n");
    for (size_t i = 0; i < config->n_constraints; i++) {
        const pq_constraint *c = &config->constraints[i];
        pq_text_add(out, "  %s: {", c->metric);
        if (!isnan(c->min)) {
            pq_text_add(out, "min: %s%s", pq_real_text(c->min, number, sizeof number),
                        isnan(c->max) ? "" : ", ");
        }
        if (!isnan(c->max)) {
            pq_text_add(out, "max: %s", pq_real_text(c->max, number, sizeof number));
        }
        pq_text_add(out, "}\n");
    }
    pq_text_add(out, "baseline: ");
    add_word(out, config->baseline != NULL ? config->baseline : "none");
    pq_text_add(out, config->n_gates > 0 ? "\ngates:\n" : "\ngates: {}\n");
    for (size_t i = 0; i < config->n_gates; i++) {
        pq_text_add(out, "  %s: ", config->gates[i].metric);
        add_params(out, pq_gate_params, &config->gates[i]);
        pq_text_add(out, "\n");
    }
}

void pq_config_show(const pq_config *config, pq_text *out)
{
    pq_text_add(out, "schema: pquant/1\n");
    pq_show_name(out, config->name);
    add_blocks(out, config);
    pq_text_add(out, "metrics:\n");
    for (size_t i = 0; i < config->n_metrics; i++) {
        pq_text_add(out, "  %s: ", config->metrics[i].metric->name);
        add_params(out, config->metrics[i].metric->params, config->metrics[i].params);
        pq_text_add(out, "\n");
    }
    add_bounds(out, config);
    add_pipelines(out, pq_yaml_find(config->tree, "pipelines"));
}
