/* Whole runs: they learn, do not depend on threads, stop and go on as promised. */
#include "core/file.h"
#include "support.h"

typedef struct {
    pq_dataset      *data;
    pq_graph        *graph;
    pq_train_params  params;
    const char      *checkpoint;
    size_t           threads, stop_after, epochs_seen;
    pq_train_summary summary;
} run;

static pq_graph *tagger(uint64_t seed)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=16"), NULL);
    add_dense(g, "fc1", 16, 32);
    add_norm(g, "norm", 32);
    add(g, "relu", layer_of("relu"), NULL);
    add(g, "drop", layer_of("dropout rate=0.1"), NULL);
    add_dense(g, "fc2", 32, 5);
    add(g, "softmax", layer_of("softmax"), NULL);
    pq_graph_init_weights(g, PQ_INIT_HE, seed);
    OK(pq_graph_check(g, err));
    return g;
}

static void start(run *r, const char *name, size_t events)
{
    write_dataset(temporary(name), PQ_SHAPE(16), 5, events, 1);
    OK(pq_dataset_open(temporary(name), NULL, &r->data, err));
    (void)unlink(temporary(name));
    OK(pq_params_default(pq_train_param_table, &r->params, err));
    r->graph         = tagger(3);
    r->threads       = 2;
    r->params.epochs = 5;
    r->params.lr     = 0.01;
}

static pq_status train(run *r, pq_err *err)
{
    const pq_train_data    data    = {r->data, 0, SIZE_MAX};
    const pq_train_options options = {.threads = r->threads, .checkpoint = r->checkpoint};

    return pq_train(r->graph, &data, &r->params, &options, &r->summary, err);
}

static void finish_run(run *r)
{
    pq_train_summary_free(&r->summary);
    pq_graph_free(&r->graph);
    pq_dataset_close(&r->data);
    pq_params_free(pq_train_param_table, &r->params);
}

static void weights_hash(const pq_graph *g, char out[65])
{
    OK(pq_graph_hash(g, out, err));
}

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

static void stop_late(void *context, const pq_train_epoch *e)
{
    run *r = context;

    if (e->epoch == r->stop_after) {
        _exit(9); /* as a kill would: nothing is tidied up */
    }
}

/* Trains in a child that dies after some epochs, then goes on from its checkpoint. */
static void train_killed(run *r, size_t after)
{
    const pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        const pq_train_data    data    = {r->data, 0, SIZE_MAX};
        const pq_train_options options = {.threads    = r->threads,
                                          .checkpoint = r->checkpoint,
                                          .epoch_done = stop_late,
                                          .context    = r};
        r->stop_after                  = after;
        (void)pq_train(r->graph, &data, &r->params, &options, &r->summary, NULL);
        _exit(1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 9, "the child was not killed");
}

Test(train, goes_on_after_a_kill_bit_for_bit)
{
    for (int o = PQ_OPTIMIZER_SGD; o <= PQ_OPTIMIZER_ADAM; o++) {
        run  whole = {0}, cut = {0};
        char a[65], b[65], path[256];

        (void)snprintf(path, sizeof path, "%s", temporary("state"));
        start(&whole, "whole.h5", 1000);
        start(&cut, "whole.h5", 1000);
        whole.params.optimizer = cut.params.optimizer = o;
        whole.params.ema = cut.params.ema = 0.9;
        OK(train(&whole, err));
        cut.checkpoint = path;
        train_killed(&cut, 2);
        cr_assert(pq_file_exists(path));
        OK(train(&cut, err));
        cr_expect(cut.summary.resumed);
        cr_expect_eq(cut.summary.n_epochs, 5);
        weights_hash(whole.graph, a);
        weights_hash(cut.graph, b);
        cr_expect_str_eq(a, b);
        cr_expect_eq(cut.summary.history[4].validation_loss,
                     whole.summary.history[4].validation_loss);
        (void)unlink(path);
        finish_run(&whole);
        finish_run(&cut);
    }
}

Test(train, refuses_a_checkpoint_of_another_run_or_a_damaged_one)
{
    run    r = {0};
    pq_err e = {0};
    char   path[256], *bytes;
    size_t n = 0;

    (void)snprintf(path, sizeof path, "%s", temporary("other"));
    start(&r, "other.h5", 500);
    r.params.epochs = 1;
    r.checkpoint    = path;
    OK(train(&r, err));
    r.params.lr = 0.5;
    cr_expect_eq(train(&r, &e), PQ_ERR_FORMAT);
    cr_expect(strstr(e.message, "other options") != NULL, "%s", e.message);
    OK(pq_file_read(path, 1 << 24, &bytes, &n, err));
    bytes[n / 2] ^= 1;
    OK(pq_file_write(path, bytes, n, err));
    e = (pq_err){0};
    cr_expect_eq(train(&r, &e), PQ_ERR_FORMAT);
    cr_expect(strstr(e.message, "damaged") != NULL, "%s", e.message);
    OK(pq_file_write(path, bytes, 20, err));
    e = (pq_err){0};
    cr_expect_eq(train(&r, &e), PQ_ERR_FORMAT);
    cr_expect(strstr(e.message, "not a checkpoint") != NULL, "%s", e.message);
    pq_free(bytes);
    (void)unlink(path);
    finish_run(&r);
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
    pruned->pruned = true;
    for (size_t i = 0; i < pruned->value->count; i++) {
        pq_f32(pruned->value)[i] = i % 3 == 0 ? 0.0F : pq_f32(pruned->value)[i];
    }
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
    const pq_train_data    data    = {r.data, 0, SIZE_MAX};
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
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "after %zu: %s", n, e.message);
        if (st == PQ_OK) {
            pq_train_summary_free(&r.summary);
        } else if (r.graph->class_names == NULL) {
            cr_assert_eq(pq_memory_live(), before, "after %zu", n);
        }
    }
    finish_run(&r);
    cr_expect_eq(pq_memory_live(), live);
}

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

