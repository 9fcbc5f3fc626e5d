/* Which methods draw random numbers: every one, with every choice and switch of its
 * table, is applied with two seeds, and what differs must be what says that it draws. */
#include "helpers.h"

#include "compress/method.h"
#include "core/hash.h"
#include "lab/bench.h"
#include "lab/calibrate.h"

/* Parameters without which a method does not run; what is not here runs as it is. */
static const struct {
    const char *method, *given;
} required[] = {{"svd", "rank=2"},
                {"tucker", "rank=2"},
                {"cp", "rank=9,starts=6,sweeps=5"},
                {"tensor_train", "rank=2"},
                {"lora", "rank=2"},
                {"gradual", "epochs=1,fine_tuning_epochs=1"},
                {"activation_pruning", "epochs=1,fine_tuning_epochs=1,t_delta=1,"
                                       "t_start_collecting_batch=0,batch=32"},
                {"autosparse", "epochs=1,fine_tuning_epochs=1"},
                {"cs", "epochs=1,fine_tuning_epochs=1"},
                {"dst", "epochs=1,fine_tuning_epochs=1"},
                {"pdp", "epochs=1,fine_tuning_epochs=1"},
                {"mdmm", "epochs=1,fine_tuning_epochs=1"},
                {"finetune", "epochs=1"},
                {"distill", "epochs=1"},
                {"front", "max_ebops=1e18"},
                {"prune", "target_sparsity=0.5"},
                {"fit_latency", "target_latency=1,epochs=1,rounded_epochs=1,"
                                "target_sparsity=0.3"},
                {"structured_prune", "target_sparsity=0.5"}};

/* What may have to be given beside a choice. */
static const char *const partners[] = {
    "", ",rank=2", ",bits=4", ",format=int,bits=4,rounding=adaround,rounding_steps=20",
    ",rounding_steps=20,bits=4"};

typedef struct {
    pq_graph           *graph;
    pq_dataset         *dataset;
    pq_calib           *calib;
    pq_bench            bench;
    pq_training         training;
    pq_compress_options how; /* what the bench reads */
} world;

static pq_layer *kernel(const char *kind, pq_rng *rng, pq_shape shape)
{
    pq_layer  *layer = NULL;
    pq_tensor *k     = NULL;

    cr_assert_eq(pq_layer_create(kind, &layer, NULL), PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, shape, &k, NULL), PQ_OK);
    for (size_t i = 0; i < k->count; i++) {
        pq_f32(k)[i] = 0.3F * (float)pq_rng_normal(rng);
    }
    cr_assert_eq(pq_layer_add_weight(layer, "kernel", k, NULL), PQ_OK);
    return layer;
}

