#include "train/classes.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

const pq_class_row pq_min_recall_row    = {"min_recall", 0.0, 1.0, false, NULL};
const pq_class_row pq_class_weights_row = {"class_weights", 0.0, 1e6, true, "balanced"};

/* What preserve_rare_classes holds where nothing else is said. */
static const double usual_floor = 0.5, usual_loss = 0.05, usual_part = 0.1;

static pq_status read_value(const pq_class_row *row, const char *class_name,
                            const char *text, double *out, pq_err *err)
{
    char      lo[32], hi[32];
    pq_status st;

    PQ_CHECK(pq_parse_real(text, PQ_UNIT_NONE, out), PQ_ERR_CONFIG,
             "%s: %s%s'%s' is not a number", row->name, class_name,
             class_name[0] != '\0' ? ": " : "", text);
    PQ_CHECK(*out >= row->lo && *out <= row->hi, PQ_ERR_RANGE,
             "%s: %s%s%s is not in %s..%s", row->name, class_name,
             class_name[0] != '\0' ? ": " : "", text,
             pq_real_text(row->lo, lo, sizeof lo), pq_real_text(row->hi, hi, sizeof hi));
cleanup:
    return st;
}

/* One "class=value", cut in two. */
static pq_status read_item(const pq_class_row *row, char *item, size_t n,
                           const char *const *classes, double *out, bool *given,
                           pq_err *err)
{
    char       *equals = strchr(item, '=');
    const char *near;
    double      value;
    size_t      k = 0;
    pq_status   st;

    PQ_CHECK(equals != NULL, PQ_ERR_CONFIG, "%s: '%s' is not class=value", row->name,
             item);
    *equals = '\0';
    item += strspn(item, " ");
    PQ_TRY(read_value(row, item, equals + 1 + strspn(equals + 1, " "), &value, err));
    if (classes == NULL) {
        return PQ_OK;
    }
    while (k < n && strcmp(classes[k], item) != 0) {
        k++;
    }
    near = k == n ? pq_nearest(item, classes, n) : NULL;
    PQ_CHECK(k < n, PQ_ERR_CONFIG, "%s: '%s' is none of the classes ('%s', …)%s%s%s",
             row->name, item, classes[0], near != NULL ? "; did you mean '" : "",
             near != NULL ? near : "", near != NULL ? "'?" : "");
    PQ_CHECK(!given[k], PQ_ERR_CONFIG, "%s: class '%s' is given twice", row->name, item);
    given[k] = true;
    out[k]   = value;
cleanup:
    return st;
}

pq_status pq_class_values(const pq_class_row *row, const char *text, size_t n,
                          const char *const *classes, double *out, pq_err *err)
{
    char    **items = NULL, *copy = NULL;
    size_t    n_items = 0, length;
    bool     *given   = NULL;
    double    value;
    pq_status st;

    if (row->word != NULL && strcmp(text, row->word) == 0) {
        return PQ_OK;
    }
    PQ_NEW(given, n);
    PQ_STRDUP(copy, text[0] == '[' ? text + 1 : text);
    length = strlen(copy);
    if (text[0] == '[' && length > 0 && copy[length - 1] == ']') {
        copy[length - 1] = '\0';
    }
    for (char *p = copy; (p = strchr(p, '|')) != NULL;) {
        *p = ',';
    }
    if (!row->by_name && strchr(copy, '=') == NULL) {
        PQ_TRY(read_value(row, "", copy, &value, err));
        for (size_t k = 0; out != NULL && k < n; k++) {
            out[k] = value;
        }
        goto cleanup;
    }
    PQ_TRY(pq_text_split(copy, ',', &items, &n_items, err));
    for (size_t i = 0; i < n_items; i++) {
        PQ_TRY(read_item(row, items[i], n, classes, out, given, err));
    }
cleanup:
    pq_free(items);
    pq_free(copy);
    pq_free(given);
    return st;
}

