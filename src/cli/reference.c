/* The man page, shell completion and docs/reference.md, printed from the same tables as
 * the help. */
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "compress/method.h"
#include "formats/model.h"
#include "metrics/metric.h"
#include "sweep/config.h"
#include "sweep/recipe.h"
#include "sweep/train_config.h"

/* groff needs its backslashes and hyphens told apart. */
static void man_text(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '-') {
            (void)fputs("\\-", out);
        } else if (*text == '\\') {
            (void)fputs("\\e", out);
        } else {
            (void)fputc(*text, out);
        }
    }
}

static void man_options(const pq_option *table, FILE *out)
{
    for (const pq_option *o = table; o != NULL && o->name != NULL; o++) {
        (void)fprintf(out, ".TP\n.B ");
        if (o->letter != 0) {
            (void)fprintf(out, "\\-%c, ", o->letter);
        }
        (void)fprintf(out, "\\-\\-");
        man_text(o->name, out);
        if (o->value != NULL) {
            (void)fprintf(out, " \\fI%s\\fR", o->value);
        }
        (void)fputc('\n', out);
        man_text(o->help, out);
        if (o->fallback != NULL) {
            (void)fprintf(out, " (default ");
            man_text(o->fallback, out);
            (void)fputc(')', out);
        }
        (void)fputc('\n', out);
    }
}

static void print_man(FILE *out)
{
    (void)fprintf(
        out,
        ".TH PQUANT 1 \"\" \"pquant %s\" \"User Commands\"\n.SH NAME\npquant \\- "
        "compress "
        "neural networks and measure what that costs and gains\n.SH SYNOPSIS\n.B "
        "pquant\n\\fIVERB\\fR [\\fIoptions\\fR] ...\n.SH VERBS\n",
        PQ_VERSION);
    for (size_t i = 0; pq_verbs[i] != NULL; i++) {
        const pq_verb *v = pq_verbs[i];
        (void)fprintf(out, ".SS pquant %s [options] ", v->name);
        man_text(v->arguments, out);
        (void)fputc('\n', out);
        man_text(v->summary, out);
        (void)fprintf(out, ".\n");
        man_options(v->options, out);
        (void)fprintf(out, ".PP\nExample: ");
        man_text(v->example, out);
        (void)fputc('\n', out);
    }
    (void)fprintf(out, ".SH COMMON OPTIONS\n");
    man_options(pq_common_options, out);
    (void)fprintf(
        out,
        ".SH EXIT STATUS\n0 ok; 1 a gate failed (regression); 2 usage or configuration; "
        "3 "
        "some cells failed; 4 nothing ran; 5 incomplete; 6 inconclusive by noise; 75 try "
        "again; 130 interrupted, resumable.\n");
}

static void print_completion(FILE *out)
{
    (void)fprintf(out, "# bash completion for pquant: source <(pquant help completion)\n"
                       "_pquant()\n{\n    local word=${COMP_WORDS[COMP_CWORD]} "
                       "verb=\"${COMP_WORDS[1]}\" "
                       "two=\"${COMP_WORDS[1]} ${COMP_WORDS[2]}\"\n    if [ "
                       "\"$COMP_CWORD\" = 1 ]; then\n"
                       "        COMPREPLY=($(compgen -W \"");
    for (size_t i = 0; pq_verbs[i] != NULL; i++) {
        (void)fprintf(out, "%.*s ", (int)strcspn(pq_verbs[i]->name, " "),
                      pq_verbs[i]->name);
    }
    (void)fprintf(out, "\" -- \"$word\"))\n        return\n    fi\n");
    for (size_t i = 0; pq_verbs[i] != NULL; i++) {
        const pq_verb *v     = pq_verbs[i];
        const char    *space = strchr(v->name, ' ');
        if (space != NULL) {
            (void)fprintf(
                out,
                "    if [ \"$COMP_CWORD\" = 2 ] && [ \"$verb\" = %.*s ]; then\n        "
                "COMPREPLY+=($(compgen -W %s -- \"$word\"))\n    fi\n",
                (int)(space - v->name), v->name, space + 1);
        }
        (void)fprintf(out,
                      "    if [[ $word == -* ]] && [ \"%s\" = \"%s\" ]; then\n        "
                      "COMPREPLY=($(compgen -W \"--help --quiet",
                      space != NULL ? "$two" : "$verb", v->name);
        for (const pq_option *o = v->options; o != NULL && o->name != NULL; o++) {
            (void)fprintf(out, " --%s", o->name);
        }
        (void)fprintf(out, "\" -- \"$word\"))\n    fi\n");
    }
    (void)fprintf(out, "}\ncomplete -o default -F _pquant pquant\n");
}

