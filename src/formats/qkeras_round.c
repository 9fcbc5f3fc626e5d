/*
 * Weights on the grids of QKeras, in float32 and in its order of operations. Sums over a
 * channel, whose order TensorFlow chooses, are in double.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "formats/qkeras.h"

/* Keras's epsilon. */
static const float tiny = 1e-7f;

/* Weights on their way: item i has scale i % n. */
typedef struct {
    size_t count, n;
    float *x;     /* the weights */
    float *code;  /* [count], owned: whole numbers */
    float *scale; /* [n], owned */
    float *sums;  /* [2 n], owned */
} work;

static void free_work(work *w)
{
    pq_free(w->code);
    pq_free(w->scale);
    pq_free(w->sums);
}

static float power_near(float value)
{
    const float log_two = (float)log(2.0);

    return exp2f(rintf((float)log((double)(value + tiny)) / log_two));
}

/* _get_scale: mean(x q) / (mean(q q) + epsilon) of each channel; of a vector, item by
 * item. */
static void fit_scale(work *w, bool powers)
{
    const double each = (double)(w->count / w->n);

    for (size_t c = 0; c < w->n; c++) {
        double xq = 0.0, qq = 0.0;
        for (size_t i = c; i < w->count; i += w->n) {
            xq += (double)(w->x[i] * w->code[i]);
            qq += (double)(w->code[i] * w->code[i]);
        }
        w->scale[c] = (float)(xq / each) / ((float)(qq / each) + tiny);
        if (powers) {
            w->scale[c] = power_near(w->scale[c]);
        }
    }
}

/* Largest magnitude of each channel, or of all. */
static void find_largest(work *w, bool of_all)
{
    float most = 0.0f;

    for (size_t c = 0; c < w->n; c++) {
        w->scale[c] = 0.0f;
        for (size_t i = c; i < w->count; i += w->n) {
            w->scale[c] = fmaxf(w->scale[c], fabsf(w->x[i]));
        }
        most = fmaxf(most, w->scale[c]);
    }
    for (size_t c = 0; of_all && c < w->n; c++) {
        w->scale[c] = most;
    }
}

static float sign_of(float x)
{
    return x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : 0.0f);
}

/* Codes -most .. most, half away from zero. */
static void round_codes(work *w, float most)
{
    for (size_t i = 0; i < w->count; i++) {
        const float v = floorf(fabsf(w->x[i]) / w->scale[i % w->n] + 0.5f);
        w->code[i]    = sign_of(w->x[i]) * (v < most ? v : most);
    }
}

/* quantized_bits with a scale of the weights. */
static void auto_bits(const pq_qkeras_quantizer *q, work *w, bool is_vector)
{
    const bool  powers = q->alpha == PQ_QKERAS_ALPHA_AUTO_PO2;
    const float most   = (float)(1 << (q->bits - 1)) - 1.0f;
    const float whole  = ldexpf(1.0f, q->integer);

    for (size_t i = 0; i < w->count; i++) {
        w->x[i] /= whole;
    }
    find_largest(w, is_vector);
    for (size_t c = 0; c < w->n; c++) {
        w->scale[c] = w->scale[c] * 2.0f / (most * 2.0f);
        w->scale[c] = powers ? power_near(w->scale[c]) : w->scale[c];
        w->scale[c] = w->scale[c] > 0.0f ? w->scale[c] : 1.0f; /* all are 0 */
    }
    round_codes(w, most);
    for (size_t turn = 0; powers && turn < 5; turn++) {
        round_codes(w, most);
        fit_scale(w, true);
    }
    for (size_t c = 0; c < w->n; c++) {
        w->scale[c] *= whole;
    }
}

/* quantized_bits with a given scale; 1 bit with a sign is the sign. */
static void plain_bits(const pq_qkeras_quantizer *q, work *w)
{
    const int    bits = q->bits - (q->keep_negative ? 1 : 0);
    const double step = ldexp(1.0, q->integer - bits), most = ldexp(1.0, bits);
    const double least = q->keep_negative ? -most + (q->symmetric ? 1.0 : 0.0) : 0.0;

    for (size_t i = 0; i < w->count; i++) {
        const double code = rint((double)w->x[i] / step);
        w->code[i]        = bits == 0 ? (w->x[i] >= 0.0f ? 1.0f : -1.0f)
                                      : (float)fmin(fmax(code, least), most - 1.0);
    }
    w->scale[0] = (float)(q->factor * (bits == 0 ? 1.0 : step));
}

static void binary(const pq_qkeras_quantizer *q, work *w)
{
    for (size_t i = 0; i < w->count; i++) {
        w->code[i] = w->x[i] >= 0.0f ? 1.0f : (q->zero_one ? 0.0f : -1.0f);
    }
    if (q->alpha >= PQ_QKERAS_ALPHA_AUTO) {
        fit_scale(w, q->alpha == PQ_QKERAS_ALPHA_AUTO_PO2);
    } else {
        w->scale[0] = (float)q->factor;
    }
}

