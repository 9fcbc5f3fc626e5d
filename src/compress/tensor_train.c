/*
 * Tensor trains in place of dense and convolution weights.
 *
 * dense:            tt_dense, W split into modes (n_k, m_k); chosen evenly where none are
 *                   given.
 * conv, garipov:    tt_conv2d, a core for the window and cores for (out_k, in_k).
 * conv, naive:      the train (in, height, width, out) as ordinary layers: 1 x 1, h x 1,
 *                   1 x w, 1 x 1.
 *
 * `ranks` are the largest ranks one by one, `rank` is one for all, `epsilon` the error
 * that is kept, `ratio` the largest common rank that is small enough.
 *
 * Source: Oseledets (2011); Novikov et al. (2015); Garipov et al. (2016).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/lowrank.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "layers/kinds.h"
#include "linalg/subspace.h"
#include "linalg/tt.h"

enum { GARIPOV, NAIVE };

typedef struct {
    pq_rank_params rank;
    pq_reals       ranks, in_modes, out_modes;
    int64_t        cores;
    int            form;
} tt_params;

static const char *const forms[] = {"garipov", "naive", NULL};

static const pq_param params[] = {
    PQ_RANK_ROWS(tt_params, rank),
    {.name   = "ranks",
     .type   = PQ_PARAM_LIST,
     .offset = offsetof(tt_params, ranks),
     .min    = 1,
     .max    = 65536,
     .help   = "largest rank between each two cores, e.g. [16, 16, 16]"},
    {.name   = "in_modes",
     .type   = PQ_PARAM_LIST,
     .offset = offsetof(tt_params, in_modes),
     .min    = 1,
     .max    = 65536,
     .help = "factors of the inputs (channels), e.g. [7, 4, 7, 4]; chosen if not given"},
    {.name   = "out_modes",
     .type   = PQ_PARAM_LIST,
     .offset = offsetof(tt_params, out_modes),
     .min    = 1,
     .max    = 65536,
     .help   = "factors of the outputs, as many, e.g. [5, 5, 5, 5]; chosen if not given"},
    {.name     = "cores",
     .type     = PQ_PARAM_INT,
     .offset   = offsetof(tt_params, cores),
     .fallback = "3",
     .min      = 2,
     .max      = 7,
     .help     = "number of modes where they are chosen"},
    {.name     = "form",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(tt_params, form),
     .fallback = "garipov",
     .choices  = forms,
     .help     = "conv2d only: a window and modes (garipov), or in, height, width, out "
                 "(naive)"},
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const tt_params *p = values;
    pq_status        st;

    PQ_CHECK(isnan(p->rank.energy) && !p->rank.evbmf, PQ_ERR_CONFIG,
             "a train has no one spectrum: give rank, ranks, ratio or epsilon");
    PQ_TRY(
        pq_rank_check(&p->rank, p->ranks.n > 0, "rank, ranks, epsilon and ratio", err));
    PQ_CHECK(p->in_modes.n == p->out_modes.n, PQ_ERR_CONFIG,
             "%zu in_modes and %zu out_modes do not pair", p->in_modes.n, p->out_modes.n);
    PQ_CHECK(p->in_modes.n < PQ_MAX_DIMS, PQ_ERR_CONFIG,
             "%zu modes; at most %d are taken", p->in_modes.n, PQ_MAX_DIMS - 1);
cleanup:
    return st;
}

/* One layer: its kernel as a tensor [window, n_1 m_1, …] (or naive) and how it was made.
 */
typedef struct {
    const char *name;
    size_t      node, d; /* d: modes, without the window */
    bool        conv, naive;
    size_t      n[PQ_MAX_DIMS], m[PQ_MAX_DIMS];
    size_t      limit[PQ_MAX_DIMS]; /* largest ranks */
    pq_shape    kernel;
    pq_tensor  *t; /* float64 */
} target;

