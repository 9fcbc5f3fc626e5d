/* pquant compare: two results in their numbers, or two models on the same events. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "cli/compare.h"
#include "cli/findings.h"
#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "sweep/gate.h"
#include "sweep/snapshot.h"

static const pq_option options[] = {
    {"data", 0, "FILE[:SPLIT]", false, NULL,
     "A and B are models: events that both are evaluated on"},
    {"arch", 0, "FILE", false, NULL, "architecture beside a weights-only model A"},
    PQ_OUTPUT_LAYER_OPTION,
    PQ_HEAD_OPTION,
    PQ_COLUMN_OPTIONS,
    PQ_NEGATIVE_OPTION,
    PQ_SCALER_OPTION,
    {"engine", 0, "NAME", false, "float32",
     "of models: reference, float32, bf16, int8, integer"},
    {"threads", 0, "N", false, "0", "threads, 0 = all cores; does not change the result"},
    {"limit", 0, "N", false, "0", "at most so many events, 0 = all"},
    {"nonfinite", 0, "fail|drop|zero", false, "fail",
     "what to do with events that hold NaN or inf"},
    {"btag", 0, "KEY=VALUE", true, NULL,
     "a key of metric btag: f_c, f_tau, cut_error, or working_points=0.6,0.77"},
    {"format", 0, "table|json|markdown|csv|tex", false, "table",
     "how to print; the last three are of models"},
    {0},
};

/* A gate for every metric that both have, which nothing passes unseen. */
static pq_status gates_of_all(const json_t *before, pq_gate **out, size_t *n, pq_err *err)
{
    json_t       *names = json_object();
    const json_t *cell, *value;
    const char   *name;
    pq_gate      *gates = NULL;
    size_t        i, count = 0;
    pq_status     st;

    json_array_foreach(json_object_get((json_t *)before, "cells"), i, cell)
    {
        (void)json_object_update(names, json_object_get(cell, "metrics"));
        (void)json_object_update(names, json_object_get(cell, "timings"));
    }
    PQ_NEW(gates, json_object_size(names) + 1);
    json_object_foreach(names, name, value)
    {
        pq_gate   *one   = &gates[count++];
        const bool timed = strncmp(name, "latency.", 8) == 0;
        PQ_TRY(pq_params_default(pq_gate_params, one, err));
        PQ_STRDUP(one->metric, name);
        one->max_loss     = timed ? (double)NAN : 0.0;
        one->max_increase = timed ? 0.0 : (double)NAN;
        one->test         = timed ? PQ_GATE_MANN_WHITNEY : PQ_GATE_PAIRED;
    }
    *out  = gates;
    *n    = count;
    gates = NULL;
cleanup:
    json_decref(names);
    pq_gates_free(&gates, count);
    return st;
}

/* What stands there twice alike is not told. */
static void print_changes(const pq_findings *f)
{
    char   before[32], now[32], p[32];
    size_t told = 0;

    for (size_t i = 0; i < f->n; i++) {
        const pq_finding *one = &f->items[i];
        if (one->before == one->now ||
            (isnan(one->before) && isnan(one->now) && one->verdict == PQ_GATE_PASS)) {
            continue;
        }
        pq_say(stdout, "%-28s %-22s %10s -> %-10s%s%s%s%s\n", one->label, one->metric,
               pq_findings_number(one->before, before, sizeof before),
               pq_findings_number(one->now, now, sizeof now),
               isnan(one->p) ? "" : "  p = ", pq_findings_number(one->p, p, sizeof p),
               *one->why != '\0' ? "  " : "", one->why);
        told++;
    }
    pq_say(stdout, "%zu of %zu numbers differ\n", told, f->n);
}

static pq_status compare_results(const pq_args *args, int *exit_code, pq_err *err)
{
    json_t     *before = NULL, *now = NULL, *suspects = json_object(), *list;
    pq_gate    *gates    = NULL;
    size_t      n        = 0;
    pq_findings findings = {0};
    const char *format;
    pq_status   st;

    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(pq_snapshot_read(pq_args_get(args, 0), &before, err));
    PQ_TRY(pq_snapshot_read(pq_args_get(args, 1), &now, err));
    PQ_TRY(gates_of_all(before, &gates, &n, err));
    PQ_TRY(pq_gate_judge(before, now, gates, n, suspects, &findings, err));
    if (strcmp(format, "json") == 0) {
        list = pq_findings_json(&findings);
        (void)pq_say_json(list);
        json_decref(list);
    } else {
        print_changes(&findings);
        pq_findings_print_new(before, now, pq_args_get(args, 0));
    }
    if (findings.n == 0) {
        *exit_code = PQ_EXIT_NOTHING;
        (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__, "nothing was compared");
    }
cleanup:
    pq_findings_free(&findings);
    pq_gates_free(&gates, n);
    json_decref(before);
    json_decref(now);
    json_decref(suspects);
    return st;
}

static pq_status compare(const pq_args *args, int *exit_code, pq_err *err)
{
    const char *const a = pq_args_get(args, 0), *const b = pq_args_get(args, 1);
    pq_graph *graph = NULL;
    pq_status st    = PQ_OK;

    if (pq_args_value(args, "data") != NULL) {
        return pq_compare_models(args, err);
    }
    if (!pq_folder_exists(a) && !pq_folder_exists(b) &&
        pq_model_load(a, NULL, &graph, NULL) == PQ_OK) {
        pq_graph_free(&graph);
        PQ_CHECK(false, PQ_ERR_CONFIG,
                 "%s is a model: --data FILE[:SPLIT] says on what events the two are "
                 "compared",
                 a);
    }
    st = compare_results(args, exit_code, err);
cleanup:
    return st;
}

const pq_verb pq_verb_compare = {
    .name = "compare",
    .summary =
        "the numbers in which two results folders or baselines differ, with the p of "
        "each difference (`gate` is what fails); with --data two models on the same "
        "events, paired",
    .arguments = "A B [--data FILE[:SPLIT]]",
    .min_args  = 2,
    .max_args  = 2,
    .options   = options,
    .example   = "pquant compare net.h5 net-int8.h5 --data datasets/jets-btag.h5:test",
    .run       = compare,
};
