#include "train/sparsify.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/net.h"

enum { ALIGN = 16 /* floats between the starts of two rows */ };

int64_t pq_sparse_epochs(const pq_sparse_params *p)
{
    return p->pretraining_epochs + p->rounds * p->train.epochs + p->fine_tuning_epochs;
}

size_t pq_sparse_first(const pq_sparse_plan *plan)
{
    return plan != NULL ? pq_sparse_hard_from(plan->params) : 1;
}

size_t pq_sparse_hard_from(const pq_sparse_params *p)
{
    return (size_t)(p->pretraining_epochs + p->rounds * p->train.epochs);
}

pq_status pq_sparse_check(const pq_sparse_params *p, pq_err *err)
{
    pq_status st = PQ_OK;

    PQ_CHECK(p->train.epochs >= 1, PQ_ERR_RANGE,
             "epochs = 0: a round of training has at least 1");
    PQ_CHECK(p->rewind == PQ_REWIND_NEVER || p->save_weights_epoch < p->train.epochs,
             PQ_ERR_CONFIG,
             "save_weights_epoch = %lld: the first round has epochs 0 to %lld",
             (long long)p->save_weights_epoch, (long long)p->train.epochs - 1);
cleanup:
    return st;
}

/* A row behind the weights. */
static size_t add_row(pq_net *net, size_t node, size_t count, pq_weight_role role)
{
    const size_t offset = net->n_flat;

    net->weights[net->n_rows++] = (pq_net_weight){
        .node = node, .index = SIZE_MAX, .offset = offset, .count = count, .role = role};
    net->n_flat += (count + ALIGN - 1) / ALIGN * ALIGN;
    return offset;
}

