#include <string.h>

#include "core/memory.h"
#include "exec/engine.h"

/* Whether an engine multiplies whole numbers in any layer. */
static pq_status is_whole(const pq_graph *graph, const char *engine, bool *whole,
                          pq_err *err)
{
    pq_plan  *plan = NULL;
    pq_text   text = {0};
    pq_status st;

    PQ_TRY(pq_plan_create(graph, &(pq_plan_options){engine, 1}, &plan, err));
    pq_plan_kernels(plan, &text);
    PQ_CHECK(!text.failed, PQ_ERR_NOMEM, "cannot allocate a list of kernels");
    *whole = text.text != NULL && (strstr(text.text, PQ_KERNEL_NATIVE) != NULL ||
                                   strstr(text.text, PQ_KERNEL_EMULATED) != NULL);
cleanup:
    pq_text_free(&text);
    pq_plan_free(&plan);
    return st;
}

pq_status pq_plan_engines(const pq_graph *graph, const char **engines, size_t *n,
                          pq_err *err)
{
    bool      whole = false;
    pq_status st;

    engines[0] = "float32";
    *n         = 1;
    PQ_TRY(is_whole(graph, "int8", &whole, err));
    if (whole) {
        engines[(*n)++] = "int8";
    }
cleanup:
    return st;
}

void pq_engine_describe(const char *engine, pq_text *out)
{
    const pq_engine *found = NULL;

    if (strcmp(engine, "auto") == 0) {
        pq_engine_describe("float32", out);
        pq_text_add(out, "; ");
        pq_engine_describe("int8", out);
    } else if (pq_engine_find(engine, &found, NULL) == PQ_OK && found->describe != NULL) {
        pq_text_add(out, "%s ", found->name);
        found->describe(out);
    }
}
