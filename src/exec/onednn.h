/**
 * @file
 * Layers of bytes by oneDNN. A build without it has onednn_none.c instead, which gives
 * no operation.
 */
#ifndef PQ_EXEC_ONEDNN_H
#define PQ_EXEC_ONEDNN_H

#include "exec/units.h"

/**
 * @param[in]  units  those of the step, borrowed, read now
 * @param[out] out    stays NULL where oneDNN has no fast kernel, or none that is exact
 */
pq_status pq_onednn_prepare(const pq_step *step, size_t tile, const pq_units *units,
                            pq_op **out, pq_err *err);

/** Adds ", oneDNN <version> <instruction set>"; nothing without it. */
void pq_onednn_describe(pq_text *out);

/** Instruction set that it uses, which may be less than the processor has; "" without it.
 */
const char *pq_onednn_isa(void);

#endif
