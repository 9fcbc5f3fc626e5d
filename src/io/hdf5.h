/**
 * @file
 * HDF5 files: groups, arrays, compound columns and attributes, checked.
 *
 * Declared sizes are compared with what the file stores before anything is
 * allocated. Soft and external links, external and virtual datasets are
 * refused. A compression filter that libhdf5 lacks gives PQ_ERR_UNSUPPORTED
 * with its name and the way out. Every failure names file and dataset.
 *
 * A file that is read is opened by a child process, which reads it for this one: damage
 * that crashes libhdf5, keeps it from ending or lets it take memory without end is one
 * sentence here. It may cost 64 MB and 64 bytes of memory for each byte of the file, and
 * for each call two seconds and one for each megabyte. Files that are written are this
 * process's own.
 *
 * libhdf5 is not thread-safe: all calls here take one lock, so they may come
 * from any thread. Files are created under a temporary name and appear whole
 * with pq_h5_commit.
 */
#ifndef PQ_IO_HDF5_H
#define PQ_IO_HDF5_H

#include <stdbool.h>

#include "tensor/tensor.h"

/** An open file. */
typedef struct pq_h5 pq_h5;

/** What the items of a dataset are. */
typedef enum {
    PQ_H5_GROUP,
    PQ_H5_INTEGER, /**< also bool */
    PQ_H5_FLOAT,
    PQ_H5_TEXT,
    PQ_H5_COMPOUND, /**< named columns */
    PQ_H5_OTHER,    /**< references, opaque bytes, … : not read */
} pq_h5_class;

typedef struct {
    pq_h5_class kind;
    pq_shape    shape;      /**< of a dataset */
    size_t      item_bytes; /**< in the file */
} pq_h5_info;

/**
 * Opens for reading.
 * @retval PQ_ERR_NOT_FOUND  No such file.
 * @retval PQ_ERR_FORMAT     Not HDF5, or truncated.
 */
pq_status pq_h5_open(const char *path, pq_h5 **out, pq_err *err);

/**
 * Lets this process open a file itself, without a child that would pay for what the file
 * does to libhdf5: for a process that may end at any time, and files that were read whole
 * and are as they were. Few: the first 64 of them.
 * @param[in] path  as it will be given to pq_h5_open; borrowed as long as the process
 * lives
 */
void pq_h5_trust(const char *path);

/** Opens what carries HDF5's signature; NULL and PQ_OK for what does not. While it is
 * open, further openings of the same file are cheap.
 * @retval PQ_ERR_FORMAT  Truncated or damaged. */
pq_status pq_h5_hold(const char *path, pq_h5 **out, pq_err *err);

/** Has a file looked at that will be opened soon, while this process does something else.
 * What is wrong with it, opening it says. @param[out] out  only to be closed, after it
 * was opened; or NULL */
pq_status pq_h5_expect(const char *path, pq_h5 **out, pq_err *err);

/** Creates a file under a temporary name. @retval PQ_ERR_IO  The folder cannot be
 * written. */
pq_status pq_h5_create(const char *path, pq_h5 **out, pq_err *err);

/** Closes a created file and gives it its name. On failure nothing of it stays. Sets NULL
 * in both cases. */
pq_status pq_h5_commit(pq_h5 **file, pq_err *err);

/** Looks at a file that is written whole, under its temporary name. */
typedef pq_status (*pq_h5_look)(const char *temporary, const void *context, pq_err *err);

/** As pq_h5_commit, but the file gets its name only when `look` finds nothing wrong. */
pq_status pq_h5_commit_checked(pq_h5 **file, pq_h5_look look, const void *context,
                               pq_err *err);

/** Closes; a created file that was not committed is removed. NULL is harmless. */
void pq_h5_close(pq_h5 **file);

/** Path of the file as it was given. */
const char *pq_h5_path(const pq_h5 *file);

/** Whether a file carries HDF5's signature. */
bool pq_h5_is_file(const char *path);

/** Whether there is a group or dataset (through hard links only). */
bool pq_h5_has(pq_h5 *file, const char *path);

/** Names in a group, sorted; caller frees with pq_h5_free_texts. */
pq_status pq_h5_list(pq_h5 *file, const char *group, char ***names, size_t *n,
                     pq_err *err);

/** Kind of a group or dataset, also of one that cannot be read, e.g. for want of its
 * filter; PQ_H5_OTHER when there is nothing. */
