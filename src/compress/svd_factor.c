#include "compress/svd_factor.h"

#include <math.h>
#include <string.h>

#include "linalg/eigh.h"
#include "linalg/gemm.h"
#include "linalg/partial.h"

/* Order of axes [o, a, b, i] that makes the rows and columns of a form. */
static const size_t form_axes[][4] = {{0, 1, 2, 3}, {0, 1, 2, 3}, {3, 1, 0, 2}};

/* How many of those axes are rows. */
static const size_t form_rows[] = {1, 3, 2};

static pq_shape form_shape(const pq_shape *k, pq_svd_form form)
{
    size_t rows = 1, columns = 1;

    for (size_t i = 0; i < 4; i++) {
        *(i < form_rows[form] ? &rows : &columns) *= k->dim[form_axes[form][i]];
    }
    return PQ_SHAPE(rows, columns);
}

pq_status pq_svd_unfold(const pq_tensor *kernel, pq_svd_form form, pq_tensor **out,
                        pq_err *err)
{
    pq_tensor *wide = NULL, *t = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_convert(kernel, PQ_DTYPE_F64, &wide, err));
    if (kernel->shape.ndim == 2) {
        *out = wide;
        return PQ_OK;
    }
    PQ_TRY(pq_tensor_permute(wide, form_axes[form], &t, err));
    PQ_TRY(pq_tensor_reshape(t, form_shape(&kernel->shape, form), err));
    *out = t;
    t    = NULL;
cleanup:
    pq_tensor_free(&wide);
    pq_tensor_free(&t);
    return st;
}

pq_status pq_svd_refold(const pq_tensor *matrix, const pq_shape *kernel, pq_svd_form form,
                        pq_tensor **out, pq_err *err)
{
    size_t     back[4];
    pq_shape   turned = {.ndim = 4};
    pq_tensor *narrow = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_convert(matrix, PQ_DTYPE_F32, &narrow, err));
    if (kernel->ndim == 2) {
        *out = narrow;
        return PQ_OK;
    }
    for (size_t i = 0; i < 4; i++) {
        turned.dim[i]            = kernel->dim[form_axes[form][i]];
        back[form_axes[form][i]] = i;
    }
    PQ_TRY(pq_tensor_reshape(narrow, turned, err));
    PQ_TRY(pq_tensor_permute(narrow, back, out, err));
cleanup:
    pq_tensor_free(&narrow);
    return st;
}

void pq_svd_factors_free(pq_svd_factors *f)
{
    pq_svd_free(&f->svd);
    pq_tensor_free(&f->spectrum);
}

/* W C W^T, symmetric to the last bit. */
static pq_status response(const pq_tensor *w, const pq_tensor *c, pq_tensor **out,
                          pq_err *err)
{
    const size_t m  = w->shape.dim[0];
    pq_tensor   *wc = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, w->shape, &wc, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, m), out, err));
    PQ_TRY(pq_gemm((pq_operand){w, false}, (pq_operand){c, false}, 0.0, wc, err));
    PQ_TRY(pq_gemm((pq_operand){wc, false}, (pq_operand){w, true}, 0.0, *out, err));
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < i; j++) {
            double *a = &pq_f64(*out)[i * m + j], *b = &pq_f64(*out)[j * m + i];
            *a = *b = 0.5 * (*a + *b);
        }
    }
cleanup:
    pq_tensor_free(&wc);
    return st;
}

static pq_status whiten(const pq_tensor *w, const pq_svd_weight *weight, size_t k,
                        pq_svd_factors *out, pq_err *err)
{
    const size_t m = w->shape.dim[0], n = w->shape.dim[1];
    pq_tensor   *c = NULL, *mid = NULL, *values = NULL, *rows = NULL, *vt = NULL;
    pq_status    st;

    PQ_TRY(pq_calib_moments(weight->gram, weight->centred, &c, err));
    PQ_TRY(response(w, c, &mid, err));
    for (size_t i = 0; i < m; i++) {
        out->square += pq_f64(mid)[i * m + i];
    }
    if (k < m && k < n) {
        PQ_TRY(pq_eigh_top(mid, k, &values, &rows, err));
    } else {
        PQ_TRY(pq_eigh(mid, &values, &rows, err));
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(rows->shape.dim[0], n), &vt, err));
    PQ_TRY(pq_gemm((pq_operand){rows, false}, (pq_operand){w, false}, 0.0, vt, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(m, k), &out->svd.u, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k), &out->svd.s, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k, n), &out->svd.vt, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(k), &out->spectrum, err));
    for (size_t i = 0; i < k; i++) {
        double norm = 0.0;
        for (size_t j = 0; j < n; j++) {
            norm += pq_f64(vt)[i * n + j] * pq_f64(vt)[i * n + j];
        }
        norm = sqrt(norm);
        for (size_t j = 0; j < n; j++) {
            pq_f64(out->svd.vt)[i * n + j] =
                norm > 0.0 ? pq_f64(vt)[i * n + j] / norm : 0.0;
        }
        for (size_t o = 0; o < m; o++) {
            pq_f64(out->svd.u)[o * k + i] = pq_f64(rows)[i * m + o];
        }
        pq_f64(out->svd.s)[i]    = norm;
        pq_f64(out->spectrum)[i] = sqrt(fmax(pq_f64(values)[i], 0.0));
    }
