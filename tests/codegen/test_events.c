/* runN beside run1, bit by bit, for every number of events and in every variant. */
#include <dlfcn.h>

#include "codegen/whole_nets.h"
#include "core/file.h"

enum { MOST = 256, GUARD = 16 /* floats behind the outputs that stay as they are */ };

static const size_t more[] = {64, 65, 71, MOST};

TestSuite(events, .init = make_folder, .fini = remove_folder);

typedef struct {
    void *object;
    void (*one)(const float *x, float *y);
    void (*many)(const float *x, float *y, size_t n);
    bool block;
} loaded;

/* How the compiler is called: layers that it could join it joins from -O2 on. */
static const char *level = "-O1";

/* A graph as an object with the variant of a set, or of the highest below it here. */
static loaded load(const pq_graph *g, pq_codegen_isa isa)
{
    pq_text            header = {0}, source = {0};
    pq_codegen_summary made;
    char               command[512], path[96];
    loaded             l;

    OK(pq_codegen_here(g, "net", isa, &header, &source, &made, &err));
    (void)snprintf(path, sizeof path, "%s/net.c", folder);
    OK(pq_file_write(path, source.text, source.length, &err));
    (void)snprintf(path, sizeof path, "%s/net.h", folder);
    OK(pq_file_write(path, header.text, header.length, &err));
    l.block = strstr(source.text, "chosen_block") != NULL;
    (void)snprintf(command, sizeof command,
                   "cd '%s' && rm -f net.so && ${CC:-cc} -std=gnu11 %s -Wall -Wextra "
                   "-Werror -shared -fPIC net.c -o net.so -lm",
                   folder, level);
    cr_assert_eq(system(command), 0, "%s", command);
    (void)snprintf(path, sizeof path, "%s/net.so", folder);
    l.object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(l.object, "%s", dlerror());
    *(void **)&l.one  = dlsym(l.object, "net_run1");
    *(void **)&l.many = dlsym(l.object, "net_runN");
    cr_assert(l.one != NULL && l.many != NULL);
    pq_text_free(&header);
    pq_text_free(&source);
    return l;
}

static bool is_same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void check_batch(const loaded *l, const char *what, size_t width, size_t n,
                        const float *x, const float *due, float *y)
{
    for (size_t i = 0; i < n * width + GUARD; i++) {
        y[i] = 77.0f;
    }
    l->many(x, y, n);
    for (size_t i = 0; i < n * width + GUARD; i++) {
        const float to_be = i < n * width ? due[i] : 77.0f;
        cr_assert(is_same(y[i], to_be), "%s, %zu events: output %zu is %.9g, not %.9g",
                  what, n, i, (double)y[i], (double)to_be);
    }
}

static void check_batches(const pq_graph *g, const loaded *l, const char *what,
                          const float *x)
{
    const size_t in    = items_of(&g->nodes[0].shape);
    const size_t width = items_of(&g->nodes[g->output].shape);
    float       *due   = pq_calloc(MOST * width, sizeof *due);
    float       *y     = pq_calloc(MOST * width + GUARD, sizeof *y);

    for (size_t i = 0; i < MOST; i++) {
        l->one(x + i * in, due + i * width);
    }
    for (size_t n = 0; n <= 33; n++) {
        check_batch(l, what, width, n, x, due, y);
    }
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        check_batch(l, what, width, more[i], x, due, y);
    }
    pq_free(due);
    pq_free(y);
}

/* Every variant that the source can have and this processor has; whether there were
 * blocks. */
static bool check_variants(const pq_graph *g, const char *what, const float *x,
                           bool whole)
{
    bool block = false;

    for (size_t i = 0; pq_codegen_isas[i] != NULL; i++) {
        if (whole || (i != PQ_CODEGEN_AVXVNNI && i != PQ_CODEGEN_AMX)) {
            loaded l = load(g, (pq_codegen_isa)i);
            cr_assert(i == 0 || l.block == block, "%s", what);
            block = l.block;
            check_batches(g, &l, what, x);
            cr_assert_eq(dlclose(l.object), 0);
        }
    }
    return block;
}

/* --- float32 --- */

/* Dense layers with their followers: `then` may be NULL. */
typedef struct {
    const char *what;
    size_t      in, widths[4];
    const char *then, *end;
    double      zeros; /* share of inputs whose weights are 0 */
    bool        scaled, block;
} float_net;

static const float_net float_nets[] = {
    {"the jet tagger", 16, {64, 32, 32, 5}, "relu", NULL, 0.0, true, true},
    {"its probabilities", 16, {64, 32, 32, 5}, "relu", "softmax", 0.0, true, true},
    {"one of everything", 1, {1, 1, 1, 1}, "leaky_relu", NULL, 0.0, false, true},
    {"odd widths", 3, {17, 33, 47, 18}, "clip", "softmax", 0.0, false, true},
    {"chains that differ", 5, {48, 7, 130, 3}, "relu", NULL, 0.0, false, true},
    {"sums in loops", 300, {150, 65, 20, 2}, "relu", NULL, 0.0, false, true},
    {"functions one by one", 9, {40, 24, 16, 16}, "tanh", "sigmoid", 0.0, true, true},
    {"blocks of zeros", 32, {64, 64, 32, 5}, "relu", NULL, 0.6, false, false},
};

