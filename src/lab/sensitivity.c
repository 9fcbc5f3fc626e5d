#include "lab/sensitivity.h"

#include "compress/quantize_alone.h"
#include "core/memory.h"
#include "exec/plan.h"
#include "graph/head.h"

enum { BATCH = 64, LEAST_BITS = 2 };

/* Outputs of n events by float32 kernels; caller frees with pq_free. */
static pq_status run(const pq_graph *graph, size_t n, const float *x, float **out,
                     size_t *width, pq_err *err)
{
    pq_plan  *plan = NULL;
    float    *y    = NULL;
    pq_shape  shape;
    size_t    in = 0;
    pq_status st;

    PQ_TRY(pq_plan_create(graph, &(pq_plan_options){.engine = "float32", .batch = BATCH},
                          &plan, err));
    shape = pq_plan_output_shape(plan);
    (void)pq_shape_count(&shape, width);
    shape = pq_plan_input_shape(plan, 0);
    (void)pq_shape_count(&shape, &in);
    PQ_CHECK(n <= SIZE_MAX / sizeof *y / (*width == 0 ? 1 : *width), PQ_ERR_NOMEM,
             "%zu events of %zu outputs do not fit into memory", n, *width);
    PQ_NEW(y, n * *width);
    for (size_t first = 0; first < n; first += BATCH) {
        const size_t now = n - first < BATCH ? n - first : BATCH;
        PQ_TRY(pq_plan_run(plan, now, (const float *const[]){x + first * in},
                           y + first * *width, err));
    }
    *out = y;
    y    = NULL;
cleanup:
    pq_plan_free(&plan);
    pq_free(y);
    return st;
}

static void compare(size_t n, size_t width, pq_head head, const float *a, const float *b,
                    double *divergence, double *changed)
{
    *divergence = *changed = 0.0;
    for (size_t e = 0; e < n; e++, a += width, b += width) {
        *divergence += pq_head_divergence(head, width, a, b);
        *changed += pq_head_agree(head, width, a, b) ? 0.0 : 1.0;
    }
    *divergence /= (double)n;
    *changed /= (double)n;
}

pq_status pq_sensitivity_measure(const pq_stage *stage, const pq_graph *graph, size_t n,
                                 const float *x, pq_calib *calib, pq_err *err)
{
    const pq_head head  = pq_graph_head(graph);
    pq_graph     *alone = NULL;
    float        *plain = NULL, *y = NULL;
    size_t        width = 0;
    pq_status     st;

    PQ_CHECK(pq_head_no_probability(head) == NULL, PQ_ERR_CONFIG, "width_rule = loss: %s",
             pq_head_no_probability(head));
    PQ_TRY(run(graph, n, x, &plain, &width, err));
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        pq_calib_loss *loss = &calib->losses[i];
        if (!stage->method->accepts(graph, node) ||
            !pq_stage_selects(stage, graph, node)) {
            continue;
        }
        for (int bits = LEAST_BITS; bits <= pq_quantize_bits(stage); bits++) {
            PQ_TRY(pq_quantize_alone(stage, graph, node->name, bits, &alone, err));
            PQ_TRY(run(alone, n, x, &y, &width, err));
            compare(n, width, head, plain, y, &loss->divergence[bits],
                    &loss->changed[bits]);
            pq_graph_free(&alone);
            pq_free(y);
            y = NULL;
        }
        loss->measured = true;
    }
cleanup:
    pq_graph_free(&alone);
    pq_free(plain);
    pq_free(y);
    return st;
}
