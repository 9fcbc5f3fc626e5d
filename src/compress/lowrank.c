#include "compress/lowrank.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/by_time.h"
#include "compress/wiring.h"
#include "core/hash.h"
#include "core/memory.h"
#include "layers/kinds.h"
#include "linalg/svd.h"

bool pq_is_spectrum(const pq_tensor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (!(pq_f64(s)[i] >= 0.0)) {
            return false;
        }
    }
    return true;
}

pq_status pq_side_open(pq_cache *cache, const pq_tensor *t, size_t axis, pq_side *out,
                       pq_err *err)
{
    const pq_tensor *inputs[] = {t};
    pq_tensor       *arrays[] = {NULL, NULL};
    pq_tensor       *flat     = NULL;
    pq_svd           svd      = {0};
    char             key[PQ_HASH_TEXT], what[32];
    pq_status        st;

    (void)snprintf(what, sizeof what, "side/1 %zu", axis);
    pq_factor_key(what, 1, inputs, key);
    out->m               = t->shape.dim[axis];
    out->n               = t->count / out->m;
    const size_t   k     = out->m < out->n ? out->m : out->n;
    const pq_shape due[] = {PQ_SHAPE(out->m, k), PQ_SHAPE(k)};

    if (cache != NULL && pq_cache_get(cache, key, 2, due, arrays)) {
        out->u = arrays[0];
        out->s = arrays[1];
        if (pq_is_spectrum(out->s)) {
            return PQ_OK;
        }
        pq_side_free(out);
    }
    PQ_TRY(pq_tensor_unfold(t, axis, &flat, err));
    PQ_TRY(pq_svd_thin(flat, &svd, err));
    out->u = svd.u;
    out->s = svd.s;
    svd.u = svd.s = NULL;
    if (cache != NULL) {
        pq_cache_put(cache, key, 2, (pq_tensor *[]){out->u, out->s});
    }
cleanup:
    pq_tensor_free(&flat);
    pq_svd_free(&svd);
    return st;
}

void pq_side_free(pq_side *side)
{
    pq_tensor_free(&side->u);
    pq_tensor_free(&side->s);
}

pq_spectrum pq_side_spectrum(const pq_side *side)
{
    return (pq_spectrum){
        .m = side->m, .n = side->n, .full = side->s->count, .s = pq_f64(side->s)};
}

double pq_lost_part(const double *s, size_t n, size_t r)
{
    double kept = 0.0, lost = 0.0;

    for (size_t i = n; i-- > 0;) {
        *(i < r ? &kept : &lost) += s[i] * s[i];
    }
    return kept + lost > 0.0 ? lost / (kept + lost) : 0.0;
}

pq_status pq_factor_layer(const char *kind, pq_tensor *kernel, pq_layer **out,
                          pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_layer_create(kind, out, err));
    PQ_TRY(pq_layer_add_weight(*out, "kernel", kernel, err));
    return PQ_OK;
cleanup:
    if (*out == NULL) {
        pq_tensor_free(&kernel);
    }
    return st;
}

pq_status pq_bias_shift(pq_layer *layer, size_t outputs, const double *shift, pq_err *err)
{
    pq_weight *bias = pq_layer_weight(layer, "bias");
    pq_tensor *made = NULL;
    pq_status  st   = PQ_OK;

    if (bias == NULL) {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(outputs), &made, err));
        PQ_TRY(pq_layer_add_weight(layer, "bias", made, err));
        bias = pq_layer_weight(layer, "bias");
    }
    for (size_t o = 0; o < outputs; o++) {
        pq_f32(bias->value)[o] = (float)((double)pq_f32(bias->value)[o] + shift[o]);
    }
    pq_quant_free(&bias->quant); /* its values left the grid */
cleanup:
    return st;
}

/* "<name>.b", or "<name>.b2", … where a layer was factored before. */
static pq_status name_factor(const pq_graph *graph, const char *name, char letter,
                             char **out, pq_err *err)
{
    pq_status st = PQ_OK;

    for (int i = 1; *out == NULL || pq_graph_find(graph, *out) != SIZE_MAX; i++) {
        pq_free(*out);
        *out = i == 1 ? pq_format("%s.%c", name, letter)
                      : pq_format("%s.%c%d", name, letter, i);
        PQ_CHECK(*out != NULL, PQ_ERR_NOMEM, "cannot allocate a string");
    }
cleanup:
    return st;
}

