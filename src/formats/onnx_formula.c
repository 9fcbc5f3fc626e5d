/*
 * Kinds that exporters write as several operators: GELU by Erf or Erfc, ELU and LeakyRelu
 * by what is above 0 (Greater with Where, or products with the condition as 1 and 0).
 */
#include "formats/onnx_formula.h"

#include <math.h>
#include <string.h>

#include "layers/kinds.h"

static const double root_half = 0.70710678118654752, near = 1e-6;

static bool is_kind(const pq_onnx_import *im, size_t node, const char *kind)
{
    const pq_node *n = &im->graph->nodes[node];

    return strcmp(n->layer->kind->name, kind) == 0 && n->quant == NULL;
}

static double factor_of(const pq_onnx_import *im, size_t node)
{
    return ((const pq_scale_params *)im->graph->nodes[node].layer->params)->factor;
}

/* Finds x, of which a node is c x, by one product or several. */
static bool is_times(const pq_onnx_import *im, size_t node, double c, size_t *x)
{
    double factor = 1.0;

    while (is_kind(im, node, "scale")) {
        factor *= factor_of(im, node);
        node = im->graph->nodes[node].inputs[0];
        if (fabs(factor - c) < near) {
            *x = node;
            return true;
        }
    }
    return false;
}

bool pq_onnx_lie_alike(const pq_onnx_import *im, const pq_onnx_value *a,
                       const pq_onnx_value *b)
{
    size_t count = 0;

    if (a->ndim != b->ndim || a->batch != b->batch || a->n_axes != b->n_axes ||
        memcmp(a->dim, b->dim, a->ndim * sizeof *a->dim) != 0 ||
        memcmp(a->axis, b->axis, a->n_axes * sizeof *a->axis) != 0 ||
        (a->order == NULL) != (b->order == NULL) ||
        !pq_shape_equal(&im->graph->nodes[a->node].shape,
                        &im->graph->nodes[b->node].shape)) {
        return false;
    }
    (void)pq_shape_count(&im->graph->nodes[a->node].shape, &count);
    return a->order == NULL || memcmp(a->order, b->order, count * sizeof *a->order) == 0;
}

pq_status pq_onnx_give_part(pq_onnx_import *im, const pq_onnx_value *like, size_t x,
                            pq_onnx_value part, pq_err *err)
{
    pq_onnx_value *out;
    pq_status      st;

    PQ_TRY(pq_onnx_give_like(im, 0, like, x, err));
    if (im->node->n_out > 0 && im->node->out[0] != PQ_ONNX_NONE) {
        out         = &im->values[im->node->out[0]];
        out->part   = part.part;
        out->other  = part.other;
        out->factor = part.factor;
    }
cleanup:
    return st;
}

static pq_status erf_of(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    size_t               x     = 0;
    bool                 minus = false;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    minus = is_times(im, v->node, -root_half, &x);
    PQ_CHECK(minus || is_times(im, v->node, root_half, &x), PQ_ERR_UNSUPPORTED,
             "only as a part of GELU, of x / sqrt 2");
    PQ_TRY(pq_onnx_give_part(
        im, v, x, (pq_onnx_value){.part = minus ? PQ_ONNX_MINUS_ERF : PQ_ONNX_ERF}, err));
cleanup:
    return st;
}

/* erfc(-x / sqrt 2) is 1 + erf(x / sqrt 2). */
static pq_status erfc_of(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    size_t               x = 0;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_CHECK(is_times(im, v->node, -root_half, &x), PQ_ERR_UNSUPPORTED,
             "only as a part of GELU, of -x / sqrt 2");
    PQ_TRY(pq_onnx_give_part(im, v, x, (pq_onnx_value){.part = PQ_ONNX_ERF_1}, err));
cleanup:
    return st;
}

static pq_status exp_of(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, 0, &v, err));
    PQ_TRY(pq_onnx_give_part(im, v, v->node, (pq_onnx_value){.part = PQ_ONNX_EXP}, err));
cleanup:
    return st;
}

