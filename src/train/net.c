#include "train/net.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/sparsify.h"

enum {
    SLOT_ALIGN = 16, /* floats */
    GRADIENTS =
        1 << 21, /* floats of gradients that all chunks together may take, but for two */
    CHUNK_MACS = 1 << 19 /* of a chunk at least, but for two: its gradient is to be handed
                            from thread to thread */
};

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* How a batch is cut: enough chunks to share among threads, few enough that
   their gradients do not outweigh the work. Depends on nothing but the net and the batch.
 */
static void cut_batch(pq_net *net, size_t batch, uint64_t macs)
{
    const size_t   least = macs > 1000000 ? 4 : 32;
    const uint64_t worth = macs < CHUNK_MACS ? batch / (CHUNK_MACS / (macs + 1)) : batch;
    size_t         most  = 2;

    while (most < 16 && 2 * most <= worth && 2 * most * net->n_flat <= GRADIENTS) {
        most *= 2;
    }
    net->batch  = batch;
    net->chunk  = round_up((batch + most - 1) / most, 4);
    net->chunk  = net->chunk < least ? least : net->chunk;
    net->chunk  = net->chunk > batch ? batch : net->chunk;
    net->chunks = (batch + net->chunk - 1) / net->chunk;
}

static pq_status allocate(pq_net *net, bool training, pq_err *err)
{
    const size_t threads = pq_pool_threads(net->pool);
    size_t       floats  = 0;
    pq_status    st;

    net->n_slots = net->meets ? net->chunks : threads;
    PQ_CHECK(net->slot_floats <
                     SIZE_MAX / sizeof(float) / net->n_slots - PQ_KERNELS_SLACK &&
                 net->n_flat < SIZE_MAX / sizeof(float) / net->chunks,
             PQ_ERR_NOMEM, "the activations of a batch do not fit into memory");
    floats     = net->n_slots * net->slot_floats + PQ_KERNELS_SLACK;
    net->slots = pq_calloc(floats, sizeof(float));
    PQ_CHECK(net->slots != NULL, PQ_ERR_NOMEM,
             "cannot allocate %zu bytes for the activations of a batch; a smaller batch "
             "needs less",
             floats * sizeof(float));
    if (training) {
        net->gradients = pq_calloc(net->chunks * net->n_flat, sizeof(float));
        PQ_CHECK(net->gradients != NULL, PQ_ERR_NOMEM,
                 "cannot allocate %zu bytes for the gradients",
                 net->chunks * net->n_flat * sizeof(float));
    }
    for (size_t i = 0; i < net->n_ops; i++) {
        const size_t bytes = round_up(net->ops[i].scratch_bytes, 64);
        net->scratch_bytes = bytes > net->scratch_bytes ? bytes : net->scratch_bytes;
    }
    net->scratch = pq_calloc(threads * net->scratch_bytes, 1);
    PQ_CHECK(net->scratch != NULL, PQ_ERR_NOMEM, "cannot allocate scratch memory");
cleanup:
    return st;
}

pq_status pq_net_create(const pq_graph *graph, const pq_net_options *options,
                        pq_net **out, pq_err *err)
{
    pq_net   *net = NULL;
    pq_status st;

    PQ_NEW(net, 1);
    net->kernels = pq_kernels_find(options->isa != NULL ? *options->isa : pq_cpu_isa());
    PQ_CHECK(net->kernels != NULL, PQ_ERR_UNSUPPORTED,
             "this processor lacks the instruction set");
    net->pool          = options->pool;
    net->norm_momentum = options->norm_momentum;
    PQ_TRY(pq_net_plan_weights(net, graph, options, err));
    cut_batch(net, options->batch, pq_graph_macs(graph));
    PQ_TRY(pq_net_plan_ops(net, graph, options, err));
    for (size_t i = 0; i < net->n_ops; i++) {
        if (net->ops[i].cls->setup != NULL) {
            PQ_TRY(net->ops[i].cls->setup(net, &net->ops[i], err));
        }
    }
    PQ_TRY(pq_net_plan_program(net, err));
    net->meets = net->meets && options->training;
    PQ_TRY(pq_net_plan_memory(net, options->training, err));
    PQ_TRY(allocate(net, options->training, err));
    if (net->sparse != NULL) {
        PQ_TRY(pq_sparse_find_outputs(net, graph, err));
        pq_sparse_start(net);
    }
    pq_net_prepare(net);
    *out = net;
    net  = NULL;
cleanup:
    pq_net_free(&net);
    return st;
}

void pq_net_free(pq_net **net)
{
    pq_net *n = *net;

    if (n == NULL) {
        return;
    }
    for (size_t i = 0; i < n->n_ops; i++) {
        if (n->ops[i].free_state != NULL) {
            n->ops[i].free_state(n->ops[i].state);
        }
        pq_free(n->ops[i].state);
    }
    if (n->used != n->shaped) {
        pq_free(n->used);
    }
    if (n->shaped != n->flat) {
        pq_free(n->shaped);
    }
    pq_sparse_free(n);
    pq_grids_free(n);
    pq_free(n->flat);
    pq_free(n->ops);
    pq_free(n->values);
    pq_free(n->value_of);
    pq_free(n->weights);
    pq_free(n->slots);
    pq_free(n->gradients);
    pq_free(n->scratch);
    pq_free(n->train);
    pq_free(n->infer);
    pq_free(n);
    *net = NULL;
}