pq_h5_class pq_h5_kind(pq_h5 *file, const char *path);

/** Kind and shape of a group or dataset. @retval PQ_ERR_NOT_FOUND  Nothing there. */
pq_status pq_h5_describe(pq_h5 *file, const char *path, pq_h5_info *out, pq_err *err);

/**
 * Reads a whole dataset of numbers as `dtype` (not bfloat16), converting; integers
 * saturate.
 * @param[in] max_bytes  Refuses to allocate more than this.
 */
pq_status pq_h5_read(pq_h5 *file, const char *path, pq_dtype dtype, size_t max_bytes,
                     pq_tensor **out, pq_err *err);

/** Rows of a dataset. */
typedef struct {
    size_t first, n; /**< along the first dimension */
} pq_rows;

/** Reads rows of a dataset of numbers into out [n, rest of the shape]. */
pq_status pq_h5_read_rows(pq_h5 *file, const char *path, pq_rows rows, pq_dtype dtype,
                          void *out, pq_err *err);

/** Names of the columns of a compound dataset; caller frees with pq_h5_free_texts. */
pq_status pq_h5_columns(pq_h5 *file, const char *path, char ***names, size_t *n,
                        pq_err *err);

/**
 * Reads columns of a compound dataset, all in one pass.
 * @param[in]  names  [n_names]
 * @param[out] out    float32 or float64 as `dtype` says, [rows.n, rest of the shape,
 * n_names]
 * @retval PQ_ERR_NOT_FOUND  No such column, with "did you mean".
 */
pq_status pq_h5_read_columns(pq_h5 *file, const char *path, pq_rows rows,
                             const char *const *names, size_t n_names, pq_dtype dtype,
                             void *out, pq_err *err);

/** Reads a dataset of texts (scalar or list), fixed or variable length; caller frees with
 * pq_h5_free_texts. */
pq_status pq_h5_read_texts(pq_h5 *file, const char *path, char ***texts, size_t *n,
                           pq_err *err);

/** Frees n texts and their array, sets NULL; NULL is harmless. */
void pq_h5_free_texts(char ***texts, size_t n);

/* Attributes of a group or dataset; "/" is the root. */

bool pq_h5_has_attr(pq_h5 *file, const char *path, const char *name);

/** One text; caller frees with pq_free. */
pq_status pq_h5_attr_text(pq_h5 *file, const char *path, const char *name, char **out,
                          pq_err *err);

/** A list of texts, also when cut into `name0`, `name1`, … as Keras does; caller frees
 * with pq_h5_free_texts. */
pq_status pq_h5_attr_texts(pq_h5 *file, const char *path, const char *name, char ***out,
                           size_t *n, pq_err *err);

/** Numbers of any type (a scalar is one); caller frees with pq_free. */
pq_status pq_h5_attr_numbers(pq_h5 *file, const char *path, const char *name,
                             double **out, size_t *n, pq_err *err);

/* Writing into a created file. Missing parent groups are made. */

pq_status pq_h5_make_group(pq_h5 *file, const char *path, pq_err *err);

/** Writes an array (not bfloat16); small ones go into the header, so they cost few bytes.
 */
pq_status pq_h5_write(pq_h5 *file, const char *path, const pq_tensor *t, int gzip,
                      pq_err *err);

/** Writes one text as a scalar dataset. */
pq_status pq_h5_write_text(pq_h5 *file, const char *path, const char *text, pq_err *err);

/** Makes a dataset that grows along its first dimension: row shape and type as given. */
pq_status pq_h5_make_rows(pq_h5 *file, const char *path, pq_dtype dtype, pq_shape row,
                          int gzip, pq_err *err);

/** Writes rows, growing the dataset to hold them. */
pq_status pq_h5_write_rows(pq_h5 *file, const char *path, pq_rows rows, pq_dtype dtype,
                           const void *data, pq_err *err);

pq_status pq_h5_set_text(pq_h5 *file, const char *path, const char *name,
                         const char *text, pq_err *err);
pq_status pq_h5_set_texts(pq_h5 *file, const char *path, const char *name,
                          const char *const *texts, size_t n, pq_err *err);

/** Writes n numbers as an attribute of type `dtype` (float32, float64 or an integer); n =
 * 1 gives a scalar. */
pq_status pq_h5_set_numbers(pq_h5 *file, const char *path, const char *name,
                            pq_dtype dtype, const void *values, size_t n, pq_err *err);

#endif
