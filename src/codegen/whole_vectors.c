/*
 * dense and conv2d in whole numbers on vectors: blocks of four inputs times 16 outputs.
 * Weights lie as the loops read them: [panels of 16 outputs in groups][blocks][panels of
 * the group][16][4] bytes, and once more as floats [4][16] for the portable variant.
 */
#include <stdio.h>
#include <string.h>

#include "codegen/whole_linear.h"
#include "core/memory.h"
#include "exec/codes.h"

enum {
    GROUP   = 4,   /* panels of a dense layer that share their inputs */
    CHAINS  = 8,   /* independent sums that keep the processor busy */
    WRITTEN = 128, /* most blocks of a dense layer that are written out */
    TILE    = 8,   /* sums of a tile of positions */
};

void pq_open_sums(pq_whole *w, size_t first, size_t bias, size_t panels, size_t chains,
                  bool spread)
{
    pq_text_add(&w->e->body, "        V(x) x4;\n");
    for (size_t p = 0; p < panels; p++) {
        for (size_t c = 0; c < chains; c++) {
            pq_text_add(&w->e->body,
                        "%ss%zu_%zu = ", p + c == 0 ? "        V(acc) " : ", ", p, c);
            if (spread && c > 0) {
                pq_text_add(&w->e->body, "V(zero)()");
            } else {
                pq_text_add(&w->e->body, "V(start)(B(t%zu) + %zu)", bias,
                            (first + p) * 16);
            }
        }
    }
    pq_text_add(&w->e->body, ";\n");
}

/* --- dense layers of one row --- */

/* Four inputs, wherever the layer before put them. */
static void four(pq_whole *w, size_t in, size_t block)
{
    const size_t panels = pq_whole_held(w, in)->panels, root = pq_whole_root(w, in);

    if (pq_whole_held(w, in)->quads) {
        pq_text_add(&w->e->body, "        x4 = FOUR_OF_8(%zu, %zu);\n", root, block);
    } else if (panels > 0) {
        pq_text_add(&w->e->body, "        x4 = FOUR(%zu, %zu, %zu, %zu);\n", root,
                    block / 4, panels, block % 4);
    } else {
        pq_text_add(&w->e->body, "        x4 = V(x4)(v%zu + %zu);\n", root, 4 * block);
    }
}

/* The sum of a panel and chain: sets with few registers have half the chains. */
static void sum_of(size_t panel, size_t chain, size_t chains, char text[48])
{
    (void)snprintf(text, 48, "SUM(s%zu_%zu, s%zu_%zu)", panel, chain, panel,
                   chain % ((chains + 1) / 2));
}

/* Products written out; blocks of zeros are left out, and their inputs with them. */
static pq_status written(pq_whole *w, const pq_linear *l, size_t first, size_t panels,
                         size_t chains, pq_err *err)
{
    const pq_segments s       = pq_segments_of(l);
    const size_t      number  = w->e->n_tables++;
    int64_t          *weights = NULL;
    size_t            n = 0, turn = 0;
    char              sum[48];
    pq_status         st;

    PQ_NEW(weights, (s.blocks * panels + 1) * PQ_BLOCK);
    for (size_t b = 0; b < s.blocks; b++) {
        bool read = false;
        for (size_t p = 0; p < panels; p++) {
            if (!pq_block_get(l, &s, first + p, b, weights + n * PQ_BLOCK)) {
                w->e->summary.skipped++;
                continue;
            }
            if (!read) {
                four(w, w->e->graph->nodes[l->node].inputs[0], b);
            }
            read = true;
            sum_of(p, turn, chains, sum);
            pq_text_add(&w->e->body, "        %s = V(dot)(%s, x4, W(t%zu) + %zu, %zu);\n",
                        sum, sum, number, n * PQ_BLOCK, pq_lanes_of(l, first + p));
            n++;
        }
        turn = read ? (turn + 1) % chains : turn;
    }
    PQ_TRY(pq_block_tables(w, l, number, n > 0 ? n : 1, weights, err));
cleanup:
    pq_free(weights);
    return st;
}

