/*
 * Convolutions on vectors of 16 output channels: neighbouring positions share the weights
 * that were read. Weights lie as in dense.c, with the window's cells and channels as
 * inputs.
 */
#include <stdio.h>

#include "codegen/rows.h"
#include "core/memory.h"
#include "layers/kinds.h"

enum {
    TILE       = 4, /* positions that share their weights */
    TILE_GROUP = 2, /* panels of such a tile */
};

/* What a convolution reads: the input, or a copy with its padding in `padded`. */
typedef struct {
    pq_window w;
    size_t    groups;
    size_t    rows, columns; /* of what it reads */
} conv;

/* Copies the input between zeros, so that no loop asks where the image ends. */
static const char *pad_input(pq_emitter *e, const pq_emit_step *s, conv *c)
{
    const pq_window *w = &c->w;

    c->rows    = (w->out_h - 1) * w->stride_h + (w->kernel_h - 1) * w->dilation_h + 1;
    c->columns = (w->out_w - 1) * w->stride_w + (w->kernel_w - 1) * w->dilation_w + 1;
    if (w->pad_top == 0 && w->pad_left == 0 && c->rows <= w->in_h &&
        c->columns <= w->in_w) {
        c->rows    = w->in_h;
        c->columns = w->in_w;
        return pq_emit_input(e, s, 0);
    }
    const size_t right = w->pad_left + w->in_w, low = w->pad_top + w->in_h;
    const size_t width = c->columns < right ? c->columns : right;
    const size_t bytes = c->rows * c->columns * w->channels * sizeof(float);
    e->summary.stack_bytes += bytes;
    pq_text_add(&e->body,
                "        float padded[%zu] __attribute__((aligned(64)));\n"
                "        memset(padded, 0, sizeof padded);\n",
                bytes / sizeof(float));
    if (width <= w->pad_left) { /* long strides may miss the image */
        return "padded";
    }
    pq_text_add(
        &e->body,
        "        for (int r = %zu; r < %zu; r++) {\n"
        "            memcpy(padded + (r * %zu + %zu) * %zu, %s + (r - %zu) * %zu, "
        "%zu);\n        }\n",
        w->pad_top, c->rows < low ? c->rows : low, c->columns, w->pad_left, w->channels,
        pq_emit_input(e, s, 0), w->pad_top, w->in_w * w->channels,
        (width - w->pad_left) * w->channels * sizeof(float));
    return "padded";
}

/* Sums of `tile` neighbouring positions from column q on, for one group of panels. */
static void conv_tile(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                      const conv *c, pq_panels g, size_t table, size_t biases,
                      size_t tile)
{
    const pq_window *w = &c->w;

    pq_text_add(&e->body,
                "            const float *const at = from + q * %zu;\n"
                "            const float *w = t%zu;\n            vu xi",
                w->stride_w * w->channels, table);
    for (size_t k = 0; k < tile; k++) {
        for (size_t p = 0; p < g.panels; p++) {
            pq_text_add(&e->body, ", s%zu_%zu", p, k);
        }
    }
    pq_text_add(&e->body, ";\n            ");
    for (size_t k = 0; k < tile; k++) {
        for (size_t p = 0; p < g.panels; p++) {
            pq_text_add(&e->body, "LOAD(s%zu_%zu, t%zu + %zu) ", p, k, biases,
                        g.first + p * PQ_LANES);
        }
    }
    pq_text_add(&e->body,
                "\n            for (int a = 0; a < %zu; a++) {\n"
                "            for (int b = 0; b < %zu; b++) {\n"
                "            const float *in = at + (a * %zu + b * %zu) * %zu;\n"
                "            for (int i = 0; i < %zu; i++, w += %zu) {\n",
                w->kernel_h, w->kernel_w, w->dilation_h * c->columns, w->dilation_w,
                w->channels, w->channels, g.panels * PQ_LANES);
    for (size_t k = 0; k < tile; k++) {
        pq_text_add(&e->body, "                SPREAD(xi, in[i + %zu])",
                    k * w->stride_w * w->channels);
        for (size_t p = 0; p < g.panels; p++) {
            pq_text_add(&e->body, " MAC(s%zu_%zu, xi, w + %zu)", p, k, p * PQ_LANES);
        }
        pq_text_add(&e->body, "\n");
    }
    pq_text_add(&e->body, "            }\n            }\n            }\n");
    for (size_t k = 0; k < tile; k++) {
        for (size_t p = 0; p < g.panels; p++) {
            const size_t left = g.n - p * PQ_LANES;
            char         sum[32], to[96];
            (void)snprintf(sum, sizeof sum, "s%zu_%zu", p, k);
            (void)snprintf(to, sizeof to, "to + (q + %zu) * %zu + %zu", k, a->outputs,
                           g.first + p * PQ_LANES);
            pq_panel_store(e, s, a, sum, to, left < PQ_LANES ? left : PQ_LANES);
        }
    }
}

