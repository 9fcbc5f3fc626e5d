/* From sums to codes: which of the endings, and its numbers. */
#include <math.h>
#include <string.h>

#include "codegen/whole_linear.h"
#include "core/memory.h"
#include "exec/codes.h"
#include "layers/kinds.h"

static const double exact_floats = 16777216.0; /* 2^24 */

enum {
    MOST_SHIFT    = 54, /* 256 codes take eight more bits */
    MOST_PRODUCTS = 16  /* channels whose sums are all tried */
};

/* The definition: what the layers make of a sum. */
typedef struct {
    const pq_graph *graph;
    const pq_chain *chain;
    double          multiplier;
} definition;

static int code_of(const void *context, int64_t sum)
{
    const definition *d = context;
    const pq_quant   *q = pq_code_grid(d->graph, d->chain->last);
    double            v = (double)sum * d->multiplier;

    for (size_t i = 0; i < d->chain->n; i++) {
        v = pq_whole_through(d->graph->nodes[d->chain->bends[i]].layer, v);
    }
    return pq_quant_code_real(q, 0, v) - pq_grid_least(q);
}

/* Sums of channel o over bytes: their bias, and a bound. */
static void channel_of(const pq_whole *w, const pq_linear *l, size_t o, int64_t *bias,
                       double *bound, double *range)
{
    const pq_quant *grid =
        pq_code_grid(w->e->graph, w->e->graph->nodes[l->node].inputs[0]);
    const int64_t from = pq_grid_least(grid) - grid->zero_point[0];
    double        sum  = 0.0;

    *bias = l->u->bias[o];
    for (size_t i = 0; i < l->u->length; i++) {
        const int32_t weight = l->u->weight[o * l->u->length + i];
        *bias += from * weight;
        sum += abs(weight);
    }
    *range = sum;
    *bound = sum * pq_grid_most(grid) + fabs((double)*bias);
}

bool pq_linear_fast(const pq_whole *w, const pq_linear *l)
{
    const size_t in = w->e->graph->nodes[l->node].inputs[0];
    bool         ok = pq_whole_held(w, in)->form == PQ_HELD_SMALL && l->groups == 1;

    for (size_t i = 0; ok && i < l->u->outputs * l->u->length; i++) {
        ok = l->u->weight[i] >= -128 && l->u->weight[i] <= 127;
    }
    for (size_t o = 0; ok && o < l->u->outputs; o++) {
        int64_t bias;
        double  bound, range;
        channel_of(w, l, o, &bias, &bound, &range);
        ok = bound < 2147483647.0;
    }
    return ok;
}

/* Whether code_of does not decrease. */
static bool rises(const pq_whole *w, const pq_chain *c)
{
    bool ok = pq_quant_clips(pq_code_grid(w->e->graph, c->last));

    for (size_t i = 0; i < c->n; i++) {
        const pq_layer *layer = w->e->graph->nodes[c->bends[i]].layer;
        ok                    = ok && (strcmp(layer->kind->name, "leaky_relu") != 0 ||
                    ((const pq_leaky_relu_params *)layer->params)->slope >= 0.0);
    }
    return ok;
}

static pq_status allocate(pq_linear *l, pq_err *err)
{
    pq_endings *e = &l->end;
    pq_status   st;

    PQ_NEW(e->bias, l->panels * 16);
    PQ_NEW(e->narrow, l->panels * 64);
    PQ_NEW(e->wide, l->panels * 32);
    PQ_NEW(e->limits, l->panels * 32);
    PQ_NEW(e->reals, l->panels * 80);
    PQ_NEW(e->starts, l->panels * 16);
    PQ_NEW(e->line, l->panels * 32);
cleanup:
    return st;
}

void pq_endings_free(pq_endings *e)
{
    pq_free(e->bias);
    pq_free(e->narrow);
    pq_free(e->wide);
    pq_free(e->limits);
    pq_free(e->reals);
    pq_free(e->starts);
    pq_free(e->line);
    pq_free(e->product);
}

