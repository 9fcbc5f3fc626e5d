/**
 * @file
 * What a site wants from its jobs (`--profile FILE.yaml`): kept apart from the
 * configuration, which stays the same wherever it runs, and part of no key.
 */
#ifndef PQ_SWEEP_SITE_H
#define PQ_SWEEP_SITE_H

#include "core/param.h"

/** Owns its texts. */
typedef struct {
    int64_t shards;       /**< jobs; PQ_UNSET = one a cell, at most 50 */
    int64_t at_once;      /**< jobs at once, PQ_UNSET = no limit */
    int64_t cores;        /**< of a job */
    double  memory_bytes; /**< of a job */
    double  time_s;       /**< of a job */
    int64_t retries;      /**< of a job that failed */
    char   *partition;    /**< Slurm; NULL = the site's */
    char   *account;      /**< Slurm's account, HTCondor's accounting group, or NULL */
    char   *flavour;      /**< HTCondor's JobFlavour, or NULL */
    char   *setup;        /**< shell commands before pquant, or NULL */
    char   *data_prefix;  /**< folder of inputs on the nodes, or NULL */
    char   *program;      /**< pquant on the nodes; NULL = the one that is running */
    char   *image;        /**< container of REANA */
    char   *backend;      /**< compute backend of REANA */
} pq_site;

/** Its keys, for help; ends with a zeroed row. */
extern const pq_param pq_site_params[];

/**
 * Reads a profile; every key has a default.
 * @param[in]  path  or NULL = all defaults
 * @param[out] out   caller frees with pq_site_free
 * @retval PQ_ERR_CONFIG  Anything wrong, with its place.
 */
pq_status pq_site_read(const char *path, pq_site *out, pq_err *err);
void      pq_site_free(pq_site *site);

#endif
