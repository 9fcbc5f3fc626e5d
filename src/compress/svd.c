/*
 * Low-rank factorisation of a weight by truncated SVD, plain or weighted by what
 * calibration saw of its input (svd_factor.h).
 *
 * dense:       W [O, I] = A B, A = U_r S_r^1/2 [O, r], B = S_r^1/2 V_r^T [r, I];
 *              y = A (B x) + b.
 * channel:     the kernel as a matrix [O, h w I]: a convolution h x w to r channels
 *              that keeps stride, padding and dilation, then 1 x 1 to O.
 * channel_in:  as [(O, h, w), I]: 1 x 1 to r channels, then h x w to O.
 * spatial:     as [(I, h), (O, w)]: h x 1 to r, then 1 x w to O.
 *
 * Values and operations go from m n to r (m + n): a gain only below the
 * break-even rank m n / (m + n). Unweighted, the error |W - A B|_F is the norm of the
 * dropped singular values, the least of any rank-r product.
 *
 * With `budget` ranks are chosen over all layers together: the component of the largest
 * share of its layer's energy per cost comes next, until the budget is spent.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compress/lowrank.h"
#include "compress/svd_factor.h"
#include "compress/wiring.h"
#include "core/hash.h"
#include "core/memory.h"
#include "core/text.h"
#include "layers/kinds.h"
#include "linalg/partial.h"

typedef struct {
    pq_rank_params rank;
    int            form;      /* pq_svd_form */
    int            weighting; /* pq_weighting */
    double         alpha;
    bool           bias_correction;
} svd_params;

static const char *const forms[]      = {"channel", "channel_in", "spatial", NULL};
static const char *const weightings[] = {"none", "asvd", "whitened", NULL};

static const pq_param params[] = {
    PQ_RANK_ROWS(svd_params, rank),
    {.name     = "form",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(svd_params, form),
     .fallback = "channel",
     .choices  = forms,
     .help = "conv2d only: h x w then 1 x 1 (channel), 1 x 1 then h x w (channel_in), "
             "or h x 1 then 1 x w (spatial)"},
    {.name     = "weighting",
     .type     = PQ_PARAM_CHOICE,
     .offset   = offsetof(svd_params, weighting),
     .fallback = "none",
     .choices  = weightings,
     .help     = "what is kept small: the weight's error (none), with inputs scaled by "
                 "their size (asvd), or the output's (whitened)"},
    {.name     = "alpha",
     .type     = PQ_PARAM_REAL,
     .offset   = offsetof(svd_params, alpha),
     .fallback = "0.5",
     .min      = 0,
     .max      = 2,
     .help     = "exponent of the inputs' size, for asvd"},
    {.name     = "bias_correction",
     .type     = PQ_PARAM_BOOL,
     .offset   = offsetof(svd_params, bias_correction),
     .fallback = "true",
     .help     = "with weighting: move the mean of what is lost into the bias"},
    {0},
};

static pq_status check(const void *values, pq_err *err)
{
    const svd_params *p = values;
    pq_status         st;

    PQ_TRY(pq_rank_check(&p->rank, 0, "", err));
    PQ_CHECK(p->weighting == PQ_WEIGH_NONE || p->form == PQ_SVD_CHANNEL, PQ_ERR_CONFIG,
             "weighting needs form=channel");
cleanup:
    return st;
}

static unsigned needs(const void *values)
{
    const svd_params *p = values;

    return (p->weighting != PQ_WEIGH_NONE ? PQ_NEEDS_GRAMS : 0) | pq_rank_needs(&p->rank);
}

/* One layer being factored. */
typedef struct {
    const char    *name;
    size_t         node, m, n, full;
    pq_svd_form    form;
    pq_svd_weight  weight;
    pq_tensor     *w; /* float64 [m, n] */
    pq_svd_factors f;
} target;

static void free_target(target *t)
{
    pq_tensor_free(&t->w);
    pq_svd_factors_free(&t->f);
}

