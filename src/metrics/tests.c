#include "metrics/tests.h"

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "metrics/interval.h"

enum { LEAST = 3 }; /* values of a sample */

typedef struct {
    double value;
    size_t from; /* 0 = the first sample; of p: its place */
} item;

static int by_value(const void *a, const void *b)
{
    const item *x = a, *y = b;

    return (x->value > y->value) - (x->value < y->value);
}

static int by_number(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double pq_test_normal(double z)
{
    return erfc(fabs(z) / sqrt(2.0));
}

/* R = sum of the ranks of the first sample, equal values sharing theirs;
 * U = R - n (n + 1) / 2, of mean n m / 2 and, with t values in each tie,
 * variance n m / 12 (N + 1 - sum (t^3 - t) / (N (N - 1))), N = n + m. */
pq_status pq_test_ranks(const double *a, size_t n, const double *b, size_t m, double *p,
                        pq_err *err)
{
    const size_t all   = n + m;
    item        *items = NULL;
    double       ranks = 0.0, ties = 0.0, variance, far;
    pq_status    st = PQ_OK;

    *p = 1.0;
    if (n < LEAST || m < LEAST) {
        return PQ_OK;
    }
    PQ_NEW(items, all);
    for (size_t i = 0; i < all; i++) {
        items[i] = (item){i < n ? a[i] : b[i - n], i < n ? 0 : 1};
    }
    qsort(items, all, sizeof *items, by_value);
    for (size_t i = 0, end; i < all; i = end) {
        double shared;
        for (end = i + 1; end < all && items[end].value == items[i].value; end++) {
        }
        shared = 0.5 * (double)(i + 1 + end);
        for (size_t k = i; k < end; k++) {
            ranks += items[k].from == 0 ? shared : 0.0;
        }
        ties += pow((double)(end - i), 3.0) - (double)(end - i);
    }
    variance = (double)n * (double)m / 12.0 *
               ((double)all + 1.0 - ties / ((double)all * ((double)all - 1.0)));
    far = fabs(ranks - 0.5 * (double)n * ((double)n + 1.0) - 0.5 * (double)n * (double)m);
    if (variance > 0.0) {
        *p = pq_test_normal(fmax(far - 0.5, 0.0) / sqrt(variance));
    }
cleanup:
    pq_free(items);
    return st;
}

/* Twice the tail of the binomial distribution of a + b fair coins beyond the larger. */
double pq_test_discordant(size_t a, size_t b)
{
    const double more = (double)(a > b ? a : b), all = (double)a + (double)b;

    if (a == b) {
        return 1.0;
    }
    return fmin(2.0 * pq_incomplete_beta(more, all - more + 1.0, 0.5), 1.0);
}

pq_status pq_false_discovery(double *p, size_t n, pq_err *err)
{
    item     *items = NULL;
    size_t    count = 0;
    double    least = 1.0;
    pq_status st;

    PQ_NEW(items, n);
    for (size_t i = 0; i < n; i++) {
        if (!isnan(p[i])) {
            items[count++] = (item){p[i], i};
        }
    }
    if (count > 0) {
        qsort(items, count, sizeof *items, by_value);
    }
    for (size_t k = count; k-- > 0;) {
        least            = fmin(least, items[k].value * (double)count / (double)(k + 1));
        p[items[k].from] = least;
    }
cleanup:
    pq_free(items);
    return st;
}

double pq_median_of(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_number);
    return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

/* Most values that may lie on one side of the interval: P(Binomial(n, 1/2) <= k - 1)
 * <= 2.5 %. */
static size_t interval_rank(size_t n)
{
    double log_p = -(double)n * log(2.0), below = 0.0;
    size_t k = 0;

    for (; k < n / 2; k++) {
        below += exp(log_p);
        if (below > 0.025) {
            break;
        }
        log_p += log((double)(n - k) / (double)(k + 1));
    }
    return k;
}

void pq_median(double *values, size_t n, double *median, double *lo, double *hi)
{
    const size_t k = interval_rank(n);

    *median = pq_median_of(values, n);
    *lo     = values[k > 0 ? k - 1 : 0];
    *hi     = values[k > 0 ? n - k : n - 1];
}
