/* What the tests of training share: graphs, data sets, and gradients in double. */
#ifndef PQ_TEST_TRAIN_SUPPORT_H
#define PQ_TEST_TRAIN_SUPPORT_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/memory.h"
#include "core/rng.h"
#include "data/dataset.h"
#include "formats/zoo.h"
#include "graph/graph.h"
#include "io/hdf5.h"
#include "layers/kinds.h"
#include "train/train.h"

#define OK(call)                                                                         \
    do {                                                                                 \
        pq_err  oops = {0};                                                              \
        pq_err *err  = &oops;                                                            \
        (void)err;                                                                       \
        cr_assert((call) == PQ_OK, "%s: %s", #call, oops.message);                       \
    } while (0)

/* "kind key=value key=value" */
static inline pq_layer *layer_of(const char *text)
{
    char      copy[256], *save = NULL, *word;
    pq_layer *layer = NULL;

    (void)snprintf(copy, sizeof copy, "%s", text);
    word = strtok_r(copy, " ", &save);
    OK(pq_layer_create(word, &layer, err));
    while ((word = strtok_r(NULL, " ", &save)) != NULL) {
        char *equals = strchr(word, '=');
        *equals      = '\0';
        OK(pq_layer_set(layer, word, equals + 1, err));
    }
    return layer;
}

static inline void weigh(pq_layer *layer, const char *name, pq_shape shape)
{
    pq_tensor *t = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, shape, &t, err));
    OK(pq_layer_add_weight(layer, name, t, err));
}

/* Adds a layer behind the named nodes ("a" or "a,b"); NULL = the one before. */
static inline void add(pq_graph *g, const char *name, pq_layer *layer, const char *from)
{
    char        copy[128] = "", *save = NULL;
    const char *inputs[8];
    size_t      n = 0;

    if (from == NULL && g->n_nodes > 0) {
        from = g->nodes[g->n_nodes - 1].name;
    }
    (void)snprintf(copy, sizeof copy, "%s", from == NULL ? "" : from);
    for (char *w = strtok_r(copy, ",", &save); w != NULL;
         w       = strtok_r(NULL, ",", &save)) {
        inputs[n++] = w;
    }
    OK(pq_graph_add(g, name, layer, n, inputs, err));
}

static inline void add_dense(pq_graph *g, const char *name, size_t in, size_t out)
{
    pq_layer *l = layer_of("dense");

    weigh(l, "kernel", PQ_SHAPE(out, in));
    weigh(l, "bias", PQ_SHAPE(out));
    add(g, name, l, NULL);
}

static inline void add_conv(pq_graph *g, const char *name, const char *text,
                            pq_shape kernel)
{
    pq_layer *l = layer_of(text);

    weigh(l, "kernel", kernel);
    weigh(l, "bias", PQ_SHAPE(kernel.dim[0]));
    add(g, name, l, NULL);
}

static inline void add_norm(pq_graph *g, const char *name, size_t channels)
{
    pq_layer *l = layer_of("batch_norm");

    weigh(l, "gamma", PQ_SHAPE(channels));
    weigh(l, "beta", PQ_SHAPE(channels));
    weigh(l, "mean", PQ_SHAPE(channels));
    weigh(l, "variance", PQ_SHAPE(channels));
    add(g, name, l, NULL);
}

/* Checked, and every weight random; variances positive. */
static inline void finish(pq_graph *g, uint64_t seed)
{
    pq_rng rng = pq_rng_stream(seed, "test");

    pq_graph_init_weights(g, PQ_INIT_HE, seed);
    for (size_t i = 0; i < g->n_nodes; i++) {
        for (size_t w = 0; w < g->nodes[i].layer->n_weights; w++) {
            const pq_weight *weight = &g->nodes[i].layer->weights[w];
            if (strcmp(weight->name, "kernel") == 0) {
                continue;
            }
            for (size_t k = 0; k < weight->value->count; k++) {
                const double spread = 0.3 * pq_rng_normal(&rng);
                const bool   one    = strcmp(weight->name, "gamma") == 0 ||
                                 strcmp(weight->name, "variance") == 0;
                pq_f32(weight->value)[k] =
                    (float)(one ? 1.0 + 0.5 * tanh(spread) : spread);
            }
        }
    }
    OK(pq_graph_check(g, err));
}

