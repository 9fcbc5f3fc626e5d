/*
 * What Keras 3 does otherwise: a .keras file is a ZIP of config.json and
 * model.weights.h5, and weights have no names, only the places of their layers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/foreign.h"
#include "core/map.h"
#include "core/memory.h"
#include "formats/keras.h"
#include "io/zip.h"

enum { PIECE_BYTES = 1 << 17 };

/* Groups that hold those of the layers: of Keras 3, and of TensorFlow 2.13. */
static const char *const roots[] = {"layers", "_layer_checkpoint_dependencies"};

bool pq_keras_is_archive(const char *path)
{
    uint8_t      start[4];
    const size_t n = pq_file_start(path, start, sizeof start);

    return pq_zip_looks(start, n) && pq_foreign_zip_has(path, "config.json") &&
           pq_foreign_zip_has(path, "model.weights.h5");
}

const char *pq_keras_v3_root(pq_h5 *file)
{
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        if (pq_h5_kind(file, roots[i]) == PQ_H5_GROUP && pq_h5_has(file, "vars")) {
            return roots[i];
        }
    }
    return NULL;
}

/* An empty file of this user's alone. */
static pq_status make_temporary(char **path, int *fd, pq_err *err)
{
    const char *folder = getenv("TMPDIR");
    char       *made   = pq_format("%s/pquant-XXXXXX", folder != NULL ? folder : "/tmp");
    pq_status   st;

    PQ_CHECK(made != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    *fd = mkostemp(made, O_CLOEXEC);
    PQ_CHECK(*fd >= 0, PQ_ERR_IO, "cannot make a temporary file %s: %s", made,
             strerror(errno));
    *path = made;
    made  = NULL;
cleanup:
    pq_free(made);
    return st;
}

pq_status pq_keras_temporary(char **path, pq_err *err)
{
    int             fd = -1;
    const pq_status st = make_temporary(path, &fd, err);

    if (fd >= 0) {
        (void)close(fd);
    }
    return st;
}

static pq_status write_all(int fd, const char *path, const uint8_t *bytes, size_t n,
                           pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t done = 0; done < n;) {
        const ssize_t now = write(fd, bytes + done, n - done);
        PQ_CHECK(now > 0 || errno == EINTR, PQ_ERR_IO, "cannot write %s: %s", path,
                 strerror(errno));
        done += now > 0 ? (size_t)now : 0;
    }
cleanup:
    return st;
}

/* Writes a member in pieces: neither it nor the archive need to fit into memory. */
static pq_status unpack_to(const pq_zip_member *m, int fd, const char *path, pq_err *err)
{
    pq_zip_stream *stream = NULL;
    uint8_t       *piece  = NULL;
    pq_status      st;

    if (m->deflated) {
        PQ_TRY(pq_zip_stream_open(m, 0, &stream, err));
        PQ_NEW_UNSET(piece, PIECE_BYTES);
    }
    st = PQ_OK;
    for (size_t at = 0; at < m->n; at += PIECE_BYTES) {
        const size_t n = m->n - at < PIECE_BYTES ? m->n - at : PIECE_BYTES;
        if (m->deflated) {
            PQ_TRY(pq_zip_stream_read(stream, piece, n, err));
            PQ_TRY(write_all(fd, path, piece, n, err));
        } else {
            PQ_TRY(write_all(fd, path, m->bytes + at, n, err));
            if (m->mapped) {
                pq_map_release(m->bytes + at, n);
            }
        }
    }
cleanup:
    pq_zip_stream_close(&stream);
    pq_free(piece);
    return st;
}

/* A text of the archive, or NULL where it is not there. */
static pq_status text_of(const pq_zip *zip, const char *name, char **out, pq_err *err)
{
    const pq_zip_member *member = pq_zip_find(zip, name);

    *out = NULL;
    return member != NULL ? pq_zip_content(member, out, err) : PQ_OK;
}

