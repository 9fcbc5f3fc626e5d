#include "data.h"

#include <string.h>

#include "linalg/gemm.h"
#include "linalg/partial.h"
#include "linalg/qr.h"

/* Of the error of a truncation to the least one; what is promised. */
static const double TOL_ERROR = PQ_SVD_EXCESS;
static const double TOL_BASIS = 1e-12; /* of U^T U and V^T V to the identity */
static const double TOL_FLOOR = 1e-13; /* of an error to |A|: rounding in double */

/* Singular values by index, falling; i of k. */
static double exponential(size_t i, size_t k)
{
    (void)k;
    return pow(0.97, (double)i);
}

static double steep(size_t i, size_t k)
{
    (void)k;
    return pow(0.4, (double)i);
}

static double harmonic(size_t i, size_t k)
{
    (void)k;
    return 1.0 / (1.0 + (double)i);
}

static double nearly_flat(size_t i, size_t k)
{
    return 1.02 - 0.02 * (double)i / (double)k;
}

static double equal(size_t i, size_t k)
{
    (void)i;
    (void)k;
    return 1.0;
}

static double two_levels(size_t i, size_t k) /* more equal ones than a block has */
{
    (void)k;
    return i < 60 ? 10.0 : 1.0;
}

static double clustered(size_t i, size_t k)
{
    return i < 60 ? 10.0 + 1e-6 * (double)(60 - i) : 1.0 + 1e-4 * (double)(k - i);
}

static double stairs(size_t i, size_t k)
{
    (void)k;
    return pow(0.5, (double)(i / 40));
}

static double small_stairs(size_t i, size_t k)
{
    (void)k;
    return pow(0.9, (double)(i / 50));
}

static double deficient(size_t i, size_t k)
{
    (void)k;
    return i < 30 ? 1.0 + (double)(30 - i) : 0.0;
}

static double one_spike(size_t i, size_t k)
{
    (void)k;
    return i == 0 ? 1e6 : 1.0;
}

static double spikes(size_t i, size_t k)
{
    return i < 10 ? 1e8 / (1.0 + (double)i) : 1.0 - 0.5 * (double)i / (double)k;
}

/* May a spectrum be given up on, which is right but dear? */
static const struct {
    const char *name;
    double (*value)(size_t i, size_t k);
    bool may_be_whole;
} spectra[] = {{"exponential", exponential, false},
               {"steep", steep, false},
               {"harmonic", harmonic, false},
               {"nearly flat", nearly_flat, true},
               {"equal", equal, false},
               {"two levels", two_levels, false},
               {"clustered", clustered, true},
               {"stairs", stairs, true},
               {"small stairs", small_stairs, true},
               {"deficient", deficient, false},
               {"one spike", one_spike, false},
               {"spikes", spikes, true},
               {"noise", NULL, true}};
enum { SPECTRA = sizeof spectra / sizeof spectra[0] };

/* Up to 511 of the shorter side, and from rank 33 on, by a Gram matrix; else by a search.
 */
static const size_t shapes[][2] = {
    {500, 500}, {420, 900}, {900, 420}, {520, 560}, {900, 520}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static const size_t ranks[] = {1, 7, 16, 45, 104};
enum { RANKS = sizeof ranks / sizeof ranks[0] };

/* A matrix of these singular values between random bases; value NULL: Gaussian noise. */
static pq_tensor *matrix_of(size_t m, size_t n, double (*value)(size_t i, size_t k))
{
    const size_t k = m < n ? m : n;
    pq_tensor   *left, *right, *u = NULL, *v = NULL, *r = NULL, *w = NULL;

    if (value == NULL) {
        return random_tensor(PQ_SHAPE(m, n), 4);
    }
    left  = random_tensor(PQ_SHAPE(m, k), 5);
    right = random_tensor(PQ_SHAPE(n, k), 6);
    OK(pq_qr_thin(left, &u, &r, &err));
    pq_tensor_free(&r);
    OK(pq_qr_thin(right, &v, &r, &err));
    for (size_t i = 0; i < u->count; i++) {
        pq_f64(u)[i] *= value(i % k, k);
    }
    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, n), &w, &err));
    OK(pq_gemm((pq_operand){u, false}, (pq_operand){v, true}, 0.0, w, &err));
    pq_tensor_free(&left);
    pq_tensor_free(&right);
    pq_tensor_free(&u);
    pq_tensor_free(&v);
    pq_tensor_free(&r);
    return w;
}

