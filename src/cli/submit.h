/**
 * @file
 * Scripts that hand jobs to the engine of a site.
 */
#ifndef PQ_CLI_SUBMIT_H
#define PQ_CLI_SUBMIT_H

#include "core/err.h"

/**
 * Runs `bash FOLDER/NAME` and waits for its end.
 * @param[in] folder  where it lies
 * @param[in] name    "submit.sh"
 * @param[in] needs   what the machine must have for it: "condor_submit"
 * @param[out] err    details of a failure, or NULL
 * @retval PQ_ERR_IO  It cannot be started, or did not end with 0.
 */
pq_status pq_submit(const char *folder, const char *name, const char *needs, pq_err *err);

#endif
