/* The walk over the graph, and how values are held, read and stored. */
#include "codegen/whole.h"

#include <math.h>
#include <string.h>

#include "codegen/events.h"
#include "codegen/text.h"
#include "core/memory.h"
#include "exec/codes.h"
#include "layers/kinds.h"

bool pq_whole_is(const pq_graph *graph)
{
    bool any = false;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        any = any || graph->nodes[i].quant != NULL;
    }
    return any;
}

/* Flatten and the like without a grid of their own have the memory of their input. */
static bool is_alias(const pq_node *node)
{
    return pq_layer_is(node->layer, PQ_TRAIT_ALIAS) && node->quant == NULL;
}

size_t pq_whole_root(const pq_whole *w, size_t node)
{
    while (is_alias(&w->e->graph->nodes[node])) {
        node = w->e->graph->nodes[node].inputs[0];
    }
    return node;
}

const char *pq_whole_name(const pq_whole *w, size_t node, char text[32])
{
    (void)snprintf(text, 32, "v%zu", pq_whole_root(w, node));
    return text;
}

const pq_held *pq_whole_held(const pq_whole *w, size_t node)
{
    return &w->held[pq_whole_root(w, node)];
}

int pq_grid_least(const pq_quant *grid)
{
    return pq_quant_least(grid, 0);
}

int pq_grid_most(const pq_quant *grid)
{
    return pq_quant_most(grid, 0) - pq_quant_least(grid, 0);
}

void pq_whole_value(pq_whole *w, size_t node, const char *index)
{
    const pq_held *h = pq_whole_held(w, node);
    pq_text       *t = &w->e->body;
    char           name[32];

    pq_whole_name(w, node, name);
    switch (h->form) {
    case PQ_HELD_SMALL:
        pq_text_add(t, "((double)((int)%s[%s] + %d) * %a)", name, index,
                    pq_grid_least(h->grid) - h->grid->zero_point[0],
                    (double)h->grid->scale[0]);
        break;
    case PQ_HELD_CODES:
        pq_text_add(t, "((double)(%s[%s] - %d) * %a)", name, index,
                    h->grid->zero_point[0], (double)h->grid->scale[0]);
        break;
    case PQ_HELD_SUMS:
    case PQ_HELD_WIDE:
        pq_text_add(t, "((double)%s[%s] * t%zum[(%s) %% %zu])", name, index, h->table,
                    index, h->width);
        break;
    case PQ_HELD_NOT:
    case PQ_HELD_REALS:
    case PQ_HELD_FLOATS:
        pq_text_add(t, "(double)%s[%s]", name, index);
        break;
    }
}

static const struct {
    const char *type;
    size_t      bytes; /* where an act has one */
} forms[] = {
    [PQ_HELD_NOT] = {"void", 0},      [PQ_HELD_SMALL] = {"V(act)", 1},
    [PQ_HELD_CODES] = {"int32_t", 4}, [PQ_HELD_SUMS] = {"int32_t", 4},
    [PQ_HELD_WIDE] = {"int64_t", 8},  [PQ_HELD_REALS] = {"double", 8},
    [PQ_HELD_FLOATS] = {"float", 4},
};

enum { BEHIND = 64 /* items that vectors may reach beyond the last */ };

pq_status pq_whole_hold(pq_whole *w, size_t node, pq_held_form form, pq_err *err)
{
    const size_t items = pq_emit_items(w->e, node) + BEHIND;
    size_t      *at    = &w->e->summary.stack_bytes;
    pq_status    st    = PQ_OK;

    PQ_CHECK(items <= PQ_CODEGEN_STACK, PQ_ERR_RANGE,
             "its %zu values do not fit into %d bytes of stack", items, PQ_CODEGEN_STACK);
    w->held[node].form = form;
    w->held[node].grid = pq_code_grid(w->e->graph, node);
    if (form == PQ_HELD_FLOATS && pq_whole_root(w, w->e->graph->output) == node) {
        pq_text_add(&w->e->places, " \\\n    UNUSED float *const v%zu = y;", node);
        return PQ_OK;
    }
    pq_text_add(&w->e->places,
                " \\\n    UNUSED %s *const v%zu = (%s *)(void *)(stack + %zu * "
                "sizeof(V(act)));",
                forms[form].type, node, forms[form].type, *at);
    *at += (items * forms[form].bytes + 63) / 64 * 64;
    if (form == PQ_HELD_SMALL) { /* read, times 0: no NaN may lie there */
        const size_t n = items - BEHIND;
        pq_text_add(&w->e->body,
                    "#if FLOATS\n    v%zu[%zu] = v%zu[%zu] = v%zu[%zu] = 0;\n#endif\n",
                    node, n, node, n + 1, node, n + 2);
    }
cleanup:
    return st;
}

