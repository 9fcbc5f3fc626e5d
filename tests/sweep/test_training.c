/* A cell that trains: resumed after a kill, with its history in the record; and the
 * configuration of a training by itself. */
#include "support.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "store/record.h"
#include "store/results.h"
#include "sweep/run.h"
#include "sweep/train_config.h"

enum {
    EPOCHS = 150,
    BEFORE = 15 + 64 + 6 * 8 /* bytes of a checkpoint before history */
};

#define TUNED                                                                            \
    "metrics: [accuracy]\npipelines:\n  reference: []\n"                                 \
    "  tuned: [{prune: {target_sparsity: 0.5}}, {finetune: {epochs: 150, batch: 32}}]\n"

static pq_status sweep(const char *dir, pq_err *err)
{
    pq_config       *config  = read_config(TUNED, NULL);
    pq_sweep_summary summary = {0};
    pq_sweep_options options = {.dir = dir};
    const pq_status  st      = pq_sweep_run(config, &options, &summary, err);

    pq_sweep_summary_free(&summary);
    pq_config_free(&config);
    return st;
}

/* The only file of a folder that ends so, or NULL; caller frees. */
static char *only_file(const char *dir, const char *suffix)
{
    char **names = NULL, *path = NULL;
    size_t n = 0;

    if (pq_folder_list(dir, suffix, &names, &n, NULL) != PQ_OK) {
        return NULL;
    }
    cr_assert_leq(n, 1);
    for (size_t i = 0; i < n; i++) {
        path = pq_path_join(dir, names[i]);
        pq_free(names[i]);
    }
    pq_free(names);
    return path;
}

/* The first epoch of a checkpoint that has at least `least`; false when there is none. */
static bool first_epoch(const char *dir, size_t least, pq_train_epoch *out)
{
    char  *path = only_file(dir, ".checkpoint"), *bytes = NULL;
    size_t n   = 0;
    bool there = path != NULL && pq_file_read(path, 1 << 24, &bytes, &n, NULL) == PQ_OK &&
                 n > BEFORE + least * sizeof *out;

    if (there) {
        uint64_t epochs;
        memcpy(&epochs, bytes + BEFORE - 5 * 8, sizeof epochs);
        there = epochs >= least;
        memcpy(out, bytes + BEFORE, sizeof *out);
    }
    pq_free(path);
    pq_free(bytes);
    return there;
}

/* The history that the record of the cell `tuned` keeps. */
static json_t *history_of(const char *dir)
{
    json_t *results = NULL, *found = NULL, *cell;
    size_t  i;

    OK(pq_results_read(dir, &results, NULL, ERR));
    json_array_foreach(json_object_get(results, "cells"), i, cell)
    {
        json_t *record = NULL, *one;
        size_t  k;
        OK(pq_record_read(dir, json_string_value(json_object_get(cell, "eval")), &record,
                          ERR));
        json_array_foreach(json_object_get(record, "layers"), k, one)
        {
            if (json_object_get(one, "history") != NULL) {
                cr_expect_str_eq(json_string_value(json_object_get(one, "stage")),
                                 "finetune");
                found = json_incref(json_object_get(one, "history"));
            }
        }
        json_decref(record);
    }
    json_decref(results);
    cr_assert_not_null(found);
    return found;
}

static void expect_same_table(const char *a, const char *b)
{
    char  *x = NULL, *y = NULL;
    size_t n;

    OK(pq_file_read(a, 1 << 24, &x, &n, ERR));
    OK(pq_file_read(b, 1 << 24, &y, &n, ERR));
    cr_expect_str_eq(x, y);
    pq_free(x);
    pq_free(y);
}

Test(training, of_a_killed_cell_goes_on_where_it_was)
{
    pq_train_epoch        first;
    json_t               *history;
    char                 *left;
    const struct timespec wait = {0, 500000};
    pid_t                 pid;
    int                   status;

    enter_inputs(2000);
    OK(sweep("whole", ERR));
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        _exit(sweep("cut", NULL) == PQ_OK ? 0 : 1);
    }
    while (!first_epoch("cut/models", 3, &first)) {
        (void)nanosleep(&wait, NULL);
    }
    (void)kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status), "it ended before it could be killed");
    (void)nanosleep(&(struct timespec){0, 50000000}, NULL); /* its worker dies with it */
    cr_assert(first_epoch("cut/models", 3, &first));
    OK(sweep("cut", ERR));
    expect_same_table("whole/table.csv", "cut/table.csv");
    left = only_file("cut/models", ".checkpoint");
    cr_expect_null(left, "the checkpoint was left behind");
    history = history_of("cut");
    cr_expect_eq(json_array_size(history), EPOCHS);
    /* the first epoch is the one that ran before the kill, not one like it */
    cr_expect_float_eq(
        json_number_value(json_object_get(json_array_get(history, 0), "seconds")),
        first.seconds, 1e-12);
    json_decref(history);
    pq_free(left);
}

