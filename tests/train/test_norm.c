/* BatchNorm in training: what its running statistics are made of. */
#include "runs.h"
#include "train/net.h"
#include "train/trainer.h"

/* in [n] -> norm -> fc [2] -> softmax */
static pq_graph *normed(size_t features)
{
    pq_graph *g = NULL;
    char      text[32];

    (void)snprintf(text, sizeof text, "input shape=%zu", features);
    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of(text), NULL);
    add_norm(g, "norm", features);
    add_dense(g, "fc", features, 5);
    add(g, "softmax", layer_of("softmax"), NULL);
    pq_graph_init_weights(g, PQ_INIT_HE, 3);
    OK(pq_graph_check(g, err));
    return g;
}

static float *statistic(pq_graph *g, const char *name)
{
    return pq_f32(pq_layer_weight(g->nodes[1].layer, name)->value);
}

/* One epoch over `events` events of 16 features. */
static pq_graph *train_on(const char *name, size_t events, const char *batch, pq_err *err)
{
    run       r = {0};
    pq_graph *g;

    start(&r, name, events);
    pq_graph_free(&r.graph);
    r.graph              = normed(16);
    r.params.epochs      = 1;
    r.params.validation  = 0.0;
    r.params.standardize = false;
    OK(pq_params_set(pq_train_param_table, &r.params, "batch", batch, err));
    if (train(&r, err) != PQ_OK) {
        pq_graph_free(&r.graph);
    }
    g       = r.graph;
    r.graph = NULL;
    finish_run(&r);
    return g;
}

Test(norm, a_last_batch_of_one_event_is_left_out_of_the_running_statistics)
{
    pq_err    e     = {0};
    pq_graph *whole = train_on("n256.h5", 257, "257", &e);
    pq_graph *cut   = train_on("n257.h5", 257, "256", &e);

    cr_assert_not_null(whole, "%s", e.message);
    cr_assert_not_null(cut, "%s", e.message);
    for (size_t j = 0; j < 16; j++) { /* one step of 0.1 from 1, of 256 events or 257 */
        cr_expect_float_eq(statistic(cut, "variance")[j], statistic(whole, "variance")[j],
                           0.01, "%zu: %g, with one event more %g", j,
                           (double)statistic(cut, "variance")[j],
                           (double)statistic(whole, "variance")[j]);
    }
    pq_graph_free(&whole);
    pq_graph_free(&cut);
}

Test(norm, batches_of_one_event_are_refused)
{
    pq_err e = {0};

    cr_assert_null(train_on("one.h5", 50, "1", &e));
    cr_expect_str_eq(e.message,
                     "layer 'norm': batches of one event have no variance for BatchNorm; "
                     "batch must be at least 2, and so must be the training events");
}

enum { FEATURES = 4, EVENTS = 1000 };

/* Means far from 0, one of them of a few rows only, and a constant. */
static const double centre[FEATURES] = {3000.0, -1e6, 0.0, 100.001};
static const double spread[FEATURES] = {1.0, 8.0, 1e-3, 0.0};

static void fill(void *context, size_t first, size_t rows, float *x)
{
    memcpy(x, (const float *)context + first * FEATURES, rows * FEATURES * sizeof *x);
}

static void no_pull(void *context, const pq_net_call *c)
{
    (void)context;
    memset(pq_net_gradient(c, c->net->logits), 0, c->rows * 5 * sizeof(float));
}

Test(norm, the_variance_is_that_of_two_passes_in_double_however_far_the_mean)
{
    float    *x    = pq_calloc(EVENTS * FEATURES, sizeof *x);
    pq_graph *g    = normed(FEATURES);
    pq_pool  *pool = NULL;
    pq_net   *net  = NULL;
    pq_rng    rng  = pq_rng_stream(8, "far");

    for (size_t i = 0; i < EVENTS * FEATURES; i++) {
        x[i] = (float)(centre[i % FEATURES] + spread[i % FEATURES] * pq_rng_normal(&rng));
    }
    OK(pq_pool_create(2, &pool, err));
    OK(pq_net_create(
        g,
        &(pq_net_options){
            .batch = EVENTS, .training = true, .norm_momentum = 1.0, .pool = pool},
        &net, err));
    pq_net_train(net, &(pq_net_batch){EVENTS, 1, fill, no_pull, x, NULL});
    pq_net_store(net, net->flat, g);
    for (size_t j = 0; j < FEATURES; j++) {
        double mean = 0.0, square = 0.0;
        for (size_t i = 0; i < EVENTS; i++) {
            mean += (double)x[i * FEATURES + j] / EVENTS;
        }
        for (size_t i = 0; i < EVENTS; i++) {
            const double d = (double)x[i * FEATURES + j] - mean;
            square += d * d / (EVENTS - 1);
        }
        cr_expect_float_eq((double)statistic(g, "mean")[j], mean,
                           1e-7 * fabs(mean) + 1e-9, "%zu: mean %.9g, not %.9g", j,
                           (double)statistic(g, "mean")[j], mean);
        cr_expect_float_eq((double)statistic(g, "variance")[j], square,
                           1e-5 * square + 1e-12, "%zu: variance %.9g, not %.9g", j,
                           (double)statistic(g, "variance")[j], square);
    }
    pq_net_free(&net);
    pq_pool_free(&pool);
    pq_graph_free(&g);
    pq_free(x);
}
