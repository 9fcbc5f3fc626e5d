/**
 * @file
 * What `pquant doctor` finds out about the machine by trying.
 */
#ifndef PQ_CLI_DOCTOR_HOST_H
#define PQ_CLI_DOCTOR_HOST_H

#include <jansson.h>

#include "core/err.h"

/** Adds governor (or ""), counters (whether instructions can be counted), pinning, and
 * aa_noise: by how much the medians of the two halves of equal work, measured in turn,
 * differ at most in nine of ten trials. */
void pq_doctor_host(json_t *facts);

/**
 * Adds what sweeps need of a folder: folder_locks (flock between processes),
 * folder_links (symbolic links are made once), folder_sync_ms. Leaves nothing there.
 * @retval PQ_ERR_IO  The folder cannot be written.
 */
pq_status pq_doctor_folder(const char *dir, json_t *facts, pq_err *err);

#endif
