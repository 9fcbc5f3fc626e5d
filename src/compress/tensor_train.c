/*
 * Tensor trains in place of dense and convolution weights, in the forms of tt_layer.h; a
 * layer that is a train already is rounded.
 *
 * `ranks` are the largest ranks one by one, `rank` is one for all, `epsilon` the error
 * that is kept (`energy` says the same in squares), `ratio` the largest common rank that
 * is small enough, and EVBMF judges the singular values of every cut. One decomposition
 * without truncation serves all of them: it is rounded (pq_tt_round).
 *
 * A ring runs core by core in place of a dense layer; of a convolution it is rebuilt.
 *
 * init = random starts a network that is to be trained: each core from N(0, s^2), s =
 * (sqrt(2 / inputs) / prod_k r_k^1/2)^(1 / cores), so that the kernel's variance is He's.
 *
 * Source: Oseledets (2011); Novikov et al. (2015); Garipov et al. (2016); Zhao et al.
 *         (2016), rings.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/tt_layer.h"
#include "compress/wiring.h"
#include "core/memory.h"
#include "core/rng.h"
#include "linalg/subspace.h"

enum { GARIPOV, NAIVE, RING };
enum { SVD, RANDOM };

typedef struct {
    pq_rank_params rank;
    pq_reals       ranks, in_modes, out_modes;
    int64_t        cores;
    int            form, init;
} tt_params;

static const char *const inits[] = {"svd", "random", NULL};
static const char *const forms[] = {"garipov", "naive", "ring", NULL};

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
     .max      = PQ_MAX_DIMS - 1,
     .help     = "number of modes where they are chosen"},
    {.name     = "form",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(tt_params, form),
     .fallback = "garipov",
     .choices  = forms,
     .help     = "conv2d: a window and modes (garipov), or in, height, width, out "
                 "(naive); both kinds: a ring of the first, with rank only, of conv2d "
                 "rebuilt into one kernel (ring)"},
    {.name     = "init",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(tt_params, init),
     .fallback = "svd",
     .choices  = inits,
     .help     = "the kernel's own train (svd), or a new one to be trained, of any ranks "
                 "(random)"},
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const tt_params *p = values;
    pq_status        st;

    PQ_TRY(pq_rank_check(&p->rank, p->ranks.n > 0, "ranks, ", err));
    PQ_CHECK(p->ranks.n == 0 || p->rank.align == 1, PQ_ERR_CONFIG,
             "align does not go with ranks");
    PQ_CHECK(p->init == SVD || (isnan(pq_rank_epsilon(&p->rank)) && !p->rank.evbmf &&
                                isnan(p->rank.budget)),
             PQ_ERR_CONFIG,
             "init = random goes with rank, ranks, ratio and target_sparsity only");
    PQ_CHECK(p->form != RING || (p->rank.rank != PQ_UNSET && p->init == SVD &&
                                 p->rank.run_as != PQ_RUN_AUTO),
             PQ_ERR_CONFIG,
             "form = ring goes with rank only, without init = random and run_as = auto");
    PQ_CHECK(p->in_modes.n == p->out_modes.n, PQ_ERR_CONFIG,
             "%zu in_modes and %zu out_modes do not pair", p->in_modes.n, p->out_modes.n);
    PQ_CHECK(p->in_modes.n < PQ_MAX_DIMS, PQ_ERR_CONFIG,
             "%zu modes; at most %d are taken", p->in_modes.n, PQ_MAX_DIMS - 1);
cleanup:
    return st;
}

/* One layer as it is decomposed. */
typedef struct {
    const char *name;
    pq_tt_layer l;
    pq_tensor  *t;                  /* its tensor, float64 */
    pq_tt       full;               /* its train, nothing truncated */
    size_t      limit[PQ_MAX_DIMS]; /* largest ranks */
} target;

static void free_target(target *t)
{
    pq_tensor_free(&t->t);
    pq_tt_free(&t->full);
}

