#include "quantized.h"

#include <stdlib.h>

enum { EVENTS = 300, BATCH = 7 };

/* Events of a test, not centred. */
typedef struct {
    size_t n, count;
    float *x;
} events;

static pq_status run(void *context, const pq_graph *graph, size_t node,
                     pq_bench_seen seen, void *sink, pq_err *err)
{
    const events *e    = context;
    pq_graph     *part = NULL;
    pq_plan      *plan = NULL;
    float        *y    = NULL;
    size_t        out  = 0;
    pq_status     st;

    PQ_TRY(pq_graph_clone(graph, &part, err));
    part->output = node;
    PQ_TRY(pq_plan_create(part, &(pq_plan_options){"float32", BATCH}, &plan, err));
    cr_assert(pq_shape_count(&graph->nodes[node].shape, &out));
    PQ_NEW(y, BATCH * out);
    for (size_t first = 0; first < e->n; first += BATCH) {
        const size_t n = e->n - first < BATCH ? e->n - first : BATCH;
        PQ_TRY(pq_plan_run(plan, n, (const float *[]){e->x + first * e->count}, y, err));
        PQ_TRY(seen(sink, n, y, err));
    }
cleanup:
    pq_free(y);
    pq_plan_free(&plan);
    pq_graph_free(&part);
    return st;
}

static events make_events(const pq_graph *g, size_t n)
{
    pq_rng rng = pq_rng_stream(77, "events");
    events e   = {.n = n};

    cr_assert(pq_shape_count(&g->nodes[0].shape, &e.count));
    e.x = pq_calloc(n * e.count, sizeof *e.x);
    for (size_t i = 0; i < n * e.count; i++) {
        e.x[i] = (float)(0.4 + pq_rng_normal(&rng));
    }
    return e;
}

typedef struct {
    size_t n;
    float *values;
} store;

static pq_status keep(void *sink, size_t n, const float *values, pq_err *err)
{
    store       *s     = sink;
    const size_t count = n * s->n;

    (void)err;
    memcpy(s->values, values, count * sizeof *values);
    s->values += count;
    return PQ_OK;
}

/* What a node gives on all events before its own grid; the caller frees with pq_free. */
static float *values_of(const pq_graph *g, const char *name, events *e, size_t *count)
{
    pq_graph *bare = NULL;
    store     s    = {0};
    float    *all;
    size_t    node = pq_graph_find(g, name);

    OK(pq_graph_clone(g, &bare, &err));
    OK(pq_graph_check(bare, &err));
    pq_quant_free(&bare->nodes[node].quant);
    cr_assert(pq_shape_count(&bare->nodes[node].shape, &s.n));
    *count   = s.n * e->n;
    s.values = all = pq_calloc(*count, sizeof *all);
    OK(run(e, bare, node, keep, &s, &err));
    pq_graph_free(&bare);
    return all;
}

/* Sum of squared differences of what a node gives in two networks. */
static double distance(const pq_graph *a, const pq_graph *b, const char *name, events *e)
{
    size_t n;
    float *x = values_of(a, name, e, &n), *y = values_of(b, name, e, &n);
    double sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - (double)y[i];
        sum += d * d;
    }
    pq_free(x);
    pq_free(y);
    return sum;
}

/* Largest difference between means of channels over all events. */
static double mean_shift(const pq_graph *a, const char *in_a, const pq_graph *b,
                         const char *in_b, events *e)
{
    const pq_shape *shape    = &net_node(a, in_a)->shape;
    const size_t    channels = shape->dim[shape->ndim - 1];
    size_t          n;
    float          *x = values_of(a, in_a, e, &n), *y = values_of(b, in_b, e, &n);
    double          largest = 0.0;

    for (size_t c = 0; c < channels; c++) {
        double sum = 0.0;
        for (size_t i = c; i < n; i += channels) {
            sum += (double)y[i] - (double)x[i];
        }
        largest = fmax(largest, fabs(sum / (double)(n / channels)));
    }
    pq_free(x);
    pq_free(y);
    return largest;
}

