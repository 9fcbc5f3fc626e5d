/**
 * @file
 * Widths of weights and activations, for the counts of bit operations. For metrics only.
 */
#ifndef PQ_METRICS_BITS_H
#define PQ_METRICS_BITS_H

#include "graph/graph.h"

/** Bits of a node's values: of its quantizer, or of the one whose codes it hands on; 32
 * without. */
double pq_activation_bits(const pq_graph *graph, size_t node);

/** Bits of one item of a weight; 0 for a zero. */
double pq_item_bits(const pq_weight *w, size_t item);

#endif