cleanup:
    pq_tensor_free(&c);
    pq_tensor_free(&mid);
    pq_tensor_free(&values);
    pq_tensor_free(&rows);
    pq_tensor_free(&vt);
    return st;
}

/* A little above 0, so that inputs never seen can be divided by. */
static double input_scale(const pq_svd_weight *weight, size_t i)
{
    const pq_calib_gram *g   = weight->gram;
    const double         rms = sqrt(fmax(g->gram[i * g->n + i], 0.0) / (double)g->rows);

    return pow(rms, weight->alpha) + 1e-6;
}

/* Leading triples into out, with their spectrum. */
static pq_status leading(const pq_tensor *w, size_t rank, pq_svd_factors *out,
                         pq_err *err)
{
    pq_svd_part part = {0};
    pq_status   st;

    PQ_TRY(pq_svd_leading(w, rank, &part, err));
    out->svd    = part.svd;
    out->square = part.square;
    out->lack   = part.lack;
    PQ_TRY(pq_tensor_clone(out->svd.s, &out->spectrum, err));
cleanup:
    return st;
}

static pq_status scale_inputs(const pq_tensor *w, const pq_svd_weight *weight,
                              size_t rank, pq_svd_factors *out, pq_err *err)
{
    const size_t n      = w->shape.dim[1];
    pq_tensor   *scaled = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_clone(w, &scaled, err));
    for (size_t i = 0; i < w->count; i++) {
        pq_f64(scaled)[i] *= input_scale(weight, i % n);
    }
    PQ_TRY(leading(scaled, rank, out, err));
    for (size_t i = 0; i < out->svd.vt->count; i++) {
        pq_f64(out->svd.vt)[i] /= input_scale(weight, i % n);
    }
cleanup:
    pq_tensor_free(&scaled);
    return st;
}

pq_status pq_svd_factor(const pq_tensor *w, const pq_svd_weight *weight, size_t rank,
                        pq_svd_factors *out, pq_err *err)
{
    const size_t   bad = pq_tensor_first_nonfinite(w);
    pq_svd_factors f   = {0};
    pq_status      st;

    PQ_CHECK(bad == SIZE_MAX, PQ_ERR_NUMERIC, "its kernel holds %g",
             pq_tensor_get(w, bad));
    if (weight->how != PQ_WEIGH_NONE) {
        PQ_CHECK(weight->gram != NULL && weight->gram->rows > 0, PQ_ERR_CONFIG,
                 "no calibration event reached it: weighting needs some");
        assert(weight->gram->n == w->shape.dim[1]);
    }
    if (weight->how == PQ_WEIGH_WHITENED) {
        PQ_TRY(whiten(w, weight, rank, &f, err));
    } else if (weight->how == PQ_WEIGH_ASVD) {
        PQ_TRY(scale_inputs(w, weight, rank, &f, err));
    } else {
        PQ_TRY(leading(w, rank, &f, err));
    }
    *out = f;
    f    = (pq_svd_factors){0};
cleanup:
    pq_svd_factors_free(&f);
    return st;
}

pq_status pq_svd_split(const pq_svd *svd, size_t rank, pq_tensor **a, pq_tensor **b,
                       pq_err *err)
{
    const size_t m = svd->u->shape.dim[0], k = svd->s->count, n = svd->vt->shape.dim[1];
    pq_status    st;

    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(m, rank), a, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(rank, n), b, err));
    for (size_t r = 0; r < rank; r++) {
        const double root = sqrt(pq_f64(svd->s)[r]);
        for (size_t i = 0; i < m; i++) {
            pq_f32(*a)[i * rank + r] = (float)(pq_f64(svd->u)[i * k + r] * root);
        }
        for (size_t j = 0; j < n; j++) {
            pq_f32(*b)[r * n + j] = (float)(root * pq_f64(svd->vt)[r * n + j]);
        }
    }
cleanup:
    return st;
}

pq_status pq_svd_join(const pq_tensor *a, const pq_tensor *b, pq_tensor **out,
                      pq_err *err)
{
    pq_tensor *wa = NULL, *wb = NULL;
    pq_status  st;

    PQ_TRY(pq_tensor_convert(a, PQ_DTYPE_F64, &wa, err));
    PQ_TRY(pq_tensor_convert(b, PQ_DTYPE_F64, &wb, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(a->shape.dim[0], b->shape.dim[1]), out,
                            err));
    PQ_TRY(pq_gemm((pq_operand){wa, false}, (pq_operand){wb, false}, 0.0, *out, err));
cleanup:
    pq_tensor_free(&wa);
    pq_tensor_free(&wb);
    return st;
}
