/* Folders of results brought together: merge.h says what comes out. Of the records of one
 * key the first in one order of all records is kept, so that neither the order of the
 * folders nor a second time changes anything. */
#include <stdlib.h>
#include <string.h>

#include "core/batch.h"
#include "core/file.h"
#include "core/memory.h"
#include "store/json.h"
#include "store/record.h"
#include "sweep/merge.h"

/* Files that get their names together; more are not open at a time than one. */
enum { BATCH = 4096, PLAN_BYTES_MAX = 1 << 30 };

/* A record in the batch: what its file will be known as, and its size. */
typedef struct {
    const char *name; /* of its entry */
    json_t     *record;
    size_t      bytes;
} waiting;

/* A record file: folder 0 is where all go. */
typedef struct {
    char  *name; /* "<key>.json" */
    size_t folder;
} entry;

typedef struct {
    size_t         n_folders;
    const char   **folders; /* [n_folders] */
    size_t         n;
    entry         *entries; /* [n], by key, then folder */
    pq_batch_files batch;
    json_t        *copied; /* names of files in the batch */
    pq_shelf      *shelf;  /* of folder 0, or NULL */
    size_t         n_waiting;
    waiting       *waiting; /* [BATCH], for the shelf */
    pq_merged     *merged;
} join;

/* A record and its file. */
typedef struct {
    json_t *record;
    char   *bytes;
    size_t  n, folder;
} candidate;

static void forget(candidate *c)
{
    json_decref(c->record);
    pq_free(c->bytes);
    *c = (candidate){0};
}

static bool is_ok(const json_t *record)
{
    return strcmp(pq_json_get_text(record, "status"), "ok") == 0;
}

static bool is_noisy(const json_t *record)
{
    return json_is_true(json_object_get(json_object_get(record, "timing"), "noisy"));
}

/* Order of records of one key, the best first: with numbers, quiet, of two with numbers
 * the earlier and of two failures the later, the smaller file. */
static int compare(const candidate *a, const candidate *b)
{
    const int ok    = is_ok(b->record) - is_ok(a->record);
    const int quiet = is_noisy(a->record) - is_noisy(b->record);
    const int date =
        strcmp(pq_json_get_text(json_object_get(a->record, "provenance"), "date"),
               pq_json_get_text(json_object_get(b->record, "provenance"), "date"));

    if (ok != 0 || quiet != 0) {
        return ok != 0 ? ok : quiet;
    }
    if (date != 0) {
        return is_ok(a->record) ? date : -date;
    }
    if (a->n != b->n) {
        return a->n < b->n ? -1 : 1;
    }
    return memcmp(a->bytes, b->bytes, a->n);
}

/* Name of the first metric in which two records of one key differ, or NULL. */
static const char *difference(const json_t *a, const json_t *b)
{
    const json_t *mine = json_object_get(a, "metrics");
    const json_t *its  = json_object_get(b, "metrics"), *value;
    const char   *name;

    json_object_foreach((json_t *)mine, name, value)
    {
        if (!json_equal(value, json_object_get(its, name))) {
            return name;
        }
    }
    json_object_foreach((json_t *)its, name, value)
    {
        if (json_object_get(mine, name) == NULL) {
            return name;
        }
    }
    return NULL;
}

/* Two good records of an evaluation must agree. */
static const char *conflict(const candidate *a, const candidate *b)
{
    return is_ok(a->record) && is_ok(b->record) &&
                   strcmp(pq_json_get_text(a->record, "phase"), "eval") == 0
               ? difference(a->record, b->record)
               : NULL;
}

static void note_conflict(join *j, const candidate *a, const candidate *b,
                          const char *metric, const char *key)
{
    pq_text_add(&j->merged->conflicts, "%s and %s differ in %s of cell '%s' (key %s)\n",
                j->folders[a->folder], j->folders[b->folder], metric,
                pq_json_get_text(a->record, "label"), key);
    j->merged->n_conflicts++;
}

/* "<key>.json" without its end. */
static void key_of(const char *name, char key[80])
{
    (void)snprintf(key, 80, "%.*s", (int)(strlen(name) - strlen(".json")), name);
}

