/**
 * @file
 * The files around the generated statements. For codegen/ only.
 */
#ifndef PQ_CODEGEN_FRAME_H
#define PQ_CODEGEN_FRAME_H

#include "codegen/emit.h"

/** How the files begin, by which those of the same name are known again: "/" "* NAME.h:
 * made by pquant"; of CMakeLists.txt "# NAME: made by pquant". */
void pq_frame_mark(const char *name, const char *ending, pq_text *out);

/** The same as a whole comment: with our version, and the hash of the model. */
void pq_frame_origin(const char *name, const char *ending, const char *hash,
                     pq_text *out);

/** NAME.h: what callers see. */
void pq_frame_header(const pq_emitter *e, const char *hash, pq_text *out);

/** NAME.c: tables, the function, once for each instruction set, and the choice. */
void pq_frame_source(const pq_emitter *e, const char *hash, pq_text *out);

/** NAME_test.c: n events and what `reference` gives for them. */
void pq_frame_test(const pq_emitter *e, const char *hash, size_t n, const float *in,
                   const float *due, pq_text *out);

/** CMakeLists.txt: a static library of the name. */
void pq_frame_cmake(const pq_emitter *e, pq_text *out);

/** The pointers to the functions of the variant that runs, set once when the program or
 * library is loaded: one line for each variant, the best last; or the only one. */
void pq_choice_only(const pq_emitter *e, const char *name, pq_text *out);
void pq_choice_open(const pq_emitter *e, pq_text *out);
void pq_choice_add(const pq_emitter *e, const char *name, pq_text *out);
void pq_choice_close(pq_text *out);

#endif
