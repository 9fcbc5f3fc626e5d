/*
 * Every method after prune and quantize: grids, zeros and activations are what the table
 * of orders says, or the layer's row says that they are gone.
 */
#include "../train/support.h"
#include "compress/method.h"
#include "compress/wiring.h"
#include "lab/bench.h"

typedef struct {
    const char *method, *stage;
} order;

static const order orders[] = {
    {"svd", "svd:rank=4,keep_dense=false"},
    {"svd", "svd:rank=4,run_as=reconstructed"},
    {"tucker", "tucker:rank=2,keep_dense=false,layers=conv"},
    {"cp", "cp:rank=2,keep_dense=false,layers=conv"},
    {"tensor_train", "tensor_train:rank=2,keep_dense=false,layers=fc*"},
    {"tensor_train", "tensor_train:rank=2,form=ring,cores=2,keep_dense=false,layers=fc*"},
    {"lora", "lora:rank=2,init=pissa,layers=fc*"},
    {"equalize", "equalize"},
    {"quantize", "quantize:bits=4,activations=no"},
    {"prune", "prune:target_sparsity=0.7"},
    {"structured_prune", "structured_prune:target_sparsity=0.5"},
    {"gradual", "gradual:epochs=1,fine_tuning_epochs=1"},
    {"activation_pruning", "activation_pruning:epochs=1,fine_tuning_epochs=1,"
                           "t_start_collecting_batch=1,t_delta=1"},
    {"autosparse", "autosparse:epochs=1,fine_tuning_epochs=1,target_sparsity=0.3"},
    {"cs", "cs:epochs=1,fine_tuning_epochs=1,target_sparsity=0.6"},
    {"dst", "dst:epochs=1,fine_tuning_epochs=1"},
    {"pdp", "pdp:epochs=1,fine_tuning_epochs=1"},
    {"mdmm", "mdmm:epochs=1,fine_tuning_epochs=1"},
    {"finetune", "finetune:epochs=1"},
    {"distill", "distill:epochs=1"},
    {"fit_latency", "fit_latency:target_latency=1,target_sparsity=0.3,epochs=1,"
                    "rounded_epochs=1"},
    {"front", "front:max_ebops=1e18"},
};

enum { ORDERS = sizeof orders / sizeof *orders };

static pq_graph *make(void)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=[4,4,3]"), NULL);
    add_conv(g, "conv", "conv2d", PQ_SHAPE(6, 3, 3, 3));
    add(g, "relu", layer_of("relu"), NULL);
    add(g, "flat", layer_of("flatten"), NULL);
    add_dense(g, "fc1", 24, 16);
    add(g, "relu1", layer_of("relu"), NULL);
    add_dense(g, "fc2", 16, 5);
    add(g, "softmax", layer_of("softmax"), NULL);
    pq_graph_init_weights(g, PQ_INIT_HE, 2);
    OK(pq_graph_check(g, err));
    return g;
}

static pq_dataset *events(void)
{
    return blobs(PQ_SHAPE(4, 4, 3), 5, 400);
}

/* What a graph holds, in the table's words. */
typedef struct {
    size_t kernels, grids, zeros, activations;
} holds;

static holds count(const pq_graph *g)
{
    holds h = {0};

    for (size_t i = 0; i < g->n_nodes; i++) {
        const pq_layer *layer = g->nodes[i].layer;
        for (size_t k = 0; k < layer->n_weights; k++) {
            const pq_weight *w = &layer->weights[k];
            if (layer->kind->role(w->name) == PQ_WEIGHT_KERNEL) {
                h.kernels++;
                h.grids += w->quant != NULL ? 1 : 0;
                for (size_t n = 0; n < w->value->count; n++) {
                    h.zeros += pq_weight_is_pruned(w, n) ? 1 : 0;
                }
            }
        }
        h.activations += g->nodes[i].quant != NULL ? 1 : 0;
    }
    return h;
}

static bool says(const pq_layer_change *changes, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        const char *undone = strstr(changes[i].what, "undone: ");
        if (undone != NULL && strstr(undone, what) != NULL) {
            return true;
        }
    }
    return false;
}

/* A clock that compiles nothing. */
static pq_status call(void *context, const pq_graph *graph, bool logits, double *seconds,
                      pq_err *err)
{
    (void)context, (void)graph, (void)logits, (void)err;
    *seconds = 1e-9;
    return PQ_OK;
}

/* Every layer with a kernel that was asked for has a row, of what was done or why not. */
static void every_layer_is_told(const pq_graph *g, const pq_stage *stage,
                                const pq_layer_change *changes, size_t n)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        bool told = pq_node_kernel(&g->nodes[i]) == NULL ||
                    !pq_stage_selects(stage, g, &g->nodes[i]);
        for (size_t k = 0; k < n && !told; k++) {
            told = strcmp(changes[k].layer, g->nodes[i].name) == 0 &&
                   changes[k].what[0] != '\0';
        }
        cr_expect(told, "%s says nothing of layer '%s'", stage->method->name,
                  g->nodes[i].name);
    }
}

