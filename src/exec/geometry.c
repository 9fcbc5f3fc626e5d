#include "exec/geometry.h"

#include <string.h>

#include "core/memory.h"
#include "kernels/amx.h"

void pq_geometry_free(pq_geometry *g)
{
    pq_free(g->tap);
    *g = (pq_geometry){0};
}

static pq_status set_taps(pq_geometry *g, size_t rows, size_t columns, size_t length,
                          pq_err *err)
{
    const pq_window *w = &g->window;
    pq_status        st;

    g->taps   = rows * columns;
    g->length = length;
    PQ_NEW(g->tap, g->taps);
    for (size_t t = 0; t < g->taps; t++) {
        g->tap[t] =
            (t / columns * w->dilation_h * g->frame_w + t % columns * w->dilation_w) *
            g->channels;
    }
cleanup:
    return st;
}

/* The frame is what the window reaches: padding that no window reads is left out. */
static void place_frame(pq_geometry *g, size_t lanes, size_t quad)
{
    const pq_window *w = &g->window;

    g->cells    = g->groups == 1 && w->dilation_w == 1 ? w->kernel_w : 1;
    g->channels = w->channels;
    if (g->depthwise) {
        g->channels = (w->channels + lanes - 1) / lanes * lanes;
    }
    while (quad > 0 && g->groups == 1 &&
           !pq_amx_fits(g->cells * g->channels * 4 / quad)) {
        g->channels++;
    }
    g->frame_h = (w->out_h - 1) * w->stride_h + (w->kernel_h - 1) * w->dilation_h + 1;
    g->frame_w = (w->out_w - 1) * w->stride_w + (w->kernel_w - 1) * w->dilation_w + 1;
    g->framed  = w->pad_top > 0 || w->pad_left > 0 || g->frame_h > w->in_h ||
                g->frame_w > w->in_w || g->channels != w->channels;
    if (!g->framed) {
        g->frame_h = w->in_h;
        g->frame_w = w->in_w;
    }
}

static pq_status place_convolution(const pq_step *step, const pq_layer *layer,
                                   size_t lanes, size_t quad, pq_geometry *g, pq_err *err)
{
    pq_window *w = &g->window;
    pq_status  st;

    PQ_TRY(pq_conv2d_window(layer, &step->graph->nodes[step->in[0]].shape, w, err));
    g->groups    = (size_t)((const pq_conv2d_params *)layer->params)->groups;
    g->group_in  = w->channels / g->groups;
    g->group_out = g->outputs / g->groups;
    g->sum       = w->kernel_h * w->kernel_w * g->group_in;
    g->depthwise = g->groups > 1 && g->group_in == 1 && g->group_out == 1;
    place_frame(g, lanes, quad);
    const pq_shape frame = PQ_SHAPE(g->frame_h, g->frame_w, g->channels);
    PQ_CHECK(pq_shape_count(&frame, &g->frame_count) && g->frame_count < SIZE_MAX / 8,
             PQ_ERR_RANGE, "the padded image of %zux%zux%zu does not fit into memory",
             g->frame_h, g->frame_w, g->channels);
    g->lines     = w->out_h;
    g->rows      = w->out_w;
    g->row_step  = w->stride_w * g->channels;
    g->line_step = w->stride_h * g->frame_w * g->channels;
    if (g->groups == 1 && w->dilation_w == 1) {
        PQ_TRY(set_taps(g, w->kernel_h, 1, w->kernel_w * g->channels, err));
    } else {
        PQ_TRY(set_taps(g, w->kernel_h, w->kernel_w, g->group_in, err));
    }
    g->flat = !g->framed && w->kernel_h * w->kernel_w == 1 && w->stride_h == 1 &&
              w->stride_w == 1;
    if (g->flat) {
        g->rows  = w->out_h * w->out_w;
        g->lines = 1;
    }
cleanup:
    return st;
}

