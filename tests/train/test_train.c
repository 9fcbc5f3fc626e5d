/* Whole runs: they learn, do not depend on threads, stop and go on as promised. */
#include "runs.h"
#include "train/trainer.h"

Test(train, learns_to_tell_classes_apart)
{
    run r = {0};

    start(&r, "learn.h5", 4000);
    r.params.epochs = 15;
    OK(train(&r, err));
    cr_expect_eq(r.summary.n_epochs, 15);
    cr_expect_eq(r.summary.validation_events, 400);
    cr_expect_gt(r.summary.history[r.summary.best - 1].accuracy, 0.95);
    cr_expect_lt(r.summary.history[14].train_loss, r.summary.history[0].train_loss / 2.0);
    cr_expect_str_eq(r.graph->class_names[4], "e");
    finish_run(&r);
}

Test(train, gives_the_same_bits_for_any_number_of_threads)
{
    char first[65], other[65];

    for (size_t threads = 1; threads <= 4; threads++) {
        run r = {0};
        start(&r, "threads.h5", 1000);
        r.threads      = threads;
        r.params.batch = 300;
        OK(train(&r, err));
        weights_hash(r.graph, threads == 1 ? first : other);
        if (threads > 1) {
            cr_expect_str_eq(first, other, "%zu threads", threads);
        }
        finish_run(&r);
    }
}

Test(train, memorises_a_few_events_with_every_optimizer)
{
    for (int o = PQ_OPTIMIZER_SGD; o <= PQ_OPTIMIZER_ADAMW; o++) {
        run r = {0};
        start(&r, "few.h5", 32);
        r.params.optimizer  = o;
        r.params.epochs     = 200;
        r.params.validation = 0.0;
        r.params.lr         = o == PQ_OPTIMIZER_SGD ? 0.1 : 0.02;
        OK(train(&r, err));
        cr_expect_lt(r.summary.history[199].train_loss, 0.05, "optimizer %d: %g", o,
                     r.summary.history[199].train_loss);
        finish_run(&r);
    }
}

Test(train, stops_at_a_loss_that_is_no_number_and_says_where)
{
    run    r = {0};
    pq_err e = {0};

    start(&r, "nan.h5", 1000);
    r.params.optimizer    = PQ_OPTIMIZER_SGD;
    r.params.lr           = 100.0;
    r.params.momentum     = 0.999;
    r.params.epochs       = 200;
    r.params.weight_decay = 10.0;
    cr_expect_eq(train(&r, &e), PQ_ERR_NUMERIC);
    cr_expect(strstr(e.message, "epoch ") != NULL &&
                  strstr(e.message, "batch ") != NULL &&
                  strstr(e.message, "layer '") != NULL,
              "%s", e.message);
    OK(pq_graph_check(r.graph, err)); /* the last good weights are finite */
    finish_run(&r);
}

/* A trainer whose weights the test changes. */
static void expect_no_number(run *r, float bad, const char *node, const char *message)
{
    static const pq_train_options options = {.threads = 2};
    const pq_train_data           data    = {.dataset = r->data, .validation = SIZE_MAX};
    pq_trainer     t     = {.graph = r->graph, .params = &r->params, .options = &options};
    pq_train_epoch epoch = {.epoch = 3};
    pq_err         e     = {0};

    OK(pq_trainer_create(&t, &data, err));
    for (size_t i = 0; i < t.net->n_weights; i++) {
        const pq_net_weight *w = &t.net->weights[i];
        for (size_t k = 0; k < w->count; k++) {
            if (strcmp(r->graph->nodes[w->node].name, node) == 0) {
                t.net->flat[w->offset + k] = bad;
            }
        }
    }
    cr_expect_eq(pq_trainer_validate(&t, t.net->flat, &epoch, &e), PQ_ERR_NUMERIC);
    cr_expect_str_eq(e.message, message);
    pq_trainer_free(&t);
}

