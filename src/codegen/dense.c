/*
 * Dense layers on vectors of 16 floats. Weights lie as the loop reads them: [panels of 16
 * outputs in groups][inputs][panels of the group][16], the last panel filled up with
 * zeros. Short sums are written out, and leave out blocks of 16 zeros.
 */
#include <stdio.h>

#include "codegen/dense_events.h"
#include "codegen/dense_pairs.h"
#include "codegen/events.h"
#include "core/memory.h"

enum {
    GROUP   = 4,   /* panels that share one pass over the inputs */
    CHAINS  = 8,   /* independent sums that keep the processor busy */
    WRITTEN = 256, /* most products of vectors that are written out one by one */
};

/* Sums written out. Products whose weights are all zero are left out, and with them their
 * weights. */
static pq_status write_sums(pq_emitter *e, const pq_rows *a, pq_panels g, size_t chains,
                            pq_err *err)
{
    double   *w = NULL;
    size_t    n = 0, number, turn = 0;
    pq_status st;

    PQ_NEW(w, a->length * g.panels * PQ_LANES);
    for (size_t i = 0; i < a->length; i++) {
        bool spread = false;
        for (size_t p = 0; p < g.panels; p++) {
            const size_t output = g.first + p * PQ_LANES;
            if (pq_block_is_zero(a, output, i)) {
                e->summary.skipped++;
                continue;
            }
            if (!spread) {
                pq_text_add(&e->body, "        SPREAD(xi, in[%zu])", i);
                spread = true;
            }
            pq_block_put(a, output, i, w + n);
            pq_text_add(&e->body, " MAC(s%zu_%zu, xi, w + %zu)", p, turn, n);
            n += PQ_LANES;
        }
        if (spread) {
            pq_text_add(&e->body, "\n");
            turn = (turn + 1) % chains;
        }
    }
    n = n > 0 ? n : PQ_LANES; /* of nothing but zeros one block is left, unread */
    PQ_TRY(pq_emit_table(e, n, w, &number, err));
cleanup:
    pq_free(w);
    return st;
}

/* Products of one input, `in[<index>]` with its weights from
 * w + <index> * panels * 16 on, into sums of the chain. */
static void add_products(pq_emitter *e, pq_panels g, size_t chain, const char *index)
{
    pq_text_add(&e->body, "        SPREAD(xi, in[%s])", index);
    for (size_t p = 0; p < g.panels; p++) {
        pq_text_add(&e->body, " MAC(s%zu_%zu, xi, w + (%s) * %zu + %zu)", p, chain, index,
                    g.panels * PQ_LANES, p * PQ_LANES);
    }
    pq_text_add(&e->body, "\n");
}

/* Sums in a loop over the inputs. */
static pq_status loop_sums(pq_emitter *e, const pq_rows *a, pq_panels g, size_t chains,
                           pq_err *err)
{
    const size_t whole = a->length / chains * chains;
    double      *w     = NULL;
    char         index[32];
    size_t       number;
    pq_status    st;

    PQ_NEW(w, a->length * g.panels * PQ_LANES);
    for (size_t i = 0; i < a->length; i++) {
        for (size_t p = 0; p < g.panels; p++) {
            pq_block_put(a, g.first + p * PQ_LANES, i, w + (i * g.panels + p) * PQ_LANES);
        }
    }
    PQ_TRY(pq_emit_table(e, a->length * g.panels * PQ_LANES, w, &number, err));
    pq_text_add(&e->body, "        for (int i = 0; i < %zu; i += %zu) {\n", whole,
                chains);
    for (size_t c = 0; c < chains; c++) {
        (void)snprintf(index, sizeof index, "i + %zu", c);
        add_products(e, g, c, index);
    }
    pq_text_add(&e->body, "        }\n");
    for (size_t i = whole; i < a->length; i++) {
        (void)snprintf(index, sizeof index, "%zu", i);
        add_products(e, g, i - whole, index);
    }
cleanup:
    pq_free(w);
    return st;
}

static size_t chains_of(const pq_rows *a, pq_panels g)
{
    const size_t chains = CHAINS / g.panels;

    return chains > a->length ? a->length : chains;
}

/* One group of outputs of a dense layer, for `in` and `out` of one row, in every set.
 * @param[out] weights  number of their table: [inputs][panels][16] */