/* d factors of a number, as equal as its primes allow, largest first. */
static void balance(size_t number, size_t d, size_t *modes)
{
    size_t primes[64], count = 0;

    for (size_t p = 2; p * p <= number; p++) {
        for (; number % p == 0; number /= p) {
            primes[count++] = p;
        }
    }
    if (number > 1) {
        primes[count++] = number;
    }
    for (size_t k = 0; k < d; k++) {
        modes[k] = 1;
    }
    while (count-- > 0) { /* largest primes first, onto the smallest factor */
        size_t least = 0;
        for (size_t k = 1; k < d; k++) {
            least = modes[k] < modes[least] ? k : least;
        }
        modes[least] *= primes[count];
    }
}

static pq_status take_modes(const pq_reals *given, size_t due, const char *what,
                            size_t *modes, pq_err *err)
{
    double    product = 1.0;
    pq_text   text    = {0};
    pq_status st      = PQ_OK;

    for (size_t k = 0; k < given->n; k++) {
        modes[k] = (size_t)given->value[k];
        product *= given->value[k];
        pq_text_add(&text, "%s%g", k == 0 ? "" : " x ", given->value[k]);
    }
    PQ_CHECK(product == (double)due, PQ_ERR_SHAPE, "%s %s multiply to %g, not to %zu",
             what, text.text, product, due);
cleanup:
    pq_text_free(&text);
    return st;
}

static pq_status choose_modes(const tt_params *p, target *t, pq_err *err)
{
    const size_t in = t->kernel.dim[t->kernel.ndim - 1], out = t->kernel.dim[0];
    pq_status    st = PQ_OK;

    t->d = p->in_modes.n > 0 ? p->in_modes.n : (size_t)p->cores;
    if (p->in_modes.n > 0) {
        PQ_TRY(take_modes(&p->in_modes, in, "in_modes", t->m, err));
        PQ_TRY(take_modes(&p->out_modes, out, "out_modes", t->n, err));
    } else {
        balance(in, t->d, t->m);
        balance(out, t->d, t->n);
    }
cleanup:
    return st;
}

/* Axes of a kernel [n_1 … n_d, h, w, m_1 … m_d] in the order of the train. */
static pq_status fold_axes(const pq_tensor *kernel, target *t, pq_err *err)
{
    const size_t w = t->conv ? 1 : 0, d = t->d;
    pq_shape     split = {.ndim = 2 * d + w}, joined = {.ndim = d + w};
    size_t       axes[2 * PQ_MAX_DIMS];
    pq_tensor   *wide = NULL;
    pq_status    st;

    PQ_CHECK(split.ndim <= PQ_MAX_DIMS, PQ_ERR_CONFIG,
             "%zu modes are too many: %zu at most", d, (PQ_MAX_DIMS - w) / 2);
    for (size_t k = 0; k < d; k++) {
        split.dim[k]         = t->n[k];
        split.dim[d + w + k] = t->m[k];
        axes[w + 2 * k]      = k;
        axes[w + 2 * k + 1]  = d + w + k;
        joined.dim[w + k]    = t->n[k] * t->m[k];
    }
    if (t->conv) {
        split.dim[d] = joined.dim[0] = t->kernel.dim[1] * t->kernel.dim[2];
        axes[0]                      = d;
    }
    PQ_TRY(pq_tensor_convert(kernel, PQ_DTYPE_F64, &wide, err));
    PQ_TRY(pq_tensor_reshape(wide, split, err));
    PQ_TRY(pq_tensor_permute(wide, axes, &t->t, err));
    PQ_TRY(pq_tensor_reshape(t->t, joined, err));
cleanup:
    pq_tensor_free(&wide);
    return st;
}

static pq_status open_target(const pq_compress_task *task, const char *name, target *t,
                             pq_err *err)
{
    const size_t     naive[] = {3, 1, 2, 0};
    const tt_params *p       = task->params;
    const pq_tensor *kernel;
    pq_tensor       *turned = NULL;
    pq_status        st;

    t->name   = name;
    t->node   = pq_graph_find(task->graph, name);
    kernel    = pq_layer_weight(task->graph->nodes[t->node].layer, "kernel")->value;
    t->kernel = kernel->shape;
    t->conv   = kernel->shape.ndim == 4;
    t->naive  = t->conv && p->form == NAIVE;
    if (t->naive) {
        PQ_TRY(pq_tensor_permute(kernel, naive, &turned, err));
        PQ_TRY(pq_tensor_convert(turned, PQ_DTYPE_F64, &t->t, err));
        goto cleanup;
    }
    PQ_TRY(choose_modes(p, t, err));
    PQ_TRY(fold_axes(kernel, t, err));
cleanup:
    pq_tensor_free(&turned);
    return st;
}

