#include "linalg/tt.h"

#include <math.h>
#include <string.h>

#include "linalg/gemm.h"
#include "linalg/qr.h"
#include "linalg/subspace.h"

void pq_tt_free(pq_tt *t)
{
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_tensor_free(&t->core[k]);
    }
    *t = (pq_tt){0};
}

size_t pq_tt_parameters(const pq_tt *t)
{
    size_t n = 0;

    for (size_t k = 0; k < t->d; k++) {
        n += t->core[k]->count;
    }
    return n;
}

static pq_status matrix(size_t m, size_t n, pq_tensor **out, pq_err *err)
{
    return pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, n), out, err);
}

/* C = op(A) op(B) as a new matrix. */
static pq_status product(pq_operand a, pq_operand b, pq_tensor **out, pq_err *err)
{
    pq_status st;

    PQ_TRY(matrix(a.matrix->shape.dim[a.transposed ? 1 : 0],
                  b.matrix->shape.dim[b.transposed ? 0 : 1], out, err));
    PQ_TRY(pq_gemm(a, b, 0.0, *out, err));
cleanup:
    return st;
}

/* What is left of a tensor while cores are split off its front: [r, n_k …], flat. */
typedef struct {
    pq_tensor     at;   /* view of it */
    pq_tensor    *rest; /* where it is ours, else NULL */
    size_t        r;
    double        delta; /* what each truncation may drop */
    const size_t *max_rank;
    pq_tt        *out;
} splitter;

/* Core k = U of the rest as [r n, …]; the rest becomes U^T rest. */
static pq_status split_core(splitter *s, size_t k, size_t n, pq_err *err)
{
    const size_t rows = s->r * n, limit = s->max_rank != NULL ? s->max_rank[k] : SIZE_MAX;
    pq_tensor   *u = NULL, *rest = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_reshape(&s->at, PQ_SHAPE(rows, s->at.count / rows), err));
    PQ_TRY(pq_left_split(&s->at, limit, s->delta, &u, &rest, err));
    const size_t r = u->shape.dim[1];

    PQ_TRY(pq_tensor_reshape(u, PQ_SHAPE(s->r, n, r), err));
    s->out->core[k]     = u;
    s->out->rank[k + 1] = r;
    u                   = NULL;
    pq_tensor_free(&s->rest);
    s->rest = rest;
    s->at   = *rest;
    rest    = NULL;
    s->r    = r;
cleanup:
    pq_tensor_free(&u);
    pq_tensor_free(&rest);
    return st;
}

/* Splits cores first .. d-1 off what is seen, [r, n_first, …, n_{d-1}, last]; takes the
 * rest. */
static pq_status split_all(splitter *s, size_t first, const size_t *n, size_t last,
                           pq_err *err)
{
    const size_t d  = s->out->d;
    pq_status    st = PQ_OK;

    for (size_t k = first; k + 1 < d; k++) {
        PQ_TRY(split_core(s, k, n[k], err));
    }
    if (s->rest == NULL) { /* a single core */
        PQ_TRY(pq_tensor_clone(&s->at, &s->rest, err));
    }
    PQ_TRY(pq_tensor_reshape(s->rest, PQ_SHAPE(s->r, n[d - 1], last), err));
    s->out->core[d - 1] = s->rest;
    s->out->rank[d]     = last;
    s->rest             = NULL;
cleanup:
    pq_tensor_free(&s->rest);
    return st;
}

