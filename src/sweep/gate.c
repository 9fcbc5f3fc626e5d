#include "sweep/gate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "metrics/tests.h"
#include "store/json.h"
#include "sweep/gate_inside.h"
#include "sweep/snapshot.h"

enum { NOISY_FAILS = 1 };

const char *const pq_verdict_names[PQ_GATE_VERDICTS] = {
    "pass", "expected", "inconclusive", "suspect", "missing", "fail"};

static const char latency[] = "latency.";

/* Findings of one gate, and what the tests said. */
typedef struct {
    const pq_gate *gate;
    pq_findings   *findings;
    size_t         first; /* of the gate */
    size_t         room;
    pq_gate_case  *cases; /* of the findings from `first` on */
    double         usual; /* spread of times */
    const char    *batch; /* "latency.b1", or NULL */
} judging;

pq_status pq_gates_of_plan(const json_t *plan, pq_gate **out, size_t *n, pq_err *err)
{
    json_t       *all = json_object_get(plan, "gates");
    const char   *name, *key;
    const json_t *one, *value;
    pq_gate      *gates = NULL;
    size_t        count = 0;
    pq_status     st;

    PQ_NEW(gates, json_object_size(all) + 1);
    json_object_foreach(all, name, one)
    {
        pq_gate *gate = &gates[count++];
        PQ_STRDUP(gate->metric, name);
        PQ_TRY(pq_params_default(pq_gate_params, gate, err));
        json_object_foreach((json_t *)one, key, value)
        {
            st =
                pq_params_set(pq_gate_params, gate, key,
                              json_is_string(value) ? json_string_value(value) : "", err);
            if (st != PQ_OK) {
                pq_err_context(err, "plan.json: gates.%s", name);
                goto cleanup;
            }
        }
    }
    *out  = gates;
    *n    = count;
    gates = NULL;
cleanup:
    pq_gates_free(&gates, count);
    return st;
}

void pq_gates_free(pq_gate **gates, size_t n)
{
    for (size_t i = 0; *gates != NULL && i < n; i++) {
        pq_free((*gates)[i].metric);
    }
    pq_free(*gates);
    *gates = NULL;
}

pq_status pq_findings_add(pq_findings *f, const json_t *cell, const char *metric,
                          pq_finding **out, pq_err *err)
{
    const size_t repeat = (size_t)json_integer_value(json_object_get(cell, "repeat"));
    pq_finding  *items;
    pq_status    st;

    if (f->n == f->room) {
        items = pq_recalloc(f->items, f->room, 2 * f->room + 64, sizeof *items);
        PQ_CHECK(items != NULL, PQ_ERR_NOMEM, "cannot allocate findings");
        f->items = items;
        f->room  = 2 * f->room + 64;
    }
    *out  = &f->items[f->n++];
    **out = (pq_finding){.before = (double)NAN,
                         .now    = (double)NAN,
                         .worse  = (double)NAN,
                         .limit  = (double)NAN,
                         .p      = (double)NAN};
    (*out)->label =
        repeat > 0 ? pq_format("%s, repeat %zu", pq_json_get_text(cell, "label"), repeat)
                   : pq_strdup(pq_json_get_text(cell, "label"));
    PQ_STRDUP((*out)->metric, metric);
    PQ_CHECK((*out)->label != NULL, PQ_ERR_NOMEM, "cannot allocate findings");
cleanup:
    return st;
}

/* A new finding of a cell by the gate at work. */
static pq_status add(judging *j, const json_t *cell, const char *metric, pq_finding **out,
                     pq_gate_case **found, pq_err *err)
{
    const size_t  at = j->findings->n - j->first;
    pq_gate_case *cases;
    pq_status     st;

    if (at == j->room) {
        cases = pq_recalloc(j->cases, j->room, 2 * j->room + 64, sizeof *cases);
        PQ_CHECK(cases != NULL, PQ_ERR_NOMEM, "cannot allocate findings");
        j->cases = cases;
        j->room  = 2 * j->room + 64;
    }
    PQ_TRY(pq_findings_add(j->findings, cell, metric, out, err));
    *found  = &j->cases[at];
    **found = (pq_gate_case){0};
cleanup:
    return st;
}

