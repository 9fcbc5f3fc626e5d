#include "build.h"

#include "graph/graph_json.h"
#include "layers/kinds.h"

/* The structure with the weights of `from`, as a format would read it. */
static pq_graph *read_back(const json_t *json, const pq_graph *from)
{
    pq_graph *g   = NULL;
    pq_err    err = {0};

    cr_assert_eq(pq_graph_from_json(json, &g, &err), PQ_OK, "%s", err.message);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const pq_layer *layer = from->nodes[i].layer;
        cr_expect_eq(g->nodes[i].layer->n_weights, 0);
        for (size_t k = 0; k < layer->n_weights; k++) {
            pq_tensor *t = NULL;
            cr_assert_eq(pq_tensor_clone(layer->weights[k].value, &t, NULL), PQ_OK);
            cr_assert_eq(
                pq_layer_add_weight(g->nodes[i].layer, layer->weights[k].name, t, NULL),
                PQ_OK);
        }
    }
    return g;
}

Test(json, structure_survives_as_text)
{
    pq_graph *g    = residual(), *back;
    json_t   *json = NULL, *parsed;
    char     *text, a[65], b[65];

    g->output = 6;
    pq_tensor_free(&g->scaler_mean); /* the scaler is not part of the structure */
    pq_tensor_free(&g->scaler_std);
    cr_assert_eq(pq_graph_to_json(g, &json, NULL), PQ_OK);
    text   = json_dumps(json, JSON_INDENT(1));
    parsed = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(parsed);
    back = read_back(parsed, g);
    cr_assert_eq(pq_graph_check(back, NULL), PQ_OK);
    pq_graph_hash(g, a, NULL);
    pq_graph_hash(back, b, NULL);
    cr_expect_str_eq(a, b);
    free(text);
    json_decref(json);
    json_decref(parsed);
    pq_graph_free(&g);
    pq_graph_free(&back);
}

Test(json, names_kinds_and_weights_are_there_to_read)
{
    pq_graph *g    = residual();
    json_t   *json = NULL, *conv;

    cr_assert_eq(pq_graph_to_json(g, &json, NULL), PQ_OK);
    conv = json_array_get(json_object_get(json, "nodes"), 1);
    cr_expect_str_eq(json_string_value(json_object_get(conv, "kind")), "conv2d");
    cr_expect_str_eq(json_string_value(
                         json_object_get(json_object_get(conv, "attributes"), "padding")),
                     "same");
    conv = json_array_get(json_object_get(conv, "weights"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(conv, "name")), "kernel");
    cr_expect_eq(json_integer_value(json_array_get(json_object_get(conv, "shape"), 3)),
                 3);
    cr_expect_str_eq(json_string_value(json_object_get(json, "output")), "out");
    json_decref(json);
    pq_graph_free(&g);
}

/* Every kind with values that are not the defaults, infinity and unset ones among them.
 */
Test(json, every_attribute_of_every_kind_survives)
{
    for (size_t i = 0; pq_layer_kinds[i] != NULL; i++) {
        const pq_layer_kind *kind     = pq_layer_kinds[i];
        const char          *inputs[] = {"in", "in"};
        pq_graph            *g = NULL, *back = NULL;
        pq_layer            *layer = a_layer(kind->name, 0, 0);
        json_t              *json  = NULL;
        pq_text              a = {0}, b = {0};
        for (const pq_param *row = kind->params; row != NULL && row->name != NULL;
             row++) {
            const char *const tries[] = {"[3, 2.5]", "7",    "explicit",
                                         "tanh",     "true", "0.125"};
            for (size_t k = 0; k < 6; k++) {
                if (pq_layer_set(layer, row->name, tries[k], NULL) == PQ_OK) {
                    break;
                }
            }
        }
        if (strcmp(kind->name, "clip") == 0) {
            cr_assert_eq(pq_layer_set(layer, "hi", "inf", NULL), PQ_OK);
        }
        cr_assert_eq(pq_graph_create(&g, NULL), PQ_OK);
        cr_assert_eq(pq_graph_add(g, "in", a_layer("input", 0, 0), 0, NULL, NULL), PQ_OK);
        cr_assert_eq(pq_graph_add(g, "node", layer, kind->min_inputs, inputs, NULL),
                     PQ_OK);
        cr_assert_eq(pq_graph_to_json(g, &json, NULL), PQ_OK);
        back = read_back(json, g);
        pq_params_print(kind->params, g->nodes[1].layer->params, &a);
        pq_params_print(kind->params, back->nodes[1].layer->params, &b);
        cr_expect(a.text == NULL ? b.text == NULL : strcmp(a.text, b.text) == 0,
                  "%s: %s, %s", kind->name, a.text, b.text);
        pq_text_free(&a);
        pq_text_free(&b);
        json_decref(json);
        pq_graph_free(&g);
        pq_graph_free(&back);
    }
}

