/* Generated C, compiled and loaded, beside the reference engine. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codegen/codegen.h"
#include "core/file.h"
#include "exec/case_layer.h"

static char           folder[64];
static pq_codegen_isa isa = PQ_CODEGEN_AVX512;

static void make_folder(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/pquant-codegen-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char **names = NULL;
    size_t n     = 0;

    OK(pq_folder_list(folder, "", &names, &n, &err));
    for (size_t i = 0; i < n; i++) {
        char *path = pq_path_join(folder, names[i]);
        (void)unlink(path);
        pq_free(path);
        pq_free(names[i]);
    }
    pq_free(names);
    (void)rmdir(folder);
}

TestSuite(codegen, .init = make_folder, .fini = remove_folder);

typedef void (*run_n)(const float *x, float *y, size_t n);

/* NAME.c of the folder, as a shared object. The compiler must have nothing to say. */
static void *load(const char *name)
{
    char  command[512], path[128];
    void *object;

    (void)snprintf(path, sizeof path, "%s/%s.so", folder, name);
    (void)snprintf(
        command, sizeof command,
        "${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow "
        "-Wcast-align -Wcast-qual -Werror -shared -fPIC "
        "'%s/%s.c' -o '%s' -lm",
        folder, name, path);
    cr_assert_eq(system(command), 0, "%s", command);
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(object, "%s", dlerror());
    return object;
}

static void *symbol(void *object, const char *name)
{
    void *found = dlsym(object, name);

    cr_assert_not_null(found, "%s", dlerror());
    return found;
}

/* Outputs of `net_runN` for n events; caller frees. */
static float *run_generated(const pq_graph *g, size_t n, const float *x)
{
    pq_codegen_summary made;
    void              *object;
    run_n              run;
    float *y = pq_calloc(n * run_items(&g->nodes[g->output].shape), sizeof *y);

    OK(pq_codegen_write(g, "net", isa, folder, &made, &err));
    object         = load("net");
    *(void **)&run = symbol(object, "net_runN");
    run(x, y, n);
    cr_assert_eq(dlclose(object), 0);
    return y;
}

/* --- every kind --- */

typedef enum { ALONE, WITH_FUNCTIONS, WITH_NORM } followers;

/* A layer of the table behind a part of the one input. */
static size_t add_case(pq_graph *g, size_t number, size_t from, followers after,
                       pq_rng *rng, char *last)
{
    const layer_case *c                  = &layer_cases[number];
    char              names[RUN_MAX][32] = {{0}}, text[128], name[32];
    const char       *inputs[RUN_MAX]    = {NULL};
    pq_layer         *layer              = case_layer(c, rng);

    for (size_t k = 0; k < c->n_in; k++) {
        const size_t items = run_items(&c->in[k]);
        pq_layer    *part = make_layer("slice"), *shaped = make_layer("reshape");
        (void)snprintf(text, sizeof text, "%zu", from);
        OK(pq_layer_set(part, "from", text, &err));
        (void)snprintf(text, sizeof text, "%zu", from + items);
        OK(pq_layer_set(part, "to", text, &err));
        (void)snprintf(name, sizeof name, "part%zu_%zu", number, k);
        add_layer(g, name, part, "x");
        OK(pq_layer_set(shaped, "shape", pq_shape_text(&c->in[k], text, sizeof text),
                        &err));
        (void)snprintf(names[k], sizeof names[k], "in%zu_%zu", number, k);
        add_layer(g, names[k], shaped, name);
        inputs[k] = names[k];
        from += items;
    }
    (void)snprintf(last, 32, "layer%zu", number);
    OK(pq_graph_add(g, last, layer, c->n_in, inputs, &err));
    OK(pq_graph_check(g, &err));
    const pq_shape shape = g->nodes[g->output].shape;
    if (after == WITH_NORM) {
        (void)snprintf(name, sizeof name, "norm%zu", number);
        add_layer(g, name, norm_layer(rng, shape.dim[shape.ndim - 1]), last);
        (void)snprintf(last, 32, "relu%zu", number);
        add_layer(g, last, make_layer("relu"), name);
    } else if (after == WITH_FUNCTIONS) {
        (void)snprintf(name, sizeof name, "clip%zu", number);
        add_layer(
            g, name,
            make_layer_with("clip", (const char *const[]){"lo=-1.5", "hi=0.75", NULL}),
            last);
        (void)snprintf(last, 32, "leaky%zu", number);
        add_layer(g, last, make_layer("leaky_relu"), name);
        if (number % 2 == 0) {
            (void)snprintf(name, sizeof name, "%s", last);
            (void)snprintf(last, 32, "tanh%zu", number);
            add_layer(g, last, make_layer("tanh"), name);
        }
    }
    (void)snprintf(name, sizeof name, "%s", last);
    (void)snprintf(last, 32, "flat%zu", number);
    add_layer(g, last, make_layer("flatten"), name);
    return from;
}

