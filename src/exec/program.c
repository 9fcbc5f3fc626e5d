#include "exec/program.h"

#include <string.h>

#include "core/memory.h"
#include "exec/layout.h"

/* Activations of one tile should stay in the second-level cache from layer to layer. */
enum { TILE_BYTES = 256 * 1024 };

/* What is known of the graph while its program is made. */
typedef struct {
    const pq_graph  *graph;
    const pq_engine *engine;
    bool             whole, lean;
    bool            *needed;  /* [n_nodes] the output depends on it */
    bool            *taken;   /* [n_nodes] fused into a step */
    size_t          *readers; /* [n_nodes] edges out, and one for the output */
    pq_step         *steps;   /* [n_steps] by falling index of `last` no more: sorted */
    size_t           n_steps;
} planner;

static bool is_input(const pq_graph *graph, size_t node)
{
    return strcmp(graph->nodes[node].layer->kind->name, "input") == 0;
}

/* Nodes whose value is their input's, item for item. */
static bool is_alias(const pq_graph *graph, size_t node)
{
    const pq_node *n = &graph->nodes[node];

    return pq_layer_is(n->layer, PQ_TRAIT_ALIAS) && n->quant == NULL;
}

static void mark_needed(planner *p)
{
    const pq_graph *g = p->graph;

    p->needed[g->output] = true;
    p->readers[g->output]++;
    for (size_t i = g->n_nodes; i-- > 0;) {
        p->needed[i] = p->needed[i] || p->whole;
        for (size_t k = 0; p->needed[i] && k < g->nodes[i].n_inputs; k++) {
            p->needed[g->nodes[i].inputs[k]] = true;
            p->readers[g->nodes[i].inputs[k]]++;
        }
    }
}

/* The only reader of a node that has one, else PQ_NO_NODE. */
static size_t only_reader(const planner *p, size_t node)
{
    const pq_graph *g = p->graph;

    if (p->readers[node] != 1 || node == g->output) {
        return PQ_NO_NODE;
    }
    for (size_t i = node + 1; i < g->n_nodes; i++) {
        for (size_t k = 0; p->needed[i] && k < g->nodes[i].n_inputs; k++) {
            if (g->nodes[i].inputs[k] == node) {
                return i;
            }
        }
    }
    return PQ_NO_NODE;
}

/* Lets the engine take the only reader of the step's value into the step. */
static bool take_next(planner *p, pq_step *s)
{
    const size_t   next  = only_reader(p, s->last);
    const pq_node *nodes = p->graph->nodes;

    if (next == PQ_NO_NODE || p->taken[next] || nodes[s->last].quant != NULL) {
        return false;
    }
    switch (p->engine->fuses(s, next)) {
    case PQ_FUSE_NORM:
        s->norm = next;
        break;
    case PQ_FUSE_ADD:
        s->add           = next;
        s->in[s->n_in++] = nodes[next].inputs[nodes[next].inputs[0] == s->last ? 1 : 0];
        break;
    case PQ_FUSE_ACTIVATION:
        s->activation = next;
        break;
    case PQ_FUSE_NOT:
        return false;
    }
    p->taken[next] = true;
    s->last        = next;
    return true;
}

/* Steps in the order of their last nodes: what a step reads is then there, residuals too.
 */
static void make_steps(planner *p)
{
    const pq_graph *g = p->graph;

    for (size_t i = 0; i < g->n_nodes; i++) {
        pq_step s = {.graph      = g,
                     .node       = i,
                     .norm       = PQ_NO_NODE,
                     .add        = PQ_NO_NODE,
                     .activation = PQ_NO_NODE,
                     .last       = i,
                     .n_in       = g->nodes[i].n_inputs};
        size_t  k = p->n_steps;

        if (!p->needed[i] || p->taken[i] || is_input(g, i) || is_alias(g, i)) {
            continue;
        }
        memcpy(s.in, g->nodes[i].inputs, sizeof g->nodes[i].inputs);
        s.lean = p->lean;
        if (!p->whole && p->engine->fuses != NULL) {
            while (take_next(p, &s)) {
            }
        }
        for (; k > 0 && p->steps[k - 1].last > s.last; k--) {
            p->steps[k] = p->steps[k - 1];
        }
        p->steps[k] = s;
        p->n_steps++;
    }
}

/* Samples of a tile: as many as keep the largest layer's inputs and output in cache. */
static size_t choose_tile(const pq_graph *g, size_t item_bytes, size_t batch)
{
    size_t most = 1, tile;

    for (size_t i = 0; i < g->n_nodes; i++) {
        size_t count = pq_node_count(g, i);
        for (size_t k = 0; k < g->nodes[i].n_inputs; k++) {
            count += pq_node_count(g, g->nodes[i].inputs[k]);
        }
        most = count > most ? count : most;
    }
    tile = TILE_BYTES / item_bytes / most;
    tile = tile < 1 ? 1 : tile;
    return tile < batch ? tile : batch;
}

