#include "lab/compress.h"

#include "core/memory.h"
#include "lab/bench.h"
#include "lab/calibrate.h"

pq_status pq_compress_stage(const pq_stage *stage, const pq_graph *graph,
                            const pq_compress_options *options, pq_graph **out,
                            pq_layer_change **changes, size_t *n_changes, pq_err *err)
{
    const unsigned needs =
        stage->method->needs != NULL ? stage->method->needs(stage->params) : 0;
    pq_compress_options how   = *options;
    pq_calib           *calib = NULL;
    pq_bench            bench;
    pq_apply_options    apply = {.bench    = &bench,
                                 .cache    = options->cache,
                                 .training = options->training,
                                 .seed     = pq_stage_draws(stage) ? options->seed : 0,
                                 .progress = options->progress};
    pq_status           st;

    PQ_CHECK((needs & PQ_NEEDS_CALIB) == 0 || options->dataset != NULL, PQ_ERR_CONFIG,
             "%s needs calibration events, and no dataset was given",
             stage->method->name);
    how.dataset = (needs & PQ_NEEDS_CALIB) != 0 ? options->dataset : NULL;
    PQ_TRY(pq_bench_of(&how, &bench, err));
    if (options->dataset != NULL) {
        const pq_dataset_info *info = pq_dataset_describe(options->dataset);
        apply.features              = info->feature_names;
        apply.n_features =
            info->sample.ndim > 0 ? info->sample.dim[info->sample.ndim - 1] : 0;
    }
    if ((needs & PQ_NEEDS_STATISTICS) != 0) {
        PQ_TRY(pq_calibrate(graph, options->dataset, options->calib_split, needs,
                            options->calib_events, options->seed, &calib, err));
        apply.calib = calib;
    }
    PQ_TRY(pq_stage_apply(stage, graph, &apply, out, changes, n_changes, err));
cleanup:
    pq_calib_free(&calib);
    return st;
}

pq_status pq_compress_methods(const char *const *methods, size_t n, const pq_graph *graph,
                              const pq_compress_options *options, pq_stage_done done,
                              void *context, pq_graph **out, pq_err *err)
{
    pq_stage         stage   = {0};
    pq_graph        *current = NULL, *next = NULL;
    pq_layer_change *changes = NULL;
    size_t           n_changes;
    pq_status        st;

    PQ_CHECK(n > 0, PQ_ERR_CONFIG, "no method given");
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(!pq_progress_stopped(options->progress), PQ_ERR_INTERRUPTED,
                 "stopped after %zu of %zu stages", i, n);
        PQ_TRY(pq_stage_parse(methods[i], &stage, err));
        PQ_TRY(pq_compress_stage(&stage, current != NULL ? current : graph, options,
                                 &next, &changes, &n_changes, err));
        pq_graph_free(&current);
        current = next;
        next    = NULL;
        if (done != NULL) {
            done(context, &stage, changes, n_changes);
        }
        pq_free(changes);
        changes = NULL;
        pq_stage_free(&stage);
    }
    *out    = current;
    current = NULL;
cleanup:
    pq_graph_free(&current);
    pq_stage_free(&stage);
    return st;
}
