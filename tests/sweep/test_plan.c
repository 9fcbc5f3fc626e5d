#include <sys/stat.h>
#include <utime.h>

#include "support.h"

#include "store/record.h"
#include "store/results.h"
#include "sweep/key.h"
#include "sweep/plan.h"

#define PIPELINES                                                                        \
    "pipelines:\n  reference: []\n  svd: {stages: [{svd: {rank: $r}}], sweep: {r: [2, "  \
    "4]}}\n"                                                                             \
    "  int8: [quantize]\n"

static void plan(const char *rest, pq_config **config, pq_cells *cells)
{
    *config = read_config(rest, NULL);
    OK(pq_cells_plan(*config, NULL, cells, ERR));
}

/* Eval key of the cell of a label under a configuration. */
static void key_of(const char *rest, const char *label, char out[PQ_HASH_TEXT])
{
    pq_config *config;
    pq_cells   cells;

    plan(rest, &config, &cells);
    out[0] = '\0';
    for (size_t i = 0; i < cells.n; i++) {
        if (strcmp(cells.cells[i].variant->label, label) == 0) {
            memcpy(out, cells.cells[i].eval, PQ_HASH_TEXT);
        }
    }
    cr_assert_neq(out[0], '\0', "no cell %s", label);
    pq_cells_free(&cells);
    pq_config_free(&config);
}

static const char *const same[] = {
    "name: other\n" PIPELINES,
    "seeds: {repeats: 3}\n" PIPELINES,
    "latency: {batch: [1]}\n" PIPELINES,
    "limits: {cell_timeout: 5s}\n" PIPELINES,
    "output: {dir: elsewhere}\n" PIPELINES,
    "dataset: {file: ./d.h5, calib: train, test: test}\n" PIPELINES,
    "constraints: {stored_bytes: {max: 10}}\n" PIPELINES,
    "evaluate: {engine: auto}\n" PIPELINES,
    "metrics: [fpga, ebops, bops, macs, size, confusion, log_loss, auc, "
    "accuracy]\n" PIPELINES,
};

/* HEAD's keys given again replace it, so the texts are put together without HEAD. */
static void write_whole(const char *rest)
{
    char *text =
        pq_format("schema: pquant/1\n%s%s%s%s", strstr(rest, "name:") ? "" : "name: t\n",
                  strstr(rest, "model:") ? "" : "model: {weights: m.h5}\n",
                  strstr(rest, "dataset:") ? "" : "dataset: {file: d.h5}\n", rest);

    write_text("w.yaml", text);
    pq_free(text);
}

static void whole_key(const char *rest, const char *label, char out[PQ_HASH_TEXT])
{
    pq_config *config = NULL;
    pq_cells   cells;

    write_whole(rest);
    OK(pq_config_read("w.yaml", NULL, &config, NULL, ERR));
    OK(pq_cells_plan(config, NULL, &cells, ERR));
    out[0] = '\0';
    for (size_t i = 0; i < cells.n; i++) {
        if (strcmp(cells.cells[i].variant->label, label) == 0) {
            memcpy(out, cells.cells[i].eval, PQ_HASH_TEXT);
        }
    }
    cr_assert_neq(out[0], '\0', "no cell %s", label);
    pq_cells_free(&cells);
    pq_config_free(&config);
}

Test(plan, names_order_and_tags_never_enter_a_key)
{
    static const char *const labels[] = {"reference", "svd r=4", "int8"};
    char                     a[PQ_HASH_TEXT], b[PQ_HASH_TEXT];

    enter_inputs(100);
    for (size_t k = 0; k < 3; k++) {
        whole_key(PIPELINES, labels[k], a);
        for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
            whole_key(same[i], labels[k], b);
            cr_expect_str_eq(a, b, "%s under %s", labels[k], same[i]);
        }
    }
    /* another name and place, an axis of another name, every default written out */
    whole_key(PIPELINES, "svd r=4", a);
    whole_key(
        "pipelines:\n  zz: {stages: [{svd: {rank: $x, form: channel, clip_rank: no}}], "
        "sweep: {x: [4]}}\n  reference: []\n",
        "zz x=4", b);
    cr_expect_str_eq(a, b);
}