/* One network that holds a layer of every kind, their outputs side by side. */
static pq_graph *all_kinds(followers after, pq_rng *rng, size_t *ends)
{
    static char names[N_LAYER_CASES][32];
    size_t      inputs = 0, n = 0, from = 0;
    char        text[32];
    pq_graph   *g = NULL;

    for (size_t i = 0; i < N_LAYER_CASES; i++) {
        for (size_t k = 0; k < layer_cases[i].n_in; k++) {
            inputs += run_items(&layer_cases[i].in[k]);
        }
    }
    OK(pq_graph_create(&g, &err));
    (void)snprintf(text, sizeof text, "%zu", inputs);
    add_input(g, "x", text);
    for (size_t i = 0; i < N_LAYER_CASES; i++) {
        if (strcmp(layer_cases[i].kind, "input") != 0) {
            from = add_case(g, i, from, after, rng, names[n]);
            OK(pq_graph_check(g, &err));
            ends[i] = (i == 0 ? 0 : ends[i - 1]) + run_items(&g->nodes[g->output].shape);
            n++;
        } else {
            ends[i] = i == 0 ? 0 : ends[i - 1];
        }
    }
    for (size_t level = 0; n > 1; level++) {
        size_t joined = 0;
        for (size_t i = 0; i < n; i += PQ_NODE_INPUTS) {
            const size_t few = n - i < PQ_NODE_INPUTS ? n - i : PQ_NODE_INPUTS;
            const char  *in[PQ_NODE_INPUTS];
            char         name[32];
            for (size_t k = 0; k < few; k++) {
                in[k] = names[i + k];
            }
            (void)snprintf(name, sizeof name, "joined%zu_%zu", level, joined);
            if (few > 1) {
                OK(pq_graph_add(g, name, make_layer("concat"), few, in, &err));
            } else {
                add_layer(g, name, make_layer("dropout"), in[0]);
            }
            memcpy(names[joined++], name, sizeof name);
        }
        n = joined;
    }
    OK(pq_graph_check(g, &err));
    return g;
}

static void walk(followers after)
{
    enum { EVENTS = 5 };
    size_t    ends[N_LAYER_CASES];
    pq_rng    rng = pq_rng_stream(3, "codegen kinds");
    pq_graph *g   = all_kinds(after, &rng, ends);
    size_t    in = run_items(&g->nodes[0].shape), at = 0, none = 0;
    size_t    width = run_items(&g->nodes[g->output].shape);
    float    *x     = pq_calloc(EVENTS * in, sizeof *x), *due, *y;

    cr_assert_eq(width, ends[N_LAYER_CASES - 1]);
    fill_normal(&rng, 1.0, EVENTS * in, x);
    for (size_t i = 0; i < in; i++) { /* two events with NaNs, of which one whole */
        x[(EVENTS - 1) * in + i] = NAN;
        x[(EVENTS - 2) * in + i] = i % 5 == 2 ? NAN : x[(EVENTS - 2) * in + i];
    }
    due = run_graph(g, "reference", EVENTS, EVENTS, x);
    y   = run_generated(g, EVENTS, x);
    for (size_t i = 0; i < EVENTS * width; i++) {
        while (i % width >= ends[at] || (at > 0 && i % width < ends[at - 1])) {
            at = (at + 1) % N_LAYER_CASES;
        }
        const double off = fabs((double)y[i] - (double)due[i]);
        cr_expect(off <= 1e-5 * fmax(1.0, fabs((double)due[i])) ||
                      (isnan(y[i]) && isnan(due[i])),
                  "%s (%s), event %zu: %g, not %g", layer_cases[at].kind,
                  layer_cases[at].attributes, i / width, (double)y[i], (double)due[i]);
        none += isnan(due[i]) ? 1 : 0;
    }
    cr_expect_gt(none, width, "NaNs were hidden from the comparison");
    pq_free(x);
    pq_free(y);
    pq_free(due);
    pq_graph_free(&g);
    cr_expect_eq(pq_memory_live(), 0);
}

