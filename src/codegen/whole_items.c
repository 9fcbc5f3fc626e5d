/* What is computed item by item: sums, functions, pools, moves, and what ends in
   floats. */
#include <math.h>
#include <string.h>

#include "codegen/softmax.h"
#include "codegen/text.h"
#include "codegen/whole.h"
#include "core/memory.h"
#include "exec/codes.h"
#include "exec/fold.h"
#include "layers/kinds.h"
#include "layers/moves.h"

/* --- item by item --- */

/* A function of codes that is no bend: its values for all of them. */
static pq_status function_table(pq_whole *w, size_t node, pq_err *err)
{
    const pq_graph *g    = w->e->graph;
    const pq_node  *at   = &g->nodes[node];
    const pq_quant *from = pq_code_grid(g, at->inputs[0]);
    const size_t    n = (size_t)pq_grid_most(from) + 1, number = w->e->n_tables++;
    double         *x = NULL, *v = NULL;
    const pq_held  *h = pq_whole_held(w, at->inputs[0]);
    char            name[32], index[96];
    pq_held_form    form;
    pq_status       st;

    PQ_NEW(x, n);
    PQ_NEW(v, n);
    for (size_t i = 0; i < n; i++) {
        x[i] = pq_quant_value(from, 0, pq_grid_least(from) + (int32_t)i);
    }
    at->layer->kind->forward(&(pq_layer_call){.layer     = at->layer,
                                              .batch     = 1,
                                              .n_in      = 1,
                                              .in_shape  = &PQ_SHAPE(n),
                                              .in        = (const double *const[]){x},
                                              .out_shape = PQ_SHAPE(n),
                                              .out       = v});
    PQ_TRY(pq_whole_form(w, node, &form, err));
    PQ_TRY(pq_whole_hold(w, node, form, err));
    PQ_TRY(pq_whole_reals(w, "double", 'v', number, n, v, err));
    (void)snprintf(index, sizeof index,
                   h->form == PQ_HELD_SMALL ? "t%zuv[(int)%s[i]]" : "t%zuv[%s[i] - (%d)]",
                   number, pq_whole_name(w, at->inputs[0], name), pq_grid_least(from));
    pq_text_add(&w->e->body, "    for (int i = 0; i < %zu; i++) {\n        ",
                pq_emit_items(w->e, node));
    PQ_TRY(pq_whole_store(w, node, "i", index, err));
    pq_text_add(&w->e->body, "\n    }\n");
cleanup:
    pq_free(x);
    pq_free(v);
    return st;
}

/* A function behind which nothing is whole: in float32, as the answer. */
static bool ends(const pq_whole *w, size_t node)
{
    return pq_whole_root(w, w->e->graph->output) == node &&
           w->e->graph->nodes[node].quant == NULL;
}

static pq_status function_of_floats(pq_whole *w, size_t node, pq_err *err)
{
    const pq_emit_step step = {w->e->graph->nodes[node].inputs[0], node};
    pq_status          st   = PQ_OK;

    PQ_CHECK(ends(w, node) && pq_emit_is_function(w->e->graph->nodes[node].layer),
             PQ_ERR_UNSUPPORTED,
             "%s of what has no codes has no generated form beside whole numbers, but at "
             "the end",
             w->e->graph->nodes[node].layer->kind->name);
    w->held[node].form = PQ_HELD_FLOATS;
    pq_text_add(&w->e->body,
                "    for (int i = 0; i < %zu; i++) {\n        float v = (float)",
                pq_emit_items(w->e, node));
    pq_whole_value(w, step.node, "i");
    pq_text_add(&w->e->body, ";\n       ");
    w->e->reader[step.node] = node;
    pq_emit_functions(w->e, &step, step.node, "v", false);
    pq_text_add(&w->e->body, "\n        y[i] = v;\n    }\n");
cleanup:
    return st;
}

pq_status pq_whole_items(pq_whole *w, size_t node, pq_err *err)
{
    const pq_node *at   = &w->e->graph->nodes[node];
    const bool     sums = pq_layer_is(at->layer, PQ_TRAIT_ALIAS) || at->n_inputs > 1 ||
                      strcmp(at->layer->kind->name, "add") == 0 ||
                      strcmp(at->layer->kind->name, "multiply") == 0;
    const bool   bend = pq_whole_bends(at->layer);
    pq_held_form form, from = pq_whole_held(w, at->inputs[0])->form;
    pq_status    st;

    if (!sums && !bend) {
        return from == PQ_HELD_SMALL || from == PQ_HELD_CODES
                   ? function_table(w, node, err)
                   : function_of_floats(w, node, err);
    }
    PQ_CHECK(from != PQ_HELD_FLOATS, PQ_ERR_UNSUPPORTED,
             "behind floats there is no generated form beside whole numbers");
    PQ_TRY(pq_whole_form(w, node, &form, err));
    PQ_TRY(pq_whole_hold(w, node, form, err));
    pq_text_add(&w->e->body, "    for (int i = 0; i < %zu; i++) {\n        double v = ",
                pq_emit_items(w->e, node));
    for (size_t k = 0; k < at->n_inputs; k++) {
        pq_text_add(&w->e->body, "%s",
                    k == 0                                           ? ""
                    : strcmp(at->layer->kind->name, "multiply") == 0 ? " * "
                                                                     : " + ");
        pq_whole_value(w, at->inputs[k], "i");
    }
    pq_text_add(&w->e->body, ";");
    if (bend) {
        pq_whole_bend(at->layer, &w->e->body);
    }
    pq_text_add(&w->e->body, " ");
    PQ_TRY(pq_whole_store(w, node, "i", "v", err));
    pq_text_add(&w->e->body, "\n    }\n");
cleanup:
    return st;
}

