#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/plot.h"

enum { BARS_MAX = 28 };

/* Smallest batch size that was timed, as digits; "" when none was. */
static void find_batch(const pq_view *v, char *out, size_t size)
{
    size_t least = 0, batch;

    out[0] = '\0';
    for (size_t c = 0; c < v->n_columns; c++) {
        if (sscanf(v->columns[c].name, "latency.b%zu.ratio", &batch) == 1 &&
            strstr(v->columns[c].name, ".ratio") != NULL &&
            (least == 0 || batch < least)) {
            least = batch;
            (void)snprintf(out, size, "%zu", batch);
        }
    }
}

/* What the bar's time is of: an engine's name holds no quotes. */
static const char *engine_of(const pq_plot *p, size_t row)
{
    char batch[24], name[64];

    find_batch(p->v, batch, sizeof batch);
    (void)snprintf(name, sizeof name, "latency.b%s.engine", batch);
    return pq_view_text(json_object_get(p->v->rows[row].cell, "engines"), name);
}

/* A row of data and its two ticks: the label on the left, the time on the right. */
static void add_bar(pq_plot *p, size_t row, pq_number speed_up, size_t time, size_t bar,
                    pq_text *times)
{
    const pq_view  *v  = p->v;
    const pq_number t  = pq_view_number(v, row, time);
    const double    lo = isfinite(speed_up.lo) ? speed_up.lo : speed_up.value;
    const double    hi = isfinite(speed_up.hi) ? speed_up.hi : speed_up.value;

    pq_text_add(&p->data, "%zu %.6g %.6g %.6g %d %.6g\n", bar, speed_up.value, lo, hi,
                row == v->reference, t.value);
    pq_text_add(&p->body, "%s",
                bar == 0 ? "set ytics noenhanced font small scale 0 (" : ", ");
    pq_plot_quote(&p->body, v->rows[row].label, 30);
    pq_text_add(&p->body, " %zu", bar);
    pq_text_add(times, "%s'", bar == 0 ? "set y2tics font small scale 0 (" : ", ");
    pq_number_add(times, (pq_number){t.value, (double)NAN, (double)NAN},
                  v->columns[time].scale, 3, PQ_STYLE_TEXT);
    if (*v->rows[row].engine != '\0') {
        pq_text_add(times, " %s", engine_of(p, row));
    }
    pq_text_add(times, "' %zu", bar);
}

/* All bars; returns how many there are, and how many more there would be. */
static size_t add_bars(pq_plot *p, size_t ratio, size_t time, size_t *left,
                       double *largest, pq_text *times)
{
    size_t bars = 0;

    *left    = 0;
    *largest = 1.0;
    for (size_t r = 0; r < p->v->n_rows; r++) {
        const pq_number number = pq_view_number(p->v, r, ratio);
        if (!isfinite(number.value)) {
            continue;
        }
        if (bars == BARS_MAX) {
            ++*left;
            continue;
        }
        *largest = fmax(*largest, isfinite(number.hi) ? number.hi : number.value);
        add_bar(p, r, number, time, bars++, times);
    }
    return bars;
}

static void add_commands(pq_plot *p, const char *batch, const char *unit, size_t bars,
                         double largest)
{
    pq_text_add(&p->body,
                "set label 1 at screen 0.03, graph 1.045\n"
                "set label 2 at screen 0.03, graph 1.045\n"
                "unset key\nset border 3\nset xtics nomirror\nset grid noytics\n"
                "set yrange [%zu.6:-0.6]\nset y2range [%zu.6:-0.6]\nset xrange [0:%.6g]\n"
                "set xlabel 'speed-up over the reference, batch size %s'\n"
                "set y2label 'median time of a call / %s, engine'\n"
                "set arrow 1 from 1, graph 0 to 1, graph 1 nohead front dashtype 2 "
                "linewidth 1.5 linecolor rgb '#000000'\n",
                bars - 1, bars - 1, largest * 1.06, batch, unit);
    pq_text_add(
        &p->body,
        "color(r) = r > 0 ? 0x999999 : 0x0072B2\n"
        "plot '%s' using ($2/2):1:($2/2):(0.36):(color($5)) with boxxyerror "
        "linecolor rgb variable fillstyle solid 0.85 noborder, \\\n"
        "  '' using 2:1:3:4 with xerrorbars pointtype 0 linecolor rgb '#000000'\n",
        p->data_name);
}

pq_status pq_plot_latency(pq_plot *p, pq_err *err)
{
    char      batch[24], name[64];
    size_t    ratio, time, bars, left;
    double    largest;
    pq_text   times = {0};
    pq_status st;

    find_batch(p->v, batch, sizeof batch);
    (void)snprintf(name, sizeof name, "latency.b%s.ratio", batch);
    ratio = pq_view_column_of(p->v, name);
    (void)snprintf(name, sizeof name, "latency.b%s.throughput_s", batch);
    time = pq_view_column_of(p->v, name);
    if (ratio == PQ_VIEW_NONE || time == PQ_VIEW_NONE) {
        return PQ_OK;
    }
    pq_text_add(&p->data, "# bar, speed-up, lo, hi, is reference, time a call (s)\n");
    bars = add_bars(p, ratio, time, &left, &largest, &times);
    PQ_CHECK(!times.failed, PQ_ERR_NOMEM, "cannot allocate a plot");
    if (bars > 0) {
        pq_text_add(&p->body, ")\n%s)\n", times.text);
        add_commands(p, batch, p->v->columns[time].unit, bars, largest);
    }
    pq_text_add(&p->caption,
                "Speed-up over the reference, timed interleaved in the same run, "
                "with 95 %% intervals; on the right the median time of a call "
                "on this host, and the engine that was timed.");
    if (left > 0) {
        pq_text_add(&p->caption, " %zu more models are in the table.", left);
    }
cleanup:
    pq_text_free(&times);
    return st;
}
