/* Randomised SVD: a random sketch of the range, sharpened, then a small SVD. */
#include <string.h>

#include "core/rng.h"
#include "linalg/gemm.h"
#include "linalg/lapack.h"
#include "linalg/qr.h"
#include "linalg/svd.h"

/* Orthonormal basis of op(A) X; takes X. */
static pq_status step(const pq_tensor *a, bool transposed, pq_tensor **x, pq_err *err)
{
    pq_tensor *y = NULL, *q = NULL, *r = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(
        PQ_DTYPE_F64, PQ_SHAPE(a->shape.dim[transposed ? 1 : 0], (*x)->shape.dim[1]), &y,
        err));
    PQ_TRY(pq_gemm((pq_operand){a, transposed}, (pq_operand){*x, false}, 0.0, y, err));
    PQ_TRY(pq_qr_thin(y, &q, &r, err));
    pq_tensor_free(x);
    *x = q;
cleanup:
    pq_tensor_free(&y);
    pq_tensor_free(&r);
    return st;
}

/* The first r columns of a matrix. */
static pq_status narrow(const pq_tensor *a, size_t r, pq_tensor **out, pq_err *err)
{
    const size_t m = a->shape.dim[0], k = a->shape.dim[1];
    pq_status    st = pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, r), out, err);

    for (size_t i = 0; st == PQ_OK && i < m; i++) {
        memcpy(pq_f64(*out) + i * r, pq_f64(a) + i * k, r * sizeof(double));
    }
    return st;
}

/* Cuts the SVD of the sketch Q^T A down to rank and turns it back: U = Q U'. */
static pq_status turn_back(const pq_tensor *q, const pq_svd *small, size_t rank,
                           pq_svd *out, pq_err *err)
{
    const size_t m = q->shape.dim[0], n = small->vt->shape.dim[1];
    pq_tensor   *u = NULL;
    pq_status    st;

    PQ_TRY(narrow(small->u, rank, &u, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, rank), &out->u, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rank), &out->s, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rank, n), &out->vt, err));
    PQ_TRY(pq_gemm((pq_operand){q, false}, (pq_operand){u, false}, 0.0, out->u, err));
    memcpy(out->s->data, small->s->data, rank * sizeof(double));
    memcpy(out->vt->data, small->vt->data, rank * n * sizeof(double));
    for (size_t r = 0; r < rank; r++) {
        if (pq_fix_sign(pq_f64(out->u) + r, m, rank)) {
            for (size_t j = 0; j < n; j++) {
                pq_f64(out->vt)[r * n + j] = -pq_f64(out->vt)[r * n + j];
            }
        }
    }
cleanup:
    pq_tensor_free(&u);
    return st;
}

pq_status pq_svd_randomized(const pq_tensor *w, size_t rank, const pq_svd_sketch *sketch,
                            pq_svd *out, pq_err *err)
{
    pq_rng     rng = pq_rng_stream(sketch->seed, "sketch");
    pq_tensor *a = NULL, *x = NULL, *b = NULL;
    pq_svd     small = {0}, svd = {0};
    pq_status  st;

    PQ_TRY(pq_lapack_input(w, "SVD", &a, err));
    const size_t m = a->shape.dim[0], n = a->shape.dim[1], k = m < n ? m : n;

    PQ_CHECK(rank >= 1 && rank <= k, PQ_ERR_RANGE,
             "rank %zu is not in 1..%zu for a [%zu, %zu] matrix", rank, k, m, n);
    const size_t l = sketch->oversample < k - rank ? rank + sketch->oversample : k;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, l), &x, err));
    for (size_t i = 0; i < x->count; i++) {
        pq_f64(x)[i] = pq_rng_normal(&rng);
    }
    PQ_TRY(step(a, false, &x, err));
    for (size_t i = 0; i < sketch->power; i++) {
        PQ_TRY(step(a, true, &x, err));
        PQ_TRY(step(a, false, &x, err));
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(l, n), &b, err));
    PQ_TRY(pq_gemm((pq_operand){x, true}, (pq_operand){a, false}, 0.0, b, err));
    PQ_TRY(pq_svd_thin(b, &small, err));
    PQ_TRY(turn_back(x, &small, rank, &svd, err));
    *out = svd;
    svd  = (pq_svd){0};
cleanup:
    pq_tensor_free(&a);
    pq_tensor_free(&x);
    pq_tensor_free(&b);
    pq_svd_free(&small);
    pq_svd_free(&svd);
    return st;
}
