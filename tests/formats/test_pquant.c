#include "formats/run.h"

#include <unistd.h>

#include "core/file.h"
#include "core/memory.h"
#include "formats/model.h"

TestSuite(pquant, .init = setup, .fini = teardown);

static void add(pq_graph *g, const char *name, const char *kind, const char *attribute,
                const char *value, const char *input, pq_tensor *kernel, pq_tensor *bias)
{
    pq_layer *layer = NULL;

    OK(pq_layer_create(kind, &layer, err));
    if (attribute != NULL) {
        OK(pq_layer_set(layer, attribute, value, err));
    }
    if (kernel != NULL) {
        OK(pq_layer_add_weight(layer, "kernel", kernel, err));
    }
    if (bias != NULL) {
        OK(pq_layer_add_weight(layer, "bias", bias, err));
    }
    OK(pq_graph_add(g, name, layer, input != NULL ? 1 : 0, &input, err));
}

static pq_weight *kernel_of(pq_graph *g, const char *node)
{
    return pq_layer_weight(g->nodes[pq_graph_find(g, node)].layer, "kernel");
}

/* Puts an 8-bit quantizer per output channel on a weight, and its values on the grid. */
static void quantize(pq_weight *w, pq_quant_scheme scheme, int bits)
{
    const bool   whole = scheme == PQ_QUANT_INTEGER;
    const size_t n     = whole ? w->value->shape.dim[0] : 0;

    OK(pq_quant_create(scheme, bits, true, whole, whole ? 0 : -1, n, &w->quant, err));
    for (size_t i = 0; i < n; i++) {
        cr_assert(pq_quant_set_range(w->quant, i, -1.0, 1.0, true));
    }
    OK(pq_quant_apply(w->quant, w->value, err));
}

/* A small net with one weight of each storage. */
static pq_graph *make(void)
{
    static const char *const classes[] = {"b", "c", "light"};
    pq_graph                *g         = NULL;
    pq_weight               *w;

    OK(pq_graph_create(&g, err));
    add(g, "in", "input", "shape", "[4]", NULL, NULL, NULL);
    add(g, "plain", "dense", NULL, NULL, "in", noise(PQ_SHAPE(20, 4), 1),
        noise(PQ_SHAPE(20), 2));
    add(g, "int8", "dense", NULL, NULL, "plain", noise(PQ_SHAPE(20, 20), 3), NULL);
    add(g, "half", "dense", NULL, NULL, "int8", noise(PQ_SHAPE(20, 20), 4), NULL);
    add(g, "sparse", "dense", NULL, NULL, "half", noise(PQ_SHAPE(20, 20), 5), NULL);
    add(g, "both", "dense", NULL, NULL, "sparse", noise(PQ_SHAPE(3, 20), 6), NULL);
    add(g, "leaky", "leaky_relu", "slope", "0.1", "both", NULL, NULL);
    quantize(kernel_of(g, "int8"), PQ_QUANT_INTEGER, 8);
    quantize(kernel_of(g, "half"), PQ_QUANT_FLOAT16, 16);
    for (int i = 0; i < 2; i++) {
        w = kernel_of(g, i == 0 ? "sparse" : "both");
        for (size_t k = 0; k < w->value->count; k++) {
            pq_f32(w->value)[k] = k % 4 == 0 ? pq_f32(w->value)[k] : 0.0F;
        }
        OK(pq_weight_prune_zeros(w, err));
    }
    quantize(kernel_of(g, "both"), PQ_QUANT_INTEGER, 5);
    kernel_of(g, "both")->pruned[1] = 0xCC; /* what else is zero was rounded to it */
    OK(pq_quant_create(PQ_QUANT_INTEGER, 8, false, false, -1, 1,
                       &g->nodes[pq_graph_find(g, "plain")].quant, err));
    cr_assert(pq_quant_set_range(g->nodes[pq_graph_find(g, "plain")].quant, 0, -0.5, 3.0,
                                 false));
    g->class_names = pq_calloc(3, sizeof *g->class_names);
    g->n_classes   = 3;
    for (size_t i = 0; i < 3; i++) {
        g->class_names[i] = pq_strdup(classes[i]);
    }
    g->scaler_mean = noise(PQ_SHAPE(4), 7);
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(4), &g->scaler_std, err));
    for (size_t i = 0; i < 4; i++) {
        pq_f32(g->scaler_std)[i] = 0.5F + (float)i;
    }
    OK(pq_graph_note(g, json_pack("{s:s}", "method", "test"), err));
    OK(pq_graph_create(&g->aside, err));
    add(g->aside, "in", "input", "shape", "[4]", NULL, NULL, NULL);
    add(g->aside, "plain", "dense", NULL, NULL, "in", noise(PQ_SHAPE(2, 4), 8), NULL);
    quantize(kernel_of(g->aside, "plain"), PQ_QUANT_FLOAT16, 16);
    OK(pq_graph_check(g, err));
    return g;
}

