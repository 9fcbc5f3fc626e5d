#define _GNU_SOURCE /* recursive mutex initialiser */

#include "io/hdf5.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "io/hdf5_inside.h"

/* libhdf5 has one global state and no locks of its own. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

/* Its own clearing up at exit crashes after a file could not be written; files are closed
 * by us. */
static void prepare(void)
{
    (void)H5dont_atexit();
}

void pq_h5_enter(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, prepare);
    (void)pthread_mutex_lock(&lock);
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void pq_h5_leave(void)
{
    (void)pthread_mutex_unlock(&lock);
}

void pq_h5_take_over_lock(void)
{
    lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
}

bool pq_h5_drop(hid_t id)
{
    return id <= 0 || H5Idec_ref(id) >= 0;
}

/* A place for the text of the innermost error. */
typedef struct {
    char  *text;
    size_t size;
} reason;

/* The system's own words where there are some: the rest is for developers of libhdf5. */
static herr_t take_reason(unsigned n, const H5E_error2_t *e, void *context)
{
    static const char mark[] = "error message = '";
    const reason     *r      = context;
    const char       *words  = n == 0 && e->desc != NULL ? strstr(e->desc, mark) : NULL;

    if (words != NULL) {
        words += sizeof mark - 1;
        (void)snprintf(r->text, r->size, "%.*s", (int)strcspn(words, "'"), words);
    } else if (n == 0 && e->desc != NULL) {
        (void)snprintf(r->text, r->size, "%s", e->desc);
    }
    return 0;
}

const char *pq_h5_reason(char *buffer, size_t size)
{
    reason r = {buffer, size};

    (void)snprintf(buffer, size, "unknown reason");
    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_reason, &r);
    return buffer;
}

/* Memory is what the innermost call lacks; further out, space in a file has the same
 * name. */
static herr_t see_memory(unsigned n, const H5E_error2_t *e, void *context)
{
    bool *lacking = context;

    *lacking = *lacking ||
               (n == 0 && (e->maj_num == H5E_RESOURCE || e->maj_num == H5E_DATATYPE) &&
                (e->min_num == H5E_NOSPACE || e->min_num == H5E_CANTALLOC));
    return 0;
}

pq_status pq_h5_status(pq_status otherwise)
{
    bool lacking = false;

    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, see_memory, &lacking);
    return lacking ? PQ_ERR_NOMEM : otherwise;
}

const char *pq_h5_path(const pq_h5 *file)
{
    return file->path;
}

static pq_status file_new(const char *path, pq_h5 **out, pq_err *err)
{
    pq_h5    *file = NULL;
    pq_status st;

    PQ_NEW(file, 1);
    PQ_STRDUP(file->path, path);
    *out = file;
    file = NULL;
cleanup:
    pq_free(file);
    return st;
}

/* Locks of the file system are left alone: they fail on network file systems, and files
 * appear whole anyway. */
static hid_t access_list(void)
{
    const hid_t list = H5Pcreate(H5P_FILE_ACCESS);

    (void)H5Pset_fclose_degree(list, H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7)
    (void)H5Pset_file_locking(list, false, true);
#endif
    return list;
}

pq_status pq_h5_local_open(const char *path, bool alone, pq_h5 **out, pq_err *err)
{
    pq_h5      *file = NULL;
    const hid_t list = access_list();
    char        why[256];
    pq_status   st;

    PQ_TRY(file_new(path, &file, err));
    file->id = H5Fopen(alone ? pq_h5_map_image(file, list) : path, H5F_ACC_RDONLY, list);
    PQ_CHECK(file->id > 0, pq_h5_status(PQ_ERR_FORMAT), "%s: is damaged: %s", path,
             pq_h5_reason(why, sizeof why));
    *out = file;
    file = NULL;
cleanup:
    pq_h5_drop(list);
    pq_h5_close(&file);
    return st;
}

/* Files that this process opens itself, under the lock of HDF5. */
enum { TRUSTED_MAX = 64 };
static const char *trusted[TRUSTED_MAX];
static size_t      n_trusted;

void pq_h5_trust(const char *path)
{
    pq_h5_enter();
    if (n_trusted < TRUSTED_MAX) {
        trusted[n_trusted++] = path;
    }
    pq_h5_leave();
}

static void distrust(const char *path)
{
    pq_h5_enter();
    for (size_t i = 0; i < n_trusted; i++) {
        if (trusted[i] == path) {
            trusted[i] = trusted[--n_trusted];
        }
    }
    pq_h5_leave();
}

static bool is_trusted(const char *path)
{
    for (size_t i = 0; i < n_trusted; i++) {
        if (strcmp(trusted[i], path) == 0) {
            return true;
        }
    }
    return false;
}

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
bool pq_h5_in_this_process;
#else
static const bool pq_h5_in_this_process = false;
#endif

