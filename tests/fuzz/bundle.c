/* Bundles taken apart, and their files written. */
#define _GNU_SOURCE /* memmem */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "fuzz.h"

const char fuzz_mark[FUZZ_MARK + 1] = "\n@@ ";

static const uint8_t *find_mark(const uint8_t *bytes, size_t n, size_t from)
{
    return from >= n ? NULL : memmem(bytes + from, n - from, fuzz_mark, FUZZ_MARK);
}

bool fuzz_next(const uint8_t *bytes, size_t n, size_t *at, fuzz_record *out)
{
    const uint8_t *p = find_mark(bytes, n, *at), *end = bytes + n, *next;

    if (p == NULL || (size_t)(end - p) <= FUZZ_MARK) {
        return false;
    }
    out->start    = p;
    out->kind     = (char)p[FUZZ_MARK];
    out->n_fields = 0;
    for (size_t i = 0; i < FUZZ_FIELDS; i++) {
        out->fields[i][0] = '\0';
    }
    next = find_mark(bytes, n, (size_t)(p - bytes) + FUZZ_MARK);
    end  = next != NULL ? next : end;
    p += FUZZ_MARK + 1;
    while (p < end && *p == '\t' && out->n_fields < FUZZ_FIELDS) {
        char  *field = out->fields[out->n_fields++];
        size_t k     = 0;
        for (p++; p < end && *p != '\t' && *p != '\n'; p++) {
            if (k + 1 < FUZZ_FIELD && *p != '\0') {
                field[k++] = (char)*p;
            }
        }
        field[k] = '\0';
    }
    while (p < end && *p != '\n') {
        p++;
    }
    out->body = p < end ? p + 1 : end;
    out->n    = (size_t)(end - out->body);
    *at       = (size_t)(end - bytes);
    return true;
}

const char *fuzz_option(const fuzz_input *in, const char *key, char *out)
{
    fuzz_record r;

    for (size_t at = 0; fuzz_next(in->bytes, in->n, &at, &r);) {
        if (r.kind == 'O' && strcmp(r.fields[0], key) == 0) {
            (void)snprintf(out, FUZZ_FIELD, "%s", r.fields[1]);
            return out;
        }
    }
    return NULL;
}

const char *fuzz_path(const fuzz_input *in, const char *name, char *out, size_t size)
{
    (void)snprintf(out, size, "%s/%s", in->folder, name);
    return out;
}

/* Names of files stay in the folder. */
static bool is_safe(const char *name)
{
    const size_t n = strlen(name);

    return n > 0 && n < 100 && name[0] != '/' && name[0] != '.' && name[n - 1] != '/' &&
           strstr(name, "..") == NULL && strstr(name, "/.") == NULL &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                        "._-/") == n;
}

static void make_parents(char *path)
{
    char *slash = strrchr(path, '/');

    *slash = '\0';
    (void)pq_folder_make(path, NULL);
    *slash = '/';
}

void fuzz_unfold(const uint8_t *bytes, size_t n, const char *folder, char *first,
                 size_t size)
{
    fuzz_record r;

    first[0] = '\0';
    for (size_t at = 0; fuzz_next(bytes, n, &at, &r);) {
        char path[512];

        if ((r.kind != 'F' && r.kind != 'H') || !is_safe(r.fields[0])) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", folder, r.fields[0]);
        make_parents(path);
        if (r.kind == 'F') {
            (void)pq_file_write(path, r.body, r.n, NULL);
        } else {
            fuzz_write_hdf5(path, strcmp(r.fields[1], "earliest") != 0, bytes, n, &at);
        }
        if (first[0] == '\0') {
            (void)snprintf(first, size, "%s", path);
        }
    }
    if (first[0] == '\0') {
        (void)snprintf(first, size, "%s/none", folder);
    }
}
