/**
 * @file
 * The system's C compiler: $CC, words apart by blanks, or cc. For codegen/ only.
 */
#ifndef PQ_CODEGEN_COMPILER_H
#define PQ_CODEGEN_COMPILER_H

#include "core/text.h"

/** What it is told, beside the names of files. */
#define PQ_COMPILER_OPTIONS "-O2", "-shared", "-fPIC"

/** As it was asked for, for messages. */
const char *pq_compiler_name(void);

/**
 * What tells one compiler from another: its words, and place, size and time of the
 * programs among them.
 * @param[out] out  caller frees with pq_free; NULL where there is none
 */
pq_status pq_compiler_identity(char **out, pq_err *err);

/**
 * Compiles one file of C into a shared object.
 * @param[in] said  file for what the compiler says; it stays
 * @retval PQ_ERR_UNSUPPORTED  It cannot be started.
 * @retval PQ_ERR_IO           It failed, with the first line of what it said.
 */
pq_status pq_compiler_run(const char *source, const char *object, const char *said,
                          pq_err *err);

#endif
