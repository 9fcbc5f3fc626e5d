/*
 * Parameters of the networks of Garipov et al., "Ultimate tensorization" (2016),
 * arXiv:1611.03214, table 1 and 2, built of our layers with random cores: what is counted
 * are kernels, cores, BatchNorm's gamma and beta and the last layer's bias, as there.
 *
 * Ranks of 3.23x and 41.65x are those of the authors' repository; those of the other rows
 * are not published: the ones here give the printed ratio.
 */
#include "nets.h"

/* Channels of the convolutions behind the first. */
static const size_t conv_in[]  = {64, 64, 128, 128, 128};
static const size_t conv_out[] = {64, 128, 128, 128, 128};

typedef enum { DENSE, TRAIN, NAIVE } form;

typedef struct {
    const char *name;
    form        conv;
    size_t      rank[5][3]; /* of each TT convolution */
    size_t      fc[2];      /* ranks of two TT dense layers; 0 = dense */
    bool        with_fc;    /* the network with 8192-1536-512-10 behind */
    size_t      parameters; /* 0 = only the ratio is known */
    const char *ratio;      /* as printed */
} row;

#define ALL(...)                                                                         \
    {                                                                                    \
        {__VA_ARGS__}, {__VA_ARGS__}, {__VA_ARGS__}, {__VA_ARGS__},                      \
        {                                                                                \
            __VA_ARGS__                                                                  \
        }                                                                                \
    }

static const row rows[] = {
    {"conv", DENSE, {{0}}, {0}, false, 557248, "1.00"},
    {"TT-conv 2.02", TRAIN, ALL(13, 30, 33), {0}, false, 0, "2.02"},
    {"TT-conv 2.53", TRAIN, ALL(11, 29, 27), {0}, false, 0, "2.53"},
    {"TT-conv 3.23",
     TRAIN,
     {{22, 20, 20}, {27, 22, 22}, {23, 23, 23}, {23, 23, 23}, {23, 23, 23}},
     {0},
     false,
     172518,
     "3.23"},
    {"TT-conv 4.02", TRAIN, ALL(18, 22, 19), {0}, false, 0, "4.02"},
    {"TT-conv (naive) 2.02",
     NAIVE,
     {{64, 81, 64}, {64, 81, 81}, {81, 81, 81}, {82, 82, 82}, {82, 82, 82}},
     {0},
     false,
     0,
     "2.02"},
    {"TT-conv (naive) 2.90", NAIVE, ALL(63, 63, 63), {0}, false, 0, "2.90"},
    {"conv-fc", DENSE, {{0}}, {0}, true, 13934538, "1.00"},
    {"conv-TT-fc 10.72", DENSE, {{0}}, {75, 40}, true, 0, "10.72"},
    {"conv-TT-fc 19.38", DENSE, {{0}}, {32, 24}, true, 0, "19.38"},
    {"conv-TT-fc 21.01", DENSE, {{0}}, {25, 20}, true, 0, "21.01"},
    {"TT-conv-TT-fc 9.69", TRAIN, ALL(16, 16, 16), {100, 60}, true, 0, "9.69"},
    {"TT-conv-TT-fc 41.65", TRAIN, ALL(16, 16, 16), {40, 30}, true, 0, "41.65"},
    {"TT-conv-TT-fc 82.87", TRAIN, ALL(16, 16, 16), {20, 20}, true, 0, "82.87"},
};

static void core(pq_layer *l, pq_rng *rng, const char *name, pq_shape shape)
{
    OK(pq_layer_add_weight(l, name, net_tensor(rng, shape, 0.1), &err));
}

