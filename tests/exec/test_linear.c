#include "models.h"

#include <string.h>

#include "exec/linear.h"
#include "exec/skips.h"
#include "exec/tt_conv.h"

/* Outputs are of size 1 and sums have at most 1600 products. */
static const double most_difference = 2e-5;

enum { SAMPLES = 5 };

typedef struct {
    const char *what;
    const char *input; /* shape */
    const char *kind;
    pq_shape    kernel;
    bool        bias;
    const char *attributes[8];
} layer_case;

static const layer_case cases[] = {
    {"dense 16 to 5", "[16]", "dense", {2, {5, 16}}, true, {NULL}},
    {"dense 16 to 64", "[16]", "dense", {2, {64, 16}}, true, {NULL}},
    {"dense 37 to 33 without bias", "[37]", "dense", {2, {33, 37}}, false, {NULL}},
    {"dense 1 to 1", "[1]", "dense", {2, {1, 1}}, true, {NULL}},
    {"dense along the last of three axes",
     "[3, 7, 10]",
     "dense",
     {2, {12, 10}},
     true,
     {NULL}},
    {"dense 1600 to 100", "[1600]", "dense", {2, {100, 1600}}, true, {NULL}},
    {"3x3 same",
     "[8, 8, 16]",
     "conv2d",
     {4, {16, 3, 3, 16}},
     true,
     {"padding=same", NULL}},
    {"3x3 same, 64 channels",
     "[8, 8, 64]",
     "conv2d",
     {4, {64, 3, 3, 64}},
     true,
     {"padding=same", NULL}},
    {"3x3 stem, 3 channels",
     "[32, 32, 3]",
     "conv2d",
     {4, {16, 3, 3, 3}},
     true,
     {"padding=same", NULL}},
    {"3x3 same, stride 2",
     "[16, 16, 16]",
     "conv2d",
     {4, {32, 3, 3, 16}},
     true,
     {"padding=same", "stride_h=2", "stride_w=2", NULL}},
    {"3x3 same, stride 2, odd size",
     "[9, 7, 5]",
     "conv2d",
     {4, {6, 3, 3, 5}},
     false,
     {"padding=same", "stride_h=2", "stride_w=2", NULL}},
    {"1x1", "[5, 6, 24]", "conv2d", {4, {40, 1, 1, 24}}, true, {NULL}},
    {"1x1, stride 2",
     "[8, 8, 16]",
     "conv2d",
     {4, {32, 1, 1, 16}},
     true,
     {"stride_h=2", "stride_w=2", NULL}},
    {"5x3 valid, stride 2 by 3",
     "[17, 19, 3]",
     "conv2d",
     {4, {7, 5, 3, 3}},
     true,
     {"stride_h=2", "stride_w=3", NULL}},
    {"2x2 same, even kernel",
     "[7, 7, 4]",
     "conv2d",
     {4, {9, 2, 2, 4}},
     true,
     {"padding=same", NULL}},
    {"explicit, uneven padding",
     "[6, 7, 4]",
     "conv2d",
     {4, {8, 3, 3, 4}},
     true,
     {"padding=explicit", "pad_top=2", "pad_right=3", "pad_left=1", NULL}},
    {"dilation 2 by 3",
     "[14, 15, 8]",
     "conv2d",
     {4, {17, 3, 3, 8}},
     true,
     {"padding=same", "dilation_h=2", "dilation_w=3", NULL}},
    {"dilated rows only",
     "[14, 15, 8]",
     "conv2d",
     {4, {17, 3, 3, 8}},
     true,
     {"dilation_h=2", NULL}},
    {"2 groups",
     "[6, 6, 8]",
     "conv2d",
     {4, {36, 3, 3, 4}},
     true,
     {"padding=same", "groups=2", NULL}},
    {"2 groups whose kernel has as many products as the image channels",
     "[5, 3, 2]",
     "conv2d",
     {4, {4, 2, 1, 1}},
     true,
     {"groups=2", NULL}},
    {"3 groups of odd size",
     "[5, 6, 9]",
     "conv2d",
     {4, {15, 3, 2, 3}},
     true,
     {"groups=3", NULL}},
    {"depthwise",
     "[10, 11, 24]",
     "conv2d",
     {4, {24, 3, 3, 1}},
     true,
     {"padding=same", "groups=24", NULL}},
    {"depthwise, 16 channels, valid",
     "[10, 11, 16]",
     "conv2d",
     {4, {16, 3, 3, 1}},
     true,
     {"groups=16", NULL}},
    {"depthwise, 5 channels, stride 2, dilated",
     "[12, 13, 5]",
     "conv2d",
     {4, {5, 3, 3, 1}},
     false,
     {"padding=same", "groups=5", "stride_h=2", "stride_w=2", "dilation_h=2",
      "dilation_w=2", NULL}},
    {"depthwise, multiplier 2",
     "[7, 8, 6]",
     "conv2d",
     {4, {12, 3, 3, 1}},
     true,
     {"padding=same", "groups=6", NULL}},
    {"kernel larger than the image",
     "[2, 3, 4]",
     "conv2d",
     {4, {8, 5, 5, 4}},
     true,
     {"padding=same", NULL}},
    {"5x5 same: five bands each way",
     "[13, 12, 3]",
     "conv2d",
     {4, {20, 5, 5, 3}},
     true,
     {"padding=same", NULL}},
    {"1 wide, 2 groups, padded",
     "[9, 8, 6]",
     "conv2d",
     {4, {10, 3, 1, 3}},
     true,
     {"padding=explicit", "groups=2", "pad_top=1", "pad_bottom=1", "pad_left=1", NULL}},
    {"padding that some windows see nothing but",
     "[8, 9, 5]",
     "conv2d",
     {4, {18, 2, 2, 5}},
     true,
     {"padding=explicit", "pad_top=3", "pad_bottom=3", "pad_left=2", "pad_right=3",
      NULL}},
    {"7x7 on one channel",
     "[28, 28, 1]",
     "conv2d",
     {4, {6, 7, 7, 1}},
     true,
     {"padding=same", "stride_h=2", "stride_w=2", NULL}},
};

