#include <string.h>

#include "core/memory.h"
#include "exec/engine.h"
#include "kernels/bytes.h"

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
    const pq_engine *found = NULL;
    bool             whole = false;
    pq_status        st    = PQ_OK;

    engines[0] = "blas";
    *n         = 1;
    if (pq_engine_find("onednn", &found, NULL) != PQ_OK) { /* not in this build */
        return PQ_OK;
    }
    PQ_TRY(is_whole(graph, "onednn", &whole, err));
    if (whole) {
        engines[(*n)++] = "onednn";
    }
cleanup:
    return st;
}

void pq_engine_describe(const char *engine, pq_text *out)
{
    const bool       any   = strcmp(engine, "auto") == 0;
    const pq_engine *found = NULL;

    if (any || pq_engine_find(engine, &found, NULL) != PQ_OK || found->isa == NULL) {
        pq_text_add(out, "%s", pq_isa_name(pq_cpu_isa()));
    }
    if (any) {
        (void)pq_engine_find("onednn", &found, NULL);
    }
    if (found != NULL && found->isa != NULL) {
        pq_text_add(out, "%s%s%s", any ? ", oneDNN " : "oneDNN ", found->isa(),
                    pq_bytes_find() != NULL ? ", bytes vnni" : "");
    }
}