Test(codegen, every_kind_gives_what_the_reference_gives_in_every_variant)
{
    for (size_t i = 0; pq_codegen_isas[i] != NULL; i++) {
        isa = (pq_codegen_isa)i;
        walk(ALONE);
    }
}

Test(codegen, functions_behind_every_kind_are_applied_in_their_order)
{
    walk(WITH_FUNCTIONS);
}

Test(codegen, a_norm_behind_every_kind_is_folded_or_applied)
{
    walk(WITH_NORM);
}

/* --- networks of one chain --- */

static pq_graph *chain_net(size_t in, const size_t *widths, size_t n, pq_rng *rng)
{
    char      text[32], name[32], last[32] = "x";
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, &err));
    (void)snprintf(text, sizeof text, "%zu", in);
    add_input(g, "x", text);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "fc%zu", i);
        add_layer(g, name,
                  affine(rng, make_layer("dense"),
                         PQ_SHAPE(widths[i], i == 0 ? in : widths[i - 1]), true),
                  last);
        (void)snprintf(last, sizeof last, "relu%zu", i);
        add_layer(g, last, make_layer("relu"), name);
    }
    OK(pq_graph_check(g, &err));
    return g;
}

static void compare(const pq_graph *g, size_t n, const float *x, const float *raw)
{
    const size_t width = run_items(&g->nodes[g->output].shape);
    float       *due   = run_graph(g, "reference", n, n, x), *y;

    y = run_generated(g, n, raw);
    for (size_t i = 0; i < n * width; i++) {
        cr_expect_float_eq(y[i], due[i], 1e-5 * fmax(1.0, fabs((double)due[i])),
                           "output %zu: %g, not %g", i, (double)y[i], (double)due[i]);
    }
    pq_free(due);
    pq_free(y);
}

/* Sums written out and in loops, panels that are whole and that are not. */
Test(codegen, dense_layers_of_all_widths)
{
    static const size_t nets[][3] = {{1, 1, 1},   {15, 16, 17}, {64, 32, 5},
                                     {65, 63, 2}, {129, 7, 48}, {200, 150, 3},
                                     {16, 80, 64}};
    pq_rng              rng       = pq_rng_stream(5, "codegen widths");

    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        const size_t in = 1 + 37 * i;
        pq_graph    *g  = chain_net(in, nets[i], 3, &rng);
        float       *x  = pq_calloc(7 * in, sizeof *x);
        fill_normal(&rng, 1.0, 7 * in, x);
        compare(g, 7, x, x);
        pq_free(x);
        pq_graph_free(&g);
    }
}

static void compare_layer_norm(const char *width, pq_layer *norm, const char *epsilon,
                               size_t n, const float *x)
{
    pq_graph *g = NULL;

    OK(pq_layer_set(norm, "epsilon", epsilon, &err));
    OK(pq_graph_create(&g, &err));
    add_input(g, "x", width);
    add_layer(g, "norm", norm, "x");
    OK(pq_graph_check(g, &err));
    compare(g, n, x, x);
    pq_graph_free(&g);
}

Test(codegen, layer_norm_of_many_alike_values_does_not_miss_their_mean)
{
    float x[387];

    for (size_t i = 0; i < 387; i++) {
        x[i] = 2.7f;
    }
    compare_layer_norm("387", make_layer("layer_norm"), "1e-5", 1, x);
}

