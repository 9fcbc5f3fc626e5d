/*
 * Post-training quantization.
 *
 * int: kernels are symmetric, one scale an output channel, a tensor, or a group of
 * inputs. Activations are affine, one scale and zero point a tensor, with a range from
 * calibration. fixed: scales are powers of two, zero points 0.
 *
 *   - A BatchNorm that alone reads a kernel is folded into it first.
 *   - What a selected kernel reads is quantized, the model's input too.
 *   - What it gives is quantized after the relu or clip that alone reads it.
 *   - add, multiply, concat, average and masked pooling and activation functions whose
 *     inputs are all quantized give quantized outputs, again after their relu.
 *   - max pooling, flatten, reshape, pad, slice, subsample and dropout hand codes on.
 *   - What the model ends in (logits, softmax) stays float.
 *
 * So an integer engine finds a grid on both sides of each kernel. Biases stay
 * float32; that engine holds them as int32 at scale s_x s_w.
 *
 * Several stages, each for its own layers, compose: a stage keeps the grid that an
 * earlier one gave to what its kernels read, and sets that of what they give.
 *
 * nf4: kernels only. float16, bfloat16: kernels and biases. Activations stay.
 */
#include <math.h>
#include <string.h>

#include "compress/clip.h"
#include "compress/method.h"
#include "compress/quantize_weights.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "layers/kinds.h"

static const char *const formats[] = {"int", "fixed", "nf4", "float16", "bfloat16", NULL};
static const char *const granularities[] = {"per_channel", "per_tensor", "per_group",
                                            "per_weight", NULL};
static const char *const rules[]         = {"minmax",         "percentile", "mse",
                                            "moving_average", "entropy",    NULL};
static const char *const ranges[]        = {"restricted", "full", NULL};
static const char *const weight_ranges[] = {"minmax", "mse", NULL};
static const char *const choices[]       = {"nearest", "adaptive", NULL};

#define WHOLE(field, default_text, least, most, text)                                    \
    {                                                                                    \
        .name = #field, .type = PQ_PARAM_INT,                                            \
        .offset = offsetof(pq_quantize_params, field), .fallback = default_text,         \
        .min = least, .max = most, .help = text                                          \
    }
#define CHOICE(key, field, default_text, list, text)                                     \
    {                                                                                    \
        .name = #key, .type = PQ_PARAM_CHOICE,                                           \
        .offset = offsetof(pq_quantize_params, field), .fallback = default_text,         \
        .choices = list, .help = text                                                    \
    }

static const pq_param params[] = {
    WHOLE(bits, "8", 2, 16,
          "width of weights in int and fixed; nf4 has 4, floats have 16"),
    {.name   = "average_bits",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(pq_quantize_params, average_bits),
     .min    = 2,
     .max    = 16,
     .help =
         "int, fixed: mean width of all selected weights, shared out among the layers "
         "from `bits` down by what each loses; none = `bits` everywhere"},
    CHOICE(format, format, "int", formats,
           "int, fixed (powers of two as scales), or weights only in nf4, float16 or "
           "bfloat16"),
    CHOICE(granularity, granularity, "per_channel", granularities,
           "scales of a kernel: one an output channel, one, one a group of inputs (int, "
           "nf4), or a width a weight (fixed)"),
    WHOLE(group, "64", 1, 65536, "for per_group: weights that share a scale"),
    CHOICE(range, range, "restricted", ranges,
           "int weights: without the lowest code (-127..127), or with it"),
    CHOICE(weight_range, weight_range, "minmax", weight_ranges,
           "int weights: scale from the largest |w|, or of the least square error"),
    {.name     = "fold",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(pq_quantize_params, fold),
     .fallback = "true",
     .help     = "int, fixed: fold BatchNorm into kernels first; false: keep it for "
                 "training, whose key fold_norm_after folds it (int, per_channel)"},
    CHOICE(
        choice, choice, "nearest", choices,
        "side a weight is rounded to: the nearest, or the one that changes the layer's "
        "output on calibration events least (needs calibration events)"),
    {.name     = "bias_correction",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(pq_quantize_params, bias_correction),
     .fallback = "false",
     .help     = "take the mean shift of each output off the bias (needs calibration "
                 "events)"},
    WHOLE(
        integer_bits, NULL, -24, 23,
        "fixed: integer bits of weights, sign not counted; none = what the range needs"),
    CHOICE(overflow, overflow, "SAT", pq_overflow_names,
           "fixed: what a value beyond the range becomes"),
    CHOICE(rounding, rounding, "RND_CONV", pq_rounding_names,
           "fixed: how values are rounded"),
    {.name     = "activations",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(pq_quantize_params, activations),
     .fallback = "true",
     .help     = "int, fixed: quantize activations too (needs calibration events)"},
    WHOLE(activation_bits, NULL, 2, 16, "width of activations; none = as `bits`"),
    CHOICE(calibration, calibration, "minmax", rules,
           "range of activations: all that was seen, a percentile of |x|, least square "
           "error, a moving average of events' extremes, or least relative entropy"),
    {.name     = "percentile",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(pq_quantize_params, percentile),
     .fallback = "99.99",
     .min      = 50,
     .max      = 100,
     .help     = "for calibration = percentile, in percent"},
    {0},
};

