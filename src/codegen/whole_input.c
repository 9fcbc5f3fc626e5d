/* The input as codes: in vectors of float32, and by the definition near an edge. */
#include <math.h>

#include "codegen/whole.h"
#include "core/memory.h"
#include "exec/codes.h"

enum { KEPT = 4 /* vectors of an input that stay in registers */ };

/* Factor and summand of feature c: what the model's scaler does, as exec/rescale.h. */
static void scaler_of(const pq_graph *g, size_t c, double *factor, double *summand)
{
    *factor  = 1.0;
    *summand = 0.0;
    if (g->scaler_mean != NULL) {
        const double s = (double)pq_f32(g->scaler_std)[c];
        *factor        = 1.0 / s;
        *summand       = (0.0 - (double)pq_f32(g->scaler_mean)[c]) / s;
    }
}

/* In float32 x A + B is off by no more than what the edge leaves out about a tie; there
   the definition decides. Truncation moves the ties by half a code. */
static void encode_row(const pq_graph *g, const pq_quant *grid, size_t c, double *a,
                       double *b, double *edge)
{
    const double half =
        grid->scheme == PQ_QUANT_FIXED && grid->rounding == PQ_ROUND_TRN ? 0.5 : 0.0;
    const double from = (double)(grid->zero_point[0] - pq_grid_least(grid)) - half;
    double       factor, summand;

    scaler_of(g, c, &factor, &summand);
    *a    = (double)(float)(factor / (double)grid->scale[0]);
    *b    = (double)(float)(summand / (double)grid->scale[0] + from);
    *edge = 0.5 - ldexp(pq_grid_most(grid) + 2.0 + fabs(*b) + fabs(from), -21);
    if (!pq_quant_clips(grid) ||
        (grid->scheme == PQ_QUANT_FIXED && grid->rounding == PQ_ROUND_TRN_ZERO) ||
        !isfinite(*b) || !isfinite(*a) || !(*edge > 0.4)) {
        *a = *b = 0.0; /* always by the definition */
        *edge   = -1.0;
    }
    *edge = (double)(float)*edge;
}

/* The definition for items `i` from `first` on to `end`. */
static pq_status encode_exactly(pq_whole *w, size_t node, size_t first, size_t end,
                                size_t table, size_t width, pq_err *err)
{
    pq_status st;

    pq_text_add(&w->e->body,
                "        for (int i = %zu; i < %zu; i++) {\n"
                "            const double product = (double)x[i] * t%zup[i %% %zu];\n"
                "            const float  v = (float)(product + t%zuq[i %% %zu]);\n"
                "            ",
                first, end, table, width, table, width);
    PQ_TRY(pq_whole_store(w, node, "i", "(double)v", err));
    pq_text_add(&w->e->body, "\n        }\n");
cleanup:
    return st;
}

/* The same as a function, which is seldom called: the registers stay with the others. */
static void define_exactly(pq_whole *w, size_t node, size_t table, size_t width)
{
    static const struct {
        const char *type, *letter;
    } acts[] = {{"uint8_t", "b"}, {"float", "f"}};

    pq_whole_code(w, node);
    for (size_t i = 0; i < 2; i++) {
        pq_text_add(&w->e->tables,
                    "static COLD void exact%zu%s(const float *x, %s *to, int first, int "
                    "end)\n{\n    for (int i = first; i < end; i++) {\n"
                    "        const double product = (double)x[i] * t%zup[i %% %zu];\n"
                    "        const float  v = (float)(product + t%zuq[i %% %zu]);\n"
                    "        to[i] = (%s)(code%zu((double)v) - %d);\n    }\n}\n",
                    node, acts[i].letter, acts[i].type, table, width, table, width,
                    acts[i].type, node, pq_grid_least(pq_code_grid(w->e->graph, node)));
    }
}

/* Vectors of a period in a loop, by the definition where one is near an edge. */
static void encode_looped(pq_whole *w, size_t node, size_t whole, size_t period,
                          size_t number)
{
    const int most = pq_grid_most(pq_code_grid(w->e->graph, node));
    pq_text  *t    = &w->e->body;

    pq_text_add(t, "    for (int b = 0; b < %zu; b += %zu) {\n        int near = 0;\n\n",
                whole, 16 * period);
    for (size_t v = 0; v < period; v++) {
        pq_text_add(
            t,
            "        V(bytes)(V(encode)(x + b + %zu, t%zue + %zu, %d, &near), v%zu "
            "+ b + %zu, 16, 16);\n",
            16 * v, number, 48 * v, most, node, 16 * v);
    }
    pq_text_add(t,
                "        if (__builtin_expect(near != 0, 0)) {\n"
                "            W(exact%zu)(x, v%zu, b, b + %zu);\n        }\n    }\n",
                node, node, 16 * period);
}

