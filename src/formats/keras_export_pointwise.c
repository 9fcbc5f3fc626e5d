/* Layers of ours that work item by item as layers of Keras. */
#include "formats/keras_export.h"
#include "layers/kinds.h"

static pq_status named_activation(pq_keras_writer *w, const char *activation, pq_err *err)
{
    return pq_keras_simple(w, "Activation", json_pack("{s:s}", "activation", activation),
                           err);
}

static pq_status sigmoid(pq_keras_writer *w, pq_err *err)
{
    return named_activation(w, "sigmoid", err);
}

static pq_status tanh_of(pq_keras_writer *w, pq_err *err)
{
    return named_activation(w, "tanh", err);
}

static pq_status softplus(pq_keras_writer *w, pq_err *err)
{
    return named_activation(w, "softplus", err);
}

static pq_status gelu(pq_keras_writer *w, pq_err *err)
{
    const pq_gelu_params *p = pq_keras_node(w)->layer->params;
    pq_status             st;

    PQ_CHECK(p->form == PQ_GELU_EXACT, PQ_ERR_UNSUPPORTED,
             "a saved model of Keras cannot name the form of gelu by tanh");
    PQ_TRY(named_activation(w, "gelu", err));
cleanup:
    return st;
}

static pq_status put_relu(pq_keras_writer *w, json_t *most, pq_err *err)
{
    return pq_keras_simple(w, "ReLU",
                           json_pack("{s:o, s:f, s:f}", "max_value", most,
                                     "negative_slope", 0.0, "threshold", 0.0),
                           err);
}

static pq_status relu(pq_keras_writer *w, pq_err *err)
{
    return put_relu(w, json_null(), err);
}

static pq_status clip(pq_keras_writer *w, pq_err *err)
{
    const pq_clip_params *p = pq_keras_node(w)->layer->params;
    pq_status             st;

    PQ_CHECK(p->lo == 0.0 && p->hi > 0.0, PQ_ERR_UNSUPPORTED,
             "Keras has no layer that limits values to %g..%g, only from 0 on", p->lo,
             p->hi);
    PQ_TRY(put_relu(w, json_real(p->hi), err));
cleanup:
    return st;
}

static pq_status leaky_relu(pq_keras_writer *w, pq_err *err)
{
    const pq_leaky_relu_params *p = pq_keras_node(w)->layer->params;

    return pq_keras_simple(w, "LeakyReLU", json_pack("{s:f}", "negative_slope", p->slope),
                           err);
}

static pq_status elu(pq_keras_writer *w, pq_err *err)
{
    const pq_elu_params *p = pq_keras_node(w)->layer->params;

    return pq_keras_simple(w, "ELU", json_pack("{s:f}", "alpha", p->alpha), err);
}

static pq_status softmax(pq_keras_writer *w, pq_err *err)
{
    return pq_keras_simple(w, "Softmax", json_pack("{s:i}", "axis", -1), err);
}

static pq_status add(pq_keras_writer *w, pq_err *err)
{
    return pq_keras_simple(w, "Add", json_object(), err);
}

static pq_status multiply(pq_keras_writer *w, pq_err *err)
{
    return pq_keras_simple(w, "Multiply", json_object(), err);
}

static pq_status dropout(pq_keras_writer *w, pq_err *err)
{
    const pq_dropout_params *p = pq_keras_node(w)->layer->params;

    return pq_keras_simple(w, "Dropout", json_pack("{s:f}", "rate", p->rate), err);
}

static pq_status scale(pq_keras_writer *w, pq_err *err)
{
    const pq_scale_params *p = pq_keras_node(w)->layer->params;

    return pq_keras_simple(
        w, "Rescaling", json_pack("{s:f, s:f}", "scale", p->factor, "offset", 0.0), err);
}

const pq_keras_kind pq_keras_pointwise[] = {
    {"relu", relu},         {"leaky_relu", leaky_relu},
    {"clip", clip},         {"elu", elu},
    {"gelu", gelu},         {"softplus", softplus},
    {"sigmoid", sigmoid},   {"tanh", tanh_of},
    {"softmax", softmax},   {"add", add},
    {"multiply", multiply}, {"scale", scale},
    {"dropout", dropout},   {NULL, NULL},
};