Test(plan, files_enter_by_content_not_by_name)
{
    char a[PQ_HASH_TEXT], b[PQ_HASH_TEXT];

    enter_inputs(100);
    write_model("copy.h5", 0.5F);
    write_events("copy-d.h5", 100);
    whole_key(PIPELINES, "int8", a);
    whole_key("model: {weights: copy.h5}\ndataset: {file: copy-d.h5}\n" PIPELINES, "int8",
              b);
    cr_expect_str_eq(a, b);
}

Test(plan, an_older_name_of_an_engine_changes_no_key)
{
    char a[PQ_HASH_TEXT], b[PQ_HASH_TEXT];

    enter_inputs(100);
    whole_key("evaluate: {engine: float32}\nlatency: {engine: int8}\n" PIPELINES, "int8",
              a);
    whole_key("evaluate: {engine: blas}\nlatency: {engine: onednn}\n" PIPELINES, "int8",
              b);
    cr_expect_str_eq(a, b);
}

typedef struct {
    const char *rest, *label;
} changed_case;

static const changed_case changed[] = {
    {"model: {weights: m2.h5}\n" PIPELINES, "int8"},
    {"dataset: {file: d2.h5}\n" PIPELINES, "int8"},
    {"dataset: {file: d.h5, calib_events: 50}\n" PIPELINES, "int8"},
    {"dataset: {file: d.h5, calib: 'd2.h5:test'}\n" PIPELINES, "int8"},
    {"model: {weights: m.h5, classes: [b, a, c]}\n" PIPELINES, "int8"},
    {"evaluate: {engine: reference}\n" PIPELINES, "int8"},
    {"evaluate: {engine: float32}\n" PIPELINES, "int8"},
    {"evaluate: {limit: 10}\n" PIPELINES, "int8"},
    {"seeds: {base: 1}\n" PIPELINES, "int8"}, /* of the choice of calibration events */
    {"metrics: [accuracy]\n" PIPELINES, "int8"},
    {"metrics: {accuracy: {interval: clopper-pearson}, auc: , confusion: , log_loss: , "
     "size: , "
     "macs: }\n" PIPELINES,
     "int8"},
    {"pipelines:\n  int8: [{quantize: {bits: 7}}]\n", "int8"},
    {"pipelines:\n  int8: [{quantize: {layers: fc1}}]\n", "int8"},
    {"pipelines:\n  int8: [{svd: {rank: 2}}, quantize]\n", "int8"},
};

Test(plan, whatever_changes_numbers_changes_the_key)
{
    char keys[1 + sizeof changed / sizeof *changed][PQ_HASH_TEXT];

    enter_inputs(100);
    write_model("m2.h5", 0.5000001F);
    write_events("d2.h5", 101);
    whole_key(PIPELINES, "int8", keys[0]);
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++) {
        whole_key(changed[i].rest, changed[i].label, keys[i + 1]);
        for (size_t k = 0; k <= i; k++) {
            cr_expect_str_neq(keys[k], keys[i + 1], "cases %zu and %zu", k, i + 1);
        }
    }
}

Test(plan, what_needs_no_calibration_does_not_depend_on_it)
{
    char a[PQ_HASH_TEXT], b[PQ_HASH_TEXT];

    enter_inputs(100);
    whole_key(PIPELINES, "svd r=4", a);
    whole_key("dataset: {file: d.h5, calib_events: 50}\nseeds: {base: 9}\n" PIPELINES,
              "svd r=4", b);
    cr_expect_str_eq(a, b);
}

/* Whether the key of `svd` with these parameters depends on how and where times are. */
static void expect_timed(const char *parameters, bool timed)
{
    char batch1[512], batch8[512], a[PQ_HASH_TEXT], b[PQ_HASH_TEXT];

    snprintf(batch1, sizeof batch1,
             "latency: {batch: [1, 8]}\npipelines:\n  reference: []\n  x: [svd: {%s}]\n",
             parameters);
    snprintf(batch8, sizeof batch8,
             "latency: {batch: [8, 1]}\npipelines:\n  reference: []\n  x: [svd: {%s}]\n",
             parameters);
    whole_key(batch1, "x", a);
    whole_key(batch8, "x", b);
    cr_expect_eq(strcmp(a, b) != 0, timed, "%s", parameters);
    whole_key(batch1, "x", b);
    cr_expect_str_eq(a, b, "%s", parameters);
}

