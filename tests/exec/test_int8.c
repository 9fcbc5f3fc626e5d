#include "draw_conv.h"

#include <pthread.h>
#include <string.h>

#include "exec/bytes.h"
#include "exec/codes.h"
#include "kernels/bytes.h"

/* Whether a plan's list of kernels has these words of ours; a library's own names of
 * kernels differ from processor to processor. */
static bool has_kernel(const pq_graph *g, const char *word)
{
    const pq_plan_options options = {"int8", 1};
    pq_plan              *plan    = NULL;
    pq_text               text    = {0};
    bool                  has;

    OK(pq_plan_create(g, &options, &plan, &err));
    pq_plan_kernels(plan, &text);
    has = text.text != NULL && strstr(text.text, word) != NULL;
    pq_text_free(&text);
    pq_plan_free(&plan);
    return has;
}

/* Outputs are those of whole numbers: the same bits from our words, to one step of their
 * grid from oneDNN, which scales in float32. How many are apart. */
static size_t compare(pq_graph *g, pq_rng *rng, size_t n, size_t count)
{
    const pq_quant *q    = pq_code_grid(g, g->output);
    const double    step = q != NULL ? (double)q->scale[0] : 0.0;
    size_t          width, apart = 0;
    float          *x = pq_calloc(n * count, sizeof *x), *a, *b, *c;

    OK(pq_graph_check(g, &err));
    (void)pq_shape_count(&g->nodes[g->output].shape, &width);
    fill_normal(rng, 1.0, n * count, x);
    a = run_graph(g, "integer", n, n, x);
    b = run_graph(g, "int8", n, n, x);
    c = run_graph(g, "int8", 1, n, x);
    for (size_t i = 0; i < n * width; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        apart += d > 0.0 && step > 0.0 ? 1 : 0;
        cr_assert_leq(d, step * 1.001 + 1e-5 * fabs((double)a[i]), "item %zu: %g, not %g",
                      i, (double)b[i], (double)a[i]);
        cr_assert_eq(b[i], c[i], "the batch does not matter");
    }
    pq_free(x);
    pq_free(a);
    pq_free(b);
    pq_free(c);
    return apart;
}

Test(int8, convolutions_are_those_of_the_integer_engine_to_one_step)
{
    pq_rng rng   = pq_rng_stream(5, "int8");
    size_t apart = 0;

    for (size_t trial = 0; trial < 60; trial++) {
        const size_t groups = trial % 5 == 4 ? 8 : 1,
                     out    = 8 * (1 + pq_rng_below(&rng, 3));
        const size_t k      = 1 + pq_rng_below(&rng, 3);
        const int    bits   = 8 - (int)(trial % 4);
        pq_layer    *layer  = make_layer("conv2d");
        pq_graph    *g      = NULL;
        OK(pq_graph_create(&g, &err));
        add_input(g, "in", "[9, 8, 8]");
        g->nodes[0].quant =
            range_grid(bits, trial % 2 == 0, trial % 3 == 0 ? 0.0 : -2.0, 2.5);
        set_size(layer, "stride_h", 1 + pq_rng_below(&rng, 2));
        set_size(layer, "stride_w", 1 + pq_rng_below(&rng, 2));
        set_size(layer, "dilation_h", 1 + pq_rng_below(&rng, 2));
        set_size(layer, "groups", groups);
        OK(pq_layer_set(layer, "padding", trial % 2 == 0 ? "same" : "valid", &err));
        affine(&rng, layer, PQ_SHAPE(out, k, k, 8 / groups), trial % 3 != 1);
        quantize_kernel(layer, bits, trial % 2 == 0);
        add_layer(g, "conv", layer, "in");
        if (trial % 3 == 0) {
            add_layer(g, "relu", make_layer("relu"), "conv");
        }
        g->nodes[g->output].quant =
            trial % 7 == 6 ? NULL
                           : range_grid(bits, true, trial % 4 == 0 ? 0.0 : -3.0, 3.0);
        const bool   exact = has_kernel(g, "int16 words:") || has_kernel(g, "bytes:");
        const size_t off   = compare(g, &rng, 3, 9 * 8 * 8);
        cr_assert(has_kernel(g, ", native") || has_kernel(g, ", emulated"),
                  "trial %zu is not in whole numbers", trial);
        cr_expect(!exact || off == 0, "trial %zu: %zu codes of exact sums", trial, off);
        apart += off;
        pq_graph_free(&g);
    }
    cr_expect_lt(apart, 100, "%zu of some 60 000 codes", apart);
}

