#include <math.h>

#include "train/steer.h"

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *recalls_json(const pq_graph *graph, const double *recall)
{
    json_t *by_name = json_object();

    for (size_t k = 0; recall != NULL && k < graph->n_classes; k++) {
        (void)json_object_set_new(by_name, graph->class_names[k], number(recall[k]));
    }
    return by_name;
}

json_t *pq_train_history_json(const pq_train_summary *s, const pq_graph *graph)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->n_epochs; i++) {
        const pq_train_epoch *e   = &s->history[i];
        json_t               *row = json_pack(
                          "{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "epoch",
                          (json_int_t)e->epoch, "lr", number(e->lr), "train_loss",
                          number(e->train_loss), "validation_loss", number(e->validation_loss),
                          "accuracy", number(e->accuracy), "lowest_recall", number(e->lowest_recall),
                          "recalls", recalls_json(graph, e->recall), "seconds", number(e->seconds),
                          "threads", (json_int_t)e->threads);
        if (row != NULL && isfinite(e->ebops)) {
            (void)json_object_set_new(row, "ebops", number(e->ebops));
            (void)json_object_set_new(row, "hgq_beta", number(e->beta));
            (void)json_object_set_new(row, "front",
                                      json_boolean(pq_steer_on_front(
                                          s->history, s->first - 1, s->n_epochs, i)));
        }
        (void)json_array_append_new(list, row);
    }
    return list;
}