/* Ranks of cores that come from a file: false where they do not chain, or where one is
 * more than the core before it can span. */
static bool find_ranks(pq_tt *tt)
{
    for (size_t k = 0; k < tt->d; k++) {
        const size_t *dim = tt->core[k]->shape.dim;
        if (dim[0] != tt->rank[k] || dim[2] > dim[0] * dim[1]) {
            return false;
        }
        tt->rank[k + 1] = dim[2];
    }
    return true;
}

/* One train of full ranks serves all others: it is looked up by the tensor. */
static pq_status decompose(pq_cache *cache, target *t, pq_err *err)
{
    const pq_tensor *inputs[] = {t->t};
    const size_t     d        = t->t->shape.ndim;
    pq_tt            tt       = {.d = d, .rank = {1}};
    pq_shape         due[PQ_MAX_DIMS];
    char             key[65];

    for (size_t k = 0; k < d; k++) {
        due[k] = PQ_SHAPE(k == 0 ? 1 : 0, t->t->shape.dim[k], k + 1 == d ? 1 : 0);
    }
    pq_factor_key("train/1", 1, inputs, key);
    if (cache != NULL && pq_cache_get(cache, key, d, due, tt.core)) {
        if (find_ranks(&tt)) {
            t->full = tt;
            return PQ_OK;
        }
        pq_tt_free(&tt);
    }
    const pq_status st = pq_tt_svd(t->t, 0.0, NULL, &t->full, err);
    if (st == PQ_OK && cache != NULL) {
        pq_cache_put(cache, key, d, t->full.core);
    }
    return st;
}

static pq_status open_target(const pq_compress_task *task, const char *name, target *t,
                             pq_err *err)
{
    const tt_params *p    = task->params;
    const pq_tt_wish wish = {&p->in_modes, &p->out_modes, (size_t)p->cores,
                             p->form == NAIVE};
    pq_tt            old  = {0};
    pq_status        st;

    t->name = name;
    PQ_TRY(
        pq_tt_layer_of(task->graph, pq_graph_find(task->graph, name), &wish, &t->l, err));
    if (p->init == RANDOM) {
        goto cleanup;
    }
    if (t->l.cores) {
        PQ_TRY(pq_tt_layer_train(task->graph, &t->l, &old, err));
        PQ_TRY(pq_tt_full(&old, &t->t, err));
        PQ_TRY(pq_tt_round(&old, 0.0, NULL, &t->full, err));
    } else {
        PQ_TRY(pq_tt_layer_tensor(task->graph, &t->l, &t->t, err));
        PQ_TRY(decompose(task->cache, t, err));
    }
cleanup:
    pq_tt_free(&old);
    return st;
}

static size_t cuts(const target *t)
{
    return t->l.axes.ndim - 1;
}

/* Largest rank that cut k has; a new train may have any. */
static size_t full_rank(const target *t, size_t k)
{
    return t->full.d > 0 ? t->full.rank[k + 1] : SIZE_MAX;
}

static size_t largest_rank(const target *t)
{
    size_t top = 1;

    for (size_t k = 0; k < cuts(t); k++) {
        top = full_rank(t, k) > top ? full_rank(t, k) : top;
    }
    return top;
}

/* The ranks a common rank comes to: no cut above what it may have. */
static void common_rank(const target *t, size_t rank, size_t *out)
{
    for (size_t k = 0; k < cuts(t); k++) {
        out[k] = full_rank(t, k) < rank ? full_rank(t, k) : rank;
    }
}

