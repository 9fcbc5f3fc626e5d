#include <math.h>

#include "support.h"

#define TAIL "pipelines:\n  reference: []\n"

/* Text of c.yaml, and every problem it must give. */
typedef struct {
    const char *text, *problems;
} bad_case;

static const bad_case bad[] = {
    {"schema: pquant/1\nmodel: {weights: m}\ndataset: {file: d}\n" TAIL "metric: [auc]\n",
     "c.yaml:6:1: configuration: unknown key 'metric'; did you mean 'metrics'?\n"},
    {"schema: pquant/2\nmodel: {weights: m}\ndataset: {file: d}\n" TAIL,
     "c.yaml:1:9: 'schema: pquant/1' is due here\n"},
    {"schema: pquant/1\nmodel: {weights: m, classes: [b, \"q,g\"]}\n"
     "dataset: {file: d, labels: {b: 1, \"q,g\": 2}}\n" TAIL,
     "c.yaml:2:30: classes: 'q,g' holds one of , = : which separate names here: such a "
     "name cannot be given\n"
     "c.yaml:3:28: labels: 'q,g' holds one of , = : which separate names here: such a "
     "name cannot be given\n"},
    {"schema: pquant/1\n", "c.yaml:1:1: model: weights must be given\n"
                           "c.yaml:1:1: dataset: file must be given\n"
                           "c.yaml:1:1: pipelines must be given\n"},
    {HEAD "pipelines:\n  p: [{svd: {rank: many}}]\n",
     "c.yaml:6:20: pipeline 'p': svd: rank = 'many' is not a whole number\n"},
    {HEAD "pipelines:\n  p: [{svd: {rank: 0}}]\n",
     "c.yaml:6:20: pipeline 'p': svd: rank = 0 is not in 1..1048576\n"},
    {HEAD "pipelines:\n  p: [{svd: {rnak: 4, rank: 2}}]\n",
     "c.yaml:6:14: pipeline 'p': svd: unknown key 'rnak'; did you mean 'rank'?\n"},
    {HEAD "pipelines:\n  p: [{svd: {rank: [2, 4]}}]\n",
     "c.yaml:6:20: rank: one value is due here, not a list; to try several, name it $x "
     "and list "
     "x under sweep:\n"},
    {HEAD "pipelines:\n  p: [{quantise: {bits: 8}}]\n",
     "c.yaml:6:8: pipeline 'p': unknown stage 'quantise'; did you mean 'quantize'?\n"},
    {HEAD "pipelines:\n  p: [{svd: {rank: 2}, prune: {target_sparsity: 0.5}}]\n",
     "c.yaml:6:7: pipeline 'p': a stage is one method and its parameters, '- svd: {rank: "
     "8}'\n"},
    {HEAD "pipelines:\n  p: [{svd: {rank: $r}}]\n",
     "c.yaml:6:20: '$r' is neither swept nor zipped\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $rnk}}], sweep: {rank: [2]}}\n",
     "c.yaml:6:29: '$rnk' is neither swept nor zipped; did you mean '$rank'?\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: 2}}], sweep: {rank: [2]}}\n",
     "c.yaml:6:43: axis 'rank': no stage uses '$rank'\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $r}}], sweep: {r: [2, 0]}}\n",
     "c.yaml:6:51: pipeline 'p': svd: rank = 0 is not in 1..1048576\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $r}}], sweep: {r: 4}}\n",
     "c.yaml:6:47: axis 'r': a list of values, {range: [lo, hi, step]} or {linspace: "
     "[lo, hi, "
     "n]} is due here\n"},
    {HEAD
     "pipelines:\n  p: {stages: [{svd: {rank: $r}}], sweep: {r: {range: [4, 2, 1]}}}\n",
     "c.yaml:6:55: range: lo <= hi and step > 0 are due here\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $r}}], sweep: {r: [2]}, exclude: [{r: "
          "3}]}\n",
     "c.yaml:6:63: exclude: no cell is like this\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $r}}], sweep: {r: [2]}, exclude: [{r: "
          "2}]}\n",
     "c.yaml:6:3: pipeline 'p': every cell is excluded\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $a, layers: $b}}], zip: {a: [1, 2], "
          "b: [x]}}\n",
     "c.yaml:6:65: zip: 'b' has 1 values but 'a' has 2\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $status}}], sweep: {status: [2]}}\n",
     "c.yaml:6:49: axis 'status': is a column of the table of results; choose another "
     "name\n"},
    {HEAD "pipelines:\n  p: [{svd: {}}]\n",
     "c.yaml:6:8: pipeline 'p': svd: give exactly one of rank, energy, epsilon, evbmf, "
     "ratio, target_sparsity and budget\n"},
    {HEAD "pipelines:\n  p: 3\n", "c.yaml:6:6: pipeline 'p': a list of stages is due "
                                  "here ([] is the uncompressed model)\n"},
    {HEAD "pipelines:\n  p: {stage: []}\n",
     "c.yaml:6:7: pipeline 'p': unknown key 'stage'; did you mean 'stages'?\n"
     "c.yaml:6:6: pipeline 'p': a list of stages is due here ([] is the uncompressed "
     "model)\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $r}}, {quantise: {bits: 8}}], sweep: "
          "{r: [2, 4]}}\n",
     "c.yaml:6:36: pipeline 'p': unknown stage 'quantise'; did you mean 'quantize'?\n"},
    {HEAD
     "pipelines:\n  p: {stages: [[svd], {svd: {rank: $r}}], sweep: {r: [2, 4, 6]}}\n",
     "c.yaml:6:16: pipeline 'p': a stage is one method and its parameters, '- svd: "
     "{rank: "
     "8}'\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $r}}], zip: {r: [x, x, x]}}\n",
     "c.yaml:6:49: axis 'r': x stands here twice\n"
     "c.yaml:6:52: axis 'r': x stands here twice\n"},
    {HEAD
     "pipelines:\n  p: {stages: [{svd: {ratio: $r}}], sweep: {r: [25%, 0.5, .25]}}\n",
     "c.yaml:6:59: axis 'r': 0.25 stands here twice\n"},
    {HEAD "pipelines:\n  p: {stages: [{svd: {rank: $r, layers: $l}}], zip: {r: [1, 2, 1, "
          "1], l: [a, a, b, a]}}\n",
     "c.yaml:6:67: axis 'r': 1, a stands here twice\n"},
    {HEAD "pipelines:\n  '': []\n",
     "c.yaml:6:3: pipelines: a name has 1 to 200 bytes, not 0\n"},
    {HEAD TAIL "latency: {batch: []}\n",
     "c.yaml:7:18: latency: batch: at least one size is due here\n"},
    {HEAD TAIL "latency: {batch: [1, 8, 1.0]}\n",
     "c.yaml:7:18: latency: batch: 1 stands here twice\n"},
    {HEAD TAIL "constraints: {acuracy: {min: 0.9}}\n",
     "c.yaml:7:15: constraints: no metric gives a value 'acuracy'; did you mean "
     "'accuracy'?\n"},
    {HEAD TAIL "constraints: {auc_loss: {max: 0.9}}\n",
     "c.yaml:7:15: constraints: no metric gives a value 'auc_loss'; did you mean "
     "'auc.macro_loss'?\n"},
    {HEAD TAIL "metrics: [auc]\nconstraints: {log_loss_loss: {max: 1}}\n",
     "c.yaml:8:15: constraints: 'log_loss_loss' is not measured: metrics leaves it "
     "out\n"},
    {HEAD TAIL "latency: {batch: 8}\nconstraints: {latency.b1.p50_s: {max: 1ms}}\n",
     "c.yaml:8:15: constraints: 'latency.b1.p50_s' is not measured: latency leaves it "
     "out\n"},
    {HEAD TAIL "constraints: {accuracy: {min: nan}}\n",
     "c.yaml:7:31: constraints: min = 'nan' is not a number\n"},
    {HEAD TAIL "gates: {acuracy: {max_loss: 0.1}}\n",
     "c.yaml:7:9: gates: no metric gives a value 'acuracy'; did you mean 'accuracy'?\n"},
    {HEAD TAIL "metrics: {acuracy: }\n",
     "c.yaml:7:11: metrics: unknown metric 'acuracy'; did you mean 'accuracy'?\n"},
    {HEAD TAIL "metrics: [auc, auc]\n",
     "c.yaml:7:16: metrics: 'auc' stands here twice\n"},
    {HEAD TAIL "metrics: {accuracy: {interval: wilsen}}\n",
     "c.yaml:7:32: metrics: accuracy: interval = 'wilsen' is not one of wilson, "
     "clopper-pearson; "
     "did you mean 'wilson'?\n"},
    {HEAD TAIL "latency: {batch: [1, 2.5]}\n",
     "c.yaml:7:18: latency: batch = 2.5 is not a whole number\n"},
    {HEAD TAIL "latency: {processes: 6, samples: {count: 11}}\n",
     "c.yaml:7:22: latency: 6 processes share samples.count = 11, which leaves less than "
     "2 "
     "to each\n"},
    {HEAD TAIL "latency: {samples: {sample_time: 10mm}}\n",
     "c.yaml:7:34: latency.samples: sample_time = '10mm' is not a number with a unit of "
     "time, "
     "such as 10ms\n"},
    {HEAD TAIL "limits: {memory: 4 GB, cell_timeout: 2x}\n",
     "c.yaml:7:18: limits: memory = '4 GB' is not a number with a unit of size, such as "
     "4GB\n"
     "c.yaml:7:38: limits: cell_timeout = '2x' is not a number with a unit of time, such "
     "as "
     "10ms\n"},
    {HEAD TAIL "seeds: 3\n", "c.yaml:7:8: seeds: a map is due here, not a text\n"},
    {HEAD TAIL "seeds: {base: }\n", "c.yaml:7:15: base has no value\n"},
    {HEAD TAIL "evaluate: {engine: flaot32}\n",
     "c.yaml:7:20: evaluate: engine = 'flaot32' is not one of auto, " PQ_TEST_ENGINES
     ", blas, onednn; did you mean 'float32'?\n"},
    {HEAD TAIL "metrics: [confusion, size]\nconstraints: {recall.x_loss: {max: 1}, "
               "parameters: {mim: 1}}\n",
     "c.yaml:8:53: constraints: unknown key 'mim'; did you mean 'min'?\n"},
    {HEAD TAIL "constraints: {auc.macro: {mim: 0.9}}\n",
     "c.yaml:7:27: constraints: unknown key 'mim'; did you mean 'min'?\n"},
    {HEAD TAIL "constraints: {stored_bytes: {max: some}}\n",
     "c.yaml:7:35: constraints: max = 'some' is not a number\n"},
    {HEAD TAIL "constraints: {accuracy: {min: 0.9, max: 0.5}}\n",
     "c.yaml:7:25: constraints: min = 0.9 is above max = 0.5: nothing is within\n"},
    {HEAD TAIL "gates: {accuracy: {max_loss: -0.1}}\n",
     "c.yaml:7:30: gates: max_loss = -0.1 is not in 0..1e+15\n"},
    {HEAD TAIL "gates: {stored_bytes: {max_increase: -1%}}\n",
     "c.yaml:7:38: gates: max_increase = -0.01 is not in 0..1000000\n"},
    {HEAD TAIL "published: {source: x, cells: {reference: {parameters: {ratio: 0}}}}\n",
     "c.yaml:7:64: published: ratio = 0 is not above 0\n"},
    {HEAD TAIL "published: {source: x, cells: {reference: {parameters: {ratio: -2%}}}}\n",
     "c.yaml:7:64: published: ratio = -2% is not above 0\n"},
    {HEAD TAIL "evaluate: {negative_weights: tRue}\n",
     "c.yaml:7:30: evaluate: negative_weights = 'tRue' is not true or false\n"},
    {HEAD TAIL "gates: {accuracy: {max_los: 0.1}}\n",
     "c.yaml:7:20: gates: unknown key 'max_los'; did you mean 'max_loss'?\n"},
    {HEAD TAIL "output: {plots: [pareto, pie]}\n",
     "c.yaml:7:17: output.plots: 'pie' is not one of pareto, rank_curve, roc\n"},
    {"schema: pquant/1\nname: a/b\nmodel: {weights: [a, b]}\ndataset: {file: d}\n" TAIL,
     "c.yaml:2:7: name: a text without '/' is due here (it names the results folder)\n"
     "c.yaml:3:18: weights: one value is due here, not a list; to try several, name it "
     "$x and "
     "list x under sweep:\n"
     "c.yaml:1:1: model: weights must be given\n"},
    {"schema: pquant/1\nmodel: {weights: m, format: kearas}\ndataset: {file: d}\n" TAIL,
     "c.yaml:2:29: model: unknown format 'kearas' (`pquant formats` lists them)\n"},
};