static void save(const pq_graph *g)
{
    OK(pq_model_save(g, path, err));
}

Test(pquant, a_model_comes_back_as_it_was)
{
    const size_t live = pq_memory_live();
    pq_graph    *g = make(), *back = NULL;
    char         a[65], b[65];

    save(g);
    OK(pq_model_load(path, NULL, &back, err));
    OK(pq_graph_hash(g, a, err));
    OK(pq_graph_hash(back, b, err));
    cr_expect_str_eq(a, b);
    cr_expect_eq(pq_graph_stored_bytes(g), pq_graph_stored_bytes(back));
    cr_expect_arr_eq(kernel_of(back, "sparse")->pruned, kernel_of(g, "sparse")->pruned,
                     50);
    cr_expect_null(kernel_of(back, "half")->pruned);
    cr_expect_arr_eq(kernel_of(back, "both")->pruned, kernel_of(g, "both")->pruned, 8);
    cr_expect_eq(kernel_of(back, "both")->quant->bits, 5);
    cr_expect_str_eq(back->class_names[2], "light");
    cr_expect_arr_eq(pq_f32(back->scaler_mean), pq_f32(g->scaler_mean), 16);
    cr_assert_not_null(back->aside);
    cr_expect_eq(kernel_of(back->aside, "plain")->quant->scheme, PQ_QUANT_FLOAT16);
    cr_expect_arr_eq(pq_f32(kernel_of(back->aside, "plain")->value),
                     pq_f32(kernel_of(g->aside, "plain")->value), 8 * sizeof(float));
    cr_expect_eq(json_array_size(back->provenance), 1);
    cr_expect_str_eq(
        json_string_value(json_object_get(json_array_get(back->provenance, 0), "method")),
        "test");
    for (size_t i = 0; i < 400; i++) {
        cr_assert_eq(pq_f32(kernel_of(back, "int8")->value)[i],
                     pq_f32(kernel_of(g, "int8")->value)[i]);
    }
    pq_graph_free(&g);
    pq_graph_free(&back);
    cr_expect_eq(pq_memory_live(), live);
}

Test(pquant, the_same_model_gives_the_same_bytes)
{
    pq_graph *g = make();
    char     *bytes[2];
    size_t    n[2];

    for (int i = 0; i < 2; i++) {
        save(g);
        OK(pq_file_read(path, 1 << 20, &bytes[i], &n[i], err));
        usleep(i == 0 ? 1100000 : 0);
    }
    cr_assert_eq(n[0], n[1]);
    cr_expect_arr_eq(bytes[0], bytes[1], n[0]);
    pq_free(bytes[0]);
    pq_free(bytes[1]);
    pq_graph_free(&g->aside);
    save(g);
    OK(pq_file_read(path, 1 << 20, &bytes[0], &n[0], err));
    cr_expect_leq(n[0], pq_graph_stored_bytes(g) + 6000, "%zu bytes for %zu stored", n[0],
                  pq_graph_stored_bytes(g));
    pq_free(bytes[0]);
    pq_graph_free(&g);
}

