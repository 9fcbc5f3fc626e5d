#include "nets.h"

static pq_layer_change *changes;
static size_t           n_changes;

static const char *const kernels[] = {"fc1", "fc2", "fc3", "out"};

static size_t zeros(const pq_tensor *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->count; i++) {
        n += pq_f32(t)[i] == 0.0f ? 1 : 0;
    }
    return n;
}

typedef struct {
    float  size;
    size_t place;
} item;

static int by_size_then_place(const void *a, const void *b)
{
    const item *x = a, *y = b;

    return x->size != y->size ? (x->size > y->size) - (x->size < y->size)
                              : (x->place > y->place) - (x->place < y->place);
}

/* Which weights go, by sorting all of them. */
static void expect_same_as_sorting(const pq_graph *before, const pq_graph *after,
                                   const char *const *names, size_t n_names,
                                   double sparsity)
{
    static item items[8192];
    size_t      n = 0, at = 0;

    for (size_t k = 0; k < n_names; k++) {
        const pq_tensor *w = net_weight(before, names[k], "kernel");
        for (size_t i = 0; i < w->count; i++, n++) {
            cr_assert_lt(n, sizeof items / sizeof items[0]);
            items[n] = (item){fabsf(pq_f32(w)[i]), n};
        }
    }
    qsort(items, n, sizeof items[0], by_size_then_place);

    const size_t count = (size_t)round(sparsity * (double)n);
    static bool  gone[8192];

    memset(gone, 0, sizeof gone);
    for (size_t i = 0; i < count; i++) {
        gone[items[i].place] = true;
    }
    for (size_t k = 0; k < n_names; k++) {
        const pq_tensor *w = net_weight(before, names[k], "kernel");
        const pq_tensor *p = net_weight(after, names[k], "kernel");
        for (size_t i = 0; i < w->count; i++, at++) {
            cr_expect_eq(pq_f32(p)[i], gone[at] ? 0.0f : pq_f32(w)[i]);
        }
    }
}

/* Rounds weights so that magnitudes tie often. */
static pq_graph *tied_net(uint64_t seed)
{
    pq_graph *g = net_mlp(seed);

    for (size_t k = 0; k < 4; k++) {
        const pq_tensor *w = net_weight(g, kernels[k], "kernel");
        for (size_t i = 0; i < w->count; i++) {
            pq_f32(w)[i] = rintf(pq_f32(w)[i] * 16.0f) / 16.0f;
        }
    }
    return g;
}

static const double sparsities[] = {0.0, 0.0001, 0.1,   1.0 / 3.0,
                                    0.5, 0.77,   0.999, 0.999999};
enum { SPARSITIES = sizeof sparsities / sizeof sparsities[0] };

Test(prune, global_agrees_with_sorting_and_breaks_ties_by_index)
{
    for (int tied = 0; tied < 2; tied++) {
        pq_graph *g = tied != 0 ? tied_net(1) : net_mlp(1);

        for (size_t s = 0; s < SPARSITIES; s++) {
            char      text[64], number[32];
            pq_graph *out;

            snprintf(text, sizeof text, "prune:target_sparsity=%s",
                     pq_real_text(sparsities[s], number, sizeof number));
            out = net_apply(text, g, NULL, NULL, NULL);
            expect_same_as_sorting(g, out, kernels, 4, sparsities[s]);
            pq_graph_free(&out);
        }
        pq_graph_free(&g);
    }
}

