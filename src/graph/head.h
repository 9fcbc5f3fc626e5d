/**
 * @file
 * The head of a model: what its outputs mean. The one place that says how outputs rank,
 * decide, and become probabilities; metrics, loss rules, differences, training and
 * reports all ask here.
 *
 * | head    | outputs                     | probability of a class             | decision
 * |
 * |---------|-----------------------------|------------------------------------|----------|
 * | softmax | one a class, they sum to 1  | the output                         | largest
 * | | logits  | one a class                 | softmax                            |
 * largest  | | logits  | one for two classes, z      | of the second: 1 / (1 + exp(-z))
 * | z > 0    | | sigmoid | one a class, each for itself| the output | largest  | | binary
 * | one for two classes, p      | of the second: p                   | p > 0.5  | | none
 * | numbers that rank           | unknown                            | largest, | | | |
 * | of one: unknown |
 *
 * Of equal outputs the first class wins, so p = 0.5 and z = 0 are the first class.
 */
#ifndef PQ_GRAPH_HEAD_H
#define PQ_GRAPH_HEAD_H

#include "graph/graph.h"

/** Names by index, NULL-terminated; index 0 is "auto", the head that the layers tell. */
extern const char *const pq_head_names[];

/** "softmax", …; never "auto". */
const char *pq_head_name(pq_head head);

/** Node that makes the outputs, seen through layers that change no value. */
size_t pq_head_node(const pq_graph *graph);

/**
 * What the last layers tell: softmax; sigmoid, of one output binary; logits of a layer
 * with a kernel and no activation, seen through what is linear (BatchNorm, scale, means);
 * else none. The graph must be checked.
 */
pq_head pq_head_derive(const pq_graph *graph);

/** The head that the model keeps, else the one that its layers tell. Checked graph. */
pq_head pq_graph_head(const pq_graph *graph);

/** Outputs of one sample. Checked graph. */
size_t pq_graph_width(const pq_graph *graph);

/**
 * Names the head of a checked graph; "auto" keeps what it has. Of one output, sigmoid is
 * binary.
 * @retval PQ_ERR_CONFIG  Unknown, or it cannot be: the last layer says otherwise, or the
 * number of outputs.
 */
pq_status pq_graph_set_head(pq_graph *graph, const char *name, pq_err *err);

/** Makes what goes into a softmax at the end the output of a graph: a decision needs no
 * more. Nothing without one. */
void pq_graph_leave_softmax(pq_graph *graph);

/** Whether a head can be of a checked graph. @retval PQ_ERR_CONFIG  With the reason. */
pq_status pq_head_check(const pq_graph *graph, pq_head head, pq_err *err);

/** Head of a name. */
bool pq_head_find(const char *name, pq_head *out);

/** Whether the layers alone tell the head that the graph has; files and hashes hold it
 * only where not. The graph need not be checked. */
bool pq_head_is_told(const pq_graph *graph);

/** Makes what the layers tell the model's own, so that it stays when layers change. */
void pq_graph_keep_head(pq_graph *graph);

/** Classes that `width` outputs tell apart: of one output two, but for a softmax. */
size_t pq_head_classes(pq_head head, size_t width);

/** Why there is no probability, hence no log loss; NULL where there is. */
const char *pq_head_no_probability(pq_head head);

/** Why there is no decision; NULL where there is. */
const char *pq_head_no_decision(pq_head head, size_t width);

/** What is assumed about outputs that do not tell, for a note; NULL where nothing is. */
const char *pq_head_assumed(pq_head head, size_t width);

/** One sentence for reports: "independent sigmoids, one a class". */
const char *pq_head_meaning(pq_head head, size_t width);

/** What two rows that agree have in common: "have the same largest output". */
const char *pq_head_alike(pq_head head, size_t width);

/** Class that a row of outputs decides for. Only where there is a decision. */
size_t pq_head_decide(pq_head head, size_t width, const float *row);

/**
 * Whether two rows decide alike: for the same class, with independent sigmoids the same
 * side of 0.5 (p >= 0.5) for every output; without a decision, equal outputs.
 */
bool pq_head_agree(pq_head head, size_t width, const float *a, const float *b);

/** log sum exp of a row of logits, in two parts that keep what is small beside what is
 * large: `top` + `rest`. */
typedef struct {
    double top;  /**< largest logit */
    double rest; /**< log sum exp(logit - top) >= 0; the same for any order of logits, up
                    to 64 of them */
} pq_head_norm;

/** Largest of a row of outputs. */
static inline float pq_head_top(size_t width, const float *row)
{
    float top = row[0];

    for (size_t i = 1; i < width; i++) {
        top = row[i] > top ? row[i] : top;
    }
    return top;
}

/** {0} for other heads than logits, and for one output. */
pq_head_norm pq_head_normalise(pq_head head, size_t width, const float *row);

/**
 * What events are ranked by for a class: rises with its probability, in double, and
 * without the ties of a float probability near 1.
 */
static inline double pq_head_score(size_t width, const float *row, pq_head_norm norm,
                                   size_t class_index)
{
    if (width == 1) {
        return class_index == 1 ? (double)row[0] : -(double)row[0];
    }
    return (double)row[class_index] - norm.top - norm.rest;
}

/** Probability of a class; only where there is one. */
double pq_head_probability(pq_head head, size_t width, const float *row,
                           pq_head_norm norm, size_t class_index);

/** -ln p(label) in nats, p at least FLT_EPSILON where it is an output; of independent
 * sigmoids the sum over outputs. Only where there is a probability. */
double pq_head_loss(pq_head head, size_t width, const float *row, size_t label);

/** KL(a || b) in nats; of independent sigmoids the sum over outputs. As above. */
double pq_head_divergence(pq_head head, size_t width, const float *a, const float *b);

/**
 * Whether outputs are finite, and can be what the head says where the layers do not say
 * it too: probabilities lie in 0..1, those of a softmax sum to 1 within 1 %.
 * @retval PQ_ERR_CONFIG   Event, output and value are named.
 * @retval PQ_ERR_NUMERIC  An output is not finite.
 */
pq_status pq_head_check_outputs(const pq_graph *graph, size_t n, const float *outputs,
                                pq_err *err);

#endif