static void ternary(const pq_qkeras_quantizer *q, work *w, bool is_vector)
{
    const bool powers = q->alpha == PQ_QKERAS_ALPHA_AUTO_PO2;

    if (q->alpha < PQ_QKERAS_ALPHA_AUTO) {
        for (size_t i = 0; i < w->count; i++) {
            w->code[i] = fabsf(w->x[i]) >= (float)q->threshold ? sign_of(w->x[i]) : 0.0f;
        }
        w->scale[0] = (float)q->factor;
        return;
    }
    find_largest(w, is_vector);
    for (size_t c = 0; c < w->n; c++) {
        w->scale[c] = 2.0f * w->scale[c] / 3.0f;
        w->scale[c] = powers ? power_near(w->scale[c]) : w->scale[c];
    }
    for (int turn = 0; turn < q->unrolls; turn++) {
        for (size_t i = 0; i < w->count; i++) {
            const float s = w->scale[i % w->n];
            const float v = s * rintf(w->x[i] / s); /* NaN where s is 0 */
            w->code[i]    = fabsf(v) >= s / 2.0f ? sign_of(w->x[i]) : 0.0f;
        }
        fit_scale(w, powers);
    }
}

/* Exponent of a magnitude: _clip_power_of_two. */
static float exponent_of(const pq_qkeras_quantizer *q, float magnitude, int sign_bits)
{
    const int   sign       = q->most > 1.0 ? 1 : 0;
    const int   bits       = q->bits - sign_bits - sign;
    const float least      = -(float)(bits >= 0 ? exp2(bits) : 0.5);
    float       most       = bits >= 0 ? (float)exp2(bits) - 1.0f : -0.5f;
    const float most_value = q->most < (double)FLT_MAX ? (float)q->most : FLT_MAX;
    float       x =
        magnitude < tiny ? tiny : (magnitude >= most_value ? most_value : magnitude);
    float log_two;

    most = q->even ? 2.0f * floorf(most / 2.0f) : most;
    if (magnitude < tiny) {
        return least;
    }
    x       = q->even ? sqrtf(x) : x;
    log_two = (float)log((double)x) / (float)log(2.0);
    log_two = q->down ? floorf(log_two) : rintf(log_two);
    return (q->even ? 2.0f : 1.0f) * fminf(fmaxf(log_two, least), most);
}

static void powers_of_two(const pq_qkeras_quantizer *q, work *w)
{
    const bool positive = q->kind == PQ_QKERAS_RELU_PO2;

    for (size_t i = 0; i < w->count; i++) {
        const float x = w->x[i];
        const float e =
            exponent_of(q, positive ? fmaxf(x, 0.0f) : fabsf(x), positive ? 0 : 1);
        w->code[i] = exp2f(e) * (positive || x >= 0.0f ? 1.0f : -1.0f);
    }
    w->scale[0] = 1.0f;
}

/* How many scales: those of the last axis; of a vector, one an item where they are fitted
 * by powers of two, or for binary and ternary. */
static size_t scales_of(const pq_qkeras_quantizer *q, const pq_tensor *t)
{
    const bool fitted = q->alpha >= PQ_QKERAS_ALPHA_AUTO;

    if (!fitted || t->shape.ndim == 0 || q->kind == PQ_QKERAS_PO2 ||
        q->kind == PQ_QKERAS_RELU_PO2) {
        return 1;
    }
    return t->shape.dim[t->shape.ndim - 1];
}

static pq_status check_use(const pq_qkeras_quantizer *q, pq_err *err)
{
    pq_status st;

    PQ_CHECK(q->kind <= PQ_QKERAS_RELU_PO2, PQ_ERR_UNSUPPORTED,
             "%s is not read for weights", q->name);
    PQ_CHECK(q->kind != PQ_QKERAS_BITS || q->alpha < PQ_QKERAS_ALPHA_AUTO || q->bits > 1,
             PQ_ERR_RANGE,
             "quantized_bits of 1 bit has no scale of the weights; 2..16 bits have");
cleanup:
    return st;
}

static void describe(const pq_qkeras_quantizer *q, pq_qkeras_grid *grid)
{
    const bool fitted = q->alpha >= PQ_QKERAS_ALPHA_AUTO;
    const bool sign   = q->kind == PQ_QKERAS_BITS && q->bits == 1 && q->keep_negative;

    grid->there  = true;
    grid->powers = q->kind == PQ_QKERAS_PO2 || q->kind == PQ_QKERAS_RELU_PO2;
    grid->bits   = q->kind == PQ_QKERAS_BITS && !sign ? q->bits : (q->zero_one ? 1 : 2);
    grid->is_signed =
        q->kind == PQ_QKERAS_BITS ? q->keep_negative || fitted : !q->zero_one;
    grid->narrow =
        grid->is_signed && (q->kind != PQ_QKERAS_BITS || q->symmetric || fitted || sign);
}

