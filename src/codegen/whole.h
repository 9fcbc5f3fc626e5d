/**
 * @file
 * Generated code in whole numbers: how values are held, and what each kind of step
 * appends. The definition is that of the engine `integer` (docs/quantization.md), whose
 * bits come out. For codegen/ only.
 */
#ifndef PQ_CODEGEN_WHOLE_H
#define PQ_CODEGEN_WHOLE_H

#include "codegen/emit.h"
#include "exec/units.h"

/** How the value of a node lies in memory. */
typedef enum {
    PQ_HELD_NOT,
    PQ_HELD_SMALL, /**< code - least code, of at most 8 bits: V(act) */
    PQ_HELD_CODES, /**< int32_t codes */
    PQ_HELD_SUMS,  /**< int32_t; times a multiplier of the channel */
    PQ_HELD_WIDE,  /**< the same in int64_t */
    PQ_HELD_REALS, /**< double */
    PQ_HELD_FLOATS /**< float: what cannot be whole, at the end */
} pq_held_form;

typedef struct {
    pq_held_form    form;
    const pq_quant *grid;         /**< of codes */
    pq_units       *units;        /**< of sums; owned */
    size_t          table, width; /**< of sums: number of the multipliers, channels */
    size_t          panels; /**< of 16 codes that are kept in registers, too, or 0 */
    bool            quads;  /**< in sets with QUADS as two of four codes instead */
} pq_held;

/** The source of a model in whole numbers as it grows. */
typedef struct {
    pq_emitter *e;
    pq_held    *held;  /**< [n_nodes], of roots */
    bool       *taken; /**< [n_nodes] computed along with an earlier node */
    size_t     *table; /**< [n_nodes] number of the function that gives a node's code */
} pq_whole;

/** Node whose memory a node's value is. */
size_t pq_whole_root(const pq_whole *w, size_t node);

/** Name of C of a node's values: v<root>. */
const char *pq_whole_name(const pq_whole *w, size_t node, char text[32]);

const pq_held *pq_whole_held(const pq_whole *w, size_t node);

/** Appends an expression of type double: item `index` of a node's values. */
void pq_whole_value(pq_whole *w, size_t node, const char *index);

/** Makes room for the values of a node in a form, and declares them. */
pq_status pq_whole_hold(pq_whole *w, size_t node, pq_held_form form, pq_err *err);

/** The form of a node's values by its grid. @retval PQ_ERR_UNSUPPORTED  Several scales,
 * or a grid without codes. */
pq_status pq_whole_form(const pq_whole *w, size_t node, pq_held_form *out, pq_err *err);

/** Keeps the codes of a node in registers, too: declares l<node>_<panel>, which every
 * panel is then given by KEEP. As quads: l<node>_q, too. */
void pq_whole_keep(pq_whole *w, size_t node, size_t panels, bool quads);

/** The function code<node>(v): defines it once. */
void pq_whole_code(pq_whole *w, size_t node);

/** Appends an assignment of the double `v` to item `index`, by the node's form. */
pq_status pq_whole_store(pq_whole *w, size_t node, const char *index, const char *v,
                         pq_err *err);

/** Whether a kind is a line on both sides of a bend: relu, leaky_relu, clip. */
bool pq_whole_bends(const pq_layer *layer);

/** Appends `v = …;` of such a kind. */
void pq_whole_bend(const pq_layer *layer, pq_text *out);

/** A function of one value, as its layer defines it. */
double pq_whole_through(const pq_layer *layer, double x);

/** What is kept of a grid: its least code, and its largest above that. */
int pq_grid_least(const pq_quant *grid);
int pq_grid_most(const pq_quant *grid);

/** Appends a table of whole numbers of a C type, named t<number><letter>. */
pq_status pq_whole_table(pq_whole *w, const char *type, char letter, size_t number,
                         size_t n, const int64_t *values, pq_err *err);
/** Of doubles or floats. */
pq_status pq_whole_reals(pq_whole *w, const char *type, char letter, size_t number,
                         size_t n, const double *values, pq_err *err);

pq_status pq_whole_input(pq_whole *w, size_t node, pq_err *err);
/** dense, conv2d; takes following nodes along. */
pq_status pq_whole_linear(pq_whole *w, size_t node, pq_err *err);
pq_status pq_whole_items(pq_whole *w, size_t node, pq_err *err);
/** add and multiply: of two codes of at most 8 bits, up to the next such code, as a
 * table; others item by item. */
pq_status pq_whole_pairs(pq_whole *w, size_t node, pq_err *err);
pq_status pq_whole_pool(pq_whole *w, size_t node, pq_err *err);
pq_status pq_whole_moves(pq_whole *w, size_t node, pq_err *err);
pq_status pq_whole_softmax(pq_whole *w, size_t node, pq_err *err);

/** Whether a graph has values on grids: it is generated in whole numbers. */
bool pq_whole_is(const pq_graph *graph);

/** The body and tables of a checked graph. */
pq_status pq_whole_emit(pq_emitter *e, pq_err *err);

#endif