/* Half of the largest unit of a layer's sums, which its biases are rounded to. */
static double half_a_unit(const pq_graph *g, const char *name)
{
    const pq_node  *node = net_node(g, name);
    const pq_quant *in   = g->nodes[pq_activation_source(g, node->inputs[0])].quant;
    const pq_quant *q    = pq_layer_weight(node->layer, "kernel")->quant;
    double          most = 0.0;

    for (size_t o = 0; o < q->n; o++) {
        most = fmax(most, (double)in->scale[0] * (double)q->scale[o]);
    }
    return most / 2.0;
}

/* The mean of each output is that of the float network, with the inputs that it has now,
 * but for what its bias loses to the unit of the sums: nearly nothing where the inputs
 * have 16 bits. */
Test(quantize_replay, bias_correction_gives_every_layer_its_mean_back)
{
    static const char *const now[]   = {"stem", "conv1", "conv2", "conv3", "out"};
    static const char *const was[]   = {"bn0", "bn1", "bn2", "conv3", "out"};
    pq_graph                *g       = net_residual(31);
    events                   e       = make_events(g, 60);
    const pq_bench           bench   = {.events = e.n, .run = run, .context = &e};
    pq_calib                *calib   = net_calibrate(g, 50);
    pq_apply_options         options = {.calib = calib, .bench = &bench};
    pq_graph                *plain, *out;

    for (size_t i = 0; i < 2; i++) {
        plain =
            net_apply(i == 0 ? "quantize:bits=3,activation_bits=16" : "quantize:bits=3",
                      g, &options, NULL, NULL);
        out = net_apply(i == 0 ? "quantize:bits=3,activation_bits=16,bias_correction=yes"
                               : "quantize:bits=3,bias_correction=yes",
                        g, &options, NULL, NULL);
        for (size_t k = 0; k < 5; k++) {
            const double half = half_a_unit(out, now[k]);
            cr_expect_lt(mean_shift(g, was[k], out, now[k], &e), half + 2e-6, "%s",
                         now[k]);
            cr_expect_gt(mean_shift(g, was[k], plain, now[k], &e), 1e-3, "%s", now[k]);
            cr_expect(i > 0 || half < 1e-5, "%s: %g", now[k], half);
        }
        pq_graph_free(&plain);
        pq_graph_free(&out);
    }
    pq_calib_free(&calib);
    pq_free(e.x);
    pq_graph_free(&g);
}

/* Grids of all kinds: each weight on one of its two sides, outputs closer to the float
 * network's than with the nearest. */
Test(quantize_replay, learnt_rounding_stays_on_the_grid_and_changes_outputs_less)
{
    static const char *const grids[] = {
        "bits=4",
        "bits=3,granularity=per_tensor",
        "bits=3,symmetric=no",
        "bits=3,granularity=per_group,group=8",
        "bits=4,format=fixed,granularity=per_weight",
        "bits=4,format=fixed,rounding=TRN",
        "bits=4,format=fixed,granularity=per_tensor,overflow=WRAP",
        "bits=3,activations=no,weight_range=mse",
    };
    pq_graph        *g       = net_mlp(32);
    events           e       = make_events(g, EVENTS);
    const pq_bench   bench   = {.events = e.n, .run = run, .context = &e};
    pq_calib        *calib   = net_calibrate(g, 200);
    pq_apply_options options = {.calib = calib, .bench = &bench};

    for (size_t k = 0; k < sizeof grids / sizeof *grids; k++) {
        char      text[160];
        pq_graph *near, *learnt;
        snprintf(text, sizeof text, "quantize:activation_bits=8,%s", grids[k]);
        if (strstr(grids[k], "activations=no") != NULL) {
            snprintf(text, sizeof text, "quantize:%s", grids[k]);
        }
        near = net_apply(text, g, &options, NULL, NULL);
        strcat(text, ",choice=adaround,rounding_steps=400");
        learnt = net_apply(text, g, &options, NULL, NULL);
        cr_expect_lt(distance(g, learnt, "out", &e), 0.6 * distance(g, near, "out", &e),
                     "%s: %g, nearest %g", grids[k], distance(g, learnt, "out", &e),
                     distance(g, near, "out", &e));
        const pq_weight *w = kernel(learnt, "fc2"), *from = kernel(g, "fc2");
        const pq_weight *n = kernel(near, "fc2");
        for (size_t i = 0; i < w->value->count; i++) {
            const size_t s    = pq_quant_index(w->quant, &w->value->shape, i);
            const float  step = w->quant->scale[s], y = pq_f32(w->value)[i];
            cr_expect_eq(pq_quant_round(w->quant, s, y), y);
            cr_expect(y == pq_f32(n->value)[i] ||
                          fabsf(y - pq_f32(from->value)[i]) <= 1.0001f * step,
                      "%s: one of two neighbours", grids[k]);
        }
        pq_graph_free(&near);
        pq_graph_free(&learnt);
    }
    pq_calib_free(&calib);
    pq_free(e.x);
    pq_graph_free(&g);
}

