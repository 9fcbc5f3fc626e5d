#include "compress/lowrank.h"

#include <math.h>
#include <string.h>

#include "compress/wiring.h"
#include "core/hash.h"
#include "core/memory.h"
#include "layers/kinds.h"
#include "linalg/vbmf.h"

const char *const pq_run_as_names[] = {"factorised", "reconstructed", "auto", NULL};

pq_status pq_rank_check(const pq_rank_params *p, size_t extra, const char *rules,
                        pq_err *err)
{
    const size_t given = extra + (p->rank != PQ_UNSET) + !isnan(p->energy) +
                         !isnan(p->epsilon) + p->evbmf + !isnan(p->ratio);
    pq_status st;

    PQ_CHECK(given == 1, PQ_ERR_CONFIG, "give exactly one of %s", rules);
    PQ_CHECK(p->weaken == 0.0 || p->evbmf, PQ_ERR_CONFIG, "weaken goes with evbmf only");
cleanup:
    return st;
}

bool pq_rank_needs_spectrum(const pq_rank_params *p)
{
    return p->rank == PQ_UNSET && isnan(p->ratio);
}

/* Smallest r with sum_{i < r} s_i^2 >= part * sum s_i^2, at least 1. */
static size_t rank_of_energy(const pq_spectrum *m, double part)
{
    double total = 0.0, kept = 0.0;

    for (size_t i = 0; i < m->full; i++) {
        total += m->s[i] * m->s[i];
    }
    for (size_t i = 0; i < m->full; i++) {
        kept += m->s[i] * m->s[i];
        if (kept >= part * total) {
            return i + 1;
        }
    }
    return m->full;
}

/* Smallest r >= 1 with sum_{i >= r} s_i^2 <= epsilon^2 sum s_i^2. */
static size_t rank_of_error(const pq_spectrum *m, double epsilon)
{
    double total = 0.0, tail = 0.0;
    size_t r = m->full;

    for (size_t i = 0; i < m->full; i++) {
        total += m->s[i] * m->s[i];
    }
    while (r > 1 && tail + m->s[r - 1] * m->s[r - 1] <= epsilon * epsilon * total) {
        r--;
        tail += m->s[r] * m->s[r];
    }
    return r;
}

static size_t align(size_t rank, size_t step, size_t full)
{
    const size_t near = (rank + step / 2) / step * step;

    rank = near > 0 ? near : step;
    return rank < full ? rank : full;
}

pq_status pq_rank_choose(const pq_rank_params *p, const pq_spectrum *m, size_t *rank,
                         pq_err *err)
{
    size_t    r  = 1;
    pq_status st = PQ_OK;

    if (p->rank != PQ_UNSET) {
        PQ_CHECK((uint64_t)p->rank <= m->full || p->clip_rank, PQ_ERR_RANGE,
                 "rank %lld is not in 1..%zu", (long long)p->rank, m->full);
        r = (uint64_t)p->rank < m->full ? (size_t)p->rank : m->full;
    } else if (!isnan(p->ratio)) {
        r = (size_t)((double)m->m * (double)m->n / ((double)(m->m + m->n) * p->ratio));
    } else if (!isnan(p->energy)) {
        r = rank_of_energy(m, p->energy);
    } else if (!isnan(p->epsilon)) {
        r = rank_of_error(m, p->epsilon);
    } else {
        r = pq_evbmf_rank(m->s, m->m, m->n);
        r += (size_t)(p->weaken * (double)(m->full - r) + 0.5);
    }
    r     = r < 1 ? 1 : r > m->full ? m->full : r;
    *rank = p->align > 1 ? align(r, (size_t)p->align, m->full) : r;
cleanup:
    return st;
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
    w->value  = kernel;
    w->pruned = false;
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

pq_status pq_task_each(pq_compress_task *task, bool fold,
                       pq_status (*one)(pq_compress_task *task, const char *name,
                                        pq_err *err),
                       pq_err *err)
{
    pq_status st = fold ? pq_task_fold(task, err) : PQ_OK;

    for (size_t i = 0; st == PQ_OK && i < task->n_nodes; i++) {
        pq_progress_report(task->progress, "layers", i, task->n_nodes, task->nodes[i]);
        st = one(task, task->nodes[i], err);
        if (st != PQ_OK) {
            pq_err_context(err, "layer '%s'", task->nodes[i]);
        }
    }
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
