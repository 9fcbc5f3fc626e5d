/**
 * @file
 * For fuzz targets: bytes as files that are never on disk.
 */
#ifndef PQ_TESTS_FUZZ_H
#define PQ_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/** Puts bytes into a memory file of a name, at most one folder deep, in a folder of this
 * process, in place of what it held; its path, valid until the next call. */
const char *pq_fuzz_put(const char *name, const uint8_t *bytes, size_t n);

#endif
