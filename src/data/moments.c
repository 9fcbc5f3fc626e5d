#include "data/moments.h"

#include <math.h>

#include "core/memory.h"

pq_status pq_moments_create(size_t features, bool padded, pq_moments *out, pq_err *err)
{
    pq_moments m = {.features = features, .padded = padded};
    pq_status  st;

    PQ_NEW(m.mean, features);
    PQ_NEW(m.square, features);
    PQ_NEW(m.seen, features);
    *out = m;
    m    = (pq_moments){0};
cleanup:
    pq_moments_free(&m);
    return st;
}

void pq_moments_free(pq_moments *m)
{
    pq_free(m->mean);
    pq_free(m->square);
    pq_free(m->seen);
    *m = (pq_moments){0};
}

void pq_moments_add(pq_moments *m, size_t rows, const float *x)
{
    const size_t fitted = m->features - (m->padded ? 1 : 0);

    for (size_t i = 0; i < rows; i++, x += m->features) {
        if (m->padded && !(x[fitted] > 0.0F)) {
            continue;
        }
        for (size_t k = 0; k < fitted; k++) {
            const double value = (double)x[k], delta = value - m->mean[k];
            if (isfinite(value)) {
                m->seen[k] += 1.0;
                m->mean[k] += delta / m->seen[k];
                m->square[k] += delta * (value - m->mean[k]);
            }
        }
    }
}

void pq_moments_scaler(const pq_moments *m, float *mean, float *std)
{
    for (size_t k = 0; k < m->features; k++) {
        const float spread =
            m->seen[k] > 0.0 ? (float)sqrt(m->square[k] / m->seen[k]) : 0.0F;
        mean[k] = (float)m->mean[k];
        std[k]  = spread > 0.0F ? spread : 1.0F;
    }
}