static bool is_listed(const pq_sparse_plan *plan, const char *name)
{
    for (size_t i = 0; i < plan->n_nodes; i++) {
        if (strcmp(plan->nodes[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void add_kernel(pq_sparse_run *run, size_t weight)
{
    pq_net              *net  = run->net;
    const pq_net_weight *w    = &net->weights[weight];
    const size_t         node = w->node, rows = w->shape.dim[0];
    pq_sparse_kernel    *k = &run->kernels[run->n++];

    *k = (pq_sparse_kernel){
        .weight = weight, .count = w->count, .rows = rows, .row = w->count / rows};
    k->n_p =
        run->method->parameters != NULL ? run->method->parameters(run->params, k) : 0;
    k->n_s  = run->method->state != NULL ? run->method->state(run->params, k) : 0;
    k->at_m = add_row(net, node, k->count, PQ_WEIGHT_STATISTIC);
    k->at_p = add_row(net, node, k->n_p, PQ_WEIGHT_NORM);
    k->at_s = add_row(net, node, k->n_s, PQ_WEIGHT_STATISTIC);
    k->seen = run->n_seen;
    run->n_seen += rows;
}

pq_status pq_sparse_plan_rows(pq_net *net, const pq_graph *graph,
                              const pq_sparse_plan *plan, pq_err *err)
{
    const size_t   n   = net->n_weights;
    pq_sparse_run *run = NULL;
    pq_status      st;

    PQ_NEW(run, 1);
    net->sparse = run;
    *run        = (pq_sparse_run){.method   = plan->method,
                                  .params   = plan->params,
                                  .net      = net,
                                  .at_saved = SIZE_MAX,
                                  .n_saved =
                                      net->weights[n - 1].offset + net->weights[n - 1].count};
    PQ_NEW(run->kernels, n);
    for (size_t i = 0; i < n; i++) {
        const char *name = graph->nodes[net->weights[i].node].name;
        if (net->weights[i].role == PQ_WEIGHT_KERNEL && is_listed(plan, name)) {
            PQ_CHECK(!net->weights[i].frozen, PQ_ERR_CONFIG,
                     "layer '%s' is frozen, and cannot be pruned in training", name);
            add_kernel(run, i);
        }
    }
    PQ_CHECK(run->n > 0, PQ_ERR_CONFIG, "no layer has a kernel to prune");
    if (plan->params->rewind != PQ_REWIND_NEVER) {
        run->at_saved =
            add_row(net, net->weights[0].node, run->n_saved, PQ_WEIGHT_STATISTIC);
    }
cleanup:
    return st;
}

static void view(const pq_net *net, pq_sparse_kernel *k, const float *flat)
{
    const size_t at = net->weights[k->weight].offset;

    k->v  = flat + at;
    k->w  = net->shaped + at;
    k->m  = (float *)flat + k->at_m;
    k->p  = (float *)flat + k->at_p;
    k->s  = (float *)flat + k->at_s;
    k->d  = net->gradients != NULL ? net->gradients + at : NULL;
    k->dp = net->gradients != NULL ? net->gradients + k->at_p : NULL;
}

static void view_all(const pq_net *net, const float *flat)
{
    float *scratch = net->sparse->scratch;

    for (size_t i = 0; i < net->sparse->n; i++) {
        view(net, &net->sparse->kernels[i], flat);
        net->sparse->kernels[i].scratch = scratch;
        scratch += 2 * net->sparse->kernels[i].count;
    }
}

void pq_sparse_start(pq_net *net)
{
    pq_sparse_run *run = net->sparse;

    view_all(net, net->flat);
    for (size_t i = 0; i < run->n; i++) {
        pq_sparse_kernel *k = &run->kernels[i];
        for (size_t j = 0; j < k->count; j++) {
            k->m[j] = 1.0F;
        }
        if (run->method->start != NULL) {
            run->method->start(run, k);
        }
    }
}

/* Whether nothing with weights lies between a layer and the outputs. */
static bool is_last(const pq_graph *graph, size_t node)
{
    size_t at = graph->output;

    while (at != node && graph->nodes[at].n_inputs == 1 &&
           graph->nodes[at].layer->n_weights == 0) {
        at = graph->nodes[at].inputs[0];
    }
    return at == node;
}

pq_status pq_sparse_find_outputs(pq_net *net, const pq_graph *graph, pq_err *err)
{
    pq_sparse_run *run   = net->sparse;
    size_t         items = 0;
    pq_status      st;

    for (size_t i = 0; i < run->n; i++) {
        const size_t node     = net->weights[run->kernels[i].weight].node;
        run->kernels[i].ends  = is_last(graph, node);
        run->kernels[i].value = net->value_of[node];
        items += 2 * run->kernels[i].count;
    }
    PQ_NEW(run->scratch, items);
    if (run->method->needs_outputs) {
        PQ_NEW(run->seen, net->chunks * run->n_seen);
    }
cleanup:
    return st;
}

void pq_sparse_free(pq_net *net)
{
    if (net->sparse != NULL) {
        pq_free(net->sparse->kernels);
        pq_free(net->sparse->scratch);
        pq_free(net->sparse->seen);
        pq_free(net->sparse);
    }
}

void pq_sparse_mask_weights(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    (void)run;
    for (size_t i = 0; i < k->count; i++) {
        k->w[i] = k->m[i] * k->v[i];
    }
}

void pq_sparse_mask_gradient(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    (void)run;
    for (size_t i = 0; i < k->count; i++) {
        k->d[i] *= k->m[i];
    }
}

static void shape_kernel(void *context, size_t piece, size_t thread)
{
    const pq_sparse_run *run = context;
    pq_sparse_kernel    *k   = &run->kernels[piece];

    (void)thread;
    if (run->phase == PQ_SPARSE_TRAIN) {
        run->method->shape(run, k);
    } else if (run->phase == PQ_SPARSE_FINETUNE) {
        pq_sparse_mask_weights(run, k);
    }
}

void pq_sparse_shape(const pq_net *net, const float *flat)
{
    if (net->sparse == NULL) {
        return;
    }
    memcpy(net->shaped, flat, net->n_flat * sizeof *flat);
    view_all(net, flat);
    pq_pool_run_small(net->pool, net->n_flat, net->sparse->n, shape_kernel, net->sparse);
}

static void backward_kernel(void *context, size_t piece, size_t thread)
{
    const pq_sparse_run *run = context;
    pq_sparse_kernel    *k   = &run->kernels[piece];

    (void)thread;
    memset(k->dp, 0, k->n_p * sizeof *k->dp);
    if (run->phase == PQ_SPARSE_TRAIN) {
        run->method->backward(run, k);
    } else if (run->phase == PQ_SPARSE_FINETUNE) {
        pq_sparse_mask_gradient(run, k);
    }
}

void pq_sparse_backward(pq_net *net)
{
    view_all(net, net->flat);
    pq_pool_run_small(net->pool, net->n_flat, net->sparse->n, backward_kernel,
                      net->sparse);
}

double pq_sparse_penalty(const pq_net *net)
{
    const pq_sparse_run *run = net->sparse;
    double               sum = 0.0;

    if (run == NULL || run->phase != PQ_SPARSE_TRAIN || run->method->penalty == NULL) {
        return 0.0;
    }
    view_all(net, net->flat);
    for (size_t i = 0; i < run->n; i++) {
        sum += run->method->penalty(run, &run->kernels[i]);
    }
    return sum;
}

void pq_sparse_batch(pq_net *net, size_t events)
{
    if (net->sparse != NULL) {
        net->sparse->events = events;
        net->sparse->chunks = (events + net->chunk - 1) / net->chunk;
    }
}

void pq_sparse_step(pq_net *net)
{
    pq_sparse_run *run = net->sparse;

    if (run == NULL || run->phase != PQ_SPARSE_TRAIN) {
        return;
    }
    run->step++;
    if (run->method->step != NULL) {
        view_all(net, net->flat);
        run->method->step(run);
    }
}

void pq_sparse_look(const pq_net *net, size_t rows, size_t chunk, float *slot)
{
    const pq_sparse_run *run = net->sparse;

    for (size_t i = 0; run != NULL && run->seen != NULL && i < run->n; i++) {
        const pq_sparse_kernel *k     = &run->kernels[i];
        const pq_net_place     *place = &net->values[k->value];
        const float            *y     = slot + place->offset;
        float                  *seen  = run->seen + chunk * run->n_seen + k->seen;

        memset(seen, 0, k->rows * sizeof *seen);
        for (size_t j = 0; j < rows * place->count; j++) {
            seen[j % k->rows] += y[j] > 0.0F ? 1.0F : 0.0F;
        }
        if (place->gradient != SIZE_MAX && k->value != net->logits) {
            memset(slot + place->gradient, 0, rows * place->count * sizeof *slot);
        }
    }
}

pq_status pq_sparse_epoch(pq_net *net, size_t epoch, size_t batches, pq_err *err)
{
    pq_sparse_run          *run  = net->sparse;
    const pq_sparse_params *p    = run->params;
    const size_t            hard = pq_sparse_hard_from(p);
    const size_t            pre  = (size_t)p->pretraining_epochs;
    const size_t            done = epoch - 1 - (epoch > pre ? pre : epoch - 1);
    pq_status               st   = PQ_OK;

    run->epochs = (size_t)p->train.epochs;
    run->epoch  = done % run->epochs;
    run->step   = done * batches;
    run->steps  = (hard - pre) * batches;
    run->phase  = epoch <= pre    ? PQ_SPARSE_PRETRAIN
                  : epoch <= hard ? PQ_SPARSE_TRAIN
                                  : PQ_SPARSE_FINETUNE;
    view_all(net, net->flat);
    if (epoch == pre + 1 && run->method->begin != NULL) {
        PQ_TRY(run->method->begin(run, err));
    }
    if (run->at_saved != SIZE_MAX && run->phase == PQ_SPARSE_TRAIN &&
        done == (size_t)p->save_weights_epoch) {
        memcpy(net->flat + run->at_saved, net->flat, run->n_saved * sizeof(float));
    }
cleanup:
    return st;
}

static void rewind_weights(const pq_sparse_run *run)
{
    pq_net *net = run->net;

    for (size_t i = 0; i < net->n_weights; i++) {
        const pq_net_weight *w = &net->weights[i];
        if (!w->frozen) {
            memcpy(net->flat + w->offset, net->flat + run->at_saved + w->offset,
                   w->count * sizeof(float));
        }
    }
}

/* Kept weights become what they were used as. */
static void settle(const pq_sparse_run *run, pq_sparse_kernel *k)
{
    float *v = run->net->flat + run->net->weights[k->weight].offset;

    for (size_t i = 0; i < k->count; i++) {
        if (k->m[i] > 0.0F && k->w[i] != 0.0F) { /* NOLINT: 0 is exact */
            v[i] = k->w[i];
        }
    }
}

static pq_status harden(pq_net *net, pq_err *err)
{
    pq_sparse_run *run = net->sparse;
    pq_status      st;

    if (run->method->finish != NULL) {
        run->method->finish(run);
    }
    pq_sparse_shape(net, net->flat);
    PQ_TRY(pq_sparse_harden(run, err));
    for (size_t i = 0; i < run->n; i++) {
        settle(run, &run->kernels[i]);
    }
    run->phase = PQ_SPARSE_FINETUNE;
cleanup:
    return st;
}

pq_status pq_sparse_epoch_end(pq_net *net, size_t epoch, bool *moved, pq_err *err)
{
    pq_sparse_run          *run  = net->sparse;
    const pq_sparse_params *p    = run->params;
    const size_t            pre  = (size_t)p->pretraining_epochs;
    const bool              last = epoch == pq_sparse_hard_from(p);
    pq_status               st   = PQ_OK;

    *moved = run->phase == PQ_SPARSE_TRAIN && (epoch - pre) % run->epochs == 0;
    if (!*moved) {
        return PQ_OK;
    }
    view_all(net, net->flat);
    if (last) {
        PQ_TRY(harden(net, err));
    }
    for (size_t i = 0; !last && run->method->round != NULL && i < run->n; i++) {
        run->method->round(run, &run->kernels[i]);
    }
    if (p->rewind == PQ_REWIND_EVERY_ROUND ||
        (p->rewind == PQ_REWIND_POST_TRAINING_STAGE && last)) {
        rewind_weights(run);
    }
cleanup:
    return st;
}

pq_status pq_sparse_mark(const pq_net *net, const float *flat, pq_graph *graph,
                         pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; net->sparse != NULL && net->sparse->phase == PQ_SPARSE_FINETUNE &&
                       i < net->sparse->n;
         i++) {
        const pq_sparse_kernel *k  = &net->sparse->kernels[i];
        const pq_net_weight    *at = &net->weights[k->weight];
        pq_weight              *w  = &graph->nodes[at->node].layer->weights[at->index];
        if (w->pruned == NULL) {
            PQ_NEW(w->pruned, pq_mask_bytes(k->count));
        }
        for (size_t j = 0; j < k->count; j++) {
            if (flat[k->at_m + j] <= 0.0F) {
                w->pruned[j / 8] |= (uint8_t)(1U << j % 8);
            }
        }
    }
cleanup:
    return st;
}
