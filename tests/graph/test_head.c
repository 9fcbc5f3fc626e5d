#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "build.h"
#include "graph/graph_json.h"
#include "graph/head.h"

static const double TOL = 1e-12;

/* input [3] -> dense of `width` -> kinds, NULL-terminated. */
static pq_graph *net(size_t width, const char *const *kinds)
{
    pq_graph   *g      = NULL;
    pq_layer   *layer  = NULL;
    pq_tensor  *kernel = NULL;
    const char *before = "fc";

    cr_assert_eq(pq_graph_create(&g, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("input", &layer, NULL), PQ_OK);
    cr_assert_eq(pq_layer_set(layer, "shape", "[3]", NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(g, "x", layer, 0, NULL, NULL), PQ_OK);
    cr_assert_eq(pq_layer_create("dense", &layer, NULL), PQ_OK);
    cr_assert_eq(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(width, 3), &kernel, NULL),
                 PQ_OK);
    cr_assert_eq(pq_layer_add_weight(layer, "kernel", kernel, NULL), PQ_OK);
    cr_assert_eq(pq_graph_add(g, "fc", layer, 1, (const char *const[]){"x"}, NULL),
                 PQ_OK);
    for (; *kinds != NULL; before = *kinds++) {
        const bool two = strcmp(*kinds, "add") == 0;
        cr_assert_eq(pq_layer_create(*kinds, &layer, NULL), PQ_OK);
        cr_assert_eq(pq_graph_add(g, *kinds, layer, two ? 2 : 1,
                                  (const char *const[]){before, before}, NULL),
                     PQ_OK);
    }
    cr_assert_eq(pq_graph_check(g, NULL), PQ_OK);
    return g;
}

static pq_head derived(size_t width, const char *const *kinds)
{
    pq_graph     *g    = net(width, kinds);
    const pq_head head = pq_graph_head(g);

    cr_expect(pq_head_is_told(g));
    pq_graph_free(&g);
    return head;
}

#define KINDS(...)                                                                       \
    (const char *const[])                                                                \
    {                                                                                    \
        __VA_ARGS__, NULL                                                                \
    }

Test(head, is_told_by_the_last_layers)
{
    static const char *const none[] = {"tanh",       "relu", "elu", "gelu",
                                       "leaky_relu", "clip", "add", NULL};

    cr_expect_eq(derived(3, KINDS("softmax")), PQ_HEAD_SOFTMAX);
    cr_expect_eq(derived(3, KINDS("softmax", "flatten", "dropout")), PQ_HEAD_SOFTMAX);
    cr_expect_eq(derived(3, KINDS("sigmoid")), PQ_HEAD_SIGMOID);
    cr_expect_eq(derived(1, KINDS("sigmoid")), PQ_HEAD_BINARY);
    cr_expect_eq(derived(1, KINDS("sigmoid", "flatten")), PQ_HEAD_BINARY);
    cr_expect_eq(derived(3, KINDS("flatten")), PQ_HEAD_LOGITS);
    cr_expect_eq(derived(1, (const char *const[]){NULL}), PQ_HEAD_LOGITS);
    for (size_t i = 0; none[i] != NULL; i++) {
        cr_expect_eq(derived(3, KINDS(none[i])), PQ_HEAD_NONE, "%s", none[i]);
        cr_expect_eq(derived(1, KINDS(none[i])), PQ_HEAD_NONE, "%s", none[i]);
    }
    cr_expect_eq(derived(3, KINDS("relu", "flatten")), PQ_HEAD_NONE);
}

static void refused(pq_graph *g, const char *head, const char *why)
{
    pq_err err = {0};

    cr_expect_eq(pq_graph_set_head(g, head, &err), PQ_ERR_CONFIG, "%s", head);
    cr_expect_not_null(strstr(err.message, why), "%s", err.message);
}

Test(head, that_the_layers_or_their_number_deny_is_refused)
{
    pq_graph *three = net(3, KINDS("softmax")), *coins = net(3, KINDS("sigmoid")),
             *one = net(1, KINDS("sigmoid")), *open = net(1, KINDS("tanh"));

    refused(three, "logits",
            "head = logits: the model ends in a softmax, whose head is "
            "softmax");
    refused(three, "sigmoid", "ends in a softmax");
    refused(three, "binary", "head = binary is of one output, but the model has 3");
    refused(coins, "softmax", "ends in a sigmoid, whose head is sigmoid");
    refused(one, "logits", "ends in a sigmoid, whose head is binary");
    refused(one, "softmax", "a softmax over one is always 1");
    refused(open, "softmax", "a softmax over one is always 1");
    refused(open, "sigmiod", "did you mean 'sigmoid'?");
    cr_expect_eq(pq_graph_set_head(three, "none", NULL), PQ_OK);
    cr_expect_eq(pq_graph_head(three), PQ_HEAD_NONE);
    cr_expect_eq(pq_graph_set_head(open, "sigmoid", NULL), PQ_OK);
    cr_expect_eq(pq_graph_head(open), PQ_HEAD_BINARY);
    cr_expect_eq(pq_graph_set_head(open, "auto", NULL), PQ_OK);
    cr_expect_eq(pq_graph_head(open), PQ_HEAD_BINARY);
    pq_graph_free(&three);
    pq_graph_free(&coins);
    pq_graph_free(&one);
    pq_graph_free(&open);
}

Test(head, is_written_and_hashed_only_where_the_layers_do_not_tell_it)
{
    pq_graph *g = net(3, KINDS("softmax")), *back = NULL;
    json_t   *json = NULL;
    char      plain[65], kept[65], other[65];

    cr_assert_eq(pq_graph_hash(g, plain, NULL), PQ_OK);
    pq_graph_keep_head(g);
    cr_assert_eq(pq_graph_hash(g, kept, NULL), PQ_OK);
    cr_expect_str_eq(plain, kept);
    cr_assert_eq(pq_graph_to_json(g, &json, NULL), PQ_OK);
    cr_expect_null(json_object_get(json, "head"));
    json_decref(json);
    cr_assert_eq(pq_graph_set_head(g, "none", NULL), PQ_OK);
    cr_assert_eq(pq_graph_hash(g, other, NULL), PQ_OK);
    cr_expect_str_neq(plain, other);
    cr_assert_eq(pq_graph_to_json(g, &json, NULL), PQ_OK);
    cr_assert_eq(pq_graph_from_json(json, &back, NULL), PQ_OK);
    cr_expect_eq(back->head, PQ_HEAD_NONE);
    json_decref(json);
    pq_graph_free(&g);
    pq_graph_free(&back);
}

Test(head, decides_by_the_largest_or_by_the_side)
{
    static const float p[] = {0.5F, 0.500001F}, z[] = {0.0F, 1e-30F};
    static const float row[] = {0.7F, 0.9F, 0.9F};

    cr_expect_eq(pq_head_decide(PQ_HEAD_SIGMOID, 3, row), 1);
    cr_expect_eq(pq_head_decide(PQ_HEAD_BINARY, 1, &p[0]), 0);
    cr_expect_eq(pq_head_decide(PQ_HEAD_BINARY, 1, &p[1]), 1);
    cr_expect_eq(pq_head_decide(PQ_HEAD_LOGITS, 1, &z[0]), 0);
    cr_expect_eq(pq_head_decide(PQ_HEAD_LOGITS, 1, &z[1]), 1);
    cr_expect_not_null(pq_head_no_decision(PQ_HEAD_NONE, 1));
    cr_expect_null(pq_head_no_decision(PQ_HEAD_NONE, 2));
}

Test(head, agreement_is_of_decisions)
{
    static const float a[] = {0.6F, 0.9F, 0.2F}, b[] = {0.4F, 0.9F, 0.2F};
    static const float low = 0.2F, high = 0.6F;

    cr_expect(pq_head_agree(PQ_HEAD_SOFTMAX, 3, a, b));
    cr_expect_not(pq_head_agree(PQ_HEAD_SIGMOID, 3, a, b));
    cr_expect(pq_head_agree(PQ_HEAD_SIGMOID, 3, a, a));
    cr_expect_not(pq_head_agree(PQ_HEAD_BINARY, 1, &low, &high));
    cr_expect(pq_head_agree(PQ_HEAD_LOGITS, 1, &low, &high));
    cr_expect_not(pq_head_agree(PQ_HEAD_NONE, 1, &low, &high));
    cr_expect(pq_head_agree(PQ_HEAD_NONE, 1, &low, &low));
}

Test(head, losses_are_those_by_hand)
{
    static const float soft[] = {0.25F, 0.75F}, logits[] = {0.0F, 1.0F};
    static const float p = 0.25F, z = -2.0F, zero = 0.0F;

    cr_expect_float_eq(pq_head_loss(PQ_HEAD_SOFTMAX, 2, soft, 0), log(4.0), TOL);
    cr_expect_float_eq(pq_head_loss(PQ_HEAD_LOGITS, 2, logits, 0), log(1.0 + exp(1.0)),
                       TOL);
    cr_expect_float_eq(pq_head_loss(PQ_HEAD_BINARY, 1, &p, 1), log(4.0), TOL);
    cr_expect_float_eq(pq_head_loss(PQ_HEAD_BINARY, 1, &p, 0), log(4.0 / 3.0), TOL);
    cr_expect_float_eq(pq_head_loss(PQ_HEAD_LOGITS, 1, &z, 1), log(1.0 + exp(2.0)), TOL);
    cr_expect_float_eq(pq_head_loss(PQ_HEAD_LOGITS, 1, &z, 0), log(1.0 + exp(-2.0)), TOL);
    /* each for itself: -ln 0.75 - ln 0.75 for class 1, -ln 0.25 - ln 0.25 for class 0 */
    cr_expect_float_eq(pq_head_loss(PQ_HEAD_SIGMOID, 2, soft, 1), 2.0 * log(4.0 / 3.0),
                       TOL);
    cr_expect_float_eq(pq_head_loss(PQ_HEAD_SIGMOID, 2, soft, 0), 2.0 * log(4.0), TOL);
    cr_expect_float_eq(pq_head_loss(PQ_HEAD_BINARY, 1, &zero, 1), -log(0x1p-23), TOL);
    cr_expect_not_null(pq_head_no_probability(PQ_HEAD_NONE));
}

Test(head, divergences_are_those_by_hand_and_zero_of_the_same)
{
    static const float a[] = {0.25F, 0.75F}, b[] = {0.5F, 0.5F};
    static const float p = 0.25F, q = 0.5F, edge = 1.0F;
    const double       one = 0.25 * log(0.5) + 0.75 * log(1.5);
    const float        z = (float)log(1.0 / 3.0), w = 0.0F;

    cr_expect_float_eq(pq_head_divergence(PQ_HEAD_SOFTMAX, 2, a, b), one, TOL);
    cr_expect_float_eq(pq_head_divergence(PQ_HEAD_BINARY, 1, &p, &q), one, TOL);
    cr_expect_float_eq(pq_head_divergence(PQ_HEAD_SIGMOID, 2, a, b), 2.0 * one, TOL);
    cr_expect_float_eq(pq_head_divergence(PQ_HEAD_LOGITS, 1, &z, &w), one, 1e-7);
    cr_expect(isfinite(pq_head_divergence(PQ_HEAD_BINARY, 1, &p, &edge)));
    for (pq_head head = PQ_HEAD_SOFTMAX; head <= PQ_HEAD_SIGMOID; head++) {
        cr_expect_float_eq(pq_head_divergence(head, 2, a, a), 0.0, TOL);
    }
    cr_expect_float_eq(pq_head_divergence(PQ_HEAD_BINARY, 1, &edge, &edge), 0.0, TOL);
}

/* Shifted and reordered logits have the same probabilities, so the same ranks. */
Test(head, ranks_of_equal_probabilities_are_equal_and_of_confident_nets_differ)
{
    static const float a[] = {1.25F, 0.5F, -2.0F, 0.75F},
                       b[] = {3.25F, 0.0F, 2.75F, 2.5F}, /* 2 more, others reordered */
        far[] = {60.0F, 1.0F}, farther[] = {61.0F, 1.0F};
    const pq_head_norm na = pq_head_normalise(PQ_HEAD_LOGITS, 4, a),
                       nb = pq_head_normalise(PQ_HEAD_LOGITS, 4, b),
                       nf = pq_head_normalise(PQ_HEAD_LOGITS, 2, far),
                       ng = pq_head_normalise(PQ_HEAD_LOGITS, 2, farther);

    cr_expect_eq(pq_head_score(4, a, na, 0), pq_head_score(4, b, nb, 0));
    cr_expect(pq_head_score(2, farther, ng, 0) > pq_head_score(2, far, nf, 0));
    cr_expect_eq(pq_head_probability(PQ_HEAD_LOGITS, 2, far, nf, 0), 1.0);
}

Test(head, outputs_that_a_named_head_denies_are_refused)
{
    pq_graph          *g      = net(2, KINDS("clip"));
    static const float good[] = {0.25F, 0.75F}, sum[] = {0.25F, 0.8F},
                       out[] = {-1.0F, 2.0F};
    pq_err err               = {0};

    cr_assert_eq(pq_graph_set_head(g, "softmax", NULL), PQ_OK);
    cr_expect_eq(pq_head_check_outputs(g, 1, good, NULL), PQ_OK);
    cr_expect_eq(pq_head_check_outputs(g, 1, sum, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(
        err.message,
        "head = softmax, but the model's outputs of event 0 sum to 1.05, not "
        "to 1");
    cr_assert_eq(pq_graph_set_head(g, "sigmoid", NULL), PQ_OK);
    err = (pq_err){0};
    cr_expect_eq(pq_head_check_outputs(g, 1, sum, NULL), PQ_OK);
    cr_expect_eq(pq_head_check_outputs(g, 1, out, &err), PQ_ERR_CONFIG);
    cr_expect_str_eq(
        err.message,
        "head = sigmoid, but the model's output 0 of event 0 is -1, not in 0..1");
    cr_assert_eq(pq_graph_set_head(g, "logits", NULL), PQ_OK);
    cr_expect_eq(pq_head_check_outputs(g, 1, out, NULL), PQ_OK);
    pq_graph_free(&g);
}
