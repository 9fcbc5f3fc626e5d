/* Convolutions of random shape, with what follows them. */
#ifndef PQ_TESTS_EXEC_DRAW_CONV_H
#define PQ_TESTS_EXEC_DRAW_CONV_H

#include "models.h"

/* Puts a kernel on a grid of its own range, or of that of each channel. */
static inline void quantize_kernel(pq_layer *layer, int bits, bool channels)
{
    pq_weight   *w = pq_layer_weight(layer, "kernel");
    const size_t n = channels ? w->value->shape.dim[0] : 1, run = w->value->count / n;

    OK(pq_quant_create(PQ_QUANT_INTEGER, bits, true, true, channels ? 0 : -1, n,
                       &w->quant, &err));
    for (size_t c = 0; c < n; c++) {
        double most = 0.0;
        for (size_t i = c * run; i < (c + 1) * run; i++) {
            most = fmax(most, fabs((double)pq_f32(w->value)[i]));
        }
        pq_quant_set_range(w->quant, c, -most, most, true);
    }
    OK(pq_quant_apply(w->quant, w->value, &err));
}

/* conv2d of any stride, dilation, padding and groups, up to 67 channels, kernels of 1 to
 * 7; its window is somewhere in the image. */
static inline pq_layer *draw_conv(pq_rng *rng, const size_t in[3])
{
    static const char *const sides[] = {"pad_top", "pad_bottom", "pad_left", "pad_right"};
    pq_layer                *layer   = make_layer("conv2d");
    const size_t most_h = in[0] < 7 ? in[0] : 7, most_w = in[1] < 7 ? in[1] : 7;
    size_t       groups = pq_rng_below(rng, 4) == 0 ? 1 + pq_rng_below(rng, in[2]) : 1;

    while (in[2] % groups != 0) {
        groups--;
    }
    const size_t out = groups * (1 + pq_rng_below(rng, 67 / groups));
    const size_t h = 1 + pq_rng_below(rng, most_h), w = 1 + pq_rng_below(rng, most_w);

    set_size(layer, "groups", groups);
    set_size(layer, "stride_h", 1 + pq_rng_below(rng, 3));
    set_size(layer, "stride_w", 1 + pq_rng_below(rng, 3));
    set_size(layer, "dilation_h", (h - 1) * 2 < in[0] ? 1 + pq_rng_below(rng, 2) : 1);
    set_size(layer, "dilation_w", (w - 1) * 2 < in[1] ? 1 + pq_rng_below(rng, 2) : 1);
    OK(pq_layer_set(layer, "padding", "explicit", &err));
    for (size_t i = 0; i < 4; i++) {
        set_size(layer, sides[i], pq_rng_below(rng, 5));
    }
    return affine(rng, layer, PQ_SHAPE(out, h, w, in[2] / groups), pq_rng_below(rng, 2));
}

/* Up to 40 x 40 pixels of up to 67 channels, fewer the more there are. */
static inline void draw_image(pq_rng *rng, size_t in[3])
{
    in[2] = pq_rng_below(rng, 2) == 0 ? 1 + pq_rng_below(rng, 67)
                                      : 16 * (1 + pq_rng_below(rng, 4));
    for (size_t i = 0; i < 2; i++) {
        in[i] = 1 + pq_rng_below(rng, in[2] > 20 ? 14 : 40);
    }
}

/* What follows a convolution. */
enum { WITH_RELU = 1, WITH_SUM = 2, WITH_NORM = 4, WITH_CLIP = 8, WITH_ALL = 15 };

/* Images, a convolution "conv", and what is wanted: a BatchNorm, a sum with another
 * convolution like it, a relu or a clip. */
static inline pq_graph *draw_conv_graph(pq_rng *rng, size_t with, size_t in[3])
{
    pq_graph   *g = NULL;
    char        shape[64];
    const char *last = "conv";

    draw_image(rng, in);
    (void)snprintf(shape, sizeof shape, "[%zu, %zu, %zu]", in[0], in[1], in[2]);
    OK(pq_graph_create(&g, &err));
    add_input(g, "x", shape);
    add_layer(g, "conv", draw_conv(rng, in), "x");
    OK(pq_graph_check(g, &err));
    if ((with & WITH_NORM) != 0) {
        add_layer(g, "norm", norm_layer(rng, g->nodes[1].shape.dim[2]), last);
        last = "norm";
    }
    if ((with & WITH_SUM) != 0) {
        pq_layer *again = NULL;
        OK(pq_layer_clone(g->nodes[1].layer, &again, &err));
        add_layer(g, "again", again, "x");
        add_layer2(g, "add", make_layer("add"), "again", last);
        last = "add";
    }
    if ((with & WITH_RELU) != 0) {
        add_layer(g, "relu", make_layer("relu"), last);
    } else if ((with & WITH_CLIP) != 0) {
        add_layer(
            g, "clip",
            make_layer_with("clip", (const char *const[]){"lo=-0.4", "hi=0.9", NULL}),
            last);
    }
    OK(pq_graph_check(g, &err));
    return g;
}

/* Input and kernel on grids of 8 bits or fewer, and the output: after a relu too. */
static inline void put_on_bytes(pq_graph *g, pq_rng *rng, size_t trial)
{
    const double lo = pq_rng_below(rng, 3) == 0 ? 0.0 : -2.0;

    g->nodes[0].quant = range_grid(8, trial % 5 < 3, lo, 2.5);
    g->nodes[g->output].quant =
        range_grid(8 - (int)(trial % 2), trial % 5 < 2, -1.5, 2.0);
    quantize_kernel(g->nodes[1].layer, 8 - (int)(trial % 3), trial % 4 < 2);
}

/* 1 to 65 samples, fewer of larger ones. */
static inline size_t draw_samples(pq_rng *rng, const size_t in[3])
{
    return 1 + pq_rng_below(rng, in[0] * in[1] * in[2] < 3000 ? 65 : 4);
}

#endif