/* Two dense layers, a relu between and a softmax behind; biases 0. */
static inline pq_graph *two_dense(size_t in, size_t middle, size_t classes, uint64_t seed)
{
    pq_graph *g = NULL;
    char      text[64];

    (void)snprintf(text, sizeof text, "input shape=%zu", in);
    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of(text), NULL);
    add_dense(g, "fc1", in, middle);
    add(g, "relu", layer_of("relu"), NULL);
    add_dense(g, "fc2", middle, classes);
    add(g, "softmax", layer_of("softmax"), NULL);
    pq_graph_init_weights(g, PQ_INIT_HE, seed);
    OK(pq_graph_check(g, err));
    return g;
}

static inline size_t items(const pq_shape *s)
{
    size_t n = 0;

    (void)pq_shape_count(s, &n);
    return n;
}

/* Events of classes a, b, … and, where their number is given, of features x0, x1, … */
static inline void save_events(const char *path, const pq_tensor *x, const pq_tensor *y,
                               size_t classes, size_t n_features)
{
    const char *const names[] = {"a", "b", "c", "d", "e"};
    char              text[32][8];
    const char       *features[32];
    pq_h5            *file = NULL;

    cr_assert(n_features <= 32);
    for (size_t i = 0; i < n_features; i++) {
        (void)snprintf(text[i], sizeof text[i], "x%zu", i);
        features[i] = text[i];
    }
    OK(pq_h5_create(path, &file, err));
    OK(pq_h5_set_text(file, "/", "format", "pquant-dataset", err));
    OK(pq_h5_set_texts(file, "/", "class_names", names, classes, err));
    if (n_features > 0) {
        OK(pq_h5_set_texts(file, "/", "feature_names", features, n_features, err));
    }
    OK(pq_h5_write(file, "train/x", x, 0, err));
    OK(pq_h5_write(file, "train/y", y, 0, err));
    OK(pq_h5_commit(&file, err));
}

/* Reads what save_events wrote. */
static inline void load_events(const char *path, pq_tensor **x, pq_tensor **y)
{
    pq_h5 *file = NULL;

    OK(pq_h5_open(path, &file, err));
    OK(pq_h5_read(file, "train/x", PQ_DTYPE_F32, 1 << 26, x, err));
    OK(pq_h5_read(file, "train/y", PQ_DTYPE_I32, 1 << 26, y, err));
    pq_h5_close(&file);
}

/* Blobs around one centre a class: learnable, not trivially so. */
static inline void write_dataset(const char *path, pq_shape sample, size_t classes,
                                 size_t n, uint64_t seed)
{
    pq_rng       centre = pq_rng_stream(7, "centre"), rng = pq_rng_stream(seed, "data");
    const size_t width = items(&sample);
    pq_shape     xs = sample, ys = PQ_SHAPE(n);
    pq_tensor   *x = NULL, *y = NULL;
    float       *mid;

    memmove(xs.dim + 1, xs.dim, sample.ndim * sizeof *xs.dim);
    xs.dim[0] = n;
    xs.ndim++;
    OK(pq_tensor_create(PQ_DTYPE_F32, xs, &x, err));
    OK(pq_tensor_create(PQ_DTYPE_I32, ys, &y, err));
    mid = pq_calloc(classes * width, sizeof *mid);
    for (size_t i = 0; i < classes * width; i++) {
        mid[i] = (float)pq_rng_normal(&centre);
    }
    for (size_t i = 0; i < n; i++) {
        const size_t c          = pq_rng_below(&rng, classes);
        ((int32_t *)y->data)[i] = (int32_t)c;
        for (size_t k = 0; k < width; k++) {
            pq_f32(x)[i * width + k] = mid[c * width + k] + (float)pq_rng_normal(&rng);
        }
    }
    save_events(path, x, y, classes, 0);
    pq_tensor_free(&x);
    pq_tensor_free(&y);
    pq_free(mid);
}

