/**
 * @file
 * Events and their labels, read chunk by chunk from whatever layout they come
 * in (one file per layout, listed in data/meson.build).
 *
 * Values handed out are float32, images NHWC, features standardized by the
 * file's own scaler unless it says they are already. Class order is data: it
 * comes with the file, never from position.
 */
#ifndef PQ_DATA_DATASET_H
#define PQ_DATA_DATASET_H

#include "core/param.h"
#include "tensor/tensor.h"

typedef struct pq_dataset pq_dataset;

/** What to do with events that hold NaN or infinity. */
typedef enum {
    PQ_NONFINITE_FAIL, /**< refuse, with the event and the feature */
    PQ_NONFINITE_DROP, /**< leave the event out and count it */
    PQ_NONFINITE_ZERO, /**< put 0 (the mean, after scaling) and count it */
} pq_nonfinite;

/** Options of opening; {0} is the usual. Strings are borrowed for the call. */
typedef struct {
    const char *layout; /**< name of a layout, or NULL = found by looking */
    const char *inputs; /**< "a,b,c": columns used as features, or NULL = all */
    /** [n_wanted] features of a model: of a file that has all of these and more, they are
     * what is read, in this order; else nothing changes. */
    const char *const *wanted;
    size_t             n_wanted;
    /** Arrays of .npy, .npz and HDF5 of any layout that hold the events and the labels,
     * "NAME" or "train=NAME,test=NAME", or NULL = found by their names. */
    const char *x, *y;
    const char *label;  /**< column that holds the class, or NULL = found by its name */
    const char *weight; /**< column (or arrays, as x) that holds the event weights, "none"
                           = all events count alike, or NULL = found by its name */
    const char *labels; /**< "b=5,c=4,light=0": class name = value in the file, or NULL */
    const char *splits; /**< "train=0:0.8,test=0.8:1": by event number (split.h), or
                           by index where the file has none, or NULL */
    pq_nonfinite nonfinite;
    /** Arrays (pquant's own, .npy, .npz, HDF5) without labels beside them are taken too,
     * for who reads none: asking for a label is an error then. */
    bool unlabelled;
} pq_dataset_options;

/** One split. */
typedef struct {
    const char *name; /**< "" for a file without splits */
    size_t      n;    /**< events */
} pq_split_info;

/** What a dataset is; owned by the dataset, valid until it is closed. */
typedef struct {
    const char        *path;
    size_t             n_files;
    const char *const *files; /**< [n_files] all that are read, in a fixed order */
    const char        *layout;
    pq_shape           sample;        /**< of one event: [16], [32, 32, 3], [40, 15] */
    size_t             n_classes;     /**< 0 when the labels are not classes */
    const char *const *class_names;   /**< [n_classes] */
    const char *const *feature_names; /**< [sample.dim[ndim-1]] or NULL */
    const float       *scaler_mean;   /**< [features] or NULL */
    const float       *scaler_std;
    bool standardized; /**< values in the file are already (x - mean) / std */
    bool padded; /**< of sample [rows, features] the last feature is 1 in a row that is
                    there and 0 in padding: it is never scaled, and padding is all 0 */
    size_t               n_splits;
    const pq_split_info *splits;
    const char          *licence, *source; /**< or NULL */
    size_t      nonfinite; /**< events met so far, each once, that hold NaN or infinity */
    size_t      left_out;  /**< events of labels that `labels` does not name */
    const char *unlabelled; /**< array of events without labels beside it, where that was
                               let pass: no label of the file can be read; or NULL */
} pq_dataset_info;

/**
 * Opens a file or a folder; a bare name that is neither, such as "fashion-mnist", is
 * looked for among the sets on this computer, whose manifest then says layout and class
 * names (pq_data_resolve).
 *
 * @retval PQ_ERR_NOT_FOUND    No such file, or a set that is to be fetched first.
 * @retval PQ_ERR_FORMAT       No known layout; truncated; wrong shapes; labels outside
 * the classes; empty; a class, a feature or a split is there twice.
 * @retval PQ_ERR_UNSUPPORTED  A compression filter this libhdf5 lacks (named, with the
 * way out).
 */
pq_status pq_dataset_open(const char *path, const pq_dataset_options *options,
                          pq_dataset **out, pq_err *err);
void      pq_dataset_close(pq_dataset **dataset);

const pq_dataset_info *pq_dataset_describe(const pq_dataset *dataset);

/** Index of a split. NULL or "" is the only split of a file, or an error that lists them.
 * @retval PQ_ERR_NOT_FOUND  With "did you mean".
 * @retval PQ_ERR_FORMAT     It holds no events; others of the file may. */
pq_status pq_dataset_split(const pq_dataset *dataset, const char *name, size_t *split,
                           pq_err *err);

/** One batch of events; arrays are the caller's, each with room for n. */
typedef struct {
    float   *x;      /**< [n, sample] */
    int32_t *y;      /**< [n] class index, or NULL if not wanted */
    float   *weight; /**< [n] event weights (1 where the file has none), or NULL */
} pq_batch;

/**
 * Reads events first .. first + n - 1 of a split. Safe from several threads (reads are
 * serialised).
 * @retval PQ_ERR_FORMAT  A label outside the classes, or non-finite values under
 * PQ_NONFINITE_FAIL; with event and feature.
 */
pq_status pq_dataset_read(pq_dataset *dataset, size_t split, size_t first, size_t n,
                          const pq_batch *batch, pq_err *err);

/** The same, but the values as they are in the file, its scaler not applied. */
pq_status pq_dataset_read_unscaled(pq_dataset *dataset, size_t split, size_t first,
                                   size_t n, const pq_batch *batch, pq_err *err);

/**
 * Reads one auxiliary quantity of events first .. first + n - 1 ("pt", "eta",
 * "event_number"), in the file's unit.
 * @retval PQ_ERR_NOT_FOUND  The file has none of that name (the message lists those there
 * are).
 */
pq_status pq_dataset_read_aux(pq_dataset *dataset, size_t split, const char *name,
                              size_t first, size_t n, double *out, pq_err *err);

/**
 * Counts events whose values are also those of an event in another split: leaks, where
 * events have no numbers that open checks. Exact but for 64-bit hashes that collide.
 *
 * @param[in]  max_events  more are not counted (16 bytes of memory each)
 * @param[out] counted     false: one split only, or too many events
 */
pq_status pq_dataset_count_repeats(pq_dataset *dataset, size_t max_events, size_t *out,
                                   bool *counted, pq_err *err);

/** SHA-256 over the split's content (x, y, weight, class names, scaler), cached beside
 * nothing: computed once per open. */
pq_status pq_dataset_hash(pq_dataset *dataset, size_t split, char out[65], pq_err *err);

/** "FILE[:SPLIT]" into its two parts; an existing path that holds a colon wins. Caller
 * frees both with pq_free. */
pq_status pq_dataset_spec(const char *spec, char **path, char **split, pq_err *err);

#endif
