/**
 * @file
 * Shared by the files of the HDF5 wrapper; nobody else includes it.
 */
#ifndef PQ_IO_HDF5_INSIDE_H
#define PQ_IO_HDF5_INSIDE_H

#include <hdf5.h>

#include "core/map.h"
#include "core/text.h"
#include "io/hdf5.h"

enum { PQ_H5_KEPT = 128 /**< datasets kept open, so that their chunk caches live on */ };

/** A child process that has a file open: see hdf5_reader.c. */
typedef struct pq_h5_reader pq_h5_reader;

struct pq_h5 {
    char         *path;
    char         *temporary; /**< NULL when opened for reading */
    pq_h5_reader *reader;    /**< NULL when this process has the file open */
    pq_map        image;     /**< of a small file that is read here */
    hid_t         id;
    struct {
        char *path;
        hid_t id;
    } kept[PQ_H5_KEPT];
    size_t next;     /**< place in kept to be replaced next */
    bool   has_lost; /**< a kept dataset could not be written whole */
};

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
/** Whether foreign files are opened here and not by a child, which costs more time. */
extern bool pq_h5_in_this_process;
#endif

/** Takes and gives back the lock; every public call does, calls may nest. */
void pq_h5_enter(void);
void pq_h5_leave(void);

/** In a process that was forked under the lock: gives it a lock of its own. */
void pq_h5_take_over_lock(void);

/** Closes an identifier of any kind if it is one. False: what it held could not be
 * written, for a dataset its last chunks. */
bool pq_h5_drop(hid_t id);

enum {
    PQ_H5_LZF        = 32000, /**< number of h5py's own filter */
    PQ_H5_LZF_VALUES = 3      /**< its parameters; the last is the bytes of a chunk */
};

/** Makes libhdf5 read what is packed by LZF, unless it does already. */
void pq_h5_add_lzf(void);

/** Why libhdf5 failed: PQ_ERR_NOMEM if memory ran out inside it, else what is given. */
pq_status pq_h5_status(pq_status otherwise);

/** Innermost reason on libhdf5's error stack, or "unknown reason". */
const char *pq_h5_reason(char *buffer, size_t size);

/** Class of a type, and of an opened object, which may be a group. */
pq_h5_class pq_h5_class_of(hid_t type);
pq_h5_class pq_h5_kind_of(hid_t object);

/** What `kind` holds, for messages: "integers", … */
const char *pq_h5_class_text(pq_h5_class kind);
bool        pq_h5_is_number(pq_h5_class kind);

/** Has libhdf5 read a small file where it is mapped. @return the name to open */
const char *pq_h5_map_image(pq_h5 *file, hid_t list);

/* What the public functions of the same name do, in this process and without the lock. */
/** `alone`: this process has no other file open, so that a small one may be read where it
 * is mapped; libhdf5 takes all such for the same file. */
pq_status   pq_h5_local_open(const char *path, bool alone, pq_h5 **out, pq_err *err);
pq_h5_class pq_h5_local_kind(pq_h5 *file, const char *path);
pq_status   pq_h5_local_list(pq_h5 *file, const char *group, char ***names, size_t *n,
                             pq_err *err);
pq_status   pq_h5_local_describe(pq_h5 *file, const char *path, pq_h5_info *out,
                                 pq_err *err);
pq_status   pq_h5_local_read_rows(pq_h5 *file, const char *path, const pq_rows *rows,
                                  pq_dtype dtype, void *out, pq_err *err); /**< NULL: all */
pq_status   pq_h5_local_columns(pq_h5 *file, const char *path, char ***names, size_t *n,
                                pq_err *err);
pq_status   pq_h5_local_read_columns(pq_h5 *file, const char *path, pq_rows rows,
                                     const char *const *names, size_t n_names,
                                     pq_dtype dtype, void *out, pq_err *err);
pq_status pq_h5_local_read_texts(pq_h5 *file, const char *path, char ***texts, size_t *n,
                                 pq_err *err);
pq_status pq_h5_local_attr_texts(pq_h5 *file, const char *path, const char *name,
                                 char ***out, size_t *n, pq_err *err);
pq_status pq_h5_local_attr_numbers(pq_h5 *file, const char *path, const char *name,
                                   double **out, size_t *n, pq_err *err);

/** Bytes of memory that reading a file may cost: 64 MB and 64 for each of its own. */
size_t pq_h5_budget(size_t file_bytes);

/** Memory that a child shares with its parent: what lies in it is neither sent nor kept
 * twice. {0} is none. */
typedef struct {
    char  *at;
    size_t n;
} pq_h5_room;

