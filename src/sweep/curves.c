#include "sweep/curves.h"

#include <string.h>

#include "core/memory.h"
#include "core/name.h"
#include "io/hdf5.h"
#include "metrics/btag_curves.h"
#include "metrics/roc.h"

enum { ROC_POINTS = 400 };

static pq_status write_array(pq_h5 *file, const char *class_name, const char *name,
                             const double *values, size_t n, pq_err *err)
{
    pq_tensor *t    = NULL;
    char      *path = pq_name_curve(class_name, name);
    pq_status  st;

    PQ_CHECK(path != NULL, PQ_ERR_NOMEM, "cannot allocate a path");
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n), &t, err));
    memcpy(t->data, values, n * sizeof *values);
    PQ_TRY(pq_h5_write(file, path, t, 1, err));
cleanup:
    pq_tensor_free(&t);
    pq_free(path);
    return st;
}

static pq_status write_table(pq_h5 *file, const char *path, const double *values,
                             size_t rows, size_t columns, pq_err *err)
{
    pq_tensor *t = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rows, columns), &t, err));
    memcpy(t->data, values, rows * columns * sizeof *values);
    PQ_TRY(pq_h5_write(file, path, t, 1, err));
cleanup:
    pq_tensor_free(&t);
    return st;
}

static pq_status write_btag(pq_h5 *file, const pq_evaluation *view,
                            const pq_btag_params *params, pq_err *err)
{
    pq_btag_curves *c = NULL;
    pq_status       st;

    PQ_NEW(c, 1);
    PQ_TRY(pq_btag_curves_make(view, params, c, err));
    PQ_TRY(write_table(file, "/btag/roc", c->roc[0], PQ_BTAG_ROC_POINTS, 7, err));
    PQ_TRY(write_table(file, "/btag/discriminant", c->histogram[0], PQ_BTAG_BINS + 1,
                       1 + PQ_FLAVOURS, err));
    PQ_TRY(write_table(file, "/btag/probability", c->probability[0], PQ_BTAG_P_BINS + 1,
                       1 + PQ_FLAVOURS * PQ_FLAVOURS, err));
    PQ_TRY(write_table(file, "/btag/scan", c->scan[0], PQ_BTAG_SCAN + 1, 3, err));
cleanup:
    pq_free(c);
    return st;
}

pq_status pq_curves_write(const pq_evaluation *view, bool roc, const pq_btag_params *btag,
                          const char *path, pq_err *err)
{
    pq_roc_curve curve = {0};
    pq_h5       *file  = NULL;
    pq_status    st;

    PQ_TRY(pq_h5_create(path, &file, err));
    for (size_t i = 0; roc && i < view->classes; i++) {
        PQ_TRY(pq_roc(view, i, ROC_POINTS, &curve, err));
        if (curve.n > 0) {
            PQ_TRY(write_array(file, view->class_names[i], "signal_efficiency",
                               curve.signal, curve.n, err));
            PQ_TRY(write_array(file, view->class_names[i], "background_efficiency",
                               curve.background, curve.n, err));
        }
        pq_roc_free(&curve);
    }
    if (btag != NULL) {
        PQ_TRY(write_btag(file, view, btag, err));
    }
    PQ_TRY(pq_h5_commit(&file, err));
cleanup:
    pq_roc_free(&curve);
    pq_h5_close(&file);
    return st;
}
