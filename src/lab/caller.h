/**
 * @file
 * A model ready to be timed call by call: on threads of an engine, or, where that is
 * generated C in one thread, as the compiled function itself, with nothing in between.
 */
#ifndef PQ_LAB_CALLER_H
#define PQ_LAB_CALLER_H

#include "codegen/loaded.h"
#include "exec/crew.h"
#include "metrics/latency.h"

/** Name of the engine whose function is called itself. */
extern const char pq_generated[];

/** A model and what it is called with. {0} is none. */
typedef struct {
    pq_crew     *crew; /**< owned; NULL where only the function is there */
    pq_loaded    code; /**< owned; {0} where the crew is called */
    float       *out;  /**< owned: [batch, width] */
    size_t       batch;
    size_t       item;     /**< floats of an event */
    const float *in;       /**< [n_inputs, batch, item], borrowed: set by the caller */
    size_t       n_inputs; /**< distinct inputs to go round, >= 1; set by the caller */
} pq_caller;

/** How a model is called. */
typedef struct {
    const char *engine;  /**< NULL = "float32" */
    size_t      batch;   /**< events of a call, >= 1 */
    size_t      threads; /**< >= 1; generated C runs as a function in one */
    bool raw; /**< generated C takes features as measured, scaler and all, and there
                 is nothing in its place where no compiler is */
} pq_caller_options;

/**
 * Plans, or compiles and loads. Where generated C is asked for and there is no compiler,
 * the crew runs another engine, as pq_plan_kernels tells.
 *
 * @param[in]  graph  one input; checked
 * @param[out] out    caller frees with pq_caller_close, also after a failure
 * @retval PQ_ERR_UNSUPPORTED  Several inputs, or as pq_plan_create.
 * @retval PQ_ERR_SHAPE        Events or outputs are too large.
 * @retval others              As pq_crew_create and pq_loaded_open.
 */
pq_status pq_caller_open(const pq_graph *graph, const pq_caller_options *options,
                         pq_caller *out, pq_err *err);
void      pq_caller_close(pq_caller *c);

/** Calls it on the first input, so that what fails does so now. */
pq_status pq_caller_try(pq_caller *c, pq_err *err);

/** As a variant of pq_latency_measure, which borrows the caller. */
pq_variant pq_caller_variant(pq_caller *c);

/** Bytes of machine code and constants of the compiled function, as the loader maps them
 * (segments that nothing writes to); 0 where there is none. */
size_t pq_caller_code_bytes(const pq_caller *c);

#endif