Test(codegen, layer_norm_of_the_largest_floats_does_not_overflow)
{
    static const float x[] = {1e18f, -2e18f, 3e18f, 0.0f,   2e19f,   -1e25f,
                              1.0f,  -4e24f, 3e38f, -3e38f, 3.4e38f, 1e38f};
    const layer_case c = {"layer_norm", "", 1, {S(4)}, {{"gamma", S(4)}, {"beta", S(4)}}};
    pq_rng           rng = pq_rng_stream(7, "codegen layer_norm");

    compare_layer_norm("4", make_layer("layer_norm"), "1e-5", 3, x);
    compare_layer_norm("4", case_layer(&c, &rng), "1e-5", 3, x);
}

Test(codegen, layer_norm_without_epsilon_keeps_small_deviations)
{
    static const float x[] = {1e-25f, -2e-25f, 3e-25f, 0.0f, 2e-16f, -1e-16f,
                              0.0f,   4e-16f,  2.0f,   1.0f, 3e20f,  0.0f};

    compare_layer_norm("4", make_layer("layer_norm"), "0", 3, x);
}

Test(codegen, blocks_of_zeros_are_left_out)
{
    const size_t       widths[] = {64, 32, 5};
    pq_rng             rng      = pq_rng_stream(6, "codegen zeros");
    pq_graph          *g        = chain_net(16, widths, 3, &rng);
    float              x[4 * 16];
    pq_codegen_summary dense, pruned;

    OK(pq_codegen_write(g, "net", PQ_CODEGEN_AVX2, folder, &dense, &err));
    cr_expect_eq(dense.skipped, 0);
    for (size_t node = 0; node < g->n_nodes; node++) {
        pq_weight *w = pq_layer_weight(g->nodes[node].layer, "kernel");
        for (size_t i = 0; w != NULL && i < w->value->count; i++) {
            if (i % w->value->shape.dim[1] % 3 != 0) { /* two of three inputs */
                pq_f32(w->value)[i] = 0.0f;
            }
        }
    }
    fill_normal(&rng, 1.0, 4 * 16, x);
    compare(g, 4, x, x);
    OK(pq_codegen_write(g, "net", PQ_CODEGEN_AVX2, folder, &pruned, &err));
    /* Panels times inputs that are not the first of three. */
    cr_expect_eq(pruned.skipped, 4 * 10 + 2 * 42 + 1 * 21);
    cr_expect_eq(pruned.weights, dense.weights - 16 * pruned.skipped);
    /* A layer of nothing but zeros gives its bias. */
    for (size_t node = 0; node < g->n_nodes; node++) {
        pq_weight *w = pq_layer_weight(g->nodes[node].layer, "kernel");
        if (w != NULL) {
            memset(pq_f32(w->value), 0, w->value->count * sizeof(float));
        }
    }
    compare(g, 4, x, x);
    pq_graph_free(&g);
}

/* Alone, and beside another that is used. */
Test(codegen, a_feature_that_nothing_depends_on_is_not_read)
{
    const size_t widths[] = {64, 32, 5};
    pq_rng       rng      = pq_rng_stream(8, "codegen unused");

    for (size_t unused = 1; unused <= 2; unused++) {
        pq_graph      *g = chain_net(16, widths, 3, &rng);
        pq_weight     *w = NULL;
        float          x[2 * 16], *y;
        pq_codegen_isa all = isa;

        for (size_t node = 0; w == NULL; node++) {
            w = pq_layer_weight(g->nodes[node].layer, "kernel");
        }
        fill_normal(&rng, 1.0, 16, x);
        memcpy(x + 16, x, 16 * sizeof *x);
        for (size_t i = 6; i < 6 + unused; i++) {
            x[16 + i] = NAN;
            for (size_t o = 0; o < 64; o++) {
                pq_f32(w->value)[o * 16 + i] = 0.0f;
            }
        }
        for (isa = PQ_CODEGEN_PORTABLE; isa <= PQ_CODEGEN_AVX512; isa++) {
            y = run_generated(g, 2, x);
            for (size_t k = 0; k < 5; k++) {
                cr_expect_eq(y[k], y[5 + k], "%zu unused, set %d: %g and %g", unused,
                             (int)isa, (double)y[k], (double)y[5 + k]);
            }
            pq_free(y);
        }
        isa = all;
        pq_graph_free(&g);
    }
}

