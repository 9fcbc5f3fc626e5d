#include "pquant.h"

#include <string.h>

#include "core/memory.h"
#include "exec/plan.h"
#include "exec/rescale.h"
#include "formats/model.h"
#include "graph/head.h"
#include "lab/compress.h"
#include "lab/evaluate.h"

struct pquant_model {
    pq_graph *graph;
};

struct pquant_data {
    pq_dataset *dataset;
    size_t      split;
};

struct pquant_metrics {
    pq_values      values;
    pquant_metric *items; /* [values.n] views of values */
};

static _Thread_local pq_err last;

/* Starts a call: errors of earlier calls are forgotten. */
static pq_err *begin(void)
{
    last = (pq_err){0};
    return &last;
}

const char *pquant_version(void)
{
    return PQ_VERSION;
}

const char *pquant_error(void)
{
    return last.message;
}

/* Wraps a graph; takes it. */
static pquant_model *wrap(pq_graph *graph, pq_err *err)
{
    pquant_model *model = NULL;
    pq_status     st;

    PQ_NEW(model, 1);
    model->graph = graph;
    graph        = NULL;
cleanup:
    (void)st;
    pq_graph_free(&graph);
    return model;
}

pquant_model *pquant_model_load(const char *path, const char *arch)
{
    pq_err   *err   = begin();
    pq_graph *graph = NULL;

    return pq_model_load(path, arch, &graph, err) == PQ_OK ? wrap(graph, err) : NULL;
}

int pquant_model_save(const pquant_model *model, const char *path)
{
    return pq_model_save(model->graph, path, begin()) != PQ_OK;
}

void pquant_model_free(pquant_model *model)
{
    if (model != NULL) {
        pq_graph_free(&model->graph);
        pq_free(model);
    }
}

int pquant_model_set_classes(pquant_model *model, const char *classes)
{
    pq_err   *err   = begin();
    char    **names = NULL;
    size_t    n;
    pq_status st;

    PQ_TRY(pq_text_split(classes, ',', &names, &n, err));
    PQ_TRY(pq_graph_set_classes(model->graph, n, (const char *const *)names, err));
cleanup:
    pq_free(names);
    return st != PQ_OK;
}

int pquant_model_set_head(pquant_model *model, const char *head)
{
    pq_err *err = begin();

    return pq_graph_check(model->graph, err) != PQ_OK ||
           pq_graph_set_head(model->graph, head, err) != PQ_OK;
}

size_t pquant_model_stored_bytes(const pquant_model *model)
{
    return pq_graph_stored_bytes(model->graph);
}

size_t pquant_model_parameters(const pquant_model *model)
{
    return pq_graph_parameters(model->graph, (pq_count_rule){true, true, true}, NULL);
}

unsigned long long pquant_model_macs(const pquant_model *model)
{
    return pq_graph_macs(model->graph);
}

/* Node of input k, or SIZE_MAX; those beyond the last are none. */
static size_t input_node(const pq_graph *graph, size_t k)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].n_inputs == 0 && k-- == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

size_t pquant_model_inputs(const pquant_model *model)
{
    size_t n = 0;

    while (input_node(model->graph, n) != SIZE_MAX) {
        n++;
    }
    return n;
}

size_t pquant_model_shape(const pquant_model *model, size_t input, size_t *dims)
{
    const size_t node =
        input == SIZE_MAX ? model->graph->output : input_node(model->graph, input);

    if (node == SIZE_MAX) {
        return 0;
    }
    memcpy(dims, model->graph->nodes[node].shape.dim, sizeof(size_t[PQ_MAX_DIMS]));
    return model->graph->nodes[node].shape.ndim;
}

