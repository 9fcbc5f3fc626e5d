#include "exec/plan.h"

#include <string.h>

#include "core/memory.h"
#include "exec/engine.h"
#include "exec/program.h"
#include "exec/quantize.h"
#include "linalg/gemm.h"

enum {
    LARGE_BYTES   = 64 << 20, /* of weights as floats */
    LARGE_PRODUCT = 1 << 17,  /* products of a task that pay for waking other threads */
};

struct pq_plan {
    pq_graph   *graph;   /* a copy of the caller's, checked; owned unless forked */
    pq_program *program; /* as fast as can be; owned unless forked */
    bool        forked;
    size_t      batch;
    char       *block;  /* values and scratch */
    pq_op      *direct; /* the graph in one go, instead of the program; owned unless
                           forked */
    pq_text why;        /* it is not, though its engine was asked for */
    /* with an observer only */
    pq_observer observer;
    void       *context;
    pq_program *whole; /* every node's value shows; owned */
    char       *whole_block;
    float      *seen; /* values of one node as floats */
};

/* Whether packed weights beside the graph's own would cost memory that matters. */
static bool is_large(const pq_graph *graph)
{
    const size_t all =
        pq_graph_parameters(graph, (pq_count_rule){true, true, true}, NULL);

    return all >= LARGE_BYTES / sizeof(float);
}

/* An engine that takes the whole graph; *engine becomes that of the program beside it,
 * which shows nodes, and runs where the other cannot. */
static pq_status make_direct(pq_plan *plan, const pq_engine **engine, pq_err *err)
{
    const char *beside = NULL;
    pq_status   st;

    PQ_TRY(
        (*engine)->prepare_graph(plan->graph, &plan->direct, &plan->why, &beside, err));
    PQ_CHECK(!plan->why.failed, PQ_ERR_NOMEM, "cannot allocate a text");
    PQ_TRY(pq_engine_find(beside, engine, err));
cleanup:
    return st;
}

static pq_status make_program(pq_plan *plan, bool lean, const char *engine_name,
                              pq_err *err)
{
    const pq_engine *engine = NULL;
    pq_status        st;

    PQ_TRY(pq_engine_find(engine_name, &engine, err));
    PQ_TRY(pq_graph_check(plan->graph, err));
    if (engine->prepare_graph != NULL) {
        PQ_TRY(make_direct(plan, &engine, err));
    }
    PQ_TRY(pq_program_create(plan->graph, engine,
                             (pq_program_options){.batch = plan->batch, .lean = lean},
                             &plan->program, err));
    PQ_NEW(plan->block, plan->program->block_bytes);
cleanup:
    return st;
}

static pq_status create(const pq_graph *graph, const pq_plan_options *options, bool lean,
                        pq_plan **out, pq_err *err)
{
    pq_plan  *plan = NULL;
    pq_status st;

    PQ_CHECK(options->batch >= 1, PQ_ERR_RANGE, "batch 0 is not at least 1");
    PQ_CHECK(graph->n_nodes >= 1, PQ_ERR_SHAPE, "the graph has no layers");
    /* Parallelism is one plan a thread; threads inside BLAS would only compete with it.
     */
    pq_blas_alone();
    PQ_NEW(plan, 1);
    plan->batch = options->batch;
    PQ_TRY(lean ? pq_graph_share(graph, &plan->graph, err)
                : pq_graph_clone(graph, &plan->graph, err));
    PQ_TRY(make_program(plan, lean && is_large(plan->graph),
                        options->engine != NULL ? options->engine : "float32", err));
    *out = plan;
    plan = NULL;
cleanup:
    pq_plan_free(&plan);
    return st;
}

pq_status pq_plan_create(const pq_graph *graph, const pq_plan_options *options,
                         pq_plan **out, pq_err *err)
{
    return create(graph, options, false, out, err);
}

pq_status pq_plan_create_lean(const pq_graph *graph, const pq_plan_options *options,
                              pq_plan **out, pq_err *err)
{
    return create(graph, options, true, out, err);
}

void pq_plan_free(pq_plan **plan)
{
    pq_plan *p = *plan;

    if (p == NULL) {
        return;
    }
    pq_program_free(&p->whole); /* reads the graph */
    if (!p->forked) {
        pq_program_free(&p->program);
        pq_graph_free(&p->graph);
        if (p->direct != NULL) {
            p->direct->release(p->direct);
        }
    }
    pq_text_free(&p->why);
    pq_free(p->block);
    pq_free(p->whole_block);
    pq_free(p->seen);
    pq_free(p);
    *plan = NULL;
}