/* A plan made and run by a thread that has run none before. */
static void *strided_pointwise(void *failures)
{
    enum { IMAGES = 3, ITEMS = 9 * 8 * 8, RUNS = 100 };
    pq_rng                rng     = pq_rng_stream(11, "int8");
    const pq_plan_options options = {"int8", IMAGES};
    pq_layer             *layer   = make_layer("conv2d");
    pq_graph             *g       = NULL;
    pq_plan              *plan    = NULL;
    float                *due, *y, x[IMAGES * ITEMS];
    const float          *in[1] = {x};
    size_t                width;

    OK(pq_graph_create(&g, &err));
    add_input(g, "in", "[9, 8, 8]");
    g->nodes[0].quant = range_grid(7, false, -2.0, 2.5);
    set_size(layer, "stride_w", 2);
    affine(&rng, layer, PQ_SHAPE(16, 1, 1, 8), true);
    quantize_kernel(layer, 7, false);
    add_layer(g, "conv", layer, "in");
    OK(pq_graph_check(g, &err));
    (void)pq_shape_count(&g->nodes[g->output].shape, &width);
    fill_normal(&rng, 1.0, IMAGES * ITEMS, x);
    OK(pq_plan_create(g, &options, &plan, &err));
    due = run_graph(g, "int8", 1, IMAGES, x);
    y   = pq_calloc(IMAGES * width, sizeof *y);
    for (size_t run = 0; run < RUNS; run++) {
        OK(pq_plan_run(plan, IMAGES, in, y, &err));
        *(size_t *)failures += memcmp(y, due, IMAGES * width * sizeof *y) != 0;
    }
    pq_plan_free(&plan);
    pq_graph_free(&g);
    pq_free(due);
    pq_free(y);
    return NULL;
}

Test(int8, plans_of_new_threads_run_on_one)
{
    size_t failures = 0;

    for (size_t i = 0; i < 40; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, strided_pointwise, &failures), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
    cr_expect_eq(failures, 0, "%zu of 4000 runs are wrong", failures);
}

Test(int8, is_an_engine_to_choose_where_it_multiplies_whole_numbers)
{
    pq_rng      rng = pq_rng_stream(10, "int8");
    pq_graph   *g   = NULL;
    const char *engines[PQ_FAST_ENGINES];
    size_t      n;
    pq_layer   *layer = affine(&rng, make_layer("dense"), PQ_SHAPE(20, 16), true);

    OK(pq_graph_create(&g, &err));
    add_input(g, "in", "[16]");
    add_layer(g, "fc", layer, "in");
    add_layer(g, "relu", make_layer("relu"), "fc");
    OK(pq_plan_engines(g, engines, &n, &err));
    cr_expect_eq(n, 1, "nothing has a grid");
    cr_expect_str_eq(engines[0], "float32");
    quantize_kernel(layer, 8, true);
    OK(pq_plan_engines(g, engines, &n, &err));
    cr_expect_eq(n, 1, "weights alone have one");
    g->nodes[0].quant = range_grid(8, true, -2.0, 2.0);
    OK(pq_plan_engines(g, engines, &n, &err));
    cr_assert_eq(n, 2);
    cr_expect_str_eq(engines[1], "int8");
    pq_graph_free(&g);
}

