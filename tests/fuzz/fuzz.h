/**
 * @file
 * Fuzz targets: one for each way in which bytes of somebody else are read.
 *
 * An input is a bundle: records, each a mark, a kind, fields between tabs, a line feed
 * and a body up to the next mark. Together they are a folder of files, HDF5 files among
 * them, which the HDF5 library writes anew from their records, so that every input is one
 * that it opens, and what is in it is what is mutated:
 *
 *   "\n@@ O\tkey\tvalue\n"                               an option of the target
 *   "\n@@ F\tname\n" bytes                               a file
 *   "\n@@ H\tname\tlatest\n"                             an HDF5 file ("earliest": its
 * first format); what follows is in it
 *   "\n@@ G\tpath\n"                                     a group
 *   "\n@@ D\tpath\ttype\tdims\tchunks\tfilters\n" items  a dataset
 *   "\n@@ A\tpath\tname\ttype\tdims\n" items             an attribute
 *   "\n@@ L\tpath\tkind\ttarget\n"                       a link: hard, soft, external
 *
 * dims: "3x4", "." one value, "-" none; chunks: dims or "-"; filters: letters of g(zip),
 * s(huffle), f(letcher), u(nknown), l(zf: the items are its first chunk as stored), or
 * "-"; types: see hdf5_files.c. Items that are not given are 0, and of a dataset without
 * any nothing is stored. What makes no sense is left out: every sequence of bytes is a
 * bundle.
 */
#ifndef PQ_TESTS_FUZZ_H
#define PQ_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum { FUZZ_FIELDS = 5, FUZZ_FIELD = 1500, FUZZ_MARK = 4 };

/** "\n@@ " */
extern const char fuzz_mark[FUZZ_MARK + 1];

/** One record; points into the input. */
typedef struct {
    const uint8_t *start; /**< its mark */
    const uint8_t *body;
    size_t         n; /**< of the body */
    char           kind;
    size_t         n_fields;
    char           fields[FUZZ_FIELDS][FUZZ_FIELD]; /**< longer ones are cut */
} fuzz_record;

/** Reads the record that begins at the first mark from *at on, and moves *at to its end.
 */
bool fuzz_next(const uint8_t *bytes, size_t n, size_t *at, fuzz_record *out);

/** What a target reads. */
typedef struct {
    const char    *folder;
    const char    *first; /**< path of the first file */
    const uint8_t *bytes;
    size_t         n;
} fuzz_input;

/** Value of an option, into `out` [FUZZ_FIELD]; NULL where it is not given. */
const char *fuzz_option(const fuzz_input *in, const char *key, char *out);

/** Path of a file in the folder, whether it is there or not; into `out` [size]. */
const char *fuzz_path(const fuzz_input *in, const char *name, char *out, size_t size);

typedef struct {
    const char *name, *about;
    /** Reads the files as the program does; frees all. */
    pq_status (*read)(const fuzz_input *in, pq_err *err);
} fuzz_target;

/** All targets, NULL-terminated. */
extern const fuzz_target fuzz_targets[];

/** Writes the files of a bundle into a folder; path of the first into `first` [size]. */
void fuzz_unfold(const uint8_t *bytes, size_t n, const char *folder, char *first,
                 size_t size);

/** Writes an HDF5 file from the records after *at, up to the next file. */
void fuzz_write_hdf5(const char *path, bool latest, const uint8_t *bytes, size_t n,
                     size_t *at);

/** Changes a bundle in place: its structure, JSON in it, or bytes of one body; length. */
size_t fuzz_mutate(uint8_t *bytes, size_t n, size_t room, unsigned seed);

/** Changes a text of JSON: one value, key or item; NULL when it is none. Caller frees. */
char *fuzz_mutate_json(const char *text, size_t n, unsigned seed, size_t *n_out);

/** libFuzzer's own. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n, size_t room);

/** HDF5 files are read by a child process, as in the program, or in this one. */
void fuzz_use_child(bool yes);

/** Hashes are all "0…", so that checksums of ours hold whatever they are of. */
extern bool fuzz_blind_hashes;

/** What a child tells instead of reading its file, or NULL. */
extern const uint8_t *fuzz_told;
extern size_t         fuzz_n_told;

#endif
