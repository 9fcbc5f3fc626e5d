/* Manifests of public sets. */
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/fetch.h"
#include "data/layout.h"
#include "io/yaml.h"

void pq_set_free(pq_set *set)
{
    pq_free(set->name);
    pq_free(set->title);
    pq_free(set->layout);
    pq_free(set->licence);
    pq_free(set->source);
    pq_free(set->note);
    pq_free(set->path);
    pq_free(set->checksum);
    pq_texts_free(&set->places, set->n_places);
    pq_texts_free(&set->classes, set->n_classes);
    for (size_t i = 0; set->files != NULL && i < set->n_files; i++) {
        pq_free(set->files[i].url);
        pq_free(set->files[i].name);
        pq_free(set->files[i].checksum);
    }
    pq_free(set->files);
    *set = (pq_set){0};
}

/* Every key of a map must be one of these. */
static pq_status check_keys(const pq_yaml *map, const char *const *keys, size_t n,
                            pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < map->n; i++) {
        const char *key   = map->items[i]->key, *near;
        bool        known = false;
        for (size_t k = 0; k < n; k++) {
            known = known || strcmp(keys[k], key) == 0;
        }
        if (!known) {
            near = pq_nearest(key, keys, n);
            PQ_TRY(pq_yaml_fail_key(map->items[i], err, PQ_ERR_CONFIG,
                                    "unknown key '%s'%s%s%s", key,
                                    near != NULL ? "; did you mean '" : "",
                                    near != NULL ? near : "", near != NULL ? "'?" : ""));
        }
    }
cleanup:
    return st;
}

/* Text of a key; a missing one gives the fallback, or fails where that is NULL. */
static pq_status text_of(const pq_yaml *map, const char *key, const char *fallback,
                         char **out, pq_err *err)
{
    const pq_yaml *node = pq_yaml_find(map, key);
    pq_status      st   = PQ_OK;

    if (node == NULL && fallback == NULL) {
        PQ_TRY(pq_yaml_fail(map, err, PQ_ERR_CONFIG, "'%s' is missing", key));
    }
    if (node != NULL && node->kind != PQ_YAML_SCALAR) {
        PQ_TRY(pq_yaml_fail(node, err, PQ_ERR_CONFIG, "'%s' is %s, not a text", key,
                            pq_yaml_kind_text(node->kind)));
    }
    PQ_STRDUP(*out, node != NULL ? node->text : fallback);
cleanup:
    return st;
}

static pq_status texts_of(const pq_yaml *map, const char *key, char ***out, size_t *n,
                          pq_err *err)
{
    const pq_yaml *node = pq_yaml_find(map, key);
    pq_status      st   = PQ_OK;

    if (node == NULL) {
        return PQ_OK;
    }
    if (node->kind != PQ_YAML_LIST) {
        PQ_TRY(pq_yaml_fail(node, err, PQ_ERR_CONFIG, "'%s' is %s, not a list", key,
                            pq_yaml_kind_text(node->kind)));
    }
    PQ_NEW(*out, node->n);
    for (size_t i = 0; i < node->n; i++) {
        if (node->items[i]->kind != PQ_YAML_SCALAR) {
            PQ_TRY(pq_yaml_fail(node->items[i], err, PQ_ERR_CONFIG,
                                "an entry of '%s' is %s", key,
                                pq_yaml_kind_text(node->items[i]->kind)));
        }
        *n = i + 1;
        PQ_STRDUP((*out)[i], node->items[i]->text);
    }
cleanup:
    return st;
}

/* One of sha256, md5, adler32 with as many digits as it has. */
static pq_status read_checksum(const pq_yaml *map, char **out, pq_err *err)
{
    static const struct {
        const char *name;
        size_t      digits;
    } kinds[]    = {{"sha256", 64}, {"md5", 32}, {"adler32", 8}};
    pq_status st = PQ_OK;

    for (size_t i = 0; i < 3; i++) {
        const pq_yaml *node = pq_yaml_find(map, kinds[i].name);
        if (node == NULL) {
            continue;
        }
        if (node->kind != PQ_YAML_SCALAR || strlen(node->text) != kinds[i].digits ||
            strspn(node->text, "0123456789abcdef") != kinds[i].digits) {
            PQ_TRY(pq_yaml_fail(node, err, PQ_ERR_CONFIG,
                                "%s is not %zu hexadecimal digits in lower case",
                                kinds[i].name, kinds[i].digits));
        }
        *out = pq_format("%s:%s", kinds[i].name, node->text);
        PQ_CHECK(*out != NULL, PQ_ERR_NOMEM, "cannot allocate a checksum");
        return PQ_OK;
    }
cleanup:
    return st;
}

