/* pquant model convert: a model in another format. */
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"

static const pq_option options[] = {
    {"output", 'o', "OUT", false, NULL, "where it goes"},
    {"to", 0, "FORMAT", false, NULL,
     "pquant, keras, onnx, qonnx, onnx_integer, safetensors or npz; default by the "
     "ending "
     "of OUT"},
    {"arch", 0, "FILE", false, NULL,
     "architecture beside weights-only files: JSON of Keras, YAML of layers, or a "
     "network "
     "of the zoo"},
    PQ_OUTPUT_LAYER_OPTION,
    PQ_HEAD_OPTION,
    {0},
};

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n > m && strcmp(text + n - m, end) == 0;
}

/* Format of a name that can be written. */
static pq_status find_format(const char *name, const pq_model_format **out, pq_err *err)
{
    pq_text   known = {0};
    pq_status st;

    *out = NULL;
    for (size_t i = 0; pq_formats[i] != NULL; i++) {
        if (pq_formats[i]->save != NULL) {
            pq_text_add(&known, "%s%s", known.length > 0 ? ", " : "",
                        pq_formats[i]->name);
            *out = strcmp(pq_formats[i]->name, name) == 0 ? pq_formats[i] : *out;
        }
    }
    PQ_CHECK(*out != NULL, PQ_ERR_CONFIG, "--to: '%s' is not one of %s", name,
             known.text != NULL ? known.text : "");
cleanup:
    pq_text_free(&known);
    return st;
}

static pq_status run(const pq_args *args, int *exit_code, pq_err *err)
{
    const char *out = pq_args_value(args, "output"), *to = pq_args_value(args, "to");
    const pq_model_format *format;
    pq_graph              *graph = NULL;
    char                   bytes[32];
    pq_status              st;

    (void)exit_code;
    PQ_CHECK(out != NULL, PQ_ERR_CONFIG, "model convert: -o OUT is missing");
    to = to != NULL                       ? to
         : ends_with(out, ".onnx")        ? "onnx"
         : ends_with(out, ".keras")       ? "keras"
         : ends_with(out, ".safetensors") ? "safetensors"
         : ends_with(out, ".npz")         ? "npz"
         : ends_with(out, ".h5")          ? "pquant"
                                          : NULL;
    PQ_CHECK(to != NULL, PQ_ERR_CONFIG,
             "model convert: the ending of '%s' tells no format; give --to", out);
    PQ_TRY(find_format(to, &format, err));
    PQ_TRY(pq_args_model(args, 0, &graph, err));
    PQ_TRY(pq_args_head(args, graph, err));
    PQ_TRY(format->save(graph, out, err));
    if (!pq_args_flag(args, "quiet")) {
        pq_say(stdout, "%s: %s, %s\n", out, format->name,
               pq_bytes_text((double)pq_file_bytes(out), bytes, sizeof bytes));
    }
cleanup:
    pq_graph_free(&graph);
    return st;
}

const pq_verb pq_verb_model_convert = {
    .name      = "model convert",
    .summary   = "a model in another format: ONNX for its runtimes, Keras, or our own",
    .arguments = "MODEL -o OUT",
    .min_args  = 1,
    .max_args  = 1,
    .options   = options,
    .example   = "pquant model convert net.h5 -o net.onnx",
    .run       = run,
};