Test(codegen, the_scaler_is_inside)
{
    const size_t widths[] = {8, 3};
    pq_rng       rng      = pq_rng_stream(7, "codegen scaler");
    pq_graph    *g        = chain_net(4, widths, 2, &rng);
    float        x[6 * 4], raw[6 * 4];

    g->scaler_mean = normal_tensor(&rng, PQ_SHAPE(4), 100.0);
    g->scaler_std  = normal_tensor(&rng, PQ_SHAPE(4), 1.0);
    for (size_t i = 0; i < 4; i++) {
        pq_f32(g->scaler_std)[i] = 0.5f + fabsf(pq_f32(g->scaler_std)[i]);
    }
    fill_normal(&rng, 1.0, 6 * 4, raw);
    for (size_t i = 0; i < 6 * 4; i++) {
        const float m = pq_f32(g->scaler_mean)[i % 4], s = pq_f32(g->scaler_std)[i % 4];
        raw[i] = m + s * raw[i];
        x[i]   = (float)(((double)raw[i] - (double)m) / (double)s);
    }
    compare(g, 6, x, raw);
    pq_graph_free(&g);
}

/* Strides so long that windows lie in the padding alone, on one axis or both. */
Test(codegen, windows_that_miss_the_image_give_the_bias)
{
    static const struct {
        const char *input, *attributes[8];
        pq_shape    kernel;
    } layers[] = {
        {"[1, 1, 2]",
         {"padding=explicit", "stride_h=7", "pad_top=2", "pad_bottom=2", "stride_w=7",
          "pad_left=2", "pad_right=2", NULL},
         PQ_SHAPE(3, 1, 1, 2)},
        {"[5, 1, 2]",
         {"padding=explicit", "stride_w=9", "pad_left=3", "pad_right=3", NULL},
         PQ_SHAPE(3, 1, 1, 2)},
        {"[5, 2, 2]",
         {"padding=explicit", "stride_w=9", "pad_top=1", "pad_bottom=1", "pad_left=3",
          "pad_right=3", NULL},
         PQ_SHAPE(17, 2, 1, 2)},
        {"[1, 5, 2]",
         {"padding=explicit", "stride_h=9", "pad_top=3", "pad_bottom=3", NULL},
         PQ_SHAPE(17, 1, 2, 2)},
        {"[5, 1, 2]",
         {"padding=explicit", "stride_w=9", "pad_left=3", "pad_right=3", "groups=2",
          NULL},
         PQ_SHAPE(4, 1, 1, 1)},
    };
    pq_rng rng = pq_rng_stream(13, "codegen windows");

    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        pq_graph *g = NULL;
        float     x[3 * 20];
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", layers[i].input);
        add_layer(g, "conv",
                  affine(&rng, make_layer_with("conv2d", layers[i].attributes),
                         layers[i].kernel, true),
                  "x");
        OK(pq_graph_check(g, &err));
        fill_normal(&rng, 1.0, sizeof x / sizeof *x, x);
        compare(g, 3, x, x);
        pq_graph_free(&g);
    }
}