/* x > 0 where `above`, else x < 0, or with 0: all that is read is 0 there. */
static pq_status compare(pq_onnx_import *im, bool above, pq_err *err)
{
    const size_t         at = pq_onnx_is_constant(im, 0) ? 1 : 0;
    const pq_onnx_value *v;
    double               limit;
    pq_status            st;

    PQ_TRY(pq_onnx_active_rows(im, at, &v, err));
    PQ_TRY(pq_onnx_number(im, 1 - at, &limit, err));
    PQ_CHECK(limit == 0.0, PQ_ERR_UNSUPPORTED,
             "it compares with %g; only with 0, as ELU and LeakyRelu do", limit);
    PQ_TRY(pq_onnx_give_part(
        im, v, v->node,
        (pq_onnx_value){.part = above == (at == 0) ? PQ_ONNX_ABOVE : PQ_ONNX_BELOW},
        err));
cleanup:
    return st;
}

static pq_status greater(pq_onnx_import *im, pq_err *err)
{
    return compare(im, true, err);
}

static pq_status less(pq_onnx_import *im, pq_err *err)
{
    return compare(im, false, err);
}

static bool is_condition(const pq_onnx_value *v)
{
    return v->active && (v->part == PQ_ONNX_ABOVE || v->part == PQ_ONNX_BELOW);
}

/* The condition of input 0. */
static pq_status condition_of(const pq_onnx_import *im, const pq_onnx_value **out,
                              pq_err *err)
{
    pq_status st;

    *out = &im->values[im->node->in[0]];
    PQ_CHECK(is_condition(*out), PQ_ERR_UNSUPPORTED,
             "input '%s' is not a comparison of activations with 0",
             im->model->names.text[im->node->in[0]]);
cleanup:
    return st;
}

static pq_status not_of(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v;
    pq_status            st;

    PQ_TRY(condition_of(im, &v, err));
    PQ_TRY(pq_onnx_give_part(
        im, v, v->node,
        (pq_onnx_value){.part = v->part == PQ_ONNX_ABOVE ? PQ_ONNX_BELOW : PQ_ONNX_ABOVE},
        err));
cleanup:
    return st;
}

pq_status pq_onnx_cast_part(pq_onnx_import *im, bool *done, pq_err *err)
{
    const pq_onnx_value *v = &im->values[im->node->in[0]];

    *done = is_condition(v);
    return *done
               ? pq_onnx_give_part(im, v, v->node, (pq_onnx_value){.part = v->part}, err)
               : PQ_OK;
}

pq_status pq_onnx_finish(pq_onnx_import *im, const pq_onnx_value *like, const char *kind,
                         const char *attribute, double value, pq_err *err)
{
    size_t    node;
    pq_status st;

    PQ_TRY(pq_onnx_add_plain(im, "", kind, attribute, value, like->node, &node, err));
    PQ_TRY(pq_onnx_give_like(im, 0, like, node, err));
cleanup:
    return st;
}

/* Node `above` where x > 0, else node `below`: ELU, or LeakyRelu. */
static pq_status choose(pq_onnx_import *im, const pq_onnx_value *like, size_t above,
                        size_t below, pq_err *err)
{
    const pq_graph *g      = im->graph;
    const size_t    x      = like->node;
    double          factor = 1.0;
    pq_status       st;

    PQ_CHECK(above == x || (is_kind(im, above, "elu") && g->nodes[above].inputs[0] == x),
             PQ_ERR_UNSUPPORTED, "what is chosen above 0 is not x itself");
    while (below != x && is_kind(im, below, "scale")) {
        factor *= factor_of(im, below);
        below = g->nodes[below].inputs[0];
    }
    if (below == x) {
        return pq_onnx_finish(im, like, "leaky_relu", "slope", factor, err);
    }
    PQ_CHECK(is_kind(im, below, "elu") && g->nodes[below].inputs[0] == x,
             PQ_ERR_UNSUPPORTED,
             "what is chosen below 0 is neither alpha x nor alpha (exp(x) - 1)");
    factor *= ((const pq_elu_params *)g->nodes[below].layer->params)->alpha;
    return pq_onnx_finish(im, like, "elu", "alpha", factor, err);
cleanup:
    return st;
}

