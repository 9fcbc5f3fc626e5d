#include "report/published.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "report/label.h"
#include "store/json.h"

/* A number beside ours. */
typedef struct {
    const pq_view_row *row;
    const json_t      *entry;
    const char        *metric, *printed; /* "accuracy", "89.3%" */
    bool               ratio, percent;
    double             published; /* as printed: 89.3 */
    int                decimals;  /* of what is printed */
    pq_number          ours;      /* in the same unit */
} pair;

static double real_of(const json_t *cell, const char *metric, const char *field)
{
    const json_t *metrics = json_object_get(cell, "metrics");
    const json_t *value   = json_object_get(json_object_get(metrics, metric), field);

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* By how much the reference is better than a cell, or NAN: "accuracy_loss". */
static double loss_of(const pq_view *v, const json_t *cell, const char *name)
{
    static const char end[]  = "_loss";
    const size_t      n      = strlen(name);
    char             *metric = NULL;
    double            loss   = (double)NAN;
    const json_t     *value;

    if (n < sizeof end || strcmp(name + n - (sizeof end - 1), end) != 0 ||
        v->reference == PQ_VIEW_NONE) {
        return loss;
    }
    metric = pq_format("%.*s", (int)(n - (sizeof end - 1)), name);
    if (metric != NULL) {
        value = json_object_get(json_object_get(cell, "metrics"), metric);
        loss  = real_of(v->rows[v->reference].cell, metric, "value") -
               real_of(cell, metric, "value");
        loss = strcmp(pq_json_get_text(value, "better"), "lower") == 0 ? -loss : loss;
    }
    pq_free(metric);
    return loss;
}

static pq_number ours_of(const pq_view *v, const pair *p)
{
    const json_t *cell  = p->row->cell;
    const double  scale = p->percent ? 100.0 : 1.0;
    pq_number number = {real_of(cell, p->metric, "value"), real_of(cell, p->metric, "lo"),
                        real_of(cell, p->metric, "hi")};

    if (!isfinite(number.value) && !p->ratio) {
        number.value = loss_of(v, cell, p->metric);
    }
    if (p->ratio) { /* of counts and bytes, which have no interval */
        const double whole =
            v->reference == PQ_VIEW_NONE
                ? (double)NAN
                : real_of(v->rows[v->reference].cell, p->metric, "value");
        number = (pq_number){whole / number.value, (double)NAN, (double)NAN};
    }
    return (pq_number){scale * number.value, scale * number.lo, scale * number.hi};
}

/* The entry as a row's; false where it is not of this row, or damaged. */
static bool pair_up(const pq_view *v, const pq_view_row *row, const json_t *entry,
                    pair *out)
{
    const char *cell  = pq_json_get_text(entry, "cell");
    const char *label = pq_json_get_text(row->cell, "label"), *dot;
    double      value;

    *out = (pair){.row     = row,
                  .entry   = entry,
                  .metric  = pq_json_get_text(entry, "metric"),
                  .printed = pq_json_get_text(entry, "printed"),
                  .ratio   = json_is_true(json_object_get(entry, "ratio"))};
    if ((strcmp(cell, label) != 0 && !pq_glob_match(cell, label)) ||
        !pq_parse_real(out->printed, PQ_UNIT_NONE, &value)) {
        return false;
    }
    out->percent   = strchr(out->printed, '%') != NULL;
    out->published = out->percent ? 100.0 * value : value;
    dot            = strchr(out->printed, '.');
    out->decimals  = dot != NULL ? (int)strspn(dot + 1, "0123456789") : 0;
    out->decimals  = out->decimals > 12 ? 12 : out->decimals;
    out->ours =
        row->done ? ours_of(v, out) : (pq_number){(double)NAN, (double)NAN, (double)NAN};
    return true;
}

static bool is_equal(const pair *p)
{
    char ours[64], published[64];

    (void)pq_snprintf(ours, sizeof ours, "%.*f", p->decimals, p->ours.value);
    (void)pq_snprintf(published, sizeof published, "%.*f", p->decimals, p->published);
    return strcmp(ours, published) == 0;
}

static bool is_within(const pair *p)
{
    return isfinite(p->ours.lo) && isfinite(p->ours.hi) && p->published >= p->ours.lo &&
           p->published <= p->ours.hi;
}

/* "equal", "within our interval", "+0.53 points", "-1.2 %", "not measured". */
static void add_agreement(const pair *p, pq_text *out)
{
    const double difference = p->ours.value - p->published;

    if (!isfinite(p->ours.value)) {
        pq_text_add(out, "%s", p->row->done ? "not measured" : p->row->status);
    } else if (is_equal(p)) {
        pq_text_add(out, "equal");
    } else if (is_within(p)) {
        pq_text_add(out, "within our interval");
    } else if (p->percent || !(fabs(p->published) > 0.0)) {
        pq_text_add(out, "%+.*f%s", p->decimals > 2 ? p->decimals : 2, difference,
                    p->percent ? " points" : "");
    } else {
        pq_text_add(out, "%+.2f %%", 100.0 * difference / fabs(p->published));
    }
}

static const char *why_of(const pair *p)
{
    const char *why = pq_json_get_text(p->entry, "why");

    if (isfinite(p->ours.value) && (is_equal(p) || is_within(p))) {
        return "";
    }
    return *why != '\0' ? why : p->row->done ? "no reason is given" : "";
}

static void add_published(const pair *p, pq_text *out)
{
    const size_t n = strcspn(p->printed, "%");

    pq_text_add(out, "%.*s%s", (int)n, p->printed, p->percent ? " %" : "");
}

static void add_ours(const pair *p, pq_style style, pq_text *out)
{
    const double value = p->ours.value;

    if (!p->ratio && !p->percent && isfinite(value) && fabs(value) < 1e15 &&
        floor(value) == value && !isfinite(p->ours.lo)) {
        pq_count_add(out, value, style);
    } else {
        const int decimals = p->percent && p->decimals < 2 ? 2 : p->decimals;
        pq_number_add(out, p->ours, 1.0, decimals > 0 ? -decimals : 6, style);
    }
    if (p->percent && isfinite(value)) {
        pq_text_add(out, style == PQ_STYLE_TEX ? " \\%%" : " %%");
    }
}

enum { N_CELLS = 7 };

static const char *const heads[N_CELLS] = {
    "model", "value", "published", "ours", "agreement", "reason for a difference",
    "source"};

/* The texts of a row, unescaped but for `ours`. */
static void fill(const pair *p, pq_style style, pq_text cells[N_CELLS])
{
    pq_text_add(&cells[0], "%s", p->row->label);
    pq_text_add(&cells[1], "%s%s", p->metric, p->ratio ? ", reference over this" : "");
    add_published(p, &cells[2]);
    add_ours(p, style, &cells[3]);
    add_agreement(p, &cells[4]);
    pq_text_add(&cells[5], "%s", why_of(p));
    pq_text_add(&cells[6], "%s", pq_json_get_text(p->entry, "source"));
}

static void free_cells(pq_text cells[N_CELLS], pq_text *out)
{
    for (size_t i = 0; i < N_CELLS; i++) {
        out->failed = out->failed || cells[i].failed;
        pq_text_free(&cells[i]);
    }
}

/* What stands around rows and cells; of HTML the cells differ. */
typedef struct {
    const char *begin, *before, *after, *end;
} frame;

static const frame frames[] = {[PQ_STYLE_MARKDOWN] = {"|", " ", " |", "\n"},
                               [PQ_STYLE_TEX]      = {"", "", " & ", " \\\\\n"},
                               [PQ_STYLE_HTML]     = {"<tr>", "", "", "</tr>\n"}};

static void add_row(const pair *p, pq_style style, pq_text *out)
{
    const frame *f              = &frames[style];
    const bool   html           = style == PQ_STYLE_HTML;
    pq_text      cells[N_CELLS] = {{0}};

    fill(p, style, cells);
    pq_text_add(out, "%s", f->begin);
    for (size_t i = 0; i < N_CELLS; i++) {
        const char *text = cells[i].text != NULL ? cells[i].text : "";
        pq_text_add(out, "%s",
                    !html              ? f->before
                    : i == 0           ? "<th scope=\"row\">"
                    : i == 2 || i == 3 ? "<td>"
                                       : "<td class=\"text\">");
        if (i == 3) {
            pq_text_add(out, "%s", text);
        } else {
            pq_escape_add(out, text, style);
        }
        pq_text_add(out, "%s",
                    html ? (i == 0 ? "</th>" : "</td>")
                    : style == PQ_STYLE_TEX && i + 1 == N_CELLS ? ""
                                                                : f->after);
    }
    pq_text_add(out, "%s", f->end);
    free_cells(cells, out);
}

/* Calls `add` for each number of each row, in the plan's order. */
static void walk(const pq_view *v, void (*add)(const pair *p, void *context),
                 void          *context)
{
    const json_t *all = json_object_get(v->results, "published"), *entry;

    for (size_t r = 0; r < v->n_rows; r++) {
        size_t i;
        json_array_foreach((json_t *)all, i, entry)
        {
            pair p;
            if (pair_up(v, &v->rows[r], entry, &p)) {
                add(&p, context);
            }
        }
    }
}

static void count_one(const pair *p, void *context)
{
    (void)p;
    ++*(size_t *)context;
}

bool pq_published_any(const pq_view *v)
{
    size_t n = 0;

    walk(v, count_one, &n);
    return n > 0;
}

/* A table of text: widths first, then lines; reasons stand below, each once. */
typedef struct {
    size_t   width[5];
    pq_text *out, whys;
} plain;

static void measure(const pair *p, void *context)
{
    plain  *t              = context;
    pq_text cells[N_CELLS] = {{0}};

    fill(p, PQ_STYLE_TEXT, cells);
    for (size_t i = 0; i < 5; i++) {
        const size_t n = pq_label_width(cells[i].text != NULL ? cells[i].text : "");
        t->width[i]    = n > t->width[i] ? n : t->width[i];
    }
    free_cells(cells, t->out);
}

static void add_padded(pq_text *out, const char *text, size_t width, bool right)
{
    const size_t n     = pq_label_width(text);
    const int    blank = n < width ? (int)(width - n) : 0;

    pq_text_add(out, "%*s%s%*s", right ? blank : 0, "", text, right ? 0 : blank, "");
}

static void add_plain(const pair *p, void *context)
{
    plain  *t              = context;
    pq_text cells[N_CELLS] = {{0}}, why = {0};

    fill(p, PQ_STYLE_TEXT, cells);
    for (size_t i = 0; i < 5; i++) {
        pq_text clean = {0};
        pq_escape_add(&clean, cells[i].text != NULL ? cells[i].text : "", PQ_STYLE_TEXT);
        add_padded(t->out, clean.text != NULL ? clean.text : "", i < 4 ? t->width[i] : 0,
                   i == 2 || i == 3);
        pq_text_add(t->out, "%s", i < 4 ? "  " : "\n");
        t->out->failed = t->out->failed || clean.failed;
        pq_text_free(&clean);
    }
    if (cells[5].length > 0) {
        pq_text_add(&why, "  %s: ", p->metric);
        pq_escape_add(&why, cells[5].text, PQ_STYLE_TEXT);
        pq_text_add(&why, "\n");
        if (t->whys.text == NULL || strstr(t->whys.text, why.text) == NULL) {
            pq_text_add_bytes(&t->whys, why.text, why.length);
        }
    }
    pq_text_add(&why, "%s", "");
    pq_text_free(&why);
    free_cells(cells, t->out);
}

static void add_text(const pq_view *v, pq_text *out)
{
    plain t = {.out = out};

    for (size_t i = 0; i < 5; i++) {
        t.width[i] = strlen(heads[i]);
    }
    walk(v, measure, &t);
    pq_text_add(out, "\n");
    for (size_t i = 0; i < 5; i++) {
        add_padded(out, heads[i], i < 4 ? t.width[i] : 0, i == 2 || i == 3);
        pq_text_add(out, "%s", i < 4 ? "  " : "\n");
    }
    walk(v, add_plain, &t);
    if (t.whys.length > 0) {
        pq_text_add(out, "Reasons for differences:\n%s", t.whys.text);
    }
    out->failed = out->failed || t.whys.failed;
    pq_text_free(&t.whys);
}

typedef struct {
    pq_style style;
    pq_text *out;
} styled;

static void add_styled(const pair *p, void *context)
{
    const styled *s = context;

    add_row(p, s->style, s->out);
}

static void add_head(pq_style style, pq_text *out)
{
    static const char *const begins[] = {
        [PQ_STYLE_MARKDOWN] = "\n## Published and ours\n\n|",
        [PQ_STYLE_TEX]  = "\n% published and ours\n\\begin{tabular}{llrrlp{5cm}p{4cm}}\n"
                          "\\toprule\n",
        [PQ_STYLE_HTML] = "<h2>Published and ours</h2>\n<div class=\"scroll\"><table "
                          "id=\"published\">\n<thead><tr>"};
    static const char *const ends[] = {
        [PQ_STYLE_MARKDOWN] = "\n| :-- | :-- | --: | --: | :-- | :-- | :-- |\n",
        [PQ_STYLE_TEX]      = " \\\\\n\\midrule\n",
        [PQ_STYLE_HTML]     = "</tr></thead>\n<tbody>\n"};

    pq_text_add(out, "%s", begins[style]);
    for (size_t i = 0; i < N_CELLS; i++) {
        if (style == PQ_STYLE_HTML) {
            pq_text_add(out, "<th scope=\"col\"%s>%s</th>",
                        i != 2 && i != 3 ? " class=\"text\"" : "", heads[i]);
        } else {
            pq_text_add(out, "%s%s%s", frames[style].before, heads[i],
                        style == PQ_STYLE_TEX && i + 1 == N_CELLS ? ""
                                                                  : frames[style].after);
        }
    }
    pq_text_add(out, "%s", ends[style]);
}

void pq_published_add(const pq_view *v, pq_style style, pq_text *out)
{
    styled s = {style, out};

    if (!pq_published_any(v)) {
        return;
    }
    if (style == PQ_STYLE_TEXT) {
        add_text(v, out);
        return;
    }
    add_head(style, out);
    walk(v, add_styled, &s);
    pq_text_add(out, "%s",
                style == PQ_STYLE_HTML  ? "</tbody>\n</table></div>\n"
                : style == PQ_STYLE_TEX ? "\\bottomrule\n\\end{tabular}\n"
                                        : "");
}

/* To 15 digits: 64.43 per cent are 0.6443, not what rounding adds behind. */
static void add_real(pq_text *out, double x)
{
    char text[32] = "";

    if (isfinite(x)) {
        (void)pq_snprintf(text, sizeof text, "%.15g", x);
    }
    pq_text_add(out, "%s", text);
}

static void add_csv(const pair *p, void *context)
{
    pq_text     *out  = context;
    pq_text      word = {0};
    const double back = p->percent ? 0.01 : 1.0;

    pq_csv_add(out, p->row->label);
    pq_text_add(out, ",");
    pq_text_add(&word, "%s%s", p->metric, p->ratio ? "_ratio" : "");
    pq_csv_add(out, word.text != NULL ? word.text : "");
    pq_text_add(out, ",");
    add_real(out, p->published * back);
    pq_text_add(out, ",");
    add_real(out, p->ours.value * back);
    pq_text_add(out, ",");
    add_real(out, p->ours.lo * back);
    pq_text_add(out, ",");
    add_real(out, p->ours.hi * back);
    pq_text_add(out, ",");
    out->failed = out->failed || word.failed;
    pq_text_free(&word);
    add_agreement(p, &word);
    pq_csv_add(out, word.text != NULL ? word.text : "");
    pq_text_add(out, ",");
    pq_csv_add(out, why_of(p));
    pq_text_add(out, ",");
    pq_csv_add(out, pq_json_get_text(p->entry, "source"));
    pq_text_add(out, "\n");
    out->failed = out->failed || word.failed;
    pq_text_free(&word);
}

void pq_published_csv(const pq_view *v, pq_text *out)
{
    pq_text_add(out, "cell,metric,published,ours,lo,hi,agreement,why,source\n");
    walk(v, add_csv, out);
}