static const pq_isa isas[] = {PQ_ISA_PORTABLE, PQ_ISA_AVX2, PQ_ISA_AVX512};

static pq_graph *case_graph(pq_rng *rng, const layer_case *c)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", c->input);
    add_layer(g, "layer",
              affine(rng, make_layer_with(c->kind, c->attributes), c->kernel, c->bias),
              "x");
    OK(pq_graph_check(g, &err));
    return g;
}

static size_t count_of(const pq_graph *g, size_t node)
{
    size_t count = 0;

    cr_assert(pq_shape_count(&g->nodes[node].shape, &count));
    return count;
}

/* The layer on kernels of one instruction set, `at_once` samples at a time. */
static float *run_linear_so(const pq_graph *g, pq_isa isa, bool lean, size_t at_once,
                            const float *x)
{
    const size_t  in_count = count_of(g, 0), out_count = count_of(g, 1);
    const pq_step step = {.graph      = g,
                          .node       = 1,
                          .norm       = PQ_NO_NODE,
                          .add        = PQ_NO_NODE,
                          .activation = PQ_NO_NODE,
                          .last       = 1,
                          .n_in       = 1,
                          .lean       = lean};
    float        *out  = pq_calloc(SAMPLES * out_count, sizeof *out);
    pq_op        *op   = NULL;
    void         *scratch;

    OK(pq_linear_prepare(&step, at_once, pq_kernels_find(isa), &op, &err));
    scratch = pq_calloc(op->scratch_bytes, 1);
    memset(scratch, 0xff, op->scratch_bytes); /* NaN: nothing stale may be read */
    for (size_t s = 0; s < SAMPLES; s += at_once) {
        const void *in = x + s * in_count;
        op->run(op, SAMPLES - s < at_once ? SAMPLES - s : at_once, &in,
                out + s * out_count, scratch);
    }
    op->release(op);
    pq_free(scratch);
    return out;
}

static float *run_linear(const pq_graph *g, pq_isa isa, size_t at_once, const float *x)
{
    return run_linear_so(g, isa, false, at_once, x);
}