Test(config, every_problem_of_a_file_is_told_at_its_place)
{
    enter_folder();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pq_config *config   = NULL;
        pq_text    problems = {0};
        pq_err     err      = {0};
        write_text("c.yaml", bad[i].text);
        cr_expect_eq(pq_config_read("c.yaml", NULL, &config, &problems, &err),
                     PQ_ERR_CONFIG);
        cr_expect_null(config);
        cr_expect_str_eq(problems.text != NULL ? problems.text : "", bad[i].problems,
                         "case %zu:\n%s\nis told as\n%s", i, bad[i].text, problems.text);
        cr_expect_eq(
            strncmp(err.message, bad[i].problems, strcspn(bad[i].problems, "\n")), 0,
            "%s", err.message);
        pq_text_free(&problems);
    }
}

Test(config, yaml_errors_and_missing_files_are_told)
{
    pq_config *config = NULL;
    pq_err     err    = {0};

    enter_folder();
    cr_expect_eq(pq_config_read("none.yaml", NULL, &config, NULL, &err),
                 PQ_ERR_NOT_FOUND);
    err = (pq_err){0};
    write_text("c.yaml", HEAD TAIL "name: again\n");
    cr_expect_eq(pq_config_read("c.yaml", NULL, &config, NULL, &err), PQ_ERR_CONFIG);
    cr_expect(strstr(err.message, "c.yaml:7:1: ") != NULL &&
                  strstr(err.message, "name") != NULL,
              "%s", err.message);
    err = (pq_err){0};
    write_text("c.yaml", "[a, b]\n");
    cr_expect_eq(pq_config_read("c.yaml", NULL, &config, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "c.yaml: a map is due here, not a list");
}

Test(config, defaults_and_units_are_filled_in)
{
    pq_config *c;

    enter_folder();
    c = read_config(
        TAIL "limits: {cell_timeout: 2h, memory: 4GB}\n"
             "latency: {samples: {sample_time: 10ms}, warmup: {seconds: 1e-1}}\n"
             "gates: {auc: {max_increase: 1%}}\n"
             "constraints: {stored_bytes: {max: 64KiB}, auc.macro_loss: {max: 0.5%}}\n"
             "baseline: baselines/nightly.json\n",
        NULL);
    cr_expect_float_eq(c->limits.cell_timeout_s, 7200.0, 1e-9);
    cr_expect_float_eq(c->limits.memory_bytes, 4e9, 1e-3);
    cr_expect_float_eq(c->latency.options.sample_time_s, 0.01, 1e-12);
    cr_expect_float_eq(c->latency.options.warmup_s, 0.1, 1e-12);
    cr_expect_eq(c->latency.options.samples, 30);
    cr_expect_float_eq(c->gates[0].max_increase, 0.01, 1e-12);
    cr_expect_float_eq(c->constraints[0].max, 65536.0, 1e-9);
    cr_expect(isnan(c->constraints[0].min));
    cr_expect_float_eq(c->constraints[1].max, 0.005, 1e-12);
    cr_expect_str_eq(c->baseline, "baselines/nightly.json");
    cr_expect_eq(c->seeds.base, 42);
    cr_expect(c->latency.wanted);
    cr_expect_str_eq(c->name, "t");
    pq_config_free(&c);
}

Test(config, texts_that_yaml_would_guess_stay_texts)
{
    pq_config *c;

    enter_folder();
    c = read_config("pipelines:\n  no: []\n  010: []\n  12:30: [svd: {energy: 1e-1}]\n",
                    NULL);
    cr_assert_eq(c->n_pipelines, 3);
    cr_expect_str_eq(c->pipelines[0].name, "no");
    cr_expect_str_eq(c->pipelines[1].name, "010");
    cr_expect_str_eq(c->pipelines[2].name, "12:30");
    pq_config_free(&c);
}

Test(config, lists_and_maps_of_the_dataset_become_its_options)
{
    pq_config *c;

    enter_folder();
    write_text("c.yaml",
               "schema: pquant/1\nmodel: {weights: m, classes: [g, q]}\n"
               "dataset: {file: d, inputs: [pt, eta], labels: {b: 5, c: 4},\n"
               "  splits: {train: [0, 0.8], test: [0.8, 1]}, nonfinite: drop}\n" TAIL);
    OK(pq_config_read("c.yaml", NULL, &c, NULL, ERR));
    cr_expect_str_eq(c->model.classes, "g,q");
    cr_expect_str_eq(c->dataset.inputs, "pt,eta");
    cr_expect_str_eq(c->dataset.labels, "b=5,c=4");
    cr_expect_str_eq(c->dataset.splits, "train=0:0.8,test=0.8:1");
    cr_expect_eq(c->dataset.nonfinite, PQ_NONFINITE_DROP);
    cr_expect_str_eq(c->name, "c"); /* of the file, where none is given */
    pq_config_free(&c);
}

Test(config, includes_merge_deeply_and_the_file_wins)
{
    pq_config *c;

    enter_folder();
    OK(pq_folder_make("common", ERR));
    write_text("common/a.yaml",
               "include: b.yaml\nseeds: {base: 1}\nmetrics: [auc, size]\n");
    write_text("common/b.yaml",
               "seeds: {base: 2, repeats: 3}\nmodel: {weights: w, arch: x}\n");
    write_text("c.yaml",
               "schema: pquant/1\ninclude: [common/a.yaml]\nmodel: {weights: m}\n"
               "dataset: {file: d}\nmetrics: [accuracy]\n" TAIL);
    OK(pq_config_read("c.yaml", NULL, &c, NULL, ERR));
    cr_expect_eq(c->seeds.base, 1);
    cr_expect_eq(c->seeds.repeats, 3);
    cr_expect_str_eq(c->model.weights, "m");
    cr_expect_str_eq(c->model.arch, "x");
    cr_expect_eq(c->n_metrics, 1, "lists replace");
    pq_config_free(&c);
}

Test(config, circular_and_missing_includes_are_refused)
{
    pq_config *c   = NULL;
    pq_err     err = {0};

    enter_folder();
    write_text("a.yaml", "include: b.yaml\n");
    write_text("b.yaml", "include: [a.yaml]\n");
    cr_expect_eq(pq_config_read("a.yaml", NULL, &c, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "b.yaml:1:11: include: 'a.yaml' includes itself");
    err = (pq_err){0};
    write_text("a.yaml", "include: none.yaml\n");
    cr_expect_eq(pq_config_read("a.yaml", NULL, &c, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "a.yaml:1:10: include: there is no file 'none.yaml'");
    err = (pq_err){0};
    write_text("a.yaml", "include: .\n");
    cr_expect_eq(pq_config_read("a.yaml", NULL, &c, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "a.yaml:1:10: include: . is a folder");
    err = (pq_err){0};
    write_text("a.yaml", "include: /dev/zero\n");
    cr_expect_eq(pq_config_read("a.yaml", NULL, &c, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "a.yaml:1:10: include: /dev/zero: is a pipe, a device or "
                     "a socket, not a file");
}

Test(config, the_command_line_changes_values_and_axes)
{
    const char *const       set[]  = {"seeds.base=7", "limits.cell_timeout=5s",
                                      "pipelines.extra=[{prune: {target_sparsity: 0.5}}]"};
    const char *const       axes[] = {"rank=1,3"};
    const pq_config_changes change = {3, set, 1, axes};
    pq_config              *c;

    enter_folder();
    c = read_config(
        "pipelines:\n  p: {stages: [{svd: {rank: $rank}}], sweep: {rank: [2]}}\n",
        &change);
    cr_expect_eq(c->seeds.base, 7);
    cr_expect_float_eq(c->limits.cell_timeout_s, 5.0, 1e-12);
    cr_assert_eq(c->n_pipelines, 2);
    cr_assert_eq(c->pipelines[0].n_cases, 2);
    cr_expect_str_eq(c->pipelines[0].cases[1].label, "p rank=3");
    cr_expect_str_eq(c->pipelines[1].name, "extra");
    pq_config_free(&c);
}

Test(config, wrong_changes_of_the_command_line_are_told)
{
    const char *const       set[]    = {"seeds",
                                        "seeds.bsae=3",
                                        "limits.memory=[1",
                                        "metrics.auc.x=1",
                                        "pipelines.reference.0=1",
                                        "name.x=1"};
    const char *const       axes[]   = {"depth=1,2", "rank"};
    const pq_config_changes change   = {6, set, 2, axes};
    pq_text                 problems = {0};
    pq_config              *c        = NULL;

    enter_folder();
    write_text("c.yaml", HEAD TAIL "metrics: [accuracy, auc]\n");
    cr_expect_eq(pq_config_read("c.yaml", &change, &c, &problems, NULL), PQ_ERR_CONFIG);
    /* the metrics of the file are not lost */
    cr_expect(strstr(problems.text, "-S metrics.auc.x=1: 'metrics' is a list in the "
                                    "configuration, and no map of keys\n") != NULL,
              "%s", problems.text);
    cr_expect(strstr(problems.text, "-S name.x=1: 'name' is a text") != NULL, "%s",
              problems.text);
    cr_expect(strstr(problems.text, "-S seeds: KEY.PATH=VALUE is due here\n") != NULL);
    cr_expect(strstr(problems.text,
                     "-P depth: no pipeline sweeps an axis of this name\n") != NULL);
    cr_expect(strstr(problems.text, "-P rank: AXIS=V1,V2 is due here\n") != NULL);
    cr_expect(strstr(problems.text,
                     "seeds: unknown key 'bsae'; did you mean 'base'?\n") != NULL,
              "%s", problems.text);
    cr_expect(strstr(problems.text, "-S limits.memory") != NULL, "%s", problems.text);
    pq_text_free(&problems);
}

Test(config, what_is_shown_reads_back_to_the_same)
{
    pq_text    first = {0}, second = {0};
    pq_config *a, *b               = NULL;

    enter_folder();
    a = read_config(
        "pipelines:\n  reference: []\n"
        "  p: {stages: [prune, {svd: {rank: $r, layers: [fc1, 'fc2*']}}],\n"
        "      sweep: {r: {range: [1, 3, 1]}}, exclude: [{r: 2}]}\n"
        "latency: {batch: [1, 4]}\nconstraints: {auc.macro_loss: {max: 0.1, min: -1}}\n"
        "gates: {auc: {max_loss: 0.1}}\n",
        NULL);
    pq_config_show(a, NULL, &first);
    write_text("shown.yaml", first.text);
    OK(pq_config_read("shown.yaml", NULL, &b, NULL, ERR));
    pq_config_show(b, NULL, &second);
    cr_expect_str_eq(first.text, second.text);
    cr_expect_eq(b->pipelines[1].n_cases, 2);
    cr_expect(strstr(first.text, "cell_timeout: 1800\n") != NULL);
    cr_expect(strstr(first.text, "energy: none") != NULL);
    pq_text_free(&first);
    pq_text_free(&second);
    pq_config_free(&a);
    pq_config_free(&b);
}

/* Names with all that YAML would take for something else. */
Test(config, names_of_any_text_are_shown_as_they_read_back)
{
    static const char *const names[] = {
        "a\\nb",      "\\u2028", "\\u0085x", "\\ufeff",
        "\\t",        " a ",     "- a",      "...",
        "'\\\"",      "#x",      "a: b",     "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
        "%99999999g", "\'\'\'x", "{r}",      "~",
        "\\x7f",      "=",       "?"};

    enter_folder();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *rest =
            pq_format("pipelines:\n  \"%s\": {stages: [{svd: {layers: $l, rank: 1}}], "
                      "sweep: {l: [\"%s\"]}}\n",
                      names[i], names[i]);
        pq_config *a = read_config(rest, NULL), *b = NULL;
        pq_text    shown = {0};

        pq_config_show(a, NULL, &shown);
        write_text("shown.yaml", shown.text);
        OK(pq_config_read("shown.yaml", NULL, &b, NULL, ERR));
        cr_expect_str_eq(a->pipelines[0].name, b->pipelines[0].name);
        cr_expect_str_eq(a->pipelines[0].cases[0].label, b->pipelines[0].cases[0].label);
        cr_expect_str_eq(a->pipelines[0].cases[0].stages[0]->layers,
                         b->pipelines[0].cases[0].stages[0]->layers);
        pq_text_free(&shown);
        pq_config_free(&a);
        pq_config_free(&b);
        pq_free(rest);
    }
}

Test(config, a_thousand_problems_are_listed_and_the_others_counted)
{
    pq_config *config   = NULL;
    pq_text    problems = {0};
    pq_err     err      = {0};
    size_t     lines    = 0;

    enter_folder();
    write_text("c.yaml", HEAD "pipelines: {p: {stages: [{svd: {rank: $r}}], sweep: {r: "
                              "{range: [-2000, -1, 1]}}}}\n");
    cr_expect_eq(pq_config_read("c.yaml", NULL, &config, &problems, &err), PQ_ERR_CONFIG);
    for (const char *at = problems.text; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    cr_expect_eq(lines, 1001);
    cr_expect(strstr(problems.text, "\nand 1000 more\n") != NULL);
    cr_expect(strstr(err.message, " (and 1999 more)") != NULL, "%s", err.message);
    pq_text_free(&problems);
}

Test(config, running_out_of_memory_anywhere_leaves_nothing)
{
    const size_t before = pq_memory_live();

    enter_folder();
    write_text("b.yaml", "seeds: {base: 2}\n");
    write_text(
        "c.yaml",
        "include: b.yaml\n" HEAD "metrics: [auc]\nconstraints: {auc.a: {min: 0}}\n"
        "gates: {auc: {max_loss: 1}}\npipelines: {p: {stages: [{svd: {rank: $r}}], "
        "sweep: {r: [1, 2]}}}\n");
    for (size_t n = 0;; n++) {
        pq_config *c = NULL;
        pq_status  st;
        pq_memory_fail_after(n);
        st = pq_config_read("c.yaml", NULL, &c, NULL, NULL);
        pq_memory_fail_after(SIZE_MAX);
        pq_config_free(&c);
        cr_assert_eq(pq_memory_live(), before, "after failing allocation %zu", n);
        if (st == PQ_OK) {
            cr_assert_gt(n, 50);
            break;
        }
    }
}
