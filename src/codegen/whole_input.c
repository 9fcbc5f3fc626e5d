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

/* How a feature becomes a code in float32: x A + B rounded, where it is at least the edge
 * away from a tie; or the bits of x A + C from bit `by` on, where those below, with
 * `room` added, have one of the mask. Else the definition decides. */
typedef struct {
    double  a, b, edge, c;
    int64_t room, mask;
} encoding;

/* The bit that codes lie from: one that leaves them 7 bits and starts a byte, or 8. */
static int by_of(const pq_quant *grid)
{
    return pq_grid_most(grid) <= 127 ? 16 : 15;
}

/* Within a grid, x A + B is off by at most 2^-23 (most + 2 + |B| + |from|) codes: A and
 * the feature that the definition rounds are off by 2^-24 of what they are. The edge
 * leaves out four times as much. Truncation moves the ties by half a code. */
static encoding encoding_of(const pq_graph *g, const pq_quant *grid, size_t feature)
{
    const int    by = by_of(grid);
    const double half =
        grid->scheme == PQ_QUANT_FIXED && grid->rounding == PQ_ROUND_TRN ? 0.5 : 0.0;
    const double from = (double)(grid->zero_point[0] - pq_grid_least(grid)) - half;
    double       factor, summand, b, c, off, room = 1.0;
    encoding     e;

    scaler_of(g, feature, &factor, &summand);
    b      = summand / (double)grid->scale[0] + from;
    c      = ldexp(1.0, 23 - by) + b + 0.5;
    off    = ldexp(pq_grid_most(grid) + 2.0 + fabs(b) + fabs(from), -21);
    e.a    = (double)(float)(factor / (double)grid->scale[0]);
    e.b    = (double)(float)b;
    e.c    = (double)(float)c;
    e.edge = (double)(float)(0.5 - off);
    off    = ldexp(off / 4.0 + fabs(e.c - c), by) + 0.5; /* in bits, and rounded to one */
    while (room <= off && room < ldexp(1.0, by - 1)) {
        room *= 2.0;
    }
    e.room = (int64_t)room;
    e.mask = ((int64_t)1 << by) - 2 * e.room;
    if (!pq_quant_clips(grid) ||
        (grid->scheme == PQ_QUANT_FIXED && grid->rounding == PQ_ROUND_TRN_ZERO) ||
        !isfinite(e.a) || !isfinite(e.b) || !isfinite(e.c) || !(e.edge > 0.4)) {
        e = (encoding){.edge = -1.0}; /* always by the definition */
    }
    return e;
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
    } acts[] = {{"uint8_t", "i"}, {"float", "f"}};

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
    const pq_quant *grid = pq_code_grid(w->e->graph, node);
    pq_text        *t    = &w->e->body;

    pq_text_add(t, "    for (int b = 0; b < %zu; b += %zu) {\n        int near = 0;\n\n",
                whole, 16 * period);
    for (size_t v = 0; v < period; v++) {
        pq_text_add(
            t,
            "        V(bytes)(DOWN(V(encode)(x + b + %zu, t%zue + %zu, t%zun + %zu, %d, "
            "%d, &near), %d), v%zu + b + %zu, 16, 16);\n",
            16 * v, number, 64 * v, number, 32 * v, pq_grid_most(grid), by_of(grid),
            by_of(grid), node, 16 * v);
    }
    pq_text_add(t,
                "        if (__builtin_expect(near != 0, 0)) {\n"
                "            B(exact%zu)(x, v%zu, b, b + %zu);\n        }\n    }\n",
                node, node, 16 * period);
}

/* The whole input in vectors that stay in registers. */
static void encode_kept(pq_whole *w, size_t node, size_t panels, size_t period,
                        size_t number)
{
    const pq_quant *grid = pq_code_grid(w->e->graph, node);
    const int       by   = by_of(grid);
    pq_text        *t    = &w->e->body;

    pq_whole_keep(w, node, panels, false);
    pq_text_add(t, "    {\n        int near = 0;\n");
    for (size_t p = 0; p < panels; p++) {
        pq_text_add(t,
                    "        V(codes) c%zu = V(encode)(x + %zu, t%zue + %zu, t%zun + "
                    "%zu, %d, %d, &near);\n",
                    p, 16 * p, number, p % period * 64, number, p % period * 32,
                    pq_grid_most(grid), by);
    }
    pq_text_add(t,
                "\n        if (__builtin_expect(near != 0, 0)) {\n"
                "            B(exact%zu)(x, v%zu, 0, %zu);\n",
                node, node, 16 * panels);
    for (size_t p = 0; p < panels; p++) {
        pq_text_add(t, "            c%zu = UP(V(codes_at)(v%zu + %zu), %d);\n", p, node,
                    16 * p, by);
    }
    pq_text_add(t, "        }\n");
    for (size_t p = 0; p < panels; p++) {
        pq_text_add(t, "        KEEP_FROM(%zu, %zu, c%zu, %d)\n", node, p, p, by);
    }
    pq_text_add(t, "    }\n");
}

/* Tables of a period of the features in whole vectors: [A 16][B 16][edge 16][C 16] and
 * [room 16][mask 16] each. */
static pq_status encode_tables(pq_whole *w, size_t node, size_t width, size_t vectors,
                               size_t *number, pq_err *err)
{
    const pq_graph *g = w->e->graph;
    double         *t = NULL, *p = NULL, *q = NULL;
    int64_t        *bits = NULL;
    pq_status       st;

    PQ_NEW(t, vectors * 64 + 1);
    PQ_NEW(bits, vectors * 32 + 1);
    PQ_NEW(p, width);
    PQ_NEW(q, width);
    *number = w->e->n_tables++;
    for (size_t i = 0; i < vectors * 16; i++) { /* of bytes only */
        const encoding e  = encoding_of(g, pq_code_grid(g, node), i % width);
        double *const  to = t + i / 16 * 64 + i % 16;
        int64_t *const of = bits + i / 16 * 32 + i % 16;
        to[0]             = e.a;
        to[16]            = e.b;
        to[32]            = e.edge;
        to[48]            = e.c;
        of[0]             = e.room;
        of[16]            = e.mask;
    }
    for (size_t c = 0; c < width; c++) {
        scaler_of(g, c, &p[c], &q[c]);
    }
    if (vectors > 0) {
        PQ_TRY(pq_whole_reals(w, "float", 'e', *number, vectors * 64, t, err));
        PQ_TRY(pq_whole_table(w, "int32_t", 'n', *number, vectors * 32, bits, err));
    }
    PQ_TRY(pq_whole_reals(w, "double", 'p', *number, width, p, err));
    PQ_TRY(pq_whole_reals(w, "double", 'q', *number, width, q, err));
cleanup:
    pq_free(t);
    pq_free(bits);
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
