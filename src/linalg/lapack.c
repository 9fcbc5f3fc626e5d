#include "linalg/lapack.h"

#include <math.h>

#include "core/memory.h"
#include "linalg/gemm.h"

pq_status pq_lapack_check(const pq_tensor *a, const char *what, pq_err *err)
{
    const size_t limit = (size_t)INT32_MAX;
    char         shape[128];
    size_t       bad;
    pq_status    st;

    pq_blas_alone();
    pq_shape_text(&a->shape, shape, sizeof shape);
    PQ_CHECK(a->shape.ndim == 2, PQ_ERR_SHAPE, "%s needs a matrix, not %s", what, shape);
    PQ_CHECK(a->count > 0, PQ_ERR_SHAPE, "%s needs a matrix that is not empty, not %s",
             what, shape);
    PQ_CHECK(a->shape.dim[0] <= limit && a->shape.dim[1] <= limit, PQ_ERR_SHAPE,
             "%s takes at most %zu rows and columns, not %s", what, limit, shape);
    PQ_CHECK(a->dtype == PQ_DTYPE_F32 || a->dtype == PQ_DTYPE_F64, PQ_ERR_SHAPE,
             "%s takes float32 or float64, not %s", what, pq_dtype_name(a->dtype));
    bad = pq_tensor_first_nonfinite(a);
    PQ_CHECK(bad == SIZE_MAX, PQ_ERR_NUMERIC, "%s: the matrix holds %g at [%zu, %zu]",
             what, pq_tensor_get(a, bad), bad / a->shape.dim[1], bad % a->shape.dim[1]);
cleanup:
    return st;
}

pq_status pq_lapack_input(const pq_tensor *a, const char *what, pq_tensor **copy,
                          pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_lapack_check(a, what, err));
    PQ_TRY(pq_tensor_convert(a, PQ_DTYPE_F64, copy, err));
cleanup:
    return st;
}

pq_status pq_lapack_scratch(double query, double **work, lapack_int *lwork, pq_err *err)
{
    pq_status st;

    PQ_CHECK(query <= (double)INT32_MAX, PQ_ERR_SHAPE,
             "LAPACK wants %.0f doubles of scratch, more than its 32-bit sizes hold",
             query);
    *lwork = query < 1.0 ? 1 : (lapack_int)query;
    PQ_NEW(*work, (size_t)*lwork);
cleanup:
    return st;
}

bool pq_fix_sign(double *vector, size_t n, size_t stride)
{
    double largest = 0.0;

    for (size_t i = 0; i < n; i++) {
        if (fabs(vector[i * stride]) > fabs(largest)) {
            largest = vector[i * stride];
        }
    }
    if (largest >= 0.0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        vector[i * stride] = -vector[i * stride];
    }
    return true;
}