pq_status pq_whole_form(const pq_whole *w, size_t node, pq_held_form *out, pq_err *err)
{
    const pq_quant *q    = w->e->graph->nodes[node].quant;
    const pq_quant *grid = pq_code_grid(w->e->graph, node);
    pq_status       st   = PQ_OK;

    PQ_CHECK(q == NULL || grid == q, PQ_ERR_UNSUPPORTED,
             "its values are on a grid without whole numbers, or with several scales; "
             "generated C holds values as codes of one scale");
    *out = grid == NULL                ? PQ_HELD_REALS
           : pq_grid_most(grid) <= 255 ? PQ_HELD_SMALL
                                       : PQ_HELD_CODES;
cleanup:
    return st;
}

/* The rounded code as a C expression of q, the value over its scale. */
static const char *rounded(const pq_quant *q)
{
    static const char *const modes[] = {
        [PQ_ROUND_RND_CONV]    = "rint(q)",
        [PQ_ROUND_RND]         = "floor(q) + (q - floor(q) >= 0.5)",
        [PQ_ROUND_RND_ZERO]    = "floor(q) + (q - floor(q) > 0.5 || (q - floor(q) == "
                                 "0.5 && q < 0.0))",
        [PQ_ROUND_RND_MIN_INF] = "floor(q) + (q - floor(q) > 0.5)",
        [PQ_ROUND_RND_INF]     = "floor(q) + (q - floor(q) > 0.5 || (q - floor(q) == "
                                 "0.5 && q > 0.0))",
        [PQ_ROUND_TRN]         = "floor(q)",
        [PQ_ROUND_TRN_ZERO]    = "trunc(q)",
    };

    return q->scheme == PQ_QUANT_FIXED ? modes[q->rounding] : modes[PQ_ROUND_RND_CONV];
}

/* The function code<node>(v): pq_quant_code_real of this grid. Codes of fixed point that
   wrap come from their lowest bits. */
static void define_code(pq_whole *w, size_t node, const pq_quant *q)
{
    pq_text  *t  = &w->e->tables;
    const int lo = pq_quant_least(q, 0), hi = pq_quant_most(q, 0);
    const int bits = q->scheme == PQ_QUANT_FIXED ? q->width[0] : q->bits;
    const int zero = q->scheme == PQ_QUANT_FIXED ? 0 : q->zero_point[0];

    pq_text_add(t,
                "static inline __attribute__((unused)) int code%zu(double v)\n{\n"
                "    const double q = v / %a;\n",
                node, (double)q->scale[0]);
    if (pq_quant_clips(q)) {
        pq_text_add(t,
                    "    const double c = %s + %d.0;\n\n"
                    "    return c > %d.0 ? (c < %d.0 ? (int)c : %d) : %d;\n}\n",
                    rounded(q), zero, lo, hi, hi, lo);
        return;
    }
    pq_text_add(t, "    const double c = q - q == 0.0 ? %s : q;\n    double p;\n\n",
                rounded(q));
    pq_text_add(t, "    if (c >= %d.0 && c <= %d.0) {\n        return (int)c;\n    }\n",
                lo, hi);
    pq_text_add(t, "    if (c - c != 0.0%s) {\n        return %d;\n    }\n",
                bits == 0 ? " || 1" : "", lo);
    const double codes  = ldexp(1.0, bits);
    const bool   mirror = q->overflow == PQ_OVERFLOW_WRAP_SM;
    const double n      = mirror ? 2.0 * codes : codes;
    pq_text_add(t,
                "    p = fmod(c, %.1f);\n    p = p < 0.0 ? p + %.1f : p;\n"
                "    p = fmod(p - %d.0, %.1f);\n    p = p < 0.0 ? p + %.1f : p;\n",
                n, n, lo, n, n);
    if (mirror) {
        pq_text_add(t, "    p = p < %.1f ? p : %.1f - p;\n", codes, 2.0 * codes - 1.0);
    }
    pq_text_add(t, "    return (int)(p + %d.0);\n}\n", lo);
}

void pq_whole_code(pq_whole *w, size_t node)
{
    const pq_quant *grid = pq_code_grid(w->e->graph, node);

    if (grid != NULL && w->table[node] == 0) {
        define_code(w, node, grid);
        w->table[node] = 1;
    }
}

