#include "data/text_labels.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

enum { MAX_CLASSES = 100000 };

/* A name and its class. */
typedef struct {
    const char *name;
    size_t class;
} entry;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

pq_status pq_text_labels_take(pq_text_labels *l, char ***labels, size_t n_labels,
                              const char *path, const char *whose, size_t due,
                              pq_err *err)
{
    const size_t k     = l->n_splits;
    char      ***texts = pq_recalloc(l->texts, k, k + 1, sizeof *texts);
    size_t      *n;
    pq_status    st;

    PQ_CHECK(texts != NULL, PQ_ERR_NOMEM, "cannot allocate labels");
    l->texts = texts;
    n        = pq_recalloc(l->n, k, k + 1, sizeof *n);
    PQ_CHECK(n != NULL, PQ_ERR_NOMEM, "cannot allocate labels");
    l->n        = n;
    l->texts[k] = *labels;
    l->n[k]     = n_labels;
    l->n_splits++;
    *labels = NULL;
    PQ_CHECK(l->n[k] == due, PQ_ERR_SHAPE,
             "%s: %s has %zu labels, but there are %zu events", whose, path, l->n[k],
             due);
    for (size_t i = 0; i < due; i++) {
        PQ_CHECK(l->texts[k][i][0] != '\0', PQ_ERR_FORMAT,
                 "%s: event %zu: its label in %s is empty", whose, i, path);
    }
cleanup:
    return st;
}

pq_status pq_text_labels_add(pq_text_labels *l, pq_h5 *file, const char *path,
                             const char *whose, size_t due, pq_err *err)
{
    char    **labels = NULL;
    size_t    n      = 0;
    pq_status st;

    PQ_TRY(pq_h5_read_texts(file, path, &labels, &n, err));
    PQ_TRY(pq_text_labels_take(l, &labels, n, path, whose, due, err));
cleanup:
    pq_h5_free_texts(&labels, n);
    return st;
}

/* The texts that there are, each once, in order. */
static pq_status collect(const pq_text_labels *l, const char *whose, char ***names,
                         size_t *n_names, pq_err *err)
{
    entry    *all  = NULL;
    char    **list = NULL;
    size_t    n = 0, kept = 0;
    pq_status st;

    for (size_t k = 0; k < l->n_splits; k++) {
        n += l->n[k];
    }
    PQ_CHECK(n > 0, PQ_ERR_FORMAT, "%s: holds no events", whose);
    PQ_NEW(all, n);
    n = 0;
    for (size_t k = 0; k < l->n_splits; k++) {
        for (size_t i = 0; i < l->n[k]; i++) {
            all[n++].name = l->texts[k][i];
        }
    }
    qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || strcmp(all[kept - 1].name, all[i].name) != 0) {
            all[kept++] = all[i];
        }
    }
    PQ_CHECK(kept <= MAX_CLASSES, PQ_ERR_FORMAT,
             "%s: the labels are %zu different texts, and classes are at most %d", whose,
             kept, MAX_CLASSES);
    PQ_NEW(list, kept);
    for (size_t i = 0; i < kept; i++) {
        PQ_STRDUP(list[i], all[i].name);
    }
    *names   = list;
    *n_names = kept;
    list     = NULL;
cleanup:
    pq_h5_free_texts(&list, kept);
    pq_free(all);
    return st;
}

static pq_status number_split(pq_text_labels *l, size_t k, const entry *classes, size_t n,
                              const char *whose, pq_err *err)
{
    pq_status st;

    PQ_NEW(l->class[k], l -> n[k]);
    for (size_t i = 0; i < l->n[k]; i++) {
        const entry  want  = {l->texts[k][i], 0};
        const entry *found = bsearch(&want, classes, n, sizeof *classes, by_name);
        PQ_CHECK(found != NULL, PQ_ERR_FORMAT,
                 "%s: event %zu: its label '%s' is none of the file's %zu class_names",
                 whose, i, want.name, n);
        l->class[k][i] = found->class;
    }
    pq_h5_free_texts(&l->texts[k], l->n[k]);
cleanup:
    return st;
}

pq_status pq_text_labels_number(pq_text_labels *l, const char *whose, char ***names,
                                size_t *n_names, pq_err *err)
{
    entry    *classes = NULL;
    pq_status st;

    if (*names == NULL) {
        PQ_TRY(collect(l, whose, names, n_names, err));
    }
    PQ_NEW(classes, *n_names);
    for (size_t i = 0; i < *n_names; i++) {
        classes[i] = (entry){(*names)[i], i};
    }
    qsort(classes, *n_names, sizeof *classes, by_name);
    PQ_NEW(l->class, l->n_splits);
    for (size_t k = 0; k < l->n_splits; k++) {
        PQ_TRY(number_split(l, k, classes, *n_names, whose, err));
    }
cleanup:
    pq_free(classes);
    return st;
}

void pq_text_labels_free(pq_text_labels *l)
{
    for (size_t k = 0; k < l->n_splits; k++) {
        pq_h5_free_texts(&l->texts[k], l->n[k]);
        pq_free(l->class != NULL ? l->class[k] : NULL);
    }
    pq_free(l->n);
    pq_free(l->texts);
    pq_free(l->class);
    *l = (pq_text_labels){0};
}
