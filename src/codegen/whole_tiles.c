/*
 * Convolutions in tiles (AMX): up to 16 neighbours of a line times 16 outputs and, at a
 * step, the inputs of up to 16 blocks. Sums of up to four tiles are multiplied together;
 * while that goes on, those of the last four become values. Weights are those of the
 * vectors: a block is a row of a tile.
 */
#include <stdio.h>

#include "codegen/whole_linear.h"

enum {
    ROWS        = 16, /* of a tile */
    DEPTH       = 16, /* blocks of a product */
    LEAST_DEPTH = 6,  /* where there are several steps: else vectors are faster */
    LEAST_ROWS  = 4,
    LEAST_SUMS  = 16, /* positions: for fewer, setting up takes longer */
    SUMS        = 4,  /* tiles of sums; rows in the next two, weights in two more */
};

/* How the positions are cut. */
typedef struct {
    size_t rows, across, n;      /* of a tile; tiles of a line, and of all */
    size_t together;             /* tiles of one block */
    size_t depth, steps;         /* blocks of a product, products of a segment */
    size_t first, panels, pitch; /* bytes from one row of inputs to the next */
} cut;

/* Largest part of a segment that is at most a tile's. */
static size_t depth_of(size_t blocks)
{
    size_t depth = blocks < DEPTH ? blocks : DEPTH;

    while (blocks % depth != 0) {
        depth--;
    }
    return depth;
}

static cut cut_of(const pq_linear *l, const pq_panels *g)
{
    const pq_window  *v = &l->v;
    const pq_segments s = pq_segments_of(l);
    cut               c = {.first = g->first, .panels = g->panels};

    c.rows     = v->out_w < ROWS ? v->out_w : ROWS;
    c.across   = (v->out_w + c.rows - 1) / c.rows;
    c.n        = c.across * v->out_h;
    c.together = c.n < SUMS / g->panels ? c.n : SUMS / g->panels;
    c.depth    = depth_of(s.blocks);
    c.steps    = s.blocks / c.depth;
    c.pitch    = v->stride_w * v->channels;
    return c;
}

bool pq_tiles_pay(const pq_linear *l)
{
    const size_t blocks = pq_segments_of(l).blocks;

    return l->v.out_w >= LEAST_ROWS && l->v.out_w * l->v.out_h >= LEAST_SUMS &&
           (blocks <= DEPTH || depth_of(blocks) >= LEAST_DEPTH);
}

/* What ldtilecfg reads: palette 1, at 16 the bytes of a row, at 48 the rows, of tiles 0
   to 3 of sums, 4 and 5 of inputs, 6 and 7 of weights. */
static pq_status shapes(pq_whole *w, const cut *c, size_t number, pq_err *err)
{
    int64_t bytes[64] = {1};

    for (size_t i = 0; i < SUMS + 4; i++) {
        const bool inputs = i == SUMS || i == SUMS + 1;
        bytes[16 + 2 * i] = (int64_t)(inputs ? 4 * c->depth : PQ_BLOCK);
        bytes[48 + i]     = (int64_t)(i < SUMS + 2 ? c->rows : c->depth);
    }
    return pq_whole_table(w, "uint8_t", 'z', number, 64, bytes, err);
}

/* First output and inputs of the tiles of block j. The last of a line, and the last
   block, begin earlier, and compute some again. */
static void places(pq_whole *w, const pq_linear *l, const pq_image *from, const cut *c)
{
    const pq_window *v = &l->v;

    for (size_t i = 0; i < c->together; i++) {
        pq_text_add(
            &w->e->body,
            "            const int n%zu = (j < %zu ? j : %zu) + %zu, p%zu = n%zu / %zu, "
            "f%zu = n%zu %% %zu * %zu, q%zu = f%zu < %zu ? f%zu : %zu;\n"
            "            const uint8_t *const in%zu = %s + (p%zu * %zu + q%zu * %zu) * "
            "%zu;\n",
            i, c->n - c->together, c->n - c->together, i, i, i, c->across, i, i,
            c->across, c->rows, i, i, v->out_w - c->rows, i, v->out_w - c->rows, i,
            from->from, i, v->stride_h * from->columns, i, v->stride_w, v->channels);
    }
}

