#include "linalg/whitened.h"

#include <math.h>
#include <string.h>

#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/qr.h"
#include "linalg/whitened_step.h"

/* tr(W S W^T). */
static pq_status response_size(const double *w, size_t rows, const pq_tensor *s,
                               double *size, pq_err *err)
{
    const size_t n  = s->shape.dim[0];
    pq_tensor   *ws = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rows, n), &ws, err));
    pq_multiply(rows, n, n, w, pq_f64(s), false, 0.0, pq_f64(ws));
    *size = fmax(pq_dot(rows * n, w, pq_f64(ws)), 0.0);
cleanup:
    pq_tensor_free(&ws);
    return st;
}

pq_status pq_whitened_error(const pq_tensor *t, const pq_tensor *approx,
                            const pq_tensor *moments, double *error, pq_err *err)
{
    const size_t rows = t->count / moments->shape.dim[0];
    pq_tensor   *lost = NULL;
    double       part, whole;
    pq_status    st;

    assert(t->count == approx->count);
    pq_blas_alone();
    PQ_TRY(pq_tensor_clone(t, &lost, err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f64(lost)[i] -= pq_f64(approx)[i];
    }
    PQ_TRY(response_size(pq_f64(t), rows, moments, &whole, err));
    PQ_TRY(response_size(pq_f64(lost), rows, moments, &part, err));
    *error = whole > 0.0 ? sqrt(part / whole) : 0.0;
cleanup:
    pq_tensor_free(&lost);
    return st;
}

static void make_symmetric(pq_tensor *a)
{
    const size_t n = a->shape.dim[0];

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            double *x = &pq_f64(a)[i * n + j], *y = &pq_f64(a)[j * n + i];
            *x = *y = 0.5 * (*x + *y);
        }
    }
}

/* Square roots of eigenvalues. */
static void take_roots(pq_tensor *values)
{
    for (size_t i = 0; i < values->count; i++) {
        pq_f64(values)[i] = sqrt(fmax(pq_f64(values)[i], 0.0));
    }
}

static pq_status output_side(const pq_tensor *t, const pq_tensor *s, pq_tensor **values,
                             pq_err *err)
{
    const size_t o = t->shape.dim[0], n = s->shape.dim[0];
    pq_tensor   *ws = NULL, *response = NULL, *vectors = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(o, n), &ws, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(o, o), &response, err));
    pq_multiply(o, n, n, pq_f64(t), pq_f64(s), false, 0.0, pq_f64(ws));
    pq_multiply(o, o, n, pq_f64(ws), pq_f64(t), true, 0.0, pq_f64(response));
    make_symmetric(response);
    PQ_TRY(pq_eigh(response, values, &vectors, err));
    take_roots(*values);
cleanup:
    pq_tensor_free(&ws);
    pq_tensor_free(&response);
    pq_tensor_free(&vectors);
    return st;
}

/* With A the Gram matrix of W's input channels and P their part of S: the eigenvalues of
 * P^(1/2) A P^(1/2), its vectors Q, and the space A P^(1/2) Q. */
static pq_status input_side(const pq_tensor *t, const pq_tensor *s, pq_tensor **values,
                            pq_tensor **space, pq_err *err)
{
    const size_t n = t->shape.dim[3], patch = s->shape.dim[0];
    pq_tensor   *part = NULL, *power = NULL, *basis = NULL, *root = NULL, *gram = NULL;
    pq_tensor   *half = NULL, *mid = NULL, *vectors = NULL, *u = NULL;
    pq_status    st;

    PQ_TRY(pq_partial_moments(s, patch / n, n, 1, &part, err));
    PQ_TRY(pq_eigh(part, &power, &basis, err));
    take_roots(power);
    PQ_TRY(pq_tensor_clone(basis, &half, err));
    for (size_t i = 0; i < n * n; i++) {
        pq_f64(half)[i] *= pq_f64(power)[i / n];
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, n), &root, err));
    PQ_TRY(pq_gemm((pq_operand){basis, true}, (pq_operand){half, false}, 0.0, root, err));
    PQ_TRY(pq_fibre_gram(t, 3, &gram, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, n), &mid, err));
    pq_multiply(n, n, n, pq_f64(gram), pq_f64(root), false, 0.0, pq_f64(half));
    pq_multiply(n, n, n, pq_f64(root), pq_f64(half), false, 0.0, pq_f64(mid));
    make_symmetric(mid);
    PQ_TRY(pq_eigh(mid, values, &vectors, err));
    take_roots(*values);
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, n), &u, err));
    pq_multiply(n, n, n, pq_f64(half), pq_f64(vectors), true, 0.0, pq_f64(u));
    *space = u;
    u      = NULL;
cleanup:
    pq_tensor_free(&part);
    pq_tensor_free(&power);
    pq_tensor_free(&basis);
    pq_tensor_free(&root);
    pq_tensor_free(&gram);
    pq_tensor_free(&half);
    pq_tensor_free(&mid);
    pq_tensor_free(&vectors);
    pq_tensor_free(&u);
    return st;
}

pq_status pq_whitened_sides(const pq_tensor *t, const pq_tensor *moments,
                            pq_tensor **out_s, pq_tensor **in_s, pq_tensor **in_u,
                            pq_err *err)
{
    pq_status st;

    pq_blas_alone();
    PQ_TRY(output_side(t, moments, out_s, err));
    PQ_TRY(input_side(t, moments, in_s, in_u, err));
cleanup:
    return st;
}
