#include "codegen/levels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

enum {
    TRIED      = 8, /* factors to both sides of the nearest */
    SUMS_TRIED = 1 << 21,
    SHIFTS     = 2048 /* codes by which a line is moved, for other fractions of a sum */
};

pq_status pq_levels_find(pq_code_of_sum code, const void *context, int64_t bound,
                         int most, double multiplier, pq_levels *out, pq_err *err)
{
    pq_levels l = {.bound = bound, .most = most, .multiplier = multiplier};
    int64_t   from;
    pq_status st;

    PQ_NEW(l.level, (size_t)most + 1);
    l.below = code(context, -bound);
    l.above = code(context, bound);
    from    = -bound;
    for (int k = l.below + 1; k <= l.above; k++) {
        int64_t lo = from, hi = bound; /* code(lo) < k <= code(hi) */
        while (hi - lo > 1) {
            const int64_t middle = lo + (hi - lo) / 2;
            if (code(context, middle) >= k) {
                hi = middle;
            } else {
                lo = middle;
            }
        }
        l.level[k] = hi;
        from       = lo;
    }
    *out    = l;
    l.level = NULL;
cleanup:
    pq_free(l.level);
    return st;
}

void pq_levels_free(pq_levels *l)
{
    pq_free(l->level);
    *l = (pq_levels){0};
}

static int clamped(int64_t code, pq_clamp c)
{
    return (int)(code < c.least ? c.least : code > c.most ? c.most : code);
}

/* Whole part of n over 2^by, downwards. */
static int64_t shifted(int64_t n, int by)
{
    const int64_t unit = INT64_C(1) << by;

    return n >= 0 ? n / unit : -((unit - 1 - n) / unit);
}

bool pq_levels_shift(const pq_levels *l, int by, pq_clamp clamp, int64_t *rounding)
{
    const int64_t unit = INT64_C(1) << by;
    const int     k    = l->below + 1;
    bool          ok   = true;

    *rounding = l->below == l->above
                    ? (l->below == clamp.least  ? l->below * unit - l->bound
                       : l->below == clamp.most ? l->below * unit + l->bound
                                                : l->below * unit + unit / 2)
                    : k * unit - l->level[k];
    for (int i = k; i <= l->above; i++) {
        ok = ok && l->level[i] + *rounding == i * unit;
    }
    return ok && clamped(shifted(*rounding - l->bound, by), clamp) == l->below &&
           clamped(shifted(*rounding + l->bound, by), clamp) == l->above;
}

static int64_t to_even(int64_t s, int by)
{
    return by == 0 ? s
                   : shifted(s + (INT64_C(1) << (by - 1)) - 1 + (shifted(s, by) & 1), by);
}

bool pq_levels_even(const pq_levels *l, int by, pq_clamp clamp, int zero)
{
    bool ok = true;

    for (int k = l->below + 1; ok && k <= l->above; k++) {
        ok = to_even(l->level[k], by) + zero >= k &&
             to_even(l->level[k] - 1, by) + zero < k;
    }
    return ok && clamped(to_even(-l->bound, by) + zero, clamp) == l->below &&
           clamped(to_even(l->bound, by) + zero, clamp) == l->above;
}

/* Sums outside of these have the codes of these. */
static void limits(const pq_levels *l, int64_t *lo, int64_t *hi)
{
    const bool constant = l->below == l->above;

    *lo = constant ? 0 : l->level[l->below + 1] - 1;
    *hi = constant ? 0 : l->level[l->above];
}

/* R for one K: from all levels an interval. */
static bool rounding_of(const pq_levels *l, int by, int64_t factor, int64_t *rounding)
{
    int64_t lo, hi, least = INT64_MIN, most = INT64_MAX;

    limits(l, &lo, &hi);
    for (int k = l->below + 1; k <= l->above; k++) {
        const int64_t due  = (int64_t)k << by;
        const int64_t from = due - factor * l->level[k];
        const int64_t to   = due - factor * (l->level[k] - 1) - 1;
        least              = from > least ? from : least;
        most               = to < most ? to : most;
    }
    if (l->below == l->above) {
        *rounding = (int64_t)l->below << by;
        return true;
    }
    /* the limits themselves: no product is negative, none a code too far */
    const int64_t floor   = ((int64_t)l->below << by) - factor * lo;
    const int64_t ceiling = (((int64_t)l->above + 1) << by) - 1 - factor * hi;
    least                 = floor > least ? floor : least;
    most                  = ceiling < most ? ceiling : most;
    *rounding             = least + (most - least) / 2;
    return least <= most;
}

bool pq_levels_scale(const pq_levels *l, int by, int32_t *factor, int64_t *rounding,
                     int32_t *lo, int32_t *hi)
{
    const double  exact = l->multiplier * ldexp(1.0, by);
    const int64_t near  = exact < 2147483647.0 ? (int64_t)rint(exact) : INT32_MAX;
    int64_t       least, most;

    limits(l, &least, &most);
    if (least < INT32_MIN || most > INT32_MAX || !(exact < 2147483647.0)) {
        return false;
    }
    *lo = (int32_t)least;
    *hi = (int32_t)most;
    for (int64_t apart = 0; apart <= TRIED; apart++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            const int64_t k = near + sign * apart;
            if (k > 0 && k <= INT32_MAX && rounding_of(l, by, k, rounding)) {
                *factor = (int32_t)k;
                return true;
            }
        }
    }
    return false;
}