static pq_layer *conv_layer(pq_rng *rng, const row *r, size_t i)
{
    const size_t *rank  = r->rank[i];
    const size_t  mid[] = {conv_in[i] == 64 ? 4 : 8, conv_out[i] == 64 ? 4 : 8};
    pq_layer     *l;

    if (r->conv == DENSE) {
        return net_kernel(rng, PQ_SHAPE(conv_out[i], 3, 3, conv_in[i]), false);
    }
    l = net_layer("tt_conv2d");
    core(l, rng, "window", PQ_SHAPE(1, 3, 3, rank[0]));
    core(l, rng, "core1", PQ_SHAPE(rank[0], 4, 4, rank[1]));
    core(l, rng, "core2", PQ_SHAPE(rank[1], mid[1], mid[0], rank[2]));
    core(l, rng, "core3", PQ_SHAPE(rank[2], 4, 4, 1));
    return l;
}

/* Four plain convolutions for the naive train; the name of the last is returned. */
static const char *add_conv(pq_graph *g, pq_rng *rng, const row *r, size_t i,
                            const char *last, bool same)
{
    static char names[8][16];
    static int  turn;
    pq_layer   *l[4] = {NULL};
    size_t      n    = 1;

    if (r->conv == NAIVE) {
        const size_t *k = r->rank[i];
        n               = 4;
        l[0]            = net_kernel(rng, PQ_SHAPE(k[0], 1, 1, conv_in[i]), false);
        l[1]            = net_kernel(rng, PQ_SHAPE(k[1], 3, 1, k[0]), false);
        l[2]            = net_kernel(rng, PQ_SHAPE(k[2], 1, 3, k[1]), false);
        l[3]            = net_kernel(rng, PQ_SHAPE(conv_out[i], 1, 1, k[2]), false);
    } else {
        l[0] = conv_layer(rng, r, i);
    }
    for (size_t j = 0; j < n; j++) {
        char *name = names[turn++ % 8];
        snprintf(name, sizeof names[0], "conv%zu%c", i + 2, (char)('a' + j));
        OK(pq_layer_set(l[j], "padding", same ? "same" : "valid", &err));
        net_add(g, name, l[j], last);
        last = name;
    }
    return last;
}

static pq_layer *fc_layer(pq_rng *rng, const row *r, int i)
{
    static const size_t n[2][4] = {{4, 6, 8, 8}, {4, 4, 4, 8}};
    static const size_t m[2][4] = {{8, 8, 8, 16}, {4, 6, 8, 8}};
    const size_t        rank    = r->fc[i];
    pq_layer           *l;
    char                name[8];

    if (rank == 0) {
        return net_kernel(rng, i == 0 ? PQ_SHAPE(1536, 8192) : PQ_SHAPE(512, 1536),
                          false);
    }
    l = net_layer("tt_dense");
    for (size_t k = 0; k < 4; k++) {
        snprintf(name, sizeof name, "core%zu", k + 1);
        core(l, rng, name,
             PQ_SHAPE(k == 0 ? 1 : rank, n[i][k], m[i][k], k == 3 ? 1 : rank));
    }
    return l;
}

static void pool(pq_graph *g, const char *name, const char *last)
{
    pq_layer *l = net_layer("max_pool");

    OK(pq_layer_set(l, "kernel_h", "3", &err));
    OK(pq_layer_set(l, "kernel_w", "3", &err));
    OK(pq_layer_set(l, "stride_h", "2", &err));
    OK(pq_layer_set(l, "stride_w", "2", &err));
    OK(pq_layer_set(l, "padding", "same", &err));
    net_add(g, name, l, last);
}

