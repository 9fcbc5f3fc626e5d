#include "data/layout.h"

#include <ctype.h>
#include <string.h>

#include "core/memory.h"

#define X(word) extern const pq_layout pq_layout_##word;
#include "data/layouts.def"
#undef X

const pq_layout *const pq_layouts[] = {
#define X(word) &pq_layout_##word,
#include "data/layouts.def"
#undef X
    NULL,
};

pq_status pq_source_add_split(pq_source *s, const char *name, size_t n, pq_err *err)
{
    pq_status st;

    PQ_CHECK(s->n_splits < PQ_SOURCE_SPLITS, PQ_ERR_FORMAT, "%s: has more than %d splits",
             s->path, PQ_SOURCE_SPLITS);
    PQ_STRDUP(s->splits[s->n_splits].name, name);
    s->splits[s->n_splits].n = n;
    s->n_splits++;
cleanup:
    return st;
}

pq_status pq_source_note(pq_source *s, const char *path, pq_err *err)
{
    char    **grown;
    pq_status st;

    grown = pq_recalloc(s->files, s->n_files, s->n_files + 1, sizeof *s->files);
    PQ_CHECK(grown != NULL, PQ_ERR_NOMEM, "cannot allocate a list of files");
    s->files = grown;
    PQ_STRDUP(s->files[s->n_files], path);
    s->n_files++;
cleanup:
    return st;
}

pq_status pq_texts_copy(const char *const *texts, size_t n, char ***out, pq_err *err)
{
    char    **list = NULL;
    pq_status st;

    PQ_NEW(list, n);
    for (size_t i = 0; i < n; i++) {
        PQ_STRDUP(list[i], texts[i]);
    }
    *out = list;
    list = NULL;
cleanup:
    pq_texts_free(&list, n);
    return st;
}

void pq_texts_free(char ***texts, size_t n)
{
    for (size_t i = 0; *texts != NULL && i < n; i++) {
        pq_free((*texts)[i]);
    }
    pq_free(*texts);
    *texts = NULL;
}

pq_status pq_texts_split(const char *text, char ***out, size_t *n, pq_err *err)
{
    char    **list  = NULL;
    size_t    count = 1, i = 0;
    pq_status st;

    for (const char *p = text; *p != '\0'; p++) {
        count += *p == ',' ? 1 : 0;
    }
    PQ_NEW(list, count);
    for (const char *p = text; i < count; i++) {
        size_t length = strcspn(p, ",");
        size_t from   = strspn(p, " ");
        from          = from < length ? from : length;
        while (length > from && isspace((unsigned char)p[length - 1])) {
            length--;
        }
        PQ_NEW(list[i], length - from + 1);
        memcpy(list[i], p + from, length - from);
        p += strcspn(p, ",");
        p += *p == ',' ? 1 : 0;
    }
    *out = list;
    *n   = count;
    list = NULL;
cleanup:
    pq_texts_free(&list, count);
    return st;
}

pq_status pq_source_number_classes(pq_source *s, size_t n, pq_err *err)
{
    pq_status st;

    pq_texts_free(&s->class_names, s->n_classes); /* a list of no names */
    PQ_NEW(s->class_names, n);
    s->n_classes = n;
    for (size_t i = 0; i < n; i++) {
        s->class_names[i] = pq_format("%zu", i);
        PQ_CHECK(s->class_names[i] != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    }
cleanup:
    return st;
}

void pq_planes_to_pixels(const float *planes, size_t n, size_t channels, size_t pixels,
                         float *out)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < channels; c++) {
            for (size_t p = 0; p < pixels; p++) {
                out[(i * pixels + p) * channels + c] =
                    planes[(i * channels + c) * pixels + p];
            }
        }
    }
}