static pq_status check(const pq_tensor *t, double epsilon, const size_t *max_rank,
                       pq_err *err)
{
    size_t    bad;
    pq_status st;

    PQ_CHECK(t->shape.ndim >= 1 && t->count > 0, PQ_ERR_SHAPE,
             "a train needs a tensor of at least one axis, and items");
    PQ_CHECK(epsilon >= 0.0, PQ_ERR_RANGE, "epsilon %g is not 0 or more", epsilon);
    for (size_t k = 0; max_rank != NULL && k + 1 < t->shape.ndim; k++) {
        PQ_CHECK(max_rank[k] >= 1, PQ_ERR_RANGE, "rank 0 between cores %zu and %zu",
                 k + 1, k + 2);
    }
    bad = pq_tensor_first_nonfinite(t);
    PQ_CHECK(bad == SIZE_MAX, PQ_ERR_NUMERIC, "the tensor holds %g at item %zu",
             pq_tensor_get(t, bad), bad);
cleanup:
    return st;
}

/* What each of the d - 1 truncations may drop so that all stay within epsilon. */
static double share(double epsilon, double norm, size_t d)
{
    return d > 1 ? epsilon * norm / sqrt((double)(d - 1)) : 0.0;
}

pq_status pq_tt_svd(const pq_tensor *t, double epsilon, const size_t *max_rank,
                    pq_tt *out, pq_err *err)
{
    pq_tt     tt = {.d = t->shape.ndim, .rank = {1}};
    splitter  s  = {.at = *t, .r = 1, .max_rank = max_rank, .out = &tt};
    pq_status st;

    PQ_TRY(check(t, epsilon, max_rank, err));
    if (t->dtype != PQ_DTYPE_F64) {
        PQ_TRY(pq_tensor_convert(t, PQ_DTYPE_F64, &s.rest, err));
        s.at = *s.rest;
    }
    s.delta = epsilon > 0.0 ? share(epsilon, pq_norm(&s.at), tt.d) : 0.0;
    PQ_TRY(split_all(&s, 0, t->shape.dim, 1, err));
    *out = tt;
    tt   = (pq_tt){0};
cleanup:
    pq_tensor_free(&s.rest);
    pq_tt_free(&tt);
    return st;
}

/* Core k as Q^T with orthonormal rows, its R pushed into core k-1. */
static pq_status push_left(pq_tt *t, size_t k, pq_err *err)
{
    const size_t swap[] = {1, 0};
    const size_t r = t->rank[k], n = t->core[k]->shape.dim[1], right = t->rank[k + 1];
    const size_t n_left = t->core[k - 1]->shape.dim[1];
    pq_tensor   *tall = NULL, *q = NULL, *upper = NULL, *core = NULL, *left = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_reshape(t->core[k], PQ_SHAPE(r, n * right), err));
    PQ_TRY(pq_tensor_permute(t->core[k], swap, &tall, err));
    PQ_TRY(pq_qr_thin(tall, &q, &upper, err));
    PQ_TRY(pq_tensor_permute(q, swap, &core, err));
    const size_t fresh = core->shape.dim[0];

    PQ_TRY(pq_tensor_reshape(core, PQ_SHAPE(fresh, n, right), err));
    PQ_TRY(pq_tensor_reshape(t->core[k - 1], PQ_SHAPE(t->rank[k - 1] * n_left, r), err));
    PQ_TRY(product((pq_operand){t->core[k - 1], false}, (pq_operand){upper, true}, &left,
                   err));
    PQ_TRY(pq_tensor_reshape(left, PQ_SHAPE(t->rank[k - 1], n_left, fresh), err));
    pq_tensor_free(&t->core[k]);
    pq_tensor_free(&t->core[k - 1]);
    t->core[k]     = core;
    t->core[k - 1] = left;
    t->rank[k]     = fresh;
    core = left = NULL;
cleanup:
    pq_tensor_free(&tall);
    pq_tensor_free(&q);
    pq_tensor_free(&upper);
    pq_tensor_free(&core);
    pq_tensor_free(&left);
    return st;
}

