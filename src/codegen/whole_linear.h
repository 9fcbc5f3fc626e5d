/**
 * @file
 * A dense layer or convolution in whole numbers: what it is made of, and which way it
 * goes. For codegen/ only.
 */
#ifndef PQ_CODEGEN_WHOLE_LINEAR_H
#define PQ_CODEGEN_WHOLE_LINEAR_H

#include "codegen/levels.h"
#include "codegen/whole.h"
#include "layers/window.h"

enum { PQ_CHAIN = 8 };

/** What follows a layer and is computed with it, up to a value on a grid. */
typedef struct {
    size_t last;               /**< the layer itself without a chain */
    size_t other;              /**< the summand that is added first, or SIZE_MAX */
    size_t n, bends[PQ_CHAIN]; /**< functions, in their order */
} pq_chain;

/** How sums become codes. */
typedef enum { PQ_TO_SUMS, PQ_TO_SHIFT, PQ_TO_EVEN, PQ_TO_SCALE, PQ_TO_ADDED } pq_ending;

/** Tables of the ending, in whole panels; owned. */
typedef struct {
    pq_ending how;
    int       by;     /**< bits shifted */
    pq_clamp  clamp;  /**< of shifts */
    int       zero;   /**< code of 0, of shifts with ties to even */
    bool      exact;  /**< the portable variant's floats are exact, too */
    int64_t  *bias;   /**< [panels 16] */
    int64_t  *narrow; /**< [panels][lo 16, hi 16, K 16, K of odd lanes 16] */
    int64_t  *wide;   /**< [panels][R of even lanes 8, of odd 8] */
    double   *limits; /**< [panels][lo 16, hi 16] */
    double   *reals;  /**< [panels][M 16, C 16], or of added [panels][5][16] */
} pq_endings;

typedef struct {
    size_t          node;
    const pq_units *u;
    pq_chain        chain;
    pq_held_form    form; /**< of the result */
    bool            conv;
    size_t          groups;
    pq_window       v; /**< dense: rows in a line */
    size_t          panels;
    pq_endings      end;
    size_t          table; /**< number of all its tables */
} pq_linear;

/** The ending of a layer whose input is held in bytes; PQ_TO_SUMS where there is no
 * other, with the chain cut off.
 * @param[out] ok  false: the layer has a grid of its own, which no ending leads to */
pq_status pq_endings_find(pq_whole *w, pq_linear *l, bool *ok, pq_err *err);
void      pq_endings_free(pq_endings *e);

/** Whether bytes can be multiplied: by weights of 8 bits, sums below 2^31. */
bool pq_linear_fast(const pq_whole *w, const pq_linear *l);

enum { PQ_BLOCK = 64 /**< weights of a block: 16 outputs of four inputs each */ };

/** Runs of neighbouring inputs under a window: a row of the kernel, or a cell of it. */
typedef struct {
    size_t n, length, blocks; /**< how many; of each: items, blocks of four */
} pq_segments;

pq_segments pq_segments_of(const pq_linear *l);

/** Weights of a block, 0 beyond the outputs and behind a segment.
 * @param[out] to  [PQ_BLOCK]
 * @return whether any is not 0 */
bool pq_block_get(const pq_linear *l, const pq_segments *s, size_t panel, size_t block,
                  int64_t *to);

/** Appends n blocks as both kinds of tables. */
pq_status pq_block_tables(pq_whole *w, const pq_linear *l, size_t number, size_t n,
                          const int64_t *weights, pq_err *err);

/** The same of all blocks of some panels, as loops read them. */
pq_status pq_blocks_all(pq_whole *w, const pq_linear *l, size_t first, size_t panels,
                        size_t number, pq_err *err);

/** Vectors. */
pq_status pq_linear_vectors(pq_whole *w, pq_linear *l, pq_err *err);

/** Loops one by one, for any widths. */
pq_status pq_linear_plain(pq_whole *w, const pq_linear *l, pq_err *err);

#endif
