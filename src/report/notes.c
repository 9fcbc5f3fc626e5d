/* What a reader of the tables must know. */
#include <math.h>
#include <string.h>

#include "report/plots.h"
#include "report/tables.h"
#include "store/json.h"

enum { NAMED_MAX = 6 };

static bool has_latency(const pq_view *v)
{
    for (size_t c = 0; c < v->n_columns; c++) {
        if (strncmp(v->columns[c].name, "latency.", strlen("latency.")) == 0) {
            return true;
        }
    }
    return false;
}

static size_t count_status(const pq_view *v, const char *status)
{
    size_t n = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        n += strcmp(v->rows[r].status, status) == 0;
    }
    return n;
}

static bool is_noisy(const pq_view_row *row)
{
    return row->noise != NULL;
}

static bool is_untimed(const pq_view_row *row)
{
    return json_object_get(row->cell, "untimed") != NULL;
}

/* What a list says of a row beside its name, or "". */
static const char *reason_of(const pq_view_row *row, bool (*picked)(const pq_view_row *))
{
    return picked == is_noisy     ? row->noise
           : picked == is_untimed ? pq_json_get_text(row->cell, "untimed")
                                  : "";
}

/* Names the rows that `picked` holds for, the first three of them; noisy ones and those
 * without times with the reason. */
static void add_list(const pq_view *v, const char                 *what,
                     bool (*picked)(const pq_view_row *), pq_text *out)
{
    size_t n = 0, named = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        n += picked(&v->rows[r]);
    }
    if (n == 0) {
        return;
    }
    pq_text_add(out, "%s (%zu of %zu cells): ", what, n, v->n_rows);
    for (size_t r = 0; r < v->n_rows && named < 3; r++) {
        const pq_view_row *row = &v->rows[r];
        if (!picked(row)) {
            continue;
        }
        pq_text_add(out, "%s", named++ == 0 ? "" : "; ");
        pq_escape_add(out, row->label, PQ_STYLE_TEXT);
        if (*reason_of(row, picked) != '\0') {
            pq_text_add(out, " (");
            pq_escape_add(out, reason_of(row, picked), PQ_STYLE_TEXT);
            pq_text_add(out, ")");
        }
    }
    pq_text_add(out, n > named ? "; \xe2\x80\xa6\n" : "\n");
}

static bool is_infeasible(const pq_view_row *row)
{
    return strcmp(row->status, "infeasible") == 0;
}

static bool is_unreached(const pq_view_row *row)
{
    const json_t *record = json_object_get(row->cell, "record");

    return json_array_size(json_object_get(record, "unreached")) > 0;
}

static bool says_interpreted(const json_t *record)
{
    return json_is_true(
        json_object_get(json_object_get(record, "provenance"), "interpreted"));
}

static bool is_interpreted(const pq_view_row *row)
{
    const json_t *timings = json_object_get(row->cell, "timings");
    bool          is      = says_interpreted(json_object_get(row->cell, "record"));

    for (size_t i = 0; i < json_array_size(timings); i++) {
        is = is || says_interpreted(json_array_get(timings, i));
    }
    return is;
}

static bool is_undecided(const pq_view_row *row)
{
    return json_array_size(json_object_get(row->cell, "undecided")) > 0;
}

/* How many cells beyond those named there are. */
static void add_others(size_t n, const char *what, pq_text *out)
{
    if (n > NAMED_MAX) {
        pq_text_add(out, "And %zu more cells %s: in their records.\n", n - NAMED_MAX,
                    what);
    }
}

/* Layers that an engine of whole numbers computed in double; the reference has no grids.
 */
static void add_fallbacks(const pq_view *v, pq_text *out)
{
    size_t n = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *record     = json_object_get(v->rows[r].cell, "record");
        const json_t *provenance = json_object_get(record, "provenance");
        const json_t *lines      = json_object_get(provenance, "fallbacks"), *line;
        size_t        i;

        if (r == v->reference || json_array_size(lines) == 0 || n++ >= NAMED_MAX) {
            continue;
        }
        pq_text_add(out, "In double, not in whole numbers: ");
        pq_escape_add(out, v->rows[r].label, PQ_STYLE_TEXT);
        json_array_foreach((json_t *)lines, i, line)
        {
            pq_text_add(out, "; ");
            pq_escape_add(out, json_is_string(line) ? json_string_value(line) : "",
                          PQ_STYLE_TEXT);
        }
        pq_text_add(out, "\n");
    }
    add_others(n, "of which layers were computed in double", out);
}

/* What a record says under two keys, or NULL. */
static const json_t *said(const pq_view_row *row, const char *block, const char *key)
{
    const json_t *record = json_object_get(row->cell, "record");

    return json_object_get(json_object_get(record, block), key);
}

