/* Of timings: what was asked for and met, and what the columns of cold calls are. */
#include <math.h>
#include <stdio.h>

#include "report/tables.h"
#include "store/json.h"

static bool shows(const pq_view *v, const char *name)
{
    return pq_view_column_of(v, name) != PQ_VIEW_NONE;
}

/* How many models answer in time, and the most accurate of them. */
static void add_target(const pq_view *v, long long batch, double target, pq_text *out)
{
    char   name[64];
    size_t column, accuracy = pq_view_column_of(v, "accuracy"), best = PQ_VIEW_NONE;
    size_t timed = 0, met = 0;

    (void)snprintf(name, sizeof name, "latency.b%lld.call_s", batch);
    column = pq_view_column_of(v, name);
    for (size_t r = 0; r < v->n_rows; r++) {
        const double call = pq_view_number(v, r, column).value;
        const double mine = pq_view_number(v, r, accuracy).value;
        timed += isfinite(call);
        if (call <= target) {
            met++;
            best = best == PQ_VIEW_NONE || mine > pq_view_number(v, best, accuracy).value
                       ? r
                       : best;
        }
    }
    if (timed == 0) {
        return;
    }
    pq_text_add(out,
                "Target: %.4g ns a call of %lld event%s, the larger of dependent calls "
                "and of the median of single ones; %zu of %zu models answer in time",
                1e9 * target, batch, batch == 1 ? "" : "s", met, timed);
    if (met > 0 && isfinite(pq_view_number(v, best, accuracy).value)) {
        pq_text_add(out, ", of which the most accurate is ");
        pq_escape_add(out, v->rows[best].label, PQ_STYLE_TEXT);
        pq_text_add(out, " (");
        pq_view_add(v, best, accuracy, PQ_STYLE_TEXT, out);
        pq_text_add(out, " %s, %.3g ns)", v->columns[accuracy].unit,
                    1e9 * pq_view_number(v, best, column).value);
    }
    pq_text_add(out, ".\n");
}

void pq_notes_add_latency(const pq_view *v, pq_text *out)
{
    const long long batch  = pq_view_least_batch(v);
    const double    target = batch > 0 ? pq_view_target(v, batch) : (double)NAN;

    if (isfinite(target)) {
        add_target(v, batch, target, out);
    }
    if (shows(v, "latency.b1.l1_evicted_s") || shows(v, "latency.b1.flushed_s")) {
        pq_text_add(
            out, "L1 evicted, flushed, after 1 ms idle: medians of single calls behind "
                 "a read of four times the first-level data cache, with code and "
                 "weights in no cache (generated C), and after a sleep; p50 is hot.\n");
    }
    if (shows(v, "latency.b1.code_bytes")) {
        pq_text_add(out, "code: machine code and constants of the generated C.\n");
    }
    if (shows(v, "ebops")) {
        pq_text_add(out, "EBOPs: multiplications of one event, each counted as the bits "
                         "of its weight times those of its input.\n");
    }
}