static pq_status open_target(const pq_compress_task *task, const char *name, target *t,
                             pq_err *err)
{
    const svd_params *p = task->params;
    const pq_layer   *layer;
    const bool        weighted = p->weighting != PQ_WEIGH_NONE;
    pq_status         st;

    t->name = name;
    t->node = pq_graph_find(task->graph, name);
    layer   = task->graph->nodes[t->node].layer;
    t->form =
        strcmp(layer->kind->name, "conv2d") == 0 ? (pq_svd_form)p->form : PQ_SVD_CHANNEL;
    t->weight =
        (pq_svd_weight){.how     = (pq_weighting)p->weighting,
                        .alpha   = p->alpha,
                        .centred = p->bias_correction,
                        .gram    = weighted ? pq_calib_gram_of(task->calib, name) : NULL};
    PQ_TRY(pq_svd_unfold(pq_layer_weight(layer, "kernel")->value, t->form, &t->w, err));
    t->m    = t->w->shape.dim[0];
    t->n    = t->w->shape.dim[1];
    t->full = t->m < t->n ? t->m : t->n;
cleanup:
    return st;
}

/* The arrays of factors as the cache holds them: the last is {square, lack}. */
enum { STORED = 5 };

static bool is_stored(const pq_tensor *const *arrays, size_t rank, size_t full)
{
    const size_t  r    = arrays[1]->count;
    const double *sums = pq_f64(arrays[4]);

    return (r == rank || r == full) && arrays[0]->shape.dim[1] == r &&
           arrays[2]->shape.dim[0] == r && arrays[3]->count == r && sums[0] >= 0.0 &&
           sums[1] >= 0.0 && pq_is_spectrum(arrays[1]) && pq_is_spectrum(arrays[3]);
}

/* Looks factors up by what they are made of; false where they are not there. */
static bool recall(pq_cache *cache, const char *key, size_t rank, target *t)
{
    const pq_shape due[STORED] = {PQ_SHAPE(t->m, 0), PQ_SHAPE(0), PQ_SHAPE(0, t->n),
                                  PQ_SHAPE(0), PQ_SHAPE(2)};
    pq_tensor     *a[STORED]   = {NULL};

    if (cache == NULL || !pq_cache_get(cache, key, STORED, due, a)) {
        return false;
    }
    if (!is_stored((const pq_tensor *const *)a, rank, t->full)) {
        for (size_t i = 0; i < STORED; i++) {
            pq_tensor_free(&a[i]);
        }
        return false;
    }
    t->f = (pq_svd_factors){{a[0], a[1], a[2]}, a[3], pq_f64(a[4])[0], pq_f64(a[4])[1]};
    pq_tensor_free(&a[4]);
    return true;
}

/* At least `rank` components. They are made for one of a few counts (pq_svd_rung), so
 * that one factorisation serves many ranks of a sweep, and is the same whichever was
 * first. */
static pq_status factor(pq_cache *cache, target *t, size_t rank, pq_err *err)
{
    const pq_calib_gram *g         = t->weight.gram;
    const pq_tensor     *inputs[3] = {t->w};
    pq_tensor            gram = {0}, mean = {0}, sums;
    char                 key[PQ_HASH_TEXT], what[96];
    pq_status            st;

    rank = pq_svd_rung(t->m, t->n, rank);
    if (g != NULL) {
        gram      = (pq_tensor){PQ_DTYPE_F64, PQ_SHAPE(g->n, g->n), g->n * g->n, g->gram};
        mean      = (pq_tensor){PQ_DTYPE_F64, PQ_SHAPE(g->n), g->n, g->mean};
        inputs[1] = &gram;
        inputs[2] = &mean;
    }
    (void)pq_snprintf(what, sizeof what, "svd/3 %d %d %.17g %zu %zu", (int)t->weight.how,
                      t->weight.centred, t->weight.alpha, g != NULL ? g->rows : 0, rank);
    pq_factor_key(what, g != NULL ? 3 : 1, inputs, key);
    pq_svd_factors_free(&t->f);
    if (recall(cache, key, rank, t)) {
        return PQ_OK;
    }
    PQ_TRY(pq_svd_factor(t->w, &t->weight, rank, &t->f, err));
    if (cache != NULL) {
        sums =
            (pq_tensor){PQ_DTYPE_F64, PQ_SHAPE(2), 2, (double[]){t->f.square, t->f.lack}};
        pq_cache_put(
            cache, key, STORED,
            (pq_tensor *[]){t->f.svd.u, t->f.svd.s, t->f.svd.vt, t->f.spectrum, &sums});
    }
cleanup:
    return st;
}