/* Truncates between cores k and k+1, all cores behind k having orthonormal rows. */
static pq_status truncate(pq_tt *t, size_t k, size_t limit, double delta, pq_err *err)
{
    const size_t r = t->rank[k], n = t->core[k]->shape.dim[1], mid = t->rank[k + 1];
    const size_t n_next = t->core[k + 1]->shape.dim[1], right = t->rank[k + 2];
    pq_tensor   *u = NULL, *carry = NULL, *next = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_reshape(t->core[k], PQ_SHAPE(r * n, mid), err));
    PQ_TRY(pq_left_split(t->core[k], limit, delta, &u, &carry, err));
    PQ_TRY(pq_tensor_reshape(t->core[k + 1], PQ_SHAPE(mid, n_next * right), err));
    PQ_TRY(product((pq_operand){carry, false}, (pq_operand){t->core[k + 1], false}, &next,
                   err));
    const size_t rank = u->shape.dim[1];

    PQ_TRY(pq_tensor_reshape(u, PQ_SHAPE(r, n, rank), err));
    PQ_TRY(pq_tensor_reshape(next, PQ_SHAPE(rank, n_next, right), err));
    pq_tensor_free(&t->core[k]);
    pq_tensor_free(&t->core[k + 1]);
    t->core[k]     = u;
    t->core[k + 1] = next;
    t->rank[k + 1] = rank;
    u = next = NULL;
cleanup:
    pq_tensor_free(&u);
    pq_tensor_free(&carry);
    pq_tensor_free(&next);
    return st;
}

pq_status pq_tt_round(const pq_tt *t, double epsilon, const size_t *max_rank, pq_tt *out,
                      pq_err *err)
{
    pq_tt     tt = {.d = t->d};
    double    delta;
    pq_status st = PQ_OK;

    assert(t->d >= 1 && t->rank[0] == 1 && t->rank[t->d] == 1);
    PQ_CHECK(epsilon >= 0.0, PQ_ERR_RANGE, "epsilon %g is not 0 or more", epsilon);
    memcpy(tt.rank, t->rank, sizeof tt.rank);
    for (size_t k = 0; k < t->d; k++) {
        PQ_TRY(pq_tensor_clone(t->core[k], &tt.core[k], err));
    }
    for (size_t k = t->d; k-- > 1;) {
        PQ_TRY(push_left(&tt, k, err));
    }
    delta = share(epsilon, pq_norm(tt.core[0]), t->d);
    for (size_t k = 0; k + 1 < t->d; k++) {
        PQ_TRY(truncate(&tt, k, max_rank != NULL ? max_rank[k] : SIZE_MAX, delta, err));
    }
    *out = tt;
    tt   = (pq_tt){0};
cleanup:
    pq_tt_free(&tt);
    return st;
}

/* What lies behind a cut has the cut's singular values as norms of its rows:
 * s_k[i]^2 = sum_{n, j} core_{k+1}[i, n, j]^2 s_{k+1}[j]^2. */
pq_status pq_tt_cuts(const pq_tt *t, pq_tensor **values, pq_err *err)
{
    const double one = 1.0, *behind = &one;
    pq_status    st = PQ_OK;

    for (size_t k = t->d - 1; k-- > 0;) {
        const size_t  r = t->rank[k + 1], right = t->rank[k + 2];
        const size_t  row  = t->core[k + 1]->count / r;
        const double *core = pq_f64(t->core[k + 1]);
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(r), &values[k], err));
        for (size_t i = 0; i < r; i++) {
            double sum = 0.0;
            for (size_t j = 0; j < row; j++) {
                const double x = core[i * row + j] * behind[j % right];
                sum += x * x;
            }
            pq_f64(values[k])[i] = sqrt(sum);
        }
        behind = pq_f64(values[k]);
    }
cleanup:
    for (size_t k = 0; st != PQ_OK && k + 1 < t->d; k++) {
        pq_tensor_free(&values[k]);
    }
    return st;
}

