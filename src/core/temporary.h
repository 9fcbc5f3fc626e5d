/* Folders for files that only this process needs. */
#ifndef PQ_CORE_TEMPORARY_H
#define PQ_CORE_TEMPORARY_H

#include "core/err.h"

/** Makes an empty folder for files that only this process needs, in TMPDIR or else /tmp;
 * caller ends it with pq_folder_drop. */
pq_status pq_folder_temporary(char **out, pq_err *err);

/** Removes such a folder with the files in it, and frees and clears the path. NULL does
 * nothing. */
void pq_folder_drop(char **folder);

#endif
