#include "build.h"

static void change_name(pq_graph *g)
{
    g->nodes[1].name[0] = 'C';
}
static void change_attribute(pq_graph *g)
{
    (void)pq_layer_set(g->nodes[1].layer, "stride_h", "2", NULL);
}
static void change_weight(pq_graph *g)
{
    pq_f32(g->nodes[6].layer->weights[0].value)[11] += 1e-7f;
}
static void change_bias(pq_graph *g)
{
    pq_f32(g->nodes[3].layer->weights[1].value)[0] = 1e-30f;
}
static void change_pruned(pq_graph *g)
{
    pq_f32(g->nodes[3].layer->weights[1].value)[0] = 0.0f;
    cr_assert_eq(pq_weight_prune_zeros(&g->nodes[3].layer->weights[1], NULL), PQ_OK);
}
static void change_one_of_the_pruned(pq_graph *g)
{
    change_pruned(g);
    g->nodes[3].layer->weights[1].pruned[0] = 0;
}
static void change_input(pq_graph *g)
{
    g->nodes[4].inputs[0] = 1;
}
static void change_output(pq_graph *g)
{
    g->output = 6;
}
static void change_scale(pq_graph *g)
{
    g->nodes[2].quant->scale[0] *= 2.0f;
}
static void change_zero(pq_graph *g)
{
    g->nodes[2].quant->zero_point[0]++;
}
static void remove_quant(pq_graph *g)
{
    pq_quant_free(&g->nodes[2].quant);
}
static void change_aside(pq_graph *g)
{
    (void)pq_graph_clone(g, &g->aside, NULL);
}
static void change_class(pq_graph *g)
{
    g->class_names[0][0] = 'G';
}
static void change_mean(pq_graph *g)
{
    pq_f32(g->scaler_mean)[0] = 1.0f;
}
static void remove_std(pq_graph *g)
{
    pq_tensor_free(&g->scaler_std);
}
static void change_shape(pq_graph *g)
{
    (void)pq_tensor_reshape(g->nodes[6].layer->weights[0].value, PQ_SHAPE(4, 3), NULL);
}
static void add_weight_quant(pq_graph *g)
{
    (void)pq_quant_create(PQ_QUANT_FLOAT16, 16, true, false, -1, 0,
                          &g->nodes[6].layer->weights[0].quant, NULL);
}
static void remove_node(pq_graph *g)
{
    (void)pq_graph_bypass(g, 7, NULL);
}

static const struct {
    const char *what;
    void (*change)(pq_graph *g);
} changes[] = {
    {"name", change_name},        {"attribute", change_attribute},
    {"weight", change_weight},    {"bias", change_bias},
    {"pruned", change_pruned},    {"input", change_input},
    {"output", change_output},    {"scale", change_scale},
    {"zero point", change_zero},  {"no quantizer", remove_quant},
    {"class", change_class},      {"mean", change_mean},
    {"no deviation", remove_std}, {"something set aside", change_aside},
    {"shape", change_shape},      {"weight quantizer", add_weight_quant},
    {"no node", remove_node},     {"one of the pruned", change_one_of_the_pruned},
};

Test(hash, is_the_same_for_the_same_graph)
{
    pq_graph *a = residual(), *b = residual();
    char      x[65], y[65];

    cr_assert_eq(pq_graph_hash(a, x, NULL), PQ_OK);
    cr_assert_eq(pq_graph_hash(b, y, NULL), PQ_OK);
    cr_expect_str_eq(x, y);
    cr_expect_eq(strlen(x), 64);
    pq_graph_free(&a);
    pq_graph_free(&b);
}

Test(hash, changes_with_anything_that_affects_results)
{
    pq_graph *g = residual();
    char      seen[1 + sizeof changes / sizeof *changes][65];

    cr_assert_eq(pq_graph_hash(g, seen[0], NULL), PQ_OK);
    pq_graph_free(&g);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        g = residual();
        changes[i].change(g);
        cr_assert_eq(pq_graph_hash(g, seen[i + 1], NULL), PQ_OK);
        for (size_t k = 0; k <= i; k++) {
            cr_expect_str_neq(seen[i + 1], seen[k], "%s", changes[i].what);
        }
        pq_graph_free(&g);
    }
}

Test(hash, provenance_and_the_sign_of_zero_do_not_count)
{
    pq_graph *g = residual();
    char      a[65], b[65];

    cr_assert_eq(pq_graph_hash(g, a, NULL), PQ_OK);
    cr_assert_eq(pq_graph_note(g, json_pack("{s:s}", "method", "svd"), NULL), PQ_OK);
    pq_f32(g->nodes[6].layer->weights[0].value)[0] = -0.0f;
    cr_assert_eq(pq_graph_hash(g, b, NULL), PQ_OK);
    cr_expect_str_eq(a, b);
    pq_graph_free(&g);
}
