/* QKeras: quantizers by their formulas, as texts and as objects, and what is refused. */
#include <math.h>

#include "core/file.h"
#include "formats/keras_files.h"

TestSuite(qkeras, .init = setup, .fini = teardown);

#define QDENSE(more)                                                                     \
    MODEL(INPUT("3") "," LAYER("QDense", "d", "in", ",\"units\":2" more), "d")
#define KERNEL(quantizer)                                                                \
    QDENSE(",\"kernel_quantizer\":" quantizer ",\"bias_quantizer\":" quantizer)

/* A QDense over 3 features with a kernel (in, out) and bias that are given. */
static void write(const float kernel[6], const float bias[2], const char *config)
{
    keras      k = begin("model_weights");
    pq_tensor *w = noise(PQ_SHAPE(3, 2), 1), *b = noise(PQ_SHAPE(2), 2);

    memcpy(pq_f32(w), kernel, 6 * sizeof *kernel);
    memcpy(pq_f32(b), bias, 2 * sizeof *bias);
    layer(&k, "d", 2, (pq_tensor *[]){w, b});
    finish(&k, config);
}

/* Kernels as [out, in], and the grid they are stored on: bits, scale of channel 0. */
static const struct {
    const char *config;
    float       kernel[6];
    float       bias[2];
    int         bits;
    double      scale;
} roundings[] = {
    /* round half to even, steps of 2^-3, the highest 7/8, the lowest -1 */
    {KERNEL("\"quantized_bits(4,0,alpha=1)\""),
     {0.0f, 0.25f, 0.875f, -0.5f, -1.0f, 0.125f},
     {0.25f, -0.5f},
     4,
     0.125},
    /* the same without the lowest, as an object, with flags as numbers */
    {KERNEL("{\"class_name\":\"quantized_bits\",\"config\":{\"bits\":4,\"integer\":0,"
            "\"symmetric\":1,\"keep_negative\":true,\"alpha\":1.0,\"qnoise_factor\":1.0},"
            "\"module\":\"qkeras.quantizers\",\"registered_name\":\"quantized_bits\"}"),
     {0.0f, 0.25f, 0.875f, -0.5f, -0.875f, 0.125f},
     {0.25f, -0.5f},
     4,
     0.125},
    /* 1 bit is the sign */
    {KERNEL("\"quantized_bits(1, 0, alpha=0.5)\""),
     {0.5f, 0.5f, 0.5f, -0.5f, -0.5f, 0.5f},
     {0.5f, -0.5f},
     2,
     0.5},
    {KERNEL("\"binary(alpha=2)\""),
     {2.0f, 2.0f, 2.0f, -2.0f, -2.0f, 2.0f},
     {2.0f, -2.0f},
     2,
     2.0},
    {KERNEL("\"ternary(alpha=1,threshold=0.3)\""),
     {0.0f, 0.0f, 1.0f, -1.0f, -1.0f, 0.0f},
     {0.0f, -1.0f},
     2,
     1.0},
    /* magnitudes to the nearest power of two in the logarithm, at most 2^1, least 2^-2 */
    {KERNEL("\"quantized_po2(3)\""),
     {0.25f, 0.25f, 2.0f, -0.5f, -2.0f, 0.25f},
     {0.25f, -0.5f},
     2,
     0.25},
};

Test(qkeras, weights_are_rounded_by_the_formula_of_their_quantizer)
{
    static const float kernel[6] = {0.06f, -0.5f, 0.1875f + 0.0625f, -1.7f, 1.5f, 0.13f};
    static const float bias[2]   = {0.27f, -0.44f};

    for (size_t i = 0; i < sizeof roundings / sizeof *roundings; i++) {
        pq_graph *g;
        write(kernel, bias, roundings[i].config);
        g                  = load();
        const pq_layer  *l = g->nodes[pq_graph_find(g, "d")].layer;
        const pq_weight *w = pq_layer_weight(l, "kernel"),
                        *b = pq_layer_weight(l, "bias");
        for (size_t n = 0; n < 6; n++) {
            cr_expect_float_eq(pq_f32(w->value)[n], roundings[i].kernel[n], 0.0,
                               "case %zu, weight %zu: %g", i, n,
                               (double)pq_f32(w->value)[n]);
        }
        for (size_t n = 0; n < 2; n++) {
            cr_expect_float_eq(pq_f32(b->value)[n], roundings[i].bias[n], 0.0,
                               "case %zu, bias %zu: %g", i, n,
                               (double)pq_f32(b->value)[n]);
        }
        cr_assert_not_null(w->quant);
        cr_expect_eq(w->quant->bits, roundings[i].bits, "case %zu: %d", i,
                     w->quant->bits);
        cr_expect_float_eq((double)w->quant->scale[0], roundings[i].scale, 0.0);
        pq_graph_free(&g);
    }
}