/* What is known of a layer's singular values, once it is factored. */
static pq_spectrum spectrum_of(const target *t)
{
    pq_spectrum s = {.m = t->m, .n = t->n, .full = t->full};

    if (t->f.spectrum != NULL) {
        s.s      = pq_f64(t->f.spectrum);
        s.known  = t->f.spectrum->count < t->full ? t->f.spectrum->count : 0;
        s.square = t->f.square;
        s.lack   = t->f.lack;
    }
    return s;
}

/* The rank by the parameters, with as many components as it takes to tell. */
static pq_status choose(pq_compress_task *task, target *t, size_t *rank, pq_err *err)
{
    const pq_rank_params *p    = &((const svd_params *)task->params)->rank;
    size_t                more = isnan(pq_rank_epsilon(p)) ? t->full : 1;
    pq_spectrum           s;
    pq_status             st = PQ_OK;

    if (pq_rank_needs_spectrum(p)) {
        PQ_TRY(factor(task->cache, t, more, err));
    }
    for (s = spectrum_of(t); !pq_rank_is_told(p, &s, &more); s = spectrum_of(t)) {
        PQ_TRY(factor(task->cache, t, more, err));
    }
    PQ_TRY(pq_rank_choose(p, &s, rank, err));
cleanup:
    return st;
}

/* Shapes the factors a [m, r] and b [r, n] as kernels of two convolutions. */
static pq_status shape_factors(const pq_shape *kernel, pq_svd_form form,
                               pq_tensor **first, pq_tensor **last, pq_err *err)
{
    const size_t *d = kernel->dim, to_first[] = {2, 1, 0}, to_last[] = {1, 2, 0};
    const size_t  rank = (*first)->shape.dim[0];
    pq_tensor    *t = NULL, *u = NULL;
    pq_status     st = PQ_OK;

    if (kernel->ndim == 2) {
        return PQ_OK;
    }
    if (form == PQ_SVD_CHANNEL) {
        PQ_TRY(pq_tensor_reshape(*first, PQ_SHAPE(rank, d[1], d[2], d[3]), err));
        PQ_TRY(pq_tensor_reshape(*last, PQ_SHAPE(d[0], 1, 1, rank), err));
        return PQ_OK;
    }
    if (form == PQ_SVD_CHANNEL_IN) {
        PQ_TRY(pq_tensor_reshape(*first, PQ_SHAPE(rank, 1, 1, d[3]), err));
        PQ_TRY(pq_tensor_reshape(*last, PQ_SHAPE(d[0], d[1], d[2], rank), err));
        return PQ_OK;
    }
    /* last holds P [(i, a), r], first holds Q [r, (o, b)]: P makes the kernel h x 1, Q
     * the 1 x w */
    PQ_TRY(pq_tensor_reshape(*last, PQ_SHAPE(d[3], d[1], rank), err));
    PQ_TRY(pq_tensor_permute(*last, to_first, &t, err));
    PQ_TRY(pq_tensor_reshape(t, PQ_SHAPE(rank, d[1], 1, d[3]), err));
    PQ_TRY(pq_tensor_reshape(*first, PQ_SHAPE(rank, d[0], d[2]), err));
    PQ_TRY(pq_tensor_permute(*first, to_last, &u, err));
    PQ_TRY(pq_tensor_reshape(u, PQ_SHAPE(d[0], 1, d[2], rank), err));
    pq_tensor_free(first);
    pq_tensor_free(last);
    *first = t;
    *last  = u;
    t = u = NULL;
cleanup:
    pq_tensor_free(&t);
    pq_tensor_free(&u);
    return st;
}

