#include "sweep/engines.h"

#include <string.h>

#include "exec/plan.h"
#include "sweep/cell.h"

const char *pq_chosen_engine(int choice)
{
    return pq_engine_named(pq_engine_choices[choice]);
}

static bool is_auto(int choice)
{
    return strcmp(pq_engine_choices[choice], "auto") == 0;
}

const char *pq_evaluating_engine(const pq_config *config)
{
    return is_auto(config->evaluate.engine) ? "float32"
                                            : pq_chosen_engine(config->evaluate.engine);
}

bool pq_evaluates_twice(const pq_config *config)
{
    return is_auto(config->evaluate.engine);
}

const char *pq_stage_engine(const pq_config *config)
{
    return is_auto(config->latency.engine) ? "float32"
                                           : pq_chosen_engine(config->latency.engine);
}

pq_status pq_timed_engines(const pq_config *config, const pq_graph *graph,
                           const char **engines, size_t *n, pq_err *err)
{
    const char *predicts = pq_evaluating_engine(config);

    engines[0] = predicts;
    *n         = 1;
    if (!is_auto(config->latency.engine)) {
        engines[0] = pq_chosen_engine(config->latency.engine);
    } else if (is_auto(config->evaluate.engine) || strcmp(predicts, "reference") == 0 ||
               strcmp(predicts, "integer") == 0) { /* those two are oracles */
        return pq_plan_engines(graph, engines, n, err);
    }
    return PQ_OK;
}

/* Whether two engines decide an event differently; where outputs decide nothing, whether
 * they differ. */
static bool differs_in(const pq_evaluated *first, const pq_evaluated *other, size_t event)
{
    const size_t width = first->width;
    const float *a = first->outputs + event * width, *b = other->outputs + event * width;

    return first->decided ? pq_head_decide(first->head, width, a) !=
                                pq_head_decide(other->head, width, b)
                          : memcmp(a, b, width * sizeof *a) != 0;
}

pq_status pq_record_engine(json_t *record, const char *engine, const pq_evaluated *first,
                           const pq_evaluated *other, pq_err *err)
{
    size_t    differs = 0;
    json_t   *engines, *entry;
    pq_status st = PQ_OK;

    for (size_t i = 0; i < other->n; i++) {
        differs += differs_in(first, other, i);
    }
    entry = json_pack("{s:{}, s:s, s:I}", "metrics", "kernels", other->kernels, "differs",
                      (json_int_t)differs);
    engines = json_object();
    for (size_t i = 0; i < other->values.n && st == PQ_OK; i++) {
        st = pq_record_metric(entry, &other->values.items[i], err);
    }
    PQ_TRY(st);
    PQ_CHECK(json_object_set(engines, engine, entry) == 0 &&
                 json_object_set(record, "engines", engines) == 0,
             PQ_ERR_NOMEM, "cannot allocate a record");
cleanup:
    json_decref(entry);
    json_decref(engines);
    return st;
}