/* Copies the saved file through libhdf5 with one thing changed by `change`. */
static void refused(void (*change)(pq_h5 *file), pq_status status, const char *text)
{
    const size_t live = pq_memory_live();
    pq_h5       *file = NULL;
    pq_graph    *g    = NULL;
    pq_err       err  = {0};
    char         want[512];

    OK(pq_h5_create(path, &file, err));
    change(file);
    OK(pq_h5_commit(&file, err));
    cr_expect_eq(pq_model_load(path, NULL, &g, &err), status, "%d %s", err.code,
                 err.message);
    snprintf(want, sizeof want, "%s: %s", path, text);
    cr_expect_str_eq(err.message, want);
    cr_expect_null(g);
    cr_expect_eq(pq_memory_live(), live);
}

static void head(pq_h5 *file, int32_t version, const char *graph)
{
    OK(pq_h5_set_text(file, "/", "format", "pquant-model", err));
    OK(pq_h5_set_numbers(file, "/", "version", PQ_DTYPE_I32, &version, 1, err));
    if (graph != NULL) {
        OK(pq_h5_write_text(file, "graph", graph, err));
    }
}

#define ONE_DENSE(outputs)                                                               \
    "{\"nodes\":[{\"name\":\"in\",\"kind\":\"input\",\"inputs\":[],\"attributes\":{"     \
    "\"shape\":[3]},"                                                                    \
    "\"weights\":[]},{\"name\":\"d\",\"kind\":\"dense\",\"inputs\":[\"in\"],"            \
    "\"attributes\":{},"                                                                 \
    "\"weights\":[{\"name\":\"kernel\",\"shape\":[" outputs ",3]}]}],\"output\":\"d\"}"

static const char one_dense[] = ONE_DENSE("2");

static void version_9(pq_h5 *file)
{
    head(file, 9, NULL);
}

static void no_graph(pq_h5 *file)
{
    head(file, 1, NULL);
}

static void bad_json(pq_h5 *file)
{
    head(file, 1, "{\"nodes\":");
}

static void no_weight(pq_h5 *file)
{
    head(file, 1, one_dense);
}

static void write_kernel(pq_h5 *file, pq_shape shape)
{
    pq_tensor *t = noise(shape, 1);

    head(file, 1, one_dense);
    OK(pq_h5_write(file, "weights/d/kernel", t, 0, err));
    pq_tensor_free(&t);
}

static void wrong_shape(pq_h5 *file)
{
    write_kernel(file, PQ_SHAPE(3, 3));
}

static void write_packed(pq_h5 *file, size_t bytes, const char *scheme, int8_t bits,
                         float scale)
{
    pq_tensor *t = NULL;

    head(file, 1, one_dense);
    OK(pq_tensor_create(PQ_DTYPE_U8, PQ_SHAPE(bytes), &t, err));
    OK(pq_h5_write(file, "weights/d/kernel", t, 0, err));
    OK(pq_h5_set_text(file, "weights/d/kernel", "scheme", scheme, err));
    OK(pq_h5_set_numbers(file, "weights/d/kernel", "bits", PQ_DTYPE_I8, &bits, 1, err));
    OK(pq_h5_set_numbers(file, "weights/d/kernel", "scale", PQ_DTYPE_F32, &scale, 1,
                         err));
    pq_tensor_free(&t);
}

static void odd_scheme(pq_h5 *file)
{
    write_packed(file, 6, "ternary", 8, 1.0F);
}

static void odd_bits(pq_h5 *file)
{
    write_packed(file, 6, "integer", 33, 1.0F);
}

/* NF4 of two groups of 3, whose scales are codes. */
static void write_coded(pq_h5 *file, int32_t code, size_t steps, float step, float mean)
{
    const char *const at       = "weights/d/kernel";
    const int8_t      axis     = PQ_QUANT_PER_GROUP;
    const int64_t     group    = 3;
    const int32_t     codes[]  = {code, 5};
    const float       values[] = {step, step};

    write_packed(file, 3, "nf4", 4, 1.0F);
    OK(pq_h5_set_numbers(file, at, "axis", PQ_DTYPE_I8, &axis, 1, err));
    OK(pq_h5_set_numbers(file, at, "group", PQ_DTYPE_I64, &group, 1, err));
    OK(pq_h5_set_numbers(file, at, "scale_code", PQ_DTYPE_I32, codes, 2, err));
    OK(pq_h5_set_numbers(file, at, "scale_step", PQ_DTYPE_F32, values, steps, err));
    OK(pq_h5_set_numbers(file, at, "scale_mean", PQ_DTYPE_F32, &mean, 1, err));
}

