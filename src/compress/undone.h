/**
 * @file
 * What a stage undoes of the stages before it: grids and pruned zeros that are gone.
 */
#ifndef PQ_COMPRESS_UNDONE_H
#define PQ_COMPRESS_UNDONE_H

#include "compress/method.h"

/** Whether a node came from a layer of another graph, and not from a piece of it that is
 * a layer there ("fc.b.b" came from "fc.b", not from "fc"). */
bool pq_came_from(const pq_graph *before, const char *name, const char *layer);

/**
 * Appends to the task's changes, layer by layer, what the graph held before and the
 * task's graph does not: grids of kernels and biases, pruned zeros, grids of activations.
 *
 * @param[in] before  checked
 * @param[in] keeps   the method's PQ_KEEPS_…: zeros that leave with channels are not
 *                    undone
 */
pq_status pq_note_undone(const pq_graph *before, unsigned keeps, pq_compress_task *task,
                         pq_err *err);

#endif