/* Largest rank of each cut that a train may have at all. */
static void full_ranks(const pq_shape *s, size_t *limit)
{
    size_t left = 1, right = 1;

    for (size_t k = 0; k < s->ndim; k++) {
        right *= s->dim[k];
    }
    for (size_t k = 0; k + 1 < s->ndim; k++) {
        left *= s->dim[k];
        right /= s->dim[k];
        limit[k] = left < right ? left : right;
    }
}

static size_t count_values(const pq_shape *s, const size_t *rank)
{
    size_t sum = 0;

    for (size_t k = 0; k < s->ndim; k++) {
        sum += (k > 0 ? rank[k - 1] : 1) * s->dim[k] * (k + 1 < s->ndim ? rank[k] : 1);
    }
    return sum;
}

/* The ranks a common rank comes to: no cut above what it may have. */
static void common_rank(const pq_shape *s, size_t rank, size_t *out)
{
    full_ranks(s, out);
    for (size_t k = 0; k + 1 < s->ndim; k++) {
        out[k] = out[k] < rank ? out[k] : rank;
    }
}

static pq_status choose_ranks(const tt_params *p, target *t, pq_err *err)
{
    const pq_shape *s = &t->t->shape;
    size_t          full[PQ_MAX_DIMS], trial[PQ_MAX_DIMS], top = 1;
    pq_status       st = PQ_OK;

    full_ranks(s, full);
    for (size_t k = 0; k + 1 < s->ndim; k++) {
        top = full[k] > top ? full[k] : top;
    }
    memcpy(t->limit, full, sizeof full);
    if (p->ranks.n > 0) {
        PQ_CHECK(p->ranks.n + 1 == s->ndim, PQ_ERR_CONFIG,
                 "%zu ranks are given for %zu cores: one between each two", p->ranks.n,
                 s->ndim);
        for (size_t k = 0; k < p->ranks.n; k++) {
            PQ_CHECK(p->ranks.value[k] <= (double)full[k] || p->rank.clip_rank,
                     PQ_ERR_RANGE, "rank %g between cores %zu and %zu is not in 1..%zu",
                     p->ranks.value[k], k + 1, k + 2, full[k]);
            t->limit[k] =
                p->ranks.value[k] < (double)full[k] ? (size_t)p->ranks.value[k] : full[k];
        }
    } else if (p->rank.rank != PQ_UNSET) {
        PQ_CHECK((uint64_t)p->rank.rank <= top || p->rank.clip_rank, PQ_ERR_RANGE,
                 "rank %lld is not in 1..%zu", (long long)p->rank.rank, top);
        common_rank(s, (size_t)p->rank.rank, t->limit);
    } else if (!isnan(p->rank.ratio)) {
        common_rank(s, 1, t->limit);
        for (size_t r = (size_t)p->rank.align; r <= top; r += (size_t)p->rank.align) {
            common_rank(s, r, trial);
            if ((double)count_values(s, trial) * p->rank.ratio <= (double)t->t->count) {
                memcpy(t->limit, trial, sizeof trial);
            }
        }
    }
cleanup:
    return st;
}

/* Core k of a train as a float32 tensor of that shape. */
static pq_status core_of(const pq_tt *tt, size_t k, pq_shape shape, pq_tensor **out,
                         pq_err *err)
{
    pq_status st;

    PQ_TRY(pq_tensor_convert(tt->core[k], PQ_DTYPE_F32, out, err));
    PQ_TRY(pq_tensor_reshape(*out, shape, err));
cleanup:
    return st;
}

