/* A layer of every kind, written as ONNX and for Keras, and read again. */
#include <stdlib.h>
#include <unistd.h>

#include "../exec/case_layer.h"
#include "core/file.h"
#include "formats/model.h"

enum { EVENTS = 3 };

static const pq_model_format *format_of(const char *name)
{
    size_t i = 0;

    while (strcmp(pq_formats[i]->name, name) != 0) {
        i++;
    }
    return pq_formats[i];
}

/* The layer of a case on parts of one input, behind each other in [items]. */
static pq_graph *net_of(const layer_case *c, pq_rng *rng, size_t *items)
{
    char        names[RUN_MAX][16], text[128];
    const char *inputs[RUN_MAX] = {NULL};
    pq_graph   *g               = NULL;
    size_t      from            = 0;

    for (size_t k = 0; k < c->n_in; k++) {
        from += run_items(&c->in[k]);
    }
    *items = from;
    OK(pq_graph_create(&g, &err));
    (void)snprintf(text, sizeof text, "%zu", from);
    add_input(g, "x", c->n_in == 1 ? pq_shape_text(&c->in[0], text, sizeof text) : text);
    inputs[0] = "x";
    from      = 0;
    for (size_t k = 0; c->n_in > 1 && k < c->n_in; k++) {
        pq_layer *part = make_layer("slice"), *shaped = make_layer("reshape");
        char      name[16];
        (void)snprintf(text, sizeof text, "%zu", from);
        OK(pq_layer_set(part, "from", text, &err));
        from += run_items(&c->in[k]);
        (void)snprintf(text, sizeof text, "%zu", from);
        OK(pq_layer_set(part, "to", text, &err));
        (void)snprintf(name, sizeof name, "part%zu", k);
        add_layer(g, name, part, "x");
        OK(pq_layer_set(shaped, "shape", pq_shape_text(&c->in[k], text, sizeof text),
                        &err));
        (void)snprintf(names[k], sizeof names[k], "in%zu", k);
        add_layer(g, names[k], shaped, name);
        inputs[k] = names[k];
    }
    OK(pq_graph_add(g, "y", case_layer(c, rng), c->n_in, inputs, &err));
    OK(pq_graph_check(g, &err));
    return g;
}

/* Writes and reads them; how many are not written, each with its layer's name. */
static void walk(const char *name, const char *ending, size_t *told, size_t *same)
{
    char   path[64] = "/tmp/pquant-kinds-XXXXXX";
    pq_rng rng      = pq_rng_stream(17, "written kinds");

    *told = *same = 0;
    (void)strcat(path, ending);
    cr_assert_geq(mkstemps(path, (int)strlen(ending)), 0);
    for (size_t i = 0; i < N_LAYER_CASES; i++) {
        const layer_case *c = &layer_cases[i];
        pq_graph         *g, *again = NULL;
        pq_err            err = {0};
        size_t            n, width;
        float            *x, *due, *y;
        if (strcmp(c->kind, "input") == 0) {
            continue;
        }
        g     = net_of(c, &rng, &n);
        width = run_items(&g->nodes[g->output].shape);
        if (format_of(name)->save(g, path, &err) != PQ_OK) {
            cr_expect_not_null(strstr(err.message, "'y'"), "%s (%s): %s", c->kind,
                               c->attributes, err.message);
            ++*told;
        } else {
            OK(pq_model_load(path, NULL, &again, &err));
            x = pq_calloc(EVENTS * n, sizeof *x);
            fill_normal(&rng, 1.0, EVENTS * n, x);
            due = run_graph(g, "reference", EVENTS, EVENTS, x);
            cr_assert_eq(run_items(&again->nodes[again->output].shape), width);
            y = run_graph(again, "reference", EVENTS, EVENTS, x);
            cr_expect(largest_difference(y, due, EVENTS * width) <= 1e-5,
                      "%s (%s): off by %g", c->kind, c->attributes,
                      largest_difference(y, due, EVENTS * width));
            ++*same;
            pq_free(x);
            pq_free(due);
            pq_free(y);
        }
        pq_graph_free(&g);
        pq_graph_free(&again);
    }
    (void)unlink(path);
}

Test(written_kinds, every_kind_that_is_written_as_onnx_gives_what_it_gave)
{
    size_t told, same;

    walk("onnx", ".onnx", &told, &same);
    cr_expect_eq(
        told, 5,
        "masked pools, a product of three and the sign above a threshold alone: %zu",
        told);
    cr_expect_gt(same, 40, "%zu are written", same);
}

Test(written_kinds, every_kind_that_is_written_for_keras_gives_what_it_gave)
{
    size_t told, same;

    walk("keras", ".keras", &told, &same);
    cr_expect_eq(told, 10,
                 "limits below 0, gelu by tanh, explicit padding, pads of other than 0, "
                 "signs and masked pools alone: %zu",
                 told);
    cr_expect_gt(same, 40, "%zu are written", same);
}