static void drop_inputs(pq_layer *layer, double share)
{
    const pq_weight *w      = pq_layer_weight(layer, "kernel");
    const size_t     length = w->value->shape.dim[1];

    for (size_t i = 0; i < w->value->count; i++) {
        if ((double)(i % length) < share * (double)length) {
            pq_f32(w->value)[i] = 0.0f;
        }
    }
}

static pq_graph *make_float_net(const float_net *t, pq_rng *rng)
{
    char      text[32], name[32], last[32] = "x";
    pq_graph *g  = NULL;
    size_t    in = t->in;

    OK(pq_graph_create(&g, &err));
    (void)snprintf(text, sizeof text, "%zu", in);
    add_input(g, "x", text);
    for (size_t i = 0; i < 4; i++) {
        pq_layer *layer =
            affine(rng, make_layer("dense"), PQ_SHAPE(t->widths[i], in), i != 2);
        drop_inputs(layer, t->zeros);
        (void)snprintf(name, sizeof name, "fc%zu", i);
        add_layer(g, name, layer, last);
        (void)snprintf(last, sizeof last, "%s", name);
        const char *kind = i < 3 ? t->then : t->end;
        if (kind != NULL) {
            (void)snprintf(name, sizeof name, "then%zu", i);
            add_layer(g, name, make_layer(kind), last);
            (void)snprintf(last, sizeof last, "%s", name);
        }
        in = t->widths[i];
    }
    if (t->scaled) {
        g->scaler_mean = normal_tensor(rng, PQ_SHAPE(t->in), 1.0);
        g->scaler_std  = normal_tensor(rng, PQ_SHAPE(t->in), 1.0);
        for (size_t i = 0; i < t->in; i++) {
            pq_f32(g->scaler_std)[i] = 0.5f + fabsf(pq_f32(g->scaler_std)[i]);
        }
    }
    OK(pq_graph_check(g, &err));
    return g;
}

Test(events, of_floats_give_the_bits_of_one_by_one, .timeout = 1800)
{
    pq_rng rng = pq_rng_stream(21, "codegen events");

    for (size_t i = 0; i < sizeof float_nets / sizeof *float_nets; i++) {
        const float_net *t = &float_nets[i];
        pq_graph        *g = make_float_net(t, &rng);
        float           *x = pq_calloc(MOST * t->in, sizeof *x);
        fill_normal(&rng, 1.5, MOST * t->in, x);
        x[t->in]     = NAN;
        x[3 * t->in] = INFINITY;
        cr_expect_eq(check_variants(g, t->what, x, false), t->block, "%s", t->what);
        pq_free(x);
        pq_graph_free(&g);
    }
}

/* Two inputs without a weight for those eight of 16 outputs whose sums stand in one
 * vector: 0 times NaN is NaN, alone as in a block. */
Test(events, of_floats_multiply_zeros_as_one_by_one, .timeout = 600)
{
    enum { WIDTH = 16 };
    pq_rng rng = pq_rng_stream(23, "codegen events");

    for (size_t part = 0; part < 2; part++) {
        pq_layer *layer = affine(&rng, make_layer("dense"), PQ_SHAPE(WIDTH, WIDTH), true);
        float    *kernel = pq_f32(pq_layer_weight(layer, "kernel")->value);
        float    *x      = pq_calloc(MOST * WIDTH, sizeof *x);
        pq_graph *g      = NULL;
        for (size_t o = 0; o < WIDTH; o++) {
            for (size_t i = 0; i < 2 && o / 2 % 2 == part; i++) {
                kernel[o * WIDTH + i] = 0.0f;
            }
        }
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", "16");
        add_layer(g, "fc", layer, "x");
        OK(pq_graph_check(g, &err));
        fill_normal(&rng, 1.5, MOST * WIDTH, x);
        x[WIDTH]         = NAN;
        x[3 * WIDTH + 1] = INFINITY;
        cr_expect(check_variants(g, "zeros for half of a panel", x, false));
        pq_free(x);
        pq_graph_free(&g);
    }
}

/* Products and sums of neighbouring layers, of few values each: fused, they would be
 * rounded once, alone or in a block. */
