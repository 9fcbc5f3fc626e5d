/**
 * @file
 * Who reads whom in a graph, and folding of BatchNorm into kernels: what
 * several methods need. For compress only.
 */
#ifndef PQ_COMPRESS_WIRING_H
#define PQ_COMPRESS_WIRING_H

#include "graph/graph.h"

/** Whether a node's layer is of this kind. */
bool pq_node_is(const pq_node *node, const char *kind);

/** Whether a node's layer is of a kind in a NULL-terminated list. */
bool pq_node_in(const pq_node *node, const char *const *kinds);

/** Kernel of a node (the weight whose role is PQ_WEIGHT_KERNEL), or NULL. */
pq_weight *pq_node_kernel(const pq_node *node);

/** The one node that reads `node`, or SIZE_MAX when there are none or several, or it is
 * the output. */
size_t pq_sole_reader(const pq_graph *graph, size_t node);

/** Gives a layer a bias of zeros where it has none. Pointers to its weights may move. */
pq_status pq_add_bias(pq_layer *layer, size_t outputs, pq_err *err);

/** Whether a kernel's quantizer goes along when a BatchNorm is folded. */
bool pq_grid_folds(const pq_quant *q);

/** BatchNorm that alone reads a dense or conv2d node, or SIZE_MAX. */
size_t pq_batch_norm_behind(const pq_graph *graph, size_t node);

/** BatchNorm that pq_fold_batch_norm() would fold into a dense or conv2d node, or
 * SIZE_MAX: a grid that goes along must hold each code with the sign of its factor, which
 * the lowest code of a full range, or a grid with a zero point, need not. */
size_t pq_foldable_batch_norm(const pq_graph *graph, size_t node);

/**
 * Folds the BatchNorm that alone reads a kernel's output into the kernel and
 * its bias (added where there is none), and takes it out of the graph:
 *
 *     W'[o, …] = W[o, …] g[o],  b'[o] = (b[o] - mean[o]) g[o] + beta[o],
 *     g[o] = gamma[o] / sqrt(variance[o] + epsilon)
 *
 * in double, rounded once. A quantizer of whole numbers with one scale an output channel
 * goes along, s'[o] = s[o] |g[o]|, codes kept; another one of the kernel is dropped, for
 * its scales no longer fit. Does nothing where there is nothing to fold. Node
 * indices after the BatchNorm fall by one.
 *
 * Source: Jacob et al., CVPR 2018, arXiv:1712.05877, eq. 14.
 */
pq_status pq_fold_batch_norm(pq_graph *graph, size_t node, pq_err *err);

#endif
