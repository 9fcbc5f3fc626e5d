/**
 * @file
 * The text of a configuration: the file, its includes, and what the command
 * line changes, as one tree.
 */
#ifndef PQ_SWEEP_SOURCE_H
#define PQ_SWEEP_SOURCE_H

#include "sweep/config.h"
#include "sweep/problems.h"

enum { PQ_INCLUDE_DEPTH = 16 };

/**
 * Reads a file and its includes, deep-merged: the file wins, lists replace.
 * @retval PQ_ERR_CONFIG  Not YAML, or an include that is missing, circular or no map.
 */
pq_status pq_source_read(const char *path, pq_yaml **out, pq_err *err);

/** Applies -S and -P; what is wrong goes to the problems. */
pq_status pq_source_change(pq_problems *p, const pq_config_changes *changes,
                           pq_yaml *tree, pq_err *err);

#endif
