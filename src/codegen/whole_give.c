/* From sums in vectors to values in memory: tables of the ending, and its statements. */
#include "codegen/whole_linear.h"
#include "core/memory.h"
#include "exec/codes.h"

/* Numbers of the ending: biases under `bias`, the rest under `table`. */
pq_status pq_ending_tables(pq_whole *w, const pq_linear *l, size_t bias, size_t table,
                           pq_err *err)
{
    const size_t      n = l->panels;
    const pq_endings *e = &l->end;
    double           *b = NULL;
    pq_status         st;

    PQ_NEW(b, n * 16);
    for (size_t i = 0; i < n * 16; i++) {
        b[i] = (double)e->bias[i];
    }
    PQ_TRY(pq_whole_table(w, "int32_t", 'i', bias, n * 16, e->bias, err));
    PQ_TRY(pq_whole_reals(w, "float", 'f', bias, n * 16, b, err));
    if (e->how == PQ_TO_SCALE) {
        PQ_TRY(pq_whole_table(w, "int32_t", 'i', table, n * 64, e->narrow, err));
        PQ_TRY(pq_whole_table(w, "int64_t", 'l', table, n * 32, e->wide, err));
        PQ_TRY(pq_whole_reals(w, "float", 'f', table, n * 32, e->limits, err));
        PQ_TRY(pq_whole_reals(w, "double", 'd', table, n * 32, e->reals, err));
    } else if (e->how == PQ_TO_SHIFT || e->how == PQ_TO_EVEN) {
        PQ_TRY(pq_whole_table(w, "int32_t", 'k', table, n * 48, e->narrow, err));
        PQ_TRY(pq_whole_reals(w, "float", 'g', table, n * 16, e->reals, err));
    } else if (e->how == PQ_TO_ADDED) {
        PQ_TRY(pq_whole_reals(w, "float", 'a', table, n * 80, e->reals, err));
    }
cleanup:
    pq_free(b);
    return st;
}

static pq_status added_end(pq_whole *w, const pq_linear *l, const pq_panel_end *p,
                           pq_err *err)
{
    pq_text       *t     = &w->e->body;
    const size_t   last  = l->chain.last;
    const pq_held *other = pq_whole_held(w, l->chain.other);
    const bool     codes = other->form == PQ_HELD_SMALL;
    char           name[32];
    pq_status      st;

    pq_whole_name(w, l->chain.other, name);
    pq_text_add(
        t,
        "            if (__builtin_expect(V(added)(V(sums)(%s, B(t%zu) + %zu), t%zua + "
        "%zu, %s%s%s, %s%s%s, %d, v%zu + %s, %zu, %zu) != 0, 0)) {\n"
        "                int32_t s[16];\n\n"
        "                V(put)(V(sums)(%s, B(t%zu) + %zu), s, %zu);\n"
        "                for (int k = 0; k < %zu; k++) {\n"
        "                    const int at = %s + k;\n"
        "                    double v = (double)s[k] * t%zum[%zu + k] + ",
        p->sum, p->bias, p->panel * 16, p->table, p->panel * 80, codes ? name : "NULL",
        codes ? " + " : "", codes ? p->to : "", codes ? "NULL" : name, codes ? "" : " + ",
        codes ? "" : p->to, pq_grid_most(pq_code_grid(w->e->graph, last)), last, p->to,
        p->lanes, p->room, p->sum, p->bias, p->panel * 16, p->lanes, p->lanes, p->to,
        l->table, p->panel * 16);
    pq_whole_value(w, l->chain.other, "at");
    pq_text_add(t, ";");
    for (size_t i = 0; i < l->chain.n; i++) {
        pq_whole_bend(w->e->graph->nodes[l->chain.bends[i]].layer, t);
    }
    pq_text_add(t, "\n                    ");
    PQ_TRY(pq_whole_store(w, last, "at", "v", err));
    pq_text_add(t, "\n                }\n            }\n");
cleanup:
    return st;
}

pq_status pq_ending_panel(pq_whole *w, const pq_linear *l, const pq_panel_end *p,
                          pq_err *err)
{
    pq_text     *t    = &w->e->body;
    const size_t last = l->chain.last;
    char         sum[64];

    (void)snprintf(sum, sizeof sum, "V(sums)(%s, B(t%zu) + %zu)", p->sum, p->bias,
                   p->panel * 16);
    switch (l->end.how) {
    case PQ_TO_SUMS:
        if (l->form == PQ_HELD_FLOATS) {
            pq_text_add(t, "            V(real)(%s, t%zum + %zu, v%zu + %s, %zu);\n", sum,
                        l->table, p->panel * 16, last, p->to,
                        pq_whole_root(w, w->e->graph->output) == last ? p->lanes
                                                                      : p->room);
        } else {
            pq_text_add(t, "            V(put)(%s, v%zu + %s, %zu);\n", sum, last, p->to,
                        p->lanes);
        }
        break;
    case PQ_TO_SHIFT:
        pq_text_add(
            t,
            "            V(shift)(%s, SHIFTS(t%zu, %zu), %d, %d, v%zu + %s, %zu, %zu);\n",
            sum, p->table, p->panel, l->end.clamp.least, l->end.clamp.most, last, p->to,
            p->lanes, p->room);
        break;
    case PQ_TO_EVEN:
        pq_text_add(t,
                    "            V(even)(%s, SHIFTS(t%zu, %zu), %d, %d, %d, v%zu + %s, "
                    "%zu, %zu);\n",
                    sum, p->table, p->panel, l->end.zero, l->end.clamp.least,
                    l->end.clamp.most, last, p->to, p->lanes, p->room);
        break;
    case PQ_TO_SCALE:
        pq_text_add(t, "            SCALE(%s, t%zu, %zu, v%zu + %s, %zu, %zu);\n", sum,
                    p->table, p->panel, last, p->to, p->lanes, p->room);
        break;
    case PQ_TO_ADDED:
        return added_end(w, l, p, err);
    }
    return PQ_OK;
}

size_t pq_lanes_of(const pq_linear *l, size_t panel)
{
    const size_t left = l->u->outputs - panel * 16;

    return left < 16 ? left : 16;
}
