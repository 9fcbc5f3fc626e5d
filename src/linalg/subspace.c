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

/* Down to this part of the largest, dividing by singular values keeps columns orthonormal
 * to 1e-12, whatever the order of the sums: rounding is amplified by its inverse. */
static const double even = 1e-3;

/* Sums of squares below this have lost digits to underflow. */
static const double tiny = 1e-280;

double pq_square_norm(const pq_tensor *t)
{
    enum { LANES = 8 }; /* sums that do not wait for each other */
    const double *x         = pq_f64(t);
    double        at[LANES] = {0.0}, sum = 0.0;
    size_t        i = 0;

    for (; i + LANES <= t->count; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            at[l] += x[i + l] * x[i + l];
        }
    }
    for (; i < t->count; i++) {
        sum += x[i] * x[i];
    }
    for (size_t l = 0; l < LANES; l++) {
        sum += at[l];
    }
    return sum;
}

double pq_norm(const pq_tensor *t)
{
    const double square  = pq_square_norm(t);
    double       largest = 0.0, sum = 0.0;

    if (square > tiny && isfinite(square)) {
        return sqrt(square);
    }
    for (size_t i = 0; i < t->count; i++) {
        largest = fmax(largest, fabs(pq_f64(t)[i]));
    }
    for (size_t i = 0; largest > 0.0 && i < t->count; i++) {
        const double x = pq_f64(t)[i] / largest;
        sum += x * x;
    }
    return largest * sqrt(sum);
}

double pq_square_distance(const pq_tensor *a, const pq_tensor *b)
{
    enum { LANES = 8 };
    const double *x = pq_f64(a), *y = pq_f64(b);
    double        at[LANES] = {0.0}, sum = 0.0;
    size_t        i = 0;

    assert(a->count == b->count);
    for (; i + LANES <= a->count; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            at[l] += (x[i + l] - y[i + l]) * (x[i + l] - y[i + l]);
        }
    }
    for (; i < a->count; i++) {
        sum += (x[i] - y[i]) * (x[i] - y[i]);
    }
    for (size_t l = 0; l < LANES; l++) {
        sum += at[l];
    }
    return sum;
}

void pq_mirror_upper(pq_tensor *a)
{
    const size_t n = a->shape.dim[0];
    double      *x = pq_f64(a);

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            x[i * n + j] = x[j * n + i];
        }
    }
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

/* Rows as columns. */
static pq_status take_columns(const pq_tensor *rows, pq_tensor **out, pq_err *err)
{
    return pq_tensor_permute(rows, (size_t[]){1, 0}, out, err);
}

static pq_status by_svd(const pq_tensor *a, size_t max_rank, double tail, pq_tensor **u,
                        pq_err *err)
{
    pq_svd    svd = {0};
    pq_status st;

    PQ_TRY(pq_svd_thin(a, &svd, err));
    const size_t m = svd.u->shape.dim[0], k = svd.s->count;
    double      *s = pq_f64(svd.s);

    const double unit = s[0] > 0.0 ? s[0] : 1.0; /* squares stay within the range */

    for (size_t i = 0; i < k; i++) {
        s[i] = s[i] / unit * (s[i] / unit);
    }
    const size_t r = choose_rank(s, k, max_rank, tail / unit);

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, r), u, err));
    for (size_t i = 0; i < m; i++) {
        memcpy(pq_f64(*u) + i * r, pq_f64(svd.u) + i * k, r * sizeof(double));
    }
cleanup:
    pq_svd_free(&svd);
    return st;
}

/* U^T A. */
static pq_status project(const pq_tensor *u, const pq_tensor *a, pq_tensor **out,
                         pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(u->shape.dim[1], a->shape.dim[1]), out,
                            err));
    PQ_TRY(pq_gemm((pq_operand){u, true}, (pq_operand){a, false}, 0.0, *out, err));
cleanup:
    return st;
}

/* U = A V diag(1/s) and U^T A = diag(s) V^T of a tall A, for leading right vectors as the
 * rows of vt [r, n], which becomes the latter. */
static void scale_tall(const double *squares, pq_tensor *u, pq_tensor *vt)
{
    const size_t m = u->shape.dim[0], r = u->shape.dim[1], n = vt->shape.dim[1];

    for (size_t j = 0; j < r; j++) {
        const double s = sqrt(squares[j]);
        for (size_t i = 0; i < m; i++) {
            pq_f64(u)[i * r + j] /= s;
        }
        const double turned = pq_fix_sign(pq_f64(u) + j, m, r) ? -s : s;
        for (size_t i = 0; i < n; i++) {
            pq_f64(vt)[j * n + i] *= turned;
        }
    }
}

