#include "train/steer.h"

#include <math.h>

double pq_steer_beta(const pq_train_params *p, const pq_train_epoch *history, size_t n)
{
    const size_t warm = (size_t)p->hgq_warmup;
    double       sum = 0.0, last = 0.0;

    if (isnan(p->hgq_target_ebops) || n < warm || n == 0) {
        return p->hgq_beta;
    }
    for (size_t i = warm > 0 ? warm - 1 : 0; i < n; i++) { /* 1: a network may end at 0 */
        last = log(fmax(history[i].ebops, 1.0) / p->hgq_target_ebops);
        sum += last;
    }
    return p->hgq_beta * exp(p->hgq_p * last + p->hgq_i * sum);
}

double pq_steer_excess(const pq_train_params *p, const pq_train_epoch *e)
{
    return isnan(p->hgq_target_ebops)
               ? 0.0
               : fmax(0.0, log(fmax(e->ebops, 1.0) / p->hgq_target_ebops));
}

bool pq_steer_on_front(const pq_train_epoch *history, size_t first, size_t n,
                       size_t epoch)
{
    const pq_train_epoch *mine = &history[epoch];

    for (size_t i = first; i < n; i++) {
        const pq_train_epoch *e = &history[i];
        if (e->ebops <= mine->ebops && e->accuracy >= mine->accuracy &&
            (e->ebops < mine->ebops || e->accuracy > mine->accuracy)) {
            return false;
        }
    }
    return epoch >= first && isfinite(mine->ebops) && isfinite(mine->accuracy);
}