/* A grid that is none of bytes behind a layer on bytes is applied all the same. */
Test(int8, a_wide_grid_behind_bytes_is_not_lost)
{
    pq_rng    rng   = pq_rng_stream(9, "int8");
    pq_layer *layer = make_layer("dense");
    pq_graph *g     = NULL;
    float     x[8];
    float    *y;

    OK(pq_graph_create(&g, &err));
    add_input(g, "in", "[8]");
    g->nodes[0].quant = range_grid(8, true, -2.0, 2.0);
    affine(&rng, layer, PQ_SHAPE(6, 8), true);
    quantize_kernel(layer, 7, true);
    add_layer(g, "fc", layer, "in");
    g->nodes[1].quant = range_grid(10, true, -2.0, 2.0);
    fill_normal(&rng, 1.0, 8, x);
    y = run_graph(g, "int8", 1, 1, x);
    for (size_t i = 0; i < 6; i++) {
        cr_expect_eq(y[i], pq_quant_round(g->nodes[1].quant, 0, y[i]));
    }
    pq_free(y);
    pq_graph_free(&g);
}

Test(int8, sums_and_means_of_codes_too)
{
    pq_rng rng = pq_rng_stream(6, "int8");

    for (size_t trial = 0; trial < 12; trial++) {
        pq_graph *g = NULL;
        OK(pq_graph_create(&g, &err));
        add_input(g, "in", "[5, 5, 7]");
        g->nodes[0].quant = range_grid(8, true, -2.0, 2.0);
        add_layer(g, "t", make_layer("tanh"), "in");
        g->nodes[1].quant = range_grid(8, false, -1.0, 1.0);
        add_layer2(g, "add", make_layer("add"), "in", "t");
        if (trial % 2 == 0) {
            add_layer(g, "relu", make_layer("relu"), "add");
        }
        g->nodes[g->output].quant = range_grid(7, true, trial % 3 == 0 ? 0.0 : -2.0, 2.2);
        pq_layer *pool = make_layer(trial < 6 ? "global_avg_pool" : "avg_pool");
        if (trial >= 6) { /* the same, by its window */
            OK(pq_layer_set(pool, "kernel_h", "5", &err));
            OK(pq_layer_set(pool, "kernel_w", "5", &err));
        }
        add_layer(g, "pool", pool, trial % 2 == 0 ? "relu" : "add");
        g->nodes[g->output].quant = range_grid(8, true, -1.0, 1.0);
        cr_expect_leq(compare(g, &rng, 4, 175), 28);
        cr_expect(has_kernel(g, "2 x sums and means of bytes"), "trial %zu", trial);
        pq_graph_free(&g);
    }
}

Test(int8, dense_layers_on_rows_and_what_stays_float)
{
    pq_rng    rng = pq_rng_stream(7, "int8");
    pq_graph *g   = NULL;
    pq_layer *layer;

    OK(pq_graph_create(&g, &err));
    add_input(g, "in", "[3, 16]");
    g->nodes[0].quant = range_grid(8, true, -2.0, 2.0);
    layer             = affine(&rng, make_layer("dense"), PQ_SHAPE(20, 16), true);
    quantize_kernel(layer, 8, true);
    add_layer(g, "fc", layer, "in");
    add_layer(g, "relu", make_layer("relu"), "fc");
    g->nodes[2].quant = range_grid(8, true, 0.0, 3.0);
    add_layer(g, "plain", affine(&rng, make_layer("dense"), PQ_SHAPE(6, 20), true),
              "relu");
    g->nodes[3].quant = range_grid(8, true, -2.0, 2.0);
    (void)compare(g, &rng, 5, 48);
    pq_graph_free(&g);
}

