/**
 * @file
 * What this program leaves of a graph in the metadata of others' formats, and takes back.
 */
#ifndef PQ_FORMATS_LEFT_H
#define PQ_FORMATS_LEFT_H

#include "graph/graph.h"

/** A list of texts; NULL where there are none. */
json_t *pq_left_texts(size_t n, char *const *names);

/**
 * Takes class and feature names where they are as many as the graph has outputs and
 * features, and the steps of provenance.
 *
 * @param[in] steps     list of texts, or NULL
 * @param[in] classes   list of texts, or NULL
 * @param[in] features  list of texts, or NULL; anything but a list is left alone
 */
pq_status pq_left_take(pq_graph *graph, const json_t *steps, const json_t *classes,
                       const json_t *features, pq_err *err);

#endif
