/* Help, man page and shell completion, all printed from the tables that the program runs
 * on. */
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "compress/method.h"
#include "exec/plan.h"
#include "formats/model.h"
#include "metrics/metric.h"
#include "sweep/config.h"
#include "sweep/recipe.h"
#include "sweep/train_config.h"

static void option_line(const pq_option *o, FILE *out)
{
    char left[64];

    if (o->letter != 0) {
        (void)snprintf(left, sizeof left, "-%c, --%s%s%s", o->letter, o->name,
                       o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
    } else {
        (void)snprintf(left, sizeof left, "    --%s%s%s", o->name,
                       o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
    }
    (void)fprintf(out, "  %-30s %s", left, o->help);
    if (o->fallback != NULL) {
        (void)fprintf(out, " [%s]", o->fallback);
    }
    (void)fprintf(out, "%s\n", o->many ? " (may be repeated)" : "");
}

void pq_help_verb(const pq_verb *verb, FILE *out)
{
    (void)fprintf(out, "pquant %s: %s\n\nusage: pquant %s [options] %s\n\noptions:\n",
                  verb->name, verb->summary, verb->name, verb->arguments);
    for (const pq_option *o = verb->options; o != NULL && o->name != NULL; o++) {
        option_line(o, out);
    }
    for (const pq_option *o = pq_common_options; o->name != NULL; o++) {
        option_line(o, out);
    }
    (void)fprintf(out, "\nexample: %s\n", verb->example);
}

bool pq_help_group(const char *name, FILE *out)
{
    const size_t n     = strlen(name);
    bool         found = false;

    for (size_t i = 0; pq_verbs[i] != NULL; i++) {
        if (strncmp(pq_verbs[i]->name, name, n) == 0 && pq_verbs[i]->name[n] == ' ') {
            if (!found && out != NULL) {
                (void)fprintf(out, "verbs of %s:\n", name);
            }
            if (out != NULL) {
                (void)fprintf(out, "  %-16s %s\n", pq_verbs[i]->name,
                              pq_verbs[i]->summary);
            }
            found = true;
        }
    }
    return found;
}

void pq_help_program(FILE *out)
{
    (void)fprintf(
        out,
        "pquant compresses neural networks and measures what that costs and gains.\n\n"
        "usage: pquant VERB [options] ...\n\nverbs:\n");
    for (size_t i = 0; pq_verbs[i] != NULL; i++) {
        (void)fprintf(out, "  %-16s %s\n", pq_verbs[i]->name, pq_verbs[i]->summary);
    }
    (void)fprintf(out, "\n'pquant VERB --help' explains a verb, 'pquant help NAME' a "
                       "method, layer, metric, format or key of a configuration.\n"
                       "start: pquant run configs/quickstart.yaml\n");
}

static const char *type_name(const pq_param *row)
{
    switch (row->type) {
    case PQ_PARAM_INT:
        return "whole number";
    case PQ_PARAM_REAL:
        return row->unit == PQ_UNIT_TIME    ? "time"
               : row->unit == PQ_UNIT_BYTES ? "size"
                                            : "number";
    case PQ_PARAM_BOOL:
        return "true or false";
    case PQ_PARAM_CHOICE:
        return "one of";
    case PQ_PARAM_STRING:
        return "text";
    case PQ_PARAM_LIST:
        return "list of numbers";
    }
    return "";
}

void pq_help_params(const pq_param *table, FILE *out)
{
    for (const pq_param *row = table; row != NULL && row->name != NULL; row++) {
        char lo[32], hi[32];
        (void)fprintf(out, "  %-18s %s", row->name, row->help);
        (void)fprintf(out, "; %s", type_name(row));
        for (size_t i = 0; row->type == PQ_PARAM_CHOICE && row->choices[i] != NULL; i++) {
            (void)fprintf(out, "%s %s", i == 0 ? "" : ",", row->choices[i]);
        }
        if (row->min != 0.0 || row->max != 0.0) {
            (void)fprintf(out, " in %s..%s", pq_real_text(row->min, lo, sizeof lo),
                          pq_real_text(row->max, hi, sizeof hi));
        }
        (void)fprintf(out, " [%s]\n", row->fallback != NULL ? row->fallback : "none");
    }
}

static void topic(const char *what, const char *name, const char *summary,
                  const char *source, const pq_param *params, FILE *out)
{
    (void)fprintf(out, "%s %s: %s\n", what, name, summary);
    if (source != NULL && source[0] != '\0') {
        (void)fprintf(out, "source: %s\n", source);
    }
    if (params != NULL && params->name != NULL) {
        (void)fprintf(out, "\nparameters:\n");
        pq_help_params(params, out);
    }
}

/* Rows of a table that are called `name` or "owner.name". */
static bool help_key(const char *owner, const pq_param *table, const char *name,
                     FILE *out)
{
    const size_t n     = strlen(owner);
    const bool   whole = strncmp(name, owner, n) == 0 && name[n] == '.';
    bool         found = false;

    for (const pq_param *row = table; row != NULL && row->name != NULL; row++) {
        if (strcmp(row->name, whole ? name + n + 1 : name) == 0) {
            const pq_param one[] = {*row, {0}};
            (void)fprintf(out, "key of %s:\n", owner);
            pq_help_params(one, out);
            found = true;
        }
    }
    return found;
}

static bool help_keys(const char *name, FILE *out)
{
    bool found = false;

    for (size_t i = 0; pq_methods[i] != NULL; i++) {
        found |= help_key(pq_methods[i]->name, pq_methods[i]->params, name, out);
    }
    for (size_t i = 0; pq_metrics[i] != NULL; i++) {
        found |= help_key(pq_metrics[i]->name, pq_metrics[i]->params, name, out);
    }
    for (const pq_config_block *b = pq_config_blocks; b->name != NULL; b++) {
        found |= help_key(b->name, b->params, name, out);
    }
    found |= help_key("train", pq_train_param_table, name, out);
    return found;
}

bool pq_help_topic(const char *name, FILE *out)
{
    const pq_method     *method = pq_method_find(name);
    const pq_recipe     *recipe = pq_recipe_find(name);
    const pq_layer_kind *kind   = pq_layer_kind_find(name);
    const pq_metric     *metric = pq_metric_find(name);
    bool                 found  = false;

    if (method != NULL) {
        topic("method", name, method->summary, method->source, method->params, out);
        (void)fprintf(
            out, "  %-18s %s\n", "layers",
            "glob of layer names it is for, by default all it accepts; ranks and "
            "ratios hold for each of them, a budget for all together");
        found = true;
    }
    if (recipe != NULL) {
        topic("recipe", name, recipe->summary, NULL, recipe->params, out);
        (void)fprintf(out, "\nstands for the stages\n%s", recipe->stages);
        found = true;
    }
    if (kind != NULL) {
        topic("layer", name, kind->summary, kind->source, kind->params, out);
        found = true;
    }
    if (metric != NULL) {
        topic("metric", name, metric->summary, metric->source, metric->params, out);
        found = true;
    }
    for (size_t i = 0; pq_formats[i] != NULL; i++) {
        if (strcmp(pq_formats[i]->name, name) == 0) {
            topic("format", name, pq_formats[i]->summary, pq_formats[i]->source, NULL,
                  out);
            found = true;
        }
    }
    for (const pq_config_block *b = pq_config_blocks; b->name != NULL; b++) {
        if (strcmp(b->name, name) == 0) {
            topic("configuration", name, b->help, NULL, b->params, out);
            found = true;
        }
    }
    for (const pq_config_key *k = pq_config_keys; k->name != NULL; k++) {
        if (strcmp(k->name, name) == 0) {
            topic("configuration", name, k->help, NULL, NULL, out);
            found = true;
        }
    }
    found |= pq_help_group(name, out);
    return found || help_keys(name, out);
}

/* The blocks of a training configuration, behind the verb's own help. */
static void help_training(FILE *out)
{
    for (const pq_config_block *b = pq_train_config_blocks; b->name != NULL; b++) {
        (void)fprintf(out, "\n%s: %s\n", b->name, b->help);
        pq_help_params(b->params, out);
    }
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    const char *name = pq_args_get(args, 0);
    char        verb[128];
    pq_status   st = PQ_OK;

    (void)exit_code;
    if (name == NULL) {
        pq_help_program(stdout);
        return PQ_OK;
    }
    if (pq_help_document(name, stdout)) {
        return PQ_OK;
    }
    (void)snprintf(verb, sizeof verb, "%s%s%s", name, pq_args_count(args) > 1 ? " " : "",
                   pq_args_count(args) > 1 ? pq_args_get(args, 1) : "");
    for (size_t i = 0; pq_verbs[i] != NULL; i++) {
        if (strcmp(pq_verbs[i]->name, verb) == 0) {
            pq_help_verb(pq_verbs[i], stdout);
            if (strcmp(verb, "train") == 0) {
                help_training(stdout);
            }
            return PQ_OK;
        }
    }
    PQ_CHECK(
        pq_help_topic(name, stdout), PQ_ERR_CONFIG,
        "nothing is called '%s'; see 'pquant help', 'pquant methods', 'pquant layers'",
        name);
cleanup:
    return st;
}

const pq_verb pq_verb_help = {
    .name = "help",
    .summary =
        "explain a verb, method, recipe, layer, metric or format; 'man' and 'completion' "
        "print those",
    .arguments = "[NAME]",
    .max_args  = 2,
    .example   = "pquant help svd",
    .run       = run,
};