static void check(const order *o, const pq_graph *g, const pq_training *t)
{
    const pq_method       *method  = pq_method_find(o->method);
    pq_stage               stage   = {0};
    pq_graph              *out     = NULL;
    pq_layer_change       *changes = NULL;
    size_t                 n       = 0;
    pq_err                 refusal = {0};
    pq_compress_options    how     = {.dataset = t->dataset, .calib_events = 64};
    pq_bench               bench;
    const pq_apply_options options = {.training = t, .bench = &bench, .seed = 5};
    const holds            before  = count(g);

    OK(pq_bench_of(&how, &bench, err));
    bench.call = call;
    OK(pq_stage_parse(o->stage, &stage, err));
    const pq_status st =
        pq_stage_apply(&stage, g, &options, &out, &changes, &n, &refusal);
    if (st == PQ_OK) {
        every_layer_is_told(g, &stage, changes, n);
    }
    pq_stage_free(&stage);
    if ((method->keeps & PQ_KEEPS_REFUSES) != 0 && before.grids > 0) {
        cr_expect_eq(st, PQ_ERR_CONFIG, "%s", o->stage);
        cr_expect_not_null(strstr(refusal.message, "is quantized already"), "%s",
                           refusal.message);
        return;
    }
    cr_assert_eq(st, PQ_OK, "%s: %s", o->stage, refusal.message);
    const holds after = count(out);
    const bool  grids = after.grids >= before.grids,
               rest   = (method->keeps & PQ_KEEPS_REST) != 0;
    const bool zeros  = after.zeros >= before.zeros || (rest && after.zeros > 0);
    const bool acts   = after.activations >= before.activations;

    cr_expect_eq(grids, (method->keeps & PQ_KEEPS_GRIDS) != 0 || before.grids == 0, "%s",
                 o->stage);
    cr_expect_eq(zeros, (method->keeps & PQ_KEEPS_ZEROS) != 0 || before.zeros == 0,
                 "%s: %zu zeros of %zu", o->stage, after.zeros, before.zeros);
    cr_expect(acts, "%s", o->stage);
    cr_expect_eq(says(changes, n, " grid"), !grids, "%s", o->stage);
    cr_expect_eq(says(changes, n, "pruned zeros"), !zeros, "%s", o->stage);
    pq_graph_free(&out);
    pq_free(changes);
}

static pq_graph *apply(const char *text, const pq_graph *g)
{
    const pq_apply_options options = {0};
    pq_stage               stage   = {0};
    pq_graph              *out     = NULL;
    pq_layer_change       *changes = NULL;
    size_t                 n       = 0;

    OK(pq_stage_parse(text, &stage, err));
    OK(pq_stage_apply(&stage, g, &options, &out, &changes, &n, err));
    pq_stage_free(&stage);
    pq_free(changes);
    return out;
}

/* Grids of activations without calibration events: one of 8 bits a kernel's output. */
static void add_grids(pq_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        if (pq_node_kernel(&g->nodes[i]) != NULL) {
            OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, false, -1, 1,
                               &g->nodes[i].quant, err));
            pq_quant_set_range(g->nodes[i].quant, 0, -4.0, 4.0, false);
        }
    }
}

static void check_all(const char *first, const char *second)
{
    pq_dataset *d = events();
    pq_graph   *g = make(), *one = apply(first, g), *two = NULL;

    two = second != NULL ? apply(second, one) : NULL;
    if (strstr(first, "quantize") != NULL || two != NULL) {
        add_grids(two != NULL ? two : one);
    }
    pq_graph *const last = two != NULL ? two : one;
    OK(pq_graph_clone(last, &last->front, err)); /* for stage front; others drop it */
    const pq_training t = {
        .dataset = d, .validation = SIZE_MAX, .threads = 1, .teacher = g};
    for (size_t i = 0; i < ORDERS; i++) {
        check(&orders[i], last, &t);
    }
    pq_graph_free(&g);
    pq_graph_free(&one);
    pq_graph_free(&two);
    pq_dataset_close(&d);
}

Test(orders, every_method_is_in_the_table_of_this_test)
{
    for (size_t m = 0; pq_methods[m] != NULL; m++) {
        bool found = false;
        for (size_t i = 0; i < ORDERS; i++) {
            found = found || strcmp(orders[i].method, pq_methods[m]->name) == 0;
        }
        cr_expect(found, "%s", pq_methods[m]->name);
    }
}

Test(orders, after_prune)
{
    check_all("prune:target_sparsity=0.5", NULL);
}

Test(orders, after_quantize)
{
    check_all("quantize:activations=no", NULL);
    check_all("quantize:format=float16", NULL);
    check_all("quantize:format=nf4,granularity=per_group", NULL);
    check_all("quantize:format=fixed,granularity=per_weight,activations=no", NULL);
}

Test(orders, after_prune_and_quantize)
{
    check_all("prune:target_sparsity=0.5", "quantize:activations=no");
}

