/**
 * @file
 * For fuzz targets: bytes as a file that is never on disk.
 */
#ifndef PQ_TESTS_FUZZ_H
#define PQ_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/** Puts bytes into a memory file, in place of what it held; its path. `suffix` is the end
 * of the name, e.g. ".csv". */
const char *pq_fuzz_file(const uint8_t *bytes, size_t n, const char *suffix);

/** As pq_fuzz_file, for several files by name, at most one folder deep, in a folder of
 * this process; the path is valid until the next call. */
const char *pq_fuzz_put(const char *name, const uint8_t *bytes, size_t n);

#endif