Test(linear, every_instruction_set_agrees_with_the_double_reference)
{
    pq_rng rng = pq_rng_stream(3, "test");

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pq_graph    *g = case_graph(&rng, &cases[i]);
        const size_t n = SAMPLES * count_of(g, 0), m = SAMPLES * count_of(g, 1);
        float       *x = pq_calloc(n, sizeof *x);
        float       *due;

        fill_normal(&rng, 1.0, n, x);
        due = run_graph(g, "reference", SAMPLES, SAMPLES, x);
        for (size_t k = 0; k < sizeof isas / sizeof isas[0]; k++) {
            float *out;
            if (pq_kernels_find(isas[k]) == NULL) {
                continue;
            }
            cr_expect_eq(pq_kernels_find(isas[k])->isa, isas[k]);
            out            = run_linear(g, isas[k], SAMPLES, x);
            const double d = largest_difference(out, due, m);
            cr_expect(d <= most_difference, "%s, %s: off by %g", cases[i].what,
                      pq_isa_name(isas[k]), d);
            pq_free(out);
        }
        pq_free(x);
        pq_free(due);
        pq_graph_free(&g);
    }
}

Test(linear, a_sample_does_not_depend_on_how_many_run_with_it)
{
    pq_rng rng = pq_rng_stream(4, "test");

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pq_graph    *g = case_graph(&rng, &cases[i]);
        const size_t n = SAMPLES * count_of(g, 0), m = SAMPLES * count_of(g, 1);
        float       *x = pq_calloc(n, sizeof *x), *together, *alone;

        fill_normal(&rng, 1.0, n, x);
        together = run_linear(g, pq_cpu_isa(), SAMPLES, x);
        for (size_t at_once = 1; at_once < SAMPLES; at_once++) {
            alone = run_linear(g, pq_cpu_isa(), at_once, x);
            cr_expect_eq(memcmp(together, alone, m * sizeof *x), 0,
                         "%s: %zu at once differ", cases[i].what, at_once);
            pq_free(alone);
        }
        pq_free(x);
        pq_free(together);
        pq_graph_free(&g);
    }
}

Test(linear, weights_packed_at_each_run_give_the_same_bits)
{
    pq_rng rng = pq_rng_stream(9, "test");

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pq_graph    *g = case_graph(&rng, &cases[i]);
        const size_t n = SAMPLES * count_of(g, 0), m = SAMPLES * count_of(g, 1);
        float       *x = pq_calloc(n, sizeof *x);

        fill_normal(&rng, 1.0, n, x);
        for (size_t k = 0; k < sizeof isas / sizeof isas[0]; k++) {
            float *ahead, *lean;
            if (pq_kernels_find(isas[k]) == NULL) {
                continue;
            }
            ahead = run_linear(g, isas[k], SAMPLES, x);
            for (size_t at_once = 1; at_once <= SAMPLES; at_once++) {
                lean = run_linear_so(g, isas[k], true, at_once, x);
                cr_expect_eq(memcmp(ahead, lean, m * sizeof *x), 0,
                             "%s, %s: %zu at once differ", cases[i].what,
                             pq_isa_name(isas[k]), at_once);
                pq_free(lean);
            }
            pq_free(ahead);
        }
        pq_free(x);
        pq_graph_free(&g);
    }
}

/* Zeroes blocks of neighbouring inputs by neighbouring outputs. */
static void zero_blocks(pq_rng *rng, pq_graph *g, size_t inputs, size_t outputs,
                        double share)
{
    const pq_tensor *w   = pq_layer_weight(g->nodes[1].layer, "kernel")->value;
    const size_t     row = w->count / w->shape.dim[0];

    for (size_t o = 0; o < w->shape.dim[0]; o += outputs) {
        for (size_t i = 0; i < row; i += inputs) {
            const bool gone = pq_rng_uniform(rng) < share;
            for (size_t a = o; gone && a < o + outputs && a < w->shape.dim[0]; a++) {
                for (size_t b = i; b < i + inputs && b < row; b++) {
                    pq_f32(w)[a * row + b] = 0.0F;
                }
            }
        }
    }
}