Test(json, quantizers_survive)
{
    pq_quant *q = NULL, *back = NULL;
    json_t   *json = NULL;

    cr_assert_eq(pq_quant_create(PQ_QUANT_INTEGER, 5, true, true, 2, 3, &q, NULL), PQ_OK);
    for (size_t i = 0; i < 3; i++) {
        (void)pq_quant_set_range(q, i, -0.1 * (double)i, 0.3, false);
    }
    cr_assert_eq(pq_quant_to_json(q, &json, NULL), PQ_OK);
    cr_assert_eq(pq_quant_from_json(json, &back, NULL), PQ_OK);
    cr_expect_eq(back->bits, 5);
    cr_expect_eq(back->axis, 2);
    cr_expect(back->is_signed && back->narrow);
    cr_expect_arr_eq(back->scale, q->scale, 3 * sizeof(float));
    cr_expect_arr_eq(back->zero_point, q->zero_point, 3 * sizeof(int32_t));
    json_decref(json);
    pq_quant_free(&q);
    pq_quant_free(&back);
    for (int scheme = PQ_QUANT_FLOAT16; scheme <= PQ_QUANT_BFLOAT16; scheme++) {
        cr_assert_eq(
            pq_quant_create((pq_quant_scheme)scheme, 16, true, false, -1, 0, &q, NULL),
            PQ_OK);
        cr_assert_eq(pq_quant_to_json(q, &json, NULL), PQ_OK);
        cr_assert_eq(pq_quant_from_json(json, &back, NULL), PQ_OK);
        cr_expect_eq(back->scheme, (pq_quant_scheme)scheme);
        json_decref(json);
        pq_quant_free(&q);
        pq_quant_free(&back);
    }
}

/* Text of a graph after its input, and what is said about it. */
#define INPUT                                                                            \
    "{\"name\":\"in\",\"kind\":\"input\",\"inputs\":[],\"attributes\":{\"shape\":[4]}}"
#define NODES(more)       "{\"nodes\":[" INPUT more "],\"output\":\"in\"}"
#define RELU(name, input) ",{\"name\":" name ",\"kind\":\"relu\",\"inputs\":[" input "]}"
#define QUANT(body)                                                                      \
    NODES(",{\"name\":\"a\",\"kind\":\"relu\",\"inputs\":[\"in\"],\"quant\":{" body "}"  \
          "}")
#define INT8                                                                             \
    "\"scheme\":\"integer\",\"bits\":8,\"signed\":true,\"narrow\":true,\"axis\":-1,"

