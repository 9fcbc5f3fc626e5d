#include "support.h"

#include <math.h>
#include <stdio.h>

#include "metrics/tests.h"
#include "sweep/gate.h"
#include "sweep/references.h"
#include "sweep/snapshot.h"

enum { EVENTS = 4000, PROCESSES = 6, SAMPLES = 7 * PROCESSES, CELLS = 30, NIGHTS = 50 };

/* How times scatter on a host that is quiet, and how they are measured. */
typedef struct {
    size_t processes; /* 0: as records had them before there were several */
    double scatter;   /* of the median of one process, of the same code */
} host;

static const host nightly_host = {PROCESSES, 0.015};

/* Gates as configs/nightly.yaml has them. */
static const char *const nightly =
    "{\"gates\": {\"accuracy\": {\"max_loss\": \"0.002\", \"test\": \"paired\"},"
    " \"stored_bytes\": {\"max_increase\": \"0\"},"
    " \"latency.b1.ratio\": {\"max_increase\": \"0.05\", \"test\": \"mann-whitney\","
    " \"alpha\": \"0.002\", \"confirm\": \"1\"}}}";

static json_t *metric(double value, double sigma, const char *better)
{
    return json_pack("{s:f, s:f, s:f, s:s}", "value", value, "lo", value - sigma, "hi",
                     value + sigma, "better", better);
}

static json_t *cell(const char *label, double accuracy, double bytes)
{
    return json_pack(
        "{s:s, s:i, s:s, s:b, s:s, s:{s:o, s:o}, s:{}}", "label", label, "repeat", 0,
        "status", "ok", "reference", 0, "events", "abc", "metrics", "accuracy",
        metric(accuracy, 0.007, "higher"), "stored_bytes",
        json_pack("{s:f, s:n, s:n, s:s}", "value", bytes, "lo", "hi", "better", "lower"),
        "timings");
}

static json_t *snapshot(void)
{
    return json_pack("{s:s, s:s, s:[]}", "schema", PQ_BASELINE_SCHEMA, "name", "t",
                     "cells");
}

static void add_cell(json_t *to, json_t *one)
{
    cr_assert_eq(json_array_append_new(json_object_get(to, "cells"), one), 0);
}

/* Events decided right, of which so many are lost and as many of the others won, and the
 * accuracy that this is. */
static void set_correct(json_t *one, size_t lost, size_t won)
{
    pq_rng rng                    = pq_rng_stream(4, "events");
    char   digits[EVENTS / 4 + 1] = "";
    size_t all                    = 0;

    for (size_t i = 0; i < EVENTS; i += 4) {
        unsigned bits = 0;
        for (size_t k = 0; k < 4; k++) {
            bool right = pq_rng_bits(&rng) % 4 != 0;
            if (right ? lost > 0 : won > 0) {
                lost -= right;
                won -= !right;
                right = !right;
            }
            bits |= (unsigned)right << k;
            all += right;
        }
        digits[i / 4] = "0123456789abcdef"[bits];
    }
    (void)json_object_set_new(one, "correct", json_string(digits));
    (void)json_object_set_new(
        json_object_get(json_object_get(one, "metrics"), "accuracy"), "value",
        json_real((double)all / EVENTS));
}

static pq_findings judge(const char *plan, const json_t *before, const json_t *now,
                         json_t *suspects)
{
    json_t     *p     = json_loads(plan, 0, NULL);
    pq_gate    *gates = NULL;
    size_t      n     = 0;
    pq_findings found;

    cr_assert_not_null(p);
    OK(pq_gates_of_plan(p, &gates, &n, ERR));
    OK(pq_gate_judge(before, now, gates, n, suspects, &found, ERR));
    pq_gates_free(&gates, n);
    json_decref(p);
    return found;
}

static pq_verdict verdict_of(const pq_findings *f, const char *label, const char *name)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->items[i].label, label) == 0 &&
            strcmp(f->items[i].metric, name) == 0) {
            return f->items[i].verdict;
        }
    }
    cr_assert_fail("no finding of %s, %s", label, name);
    return PQ_GATE_VERDICTS;
}

