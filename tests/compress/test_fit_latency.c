/* The search of `fit_latency`, by a clock that counts. */
#include "../train/support.h"
#include "compress/method.h"
#include "compress/wiring.h"
#include "lab/bench.h"

static pq_graph *make(void)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=[16]"), NULL);
    add_dense(g, "fc1", 16, 64);
    add(g, "relu1", layer_of("relu"), NULL);
    add_dense(g, "fc2", 64, 32);
    add(g, "relu2", layer_of("relu"), NULL);
    add_dense(g, "fc3", 32, 5);
    add(g, "softmax", layer_of("softmax"), NULL);
    pq_graph_init_weights(g, PQ_INIT_HE, 2);
    OK(pq_graph_check(g, err));
    return g;
}

static double macs(const pq_graph *g)
{
    double n = 0.0;

    for (size_t i = 0; i < g->n_nodes; i++) {
        n += (double)pq_node_macs(g, i);
    }
    return n;
}

/* What the clock was asked, and how it answers. */
typedef struct {
    size_t calls;
    size_t slow_call; /* from 1 on: this answer is twice as long; 0 = none */
    double per_bit;   /* of the time that goes with each bit below 8 */
    bool   logits;
} clock_of;

static clock_of now;

static pq_status count(void *context, const pq_graph *graph, bool logits, double *seconds,
                       pq_err *err)
{
    const pq_weight *w = pq_layer_weight(graph->nodes[1].layer, "kernel");

    (void)context, (void)err;
    now.logits = logits;
    *seconds   = 1e-9 * macs(graph) * (1.0 - now.per_bit * (8.0 - w->quant->bits));
    *seconds *= ++now.calls == now.slow_call ? 2.0 : 1.0;
    return PQ_OK;
}

/* Events whose features have names. */
static pq_dataset *events(void)
{
    pq_dataset *d = NULL;
    pq_tensor  *x = NULL, *y = NULL;
    const char *path = temporary("trigger.h5");

    write_dataset(path, PQ_SHAPE(16), 5, 400, 1);
    load_events(path, &x, &y);
    save_events(path, x, y, 5, 16);
    OK(pq_dataset_open(path, NULL, &d, err));
    (void)unlink(path);
    pq_tensor_free(&x);
    pq_tensor_free(&y);
    return d;
}

static pq_status run_on(pq_graph *g, const char *text, pq_graph **out, pq_err *why)
{
    pq_dataset         *d     = events();
    pq_stage            stage = {0};
    pq_layer_change    *made  = NULL;
    size_t              n     = 0;
    pq_compress_options how   = {.dataset = d, .calib_events = 64};
    pq_bench            bench;
    const pq_training   t = {
          .dataset = d, .validation = SIZE_MAX, .threads = 1, .teacher = g};
    const pq_dataset_info *info    = pq_dataset_describe(d);
    const pq_apply_options options = {.training   = &t,
                                      .bench      = &bench,
                                      .n_features = 16,
                                      .features   = info->feature_names,
                                      .seed       = 5};

    OK(pq_bench_of(&how, &bench, err));
    bench.call = count;
    now.calls  = 0;
    OK(pq_stage_parse(text, &stage, err));
    const pq_status st = pq_stage_apply(&stage, g, &options, out, &made, &n, why);
    pq_stage_free(&stage);
    pq_free(made);
    pq_graph_free(&g);
    pq_dataset_close(&d);
    return st;
}

static pq_status run(const char *text, pq_graph **out, pq_err *why)
{
    return run_on(make(), text, out, why);
}

#define SHORT ",epochs=1,rounded_epochs=1"

Test(fit_latency, the_first_width_below_the_target_less_the_margin_is_trained)
{
    pq_graph *g = NULL, *whole = make();
    pq_err    why = {0};

    now = (clock_of){0}; /* 3,232 multiplications are 3,232 ns */
    cr_assert_eq(
        run("fit_latency:target_latency=1700ns,target_sparsity=0.5" SHORT, &g, &why),
        PQ_OK, "%s", why.message);
    cr_expect_leq(macs(g), 0.9 * 1700.0);
    cr_expect_gt(macs(g), 0.5 * 0.9 * 1700.0); /* no narrower than it had to be */
    cr_expect(now.logits);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const pq_weight *w = pq_node_kernel(&g->nodes[i]);
        cr_expect(w == NULL || (w->quant != NULL && w->quant->bits == 6));
    }
    cr_expect_eq(g->nodes[g->output].shape.dim[0], 5);
    pq_graph_free(&g);
    pq_graph_free(&whole);
}