void pq_whole_keep(pq_whole *w, size_t node, size_t panels, bool quads)
{
    w->held[node].panels = panels;
    w->held[node].quads  = quads;
    if (quads) {
        pq_text_add(&w->e->places, " \\\n    UNUSED V(quads) l%zu_q;", node);
    }
    for (size_t p = 0; p < panels; p++) {
        pq_text_add(&w->e->places, " \\\n    UNUSED V(panel) l%zu_%zu;", node, p);
    }
}

pq_status pq_whole_store(pq_whole *w, size_t node, const char *index, const char *v,
                         pq_err *err)
{
    const pq_quant *grid = pq_code_grid(w->e->graph, node);
    pq_held_form    form;
    pq_status       st;

    PQ_TRY(pq_whole_form(w, node, &form, err));
    pq_whole_code(w, node);
    if (form == PQ_HELD_SMALL) {
        pq_text_add(&w->e->body, "v%zu[%s] = (V(act))(code%zu(%s) - %d);", node, index,
                    node, v, pq_grid_least(grid));
    } else if (form == PQ_HELD_CODES) {
        pq_text_add(&w->e->body, "v%zu[%s] = code%zu(%s);", node, index, node, v);
    } else {
        pq_text_add(&w->e->body, "v%zu[%s] = %s;", node, index, v);
    }
cleanup:
    return st;
}

bool pq_whole_bends(const pq_layer *layer)
{
    const char *kind = layer->kind->name;

    return strcmp(kind, "relu") == 0 || strcmp(kind, "leaky_relu") == 0 ||
           strcmp(kind, "clip") == 0;
}

void pq_whole_bend(const pq_layer *layer, pq_text *out)
{
    const char *kind = layer->kind->name;
    char        a[PQ_C_NUMBER], b[PQ_C_NUMBER];

    if (strcmp(kind, "relu") == 0) {
        pq_text_add(out, " v = v < 0.0 ? 0.0 : v;");
    } else if (strcmp(kind, "leaky_relu") == 0) {
        const pq_leaky_relu_params *p = layer->params;
        pq_text_add(out, " v = v > 0.0 ? v : %s * v;", pq_c_real(p->slope, a));
    } else {
        const pq_clip_params *p = layer->params;
        (void)pq_c_real(p->lo, a);
        (void)pq_c_real(p->hi, b);
        pq_text_add(out, " v = v < %s ? %s : v > %s ? %s : v;", a, a, b, b);
    }
}

double pq_whole_through(const pq_layer *layer, double x)
{
    double v = x;

    layer->kind->forward(&(pq_layer_call){.layer     = layer,
                                          .batch     = 1,
                                          .n_in      = 1,
                                          .in_shape  = &PQ_SHAPE(1),
                                          .in        = (const double *const[]){&x},
                                          .out_shape = PQ_SHAPE(1),
                                          .out       = &v});
    return v;
}

static pq_status count(pq_whole *w, size_t n, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(
        n <= PQ_CODEGEN_WEIGHTS - w->e->summary.weights, PQ_ERR_RANGE,
        "the model's tables would hold more than %d numbers, the most for generated C",
        PQ_CODEGEN_WEIGHTS);
    w->e->summary.weights += n;
cleanup:
    return st;
}

static void open_table(pq_whole *w, const char *type, char letter, size_t number,
                       size_t n)
{
    pq_text_add(&w->e->tables,
                "static const %s t%zu%c[%zu] __attribute__((aligned(64), unused)) = {",
                type, number, letter, n);
}

pq_status pq_whole_table(pq_whole *w, const char *type, char letter, size_t number,
                         size_t n, const int64_t *values, pq_err *err)
{
    pq_status st;

    PQ_TRY(count(w, n, err));
    open_table(w, type, letter, number, n);
    for (size_t i = 0; i < n; i++) {
        pq_text_add(&w->e->tables, "%s%lld,", i % 16 == 0 ? "\n" : "",
                    (long long)values[i]);
    }
    pq_text_add(&w->e->tables, "\n};\n");
cleanup:
    return st;
}

