#include "helpers.h"

#include <math.h>

#include "lab/diff.h"
#include "lab/evaluate.h"

static const size_t straight[] = {0, 1, 2}, turned[] = {1, 2, 0};

static pq_dataset *open_events(void)
{
    char       *path = write_events(scratch_folder());
    pq_dataset *d    = NULL;

    cr_assert_eq(pq_dataset_open(path, NULL, &d, NULL), PQ_OK);
    pq_free(path);
    return d;
}

Test(diff, a_model_does_not_differ_from_itself)
{
    pq_dataset     *events = open_events();
    pq_graph       *g      = make_model(straight, true);
    pq_diff         diff   = {0};
    pq_diff_options how    = {.events = 100};

    cr_assert_eq(pq_diff_models(g, g, events, 0, &how, &diff, NULL), PQ_OK);
    cr_expect_eq(diff.events, 100);
    cr_expect_eq(diff.agree, 100);
    cr_assert_eq(diff.n, g->n_nodes);
    for (size_t i = 0; i < diff.n; i++) {
        cr_expect_eq(diff.layers[i].error, 0.0);
        cr_expect_gt(diff.layers[i].signal, 0.0);
    }
    pq_diff_free(&diff);
    pq_graph_free(&g);
    pq_dataset_close(&events);
}

Test(diff, what_was_changed_is_where_the_error_is)
{
    pq_dataset     *events = open_events();
    pq_graph       *a = make_model(straight, true), *b = make_model(straight, true);
    pq_graph       *c    = make_model(turned, true);
    pq_diff         diff = {0};
    pq_diff_options how  = {.events = 0};

    pq_f32(pq_layer_weight(b->nodes[1].layer, "kernel")->value)[0] *= 1.1f;
    cr_assert_eq(pq_diff_models(a, b, events, 0, &how, &diff, NULL), PQ_OK);
    cr_expect_eq(diff.events, 256);
    cr_expect_eq(diff.layers[0].error, 0.0);
    cr_expect(diff.layers[1].error > 0.02 && diff.layers[1].error < 0.1, "%g",
              diff.layers[1].error);
    cr_expect_float_eq(diff.layers[1].largest, 0.4 * 2.5, 0.05);
    pq_diff_free(&diff);
    cr_assert_eq(pq_diff_models(a, c, events, 0, &how, &diff, NULL), PQ_OK);
    cr_expect_eq(diff.agree, 0, "every class moved on by one");
    pq_diff_free(&diff);
    pq_graph_free(&a);
    pq_graph_free(&b);
    pq_graph_free(&c);
    pq_dataset_close(&events);
}

/* x, then a BatchNorm of two features under a name. */
static pq_graph *normed(const char *name)
{
    static const char *const weights[] = {"mean", "variance", "gamma"};
    pq_graph                *g         = NULL;
    pq_layer                *in = NULL, *norm = NULL;
    const char              *from = "x";

    cr_assert_eq(pq_graph_create(&g, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("input", &in, NULL), PQ_OK);
    cr_assert_eq(pq_layer_set(in, "shape", "[2]", NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(g, "x", in, 0, NULL, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("batch_norm", &norm, NULL), PQ_OK);
    for (size_t i = 0; i < 3; i++) {
        pq_tensor *t = NULL;
        cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(2), &t, NULL), PQ_OK);
        pq_f32(t)[0] = pq_f32(t)[1] = 3.0f;
        cr_assert_eq(pq_layer_add_weight(norm, weights[i], t, NULL), PQ_OK);
    }
    cr_assert_eq(pq_graph_add(g, name, norm, 1, &from, NULL), PQ_OK);
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    return g;
}

/* The input takes no BatchNorm in, whatever that is called in the other model. */
Test(diff, inputs_are_compared_with_inputs_where_a_norm_has_another_name)
{
    pq_graph       *a = normed("norm"), *b = normed("norm:2");
    pq_diff         diff = {0};
    pq_diff_options how  = {.events = 50};

    cr_assert_eq(pq_diff_models(a, b, NULL, 0, &how, &diff, NULL), PQ_OK);
    cr_assert_eq(diff.n, 1);
    cr_expect_str_eq(diff.layers[0].name, "x");
    cr_expect_str_eq(diff.layers[0].measured, "x");
    cr_expect_eq(diff.layers[0].error, 0.0);
    pq_diff_free(&diff);
    pq_graph_free(&a);
    pq_graph_free(&b);
}

Test(diff, every_failed_allocation_leaves_nothing_behind)
{
    pq_dataset     *events = open_events();
    pq_graph       *g      = make_model(straight, false);
    pq_diff_options how    = {.events = 40};
    const size_t    live   = pq_memory_live();
    pq_status       st     = PQ_ERR_NOMEM;

    for (size_t at = 0; st != PQ_OK; at++) {
        pq_diff diff = {0};
        pq_memory_fail_after(at);
        st = pq_diff_models(g, g, events, 0, &how, &diff, NULL);
        pq_memory_fail_after(SIZE_MAX);
        pq_diff_free(&diff);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "allocation %zu: %d", at, (int)st);
        cr_assert_eq(pq_memory_live(), live, "allocation %zu", at);
    }
    pq_graph_free(&g);
    pq_dataset_close(&events);
}
