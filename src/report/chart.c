#include "report/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "report/number.h"
#include "report/plot.h"

enum { WIDTH = 720, HEIGHT = 430, LEFT = 94, RIGHT = 16, TOP = 14, BOTTOM = 52 };

/* More points than these are a line alone; more lines have no key. */
enum { MARKS_MAX = 400, NAMED_LINES_MAX = 40, NUMBERS = 4, TICKS = 7 };

/* From numbers to places. */
typedef struct {
    double low, high; /* after the logarithm */
    bool   log;
    double from, to; /* places */
} scale;

/* A chart while its data are walked. */
typedef struct {
    const pq_chart *c;
    scale           x, y;
    size_t          points;
    bool            gap; /* the point does not follow the one before */
} frame;

static double place(const scale *s, double value)
{
    const double at   = s->log ? log10(value) : value;
    const double part = (at - s->low) / (s->high - s->low);

    return s->from + fmin(1.0, fmax(0.0, part)) * (s->to - s->from);
}

static bool fits(const scale *s, double value)
{
    return isfinite(value) && (!s->log || value > 0.0);
}

static void widen(scale *s, double value)
{
    const double at = s->log ? log10(value) : value;

    s->low  = fmin(s->low, at);
    s->high = fmax(s->high, at);
}

/* Numbers of a line of data, at most NUMBERS; *at goes to the next line. */
static size_t read_line(const char **at, double numbers[NUMBERS])
{
    const size_t length = strcspn(*at, "\n");
    char         line[160], *rest = line, *word;
    size_t       n = 0;

    (void)snprintf(line, sizeof line, "%.*s", (int)(length < 159 ? length : 159), *at);
    *at += length + ((*at)[length] == '\n');
    while (line[0] != '#' && n < NUMBERS && (word = strsep(&rest, " ")) != NULL) {
        if (*word != '\0' && !pq_parse_real(word, PQ_UNIT_NONE, &numbers[n++])) {
            return 0;
        }
    }
    return n;
}

/* Calls `each` for every point, with its block and its number among all. */
static void walk(const char *data, frame *f,
                 void (*each)(frame *f, size_t block, size_t i, const double *p, size_t n,
                              void *context),
                 void *context)
{
    size_t block = 0, i = 0, blank = 0;
    bool   any = false;

    for (const char *at = data; *at != '\0';) {
        double       numbers[NUMBERS];
        const size_t n = read_line(&at, numbers);
        if (n >= 2) {
            f->gap = blank > 0;
            each(f, block, i++, numbers, n, context);
            any   = true;
            blank = 0;
        } else if (any && ++blank == 2) {
            block++;
            any = false;
        }
    }
}

static void measure(frame *f, size_t block, size_t i, const double *p, size_t n,
                    void *context)
{
    (void)block;
    (void)i;
    (void)context;
    if (!fits(&f->x, p[0]) || !fits(&f->y, p[1])) {
        return;
    }
    f->points++;
    widen(&f->x, p[0]);
    widen(&f->y, p[1]);
    for (size_t k = 2; k < n; k++) {
        if (fits(&f->y, p[k])) {
            widen(&f->y, p[k]);
        }
    }
}

/* Room around the values, and none of zero width. */
static void pad(scale *s)
{
    if (!(s->high > s->low)) {
        const double half = s->log ? 0.5 : fmax(fabs(s->low) / 10.0, 1e-9);
        s->low -= half;
        s->high += half;
    }
    const double margin = 0.04 * (s->high - s->low);
    s->low -= margin;
    s->high += margin;
}

static void add_grid_x(const frame *f, double value, const char *label, pq_text *out)
{
    const double at = place(&f->x, value);

    pq_text_add(out,
                "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>"
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">",
                at, at, TOP, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 18);
    pq_escape_add(out, label, PQ_STYLE_HTML);
    pq_text_add(out, "</text>\n");
}

