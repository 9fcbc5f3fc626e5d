/* dense and conv2d in whole numbers: what is computed with them, and one by one. */
#include "codegen/whole_linear.h"

#include <string.h>

#include "core/memory.h"
#include "exec/codes.h"
#include "layers/kinds.h"

/* Whether the other summand of an add is known and held so that vectors can take it. */
static bool can_add(const pq_whole *w, size_t add, size_t node, size_t *other)
{
    const pq_node *at = &w->e->graph->nodes[add];

    if (strcmp(at->layer->kind->name, "add") != 0 || at->n_inputs != 2) {
        return false;
    }
    *other           = at->inputs[0] == node ? at->inputs[1] : at->inputs[0];
    const pq_held *h = pq_whole_held(w, *other);
    return *other != node && (h->form == PQ_HELD_SMALL || h->form == PQ_HELD_SUMS);
}

/* Goes on while nothing else reads the value, up to one with a grid. */
static pq_chain chain_of(const pq_whole *w, size_t node)
{
    const pq_graph *g     = w->e->graph;
    const pq_chain  alone = {.last = node, .other = SIZE_MAX};
    pq_chain        c     = alone;

    while (g->nodes[c.last].quant == NULL) {
        const size_t next = w->e->reader[c.last];
        if (next != SIZE_MAX && c.n < PQ_CHAIN && pq_whole_bends(g->nodes[next].layer)) {
            c.bends[c.n++] = next;
        } else if (next == SIZE_MAX || c.n > 0 || c.other != SIZE_MAX ||
                   !can_add(w, next, c.last, &c.other)) {
            return alone;
        }
        c.last = next;
    }
    return c;
}

static void take_chain(pq_whole *w, const pq_linear *l)
{
    for (size_t i = l->node; i != l->chain.last; i = w->e->reader[i]) {
        w->taken[w->e->reader[i]] = true;
    }
}

static pq_status place(const pq_whole *w, pq_linear *l, pq_err *err)
{
    const pq_graph *g    = w->e->graph;
    const pq_node  *node = &g->nodes[l->node];
    const size_t    in   = pq_emit_items(w->e, node->inputs[0]);
    pq_status       st   = PQ_OK;

    l->panels = (l->u->outputs + 15) / 16;
    l->conv   = strcmp(node->layer->kind->name, "conv2d") == 0;
    l->groups = 1;
    if (l->conv) {
        PQ_TRY(
            pq_conv2d_window(node->layer, &g->nodes[node->inputs[0]].shape, &l->v, err));
        l->groups = (size_t)((const pq_conv2d_params *)node->layer->params)->groups;
        return PQ_OK;
    }
    l->v = (pq_window){.kernel_h   = 1,
                       .kernel_w   = 1,
                       .stride_h   = 1,
                       .stride_w   = 1,
                       .dilation_h = 1,
                       .dilation_w = 1,
                       .in_h       = 1,
                       .in_w       = in / l->u->length,
                       .out_h      = 1,
                       .out_w      = in / l->u->length,
                       .channels   = l->u->length};
cleanup:
    return st;
}

/* One by one: differences from the zero point times weights, then the definition. */
static pq_status plain_end(pq_whole *w, const pq_linear *l, pq_err *err)
{
    pq_text  *t = &w->e->body;
    pq_status st;

    if (l->form == PQ_HELD_FLOATS) {
        pq_text_add(t, "v%zu[to] = (float)((double)s * t%zum[o]);", l->chain.last,
                    l->table);
        return PQ_OK;
    }
    if (l->form == PQ_HELD_SUMS || l->form == PQ_HELD_WIDE) {
        pq_text_add(t, "v%zu[to] = s;", l->chain.last);
        return PQ_OK;
    }
    pq_text_add(t, "double v = (double)s * t%zum[o]", l->table);
    if (l->chain.other != SIZE_MAX) {
        pq_text_add(t, " + ");
        pq_whole_value(w, l->chain.other, "to");
    }
    pq_text_add(t, ";");
    for (size_t i = 0; i < l->chain.n; i++) {
        pq_whole_bend(w->e->graph->nodes[l->chain.bends[i]].layer, t);
    }
    pq_text_add(t, "\n            ");
    PQ_TRY(pq_whole_store(w, l->chain.last, "to", "v", err));
cleanup:
    return st;
}

static pq_status plain_tables(pq_whole *w, const pq_linear *l, pq_err *err)
{
    const size_t n       = l->u->outputs * l->u->length;
    int64_t     *weights = NULL;
    pq_status    st;

    PQ_NEW(weights, n);
    for (size_t i = 0; i < n; i++) {
        weights[i] = l->u->weight[i];
    }
    PQ_TRY(pq_whole_table(w, "int32_t", 'w', l->table, n, weights, err));
    PQ_TRY(pq_whole_table(w, "int64_t", 's', l->table, l->u->outputs, l->u->bias, err));
cleanup:
    pq_free(weights);
    return st;
}