Test(prune, per_layer_agrees_with_sorting_each)
{
    pq_graph *g = tied_net(2);

    for (size_t s = 0; s < SPARSITIES; s++) {
        char      text[64], number[32];
        pq_graph *out;

        snprintf(text, sizeof text, "prune:scope=per_layer,target_sparsity=%s",
                 pq_real_text(sparsities[s], number, sizeof number));
        out = net_apply(text, g, NULL, NULL, NULL);
        for (size_t k = 0; k < 4; k++) {
            expect_same_as_sorting(g, out, &kernels[k], 1, sparsities[s]);
        }
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}

Test(prune, target_is_met_to_one_weight)
{
    pq_graph *g   = net_mlp(3);
    pq_graph *out = net_apply("prune:target_sparsity=0.9", g, NULL, NULL, NULL);
    size_t    n = 0, all = 0;

    for (size_t k = 0; k < 4; k++) {
        n += zeros(net_weight(out, kernels[k], "kernel"));
        all += net_weight(out, kernels[k], "kernel")->count;
    }
    cr_expect_eq(n, (size_t)round(0.9 * (double)all));
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(prune, nothing_asked_is_the_identity)
{
    pq_graph *g   = net_mlp(4);
    pq_graph *out = net_apply("prune:target_sparsity=0", g, NULL, NULL, NULL);
    char      before[65], after[65];

    OK(pq_graph_hash(g, before, &err));
    OK(pq_graph_hash(out, after, &err));
    cr_expect_str_eq(before, after);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(prune, touches_kernels_only_and_marks_them)
{
    pq_graph *g = net_residual(5);
    pq_graph *out =
        net_apply("prune:target_sparsity=0.999999,layers=conv*", g, NULL, NULL, NULL);

    for (size_t i = 0; i < g->n_nodes; i++) {
        const pq_layer *layer = g->nodes[i].layer;
        for (size_t w = 0; w < layer->n_weights; w++) {
            const pq_weight *pruned = &out->nodes[i].layer->weights[w];
            const bool       due    = strncmp(g->nodes[i].name, "conv", 4) == 0 &&
                             strcmp(pruned->name, "kernel") == 0;
            cr_expect_eq(pruned->pruned != NULL, due);
            if (!due) {
                cr_expect_eq(memcmp(pruned->value->data, layer->weights[w].value->data,
                                    pruned->value->count * sizeof(float)),
                             0);
            } else {
                cr_expect_eq(zeros(pruned->value), pruned->value->count);
            }
        }
    }
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(prune, error_and_bytes_are_monotone_in_the_sparsity)
{
    pq_graph *g     = net_mlp(6);
    double    error = -1.0;
    size_t    bytes = SIZE_MAX;

    for (int percent = 10; percent < 110; percent += 10) {
        char      text[64];
        pq_graph *out;

        snprintf(text, sizeof text, "prune:target_sparsity=%g,layers=fc2",
                 fmin(percent / 100.0, 0.999999));
        out = net_apply(text, g, NULL, &changes, &n_changes);
        cr_expect_gt(changes[0].error, error);
        cr_expect_lt(changes[0].bytes_after, bytes);
        error = changes[0].error;
        bytes = changes[0].bytes_after;
        pq_free(changes);
        pq_graph_free(&out);
    }
    cr_expect_float_eq(error, 1.0, 1e-15);
    pq_graph_free(&g);
}

Test(prune, error_is_the_norm_of_what_was_zeroed)
{
    pq_graph *g = net_mlp(7);
    pq_graph *out =
        net_apply("prune:target_sparsity=0.3,layers=fc3", g, NULL, &changes, &n_changes);
    const pq_tensor *w = net_weight(g, "fc3", "kernel"),
                    *p = net_weight(out, "fc3", "kernel");
    double lost = 0.0, all = 0.0;

    for (size_t i = 0; i < w->count; i++) {
        const double x = (double)pq_f32(w)[i], d = x - (double)pq_f32(p)[i];
        lost += d * d;
        all += x * x;
    }
    cr_expect_float_eq(changes[0].error, sqrt(lost / all), 1e-12);
    cr_expect_str_eq(changes[0].what, "307 of 1024 weights are zero");
    pq_free(changes);
    pq_graph_free(&out);
    pq_graph_free(&g);
}

Test(prune, keeps_an_earlier_quantization_on_its_grid)
{
    pq_graph *g   = net_mlp(8);
    pq_graph *q   = net_apply("quantize:activations=no", g, NULL, NULL, NULL);
    pq_graph *out = net_apply("prune:target_sparsity=0.5", q, NULL, NULL, NULL);
    size_t    bytes[2];

    for (size_t k = 0; k < 4; k++) {
        const pq_weight *w = pq_layer_weight(net_node(out, kernels[k])->layer, "kernel");
        cr_assert_not_null(w->quant);
        for (size_t i = 0; i < w->value->count; i++) {
            const float x = pq_f32(w->value)[i];
            cr_expect_eq(x, pq_quant_round(w->quant,
                                           pq_quant_index(w->quant, &w->value->shape, i),
                                           x));
        }
    }
    bytes[0] = pq_graph_stored_bytes(q);
    bytes[1] = pq_graph_stored_bytes(out);
    cr_expect_lt(bytes[1], bytes[0]);
    pq_graph_free(&out);
    pq_graph_free(&q);
    pq_graph_free(&g);
}

static size_t pruned(const pq_graph *g, const char *layer)
{
    const pq_weight *w = pq_layer_weight(net_node(g, layer)->layer, "kernel");
    size_t           n = 0;

    for (size_t i = 0; i < w->value->count; i++) {
        cr_expect(!pq_weight_is_pruned(w, i) || pq_f32(w->value)[i] == 0.0f);
        n += pq_weight_is_pruned(w, i) ? 1 : 0;
    }
    return n;
}

/* What a coarse grid rounds to zero is not pruned, and what is pruned comes first when
   more is. */
Test(prune, marks_what_it_pruned_and_nothing_that_is_rounded_to_zero)
{
    pq_graph *g = net_mlp(10);
    pq_graph *p = net_apply("prune:target_sparsity=0.25,layers=fc3", g, NULL, NULL, NULL);
    pq_graph *q = net_apply("quantize:bits=2,activations=no", p, NULL, NULL, NULL);
    pq_graph *less =
        net_apply("prune:target_sparsity=0.2,layers=fc3", q, NULL, NULL, NULL);
    pq_graph *more =
        net_apply("prune:target_sparsity=0.3,layers=fc3", q, NULL, NULL, NULL);

    cr_expect_eq(zeros(net_weight(p, "fc3", "kernel")), 256);
    cr_expect_eq(pruned(p, "fc3"), 256);
    cr_assert_gt(zeros(net_weight(q, "fc3", "kernel")), 310);
    cr_expect_eq(pruned(q, "fc3"), 256);
    cr_expect_null(pq_layer_weight(net_node(q, "fc2")->layer, "kernel")->pruned);
    cr_expect_eq(pruned(less, "fc3"), 256);
    cr_expect_eq(pruned(more, "fc3"), 307);
    for (size_t i = 0; i < 1024; i++) {
        cr_expect_leq(
            pq_weight_is_pruned(pq_layer_weight(net_node(q, "fc3")->layer, "kernel"), i),
            pq_weight_is_pruned(pq_layer_weight(net_node(more, "fc3")->layer, "kernel"),
                                i));
    }
    pq_graph_free(&more);
    pq_graph_free(&less);
    pq_graph_free(&q);
    pq_graph_free(&p);
    pq_graph_free(&g);
}

Test(prune, refuses_sparsities_outside_0_to_1)
{
    pq_graph *g = net_mlp(9);
    pq_err    err;

    cr_expect_eq(net_refusal("prune:target_sparsity=1", g, NULL, &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "prune: target_sparsity = 1 is not in 0..0.999999");
    pq_graph_free(&g);
}

Test(prune, refuses_weights_that_are_not_numbers)
{
    pq_graph *g = net_mlp(9);
    pq_err    err;

    pq_f32(net_weight(g, "fc3", "kernel"))[3] = NAN;
    cr_expect_eq(net_refusal("prune", g, NULL, &err), PQ_ERR_NUMERIC);
    pq_graph_free(&g);
}

Test(prune, survives_every_failed_allocation)
{
    pq_graph *g = net_mlp(10);

    net_survives("prune:scope=per_layer", g, NULL);
    pq_graph_free(&g);
}

/* Both cores of a train, and not the first alone. */
Test(prune, cores_are_pruned_together)
{
    pq_graph *g = net_cores(4);

    for (int global = 0; global < 2; global++) {
        pq_layer_change *changes = NULL;
        size_t           n = 0, zeros[2] = {0, 0};
        pq_graph        *out =
            net_apply(global == 1 ? "prune:target_sparsity=0.5,layers=fc"
                                  : "prune:target_sparsity=0.5,scope=per_layer",
                      g, NULL, &changes, &n);
        for (size_t k = 0; k < 2; k++) {
            const pq_tensor *w = net_node(out, "fc")->layer->weights[k].value;
            for (size_t i = 0; i < w->count; i++) {
                zeros[k] += pq_f32(w)[i] == 0.0f ? 1 : 0;
            }
        }
        cr_expect_eq(zeros[0] + zeros[1], 42);
        cr_expect_gt(zeros[0], zeros[1] / 2, "the first core is the smaller one");
        cr_expect_str_eq(changes[0].what, "42 of 84 weights are zero");
        pq_free(changes);
        pq_graph_free(&out);
    }
    pq_graph_free(&g);
}
