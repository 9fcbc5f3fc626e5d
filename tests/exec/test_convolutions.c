#include "draw_conv.h"

#include "exec/codes.h"
#include "kernels/bytes.h"

/* Outputs are of size 1 and sums have at most 3283 products. */
static const double most_difference = 4e-5;

enum { TRIALS = 150 };

/* oneDNN may compute those, to one step of the grid. */
static bool is_depthwise(const pq_graph *g)
{
    const pq_shape *kernel = &pq_layer_weight(g->nodes[1].layer, "kernel")->value->shape;

    return kernel->dim[3] == 1 && g->nodes[0].shape.dim[2] == kernel->dim[0];
}

/* An engine beside the reference, on numbers that are bfloat16 already where `rounded`.
 */
static void compare(const pq_graph *g, const char *engine, const size_t in[3],
                    bool rounded, size_t trial, pq_rng *rng)
{
    const size_t n = draw_samples(rng, in), count = in[0] * in[1] * in[2];
    float       *x     = pq_calloc(n * count, sizeof *x), *due, *out, *alone;
    size_t       width = 0;

    cr_assert(pq_shape_count(&g->nodes[g->output].shape, &width));
    fill_normal(rng, 1.0, n * count, x);
    for (size_t i = 0; rounded && i < n * count; i++) {
        x[i] = nearest_bf16(x[i]);
    }
    due   = run_graph(g, "reference", n, n, x);
    out   = run_graph(g, engine, n, n, x);
    alone = run_graph(g, engine, 1, n, x);
    cr_expect_leq(largest_difference(due, out, n * width), most_difference, "trial %zu",
                  trial);
    cr_expect_arr_eq(out, alone, n * width * sizeof *out, "trial %zu: batches", trial);
    pq_free(x);
    pq_free(due);
    pq_free(out);
    pq_free(alone);
}

Test(convolutions, of_any_shape_are_those_of_the_reference_whatever_the_batch)
{
    pq_rng rng = pq_rng_stream(21, "convolutions");

    for (size_t trial = 0; trial < TRIALS; trial++) {
        size_t    in[3];
        pq_graph *g = draw_conv_graph(&rng, trial & WITH_ALL, in);
        OK(pq_graph_check(g, &err));
        compare(g, "float32", in, false, trial, &rng);
        pq_graph_free(&g);
    }
}

/* No code differs, whichever kernel: own ones round as the integer engine does. */
Test(convolutions, of_bytes_are_those_of_the_integer_engine_whatever_the_batch)
{
    pq_rng rng = pq_rng_stream(22, "convolutions");

    for (size_t trial = 0; trial < TRIALS; trial++) {
        size_t    in[3], width = 0, apart = 0;
        pq_graph *g = draw_conv_graph(&rng, trial & WITH_RELU, in);
        put_on_bytes(g, &rng, trial);
        OK(pq_graph_check(g, &err));
        cr_assert(pq_shape_count(&g->nodes[g->output].shape, &width));
        const size_t    n = draw_samples(&rng, in), count = in[0] * in[1] * in[2];
        const pq_quant *q = pq_code_grid(g, g->output);
        float          *x = pq_calloc(n * count, sizeof *x), *due, *out, *alone;
        fill_normal(&rng, 1.0, n * count, x);
        due   = run_graph(g, "integer", n, n, x);
        out   = run_graph(g, "int8", n, n, x);
        alone = run_graph(g, "int8", 1, n, x);
        for (size_t i = 0; i < n * width; i++) {
            apart += due[i] != out[i];
        }
        cr_expect(apart == 0 || (pq_bytes_find() == NULL && apart * 100 < n * width) ||
                      (is_depthwise(g) && apart * 100 < n * width),
                  "trial %zu: %zu of %zu codes differ", trial, apart, n * width);
        cr_expect_leq(largest_difference(due, out, n * width),
                      (double)q->scale[0] * 1.001);
        cr_expect_arr_eq(out, alone, n * width * sizeof *out, "trial %zu: batches",
                         trial);
        pq_free(x);
        pq_free(due);
        pq_free(out);
        pq_free(alone);
        pq_graph_free(&g);
    }
}

/* Products of bfloat16 numbers are exact in float32. */
Test(convolutions, of_bfloat16_numbers_are_those_of_the_reference_whatever_the_batch)
{
    pq_rng rng = pq_rng_stream(23, "convolutions");

    for (size_t trial = 0; engine_runs("bf16") && trial < TRIALS; trial++) {
        size_t    in[3];
        pq_graph *g = draw_conv_graph(&rng, trial & (WITH_ALL - WITH_NORM), in);
        for (size_t i = 0; i < g->n_nodes; i++) {
            pq_weight *w = pq_layer_weight(g->nodes[i].layer, "kernel");
            for (size_t k = 0; w != NULL && k < w->value->count; k++) {
                pq_f32(w->value)[k] = nearest_bf16(pq_f32(w->value)[k]);
            }
        }
        OK(pq_graph_check(g, &err));
        compare(g, "bf16", in, true, trial, &rng);
        pq_graph_free(&g);
    }
}

/* Long strides over wide padding: windows may lie in that alone. */
Test(convolutions, that_miss_the_image_are_those_of_the_reference)
{
    static const char *const engines[] = {"float32", "integer", "int8", "bf16"};
    pq_rng                   rng       = pq_rng_stream(24, "convolutions");

    for (size_t trial = 0; trial < TRIALS; trial++) {
        const size_t in[3]   = {1 + pq_rng_below(&rng, 5), 1 + pq_rng_below(&rng, 5),
                                1 + pq_rng_below(&rng, 20)};
        const size_t k       = 1 + pq_rng_below(&rng, 2);
        const size_t groups  = trial % 3 == 0 ? in[2] : 1;
        const size_t outputs = groups * (trial % 2 == 0 ? 1 : 3);
        pq_layer    *layer   = make_layer("conv2d");
        pq_graph    *g       = NULL;
        size_t       width   = 0;
        char         shape[32];

        (void)snprintf(shape, sizeof shape, "[%zu, %zu, %zu]", in[0], in[1], in[2]);
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", shape);
        set_size(layer, "groups", groups);
        set_size(layer, "stride_h", 1 + pq_rng_below(&rng, 12));
        set_size(layer, "stride_w", 1 + pq_rng_below(&rng, 12));
        OK(pq_layer_set(layer, "padding", "explicit", &err));
        set_size(layer, "pad_top", 1 + pq_rng_below(&rng, 9));
        set_size(layer, "pad_left", 1 + pq_rng_below(&rng, 9));
        affine(&rng, layer, PQ_SHAPE(outputs, k, k, in[2] / groups), true);
        add_layer(g, "conv", layer, "x");
        put_on_bytes(g, &rng, trial);
        OK(pq_graph_check(g, &err));
        cr_assert(pq_shape_count(&g->nodes[g->output].shape, &width));
        float x[3 * 5 * 5 * 20];
        fill_normal(&rng, 1.0, 3 * in[0] * in[1] * in[2], x);
        float *due = run_graph(g, "reference", 3, 3, x);
        for (size_t e = 0; e < sizeof engines / sizeof *engines; e++) {
            if (engine_runs(engines[e])) {
                float *out = run_graph(g, engines[e], 3, 3, x);
                cr_expect_leq(largest_difference(due, out, 3 * width),
                              (double)g->nodes[g->output].quant->scale[0] * 1.001,
                              "trial %zu, %s", trial, engines[e]);
                pq_free(out);
            }
        }
        pq_free(due);
        pq_graph_free(&g);
    }
}
