#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "train/sparsify.h"

enum {
    TILE = 1 << 14 /* floats updated in one piece: its arrays stay in the first cache */
};

/* A part of one trained weight. */
typedef struct pq_tile {
    size_t weight, offset, count;
} tile;

static bool is_trained(const pq_net_weight *w)
{
    return !w->frozen && w->role != PQ_WEIGHT_STATISTIC;
}

static void cut_tiles(const pq_net *net, pq_optimizer *o)
{
    for (size_t i = 0; i < net->n_rows; i++) {
        const pq_net_weight *w = &net->weights[i];
        for (size_t at = 0; is_trained(w) && at < w->count; at += TILE) {
            const size_t left      = w->count - at;
            o->tiles[o->n_tiles++] = (tile){i, w->offset + at, left < TILE ? left : TILE};
        }
    }
}

/* Pruned is what the mask says, and only that: a weight that was rounded to zero, or
   passes through it on its way, goes on. */
static pq_status mark_pruned(const pq_net *net, pq_optimizer *o, pq_err *err)
{
    pq_status st = PQ_OK;

    for (size_t i = 0; i < net->n_weights; i++) {
        const pq_net_weight *w = &net->weights[i];
        if (w->from->pruned == NULL) {
            continue;
        }
        if (o->pruned == NULL) {
            PQ_NEW(o->pruned, net->n_flat);
        }
        for (size_t k = 0; k < w->count; k++) {
            o->pruned[w->offset + k] = pq_weight_is_pruned(w->from, k);
        }
    }
cleanup:
    return st;
}

pq_status pq_optimizer_create(const pq_train_params *params, const pq_net *net,
                              pq_optimizer *out, pq_err *err)
{
    pq_optimizer o = {.params = params, .n_flat = net->n_flat};
    pq_status    st;

    PQ_NEW(o.first, net->n_flat);
    if (params->optimizer != PQ_OPTIMIZER_SGD) {
        PQ_NEW(o.second, net->n_flat);
    }
    if (params->ema > 0.0) {
        PQ_NEW(o.average, net->n_flat);
        for (size_t i = 0; i < net->n_flat; i++) {
            o.average[i] = net->flat[i];
        }
    }
    PQ_TRY(mark_pruned(net, &o, err));
    PQ_NEW(o.tiles, net->n_flat / TILE + net->n_rows + 1);
    PQ_NEW(o.tile_sums, net->n_flat / TILE + net->n_rows + 1);
    cut_tiles(net, &o);
    PQ_CHECK(o.n_tiles > 0, PQ_ERR_CONFIG, "every layer is frozen: nothing to train");
    *out = o;
    o    = (pq_optimizer){0};
cleanup:
    pq_optimizer_free(&o);
    return st;
}

void pq_optimizer_free(pq_optimizer *o)
{
    pq_free(o->first);
    pq_free(o->second);
    pq_free(o->average);
    pq_free(o->pruned);
    pq_free(o->tiles);
    pq_free(o->tile_sums);
    *o = (pq_optimizer){0};
}

static double cosine(double from, double to, double share)
{
    return to + (from - to) * 0.5 * (1.0 + cos(3.14159265358979323846 * share));
}

/*
 * Rises to lr until step 0.3 n - 1 of n, and falls to 1e-4 of where it began at the last
 * one, n - 1: as PyTorch's OneCycleLR counts. The steps of a warm-up are not among them.
 */
static double one_cycle(const pq_train_params *p, const pq_course *at)
{
    const double start = p->lr / 25.0, end = start / 1e4;
    const double warm = fmin(p->warmup_epochs / (double)p->epochs, 1.0) * at->steps;
    const double step = at->step - warm, last = at->steps - warm - 1.0;
    const double top = 0.3 * (last + 1.0) - 1.0;

    if (step < top) {
        return cosine(start, p->lr, step / top);
    }
    return last > top ? cosine(p->lr, end, fmin((step - top) / (last - top), 1.0)) : end;
}

double pq_learning_rate(const pq_train_params *p, const pq_course *at)
{
    const double warm = p->warmup_epochs, all = (double)p->epochs, epoch = at->epoch;
    const double share =
        all > warm ? fmin(fmax((epoch - warm) / (all - warm), 0.0), 1.0) : 1.0;
    double lr = p->lr;

    if (epoch < warm) {
        return fmax(p->lr * epoch / warm, p->min_lr);
    }
    switch (p->schedule) {
    case PQ_SCHEDULE_STEP:
        lr = p->lr * pow(p->gamma, floor((epoch - warm) / (double)p->step_size));
        break;
    case PQ_SCHEDULE_COSINE:
        return cosine(p->lr, p->min_lr, share);
    case PQ_SCHEDULE_ONE_CYCLE:
        lr = one_cycle(p, at);
        break;
    default:
        break;
    }
    return fmax(lr, p->min_lr);
}

/* One step over all tiles. */
typedef struct {
    pq_optimizer *o;
    pq_net       *net;
    size_t        chunks;
    pq_update     update;
} step;