static bool wants_activations(const pq_quantize_params *p)
{
    return pq_quantize_has_codes(p) && p->activations;
}

static bool wants_grams(const pq_quantize_params *p)
{
    return p->choice == 1 || p->bias_correction;
}

static unsigned needs(const void *values)
{
    return (wants_activations(values) ? PQ_NEEDS_RANGES : 0) |
           (wants_grams(values) ? PQ_NEEDS_GRAMS : 0);
}

static pq_status check(const void *values, pq_err *err)
{
    const pq_quantize_params *p  = values;
    pq_status                 st = PQ_OK;

    PQ_CHECK(p->granularity != PQ_PER_GROUP || p->format == PQ_FORMAT_INT ||
                 p->format == PQ_FORMAT_NF4,
             PQ_ERR_CONFIG, "granularity = per_group is for format = int or nf4, not %s",
             formats[p->format]);
    PQ_CHECK(p->granularity != PQ_PER_WEIGHT || p->format == PQ_FORMAT_FIXED,
             PQ_ERR_CONFIG, "granularity = per_weight is for format = fixed, not %s",
             formats[p->format]);
    PQ_CHECK(p->fold || (p->format == PQ_FORMAT_INT && p->granularity == PQ_PER_CHANNEL &&
                         !wants_grams(p)),
             PQ_ERR_CONFIG,
             "fold = false is for format = int, granularity = per_channel, choice = "
             "nearest and no bias_correction: only such grids can be folded later");
    PQ_CHECK(isnan(p->average_bits) || pq_quantize_has_codes(p), PQ_ERR_CONFIG,
             "average_bits is for format = int or fixed, not %s", formats[p->format]);
    PQ_CHECK(isnan(p->average_bits) || p->average_bits <= (double)p->bits, PQ_ERR_RANGE,
             "average_bits = %g is above bits = %d", p->average_bits, (int)p->bits);
    PQ_CHECK(p->integer_bits == PQ_UNSET || p->format == PQ_FORMAT_FIXED, PQ_ERR_CONFIG,
             "integer_bits is for format = fixed, not %s", formats[p->format]);
    PQ_CHECK(p->integer_bits == PQ_UNSET ||
                 (p->bits - 1 - p->integer_bits <= 24 && p->integer_bits <= p->bits - 1),
             PQ_ERR_RANGE,
             "integer_bits = %d of %d bits leave %d fraction bits, not in 0..24",
             (int)p->integer_bits, (int)p->bits, (int)(p->bits - 1 - p->integer_bits));
cleanup:
    return st;
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    return pq_node_kernel(node) != NULL;
}

static pq_status quantize_weights(pq_compress_task *task, const char *name, int64_t bits,
                                  pq_err *err)
{
    pq_quantize_params        own = *(const pq_quantize_params *)task->params;
    const pq_quantize_params *p   = &own;
    const pq_node       *node     = &task->graph->nodes[pq_graph_find(task->graph, name)];
    const pq_calib_gram *gram =
        wants_grams(p) ? pq_calib_gram_of(task->calib, name) : NULL;
    pq_tensor *before  = NULL;
    double     sums[2] = {0.0, 0.0};
    pq_status  st;

    own.bits = bits;
    PQ_TRY(pq_tensor_clone(pq_node_kernel(node)->value, &before, err));
    for (size_t i = 0; i < node->layer->n_weights; i++) {
        pq_weight           *w    = &node->layer->weights[i];
        const pq_weight_role role = node->layer->kind->role(w->name);
        if (role == PQ_WEIGHT_KERNEL ||
            (role == PQ_WEIGHT_BIAS && p->format >= PQ_FORMAT_F16)) {
            PQ_TRY(pq_quantize_weight(p, w, p->choice == 1 ? gram : NULL, sums, err));
        }
    }
    if (p->bias_correction && gram != NULL) {
        PQ_TRY(pq_quantize_correct_bias(node->layer, before, gram, err));
    }
    const double error = sums[0] > 0.0 ? sqrt(sums[1] / sums[0]) : 0.0;
    const char  *note =
        wants_grams(p) && gram == NULL ? "; grouped: nearest, bias as it was" : "";

    if (pq_quantize_has_codes(p)) {
        PQ_TRY(pq_task_change(task, name, error, "%s%d weights, %s%s", formats[p->format],
                              (int)p->bits, granularities[p->granularity], note));
    } else {
        PQ_TRY(
            pq_task_change(task, name, error, "%s weights%s", formats[p->format], note));
    }
cleanup:
    pq_tensor_free(&before);
    return st;
}

