#include "formats/zoo.h"

#include <stdio.h>
#include <string.h>

/* A graph that grows: the first failure stays and the rest does nothing. */
typedef struct {
    pq_graph *graph;
    pq_err   *err;
    pq_status st;
    pq_layer *layer; /* being made */
    char      last[64];
    size_t    channels;
} builder;

static void make(builder *b, const char *kind)
{
    if (b->st == PQ_OK) {
        b->st = pq_layer_create(kind, &b->layer, b->err);
    }
}

static void set(builder *b, const char *attribute, const char *text)
{
    if (b->st == PQ_OK) {
        b->st = pq_layer_set(b->layer, attribute, text, b->err);
    }
}

static void weigh(builder *b, const char *name, pq_shape shape)
{
    pq_tensor *t = NULL;

    if (b->st == PQ_OK) {
        b->st = pq_tensor_create(PQ_DTYPE_F32, shape, &t, b->err);
    }
    if (b->st == PQ_OK) {
        b->st = pq_layer_add_weight(b->layer, name, t, b->err);
    }
}

/* Adds the layer behind `last` (and `other`, if given) and makes it the last. */
static void put(builder *b, const char *name, const char *other)
{
    const char  *inputs[] = {b->last, other};
    const size_t n        = b->last[0] == '\0' ? 0 : other != NULL ? 2 : 1;

    if (b->st == PQ_OK) {
        b->st    = pq_graph_add(b->graph, name, b->layer, n, inputs, b->err);
        b->layer = NULL;
        (void)snprintf(b->last, sizeof b->last, "%s", name);
    }
}

static void plain(builder *b, const char *kind, const char *name)
{
    make(b, kind);
    put(b, name, NULL);
}

static void input(builder *b, const char *shape)
{
    make(b, "input");
    set(b, "shape", shape);
    put(b, "input", NULL);
}

static void dense(builder *b, const char *name, size_t in, size_t out)
{
    make(b, "dense");
    weigh(b, "kernel", PQ_SHAPE(out, in));
    weigh(b, "bias", PQ_SHAPE(out));
    put(b, name, NULL);
}

/* Layers of n sizes with relu between them, softmax at the end. */
static pq_status mlp(pq_graph *graph, const char *shape, const size_t *sizes, size_t n,
                     pq_err *err)
{
    builder b = {.graph = graph, .err = err};
    char    name[32];

    input(&b, shape);
    for (size_t i = 1; i < n; i++) {
        (void)snprintf(name, sizeof name, "fc%zu", i);
        dense(&b, i + 1 < n ? name : "output", sizes[i - 1], sizes[i]);
        (void)snprintf(name, sizeof name, "fc%zu_relu", i);
        plain(&b, i + 1 < n ? "relu" : "softmax", i + 1 < n ? name : "softmax");
    }
    pq_layer_free(&b.layer);
    return b.st;
}

static pq_status jsc_mlp(pq_graph *graph, pq_err *err)
{
    return mlp(graph, "16", (size_t[]){16, 64, 32, 32, 5}, 5, err);
}

static pq_status btag_mlp(pq_graph *graph, pq_err *err)
{
    return mlp(graph, "16", (size_t[]){16, 64, 32, 32, 4}, 5, err);
}

/* Deep sets on up to 40 tracks of seven quantities and the mask of those that are there.
 */
static pq_status dips(pq_graph *graph, pq_err *err)
{
    static const size_t phi[] = {7, 100, 100, 128}, f[] = {128, 100, 100, 4};
    builder             b = {.graph = graph, .err = err};
    char                name[32];

    input(&b, "40,8");
    make(&b, "slice");
    set(&b, "from", "7");
    put(&b, "valid", NULL);
    (void)snprintf(b.last, sizeof b.last, "input");
    make(&b, "slice");
    set(&b, "to", "7");
    put(&b, "tracks", NULL);
    for (size_t i = 1; i < 4; i++) {
        (void)snprintf(name, sizeof name, "phi%zu", i);
        dense(&b, name, phi[i - 1], phi[i]);
        (void)snprintf(name, sizeof name, "phi%zu_relu", i);
        plain(&b, "relu", name);
    }
    make(&b, "masked_pool");
    set(&b, "mode", "sum");
    put(&b, "pool", "valid");
    for (size_t i = 1; i < 4; i++) {
        (void)snprintf(name, sizeof name, "f%zu", i);
        dense(&b, i < 3 ? name : "output", f[i - 1], f[i]);
        (void)snprintf(name, sizeof name, "f%zu_relu", i);
        plain(&b, i < 3 ? "relu" : "softmax", i < 3 ? name : "softmax");
    }
    pq_layer_free(&b.layer);
    return b.st;
}

