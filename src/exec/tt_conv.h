/**
 * @file
 * tt_conv2d in float32: its kernel is rebuilt once, when the step is prepared, and runs
 * as conv2d does (exec/linear.h). For images of CIFAR's size that is faster than the
 * cores one by one. Source: Garipov et al., arXiv:1611.03214 (`tt_conv_full` of their
 * code).
 */
#ifndef PQ_EXEC_TT_CONV_H
#define PQ_EXEC_TT_CONV_H

#include "layers/layer.h"

/** A conv2d layer with the kernel, attributes and bias of a tt_conv2d layer; caller
 * frees. */
pq_status pq_tt_conv_rebuild(const pq_layer *layer, pq_layer **out, pq_err *err);

#endif
