#include "layers/tt.h"

#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "layers/common.h"

pq_weight_role pq_role_tt(const char *weight)
{
    return strcmp(weight, "bias") == 0 ? PQ_WEIGHT_BIAS : PQ_WEIGHT_KERNEL;
}

static char *core_name(char buffer[32], size_t k)
{
    (void)snprintf(buffer, 32, "core%zu", k + 1);
    return buffer;
}

static bool multiply(size_t *product, size_t by)
{
    return !__builtin_mul_overflow(*product, by, product) && *product < (size_t)1 << 40;
}

/* Core k of the layer, whose left rank has to be `left`. */
static pq_status read_core(const pq_layer *layer, size_t k, size_t left, pq_tt_modes *t,
                           pq_err *err)
{
    char             name[32], shape[128];
    const pq_weight *w = pq_layer_weight(layer, core_name(name, k));
    pq_status        st;

    PQ_CHECK(w->value->shape.ndim == 4 && w->value->count > 0 &&
                 w->value->shape.dim[0] == left,
             PQ_ERR_SHAPE, "%s is %s, not [%zu, n, m, r]", name,
             pq_shape_text(&w->value->shape, shape, sizeof shape), left);
    t->n[k]     = w->value->shape.dim[1];
    t->m[k]     = w->value->shape.dim[2];
    t->r[k + 1] = w->value->shape.dim[3];
    PQ_CHECK(multiply(&t->outputs, t->n[k]) && multiply(&t->inputs, t->m[k]),
             PQ_ERR_SHAPE, "the modes up to %s are too large", name);
cleanup:
    return st;
}

static pq_status read_window(const pq_layer *layer, pq_tt_modes *t, pq_err *err)
{
    const pq_weight *w = pq_layer_weight(layer, "window");
    char             shape[128];
    pq_status        st;

    PQ_CHECK(w != NULL, PQ_ERR_SHAPE, "has no window");
    PQ_CHECK(w->value->shape.ndim == 4 && w->value->count > 0 &&
                 w->value->shape.dim[0] == 1,
             PQ_ERR_SHAPE, "window is %s, not [1, h, w, r]",
             pq_shape_text(&w->value->shape, shape, sizeof shape));
    t->window = w->value->shape.dim[1] * w->value->shape.dim[2];
    t->r[0]   = w->value->shape.dim[3];
cleanup:
    return st;
}

pq_status pq_tt_modes_of(const pq_layer *layer, pq_tt_modes *out, pq_err *err)
{
    pq_tt_modes      t    = {.r = {1}, .ring = 1, .window = 1, .outputs = 1, .inputs = 1};
    const pq_weight *bias = pq_layer_weight(layer, "bias");
    const pq_weight *first = pq_layer_weight(layer, "core1");
    const bool       ring  = strcmp(layer->kind->name, "ring_dense") == 0;
    char             name[32];
    pq_status        st = PQ_OK;

    t.windowed = layer->kind->form == PQ_FORM_WINDOW_CORES;
    if (t.windowed) {
        PQ_TRY(read_window(layer, &t, err));
    }
    if (ring && first != NULL && first->value->shape.ndim == 4) {
        t.r[0] = t.ring = first->value->shape.dim[0];
    }
    while (t.d < PQ_MAX_DIMS - 1 &&
           pq_layer_weight(layer, core_name(name, t.d)) != NULL) {
        PQ_TRY(read_core(layer, t.d, t.r[t.d], &t, err));
        t.d++;
    }
    PQ_CHECK(t.d >= (ring ? 2 : 1) && t.r[t.d] == t.ring, PQ_ERR_SHAPE,
             "has %zu cores, the last of rank %zu; %d to %d ending in rank %zu are due",
             t.d, t.r[t.d], ring ? 2 : 1, PQ_MAX_DIMS - 1, t.ring);
    PQ_CHECK(layer->n_weights == t.d + (t.windowed ? 1 : 0) + (bias != NULL ? 1 : 0),
             PQ_ERR_SHAPE, "has %zu weights, of which %zu are cores", layer->n_weights,
             t.d);
    if (bias != NULL) {
        PQ_TRY(pq_weight_check(layer, "bias", PQ_SHAPE(t.outputs), err));
    }
    *out = t;
cleanup:
    return st;
}

uint64_t pq_tt_macs(const pq_tt_modes *t)
{
    uint64_t sum = 0, others = t->inputs;

    for (size_t k = 0; k < t->d; k++) {
        others = others / t->m[k];
        /* the cores between are used by each of the ring's trains */
        sum += (uint64_t)t->r[k] * t->m[k] * t->n[k] * t->r[k + 1] * others *
               (k > 0 && k + 1 < t->d ? t->ring : 1);
        others *= t->n[k];
    }
    return sum;
}

/* All cores as one train: modes s_k = window, then n_k m_k. */
typedef struct {
    size_t        d, count; /* count: product of the modes */
    size_t        s[PQ_MAX_DIMS], r[PQ_MAX_DIMS + 1];
    const double *core[PQ_MAX_DIMS];
    double       *grad[PQ_MAX_DIMS];
} train;

