#include "compress/quantize_weights.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

bool pq_quantize_has_codes(const pq_quantize_params *p)
{
    return p->format == PQ_FORMAT_INT || p->format == PQ_FORMAT_FIXED;
}

/* Whether a value leaves the codes once it is rounded. */
static bool leaves(const pq_quant *q, size_t i, double value)
{
    const double code = pq_quant_code_free(q, i, value);

    return code < (double)pq_quant_least(q, i) || code > (double)pq_quant_most(q, i);
}

pq_status pq_quantize_fit_fixed(pq_quant *q, size_t i, int64_t bits, double lo, double hi,
                                pq_err *err)
{
    const int    magnitude = (int)bits - (q->is_signed ? 1 : 0);
    const double largest   = fmax(-lo, hi);
    int          whole     = largest > 0.0 ? (int)ceil(log2(largest)) : 0;
    pq_status    st;

    whole = whole < magnitude - 24 ? magnitude - 24 : whole > 23 ? 23 : whole;
    PQ_TRY(pq_quant_set_fixed(q, i, whole, magnitude - whole, err));
    while (!pq_quant_clips(q) && (leaves(q, i, lo) || leaves(q, i, hi))) {
        PQ_CHECK(whole < 23, PQ_ERR_RANGE,
                 "values from %g to %g wrap even with 23 integer bits", lo, hi);
        whole++;
        PQ_TRY(pq_quant_set_fixed(q, i, whole, magnitude - whole, err));
    }
cleanup:
    return st;
}

/* Least and largest weight of each scale index, 0 between them. */
static void extremes_of(const pq_quant *q, const pq_tensor *w, double *lo, double *hi)
{
    for (size_t i = 0; i < w->count; i++) {
        const size_t s = pq_quant_index(q, &w->shape, i);
        const double x = (double)pq_f32(w)[i];
        lo[s]          = fmin(lo[s], x);
        hi[s]          = fmax(hi[s], x);
    }
}

/* Of 81 ranges from 100 % to 20 % of the extremes, the one of the least square error, for
   each scale on its own; ties go to the wider. */
static pq_status least_square(pq_quant *q, const pq_tensor *w, bool symmetric,
                              const double *lo, const double *hi, pq_err *err)
{
    double   *error = NULL, *least = NULL;
    float    *scale = NULL;
    int32_t  *zero  = NULL;
    pq_status st;

    PQ_NEW(error, q->n);
    PQ_NEW(least, q->n);
    PQ_NEW(scale, q->n);
    PQ_NEW(zero, q->n);
    for (int percent = 100; percent >= 20; percent--) {
        for (size_t s = 0; s < q->n; s++) {
            pq_quant_set_range(q, s, lo[s] * percent / 100.0, hi[s] * percent / 100.0,
                               symmetric);
            error[s] = 0.0;
        }
        for (size_t i = 0; i < w->count; i++) {
            const size_t s = pq_quant_index(q, &w->shape, i);
            const double d =
                (double)pq_quant_round(q, s, pq_f32(w)[i]) - (double)pq_f32(w)[i];
            error[s] += d * d;
        }
        for (size_t s = 0; s < q->n; s++) {
            if (percent == 100 || error[s] < least[s]) {
                least[s] = error[s];
                scale[s] = q->scale[s];
                zero[s]  = q->zero_point[s];
            }
        }
    }
    memcpy(q->scale, scale, q->n * sizeof *scale);
    memcpy(q->zero_point, zero, q->n * sizeof *zero);
cleanup:
    pq_free(error);
    pq_free(least);
    pq_free(scale);
    pq_free(zero);
    return st;
}

/* Scales are the largest weights. Those of zeros alone are 1, or, as that would widen the
 * grid of all others, where scales are codes the least of the others. */
static pq_status set_nf4(pq_quant *q, bool coded, const double *lo, const double *hi,
                         pq_err *err)
{
    float least = HUGE_VALF;

    for (size_t s = 0; s < q->n; s++) {
        q->scale[s] = (float)fmax(-lo[s], hi[s]);
        least       = q->scale[s] > 0.0f ? fminf(least, q->scale[s]) : least;
    }
    for (size_t s = 0; s < q->n; s++) {
        if (!(q->scale[s] > 0.0f)) {
            q->scale[s] = coded && isfinite(least) ? least : 1.0f;
        }
    }
    return coded ? pq_quant_code_scales(q, err) : PQ_OK;
}