/* Splits a tall A whose leading right vectors are the rows of vt [r, n]; takes vt. */
static pq_status split_tall(const pq_tensor *a, const double *squares, pq_tensor **vt,
                            pq_tensor **u, pq_tensor **rest, pq_err *err)
{
    const size_t m = a->shape.dim[0], r = (*vt)->shape.dim[0];
    pq_tensor   *av = NULL, *upper = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, r), &av, err));
    PQ_TRY(pq_gemm((pq_operand){a, false}, (pq_operand){*vt, true}, 0.0, av, err));
    if (squares[r - 1] > even * squares[0]) {
        scale_tall(squares, av, *vt);
        *u    = av;
        *rest = *vt;
        av = *vt = NULL;
        goto cleanup;
    }
    PQ_TRY(pq_qr_thin(av, u, &upper, err));
    for (size_t j = 0; j < r; j++) {
        pq_fix_sign(pq_f64(*u) + j, m, r);
    }
    PQ_TRY(project(*u, a, rest, err));
cleanup:
    pq_tensor_free(&av);
    pq_tensor_free(&upper);
    return st;
}

pq_status pq_left_space_of_gram(const pq_tensor *gram, size_t rank, pq_tensor **u,
                                pq_err *err)
{
    pq_tensor *values = NULL, *vectors = NULL;
    pq_status  st;

    PQ_TRY(pq_eigh_top(gram, rank, &values, &vectors, err));
    PQ_TRY(take_columns(vectors, u, err));
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
    pq_blas_alone();
    g = pq_f64(*out);
    cblas_dsyrk(CblasRowMajor, CblasUpper, m > n ? CblasTrans : CblasNoTrans, (int)k,
                (int)(m > n ? m : n), 1.0, pq_f64(a), (int)n, 0.0, g, (int)k);
    pq_mirror_upper(*out);
cleanup:
    return st;
}

static double trace(const pq_tensor *gram)
{
    const size_t k   = gram->shape.dim[0];
    double       sum = 0.0;

    for (size_t i = 0; i < k; i++) {
        sum += pq_f64(gram)[i * k + i];
    }
    return sum;
}

/* From the smaller Gram matrix; leaves *u NULL where that is not exact enough. */
static pq_status by_gram(const pq_tensor *a, size_t max_rank, double tail, pq_tensor **u,
                         pq_tensor **rest, pq_err *err)
{
    const size_t m = a->shape.dim[0], n = a->shape.dim[1], k = m < n ? m : n;
    const size_t top  = max_rank < k ? max_rank : k;
    pq_tensor   *gram = NULL, *values = NULL, *vectors = NULL;
    pq_status    st;

    PQ_TRY(smaller_gram(a, &gram, err));
    const double total = trace(gram);

    if (!(total > tiny) || !isfinite(total)) {
        goto cleanup; /* squares underflow or overflow, or there is a NaN to be named */
    }
    if (tail == 0.0) { /* nothing to choose: the leading ones will do */
        PQ_TRY(pq_eigh_top(gram, top, &values, &vectors, err));
    } else {
        PQ_TRY(pq_eigh(gram, &values, &vectors, err));
    }
    const size_t r = choose_rank(pq_f64(values), values->count, max_rank, tail);

    if (!is_exact_enough(pq_f64(values), k, r, total, tail)) {
        goto cleanup;
    }
    vectors->shape.dim[0] = r; /* rows of smaller values are left out */
    vectors->count        = r * k;
    if (m > n) {
        PQ_TRY(split_tall(a, pq_f64(values), &vectors, u, rest, err));
    } else {
        PQ_TRY(take_columns(vectors, u, err));
        PQ_TRY(project(*u, a, rest, err));
    }
cleanup:
    pq_tensor_free(&gram);
    pq_tensor_free(&values);
    pq_tensor_free(&vectors);
    return st;
}

pq_status pq_left_split(const pq_tensor *a, size_t max_rank, double tail, pq_tensor **u,
                        pq_tensor **rest, pq_err *err)
{
    pq_tensor *basis = NULL, *remainder = NULL;
    pq_status  st;

    PQ_CHECK(max_rank >= 1, PQ_ERR_RANGE, "rank 0 is below 1");
    PQ_CHECK(a->shape.ndim == 2 && a->count > 0, PQ_ERR_SHAPE,
             "a space of columns needs a matrix");
    PQ_TRY(by_gram(a, max_rank, tail, &basis, &remainder, err));
    if (basis == NULL) {
        PQ_TRY(by_svd(a, max_rank, tail, &basis, err));
        PQ_TRY(project(basis, a, &remainder, err));
    }
    *u    = basis;
    *rest = remainder;
    basis = remainder = NULL;
cleanup:
    pq_tensor_free(&basis);
    pq_tensor_free(&remainder);
    return st;
}
