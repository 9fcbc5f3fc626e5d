/* Attributes of a file that a child process has open: all of them were told. */
#include <string.h>

#include "core/memory.h"
#include "io/hdf5_reader.h"

bool pq_h5_reader_has_attr(pq_h5_reader *r, const char *path, const char *name)
{
    const pq_h5_told_object *o = pq_h5_told_find(&r->told, r->path, path, NULL);

    return o != NULL && pq_h5_told_find_attr(o, name) != NULL;
}

/* An attribute that can be read. */
static pq_status open_attr(pq_h5_reader *r, const char *path, const char *name,
                           const pq_h5_told_attr **out, pq_err *err)
{
    pq_h5_told_object *o;
    pq_status          st;

    PQ_TRY(pq_h5_reader_find(r, path, &o, err));
    *out = pq_h5_told_find_attr(o, name);
    PQ_CHECK(*out != NULL, PQ_ERR_NOT_FOUND, "%s: %s has no attribute '%s'", r->path,
             path, name);
    if ((*out)->kind == PQ_H5_OTHER) {
        pq_h5_cursor from = {(*out)->bytes, (*out)->size, false};
        st                = pq_h5_told_failure(&from, err);
    }
cleanup:
    return st;
}

pq_status pq_h5_reader_attr_texts(pq_h5_reader *r, const char *path, const char *name,
                                  char ***out, size_t *n, pq_err *err)
{
    const pq_h5_told_attr *a;
    pq_h5_cursor           from;
    pq_status              st;

    PQ_TRY(open_attr(r, path, name, &a, err));
    PQ_CHECK(a->kind == PQ_H5_TEXT || a->n == 0, PQ_ERR_FORMAT,
             "%s: attribute '%s' of %s: holds no text", r->path, name, path);
    from = (pq_h5_cursor){a->bytes, a->size, false};
    PQ_TRY(pq_h5_take_texts(&from, a->n, out, err));
    *n = a->n;
cleanup:
    return st;
}

pq_status pq_h5_reader_attr_numbers(pq_h5_reader *r, const char *path, const char *name,
                                    double **out, size_t *n, pq_err *err)
{
    const pq_h5_told_attr *a;
    double                *list = NULL;
    pq_status              st;

    PQ_TRY(open_attr(r, path, name, &a, err));
    PQ_CHECK(a->kind == PQ_H5_FLOAT, PQ_ERR_FORMAT,
             "%s: attribute '%s' of %s holds no numbers", r->path, name, path);
    PQ_NEW(list, a->n);
    if (a->n > 0) {
        memcpy(list, a->bytes, a->n * sizeof *list);
    }
    *out = list;
    *n   = a->n;
cleanup:
    return st;
}
