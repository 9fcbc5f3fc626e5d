/* Gradients of whole nets in float32 against the kinds' own backward in double. */
#include "layers/cases.h"
#include "layers/run.h"
#include "layers/toy.h"
#include "support.h"
#include "train/net.h"

typedef struct {
    const float *x, *pull;
    size_t       count, width, chunk;
    double      *out; /* logits, to compare the forward pass */
} bench;

static void fill(void *context, size_t first, size_t rows, float *x)
{
    const bench *b = context;

    memcpy(x, b->x + first * b->count, rows * b->count * sizeof *x);
}

static void pull(void *context, const pq_net_call *c)
{
    const bench *b  = context;
    const size_t at = c->chunk * b->chunk * b->width, n = c->rows * b->width;

    for (size_t i = 0; i < n; i++) {
        b->out[at + i] = (double)pq_net_value(c, c->net->logits)[i];
    }
    if (c->training) {
        memcpy(pq_net_gradient(c, c->net->logits), b->pull + at, n * sizeof(float));
    }
}

static float *random_floats(size_t n, uint64_t seed)
{
    pq_rng rng = pq_rng_stream(seed, "values");
    float *x   = pq_calloc(n, sizeof *x);

    for (size_t i = 0; i < n; i++) {
        x[i] = (float)pq_rng_normal(&rng);
    }
    return x;
}

/* Largest difference relative to the largest value, or to 1: a bias before BatchNorm has
   no gradient but rounding. */
static double distance(const double *due, const float *got, size_t n)
{
    double worst = 0.0, top = 1.0;

    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(due[i] - (double)got[i]));
        top   = fmax(top, fabs(due[i]));
    }
    return worst / top;
}

static void compare(pq_graph *g, size_t n, pq_isa isa, size_t threads)
{
    const size_t last = g->output;
    pq_pool     *pool = NULL;
    pq_net      *net  = NULL;
    oracle       o    = {0};
    bench b = {.count = items(&g->nodes[0].shape), .width = items(&g->nodes[last].shape)};
    float *x = random_floats(n * b.count, 11);
    float *p = random_floats(n * b.width, 12);

    b.x    = x;
    b.pull = p;
    b.out  = pq_calloc(n * b.width, sizeof *b.out);
    OK(pq_pool_create(threads, &pool, err));
    OK(pq_net_create(g,
                     &(pq_net_options){.batch         = n,
                                       .training      = true,
                                       .norm_momentum = 0.1,
                                       .pool          = pool,
                                       .isa           = &isa},
                     &net, err));
    b.chunk = net->chunk;
    oracle_run(g, n, x, last, p, &o);
    pq_net_train(net, &(pq_net_batch){n, 1, fill, pull, &b, NULL});
    for (size_t i = 0; i < n * b.width; i++) {
        cr_assert_float_eq(
            b.out[i], o.value[last][i], 2e-5 * (1.0 + fabs(o.value[last][i])),
            "isa %d, output %zu: %g, not %g", (int)isa, i, b.out[i], o.value[last][i]);
    }
    for (size_t c = 1; c * net->chunk < n; c++) {
        net->kernels->add(net->n_flat, net->gradients + c * net->n_flat, net->gradients);
    }
    for (size_t k = 0; k < net->n_weights; k++) {
        const pq_net_weight *w = &net->weights[k];
        if (w->role != PQ_WEIGHT_STATISTIC) {
            const double d = distance(o.change[8 * w->node + w->index],
                                      net->gradients + w->offset, w->count);
            cr_assert(d < 1e-4, "isa %d: gradient of %s/%s is off by %g", (int)isa,
                      g->nodes[w->node].name,
                      g->nodes[w->node].layer->weights[w->index].name, d);
        }
    }
    oracle_free(g, &o);
    pq_net_free(&net);
    pq_pool_free(&pool);
    pq_free(x);
    pq_free(p);
    pq_free(b.out);
}

