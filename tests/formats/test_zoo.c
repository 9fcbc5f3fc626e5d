#include <criterion/criterion.h>
#include <stdio.h>

#include "formats/zoo.h"

static size_t parameters(const pq_graph *g)
{
    return pq_graph_parameters(g, (pq_count_rule){.biases = true, .norms = true}, NULL);
}

static uint64_t macs(const pq_graph *g)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < g->n_nodes; i++) {
        sum += pq_node_macs(g, i);
    }
    return sum;
}

/* Counts from the layers' shapes: a stem of 3 x 3 x 3 x 16, three stages of 2 n
 * convolutions 3 x 3 with BatchNorm, 64 to 10; published: 0.27, 0.46, 0.66, 0.85 M
 * parameters. */
Test(zoo, residual_networks_have_the_counts_of_their_shapes)
{
    static const size_t blocks[]  = {3, 5, 7, 9};
    static const size_t rounded[] = {27, 46, 66, 85};

    for (size_t k = 0; k < 4; k++) {
        const size_t n       = blocks[k];
        size_t       weights = 27 * 16 + 650, products = 27 * 16 * 1024 + 640, in = 16;
        pq_graph    *g = NULL;
        char         name[16];
        pq_err       err = {0};

        for (size_t stage = 0; stage < 3; stage++) {
            const size_t c    = (size_t)16 << stage;
            const size_t here = 9 * (in * c + (2 * n - 1) * c * c);
            weights += here + 2 * 2 * n * c;
            products += here * ((size_t)1024 >> (2 * stage));
            in = c;
        }
        weights += 2 * 16;
        snprintf(name, sizeof name, "resnet%zu", 6 * n + 2);
        cr_assert_eq(pq_zoo_build(name, 1, &g, &err), PQ_OK, "%s", err.message);
        cr_expect_eq(parameters(g), weights, "%s: %zu", name, parameters(g));
        cr_expect_eq(macs(g), products, "%s: %zu", name, (size_t)macs(g));
        cr_expect_eq((weights + 5000) / 10000, rounded[k]);
        pq_graph_free(&g);
    }
}

/* Garipov et al., arXiv:1611.03214: 557,248 and 13,934,538 parameters. */
Test(zoo, networks_of_ultimate_tensorization_have_their_published_parameters)
{
    static const char *const names[] = {"garipov-conv", "garipov-conv-fc"};
    static const size_t      due[]   = {557248, 13934538};

    for (size_t i = 0; i < 2; i++) {
        pq_graph *g   = NULL;
        pq_err    err = {0};
        cr_assert_eq(pq_zoo_build(names[i], 1, &g, &err), PQ_OK, "%s", err.message);
        cr_expect_eq(parameters(g), due[i], "%zu", parameters(g));
        pq_graph_free(&g);
    }
}
