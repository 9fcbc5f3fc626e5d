#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "cli/compare.h"
#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "lab/pair.h"
#include "metrics/paired.h"
#include "report/sheet.h"
#include "store/json.h"

/* One of the two models, and what it gives. */
typedef struct {
    const char  *path;
    pq_graph    *graph;
    pq_dataset  *dataset; /* with the columns that this model names */
    pq_evaluated result;
} side;

typedef struct {
    side             sides[2];
    pq_btag_params   btag;
    pq_sheet         metrics, tags;
    bool             decided;
    pq_decision_pair all; /* of all events, where decided */
    size_t           n_pairs;
    pq_tag_pair     *pairs; /* [n_pairs], of flavour tagging */
} comparison;

static const pq_sheet_column metric_columns[] = {
    {"metric", "metric", PQ_SHEET_TEXT, 1.0, 0},
    {"first", "A", PQ_SHEET_INTERVAL, 1.0, 4},
    {"second", "B", PQ_SHEET_INTERVAL, 1.0, 4},
    {"difference", "B - A", PQ_SHEET_INTERVAL, 1.0, 4},
    {"p", "p", PQ_SHEET_NUMBER, 1.0, 2},
};

static const pq_sheet_column tag_columns[] = {
    {"working_point", "b eff. / %", PQ_SHEET_NUMBER, 100.0, 3},
    {"background", "background", PQ_SHEET_TEXT, 1.0, 0},
    {"first", "rejection, A", PQ_SHEET_INTERVAL, 1.0, 3},
    {"second", "B", PQ_SHEET_INTERVAL, 1.0, 3},
    {"ratio", "B / A", PQ_SHEET_INTERVAL, 1.0, 3},
    {"p", "p", PQ_SHEET_NUMBER, 1.0, 2},
    {"efficiency_reused", "B at A's cut: b eff. / %", PQ_SHEET_INTERVAL, 100.0, 3},
    {"reused", "rejection", PQ_SHEET_INTERVAL, 1.0, 3},
};

/* Whether a key of metric btag has a part in what is compared; unknown ones are told by
 * name later. */
