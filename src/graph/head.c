#include "graph/head.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "core/text.h"

enum { HEADS = 6, SORTED = 64, SWAPPED = 8 };

static const double half = 0.5, sum_tolerance = 0.01, least_log = -69.0; /* ln 1e-30 */

const char *const pq_head_names[] = {"auto",   "softmax", "logits", "sigmoid",
                                     "binary", "none",    NULL};

static bool has_trait(const pq_node *node, unsigned trait)
{
    return node->n_inputs == 1 && pq_layer_is(node->layer, trait);
}

const char *pq_head_name(pq_head head)
{
    return pq_head_names[head == PQ_HEAD_AUTO ? PQ_HEAD_NONE : head];
}

size_t pq_head_node(const pq_graph *graph)
{
    size_t node = graph->output;

    while (has_trait(&graph->nodes[node], PQ_TRAIT_ALIAS)) {
        node = graph->nodes[node].inputs[0];
    }
    return node;
}

size_t pq_graph_width(const pq_graph *graph)
{
    size_t width = 0;

    return pq_shape_count(&graph->nodes[graph->output].shape, &width) ? width : 0;
}

static bool has_kernel(const pq_layer *layer)
{
    for (size_t w = 0; w < layer->n_weights; w++) {
        if (layer->kind->role(layer->weights[w].name) == PQ_WEIGHT_KERNEL) {
            return true;
        }
    }
    return false;
}

pq_head pq_head_derive(const pq_graph *graph)
{
    size_t      node = pq_head_node(graph);
    const char *kind = graph->nodes[node].layer->kind->name;

    if (strcmp(kind, "softmax") == 0) {
        return PQ_HEAD_SOFTMAX;
    }
    if (strcmp(kind, "sigmoid") == 0) {
        return pq_graph_width(graph) == 1 ? PQ_HEAD_BINARY : PQ_HEAD_SIGMOID;
    }
    while (has_trait(&graph->nodes[node], PQ_TRAIT_LINE) ||
           has_trait(&graph->nodes[node], PQ_TRAIT_ALIAS)) {
        node = graph->nodes[node].inputs[0];
    }
    return has_kernel(graph->nodes[node].layer) ? PQ_HEAD_LOGITS : PQ_HEAD_NONE;
}

pq_head pq_graph_head(const pq_graph *graph)
{
    return graph->head != PQ_HEAD_AUTO ? graph->head : pq_head_derive(graph);
}

void pq_graph_keep_head(pq_graph *graph)
{
    graph->head = pq_graph_head(graph);
}

bool pq_head_is_told(const pq_graph *graph)
{
    const char *kind = graph->nodes[pq_head_node(graph)].layer->kind->name;

    return graph->head == PQ_HEAD_AUTO || graph->head == pq_head_derive(graph) ||
           (strcmp(kind, "sigmoid") == 0 &&
            (graph->head == PQ_HEAD_SIGMOID || graph->head == PQ_HEAD_BINARY));
}

pq_status pq_head_check(const pq_graph *graph, pq_head head, pq_err *err)
{
    const size_t width = pq_graph_width(graph);
    const char  *kind  = graph->nodes[pq_head_node(graph)].layer->kind->name;
    const bool   said  = strcmp(kind, "softmax") == 0 || strcmp(kind, "sigmoid") == 0;
    pq_status    st;

    PQ_CHECK(head != PQ_HEAD_BINARY || width == 1, PQ_ERR_CONFIG,
             "head = binary is of one output, but the model has %zu", width);
    PQ_CHECK(head != PQ_HEAD_SIGMOID || width > 1, PQ_ERR_CONFIG,
             "head = sigmoid is of several outputs, but the model has one: head binary");
    PQ_CHECK(
        head != PQ_HEAD_SOFTMAX || width > 1 || strcmp(kind, "softmax") == 0,
        PQ_ERR_CONFIG,
        "head = softmax: the model has one output, and a softmax over one is always 1");
    PQ_CHECK(!said || head == PQ_HEAD_AUTO || head == PQ_HEAD_NONE ||
                 head == pq_head_derive(graph),
             PQ_ERR_CONFIG, "head = %s: the model ends in a %s, whose head is %s",
             pq_head_name(head), kind, pq_head_name(pq_head_derive(graph)));
cleanup:
    return st;
}

bool pq_head_find(const char *name, pq_head *out)
{
    for (size_t i = 0; pq_head_names[i] != NULL; i++) {
        if (strcmp(pq_head_names[i], name) == 0) {
            *out = (pq_head)i;
            return true;
        }
    }
    return false;
}

pq_status pq_graph_set_head(pq_graph *graph, const char *name, pq_err *err)
{
    const char *near = pq_nearest(name, pq_head_names, HEADS);
    pq_head     head = PQ_HEAD_AUTO;
    pq_status   st;

    PQ_CHECK(pq_head_find(name, &head), PQ_ERR_CONFIG,
             "head = '%s' is none of auto, softmax, logits, sigmoid, binary, none%s%s%s",
             name, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
             near != NULL ? "'?" : "");
    if (head == PQ_HEAD_SIGMOID && pq_graph_width(graph) == 1) {
        head = PQ_HEAD_BINARY;
    }
    PQ_TRY(pq_head_check(graph, head, err));
    graph->head = head != PQ_HEAD_AUTO ? head : graph->head;
cleanup:
    return st;
}

