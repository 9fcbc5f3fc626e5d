#include "report/btag_table.h"

#include <stddef.h>
#include <string.h>

static const pq_sheet_column columns[] = {
    {"model", "model", PQ_SHEET_TEXT, 1.0, 0},
    {"working_point", "working point", PQ_SHEET_TEXT, 1.0, 0},
    {"efficiency", "efficiency / %", PQ_SHEET_INTERVAL, 100.0, 4},
    {"background", "background", PQ_SHEET_TEXT, 1.0, 0},
    {"rejection", "rejection", PQ_SHEET_INTERVAL, 1.0, 3},
    {"ratio", "over the reference's", PQ_SHEET_INTERVAL, 1.0, 3},
    {"efficiency_reused", "efficiency at the reference's cut / %", PQ_SHEET_INTERVAL,
     100.0, 4},
    {"rejection_reused", "rejection there", PQ_SHEET_INTERVAL, 1.0, 3},
};

/* A working point and a background in a column's name. */
typedef struct {
    char prefix[64];    /* "btag.70", "btag.light.0.01" */
    char point[48];     /* "b 70 %", "light mistag 1 %" */
    char background[8]; /* "light" */
} place;

static bool is_flavour(const char *text)
{
    static const char *const flavours[] = {"light", "c", "b", "tau"};

    for (size_t i = 0; i < sizeof flavours / sizeof *flavours; i++) {
        if (strcmp(text, flavours[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* "btag.70.rejection_light", "ctag.30.rejection_b", "btag.light.0.01.rejection_c"; not
 * what is in bins, nor ratios. */
static bool read_place(const char *name, place *out)
{
    static const char key[] = ".rejection_";
    const char       *end   = strstr(name, key), *at, *held;
    double            rate;

    if ((strncmp(name, "btag.", 5) != 0 && strncmp(name, "ctag.", 5) != 0) ||
        end == NULL || end - name >= (ptrdiff_t)sizeof out->prefix ||
        !is_flavour(end + strlen(key))) {
        return false;
    }
    at   = name + 5;
    held = strncmp(at, "light.", 6) == 0 ? "light"
           : strncmp(at, "c.", 2) == 0   ? "c"
                                         : NULL;
    at += held != NULL ? strlen(held) + 1 : 0;
    (void)pq_snprintf(out->prefix, sizeof out->prefix, "%.*s", (int)(end - name), name);
    if (!pq_parse_real(out->prefix + (at - name), PQ_UNIT_NONE, &rate)) {
        return false;
    }
    (void)pq_snprintf(out->background, sizeof out->background, "%s", end + strlen(key));
    if (held != NULL) {
        (void)pq_snprintf(out->point, sizeof out->point, "%s mistag %.10g %%", held,
                          100.0 * rate);
    } else {
        (void)pq_snprintf(out->point, sizeof out->point, "%c %.10g %%", name[0], rate);
    }
    return true;
}

static pq_number number(const pq_view *v, size_t row, const char *prefix,
                        const char *what, const char *flavour, const char *end)
{
    char name[128];

    (void)pq_snprintf(name, sizeof name, "%s.%s%s%s", prefix, what, flavour, end);
    return pq_view_number(v, row, pq_view_column_of(v, name));
}

static void add(pq_sheet *out, pq_number n)
{
    pq_sheet_add_number(out, n.value, n.lo, n.hi);
}

static void add_row(const pq_view *v, size_t row, const place *p, pq_sheet *out)
{
    pq_sheet_add_text(out, v->rows[row].label);
    pq_sheet_add_text(out, p->point);
    add(out, number(v, row, p->prefix, "efficiency", "", ""));
    pq_sheet_add_text(out, p->background);
    add(out, number(v, row, p->prefix, "rejection_", p->background, ""));
    add(out, number(v, row, p->prefix, "rejection_", p->background, "_ratio"));
    add(out, number(v, row, p->prefix, "efficiency_reused", "", ""));
    add(out, number(v, row, p->prefix, "rejection_", p->background, "_reused"));
}

void pq_tagging_table(const pq_view *v, pq_sheet *out)
{
    place p;

    *out = (pq_sheet){.columns = columns, .n_columns = sizeof columns / sizeof *columns};
    for (size_t r = 0; r < v->n_rows; r++) {
        for (size_t c = 0; v->rows[r].done && c < v->n_columns; c++) {
            if (read_place(v->columns[c].name, &p)) {
                add_row(v, r, &p, out);
            }
        }
    }
}
