#include "linalg/tucker.h"

#include <cblas.h>
#include <math.h>

#include "linalg/gemm.h"
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
    pq_blas_alone();
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

pq_status pq_fibre_gram(const pq_tensor *t, size_t axis, pq_tensor **out, pq_err *err)
{
    const view v = around(&t->shape, axis);
    pq_tensor *g = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(v.n, v.n), &g, err));
    pq_blas_alone();
    if (v.inner == 1) {
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)v.n, (int)v.outer, 1.0,
                    pq_f64(t), (int)v.n, 0.0, pq_f64(g), (int)v.n);
    }
    for (size_t o = 0; v.inner > 1 && o < v.outer; o++) {
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, (int)v.n, (int)v.inner, 1.0,
                    pq_f64(t) + o * v.n * v.inner, (int)v.inner, 1.0, pq_f64(g),
                    (int)v.n);
    }
    pq_mirror_upper(g);
    *out = g;
cleanup:
    return st;
}

/* A decomposition at work, seen with its axes in an order of our own. */
typedef struct {
    const pq_tensor *t;
    const size_t    *rank;              /* of the axes as seen */
    size_t           count;             /* axes that are decomposed */
    size_t           axis[PQ_MAX_DIMS]; /* their places, ascending */
    pq_tucker       *out;
} hooi;

