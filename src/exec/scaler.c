/* Who scales what: a model's own scaler, taken from a dataset or told in words. */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/rescale.h"

enum { LISTED = 4 /* more features are counted, not listed */ };

/* Of scaled inputs whose scaler was made for them: mean 0, deviation 1. */
static const double mean_most = 3.0, deviation_least = 0.05, deviation_most = 20.0;

const char *const pq_scaler_names[] = {"none", "dataset", NULL};

static bool has_scaler(const pq_graph *graph)
{
    return graph->scaler_mean != NULL && graph->scaler_std != NULL;
}

pq_status pq_scaler_take(pq_graph *graph, const pq_dataset_info *info, pq_err *err)
{
    const size_t n = info->sample.ndim == 0 ? 0 : info->sample.dim[info->sample.ndim - 1];
    const bool   named = graph->feature_names != NULL && info->feature_names != NULL &&
                       graph->n_features <= n;
    const size_t kept  = named ? graph->n_features : n;
    size_t      *order = NULL; /* the model's features among the dataset's */
    pq_status    st    = PQ_OK;

    if (has_scaler(graph)) {
        return PQ_OK;
    }
    PQ_CHECK(info->scaler_mean != NULL && info->scaler_std != NULL, PQ_ERR_CONFIG,
             "%s carries no scaler that the model could take", info->path);
    if (named) {
        PQ_TRY(pq_features_order(info->feature_names, n,
                                 (const char *const *)graph->feature_names, kept,
                                 info->path, &order, err));
    }
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(kept), &graph->scaler_mean, err));
    PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(kept), &graph->scaler_std, err));
    for (size_t i = 0; i < kept; i++) {
        const size_t at               = order != NULL ? order[i] : i;
        pq_f32(graph->scaler_mean)[i] = info->scaler_mean[at];
        pq_f32(graph->scaler_std)[i]  = info->scaler_std[at];
    }
cleanup:
    pq_free(order);
    if (graph->scaler_std == NULL) { /* no half of a scaler stays */
        pq_tensor_free(&graph->scaler_mean);
    }
    return st;
}

bool pq_scaler_is_left(const pq_graph *graph, const pq_dataset_info *info)
{
    return !has_scaler(graph) && info->scaler_mean != NULL && info->scaler_std != NULL &&
           !info->standardized;
}

static void list(pq_text *out, const pq_tensor *t)
{
    for (size_t i = 0; i < t->count; i++) {
        pq_text_add(out, "%s%g", i == 0 ? "" : ", ", (double)pq_f32(t)[i]);
    }
}

void pq_scaler_describe(const pq_graph *graph, pq_text *out)
{
    if (!has_scaler(graph)) {
        pq_text_add(out, "taken as they are: the model has no scaler");
        return;
    }
    pq_text_add(out, "scaled by the model, (x - mean) / deviation");
    if (graph->scaler_mean->count > LISTED) {
        pq_text_add(out, " of %zu features", graph->scaler_mean->count);
        return;
    }
    pq_text_add(out, ", mean ");
    list(out, graph->scaler_mean);
    pq_text_add(out, ", deviation ");
    list(out, graph->scaler_std);
}

void pq_scaler_doubt(const pq_graph *graph, double mean, double deviation, pq_text *out)
{
    if (!has_scaler(graph) || (fabs(mean) <= mean_most && deviation >= deviation_least &&
                               deviation <= deviation_most)) {
        return;
    }
    pq_text_add(out,
                "the inputs do not look like those that the model's scaler was made for: "
                "scaled, they have mean %.3g and deviation %.3g, not near 0 and 1",
                mean, deviation);
}
