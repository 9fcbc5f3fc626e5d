/**
 * @file
 * What an engine is: it turns steps into operations. A step is one node of the
 * graph with what the engine agreed to compute along with it; the plan decides
 * order and memory, and applies the quantizers of nodes.
 */
#ifndef PQ_EXEC_ENGINE_H
#define PQ_EXEC_ENGINE_H

#include "exec/plan.h"

/** Ends of the names of kernels that multiply whole numbers: by instructions for bytes,
 * and without. */
#define PQ_KERNEL_NATIVE   ", native"
#define PQ_KERNEL_EMULATED ", emulated"

/** No node. */
#define PQ_NO_NODE SIZE_MAX

enum { PQ_STEP_INPUTS = PQ_NODE_INPUTS + 1 /**< those of the node, and a residual */ };

/** A node and the chain of its only readers that is computed in the same go, in the order
 * norm, add, activation. */
typedef struct {
    const pq_graph *graph;
    size_t          node;       /**< the node that is computed */
    size_t          norm;       /**< BatchNorm of its value, or PQ_NO_NODE */
    size_t          add;        /**< sum of that and a residual, or PQ_NO_NODE */
    size_t          activation; /**< function of that, or PQ_NO_NODE */
    size_t          last; /**< the end of the chain: its value is the step's output */
    size_t          n_in;
    size_t in[PQ_STEP_INPUTS]; /**< nodes read; with `add`, the residual is the last */
    bool   lean; /**< the graph's weights stay, and are packed at each run */
} pq_step;

/** One of the parts that threads make of a run. */
typedef struct {
    size_t i, of; /**< i < of */
} pq_part;

/** All of it. */
#define PQ_WHOLE ((pq_part){0, 1})

/** Rows, lines or panels [first, end). */
typedef struct {
    size_t first, end;
} pq_range;

/** A part of n: as large as the others, or by one smaller or larger. */
static inline pq_range pq_part_of(pq_part part, size_t n)
{
    return (pq_range){n * part.i / part.of, n * (part.i + 1) / part.of};
}

/** A prepared step, immutable and shared between threads; engines embed it as their first
 * member. */
typedef struct pq_op pq_op;
struct pq_op {
    /**
     * @param[in]  n        samples, 1 .. the tile given to prepare
     * @param[in]  in       [n_in] values of the step's inputs, in the engine's item type,
     * not aligned
     * @param[out] out      value of `last`; overlaps nothing
     * @param[in]  scratch  64-byte aligned, scratch_bytes, contents lost between runs
     */
    void (*run)(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch);
    /**
     * One part of a run, whose parts may go at once on threads, each with scratch of its
     * own: together they write what run writes, the same bits. NULL: not in parts.
     */
    void (*run_part)(const pq_op *op, pq_part part, size_t n, const void *const *in,
                     void *out, void *scratch);
    size_t products; /**< of a sample, where there are parts: whether they pay */
    void (*release)(pq_op *op); /**< frees what the operation owns and itself */
    size_t      scratch_bytes;  /**< for a whole tile */
    size_t      weight_bytes;   /**< of packed weights */
    const char *kernel; /**< what computes it, for records; products of whole numbers end
                           in one of the two below */
};

/** Where a node may go in a step. */
typedef enum { PQ_FUSE_NOT, PQ_FUSE_NORM, PQ_FUSE_ADD, PQ_FUSE_ACTIVATION } pq_fusion;

struct pq_engine {
    const char *name;
    const char *summary;
    size_t      item_bytes; /**< of one activation: 4 float, 8 double */

    /** Hooks of an engine whose operations quantize what they give, and whose values are
     * not all of one type: floats to the values of a node, n samples, and back. Both or
     * neither. */
    void (*take)(const pq_graph *graph, size_t node, size_t n, const float *from,
                 void *to);
    void (*give)(const pq_graph *graph, size_t node, size_t n, const void *from,
                 float *to);

    /** Whether and as what `next`, the only reader of step->last, can be computed along
     * with the step; NULL = never. */
    pq_fusion (*fuses)(const pq_step *step, size_t next);

    /**
     * Packs the weights of a step for runs of up to `tile` samples.
     * @retval PQ_ERR_UNSUPPORTED  The engine cannot run this layer.
     */
    pq_status (*prepare)(const pq_step *step, size_t tile, pq_op **out, pq_err *err);

    /**
     * Hook of an engine that runs a whole graph as one operation, instead of prepare.
     * Its inputs and its output are those of the graph, float32, and its numbers of
     * samples any; it needs no scratch memory and may run on several threads at once.
     *
     * @param[out] out     stays NULL where the engine cannot work on this machine, …
     * @param[out] why     … and this is why: `beside` runs in its place
     * @param[out] beside  name of the engine that shows the nodes' values
     * @retval PQ_ERR_UNSUPPORTED  The engine cannot run this graph on any machine.
     */
    pq_status (*prepare_graph)(const pq_graph *graph, pq_op **out, pq_text *why,
                               const char **beside, pq_err *err);

    /** Adds what the engine's numbers depend on beside the model and its inputs:
     * instruction set, libraries; NULL = nothing, they are the same on every machine. */
    void (*describe)(pq_text *out);
};

/** Engine of a name or of an older one. @retval PQ_ERR_UNSUPPORTED  Unknown, with "did
 * you mean" and the list. */
pq_status pq_engine_find(const char *name, const pq_engine **out, pq_err *err);

/**
 * The kind's own forward in double as an operation, for any layer.
 * @param[in] item_bytes  8: values are double; 4: float, converted at the borders
 */
pq_status pq_forward_prepare(const pq_step *step, size_t tile, size_t item_bytes,
                             pq_op **out, pq_err *err);

/** What computes a layer in the float32 engine, for messages: "float32:moves", …; with
 * the reason where it runs in double; "" for inputs and what only renames its input. */
const char *pq_float_kernel(const pq_layer *layer);

/** Items of one sample of a node's value. */
static inline size_t pq_node_count(const pq_graph *graph, size_t node)
{
    size_t count = 0;

    (void)pq_shape_count(&graph->nodes[node].shape, &count);
    return count;
}

#endif
