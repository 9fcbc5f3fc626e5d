#include "report/words.h"

#include <math.h>
#include <string.h>

static void add_value(const pq_view *v, size_t row, const char *name, pq_text *out)
{
    const size_t c = pq_view_column_of(v, name);

    pq_view_add(v, row, c, PQ_STYLE_TEXT, out);
    if (*v->columns[c].unit != '\0') {
        pq_text_add(out, "\xc2\xa0%s", v->columns[c].unit); /* does not break */
    }
}

static bool has(const pq_view *v, size_t row, const char *name)
{
    return isfinite(pq_view_number(v, row, pq_view_column_of(v, name)).value);
}

static void add_reference(const pq_view *v, pq_text *out)
{
    if (v->reference == PQ_VIEW_NONE || !has(v, v->reference, "accuracy")) {
        return;
    }
    if (isfinite(v->events)) {
        pq_text_add(out, "On ");
        pq_count_add(out, v->events, PQ_STYLE_TEXT);
        pq_text_add(out, " events");
        if (isfinite(v->effective)) {
            pq_text_add(out, " (weighted, worth ");
            pq_count_add(out, v->effective, PQ_STYLE_TEXT);
            pq_text_add(out, " of weight 1)");
        }
        pq_text_add(out, "%s%s the ", *v->dataset != '\0' ? " of " : "", v->dataset);
    } else {
        pq_text_add(out, "The ");
    }
    pq_text_add(out, "uncompressed model has an accuracy of ");
    add_value(v, v->reference, "accuracy", out);
    if (has(v, v->reference, "stored_bytes")) {
        pq_text_add(out, " and stores ");
        add_value(v, v->reference, "stored_bytes", out);
    }
    pq_text_add(out, ". ");
}

static void add_model(const pq_view *v, size_t row, pq_text *out)
{
    add_value(v, row, "stored_bytes", out);
    pq_text_add(out, ", ");
    add_value(v, row, "size_ratio", out);
    pq_text_add(out, " times smaller, at ");
    add_value(v, row, "accuracy", out);
    pq_text_add(out, " (");
    add_value(v, row, "delta_accuracy", out);
    pq_text_add(out, ")");
    if (has(v, row, "latency.b1.ratio")) {
        pq_text_add(out, "; one event at a time it runs at ");
        add_value(v, row, "latency.b1.ratio", out);
        pq_text_add(out, " times the reference's speed%s",
                    v->rows[row].noise != NULL ? " (noisy timing)" : "");
    }
    pq_text_add(out, ". ");
}

static void add_gaps(const pq_view *v, pq_text *out)
{
    size_t failed = 0, open = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        failed += pq_view_failed(&v->rows[r]);
        open += !v->rows[r].done && !pq_view_failed(&v->rows[r]);
    }
    if (failed > 0) {
        pq_text_add(out, "%zu of %zu cells failed. ", failed, v->n_rows);
    }
    if (open > 0) {
        pq_text_add(out, "%zu of %zu cells %s not been run yet. ", open, v->n_rows,
                    open == 1 ? "has" : "have");
    }
}

/* The best compressed model, or that there is none: of models whose size and accuracy
 * were measured alone. */
static void add_best(const pq_view *v, pq_text *out)
{
    const size_t considered = v->compared - v->aside;

    if (v->best != PQ_VIEW_NONE) {
        pq_text_add(out,
                    "Of %zu compressed model%s the smallest that stays within %g point "
                    "is %s: ",
                    considered, considered == 1 ? "" : "s", 100.0 * PQ_VIEW_TOLERANCE,
                    v->rows[v->best].label);
        add_model(v, v->best, out);
    } else if (considered == 1) {
        pq_text_add(out,
                    "The compressed model is not smaller and within %g point at once. ",
                    100.0 * PQ_VIEW_TOLERANCE);
    } else if (considered > 0) {
        pq_text_add(
            out, "None of %zu compressed models is smaller and stays within %g point. ",
            considered, 100.0 * PQ_VIEW_TOLERANCE);
    }
    if (v->aside > 0) {
        pq_text_add(out, "%zu model%s outside the constraints %s left aside. ", v->aside,
                    v->aside == 1 ? "" : "s", v->aside == 1 ? "is" : "are");
    }
}

/* Models that were not compared, since their size or accuracy was not measured. */
static void add_unmeasured(const pq_view *v, pq_text *out)
{
    size_t done = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        done += v->rows[r].done && r != v->reference;
    }
    if (done > 0 && pq_view_column_of(v, "accuracy") == PQ_VIEW_NONE) {
        pq_text_add(out, "Accuracy was not measured. ");
    } else if (done > v->compared && v->reference != PQ_VIEW_NONE) {
        pq_text_add(out,
                    "Size or accuracy of %zu of %zu compressed model%s not measured. ",
                    done - v->compared, done, done == 1 ? " was" : "s was");
    }
}

void pq_words_summary(const pq_view *v, pq_text *out)
{
    add_reference(v, out);
    add_best(v, out);
    if (v->strong != PQ_VIEW_NONE) {
        pq_text_add(out, "Within %g points, %s goes down to ", 1000.0 * PQ_VIEW_TOLERANCE,
                    v->rows[v->strong].label);
        add_model(v, v->strong, out);
    }
    add_unmeasured(v, out);
    add_gaps(v, out);
}