static void compare_all(pq_graph *g, size_t n)
{
    for (pq_isa isa = PQ_ISA_PORTABLE; isa <= pq_cpu_isa(); isa++) {
        compare(g, n, isa, 1);
        compare(g, n, isa, 3);
    }
    pq_graph_free(&g);
}

/* No layer runs through its code in double. */
static void expect_float_code(const pq_graph *g)
{
    pq_pool *pool = NULL;
    pq_net  *net  = NULL;

    OK(pq_pool_create(1, &pool, err));
    OK(pq_net_create(g, &(pq_net_options){.batch = 8, .training = true, .pool = pool},
                     &net, err));
    for (size_t i = 0; i < net->n_ops; i++) {
        cr_expect_neq(net->ops[i].cls, &pq_op_kind, "%s", net->ops[i].name);
    }
    pq_net_free(&net);
    pq_pool_free(&pool);
}

static pq_graph *start(const char *shape)
{
    pq_graph *g = NULL;
    char      text[64];

    (void)snprintf(text, sizeof text, "input shape=%s", shape);
    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of(text), NULL);
    return g;
}

Test(net, dense_layers_with_relu_have_the_gradients_of_the_double_code)
{
    static const size_t sizes[][4] = {{16, 64, 32, 5}, {7, 33, 17, 3}, {1, 1, 49, 10}};

    for (size_t k = 0; k < 3; k++) {
        char      shape[16];
        pq_graph *g;
        (void)snprintf(shape, sizeof shape, "%zu", sizes[k][0]);
        g = start(shape);
        add_dense(g, "a", sizes[k][0], sizes[k][1]);
        add(g, "ar", layer_of("relu"), NULL);
        add_dense(g, "b", sizes[k][1], sizes[k][2]);
        add(g, "br", layer_of("relu"), NULL);
        add_dense(g, "c", sizes[k][2], sizes[k][3]);
        finish(g, 3 + k);
        compare_all(g, 77);
    }
}

Test(net, activations_have_the_gradients_of_the_double_code)
{
    static const char *const kinds[] = {"tanh",
                                        "sigmoid",
                                        "elu",
                                        "elu alpha=2.5",
                                        "gelu",
                                        "gelu form=tanh",
                                        "leaky_relu slope=0.1",
                                        "leaky_relu slope=-0.3",
                                        "clip lo=-0.5 hi=0.5"};

    for (size_t k = 0; k < 2 * sizeof kinds / sizeof *kinds; k++) {
        pq_graph *g = start("6");
        add_dense(g, "a", 6, 9);
        add(g, "f", layer_of(kinds[k / 2]), NULL);
        add_dense(g, "b", 9, 4);
        finish(g, 5);
        for (size_t i = 0; k % 2 == 1 && i < 6 * 9; i++) { /* far out on both sides */
            pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value)[i] *= 8.0F;
        }
        expect_float_code(g);
        compare_all(g, 40);
    }
}

Test(net, a_value_read_twice_gets_both_gradients)
{
    pq_graph *g = start("8");

    add_dense(g, "a", 8, 8);
    add(g, "ar", layer_of("relu"), NULL);
    add_dense(g, "b", 8, 8);
    add(g, "sum", layer_of("add"), "ar,b");
    add(g, "sr", layer_of("relu"), NULL);
    add(g, "product", layer_of("multiply"), "sr,a");
    add(g, "both", layer_of("concat"), "product,sr,ar");
    add_dense(g, "c", 24, 3);
    add(g, "twice", layer_of("add"), "c,c");
    finish(g, 9);
    compare_all(g, 50);
}

Test(net, batch_norm_uses_the_statistics_of_the_whole_batch)
{
    pq_graph *g = start("5");

    add_dense(g, "a", 5, 12);
    add_norm(g, "an", 12);
    add(g, "ar", layer_of("relu"), NULL);
    add_dense(g, "b", 12, 20);
    add_norm(g, "bn", 20);
    add_dense(g, "c", 20, 3);
    finish(g, 13);
    compare_all(g, 100);
}

