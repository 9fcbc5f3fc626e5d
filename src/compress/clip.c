#include "compress/clip.h"

#include <math.h>

static double percentile_cut(const pq_calib_range *r, double percentile)
{
    const double due  = percentile / 100.0 * (double)r->n;
    double       seen = 0.0;

    for (size_t i = 0; i < PQ_CALIB_BINS; i++) {
        seen += r->histogram[i];
        if (seen >= due) {
            return (double)(i + 1) * r->bin_width;
        }
    }
    return HUGE_VAL;
}

/* Sum of (x - q(x))^2 over the bins, each at its centre, for range [lo, hi] cut at T. */
static double squared_error(const pq_calib_range *r, double cut, int bits)
{
    const double lo = fmax(fmin(r->lo, 0.0), -cut), hi = fmin(fmax(r->hi, 0.0), cut);
    const double step = (hi - lo) / (ldexp(1.0, bits) - 1.0);
    double       sum  = 0.0;

    for (size_t i = 0; i < PQ_CALIB_BINS; i++) {
        /* bin 0 is mostly exact zeros, left by relu */
        const double x = i == 0 ? 0.0 : ((double)i + 0.5) * r->bin_width;
        const double d = x > cut ? x - cut : x - rint(x / step) * step;
        sum += r->histogram[i] > 0.0 ? r->histogram[i] * d * d : 0.0;
    }
    return sum;
}

static double mse_cut(const pq_calib_range *r, int bits)
{
    const double largest = fmax(fabs(r->lo), fabs(r->hi));
    double       best = HUGE_VAL, least = HUGE_VAL;

    for (int i = 100; i > 0 && largest > 0.0; i--) { /* ties go to the wider range */
        const double cut   = largest * (double)i / 100.0;
        const double error = squared_error(r, cut, bits);
        if (error < least) {
            least = error;
            best  = cut;
        }
    }
    return best;
}

/* Values in bin i; exact zeros, left by relu, would drown the rest, so that bin 0 counts
   as its neighbour. */
static double seen(const pq_calib_range *r, size_t i)
{
    return r->histogram[i > 0 ? i : 1];
}

/* KL(P || Q) of the cut behind bin n - 1, with `levels` levels. */
static double divergence(const pq_calib_range *r, size_t n, size_t levels, double tail)
{
    double total = tail, kl = 0.0;

    for (size_t i = 0; i < n; i++) {
        total += seen(r, i);
    }
    if (!(total > tail)) {
        return HUGE_VAL;
    }
    for (size_t level = 0; level < levels; level++) {
        const size_t first = level * n / levels, end = (level + 1) * n / levels;
        double       sum = 0.0, occupied = 0.0;
        for (size_t i = first; i < end; i++) {
            sum += seen(r, i);
            occupied += seen(r, i) > 0.0 ? 1.0 : 0.0;
        }
        for (size_t i = first; i < end; i++) {
            const double p = (seen(r, i) + (i == n - 1 ? tail : 0.0)) / total;
            /* what Q lacks counts as its least: the tail in an empty last bin */
            const double q = seen(r, i) > 0.0 ? sum / occupied / (total - tail) : 1e-12;
            kl += p > 0.0 ? p * log(p / q) : 0.0;
        }
    }
    return kl;
}

static double entropy_cut(const pq_calib_range *r, int bits)
{
    const size_t levels = (size_t)1 << (bits < 11 ? bits - 1 : 10);
    double       tail = 0.0, best = HUGE_VAL, least = HUGE_VAL;

    for (size_t n = PQ_CALIB_BINS; n >= levels && r->bin_width > 0.0; n--) {
        const double kl = divergence(r, n, levels, tail);
        if (kl < least) {
            least = kl;
            best  = (double)n * r->bin_width;
        }
        tail += r->histogram[n - 1];
    }
    return best;
}

void pq_clip_range(const pq_calib_range *range, pq_clip_rule rule, double percentile,
                   int bits, double *lo, double *hi)
{
    double cut = HUGE_VAL;

    switch (rule) {
    case PQ_CLIP_MINMAX:
        break;
    case PQ_CLIP_PERCENTILE:
        cut = percentile_cut(range, percentile);
        break;
    case PQ_CLIP_MSE:
        cut = mse_cut(range, bits);
        break;
    case PQ_CLIP_MOVING_AVERAGE:
        *lo = fmin(range->average_lo, 0.0);
        *hi = fmax(range->average_hi, 0.0);
        return;
    case PQ_CLIP_ENTROPY:
        cut = entropy_cut(range, bits);
        break;
    }
    *lo = fmax(fmin(range->lo, 0.0), -cut);
    *hi = fmin(fmax(range->hi, 0.0), cut);
}