static pq_status fill_slots(pq_program *program, pq_err *err)
{
    const pq_graph *g        = program->graph;
    const bool      is_float = program->engine->item_bytes == sizeof(float);
    pq_status       st;

    PQ_NEW(program->slots, g->n_nodes);
    PQ_NEW(program->inputs, g->n_nodes);
    for (size_t i = 0; i < g->n_nodes; i++) {
        pq_slot *s = &program->slots[i];
        s->count   = pq_node_count(g, i);
        s->root    = is_alias(g, i) ? program->slots[g->nodes[i].inputs[0]].root : i;
        if (is_input(g, i)) {
            s->at     = is_float && g->nodes[i].quant == NULL ? PQ_AT_INPUT : PQ_AT_BLOCK;
            s->offset = program->n_inputs;
            program->inputs[program->n_inputs++] = i;
        }
        /* Bounds every product of sizes below. */
        PQ_CHECK(
            s->count < SIZE_MAX / 4096 / program->batch, PQ_ERR_RANGE,
            "layer '%s': its %zu values for each of %zu samples do not fit into memory",
            g->nodes[i].name, s->count, program->batch);
    }
    if (is_float && program->engine->give == NULL &&
        !is_input(g, program->slots[g->output].root)) {
        program->slots[program->slots[g->output].root].at = PQ_AT_OUTPUT;
    }
cleanup:
    return st;
}

static pq_status make_tasks(const planner *p, pq_program *program, pq_err *err)
{
    pq_status st;

    PQ_NEW(program->tasks, p->n_steps);
    for (size_t i = 0; i < p->n_steps; i++) {
        const pq_step *s    = &p->steps[i];
        pq_task       *task = &program->tasks[i];

        task->last = s->last;
        task->n_in = s->n_in;
        memcpy(task->in, s->in, sizeof s->in);
        st = p->engine->prepare(s, program->tile, &task->op, err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", p->graph->nodes[s->node].name);
            goto cleanup;
        }
        program->n_tasks++;
        program->weight_bytes += task->op->weight_bytes;
    }
    st = PQ_OK;
cleanup:
    return st;
}

/* spans[node] for values, spans[n_nodes + task] for scratch. */
static void set_lifetimes(const pq_program *program, pq_span *spans)
{
    const pq_graph *g     = program->graph;
    const pq_slot  *slots = program->slots;

    for (size_t s = 0; s < program->n_tasks; s++) {
        const pq_task *task = &program->tasks[s];
        spans[task->last]   = (pq_span){.first = s, .last = s};
        if (slots[task->last].at == PQ_AT_BLOCK) {
            spans[task->last].bytes =
                program->tile * slots[task->last].count * program->engine->item_bytes;
        }
        spans[g->n_nodes + s] = (pq_span){task->op->scratch_bytes, s, s, 0};
        for (size_t k = 0; k < task->n_in; k++) {
            spans[slots[task->in[k]].root].last = s;
        }
    }
    for (size_t i = 0; i < program->n_inputs; i++) {
        const pq_slot *slot = &slots[program->inputs[i]];
        if (slot->at == PQ_AT_BLOCK) {
            spans[program->inputs[i]].bytes =
                program->tile * slot->count * program->engine->item_bytes;
        }
    }
    spans[slots[g->output].root].last = SIZE_MAX;
}

static pq_status lay_out(pq_program *program, pq_err *err)
{
    const size_t n_nodes = program->graph->n_nodes;
    pq_span     *spans   = NULL;
    pq_status    st;

    PQ_NEW(spans, n_nodes + program->n_tasks);
    set_lifetimes(program, spans);
    PQ_TRY(
        pq_layout_place(spans, n_nodes + program->n_tasks, &program->block_bytes, err));
    for (size_t i = 0; i < n_nodes; i++) {
        if (program->slots[i].at == PQ_AT_BLOCK) {
            program->slots[i].offset = spans[i].offset;
        }
    }
    for (size_t s = 0; s < program->n_tasks; s++) {
        program->tasks[s].scratch = spans[n_nodes + s].offset;
    }
cleanup:
    pq_free(spans);
    return st;
}

pq_status pq_program_create(const pq_graph *graph, const pq_engine *engine,
                            pq_program_options options, pq_program **out, pq_err *err)
{
    planner p = {
        .graph = graph, .engine = engine, .whole = options.whole, .lean = options.lean};
    pq_program *program = NULL;
    pq_status   st;

    PQ_NEW(program, 1);
    program->engine = engine;
    program->graph  = graph;
    program->batch  = options.batch;
    PQ_NEW(p.needed, graph->n_nodes);
    PQ_NEW(p.taken, graph->n_nodes);
    PQ_NEW(p.readers, graph->n_nodes);
    PQ_NEW(p.steps, graph->n_nodes);
    PQ_TRY(fill_slots(program, err));
    program->tile = options.whole || options.lean
                        ? options.batch
                        : choose_tile(graph, engine->item_bytes, options.batch);
    mark_needed(&p);
    make_steps(&p);
    PQ_TRY(make_tasks(&p, program, err));
    PQ_TRY(lay_out(program, err));
    *out    = program;
    program = NULL;
cleanup:
    pq_free(p.needed);
    pq_free(p.taken);
    pq_free(p.readers);
    pq_free(p.steps);
    pq_program_free(&program);
    return st;
}

void pq_program_free(pq_program **program)
{
    pq_program *p = *program;

    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < p->n_tasks; i++) {
        p->tasks[i].op->release(p->tasks[i].op);
    }
    pq_free(p->tasks);
    pq_free(p->slots);
    pq_free(p->inputs);
    pq_free(p);
    *program = NULL;
}
