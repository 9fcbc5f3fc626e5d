/**
 * @file
 * Inside of the generator of HLS C++: types of values, and what each kind of layer
 * appends. Every value is exact until it meets a grid of the model, so that the numbers
 * are those of the engine `integer` (docs/quantization.md). For codegen/ only.
 */
#ifndef PQ_CODEGEN_HLS_H
#define PQ_CODEGEN_HLS_H

#include "codegen/codegen.h"
#include "core/text.h"
#include "layers/window.h"

enum {
    PQ_HLS_BITS  = 64, /**< most bits of a value */
    PQ_HLS_EXACT = 53, /**< most bits of a sum or product of values, which the engine
                          holds in double */
    PQ_HLS_TEXT     = 320,
    PQ_HLS_UNROLLED = 4096 /**< most products of a layer that are laid out side by side */
};

/** Values: multiples of 2^-fraction from lo to hi. */
typedef struct {
    double          lo, hi;
    int             fraction;
    const pq_quant *grid; /**< that they were rounded to, or NULL */
} pq_hls_type;

/** The source of one model as it grows. */
typedef struct {
    const pq_graph *graph; /**< checked */
    const char     *name;
    pq_hls_type    *type;         /**< [n_nodes] */
    pq_text         types;        /**< of NAME.cpp */
    pq_text         tables, body; /**< constants; statements of the function */
    size_t          weights;      /**< numbers in tables */
    size_t          values;       /**< of all nodes: on the stack where it is run */
} pq_hls;

/** Items of a node's value. */
size_t pq_hls_items(const pq_hls *h, size_t node);

/** Bits in all, the sign among them. */
int pq_hls_width(const pq_hls_type *t);

/** Appends the type in C++: with the modes of its grid, or that of a sum, which neither
 * rounds nor overflows. */
void pq_hls_type_add(const pq_hls *h, const pq_hls_type *t, pq_text *out);

/** Fraction bits of a number that a double holds exactly. */
int pq_hls_fraction(double value);

/** Both kinds of values. */
pq_hls_type pq_hls_both(const pq_hls_type *a, const pq_hls_type *b);

/** Type of what a node stores: that of its grid, else `exact`. Appends the type
 * v<node>_t, and v<node>_sum of what is before the grid, and the array v<node>.
 * @retval PQ_ERR_UNSUPPORTED  No fixed-point grid of one width, or more than PQ_HLS_BITS.
 * @retval PQ_ERR_RANGE        Values of eight bytes beyond PQ_CODEGEN_STACK. */
pq_status pq_hls_hold(pq_hls *h, size_t node, const pq_hls_type *exact, pq_err *err);

/** Appends a table of the codes of n values and their type, the least that holds them:
 * t<node><letter> and t<node><letter>_t. (Tables of fixed point would take a compiler
 * minutes.) */
pq_status pq_hls_table(pq_hls *h, size_t node, char letter, size_t n,
                       const double *values, pq_err *err);

/** Appends the statements of a node. */
pq_status pq_hls_input(pq_hls *h, size_t node, pq_err *err);
pq_status pq_hls_linear(pq_hls *h, size_t node, pq_err *err);
pq_status pq_hls_items_of(pq_hls *h, size_t node, pq_err *err);
pq_status pq_hls_pool(pq_hls *h, size_t node, pq_err *err);
pq_status pq_hls_moves(pq_hls *h, size_t node, pq_err *err);

#endif