/* --- activations --- */

static const char *const fused[]   = {"relu", "clip", NULL};
static const char *const handed[]  = {"max_pool", "global_max_pool", "flatten",
                                      "reshape",  "subsample",       "slice",
                                      "pad",      "dropout",         NULL};
static const char *const integer[] = {
    "add",         "multiply", "concat", "avg_pool",   "global_avg_pool",
    "masked_pool", "relu",     "clip",   "leaky_relu", "elu",
    "gelu",        "sigmoid",  "tanh",   "scale",      NULL};
static const char *const last[] = {"softmax", "sigmoid", "tanh",       "relu",  "clip",
                                   "elu",     "gelu",    "leaky_relu", "scale", "flatten",
                                   "reshape", "dropout", NULL};

/* Nodes by index: which carry a quantizer, and which end the model and stay float. */
typedef struct {
    pq_graph *graph;
    bool     *marked, *ending;
    bool     *own; /* what selected kernels give: replaces an earlier stage's grid */
} plan;

/* Whose grid the values of a node lie on: the node that is not just handing codes on. */
static size_t source(const pq_graph *graph, size_t node)
{
    while (pq_node_in(&graph->nodes[node], handed)) {
        node = graph->nodes[node].inputs[0];
    }
    return node;
}

/* Where the output of a node is quantized: behind a BatchNorm that is to be folded later,
   and behind the relu or clip that alone reads it. */
static size_t sink(const pq_graph *graph, size_t node)
{
    const size_t norm   = pq_foldable_batch_norm(graph, node);
    size_t       reader = SIZE_MAX;

    node   = norm != SIZE_MAX ? norm : node;
    reader = pq_sole_reader(graph, node);

    return reader != SIZE_MAX && pq_node_in(&graph->nodes[reader], fused) ? reader : node;
}

static void mark_output(plan *p, size_t node)
{
    const size_t at = sink(p->graph, node);

    p->marked[at] = p->marked[at] || !p->ending[at];
    p->own[at]    = true;
}

static bool inputs_are_marked(const plan *p, const pq_node *node)
{
    for (size_t i = 0; i < node->n_inputs; i++) {
        if (!p->marked[source(p->graph, node->inputs[i])]) {
            return false;
        }
    }
    return true;
}

static void mark(plan *p, const pq_compress_task *task)
{
    const pq_graph *graph = p->graph;
    size_t          end   = graph->output;

    p->ending[end] = true;
    while (pq_node_in(&graph->nodes[end], last)) {
        end            = graph->nodes[end].inputs[0];
        p->ending[end] = true;
    }
    for (size_t k = 0; k < task->n_nodes; k++) {
        const size_t node = pq_graph_find(graph, task->nodes[k]);
        p->marked[source(graph, graph->nodes[node].inputs[0])] = true;
        mark_output(p, node);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) { /* inputs come before their readers */
        if (pq_node_in(&graph->nodes[i], integer) && !p->marked[i] &&
            inputs_are_marked(p, &graph->nodes[i])) {
            mark_output(p, i);
        }
    }
}

/* Statistics of what node `at` gives now: a folded BatchNorm was seen under its own name.
 */
static const pq_calib_range *range_of(const pq_compress_task *task, size_t at,
                                      char *const *folded)
{
    const char *name = task->graph->nodes[at].name;

    for (size_t k = 0; k < task->n_nodes; k++) {
        if (folded[k] != NULL && strcmp(task->nodes[k], name) == 0) {
            name = folded[k];
        }
    }
    return pq_calib_range_of(task->calib, name);
}

