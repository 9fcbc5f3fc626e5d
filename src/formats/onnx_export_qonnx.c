/*
 * Quantizers as QONNX's Quant: (clip(round(x / scale + zero)) - zero) scale.
 *
 * Source: github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops/intquant_op.md.
 */
#include <float.h>
#include <math.h>

#include "core/memory.h"
#include "formats/onnx_export.h"

enum { BITS_MAX = 32 /* of a constant */ };

/* What a Quant says of its codes. */
typedef struct {
    int         bits;
    bool        is_signed, narrow;
    const char *mode;
} codes;

/* QONNX's name of a rounding of ours, or NULL. */
static const char *mode_of(const pq_quant *q)
{
    static const char *const names[] = {
        [PQ_ROUND_RND_CONV] = "ROUND",  [PQ_ROUND_RND_ZERO] = "HALF_DOWN",
        [PQ_ROUND_RND_INF] = "HALF_UP", [PQ_ROUND_TRN] = "FLOOR",
        [PQ_ROUND_TRN_ZERO] = "DOWN",
    };

    if (q->scheme != PQ_QUANT_FIXED) {
        return "ROUND";
    }
    return (size_t)q->rounding < sizeof names / sizeof *names ? names[q->rounding] : NULL;
}

/* Appends the operator: scales along `axis` of `ndim`, or one. */
static pq_status put_quant(pq_onnx_export *ex, const char *value, codes c,
                           const pq_quant *q, const pq_shape *shape, const char *out,
                           pq_err *err)
{
    char     *names[3] = {NULL};
    float    *zero     = NULL;
    pq_status st;

    PQ_NEW(zero, q->n);
    for (size_t i = 0; i < q->n; i++) {
        zero[i] = (float)q->zero_point[i];
    }
    PQ_TRY(pq_onnx_put_number(ex, "bits", (float)c.bits, &names[2], err));
    names[0] = pq_onnx_name(ex, "scale");
    names[1] = pq_onnx_name(ex, "zero");
    PQ_CHECK(names[0] != NULL && names[1] != NULL, PQ_ERR_NOMEM,
             "cannot allocate a name");
    pq_onnx_put_constant(ex, names[0], PQ_ONNX_FLOAT, shape, q->scale, 4 * q->n);
    pq_onnx_put_constant(ex, names[1], PQ_ONNX_FLOAT, shape, zero, 4 * q->n);
    pq_onnx_begin(ex, "Quant", 4,
                  (const char *const[]){value, names[0], names[1], names[2]}, out);
    pq_onnx_put_domain(ex, PQ_ONNX_QONNX_DOMAIN);
    pq_onnx_put_int(ex, "signed", c.is_signed);
    pq_onnx_put_int(ex, "narrow", c.narrow);
    pq_onnx_put_text(ex, "rounding_mode", c.mode);
    pq_onnx_end(ex);
cleanup:
    pq_free(zero);
    for (size_t i = 0; i < 3; i++) {
        pq_free(names[i]);
    }
    return st;
}

/* Fixed point of many widths as the one that holds them all: what lies on a grid lies on
 * a finer one too. */
static pq_status join(const pq_quant *q, codes *c, pq_quant **out, pq_err *err)
{
    int       whole = -64, after = -64;
    pq_status st;

    for (size_t i = 0; i < q->n; i++) {
        const int f = pq_quant_fraction_bits(q, i), w = pq_quant_integer_bits(q, i);
        if (q->width[i] > 0) {
            whole = w > whole ? w : whole;
            after = f > after ? f : after;
        }
    }
    after   = after == -64 ? 0 : after;
    whole   = whole == -64 ? 1 - after : whole;
    c->bits = whole + after + (q->is_signed ? 1 : 0);
    PQ_TRY(pq_quant_create_fixed(q->is_signed, q->overflow, q->rounding,
                                 PQ_QUANT_PER_TENSOR, 1, out, err));
    PQ_TRY(pq_quant_set_fixed(*out, 0, 1 - after, after, err));
cleanup:
    return st;
}

bool pq_onnx_has_codes(const pq_weight *w)
{
    return w != NULL && w->quant != NULL && pq_quant_has_codes(w->quant) &&
           (w->quant->axis == PQ_QUANT_PER_TENSOR || w->quant->axis == 0 ||
            w->quant->scheme == PQ_QUANT_FIXED);
}

