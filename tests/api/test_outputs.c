/* One output of several: the tagger of jets whose file also gives what its last layer
 * reads. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <pquant.h>

#include "scratch.h"

#define TAGGER PQ_TEST_SOURCE_ROOT "/datasets/models/jsc-mlp"
static const char weights[] = TAGGER ".weights.h5";

enum { IN = 16, HIDDEN = 32, OUT = 5, EVENTS = 7 };

/* The tagger's architecture with the outputs 'fc3_relu' and 'output_softmax', in `path`.
 */
static void write_two(void)
{
    json_t *root   = json_load_file(TAGGER ".json", 0, NULL);
    json_t *config = json_object_get(root, "config");

    cr_assert_not_null(config);
    cr_assert_eq(json_object_set_new(
                     config, "output_layers",
                     json_pack("[[sii][sii]]", "fc3_relu", 0, 0, "output_softmax", 0, 0)),
                 0);
    cr_assert_eq(json_dump_file(root, path, 0), 0);
    json_decref(root);
}

static void predict(const char *arch, const char *output, size_t n_out, float *out)
{
    pquant_model *m = pquant_model_load_output(weights, arch, output);
    float         x[EVENTS * IN];
    const void   *inputs[] = {x};
    size_t        dims[8];

    for (size_t i = 0; i < EVENTS * IN; i++) {
        x[i] = sinf((float)i);
    }
    cr_assert_not_null(m, "%s", pquant_error());
    cr_assert_eq(pquant_model_shape(m, SIZE_MAX, dims), 1);
    cr_assert_eq(dims[0], n_out);
    cr_assert_eq(
        pquant_predict(m, "reference", EVENTS, (const float *const *)inputs, out), 0,
        "%s", pquant_error());
    pquant_model_free(m);
}

/* Softmax of the last layer in plain loops. */
static void last_layer(const float *hidden, float *out)
{
    pquant_model *m = pquant_model_load(weights, TAGGER ".json");
    pquant_array  k = {0}, b = {0};

    cr_assert_eq(pquant_model_weight(m, "output_softmax", "kernel", &k), 0, "%s",
                 pquant_error());
    cr_assert_eq(pquant_model_weight(m, "output_softmax", "bias", &b), 0);
    for (size_t e = 0; e < EVENTS; e++) {
        double y[OUT], sum = 0.0;
        for (size_t o = 0; o < OUT; o++) {
            y[o] = (double)((float *)b.data)[o];
            for (size_t i = 0; i < HIDDEN; i++) {
                y[o] += (double)((float *)k.data)[o * HIDDEN + i] *
                        (double)hidden[e * HIDDEN + i];
            }
            sum += exp(y[o]);
        }
        for (size_t o = 0; o < OUT; o++) {
            out[e * OUT + o] = (float)(exp(y[o]) / sum);
        }
    }
    pquant_model_free(m);
}

Test(outputs, each_is_read_by_name_and_by_number, .init = setup, .fini = teardown)
{
    static const char *const names[][2] = {{"fc3_relu", "output_softmax"}, {"0", "1"}};
    float alone[EVENTS * OUT], hidden[EVENTS * HIDDEN], due[EVENTS * OUT],
        got[EVENTS * OUT];

    write_two();
    predict(TAGGER ".json", NULL, OUT, alone);
    for (size_t k = 0; k < 2; k++) {
        predict(path, names[k][0], HIDDEN, hidden);
        predict(path, names[k][1], OUT, got);
        last_layer(hidden, due);
        for (size_t i = 0; i < EVENTS * OUT; i++) {
            cr_expect_eq(got[i], alone[i]);
            cr_expect_float_eq(got[i], due[i], 1e-6F, "%g, not %g", (double)got[i],
                               (double)due[i]);
        }
    }
}

Test(outputs, what_is_no_output_is_refused_by_name, .init = setup, .fini = teardown)
{
    static const struct {
        const char *output, *message, *hint;
    } cases[] = {
        {"fc2_relu",
         "'fc2_relu' is none of the model's outputs: fc3_relu, output_softmax", ""},
        {"2", "'2' is none of the model's outputs: fc3_relu, output_softmax", ""},
        {"", "'' is none of the model's outputs: fc3_relu, output_softmax", ""},
        {NULL, "the model has 2 outputs (fc3_relu, output_softmax); one is read",
         "pquant_model_load_output()"},
    };

    write_two();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        cr_expect_null(pquant_model_load_output(weights, path, cases[k].output));
        cr_expect_eq(pquant_error_status(), PQUANT_BAD_CONFIG);
        cr_expect_not_null(strstr(pquant_error(), cases[k].message), "%s",
                           pquant_error());
        cr_expect_not_null(strstr(pquant_error_hint(), cases[k].hint), "%s",
                           pquant_error_hint());
    }
    cr_expect_null(pquant_model_load(weights, path));
    cr_expect_not_null(strstr(pquant_error(), "the model has 2 outputs"));
    cr_expect_null(pquant_model_load_output(TAGGER ".h5", NULL, "0"));
    cr_expect_not_null(strstr(pquant_error(), "has one output, and '0' is chosen"), "%s",
                       pquant_error());
}
