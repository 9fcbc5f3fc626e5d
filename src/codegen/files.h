/**
 * @file
 * The files of generated C in their folder. For codegen/ only.
 */
#ifndef PQ_CODEGEN_FILES_H
#define PQ_CODEGEN_FILES_H

#include "codegen/emit.h"
#include "core/text.h"

enum { PQ_CODEGEN_FILES = 4 /* NAME.h, NAME.c, NAME_test.c, CMakeLists.txt */ };

/**
 * Writes them into a folder, which is made. What lies there under their names is written
 * over only where it was written for the same name before.
 * @retval PQ_ERR_CONFIG  Something else lies there; nothing is written.
 */
pq_status pq_files_write(const pq_emitter *e, const char *folder,
                         const pq_text text[PQ_CODEGEN_FILES], pq_err *err);

#endif