/* A constant and its Quant. */
static pq_status put_on_grid(pq_onnx_export *ex, const pq_quant *q, codes c,
                             const pq_tensor *t, const pq_shape *steps, char **name,
                             pq_err *err)
{
    char     *plain = NULL, *out = NULL;
    pq_status st;

    PQ_TRY(pq_onnx_put_floats(ex, "values", t, &plain, err));
    out = pq_onnx_name(ex, "on_grid");
    PQ_CHECK(out != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    PQ_TRY(put_quant(ex, plain, c, q, steps, out, err));
    *name = out;
    out   = NULL;
cleanup:
    pq_free(plain);
    pq_free(out);
    return st;
}

pq_status pq_onnx_quant_weight(pq_onnx_export *ex, const pq_quant *q, const pq_tensor *t,
                               size_t axis, char **name, pq_err *err)
{
    codes     c     = {q->bits, q->is_signed, q->is_signed && q->narrow, "ROUND"};
    pq_shape  shape = {0};
    pq_quant *one   = NULL;
    pq_status st;

    if (q->scheme == PQ_QUANT_FIXED) {
        PQ_TRY(join(q, &c, &one, err));
        if (c.bits >
            BITS_MAX) { /* no one type holds them: floats, on their grids all the same */
            st = pq_onnx_put_floats(ex, "values", t, name, err);
            goto cleanup;
        }
    } else if (q->axis == 0) {
        shape = t->shape;
        for (size_t d = 0; d < shape.ndim; d++) {
            shape.dim[d] = d == axis ? q->n : 1;
        }
    }
    PQ_TRY(put_on_grid(ex, one != NULL ? one : q, c, t, &shape, name, err));
cleanup:
    pq_quant_free(&one);
    return st;
}

/* Scale of whole numbers that a float is one of, as coarse as may be. */
static double step_of(double value)
{
    int    e;
    double step;

    (void)frexp(value, &e);
    step = fmax(ldexp(1.0, e - FLT_MANT_DIG), (double)FLT_TRUE_MIN);
    while (fmod(value, 2.0 * step) == 0.0) {
        step *= 2.0;
    }
    return step;
}

/* Scale in whose whole numbers the engines hold channel o's bias: of the input times the
 * finest of the kernel, and of a channel of zeros the bias's own (exec/units.c); 0 where
 * both are not powers of two, or there is nothing to hold. */
static double bias_step(const pq_onnx_export *ex, const pq_weight *kernel, double bias,
                        size_t o)
{
    const pq_node  *n = &ex->graph->nodes[ex->at];
    const pq_quant *x =
        ex->graph->nodes[pq_activation_source(ex->graph, n->inputs[0])].quant;
    const pq_quant *q      = kernel->quant;
    const size_t    length = kernel->value->count / kernel->value->shape.dim[0];
    float           finest = HUGE_VALF;
    bool            zeros  = true;

    if (x == NULL || x->scheme != PQ_QUANT_FIXED || x->n != 1 || q == NULL ||
        q->scheme != PQ_QUANT_FIXED) {
        return 0.0;
    }
    for (size_t i = o * length; i < (o + 1) * length; i++) {
        finest = fminf(finest, q->scale[pq_quant_index(q, &kernel->value->shape, i)]);
        zeros  = zeros && pq_f32(kernel->value)[i] == 0.0f;
    }
    if (zeros) {
        return bias != 0.0 ? step_of(bias) : 0.0;
    }
    return (double)x->scale[0] * (double)finest;
}

pq_status pq_onnx_quant_bias(pq_onnx_export *ex, const pq_weight *kernel,
                             const pq_tensor *bias, char **name, pq_err *err)
{
    double    finest = 0.0, most = 0.0;
    pq_quant *q = NULL;
    int       e = 0, top = 0;
    pq_status st;

    for (size_t o = 0; o < bias->count; o++) {
        const double value = (double)pq_f32(bias)[o];
        const double step  = bias_step(ex, kernel, value, o);
        finest = step > 0.0 && (finest == 0.0 || step < finest) ? step : finest;
        most   = fmax(most, fabs(value));
    }
    (void)frexp(finest, &e);
    (void)frexp(most, &top); /* most < 2^top */
    const int bits = top > e ? top - e + 2 : 2;
    if (finest == 0.0 || bits > BITS_MAX) { /* no one type holds them */
        st = pq_onnx_put_floats(ex, "bias", bias, name, err);
        goto cleanup;
    }
    PQ_TRY(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT, PQ_ROUND_RND_CONV,
                                 PQ_QUANT_PER_TENSOR, 1, &q, err));
    q->scale[0] = (float)finest;
    st = put_on_grid(ex, q, (codes){bits, true, false, "ROUND"}, bias, &(pq_shape){0},
                     name, err);
cleanup:
    pq_quant_free(&q);
    return st;
}

pq_status pq_onnx_quant_value(pq_onnx_export *ex, const pq_quant *q, const char *value,
                              const char *out, pq_err *err)
{
    const bool fixed = q->scheme == PQ_QUANT_FIXED;
    codes      c     = {q->bits, q->is_signed,
               fixed ? q->overflow == PQ_OVERFLOW_SAT_SYM && q->is_signed
                              : q->is_signed && q->narrow,
                        mode_of(q)};
    pq_status  st;

    PQ_CHECK(pq_quant_has_codes(q) && q->n == 1 && q->bits > 0, PQ_ERR_UNSUPPORTED,
             "its activations are %s with %zu scales; codes with one scale are written",
             pq_quant_scheme_names[q->scheme], q->n);
    PQ_CHECK(pq_quant_clips(q), PQ_ERR_UNSUPPORTED,
             "its activations overflow by %s; QONNX's Quant saturates",
             pq_overflow_names[q->overflow]);
    PQ_CHECK(c.mode != NULL, PQ_ERR_UNSUPPORTED,
             "its activations round by %s, which QONNX's Quant does not",
             pq_rounding_names[q->rounding]);
    PQ_TRY(put_quant(ex, value, c, q, &(pq_shape){0}, out, err));
cleanup:
    return st;
}