/* left [r_0 a, r] and core [r, n, s] give [r_0 a n, s]. */
static pq_status append(pq_tensor **left, const pq_tensor *core, pq_err *err)
{
    const size_t r = core->shape.dim[0], n = core->shape.dim[1], s = core->shape.dim[2];
    pq_tensor    flat  = *core;
    pq_tensor   *grown = NULL;
    pq_status    st;

    flat.shape = PQ_SHAPE(r, n * s);
    PQ_TRY(product((pq_operand){*left, false}, (pq_operand){&flat, false}, &grown, err));
    PQ_TRY(pq_tensor_reshape(grown, PQ_SHAPE(grown->count / s, s), err));
    pq_tensor_free(left);
    *left = grown;
    grown = NULL;
cleanup:
    pq_tensor_free(&grown);
    return st;
}

pq_status pq_tt_full(const pq_tt *t, pq_tensor **out, pq_err *err)
{
    const size_t r0    = t->rank[0];
    pq_shape     shape = {.ndim = t->d};
    pq_tensor   *left = NULL, *sum = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_clone(t->core[0], &left, err));
    PQ_TRY(pq_tensor_reshape(left, PQ_SHAPE(left->count / t->rank[1], t->rank[1]), err));
    shape.dim[0] = t->core[0]->shape.dim[1];
    for (size_t k = 1; k < t->d; k++) {
        PQ_TRY(append(&left, t->core[k], err));
        shape.dim[k] = t->core[k]->shape.dim[1];
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, shape, &sum, err));
    for (size_t a = 0; a < r0; a++) { /* the trace; left is [r_0, items, r_0] */
        for (size_t i = 0; i < sum->count; i++) {
            pq_f64(sum)[i] += pq_f64(left)[(a * sum->count + i) * r0 + a];
        }
    }
    *out = sum;
    sum  = NULL;
cleanup:
    pq_tensor_free(&left);
    pq_tensor_free(&sum);
    return st;
}

/* Two factors of a rank, as equal as they come, both at most `limit`. */
static void split_rank(size_t rank, size_t limit, size_t *a, size_t *b)
{
    *a = (size_t)sqrt((double)rank);
    *a = *a > limit ? limit : *a;
    *a = *a < 1 ? 1 : *a;
    *b = rank / *a;
    *b = *b > limit ? limit : *b;
}

/* Two factors at most `limit` whose product is not below `rank`, which is at most the
 * square of `limit`. */
static void cover_rank(size_t rank, size_t limit, size_t *a, size_t *b)
{
    *a = (size_t)sqrt((double)rank);
    while ((rank + *a - 1) / *a > limit) {
        ++*a;
    }
    *b = (rank + *a - 1) / *a;
}

/* [rows, columns] of which t is the upper left part, the rest 0. */
static pq_status widen(pq_tensor **t, size_t rows, size_t columns, pq_err *err)
{
    const size_t had  = (*t)->shape.dim[1];
    pq_tensor   *wide = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rows, columns), &wide, err));
    for (size_t i = 0; i < (*t)->shape.dim[0]; i++) {
        memcpy(pq_f64(wide) + i * columns, pq_f64(*t) + i * had, had * sizeof(double));
    }
    pq_tensor_free(t);
    *t = wide;
cleanup:
    return st;
}

/* A ring whose first core is the tensor's first axis. Where fewer singular values than
 * the ranks ask for are not 0, the ranks are smaller. */
