/*
 * pquant's side of the comparison, as a shared library that compare.py loads:
 * the two networks built from flat weights, run by the `blas` engine.
 */
#include <stdio.h>

#include "core/clock.h"
#include "exec/cpu.h"
#include "exec/crew.h"

#define EXPORT __attribute__((visibility("default")))

/* Weights come one after another in the order the layers are added. */
typedef struct {
    pq_graph    *graph;
    const float *next;
    pq_err       err;
    bool         failed;
} builder;

static pq_layer *layer_of(builder *b, const char *kind)
{
    pq_layer *layer = NULL;

    b->failed = b->failed || pq_layer_create(kind, &layer, &b->err) != PQ_OK;
    return layer;
}

static void set(builder *b, pq_layer *layer, const char *name, const char *value)
{
    b->failed = b->failed || pq_layer_set(layer, name, value, &b->err) != PQ_OK;
}

static void weight(builder *b, pq_layer *layer, const char *name, pq_shape shape)
{
    pq_tensor *t = NULL;

    if (b->failed || pq_tensor_create(PQ_DTYPE_F32, shape, &t, &b->err) != PQ_OK) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = *b->next++;
    }
    b->failed = pq_layer_add_weight(layer, name, t, &b->err) != PQ_OK;
}

static void add(builder *b, const char *name, pq_layer *layer, const char *from,
                const char *other)
{
    const char *inputs[2] = {from, other};
    size_t      n         = from == NULL ? 0 : other == NULL ? 1 : 2;

    b->failed =
        b->failed || pq_graph_add(b->graph, name, layer, n, inputs, &b->err) != PQ_OK;
}

static void input(builder *b, const char *shape)
{
    pq_layer *layer = layer_of(b, "input");

    set(b, layer, "shape", shape);
    add(b, "x", layer, NULL, NULL);
}

static void plain(builder *b, const char *name, const char *kind, const char *from)
{
    add(b, name, layer_of(b, kind), from, NULL);
}

static void dense(builder *b, const char *name, size_t in, size_t out, const char *from)
{
    pq_layer *layer = layer_of(b, "dense");

    weight(b, layer, "kernel", PQ_SHAPE(out, in));
    weight(b, layer, "bias", PQ_SHAPE(out));
    add(b, name, layer, from, NULL);
}

/* Convolution, and BatchNorm where `norm` names it. */
static void conv(builder *b, const char *name, const char *norm, const size_t *sizes,
                 const char *from)
{
    pq_layer   *layer  = layer_of(b, "conv2d");
    const char *stride = sizes[3] == 2 ? "2" : "1";

    set(b, layer, "padding", "same");
    set(b, layer, "stride_h", stride);
    set(b, layer, "stride_w", stride);
    weight(b, layer, "kernel", PQ_SHAPE(sizes[1], sizes[2], sizes[2], sizes[0]));
    weight(b, layer, "bias", PQ_SHAPE(sizes[1]));
    add(b, name, layer, from, NULL);
    if (norm != NULL) {
        static const char *const names[] = {"gamma", "beta", "mean", "variance"};
        layer                            = layer_of(b, "batch_norm");
        for (size_t i = 0; i < 4; i++) {
            weight(b, layer, names[i], PQ_SHAPE(sizes[1]));
        }
        add(b, norm, layer, name, NULL);
    }
}

static void mlp(builder *b)
{
    input(b, "[16]");
    dense(b, "fc1", 16, 64, "x");
    plain(b, "relu1", "relu", "fc1");
    dense(b, "fc2", 64, 32, "relu1");
    plain(b, "relu2", "relu", "fc2");
    dense(b, "fc3", 32, 32, "relu2");
    plain(b, "relu3", "relu", "fc3");
    dense(b, "fc4", 32, 5, "relu3");
    plain(b, "y", "softmax", "fc4");
}

/* One residual stack of the network below; the shortcut is a 1x1 convolution where sizes
 * change. */
static void stack(builder *b, size_t number, size_t in, size_t out, const char *from,
                  char *last)
{
    const size_t stride = in == out ? 1 : 2;
    char         name[6][16];

    for (size_t i = 0; i < 6; i++) {
        static const char *const what[] = {"a", "an", "ar", "b", "bn", "s"};
        (void)snprintf(name[i], sizeof name[i], "%s%zu", what[i], number);
    }
    conv(b, name[0], name[1], (size_t[]){in, out, 3, stride}, from);
    plain(b, name[2], "relu", name[1]);
    conv(b, name[3], name[4], (size_t[]){out, out, 3, 1}, name[2]);
    if (in != out) {
        conv(b, name[5], NULL, (size_t[]){in, out, 1, stride}, from);
    }
    (void)snprintf(last, 16, "sum%zu", number);
    add(b, last, layer_of(b, "add"), in != out ? name[5] : from, name[4]);
    (void)snprintf(name[0], sizeof name[0], "%s", last);
    (void)snprintf(last, 16, "out%zu", number);
    plain(b, last, "relu", name[0]);
}

/* MLPerf Tiny's network for CIFAR-10 (Banbury et al., arXiv:2106.07597). */
static void resnet8(builder *b)
{
    char last[3][16];

    input(b, "[32, 32, 3]");
    conv(b, "stem", "stem_norm", (size_t[]){3, 16, 3, 1}, "x");
    plain(b, "stem_relu", "relu", "stem_norm");
    stack(b, 1, 16, 16, "stem_relu", last[0]);
    stack(b, 2, 16, 32, last[0], last[1]);
    stack(b, 3, 32, 64, last[1], last[2]);
    plain(b, "pool", "global_avg_pool", last[2]);
    dense(b, "fc", 64, 10, "pool");
    plain(b, "y", "softmax", "fc");
}

EXPORT void bench_close(void *handle)
{
    pq_crew *crew = handle;

    pq_crew_free(&crew);
}

/* Handle of "mlp" (0) or "resnet8" (1) for up to `batch` samples on `threads` threads, or
   NULL with the reason on stderr. */
EXPORT void *bench_open(int model, const float *weights, size_t batch, size_t threads)
{
    const pq_plan_options options = {"blas", batch};
    builder               b       = {.next = weights};
    pq_crew              *crew    = NULL;

    b.failed = pq_graph_create(&b.graph, &b.err) != PQ_OK;
    (model == 0 ? mlp : resnet8)(&b);
    b.failed =
        b.failed || pq_crew_create(b.graph, &options, threads, &crew, &b.err) != PQ_OK;
    pq_graph_free(&b.graph);
    if (b.failed) {
        (void)fprintf(stderr, "ours: %s\n", b.err.message);
    }
    return crew;
}

EXPORT int bench_run(void *handle, const float *x, size_t n, float *y)
{
    return (int)pq_crew_run(handle, n, &x, y, NULL);
}

/* Seconds of `calls` runs, without the cost of calling from another language. */
EXPORT double bench_seconds(void *handle, const float *x, size_t n, float *y,
                            size_t calls)
{
    const double start = pq_clock_wall_s();

    for (size_t i = 0; i < calls; i++) {
        (void)bench_run(handle, x, n, y);
    }
    return pq_clock_wall_s() - start;
}

/* "avx512": what the numbers were made with. */
EXPORT const char *bench_about(void)
{
    return pq_isa_name(pq_cpu_isa());
}
