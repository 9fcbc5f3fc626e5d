/**
 * @file
 * The files of generated C in their folder. For codegen/ only.
 */
#ifndef PQ_CODEGEN_FILES_H
#define PQ_CODEGEN_FILES_H

#include "core/text.h"

/**
 * Writes them into a folder, which is made. What lies there under their names is written
 * over only where it was written for the same name before.
 * @param[in] endings  [n] what stands behind the name; ".txt": CMakeLists.txt
 * @param[in] text     [n]
 * @retval PQ_ERR_CONFIG  Something else lies there; nothing is written.
 */
pq_status pq_files_write(const char *name, const char *folder, size_t n,
                         const char *const *endings, const pq_text *text, pq_err *err);

#endif