pq_status pq_qkeras_round(const pq_qkeras_quantizer *q, pq_tensor *weights,
                          pq_qkeras_grid *grid, pq_err *err)
{
    const bool is_vector = weights->shape.ndim == 1;
    const bool fitted    = q->alpha >= PQ_QKERAS_ALPHA_AUTO;
    work       w         = {.count = weights->count, .x = pq_f32(weights)};
    char       shape[128];
    pq_status  st;

    PQ_TRY(check_use(q, err));
    PQ_CHECK(w.count > 0, PQ_ERR_SHAPE, "a weight of shape %s has no values to round",
             pq_shape_text(&weights->shape, shape, sizeof shape));
    w.n = scales_of(q, weights);
    PQ_NEW(w.code, w.count);
    PQ_NEW(w.scale, w.n);
    if (q->kind == PQ_QKERAS_BITS && fitted) {
        auto_bits(q, &w, is_vector);
    } else if (q->kind == PQ_QKERAS_BITS) {
        plain_bits(q, &w);
    } else if (q->kind == PQ_QKERAS_BINARY) {
        binary(q, &w);
    } else if (q->kind == PQ_QKERAS_TERNARY) {
        ternary(q, &w, is_vector);
    } else {
        powers_of_two(q, &w);
    }
    for (size_t i = 0; i < w.count; i++) {
        const float s = w.scale[i % w.n];
        w.x[i]        = w.code[i] == 0.0f ? 0.0f : s * w.code[i];
    }
    describe(q, grid);
    grid->n     = w.n;
    grid->scale = w.scale;
    w.scale     = NULL;
cleanup:
    free_work(&w);
    return st;
}

void pq_qkeras_grid_free(pq_qkeras_grid *grid)
{
    pq_free(grid->scale);
    *grid = (pq_qkeras_grid){0};
}

/* The exponent of a power of two; false for other numbers. */
static bool power_of(float scale, int *exponent)
{
    const float part = frexpf(scale, exponent);

    (*exponent)--;
    return part == 0.5f;
}

static pq_status attach_fixed(const pq_qkeras_grid *g, size_t n, pq_quant **out,
                              pq_err *err)
{
    const int sign = g->is_signed ? 1 : 0;
    int       e    = 0;
    pq_status st;

    PQ_TRY(pq_quant_create_fixed(
        g->is_signed, g->narrow ? PQ_OVERFLOW_SAT_SYM : PQ_OVERFLOW_SAT,
        PQ_ROUND_RND_CONV, n == 1 ? PQ_QUANT_PER_TENSOR : 0, n, out, err));
    for (size_t c = 0; c < n; c++) {
        (void)power_of(g->scale[c % g->n], &e);
        PQ_TRY(pq_quant_set_fixed(*out, c, g->bits - sign + e, -e, err));
    }
cleanup:
    return st;
}

static pq_status attach_integers(const pq_qkeras_grid *g, size_t n, pq_quant **out,
                                 pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_quant_create(PQ_QUANT_INTEGER, g->bits < 2 ? 2 : g->bits, g->is_signed,
                           g->narrow, n == 1 ? PQ_QUANT_PER_TENSOR : 0, n, out, err));
    for (size_t c = 0; c < n; c++) {
        const float s    = g->scale[c % g->n];
        (*out)->scale[c] = isfinite(s) && s > 0.0f ? s : 1.0f; /* of zeros: any */
    }
cleanup:
    return st;
}

/* Each a power of two, of 2 bits. */
static pq_status attach_powers(const pq_weight *w, pq_quant **out, pq_err *err)
{
    int       e = 0;
    pq_status st;

    PQ_TRY(pq_quant_create_fixed(true, PQ_OVERFLOW_SAT_SYM, PQ_ROUND_RND_CONV,
                                 PQ_QUANT_PER_ITEM, w->value->count, out, err));
    for (size_t i = 0; i < w->value->count; i++) {
        (void)power_of(fabsf(pq_f32(w->value)[i]), &e);
        PQ_TRY(pq_quant_set_fixed(*out, i, e + 1, -e, err));
    }
cleanup:
    return st;
}

/* Whether fixed point has these exponents. */
static bool fits_fixed(const pq_qkeras_grid *g, const pq_weight *w)
{
    const size_t n      = g->powers ? w->value->count : g->n;
    const float *values = g->powers ? pq_f32(w->value) : g->scale;
    const int    most   = g->powers ? 1 : g->bits - (g->is_signed ? 1 : 0);
    int          e      = 0;

    for (size_t i = 0; i < n; i++) {
        if (!power_of(fabsf(values[i]), &e) || e < -24 || e > 24 || most + e > 23 ||
            most + e < -24) {
            return false;
        }
    }
    return true;
}

pq_status pq_qkeras_attach(const pq_qkeras_grid *g, pq_weight *w, pq_err *err)
{
    const size_t n = g->n == 1 ? 1 : w->value->shape.dim[0];
    pq_status    st;

    if (fits_fixed(g, w)) {
        st = g->powers ? attach_powers(w, &w->quant, err)
                       : attach_fixed(g, n, &w->quant, err);
    } else {
        st = g->powers ? PQ_OK : attach_integers(g, n, &w->quant, err);
    }
    PQ_TRY(st);
    PQ_TRY(w->quant != NULL ? pq_quant_check(w->quant, &w->value->shape, err) : PQ_OK);
cleanup:
    return st;
}