static pq_status ring_from_first(const pq_tensor *t, size_t rank, pq_tt *out, pq_err *err)
{
    const size_t n = t->shape.dim[0], rest = t->count / n, full = n < rest ? n : rest;
    const size_t core_order[] = {1, 0, 2}, rest_order[] = {1, 2, 0};
    size_t       limits[PQ_MAX_DIMS];
    pq_tt        tt   = {.d = t->shape.ndim};
    splitter     s    = {.max_rank = limits, .out = &tt};
    pq_tensor   *flat = NULL, *u = NULL, *right = NULL;
    pq_status    st;

    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        limits[k] = rank;
    }
    split_rank(full < rank * rank ? full : rank * rank, rank, &tt.rank[0], &tt.rank[1]);
    PQ_TRY(pq_tensor_clone(t, &flat, err));
    PQ_TRY(pq_tensor_reshape(flat, PQ_SHAPE(n, rest), err));
    PQ_TRY(pq_left_split(flat, tt.rank[0] * tt.rank[1], 0.0, &u, &right, err));
    if (u->shape.dim[1] < tt.rank[0] * tt.rank[1]) {
        cover_rank(u->shape.dim[1], rank, &tt.rank[0], &tt.rank[1]);
        PQ_TRY(widen(&u, n, tt.rank[0] * tt.rank[1], err));
        PQ_TRY(widen(&right, tt.rank[0] * tt.rank[1], rest, err));
    }
    PQ_TRY(pq_tensor_reshape(u, PQ_SHAPE(n, tt.rank[0], tt.rank[1]), err));
    PQ_TRY(pq_tensor_permute(u, core_order, &tt.core[0], err));
    PQ_TRY(pq_tensor_reshape(right, PQ_SHAPE(tt.rank[0], tt.rank[1], rest), err));
    PQ_TRY(pq_tensor_permute(right, rest_order, &s.rest, err));
    s.at = *s.rest;
    s.r  = tt.rank[1];
    PQ_TRY(split_all(&s, 1, t->shape.dim, tt.rank[0], err));
    *out = tt;
    tt   = (pq_tt){0};
cleanup:
    pq_tensor_free(&flat);
    pq_tensor_free(&u);
    pq_tensor_free(&right);
    pq_tensor_free(&s.rest);
    pq_tt_free(&tt);
    return st;
}

/* Turns cores back by `shift` places, so that axis 0 comes first again. */
static void turn(pq_tt *t, size_t shift)
{
    const pq_tt from = *t;

    for (size_t k = 0; k < t->d; k++) {
        t->core[(k + shift) % t->d] = from.core[k];
        t->rank[(k + shift) % t->d] = from.rank[k];
    }
    t->rank[t->d] = t->rank[0];
}

pq_status pq_ring_svd(const pq_tensor *t, size_t rank, pq_tt *out, double *error,
                      pq_err *err)
{
    const size_t d    = t->shape.ndim;
    pq_tensor   *wide = NULL, *turned = NULL, *full = NULL;
    pq_tt        best = {0}, one = {0};
    double       least = HUGE_VAL, norm, lost;
    pq_status    st;

    PQ_CHECK(rank >= 1, PQ_ERR_RANGE, "rank 0 is below 1");
    PQ_CHECK(d >= 2, PQ_ERR_SHAPE, "a ring needs at least two axes");
    PQ_TRY(check(t, 0.0, NULL, err));
    PQ_TRY(pq_tensor_convert(t, PQ_DTYPE_F64, &wide, err));
    norm = pq_square_norm(wide);
    for (size_t shift = 0; shift < d; shift++) {
        size_t axes[PQ_MAX_DIMS];
        for (size_t k = 0; k < d; k++) {
            axes[k] = (k + shift) % d;
        }
        PQ_TRY(pq_tensor_permute(wide, axes, &turned, err));
        PQ_TRY(ring_from_first(turned, rank, &one, err));
        turn(&one, shift);
        PQ_TRY(pq_tt_full(&one, &full, err));
        lost = pq_square_distance(full, wide);
        pq_tensor_free(&full);
        pq_tensor_free(&turned);
        if (lost < least) {
            pq_tt_free(&best);
            best  = one;
            one   = (pq_tt){0};
            least = lost;
        }
        pq_tt_free(&one);
    }
    *error = norm > 0.0 ? sqrt(least / norm) : 0.0;
    *out   = best;
    best   = (pq_tt){0};
cleanup:
    pq_tensor_free(&wide);
    pq_tensor_free(&turned);
    pq_tensor_free(&full);
    pq_tt_free(&best);
    pq_tt_free(&one);
    return st;
}