pq_status pq_plan_fork(const pq_plan *plan, pq_plan **out, pq_err *err)
{
    pq_plan  *fork = NULL;
    pq_status st;

    PQ_NEW(fork, 1);
    fork->graph   = plan->graph;
    fork->program = plan->program;
    fork->direct  = plan->direct;
    fork->forked  = true;
    fork->batch   = plan->batch;
    PQ_NEW(fork->block, fork->program->block_bytes);
    *out = fork;
    fork = NULL;
cleanup:
    pq_plan_free(&fork);
    return st;
}

/* One tile on its way through a program. */
typedef struct {
    const pq_program   *program;
    char               *block;
    size_t              first, n; /* samples */
    const float *const *in;
    float              *out;
    pq_pool            *pool;  /* of threads that share large tasks, or NULL; … */
    pq_plan *const     *plans; /* … their plans, for scratch */
} passage;

static void *value_of(const passage *p, size_t node)
{
    const pq_slot *slot = &p->program->slots[p->program->slots[node].root];

    switch (slot->at) {
    case PQ_AT_INPUT:
        return (void *)(uintptr_t)(p->in[slot->offset] + p->first * slot->count);
    case PQ_AT_OUTPUT:
        return p->out + p->first * slot->count;
    case PQ_AT_BLOCK:
        break;
    }
    return p->block + slot->offset;
}

/* Floats to the values of a node, n samples. */
static void floats_to_items(const pq_program *program, size_t node, size_t samples,
                            const float *from, void *to)
{
    const size_t n = samples * program->slots[node].count;

    if (program->engine->take != NULL) {
        program->engine->take(program->graph, node, samples, from, to);
        return;
    }
    if (program->engine->item_bytes == sizeof(float)) {
        memcpy(to, from, n * sizeof(float));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        ((double *)to)[i] = (double)from[i];
    }
}

static void items_to_floats(const pq_program *program, size_t node, size_t samples,
                            const void *from, float *to)
{
    const size_t n = samples * program->slots[node].count;

    if (program->engine->give != NULL) {
        program->engine->give(program->graph, node, samples, from, to);
        return;
    }
    if (program->engine->item_bytes == sizeof(float)) {
        memcpy(to, from, n * sizeof(float));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = (float)((const double *)from)[i];
    }
}

static void quantize_node(const passage *p, size_t node)
{
    const pq_node *n = &p->program->graph->nodes[node];

    if (n->quant != NULL && p->program->engine->take == NULL) {
        pq_quantize_values(n->quant, &n->shape, p->n, p->program->engine->item_bytes,
                           value_of(p, node));
    }
}

static void take_inputs(const passage *p)
{
    const pq_program *program = p->program;

    for (size_t i = 0; i < program->n_inputs; i++) {
        const pq_slot *slot = &program->slots[program->inputs[i]];
        if (slot->at == PQ_AT_BLOCK) {
            floats_to_items(program, program->inputs[i], p->n,
                            p->in[i] + p->first * slot->count,
                            value_of(p, program->inputs[i]));
            quantize_node(p, program->inputs[i]);
        }
    }
}

/* A task in parts. */
typedef struct {
    const passage     *passage;
    const pq_task     *task;
    const void *const *in;
    void              *out;
} shared_task;

static void run_part(void *context, size_t part, size_t thread)
{
    const shared_task *t  = context;
    const pq_op       *op = t->task->op;
    const passage     *p  = t->passage;

    op->run_part(op, (pq_part){part, pq_pool_threads(p->pool)}, p->n, t->in, t->out,
                 p->plans[thread]->block + t->task->scratch);
}

static void run_task(const passage *p, const pq_task *task)
{
    const pq_op *op                 = task->op;
    const void  *in[PQ_STEP_INPUTS] = {NULL};
    void        *out                = value_of(p, task->last);

    for (size_t k = 0; k < task->n_in; k++) {
        in[k] = value_of(p, task->in[k]);
    }
    if (p->pool != NULL && op->run_part != NULL && op->products * p->n >= LARGE_PRODUCT) {
        shared_task t = {p, task, in, out};
        pq_pool_run(p->pool, pq_pool_threads(p->pool), run_part, &t);
    } else {
        op->run(op, p->n, in, out, p->block + task->scratch);
    }
    quantize_node(p, task->last);
}

static void give_output(const passage *p)
{
    const size_t   node = p->program->graph->output;
    const pq_slot *slot = &p->program->slots[node];

    if (p->program->slots[slot->root].at != PQ_AT_OUTPUT) {
        items_to_floats(p->program, node, p->n, value_of(p, node),
                        p->out + p->first * slot->count);
    }
}

static pq_status prepare_observation(pq_plan *plan, pq_err *err)
{
    size_t    most = 0;
    pq_status st   = PQ_OK;

    if (plan->seen != NULL) {
        return PQ_OK;
    }
    if (plan->whole == NULL) {
        PQ_TRY(
            pq_program_create(plan->graph, plan->program->engine,
                              (pq_program_options){.batch = plan->batch, .whole = true},
                              &plan->whole, err));
    }
    for (size_t i = 0; i < plan->graph->n_nodes; i++) {
        const size_t count = plan->whole->slots[i].count;
        most               = count > most ? count : most;
    }
    if (plan->whole_block == NULL) {
        PQ_NEW(plan->whole_block, plan->whole->block_bytes);
    }
    PQ_NEW(plan->seen, plan->batch * most);
cleanup:
    return st;
}

