/**
 * @file
 * Operations of the integer engine, one maker each. Values are as pq_code_grid()
 * says: int32 codes, or doubles. For integer.c only.
 */
#ifndef PQ_EXEC_INTEGER_OPS_H
#define PQ_EXEC_INTEGER_OPS_H

#include "exec/units.h"

/** Where a step's result goes. */
typedef struct {
    const pq_graph *graph;
    size_t          node, count; /**< values of a sample */
    const pq_quant *grid;        /**< NULL: doubles */
    const pq_quant *quant;       /**< of doubles, one scale an index, or NULL */
} pq_int_out;

pq_int_out pq_int_out_of(const pq_step *step);

/** Stores value `item` of a result [n, count]. */
void pq_int_store(const pq_int_out *out, size_t item, double value, void *to);

/** dense and conv2d on codes; takes the units, also on failure. */
pq_status pq_int_linear(const pq_step *step, pq_units *units, pq_op **out, pq_err *err);

/** Maximum or mean under windows of codes; NULL where the layer is no such pool, or its
 * windows have too many cells for an exact sum. */
pq_status pq_int_pool(const pq_step *step, pq_op **out, pq_err *err);

#endif
