/* What each kind of layer appends to HLS C++, and which it refuses. */
#include <math.h>
#include <string.h>

#include "codegen/hls.h"
#include "core/memory.h"
#include "exec/codes.h"
#include "exec/units.h"
#include "layers/kinds.h"
#include "layers/moves.h"

static const pq_hls_type *type_of(const pq_hls *h, size_t node, size_t input)
{
    return &h->type[h->graph->nodes[node].inputs[input]];
}

/* `v<node>[index] = expression;`, through the grid where there is one. */
static void store(pq_hls *h, size_t node, const char *index, const char *expression)
{
    const pq_quant *q = h->type[node].grid;

    pq_text_add(&h->body, "v%zu[%s] = %s;\n", node, index,
                q != NULL && q->width[0] == 0 ? "0 /* no bits */" : expression);
}

/* A loop over n items, side by side where they are few. */
static void open_loop(pq_hls *h, const char *name, size_t n, bool unrolled)
{
    pq_text_add(&h->body, "    for (int %s = 0; %s < %zu; %s++) {\n", name, name, n,
                name);
    if (unrolled) {
        pq_text_add(&h->body, "#pragma HLS UNROLL\n");
    }
}

pq_status pq_hls_input(pq_hls *h, size_t node, pq_err *err)
{
    const pq_quant *q     = h->graph->nodes[node].quant;
    pq_hls_type     exact = {0};
    pq_status       st    = PQ_OK;

    PQ_CHECK(q != NULL, PQ_ERR_UNSUPPORTED,
             "its values are on no grid: HLS C++ takes features in fixed point");
    PQ_TRY(pq_hls_hold(h, node, &exact, err));
    open_loop(h, "i", pq_hls_items(h, node), true);
    pq_text_add(&h->body, "        ");
    store(h, node, "i", "x[i]");
    pq_text_add(&h->body, "    }\n");
cleanup:
    return st;
}

/* --- dense and conv2d --- */

typedef struct {
    const pq_units *u;
    pq_window       v; /* dense: rows in a line */
    size_t          groups;
} linear;

static pq_status place(const pq_hls *h, size_t node, linear *l, pq_err *err)
{
    const pq_node  *at  = &h->graph->nodes[node];
    const size_t    in  = pq_hls_items(h, at->inputs[0]) / l->u->length;
    const pq_window row = {1, 1, 1, 1, 1, 1, 0, 0, 1, in, l->u->length, 1, in};
    pq_status       st  = PQ_OK;

    l->v      = row;
    l->groups = 1;
    if (strcmp(at->layer->kind->name, "conv2d") == 0) {
        PQ_TRY(pq_conv2d_window(at->layer, &h->graph->nodes[at->inputs[0]].shape, &l->v,
                                err));
        l->groups = (size_t)((const pq_conv2d_params *)at->layer->params)->groups;
    }
cleanup:
    return st;
}

/* Weights and biases as numbers, and the type of all partial sums. */
static pq_status linear_tables(pq_hls *h, size_t node, const pq_units *u,
                               pq_hls_type *sum, pq_err *err)
{
    const pq_hls_type *in      = type_of(h, node, 0);
    const double       reach   = fmax(-in->lo, in->hi);
    double            *weights = NULL, *bias = NULL;
    pq_status          st;

    PQ_NEW(weights, u->outputs * u->length);
    PQ_NEW(bias, u->outputs);
    *sum = (pq_hls_type){0};
    for (size_t o = 0; o < u->outputs; o++) {
        const double unit  = ldexp(u->multiplier[o], in->fraction);
        bool         any   = false;
        double       bound = 0.0;
        bias[o]            = (double)u->bias[o] * u->multiplier[o];
        for (size_t i = 0; i < u->length; i++) {
            const int32_t w            = u->weight[o * u->length + i];
            any                        = any || w != 0;
            weights[o * u->length + i] = w == 0 ? 0.0 : w * unit;
            bound += fabs(weights[o * u->length + i]) * reach;
        }
        PQ_CHECK(!any || frexp(unit, &(int){0}) == 0.5, PQ_ERR_UNSUPPORTED,
                 "its kernel has the scale %g, no power of two; HLS C++ holds fixed "
                 "point (quantize: format=fixed)",
                 unit);
        bound += fabs(bias[o]);
        const pq_hls_type one = {
            -bound, bound,
            any ? pq_hls_fraction(u->multiplier[o]) : pq_hls_fraction(bias[o]), NULL};
        *sum = pq_hls_both(sum, &one);
    }
    PQ_TRY(pq_hls_table(h, node, 'w', u->outputs * u->length, weights, err));
    PQ_TRY(pq_hls_table(h, node, 'b', u->outputs, bias, err));
cleanup:
    pq_free(weights);
    pq_free(bias);
    return st;
}

