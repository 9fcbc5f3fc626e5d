/**
 * @file
 * A model as C source that needs neither pquant nor a run-time library: `NAME.c`,
 * `NAME.h`, and `NAME_test.c`, which runs stored inputs through it.
 *
 * The functions allocate nothing, write to nothing but their output and their stack, and
 * may run on any number of threads at once. Sums are float32 in an order of their own, so
 * that outputs are within 1e-5 of `reference`, not bit by bit the same.
 */
#ifndef PQ_CODEGEN_CODEGEN_H
#define PQ_CODEGEN_CODEGEN_H

#include "core/text.h"
#include "graph/graph.h"

enum {
    PQ_CODEGEN_NAME    = 48,       /**< most characters of a name */
    PQ_CODEGEN_WEIGHTS = 16 << 20, /**< most numbers in tables: the source has ten bytes
                                      for each */
    PQ_CODEGEN_STACK = 2 << 20, /**< most bytes of stack: threads may have no more than 8
                                   MiB */
};

/** Highest instruction set that the source has a variant for: the one that the processor
 * has is chosen when it runs, and the portable one is always there. */
typedef enum {
    PQ_CODEGEN_PORTABLE,
    PQ_CODEGEN_AVX2,
    PQ_CODEGEN_AVXVNNI, /**< of bytes; floats have no variant for it */
    PQ_CODEGEN_AVX512,  /**< of bytes: with VNNI */
    PQ_CODEGEN_AMX      /**< of convolutions of bytes; others have no variant for it */
} pq_codegen_isa;

/** Names of pq_codegen_isa, NULL-terminated. */
extern const char *const pq_codegen_isas[];

/** What was written. */
typedef struct {
    size_t weights;      /**< numbers in tables, those of skipped blocks left out */
    size_t skipped;      /**< blocks of 16 weights that are all zero */
    size_t stack_bytes;  /**< of one call */
    size_t source_bytes; /**< of NAME.c */
    bool   whole;        /**< in whole numbers */
    bool   exact;        /**< the answers are those of the engine bit by bit */
} pq_codegen_summary;

/** Whether a text can be the name of the files and functions: a C identifier of at most
 * PQ_CODEGEN_NAME letters, digits and underscores that C and the standard leave free.
 * @retval PQ_ERR_CONFIG  It cannot, with the reason. */
pq_status pq_codegen_check_name(const char *name, pq_err *err);

/**
 * Writes the files into a folder, which is made.
 *
 * The generated function takes one event, features as the model names them; a scaler of
 * the model is part of it.
 *
 * @param[in] graph  checked; one input
 * @retval PQ_ERR_UNSUPPORTED  A layer or quantizer that has no generated form (named), or
 *                             several inputs; nothing is written.
 * @retval PQ_ERR_CONFIG       A file is there that was not written for this name.
 * @retval PQ_ERR_RANGE        Beyond PQ_CODEGEN_WEIGHTS or PQ_CODEGEN_STACK.
 */
pq_status pq_codegen_write(const pq_graph *graph, const char *name, pq_codegen_isa isa,
                           const char *folder, pq_codegen_summary *out, pq_err *err);

/**
 * Writes a model in fixed point as C++ for high-level synthesis: NAME.h, NAME.cpp, and
 * NAME_test.cpp with stored inputs and what the engine `integer` gave. Types are those of
 * ap_fixed.h, or with PQUANT_AC_TYPES of ac_fixed.h.
 *
 * Sums, functions and means are held exactly, and rounded where the model has a grid: the
 * numbers are those of `integer`, bit by bit. Features come scaled.
 *
 * @param[in]  graph  checked; one input
 * @param[out] out    numbers in tables, bytes of NAME.cpp
 * @retval PQ_ERR_UNSUPPORTED  A layer that has no exact form in fixed point (named), or
 *                             several inputs; nothing is written.
 * @retval others              As pq_codegen_write.
 */
pq_status pq_codegen_hls(const pq_graph *graph, const char *name, const char *folder,
                         pq_codegen_summary *out, pq_err *err);

/**
 * The texts of NAME.h and NAME.c with one variant, the best of this processor: a third of
 * the time to compile.
 * @param[in]  name    checked
 * @param[in]  most    no higher set than this
 * @param[out] header  empty before
 * @param[out] source  the same
 * @retval others      As pq_codegen_write.
 */
pq_status pq_codegen_here(const pq_graph *graph, const char *name, pq_codegen_isa most,
                          pq_text *header, pq_text *source, pq_codegen_summary *out,
                          pq_err *err);

#endif