/* Sums into the first chunk's place; pruned weights get no gradient. */
static void reduce(void *context, size_t piece, size_t thread)
{
    const step *s   = context;
    const tile *t   = &s->o->tiles[piece];
    float      *sum = s->net->gradients + t->offset;

    (void)thread;
    for (size_t c = 1; c < s->chunks; c++) {
        s->net->kernels->add(t->count, sum + c * s->net->n_flat, sum);
    }
    for (size_t i = 0; s->o->pruned != NULL && i < t->count; i++) {
        sum[i] = s->o->pruned[t->offset + i] ? 0.0F : sum[i];
    }
    s->o->tile_sums[piece] = s->net->kernels->square_sum(t->count, sum);
}

/* Again, where gradients changed on their way through the grids. */
static void measure(void *context, size_t piece, size_t thread)
{
    const step *s = context;
    const tile *t = &s->o->tiles[piece];

    (void)thread;
    s->o->tile_sums[piece] =
        s->net->kernels->square_sum(t->count, s->net->gradients + t->offset);
}

/* Decay and L1 pull at kernels only. */
static void update(void *context, size_t piece, size_t thread)
{
    const step   *s = context;
    const tile   *t = &s->o->tiles[piece];
    pq_optimizer *o = s->o;
    const float  *g = s->net->gradients + t->offset;
    float        *w = s->net->flat + t->offset;
    pq_update     u = s->update;

    (void)thread;
    if (s->net->weights[t->weight].is_grid) {
        u.lr *= (float)o->params->qat_lr;
    }
    if (s->net->weights[t->weight].role != PQ_WEIGHT_KERNEL) {
        u.weight_decay = 0.0F;
        u.l1           = 0.0F;
    }
    if (o->second == NULL) {
        s->net->kernels->sgd(&u, t->count, g, w, o->first + t->offset);
    } else {
        s->net->kernels->adam(&u, t->count, g, w, o->first + t->offset,
                              o->second + t->offset);
    }
}

/* Batch statistics follow the average too, so that it is a whole net. Its memory is
   short at first, or the random weights at the start would stay in it for long. What does
   not move stays to the last bit: the distance to it is 0. */
static void follow(const pq_optimizer *o, const pq_net *net)
{
    const double t    = (double)o->steps;
    const double most = fmin(o->params->ema, (1.0 + t) / (10.0 + t));
    const float  take = (float)(1.0 - most);

    for (size_t i = 0; o->average != NULL && i < o->n_flat; i++) {
        o->average[i] += take * (net->flat[i] - o->average[i]);
    }
    for (size_t i = net->n_weights; o->average != NULL && i < net->n_rows; i++) {
        const pq_net_weight *w = &net->weights[i];
        if (w->role == PQ_WEIGHT_STATISTIC) { /* masks are no means */
            memcpy(o->average + w->offset, net->flat + w->offset,
                   w->count * sizeof(float));
        }
    }
}

static pq_update update_of(const pq_optimizer *o, double norm, double lr)
{
    const pq_train_params *p    = o->params;
    const double           t    = (double)o->steps + 1.0;
    const bool             clip = p->clip_norm > 0.0 && norm > p->clip_norm;

    return (pq_update){.scale        = clip ? (float)(p->clip_norm / norm) : 1.0F,
                       .lr           = (float)lr,
                       .weight_decay = (float)p->weight_decay,
                       .l1           = (float)p->l1,
                       .momentum     = (float)p->momentum,
                       .nesterov     = p->nesterov,
                       .take1        = (float)(1.0 - p->beta1),
                       .take2        = (float)(1.0 - p->beta2),
                       .correct1     = (float)(1.0 / (1.0 - pow(p->beta1, t))),
                       .correct2     = (float)(1.0 / (1.0 - pow(p->beta2, t))),
                       .epsilon      = (float)p->epsilon,
                       .decoupled    = p->optimizer == PQ_OPTIMIZER_ADAMW};
}

bool pq_optimizer_step(pq_optimizer *o, pq_net *net, size_t chunks, double lr)
{
    step   s      = {.o = o, .net = net, .chunks = chunks};
    double square = 0.0;

    pq_pool_run_small(net->pool, chunks * net->n_flat, o->n_tiles, reduce, &s);
    if (net->n_grids > 0 || net->sparse != NULL) {
        pq_grids_backward(net);
        if (net->sparse != NULL) {
            pq_sparse_backward(net);
        }
        pq_pool_run_small(net->pool, net->n_flat, o->n_tiles, measure, &s);
    }
    for (size_t i = 0; i < o->n_tiles; i++) {
        square += o->tile_sums[i];
    }
    if (!isfinite(square)) {
        return false;
    }
    s.update = update_of(o, sqrt(square), lr);
    pq_pool_run_small(net->pool, net->n_flat, o->n_tiles, update, &s);
    o->steps++;
    pq_grids_project(net);
    pq_sparse_step(net);
    follow(o, net);
    pq_net_prepare(net);
    return true;
}

size_t pq_optimizer_blame(const pq_net *net)
{
    for (size_t i = 0; i < net->n_rows; i++) {
        const pq_net_weight *w = &net->weights[i];
        for (size_t k = 0; is_trained(w) && k < w->count; k++) {
            if (!isfinite(net->gradients[w->offset + k])) {
                return i;
            }
        }
    }
    return SIZE_MAX;
}