/* Images of 6 x 6 x 2: a convolution to 16 channels, their means, 24, 3. */
static pq_graph *make_net(void)
{
    static const char *const names[] = {"in",  "conv", "r1",  "mean",
                                        "fc1", "r2",   "fc2", "top"};
    pq_rng                   rng     = pq_rng_stream(11, "net");
    pq_graph                *g       = NULL;
    pq_layer *layers[8] = {[1] = kernel("conv2d", &rng, PQ_SHAPE(16, 3, 3, 2)),
                           [4] = kernel("dense", &rng, PQ_SHAPE(24, 16)),
                           [6] = kernel("dense", &rng, PQ_SHAPE(3, 24))};

    cr_assert_eq(pq_layer_create("input", &layers[0], NULL), PQ_OK);
    cr_assert_eq(pq_layer_set(layers[0], "shape", "[6, 6, 2]", NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("relu", &layers[2], NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("global_avg_pool", &layers[3], NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("relu", &layers[5], NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("softmax", &layers[7], NULL), PQ_OK);
    cr_assert_eq(pq_graph_create(&g, NULL), PQ_OK);
    for (size_t i = 0; i < 8; i++) {
        cr_assert_eq(pq_graph_add(g, names[i], layers[i], i > 0,
                                  i > 0 ? &names[i - 1] : NULL, NULL),
                     PQ_OK);
    }
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    return g;
}

static char *write_images(const char *folder)
{
    static const char *const names[] = {"a", "b", "c"};
    char                    *path    = pq_format("%s/images.h5", folder);
    pq_rng                   rng     = pq_rng_stream(5, "images");
    pq_tensor               *x = NULL, *y = NULL;
    pq_h5                   *file = NULL;

    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(EVENTS, 6, 6, 2), &x, NULL),
                 PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_U8, PQ_SHAPE(EVENTS), &y, NULL), PQ_OK);
    for (size_t i = 0; i < x->count; i++) {
        pq_f32(x)[i] = (float)pq_rng_normal(&rng);
    }
    for (size_t i = 0; i < EVENTS; i++) {
        ((uint8_t *)y->data)[i] = (uint8_t)(i % CLASSES);
    }
    cr_assert_eq(pq_h5_create(path, &file, NULL), PQ_OK);
    cr_assert_eq(pq_h5_write(file, "/x", x, 0, NULL), PQ_OK);
    cr_assert_eq(pq_h5_write(file, "/y", y, 0, NULL), PQ_OK);
    cr_assert_eq(pq_h5_set_text(file, "/", "format", "pquant-dataset", NULL), PQ_OK);
    cr_assert_eq(pq_h5_set_text(file, "/", "layout", "nhwc", NULL), PQ_OK);
    cr_assert_eq(pq_h5_set_texts(file, "/", "class_names", names, CLASSES, NULL), PQ_OK);
    cr_assert_eq(pq_h5_commit(&file, NULL), PQ_OK);
    pq_tensor_free(&x);
    pq_tensor_free(&y);
    return path;
}

/* A clock that compiles nothing. */
static pq_status call(void *context, const pq_graph *graph, bool logits, double *seconds,
                      pq_err *err)
{
    (void)context, (void)graph, (void)logits, (void)err;
    *seconds = 1e-9;
    return PQ_OK;
}

static void make_world(world *w)
{
    char  *path = write_images(scratch_folder());
    pq_err err  = {0};

    *w = (world){.graph = make_net(), .how = {.calib_events = 64, .seed = 1}};
    cr_assert_eq(pq_dataset_open(path, NULL, &w->dataset, &err), PQ_OK, "%s",
                 err.message);
    cr_assert_eq(pq_calibrate(w->graph, w->dataset, 0, PQ_NEEDS_RANGES | PQ_NEEDS_GRAMS,
                              64, 1, &w->calib, &err),
                 PQ_OK, "%s", err.message);
    cr_assert_eq(pq_graph_clone(w->graph, &w->graph->front, &err), PQ_OK);
    w->how.dataset = w->dataset;
    cr_assert_eq(pq_bench_of(&w->how, &w->bench, &err), PQ_OK, "%s", err.message);
    w->bench.call = call;
    w->training   = (pq_training){
          .dataset = w->dataset, .validation = SIZE_MAX, .threads = 1, .teacher = w->graph};
    pq_free(path);
}

/* Whether the stage could be applied; the hash of what it makes of the net. */
static bool hash_of(const world *w, const pq_stage *stage, uint64_t seed,
                    char out[PQ_HASH_TEXT])
{
    const pq_apply_options options = {
        .calib = w->calib, .training = &w->training, .bench = &w->bench, .seed = seed};
    pq_graph        *made    = NULL;
    pq_layer_change *changes = NULL;
    size_t           n       = 0;
    const bool       fine =
        pq_stage_apply(stage, w->graph, &options, &made, &changes, &n, NULL) == PQ_OK &&
        pq_graph_hash(made, out, NULL) == PQ_OK;

    pq_graph_free(&made);
    pq_free(changes);
    return fine;
}

typedef struct {
    size_t applied, drawn, differed;
} counts;

/* Applies a stage with two seeds, if it is one that can be. */
static void try_stage(const world *w, const char *text, counts *n)
{
    pq_stage stage = {0};
    char     a[PQ_HASH_TEXT], b[PQ_HASH_TEXT];

    if (pq_stage_parse(text, &stage, NULL) != PQ_OK) {
        return;
    }
    if ((stage.method->needs == NULL ||
         (stage.method->needs(stage.params) & PQ_NEEDS_TIMES) == 0) &&
        hash_of(w, &stage, 1, a) && hash_of(w, &stage, 2, b)) {
        const bool differs = strcmp(a, b) != 0;
        cr_expect(!differs || pq_stage_draws(&stage), "%s draws and does not say so",
                  text);
        n->applied++;
        n->drawn += pq_stage_draws(&stage);
        n->differed += differs;
    }
    pq_stage_free(&stage);
}

/* The method as it is, and with each choice and switch of its table. */
static counts try_method(const world *w, const pq_method *method)
{
    const char *given = "";
    counts      n     = {0};

    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        given = strcmp(required[i].method, method->name) == 0 ? required[i].given : given;
    }
    for (size_t k = 0; k < sizeof partners / sizeof *partners; k++) {
        const size_t before = n.applied;
        char        *text   = pq_format("%s:%s%s", method->name, given,
                               *given == '\0' && partners[k][0] == ',' ? partners[k] + 1
                                                                                : partners[k]);
        try_stage(w, text, &n);
        for (const pq_param *row = method->params; row != NULL && row->name != NULL;
             row++) {
            static const char *const switches[] = {"true", "false", NULL};
            const char *const       *values = row->type == PQ_PARAM_CHOICE ? row->choices
                                              : row->type == PQ_PARAM_BOOL ? switches
                                                                           : NULL;
            for (; values != NULL && *values != NULL; values++) {
                char *more =
                    pq_format("%s%s%s=%s", text, text[strlen(text) - 1] == ':' ? "" : ",",
                              row->name, *values);
                try_stage(w, more, &n);
                pq_free(more);
            }
        }
        pq_free(text);
        if (n.applied > before && k == 0 && *given != '\0') {
            break;
        }
    }
    return n;
}

Test(draws, a_method_says_so_exactly_where_random_numbers_enter, .timeout = 300)
{
    size_t drawing = 0;
    world  w;

    make_world(&w);
    for (const pq_method *const *m = pq_methods; *m != NULL; m++) {
        const counts n = try_method(&w, *m);
        cr_expect_gt(n.applied, 0, "%s could not be applied", (*m)->name);
        cr_expect((n.drawn > 0) == (n.differed > 0),
                  "%s: %zu of %zu stages say that they draw, %zu depend on the seed",
                  (*m)->name, n.drawn, n.applied, n.differed);
        cr_log_info("%s: %zu stages, %zu draw, %zu depend on the seed", (*m)->name,
                    n.applied, n.drawn, n.differed);
        drawing += n.differed > 0;
    }
    /* cp, tensor_train, lora, quantize, structured_prune, finetune, distill */
    cr_expect_geq(drawing, 7);
    pq_graph_free(&w.graph);
    pq_calib_free(&w.calib);
    pq_dataset_close(&w.dataset);
}