Test(plan, choices_by_measured_time_have_the_host_in_their_key_and_no_other)
{
    pq_config *config;
    pq_cells   cells;
    pq_text    text = {0};

    enter_inputs(100);
    expect_timed("rank: 2", false);
    expect_timed("rank: 2, run_as: reconstructed", false);
    expect_timed("rank: 2, run_as: auto", true);
    expect_timed("budget: 1.5, budget_unit: macs", false);
    expect_timed("budget: 1.5, budget_unit: microseconds", true);
    plan("pipelines:\n  x: [svd: {rank: 2, run_as: auto}]\n", &config, &cells);
    pq_key_artifact(&cells, &cells.cells[cells.n - 1], 1, &text);
    cr_expect_not_null(strstr(text.text, "times of engine "), "%s", text.text);
    cr_expect_not_null(strstr(text.text, "\nhost "), "%s", text.text);
    pq_text_free(&text);
    pq_cells_free(&cells);
    pq_config_free(&config);
}

Test(plan, prefixes_and_latency_have_keys_of_their_own)
{
    pq_config *config;
    pq_cells   cells;
    pq_text    text = {0};

    enter_inputs(100);
    plan(
        "latency: {batch: [1, 8]}\npipelines:\n  reference: []\n  svd: [svd: {rank: 2}]\n"
        "  both: [svd: {rank: 2}, quantize]\n",
        &config, &cells);
    cr_assert_eq(cells.n, 3);
    cr_expect_eq(cells.reference, 0);
    cr_expect_str_eq(cells.cells[1].artifact[1], cells.cells[2].artifact[1]);
    cr_expect_str_neq(cells.cells[2].artifact[1], cells.cells[2].artifact[2]);
    cr_expect_str_neq(cells.cells[1].latency[0], cells.cells[1].latency[1]);
    cr_expect_str_neq(cells.cells[1].latency[0], cells.cells[2].latency[0]);
    pq_cell_explain(&cells, &cells.cells[2], &text);
    cr_expect(strstr(text.text, "stage svd: layers=*, rank=2") != NULL, "%s", text.text);
    cr_expect(strstr(text.text, cells.cells[2].eval) != NULL);
    cr_expect(strstr(text.text, "host ") != NULL);
    pq_text_free(&text);
    pq_cells_free(&cells);
    pq_config_free(&config);
}

Test(plan, deterministic_cells_collapse_over_repeats)
{
    pq_config *config;
    pq_cells   cells;

    enter_inputs(100);
    plan("seeds: {repeats: 5}\n" PIPELINES, &config, &cells);
    cr_expect_eq(cells.n, 4);
    pq_cells_free(&cells);
    pq_config_free(&config);
}

Test(plan, is_written_for_those_who_read_results)
{
    pq_config       *config;
    pq_cells         cells;
    json_t          *results = NULL, *cell, *some;
    pq_text          text    = {0};
    pq_results_count count;

    enter_inputs(100);
    plan("constraints: {accuracy_loss: {max: 0.5}}\n" PIPELINES, &config, &cells);
    cr_expect_not(pq_folder_exists("results"), "planning writes nothing");
    OK(pq_cells_text(&cells, &text, ERR));
    OK(pq_plan_write(cells.dir, &text, ERR));
    OK(pq_results_read("results/t", &results, &count, ERR));
    cr_expect_eq(count.cells, 4);
    cr_expect_eq(count.missing, 4);
    cell = json_array_get(json_object_get(results, "cells"), 2);
    cr_expect_str_eq(json_string_value(json_object_get(cell, "label")), "svd r=4");
    cr_expect_str_eq(json_string_value(json_object_get(cell, "status")), "missing");
    cr_expect_str_eq(json_string_value(json_object_get(cell, "eval")),
                     cells.cells[2].eval);
    cr_expect_str_eq(
        json_string_value(json_object_get(json_object_get(cell, "axes"), "r")), "4");
    some = pq_cells_json(&cells, (const bool[]){false, false, true, false});
    cr_assert_eq(json_array_size(json_object_get(some, "cells")), 1);
    cr_expect_str_eq(json_string_value(json_object_get(some, "resolved")),
                     json_string_value(json_object_get(results, "resolved")));
    cr_expect(json_equal(
        json_object_get(json_array_get(json_object_get(some, "cells"), 0), "axes"),
        json_object_get(cell, "axes")));
    json_decref(some);
    pq_text_free(&text);
    json_decref(results);
    pq_cells_free(&cells);
    pq_config_free(&config);
}

