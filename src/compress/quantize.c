/*
 * Post-training quantization.
 *
 * int: kernels are symmetric unless told otherwise, one scale an output channel, a
 * tensor, or a group of inputs. Activations are affine, one scale and zero point a
 * tensor, with a range from calibration. fixed: scales are powers of two, zero points 0.
 *
 *   - A BatchNorm that alone reads a kernel is folded into it first.
 *   - Activations as quantize_activations.c says.
 *
 * Biases stay float32; an integer engine holds them as whole numbers at scale s_x s_w.
 *
 * Several stages, each for its own layers, compose: a stage keeps the grid that an
 * earlier one gave to what its kernels read, and sets that of what they give.
 *
 * nf4: kernels only. float16, bfloat16: kernels and biases. Activations stay.
 */
#include <math.h>
#include <string.h>

#include "compress/method.h"
#include "compress/quantize_weights.h"
#include "compress/wiring.h"
#include "core/memory.h"

static const char *const formats[] = {"int", "fixed", "nf4", "float16", "bfloat16", NULL};
static const char *const granularities[] = {"per_channel", "per_tensor", "per_group",
                                            "per_weight", NULL};
static const char *const rules[]         = {"minmax",         "percentile", "mse",
                                            "moving_average", "entropy",    NULL};
static const char *const ranges[]        = {"restricted", "full", NULL};
static const char *const weight_ranges[] = {"minmax", "mse", NULL};
static const char *const width_rules[]   = {"error", "range", "loss", NULL};
static const char *const choices[]       = {"nearest", "adaptive", "adaround", NULL};

/* Those of weights, with "same" in front. */
static const char *const overflows[] = {"same", "SAT",     "SAT_SYM",
                                        "WRAP", "WRAP_SM", NULL};
static const char *const roundings[] = {"same",     "RND_CONV",    "RND",
                                        "RND_ZERO", "RND_MIN_INF", "RND_INF",
                                        "TRN",      "TRN_ZERO",    NULL};

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

#define SWITCH(field, default_text, text)                                                \
    {                                                                                    \
        .name = #field, .type = PQ_PARAM_BOOL,                                           \
        .offset = offsetof(pq_quantize_params, field), .fallback = default_text,         \
        .help = text                                                                     \
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
    WHOLE(
        budget_bytes, NULL, 1, 1e15,
        "int, fixed: widths as for average_bits, until the model's stored bytes are not "
        "above this"),
    {.name   = "max_loss",
     .type   = PQ_PARAM_REAL,
     .offset = offsetof(pq_quantize_params, max_loss),
     .min    = 0,
     .max    = 1,
     .help   = "for width_rule = loss: the fewest bits with at most this share of "
               "calibration events whose largest output changes, summed over the layers, "
               "each quantized alone"},
    CHOICE(width_rule, width_rule, "error", width_rules,
           "what a bit costs when widths are shared out: the square error of weights, "
           "that of rounding to their range, or the change of the model's outputs "
           "(needs calibration events)"),
    CHOICE(format, format, "int", formats,
           "int, fixed (powers of two as scales), or weights only in nf4, float16 or "
           "bfloat16"),
    CHOICE(granularity, granularity, "per_channel", granularities,
           "scales of a kernel: one an output channel, one, one a group of inputs (int, "
           "nf4), or a width a weight (fixed)"),
    WHOLE(group, "64", 1, 65536, "for per_group: weights that share a scale"),
    SWITCH(double_scales, "false",
           "nf4, per_group: scales are codes of 8 bits themselves, times a step that 256 "
           "of them share, about their mean"),
    SWITCH(symmetric, "true",
           "int weights: zero point 0; no = the range from the least to the largest "
           "weight, with a zero point"),
    CHOICE(range, range, "restricted", ranges,
           "symmetric int weights: without the lowest code (-127..127), or with it"),
    CHOICE(weight_range, weight_range, "minmax", weight_ranges,
           "int weights: scale from the extremes, or of the least square error"),
    {.name     = "fold",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(pq_quantize_params, fold),
     .fallback = "true",
     .help     = "int, fixed: fold BatchNorm into kernels first; false: keep it for "
                 "training, whose key fold_norm_after folds it (symmetric int, "
                 "per_channel)"},
    CHOICE(
        choice, choice, "nearest", choices,
        "side a weight is rounded to: the nearest, or the one that changes the layer's "
        "output on calibration events least, one weight after the other with the inputs "
        "as they were (adaptive), or all learnt together with the inputs that the "
        "quantized layers before give (adaround)"),
    WHOLE(rounding_steps, "2000", 1, 1e7, "for adaround: steps of Adam for each layer"),
    SWITCH(bias_correction, "false",
           "take the mean shift of each output on calibration events off the bias, layer "
           "by layer"),
    WHOLE(
        integer_bits, NULL, -24, 23,
        "fixed: integer bits of weights, sign not counted; none = what the range needs"),
    CHOICE(overflow, overflow, "SAT", pq_overflow_names,
           "fixed: what a value beyond the range becomes"),
    CHOICE(rounding, rounding, "RND_CONV", pq_rounding_names,
           "fixed: how values are rounded"),
    SWITCH(activations, "true",
           "int, fixed: quantize activations too (needs calibration events)"),
    WHOLE(activation_bits, NULL, 2, 16, "width of activations; none = as `bits`"),
    SWITCH(activation_symmetric, "false",
           "int: activations with zero point 0, unsigned where they are never negative"),
    WHOLE(activation_integer_bits, NULL, -24, 23,
          "fixed: integer bits of activations, sign not counted; none = what the range "
          "needs"),
    CHOICE(activation_overflow, activation_overflow, "same", overflows,
           "fixed: what an activation beyond the range becomes; same = as weights"),
    CHOICE(activation_rounding, activation_rounding, "same", roundings,
           "fixed: how activations are rounded; same = as weights"),
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
    return p->choice == PQ_CHOICE_ADAPTIVE;
}