/* Where(x > 0, a, b). */
static pq_status where(pq_onnx_import *im, pq_err *err)
{
    const pq_onnx_value *v, *above, *below;
    size_t               first;
    pq_status            st;

    PQ_TRY(condition_of(im, &v, err));
    first = v->part == PQ_ONNX_ABOVE ? 1 : 2;
    below = &im->values[im->node->in[3 - first]];
    PQ_TRY(pq_onnx_active_rows(im, first, &above, err));
    PQ_CHECK(pq_onnx_lie_alike(im, v, above), PQ_ERR_UNSUPPORTED,
             "its inputs have different shapes, or lie in different orders");
    if (pq_onnx_is_constant(im, 3 - first)) {
        double zero;
        PQ_TRY(pq_onnx_number(im, 3 - first, &zero, err));
        PQ_CHECK(zero == 0.0 && above->node == v->node, PQ_ERR_UNSUPPORTED,
                 "a constant is chosen that is not the 0 of Relu");
        return pq_onnx_finish(im, v, "relu", NULL, 0.0, err);
    }
    PQ_CHECK(below->active && pq_onnx_lie_alike(im, v, below), PQ_ERR_UNSUPPORTED,
             "its inputs have different shapes, or lie in different orders");
    if (below->part == PQ_ONNX_EXP_1 && below->node == v->node &&
        above->node == v->node) {
        return pq_onnx_finish(im, v, "elu", "alpha", below->factor, err);
    }
    PQ_TRY(pq_onnx_active_rows(im, 3 - first, &below, err));
    return choose(im, v, above->node, below->node, err);
cleanup:
    return st;
}

/* (1 + erf) / 2, x (1 + erf), and the products that make GELU of them. */
static pq_status go_on_erf(pq_onnx_import *im, const pq_onnx_step *s, pq_err *err)
{
    const pq_onnx_value *p = s->part, *o = s->other;
    const bool x_itself = o->active && o->part == PQ_ONNX_WHOLE && o->node == p->node &&
                          pq_onnx_lie_alike(im, o, p);
    size_t       x    = SIZE_MAX;
    pq_onnx_part next = PQ_ONNX_WHOLE;
    pq_status    st;

    if ((s->op == '+' && p->part == PQ_ONNX_ERF && s->c == 1.0) ||
        (s->op == '-' && s->at == 1 && p->part == PQ_ONNX_MINUS_ERF && s->c == 1.0)) {
        next = PQ_ONNX_ERF_1;
    } else if (s->op == '*' && p->part == PQ_ONNX_ERF_1 && s->c == 0.5) {
        next = PQ_ONNX_HALF_ERF_1;
    } else if (s->op == '*' && p->part == PQ_ONNX_ERF_1 && x_itself) {
        next = PQ_ONNX_TWICE_GELU;
    } else {
        const bool whole =
            s->op == '*' && ((p->part == PQ_ONNX_TWICE_GELU && s->c == 0.5) ||
                             (p->part == PQ_ONNX_HALF_ERF_1 && x_itself) ||
                             (p->part == PQ_ONNX_ERF_1 && o->active &&
                              o->part == PQ_ONNX_WHOLE && pq_onnx_lie_alike(im, o, p) &&
                              is_times(im, o->node, 0.5, &x) && x == p->node));
        PQ_CHECK(whole, PQ_ERR_UNSUPPORTED, "a formula with Erf is not that of GELU");
        return pq_onnx_finish(im, p, "gelu", NULL, 0.0, err);
    }
    PQ_TRY(pq_onnx_give_part(im, p, p->node, (pq_onnx_value){.part = next}, err));
cleanup:
    return st;
}

/* factor (exp(x) - 1), which is chosen below 0. */
static pq_status go_on_exp(pq_onnx_import *im, const pq_onnx_step *s, pq_err *err)
{
    const bool minus_1 =
        s->part->part == PQ_ONNX_EXP &&
        ((s->op == '-' && s->at == 0 && s->c == 1.0) || (s->op == '+' && s->c == -1.0));
    pq_status st;

    PQ_CHECK(minus_1 ||
                 (s->part->part == PQ_ONNX_EXP_1 && s->op == '*' && isfinite(s->c)),
             PQ_ERR_UNSUPPORTED, "a formula with Exp is not that of ELU");
    PQ_TRY(pq_onnx_give_part(
        im, s->part, s->part->node,
        (pq_onnx_value){.part   = PQ_ONNX_EXP_1,
                        .factor = minus_1 ? 1.0 : s->c * s->part->factor},
        err));
cleanup:
    return st;
}