static void linear_loops(pq_hls *h, size_t node, const linear *l)
{
    const pq_window *v    = &l->v;
    const size_t     in   = h->graph->nodes[node].inputs[0];
    const size_t     deep = v->channels / l->groups;
    const bool       flat = l->u->outputs * l->u->length <= PQ_HLS_UNROLLED;

    open_loop(h, "p", v->out_h, false);
    open_loop(h, "q", v->out_w, false);
    pq_text_add(&h->body, "#pragma HLS PIPELINE\n");
    open_loop(h, "o", l->u->outputs, flat);
    pq_text_add(&h->body, "        v%zu_sum s = %s_code<t%zub_t>(t%zub[o]);\n", node,
                h->name, node, node);
    open_loop(h, "a", v->kernel_h, flat);
    open_loop(h, "b", v->kernel_w, flat);
    pq_text_add(&h->body,
                "        const int r = p * %zu + a * %zu - %zu, c = q * %zu + b * %zu - "
                "%zu;\n"
                "        if (r < 0 || r >= %zu || c < 0 || c >= %zu) {\n"
                "            continue;\n        }\n",
                v->stride_h, v->dilation_h, v->pad_top, v->stride_w, v->dilation_w,
                v->pad_left, v->in_h, v->in_w);
    open_loop(h, "i", deep, flat);
    pq_text_add(&h->body,
                "            s += v%zu[(r * %zu + c) * %zu + o / %zu * %zu + i] * "
                "%s_code<t%zuw_t>(t%zuw[((o * %zu + a) * %zu + b) * %zu + i]);\n    }\n  "
                "  }\n    }\n        ",
                in, v->in_w, v->channels, l->u->outputs / l->groups, deep, h->name, node,
                node, v->kernel_h, v->kernel_w, deep);
    char index[64];
    (void)snprintf(index, sizeof index, "(p * %zu + q) * %zu + o", v->out_w,
                   l->u->outputs);
    store(h, node, index, "s");
    pq_text_add(&h->body, "    }\n    }\n    }\n");
}

pq_status pq_hls_linear(pq_hls *h, size_t node, pq_err *err)
{
    pq_units   *units = NULL;
    const char *why   = "";
    linear      l     = {0};
    pq_hls_type sum;
    pq_status   st;

    PQ_TRY(pq_units_create(h->graph, node, &units, &why, err));
    PQ_CHECK(units != NULL, PQ_ERR_UNSUPPORTED, "%s; HLS C++ is of fixed point alone",
             why);
    l.u = units;
    PQ_TRY(place(h, node, &l, err));
    PQ_TRY(linear_tables(h, node, units, &sum, err));
    PQ_TRY(pq_hls_hold(h, node, &sum, err));
    linear_loops(h, node, &l);
cleanup:
    pq_units_free(&units);
    return st;
}

/* --- item by item --- */

