/*
 * Order of the work: chains of layers that are computed together, a place in the stack
 * for every value, statements layer by layer, then the frame around them.
 */
#include "codegen/codegen.h"

#include <math.h>
#include <string.h>

#include "codegen/emit.h"
#include "codegen/events.h"
#include "codegen/files.h"
#include "codegen/frame.h"
#include "codegen/text.h"
#include "codegen/verify.h"
#include "codegen/whole.h"
#include "core/memory.h"
#include "exec/layout.h"
#include "exec/plan.h"

enum { TESTED = 8 /* events in NAME_test.c */, FILES = 4 };

static const char *const endings[FILES] = {".h", ".c", "_test.c", ".txt"};

static const struct {
    const char  *kind;
    pq_emit_kind emit;
} kinds[] = {
    {"dense", pq_emit_dense},
    {"tt_dense", pq_emit_dense},
    {"ring_dense", pq_emit_dense},
    {"conv2d", pq_emit_conv2d},
    {"tt_conv2d", pq_emit_conv2d},
    {"batch_norm", pq_emit_norm},
    {"layer_norm", pq_emit_layer_norm},
    {"add", pq_emit_combine},
    {"multiply", pq_emit_combine},
    {"softmax", pq_emit_softmax},
    {"max_pool", pq_emit_pool},
    {"avg_pool", pq_emit_pool},
    {"global_max_pool", pq_emit_global_pool},
    {"global_avg_pool", pq_emit_global_pool},
    {"masked_pool", pq_emit_masked_pool},
    {"concat", pq_emit_move},
    {"pad", pq_emit_move},
    {"slice", pq_emit_move},
    {"subsample", pq_emit_move},
};

size_t pq_emit_items(const pq_emitter *e, size_t node)
{
    size_t n = 0;

    (void)pq_shape_count(&e->graph->nodes[node].shape, &n);
    return n;
}

size_t pq_emit_width(const pq_emitter *e, size_t node)
{
    const pq_shape *shape = &e->graph->nodes[node].shape;

    return shape->ndim == 0 ? 1 : shape->dim[shape->ndim - 1];
}

size_t pq_emit_next(const pq_emitter *e, size_t node)
{
    return e->reader[node];
}

/* Layers whose value is that of their input, in another shape. */
static bool is_alias(const pq_node *node)
{
    return pq_layer_is(node->layer, PQ_TRAIT_ALIAS);
}

static bool is_input(const pq_node *node)
{
    return strcmp(node->layer->kind->name, "input") == 0;
}

/* Node whose storage a node's value has. */
static size_t root_of(const pq_graph *graph, size_t node)
{
    while (is_alias(&graph->nodes[node])) {
        node = graph->nodes[node].inputs[0];
    }
    return node;
}

const char *pq_emit_input(const pq_emitter *e, const pq_emit_step *s, size_t i)
{
    return e->place[root_of(e->graph, e->graph->nodes[s->node].inputs[i])];
}

pq_status pq_emit_table(pq_emitter *e, size_t n, const double *values, size_t *number,
                        pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(
        n <= PQ_CODEGEN_WEIGHTS - e->summary.weights, PQ_ERR_RANGE,
        "the model's tables would hold more than %d numbers, the most for generated C",
        PQ_CODEGEN_WEIGHTS);
    e->summary.weights += n;
    *number = e->n_tables++;
    pq_text_add(&e->tables,
                "static const float t%zu[%zu] __attribute__((aligned(64), unused)) = {",
                *number, n);
    for (size_t i = 0; i < n; i++) {
        PQ_CHECK(isfinite((float)values[i]), PQ_ERR_NUMERIC,
                 "%g, a weight with its scales folded in, is no float32", values[i]);
        pq_text_add(&e->tables, i % 8 == 0 ? "\n    %af," : " %af,",
                    (double)(float)values[i]);
    }
    pq_text_add(&e->tables, "\n};\n");
cleanup:
    return st;
}

