/* finetune and distill as stages: what they may change, and what they need. */
#include "../train/support.h"
#include "compress/method.h"
#include "exec/predict.h"

static pq_graph *trained(pq_dataset *d)
{
    pq_graph        *g       = two_dense(16, 24, 5, 2);
    pq_train_params  p       = {0};
    pq_train_summary s       = {0};
    pq_train_options options = {.threads = 2};

    OK(pq_params_default(pq_train_param_table, &p, err));
    p.lr = 0.01;
    OK(pq_train(g, &(pq_train_data){.dataset = d, .validation = SIZE_MAX}, &p, &options,
                &s, err));
    pq_train_summary_free(&s);
    pq_params_free(pq_train_param_table, &p);
    return g;
}

static pq_dataset *events(void)
{
    return blobs(PQ_SHAPE(16), 5, 2000);
}

static pq_graph *apply(const char *text, const pq_graph *g, const pq_training *t)
{
    pq_stage               stage   = {0};
    pq_graph              *out     = NULL;
    pq_layer_change       *changes = NULL;
    size_t                 n       = 0;
    const pq_apply_options options = {.training = t, .seed = 5};

    OK(pq_stage_parse(text, &stage, err));
    OK(pq_stage_apply(&stage, g, &options, &out, &changes, &n, err));
    cr_expect_gt(n, 0);
    pq_free(changes);
    pq_stage_free(&stage);
    return out;
}

static const float *kernel(const pq_graph *g, const char *node)
{
    return pq_f32(
        pq_layer_weight(g->nodes[pq_graph_find(g, node)].layer, "kernel")->value);
}

Test(finetune, keeps_a_pruned_layers_zeros_and_layers_that_are_not_selected)
{
    pq_dataset       *d = events();
    pq_graph         *g = trained(d);
    const pq_training t = {
        .dataset = d, .validation = SIZE_MAX, .threads = 2, .teacher = g};
    pq_graph *small = apply("prune:target_sparsity=0.7", g, &t);
    pq_graph *tuned = apply("finetune:epochs=2,layers=fc1", small, &t);
    size_t    moved = 0;

    for (size_t i = 0; i < 16 * 24; i++) {
        cr_assert(kernel(small, "fc1")[i] != 0.0F || kernel(tuned, "fc1")[i] == 0.0F);
        moved += kernel(small, "fc1")[i] != kernel(tuned, "fc1")[i] ? 1 : 0;
    }
    cr_expect_gt(moved, 50);
    cr_expect_eq(
        memcmp(kernel(small, "fc2"), kernel(tuned, "fc2"), 24 * 5 * sizeof(float)), 0);
    pq_graph_free(&g);
    pq_graph_free(&small);
    pq_graph_free(&tuned);
    pq_dataset_close(&d);
}

Test(finetune, weights_rounded_to_zero_move_on_and_pruned_ones_stay)
{
    pq_dataset       *d = events();
    pq_graph         *g = trained(d);
    const pq_training t = {
        .dataset = d, .validation = SIZE_MAX, .threads = 2, .teacher = g};
    pq_graph *small  = apply("prune:target_sparsity=0.3", g, &t);
    pq_graph *coarse = apply("quantize:bits=2,activations=no", small, &t);
    pq_graph *tuned  = apply("finetune:epochs=3,lr=0.03,layers=fc1", coarse, &t);
    size_t    woken = 0, stay = 0;

    for (size_t i = 0; i < 16 * 24; i++) {
        const bool pruned  = kernel(small, "fc1")[i] == 0.0F;
        const bool rounded = !pruned && kernel(coarse, "fc1")[i] == 0.0F;
        stay += pruned ? 1 : 0;
        cr_assert(!pruned || kernel(tuned, "fc1")[i] == 0.0F, "%zu", i);
        woken += rounded && kernel(tuned, "fc1")[i] != 0.0F ? 1 : 0;
    }
    cr_expect_gt(stay, 80);
    cr_expect_gt(woken, 10, "%zu", woken);
    pq_graph_free(&g);
    pq_graph_free(&small);
    pq_graph_free(&coarse);
    pq_graph_free(&tuned);
    pq_dataset_close(&d);
}

