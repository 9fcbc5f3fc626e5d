/*
 * LayerNormalization as exporters write it where they have no operator: means, squares
 * and a root over the last axis (PyTorch before opset 17, jax2onnx).
 */
#include "formats/onnx_formula.h"

#include <math.h>
#include <string.h>

/* The mean of x, or of its squares, over its last axis, which stays 1 long. */
pq_status pq_onnx_mean_part(pq_onnx_import *im, bool *done, pq_err *err)
{
    const pq_onnx_value *v = &im->values[im->node->in[0]];
    const pq_node       *n;
    pq_onnx_value        part = {.part = PQ_ONNX_MEAN};
    int64_t              axes[PQ_MAX_DIMS], keep;
    size_t               count, x = v->node;
    pq_status            st;

    *done = false;
    PQ_TRY(pq_onnx_int(im->node, "keepdims", 1, &keep, err));
    PQ_TRY(pq_onnx_axes(im, axes, &count, err));
    if (!v->active || v->quant != NULL || keep == 0 || count != 1 || v->order != NULL ||
        v->n_axes == 0 || v->axis[v->n_axes - 1] == PQ_ONNX_NO_AXIS ||
        axes[0] + (axes[0] < 0 ? (int64_t)v->ndim : 0) != v->axis[v->n_axes - 1]) {
        return PQ_OK;
    }
    if (v->part == PQ_ONNX_CENTERED_SQUARE) {
        part.part = PQ_ONNX_VARIANCE;
    } else if (v->part != PQ_ONNX_WHOLE) {
        return PQ_OK;
    } else {
        n = &im->graph->nodes[v->node];
        if (strcmp(n->layer->kind->name, "multiply") == 0 && n->quant == NULL &&
            n->n_inputs == 2 && n->inputs[0] == n->inputs[1]) {
            part.part = PQ_ONNX_MEAN_OF_SQUARES;
            x         = n->inputs[0];
        }
    }
    *done = true;
    PQ_TRY(pq_onnx_give_part(im, v, x, part, err));
cleanup:
    return st;
}

bool pq_onnx_is_norm(const pq_onnx_value *v)
{
    return v->active && v->part >= PQ_ONNX_MEAN && v->part <= PQ_ONNX_INVERSE;
}

/* What a product, difference or quotient of two values makes. */
static const struct {
    char         op;
    pq_onnx_part a, b, makes; /* PQ_ONNX_WHOLE: x itself, or the whole norm */
} steps[] = {
    {'-', PQ_ONNX_WHOLE, PQ_ONNX_MEAN, PQ_ONNX_CENTERED},
    {'*', PQ_ONNX_CENTERED, PQ_ONNX_CENTERED, PQ_ONNX_CENTERED_SQUARE},
    {'*', PQ_ONNX_MEAN, PQ_ONNX_MEAN, PQ_ONNX_MEAN_SQUARED},
    {'-', PQ_ONNX_MEAN_OF_SQUARES, PQ_ONNX_MEAN_SQUARED, PQ_ONNX_VARIANCE},
    {'/', PQ_ONNX_CENTERED, PQ_ONNX_DEVIATION, PQ_ONNX_WHOLE},
    {'*', PQ_ONNX_CENTERED, PQ_ONNX_INVERSE, PQ_ONNX_WHOLE},
    {'*', PQ_ONNX_INVERSE, PQ_ONNX_CENTERED, PQ_ONNX_WHOLE},
};

/* Output 0 as the part that follows on one, with the epsilon of it. */
static pq_status follow(pq_onnx_import *im, const pq_onnx_value *p, pq_onnx_part part,
                        double epsilon, pq_err *err)
{
    return pq_onnx_give_part(im, p, p->node,
                             (pq_onnx_value){.part = part, .factor = epsilon}, err);
}

pq_status pq_onnx_go_on_norm(pq_onnx_import *im, const pq_onnx_step *s, pq_err *err)
{
    const pq_onnx_value *a = s->at == 0 ? s->part : s->other,
                        *b = s->at == 0 ? s->other : s->part;
    pq_status st;

    if (s->op == '+' && s->part->part == PQ_ONNX_VARIANCE && isfinite(s->c)) {
        return follow(im, s->part, PQ_ONNX_VARIANCE, s->part->factor + s->c, err);
    }
    if (s->op == '/' && s->at == 1 && s->part->part == PQ_ONNX_DEVIATION && s->c == 1.0) {
        return follow(im, s->part, PQ_ONNX_INVERSE, s->part->factor, err);
    }
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (s->op != steps[i].op || !a->active || !b->active || a->part != steps[i].a ||
            b->part != steps[i].b || a->node != b->node || a->quant != NULL ||
            a->factor + b->factor != fmax(a->factor, b->factor) ||
            !pq_onnx_lie_alike(im, a, b)) {
            continue;
        }
        return steps[i].makes == PQ_ONNX_WHOLE
                   ? pq_onnx_finish(im, a, "layer_norm", "epsilon",
                                    fmax(a->factor, b->factor), err)
                   : follow(im, a, steps[i].makes, 0.0, err);
    }
    PQ_FAIL(PQ_ERR_UNSUPPORTED,
            "a formula with a mean over the last axis is not LayerNormalization");