/* A bias that has no quantizer is added as it is, behind the sums of codes. */
Test(qkeras, a_bias_without_a_quantizer_is_not_rounded)
{
    static const float kernel[6] = {0.5f, -0.5f, 0.25f, 0.0f, 0.125f, 0.75f};
    static const float bias[2]   = {0.123456f, -0.654321f};
    const double       in[]      = {0.0, 0.0, 0.0};
    double             got[2];
    pq_graph          *g;

    write(kernel, bias,
          QDENSE(",\"kernel_quantizer\":\"quantized_bits(4,0,alpha=1)\","
                 "\"bias_quantizer\":null"));
    g = load();
    run_graph(g, in, got);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_float_eq(got[i], (double)bias[i], 0.0);
    }
    pq_graph_free(&g);
}

#define ACTIVATION(text)                                                                 \
    MODEL(INPUT("3") "," LAYER("QActivation", "a", "in", ",\"activation\":" text), "a")

static void write_activation(const char *config)
{
    keras k = begin("model_weights");

    layer(&k, "a", 0, NULL);
    finish(&k, config);
}

Test(qkeras, activations_lie_on_the_grid_of_their_quantizer)
{
    static const struct {
        const char *config;
        double      want[3];
    } cases[] = {
        {ACTIVATION("\"quantized_bits(6,2,alpha=1)\""), {-0.75, 0.375, 3.875}},
        {ACTIVATION("\"quantized_bits(4, 0, 1)\""), {-0.75, 0.375, 0.875}},
        {ACTIVATION("\"quantized_relu(3,1)\""), {0.0, 0.5, 1.75}},
        {ACTIVATION("\"quantized_relu(4,3,relu_upper_bound=6,is_quantized_clip=False)\""),
         {0.0, 0.5, 6.0}},
        {ACTIVATION("\"quantized_relu(4,1,negative_slope=0.5)\""), {-0.5, 0.5, 1.75}},
        {ACTIVATION("\"quantized_tanh(4)\""), {-0.75, 0.375, 0.875}},
        {ACTIVATION("{\"class_name\":\"quantized_tanh\",\"config\":{\"bits\":4,"
                    "\"symmetric\":true,\"use_real_tanh\":true}}"),
         {-0.625, 0.375, 0.875}},
    };
    const double in[] = {-0.75, 0.375, 9.0};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double    got[3];
        pq_graph *g;
        write_activation(cases[i].config);
        g = load();
        run_graph(g, in, got);
        for (size_t k = 0; k < 3; k++) {
            got[k] = pq_quant_round_real(g->nodes[g->output].quant, 0, got[k]);
            cr_expect_float_eq(got[k], cases[i].want[k], 0.0, "case %zu, item %zu: %g", i,
                               k, got[k]);
        }
        pq_graph_free(&g);
    }
}

