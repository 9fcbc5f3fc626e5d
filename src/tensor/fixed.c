/* Fixed point: rounding and overflow modes, and widths from integer and fraction bits. */
#include <math.h>

#include "tensor/quant_inside.h"

const char *const pq_overflow_names[] = {"SAT", "SAT_SYM", "WRAP", "WRAP_SM", NULL};
const char *const pq_rounding_names[] = {"RND_CONV", "RND", "RND_ZERO", "RND_MIN_INF",
                                         "RND_INF",  "TRN", "TRN_ZERO", NULL};

/* Nearest whole number; a tie goes up or down. floor and x - floor(x) are exact, x + 0.5
   is not. */
static double nearest(double x, bool tie_up)
{
    const double below = floor(x), rest = x - below;

    return rest > 0.5 || (rest == 0.5 && tie_up) ? below + 1.0 : below;
}

double pq_fixed_round(double x, pq_rounding mode)
{
    if (!isfinite(x)) {
        return x;
    }
    switch (mode) {
    case PQ_ROUND_RND_CONV:
        return rint(x);
    case PQ_ROUND_RND:
        return nearest(x, true);
    case PQ_ROUND_RND_ZERO:
        return nearest(x, x < 0.0);
    case PQ_ROUND_RND_MIN_INF:
        return nearest(x, false);
    case PQ_ROUND_RND_INF:
        return nearest(x, x > 0.0);
    case PQ_ROUND_TRN:
        return floor(x);
    case PQ_ROUND_TRN_ZERO:
        return trunc(x);
    }
    return x;
}

/* x modulo n, in 0 .. n - 1, for whole numbers. */
static double modulo(double x, double n)
{
    const double rest = fmod(x, n);

    return rest < 0.0 ? rest + n : rest;
}

int32_t pq_fixed_overflow(double code, int width, bool is_signed, pq_overflow mode)
{
    const double codes = ldexp(1.0, width);
    const double least = is_signed && width > 0 ? -codes / 2.0 : 0.0;
    const double most  = width > 0 ? least + codes - 1.0 : 0.0;
    const double lo    = mode == PQ_OVERFLOW_SAT_SYM && least < 0.0 ? least + 1.0 : least;
    double       place;

    if (code >= lo && code <= most) {
        return (int32_t)code;
    }
    switch (mode) {
    case PQ_OVERFLOW_SAT:
    case PQ_OVERFLOW_SAT_SYM:
        return (int32_t)(code > most ? most : lo);
    case PQ_OVERFLOW_WRAP:
        place = modulo(modulo(code, codes) - least, codes);
        return isfinite(code) ? (int32_t)(place + least) : (int32_t)least;
    case PQ_OVERFLOW_WRAP_SM:
        place = modulo(modulo(code, 2.0 * codes) - least, 2.0 * codes);
        place = place < codes ? place : 2.0 * codes - 1.0 - place;
        return isfinite(code) && width > 0 ? (int32_t)(place + least) : (int32_t)least;
    }
    return (int32_t)least;
}

pq_status pq_quant_set_fixed(pq_quant *q, size_t at, int integer_bits, int fraction_bits,
                             pq_err *err)
{
    const int whole = integer_bits > -fraction_bits ? integer_bits : -fraction_bits;
    const int width = (q->is_signed ? 1 : 0) + whole + fraction_bits;
    pq_status st    = PQ_OK;

    assert(q->scheme == PQ_QUANT_FIXED && at < q->n);
    PQ_CHECK(integer_bits >= -24 && integer_bits <= 23, PQ_ERR_RANGE,
             "integer bits %d are not in -24..23", integer_bits);
    PQ_CHECK(fraction_bits >= -24 && fraction_bits <= 24, PQ_ERR_RANGE,
             "fraction bits %d are not in -24..24", fraction_bits);
    PQ_CHECK(width <= 16, PQ_ERR_RANGE,
             "a sign of %d, %d integer and %d fraction bits are %d bits, not in 0..16",
             q->is_signed ? 1 : 0, integer_bits, fraction_bits, width);
    q->scale[at] = ldexpf(1.0f, -fraction_bits);
    q->width[at] = (uint8_t)(whole + fraction_bits > 0 ? width : 0);
    q->bits      = width > q->bits ? width : q->bits;
cleanup:
    return st;
}

int pq_quant_fraction_bits(const pq_quant *q, size_t at)
{
    return -ilogbf(q->scale[at]);
}

int pq_quant_integer_bits(const pq_quant *q, size_t at)
{
    const int width = q->width[at] - (q->is_signed ? 1 : 0);

    return (width > 0 ? width : 0) - pq_quant_fraction_bits(q, at);
}