/* |A - U diag(s) V^T|, by its items. */
static double error_of(const pq_tensor *w, const pq_svd *svd, size_t rank)
{
    const size_t m = w->shape.dim[0], n = w->shape.dim[1], k = svd->s->count;
    pq_tensor   *us = NULL, *v = NULL, *full = NULL;
    double       distance;

    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, rank), &us, &err));
    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rank, n), &v, &err));
    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, n), &full, &err));
    for (size_t r = 0; r < rank; r++) {
        for (size_t i = 0; i < m; i++) {
            pq_f64(us)[i * rank + r] = pq_f64(svd->u)[i * k + r] * pq_f64(svd->s)[r];
        }
        memcpy(pq_f64(v) + r * n, pq_f64(svd->vt) + r * n, n * sizeof(double));
    }
    OK(pq_gemm((pq_operand){us, false}, (pq_operand){v, false}, 0.0, full, &err));
    distance = sqrt(pq_square_distance(w, full));
    pq_tensor_free(&us);
    pq_tensor_free(&v);
    pq_tensor_free(&full);
    return distance;
}

static void expect_orthonormal(const pq_tensor *f, bool rows, const char *name)
{
    const size_t r    = f->shape.dim[rows ? 0 : 1];
    pq_tensor   *gram = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(r, r), &gram, &err));
    OK(pq_gemm((pq_operand){f, !rows}, (pq_operand){f, rows}, 0.0, gram, &err));
    for (size_t i = 0; i < r * r; i++) {
        cr_expect_float_eq(pq_f64(gram)[i], i / r == i % r ? 1.0 : 0.0, TOL_BASIS, "%s",
                           name);
    }
    pq_tensor_free(&gram);
}

/* One matrix at one rank against the whole decomposition. */
static void compare(const char *name, const pq_tensor *w, const pq_svd *whole,
                    size_t rank, bool may_be_whole)
{
    pq_svd_part  part = {0};
    const double size = sqrt(pq_square_norm(w)), least = pq_svd_tail(whole, rank);
    double       error, bound;

    OK(pq_svd_leading(w, rank, &part, &err));
    error = error_of(w, &part.svd, rank);
    bound = pq_svd_excess(pq_f64(part.svd.s), part.square, part.lack, rank);
    cr_expect(part.svd.s->count == rank ||
                  (may_be_whole && part.svd.s->count == whole->s->count),
              "%s at %zu: %zu triples", name, rank, part.svd.s->count);
    cr_expect_leq(error, least * (1.0 + TOL_ERROR) + TOL_FLOOR * size,
                  "%s at %zu: %.10g, least %.10g", name, rank, error, least);
    cr_expect_leq(error, least * (1.0 + bound) + TOL_FLOOR * size, "%s at %zu: bound %g",
                  name, rank, bound);
    cr_expect_float_eq(part.square, size * size, 1e-12 * size * size);
    expect_orthonormal(part.svd.u, false, name);
    expect_orthonormal(part.svd.vt, true, name);
    for (size_t i = 0; i < part.svd.s->count; i++) {
        cr_expect_geq(pq_f64(part.svd.s)[i], 0.0);
        cr_expect(i == 0 || pq_f64(part.svd.s)[i - 1] >= pq_f64(part.svd.s)[i]);
    }
    pq_svd_part_free(&part);
}

Test(partial, error_is_the_least_one_whatever_the_spectrum)
{
    for (size_t c = 0; c < SHAPES; c++) {
        for (size_t s = 0; s < SPECTRA; s++) {
            pq_tensor *w     = matrix_of(shapes[c][0], shapes[c][1], spectra[s].value);
            pq_svd     whole = {0};

            OK(pq_svd_thin(w, &whole, &err));
            for (size_t r = 0; r < RANKS; r++) {
                compare(spectra[s].name, w, &whole, ranks[r], spectra[s].may_be_whole);
            }
            pq_svd_free(&whole);
            pq_tensor_free(&w);
        }
    }
}

Test(partial, float32_is_decomposed_as_the_same_matrix_in_double)
{
    for (size_t c = 0; c < SHAPES; c++) {
        pq_tensor *w = matrix_of(shapes[c][0], shapes[c][1], harmonic), *narrow = NULL,
                  *wide = NULL;
        pq_svd_part a = {0}, b = {0};

        OK(pq_tensor_convert(w, PQ_DTYPE_F32, &narrow, &err));
        OK(pq_tensor_convert(narrow, PQ_DTYPE_F64, &wide, &err));
        OK(pq_svd_leading(narrow, 16, &a, &err));
        OK(pq_svd_leading(wide, 16, &b, &err));
        cr_assert_eq(a.svd.s->count, 16);
        for (size_t i = 0; i < 16; i++) {
            cr_expect_float_eq(pq_f64(a.svd.s)[i], pq_f64(b.svd.s)[i], 1e-12);
        }
        cr_expect_float_eq(a.square, b.square, 1e-12 * b.square);
        pq_svd_part_free(&a);
        pq_svd_part_free(&b);
        pq_tensor_free(&w);
        pq_tensor_free(&narrow);
        pq_tensor_free(&wide);
    }
}