/* The verdict on an accuracy after so many events of 4,000 changed sides. */
static pq_verdict accuracy_gate(size_t lost, size_t won, bool paired)
{
    json_t     *before = snapshot(), *now = snapshot(), *suspects = json_object();
    json_t     *a = cell("svd", 0.7, 100), *b = cell("svd", 0.7, 100);
    pq_findings f;
    pq_verdict  verdict;

    set_correct(a, 0, 0);
    set_correct(b, lost, won);
    if (!paired) {
        (void)json_object_del(b, "correct");
    }
    add_cell(before, a);
    add_cell(now, b);
    f       = judge(nightly, before, now, suspects);
    verdict = verdict_of(&f, "svd", "accuracy");
    pq_findings_free(&f);
    json_decref(before);
    json_decref(now);
    json_decref(suspects);
    return verdict;
}

Test(gate, a_loss_of_one_point_is_caught_event_by_event)
{
    cr_expect_eq(accuracy_gate(0, 0, true), PQ_GATE_PASS);
    cr_expect_eq(accuracy_gate(48, 8, true), PQ_GATE_FAIL, "one point");
    cr_expect_eq(accuracy_gate(80, 80, true), PQ_GATE_PASS, "as many won as lost");
    cr_expect_eq(accuracy_gate(90, 78, true), PQ_GATE_INCONCLUSIVE,
                 "beyond 0.2 points, but of many that changed sides");
    cr_expect_eq(accuracy_gate(8, 0, true), PQ_GATE_PASS, "no more than 0.2 points");
    cr_expect_eq(accuracy_gate(0, 40, true), PQ_GATE_PASS, "better");
}

Test(gate, without_the_events_only_a_larger_loss_is_significant)
{
    cr_expect_eq(accuracy_gate(48, 8, false), PQ_GATE_INCONCLUSIVE);
    cr_expect_eq(accuracy_gate(200, 0, false), PQ_GATE_FAIL);
}

Test(gate, bytes_are_exact_and_what_is_not_there_is_told)
{
    json_t     *before = snapshot(), *now = snapshot(), *suspects = json_object();
    json_t     *failed = cell("failed", 0.7, 100);
    pq_findings f;

    add_cell(before, cell("same", 0.7, 100));
    add_cell(before, cell("larger", 0.7, 100));
    add_cell(before, cell("smaller", 0.7, 100));
    add_cell(before, cell("gone", 0.7, 100));
    add_cell(before, cell("failed", 0.7, 100));
    add_cell(now, cell("same", 0.7, 100));
    add_cell(now, cell("larger", 0.7, 101));
    add_cell(now, cell("smaller", 0.7, 99));
    add_cell(now, cell("new", 0.1, 1e6));
    (void)json_object_set_new(failed, "status", json_string("crashed"));
    add_cell(now, failed);
    f = judge(nightly, before, now, suspects);
    cr_expect_eq(verdict_of(&f, "same", "stored_bytes"), PQ_GATE_PASS);
    cr_expect_eq(verdict_of(&f, "larger", "stored_bytes"), PQ_GATE_FAIL);
    cr_expect_eq(verdict_of(&f, "smaller", "stored_bytes"), PQ_GATE_PASS);
    cr_expect_eq(verdict_of(&f, "gone", "stored_bytes"), PQ_GATE_MISSING);
    cr_expect_eq(verdict_of(&f, "failed", "stored_bytes"), PQ_GATE_FAIL);
    cr_expect_eq(f.count[PQ_GATE_FAIL], 3, "one cell by two gates, and the larger");
    cr_expect_eq(f.count[PQ_GATE_MISSING], 2);
    pq_findings_free(&f);
    json_decref(before);
    json_decref(now);
    json_decref(suspects);
}

