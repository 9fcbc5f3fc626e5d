/**
 * @file
 * What a layout is: a way events lie in files. One file each, one word in
 * data/meson.build. For the data room only; others open datasets.
 */
#ifndef PQ_DATA_LAYOUT_H
#define PQ_DATA_LAYOUT_H

#include "data/dataset.h"

enum { PQ_SOURCE_SPLITS = 16 /**< most splits of a file */ };

typedef struct pq_layout pq_layout;

/** One split as it lies in the file. */
typedef struct {
    char  *name;
    size_t n;
} pq_source_split;

/** A file or folder opened by its layout; owns everything. */
typedef struct {
    const pq_layout *layout;
    char            *path;
    size_t           n_files;
    char           **files; /**< [n_files] all that are read */
    void            *state; /**< the layout's own */
    pq_shape         sample;
    size_t           n_classes;
    char           **class_names; /**< [n_classes] */
    double *label_values; /**< [n_classes] value in the file of each class, or NULL: 0 ..
                             n_classes-1 */
    size_t n_features; /**< last dimension of sample where names or a scaler are given */
    char **feature_names; /**< [n_features] or NULL */
    float *mean, *std;    /**< [n_features] or NULL */
    bool   standardized;
    bool   padded;   /**< as in pq_dataset_info */
    bool   bytes;    /**< values are whole numbers 0..255 */
    bool aux_beside; /**< quantities but event numbers can be kept when events are read */
    bool aux_kept;   /**< set by the caller: they are to be, and asked for next */
    size_t  aux_room;    /**< rows of what is kept */
    double *aux_numbers; /**< what is kept, as the layout does; freed by the caller */
    size_t  n_splits;
    pq_source_split splits[PQ_SOURCE_SPLITS];
    char           *licence, *source;
    char *unlabelled; /**< as in pq_dataset_info; open sets it if options->unlabelled */
} pq_source;

/** Events as the file has them; pointers may be NULL. */
typedef struct {
    float  *x;      /**< [n, sample], images NHWC, not scaled */
    double *y;      /**< [n] label as the file says */
    float  *weight; /**< [n] */
} pq_raw;

/** Auxiliary quantities to read, into [n, n_names] of 8 bytes each. */
typedef struct {
    size_t             n_names;
    const char *const *names;
    pq_dtype           dtype; /**< PQ_DTYPE_F64, or PQ_DTYPE_I64 for event numbers,
                                whose 64 bits have no sign */
} pq_aux;

struct pq_layout {
    const char *name;
    const char *summary;

    /** Whether the path looks like this layout (cheap). */
    bool (*recognises)(const char *path);

    /** Fills the source (path and layout are set). The caller cleans up after a failure,
     * by close. */
    pq_status (*open)(pq_source *s, const pq_dataset_options *options, pq_err *err);

    /** Reads rows of a split; the range is valid. Calls are serialised. */
    pq_status (*read)(pq_source *s, size_t split, size_t first, size_t n,
                      const pq_raw *out, pq_err *err);

    /** Reads auxiliary quantities in one pass; NULL when the layout has none. */
    pq_status (*read_aux)(pq_source *s, size_t split, const pq_aux *aux, size_t first,
                          size_t n, void *out, pq_err *err);

    /** Names of the auxiliary quantities, for messages and to find event numbers; NULL =
     * none. Caller frees each and the array. */
    pq_status (*list_aux)(pq_source *s, size_t split, char ***names, size_t *n,
                          pq_err *err);

    /** Frees state; called with a NULL or half-built state too. */
    void (*close)(pq_source *s);

    bool takes_inputs; /**< open has followed options->inputs itself */
    bool takes_label;  /**< open follows options->label and options->weight */
    bool takes_names;  /**< open follows options->x, y and weight */
};

/** All layouts in a fixed order, NULL-terminated. */
extern const pq_layout *const pq_layouts[];

/* For layouts. */

/** Appends a split. @retval PQ_ERR_FORMAT  Too many. */
pq_status pq_source_add_split(pq_source *s, const char *name, size_t n, pq_err *err);

/** Notes a file that events, labels or names come from. Layouts of one file, the path
 * itself, need not. */
pq_status pq_source_note(pq_source *s, const char *path, pq_err *err);

/** Copies n texts into a new list. */
pq_status pq_texts_copy(const char *const *texts, size_t n, char ***out, pq_err *err);

/** Frees n texts and the list, sets NULL. */
void pq_texts_free(char ***texts, size_t n);

/** Splits "a,b,c" (spaces around are dropped); caller frees with pq_texts_free. */
pq_status pq_texts_split(const char *list, char ***out, size_t *n, pq_err *err);

/** Names are what things are matched by: each class, feature and split stands once. */
pq_status pq_source_check_names(const pq_source *s, pq_err *err);

/** Names "0" .. "n-1" for classes that have none. */
pq_status pq_source_number_classes(pq_source *s, size_t n, pq_err *err);

/** [n, channels, pixels] to [n, pixels, channels]. */
void pq_planes_to_pixels(const float *planes, size_t n, size_t channels, size_t pixels,
                         float *out);

#endif
