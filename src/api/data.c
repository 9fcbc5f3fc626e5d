/* Events: of files, and of arrays that the caller has. */
#include "api/inside.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/text.h"
#include "data/memory.h"
#include "exec/rescale.h"

enum { MOST_CLASSES = 100000, BLOCK = 4096 };

/* What is borrowed, and the dataset over it. */
typedef struct {
    pquant_data    data; /* first: what the caller has */
    size_t         n;
    pquant_events *splits; /* [n] */
} array_data;

static pq_status read_arrays(void *context, size_t split, size_t first, size_t n,
                             float *x, double *y, float *weight, pq_err *err)
{
    const pquant_events *e  = &((const array_data *)context)->splits[split];
    pq_status            st = PQ_OK;

    if (x != NULL) {
        PQ_TRY(pq_api_gather(&e->x, first, n, x, err));
    }
    for (size_t i = 0; i < n && y != NULL && e->y.data == NULL; i++) {
        y[i] = 0.0;
    }
    if (y != NULL && e->y.data != NULL) {
        PQ_TRY(pq_api_gather_double(&e->y, first, n, y, err));
    }
    for (size_t i = 0; i < n && weight != NULL && e->weight.data == NULL; i++) {
        weight[i] = 1.0F;
    }
    if (weight != NULL && e->weight.data != NULL) {
        PQ_TRY(pq_api_gather(&e->weight, first, n, weight, err));
    }
cleanup:
    return st;
}

/* One past the largest label. */
static pq_status count_classes(const array_data *a, size_t *out, pq_err *err)
{
    double   *y    = NULL;
    double    most = 0.0;
    pq_status st;

    PQ_NEW(y, BLOCK);
    for (size_t s = 0; s < a->n; s++) {
        const size_t n = a->splits[s].x.shape[0];
        for (size_t at = 0; at < n; at += BLOCK) {
            const size_t m = n - at < BLOCK ? n - at : BLOCK;
            PQ_TRY(read_arrays((void *)(uintptr_t)a, s, at, m, NULL, y, NULL, err));
            for (size_t i = 0; i < m; i++) {
                PQ_CHECK(y[i] >= 0.0 && y[i] < MOST_CLASSES && y[i] == floor(y[i]),
                         PQ_ERR_RANGE, "label %g of event %zu is no class in 0..%d", y[i],
                         at + i, MOST_CLASSES - 1);
                most = y[i] > most ? y[i] : most;
            }
        }
    }
    *out = (size_t)most + 1;
cleanup:
    pq_free(y);
    return st;
}

/* Labels or weights: one number an event, or none at all. */
static pq_status check_rows(const pquant_array *a, const char *what, const char *split,
                            size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    if (a->data != NULL) {
        PQ_CHECK(a->ndim >= 1 && a->ndim <= PQUANT_AXES && pq_api_row(a) == 1,
                 PQ_ERR_SHAPE,
                 "split '%s': the %s have %zu axes; one number an event is due", split,
                 what, a->ndim);
        PQ_CHECK(a->shape[0] == n, PQ_ERR_SHAPE,
                 "split '%s': there are %zu events, but %zu %s", split, n, a->shape[0],
                 what);
    }
cleanup:
    return st;
}

static pq_status check_events(const pquant_events *e, const pquant_events *first,
                              pq_err *err)
{
    const char *name = e->name != NULL ? e->name : "";
    pq_status   st;

    PQ_CHECK(e->x.data != NULL && e->x.ndim >= 2 && e->x.ndim <= PQUANT_AXES,
             PQ_ERR_SHAPE,
             "split '%s': events have %zu axes; events and features need at least 2",
             name, e->x.ndim);
    PQ_CHECK(e->x.ndim == first->x.ndim && memcmp(e->x.shape + 1, first->x.shape + 1,
                                                  (e->x.ndim - 1) * sizeof(size_t)) == 0,
             PQ_ERR_SHAPE, "split '%s': its events have another shape than those before",
             name);
    PQ_TRY(check_rows(&e->y, "labels", name, e->x.shape[0], err));
    PQ_TRY(check_rows(&e->weight, "weights", name, e->x.shape[0], err));
cleanup:
    return st;
}