Test(train, a_validation_that_is_no_number_is_refused_with_its_layer)
{
    run r = {0};

    start(&r, "blame.h5", 500);
    expect_no_number(&r, 3e38F, "fc2",
                     "epoch 3: the validation loss is not finite, first in layer 'fc2'");
    expect_no_number(&r, 3e38F, "fc1",
                     "epoch 3: the validation loss is not finite, first in layer 'fc1'");
    expect_no_number(&r, NAN, "norm",
                     "epoch 3: a weight is not finite, first in layer 'norm'");
    finish_run(&r);
}

/* The step of the last batch overflows: no loss and no gradient saw it. */
Test(train, an_epoch_that_ends_in_infinite_weights_is_never_the_best)
{
    for (int validated = 0; validated < 2; validated++) {
        run    r = {0};
        pq_err e = {0};
        start(&r, "last.h5", 100);
        r.params.batch       = 100;
        r.params.optimizer   = PQ_OPTIMIZER_SGD;
        r.params.lr          = 1e-3;
        r.params.epochs      = 3;
        r.params.validation  = validated == 1 ? 0.2 : 0.0;
        r.params.standardize = false;
        OK(train(&r, err));
        pq_train_summary_free(&r.summary);
        r.params.lr           = 100.0;
        r.params.weight_decay = 10.0;
        r.params.momentum     = 0.0;
        r.params.epochs       = 200;
        cr_expect_eq(train(&r, &e), PQ_ERR_NUMERIC);
        cr_expect(strstr(e.message, "is not finite, first in layer '") != NULL, "%s",
                  e.message);
        cr_expect_eq(r.summary.n_epochs == 0, r.summary.best == 0);
        OK(pq_graph_check(r.graph, err));
        finish_run(&r);
    }
}

Test(train, no_epochs_leave_the_graph_as_it_is)
{
    run  r = {0};
    char before[65], after[65];

    start(&r, "none.h5", 500);
    weights_hash(r.graph, before);
    r.params.epochs = 0;
    OK(train(&r, err));
    weights_hash(r.graph, after);
    cr_expect_str_eq(before, after);
    cr_expect_eq(r.summary.n_epochs, 0);
    cr_expect_eq(r.summary.best, 0);
    finish_run(&r);
}

static size_t zeros_of(const pq_graph *g, const char *node)
{
    const pq_weight *w =
        pq_layer_weight(g->nodes[pq_graph_find(g, node)].layer, "kernel");
    size_t n = 0;

    for (size_t i = 0; i < w->value->count; i++) {
        n += pq_f32(w->value)[i] == 0.0F ? 1 : 0;
    }
    return n;
}

Test(train, pruned_weights_stay_zero_and_frozen_layers_stay_as_they_are)
{
    run        r = {0};
    pq_weight *pruned, *frozen;
    float      before[5 * 32];

    start(&r, "pruned.h5", 1000);
    pruned =
        pq_layer_weight(r.graph->nodes[pq_graph_find(r.graph, "fc1")].layer, "kernel");
    frozen =
        pq_layer_weight(r.graph->nodes[pq_graph_find(r.graph, "fc2")].layer, "kernel");
    for (size_t i = 0; i < pruned->value->count; i++) {
        pq_f32(pruned->value)[i] = i % 3 == 0 ? 0.0F : pq_f32(pruned->value)[i];
    }
    OK(pq_weight_prune_zeros(pruned, err));
    memcpy(before, pq_f32(frozen->value), sizeof before);
    OK(pq_params_set(pq_train_param_table, &r.params, "freeze", "fc2", err));
    r.params.optimizer    = PQ_OPTIMIZER_ADAMW;
    r.params.weight_decay = 0.1;
    r.params.l1           = 0.001;
    OK(train(&r, err));
    cr_expect_eq(zeros_of(r.graph, "fc1"), (16 * 32 + 2) / 3);
    cr_expect_eq(memcmp(before, pq_f32(frozen->value), sizeof before), 0);
    finish_run(&r);
}

