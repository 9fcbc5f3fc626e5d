/* A configuration as YAML, with every default. */
#include <math.h>
#include <string.h>

#include "sweep/config.h"

/* The code point at the front of UTF-8, which YAML's reader has checked; *n bytes. */
static unsigned code_point(const char *text, size_t *n)
{
    const unsigned char c = (unsigned char)*text;
    unsigned            code;

    *n   = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    code = *n == 1 ? c : c & (0x7fU >> *n);
    for (size_t i = 1; i < *n; i++) {
        code = code << 6 | ((unsigned char)text[i] & 0x3fU);
    }
    return code;
}

/* What may not stand as it is, or would be read as the end of a line. */
static bool is_escaped(unsigned code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 ||
           code == 0x2029 || code == 0xfeff || code == 0xfffe || code == 0xffff;
}

static void add_quoted(pq_text *out, const char *text)
{
    size_t n;

    pq_text_add(out, "\"");
    for (; *text != '\0'; text += n) {
        const unsigned code = code_point(text, &n);
        if (is_escaped(code)) {
            pq_text_add(out, "\\u%04x", code);
        } else {
            pq_text_add(out, "%s%.*s", code == '"' || code == '\\' ? "\\" : "", (int)n,
                        text);
        }
    }
    pq_text_add(out, "\"");
}

/* Whether a text means itself wherever it stands: all else is put in quotes. */
static bool is_plain(const char *text)
{
    const size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_./+-$= ");

    return n > 0 && text[n] == '\0' && text[0] != ' ' && text[n - 1] != ' ' &&
           strspn(text, "-=. ") != n && strncmp(text, "- ", 2) != 0 &&
           strncmp(text, "---", 3) != 0 && strncmp(text, "...", 3) != 0;
}

static void add_word(pq_text *out, const char *text)
{
    if (is_plain(text)) {
        pq_text_add(out, "%s", text);
    } else if (strpbrk(text, "'\\") == NULL &&
               strspn(text, " !#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                            "[]^_`abcdefghijklmnopqrstuvwxyz{|}~\"") == strlen(text)) {
        pq_text_add(out, "'%s'", text);
    } else {
        add_quoted(out, text);
    }
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
        pq_text_add(out, "%s", text.text != NULL ? text.text : "");
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

static void add_fallback(pq_text *out, const pq_param *row)
{
    if (row->fallback == NULL) {
        pq_text_add(out, "none");
    } else if (row->type == PQ_PARAM_LIST) {
        pq_text_add(out, "[%s]", row->fallback);
    } else {
        add_word(out, row->fallback);
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
            add_fallback(out, row);
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
        pq_text_add(out, "  ");
        add_word(out, c->metric);
        pq_text_add(out, ": {");
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
        pq_text_add(out, "  ");
        add_word(out, config->gates[i].metric);
        pq_text_add(out, ": ");
        add_params(out, pq_gate_params, &config->gates[i]);
        pq_text_add(out, "\n");
    }
}

static void add_metrics(const pq_config *config, const pq_evaluation *view, pq_text *out)
{
    if (config->n_metrics > 0 && config->metrics[0].usual) {
        pq_text_add(out,
                    "# metrics: every one that has a value for the model's outputs\n");
        return;
    }
    pq_text_add(out, "metrics:\n");
    for (size_t i = 0; i < config->n_metrics; i++) {
        const pq_metric_choice *m = &config->metrics[i];
        if (view == NULL || pq_metric_applies(m, view)) {
            pq_text_add(out, "  %s: ", m->metric->name);
            add_params(out, m->metric->params, m->params);
            pq_text_add(out, "%s\n", m->usual ? " # by a recipe" : "");
        }
    }
}

void pq_config_show(const pq_config *config, const pq_evaluation *view, pq_text *out)
{
    pq_text_add(out, "schema: pquant/1\n");
    pq_show_name(out, config->name);
    add_blocks(out, config);
    add_metrics(config, view, out);
    add_bounds(out, config);
    add_pipelines(out, pq_yaml_find(config->tree, "pipelines"));
    if (config->n_published > 0) {
        pq_text_add(out, "published: ");
        add_flow(out, pq_yaml_find(config->tree, "published"));
        pq_text_add(out, "\n");
    }
}
