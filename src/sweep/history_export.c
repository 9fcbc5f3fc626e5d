/* Histories for other programs. */
#include <math.h>

#include "sweep/history.h"

/* A text between double quotes, those in it doubled (RFC 4180). */
static void add_field(pq_text *out, const char *text)
{
    pq_text_add(out, "\"");
    for (const char *p = text; *p != '\0'; p++) {
        pq_text_add(out, "%s%c", *p == '"' ? "\"" : "", *p);
    }
    pq_text_add(out, "\"");
}

static void add_column(pq_text *out, const pq_series *s)
{
    pq_text name = {0};

    pq_text_add(&name, "%s: %s", s->cell, s->metric);
    add_field(out, name.text != NULL ? name.text : "");
    out->failed = out->failed || name.failed;
    pq_text_free(&name);
}

void pq_history_csv(const pq_history *h, pq_text *out)
{
    pq_text_add(out, "time,pquant");
    for (size_t s = 0; s < h->n; s++) {
        pq_text_add(out, ",");
        add_column(out, &h->series[s]);
    }
    pq_text_add(out, "\n");
    for (size_t i = 0; i < h->nights; i++) {
        pq_text_add(out, "%s,", h->made[i]);
        add_field(out, h->program[i]);
        for (size_t s = 0; s < h->n; s++) {
            pq_text_add(out, ",");
            if (isfinite(h->series[s].value[i])) {
                pq_text_add(out, "%.17g", h->series[s].value[i]);
            }
        }
        pq_text_add(out, "\n");
    }
}

/* A text as it stands between double quotes in YAML. */
static void add_yaml(pq_text *out, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        pq_text_add(out, "%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p);
    }
}

void pq_history_otava(const pq_history *h, const char *csv, pq_text *out)
{
    pq_text_add(out, "tests:\n  \"");
    add_yaml(out, h->name);
    pq_text_add(out, "\":\n    type: csv\n    file: \"");
    add_yaml(out, csv);
    pq_text_add(out,
                "\"\n    time_column: time\n    attributes: [pquant]\n    metrics:\n");
    for (size_t s = 0; s < h->n; s++) {
        const pq_series *one = &h->series[s];
        pq_text_add(out, "      m%zu: {direction: %d, column: \"", s,
                    one->better < 0 ? -1 : 1);
        add_yaml(out, one->cell);
        pq_text_add(out, ": ");
        add_yaml(out, one->metric);
        pq_text_add(out, "\"}\n");
    }
}