/* Medians of processes as a snapshot has them. */
static json_t *medians_of(const double *ratios, size_t processes)
{
    json_t *all = json_array();
    double  part[SAMPLES];

    for (size_t p = 0; p < processes; p++) {
        const size_t first = SAMPLES * p / processes;
        const size_t n     = SAMPLES * (p + 1) / processes - first;
        memcpy(part, ratios + first, n * sizeof *part);
        (void)json_array_append_new(all, json_real(pq_median_of(part, n)));
    }
    return all;
}

/* A night's times. Seen on busy machines (docs/measurement.md): samples of one process
 * scatter by 3 % with a tail, each process as a whole by what the host has, and one night
 * in eight is noisy: some samples take twice the time, and the stopwatch says so. */
static json_t *night(const host *h, pq_rng *rng, size_t number, double slower)
{
    const size_t processes = h->processes > 0 ? h->processes : 1;
    json_t      *all       = snapshot();
    bool         noisy     = pq_rng_bits(rng) % 8 == 0;
    char         label[16], date[32];

    (void)snprintf(date, sizeof date, "session %zu", number);
    for (size_t c = 0; c < CELLS; c++) {
        json_t *one, *list = json_array(), *timing;
        double  base = (0.3 + 0.05 * (double)c) * (c == 7 ? slower : 1.0);
        double  ratios[SAMPLES], here = 0.0;
        (void)snprintf(label, sizeof label, "cell %zu", c);
        for (size_t i = 0; i < SAMPLES; i++) {
            if (i == 0 || i * processes / SAMPLES != (i - 1) * processes / SAMPLES) {
                here = base * exp(h->scatter * (double)pq_rng_normal(rng));
            }
            ratios[i] = here * exp(0.03 * (double)pq_rng_normal(rng));
            ratios[i] *= pq_rng_bits(rng) % 20 == 0 ? 1.3 : 1.0;
            ratios[i] *= noisy && pq_rng_bits(rng) % 3 == 0 ? 2.0 : 1.0;
            (void)json_array_append_new(list, json_real(ratios[i]));
        }
        one    = cell(label, 0.7, 100);
        timing = json_pack("{s:o, s:b, s:s, s:s}", "ratios", list, "noisy", (int)noisy,
                           "machine", "one", "measured", date);
        if (h->processes > 0) {
            (void)json_object_set_new(timing, "processes",
                                      medians_of(ratios, h->processes));
        }
        (void)json_object_set_new(json_object_get(one, "timings"), "latency.b1", timing);
        add_cell(all, one);
    }
    return all;
}

/* A night as the crontab has it: gate, and once more after measuring again if something
 * is suspect. True when it ends red. */
static bool is_red(const host *h, const json_t *before, pq_rng *rng, size_t *session,
                   double slower, size_t *again)
{
    json_t *suspects = json_object();
    bool    red      = false;

    for (size_t t = 0; t < 2; t++) {
        json_t     *now  = night(h, rng, (*session)++, slower);
        pq_findings f    = judge(nightly, before, now, suspects);
        const bool  more = f.count[PQ_GATE_SUSPECT] > 0;
        red              = f.count[PQ_GATE_FAIL] > 0;
        if (slower > 1.0 && red) {
            cr_expect_eq(verdict_of(&f, "cell 7", "latency.b1"), PQ_GATE_FAIL);
        }
        pq_findings_free(&f);
        json_decref(now);
        if (red || !more) {
            break;
        }
        *again += t == 0;
    }
    json_decref(suspects);
    return red;
}

/* A night that is not noisy. */
static json_t *quiet_night(const host *h, pq_rng *rng)
{
    json_t *all = NULL;
    bool    noisy;

    do {
        json_decref(all);
        all   = night(h, rng, 0, 1.0);
        noisy = json_is_true(json_object_get(
            json_object_get(
                json_object_get(json_array_get(json_object_get(all, "cells"), 0),
                                "timings"),
                "latency.b1"),
            "noisy"));
    } while (noisy);
    return all;
}

