#include "exec/rescale.h"

#include <string.h>

#include "core/memory.h"

void pq_rescale_free(pq_rescale *r)
{
    pq_free(r->factor);
    pq_free(r->summand);
    *r = (pq_rescale){0};
}

static bool same_values(const float *a, const float *b, size_t n)
{
    return a == b || (a != NULL && b != NULL && memcmp(a, b, n * sizeof *a) == 0);
}

pq_status pq_rescale_between(size_t n, bool padded, pq_scale from, pq_scale to,
                             pq_rescale *out, pq_err *err)
{
    pq_rescale r  = {0};
    pq_status  st = PQ_OK;

    if (same_values(from.mean, to.mean, n) && same_values(from.std, to.std, n)) {
        return PQ_OK;
    }
    PQ_NEW(r.factor, n);
    PQ_NEW(r.summand, n);
    for (size_t i = 0; i < n; i++) {
        const double s = from.std != NULL ? (double)from.std[i] : 1.0;
        const double m = from.mean != NULL ? (double)from.mean[i] : 0.0;
        const double S = to.std != NULL ? (double)to.std[i] : 1.0;
        const double M = to.mean != NULL ? (double)to.mean[i] : 0.0;
        PQ_CHECK(
            S != 0.0, PQ_ERR_NUMERIC,
            "deviation %zu of the model's scaler is 0: values cannot be divided by it",
            i);
        r.factor[i]  = s / S;
        r.summand[i] = (m - M) / S;
    }
    r.n      = n;
    r.padded = padded;
    *out     = r;
    r        = (pq_rescale){0};
cleanup:
    pq_rescale_free(&r);
    return st;
}

pq_status pq_rescale_make(const pq_graph *graph, const pq_dataset_info *info,
                          pq_rescale *out, pq_err *err)
{
    const bool known = info->scaler_mean != NULL && info->scaler_std != NULL;
    size_t     n;
    pq_status  st = PQ_OK;

    if (graph->scaler_mean == NULL || graph->scaler_std == NULL ||
        (!known && info->standardized)) {
        return PQ_OK;
    }
    n = info->sample.ndim == 0 ? 0 : info->sample.dim[info->sample.ndim - 1];
    PQ_CHECK(
        graph->scaler_mean->count == n && graph->scaler_std->count == n, PQ_ERR_SHAPE,
        "the model's scaler has %zu means and %zu deviations, but the events of %s have "
        "%zu features",
        graph->scaler_mean->count, graph->scaler_std->count, info->path, n);
    PQ_TRY(pq_rescale_between(
        n, info->padded,
        known ? (pq_scale){info->scaler_mean, info->scaler_std} : (pq_scale){NULL, NULL},
        (pq_scale){pq_f32(graph->scaler_mean), pq_f32(graph->scaler_std)}, out, err));
cleanup:
    return st;
}

void pq_rescale_apply(const pq_rescale *r, size_t n, float *x)
{
    for (size_t row = 0; r->n > 0 && row < n; row += r->n) {
        if (r->padded && !(x[row + r->n - 1] > 0.0F)) {
            continue;
        }
        for (size_t i = 0; i < r->n - (r->padded ? 1 : 0); i++) {
            x[row + i] = (float)((double)x[row + i] * r->factor[i] + r->summand[i]);
        }
    }
}
