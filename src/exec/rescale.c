#include "exec/rescale.h"

#include <string.h>

#include "core/memory.h"

void pq_rescale_free(pq_rescale *r)
{
    pq_free(r->swap);
    pq_free(r->factor);
    pq_free(r->summand);
    *r = (pq_rescale){0};
}

static size_t find_name(const char *const *names, size_t n, const char *name)
{
    size_t at = 0;

    while (at < n && strcmp(names[at], name) != 0) {
        at++;
    }
    return at;
}

pq_status pq_features_order(const char *const *have, const char *const *want, size_t n,
                            const char *whose, size_t **order, pq_err *err)
{
    size_t   *found = NULL, twice;
    bool      moves = false;
    pq_status st;

    *order = NULL;
    PQ_TRY(pq_repeated(have, n, &twice, err));
    PQ_CHECK(twice == SIZE_MAX, PQ_ERR_CONFIG, "%s has feature '%s' twice", whose,
             have[twice]);
    PQ_NEW(found, n);
    for (size_t i = 0; i < n; i++) {
        found[i] = strcmp(have[i], want[i]) == 0 ? i : find_name(have, n, want[i]);
        moves    = moves || found[i] != i;
        if (found[i] == n) {
            const char *near = pq_nearest(want[i], have, n);
            PQ_FAIL(PQ_ERR_CONFIG, "%s has no feature '%s', which the model takes%s%s%s",
                    whose, want[i], near != NULL ? "; did you mean '" : "",
                    near != NULL ? near : "", near != NULL ? "'?" : "");
        }
    }
    if (moves) {
        *order = found;
        found  = NULL;
    }
cleanup:
    pq_free(found);
    return st;
}

/* An order as swaps: what belongs to i may have been moved on by swaps before. */
static pq_status make_swaps(const size_t *order, size_t n, size_t **out, pq_err *err)
{
    size_t   *swap = NULL;
    pq_status st   = PQ_OK;

    if (order == NULL) {
        return PQ_OK;
    }
    PQ_NEW(swap, n);
    for (size_t i = 0; i < n; i++) {
        swap[i] = order[i];
        while (swap[i] < i) {
            swap[i] = swap[swap[i]];
        }
    }
    *out = swap;
cleanup:
    return st;
}

static float value_or(const float *values, const size_t *order, size_t i, float fallback)
{
    return values == NULL ? fallback : values[order != NULL ? order[i] : i];
}

static bool same_scales(size_t n, pq_scale a, pq_scale b)
{
    bool same = true;

    for (size_t i = 0; i < n; i++) {
        same =
            same && value_or(a.mean, a.order, i, 0.0F) == value_or(b.mean, NULL, i, 0.0F);
        same =
            same && value_or(a.std, a.order, i, 1.0F) == value_or(b.std, NULL, i, 1.0F);
    }
    return same;
}

