#include "linalg/vbmf.h"

#include <math.h>

/* A matrix [l, m], l <= m, by its singular values. */
typedef struct {
    const double *s;
    size_t        l, m;
    double        alpha, limit; /* l / m; least x that counts as signal */
} spectrum;

/* Free energy of the noise variance v, up to constants. */
static double energy(const spectrum *p, double v)
{
    double sum = 0.0;

    for (size_t i = 0; i < p->l; i++) {
        const double x = p->s[i] * p->s[i] / ((double)p->m * v);
        if (x > p->limit) {
            const double b = x - (1.0 + p->alpha);
            const double t = 0.5 * (b + sqrt(fmax(b * b - 4.0 * p->alpha, 0.0)));
            sum += x - t + log((t + 1.0) / x) + p->alpha * log(t / p->alpha + 1.0);
        } else {
            sum += x - log(fmax(x, 1e-300));
        }
    }
    return sum;
}

/* Golden sections. The energy may have several minima: which one is found is part of the
 * method, and published ranks agree with this search from the whole interval. */
static double minimum(const spectrum *p, double a, double b)
{
    const double golden = 0.5 * (sqrt(5.0) - 1.0);

    for (int i = 0; i < 100; i++) {
        const double c = b - golden * (b - a), d = a + golden * (b - a);
        *(energy(p, c) < energy(p, d) ? &b : &a) = energy(p, c) < energy(p, d) ? d : c;
    }
    return 0.5 * (a + b);
}

size_t pq_evbmf_rank(const double *s, size_t m, size_t n)
{
    const size_t l = m < n ? m : n, wide = m < n ? n : m;
    spectrum     p   = {.s = s, .l = l, .m = wide, .alpha = (double)l / (double)wide};
    const double tau = 2.5129 * sqrt(p.alpha);
    double       all = 0.0, tail = 0.0, lo, hi, v;
    size_t       first, rank     = 0;

    p.limit = (1.0 + tau) * (1.0 + p.alpha / tau);
    first   = (size_t)ceil((double)l / (1.0 + p.alpha)) - 1;
    first   = first < l ? first : l;
    for (size_t i = 0; i < l; i++) {
        all += s[i] * s[i];
        tail += i >= first ? s[i] * s[i] : 0.0;
    }
    if (all == 0.0) {
        return 0;
    }
    hi = all / ((double)l * (double)wide);
    lo = first < l ? fmax(s[first] * s[first] / ((double)wide * p.limit),
                          tail / (double)(l - first) / (double)wide)
                   : 0.0;
    v  = lo < hi ? minimum(&p, lo, hi) : hi;
    while (rank < l && s[rank] > sqrt((double)wide * v * p.limit)) {
        rank++;
    }
    return rank;
}
