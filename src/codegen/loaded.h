/**
 * @file
 * A model as generated C, compiled by the system's compiler and loaded.
 */
#ifndef PQ_CODEGEN_LOADED_H
#define PQ_CODEGEN_LOADED_H

#include "codegen/verify.h"

/** A loaded model. {0} is none. */
typedef struct {
    void       *object; /**< of the dynamic linker; owned */
    pq_run_one  one;    /**< both may run on several threads */
    pq_run_many run;
    char        isa[16];      /**< variant that runs here */
    bool        whole;        /**< in whole numbers */
    size_t      object_bytes; /**< code and weights of all variants */
    bool        cached;       /**< compiled at an earlier time */
} pq_loaded;

/**
 * Generates, compiles (with $CC, or cc) and loads a checked graph, and compares it with
 * the engine `integer` (bit by bit) or `reference` (1e-5 of the largest output) on drawn
 * events. What was compiled before for the same source, compiler and processor is taken
 * from a folder of the user's own (codegen/objects.h). PQUANT_ISA caps the variant.
 *
 * @param[out] out  caller frees with pq_loaded_close
 *
 * @retval PQ_ERR_UNSUPPORTED  As pq_codegen_write, or there is no compiler.
 * @retval PQ_ERR_IO           The compiler failed, with what it said, or the folder for
 *                             temporary files cannot be written.
 * @retval PQ_ERR_ACCESS       The folder of earlier objects is open to others.
 * @retval PQ_ERR_NUMERIC      It does not give what the engine gives.
 */
pq_status pq_loaded_open(const pq_graph *graph, pq_loaded *out, pq_err *err);
void      pq_loaded_close(pq_loaded *l);

/** Drives the code and constants of a loaded model out of all caches; nothing where the
 * processor has no instruction for it. */
void pq_loaded_flush(const pq_loaded *l);

#endif