/* How many cells say what, each sentence with the first row: {text: [row, cells]}. */
static json_t *count_said(const pq_view *v, const char *block, const char *key)
{
    json_t *all = json_object();

    for (size_t r = 0; r < v->n_rows; r++) {
        const char *text = json_string_value(said(&v->rows[r], block, key));
        json_t     *one  = text != NULL ? json_object_get(all, text) : NULL;
        if (one != NULL) {
            const json_int_t n = json_integer_value(json_array_get(one, 1));
            (void)json_integer_set(json_array_get(one, 1), n + 1);
        } else if (text != NULL) {
            (void)json_object_set_new(all, text, json_pack("[I, i]", (json_int_t)r, 1));
        }
    }
    return all;
}

/* A sentence of the records, once for all cells that say the same. */
static void add_said(const pq_view *v, const char *title, const char *block,
                     const char *key, pq_text *out)
{
    json_t     *all = count_said(v, block, key), *one;
    size_t      n   = 0;
    const char *text;

    json_object_foreach(all, text, one)
    {
        const size_t row  = (size_t)json_integer_value(json_array_get(one, 0));
        const size_t same = (size_t)json_integer_value(json_array_get(one, 1));
        if (n++ == NAMED_MAX) {
            pq_text_add(out, "%s: %zu more sentences, in the records\n", title,
                        json_object_size(all) - NAMED_MAX);
            break;
        }
        pq_text_add(out, "%s: ", title);
        pq_escape_add(out, text, PQ_STYLE_TEXT);
        if (same < v->n_rows) {
            pq_text_add(out, " (");
            pq_escape_add(out, v->rows[row].label, PQ_STYLE_TEXT);
            pq_text_add(out, same > 1 ? ", \xe2\x80\xa6)" : ")");
        }
        pq_text_add(out, "\n");
    }
    out->failed = out->failed || all == NULL;
    json_decref(all);
}

/* Metrics that the outputs have no value of: of the first cell that says so. */
static void add_refused(const pq_view *v, pq_text *out)
{
    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *lines = said(&v->rows[r], "outputs", "refused"), *line;
        size_t        i;

        json_array_foreach((json_t *)lines, i, line)
        {
            pq_text_add(out, "Not computed: ");
            pq_escape_add(out, json_is_string(line) ? json_string_value(line) : "",
                          PQ_STYLE_TEXT);
            pq_text_add(out, "\n");
        }
        if (json_array_size(lines) > 0) {
            return;
        }
    }
}

/* Notes that intervals carry, each with the numbers it stands at: {note: {name: n}}. */
static void add_interval_notes(const pq_view *v, pq_text *out)
{
    json_t     *notes = json_object(), *names, *metric;
    const char *note, *name;

    for (size_t r = 0; r < v->n_rows; r++) {
        json_object_foreach(json_object_get(v->rows[r].cell, "metrics"), name, metric)
        {
            note = pq_json_get_text(metric, "note");
            if (*note == '\0') {
                continue;
            }
            if (json_object_get(notes, note) == NULL) {
                json_object_set_new(notes, note, json_object());
            }
            json_object_set_new(json_object_get(notes, note), name, json_null());
        }
    }
    json_object_foreach(notes, note, names)
    {
        json_t *ignored;
        size_t  n = 0;
        json_object_foreach(names, name, ignored)
        {
            if (n++ < NAMED_MAX) {
                pq_text_add(out, "%s", n > 1 ? ", " : "");
                pq_escape_add(out, name, PQ_STYLE_TEXT);
            }
        }
        pq_text_add(out, "%s: %s.\n", n > NAMED_MAX ? ", \xe2\x80\xa6" : "", note);
    }
    json_decref(notes);
}

/* Fewest of what a list of each timing holds ("samples", "processes"), or SIZE_MAX. */
static size_t fewest(const pq_view *v, const char *list)
{
    size_t least = SIZE_MAX;

    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *timings = json_object_get(v->rows[r].cell, "timings"), *timing;
        size_t        i;
        json_array_foreach((json_t *)timings, i, timing)
        {
            const json_t *all = json_object_get(json_object_get(timing, "timing"), list);
            const size_t  n   = json_array_size(all);
            least             = json_is_array(all) && n < least ? n : least;
        }
    }
    return least;
}

/* The interval of a median needs 6 values to cover 95 %; of n fewer the extremes cover
 * 1 - 2^(1 - n). The values are samples of one process, or medians of several. */
static void add_levels(const pq_view *v, pq_text *out)
{
    const size_t processes = fewest(v, "processes");
    const bool   several   = processes > 1 && processes != SIZE_MAX;
    const size_t n         = several ? processes : fewest(v, "samples");
    const char  *what = several ? "process" : "sample", *many = several ? "es" : "s";

    if (pq_view_column_of(v, "accuracy") != PQ_VIEW_NONE) {
        pq_text_add(out, "Uncertainties are 68.3 %% intervals (one sigma)%s.\n",
                    !has_latency(v) ? ""
                    : n >= 6        ? "; those of times and speed-ups are 95 %"
                                    : "; those of times and speed-ups are not");
    }
    if (has_latency(v) && n < 6) {
        pq_text_add(out,
                    "Times and speed-ups of %zu %s%s: the interval is the range of the "
                    "%s%s and covers %.3g %%, not 95 %% (6 %s%s or more would).\n",
                    n, what, n == 1 ? "" : many, what, many,
                    100.0 * (1.0 - pow(2.0, 1.0 - (double)n)), what, many);
    }
    if (has_latency(v) && several) {
        pq_text_add(out,
                    "Times are medians over %zu processes, each started anew, and their "
                    "intervals count what these differ by.\n",
                    processes);
    } else if (has_latency(v) && processes == 1) {
        pq_text_add(out,
                    "Times are of one process: where code and data lie is drawn anew "
                    "in another, which no interval here counts "
                    "(latency.processes).\n");
    }
}