/* The zeros of a product are not those of its factors. */
Test(finetune, factors_of_a_pruned_layer_are_free)
{
    pq_dataset       *d = events();
    pq_graph         *g = trained(d);
    const pq_training t = {
        .dataset = d, .validation = SIZE_MAX, .threads = 2, .teacher = g};
    pq_graph *sparse = apply("prune:target_sparsity=0.5", g, &t);
    pq_graph *small  = apply("svd:rank=4,layers=fc1", sparse, &t);

    for (size_t i = 0; i < small->n_nodes; i++) {
        const pq_weight *w = pq_layer_weight(small->nodes[i].layer, "kernel");
        if (w != NULL) {
            cr_expect_eq(w->pruned != NULL, strcmp(small->nodes[i].name, "fc2") == 0,
                         "%s", small->nodes[i].name);
        }
    }
    pq_graph_free(&g);
    pq_graph_free(&sparse);
    pq_graph_free(&small);
    pq_dataset_close(&d);
}

Test(finetune, both_factors_of_a_low_rank_layer_are_trained)
{
    pq_dataset       *d = events();
    pq_graph         *g = trained(d);
    const pq_training t = {
        .dataset = d, .validation = SIZE_MAX, .threads = 2, .teacher = g};
    pq_graph *small   = apply("svd:rank=2,layers=fc1", g, &t);
    pq_graph *tuned   = apply("distill:epochs=2,layers=fc1", small, &t);
    size_t    factors = 0;

    cr_assert_eq(small->n_nodes, tuned->n_nodes);
    for (size_t i = 0; i < small->n_nodes; i++) {
        const pq_weight *a   = pq_layer_weight(small->nodes[i].layer, "kernel");
        const pq_weight *b   = pq_layer_weight(tuned->nodes[i].layer, "kernel");
        const bool is_factor = strncmp(small->nodes[i].name, "fc1", 3) == 0 && a != NULL;
        if (is_factor) {
            factors++;
            cr_expect_neq(memcmp(pq_f32(a->value), pq_f32(b->value),
                                 a->value->count * sizeof(float)),
                          0, "%s", small->nodes[i].name);
        }
    }
    cr_expect_eq(factors, 2);
    pq_graph_free(&g);
    pq_graph_free(&small);
    pq_graph_free(&tuned);
    pq_dataset_close(&d);
}

Test(finetune, layers_of_a_tensor_train_are_compared_with_the_teachers)
{
    pq_dataset       *d = events();
    pq_graph         *g = trained(d);
    const pq_training t = {
        .dataset = d, .validation = SIZE_MAX, .threads = 2, .teacher = g};
    pq_graph       *small = apply("tensor_train:rank=2,layers=fc1", g, &t);
    pq_graph       *alone = apply("distill:epochs=1,layer_mse=0", small, &t);
    pq_graph       *near  = apply("distill:epochs=1,layer_mse=1", small, &t);
    const size_t    at    = pq_graph_find(small, "fc1");
    const pq_layer *a, *b;

    cr_assert_neq(at, SIZE_MAX);
    cr_assert_null(pq_layer_weight(small->nodes[at].layer, "kernel"));
    a = alone->nodes[at].layer;
    b = near->nodes[at].layer;
    cr_expect_neq(memcmp(pq_f32(a->weights[0].value), pq_f32(b->weights[0].value),
                         a->weights[0].value->count * sizeof(float)),
                  0, "layer_mse changed nothing");
    pq_graph_free(&g);
    pq_graph_free(&small);
    pq_graph_free(&alone);
    pq_graph_free(&near);
    pq_dataset_close(&d);
}

Test(finetune, of_no_epochs_changes_nothing_and_says_so)
{
    pq_dataset            *d = events();
    pq_graph              *g = trained(d), *out = NULL;
    const pq_training      t       = {.dataset = d, .validation = SIZE_MAX, .threads = 1};
    const pq_apply_options options = {.training = &t};
    pq_stage               stage   = {0};
    pq_layer_change       *changes = NULL;
    size_t                 n       = 0;
    char                   a[65], b[65];

    OK(pq_stage_parse("finetune:epochs=0", &stage, err));
    OK(pq_stage_apply(&stage, g, &options, &out, &changes, &n, err));
    OK(pq_graph_hash(g, a, err));
    OK(pq_graph_hash(out, b, err));
    cr_expect_str_eq(a, b);
    cr_assert_gt(n, 0);
    cr_expect_str_eq(changes[0].what, "not trained: 0 epochs");
    pq_free(changes);
    pq_stage_free(&stage);
    pq_graph_free(&g);
    pq_graph_free(&out);
    pq_dataset_close(&d);
}

