/* pquant train: a network trained as a configuration says. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/config.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/memory.h"
#include "exec/rescale.h"
#include "formats/model.h"
#include "formats/zoo.h"
#include "graph/head.h"
#include "kernels/cpu.h"
#include "lab/evaluate.h"
#include "store/json.h"
#include "train/classes.h"
#include "train/train.h"

static const pq_option options[] = {
    PQ_SET_OPTION,
    {"output", 'o', "OUT.h5", false, NULL,
     "where the model goes, instead of output.model"},
    {"threads", 0, "N", false, "0", "threads, 0 = all cores; does not change the result"},
    {0},
};

/* A run as configured; owns everything. */
typedef struct {
    pq_train_config *config;
    char            *checkpoint; /* output.checkpoint, or a temporary one */
    pq_graph        *graph, *teacher;
    pq_dataset      *dataset;
    pq_train_summary summary;
    bool             quiet;
} run_state;

static volatile sig_atomic_t stop_signal; /* set by the handler, read between batches */

static void on_signal(int number)
{
    stop_signal = number;
}

typedef struct {
    struct sigaction interrupt, terminate;
} old_handlers;

/* The first signal asks the training to stop, the second one ends the program. */
static void catch_signals(old_handlers *old)
{
    const struct sigaction ours = {.sa_handler = on_signal,
                                   .sa_flags   = (int)SA_RESETHAND};

    stop_signal = 0;
    (void)sigaction(SIGINT, &ours, &old->interrupt);
    (void)sigaction(SIGTERM, &ours, &old->terminate);
}

static void restore_signals(const old_handlers *old)
{
    (void)sigaction(SIGINT, &old->interrupt, NULL);
    (void)sigaction(SIGTERM, &old->terminate, NULL);
}

/* In the current folder, else beside the configuration; else the name as it is, which may
 * be a public set's. */
static char *locate(const run_state *r, const char *name)
{
    const char  *path   = r->config->path;
    const size_t n      = (size_t)(pq_path_base(path) - path);
    char        *folder = pq_format("%.*s", (int)n, path);
    char        *beside = folder != NULL && n > 0 ? pq_path_join(folder, name) : NULL;
    const bool   here   = pq_file_exists(name) || pq_folder_exists(name);

    pq_free(folder);
    if (!here && beside != NULL && (pq_file_exists(beside) || pq_folder_exists(beside))) {
        return beside;
    }
    pq_free(beside);
    return pq_strdup(name);
}

/* `arch` is a file beside the weights, or a network of the zoo, or NULL. */
static pq_status load(const run_state *r, const char *name, const char *arch,
                      const char *output, pq_graph **out, pq_err *err)
{
    char     *path   = locate(r, name);
    char     *beside = arch == NULL       ? NULL
                       : pq_zoo_has(arch) ? pq_strdup(arch)
                                          : locate(r, arch);
    pq_status st;

    PQ_CHECK(path != NULL && (arch == NULL || beside != NULL), PQ_ERR_NOMEM,
             "cannot allocate a path");
    PQ_TRY(pq_model_load_output(path, beside, output, out, err));
cleanup:
    pq_free(path);
    pq_free(beside);
    return st;
}

/* What goes on from weights without a scaler may take the dataset's; else it is told. */
static pq_status scale(const run_state *r, pq_graph *graph, int choice, pq_err *err)
{
    const pq_dataset_info *info = pq_dataset_describe(r->dataset);
    pq_status              st   = PQ_OK;

    if (choice == PQ_SCALER_DATASET) {
        PQ_TRY(pq_scaler_take(graph, info, err));
        PQ_TRY(pq_graph_check(graph, err));
    }
    if (pq_scaler_is_left(graph, info) && !r->quiet &&
        (graph != r->graph || r->config->model.weights != NULL)) {
        pq_say(stderr,
               "note: the %s has no scaler and gets the events as they are, though "
               "the dataset carries one (model.%s: dataset)\n",
               graph == r->graph ? "model" : "teacher",
               graph == r->graph ? "scaler" : "teacher_scaler");
    }
cleanup:
    return st;
}