/* Products with a condition as 1 and 0, and the sum of two of them. */
static pq_status go_on_condition(pq_onnx_import *im, const pq_onnx_step *s, pq_err *err)
{
    const pq_onnx_value *p = s->part, *o = s->other;
    pq_status            st;

    if (s->op == '*' && is_condition(p) && o->active && o->part == PQ_ONNX_WHOLE &&
        o->quant == NULL && pq_onnx_lie_alike(im, p, o)) {
        return pq_onnx_give_part(im, p, p->node,
                                 (pq_onnx_value){.part  = p->part == PQ_ONNX_ABOVE
                                                              ? PQ_ONNX_WHERE_ABOVE
                                                              : PQ_ONNX_WHERE_BELOW,
                                                 .other = o->node},
                                 err);
    }
    PQ_CHECK(s->op == '+' && !is_condition(p) && o->active && o->node == p->node &&
                 o->part == (p->part == PQ_ONNX_WHERE_ABOVE ? PQ_ONNX_WHERE_BELOW
                                                            : PQ_ONNX_WHERE_ABOVE) &&
                 pq_onnx_lie_alike(im, p, o),
             PQ_ERR_UNSUPPORTED,
             "a formula with a comparison is neither that of ELU nor of LeakyRelu");
    return p->part == PQ_ONNX_WHERE_ABOVE ? choose(im, p, p->other, o->other, err)
                                          : choose(im, p, o->other, p->other, err);
cleanup:
    return st;
}

pq_status pq_onnx_go_on(pq_onnx_import *im, char op, bool *done, pq_err *err)
{
    const pq_onnx_value *in[] = {&im->values[im->node->in[0]],
                                 &im->values[im->node->in[1]]};
    const size_t         at   = in[0]->active && in[0]->part != PQ_ONNX_WHOLE ? 0 : 1;
    pq_onnx_step         s    = {op, at, in[at], in[1 - at], (double)NAN};
    pq_status            st   = PQ_OK;

    *done = s.part->active && s.part->part != PQ_ONNX_WHOLE;
    if (!*done) {
        return PQ_OK;
    }
    if (pq_onnx_is_constant(im, 1 - at)) {
        PQ_TRY(pq_onnx_number(im, 1 - at, &s.c, err));
    }
    if (op == '/' && at == 0 && isfinite(s.c) && s.c != 0.0) {
        s.op = '*';
        s.c  = 1.0 / s.c;
    }
    if (pq_onnx_is_norm(s.part)) {
        return pq_onnx_go_on_norm(im, &s, err);
    }
    if (s.part->part == PQ_ONNX_EXP || s.part->part == PQ_ONNX_EXP_1) {
        return go_on_exp(im, &s, err);
    }
    if (is_condition(s.part) || s.part->part == PQ_ONNX_WHERE_ABOVE ||
        s.part->part == PQ_ONNX_WHERE_BELOW) {
        return go_on_condition(im, &s, err);
    }
    return go_on_erf(im, &s, err);
cleanup:
    return st;
}

/* What tf2onnx leaves where it has no operator: the function is not in the file. */
static pq_status call_of_tensorflow(pq_onnx_import *im, pq_err *err)
{
    char      name[200];
    pq_status st;

    PQ_TRY(pq_onnx_text(im->node, "f", "", name, sizeof name, err));
    st = pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "it calls the function '%s' of TensorFlow, which is not in the file",
                    name);
    pq_err_hint(err, "in Keras, model.save(\"net.keras\") writes a file that is read");
cleanup:
    return st;
}

const pq_onnx_operation pq_onnx_formulas[] = {
    {"Erf", 1, 1, erf_of, NULL},
    {"Erfc", 1, 1, erfc_of, NULL},
    {"Exp", 1, 1, exp_of, "consumed_inputs"},
    {"Greater", 2, 2, greater, NULL},
    {"GreaterOrEqual", 2, 2, greater, NULL},
    {"Less", 2, 2, less, NULL},
    {"LessOrEqual", 2, 2, less, NULL},
    {"Not", 1, 1, not_of, NULL},
    {"Where", 3, 3, where, NULL},
    {"StatefulPartitionedCall", 0, SIZE_MAX, call_of_tensorflow, "*"},
    {"PartitionedCall", 0, SIZE_MAX, call_of_tensorflow, "*"},
    {0},
};
