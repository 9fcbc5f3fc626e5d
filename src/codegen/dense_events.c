/*
 * A block of events goes over the weights of a dense layer once in a tile of events and
 * panels, whose sums stay in registers: one chain of the sums of one event after the
 * other, joined as there. A last panel of eight outputs or less has a tile of its own, of
 * vectors of eight.
 */
#include "codegen/dense_events.h"

#include <stdio.h>
#include <string.h>

#include "codegen/events.h"

/* Events and panels of a tile: sums and weights fit into the registers of the set; and
 * what stands before its loops. */
static const struct {
    pq_codegen_isa isa;
    size_t         events, panels;
    const char    *loop;
} tiles[] = {
    {PQ_CODEGEN_AVX512, 8, 2, ""},
    {PQ_CODEGEN_AVX2, 4, 1, "        ROLLED\n"},
    {PQ_CODEGEN_PORTABLE, 2, 1, "        ROLLED\n"},
};
enum { TILES = sizeof tiles / sizeof *tiles, HALF = PQ_LANES / 2 };

/* A tile while it is written. */
typedef struct {
    pq_emitter          *e;
    const pq_dense_sums *sums;
    size_t               length, events, first, panels; /* first: panel of the group */
    const char          *loop;
    const char          *of; /* vectors: "" of 16 floats, "8" of eight */
} tile;

static void open_chain(const tile *t, size_t chain)
{
    pq_text *out = &t->e->body;

    for (size_t k = 0; k < t->events; k++) {
        for (size_t p = 0; p < t->panels; p++) {
            if (k + p == 0) {
                pq_text_add(out, "        vu%s s0_0_%zu", t->of, chain);
            } else {
                pq_text_add(out, ", s%zu_%zu_%zu", k, p, chain);
            }
        }
    }
    pq_text_add(out, ";\n       ");
    for (size_t k = 0; k < t->events; k++) {
        for (size_t p = 0; p < t->panels; p++) {
            if (chain == 0) {
                pq_text_add(out, " LOAD%s(s%zu_%zu_%zu, t%zu + %zu)", t->of, k, p, chain,
                            t->sums->biases,
                            t->sums->group.first + (t->first + p) * PQ_LANES);
            } else {
                pq_text_add(out, " ZERO%s(s%zu_%zu_%zu)", t->of, k, p, chain);
            }
        }
    }
    pq_text_add(out, "\n");
}

static void add_chain(const tile *t, size_t chain, const char *step)
{
    pq_text     *out  = &t->e->body;
    const size_t wide = t->sums->group.panels * PQ_LANES;

    pq_text_add(out,
                "%s        for (int i = %zu; i < %zu; i += %zu) {\n            vu%s xi",
                t->loop, chain, t->length, t->sums->chains, t->of);
    for (size_t p = 0; p < t->panels; p++) {
        pq_text_add(out, ", w%zu", p);
    }
    pq_text_add(out, ";\n\n           ");
    for (size_t p = 0; p < t->panels; p++) {
        pq_text_add(out, " LOAD%s(w%zu, w + i * %zu + %zu)", t->of, p, wide,
                    (t->first + p) * PQ_LANES);
    }
    pq_text_add(out, "\n");
    for (size_t k = 0; k < t->events; k++) {
        pq_text_add(out, "            SPREAD%s(xi, in[%zu * %s + i])", t->of, k, step);
        for (size_t p = 0; p < t->panels; p++) {
            pq_text_add(out, " MULTIPLY%s(s%zu_%zu_%zu, xi, w%zu)", t->of, k, p, chain,
                        p);
        }
        pq_text_add(out, "\n");
    }
    pq_text_add(out, "        }\n");
}

static void join(void *context, size_t to, size_t from)
{
    const tile *t = context;

    for (size_t k = 0; k < t->events; k++) {
        for (size_t p = 0; p < t->panels; p++) {
            pq_text_add(&t->e->body, "        JOIN%s(s%zu_%zu_%zu, s%zu_%zu_%zu)\n",
                        t->of, k, p, to, k, p, from);
        }
    }
}

/* Floats from an event to the next where a value lies. */
static const char *step_of(const pq_emitter *e, const char *place, char text[64])
{
    if (place[0] == '(') {
        return "FRAME";
    }
    (void)snprintf(text, 64, "%s_%s", e->name, place[0] == 'x' ? "INPUTS" : "OUTPUTS");
    return text;
}

static void write_tile(tile *t, const pq_emit_step *s, const pq_rows *a)
{
    pq_emitter      *e     = t->e;
    const pq_panels *group = &t->sums->group;
    const char      *from = pq_emit_input(e, s, 0), *to = e->place[s->last];
    const bool       half = t->of[0] != '\0';
    char             sum[48], at[128], text[64];

    pq_text_add(&e->body,
                "    for (int e = 0; e < %d; e += %zu) {\n        EVENT(e)\n"
                "        const float *const in = %s;\n        float *const out = %s;\n"
                "        const float *const w = t%zu;\n\n",
                PQ_EVENTS, t->events, from, to, t->sums->weights);
    for (size_t c = 0; c < t->sums->chains; c++) {
        open_chain(t, c);
        add_chain(t, c, step_of(e, from, text));
        pq_events_joins(c, t->sums->chains, join, t);
    }
    for (size_t k = 0; k < t->events; k++) {
        for (size_t p = 0; p < t->panels; p++) {
            const size_t first = (t->first + p) * PQ_LANES, left = group->n - first;
            (void)snprintf(sum, sizeof sum, "%s%zu_%zu%s", half ? "v" : "s", k, p,
                           half ? "" : "_0");
            if (half) {
                pq_text_add(&e->body, "        WIDE(%s, s%zu_%zu_0)\n", sum, k, p);
            }
            (void)snprintf(at, sizeof at, "out + %zu * %s + %zu", k, step_of(e, to, text),
                           group->first + first);
            pq_panel_store(e, s, a, sum, at, left < PQ_LANES ? left : PQ_LANES);
        }
    }
    pq_text_add(&e->body, "    }\n");
}

/* The tiles of a set. */
static void write_tiles(tile t, const pq_emit_step *s, const pq_rows *a,
                        size_t most_panels)
{
    const size_t panels = t.sums->group.panels, rest = t.sums->group.n % PQ_LANES;
    const size_t full = rest > 0 && rest <= HALF ? panels - 1 : panels;

    t.of = "";
    for (; t.first < full; t.first += t.panels) {
        const size_t left = full - t.first;
        t.panels          = left < most_panels ? left : most_panels;
        write_tile(&t, s, a);
    }
    if (full < panels) {
        t.of     = "8";
        t.panels = 1;
        t.events = t.events * 2 < PQ_EVENTS ? t.events * 2 : PQ_EVENTS;
        write_tile(&t, s, a);
    }
}

void pq_dense_events(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                     const pq_dense_sums *sums)
{
    pq_events_turn(e);
    for (size_t i = 0; i < TILES; i++) {
        if (!pq_emit_has(e, tiles[i].isa)) {
            continue;
        }
        pq_text_add(&e->body, "#if defined SET_%s\n", pq_codegen_isas[tiles[i].isa]);
        write_tiles((tile){.e      = e,
                           .sums   = sums,
                           .length = a->length,
                           .loop   = tiles[i].loop,
                           .events = tiles[i].events},
                    s, a, tiles[i].panels);
        pq_text_add(&e->body, "#endif\n");
    }
    pq_events_turn(e);
}
