/* Adapters: what they compute, their starts, merging and taking out again. */
#include <unistd.h>

#include "formats/model.h"
#include "nets.h"

enum { KERNEL, BIAS };

/* Factor, A and B of a layer's adapters as a plain sum over ranks: row o, column i. */
static double product(const pq_graph *g, const char *layer, size_t o, size_t i)
{
    char             name[64];
    const pq_tensor *a, *b;
    double           factor, sum = 0.0;

    (void)snprintf(name, sizeof name, "%s.lora_a", layer);
    a = net_weight(g, name, "kernel");
    (void)snprintf(name, sizeof name, "%s.lora_b", layer);
    b = net_weight(g, name, "kernel");
    (void)snprintf(name, sizeof name, "%s.lora_scale", layer);
    factor         = ((pq_scale_params *)net_node(g, name)->layer->params)->factor;
    const size_t r = a->shape.dim[0], n = a->count / r;
    for (size_t k = 0; k < r; k++) {
        sum += (double)pq_f32(b)[o * r + k] * (double)pq_f32(a)[k * n + i];
    }
    return factor * sum;
}

/* |W - (base + factor B A)| / |W| of a layer. */
static double distance(const pq_graph *before, const pq_graph *after, const char *layer)
{
    const pq_tensor *w    = net_weight(before, layer, "kernel");
    const pq_tensor *q    = net_weight(after, layer, "kernel");
    const size_t     n    = w->count / w->shape.dim[0];
    double           lost = 0.0, all = 0.0;

    for (size_t i = 0; i < w->count; i++) {
        const double d = (double)pq_f32(w)[i] - (double)pq_f32(q)[i] -
                         product(after, layer, i / n, i % n);
        lost += d * d;
        all += (double)pq_f32(w)[i] * (double)pq_f32(w)[i];
    }
    return sqrt(lost / all);
}

/* Gives the B of an adapter values, as training would. */
static void train_b(pq_graph *g, const char *name, double scale)
{
    pq_rng           rng = pq_rng_stream(7, name);
    const pq_tensor *b   = net_weight(g, name, "kernel");

    for (size_t i = 0; i < b->count; i++) {
        pq_f32(b)[i] += (float)(scale * pq_rng_normal(&rng));
    }
}

static void expect_same_layer(const pq_graph *a, const pq_graph *b, const char *name)
{
    const pq_layer *x = net_node(a, name)->layer, *y = net_node(b, name)->layer;

    cr_assert_eq(x->n_weights, y->n_weights, "%s", name);
    for (size_t i = 0; i < x->n_weights; i++) {
        cr_expect_eq(memcmp(pq_f32(x->weights[i].value), pq_f32(y->weights[i].value),
                            x->weights[i].value->count * sizeof(float)),
                     0, "%s %s", name, x->weights[i].name);
        cr_expect_eq(x->weights[i].quant == NULL, y->weights[i].quant == NULL, "%s",
                     name);
        cr_expect_eq(x->weights[i].pruned != NULL, y->weights[i].pruned != NULL, "%s",
                     name);
    }
}

Test(lora, a_start_at_zero_is_the_network_as_it_was)
{
    pq_graph        *nets[]  = {net_mlp(1), net_residual(2)};
    pq_layer_change *changes = NULL;
    size_t           n       = 0;

    for (size_t i = 0; i < 2; i++) {
        pq_graph *g =
            net_apply("lora:rank=3,alpha=12,dropout=0.25", nets[i], NULL, &changes, &n);
        cr_expect_eq(net_difference(nets[i], g), 0.0);
        cr_assert_eq(n, i == 0 ? 4 : 5);
        cr_expect(i == 0 || strcmp(changes[4].what,
                                   "left: lora is not for conv2d in 6 groups") == 0);
        cr_expect_eq(changes[0].error, 0.0);
        cr_expect_str_eq(changes[0].what,
                         i == 0
                             ? "adapters of rank 3, scale 4, zero: 240 values to train"
                             : "adapters of rank 3, scale 4, zero: 99 values to train");
        pq_free(changes);
        pq_graph_free(&g);
        pq_graph_free(&nets[i]);
    }
}