/* --- pools --- */

static pq_status pool_of(pq_whole *w, size_t node, const pq_window *v, bool mean,
                         bool padding, pq_err *err)
{
    const pq_graph *g    = w->e->graph;
    const size_t    in   = g->nodes[node].inputs[0];
    const pq_held  *from = pq_whole_held(w, in);
    const pq_quant *grid = pq_code_grid(g, in);
    char            name[32], cells[48] = "((r1 - r0) * (c1 - c0))";
    pq_status       st = PQ_OK;

    pq_whole_name(w, in, name);
    pq_emit_windows(w->e, v);
    pq_text_add(&w->e->body,
                "                const int to = (p * %zu + q) * %zu + c;\n"
                "                long v = %s;\n"
                "                for (int r = r0; r < r1; r++) {\n"
                "                    for (int k = c0; k < c1; k++) {\n"
                "                        const int one = (int)%s[(r * %zu + k) * %zu + "
                "c];\n"
                "                        %s\n"
                "                    }\n                }\n                ",
                v->out_w, v->channels, mean ? "0" : "-2147483647", name, v->in_w,
                v->channels, mean ? "v += one;" : "v = one > v ? one : v;");
    const int shift =
        (from->form == PQ_HELD_SMALL ? pq_grid_least(grid) : 0) - grid->zero_point[0];
    if (mean && padding) {
        (void)snprintf(cells, sizeof cells, "%zu", v->kernel_h * v->kernel_w);
    }
    if (mean) {
        pq_text_add(&w->e->body,
                    "const double m = (double)(v + %dL * ((r1 - r0) * (c1 - c0))) * %a / "
                    "(double)%s;\n                ",
                    shift, (double)grid->scale[0], cells);
        PQ_TRY(pq_whole_store(w, node, "to", "m", err));
    } else if (pq_code_grid(g, node) == grid) {
        pq_text_add(&w->e->body, "v%zu[to] = (%s)v;", node,
                    from->form == PQ_HELD_SMALL ? "V(act)" : "int32_t");
    } else {
        pq_text_add(&w->e->body,
                    "const double m = (double)(v + %d) * %a;\n                ", shift,
                    (double)grid->scale[0]);
        PQ_TRY(pq_whole_store(w, node, "to", "m", err));
    }
    pq_text_add(&w->e->body, "\n            }\n        }\n    }\n");
cleanup:
    return st;
}

pq_status pq_whole_pool(pq_whole *w, size_t node, pq_err *err)
{
    const pq_graph *g       = w->e->graph;
    const pq_node  *at      = &g->nodes[node];
    const char     *kind    = at->layer->kind->name;
    const bool      all     = strncmp(kind, "global_", 7) == 0;
    bool            padding = false;
    pq_window       v;
    pq_held_form    form;
    pq_status       st;

    if (all) {
        v = pq_pool_whole(&g->nodes[at->inputs[0]].shape);
    } else {
        PQ_TRY(pq_pool_window(at->layer, &g->nodes[at->inputs[0]].shape, &v, err));
        padding = ((const pq_pool_params *)at->layer->params)->count_padding;
    }
    PQ_CHECK(pq_code_grid(g, at->inputs[0]) != NULL &&
                 v.kernel_h * v.kernel_w <= PQ_CODES_CELLS,
             PQ_ERR_UNSUPPORTED,
             "%s of what has no codes, or of more than %d cells, has no generated form "
             "beside whole numbers",
             kind, PQ_CODES_CELLS);
    PQ_TRY(pq_whole_form(w, node, &form, err));
    PQ_TRY(pq_whole_hold(w, node, form, err));
    PQ_TRY(pool_of(w, node, &v, strstr(kind, "avg") != NULL, padding, err));
cleanup:
    return st;
}

/* --- moves --- */

