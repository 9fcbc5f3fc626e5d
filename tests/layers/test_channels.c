/* The rules of channels, kind by kind, against what the kind computes. */
#include <math.h>

#include "layers/channels.h"
#include "layers/run.h"

enum { CHANNELS = 64 };

/* Ties of inputs with outputs, and locked inputs, as a layer tells them. */
typedef struct {
    bool tied[RUN_MAX][CHANNELS][CHANNELS];
    bool locked[RUN_MAX];
} told;

static void tie(void *context, size_t port_a, size_t a, size_t port_b, size_t b)
{
    told *t = context;

    cr_assert(a < CHANNELS && b < CHANNELS);
    if (port_a != PQ_CHANNELS_OUT && port_b == PQ_CHANNELS_OUT) {
        t->tied[port_a][a][b] = true;
    }
}

static void lock(void *context, size_t port, const char *why)
{
    told *t = context;

    cr_expect_not_null(why);
    if (port != PQ_CHANNELS_OUT) {
        t->locked[port] = true;
    }
}

static run random_run(const layer_case *c, pq_rng *rng)
{
    pq_layer *layer = run_layer(c->kind, c->attributes);

    for (size_t k = 0; k < RUN_MAX && c->weights[k].name != NULL; k++) {
        float        values[4096];
        const size_t n = run_items(&c->weights[k].shape);
        cr_assert_leq(n, sizeof values / sizeof *values);
        for (size_t i = 0; i < n; i++) {
            values[i] = 0.5F + (float)pq_rng_uniform(rng);
        }
        run_weight(layer, c->weights[k].name, c->weights[k].shape, values);
    }
    run r = run_create(layer, 2, c->n_in, c->in);
    for (size_t k = 0; k < c->n_in; k++) {
        for (size_t i = 0; i < 2 * run_items(&r.in_shape[k]); i++) {
            r.in[k][i] = 0.1 + pq_rng_uniform(rng);
        }
    }
    return r;
}

/* Which channels of the output change when channel c of input k does. */
static void changed(const run *r, size_t k, size_t c, bool *channels)
{
    const size_t n = 2 * run_items(&r->out_shape), width = pq_channels_of(&r->out_shape);
    double      *before = pq_calloc(n, sizeof *before);
    const double step   = strcmp(r->layer->kind->name, "sign") == 0 ? -1.5 : 0.7;

    run_forward(r);
    memcpy(before, r->out, n * sizeof *before);
    for (size_t i = c; i < 2 * run_items(&r->in_shape[k]);
         i += pq_channels_of(&r->in_shape[k])) {
        r->in[k][i] += step;
    }
    run_forward(r);
    memset(channels, 0, CHANNELS * sizeof *channels);
    for (size_t i = 0; i < n; i++) {
        channels[i % width] = channels[i % width] || r->out[i] != before[i];
    }
    pq_free(before);
}

/* An output that changes is tied to the input that did. Returns how many were. */
static size_t check_ties(const layer_case *c, pq_rng *rng)
{
    run                   r    = random_run(c, rng);
    told                 *t    = pq_calloc(1, sizeof *t);
    const pq_channel_sink sink = {tie, lock, t};
    size_t                ties = 0;

    r.layer->kind->channels->tie(r.layer, r.n_in, r.in_shape, &r.out_shape, &sink);
    for (size_t k = 0; k < r.n_in; k++) {
        for (size_t a = 0; !t->locked[k] && a < pq_channels_of(&r.in_shape[k]); a++) {
            bool channels[CHANNELS];
            changed(&r, k, a, channels);
            for (size_t b = 0; b < pq_channels_of(&r.out_shape); b++) {
                cr_expect(!channels[b] || t->tied[k][a][b],
                          "%s %s: output %zu follows input %zu of %zu", c->kind,
                          c->attributes, b, a, k);
                ties += channels[b] ? 1 : 0;
            }
        }
    }
    pq_free(t);
    run_free(&r);
    return ties;
}

/* Without the items of its columns an input is not seen; without those of its row an
 * output is 0. */
static void check_places(const layer_case *c, pq_rng *rng)
{
    run          r       = random_run(c, rng);
    const size_t ins     = pq_channels_of(&r.in_shape[0]);
    const size_t outs    = pq_channels_of(&r.out_shape);
    const size_t gone_in = pq_rng_below(rng, ins), gone_out = pq_rng_below(rng, outs);
    bool         channels[CHANNELS];

    for (size_t k = 0; k < r.layer->n_weights; k++) {
        for (size_t i = 0; i < r.layer->weights[k].value->count; i++) {
            size_t in, out;
            r.layer->kind->channels->place(r.layer, &r.layer->weights[k], i, &in, &out);
            cr_expect((in == SIZE_MAX || in < ins) && out < outs);
            r.weight[k][i] = in == gone_in || out == gone_out ? 0.0 : r.weight[k][i];
        }
    }
    changed(&r, 0, gone_in, channels);
    for (size_t b = 0; b < outs; b++) {
        cr_expect_not(channels[b], "%s %s", c->kind, c->attributes);
    }
    for (size_t i = gone_out; i < 2 * run_items(&r.out_shape); i += outs) {
        cr_expect_eq(r.out[i], 0.0, "%s %s", c->kind, c->attributes);
    }
    run_free(&r);
}

Test(channels, what_a_kind_computes_is_what_its_rule_ties)
{
    pq_rng rng = pq_rng_stream(3, "channels");

    for (size_t i = 0; i < N_LAYER_CASES; i++) {
        const pq_layer_kind *kind = pq_layer_kind_find(layer_cases[i].kind);
        if (kind->channels == NULL) {
            continue;
        }
        if (kind->channels->place == NULL || kind->channels == &pq_channels_vector) {
            cr_expect_gt(check_ties(&layer_cases[i], &rng), 0, "%s", kind->name);
        } else {
            check_places(&layer_cases[i], &rng);
        }
    }
}

/* A new kind has a rule, or is here because it needs all of its channels. */
Test(channels, every_kind_has_a_rule_or_needs_all_of_its_channels)
{
    static const char *const whole[] = {"softmax", "layer_norm", "tt_dense", "ring_dense",
                                        "tt_conv2d"};

    for (size_t k = 0; pq_layer_kinds[k] != NULL; k++) {
        bool due = true;
        for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
            due = due && strcmp(pq_layer_kinds[k]->name, whole[i]) != 0;
        }
        cr_expect_eq(pq_layer_kinds[k]->channels != NULL, due, "%s",
                     pq_layer_kinds[k]->name);
    }
}