static pq_emit_kind find_kind(const pq_layer *layer)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].kind, layer->kind->name) == 0) {
            return kinds[i].emit;
        }
    }
    return pq_emit_is_function(layer) ? pq_emit_values : NULL;
}

static bool has_kernel(const pq_layer *layer)
{
    const pq_emit_kind emit = find_kind(layer);

    return emit == pq_emit_dense || emit == pq_emit_conv2d;
}

/* The step of a node: the node and what follows it alone and can be computed with it. */
static pq_emit_step step_of(const pq_emitter *e, size_t node)
{
    pq_emit_step s     = {node, node};
    bool         norms = has_kernel(e->graph->nodes[node].layer);

    for (size_t next = e->reader[node]; next != SIZE_MAX; next = e->reader[s.last]) {
        const pq_layer *layer = e->graph->nodes[next].layer;
        norms                 = norms && strcmp(layer->kind->name, "batch_norm") == 0;
        if (!norms && !pq_emit_is_function(layer)) {
            break;
        }
        s.last = next;
    }
    return s;
}

/* What has no generated form is said before anything is made. */
static pq_status check_graph(const pq_emitter *e, pq_err *err)
{
    const pq_graph *graph  = e->graph;
    size_t          inputs = 0;
    pq_status       st     = PQ_OK;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        const pq_node *node = &graph->nodes[i];
        inputs += is_input(node) ? 1 : 0;
        PQ_CHECK(e->whole || is_input(node) || is_alias(node) ||
                     find_kind(node->layer) != NULL,
                 PQ_ERR_UNSUPPORTED, "layer '%s': there is no generated form of %s",
                 node->name, node->layer->kind->name);
    }
    PQ_CHECK(inputs == 1, PQ_ERR_UNSUPPORTED,
             "the model has %zu inputs; generated C takes one", inputs);
cleanup:
    return st;
}

void pq_emit_readers(pq_emitter *e, bool *used)
{
    const pq_graph *g = e->graph;

    used[g->output] = true;
    for (size_t i = g->n_nodes; i-- > 0;) {
        e->reader[i] = SIZE_MAX;
        for (size_t k = 0; used[i] && k < g->nodes[i].n_inputs; k++) {
            used[g->nodes[i].inputs[k]] = true;
        }
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        for (size_t k = 0; used[i] && k < g->nodes[i].n_inputs; k++) {
            const size_t from = g->nodes[i].inputs[k];
            if (pq_graph_readers(g, from) == 1) {
                e->reader[from] = i;
            }
        }
    }
}

/* Steps in their order. A node that an earlier step computes along begins none. */
static pq_status make_steps(pq_emitter *e, pq_emit_step **out, size_t *n, pq_err *err)
{
    const pq_graph *g    = e->graph;
    bool           *used = NULL, *taken_along = NULL;
    pq_emit_step   *steps = NULL;
    pq_status       st;

    PQ_NEW(used, g->n_nodes);
    PQ_NEW(taken_along, g->n_nodes);
    PQ_NEW(steps, g->n_nodes);
    pq_emit_readers(e, used);
    *n = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (!used[i] || taken_along[i] || is_input(&g->nodes[i]) ||
            is_alias(&g->nodes[i])) {
            continue;
        }
        steps[*n] = step_of(e, i);
        for (size_t k = i; k != steps[*n].last; k = e->reader[k]) {
            taken_along[e->reader[k]] = true;
        }
        ++*n;
    }
    *out  = steps;
    steps = NULL;
cleanup:
    pq_free(used);
    pq_free(taken_along);
    pq_free(steps);
    return st;
}

/* Last step that reads the storage of a node. */
static size_t last_reader(const pq_emitter *e, const pq_emit_step *steps, size_t n,
                          size_t root, size_t own)
{
    size_t last = own;

    for (size_t s = own + 1; s < n; s++) {
        const pq_node *node = &e->graph->nodes[steps[s].node];
        for (size_t k = 0; k < node->n_inputs; k++) {
            last = root_of(e->graph, node->inputs[k]) == root ? s : last;
        }
    }
    return last;
}

