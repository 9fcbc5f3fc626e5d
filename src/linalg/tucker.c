#include "linalg/tucker.h"

#include <cblas.h>
#include <math.h>

#include "linalg/eigh.h"
#include "linalg/subspace.h"

void pq_tucker_free(pq_tucker *t)
{
    pq_tensor_free(&t->core);
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_tensor_free(&t->factor[k]);
    }
    *t = (pq_tucker){0};
}

/* A tensor seen as [outer, n, inner] round one axis. */
typedef struct {
    size_t outer, n, inner;
} view;

static view around(const pq_shape *shape, size_t axis)
{
    view v = {1, shape->dim[axis], 1};

    for (size_t k = 0; k < shape->ndim; k++) {
        v.outer *= k < axis ? shape->dim[k] : 1;
        v.inner *= k > axis ? shape->dim[k] : 1;
    }
    return v;
}

pq_status pq_mode_product(const pq_tensor *t, size_t axis, const pq_tensor *factor,
                          bool transposed, pq_tensor **out, pq_err *err)
{
    const view   v       = around(&t->shape, axis);
    const size_t columns = factor->shape.dim[1];
    const size_t to      = transposed ? columns : factor->shape.dim[0];
    pq_shape     shape   = t->shape;
    pq_tensor   *product = NULL;
    pq_status    st;

    assert(factor->shape.dim[transposed ? 0 : 1] == v.n);
    shape.dim[axis] = to;
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, shape, &product, err));
    openblas_set_num_threads(1);
    if (v.inner == 1) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasNoTrans : CblasTrans,
                    (int)v.outer, (int)to, (int)v.n, 1.0, pq_f64(t), (int)v.n,
                    pq_f64(factor), (int)columns, 0.0, pq_f64(product), (int)to);
    }
    for (size_t o = 0; v.inner > 1 && o < v.outer; o++) {
        cblas_dgemm(CblasRowMajor, transposed ? CblasTrans : CblasNoTrans, CblasNoTrans,
                    (int)to, (int)v.inner, (int)v.n, 1.0, pq_f64(factor), (int)columns,
                    pq_f64(t) + o * v.n * v.inner, (int)v.inner, 0.0,
                    pq_f64(product) + o * to * v.inner, (int)v.inner);
    }
    *out = product;
cleanup:
    return st;
}

/* Both triangles of the sum of x x^T over all fibres x along an axis. */
static pq_status fibre_gram(const pq_tensor *t, size_t axis, pq_tensor **out, pq_err *err)
{
    const view v = around(&t->shape, axis);
    pq_tensor *g = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(v.n, v.n), &g, err));
    openblas_set_num_threads(1);
    if (v.inner == 1) {
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)v.n, (int)v.outer, 1.0,
                    pq_f64(t), (int)v.n, 0.0, pq_f64(g), (int)v.n);
    }
    for (size_t o = 0; v.inner > 1 && o < v.outer; o++) {
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, (int)v.n, (int)v.inner, 1.0,
                    pq_f64(t) + o * v.n * v.inner, (int)v.inner, 1.0, pq_f64(g),
                    (int)v.n);
    }
    for (size_t i = 0; i < v.n; i++) {
        for (size_t j = 0; j < i; j++) {
            pq_f64(g)[i * v.n + j] = pq_f64(g)[j * v.n + i];
        }
    }
    *out = g;
cleanup:
    return st;
}

/* T times the transposed factors of all axes but one (SIZE_MAX: of all). */
static pq_status project(const pq_tensor *t, const pq_tucker *tucker, size_t but,
                         pq_tensor **out, pq_err *err)
{
    pq_tensor *at = NULL, *next = NULL;
    pq_status  st = PQ_OK;

    for (size_t k = 0; k < t->shape.ndim; k++) {
        if (k == but || tucker->factor[k] == NULL) {
            continue;
        }
        PQ_TRY(
            pq_mode_product(at != NULL ? at : t, k, tucker->factor[k], true, &next, err));
        pq_tensor_free(&at);
        at   = next;
        next = NULL;
    }
    if (at == NULL) {
        PQ_TRY(pq_tensor_clone(t, &at, err));
    }
    *out = at;
    at   = NULL;
cleanup:
    pq_tensor_free(&at);
    return st;
}

/* Factor of one axis, from T where the others' factors are applied (or not: HOSVD). */
static pq_status update(const pq_tensor *t, size_t axis, size_t rank, bool projected,
                        pq_tucker *tucker, pq_err *err)
{
    pq_tensor *seen = NULL, *gram = NULL, *u = NULL;
    pq_status  st;

    if (projected) {
        PQ_TRY(project(t, tucker, axis, &seen, err));
    }
    PQ_TRY(fibre_gram(seen != NULL ? seen : t, axis, &gram, err));
    PQ_TRY(pq_left_space_of_gram(gram, rank, &u, NULL, err));
    pq_tensor_free(&tucker->factor[axis]);
    tucker->factor[axis] = u;
cleanup:
    pq_tensor_free(&seen);
    pq_tensor_free(&gram);
    return st;
}