static pq_status load(const join *j, const entry *e, candidate *out, pq_err *err)
{
    char      key[80];
    pq_status st;

    out->folder = e->folder;
    key_of(e->name, key);
    PQ_TRY(pq_record_load(j->folders[e->folder], key, &out->record, &out->bytes, &out->n,
                          err));
cleanup:
    return st;
}

/* The best of the records of one key. Those that cannot be read do not count; none may be
 * left. */
static pq_status choose(join *j, const entry *group, size_t n, bool look, candidate *best,
                        pq_err *err)
{
    size_t    good = 0;
    pq_status st   = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        candidate       next = {0};
        const char     *metric;
        pq_err          why    = {0};
        const pq_status loaded = load(j, &group[i], &next, &why);
        PQ_CHECK(loaded != PQ_ERR_NOMEM, loaded, "cannot allocate a record");
        if (loaded != PQ_OK) {
            if (!look && group[i].folder > 0) {
                pq_text_add(&j->merged->damage, "%s\n", why.message);
                j->merged->damaged++;
            }
            continue;
        }
        good += group[i].folder > 0;
        metric = best->record != NULL ? conflict(best, &next) : NULL;
        if (metric != NULL && look) {
            note_conflict(j, best, &next, metric, pq_json_get_text(next.record, "key"));
        }
        if (best->record == NULL || compare(&next, best) < 0) {
            candidate other = *best;
            *best           = next;
            next            = other;
        }
        forget(&next);
    }
    j->merged->duplicates += !look && good > 1 ? good - 1 : 0;
cleanup:
    return st;
}

/* Entries of the same key from i on. */
static size_t group_of(const join *j, size_t i)
{
    size_t n = 1;

    while (i + n < j->n && strcmp(j->entries[i].name, j->entries[i + n].name) == 0) {
        n++;
    }
    return n;
}

/* Looks for conflicts before anything is written. */
static pq_status look(join *j, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0, n; i < j->n; i += n) {
        candidate best = {0};
        n              = group_of(j, i);
        if (n > 1) {
            st = choose(j, &j->entries[i], n, true, &best, err);
        }
        forget(&best);
        PQ_TRY(st);
    }
    PQ_CHECK(j->merged->n_conflicts == 0, PQ_ERR_NUMERIC,
             "%.*s: the same key must give the same value, so one comes from another "
             "version or a broken machine; conflicts: %zu, and nothing was merged",
             (int)strcspn(j->merged->conflicts.text, "\n"), j->merged->conflicts.text,
             j->merged->n_conflicts);
cleanup:
    return st;
}

static pq_status commit(join *j, pq_err *err)
{
    char      key[80];
    pq_status st;

    (void)json_object_clear(j->copied);
    PQ_TRY(pq_batch_commit(&j->batch, err));
    for (; j->n_waiting > 0; j->n_waiting--) {
        waiting *w = &j->waiting[j->n_waiting - 1];
        key_of(w->name, key);
        PQ_TRY(pq_shelf_put(j->shelf, key, w->record, w->bytes, err));
        json_decref(w->record);
    }
cleanup:
    return st;
}

/* Copies a file that a record names where it is lacking: one in arrays/ or models/
 * (store/schema.h). */