/* A table cell: pipes and angle brackets would be taken for markup. */
static void markdown_text(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (strchr("|<>*_", *text) != NULL) {
            (void)fputc('\\', out);
        }
        (void)fputc(*text, out);
    }
}

/* A key of training as it is; `epochs` may have another default. */
static bool is_of_training(const pq_param *row)
{
    const pq_param *other = pq_params_find(pq_train_param_table, row->name);

    return other != NULL && strcmp(other->help, row->help) == 0;
}

/* Methods that train tell the keys of training only once, under finetune. */
static void markdown_params(const pq_param *table, bool brief, FILE *out)
{
    char   lo[32], hi[32];
    size_t left_out = 0;

    if (table == NULL || table->name == NULL) {
        return;
    }
    (void)fprintf(out, "\n| key | default | allowed | meaning |\n|---|---|---|---|\n");
    for (const pq_param *row = table; row->name != NULL; row++) {
        if (brief && is_of_training(row)) {
            left_out++;
            continue;
        }
        (void)fprintf(out, "| `%s` | %s | ", row->name,
                      row->fallback != NULL ? row->fallback : "none");
        for (size_t i = 0; row->type == PQ_PARAM_CHOICE && row->choices[i] != NULL; i++) {
            (void)fprintf(out, "%s%s", i == 0 ? "" : ", ", row->choices[i]);
        }
        if (row->type == PQ_PARAM_BOOL) {
            (void)fprintf(out, "true, false");
        } else if (row->min != 0.0 || row->max != 0.0) {
            (void)fprintf(out, "%s .. %s", pq_real_text(row->min, lo, sizeof lo),
                          pq_real_text(row->max, hi, sizeof hi));
        }
        (void)fprintf(out, " | ");
        markdown_text(row->help, out);
        (void)fprintf(out, " |\n");
    }
    if (left_out > 0) {
        (void)fprintf(out, "\nAnd %zu keys of training: see [finetune](#finetune).\n",
                      left_out);
    }
}

static void markdown_entry(const char *name, const char *summary, const char *source,
                           const pq_param *params, FILE *out)
{
    /* what prunes in training has `rounds` */
    const bool brief = params != NULL && pq_params_find(params, "rounds") != NULL;

    (void)fprintf(out, "\n### %s\n", name);
    markdown_text(summary, out);
    (void)fprintf(out, ".");
    if (source != NULL && source[0] != '\0') {
        (void)fprintf(out, " Source: ");
        markdown_text(source, out);
        (void)fprintf(out, ".");
    }
    (void)fputc('\n', out);
    markdown_params(params, brief, out);
}

static void markdown_verb(const pq_verb *v, FILE *out)
{
    (void)fprintf(out, "\n### pquant %s\n", v->name);
    markdown_text(v->summary, out);
    (void)fprintf(out, ".\n\n    pquant %s [options] %s\n\nExample: `%s`\n", v->name,
                  v->arguments, v->example);
    if (v->options == NULL) {
        return;
    }
    (void)fprintf(out, "\n| option | default | meaning |\n|---|---|---|\n");
    for (const pq_option *o = v->options; o->name != NULL; o++) {
        (void)fprintf(out, "| `");
        if (o->letter != 0) {
            (void)fprintf(out, "-%c, ", o->letter);
        }
        (void)fprintf(out, "--%s", o->name);
        for (const char *p = o->value; p != NULL && *p != '\0'; p++) {
            (void)fprintf(out, "%s%s%c", p == o->value ? " " : "", *p == '|' ? "\\" : "",
                          *p);
        }
        (void)fprintf(out, "` | %s | ", o->fallback != NULL ? o->fallback : "");
        markdown_text(o->help, out);
        (void)fprintf(out, "%s |\n", o->many ? "; may be repeated" : "");
    }
}