/* The first columns of known singular vectors. */
static pq_status begin_from(const pq_tensor *u, size_t rank, pq_tensor **out, pq_err *err)
{
    const size_t n = u->shape.dim[0], known = u->shape.dim[1];
    pq_status    st;

    assert(rank <= known);
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(n, rank), out, err));
    for (size_t i = 0; i < n * rank; i++) {
        pq_f64(*out)[i] = pq_f64(u)[i / rank * known + i % rank];
    }
cleanup:
    return st;
}

pq_status pq_tucker_full(const pq_tucker *t, pq_tensor **out, pq_err *err)
{
    pq_tensor *at = NULL, *next = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_clone(t->core, &at, err));
    for (size_t k = 0; k < t->core->shape.ndim; k++) {
        if (t->factor[k] != NULL) {
            PQ_TRY(pq_mode_product(at, k, t->factor[k], false, &next, err));
            pq_tensor_free(&at);
            at   = next;
            next = NULL;
        }
    }
    *out = at;
    at   = NULL;
cleanup:
    pq_tensor_free(&at);
    return st;
}

/* Replaces the core; *left is |T|^2 - |C|^2, the squared error up to cancellation. */
static pq_status finish_sweep(const pq_tensor *t, double norm, pq_tucker *tucker,
                              double *left, pq_err *err)
{
    pq_tensor *core = NULL;
    pq_status  st;

    PQ_TRY(project(t, tucker, SIZE_MAX, &core, err));
    pq_tensor_free(&tucker->core);
    tucker->core = core;
    *left        = fmax(norm - pq_square_norm(core), 0.0);
cleanup:
    return st;
}

static pq_status iterate(const pq_tensor *t, const size_t *rank,
                         const pq_tucker_options *options, double norm, pq_tucker *tucker,
                         pq_err *err)
{
    const size_t d    = t->shape.ndim;
    double       left = 0.0, before;
    pq_status    st   = PQ_OK;

    for (size_t k = 0; k < d; k++) {
        if (rank[k] > 0) {
            const pq_tensor *known = options->start != NULL ? options->start[k] : NULL;
            PQ_TRY(known != NULL ? begin_from(known, rank[k], &tucker->factor[k], err)
                                 : update(t, k, rank[k], false, tucker, err));
        }
    }
    PQ_TRY(finish_sweep(t, norm, tucker, &left, err));
    while (tucker->sweeps < options->max_sweeps) {
        before = left;
        for (size_t k = 0; k < d; k++) {
            if (rank[k] > 0) {
                PQ_TRY(update(t, k, rank[k], true, tucker, err));
            }
        }
        PQ_TRY(finish_sweep(t, norm, tucker, &left, err));
        tucker->sweeps++;
        if (sqrt(before) - sqrt(left) <= options->tolerance * sqrt(norm)) {
            break;
        }
    }
cleanup:
    return st;
}

pq_status pq_tucker_decompose(const pq_tensor *t, const size_t *rank,
                              const pq_tucker_options *options, pq_tucker *out,
                              pq_err *err)
{
    pq_tucker  tucker = {0};
    pq_tensor *wide = NULL, *full = NULL;
    size_t     bad;
    double     norm;
    pq_status  st;

    PQ_CHECK(t->count > 0, PQ_ERR_SHAPE, "the tensor is empty");
    for (size_t k = 0; k < t->shape.ndim; k++) {
        PQ_CHECK(rank[k] <= t->shape.dim[k], PQ_ERR_RANGE,
                 "rank %zu of axis %zu is not in 1..%zu", rank[k], k, t->shape.dim[k]);
    }
    bad = pq_tensor_first_nonfinite(t);
    PQ_CHECK(bad == SIZE_MAX, PQ_ERR_NUMERIC, "the tensor holds %g at item %zu",
             pq_tensor_get(t, bad), bad);
    PQ_TRY(pq_tensor_convert(t, PQ_DTYPE_F64, &wide, err));
    norm = pq_square_norm(wide);
    PQ_TRY(iterate(wide, rank, options, norm, &tucker, err));
    PQ_TRY(pq_tucker_full(&tucker, &full, err));
    tucker.error = norm > 0.0 ? sqrt(pq_square_distance(full, wide) / norm) : 0.0;
    *out         = tucker;
    tucker       = (pq_tucker){0};
cleanup:
    pq_tucker_free(&tucker);
    pq_tensor_free(&wide);
    pq_tensor_free(&full);
    return st;
}
