/*
 * Convolutions and dense layers in uint8 codes from layer to layer: by our own kernel
 * where the processor multiplies bytes, but for depthwise ones; else by oneDNN where that
 * is there and takes the layer exactly (without VNNI it adds two products in 16 bits, so
 * that weights of 8 would overflow), the rest by words of 16 bits (words.c).
 *
 * A value is held as bytes, code minus the lowest code, where it has a grid of at most
 * 8 bits; everything else is float32, and computed by the engine float32's operations
 * between codes. Sums are exact; oneDNN scales and rounds in float32, so that a result
 * of its may be the neighbour of the code that the integer engine gives.
 */
#include <string.h>

#include "exec/bytes.h"
#include "exec/bytes_linear.h"
#include "exec/codes.h"
#include "exec/onednn.h"
#include "exec/words.h"
#include "kernels/bytes.h"
#include "kernels/cpu.h"

/* Whole numbers of a layer on bytes, or NULL where it is computed in float32. A grid on
   what it gives must be one of bytes. */
static pq_status units_of(const pq_step *step, pq_units **out, pq_err *err)
{
    const pq_graph *g = step->graph;
    pq_status       st;

    PQ_TRY(pq_units_create(g, step->node, out, NULL, err));
    if (*out != NULL &&
        (pq_byte_grid(g, step->in[0]) == NULL || !pq_words_fit(*out) ||
         (g->nodes[step->last].quant != NULL && pq_byte_grid(g, step->last) == NULL))) {
        pq_units_free(out);
    }
cleanup:
    return st;
}

static pq_fusion fuses(const pq_step *step, size_t next)
{
    const pq_node *nodes = step->graph->nodes;
    pq_step        both  = *step;
    pq_units      *units = NULL;
    bool           whole;

    both.last = next;
    if (step->activation != PQ_NO_NODE ||
        strcmp(nodes[next].layer->kind->name, "relu") != 0) {
        return PQ_FUSE_NOT;
    }
    (void)units_of(&both, &units, NULL);
    whole = units != NULL;
    pq_units_free(&units);
    return whole || (strcmp(nodes[step->node].layer->kind->name, "add") == 0 &&
                     pq_bytes_has(&both))
               ? PQ_FUSE_ACTIVATION
               : PQ_FUSE_NOT;
}

static pq_status prepare(const pq_step *step, size_t tile, pq_op **out, pq_err *err)
{
    pq_units *units = NULL;
    pq_op    *op    = NULL;
    pq_status st;

    PQ_TRY(units_of(step, &units, err));
    if (units != NULL) {
        PQ_TRY(pq_bytes_linear_prepare(step, units, &op, err));
    }
    if (units != NULL && op == NULL) {
        PQ_TRY(pq_onednn_prepare(step, tile, units, &op, err));
    }
    if (units != NULL && op == NULL) {
        PQ_TRY(pq_words_prepare(step, units, pq_kernels_find(pq_cpu_isa()),
                                PQ_WORDS_BYTES, pq_byte_grid(step->graph, step->in[0]),
                                pq_byte_grid(step->graph, step->last), &op, err));
    } else if (op == NULL && pq_bytes_has(step)) {
        PQ_TRY(pq_bytes_prepare(step, &op, err));
    }
    if (op == NULL) {
        PQ_TRY(pq_bytes_between(step, tile, &op, err));
    }
    *out = op;
cleanup:
    pq_units_free(&units);
    return st;
}

static void describe(pq_text *out)
{
    pq_text_add(out, "%s%s, biases in units of codes", pq_isa_name(pq_cpu_isa()),
                pq_bytes_find() != NULL ? ", bytes" : "");
    pq_onednn_describe(out);
}

const pq_engine pq_engine_int8 = {
    .name       = "int8",
    .summary    = "convolutions and dense layers in bytes, the rest as `float32`",
    .item_bytes = sizeof(float),
    .take       = pq_bytes_take,
    .give       = pq_bytes_give,
    .fuses      = fuses,
    .prepare    = prepare,
    .describe   = describe,
};