/* A path that is free, in the folder for temporary files. */
static inline const char *temporary(const char *name)
{
    static char path[256];

    (void)snprintf(path, sizeof path, "/tmp/pq_train_%ld_%s", (long)getpid(), name);
    return path;
}

/* The events of write_dataset, opened; their file is gone. */
static inline pq_dataset *blobs(pq_shape sample, size_t classes, size_t n)
{
    pq_dataset *d = NULL;

    write_dataset(temporary("blobs.h5"), sample, classes, n, 1);
    OK(pq_dataset_open(temporary("blobs.h5"), NULL, &d, err));
    (void)unlink(temporary("blobs.h5"));
    return d;
}

/* Forward and backward of a whole graph in double by the kinds' own code; BatchNorm with
   the statistics of the batch is written out here. */
typedef struct {
    double **value, **gradient;         /* [nodes] */
    double  *weight[512], *change[512]; /* by node * 8 + index */
} oracle;

static inline double norm_weight(const pq_layer *layer, const char *name, size_t c,
                                 double absent)
{
    const pq_weight *w = pq_layer_weight(layer, name);

    return w != NULL ? (double)pq_f32(w->value)[c] : absent;
}

static inline void norm_forward(const pq_layer *layer, size_t rows, size_t channels,
                                const double *x, double *y)
{
    const double eps = ((const pq_batch_norm_params *)layer->params)->epsilon;

    for (size_t c = 0; c < channels; c++) {
        double mean = 0.0, var = 0.0;
        for (size_t r = 0; r < rows; r++) {
            mean += x[r * channels + c] / (double)rows;
        }
        for (size_t r = 0; r < rows; r++) {
            const double d = x[r * channels + c] - mean;
            var += d * d / (double)rows;
        }
        for (size_t r = 0; r < rows; r++) {
            y[r * channels + c] = norm_weight(layer, "gamma", c, 1.0) *
                                      (x[r * channels + c] - mean) / sqrt(var + eps) +
                                  norm_weight(layer, "beta", c, 0.0);
        }
    }
}

static inline void norm_backward(const pq_layer *layer, size_t rows, size_t channels,
                                 const double *x, const double *dy, double *dx,
                                 double *dgamma, double *dbeta)
{
    const double eps = ((const pq_batch_norm_params *)layer->params)->epsilon;

    for (size_t c = 0; c < channels; c++) {
        double mean = 0.0, var = 0.0, s1 = 0.0, s2 = 0.0;
        for (size_t r = 0; r < rows; r++) {
            mean += x[r * channels + c] / (double)rows;
        }
        for (size_t r = 0; r < rows; r++) {
            const double d = x[r * channels + c] - mean;
            var += d * d / (double)rows;
        }
        const double inv = 1.0 / sqrt(var + eps);
        for (size_t r = 0; r < rows; r++) {
            s1 += dy[r * channels + c];
            s2 += dy[r * channels + c] * (x[r * channels + c] - mean) * inv;
        }
        if (dgamma != NULL) {
            dgamma[c] += s2;
        }
        if (dbeta != NULL) {
            dbeta[c] += s1;
        }
        for (size_t r = 0; r < rows; r++) {
            const double z = (x[r * channels + c] - mean) * inv;
            dx[r * channels + c] +=
                norm_weight(layer, "gamma", c, 1.0) * inv *
                (dy[r * channels + c] - s1 / (double)rows - z * s2 / (double)rows);
        }
    }
}

