/* Findings of gates, as they are printed. */
#include "cli/findings.h"

#include <math.h>
#include <stdio.h>

#include "cli/say.h"
#include "core/memory.h"
#include "core/visible.h"
#include "store/json.h"
#include "sweep/snapshot.h"

const char *pq_findings_number(double value, char *buffer, size_t size)
{
    if (isnan(value)) {
        return "";
    }
    (void)pq_snprintf(buffer, size, "%.6g", value);
    return buffer;
}

void pq_findings_print(const pq_findings *f)
{
    char before[32], now[32], worse[32], p[32];

    for (size_t i = 0; i < f->n; i++) {
        const pq_finding *one = &f->items[i];
        if (one->verdict == PQ_GATE_PASS) {
            continue;
        }
        pq_say(stdout, "%-12s %-28s %-18s %10s -> %-10s %10s%s%s%s%s\n",
               pq_verdict_names[one->verdict], one->label, one->metric,
               pq_findings_number(one->before, before, sizeof before),
               pq_findings_number(one->now, now, sizeof now),
               pq_findings_number(one->worse, worse, sizeof worse),
               isnan(one->p) ? "" : "  p = ", pq_findings_number(one->p, p, sizeof p),
               *one->why != '\0' ? "  " : "", one->why);
    }
}

json_t *pq_findings_json(const pq_findings *f)
{
    json_t *list = json_array();

    for (size_t i = 0; i < f->n; i++) {
        const pq_finding *one = &f->items[i];
        (void)json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "cell", one->label,
                      "metric", one->metric, "verdict", pq_verdict_names[one->verdict],
                      "before", pq_json_real(one->before), "now", pq_json_real(one->now),
                      "worse", pq_json_real(one->worse), "limit",
                      pq_json_real(one->limit), "p", pq_json_real(one->p), "why",
                      one->why));
    }
    return list;
}

/* A text in an attribute: no character that XML forbids. */
static void add_attribute(pq_text *out, const char *name, const char *text)
{
    pq_text_add(out, " %s=\"", name);
    while (*text != '\0') {
        uint32_t     code;
        const size_t n = pq_utf8_read(text, &code);
        if (n == 0 || code < 0x20 || code == 0xFFFE || code == 0xFFFF) {
            pq_text_add(out, "&#65533;");
        } else if (code == '<' || code == '>' || code == '&' || code == '"') {
            pq_text_add(out, "&#%u;", (unsigned)code);
        } else {
            pq_text_add_bytes(out, text, n);
        }
        text += n != 0 ? n : 1;
    }
    pq_text_add(out, "\"");
}

static void add_case(pq_text *out, const pq_finding *one)
{
    static const char *const kinds[PQ_GATE_VERDICTS] = {[PQ_GATE_EXPECTED] = "skipped",
                                                        [PQ_GATE_INCONCLUSIVE] =
                                                            "skipped",
                                                        [PQ_GATE_SUSPECT] = "failure",
                                                        [PQ_GATE_MISSING] = "error",
                                                        [PQ_GATE_FAIL]    = "failure"};
    char                     before[32], now[32];
    char                     message[256];

    pq_text_add(out, "  <testcase");
    add_attribute(out, "classname", one->label);
    add_attribute(out, "name", one->metric);
    if (kinds[one->verdict] == NULL) {
        pq_text_add(out, "/>\n");
        return;
    }
    (void)snprintf(message, sizeof message, "%s: %s -> %s %s",
                   pq_verdict_names[one->verdict],
                   pq_findings_number(one->before, before, sizeof before),
                   pq_findings_number(one->now, now, sizeof now), one->why);
    pq_text_add(out, "><%s", kinds[one->verdict]);
    add_attribute(out, "message", message);
    pq_text_add(out, "/></testcase>\n");
}

void pq_findings_junit(pq_text *out, const char *name, const pq_findings *f)
{
    pq_text_add(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite");
    add_attribute(out, "name", name);
    pq_text_add(out, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\">\n",
                f->n, f->count[PQ_GATE_FAIL] + f->count[PQ_GATE_SUSPECT],
                f->count[PQ_GATE_MISSING],
                f->count[PQ_GATE_INCONCLUSIVE] + f->count[PQ_GATE_EXPECTED]);
    for (size_t i = 0; i < f->n; i++) {
        add_case(out, &f->items[i]);
    }
    pq_text_add(out, "</testsuite>\n");
}

void pq_findings_print_new(const json_t *before, const json_t *now, const char *where)
{
    json_t       *index = pq_snapshot_index(before);
    const json_t *cell;
    size_t        i;

    json_array_foreach(json_object_get((json_t *)now, "cells"), i, cell)
    {
        const json_int_t repeat = json_integer_value(json_object_get(cell, "repeat"));
        char            *key    = pq_snapshot_key(cell);
        if (key != NULL && index != NULL && json_object_get(index, key) == NULL) {
            char *of = repeat > 0 ? pq_format(", repeat %lld", (long long)repeat) : NULL;
            pq_say(stdout, "not compared: %s%s is not in %s\n",
                   pq_json_get_text(cell, "label"), of != NULL ? of : "", where);
            pq_free(of);
        }
        pq_free(key);
    }
    json_decref(index);
}
