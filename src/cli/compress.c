/* pquant compress: a model in, a smaller one out, by methods in the order given. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"
#include "lab/compress.h"
#include "sweep/recipe.h"

static const pq_option options[] = {
    {"output", 'o', "OUT.h5", false, NULL, "where the compressed model goes"},
    {"method", 0, "NAME[:key=value,…]", true, NULL,
     "a stage: method and its parameters, or a recipe and its keys"},
    {"calib", 0, "FILE[:SPLIT]", false, NULL,
     "calibration events, for methods that need them"},
    {"calib-events", 0, "N", false, "1000", "how many of them"},
    {"train", 0, "FILE[:SPLIT]", false, NULL,
     "training events, for finetune and distill; a split 'val' beside it is watched"},
    PQ_COLUMN_OPTIONS,
    {"arch", 0, "FILE", false, NULL, "architecture beside weights-only files"},
    PQ_OUTPUT_LAYER_OPTION,
    PQ_HEAD_OPTION,
    PQ_SCALER_OPTION,
    {"seed", 0, "N", false, "42", "seed of whatever is random"},
    {0},
};

static void print_changes(void *context, const pq_stage *stage,
                          const pq_layer_change *changes, size_t n)
{
    char before[32], after[32];

    (void)context;
    pq_progress_done();
    for (size_t i = 0; i < n; i++) {
        pq_say(stdout, "%-9s %-22s %-44s", stage->method->name, changes[i].layer,
               changes[i].what);
        if (isfinite(changes[i].error)) {
            pq_say(stdout, " error %.4f", changes[i].error);
        }
        if (changes[i].bytes_before > 0) {
            pq_say(stdout, "  %s -> %s",
                   pq_bytes_text((double)changes[i].bytes_before, before, sizeof before),
                   pq_bytes_text((double)changes[i].bytes_after, after, sizeof after));
        }
        if (changes[i].macs_before != changes[i].macs_after) {
            pq_say(stdout, ", %" PRIu64 " -> %" PRIu64 " MACs", changes[i].macs_before,
                   changes[i].macs_after);
        }
        pq_say(stdout, "\n");
    }
}

static pq_status open_calibration(const char *spec, const pq_args *args,
                                  const pq_graph *graph, pq_compress_options *how,
                                  pq_err *err)
{
    pq_dataset_options columns = {.unlabelled = true};
    char              *path = NULL, *split = NULL;
    pq_status          st;

    pq_args_columns(args, graph, &columns);
    PQ_TRY(pq_dataset_spec(spec, &path, &split, err));
    PQ_TRY(pq_dataset_open(path, &columns, &how->dataset, err));
    PQ_TRY(pq_dataset_split(how->dataset, split, &how->calib_split, err));
cleanup:
    pq_free(path);
    pq_free(split);
    return st;
}

/* Training events, and the network itself as teacher. */
static pq_status open_training(const char *spec, const pq_args *args, pq_graph *teacher,
                               pq_training *out, pq_err *err)
{
    pq_dataset_options     columns = {0};
    const pq_dataset_info *info;
    char                  *path = NULL, *split = NULL;
    pq_status              st;

    PQ_TRY(pq_graph_check(teacher, err));
    pq_args_columns(args, teacher, &columns);
    PQ_TRY(pq_dataset_spec(spec, &path, &split, err));
    PQ_TRY(pq_dataset_open(path, &columns, &out->dataset, err));
    PQ_TRY(pq_dataset_split(out->dataset, split, &out->train, err));
    info            = pq_dataset_describe(out->dataset);
    out->teacher    = teacher;
    out->validation = SIZE_MAX;
    for (size_t i = 0; i < info->n_splits; i++) {
        if (i != out->train && info->splits[i].n > 0 &&
            strcmp(info->splits[i].name, "val") == 0) {
            out->validation = i;
        }
    }
cleanup:
    pq_free(path);
    pq_free(split);
    return st;
}

/* What --scaler says, by the calibration or the training events. */
static pq_status scale(const pq_args *args, const pq_compress_options *how,
                       pq_graph *graph, pq_err *err)
{
    const pq_dataset      *events = how->dataset != NULL    ? how->dataset
                                    : how->training != NULL ? how->training->dataset
                                                            : NULL;
    const pq_dataset_info *info   = events != NULL ? pq_dataset_describe(events) : NULL;
    const pq_status        st     = pq_args_scaler(args, graph, info, err);

    if (st == PQ_OK && info != NULL) {
        pq_args_note_scaler(args, graph, info);
    }
    return st;
}

static void print_ratio(size_t before, size_t after, const char *out)
{
    char a[32], b[32], file[32];

    pq_say(stdout, "stored %s -> %s (%.2fx smaller), file %s: %s\n",
           pq_bytes_text((double)before, a, sizeof a),
           pq_bytes_text((double)after, b, sizeof b), (double)before / (double)after,
           pq_bytes_text((double)pq_file_bytes(out), file, sizeof file), out);
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    const pq_progress   progress = pq_args_progress(args);
    pq_compress_options how      = {.progress = &progress};
    const char         *out      = pq_args_value(args, "output"),
               *calib            = pq_args_value(args, "calib"),
               *train            = pq_args_value(args, "train");
    pq_training        training  = {0};
    const char *const *given;
    char             **methods = NULL;
    const bool         quiet   = pq_args_flag(args, "quiet");
    size_t             n, seed, stages = 0;
    pq_graph          *graph = NULL, *small = NULL;
    pq_status          st;

    (void)exit_code;
    given = pq_args_values(args, "method", &n);
    PQ_CHECK(out != NULL, PQ_ERR_CONFIG, "compress: -o OUT.h5 is missing");
    PQ_TRY(pq_model_check_path(out, err));
    PQ_CHECK(n > 0, PQ_ERR_CONFIG, "compress: no --method given; see 'pquant methods'");
    PQ_TRY(pq_recipes_methods(given, n, &methods, &stages, err));
    PQ_TRY(pq_args_size(args, "calib-events", 1, 1 << 24, &how.calib_events, err));
    PQ_TRY(pq_args_size(args, "seed", 0, SIZE_MAX / 2, &seed, err));
    how.seed = seed;
    PQ_TRY(pq_args_model(args, 0, &graph, err));
    PQ_TRY(pq_args_head(args, graph, err));
    if (calib != NULL) {
        PQ_TRY(open_calibration(calib, args, graph, &how, err));
    }
    if (train != NULL) {
        PQ_TRY(open_training(train, args, graph, &training, err));
        how.training = &training;
    }
    PQ_TRY(scale(args, &how, graph, err));
    PQ_TRY(pq_compress_methods((const char *const *)methods, stages, graph, &how,
                               quiet ? NULL : print_changes, NULL, &small, err));
    PQ_TRY(pq_model_save(small, out, err));
    if (!quiet) {
        print_ratio(pq_graph_stored_bytes(graph), pq_graph_stored_bytes(small), out);
    }
cleanup:
    for (size_t i = 0; i < stages; i++) {
        pq_free(methods[i]);
    }
    pq_free(methods);
    pq_dataset_close(&how.dataset);
    pq_dataset_close(&training.dataset);
    pq_graph_free(&graph);
    pq_graph_free(&small);
    return st;
}

const pq_verb pq_verb_compress = {
    .name      = "compress",
    .summary   = "compress a model by one or more methods, in the order given",
    .arguments = "MODEL -o OUT --method NAME[:key=value,…]",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example = "pquant compress net.h5 -o small.h5 --method svd:rank=8 --method quantize "
               "--calib "
               "datasets/jets-hlf.h5:val",
    .run     = run,
};
