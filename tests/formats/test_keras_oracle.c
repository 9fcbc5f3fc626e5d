/* Models that Keras wrote (keras_oracle.py, keras_oracle.json): each answers as Keras
 * does, or is refused with what is not read. */
#include "core/memory.h"
#include "formats/run.h"

#include <jansson.h>
#include <math.h>

#include "core/file.h"
#include "formats/model.h"

#define CASES     PQ_TEST_SOURCE_ROOT "/tests/formats/keras_oracle.json"
#define TOLERANCE 2e-6 /* Keras computes in float32 */
#define HALF      2e-3 /* … or in float16 */

TestSuite(keras_oracle, .init = setup, .fini = teardown);

/* What is refused, and why; everything else must agree. */
static const char *const refused[][2] = {
    {"activation exponential", "activation 'exponential' has no kind here"},
    {"activation glu", "activation 'glu' has no kind here"},
    {"activation hard_shrink", "activation 'hard_shrink' has no kind here"},
    {"activation hard_sigmoid", "activation 'hard_sigmoid' has no kind here"},
    {"activation hard_silu", "activation 'hard_silu' has no kind here"},
    {"activation hard_swish", "activation 'hard_silu' has no kind here"},
    {"activation log_sigmoid", "activation 'log_sigmoid' has no kind here"},
    {"activation log_softmax", "activation 'log_softmax' has no kind here"},
    {"activation mish", "activation 'mish' has no kind here"},
    {"activation soft_shrink", "activation 'soft_shrink' has no kind here"},
    {"activation softsign", "activation 'softsign' has no kind here"},
    {"activation sparse_plus", "activation 'sparse_plus' has no kind here"},
    {"activation sparse_sigmoid", "activation 'sparse_sigmoid' has no kind here"},
    {"activation sparsemax", "activation 'sparsemax' has no kind here"},
    {"activation squareplus", "activation 'squareplus' has no kind here"},
    {"activation tanh_shrink", "activation 'tanh_shrink' has no kind here"},
    {"relu threshold", "ReLU with threshold 0.3, max_value inf"},
    {"batch norm renorm", "'renorm' of BatchNormalization is set"},
    {"prelu", "layer class 'PReLU' is not known"},
    {"permute", "layer class 'Permute' is not known"},
    {"softmax two axes", "2 axes at once are not read"},
    {"softmax axis 1", "softmax over axis 1 of 3 is not read"},
    {"batch norm axis 1", "BatchNormalization over axis 1 of 3 is not read"},
    {"batch norm image axis 1", "BatchNormalization over axis 1 of 4 is not read"},
};

static const char *refusal(const char *name)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (strcmp(refused[i][0], name) == 0) {
            return refused[i][1];
        }
    }
    return NULL;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static pq_tensor *tensor_of(const json_t *weight)
{
    const json_t *shape = json_object_get(weight, "shape");
    pq_shape      dims  = {.ndim = json_array_size(shape)};
    pq_tensor    *t     = NULL;

    for (size_t i = 0; i < dims.ndim; i++) {
        dims.dim[i] = (size_t)json_integer_value(json_array_get(shape, i));
    }
    OK(pq_tensor_create(PQ_DTYPE_F32, dims, &t, err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = (float)json_number_value(
            json_array_get(json_object_get(weight, "values"), i));
    }
    return t;
}

static void write_layer(pq_h5 *file, const json_t *layer)
{
    const json_t *weights = json_object_get(layer, "weights");
    const char   *names[8];
    char          group[200], full[400];

    snprintf(group, sizeof group, "model_weights/%s", text_of(layer, "name"));
    OK(pq_h5_make_group(file, group, err));
    for (size_t i = 0; i < json_array_size(weights); i++) {
        pq_tensor *t = tensor_of(json_array_get(weights, i));
        names[i]     = text_of(json_array_get(weights, i), "name");
        snprintf(full, sizeof full, "%s/%s", group, names[i]);
        OK(pq_h5_write(file, full, t, 0, err));
        pq_tensor_free(&t);
    }
    OK(pq_h5_set_texts(file, group, "weight_names", names, json_array_size(weights),
                       err));
}

/* The file as Keras's own writer lays it out. */
static void write_case(const json_t *c)
{
    const json_t *layers = json_object_get(c, "layers");
    const char   *names[16];
    pq_h5        *file = NULL;

    OK(pq_h5_create(path, &file, err));
    OK(pq_h5_make_group(file, "model_weights", err));
    for (size_t i = 0; i < json_array_size(layers); i++) {
        write_layer(file, json_array_get(layers, i));
        names[i] = text_of(json_array_get(layers, i), "name");
    }
    OK(pq_h5_set_texts(file, "model_weights", "layer_names", names,
                       json_array_size(layers), err));
    OK(pq_h5_set_text(file, "/", "model_config", text_of(c, "model"), err));
    OK(pq_h5_commit(&file, err));
}

static void compare(const json_t *c, const pq_graph *g)
{
    const json_t *in = json_object_get(c, "input"), *out = json_object_get(c, "output");
    const double  within = strcmp(text_of(c, "name"), "half") == 0 ? HALF : TOLERANCE;
    double        x[64], y[128];
    size_t        n = 0;

    for (size_t i = 0; i < json_array_size(in); i++) {
        x[i] = json_number_value(json_array_get(in, i));
    }
    cr_assert(pq_shape_count(&g->nodes[g->output].shape, &n) && n <= 128);
    cr_assert_eq(n, json_array_size(out), "%s", text_of(c, "name"));
    run_graph(g, x, y);
    for (size_t i = 0; i < n; i++) {
        const double want = json_number_value(json_array_get(out, i));
        cr_expect_float_eq(y[i], want, within * fmax(1.0, fabs(want)),
                           "%s: output %zu is %.9g, Keras says %.9g", text_of(c, "name"),
                           i, y[i], want);
    }
}

Test(keras_oracle, every_model_answers_as_in_keras_or_is_refused_by_name)
{
    json_t       *all   = json_load_file(CASES, 0, NULL), *c;
    const json_t *cases = json_object_get(all, "cases");
    size_t        i, n_refused = 0;

    cr_assert_eq(json_array_size(cases), 77);
    json_array_foreach(cases, i, c)
    {
        const char *why   = refusal(text_of(c, "name"));
        pq_graph   *graph = NULL;
        pq_err      err   = {0};
        pq_status   st;

        write_case(c);
        st = pq_model_load(path, NULL, &graph, &err);
        cr_expect_eq(st, why == NULL ? PQ_OK : PQ_ERR_UNSUPPORTED, "%s: %s",
                     text_of(c, "name"), err.message);
        if (why != NULL) {
            cr_expect_not_null(strstr(err.message, why), "%s: %s", text_of(c, "name"),
                               err.message);
            n_refused++;
        }
        if (graph != NULL) {
            compare(c, graph);
        }
        pq_graph_free(&graph);
        remove(path);
    }
    cr_expect_eq(n_refused, sizeof refused / sizeof *refused);
    cr_expect_eq(pq_memory_live(), 0);
    json_decref(all);
}
