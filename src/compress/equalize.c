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
 * absorb_bias: what the BatchNorm behind W1 says is nearly always exceeded, c = max(0,
 * beta
 * - 3 |gamma|), moves on: b1 -= c, b2 += W2 c, so that what is between covers a smaller
 * range. The function stays but where a channel is below c. Only where a relu is between,
 * and W2 does not see padding, which has no c.
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

enum { ALL, FACTORS };

typedef struct {
    int  pairs;
    bool absorb_bias;
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
             pq_layer_is(graph->nodes[node].layer, PQ_TRAIT_HOMOGENEOUS) &&
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

/* Scales the channels between two kernels, and what of them can be absorbed, if anything;
   the largest |log s|. */
static double balance(const pq_node *first, const pq_node *second, double *floor)
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
        if (floor != NULL) {
            floor[c] /= s;
        }
    }
    return most;
}

/* What each output of the kernel is above nearly always, by the BatchNorm behind it; NULL
   without one. */
static pq_status floors_of(const pq_graph *graph, size_t node, double **out, pq_err *err)
{
    const size_t     norm = pq_foldable_batch_norm(graph, node);
    const pq_weight *beta, *gamma;
    pq_status        st = PQ_OK;

    if (norm == SIZE_MAX) {
        return PQ_OK;
    }
    const size_t n = pq_node_kernel(&graph->nodes[node])->value->shape.dim[0];
    beta           = pq_layer_weight(graph->nodes[norm].layer, "beta");
    gamma          = pq_layer_weight(graph->nodes[norm].layer, "gamma");
    PQ_NEW(*out, n);
    for (size_t c = 0; beta != NULL && c < n; c++) {
        const double spread = gamma != NULL ? fabs((double)pq_f32(gamma->value)[c]) : 1.0;
        (*out)[c]           = fmax(0.0, (double)pq_f32(beta->value)[c] - 3.0 * spread);
    }
cleanup:
    return st;
}

static bool sees_padding(const pq_graph *graph, const pq_node *node)
{
    size_t    row, column;
    pq_window w;

    return pq_node_is(node, "conv2d") &&
           (pq_conv2d_window(node->layer, &graph->nodes[node->inputs[0]].shape, &w,
                             NULL) != PQ_OK ||
            !pq_window_row(&w, 0, 0, &row) || !pq_window_column(&w, 0, 0, &column) ||
            !pq_window_row(&w, w.out_h - 1, w.kernel_h - 1, &row) ||
            !pq_window_column(&w, w.out_w - 1, w.kernel_w - 1, &column));
}

/* Why nothing can be absorbed between two kernels, or NULL. */
static const char *obstacle(const pq_graph *graph, size_t node, size_t next,
                            const double *floor)
{
    bool relu = false;

    if (floor == NULL) {
        return "no BatchNorm";
    }
    for (size_t i = pq_sole_reader(graph, node); i != next;
         i        = pq_sole_reader(graph, i)) {
        const pq_node *n = &graph->nodes[i];
        if (!pq_layer_is(n->layer, PQ_TRAIT_SHIFTS)) {
            return n->layer->kind->name;
        }
        relu = relu || pq_node_is(n, "relu");
    }
    return !relu                                      ? "no relu"
           : sees_padding(graph, &graph->nodes[next]) ? "padding"
                                                      : NULL;
}

/* Moves `floor` from the outputs of one kernel into the bias of the next; of how many
   channels. */
static pq_status absorb(const pq_node *first, const pq_node *second, const double *floor,
                        size_t *moved, pq_err *err)
{
    const size_t channels = pq_node_kernel(first)->value->shape.dim[0];
    const size_t outputs  = pq_node_kernel(second)->value->shape.dim[0];
    pq_status    st;

    *moved = 0;
    PQ_TRY(pq_add_bias(second->layer, outputs, err));
    const float *w   = pq_f32(pq_node_kernel(second)->value);
    const size_t row = pq_node_kernel(second)->value->count / outputs;
    float       *b1  = pq_f32(pq_layer_weight(first->layer, "bias")->value);
    float       *b2  = pq_f32(pq_layer_weight(second->layer, "bias")->value);
    for (size_t c = 0; c < channels; c++) {
        const readers r = readers_of(second, c, channels);
        *moved += floor[c] > 0.0 ? 1 : 0;
        b1[c] = (float)((double)b1[c] - floor[c]);
        for (size_t i = 0; i < r.n && floor[c] > 0.0; i++) {
            const size_t at = r.first + i * r.stride;
            b2[at / row]    = (float)((double)b2[at / row] + (double)w[at] * floor[c]);
        }
    }
cleanup:
    return st;
}