static void count_labels(const pq_events *e, const size_t *index, size_t n, size_t *seen)
{
    for (size_t i = 0; i < n; i++) {
        seen[e->y[index[i]]]++;
    }
}

bool pq_class_weights_balanced(const char *text)
{
    return text != NULL && strcmp(text, pq_class_weights_row.word) == 0;
}

pq_status pq_classes_weigh(pq_trainer *t, pq_err *err)
{
    const bool balanced = pq_class_weights_balanced(t->params->class_weights);
    size_t    *seen = NULL, kinds = 0;
    double    *factor = NULL;
    pq_status  st;

    PQ_NEW(t->class_weight, t->classes);
    PQ_NEW(seen, t->classes);
    PQ_NEW(factor, t->classes);
    count_labels(&t->train_events, t->train_index, t->n_train, seen);
    for (size_t c = 0; c < t->classes; c++) {
        kinds += seen[c] > 0 ? 1 : 0;
        factor[c] = 1.0;
    }
    if (t->params->class_weights != NULL) {
        PQ_TRY(pq_class_values(&pq_class_weights_row, t->params->class_weights,
                               t->classes, (const char *const *)t->graph->class_names,
                               factor, err));
    }
    for (size_t c = 0; c < t->classes; c++) {
        if (balanced && seen[c] > 0) {
            factor[c] = (double)t->n_train / ((double)kinds * (double)seen[c]);
        }
        t->class_weight[c] = (float)factor[c];
    }
cleanup:
    pq_free(seen);
    pq_free(factor);
    return st;
}

/* Recalls of another network on the validation events, which lie in `events` as it takes
 * them; NAN where a class has none. */
static void find_recalls(pq_trainer *t, pq_teacher *other, const pq_events *events,
                         double *recall)
{
    const size_t most = t->net->batch;

    t->augment = false;
    memset(t->hits, 0, t->classes * sizeof *t->hits);
    memset(t->seen, 0, t->classes * sizeof *t->seen);
    for (size_t i = 0; i < t->n_valid; i += most) {
        const size_t n = t->n_valid - i < most ? t->n_valid - i : most;
        pq_batch_start(t, events, t->valid_index + i, n);
        pq_teacher_run(t, other, n);
        for (size_t k = 0; k < n; k++) {
            const float *logits = other->logits + k * t->loss.width;
            const double mine   = (double)t->w[k];
            t->seen[t->y[k]] += mine;
            t->hits[t->y[k]] +=
                pq_loss_decision(&t->loss, logits) == t->y[k] ? mine : 0.0;
        }
    }
    for (size_t k = 0; k < t->classes; k++) {
        recall[k] = t->seen[k] > 0.0 ? t->hits[k] / t->seen[k] : (double)NAN;
    }
}

/* The events that validation is of, for a network with inputs that the graph has lost
 * (structured_prune). */
static pq_status read_whole(const pq_trainer *t, const pq_train_data *data,
                            const pq_graph *graph, pq_events *out, pq_err *err)
{
    const bool apart = data->validation != SIZE_MAX;
    pq_status  st;

    PQ_TRY(pq_events_read(apart ? pq_train_watched(data) : data->dataset,
                          apart ? data->validation : data->train, graph,
                          t->params->event_weights, out, err));
    /* classes in the graph's order */
    memcpy(out->y, t->valid_events->y, out->n * sizeof *out->y);
cleanup:
    return st;
}

/* Floors below the recalls of the network to compare with: by `loss`, and by no more
 * than this part of a recall. */