/* The whole input in vectors that stay in registers. */
static void encode_kept(pq_whole *w, size_t node, size_t panels, size_t period,
                        size_t number)
{
    const int most = pq_grid_most(pq_code_grid(w->e->graph, node));
    pq_text  *t    = &w->e->body;

    pq_whole_keep(w, node, panels, false);
    pq_text_add(t, "    {\n        int near = 0;\n");
    for (size_t p = 0; p < panels; p++) {
        pq_text_add(
            t, "        V(codes) c%zu = V(encode)(x + %zu, t%zue + %zu, %d, &near);\n", p,
            16 * p, number, p % period * 48, most);
    }
    pq_text_add(t,
                "\n        if (__builtin_expect(near != 0, 0)) {\n"
                "            W(exact%zu)(x, v%zu, 0, %zu);\n",
                node, node, 16 * panels);
    for (size_t p = 0; p < panels; p++) {
        pq_text_add(t, "            c%zu = V(codes_at)(v%zu + %zu);\n", p, node, 16 * p);
    }
    pq_text_add(t, "        }\n");
    for (size_t p = 0; p < panels; p++) {
        pq_text_add(t, "        KEEP(%zu, %zu, %zu, c%zu, 16, 16)\n", node, p, panels, p);
    }
    pq_text_add(t, "    }\n");
}

/* Tables of a period of the features in whole vectors: [A 16][B 16][edge 16] each. */
static pq_status encode_tables(pq_whole *w, size_t node, size_t width, size_t vectors,
                               size_t *number, pq_err *err)
{
    const pq_graph *g = w->e->graph;
    double         *t = NULL, *p = NULL, *q = NULL;
    pq_status       st;

    PQ_NEW(t, vectors * 48 + 1);
    PQ_NEW(p, width);
    PQ_NEW(q, width);
    *number = w->e->n_tables++;
    for (size_t i = 0; i < vectors * 16; i++) { /* of bytes only */
        double *to = t + i / 16 * 48 + i % 16;
        encode_row(g, pq_code_grid(g, node), i % width, to, to + 16, to + 32);
    }
    for (size_t c = 0; c < width; c++) {
        scaler_of(g, c, &p[c], &q[c]);
    }
    PQ_TRY(vectors > 0 ? pq_whole_reals(w, "float", 'e', *number, vectors * 48, t, err)
                       : PQ_OK);
    PQ_TRY(pq_whole_reals(w, "double", 'p', *number, width, p, err));
    PQ_TRY(pq_whole_reals(w, "double", 'q', *number, width, q, err));
cleanup:
    pq_free(t);
    pq_free(p);
    pq_free(q);
    return st;
}

pq_status pq_whole_input(pq_whole *w, size_t node, pq_err *err)
{
    const pq_graph *g     = w->e->graph;
    const size_t    n     = pq_emit_items(w->e, node);
    const size_t    width = g->scaler_mean != NULL ? g->scaler_mean->count : 1;
    pq_held_form    form;
    size_t          period = 1, number;
    pq_status       st;

    PQ_TRY(pq_whole_form(w, node, &form, err));
    PQ_TRY(pq_whole_hold(w, node, form, err));
    while (period * 16 % width != 0) {
        period++;
    }
    PQ_TRY(
        encode_tables(w, node, width, form == PQ_HELD_SMALL ? period : 0, &number, err));
    const size_t whole = form == PQ_HELD_SMALL ? n / (16 * period) * (16 * period) : 0;
    if (whole > 0) {
        define_exactly(w, node, number, width);
    }
    if (whole == n && n <= KEPT * 16 && period <= KEPT) {
        encode_kept(w, node, n / 16, period, number);
    } else if (whole > 0) {
        encode_looped(w, node, whole, period, number);
    }
    if (w->held[node].panels > 1) {
        pq_text_add(&w->e->body, "    SETTLE_OF(%zu)\n", n / 16);
    } else if (n > 16) {
        pq_text_add(&w->e->body, "    SETTLE(stack);\n");
    }
    if (whole < n) {
        PQ_TRY(encode_exactly(w, node, whole, n, number, width, err));
    }
cleanup:
    return st;
}