static pq_status fashion_mlp(pq_graph *graph, pq_err *err)
{
    builder b = {.graph = graph, .err = err};

    input(&b, "28,28,1");
    plain(&b, "flatten", "flatten");
    dense(&b, "fc1", 784, 512);
    plain(&b, "relu", "fc1_relu");
    dense(&b, "fc2", 512, 256);
    plain(&b, "relu", "fc2_relu");
    dense(&b, "output", 256, 10);
    plain(&b, "softmax", "softmax");
    pq_layer_free(&b.layer);
    return b.st;
}

static pq_status fashion_625(pq_graph *graph, pq_err *err)
{
    builder b = {.graph = graph, .err = err};

    input(&b, "28,28,1");
    plain(&b, "flatten", "flatten");
    dense(&b, "fc1", 784, 625);
    plain(&b, "relu", "fc1_relu");
    dense(&b, "output", 625, 10);
    plain(&b, "softmax", "softmax");
    pq_layer_free(&b.layer);
    return b.st;
}

/* One convolution, `same` padding for TensorFlow's nets, one pixel for PyTorch's. */
typedef struct {
    size_t kernel, out, stride;
    bool   bias, torch_padding;
} conv;

static void convolve(builder *b, const char *name, conv c)
{
    char stride[8];

    (void)snprintf(stride, sizeof stride, "%zu", c.stride);
    make(b, "conv2d");
    set(b, "stride_h", stride);
    set(b, "stride_w", stride);
    set(b, "padding", c.torch_padding ? "explicit" : "same");
    if (c.torch_padding && c.kernel == 3) {
        set(b, "pad_top", "1");
        set(b, "pad_bottom", "1");
        set(b, "pad_left", "1");
        set(b, "pad_right", "1");
    }
    weigh(b, "kernel", PQ_SHAPE(c.out, c.kernel, c.kernel, b->channels));
    if (c.bias) {
        weigh(b, "bias", PQ_SHAPE(c.out));
    }
    put(b, name, NULL);
    b->channels = c.out;
}

static void normalise(builder *b, const char *name, const char *epsilon)
{
    static const char *const names[] = {"gamma", "beta", "mean", "variance"};

    make(b, "batch_norm");
    set(b, "epsilon", epsilon);
    for (size_t i = 0; i < 4; i++) {
        weigh(b, names[i], PQ_SHAPE(b->channels));
    }
    put(b, name, NULL);
}

static char *named(char buffer[64], const char *block, const char *what)
{
    (void)snprintf(buffer, 64, "%s_%s", block, what);
    return buffer;
}

static void conv_norm(builder *b, const char *block, const char *number, conv c)
{
    char part[32], name[64];

    (void)snprintf(part, sizeof part, "conv%s", number);
    convolve(b, named(name, block, part), c);
    (void)snprintf(part, sizeof part, "bn%s", number);
    normalise(b, named(name, block, part), c.torch_padding ? "1e-05" : "0.001");
}

static void add_relu(builder *b, const char *block, const char *shortcut)
{
    char name[64];

    make(b, "add");
    put(b, named(name, block, "add"), shortcut);
    plain(b, "relu", named(name, block, "relu2"));
}

/* Two convolutions beside a shortcut: none, a 1x1 convolution, or a strided copy with
   zero channels on both sides (option A). */
static void residual(builder *b, const char *block, size_t out, size_t stride, bool torch)
{
    const size_t in = b->channels;
    const conv   c  = {3, out, stride, !torch, torch};
    char         from[64], shortcut[64], name[64], pad[32];

    (void)snprintf(from, sizeof from, "%s", b->last);
    (void)snprintf(shortcut, sizeof shortcut, "%s", b->last);
    if (stride != 1 && torch) {
        plain(b, "subsample", named(name, block, "skip"));
        (void)snprintf(pad, sizeof pad, "%zu", (out - in) / 2);
        make(b, "pad");
        set(b, "before", pad);
        set(b, "after", pad);
        put(b, named(shortcut, block, "skip_pad"), NULL);
    } else if (stride != 1) {
        convolve(b, named(shortcut, block, "skip"), (conv){1, out, stride, true, false});
    }
    b->channels = in;
    (void)snprintf(b->last, sizeof b->last, "%s", from);
    conv_norm(b, block, "1", c);
    plain(b, "relu", named(name, block, "relu1"));
    conv_norm(b, block, "2", (conv){3, out, 1, !torch, torch});
    add_relu(b, block, shortcut);
}