/* Sums and products of exact values, in double there: no more bits than a double has. */
static pq_status combined(const pq_hls *h, size_t node, bool product, pq_hls_type *out,
                          pq_err *err)
{
    pq_status st = PQ_OK;

    *out = *type_of(h, node, 0);
    for (size_t k = 1; k < h->graph->nodes[node].n_inputs; k++) {
        const pq_hls_type *b = type_of(h, node, k);
        if (product) {
            const double reach = fmax(-out->lo, out->hi) * fmax(fmax(-b->lo, b->hi), 0.0);
            *out = (pq_hls_type){-reach, reach, out->fraction + b->fraction, NULL};
        } else {
            const pq_hls_type both = pq_hls_both(out, b);
            *out = (pq_hls_type){out->lo + b->lo, out->hi + b->hi, both.fraction, NULL};
        }
        PQ_CHECK(pq_hls_width(out) <= PQ_HLS_EXACT, PQ_ERR_UNSUPPORTED,
                 "its values take %d bits, more than the %d of the engine integer, which "
                 "would round them",
                 pq_hls_width(out), PQ_HLS_EXACT);
    }
cleanup:
    return st;
}

/* What follows `a`, the value, and `s`, what becomes of it. */
static pq_status leaky(pq_hls *h, const pq_layer *layer, const pq_hls_type *in,
                       pq_hls_type *out, char text[PQ_HLS_TEXT], pq_err *err)
{
    const double slope = ((const pq_leaky_relu_params *)layer->params)->slope;
    pq_status    st    = PQ_OK;

    PQ_CHECK(slope > 0.0 && frexp(slope, &(int){0}) == 0.5, PQ_ERR_UNSUPPORTED,
             "its slope %g is no power of two, so that its values have no exact fixed "
             "point",
             slope);
    const pq_hls_type one = {slope, slope, pq_hls_fraction(slope), NULL};
    *out                  = (pq_hls_type){in->lo * fmax(slope, 1.0), in->hi,
                                          in->fraction + (one.fraction > 0 ? one.fraction : 0), NULL};
    (void)pq_snprintf(text, PQ_HLS_TEXT,
                      "if (a < 0) {\n            s = a * %s_UNSIGNED(1, %d, TRN, "
                      "WRAP)(%.17g);\n        }\n",
                      h->name, 1 - one.fraction, slope);
cleanup:
    return st;
}

static void bound(pq_hls_type *out, double at, char sign, size_t node, char *text)
{
    const pq_hls_type one = {at, at, pq_hls_fraction(at), NULL};

    *out = pq_hls_both(out, &one);
    (void)pq_snprintf(text + strlen(text), PQ_HLS_TEXT - strlen(text),
                      "if (a %c v%zu_sum(%.17g)) {\n            s = %.17g;\n        }\n"
                      "        ",
                      sign, node, at, at);
}

/* Values beyond an end become it; no bits for what is cut off. */
static void clip(size_t node, const pq_layer *layer, const pq_hls_type *in,
                 pq_hls_type *out, char text[PQ_HLS_TEXT])
{
    const pq_clip_params *p = layer->params;

    *out         = *in;
    out->grid    = NULL;
    const bool a = in->lo<p->lo, b = in->hi> p->hi;
    if (a) {
        bound(out, p->lo, '<', node, text);
    }
    if (b) {
        bound(out, p->hi, '>', node, text);
    }
}