static pq_status take_ranks(const tt_params *p, target *t, pq_err *err)
{
    pq_status st;

    PQ_CHECK(p->ranks.n == cuts(t), PQ_ERR_CONFIG,
             "%zu ranks are given for %zu cores: one between each two", p->ranks.n,
             t->l.axes.ndim);
    for (size_t k = 0; k < p->ranks.n; k++) {
        const size_t full = full_rank(t, k), rank = (size_t)p->ranks.value[k];
        PQ_CHECK(rank <= full || p->rank.clip_rank, PQ_ERR_RANGE,
                 "rank %zu between cores %zu and %zu is not in 1..%zu", rank, k + 1,
                 k + 2, full);
        t->limit[k] = rank < full ? rank : full;
    }
cleanup:
    return st;
}

/* The largest common rank that saves enough, or 1. */
static size_t rank_of_ratio(const tt_params *p, const target *t)
{
    const double ratio = pq_rank_ratio(&p->rank);
    const size_t top   = largest_rank(t);
    size_t       trial[PQ_MAX_DIMS], r = 1;

    for (; r < top; r++) {
        common_rank(t, r + 1, trial);
        if ((double)pq_tt_layer_values(&t->l, trial) * ratio > (double)t->l.count) {
            break;
        }
    }
    return pq_rank_down(r, p->rank.align);
}

static pq_status ranks_of_noise(const tt_params *p, target *t, pq_err *err)
{
    pq_tensor *values[PQ_MAX_DIMS] = {NULL};
    size_t     left                = 1;
    pq_status  st;

    PQ_TRY(pq_tt_cuts(&t->full, values, err));
    for (size_t k = 0; k < cuts(t); k++) {
        left *= t->l.axes.dim[k];
        const size_t      right = t->t->count / left;
        const pq_spectrum s     = {
                .m = left, .n = right, .full = values[k]->count, .s = pq_f64(values[k])};
        t->limit[k] =
            pq_rank_up(pq_rank_of_noise(&p->rank, &s), p->rank.align, full_rank(t, k));
    }
cleanup:
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_tensor_free(&values[k]);
    }
    return st;
}

/* Largest ranks; `shared` is a common one given by a budget, or 0. */
static pq_status choose_ranks(const tt_params *p, size_t shared, target *t, pq_err *err)
{
    const size_t top  = largest_rank(t);
    size_t       rank = shared > 0 ? shared : top;
    pq_status    st   = PQ_OK;

    if (p->ranks.n > 0) {
        return take_ranks(p, t, err);
    }
    if (p->rank.evbmf) {
        return ranks_of_noise(p, t, err);
    }
    if (p->rank.rank != PQ_UNSET) {
        PQ_CHECK((uint64_t)p->rank.rank <= top || p->rank.clip_rank, PQ_ERR_RANGE,
                 "rank %lld is not in 1..%zu", (long long)p->rank.rank, top);
        rank = pq_rank_up((size_t)p->rank.rank, p->rank.align, top);
    } else if (!isnan(pq_rank_ratio(&p->rank))) {
        rank = rank_of_ratio(p, t);
    }
    common_rank(t, rank, t->limit);
cleanup:
    return st;
}

/* The train within epsilon. Where ranks are rounded up the bound of each cut is not what
 * it was, so that the error itself is looked at. */
static pq_status round_within(const target *t, double epsilon, int64_t align, pq_tt *out,
                              pq_err *err)
{
    size_t     limit[PQ_MAX_DIMS], step = 0;
    pq_tt      tt   = {0};
    pq_tensor *full = NULL;
    pq_status  st;

    PQ_TRY(pq_tt_round(&t->full, epsilon, NULL, out, err));
    for (double error = HUGE_VAL; align > 1 && error > epsilon; step++) {
        for (size_t k = 0; k < cuts(t); k++) {
            limit[k] = pq_rank_up(out->rank[k + 1] + step * (size_t)align, align,
                                  full_rank(t, k));
        }
        pq_tt_free(&tt);
        PQ_TRY(pq_tt_round(&t->full, 0.0, limit, &tt, err));
        PQ_TRY(pq_tt_full(&tt, &full, err));
        error = sqrt(pq_square_distance(full, t->t) / pq_square_norm(t->t));
        pq_tensor_free(&full);
        if (memcmp(tt.rank, t->full.rank, sizeof tt.rank) == 0) {
            break; /* the whole train: only rounding errors are left */
        }
    }
    if (tt.d > 0) {
        pq_tt_free(out);
        *out = tt;
        tt   = (pq_tt){0};
    }
cleanup:
    pq_tensor_free(&full);
    pq_tt_free(&tt);
    return st;
}

