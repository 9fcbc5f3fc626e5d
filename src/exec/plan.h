/**
 * @file
 * Runs a graph. A plan is made once (shapes, folded BatchNorm, packed weights,
 * memory laid out by lifetime in one block) and run many times.
 *
 * Engines: `reference` computes in double with the kinds' own forward, in a
 * fixed order: the oracle. `float32` computes in float32 with own kernels. Both
 * apply the quantizers of nodes to activations. `integer` executes quantized
 * layers in whole numbers, bit by bit as `reference` (docs/quantization.md).
 * `generated` is C of the whole graph, compiled and loaded (docs/codegen.md); without a
 * compiler the fastest other engine runs, and pq_plan_kernels says so.
 */
#ifndef PQ_EXEC_PLAN_H
#define PQ_EXEC_PLAN_H

#include "core/pool.h"
#include "core/text.h"
#include "graph/graph.h"

typedef struct pq_plan pq_plan;

/** An engine: one file each, listed in exec/meson.build. */
typedef struct pq_engine pq_engine;

/** Names of the engines this build has, NULL-terminated, in a fixed order. */
extern const char *const pq_engine_names[];

/** The same after "auto", which stands for the fastest of pq_plan_engines(), and before
 * the older names. */
extern const char *const pq_engine_choices[];

/** Today's name of the engines' older names, "blas" and "onednn"; any other text as it
 * is. */
const char *pq_engine_named(const char *name);

enum { PQ_FAST_ENGINES = 2 };

typedef struct {
    const char *engine; /**< NULL = "float32" */
    size_t      batch;  /**< most samples a run may have, >= 1 */
} pq_plan_options;

/**
 * Plans a graph, which is copied: it may be changed or freed afterwards.
 *
 * @retval PQ_ERR_UNSUPPORTED  Unknown engine, or a layer it cannot run (named).
 * @retval PQ_ERR_SHAPE        As pq_graph_check.
 */
pq_status pq_plan_create(const pq_graph *graph, const pq_plan_options *options,
                         pq_plan **out, pq_err *err);
void      pq_plan_free(pq_plan **plan);

/**
 * As pq_plan_create, in little memory: the plan has the graph's own weights, so that the
 * graph must outlive it and keep them as they are, and engine "float32" packs those of
 * a graph of 64 MB or more at each run, not ahead. Runs give the same values;
 * they pay from some tens of samples on.
 */
pq_status pq_plan_create_lean(const pq_graph *graph, const pq_plan_options *options,
                              pq_plan **out, pq_err *err);

/** Another plan over the same packed weights with memory of its own, for another thread.
 * The first must outlive it. */
pq_status pq_plan_fork(const pq_plan *plan, pq_plan **out, pq_err *err);

/**
 * Runs n samples. Deterministic: a sample's output depends on the sample, the
 * engine and the instruction set only, not on n, its place or the batch.
 *
 * @param[in]  in   one pointer per graph input, each float32 [n, shape], in the order of
 * the input nodes
 * @param[in]  n    1 .. batch
 * @param[out] out  float32 [n, output shape]
 */
pq_status pq_plan_run(pq_plan *plan, size_t n, const float *const *in, float *out,
                      pq_err *err);

/**
 * As pq_plan_run, the threads of a pool together on each layer that is large enough: for
 * less samples than threads. The same values.
 *
 * @param[in]  plans  [threads of the pool] one for each: the first, and forks of it
 * @param[in]  pool   whose threads, or NULL: the caller's alone
 * @param[in]  n      as pq_plan_run
 * @param[in]  in     as pq_plan_run
 * @param[out] out    as pq_plan_run
 * @param[out] err    as pq_plan_run
 */
pq_status pq_plan_run_together(pq_plan *const *plans, pq_pool *pool, size_t n,
                               const float *const *in, float *out, pq_err *err);

/** Called after each node of the graph, in their order, inputs included, with its float32
 * output [n, shape]. */
typedef void (*pq_observer)(void *context, size_t node, size_t n, const float *values);

/**
 * Sets or clears (NULL) the observer; while one is set nothing is fused, so that every
 * node shows its value (quantized where it has a quantizer), and runs are slower. Node
 * indices are those of the graph given to create.
 */
void pq_plan_observe(pq_plan *plan, pq_observer observer, void *context);

/** Bytes of activation memory, and of the packed weights; of generated C none (its stack)
 * and those of the object file. */
size_t pq_plan_activation_bytes(const pq_plan *plan);
size_t pq_plan_weight_bytes(const pq_plan *plan);

/** In what pq_plan_kernels adds where an interpreter runs in place of the engine: "no
 * compiler 'cc' for generated C, so engine int8 runs: …". */
#define PQ_PLAN_INSTEAD ", so engine "

/** Adds the kernels that were chosen, and how often: "10 x brgconv:avx512_core_vnni,
 * native; 4 x sums and means of bytes". Kernels of 8-bit codes say "native" or
 * "emulated": whether the processor multiplies bytes. */
void pq_plan_kernels(const pq_plan *plan, pq_text *out);

/**
 * The engines that compute a checked network as it is defined and are made to be fast:
 * "float32", and "int8" where that computes any layer in whole numbers. Which of two is
 * faster is for a clock to tell: a small layer costs more to start than to compute.
 *
 * @param[out] engines  [PQ_FAST_ENGINES] names; the first is "float32"
 * @retval others       As pq_plan_create.
 */
pq_status pq_plan_engines(const pq_graph *graph, const char **engines, size_t *n,
                          pq_err *err);

/** Adds what results of an engine depend on beside model and inputs, "int8 avx512, bytes,
 * oneDNN 2.6.3 avx512_core_bf16"; of "auto" that of both fast ones; nothing for an
 * engine that gives the same on every machine. */
void pq_engine_describe(const char *engine, pq_text *out);

/** Most samples of a run. */
size_t pq_plan_batch(const pq_plan *plan);

/** Inputs of the graph, and the shape of one sample of input i, in the order of the input
 * nodes. */
size_t   pq_plan_inputs(const pq_plan *plan);
pq_shape pq_plan_input_shape(const pq_plan *plan, size_t i);

/** Shape of the output of one sample. */
pq_shape pq_plan_output_shape(const pq_plan *plan);

#endif