static pq_status copy_named(join *j, const candidate *c, const char *field, pq_err *err)
{
    const char *name   = pq_json_get_text(c->record, field);
    char       *source = pq_path_join(j->folders[c->folder], name);
    char       *target = pq_path_join(j->folders[0], name), *inner = NULL;
    pq_status   st;

    PQ_CHECK(source != NULL && target != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (*name == '\0' || !pq_file_exists(source) || pq_file_exists(target) ||
        json_object_get(j->copied, name) != NULL) {
        goto cleanup;
    }
    PQ_CHECK(pq_path_is_inside(j->folders[c->folder], name), PQ_ERR_FORMAT,
             "%s: leads out of its folder: it is not copied", source);
    inner = pq_format("%.*s", (int)strcspn(name, "/"), name);
    PQ_CHECK(inner != NULL &&
                 json_object_set_new_nocheck(j->copied, name, json_true()) == 0,
             PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_folder_make_inside(j->folders[0], inner, NULL, err));
    PQ_TRY(pq_batch_copy(&j->batch, source, target, err));
cleanup:
    pq_free(source);
    pq_free(target);
    pq_free(inner);
    return st;
}

/* Takes a record, whose reference goes to what waits for the shelf. */
static pq_status take(join *j, candidate *c, const char *name, pq_err *err)
{
    char     *cells = NULL, *path = NULL;
    pq_status st;

    PQ_TRY(copy_named(j, c, "model_file", err));
    PQ_TRY(copy_named(j, c, "arrays_file", err));
    PQ_TRY(pq_folder_make_inside(j->folders[0], "cells", &cells, err));
    path = pq_path_join(cells, name);
    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_batch_write(&j->batch, path, c->bytes, c->n, err));
    j->merged->copied++;
    if (j->shelf != NULL) {
        pq_shelf_trim(c->record);
        j->waiting[j->n_waiting++] = (waiting){name, c->record, c->n};
        c->record                  = NULL;
    }
    if (j->batch.n >= BATCH) {
        PQ_TRY(commit(j, err));
    }
cleanup:
    pq_free(cells);
    pq_free(path);
    return st;
}

static pq_status take_all(join *j, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0, n; i < j->n; i += n) {
        candidate best = {0};
        n              = group_of(j, i);
        if (n == 1 && j->entries[i].folder == 0) {
            continue;
        }
        st = choose(j, &j->entries[i], n, false, &best, err);
        if (st == PQ_OK && best.record != NULL && best.folder > 0) {
            st = take(j, &best, j->entries[i].name, err);
        }
        forget(&best);
        PQ_TRY(st);
    }
    PQ_TRY(commit(j, err));
cleanup:
    return st;
}

static int by_key(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    const int    c = strcmp(x->name, y->name);

    return c != 0 ? c : (x->folder > y->folder) - (x->folder < y->folder);
}