/* The two layers' attributes: each spatial factor keeps the attributes of its own axis.
 */
static void split_attributes(const pq_conv2d_params *p, pq_svd_form form,
                             pq_conv2d_params *first, pq_conv2d_params *last)
{
    /* 1 x 1 kernels keep the defaults: stride 1, nothing padded */
    if (form != PQ_SVD_CHANNEL_IN) {
        *first = *p;
    }
    if (form == PQ_SVD_CHANNEL) {
        return;
    }
    *last = *p;
    if (form == PQ_SVD_CHANNEL_IN) {
        return;
    }
    first->window.stride_w  = 1;
    first->window.pad_left  = 0;
    first->window.pad_right = 0;
    first->dilation_w       = 1;
    last->window.stride_h   = 1;
    last->window.pad_top    = 0;
    last->window.pad_bottom = 0;
    last->dilation_h        = 1;
}

static double relative_error(const pq_tensor *w, const pq_tensor *joined)
{
    double lost = 0.0, all = 0.0;

    for (size_t i = 0; i < w->count; i++) {
        const double d = pq_f64(w)[i] - pq_f64(joined)[i];
        lost += d * d;
        all += pq_f64(w)[i] * pq_f64(w)[i];
    }
    return all > 0.0 ? sqrt(lost / all) : 0.0;
}

/* Puts the two factors in place of a node: "<name>.b", then "<name>" with the bias. Takes
 * the factors, also on failure. */
static pq_status replace(pq_graph *graph, const target *t, pq_tensor *first,
                         pq_tensor *last, const double *shift, pq_err *err)
{
    const pq_layer *layer     = graph->nodes[t->node].layer;
    const pq_shape  kernel    = pq_layer_weight(layer, "kernel")->value->shape;
    pq_layer       *layers[2] = {NULL, NULL};
    pq_status       st;

    PQ_TRY(shape_factors(&kernel, t->form, &first, &last, err));
    st    = pq_factor_layer(layer->kind->name, first, &layers[0], err);
    first = NULL;
    PQ_TRY(st);
    st   = pq_factor_layer(layer->kind->name, last, &layers[1], err);
    last = NULL;
    PQ_TRY(st);
    if (kernel.ndim == 4) {
        split_attributes(layer->params, t->form, layers[0]->params, layers[1]->params);
    }
    PQ_TRY(pq_chain_replace(graph, t->node, 2, layers, shift, err));
cleanup:
    pq_tensor_free(&first);
    pq_tensor_free(&last);
    pq_layer_free(&layers[0]);
    pq_layer_free(&layers[1]);
    return st;
}

/* Factors a layer at a rank, or rebuilds its kernel from the factors. */
static pq_status reduce(pq_compress_task *task, target *t, size_t rank, bool rebuilt,
                        pq_err *err)
{
    const pq_shape kernel =
        pq_layer_weight(task->graph->nodes[t->node].layer, "kernel")->value->shape;
    pq_tensor *a = NULL, *b = NULL, *joined = NULL, *whole = NULL;
    double    *shift     = NULL, error, excess;
    char       bound[64] = "";
    pq_status  st;

    PQ_TRY(pq_svd_split(&t->f.svd, rank, &a, &b, err));
    PQ_TRY(pq_svd_join(a, b, &joined, err));
    if (t->weight.how != PQ_WEIGH_NONE && t->weight.centred) {
        PQ_TRY(pq_calib_shift(t->weight.gram, t->w, joined, &shift, err));
    }
    error = relative_error(t->w, joined);
    if (rebuilt) {
        PQ_TRY(pq_svd_refold(joined, &kernel, t->form, &whole, err));
        PQ_TRY(pq_kernel_replace(task->graph, t->node, whole, shift, err));
    } else {
        st = replace(task->graph, t, b, a, shift, err);
        a = b = NULL;
        PQ_TRY(st);
    }
    excess = pq_svd_excess(pq_f64(t->f.spectrum), t->f.square, t->f.lack, rank);
    if (excess > 0.0) {
        (void)pq_snprintf(bound, sizeof bound, ", at most %.1g above the least error",
                          excess);
    }
    PQ_TRY(pq_task_change(task, t->name, error, "rank %zu of %zu%s%s", rank, t->full,
                          bound, rebuilt ? ", reconstructed" : ""));
cleanup:
    pq_tensor_free(&a);
    pq_tensor_free(&b);
    pq_tensor_free(&joined);
    pq_free(shift);
    return st;
}