static bool is_compared(const char *key)
{
    static const char *const keys[] = {"f_c", "f_tau", "working_points", "cut_error"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return pq_params_find(pq_btag_table, key) == NULL;
}

/* Keys of metric btag, each as KEY=VALUE. */
static pq_status read_keys(const pq_args *args, pq_btag_params *out, pq_err *err)
{
    size_t             n     = 0;
    const char *const *given = pq_args_values(args, "btag", &n);
    char              *key   = NULL;
    pq_status          st;

    PQ_TRY(pq_params_default(pq_btag_table, out, err));
    for (size_t i = 0; i < n; i++) {
        const char *equals = strchr(given[i], '=');
        PQ_CHECK(equals != NULL, PQ_ERR_CONFIG, "--btag: '%s' is not KEY=VALUE",
                 given[i]);
        key = pq_format("%.*s", (int)(equals - given[i]), given[i]);
        PQ_CHECK(key != NULL, PQ_ERR_NOMEM, "cannot allocate a key");
        PQ_CHECK(is_compared(key), PQ_ERR_CONFIG,
                 "--btag: '%s' has no part in a comparison; f_c, f_tau, working_points "
                 "and cut_error have",
                 key);
        st = pq_params_set(pq_btag_table, out, key, equals + 1, err);
        if (st != PQ_OK) {
            pq_err_context(err, "--btag");
            goto cleanup;
        }
        pq_free(key);
        key = NULL;
    }
cleanup:
    pq_free(key);
    return st;
}

static pq_status open_side(const pq_args *args, size_t at, const char *path,
                           const char *split, side *s, size_t *number, pq_err *err)
{
    pq_dataset_options columns = {0};
    pq_status          st;

    s->path = pq_args_get(args, at);
    PQ_TRY(at == 0 ? pq_args_model(args, at, &s->graph, err)
                   : pq_model_load(s->path, NULL, &s->graph, err));
    PQ_TRY(pq_args_head(args, s->graph, err));
    PQ_TRY(pq_args_nonfinite(args, &columns.nonfinite, err));
    pq_args_columns(args, s->graph, &columns);
    PQ_TRY(pq_dataset_open(path, &columns, &s->dataset, err));
    PQ_TRY(pq_dataset_split(s->dataset, split, number, err));
    PQ_TRY(pq_args_scaler(args, s->graph, pq_dataset_describe(s->dataset), err));
    pq_args_note_scaler(args, s->graph, pq_dataset_describe(s->dataset));
cleanup:
    return st;
}

static pq_status evaluate(const pq_args *args, comparison *c, pq_err *err)
{
    const pq_progress   progress = pq_args_progress(args);
    pq_evaluate_options how      = {
             .predict = {.engine = pq_args_value(args, "engine"), .progress = &progress},
             .negative_weights = pq_args_flag(args, "negative-weights")};
    char     *path = NULL, *split = NULL;
    size_t    number;
    pq_status st;

    PQ_TRY(pq_args_size(args, "threads", 0, 1024, &how.predict.threads, err));
    PQ_TRY(pq_args_size(args, "limit", 0, SIZE_MAX / 2, &how.predict.limit, err));
    PQ_TRY(pq_dataset_spec(pq_args_value(args, "data"), &path, &split, err));
    for (size_t k = 0; k < 2; k++) {
        side *s = &c->sides[k];
        PQ_TRY(open_side(args, k, path, split, s, &number, err));
        how.file_bytes = pq_file_bytes(s->path);
        st             = pq_evaluate(s->graph, s->dataset, number, &how, &s->result, err);
        pq_progress_done();
        if (st != PQ_OK) {
            pq_err_context(err, "%s", s->path);
            goto cleanup;
        }
        if (*s->result.doubt != '\0' && !pq_args_flag(args, "quiet")) {
            pq_say(stderr, "warning: %s: %s\n", s->path, s->result.doubt);
        }
    }
cleanup:
    pq_free(path);
    pq_free(split);
    return st;
}

/* Decisions are paired for accuracy, and for the recall of a class that has events. */
static pq_status pair_of(const comparison *c, const pq_value *v, pq_decision_pair *out,
                         bool *there, pq_err *err)
{
    const bool all = strcmp(v->name, "accuracy") == 0;
    pq_status  st  = PQ_OK;

    *there =
        c->decided && isfinite(v->value) && (all || strncmp(v->name, "recall.", 7) == 0);
    if (*there && all) {
        *out = c->all;
    } else if (*there) {
        PQ_TRY(pq_pair_decisions(v->name + 7, &c->sides[0].result, &c->sides[1].result,
                                 out, err));
    }
cleanup:
    return st;
}

static pq_status add_metric(comparison *c, const pq_value *a, const pq_value *b,
                            pq_err *err)
{
    pq_decision_pair pair;
    bool             there;
    pq_status        st;

    PQ_TRY(pair_of(c, a, &pair, &there, err));
    pq_sheet_add_text(&c->metrics, a->name);
    pq_sheet_add_number(&c->metrics, a->value, a->lo, a->hi);
    pq_sheet_add_number(&c->metrics, b->value, b->lo, b->hi);
    if (there) {
        pq_sheet_add_number(&c->metrics, pair.difference.value, pair.difference.lo,
                            pair.difference.hi);
    } else {
        pq_sheet_add_number(&c->metrics, b->value - a->value, (double)NAN, (double)NAN);
    }
    pq_sheet_add_number(&c->metrics, there ? pair.p : (double)NAN, (double)NAN,
                        (double)NAN);
cleanup:
    return st;
}

static pq_status compare_metrics(comparison *c, pq_err *err)
{
    const pq_evaluated *a = &c->sides[0].result, *b = &c->sides[1].result;
    pq_status           st = PQ_OK;

    PQ_CHECK(a->n == b->n, PQ_ERR_CONFIG,
             "the models see %zu and %zu events: columns that only one reads hold NaN or "
             "infinity in some of them",
             a->n, b->n);
    c->decided = a->decided && b->decided;
    if (c->decided) {
        PQ_TRY(pq_pair_decisions(NULL, a, b, &c->all, err));
    }
    for (size_t i = 0; i < a->values.n; i++) {
        const pq_value *v     = &a->values.items[i];
        const pq_value *other = pq_values_find(&b->values, v->name);
        if (other != NULL && strncmp(v->name, "btag.", 5) != 0 &&
            strncmp(v->name, "ctag.", 5) != 0) {
            PQ_TRY(add_metric(c, v, other, err));
        }
    }
cleanup:
    return st;
}

static void add_tag(pq_sheet *s, const pq_tag_pair *p)
{
    pq_sheet_add_number(s, p->rate, (double)NAN, (double)NAN);
    pq_sheet_add_text(s, pq_flavour_name(p->background));
    pq_sheet_add_number(s, p->first.value, p->first.lo, p->first.hi);
    pq_sheet_add_number(s, p->second.value, p->second.lo, p->second.hi);
    pq_sheet_add_number(s, p->ratio.value, p->ratio.lo, p->ratio.hi);
    pq_sheet_add_number(s, p->p, (double)NAN, (double)NAN);
    pq_sheet_add_number(s, p->efficiency.value, p->efficiency.lo, p->efficiency.hi);
    pq_sheet_add_number(s, p->reused.value, p->reused.lo, p->reused.hi);
}

/* Where both models' classes are flavours; where keys were given they must be. */
static pq_status compare_tags(const pq_args *args, comparison *c, pq_err *err)
{
    pq_tagged     jets[2] = {0};
    pq_evaluation views[2];
    bool          wanted = true;
    size_t        given  = 0;
    pq_status     st     = PQ_OK;

    (void)pq_args_values(args, "btag", &given);
    for (size_t k = 0; k < 2; k++) {
        views[k] = pq_evaluated_view(&c->sides[k].result, c->sides[k].graph, 0);
        wanted =
            wanted && pq_values_find(&c->sides[k].result.values, "btag.distinct") != NULL;
    }
    if (!wanted && given == 0) {
        return PQ_OK;
    }
    for (size_t k = 0; k < 2; k++) {
        PQ_TRY(pq_btag_jets(&views[k], PQ_FLAVOUR_B, &c->btag, &jets[k], err));
    }
    PQ_TRY(pq_tagged_compare(&jets[0], &jets[1], &c->btag.working_points,
                             c->btag.cut_error, &c->pairs, &c->n_pairs, err));
    for (size_t i = 0; i < c->n_pairs; i++) {
        add_tag(&c->tags, &c->pairs[i]);
    }
cleanup:
    pq_tagged_free(&jets[0]);
    pq_tagged_free(&jets[1]);
    return st;
}

static json_t *number_json(const pq_sheet_cell *cell)
{
    return json_pack("{s:o, s:o, s:o}", "value", pq_json_real(cell->number.value), "lo",
                     pq_json_real(cell->number.lo), "hi", pq_json_real(cell->number.hi));
}

static json_t *sheet_json(const pq_sheet *s)
{
    json_t *rows = json_array(), *row = NULL;

    for (size_t i = 0; i < s->n; i++) {
        const pq_sheet_column *column = &s->columns[i % s->n_columns];
        const pq_sheet_cell   *cell   = &s->cells[i];
        if (i % s->n_columns == 0) {
            row = json_object();
            (void)json_array_append_new(rows, row);
        }
        (void)json_object_set_new(row, column->name,
                                  column->kind == PQ_SHEET_TEXT ? json_string(cell->text)
                                  : column->kind == PQ_SHEET_NUMBER
                                      ? pq_json_real(cell->number.value)
                                      : number_json(cell));
    }
    return rows;
}

static pq_status print_json(const comparison *c, pq_err *err)
{
    json_t *json = json_pack(
        "{s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "first", pq_json_shown(c->sides[0].path),
        "second", pq_json_shown(c->sides[1].path), "events",
        (json_int_t)c->sides[0].result.n, "first_alone",
        c->decided ? json_integer((json_int_t)c->all.first_alone) : json_null(),
        "second_alone",
        c->decided ? json_integer((json_int_t)c->all.second_alone) : json_null(),
        "metrics", sheet_json(&c->metrics), "btag", sheet_json(&c->tags));
    pq_status st = PQ_OK;

    PQ_CHECK(json != NULL && pq_say_json(json), PQ_ERR_NOMEM,
             "cannot print the result as JSON");
cleanup:
    json_decref(json);
    return st;
}

/* What a reader of the tables must know. */
static void add_notes(const comparison *c, pq_text *out)
{
    const pq_evaluated *a = &c->sides[0].result;

    pq_text_add(out, "A: %s\nB: %s\n%zu events%s. Uncertainties are 68.3 %% intervals.\n",
                c->sides[0].path, c->sides[1].path, a->n,
                a->weights == NULL  ? ""
                : a->n_negative > 0 ? ", weighted, some negatively"
                                    : ", weighted");
    if (c->decided) {
        pq_text_add(out,
                    "A alone decides %zu events right, B alone %zu; p: McNemar, exact.\n",
                    c->all.first_alone, c->all.second_alone);
        if (c->all.difference.note != NULL) {
            pq_text_add(out, "accuracy: %s.\n", c->all.difference.note);
        }
    }
    for (size_t i = 0; i < c->n_pairs; i++) {
        const pq_tag_pair *p = &c->pairs[i];
        if (p->ratio.note != NULL) {
            pq_text_add(out, "%.10g %%, %s: %s.\n", 100.0 * p->rate,
                        pq_flavour_name(p->background), p->ratio.note);
        }
    }
    if (c->n_pairs > 0) {
        pq_text_add(out,
                    "Ratios: paired bootstrap over jets, each model at a cut of its "
                    "own; f_c = %g, f_tau = %g.\n",
                    c->btag.f_c, c->btag.f_tau);
    }
}

static pq_status print(const comparison *c, const char *format, pq_err *err)
{
    const pq_style style = strcmp(format, "markdown") == 0 ? PQ_STYLE_MARKDOWN
                           : strcmp(format, "tex") == 0    ? PQ_STYLE_TEX
                                                           : PQ_STYLE_TEXT;
    pq_text        text = {0}, notes = {0};
    char          *rest, *line;
    pq_status      st = PQ_OK;

    if (strcmp(format, "csv") ==
        0) { /* of a tagger its working points, else the metrics */
        pq_sheet_csv(c->n_pairs > 0 ? &c->tags : &c->metrics, &text);
    } else {
        add_notes(c, &notes);
        pq_sheet_print(&c->metrics, style, &text);
        pq_text_add(&text, "\n");
        pq_sheet_print(&c->tags, style, &text);
        pq_text_add(&text, "%s", c->n_pairs > 0 ? "\n" : "");
        rest = notes.text;
        while (!notes.failed && (line = strsep(&rest, "\n")) != NULL && *line != '\0') {
            pq_text_add(&text, "%s", style == PQ_STYLE_TEX ? "% " : "");
            pq_escape_add(&text, line, style == PQ_STYLE_TEX ? PQ_STYLE_TEXT : style);
            pq_text_add(&text, style == PQ_STYLE_MARKDOWN ? "\n\n" : "\n");
        }
    }
    PQ_CHECK(!text.failed && !notes.failed, PQ_ERR_NOMEM, "cannot allocate the tables");
    pq_say_lines(stdout, text.text);
cleanup:
    pq_text_free(&text);
    pq_text_free(&notes);
    return st;
}

pq_status pq_compare_models(const pq_args *args, pq_err *err)
{
    comparison c = {
        .metrics = {.columns   = metric_columns,
                    .n_columns = sizeof metric_columns / sizeof *metric_columns},
        .tags    = {.columns   = tag_columns,
                    .n_columns = sizeof tag_columns / sizeof *tag_columns}};
    const char *format;
    pq_status   st;

    PQ_TRY(pq_args_format(args, "table json markdown csv tex", &format, err));
    PQ_TRY(read_keys(args, &c.btag, err));
    PQ_TRY(evaluate(args, &c, err));
    PQ_TRY(compare_metrics(&c, err));
    PQ_TRY(compare_tags(args, &c, err));
    PQ_TRY(strcmp(format, "json") == 0 ? print_json(&c, err) : print(&c, format, err));
cleanup:
    pq_free(c.pairs);
    pq_sheet_free(&c.metrics);
    pq_sheet_free(&c.tags);
    pq_params_free(pq_btag_table, &c.btag);
    for (size_t k = 0; k < 2; k++) {
        pq_evaluated_free(&c.sides[k].result);
        pq_dataset_close(&c.sides[k].dataset);
        pq_graph_free(&c.sides[k].graph);
    }
    return st;
}