/* Products in a loop over the blocks. */
static pq_status looped(pq_whole *w, const pq_linear *l, size_t first, size_t panels,
                        size_t chains, pq_err *err)
{
    const pq_segments s      = pq_segments_of(l);
    const size_t      number = w->e->n_tables++, whole = s.blocks / chains * chains;
    char              name[32], sum[48];
    pq_status         st;

    pq_whole_name(w, w->e->graph->nodes[l->node].inputs[0], name);
    PQ_TRY(pq_blocks_all(w, l, first, panels, number, err));
    pq_text_add(&w->e->body, "        for (int b = 0; b < %zu; b += %zu) {\n", whole,
                chains);
    for (size_t c = 0; c < s.blocks - whole + chains; c++) {
        const bool inside = c < chains;
        if (c == chains) {
            pq_text_add(&w->e->body, "        }\n");
        }
        pq_text_add(&w->e->body, "            x4 = V(x4)(%s + 4 * (%s + %zu));\n", name,
                    inside ? "b" : "0", inside ? c : whole + c - chains);
        for (size_t p = 0; p < panels; p++) {
            sum_of(p, c % chains, chains, sum);
            pq_text_add(&w->e->body,
                        "            %s = V(dot)(%s, x4, W(t%zu) + ((%s + %zu) "
                        "* %zu + %zu) * %d, %zu);\n",
                        sum, sum, number, inside ? "b" : "0",
                        inside ? c : whole + c - chains, panels, p, PQ_BLOCK,
                        pq_lanes_of(l, first + p));
        }
    }
    if (s.blocks == whole) {
        pq_text_add(&w->e->body, "        }\n");
    }
cleanup:
    return st;
}

static pq_status dense_group(pq_whole *w, const pq_linear *l, size_t first, size_t panels,
                             size_t bias, size_t table, pq_err *err)
{
    const pq_segments s      = pq_segments_of(l);
    size_t            chains = (CHAINS + panels - 1) / panels;
    const size_t      number = w->e->n_tables; /* of the weights */
    const bool        keep   = w->held[l->chain.last].panels > 0;
    const bool        quads  = pq_quads_may(l);
    char              sum[32], to[32];
    pq_status         st;

    chains = chains > (s.blocks + 1) / 2 ? (s.blocks + 1) / 2 : chains;
    pq_text_add(&w->e->body, "%s    {\n", quads ? "#if !QUADS\n" : "");
    pq_open_sums(w, first, bias, panels, chains, true);
    PQ_TRY(s.blocks * panels <= WRITTEN ? written(w, l, first, panels, chains, err)
                                        : looped(w, l, first, panels, chains, err));
    for (size_t step = 1; step < chains; step *= 2) {
        for (size_t p = 0; p < panels; p++) {
            for (size_t c = 0; c + step < chains; c += 2 * step) {
                pq_text_add(&w->e->body,
                            "        s%zu_%zu = V(join)(s%zu_%zu, s%zu_%zu);\n", p, c, p,
                            c, p, c + step);
            }
        }
    }
    for (size_t p = 0; p < panels; p++) {
        (void)snprintf(sum, sizeof sum, "s%zu_0", p);
        (void)snprintf(to, sizeof to, "%zu", (first + p) * 16);
        PQ_TRY(pq_ending_panel(w, l,
                               &(pq_panel_end){first + p, bias, table, sum, to,
                                               pq_lanes_of(l, first + p), 16, keep},
                               err));
    }
    pq_text_add(&w->e->body, "        (void)x4;\n    }\n");
    if (quads) {
        pq_text_add(&w->e->body, "#else\n    {\n");
        PQ_TRY(pq_quads(w, l, &(pq_group){first, panels, bias, table, number}, err));
        pq_text_add(&w->e->body, "    }\n#endif\n");
    }
cleanup:
    return st;
}

/* --- positions of an image, and rows --- */

