/**
 * @file
 * Writing layers of ours as operators of ONNX: what the files of their sorts share
 * (onnx_export_layers.c, onnx_export_pointwise.c, onnx_export_parts.c).
 */
#ifndef PQ_FORMATS_ONNX_EXPORT_LAYERS_H
#define PQ_FORMATS_ONNX_EXPORT_LAYERS_H

#include "formats/onnx_export.h"

enum { PQ_ONNX_MOST_CONSTANTS = 6 };

/** Who writes a kind of layer. */
typedef struct {
    const char *kind;
    pq_status (*put)(pq_onnx_export *ex, pq_err *err);
} pq_onnx_writer;

/** Functions of single numbers; the last has no kind. */
extern const pq_onnx_writer pq_onnx_pointwise_writers[];

/** What joins, cuts and pads; the last has no kind. */
extern const pq_onnx_writer pq_onnx_parts_writers[];

/** The node at hand. */
static inline const pq_node *pq_onnx_node_at_hand(const pq_onnx_export *ex)
{
    return &ex->graph->nodes[ex->at];
}

/** Shape of its input k. */
static inline const pq_shape *pq_onnx_in_shape(const pq_onnx_export *ex, size_t k)
{
    return &ex->graph->nodes[pq_onnx_node_at_hand(ex)->inputs[k]].shape;
}

/** Layout that an input is there in already. */
static inline int pq_onnx_layout(const pq_onnx_export *ex, size_t k)
{
    return ex->value[pq_onnx_node_at_hand(ex)->inputs[k]][PQ_ONNX_OURS] != NULL
               ? PQ_ONNX_OURS
               : PQ_ONNX_IMAGE;
}

/** Begins an operator over input 0 in a layout, then n constants by their names. */
pq_status pq_onnx_begin_over(pq_onnx_export *ex, const char *op, int layout, size_t n,
                             char *const *constants, pq_err *err);

/** Frees n names. */
void pq_onnx_free_names(char **names, size_t n);

#endif