/* Of so many nights with a baseline each those that end red. */
static size_t count_red(const host *h, uint64_t seed, double slower)
{
    pq_rng rng     = pq_rng_stream(seed, "nights");
    size_t session = 1, red = 0, again = 0;

    for (size_t n = 0; n < NIGHTS; n++) {
        json_t *before = quiet_night(h, &rng);
        red += is_red(h, before, &rng, &session, slower, &again);
        json_decref(before);
    }
    cr_log_info("%d nights, %zu processes that scatter by %.1f %%, times %.2f: %zu red, "
                "%zu measured again",
                NIGHTS, h->processes, 100.0 * h->scatter, slower, red, again);
    return red;
}

Test(gate, fifty_nights_of_equal_code_are_green)
{
    cr_expect_eq(count_red(&nightly_host, 50, 1.0), 0);
}

/* Where places of code and data move a time by 4 %, two runs of one process each differ
 * by more than the gate's 5 % in a third of all cells, with samples that differ beyond
 * doubt. */
Test(gate, what_processes_differ_by_is_no_regression)
{
    cr_expect_eq(count_red(&(host){PROCESSES, 0.04}, 52, 1.0), 0);
    cr_expect_eq(count_red(&(host){1, 0.03}, 53, 1.0), 0);
    cr_expect_eq(count_red(&(host){0, 0.03}, 54, 1.0), 0, "records of before");
}

Test(gate, one_cell_slower_by_a_tenth_is_caught_in_quiet_nights)
{
    /* a quarter of the nights has a noisy session of its two, which tells nothing */
    cr_expect_geq(count_red(&nightly_host, 51, 1.1), 30);
}

Test(gate, one_process_finds_what_is_slower_than_any_places_make_it)
{
    cr_expect_geq(count_red(&(host){1, 0.02}, 55, 1.4), 30);
}

Test(gate, a_limit_above_the_gates_own_is_told)
{
    static const host wide   = {PROCESSES, 0.05};
    pq_rng            rng    = pq_rng_stream(56, "nights");
    json_t           *before = quiet_night(&wide, &rng), *now = quiet_night(&wide, &rng);
    json_t           *suspects = json_object();
    pq_findings       f        = judge(nightly, before, now, suspects);
    size_t            told     = 0;

    for (size_t i = 0; i < f.n; i++) {
        const pq_finding *one = &f.items[i];
        if (strcmp(one->metric, "latency.b1") == 0) {
            cr_expect(one->limit >= 0.05, "%s: %g", one->label, one->limit);
            told += one->verdict == PQ_GATE_INCONCLUSIVE &&
                    strstr(one->why, "three times what processes differ by") != NULL;
        }
    }
    cr_expect_gt(told, 0, "of %zu inconclusive", f.count[PQ_GATE_INCONCLUSIVE]);
    pq_findings_free(&f);
    json_decref(before);
    json_decref(now);
    json_decref(suspects);
}

Test(gate, other_machines_and_noise_decide_nothing)
{
    pq_rng      rng      = pq_rng_stream(1, "x");
    json_t     *before   = quiet_night(&nightly_host, &rng);
    json_t     *now      = quiet_night(&nightly_host, &rng);
    json_t     *suspects = json_object(), *timing;
    pq_findings f;

    timing = json_object_get(
        json_object_get(json_array_get(json_object_get(now, "cells"), 3), "timings"),
        "latency.b1");
    (void)json_object_set_new(timing, "machine", json_string("another"));
    timing = json_object_get(
        json_object_get(json_array_get(json_object_get(now, "cells"), 4), "timings"),
        "latency.b1");
    (void)json_object_set_new(timing, "noisy", json_true());
    timing = json_object_get(json_array_get(json_object_get(now, "cells"), 5), "timings");
    (void)json_object_clear(timing);
    f = judge(nightly, before, now, suspects);
    cr_expect_eq(verdict_of(&f, "cell 3", "latency.b1"), PQ_GATE_INCONCLUSIVE);
    cr_expect_eq(verdict_of(&f, "cell 4", "latency.b1"), PQ_GATE_INCONCLUSIVE);
    cr_expect_eq(verdict_of(&f, "cell 5", "latency.b1"), PQ_GATE_MISSING);
    pq_findings_free(&f);
    json_decref(before);
    json_decref(now);
    json_decref(suspects);
}

