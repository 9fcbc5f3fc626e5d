#include "lab/evaluate.h"

#include <stdatomic.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "exec/integer.h"
#include "exec/rescale.h"
#include "lab/columns.h"

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

    e->width = width;
    e->head  = pq_graph_head(graph);
    if (n != pq_head_classes(e->head, width)) {
        st = pq_err_set(err, PQ_ERR_SHAPE, __FILE__, __LINE__,
                        "the model has %zu output%s%s but there are %zu classes", width,
                        width == 1 ? "" : "s",
                        pq_head_classes(e->head, width) != width
                            ? ", which tells two classes apart,"
                            : "",
                        n);
        if (!own && n < pq_head_classes(e->head, width)) {
            pq_err_hint(err, "events may lack some of the model's classes where its "
                             "outputs are named, in their order: --classes A,B,…, or "
                             "model.classes");
        }
        goto cleanup;
    }
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

/* Rewrites labels from the dataset's class order into the model's. A class of the model
 * that the dataset does not have has no events. */
static pq_status relabel(const pq_dataset_info *data, pq_evaluated *e, pq_err *err)
{
    int32_t  *place = NULL; /* [dataset classes] index in the model's order */
    bool      same  = true;
    pq_text   have = {0}, want = {0};
    pq_status st;

    PQ_NEW(place, data->n_classes);
    list_names(&have, data->n_classes, data->class_names);
    list_names(&want, e->classes, (const char *const *)e->class_names);
    for (size_t i = 0; i < data->n_classes; i++) {
        size_t c = 0;
        while (c < e->classes && strcmp(e->class_names[c], data->class_names[i]) != 0) {
            c++;
        }
        PQ_CHECK(c < e->classes || data->n_classes == e->classes, PQ_ERR_CONFIG,
                 "the model's classes (%s) are not the dataset's (%s)", want.text,
                 have.text);
        if (c == e->classes) {
            st = pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                            "the model's classes (%s) have no '%s' of the dataset's (%s)",
                            want.text, data->class_names[i], have.text);
            pq_err_hint(err, "name the model's outputs as the dataset does, in their "
                             "order: --classes A,B,…, or model.classes");
            goto cleanup;
        }
        place[i] = (int32_t)c;
        same     = same && i == c;
    }
    for (size_t i = 0; !same && i < e->n; i++) {
        e->labels[i] = place[e->labels[i]];
    }
cleanup:
    pq_free(place);
    pq_text_free(&have);
    pq_text_free(&want);
    return st;
}

enum { BLOCK = 16384 /* events that a thread takes at a time */ };

static size_t threads_of(const pq_evaluate_options *options)
{
    return options->predict.threads > 0 ? options->predict.threads
                                        : pq_threads_available();
}

/* What the outputs that are kept are: those of a model with its softmax open are logits.
 */
static pq_head ranked_by(const pq_evaluated *e)
{
    return e->opened ? PQ_HEAD_LOGITS : e->head;
}

/* Whether a node makes all probabilities of logits: a softmax over all outputs, or the
 * sigmoid of the one there is. */
static bool makes_probabilities(const pq_graph *graph, const pq_node *node)
{
    const size_t  width = pq_graph_width(graph), ndim = node->shape.ndim;
    const pq_head head = pq_graph_head(graph);

    return strcmp(node->layer->kind->name, "softmax") == 0
               ? head == PQ_HEAD_SOFTMAX && ndim > 0 && node->shape.dim[ndim - 1] == width
               : strcmp(node->layer->kind->name, "sigmoid") == 0 &&
                     head == PQ_HEAD_BINARY && width == 1;
}

/* The model without what makes probabilities of its logits at its end, or NULL: nothing
 * does, or it has a grid, which ranks as the grid does. */
static pq_status open_end(const pq_graph *graph, pq_graph **out, pq_err *err)
{
    const size_t at    = pq_head_node(graph);
    bool         plain = makes_probabilities(graph, &graph->nodes[at]);
    pq_graph    *open  = NULL;
    pq_status    st    = PQ_OK;

    for (size_t i = at; i < graph->n_nodes; i++) {
        plain = plain && graph->nodes[i].quant == NULL;
    }
    if (!plain) {
        return PQ_OK;
    }
    PQ_TRY(pq_graph_share(graph, &open, err));
    PQ_TRY(pq_graph_bypass(open, at, err));
    open->head = PQ_HEAD_LOGITS;
    PQ_TRY(pq_graph_check(open, err));
    *out = open;
    open = NULL;
cleanup:
    pq_graph_free(&open);
    return st;
}