/* Levels of every channel; of one without weights the code of its bias. */
static pq_status find_levels(const pq_whole *w, const pq_linear *l, pq_levels *levels,
                             pq_err *err)
{
    const pq_quant *q  = pq_code_grid(w->e->graph, l->chain.last);
    pq_status       st = PQ_OK;

    for (size_t o = 0; o < l->u->outputs; o++) {
        const definition d = {w->e->graph, &l->chain, l->u->multiplier[o]};
        int64_t          bias;
        double           bound, range;
        channel_of(w, l, o, &bias, &bound, &range);
        if (range == 0.0) {
            levels[o] = (pq_levels){.most  = pq_grid_most(q),
                                    .below = code_of(&d, l->u->bias[o]),
                                    .above = code_of(&d, l->u->bias[o])};
            continue;
        }
        PQ_TRY(pq_levels_find(code_of, &d, (int64_t)bound, pq_grid_most(q),
                              d.multiplier / (double)q->scale[0], &levels[o], err));
    }
cleanup:
    return st;
}

static pq_clamp clamp_of(const pq_linear *l, const pq_levels *levels)
{
    pq_clamp c = {levels[0].below, levels[0].above};

    for (size_t o = 1; o < l->u->outputs; o++) {
        c.least = levels[o].below < c.least ? levels[o].below : c.least;
        c.most  = levels[o].above > c.most ? levels[o].above : c.most;
    }
    return c;
}

/* A channel's shift: with a summand, or with ties to even. */
static bool shift_channel(pq_linear *l, const pq_levels *at, size_t o, bool even)
{
    const bool zeros    = at->level == NULL; /* no weights: a constant */
    const int  by       = zeros ? 0 : -ilogb(at->multiplier);
    int64_t    rounding = 0;

    if (!(zeros || (at->multiplier <= 1.0 && by <= 30))) {
        return false;
    }
    if (zeros) {
        rounding = at->below - (even ? l->end.zero : 0);
    } else if (even ? !pq_levels_even(at, by, l->end.clamp, l->end.zero)
                    : !pq_levels_shift(at, by, l->end.clamp, &rounding)) {
        return false;
    }
    const int64_t reach = llabs(rounding) + at->bound + (INT64_C(1) << by);
    l->end.exact        = l->end.exact && (double)reach <= exact_floats;
    l->end.limits[o]    = (double)rounding; /* for a while */
    int64_t *narrow     = l->end.narrow + o / 16 * 48 + o % 16;
    narrow[0]           = by;
    narrow[16]          = by > 0 ? (INT64_C(1) << (by - 1)) - 1 : 0;
    narrow[32]          = by > 0 ? 1 : 0;
    l->end.reals[o]     = ldexp(1.0, -by);
    return reach < INT32_MAX;
}

static bool try_shift(pq_linear *l, const pq_levels *levels, bool even)
{
    bool ok = true;

    l->end.clamp = clamp_of(l, levels);
    for (size_t o = 0; ok && o < l->u->outputs; o++) {
        ok = shift_channel(l, &levels[o], o, even);
    }
    for (size_t o = 0; ok && o < l->u->outputs; o++) {
        const int64_t rounding = (int64_t)l->end.limits[o];
        l->end.bias[o] = levels[o].level == NULL ? rounding : l->end.bias[o] + rounding;
    }
    return ok;
}

/* A channel's factor, its shift as large as 31 bits of the factor allow: with that of
   another, larger channel too few of them would be left. */
