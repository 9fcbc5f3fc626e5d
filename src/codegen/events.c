#include "codegen/events.h"

enum { MOST_BYTES = 256 << 10 /* values of a block: of the second-level cache */ };

void pq_events_turn(pq_emitter *e)
{
    const pq_text one = e->body;

    e->body  = e->block;
    e->block = one;
}

void pq_events_each(pq_emitter *e, size_t from, size_t to)
{
    if (to > from) {
        pq_text_add(&e->block, "    for (int e = 0; e < %d; e++) {\n    EVENT(e)\n",
                    PQ_EVENTS);
        pq_text_add_bytes(&e->block, e->body.text + from, to - from);
        pq_text_add(&e->block, "    }\n");
    }
}

void pq_events_decide(pq_emitter *e)
{
    uint64_t macs = 0;

    for (size_t i = 0; i < e->graph->n_nodes; i++) {
        macs += pq_node_macs(e->graph, i);
    }
    if (e->tiles || e->shared == 0 || e->shared < macs - e->shared ||
        PQ_EVENTS * pq_emit_stack(e) > MOST_BYTES) {
        e->body.failed = e->body.failed || e->block.failed;
        pq_text_free(&e->block);
    }
}

void pq_events_define(const pq_emitter *e, const char *type, const char *of,
                      const char *more, pq_text *out)
{
    pq_text_add(out,
                "#define EVENT(k) \\\n"
                "    const float *const x = xs + (k) * %s_INPUTS; \\\n"
                "    float *const y = ys + (k) * %s_OUTPUTS; \\\n"
                "    %s *const stack = stacks + (k) * (FRAME%s); \\\n"
                "    (void)x, (void)y, (void)stack;%s\n",
                e->name, e->name, type, of, more);
}

void pq_events_joins(size_t done, size_t chains, pq_events_join *join, void *context)
{
    for (size_t step = 1; step < chains; step *= 2) {
        for (size_t c = 0; c + step < chains; c += 2 * step) {
            const size_t end = c + 2 * step < chains ? c + 2 * step : chains;
            if (end - 1 == done) {
                join(context, c, c + step);
            }
        }
    }
}
