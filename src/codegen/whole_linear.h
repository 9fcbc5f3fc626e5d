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
    pq_clamp  clamp;   /**< of shifts */
    int       zero;    /**< code of 0, of shifts with ties to even */
    bool      exact;   /**< the portable variant's floats are exact, too */
    int64_t  *bias;    /**< [panels 16] */
    int64_t  *narrow;  /**< [panels][lo 16, hi 16, K 16, K of odd lanes 16] */
    int64_t  *wide;    /**< [panels][R of even lanes 8, of odd 8, shifts of both] */
    double   *limits;  /**< [panels][lo 16, hi 16] */
    double   *reals;   /**< [panels][M 16, C 16], or of added [panels][5][16] */
    bool      lines;   /**< a line takes the place of multipliers, but in portable */
    int64_t  *starts;  /**< [panels 16] its sums begin at */
    double   *line;    /**< [panels][m 16, C 16] */
    double   *product; /**< [panels][h 16, l 16, -(2^23 + 2^22) l 16] of sums that
                           become floats, or NULL */
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
    size_t          table;   /**< number of all its tables */
    size_t begin, held;      /**< bytes of the body: where it begins, behind its place */
    size_t plain, plain_end; /**< between them stands it one by one, if it does */
} pq_linear;

/** The ending of a layer whose input is held in bytes; PQ_TO_SUMS where there is no
 * other, with the chain cut off.
 * @param[out] ok  false: the layer has a grid of its own, which no ending leads to */
pq_status pq_endings_find(pq_whole *w, pq_linear *l, bool *ok, pq_err *err);
void      pq_endings_free(pq_endings *e);

/** Products of sums that become floats, where float32 has them all. */
pq_status pq_endings_product(pq_linear *l, pq_err *err);

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

/** Where the results of a panel go. */
typedef struct {
    size_t      panel, bias, table; /**< bias, table: numbers of the tables */
    const char *sum, *to;           /**< in C: the V(acc), and the index of the first */
    size_t      lanes, room;        /**< that are there, and that may be written */
    bool        keep;               /**< in registers, too: pq_whole_keep */
} pq_panel_end;

/** Numbers of the ending as tables: biases under `bias`, the rest under `table`. */
pq_status pq_ending_tables(pq_whole *w, const pq_linear *l, size_t bias, size_t table,
                           pq_err *err);

/** Appends what turns the sums of a panel into values. */
pq_status pq_ending_panel(pq_whole *w, const pq_linear *l, const pq_panel_end *p,
                          pq_err *err);

/** Outputs of a panel, at most 16. */
size_t pq_lanes_of(const pq_linear *l, size_t panel);

/** What windows read: the input, or a copy of it with its padding. */
typedef struct {
    size_t columns; /**< of what is read */
    char   from[32];
} pq_image;

/** One or two panels of an image that are computed together. */
typedef struct {
    size_t first, panels;
    size_t bias, table, weights; /**< numbers of the tables */
} pq_panels;

/** Whether tiles (AMX) have enough of the products to do, and read nothing but the
 * weights of a segment. */
bool pq_tiles_pay(const pq_linear *l);

/** Appends the products of some panels in tiles. */
pq_status pq_tiles_panels(pq_whole *w, const pq_linear *l, const pq_image *from,
                          const pq_panels *p, pq_err *err);

/** Declares x4 and sums s<panel>_<chain>: with `spread` chains of one sum, else sums of
 * their own. */
void pq_open_sums(pq_whole *w, size_t first, size_t bias, size_t panels, size_t chains,
                  bool spread);

/** Panels of a dense layer of one row that share their inputs. */
typedef struct {
    size_t first, panels;
    size_t bias, table, weights; /**< numbers of the tables; [blocks][panels][PQ_BLOCK] */
} pq_group;

/** Whether a dense layer of one row is computed as quads: small, and with an ending that
 * they have. */
bool pq_quads_may(const pq_linear *l);

/** Appends such a layer, with the tables of its panel. */
pq_status pq_quads(pq_whole *w, const pq_linear *l, const pq_group *g, pq_err *err);

/** Whether a block of events can go over the weights once: none was left out. */
bool pq_events_may(const pq_linear *l, size_t skipped_before, size_t skipped);

/** Appends such a layer to the block: what stands before its groups, a group, the end. */
void      pq_events_begin(pq_whole *w, const pq_linear *l);
pq_status pq_events_group(pq_whole *w, const pq_linear *l, const pq_group *g,
                          pq_err *err);
void      pq_events_end(pq_whole *w, const pq_linear *l);

/** Vectors, and tiles where they pay. */
pq_status pq_linear_vectors(pq_whole *w, pq_linear *l, pq_err *err);

/** Loops one by one, for any widths. */
pq_status pq_linear_plain(pq_whole *w, const pq_linear *l, pq_err *err);

#endif