/* A ResNet for 32 x 32 images: three stages of 16, 32 and 64 channels. */
static pq_status resnet(pq_graph *graph, size_t blocks, bool torch, pq_err *err)
{
    builder b = {.graph = graph, .err = err, .channels = 3};
    char    name[32];

    input(&b, "32,32,3");
    conv_norm(&b, "stem", "", (conv){3, 16, 1, !torch, torch});
    plain(&b, "relu", "stem_relu");
    for (size_t stage = 0; stage < 3; stage++) {
        for (size_t i = 0; i < blocks; i++) {
            (void)snprintf(name, sizeof name, "stage%zu_block%zu", stage + 1, i + 1);
            residual(&b, name, (size_t)16 << stage, stage > 0 && i == 0 ? 2 : 1, torch);
        }
    }
    plain(&b, "global_avg_pool", "pool");
    dense(&b, "output", 64, 10);
    plain(&b, "softmax", "softmax");
    pq_layer_free(&b.layer);
    return b.st;
}

static pq_status resnet8(pq_graph *graph, pq_err *err)
{
    return resnet(graph, 1, false, err);
}

static pq_status resnet20(pq_graph *graph, pq_err *err)
{
    return resnet(graph, 3, true, err);
}

static pq_status resnet32(pq_graph *graph, pq_err *err)
{
    return resnet(graph, 5, true, err);
}

static pq_status resnet44(pq_graph *graph, pq_err *err)
{
    return resnet(graph, 7, true, err);
}

static pq_status resnet56(pq_graph *graph, pq_err *err)
{
    return resnet(graph, 9, true, err);
}

/* 3 x 3, BatchNorm, relu, without bias. */
static void garipov_block(builder *b, int i, size_t out, const char *padding)
{
    char name[16];

    make(b, "conv2d");
    set(b, "padding", padding);
    weigh(b, "kernel", PQ_SHAPE(out, 3, 3, b->channels));
    (void)snprintf(name, sizeof name, "conv%d", i);
    put(b, name, NULL);
    b->channels = out;
    (void)snprintf(name, sizeof name, "bn%d", i);
    normalise(b, name, "0.001");
    (void)snprintf(name, sizeof name, "relu%d", i);
    plain(b, "relu", name);
}

static void garipov_pool(builder *b, const char *name)
{
    make(b, "max_pool");
    set(b, "kernel_h", "3");
    set(b, "kernel_w", "3");
    set(b, "stride_h", "2");
    set(b, "stride_w", "2");
    set(b, "padding", "same");
    put(b, name, NULL);
}

/* Six convolutions; the last two shrink the image (`valid`) or not. */
static void garipov_body(builder *b, const char *padding)
{
    input(b, "32,32,3");
    garipov_block(b, 1, 64, "same");
    garipov_block(b, 2, 64, "same");
    garipov_pool(b, "pool1");
    garipov_block(b, 3, 128, "same");
    garipov_block(b, 4, 128, "same");
    garipov_pool(b, "pool2");
    garipov_block(b, 5, 128, padding);
    garipov_block(b, 6, 128, padding);
}

static void dense_plain(builder *b, const char *name, size_t in, size_t out)
{
    make(b, "dense");
    weigh(b, "kernel", PQ_SHAPE(out, in));
    put(b, name, NULL);
    b->channels = out;
}

static pq_status garipov_conv(pq_graph *graph, pq_err *err)
{
    builder b = {.graph = graph, .err = err, .channels = 3};

    garipov_body(&b, "valid");
    plain(&b, "global_avg_pool", "mean");
    dense_plain(&b, "output", 128, 10);
    plain(&b, "softmax", "softmax");
    pq_layer_free(&b.layer);
    return b.st;
}