Test(lora, a_is_uniform_within_kaimings_bound_and_differs_by_layer_and_seed)
{
    pq_graph *g = net_mlp(1), *x = net_apply("lora:rank=5", g, NULL, NULL, NULL);
    const pq_apply_options other  = {.seed = 1};
    pq_graph              *y      = net_apply("lora:rank=5", g, &other, NULL, NULL);
    const pq_tensor       *a      = net_weight(x, "fc2.lora_a", "kernel");
    double                 square = 0.0, largest = 0.0;

    for (size_t i = 0; i < a->count; i++) {
        square += (double)pq_f32(a)[i] * (double)pq_f32(a)[i];
        largest = fmax(largest, fabs((double)pq_f32(a)[i]));
    }
    cr_expect_leq(largest, 0.125); /* 1 / sqrt(64) */
    cr_expect_gt(largest, 0.12);
    cr_expect_float_eq(square / (double)a->count, 0.125 * 0.125 / 3.0, 6e-4);
    cr_expect_neq(pq_f32(a)[0], pq_f32(net_weight(y, "fc2.lora_a", "kernel"))[0]);
    cr_expect_neq(pq_f32(a)[0], pq_f32(net_weight(x, "fc3.lora_a", "kernel"))[0]);
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&y);
}

Test(lora, readers_and_the_output_quantizer_move_to_the_sum)
{
    pq_graph *g = net_mlp(1), *x;

    OK(pq_quant_create(PQ_QUANT_FLOAT16, 16, true, false, -1, 0,
                       &g->nodes[pq_graph_find(g, "fc1")].quant, &err));
    x = net_apply("lora:rank=2,layers=fc1", g, NULL, NULL, NULL);
    cr_expect_null(net_node(x, "fc1")->quant);
    cr_expect_not_null(net_node(x, "fc1.lora_add")->quant);
    cr_expect_eq(net_node(x, "relu1")->inputs[0], pq_graph_find(x, "fc1.lora_add"));
    cr_expect_eq(net_node(x, "fc1.lora_drop")->inputs[0], pq_graph_find(x, "in"));
    cr_expect_eq(x->n_nodes, g->n_nodes + 5);
    pq_graph_free(&g);
    pq_graph_free(&x);
}

Test(lora, the_sum_is_the_base_plus_the_scaled_product)
{
    pq_graph *g = net_mlp(3), *x = net_apply("lora:rank=2,alpha=3", g, NULL, NULL, NULL);
    pq_graph *plain = NULL;

    train_b(x, "fc1.lora_b", 0.1);
    train_b(x, "out.lora_b", 0.1);
    OK(pq_graph_clone(g, &plain, &err));
    for (size_t l = 0; l < 2; l++) { /* the same network, with W + 1.5 B A written out */
        const char      *name = l == 0 ? "fc1" : "out";
        const pq_tensor *w    = net_weight(plain, name, "kernel");
        const size_t     n    = w->shape.dim[1];
        for (size_t i = 0; i < w->count; i++) {
            pq_f32(w)[i] += (float)product(x, name, i / n, i % n);
        }
    }
    cr_expect_gt(net_difference(g, x), 1e-3);
    cr_expect_lt(net_difference(plain, x), 1e-6);
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&plain);
}

