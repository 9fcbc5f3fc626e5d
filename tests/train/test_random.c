/* Random trainings: nets of all kinds of layers and grids, sizes, batches, options. Each
   says what it cannot do, or ends in finite weights that are the same for any number of
   threads. Under sanitizers this is where a step beyond a buffer shows. */
#include <unistd.h>

#include "data/dataset.h"
#include "exec/random_nets.h"
#include "io/hdf5.h"
#include "train/train.h"

enum { NETS = 500, PARTS = 4, CLASSES = 3 };

static void write_events(const char *path, net *t, const pq_shape *sample, size_t n)
{
    static const char *const names[CLASSES] = {"a", "b", "c"};
    pq_shape                 xs             = *sample;
    pq_tensor               *x = NULL, *y = NULL, *w = NULL;
    pq_h5                   *file = NULL;

    memmove(xs.dim + 1, xs.dim, sample->ndim * sizeof *xs.dim);
    xs.dim[0] = n;
    xs.ndim++;
    x = normal_tensor(&t->rng, xs, 1.0);
    w = normal_tensor(&t->rng, PQ_SHAPE(n), 1.0);
    OK(pq_tensor_create(PQ_DTYPE_I32, PQ_SHAPE(n), &y, &err));
    for (size_t i = 0; i < n; i++) {
        ((int32_t *)y->data)[i] = (int32_t)below(t, CLASSES);
        pq_f32(w)[i]            = fabsf(pq_f32(w)[i]);
    }
    OK(pq_h5_create(path, &file, &err));
    OK(pq_h5_set_text(file, "/", "format", "pquant-dataset", &err));
    OK(pq_h5_set_texts(file, "/", "class_names", names, CLASSES, &err));
    OK(pq_h5_write(file, "train/x", x, 0, &err));
    OK(pq_h5_write(file, "train/y", y, 0, &err));
    if (chance(t, 0.5)) {
        OK(pq_h5_write(file, "train/weight", w, 0, &err));
    }
    OK(pq_h5_commit(&file, &err));
    pq_tensor_free(&x);
    pq_tensor_free(&y);
    pq_tensor_free(&w);
}

/* A classifier: what was drawn, and a dense layer behind it. */
static void end_net(net *t)
{
    size_t in = 0;

    if (shape_of(t)->ndim > 1) {
        append(t, make_layer("flatten"));
    }
    cr_assert(pq_shape_count(shape_of(t), &in));
    append(t, affine(&t->rng, make_layer("dense"), PQ_SHAPE(CLASSES, in), true));
    append(t, make_layer(chance(t, 0.7) ? "softmax" : "sigmoid"));
}

/* Every option that changes what is run. */
static void draw_params(net *t, pq_train_params *p)
{
    OK(pq_params_default(pq_train_param_table, p, &err));
    p->epochs          = 1 + (int64_t)below(t, 2);
    p->batch           = 1 + (int64_t)below(t, 80);
    p->validation      = chance(t, 0.3) ? 0.0 : 0.3;
    p->standardize     = chance(t, 0.5);
    p->loss            = (int)below(t, 2);
    p->optimizer       = (int)below(t, 3);
    p->lr              = 1e-3;
    p->nesterov        = chance(t, 0.5);
    p->weight_decay    = chance(t, 0.5) ? 0.01 : 0.0;
    p->l1              = chance(t, 0.2) ? 1e-4 : 0.0;
    p->clip_norm       = chance(t, 0.3) ? 1.0 : 0.0;
    p->schedule        = (int)below(t, 4);
    p->warmup_epochs   = chance(t, 0.3) ? 0.5 : 0.0;
    p->label_smoothing = chance(t, 0.3) ? 0.1 : 0.0;
    p->ema             = chance(t, 0.3) ? 0.9 : 0.0;
    p->sampling        = chance(t, 0.2);
    p->layer_mse       = chance(t, 0.2) ? 0.1 : 0.0;
    p->qat             = (int)below(t, 5);
    p->fold_norm_after = chance(t, 0.2) ? 1 : PQ_UNSET;
    for (size_t i = 0; i + 2 < t->graph->n_nodes && p->freeze == NULL; i++) {
        if (t->graph->nodes[i].layer->n_weights > 0 && chance(t, 0.1)) {
            OK(pq_params_set(pq_train_param_table, p, "freeze", t->graph->nodes[i].name,
                             &err));
        }
    }
    if (chance(t, 0.2)) {
        OK(pq_params_set(pq_train_param_table, p, "min_recall", "0.2", &err));
    }
}

