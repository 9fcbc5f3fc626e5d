/* Stages that prune in training, whole: targets, threads, resuming, rewinding, bad input.
 */
#include "../train/support.h"
#include "compress/sparse_training.h"

static pq_graph *tagger(void)
{
    return two_dense(16, 24, 5, 2);
}

static pq_dataset *events(void)
{
    return blobs(PQ_SHAPE(16), 5, 2000);
}

static pq_status run(const char *text, const pq_graph *g, pq_dataset *d, size_t threads,
                     pq_graph **out, pq_err *err)
{
    const pq_training t = {
        .dataset = d, .validation = SIZE_MAX, .threads = threads, .teacher = g};
    pq_stage         stage   = {0};
    pq_layer_change *changes = NULL;
    size_t           n       = 0;
    pq_status        st;

    PQ_TRY(pq_stage_parse(text, &stage, err));
    PQ_TRY(pq_stage_apply(&stage, g, &(pq_apply_options){.training = &t, .seed = 5}, out,
                          &changes, &n, err));
cleanup:
    pq_free(changes);
    pq_stage_free(&stage);
    return st;
}

static const pq_weight *kernel(const pq_graph *g, const char *node)
{
    return pq_layer_weight(g->nodes[pq_graph_find(g, node)].layer, "kernel");
}

/* Zeros of a kernel, all of which are marked. */
static size_t zeros_of(const pq_graph *g, const char *node)
{
    const pq_weight *w = kernel(g, node);
    size_t           n = 0;

    for (size_t i = 0; i < w->value->count; i++) {
        cr_assert_eq(pq_f32(w->value)[i] == 0.0F, pq_weight_is_pruned(w, i), "%s %zu",
                     node, i);
        n += pq_weight_is_pruned(w, i) ? 1 : 0;
    }
    return n;
}

static const struct {
    const char *text;
    size_t      unit; /* weights that go together at most */
} stages[] = {
    {"gradual:epochs=3,fine_tuning_epochs=2,t_delta=5,lr=0.01", 1},
    {"gradual:epochs=3,fine_tuning_epochs=2,t_delta=5,lr=0.01,scope=per_layer", 1},
    {"autosparse:epochs=3,fine_tuning_epochs=2,threshold_init=-1,lr=0.01", 1},
    {"cs:epochs=2,rounds=2,fine_tuning_epochs=2,threshold_decay=1e-5,lr=0.01", 1},
    {"dst:epochs=3,fine_tuning_epochs=0,lr=0.01", 1},
    {"pdp:pretraining_epochs=1,epochs=3,fine_tuning_epochs=2,epsilon=0.4,lr=0.01", 1},
    {"mdmm:epochs=3,fine_tuning_epochs=2,ema=0.9,lr=0.01", 1},
    {"mdmm:epochs=3,metric_type=StructuredSparsity,rf=4,fine_tuning_epochs=2,lr=0.01", 4},
    {"pdp:epochs=3,epsilon=0.4,structured_pruning=true,fine_tuning_epochs=1,lr=0.01", 24},
    {"activation_pruning:epochs=3,t_start_collecting_batch=2,t_delta=5,fine_tuning_"
     "epochs=1,"
     "lr=0.01",
     24},
};

enum { STAGES = sizeof stages / sizeof *stages };

