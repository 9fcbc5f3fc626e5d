/**
 * @file
 * Inside of the generator: the source as it grows, and what each kind of layer appends.
 * For codegen/ only.
 */
#ifndef PQ_CODEGEN_EMIT_H
#define PQ_CODEGEN_EMIT_H

#include "codegen/codegen.h"
#include "core/text.h"
#include "layers/window.h"

/** Floats of a vector in the generated code. */
enum { PQ_LANES = 16 };

/** Most values of a softmax in one vector. */
enum { PQ_SOFTMAX_MOST = 16 };

/** A node that is computed, and the chain of its only readers that is computed with it:
 * batch_norm layers (behind kernels only), then functions of one value. */
typedef struct {
    size_t node, last; /**< alike without a chain */
} pq_emit_step;

/** The source of one model as it grows. */
typedef struct {
    const pq_graph    *graph; /**< checked */
    const char        *name;  /**< of the model in C */
    pq_codegen_isa     isa;
    bool               alone;  /**< the variant of that set and no other */
    pq_text            tables; /**< constants */
    pq_text            body;   /**< statements of the function */
    pq_text            block;  /**< statements for several events: events.h; or empty */
    pq_text            places; /**< of whole numbers: declarations of where values lie */
    uint64_t           shared; /**< multiplications of layers that share their weights */
    char             **place;  /**< [n_nodes] C expression of a node's values, or NULL */
    size_t            *reader; /**< [n_nodes] only reader of a node, or SIZE_MAX */
    size_t             n_tables;
    const char        *scaled; /**< place of the input through the scaler, or NULL */
    size_t             scaler; /**< its table of means; the next are the factors */
    bool               softmax[PQ_SOFTMAX_MOST + 1]; /**< which widths are defined */
    bool               whole;                        /**< in whole numbers: whole.h */
    bool               exact; /**< the answer is that of the engine bit by bit */
    bool               tiles; /**< some layer uses tiles (AMX) */
    pq_codegen_summary summary;
} pq_emitter;

/** The highest set, up to `most`, that generated C has a variant for and this processor
 * has; asks the system for tiles where it is that. */
pq_codegen_isa pq_emit_best(bool whole, pq_codegen_isa most);

/** Which nodes the output depends on, and the only reader of each.
 * @param[out] used  [n_nodes], false before */
void pq_emit_readers(pq_emitter *e, bool *used);

/** Items of a node's value. */
size_t pq_emit_items(const pq_emitter *e, size_t node);

/** Whether the source has a variant of a set. */
static inline bool pq_emit_has(const pq_emitter *e, pq_codegen_isa isa)
{
    return e->alone ? isa == e->isa : isa <= e->isa;
}

enum { PQ_TILES_BYTES = 4096 /**< of stack: sums of four tiles */ };

/** Most bytes of stack of a call: the portable variant of whole numbers holds each byte
 * as a float. */
static inline size_t pq_emit_stack(const pq_emitter *e)
{
    const size_t bytes    = e->summary.stack_bytes * (e->whole ? sizeof(float) : 1);
    const size_t in_tiles = e->tiles ? e->summary.stack_bytes + PQ_TILES_BYTES : 0;

    return bytes > in_tiles ? bytes : in_tiles;
}

/** Width of a node's last axis. */
size_t pq_emit_width(const pq_emitter *e, size_t node);

/** C expression of what a step reads as input i. */
const char *pq_emit_input(const pq_emitter *e, const pq_emit_step *s, size_t i);

/** Appends a table of n numbers, rounded to float32, aligned for vectors.
 * @param[out] number  of the table: its name is t<number>
 * @retval PQ_ERR_NUMERIC  A number is none in float32.
 * @retval PQ_ERR_RANGE    More than PQ_CODEGEN_WEIGHTS in all. */
pq_status pq_emit_table(pq_emitter *e, size_t n, const double *values, size_t *number,
                        pq_err *err);

/** Whether a kind is a function of one value, value by value. */
bool pq_emit_is_function(const pq_layer *layer);

/** Next node of a step's chain behind `node`. */
size_t pq_emit_next(const pq_emitter *e, size_t node);

/** Whether all functions of a step's chain behind node `from` work on vectors. */
bool pq_emit_vectors(const pq_emitter *e, const pq_emit_step *s, size_t from);

/** Appends statements that apply the functions of the chain behind `from` to the variable
 * `v`: a vector, or a float. Nothing where there are none. */
void pq_emit_functions(pq_emitter *e, const pq_emit_step *s, size_t from, const char *v,
                       bool vector);

/** Appends a loop that applies them to n values at `place`, where there are any. */
void pq_emit_functions_over(pq_emitter *e, const pq_emit_step *s, size_t from,
                            const char *place, size_t n);

/** Opens the loops over the positions p, q of a pool's window and its channels c, with
 * the rows r0 .. r1 - 1 and columns c0 .. c1 - 1 that lie in the image. */
void pq_emit_windows(pq_emitter *e, const pq_window *w);

/** The input as the layers see it, and its place: the caller's array, or that through the
 * scaler. */
pq_status pq_emit_scaler(pq_emitter *e, size_t input, pq_err *err);

/** What a kind appends for a step whose node is of it. */
typedef pq_status (*pq_emit_kind)(pq_emitter *e, const pq_emit_step *s, pq_err *err);

pq_status pq_emit_dense(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_conv2d(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_norm(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_values(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_combine(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_softmax(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_layer_norm(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_pool(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_global_pool(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_masked_pool(pq_emitter *e, const pq_emit_step *s, pq_err *err);
pq_status pq_emit_move(pq_emitter *e, const pq_emit_step *s, pq_err *err);

#endif
