/* Where sets lie. */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/fetch.h"

pq_status pq_data_home(char **out, pq_err *err)
{
    const char *given = getenv("PQUANT_DATA_DIR");
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home  = getenv("HOME");
    pq_status   st;

    PQ_CHECK((given != NULL && given[0] != '\0') || (cache != NULL && cache[0] == '/') ||
                 (home != NULL && home[0] != '\0'),
             PQ_ERR_CONFIG,
             "neither PQUANT_DATA_DIR, XDG_CACHE_HOME nor HOME says where data lie");
    if (given != NULL && given[0] != '\0') {
        *out = pq_strdup(given);
    } else if (cache != NULL && cache[0] == '/') {
        *out = pq_format("%s/pquant/data", cache);
    } else {
        *out = pq_format("%s/.cache/pquant/data", home);
    }
    PQ_CHECK(*out != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
cleanup:
    return st;
}

/* Whether every file of a set has its own name in the folder: downloads get it when they
 * are checked. Archives may be gone where what was in them is there. */
static bool is_complete(const pq_set *set, const char *folder, const char *inside)
{
    bool   all  = pq_file_exists(inside);
    size_t gone = 0, archives = 0;

    for (size_t i = 0; all && i < set->n_files; i++) {
        const pq_set_file *file = &set->files[i];
        char              *path = pq_path_join(folder, file->name);
        const bool         here = path != NULL && pq_file_exists(path);
        char              *part = path == NULL ? NULL : pq_format("%s.part", path);
        archives += file->unpack ? 1 : 0;
        gone += file->unpack && !here ? 1 : 0;
        all = part != NULL && !pq_file_exists(part) && (here || file->unpack);
        pq_free(path);
        pq_free(part);
    }
    return all && (gone == 0 || gone == archives);
}

static void hint_missing(const pq_set *set, pq_err *err)
{
    static const char debian[] = "/usr/share/datasets/";
    const bool        packaged =
        set->n_places > 0 && strncmp(set->places[0], debian, sizeof debian - 1) == 0;

    if (set->n_files == 0) {
        pq_err_hint(err, "%s", set->note != NULL ? set->note : set->source);
    } else {
        pq_err_hint(err, "`pquant data fetch %s` gets it%s%s", set->name,
                    packaged ? ", and so does Debian's package dataset-" : "",
                    packaged ? set->name : "");
    }
}

pq_status pq_set_where(const pq_set *set, char **path, pq_err *err)
{
    char     *home = NULL, *folder = NULL, *inside = NULL;
    pq_status st;

    for (size_t i = 0; i < set->n_places; i++) {
        if (pq_file_exists(set->places[i])) {
            PQ_STRDUP(*path, set->places[i]);
            return PQ_OK;
        }
    }
    PQ_TRY(pq_data_home(&home, err));
    folder = pq_path_join(home, set->name);
    inside = folder == NULL         ? NULL
             : set->path[0] == '\0' ? pq_strdup(folder)
                                    : pq_path_join(folder, set->path);
    PQ_CHECK(inside != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (!is_complete(set, folder, inside)) {
        st = pq_err_set(err, PQ_ERR_NOT_FOUND, __FILE__, __LINE__,
                        "%s: the set '%s' is not there", inside, set->name);
        hint_missing(set, err);
        goto cleanup;
    }
    *path  = inside;
    inside = NULL;
cleanup:
    pq_free(home);
    pq_free(folder);
    pq_free(inside);
    return st;
}

/* A folder or file of that name where sets lie, or NULL. */
static char *find_unlisted(const char *name)
{
    static const char *const debian = "/usr/share/datasets";
    char                    *home = NULL, *path = NULL;

    if (pq_data_home(&home, NULL) == PQ_OK) {
        path = pq_path_join(home, name);
    }
    pq_free(home);
    if (path == NULL || !pq_file_exists(path)) {
        pq_free(path);
        path = pq_path_join(debian, name);
    }
    if (path == NULL || !pq_file_exists(path)) {
        pq_free(path);
        path = NULL;
    }
    return path;
}

/* A set's folder that somebody else than `data fetch` filled, or NULL. */
static char *find_by_hand(const char *name)
{
    char      *path = find_unlisted(name);
    char      *lock = path == NULL ? NULL : pq_path_join(path, ".lock");
    const bool ours = lock == NULL || pq_file_exists(lock);

    pq_free(lock);
    if (ours) {
        pq_free(path);
        path = NULL;
    }
    return path;
}

static pq_status resolve_set(const pq_set *set, char **path, pq_err *err)
{
    pq_err    why = {0};
    pq_status st  = pq_set_where(set, path, &why);

    if (st == PQ_ERR_NOT_FOUND) {
        *path = find_by_hand(set->name);
        st    = *path != NULL ? PQ_OK : st;
    }
    if (st != PQ_OK && err != NULL) {
        *err = why;
    }
    return st;
}

pq_status pq_data_resolve(const char *name, pq_set *set, char **path, pq_err *err)
{
    char     *sets = NULL;
    pq_err    why  = {0};
    pq_status st   = PQ_OK;

    *set  = (pq_set){0};
    *path = NULL;
    if (strpbrk(name, "/.") != NULL || name[0] == '\0' || pq_file_exists(name)) {
        PQ_TRY(pq_file_check(name, err));
        PQ_STRDUP(*path, name);
        goto cleanup;
    }
    if (pq_folder_shipped("datasets/sets", "sets", &sets, NULL) == PQ_OK &&
        pq_set_find(sets, name, set, &why) == PQ_OK) {
        PQ_TRY(resolve_set(set, path, err));
        goto cleanup;
    }
    *path = find_unlisted(name);
    if (*path == NULL) {
        st = pq_file_check(name, err);
        pq_err_hint(err, "%s (`pquant data list` names them)",
                    why.message[0] != '\0' ? why.message : "no public set is called so");
    }
cleanup:
    if (st != PQ_OK) {
        pq_set_free(set);
    }
    pq_free(sets);
    return st;
}