/* Convolutions, also one input channel each, with BatchNorm folded and without it; and
 * what the record says. */
Test(quantize_replay, learnt_rounding_knows_convolutions_and_groups)
{
    pq_graph        *g       = net_residual(33), *near, *learnt;
    events           e       = make_events(g, 100);
    const pq_bench   bench   = {.events = e.n, .run = run, .context = &e};
    pq_apply_options options = {.bench = &bench};
    pq_layer_change *changes;
    size_t           n = 0;

    near = net_apply("quantize:bits=3,activations=no", g, NULL, NULL, NULL);
    learnt =
        net_apply("quantize:bits=3,activations=no,choice=adaround,rounding_steps=400", g,
                  &options, &changes, &n);
    cr_expect_eq(n, 5);
    for (size_t i = 0; i < n; i++) {
        char   what[sizeof changes->what];
        double before, after;
        memcpy(what, changes[i].what, sizeof what);
        const pq_tensor *w  = kernel(learnt, changes[i].layer)->value;
        const char      *at = strstr(what, "; rounding learnt");
        cr_assert_not_null(at, "%s", changes[i].what);
        cr_assert_eq(sscanf(at, "; rounding learnt, error of its output %lg, from %lg",
                            &after, &before),
                     2);
        cr_expect_lt(after, before, "%s", changes[i].layer);
        cr_expect_neq(memcmp(w->data, kernel(near, changes[i].layer)->value->data,
                             w->count * sizeof(float)),
                      0);
    }
    cr_expect_lt(distance(g, learnt, "conv3", &e), 0.6 * distance(g, near, "conv3", &e));
    cr_expect_lt(distance(g, learnt, "out", &e), 0.6 * distance(g, near, "out", &e));
    pq_free(changes);
    pq_graph_free(&near);
    pq_graph_free(&learnt);
    pq_free(e.x);
    pq_graph_free(&g);
}

Test(quantize_replay, learnt_rounding_keeps_pruned_zeros)
{
    pq_graph        *g       = net_mlp(34), *p, *out;
    events           e       = make_events(g, 50);
    const pq_bench   bench   = {.events = e.n, .run = run, .context = &e};
    pq_apply_options options = {.bench = &bench};

    p   = net_apply("prune:target_sparsity=0.7", g, NULL, NULL, NULL);
    out = net_apply("quantize:bits=3,activations=no,choice=adaround,rounding_steps=100",
                    p, &options, NULL, NULL);
    cr_expect(kernel(out, "fc2")->pruned);
    for (size_t i = 0; i < kernel(p, "fc2")->value->count; i++) {
        cr_expect(pq_f32(kernel(p, "fc2")->value)[i] != 0.0f ||
                  pq_f32(kernel(out, "fc2")->value)[i] == 0.0f);
    }
    pq_graph_free(&out);
    pq_graph_free(&p);
    pq_free(e.x);
    pq_graph_free(&g);
}

