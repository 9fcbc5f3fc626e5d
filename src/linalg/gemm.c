#include "linalg/gemm.h"

#include <cblas.h>

static size_t rows(pq_operand a)
{
    return a.matrix->shape.dim[a.transposed ? 1 : 0];
}

static size_t columns(pq_operand a)
{
    return a.matrix->shape.dim[a.transposed ? 0 : 1];
}

static CBLAS_TRANSPOSE order(pq_operand a)
{
    return a.transposed ? CblasTrans : CblasNoTrans;
}

static pq_status check(pq_operand a, pq_operand b, const pq_tensor *c, pq_err *err)
{
    const size_t limit = (size_t)INT32_MAX;
    char         ta[128], tb[128], tc[128];
    pq_status    st;

    PQ_CHECK(a.matrix->shape.ndim == 2 && b.matrix->shape.ndim == 2 &&
                 c->shape.ndim == 2 && columns(a) == rows(b) &&
                 rows(a) == c->shape.dim[0] && columns(b) == c->shape.dim[1],
             PQ_ERR_SHAPE, "cannot multiply %s%s by %s%s into %s",
             pq_shape_text(&a.matrix->shape, ta, sizeof ta),
             a.transposed ? " transposed" : "",
             pq_shape_text(&b.matrix->shape, tb, sizeof tb),
             b.transposed ? " transposed" : "", pq_shape_text(&c->shape, tc, sizeof tc));
    PQ_CHECK(rows(a) <= limit && columns(a) <= limit && columns(b) <= limit, PQ_ERR_SHAPE,
             "BLAS takes at most %zu rows and columns, not %s by %s", limit,
             pq_shape_text(&a.matrix->shape, ta, sizeof ta),
             pq_shape_text(&b.matrix->shape, tb, sizeof tb));
    PQ_CHECK(a.matrix->dtype == c->dtype && b.matrix->dtype == c->dtype &&
                 (c->dtype == PQ_DTYPE_F32 || c->dtype == PQ_DTYPE_F64),
             PQ_ERR_SHAPE, "cannot multiply %s by %s into %s",
             pq_dtype_name(a.matrix->dtype), pq_dtype_name(b.matrix->dtype),
             pq_dtype_name(c->dtype));
cleanup:
    return st;
}

void pq_blas_alone(void)
{
    if (openblas_get_num_threads() != 1) {
        openblas_set_num_threads(1);
    }
}

pq_status pq_gemm(pq_operand a, pq_operand b, double beta, pq_tensor *c, pq_err *err)
{
    pq_status st;

    PQ_TRY(check(a, b, c, err));
    if (c->count == 0) {
        return PQ_OK;
    }
    const int m = (int)rows(a), n = (int)columns(b), k = (int)columns(a);
    const int lda = (int)a.matrix->shape.dim[1], ldb = (int)b.matrix->shape.dim[1];

    pq_blas_alone();
    if (c->dtype == PQ_DTYPE_F32) {
        cblas_sgemm(CblasRowMajor, order(a), order(b), m, n, k, 1.0F, pq_f32(a.matrix),
                    lda > 0 ? lda : 1, pq_f32(b.matrix), ldb > 0 ? ldb : 1, (float)beta,
                    pq_f32(c), n);
    } else {
        cblas_dgemm(CblasRowMajor, order(a), order(b), m, n, k, 1.0, pq_f64(a.matrix),
                    lda > 0 ? lda : 1, pq_f64(b.matrix), ldb > 0 ? ldb : 1, beta,
                    pq_f64(c), n);
    }
cleanup:
    return st;
}