/* Without a scaler anywhere the weights are for the values as they are. */
Test(finetune, gives_no_scaler_to_a_network_that_had_none)
{
    pq_dataset       *d = events();
    pq_graph         *g = trained(d), *tuned;
    const pq_training t = {.dataset = d, .validation = SIZE_MAX, .threads = 2};

    pq_tensor_free(&g->scaler_mean);
    pq_tensor_free(&g->scaler_std);
    tuned = apply("finetune:epochs=1", g, &t);
    cr_expect_null(tuned->scaler_mean);
    pq_graph_free(&g);
    pq_graph_free(&tuned);
    pq_dataset_close(&d);
}

Test(finetune, tells_recalls_and_floors_that_are_not_held)
{
    pq_dataset       *d = events();
    pq_graph         *g = trained(d), *out = NULL;
    pq_stage          stage   = {0};
    pq_layer_change  *changes = NULL;
    size_t            n       = 0;
    const pq_training t       = {
              .dataset = d, .validation = SIZE_MAX, .threads = 2, .teacher = g};
    const pq_apply_options options = {.training = &t};
    pq_text                text    = {0};

    OK(pq_stage_parse("finetune:epochs=1,lr=1e-9,min_recall=[a=1,b=1]", &stage, err));
    pq_stage_print(&stage, &text);
    cr_expect(strstr(text.text, "min_recall=[a=1,b=1]") != NULL, "%s", text.text);
    OK(pq_stage_apply(&stage, g, &options, &out, &changes, &n, err));
    cr_assert_gt(n, 0);
    cr_expect_eq(strncmp(changes[0].what, "recall floor not held; epoch 1 of 1, ", 37), 0,
                 "%s", changes[0].what);
    cr_expect(strstr(changes[0].what, "; recall a 0.") != NULL, "%s", changes[0].what);
    pq_text_free(&text);
    pq_free(changes);
    pq_stage_free(&stage);
    pq_graph_free(&g);
    pq_graph_free(&out);
    pq_dataset_close(&d);
}

/* Number of weights that training moved, by whether they are an adapter's. */
static void count_moved(const pq_graph *a, const pq_graph *b, size_t moved[2])
{
    moved[0] = moved[1] = 0;
    for (size_t i = 0; i < a->n_nodes; i++) {
        const bool adapter = strstr(a->nodes[i].name, ".lora_") != NULL;
        for (size_t w = 0; w < a->nodes[i].layer->n_weights; w++) {
            const pq_tensor *x = a->nodes[i].layer->weights[w].value;
            const pq_tensor *y = b->nodes[i].layer->weights[w].value;
            moved[adapter] += memcmp(x->data, y->data, x->count * sizeof(float)) != 0;
        }
    }
}

