#include "data/memory.h"

#include "core/memory.h"
#include "data/dataset_inside.h"
#include "data/layout.h"

typedef struct {
    pq_status (*read)(void *context, size_t split, size_t first, size_t n, float *x,
                      double *y, float *weight, pq_err *err);
    void *context;
} reader;

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    const reader *r = s->state;

    return r->read(r->context, split, first, n, out->x, out->y, out->weight, err);
}

static void close_events(pq_source *s)
{
    pq_free(s->state);
    s->state = NULL;
}

/* Not in the list of layouts: no file is in it. */
static const pq_layout layout = {
    .name    = "arrays",
    .summary = "events in memory",
    .read    = read_events,
    .close   = close_events,
};

static pq_status fill(pq_source *s, const pq_memory *m, pq_err *err)
{
    reader   *r = NULL;
    pq_status st;

    s->layout = &layout;
    PQ_NEW(r, 1);
    *r       = (reader){m->read, m->context};
    s->state = r;
    PQ_STRDUP(s->path, "arrays");
    s->sample = m->sample;
    for (size_t i = 0; i < m->n_splits; i++) {
        PQ_TRY(pq_source_add_split(s, m->splits[i].name, m->splits[i].n, err));
    }
    if (m->class_names != NULL) {
        PQ_TRY(pq_texts_copy(m->class_names, m->n_classes, &s->class_names, err));
        s->n_classes = m->n_classes;
    } else {
        PQ_TRY(pq_source_number_classes(s, m->n_classes, err));
    }
    PQ_TRY(pq_source_check_names(s, err));
cleanup:
    return st;
}

pq_status pq_dataset_of_memory(const pq_memory *memory, pq_dataset **out, pq_err *err)
{
    static const pq_dataset_options usual = {0};
    pq_dataset                     *d     = NULL;
    pq_status                       st;

    PQ_CHECK(memory->sample.ndim >= 1 && memory->n_splits >= 1, PQ_ERR_FORMAT,
             "the arrays hold no events");
    PQ_TRY(pq_dataset_start(&d, err));
    PQ_TRY(fill(&d->source, memory, err));
    PQ_TRY(pq_dataset_finish(d, &usual, err));
    *out = d;
    d    = NULL;
cleanup:
    pq_dataset_close(&d);
    return st;
}