Test(gate, a_plan_with_what_no_gate_has_is_refused)
{
    json_t  *plan  = json_loads("{\"gates\": {\"auc\": {\"max_lost\": \"1\"}}}", 0, NULL);
    pq_gate *gates = NULL;
    size_t   n     = 0;
    pq_err   err   = {0};

    cr_expect_neq(pq_gates_of_plan(plan, &gates, &n, &err), PQ_OK);
    cr_expect(strstr(err.message, "plan.json: gates.auc: ") != NULL, "%s", err.message);
    json_decref(plan);
}

Test(gate, a_file_that_is_no_baseline_is_refused)
{
    json_t *out = NULL;
    pq_err  err = {0};

    enter_folder();
    write_text("x.json", "{\"schema\": \"pquant-plan/1\", \"cells\": []}");
    cr_expect_eq(pq_snapshot_read("x.json", &out, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "x.json: is not of schema pquant-baseline/1");
    write_text("x.json",
               "{\"schema\": \"pquant-baseline/1\", \"cells\": [{\"label\": 1}]}");
    cr_expect_eq(pq_snapshot_read("x.json", &out, NULL), PQ_ERR_FORMAT);
    cr_expect_eq(pq_snapshot_read("y.json", &out, NULL), PQ_ERR_NOT_FOUND);
}

#define LIKE(metric, timings, more)                                                      \
    "{\"schema\": \"pquant-baseline/1\", \"cells\": [{\"label\": \"a\", \"repeat\": 0, " \
    "\"metrics\": {\"accuracy\": " metric "}, \"timings\": {" timings "}" more "}]}"
#define VALUE "{\"value\": 1, \"better\": \"higher\"}"
#define NEXT  "\"metrics\": {}, \"timings\": {}"

Test(gate, a_baseline_whose_values_would_pass_unread_is_refused)
{
    static const char *const bad[] = {
        LIKE("3", "", ""),
        LIKE("{\"value\": \"x\", \"better\": \"higher\"}", "", ""),
        LIKE("{\"value\": true, \"better\": \"higher\"}", "", ""),
        LIKE("{\"value\": 1, \"lo\": [], \"better\": \"higher\"}", "", ""),
        LIKE("{\"value\": 1, \"better\": \"upper\"}", "", ""),
        LIKE("{\"value\": 1}", "", ""),
        LIKE(VALUE, "\"latency.b1\": 5", ""),
        LIKE(VALUE, "\"latency.b1\": {\"ratios\": [1, null]}", ""),
        LIKE(VALUE, "\"latency.b1\": {\"ratios\": [1], \"processes\": 2}", ""),
        LIKE(VALUE, "\"latency.b1\": {\"ratios\": [1], \"processes\": [\"1\"]}", ""),
        LIKE(VALUE, "", ", \"correct\": \"0g\""),
        LIKE(VALUE, "", ", \"correct\": 7"),
        LIKE(VALUE, "", "}, {\"label\": \"b\", \"repeat\": -1, " NEXT),
        LIKE(VALUE, "", "}, {\"label\": \"a\", \"repeat\": 0, " NEXT),
    };
    static const char *const good[] = {
        LIKE(VALUE, "\"latency.b1\": {\"ratios\": [1, 2.5]}", ", \"correct\": \"0f\""),
        LIKE("{\"value\": null, \"lo\": null, \"better\": \"none\"}", "", ""),
        LIKE(VALUE, "", "}, {\"label\": \"a\", \"repeat\": 1, " NEXT),
    };
    json_t *out = NULL;

    enter_folder();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pq_err err = {0};
        write_text("x.json", bad[i]);
        cr_expect_eq(pq_snapshot_read("x.json", &out, &err), PQ_ERR_FORMAT, "%s", bad[i]);
        cr_expect(strncmp(err.message, "x.json: cell ", 13) == 0, "%s", err.message);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        write_text("x.json", good[i]);
        OK(pq_snapshot_read("x.json", &out, ERR));
        json_decref(out);
    }
}

