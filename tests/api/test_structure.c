#include "nets.h"

Test(builder, gives_a_model_whose_weights_can_be_read)
{
    pquant_model *m = make_net();
    pquant_array  a = {0};
    char         *text;

    cr_assert_eq(pquant_model_weight(m, "fc1", "kernel", &a), 0);
    cr_assert_eq(a.ndim, 2);
    cr_assert_eq(a.shape[0], HIDDEN);
    cr_assert_eq(memcmp(a.data, net_kernel1, sizeof net_kernel1), 0);
    cr_assert_neq(pquant_model_weight(m, "fc3", "kernel", &a), 0);
    cr_assert_str_eq(pquant_error(), "the model has no layer 'fc3'");
    cr_assert_eq(pquant_error_status(), PQUANT_NOT_FOUND);
    text = pquant_model_describe(m);
    cr_assert_not_null(strstr(text, "\"kind\":\"dense\""));
    cr_assert_not_null(strstr(text, "\"head\":\"softmax\""));
    cr_assert_not_null(strstr(text, "\"shape\":[8]"));
    pquant_text_free(text);
    pquant_model_free(m);
}

Test(builder, says_which_layer_is_wrong)
{
    const size_t    shape[]  = {4};
    const char     *inputs[] = {"nothing"};
    pquant_builder *b        = pquant_builder_create();

    cr_assert_null(pquant_builder_finish(b));
    cr_assert_str_eq(pquant_error(), "the model has no layers");
    cr_assert_eq(pquant_builder_input(b, "x", 1, shape), 0);
    cr_assert_neq(pquant_builder_layer(b, "rellu", "act", 0, NULL, NULL), 0);
    cr_assert_not_null(strstr(pquant_error(), "layer 'act': "));
    cr_assert_not_null(strstr(pquant_error(), "relu"), "%s", pquant_error());
    cr_assert_neq(pquant_builder_layer(b, "relu", "act", 1, inputs, NULL), 0);
    cr_assert_neq(pquant_builder_layer(b, "leaky_relu", "act", 0, NULL, "slope"), 0);
    cr_assert_not_null(strstr(pquant_error(), "'slope' is not written key=value"));
    cr_assert_eq(pquant_builder_layer(b, "leaky_relu", "act", 0, NULL, "slope=0.2"), 0);
    cr_assert_eq(pquant_builder_layer(b, "reshape", "r", 0, NULL, "shape=[2,2]"), 0);
    pquant_builder_free(b);
}

Test(weights, can_be_exchanged_and_stay_on_their_grid)
{
    const char *const  methods[] = {"prune:target_sparsity=0.5",
                                    "quantize:bits=4,activations=false"};
    pquant_model      *m         = make_net(), *small, *changed;
    pquant_named_array w         = {"fc1", "kernel", {0}};
    pquant_array       a = {0}, b = {0};
    float              doubled[HIDDEN * IN];
    size_t             zeros = 0;

    small = pquant_compress_with(m, methods, 2, NULL);
    cr_assert_not_null(small, "%s", pquant_error());
    cr_assert_eq(pquant_model_weight(small, "fc1", "kernel", &a), 0);
    for (size_t i = 0; i < HIDDEN * IN; i++) {
        doubled[i] = net_kernel1[i] * 0.9F;
    }
    w.value = matrix(doubled, PQUANT_FLOAT32, HIDDEN, IN);
    changed = pquant_model_with_weights(small, 1, &w);
    cr_assert_not_null(changed, "%s", pquant_error());
    cr_assert_eq(pquant_model_weight(changed, "fc1", "kernel", &b), 0);
    for (size_t i = 0; i < HIDDEN * IN; i++) {
        const float from = ((float *)a.data)[i], to = ((float *)b.data)[i];
        zeros += to == 0.0F;
        cr_assert(from != 0.0F || to == 0.0F);
    }
    cr_assert_geq(zeros, HIDDEN * IN / 2);
    cr_assert_eq(pquant_model_stored_bytes(changed), pquant_model_stored_bytes(small));
    w.value.shape[1] = IN - 1;
    cr_assert_null(pquant_model_with_weights(small, 1, &w));
    pquant_model_free(changed);
    pquant_model_free(small);
    pquant_model_free(m);
}

Test(errors, tell_place_and_hint)
{
    char file[64];
    int  line = -1, column = -1;

    cr_assert_null(pquant_sweep("schema: pquant/1\nname: x\nmodle: {}\n", NULL, NULL));
    cr_assert_eq(pquant_error_status(), PQUANT_BAD_CONFIG);
    cr_assert_neq(pquant_error_place(file, sizeof file, &line, &column), 0, "%s",
                  pquant_error());
    cr_assert_gt(line, 0);
    cr_assert_gt(column, 0);
    cr_assert_null(pquant_model_load("nothing.h5", NULL));
    cr_assert_eq(pquant_error_status(), PQUANT_NOT_FOUND);
    cr_assert_neq(pquant_error_place(file, sizeof file, &line, &column), 0);
    cr_assert_str_eq(file, "nothing.h5");
    cr_assert_eq(line, 0);
}