static pq_status dense_group(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                             pq_panels g, size_t biases, size_t *weights, pq_err *err)
{
    const size_t chains  = chains_of(a, g);
    const bool   written = a->length * g.panels <= WRITTEN;
    const bool   pairs   = written && pq_dense_pairs_may(e, a, g, chains);
    pq_status    st;

    if (pairs) {
        pq_text_add(&e->body, "#if defined SET_avx512\n");
        PQ_TRY(pq_dense_pairs(e, s, a, g, chains, err));
        pq_text_add(&e->body, "#else\n");
    }
    *weights = e->n_tables;
    pq_text_add(&e->body, "        const float *const w = t%zu;\n        vu xi",
                e->n_tables);
    for (size_t p = 0; p < g.panels; p++) {
        for (size_t c = 0; c < chains; c++) {
            pq_text_add(&e->body, ", s%zu_%zu", p, c);
        }
    }
    pq_text_add(&e->body, ";\n\n        ZERO(xi)");
    for (size_t p = 0; p < g.panels; p++) {
        pq_text_add(&e->body, " LOAD(s%zu_0, t%zu + %zu)", p, biases,
                    g.first + p * PQ_LANES);
        for (size_t c = 1; c < chains; c++) {
            pq_text_add(&e->body, " ZERO(s%zu_%zu)", p, c);
        }
    }
    pq_text_add(&e->body, "\n");
    PQ_TRY(written ? write_sums(e, a, g, chains, err) : loop_sums(e, a, g, chains, err));
    for (size_t step = 1; step < chains; step *= 2) { /* pairs: a tree of sums */
        for (size_t p = 0; p < g.panels; p++) {
            for (size_t c = 0; c + step < chains; c += 2 * step) {
                pq_text_add(&e->body, "        JOIN(s%zu_%zu, s%zu_%zu)\n", p, c, p,
                            c + step);
            }
        }
    }
    for (size_t p = 0; p < g.panels; p++) {
        const size_t left = g.n - p * PQ_LANES;
        char         sum[32], to[48];
        (void)snprintf(sum, sizeof sum, "s%zu_0", p);
        (void)snprintf(to, sizeof to, "out + %zu", g.first + p * PQ_LANES);
        pq_panel_store(e, s, a, sum, to, left < PQ_LANES ? left : PQ_LANES);
    }
    pq_text_add(&e->body, "        (void)w, (void)xi, (void)in;\n%s",
                pairs ? "#endif\n" : "");
cleanup:
    return st;
}

/* The same layer for a block of events, with the tables of its groups: of one row, and
 * without blocks that were left out. */
static void for_events(pq_emitter *e, const pq_emit_step *s, const pq_rows *a,
                       size_t biases, const size_t *weights)
{
    for (size_t first = 0; first < a->outputs; first += GROUP * PQ_LANES) {
        const pq_panels     g    = pq_panels_at(a->outputs, first, GROUP);
        const pq_dense_sums sums = {g, chains_of(a, g), biases, *weights++};
        pq_dense_events(e, s, a, &sums);
    }
    e->shared += pq_node_macs(e->graph, s->node);
}

pq_status pq_emit_dense(pq_emitter *e, const pq_emit_step *s, pq_err *err)
{
    const size_t n = pq_emit_items(e, s->node), skipped = e->summary.skipped;
    pq_rows      a       = {0};
    size_t      *weights = NULL, biases, after;
    pq_status    st;

    PQ_TRY(pq_rows_of(e, s, &a, err));
    PQ_NEW(weights, a.outputs / (GROUP * PQ_LANES) + 1);
    PQ_TRY(pq_rows_biases(e, &a, &biases, err));
    for (size_t first = 0; first < a.outputs; first += GROUP * PQ_LANES) {
        pq_text_add(&e->body,
                    "    for (int r = 0; r < %zu; r++) {\n"
                    "        const float *const in = %s + r * %zu;\n"
                    "        float *const out = %s + r * %zu;\n",
                    n / a.outputs, pq_emit_input(e, s, 0), a.length, e->place[s->last],
                    a.outputs);
        PQ_TRY(dense_group(e, s, &a, pq_panels_at(a.outputs, first, GROUP), biases,
                           &weights[first / (GROUP * PQ_LANES)], err));
        pq_text_add(&e->body, "    }\n");
    }
    after = e->body.length;
    if (!pq_emit_vectors(e, s, a.after)) {
        pq_text_add(&e->body, "    SETTLE(stack);\n");
        pq_emit_functions_over(e, s, a.after, e->place[s->last], n);
    }
    if (n == a.outputs && e->summary.skipped == skipped) {
        for_events(e, s, &a, biases, weights);
        pq_events_each(e, after, e->body.length);
    }
cleanup:
    pq_rows_free(&a);
    pq_free(weights);
    return st;
}
