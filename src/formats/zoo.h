/**
 * @file
 * Untrained reference networks by name, and the first values of weights.
 */
#ifndef PQ_FORMATS_ZOO_H
#define PQ_FORMATS_ZOO_H

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

/** One network. */
typedef struct {
    const char *name;
    const char *summary; /**< layers, and where it is from */
    pq_init     init;
    /** Adds the layers to an empty graph; weights are zero. */
    pq_status (*build)(pq_graph *graph, pq_err *err);
} pq_zoo_net;

/** All networks in a fixed order; the last has no name. */
extern const pq_zoo_net pq_zoo_nets[];

/** Whether a name is one of a network here. */
bool pq_zoo_has(const char *name);

/**
 * Builds a network with first weights.
 * @retval PQ_ERR_NOT_FOUND  No network of that name, with "did you mean".
 */
pq_status pq_zoo_build(const char *name, uint64_t seed, pq_graph **out, pq_err *err);

#endif