enum {
    PQ_H5_ROOM_BYTES  = 2 << 20, /**< of it, where a file is larger than the next */
    PQ_H5_ROOM_WHOLES = 32 << 20 /**< a file so small may be told whole */
};

/** Where the next values lie in a room of which `used` bytes are taken. */
static inline size_t pq_h5_room_next(size_t used)
{
    return (used + 7) / 8 * 8;
}

/** The child: serves one file at one end of a socket until nobody is at the other. */
_Noreturn void pq_h5_serve(const char *path, size_t file_bytes, int fd, pq_h5_room room);

/* The same, asked of a reader. */
pq_status pq_h5_reader_start(const char *path, pq_h5_reader **out, pq_err *err);
/** The same, but what the child tells is heard by the next who starts one. */
pq_status pq_h5_reader_expect(const char *path, pq_h5_reader **out, pq_err *err);
void      pq_h5_reader_stop(pq_h5_reader **reader); /**< NULL is harmless */
bool      pq_h5_reader_has(pq_h5_reader *r, const char *path);
bool      pq_h5_reader_has_attr(pq_h5_reader *r, const char *path, const char *name);
pq_status pq_h5_reader_list(pq_h5_reader *r, const char *group, char ***names, size_t *n,
                            pq_err *err);
pq_h5_class pq_h5_reader_kind(pq_h5_reader *r, const char *path);
pq_status   pq_h5_reader_describe(pq_h5_reader *r, const char *path, pq_h5_info *out,
                                  pq_err *err);
/** Values of rows (NULL: all), of all columns or of n_names of a compound. */
pq_status pq_h5_reader_rows(pq_h5_reader *r, const char *path, const pq_rows *rows,
                            const char *const *names, size_t n_names, pq_dtype dtype,
                            void *out, pq_err *err);
/** Texts of a dataset, or with PQ_H5_COLUMNS names of its columns. */
pq_status pq_h5_reader_names(pq_h5_reader *r, const char *path, bool columns, char ***out,
                             size_t *n, pq_err *err);
pq_status pq_h5_reader_attr_texts(pq_h5_reader *r, const char *path, const char *name,
                                  char ***out, size_t *n, pq_err *err);
pq_status pq_h5_reader_attr_numbers(pq_h5_reader *r, const char *path, const char *name,
                                    double **out, size_t *n, pq_err *err);

/** Walks the links of a path one by one: only hard ones lead on. */
pq_status pq_h5_check_links(const pq_h5 *file, const char *path, pq_err *err);

/** Opened dataset, checked; belongs to the file's `kept`. */
pq_status pq_h5_dataset(pq_h5 *file, const char *path, hid_t *out, pq_err *err);

/** What an opened dataset is. */
typedef struct {
    pq_h5_info   info;
    H5D_layout_t layout;
    size_t       row_bytes; /**< of the chunks that one row crosses; 0: not in chunks */
} pq_h5_facts;

/** Holds what a dataset claims against the file's means, and says what it is. `path` is
 * for messages. */
pq_status pq_h5_check_dataset(const pq_h5 *file, const char *path, hid_t id,
                              pq_h5_facts *out, pq_err *err);

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

/** "attribute 'layer_names' of /model_weights", for messages. */
typedef struct {
    char text[256];
} pq_h5_place;
pq_h5_place pq_h5_attr_place(const char *path, const char *name);

/** Opened attribute of an opened object; caller drops it. */
pq_status pq_h5_attr(const pq_h5 *file, hid_t object, const char *name,
                     const pq_h5_place *at, hid_t *out, pq_err *err);

/** Numbers of an opened attribute. */
pq_status pq_h5_numbers(const pq_h5 *file, const pq_h5_place *at, hid_t attr,
                        double **out, size_t *n, pq_err *err);

/** Number of an opened group's members, and a call for each, sorted by name. */
enum { PQ_H5_MEMBERS = 1000000 /**< most of a group */ };

pq_status pq_h5_count_members(const pq_h5 *file, const char *path, hid_t group, size_t *n,
                              pq_err *err);
herr_t    pq_h5_each_member(hid_t group, H5L_iterate_t call, void *context);

/** All objects of a file, the root first, in the order in which links lead to them, with
 * attributes; values of small arrays go into the room, one after the other. */
pq_status pq_h5_walk(pq_h5 *file, pq_h5_room room, pq_text *to, pq_err *err);

/** Texts of an attribute or a dataset. */
pq_status pq_h5_texts(const pq_h5 *file, pq_h5_source source, char ***out, size_t *n,
                      pq_err *err);

#endif