static pq_status create(array_data *a, const char *classes, pq_err *err)
{
    char           **names = NULL;
    pq_memory_split *infos = NULL;
    pq_memory        m     = {.n_splits = a->n, .read = read_arrays, .context = a};
    pq_status        st;

    PQ_NEW(infos, a->n);
    for (size_t i = 0; i < a->n; i++) {
        PQ_TRY(check_events(&a->splits[i], &a->splits[0], err));
        infos[i] = (pq_memory_split){a->splits[i].name != NULL ? a->splits[i].name : "",
                                     a->splits[i].x.shape[0]};
    }
    m.splits      = infos;
    m.sample.ndim = a->splits[0].x.ndim - 1;
    memcpy(m.sample.dim, a->splits[0].x.shape + 1, m.sample.ndim * sizeof *m.sample.dim);
    if (classes != NULL) {
        PQ_TRY(pq_text_split(classes, ',', &names, &m.n_classes, err));
        m.class_names = (const char *const *)names;
    } else {
        PQ_TRY(count_classes(a, &m.n_classes, err));
    }
    PQ_TRY(pq_dataset_of_memory(&m, &a->data.dataset, err));
cleanup:
    pq_free(names);
    pq_free(infos);
    return st;
}

pquant_data *pquant_data_create(size_t n, const pquant_events *splits,
                                const char *classes)
{
    pq_err     *err = pq_api_begin();
    array_data *a   = NULL;
    pq_status   st;

    PQ_CHECK(n >= 1 && n <= 16, PQ_ERR_RANGE, "%zu splits are not in 1..16", n);
    PQ_NEW(a, 1);
    PQ_NEW(a->splits, n);
    memcpy(a->splits, splits, n * sizeof *splits);
    a->n = n;
    PQ_TRY(create(a, classes, err));
cleanup:
    if (st != PQ_OK && a != NULL) {
        pq_free(a->splits);
        pq_free(a);
        a = NULL;
    }
    return a != NULL ? &a->data : NULL;
}

pquant_data *pquant_data_open(const char *spec)
{
    pq_err     *err  = pq_api_begin();
    array_data *a    = NULL;
    char       *path = NULL, *split = NULL;
    pq_status   st;

    PQ_NEW(a, 1);
    PQ_TRY(pq_dataset_spec(spec, &path, &split, err));
    PQ_TRY(pq_dataset_open(path, NULL, &a->data.dataset, err));
    PQ_TRY(pq_dataset_split(a->data.dataset, split, &a->data.split, err));
cleanup:
    pq_free(path);
    pq_free(split);
    if (st != PQ_OK && a != NULL) {
        pquant_data_close(&a->data);
        a = NULL;
    }
    return a != NULL ? &a->data : NULL;
}

void pquant_data_close(pquant_data *data)
{
    if (data != NULL) {
        pq_dataset_close(&data->dataset);
        pq_free(((array_data *)data)->splits);
        pq_free(data);
    }
}

size_t pquant_data_events(const pquant_data *data)
{
    return pq_dataset_describe(data->dataset)->splits[data->split].n;
}

size_t pquant_data_shape(const pquant_data *data, size_t *dims)
{
    const pq_shape *sample = &pq_dataset_describe(data->dataset)->sample;

    memcpy(dims, sample->dim, sizeof(size_t[PQ_MAX_DIMS]));
    return sample->ndim;
}

size_t pquant_data_classes(const pquant_data *data)
{
    return pq_dataset_describe(data->dataset)->n_classes;
}

const char *pquant_data_class(const pquant_data *data, size_t i)
{
    return i < pquant_data_classes(data)
               ? pq_dataset_describe(data->dataset)->class_names[i]
               : NULL;
}

int pquant_data_read(pquant_data *data, size_t first, size_t n, float *x, int32_t *y)
{
    pq_err        *err   = pq_api_begin();
    const size_t   have  = pquant_data_events(data);
    const pq_batch batch = {.x = x, .y = y};
    pq_status      st;

    PQ_CHECK(first <= have && n <= have - first, PQ_ERR_RANGE,
             "events %zu .. %zu are not in 0..%zu", first, first + n, have);
    PQ_TRY(pq_dataset_read_unscaled(data->dataset, data->split, first, n, &batch, err));
cleanup:
    return st != PQ_OK;
}

int pquant_model_take_scaler(pquant_model *model, const pquant_data *data)
{
    pq_err *err = pq_api_begin();

    return pq_scaler_take(model->graph, pq_dataset_describe(data->dataset), err) !=
               PQ_OK ||
           pq_graph_check(model->graph, err) != PQ_OK;
}
