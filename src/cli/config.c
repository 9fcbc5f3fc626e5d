/* Reading configurations, and the verbs that only look at one: validate, show. */
#include "cli/config.h"

#include "sweep/plan.h"

static const pq_option options[] = {PQ_SET_OPTION, PQ_AXIS_OPTION, {0}};

/* The changes that the verb knows options for. */
static pq_config_changes changes_of(const pq_args *args)
{
    pq_config_changes c = {0};

    c.set  = pq_args_values(args, "set", &c.n_set);
    c.axes = pq_args_values(args, "axis", &c.n_axes);
    return c;
}

/* Several problems are listed, and counted in the error; one is the error itself. */
static void list_problems(const char *path, pq_status st, pq_text *problems, pq_err *err)
{
    size_t n = 0;

    for (const char *p = problems->text; p != NULL && *p != '\0'; p++) {
        n += *p == '\n' ? 1 : 0;
    }
    if (st != PQ_OK && n > 1) {
        pq_say_lines(stderr, problems->text);
        *err = (pq_err){0}; /* the first of them */
        (void)pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                         "%s: %zu problems, listed above", path, n);
    }
    pq_text_free(problems);
}

pq_status pq_args_config(const pq_args *args, pq_config **out, pq_err *err)
{
    return pq_args_config_at(args, 0, out, err);
}

pq_status pq_args_config_at(const pq_args *args, size_t i, pq_config **out, pq_err *err)
{
    const char             *path     = pq_args_get(args, i);
    const pq_config_changes changes  = changes_of(args);
    pq_text                 problems = {0};
    pq_status               st;

    PQ_CHECK(!pq_train_config_is(path), PQ_ERR_CONFIG,
             "%s is a configuration of 'pquant train'", path);
    st = pq_config_read(path, &changes, out, &problems, err);
    list_problems(path, st, &problems, err);
cleanup:
    return st;
}

pq_status pq_args_train_config(const pq_args *args, pq_train_config **out, pq_err *err)
{
    const pq_config_changes changes  = changes_of(args);
    pq_text                 problems = {0};
    const pq_status         st =
        pq_train_config_read(pq_args_get(args, 0), &changes,
                             pq_args_value(args, "output"), out, &problems, err);

    list_problems(pq_args_get(args, 0), st, &problems, err);
    return st;
}

/* Inputs that are not on this machine are no mistake of the configuration. */
static void note_missing(const pq_err *missing)
{
    if (missing->code != PQ_OK) {
        pq_say(stdout, "note: not compared with its inputs: %s\n", missing->message);
    }
}

static pq_status validate(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_config       *config   = NULL;
    pq_train_config *training = NULL;
    size_t           cases    = 0;
    pq_err           missing  = {0};
    pq_status        st;

    (void)exit_code;
    if (pq_train_config_is(pq_args_get(args, 0))) {
        PQ_TRY(pq_args_train_config(args, &training, err));
        PQ_TRY(pq_train_config_check(training, &missing, err));
        note_missing(&missing);
        pq_say(stdout, "%s: ok, a training of %lld epochs\n", training->path,
               (long long)training->train.epochs);
        goto cleanup;
    }
    PQ_TRY(pq_args_config(args, &config, err));
    PQ_TRY(pq_cells_check(config, &missing, err));
    note_missing(&missing);
    for (size_t i = 0; i < config->n_pipelines; i++) {
        cases += config->pipelines[i].n_cases;
    }
    pq_say(stdout, "%s: ok, %zu pipelines, %zu cells\n", config->path,
           config->n_pipelines, cases);
cleanup:
    pq_config_free(&config);
    pq_train_config_free(&training);
    return st;
}

const pq_verb pq_verb_validate = {
    .name = "validate",
    .summary =
        "check a configuration, of a sweep or a training, and that model and events "
        "fit it; every error of the file is shown at once",
    .arguments = "CONFIG",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example   = "pquant validate configs/quickstart.yaml",
    .run       = validate,
};

static pq_status show(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_config       *config   = NULL;
    pq_train_config *training = NULL;
    pq_text          text     = {0};
    pq_err           unknown  = {0};
    pq_status        st;

    (void)exit_code;
    if (pq_train_config_is(pq_args_get(args, 0))) {
        PQ_TRY(pq_args_train_config(args, &training, err));
        pq_train_config_show(training, &text);
    } else {
        PQ_TRY(pq_args_config(args, &config, err));
        pq_cells_show(config, &text, &unknown);
    }
    if (unknown.code != PQ_OK) {
        pq_say(
            stderr,
            "note: the metric of a recipe is shown, but it is not known whether it has "
            "a value for the model's classes: %s\n",
            unknown.message);
    }
    pq_say_lines(stdout, text.text != NULL ? text.text : "");
cleanup:
    pq_text_free(&text);
    pq_config_free(&config);
    pq_train_config_free(&training);
    return st;
}

const pq_verb pq_verb_show = {
    .name      = "show",
    .summary   = "print a configuration with every default filled in",
    .arguments = "CONFIG",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example   = "pquant show configs/quickstart.yaml -S seeds.base=7",
    .run       = show,
};