Test(events, of_floats_fuse_no_layers, .timeout = 1200)
{
    enum { NETS = 2 };
    static const char *const levels[] = {"-O2", "-O3"};
    pq_rng                   rng      = pq_rng_stream(24, "codegen events");

    for (size_t i = 0; i < NETS * 2; i++) {
        const bool   products = i % NETS == 1;
        const size_t width    = products ? 6 : 2;
        pq_layer    *scale    = make_layer("scale");
        float       *x        = pq_calloc(MOST * width, sizeof *x);
        pq_graph    *g        = NULL;
        OK(pq_layer_set(scale, "factor", "1.1", &err));
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", products ? "6" : "2");
        add_layer(g, "first",
                  affine(&rng, make_layer("dense"), PQ_SHAPE(width, width), true), "x");
        add_layer(g, "scale", scale, "x");
        add_layer2(g, "multiply", make_layer("multiply"), "x", "first");
        add_layer2(g, "add", make_layer("add"), "x", products ? "multiply" : "scale");
        add_layer2(g, "again", make_layer("multiply"), "add", "x");
        add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(3, width), true),
                  products ? "again" : "add");
        OK(pq_graph_check(g, &err));
        fill_normal(&rng, 1.0, MOST * width, x);
        level = levels[i / NETS];
        cr_expect(check_variants(g, products ? "products" : "a scale", x, false));
        pq_free(x);
        pq_graph_free(&g);
    }
}

/* A BatchNorm behind a sum, whose summands change their signs in turn: of these GCC makes
 * sums and differences, fused with the products or not. */
Test(events, of_floats_with_signs_in_turn_fuse_nothing, .timeout = 1200)
{
    enum { WIDTH = 6, NETS = 3 };
    pq_rng rng = pq_rng_stream(25, "codegen events");

    level = "-O3";
    for (size_t i = 0; i < NETS; i++) {
        pq_layer *norm = norm_layer(&rng, WIDTH);
        float    *mean = pq_f32(pq_layer_weight(norm, "mean")->value);
        float    *beta = pq_f32(pq_layer_weight(norm, "beta")->value);
        float    *x    = pq_calloc(MOST * WIDTH, sizeof *x);
        pq_graph *g    = NULL;
        for (size_t k = 0; k < WIDTH; k++) {
            mean[k] = 0.0f;
            beta[k] = (k % 2 == 0 ? -1.0f : 1.0f) * (0.1f + fabsf(beta[k]));
        }
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", "6");
        add_layer(g, "first",
                  affine(&rng, make_layer("dense"), PQ_SHAPE(WIDTH, WIDTH), true), "x");
        add_layer2(g, "add", make_layer("add"), "first", "x");
        add_layer(g, "norm", norm, "add");
        add_layer2(g, "multiply", make_layer("multiply"), "norm", "first");
        add_layer(g, "fc",
                  affine(&rng, make_layer("dense"), PQ_SHAPE(WIDTH, WIDTH), true),
                  "multiply");
        OK(pq_graph_check(g, &err));
        fill_normal(&rng, 1.0, MOST * WIDTH, x);
        cr_expect(check_variants(g, "signs in turn", x, false));
        pq_free(x);
        pq_graph_free(&g);
    }
}

/* Most of the work is in a convolution: runN goes from event to event. */
Test(events, of_images_have_no_block, .timeout = 600)
{
    pq_rng    rng = pq_rng_stream(22, "codegen events");
    pq_graph *g   = NULL;
    float    *x   = pq_calloc(MOST * 36, sizeof *x);

    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "[6, 6, 1]");
    add_layer(g, "conv", affine(&rng, make_layer("conv2d"), PQ_SHAPE(8, 3, 3, 1), true),
              "x");
    add_layer(g, "pool", make_layer("global_avg_pool"), "conv");
    add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(3, 8), true), "pool");
    OK(pq_graph_check(g, &err));
    fill_normal(&rng, 1.0, MOST * 36, x);
    cr_expect_not(check_variants(g, "an image", x, false));
    pq_free(x);
    pq_graph_free(&g);
}

/* --- whole numbers --- */

/* Values far away, no numbers, and on the edge between codes; nets of dense layers, of
 * integers and of fixed point, some with blocks of zeros. */
Test(events, of_whole_numbers_give_the_bits_of_one_by_one, .timeout = 3600)
{
    enum { NETS = 6, LONG = 300 };
    const size_t nets = getenv("PQ_LONG") != NULL ? LONG : NETS;
    size_t       done = 0, blocks = 0;
    char         what[32];

    for (uint64_t seed = 30000; done < nets; seed++) {
        made m = make_whole(seed);
        if (m.graph->nodes[0].shape.ndim > 1) { /* an image */
            pq_graph_free(&m.graph);
            continue;
        }
        done++;
        net    t = {.rng = pq_rng_stream(seed, "events"), .graph = m.graph};
        float *x = pq_calloc(MOST * items_of(&m.graph->nodes[0].shape), sizeof *x);
        (void)snprintf(what, sizeof what, "seed %llu", (unsigned long long)seed);
        hard_values(&t, MOST * items_of(&m.graph->nodes[0].shape), x);
        blocks += check_variants(m.graph, what, x, true) ? 1 : 0;
        pq_free(x);
        pq_graph_free(&m.graph);
    }
    cr_expect_geq(blocks, nets / 3, "only %zu of %zu nets had blocks", blocks, nets);
}