static pq_status garipov_conv_fc(pq_graph *graph, pq_err *err)
{
    builder b = {.graph = graph, .err = err, .channels = 3};

    garipov_body(&b, "same");
    plain(&b, "flatten", "flatten");
    dense_plain(&b, "fc1", 8192, 1536);
    normalise(&b, "bn7", "0.001");
    plain(&b, "relu", "relu7");
    dense_plain(&b, "fc2", 1536, 512);
    normalise(&b, "bn8", "0.001");
    plain(&b, "relu", "relu8");
    dense(&b, "output", 512, 10);
    plain(&b, "softmax", "softmax");
    pq_layer_free(&b.layer);
    return b.st;
}

const pq_zoo_net pq_zoo_nets[] = {
    {"jsc-mlp", "jet tagger 16-64-32-32-5, Duarte et al., arXiv:1804.06913",
     PQ_INIT_LECUN, jsc_mlp},
    {"btag-mlp", "b tagger 16-64-32-32-4 (light, c, b, tau) on jet quantities",
     PQ_INIT_LECUN, btag_mlp},
    {"dips",
     "b tagger on tracks (light, c, b, tau): deep sets 100-100-128, sum, 100-100, "
     "ATL-PHYS-PUB-2020-014",
     PQ_INIT_HE, dips},
    {"fashion-mlp", "784-512-256-10 for images of 28 x 28", PQ_INIT_HE, fashion_mlp},
    {"fashion-625", "784-625-10, the network of T3F's tutorial", PQ_INIT_HE, fashion_625},
    {"resnet8", "ResNet-8 of MLPerf Tiny for CIFAR-10, Banbury et al., arXiv:2106.07597",
     PQ_INIT_HE, resnet8},
    {"resnet20",
     "ResNet-20 for CIFAR-10 with shortcuts of option A, He et al., arXiv:1512.03385",
     PQ_INIT_HE, resnet20},
    {"resnet32", "ResNet-32, as resnet20", PQ_INIT_HE, resnet32},
    {"resnet44", "ResNet-44, as resnet20", PQ_INIT_HE, resnet44},
    {"resnet56", "ResNet-56, as resnet20", PQ_INIT_HE, resnet56},
    {"garipov-conv", "six convolutions for CIFAR-10, Garipov et al., arXiv:1611.03214",
     PQ_INIT_GLOROT, garipov_conv},
    {"garipov-conv-fc", "the same before 8192-1536-512-10", PQ_INIT_GLOROT,
     garipov_conv_fc},
    {0},
};

bool pq_zoo_has(const char *name)
{
    for (size_t n = 0; pq_zoo_nets[n].name != NULL; n++) {
        if (strcmp(name, pq_zoo_nets[n].name) == 0) {
            return true;
        }
    }
    return false;
}

static const pq_zoo_net *find(const char *name, pq_err *err)
{
    const char *names[16];
    const char *near;
    size_t      n = 0;

    for (; pq_zoo_nets[n].name != NULL; n++) {
        names[n] = pq_zoo_nets[n].name;
        if (strcmp(name, names[n]) == 0) {
            return &pq_zoo_nets[n];
        }
    }
    near = pq_nearest(name, names, n);
    (void)pq_err_set(err, PQ_ERR_NOT_FOUND, __FILE__, __LINE__,
                     "there is no network '%s' in the zoo%s%s%s", name,
                     near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                     near != NULL ? "'?" : "");
    return NULL;
}

/* seed: of first weights, or NULL for zeros. */
static pq_status build(const char *name, const uint64_t *seed, pq_graph **out,
                       pq_err *err)
{
    const pq_zoo_net *net   = find(name, err);
    pq_graph         *graph = NULL;
    pq_status         st;

    if (net == NULL) {
        return PQ_ERR_NOT_FOUND;
    }
    PQ_TRY(pq_graph_create(&graph, err));
    PQ_TRY(net->build(graph, err));
    if (seed != NULL) {
        pq_graph_init_weights(graph, net->init, *seed);
    }
    PQ_TRY(pq_graph_check(graph, err));
    *out  = graph;
    graph = NULL;
cleanup:
    pq_graph_free(&graph);
    return st;
}

pq_status pq_zoo_build_empty(const char *name, pq_graph **out, pq_err *err)
{
    return build(name, NULL, out, err);
}

pq_status pq_zoo_build(const char *name, uint64_t seed, pq_graph **out, pq_err *err)
{
    return build(name, &seed, out, err);
}