static train train_of(const pq_layer_call *call, const pq_tt_modes *t)
{
    train x = {.count = 1, .r = {t->ring}};
    char  name[32];

    if (t->windowed) {
        x.s[0]    = t->window;
        x.r[1]    = t->r[0];
        x.core[0] = pq_call_weight(call, "window");
        x.grad[0] = call->grad_weight != NULL ? pq_call_grad(call, "window") : NULL;
        x.d       = 1;
    }
    for (size_t k = 0; k < t->d; k++, x.d++) {
        x.s[x.d]     = t->n[k] * t->m[k];
        x.r[x.d + 1] = t->r[k + 1];
        x.core[x.d]  = pq_call_weight(call, core_name(name, k));
        x.grad[x.d]  = call->grad_weight != NULL ? pq_call_grad(call, name) : NULL;
    }
    for (size_t k = 0; k < x.d; k++) {
        x.count *= x.s[k];
    }
    return x;
}

/* Product of cores from .. to-1 as [s_from …, r_to] for each left rank: [r_from, items,
 * r_to]. The caller frees. */
static double *product(const train *x, size_t from, size_t to)
{
    const size_t left  = x->r[from];
    size_t       items = 1;
    double      *at    = pq_calloc(left * left, sizeof *at), *next;

    for (size_t a = 0; at != NULL && a < left; a++) {
        at[a * left + a] = 1.0;
    }
    for (size_t k = from; at != NULL && k < to; k++) {
        const size_t r = x->r[k], q = x->s[k] * x->r[k + 1];
        next = pq_calloc(left * items * q, sizeof *next);
        for (size_t i = 0; next != NULL && i < left * items; i++) {
            for (size_t p = 0; p < r; p++) {
                const double f = at[i * r + p];
                for (size_t j = 0; j < q; j++) {
                    next[i * q + j] += f * x->core[k][p * q + j];
                }
            }
        }
        pq_free(at);
        at = next;
        items *= x->s[k];
    }
    return at;
}

size_t pq_tt_place(const pq_tt_modes *t, size_t at)
{
    size_t o = 0, i = 0, o_step = 1, i_step = 1;

    for (size_t k = t->d; k-- > 0;) {
        const size_t s = at % (t->n[k] * t->m[k]);
        at /= t->n[k] * t->m[k];
        o += s / t->m[k] * o_step;
        i += s % t->m[k] * i_step;
        o_step *= t->n[k];
        i_step *= t->m[k];
    }
    return (o * t->window + at) * t->inputs + i;
}

double *pq_tt_rebuild(const pq_layer_call *call, const pq_tt_modes *t)
{
    const train x     = train_of(call, t);
    double     *whole = product(&x, 0, x.d);
    double     *out   = pq_calloc(x.count, sizeof *out);

    for (size_t i = 0; whole != NULL && out != NULL && i < x.count * t->ring; i++) {
        const size_t a =
            i / x.count; /* the train of a ring that begins and ends with a */
        out[pq_tt_place(t, i % x.count)] += whole[i * t->ring + a];
    }
    if (whole == NULL) {
        pq_free(out);
        out = NULL;
    }
    pq_free(whole);
    return out;
}

/* grad core [r, s, r'] += sum_{i, j} left[i, r] dT[i, s, j] right[r', j]. */
static bool spread_one(const train *x, size_t k, const double *dt)
{
    const size_t r = x->r[k], s = x->s[k], r2 = x->r[k + 1];
    size_t       before = 1;
    double      *left = product(x, 0, k), *right = product(x, k + 1, x->d);
    double      *mid;

    for (size_t i = 0; i < k; i++) {
        before *= x->s[i];
    }
    const size_t after = x->count / before / s;

    mid = pq_calloc(r2, sizeof *mid);
    for (size_t i = 0; left != NULL && right != NULL && mid != NULL && i < before * s;
         i++) {
        for (size_t q = 0; q < r2; q++) {
            mid[q] = 0.0;
            for (size_t j = 0; j < after; j++) {
                mid[q] += dt[i * after + j] * right[q * after + j];
            }
        }
        for (size_t p = 0; p < r; p++) {
            for (size_t q = 0; q < r2; q++) {
                x->grad[k][(p * s + i % s) * r2 + q] += left[i / s * r + p] * mid[q];
            }
        }
    }
    const bool good = left != NULL && right != NULL && mid != NULL;

    pq_free(left);
    pq_free(right);
    pq_free(mid);
    return good;
}

bool pq_tt_spread_grad(const pq_layer_call *call, const pq_tt_modes *t,
                       const double *grad_kernel)
{
    const train x    = train_of(call, t);
    double     *dt   = pq_calloc(x.count, sizeof *dt);
    bool        good = dt != NULL;

    for (size_t i = 0; good && i < x.count; i++) {
        dt[i] = grad_kernel[pq_tt_place(t, i)];
    }
    for (size_t k = 0; good && k < x.d; k++) {
        good = x.grad[k] == NULL || spread_one(&x, k, dt);
    }
    pq_free(dt);
    return good;
}