/* Quantizer of an activation, status, message behind the layer. */
static const struct {
    const char *config;
    pq_status   status;
    const char *message;
} bad[] = {
    {ACTIVATION("\"quantized_ulaw(8)\""), PQ_ERR_UNSUPPORTED,
     "'quantized_ulaw(8)' of 'activation' is no quantizer that is read; those of QKeras "
     "are: quantized_bits, binary, ternary, quantized_po2, quantized_relu_po2, "
     "quantized_relu, quantized_tanh, quantized_sigmoid"},
    {ACTIVATION("\"quantized_bits(40)\""), PQ_ERR_RANGE,
     "'activation', quantized_bits: bits = 40 is not a whole number in 1..16"},
    {ACTIVATION("\"quantized_bits(2.5)\""), PQ_ERR_RANGE,
     "'activation', quantized_bits: bits = 2.5 is not a whole number in 1..16"},
    {ACTIVATION("\"quantized_bits(8,integer=99)\""), PQ_ERR_RANGE,
     "'activation', quantized_bits: integer = 99 is not a whole number in -24..23"},
    {ACTIVATION("\"quantized_bits(8,0,alpha='best')\""), PQ_ERR_UNSUPPORTED,
     "'activation', quantized_bits: alpha = 'best' is not known; null, a number, 'auto' "
     "and 'auto_po2' are read"},
    {ACTIVATION("\"quantized_bits(8,0,alpha=-1)\""), PQ_ERR_RANGE,
     "'activation', quantized_bits: alpha = -1 is not a positive number"},
    {ACTIVATION("\"quantized_bits(8,0,alpha='auto')\""), PQ_ERR_UNSUPPORTED,
     "alpha of an activation comes from each batch of events; only null and powers of "
     "two are read"},
    {ACTIVATION("\"quantized_bits(8,0,qnoise_factor=0.5)\""), PQ_ERR_UNSUPPORTED,
     "'activation', quantized_bits: qnoise_factor is 0.5: the net is quantized in part; "
     "only 1 is read"},
    {ACTIVATION("\"quantized_bits(8\""), PQ_ERR_FORMAT,
     "'quantized_bits(8' has no closing bracket"},
    {ACTIVATION("\"quantized_bits(8)x\""), PQ_ERR_FORMAT,
     "'quantized_bits(8)x' goes on behind its closing bracket"},
    {ACTIVATION("\"quantized_bits(8,bits=8)\""), PQ_ERR_FORMAT,
     "quantized_bits has 'bits' twice"},
    {ACTIVATION("\"quantized_bits(eight)\""), PQ_ERR_FORMAT,
     "argument 1 of quantized_bits is 'eight': no number, True, False, None or text in "
     "quotes"},
    {ACTIVATION("\"quantized_tanh(8,0,0,0,1)\""), PQ_ERR_FORMAT,
     "quantized_tanh has too many arguments"},
    {ACTIVATION("\"quantized_tanh(8,integer=1)\""), PQ_ERR_UNSUPPORTED,
     "key 'integer' of quantized_tanh is not known, so neither is what it computes"},
    {ACTIVATION("\"quantized_relu(8,use_sigmoid=1)\""), PQ_ERR_UNSUPPORTED,
     "'activation', quantized_relu: use_sigmoid of quantized_relu is not read"},
    {ACTIVATION("\"quantized_relu(8,negative_slope=0.3)\""), PQ_ERR_UNSUPPORTED,
     "negative_slope = 0.3 is not read, only powers of two below 1 that leave a code"},
    {ACTIVATION("\"quantized_relu(4,2,relu_upper_bound=1.1,is_quantized_clip=False)\""),
     PQ_ERR_UNSUPPORTED,
     "relu_upper_bound = 1.1 is none of its own values, multiples of 0.25"},
    {ACTIVATION("\"binary(use_01=True)\""), PQ_ERR_UNSUPPORTED,
     "binary with use_01 is read for weights, not as an activation"},
    {ACTIVATION("\"ternary(alpha=1.5)\""), PQ_ERR_UNSUPPORTED,
     "alpha of an activation of ternary is read as null and powers of two only"},
    {ACTIVATION("\"quantized_po2(4)\""), PQ_ERR_UNSUPPORTED,
     "quantized_po2 is read for weights, not as an activation"},
    {ACTIVATION("\"quantized_sigmoid(6)\""), PQ_ERR_UNSUPPORTED,
     "quantized_sigmoid is read with use_real_sigmoid and without symmetric only"},
    {ACTIVATION("{\"class_name\":\"quantized_bits\",\"config\":{\"alpha\":[1,2]}}"),
     PQ_ERR_UNSUPPORTED,
     "'activation', quantized_bits: alpha is a list or an object; null, a number, 'auto' "
     "and 'auto_po2' are read"},
};

Test(qkeras, what_is_not_understood_is_refused)
{
    char text[640];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_activation(bad[i].config);
        snprintf(text, sizeof text, "layer 'a': %s", bad[i].message);
        refused(bad[i].status, text);
    }
}

