/*
 * Which outputs of layers are quantized, and on which grid:
 *
 *   - What a selected kernel reads, the model's input too.
 *   - What it gives, after a BatchNorm that is kept for folding, and after the relu or
 *     clip that alone reads it.
 *   - add, multiply, concat, average and masked pooling and activation functions whose
 *     inputs are all quantized give quantized outputs, again after their relu.
 *   - max pooling, flatten, reshape, pad, slice, subsample and dropout hand codes on.
 *   - What the model ends in (logits, softmax) stays float.
 *
 * So an integer engine finds a grid on both sides of each kernel.
 *
 * A grid that an earlier stage gave to what selected kernels read stays, as it belongs to
 * the layers that give it, and the change says so; that of the model's input belongs to
 * the kernels that read it, and is made anew where they all are selected.
 */
#include <math.h>
#include <string.h>

#include "compress/clip.h"
#include "compress/quantize_weights.h"
#include "compress/wiring.h"
#include "core/memory.h"

/* Nodes by index: which carry a quantizer, and which end the model and stay float. */
typedef struct {
    pq_graph *graph;
    bool     *marked, *ending;
    bool     *own; /* what selected kernels give: replaces an earlier stage's grid */
} plan;

/* Whose grid the values of a node lie on: the node that is not just handing codes on. */
static size_t source(const pq_graph *graph, size_t node)
{
    while (pq_layer_is(graph->nodes[node].layer, PQ_TRAIT_KEEPS_GRID)) {
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

    return reader != SIZE_MAX && pq_layer_is(graph->nodes[reader].layer, PQ_TRAIT_CLIPS)
               ? reader
               : node;
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
    while (pq_layer_is(graph->nodes[end].layer, PQ_TRAIT_ITEMWISE) ||
           pq_layer_is(graph->nodes[end].layer, PQ_TRAIT_PROBABILITY)) {
        end            = graph->nodes[end].inputs[0];
        p->ending[end] = true;
    }
    for (size_t k = 0; k < task->n_nodes; k++) {
        const size_t node = pq_graph_find(graph, task->nodes[k]);
        p->marked[source(graph, graph->nodes[node].inputs[0])] = true;
        mark_output(p, node);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) { /* inputs come before their readers */
        if (pq_layer_is(graph->nodes[i].layer, PQ_TRAIT_ROUNDED) && !p->marked[i] &&
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

static int mode_of(int own, int of_weights)
{
    return own > 0 ? own - 1 : of_weights;
}

static pq_status make_fixed(const pq_quantize_params *p, int64_t bits, double lo,
                            double hi, pq_quant **out, pq_err *err)
{
    const int64_t whole = p->activation_integer_bits;
    const int     sign  = lo < 0.0 ? 1 : 0;
    pq_status     st;

    PQ_TRY(pq_quant_create_fixed(
        sign == 1, (pq_overflow)mode_of(p->activation_overflow, p->overflow),
        (pq_rounding)mode_of(p->activation_rounding, p->rounding), PQ_QUANT_PER_TENSOR, 1,
        out, err));
    PQ_TRY(whole != PQ_UNSET
               ? pq_quant_set_fixed(*out, 0, (int)whole, (int)(bits - sign - whole), err)
               : pq_quantize_fit_fixed(*out, 0, bits, lo, hi, err));
cleanup:
    return st;
}

/* Symmetric codes of what is never negative have no sign. */
static pq_status make_integers(const pq_quantize_params *p, int64_t bits, double lo,
                               double hi, pq_quant **out, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_quant_create(PQ_QUANT_INTEGER, (int)bits,
                           !p->activation_symmetric || lo < 0.0, false,
                           PQ_QUANT_PER_TENSOR, 1, out, err));
    /* always 0: scale 1, every code 0 */
    pq_quant_set_range(*out, 0, lo, hi, p->activation_symmetric);
cleanup:
    return st;
}

/* What of the range a reader should know: nothing was told from anything else by it. */
static const char *warning(const pq_calib_range *range)
{
    return range->lo == 0.0 && range->hi == 0.0 ? ": always 0"
           : range->lo == range->hi ? ": the same value in all calibration events"
                                    : "";
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
    st = p->format == PQ_FORMAT_FIXED ? make_fixed(p, bits, lo, hi, &q, err)
                                      : make_integers(p, bits, lo, hi, &q, err);
    if (st != PQ_OK) {
        pq_err_context(err, "layer '%s'", node->name);
        goto cleanup;
    }
    pq_quant_free(&node->quant);
    node->quant = q;
    q           = NULL;
    PQ_TRY(pq_task_change(task, node->name, (double)NAN,
                          "%s%d activations, %.6g to %.6g%s",
                          p->format == PQ_FORMAT_FIXED ? "fixed" : "int", (int)bits, lo,
                          hi, warning(range)));
cleanup:
    pq_quant_free(&q);
    return st;
}

/* Whether all kernels that read the values of a node are selected. */
static bool read_by_selected_only(const plan *p, const pq_compress_task *task, size_t at)
{
    for (size_t i = 0; i < p->graph->n_nodes; i++) {
        const pq_node *node  = &p->graph->nodes[i];
        bool           found = pq_node_kernel(node) == NULL;
        for (size_t k = 0; !found && k < task->n_nodes; k++) {
            found = strcmp(task->nodes[k], node->name) == 0;
        }
        if (!found && source(p->graph, node->inputs[0]) == at) {
            return false;
        }
    }
    return true;
}

static pq_status keep_grid(pq_compress_task *task, const pq_node *node)
{
    const pq_quantize_params *p = task->params;
    const pq_quant           *q = node->quant;
    const int64_t bits = p->activation_bits == PQ_UNSET ? p->bits : p->activation_bits;
    const bool    same =
        p->format == (q->scheme == PQ_QUANT_FIXED ? PQ_FORMAT_FIXED : PQ_FORMAT_INT);
    pq_status st = PQ_OK;

    if (!same || q->bits != bits) {
        PQ_TRY(pq_task_change(task, node->name, (double)NAN,
                              "activations stay %s%d, as an earlier stage made them",
                              q->scheme == PQ_QUANT_FIXED ? "fixed" : "int", q->bits));
    }
cleanup:
    return st;
}

pq_status pq_quantize_activations(pq_compress_task *task, char *const *folded,
                                  pq_err *err)
{
    plan      p = {.graph = task->graph};
    pq_status st;

    PQ_NEW(p.marked, p.graph->n_nodes);
    PQ_NEW(p.ending, p.graph->n_nodes);
    PQ_NEW(p.own, p.graph->n_nodes);
    mark(&p, task);
    for (size_t i = 0; i < p.graph->n_nodes; i++) {
        const pq_node *node = &p.graph->nodes[i];
        const bool     anew = p.own[i] || node->quant == NULL ||
                          (node->n_inputs == 0 && read_by_selected_only(&p, task, i));
        if (p.marked[i]) {
            PQ_TRY(anew ? quantize_output(task, i, range_of(task, i, folded), err)
                        : keep_grid(task, node));
        }
    }
cleanup:
    pq_free(p.marked);
    pq_free(p.ending);
    pq_free(p.own);
    return st;
}
