#include "train/hold.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"

static const double gain = 5.0, edge = 0.005;

static double within(double aim)
{
    return fmin(fmax(aim, edge), 1.0 - edge);
}

pq_status pq_hold_create(pq_trainer *t, pq_err *err)
{
    pq_hold  *h  = &t->hold;
    pq_status st = PQ_OK;

    if (!t->params->preserve_rare_classes || t->floors == NULL) {
        return PQ_OK;
    }
    PQ_NEW(h->u, t->classes);
    PQ_NEW(h->aim, t->classes);
    PQ_NEW(h->margin, t->classes);
    PQ_NEW(h->events, t->classes);
    PQ_NEW(h->hits, t->classes);
    PQ_NEW(h->seen, t->classes);
    PQ_NEW(h->base, t->classes);
    memcpy(h->base, t->class_weight, t->classes * sizeof *h->base);
    for (size_t i = 0; i < t->n_train; i++) {
        const size_t event = t->train_index[i];
        h->events[t->train_events.y[event]] += (double)t->train_events.weight[event];
        h->total += (double)t->train_events.weight[event];
    }
    for (size_t i = 0; i < t->n_valid; i++) {
        h->margin[t->valid_events->y[t->valid_index[i]]] += 1.0;
    }
    for (size_t k = 0; k < t->classes; k++) {
        const double f = within(t->floors[k]), n = fmax(h->margin[k], 1.0);
        h->margin[k] = sqrt(f * (1.0 - f) / n);
        if (t->floors[k] > 0.0) { /* no recall is above 1 */
            t->floors[k] = fmin(t->floors[k] + h->margin[k], 1.0);
        }
        h->aim[k] = within(t->floors[k] + h->margin[k]);
    }
    h->on = true;
cleanup:
    return st;
}

void pq_hold_free(pq_hold *h)
{
    pq_free(h->u);
    pq_free(h->aim);
    pq_free(h->margin);
    pq_free(h->events);
    pq_free(h->hits);
    pq_free(h->seen);
    pq_free(h->base);
    *h = (pq_hold){0};
}

void pq_hold_resume(pq_trainer *t)
{
    for (size_t k = 0; t->hold.on && k < t->classes; k++) {
        t->class_weight[k] = t->hold.base[k] * (float)exp(t->hold.u[k]);
    }
}

void pq_hold_look(pq_trainer *t, size_t chunk, size_t first, size_t rows,
                  const float *logits)
{
    double *hits = t->hits + chunk * t->classes, *seen = t->seen + chunk * t->classes;

    if (!t->hold.on) {
        return;
    }
    memset(hits, 0, t->classes * sizeof *hits);
    memset(seen, 0, t->classes * sizeof *seen);
    for (size_t i = 0; i < rows; i++) {
        const int32_t y    = t->y[first + i];
        const double  mine = (double)t->events->weight[t->index[first + i]];
        seen[y] += mine;
        hits[y] +=
            pq_loss_decision(&t->loss, logits + i * t->loss.width) == y ? mine : 0.0;
    }
}

void pq_hold_step(pq_trainer *t, size_t at, size_t n)
{
    pq_hold *h = &t->hold;

    if (!h->on) {
        return;
    }
    for (size_t k = 0; k < t->classes; k++) {
        const double a = h->aim[k], all = h->events[k] * a * (1.0 - a);
        double       hits = 0.0, seen = 0.0;
        for (size_t c = 0; c * t->net->chunk < n; c++) {
            hits += t->hits[c * t->classes + k];
            seen += t->seen[c * t->classes + k];
        }
        if (2 * at >= t->n_train) { /* the net at the end is another than at the start */
            h->hits[k] += hits;
            h->seen[k] += seen;
        }
        if (t->floors[k] > 0.0 && all > 0.0) {
            const double next = h->u[k] + gain * (a * seen - hits) / all;
            /* one class is not to weigh more than all events */
            h->u[k]            = fmin(fmax(next, 0.0), log(h->total / h->events[k]));
            t->class_weight[k] = h->base[k] * (float)exp(h->u[k]);
        }
    }
}

void pq_hold_epoch(pq_trainer *t, const pq_train_epoch *e)
{
    pq_hold *h = &t->hold;

    if (!h->on) {
        return;
    }
    for (size_t k = 0; k < t->classes; k++) {
        if (h->seen[k] > 0.0 && isfinite(e->recall[k])) {
            h->aim[k] = within(t->floors[k] + h->margin[k] + h->hits[k] / h->seen[k] -
                               e->recall[k]);
        }
        h->hits[k] = h->seen[k] = 0.0;
    }
}
