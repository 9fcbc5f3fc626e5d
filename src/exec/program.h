/**
 * @file
 * A graph turned into operations in their order, with the place of every value
 * in memory. Immutable once made: plans on several threads share one.
 */
#ifndef PQ_EXEC_PROGRAM_H
#define PQ_EXEC_PROGRAM_H

#include "exec/engine.h"

/** Where the memory of a value is. */
typedef enum {
    PQ_AT_BLOCK,  /**< in the plan's block */
    PQ_AT_INPUT,  /**< the caller's array */
    PQ_AT_OUTPUT, /**< the caller's array */
} pq_at;

/** Value of a node. Flatten and the like have the storage of their input. */
typedef struct {
    size_t root;  /**< node whose storage this is */
    size_t count; /**< items of one sample */
    pq_at  at;
    size_t offset; /**< bytes in the block, or the ordinal of the input; of roots */
} pq_slot;

/** An operation in its place. */
typedef struct {
    pq_op *op; /**< owned */
    size_t last;
    size_t n_in;
    size_t in[PQ_STEP_INPUTS]; /**< nodes */
    size_t scratch;            /**< offset in the block, bytes */
} pq_task;

typedef struct {
    const pq_engine *engine;
    const pq_graph  *graph; /**< borrowed, checked */
    size_t           batch; /**< most samples of a run */
    size_t           tile;  /**< samples that go through all tasks together */
    size_t           n_inputs;
    size_t          *inputs; /**< [n_inputs] nodes */
    size_t           n_tasks;
    pq_task         *tasks; /**< [n_tasks] */
    pq_slot         *slots; /**< [graph->n_nodes] */
    size_t           block_bytes;
    size_t           weight_bytes;
} pq_program;

typedef struct {
    size_t batch;
    bool whole; /**< no fusing and no tiles: every node's value is there after its task */
    bool lean;  /**< operations may keep to the graph's weights and pack large ones at
                   each run, of the whole batch */
} pq_program_options;

pq_status pq_program_create(const pq_graph *graph, const pq_engine *engine,
                            pq_program_options options, pq_program **out, pq_err *err);
void      pq_program_free(pq_program **program);

#endif
