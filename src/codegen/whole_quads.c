/*
 * A dense layer of one row and at most eight outputs for one event: two sums of four, of
 * 128 bits each. Their codes are spread where they are needed by the one instruction that
 * narrows them; from the upper parts of a wider vector the way is longer. For sets with
 * QUADS alone, beside the same layer in whole panels.
 */
#include "codegen/whole_linear.h"
#include "core/memory.h"

enum { MOST = 8 /* outputs */, CHAINS = 4, WRITTEN = 32 /* blocks */ };

bool pq_quads_may(const pq_linear *l)
{
    const pq_endings *e = &l->end;

    return l->u->outputs <= MOST && pq_segments_of(l).blocks <= WRITTEN &&
           (e->how == PQ_TO_SHIFT || e->lines || e->product != NULL);
}

/* Four inputs in 128 bits. */
static void four(pq_whole *w, size_t in, size_t block)
{
    const pq_held *held = pq_whole_held(w, in);
    const size_t   root = pq_whole_root(w, in);
    pq_text       *t    = &w->e->body;

    if (held->quads) {
        pq_text_add(t, "l%zu_q.a[%zu]", root, block);
    } else if (held->panels > 0) {
        pq_text_add(t, "V(lane4)(l%zu_%zu, %zu)", root, block / 4, block % 4);
    } else {
        pq_text_add(t, "V(lane4)(V(x4)(v%zu + %zu), 0)", root, 4 * block);
    }
}

static void ending(pq_whole *w, const pq_linear *l, const pq_group *g)
{
    const pq_endings *e    = &l->end;
    const size_t      last = l->chain.last;
    pq_text          *t    = &w->e->body;

    if (e->how == PQ_TO_SUMS) {
        pq_text_add(t, "        V(product4)(q0, t%zuh, v%zu, %zu);\n", g->table, last,
                    pq_whole_root(w, w->e->graph->output) == last ? l->u->outputs : MOST);
    } else if (e->how == PQ_TO_SHIFT) {
        pq_text_add(t, "        l%zu_q = V(spread4)(V(shift4)(q0, t%zuk, %d, %d));\n",
                    last, g->table, e->clamp.least, e->clamp.most);
    } else {
        pq_text_add(t, "        l%zu_q = V(spread4)(V(line4)(q0, t%zue, %d, %d));\n",
                    last, g->table, e->clamp.least, e->clamp.most);
    }
    if (e->how != PQ_TO_SUMS) {
        pq_text_add(t, "        V(bytes4)(l%zu_q, v%zu);\n", last, last);
    }
}

pq_status pq_quads(pq_whole *w, const pq_linear *l, const pq_group *g, pq_err *err)
{
    const pq_segments s      = pq_segments_of(l);
    const size_t      chains = s.blocks < CHAINS ? s.blocks : CHAINS;
    const size_t      in     = w->e->graph->nodes[l->node].inputs[0];
    pq_text          *t      = &w->e->body;
    int64_t          *block  = NULL;
    size_t            n = 0, turn = 0;
    pq_status         st;

    PQ_NEW(block, PQ_BLOCK);
    for (size_t c = 0; c < chains; c++) {
        pq_text_add(t,
                    c == 0 ? "        V(quads) q0 = V(start4)(B(t%zu))"
                           : ", q%zu = V(zero4)()",
                    c == 0 ? g->bias : c);
    }
    pq_text_add(t, ";\n");
    for (size_t b = 0; b < s.blocks; b++) {
        if (pq_block_get(l, &s, 0, b, block)) {
            pq_text_add(t, "        q%zu = V(dot4)(q%zu, ", turn, turn);
            four(w, in, b);
            pq_text_add(t, ", W(t%zu) + %zu, %zu);\n", g->weights, n++ * PQ_BLOCK,
                        l->u->outputs);
            turn = (turn + 1) % chains;
        }
    }
    for (size_t step = 1; step < chains; step *= 2) {
        for (size_t c = 0; c + step < chains; c += 2 * step) {
            pq_text_add(t, "        q%zu = V(join4)(q%zu, q%zu);\n", c, c, c + step);
        }
    }
    ending(w, l, g);
cleanup:
    pq_free(block);
    return st;
}
