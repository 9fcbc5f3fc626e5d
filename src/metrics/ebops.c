/* Effective bit operations of the circuit. */
#include <math.h>

#include "metrics/metric.h"

static pq_status compute(const pq_evaluation *e, const void *params, pq_values *out,
                         pq_err *err)
{
    pq_status st;

    (void)params;
    PQ_CHECK(e->graph != NULL, PQ_ERR_CONFIG,
             "metric 'ebops' needs the model, not only its outputs");
    PQ_TRY(pq_values_add(out, "ebops", pq_graph_ebops(e->graph), (double)NAN, (double)NAN,
                         0.0, "EBOP", PQ_BETTER_LOWER, err));
cleanup:
    return st;
}

static const char *const values[] = {"ebops", NULL};

const pq_metric pq_metric_ebops = {
    .name    = "ebops",
    .values  = values,
    .summary = "effective bit operations of dense layers and convolutions as a circuit: "
               "width of input times width of weight for each weight (of each core) that "
               "is not zero, plus widths of biases, as whole numbers where input and "
               "kernel have codes; one position of a convolution",
    .source  = "arXiv:2405.00645",
    .version = "2",
    .eventless = true,
    .compute   = compute,
};