/* Cores drawn so that the kernel's values have variance 2 / inputs. */
static pq_status draw(const target *t, uint64_t seed, pq_tt *out, pq_err *err)
{
    const pq_shape *s = &t->l.axes, *kernel = &t->l.kernel;
    pq_rng          rng      = pq_rng_stream(seed, t->name);
    double          variance = 2.0 * (double)kernel->dim[0];
    pq_tt           tt       = {.d = s->ndim, .rank = {1}};
    pq_status       st       = PQ_OK;

    for (size_t k = 0; k < kernel->ndim; k++) {
        variance /= (double)kernel->dim[k];
    }
    for (size_t k = 0; k < tt.d; k++) {
        tt.rank[k + 1] = k + 1 < tt.d ? t->limit[k] : 1;
        variance /= (double)tt.rank[k + 1];
    }
    const double sigma = pow(variance, 0.5 / (double)tt.d);
    for (size_t k = 0; k < tt.d; k++) {
        PQ_TRY(pq_tensor_create(PQ_DTYPE_F64,
                                PQ_SHAPE(tt.rank[k], s->dim[k], tt.rank[k + 1]),
                                &tt.core[k], err));
        for (size_t i = 0; i < tt.core[k]->count; i++) {
            pq_f64(tt.core[k])[i] = sigma * pq_rng_normal(&rng);
        }
    }
    *out = tt;
    tt   = (pq_tt){0};
cleanup:
    pq_tt_free(&tt);
    return st;
}

static void name_ranks(const pq_tt *tt, bool ring, char *words, size_t size)
{
    size_t n = (size_t)snprintf(words, size, ring ? "ring of ranks" : "ranks");

    for (size_t k = ring ? 0 : 1; k < tt->d && n < size; k++) {
        n += (size_t)snprintf(words + n, size - n, " %zu", tt->rank[k]);
    }
    if (ring && n < size) {
        (void)snprintf(words + n, size - n, " and %zu values", pq_tt_parameters(tt));
    }
}

/* Puts the train or ring into the graph in the way that is asked for. */
static pq_status place(pq_compress_task *task, const target *t, const pq_tt *tt,
                       bool shared, pq_err *err)
{
    const tt_params *p     = task->params;
    const size_t     after = pq_tt_parameters(tt);
    const bool       ring  = p->form == RING;
    const bool whole = p->rank.run_as == PQ_RUN_RECONSTRUCTED || (ring && t->l.conv);
    double     error = (double)NAN;
    pq_tensor *full  = NULL;
    char       words[96], values[48];
    pq_status  st = PQ_OK;

    (void)snprintf(values, sizeof values, " and %zu values", after);
    name_ranks(tt, ring, words, sizeof words);
    if (p->rank.keep_dense && after >= t->l.count && !whole && !shared) {
        return pq_note_dense(task, t->name, words, t->l.count, after, err);
    }
    if (whole || t->t != NULL) {
        PQ_TRY(pq_tt_full(tt, &full, err));
    }
    if (t->t != NULL) {
        const double norm = pq_square_norm(t->t);
        error = norm > 0.0 ? sqrt(pq_square_distance(full, t->t) / norm) : 0.0;
    }
    PQ_TRY(whole ? pq_tt_layer_rebuild(task->graph, &t->l, full, err)
                 : pq_tt_layer_replace(task->graph, &t->l, tt, err));
    PQ_TRY(pq_task_change(task, t->name, error, "%s%s%s%s%s", words, ring ? values : "",
                          p->init == RANDOM ? ", random" : "",
                          whole ? ", reconstructed" : "",
                          ring && t->l.conv ? ": no layer runs it" : ""));
cleanup:
    pq_tensor_free(&full);
    return st;
}

