/* Models too large for generated code: refused by the number and the most, with nothing
 * written. */
#include "codegen/whole_nets.h"

TestSuite(limits, .init = make_folder, .fini = remove_folder);

static void expect_too_large(pq_graph *g, bool hls, const char *why)
{
    pq_err             refusal = {0};
    pq_codegen_summary made;
    char               path[96];

    (void)snprintf(path, sizeof path, "%s/net", folder);
    cr_expect_eq(
        hls ? pq_codegen_hls(g, "net", path, &made, &refusal)
            : pq_codegen_write(g, "net", PQ_CODEGEN_AVX512, path, &made, &refusal),
        PQ_ERR_RANGE);
    cr_expect_not_null(strstr(refusal.message, why), "%s", refusal.message);
    cr_expect_neq(access(path, F_OK), 0, "something was written");
    pq_graph_free(&g);
}

/* An image, its own maxima, and those of its parts. */
static pq_graph *image_net(const char *shape, bool fixed)
{
    net t = {.rng = pq_rng_stream(3, "limits")};

    OK(pq_graph_create(&t.graph, &err));
    add_input(t.graph, "in", shape);
    (void)snprintf(t.last, sizeof t.last, "in");
    OK(pq_graph_check(t.graph, &err));
    if (fixed) {
        t.graph->nodes[0].quant           = activations(&t, true, 6);
        t.graph->nodes[0].quant->overflow = PQ_OVERFLOW_SAT;
    }
    pq_layer *pool = make_layer("max_pool");
    set(pool, "kernel_h", 1);
    set(pool, "kernel_w", 1);
    append(&t, pool);
    pool = make_layer("max_pool");
    set(pool, "kernel_h", 50);
    set(pool, "kernel_w", 50);
    append(&t, pool);
    return t.graph;
}

Test(limits, more_weights_than_tables_hold, .timeout = 300)
{
    net t = {.rng = pq_rng_stream(2, "limits")};

    OK(pq_graph_create(&t.graph, &err));
    add_input(t.graph, "in", "[4097]");
    (void)snprintf(t.last, sizeof t.last, "in");
    append(&t, affine(&t.rng, make_layer("dense"), PQ_SHAPE(4096, 4097), false));
    expect_too_large(t.graph, false,
                     "layer 'l0': the model's tables would hold more than 16777216 "
                     "numbers, the most for generated C");
}

Test(limits, more_values_than_the_stack_holds)
{
    expect_too_large(image_net("[800, 800, 1]", false), false,
                     "one call would need 2560000 bytes of stack, more than 2097152");
    expect_too_large(image_net("[800, 800, 1]", true), false,
                     "bytes of stack, more than 2097152");
    expect_too_large(image_net("[400, 400, 1]", true), true,
                     "layer 'l0': with it the model holds more than 262144 values, the "
                     "most for HLS C++");
}