Test(partial, size_of_the_values_does_not_matter)
{
    static const double sizes[] = {1e-300, 1e-120, 1e-65, 1e-30, 1e30, 1e65, 1e120};

    for (size_t c = 0; c < sizeof sizes / sizeof sizes[0]; c++) {
        pq_tensor  *w     = matrix_of(400, 330, exponential);
        pq_svd_part part  = {0};
        pq_svd      whole = {0};

        for (size_t i = 0; i < w->count; i++) {
            pq_f64(w)[i] *= sizes[c];
        }
        OK(pq_svd_thin(w, &whole, &err));
        OK(pq_svd_leading(w, 8, &part, &err));
        for (size_t i = 0; i < 8; i++) {
            cr_expect_float_eq(pq_f64(part.svd.s)[i], pq_f64(whole.s)[i],
                               TOL_ERROR * pq_f64(whole.s)[0], "%g", sizes[c]);
        }
        pq_svd_part_free(&part);
        pq_svd_free(&whole);
        pq_tensor_free(&w);
    }
}

Test(partial, same_bits_each_time)
{
    pq_tensor  *w = matrix_of(400, 330, harmonic);
    pq_svd_part a = {0}, b = {0};

    OK(pq_svd_leading(w, 16, &a, &err));
    OK(pq_svd_leading(w, 16, &b, &err));
    cr_expect_eq(a.svd.s->count, 16);
    cr_expect_eq(memcmp(a.svd.u->data, b.svd.u->data, a.svd.u->count * 8), 0);
    cr_expect_eq(memcmp(a.svd.vt->data, b.svd.vt->data, a.svd.vt->count * 8), 0);
    cr_expect_eq(a.lack, b.lack);
    pq_svd_part_free(&a);
    pq_svd_part_free(&b);
    pq_tensor_free(&w);
}

Test(partial, edges)
{
    static const size_t edges[][2] = {{1, 1}, {1, 700}, {700, 1}, {2, 3}, {400, 400}};

    for (size_t c = 0; c < 5; c++) {
        const size_t m = edges[c][0], n = edges[c][1], k = m < n ? m : n;
        for (int zero = 0; zero < 2; zero++) {
            pq_tensor  *w     = random_tensor(PQ_SHAPE(m, n), 7);
            pq_svd      whole = {0};
            pq_svd_part part  = {0};

            if (zero) {
                memset(w->data, 0, w->count * sizeof(double));
            }
            OK(pq_svd_thin(w, &whole, &err));
            for (size_t r = 1; r <= k && r < 3; r++) {
                OK(pq_svd_leading(w, r, &part, &err));
                for (size_t i = 0; i < r; i++) {
                    cr_expect_float_eq(pq_f64(part.svd.s)[i], pq_f64(whole.s)[i],
                                       1e-6 * pq_f64(whole.s)[0]);
                }
                pq_svd_part_free(&part);
            }
            pq_svd_free(&whole);
            cr_expect_eq(pq_svd_leading(w, k + 1, &part, NULL), PQ_ERR_RANGE);
            cr_expect_eq(pq_svd_leading(w, 0, &part, NULL), PQ_ERR_RANGE);
            pq_f64(w)[w->count - 1] = NAN;
            cr_expect_eq(pq_svd_leading(w, 1, &part, NULL), PQ_ERR_NUMERIC);
            cr_expect_null(part.svd.u);
            pq_tensor_free(&w);
        }
    }
}

Test(partial, rungs_hold_the_rank_and_do_not_depend_on_it_otherwise)
{
    static const size_t sizes[] = {1, 15, 64, 511, 512, 1000, 2048, 8192, 100000};

    for (size_t c = 0; c < sizeof sizes / sizeof sizes[0]; c++) {
        const size_t k    = sizes[c];
        size_t       last = 0;
        for (size_t r = 1; r <= k; r++) {
            const size_t rung = pq_svd_rung(k, 3 * k, r);
            cr_assert(rung >= r && rung <= k && rung >= last);
            cr_assert_eq(rung, pq_svd_rung(3 * k, k, r));
            cr_assert_eq(rung, pq_svd_rung(k, 3 * k, rung));
            cr_assert(rung == k || rung < 2 * r || rung == 16);
            last = rung;
        }
        cr_expect_eq(last, k);
    }
    cr_expect_eq(pq_svd_rung(2048, 2048, 64), 64);
    cr_expect_eq(pq_svd_rung(64, 2048, 8), 64);
}

Test(partial, survives_failed_allocations)
{
    pq_tensor  *w    = matrix_of(330, 400, exponential);
    pq_svd_part part = {0};

    SURVIVES(pq_svd_leading(w, 8, &part, NULL), pq_svd_part_free(&part));
    pq_tensor_free(&w);
}