Test(quantize_replay, results_are_the_same_each_time_and_depend_on_the_seed)
{
    const char *const text =
        "quantize:bits=4,activations=no,choice=adaround,rounding_steps=50,"
        "bias_correction=yes";
    pq_graph      *g     = net_residual(35);
    events         e     = make_events(g, 40);
    const pq_bench bench = {.events = e.n, .run = run, .context = &e};
    char           hash[3][65];

    for (size_t k = 0; k < 3; k++) {
        pq_apply_options options = {.bench = &bench, .seed = k == 2 ? 1 : 0};
        pq_graph        *out     = net_apply(text, g, &options, NULL, NULL);
        OK(pq_graph_hash(out, hash[k], &err));
        pq_graph_free(&out);
    }
    cr_expect_str_eq(hash[0], hash[1]);
    cr_expect_str_neq(hash[0], hash[2], "the rows come in another order");
    pq_free(e.x);
    pq_graph_free(&g);
}

/* A million events that nobody keeps. */
static pq_status endless(void *context, const pq_graph *graph, size_t node,
                         pq_bench_seen seen, void *sink, pq_err *err)
{
    const size_t *n     = context;
    size_t        count = 0;
    float         values[64 * 64];
    pq_status     st = PQ_OK;

    cr_assert(pq_shape_count(&graph->nodes[node].shape, &count));
    for (size_t i = 0; i < 64 * 64; i++) {
        values[i] = (float)(i * 7 % 13) - 6.0f;
    }
    for (size_t first = 0; st == PQ_OK && first < *n; first += 64) {
        st = seen(sink, 64, values, err);
    }
    return st;
}

Test(quantize_replay, memory_does_not_grow_with_events)
{
    pq_graph        *g       = net_mlp(36), *out;
    size_t           n       = (size_t)1 << 20;
    const pq_bench   bench   = {.events = n, .run = endless, .context = &n};
    pq_apply_options options = {.bench = &bench};

    pq_memory_peak_start();
    out = net_apply("quantize:layers=fc1,activations=no,bits=4,choice=adaround,"
                    "rounding_steps=1,bias_correction=yes",
                    g, &options, NULL, NULL);
    cr_expect_lt(pq_memory_peak(), (size_t)150 << 20, "all rows are 320 MiB");
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(quantize_replay, events_that_are_missing_or_not_finite_are_told)
{
    pq_graph        *g       = net_mlp(37);
    events           e       = make_events(g, 20);
    const pq_bench   bench   = {.events = e.n, .run = run, .context = &e};
    pq_apply_options options = {.bench = &bench};
    pq_err           err;

    cr_expect_eq(net_refusal("quantize:activations=no,choice=adaround", g, NULL, &err),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "quantize needs calibration events with these parameters");
    e.x[17] = HUGE_VALF;
    cr_expect_eq(
        net_refusal("quantize:activations=no,choice=adaround", g, &options, &err),
        PQ_ERR_NUMERIC);
    cr_expect_not_null(
        strstr(err.message, "layer 'fc1': an output on a calibration event is "), "%s",
        err.message);
    cr_expect_eq(
        net_refusal("quantize:activations=no,bias_correction=yes", g, &options, &err),
        PQ_ERR_NUMERIC);
    cr_expect_not_null(
        strstr(err.message,
               "layer 'fc1': the mean of output 0 over the calibration events is "),
        "%s", err.message);
    pq_free(e.x);
    pq_graph_free(&g);
}

Test(quantize_replay, survives_every_failed_allocation)
{
    pq_graph        *g       = net_residual(38);
    events           e       = make_events(g, 8);
    const pq_bench   bench   = {.events = e.n, .run = run, .context = &e};
    pq_calib        *calib   = net_calibrate(g, 8);
    pq_apply_options options = {.calib = calib, .bench = &bench};

    net_survives("quantize:bits=4,choice=adaround,rounding_steps=1,bias_correction=yes,"
                 "layers=stem|conv3",
                 g, &options);
    pq_calib_free(&calib);
    pq_free(e.x);
    pq_graph_free(&g);
}