Test(training, history_has_recalls_by_class_name)
{
    json_t *history, *recalls;

    enter_inputs(500);
    OK(sweep("whole", ERR));
    history = history_of("whole");
    recalls = json_object_get(json_array_get(history, EPOCHS - 1), "recalls");
    cr_expect_eq(json_object_size(recalls), CLASSES);
    cr_expect_gt(json_number_value(json_object_get(recalls, "b")), 0.5);
    json_decref(history);
}

static pq_status read_training(const char *text, pq_train_config **out, pq_text *problems,
                               pq_err *err)
{
    write_text("t.yaml", text);
    return pq_train_config_read("t.yaml", NULL, NULL, out, problems, err);
}

Test(training, configurations_tell_every_mistake_at_once)
{
    pq_train_config *config   = NULL;
    pq_text          problems = {0};
    pq_err           e        = {0};

    enter_folder();
    cr_expect_eq(read_training("schema: pquant/1\nmodel: {zoo: a, weights: b}\n"
                               "dataset: {files: d.h5}\ntrain: {epochs: -1, min_recall: "
                               "{b: 2}}\noutput: {model: m.h5}\n",
                               &config, &problems, &e),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(problems.text,
                     "t.yaml:3:11: dataset: unknown key 'files'; did you mean 'file'?\n"
                     "t.yaml:4:17: train: epochs = -1 is not in 0..100000\n"
                     "t.yaml:2:8: model: exactly one of zoo and weights must be given\n"
                     "t.yaml:3:10: dataset: file must be given\n"
                     "t.yaml:4:8: train: min_recall: b: 2 is not in 0..1\n");
    pq_text_free(&problems);
}

Test(training, an_architecture_goes_with_its_weights)
{
    pq_train_config *config   = NULL;
    pq_text          problems = {0};
    pq_err           e        = {0};

    enter_folder();
    cr_expect_eq(read_training("schema: pquant/1\nmodel: {zoo: jsc-mlp, arch: a.json,\n"
                               "  teacher_arch: resnet20}\n"
                               "dataset: {file: d.h5}\noutput: {model: m.h5}\n",
                               &config, &problems, &e),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(problems.text,
                     "t.yaml:2:29: model: arch goes with weights\n"
                     "t.yaml:3:17: model: teacher_arch goes with teacher\n");
    OK(read_training("schema: pquant/1\nmodel: {zoo: jsc-mlp, teacher: t.h5, "
                     "teacher_arch: t.json}\n"
                     "dataset: {file: d.h5}\noutput: {model: m.h5}\n",
                     &config, NULL, ERR));
    cr_expect_str_eq(config->model.teacher_arch, "t.json");
    pq_train_config_free(&config);
    pq_text_free(&problems);
}

Test(training, configurations_are_read_with_includes_and_shown_whole)
{
    pq_train_config *config = NULL, *again = NULL;
    pq_text          text = {0}, twice = {0};

    enter_folder();
    write_text("base.yaml", "schema: pquant/1\nmodel: {zoo: jsc-mlp}\ndataset: {file: "
                            "d.h5}\ntrain: {epochs: 3, lr: 0.1}\n");
    OK(read_training("include: base.yaml\ntrain: {epochs: 0, class_weights: {b: 2, c: "
                     "5}}\noutput: {model: m.h5}\n",
                     &config, NULL, ERR));
    cr_expect(pq_train_config_is("t.yaml"));
    cr_expect_eq(config->train.epochs, 0);
    cr_expect_float_eq(config->train.lr, 0.1, 1e-15);
    cr_expect_str_eq(config->train.class_weights, "b=2,c=5");
    cr_expect_str_eq(config->name, "t");
    pq_train_config_show(config, &text);
    OK(read_training(text.text, &again, NULL, ERR));
    pq_train_config_show(again, &twice);
    cr_expect_str_eq(text.text, twice.text);
    pq_text_free(&text);
    pq_text_free(&twice);
    pq_train_config_free(&config);
    pq_train_config_free(&again);
}