Test(lora, merged_and_unmerged_agree_and_unmerge_is_exact_to_the_bit)
{
    static const char *const stages[] = {"lora:rank=3,alpha=5", "lora:rank=3,init=pissa"};

    for (size_t i = 0; i < 4; i++) {
        pq_graph *g = i < 2 ? net_mlp(4) : net_residual(4);
        pq_graph *x = net_apply(stages[i % 2], g, NULL, NULL, NULL), *merged, *back;
        for (size_t k = 0; k < x->n_nodes; k++) {
            if (strstr(x->nodes[k].name, ".lora_b") != NULL) {
                train_b(x, x->nodes[k].name, 0.05);
            }
        }
        merged = net_apply("lora:action=merge", x, NULL, NULL, NULL);
        back   = net_apply("lora:action=unmerge", merged, NULL, NULL, NULL);
        cr_expect_eq(merged->n_nodes, g->n_nodes);
        cr_expect_eq(pq_graph_stored_bytes(merged), pq_graph_stored_bytes(g));
        cr_expect_gt(net_difference(g, merged), 1e-3);
        cr_expect_lt(net_difference(x, merged), 1e-5);
        cr_expect_not_null(merged->aside);
        cr_expect_null(back->aside);
        cr_assert_eq(back->n_nodes, x->n_nodes);
        for (size_t k = 0; k < x->n_nodes; k++) {
            expect_same_layer(x, back, x->nodes[k].name);
            cr_expect_str_eq(back->nodes[k].name, x->nodes[k].name);
        }
        cr_expect_eq(net_difference(x, back), 0.0);
        pq_graph_free(&g);
        pq_graph_free(&x);
        pq_graph_free(&merged);
        pq_graph_free(&back);
    }
}

Test(lora, one_of_two_merged_layers_can_be_put_back)
{
    pq_graph *g = net_mlp(5),
             *x = net_apply("lora:rank=2,layers=fc?", g, NULL, NULL, NULL);
    pq_graph *merged, *first, *both;

    train_b(x, "fc1.lora_b", 0.05);
    train_b(x, "fc2.lora_b", 0.05);
    merged = net_apply("lora:action=merge", x, NULL, NULL, NULL);
    first  = net_apply("lora:action=unmerge,layers=fc2", merged, NULL, NULL, NULL);
    cr_expect_eq(pq_graph_find(first, "fc1.lora_add"), SIZE_MAX);
    expect_same_layer(x, first, "fc2");
    expect_same_layer(merged, first, "fc1");
    cr_assert_not_null(first->aside);
    cr_expect_eq(pq_graph_find(first->aside, "fc2.lora_a"), SIZE_MAX);
    both = net_apply("lora:action=unmerge", first, NULL, NULL, NULL);
    expect_same_layer(x, both, "fc1");
    cr_expect_eq(net_difference(x, both), 0.0);
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&merged);
    pq_graph_free(&first);
    pq_graph_free(&both);
}

Test(lora, what_is_set_aside_lives_in_the_model_file)
{
    pq_graph *g      = net_mlp(6);
    pq_graph *x      = net_apply("lora:rank=2,base=nf4,init=loftq", g, NULL, NULL, NULL);
    pq_graph *merged = net_apply("lora:action=merge", x, NULL, NULL, NULL);
    pq_graph *loaded = NULL, *back;
    char      path[64], a[65], b[65];

    (void)snprintf(path, sizeof path, "/tmp/pquant-lora-%d.h5", (int)getpid());
    OK(pq_model_save(merged, path, &err));
    OK(pq_model_load(path, NULL, &loaded, &err));
    (void)unlink(path);
    OK(pq_graph_hash(merged, a, &err));
    OK(pq_graph_hash(loaded, b, &err));
    cr_expect_str_eq(a, b);
    back = net_apply("lora:action=unmerge", loaded, NULL, NULL, NULL);
    for (size_t k = 0; k < x->n_nodes; k++) {
        expect_same_layer(x, back, x->nodes[k].name);
    }
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&merged);
    pq_graph_free(&loaded);
    pq_graph_free(&back);
}

Test(lora, pissa_starts_at_the_best_product_and_the_same_network)
{
    pq_graph *g = net_mlp(7);
    pq_graph *x =
        net_apply("lora:rank=4,alpha=9,init=pissa,layers=fc2", g, NULL, NULL, NULL);
    pq_graph *svd =
        net_apply("svd:rank=4,layers=fc2,run_as=reconstructed", g, NULL, NULL, NULL);
    const pq_tensor *best = net_weight(svd, "fc2", "kernel");

    for (size_t i = 0; i < best->count; i++) {
        cr_assert_float_eq(product(x, "fc2", i / 64, i % 64), (double)pq_f32(best)[i],
                           1e-6);
    }
    cr_expect_lt(distance(g, x, "fc2"), 1e-7);
    cr_expect_lt(net_difference(g, x), 1e-5);
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&svd);
}