/* One product of all tiles; weights are read once, and inputs for each tile. */
static void products(pq_whole *w, const cut *c)
{
    pq_text *t = &w->e->body;

    for (size_t p = 0; p < c->panels; p++) {
        pq_text_add(t, "            _tile_loadd(%zu, w + %zu, %zu);\n", SUMS + 2 + p,
                    p * PQ_BLOCK, c->panels * PQ_BLOCK);
    }
    for (size_t i = 0; i < c->together; i++) {
        pq_text_add(t, "            _tile_loadd(%zu, in%zu + at, %zu);\n", SUMS + i % 2,
                    i, c->pitch);
        for (size_t p = 0; p < c->panels; p++) {
            pq_text_add(t, "            _tile_dpbusd(%zu, %zu, %zu);\n",
                        i * c->panels + p, SUMS + i % 2, SUMS + 2 + p);
        }
    }
}

/* Sums of a block, from the biases on. */
static void sums(pq_whole *w, const pq_linear *l, const pq_image *from, const cut *c,
                 const pq_panels *g)
{
    const pq_window *v    = &l->v;
    const bool       rows = v->dilation_w == 1;
    pq_text         *t    = &w->e->body;

    for (size_t i = 0; i < c->together * c->panels; i++) {
        pq_text_add(t, "            _tile_loadd(%zu, B(t%zu) + %zu, 0);\n", i, g->bias,
                    (c->first + i % c->panels) * 16);
    }
    pq_text_add(t,
                "            for (int a = 0; a < %zu; a++) {\n"
                "            for (int c = 0; c < %zu; c++) {\n"
                "            for (int b = 0; b < %zu; b++, w += %zu) {\n"
                "            const int at = (a * %zu + c * %zu) * %zu + b * %zu;\n",
                v->kernel_h, rows ? (size_t)1 : v->kernel_w, c->steps,
                c->depth * c->panels * PQ_BLOCK, v->dilation_h * from->columns,
                v->dilation_w, v->channels, 4 * c->depth);
    products(w, c);
    pq_text_add(t, "            }\n            }\n            }\n");
}

/* Those of the last block become values, row by row. */
static pq_status endings(pq_whole *w, const pq_linear *l, const cut *c,
                         const pq_panels *g, pq_err *err)
{
    char      sum[64], to[96];
    pq_status st = PQ_OK;

    pq_text_add(&w->e->body, "            for (int r = 0; r < %zu && j > 0; r++) {\n",
                c->rows);
    for (size_t i = 0; i < c->together; i++) {
        for (size_t p = 0; p < c->panels; p++) {
            const size_t lanes = pq_lanes_of(l, c->first + p);
            (void)snprintf(sum, sizeof sum, "V(sum_at)(sums + %zu + 16 * r)",
                           (i * c->panels + p) * 256);
            (void)snprintf(to, sizeof to, "(to%zu + r) * %zu + %zu", i, l->u->outputs,
                           (c->first + p) * 16);
            PQ_TRY(pq_ending_panel(w, l,
                                   &(pq_panel_end){c->first + p, g->bias, g->table, sum,
                                                   to, lanes, lanes, false},
                                   err));
        }
    }
    pq_text_add(&w->e->body, "            }\n");
cleanup:
    return st;
}

pq_status pq_tiles_panels(pq_whole *w, const pq_linear *l, const pq_image *from,
                          const pq_panels *g, pq_err *err)
{
    const cut    c      = cut_of(l, g);
    const size_t number = w->e->n_tables++;
    pq_text     *t      = &w->e->body;
    pq_status    st;

    PQ_TRY(shapes(w, &c, number, err));
    w->e->tiles = true;
    pq_text_add(t, "        {\n        int ");
    for (size_t i = 0; i < c.together; i++) {
        pq_text_add(t, "%sto%zu = 0", i == 0 ? "" : ", ", i);
    }
    pq_text_add(t,
                ";\n        SETTLE(stack);\n        _tile_loadconfig(t%zuz);\n"
                "        for (int j = 0; j < %zu; j += %zu) {\n"
                "            const int8_t *w = W(t%zu);\n",
                number, c.n + c.together, c.together, g->weights);
    places(w, l, from, &c);
    pq_text_add(t, "            if (j < %zu) {\n", c.n);
    sums(w, l, from, &c, g);
    pq_text_add(t, "            }\n");
    PQ_TRY(endings(w, l, &c, g, err));
    for (size_t i = 0; i < c.together * c.panels; i++) {
        pq_text_add(t, "            _tile_stored(%zu, sums + %zu, 64);\n", i, i * 256);
    }
    for (size_t i = 0; i < c.together; i++) {
        pq_text_add(t, "            to%zu = p%zu * %zu + q%zu;\n", i, i, l->v.out_w, i);
    }
    pq_text_add(t, "        }\n        }\n");
cleanup:
    return st;
}