void pq_evaluated_outputs(const pq_evaluated *e, float *out)
{
    const pq_evaluation view = pq_evaluated_view(e, NULL, 0);

    for (size_t i = 0; i < e->n; i++) {
        const pq_head_norm norm = pq_evaluation_norm(&view, i);
        const float       *row  = e->outputs + i * e->width;
        for (size_t c = 0; c < e->width; c++) {
            out[i * e->width + c] =
                e->opened ? (float)pq_head_probability(PQ_HEAD_LOGITS, e->width, row,
                                                       norm, e->width > 1 ? c : 1)
                          : row[c];
        }
    }
}

typedef struct {
    const pq_graph *graph;
    pq_evaluated   *e;
    pq_evaluation   view;
    atomic_size_t   correct;
} outputs_job;

static pq_status take_block(void *context, size_t piece, size_t thread, pq_err *err)
{
    outputs_job  *j       = context;
    pq_evaluated *e       = j->e;
    const size_t  first   = piece * BLOCK;
    const size_t  end     = e->n - first < BLOCK ? e->n : first + BLOCK;
    size_t        correct = 0;
    pq_status     st;

    (void)thread;
    PQ_TRY(
        pq_head_check_outputs(j->graph, end - first, e->outputs + first * e->width, err));
    for (size_t i = first; e->rests != NULL && i < end; i++) {
        const pq_head_norm norm =
            pq_head_normalise(ranked_by(e), e->width, e->outputs + i * e->width);
        e->rests[i] = norm.rest;
        if (e->tops != NULL) {
            e->tops[i] = (float)norm.top; /* which is an output */
        }
    }
    for (size_t i = first; e->decided && i < end; i++) {
        correct += (int32_t)pq_evaluation_decision(&j->view, i) == e->labels[i] ? 1 : 0;
    }
    (void)atomic_fetch_add(&j->correct, correct);
cleanup:
    return st;
}

/* Takes the outputs over, with what is needed to compare them, and counts those that
 * decide for the label. */
static pq_status take_outputs(const pq_graph *graph, size_t threads, pq_predictions *p,
                              pq_evaluated *e, pq_err *err)
{
    outputs_job j = {.graph = graph, .e = e};
    pq_status   st;

    e->outputs = p->outputs;
    p->outputs = NULL;
    if (ranked_by(e) == PQ_HEAD_LOGITS && e->width > 1) {
        PQ_NEW_UNSET(e->rests, p->n);
        if (e->width > PQ_TOPS_WIDTH) {
            PQ_NEW_UNSET(e->tops, p->n);
        }
    }
    j.view     = pq_evaluated_view(e, NULL, 0);
    e->decided = pq_evaluation_undecided(&j.view) == NULL;
    st = pq_threads_run(threads, (e->n + BLOCK - 1) / BLOCK, take_block, &j, NULL);
    if (st == PQ_ERR_CONFIG || st == PQ_ERR_NUMERIC) { /* again, for the event's number */
        st = pq_head_check_outputs(graph, e->n, e->outputs, err);
    }
    e->correct = atomic_load(&j.correct);
cleanup:
    return st;
}

/* Takes the weights over, if there are others than 1. */
static void take_weights(bool unweighted, pq_predictions *p, pq_evaluated *e)
{
    size_t i = 0;

    while (!unweighted && i < p->n && p->weights[i] == 1.0F) {
        i++;
    }
    if (!unweighted && i < p->n) {
        e->weights = p->weights;
        p->weights = NULL;
    }
    pq_free(p->weights);
    p->weights = NULL;
    for (i = 0; e->weights != NULL && i < p->n; i++) {
        e->n_negative += e->weights[i] < 0.0F ? 1 : 0;
    }
}

static pq_status describe_inputs(const pq_graph *graph, const pq_predictions *p,
                                 pq_evaluated *e, pq_err *err)
{
    pq_text   inputs = {0}, doubt = {0};
    pq_status st;

    pq_scaler_describe(graph, &inputs);
    pq_text_add(&doubt, "%s", "");
    pq_scaler_doubt(graph, p->input_mean, p->input_deviation, &doubt);
    PQ_TRY(pq_text_take(&inputs, &e->inputs, err));
    PQ_TRY(pq_text_take(&doubt, &e->doubt, err));
cleanup:
    pq_text_free(&inputs);
    pq_text_free(&doubt);
    return st;
}