static pq_quant *fixed_grid(bool is_signed, int integer_bits, int fraction_bits)
{
    pq_quant *q = NULL;

    OK(pq_quant_create_fixed(is_signed, PQ_OVERFLOW_SAT, PQ_ROUND_RND_CONV,
                             PQ_QUANT_PER_TENSOR, 1, &q, &err));
    OK(pq_quant_set_fixed(q, 0, integer_bits, fraction_bits, &err));
    return q;
}

/* The engines leave the bias of a channel of zeros as it is, and round the others to the
 * scale of their sums: so must a file of fixed point, whether one type holds the biases
 * or none does. */
Test(written_kinds, qonnx_keeps_the_bias_of_a_channel_of_zeros)
{
    static const float biases[][3] = {{0.3F, 0.27965078F, -1.3594F},
                                      {100.3F, 0.000027965078F, -1.3594F},
                                      {0.3F, 0.0F, -1.3594F}};

    for (size_t i = 0; i < sizeof biases / sizeof *biases; i++) {
        char       path[] = "/tmp/pquant-kinds-XXXXXX.onnx";
        pq_rng     rng    = pq_rng_stream(19, "bias of zeros");
        pq_graph  *g = NULL, *again = NULL;
        pq_weight *kernel;
        float      x[EVENTS * 4], *due, *y;
        cr_assert_geq(mkstemps(path, 5), 0);
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", "[4]");
        add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(3, 4), true), "x");
        OK(pq_graph_check(g, &err));
        g->nodes[0].quant = fixed_grid(true, 2, 3);
        kernel            = pq_layer_weight(g->nodes[1].layer, "kernel");
        kernel->quant     = fixed_grid(true, 1, 4);
        memset(pq_f32(kernel->value) + 4, 0, 4 * sizeof(float));
        OK(pq_quant_apply(kernel->quant, kernel->value, &err));
        memcpy(pq_f32(pq_layer_weight(g->nodes[1].layer, "bias")->value), biases[i],
               sizeof biases[i]);
        fill_normal(&rng, 1.0, EVENTS * 4, x);
        OK(format_of("qonnx")->save(g, path, &err));
        OK(pq_model_load(path, NULL, &again, &err));
        due = run_graph(g, "integer", EVENTS, EVENTS, x);
        y   = run_graph(again, "integer", EVENTS, EVENTS, x);
        cr_expect_eq(due[1], biases[i][1]);
        cr_expect_eq(largest_difference(y, due, EVENTS * 3), 0.0, "%zu: off by %g", i,
                     largest_difference(y, due, EVENTS * 3));
        pq_free(due);
        pq_free(y);
        pq_graph_free(&g);
        pq_graph_free(&again);
        (void)unlink(path);
    }
}

/* In units of 0.5 times 0.25, as every engine adds it: other runtimes must not add more
 * of it than we do. */
Test(written_kinds, files_of_onnx_hold_the_bias_that_is_added)
{
    static const char *const formats[] = {"onnx", "qonnx"};
    static const float       bias[] = {0.3F, -0.06F, 1.0F}, due[] = {0.25F, 0.0F, 1.0F};

    for (size_t i = 0; i < 2; i++) {
        char      path[] = "/tmp/pquant-kinds-XXXXXX.onnx";
        pq_rng    rng    = pq_rng_stream(20, "bias");
        pq_graph *g = NULL, *again = NULL;
        cr_assert_geq(mkstemps(path, 5), 0);
        OK(pq_graph_create(&g, &err));
        add_input(g, "x", "[4]");
        add_layer(g, "fc", affine(&rng, make_layer("dense"), PQ_SHAPE(3, 4), true), "x");
        OK(pq_graph_check(g, &err));
        pq_weight *kernel = pq_layer_weight(g->nodes[1].layer, "kernel");
        OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, false, PQ_QUANT_PER_TENSOR, 1,
                           &g->nodes[0].quant, &err));
        OK(pq_quant_create(PQ_QUANT_INTEGER, 8, true, true, PQ_QUANT_PER_TENSOR, 1,
                           &kernel->quant, &err));
        g->nodes[0].quant->scale[0] = 0.5F;
        kernel->quant->scale[0]     = 0.25F;
        OK(pq_quant_apply(kernel->quant, kernel->value, &err));
        for (size_t o = 0; o < 3; o++) {
            pq_f32(kernel->value)[4 * o] = 0.75F;
        }
        memcpy(pq_f32(pq_layer_weight(g->nodes[1].layer, "bias")->value), bias,
               sizeof bias);
        OK(format_of(formats[i])->save(g, path, &err));
        OK(pq_model_load(path, NULL, &again, &err));
        size_t at = 0;
        while (pq_layer_weight(again->nodes[at].layer, "bias") == NULL) {
            cr_assert_lt(++at, again->n_nodes, "%s has no bias", formats[i]);
        }
        for (size_t o = 0; o < 3; o++) {
            cr_expect_eq(
                pq_f32(pq_layer_weight(again->nodes[at].layer, "bias")->value)[o], due[o],
                "%s: %g", formats[i],
                (double)pq_f32(
                    pq_layer_weight(again->nodes[at].layer, "bias")->value)[o]);
        }
        pq_graph_free(&g);
        pq_graph_free(&again);
        (void)unlink(path);
    }
}