Test(train, quantized_weights_end_on_their_grid_and_still_learn)
{
    run        r = {0};
    pq_weight *w;
    size_t     node;

    start(&r, "grid.h5", 2000);
    r.params.epochs = 15;
    node            = pq_graph_find(r.graph, "fc1");
    w               = pq_layer_weight(r.graph->nodes[node].layer, "kernel");
    OK(pq_quant_create(PQ_QUANT_INTEGER, 4, true, true, PQ_QUANT_PER_TENSOR, 1, &w->quant,
                       err));
    (void)pq_quant_set_range(w->quant, 0, -1.0, 1.0, true);
    OK(pq_quant_create(PQ_QUANT_INTEGER, 6, false, false, PQ_QUANT_PER_TENSOR, 1,
                       &r.graph->nodes[pq_graph_find(r.graph, "relu")].quant, err));
    (void)pq_quant_set_range(r.graph->nodes[pq_graph_find(r.graph, "relu")].quant, 0, 0.0,
                             4.0, false);
    OK(train(&r, err));
    for (size_t i = 0; i < w->value->count; i++) {
        const float x = pq_f32(w->value)[i];
        cr_assert_float_eq((double)pq_quant_round(w->quant, 0, x), (double)x, 0.0);
    }
    cr_expect_gt(r.summary.history[r.summary.best - 1].accuracy, 0.9);
    finish_run(&r);
}

Test(train, distils_towards_a_teacher_without_touching_it)
{
    run  r = {0}, t = {0};
    char before[65], after[65];

    start(&t, "teacher.h5", 2000);
    t.params.epochs = 10;
    OK(train(&t, err));
    weights_hash(t.graph, before);
    start(&r, "teacher.h5", 2000);
    pq_graph_free(&r.graph);
    r.graph            = tagger(99);
    r.params.alpha     = 1.0; /* no labels: all it learns comes from the teacher */
    r.params.layer_mse = 0.1;
    r.params.epochs    = 10;
    const pq_train_data    data    = {.dataset = r.data, .validation = SIZE_MAX};
    const pq_train_options options = {.threads = 2, .teacher = t.graph};
    OK(pq_train(r.graph, &data, &r.params, &options, &r.summary, err));
    cr_expect_gt(r.summary.history[9].accuracy, 0.95);
    weights_hash(t.graph, after);
    cr_expect_str_eq(before, after);
    finish_run(&r);
    finish_run(&t);
}

Test(train, stops_early_and_ends_with_the_best_epoch)
{
    run r = {0};

    start(&r, "early.h5", 600);
    r.params.epochs         = 300;
    r.params.early_stopping = 5;
    OK(train(&r, err));
    cr_expect(r.summary.stopped_early);
    cr_expect_eq(r.summary.n_epochs, r.summary.best + 5);
    for (size_t i = 0; i < r.summary.n_epochs; i++) {
        cr_expect_geq(r.summary.history[i].validation_loss,
                      r.summary.history[r.summary.best - 1].validation_loss);
    }
    finish_run(&r);
}

Test(train, refuses_what_does_not_fit)
{
    run       r = {0};
    pq_err    e = {0};
    pq_graph *g = NULL;

    start(&r, "unfit.h5", 100);
    OK(pq_params_set(pq_train_param_table, &r.params, "freeze", "nothing*", err));
    cr_expect_eq(train(&r, &e), PQ_ERR_CONFIG);
    cr_expect(strstr(e.message, "no layer matches 'nothing*'") != NULL, "%s", e.message);
    e = (pq_err){0};
    OK(pq_params_set(pq_train_param_table, &r.params, "freeze", "*", err));
    cr_expect_eq(train(&r, &e), PQ_ERR_CONFIG);
    cr_expect(strstr(e.message, "nothing to train") != NULL, "%s", e.message);
    e = (pq_err){0};
    OK(pq_params_set(pq_train_param_table, &r.params, "freeze", "none", err));
    r.params.augment_flip = true;
    cr_expect_eq(train(&r, &e), PQ_ERR_CONFIG);
    cr_expect(strstr(e.message, "need images") != NULL, "%s", e.message);
    r.params.augment_flip = false;
    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=16"), NULL);
    add_dense(g, "fc", 16, 4);
    pq_graph_free(&r.graph);
    r.graph = g;
    e       = (pq_err){0};
    cr_expect_eq(train(&r, &e), PQ_ERR_SHAPE);
    cr_expect(strstr(e.message, "4 outputs") != NULL, "%s", e.message);
    cr_expect_eq(pq_params_set(pq_train_param_table, &r.params, "epoch", "3", &e),
                 PQ_ERR_CONFIG);
    finish_run(&r);
}