/* What each stage leaves of those before it. */
static void markdown_orders(FILE *out)
{
    static const struct {
        unsigned    keeps;
        const char *name;
    } parts[] = {{PQ_KEEPS_GRIDS, "grids of weights"},
                 {PQ_KEEPS_ZEROS, "pruned zeros"},
                 {PQ_KEEPS_ACTIVATIONS, "grids of activations"}};

    (void)fprintf(out,
                  "\n### Orders\nWhat a stage leaves of the stages before it, in the "
                  "layers it works on. What is undone stands in the layer's row of "
                  "the table and in the record. Quantize gives new grids in place "
                  "of old ones. Low rank, then prune, then quantize keeps all.\n\n"
                  "| then |");
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        (void)fprintf(out, " %s |", parts[k].name);
    }
    (void)fprintf(out, "\n|---|---|---|---|\n");
    for (size_t i = 0; pq_methods[i] != NULL; i++) {
        const unsigned keeps   = pq_methods[i]->keeps;
        const bool     refuses = (keeps & PQ_KEEPS_REFUSES) != 0;
        (void)fprintf(out, "| `%s` |", pq_methods[i]->name);
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            (void)fprintf(out, " %s |",
                          (keeps & parts[k].keeps) != 0 ? "kept"
                          : refuses                     ? "refused"
                                                        : "undone");
        }
        (void)fputc('\n', out);
    }
}

static void print_markdown(FILE *out)
{
    (void)fprintf(
        out, "# Reference\n\nPrinted by `pquant help markdown` from the tables that the "
             "program runs on; a test keeps them equal.\n\n## Verbs\n");
    for (size_t i = 0; pq_verbs[i] != NULL; i++) {
        markdown_verb(pq_verbs[i], out);
    }
    (void)fprintf(
        out,
        "\n## Methods\nStages of a pipeline, and `--method NAME:key=value,...`. Every "
        "method also takes `layers`, a glob of layer names (`*` is any run of "
        "characters, "
        "`?` one, `[1-3]` one of these, `[!1-3]` one other): what is asked of a rank "
        "holds "
        "for each of them, a budget for all together. Out of reach is no error: of "
        "`ratio`, `target_sparsity` and `budget` the smallest ranks are taken, of "
        "`epsilon` "
        "and `energy` the largest, and the layer's row, `unreached` in the record and "
        "the "
        "column `unreached` of table.csv say what was reached. `ratio` and "
        "`target_sparsity` of a method that is run as reconstructed count the "
        "factors.\n");
    for (size_t i = 0; pq_methods[i] != NULL; i++) {
        markdown_entry(pq_methods[i]->name, pq_methods[i]->summary, pq_methods[i]->source,
                       pq_methods[i]->params, out);
    }
    markdown_orders(out);
    (void)fprintf(out, "\n## Recipes\nSeveral stages under one name, in a pipeline; "
                       "`pquant show CONFIG` spells them out.\n");
    for (size_t i = 0; pq_recipes[i] != NULL; i++) {
        markdown_entry(pq_recipes[i]->name, pq_recipes[i]->summary, NULL,
                       pq_recipes[i]->params, out);
        (void)fprintf(out, "\n```yaml\n%s```\n", pq_recipes[i]->stages);
    }
    (void)fprintf(
        out,
        "\n## Configuration\nBlocks of a YAML configuration; `pquant show CONFIG` prints "
        "them all with their values. See also [config.md](config.md).\n");
    for (const pq_config_block *b = pq_config_blocks; b->name != NULL; b++) {
        markdown_entry(b->name, b->help, NULL, b->params, out);
    }
    (void)fprintf(out, "\n## Training\nBlocks of a configuration of `pquant train`; "
                       "`pquant show CONFIG` prints it with its defaults. See also "
                       "[training.md](training.md).\n");
    for (const pq_config_block *b = pq_train_config_blocks; b->name != NULL; b++) {
        markdown_entry(b->name, b->help, NULL, b->params, out);
    }
    (void)fprintf(out, "\n## Metrics\n");
    for (size_t i = 0; pq_metrics[i] != NULL; i++) {
        markdown_entry(pq_metrics[i]->name, pq_metrics[i]->summary, pq_metrics[i]->source,
                       pq_metrics[i]->params, out);
    }
    (void)fprintf(out, "\n## Layers\n");
    for (size_t i = 0; pq_layer_kinds[i] != NULL; i++) {
        markdown_entry(pq_layer_kinds[i]->name, pq_layer_kinds[i]->summary,
                       pq_layer_kinds[i]->source, pq_layer_kinds[i]->params, out);
    }
    (void)fprintf(out, "\n## Model formats\n");
    for (size_t i = 0; pq_formats[i] != NULL; i++) {
        markdown_entry(pq_formats[i]->name, pq_formats[i]->summary, pq_formats[i]->source,
                       NULL, out);
    }
}

bool pq_help_document(const char *name, FILE *out)
{
    static const struct {
        const char *name;
        void (*print)(FILE *out);
    } documents[] = {{"man", print_man},
                     {"completion", print_completion},
                     {"markdown", print_markdown}};

    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        if (strcmp(documents[i].name, name) == 0) {
            documents[i].print(out);
            return true;
        }
    }
    return false;
}