static void wide_scale_code(pq_h5 *file)
{
    write_coded(file, 128, 1, 0.5F, 8.0F);
}

static void two_scale_steps(pq_h5 *file)
{
    write_coded(file, 1, 2, 0.5F, 8.0F);
}

static void negative_scale_step(pq_h5 *file)
{
    write_coded(file, 1, 1, -0.5F, 8.0F);
}

static void negative_scale(pq_h5 *file)
{
    write_coded(file, -20, 1, 0.5F, 8.0F);
}

static void few_bytes(pq_h5 *file)
{
    write_packed(file, 5, "integer", 8, 1.0F);
}

static void bad_scaler(pq_h5 *file)
{
    pq_tensor *mean = noise(PQ_SHAPE(3), 1), *std = NULL;

    write_kernel(file, PQ_SHAPE(2, 3));
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(3), &std, err));
    pq_f32(mean)[0] = 1.5F;
    OK(pq_h5_write(file, "scaler/mean", mean, 0, err));
    OK(pq_h5_write(file, "scaler/std", std, 0, err));
    pq_tensor_free(&mean);
    pq_tensor_free(&std);
}

static void bad_aside(pq_h5 *file)
{
    write_kernel(file, PQ_SHAPE(2, 3));
    OK(pq_h5_write_text(file, "aside", one_dense, err));
}

/* Twelve weights, eleven of them zero. */
static void write_pruned(pq_h5 *file, size_t bytes)
{
    const int8_t yes  = 1;
    pq_tensor   *mask = NULL, *w = NULL;

    head(file, 1, ONE_DENSE("4"));
    OK(pq_tensor_create(PQ_DTYPE_F32, PQ_SHAPE(4, 3), &w, err));
    pq_f32(w)[1] = 1.0F;
    OK(pq_h5_write(file, "weights/d/kernel", w, 0, err));
    OK(pq_h5_set_numbers(file, "weights/d/kernel", "pruned", PQ_DTYPE_I8, &yes, 1, err));
    if (bytes > 0) {
        OK(pq_tensor_create(PQ_DTYPE_U8, PQ_SHAPE(bytes), &mask, err));
        ((uint8_t *)mask->data)[0] = 0x92; /* the second, fifth and eighth zero */
        OK(pq_h5_write(file, "weights/d/kernel.pruned", mask, 0, err));
    }
    pq_tensor_free(&mask);
    pq_tensor_free(&w);
}

static void short_mask(pq_h5 *file)
{
    write_pruned(file, 1);
}

static void long_mask(pq_h5 *file)
{
    write_pruned(file, 3);
}

/* Zeros are items 0, 2, 3, ... 11. */
Test(pquant, a_mask_has_a_bit_for_each_zero_and_without_it_all_are_pruned)
{
    for (size_t bytes = 0; bytes < 3; bytes += 2) {
        pq_h5    *file = NULL;
        pq_graph *g    = NULL;

        OK(pq_h5_create(path, &file, err));
        write_pruned(file, bytes);
        OK(pq_h5_commit(&file, err));
        OK(pq_model_load(path, NULL, &g, err));
        cr_expect_eq(kernel_of(g, "d")->pruned[0], bytes == 0 ? 0xFD : 0x24);
        cr_expect_eq(kernel_of(g, "d")->pruned[1], bytes == 0 ? 0x0F : 0x01);
        pq_graph_free(&g);
    }
}