static void add_grid_y(const frame *f, double value, const char *label, pq_text *out)
{
    const double at = place(&f->y, value);

    pq_text_add(out,
                "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                LEFT, WIDTH - RIGHT, at, at, LEFT - 8, at + 4.0, label);
}

typedef void add_grid(const frame *f, double value, const char *label, pq_text *out);

static void add_tick(const frame *f, add_grid *add, double value, pq_text *out)
{
    char label[32];

    (void)pq_snprintf(label, sizeof label, "%.6g", value);
    add(f, value, label, out);
}

/* Ticks at 1, 2, 5 times powers of ten: of the logarithm where it spans a decade. */
static void add_ticks(const frame *f, const scale *s, add_grid *add, pq_text *out)
{
    static const double steps[] = {1.0, 2.0, 5.0};
    const double        low     = s->log ? pow(10.0, s->low) : s->low;
    const double        high    = s->log ? pow(10.0, s->high) : s->high;
    const double        raw     = (high - low) / TICKS;
    const double        power   = pow(10.0, floor(log10(raw)));
    const double        step    = raw <= power         ? power
                                  : raw <= 2.0 * power ? 2.0 * power
                                  : raw <= 5.0 * power ? 5.0 * power
                                                       : 10.0 * power;

    if (s->log && s->high - s->low > 0.8) {
        for (double e = floor(s->low); e <= s->high; e += 1.0) {
            for (size_t k = 0; k < (s->high - s->low > 2.0 ? 1 : 3); k++) {
                const double at = steps[k] * pow(10.0, e);
                if (at >= low && at <= high) {
                    add_tick(f, add, at, out);
                }
            }
        }
        return;
    }
    for (double k = ceil(low / step); k * step <= high; k += 1.0) {
        add_tick(f, add, fabs(k) < 0.5 ? 0.0 : k * step, out);
    }
}

/* Some of the names along x, evenly. */
static void add_names(const frame *f, pq_text *out)
{
    enum { NAMES = 7 };
    const size_t every = f->c->n_ticks / NAMES + 1;

    for (size_t i = 0; i < f->c->n_ticks; i += every) {
        add_grid_x(f, (double)i, f->c->ticks[i], out);
    }
}

static void add_level(const frame *f, pq_text *out)
{
    const pq_chart *c = f->c;

    if (!(c->level > 0.0)) {
        return;
    }
    if (isfinite(c->level_lo) && isfinite(c->level_hi)) {
        const double top = place(&f->y, c->level_hi), end = place(&f->y, c->level_lo);
        pq_text_add(out,
                    "<rect class=\"band\" x=\"%d\" y=\"%.1f\" width=\"%d\" "
                    "height=\"%.1f\"/>\n",
                    LEFT, top, WIDTH - LEFT - RIGHT, end - top);
    }
    pq_text_add(out,
                "<line class=\"level\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" "
                "y2=\"%.1f\"><title>reference: %.6g</title>\n</line>\n",
                LEFT, WIDTH - RIGHT, place(&f->y, c->level), place(&f->y, c->level),
                c->level);
}

/* Lines: one polyline a block. */
typedef struct {
    pq_text *out;
    size_t   block; /* that is open, or SIZE_MAX */
} lines;

static void end_line(const frame *f, lines *l)
{
    if (l->block == SIZE_MAX) {
        return;
    }
    pq_text_add(l->out, "\"><title>");
    pq_escape_add(l->out, l->block < f->c->n ? f->c->lines[l->block].title : "",
                  PQ_STYLE_HTML);
    pq_text_add(l->out, "</title>\n</polyline>\n");
    l->block = SIZE_MAX;
}

/* Dashes of a line, "" of a solid one: those that many lines of a colour take in turn. */
static const char *dashes_of(const pq_chart_line *line)
{
    static const char *const dashes[] = {"",     "7 4", "2 3",        "12 4 2 4",
                                         "14 6", "2 8", "7 3 2 3 2 3"};

    return line != NULL && line->dash > 1
               ? dashes[(size_t)(line->dash - 1) % (sizeof dashes / sizeof *dashes)]
               : "";
}

/* Colour, dashes and cell of a line. */
static void add_look(const pq_chart *c, size_t block, bool dashed, pq_text *out)
{
    const pq_chart_line *line = block < c->n ? &c->lines[block] : NULL;
    const char          *dash = dashes_of(line);

    if (line == NULL || line->color == SIZE_MAX) {
        pq_text_add(out, " class=\"other\"");
    } else {
        pq_text_add(out, " style=\"--c:%s\"", pq_plot_color(line->color));
    }
    if (*dash != '\0' && dashed) {
        pq_text_add(out, " stroke-dasharray=\"%s\"", dash);
    }
}

static void add_to_line(frame *f, size_t block, size_t i, const double *p, size_t n,
                        void *context)
{
    lines *l = context;

    (void)i;
    (void)n;
    if (!fits(&f->x, p[0]) || !fits(&f->y, p[1])) {
        return;
    }
    if (block != l->block || f->gap) {
        end_line(f, l);
        pq_text_add(l->out, "<polyline");
        add_look(f->c, block, true, l->out);
        if (block < f->c->n && f->c->lines[block].key[0] != '\0') {
            pq_text_add(l->out, " data-key=\"%s\"", f->c->lines[block].key);
        }
        pq_text_add(l->out, " points=\"");
        l->block = block;
    }
    pq_text_add(l->out, "%.1f,%.1f ", place(&f->x, p[0]), place(&f->y, p[1]));
}

/* Points, with bars of their intervals. */
typedef struct {
    pq_text    *out;
    const char *keys;
} marks;

static void add_mark(frame *f, size_t block, size_t i, const double *p, size_t n,
                     void *context)
{
    marks       *m      = context;
    const size_t length = strcspn(m->keys, "\n");
    const char  *key    = m->keys;

    (void)i;
    m->keys += length + (m->keys[length] == '\n');
    if (!fits(&f->x, p[0]) || !fits(&f->y, p[1])) {
        return;
    }
    if (n == NUMBERS && fits(&f->y, p[2]) && fits(&f->y, p[3])) {
        pq_text_add(m->out,
                    "<line class=\"bar\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" "
                    "y2=\"%.1f\"/>",
                    place(&f->x, p[0]), place(&f->x, p[0]), place(&f->y, p[2]),
                    place(&f->y, p[3]));
    }
    pq_text_add(m->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\"", place(&f->x, p[0]),
                place(&f->y, p[1]));
    add_look(f->c, block, false, m->out);
    if (length > 0) {
        pq_text_add(m->out, " data-key=\"%.*s\"", (int)length, key);
    }
    pq_text_add(m->out, "><title>");
    pq_escape_add(m->out, block < f->c->n ? f->c->lines[block].title : "", PQ_STYLE_HTML);
    if (f->c->ticks != NULL && p[0] >= 0.0 && (size_t)p[0] < f->c->n_ticks) {
        pq_text_add(m->out, "\n");
        pq_escape_add(m->out, f->c->ticks[(size_t)p[0]], PQ_STYLE_HTML);
        pq_text_add(m->out, ": %.6g</title>\n</circle>\n", p[1]);
    } else {
        pq_text_add(m->out, "\n%.6g: %.6g</title>\n</circle>\n", p[0], p[1]);
    }
}

static void add_titles(const pq_chart *c, pq_text *out)
{
    const int middle = (TOP + HEIGHT - BOTTOM) / 2;

    pq_text_add(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
                (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12);
    pq_escape_add(out, c->x_title, PQ_STYLE_HTML);
    pq_text_add(out,
                "</text><text x=\"16\" y=\"%d\" text-anchor=\"middle\" "
                "transform=\"rotate(-90 16 %d)\">",
                middle, middle);
    pq_escape_add(out, c->y_title, PQ_STYLE_HTML);
    pq_text_add(out, "</text>\n");
}

static void add_key(const pq_chart *c, pq_text *out)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n && n < NAMED_LINES_MAX; i++) {
        const pq_chart_line *line = &c->lines[i];
        if (line->color == SIZE_MAX || (line->dash > 1 && !c->dashes)) {
            continue; /* dashes are told by the caption */
        }
        pq_text_add(out, "%s<li>", n++ == 0 ? "<ul class=\"key\">\n" : "");
        if (c->dashes) {
            pq_text_add(out,
                        "<svg width=\"36\" height=\"8\"><line x2=\"36\" y1=\"4\" "
                        "y2=\"4\" style=\"--c:%s\" stroke-dasharray=\"%s\"/></svg>",
                        pq_plot_color(line->color), dashes_of(line));
        } else {
            pq_text_add(out, "<span style=\"--c:%s\"></span>",
                        pq_plot_color(line->color));
        }
        pq_escape_add(out, line->title, PQ_STYLE_HTML);
        pq_text_add(out, "</li>\n");
    }
    pq_text_add(out, "%s", n > 0 ? "</ul>\n" : "");
}

