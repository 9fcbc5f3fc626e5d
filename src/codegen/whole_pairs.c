/* Sums and products of two codes of at most 8 bits: a table of all pairs, through the
   functions that follow, up to the next grid. */
#include <string.h>

#include "codegen/whole.h"
#include "core/memory.h"
#include "exec/codes.h"

/* The first node with a grid behind `node`, through functions that alone read it. */
static size_t end_of(const pq_whole *w, size_t node)
{
    const pq_graph *g = w->e->graph;

    while (node != SIZE_MAX && g->nodes[node].quant == NULL) {
        node = w->e->reader[node];
        if (node != SIZE_MAX && !pq_layer_is(g->nodes[node].layer, PQ_TRAIT_ITEMWISE)) {
            return SIZE_MAX;
        }
    }
    return node;
}

static int pair_code(const pq_whole *w, size_t node, size_t last, double a, double b)
{
    const pq_graph *g = w->e->graph;
    const pq_quant *q = pq_code_grid(g, last);
    double v = strcmp(g->nodes[node].layer->kind->name, "add") == 0 ? a + b : a * b;

    while (node != last) {
        node = w->e->reader[node];
        v    = pq_whole_through(g->nodes[node].layer, v);
    }
    return pq_quant_code_real(q, 0, v) - pq_grid_least(q);
}

static pq_status fill(pq_whole *w, size_t node, size_t last, size_t number, pq_err *err)
{
    const pq_node  *at = &w->e->graph->nodes[node];
    const pq_quant *a  = pq_code_grid(w->e->graph, at->inputs[0]);
    const pq_quant *b  = pq_code_grid(w->e->graph, at->inputs[1]);
    const int       n = pq_grid_most(a) + 1, m = pq_grid_most(b) + 1;
    int64_t        *codes = NULL;
    pq_status       st;

    PQ_NEW(codes, (size_t)n * (size_t)m);
    for (int i = 0; i < n * m; i++) {
        codes[i] =
            pair_code(w, node, last, pq_quant_value(a, 0, pq_grid_least(a) + i / m),
                      pq_quant_value(b, 0, pq_grid_least(b) + i % m));
    }
    PQ_TRY(pq_whole_table(w, "uint8_t", 'c', number, (size_t)(n * m), codes, err));
cleanup:
    pq_free(codes);
    return st;
}

pq_status pq_whole_pairs(pq_whole *w, size_t node, pq_err *err)
{
    const pq_node *at   = &w->e->graph->nodes[node];
    const size_t   last = at->n_inputs == 2 ? end_of(w, node) : SIZE_MAX;
    pq_held_form   form = PQ_HELD_NOT;
    char           a[32], b[32];
    pq_status      st = PQ_OK;

    if (last == SIZE_MAX || pq_whole_held(w, at->inputs[0])->form != PQ_HELD_SMALL ||
        pq_whole_held(w, at->inputs[1])->form != PQ_HELD_SMALL) {
        return pq_whole_items(w, node, err);
    }
    PQ_TRY(pq_whole_form(w, last, &form, err));
    if (form != PQ_HELD_SMALL) {
        return pq_whole_items(w, node, err);
    }
    const size_t number = w->e->n_tables++;
    PQ_TRY(fill(w, node, last, number, err));
    PQ_TRY(pq_whole_hold(w, last, form, err));
    for (size_t i = node; i != last; i = w->e->reader[i]) {
        w->taken[w->e->reader[i]] = true;
    }
    pq_text_add(&w->e->body,
                "    for (int i = 0; i < %zu; i++) {\n"
                "        v%zu[i] = (V(act))t%zuc[(int)%s[i] * %d + (int)%s[i]];\n    }\n",
                pq_emit_items(w->e, last), last, number,
                pq_whole_name(w, at->inputs[0], a),
                pq_grid_most(pq_code_grid(w->e->graph, at->inputs[1])) + 1,
                pq_whole_name(w, at->inputs[1], b));
cleanup:
    return st;
}
