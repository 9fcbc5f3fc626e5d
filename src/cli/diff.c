/* pquant model diff: two models on the same events, layer by layer. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "cli/verb.h"
#include "core/memory.h"
#include "formats/model.h"
#include "lab/diff.h"

static const pq_option options[] = {
    {"data", 0, "FILE[:SPLIT]", false, NULL,
     "dataset file or folder, and which split of it; without: random inputs, standard "
     "normal after the scaler"},
    PQ_COLUMN_OPTIONS,
    {"arch", 0, "FILE", false, NULL, "architecture beside a weights-only first model"},
    PQ_OUTPUT_LAYER_OPTION,
    PQ_HEAD_OPTION,
    PQ_SCALER_OPTION,
    {"engine", 0, "NAME", false, "float32",
     "engine of the second model; the first is in float32"},
    {"limit", 0, "N", false, "256", "events compared, the first of the split, 1..4096"},
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

static json_t *diff_json(const pq_diff *d)
{
    json_t *layers = json_array();

    for (size_t i = 0; i < d->n; i++) {
        const pq_layer_diff *l = &d->layers[i];
        (void)json_array_append_new(
            layers, json_pack("{s:s, s:s, s:f, s:f, s:f}", "layer", l->name, "against",
                              l->measured, "error", l->error, "largest", l->largest,
                              "signal", l->signal));
    }
    return json_pack("{s:I, s:s, s:I, s:o}", "events", (json_int_t)d->events, "head",
                     pq_head_name(d->head), "agree", (json_int_t)d->agree, "layers",
                     layers);
}

/* The layer where the relative error grows most over what came before. */
static size_t worst_step(const pq_diff *d)
{
    size_t at   = 0;
    double most = -1.0, until = 0.0;

    for (size_t i = 0; i < d->n; i++) {
        if (d->layers[i].error - until > most) {
            most = d->layers[i].error - until;
            at   = i;
        }
        until = d->layers[i].error > until ? d->layers[i].error : until;
    }
    return at;
}

static void diff_table(const pq_diff *d)
{
    pq_say(stdout, "%-28s %14s %14s %14s\n", "layer", "relative error", "largest", "rms");
    for (size_t i = 0; i < d->n; i++) {
        const pq_layer_diff *l = &d->layers[i];
        pq_say(stdout, "%-28s %14.4g %14.4g %14.4g\n", l->name, l->error, l->largest,
               l->signal);
    }
    pq_say(stdout, "\n%zu of %zu events %s (head %s)\n", d->agree, d->events,
           pq_head_alike(d->head, d->width), pq_head_name(d->head));
    if (d->n > 0) {
        pq_say(stdout, "the relative error grows most at '%s'\n",
               d->layers[worst_step(d)].name);
    }
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_diff_options    how   = {.second_engine = pq_args_value(args, "engine")};
    pq_graph          *first = NULL, *second = NULL;
    pq_dataset        *dataset = NULL;
    pq_diff            diff    = {0};
    json_t            *json    = NULL;
    char              *path = NULL, *split_name = NULL;
    const char        *format, *data            = pq_args_value(args, "data");
    size_t             split   = 0;
    pq_dataset_options columns = {0};
    pq_status          st;

    (void)exit_code;
    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(pq_args_size(args, "limit", 1, 4096, &how.events, err));
    PQ_TRY(pq_args_model(args, 0, &first, err));
    PQ_TRY(pq_model_load(pq_args_get(args, 1), NULL, &second, err));
    PQ_TRY(pq_args_head(args, first, err));
    PQ_TRY(pq_args_head(args, second, err));
    if (data != NULL) {
        PQ_TRY(pq_dataset_spec(data, &path, &split_name, err));
        pq_args_columns(args, first, &columns);
        PQ_TRY(pq_dataset_open(path, &columns, &dataset, err));
        PQ_TRY(pq_dataset_split(dataset, split_name, &split, err));
        PQ_TRY(pq_args_scaler(args, first, pq_dataset_describe(dataset), err));
        PQ_TRY(pq_args_scaler(args, second, pq_dataset_describe(dataset), err));
        pq_args_note_scaler(args, first, pq_dataset_describe(dataset));
    }
    PQ_TRY(pq_diff_models(first, second, dataset, split, &how, &diff, err));
    if (strcmp(format, "json") == 0) {
        json = diff_json(&diff);
        PQ_CHECK(pq_say_json(json), PQ_ERR_NOMEM, "cannot print the result as JSON");
    } else {
        diff_table(&diff);
    }
cleanup:
    json_decref(json);
    pq_diff_free(&diff);
    pq_dataset_close(&dataset);
    pq_graph_free(&first);
    pq_graph_free(&second);
    pq_free(path);
    pq_free(split_name);
    return st;
}

const pq_verb pq_verb_model_diff = {
    .name      = "model diff",
    .summary   = "two models on the same events, layer by layer: which layer broke it?",
    .arguments = "MODEL MODEL [--data FILE[:SPLIT]]",
    .min_args  = 2,
    .max_args  = 2,
    .options   = options,
    .example   = "pquant model diff net.h5 net-int8.h5 --data datasets/jets-hlf.h5:test",
    .run       = run,
};
