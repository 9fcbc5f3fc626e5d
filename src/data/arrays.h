/**
 * @file
 * Arrays by their names, wherever they lie: files .npy of a folder, an .npz of NumPy, or
 * datasets of an HDF5. For the data room only.
 */
#ifndef PQ_DATA_ARRAYS_H
#define PQ_DATA_ARRAYS_H

#include "data/layout.h"
#include "io/hdf5.h"
#include "io/npy.h"
#include "io/zip.h"

enum { PQ_ARRAYS_MOST = 4096 /**< arrays that are listed */ };

/** An opened file or folder; {0} is none. Owns everything. */
typedef struct {
    char  *path;   /**< for messages */
    char  *folder; /**< of files .npy, or NULL */
    pq_map map;    /**< of an .npz */
    pq_zip zip;
    pq_h5 *h5;
    size_t n;
    char **names; /**< [n], sorted; without .npy */
} pq_arrays;

/** One of them; owns its map and its name. */
typedef struct {
    char          *name;
    bool           texts; /**< else numbers */
    pq_shape       shape;
    pq_npy         head; /**< of NumPy's */
    const uint8_t *at;   /**< [head.count] items, or NULL: it is in the HDF5 */
    pq_map         map;
} pq_array;

/** Whether a file or folder may hold arrays by names. */
bool pq_arrays_look(const char *path);

/** Opens and lists. A file .npy opens its folder. @retval PQ_ERR_FORMAT  Damaged, or more
 * than PQ_ARRAYS_MOST. */
pq_status pq_arrays_open(const char *path, pq_arrays *out, pq_err *err);
void      pq_arrays_close(pq_arrays *a);

/** Index of a name, or SIZE_MAX. */
size_t pq_arrays_find(const pq_arrays *a, const char *name);

/**
 * Opens an array. What is packed in an .npz is unpacked once, into a temporary file.
 * @retval PQ_ERR_NOT_FOUND    There is none: with those that there are.
 * @retval PQ_ERR_UNSUPPORTED  Its items are neither numbers nor texts.
 */
pq_status pq_arrays_get(const pq_arrays *a, const char *name, pq_array *out, pq_err *err);
void      pq_array_free(pq_array *array);

/** Path of the file that holds one where that is not the path itself, else NULL; caller
 * frees with pq_free. */
char *pq_array_file(const pq_arrays *a, const char *name);

/** Names and shapes of some, "x [100, 16], y [100], …", for messages. */
void pq_arrays_tell(const pq_arrays *a, pq_text *out);

/** Numbers of rows. @param[in] dtype  PQ_DTYPE_F32 or PQ_DTYPE_F64 */
pq_status pq_array_numbers(const pq_arrays *a, const pq_array *array, pq_rows rows,
                           pq_dtype dtype, void *out, pq_err *err);

/** All texts; caller frees with pq_h5_free_texts. @retval PQ_ERR_FORMAT  More than a
 * million. */
pq_status pq_array_texts(const pq_arrays *a, const pq_array *array, char ***texts,
                         size_t *n, pq_err *err);

/** Which arrays are a split; owns the names. */
typedef struct {
    char *split, *x, *y, *weight; /**< weight may be NULL */
} pq_array_names;

/**
 * Finds them: those that the options name, "NAME" or "train=NAME,test=NAME", else those
 * called x, X_train, test/x, … and, in their place, y and weight.
 *
 * @param[out] out  [PQ_SOURCE_SPLITS]; freed with pq_array_names_free, also on failure
 * @param[in]  own  the array that the path itself is, or NULL
 */
pq_status pq_array_names_find(const pq_arrays *a, const pq_dataset_options *options,
                              const char *own, pq_array_names *out, size_t *n,
                              pq_err *err);
void      pq_array_names_free(pq_array_names *names, size_t n);

#endif