Test(net, convolutions_of_any_stride_and_padding_have_the_gradients_of_the_double_code)
{
    static const struct {
        const char *shape, *attributes;
        size_t      in, out, kernel;
    } cases[] = {
        {"9,7,3", "conv2d padding=same", 3, 16, 3},
        {"8,8,5", "conv2d padding=same stride_h=2 stride_w=2", 5, 20, 3},
        {"9,9,4", "conv2d padding=valid stride_h=3 stride_w=2", 4, 7, 2},
        {"6,6,6", "conv2d stride_h=2 stride_w=2", 6, 8, 1},
        {"5,5,6", "conv2d", 6, 8, 1},
        {"7,10,2",
         "conv2d padding=explicit pad_top=2 pad_left=3 pad_bottom=1 pad_right=0", 2, 3,
         4},
        {"12,11,2", "conv2d padding=same stride_h=4 stride_w=5", 2, 3, 3},
        {"6,6,4", "conv2d padding=same dilation_h=2 dilation_w=2", 4, 3, 3},
        {"6,6,4", "conv2d padding=same groups=4", 1, 8, 3},
        {"7,5,4", "conv2d padding=same groups=4 stride_h=2", 1, 4, 3},
        {"9,8,4", "conv2d groups=4 stride_w=2 dilation_h=2 dilation_w=3", 1, 4, 2},
        {"6,7,6", "conv2d padding=same groups=2 stride_h=2 stride_w=3", 3, 10, 3},
        {"8,6,6", "conv2d padding=explicit pad_top=4 pad_left=1 groups=3 dilation_h=3", 2,
         3, 2},
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_graph *g  = start(cases[k].shape);
        size_t    in = 0;
        (void)sscanf(strrchr(cases[k].shape, ',') + 1, "%zu", &in);
        add_conv(g, "first", "conv2d padding=same", PQ_SHAPE(in, 3, 3, in));
        add(g, "r", layer_of("relu"), NULL);
        add_conv(g, "second", cases[k].attributes,
                 PQ_SHAPE(cases[k].out, cases[k].kernel, cases[k].kernel, cases[k].in));
        add(g, "flat", layer_of("flatten"), NULL);
        finish(g, 20 + k);
        compare_all(g, 6);
    }
}

Test(net, a_residual_net_with_pools_has_the_gradients_of_the_double_code)
{
    pq_graph *g = start("8,8,3");

    add_conv(g, "stem", "conv2d padding=same", PQ_SHAPE(16, 3, 3, 3));
    add_norm(g, "norm", 16);
    add(g, "stem_relu", layer_of("relu"), NULL);
    add_conv(g, "c1", "conv2d padding=same stride_h=2 stride_w=2",
             PQ_SHAPE(32, 3, 3, 16));
    add_norm(g, "n1", 32);
    add_conv(g, "skip", "conv2d padding=same stride_h=2 stride_w=2",
             PQ_SHAPE(32, 1, 1, 16));
    g->nodes[g->n_nodes - 1].inputs[0] = pq_graph_find(g, "stem_relu");
    add(g, "sum", layer_of("add"), "n1,skip");
    add(g, "sum_relu", layer_of("relu"), NULL);
    add(g, "max", layer_of("max_pool kernel_h=2 kernel_w=2"), NULL);
    add(g, "mean", layer_of("avg_pool kernel_h=2 kernel_w=2"), "sum_relu");
    add(g, "both", layer_of("concat"), "max,mean");
    add(g, "pool", layer_of("global_avg_pool"), NULL);
    add_dense(g, "out", 64, 10);
    finish(g, 31);
    compare_all(g, 16);
}

/* Mask and features from one input, as a tagger on tracks reads them; some events have no
   row at all, and the second reader adds to the gradient of the first. */
