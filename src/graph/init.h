/**
 * @file
 * The first values of weights.
 */
#ifndef PQ_GRAPH_INIT_H
#define PQ_GRAPH_INIT_H

#include "graph/graph.h"

/** How far the first weights spread: variance 2 / in, 2 / (in + out), 1 / in. */
typedef enum { PQ_INIT_HE, PQ_INIT_GLOROT, PQ_INIT_LECUN } pq_init;

/**
 * Draws every kernel anew from a normal distribution (one stream a layer, so
 * that the draws of a layer depend on seed and name only). Biases, beta and
 * mean become 0, gamma and variance 1.
 *
 * Source: He et al., arXiv:1502.01852; Glorot & Bengio, AISTATS 2010; LeCun et
 *         al., Efficient BackProp, 1998.
 */
void pq_graph_init_weights(pq_graph *graph, pq_init how, uint64_t seed);

#endif
