#include "compress/method.h"
#include "formats/zoo.h"
#include "random_dags.h"

/* Shrunk against masked, both in double: only the order of sums differs. */
static const double tolerance = 1e-5;
enum { DAGS = 3000 };

static pq_graph *prune(const pq_graph *g, const char *text, pq_layer_change **changes,
                       size_t *n, pq_err *e)
{
    const pq_apply_options none  = {0};
    pq_stage               stage = {0};
    pq_layer_change       *list  = NULL;
    size_t                 count = 0;
    pq_graph              *out   = NULL;

    *e = (pq_err){0};
    if (pq_stage_parse(text, &stage, e) == PQ_OK) {
        (void)pq_stage_apply(&stage, g, &none, &out, &list, &count, e);
    }
    pq_stage_free(&stage);
    if (changes != NULL) {
        *changes = list;
        *n       = count;
    } else {
        pq_free(list);
    }
    return out;
}

static pq_graph *pruned(const pq_graph *g, const char *text)
{
    pq_err    e;
    pq_graph *out = prune(g, text, NULL, NULL, &e);

    cr_assert_not_null(out, "%s: %s", text, e.message);
    return out;
}

static double largest(const float *x, size_t n)
{
    double most = 0.0;

    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)x[i]));
    }
    return most;
}

/* Largest difference of two networks' outputs, of their largest value. */
static double difference(const pq_graph *a, const pq_graph *b, const char *engine,
                         size_t batch)
{
    size_t n = 0, m = 0, in = 0;
    float *x, *p, *q;
    double d;
    pq_rng rng = pq_rng_stream(5, "events");

    cr_assert(pq_shape_count(&a->nodes[0].shape, &in));
    x = pq_calloc(batch * in, sizeof *x);
    fill_normal(&rng, 1.0, batch * in, x);
    p = run_graph(a, "reference", batch, batch, x);
    q = run_graph(b, engine, batch, batch, x);
    cr_assert(pq_shape_count(&a->nodes[a->output].shape, &n));
    cr_assert(pq_shape_count(&b->nodes[b->output].shape, &m));
    cr_assert_eq(n, m);
    d = largest_difference(p, q, batch * n) / fmax(1.0, largest(p, batch * n));
    pq_free(x);
    pq_free(p);
    pq_free(q);
    return d;
}

static size_t parameters(const pq_graph *g, size_t *nonzero)
{
    return pq_graph_parameters(g, (pq_count_rule){true, true, true}, nonzero);
}

/* A stage with random parameters; `form` is left to the caller. */
static void draw_stage(net *t, char *text, size_t size)
{
    static const char *const criteria[] = {"l1", "l2", "group_norm"};
    static const char *const aligns[]   = {"1", "2", "4", "auto"};

    if (chance(t, 0.1)) {
        (void)snprintf(text, size, "structured_prune:channels=[0]");
    } else {
        (void)snprintf(text, size,
                       "structured_prune:target_sparsity=%.2f,scope=%s,criterion=%s,"
                       "align=%s,normalize=%s",
                       0.9 * pq_rng_uniform(&t->rng),
                       chance(t, 0.5) ? "global" : "per_layer", criteria[below(t, 3)],
                       aligns[chance(t, 0.6) ? 0 : below(t, 4)],
                       chance(t, 0.5) ? "true" : "false");
    }
    if (chance(t, 0.2)) {
        (void)snprintf(text + strlen(text), size - strlen(text), ",layers=l*%zu",
                       below(t, 10));
    }
}

