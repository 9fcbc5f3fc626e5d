/**
 * @file
 * Generated code in whole numbers, instruction set by instruction set: operations on
 * vectors, the function once with each, and the choice among them. For codegen/ only.
 */
#ifndef PQ_CODEGEN_WHOLE_SETS_H
#define PQ_CODEGEN_WHOLE_SETS_H

#include "codegen/emit.h"

/** Headers, and what every set and every model uses. */
void pq_whole_prelude(pq_text *out);

/** Operations, and the model's function with them, for every set up to e->isa. */
void pq_whole_sets(const pq_emitter *e, pq_text *out);

/** The pointer to the best of them that the processor has, and its name. */
void pq_whole_choice(const pq_emitter *e, pq_text *out);

#endif