Test(train, leaves_nothing_behind_when_memory_runs_out)
{
    run          r    = {0};
    const size_t live = pq_memory_live();

    start(&r, "memory.h5", 200);
    r.params.epochs = 1;
    for (size_t n = 0; n < 400; n += 7) {
        pq_err       e      = {0};
        const size_t before = pq_memory_live();
        pq_memory_fail_after(n);
        const pq_status st = train(&r, &e);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM ||
                      (st == PQ_ERR_CONFIG &&
                       strstr(e.message, " do not fit into memory") != NULL),
                  "after %zu: %s", n, e.message);
        if (st == PQ_OK) {
            pq_train_summary_free(&r.summary);
        } else if (r.graph->class_names == NULL) {
            cr_assert_eq(pq_memory_live(), before, "after %zu", n);
        }
    }
    finish_run(&r);
    cr_expect_eq(pq_memory_live(), live);
}

#if !defined(__SANITIZE_ADDRESS__)
static size_t resident_bytes(void)
{
    FILE  *f   = fopen("/proc/self/statm", "r");
    size_t all = 0, here = 0;

    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%zu %zu", &all, &here), 2);
    (void)fclose(f);
    return here * (size_t)sysconf(_SC_PAGESIZE);
}

static void note_resident(void *context, const pq_train_epoch *e)
{
    (void)e;
    *(size_t *)context = resident_bytes();
}

static void measure(run *r, const pq_graph *teacher)
{
    size_t                 after   = 0, before, grown;
    const pq_train_data    data    = {.dataset = r->data, .validation = SIZE_MAX};
    const pq_train_options options = {
        .threads = 2, .teacher = teacher, .epoch_done = note_resident, .context = &after};

    before = resident_bytes();
    OK(pq_train(r->graph, &data, &r->params, &options, &r->summary, err));
    grown = after - before;
    cr_expect(fabs((double)r->summary.peak_bytes - (double)grown) < 0.1 * (double)grown,
              "stated %zu, grown by %zu", r->summary.peak_bytes, grown);
}

static void start_wide(run *r, size_t events)
{
    r->data = blobs(PQ_SHAPE(28, 28, 1), 5, events);
    OK(pq_params_default(pq_train_param_table, &r->params, err));
    r->params.epochs = 1;
    OK(pq_graph_create(&r->graph, err));
    add(r->graph, "in", layer_of("input shape=28,28,1"), NULL);
}

Test(train, states_its_memory_within_a_tenth_of_what_the_process_grows_by)
{
    run r = {0};

    start_wide(&r, 20000);
    add_conv(r.graph, "conv", "conv2d padding=same", PQ_SHAPE(8, 3, 3, 1));
    add_norm(r.graph, "norm", 8);
    add(r.graph, "relu", layer_of("relu"), NULL);
    add(r.graph, "pool", layer_of("global_avg_pool"), NULL);
    add_dense(r.graph, "fc", 8, 5);
    finish(r.graph, 1);
    measure(&r, NULL);
    finish_run(&r);
}

/* The network of Fashion-MNIST, where the arrays of the optimiser weigh most. */
Test(train, states_its_memory_with_average_and_teacher_too)
{
    run       r       = {0};
    pq_graph *teacher = NULL;

    start_wide(&r, 4000);
    add(r.graph, "flat", layer_of("flatten"), NULL);
    add_dense(r.graph, "fc1", 784, 512);
    add(r.graph, "relu1", layer_of("relu"), NULL);
    add_dense(r.graph, "fc2", 512, 256);
    add(r.graph, "relu2", layer_of("relu"), NULL);
    add_dense(r.graph, "fc3", 256, 5);
    finish(r.graph, 1);
    OK(pq_graph_clone(r.graph, &teacher, err));
    r.params.batch = 1024;
    r.params.ema   = 0.99;
    measure(&r, teacher);
    pq_graph_free(&teacher);
    finish_run(&r);
}
#endif
