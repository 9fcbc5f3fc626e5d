#include "report/choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* A model in the plane of size and accuracy. */
typedef struct {
    double bytes, accuracy;
    size_t row;
} model;

/* Small first, of equal sizes the more accurate, then the plan's order. */
static int by_size(const void *a, const void *b)
{
    const model *x = a, *y = b;

    if (x->bytes < y->bytes || x->bytes > y->bytes) {
        return x->bytes < y->bytes ? -1 : 1;
    }
    if (x->accuracy > y->accuracy || x->accuracy < y->accuracy) {
        return x->accuracy > y->accuracy ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

/* All models with both numbers, by size. */
static pq_status list_models(const pq_view *v, model **out, size_t *n, pq_err *err)
{
    const size_t bytes    = pq_view_column_of(v, "stored_bytes");
    const size_t accuracy = pq_view_column_of(v, "accuracy");
    pq_status    st;

    *n = 0;
    PQ_NEW(*out, v->n_rows);
    for (size_t r = 0; r < v->n_rows; r++) {
        const model m = {pq_view_number(v, r, bytes).value,
                         pq_view_number(v, r, accuracy).value, r};
        if (isfinite(m.bytes) && isfinite(m.accuracy)) {
            (*out)[(*n)++] = m;
        }
    }
    qsort(*out, *n, sizeof **out, by_size);
cleanup:
    return st;
}

/* Models of equal size and accuracy are on the front together. */
static void mark_front(pq_view *v, const model *models, size_t n)
{
    double best = -(double)INFINITY, at = 0.0;

    for (size_t i = 0; i < n; i++) {
        const bool same = models[i].accuracy >= best && models[i].bytes <= at;
        if (models[i].accuracy > best || same) {
            v->rows[models[i].row].front = true;
            best                         = models[i].accuracy;
            at                           = models[i].bytes;
        }
    }
}

/* The first model smaller than `limit` that loses at most `loss` and meets the
 * constraints. */
static size_t smallest_within(const pq_view *v, const model *models, size_t n,
                              double loss, double limit)
{
    const size_t column   = pq_view_column_of(v, "accuracy");
    const double floor_at = pq_view_number(v, v->reference, column).value - loss;

    for (size_t i = 0; i < n && models[i].bytes < limit; i++) {
        const pq_view_row *row = &v->rows[models[i].row];
        if (models[i].row != v->reference && models[i].accuracy >= floor_at &&
            strcmp(row->status, "infeasible") != 0) {
            return models[i].row;
        }
    }
    return PQ_VIEW_NONE;
}

static void choose_rows(pq_view *v, const model *models, size_t n)
{
    const size_t bytes = pq_view_column_of(v, "stored_bytes");
    double       limit;

    v->best = v->strong = PQ_VIEW_NONE;
    v->compared = v->aside = 0;
    if (v->reference == PQ_VIEW_NONE) {
        return;
    }
    limit = pq_view_number(v, v->reference, bytes).value;
    for (size_t i = 0; i < n && isfinite(limit); i++) {
        const pq_view_row *row = &v->rows[models[i].row];
        v->compared += models[i].row != v->reference;
        v->aside +=
            models[i].row != v->reference && strcmp(row->status, "infeasible") == 0;
    }
    v->best = smallest_within(v, models, n, PQ_VIEW_TOLERANCE, limit);
    if (v->best != PQ_VIEW_NONE) {
        limit = pq_view_number(v, v->best, bytes).value;
    }
    v->strong = smallest_within(v, models, n, 10.0 * PQ_VIEW_TOLERANCE, limit);
}

/* A pipeline, and what speaks for naming it. */
typedef struct {
    const char *name;
    size_t      place;
    bool        chosen; /* has a model on the front, the best or the strongest */
    double      accuracy;
} pipeline;

static int by_merit(const void *a, const void *b)
{
    const pipeline *x = a, *y = b;

    if (x->chosen != y->chosen) {
        return x->chosen ? -1 : 1;
    }
    if (x->accuracy > y->accuracy || x->accuracy < y->accuracy) {
        return x->accuracy > y->accuracy ? -1 : 1;
    }
    return x->place < y->place ? -1 : x->place > y->place;
}

static int by_name(const void *a, const void *b)
{
    const pipeline *x = a, *y = b;
    const int       c = strcmp(x->name, y->name);

    return c != 0 ? c : x->place < y->place ? -1 : x->place > y->place;
}

static int by_place(const void *a, const void *b)
{
    const pipeline *x = a, *y = b;

    return x->place < y->place ? -1 : x->place > y->place;
}

/* All pipelines but the reference's, one entry each. */
static size_t list_pipelines(const pq_view *v, pipeline *all)
{
    const size_t accuracy = pq_view_column_of(v, "accuracy");
    size_t       n = 0, kept = 0;

    for (size_t r = 0; r < v->n_rows; r++) {
        const double value = pq_view_number(v, r, accuracy).value;
        if (r != v->reference) {
            all[n++] = (pipeline){v->rows[r].pipeline, r,
                                  v->rows[r].front || r == v->best || r == v->strong,
                                  isfinite(value) ? value : -1.0};
        }
    }
    qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && strcmp(all[i].name, all[kept - 1].name) == 0) {
            all[kept - 1].chosen   = all[kept - 1].chosen || all[i].chosen;
            all[kept - 1].accuracy = fmax(all[kept - 1].accuracy, all[i].accuracy);
        } else {
            all[kept++] = all[i];
        }
    }
    return kept;
}

static pq_status name_pipelines(pq_view *v, pq_err *err)
{
    pipeline *all = NULL;
    size_t    named;
    pq_status st;

    PQ_NEW(all, v->n_rows);
    v->n_pipelines = list_pipelines(v, all);
    qsort(all, v->n_pipelines, sizeof *all, by_merit);
    named = v->n_pipelines < PQ_NAMED_MAX ? v->n_pipelines : PQ_NAMED_MAX;
    qsort(all, named, sizeof *all, by_place);
    for (size_t r = 0; r < v->n_rows; r++) {
        v->rows[r].color = PQ_VIEW_NONE;
        for (size_t i = 0; i < named && r != v->reference; i++) {
            if (strcmp(all[i].name, v->rows[r].pipeline) == 0) {
                v->rows[r].color = i;
            }
        }
    }
cleanup:
    pq_free(all);
    return st;
}

pq_status pq_view_choose(pq_view *v, pq_err *err)
{
    model    *models = NULL;
    size_t    n;
    pq_status st;

    PQ_TRY(list_models(v, &models, &n, err));
    mark_front(v, models, n);
    choose_rows(v, models, n);
    PQ_TRY(name_pipelines(v, err));
cleanup:
    pq_free(models);
    return st;
}