Test(lora, loftq_loses_less_than_nf4_alone_and_no_more_with_more_rounds_or_rank)
{
    static const char *const stages[] = {
        "lora:base=nf4,layers=fc2,rank=2,init=loftq,loftq_rounds=1",
        "lora:base=nf4,layers=fc2,rank=2,init=loftq,loftq_rounds=5",
        "lora:base=nf4,layers=fc2,rank=8,init=loftq,loftq_rounds=5",
        "lora:base=nf4,layers=fc2,rank=32,init=loftq,loftq_rounds=5"};
    pq_graph        *g       = net_mlp(8);
    pq_layer_change *changes = NULL;
    size_t           n       = 0;
    pq_graph        *nf4 =
        net_apply("quantize:format=nf4,granularity=per_group,group=64,layers=fc2", g,
                  NULL, &changes, &n);
    double last = changes[0].error;

    cr_expect_gt(last, 0.05);
    pq_free(changes);
    for (size_t i = 0; i < 4; i++) {
        pq_graph *x = net_apply(stages[i], g, NULL, &changes, &n);
        cr_expect_float_eq(changes[0].error, distance(g, x, "fc2"), 1e-9);
        cr_expect(changes[0].error < last || (i == 1 && changes[0].error <= last),
                  "%s: %g, before %g", stages[i], changes[0].error, last);
        cr_expect_eq(net_node(x, "fc2")->layer->weights[KERNEL].quant->scheme,
                     PQ_QUANT_NF4);
        last = changes[0].error;
        pq_free(changes);
        pq_graph_free(&x);
    }
    cr_expect_lt(last, 1e-6); /* at full rank the product holds all that nf4 loses */
    pq_graph_free(&g);
    pq_graph_free(&nf4);
}

Test(lora, an_nf4_base_is_that_of_quantize)
{
    pq_graph *g   = net_mlp(9);
    pq_graph *x   = net_apply("lora:rank=2,base=nf4,layers=fc1", g, NULL, NULL, NULL);
    pq_graph *nf4 = net_apply("quantize:format=nf4,granularity=per_group,layers=fc1", g,
                              NULL, NULL, NULL);

    expect_same_layer(nf4, x, "fc1");
    cr_expect_eq(net_difference(nf4, x), 0.0);
    pq_graph_free(&x);
    pq_graph_free(&nf4);
    x   = net_apply("lora:rank=2,base=nf4,double_scales=yes,layers=fc1", g, NULL, NULL,
                    NULL);
    nf4 = net_apply("quantize:format=nf4,granularity=per_group,double_scales=yes,"
                    "layers=fc1",
                    g, NULL, NULL, NULL);
    expect_same_layer(nf4, x, "fc1");
    cr_expect_eq(net_difference(nf4, x), 0.0);
    cr_expect_not_null(pq_layer_weight(x->nodes[pq_graph_find(x, "fc1")].layer, "kernel")
                           ->quant->scale_code);
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&nf4);
}