/* 64, 64, P, 128, 128, P, 128, 128, each with BatchNorm and relu; then what is behind. */
static pq_graph *build(const row *r)
{
    pq_rng      rng  = pq_rng_stream(1, "test");
    pq_graph   *g    = NULL;
    pq_layer   *stem = net_kernel(&rng, PQ_SHAPE(64, 3, 3, 3), false);
    const char *last = "conv1";
    char        bn[16], relu[16];

    OK(pq_graph_create(&g, &err));
    net_input(g, "32, 32, 3");
    OK(pq_layer_set(stem, "padding", "same", &err));
    net_add(g, "conv1", stem, "in");
    for (size_t i = 0; i < 6; i++) {
        if (i == 2 || i == 4) {
            pool(g, i == 2 ? "pool1" : "pool2", relu);
            last = i == 2 ? "pool1" : "pool2";
        }
        if (i > 0) {
            last = add_conv(g, &rng, r, i - 1, i == 2 || i == 4 ? last : relu,
                            r->with_fc || i < 4);
        }
        snprintf(bn, sizeof bn, "bn%zu", i + 1);
        snprintf(relu, sizeof relu, "relu%zu", i + 1);
        net_add(g, bn, net_norm(&rng, i == 0 ? 64 : conv_out[i - 1]), last);
        net_plain(g, "relu", relu, bn);
    }
    if (r->with_fc) {
        net_plain(g, "flatten", "flatten", relu);
        net_add(g, "fc1", fc_layer(&rng, r, 0), "flatten");
        net_add(g, "bn7", net_norm(&rng, 1536), "fc1");
        net_plain(g, "relu", "relu7", "bn7");
        net_add(g, "fc2", fc_layer(&rng, r, 1), "relu7");
        net_add(g, "bn8", net_norm(&rng, 512), "fc2");
        net_plain(g, "relu", "relu8", "bn8");
        net_add(g, "fc3", net_kernel(&rng, PQ_SHAPE(10, 512), true), "relu8");
    } else {
        net_plain(g, "global_avg_pool", "mean", relu);
        net_add(g, "fc", net_kernel(&rng, PQ_SHAPE(10, 128), false), "mean");
    }
    OK(pq_graph_check(g, &err));
    return g;
}

Test(garipov, parameters_and_ratios_of_every_row)
{
    const pq_count_rule rule = {.biases = true, .norms = true};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const row   *r    = &rows[i];
        pq_graph    *g    = build(r);
        const size_t n    = pq_graph_parameters(g, rule, NULL);
        const double base = r->with_fc ? 13934538.0 : 557248.0;
        char         ratio[16];

        snprintf(ratio, sizeof ratio, "%.2f", base / (double)n);
        cr_expect_str_eq(ratio, r->ratio, "%s: %zu parameters, %s, not %s", r->name, n,
                         ratio, r->ratio);
        cr_expect(r->parameters == 0 || r->parameters == n, "%s: %zu parameters", r->name,
                  n);
        pq_graph_free(&g);
    }
}

static size_t cores_of(const row *r, size_t layer)
{
    pq_rng    rng = pq_rng_stream(1, "test");
    pq_layer *l =
        layer < 5 ? conv_layer(&rng, r, layer) : fc_layer(&rng, r, (int)layer - 5);
    size_t n = 0;

    for (size_t k = 0; k < l->n_weights; k++) {
        n += l->weights[k].value->count;
    }
    pq_layer_free(&l);
    return n;
}

Test(garipov, cores_of_the_published_configurations)
{
    static const size_t a[] = {13958, 25587, 42895, 42895, 42895};
    static const size_t b[] = {8592, 12688, 20880, 20880, 20880, 185600, 52800};

    for (size_t i = 0; i < 5; i++) {
        cr_expect_eq(cores_of(&rows[3], i), a[i], "%zu", cores_of(&rows[3], i));
    }
    for (size_t i = 0; i < 7; i++) {
        cr_expect_eq(cores_of(&rows[12], i), b[i], "%zu", cores_of(&rows[12], i));
    }
}

/* A TT network of the paper's size runs: the definition against the rebuilt kernels. */
Test(garipov, tt_convolutions_compute_what_their_kernels_do)
{
    pq_graph *g = build(&rows[3]);
    size_t    n;
    float    *y = net_run(g, 1, &n);

    cr_expect_eq(n, 10);
    for (size_t i = 0; i < n; i++) {
        cr_expect(isfinite(y[i]));
    }
    pq_free(y);
    pq_graph_free(&g);
}