/* One layer; `rank` is given by a budget, or 0. */
static pq_status apply_one(pq_compress_task *task, const char *name, size_t rank,
                           pq_err *err)
{
    const svd_params     *p      = task->params;
    const pq_rank_params *rp     = &p->rank;
    const bool            shared = rank > 0;
    target                t      = {0};
    pq_status             st;

    PQ_TRY(open_target(task, name, &t, err));
    if (!shared) {
        PQ_TRY(choose(task, &t, &rank, err));
    }
    const bool gains   = rank * (t.m + t.n) < t.m * t.n;
    const bool rebuilt = rp->run_as == PQ_RUN_RECONSTRUCTED;

    if (rp->keep_dense && !gains && !rebuilt && !shared) {
        PQ_TRY(pq_task_change(task, name, 0.0,
                              "dense kept: rank %zu is not below break-even %.1f", rank,
                              (double)t.m * (double)t.n / (double)(t.m + t.n)));
        goto cleanup;
    }
    if (t.f.spectrum == NULL || t.f.spectrum->count < rank) {
        PQ_TRY(factor(task->cache, &t, rank, err));
    }
    PQ_TRY(reduce(task, &t, rank, rebuilt, err));
cleanup:
    free_target(&t);
    return st;
}

/* Operations of one component: its two vectors, each for the pixels its layer computes.
 */
static double component_macs(const pq_graph *graph, const target *t)
{
    const pq_pixels px = pq_pixels_of(graph, t->node);

    return t->form == PQ_SVD_CHANNEL ? px.out * (double)(t->n + t->m)
           : t->form == PQ_SVD_CHANNEL_IN
               ? px.in * (double)t->n + px.out * (double)t->m
               : px.rows * (double)t->m + px.out * (double)t->n;
}

static pq_status offer(pq_compress_task *task, const char *name, pq_share *share,
                       pq_err *err)
{
    const size_t  step = (size_t)((const svd_params *)task->params)->rank.align;
    target        t    = {0};
    const double *s;
    double        all = 0.0, lost, macs;
    pq_status     st;

    PQ_TRY(open_target(task, name, &t, err));
    PQ_TRY(factor(task->cache, &t, t.full, err));
    macs = component_macs(task->graph, &t);
    s    = pq_f64(t.f.spectrum);
    for (size_t i = 0; i < t.full; i++) {
        all += s[i] * s[i];
    }
    lost = all;
    for (size_t r = 1; r <= t.full; r++) {
        lost -= s[r - 1] * s[r - 1];
        if (r % step == 0 || r == t.full) {
            PQ_TRY(pq_share_add(share, r, (double)(r * (t.m + t.n)), (double)r * macs,
                                all > 0.0 ? fmax(lost / all, 0.0) : 0.0, err));
        }
    }
cleanup:
    free_target(&t);
    return st;
}

static pq_status apply(pq_compress_task *task, pq_err *err)
{
    const pq_lowrank_steps steps = {sizeof(svd_params), offer, apply_one};

    return pq_lowrank_apply(task, &((const svd_params *)task->params)->rank, &steps, err);
}

const pq_method pq_method_svd = {
    .name    = "svd",
    .summary = "best low-rank product in place of a dense or convolution weight",
    .source =
        "doi:10.1007/BF02288367, arXiv:1404.0736, arXiv:1405.3866, arXiv:1505.06798",
    .params      = params,
    .params_size = sizeof(svd_params),
    .version     = "4",
    .keeps       = PQ_KEEPS_ACTIVATIONS,
    .needs       = needs,
    .check       = check,
    .accepts     = pq_accepts_kernel,
    .apply       = apply,
};