/* Sizes of jets' networks and odd ones, at every batch size of a block of rows. */
Test(int8, dense_layers_by_our_own_kernel_have_the_bits_of_the_integer_engine)
{
    static const size_t sizes[][4] = {
        {16, 64, 32, 5}, {7, 33, 17, 3}, {1, 1, 1, 1}, {130, 100, 66, 48}};
    pq_rng rng = pq_rng_stream(13, "int8");

    if (pq_bytes_find() == NULL) {
        cr_skip_test("this processor has no products of bytes");
    }
    for (size_t c = 0; c < 16; c++) {
        const size_t *size = sizes[c % 4];
        pq_graph     *g    = NULL;
        char          shape[16], name[8], last[8] = "in";

        OK(pq_graph_create(&g, &err));
        (void)snprintf(shape, sizeof shape, "[%zu]", size[0]);
        add_input(g, "in", shape);
        g->nodes[0].quant = range_grid(8, c % 2 == 0, -2.0, 2.5);
        for (size_t i = 1; i < 4; i++) {
            pq_layer *l = make_layer("dense");
            affine(&rng, l, PQ_SHAPE(size[i], size[i - 1]), true);
            quantize_kernel(l, 8, c % 3 != 0);
            (void)snprintf(name, sizeof name, "fc%zu", i);
            add_layer(g, name, l, last);
            (void)snprintf(last, sizeof last, "%s", name);
            if (i == 3 && c < 8) {
                break; /* logits in float */
            }
            if (i < 3) {
                (void)snprintf(name, sizeof name, "r%zu", i);
                add_layer(g, name, make_layer("relu"), last);
                (void)snprintf(last, sizeof last, "%s", name);
            }
            g->nodes[g->n_nodes - 1].quant =
                range_grid(8, c % 4 == 1, i < 3 ? 0.0 : -3.0, 3.0);
        }
        for (size_t n = 1; n <= 20; n += n < 14 ? 1 : 6) {
            cr_expect_eq(compare(g, &rng, n, size[0]), 0, "case %zu, batch %zu", c, n);
        }
        cr_expect(has_kernel(g, pq_bytes_find()->name));
        pq_graph_free(&g);
    }
}

Test(int8, every_failed_allocation_leaves_nothing_behind)
{
    const pq_plan_options options = {"int8", 2};
    pq_rng                rng     = pq_rng_stream(8, "int8");
    pq_graph             *g       = NULL;
    pq_layer             *layer;
    pq_status             st = PQ_ERR_NOMEM;

    OK(pq_graph_create(&g, &err));
    add_input(g, "in", "[4, 4, 8]");
    g->nodes[0].quant = range_grid(8, true, -2.0, 2.0);
    layer             = affine(&rng, make_layer("conv2d"), PQ_SHAPE(8, 3, 3, 8), true);
    quantize_kernel(layer, 8, true);
    add_layer(g, "conv", layer, "in");
    add_layer(g, "pool", make_layer("global_avg_pool"), "conv");
    OK(pq_graph_check(g, &err));
    const size_t live = pq_memory_live();
    for (size_t at = 0; st != PQ_OK; at++) {
        pq_plan *plan = NULL;
        pq_memory_fail_after(at);
        st = pq_plan_create(g, &options, &plan, NULL);
        pq_memory_fail_after(SIZE_MAX);
        pq_plan_free(&plan);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        cr_assert_eq(pq_memory_live(), live, "allocation %zu", at);
    }
    pq_graph_free(&g);
}

/* Floats become the bytes of the contract, also where a float32 quotient is a tie and the
 * true one is none. */
Test(int8, floats_become_the_codes_of_the_quotient_in_double)
{
    enum { N = 3000 };
    pq_rng    rng = pq_rng_stream(12, "int8");
    pq_graph *g   = NULL;
    float     x[N];
    uint8_t   codes[N];
    size_t    near = 0;

    for (int trial = 0; trial < 40; trial++) {
        OK(pq_graph_create(&g, &err));
        add_input(g, "in", "[3000]");
        g->nodes[0].quant =
            range_grid(8, trial % 2 == 0, -2.0 - pq_rng_uniform(&rng), 3.0);
        OK(pq_graph_check(g, &err));
        const pq_quant *q = g->nodes[0].quant;
        for (size_t i = 0; i < N; i++) {
            const double tie =
                ((double)pq_rng_below(&rng, 120) - 60.5) * (double)q->scale[0];
            x[i] = i % 3 == 0 ? (float)tie
                              : nextafterf((float)tie, i % 3 == 1 ? -9.0f : 9.0f);
            near += rintf(x[i] / q->scale[0]) != rint((double)x[i] / (double)q->scale[0]);
        }
        pq_bytes_take(g, 0, 1, x, codes);
        for (size_t i = 0; i < N; i++) {
            cr_assert_eq(codes[i],
                         pq_quant_code_real(q, 0, (double)x[i]) - pq_quant_lo(q));
        }
        pq_graph_free(&g);
    }
    cr_expect_gt(near, 100, "the drawn values are no test: %zu", near);
}