static bool wants_replay(const pq_quantize_params *p)
{
    return p->choice == PQ_CHOICE_ADAROUND || p->bias_correction;
}

static bool wants_losses(const pq_quantize_params *p)
{
    return pq_quantize_is_mixed(p) && p->width_rule == PQ_WIDTH_LOSS;
}

static unsigned needs(const void *values)
{
    return (wants_activations(values) ? PQ_NEEDS_RANGES : 0) |
           (wants_grams(values) ? PQ_NEEDS_GRAMS : 0) |
           (wants_losses(values) || wants_replay(values) ? PQ_NEEDS_EVENTS : 0);
}

/* A key that was changed, and what would have to hold for it to count. */
typedef struct {
    const char *key;
    bool        changed, counts;
    const char *needed;
} condition;

/* Keys that would be ignored are mistakes. */
static pq_status check_ignored(const pq_quantize_params *p, pq_err *err)
{
    const bool codes = pq_quantize_has_codes(p), is_int = p->format == PQ_FORMAT_INT;
    const bool fixed = p->format == PQ_FORMAT_FIXED, grids = wants_activations(p);
    const bool scaled      = codes || p->format == PQ_FORMAT_NF4;
    const char *const ints = "format = int", *const fixeds = "format = fixed";
    const char *const coded      = "format = int or fixed";
    const char *const acts       = "format = int or fixed with activations";
    const char *const fixed_acts = "format = fixed with activations";
    const condition   all[]      = {
               {"bits", p->bits != 8, codes, coded},
               {"average_bits", !isnan(p->average_bits), codes, coded},
               {"budget_bytes", p->budget_bytes != PQ_UNSET, codes, coded},
               {"max_loss", !isnan(p->max_loss), codes && p->width_rule == PQ_WIDTH_LOSS,
                "width_rule = loss"},
               {"width_rule", p->width_rule != 0, codes && pq_quantize_is_mixed(p),
                "average_bits, budget_bytes or max_loss"},
               {"granularity", p->granularity != PQ_PER_CHANNEL, scaled,
                "format = int, fixed or nf4"},
               {"group", p->group != 64, p->granularity == PQ_PER_GROUP,
                "granularity = per_group"},
               {"double_scales", p->double_scales,
                p->format == PQ_FORMAT_NF4 && p->granularity == PQ_PER_GROUP,
                "format = nf4 and granularity = per_group"},
               {"symmetric", !p->symmetric, is_int, ints},
               {"range", p->range != 0, is_int && p->symmetric, "format = int and symmetric"},
               {"weight_range", p->weight_range != 0, is_int, ints},
               {"choice", p->choice != 0, codes, coded},
               {"rounding_steps", p->rounding_steps != 2000, p->choice == PQ_CHOICE_ADAROUND,
                "choice = adaround"},
               {"integer_bits", p->integer_bits != PQ_UNSET, fixed, fixeds},
               {"overflow", p->overflow != 0, fixed, fixeds},
               {"rounding", p->rounding != 0, fixed, fixeds},
               {"activation_bits", p->activation_bits != PQ_UNSET, grids, acts},
               {"activation_symmetric", p->activation_symmetric, is_int && grids,
                "format = int with activations"},
               {"activation_integer_bits", p->activation_integer_bits != PQ_UNSET,
                fixed && grids, fixed_acts},
               {"activation_overflow", p->activation_overflow != 0, fixed && grids, fixed_acts},
               {"activation_rounding", p->activation_rounding != 0, fixed && grids, fixed_acts},
               {"calibration", p->calibration != 0, grids, acts},
               {"percentile", p->percentile != 99.99, grids && p->calibration == 1,
                "calibration = percentile, with activations"},
    };
    pq_text   value = {0};
    pq_status st    = PQ_OK;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i].changed && !all[i].counts) {
            pq_param_print(pq_params_find(params, all[i].key), p, &value);
            PQ_CHECK(false, PQ_ERR_CONFIG,
                     "%s = %s has no effect here: it is for %s (format is %s)",
                     all[i].key, value.text != NULL ? value.text : "", all[i].needed,
                     formats[p->format]);
        }
    }
