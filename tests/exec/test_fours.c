#include "models.h"

#include <string.h>

#include "kernels/kernels.h"

enum { EVENTS = 9 };

/* What computes a graph in float32, so many events at once. */
static void expect_kernels(const pq_graph *g, size_t batch, const char *due,
                           const char *what)
{
    const pq_plan_options options = {"float32", batch};
    pq_plan              *plan    = NULL;
    pq_text               text    = {0};

    OK(pq_plan_create(g, &options, &plan, &err));
    pq_plan_kernels(plan, &text);
    cr_expect_str_eq(text.text, due, "%s, %zu at once: %s", what, batch, text.text);
    pq_text_free(&text);
    pq_plan_free(&plan);
}

/* Keeps n of every m neighbours along the inputs of a dense layer, the first in turn. */
static void keep(pq_graph *g, size_t node, size_t n, size_t m)
{
    const pq_tensor *w   = pq_layer_weight(g->nodes[node].layer, "kernel")->value;
    const size_t     row = w->shape.dim[1];

    for (size_t i = 0; i < w->count; i++) {
        const size_t place = (i % row + i / row) % m;
        if (place >= n) {
            pq_f32(w)[i] = 0.0F;
        }
    }
}

/* dense, BatchNorm, relu; dense; their sum: all that is folded into one product. */
static pq_graph *residual_net(pq_rng *rng)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "[18]");
    add_layer(g, "a", affine(rng, make_layer("dense"), PQ_SHAPE(40, 18), true), "x");
    add_layer(g, "norm", norm_layer(rng, 40), "a");
    add_layer(g, "relu", make_layer("relu"), "norm");
    add_layer(g, "b", affine(rng, make_layer("dense"), PQ_SHAPE(40, 40), false), "relu");
    add_layer2(g, "sum", make_layer("add"), "b", "relu");
    OK(pq_graph_check(g, &err));
    return g;
}

static const struct {
    const char *what;
    size_t      n, m;
    const char *alone; /* of a single event, "" as all weights */
} cases[] = {{"2:4", 2, 4, ", 2 of 4"},
             {"1:4", 1, 4, ", 1 of 4"},
             {"1:8", 1, 8, ", 1 of 4"},
             {"3:4", 3, 4, ""},
             {"dense", 4, 4, ""}};

/* Rows begin at turning places, so that of m = 8 no group has more than one. */
Test(fours, a_single_event_takes_the_few_weights_and_gives_the_same_bits)
{
    pq_rng rng = pq_rng_stream(1, "fours");
    float  x[EVENTS * 18];

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        pq_graph *g = residual_net(&rng);
        float    *alone, *many, *due;
        char      text[64];

        fill_normal(&rng, 1.0, EVENTS * 18, x);
        keep(g, 1, cases[c].n, cases[c].m);
        keep(g, 4, cases[c].n, cases[c].m);
        alone = run_graph(g, "float32", 1, EVENTS, x);
        many  = run_graph(g, "float32", EVENTS, EVENTS, x);
        due   = run_graph(g, "reference", EVENTS, EVENTS, x);
        cr_expect_eq(memcmp(alone, many, sizeof(float) * EVENTS * 40), 0, "%s",
                     cases[c].what);
        cr_expect_leq(largest_difference(alone, due, EVENTS * 40), 2e-5, "%s",
                      cases[c].what);
        (void)snprintf(text, sizeof text, "2 x float32:%s%s", pq_isa_name(pq_cpu_isa()),
                       pq_cpu_isa() == PQ_ISA_PORTABLE ? "" : cases[c].alone);
        expect_kernels(g, 1, text, cases[c].what);
        (void)snprintf(text, sizeof text, "2 x float32:%s", pq_isa_name(pq_cpu_isa()));
        expect_kernels(g, EVENTS, text, cases[c].what);
        pq_free(alone);
        pq_free(many);
        pq_free(due);
        pq_graph_free(&g);
    }
}