Test(finetune, with_adapters_only_they_train_and_the_base_keeps_its_bits)
{
    static const char *const bases[]  = {"lora:rank=3,dropout=0.1",
                                         "lora:rank=3,base=nf4,init=loftq,group=8"};
    static const char *const stages[] = {"finetune:epochs=2,weight_decay=0.01",
                                         "finetune:epochs=2,layers=fc1"};
    pq_dataset              *d        = events();
    pq_graph                *g        = trained(d);
    const pq_training        t        = {
                      .dataset = d, .validation = SIZE_MAX, .threads = 2, .teacher = g};

    for (size_t i = 0; i < 4; i++) {
        pq_graph *small = apply(bases[i % 2], g, &t);
        pq_graph *tuned = apply(stages[i / 2], small, &t);
        size_t    moved[2];
        count_moved(small, tuned, moved);
        cr_expect_eq(moved[0], 0, "%s", stages[i / 2]);
        cr_expect_eq(moved[1], i < 2 ? 4 : 2, "%s", stages[i / 2]);
        pq_graph_free(&small);
        pq_graph_free(&tuned);
    }
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

Test(finetune, a_layer_named_by_the_user_trains_beside_adapters)
{
    pq_dataset       *d = events();
    pq_graph         *g = trained(d);
    const pq_training t = {
        .dataset = d, .validation = SIZE_MAX, .threads = 2, .teacher = g};
    pq_graph *small = apply("lora:rank=3,layers=fc1", g, &t);
    pq_graph *tuned = apply("finetune:epochs=1,layers=fc*", small, &t);
    size_t    moved[2];

    count_moved(small, tuned, moved);
    cr_expect_eq(moved[0], 2); /* fc2 */
    cr_expect_eq(moved[1], 2);
    cr_expect_eq(
        memcmp(kernel(small, "fc1"), kernel(tuned, "fc1"), 16 * 24 * sizeof(float)), 0);
    pq_graph_free(&g);
    pq_graph_free(&small);
    pq_graph_free(&tuned);
    pq_dataset_close(&d);
}

Test(finetune, says_that_it_needs_events)
{
    pq_dataset            *d       = events();
    pq_graph              *g       = trained(d);
    pq_stage               stage   = {0};
    pq_graph              *out     = NULL;
    pq_layer_change       *changes = NULL;
    size_t                 n       = 0;
    pq_err                 e       = {0};
    const pq_apply_options none    = {0};
    const pq_training      t       = {.dataset = d, .validation = SIZE_MAX, .threads = 1};
    const pq_apply_options alone   = {.training = &t};

    OK(pq_stage_parse("finetune:epochs=1", &stage, err));
    cr_expect_eq(pq_stage_apply(&stage, g, &none, &out, &changes, &n, &e), PQ_ERR_CONFIG);
    cr_expect(strstr(e.message, "events to train on") != NULL, "%s", e.message);
    pq_stage_free(&stage);
    e = (pq_err){0};
    OK(pq_stage_parse("distill:epochs=1", &stage, err));
    cr_expect_eq(pq_stage_apply(&stage, g, &alone, &out, &changes, &n, &e),
                 PQ_ERR_CONFIG);
    cr_expect(strstr(e.message, "no uncompressed network") != NULL, "%s", e.message);
    pq_stage_free(&stage);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}

/* in fc1 norm relu fc2 softmax; kernels on grids of 4 bits, one scale a channel. */
static pq_graph *with_norm(void)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=16"), NULL);
    add_dense(g, "fc1", 16, 24);
    add_norm(g, "norm", 24);
    add(g, "relu", layer_of("relu"), NULL);
    add_dense(g, "fc2", 24, 5);
    add(g, "softmax", layer_of("softmax"), NULL);
    pq_graph_init_weights(g, PQ_INIT_HE, 2);
    OK(pq_graph_check(g, err));
    for (size_t n = 0; n <= 4; n++) {
        pq_weight *w = pq_layer_weight(g->nodes[n].layer, "kernel");
        if (n == 0 || n == 3) {
            OK(pq_quant_create(PQ_QUANT_INTEGER, 6, n == 0, false, PQ_QUANT_PER_TENSOR, 1,
                               &g->nodes[n].quant, err));
            (void)pq_quant_set_range(g->nodes[n].quant, 0, n == 0 ? -4.0 : 0.0, 4.0,
                                     false);
        }
        if (w != NULL) {
            const size_t rows = w->value->shape.dim[0];
            OK(pq_quant_create(PQ_QUANT_INTEGER, 4, true, true, 0, rows, &w->quant, err));
            for (size_t o = 0; o < rows; o++) {
                (void)pq_quant_set_range(w->quant, o, -1.0, 1.0, true);
            }
        }
    }
    return g;
}