/* By a child, except what this process wrote itself, and in fuzzing files that libhdf5
 * wrote, where time counts. */
static pq_status open_somewhere(const char *path, pq_h5 **out, pq_err *err)
{
    pq_h5    *file = NULL;
    pq_status st;

    if (pq_h5_in_this_process || is_trusted(path)) {
        return pq_h5_local_open(path, false, out, err);
    }
    PQ_TRY(file_new(path, &file, err));
    PQ_TRY(pq_h5_reader_start(path, &file->reader, err));
    *out = file;
    file = NULL;
cleanup:
    pq_h5_close(&file);
    return st;
}

pq_status pq_h5_open(const char *path, pq_h5 **out, pq_err *err)
{
    pq_status st;

    pq_h5_enter();
    PQ_TRY(pq_file_check(path, err));
    PQ_CHECK(pq_h5_is_file(path), PQ_ERR_FORMAT, "%s: is not an HDF5 file", path);
    PQ_TRY(open_somewhere(path, out, err));
cleanup:
    pq_h5_leave();
    return st;
}

pq_status pq_h5_expect(const char *path, pq_h5 **out, pq_err *err)
{
    pq_h5    *file = NULL;
    pq_status st   = PQ_OK;

    *out = NULL;
    pq_h5_enter();
    if (!pq_h5_in_this_process && !is_trusted(path) && pq_h5_is_file(path)) {
        PQ_TRY(file_new(path, &file, err));
        PQ_TRY(pq_h5_reader_expect(path, &file->reader, err));
        *out = file;
        file = NULL;
    }
cleanup:
    pq_h5_close(&file);
    pq_h5_leave();
    return st;
}

pq_status pq_h5_hold(const char *path, pq_h5 **out, pq_err *err)
{
    *out = NULL;
    return pq_h5_is_file(path) ? pq_h5_open(path, out, err) : PQ_OK;
}

