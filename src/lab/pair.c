#include "lab/pair.h"

#include <math.h>
#include <string.h>

#include "metrics/paired.h"
#include "metrics/tests.h"

/* Whether an event is decided for its label: 1 or 0. */
static int is_right(const pq_evaluated *e, size_t event)
{
    return pq_head_decide(e->head, e->width, e->outputs + event * e->width) ==
           (size_t)e->labels[event];
}

/* The label of an event by name: models may name classes in another order. */
static const char *label_of(const pq_evaluated *e, size_t event)
{
    return e->class_names[e->labels[event]];
}

pq_status pq_pair_decisions(const char *label, const pq_evaluated *first,
                            const pq_evaluated *second, pq_decision_pair *out,
                            pq_err *err)
{
    double           sum = 0.0, up = 0.0, squares = 0.0, up_squares = 0.0, other = 0.0;
    pq_decision_pair pair = {0};
    pq_status        st   = PQ_OK;

    PQ_CHECK(first->decided && second->decided, PQ_ERR_CONFIG,
             "the outputs of the %s model decide for no class",
             first->decided ? "second" : "first");
    PQ_CHECK(first->n == second->n && first->n > 0, PQ_ERR_CONFIG,
             "there are %zu events of one model and %zu of the other", first->n,
             second->n);
    for (size_t i = 0; i < first->n; i++) {
        const double w = first->weights != NULL ? (double)first->weights[i] : 1.0;
        const int    a = is_right(first, i), b = is_right(second, i);
        PQ_CHECK(strcmp(label_of(first, i), label_of(second, i)) == 0, PQ_ERR_CONFIG,
                 "event %zu is '%s' of one model and '%s' of the other", i,
                 label_of(first, i), label_of(second, i));
        if (label != NULL && strcmp(label, label_of(first, i)) != 0) {
            continue;
        }
        pair.first_alone += a > b ? 1 : 0;
        pair.second_alone += b > a ? 1 : 0;
        sum += w;
        squares += w * w;
        up += w * (b - a);
        up_squares += w * w * (b - a);
        other += a != b ? w * w : 0.0;
    }
    PQ_CHECK(sum > 0.0, PQ_ERR_CONFIG, "no event counts");
    const double mean = up / sum;
    const double error =
        sqrt(fmax(other - 2.0 * mean * up_squares + mean * mean * squares, 0.0)) / sum;
    pair.difference = (pq_value){
        .value = mean, .lo = mean - error, .hi = mean + error, .n = sum * sum / squares};
    const double alone = (double)(pair.first_alone + pair.second_alone);
    pair.difference.note =
        alone > 0.0 && alone < PQ_FEW_EFFECTIVE
            ? "fewer than 10 events are decided right by one of the two models alone: "
              "the interval may be too narrow"
            : NULL;
    pair.p = first->weights != NULL
                 ? (double)NAN
                 : pq_test_discordant(pair.first_alone, pair.second_alone);
    *out   = pair;
cleanup:
    return st;
}

/* The keys of metric btag, or NULL where they are the defaults. */
static const pq_btag_params *keys_of(const pq_evaluate_options *options)
{
    const pq_btag_params *keys = NULL;

    for (size_t i = 0; i < options->n_metrics; i++) {
        keys = strcmp(options->metrics[i].metric->name, "btag") == 0
                   ? options->metrics[i].params
                   : keys;
    }
    return keys;
}

/* Keeps scores by the number of the event. */
static pq_status remember(const pq_pair_memory *memory, const pq_tagged *jets,
                          pq_err *err)
{
    pq_tensor *scores = NULL;
    pq_status  st     = PQ_OK;

    if (memory == NULL || jets->n == 0) {
        return PQ_OK;
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(jets->n), &scores, err));
    for (size_t i = 0; i < jets->n; i++) {
        pq_f64(scores)[jets->jets[i].event] = jets->jets[i].score;
    }
    pq_cache_put(memory->cache, memory->key, 1, &scores);
cleanup:
    pq_tensor_free(&scores);
    return st;
}

/* The reference's jets as remembered: those of the model with the scores of then. */
static pq_status recall(const pq_pair_memory *memory, const pq_tagged *jets,
                        pq_tagged *out, bool *found, pq_err *err)
{
    const pq_shape due    = PQ_SHAPE(jets->n);
    pq_tensor     *scores = NULL;
    pq_status      st     = PQ_OK;

    *found = memory != NULL && jets->n > 0 &&
             pq_cache_get(memory->cache, memory->key, 1, &due, &scores);
    if (*found) {
        PQ_TRY(pq_tagged_rescored(jets, pq_f64(scores), out, err));
    }
cleanup:
    pq_tensor_free(&scores);
    return st;
}

static pq_status score_reference(pq_graph *reference, pq_dataset *dataset, size_t split,
                                 const pq_evaluate_options *options,
                                 const pq_btag_params *keys, pq_tagged *out, pq_err *err)
{
    const pq_metric_choice cheap = {.metric = pq_metric_find("macs")};
    pq_evaluate_options    how   = *options;
    pq_evaluated           first = {0};
    pq_evaluation          view;
    pq_status              st;

    how.n_metrics = 1; /* outputs are what is wanted of it */
    how.metrics   = &cheap;
    PQ_TRY(pq_evaluate(reference, dataset, split, &how, &first, err));
    view = pq_evaluated_view(&first, reference, 0);
    PQ_TRY(pq_btag_jets(&view, PQ_FLAVOUR_B, keys, out, err));
cleanup:
    pq_evaluated_free(&first);
    return st;
}

pq_status pq_evaluate_paired(pq_graph *reference, const pq_pair_memory *memory,
                             const pq_graph *graph, pq_dataset *dataset, size_t split,
                             const pq_evaluate_options *options, pq_evaluated *e,
                             pq_err *err)
{
    const pq_evaluation   view     = pq_evaluated_view(e, graph, 0);
    const pq_btag_params *given    = keys_of(options);
    pq_btag_params        defaults = {0};
    pq_tagged             first = {0}, second = {0};
    bool                  known = false;
    pq_status             st;

    PQ_TRY(pq_params_default(pq_btag_table, &defaults, err));
    if (pq_values_find(&e->values, "btag.distinct") == NULL) {
        goto cleanup;
    }
    const pq_btag_params *keys = given != NULL ? given : &defaults;
    PQ_TRY(pq_btag_jets(&view, PQ_FLAVOUR_B, keys, &second, err));
    if (reference == NULL) {
        PQ_TRY(remember(memory, &second, err));
        goto cleanup;
    }
    PQ_TRY(recall(memory, &second, &first, &known, err));
    if (!known) {
        PQ_TRY(score_reference(reference, dataset, split, options, keys, &first, err));
        PQ_TRY(remember(memory, &first, err));
    }
    PQ_TRY(pq_btag_add_paired(&first, &second, keys, &e->values, err));
cleanup:
    pq_tagged_free(&first);
    pq_tagged_free(&second);
    pq_params_free(pq_btag_table, &defaults);
    return st;
}