/* Weights packed at each run are never looked at for zeros: the plain form. */
Test(linear, blocks_of_zeros_that_are_left_out_give_the_same_bits)
{
    static const struct {
        size_t inputs, outputs;
        double share;
    } blocks[] = {{4, 16, 0.5}, {4, 16, 0.9}, {1, 16, 0.75},  {1, 1, 0.5},
                  {1, 48, 0.8}, {8, 8, 0.75}, {4096, 4096, 1}};
    pq_rng rng = pq_rng_stream(11, "test");

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
            pq_graph    *g = case_graph(&rng, &cases[i]);
            const size_t n = SAMPLES * count_of(g, 0), m = SAMPLES * count_of(g, 1);
            float       *x = pq_calloc(n, sizeof *x), *due;
            fill_normal(&rng, 1.0, n, x);
            zero_blocks(&rng, g, blocks[b].inputs, blocks[b].outputs, blocks[b].share);
            due = run_graph(g, "reference", SAMPLES, SAMPLES, x);
            for (size_t k = 0; k < sizeof isas / sizeof isas[0]; k++) {
                float *all;
                if (pq_kernels_find(isas[k]) == NULL) {
                    continue;
                }
                all = run_linear_so(g, isas[k], true, SAMPLES, x);
                for (size_t at_once = 1; at_once <= SAMPLES; at_once += 2) {
                    float *some = run_linear(g, isas[k], at_once, x);
                    cr_expect_eq(memcmp(all, some, m * sizeof *x), 0,
                                 "%s, %s: blocks of %zu x %zu, %zu at once",
                                 cases[i].what, pq_isa_name(isas[k]), blocks[b].inputs,
                                 blocks[b].outputs, at_once);
                    cr_expect_leq(largest_difference(some, due, m), most_difference);
                    pq_free(some);
                }
                pq_free(all);
            }
            pq_free(x);
            pq_free(due);
            pq_graph_free(&g);
        }
    }
}

/* Which blocks are left out at all, of a dense layer of 64 to 64 in one row and in 64. */
Test(linear, zeros_are_left_out_where_they_save_a_tenth)
{
    static const struct {
        size_t inputs, outputs;
        double share;
        bool   left_out;
    } blocks[]          = {{1, 1, 0.0, false}, {1, 1, 0.5, false}, {64, 16, 0.02, false},
                           {4, 16, 0.9, true}, {4, 16, 0.8, true}, {1, 1, 0.999, true}};
    const layer_case  c = {"", "[64]", "dense", {2, {64, 64}}, true, {NULL}};
    const pq_kernels *kernels = pq_kernels_find(pq_cpu_isa());

    for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
        for (size_t rows = 1; rows <= 64; rows += 63) {
            pq_rng        rng  = pq_rng_stream(12, "test");
            pq_graph     *g    = case_graph(&rng, &c);
            const pq_step step = {.graph = g, .node = 1, .n_in = 1};
            const float  *kernel;
            pq_geometry   at;
            pq_regions    regions;
            pq_skips      skips = {0};
            zero_blocks(&rng, g, blocks[b].inputs, blocks[b].outputs, blocks[b].share);
            kernel = pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value);
            OK(pq_geometry_place(&step, g->nodes[1].layer, kernels->lanes, 0, &at, &err));
            OK(pq_skips_choose(&at, kernels, kernel, rows, &skips, &err));
            cr_expect_eq(skips.panel > 0, blocks[b].left_out, "%zu x %zu, %g, %zu rows",
                         blocks[b].inputs, blocks[b].outputs, blocks[b].share, rows);
            if (skips.panel > 0) {
                const size_t panels = (64 + skips.panel - 1) / skips.panel;
                size_t       left   = 0;
                OK(pq_regions_place(&at, skips.panel, &regions, &err));
                OK(pq_skips_place(&at, kernel, &regions, &skips, &err));
                for (size_t i = 0; i < skips.first[panels]; i++) {
                    left += skips.segments[i].k;
                }
                cr_expect_lt(left, 64 * panels * 9 / 10);
                pq_regions_free(&regions);
            }
            pq_skips_free(&skips);
            pq_geometry_free(&at);
            pq_graph_free(&g);
        }
    }
}

