/* The engine `generated`: a graph as C, compiled and loaded, in the model's scale as the
 * inputs of any engine are. */
#include <stdio.h>

#include "codegen/compiler.h"
#include "codegen/loaded.h"
#include "codegen/whole.h"
#include "core/memory.h"
#include "exec/engine.h"
#include "kernels/cpu.h"

typedef struct {
    pq_op     op;
    pq_loaded code; /* owned */
    char      kernel[64];
} generated_op;

static void run(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch)
{
    (void)scratch;
    ((const generated_op *)op)->code.run(in[0], out, n);
}

static void release(pq_op *op)
{
    pq_loaded_close(&((generated_op *)op)->code);
    pq_free(op);
}

static pq_status prepare_graph(const pq_graph *graph, pq_op **out, pq_text *why,
                               const char **beside, pq_err *err)
{
    generated_op *g      = NULL;
    pq_graph     *scaled = NULL;
    char         *by     = NULL;
    pq_status     st;

    *beside = pq_whole_is(graph) ? "int8" : "float32";
    PQ_TRY(pq_compiler_identity(&by, err));
    if (by == NULL) {
        pq_text_add(why, "no compiler '%s' for generated C", pq_compiler_name());
        return PQ_OK;
    }
    PQ_TRY(pq_graph_clone(graph, &scaled, err));
    PQ_TRY(pq_graph_check(scaled, err));
    pq_tensor_free(&scaled->scaler_mean);
    pq_tensor_free(&scaled->scaler_std);
    PQ_NEW(g, 1);
    g->op.run     = run;
    g->op.release = release;
    g->op.kernel  = g->kernel;
    PQ_TRY(pq_loaded_open(scaled, &g->code, err));
    g->op.weight_bytes = g->code.object_bytes;
    (void)snprintf(g->kernel, sizeof g->kernel, "generated C, %s, %s",
                   g->code.whole ? "whole numbers" : "float32", g->code.isa);
    *out = &g->op;
    g    = NULL;
cleanup:
    if (g != NULL) {
        release(&g->op);
    }
    pq_graph_free(&scaled);
    pq_free(by);
    return st;
}

static void describe(pq_text *out)
{
    char *by = NULL;

    out->failed = pq_compiler_identity(&by, NULL) != PQ_OK || out->failed;
    if (by != NULL) {
        pq_text_add(out, "%s, %s", by, pq_isa_name(pq_cpu_isa()));
    } else {
        pq_text_add(out, "without a compiler, by ");
        pq_engine_describe("auto", out);
    }
    pq_free(by);
}

const pq_engine pq_engine_generated = {
    .name          = "generated",
    .summary       = "C of the whole network, compiled, compared with `integer` or "
                     "`reference`, and loaded",
    .item_bytes    = sizeof(float),
    .describe      = describe,
    .prepare_graph = prepare_graph,
};
