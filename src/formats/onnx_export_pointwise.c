/* Functions of single numbers as operators of ONNX. */
#include <math.h>

#include "core/memory.h"
#include "formats/onnx_export_layers.h"
#include "layers/kinds.h"

/* One operator over input 0 as it is there, with constants. */
static pq_status simple(pq_onnx_export *ex, const char *op, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_onnx_begin_over(ex, op, pq_onnx_layout(ex, 0), 0, NULL, err));
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status with_real(pq_onnx_export *ex, const char *op, const char *name, double x,
                           pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_onnx_begin_over(ex, op, pq_onnx_layout(ex, 0), 0, NULL, err));
    pq_onnx_put_real(ex, name, x);
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status relu(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Relu", err);
}

static pq_status sigmoid(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Sigmoid", err);
}

static pq_status tanh_of(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Tanh", err);
}

static pq_status softplus(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Softplus", err);
}

static pq_status identity(pq_onnx_export *ex, pq_err *err)
{
    return simple(ex, "Identity", err);
}

static pq_status leaky_relu(pq_onnx_export *ex, pq_err *err)
{
    return with_real(
        ex, "LeakyRelu", "alpha",
        ((const pq_leaky_relu_params *)pq_onnx_node_at_hand(ex)->layer->params)->slope,
        err);
}

static pq_status elu(pq_onnx_export *ex, pq_err *err)
{
    return with_real(
        ex, "Elu", "alpha",
        ((const pq_elu_params *)pq_onnx_node_at_hand(ex)->layer->params)->alpha, err);
}

static pq_status gelu(pq_onnx_export *ex, pq_err *err)
{
    const pq_gelu_params *p = pq_onnx_node_at_hand(ex)->layer->params;
    pq_status             st;

    PQ_TRY(pq_onnx_begin_over(ex, "Gelu", pq_onnx_layout(ex, 0), 0, NULL, err));
    pq_onnx_put_text(ex, "approximate", p->form == PQ_GELU_TANH ? "tanh" : "none");
    pq_onnx_end(ex);
cleanup:
    return st;
}

static pq_status softmax(pq_onnx_export *ex, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_onnx_begin_over(ex, "Softmax", PQ_ONNX_OURS, 0, NULL, err));
    pq_onnx_put_int(ex, "axis", -1);
    pq_onnx_end(ex);
cleanup:
    return st;
}

/* An operator with constants that are numbers. */
static pq_status with_numbers(pq_onnx_export *ex, const char *op, size_t n,
                              const double *x, pq_err *err)
{
    char     *names[PQ_ONNX_MOST_CONSTANTS] = {NULL};
    pq_status st                            = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_onnx_put_number(ex, "number", (float)x[i], &names[i], err));
    }
    PQ_TRY(pq_onnx_begin_over(ex, op, pq_onnx_layout(ex, 0), n, names, err));
    pq_onnx_end(ex);
cleanup:
    pq_onnx_free_names(names, n);
    return st;
}

/* One more operator over what stands for the node so far, with a number unless that is
 * NaN. */
static pq_status behind(pq_onnx_export *ex, const char *op, double number, pq_err *err)
{
    const int layout = pq_onnx_layout(ex, 0);
    char     *before = ex->value[ex->at][layout], *constant = NULL;
    char     *out = pq_onnx_name(ex, "");
    pq_status st  = PQ_OK;

    ex->value[ex->at][layout] = out;
    PQ_CHECK(out != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    if (!isnan(number)) {
        PQ_TRY(pq_onnx_put_number(ex, "number", (float)number, &constant, err));
    }
    pq_onnx_begin(ex, op, constant != NULL ? 2 : 1,
                  (const char *const[]){before, constant}, out);
    pq_onnx_end(ex);
cleanup:
    pq_free(before);
    pq_free(constant);
    return st;
}

static pq_status clip(pq_onnx_export *ex, pq_err *err)
{
    const pq_clip_params *p = pq_onnx_node_at_hand(ex)->layer->params;

    return with_numbers(ex, "Clip", 2, (const double[]){p->lo, p->hi}, err);
}

static pq_status scale(pq_onnx_export *ex, pq_err *err)
{
    const pq_scale_params *p = pq_onnx_node_at_hand(ex)->layer->params;

    return p->factor == 1.0 ? identity(ex, err)
                            : with_numbers(ex, "Mul", 1, &p->factor, err);
}

/* Of two values alone: the sign of 2 sign(x) + 1, or of 2 sign(x) - 1. */
static pq_status sign(pq_onnx_export *ex, pq_err *err)
{
    const pq_sign_params *p = pq_onnx_node_at_hand(ex)->layer->params;
    pq_status             st;

    PQ_CHECK(p->threshold == 0.0, PQ_ERR_UNSUPPORTED,
             "no operator of ONNX has its threshold of %g", p->threshold);
    PQ_TRY(simple(ex, "Sign", err));
    if (p->zero != 0.0) {
        PQ_TRY(behind(ex, "Mul", 2.0, err));
        PQ_TRY(behind(ex, "Add", p->zero, err));
        PQ_TRY(behind(ex, "Sign", (double)NAN, err));
    }
cleanup:
    return st;
}

const pq_onnx_writer pq_onnx_pointwise_writers[] = {
    {"relu", relu},
    {"leaky_relu", leaky_relu},
    {"clip", clip},
    {"elu", elu},
    {"gelu", gelu},
    {"softplus", softplus},
    {"sigmoid", sigmoid},
    {"tanh", tanh_of},
    {"softmax", softmax},
    {"scale", scale},
    {"sign", sign},
    {"dropout", identity},
    {0},
};
