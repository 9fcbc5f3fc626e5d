#include <string.h>

#include "train/trainer.h"

enum {
    AHEAD  = 32, /* events fetched before they are copied */
    SHORT  = 64, /* values of an event that are copied here */
    VECTOR = 4   /* values copied at once */
};

/* Short events in whole vectors: a call would take longer than the copy. */
static void copy_event(const float *from, size_t count, float *to)
{
    if (count > SHORT || count % VECTOR != 0) {
        memcpy(to, from, count * sizeof *to);
        return;
    }
    for (size_t i = 0; i < count; i += VECTOR) {
        memcpy(to + i, from + i, VECTOR * sizeof *to);
    }
}

void pq_trainer_fill(void *trainer, size_t first, size_t rows, float *x)
{
    const pq_trainer *t     = trainer;
    const size_t      count = t->events->count;
    const size_t     *index = t->index + first;

    for (size_t i = 0; i < AHEAD && i < rows; i++) {
        __builtin_prefetch(t->events->x + index[i] * count);
    }
    for (size_t i = 0; i < rows; i++) {
        const float *from = t->events->x + index[i] * count;
        if (t->augment) {
            pq_augment_image(&t->how, t->key, index[i], from, x + i * count);
            continue;
        }
        if (i + AHEAD < rows) {
            __builtin_prefetch(t->events->x + index[i + AHEAD] * count);
        }
        copy_event(from, count, x + i * count);
    }
}

void pq_batch_gather(pq_trainer *t, const pq_events *events, const float *class_weight)
{
    double sum = 0.0;

    for (size_t i = 0; i < t->next_n; i++) {
        const size_t event = t->next_index[i];
        t->next_y[i]       = events->y[event];
        t->next_w[i]       = events->weight[event] *
                       (class_weight != NULL ? class_weight[t->next_y[i]] : 1.0F);
        sum += (double)t->next_w[i];
    }
    t->next_weight = sum;
}

void pq_batch_take(pq_trainer *t, const pq_events *events)
{
    int32_t *y = t->y;
    float   *w = t->w;

    t->events = events;
    t->index  = t->next_index;
    t->y      = t->next_y;
    t->w      = t->next_w;
    t->next_y = y;
    t->next_w = w;
    t->weight = t->next_weight;
    t->scale  = t->weight > 0.0 ? 1.0 / t->weight : 0.0; /* 0: no event counts */
    t->next_n = 0;
}

void pq_batch_announce(pq_trainer *t, const size_t *index, size_t n)
{
    t->next_index = index;
    t->next_n     = n;
}

void pq_batch_start(pq_trainer *t, const pq_events *events, const size_t *index, size_t n)
{
    pq_batch_announce(t, index, n);
    pq_batch_gather(t, events, NULL);
    pq_batch_take(t, events);
}
