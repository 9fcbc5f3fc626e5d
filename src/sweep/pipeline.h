/**
 * @file
 * `pipelines:` with its grids, expanded into cases.
 */
#ifndef PQ_SWEEP_PIPELINE_H
#define PQ_SWEEP_PIPELINE_H

#include "sweep/config.h"
#include "sweep/problems.h"

enum { PQ_CASES_MAX = 100000 /**< cases of all pipelines, before exclusion */ };

/** Reads `pipelines:` into config->pipelines; what is wrong goes to the problems. */
pq_status pq_read_pipelines(pq_problems *p, const pq_yaml *node, pq_config *config,
                            pq_err *err);

void pq_pipelines_free(pq_config *config);

/** One value of an axis: the tree that stands for `$name`. */
typedef struct {
    const char    *name;
    const pq_yaml *value;
} pq_substitute;

/** Puts values in place of every `$name` in a tree. @retval PQ_ERR_NOMEM  Out of memory.
 */
pq_status pq_substitute_names(pq_yaml *tree, size_t n, const pq_substitute *values,
                              pq_err *err);

/** Reads one stage, "- svd: {rank: 8}" or "- svd"; `out` is zeroed when a problem was
 * noted. */
pq_status pq_read_stage(pq_problems *p, const pq_yaml *node, const char *what,
                        pq_stage *out, pq_err *err);

#endif