pq_status pq_keras_unpack(const char *path, pq_keras_archive *out, pq_err *err)
{
    pq_map               map = {0};
    pq_zip               zip = {0};
    const pq_zip_member *h5;
    int                  fd = -1;
    pq_status            st;

    PQ_TRY(pq_map_open(path, &map, err));
    PQ_TRY(pq_zip_open_map(&map, &zip, err));
    PQ_TRY(text_of(&zip, "config.json", &out->config, err));
    PQ_TRY(text_of(&zip, "metadata.json", &out->metadata, err));
    h5 = pq_zip_find(&zip, "model.weights.h5");
    PQ_CHECK(out->config != NULL && h5 != NULL, PQ_ERR_FORMAT,
             "the archive has no %s: it is no model of Keras",
             out->config == NULL ? "config.json" : "model.weights.h5");
    PQ_TRY(make_temporary(&out->weights, &fd, err));
    PQ_TRY(unpack_to(h5, fd, out->weights, err));
cleanup:
    if (st != PQ_OK) {
        pq_err_context(err, "%s", path);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    pq_zip_free(&zip);
    pq_map_close(&map);
    return st;
}

void pq_keras_archive_free(pq_keras_archive *a)
{
    if (a->weights != NULL) {
        (void)unlink(a->weights);
    }
    pq_free(a->weights);
    pq_free(a->config);
    pq_free(a->metadata);
    *a = (pq_keras_archive){0};
}

void pq_keras_blame(pq_err *err, const char *spilled, const char *path)
{
    char *at = err != NULL ? strstr(err->message, spilled) : NULL;

    while (at != NULL) {
        char *rest = pq_format("%s", at + strlen(spilled));
        (void)snprintf(at, sizeof err->message - (size_t)(at - err->message), "%s%s",
                       path, rest != NULL ? rest : "");
        pq_free(rest);
        at = at + strlen(path) < err->message + sizeof err->message
                 ? strstr(at + strlen(path), spilled)
                 : NULL;
    }
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

/* "conv2d", "batch_normalization", "re_lu": as Keras's to_snake_case. */
static char *snake_case(const char *class_name)
{
    const size_t n   = strlen(class_name);
    char        *out = pq_calloc(2 * n + 1, 1);
    size_t       at  = 0;

    for (size_t i = 0; out != NULL && i < n; i++) {
        const char c = class_name[i];
        if (i > 0 && is_upper(c) &&
            (is_lower(class_name[i - 1]) || is_lower(class_name[i + 1]))) {
            out[at++] = '_';
        }
        out[at++] = is_upper(c) ? (char)(c - 'A' + 'a') : c;
    }
    return out;
}

pq_status pq_keras_v3_place(const char *root, const char *class_name, json_t *counts,
                            char **out, pq_err *err)
{
    char            *word = snake_case(class_name);
    const json_int_t k    = json_integer_value(json_object_get(counts, class_name));
    pq_status        st;

    PQ_CHECK(word != NULL &&
                 json_object_set_new(counts, class_name, json_integer(k + 1)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a name");
    *out = k == 0 ? pq_format("%s/%s/vars", root, word)
                  : pq_format("%s/%s_%lld/vars", root, word, (long long)k);
    PQ_CHECK(*out != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
cleanup:
    pq_free(word);
    return st;
}

/* Newer files say in each group whose it is: then that is what is followed. */
static pq_status check_owner(pq_h5 *file, const char *path, const char *group,
                             const char *layer, pq_err *err)
{
    char     *owner = NULL;
    pq_status st    = PQ_OK;

    if (pq_h5_has(file, group) && pq_h5_has_attr(file, group, "name")) {
        PQ_TRY(pq_h5_attr_text(file, group, "name", &owner, err));
        PQ_CHECK(strcmp(owner, layer) == 0, PQ_ERR_FORMAT,
                 "%s: %s is said to be of layer '%s', and by its place is of '%s': the "
                 "weights are of another architecture",
                 path, group, owner, layer);
    }
cleanup:
    pq_free(owner);
    return st;
}

pq_status pq_keras_v3_places(pq_h5 *file, const char *path, const char *root,
                             const json_t *layers, json_t **out, pq_err *err)
{
    json_t   *counts = json_object(), *places = json_object();
    char     *group = NULL;
    pq_status st;

    PQ_CHECK(counts != NULL && places != NULL, PQ_ERR_NOMEM, "cannot allocate a table");
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const char *class   = pq_keras_text(layer, "class_name", "");
        const char *name    = pq_keras_text(json_object_get(layer, "config"), "name",
                                            pq_keras_text(layer, "name", ""));
        PQ_TRY(pq_keras_v3_place(root, class, counts, &group, err));
        PQ_TRY(check_owner(file, path, group, name, err));
        PQ_CHECK(json_object_set_new(places, name, json_string(group)) == 0, PQ_ERR_NOMEM,
                 "cannot allocate a name");
        pq_free(group);
        group = NULL;
    }
    *out   = places;
    places = NULL;
cleanup:
    pq_free(group);
    json_decref(counts);
    json_decref(places);
    return st;
}