static bool scale_channel(pq_linear *l, const pq_levels *at, size_t o)
{
    const size_t lane   = o % 16;
    int64_t     *narrow = l->end.narrow + o / 16 * 64, rounding = 0;
    int64_t     *wide = l->end.wide + o / 16 * 32 + lane % 2 * 8 + lane / 2;
    double   *limits = l->end.limits + o / 16 * 32, *reals = l->end.reals + o / 16 * 32;
    const int most   = at->multiplier > 0.0 ? 30 - ilogb(at->multiplier) : MOST_SHIFT;
    const int by     = most < MOST_SHIFT ? most : MOST_SHIFT;
    int32_t   factor = 0, lo = 0, hi = 0;

    if (by < 32) {
        return false;
    }
    if (at->below == at->above) {
        rounding = (int64_t)at->below << by;
    } else if (!pq_levels_scale(at, by, &factor, &rounding, &lo, &hi)) {
        return false;
    }
    narrow[lane]      = lo;
    narrow[16 + lane] = hi;
    narrow[32 + lane] = factor;
    if (lane % 2 == 1) {
        narrow[48 + lane - 1] = factor;
    }
    wide[0]      = rounding;
    wide[16]     = by - (int)(lane % 2) * 32; /* odd lanes stay in their upper half */
    limits[lane] = lo;
    limits[16 + lane] = hi;
    l->end.exact      = l->end.exact && abs(lo) <= 16777216 && abs(hi) <= 16777216 &&
                   pq_levels_real(at, &reals[lane], &reals[16 + lane]);
    return true;
}

static bool try_scale(pq_linear *l, const pq_levels *levels)
{
    bool ok = true;

    for (size_t o = 0; ok && o < l->u->outputs; o++) {
        ok = scale_channel(l, &levels[o], o);
    }
    return ok;
}

/* Lines for all channels, or for none: lanes without one give the least code, from sums
   that are no denormal floats. */
static bool find_lines(pq_linear *l, const pq_levels *levels)
{
    pq_endings *e  = &l->end;
    bool        ok = true;

    for (size_t o = 0; ok && o < l->panels * 16; o++) {
        const pq_levels  none = {.below = e->clamp.least, .above = e->clamp.least};
        const pq_levels *at   = o < l->u->outputs ? &levels[o] : &none;
        float            m, c;
        int64_t          rounding;
        ok                            = pq_levels_line(at, e->clamp, &m, &c, &rounding);
        e->starts[o]                  = PQ_LINE_BITS + rounding;
        e->line[o / 16 * 32 + o % 16] = (double)m;
        e->line[o / 16 * 32 + 16 + o % 16] = (double)c;
        if (at->level != NULL) { /* without weights the bias is in the constant */
            e->starts[o] += e->bias[o];
        }
    }
    return ok;
}

pq_status pq_endings_product(pq_linear *l, pq_err *err)
{
    pq_endings *e  = &l->end;
    bool        ok = l->u->outputs <= MOST_PRODUCTS;
    pq_status   st;

    PQ_NEW(e->product, l->panels * 48);
    for (size_t o = 0; ok && o < l->u->outputs; o++) {
        double *to = e->product + o / 16 * 48 + o % 16;
        float   high, low;
        ok     = pq_levels_product(l->u->multiplier[o], l->u->bound, &high, &low);
        to[0]  = (double)high;
        to[16] = (double)low;
        to[32] = -12582912.0 * (double)low;
    }
    for (size_t o = 0; o < l->panels * 16; o++) {
        e->starts[o] = PQ_LINE_BITS + e->bias[o];
    }
    if (!ok) {
        pq_free(e->product);
        e->product = NULL;
    }
cleanup:
    return st;
}

static void forget(pq_linear *l, bool exact)
{
    l->end.exact = exact;
    memset(l->end.narrow, 0, l->panels * 64 * sizeof *l->end.narrow);
    memset(l->end.wide, 0, l->panels * 32 * sizeof *l->end.wide);
    memset(l->end.limits, 0, l->panels * 32 * sizeof *l->end.limits);
    memset(l->end.reals, 0, l->panels * 80 * sizeof *l->end.reals);
}

