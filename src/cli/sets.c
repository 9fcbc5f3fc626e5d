/* pquant data list|fetch|import: public sets, and files of our own made from others. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "cli/verb.h"
#include "core/file.h"
#include "core/memory.h"
#include "data/fetch.h"
#include "data/write.h"

static const pq_option list_options[] = {
    {"format", 0, "table|json", false, "table", "how to print"},
    {0},
};

/* Bytes of all files of a set; 0 when one of them is not known. */
static double total_bytes(const pq_set *set)
{
    double total = 0.0;

    for (size_t f = 0; f < set->n_files; f++) {
        if (set->files[f].bytes == 0) {
            return 0.0;
        }
        total += (double)set->files[f].bytes;
    }
    return total;
}

static json_t *set_json(const pq_set *set, const char *path)
{
    json_t *files = json_array();

    for (size_t f = 0; f < set->n_files; f++) {
        (void)json_array_append_new(files, json_pack("{s:s, s:I, s:s?}", "url",
                                                     set->files[f].url, "bytes",
                                                     (json_int_t)set->files[f].bytes,
                                                     "checksum", set->files[f].checksum));
    }
    return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:o}", "name", set->name,
                     "title", set->title, "layout", set->layout, "licence", set->licence,
                     "note", set->note, "checksum", set->checksum, "path", path, "files",
                     files);
}

/* Of the one file a set is made of, or how many have one. */
static void checksum_line(const pq_set *set)
{
    const char *one   = set->n_files == 1 ? set->files[0].checksum : set->checksum;
    size_t      known = 0;

    for (size_t f = 0; f < set->n_files; f++) {
        known += set->files[f].checksum != NULL ? 1 : 0;
    }
    if (one != NULL) {
        pq_say(stdout, "%-16s %-10s %s\n", "", "checksum", one);
    } else if (set->n_files > 0) {
        pq_say(stdout, "%-16s %-10s of %zu of %zu files known\n", "", "checksum", known,
               set->n_files);
    }
}

static void set_line(const pq_set *set, const char *path)
{
    const double bytes = total_bytes(set);
    char         size[32];

    pq_say(stdout, "%-16s %-10s %s\n", set->name,
           bytes > 0.0 ? pq_bytes_text(bytes, size, sizeof size) : "size ?", set->title);
    pq_say(stdout, "%-16s %-10s %s\n", "", "licence", set->licence);
    checksum_line(set);
    if (path != NULL) {
        pq_say(stdout, "%-16s %-10s %s\n", "", "here", path);
    }
}

static pq_status list(const pq_args *args, int *exit_code, pq_err *err)
{
    char       *folder = NULL;
    pq_set     *sets   = NULL;
    size_t      n      = 0;
    json_t     *all    = json_array();
    const char *format;
    pq_status   st;

    (void)exit_code;
    PQ_TRY(pq_args_format(args, "table json", &format, err));
    PQ_TRY(pq_folder_shipped("datasets/sets", "sets", &folder, err));
    PQ_TRY(pq_sets_read(folder, &sets, &n, err));
    for (size_t i = 0; i < n; i++) {
        char *path = NULL;
        (void)pq_set_where(&sets[i], &path, NULL);
        (void)json_array_append_new(all, set_json(&sets[i], path));
        if (strcmp(format, "table") == 0) {
            set_line(&sets[i], path);
        }
        pq_free(path);
    }
    if (strcmp(format, "json") == 0) {
        (void)pq_say_json(all);
    }
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_set_free(&sets[i]);
    }
    pq_free(sets);
    pq_free(folder);
    json_decref(all);
    return st;
}

const pq_verb pq_verb_data_list = {
    .name = "data list",
    .summary =
        "datasets that have a name: shipped samples and public sets to fetch, with "
        "licence, checksum and, if they are here, place",
    .arguments = "",
    .options   = list_options,
    .example   = "pquant data list",
    .run       = list,
};

static const pq_option fetch_options[] = {
    {"local", 0, NULL, false, NULL,
     "let the manifest name files of this computer (file:///…)"},
    {0},
};

static pq_status fetch(const pq_args *args, int *exit_code, pq_err *err)
{
    const pq_progress progress = pq_args_progress(args);
    char             *folder = NULL, *path = NULL;
    pq_text           notes = {0};
    pq_set            set   = {0};
    pq_status         st;

    (void)exit_code;
    if (strstr(pq_args_get(args, 0), ".yaml") != NULL) {
        PQ_TRY(pq_set_read(pq_args_get(args, 0), &set, err));
    } else {
        PQ_TRY(pq_folder_shipped("datasets/sets", "sets", &folder, err));
        PQ_TRY(pq_set_find(folder, pq_args_get(args, 0), &set, err));
    }
    set.local = pq_args_flag(args, "local");
    PQ_TRY(pq_set_fetch(&set, &progress, &path, &notes, err));
    pq_progress_done();
    if (notes.length > 0) {
        pq_say_lines(stderr, notes.text);
    }
    pq_say(stdout, "%s\n", path);
cleanup:
    pq_text_free(&notes);
    pq_set_free(&set);
    pq_free(folder);
    pq_free(path);
    return st;
}