Test(net, pooling_over_masked_rows_has_the_gradients_of_the_double_code)
{
    static const char *const modes[] = {"mean", "sum", "max"};

    for (size_t k = 0; k < 3; k++) {
        pq_graph *g = start("4,6");
        char      text[32];
        (void)snprintf(text, sizeof text, "masked_pool mode=%s", modes[k]);
        add(g, "mask", layer_of("slice from=5"), NULL);
        add(g, "features", layer_of("slice to=5"), "in");
        add_dense(g, "phi", 5, 9);
        add(g, "phi_relu", layer_of("relu"), NULL);
        add(g, "pool", layer_of(text), "phi_relu,mask");
        add(g, "part", layer_of("slice from=2 to=7"), "phi_relu");
        add(g, "learnt", layer_of("slice from=1 to=2"), "phi_relu");
        add(g, "again", layer_of("masked_pool"), "part,learnt");
        add(g, "both", layer_of("concat"), "pool,again");
        add_dense(g, "f", 14, 3);
        finish(g, 41 + k);
        compare_all(g, 50);
    }
}

/* Adds a train or ring of cores [r, n, m, r']. */
static void add_train(pq_graph *g, const char *name, size_t d, const size_t *n,
                      const size_t *m, const size_t *r, bool bias)
{
    pq_layer *l       = layer_of(r[0] > 1 ? "ring_dense" : "tt_dense");
    size_t    outputs = 1;
    char      core[16];

    for (size_t k = 0; k < d; k++) {
        (void)snprintf(core, sizeof core, "core%zu", k + 1);
        weigh(l, core, PQ_SHAPE(r[k], n[k], m[k], r[k + 1]));
        outputs *= n[k];
    }
    if (bias) {
        weigh(l, "bias", PQ_SHAPE(outputs));
    }
    add(g, name, l, NULL);
}

Test(net, tensor_trains_and_rings_have_the_gradients_of_the_double_code)
{
    static const struct {
        size_t d, n[4], m[4], r[5];
        bool   bias, relu;
    } cases[] = {
        {3, {2, 5, 1}, {3, 2, 4}, {1, 2, 3, 1}, true, true},
        {1, {7}, {24}, {1, 1}, true, false},
        {2, {3, 4}, {4, 6}, {1, 9, 1}, false, true},
        {4, {2, 2, 2, 2}, {2, 3, 2, 2}, {1, 4, 17, 2, 1}, true, false},
        {3, {2, 5, 1}, {3, 2, 4}, {4, 2, 3, 4}, true, true},
        {2, {3, 4}, {4, 6}, {2, 9, 2}, false, true},
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        size_t    outputs = 1;
        pq_graph *g       = start("2,6"); /* two rows an event */
        add_dense(g, "a", 6, 24);
        add_train(g, "t", cases[k].d, cases[k].n, cases[k].m, cases[k].r, cases[k].bias);
        for (size_t i = 0; i < cases[k].d; i++) {
            outputs *= cases[k].n[i];
        }
        if (cases[k].relu) {
            add(g, "r", layer_of("relu"), NULL);
        }
        add(g, "skip", layer_of("slice to=3"), "a");
        add(g, "both", layer_of("concat"), cases[k].relu ? "r,skip" : "t,skip");
        add(g, "flat", layer_of("flatten"), NULL);
        add_dense(g, "b", 2 * (outputs + 3), 3);
        finish(g, 51 + k);
        compare_all(g, 45);
    }
}