static pq_status find_codes(pq_whole *w, pq_linear *l, bool *found, pq_err *err)
{
    const bool      exact  = l->end.exact;
    const pq_quant *q      = pq_code_grid(w->e->graph, l->chain.last);
    pq_levels      *levels = NULL;
    pq_status       st;

    PQ_NEW(levels, l->u->outputs);
    PQ_TRY(find_levels(w, l, levels, err));
    l->end.zero = q->zero_point[0] - pq_grid_least(q);
    l->end.how  = PQ_TO_SHIFT;
    *found      = try_shift(l, levels, false);
    if (!*found) {
        forget(l, exact);
        l->end.how = PQ_TO_EVEN;
        *found     = try_shift(l, levels, true);
    }
    if (!*found) {
        forget(l, exact);
        l->end.how = PQ_TO_SCALE;
        *found     = try_scale(l, levels);
    }
    l->end.lines = *found && l->end.how != PQ_TO_SHIFT && find_lines(l, levels);
cleanup:
    for (size_t o = 0; levels != NULL && o < l->u->outputs; o++) {
        pq_levels_free(&levels[o]);
    }
    pq_free(levels);
    return st;
}

/* With a summand: factors of both and a constant in float32, how near a tie is left to
   the definition, and how large a summand. */
static bool find_added(pq_whole *w, pq_linear *l)
{
    const pq_graph *g     = w->e->graph;
    const pq_quant *q     = pq_code_grid(g, l->chain.last);
    const pq_held  *other = pq_whole_held(w, l->chain.other);
    const bool      relu  = l->chain.n == 1 &&
                      strcmp(g->nodes[l->chain.bends[0]].layer->kind->name, "relu") == 0;
    const bool   trn = q->scheme == PQ_QUANT_FIXED && q->rounding == PQ_ROUND_TRN;
    const double s = (double)q->scale[0], most = pq_grid_most(q);
    /* of a relu, 0 must be the least code */
    bool ok = (l->chain.n == 0 || (relu && q->zero_point[0] == pq_grid_least(q))) &&
              pq_quant_clips(q) && l->end.exact &&
              !(q->scheme == PQ_QUANT_FIXED && q->rounding == PQ_ROUND_TRN_ZERO);

    for (size_t o = 0; ok && o < l->u->outputs; o++) {
        double *t = l->end.reals + o / 16 * 80 + o % 16;
        double  c = (double)(q->zero_point[0] - pq_grid_least(q)) - (trn ? 0.5 : 0.0);
        if (other->form == PQ_HELD_SMALL) {
            t[16] = (double)other->grid->scale[0] / s;
            c += (pq_grid_least(other->grid) - other->grid->zero_point[0]) * t[16];
        } else {
            t[16] = other->units->multiplier[o] / s;
        }
        const double reach = 4.0 * (most + fabs(c));
        t[0]               = l->u->multiplier[o] / s;
        t[32]              = c;
        t[48]              = 0.5 - ldexp(2.0 * most + 3.0 * reach + 4.0 * fabs(c), -22);
        t[64]              = reach;
        ok = isfinite((float)t[0]) && isfinite((float)t[16]) && t[48] > 0.45;
        for (size_t k = 0; k < 80; k += 16) {
            t[k] = (double)(float)t[k];
        }
    }
    return ok;
}

pq_status pq_endings_find(pq_whole *w, pq_linear *l, bool *ok, pq_err *err)
{
    bool      found = false;
    pq_status st;

    PQ_TRY(allocate(l, err));
    l->end.exact = true;
    for (size_t o = 0; o < l->u->outputs; o++) {
        double bound, range;
        channel_of(w, l, o, &l->end.bias[o], &bound, &range);
        l->end.exact = l->end.exact && bound <= exact_floats;
    }
    const bool exact = l->end.exact;
    if (l->chain.other != SIZE_MAX) {
        found      = find_added(w, l);
        l->end.how = PQ_TO_ADDED;
    } else if (l->form == PQ_HELD_SMALL && rises(w, &l->chain)) {
        PQ_TRY(find_codes(w, l, &found, err));
    }
    *ok = found || w->e->graph->nodes[l->node].quant == NULL;
    if (!found && *ok) {
        l->end.how   = PQ_TO_SUMS;
        l->end.exact = exact;
        l->chain     = (pq_chain){.last = l->node, .other = SIZE_MAX};
        l->form      = PQ_HELD_SUMS;
    }
cleanup:
    return st;
}