static pq_status pad(pq_whole *w, const pq_linear *l, pq_image *out, pq_err *err)
{
    const pq_window *v    = &l->v;
    const size_t     in   = w->e->graph->nodes[l->node].inputs[0];
    const pq_quant  *grid = pq_code_grid(w->e->graph, in);
    const size_t     rows =
        (v->out_h - 1) * v->stride_h + (v->kernel_h - 1) * v->dilation_h + 1;
    const size_t columns =
        (v->out_w - 1) * v->stride_w + (v->kernel_w - 1) * v->dilation_w + 1;
    char      name[32];
    pq_status st = PQ_OK;

    pq_whole_name(w, in, name);
    if (v->pad_top == 0 && v->pad_left == 0 && rows <= v->in_h && columns <= v->in_w) {
        out->columns = v->in_w;
        (void)snprintf(out->from, sizeof out->from, "%s", name);
        return PQ_OK;
    }
    const size_t items = rows * columns * v->channels + 64;
    size_t      *at    = &w->e->summary.stack_bytes;
    PQ_CHECK(items <= PQ_CODEGEN_STACK, PQ_ERR_RANGE,
             "its %zu values do not fit into %d bytes of stack", items, PQ_CODEGEN_STACK);
    out->columns = columns;
    (void)snprintf(out->from, sizeof out->from, "padded");
    pq_text_add(&w->e->body,
                "        V(act) *const padded = (V(act) *)(void *)(stack + %zu * "
                "sizeof(V(act)));\n"
                "        for (int i = 0; i < %zu; i++) {\n            padded[i] = %d;\n"
                "        }\n",
                *at, items, grid->zero_point[0] - pq_grid_least(grid));
    *at += (items + 63) / 64 * 64;
    const size_t right = v->pad_left + v->in_w, low = v->pad_top + v->in_h;
    const size_t width = columns < right ? columns : right;
    if (width > v->pad_left) {
        pq_text_add(&w->e->body,
                    "        for (int r = %zu; r < %zu; r++) {\n"
                    "            memcpy(padded + (r * %zu + %zu) * %zu, %s + (r - %zu) * "
                    "%zu, %zu * sizeof(V(act)));\n        }\n",
                    v->pad_top, rows < low ? rows : low, columns, v->pad_left,
                    v->channels, name, v->pad_top, v->in_w * v->channels,
                    (width - v->pad_left) * v->channels);
    }
cleanup:
    return st;
}

/* Sums of `tile` neighbouring positions from column q on. */
static pq_status tile_of(pq_whole *w, const pq_linear *l, const pq_image *from,
                         const pq_panels *g, size_t tile, pq_err *err)
{
    const pq_window  *v    = &l->v;
    const pq_segments s    = pq_segments_of(l);
    const size_t      step = v->stride_w * v->channels;
    const bool        rows = v->dilation_w == 1;
    char              sum[32], to[96];
    pq_status         st = PQ_OK;

    pq_open_sums(w, g->first, g->bias, g->panels, tile, false);
    pq_text_add(
        &w->e->body,
        "        const V(act) *const at = %s + (p * %zu * %zu + q * %zu) * %zu;\n"
        "        int k = 0;\n\n"
        "        for (int a = 0; a < %zu; a++) {\n        for (int c = 0; c < %zu; c++) "
        "{\n"
        "        for (int b = 0; b < %zu; b++, k += %zu) {\n"
        "            const V(act) *const in = at + (a * %zu + c * %zu) * %zu + 4 * b;\n",
        from->from, v->stride_h, from->columns, v->stride_w, v->channels, v->kernel_h,
        rows ? (size_t)1 : v->kernel_w, s.blocks, g->panels * PQ_BLOCK,
        v->dilation_h * from->columns, v->dilation_w, v->channels);
    for (size_t k = 0; k < tile; k++) {
        pq_text_add(&w->e->body, "            x4 = V(x4)(in + %zu);\n", k * step);
        for (size_t p = 0; p < g->panels; p++) {
            pq_text_add(&w->e->body,
                        "            s%zu_%zu = V(dot)(s%zu_%zu, x4, W(t%zu) + k + %zu, "
                        "%zu);\n",
                        p, k, p, k, g->weights, p * PQ_BLOCK,
                        pq_lanes_of(l, g->first + p));
        }
    }
    pq_text_add(&w->e->body, "        }\n        }\n        }\n");
    for (size_t k = 0; k < tile; k++) {
        for (size_t p = 0; p < g->panels; p++) {
            const size_t lanes = pq_lanes_of(l, g->first + p);
            (void)snprintf(sum, sizeof sum, "s%zu_%zu", p, k);
            (void)snprintf(to, sizeof to, "(p * %zu + q + %zu) * %zu + %zu", v->out_w, k,
                           l->u->outputs, (g->first + p) * 16);
            PQ_TRY(pq_ending_panel(w, l,
                                   &(pq_panel_end){g->first + p, g->bias, g->table, sum,
                                                   to, lanes, lanes, false},
                                   err));
        }
    }
cleanup:
    return st;
}