/* T times the transposed factors of some axes. */
static pq_status apply(const pq_tensor *t, const pq_tucker *tucker, const size_t *axes,
                       size_t count, pq_tensor **out, pq_err *err)
{
    pq_tensor *at = NULL, *next = NULL;
    pq_status  st = PQ_OK;

    for (size_t i = 0; i < count; i++) {
        PQ_TRY(pq_mode_product(at != NULL ? at : t, axes[i], tucker->factor[axes[i]],
                               true, &next, err));
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
static pq_status update(const pq_tensor *t, size_t axis, size_t rank, pq_tucker *tucker,
                        pq_err *err)
{
    pq_tensor *gram = NULL, *u = NULL;
    pq_status  st;

    PQ_TRY(pq_fibre_gram(t, axis, &gram, err));
    PQ_TRY(pq_left_space_of_gram(gram, rank, &u, err));
    pq_tensor_free(&tucker->factor[axis]);
    tucker->factor[axis] = u;
cleanup:
    pq_tensor_free(&gram);
    return st;
}

/* Updates decomposed axes from .. to-1 in turn, from T where all others' factors are
 * applied. Halves share their products: T is read twice a sweep, not once an axis. */
static pq_status update_each(const hooi *h, const pq_tensor *t, size_t from, size_t to,
                             pq_err *err)
{
    const size_t mid = (from + to) / 2, k = h->axis[from];
    pq_tensor   *seen = NULL;
    pq_status    st;

    if (to - from == 1) {
        PQ_TRY(update(t, k, h->rank[k], h->out, err));
        if (to == h->count) { /* with the last factor all are applied: the core */
            PQ_TRY(apply(t, h->out, &k, 1, &seen, err));
            pq_tensor_free(&h->out->core);
            h->out->core = seen;
            seen         = NULL;
        }
        goto cleanup;
    }
    PQ_TRY(apply(t, h->out, h->axis + mid, to - mid, &seen, err));
    PQ_TRY(update_each(h, seen, from, mid, err));
    pq_tensor_free(&seen);
    PQ_TRY(apply(t, h->out, h->axis + from, mid - from, &seen, err));
    PQ_TRY(update_each(h, seen, mid, to, err));
cleanup:
    pq_tensor_free(&seen);
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

/* |T|^2 - |C|^2: the squared error up to cancellation. */
static double squared_error(double norm, const pq_tucker *tucker)
{
    return fmax(norm - pq_square_norm(tucker->core), 0.0);
}

static pq_status iterate(const hooi *h, const pq_tucker_options *options,
                         const pq_tensor *const *start, double norm, pq_err *err)
{
    pq_tucker *tucker = h->out;
    double     left, before;
    pq_status  st = PQ_OK;

    for (size_t i = 0; i < h->count; i++) {
        const size_t k = h->axis[i];
        PQ_TRY(start[k] != NULL
                   ? begin_from(start[k], h->rank[k], &tucker->factor[k], err)
                   : update(h->t, k, h->rank[k], tucker, err));
    }
    PQ_TRY(apply(h->t, tucker, h->axis, h->count, &tucker->core, err));
    left = squared_error(norm, tucker);
    while (h->count > 0 && tucker->sweeps < options->max_sweeps) {
        before = left;
        PQ_TRY(update_each(h, h->t, 0, h->count, err));
        left = squared_error(norm, tucker);
        tucker->sweeps++;
        if (sqrt(before) - sqrt(left) <= options->tolerance * sqrt(norm)) {
            break;
        }
    }
cleanup:
    return st;
}

/* Axes that are left whole go behind the first one that is decomposed. So of two that are
 * decomposed one comes first and one last, and all products are single large ones. */
static void order_axes(const size_t *rank, size_t ndim, size_t *order)
{
    size_t first = 0, n = 0;

    while (first < ndim && rank[first] == 0) {
        first++;
    }
    if (first < ndim) {
        order[n++] = first;
    }
    for (int decomposed = 0; decomposed <= 1; decomposed++) {
        for (size_t k = 0; k < ndim; k++) {
            if (k != first && (rank[k] > 0) == (decomposed == 1)) {
                order[n++] = k;
            }
        }
    }
}

/* Back to the tensor's own order of axes. */
static pq_status restore_order(pq_tucker *tucker, const size_t *order, pq_err *err)
{
    const size_t ndim = tucker->core->shape.ndim;
    pq_tucker    seen = *tucker;
    size_t       place[PQ_MAX_DIMS];
    pq_tensor   *core = NULL;
    pq_status    st;

    for (size_t k = 0; k < ndim; k++) {
        place[order[k]] = k;
    }
    PQ_TRY(pq_tensor_permute(tucker->core, place, &core, err));
    pq_tensor_free(&tucker->core);
    tucker->core = core;
    for (size_t k = 0; k < ndim; k++) {
        tucker->factor[k] = seen.factor[place[k]];
    }
cleanup:
    return st;
}

static pq_status check(const pq_tensor *t, const size_t *rank, pq_err *err)
{
    size_t    bad;
    pq_status st;

    PQ_CHECK(t->count > 0, PQ_ERR_SHAPE, "the tensor is empty");
    for (size_t k = 0; k < t->shape.ndim; k++) {
        PQ_CHECK(rank[k] <= t->shape.dim[k], PQ_ERR_RANGE,
                 "rank %zu of axis %zu is not in 1..%zu", rank[k], k, t->shape.dim[k]);
    }
    bad = pq_tensor_first_nonfinite(t);
    PQ_CHECK(bad == SIZE_MAX, PQ_ERR_NUMERIC, "the tensor holds %g at item %zu",
             pq_tensor_get(t, bad), bad);
cleanup:
    return st;
}

pq_status pq_tucker_decompose(const pq_tensor *t, const size_t *rank,
                              const pq_tucker_options *options, pq_tucker *out,
                              pq_err *err)
{
    size_t           order[PQ_MAX_DIMS], seen_rank[PQ_MAX_DIMS];
    const pq_tensor *start[PQ_MAX_DIMS] = {NULL};
    pq_tucker        tucker             = {0};
    pq_tensor       *wide = NULL, *seen = NULL, *full = NULL;
    hooi             h = {.rank = seen_rank, .out = &tucker};
    double           norm;
    pq_status        st;

    PQ_TRY(check(t, rank, err));
    order_axes(rank, t->shape.ndim, order);
    for (size_t k = 0; k < t->shape.ndim; k++) {
        seen_rank[k] = rank[order[k]];
        start[k]     = options->start != NULL ? options->start[order[k]] : NULL;
        if (seen_rank[k] > 0) {
            h.axis[h.count++] = k;
        }
    }
    if (t->dtype != PQ_DTYPE_F64) {
        PQ_TRY(pq_tensor_convert(t, PQ_DTYPE_F64, &wide, err));
    }
    PQ_TRY(pq_tensor_permute(wide != NULL ? wide : t, order, &seen, err));
    h.t  = seen;
    norm = pq_square_norm(seen);
    PQ_TRY(iterate(&h, options, start, norm, err));
    PQ_TRY(pq_tucker_full(&tucker, &full, err));
    tucker.error = norm > 0.0 ? sqrt(pq_square_distance(full, seen) / norm) : 0.0;
    PQ_TRY(restore_order(&tucker, order, err));
    *out   = tucker;
    tucker = (pq_tucker){0};
cleanup:
    pq_tucker_free(&tucker);
    pq_tensor_free(&wide);
    pq_tensor_free(&seen);
    pq_tensor_free(&full);
    return st;
}
