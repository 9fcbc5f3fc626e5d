#include <stdio.h>

#include "run.h"

Test(layer, every_kind_is_found_by_its_name_and_described)
{
    for (size_t i = 0; pq_layer_kinds[i] != NULL; i++) {
        const pq_layer_kind *k = pq_layer_kinds[i];
        cr_expect_eq(pq_layer_kind_find(k->name), k);
        cr_expect_gt(strlen(k->summary), 5, "%s", k->name);
        cr_expect_not_null(k->source);
        cr_expect_not_null(k->shape);
        cr_expect_eq(k->forward == NULL, k->backward == NULL);
        cr_expect_leq(k->min_inputs, k->max_inputs);
    }
    cr_expect_null(pq_layer_kind_find("lstm"));
}

Test(layer, an_unknown_kind_or_attribute_brings_a_suggestion)
{
    pq_layer *layer = NULL;
    pq_err    err   = {0};

    cr_expect_eq(pq_layer_create("conv3d", &layer, &err), PQ_ERR_UNSUPPORTED);
    cr_expect_str_eq(err.message, "unknown layer kind 'conv3d'; did you mean 'conv2d'?");
    cr_expect_null(layer);
    layer = run_layer("conv2d", "");
    err   = (pq_err){0};
    cr_expect_eq(pq_layer_set(layer, "strideh", "2", &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message,
                     "unknown parameter 'strideh'; did you mean 'stride_h'?");
    err = (pq_err){0};
    cr_expect_eq(pq_layer_set(layer, "stride_h", "0", &err), PQ_ERR_RANGE);
    cr_expect_str_eq(err.message, "stride_h = 0 is not in 1..65535");
    pq_layer_free(&layer);
    layer = run_layer("relu", "");
    cr_expect_eq(pq_layer_set(layer, "slope", "1", NULL), PQ_ERR_CONFIG);
    pq_layer_free(&layer);
}

Test(layer, weights_are_float32_and_named_once)
{
    pq_layer  *layer = run_layer("dense", "");
    pq_tensor *t     = NULL;
    pq_err     err   = {0};

    run_weight(layer, "kernel", PQ_SHAPE(2, 3), NULL);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(1), &t, NULL), PQ_OK);
    cr_expect_eq(pq_layer_add_weight(layer, "kernel", t, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "weight 'kernel' is given twice");
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F64, PQ_SHAPE(1), &t, NULL), PQ_OK);
    err = (pq_err){0};
    cr_expect_eq(pq_layer_add_weight(layer, "bias", t, &err), PQ_ERR_FORMAT);
    cr_expect_str_eq(err.message, "weight 'bias' is float64, not float32");
    cr_expect_eq(pq_layer_weight_index(layer, "kernel"), 0);
    cr_expect_null(pq_layer_weight(layer, "bias"));
    pq_layer_free(&layer);
}

Test(layer, a_kind_without_weights_is_given_none)
{
    for (size_t i = 0; pq_layer_kinds[i] != NULL; i++) {
        pq_layer  *layer = NULL;
        pq_tensor *t     = NULL;
        pq_err     err   = {0};
        char       want[128];

        cr_assert_eq(pq_layer_create(pq_layer_kinds[i]->name, &layer, NULL), PQ_OK);
        cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(1), &t, NULL), PQ_OK);
        const pq_status st = pq_layer_add_weight(layer, "kernel", t, &err);
        (void)snprintf(want, sizeof want,
                       "a layer of kind '%s' has no weights, but 'kernel' is given",
                       layer->kind->name);
        cr_expect_eq(st == PQ_OK, layer->kind->role != NULL, "%s", layer->kind->name);
        cr_expect(st == PQ_OK || strcmp(err.message, want) == 0, "%s", err.message);
        pq_layer_free(&layer);
    }
}

static pq_layer *quantized(void)
{
    pq_layer *layer = run_layer("conv2d", "stride_h=3; padding=same");

    run_weight(layer, "kernel", PQ_SHAPE(1, 1, 1, 3), (float[]){1, 0, 3});
    run_weight(layer, "bias", PQ_SHAPE(1), NULL);
    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, 0, 1,
                                 &layer->weights[0].quant, NULL),
                 PQ_OK);
    layer->weights[0].quant->scale[0] = 1.0f;
    cr_assert_eq(pq_weight_prune_zeros(&layer->weights[0], NULL), PQ_OK);
    return layer;
}

Test(layer, a_clone_is_deep_and_complete)
{
    pq_layer *a = quantized(), *b = NULL;

    cr_assert_eq(pq_layer_clone(a, &b, NULL), PQ_OK);
    cr_expect_eq(((pq_conv2d_params *)b->params)->window.stride_h, 3);
    cr_expect_eq(b->n_weights, 2);
    cr_expect_neq(b->weights[0].value, a->weights[0].value);
    cr_expect_eq(pq_f32(b->weights[0].value)[2], 3.0f);
    cr_expect_neq(b->weights[0].pruned, a->weights[0].pruned);
    cr_expect_eq(b->weights[0].pruned[0], 2);
    cr_expect_neq(b->weights[0].quant, a->weights[0].quant);
    cr_expect_eq(b->weights[0].quant->scale[0], 1.0f);
    pq_layer_free(&a);
    pq_layer_free(&b);
}

Test(layer, failed_allocations_leave_nothing_behind)
{
    pq_layer    *a      = quantized();
    const size_t before = pq_memory_live();
    pq_status    st     = PQ_ERR_NOMEM;

    for (size_t n = 0; st != PQ_OK; n++) {
        pq_layer *b = NULL;
        pq_memory_fail_after(n);
        st = pq_layer_clone(a, &b, NULL);
        pq_memory_fail_after(SIZE_MAX);
        pq_layer_free(&b);
        cr_expect_eq(pq_memory_live(), before);
        cr_assert_lt(n, 200);
    }
    pq_layer_free(&a);
}

Test(layer, stored_bytes_are_those_of_the_packed_weight)
{
    pq_layer  *layer = run_layer("dense", "");
    pq_weight *w;

    run_weight(layer, "kernel", PQ_SHAPE(10, 10), NULL);
    w                    = &layer->weights[0];
    pq_f32(w->value)[7]  = 1.0f;
    pq_f32(w->value)[99] = -1.0f;
    cr_expect_eq(pq_weight_stored_bytes(w), 400, "zeros are not sparse unless pruned");
    cr_assert_eq(pq_weight_prune_zeros(w, NULL), PQ_OK);
    /* csr: a count of 4 bits a row, and 4 bits an item; a bitmap would take 13 bytes */
    cr_expect_eq(pq_weight_stored_bytes(w), 6 + 2 * 4);
    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 5, true, true, 0, 10, &w->quant, NULL),
                 PQ_OK);
    for (size_t i = 0; i < 10; i++) {
        w->quant->scale[i] = 1.0f;
    }
    cr_expect_eq(pq_weight_stored_bytes(w), 6 + 2 + 40);
    for (size_t i = 0; i < 100; i++) {
        pq_f32(w->value)[i] = 1.0f;
    }
    cr_expect_eq(pq_weight_stored_bytes(w), 63 + 40);
    pq_layer_free(&layer);
}
