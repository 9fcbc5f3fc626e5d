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

#endif
