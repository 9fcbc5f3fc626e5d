/* pquant data info: what a dataset holds. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "cli/verb.h"
#include "core/memory.h"
#include "data/dataset.h"

static const pq_option info_options[] = {
    {"layout", 0, "NAME", false, NULL, "layout, where looking does not find it"},
    PQ_COLUMN_OPTIONS,
    {"labels", 0, "B=5,C=4,…", false, NULL,
     "class name = value in the file, in class order"},
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

/* Events of each class in a split, read chunk by chunk. */
static pq_status count_classes(pq_dataset *dataset, size_t split, size_t *counts,
                               pq_err *err)
{
    enum { CHUNK_BYTES = 4 << 20 };
    const pq_dataset_info *info = pq_dataset_describe(dataset);
    const size_t           n    = info->splits[split].n;
    size_t                 item = 0, chunk;
    float                 *x    = NULL;
    int32_t               *y    = NULL;
    pq_status              st;

    PQ_CHECK(pq_shape_count(&info->sample, &item) && item > 0, PQ_ERR_SHAPE,
             "events are too large");
    chunk = CHUNK_BYTES / sizeof *x / item;
    chunk = chunk < 1 ? 1 : chunk;
    PQ_NEW(x, chunk * item);
    PQ_NEW(y, chunk);
    for (size_t first = 0; first < n; first += chunk) {
        const size_t   part  = n - first < chunk ? n - first : chunk;
        const pq_batch batch = {.x = x, .y = y};
        PQ_TRY(pq_dataset_read(dataset, split, first, part, &batch, err));
        for (size_t i = 0; i < part; i++) {
            counts[y[i]]++;
        }
    }
cleanup:
    pq_free(x);
    pq_free(y);
    return st;
}

static pq_status split_json(pq_dataset *dataset, size_t split, json_t **out, pq_err *err)
{
    const pq_dataset_info *info   = pq_dataset_describe(dataset);
    json_t                *all    = json_object();
    size_t                *counts = NULL;
    pq_status              st;

    PQ_NEW(counts, info->n_classes);
    if (info->n_classes > 0) {
        PQ_TRY(count_classes(dataset, split, counts, err));
    }
    for (size_t c = 0; c < info->n_classes; c++) {
        (void)json_object_set_new(all, info->class_names[c],
                                  json_integer((json_int_t)counts[c]));
    }
    *out = json_pack("{s:s, s:I, s:O}", "name", info->splits[split].name, "events",
                     (json_int_t)info->splits[split].n, "classes", all);
cleanup:
    json_decref(all);
    pq_free(counts);
    return st;
}

static json_t *names_json(size_t n, const char *const *names)
{
    json_t *list = json_array();

    for (size_t i = 0; names != NULL && i < n; i++) {
        (void)json_array_append_new(list, json_string(names[i]));
    }
    return list;
}

static json_t *describe(const pq_dataset_info *info, json_t *splits)
{
    const size_t features =
        info->sample.ndim > 0 ? info->sample.dim[info->sample.ndim - 1] : 0;
    json_t *shape = json_array();

    for (size_t d = 0; d < info->sample.ndim; d++) {
        (void)json_array_append_new(shape, json_integer((json_int_t)info->sample.dim[d]));
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:b, s:b, s:I, s:s?, s:s?, s:O}", "path",
                     info->path, "layout", info->layout, "sample", shape, "classes",
                     names_json(info->n_classes, info->class_names), "features",
                     names_json(features, info->feature_names), "scaler",
                     info->scaler_mean != NULL, "standardized", info->standardized,
                     "nonfinite", (json_int_t)info->nonfinite, "licence", info->licence,
                     "source", info->source, "splits", splits);
}

