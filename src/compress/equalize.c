/*
 * Cross-layer equalisation: for kernels W1 -> relu -> W2, channel i between them is
 * scaled so that both have the same range,
 *
 *     s_i = sqrt(r1_i r2_i) / r2_i,  W1[i] /= s_i,  b1[i] /= s_i,  W2[:, i] *= s_i,
 *
 * r the largest |w| of the channel. The function stays the same, since relu(x / s) =
 * relu(x) / s; quantizing per tensor afterwards loses less. A BatchNorm behind a kernel
 * is folded first. Not across sums, where a channel has more than one source, nor into
 * grouped convolutions that are not depthwise.
 *
 * pairs = factors: only between kernels with nothing between them, as low-rank methods
 * leave them, where the scale of every component is free.
 */
#include <math.h>
#include <string.h>

#include "compress/method.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "layers/kinds.h"

enum { MOST_ROUNDS = 50 };

/* Kinds f with f(x / s) = f(x) / s, channel by channel. */
static const char *const homogeneous[] = {
    "relu",      "leaky_relu",      "dropout",         "max_pool", "avg_pool",
    "subsample", "global_avg_pool", "global_max_pool", NULL};

enum { ALL, FACTORS };

typedef struct {
    int pairs;
} equalize_params;

static size_t groups_of(const pq_node *node)
{
    return pq_node_is(node, "conv2d")
               ? (size_t)((const pq_conv2d_params *)node->layer->params)->groups
               : 1;
}

/* Whether each output channel has one input channel, its own. */
static bool is_depthwise(const pq_node *node)
{
    return groups_of(node) > 1 &&
           pq_node_kernel(node)->value->shape.dim[0] == groups_of(node) &&
           pq_node_kernel(node)->value->shape.dim[3] == 1;
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    return (pq_node_is(node, "dense") || pq_node_is(node, "conv2d")) &&
           (groups_of(node) == 1 || is_depthwise(node));
}

/* Kernel that alone reads a kernel's output, or SIZE_MAX. */
static size_t partner(const pq_graph *graph, size_t node, int pairs)
{
    if (graph->nodes[node].quant != NULL) {
        return SIZE_MAX;
    }
    do {
        node = pq_sole_reader(graph, node);
    } while (node != SIZE_MAX && pairs == ALL &&
             pq_node_in(&graph->nodes[node], homogeneous) &&
             graph->nodes[node].quant == NULL);
    return node != SIZE_MAX && accepts(graph, &graph->nodes[node]) ? node : SIZE_MAX;
}

/* The weights that read one channel: a stride apart, from the first on. */
typedef struct {
    size_t first, stride, n;
} readers;

static readers readers_of(const pq_node *node, size_t channel, size_t channels)
{
    const size_t count = pq_node_kernel(node)->value->count;

    return is_depthwise(node)
               ? (readers){channel * (count / channels), 1, count / channels}
               : (readers){channel, channels, count / channels};
}

/* Scales the channels between two kernels; the largest |log s|. */
static double balance(const pq_node *first, const pq_node *second)
{
    pq_tensor   *w1       = pq_node_kernel(first)->value;
    pq_weight   *bias     = pq_layer_weight(first->layer, "bias");
    const size_t channels = w1->shape.dim[0], row = w1->count / channels;
    float       *a = pq_f32(w1), *b = pq_f32(pq_node_kernel(second)->value);
    double       most = 0.0;

    for (size_t c = 0; c < channels; c++) {
        const readers r  = readers_of(second, c, channels);
        double        r1 = 0.0, r2 = 0.0;
        for (size_t i = 0; i < row; i++) {
            r1 = fmax(r1, fabs((double)a[c * row + i]));
        }
        for (size_t i = 0; i < r.n; i++) {
            r2 = fmax(r2, fabs((double)b[r.first + i * r.stride]));
        }
        if (r1 == 0.0 || r2 == 0.0) {
            continue;
        }
        const double s = sqrt(r1 / r2);
        most           = fmax(most, fabs(log(s)));
        for (size_t i = 0; i < row; i++) {
            a[c * row + i] = (float)((double)a[c * row + i] / s);
        }
        if (bias != NULL) {
            pq_f32(bias->value)[c] = (float)((double)pq_f32(bias->value)[c] / s);
        }
        for (size_t i = 0; i < r.n; i++) {
            float *x = &b[r.first + i * r.stride];
            *x       = (float)((double)*x * s);
        }
    }
    return most;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const int pairs = ((const equalize_params *)task->params)->pairs;
    pq_graph *graph = task->graph;
    double    most  = HUGE_VAL;
    pq_status st    = PQ_OK;

    for (size_t k = 0; k < task->n_nodes; k++) {
        const size_t node = pq_graph_find(graph, task->nodes[k]);
        PQ_CHECK(pq_node_kernel(&graph->nodes[node])->quant == NULL, PQ_ERR_CONFIG,
                 "layer '%s' is quantized already; equalize belongs before quantize",
                 task->nodes[k]);
        PQ_TRY(pq_fold_batch_norm(graph, node, err));
    }
    PQ_TRY(pq_graph_check(graph, err));
    for (int round = 0; round < MOST_ROUNDS && most > 1e-4; round++) {
        most = 0.0;
        for (size_t k = 0; k < task->n_nodes; k++) {
            const size_t node  = pq_graph_find(graph, task->nodes[k]);
            const size_t next  = partner(graph, node, pairs);
            const double moved = next == SIZE_MAX
                                     ? 0.0
                                     : balance(&graph->nodes[node], &graph->nodes[next]);
            most               = fmax(most, moved);
            if (round == 0 && next != SIZE_MAX) {
                PQ_TRY(pq_task_change(task, task->nodes[k], 0.0,
                                      "equalised with '%s', first factor up to %.3g",
                                      graph->nodes[next].name, exp(moved)));
            }
        }
    }
cleanup:
    return st;
}

static const char *const pair_names[] = {"all", "factors", NULL};

static const pq_param params[] = {
    {.name     = "pairs",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(equalize_params, pairs),
     .fallback = "all",
     .choices  = pair_names,
     .help     = "kernels that follow each other, also behind relu and pooling (all), or "
                 "with nothing between them, as low-rank methods leave them (factors)"},
    {0},
};

const pq_method pq_method_equalize = {
    .name    = "equalize",
    .summary = "scales channels between two kernels to equal ranges; the function stays",
    .source  = "arXiv:1906.04721",
    .params  = params,
    .params_size = sizeof(equalize_params),
    .version     = "2",
    .accepts     = accepts,
    .apply       = apply,
};