pq_status pq_geometry_place(const pq_step *step, const pq_layer *layer, size_t lanes,
                            size_t quad, pq_geometry *out, pq_err *err)
{
    const pq_shape *kernel = &pq_layer_weight(layer, "kernel")->value->shape;

    *out         = (pq_geometry){.groups = 1, .lines = 1, .cells = 1};
    out->outputs = kernel->dim[0];
    if (strcmp(layer->kind->name, "conv2d") == 0) {
        return place_convolution(step, layer, lanes, quad, out, err);
    }
    out->group_in  = kernel->dim[1];
    out->group_out = out->outputs;
    out->sum       = out->group_in;
    out->channels  = out->group_in;
    out->row_step  = out->group_in;
    out->flat      = true;
    out->rows      = pq_node_count(step->graph, step->node) / out->outputs;
    return set_taps(out, 1, 1, out->group_in, err);
}

/* n cells of the image into the frame, which has more channels. */
static inline void copy_cells(const pq_geometry *g, size_t item, size_t n,
                              const size_t bytes, const char *from, char *to)
{
    for (size_t i = 0; i < n; i++, from += bytes, to += g->channels * item) {
        memcpy(to, from, bytes);
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

pq_geometry_inside pq_geometry_place_image(const pq_geometry *g)
{
    const pq_window *w     = &g->window;
    const size_t     above = least(w->pad_top, g->frame_h);
    const size_t     left  = least(w->pad_left, g->frame_w);

    return (pq_geometry_inside){above, left, least(w->in_h, g->frame_h - above),
                                least(w->in_w, g->frame_w - left)};
}

pq_range pq_geometry_read(const pq_geometry *g, pq_range lines)
{
    const pq_window *w = &g->window;

    return (pq_range){lines.first * w->stride_h, (lines.end - 1) * w->stride_h +
                                                     (w->kernel_h - 1) * w->dilation_h +
                                                     1};
}

size_t pq_geometry_products(const pq_geometry *g)
{
    return g->lines * g->rows * g->outputs * g->sum;
}

/* The cells of one line of the image into its frame. */
static void frame_cells(const pq_geometry *g, size_t item, size_t n, const char *from,
                        char *to)
{
    const size_t bytes = g->window.channels * item;

    if (g->channels == g->window.channels) {
        memcpy(to, from, n * bytes);
    } else if (bytes == 3) { /* colours: a copy of constant size */
        copy_cells(g, item, n, 3, from, to);
    } else if (bytes == 6) {
        copy_cells(g, item, n, 6, from, to);
    } else {
        copy_cells(g, item, n, bytes, from, to);
    }
}

void pq_geometry_frame(const pq_geometry *g, pq_range lines, size_t item_bytes, int fill,
                       const void *in, void *frame)
{
    const pq_geometry_inside p    = pq_geometry_place_image(g);
    const size_t             cell = g->channels * item_bytes, line = g->frame_w * cell;
    const size_t             from_line = g->window.in_w * g->window.channels * item_bytes;

    for (size_t y = lines.first; y < lines.end; y++) {
        char *to = (char *)frame + y * line;
        if (y < p.above || y >= p.above + p.lines) {
            memset(to, fill, line);
            continue;
        }
        if (g->channels == g->window.channels) {
            memset(to, fill, p.left * cell);
            memset(to + (p.left + p.columns) * cell, fill,
                   (g->frame_w - p.left - p.columns) * cell);
        } else {
            memset(to, fill, line);
        }
        frame_cells(g, item_bytes, p.columns,
                    (const char *)in + (y - p.above) * from_line, to + p.left * cell);
    }
}

size_t pq_geometry_whole(size_t n, size_t panel)
{
    return (n + panel - 1) / panel * panel;
}

size_t pq_geometry_panel(const pq_geometry *g, size_t lanes, size_t channel, size_t *n)
{
    const size_t left = g->group_out - channel % g->group_out;

    if (g->depthwise) {
        *n = g->outputs;
        return pq_geometry_whole(g->outputs, lanes);
    }
    *n = left < 2 * lanes ? left : 2 * lanes;
    return left > lanes ? 2 * lanes : lanes;
}
