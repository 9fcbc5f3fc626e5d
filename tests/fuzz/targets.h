/** @file Reading functions of the table in targets.c. */
#ifndef PQ_TESTS_FUZZ_TARGETS_H
#define PQ_TESTS_FUZZ_TARGETS_H

#include "fuzz.h"

typedef pq_status fuzz_reader(const fuzz_input *in, pq_err *err);

fuzz_reader fuzz_model, fuzz_torch, fuzz_events, fuzz_hdf5, fuzz_hdf5_bytes,
    fuzz_hdf5_told, fuzz_yaml, fuzz_config, fuzz_condor, fuzz_set, fuzz_archive,
    fuzz_results, fuzz_index, fuzz_cache, fuzz_checkpoint, fuzz_zip, fuzz_state;

/** Write what a training and a cache of factorisations keep, for seeds. */
pq_status fuzz_make_checkpoint(const fuzz_input *in, const char *path, pq_err *err);
pq_status fuzz_make_entry(const char *folder, pq_err *err);

/** Writes into a folder what the program itself writes: models of each kind of layer,
 * each scheme and each method, a checkpoint, a kept factorisation. */
pq_status fuzz_make_files(const char *folder, pq_err *err);

/** Ends the process: what has just been read is not what must be. */
_Noreturn void fuzz_broken(const char *what, const pq_err *err);

#endif