static void show(const pq_plan *plan, const passage *p, size_t node)
{
    items_to_floats(p->program, node, p->n, value_of(p, node), plan->seen);
    plan->observer(plan->context, node, p->n, plan->seen);
}

/* Nodes are shown in their order: those without a task of their own (inputs, aliases) in
 * their turn. */
static void run_observed(const pq_plan *plan, const passage *p)
{
    size_t task = 0;

    take_inputs(p);
    for (size_t node = 0; node < plan->graph->n_nodes; node++) {
        if (task < p->program->n_tasks && p->program->tasks[task].last == node) {
            run_task(p, &p->program->tasks[task++]);
        }
        show(plan, p, node);
    }
    give_output(p);
}

pq_status pq_plan_run_together(pq_plan *const *plans, pq_pool *pool, size_t n,
                               const float *const *in, float *out, pq_err *err)
{
    pq_plan  *plan = plans[0];
    passage   p    = {.program = plan->program,
                      .block   = plan->block,
                      .in      = in,
                      .out     = out,
                      .pool    = pool,
                      .plans   = plans};
    pq_status st;

    PQ_CHECK(n >= 1 && n <= plan->batch, PQ_ERR_RANGE, "%zu samples are not in 1..%zu", n,
             plan->batch);
    if (plan->observer != NULL) {
        PQ_TRY(prepare_observation(plan, err));
        p.program = plan->whole;
        p.block   = plan->whole_block;
        p.n       = n;
        run_observed(plan, &p);
        return PQ_OK;
    }
    if (plan->direct != NULL) {
        plan->direct->run(plan->direct, n, (const void *const *)in, out, NULL);
        return PQ_OK;
    }
    for (p.first = 0; p.first < n; p.first += p.n) {
        const size_t tile = plan->program->tile;
        p.n               = n - p.first < tile ? n - p.first : tile;
        take_inputs(&p);
        for (size_t s = 0; s < plan->program->n_tasks; s++) {
            run_task(&p, &plan->program->tasks[s]);
        }
        give_output(&p);
    }
cleanup:
    return st;
}

pq_status pq_plan_run(pq_plan *plan, size_t n, const float *const *in, float *out,
                      pq_err *err)
{
    return pq_plan_run_together(&plan, NULL, n, in, out, err);
}

void pq_plan_observe(pq_plan *plan, pq_observer observer, void *context)
{
    plan->observer = observer;
    plan->context  = context;
}

size_t pq_plan_activation_bytes(const pq_plan *plan)
{
    return plan->direct != NULL ? 0 : plan->program->block_bytes;
}

size_t pq_plan_weight_bytes(const pq_plan *plan)
{
    return plan->direct != NULL ? plan->direct->weight_bytes
                                : plan->program->weight_bytes;
}

/* How many tasks from `first` on have its kernel; 0 where an earlier one has it. */
static size_t same_kernels(const pq_program *p, size_t first)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n_tasks; i++) {
        if (strcmp(p->tasks[i].op->kernel, p->tasks[first].op->kernel) == 0) {
            if (i < first) {
                return 0;
            }
            n++;
        }
    }
    return n;
}

void pq_plan_kernels(const pq_plan *plan, pq_text *out)
{
    const pq_program *p      = plan->program;
    bool              is_any = false;

    if (plan->direct != NULL) {
        pq_text_add(out, "%s", plan->direct->kernel);
        return;
    }
    if (plan->why.length > 0) {
        pq_text_add(out, "%s" PQ_PLAN_INSTEAD "%s runs: ", plan->why.text,
                    p->engine->name);
    }
    for (size_t i = 0; i < p->n_tasks; i++) {
        const size_t n = same_kernels(p, i);
        if (n > 0) {
            pq_text_add(out, "%s%zu x %s", is_any ? "; " : "", n, p->tasks[i].op->kernel);
            is_any = true;
        }
    }
}

size_t pq_plan_batch(const pq_plan *plan)
{
    return plan->batch;
}

size_t pq_plan_inputs(const pq_plan *plan)
{
    return plan->program->n_inputs;
}

pq_shape pq_plan_input_shape(const pq_plan *plan, size_t i)
{
    assert(i < plan->program->n_inputs);
    return plan->graph->nodes[plan->program->inputs[i]].shape;
}

pq_shape pq_plan_output_shape(const pq_plan *plan)
{
    return plan->graph->nodes[plan->graph->output].shape;
}
