/* How a rank is chosen by what the user gives: the table of rules is in lowrank.h. */
#include <math.h>

#include "compress/lowrank.h"
#include "linalg/vbmf.h"

const char *const pq_run_as_names[] = {"factorised", "reconstructed", "auto", NULL};

const char *const pq_budget_unit_names[] = {"parameters", "macs", "microseconds", NULL};

pq_status pq_rank_check(const pq_rank_params *p, size_t extra, const char *names,
                        pq_err *err)
{
    const size_t given = extra + (p->rank != PQ_UNSET) + !isnan(p->energy) +
                         !isnan(p->epsilon) + p->evbmf + !isnan(p->ratio) +
                         !isnan(p->target_sparsity) + !isnan(p->budget);
    pq_status st;

    PQ_CHECK(given == 1, PQ_ERR_CONFIG,
             "give exactly one of %srank, energy, epsilon, evbmf, ratio, "
             "target_sparsity and budget",
             names);
    PQ_CHECK(p->weaken == 0.0 || p->evbmf, PQ_ERR_CONFIG, "weaken goes with evbmf only");
cleanup:
    return st;
}

double pq_rank_ratio(const pq_rank_params *p)
{
    return isnan(p->target_sparsity) ? p->ratio : 1.0 / (1.0 - p->target_sparsity);
}

bool pq_rank_needs_spectrum(const pq_rank_params *p)
{
    return p->rank == PQ_UNSET && isnan(pq_rank_ratio(p));
}

unsigned pq_rank_needs(const pq_rank_params *p)
{
    const bool budget = !isnan(p->budget) && p->budget_unit == PQ_BUDGET_MICROSECONDS;

    return p->run_as == PQ_RUN_AUTO || budget ? PQ_NEEDS_TIMES : 0;
}

/* Smallest r with sum_{i < r} s_i^2 >= part * sum s_i^2, at least 1. */
static size_t rank_of_energy(const pq_spectrum *m, double part)
{
    const bool   whole = m->known == 0;
    const size_t n     = whole ? m->full : m->known;
    double       total = whole ? 0.0 : m->square, kept = 0.0;

    for (size_t i = 0; whole && i < n; i++) {
        total += m->s[i] * m->s[i];
    }
    for (size_t i = 0; i < n; i++) {
        kept += m->s[i] * m->s[i];
        if (kept >= part * total) {
            return i + 1;
        }
    }
    return n;
}

/* Smallest r >= 1 with sum_{i >= r} s_i^2 <= epsilon^2 sum s_i^2. */
static size_t rank_of_error(const pq_spectrum *m, double epsilon)
{
    double total = 0.0, tail = 0.0;
    size_t r = m->full;

    if (m->known > 0) {
        return rank_of_energy(m, 1.0 - epsilon * epsilon);
    }
    for (size_t i = 0; i < m->full; i++) {
        total += m->s[i] * m->s[i];
    }
    while (r > 1 && tail + m->s[r - 1] * m->s[r - 1] <= epsilon * epsilon * total) {
        r--;
        tail += m->s[r] * m->s[r];
    }
    return r;
}

bool pq_rank_is_told(const pq_rank_params *p, const pq_spectrum *m, size_t *more)
{
    const double part = isnan(p->energy) ? 1.0 - p->epsilon * p->epsilon : p->energy;
    double       kept = 0.0, left;

    if (m->known == 0 || !pq_rank_needs_spectrum(p)) {
        return true;
    }
    *more = m->full;
    if (isnan(part)) { /* another rule, which needs them all */
        return false;
    }
    const size_t r = rank_of_energy(m, part);
    /* of sums that were made in another order, and by a difference */
    const double doubt = 1e-12 * m->square;

    for (size_t i = 0; i + 1 < r; i++) {
        kept += m->s[i] * m->s[i];
    }
    const double last = m->s[r - 1] * m->s[r - 1], all = part * m->square;

    if (kept + last >= all + doubt) { /* one fewer must not be enough */
        return r == 1 || kept + m->lack < all - doubt;
    }
    left = (all - kept - last - m->lack) / last;
    if (left < (double)(m->full - r)) {
        *more = r + (left > 1.0 ? (size_t)left : 1);
    }
    return false;
}

size_t pq_rank_up(size_t rank, int64_t step, size_t full)
{
    const size_t n = (size_t)step;

    rank = (rank + n - 1) / n * n;
    return rank < full ? rank : full;
}

size_t pq_rank_down(size_t rank, int64_t step)
{
    const size_t n = (size_t)step;

    return rank < n ? rank : rank / n * n;
}

size_t pq_rank_of_noise(const pq_rank_params *p, const pq_spectrum *m)
{
    size_t r = pq_evbmf_rank(m->s, m->m, m->n);

    r += (size_t)(p->weaken * (double)(m->full - r) + 0.5);
    return r < 1 ? 1 : r;
}

double pq_rank_epsilon(const pq_rank_params *p)
{
    return isnan(p->energy) ? p->epsilon : sqrt(1.0 - p->energy);
}

pq_status pq_rank_choose(const pq_rank_params *p, const pq_spectrum *m, size_t *rank,
                         pq_err *err)
{
    const double ratio = pq_rank_ratio(p);
    size_t       r     = 1;
    pq_status    st    = PQ_OK;

    if (p->rank != PQ_UNSET) {
        PQ_CHECK((uint64_t)p->rank <= m->full || p->clip_rank, PQ_ERR_RANGE,
                 "rank %lld is not in 1..%zu", (long long)p->rank, m->full);
        r = (uint64_t)p->rank < m->full ? (size_t)p->rank : m->full;
    } else if (!isnan(ratio)) {
        r = (size_t)((double)m->m * (double)m->n / ((double)(m->m + m->n) * ratio));
    } else if (!isnan(p->energy)) {
        r = rank_of_energy(m, p->energy);
    } else if (!isnan(p->epsilon)) {
        r = rank_of_error(m, p->epsilon);
    } else {
        r = pq_rank_of_noise(p, m);
    }
    r     = r < 1 ? 1 : r > m->full ? m->full : r;
    *rank = !isnan(ratio) ? pq_rank_down(r, p->align) : pq_rank_up(r, p->align, m->full);
cleanup:
    return st;
}