static void print_table(const pq_dataset_info *info, const json_t *splits)
{
    char        shape[128];
    size_t      i;
    json_t     *split = NULL, *count = NULL;
    const char *name;

    pq_say(stdout, "%s: layout %s, events of shape %s%s\n", info->path, info->layout,
           pq_shape_text(&info->sample, shape, sizeof shape),
           info->standardized          ? ", standardized"
           : info->scaler_mean != NULL ? ", scaler of the training split in the file"
                                       : "");
    json_array_foreach(splits, i, split)
    {
        pq_say(stdout,
               "%-10s %9lld events:", json_string_value(json_object_get(split, "name")),
               (long long)json_integer_value(json_object_get(split, "events")));
        json_object_foreach(json_object_get(split, "classes"), name, count)
        {
            pq_say(stdout, "  %s %lld", name, (long long)json_integer_value(count));
        }
        pq_say(stdout, "\n");
    }
    for (size_t f = 0;
         info->feature_names != NULL && f < info->sample.dim[info->sample.ndim - 1];
         f++) {
        pq_say(stdout, "%s%s", f == 0 ? "features: " : ", ", info->feature_names[f]);
    }
    pq_say(stdout, info->feature_names != NULL ? "\n" : "");
    if (info->nonfinite > 0) {
        pq_say(stdout, "%zu events hold NaN or infinity\n", info->nonfinite);
    }
    if (info->licence != NULL) {
        pq_say(stdout, "licence: %s\n", info->licence);
    }
    if (info->source != NULL) {
        pq_say(stdout, "source: %s\n", info->source);
    }
}

/* Events that are in two splits by their values. */
static pq_status count_repeats(pq_dataset *dataset, json_t **out, pq_err *err)
{
    enum { MAX_EVENTS = 20000000 };
    size_t    n       = 0;
    bool      counted = false;
    pq_status st;

    PQ_TRY(pq_dataset_count_repeats(dataset, MAX_EVENTS, &n, &counted, err));
    *out = counted ? json_integer((json_int_t)n) : json_null();
cleanup:
    return st;
}

static void print_repeats(const pq_dataset_info *info, const json_t *repeats)
{
    if (json_is_null(repeats) && info->n_splits > 1) {
        pq_say(stdout, "whether events stand in two splits was not checked: too many\n");
    } else if (json_integer_value(repeats) > 0) {
        pq_say(stdout, "%lld events have the values of an event in another split\n",
               (long long)json_integer_value(repeats));
    }
}

static pq_status info(const pq_args *args, int *exit_code, pq_err *err)
{
    pq_dataset_options options = {.layout    = pq_args_value(args, "layout"),
                                  .labels    = pq_args_value(args, "labels"),
                                  .nonfinite = PQ_NONFINITE_ZERO};
    pq_dataset        *dataset = NULL;
    json_t     *splits = json_array(), *split = NULL, *json = NULL, *repeats = NULL;
    const char *format;
    pq_status   st;

    (void)exit_code;
    PQ_TRY(pq_args_format(args, "table json", &format, err));
    pq_args_columns(args, NULL, &options);
    PQ_TRY(pq_dataset_open(pq_args_get(args, 0), &options, &dataset, err));
    for (size_t s = 0; s < pq_dataset_describe(dataset)->n_splits; s++) {
        PQ_TRY(split_json(dataset, s, &split, err));
        (void)json_array_append_new(splits, split);
    }
    PQ_TRY(count_repeats(dataset, &repeats, err));
    if (strcmp(format, "table") == 0) {
        print_table(pq_dataset_describe(dataset), splits);
        print_repeats(pq_dataset_describe(dataset), repeats);
    } else {
        json = describe(pq_dataset_describe(dataset), splits);
        (void)json_object_set(json, "in_two_splits", repeats);
        PQ_CHECK(pq_say_json(json), PQ_ERR_NOMEM, "cannot print the dataset as JSON");
    }
cleanup:
    json_decref(splits);
    json_decref(repeats);
    json_decref(json);
    pq_dataset_close(&dataset);
    return st;
}

const pq_verb pq_verb_data_info = {
    .name      = "data info",
    .summary   = "layout, classes, features, splits and provenance of a dataset",
    .arguments = "FILE",
    .min_args  = 1,
    .max_args  = 1,
    .options   = info_options,
    .example   = "pquant data info datasets/jets-hlf.h5",
    .run       = info,
};