size_t pq_head_classes(pq_head head, size_t width)
{
    return width == 1 && head != PQ_HEAD_SOFTMAX ? 2 : width;
}

const char *pq_head_no_probability(pq_head head)
{
    return head == PQ_HEAD_NONE
               ? "the model's outputs are no probabilities and no logits as far as its "
                 "last layer tells (head none); name what they are: head logits, "
                 "softmax, sigmoid or binary"
               : NULL;
}

const char *pq_head_no_decision(pq_head head, size_t width)
{
    return head == PQ_HEAD_NONE && width == 1
               ? "where the model's one output decides is not known (head none); name "
                 "what it is: head logits decides at 0, binary at 0.5"
               : NULL;
}

const char *pq_head_assumed(pq_head head, size_t width)
{
    if (head == PQ_HEAD_LOGITS) {
        return width == 1 ? "the output is taken as a logit of the second class, p = 1 / "
                            "(1 + exp(-z))"
                          : "the outputs are taken as logits: probabilities by softmax";
    }
    return head == PQ_HEAD_NONE
               ? "what the outputs are is not known: they only rank events (head none)"
               : NULL;
}

const char *pq_head_meaning(pq_head head, size_t width)
{
    switch (head) {
    case PQ_HEAD_SOFTMAX:
        return "probabilities of a softmax";
    case PQ_HEAD_LOGITS:
        return width == 1 ? "a logit of the second class"
                          : "logits, probabilities by softmax";
    case PQ_HEAD_SIGMOID:
        return "independent sigmoids, one a class";
    case PQ_HEAD_BINARY:
        return "one sigmoid, the probability of the second class";
    case PQ_HEAD_AUTO:
    case PQ_HEAD_NONE:
        break;
    }
    return "numbers that rank, without known probabilities";
}

const char *pq_head_alike(pq_head head, size_t width)
{
    if (pq_head_no_decision(head, width) != NULL) {
        return "have the same output";
    }
    if (head == PQ_HEAD_SIGMOID) {
        return "have the same outputs at 0.5 or above";
    }
    return width > 1                ? "have the same largest output"
           : head == PQ_HEAD_BINARY ? "have the output on the same side of 0.5"
                                    : "have the output on the same side of 0";
}

static size_t largest(size_t width, const float *row)
{
    size_t best = 0;

    for (size_t i = 1; i < width; i++) {
        best = row[i] > row[best] ? i : best;
    }
    return best;
}

size_t pq_head_decide(pq_head head, size_t width, const float *row)
{
    if (width > 1) {
        return largest(width, row);
    }
    return (double)row[0] > (head == PQ_HEAD_BINARY ? half : 0.0) ? 1 : 0;
}

bool pq_head_agree(pq_head head, size_t width, const float *a, const float *b)
{
    bool same = true;

    if (pq_head_no_decision(head, width) != NULL) {
        return !(a[0] < b[0]) && !(a[0] > b[0]);
    }
    if (head != PQ_HEAD_SIGMOID) {
        return pq_head_decide(head, width, a) == pq_head_decide(head, width, b);
    }
    for (size_t i = 0; i < width; i++) {
        same = same && ((double)a[i] >= half) == ((double)b[i] >= half);
    }
    return same;
}

/* Sum of n terms; sorts few of them, so that their order does not matter. */
static double sum_of(double *terms, size_t n)
{
    double sum = 0.0;

    for (size_t i = 1; i < n && n <= SWAPPED; i++) { /* without branches */
        for (size_t k = i; k > 0; k--) {
            const double a = terms[k - 1], b = terms[k];
            terms[k - 1] = b < a ? b : a;
            terms[k]     = b < a ? a : b;
        }
    }
    for (size_t i = 1; i < n && n > SWAPPED; i++) {
        for (size_t k = i; k > 0 && terms[k] < terms[k - 1]; k--) {
            const double t = terms[k];
            terms[k]       = terms[k - 1];
            terms[k - 1]   = t;
        }
    }
    for (size_t i = 0; i < n; i++) {
        sum += terms[i];
    }
    return sum;
}

pq_head_norm pq_head_normalise(pq_head head, size_t width, const float *row)
{
    double       terms[SORTED], rest = 0.0;
    size_t       best, n             = 0;
    pq_head_norm norm = {0.0, 0.0};

    if (head != PQ_HEAD_LOGITS || width == 1) {
        return norm;
    }
    best     = largest(width, row);
    norm.top = (double)row[best];
    for (size_t i = 0; i < width; i++) {
        const double term = exp((double)row[i] - norm.top);
        if (i != best && width <= SORTED) {
            terms[n++] = term;
        } else if (i != best) {
            rest += term;
        }
    }
    norm.rest = log1p(width <= SORTED ? sum_of(terms, n) : rest);
    return norm;
}

