#include "compress/prune_inputs.h"

#include <math.h>

#include "core/memory.h"
#include "layers/channels.h"

/* Marks the groups that a weight of some kept row reads. */
static void mark_read(const pq_prune_selection *s, bool *read)
{
    for (size_t i = 0; i < s->graph->n_nodes; i++) {
        const pq_node *node = &s->graph->nodes[i];
        for (size_t k = 0; pq_makes_channels(node) && k < node->layer->n_weights; k++) {
            const pq_weight *w = &node->layer->weights[k];
            if (node->layer->kind->role(w->name) != PQ_WEIGHT_KERNEL) {
                continue;
            }
            for (size_t at = 0; at < w->value->count; at++) {
                size_t in, out;
                node->layer->kind->channels->place(node->layer, w, at, &in, &out);
                if (pq_f32(w->value)[at] != 0.0F &&
                    !s->gone[s->groups.group[s->groups.first[i] + out]]) {
                    read[s->groups.group[s->groups.first[node->inputs[0]] + in]] = true;
                }
            }
        }
    }
}

/* Whether nothing but being an input keeps a group, and no kernel makes it too. */
static bool is_input_alone(const pq_prune_selection *s, size_t group)
{
    const pq_channel_group *g = &s->groups.groups[group];

    for (size_t i = 0; i < g->n_parts; i++) {
        if (pq_makes_channels(&s->graph->nodes[s->groups.parts[g->part + i].node])) {
            return false;
        }
    }
    return g->why != NULL && g->node == 0;
}

/* Names of the n inputs: the graph's own, else those of the events it is used on, which
 * it takes by place. */
static const char *const *names_of(const pq_compress_task *task, size_t n)
{
    const pq_graph *graph = task->graph;

    if (graph->feature_names != NULL) {
        return graph->n_features == n ? (const char *const *)graph->feature_names : NULL;
    }
    return task->n_features == n ? task->features : NULL;
}

static pq_status report(pq_compress_task *task, size_t n, size_t unread, size_t gone,
                        const char *names)
{
    const char *const input = task->graph->nodes[0].name;

    if (gone > 0) {
        return pq_task_change(task, input, (double)NAN,
                              "%zu of %zu inputs leave, no weight reads them: %s", gone,
                              n, names);
    }
    return unread == 0 ? PQ_OK
                       : pq_task_change(task, input, (double)NAN,
                                        "%zu of %zu inputs are read by no weight but "
                                        "stay: %s",
                                        unread, n,
                                        names_of(task, n) != NULL
                                            ? "one must"
                                            : "without names, events cannot be read for "
                                              "the rest");
}

pq_status pq_prune_unread_inputs(pq_prune_selection *s, pq_compress_task *task,
                                 pq_err *err)
{
    const size_t       n      = s->groups.first[1];
    const char *const *names  = names_of(task, n);
    bool              *read   = NULL;
    pq_text            list   = {0};
    size_t             unread = 0, gone = 0;
    pq_status          st;

    PQ_NEW(read, s->groups.n);
    mark_read(s, read);
    for (size_t c = 0; c < n; c++) {
        const size_t group = s->groups.group[c];
        if (read[group] || !is_input_alone(s, group) || s->gone[group]) {
            continue;
        }
        unread++;
        if (names != NULL && pq_prune_take_group(s, group)) {
            pq_text_add(&list, "%s%s", gone++ == 0 ? "" : ", ", names[c]);
        }
    }
    PQ_CHECK(!list.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    PQ_TRY(report(task, n, unread, gone, list.text));
    if (gone > 0 && task->graph->feature_names == NULL) {
        PQ_TRY(pq_graph_set_features(task->graph, n, names, err));
    }
cleanup:
    pq_free(read);
    pq_text_free(&list);
    return st;
}
