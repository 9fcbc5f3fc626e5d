#include "api/inside.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/model.h"
#include "graph/head.h"

struct pquant_metrics {
    pq_values      values;
    pquant_metric *items; /* [values.n] views of values */
};

pquant_model *pquant_model_load(const char *path, const char *arch)
{
    return pquant_model_load_output(path, arch, NULL);
}

pquant_model *pquant_model_load_output(const char *path, const char *arch,
                                       const char *output)
{
    pq_err   *err   = pq_api_begin();
    pq_graph *graph = NULL;

    return pq_model_load_output(path, arch, output, &graph, err) == PQ_OK
               ? pq_api_wrap(graph, err)
               : NULL;
}

int pquant_model_save(const pquant_model *model, const char *path)
{
    return pq_model_save(model->graph, path, pq_api_begin()) != PQ_OK;
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
    pq_err   *err   = pq_api_begin();
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
    pq_err *err = pq_api_begin();

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

char *pq_api_text(const json_t *json, pq_err *err)
{
    char     *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    char     *out  = NULL;
    pq_status st;

    PQ_CHECK(text != NULL, PQ_ERR_NOMEM, "cannot write JSON");
    PQ_STRDUP(out, text);
cleanup:
    (void)st;
    free(text);
    return out;
}

pquant_metrics *pq_api_view(pq_values *values, pq_err *err)
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
