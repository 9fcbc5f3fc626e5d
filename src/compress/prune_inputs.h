/**
 * @file
 * Inputs of a network that nobody reads: features whose weights are all zero, or belong
 * to rows that go. For structured_prune only.
 */
#ifndef PQ_COMPRESS_PRUNE_INPUTS_H
#define PQ_COMPRESS_PRUNE_INPUTS_H

#include "compress/prune_select.h"

/**
 * Takes the unread channels of the first input along with what a selection takes, and
 * appends a change that names them. Names are the graph's, else those of the events at
 * hand, which then become the graph's. Without any all inputs stay, since events could
 * not be read for the rest; the change says that.
 *
 * @param[in,out] s     chosen; `gone` and `left` grow
 * @param[in,out] task  gets the change
 * @param[out]    err   details of a failure, or NULL
 */
pq_status pq_prune_unread_inputs(pq_prune_selection *s, pq_compress_task *task,
                                 pq_err *err);

#endif