static pq_status open_inputs(run_state *r, pq_err *err)
{
    pq_dataset_options how  = {.layout = r->config->dataset.layout,
                               .inputs = r->config->dataset.inputs,
                               .x      = r->config->dataset.x,
                               .y      = r->config->dataset.y,
                               .label  = r->config->dataset.label,
                               .weight = r->config->dataset.weight,
                               .labels = r->config->dataset.labels,
                               .splits = r->config->dataset.splits};
    char              *path = locate(r, r->config->dataset.file);
    pq_status          st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (r->config->model.zoo != NULL) {
        PQ_TRY(pq_zoo_build(r->config->model.zoo, (uint64_t)r->config->train.seed,
                            &r->graph, err));
    } else {
        PQ_TRY(load(r, r->config->model.weights, r->config->model.arch,
                    r->config->model.output_layer, &r->graph, err));
    }
    PQ_TRY(pq_graph_check(r->graph, err));
    PQ_TRY(pq_graph_set_head(r->graph, pq_head_names[r->config->model.head], err));
    if (r->config->model.teacher != NULL) {
        PQ_TRY(load(r, r->config->model.teacher, r->config->model.teacher_arch, NULL,
                    &r->teacher, err));
        PQ_TRY(pq_graph_check(r->teacher, err));
    }
    how.wanted   = (const char *const *)r->graph->feature_names;
    how.n_wanted = r->graph->n_features;
    PQ_TRY(pq_dataset_open(path, &how, &r->dataset, err));
    PQ_TRY(scale(r, r->graph, r->config->model.scaler, err));
    if (r->teacher != NULL) {
        PQ_TRY(scale(r, r->teacher, r->config->model.teacher_scaler, err));
    }
cleanup:
    pq_free(path);
    return st;
}

static pq_status check_classes(const run_state *r, const pq_class_row *row,
                               const char *text, pq_err *err)
{
    const pq_dataset_info *info = pq_dataset_describe(r->dataset);
    double                *out  = NULL;
    pq_status              st   = PQ_OK;

    if (text != NULL) {
        PQ_NEW(out, info->n_classes);
        PQ_TRY(pq_class_values(row, text, info->n_classes, info->class_names, out, err));
    }
cleanup:
    pq_free(out);
    return st;
}

/* What would be refused in the middle or at the end: known before any epoch. */
static pq_status check_inputs(const run_state *r, pq_train_data *data, pq_err *err)
{
    const pq_train_params *p       = &r->config->train;
    const pq_head          head    = pq_graph_head(r->graph);
    bool                   assumed = false;
    size_t                 test;
    pq_status              st;

    *data = (pq_train_data){.dataset = r->dataset, .validation = SIZE_MAX};
    PQ_TRY(pq_dataset_split(r->dataset, r->config->dataset.train, &data->train, err));
    if (r->config->dataset.validation != NULL) {
        PQ_TRY(pq_dataset_split(r->dataset, r->config->dataset.validation,
                                &data->validation, err));
    }
    if (r->config->dataset.test != NULL) {
        PQ_TRY(pq_dataset_split(r->dataset, r->config->dataset.test, &test, err));
    }
    PQ_TRY(pq_evaluate_check(r->graph, r->dataset, &assumed, err));
    PQ_CHECK(pq_head_no_probability(head) == NULL || p->loss == PQ_LOSS_MSE,
             PQ_ERR_CONFIG, "loss = cross_entropy: %s; or loss = mse",
             pq_head_no_probability(head));
    PQ_TRY(check_classes(r, &pq_class_weights_row, p->class_weights, err));
    PQ_TRY(check_classes(r, &pq_min_recall_row, p->min_recall, err));
cleanup:
    return st;
}

