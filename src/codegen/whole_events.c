/*
 * A dense layer in whole numbers for a block of events: tiles of events and panels, whose
 * sums stay in registers while the weights are read once. Whole sums have no order.
 */
#include <stdio.h>

#include "codegen/events.h"
#include "codegen/whole_linear.h"

/* Events and panels of a tile, by the macro EVENTS of each set: whole_sets.c. */
static const struct {
    size_t events, panels;
} tiles[] = {{8, 2}, {4, 1}, {1, 2}};
enum { TILES = sizeof tiles / sizeof *tiles };

bool pq_events_may(const pq_linear *l, size_t skipped_before, size_t skipped)
{
    return l->end.how != PQ_TO_ADDED && skipped == skipped_before;
}

/* Items from an event to the next, of what a layer gives. */
static const char *step_of(const pq_whole *w, const pq_linear *l, char text[64])
{
    if (l->form == PQ_HELD_SMALL) {
        return "FRAME";
    }
    if (l->form == PQ_HELD_FLOATS &&
        pq_whole_root(w, w->e->graph->output) == l->chain.last) {
        (void)snprintf(text, 64, "%s_OUTPUTS", w->e->name);
        return text;
    }
    return "(FRAME * (int)sizeof(V(act)) / 4)";
}

static pq_status write_tile(pq_whole *w, const pq_linear *l, const pq_group *g,
                            size_t first, size_t panels, size_t events, pq_err *err)
{
    const pq_segments s = pq_segments_of(l);
    pq_text          *t = &w->e->body;
    char              name[32], sum[32], to[128], text[64];
    pq_status         st = PQ_OK;

    pq_whole_name(w, w->e->graph->nodes[l->node].inputs[0], name);
    pq_text_add(t, "    for (int e = 0; e < %d; e += %zu) {\n    EVENT(e)\n", PQ_EVENTS,
                events);
    pq_open_sums(w, g->first + first, g->bias, panels, events, false);
    pq_text_add(t, "        for (int b = 0; b < %zu; b++) {\n", s.blocks);
    for (size_t k = 0; k < events; k++) {
        pq_text_add(t, "            x4 = V(x4)(%s + %zu * FRAME + 4 * b);\n", name, k);
        for (size_t p = 0; p < panels; p++) {
            pq_text_add(t,
                        "            s%zu_%zu = V(dot)(s%zu_%zu, x4, W(t%zu) + (b * %zu "
                        "+ %zu) * %d, %zu);\n",
                        p, k, p, k, g->weights, g->panels, first + p, PQ_BLOCK,
                        pq_lanes_of(l, g->first + first + p));
        }
    }
    pq_text_add(t, "        }\n");
    for (size_t k = 0; k < events; k++) {
        for (size_t p = 0; p < panels; p++) {
            const size_t panel = g->first + first + p;
            (void)snprintf(sum, sizeof sum, "s%zu_%zu", p, k);
            (void)snprintf(to, sizeof to, "%zu * %s + %zu", k, step_of(w, l, text),
                           panel * 16);
            PQ_TRY(pq_ending_panel(w, l,
                                   &(pq_panel_end){panel, g->bias, g->table, sum, to,
                                                   pq_lanes_of(l, panel), 16, false},
                                   err));
        }
    }
    pq_text_add(t, "    }\n");
cleanup:
    return st;
}

pq_status pq_events_group(pq_whole *w, const pq_linear *l, const pq_group *g, pq_err *err)
{
    pq_status st = PQ_OK;

    pq_events_turn(w->e);
    for (size_t i = 0; i < TILES; i++) {
        pq_text_add(&w->e->body, "#if EVENTS == %zu\n", tiles[i].events);
        for (size_t first = 0; first < g->panels; first += tiles[i].panels) {
            const size_t left = g->panels - first;
            PQ_TRY(write_tile(w, l, g, first,
                              left < tiles[i].panels ? left : tiles[i].panels,
                              tiles[i].events, err));
        }
        pq_text_add(&w->e->body, "#endif\n");
    }
cleanup:
    pq_events_turn(w->e);
    return st;
}

void pq_events_begin(pq_whole *w, const pq_linear *l)
{
    pq_events_each(w->e, l->begin, l->held);
    if (!l->end.exact) { /* the portable variant goes one by one */
        pq_text_add(&w->e->block, "#if FLOATS\n");
        pq_events_each(w->e, l->plain, l->plain_end);
        pq_text_add(&w->e->block, "#else\n");
    }
}

void pq_events_end(pq_whole *w, const pq_linear *l)
{
    pq_text_add(&w->e->block, "%s", l->end.exact ? "" : "#endif\n");
    w->e->shared += pq_node_macs(w->e->graph, l->node);
}