bool pq_metric_applies(const pq_metric_choice *choice, const pq_evaluation *view)
{
    const pq_metric *m = choice->metric;

    return !choice->usual || ((m->usual == NULL || m->usual(view)) &&
                              (m->refuses == NULL || m->refuses(view) == NULL));
}

pq_evaluation pq_evaluated_view(const pq_evaluated *e, const pq_graph *graph,
                                size_t file_bytes)
{
    return (pq_evaluation){
        .n           = e->n,
        .classes     = e->classes,
        .width       = e->width,
        .head        = ranked_by(e),
        .outputs     = e->outputs,
        .rests       = e->rests,
        .tops        = e->tops,
        .labels      = e->labels,
        .weights     = e->weights,
        .negative    = e->negative,
        .class_names = (const char *const *)e->class_names,
        .graph       = graph,
        .file_bytes  = file_bytes,
    };
}

static pq_status note_refused(pq_evaluated *e, const char *metric, const char *why,
                              pq_err *err)
{
    char **grown = pq_recalloc(e->refused, e->n_refused, e->n_refused + 1, sizeof *grown);
    pq_status st;

    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate a text");
    e->refused               = grown;
    e->refused[e->n_refused] = pq_format("%s: %s", metric, why);
    PQ_CHECK(e->refused[e->n_refused] != NULL, PQ_ERR_NOMEM, "cannot allocate a text");
    e->n_refused++;
cleanup:
    return st;
}

/* A metric that nobody named, where it has a value. */
static pq_status compute_usual(const pq_metric *metric, const void *params,
                               const pq_evaluation *view, pq_evaluated *e, pq_err *err)
{
    const char *why = metric->refuses != NULL ? metric->refuses(view) : NULL;

    if (metric->usual != NULL && !metric->usual(view)) {
        return PQ_OK;
    }
    return why != NULL ? note_refused(e, metric->name, why, err)
                       : metric->compute(view, params, &e->values, err);
}

static pq_status compute_default(const pq_metric *metric, const pq_evaluation *view,
                                 pq_evaluated *e, pq_err *err)
{
    unsigned char *defaults = NULL;
    pq_status      st;

    PQ_NEW(defaults, metric->params_size);
    PQ_TRY(pq_params_default(metric->params, defaults, err));
    PQ_TRY(compute_usual(metric, defaults, view, e, err));
cleanup:
    if (defaults != NULL) {
        pq_params_free(metric->params, defaults);
    }
    pq_free(defaults);
    return st;
}

/* Every metric of events would look at all of them again. */
static pq_status check_once(const pq_metric *metric, pq_evaluation *view, pq_err *err)
{
    pq_status st = PQ_OK;

    if (!metric->eventless) {
        PQ_TRY(pq_evaluation_check(view, err));
        view->checked = true;
    }
cleanup:
    return st;
}

static pq_status compute_metrics(const pq_graph            *graph,
                                 const pq_evaluate_options *options,
                                 const pq_columns *columns, pq_evaluated *e, pq_err *err)
{
    pq_evaluation view = pq_evaluated_view(e, graph, options->file_bytes);
    pq_status     st   = PQ_OK;

    view.columns  = columns;
    view.threads  = threads_of(options);
    view.progress = options->predict.progress;
    PQ_TRY(pq_evaluate_metrics_check(graph, options->n_metrics, options->metrics, err));
    for (size_t i = 0; i < options->n_metrics; i++) {
        const pq_metric_choice *m = &options->metrics[i];
        PQ_TRY(check_once(m->metric, &view, err));
        PQ_TRY(m->usual ? compute_usual(m->metric, m->params, &view, e, err)
                        : m->metric->compute(&view, m->params, &e->values, err));
    }
    for (size_t i = 0; options->n_metrics == 0 && pq_metrics[i] != NULL; i++) {
        PQ_TRY(check_once(pq_metrics[i], &view, err));
        PQ_TRY(compute_default(pq_metrics[i], &view, e, err));
    }
cleanup:
    return st;
}

