/**
 * @file
 * Instructions of a call, counted by valgrind: the same on every host, and however busy
 * it is, where a clock is neither. For cli only.
 */
#ifndef PQ_CLI_INSTRUCTIONS_H
#define PQ_CLI_INSTRUCTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/** A model as `pquant latency` takes it. Borrows. */
typedef struct {
    const char *model, *arch, *output, *engine; /**< arch and output may be NULL */
    size_t      batch;
    bool        logits;
    size_t      calls; /**< that are counted, 10 .. 4000 */
} pq_counted;

/**
 * Runs `pquant latency --calls` of this program twice under valgrind's cachegrind,
 * without its simulation of caches, and takes the difference. What instructions depend on
 * beside the model is pinned: kernels by PQUANT_ISA (avx2, or portable where that is set:
 * valgrind knows no AVX-512), OpenBLAS's core, and what glibc chooses by processor and
 * caches (GLIBC_TUNABLES).
 *
 * @param[out] out  instructions a call
 * @retval PQ_ERR_UNSUPPORTED  valgrind is not installed.
 * @retval PQ_ERR_IO           It failed, with the first line that the program said.
 */
pq_status pq_count_instructions(const pq_counted *what, double *out, pq_err *err);

#endif