static const struct {
    const char *text;
    pq_status   code;
    const char *message;
} hostile[] = {
    {"[]", PQ_ERR_FORMAT, "the model's graph is no JSON object"},
    {"{}", PQ_ERR_FORMAT, "'nodes' is missing or no array"},
    {"{\"nodes\":[],\"output\":\"x\"}", PQ_ERR_FORMAT, "the model has no layers"},
    {"{\"nodez\":[]}", PQ_ERR_FORMAT,
     "unknown key 'nodez' in the model's graph; did you mean 'nodes'?"},
    {"{\"nodes\":[3]}", PQ_ERR_FORMAT, "nodes[0] is no JSON object"},
    {"{\"nodes\":[{}]}", PQ_ERR_FORMAT, "nodes[0]: 'name' is missing or no text"},
    {"{\"nodes\":[" INPUT "]}", PQ_ERR_FORMAT, "'output' is missing or no text"},
    {"{\"nodes\":[" INPUT "],\"output\":\"out\"}", PQ_ERR_FORMAT,
     "the output 'out' is no layer"},
    {NODES(RELU("\"in\"", "\"in\"")), PQ_ERR_FORMAT,
     "nodes[1] ('in'): two layers have the name 'in'"},
    {NODES(RELU("\"a\"", "\"b\"") RELU("\"b\"", "\"a\"")), PQ_ERR_FORMAT,
     "nodes[1] ('a'): layer 'a' reads 'b', which is no earlier layer"},
    {NODES(RELU("\"a\"", "\"a\"")), PQ_ERR_FORMAT,
     "nodes[1] ('a'): layer 'a' reads 'a', which is no earlier layer"},
    {NODES(RELU("\"a\"", "7")), PQ_ERR_FORMAT, "nodes[1] ('a'): input 0 is no text"},
    {NODES(RELU("\"a\"", "1,2,3,4,5,6,7,8,9")), PQ_ERR_FORMAT,
     "nodes[1] ('a'): 9 inputs are more than 8"},
    {NODES(RELU("\"\"", "\"in\"")), PQ_ERR_FORMAT,
     "nodes[1] (''): a layer has an empty name"},
    {NODES(",{\"name\":\"a\",\"kind\":\"rellu\",\"inputs\":[\"in\"]}"),
     PQ_ERR_UNSUPPORTED,
     "nodes[1] ('a'): unknown layer kind 'rellu'; did you mean 'relu'?"},
    {NODES(",{\"name\":\"a\",\"kind\":\"relu\",\"inputs\":[\"in\"],\"code\":\"x\"}"),
     PQ_ERR_FORMAT, "nodes[1] ('a'): unknown key 'code' in a layer"},
    {NODES(",{\"name\":\"a\",\"kind\":\"conv2d\",\"inputs\":[\"in\"],\"attributes\":{"
           "\"stride_h\":-1}}"),
     PQ_ERR_RANGE, "nodes[1] ('a'): stride_h = -1 is not in 1..65535"},
    {NODES(",{\"name\":\"a\",\"kind\":\"conv2d\",\"inputs\":[\"in\"],\"attributes\":{"
           "\"stride_h\":1.5}}"),
     PQ_ERR_CONFIG, "nodes[1] ('a'): stride_h = '1.5' is not a whole number"},
    {NODES(",{\"name\":\"a\",\"kind\":\"conv2d\",\"inputs\":[\"in\"],\"attributes\":{"
           "\"stride_h\":null}}"),
     PQ_ERR_CONFIG, "nodes[1] ('a'): stride_h = 'none' is not a whole number"},
    {NODES(",{\"name\":\"a\",\"kind\":\"conv2d\",\"inputs\":[\"in\"],\"attributes\":{"
           "\"stride_h\":{}}}"),
     PQ_ERR_FORMAT,
     "nodes[1] ('a'): attribute 'stride_h' is no number, text, true or false, or list"},
    {NODES(",{\"name\":\"a\",\"kind\":\"conv2d\",\"inputs\":[\"in\"],\"attributes\":[]}"),
     PQ_ERR_FORMAT, "nodes[1] ('a'): 'attributes' is no JSON object"},
    {NODES(",{\"name\":\"a\",\"kind\":\"elu\",\"inputs\":[\"in\"],\"attributes\":{"
           "\"slope\":1}}"),
     PQ_ERR_CONFIG, "nodes[1] ('a'): unknown parameter 'slope'"},
    {NODES(",{\"name\":\"a\",\"kind\":\"reshape\",\"inputs\":[\"in\"],\"attributes\":{"
           "\"shape\":[\"x\"]}}"),
     PQ_ERR_FORMAT,
     "nodes[1] ('a'): attribute 'shape' is no number, text, true or false, or list"},
    {QUANT(INT8 "\"scale\":[],\"zero_point\":[]"), PQ_ERR_FORMAT,
     "nodes[1] ('a'): a quantizer has 0 scales and 0 zero points, not as many of each in "
     "1..16777216"},
    {QUANT(INT8 "\"scale\":[1],\"zero_point\":[200]"), PQ_ERR_FORMAT,
     "nodes[1] ('a'): zero point 0 of a quantizer is not a whole number in -127..127"},
    {QUANT(INT8 "\"scale\":[1e-300],\"zero_point\":[0]"), PQ_ERR_FORMAT,
     "nodes[1] ('a'): scale 0 of a quantizer is not a positive float32"},
    {QUANT(INT8 "\"scale\":[1e300],\"zero_point\":[0]"), PQ_ERR_FORMAT,
     "nodes[1] ('a'): scale 0 of a quantizer is not a positive float32"},
    {QUANT(INT8 "\"scale\":[1,1],\"zero_point\":[0,0]"), PQ_ERR_SHAPE,
     "nodes[1] ('a'): a quantizer along axis -1 cannot have 2 scales"},
    {QUANT("\"scheme\":\"integer\",\"bits\":64"), PQ_ERR_FORMAT,
     "nodes[1] ('a'): 'bits' is missing or no whole number in 2..16"},
    {QUANT("\"scheme\":\"ternary\""), PQ_ERR_FORMAT,
     "nodes[1] ('a'): scheme 'ternary' of a quantizer is not integer, fixed, float16 or "
     "bfloat16"},
    {QUANT("\"scheme\":\"float16\",\"bits\":8"), PQ_ERR_FORMAT,
     "nodes[1] ('a'): unknown key 'bits' in a 16-bit float quantizer"},
    {"{\"nodes\":[" INPUT "],\"output\":\"in\",\"class_names\":[]}", PQ_ERR_FORMAT,
     "'class_names' is no array of 1..1048576 names"},
    {"{\"nodes\":[" INPUT "],\"output\":\"in\",\"class_names\":[\"g\",3]}", PQ_ERR_FORMAT,
     "class name 1 is no text"},
};

