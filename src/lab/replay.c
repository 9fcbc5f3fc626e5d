#include "lab/replay.h"

#include "lab/calibrate.h"

static pq_status run(void *context, const pq_graph *graph, size_t node,
                     pq_replay_seen seen, void *sink, pq_err *err)
{
    const pq_replay_options *o       = context;
    const pq_plan_options    options = {.engine = "float32", .batch = PQ_CALIB_BATCH};
    pq_graph                *part    = NULL;
    pq_plan                 *plan    = NULL;
    pq_status                st;

    PQ_TRY(pq_graph_clone(graph, &part, err));
    part->output = node; /* a plan leaves out what its output does not depend on */
    PQ_TRY(pq_plan_create(part, &options, &plan, err));
    PQ_TRY(pq_calib_run(plan, part, o->dataset, o->split, o->events, o->seed, seen, sink,
                        err));
cleanup:
    pq_plan_free(&plan);
    pq_graph_free(&part);
    return st;
}

pq_status pq_replay_of(pq_replay_options *options, pq_replay *out, pq_err *err)
{
    *out = (pq_replay){.run = run, .context = options};
    return pq_calib_count(options->dataset, options->split, options->events, &out->events,
                          err);
}