/* What of each pair's biases can go, once all channels have their scales. */
static pq_status absorb_all(pq_compress_task *task, double *const *floors, pq_err *err)
{
    pq_graph *graph = task->graph;
    size_t    moved;
    pq_status st = PQ_OK;

    for (size_t k = 0, change = 0; k < task->n_nodes; k++) {
        const size_t node = pq_graph_find(graph, task->nodes[k]);
        const size_t next = partner(graph, node, ALL);
        if (next == SIZE_MAX) {
            continue;
        }
        const char *why = obstacle(graph, node, next, floors[k]);
        if (why != NULL) {
            pq_change_add(&task->changes[change++], "; nothing absorbed: %s", why);
            continue;
        }
        PQ_TRY(absorb(&graph->nodes[node], &graph->nodes[next], floors[k], &moved, err));
        pq_change_add(&task->changes[change++], "; biases of %zu channels absorbed",
                      moved);
    }
cleanup:
    return st;
}

/* Folds the BatchNorms, whose floors are kept. */
static pq_status fold(pq_compress_task *task, double **floors, pq_err *err)
{
    pq_graph *graph = task->graph;
    pq_status st    = PQ_OK;

    for (size_t k = 0; k < task->n_nodes; k++) {
        const size_t node = pq_graph_find(graph, task->nodes[k]);
        PQ_CHECK(pq_node_kernel(&graph->nodes[node])->quant == NULL, PQ_ERR_CONFIG,
                 "layer '%s' is quantized already; equalize belongs before quantize",
                 task->nodes[k]);
        PQ_TRY(floors_of(graph, node, &floors[k], err));
        PQ_TRY(pq_fold_batch_norm(graph, node, err));
    }
    PQ_TRY(pq_graph_check(graph, err));
cleanup:
    return st;
}

/* One change a pair, in the order of the nodes. */
static pq_status equalise(pq_compress_task *task, double *const *floors)
{
    const int pairs = ((const equalize_params *)task->params)->pairs;
    pq_graph *graph = task->graph;
    double    most  = HUGE_VAL;
    pq_status st    = PQ_OK;

    for (int round = 0; round < MOST_ROUNDS && most > 1e-4; round++) {
        most = 0.0;
        for (size_t k = 0; k < task->n_nodes; k++) {
            const size_t node = pq_graph_find(graph, task->nodes[k]);
            const size_t next = partner(graph, node, pairs);
            if (next == SIZE_MAX) {
                continue;
            }
            const double moved =
                balance(&graph->nodes[node], &graph->nodes[next], floors[k]);
            most = fmax(most, moved);
            if (round == 0) {
                PQ_TRY(pq_task_change(task, task->nodes[k], 0.0,
                                      "equalised with '%s', first factor up to %.3g",
                                      graph->nodes[next].name, exp(moved)));
            }
        }
    }
cleanup:
    return st;
}

/* Layers that begin no pair. */
static pq_status note_left(pq_compress_task *task)
{
    const int pairs = ((const equalize_params *)task->params)->pairs;
    pq_status st    = PQ_OK;

    for (size_t k = 0; k < task->n_nodes && st == PQ_OK; k++) {
        const size_t node = pq_graph_find(task->graph, task->nodes[k]);
        if (partner(task->graph, node, pairs) == SIZE_MAX) {
            st = pq_task_change(
                task, task->nodes[k], (double)NAN,
                "its outputs keep their scale: no kernel alone reads them");
        }
    }
    return st;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    double  **floors = NULL;
    pq_status st;

    PQ_NEW(floors, task->n_nodes);
    PQ_TRY(fold(task, floors, err));
    PQ_TRY(equalise(task, floors));
    if (((const equalize_params *)task->params)->absorb_bias) {
        PQ_TRY(absorb_all(task, floors, err));
    }
    PQ_TRY(note_left(task));
cleanup:
    for (size_t k = 0; floors != NULL && k < task->n_nodes; k++) {
        pq_free(floors[k]);
    }
    pq_free(floors);
    return st;
}

static pq_status check(const void *values, pq_err *err)
{
    const equalize_params *p  = values;
    pq_status              st = PQ_OK;

    PQ_CHECK(!p->absorb_bias || p->pairs == ALL, PQ_ERR_CONFIG,
             "absorb_bias = true has no effect with pairs = factors: no relu is between "
             "factors");
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
    {.name     = "absorb_bias",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(equalize_params, absorb_bias),
     .fallback = "false",
     .help =
         "what a BatchNorm says its outputs exceed nearly always, beta - 3 |gamma|, goes "
         "behind the relu into the next bias, so that activations cover less"},
    {0},
};

const pq_method pq_method_equalize = {
    .name    = "equalize",
    .summary = "scales channels between two kernels to equal ranges; the function stays",
    .source  = "arXiv:1906.04721",
    .params  = params,
    .params_size = sizeof(equalize_params),
    .version     = "2",
    .keeps       = PQ_KEEPS_ZEROS | PQ_KEEPS_REFUSES,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