/* Whether a gate named "auc" or "auc.macro" is about a metric. */
static bool is_about(const pq_gate *gate, const char *metric)
{
    const size_t n = strlen(gate->metric);

    return strncmp(metric, gate->metric, n) == 0 &&
           (metric[n] == '\0' || metric[n] == '.');
}

/* A cell without a number tonight. */
static bool is_absent(const json_t *now)
{
    const char *status = pq_json_get_text(now, "status");

    return now == NULL || strcmp(status, "missing") == 0;
}

static bool has_failed(const json_t *now)
{
    const char *status = pq_json_get_text(now, "status");

    return strcmp(status, "ok") != 0 && strcmp(status, "infeasible") != 0;
}

static pq_status judge_metric(judging *j, const json_t *before, const json_t *now,
                              const char *metric, pq_err *err)
{
    pq_finding   *f;
    pq_gate_case *found;
    pq_status     st;

    PQ_TRY(add(j, before, metric, &f, &found, err));
    if (is_absent(now) || has_failed(now)) {
        f->verdict = is_absent(now) ? PQ_GATE_MISSING : PQ_GATE_FAIL;
        (void)snprintf(f->why, sizeof f->why, "%s",
                       is_absent(now) ? "not there" : "the cell failed");
    } else if (j->batch == NULL) {
        *found = pq_gate_number(before, now, j->gate, f);
    } else if (json_object_get(json_object_get(now, "timings"), metric) == NULL) {
        f->verdict = PQ_GATE_MISSING;
        (void)snprintf(f->why, sizeof f->why, "not timed");
    } else {
        PQ_TRY(pq_gate_times(before, now, j->gate, j->usual, f, found, err));
    }
cleanup:
    return st;
}

static pq_status judge_cell(judging *j, const json_t *before, const json_t *now,
                            pq_err *err)
{
    const char   *name;
    const json_t *value;
    pq_status     st = PQ_OK;

    if (j->batch != NULL) {
        return json_object_get(json_object_get(before, "timings"), j->batch) == NULL ||
                       json_is_true(json_object_get(before, "reference"))
                   ? PQ_OK
                   : judge_metric(j, before, now, j->batch, err);
    }
    json_object_foreach(json_object_get((json_t *)before, "metrics"), name, value)
    {
        if (is_about(j->gate, name)) {
            PQ_TRY(judge_metric(j, before, now, name, err));
        }
    }
cleanup:
    return st;
}

/* How often a suspect has been found in measurements of its own, this one too. */
static size_t times_seen(json_t *suspects, const char *key, const char *at)
{
    json_t      *known = json_object_get(suspects, key);
    const size_t times = (size_t)json_integer_value(json_object_get(known, "times"));
    const bool   again =
        known != NULL && strcmp(pq_json_get_text(known, "measured"), at) != 0;
    const size_t now = known == NULL ? 1 : times + again;

    (void)json_object_set_new(
        suspects, key, json_pack("{s:I, s:s}", "times", (json_int_t)now, "measured", at));
    return now;
}

static void decide_times(const judging *j, pq_finding *f, const pq_gate_case *found,
                         json_t *suspects)
{
    char *key = pq_format("%s|%s", f->label, f->metric);
    char  limit[sizeof f->why]; /* said before */

    f->verdict = PQ_GATE_PASS;
    if (found->noisy) {
        f->verdict = j->gate->noisy == NOISY_FAILS ? PQ_GATE_FAIL : PQ_GATE_INCONCLUSIVE;
    } else if (found->over && !(f->p < j->gate->alpha)) {
        f->verdict = PQ_GATE_INCONCLUSIVE;
        (void)snprintf(f->why, sizeof f->why, "not significant");
    } else if (found->over && key != NULL) {
        const size_t times = times_seen(suspects, key, found->at);
        f->verdict = times > (size_t)j->gate->confirm ? PQ_GATE_FAIL : PQ_GATE_SUSPECT;
        (void)snprintf(limit, sizeof limit, "%s", f->why);
        (void)pq_snprintf(
            f->why, sizeof f->why, "slower in %zu of %lld measurements%s%.90s", times,
            (long long)j->gate->confirm + 1, *limit != '\0' ? ", " : "", limit);
    }
    if (key != NULL && f->verdict == PQ_GATE_PASS) {
        (void)json_object_del(suspects, key);
    }
    pq_free(key);
}