const pq_verb pq_verb_data_fetch = {
    .name = "data fetch",
    .summary =
        "download a public dataset, resuming and checking it; prints where it lies",
    .arguments = "NAME|MANIFEST.yaml",
    .options   = fetch_options,
    .min_args  = 1,
    .max_args  = 1,
    .example   = "pquant data fetch cifar-10",
    .run       = fetch,
};

static const pq_option import_options[] = {
    {"output", 'o', "OUT.h5", false, NULL, "file to write"},
    {"layout", 0, "NAME", false, NULL, "layout, where looking does not find it"},
    PQ_COLUMN_OPTIONS,
    {"labels", 0, "B=5,C=4,…", false, NULL,
     "class name = value in the file, in class order"},
    {"splits", 0, "NAME=A:B,…", false, NULL,
     "shares of the events, e.g. train=0:0.8,test=0.8:1; by the last digits of "
     "the event number (tenths are the number modulo 10) where there is one"},
    {"nonfinite", 0, "fail|drop|zero", false, "fail",
     "what to do with events that hold NaN or inf"},
    {"gzip", 0, "LEVEL", false, "4", "compression, 0 = none .. 9"},
    {0},
};

void pq_args_columns(const pq_args *args, const pq_graph *graph, pq_dataset_options *out)
{
    out->inputs = pq_args_value(args, "inputs");
    out->label  = pq_args_value(args, "label");
    out->weight = pq_args_value(args, "weight");
    out->x      = pq_args_value(args, "x");
    out->y      = pq_args_value(args, "y");
    if (graph != NULL) {
        out->wanted   = (const char *const *)graph->feature_names;
        out->n_wanted = graph->n_features;
    }
}

pq_status pq_args_nonfinite(const pq_args *args, pq_nonfinite *out, pq_err *err)
{
    static const char *const names[] = {"fail", "drop", "zero"};
    const char              *given   = pq_args_value(args, "nonfinite");
    pq_status                st      = PQ_OK;

    for (int i = 0; i < 3; i++) {
        if (strcmp(names[i], given) == 0) {
            *out = (pq_nonfinite)i;
            return PQ_OK;
        }
    }
    PQ_FAIL(PQ_ERR_CONFIG, "--nonfinite: '%s' is not one of: fail drop zero", given);
cleanup:
    return st;
}

/* What is not as it was in the file. */
static void note_events(const pq_dataset_info *info, pq_nonfinite policy)
{
    if (info->left_out > 0) {
        pq_say(stdout, "%zu events of other labels are left out\n", info->left_out);
    }
    if (info->nonfinite > 0) {
        pq_say(stdout, "%zu events hold NaN or infinity: %s\n", info->nonfinite,
               policy == PQ_NONFINITE_DROP ? "left out"
                                           : "the mean is put in place of it");
    }
}

static pq_status import(const pq_args *args, int *exit_code, pq_err *err)
{
    const pq_progress  progress = pq_args_progress(args);
    pq_dataset_options options  = {.layout = pq_args_value(args, "layout"),
                                   .labels = pq_args_value(args, "labels"),
                                   .splits = pq_args_value(args, "splits")};
    const char        *out      = pq_args_value(args, "output");
    pq_dataset        *dataset  = NULL;
    size_t             gzip;
    pq_status          st;

    (void)exit_code;
    PQ_CHECK(out != NULL, PQ_ERR_CONFIG, "data import: -o OUT.h5 is missing");
    pq_args_columns(args, NULL, &options);
    PQ_TRY(pq_args_nonfinite(args, &options.nonfinite, err));
    PQ_TRY(pq_args_size(args, "gzip", 0, 9, &gzip, err));
    PQ_TRY(pq_dataset_open(pq_args_get(args, 0), &options, &dataset, err));
    PQ_TRY(pq_data_import(dataset, out, (int)gzip, &progress, err));
    pq_progress_done();
    if (!pq_args_flag(args, "quiet")) {
        note_events(pq_dataset_describe(dataset), options.nonfinite);
    }
    pq_say(stdout, "%s\n", out);
cleanup:
    pq_dataset_close(&dataset);
    return st;
}

const pq_verb pq_verb_data_import = {
    .name      = "data import",
    .summary   = "copy events of any layout into one file of our own, split and scaled",
    .arguments = "FILE -o OUT.h5",
    .min_args  = 1,
    .max_args  = 1,
    .options   = import_options,
    .example   = "pquant data import jets.arff -o jets.h5 --splits "
                 "train=0:0.6,val=0.6:0.7,test=0.7:1",
    .run       = import,
};
