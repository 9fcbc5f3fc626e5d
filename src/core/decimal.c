#include "core/decimal.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

enum { MOST_POWER = 27, EXACT_POWER = 22, MOST_DIGITS = 19, FAR = 10000 };

/* 5^27 is the last that 64 bits hold. */
static const uint64_t fives[MOST_POWER + 1] = {
    1U,
    5U,
    25U,
    125U,
    625U,
    3125U,
    15625U,
    78125U,
    390625U,
    1953125U,
    9765625U,
    48828125U,
    244140625U,
    1220703125U,
    6103515625U,
    30517578125U,
    152587890625U,
    762939453125U,
    3814697265625U,
    19073486328125U,
    95367431640625U,
    476837158203125U,
    2384185791015625U,
    11920928955078125U,
    59604644775390625U,
    298023223876953125U,
    1490116119384765625U,
    7450580596923828125U,
};

/* Those that a double holds. */
static const double tens[EXACT_POWER + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

/* 2^power, of a normal double. */
static double two_to(int power)
{
    const uint64_t bits = (uint64_t)(1023 + power) << 52;
    double         out;

    memcpy(&out, &bits, sizeof out);
    return out;
}

/* (x + a part of 1, if any) 2^power, to the nearest double; x has 64 bits or more where
 * there is a part. */
static double round_wide(wide x, bool part, int power)
{
    const uint64_t high = (uint64_t)(x >> 64);
    const int      length =
        high != 0 ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll((uint64_t)x);
    const int drop = length - 53;
    uint64_t  kept;
    wide      rest, half;

    if (drop <= 0) {
        return (double)(uint64_t)x * two_to(power);
    }
    kept = (uint64_t)(x >> drop);
    rest = x & (((wide)1 << drop) - 1);
    half = (wide)1 << (drop - 1);
    kept += rest > half || (rest == half && (part || (kept & 1) != 0)) ? 1 : 0;
    return (double)kept * two_to(power + drop);
}

/* w 10^e, |e| <= 27, w > 0. */
static double scale(uint64_t w, int e)
{
    if (w <= (uint64_t)1 << 53 && e >= -EXACT_POWER && e <= EXACT_POWER) {
        return e < 0 ? (double)w / tens[-e] : (double)w * tens[e];
    }
    if (e >= 0) {
        return round_wide((wide)w * fives[e], false, e);
    }
    const int      shift = __builtin_clzll(w);
    const uint64_t five  = fives[-e];
    const wide     top = (wide)(w << shift) << 64, whole = top / five;

    return round_wide(whole, whole * five != top, e - 64 - shift);
}

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* Digits from p on are added to *w, which holds the last 19 of them right. */
static const char *take_digits(const char *p, uint64_t *w)
{
    uint64_t value = *w;

    for (; is_digit(*p); p++) {
        value = 10 * value + (uint64_t)(*p - '0');
    }
    *w = value;
    return p;
}

/* Digits of a number of `digits` ones that are not zeros in front. */
static size_t count_digits(const char *first, size_t digits)
{
    for (; digits > 0 && (*first == '0' || *first == '.'); first++) {
        digits -= *first == '0' ? 1 : 0;
    }
    return digits;
}

/* Exponent at p, which holds e or E; p itself where no digit follows. */
static const char *take_exponent(const char *p, int *e)
{
    const bool  minus  = p[1] == '-';
    const char *digits = p + (minus || p[1] == '+' ? 2 : 1);
    int         value  = 0;

    if (!is_digit(*digits)) {
        return p;
    }
    for (; is_digit(*digits); digits++) {
        value = value < FAR ? 10 * value + (*digits - '0') : value;
    }
    *e += minus ? -value : value;
    return digits;
}

bool pq_decimal(const char *text, const char **end, double *out)
{
    const bool  minus = *text == '-';
    const char *first = text + (minus || *text == '+' ? 1 : 0), *p, *point;
    uint64_t    w     = 0;
    int         e     = 0;
    double      value = 0.0;
    size_t      digits;

    p      = take_digits(first, &w);
    digits = (size_t)(p - first);
    if (*p == '.') {
        point = p + 1;
        p     = take_digits(point, &w);
        digits += (size_t)(p - point);
        e = p - point < FAR ? -(int)(p - point) : -FAR;
    }
    if (digits == 0 ||
        (digits > MOST_DIGITS && count_digits(first, digits) > MOST_DIGITS)) {
        return false;
    }
    if (*p == 'e' || *p == 'E') {
        p = take_exponent(p, &e);
    }
    if (w != 0) {
        if (e < -MOST_POWER || e > MOST_POWER) {
            return false;
        }
        value = scale(w, e);
    }
    *end = p;
    *out = minus ? -value : value;
    return true;
}
