/**
 * @file
 * Shared by the files of the HDF5 wrapper; nobody else includes it.
 */
#ifndef PQ_IO_HDF5_INSIDE_H
#define PQ_IO_HDF5_INSIDE_H

#include <hdf5.h>

#include "io/hdf5.h"

enum { PQ_H5_KEPT = 16 /**< datasets kept open, so that their chunk caches live on */ };

struct pq_h5 {
    char *path;
    char *temporary; /**< NULL when opened for reading */
    hid_t id;
    struct {
        char *path;
        hid_t id;
    } kept[PQ_H5_KEPT];
    size_t next;     /**< place in kept to be replaced next */
    bool   has_lost; /**< a kept dataset could not be written whole */
};

/** Takes and gives back the lock; every public call does, calls may nest. */
void pq_h5_enter(void);
void pq_h5_leave(void);

/** Closes an identifier of any kind if it is one. False: what it held could not be
 * written, for a dataset its last chunks. */
bool pq_h5_drop(hid_t id);

/** Why libhdf5 failed: PQ_ERR_NOMEM if memory ran out inside it, else what is given. */
pq_status pq_h5_status(pq_status otherwise);

/** Innermost reason on libhdf5's error stack, or "unknown reason". */
const char *pq_h5_reason(char *buffer, size_t size);

/** Walks the links of a path one by one: only hard ones lead on. */
pq_status pq_h5_check_links(const pq_h5 *file, const char *path, pq_err *err);

/** Opened dataset, checked; belongs to the file's `kept`. */
pq_status pq_h5_dataset(pq_h5 *file, const char *path, hid_t *out, pq_err *err);

/** Opened group or dataset; caller drops it. */
pq_status pq_h5_object(pq_h5 *file, const char *path, hid_t *out, pq_err *err);

/** Memory type of a dtype; caller drops it. @retval PQ_ERR_UNSUPPORTED  bfloat16. */
pq_status pq_h5_memory_type(pq_dtype dtype, hid_t *out, pq_err *err);

/** Dimensions of a dataspace. @retval PQ_ERR_FORMAT  More than PQ_MAX_DIMS. */
pq_status pq_h5_shape(const pq_h5 *file, const char *path, hid_t space, pq_shape *out,
                      pq_err *err);

/** Where texts are read from. */
typedef struct {
    const char *path; /**< for messages */
    hid_t       id;
    bool        is_attr;
} pq_h5_source;

/** Texts of an attribute or a dataset. */
pq_status pq_h5_texts(const pq_h5 *file, pq_h5_source source, char ***out, size_t *n,
                      pq_err *err);

#endif
