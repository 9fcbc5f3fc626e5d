/* The numbers of a page for its script, and the skeleton that all stands in. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "report/page_files.h" /* made by the build of page.css, page.html and page.js */
#include "report/page_inside.h"
#include "report/plot.h"
#include "store/json.h"

/* 1 where more is better, -1 where less is, 0 where neither. */
static int better_of(const pq_view *v, const char *name)
{
    for (size_t r = 0; r < v->n_rows; r++) {
        const json_t *metric =
            json_object_get(json_object_get(v->rows[r].cell, "metrics"), name);
        const char *better = pq_json_get_text(metric, "better");
        if (*better != '\0') {
            return strcmp(better, "higher") == 0 ? 1 : -(strcmp(better, "lower") == 0);
        }
    }
    return strcmp(name, "delta_accuracy") == 0 || strcmp(name, "size_ratio") == 0;
}

static json_t *columns_of(const pq_view *v)
{
    json_t *all = json_array();

    for (size_t c = 0; c < v->n_columns; c++) {
        (void)json_array_append_new(
            all, json_pack("{s:s, s:s, s:s, s:i}", "name", v->columns[c].name, "title",
                           v->columns[c].title, "unit", v->columns[c].unit, "better",
                           better_of(v, v->columns[c].name)));
    }
    return all;
}

/* As it is shown, to seven digits: more would only be bytes. */
static json_t *number_of(double x, double scale)
{
    char text[32];

    if (!isfinite(x)) {
        return json_null();
    }
    (void)pq_snprintf(text, sizeof text, "%.7g", x * scale);
    return json_loads(text, JSON_DECODE_ANY, NULL);
}

static json_t *row_of(const pq_view *v, size_t r)
{
    json_t *value = json_array(), *lo = json_array(), *hi = json_array();

    for (size_t c = 0; c < v->n_columns; c++) {
        const pq_number n     = pq_view_number(v, r, c);
        const double    scale = v->columns[c].scale;
        (void)json_array_append_new(value, number_of(n.value, scale));
        (void)json_array_append_new(lo, number_of(n.lo, scale));
        (void)json_array_append_new(hi, number_of(n.hi, scale));
    }
    return json_pack("{s:s, s:s, s:b, s:i, s:o, s:o, s:o}", "label", v->rows[r].label,
                     "key", pq_json_get_text(v->rows[r].cell, "eval"), "reference",
                     r == v->reference, "group",
                     v->rows[r].color == PQ_VIEW_NONE ? -1 : (int)v->rows[r].color, "v",
                     value, "lo", lo, "hi", hi);
}

/* Pipelines that plots name, by the number of their colour; null where no row is shown.
 */
static json_t *groups_of(const pq_view *v)
{
    json_t *all = json_array();

    for (size_t color = 0; color < PQ_NAMED_MAX; color++) {
        size_t r = 0;
        while (r < v->n_rows && !(v->rows[r].done && v->rows[r].color == color)) {
            r++;
        }
        (void)json_array_append_new(
            all, r == v->n_rows ? json_null()
                                : json_pack("{s:s, s:s}", "name", v->rows[r].pipeline,
                                            "color", pq_plot_color(color)));
    }
    return all;
}

/* JSON that no browser takes for the end of its element. */
static void add_json(const json_t *json, pq_text *out)
{
    char *text =
        json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(7) | JSON_ENSURE_ASCII);

    out->failed = out->failed || text == NULL;
    for (const char *p = text; p != NULL && *p != '\0'; p++) {
        if (*p == '<' || *p == '>' || *p == '&') {
            pq_text_add(out, "\\u%04x", (unsigned)*p);
        } else {
            pq_text_add_bytes(out, p, 1);
        }
    }
    free(text);
}

static void add_data(const pq_view *v, pq_text *out)
{
    json_t *rows = json_array(), *all;

    for (size_t r = 0; r < v->n_rows; r++) {
        if (v->rows[r].done) { /* as tables count them */
            (void)json_array_append_new(rows, row_of(v, r));
        }
    }
    all = json_pack("{s:s, s:o, s:o, s:o}", "config",
                    pq_json_get_text(v->results, "config"), "columns", columns_of(v),
                    "groups", groups_of(v), "rows", rows);
    add_json(all, out);
    json_decref(all);
}

void pq_page_fill(const pq_view *v, const pq_text *body, pq_text *out)
{
    static const char *const names[] = {"@title@", "@style@", "@body@", "@data@",
                                        "@script@"};

    for (const char *at = page_html; *at != '\0';) {
        size_t i = 0;
        while (i < 5 && strncmp(at, names[i], strlen(names[i])) != 0) {
            i++;
        }
        if (i == 0) {
            pq_escape_add(out, v->name, PQ_STYLE_HTML);
        } else if (i == 1) {
            pq_text_add_bytes(out, page_css, sizeof page_css - 1);
        } else if (i == 2) {
            pq_text_add_bytes(out, body->text, body->length);
        } else if (i == 3) {
            add_data(v, out);
        } else if (i == 4) {
            pq_text_add_bytes(out, page_js, sizeof page_js - 1);
        }
        if (i == 5) {
            pq_text_add_bytes(out, at, 1);
        }
        at += i == 5 ? 1 : strlen(names[i]);
    }
}
