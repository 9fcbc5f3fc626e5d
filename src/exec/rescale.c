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

pq_status pq_features_order(const char *const *have, size_t n, const char *const *want,
                            size_t wanted, const char *whose, size_t **order, pq_err *err)
{
    size_t   *found = NULL, twice;
    bool      moves = false;
    pq_status st;

    *order = NULL;
    PQ_TRY(pq_repeated(have, n, &twice, err));
    PQ_CHECK(twice == SIZE_MAX, PQ_ERR_CONFIG, "%s has feature '%s' twice", whose,
             have[twice]);
    PQ_NEW(found, wanted);
    for (size_t i = 0; i < wanted; i++) {
        found[i] =
            i < n && strcmp(have[i], want[i]) == 0 ? i : find_name(have, n, want[i]);
        moves = moves || found[i] != i;
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

/* An order of the first `kept` as swaps: what belongs to i may have been moved on by
 * swaps before. What is left over ends up behind them. */
static pq_status make_swaps(const size_t *order, size_t kept, size_t **out, pq_err *err)
{
    size_t   *swap = NULL;
    pq_status st   = PQ_OK;

    if (order == NULL) {
        return PQ_OK;
    }
    PQ_NEW(swap, kept);
    for (size_t i = 0; i < kept; i++) {
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

pq_status pq_rescale_between(size_t n, size_t kept, bool padded, pq_scale from,
                             pq_scale to, pq_rescale *out, pq_err *err)
{
    const bool   same = same_scales(kept, from, to);
    const size_t last = kept == 0            ? n
                        : from.order != NULL ? from.order[kept - 1]
                                             : kept - 1;
    pq_rescale   r    = {0};
    pq_status    st   = PQ_OK;

    if (same && from.order == NULL && kept == n) {
        return PQ_OK;
    }
    PQ_CHECK(!padded || last + 1 == n, PQ_ERR_CONFIG,
             "the last feature says which rows are there, but is not the model's last");
    PQ_TRY(make_swaps(from.order, kept, &r.swap, err));
    if (!same) {
        PQ_NEW(r.factor, kept);
        PQ_NEW(r.summand, kept);
    }
    for (size_t i = 0; !same && i < kept; i++) {
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
    r.kept   = kept;
    r.padded = padded;
    *out     = r;
    r        = (pq_rescale){0};
cleanup:
    pq_rescale_free(&r);
    return st;
}

/* Order of the file's features for the model, where both name them, and how many the
 * model takes: all, or those of its names. */
static pq_status match_features(const pq_graph *graph, const pq_dataset_info *info,
                                size_t n, size_t *kept, size_t **order, pq_err *err)
{
    const char *const *want = (const char *const *)graph->feature_names;
    pq_status          st;

    *order = NULL;
    *kept  = n;
    if (want == NULL || info->feature_names == NULL) {
        return PQ_OK;
    }
    PQ_CHECK(graph->n_features <= n, PQ_ERR_CONFIG,
             "%s has %zu features, but the model takes %zu", info->path, n,
             graph->n_features);
    *kept = graph->n_features;
    PQ_TRY(
        pq_features_order(info->feature_names, n, want, *kept, info->path, order, err));
cleanup:
    return st;
}

/* Whether a scaler is for events of so many features; where the events are none of the
 * model's at all, that is said. */
static pq_status check_scaler(const pq_graph *graph, const pq_dataset_info *info,
                              size_t n, size_t kept, pq_err *err)
{
    const pq_shape *due   = &graph->nodes[0].shape;
    pq_shape        taken = info->sample;
    size_t          a = 0, b = 0;
    char            x[128], y[128];
    pq_status       st = PQ_OK;

    if (graph->scaler_mean->count == kept && graph->scaler_std->count == kept) {
        return PQ_OK;
    }
    if (taken.ndim > 0) {
        taken.dim[taken.ndim - 1] = kept;
    }
    PQ_CHECK(!pq_shape_count(due, &a) || !pq_shape_count(&taken, &b) || a == b,
             PQ_ERR_SHAPE, "the events of %s are %s, but the model's input is %s",
             info->path, pq_shape_text(&info->sample, x, sizeof x),
             pq_shape_text(due, y, sizeof y));
    PQ_FAIL(
        PQ_ERR_SHAPE,
        "the model's scaler has %zu means and %zu deviations, but the events of %s have "
        "%zu features",
        graph->scaler_mean->count, graph->scaler_std->count, info->path, n);
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
    size_t      *order = NULL, kept;
    pq_scale     from = {0}, to = {0};
    pq_status    st;

    PQ_TRY(match_features(graph, info, n, &kept, &order, err));
    if (own) {
        PQ_TRY(check_scaler(graph, info, n, kept, err));
        to = (pq_scale){pq_f32(graph->scaler_mean), pq_f32(graph->scaler_std), NULL};
    }
    if (own && known) {
        from = (pq_scale){info->scaler_mean, info->scaler_std, NULL};
    }
    from.order = order;
    PQ_TRY(pq_rescale_between(n, kept, info->padded, from, to, out, err));
    out->as_they_are = graph->scaler_mean == NULL || graph->scaler_std == NULL;
cleanup:
    pq_free(order);
    return st;
}

size_t pq_rescale_values(const pq_rescale *r, size_t count)
{
    return r->n > 0 ? count / r->n * r->kept : count;
}

static void swap_features(const pq_rescale *r, float *row)
{
    for (size_t i = 0; r->swap != NULL && i < r->kept; i++) {
        const float kept = row[i];
        row[i]           = row[r->swap[i]];
        row[r->swap[i]]  = kept;
    }
}

void pq_rescale_apply(const pq_rescale *r, size_t n, float *x)
{
    float *to = x;

    for (size_t at = 0; r->n > 0 && at < n; at += r->n, to += r->kept) {
        float     *row   = x + at;
        const bool there = !r->padded || row[r->n - 1] > 0.0F;
        swap_features(r, row);
        for (size_t i = 0; r->factor != NULL && there && i < r->kept - r->padded; i++) {
            row[i] = (float)((double)row[i] * r->factor[i] + r->summand[i]);
        }
        if (r->kept < r->n) {
            memmove(to, row, r->kept * sizeof *to);
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