Test(qkeras, weights_whose_quantizer_has_no_grid_are_refused)
{
    static const char *const wrong[][2] = {
        {QDENSE(",\"kernel_quantizer\":\"quantized_relu(4)\""),
         "'kernel_quantizer': quantized_relu is not read for weights"},
        {QDENSE(",\"kernel_quantizer\":7"),
         "'' of 'kernel_quantizer' is no quantizer that is read; those of QKeras are: "
         "quantized_bits, binary, ternary, quantized_po2, quantized_relu_po2, "
         "quantized_relu, quantized_tanh, quantized_sigmoid"},
        {MODEL(INPUT("3") "," LAYER("QLSTM", "d", "in", ",\"units\":2"), "d"),
         "layer class 'QLSTM' is not known"},
    };
    static const float kernel[6] = {0.5f}, bias[2] = {0.0f};
    char               text[640];

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write(kernel, bias, wrong[i][0]);
        snprintf(text, sizeof text, "layer 'd': %s", wrong[i][1]);
        refused(PQ_ERR_UNSUPPORTED, text);
    }
}

/* A kernel of any shape, of ones. */
static pq_tensor *ones(pq_shape shape)
{
    pq_tensor *t = NULL;

    OK(pq_tensor_create(PQ_DTYPE_F32, shape, &t, err));
    for (size_t i = 0; i < t->count; i++) {
        pq_f32(t)[i] = 1.0f;
    }
    return t;
}

Test(qkeras, a_kernel_without_axes_is_refused)
{
    keras k = begin("model_weights");

    layer(&k, "d", 2, (pq_tensor *[]){ones((pq_shape){0}), ones(PQ_SHAPE(2))});
    finish(&k, KERNEL("\"quantized_bits(4,0)\""));
    refused(PQ_ERR_SHAPE,
            "layer 'd': the kernel in the file is [], the configuration says [any, 2]");
}

Test(qkeras, a_kernel_of_hgq_with_too_many_axes_is_refused)
{
#define CONF                                                                             \
    "{\"class_name\":\"QuantizerConfig\",\"config\":{\"q_type\":\"kbi\","                \
    "\"round_mode\":\"RND\",\"overflow_mode\":\"SAT_SYM\"}}"
    static const char *const groups[] = {"vars",
                                         "layers",
                                         "layers/q_dense",
                                         "layers/q_dense/vars",
                                         "layers/q_dense/kq",
                                         "layers/q_dense/kq/quantizer",
                                         "layers/q_dense/kq/quantizer/vars"};
    static const char *const arrays[] = {
        "layers/q_dense/vars/0", "layers/q_dense/kq/quantizer/vars/0",
        "layers/q_dense/kq/quantizer/vars/1", "layers/q_dense/kq/quantizer/vars/2"};
    static const char arch[] = MODEL(
        INPUT("3") ",{\"class_name\":\"QDense\",\"registered_name\":\"hgq>QDense\","
                   "\"module\":\"hgq.layers\",\"name\":\"d\",\"config\":{\"name\":\"d\","
                   "\"units\":2,\"use_bias\":false,\"kq_conf\":" CONF "},"
                   "\"inbound_nodes\":[[[\"in\",0,0,{}]]]}",
        "d");
    char      arch_path[300];
    pq_h5    *file  = NULL;
    pq_graph *graph = NULL;
    pq_err    err_  = {0};

    OK(pq_h5_create(path, &file, err));
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        OK(pq_h5_make_group(file, groups[i], err));
    }
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        pq_tensor *t = ones(PQ_SHAPE(3, 2, 1));
        OK(pq_h5_write(file, arrays[i], t, 0, err));
        pq_tensor_free(&t);
    }
    OK(pq_h5_commit(&file, err));
    snprintf(arch_path, sizeof arch_path, "%s.json", path);
    OK(pq_file_write(arch_path, arch, sizeof arch - 1, err));
    cr_expect_eq(pq_model_load(path, arch_path, &graph, &err_), PQ_ERR_SHAPE);
    cr_expect_not_null(strstr(err_.message, "layer 'd': its kernel has 3 axes, not 2"),
                       "%s", err_.message);
    (void)remove(arch_path);
#undef CONF
}
