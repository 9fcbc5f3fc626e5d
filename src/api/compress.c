/* Compressing and training, with events of files or arrays. */
#include "api/inside.h"

#include <string.h>

#include "core/memory.h"
#include "core/text.h"
#include "lab/compress.h"

static void tell_changes(void *context, const pq_stage *stage,
                         const pq_layer_change *changes, size_t n)
{
    const pquant_options *o = context;

    for (size_t i = 0; i < n && o->changed != NULL; i++) {
        o->changed(o->context, stage->method->name, changes[i].layer, changes[i].what);
    }
}

/* The split "val" of the training events, or SIZE_MAX. */
static size_t validation_of(const pquant_data *train)
{
    const pq_dataset_info *info = pq_dataset_describe(train->dataset);

    for (size_t i = 0; i < info->n_splits; i++) {
        if (i != train->split && info->splits[i].n > 0 &&
            strcmp(info->splits[i].name, "val") == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

pquant_model *pquant_compress_with(const pquant_model *model, const char *const *methods,
                                   size_t n, const pquant_options *options)
{
    const pquant_options o   = pq_api_options(options);
    pq_err              *err = pq_api_begin();
    pq_api_watch         watch;
    pq_training          training = {.threads = o.threads, .validation = SIZE_MAX};
    pq_compress_options  how      = {.seed = o.seed, .calib_events = o.calib_events};
    pq_graph            *teacher = NULL, *graph = NULL;
    pquant_model        *out = NULL;
    pq_status            st;

    pq_api_watch_start(&watch, &o);
    how.progress = &watch.progress;
    how.engine   = o.engine;
    PQ_TRY(pq_api_check(&o, err));
    PQ_CHECK(o.validation == NULL || o.train != NULL, PQ_ERR_CONFIG,
             "there are validation events, but none to train on");
    if (o.calib != NULL) {
        how.dataset     = o.calib->dataset;
        how.calib_split = o.calib->split;
    }
    if (o.train != NULL) {
        PQ_TRY(pq_graph_clone(o.teacher != NULL ? o.teacher->graph : model->graph,
                              &teacher, err));
        PQ_TRY(pq_graph_check(teacher, err));
        training.dataset = o.train->dataset;
        training.train   = o.train->split;
        training.validation =
            o.validation != NULL ? o.validation->split : validation_of(o.train);
        training.watched = o.validation != NULL ? o.validation->dataset : NULL;
        training.teacher = teacher;
        how.training     = &training;
    }
    PQ_TRY(pq_compress_methods(methods, n, model->graph, &how, tell_changes,
                               (void *)(uintptr_t)&o, &graph, err));
    PQ_CHECK(!pq_progress_stopped(&watch.progress), PQ_ERR_INTERRUPTED,
             "stopped after %zu of %zu stages", n, n);
    out   = pq_api_wrap(graph, err);
    graph = NULL;
cleanup:
    (void)st;
    pq_graph_free(&graph);
    pq_graph_free(&teacher);
    return out;
}

pquant_model *pquant_compress(const pquant_model *model, const char *const *methods,
                              size_t n, pquant_data *calib)
{
    const pquant_options options = {.size = sizeof options, .calib = calib};

    return pquant_compress_with(model, methods, n, &options);
}

/* One stage with its parameters. */
static pquant_model *one_stage(const pquant_model *model, const char *name,
                               const char *parameters, const pquant_options *options)
{
    pq_err       *err  = pq_api_begin();
    pquant_model *out  = NULL;
    char         *text = pq_format("%s%s%s", name, parameters != NULL ? ":" : "",
                           parameters != NULL ? parameters : "");
    pq_status     st;

    PQ_CHECK(text != NULL, PQ_ERR_NOMEM, "cannot allocate a text");
    out = pquant_compress_with(model, &(const char *){text}, 1, options);
cleanup:
    (void)st;
    pq_free(text);
    return out;
}

pquant_model *pquant_finetune(const pquant_model *model, const char *parameters,
                              const pquant_options *options)
{
    return one_stage(model, "finetune", parameters, options);
}

pquant_model *pquant_distill(const pquant_model *model, const char *parameters,
                             const pquant_options *options)
{
    return one_stage(model, "distill", parameters, options);
}

static json_t *parameters_json(const pq_method *method)
{
    json_t *json = json_object();

    for (const pq_param *row = method->params; row != NULL && row->name != NULL; row++) {
        (void)json_object_set_new(
            json, row->name,
            json_pack("{s:s, s:s?}", "help", row->help, "default", row->fallback));
    }
    return json;
}

char *pquant_methods(void)
{
    pq_err *err  = pq_api_begin();
    json_t *json = json_object();
    char   *out;

    for (size_t i = 0; pq_methods[i] != NULL; i++) {
        (void)json_object_set_new(json, pq_methods[i]->name,
                                  json_pack("{s:s, s:o}", "summary",
                                            pq_methods[i]->summary, "parameters",
                                            parameters_json(pq_methods[i])));
    }
    out = pq_api_text(json, err);
    json_decref(json);
    return out;
}