Test(lora, merging_into_a_quantized_base_says_what_is_lost)
{
    static const char *const bases[] = {
        "quantize:format=nf4,granularity=per_group,layers=fc1",
        "quantize:bits=8,activations=false,layers=fc1",
        "quantize:format=float16,layers=fc1"};

    for (size_t i = 0; i < 3; i++) {
        pq_graph        *g = net_mlp(10);
        pq_graph        *q = net_apply(bases[i], g, NULL, NULL, NULL);
        pq_graph        *x = net_apply("lora:rank=2,layers=fc1", q, NULL, NULL, NULL);
        pq_layer_change *changes = NULL;
        size_t           n       = 0;
        double           lost = 0.0, all = 0.0;
        pq_graph        *merged;

        train_b(x, "fc1.lora_b", 0.1);
        expect_same_layer(q, x, "fc1");
        merged                 = net_apply("lora:action=merge", x, NULL, &changes, &n);
        const pq_tensor *w     = net_weight(q, "fc1", "kernel");
        const pq_tensor *m     = net_weight(merged, "fc1", "kernel");
        const pq_quant  *quant = net_node(merged, "fc1")->layer->weights[KERNEL].quant;
        for (size_t k = 0; k < w->count; k++) {
            const double sum = (double)pq_f32(w)[k] + product(x, "fc1", k / 16, k % 16);
            const double d   = sum - (double)pq_f32(m)[k];
            lost += d * d;
            all += sum * sum;
            cr_assert_eq(
                pq_quant_round(quant, pq_quant_index(quant, &m->shape, k), pq_f32(m)[k]),
                pq_f32(m)[k]);
        }
        cr_expect_float_eq(changes[0].error, sqrt(lost / all), 1e-9);
        cr_expect(i == 2 ? changes[0].error < 1e-3 : changes[0].error > 1e-3);
        cr_expect_not_null(strstr(changes[0].what, "of the sum lost"), "%s",
                           changes[0].what);
        cr_expect_eq(
            changes[0].bytes_after,
            pq_weight_stored_bytes(&net_node(q, "fc1")->layer->weights[KERNEL]) +
                pq_weight_stored_bytes(&net_node(q, "fc1")->layer->weights[BIAS]));
        cr_expect_gt(changes[0].bytes_before, changes[0].bytes_after);
        pq_free(changes);
        pq_graph_free(&g);
        pq_graph_free(&q);
        pq_graph_free(&x);
        pq_graph_free(&merged);
    }
}

Test(lora, dropout_does_nothing_in_inference)
{
    pq_graph *g = net_mlp(11);
    pq_graph *x = net_apply("lora:rank=2,init=pissa", g, NULL, NULL, NULL);
    pq_graph *y = net_apply("lora:rank=2,init=pissa,dropout=0.9", g, NULL, NULL, NULL);

    cr_expect_eq(net_difference(x, y), 0.0);
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&y);
}

Test(lora, a_convolutions_adapter_keeps_stride_padding_and_dilation)
{
    pq_rng    rng = pq_rng_stream(1, "test");
    pq_graph *g   = NULL, *x, *merged;
    pq_layer *l   = net_kernel(&rng, PQ_SHAPE(5, 3, 3, 4), true);

    OK(pq_graph_create(&g, &err));
    net_input(g, "9, 9, 4");
    OK(pq_layer_set(l, "padding", "same", &err));
    OK(pq_layer_set(l, "stride_h", "2", &err));
    OK(pq_layer_set(l, "dilation_w", "2", &err));
    net_add(g, "conv", l, "in");
    OK(pq_graph_check(g, &err));
    x = net_apply("lora:rank=2,init=pissa", g, NULL, NULL, NULL);
    train_b(x, "conv.lora_b", 0.1);
    merged = net_apply("lora:action=merge", x, NULL, NULL, NULL);
    cr_expect_gt(net_difference(g, x), 1e-3);
    cr_expect_lt(net_difference(x, merged), 1e-5);
    cr_expect_str_eq(x->nodes[x->output].name, "conv.lora_add");
    cr_expect_str_eq(merged->nodes[merged->output].name, "conv");
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&merged);
}