Test(json, hostile_files_are_refused_in_one_sentence)
{
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        json_t      *json   = json_loads(hostile[i].text, 0, NULL);
        pq_graph    *g      = NULL;
        const size_t before = pq_memory_live();
        pq_err       err    = {0};
        cr_assert_not_null(json, "%s", hostile[i].text);
        cr_expect_eq(pq_graph_from_json(json, &g, &err), hostile[i].code, "%s",
                     hostile[i].text);
        cr_expect_str_eq(err.message, hostile[i].message);
        cr_expect_null(g);
        cr_expect_eq(pq_memory_live(), before);
        json_decref(json);
    }
}

/* Cuts and byte changes of a real description: refused or read, never worse. */
Test(json, damaged_text_never_crashes)
{
    pq_graph *g    = residual();
    json_t   *json = NULL;
    char     *text;
    size_t    n, read = 0;

    cr_assert_eq(pq_graph_to_json(g, &json, NULL), PQ_OK);
    text = json_dumps(json, JSON_COMPACT);
    n    = strlen(text);
    for (size_t i = 0; i < n; i++) {
        const char kept = text[i];
        json_t    *damaged;
        text[i] = "09\"[]{},:-x"[i % 11];
        damaged = json_loads(text, 0, NULL);
        text[i] = kept;
        if (damaged != NULL) {
            pq_graph *back = NULL;
            pq_err    err  = {0};
            if (pq_graph_from_json(damaged, &back, &err) == PQ_OK) {
                read++;
                (void)pq_graph_check(back, NULL);
                pq_graph_free(&back);
            } else {
                cr_expect_gt(strlen(err.message), 10);
            }
            json_decref(damaged);
        }
    }
    cr_expect_gt(read, 0);
    free(text);
    json_decref(json);
    pq_graph_free(&g);
}

static pq_status read_json(void *context, pq_err *err)
{
    pq_graph *g  = NULL;
    pq_status st = pq_graph_from_json(context, &g, err);

    pq_graph_free(&g);
    return st;
}

Test(json, failed_allocations_leave_nothing_behind)
{
    pq_graph *g    = residual();
    json_t   *json = NULL;

    cr_assert_eq(pq_graph_to_json(g, &json, NULL), PQ_OK);
    expect_no_leak(read_json, json);
    json_decref(json);
    pq_graph_free(&g);
}