cleanup:
    pq_text_free(&value);
    return st;
}

/* Integer bits leave fraction bits that there can be. */
static pq_status check_fraction(const char *key, int64_t whole, int64_t bits, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(whole == PQ_UNSET || (bits - 1 - whole <= 24 && whole <= bits - 1),
             PQ_ERR_RANGE, "%s = %d of %d bits leave %d fraction bits, not in 0..24", key,
             (int)whole, (int)bits, (int)(bits - 1 - whole));
cleanup:
    return st;
}

static pq_status check(const void *values, pq_err *err)
{
    const pq_quantize_params *p = values;
    const int64_t             activation =
        p->activation_bits == PQ_UNSET ? p->bits : p->activation_bits;
    pq_status st = PQ_OK;

    PQ_CHECK(p->granularity != PQ_PER_GROUP || p->format == PQ_FORMAT_INT ||
                 p->format == PQ_FORMAT_NF4,
             PQ_ERR_CONFIG, "granularity = per_group is for format = int or nf4, not %s",
             formats[p->format]);
    PQ_CHECK(p->granularity != PQ_PER_WEIGHT || p->format == PQ_FORMAT_FIXED,
             PQ_ERR_CONFIG, "granularity = per_weight is for format = fixed, not %s",
             formats[p->format]);
    PQ_CHECK(p->fold || (p->format == PQ_FORMAT_INT && p->symmetric &&
                         p->granularity == PQ_PER_CHANNEL && !wants_grams(p) &&
                         !wants_replay(p)),
             PQ_ERR_CONFIG,
             "fold = false is for format = int, symmetric, granularity = per_channel, "
             "choice = nearest and no bias_correction: only such grids can be folded "
             "later");
    PQ_TRY(check_ignored(p, err));
    PQ_CHECK(isnan(p->average_bits) || p->average_bits <= (double)p->bits, PQ_ERR_RANGE,
             "average_bits = %g is above bits = %d", p->average_bits, (int)p->bits);
    PQ_CHECK((isnan(p->average_bits) ? 0 : 1) + (p->budget_bytes == PQ_UNSET ? 0 : 1) +
                     (isnan(p->max_loss) ? 0 : 1) <=
                 1,
             PQ_ERR_CONFIG,
             "only one of average_bits, budget_bytes and max_loss can be met");
    PQ_TRY(check_fraction("integer_bits", p->integer_bits, p->bits, err));
    PQ_TRY(check_fraction("activation_integer_bits", p->activation_integer_bits,
                          activation, err));
cleanup:
    return st;
}

static bool accepts(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    return pq_node_kernel(node) != NULL;
}

static double part_of(const double sums[2])
{
    return sums[0] > 0.0 ? sqrt(sums[1] / sums[0]) : 0.0;
}

/* Puts the weights of a layer on their grids. `error` is of its kernels together; where
 * there are other weights, or several, each one's stands in `each`. */
