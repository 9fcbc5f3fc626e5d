/* pquant codegen: a model as C source. */
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "codegen/codegen.h"
#include "core/memory.h"
#include "formats/model.h"
#include "graph/head.h"

static const pq_option options[] = {
    {"output", 'o', "DIR", false, NULL, "folder that the files are written into"},
    {"name", 0, "NAME", false, "model", "of the files and functions: a C identifier"},
    {"target", 0, "c|hls", false, "c",
     "C for processors, or C++ of a fixed-point model for high-level synthesis"},
    {"isa", 0, "portable|avx2|avxvnni|avx512|amx", false, "amx",
     "highest instruction set with a variant of its own; the processor's best is chosen "
     "when it runs"},
    {"logits", 0, NULL, false, NULL,
     "leave out a softmax at the end: a decision needs none"},
    {"arch", 0, "FILE", false, NULL, "architecture beside weights-only files"},
    PQ_OUTPUT_LAYER_OPTION,
    {0},
};

static pq_status read_isa(const pq_args *args, pq_codegen_isa *out, pq_err *err)
{
    const char *text = pq_args_value(args, "isa");
    pq_status   st   = PQ_OK;
    size_t      i    = 0;

    while (pq_codegen_isas[i] != NULL && strcmp(pq_codegen_isas[i], text) != 0) {
        i++;
    }
    PQ_CHECK(pq_codegen_isas[i] != NULL, PQ_ERR_CONFIG,
             "--isa: '%s' is none of portable, avx2, avxvnni, avx512, amx", text);
    *out = (pq_codegen_isa)i;
cleanup:
    return st;
}

static pq_status read_target(const pq_args *args, bool *hls, pq_err *err)
{
    const char *text = pq_args_value(args, "target");
    pq_status   st   = PQ_OK;

    *hls = strcmp(text, "hls") == 0;
    PQ_CHECK(*hls || strcmp(text, "c") == 0, PQ_ERR_CONFIG,
             "--target: '%s' is none of c, hls", text);
cleanup:
    return st;
}

static void say(const char *folder, const char *name, bool hls,
                const pq_codegen_summary *made)
{
    char stack[32], source[32];

    (void)pq_bytes_text((double)made->source_bytes, source, sizeof source);
    if (hls) {
        pq_say(stdout, "%s/%s.cpp, %s.h, %s_test.cpp: source %s, %zu numbers in tables\n",
               folder, name, name, name, source, made->weights);
        return;
    }
    pq_say(stdout,
           "%s/%s.c, %s.h, %s_test.c, CMakeLists.txt: source %s, %zu numbers in tables, "
           "stack %s a call, %zu blocks of zeros left out\n",
           folder, name, name, name, source, made->weights,
           pq_bytes_text((double)made->stack_bytes, stack, sizeof stack), made->skipped);
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    const char        *folder = pq_args_value(args, "output");
    const char        *name   = pq_args_value(args, "name");
    pq_graph          *graph  = NULL;
    pq_codegen_summary made;
    pq_codegen_isa     isa;
    bool               hls;
    pq_status          st;

    (void)exit_code;
    PQ_CHECK(folder != NULL, PQ_ERR_CONFIG, "codegen: -o DIR is missing");
    st = pq_codegen_check_name(name, err);
    if (st != PQ_OK) {
        pq_err_context(err, "--name");
        goto cleanup;
    }
    PQ_TRY(read_target(args, &hls, err));
    PQ_TRY(read_isa(args, &isa, err));
    PQ_TRY(pq_args_model(args, 0, &graph, err));
    st = pq_graph_check(graph, err);
    if (st == PQ_OK && pq_args_flag(args, "logits")) {
        pq_graph_leave_softmax(graph);
    }
    if (st == PQ_OK) {
        st = hls ? pq_codegen_hls(graph, name, folder, &made, err)
                 : pq_codegen_write(graph, name, isa, folder, &made, err);
    }
    if (st != PQ_OK) {
        pq_err_context(err, "%s", pq_args_get(args, 0));
        goto cleanup;
    }
    if (!pq_args_flag(args, "quiet")) {
        say(folder, name, hls, &made);
    }
cleanup:
    pq_graph_free(&graph);
    return st;
}

const pq_verb pq_verb_codegen = {
    .name      = "codegen",
    .summary   = "write a model as C source that needs nothing of pquant, or as HLS C++",
    .arguments = "MODEL -o DIR",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example   = "pquant codegen datasets/models/jsc-mlp.h5 -o generated --name jets",
    .run       = run,
};
