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
    PQ_TRY(pq_whole_table(w, "int32_t", 'i', bias, n * 16,
                          e->lines || e->product != NULL ? e->starts : e->bias, err));
    PQ_TRY(pq_whole_reals(w, "float", 'f', bias, n * 16, b, err));
    if (e->how == PQ_TO_SCALE) {
        PQ_TRY(pq_whole_table(w, "int32_t", 'i', table, n * 64, e->narrow, err));
        PQ_TRY(pq_whole_table(w, "int64_t", 'l', table, n * 32, e->wide, err));
        PQ_TRY(pq_whole_reals(w, "float", 'f', table, n * 32, e->limits, err));
        PQ_TRY(pq_whole_reals(w, "double", 'd', table, n * 32, e->reals, err));
    } else if (e->how == PQ_TO_SHIFT || e->how == PQ_TO_EVEN) {
        PQ_TRY(pq_whole_table(w, "int32_t", 'k', table, n * 48, e->narrow, err));
        PQ_TRY(pq_whole_reals(w, "float", 'g', table, n * 16, e->reals, err));
    }
    if (e->lines) {
        PQ_TRY(pq_whole_reals(w, "float", 'e', table, n * 32, e->line, err));
    }
    if (e->product != NULL) {
        PQ_TRY(pq_whole_reals(w, "float", 'h', table, n * 48, e->product, err));
    }
    if (e->how == PQ_TO_ADDED) {
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
        "                for (int lane = 0; lane < %zu; lane++) {\n"
        "                    const int item = %s + lane;\n"
        "                    double v = (double)s[lane] * t%zum[%zu + lane] + ",
        p->sum, p->bias, p->panel * 16, p->table, p->panel * 80, codes ? name : "NULL",
        codes ? " + " : "", codes ? p->to : "", codes ? "NULL" : name, codes ? "" : " + ",
        codes ? "" : p->to, pq_grid_most(pq_code_grid(w->e->graph, last)), last, p->to,
        p->lanes, p->room, p->sum, p->bias, p->panel * 16, p->lanes, p->lanes, p->to,
        l->table, p->panel * 16);
    pq_whole_value(w, l->chain.other, "item");
    pq_text_add(t, ";");
    for (size_t i = 0; i < l->chain.n; i++) {
        pq_whole_bend(w->e->graph->nodes[l->chain.bends[i]].layer, t);
    }
    pq_text_add(t, "\n                    ");
    PQ_TRY(pq_whole_store(w, last, "item", "v", err));
    pq_text_add(t, "\n                }\n            }\n");
cleanup:
    return st;
}

/* The sums of a panel as codes, in C. */
static void add_codes(pq_text *t, const pq_linear *l, const pq_panel_end *p,
                      const char *sum)
{
    const pq_endings *e = &l->end;

    if (e->lines) {
        pq_text_add(t, "EITHER(");
    }
    if (e->how == PQ_TO_SHIFT) {
        pq_text_add(t, "V(shift)(%s, SHIFTS(t%zu, %zu), %d, %d, %zu)", sum, p->table,
                    p->panel, e->clamp.least, e->clamp.most, p->lanes);
    } else if (e->how == PQ_TO_EVEN) {
        pq_text_add(t, "V(even)(%s, SHIFTS(t%zu, %zu), %d, %d, %d, %zu)", sum, p->table,
                    p->panel, e->zero, e->clamp.least, e->clamp.most, p->lanes);
    } else {
        pq_text_add(t, "SCALE(%s, t%zu, %zu, %zu)", sum, p->table, p->panel, p->lanes);
    }
    if (e->lines) {
        pq_text_add(t, ", V(line)(%s, t%zue + %zu, %d, %d))", sum, p->table,
                    p->panel * 32, e->clamp.least, e->clamp.most);
    }
}

static void sums_end(pq_whole *w, const pq_linear *l, const pq_panel_end *p,
                     const char *sum)
{
    const size_t last = l->chain.last;

    if (l->form == PQ_HELD_FLOATS) {
        const size_t n =
            pq_whole_root(w, w->e->graph->output) == last ? p->lanes : p->room;
        pq_text_add(&w->e->body,
                    "            %sV(real)(%s, t%zum + %zu, v%zu + %s, %zu)%s",
                    l->end.product != NULL ? "EITHER(" : "", sum, l->table, p->panel * 16,
                    last, p->to, n, l->end.product != NULL ? "" : ";\n");
        if (l->end.product != NULL) {
            pq_text_add(&w->e->body, ", V(product)(%s, t%zuh + %zu, v%zu + %s, %zu));\n",
                        sum, p->table, p->panel * 48, last, p->to, n);
        }
    } else {
        pq_text_add(&w->e->body, "            V(put)(%s, v%zu + %s, %zu);\n", sum, last,
                    p->to, p->lanes);
    }
}

pq_status pq_ending_panel(pq_whole *w, const pq_linear *l, const pq_panel_end *p,
                          pq_err *err)
{
    pq_text     *t    = &w->e->body;
    const size_t last = l->chain.last;
    char         sum[64];

    (void)snprintf(sum, sizeof sum, "V(sums)(%s, B(t%zu) + %zu)", p->sum, p->bias,
                   p->panel * 16);
    if (l->end.how == PQ_TO_ADDED) {
        return added_end(w, l, p, err);
    }
    if (l->end.how == PQ_TO_SUMS) {
        sums_end(w, l, p, sum);
        return PQ_OK;
    }
    if (p->keep) {
        pq_text_add(t, "            KEEP(%zu, %zu, %zu, ", last, p->panel, l->panels);
        add_codes(t, l, p, sum);
        pq_text_add(t, ", %zu, %zu)\n", p->lanes, p->room);
        return PQ_OK;
    }
    pq_text_add(t, "            V(bytes)(");
    add_codes(t, l, p, sum);
    pq_text_add(t, ", v%zu + %s, %zu, %zu);\n", last, p->to, p->lanes, p->room);
    return PQ_OK;
}

size_t pq_lanes_of(const pq_linear *l, size_t panel)
{
    const size_t left = l->u->outputs - panel * 16;

    return left < 16 ? left : 16;
}