/* Item `i` from item `j` of input k: the codes as they are, where they mean the same. */
static pq_status move_one(pq_whole *w, size_t node, size_t input, pq_err *err)
{
    const pq_quant *grid = pq_code_grid(w->e->graph, node);
    char            name[32];
    pq_status       st = PQ_OK;

    if (grid != NULL && pq_code_grid(w->e->graph, input) == grid) {
        pq_text_add(&w->e->body, "v%zu[i] = %s[j];", node, pq_whole_name(w, input, name));
        return PQ_OK;
    }
    pq_text_add(&w->e->body, "const double v = ");
    pq_whole_value(w, input, "j");
    pq_text_add(&w->e->body, "; ");
    PQ_TRY(pq_whole_store(w, node, "i", "v", err));
cleanup:
    return st;
}

pq_status pq_whole_moves(pq_whole *w, size_t node, pq_err *err)
{
    const pq_graph *g     = w->e->graph;
    const pq_node  *at    = &g->nodes[node];
    pq_moves        moves = {0};
    pq_shape        shapes[PQ_NODE_INPUTS];
    int64_t        *runs   = NULL;
    const size_t    number = w->e->n_tables++;
    char            constant[PQ_C_NUMBER];
    pq_held_form    form;
    pq_status       st;

    for (size_t k = 0; k < at->n_inputs; k++) {
        shapes[k] = g->nodes[at->inputs[k]].shape;
    }
    PQ_TRY(pq_moves_create(at->layer, at->n_inputs, shapes, &at->shape, &moves, err));
    PQ_TRY(pq_whole_form(w, node, &form, err));
    PQ_TRY(pq_whole_hold(w, node, form, err));
    if (moves.has_constants) {
        pq_text_add(&w->e->body, "    for (int i = 0; i < %zu; i++) {\n        ",
                    pq_emit_items(w->e, node));
        PQ_TRY(pq_whole_store(w, node, "i", pq_c_real(moves.constant, constant), err));
        pq_text_add(&w->e->body, "\n    }\n");
    }
    PQ_NEW(runs, moves.n * 3 + 1);
    for (size_t k = 0, n = 0; k < at->n_inputs; k++) {
        const size_t first = n;
        for (size_t r = 0; r < moves.n; r++) {
            if (moves.runs[r].input == k) {
                runs[3 * n]     = (int64_t)moves.runs[r].to;
                runs[3 * n + 1] = (int64_t)moves.runs[r].from;
                runs[3 * n + 2] = (int64_t)moves.runs[r].n;
                n++;
            }
        }
        pq_text_add(&w->e->body,
                    "    for (int r = %zu; r < %zu; r++) {\n"
                    "        for (int k = 0; k < t%zur[3 * r + 2]; k++) {\n"
                    "            const int i = t%zur[3 * r] + k, j = t%zur[3 * r + 1] + "
                    "k;\n            ",
                    first, n, number, number, number);
        PQ_TRY(move_one(w, node, at->inputs[k], err));
        pq_text_add(&w->e->body, "\n        }\n    }\n");
    }
    PQ_TRY(pq_whole_table(w, "int", 'r', number, moves.n * 3 + 1, runs, err));
cleanup:
    pq_moves_free(&moves);
    pq_free(runs);
    return st;
}

/* --- softmax --- */

pq_status pq_whole_softmax(pq_whole *w, size_t node, pq_err *err)
{
    const pq_node *at    = &w->e->graph->nodes[node];
    const size_t   width = pq_emit_width(w->e, node), n = pq_emit_items(w->e, node);
    pq_status      st = PQ_OK;

    PQ_CHECK(ends(w, node), PQ_ERR_UNSUPPORTED,
             "softmax has no generated form beside whole numbers, but at the end");
    PQ_TRY(pq_whole_hold(w, node, PQ_HELD_FLOATS, err));
    pq_text_add(&w->e->body, "    (void)v%zu;\n", node);
    if (width <= PQ_SOFTMAX_MOST && n == width &&
        pq_whole_held(w, at->inputs[0])->form == PQ_HELD_FLOATS) {
        char name[32];
        pq_softmax_define(w->e, width);
        pq_text_add(&w->e->body, "    softmax%zu(%s, y);\n", width,
                    pq_whole_name(w, at->inputs[0], name));
        return PQ_OK;
    }
    pq_text_add(&w->e->body,
                "    for (int r = 0; r < %zu; r += %zu) {\n"
                "        float in[%zu], most, sum = 0.0f;\n\n"
                "        for (int i = 0; i < %zu; i++) {\n            in[i] = (float)",
                n, width, width, width);
    pq_whole_value(w, at->inputs[0], "r + i");
    pq_text_add(&w->e->body,
                ";\n        }\n"
                "        most = in[0];\n"
                "        for (int i = 1; i < %zu; i++) {\n"
                "            most = in[i] > most ? in[i] : most;\n        }\n"
                "        for (int i = 0; i < %zu; i++) {\n"
                "            in[i] = power(in[i] - most);\n            sum += in[i];\n"
                "        }\n"
                "        for (int i = 0; i < %zu; i++) {\n"
                "            y[r + i] = in[i] / sum;\n        }\n    }\n",
                width, width, width);
cleanup:
    return st;
}