pq_status pq_evaluate_metrics_check(const pq_graph *graph, size_t n,
                                    const pq_metric_choice *metrics, pq_err *err)
{
    const pq_evaluation view = {.head  = pq_graph_head(graph),
                                .width = pq_graph_width(graph)};
    pq_status           st   = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        const pq_metric *m = metrics[i].metric;
        const char      *why =
            m->refuses != NULL && !metrics[i].usual ? m->refuses(&view) : NULL;
        PQ_CHECK(why == NULL, PQ_ERR_CONFIG, "metric %s: %s", m->name, why);
    }
cleanup:
    return st;
}

pq_status pq_evaluate_check(const pq_graph *graph, const pq_dataset *dataset,
                            bool *assumed, pq_err *err)
{
    const pq_plan_options  options = {"reference", 1};
    const pq_dataset_info *data    = pq_dataset_describe(dataset);
    pq_evaluated           e       = {0};
    pq_plan               *plan    = NULL;
    pq_rescale             scale   = {0};
    pq_shape               shape;
    size_t                 width = 0;
    pq_status              st;

    PQ_CHECK(data->n_classes > 0, PQ_ERR_CONFIG, "%s: the labels are not classes",
             data->path);
    PQ_TRY(pq_plan_create_lean(graph, &options, &plan, err));
    PQ_TRY(pq_rescale_make(graph, data, &scale, err));
    PQ_TRY(pq_predict_check(plan, data, &scale, err));
    shape = pq_plan_output_shape(plan);
    (void)pq_shape_count(&shape, &width);
    PQ_TRY(output_classes(graph, data, width, &e, err));
    PQ_TRY(relabel(data, &e, err));
    *assumed = graph->class_names == NULL;
cleanup:
    pq_plan_free(&plan);
    pq_rescale_free(&scale);
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
    pq_graph              *open = NULL;
    pq_columns_of          of;
    pq_columns             columns;
    pq_status              st;

    PQ_CHECK(data->n_classes > 0, PQ_ERR_CONFIG, "%s: the labels are not classes",
             data->path);
    PQ_TRY(pq_graph_check(graph, err));
    PQ_TRY(open_end(graph, &open, err));
    e.opened = open != NULL;
    PQ_TRY(
        pq_predict(e.opened ? open : graph, dataset, split, &options->predict, &p, err));
    PQ_TRY(output_classes(graph, data, p.width, &e, err));
    e.n        = p.n;
    e.labels   = p.labels;
    p.labels   = NULL;
    e.kernels  = p.kernels;
    p.kernels  = NULL;
    e.negative = options->negative_weights;
    take_weights(options->unweighted, &p, &e);
    PQ_TRY(list_fallbacks(graph, options->predict.engine, &e, err));
    PQ_TRY(relabel(data, &e, err));
    PQ_TRY(take_outputs(e.opened ? open : graph, threads_of(options), &p, &e, err));
    PQ_TRY(describe_inputs(graph, &p, &e, err));
    of      = (pq_columns_of){dataset, split, options->predict.stride};
    columns = pq_columns_make(&of);
    PQ_TRY(compute_metrics(graph, options, &columns, &e, err));
    *out = e;
    e    = (pq_evaluated){0};
cleanup:
    pq_graph_free(&open);
    pq_predictions_free(&p);
    pq_evaluated_free(&e);
    return st;
}

pq_status pq_evaluate_network(const pq_graph *graph, const pq_evaluate_options *options,
                              pq_values *out, pq_err *err)
{
    pq_evaluated e  = {.values = *out};
    pq_status    st = compute_metrics(graph, options, NULL, &e, err);

    *out = e.values;
    return st;
}

void pq_evaluated_free(pq_evaluated *e)
{
    for (size_t c = 0; e->class_names != NULL && c < e->classes; c++) {
        pq_free(e->class_names[c]);
    }
    pq_free(e->class_names);
    pq_free(e->outputs);
    pq_free(e->rests);
    pq_free(e->tops);
    pq_free(e->inputs);
    pq_free(e->doubt);
    pq_free(e->labels);
    pq_free(e->weights);
    pq_values_free(&e->values);
    pq_free(e->kernels);
    for (size_t i = 0; i < e->n_fallbacks; i++) {
        pq_free(e->fallbacks[i]);
    }
    pq_free(e->fallbacks);
    for (size_t i = 0; i < e->n_refused; i++) {
        pq_free(e->refused[i]);
    }
    pq_free(e->refused);
    *e = (pq_evaluated){0};
}