static pq_status image_vectors(pq_whole *w, const pq_linear *l, const pq_image *from,
                               const pq_panels *g, pq_err *err)
{
    const size_t tile = TILE / g->panels, whole = l->v.out_w / tile * tile;
    pq_status    st = PQ_OK;

    pq_text_add(&w->e->body, "        for (int p = 0; p < %zu; p++) {\n", l->v.out_h);
    if (whole > 0) {
        pq_text_add(&w->e->body, "        for (int q = 0; q < %zu; q += %zu) {\n", whole,
                    tile);
        PQ_TRY(tile_of(w, l, from, g, tile, err));
        pq_text_add(&w->e->body, "        }\n");
    }
    if (whole < l->v.out_w) {
        pq_text_add(&w->e->body, "        for (int q = %zu; q < %zu; q++) {\n", whole,
                    l->v.out_w);
        PQ_TRY(tile_of(w, l, from, g, 1, err));
        pq_text_add(&w->e->body, "        }\n");
    }
    pq_text_add(&w->e->body, "        }\n");
cleanup:
    return st;
}

static pq_status image_group(pq_whole *w, const pq_linear *l, const pq_image *from,
                             const pq_panels *g, pq_err *err)
{
    const bool tiles = pq_tiles_pay(l);
    pq_status  st;

    PQ_TRY(pq_blocks_all(w, l, g->first, g->panels, g->weights, err));
    if (tiles) {
        pq_text_add(&w->e->body, "#if TILES\n");
        PQ_TRY(pq_tiles_panels(w, l, from, g, err));
        pq_text_add(&w->e->body, "#else\n");
    }
    PQ_TRY(image_vectors(w, l, from, g, err));
    if (tiles) {
        pq_text_add(&w->e->body, "#endif\n");
    }
cleanup:
    return st;
}

/* A dense layer of one row, and the same for a block of events. */
static pq_status dense_row(pq_whole *w, const pq_linear *l, size_t bias, size_t table,
                           pq_err *err)
{
    const size_t skipped = w->e->summary.skipped, weights = w->e->n_tables;
    pq_status    st = PQ_OK;

    if (l->panels <= GROUP && l->end.how != PQ_TO_SUMS && l->end.how != PQ_TO_ADDED) {
        pq_whole_keep(w, l->chain.last, l->panels, pq_quads_may(l));
    }
    for (size_t first = 0; first < l->panels; first += GROUP) {
        const size_t left = l->panels - first;
        PQ_TRY(dense_group(w, l, first, left < GROUP ? left : GROUP, bias, table, err));
    }
    if (!pq_events_may(l, skipped, w->e->summary.skipped)) {
        return PQ_OK;
    }
    pq_events_begin(w, l);
    for (size_t first = 0; first < l->panels; first += GROUP) {
        const size_t left = l->panels - first;
        PQ_TRY(pq_events_group(w, l,
                               &(pq_group){first, left < GROUP ? left : GROUP, bias,
                                           table, weights + first / GROUP},
                               err));
    }
    pq_events_end(w, l);
cleanup:
    return st;
}

static pq_status image_rows(pq_whole *w, const pq_linear *l, size_t bias, size_t table,
                            pq_err *err)
{
    enum { MOST = 2 /* panels together */ };
    pq_image  from = {0};
    pq_status st;

    PQ_TRY(pad(w, l, &from, err));
    for (size_t first = 0; first < l->panels; first += MOST) {
        const size_t left = l->panels - first;
        PQ_TRY(image_group(
            w, l, &from,
            &(pq_panels){first, left < MOST ? left : MOST, bias, table, w->e->n_tables++},
            err));
    }
cleanup:
    return st;
}

pq_status pq_linear_vectors(pq_whole *w, pq_linear *l, pq_err *err)
{
    const bool   one  = !l->conv && l->v.out_w == 1;
    const size_t bias = w->e->n_tables++, table = w->e->n_tables++;
    pq_status    st;

    if (l->form == PQ_HELD_FLOATS) {
        PQ_TRY(pq_endings_product(l, err));
    }
    PQ_TRY(pq_ending_tables(w, l, bias, table, err));
    pq_text_add(&w->e->body, "    {\n");
    PQ_TRY((one ? dense_row : image_rows)(w, l, bias, table, err));
    pq_text_add(&w->e->body, "    }\n");
    if (w->held[l->chain.last].panels > 1) {
        pq_text_add(&w->e->body, "    SETTLE_OF(%zu)\n", l->panels);
    } else if (!one || l->panels > 1) {
        pq_text_add(&w->e->body, "    SETTLE(stack);\n");
    }
cleanup:
    return st;
}