static pq_status quantize_output(pq_compress_task *task, size_t at,
                                 const pq_calib_range *range, pq_err *err)
{
    const pq_quantize_params *p = task->params;
    const int64_t bits = p->activation_bits == PQ_UNSET ? p->bits : p->activation_bits;
    pq_node      *node = &task->graph->nodes[at];
    pq_quant     *q    = NULL;
    double        lo, hi;
    pq_status     st;

    PQ_CHECK(range != NULL, PQ_ERR_CONFIG,
             "layer '%s': the calibration statistics do not know its output", node->name);
    pq_clip_range(range, (pq_clip_rule)p->calibration, p->percentile, (int)bits, &lo,
                  &hi);
    if (p->format == PQ_FORMAT_FIXED) {
        PQ_TRY(pq_quant_create_fixed(lo < 0.0, (pq_overflow)p->overflow,
                                     (pq_rounding)p->rounding, PQ_QUANT_PER_TENSOR, 1, &q,
                                     err));
        PQ_TRY(pq_quantize_fit_fixed(q, 0, bits, fmax(-lo, hi), err));
    } else {
        PQ_TRY(pq_quant_create(PQ_QUANT_INTEGER, (int)bits, true, false,
                               PQ_QUANT_PER_TENSOR, 1, &q, err));
        pq_quant_set_range(q, 0, lo, hi, false); /* always 0: scale 1, every code 0 */
    }
    pq_quant_free(&node->quant);
    node->quant = q;
    q           = NULL;
    PQ_TRY(pq_task_change(task, node->name, (double)NAN,
                          "%s%d activations, %.6g to %.6g%s", formats[p->format],
                          (int)bits, lo, hi, lo == 0.0 && hi == 0.0 ? ": always 0" : ""));
cleanup:
    pq_quant_free(&q);
    return st;
}

static pq_status quantize_activations(pq_compress_task *task, char *const *folded,
                                      pq_err *err)
{
    plan      p = {.graph = task->graph};
    pq_status st;

    PQ_NEW(p.marked, p.graph->n_nodes);
    PQ_NEW(p.ending, p.graph->n_nodes);
    PQ_NEW(p.own, p.graph->n_nodes);
    mark(&p, task);
    for (size_t i = 0; i < p.graph->n_nodes; i++) {
        if (p.marked[i] && (p.own[i] || p.graph->nodes[i].quant == NULL)) {
            PQ_TRY(quantize_output(task, i, range_of(task, i, folded), err));
        }
    }
cleanup:
    pq_free(p.marked);
    pq_free(p.ending);
    pq_free(p.own);
    return st;
}

/* Folds the BatchNorm behind a selected kernel and keeps its name. */
static pq_status fold(pq_compress_task *task, const char *name, char **folded,
                      pq_err *err)
{
    const size_t node = pq_graph_find(task->graph, name);
    const size_t norm = pq_foldable_batch_norm(task->graph, node);
    pq_status    st   = PQ_OK;

    if (norm != SIZE_MAX) {
        PQ_STRDUP(*folded, task->graph->nodes[norm].name);
        PQ_TRY(pq_fold_batch_norm(task->graph, node, err));
    }
cleanup:
    return st;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const pq_quantize_params *p      = task->params;
    char                    **folded = NULL;
    int64_t                  *widths = NULL;
    pq_status                 st;

    PQ_NEW(folded, task->n_nodes);
    PQ_NEW(widths, task->n_nodes);
    for (size_t k = 0; k < task->n_nodes; k++) {
        if (pq_quantize_has_codes(p) && p->fold) {
            PQ_TRY(fold(task, task->nodes[k], &folded[k], err));
        }
    }
    PQ_TRY(pq_quantize_choose_widths(p, task->graph, task->nodes, task->n_nodes, widths,
                                     err));
    for (size_t k = 0; k < task->n_nodes; k++) {
        st = quantize_weights(task, task->nodes[k], widths[k], err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", task->nodes[k]);
            goto cleanup;
        }
    }
    if (wants_activations(p)) {
        PQ_TRY(quantize_activations(task, folded, err));
    }
cleanup:
    for (size_t k = 0; folded != NULL && k < task->n_nodes; k++) {
        pq_free(folded[k]);
    }
    pq_free(folded);
    pq_free(widths);
    return st;
}

const pq_method pq_method_quantize = {
    .name = "quantize",
    .summary =
        "integer or fixed-point weights and activations after calibration, or weights in "
        "nf4, float16 or bfloat16",
    .source      = "arXiv:1712.05877, arXiv:2106.08295",
    .params      = params,
    .params_size = sizeof(pq_quantize_params),
    .version     = "3",
    .needs       = needs,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