Test(sparse_stages, every_method_meets_its_target_to_one_weight_or_group, .timeout = 120)
{
    static const double targets[] = {0.0, 0.3, 0.7};
    pq_dataset         *d         = events();
    pq_graph           *g         = tagger();
    const size_t        all       = 16 * 24 + 24 * 5;

    for (size_t i = 0; i < STAGES; i++) {
        for (size_t k = 0; k < 3; k++) {
            char      text[256];
            pq_graph *out = NULL;
            (void)snprintf(text, sizeof text, "%s,target_sparsity=%g", stages[i].text,
                           targets[k]);
            OK(run(text, g, d, 2, &out, err));
            const size_t due  = (size_t)round(targets[k] * (double)all);
            const size_t gone = zeros_of(out, "fc1") + zeros_of(out, "fc2");
            const size_t off  = gone > due ? gone - due : due - gone;
            const bool   each = strstr(stages[i].text, "per_layer") != NULL;
            cr_expect(off <= (each ? 1 : stages[i].unit / 2), "%s: %zu of %zu", text,
                      gone, due);
            pq_graph_free(&out);
        }
    }
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

/* Epochs before the masks are hard are more accurate, but not pruned. */
Test(sparse_stages, a_front_of_hgq_has_pruned_networks_alone)
{
    pq_dataset *d = events();
    pq_graph   *g = tagger(), *on_grid = NULL, *out = NULL;
    size_t      n = 0;

    OK(run("quantize:format=fixed,bits=8,granularity=per_weight,activations=false", g, d,
           2, &on_grid, err));
    OK(run("gradual:epochs=3,fine_tuning_epochs=4,lr=0.01,t_delta=5,target_sparsity=0.6,"
           "qat=hgq,qat_lr=5,hgq_beta=1e-6,hgq_front=true",
           on_grid, d, 2, &out, err));
    cr_assert_not_null(out->front);
    for (const pq_graph *f = out->front; f != NULL; f = f->front, n++) {
        for (size_t k = 0; k < 2; k++) {
            const char      *name = k == 0 ? "fc1" : "fc2";
            const pq_weight *w    = kernel(f, name);
            cr_assert_not_null(w->pruned, "%zu: %s", n, name);
            cr_expect_eq(memcmp(w->pruned, kernel(out, name)->pruned,
                                pq_mask_bytes(w->value->count)),
                         0, "%zu: %s", n, name);
            for (size_t i = 0; i < w->value->count; i++) {
                cr_expect(!pq_weight_is_pruned(w, i) || pq_f32(w->value)[i] == 0.0F);
            }
        }
    }
    pq_graph_free(&g);
    pq_graph_free(&on_grid);
    pq_graph_free(&out);
    pq_dataset_close(&d);
}

Test(sparse_stages, weights_do_not_depend_on_the_number_of_threads, .timeout = 120)
{
    pq_dataset *d = events();
    pq_graph   *g = tagger();

    for (size_t i = 0; i < STAGES; i++) {
        pq_graph *out[3] = {NULL};
        char      hash[3][65];
        for (size_t k = 0; k < 3; k++) {
            char text[256];
            (void)snprintf(text, sizeof text, "%s,target_sparsity=0.6", stages[i].text);
            OK(run(text, g, d, k + 1, &out[k], err));
            OK(pq_graph_hash(out[k], hash[k], err));
            pq_graph_free(&out[k]);
        }
        cr_expect_str_eq(hash[0], hash[1], "%s", stages[i].text);
        cr_expect_str_eq(hash[0], hash[2], "%s", stages[i].text);
    }
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

static volatile sig_atomic_t stopped;
static size_t                stop_after;

static void count_down(void *context, const pq_train_epoch *e)
{
    (void)context;
    stopped = e->epoch == stop_after;
}

static const struct {
    const pq_sparse_method *method;
    const char             *text;
} resumed[] = {
    {&pq_sparse_gradual, "gradual:epochs=3,fine_tuning_epochs=1,t_delta=5,ema=0.9"},
    {&pq_sparse_cs, "cs:epochs=2,rounds=2,fine_tuning_epochs=1,save_weights_epoch=1"},
    {&pq_sparse_pdp,
     "pdp:pretraining_epochs=1,epochs=2,epsilon=0.4,fine_tuning_epochs=1"},
    {&pq_sparse_mdmm, "mdmm:epochs=3,fine_tuning_epochs=1"},
    {&pq_sparse_activation_pruning, "activation_pruning:epochs=3,t_start_collecting_"
                                    "batch=2,t_delta=17,fine_tuning_epochs=1"},
};

/* Trains, stopping after each of the first `stops` epochs to go on from the checkpoint.
 */
static void train_in_parts(size_t i, pq_dataset *d, size_t stops, char hash[65])
{
    static const char *const nodes[] = {"fc1", "fc2"};
    const char              *path    = stops > 0 ? temporary("sparse.checkpoint") : NULL;
    pq_graph                *g       = tagger();
    pq_stage                 stage   = {0};

    OK(pq_stage_parse(resumed[i].text, &stage, err));
    const pq_sparse_plan plan = {resumed[i].method, stage.params, 2, nodes,
                                 resumed[i].text};
    pq_train_params      p    = plan.params->train;
    p.epsilon                 = 1e-8;
    p.epochs                  = pq_sparse_epochs(plan.params);
    for (stop_after = stops > 0 ? 1 : 99;; stop_after++) {
        pq_train_summary       s    = {0};
        const pq_train_options o    = {.threads    = 2,
                                       .checkpoint = path,
                                       .sparse     = &plan,
                                       .stop       = &stopped,
                                       .epoch_done = count_down};
        pq_graph              *from = tagger();
        stopped                     = 0;
        const pq_status st =
            pq_train(from, &(pq_train_data){.dataset = d, .validation = SIZE_MAX}, &p, &o,
                     &s, NULL);
        pq_train_summary_free(&s);
        pq_graph_free(&g);
        g = from;
        if (st == PQ_OK) {
            break;
        }
        cr_assert_eq(st, PQ_ERR_INTERRUPTED);
        stop_after = stop_after < stops ? stop_after : 98;
    }
    OK(pq_graph_hash(g, hash, err));
    if (path != NULL) {
        (void)unlink(path);
    }
    pq_graph_free(&g);
    pq_stage_free(&stage);
}

Test(sparse_stages, an_interrupted_run_ends_with_the_same_weights, .timeout = 120)
{
    pq_dataset *d = events();

    for (size_t i = 0; i < sizeof resumed / sizeof *resumed; i++) {
        char whole[65], parts[65];
        train_in_parts(i, d, 0, whole);
        train_in_parts(i, d, 4, parts);
        cr_expect_str_eq(whole, parts, "%s", resumed[i].text);
    }
    pq_dataset_close(&d);
}

/* Without fine-tuning, the weights that stay are those of the start. */
Test(sparse_stages, rewinding_gives_kept_weights_back_what_they_were)
{
    pq_dataset *d = events();
    pq_graph   *g = tagger(), *out = NULL;

    OK(run("gradual:epochs=2,fine_tuning_epochs=0,t_delta=5,rewind=post-training-stage,"
           "target_sparsity=0.5,lr=0.01",
           g, d, 2, &out, err));
    cr_expect_eq(zeros_of(out, "fc1") + zeros_of(out, "fc2"), 252);
    for (size_t i = 0; i < 16 * 24; i++) {
        const pq_weight *w = kernel(out, "fc1");
        cr_assert(pq_weight_is_pruned(w, i) ||
                  pq_f32(w->value)[i] == pq_f32(kernel(g, "fc1")->value)[i]);
    }
    pq_graph_free(&out);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

Test(sparse_stages, rows_that_are_the_outputs_stay_and_every_layer_keeps_one)
{
    pq_dataset *d = events();
    pq_graph   *g = tagger(), *out = NULL;
    pq_err      err = {0};

    OK(run("activation_pruning:epochs=2,t_start_collecting_batch=2,t_delta=5,"
           "fine_tuning_epochs=1,target_sparsity=0.7",
           g, d, 2, &out, err));
    cr_expect_eq(zeros_of(out, "fc2"), 0);
    pq_graph_free(&out);
    cr_expect_eq(run("activation_pruning:epochs=2,t_start_collecting_batch=2,t_delta=5,"
                     "target_sparsity=0.9",
                     g, d, 2, &out, &err),
                 PQ_ERR_CONFIG);
    cr_expect_not_null(strstr(err.message,
                              "target_sparsity = 0.9 is out of reach: 368 of "
                              "504 weights can go"),
                       "%s", err.message);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

static const struct {
    const char *text, *says;
} wrong[] = {
    {"gradual:target_sparsity=1", "target_sparsity = 1 is not in 0..0.999999"},
    {"gradual:target_sparsity=none", "target_sparsity = 'none' is not a number"},
    {"pdp:target_sparsity=-0.1", "target_sparsity"},
    {"gradual:initial_sparsity=0.9", "initial_sparsity = 0.9 is not in 0..0.8"},
    {"pdp:sparsity=0.5", "sparsity"},
    {"cs:epochs=2,save_weights_epoch=2",
     "save_weights_epoch = 2: the first round has epochs 0 to 1"},
    {"dst:epochs=0", "epochs = 0: a round of training has at least 1"},
    {"mdmm:rf=4", "rf = 4: groups are for metric_type StructuredSparsity"},
    {"dst:freeze=fc1,epochs=1", "layer 'fc1' is frozen"},
    {"activation_pruning:epochs=1,t_delta=5000", "the first window ends behind the 15"},
};

Test(sparse_stages, what_does_not_fit_is_said)
{
    pq_dataset *d = events();
    pq_graph   *g = tagger(), *out = NULL;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pq_err      err  = {0};
        const char *text = wrong[i].text;
        cr_expect_neq(run(text, g, d, 1, &out, &err), PQ_OK, "%s", text);
        cr_expect_not_null(strstr(err.message, wrong[i].says), "%s: %s", text,
                           err.message);
    }
    pq_graph_free(&g);
    pq_dataset_close(&d);
}