Test(pquant, broken_files_are_refused_with_the_place)
{
    refused(short_mask, PQ_ERR_FORMAT,
            "weights/d/kernel.pruned has 1 bytes where 2 are due, a bit for each zero");
    refused(long_mask, PQ_ERR_FORMAT,
            "weights/d/kernel.pruned has more than the 2 bytes that are read");
    refused(bad_aside, PQ_ERR_NOT_FOUND, "aside_weights/d/kernel is not there");
    refused(version_9, PQ_ERR_UNSUPPORTED, "is of version 9; version 1 is read");
    refused(no_graph, PQ_ERR_NOT_FOUND, "graph is not there");
    refused(bad_json, PQ_ERR_FORMAT,
            "graph is not valid JSON: column 9: unexpected token near end of file");
    refused(no_weight, PQ_ERR_NOT_FOUND, "weights/d/kernel is not there");
    refused(wrong_shape, PQ_ERR_SHAPE, "weights/d/kernel is [3, 3], /graph says [2, 3]");
    refused(odd_scheme, PQ_ERR_UNSUPPORTED,
            "weights/d/kernel has scheme 'ternary', not one of integer, fixed, "
            "nf4, float16, bfloat16, float32");
    refused(odd_bits, PQ_ERR_FORMAT,
            "attribute 'bits' of weights/d/kernel is not a whole number in 2..16");
    refused(few_bytes, PQ_ERR_FORMAT,
            "weights/d/kernel: packed weight has 5 bytes where 6 are due");
    refused(wide_scale_code, PQ_ERR_FORMAT,
            "weights/d/kernel: code 128 of a scale is not in -128..127");
    refused(two_scale_steps, PQ_ERR_FORMAT,
            "weights/d/kernel has 2 steps and 1 means of scales where 1 and 1 are due");
    refused(negative_scale_step, PQ_ERR_FORMAT,
            "weights/d/kernel: step -0.5 of scales is not 0 or more");
    refused(negative_scale, PQ_ERR_NUMERIC,
            "weights/d/kernel: scale 0 of the quantizer is -2, not a positive number");
    refused(
        bad_scaler, PQ_ERR_NUMERIC,
        "the scaler of feature 0 has mean 1.5 and std 0, not finite ones with std > 0");
}

Test(pquant, an_architecture_beside_it_is_refused)
{
    pq_graph *g = make(), *back = NULL;
    pq_err    err = {0};
    char      want[300];

    save(g);
    cr_expect_eq(pq_model_load(path, "a.json", &back, &err), PQ_ERR_CONFIG);
    snprintf(want, sizeof want,
             "%s: holds its own architecture; --arch is for weights-only files", path);
    cr_expect_str_eq(err.message, want);
    pq_graph_free(&g);
}

Test(pquant, a_truncated_file_is_refused_at_every_length)
{
    pq_graph *g = make(), *back = NULL;
    char     *bytes = NULL;
    size_t    n     = 0;

    save(g);
    OK(pq_file_read(path, 1 << 20, &bytes, &n, err));
    for (size_t cut = 0; cut < n; cut += 53) {
        OK(pq_file_write(path, bytes, cut, err));
        cr_expect_eq(pq_model_load(path, NULL, &back, NULL), PQ_ERR_FORMAT, "%zu of %zu",
                     cut, n);
        cr_expect_null(back);
    }
    pq_free(bytes);
    pq_graph_free(&g);
}

Test(pquant, a_folder_that_is_not_there_is_said_and_nothing_is_left)
{
    pq_graph *g   = make();
    pq_err    err = {0};
    char      far[160];

    snprintf(far, sizeof far, "%s/none/m.h5", folder);
    cr_expect_eq(pq_model_save(g, far, &err), PQ_ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.message, "none/m.h5: cannot be written: "), "%s",
                       err.message);
    pq_graph_free(&g);
}