Test(net, windowed_tensor_trains_have_the_gradients_of_the_double_code)
{
    static const struct {
        const char *text;
        size_t      h, w, d, n[3], m[3], r[4];
    } cases[] = {
        {"tt_conv2d padding=same", 3, 3, 2, {2, 3}, {2, 2}, {3, 2, 1}},
        {"tt_conv2d padding=same stride_h=2 stride_w=2", 3, 2, 1, {8}, {4}, {6, 1}},
        {"tt_conv2d", 1, 1, 3, {2, 2, 5}, {1, 2, 2}, {1, 17, 5, 1}},
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_graph *g = start("6,5,3");
        pq_layer *l = layer_of(cases[k].text);
        char      core[16];
        add_conv(g, "first", "conv2d padding=same", PQ_SHAPE(4, 3, 3, 3));
        add(g, "r", layer_of("relu"), NULL);
        weigh(l, "window", PQ_SHAPE(1, cases[k].h, cases[k].w, cases[k].r[0]));
        for (size_t i = 0; i < cases[k].d; i++) {
            (void)snprintf(core, sizeof core, "core%zu", i + 1);
            weigh(
                l, core,
                PQ_SHAPE(cases[k].r[i], cases[k].n[i], cases[k].m[i], cases[k].r[i + 1]));
        }
        if (k != 1) {
            weigh(l, "bias", PQ_SHAPE(k == 0 ? 6 : 20));
        }
        add(g, "t", l, NULL);
        add(g, "tr", layer_of("relu"), NULL);
        add(g, "flat", layer_of("flatten"), NULL);
        finish(g, 61 + k);
        compare_all(g, 9);
    }
}

Test(net, pools_have_the_gradients_of_the_double_code)
{
    static const char *const kinds[] = {
        "max_pool",
        "max_pool kernel_h=3 kernel_w=2 stride_h=2 stride_w=1 padding=same",
        "avg_pool kernel_h=3 kernel_w=3 stride_h=2 stride_w=2 padding=same",
        ("avg_pool kernel_h=3 kernel_w=2 stride_h=1 stride_w=2 padding=explicit "
         "pad_top=2 "
         "pad_left=1 count_padding=true"),
        "global_max_pool",
        "global_avg_pool"};

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        pq_graph *g = start("7,6,3");
        add_conv(g, "a", "conv2d padding=same", PQ_SHAPE(5, 3, 3, 3));
        add(g, "pool", layer_of(kinds[k]), NULL);
        add(g, "other", layer_of("global_max_pool"), "a"); /* adds to the gradient of a */
        add(g, "flat", layer_of("flatten"), "pool");
        add(g, "both", layer_of("concat"), "flat,other");
        finish(g, 71 + k);
        compare_all(g, 9);
    }
}

Test(net, products_and_concatenations_of_any_axis_have_the_gradients_of_the_double_code)
{
    pq_graph *g = start("3,4");

    add_dense(g, "a", 4, 4);
    add(g, "ar", layer_of("relu"), NULL);
    add_dense(g, "b", 4, 4);
    add(g, "product", layer_of("multiply"), "ar,b,ar");
    add(g, "rows", layer_of("concat axis=0"), "product,in,b");
    add(g, "columns", layer_of("concat axis=-1"), "rows,rows");
    add(g, "squares", layer_of("multiply"), "columns,columns");
    add(g, "flat", layer_of("flatten"), NULL);
    finish(g, 81);
    compare_all(g, 37);
}

Test(net, every_failed_allocation_leaves_nothing_behind)
{
    const size_t modes[] = {2, 2}, ranks[] = {1, 3, 1};
    pq_graph    *g    = start("6,6,4");
    pq_layer    *l    = layer_of("tt_conv2d padding=same");
    pq_pool     *pool = NULL;
    pq_net      *net  = NULL;
    pq_status    st   = PQ_ERR_NOMEM;

    add_conv(g, "a", "conv2d padding=same groups=2", PQ_SHAPE(4, 3, 3, 2));
    weigh(l, "window", PQ_SHAPE(1, 3, 3, 2));
    weigh(l, "core1", PQ_SHAPE(2, 4, 4, 1));
    add(g, "b", l, NULL);
    add(g, "c", layer_of("max_pool"), NULL);
    add_train(g, "d", 2, modes, modes, ranks, true);
    add(g, "e", layer_of("global_avg_pool"), NULL);
    finish(g, 91);
    OK(pq_pool_create(1, &pool, err));
    for (size_t n = 0; st != PQ_OK; n++) {
        const size_t live = pq_memory_live();
        pq_memory_fail_after(n);
        st = pq_net_create(
            g, &(pq_net_options){.batch = 8, .training = true, .pool = pool}, &net, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "after %zu: status %d", n, (int)st);
        pq_net_free(&net);
        cr_assert_eq(pq_memory_live(), live, "after %zu", n);
    }
    pq_pool_free(&pool);
    pq_graph_free(&g);
}