static pq_status conv_group(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                            const conv *c, pq_panels g, size_t biases, const char *from,
                            pq_err *err)
{
    const pq_window *w     = &c->w;
    const size_t     whole = w->out_w / TILE * TILE;
    double          *block = NULL;
    size_t           table;
    pq_status        st;

    PQ_NEW(block, a->length * g.panels * PQ_LANES);
    for (size_t i = 0; i < a->length; i++) {
        for (size_t p = 0; p < g.panels; p++) {
            pq_block_put(a, g.first + p * PQ_LANES, i,
                         block + (i * g.panels + p) * PQ_LANES);
        }
    }
    PQ_TRY(pq_emit_table(e, a->length * g.panels * PQ_LANES, block, &table, err));
    pq_text_add(&e->body,
                "        for (int p = 0; p < %zu; p++) {\n"
                "        const float *const from = %s + p * %zu;\n"
                "        float *const to = %s + p * %zu;\n",
                w->out_h, from, w->stride_h * c->columns * w->channels, e->place[s->last],
                w->out_w * a->outputs);
    if (whole > 0) {
        pq_text_add(&e->body, "        for (int q = 0; q < %zu; q += %d) {\n", whole,
                    TILE);
        conv_tile(e, s, a, c, g, table, biases, TILE);
        pq_text_add(&e->body, "        }\n");
    }
    if (whole < w->out_w) {
        pq_text_add(&e->body, "        for (int q = %zu; q < %zu; q++) {\n", whole,
                    w->out_w);
        conv_tile(e, s, a, c, g, table, biases, 1);
        pq_text_add(&e->body, "        }\n");
    }
    pq_text_add(&e->body, "        }\n");
cleanup:
    pq_free(block);
    return st;
}

/* Several groups of channels: plain loops. */
static pq_status conv_grouped(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                              const conv *c, size_t biases, const char *from, pq_err *err)
{
    const pq_window *w  = &c->w;
    const size_t     in = w->channels / c->groups, out = a->outputs / c->groups;
    size_t           table;
    pq_status        st;

    PQ_TRY(pq_emit_table(e, a->outputs * a->length, a->weight, &table, err));
    pq_text_add(
        &e->body,
        "        for (int o = 0; o < %zu; o++) {\n"
        "        for (int p = 0; p < %zu; p++) {\n"
        "        for (int q = 0; q < %zu; q++) {\n"
        "            const float *w = t%zu + o * %zu;\n"
        "            float v = t%zu[o];\n"
        "            for (int a = 0; a < %zu; a++) {\n"
        "            for (int b = 0; b < %zu; b++) {\n"
        "            const float *in = %s + ((p * %zu + a * %zu) * %zu + q * %zu + "
        "b * %zu) * %zu + o / %zu * %zu;\n"
        "            for (int i = 0; i < %zu; i++) {\n"
        "                v += in[i] * *w++;\n"
        "            }\n            }\n            }\n           ",
        a->outputs, w->out_h, w->out_w, table, a->length, biases, w->kernel_h,
        w->kernel_w, from, w->stride_h, w->dilation_h, c->columns, w->stride_w,
        w->dilation_w, w->channels, out, in, in);
    pq_emit_functions(e, s, a->after, "v", false);
    pq_text_add(&e->body,
                "\n            (%s)[(p * %zu + q) * %zu + o] = v;\n"
                "        }\n        }\n        }\n",
                e->place[s->last], w->out_w, a->outputs);
cleanup:
    return st;
}

pq_status pq_emit_conv2d(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const pq_node *node = &e->graph->nodes[s->node];
    pq_rows        a    = {0};
    conv           c    = {0};
    size_t         biases;
    const char    *from;
    pq_status      st;

    PQ_TRY(pq_conv2d_window(node->layer, &e->graph->nodes[node->inputs[0]].shape, &c.w,
                            err));
    PQ_TRY(pq_rows_of(e, s, &a, err));
    PQ_TRY(pq_rows_biases(e, &a, &biases, err));
    c.groups = c.w.channels / (a.length / (c.w.kernel_h * c.w.kernel_w));
    pq_text_add(&e->body, "    {\n");
    from = pad_input(e, s, &c);
    for (size_t first = 0; c.groups == 1 && first < a.outputs;
         first += TILE_GROUP * PQ_LANES) {
        PQ_TRY(conv_group(e, s, &a, &c, pq_panels_at(a.outputs, first, TILE_GROUP),
                          biases, from, err));
    }
    if (c.groups > 1) {
        PQ_TRY(conv_grouped(e, s, &a, &c, biases, from, err));
    } else if (!pq_emit_vectors(e, s, a.after)) {
        pq_emit_functions_over(e, s, a.after, e->place[s->last],
                               pq_emit_items(e, s->last));
    }
    pq_text_add(&e->body, "    }\n");
cleanup:
    pq_rows_free(&a);
    return st;
}