pq_status pq_chart_add(pq_chart *c, const char *title, size_t color, int dash,
                       const char *key, pq_err *err)
{
    pq_chart_line *all = pq_recalloc(c->lines, c->n, c->n + 1, sizeof *all);
    pq_status      st  = PQ_OK;

    PQ_CHECK(all != NULL, PQ_ERR_NOMEM, "cannot allocate a chart");
    c->lines  = all;
    all[c->n] = (pq_chart_line){.color = color, .dash = dash};
    PQ_STRDUP(all[c->n].title, title);
    (void)snprintf(all[c->n].key, sizeof all[c->n].key, "%.*s", PQ_CHART_KEY, key);
    c->n++;
cleanup:
    return st;
}

void pq_chart_draw(const pq_chart *c, const char *data, const char *caption, pq_text *out)
{
    frame f = {
        .c = c,
        .x = {(double)INFINITY, -(double)INFINITY, c->log_x, LEFT, WIDTH - RIGHT},
        .y = {(double)INFINITY, -(double)INFINITY, c->log_y, HEIGHT - BOTTOM, TOP}};
    lines l = {out, SIZE_MAX};
    marks m = {out, c->keys.text != NULL ? c->keys.text : ""};

    walk(data, &f, measure, NULL);
    if (f.points == 0) {
        return;
    }
    if (c->level > 0.0 && fits(&f.y, c->level)) {
        widen(&f.y, c->level);
    }
    pad(&f.x);
    pad(&f.y);
    pq_text_add(out,
                "<svg class=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
                WIDTH, HEIGHT);
    pq_escape_add(out, caption, PQ_STYLE_HTML);
    pq_text_add(out, "\">\n");
    if (c->ticks != NULL) {
        add_names(&f, out);
    } else {
        add_ticks(&f, &f.x, add_grid_x, out);
    }
    add_ticks(&f, &f.y, add_grid_y, out);
    add_titles(c, out);
    add_level(&f, out);
    walk(data, &f, add_to_line, &l);
    end_line(&f, &l);
    if (c->steps && f.points <= MARKS_MAX) {
        walk(data, &f, add_mark, &m);
    }
    pq_text_add(out, "</svg>\n");
    add_key(c, out);
}

void pq_chart_free(pq_chart *c)
{
    for (size_t i = 0; i < c->n; i++) {
        pq_free(c->lines[i].title);
    }
    pq_free(c->lines);
    pq_text_free(&c->keys);
    *c = (pq_chart){0};
}