pq_status pq_hls_items_of(pq_hls *h, size_t node, pq_err *err)
{
    const pq_node     *at    = &h->graph->nodes[node];
    const char        *kind  = at->layer->kind->name;
    const pq_hls_type *in    = type_of(h, node, 0);
    const bool         pair  = strcmp(kind, "add") == 0 || strcmp(kind, "multiply") == 0;
    pq_hls_type        exact = *in;
    char               text[PQ_HLS_TEXT] = "";
    pq_status          st                = PQ_OK;

    exact.grid = NULL;
    if (pair) {
        PQ_TRY(combined(h, node, kind[0] == 'm', &exact, err));
    } else if (strcmp(kind, "relu") == 0) {
        exact.lo = 0.0;
        exact.hi = fmax(in->hi, 0.0);
        (void)snprintf(text, sizeof text,
                       "if (a < 0) {\n            s = 0;\n        }\n");
    } else if (strcmp(kind, "leaky_relu") == 0) {
        PQ_TRY(leaky(h, at->layer, in, &exact, text, err));
    } else if (strcmp(kind, "clip") == 0) {
        clip(node, at->layer, in, &exact, text);
    } else {
        PQ_CHECK(pq_layer_is(at->layer, PQ_TRAIT_ALIAS), PQ_ERR_UNSUPPORTED,
                 "%s has no exact form in fixed point%s", kind,
                 strcmp(kind, "softmax") == 0 ? " (--logits leaves one at the end out)"
                                              : "");
    }
    PQ_TRY(pq_hls_hold(h, node, &exact, err));
    open_loop(h, "i", pq_hls_items(h, node), true);
    pq_text_add(&h->body, "        const v%zu_t a = v%zu[i];\n        v%zu_sum s = a",
                at->inputs[0], at->inputs[0], node);
    for (size_t k = 1; k < at->n_inputs; k++) {
        pq_text_add(&h->body, " %c v%zu[i]", kind[0] == 'm' ? '*' : '+', at->inputs[k]);
    }
    pq_text_add(&h->body, ";\n        %s        ", text);
    store(h, node, "i", "s");
    pq_text_add(&h->body, "    }\n");
cleanup:
    return st;
}

/* --- pools --- */

/* Cells of a mean: a power of two, and the same at every place, or the mean is no
 * fixed-point number. */
static pq_status cells_of(const pq_window *v, bool padding, size_t *cells, pq_err *err)
{
    size_t    r = 0, c = 0;
    pq_status st = PQ_OK;

    *cells = v->kernel_h * v->kernel_w;
    for (size_t p = 0; p < v->out_h && !padding; p++) {
        for (size_t q = 0; q < v->out_w; q++) {
            size_t n = 0;
            for (size_t k = 0; k < v->kernel_h * v->kernel_w; k++) {
                n += pq_window_row(v, p, k / v->kernel_w, &r) &&
                             pq_window_column(v, q, k % v->kernel_w, &c)
                         ? 1
                         : 0;
            }
            *cells = p + q == 0 ? n : *cells;
            PQ_CHECK(n == *cells, PQ_ERR_UNSUPPORTED,
                     "its means are of %zu values here and of %zu there", *cells, n);
        }
    }
    PQ_CHECK((*cells & (*cells - 1)) == 0, PQ_ERR_UNSUPPORTED,
             "a mean of %zu values has no exact fixed point, only one of a power of two",
             *cells);
cleanup:
    return st;
}

static void pool_loops(pq_hls *h, size_t node, const pq_window *v, size_t cells,
                       const char *type)
{
    const size_t in = h->graph->nodes[node].inputs[0];
    char         index[64], mean[96] = "s";

    (void)snprintf(index, sizeof index, "(p * %zu + q) * %zu + c", v->out_w, v->channels);
    open_loop(h, "p", v->out_h, false);
    open_loop(h, "q", v->out_w, false);
    open_loop(h, "c", v->channels, false);
    pq_text_add(&h->body, "        %s s = 0;\n        bool first = true;\n", type);
    open_loop(h, "a", v->kernel_h, false);
    open_loop(h, "b", v->kernel_w, false);
    pq_text_add(&h->body,
                "        const int r = p * %zu + a - %zu, k = q * %zu + b - %zu;\n"
                "        if (r < 0 || r >= %zu || k < 0 || k >= %zu) {\n"
                "            continue;\n        }\n"
                "        const v%zu_t one = v%zu[(r * %zu + k) * %zu + c];\n        %s\n"
                "        first = false;\n    }\n    }\n        ",
                v->stride_h, v->pad_top, v->stride_w, v->pad_left, v->in_h, v->in_w, in,
                in, v->in_w, v->channels,
                cells > 0 ? "s += one;"
                          : "if (first || one > s) {\n            s = one;\n        }");
    if (cells > 0) {
        (void)pq_snprintf(mean, sizeof mean,
                          "v%zu_sum(s * %s_UNSIGNED(1, %d, TRN, WRAP)(%.17g))", node,
                          h->name, 1 - ilogb((double)cells), 1.0 / (double)cells);
    }
    pq_text_add(&h->body, "(void)first;\n        ");
    store(h, node, index, mean);
    pq_text_add(&h->body, "    }\n    }\n    }\n");
}