pq_status pq_chain_replace(pq_graph *graph, size_t node, size_t n, pq_layer **layers,
                           const double *shift, pq_err *err)
{
    const pq_weight *bias = pq_layer_weight(graph->nodes[node].layer, "bias");
    pq_tensor       *copy = NULL;
    char            *names[PQ_NODE_INPUTS] = {NULL};
    pq_status        st                    = PQ_OK;

    assert(n >= 1 && n <= PQ_NODE_INPUTS);
    if (bias != NULL) {
        PQ_TRY(pq_tensor_clone(bias->value, &copy, err));
        PQ_TRY(pq_layer_add_weight(layers[n - 1], "bias", copy, err));
        if (bias->quant != NULL) {
            PQ_TRY(pq_quant_clone(bias->quant,
                                  &pq_layer_weight(layers[n - 1], "bias")->quant, err));
        }
    }
    if (shift != NULL) {
        PQ_TRY(pq_bias_shift(
            layers[n - 1],
            pq_layer_weight(graph->nodes[node].layer, "kernel")->value->shape.dim[0],
            shift, err));
    }
    for (size_t i = 0; i + 1 < n; i++) {
        PQ_TRY(
            name_factor(graph, graph->nodes[node].name, (char)('b' + i), &names[i], err));
    }
    st = pq_graph_replace(graph, node, n, (const char *const *)names, layers, err);
    memset(layers, 0, n * sizeof(pq_layer *)); /* taken */
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_layer_free(&layers[i]);
        pq_free(names[i]);
    }
    return st;
}

pq_status pq_kernel_replace(pq_graph *graph, size_t node, pq_tensor *kernel,
                            const double *shift, pq_err *err)
{
    pq_layer  *layer = graph->nodes[node].layer;
    pq_weight *w     = pq_layer_weight(layer, "kernel");

    assert(pq_shape_equal(&w->value->shape, &kernel->shape));
    pq_tensor_free(&w->value);
    pq_quant_free(&w->quant);
    w->value = kernel;
    pq_weight_unprune(w);
    return shift != NULL ? pq_bias_shift(layer, kernel->shape.dim[0], shift, err) : PQ_OK;
}

pq_status pq_task_fold(pq_compress_task *task, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < task->n_nodes; i++) {
        PQ_TRY(pq_fold_batch_norm(task->graph, pq_graph_find(task->graph, task->nodes[i]),
                                  err));
    }
    PQ_TRY(pq_graph_check(task->graph, err));
cleanup:
    return st;
}

/* The kernel's values, or the node's operations. */
static double cost_of(const pq_graph *graph, size_t node, int unit)
{
    return unit == PQ_BUDGET_MACS ? (double)pq_node_macs(graph, node)
                                  : (double)pq_kernel_values(graph->nodes[node].layer);
}

/* What a layer may become, what it costs as it is, and what was chosen. */
typedef struct {
    pq_share share;
    double   dense, cost;
    size_t   rank;    /* 0 = dense, or without a budget: by the parameters */
    double   reached; /* of all layers' budget */
} plan;

static pq_status open_plan(pq_compress_task *task, const pq_rank_params *p,
                           const pq_lowrank_steps *steps, const char *name, plan *of,
                           pq_err *err)
{
    pq_status st;

    of->dense = cost_of(task->graph, pq_graph_find(task->graph, name), p->budget_unit);
    of->share = (pq_share){.by_macs = p->budget_unit == PQ_BUDGET_MACS,
                           .limit   = p->keep_dense ? of->dense : HUGE_VAL};
    PQ_TRY(steps->offer(task, name, &of->share, err));
    if (p->budget_unit == PQ_BUDGET_MICROSECONDS) {
        PQ_TRY(pq_share_time(task, p, steps, name, &of->share, &of->dense, err));
    }
    if (p->keep_dense) {
        PQ_TRY(pq_share_end(&of->share, err));
    }
cleanup:
    return st;
}

/* Ranks of all layers under the budget. */
static pq_status share_budget(pq_compress_task *task, const pq_rank_params *p,
                              const pq_lowrank_steps *steps, plan *plans, pq_err *err)
{
    pq_share *shares = NULL;
    double    all    = 0.0, reached;
    pq_status st;

    PQ_NEW(shares, task->n_nodes);
    for (size_t i = 0; i < task->n_nodes; i++) {
        st        = open_plan(task, p, steps, task->nodes[i], &plans[i], err);
        shares[i] = plans[i].share;
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", task->nodes[i]);
            goto cleanup;
        }
        all += plans[i].dense;
    }
    reached = pq_share_out(shares, task->n_nodes, all, p->budget);
    for (size_t i = 0; i < task->n_nodes; i++) {
        plans[i].rank    = shares[i].option[shares[i].at].rank;
        plans[i].cost    = shares[i].option[shares[i].at].cost;
        plans[i].reached = reached;
    }
cleanup:
    for (size_t i = 0; shares != NULL && i < task->n_nodes; i++) {
        pq_free(shares[i].option);
    }
    pq_free(shares);
    return st;
}

/* Values of all kernels of a network. */
static size_t all_values(const pq_graph *graph)
{
    size_t n = 0;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        n += pq_kernel_values(graph->nodes[i].layer);
    }
    return n;
}

/* What is out of reach is no error, whatever was asked for: the smallest ranks are taken,
 * and what they reach stands in the layer's row. Ratios are each layer's own. */