Test(pquant, every_failed_allocation_leaves_nothing_behind)
{
    pq_graph    *g    = make();
    const size_t live = pq_memory_live();
    pq_status    st   = PQ_ERR_NOMEM;

    for (size_t i = 0; st != PQ_OK && i < 10000; i++) {
        pq_memory_fail_after(i);
        st = pq_model_save(g, path, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert_eq(pq_memory_live(), live, "after failure %zu", i);
    }
    st = PQ_ERR_NOMEM;
    for (size_t i = 0; st != PQ_OK && i < 10000; i++) {
        pq_graph *back = NULL;
        pq_memory_fail_after(i);
        st = pq_model_load(path, NULL, &back, NULL);
        pq_memory_fail_after(SIZE_MAX);
        pq_graph_free(&back);
        cr_assert_eq(pq_memory_live(), live, "after failure %zu", i);
    }
    cr_expect_eq(st, PQ_OK);
    pq_graph_free(&g);
}

/* Fixed point of all granularities, groups, NF4, and a fixed-point grid of a node. */
Test(pquant, every_quantizer_comes_back)
{
    static const int axes[] = {PQ_QUANT_PER_TENSOR, 0, PQ_QUANT_PER_ITEM};

    for (size_t k = 0; k < 6; k++) { /* 5: NF4 whose scales are codes */
        pq_graph       *g = make(), *back = NULL;
        pq_weight      *w     = kernel_of(g, "int8");
        const pq_shape *shape = &w->value->shape;
        char            a[65], b[65];

        pq_quant_free(&w->quant);
        if (k < 3) {
            const size_t n = k == 0 ? 1 : k == 1 ? shape->dim[0] : w->value->count;
            OK(pq_quant_create_fixed(true, PQ_OVERFLOW_WRAP_SM, PQ_ROUND_TRN_ZERO,
                                     axes[k], n, &w->quant, err));
            for (size_t i = 0; i < n; i++) {
                OK(pq_quant_set_fixed(w->quant, i, (int)(i % 5) - 2, (int)(i % 7), err));
            }
        } else {
            OK(pq_quant_create_grouped(k == 4 ? PQ_QUANT_INTEGER : PQ_QUANT_NF4, 4, shape,
                                       6, &w->quant, err));
            for (size_t i = 0; i < w->quant->n; i++) {
                w->quant->scale[i] = 0.1F + 0.01F * (float)i;
            }
            OK(k == 5 ? pq_quant_code_scales(w->quant, err) : PQ_OK);
        }
        OK(pq_quant_apply(w->quant, w->value, err));
        pq_node *node = &g->nodes[pq_graph_find(g, "plain")];
        pq_quant_free(&node->quant);
        OK(pq_quant_create_fixed(false, PQ_OVERFLOW_WRAP, PQ_ROUND_RND, -1, 1,
                                 &node->quant, err));
        OK(pq_quant_set_fixed(node->quant, 0, 3, 5, err));
        OK(pq_graph_check(g, err));
        save(g);
        OK(pq_model_load(path, NULL, &back, err));
        OK(pq_graph_hash(g, a, err));
        OK(pq_graph_hash(back, b, err));
        cr_expect_str_eq(a, b, "case %zu", k);
        cr_expect_eq(kernel_of(back, "int8")->quant->bits, w->quant->bits);
        cr_expect_eq(pq_weight_stored_bytes(kernel_of(back, "int8")),
                     pq_weight_stored_bytes(w));
        cr_expect_eq(kernel_of(back, "int8")->quant->scale_code != NULL, k == 5);
        pq_graph_free(&g);
        pq_graph_free(&back);
    }
}

/* A node's grid of NF4 has no form in the file: the file must not get its name. */
Test(pquant, what_cannot_be_read_back_is_not_kept)
{
    const size_t live   = pq_memory_live();
    pq_graph    *g      = make();
    pq_node     *node   = &g->nodes[pq_graph_find(g, "int8")];
    pq_err       refuse = {0};

    save(g);
    OK(pq_quant_create(PQ_QUANT_NF4, 4, true, false, -1, 1, &node->quant, err));
    node->quant->scale[0] = 1.0F;
    cr_expect_eq(pq_model_save(g, path, &refuse), PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(refuse.message,
                              "the file is not kept, as it cannot be read "
                              "back: "),
                       "%s", refuse.message);
    pq_graph_free(&g);
    OK(pq_model_load(path, NULL, &g, err)); /* that of before */
    cr_expect_null(g->nodes[pq_graph_find(g, "int8")].quant);
    pq_graph_free(&g);
    char command[200];
    snprintf(command, sizeof command, "test $(ls %s | wc -l) = 1", folder);
    cr_expect_eq(system(command), 0);
    cr_expect_eq(pq_memory_live(), live);
}