/* Every value gets its place: the caller's arrays, or one block of stack in which values
 * that are not needed at the same time overlap. */
static pq_status place_values(pq_emitter *e, const pq_emit_step *steps, size_t n,
                              pq_err *err)
{
    const size_t output = root_of(e->graph, e->graph->output);
    pq_span     *spans  = NULL;
    size_t       total  = 0;
    pq_status    st;

    PQ_NEW(spans, n);
    for (size_t s = 0; s < n; s++) {
        spans[s].bytes =
            steps[s].last == output ? 0 : pq_emit_items(e, steps[s].last) * sizeof(float);
        spans[s].first = s;
        spans[s].last  = last_reader(e, steps, n, steps[s].last, s);
    }
    PQ_TRY(pq_layout_place(spans, n, &total, err));
    for (size_t s = 0; s < n; s++) {
        e->place[steps[s].last] =
            steps[s].last == output
                ? pq_strdup("y")
                : pq_format("(stack + %zu)", spans[s].offset / sizeof(float));
        PQ_CHECK(e->place[steps[s].last] != NULL, PQ_ERR_NOMEM, "cannot allocate a name");
    }
    e->summary.stack_bytes = total;
cleanup:
    pq_free(spans);
    return st;
}

/* What a step has stored is read back: a product that stayed in a register would be fused
 * with a sum of the next step, alone and not in a block, or the other way round. */
static void settle(pq_emitter *e)
{
    pq_text_add(&e->body, "    SETTLE(stack);\n");
    pq_text_add(&e->block, "    SETTLE(stacks);\n");
}

static pq_status emit_steps(pq_emitter *e, size_t input, pq_err *err)
{
    pq_emit_step *steps = NULL;
    size_t        n     = 0;
    pq_status     st;

    PQ_TRY(make_steps(e, &steps, &n, err));
    PQ_TRY(place_values(e, steps, n, err));
    PQ_TRY(pq_emit_scaler(e, input, err));
    pq_events_each(e, 0, e->body.length);
    for (size_t s = 0; s < n; s++) {
        const pq_node *node = &e->graph->nodes[steps[s].node];
        const size_t   from = e->body.length, block = e->block.length;
        pq_text_add(&e->body, "    /* ");
        pq_c_comment(&e->body, node->name);
        pq_text_add(&e->body, ": %s */\n", node->layer->kind->name);
        st = find_kind(node->layer)(e, &steps[s], err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", node->name);
            goto cleanup;
        }
        if (e->block.length == block) {
            pq_events_each(e, from, e->body.length);
        }
        settle(e);
    }
    if (n == 0 || root_of(e->graph, e->graph->output) == input) {
        pq_text_add(&e->body, "    memcpy(y, %s, %zu);\n", e->place[input],
                    pq_emit_items(e, input) * sizeof(float));
    }
    PQ_CHECK(e->summary.stack_bytes <= PQ_CODEGEN_STACK, PQ_ERR_RANGE,
             "one call would need %zu bytes of stack, more than %d",
             e->summary.stack_bytes, PQ_CODEGEN_STACK);
cleanup:
    pq_free(steps);
    return st;
}

/* Drawn events, and what the engine makes of them that defines the model. */
static pq_status make_events(const pq_emitter *e, size_t n, float **in, float **due,
                             pq_err *err)
{
    const pq_plan_options options = {e->whole ? "integer" : "reference", n};
    pq_plan              *plan    = NULL;
    float                *scaled  = NULL;
    pq_status             st;

    PQ_TRY(pq_verify_events(e->graph, n, 1.0, in, &scaled, err));
    PQ_NEW(*due, n * pq_emit_items(e, e->graph->output));
    PQ_TRY(pq_plan_create(e->graph, &options, &plan, err));
    PQ_TRY(pq_plan_run(plan, n, (const float *const[]){scaled}, *due, err));
cleanup:
    pq_plan_free(&plan);
    pq_free(scaled);
    return st;
}

static size_t input_of(const pq_graph *graph)
{
    size_t input = 0;

    while (!is_input(&graph->nodes[input])) {
        input++;
    }
    return input;
}

