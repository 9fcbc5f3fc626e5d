/* Parameters, non-zeros and bytes of a model. */
#include <math.h>

#include "metrics/metric.h"

typedef struct {
    bool biases, norms, statistics;
} size_params;

static const pq_param params[] = {
    {.name     = "biases",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(size_params, biases),
     .fallback = "true",
     .help     = "whether biases count as parameters"},
    {.name     = "norms",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(size_params, norms),
     .fallback = "true",
     .help     = "whether BatchNorm's gamma and beta count as parameters"},
    {.name     = "statistics",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(size_params, statistics),
     .fallback = "false",
     .help     = "whether BatchNorm's moving mean and variance count as parameters"},
    {0},
};

static pq_status add(pq_values *out, const char *name, double value, const char *unit,
                     pq_err *err)
{
    return pq_values_add(out, name, value, (double)NAN, (double)NAN, 0.0, unit,
                         PQ_BETTER_LOWER, err);
}

static pq_status compute(const pq_evaluation *e, const void *values, pq_values *out,
                         pq_err *err)
{
    const size_params *p    = values;
    pq_count_rule      rule = {.biases = true, .norms = true};
    size_t             parameters, nonzero = 0;
    pq_status          st;

    PQ_CHECK(e->graph != NULL, PQ_ERR_CONFIG,
             "metric 'size' needs the model, not only its outputs");
    if (p != NULL) {
        rule = (pq_count_rule){p->biases, p->norms, p->statistics};
    }
    parameters = pq_graph_parameters(e->graph, rule, &nonzero);
    PQ_TRY(add(out, "parameters", (double)parameters, "", err));
    PQ_TRY(add(out, "nonzero", (double)nonzero, "", err));
    PQ_TRY(
        add(out, "stored_bytes", (double)pq_graph_stored_bytes(e->graph), "byte", err));
    PQ_TRY(add(out, "file_bytes", e->file_bytes > 0 ? (double)e->file_bytes : (double)NAN,
               "byte", err));
cleanup:
    return st;
}

static const char *const values[] = {"parameters", "nonzero", "stored_bytes",
                                     "file_bytes", NULL};

const pq_metric pq_metric_size = {
    .name   = "size",
    .values = values,
    .summary =
        "parameters and how many are not zero, under the counting rule chosen; bytes "
        "of all weights at their bit width with scales and indices; bytes of the file",
    .source      = "docs/measurement.md",
    .params      = params,
    .params_size = sizeof(size_params),
    .version     = "1",
    .eventless   = true,
    .compute     = compute,
};