int pquant_predict(const pquant_model *model, const char *engine, size_t n,
                   const float *const *inputs, float *output)
{
    pq_err   *err  = begin();
    pq_plan  *plan = NULL;
    pq_status st;

    PQ_CHECK(n >= 1, PQ_ERR_RANGE, "there are no samples");
    PQ_TRY(pq_plan_create(model->graph, &(pq_plan_options){engine, n}, &plan, err));
    PQ_TRY(pq_plan_run(plan, n, inputs, output, err));
cleanup:
    pq_plan_free(&plan);
    return st != PQ_OK;
}

pquant_data *pquant_data_open(const char *spec)
{
    pq_err      *err  = begin();
    pquant_data *data = NULL;
    char        *path = NULL, *split = NULL;
    pq_status    st;

    PQ_NEW(data, 1);
    PQ_TRY(pq_dataset_spec(spec, &path, &split, err));
    PQ_TRY(pq_dataset_open(path, NULL, &data->dataset, err));
    PQ_TRY(pq_dataset_split(data->dataset, split, &data->split, err));
cleanup:
    pq_free(path);
    pq_free(split);
    if (st != PQ_OK) {
        pquant_data_close(data);
        data = NULL;
    }
    return data;
}

void pquant_data_close(pquant_data *data)
{
    if (data != NULL) {
        pq_dataset_close(&data->dataset);
        pq_free(data);
    }
}

int pquant_model_take_scaler(pquant_model *model, const pquant_data *data)
{
    pq_err *err = begin();

    return pq_scaler_take(model->graph, pq_dataset_describe(data->dataset), err) !=
               PQ_OK ||
           pq_graph_check(model->graph, err) != PQ_OK;
}

pquant_model *pquant_compress(const pquant_model *model, const char *const *methods,
                              size_t n, pquant_data *calib)
{
    const pq_compress_options how   = {.dataset     = calib != NULL ? calib->dataset : NULL,
                                       .calib_split = calib != NULL ? calib->split : 0,
                                       .seed        = 42};
    pq_err                   *err   = begin();
    pq_graph                 *graph = NULL;

    return pq_compress_methods(methods, n, model->graph, &how, NULL, NULL, &graph, err) ==
                   PQ_OK
               ? wrap(graph, err)
               : NULL;
}

/* The view of the values that users see. */
static pquant_metrics *view(pq_values *values, pq_err *err)
{
    pquant_metrics *m = NULL;
    pq_status       st;

    PQ_NEW(m, 1);
    PQ_NEW(m->items, values->n);
    for (size_t i = 0; i < values->n; i++) {
        const pq_value *v = &values->items[i];
        m->items[i]       = (pquant_metric){v->name, v->value, v->lo, v->hi, v->unit};
    }
    m->values = *values;
    *values   = (pq_values){0};
cleanup:
    if (st != PQ_OK) {
        pquant_metrics_free(m);
        m = NULL;
    }
    return m;
}

pquant_metrics *pquant_evaluate(pquant_model *model, pquant_data *data)
{
    const pq_evaluate_options options = {0};
    pq_err                   *err     = begin();
    pq_evaluated              e       = {0};
    pquant_metrics           *m       = NULL;

    if (pq_evaluate(model->graph, data->dataset, data->split, &options, &e, err) ==
        PQ_OK) {
        m = view(&e.values, err);
    }
    pq_evaluated_free(&e);
    return m;
}

size_t pquant_metrics_count(const pquant_metrics *metrics)
{
    return metrics->values.n;
}

const pquant_metric *pquant_metrics_get(const pquant_metrics *metrics, size_t i)
{
    return i < metrics->values.n ? &metrics->items[i] : NULL;
}

const pquant_metric *pquant_metrics_find(const pquant_metrics *metrics, const char *name)
{
    for (size_t i = 0; i < metrics->values.n; i++) {
        if (strcmp(metrics->items[i].name, name) == 0) {
            return &metrics->items[i];
        }
    }
    return NULL;
}

void pquant_metrics_free(pquant_metrics *metrics)
{
    if (metrics != NULL) {
        pq_free(metrics->items);
        pq_values_free(&metrics->values);
        pq_free(metrics);
    }
}