static pq_status write_files(pq_emitter *e, const char *folder, pq_err *err)
{
    const size_t items       = pq_emit_items(e, input_of(e->graph));
    const size_t n           = items * TESTED <= 1 << 15 ? TESTED : 1;
    pq_text      text[FILES] = {{0}};
    float       *in = NULL, *due = NULL;
    char         hash[65];
    pq_status    st;

    PQ_TRY(pq_graph_hash(e->graph, hash, err));
    PQ_TRY(make_events(e, n, &in, &due, err));
    pq_frame_header(e, hash, &text[0]);
    pq_frame_source(e, hash, &text[1]);
    pq_frame_test(e, hash, n, in, due, &text[2]);
    pq_frame_cmake(e, &text[3]);
    e->summary.source_bytes = text[1].length;
    PQ_TRY(pq_files_write(e->name, folder, FILES, endings, text, err));
cleanup:
    for (size_t i = 0; i < FILES; i++) {
        pq_text_free(&text[i]);
    }
    pq_free(in);
    pq_free(due);
    return st;
}

static void emitter_free(pq_emitter *e)
{
    for (size_t i = 0; e->place != NULL && i < e->graph->n_nodes; i++) {
        pq_free(e->place[i]);
    }
    pq_free(e->place);
    pq_free(e->reader);
    pq_text_free(&e->tables);
    pq_text_free(&e->body);
    pq_text_free(&e->block);
    pq_text_free(&e->places);
}

/* Tables and body of the function. */
static pq_status emit(pq_emitter *e, pq_err *err)
{
    pq_status st;

    PQ_TRY(check_graph(e, err));
    PQ_NEW(e->place, e->graph->n_nodes);
    PQ_NEW(e->reader, e->graph->n_nodes);
    PQ_TRY(e->whole ? pq_whole_emit(e, err) : emit_steps(e, input_of(e->graph), err));
    if (e->isa == PQ_CODEGEN_AMX && !e->tiles) {
        e->isa = PQ_CODEGEN_AVX512;
    }
    pq_events_decide(e);
    PQ_CHECK(!e->body.failed && !e->block.failed && !e->places.failed &&
                 !e->tables.failed,
             PQ_ERR_NOMEM, "cannot allocate the source");
cleanup:
    return st;
}

static void sum_up(const pq_emitter *e, pq_codegen_summary *out)
{
    *out             = e->summary;
    out->stack_bytes = pq_emit_stack(e);
    out->whole       = e->whole;
    out->exact       = e->exact;
}

pq_status pq_codegen_write(const pq_graph *graph, const char *name, pq_codegen_isa isa,
                           const char *folder, pq_codegen_summary *out, pq_err *err)
{
    pq_emitter e = {
        .graph = graph, .name = name, .isa = isa, .whole = pq_whole_is(graph)};
    pq_status st;

    PQ_TRY(pq_codegen_check_name(name, err));
    PQ_TRY(emit(&e, err));
    PQ_TRY(write_files(&e, folder, err));
    sum_up(&e, out);
cleanup:
    emitter_free(&e);
    return st;
}

pq_status pq_codegen_here(const pq_graph *graph, const char *name, pq_codegen_isa most,
                          pq_text *header, pq_text *source, pq_codegen_summary *out,
                          pq_err *err)
{
    const bool whole = pq_whole_is(graph);
    pq_emitter e     = {.graph = graph,
                        .name  = name,
                        .isa   = pq_emit_best(whole, most),
                        .alone = true,
                        .whole = whole};
    char       hash[65];
    pq_status  st;

    PQ_TRY(emit(&e, err));
    PQ_TRY(pq_graph_hash(graph, hash, err));
    pq_frame_header(&e, hash, header);
    pq_frame_source(&e, hash, source);
    PQ_CHECK(!header->failed && !source->failed, PQ_ERR_NOMEM,
             "cannot allocate the source");
    e.summary.source_bytes = source->length;
    sum_up(&e, out);
cleanup:
    emitter_free(&e);
    return st;
}