/* What may be refused in a random graph: every reason is one sentence of these. */
static bool is_reason(const pq_err *e)
{
    static const char *const reasons[] = {"every layer must keep one",
                                          "cannot go: ", "selects nothing it can work on",
                                          "is not in 0.."};

    for (size_t i = 0; i < 4; i++) {
        if (strstr(e->message, reasons[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* Both forms of one stage on one random graph; whether channels went. */
static bool forms_agree(uint64_t seed)
{
    net       t = make_dag(seed);
    char      text[200], form[240];
    pq_err    e;
    pq_graph *masked, *shrunk;
    bool      went = false;

    draw_stage(&t, text, sizeof text);
    (void)snprintf(form, sizeof form, "%s,form=mask", text);
    masked = prune(t.graph, form, NULL, NULL, &e);
    cr_assert(masked != NULL || is_reason(&e), "seed %zu: %s: %s", (size_t)seed, text,
              e.message);
    shrunk = prune(t.graph, text, NULL, NULL, &e);
    cr_assert_eq(masked == NULL, shrunk == NULL, "seed %zu: %s: %s", (size_t)seed, text,
                 e.message);
    if (masked != NULL) {
        const double d = difference(masked, shrunk, "reference", 3);
        cr_assert_leq(d, tolerance, "seed %zu: %s: %g", (size_t)seed, text, d);
        cr_assert_leq(pq_graph_macs(shrunk), pq_graph_macs(masked));
        went = parameters(shrunk, NULL) < parameters(masked, NULL);
    }
    pq_graph_free(&masked);
    pq_graph_free(&shrunk);
    pq_graph_free(&t.graph);
    return went;
}

Test(prune_groups, shrunk_equals_masked_on_random_graphs)
{
    size_t went = 0;

    for (uint64_t seed = 0; seed < DAGS; seed++) {
        went += forms_agree(seed) ? 1 : 0;
    }
    cr_expect_gt(went, DAGS / 3, "channels went in %zu of %d graphs", went, DAGS);
}

/* A known network with random weights, statistics of BatchNorm too. */
static pq_graph *zoo(const char *name)
{
    pq_graph *g   = NULL;
    pq_rng    rng = pq_rng_stream(8, name);

    OK(pq_zoo_build(name, 3, &g, &err));
    for (size_t i = 0; i < g->n_nodes; i++) {
        const pq_layer *layer = g->nodes[i].layer;
        for (size_t k = 0;
             strcmp(layer->kind->name, "batch_norm") == 0 && k < layer->n_weights; k++) {
            pq_tensor *w = layer->weights[k].value;
            for (size_t c = 0; c < w->count; c++) {
                const double x = 0.3 * pq_rng_normal(&rng);
                pq_f32(w)[c]   = (float)(k == pq_layer_weight_index(layer, "beta") ||
                                               k == pq_layer_weight_index(layer, "mean")
                                             ? x
                                             : 0.5 + fabs(x));
            }
        }
    }
    OK(pq_graph_check(g, &err));
    return g;
}

Test(prune_groups, shrunk_equals_masked_on_residual_networks)
{
    static const char *const nets[]   = {"resnet8", "resnet20"};
    static const char *const stages[] = {
        "structured_prune:target_sparsity=0.5",
        "structured_prune:target_sparsity=0.3,criterion=batch_norm,scope=global",
        "structured_prune:target_sparsity=0.7,criterion=group_norm,align=8",
        "structured_prune:target_sparsity=0.5,layers=stage*conv1",
        "structured_prune:channels=[0,5,15],layers=stage*conv1",
    };

    for (size_t n = 0; n < 2; n++) {
        pq_graph *g = zoo(nets[n]);
        for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
            char      form[200];
            pq_graph *masked, *shrunk;
            (void)snprintf(form, sizeof form, "%s,form=mask", stages[i]);
            if (n == 0 && strstr(stages[i], "layers") != NULL) {
                continue;
            }
            masked = pruned(g, form);
            shrunk = pruned(g, stages[i]);
            cr_expect_leq(difference(masked, shrunk, "reference", 2), tolerance, "%s %s",
                          nets[n], stages[i]);
            cr_expect_leq(difference(masked, shrunk, "float32", 2), 1e-4, "%s %s",
                          nets[n], stages[i]);
            cr_expect_gt(difference(g, shrunk, "reference", 2), 1e-3);
            cr_expect_lt(pq_graph_macs(shrunk), pq_graph_macs(g));
            pq_graph_free(&masked);
            pq_graph_free(&shrunk);
        }
        pq_graph_free(&g);
    }
}

/* Half of the channels everywhere is a quarter of the operations between them. */
Test(prune_groups, residual_network_shrinks_by_the_square)
{
    pq_graph *g    = zoo("resnet20");
    pq_graph *half = pruned(g, "structured_prune:target_sparsity=0.5");

    /* Only the stem (3 inputs) and the last layer (10 outputs) shrink by half. */
    cr_expect_eq(pq_graph_macs(g), 40551040);
    cr_expect_eq(pq_graph_macs(half),
                 (pq_graph_macs(g) - 442368 - 640) / 4 + 221184 + 320);
    pq_graph_free(&half);
    pq_graph_free(&g);
}
