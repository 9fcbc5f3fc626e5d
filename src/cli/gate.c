/* The verbs about results and what they are held against: baseline set and show, gate. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "cli/findings.h"
#include "cli/verb.h"
#include "core/file.h"
#include "core/memory.h"
#include "store/json.h"
#include "sweep/gate.h"
#include "sweep/references.h"
#include "sweep/snapshot.h"

/* Baselines. */

static const pq_option set_options[] = {
    {"output", 'o', "FILE", false, NULL,
     "file to write; by default what `baseline` of the configuration names"},
    {0},
};

/* Where the plan's configuration has its baseline: as written, or beside the
 * configuration. NULL, and PQ_OK, where it names none. */
static pq_status planned_baseline(const json_t *plan, bool there, char **out, pq_err *err)
{
    const char *name   = pq_json_get_text(plan, "baseline");
    const char *config = pq_json_get_text(plan, "config");
    char       *beside = NULL;
    pq_status   st     = PQ_OK;

    *out = NULL;
    if (*name == '\0') {
        return PQ_OK;
    }
    beside = pq_format("%.*s%s", (int)(pq_path_base(config) - config), config, name);
    PQ_CHECK(beside != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_STRDUP(*out,
              there && !pq_file_exists(name) && pq_file_exists(beside) ? beside : name);
cleanup:
    pq_free(beside);
    return st;
}

/* Whether a path holds something that a baseline would destroy: a folder, or a file that
 * is neither empty nor a baseline. */
static bool is_other(const char *path)
{
    json_t    *old   = NULL;
    char      *bytes = NULL;
    size_t     n     = 0;
    const bool empty = pq_file_read(path, 1, &bytes, &n, NULL) == PQ_OK && n == 0;
    const bool other =
        pq_folder_exists(path) ||
        (pq_file_exists(path) && !empty && pq_snapshot_read(path, &old, NULL) != PQ_OK);

    json_decref(old);
    pq_free(bytes);
    return other;
}

/* A results folder comes from anywhere: where its plan names the baseline, no other file
 * is written over, and none outside of the current folder. */
static pq_status check_target(const char *dir, const char *path, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(
        pq_path_is_inside(".", path), PQ_ERR_CONFIG,
        "%s: its configuration names the baseline %s, which leads out of the current "
        "folder; give -o FILE",
        dir, path);
    PQ_CHECK(!is_other(path), PQ_ERR_CONFIG,
             "%s: its configuration names the baseline %s, which is there and is none; "
             "give -o FILE",
             dir, path);
cleanup:
    return st;
}

static pq_status baseline_set(const pq_args *args, int *exit_code, pq_err *err)
{
    const char *dir      = pq_args_get(args, 0);
    json_t     *snapshot = NULL, *plan = NULL, *cell;
    char       *path = NULL;
    size_t      i, bad = 0;
    pq_status   st;

    (void)exit_code;
    PQ_TRY(pq_snapshot_take(dir, &snapshot, &plan, err));
    json_array_foreach(json_object_get(snapshot, "cells"), i, cell)
    {
        const char *status = pq_json_get_text(cell, "status");
        bad += strcmp(status, "ok") != 0 && strcmp(status, "infeasible") != 0;
    }
    PQ_CHECK(bad == 0, PQ_ERR_CONFIG,
             "%s: %zu cells have failed or are missing; a baseline is of whole results",
             dir, bad);
    if (pq_args_value(args, "output") != NULL) {
        PQ_STRDUP(path, pq_args_value(args, "output"));
        PQ_CHECK(!is_other(path), PQ_ERR_CONFIG,
                 "-o %s: is there and is no baseline, so it is not written over", path);
    } else {
        PQ_TRY(planned_baseline(plan, false, &path, err));
        PQ_CHECK(path != NULL, PQ_ERR_CONFIG,
                 "%s: its configuration names no baseline; give -o FILE", dir);
        PQ_TRY(check_target(dir, path, err));
    }
    PQ_TRY(pq_snapshot_write(snapshot, path, err));
    pq_say(stdout, "%s\n", path);
cleanup:
    json_decref(snapshot);
    json_decref(plan);
    pq_free(path);
    return st;
}

const pq_verb pq_verb_baseline_set = {
    .name      = "baseline set",
    .summary   = "keep the results of a folder as what later ones are compared with",
    .arguments = "DIR",
    .min_args  = 1,
    .max_args  = 1,
    .options   = set_options,
    .example   = "pquant baseline set results/nightly",
    .run       = baseline_set,
};

static const pq_option show_options[] = {
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

static pq_status baseline_show(const pq_args *args, int *exit_code, pq_err *err)
{
    json_t     *snapshot = NULL, *cell;
    const char *format;
    size_t      i;
    pq_status   st;

    (void)exit_code;
    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(pq_snapshot_read(pq_args_get(args, 0), &snapshot, err));
    if (strcmp(format, "json") == 0) {
        (void)pq_say_json(snapshot);
        goto cleanup;
    }
    pq_say(stdout, "%s, made %s by pquant %s\n", pq_json_get_text(snapshot, "name"),
           pq_json_get_text(snapshot, "made"), pq_json_get_text(snapshot, "pquant"));
    json_array_foreach(json_object_get(snapshot, "cells"), i, cell)
    {
        pq_say(stdout, "%-32s %zu numbers, %zu timings%s\n",
               pq_json_get_text(cell, "label"),
               json_object_size(json_object_get(cell, "metrics")),
               json_object_size(json_object_get(cell, "timings")),
               json_object_get(cell, "correct") != NULL ? ", event by event" : "");
    }
cleanup:
    json_decref(snapshot);
    return st;
}

const pq_verb pq_verb_baseline_show = {
    .name      = "baseline show",
    .summary   = "what a baseline holds; of a results folder, what one of it would",
    .arguments = "FILE|DIR",
    .min_args  = 1,
    .max_args  = 1,
    .options   = show_options,
    .example   = "pquant baseline show results/baselines/nightly.json",
    .run       = baseline_show,
};

/* The gate. */

static const pq_option gate_options[] = {
    {"baseline", 0, "FILE|DIR", false, NULL,
     "what to compare with; by default what the configuration names"},
    {"references", 0, "FILE.yaml", false, NULL,
     "numbers that cells must have, and failures that are expected"},
    {"junit", 0, "FILE", false, NULL, "write the findings as JUnit XML, too"},
    {"strict-noise", 0, NULL, false, NULL, "end with exit code 6 where noise hides it"},
    {"format", 0, "table|json|junit", false, "table", "what to print"},
    {0},
};

enum { SUSPECTS_BYTES = 16 << 20 };

/* What was suspect the last time: gate.json of the folder. */
static json_t *read_suspects(const char *path)
{
    char   *bytes = NULL;
    size_t  n     = 0;
    json_t *known = NULL;

    if (pq_file_read(path, SUSPECTS_BYTES, &bytes, &n, NULL) == PQ_OK) {
        known = json_loadb(bytes, n, 0, NULL);
    }
    pq_free(bytes);
    if (!json_is_object(known)) {
        json_decref(known);
        known = json_object();
    }
    return known;
}

/* Writes them where they changed: a folder that only can be read is gated, too. */
static pq_status keep_suspects(const char *path, const json_t *suspects, pq_err *err)
{
    json_t   *known = read_suspects(path);
    pq_text   kept  = {0};
    pq_status st    = PQ_OK;

    if (json_equal(known, suspects)) {
        goto cleanup;
    }
    PQ_CHECK(pq_json_add(suspects, &kept), PQ_ERR_NOMEM, "cannot allocate suspects");
    PQ_TRY(pq_file_write(path, kept.text, kept.length, err));
cleanup:
    json_decref(known);
    pq_text_free(&kept);
    return st;
}

/* The reason behind the exit code. */
static void conclude(const pq_args *args, const pq_findings *f, int *exit_code,
                     pq_err *err)
{
    const size_t *n = f->count;

    if (n[PQ_GATE_FAIL] > 0) {
        *exit_code = PQ_EXIT_REGRESSION;
        (void)pq_err_set(err, PQ_ERR_NUMERIC, __FILE__, __LINE__,
                         "%zu of %zu comparisons fail", n[PQ_GATE_FAIL], f->n);
    } else if (f->n == 0) {
        *exit_code = PQ_EXIT_NOTHING;
        (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                         "nothing was compared: the baseline has no value of a gate");
    } else if (n[PQ_GATE_MISSING] > 0) {
        *exit_code = PQ_EXIT_INCOMPLETE;
        (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                         "%zu of %zu comparisons lack tonight's value",
                         n[PQ_GATE_MISSING], f->n);
    } else if (n[PQ_GATE_SUSPECT] > 0) {
        *exit_code = PQ_EXIT_AGAIN;
        (void)pq_err_set(err, PQ_ERR_NUMERIC, __FILE__, __LINE__,
                         "%zu cells look slower; measure them again (`pquant run CONFIG "
                         "--phase latency --force`), then gate again",
                         n[PQ_GATE_SUSPECT]);
    } else if (n[PQ_GATE_INCONCLUSIVE] > 0 && pq_args_flag(args, "strict-noise")) {
        *exit_code = PQ_EXIT_NOISE;
        (void)pq_err_set(err, PQ_ERR_NUMERIC, __FILE__, __LINE__,
                         "%zu of %zu comparisons are inconclusive",
                         n[PQ_GATE_INCONCLUSIVE], f->n);
    }
}

static void print_gate(const pq_findings *f, const char *format, const char *junit)
{
    json_t *list;

    if (strcmp(format, "json") == 0) {
        list = pq_findings_json(f);
        (void)pq_say_json(list);
        json_decref(list);
    } else if (strcmp(format, "junit") == 0) {
        pq_say_lines(stdout, junit);
    } else {
        pq_findings_print(f);
        pq_say(stdout, "%zu comparisons: %zu pass", f->n, f->count[PQ_GATE_PASS]);
        if (f->count[PQ_GATE_EXPECTED] > 0) {
            pq_say(stdout, ", %zu fail as expected", f->count[PQ_GATE_EXPECTED]);
        }
        pq_say(stdout, ", %zu inconclusive, %zu suspect, %zu missing, %zu fail\n",
               f->count[PQ_GATE_INCONCLUSIVE], f->count[PQ_GATE_SUSPECT],
               f->count[PQ_GATE_MISSING], f->count[PQ_GATE_FAIL]);
    }
}

/* The baseline that is compared with. */
static pq_status read_before(const pq_args *args, const json_t *plan, json_t **out,
                             pq_err *err)
{
    const char *given = pq_args_value(args, "baseline");
    char       *path  = NULL;
    pq_status   st    = PQ_OK;

    if (given != NULL) {
        return pq_snapshot_read(given, out, err);
    }
    PQ_TRY(planned_baseline(plan, true, &path, err));
    PQ_CHECK(path != NULL, PQ_ERR_CONFIG,
             "%s: its configuration names no baseline; give --baseline FILE",
             pq_args_get(args, 0));
    PQ_TRY(pq_snapshot_read(path, out, err));
cleanup:
    pq_free(path);
    return st;
}

/* Adds what the file of references says. */
static pq_status judge_references(const pq_args *args, const json_t *now,
                                  pq_findings *findings, pq_err *err)
{
    pq_references *references = NULL;
    pq_status      st         = PQ_OK;

    if (pq_args_value(args, "references") != NULL) {
        PQ_TRY(pq_references_read(pq_args_value(args, "references"), &references, err));
        PQ_TRY(pq_references_judge(references, now, findings, err));
    }
cleanup:
    pq_references_free(&references);
    return st;
}

static pq_status gate(const pq_args *args, int *exit_code, pq_err *err)
{
    const char *dir    = pq_args_get(args, 0), *format;
    char       *path   = pq_path_join(dir, "gate.json");
    json_t     *before = NULL, *now = NULL, *plan = NULL, *suspects = NULL;
    pq_gate    *gates    = NULL;
    size_t      n        = 0;
    pq_findings findings = {0};
    pq_text     junit    = {0};
    pq_status   st;

    PQ_TRY(pq_args_format(args, "table json junit", &format, err));
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_snapshot_take(dir, &now, &plan, err));
    PQ_TRY(pq_gates_of_plan(plan, &gates, &n, err));
    PQ_CHECK(n > 0, PQ_ERR_CONFIG, "%s: its configuration has no gates", dir);
    PQ_TRY(read_before(args, plan, &before, err));
    suspects = read_suspects(path);
    PQ_TRY(pq_gate_judge(before, now, gates, n, suspects, &findings, err));
    PQ_TRY(judge_references(args, now, &findings, err));
    PQ_TRY(keep_suspects(path, suspects, err));
    pq_findings_junit(&junit, pq_json_get_text(plan, "name"), &findings);
    PQ_CHECK(!junit.failed, PQ_ERR_NOMEM, "cannot allocate the findings");
    if (pq_args_value(args, "junit") != NULL) {
        PQ_TRY(
            pq_file_write(pq_args_value(args, "junit"), junit.text, junit.length, err));
    }
    print_gate(&findings, format, junit.text);
    if (strcmp(format, "table") == 0) {
        pq_findings_print_new(before, now, "the baseline");
    }
    conclude(args, &findings, exit_code, err);
cleanup:
    pq_findings_free(&findings);
    pq_gates_free(&gates, n);
    pq_text_free(&junit);
    json_decref(before);
    json_decref(now);
    json_decref(plan);
    json_decref(suspects);
    pq_free(path);
    return st;
}

const pq_verb pq_verb_gate = {
    .name = "gate",
    .summary =
        "fail where results got worse than a baseline by more than the gates allow",
    .arguments = "DIR",
    .min_args  = 1,
    .max_args  = 1,
    .options   = gate_options,
    .example   = "pquant gate results/nightly --junit gate.xml",
    .run       = gate,
};
