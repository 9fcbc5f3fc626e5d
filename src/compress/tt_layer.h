/**
 * @file
 * Layers as the tensors that trains are made of, and trains as layers. For compress
 * only.
 *
 * Dense, and convolutions in Garipov's form: axes (window,) n_1 m_1, …, n_d m_d of the
 * kernel [n_1 … n_d, window, m_1 … m_d]; they become dense layers of cores (trains or
 * rings) and tt_conv2d. Naive convolutions: axes in, height, width, out; they become 1 x
 * 1, h x 1, 1 x w, 1 x 1.
 */
#ifndef PQ_COMPRESS_TT_LAYER_H
#define PQ_COMPRESS_TT_LAYER_H

#include "compress/lowrank.h"
#include "linalg/tt.h"

/** Geometry of one layer. */
typedef struct {
    size_t   node;
    bool     conv, naive;
    bool     cores;          /**< the layer is a train already */
    size_t   d;              /**< modes, without the window */
    size_t   n[PQ_MAX_DIMS]; /**< output modes */
    size_t   m[PQ_MAX_DIMS]; /**< input modes */
    pq_shape kernel;         /**< [out, in] or [out, h, w, in] */
    pq_shape axes;           /**< of the tensor */
    size_t   count;          /**< values of the layer as it is, without its bias */
} pq_tt_layer;

/** Modes that are asked for: given, or `cores` of them to be chosen evenly. */
typedef struct {
    const pq_reals *in, *out;
    size_t          cores;
    bool            naive;
} pq_tt_wish;

/**
 * Reads the geometry of a dense or conv2d node, or one of their trains (of trains: their
 * own).
 * @retval PQ_ERR_SHAPE  Modes that do not multiply to the channels.
 */
pq_status pq_tt_layer_of(const pq_graph *graph, size_t node, const pq_tt_wish *wish,
                         pq_tt_layer *out, pq_err *err);

/** The kernel of a dense or conv2d node as a tensor of those axes, float64. */
pq_status pq_tt_layer_tensor(const pq_graph *graph, const pq_tt_layer *l, pq_tensor **out,
                             pq_err *err);

/** The train of a node that is one, float64. */
pq_status pq_tt_layer_train(const pq_graph *graph, const pq_tt_layer *l, pq_tt *out,
                            pq_err *err);

/** Puts the cores of a train, of a dense layer's ring, or the chain of a naive train into
 * the graph. */
pq_status pq_tt_layer_replace(pq_graph *graph, const pq_tt_layer *l, const pq_tt *tt,
                              pq_err *err);

/** Puts a dense layer or convolution with the kernel of a tensor into the graph. */
pq_status pq_tt_layer_rebuild(pq_graph *graph, const pq_tt_layer *l,
                              const pq_tensor *full, pq_err *err);

/** Values of a train of those axes and ranks [ndim - 1]. */
size_t pq_tt_layer_values(const pq_tt_layer *l, const size_t *rank);

/** Its operations for one sample; of convolutions in Garipov's form those of the kernel,
 * which they run with. */
double pq_tt_layer_macs(const pq_graph *graph, const pq_tt_layer *l, const size_t *rank);

/** Whether a node has a kernel, or is a tensor train already. */
bool pq_tt_accepts(const pq_graph *graph, const pq_node *node);

#endif