/* Findings of references alone. */
static pq_status judge_references(const char *yaml, const json_t *now, pq_findings *f,
                                  pq_err *err)
{
    pq_references *r = NULL;
    pq_status      st;

    *f = (pq_findings){0};
    write_text("r.yaml", yaml);
    st = pq_references_read("r.yaml", &r, err);
    if (st == PQ_OK) {
        st = pq_references_judge(r, now, f, err);
    }
    pq_references_free(&r);
    return st;
}

Test(gate, references_have_tolerances_on_either_side)
{
    json_t     *now = snapshot();
    pq_findings f;

    enter_folder();
    add_cell(now, cell("svd rank=4", 0.70, 100));
    add_cell(now, cell("svd rank=8", 0.72, 120));
    add_cell(now, cell("int8", 0.74, 90));
    OK(judge_references("schema: pquant-references/1\ncells:\n"
                        "  \"svd*\":\n    accuracy: {value: 0.72, lower: 1%}\n"
                        "  int8:\n    accuracy: {value: 0.73, lower: 5%, upper: 1%}\n"
                        "    stored_bytes: {value: 100, upper: 0}\n"
                        "    macs: {value: 7}\n",
                        now, &f, ERR));
    cr_expect_eq(f.n, 5);
    cr_expect_eq(verdict_of(&f, "svd rank=4", "accuracy"), PQ_GATE_FAIL, "2.8 %% below");
    cr_expect_eq(verdict_of(&f, "svd rank=8", "accuracy"), PQ_GATE_PASS);
    cr_expect_eq(verdict_of(&f, "int8", "accuracy"), PQ_GATE_FAIL, "1.4 %% above");
    cr_expect_eq(verdict_of(&f, "int8", "stored_bytes"), PQ_GATE_PASS, "smaller will do");
    cr_expect_eq(verdict_of(&f, "int8", "macs"), PQ_GATE_MISSING);
    cr_expect_eq(f.count[PQ_GATE_FAIL], 2);
    cr_expect_eq(f.count[PQ_GATE_MISSING], 1);
    pq_findings_free(&f);
    json_decref(now);
}

