/* ONNX whose quantized layers compute in whole numbers: written here, read by onnx.c. */
#include "formats/model.h"
#include "formats/onnx_export.h"

static bool recognises(const char *path)
{
    (void)path;
    return false; /* it is ONNX: onnx.c */
}

static pq_status save(const pq_graph *graph, const char *path, pq_err *err)
{
    return pq_onnx_save_as(graph, PQ_ONNX_AS_INTEGERS, path, err);
}

const pq_model_format pq_model_format_onnx_integer = {
    .name       = "onnx_integer",
    .summary    = "ONNX whose layers of bytes are MatMulInteger and ConvInteger; written "
                  "with --to",
    .source     = "https://github.com/onnx/onnx/blob/main/docs/Operators.md",
    .recognises = recognises,
    .load       = pq_onnx_load,
    .load_output = pq_onnx_load_output,
    .save        = save,
};
