/* Sums and products of two codes of at most 8 bits: a table of all pairs, through the
   functions that follow, up to the next grid; sums in vectors where floats find the codes
   of the table. */
#include <math.h>
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

/* Codes of all pairs; where a sum is a line in both, and clamped, its factors. */
typedef struct {
    int      n, m; /* codes of both */
    int64_t *codes;
    float    line[4]; /* of a, of b, a constant; how near to a tie the table decides */
    int      least, most;
} pairs;

enum { TOGETHER = 64 /* items of an operation on vectors */ };

/* Whether the line gives the code of a pair, or lies so near to a tie that it is not
   asked. `error`: how far products and sums in float32 may be from those in double. */
static bool line_gives(const pairs *p, int i, int j, double error)
{
    const double v =
        (double)p->line[0] * i + ((double)p->line[1] * j + (double)p->line[2]);
    const double near = rint(v);
    const double code = near < p->least ? p->least : near > p->most ? p->most : near;

    return fabs(v - near) >= (double)p->line[3] + error ||
           (int64_t)code == p->codes[i * p->m + j];
}

/* Finds the line, and tries it on every pair. */
static bool find_line(const pq_quant *a, const pq_quant *b, const pq_quant *q, pairs *p)
{
    const double s = (double)q->scale[0];
    const double x = (double)a->scale[0] / s, y = (double)b->scale[0] / s;
    const double c = (pq_grid_least(a) - a->zero_point[0]) * x +
                     (pq_grid_least(b) - b->zero_point[0]) * y + q->zero_point[0] -
                     pq_grid_least(q);
    const double reach = x * p->n + y * p->m + fabs(c);
    const double error = ldexp(reach, -23); /* two roundings */
    bool         ok    = reach < 4096.0;

    p->line[0] = (float)x;
    p->line[1] = (float)y;
    p->line[2] = (float)c;
    p->line[3] = (float)(0.5 - 4.0 * error);
    p->least = p->most = (int)p->codes[0];
    for (int i = 0; i < p->n * p->m; i++) {
        const int code = (int)p->codes[i];
        p->least       = code < p->least ? code : p->least;
        p->most        = code > p->most ? code : p->most;
    }
    for (int i = 0; ok && i < p->n * p->m; i++) {
        ok = line_gives(p, i / p->m, i % p->m, error);
    }
    return ok;
}

static pq_status find_codes(const pq_whole *w, size_t node, size_t last, pairs *p,
                            pq_err *err)
{
    const pq_node  *at = &w->e->graph->nodes[node];
    const pq_quant *a  = pq_code_grid(w->e->graph, at->inputs[0]);
    const pq_quant *b  = pq_code_grid(w->e->graph, at->inputs[1]);
    pq_status       st;

    p->n = pq_grid_most(a) + 1;
    p->m = pq_grid_most(b) + 1;
    PQ_NEW(p->codes, (size_t)p->n * (size_t)p->m);
    for (int i = 0; i < p->n * p->m; i++) {
        p->codes[i] =
            pair_code(w, node, last, pq_quant_value(a, 0, pq_grid_least(a) + i / p->m),
                      pq_quant_value(b, 0, pq_grid_least(b) + i % p->m));
    }
cleanup:
    return st;
}

/* Statements for items `from` to `to` by the table. */
static void by_table(pq_whole *w, const pairs *p, size_t node, size_t last, size_t number,
                     const char *range)
{
    const pq_node *at = &w->e->graph->nodes[node];
    char           a[32], b[32];

    pq_text_add(&w->e->body,
                "    for (int i = %s; i++) {\n"
                "        v%zu[i] = (V(act))t%zuc[(int)%s[i] * %d + (int)%s[i]];\n    }\n",
                range, last, number, pq_whole_name(w, at->inputs[0], a), p->m,
                pq_whole_name(w, at->inputs[1], b));
}

/* In vectors, and by the table where one of a vector is near a tie, and at the end. */
static pq_status by_line(pq_whole *w, const pairs *p, size_t node, size_t last,
                         size_t number, pq_err *err)
{
    const pq_node *at = &w->e->graph->nodes[node];
    const size_t   n = pq_emit_items(w->e, last), whole = n / TOGETHER * TOGETHER;
    const double   line[4] = {(double)p->line[0], (double)p->line[1], (double)p->line[2],
                              (double)p->line[3]};
    char           a[32], b[32], range[64];
    pq_status      st;

    PQ_TRY(pq_whole_reals(w, "float", 'a', number, 4, line, err));
    pq_text_add(
        &w->e->body,
        "#if !FLOATS\n    for (int k = 0; k < %zu; k += %d) {\n"
        "    if (__builtin_expect(V(pair)(%s + k, %s + k, t%zua, %d, %d, v%zu + k), "
        "0)) {\n",
        whole, TOGETHER, pq_whole_name(w, at->inputs[0], a),
        pq_whole_name(w, at->inputs[1], b), number, p->least, p->most, last);
    (void)snprintf(range, sizeof range, "k; i < k + %d", TOGETHER);
    by_table(w, p, node, last, number, range);
    pq_text_add(&w->e->body, "    }\n    }\n#endif\n");
    (void)snprintf(range, sizeof range, "FLOATS ? 0 : %zu; i < %zu", whole, n);
    by_table(w, p, node, last, number, range);
cleanup:
    return st;
}

pq_status pq_whole_pairs(pq_whole *w, size_t node, pq_err *err)
{
    const pq_node *at   = &w->e->graph->nodes[node];
    const size_t   last = at->n_inputs == 2 ? end_of(w, node) : SIZE_MAX;
    pq_held_form   form = PQ_HELD_NOT;
    pairs          p    = {0};
    char           range[64];
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
    PQ_TRY(find_codes(w, node, last, &p, err));
    PQ_TRY(pq_whole_table(w, "uint8_t", 'c', number, (size_t)(p.n * p.m), p.codes, err));
    PQ_TRY(pq_whole_hold(w, last, form, err));
    for (size_t i = node; i != last; i = w->e->reader[i]) {
        w->taken[w->e->reader[i]] = true;
    }
    if (strcmp(at->layer->kind->name, "add") == 0 &&
        find_line(pq_code_grid(w->e->graph, at->inputs[0]),
                  pq_code_grid(w->e->graph, at->inputs[1]),
                  pq_code_grid(w->e->graph, last), &p)) {
        PQ_TRY(by_line(w, &p, node, last, number, err));
    } else {
        (void)snprintf(range, sizeof range, "0; i < %zu", pq_emit_items(w->e, last));
        by_table(w, &p, node, last, number, range);
    }
cleanup:
    pq_free(p.codes);
    return st;
}