pq_status pq_train_config_check(pq_train_config *config, pq_err *missing, pq_err *err)
{
    run_state     r = {.config = config, .quiet = true};
    pq_train_data data;
    pq_status     st;

    *missing = (pq_err){0};
    st       = open_inputs(&r, err);
    if (st == PQ_ERR_NOT_FOUND) {
        *missing = *err;
        *err     = (pq_err){0};
        st       = PQ_OK;
    } else if (st == PQ_OK) {
        st = check_inputs(&r, &data, err);
    }
    pq_graph_free(&r.graph);
    pq_graph_free(&r.teacher);
    pq_dataset_close(&r.dataset);
    return st;
}

static void print_epoch(void *context, const pq_train_epoch *e)
{
    const run_state *r = context;

    pq_progress_done();
    if (!r->quiet) {
        pq_say(stdout,
               "epoch %4zu  lr %.3g  loss %.4f  validation %.4f  accuracy %.4f  "
               "lowest recall %.4f  %.3g events/s on %zu thread%s%s\n",
               e->epoch, e->lr, e->train_loss, e->validation_loss, e->accuracy,
               e->lowest_recall, e->events_per_s, e->threads, e->threads == 1 ? "" : "s",
               e->best ? "  *" : "");
        (void)fflush(stdout);
    }
}

/* Metrics of the test split, with their intervals. */
static pq_status test(const run_state *r, json_t *log, pq_err *err)
{
    const pq_evaluate_options how = {.file_bytes = pq_file_bytes(r->config->output.model),
                                     .unweighted = !r->config->train.event_weights};
    pq_evaluated              got = {0};
    size_t                    split;
    json_t                   *metrics = json_object();
    pq_status                 st      = PQ_OK;

    if (r->config->dataset.test == NULL) {
        goto cleanup;
    }
    PQ_TRY(pq_dataset_split(r->dataset, r->config->dataset.test, &split, err));
    PQ_TRY(pq_evaluate(r->graph, r->dataset, split, &how, &got, err));
    for (size_t i = 0; i < got.values.n; i++) {
        const pq_value *v = &got.values.items[i];
        (void)json_object_set_new(
            metrics, v->name,
            json_pack("{s:o, s:o, s:o, s:o, s:s}", "value", pq_json_real(v->value), "lo",
                      pq_json_real(v->lo), "hi", pq_json_real(v->hi), "n",
                      pq_json_real(v->n), "unit", v->unit));
        if (!r->quiet && strcmp(v->name, "accuracy") == 0) {
            pq_say(stdout, "test accuracy %.4f [%.4f, %.4f] of %zu events\n", v->value,
                   v->lo, v->hi, got.n);
        }
    }
    (void)json_object_set(log, "test", metrics);
cleanup:
    json_decref(metrics);
    pq_evaluated_free(&got);
    return st;
}

static json_t *floors_json(const run_state *r)
{
    json_t *floors = json_object();

    for (size_t k = 0; r->summary.floors != NULL && k < r->summary.n_classes; k++) {
        (void)json_object_set_new(floors, r->graph->class_names[k],
                                  json_real(r->summary.floors[k]));
    }
    return floors;
}

/* What is known of the run; `why` it failed, or NULL. */
static json_t *describe(const run_state *r, const char *params, const char *hash,
                        const char *why)
{
    const pq_train_config  *c = r->config;
    const pq_train_summary *s = &r->summary;
    char                    date[32];

    return json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:s, s:s, s:I, s:I, s:I, s:I, s:b, "
                     "s:o, s:b, s:s, s:s, s:s, s:o}",
                     "name", c->name, "status", why == NULL ? "ok" : "failed", "error",
                     why, "zoo", c->model.zoo, "weights", c->model.weights, "dataset",
                     c->dataset.file, "train", params, "events", (json_int_t)s->events,
                     "validation_events", (json_int_t)s->validation_events, "best_epoch",
                     (json_int_t)s->best, "peak_bytes", (json_int_t)s->peak_bytes,
                     "stopped_early", (int)s->stopped_early, "floors", floors_json(r),
                     "floor_held", (int)s->floor_held, "model", hash, "isa",
                     pq_isa_name(pq_cpu_isa()), "date", pq_clock_date(date, sizeof date),
                     "epochs", pq_train_history_json(s, r->graph));
}