#if !defined(__SANITIZE_ADDRESS__)
Test(train, states_its_memory_within_a_tenth_of_what_the_process_grows_by)
{
    run    r     = {0};
    size_t after = 0, before, grown;

    write_dataset(temporary("wide.h5"), PQ_SHAPE(28, 28, 1), 5, 20000, 1);
    OK(pq_dataset_open(temporary("wide.h5"), NULL, &r.data, err));
    (void)unlink(temporary("wide.h5"));
    OK(pq_params_default(pq_train_param_table, &r.params, err));
    OK(pq_graph_create(&r.graph, err));
    add(r.graph, "in", layer_of("input shape=28,28,1"), NULL);
    add_conv(r.graph, "conv", "conv2d padding=same", PQ_SHAPE(8, 3, 3, 1));
    add_norm(r.graph, "norm", 8);
    add(r.graph, "relu", layer_of("relu"), NULL);
    add(r.graph, "pool", layer_of("global_avg_pool"), NULL);
    add_dense(r.graph, "fc", 8, 5);
    finish(r.graph, 1);
    r.params.epochs                = 1;
    const pq_train_data    data    = {r.data, 0, SIZE_MAX};
    const pq_train_options options = {
        .threads = 2, .epoch_done = note_resident, .context = &after};
    before = resident_bytes();
    OK(pq_train(r.graph, &data, &r.params, &options, &r.summary, err));
    grown = after - before;
    cr_expect(fabs((double)r.summary.peak_bytes - (double)grown) < 0.1 * (double)grown,
              "stated %zu, grown by %zu", r.summary.peak_bytes, grown);
    finish_run(&r);
}
#endif

/* Takes most events of class 0 away, so that it is rare. */
static void make_rare(const char *path, size_t events)
{
    pq_h5            *in = NULL, *out = NULL;
    pq_tensor        *x = NULL, *y = NULL;
    size_t            kept    = 0;
    const char *const names[] = {"a", "b", "c", "d", "e"};

    write_dataset(path, PQ_SHAPE(16), 5, events, 1);
    OK(pq_h5_open(path, &in, err));
    OK(pq_h5_read(in, "train/x", PQ_DTYPE_F32, 1 << 26, &x, err));
    OK(pq_h5_read(in, "train/y", PQ_DTYPE_I32, 1 << 26, &y, err));
    pq_h5_close(&in);
    for (size_t i = 0; i < events; i++) {
        const int32_t c = ((int32_t *)y->data)[i];
        if (c != 0 || i % 40 == 0) {
            memmove(pq_f32(x) + 16 * kept, pq_f32(x) + 16 * i, 16 * sizeof(float));
            for (size_t k = 0; k < 16; k++) {
                pq_f32(x)[16 * kept + k] *= 0.5F;
            }
            ((int32_t *)y->data)[kept++] = c;
        }
    }
    x->shape.dim[0] = y->shape.dim[0] = kept;
    x->count                          = 16 * kept;
    y->count                          = kept;
    OK(pq_h5_create(path, &out, err));
    OK(pq_h5_set_text(out, "/", "format", "pquant-dataset", err));
    OK(pq_h5_set_texts(out, "/", "class_names", names, 5, err));
    OK(pq_h5_write(out, "train/x", x, 0, err));
    OK(pq_h5_write(out, "train/y", y, 0, err));
    OK(pq_h5_commit(&out, err));
    pq_tensor_free(&x);
    pq_tensor_free(&y);
}

Test(train, preserves_rare_classes_when_asked_to)
{
    double recall[2] = {0.0, 0.0};

    for (int keep = 0; keep < 2; keep++) {
        run r = {0};
        make_rare(temporary("rare.h5"), 4000);
        OK(pq_dataset_open(temporary("rare.h5"), NULL, &r.data, err));
        (void)unlink(temporary("rare.h5"));
        OK(pq_params_default(pq_train_param_table, &r.params, err));
        r.graph                        = tagger(3);
        r.threads                      = 2;
        r.params.epochs                = 4;
        r.params.validation            = 0.5;
        r.params.preserve_rare_classes = keep == 1;
        r.params.min_recall            = 0.9;
        OK(train(&r, err));
        recall[keep] = r.summary.history[r.summary.best - 1].lowest_recall;
        finish_run(&r);
    }
    cr_expect_gt(recall[1], recall[0], "%g without, %g with", recall[0], recall[1]);
}
