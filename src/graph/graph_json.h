/**
 * @file
 * Structure of a graph as JSON and back; the weights' values live elsewhere.
 *
 *     {"nodes": [{"name": "conv1", "kind": "conv2d", "inputs": ["image"],
 *                 "attributes": {"stride_h": 2, "padding": "same", …},
 *                 "quant": {…},
 *                 "weights": [{"name": "kernel", "shape": [16, 3, 3, 3]}]}, …],
 *      "output": "softmax", "head": "none", "class_names": ["g", "q", …]}
 *
 * Quantizer: {"scheme": "integer", "bits": 8, "signed": true, "narrow": true,
 * "axis": 0, "scale": […], "zero_point": […]}; scheme "float16" or "bfloat16"
 * has no other keys; axis -1 is the whole tensor.
 */
#ifndef PQ_GRAPH_GRAPH_JSON_H
#define PQ_GRAPH_GRAPH_JSON_H

#include <jansson.h>

#include "graph/graph.h"

/** Structure of a graph; caller frees with json_decref. @retval PQ_ERR_NOMEM  Out of
 * memory. */
pq_status pq_graph_to_json(const pq_graph *graph, json_t **out, pq_err *err);

/**
 * Graph of a structure, its layers still without weights (add them, then
 * pq_graph_check). Meant for files of unknown origin.
 *
 * @retval PQ_ERR_FORMAT       Missing, unknown or mistyped keys, duplicate names, a layer
 * that reads no earlier layer.
 * @retval PQ_ERR_UNSUPPORTED  Unknown kind.
 * @retval PQ_ERR_CONFIG       Unknown attribute, or text of the wrong type.
 * @retval PQ_ERR_RANGE        Value outside its range.
 */
pq_status pq_graph_from_json(const json_t *json, pq_graph **out, pq_err *err);

/** A quantizer alone, for weights; as above. */
pq_status pq_quant_to_json(const pq_quant *q, json_t **out, pq_err *err);
pq_status pq_quant_from_json(const json_t *json, pq_quant **out, pq_err *err);

#endif
