#include "codegen/levels.h"

#include <math.h>

#include "core/memory.h"

enum { TRIED = 8 /* factors to both sides of the nearest */ };

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
