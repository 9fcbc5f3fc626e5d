/*
 * pquant's side of the comparison, as a shared library that contender.py loads: a model
 * file run by an engine on one thread, or on several (exec/crew.h).
 */
#include <stdio.h>

#include "core/clock.h"
#include "exec/crew.h"
#include "formats/model.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void bench_close(void *handle)
{
    pq_crew *crew = handle;

    pq_crew_free(&crew);
}

/* A model file for up to `batch` samples, or NULL with the reason on stderr. */
EXPORT void *bench_open(const char *path, const char *engine, size_t batch,
                        size_t threads)
{
    const pq_plan_options options = {engine, batch};
    pq_graph             *graph   = NULL;
    pq_crew              *crew    = NULL;
    pq_err                err     = {0};

    if (pq_model_load(path, NULL, &graph, &err) != PQ_OK ||
        pq_graph_check(graph, &err) != PQ_OK ||
        pq_crew_create(graph, &options, threads, &crew, &err) != PQ_OK) {
        (void)fprintf(stderr, "ours: %s\n", err.message);
    }
    pq_graph_free(&graph);
    return crew;
}

/* Kernels that a plan chose; valid until the next call. */
EXPORT const char *bench_kernels(void *handle)
{
    static char text[512];
    pq_text     list = {0};

    pq_plan_kernels(pq_crew_plan(handle), &list);
    (void)snprintf(text, sizeof text, "%s", list.text != NULL ? list.text : "");
    pq_text_free(&list);
    return text;
}

EXPORT int bench_run(void *handle, const float *x, size_t n, float *y)
{
    return (int)pq_crew_run(handle, n, &x, y, NULL);
}

/* Seconds of `calls` runs, without the cost of calling from another language. */
EXPORT double bench_seconds(void *handle, const float *x, size_t n, float *y,
                            size_t calls)
{
    const double start = pq_clock_wall_s();

    for (size_t i = 0; i < calls; i++) {
        (void)bench_run(handle, x, n, y);
    }
    return pq_clock_wall_s() - start;
}