pq_status pq_h5_create(const char *path, pq_h5 **out, pq_err *err)
{
    pq_h5    *file = NULL;
    hid_t     list = -1, create = -1;
    char      why[256];
    pq_status st;

    pq_h5_enter();
    PQ_TRY(file_new(path, &file, err));
    PQ_TRY(pq_file_temporary(path, &file->temporary, err));
    list   = access_list();
    create = H5Pcreate(H5P_FILE_CREATE);
    /* New format, no times: files stay small, and the same content gives the same bytes.
     */
    (void)H5Pset_libver_bounds(list, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    (void)H5Pset_obj_track_times(create, false);
    file->id = H5Fcreate(file->temporary, H5F_ACC_TRUNC, create, list);
    PQ_CHECK(file->id > 0, pq_h5_status(PQ_ERR_IO), "%s: cannot be written: %s", path,
             pq_h5_reason(why, sizeof why));
    *out = file;
    file = NULL;
cleanup:
    pq_h5_drop(list);
    pq_h5_drop(create);
    pq_h5_close(&file);
    pq_h5_leave();
    return st;
}

/* Closes what is open in the file, and the file. */
static herr_t close_ids(pq_h5 *file)
{
    herr_t closed;

    for (size_t i = 0; i < PQ_H5_KEPT; i++) {
        file->has_lost |= !pq_h5_drop(file->kept[i].id);
        pq_free(file->kept[i].path);
        file->kept[i].id   = 0;
        file->kept[i].path = NULL;
    }
    closed   = file->id > 0 ? H5Fclose(file->id) : 0;
    file->id = 0;
    return file->has_lost ? -1 : closed;
}

void pq_h5_close(pq_h5 **file)
{
    if (*file == NULL) {
        return;
    }
    pq_h5_enter();
    (void)close_ids(*file);
    pq_map_close(&(*file)->image);
    pq_h5_reader_stop(&(*file)->reader);
    pq_h5_leave();
    if ((*file)->temporary != NULL) {
        (void)unlink((*file)->temporary);
    }
    pq_free((*file)->temporary);
    pq_free((*file)->path);
    pq_free(*file);
    *file = NULL;
}

static pq_status finish(pq_h5 *file, pq_err *err)
{
    char      why[256];
    pq_status st;

    pq_h5_enter();
    PQ_CHECK(H5Fflush(file->id, H5F_SCOPE_GLOBAL) >= 0 && close_ids(file) >= 0,
             pq_h5_status(PQ_ERR_IO), "%s: cannot be written: %s", file->path,
             pq_h5_reason(why, sizeof why));
cleanup:
    pq_h5_leave();
    return st;
}

pq_status pq_h5_commit_checked(pq_h5 **file, pq_h5_look look, const void *context,
                               pq_err *err)
{
    pq_status st;

    PQ_TRY(finish(*file, err));
    if (look != NULL) { /* what this process wrote cannot be worse than writing it was */
        pq_h5_trust((*file)->temporary);
        st = look((*file)->temporary, context, err);
        distrust((*file)->temporary);
        PQ_TRY(st);
    }
    PQ_TRY(pq_file_commit((*file)->temporary, (*file)->path, err));
cleanup:
    pq_h5_close(file);
    return st;
}

pq_status pq_h5_commit(pq_h5 **file, pq_err *err)
{
    return pq_h5_commit_checked(file, NULL, NULL, err);
}

pq_status pq_h5_check_links(const pq_h5 *file, const char *path, pq_err *err)
{
    char     *part = NULL;
    pq_status st;

    PQ_STRDUP(part, path);
    for (char *p = part; *p != '\0';) {
        H5L_info_t info;
        char       keep;

        p += strspn(p, "/");
        p += strcspn(p, "/");
        keep = *p;
        *p   = '\0';
        if (strspn(part, "/") == strlen(part)) {
            break;
        }
        PQ_CHECK(H5Lget_info(file->id, part, &info, H5P_DEFAULT) >= 0, PQ_ERR_NOT_FOUND,
                 "%s: %s is not there", file->path, path);
        PQ_CHECK(info.type == H5L_TYPE_HARD, PQ_ERR_UNSUPPORTED,
                 "%s: %s is a soft or external link; links are not followed", file->path,
                 part);
        *p = keep;
    }
cleanup:
    pq_free(part);
    return st;
}

pq_status pq_h5_object(pq_h5 *file, const char *path, hid_t *out, pq_err *err)
{
    char      why[256];
    pq_status st;

    PQ_TRY(pq_h5_check_links(file, path, err));
    *out = H5Oopen(file->id, path, H5P_DEFAULT);
    PQ_CHECK(*out > 0, PQ_ERR_FORMAT, "%s: %s cannot be opened: %s", file->path, path,
             pq_h5_reason(why, sizeof why));
cleanup:
    return st;
}

pq_status pq_h5_shape(const pq_h5 *file, const char *path, hid_t space, pq_shape *out,
                      pq_err *err)
{
    const int n = H5Sget_simple_extent_ndims(space);
    hsize_t   dim[H5S_MAX_RANK];
    pq_status st;

    PQ_CHECK(n >= 0 && n <= PQ_MAX_DIMS, PQ_ERR_FORMAT,
             "%s: %s has %d dimensions; at most %d are read", file->path, path, n,
             PQ_MAX_DIMS);
    *out = (pq_shape){0};
    if (H5Sget_simple_extent_type(space) == H5S_NULL) {
        out->ndim = 1; /* no values at all */
        return PQ_OK;
    }
    (void)H5Sget_simple_extent_dims(space, dim, NULL);
    out->ndim = (size_t)n;
    for (int i = 0; i < n; i++) {
        out->dim[i] = (size_t)dim[i];
    }
cleanup:
    return st;
}

static herr_t add_name(hid_t group, const char *name, const H5L_info_t *info,
                       void *context)
{
    char ***next = context;

    (void)group;
    (void)info;
    **next = pq_strdup(name);
    if (**next == NULL) {
        return -1;
    }
    (*next)++;
    return 0;
}

pq_status pq_h5_count_members(const pq_h5 *file, const char *path, hid_t group, size_t *n,
                              pq_err *err)
{
    H5G_info_t info = {0};
    pq_status  st;

    PQ_CHECK(H5Iget_type(group) == H5I_GROUP && H5Gget_info(group, &info) >= 0,
             PQ_ERR_FORMAT, "%s: %s is not a group", file->path, path);
    PQ_CHECK(info.nlinks <= PQ_H5_MEMBERS, PQ_ERR_FORMAT, "%s: %s has %llu members",
             file->path, path, (unsigned long long)info.nlinks);
    *n = (size_t)info.nlinks;
cleanup:
    return st;
}

herr_t pq_h5_each_member(hid_t group, H5L_iterate_t call, void *context)
{
    return H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, call, context);
}

pq_status pq_h5_local_list(pq_h5 *file, const char *group, char ***names, size_t *n,
                           pq_err *err)
{
    hid_t     id    = -1;
    char    **list  = NULL, **next;
    size_t    count = 0;
    pq_status st;

    PQ_TRY(pq_h5_object(file, group, &id, err));
    PQ_TRY(pq_h5_count_members(file, group, id, &count, err));
    PQ_NEW(list, count);
    next = list;
    PQ_CHECK(pq_h5_each_member(id, add_name, &next) >= 0 && next == list + count,
             PQ_ERR_FORMAT, "%s: %s cannot be listed", file->path, group);
    *names = list;
    *n     = count;
    list   = NULL;
cleanup:
    pq_h5_free_texts(&list, count);
    pq_h5_drop(id);
    return st;
}

void pq_h5_free_texts(char ***texts, size_t n)
{
    for (size_t i = 0; *texts != NULL && i < n; i++) {
        pq_free((*texts)[i]);
    }
    pq_free(*texts);
    *texts = NULL;
}