Test(linear, avx2_and_avx512_give_the_same_bits)
{
    pq_rng rng = pq_rng_stream(5, "test");

    if (pq_kernels_find(PQ_ISA_AVX512) == NULL) {
        cr_skip_test("skipped: this processor has no AVX-512");
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pq_graph    *g = case_graph(&rng, &cases[i]);
        const size_t n = SAMPLES * count_of(g, 0), m = SAMPLES * count_of(g, 1);
        float       *x = pq_calloc(n, sizeof *x), *a, *b;

        fill_normal(&rng, 1.0, n, x);
        a = run_linear(g, PQ_ISA_AVX2, SAMPLES, x);
        b = run_linear(g, PQ_ISA_AVX512, SAMPLES, x);
        cr_expect_eq(memcmp(a, b, m * sizeof *x), 0, "%s differs", cases[i].what);
        pq_free(x);
        pq_free(a);
        pq_free(b);
        pq_graph_free(&g);
    }
}

Test(linear, a_portable_kernel_is_there_on_every_processor)
{
    const pq_kernels *k = pq_kernels_find(PQ_ISA_PORTABLE);

    cr_assert_not_null(k);
    cr_expect_eq(k->isa, PQ_ISA_PORTABLE);
    cr_expect_null(pq_kernels_find(PQ_ISA_COUNT));
    cr_assert_not_null(pq_kernels_find(pq_cpu_isa()));
    cr_expect_eq(pq_kernels_find(pq_cpu_isa())->isa, pq_cpu_isa());
}

static pq_layer *train_layer(pq_rng *rng)
{
    pq_layer *l =
        make_layer_with("tt_conv2d", (const char *const[]){"padding=same", NULL});

    OK(pq_layer_add_weight(l, "window", normal_tensor(rng, PQ_SHAPE(1, 3, 5, 4), 0.3),
                           &err));
    OK(pq_layer_add_weight(l, "core1", normal_tensor(rng, PQ_SHAPE(4, 3, 4, 5), 0.3),
                           &err));
    OK(pq_layer_add_weight(l, "core2", normal_tensor(rng, PQ_SHAPE(5, 4, 3, 1), 0.3),
                           &err));
    OK(pq_layer_add_weight(l, "bias", normal_tensor(rng, PQ_SHAPE(12), 0.3), &err));
    return l;
}

/* Trains and rings of 1 to 4 cores along the last axis, with a bias and without. */
Test(linear, cores_and_rings_of_cores_run_as_the_plain_layer_does)
{
    static const struct {
        const char *kind;
        size_t      d, r[5];
    } cases[] = {{"tt_dense", 1, {1, 1}},         {"tt_dense", 3, {1, 3, 2, 1}},
                 {"ring_dense", 2, {3, 2, 3}},    {"ring_dense", 3, {2, 3, 4, 2}},
                 {"ring_dense", 3, {1, 3, 2, 1}}, {"ring_dense", 4, {4, 1, 2, 3, 4}}};
    static const size_t n[] = {2, 3, 1, 2}, m[] = {3, 1, 2, 2};
    pq_rng              rng = pq_rng_stream(8, "test");

    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const size_t *r = cases[i / 2].r, d = cases[i / 2].d;
        pq_layer     *layer = make_layer(cases[i / 2].kind);
        pq_graph     *g     = NULL;
        size_t        in = 1, out = 1;
        char          text[32];

        for (size_t k = 0; k < d; k++) {
            snprintf(text, sizeof text, "core%zu", k + 1);
            OK(pq_layer_add_weight(
                layer, text,
                normal_tensor(&rng, PQ_SHAPE(r[k], n[k], m[k], r[k + 1]), 0.5), &err));
            in *= m[k];
            out *= n[k];
        }
        if (i % 2 == 1) {
            OK(pq_layer_add_weight(layer, "bias", normal_tensor(&rng, PQ_SHAPE(out), 0.5),
                                   &err));
        }
        OK(pq_graph_create(&g, &err));
        snprintf(text, sizeof text, "[3, %zu]", in);
        add_input(g, "x", text);
        add_layer(g, "layer", layer, "x");
        OK(pq_graph_check(g, &err));
        float *x = pq_calloc(SAMPLES * 3 * in, sizeof *x);
        fill_normal(&rng, 1.0, SAMPLES * 3 * in, x);
        float *due = run_graph(g, "reference", SAMPLES, SAMPLES, x);
        float *got = run_graph(g, "float32", SAMPLES, SAMPLES, x);
        for (size_t j = 0; j < SAMPLES * 3 * out; j++) {
            cr_assert_leq(fabs((double)got[j] - (double)due[j]),
                          2e-6 * (10.0 + fabs((double)due[j])), "case %zu item %zu", i,
                          j);
        }
        pq_free(x);
        pq_free(due);
        pq_free(got);
        pq_graph_free(&g);
    }
}

