#include "formats/left.h"

#include "core/memory.h"
#include "graph/head.h"

json_t *pq_left_texts(size_t n, char *const *names)
{
    json_t *list = n > 0 ? json_array() : NULL;

    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(list, json_string(names[i]));
    }
    return list;
}

static pq_status take_names(pq_graph *graph, const json_t *list, size_t due,
                            pq_status (*set)(pq_graph *graph, size_t n,
                                             const char *const *names, pq_err *err),
                            pq_err *err)
{
    const size_t n     = json_array_size(list);
    const char **names = NULL;
    bool         texts = n == due;
    pq_status    st    = PQ_OK;

    PQ_NEW(names, n);
    for (size_t i = 0; i < n; i++) {
        names[i] = json_string_value(json_array_get(list, i));
        texts    = texts && names[i] != NULL;
    }
    if (n > 0 && texts) {
        PQ_TRY(set(graph, n, names, err));
    }
cleanup:
    pq_free(names);
    return st;
}

pq_status pq_left_take(pq_graph *graph, const json_t *steps, const json_t *classes,
                       const json_t *features, pq_err *err)
{
    const pq_shape *in = &graph->nodes[0].shape;
    pq_status       st = PQ_OK;

    for (size_t i = 0; i < json_array_size(steps); i++) {
        if (json_is_object(json_array_get(steps, i))) {
            PQ_TRY(pq_graph_note(graph, json_incref(json_array_get(steps, i)), err));
        }
    }
    PQ_TRY(take_names(graph, classes, pq_graph_width(graph), pq_graph_set_classes, err));
    if (in->ndim > 0) {
        PQ_TRY(take_names(graph, features, in->dim[in->ndim - 1], pq_graph_set_features,
                          err));
    }
cleanup:
    return st;
}