static pq_status replace_by_cores(pq_graph *graph, const target *t, const pq_tt *tt,
                                  pq_err *err)
{
    const size_t w    = t->conv ? 1 : 0;
    pq_layer    *made = NULL;
    pq_tensor   *core = NULL;
    char         name[32];
    pq_status    st;

    PQ_TRY(pq_layer_create(t->conv ? "tt_conv2d" : "tt_dense", &made, err));
    if (t->conv) {
        *(pq_conv2d_params *)made->params =
            *(const pq_conv2d_params *)graph->nodes[t->node].layer->params;
        PQ_TRY(core_of(tt, 0,
                       PQ_SHAPE(1, t->kernel.dim[1], t->kernel.dim[2], tt->rank[1]),
                       &core, err));
        st   = pq_layer_add_weight(made, "window", core, err);
        core = NULL;
        PQ_TRY(st);
    }
    for (size_t k = 0; k < t->d; k++) {
        PQ_TRY(core_of(tt, k + w,
                       PQ_SHAPE(tt->rank[k + w], t->n[k], t->m[k], tt->rank[k + w + 1]),
                       &core, err));
        (void)snprintf(name, sizeof name, "core%zu", k + 1);
        st   = pq_layer_add_weight(made, name, core, err);
        core = NULL;
        PQ_TRY(st);
    }
    PQ_TRY(pq_chain_replace(graph, t->node, 1, &made, NULL, err));
cleanup:
    pq_tensor_free(&core);
    pq_layer_free(&made);
    return st;
}

/* Kernel [out, h, w, in] of core k [r, n, r'] of a naive train. */
static pq_status naive_layer(const pq_tt *tt, size_t k, pq_layer **out, pq_err *err)
{
    const size_t *d = tt->core[k]->shape.dim, turn[] = {2, 1, 0};
    pq_tensor    *narrow = NULL, *t = NULL;
    pq_status     st;

    PQ_TRY(pq_tensor_convert(tt->core[k], PQ_DTYPE_F32, &narrow, err));
    PQ_TRY(pq_tensor_permute(narrow, turn, &t, err)); /* [r', n, r] */
    PQ_TRY(pq_tensor_reshape(t,
                             k == 0   ? PQ_SHAPE(d[2], 1, 1, d[1])
                             : k == 1 ? PQ_SHAPE(d[2], d[1], 1, d[0])
                             : k == 2 ? PQ_SHAPE(d[2], 1, d[1], d[0])
                                      : PQ_SHAPE(d[1], 1, 1, d[0]),
                             err));
    st = pq_factor_layer("conv2d", t, out, err);
    t  = NULL;
cleanup:
    pq_tensor_free(&narrow);
    pq_tensor_free(&t);
    return st;
}

static pq_status replace_by_chain(pq_graph *graph, const target *t, const pq_tt *tt,
                                  pq_err *err)
{
    const pq_conv2d_params *p         = graph->nodes[t->node].layer->params;
    pq_layer               *layers[4] = {NULL};
    pq_conv2d_params       *rows, *columns;
    pq_status               st = PQ_OK;

    for (size_t k = 0; k < 4; k++) {
        PQ_TRY(naive_layer(tt, k, &layers[k], err));
    }
    rows    = layers[1]->params;
    columns = layers[2]->params;
    *rows = *columns           = *p;
    rows->window.stride_w      = 1;
    rows->window.pad_left      = 0;
    rows->window.pad_right     = 0;
    rows->dilation_w           = 1;
    columns->window.stride_h   = 1;
    columns->window.pad_top    = 0;
    columns->window.pad_bottom = 0;
    columns->dilation_h        = 1;
    PQ_TRY(pq_chain_replace(graph, t->node, 4, layers, NULL, err));
cleanup:
    for (size_t k = 0; k < 4; k++) {
        pq_layer_free(&layers[k]);
    }
    return st;
}