Test(plan, remembers_hashes_until_a_file_changes)
{
    const struct utimbuf old = {1000000, 1000000}, newer = {1000000, 2000000};
    char                 a[PQ_HASH_TEXT], b[PQ_HASH_TEXT];

    enter_inputs(100);
    OK(pq_folder_make("results/t", ERR));
    cr_assert_eq(utime("m.h5", &old), 0);
    cr_assert_eq(utime("d.h5", &old), 0);
    key_of(PIPELINES, "int8", a);
    cr_expect(!pq_file_exists("results/t/hashes.json"), "it may still be changing");
    sleep(3);
    key_of(PIPELINES, "int8", a);
    cr_expect(pq_file_exists("results/t/hashes.json"));
    key_of(PIPELINES, "int8", b);
    cr_expect_str_eq(a, b);
    write_model("m.h5", 0.25F);
    key_of(PIPELINES, "int8", b);
    cr_expect_str_neq(a, b, "a new file is hashed anew");
    write_model("m.h5", 0.5F);
    cr_assert_eq(utime("m.h5", &newer), 0);
    key_of(PIPELINES, "int8", b);
    cr_expect_str_eq(a, b);
    write_text("results/t/hashes.json", "{\"damaged");
    key_of(PIPELINES, "int8", b);
    cr_expect_str_eq(a, b);
}

typedef struct {
    const char *rest;
    pq_status   status;
    const char *message;
} refused_case;

static const refused_case refused[] = {
    {"model: {weights: none.h5}\n" PIPELINES, PQ_ERR_NOT_FOUND,
     "w.yaml: model 'none.h5' is not there (looked at none.h5, "},
    {"dataset: {file: cifar10}\n" PIPELINES, PQ_ERR_NOT_FOUND,
     "w.yaml: dataset 'cifar10' is not there (looked at cifar10, "},
    {"dataset: {file: d.h5, test: tset}\n" PIPELINES, PQ_ERR_NOT_FOUND,
     "w.yaml:4:29: dataset.test: "},
    {"dataset: {file: d.h5, calib: tarin}\n" PIPELINES, PQ_ERR_NOT_FOUND,
     "w.yaml:4:30: dataset.calib: "},
    {"dataset: {file: d.h5, calib: test}\n" PIPELINES, PQ_ERR_CONFIG,
     "w.yaml:4:30: dataset.calib: 'test' holds the test events; results on events that "
     "were "
     "calibrated "
     "on mean nothing"},
    {"dataset: {file: d.h5, calib: 'copy.h5:test'}\n" PIPELINES, PQ_ERR_CONFIG,
     "w.yaml:4:30: dataset.calib: 'test' holds the test events"},
    {"dataset: {file: d.h5, train: test}\npipelines: {p: [finetune]}\n", PQ_ERR_CONFIG,
     "w.yaml:4:30: dataset.train: 'test' holds the test events; results on events that "
     "were trained on mean nothing"},
    {"dataset: {file: d.h5, validation: test}\npipelines: {p: [finetune]}\n",
     PQ_ERR_CONFIG, "w.yaml:4:35: dataset.validation: 'test' holds the test events"},
    {"dataset: {file: d.h5, validation: tset}\npipelines: {p: [finetune]}\n",
     PQ_ERR_NOT_FOUND, "w.yaml:4:35: dataset.validation: "},
    {"dataset: {file: d.h5, test: train, splits: {train: [0, 1]}}\n" PIPELINES,
     PQ_ERR_FORMAT, "d.h5: has 2 splits of its own"},
    {"latency: {batch: 1}\npipelines: {p: [svd: {rank: 2}]}\n", PQ_ERR_CONFIG,
     "w.yaml: latency is relative to a pipeline without stages; add 'reference: []' to "
     "pipelines"},
    {"constraints: {auc.macro_loss: {max: 1}}\npipelines: {p: [svd: {rank: 2}]}\n",
     PQ_ERR_CONFIG,
     "w.yaml: auc.macro_loss is relative to a pipeline without stages; add 'reference: "
     "[]' to "
     "pipelines"},
    {"constraints: {recall.d: {min: 1}}\n" PIPELINES, PQ_ERR_CONFIG,
     "w.yaml: constraints: 'recall.d' is of no class of the model"},
    {"constraints: {auc.d_loss: {max: 1}}\n" PIPELINES, PQ_ERR_CONFIG,
     "w.yaml: constraints: 'auc.d_loss' is of no class of the model"},
    {"seeds: {repeats: 1000}\npipelines: {p: {stages: [{finetune: {epochs: $e}}], sweep: "
     "{e: {range: [0, 2000, 1]}}}}\n",
     PQ_ERR_CONFIG,
     "w.yaml: 2001000 cells with seeds.repeats = 1000; at most 1000000 are run"},
    {"model: {weights: d.h5}\n" PIPELINES, PQ_ERR_FORMAT, "d.h5: "},
    {"dataset: {file: m.h5}\n" PIPELINES, PQ_ERR_FORMAT, "m.h5"},
};