/* Constants that C has no digits for. */
Test(codegen, infinite_constants_are_written)
{
    static const struct {
        const char *kind, *attributes[4];
    } layers[] = {{"pad", {"before=2", "value=-inf", NULL}},
                  {"pad", {"after=1", "value=inf", NULL}},
                  {"clip", {"lo=-inf", "hi=0.5", NULL}},
                  {"clip", {"lo=-inf", "hi=inf", NULL}},
                  {"clip", {"lo=-0.5", "hi=inf", NULL}}};
    pq_rng rng = pq_rng_stream(12, "codegen infinities");
    char   command[512];

    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        pq_graph *g = NULL;
        float     x[2 * 2 * 2 * 3], *due, *y;
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", "[2, 2, 3]");
        add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(3, 3), true), "x");
        add_layer(g, "y", make_layer_with(layers[i].kind, layers[i].attributes), "fc");
        OK(pq_graph_check(g, &err));
        fill_normal(&rng, 1.0, sizeof x / sizeof *x, x);
        due = run_graph(g, "reference", 2, 2, x);
        y   = run_generated(g, 2, x);
        for (size_t k = 0; k < 2 * run_items(&g->nodes[g->output].shape); k++) {
            cr_expect(y[k] == due[k] || fabsf(y[k] - due[k]) < 1e-6f, "%s %s: %g, not %g",
                      layers[i].kind, layers[i].attributes[0], (double)y[k],
                      (double)due[k]);
        }
        (void)snprintf(command, sizeof command,
                       "cd '%s' && ${CC:-cc} -O2 -Wall -Wextra -Werror net.c net_test.c "
                       "-o net_test -lm && ./net_test >/dev/null",
                       folder);
        cr_expect_eq(system(command), 0, "%s: %s", layers[i].kind, command);
        pq_free(due);
        pq_free(y);
        pq_graph_free(&g);
    }
}

/* What a model calls things ends no string and no comment. */
Test(codegen, foreign_names_are_only_texts)
{
    static const char *const classes[]  = {"b*/\"); abort(); //", "back\\slash\n\t?\?/"};
    static const char *const features[] = {"pT \xc3\xa9", "%s%n", "\x1b[31m"};
    const size_t             widths[]   = {2};
    pq_rng                   rng        = pq_rng_stream(8, "codegen names");
    pq_graph                *g          = chain_net(3, widths, 1, &rng);
    pq_codegen_summary       made;
    typedef struct {
        const char        *name, *hash, *isa;
        size_t             n_features;
        const char *const *features;
        size_t             n_classes;
        const char *const *classes;
    } information;
    information (*info)(void);
    char hash[65];

    OK(pq_graph_set_classes(g, 2, classes, &err));
    OK(pq_graph_set_features(g, 3, features, &err));
    pq_free(g->nodes[1].name);
    g->nodes[1].name = pq_strdup("*/ #error \n");
    OK(pq_codegen_write(g, "net", isa, folder, &made, &err));
    void *object        = load("net");
    *(void **)&info     = symbol(object, "net_info");
    const information i = info();
    OK(pq_graph_hash(g, hash, &err));
    cr_expect_str_eq(i.name, "net");
    cr_expect_str_eq(i.hash, hash);
    cr_assert_eq(i.n_features, 3);
    cr_assert_eq(i.n_classes, 2);
    for (size_t k = 0; k < 3; k++) {
        cr_expect_str_eq(i.features[k], features[k]);
    }
    for (size_t k = 0; k < 2; k++) {
        cr_expect_str_eq(i.classes[k], classes[k]);
    }
    cr_assert_eq(dlclose(object), 0);
    pq_graph_free(&g);
}

/* --- what is refused --- */

static void refused(const pq_graph *g, const char *name, pq_status status,
                    const char *message)
{
    pq_err             err = {0};
    pq_codegen_summary made;
    char             **names = NULL;
    size_t             n     = 0;

    cr_expect_eq(pq_codegen_write(g, name, PQ_CODEGEN_AVX512, folder, &made, &err),
                 status, "%s", err.message);
    cr_expect_str_eq(err.message, message);
    OK(pq_folder_list(folder, "", &names, &n, &err));
    cr_expect_eq(n, 0, "something was written");
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(names);
}

