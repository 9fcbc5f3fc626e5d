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
    const size_t all = PQ_TRIAL_WAKE + PQ_TRIAL_ALL, one = all + PQ_TRIAL_ONE;

    if (pq_pool_threads(pool) == 1 || t->step >= one) {
        return;
    }
    if (t->step == PQ_TRIAL_WAKE || t->step == all + 1) {
        t->least[t->step > all] = seconds;
    } else if (t->step > PQ_TRIAL_WAKE && t->step != all) {
        t->least[t->step > all] = fmin(t->least[t->step > all], seconds);
    }
    t->step++;
    if (t->step == all) {
        pq_pool_set_alone(pool, true);
    } else if (t->step == one) {
        pq_pool_set_alone(pool, t->least[0] > (1.0 - least_gain) * t->least[1]);
    }
}
