/**
 * @file
 * `--shard` of the command line.
 */
#ifndef PQ_CLI_SHARD_H
#define PQ_CLI_SHARD_H

#include "cli/verb.h"
#include "sweep/run.h"

/** Reads `--shard`; leaves {0} where it is not given.
 * @retval PQ_ERR_CONFIG  Neither I/N nor what mpirun or srun has set. */
pq_status pq_args_shard(const pq_args *args, pq_shard *shard, pq_err *err);

/** Tells how a shard has ended. */
void pq_print_shard(const pq_sweep_summary *s, pq_shard shard);

#endif