static bool says_unknown(const pq_yaml *map)
{
    const pq_yaml *node = pq_yaml_find(map, "checksum");

    return node != NULL && node->kind == PQ_YAML_SCALAR &&
           strcmp(node->text, "unknown") == 0;
}

/* What a manifest names becomes a path below the folder of data: one file's name. */
static pq_status check_name(const pq_yaml *map, const char *key, const char *name,
                            pq_err *err)
{
    const pq_yaml *node = pq_yaml_find(map, key);
    pq_status      st   = PQ_OK;

    if (!pq_is_file_name(name)) {
        PQ_TRY(pq_yaml_fail(node != NULL ? node : map, err, PQ_ERR_CONFIG,
                            "%s: '%s' is no name for a file", key, name));
    }
cleanup:
    return st;
}

/* The same for a path inside the set's folder. */
static pq_status check_path(const pq_yaml *map, const char *key, const char *path,
                            pq_err *err)
{
    char    **parts = NULL;
    size_t    n     = 0;
    pq_status st    = PQ_OK;

    if (*path == '\0') {
        return PQ_OK;
    }
    PQ_TRY(pq_text_split(path, '/', &parts, &n, err));
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(check_name(map, key, parts[i], err));
    }
cleanup:
    pq_free(parts);
    return st;
}

static pq_status read_file(const pq_yaml *map, pq_set_file *out, pq_err *err)
{
    static const char *const keys[] = {"url", "as",      "bytes",    "sha256",
                                       "md5", "adler32", "checksum", "unpack"};
    const pq_yaml           *unpack = pq_yaml_find(map, "unpack");
    char                    *bytes  = NULL;
    int64_t                  n      = 0;
    pq_status                st;

    PQ_TRY(check_keys(map, keys, sizeof keys / sizeof *keys, err));
    PQ_TRY(text_of(map, "url", NULL, &out->url, err));
    PQ_TRY(text_of(map, "as", pq_path_base(out->url), &out->name, err));
    PQ_TRY(text_of(map, "bytes", NULL, &bytes, err));
    if (strcmp(bytes, "unknown") != 0 && (!pq_parse_int(bytes, &n) || n <= 0)) {
        PQ_TRY(pq_yaml_fail(pq_yaml_find(map, "bytes"), err, PQ_ERR_CONFIG,
                            "bytes '%s' is neither a whole number nor unknown", bytes));
    }
    out->bytes = (uint64_t)n;
    PQ_TRY(check_name(map, "as", out->name, err));
    PQ_TRY(read_checksum(map, &out->checksum, err));
    if (out->checksum == NULL && !says_unknown(map)) {
        PQ_TRY(pq_yaml_fail(
            map, err, PQ_ERR_CONFIG,
            "a file needs sha256, md5 or adler32, or says `checksum: unknown`"));
    }
    if (unpack != NULL &&
        (unpack->kind != PQ_YAML_SCALAR || !pq_parse_bool(unpack->text, &out->unpack))) {
        PQ_TRY(pq_yaml_fail(
            unpack, err, PQ_ERR_CONFIG, "unpack = '%s' is not true or false",
            unpack->kind == PQ_YAML_SCALAR ? unpack->text
                                           : pq_yaml_kind_text(unpack->kind)));
    }
cleanup:
    pq_free(bytes);
    return st;
}

static pq_status read_files(const pq_yaml *root, pq_set *set, pq_err *err)
{
    const pq_yaml *files = pq_yaml_find(root, "files");
    pq_status      st;

    if (files == NULL || files->kind != PQ_YAML_LIST) {
        PQ_TRY(pq_yaml_fail(files != NULL ? files : root, err, PQ_ERR_CONFIG,
                            "'files' is not a list of files"));
    }
    PQ_NEW(set->files, files->n);
    for (size_t i = 0; i < files->n; i++) {
        set->n_files = i + 1;
        PQ_TRY(read_file(files->items[i], &set->files[i], err));
    }
cleanup:
    return st;
}

