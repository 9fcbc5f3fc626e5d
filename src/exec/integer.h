/**
 * @file
 * How the integer engine computes a layer, for messages and records.
 */
#ifndef PQ_EXEC_INTEGER_H
#define PQ_EXEC_INTEGER_H

#include "graph/graph.h"

/**
 * One phrase: "int8 x int8 in int32", "table of 256 codes", … or "float: <reason>" for a
 * layer that is computed in double. Inputs and aliases: "".
 *
 * @param[in] graph  checked
 */
pq_status pq_integer_describe(const pq_graph *graph, size_t node, char *out, size_t size,
                              pq_err *err);

#endif