/* x -> layer -> norm -> add x -> relu; takes the layer. */
static pq_graph *residual_graph(pq_layer *layer)
{
    pq_rng    rng = pq_rng_stream(7, "norm");
    pq_graph *g   = NULL;

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "[9, 8, 12]");
    add_layer(g, "layer", layer, "x");
    add_layer(g, "norm", norm_layer(&rng, 12), "layer");
    add_layer2(g, "add", make_layer("add"), "norm", "x");
    add_layer(g, "relu", make_layer("relu"), "add");
    OK(pq_graph_check(g, &err));
    return g;
}

static size_t packed_bytes(const pq_graph *g)
{
    const pq_plan_options options = {.engine = "float32", .batch = 1};
    pq_plan              *plan    = NULL;
    size_t                bytes;

    OK(pq_plan_create(g, &options, &plan, &err));
    bytes = pq_plan_weight_bytes(plan) + pq_plan_activation_bytes(plan);
    pq_plan_free(&plan);
    return bytes;
}

/* Its kernel is there once, and what follows is fused: nothing tells it from a conv2d. */
Test(linear, a_convolution_of_cores_runs_as_the_one_with_its_kernel)
{
    pq_rng    rng   = pq_rng_stream(6, "test");
    pq_layer *cores = train_layer(&rng), *dense = NULL;
    pq_graph *a, *b;
    float    *x = pq_calloc(SAMPLES * 9 * 8 * 12, sizeof *x), *due, *ya, *yb;

    OK(pq_tt_conv_rebuild(cores, &dense, &err));
    a = residual_graph(cores);
    b = residual_graph(dense);
    fill_normal(&rng, 1.0, SAMPLES * 9 * 8 * 12, x);
    due = run_graph(a, "reference", SAMPLES, SAMPLES, x);
    ya  = run_graph(a, "float32", SAMPLES, SAMPLES, x);
    yb  = run_graph(b, "float32", SAMPLES, SAMPLES, x);
    cr_expect_leq(largest_difference(ya, due, SAMPLES * 9 * 8 * 12), most_difference);
    cr_expect_eq(memcmp(ya, yb, SAMPLES * 9 * 8 * 12 * sizeof *ya), 0);
    cr_expect_eq(packed_bytes(a), packed_bytes(b));
    pq_free(x);
    pq_free(due);
    pq_free(ya);
    pq_free(yb);
    pq_graph_free(&a);
    pq_graph_free(&b);
}

Test(linear, rebuilding_a_kernel_survives_every_failed_allocation)
{
    pq_rng    rng   = pq_rng_stream(6, "test");
    pq_layer *cores = train_layer(&rng), *dense = NULL;
    pq_status st = PQ_ERR_NOMEM;

    for (size_t n = 0; st != PQ_OK; n++) {
        const size_t live = pq_memory_live();
        pq_memory_fail_after(n);
        st = pq_tt_conv_rebuild(cores, &dense, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM);
        pq_layer_free(&dense);
        cr_assert_eq(pq_memory_live(), live, "allocation %zu leaks", n);
    }
    pq_layer_free(&cores);
}