static pq_status train_with(const pq_graph *from, pq_dataset *data,
                            const pq_graph *teacher, const pq_train_params *p,
                            size_t threads, char hash[65], pq_err *why)
{
    pq_graph              *g       = NULL;
    pq_train_summary       summary = {0};
    const pq_train_options options = {.threads = threads, .teacher = teacher};
    pq_status              st;

    OK(pq_graph_clone(from, &g, &err));
    st = pq_train(g, &(pq_train_data){.dataset = data, .validation = SIZE_MAX}, p,
                  &options, &summary, why);
    for (size_t i = 0; st == PQ_OK && i < g->n_nodes; i++) {
        for (size_t k = 0; k < g->nodes[i].layer->n_weights; k++) {
            const pq_tensor *w = g->nodes[i].layer->weights[k].value;
            for (size_t j = 0; j < w->count; j++) {
                cr_assert(isfinite(pq_f32(w)[j]));
            }
        }
    }
    OK(pq_graph_hash(g, hash, &err));
    pq_train_summary_free(&summary);
    pq_graph_free(&g);
    return st;
}

/* What a net may lack is left out: a grid that the rule is for, a layer that the teacher
   has too, an event of each class to watch. */
static void ask_for_less(pq_train_params *p)
{
    p->qat       = 0;
    p->layer_mse = 0.0;
    pq_free(p->min_recall);
    p->min_recall = NULL;
}

/* Trains on one thread and on three, and compares. */
static pq_status try_both(const net *t, pq_dataset *data, const pq_graph *teacher,
                          const pq_train_params *p, uint64_t seed)
{
    char      hash[2][65];
    pq_err    why[2] = {{0}};
    pq_status st[2];

    for (size_t k = 0; k < 2; k++) {
        st[k] = train_with(t->graph, data, teacher, p, k == 0 ? 1 : 3, hash[k], &why[k]);
    }
    cr_expect_eq(st[0], st[1], "net %zu: %s | %s", (size_t)seed, why[0].message,
                 why[1].message);
    cr_expect(st[0] == PQ_OK || st[0] == PQ_ERR_CONFIG, "net %zu: %s", (size_t)seed,
              why[0].message);
    cr_expect_str_eq(hash[0], hash[1], "net %zu depends on threads", (size_t)seed);
    return st[0];
}

/* Whether the training ended well. */
static bool try_one(uint64_t seed)
{
    net             t    = make_net(seed, false);
    pq_graph       *soft = NULL;
    pq_dataset     *data = NULL;
    pq_train_params p    = {0};
    char            path[64];
    pq_status       st;

    end_net(&t);
    draw_params(&t, &p);
    OK(pq_graph_clone(t.graph, &soft, &err));
    (void)snprintf(path, sizeof path, "/tmp/pq_random_%ld.h5", (long)getpid());
    write_events(path, &t, &t.graph->nodes[0].shape, 5 + below(&t, 150));
    OK(pq_dataset_open(path, NULL, &data, &err));
    (void)unlink(path);
    const bool taught = chance(&t, 0.3);
    st                = try_both(&t, data, taught ? soft : NULL, &p, seed);
    if (st == PQ_ERR_CONFIG) {
        ask_for_less(&p);
        st = try_both(&t, data, taught ? soft : NULL, &p, seed);
    }
    pq_dataset_close(&data);
    pq_params_free(pq_train_param_table, &p);
    pq_graph_free(&soft);
    pq_graph_free(&t.graph);
    return st == PQ_OK;
}

/* In four parts, which the test program runs beside each other. */
static void run_part(size_t part)
{
    size_t good = 0;

    for (size_t i = part; i < NETS; i += PARTS) {
        good += try_one(1000 + i) ? 1 : 0;
    }
    cr_expect_geq(good, NETS / PARTS - 5, "only %zu of %d trained", good, NETS / PARTS);
}

Test(random, trainings_end_well_and_alike_for_any_number_of_threads_1)
{
    run_part(0);
}

Test(random, trainings_end_well_and_alike_for_any_number_of_threads_2)
{
    run_part(1);
}

Test(random, trainings_end_well_and_alike_for_any_number_of_threads_3)
{
    run_part(2);
}

Test(random, trainings_end_well_and_alike_for_any_number_of_threads_4)
{
    run_part(3);
}