/* Where the gradient of a weight is summed, or NULL where there is no such weight. */
static inline double *change_of(const oracle *o, size_t node, const pq_layer *layer,
                                const char *weight)
{
    const size_t index = pq_layer_weight_index(layer, weight);

    return index == SIZE_MAX ? NULL : o->change[8 * node + index];
}

static inline pq_layer_call call_of(const pq_graph *g, size_t i, size_t n, oracle *o,
                                    const double **in, double **grad_in, pq_shape *shapes)
{
    const pq_node *node = &g->nodes[i];

    for (size_t k = 0; k < node->n_inputs; k++) {
        in[k]      = o->value[node->inputs[k]];
        grad_in[k] = o->gradient[node->inputs[k]];
        shapes[k]  = g->nodes[node->inputs[k]].shape;
    }
    return (pq_layer_call){.layer       = node->layer,
                           .batch       = n,
                           .n_in        = node->n_inputs,
                           .in_shape    = shapes,
                           .in          = in,
                           .out_shape   = node->shape,
                           .out         = o->value[i],
                           .weight      = (const double *const *)&o->weight[8 * i],
                           .grad_out    = o->gradient[i],
                           .grad_in     = grad_in,
                           .grad_weight = &o->change[8 * i]};
}

static inline double *copy_double(const float *x, size_t n)
{
    double *y = pq_calloc(n, sizeof *y);

    for (size_t i = 0; x != NULL && i < n; i++) {
        y[i] = (double)x[i];
    }
    return y;
}

/* `pull` is the gradient at node `last`; x the input. */
static inline void oracle_run(const pq_graph *g, size_t n, const float *x, size_t last,
                              const float *pull, oracle *o)
{
    const double *in[8];
    double       *grad_in[8];
    pq_shape      shapes[8];

    cr_assert(g->n_nodes * 8 <= 512);
    o->value    = pq_calloc(g->n_nodes, sizeof *o->value);
    o->gradient = pq_calloc(g->n_nodes, sizeof *o->gradient);
    for (size_t i = 0; i <= last; i++) {
        const pq_node *node = &g->nodes[i];
        const size_t   all  = n * items(&node->shape);
        o->value[i]         = copy_double(i == 0 ? x : NULL, all);
        o->gradient[i]      = copy_double(i == last ? pull : NULL, all);
        for (size_t w = 0; w < node->layer->n_weights; w++) {
            const pq_tensor *t   = node->layer->weights[w].value;
            o->weight[8 * i + w] = copy_double(pq_f32(t), t->count);
            o->change[8 * i + w] = copy_double(NULL, t->count);
        }
        pq_layer_call c = call_of(g, i, n, o, in, grad_in, shapes);
        if (strcmp(node->layer->kind->name, "batch_norm") == 0) {
            const size_t ch = node->layer->weights[0].value->count;
            norm_forward(node->layer, all / ch, ch, in[0], c.out);
        } else if (i > 0) {
            node->layer->kind->forward(&c);
        }
    }
    for (size_t i = last; i > 0; i--) {
        const pq_node *node = &g->nodes[i];
        pq_layer_call  c    = call_of(g, i, n, o, in, grad_in, shapes);
        if (strcmp(node->layer->kind->name, "batch_norm") == 0) {
            const size_t ch = node->layer->weights[0].value->count;
            norm_backward(node->layer, n * items(&node->shape) / ch, ch, in[0],
                          c.grad_out, grad_in[0], change_of(o, i, node->layer, "gamma"),
                          change_of(o, i, node->layer, "beta"));
        } else {
            node->layer->kind->backward(&c);
        }
    }
}

static inline void oracle_free(const pq_graph *g, oracle *o)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        pq_free(o->value[i]);
        pq_free(o->gradient[i]);
    }
    for (size_t i = 0; i < 512; i++) {
        pq_free(o->weight[i]);
        pq_free(o->change[i]);
    }
    pq_free(o->value);
    pq_free(o->gradient);
}

#endif
