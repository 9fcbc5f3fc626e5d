#include "compress/budget.h"

#include <assert.h>
#include <string.h>

#include "core/memory.h"

static pq_status append(pq_share *s, pq_option option, pq_err *err)
{
    pq_option *grown = NULL;
    pq_status  st    = PQ_OK;

    if (s->n == s->room) {
        const size_t room = s->room > 0 ? 2 * s->room : 16;
        PQ_NEW(grown, room);
        if (s->n > 0) {
            memcpy(grown, s->option, s->n * sizeof *grown);
        }
        pq_free(s->option);
        s->option = grown;
        s->room   = room;
    }
    s->option[s->n++] = option;
cleanup:
    return st;
}

pq_status pq_share_add(pq_share *s, size_t rank, double values, double macs, double loss,
                       pq_err *err)
{
    const double cost = s->by_macs ? macs : values;

    return cost < s->limit ? append(s, (pq_option){rank, cost, loss}, err) : PQ_OK;
}

pq_status pq_share_end(pq_share *s, pq_err *err)
{
    return append(s, (pq_option){0, s->limit, 0.0}, err);
}

/* Loss that the step to `next` saves, per cost; 0 where there is none. */
static double worth(const pq_share *s)
{
    const pq_option *from = &s->option[s->at], *to = &s->option[s->next];

    return s->next == s->at ? 0.0 : (from->loss - to->loss) / (to->cost - from->cost);
}

/* The best step of a layer that costs `left` at most. */
static void look_ahead(pq_share *s, double left)
{
    double best = 0.0;

    s->next = s->at;
    for (size_t k = s->at + 1; k < s->n; k++) {
        const double cost = s->option[k].cost - s->option[s->at].cost;
        const double gain = s->option[s->at].loss - s->option[k].loss;
        if (cost > left) {
            break;
        }
        if (gain > best * cost) {
            best    = gain / cost;
            s->next = k;
        }
    }
}

static double step_cost(const pq_share *s)
{
    return s->option[s->next].cost - s->option[s->at].cost;
}

double pq_share_out(pq_share *shares, size_t n, double all, double budget)
{
    double    left = all / budget, least = 0.0;
    pq_share *best;

    for (size_t i = 0; i < n; i++) {
        assert(shares[i].n > 0);
        least += shares[i].option[0].cost;
    }
    if (least > left) {
        return all / least;
    }
    left -= least;
    for (size_t i = 0; i < n; i++) {
        look_ahead(&shares[i], left);
    }
    do {
        best = NULL;
        for (size_t i = 0; i < n; i++) {
            if (step_cost(&shares[i]) > left) {
                look_ahead(&shares[i], left);
            }
            if (worth(&shares[i]) > (best != NULL ? worth(best) : 0.0)) {
                best = &shares[i];
            }
        }
        if (best != NULL) {
            left -= step_cost(best);
            best->at = best->next;
            look_ahead(best, left);
        }
    } while (best != NULL);
    return budget;
}