pq_status pq_rescale_between(size_t n, bool padded, pq_scale from, pq_scale to,
                             pq_rescale *out, pq_err *err)
{
    const bool same = same_scales(n, from, to);
    pq_rescale r    = {0};
    pq_status  st   = PQ_OK;

    if (same && from.order == NULL) {
        return PQ_OK;
    }
    PQ_CHECK(!padded || from.order == NULL || from.order[n - 1] == n - 1, PQ_ERR_CONFIG,
             "the last feature says which rows are there, but is not the model's last");
    PQ_TRY(make_swaps(from.order, n, &r.swap, err));
    if (!same) {
        PQ_NEW(r.factor, n);
        PQ_NEW(r.summand, n);
    }
    for (size_t i = 0; !same && i < n; i++) {
        const double s = (double)value_or(from.std, from.order, i, 1.0F);
        const double m = (double)value_or(from.mean, from.order, i, 0.0F);
        const double S = (double)value_or(to.std, NULL, i, 1.0F);
        const double M = (double)value_or(to.mean, NULL, i, 0.0F);
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

/* Order of the file's features for the model, where both name them. */
static pq_status match_features(const pq_graph *graph, const pq_dataset_info *info,
                                size_t n, size_t **order, pq_err *err)
{
    const char *const *want = (const char *const *)graph->feature_names;
    pq_status          st;

    *order = NULL;
    if (want == NULL || info->feature_names == NULL) {
        return PQ_OK;
    }
    for (size_t i = 0; i < n && graph->n_features != n; i++) {
        if (find_name(want, graph->n_features, info->feature_names[i]) ==
            graph->n_features) {
            st =
                pq_err_set(err, PQ_ERR_CONFIG, __FILE__, __LINE__,
                           "%s has feature '%s', which is none of the %zu that the model "
                           "takes",
                           info->path, info->feature_names[i], graph->n_features);
            pq_err_hint(err, "name the model's features: `inputs` of the dataset");
            goto cleanup;
        }
    }
    PQ_CHECK(graph->n_features == n, PQ_ERR_CONFIG,
             "%s has %zu features, but the model takes %zu", info->path, n,
             graph->n_features);
    PQ_TRY(pq_features_order(info->feature_names, want, n, info->path, order, err));
cleanup:
    return st;
}

pq_status pq_rescale_make(const pq_graph *graph, const pq_dataset_info *info,
                          pq_rescale *out, pq_err *err)
{
    const bool known = info->scaler_mean != NULL && info->scaler_std != NULL;
    const bool own   = graph->scaler_mean != NULL && graph->scaler_std != NULL &&
                     (known || !info->standardized);
    const size_t n = info->sample.ndim == 0 ? 0 : info->sample.dim[info->sample.ndim - 1];
    size_t      *order = NULL;
    pq_scale     from = {0}, to = {0};
    pq_status    st;

    PQ_TRY(match_features(graph, info, n, &order, err));
    PQ_CHECK(
        !own || (graph->scaler_mean->count == n && graph->scaler_std->count == n),
        PQ_ERR_SHAPE,
        "the model's scaler has %zu means and %zu deviations, but the events of %s have "
        "%zu features",
        graph->scaler_mean->count, graph->scaler_std->count, info->path, n);
    if (own) {
        to = (pq_scale){pq_f32(graph->scaler_mean), pq_f32(graph->scaler_std), NULL};
    }
    if (own && known) {
        from = (pq_scale){info->scaler_mean, info->scaler_std, NULL};
    }
    from.order = order;
    PQ_TRY(pq_rescale_between(n, info->padded, from, to, out, err));
    out->as_they_are = graph->scaler_mean == NULL || graph->scaler_std == NULL;
cleanup:
    pq_free(order);
    return st;
}

static void swap_features(const pq_rescale *r, float *row)
{
    for (size_t i = 0; r->swap != NULL && i < r->n; i++) {
        const float kept = row[i];
        row[i]           = row[r->swap[i]];
        row[r->swap[i]]  = kept;
    }
}

void pq_rescale_apply(const pq_rescale *r, size_t n, float *x)
{
    for (size_t row = 0; r->n > 0 && row < n; row += r->n) {
        swap_features(r, x + row);
        if (r->factor == NULL || (r->padded && !(x[row + r->n - 1] > 0.0F))) {
            continue;
        }
        for (size_t i = 0; i < r->n - (r->padded ? 1 : 0); i++) {
            x[row + i] = (float)((double)x[row + i] * r->factor[i] + r->summand[i]);
        }
    }
}

pq_status pq_rescale_read(const pq_rescale *r, pq_dataset *dataset, size_t split,
                          size_t first, size_t n, const pq_batch *batch, pq_err *err)
{
    size_t    count = 0;
    pq_status st;

    (void)pq_shape_count(&pq_dataset_describe(dataset)->sample, &count);
    st = r->as_they_are ? pq_dataset_read_unscaled(dataset, split, first, n, batch, err)
                        : pq_dataset_read(dataset, split, first, n, batch, err);
    if (st == PQ_OK && batch->x != NULL) {
        pq_rescale_apply(r, n * count, batch->x);
    }
    return st;
}