Test(codegen, what_has_no_form_in_c_is_refused_by_name_and_nothing_written)
{
    const size_t widths[] = {8, 3};
    pq_rng       rng      = pq_rng_stream(9, "codegen refused");
    pq_graph    *g        = chain_net(4, widths, 2, &rng);

    OK(pq_quant_create(PQ_QUANT_INTEGER, 6, false, false, PQ_QUANT_PER_TENSOR, 1,
                       &g->nodes[2].quant, &err));
    refused(
        g, "net", PQ_ERR_UNSUPPORTED,
        "layer 'fc0': its kernel has no whole-number codes; generated C of a model with "
        "activations on grids computes every kernel in whole numbers");
    pq_graph_free(&g);
    g = chain_net(4, widths, 2, &rng);
    add_input(g, "more", "3");
    add_layer2(g, "sum", make_layer("add"), "relu1", "more");
    OK(pq_graph_check(g, &err));
    refused(g, "net", PQ_ERR_UNSUPPORTED,
            "the model has 2 inputs; generated C takes one");
    pq_graph_free(&g);
    /* A factor of BatchNorm that a weight cannot take in. */
    OK(pq_graph_create(&g, &err));
    add_input(g, "x", "4");
    add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(3, 4), false), "x");
    add_layer(g, "norm", norm_layer(&rng, 3), "fc");
    pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value)[0]   = 3e38f;
    pq_f32(pq_layer_weight(g->nodes[2].layer, "gamma")->value)[0]    = 1e3f;
    pq_f32(pq_layer_weight(g->nodes[2].layer, "variance")->value)[0] = 0.999f;
    OK(pq_graph_check(g, &err));
    refused(g, "net", PQ_ERR_NUMERIC,
            "layer 'fc': 3e+41, a weight with its scales folded in, is no float32");
    pq_graph_free(&g);
}

Test(codegen, names_that_c_cannot_have)
{
    static const char *const bad[] = {
        "",           "1net",
        "my net",     "net;",
        "n\xc3\xa9t", "math",
        "_net",       "a-b",
        "../x",       "string",
        "features",   "strings",
        "immintrin",  "test",
        "m",          "debug",
        "general",    "PUBLIC",
        "INTERFACE",  "abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuv"};
    pq_err err = {0};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(pq_codegen_check_name(bad[i], &err), PQ_ERR_CONFIG, "'%s'", bad[i]);
    }
    OK(pq_codegen_check_name("jets_2026", &err));
    err = (pq_err){0};
    cr_expect_eq(pq_codegen_check_name("math", &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "'math' cannot be the name: C has a header math.h of its own");
    err = (pq_err){0};
    cr_expect_eq(pq_codegen_check_name("test", &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "'test' cannot be the name: CMake has a target of it");
}

/* What somebody else wrote stays as it is; what was written for the same name does not.
 */
Test(codegen, only_files_of_the_same_name_are_written_over)
{
    static const char *const files[] = {"net.h", "net.c", "net_test.c", "CMakeLists.txt"};
    const size_t             widths[] = {2};
    pq_rng                   rng      = pq_rng_stream(14, "codegen files");
    pq_graph                *g        = chain_net(3, widths, 1, &rng);
    pq_codegen_summary       made;
    char                     message[256];

    for (size_t i = 0; i < 4; i++) {
        char  *path = pq_path_join(folder, files[i]), *text = NULL;
        size_t n = 0;
        OK(pq_file_write(path, "mine\n", 5, &err));
        (void)snprintf(message, sizeof message,
                       "%s is there, and is not one that pquant wrote for 'net': give "
                       "another folder, or remove it",
                       path);
        pq_err err = {0};
        cr_expect_eq(pq_codegen_write(g, "net", isa, folder, &made, &err), PQ_ERR_CONFIG);
        cr_expect_str_eq(err.message, message);
        OK(pq_file_read(path, 100, &text, &n, &err));
        cr_expect_str_eq(text, "mine\n");
        for (size_t k = 0; k < 4; k++) {
            char *other = pq_path_join(folder, files[k]);
            cr_expect(k == i || !pq_file_exists(other), "%s was written", files[k]);
            pq_free(other);
        }
        (void)unlink(path);
        pq_free(path);
        pq_free(text);
    }
    OK(pq_codegen_write(g, "net", isa, folder, &made, &err));
    OK(pq_codegen_write(g, "net", isa, folder, &made, &err));
    pq_err err = {0};
    cr_expect_eq(pq_codegen_write(g, "other", isa, folder, &made, &err), PQ_ERR_CONFIG);
    cr_expect_not_null(strstr(err.message, "CMakeLists.txt is there"));
    pq_graph_free(&g);
}