Test(lora, bad_input_is_named)
{
    static const struct {
        const char *before, *stage;
        pq_status   status;
        const char *message;
    } cases[] = {
        {NULL, "lora:rank=33,layers=fc3", PQ_ERR_RANGE,
         "layer 'fc3': rank 33 is not in 1..32"},
        {NULL, "lora:rank=0", PQ_ERR_RANGE, "lora: rank = 0 is not in 1..1048576"},
        {NULL, "lora:init=loftq", PQ_ERR_CONFIG, "lora: init = loftq needs base = nf4"},
        {NULL, "lora:double_scales=yes", PQ_ERR_CONFIG,
         "lora: double_scales = true needs base = nf4"},
        {NULL, "lora:action=merge", PQ_ERR_CONFIG,
         "no selected layer has adapters to merge"},
        {NULL, "lora:action=unmerge", PQ_ERR_CONFIG,
         "no selected layer was merged with keep = true"},
        {"lora:rank=2", "lora:rank=2", PQ_ERR_CONFIG,
         "layer 'fc1': it has adapters already; merge them first"},
    };
    pq_graph *g = net_mlp(12), *x;
    pq_err    err;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        x = cases[i].before != NULL ? net_apply(cases[i].before, g, NULL, NULL, NULL)
                                    : NULL;
        cr_expect_eq(net_refusal(cases[i].stage, x != NULL ? x : g, NULL, &err),
                     cases[i].status);
        cr_expect_str_eq(err.message, cases[i].message);
        pq_graph_free(&x);
    }
    x = net_apply("lora:rank=33,clip_rank=true,layers=out|fc3", g, NULL, NULL, NULL);
    cr_expect_eq(net_weight(x, "out.lora_a", "kernel")->shape.dim[0], 5);
    pq_graph_free(&x);
    pq_graph_free(&g);
}

Test(lora, what_changed_since_is_not_merged_or_unmerged_silently)
{
    pq_graph *g      = net_mlp(13),
             *x      = net_apply("lora:rank=2,layers=fc1", g, NULL, NULL, NULL);
    pq_graph *merged = net_apply("lora:action=merge", x, NULL, NULL, NULL);
    pq_graph *gone   = net_apply("lora:action=merge,keep=false", x, NULL, NULL, NULL);
    pq_graph *cut    = net_apply("svd:rank=1,layers=fc1.lora_a", x, NULL, NULL, NULL);
    pq_err    err;

    pq_f32(net_weight(merged, "fc1", "bias"))[0] += 1.0f;
    cr_expect_eq(net_refusal("lora:action=unmerge", merged, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "layer 'fc1': its weights have changed since it was "
                                  "merged, so that unmerge would lose them");
    cr_expect_null(gone->aside);
    cr_expect_eq(net_refusal("lora:action=unmerge", gone, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_eq(net_refusal("lora:action=merge", cut, NULL, &err), PQ_ERR_SHAPE);
    cr_expect_str_eq(err.message, "layer 'fc1': its adapters do not have its shape");
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&merged);
    pq_graph_free(&gone);
    pq_graph_free(&cut);
}

Test(lora, adapters_can_be_quantized_and_factored_with_their_base)
{
    pq_graph              *g = net_mlp(14);
    pq_graph              *x = net_apply("lora:rank=4,init=pissa", g, NULL, NULL, NULL);
    pq_calib              *calib   = net_calibrate(x, 50);
    const pq_apply_options options = {.calib = calib};
    pq_graph              *q = net_apply("quantize:bits=8", x, &options, NULL, NULL);
    pq_err                 err;

    cr_expect_lt(net_difference(x, q), 0.1);
    cr_expect_not_null(net_node(q, "fc1.lora_b")->quant);
    cr_expect_eq(net_refusal("lora:action=merge", q, NULL, &err), PQ_ERR_CONFIG);
    cr_expect_not_null(strstr(err.message, "merge before activations are"), "%s",
                       err.message);
    pq_calib_free(&calib);
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&q);
}

Test(lora, failed_allocations_leave_nothing_behind)
{
    pq_graph *g = net_mlp(15);
    pq_graph *x, *merged;

    net_survives("lora:rank=2,layers=fc3", g, NULL);
    net_survives("lora:rank=2,layers=fc3,init=pissa", g, NULL);
    net_survives("lora:rank=2,layers=fc3,base=nf4,init=loftq,loftq_rounds=2", g, NULL);
    x      = net_apply("lora:rank=2,layers=fc3|out,base=nf4", g, NULL, NULL, NULL);
    merged = net_apply("lora:action=merge", x, NULL, NULL, NULL);
    net_survives("lora:action=merge", x, NULL);
    net_survives("lora:action=unmerge", merged, NULL);
    pq_graph_free(&g);
    pq_graph_free(&x);
    pq_graph_free(&merged);
}