Test(plan, inputs_that_are_wrong_are_refused_before_anything_runs)
{
    enter_inputs(100);
    write_events("copy.h5", 100);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        pq_config *config = NULL;
        pq_cells   cells  = {0};
        pq_err     err    = {0};
        pq_status  st;
        write_whole(refused[i].rest);
        OK(pq_config_read("w.yaml", NULL, &config, NULL, ERR));
        st = pq_cells_plan(config, NULL, &cells, &err);
        cr_expect_eq(st, refused[i].status, "case %zu: %d, %s", i, st, err.message);
        cr_expect_eq(strncmp(err.message, refused[i].message, strlen(refused[i].message)),
                     0, "case %zu: %s", i, err.message);
        pq_config_free(&config);
    }
}

Test(plan, inputs_are_found_beside_the_configuration_and_in_the_data_folder)
{
    pq_config *config = NULL;
    pq_cells   cells  = {0};

    enter_inputs(100);
    OK(pq_folder_make("conf", ERR));
    OK(pq_folder_make("data", ERR));
    cr_assert_eq(rename("m.h5", "conf/m.h5"), 0);
    cr_assert_eq(rename("d.h5", "data/d.h5"), 0);
    cr_assert_eq(setenv("PQUANT_DATA_DIR", "data", 1), 0);
    write_text("conf/c.yaml", HEAD PIPELINES);
    OK(pq_config_read("conf/c.yaml", NULL, &config, NULL, ERR));
    OK(pq_cells_plan(config, NULL, &cells, ERR));
    cr_expect_str_eq(cells.weights, "conf/m.h5");
    cr_expect_str_eq(cells.data, "data/d.h5");
    cr_expect_str_eq(cells.test, "test");
    cr_expect_str_eq(cells.calib, "train");
    pq_cells_free(&cells);
    pq_config_free(&config);
}

/* Neighbours share the keys of what they begin with; each is still that of its own text.
 */
Test(plan, shared_prefixes_have_the_keys_of_their_texts)
{
    pq_config *config;
    pq_cells   cells;

    enter_inputs(100);
    plan(
        "seeds: {repeats: 2}\npipelines:\n  p: {stages: [{svd: {rank: $r}}, {svd: {rank: "
        "2, layers: $l}}, {finetune: {epochs: $e}}], sweep: {e: [1, 2], r: [2, 3], l: "
        "[a, "
        "b]}}\n",
        &config, &cells);
    cr_assert_eq(cells.n, 16);
    for (size_t i = 0; i < cells.n; i++) {
        for (size_t s = 0; s <= 3; s++) {
            pq_text text = {0};
            char    due[PQ_HASH_TEXT];
            pq_key_artifact(&cells, &cells.cells[i], s, &text);
            OK(pq_key_of(&text, due, ERR));
            cr_expect_str_eq(cells.cells[i].artifact[s], due, "cell %zu, stage %zu", i,
                             s);
            pq_text_free(&text);
        }
    }
    pq_cells_free(&cells);
    pq_config_free(&config);
}

Test(plan, the_limit_of_memory_holds_the_cells)
{
    const char *rest = "pipelines:\n  p: {stages: [{svd: {rank: $a}}, {svd: {rank: $b}}, "
                       "{svd: {rank: $c}}],"
                       "\n    sweep: {a: {range: [1, 100, 1]}, b: {range: [1, 100, 1]}, "
                       "c: {range: [1, 10, "
                       "1]}}}\n";
    char       *text = pq_format("limits: {memory: 40MB}\n%s", rest);
    pq_config  *config;
    pq_cells    cells = {0};
    pq_err      err   = {0};

    enter_inputs(100);
    config = read_config(text, NULL);
    cr_expect_eq(pq_cells_plan(config, NULL, &cells, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "c.yaml: planning its 100000 cells takes more memory than "
                     "limits.memory = 40.0 MB");
    pq_config_free(&config);
    pq_free(text);
}