pq_status pq_whole_reals(pq_whole *w, const char *type, char letter, size_t number,
                         size_t n, const double *values, pq_err *err)
{
    const char *end = strcmp(type, "float") == 0 ? "f" : "";
    pq_status   st;

    PQ_TRY(count(w, n, err));
    open_table(w, type, letter, number, n);
    for (size_t i = 0; i < n; i++) {
        pq_text_add(&w->e->tables, "%s%a%s,", i % 8 == 0 ? "\n" : "", values[i], end);
    }
    pq_text_add(&w->e->tables, "\n};\n");
cleanup:
    return st;
}

static const struct {
    const char *kind;
    pq_status (*emit)(pq_whole *w, size_t node, pq_err *err);
} kinds[] = {
    {"input", pq_whole_input},          {"dense", pq_whole_linear},
    {"conv2d", pq_whole_linear},        {"add", pq_whole_pairs},
    {"multiply", pq_whole_pairs},       {"max_pool", pq_whole_pool},
    {"avg_pool", pq_whole_pool},        {"global_max_pool", pq_whole_pool},
    {"global_avg_pool", pq_whole_pool}, {"softmax", pq_whole_softmax},
};

static pq_status emit_node(pq_whole *w, size_t node, pq_err *err)
{
    const pq_layer *layer = w->e->graph->nodes[node].layer;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].kind, layer->kind->name) == 0) {
            return kinds[i].emit(w, node, err);
        }
    }
    if (pq_layer_is(layer, PQ_TRAIT_ITEMWISE) || pq_layer_is(layer, PQ_TRAIT_ALIAS)) {
        return pq_whole_items(w, node, err);
    }
    if (pq_layer_is(layer, PQ_TRAIT_MOVES)) {
        return pq_whole_moves(w, node, err);
    }
    return pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                      "there is no generated form of %s beside whole numbers",
                      layer->kind->name);
}

/* The answer as floats. */
static void give(pq_whole *w)
{
    const size_t n = pq_emit_items(w->e, w->e->graph->output);

    if (pq_whole_held(w, w->e->graph->output)->form == PQ_HELD_FLOATS) {
        return; /* written where it was made */
    }
    pq_text_add(&w->e->body,
                "    for (int i = 0; i < %zu; i++) {\n        y[i] = (float)", n);
    pq_whole_value(w, w->e->graph->output, "i");
    pq_text_add(&w->e->body, ";\n    }\n");
}

static pq_status walk(pq_whole *w, const bool *used, pq_err *err)
{
    const pq_graph *g  = w->e->graph;
    pq_status       st = PQ_OK;

    for (size_t i = 0; i < g->n_nodes; i++) {
        if (!used[i] || w->taken[i] || is_alias(&g->nodes[i])) {
            continue;
        }
        pq_text_add(&w->e->body, "    /* ");
        pq_c_comment(&w->e->body, g->nodes[i].name);
        pq_text_add(&w->e->body, ": %s */\n", g->nodes[i].layer->kind->name);
        const size_t   from   = w->e->body.length;
        const uint64_t shared = w->e->shared;
        st                    = emit_node(w, i, err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", g->nodes[i].name);
            goto cleanup;
        }
        if (w->e->shared == shared) {
            pq_events_each(w->e, from, w->e->body.length);
        }
    }
    const size_t from = w->e->body.length;
    give(w);
    pq_events_each(w->e, from, w->e->body.length);
    const size_t last = pq_whole_root(w, g->output);
    w->e->exact       = w->held[last].form != PQ_HELD_FLOATS ||
                  pq_layer_weight(g->nodes[last].layer, "kernel") != NULL;
    PQ_CHECK(4 * w->e->summary.stack_bytes <= PQ_CODEGEN_STACK, PQ_ERR_RANGE,
             "one call would need %zu bytes of stack, more than %d",
             4 * w->e->summary.stack_bytes, PQ_CODEGEN_STACK);
cleanup:
    return st;
}

pq_status pq_whole_emit(pq_emitter *e, pq_err *err)
{
    pq_whole  w    = {.e = e};
    bool     *used = NULL;
    pq_status st;

    PQ_NEW(used, e->graph->n_nodes);
    PQ_NEW(w.held, e->graph->n_nodes);
    PQ_NEW(w.taken, e->graph->n_nodes);
    PQ_NEW(w.table, e->graph->n_nodes);
    pq_emit_readers(e, used);
    PQ_TRY(walk(&w, used, err));
cleanup:
    for (size_t i = 0; w.held != NULL && i < e->graph->n_nodes; i++) {
        pq_units_free(&w.held[i].units);
    }
    pq_free(used);
    pq_free(w.held);
    pq_free(w.taken);
    pq_free(w.table);
    return st;
}
