/**
 * @file
 * Softmax of few values as one vector, a function of the generated source. For codegen/
 * only.
 */
#ifndef PQ_CODEGEN_SOFTMAX_H
#define PQ_CODEGEN_SOFTMAX_H

#include "codegen/emit.h"

/** Defines softmax<n>(in, out), once, for n of at most PQ_SOFTMAX_MOST; `in` is read in
 * vectors of 4, 8 or 16, what is beyond n counts as nothing. */
void pq_softmax_define(pq_emitter *e, size_t n);

#endif
