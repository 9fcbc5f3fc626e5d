#include "codegen/verify.h"

#include <math.h>

#include "codegen/compiler.h"
#include "core/memory.h"
#include "core/rng.h"
#include "exec/plan.h"

enum { MOST_EVENTS = 32, RARE = 12 /* one in so many values is far away */ };

/* What the engines, in double and without vectors, multiply in a part of a second. */
static const double operations = 5e7;

static size_t items_of(const pq_graph *graph, size_t node)
{
    size_t n = 0;

    (void)pq_shape_count(&graph->nodes[node].shape, &n);
    return n;
}

static size_t input_items(const pq_graph *graph)
{
    size_t input = 0;

    while (graph->nodes[input].n_inputs > 0) {
        input++;
    }
    return items_of(graph, input);
}

pq_status pq_verify_events(const pq_graph *graph, size_t n, double far, float **raw,
                           float **scaled, pq_err *err)
{
    const size_t items = input_items(graph);
    pq_rng       rng   = pq_rng_stream(1, "codegen");
    pq_status    st;

    PQ_NEW(*raw, n * items);
    PQ_NEW(*scaled, n * items);
    for (size_t i = 0; i < n * items; i++) {
        const bool   is_scaled = graph->scaler_mean != NULL;
        const size_t c         = is_scaled ? i % graph->scaler_mean->count : 0;
        const double m         = is_scaled ? (double)pq_f32(graph->scaler_mean)[c] : 0.0;
        const double s         = is_scaled ? (double)pq_f32(graph->scaler_std)[c] : 1.0;
        const double x         = pq_rng_normal(&rng);

        (*raw)[i] = (float)(m + s * x * (far > 1.0 && i % RARE == RARE - 1 ? far : 1.0));
        (*scaled)[i] = (float)((double)(*raw)[i] * (1.0 / s) + (0.0 - m) / s);
    }
cleanup:
    return st;
}

static size_t events_for(const pq_graph *graph)
{
    double macs = 1.0;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        macs += (double)pq_node_macs(graph, i) + (double)items_of(graph, i);
    }
    return (size_t)fmin(fmax(operations / macs, 1.0), MOST_EVENTS);
}

static bool is_same(float is, float due, double room)
{
    return is == due || (isnan(is) && isnan(due)) ||
           fabs((double)is - (double)due) <= room;
}

static pq_status compare(const char *engine, bool exact, size_t n, size_t width,
                         const float *is, const float *due, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t event = 0; event < n; event++) {
        double largest = 1.0;
        for (size_t k = 0; k < width; k++) {
            largest = fmax(largest, fabs((double)due[event * width + k]));
        }
        for (size_t k = 0; k < width; k++) {
            const float a = is[event * width + k], b = due[event * width + k];
            PQ_CHECK(is_same(a, b, exact ? 0.0 : 1e-5 * largest), PQ_ERR_NUMERIC,
                     "what the compiler '%s' made of generated C gives %.9g for output "
                     "%zu of a drawn event, and engine %s gives %.9g: it is not used",
                     pq_compiler_name(), (double)a, k, engine, (double)b);
        }
    }
cleanup:
    return st;
}

pq_status pq_verify(const pq_graph *graph, pq_run_one one, pq_run_many many, bool whole,
                    bool exact, pq_err *err)
{
    const size_t          n = events_for(graph), width = items_of(graph, graph->output);
    const char           *engine  = whole ? "integer" : "reference";
    const pq_plan_options options = {engine, n};
    pq_plan              *plan    = NULL;
    float                *raw = NULL, *scaled = NULL, *is = NULL, *due = NULL;
    pq_status             st;

    PQ_TRY(pq_verify_events(graph, n, whole ? 1e3 : 1.0, &raw, &scaled, err));
    PQ_NEW(is, n * width);
    PQ_NEW(due, n * width);
    PQ_TRY(pq_plan_create(graph, &options, &plan, err));
    PQ_TRY(pq_plan_run(plan, n, (const float *const[]){scaled}, due, err));
    many(raw, is, n);
    PQ_TRY(compare(engine, exact, n, width, is, due, err));
    for (size_t i = 0; i < n; i++) { /* what blocks leave is another part of it */
        many(raw + i * input_items(graph), is + i * width, 1);
    }
    PQ_TRY(compare(engine, exact, n, width, is, due, err));
    for (size_t i = 0; i < n; i++) {
        one(raw + i * input_items(graph), is + i * width);
    }
    PQ_TRY(compare(engine, exact, n, width, is, due, err));
cleanup:
    pq_plan_free(&plan);
    pq_free(raw);
    pq_free(scaled);
    pq_free(is);
    pq_free(due);
    return st;
}
