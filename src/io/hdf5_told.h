/**
 * @file
 * What the child that has a file of HDF5 open told of it: all objects with their links,
 * attributes and the values of small arrays. It is checked as a file's bytes would be.
 * For the HDF5 wrapper alone.
 */
#ifndef PQ_IO_HDF5_TOLD_H
#define PQ_IO_HDF5_TOLD_H

#include "io/hdf5_inside.h"
#include "io/hdf5_wire.h"

/** A member of a group. Texts of what was told point into it. */
typedef struct {
    const char *name;
    size_t      target; /**< index + 1 of an object; 0: a link that is not followed */
} pq_h5_told_link;

/** An attribute. */
typedef struct {
    const char *name;
    pq_h5_class kind; /**< TEXT, FLOAT; OTHER: why it cannot be read */
    size_t      n;
    const char *bytes; /**< of texts one after the other, of numbers, of an error */
    size_t      size;
} pq_h5_told_attr;

/** A group or a dataset. */
typedef struct {
    pq_h5_info       info;
    pq_status        st; /**< why it cannot be described or listed */
    const char      *message, *hint;
    const char      *values; /**< of a small array, in `dtype`, else NULL */
    pq_dtype         dtype;
    pq_h5_told_link *links; /**< of a group, sorted by name */
    size_t           n_links;
    pq_h5_told_attr *attrs;
    size_t           n_attrs;
} pq_h5_told_object;

/** All of a file; {0} is nothing. */
typedef struct {
    char              *bytes;   /**< as they came; owned */
    pq_h5_room         room;    /**< with the values; owned */
    size_t             used;    /**< of it */
    pq_h5_told_object *objects; /**< [n], the root first; owned */
    size_t             n;
    bool               whole; /**< no values but those are left to be asked for */
} pq_h5_told;

/** Makes the room for a file's values, before its child is started. */
pq_status pq_h5_told_expect(pq_h5_told *t, size_t file_bytes, pq_err *err);

/** Takes apart n bytes in t->bytes, and the values in t->room. `path` of the file is for
 * messages.
 * @retval PQ_ERR_FORMAT  They are not what a child tells. */
pq_status pq_h5_told_take(pq_h5_told *t, size_t n, const char *path, pq_err *err);
void      pq_h5_told_free(pq_h5_told *t); /**< frees and zeroes */

/** The object of a path; NULL with an error where hard links do not lead there. */
pq_h5_told_object *pq_h5_told_find(const pq_h5_told *t, const char *file,
                                   const char *path, pq_err *err);

/** An attribute by its name, or NULL. */
const pq_h5_told_attr *pq_h5_told_find_attr(const pq_h5_told_object *o, const char *name);

/** Gives a failure that the child had; its status. */
pq_status pq_h5_told_failure(pq_h5_cursor *from, pq_err *err);

/** A count of things that take `least` bytes each; 0 when bad. */
size_t pq_h5_take_count(pq_h5_cursor *from, size_t least);

/** n texts one after the other; caller frees with pq_h5_free_texts. */
pq_status pq_h5_take_texts(pq_h5_cursor *from, size_t n, char ***out, pq_err *err);

#endif