/* The kernel of a train, back in its own order of axes. */
static pq_status rebuild(pq_graph *graph, const target *t, const pq_tensor *full,
                         pq_err *err)
{
    const size_t naive[] = {3, 1, 2, 0};
    const size_t w = t->conv ? 1 : 0, d = t->d;
    pq_shape     split = {.ndim = t->naive ? 4 : 2 * d + w};
    size_t       axes[2 * PQ_MAX_DIMS];
    pq_tensor   *narrow = NULL, *turned = NULL;
    pq_status    st;

    for (size_t k = 0; k < d; k++) {
        split.dim[w + 2 * k]     = t->n[k];
        split.dim[w + 2 * k + 1] = t->m[k];
        axes[k]                  = w + 2 * k;
        axes[d + w + k]          = w + 2 * k + 1;
    }
    if (t->conv) {
        split.dim[0] = t->kernel.dim[1] * t->kernel.dim[2];
        axes[d]      = 0;
    }
    PQ_TRY(pq_tensor_convert(full, PQ_DTYPE_F32, &narrow, err));
    if (!t->naive) {
        PQ_TRY(pq_tensor_reshape(narrow, split, err));
    }
    PQ_TRY(pq_tensor_permute(narrow, t->naive ? naive : axes, &turned, err));
    PQ_TRY(pq_tensor_reshape(turned, t->kernel, err));
    st     = pq_kernel_replace(graph, t->node, turned, NULL, err);
    turned = NULL;
cleanup:
    pq_tensor_free(&narrow);
    pq_tensor_free(&turned);
    return st;
}

static void name_ranks(const pq_tt *tt, char *words, size_t size)
{
    size_t n = (size_t)snprintf(words, size, "ranks");

    for (size_t k = 1; k < tt->d && n < size; k++) {
        n += (size_t)snprintf(words + n, size - n, " %zu", tt->rank[k]);
    }
}

/* Puts the train into the graph in the way that is asked for. */
static pq_status place(pq_compress_task *task, const target *t, const pq_tt *tt,
                       pq_err *err)
{
    const tt_params *p     = task->params;
    const size_t     after = pq_tt_parameters(tt);
    const bool       gains = after < t->t->count;
    const bool       whole = p->rank.run_as == PQ_RUN_RECONSTRUCTED ||
                       (p->rank.run_as == PQ_RUN_AUTO && !gains);
    const double norm = sqrt(pq_square_norm(t->t));
    pq_tensor   *full = NULL;
    char         words[96];
    pq_status    st;

    name_ranks(tt, words, sizeof words);
    if (p->rank.keep_dense && !gains && !whole) {
        return pq_note_dense(task, t->name, words, t->t->count, after, err);
    }
    PQ_TRY(pq_tt_full(tt, &full, err));
    PQ_TRY(whole      ? rebuild(task->graph, t, full, err)
           : t->naive ? replace_by_chain(task->graph, t, tt, err)
                      : replace_by_cores(task->graph, t, tt, err));
    PQ_TRY(pq_task_change(task, t->name,
                          norm > 0.0 ? sqrt(pq_square_distance(full, t->t)) / norm : 0.0,
                          "%s%s", words, whole ? ", reconstructed" : ""));
cleanup:
    pq_tensor_free(&full);
    return st;
}

static pq_status apply_one(pq_compress_task *task, const char *name, pq_err *err)
{
    const tt_params *p       = task->params;
    const double     epsilon = isnan(p->rank.epsilon) ? 0.0 : p->rank.epsilon;
    target           t       = {0};
    pq_tt            tt      = {0};
    pq_status        st;

    PQ_TRY(open_target(task, name, &t, err));
    PQ_TRY(choose_ranks(p, &t, err));
    PQ_TRY(pq_tt_svd(t.t, epsilon, t.limit, &tt, err));
    PQ_TRY(place(task, &t, &tt, err));
cleanup:
    pq_tensor_free(&t.t);
    pq_tt_free(&tt);
    return st;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    return pq_task_each(task, ((const tt_params *)task->params)->rank.fold, apply_one,
                        err);
}

const pq_method pq_method_tensor_train = {
    .name        = "tensor_train",
    .summary     = "tensor trains in place of dense and convolution weights",
    .source      = "doi:10.1137/090752286, arXiv:1509.06569, arXiv:1611.03214",
    .params      = params,
    .params_size = sizeof(tt_params),
    .version     = "1",
    .check       = check,
    .accepts     = pq_accepts_kernel,
    .apply       = apply,
};