cleanup:
    return st;
}

/* Max(variance, 0): what roundings leave below 0. */
pq_status pq_onnx_max_part(pq_onnx_import *im, bool *done, pq_err *err)
{
    const size_t         at = pq_onnx_is_constant(im, 0) ? 1 : 0;
    const pq_onnx_value *v  = &im->values[im->node->in[at]];
    double               zero;
    pq_status            st = PQ_OK;

    *done = v->active && v->part == PQ_ONNX_VARIANCE && v->factor == 0.0;
    if (*done) {
        PQ_TRY(pq_onnx_number(im, 1 - at, &zero, err));
        PQ_CHECK(zero == 0.0, PQ_ERR_UNSUPPORTED, "a variance is at least %g, not 0",
                 zero);
        PQ_TRY(follow(im, v, PQ_ONNX_VARIANCE, 0.0, err));
    }
cleanup:
    return st;
}

static pq_status root(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v = &im->values[im->node->in[0]];
    pq_status            st;

    PQ_CHECK(v->active && v->part == PQ_ONNX_VARIANCE, PQ_ERR_UNSUPPORTED,
             "of activations it is read only as a part of LayerNormalization");
    PQ_TRY(follow(im, v, PQ_ONNX_DEVIATION, v->factor, err));
cleanup:
    return st;
}

static pq_status reciprocal(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v = &im->values[im->node->in[0]];
    pq_status            st;

    PQ_CHECK(v->active && v->part == PQ_ONNX_DEVIATION, PQ_ERR_UNSUPPORTED,
             "it is read only as a part of LayerNormalization");
    PQ_TRY(follow(im, v, PQ_ONNX_INVERSE, v->factor, err));
cleanup:
    return st;
}

static pq_status power(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v = &im->values[im->node->in[0]];
    double               exponent;
    pq_status            st;

    PQ_TRY(pq_onnx_number(im, 1, &exponent, err));
    PQ_CHECK(exponent == 2.0 && v->active &&
                 (v->part == PQ_ONNX_CENTERED || v->part == PQ_ONNX_MEAN),
             PQ_ERR_UNSUPPORTED,
             "it is read only as a square, as a part of LayerNormalization");
    PQ_TRY(follow(
        im, v, v->part == PQ_ONNX_MEAN ? PQ_ONNX_MEAN_SQUARED : PQ_ONNX_CENTERED_SQUARE,
        0.0, err));
cleanup:
    return st;
}

pq_status pq_onnx_join_norm(pq_onnx_import *im, const pq_onnx_value *v, const double *x,
                            bool factor, bool *done, pq_err *err)
{
    pq_node   *node = &im->graph->nodes[v->node];
    pq_tensor *t    = NULL, *taken;
    pq_status  st   = PQ_OK;

    *done = strcmp(node->layer->kind->name, "layer_norm") == 0 && node->quant == NULL &&
            pq_layer_weight(node->layer, "beta") == NULL &&
            (!factor || pq_layer_weight(node->layer, "gamma") == NULL) &&
            pq_onnx_is_alone(im, v);
    if (*done) {
        PQ_TRY(pq_tensor_create(
            PQ_DTYPE_F32, PQ_SHAPE(node->shape.dim[node->shape.ndim - 1]), &t, err));
        for (size_t i = 0; i < t->count; i++) {
            pq_f32(t)[i] = (float)x[i];
        }
        taken = t;
        t     = NULL;
        PQ_TRY(pq_layer_add_weight(node->layer, factor ? "gamma" : "beta", taken, err));
    }
cleanup:
    pq_tensor_free(&t);
    return st;
}

const pq_onnx_operation pq_onnx_norms[] = {
    {"Sqrt", 1, 1, root, NULL},
    {"Reciprocal", 1, 1, reciprocal, NULL},
    {"Pow", 2, 2, power, NULL},
    {0},
};
