/**
 * @file
 * Generated code in float32, instruction set by instruction set: operations on vectors of
 * 16 floats, the functions with each, and the choice among them. For codegen/ only.
 *
 * A vector `vu` is made of parts as wide as the registers of a set are:
 *
 *     ZERO(v)  LOAD(v, from)  SPREAD(v, a)  PUT(to, v)  SOME(to, v, n)
 *     MAC(s, x, w)   s += x times the 16 floats at w
 *     MULTIPLY(s, x, w)  s += x times the vector w
 *     JOIN(s, t)     s += t
 *     RELU(v)  LEAKY(v, slope)  CLIP(v, lo, hi)  SCALE(v, factor)
 *
 * are statements that end by themselves.
 */
#ifndef PQ_CODEGEN_FLOAT_SETS_H
#define PQ_CODEGEN_FLOAT_SETS_H

#include "codegen/emit.h"

/** Headers, operations, tables, the functions of the model, and the choice. */
void pq_float_sets(const pq_emitter *e, pq_text *out);

#endif
