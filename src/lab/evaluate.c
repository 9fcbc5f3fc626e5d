#include "lab/evaluate.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/integer.h"

/* The model's output order: what the user said, else the model's own, else the dataset's.
 */
static pq_status output_classes(const pq_graph *graph, const pq_dataset_info *data,
                                size_t width, pq_evaluated *e, pq_err *err)
{
    const bool         own = graph->class_names != NULL;
    const char *const *names =
        own ? (const char *const *)graph->class_names : data->class_names;
    const size_t n = own ? graph->n_classes : data->n_classes;
    pq_status    st;

    PQ_CHECK(n == width, PQ_ERR_SHAPE,
             "the model has %zu outputs but there are %zu classes", width, n);
    PQ_NEW(e->class_names, n);
    e->classes = n;
    for (size_t c = 0; c < n; c++) {
        PQ_STRDUP(e->class_names[c], names[c]);
    }
cleanup:
    return st;
}

static void list_names(pq_text *out, size_t n, const char *const *names)
{
    for (size_t i = 0; i < n; i++) {
        pq_text_add(out, "%s%s", i == 0 ? "" : ",", names[i]);
    }
}

/* Rewrites labels from the dataset's class order into the model's. */
static pq_status relabel(const pq_dataset_info *data, pq_evaluated *e, pq_err *err)
{
    int32_t  *place = NULL; /* [dataset classes] index in the model's order */
    pq_text   have = {0}, want = {0};
    pq_status st;

    PQ_NEW(place, data->n_classes);
    list_names(&have, data->n_classes, data->class_names);
    list_names(&want, e->classes, (const char *const *)e->class_names);
    PQ_CHECK(data->n_classes == e->classes, PQ_ERR_CONFIG,
             "the model's classes (%s) are not the dataset's (%s)", want.text, have.text);
    for (size_t i = 0; i < data->n_classes; i++) {
        size_t c = 0;
        while (c < e->classes && strcmp(e->class_names[c], data->class_names[i]) != 0) {
            c++;
        }
        if (c == e->classes) {
            st = pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                            "the model's classes (%s) have no '%s' of the dataset's (%s)",
                            want.text, data->class_names[i], have.text);
            pq_err_hint(err, "name the model's outputs as the dataset does, in their "
                             "order: --classes A,B,…, or model.classes");
            goto cleanup;
        }
        place[i] = (int32_t)c;
    }
    for (size_t i = 0; i < e->n; i++) {
        e->labels[i] = place[e->labels[i]];
    }
cleanup:
    pq_free(place);
    pq_text_free(&have);
    pq_text_free(&want);
    return st;
}

/* softmax over each row, in double, with the largest logit taken out. */
static void softmax_rows(size_t n, size_t classes, const float *logits, float *out)
{
    for (size_t i = 0; i < n; i++) {
        const float *l   = logits + i * classes;
        double       sum = 0.0, top = (double)l[0];
        for (size_t c = 1; c < classes; c++) {
            top = fmax(top, (double)l[c]);
        }
        for (size_t c = 0; c < classes; c++) {
            sum += exp((double)l[c] - top);
        }
        for (size_t c = 0; c < classes; c++) {
            out[i * classes + c] = (float)(exp((double)l[c] - top) / sum);
        }
    }
}

/* The kind that makes the outputs, seen through layers that change nothing. */
static const char *output_kind(const pq_graph *graph)
{
    size_t node = graph->output;

    while (graph->nodes[node].n_inputs == 1 &&
           (strcmp(graph->nodes[node].layer->kind->name, "flatten") == 0 ||
            strcmp(graph->nodes[node].layer->kind->name, "reshape") == 0 ||
            strcmp(graph->nodes[node].layer->kind->name, "dropout") == 0)) {
        node = graph->nodes[node].inputs[0];
    }
    return graph->nodes[node].layer->kind->name;
}

static pq_status split_outputs(const pq_graph *graph, pq_predictions *p, pq_evaluated *e,
                               pq_err *err)
{
    const bool probabilities = strcmp(output_kind(graph), "softmax") == 0;
    pq_status  st            = PQ_OK;

    for (size_t i = 0; i < p->n * p->width; i++) {
        PQ_CHECK(isfinite(p->outputs[i]), PQ_ERR_NUMERIC,
                 "the model's output %zu of event %zu is not finite", i % p->width,
                 i / p->width);
    }
    if (probabilities) {
        e->probabilities = p->outputs;
    } else {
        PQ_NEW(e->probabilities, p->n * p->width);
        softmax_rows(p->n, p->width, p->outputs, e->probabilities);
        e->logits = p->outputs;
    }
    p->outputs = NULL;
cleanup:
    return st;
}

/* Counts events whose largest output is their label's; of equal outputs the first counts.
 */
static size_t count_correct(const pq_evaluated *e)
{
    const float *outputs = e->logits != NULL ? e->logits : e->probabilities;
    size_t       correct = 0;

    for (size_t i = 0; i < e->n; i++) {
        const float *row  = outputs + i * e->classes;
        size_t       best = 0;
        for (size_t c = 1; c < e->classes; c++) {
            if (row[c] > row[best]) {
                best = c;
            }
        }
        correct += (int32_t)best == e->labels[i];
    }
    return correct;
}