static pq_status fill_scales(const pq_quantize_params *p, pq_quant *q, const pq_tensor *w,
                             pq_err *err)
{
    double   *lo = NULL, *hi = NULL;
    pq_status st;

    PQ_NEW(lo, q->n);
    PQ_NEW(hi, q->n);
    extremes_of(q, w, lo, hi);
    for (size_t s = 0; s < q->n; s++) {
        if (p->format == PQ_FORMAT_FIXED) {
            PQ_TRY(p->integer_bits != PQ_UNSET
                       ? pq_quant_set_fixed(q, s, (int)p->integer_bits,
                                            (int)(p->bits - 1 - p->integer_bits), err)
                       : pq_quantize_fit_fixed(q, s, p->bits, lo[s], hi[s], err));
        } else if (p->format == PQ_FORMAT_INT) {
            pq_quant_set_range(q, s, lo[s], hi[s], p->symmetric);
        }
    }
    if (p->format == PQ_FORMAT_NF4) {
        PQ_TRY(set_nf4(q, p->double_scales, lo, hi, err));
    }
    if (p->format == PQ_FORMAT_INT && p->weight_range == 1) {
        PQ_TRY(least_square(q, w, p->symmetric, lo, hi, err));
    }
cleanup:
    pq_free(lo);
    pq_free(hi);
    return st;
}

static pq_status make_quantizer(const pq_quantize_params *p, const pq_tensor *w,
                                pq_quant **out, pq_err *err)
{
    const bool   channels = p->granularity == PQ_PER_CHANNEL;
    const bool   items    = p->granularity == PQ_PER_WEIGHT;
    const int    axis = channels ? 0 : items ? PQ_QUANT_PER_ITEM : PQ_QUANT_PER_TENSOR;
    const size_t n    = channels ? w->shape.dim[0] : items ? w->count : 1;
    pq_quant    *q    = NULL;
    pq_status    st;

    if (p->format >= PQ_FORMAT_F16) {
        return pq_quant_create(p->format == PQ_FORMAT_F16 ? PQ_QUANT_FLOAT16
                                                          : PQ_QUANT_BFLOAT16,
                               16, true, false, PQ_QUANT_PER_TENSOR, 0, out, err);
    }
    const pq_quant_scheme scheme =
        p->format == PQ_FORMAT_NF4 ? PQ_QUANT_NF4 : PQ_QUANT_INTEGER;
    const int  bits   = p->format == PQ_FORMAT_NF4 ? 4 : (int)p->bits;
    const bool narrow = p->format == PQ_FORMAT_INT && p->symmetric && p->range == 0;

    if (p->format == PQ_FORMAT_FIXED) {
        PQ_TRY(pq_quant_create_fixed(true, (pq_overflow)p->overflow,
                                     (pq_rounding)p->rounding, axis, n, &q, err));
    } else if (p->granularity == PQ_PER_GROUP) {
        PQ_TRY(
            pq_quant_create_grouped(scheme, bits, &w->shape, (size_t)p->group, &q, err));
        q->narrow = narrow;
    } else {
        PQ_TRY(pq_quant_create(scheme, bits, true, narrow, axis, n, &q, err));
    }
    PQ_TRY(fill_scales(p, q, w, err));
    *out = q;
    q    = NULL;
cleanup:
    pq_quant_free(&q);
    return st;
}

double pq_quantize_other_side(const pq_quant *q, size_t s, double from, double rounded)
{
    const int32_t code = pq_quant_code(q, s, (float)rounded);
    const int32_t next = rounded > from ? code - 1 : code + 1;

    return next < pq_quant_least(q, s) || next > pq_quant_most(q, s)
               ? rounded
               : (double)(float)pq_quant_value(q, s, next);
}

/* One output channel: `from` as it was, `to` on the grid; error and moment are scratch
   [gram->n], moment = G (to - from). */
