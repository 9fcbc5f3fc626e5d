#include "linalg/subspace.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/lapack.h"
#include "linalg/qr.h"

/* Squared singular values below this part of the largest have lost half their digits. */
static const double small = 1e-10;

/* Up to one in so many eigenvectors alone are quicker than all of them. */
static const size_t few = 6;

double pq_square_norm(const pq_tensor *t)
{
    double sum = 0.0;

    for (size_t i = 0; i < t->count; i++) {
        sum += pq_f64(t)[i] * pq_f64(t)[i];
    }
    return sum;
}

double pq_square_distance(const pq_tensor *a, const pq_tensor *b)
{
    double sum = 0.0;

    assert(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        const double d = pq_f64(a)[i] - pq_f64(b)[i];
        sum += d * d;
    }
    return sum;
}

/* Smallest r <= max_rank with sum_{i >= r} max(squares[i], 0) <= tail^2. */
static size_t choose_rank(const double *squares, size_t k, size_t max_rank, double tail)
{
    const size_t limit = max_rank < k ? max_rank : k;
    double       sum   = 0.0;
    size_t       r     = k;

    while (r > 1 && sum + fmax(squares[r - 1], 0.0) <= tail * tail) {
        sum += fmax(squares[--r], 0.0);
    }
    return r < limit ? r : limit;
}

/* The first r of the rows of v [k, n] as columns [n, r]. */
static pq_status take_columns(const pq_tensor *v, size_t r, pq_tensor **out, pq_err *err)
{
    const size_t n  = v->shape.dim[1];
    pq_status    st = pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, r), out, err);

    for (size_t i = 0; st == PQ_OK && i < n; i++) {
        for (size_t j = 0; j < r; j++) {
            pq_f64(*out)[i * r + j] = pq_f64(v)[j * n + i];
        }
    }
    return st;
}

static pq_status by_svd(const pq_tensor *a, size_t max_rank, double tail, pq_tensor **u,
                        pq_err *err)
{
    pq_svd    svd = {0};
    pq_status st;

    PQ_TRY(pq_svd_thin(a, &svd, err));
    const size_t m = svd.u->shape.dim[0], k = svd.s->count;
    double      *s = pq_f64(svd.s);

    for (size_t i = 0; i < k; i++) {
        s[i] *= s[i];
    }
    const size_t r = choose_rank(s, k, max_rank, tail);

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, r), u, err));
    for (size_t i = 0; i < m; i++) {
        memcpy(pq_f64(*u) + i * r, pq_f64(svd.u) + i * k, r * sizeof(double));
    }
cleanup:
    pq_svd_free(&svd);
    return st;
}

/* Orthonormal columns that span A V, for the leading right vectors V [n, r] of a tall A.
 */
static pq_status push_through(const pq_tensor *a, const pq_tensor *v, pq_tensor **u,
                              pq_err *err)
{
    const size_t m = a->shape.dim[0], r = v->shape.dim[1];
    pq_tensor   *av = NULL, *upper = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, r), &av, err));
    PQ_TRY(pq_gemm((pq_operand){a, false}, (pq_operand){v, false}, 0.0, av, err));
    PQ_TRY(pq_qr_thin(av, u, &upper, err));
    for (size_t j = 0; j < r; j++) {
        pq_fix_sign(pq_f64(*u) + j, m, r);
    }
cleanup:
    pq_tensor_free(&av);
    pq_tensor_free(&upper);
    return st;
}

pq_status pq_left_space_of_gram(const pq_tensor *gram, size_t rank, pq_tensor **u,
                                pq_tensor **squares, pq_err *err)
{
    pq_tensor *values = NULL, *vectors = NULL;
    pq_status  st;

    PQ_TRY(squares == NULL && few * rank <= gram->shape.dim[0]
               ? pq_eigh_top(gram, rank, &values, &vectors, err)
               : pq_eigh(gram, &values, &vectors, err));
    PQ_TRY(take_columns(vectors, rank, u, err));
    if (squares != NULL) {
        *squares = values;
        values   = NULL;
    }
cleanup:
    pq_tensor_free(&values);
    pq_tensor_free(&vectors);
    return st;
}

/* Whether squares of singular values tell what is asked, r of them being kept of a
 * matrix whose squares sum to `total`. */
static bool is_exact_enough(const double *squares, size_t k, size_t r, double total,
                            double tail)
{
    double dropped = total;

    for (size_t i = 0; i < r; i++) {
        dropped -= squares[i];
    }
    return squares[r - 1] > small * squares[0] && (r == k || dropped > small * total) &&
           (tail == 0.0 || tail * tail > small * total);
}

/* a a^T or a^T a, the smaller. */
static pq_status smaller_gram(const pq_tensor *a, pq_tensor **out, pq_err *err)
{
    const size_t m = a->shape.dim[0], n = a->shape.dim[1], k = m < n ? m : n;
    double      *g;
    pq_status    st;

    PQ_CHECK(m <= INT32_MAX && n <= INT32_MAX, PQ_ERR_SHAPE,
             "BLAS takes at most %d rows and columns, not %zu by %zu", INT32_MAX, m, n);
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k, k), out, err));
    openblas_set_num_threads(1);
    g = pq_f64(*out);
    cblas_dsyrk(CblasRowMajor, CblasUpper, m > n ? CblasTrans : CblasNoTrans, (int)k,
                (int)(m > n ? m : n), 1.0, pq_f64(a), (int)n, 0.0, g, (int)k);
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < i; j++) {
            g[i * k + j] = g[j * k + i];
        }
    }
cleanup:
    return st;
}

pq_status pq_left_space(const pq_tensor *a, size_t max_rank, double tail, pq_tensor **u,
                        pq_err *err)
{
    pq_tensor *gram = NULL, *values = NULL, *vectors = NULL, *v = NULL;
    size_t     bad;
    pq_status  st;

    PQ_CHECK(max_rank >= 1, PQ_ERR_RANGE, "rank 0 is below 1");
    PQ_CHECK(a->shape.ndim == 2 && a->count > 0, PQ_ERR_SHAPE,
             "a space of columns needs a matrix");
    bad = pq_tensor_first_nonfinite(a);
    PQ_CHECK(bad == SIZE_MAX, PQ_ERR_NUMERIC, "the matrix holds %g at item %zu",
             pq_tensor_get(a, bad), bad);
    const size_t m = a->shape.dim[0], n = a->shape.dim[1], k = m < n ? m : n;

    const size_t top = max_rank < k ? max_rank : k;

    PQ_TRY(smaller_gram(a, &gram, err));
    if (tail == 0.0 && few * top <= k) { /* nothing to choose: the leading ones will do */
        PQ_TRY(pq_eigh_top(gram, top, &values, &vectors, err));
    } else {
        PQ_TRY(pq_eigh(gram, &values, &vectors, err));
    }
    const size_t r = choose_rank(pq_f64(values), values->count, max_rank, tail);

    if (!is_exact_enough(pq_f64(values), k, r, pq_square_norm(a), tail)) {
        PQ_TRY(by_svd(a, max_rank, tail, u, err));
        goto cleanup;
    }
    PQ_TRY(take_columns(vectors, r, &v, err));
    if (m > n) {
        PQ_TRY(push_through(a, v, u, err));
    } else {
        *u = v;
        v  = NULL;
    }
cleanup:
    pq_tensor_free(&gram);
    pq_tensor_free(&values);
    pq_tensor_free(&vectors);
    pq_tensor_free(&v);
    return st;
}