pq_status pq_linear_plain(pq_whole *w, const pq_linear *l, pq_err *err)
{
    const size_t     in   = w->e->graph->nodes[l->node].inputs[0];
    const pq_held   *from = pq_whole_held(w, in);
    const pq_window *v    = &l->v;
    const char      *type = l->u->bound < INT32_MAX ? "int32_t" : "int64_t";
    const size_t     deep = v->channels / l->groups;
    char             name[32];
    pq_status        st;

    PQ_TRY(plain_tables(w, l, err));
    pq_text_add(
        &w->e->body,
        "    for (int p = 0; p < %zu; p++) {\n    for (int q = 0; q < %zu; q++) {\n"
        "    for (int o = 0; o < %zu; o++) {\n"
        "            const int to = (p * %zu + q) * %zu + o;\n"
        "            const int32_t *w = t%zuw + o * %zu;\n"
        "            %s s = (%s)t%zus[o];\n",
        v->out_h, v->out_w, l->u->outputs, v->out_w, l->u->outputs, l->table,
        l->u->length, type, type, l->table);
    pq_text_add(&w->e->body,
                "            for (int a = 0; a < %zu; a++) {\n"
                "            for (int b = 0; b < %zu; b++, w += %zu) {\n"
                "                const int y1 = p * %zu + a * %zu - %zu, x1 = q * %zu + "
                "b * %zu - "
                "%zu;\n\n"
                "                if (y1 < 0 || y1 >= %zu || x1 < 0 || x1 >= %zu) {\n"
                "                    continue;\n                }\n"
                "                for (int i = 0; i < %zu; i++) {\n"
                "                    s += (%s)((int)%s[(y1 * %zu + x1) * %zu + o / %zu * "
                "%zu + i] "
                "+ %d) * w[i];\n"
                "                }\n            }\n            }\n            ",
                v->kernel_h, v->kernel_w, deep, v->stride_h, v->dilation_h, v->pad_top,
                v->stride_w, v->dilation_w, v->pad_left, v->in_h, v->in_w, deep, type,
                pq_whole_name(w, in, name), v->in_w, v->channels,
                l->u->outputs / l->groups, deep,
                (from->form == PQ_HELD_SMALL ? pq_grid_least(from->grid) : 0) -
                    from->grid->zero_point[0]);
    PQ_TRY(plain_end(w, l, err));
    pq_text_add(&w->e->body, "\n    }\n    }\n    }\n");
cleanup:
    return st;
}

/* Whether the sums are wanted as floats alone: they are the answer, or go into the
 * softmax that gives it. */
static bool only_floats(const pq_whole *w, size_t node)
{
    const pq_graph *g    = w->e->graph;
    const size_t    last = pq_whole_root(w, g->output);

    return node == last || (w->e->reader[node] == last &&
                            strcmp(g->nodes[last].layer->kind->name, "softmax") == 0);
}

/* In whole panels. */
static pq_status multipliers(pq_whole *w, const pq_linear *l, pq_err *err)
{
    double   *m = NULL;
    pq_status st;

    PQ_NEW(m, l->panels * 16);
    memcpy(m, l->u->multiplier, l->u->outputs * sizeof *m);
    PQ_TRY(pq_whole_reals(w, "double", 'm', l->table, l->panels * 16, m, err));
cleanup:
    pq_free(m);
    return st;
}

static pq_status emit(pq_whole *w, pq_linear *l, pq_err *err)
{
    bool      fast;
    pq_status st;

    PQ_TRY(place(w, l, err));
    l->chain = chain_of(w, l->node);
    fast     = pq_linear_fast(w, l);
    PQ_TRY(pq_whole_form(w, l->chain.last, &l->form, err));
    if (l->form == PQ_HELD_REALS) {
        l->form = l->u->bound < INT32_MAX ? PQ_HELD_SUMS : PQ_HELD_WIDE;
    }
    if (fast) {
        PQ_TRY(pq_endings_find(w, l, &fast, err));
    }
    if ((l->form == PQ_HELD_SUMS || l->form == PQ_HELD_WIDE) && only_floats(w, l->node)) {
        l->form = PQ_HELD_FLOATS;
    }
    l->begin = w->e->body.length;
    PQ_TRY(pq_whole_hold(w, l->chain.last, l->form, err));
    l->held = w->e->body.length;
    take_chain(w, l);
    PQ_TRY(multipliers(w, l, err));
    if (!fast) {
        PQ_TRY(pq_linear_plain(w, l, err));
    } else if (l->end.exact) {
        PQ_TRY(pq_linear_vectors(w, l, err));
    } else {
        pq_text_add(&w->e->body, "#if FLOATS\n");
        l->plain = w->e->body.length;
        PQ_TRY(pq_linear_plain(w, l, err));
        l->plain_end = w->e->body.length;
        pq_text_add(&w->e->body, "#else\n");
        PQ_TRY(pq_linear_vectors(w, l, err));
        pq_text_add(&w->e->body, "#endif\n");
    }
cleanup:
    return st;
}

pq_status pq_whole_linear(pq_whole *w, size_t node, pq_err *err)
{
    pq_units   *units = NULL;
    pq_linear   l     = {.node = node};
    const char *why   = "";
    pq_status   st;

    PQ_TRY(pq_units_create(w->e->graph, node, &units, &why, err));
    PQ_CHECK(units != NULL, PQ_ERR_UNSUPPORTED,
             "%s; generated C of a model with activations on grids computes every kernel "
             "in whole numbers",
             why);
    l.u     = units;
    l.table = w->e->n_tables++;
    PQ_TRY(emit(w, &l, err));
    if (l.chain.last == node) { /* sums keep their units */
        w->held[node].units = units;
        w->held[node].table = l.table;
        w->held[node].width = units->outputs;
        units               = NULL;
    }
cleanup:
    pq_endings_free(&l.end);
    pq_units_free(&units);
    return st;
}
