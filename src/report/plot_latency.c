#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "report/plot.h"
#include "store/json.h"

enum { BARS_MAX = 27 };

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

/* Engine that the bar's time is of. */
static const char *engine_of(const pq_plot *p, size_t row)
{
    char batch[24], name[64];

    find_batch(p->v, batch, sizeof batch);
    (void)snprintf(name, sizeof name, "latency.b%s.engine", batch);
    return pq_json_get_text(json_object_get(p->v->rows[row].cell, "engines"), name);
}

/* Models with a speed-up in the plan's order, the reference aside, which begins every
 * page; of more than all pages hold, the fastest. */
typedef struct {
    size_t  n, left;         /* left: how many more there would be */
    size_t  pages, per_page; /* pages of nearly equal length */
    size_t *rows;
    char  **labels;       /* [n], distinct */
    double  largest, end; /* speed-up, end of an interval */
} bar_list;

typedef struct {
    double value;
    size_t row;
} speed;

static int by_speed(const void *a, const void *b)
{
    const speed *x = a, *y = b;

    if (x->value > y->value || x->value < y->value) {
        return x->value > y->value ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

static int by_row(const void *a, const void *b)
{
    const speed *x = a, *y = b;

    return x->row < y->row ? -1 : x->row > y->row;
}

static pq_status list_bars(const pq_view *v, size_t ratio, bar_list *out, pq_err *err)
{
    const size_t most   = (size_t)PQ_LATENCY_PAGES * BARS_MAX;
    speed       *speeds = NULL;
    const char **names  = NULL;
    pq_status    st;

    PQ_NEW(speeds, v->n_rows);
    PQ_NEW(names, v->n_rows);
    PQ_NEW(out->rows, v->n_rows);
    out->largest = out->end = 1.0;
    for (size_t r = 0; r < v->n_rows; r++) {
        const pq_number number = pq_view_number(v, r, ratio);
        if (isfinite(number.value) && r != v->reference) {
            speeds[out->n++] = (speed){number.value, r};
            out->largest     = fmax(out->largest, number.value);
            out->end = fmax(out->end, isfinite(number.hi) ? number.hi : number.value);
        }
    }
    qsort(speeds, out->n, sizeof *speeds, by_speed);
    out->left = out->n > most ? out->n - most : 0;
    out->n -= out->left;
    out->pages    = out->n > BARS_MAX ? (out->n + BARS_MAX - 1) / BARS_MAX : 1;
    out->per_page = (out->n + out->pages - 1) / out->pages;
    qsort(speeds, out->n, sizeof *speeds, by_row);
    for (size_t i = 0; i < out->n; i++) {
        out->rows[i] = speeds[i].row;
        names[i]     = v->rows[speeds[i].row].label;
    }
    PQ_TRY(pq_labels_make(names, out->n, PQ_LABEL_LONGEST, &out->labels, err));
cleanup:
    pq_free(speeds);
    pq_free(names);
    return st;
}

/* A row of data and its two ticks: the label on the left, the time on the right. */
static void add_bar(pq_plot *p, size_t row, const char *label, size_t ratio, size_t time,
                    size_t bar, pq_text *times)
{
    const pq_view  *v        = p->v;
    const pq_number speed_up = pq_view_number(v, row, ratio);
    const pq_number t        = pq_view_number(v, row, time);
    const double    lo       = isfinite(speed_up.lo) ? speed_up.lo : speed_up.value;
    const double    hi       = isfinite(speed_up.hi) ? speed_up.hi : speed_up.value;
    pq_text         right    = {0};

    pq_text_add(&p->data, "%zu %.6g %.6g %.6g %d %.6g\n", bar, speed_up.value, lo, hi,
                row == v->reference, t.value);
    pq_text_add(&p->body, "%s",
                bar == 0 ? "set ytics noenhanced font small scale 0 (" : ", ");
    pq_plot_quote_tick(&p->body, label);
    pq_text_add(&p->body, " %zu", bar);
    pq_number_add(&right, (pq_number){t.value, (double)NAN, (double)NAN},
                  v->columns[time].scale, 3, PQ_STYLE_TEXT);
    if (*v->rows[row].engine != '\0') {
        pq_text_add(&right, " %s", engine_of(p, row));
    }
    pq_text_add(times, "%s",
                bar == 0 ? "set y2tics noenhanced font small scale 0 (" : ", ");
    pq_plot_quote_tick(times, right.text != NULL ? right.text : "");
    pq_text_add(times, " %zu", bar);
    times->failed = times->failed || right.failed;
    pq_text_free(&right);
}

/* The bars of this page; returns how many there are. */
static size_t add_bars(pq_plot *p, const bar_list *list, size_t ratio, size_t time,
                       pq_text *times)
{
    const size_t first = p->page * list->per_page;
    size_t       bars  = 0;

    if (first >= list->n && p->page > 0) {
        return 0;
    }
    if (isfinite(pq_view_number(p->v, p->v->reference, ratio).value)) {
        add_bar(p, p->v->reference, "reference", ratio, time, bars++, times);
    }
    for (size_t i = first; i < list->n && i < first + list->per_page; i++) {
        add_bar(p, list->rows[i], list->labels[i], ratio, time, bars++, times);
    }
    return bars;
}

static void add_commands(pq_plot *p, const char *batch, const char *unit, size_t bars,
                         double largest)
{
    pq_text_add(&p->body,
                "set label 1 at screen 0.03, graph 1.045\n"
                "set label 2 at screen 0.03, graph 1.045\n"
                "unset key\nset border 3\nset xtics nomirror %.6g\nset grid noytics\n"
                "set yrange [%zu.6:-0.6]\nset y2range [%zu.6:-0.6]\nset xrange [0:%.6g]\n"
                "set xlabel 'speed-up over the reference, batch size %s'\n"
                "set y2label 'median time of a call / %s, engine'\n"
                "set arrow 1 from 1, graph 0 to 1, graph 1 nohead front dashtype 2 "
                "linewidth 1.5 linecolor rgb '#000000'\n",
                pq_plot_step(largest), bars - 1, bars - 1, largest * 1.06, batch, unit);
    pq_text_add(
        &p->body,
        "color(r) = r > 0 ? 0x999999 : 0x0072B2\n"
        "plot '%s' using ($2/2):1:($2/2):(0.36):(color($5)) with boxxyerror "
        "linecolor rgb variable fillstyle solid 0.85 noborder, \\\n"
        "  '' using 2:1:3:4 with xerrorbars pointtype 0 linecolor rgb '#000000'\n",
        p->data_name);
}

/* Columns of the smallest batch size; false where nothing was timed. */
static bool find_columns(const pq_view *v, char *batch, size_t size, size_t *ratio,
                         size_t *time)
{
    char name[64];

    find_batch(v, batch, size);
    (void)snprintf(name, sizeof name, "latency.b%s.ratio", batch);
    *ratio = pq_view_column_of(v, name);
    (void)snprintf(name, sizeof name, "latency.b%s.throughput_s", batch);
    *time = pq_view_column_of(v, name);
    return *ratio != PQ_VIEW_NONE && *time != PQ_VIEW_NONE;
}

static void add_caption(pq_plot *p, const bar_list *list)
{
    pq_text_add(&p->caption,
                "Speed-up over the reference, timed interleaved in the same run, "
                "with 95 %% intervals; on the right the median time of a call "
                "on this host, and the engine that was timed.");
    if (list->pages > 1) {
        pq_text_add(&p->caption, " Page %zu of %zu.", p->page + 1, list->pages);
    }
    if (list->left > 0) {
        pq_text_add(&p->caption,
                    " These are the %zu fastest; %zu more models are in the table.",
                    list->n, list->left);
    }
}

pq_status pq_plot_latency(pq_plot *p, pq_err *err)
{
    char      batch[24];
    size_t    ratio, time, bars;
    bar_list  list  = {0};
    pq_text   times = {0};
    pq_status st    = PQ_OK;

    if (!find_columns(p->v, batch, sizeof batch, &ratio, &time)) {
        return PQ_OK;
    }
    PQ_TRY(list_bars(p->v, ratio, &list, err));
    pq_text_add(&p->data, "# bar, speed-up, lo, hi, is reference, time a call (s)\n");
    bars = add_bars(p, &list, ratio, time, &times);
    PQ_CHECK(!times.failed, PQ_ERR_NOMEM, "cannot allocate a plot");
    if (bars > 0) {
        pq_text_add(&p->body, ")\n%s)\n", times.text);
        add_commands(p, batch, p->v->columns[time].unit, bars,
                     fmin(list.end, 1.5 * list.largest));
    }
    add_caption(p, &list);
cleanup:
    pq_labels_free(&list.labels, list.n);
    pq_free(list.rows);
    pq_text_free(&times);
    return st;
}
