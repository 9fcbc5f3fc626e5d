/**
 * @file
 * Adapters beside a layer: how they are named, and putting them into the weight they
 * stand beside and taking them out again. For compress only.
 *
 *     fc1 ─────────────────────────────────────────────┐
 *     fc1.lora_drop ─ fc1.lora_a ─ fc1.lora_scale ─ fc1.lora_b ─ fc1.lora_add
 *
 * Both lines read what the layer reads; who read the layer reads the sum.
 */
#ifndef PQ_COMPRESS_LORA_H
#define PQ_COMPRESS_LORA_H

#include "compress/method.h"

/** Whether a layer of this name is part of an adapter. */
bool pq_is_adapter(const char *name);

/** Whether a layer has adapters: it is their base, and does not train. */
bool pq_has_adapter(const pq_graph *graph, const char *name);

/** w + factor b a in double, summed in order: the same bits everywhere.
 * @param[in] w  float32, read as [m, n]; b is read as [m, r], a as [r, n] */
pq_status pq_lora_sum(const pq_tensor *w, double factor, const pq_tensor *b,
                      const pq_tensor *a, pq_tensor **out, pq_err *err);

/** Puts a weight at new values, in float32 and on the grid of its quantizer, whose scales
 * are made anew. Its zeros are no longer structural. */
pq_status pq_lora_set(pq_weight *w, const pq_tensor *values, pq_err *err);

/** |x - (w + factor b a)| / |x|, or 0 for x = 0. */
pq_status pq_lora_error(const pq_tensor *x, const pq_tensor *w, double factor,
                        const pq_tensor *b, const pq_tensor *a, double *out, pq_err *err);

/** The six names of a layer's adapters, in the order of the graph. */
enum { PQ_LORA_DROP, PQ_LORA_A, PQ_LORA_SCALE, PQ_LORA_B, PQ_LORA_ADD, PQ_LORA_PARTS };
extern const char *const pq_lora_parts[];

/** Name of a part, "fc1.lora_a"; caller frees with pq_free. */
char *pq_lora_name(const char *layer, int part);

/**
 * Replaces the weight of a layer that has adapters by W + (alpha / r) B A and takes them
 * out of the graph.
 *
 * @param[in] keep  remember layer and adapters in graph->aside
 */
pq_status pq_lora_merge(pq_compress_task *task, const char *name, bool keep, pq_err *err);

/** Puts back what pq_lora_merge remembered, bit by bit. @retval PQ_ERR_CONFIG  Nothing is
 * remembered, or the layer has changed since. */
pq_status pq_lora_unmerge(pq_compress_task *task, const char *name, pq_err *err);

#endif