static pq_status list_folder(join *j, size_t folder, pq_err *err)
{
    char     *cells = pq_path_join(j->folders[folder], "cells");
    char    **names = NULL;
    size_t    n     = 0;
    entry    *grown;
    pq_status st = PQ_OK;

    PQ_CHECK(cells != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (pq_folder_exists(cells)) {
        PQ_TRY(pq_folder_list(cells, ".json", &names, &n, err));
    }
    grown = pq_recalloc(j->entries, j->n, j->n + n + 1, sizeof *grown);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate a list of records");
    j->entries = grown;
    for (size_t i = 0; i < n; i++) {
        if (strlen(names[i]) < 80) { /* keys are shorter: a stranger's file */
            j->entries[j->n++] = (entry){names[i], folder};
            names[i]           = NULL;
        }
    }
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(names);
    pq_free(cells);
    return st;
}

/* Text of a folder's plan; NULL where it has none. */
static pq_status read_plan(const char *dir, char **out, size_t *n, pq_err *err)
{
    char     *path = pq_path_join(dir, "plan.json");
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    if (pq_file_exists(path)) {
        PQ_TRY(pq_file_read(path, PLAN_BYTES_MAX, out, n, err));
    }
cleanup:
    pq_free(path);
    return st;
}

/* Number of the first cell in which two plans differ, SIZE_MAX for none. Latency keys
 * hold the host: they may. */
static size_t plans_differ(const char *a, size_t n_a, const char *b, size_t n_b)
{
    json_t *x = NULL, *y = NULL;
    json_t *mine, *its;
    size_t  i, n;

    if (n_a == n_b && memcmp(a, b, n_a) == 0) {
        return SIZE_MAX;
    }
    x    = json_loadb(a, n_a, 0, NULL);
    y    = json_loadb(b, n_b, 0, NULL);
    mine = json_object_get(x, "cells");
    its  = json_object_get(y, "cells");
    n    = json_array_size(mine);
    for (i = 0; i < n; i++) {
        const json_t *c = json_array_get(mine, i), *d = json_array_get(its, i);
        if (strcmp(pq_json_get_text(c, "eval"), pq_json_get_text(d, "eval")) != 0 ||
            strcmp(pq_json_get_text(c, "label"), pq_json_get_text(d, "label")) != 0) {
            break;
        }
    }
    if (i == n && n == json_array_size(its)) {
        i = SIZE_MAX;
    }
    json_decref(x);
    json_decref(y);
    return i;
}

/* The plan of all: the folder's own, else the first in the order of texts. */
static pq_status choose_plan(const join *j, bool force, pq_err *err)
{
    char     *plan = NULL, *next = NULL, *path = pq_path_join(j->folders[0], "plan.json");
    size_t    n = 0, n_next = 0, where = 0;
    pq_status st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    for (size_t f = 0; f < j->n_folders; f++) {
        size_t differ;
        PQ_TRY(read_plan(j->folders[f], &next, &n_next, err));
        differ = plan == NULL || next == NULL || force
                     ? SIZE_MAX
                     : plans_differ(plan, n, next, n_next);
        PQ_CHECK(
            differ == SIZE_MAX, PQ_ERR_CONFIG,
            "%s and %s have different plans: cell %zu is not the same; --force brings "
            "their records together all the same",
            j->folders[where], j->folders[f], differ);
        if (plan == NULL || (where > 0 && next != NULL && strcmp(next, plan) < 0)) {
            char *other = plan;
            plan        = next;
            n           = n_next;
            next        = other;
            where       = f;
        }
        pq_free(next);
        next = NULL;
    }
    if (plan != NULL && where > 0) {
        PQ_TRY(pq_folder_make(j->folders[0], err));
        PQ_TRY(pq_file_write(path, plan, n, err));
    }
cleanup:
    pq_free(plan);
    pq_free(next);
    pq_free(path);
    return st;
}

static void free_join(join *j)
{
    for (size_t i = 0; i < j->n_waiting; i++) {
        json_decref(j->waiting[i].record);
    }
    pq_free(j->waiting);
    for (size_t i = 0; i < j->n; i++) {
        pq_free(j->entries[i].name);
    }
    pq_free(j->entries);
    pq_free(j->folders);
    pq_batch_free(&j->batch);
    json_decref(j->copied);
}

pq_status pq_sweep_join(const char *dir, size_t n, const char *const *from,
                        const pq_join_options *options, pq_merged *merged, pq_err *err)
{
    const pq_join_options chosen = options != NULL ? *options : (pq_join_options){0};
    join                  j      = {.n_folders = n + 1,
                                    .merged    = merged,
                                    .copied    = json_object(),
                                    .shelf     = chosen.shelf};
    pq_status             st;

    *merged = (pq_merged){0};
    PQ_CHECK(j.copied != NULL, PQ_ERR_NOMEM, "cannot allocate a list of files");
    PQ_NEW(j.folders, n + 1);
    PQ_NEW(j.waiting, BATCH);
    j.folders[0] = dir;
    for (size_t f = 0; f < n; f++) {
        PQ_CHECK(pq_folder_exists(from[f]), PQ_ERR_NOT_FOUND,
                 "%s: there is no such folder", from[f]);
        j.folders[f + 1] = from[f];
    }
    for (size_t f = 0; f <= n; f++) {
        PQ_TRY(list_folder(&j, f, err));
    }
    if (j.n > 0) {
        qsort(j.entries, j.n, sizeof *j.entries, by_key);
    }
    PQ_TRY(look(&j, err));
    PQ_TRY(choose_plan(&j, chosen.force, err));
    PQ_TRY(pq_folder_make(dir, err));
    pq_sweep_tidy(dir);
    PQ_TRY(take_all(&j, err));
cleanup:
    free_join(&j);
    return st;
}

void pq_merged_free(pq_merged *merged)
{
    pq_text_free(&merged->conflicts);
    pq_text_free(&merged->damage);
    *merged = (pq_merged){0};
}