static void note_ratio(const pq_rank_params *p, size_t before, size_t after,
                       pq_layer_change *change)
{
    const double asked = pq_rank_ratio(p);

    if (!isnan(asked) && p->run_as != PQ_RUN_RECONSTRUCTED &&
        (double)after * asked > (double)before * (1.0 + 1e-9)) {
        const double reached = (double)before / (double)after;
        if (isnan(p->target_sparsity)) {
            pq_change_miss(change, "ratio", asked, reached);
        } else {
            pq_change_miss(change, "target_sparsity", p->target_sparsity,
                           1.0 - 1.0 / reached);
        }
    }
}

static pq_status apply_plan(pq_compress_task *task, const pq_rank_params *p,
                            const pq_lowrank_steps *steps, const char *name,
                            const plan *of, pq_err *err)
{
    const bool   shared = !isnan(p->budget);
    const size_t first = task->n_changes, whole = all_values(task->graph);
    const size_t node   = pq_graph_find(task->graph, name);
    const size_t before = pq_kernel_values(task->graph->nodes[node].layer);
    pq_status    st =
        shared && of->rank == 0
               ? pq_task_change(task, name, 0.0, "dense kept: the budget allows it")
           : p->run_as == PQ_RUN_AUTO ? pq_apply_faster(task, p, steps, name, of->rank, err)
                                      : steps->apply(task, name, of->rank, err);

    if (st == PQ_OK && shared && p->budget_unit == PQ_BUDGET_MICROSECONDS) {
        pq_change_add(&task->changes[first], "; %.3g of %.3g us", of->cost, of->dense);
    }
    if (st == PQ_OK && shared && of->reached < p->budget) {
        pq_change_miss(&task->changes[first], "budget", p->budget, of->reached);
    }
    if (st == PQ_OK && task->n_changes > first) {
        note_ratio(p, before, before + all_values(task->graph) - whole,
                   &task->changes[first]);
    }
    return st;
}

pq_status pq_lowrank_apply(pq_compress_task *task, const pq_rank_params *p,
                           const pq_lowrank_steps *steps, pq_err *err)
{
    plan     *plans = NULL;
    pq_status st;

    PQ_NEW(plans, task->n_nodes);
    if (p->fold) {
        PQ_TRY(pq_task_fold(task, err));
    }
    if (!isnan(p->budget)) {
        PQ_TRY(share_budget(task, p, steps, plans, err));
    }
    for (size_t i = 0; i < task->n_nodes; i++) {
        const char *name = task->nodes[i];
        pq_progress_report(task->progress, "layers", i, task->n_nodes, name);
        st = apply_plan(task, p, steps, name, &plans[i], err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", name);
            goto cleanup;
        }
    }
cleanup:
    pq_free(plans);
    return st;
}

void pq_factor_key(const char *what, size_t n, const pq_tensor *const *inputs,
                   char key[65])
{
    pq_hash hash;

    pq_hash_start(&hash);
    pq_hash_text(&hash, what);
    for (size_t i = 0; i < n; i++) {
        const pq_tensor *t = inputs[i];
        pq_hash_bytes(&hash, t->shape.dim, t->shape.ndim * sizeof t->shape.dim[0]);
        pq_hash_bytes(&hash, t->data, t->count * pq_dtype_bytes(t->dtype));
    }
    pq_hash_end(&hash, key);
}

bool pq_accepts_kernel(const pq_graph *graph, const pq_node *node)
{
    (void)graph;
    return pq_node_is(node, "dense") ||
           (pq_node_is(node, "conv2d") &&
            ((const pq_conv2d_params *)node->layer->params)->groups == 1);
}

pq_status pq_note_dense(pq_compress_task *task, const char *name, const char *ranks,
                        size_t before, size_t after, pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_task_change(task, name, 0.0,
                          "dense kept: %s would take %zu values instead of %zu", ranks,
                          after, before));
    return PQ_OK;
cleanup:
    return pq_err_set(err, st, __FILE__, __LINE__, "cannot allocate a change");
}

pq_status pq_factor_conv(const pq_tensor *factor, bool transposed, pq_shape shape,
                         pq_layer **out, pq_err *err)
{
    const size_t swap[] = {1, 0};
    pq_tensor   *narrow = NULL, *t = NULL;
    pq_status    st;

    PQ_TRY(pq_tensor_convert(factor, PQ_DTYPE_F32, &narrow, err));
    if (transposed) {
        PQ_TRY(pq_tensor_permute(narrow, swap, &t, err));
        pq_tensor_free(&narrow);
        narrow = t;
        t      = NULL;
    }
    PQ_TRY(pq_tensor_reshape(narrow, shape, err));
    st     = pq_factor_layer("conv2d", narrow, out, err);
    narrow = NULL;
cleanup:
    pq_tensor_free(&narrow);
    return st;
}