pq_status pq_hls_pool(pq_hls *h, size_t node, pq_err *err)
{
    const pq_node *at      = &h->graph->nodes[node];
    const char    *kind    = at->layer->kind->name;
    const bool     mean    = strstr(kind, "avg") != NULL;
    pq_hls_type    exact   = *type_of(h, node, 0), sum;
    pq_text        type    = {0};
    bool           padding = false;
    size_t         cells   = 0;
    pq_window      v;
    pq_status      st;

    if (strncmp(kind, "global_", 7) == 0) {
        v = pq_pool_whole(&h->graph->nodes[at->inputs[0]].shape);
    } else {
        PQ_TRY(pq_pool_window(at->layer, &h->graph->nodes[at->inputs[0]].shape, &v, err));
        padding = ((const pq_pool_params *)at->layer->params)->count_padding;
    }
    PQ_CHECK(pq_code_grid(h->graph, at->inputs[0]) != NULL &&
                 v.kernel_h * v.kernel_w <= PQ_CODES_CELLS,
             PQ_ERR_UNSUPPORTED, "%s of what has no codes, or of more than %d cells",
             kind, PQ_CODES_CELLS);
    exact.grid = NULL;
    sum        = exact;
    if (mean) {
        PQ_TRY(cells_of(&v, padding, &cells, err));
        sum.lo *= (double)cells;
        sum.hi *= (double)cells;
        exact.fraction += ilogb((double)cells);
    }
    PQ_TRY(pq_hls_hold(h, node, &exact, err));
    pq_hls_type_add(h, &sum, &type);
    PQ_CHECK(!type.failed, PQ_ERR_NOMEM, "cannot allocate a type");
    pool_loops(h, node, &v, cells, type.text);
cleanup:
    pq_text_free(&type);
    return st;
}

/* --- moves --- */

pq_status pq_hls_moves(pq_hls *h, size_t node, pq_err *err)
{
    const pq_node *at    = &h->graph->nodes[node];
    pq_moves       moves = {0};
    pq_shape       shapes[PQ_NODE_INPUTS];
    pq_hls_type    exact = *type_of(h, node, 0);
    char           from[48], to[32];
    pq_status      st;

    exact.grid = NULL;
    for (size_t k = 0; k < at->n_inputs; k++) {
        shapes[k] = h->graph->nodes[at->inputs[k]].shape;
        exact     = pq_hls_both(&exact, type_of(h, node, k));
    }
    PQ_TRY(pq_moves_create(at->layer, at->n_inputs, shapes, &at->shape, &moves, err));
    if (moves.has_constants) {
        PQ_CHECK(isfinite(moves.constant), PQ_ERR_UNSUPPORTED,
                 "it fills with %g, which has no fixed point", moves.constant);
        const pq_hls_type one = {moves.constant, moves.constant,
                                 pq_hls_fraction(moves.constant), NULL};
        exact                 = pq_hls_both(&exact, &one);
    }
    PQ_TRY(pq_hls_hold(h, node, &exact, err));
    if (moves.has_constants) {
        (void)pq_snprintf(from, sizeof from, "v%zu_sum(%.17g)", node, moves.constant);
        open_loop(h, "i", pq_hls_items(h, node), true);
        pq_text_add(&h->body, "        ");
        store(h, node, "i", from);
        pq_text_add(&h->body, "    }\n");
    }
    for (size_t r = 0; r < moves.n; r++) {
        const pq_move *m = &moves.runs[r];
        open_loop(h, "i", m->n, true);
        (void)snprintf(from, sizeof from, "v%zu[%zu + i]", at->inputs[m->input], m->from);
        (void)snprintf(to, sizeof to, "%zu + i", m->to);
        pq_text_add(&h->body, "        ");
        store(h, node, to, from);
        pq_text_add(&h->body, "    }\n");
    }
cleanup:
    pq_moves_free(&moves);
    return st;
}