static pq_status compute_metrics(const pq_graph            *graph,
                                 const pq_evaluate_options *options, pq_evaluated *e,
                                 pq_err *err)
{
    const pq_evaluation view = {
        .n             = e->n,
        .classes       = e->classes,
        .probabilities = e->probabilities,
        .logits        = e->logits,
        .labels        = e->labels,
        .weights       = e->weights,
        .class_names   = (const char *const *)e->class_names,
        .graph         = graph,
        .file_bytes    = options->file_bytes,
    };
    unsigned char   *defaults = NULL;
    const pq_metric *metric   = NULL;
    pq_status        st       = PQ_OK;

    for (size_t i = 0; i < options->n_metrics; i++) {
        metric = options->metrics[i].metric;
        PQ_TRY(metric->compute(&view, options->metrics[i].params, &e->values, err));
    }
    for (size_t i = 0; options->n_metrics == 0 && pq_metrics[i] != NULL; i++) {
        metric = pq_metrics[i];
        PQ_NEW(defaults, metric->params_size);
        PQ_TRY(pq_params_default(metric->params, defaults, err));
        PQ_TRY(metric->compute(&view, defaults, &e->values, err));
        pq_params_free(metric->params, defaults);
        pq_free(defaults);
        defaults = NULL;
    }
cleanup:
    if (defaults != NULL) {
        pq_params_free(metric->params, defaults);
    }
    pq_free(defaults);
    return st;
}

pq_status pq_evaluate_check(const pq_graph *graph, const pq_dataset *dataset,
                            bool *assumed, pq_err *err)
{
    const pq_plan_options  options = {"reference", 1};
    const pq_dataset_info *data    = pq_dataset_describe(dataset);
    pq_evaluated           e       = {0};
    pq_plan               *plan    = NULL;
    pq_shape               shape;
    size_t                 width = 0;
    pq_status              st;

    PQ_CHECK(data->n_classes > 0, PQ_ERR_CONFIG, "%s: the labels are not classes",
             data->path);
    PQ_TRY(pq_plan_create(graph, &options, &plan, err));
    PQ_TRY(pq_predict_check(plan, data, err));
    shape = pq_plan_output_shape(plan);
    (void)pq_shape_count(&shape, &width);
    PQ_TRY(output_classes(graph, data, width, &e, err));
    PQ_TRY(relabel(data, &e, err));
    *assumed = graph->class_names == NULL;
cleanup:
    pq_plan_free(&plan);
    pq_evaluated_free(&e);
    return st;
}

static bool has_kernel(const pq_layer *layer)
{
    for (size_t i = 0; i < layer->n_weights; i++) {
        if (layer->kind->role(layer->weights[i].name) == PQ_WEIGHT_KERNEL) {
            return true;
        }
    }
    return false;
}

/* What an engine of whole numbers had to compute in double. */
static pq_status list_fallbacks(const pq_graph *graph, const char *engine,
                                pq_evaluated *e, pq_err *err)
{
    char      text[128];
    pq_status st = PQ_OK;

    if (engine == NULL || strcmp(engine, "integer") != 0) {
        return PQ_OK;
    }
    PQ_NEW(e->fallbacks, graph->n_nodes);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        PQ_TRY(pq_integer_describe(graph, i, text, sizeof text, err));
        if (has_kernel(graph->nodes[i].layer) && strncmp(text, "float: ", 7) == 0) {
            char *line = pq_format("%s: %s", graph->nodes[i].name, text + 7);
            PQ_CHECK(line != NULL, PQ_ERR_NOMEM, "cannot allocate a text");
            e->fallbacks[e->n_fallbacks++] = line;
        }
    }
cleanup:
    return st;
}

pq_status pq_evaluate(pq_graph *graph, pq_dataset *dataset, size_t split,
                      const pq_evaluate_options *options, pq_evaluated *out, pq_err *err)
{
    const pq_dataset_info *data = pq_dataset_describe(dataset);
    pq_predictions         p    = {0};
    pq_evaluated           e    = {0};
    pq_status              st;

    PQ_CHECK(data->n_classes > 0, PQ_ERR_CONFIG, "%s: the labels are not classes",
             data->path);
    PQ_TRY(pq_graph_check(graph, err));
    PQ_TRY(pq_predict(graph, dataset, split, &options->predict, &p, err));
    PQ_TRY(output_classes(graph, data, p.width, &e, err));
    e.n       = p.n;
    e.labels  = p.labels;
    e.weights = p.weights;
    p.labels  = NULL;
    p.weights = NULL;
    e.kernels = p.kernels;
    p.kernels = NULL;
    PQ_TRY(list_fallbacks(graph, options->predict.engine, &e, err));
    PQ_TRY(relabel(data, &e, err));
    PQ_TRY(split_outputs(graph, &p, &e, err));
    e.correct = count_correct(&e);
    PQ_TRY(compute_metrics(graph, options, &e, err));
    *out = e;
    e    = (pq_evaluated){0};
cleanup:
    pq_predictions_free(&p);
    pq_evaluated_free(&e);
    return st;
}

pq_status pq_evaluate_network(const pq_graph *graph, const pq_evaluate_options *options,
                              pq_values *out, pq_err *err)
{
    pq_evaluated e  = {.values = *out};
    pq_status    st = compute_metrics(graph, options, &e, err);

    *out = e.values;
    return st;
}

void pq_evaluated_free(pq_evaluated *e)
{
    for (size_t c = 0; e->class_names != NULL && c < e->classes; c++) {
        pq_free(e->class_names[c]);
    }
    pq_free(e->class_names);
    pq_free(e->probabilities);
    pq_free(e->logits);
    pq_free(e->labels);
    pq_free(e->weights);
    pq_values_free(&e->values);
    pq_free(e->kernels);
    for (size_t i = 0; i < e->n_fallbacks; i++) {
        pq_free(e->fallbacks[i]);
    }
    pq_free(e->fallbacks);
    *e = (pq_evaluated){0};
}
