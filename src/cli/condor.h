/**
 * @file
 * Jobs of HTCondor behind a results folder, for `status` and `rerun`.
 */
#ifndef PQ_CLI_CONDOR_H
#define PQ_CLI_CONDOR_H

#include "sweep/condor_log.h"

/** Names of states, "waiting". */
extern const char *const pq_condor_words[PQ_CONDOR_STATES];

/** Reads DIR/batch/condor.log where it is there. */
pq_status pq_condor_of(const char *dir, pq_condor_log *out, bool *there, pq_err *err);

size_t pq_condor_count(const pq_condor_log *log, pq_condor_state state);

/** Prints how many jobs stand how, and which are held and why. */
void pq_condor_print(const char *dir, const pq_condor_log *log);

#endif
