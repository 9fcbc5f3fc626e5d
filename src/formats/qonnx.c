/* QONNX, the form of ONNX that hls4ml and FINN read: written here, read by onnx.c. */
#include "formats/model.h"
#include "formats/onnx_export.h"

static bool recognises(const char *path)
{
    (void)path;
    return false; /* it is ONNX: onnx.c */
}

static pq_status save(const pq_graph *graph, const char *path, pq_err *err)
{
    return pq_onnx_save_as(graph, PQ_ONNX_AS_QONNX, path, err);
}

const pq_model_format pq_model_format_qonnx = {
    .name       = "qonnx",
    .summary    = "ONNX with grids as QONNX's Quant, for hls4ml; written with --to, read "
                  "as onnx",
    .source     = "https://github.com/fastmachinelearning/qonnx",
    .recognises = recognises,
    .load       = pq_onnx_load,
    .load_output = pq_onnx_load_output,
    .save        = save,
};