Test(finetune, folds_batch_norm_onto_the_grid_after_training_by_running_statistics)
{
    pq_dataset       *d = events();
    pq_graph         *g = with_norm(), *tuned;
    const pq_training t = {
        .dataset = d, .validation = SIZE_MAX, .threads = 2, .teacher = g};
    pq_predictions a = {0}, b = {0};
    size_t         right = 0;

    tuned = apply("finetune:epochs=6,lr=0.01,qat=lsq,fold_norm_after=3", g, &t);
    cr_expect_eq(pq_graph_find(tuned, "norm"), SIZE_MAX);
    cr_expect_not_null(pq_layer_weight(tuned->nodes[1].layer, "kernel")->quant);
    OK(pq_predict(tuned, d, 0, &(pq_predict_options){.engine = "reference"}, &a, err));
    OK(pq_predict(tuned, d, 0, &(pq_predict_options){.engine = "integer"}, &b, err));
    cr_expect_eq(memcmp(a.outputs, b.outputs, a.n * a.width * sizeof(float)), 0);
    for (size_t i = 0; i < a.n; i++) {
        size_t best = 0;
        for (size_t k = 1; k < a.width; k++) {
            best = a.outputs[i * a.width + k] > a.outputs[i * a.width + best] ? k : best;
        }
        right += (int32_t)best == a.labels[i] ? 1 : 0;
    }
    cr_expect_gt(right, a.n * 9 / 10, "%zu of %zu", right, a.n);
    pq_predictions_free(&a);
    pq_predictions_free(&b);
    pq_graph_free(&g);
    pq_graph_free(&tuned);
    pq_dataset_close(&d);
}

/* The lowest code of a full range has no counterpart: a BatchNorm that turns it round
   cannot be folded into the kernel, and stays. */
Test(finetune, folding_changes_no_output_of_a_full_range_with_negative_gamma)
{
    pq_dataset       *d = events();
    const pq_training t = {.dataset = d, .validation = SIZE_MAX, .threads = 2};

    for (int turned = 0; turned < 2; turned++) {
        pq_graph      *g    = with_norm(), *tuned;
        float         *beta = pq_f32(pq_layer_weight(g->nodes[2].layer, "gamma")->value);
        pq_predictions a = {0}, b = {0};
        for (size_t o = 0; o < 24; o++) {
            beta[o] = turned == 1 && o % 3 == 0 ? -1.0F : 1.0F;
        }
        for (size_t n = 1; n <= 4; n += 3) { /* codes from -2 on */
            pq_weight   *w    = pq_layer_weight(g->nodes[n].layer, "kernel");
            const size_t rows = w->value->shape.dim[0];
            pq_quant_free(&w->quant);
            OK(pq_quant_create(PQ_QUANT_INTEGER, 2, true, false, 0, rows, &w->quant,
                               err));
            for (size_t o = 0; o < rows; o++) {
                w->quant->scale[o] = 0.3F;
            }
            OK(pq_quant_apply(w->quant, w->value, err));
        }
        OK(pq_predict(g, d, 0, &(pq_predict_options){.engine = "reference"}, &a, err));
        tuned = apply("finetune:epochs=1,lr=1e-12,batch=128,fold_norm_after=0", g, &t);
        OK(pq_predict(tuned, d, 0, &(pq_predict_options){.engine = "reference"}, &b,
                      err));
        cr_expect_eq(pq_graph_find(tuned, "norm") == SIZE_MAX, turned == 0);
        double most = 0.0;
        for (size_t i = 0; i < a.n * a.width; i++) {
            most = fmax(most, fabs((double)a.outputs[i] - (double)b.outputs[i]));
        }
        cr_expect_lt(most, 1e-5, "turned %d: %g", turned, most);
        pq_predictions_free(&a);
        pq_predictions_free(&b);
        pq_graph_free(&g);
        pq_graph_free(&tuned);
    }
    pq_dataset_close(&d);
}

Test(finetune, says_that_there_is_nothing_to_fold)
{
    pq_dataset            *d = events();
    pq_graph              *g = trained(d), *out = NULL;
    const pq_training      t       = {.dataset = d, .validation = SIZE_MAX, .threads = 2};
    pq_stage               stage   = {0};
    pq_layer_change       *changes = NULL;
    size_t                 n       = 0;
    pq_err                 e       = {0};
    const pq_apply_options options = {.training = &t, .seed = 5};

    OK(pq_stage_parse("finetune:epochs=1,fold_norm_after=0", &stage, err));
    cr_expect_eq(pq_stage_apply(&stage, g, &options, &out, &changes, &n, &e),
                 PQ_ERR_CONFIG);
    cr_expect_str_eq(e.message,
                     "fold_norm_after: no selected layer has a BatchNorm behind "
                     "a kernel of whole numbers with one scale a channel");
    pq_stage_free(&stage);
    pq_graph_free(&g);
    pq_dataset_close(&d);
}