static size_t common_limit(const target *t)
{
    size_t most = 1;

    for (size_t k = 0; k < cuts(t); k++) {
        most = t->limit[k] > most ? t->limit[k] : most;
    }
    return most;
}

/* One layer; a common rank is given by a budget, or 0. */
static pq_status apply_one(pq_compress_task *task, const char *name, size_t rank,
                           pq_err *err)
{
    const tt_params *p       = task->params;
    const double     epsilon = pq_rank_epsilon(&p->rank);
    target           t       = {0};
    pq_tt            tt      = {0};
    double           error; /* of a ring; place() measures that of what it places */
    pq_status        st;

    PQ_TRY(open_target(task, name, &t, err));
    if (!isnan(epsilon)) {
        PQ_TRY(round_within(&t, epsilon, p->rank.align, &tt, err));
    } else {
        PQ_TRY(choose_ranks(p, rank, &t, err));
        PQ_TRY(p->form == RING     ? pq_ring_svd(t.t, common_limit(&t), &tt, &error, err)
               : p->init == RANDOM ? draw(&t, task->seed, &tt, err)
                                   : pq_tt_round(&t.full, 0.0, t.limit, &tt, err));
    }
    PQ_TRY(place(task, &t, &tt, rank > 0, err));
cleanup:
    free_target(&t);
    pq_tt_free(&tt);
    return st;
}

/* Common ranks; losses are the bound of TT-SVD: what all cuts drop. */
static pq_status offer(pq_compress_task *task, const char *name, pq_share *share,
                       pq_err *err)
{
    const size_t step = (size_t)((const tt_params *)task->params)->rank.align;
    pq_tensor   *values[PQ_MAX_DIMS] = {NULL};
    target       t                   = {0};
    pq_status    st;

    PQ_TRY(open_target(task, name, &t, err));
    PQ_TRY(pq_tt_cuts(&t.full, values, err));
    for (size_t r = 1; r <= largest_rank(&t); r++) {
        double loss = 0.0;
        common_rank(&t, r, t.limit);
        for (size_t k = 0; k < cuts(&t); k++) {
            loss += pq_lost_part(pq_f64(values[k]), values[k]->count, t.limit[k]);
        }
        if (r % step == 0 || r == largest_rank(&t)) {
            PQ_TRY(pq_share_add(share, r, (double)pq_tt_layer_values(&t.l, t.limit),
                                pq_tt_layer_macs(task->graph, &t.l, t.limit), loss, err));
        }
    }
cleanup:
    for (size_t k = 0; k < PQ_MAX_DIMS; k++) {
        pq_tensor_free(&values[k]);
    }
    free_target(&t);
    return st;
}

static unsigned needs(const void *values)
{
    return pq_rank_needs(&((const tt_params *)values)->rank);
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const pq_lowrank_steps steps = {sizeof(tt_params), offer, apply_one};

    return pq_lowrank_apply(task, &((const tt_params *)task->params)->rank, &steps, err);
}

static bool draws(const void *values)
{
    return ((const tt_params *)values)->init == RANDOM;
}

const pq_method pq_method_tensor_train = {
    .name        = "tensor_train",
    .summary     = "tensor trains in place of dense and convolution weights",
    .source      = "doi:10.1137/090752286, arXiv:1509.06569, arXiv:1611.03214, "
                   "arXiv:1606.05535",
    .params      = params,
    .params_size = sizeof(tt_params),
    .version     = "3",
    .keeps       = PQ_KEEPS_ACTIVATIONS,
    .needs       = needs,
    .draws       = draws,
    .check       = check,
    .accepts     = pq_tt_accepts,
    .apply       = apply,
};