/* Parts of a dense layer's output, each in the shape of an input of the case, into the
   layer, and a factor behind it, so that it is not what the loss does. */
static pq_graph *graph_of(const layer_case *c, uint64_t seed)
{
    size_t    total = 0, from      = 0;
    char      text[160], names[64] = "";
    pq_layer *layer = run_layer(c->kind, c->attributes);
    pq_graph *g;

    for (size_t k = 0; k < c->n_in; k++) {
        total += run_items(&c->in[k]);
    }
    (void)snprintf(text, sizeof text, "%zu", total);
    g = start(text);
    add_dense(g, "mixed", total, total);
    for (size_t k = 0; k < c->n_in; k++) {
        char shape[64], part[16], name[16];
        (void)snprintf(part, sizeof part, "part%zu", k);
        (void)snprintf(name, sizeof name, "in%zu", k);
        (void)snprintf(text, sizeof text, "slice from=%zu to=%zu", from,
                       from + run_items(&c->in[k]));
        add(g, part, layer_of(text), "mixed");
        from += run_items(&c->in[k]);
        (void)pq_shape_text(&c->in[k], shape, sizeof shape);
        for (char *s = shape; (s = strchr(s, ' ')) != NULL;) {
            memmove(s, s + 1, strlen(s));
        }
        (void)snprintf(text, sizeof text, "reshape shape=%s", shape);
        add(g, name, layer_of(text), part);
        (void)snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
                       k > 0 ? "," : "", name);
    }
    for (size_t k = 0; k < RUN_MAX && c->weights[k].name != NULL; k++) {
        weigh(layer, c->weights[k].name, c->weights[k].shape);
    }
    add(g, "layer", layer, names);
    add(g, "flat", layer_of("flatten"), NULL);
    add(g, "factor", layer_of("scale factor=1.5"), NULL);
    finish(g, seed);
    return g;
}

/* Forward, and backward to weights of its own and to those before it. */
Test(net, every_kind_in_all_its_variants_has_the_gradients_of_the_double_code)
{
    for (size_t i = 0; i < N_LAYER_CASES; i++) {
        const layer_case *c = &layer_cases[i];
        pq_graph         *g;
        pq_layer         *layer = run_layer(c->kind, c->attributes);
        const bool        drawn = pq_layer_is(layer, PQ_TRAIT_RANDOM);
        pq_layer_free(&layer);
        if (drawn || c->n_in == 0) {
            continue; /* random zeros have no gradient to compare with */
        }
        g = graph_of(c, 50 + i);
        if (strcmp(c->kind, "layer_norm") !=
            0) { /* trained through its own double code */
            expect_float_code(g);
        }
        compare_all(g, 11);
    }
}

Test(net, a_new_kind_is_trained_without_a_line_elsewhere)
{
    for (size_t i = 0; i < TOY_KINDS; i++) {
        pq_graph *g     = start("6");
        pq_layer *layer = NULL;
        OK(pq_layer_of_kind(&toy_kinds[i], &layer, err));
        add_dense(g, "before", 6, 9);
        add(g, "toy", layer, NULL);
        add_dense(g, "behind", 9, 3);
        finish(g, 70 + i);
        if (i > 0) {
            expect_float_code(g);
        }
        compare_all(g, 21);
    }
}