/* One phase of the program over one batch. */
typedef struct {
    pq_net             *net;
    const pq_net_batch *batch;
    const pq_net_step  *steps;
    size_t              first, last;
    bool                training;
} phase;

static void run_chunk(void *context, size_t piece, size_t thread)
{
    const phase *p    = context;
    pq_net      *net  = p->net;
    const size_t from = piece * net->chunk, left = p->batch->n - from;
    pq_net_call  c = {
         .net       = net,
         .rows      = left < net->chunk ? left : net->chunk,
         .chunk     = piece,
         .chunks    = (p->batch->n + net->chunk - 1) / net->chunk,
         .batch     = p->batch->n,
         .step      = p->batch->step,
         .training  = p->training,
         .slot      = net->slots + (net->meets ? piece : thread) * net->slot_floats,
         .gradients = p->training ? net->gradients + piece * net->n_flat : NULL,
         .scratch   = net->scratch + thread * net->scratch_bytes};

    if (p->first == 0) {
        p->batch->fill(p->batch->context, from, c.rows, pq_net_value(&c, net->input));
    }
    for (size_t i = p->first; i < p->last; i++) {
        if (p->steps[i].op == SIZE_MAX) {
            p->batch->loss(p->batch->context, &c);
        } else {
            c.op = &net->ops[p->steps[i].op];
            p->steps[i].run(&c);
        }
    }
}

/* The first phase, before whose chunks comes what is done beside them. */
static void run_aside_or_chunk(void *context, size_t piece, size_t thread)
{
    const phase *p = context;

    if (piece == 0) {
        p->batch->aside(p->batch->context);
    } else {
        run_chunk(context, piece - 1, thread);
    }
}

static void run_program(pq_net *net, const pq_net_batch *batch, bool training)
{
    assert(batch->n >= 1 && batch->n <= net->batch);
    const size_t n      = training ? net->n_train : net->n_infer;
    const size_t chunks = (batch->n + net->chunk - 1) / net->chunk;
    phase        p      = {.net      = net,
                           .batch    = batch,
                           .steps    = training ? net->train : net->infer,
                           .training = training};

    for (p.first = 0; p.first < n; p.first = p.last) {
        for (p.last = p.first + 1; p.last < n && !p.steps[p.last].meets; p.last++) {
        }
        if (p.first == 0 && batch->aside != NULL) {
            pq_pool_run(net->pool, chunks + 1, run_aside_or_chunk, &p);
        } else {
            pq_pool_run(net->pool, chunks, run_chunk, &p);
        }
    }
}

void pq_net_train(pq_net *net, const pq_net_batch *batch)
{
    run_program(net, batch, true);
}

void pq_net_infer(pq_net *net, const pq_net_batch *batch)
{
    run_program(net, batch, false);
}

static void prepare_op(void *context, size_t piece, size_t thread)
{
    pq_net *net = context;
    pq_op  *op  = &net->ops[piece];

    (void)thread;
    if (op->cls->prepare != NULL) {
        op->cls->prepare(net, op);
    }
}

void pq_net_prepare(pq_net *net)
{
    pq_net_round_weights(net);
    pq_pool_run_small(net->pool, net->n_flat, net->n_ops, prepare_op, net);
}

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return false;
        }
    }
    return true;
}

/* Steps of all chunks in order, so that batch sums are complete where they are
   due; the outputs looked at are those of the forward pass only. */
const char *pq_net_blame(pq_net *net, const pq_net_batch *batch, bool training)
{
    const size_t chunks = (batch->n + net->chunk - 1) / net->chunk;
    const size_t n      = training ? net->n_train : net->n_infer;
    const bool   meets  = training && net->meets;
    phase        p      = {.net      = net,
                           .batch    = batch,
                           .steps    = training ? net->train : net->infer,
                           .training = training};

    for (size_t last = 1; last <= n && p.steps[last - 1].op != SIZE_MAX; last++) {
        const pq_op        *op  = &net->ops[p.steps[last - 1].op];
        const pq_net_place *out = &net->values[op->out];
        for (size_t c = 0; c < chunks; c++) {
            const size_t left = batch->n - c * net->chunk;
            const size_t rows = left < net->chunk ? left : net->chunk;
            const size_t slot = net->meets ? c : 0;
            p.first           = meets ? last - 1 : 0;
            p.last            = last;
            run_chunk(&p, c, 0);
            if (p.steps[last - 1].run == op->cls->forward &&
                !all_finite(net->slots + slot * net->slot_floats + out->offset,
                            rows * out->count)) {
                return op->name;
            }
        }
    }
    return NULL;
}