/* How the events were weighted, what was left out of them and what was assumed. */
static void add_events(const pq_view *v, pq_text *out)
{
    const char *assumed = pq_json_get_text(v->results, "assumed");

    if (isfinite(v->effective)) {
        pq_text_add(out, "Events are weighted: ");
        pq_count_add(out, v->events, PQ_STYLE_TEXT);
        pq_text_add(out, " events, worth ");
        pq_count_add(out, v->effective, PQ_STYLE_TEXT);
        pq_text_add(out, " of weight 1.\n");
    }
    if (*assumed != '\0') {
        pq_text_add(out, "Of the inputs: ");
        pq_escape_add(out, assumed, PQ_STYLE_TEXT);
        pq_text_add(out, ".\n");
    }
}

/* Why there is no picture of large confusion matrices. */
static void add_confusions(const pq_view *v, pq_text *out)
{
    size_t most = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *record = json_object_get(v->rows[r].cell, "record");
        const size_t  n      = json_array_size(json_object_get(record, "confusion"));
        most                 = n > most ? n : most;
    }
    if (most > PQ_CONFUSION_CLASSES_MAX) {
        pq_text_add(out,
                    "Confusion matrices of %zu classes are not drawn (at most %d are); "
                    "they stand in the records.\n",
                    most, PQ_CONFUSION_CLASSES_MAX);
    }
}

/* Where batch sizes were timed on different engines: what the second decides otherwise.
 */
static void add_other_decisions(const pq_view *v, pq_text *out)
{
    size_t n = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *record = json_object_get(v->rows[r].cell, "record");
        json_t       *others = json_object_get(record, "engines"), *other;
        const char   *name;
        if (strchr(v->rows[r].engine, '/') == NULL || n++ >= NAMED_MAX) {
            continue;
        }
        json_object_foreach(others, name, other)
        {
            pq_escape_add(out, v->rows[r].label, PQ_STYLE_TEXT);
            pq_text_add(out, ": float32 and %s decide %lld events differently.\n", name,
                        (long long)json_integer_value(json_object_get(other, "differs")));
        }
    }
    add_others(n, "with two engines", out);
}

void pq_tables_add_notes(const pq_view *v, pq_text *out)
{
    const size_t missing = count_status(v, "missing") + count_status(v, "interrupted");

    add_levels(v, out);
    add_events(v, out);
    add_confusions(v, out);
    add_interval_notes(v, out);
    if (pq_view_column_of(v, "delta_accuracy") != PQ_VIEW_NONE) {
        pq_text_add(out,
                    "\xce\x94 acc.: difference to the reference in percentage points, on "
                    "the same "
                    "events; the two are correlated, so their intervals do not add in "
                    "quadrature.\n");
    }
    if (pq_view_column_of(v, "size_ratio") != PQ_VIEW_NONE) {
        pq_text_add(out,
                    "ratio: stored bytes of the reference over those of the model.\n");
    }
    if (has_latency(v)) {
        pq_text_add(out, "Times hold for this host and this run only; the speed-up is "
                         "against the reference in the same rounds (b = batch size).\n");
    }
    pq_notes_add_latency(v, out);
    add_said(v, "Inputs", "inputs", "scaling", out);
    add_said(v, "Warning", "inputs", "doubt", out);
    add_said(v, "Outputs", "outputs", "meaning", out);
    add_refused(v, out);
    if (v->timed) {
        pq_text_add(out,
                    "engine: what was timed, and what gave the other numbers; float32 "
                    "computes in float32, int8 in bytes where a layer has both "
                    "weights and activations of at most 8 bits, generated in compiled C; "
                    "of two, by batch "
                    "size, the first gave the other numbers.\n");
    }
    add_other_decisions(v, out);
    add_list(
        v,
        "Not of generated C, for want of a compiler: of the engine that their records "
        "name under kernels",
        is_interpreted, out);
    add_list(v, "Noisy timing", is_noisy, out);
    add_list(v, "Not timed", is_untimed, out);
    add_list(v,
             "Not as small or exact as was asked for, which is out of reach; table.csv, "
             "column unreached, says what was reached",
             is_unreached, out);
    add_list(v, "Outside the constraints, or with a recall below its floor",
             is_infeasible, out);
    add_list(v, "Not judged by every constraint, for want of a value", is_undecided, out);
    add_fallbacks(v, out);
    if (missing > 0) {
        pq_text_add(out, "%zu of %zu cells %s not been run yet.\n", missing, v->n_rows,
                    missing == 1 ? "has" : "have");
    }
}