/* --- lines in float32 --- */

static const double line_zero = 12582912.0; /* 2^23 + 2^22: PQ_LINE_BITS as a float */
enum { LINE_SUMS = 1 << 22 };

typedef struct {
    float   factor, summand;
    int64_t rounding;
} line;

/* As the processor computes it; a sum that was rounded is as good as one that was not,
   but below LINE_SUMS none is. */
static int line_code(const line *a, int64_t sum, pq_clamp c)
{
    const float x = (float)(line_zero + (double)(sum + a->rounding));
    const float v = fmaf(x, a->factor, a->summand);
    int32_t     bits;

    memcpy(&bits, &v, sizeof bits);
    return clamped((int64_t)bits - PQ_LINE_BITS, c);
}

static bool line_holds(const pq_levels *l, const line *a, pq_clamp c)
{
    bool ok = l->bound + llabs(a->rounding) < LINE_SUMS &&
              line_code(a, -l->bound, c) == l->below &&
              line_code(a, l->bound, c) == l->above;

    for (int k = l->below + 1; ok && k <= l->above; k++) {
        ok = line_code(a, l->level[k], c) >= k && line_code(a, l->level[k] - 1, c) < k;
    }
    return ok;
}

/* R and C for one m: x = 2^23 + 2^22 + R + j / m has to lie between two bounds, j whole.
 */
static bool line_of(const pq_levels *l, pq_clamp c, line *a)
{
    const double m  = (double)a->factor;
    double       lo = -HUGE_VAL, hi = HUGE_VAL;

    for (int k = l->below + 1; k <= l->above; k++) {
        const double x = (k - 0.5) / m - (double)l->level[k];
        lo             = fmax(lo, x);
        hi             = fmin(hi, x + 1.0);
    }
    const double middle = lo + (hi - lo) / 2.0 - line_zero;
    const double near   = rint(middle * m);
    for (int apart = 0; lo <= hi && apart <= SHIFTS; apart++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            const double j = near + sign * apart;
            const double r = rint(middle - j / m);
            if (fabs(j) < LINE_SUMS && fabs(r) < LINE_SUMS &&
                r + line_zero + j / m >= lo && r + line_zero + j / m <= hi) {
                a->summand  = (float)(line_zero + j);
                a->rounding = (int64_t)r;
                if (line_holds(l, a, c)) {
                    return true;
                }
            }
        }
    }
    return false;
}

bool pq_levels_line(const pq_levels *l, pq_clamp clamp, float *factor, float *summand,
                    int64_t *rounding)
{
    line       a    = {0.0f, (float)(line_zero + l->below), 0};
    const bool flat = l->below == l->above;
    bool       ok   = flat && line_holds(l, &a, clamp);
    float      up = (float)l->multiplier, down = up;

    for (int apart = 0; !ok && !flat && apart <= TRIED; apart++) {
        a.factor = up;
        ok       = up > 0.0f && isfinite(up) && line_of(l, clamp, &a);
        if (!ok && apart > 0) {
            a.factor = down;
            ok       = down > 0.0f && isfinite(down) && line_of(l, clamp, &a);
        }
        up   = nextafterf(up, HUGE_VALF);
        down = nextafterf(down, 0.0f);
    }
    *factor   = a.factor;
    *summand  = a.summand;
    *rounding = a.rounding;
    return ok;
}

/* With 22 bits: three times as much has 24. */
static float shortened(double x)
{
    int          exponent;
    const double part = frexp(x, &exponent);

    return (float)ldexp(rint(ldexp(part, 22)), exponent - 22);
}

bool pq_levels_product(double m, int64_t bound, float *high, float *low)
{
    const double most = ldexp(1.0, 60);
    bool         ok   = bound < SUMS_TRIED && m > 1.0 / most && m < most;

    *high = ok ? (float)m : 0.0f;
    *low  = ok ? shortened(m - (double)*high) : 0.0f;
    for (int64_t s = 0; ok && s <= bound; s++) { /* negative ones mirror them */
        const float x = (float)s;
        ok            = fmaf(x, *high, x * *low) == (float)((double)s * m);
    }
    return ok;
}

/* --- in double --- */

static bool real_holds(const pq_levels *l, double factor, double summand)
{
    for (int k = l->below + 1; k <= l->above; k++) {
        const double at = (double)l->level[k], under = at - 1.0;
        const double product = at * factor, less = under * factor;
        if (!(product + summand >= k && fma(at, factor, summand) >= k &&
              less + summand < k && fma(under, factor, summand) < k)) {
            return false;
        }
    }
    return true;
}

bool pq_levels_real(const pq_levels *l, double *factor, double *summand)
{
    int64_t lo, hi;
    double  least = -HUGE_VAL, most = HUGE_VAL;

    *factor = l->multiplier;
    limits(l, &lo, &hi);
    if (l->below == l->above) {
        *summand = l->below;
        return true;
    }
    for (int k = l->below + 1; k <= l->above; k++) {
        least = fmax(least, k - *factor * (double)l->level[k]);
        most  = fmin(most, k - *factor * (double)(l->level[k] - 1));
    }
    *summand = least + (most - least) / 2.0;
    return least < most && *factor * (double)lo + *summand >= 0.0 &&
           *factor * (double)hi + *summand < l->above + 1 && *summand + *factor < 1e9 &&
           real_holds(l, *factor, *summand);
}