Test(gate, references_take_globs_of_metrics_that_match_something)
{
    json_t     *now = snapshot(), *failed = cell("b", 0.7, 100);
    pq_findings f;
    pq_err      err = {0};

    enter_folder();
    add_cell(now, cell("a", 0.70, 100));
    OK(judge_references("schema: pquant-references/1\n"
                        "cells: {a: {\"*_bytes,acc*\": {value: 100, upper: 0}}}\n",
                        now, &f, ERR));
    cr_expect_eq(f.n, 2);
    cr_expect_eq(verdict_of(&f, "a", "stored_bytes"), PQ_GATE_PASS);
    cr_expect_eq(verdict_of(&f, "a", "accuracy"), PQ_GATE_PASS);
    pq_findings_free(&f);
    cr_expect_eq(judge_references("schema: pquant-references/1\n"
                                  "cells: {a: {\"auc.*\": {value: 1, upper: 0}}}\n",
                                  now, &f, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "references: 'auc.*' is the value of no cell that 'a' means");
    pq_findings_free(&f);
    (void)json_object_set_new(failed, "metrics", json_object());
    add_cell(now, failed);
    OK(judge_references("schema: pquant-references/1\n"
                        "cells: {b: {\"auc.*\": {value: 1, upper: 0}}}\n",
                        now, &f, ERR));
    cr_expect_eq(verdict_of(&f, "b", "auc.*"), PQ_GATE_MISSING, "a cell without numbers");
    pq_findings_free(&f);
    json_decref(now);
}

#define TWO                                                                              \
    "schema: pquant-references/1\ncells:\n  \"*\": {accuracy: {value: 0.72, lower: "     \
    "1%, upper: 1%}}\nexpected_failures:\n"

Test(gate, an_expected_failure_is_none_and_one_that_passes_is)
{
    json_t     *now = snapshot();
    pq_findings f;
    pq_err      err = {0};

    enter_folder();
    add_cell(now, cell("a", 0.60, 100));
    add_cell(now, cell("b", 0.72, 100));
    OK(judge_references(TWO "  - {cell: a, metric: accuracy, why: known}\n", now, &f,
                        ERR));
    cr_expect_eq(verdict_of(&f, "a", "accuracy"), PQ_GATE_EXPECTED);
    cr_expect_str_eq(f.items[0].why, "known");
    cr_expect_eq(f.count[PQ_GATE_EXPECTED], 1);
    cr_expect_eq(f.count[PQ_GATE_FAIL], 0);
    pq_findings_free(&f);
    OK(judge_references(TWO "  - {cell: a, metric: accuracy, why: "
                            "xäääääääääääääääääääääääääääääääääääääääääääääää"
                            "äääääääääääääääääääääääääääääääää}\n",
                        now, &f, ERR));
    cr_expect_eq(strlen(f.items[0].why), 119, "cut at a whole character");
    cr_expect_str_eq(f.items[0].why + 117, "ä");
    pq_findings_free(&f);
    OK(judge_references(TWO "  - {cell: b, metric: accuracy, why: known}\n", now, &f,
                        ERR));
    cr_expect_eq(verdict_of(&f, "b", "accuracy"), PQ_GATE_FAIL);
    cr_expect_str_eq(f.items[1].why, "passes, though a failure is expected (r.yaml:5)");
    cr_expect_eq(f.count[PQ_GATE_FAIL], 2);
    pq_findings_free(&f);
    cr_expect_eq(
        judge_references(TWO "  - {cell: c, metric: accuracy, why: x}\n", now, &f, &err),
        PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "r.yaml:5: nothing is compared of 'c', 'accuracy'");
    pq_findings_free(&f);
    json_decref(now);
}

Test(gate, what_is_wrong_in_references_is_told_with_its_place)
{
    static const char *const bad[][2] = {
        {"schema: pquant/1\n", "r.yaml:1:9: schema: pquant-references/1 is due here"},
        {"schema: pquant-references/1\ncell: {}\n", "r.yaml:2:1: "},
        {"schema: pquant-references/1\ncells: {a: {accuracy: {lower: 1%}}}\n",
         "r.yaml:2:13: accuracy: value is due here"},
        {"schema: pquant-references/1\ncells: {a: {accuracy: {value: inf}}}\n",
         "r.yaml:2:13: accuracy: value is not finite"},
        {"schema: pquant-references/1\ncells: {a: {accuracy: {value: 1, upper: -1}}}\n",
         "r.yaml:2:"},
        {"schema: pquant-references/1\ncells: {a: {latency.b1.p50_s: {value: 1}}}\n",
         "r.yaml:2:13: latency.b1.p50_s: times are of a machine and a run"},
        {"schema: pquant-references/1\nexpected_failures: [{cell: a}]\n",
         "r.yaml:2:21: expected_failures: cell, metric and why are due"},
        {"schema: pquant-references/1\nexpected_failures: {}\n",
         "r.yaml:2:20: expected_failures: a list is due here"},
    };
    json_t     *now = snapshot();
    pq_findings f;

    enter_folder();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pq_err err = {0};
        cr_expect_eq(judge_references(bad[i][0], now, &f, &err), PQ_ERR_CONFIG);
        cr_expect(strncmp(err.message, bad[i][1], strlen(bad[i][1])) == 0, "%s",
                  err.message);
    }
    json_decref(now);
}
