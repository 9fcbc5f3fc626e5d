#include "train/trial.h"

#include <math.h>

/* Threads that make a step faster by less than this part are left off: others may have
 * them. */
static const double least_gain = 0.03;

void pq_trial_start(pq_trial *t, pq_pool *pool)
{
    *t = (pq_trial){0};
    pq_pool_set_alone(pool, false);
}

void pq_trial_step(pq_trial *t, pq_pool *pool, double seconds)
{
    const size_t way = t->step / PQ_TRIAL_STEPS, number = t->step % PQ_TRIAL_STEPS;

    if (pq_pool_threads(pool) == 1 || way > 1) {
        return;
    }
    if (number > 0) { /* the first finds threads asleep, or other caches */
        t->least[way] = number == 1 ? seconds : fmin(t->least[way], seconds);
    }
    t->step++;
    if (t->step == PQ_TRIAL_STEPS) {
        pq_pool_set_alone(pool, true);
    } else if (t->step == (size_t)2 * PQ_TRIAL_STEPS) {
        pq_pool_set_alone(pool, t->least[0] > (1.0 - least_gain) * t->least[1]);
    }
}