static void decide_number(const judging *j, pq_finding *f, const pq_gate_case *found)
{
    if (!found->over) {
        f->verdict = PQ_GATE_PASS;
        f->why[0]  = '\0';
    } else if (j->gate->test == PQ_GATE_UNTESTED || isnan(f->now) ||
               f->p < j->gate->alpha) {
        f->verdict = PQ_GATE_FAIL;
    } else {
        f->verdict = PQ_GATE_INCONCLUSIVE;
        (void)snprintf(f->why, sizeof f->why, "not significant");
    }
}

/* Verdicts of one gate, once all its cells were tested. */
static pq_status decide(judging *j, json_t *suspects, pq_err *err)
{
    const size_t n  = j->findings->n - j->first;
    pq_finding  *f  = &j->findings->items[j->first];
    double      *p  = NULL;
    pq_status    st = PQ_OK;

    PQ_NEW(p, n);
    for (size_t i = 0; i < n; i++) {
        p[i] = f[i].p;
    }
    PQ_TRY(pq_false_discovery(p, n, err));
    for (size_t i = 0; i < n; i++) {
        f[i].p = p[i];
        if (f[i].verdict == PQ_GATE_PASS && j->batch != NULL) {
            decide_times(j, &f[i], &j->cases[i], suspects);
        } else if (f[i].verdict == PQ_GATE_PASS) {
            decide_number(j, &f[i], &j->cases[i]);
        }
        j->findings->count[f[i].verdict]++;
    }
cleanup:
    pq_free(p);
    return st;
}

static pq_status judge_gate(const json_t *before, const json_t *now, const json_t *index,
                            judging *j, json_t *suspects, pq_err *err)
{
    char         *batch = NULL;
    const json_t *cell;
    size_t        i;
    pq_status     st = PQ_OK;

    j->first = j->findings->n;
    if (strncmp(j->gate->metric, latency, sizeof latency - 1) == 0) {
        const size_t n = sizeof latency - 1;
        batch          = pq_format("%.*s", (int)(n + strcspn(j->gate->metric + n, ".")),
                                   j->gate->metric);
        PQ_CHECK(batch != NULL, PQ_ERR_NOMEM, "cannot allocate findings");
        j->batch = batch;
        PQ_TRY(pq_gate_spread(before, now, batch, &j->usual, err));
    }
    json_array_foreach(json_object_get((json_t *)before, "cells"), i, cell)
    {
        char         *key  = pq_snapshot_key(cell);
        const json_t *mate = key != NULL ? json_object_get(index, key) : NULL;
        pq_free(key);
        PQ_TRY(judge_cell(j, cell, mate, err));
    }
    PQ_TRY(decide(j, suspects, err));
cleanup:
    pq_free(batch);
    pq_free(j->cases);
    return st;
}

pq_status pq_gate_judge(const json_t *before, const json_t *now, const pq_gate *gates,
                        size_t n_gates, json_t *suspects, pq_findings *out, pq_err *err)
{
    pq_findings all   = {0};
    json_t     *index = pq_snapshot_index(now);
    pq_status   st    = PQ_OK;

    PQ_CHECK(index != NULL, PQ_ERR_NOMEM, "cannot allocate findings");
    for (size_t g = 0; g < n_gates; g++) {
        judging j = {.gate = &gates[g], .findings = &all};
        PQ_TRY(judge_gate(before, now, index, &j, suspects, err));
    }
    *out = all;
    all  = (pq_findings){0};
cleanup:
    json_decref(index);
    pq_findings_free(&all);
    return st;
}

void pq_findings_free(pq_findings *findings)
{
    for (size_t i = 0; i < findings->n; i++) {
        pq_free(findings->items[i].label);
        pq_free(findings->items[i].metric);
    }
    pq_free(findings->items);
    *findings = (pq_findings){0};
}