static pq_status round_weights(const pq_quantize_params *p, const pq_layer *layer,
                               const pq_calib_gram *gram, double *error, pq_text *each,
                               pq_err *err)
{
    double    all[2] = {0.0, 0.0};
    size_t    n      = 0;
    pq_status st     = PQ_OK;

    for (size_t i = 0; i < layer->n_weights; i++) {
        pq_weight           *w       = &layer->weights[i];
        const pq_weight_role role    = layer->kind->role(w->name);
        double               sums[2] = {0.0, 0.0};
        if (role == PQ_WEIGHT_KERNEL ||
            (role == PQ_WEIGHT_BIAS && p->format >= PQ_FORMAT_F16)) {
            PQ_TRY(pq_quantize_weight(p, w, gram, sums, err));
            pq_text_add(each, "%s%s %.2g", n++ == 0 ? "; errors: " : ", ", w->name,
                        part_of(sums));
            all[0] += role == PQ_WEIGHT_KERNEL ? sums[0] : 0.0;
            all[1] += role == PQ_WEIGHT_KERNEL ? sums[1] : 0.0;
        }
    }
    PQ_CHECK(!each->failed, PQ_ERR_NOMEM, "cannot allocate a text");
    if (n <= 1) {
        pq_text_free(each);
    }
    *error = part_of(all);
cleanup:
    return st;
}

static pq_status quantize_weights(pq_compress_task *task, const char *name, int64_t bits,
                                  pq_err *err)
{
    pq_quantize_params        own = *(const pq_quantize_params *)task->params;
    const pq_quantize_params *p   = &own;
    const pq_node       *node     = &task->graph->nodes[pq_graph_find(task->graph, name)];
    const pq_calib_gram *gram =
        wants_grams(p) ? pq_calib_gram_of(task->calib, name) : NULL;
    const bool  dense = pq_node_is(node, "dense") || pq_node_is(node, "conv2d");
    const char *note  = wants_grams(p) && gram == NULL              ? "; grouped: nearest"
                        : p->choice == PQ_CHOICE_ADAROUND && !dense ? "; cores: nearest"
                                                                    : "";
    pq_text     each  = {0};
    double      error = 0.0;
    pq_status   st;

    own.bits = bits;
    PQ_TRY(round_weights(p, node->layer, gram, &error, &each, err));
    const char *errors = each.text != NULL ? each.text : "";

    if (pq_quantize_has_codes(p)) {
        PQ_TRY(pq_task_change(task, name, error, "%s%d weights, %s%s%s",
                              formats[p->format], (int)p->bits,
                              granularities[p->granularity], note, errors));
    } else {
        PQ_TRY(pq_task_change(task, name, error, "%s weights%s%s", formats[p->format],
                              note, errors));
    }
cleanup:
    pq_text_free(&each);
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
    pq_quantize_loss         *losses = NULL;
    pq_graph                 *before = NULL;
    pq_status                 st;

    PQ_NEW(folded, task->n_nodes);
    PQ_NEW(widths, task->n_nodes);
    if (wants_losses(p)) {
        PQ_NEW(losses, task->n_nodes);
        PQ_TRY(pq_quantize_measure_losses(task, losses, err));
    }
    for (size_t k = 0; k < task->n_nodes; k++) {
        if (pq_quantize_has_codes(p) && p->fold) {
            PQ_TRY(fold(task, task->nodes[k], &folded[k], err));
        }
    }
    if (wants_replay(p)) {
        PQ_TRY(pq_graph_clone(task->graph, &before, err));
    }
    PQ_TRY(pq_quantize_choose_widths(task, losses, widths, err));
    for (size_t k = 0; k < task->n_nodes; k++) {
        st = quantize_weights(task, task->nodes[k], widths[k], err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", task->nodes[k]);
            goto cleanup;
        }
    }
    if (wants_activations(p)) {
        PQ_TRY(pq_quantize_activations(task, folded, err));
    }
    if (wants_replay(p)) {
        PQ_TRY(pq_quantize_on_events(task, before, err));
    }
cleanup:
    pq_graph_free(&before);
    for (size_t k = 0; folded != NULL && k < task->n_nodes; k++) {
        pq_free(folded[k]);
    }
    pq_free(folded);
    pq_free(widths);
    pq_free(losses);
    return st;
}

static bool draws(const void *values)
{
    const pq_quantize_params *p = values;

    return p->choice == PQ_CHOICE_ADAROUND;
}

const pq_method pq_method_quantize = {
    .name = "quantize",
    .summary =
        "integer or fixed-point weights and activations after calibration, or weights in "
        "nf4, float16 or bfloat16",
    .source      = "arXiv:1712.05877, arXiv:2106.08295, arXiv:2004.10568, "
                   "arXiv:2305.14314",
    .params      = params,
    .params_size = sizeof(pq_quantize_params),
    .version     = "8",
    .keeps       = PQ_KEEPS_ALL,
    .needs       = needs,
    .draws       = draws,
    .check       = check,
    .accepts     = accepts,
    .apply       = apply,
};