Test(fit_latency, fewer_bits_come_before_fewer_neurons_where_they_are_faster)
{
    pq_graph *g   = NULL;
    pq_err    why = {0};

    now = (clock_of){.per_bit = 0.1};
    cr_assert_eq(
        run("fit_latency:target_latency=1150ns,margin=0,target_sparsity=0.5" SHORT, &g,
            &why),
        PQ_OK, "%s", why.message);
    cr_expect_lt(pq_layer_weight(g->nodes[1].layer, "kernel")->quant->bits, 6);
    cr_expect_gt(macs(g), 0.45 * 3232.0);
    pq_graph_free(&g);
}

Test(fit_latency, one_that_is_too_slow_once_trained_is_followed_by_the_next)
{
    pq_graph *first = NULL, *next = NULL;
    pq_err    why = {0};

    now = (clock_of){0};
    OK(run("fit_latency:target_latency=1700ns,target_sparsity=0.6" SHORT, &first, &why));
    cr_expect_eq(now.calls, 2); /* untrained, trained */
    now = (clock_of){.slow_call = 2};
    OK(run("fit_latency:target_latency=1700ns,target_sparsity=0.6" SHORT, &next, &why));
    cr_expect_eq(macs(next), macs(first));
    cr_expect_eq(pq_layer_weight(next->nodes[1].layer, "kernel")->quant->bits, 5);
    pq_graph_free(&first);
    pq_graph_free(&next);
}

Test(fit_latency, a_target_out_of_reach_is_refused_with_the_fastest_time)
{
    pq_graph *g   = NULL;
    pq_err    why = {0};

    now = (clock_of){0};
    cr_expect_eq(run("fit_latency:target_latency=2ns" SHORT, &g, &why), PQ_ERR_RANGE);
    cr_expect_null(g);
    cr_expect(strstr(why.message, "target_latency 2 ns is out of reach: of ") != NULL &&
                  strstr(why.message, "the fastest took ") != NULL &&
                  strstr(why.message, "every layer must keep one") != NULL,
              "%s", why.message);
}

/* One dense layer: no neuron is not an output. */
Test(fit_latency, a_network_that_cannot_be_cut_is_timed_once_a_width)
{
    pq_graph *linear = NULL, *g = NULL;
    pq_err    why = {0};

    OK(pq_graph_create(&linear, err));
    add(linear, "in", layer_of("input shape=[16]"), NULL);
    add_dense(linear, "fc", 16, 5);
    add(linear, "softmax", layer_of("softmax"), NULL);
    pq_graph_init_weights(linear, PQ_INIT_HE, 2);
    OK(pq_graph_check(linear, err));
    now = (clock_of){.per_bit = 0.1};
    cr_expect_eq(run_on(linear, "fit_latency:target_latency=2ns" SHORT, &g, &why),
                 PQ_ERR_RANGE);
    cr_expect_eq(now.calls, 3); /* 6, 5 and 4 bits */
    cr_expect(strstr(why.message, "of 3 candidates the fastest took 48 ns") != NULL, "%s",
              why.message);
}

Test(fit_latency, inputs_that_nobody_reads_leave_by_the_names_of_the_events)
{
    pq_graph *whole = make(), *g = NULL;
    float    *w   = pq_f32(pq_layer_weight(whole->nodes[1].layer, "kernel")->value);
    pq_err    why = {0};

    for (size_t o = 0; o < 64; o++) {
        w[o * 16 + 3] = 0.0F;
    }
    now = (clock_of){0};
    cr_assert_eq(run_on(whole,
                        "fit_latency:target_latency=1700ns,target_sparsity=0.5" SHORT, &g,
                        &why),
                 PQ_OK, "%s", why.message);
    cr_assert_eq(g->n_features, 15);
    cr_expect_str_eq(g->feature_names[3], "x4");
    pq_graph_free(&g);
}
