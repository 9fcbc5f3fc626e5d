/**
 * @file
 * Public sets: what they are (manifests, datasets/sets/NAME.yaml), where they lie
 * on this computer, and how to get them (libcurl).
 *
 * A manifest:
 *
 *     name: cifar-10
 *     title: CIFAR-10, binary version
 *     layout: cifar                  # none = not read in place
 *     path: cifar-10-batches-bin     # opened, inside the set's folder; default: that
 *     places: [/usr/share/…]         # where a package puts it; relative to the manifest
 *     sha256: …                      # of the file at its place
 *     classes: [airplane, …]         # names of labels that are numbers in the files
 *     licence: …
 *     source: …
 *     note: …
 *     files:
 *       - url: https://…/cifar-10-binary.tar.gz
 *         bytes: 170052171           # or unknown: then at most 16 GB
 *         sha256: …                  # or md5, adler32; or checksum: unknown
 *         unpack: true               # a tar, plain or gzip
 */
#ifndef PQ_DATA_FETCH_H
#define PQ_DATA_FETCH_H

#include "core/progress.h"
#include "data/dataset.h"

/** One file of a set; owns its texts. */
typedef struct {
    char    *url;
    char    *name;  /**< in the set's folder: last part of the URL unless given as `as` */
    uint64_t bytes; /**< 0 = unknown */
    char
        *checksum; /**< "sha256:…", "md5:…", "adler32:…", lower case, or NULL = unknown */
    bool unpack;
} pq_set_file;

/** A public set; owns everything; {0} is empty. */
typedef struct {
    char        *name, *title, *layout, *licence, *source;
    char        *note;     /**< or NULL */
    char        *checksum; /**< of the file at its place, as below, or NULL */
    char        *path;     /**< inside the set's folder, "" = the folder */
    char       **places;   /**< [n_places] */
    size_t       n_places;
    char       **classes; /**< [n_classes] */
    size_t       n_classes;
    pq_set_file *files; /**< [n_files] */
    size_t       n_files;
    bool local; /**< file URLs are followed; false after reading: the caller's to say */
} pq_set;

/** Most bytes of a download whose manifest does not say them. */
#define PQ_FETCH_UNKNOWN_MAX ((uint64_t)16000000000)

/** Reads a manifest. @retval PQ_ERR_CONFIG  With file:line:column. */
pq_status pq_set_read(const char *manifest, pq_set *out, pq_err *err);
void      pq_set_free(pq_set *set);

/** All sets of a folder of manifests, by name; caller frees each with pq_set_free and the
 * array with pq_free. */
pq_status pq_sets_read(const char *folder, pq_set **out, size_t *n, pq_err *err);

/** The set of a name. @retval PQ_ERR_NOT_FOUND  With "did you mean". */
pq_status pq_set_find(const char *folder, const char *name, pq_set *out, pq_err *err);

/** $PQUANT_DATA_DIR, else $XDG_CACHE_HOME/pquant/data, else ~/.cache/pquant/data; caller
 * frees with pq_free. */
pq_status pq_data_home(char **out, pq_err *err);

/**
 * Where a set lies, complete: one of its places, or its folder under pq_data_home.
 * @retval PQ_ERR_NOT_FOUND  It is not here; the hint says how to get it.
 */
pq_status pq_set_where(const pq_set *set, char **path, pq_err *err);

/**
 * What a name or path of events means: a path that is there, or else, for a bare name, a
 * set: one with a manifest, complete, or any folder of that name under pq_data_home or
 * where Debian puts sets.
 *
 * @param[out] set   its manifest, or {0} for a plain path; caller frees with pq_set_free
 * @param[out] path  caller frees with pq_free
 * @retval PQ_ERR_NOT_FOUND  Nowhere; the hint says how to get a set that is known.
 */
pq_status pq_data_resolve(const char *name, pq_set *set, char **path, pq_err *err);

/**
 * Gets what is missing of a set into its folder under pq_data_home. A download that
 * broke off is resumed; size and checksum are checked before a file gets its name;
 * archives are unpacked. A file put there by hand is checked and unpacked too. Two at a
 * time: the second waits. http and https URLs, and file URLs where `set->local`.
 *
 * @param[out] path   what to open, as pq_set_where
 * @param[out] notes  one line for each file that the manifest has no checksum of, with
 * its SHA-256; or NULL
 * @retval PQ_ERR_IO      No network, a server's refusal, a broken-off download (run
 * again), a full disk.
 * @retval PQ_ERR_CONFIG  A file URL where they are not followed.
 * @retval PQ_ERR_FORMAT  Size or checksum differ from the manifest: a download is not
 * kept, a file put there by hand is left alone.
 */
pq_status pq_set_fetch(const pq_set *set, const pq_progress *progress, char **path,
                       pq_text *notes, pq_err *err);

#endif
