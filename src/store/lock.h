/**
 * @file
 * One at a time in a results folder: while a plan is written, and while tables, plots and
 * page are made of it. Cells need no lock: their records are whole files by key.
 *
 * `flock` on `<dir>/.lock`. It ends with its process, however that ends, so nothing is
 * left to clear away. On NFS Linux makes of it a byte-range lock at the server
 * (since 2.6.12), which holds between hosts. Where a file system has no locks (ENOLCK,
 * EOPNOTSUPP) work goes on without: every file is still whole, but table and plots may be
 * of two runs that ended at once.
 */
#ifndef PQ_STORE_LOCK_H
#define PQ_STORE_LOCK_H

#include "core/err.h"

/**
 * Waits, up to ten minutes, until no other process has the folder.
 *
 * @param[out] lock  for pq_results_unlock; -1 where there are no locks
 * @retval PQ_ERR_IO  Another process has kept it all that time.
 */
pq_status pq_results_lock(const char *dir, int *lock, pq_err *err);

/** Gives it back and sets -1; harmless on -1. */
void pq_results_unlock(int *lock);

#endif
