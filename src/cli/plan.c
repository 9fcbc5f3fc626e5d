/* The verbs that look at a plan: plan, explain. */
#include <string.h>

#include <jansson.h>

#include "cli/config.h"
#include "core/memory.h"
#include "store/shelf.h"
#include "sweep/plan.h"

static const pq_option config_options[] = {
    PQ_SET_OPTION,
    PQ_AXIS_OPTION,
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

static json_t *cell_json(const pq_cell *cell, bool done)
{
    json_t *stages = json_array();

    for (size_t s = 0; s < cell->variant->n_stages; s++) {
        pq_text text = {0};
        pq_stage_print(cell->variant->stages[s], &text);
        (void)json_array_append_new(stages,
                                    json_string(text.text != NULL ? text.text : ""));
        pq_text_free(&text);
    }
    return json_pack("{s:I, s:s, s:s, s:I, s:o, s:s, s:b}", "order",
                     (json_int_t)cell->order, "pipeline", cell->pipeline->name, "label",
                     cell->variant->label, "repeat", (json_int_t)cell->repeat, "stages",
                     stages, "eval", cell->eval, "done", done);
}

static pq_status plan(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_config  *config = NULL;
    pq_cells    cells  = {0};
    pq_shelf   *shelf  = NULL;
    json_t     *list   = json_array();
    const char *format;
    pq_status   st;

    (void)exit_code;
    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(pq_args_config(args, &config, err));
    PQ_TRY(pq_cells_plan(config, NULL, &cells, err));
    PQ_TRY(pq_shelf_open(cells.dir, &shelf, err));
    for (size_t i = 0; i < cells.n; i++) {
        const pq_cell *cell = &cells.cells[i];
        const bool     done = pq_shelf_done(shelf, cell->eval);
        if (strcmp(format, "json") == 0) {
            (void)json_array_append_new(list, cell_json(cell, done));
        } else {
            pq_say(stdout, "%3zu  %-32s %.12s  %s\n", i, cell->variant->label, cell->eval,
                   done ? "cached" : "new");
        }
    }
    if (strcmp(format, "json") == 0) {
        (void)pq_say_json(list);
    }
cleanup:
    json_decref(list);
    pq_shelf_close(&shelf);
    pq_cells_free(&cells);
    pq_config_free(&config);
    return st;
}

const pq_verb pq_verb_plan = {
    .name      = "plan",
    .summary   = "list the cells of a configuration, and which are cached",
    .arguments = "CONFIG",
    .min_args  = 1,
    .max_args  = 1,
    .options   = config_options,
    .example   = "pquant plan configs/quickstart.yaml",
    .run       = plan,
};

static const pq_option explain_options[] = {PQ_SET_OPTION, PQ_AXIS_OPTION, {0}};

/* The cell that a text means: its number, its label, or the start of one of its keys. */
static pq_status find_cell(const pq_cells *cells, const char *text, const pq_cell **out,
                           pq_err *err)
{
    const size_t n      = strlen(text);
    const char  *near   = NULL;
    const char **labels = NULL;
    int64_t      number = -1;
    pq_status    st;

    PQ_NEW(labels, cells->n);
    for (size_t i = 0; i < cells->n; i++) {
        labels[i] = cells->cells[i].variant->label;
    }
    *out = pq_parse_int(text, &number) && number >= 0 && (size_t)number < cells->n
               ? &cells->cells[number]
               : NULL;
    for (size_t i = 0; *out == NULL && i < cells->n; i++) {
        *out = strcmp(labels[i], text) == 0 ? &cells->cells[i] : NULL;
    }
    for (size_t i = 0; *out == NULL && n >= 6 && i < cells->n; i++) {
        const pq_cell *c  = &cells->cells[i];
        const bool     is = strncmp(c->eval, text, n) == 0 ||
                        strncmp(c->artifact[c->variant->n_stages], text, n) == 0;
        *out = is ? c : NULL;
    }
    near = *out == NULL ? pq_nearest(text, labels, cells->n) : NULL;
    PQ_CHECK(*out != NULL, PQ_ERR_CONFIG,
             "no cell has the label '%s', this number in 0..%zu, or a key that starts "
             "so%s%s%s",
             text, cells->n - 1, near != NULL ? "; did you mean '" : "",
             near != NULL ? near : "", near != NULL ? "'?" : "");
cleanup:
    pq_free(labels);
    return st;
}

/* Whether a line stands in a text. */
static bool has_line(const char *text, const char *line, size_t n)
{
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, line, n) == 0 && (at[n] == '\n' || at[n] == '\0')) {
            return true;
        }
        if (*at == '\0') {
            break;
        }
    }
    return false;
}

/* Lines of a text that another does not have. */
static void print_lines_without(const char *text, const char *other, const char *mark)
{
    for (const char *at = text; *at != '\0';) {
        const size_t n = strcspn(at, "\n");
        if (n > 0 && !has_line(other, at, n)) {
            pq_say(stdout, "%s %.*s\n", mark, (int)n, at);
        }
        at += n + (at[n] == '\n');
    }
}

static pq_status explain(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_config     *config = NULL;
    pq_cells       cells  = {0};
    pq_text        a = {0}, b = {0};
    const pq_cell *cell = NULL, *other = NULL;
    pq_status      st;

    (void)exit_code;
    PQ_TRY(pq_args_config(args, &config, err));
    PQ_TRY(pq_cells_plan(config, NULL, &cells, err));
    PQ_TRY(find_cell(&cells, pq_args_get(args, 1), &cell, err));
    pq_cell_explain(&cells, cell, &a);
    if (pq_args_count(args) > 2) {
        PQ_TRY(find_cell(&cells, pq_args_get(args, 2), &other, err));
        pq_cell_explain(&cells, other, &b);
    }
    PQ_CHECK(!a.failed && !b.failed, PQ_ERR_NOMEM, "cannot allocate the texts of keys");
    if (other == NULL) {
        pq_say_lines(stdout, a.text);
        goto cleanup;
    }
    pq_say(stdout, "- %s\n+ %s\n", cell->variant->label, other->variant->label);
    print_lines_without(a.text, b.text, "-");
    print_lines_without(b.text, a.text, "+");
cleanup:
    pq_text_free(&a);
    pq_text_free(&b);
    pq_cells_free(&cells);
    pq_config_free(&config);
    return st;
}

const pq_verb pq_verb_explain = {
    .name = "explain",
    .summary =
        "print the texts whose hashes are the keys of a cell (its label, number, or "
        "the start of a key), or the lines in which two cells differ",
    .arguments = "CONFIG CELL [OTHER]",
    .min_args  = 2,
    .max_args  = 3,
    .options   = explain_options,
    .example   = "pquant explain configs/quickstart.yaml 'svd rank=4' 'svd rank=8'",
    .run       = explain,
};