static void descend(const pq_weight *w, const pq_calib_gram *g, size_t first,
                    const float *from, double *moment)
{
    float       *to = pq_f32(w->value) + first;
    const size_t n  = g->n;

    for (size_t i = 0; i < n; i++) {
        moment[i] = 0.0;
        for (size_t k = 0; k < n; k++) {
            moment[i] += g->gram[i * n + k] * ((double)to[k] - (double)from[k]);
        }
    }
    bool moved = true;
    for (int sweep = 0; sweep < 20 && moved; sweep++) {
        moved = false;
        for (size_t i = 0; i < n; i++) {
            if (pq_weight_is_pruned(w, first + i)) {
                continue;
            }
            const size_t s = pq_quant_index(w->quant, &w->value->shape, first + i);
            const double d =
                pq_quantize_other_side(w->quant, s, (double)from[i], (double)to[i]) -
                (double)to[i];
            if (2.0 * d * moment[i] + d * d * g->gram[i * n + i] >= 0.0) {
                continue;
            }
            to[i] = (float)((double)to[i] + d);
            for (size_t k = 0; k < n; k++) {
                moment[k] += d * g->gram[i * n + k];
            }
            moved = true;
        }
    }
}

/* Flips weights between their two neighbours; pruned ones stay. */
static pq_status choose_sides(const pq_weight *w, const float *from,
                              const pq_calib_gram *g, pq_err *err)
{
    double   *moment = NULL;
    pq_status st;

    PQ_NEW(moment, g->n);
    for (size_t first = 0; first < w->value->count; first += g->n) {
        descend(w, g, first, from + first, moment);
    }
cleanup:
    pq_free(moment);
    return st;
}

pq_status pq_quantize_weight(const pq_quantize_params *p, pq_weight *w,
                             const pq_calib_gram *gram, double sums[2], pq_err *err)
{
    static const char *const names[] = {"int", "fixed", "nf4", "float16", "bfloat16"};
    pq_tensor               *before  = NULL;
    pq_quant                *q       = NULL;
    pq_status                st;

    PQ_TRY(pq_tensor_clone(w->value, &before, err));
    PQ_TRY(make_quantizer(p, w->value, &q, err));
    PQ_TRY(pq_quant_apply(q, w->value, err));
    pq_quant_free(&w->quant);
    w->quant = q;
    q        = NULL;
    if (gram != NULL && pq_quantize_has_codes(p) &&
        w->value->count == w->value->shape.dim[0] * gram->n) {
        PQ_TRY(choose_sides(w, pq_f32(before), gram, err));
    }
    for (size_t i = 0; i < before->count; i++) {
        const double x = (double)pq_f32(before)[i], y = (double)pq_f32(w->value)[i];
        PQ_CHECK(isfinite(y), PQ_ERR_RANGE, "%s %zu = %g is beyond the range of %s",
                 w->name, i, x, names[p->format]);
        sums[0] += x * x;
        sums[1] += (x - y) * (x - y);
    }
cleanup:
    pq_tensor_free(&before);
    pq_quant_free(&q);
    return st;
}

static bool is_symmetric(const pq_quant *q)
{
    for (size_t s = 0; s < q->n; s++) {
        if (q->zero_point[s] != 0) {
            return false;
        }
    }
    return q->is_signed;
}

pq_status pq_quantize_again(pq_weight *w, pq_err *err)
{
    pq_quant *q  = w->quant;
    double   *lo = NULL, *hi = NULL;
    pq_status st;

    PQ_NEW(lo, q->n);
    PQ_NEW(hi, q->n);
    extremes_of(q, w->value, lo, hi);
    for (size_t s = 0; s < q->n; s++) {
        if (q->scheme == PQ_QUANT_INTEGER && is_symmetric(q)) {
            pq_quant_set_range(q, s, lo[s], hi[s], true);
        }
    }
    if (q->scheme == PQ_QUANT_NF4) {
        PQ_TRY(set_nf4(q, q->scale_code != NULL, lo, hi, err));
    }
    PQ_TRY(pq_quant_apply(q, w->value, err));
cleanup:
    pq_free(lo);
    pq_free(hi);
    return st;
}