static double logistic(double z)
{
    return 1.0 / (1.0 + exp(-z));
}

double pq_head_probability(pq_head head, size_t width, const float *row,
                           pq_head_norm norm, size_t class_index)
{
    if (head == PQ_HEAD_LOGITS) {
        return width > 1 ? exp(pq_head_score(width, row, norm, class_index))
                         : logistic(class_index == 1 ? (double)row[0] : -(double)row[0]);
    }
    if (width == 1) {
        return class_index == 1 ? (double)row[0] : 1.0 - (double)row[0];
    }
    return (double)row[class_index];
}

static double minus_log(double p)
{
    return -log(fmin(fmax(p, (double)FLT_EPSILON), 1.0));
}

/* ln(1 + exp(z)), also of large z. */
static double log_1p_exp(double z)
{
    return fmax(z, 0.0) + log1p(exp(-fabs(z)));
}

double pq_head_loss(pq_head head, size_t width, const float *row, size_t label)
{
    const pq_head_norm norm = pq_head_normalise(head, width, row);
    double             sum  = 0.0;

    if (head == PQ_HEAD_LOGITS) {
        const double z = width == 1 && label == 0 ? -(double)row[0] : (double)row[0];
        return width == 1 ? log_1p_exp(-z) : -pq_head_score(width, row, norm, label);
    }
    if (head != PQ_HEAD_SIGMOID) {
        return minus_log(pq_head_probability(head, width, row, norm, label));
    }
    for (size_t i = 0; i < width; i++) {
        sum += minus_log(i == label ? (double)row[i] : 1.0 - (double)row[i]);
    }
    return sum;
}

/* p ln(p / q) by logarithms, those of nothing cut off. */
static double part(double p, double log_p, double log_q)
{
    return p * (fmax(log_p, least_log) - fmax(log_q, least_log));
}

static double of_coins(double p, double q)
{
    return part(p, log(p), log(q)) + part(1.0 - p, log1p(-p), log1p(-q));
}

double pq_head_divergence(pq_head head, size_t width, const float *a, const float *b)
{
    const pq_head_norm of_a = pq_head_normalise(head, width, a),
                       of_b = pq_head_normalise(head, width, b);
    double sum              = 0.0;

    if (head == PQ_HEAD_LOGITS && width == 1) {
        const double z = (double)a[0], w = (double)b[0];
        return logistic(z) * (log_1p_exp(-w) - log_1p_exp(-z)) +
               logistic(-z) * (log_1p_exp(w) - log_1p_exp(z));
    }
    for (size_t i = 0; i < width; i++) {
        const double x = pq_head_score(width, a, of_a, i),
                     y = pq_head_score(width, b, of_b, i);
        sum += head == PQ_HEAD_LOGITS    ? exp(x) * (x - y)
               : head == PQ_HEAD_SOFTMAX ? part(x, log(x), log(y))
                                         : of_coins((double)a[i], (double)b[i]);
    }
    return sum;
}

static pq_status check_row(pq_head head, size_t event, size_t width, const float *row,
                           pq_err *err)
{
    double    sum = 0.0;
    pq_status st  = PQ_OK;

    for (size_t i = 0; i < width; i++) {
        PQ_CHECK(row[i] >= 0.0F && row[i] <= 1.0F, PQ_ERR_CONFIG,
                 "head = %s, but the model's output %zu of event %zu is %g, not in 0..1",
                 pq_head_name(head), i, event, (double)row[i]);
        sum += (double)row[i];
    }
    PQ_CHECK(head != PQ_HEAD_SOFTMAX || fabs(sum - 1.0) <= sum_tolerance, PQ_ERR_CONFIG,
             "head = softmax, but the model's outputs of event %zu sum to %g, not to 1",
             event, sum);
cleanup:
    if (st != PQ_OK) {
        pq_err_hint(
            err, head == PQ_HEAD_SIGMOID
                     ? "outputs of one logit each need a sigmoid in the model; head none "
                       "takes them to rank events"
                     : "outputs before their softmax or sigmoid are logits: head "
                       "logits");
    }
    return st;
}

pq_status pq_head_check_outputs(const pq_graph *graph, size_t n, const float *outputs,
                                pq_err *err)
{
    const pq_head head  = pq_graph_head(graph);
    const size_t  width = pq_graph_width(graph);
    pq_status     st    = PQ_OK;

    for (size_t i = 0; i < n * width; i++) {
        PQ_CHECK(isfinite(outputs[i]), PQ_ERR_NUMERIC,
                 "the model's output %zu of event %zu is not finite", i % width,
                 i / width);
    }
    if (head == pq_head_derive(graph) || head == PQ_HEAD_LOGITS || head == PQ_HEAD_NONE) {
        return PQ_OK;
    }
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(check_row(head, i, width, outputs + i * width, err));
    }
cleanup:
    return st;
}

void pq_graph_leave_softmax(pq_graph *graph)
{
    const pq_node *last = &graph->nodes[graph->output];

    if (strcmp(last->layer->kind->name, "softmax") == 0) {
        graph->output = last->inputs[0];
    }
}