static pq_status compare(pq_trainer *t, const pq_train_data *data, double loss,
                         double part, double *floors, pq_err *err)
{
    const pq_graph *reference = t->options->reference;
    pq_teacher      other     = {0};
    pq_events       whole     = {0};
    double         *recall    = NULL;
    pq_status       st;

    PQ_CHECK(reference != NULL, PQ_ERR_CONFIG,
             "max_recall_loss: there is no network to compare with");
    PQ_CHECK(t->n_valid > 0, PQ_ERR_CONFIG,
             "there are no validation events to compare recalls on");
    PQ_NEW(recall, t->classes);
    if (pq_shape_equal(&reference->nodes[0].shape, &t->graph->nodes[0].shape)) {
        PQ_TRY(pq_teacher_create(t, reference, 0, NULL, &other, err));
        find_recalls(t, &other, t->valid_events, recall);
    } else {
        PQ_TRY(read_whole(t, data, reference, &whole, err));
        PQ_TRY(pq_teacher_apart(t, reference, whole.count, &other, err));
        find_recalls(t, &other, &whole, recall);
        t->events = NULL;
    }
    for (size_t k = 0; k < t->classes; k++) {
        const double due = recall[k] - fmin(loss, part * recall[k]);
        floors[k]        = fmax(floors[k], due); /* a NAN counts for nothing */
    }
cleanup:
    pq_teacher_free(&other);
    pq_events_free(&whole);
    pq_free(recall);
    return st;
}

/* A floor is of use only where it can be watched. */
static pq_status check_floors(const pq_trainer *t, double *floors, bool *any, pq_err *err)
{
    size_t   *valid = NULL, *train = NULL;
    pq_status st;

    PQ_NEW(valid, t->classes);
    PQ_NEW(train, t->classes);
    count_labels(t->valid_events, t->valid_index, t->n_valid, valid);
    count_labels(&t->train_events, t->train_index, t->n_train, train);
    for (size_t k = 0; k < t->classes; k++) {
        floors[k] = valid[k] + train[k] > 0 ? floors[k] : 0.0;
        *any      = *any || floors[k] > 0.0;
        PQ_CHECK(floors[k] <= 0.0 || valid[k] > 0, PQ_ERR_CONFIG,
                 "class '%s' has no validation events: its recall cannot be held at %.4g",
                 t->graph->class_names[k], floors[k]);
    }
cleanup:
    pq_free(valid);
    pq_free(train);
    return st;
}

pq_status pq_classes_floors(pq_trainer *t, const pq_train_data *data, pq_err *err)
{
    const pq_train_params *p = t->params;
    const bool             usual =
        p->preserve_rare_classes && p->min_recall == NULL && isnan(p->max_recall_loss);
    const bool   compared = t->options->reference != NULL;
    const double loss     = usual && compared ? usual_loss : p->max_recall_loss;
    double      *floors   = NULL;
    bool         any      = false;
    pq_status    st;

    PQ_NEW(floors, t->classes);
    for (size_t k = 0; k < t->classes; k++) {
        floors[k] = usual && !compared ? usual_floor : 0.0;
    }
    if (p->min_recall != NULL) {
        PQ_TRY(pq_class_values(&pq_min_recall_row, p->min_recall, t->classes,
                               (const char *const *)t->graph->class_names, floors, err));
    }
    if (!isnan(loss)) {
        PQ_TRY(compare(t, data, loss, usual ? usual_part : 1.0, floors, err));
    }
    PQ_TRY(check_floors(t, floors, &any, err));
    if (any) {
        t->floors = floors;
        floors    = NULL;
    }
cleanup:
    pq_free(floors);
    return st;
}

void pq_classes_score(const pq_trainer *t, pq_train_epoch *out)
{
    double *recall = t->recalls + (out->epoch - 1) * t->classes;
    double  hits = 0.0, all = 0.0;

    out->lowest_recall = 1.0;
    out->shortfall     = 0.0;
    for (size_t k = 0; k < t->classes; k++) {
        double hit = 0.0, seen = 0.0;
        for (size_t c = 0; c < t->net->chunks; c++) {
            hit += t->hits[c * t->classes + k];
            seen += t->seen[c * t->classes + k];
        }
        hits += hit;
        all += seen;
        recall[k]          = seen > 0.0 ? hit / seen : (double)NAN;
        out->lowest_recall = fmin(out->lowest_recall, recall[k]);
        if (t->floors != NULL) {
            out->shortfall = fmax(out->shortfall, t->floors[k] - recall[k]);
        }
    }
    out->accuracy = hits / all;
}