static pq_status fill(const pq_yaml *root, pq_set *set, pq_err *err)
{
    static const char *const keys[] = {"name",   "title",   "layout", "licence",
                                       "source", "note",    "path",   "places",
                                       "sha256", "classes", "files"};
    pq_status                st;

    if (root->kind != PQ_YAML_MAP) {
        PQ_TRY(pq_yaml_fail(root, err, PQ_ERR_CONFIG, "the manifest is %s, not a map",
                            pq_yaml_kind_text(root->kind)));
    }
    PQ_TRY(check_keys(root, keys, sizeof keys / sizeof *keys, err));
    PQ_TRY(text_of(root, "name", NULL, &set->name, err));
    PQ_TRY(check_name(root, "name", set->name, err));
    PQ_TRY(text_of(root, "title", NULL, &set->title, err));
    PQ_TRY(text_of(root, "layout", NULL, &set->layout, err));
    PQ_TRY(text_of(root, "licence", NULL, &set->licence, err));
    PQ_TRY(text_of(root, "source", NULL, &set->source, err));
    PQ_TRY(text_of(root, "path", "", &set->path, err));
    PQ_TRY(check_path(root, "path", set->path, err));
    if (pq_yaml_find(root, "note") != NULL) {
        PQ_TRY(text_of(root, "note", NULL, &set->note, err));
    }
    PQ_TRY(texts_of(root, "places", &set->places, &set->n_places, err));
    PQ_TRY(read_checksum(root, &set->checksum, err));
    PQ_TRY(texts_of(root, "classes", &set->classes, &set->n_classes, err));
    PQ_TRY(read_files(root, set, err));
cleanup:
    return st;
}

/* Places that are not absolute are beside the manifest. */
static pq_status find_places(const char *manifest, pq_set *set, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < set->n_places; i++) {
        char       *place = set->places[i];
        const char *rest  = place;
        size_t      n     = (size_t)(pq_path_base(manifest) - manifest);
        if (strncmp(rest, "../", 3) == 0 && n > 2 && manifest[n - 2] != '.') {
            rest += 3;
            for (n--; n > 0 && manifest[n - 1] != '/'; n--) {
            }
        }
        if (place[0] != '/') {
            set->places[i] = pq_format("%.*s%s", (int)n, manifest, rest);
            pq_free(place);
            PQ_CHECK(set->places[i] != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        }
    }
cleanup:
    return st;
}

pq_status pq_set_read(const char *manifest, pq_set *out, pq_err *err)
{
    pq_yaml  *root = NULL;
    pq_set    set  = {0};
    pq_status st;

    PQ_TRY(pq_yaml_read(manifest, &root, err));
    PQ_TRY(fill(root, &set, err));
    PQ_TRY(find_places(manifest, &set, err));
    *out = set;
    set  = (pq_set){0};
cleanup:
    pq_set_free(&set);
    pq_yaml_free(&root);
    return st;
}

pq_status pq_sets_read(const char *folder, pq_set **out, size_t *n, pq_err *err)
{
    char    **names = NULL;
    pq_set   *sets  = NULL;
    size_t    count = 0;
    char     *path  = NULL;
    pq_status st;

    PQ_TRY(pq_folder_list(folder, ".yaml", &names, &count, err));
    PQ_NEW(sets, count);
    for (size_t i = 0; i < count; i++) {
        pq_free(path);
        path = pq_path_join(folder, names[i]);
        PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
        PQ_TRY(pq_set_read(path, &sets[i], err));
    }
    *out = sets;
    *n   = count;
    sets = NULL;
cleanup:
    for (size_t i = 0; sets != NULL && i < count; i++) {
        pq_set_free(&sets[i]);
    }
    pq_free(sets);
    pq_free(path);
    pq_texts_free(&names, count);
    return st;
}

pq_status pq_set_find(const char *folder, const char *name, pq_set *out, pq_err *err)
{
    pq_set      *sets  = NULL;
    const char **names = NULL;
    const char  *near;
    size_t       n = 0;
    pq_status    st;

    PQ_TRY(pq_sets_read(folder, &sets, &n, err));
    PQ_NEW(names, n);
    for (size_t i = 0; i < n; i++) {
        names[i] = sets[i].name;
        if (strcmp(sets[i].name, name) == 0) {
            *out    = sets[i];
            sets[i] = (pq_set){0};
            goto cleanup;
        }
    }
    near = pq_nearest(name, names, n);
    PQ_FAIL(PQ_ERR_NOT_FOUND, "no public set is called '%s'%s%s%s", name,
            near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'?" : "");
cleanup:
    for (size_t i = 0; sets != NULL && i < n; i++) {
        pq_set_free(&sets[i]);
    }
    pq_free(sets);
    pq_free(names);
    return st;
}
