/**
 * @file
 * A model as generated C, compiled by the system's compiler and loaded.
 */
#ifndef PQ_CODEGEN_LOADED_H
#define PQ_CODEGEN_LOADED_H

#include "graph/graph.h"

/** A loaded model. {0} is none. */
typedef struct {
    void *object; /**< of the dynamic linker; owned */
    /** n events, raw features, to n results; as NAME_runN. */
    void (*run)(const float *x, float *y, size_t n);
    char isa[16]; /**< variant that runs here */
} pq_loaded;

/**
 * Generates, compiles (with $CC, or cc) and loads a checked graph. What it writes lies in
 * a folder of its own below $TMPDIR, or /tmp, and is gone afterwards.
 *
 * @param[out] out  caller frees with pq_loaded_close
 *
 * @retval PQ_ERR_UNSUPPORTED  As pq_codegen_write, or there is no compiler.
 * @retval PQ_ERR_IO           The compiler failed, with what it said, or the folder
 *                             cannot be written.
 */
pq_status pq_loaded_open(const pq_graph *graph, pq_loaded *out, pq_err *err);
void      pq_loaded_close(pq_loaded *l);

#endif