static pq_status write_log(const run_state *r, json_t *log, const char *why, pq_err *err)
{
    pq_text   params = {0};
    char      hash[65], *text = NULL;
    pq_status st = PQ_OK;

    if (r->config->output.log == NULL) {
        goto cleanup;
    }
    PQ_TRY(pq_graph_hash(r->graph, hash, err));
    pq_params_print(pq_train_param_table, &r->config->train, &params);
    PQ_CHECK(!params.failed &&
                 json_object_update_new(log, describe(r, params.text, hash, why)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a log");
    text = json_dumps(log, JSON_INDENT(1) | JSON_REAL_PRECISION(7));
    PQ_CHECK(text != NULL, PQ_ERR_NOMEM, "cannot allocate a log");
    PQ_TRY(pq_file_write(r->config->output.log, text, strlen(text), err));
cleanup:
    free(text); /* jansson's own block */
    pq_text_free(&params);
    return st;
}

static pq_status note(run_state *r, pq_err *err)
{
    pq_text   params = {0};
    json_t   *step;
    pq_status st;

    pq_params_print(pq_train_param_table, &r->config->train, &params);
    step = params.failed
               ? NULL
               : json_pack("{s:s, s:s*, s:s, s:s}", "method", "train", "zoo",
                           r->config->model.zoo, "dataset",
                           pq_path_base(r->config->dataset.file), "params", params.text);
    PQ_CHECK(step != NULL, PQ_ERR_NOMEM, "cannot allocate a step of provenance");
    PQ_TRY(pq_graph_note(r->graph, step, err));
cleanup:
    pq_text_free(&params);
    return st;
}

/* A floor that no epoch held is no failure, but must not go unseen. */
static void warn_of_floors(const run_state *r)
{
    const pq_train_summary *s    = &r->summary;
    const pq_train_epoch   *best = s->best > 0 ? &s->history[s->best - 1] : NULL;

    for (size_t k = 0; !s->floor_held && k < s->n_classes; k++) {
        if (best->recall[k] < s->floors[k]) {
            pq_say(stderr,
                   "pquant: warning: no epoch holds every recall floor: class '%s' "
                   "has %.4f of %.4f in epoch %zu, which lacks least\n",
                   r->graph->class_names[k], best->recall[k], s->floors[k], s->best);
        }
    }
}

/* Model and log: of a whole run, or of the epochs before it failed. The log is written
   too where the test fails, and tells of it. */
static pq_status keep(run_state *r, const char *why, pq_err *err)
{
    json_t   *log    = json_object();
    pq_err    untold = {0};
    pq_status st, tested = PQ_OK;

    if (r->summary.best > 0 || why == NULL) {
        PQ_TRY(note(r, err));
        PQ_TRY(pq_model_save(r->graph, r->config->output.model, err));
        tested = test(r, log, &untold);
    }
    if (tested != PQ_OK) {
        pq_err_context(&untold, "test split '%s'", r->config->dataset.test);
    }
    PQ_TRY(write_log(r, log, why == NULL && tested != PQ_OK ? untold.message : why, err));
    if (!r->quiet && (r->summary.best > 0 || why == NULL)) {
        pq_say(stdout, "%s: weights of epoch %zu of %zu%s\n", r->config->output.model,
               r->summary.best, r->summary.n_epochs,
               r->summary.stopped_early ? ", stopped early"
               : why != NULL            ? ", the last good one"
                                        : "");
    }
    if (why == NULL && tested != PQ_OK) {
        st = tested;
        if (err != NULL) {
            *err = untold;
        }
    }
cleanup:
    json_decref(log);
    return st;
}

/* How to go on where a training did not end well. */
static void advise(const run_state *r, pq_status st, pq_err *err)
{
    const char *checkpoint = r->checkpoint;

    if (st == PQ_ERR_INTERRUPTED && r->summary.n_epochs > 0) {
        pq_err_hint(err, "the same command goes on after epoch %zu", r->summary.n_epochs);
    } else if (st == PQ_ERR_NUMERIC && pq_file_exists(checkpoint)) {
        pq_err_hint(err, "try a lower lr, or clip_norm; remove %s to begin anew",
                    checkpoint);
    } else if (st == PQ_ERR_FORMAT && pq_file_exists(checkpoint)) {
        pq_err_hint(err, "remove %s to begin anew", checkpoint);
    }
}

static pq_status train(run_state *r, const pq_args *args, pq_err *err)
{
    const pq_progress progress = pq_args_progress(args);
    pq_train_config  *config   = r->config;
    pq_train_options  how      = {.checkpoint = r->checkpoint,
                                  .stop       = &stop_signal,
                                  .progress   = &progress,
                                  .epoch_done = print_epoch,
                                  .context    = r};
    pq_train_data     data;
    old_handlers      old;
    pq_err            why = {0};
    pq_status         st;

    PQ_TRY(pq_args_size(args, "threads", 0, 1024, &how.threads, err));
    PQ_TRY(open_inputs(r, err));
    PQ_TRY(check_inputs(r, &data, err));
    how.teacher   = r->teacher;
    how.reference = r->teacher != NULL              ? r->teacher
                    : config->model.weights != NULL ? r->graph
                                                    : NULL;
    if (config->model.weights != NULL) { /* they are for the scale they were made in */
        config->train.standardize = false;
    }
    catch_signals(&old);
    st = pq_train(r->graph, &data, &config->train, &how, &r->summary, &why);
    restore_signals(&old);
    pq_progress_done();
    if (st == PQ_OK) {
        warn_of_floors(r);
        PQ_TRY(keep(r, NULL, err));
        if (config->output.checkpoint == NULL) {
            (void)unlink(r->checkpoint);
        }
        return PQ_OK;
    }
    advise(r, st, &why);
    if (st == PQ_ERR_NUMERIC) {
        PQ_TRY(keep(r, why.message, err));
        st = PQ_ERR_NUMERIC;
    }
    if (err != NULL) {
        *err = why;
    }
cleanup:
    return st;
}

/* A model that goes elsewhere takes its log along, unless that was placed too. */
static pq_status place_log(const pq_args *args, pq_train_config *config, pq_err *err)
{
    const char        *out = pq_args_value(args, "output");
    size_t             n   = 0, length;
    const char *const *set = pq_args_values(args, "set", &n);
    pq_status          st  = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        out = strncmp(set[i], "output.log=", 11) == 0 ? NULL : out;
    }
    if (out != NULL && config->output.log != NULL) {
        length = strlen(out);
        length -= length > 3 && strcmp(out + length - 3, ".h5") == 0 ? 3 : 0;
        pq_free(config->output.log);
        config->output.log = pq_format("%.*s.log.json", (int)length, out);
        PQ_CHECK(config->output.log != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    }
cleanup:
    return st;
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    run_state r = {.quiet = pq_args_flag(args, "quiet")};
    pq_status st;

    (void)exit_code;
    PQ_TRY(pq_args_train_config(args, &r.config, err));
    PQ_TRY(place_log(args, r.config, err));
    r.checkpoint = r.config->output.checkpoint != NULL
                       ? pq_strdup(r.config->output.checkpoint)
                       : pq_format("%s.checkpoint", r.config->output.model);
    PQ_CHECK(r.checkpoint != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(train(&r, args, err));
cleanup:
    pq_free(r.checkpoint);
    pq_train_summary_free(&r.summary);
    pq_graph_free(&r.graph);
    pq_graph_free(&r.teacher);
    pq_dataset_close(&r.dataset);
    pq_train_config_free(&r.config);
    return st;
}

const pq_verb pq_verb_train = {
    .name = "train",
    .summary =
        "train a network, from scratch or on from a model, as a configuration says",
    .arguments = "CONFIG",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example   = "pquant train configs/train-jsc.yaml -S train.epochs=20",
    .run       = run,
};
