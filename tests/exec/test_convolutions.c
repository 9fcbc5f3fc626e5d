#include "draw_conv.h"

/* Outputs are of size 1 and sums have at most 3283 products. */
static const double most_difference = 4e-5;

enum { TRIALS = 150 };

Test(convolutions, of_any_shape_are_those_of_the_reference_whatever_the_batch)
{
    pq_rng rng = pq_rng_stream(21, "convolutions");

    for (size_t trial = 0; trial < TRIALS; trial++) {
        size_t    in[3], width = 0;
        pq_graph *g = draw_conv_graph(&rng, trial, in);
        OK(pq_graph_check(g, &err));
        cr_assert(pq_shape_count(&g->nodes[g->output].shape, &width));
        const size_t n = draw_samples(&rng, in), count = in[0] * in[1] * in[2];
        float       *x = pq_calloc(n * count, sizeof *x), *due, *out, *alone;
        fill_normal(&rng, 1.0, n * count, x);
        due   = run_graph(g, "reference", n, n, x);
        out   = run_graph(g, "float32", n, n, x);
        alone = run_graph(g, "float32", 1, n, x);
        cr_expect_leq(largest_difference(due, out, n * width), most_difference,
                      "trial %zu", trial);
        cr_expect_arr_eq(out, alone, n * width * sizeof *out, "trial %zu: batches",
                         trial);
        pq_free(x);
        pq_free(due);
        pq_free(out);
        pq_free(alone);
        pq_graph_free(&g);
    }
}