Test(orders, after_svd)
{
    check_all("svd:rank=4,keep_dense=false", NULL);
    check_all("svd:rank=4,keep_dense=false", "prune:target_sparsity=0.5");
    check_all("prune:target_sparsity=0.5", "svd:rank=4,keep_dense=false");
    check_all("svd:rank=4,keep_dense=false", "quantize:activations=no");
}

Test(orders, after_structured_prune)
{
    check_all("structured_prune:target_sparsity=0.25", NULL);
    check_all("structured_prune:target_sparsity=0.25", "quantize:activations=no");
    check_all("structured_prune:target_sparsity=0.25", "svd:rank=4,keep_dense=false");
    check_all("svd:rank=6,keep_dense=false,layers=fc1",
              "structured_prune:target_sparsity=0.25");
}

Test(orders, after_blocks)
{
    check_all("prune:target_sparsity=0.5,block=[4,4],scope=per_layer", NULL);
}

/* One layer of each kind that has kernels, and what each method that trains nothing
 * leaves. */
static pq_graph *every_kind(void)
{
    pq_graph *g = NULL;
    pq_layer *l;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=[4,4,4]"), NULL);
    add_conv(g, "conv", "conv2d padding=same", PQ_SHAPE(4, 3, 3, 4));
    add_conv(g, "grouped", "conv2d padding=same groups=2", PQ_SHAPE(4, 3, 3, 2));
    add_conv(g, "depthwise", "conv2d padding=same groups=4", PQ_SHAPE(4, 3, 3, 1));
    l = layer_of("tt_conv2d padding=same");
    weigh(l, "window", PQ_SHAPE(1, 3, 3, 2));
    weigh(l, "core1", PQ_SHAPE(2, 2, 2, 2));
    weigh(l, "core2", PQ_SHAPE(2, 2, 2, 1));
    add(g, "train", l, NULL);
    add(g, "flat", layer_of("flatten"), NULL);
    l = layer_of("tt_dense");
    weigh(l, "core1", PQ_SHAPE(1, 4, 8, 2));
    weigh(l, "core2", PQ_SHAPE(2, 4, 8, 1));
    add(g, "cores", l, NULL);
    add_dense(g, "fc", 16, 5);
    add(g, "softmax", layer_of("softmax"), NULL);
    finish(g, 3);
    return g;
}

Test(orders, rows_say_why_a_kind_is_left)
{
    static const struct {
        const char *stage, *left; /* "layer: why; …", of layers that are left */
    } cases[] = {
        {"svd:rank=1,keep_dense=false",
         "grouped: svd is not for conv2d in 2 groups; depthwise: svd is not for conv2d "
         "in "
         "4 groups; train: svd is not for tt_conv2d; cores: svd is not for tt_dense; "},
        {"tucker:rank=1,keep_dense=false",
         "grouped: tucker is not for conv2d in 2 groups; depthwise: tucker is not for "
         "conv2d in 4 groups; train: tucker is not for tt_conv2d; cores: tucker is not "
         "for tt_dense; fc: tucker is not for dense; "},
        {"cp:rank=1,keep_dense=false,layers=conv|fc", "fc: cp is not for dense; "},
        {"structured_prune:target_sparsity=0.25",
         "train: structured_prune is not for tt_conv2d; cores: structured_prune is not "
         "for tt_dense; "},
        {"prune:N=2,M=4",
         "train: its kernel has no rows of outputs; cores: its kernel has "
         "no rows of outputs; "},
        {"prune", ""},
        {"quantize:activations=no", ""},
    };
    pq_graph *g = every_kind();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const pq_apply_options none      = {0};
        pq_stage               stage     = {0};
        pq_graph              *out       = NULL;
        pq_layer_change       *changes   = NULL;
        size_t                 n         = 0;
        char                   left[600] = "";
        OK(pq_stage_parse(cases[i].stage, &stage, err));
        OK(pq_stage_apply(&stage, g, &none, &out, &changes, &n, err));
        every_layer_is_told(g, &stage, changes, n);
        for (size_t k = 0; k < n; k++) {
            if (strncmp(changes[k].what, "left: ", 6) == 0) {
                const size_t at = strlen(left);
                (void)snprintf(left + at, sizeof left - at, "%s: %s; ", changes[k].layer,
                               changes[k].what + 6);
            }
        }
        cr_expect_str_eq(left, cases[i].left);
        pq_stage_free(&stage);
        pq_graph_free(&out);
        pq_free(changes);
    }
    pq_graph_free(&g);
}

/* The bias of a layer in float16 is the same after its kernel was factored. */
Test(orders, a_bias_keeps_its_grid_when_the_kernel_loses_its_own)
{
    pq_graph *g = make(), *half = apply("quantize:format=float16", g);
    pq_graph *out = apply("svd:rank=2,keep_dense=false", half);

    for (size_t i = 0; i < out->n_nodes; i++) {
        const pq_weight *bias = pq_layer_weight(out->nodes[i].layer, "bias");
        cr_expect(bias == NULL ||
                  (bias->quant != NULL && bias->quant->scheme == PQ_QUANT_FLOAT16));
    }
    pq_graph_free(&g);
    pq_graph_free(&half);
    pq_graph_free(&out);
}
