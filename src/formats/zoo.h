/**
 * @file
 * Untrained reference networks by name.
 */
#ifndef PQ_FORMATS_ZOO_H
#define PQ_FORMATS_ZOO_H

#include "graph/init.h"

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
 * Builds a network whose weights are zeros, for those of a file.
 * @retval PQ_ERR_NOT_FOUND  No network of that name, with "did you mean".
 */
pq_status pq_zoo_build_empty(const char *name, pq_graph **out, pq_err *err);

/**
 * Builds a network with first weights.
 * @retval PQ_ERR_NOT_FOUND  No network of that name, with "did you mean".
 */
pq_status pq_zoo_build(const char *name, uint64_t seed, pq_graph **out, pq_err *err);

#endif
