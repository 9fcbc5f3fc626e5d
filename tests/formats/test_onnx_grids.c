/* Grids in ONNX and QONNX files: axes of scales, and biases on a grid of their own. */
#include "onnx_file.h"

#include "core/memory.h"
#include "formats/model.h"

TestSuite(onnx_grids, .init = setup, .fini = teardown);

/* Loads what was put, over x [batch, 8] and y [batch, 2]; NULL: *why says it. */
static pq_graph *load(int64_t opset, pq_err *why)
{
    const int64_t in[] = {-1, 8}, out[] = {-1, 2};
    pq_graph     *g = NULL;

    *why = (pq_err){0};
    snprintf(path, sizeof path, "%s/grids.onnx", folder);
    put_port(11, "x", 2, in);
    put_port(12, "y", 2, out);
    write_onnx(path, opset, "test");
    (void)pq_model_load(path, NULL, &g, why);
    cr_assert(g != NULL || pq_memory_live() == 0);
    return g;
}

/* Codes w [2, 8] of n scales along an axis, as the kernel of x [batch, 8]. */
static void dequantized(size_t n, int64_t axis)
{
    const int8_t w[16]   = {1};
    const float  scale[] = {0.5F, 0.25F, 0.125F};

    put_raw("w", 3, PQ_SHAPE(2, 8), w, sizeof w);
    put_raw("s", 1, n == 1 ? (pq_shape){0} : PQ_SHAPE(n), scale, n * sizeof *scale);
    begin_node("DequantizeLinear", "w s", "wd");
    put_int("axis", axis);
    end_node();
    begin_node("Gemm", "x wd", "y");
    put_int("transB", 1);
    end_node();
}

Test(onnx_grids, an_axis_of_scales_that_is_not_there_is_named_with_its_range)
{
    static const struct {
        size_t      n;
        int64_t     axis;
        const char *message; /* NULL: it is read */
    } cases[] = {
        {2, 0, NULL},
        {2, -2, NULL},
        {1, 0, NULL},
        {1, 7, NULL}, /* one scale has no axis */
        {2, 2, "node 'wd': DequantizeLinear: axis = 2 of its scales is not in -2..1"},
        {2, -3, "node 'wd': DequantizeLinear: axis = -3 of its scales is not in -2..1"},
        {2, INT64_MAX, "axis = 9223372036854775807 of its scales is not in -2..1"},
        {2, INT64_MIN, "axis = -9223372036854775808 of its scales is not in -2..1"},
        {2, 1, "it has 2 scales, but axis 1 of its codes is 8 long"},
        {3, 0,
         "node 'wd': DequantizeLinear: it has 3 scales, but axis 0 of its codes is 2"},
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_err    why;
        pq_graph *g;
        dequantized(cases[k].n, cases[k].axis);
        g = load(13, &why);
        if (cases[k].message != NULL) {
            cr_expect_null(g);
            cr_expect_not_null(strstr(why.message, cases[k].message), "%s", why.message);
            continue;
        }
        cr_assert_not_null(g, "case %zu: %s", k, why.message);
        cr_expect_not_null(pq_layer_weight(g->nodes[1].layer, "kernel")->quant);
        pq_graph_free(&g);
    }
}

/* A bias b [2] behind a Quant of n scales, in a Gemm, times beta, or added behind a
 * MatMul or Conv. */
static void biased(const char *op, size_t n, float first, float zero, float bits,
                   float beta)
{
    const float w[16] = {1.0F}, b[] = {0.74F, -1.3F}, s[] = {first, 0.25F};

    put_raw("w", 1, strcmp(op, "Gemm") == 0 ? PQ_SHAPE(2, 8) : PQ_SHAPE(8, 2), w,
            sizeof w);
    put_raw("b", 1, PQ_SHAPE(2), b, sizeof b);
    put_raw("bs", 1, n == 1 ? (pq_shape){0} : PQ_SHAPE(n), s, n * sizeof *s);
    put_raw("bz", 1, (pq_shape){0}, &zero, sizeof zero);
    put_raw("bb", 1, (pq_shape){0}, &bits, sizeof bits);
    begin_node("Quant", "b bs bz bb", "bq");
    pq_wire_put_text(&onnx_node, 7, "qonnx.custom_op.general");
    end_node();
    if (strcmp(op, "Gemm") == 0) {
        begin_node("Gemm", "x w bq", "y");
        put_int("transB", 1);
        put_real(&onnx_node, 5, "beta", beta);
        end_node();
    } else {
        plain_node("MatMul", "x w", "m");
        plain_node(op, strcmp(op, "Add") == 0 ? "bq m" : "m bq", "y");
    }
}

Test(onnx_grids, a_bias_with_a_grid_of_its_own_keeps_it)
{
    static const struct {
        const char *op;
        size_t      n;
        float       first, zero, bits;
        int         axis; /* -9: no grid */
        float       value;
    } cases[] = {
        {"Gemm", 1, 0.5F, 0, 8, PQ_QUANT_PER_TENSOR, 0.5F},
        {"Gemm", 2, 0.5F, 0, 8, 0, 0.5F},
        {"Add", 1, 0.125F, 0, 8, PQ_QUANT_PER_TENSOR, 0.75F},
        {"Add", 2, 0.125F, 0, 4, 0, 0.75F},
        {"Gemm", 1, 0.3F, 0, 8, PQ_QUANT_PER_TENSOR, 0.6F}, /* no power of two */
        {"Gemm", 1, 0.5F, 1, 8, PQ_QUANT_PER_TENSOR, 0.5F}, /* a zero point */
        {"Add", 1, 0.0009765625F, 0, 24, -9, 0.74F}, /* more bits than a grid has */
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        biased(cases[k].op, cases[k].n, cases[k].first, cases[k].zero, cases[k].bits,
               1.0F);
        pq_err           why;
        pq_graph        *g = load(17, &why);
        const pq_weight *b;
        cr_assert_not_null(g, "case %zu: %s", k, why.message);
        b = pq_layer_weight(g->nodes[1].layer, "bias");
        cr_assert_not_null(b, "case %zu", k);
        cr_expect_float_eq(pq_f32(b->value)[0], cases[k].value, 1e-3, "case %zu: %g", k,
                           (double)pq_f32(b->value)[0]);
        cr_expect_eq(b->quant != NULL, cases[k].axis != -9, "case %zu", k);
        if (b->quant != NULL) {
            cr_expect_eq(b->quant->axis, cases[k].axis, "case %zu", k);
            cr_expect_eq(b->quant->bits, (int)cases[k].bits);
            cr_expect_eq(b->quant->scale[0], cases[k].first);
        }
        pq_graph_free(&g);
    }
}

/* Taken away, or times beta: the same codes or their mirror image, in other steps. */
Test(onnx_grids, a_bias_times_a_factor_keeps_a_grid)
{
    static const struct {
        const char *op;
        size_t      n;
        float       first, zero, bits, beta;
        double      value[2];
        float       scale; /* 0: no grid */
        int32_t     zero_point;
    } cases[] = {
        {"Sub", 1, 0.5F, 0, 8, 1, {-0.5, 1.5}, 0.5F, 0},
        {"Sub", 2, 0.5F, 0, 8, 1, {-0.5, 1.25}, 0.5F, 0},
        {"Sub", 1, 0.01F, 0, 8, 1, {-0.74, 1.28}, 0.01F, -1}, /* -128 has no negative */
        {"Sub", 1, 0.5F, 1, 8, 1, {-0.5, 1.5}, 0.5F, -2},
        {"Gemm", 1, 0.5F, 0, 8, 0.5F, {0.25, -0.75}, 0.25F, 0},
        {"Gemm", 1, 0.5F, 0, 8, 3, {1.5, -4.5}, 1.5F, 0},
        {"Gemm", 1, 0.5F, 0, 8, -2, {-1.0, 3.0}, 1.0F, 0},
        {"Gemm", 1, 0.5F, 0, 16, -0.3F, {-0.15, 0.45}, 0.15F, 0},
        {"Gemm", 1, 0.5F, 0, 8, 0, {0.0, 0.0}, 0.0F, 0},
    };
    const double x[8] = {0.0};

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        double           y[2];
        pq_err           why;
        const pq_weight *b;
        biased(cases[k].op, cases[k].n, cases[k].first, cases[k].zero, cases[k].bits,
               cases[k].beta);
        pq_graph *g = load(17, &why);
        cr_assert_not_null(g, "case %zu: %s", k, why.message);
        run_graph(g, x, y);
        for (size_t i = 0; i < 2; i++) {
            cr_expect_float_eq(y[i], cases[k].value[i], 1e-6, "case %zu: %g", k, y[i]);
        }
        b = pq_layer_weight(g->nodes[1].layer, "bias");
        cr_assert_eq(b->quant != NULL, cases[k].scale > 0.0F, "case %zu", k);
        for (size_t i = 0; b->quant != NULL && i < 2; i++) {
            const float value = pq_f32(b->value)[i];
            cr_expect_eq(value, pq_quant_round(b->quant, b->quant->n == 1 ? 0 : i, value),
                         "case %zu: %g is not on the grid", k, (double)value);
        }
        if (b->quant != NULL) {
            cr_expect_float_eq(b->quant->scale[0], cases[k].scale, 1e-7, "case %zu", k);
            cr_expect_eq(b->quant->zero_point[0], cases[k].zero_point, "case %zu: %d", k,
                         b->quant->zero_point[0]);
            cr_expect_eq(b->quant->bits, (int)cases[k].bits);
        }
        pq_graph_free(&g);
    }
}

/* A kernel of codes times alpha, which a Gemm of two numbers does. */
Test(onnx_grids, a_kernel_times_alpha_keeps_a_grid)
{
    static const struct {
        int    type;
        float  alpha, scale;
        int    zero_point;
        double value; /* of code 3; in uint8 with zero point 1 */
    } cases[] = {
        {3, 0.5F, 0.125F, 0, 0.375},
        {3, -3.0F, 0.75F, -1, -2.25}, /* -128 is among the codes */
        {2, -2.0F, 0.5F, 254, -1.0},
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const uint8_t    w[16] = {3, 128, 5, 0, 1}, zero = cases[k].type == 2;
        const float      scale = 0.25F;
        pq_err           why;
        const pq_weight *kernel;
        put_raw("w", cases[k].type, PQ_SHAPE(2, 8), w, sizeof w);
        put_raw("s", 1, (pq_shape){0}, &scale, sizeof scale);
        put_raw("z", cases[k].type, (pq_shape){0}, &zero, 1);
        plain_node("DequantizeLinear", "w s z", "wd");
        begin_node("Gemm", "x wd", "y");
        put_int("transB", 1);
        put_real(&onnx_node, 5, "alpha", cases[k].alpha);
        end_node();
        pq_graph *g = load(13, &why);
        cr_assert_not_null(g, "case %zu: %s", k, why.message);
        kernel = pq_layer_weight(g->nodes[1].layer, "kernel");
        cr_assert_not_null(kernel->quant, "case %zu", k);
        cr_expect_eq(kernel->quant->scale[0], cases[k].scale, "case %zu", k);
        cr_expect_eq(kernel->quant->zero_point[0], cases[k].zero_point, "case %zu: %d", k,
                     kernel->quant->zero_point[0]);
        cr_expect_float_eq(pq_f32(kernel->value)[0], cases[k].value, 1e-7, "case %zu", k);
        for (size_t i = 0; i < 16; i++) {
            const float value = pq_f32(kernel->value)[i];
            const int   code  = cases[k].type == 2 ? w[i] : (int8_t)w[i];
            cr_expect_eq(value, (float)(code - zero) * 0.25F * cases[k].alpha);
            cr_expect_eq(value, pq_quant_round(kernel->quant, 0, value));
        }
        pq_graph_free(&g);
    }
}

/* A dense layer of codes, 0.5 a step of its input and 0.3 of its kernel, with a bias of
 * int32 of some scale; `mode` is how it is written. */
static void bias_of_int32(const char *mode, float scale, int32_t code, float beta)
{
    const int8_t  w[16] = {1, 2, 3};
    const int32_t b[]   = {code, -2};
    const float   sx = 0.5F, sw = 0.3F;

    put_raw("w", 3, strcmp(mode, "Gemm") == 0 ? PQ_SHAPE(2, 8) : PQ_SHAPE(8, 2), w,
            sizeof w);
    put_raw("sw", 1, (pq_shape){0}, &sw, sizeof sw);
    put_raw("sx", 1, (pq_shape){0}, &sx, sizeof sx);
    put_raw("zx", 3, (pq_shape){0}, &(int8_t){0}, 1);
    put_raw("b", 6, PQ_SHAPE(2), b, sizeof b);
    put_raw("sb", 1, (pq_shape){0}, &scale, sizeof scale);
    plain_node("QuantizeLinear", "x sx zx", "xq");
    plain_node("DequantizeLinear", "xq sx zx", "xd");
    plain_node("DequantizeLinear", "w sw", "wd");
    plain_node("DequantizeLinear", "b sb", "bd");
    if (strcmp(mode, "Gemm") == 0) {
        begin_node("Gemm", "xd wd bd", "y");
        put_int("transB", 1);
        put_real(&onnx_node, 5, "beta", beta);
        end_node();
    } else {
        plain_node("MatMul", strcmp(mode, "floats") == 0 ? "x wd" : "xd wd", "m");
        plain_node(beta < 0.0F ? "Sub" : "Add", "m bd", "y");
    }
}

Test(onnx_grids, a_bias_of_int32_has_the_unit_of_the_sums_or_a_grid)
{
    static const struct {
        const char *mode;
        float       scale;
        int32_t     code;
        const char *message; /* NULL: it is read */
        bool        grid;
        float       beta;
    } cases[] = {
        {"Gemm", 0.15F, 70000, NULL, false, 1.0F},
        {"MatMul", 0.15F, 70000, NULL, false, 1.0F},
        {"Gemm", 0.45F, 70000, NULL, false, 1.0F},
        {"Gemm", 0.15000001F, 9, NULL, false, 1.0F},
        {"Gemm", 0.06F, 9, NULL, true, 1.0F},
        {"MatMul", 0.06F, -32767, NULL, true, 1.0F},
        {"floats", 0.06F, 70000, NULL, false, 1.0F},
        {"Gemm", 0.06F, 0, NULL, true, 1.0F},
        {"Gemm", 0.06F, 40000,
         "node 'y': Gemm: its bias of int32 has the scale 0.06, which is no multiple of "
         "0.15, the unit of its sums, and codes beyond 16 bits",
         false, 1.0F},
        {"MatMul", 0.2F, -40000, "node 'y': Add: its bias of int32 has the scale 0.2",
         false, 1.0F},
        {"MatMul", 0.15F, 70000, NULL, false, -1.0F}, /* Sub */
        {"MatMul", 0.06F, 32767, NULL, true, -1.0F},
        {"MatMul", 0.06F, -40000, "node 'y': Sub: its bias of int32 has the scale 0.06",
         false, -1.0F},
        {"Gemm", 0.06F, 70000, NULL, false, 2.5F}, /* in units of 0.15 */
        {"Gemm", 0.06F, 32767, NULL, true, -0.5F},
        {"Gemm", 0.15F, 40000, "its bias of int32 has the scale 0.075", false, 0.5F},
    };

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        pq_err           why;
        pq_graph        *g;
        const pq_weight *b;
        const float      beta = cases[k].beta;
        bias_of_int32(cases[k].mode, cases[k].scale, cases[k].code, beta);
        g = load(17, &why);
        cr_expect_eq(g == NULL, cases[k].message != NULL, "case %zu: %s", k, why.message);
        if (g == NULL) {
            cr_expect_not_null(strstr(why.message, cases[k].message), "%s", why.message);
            continue;
        }
        b = pq_layer_weight(g->nodes[g->output].layer, "bias");
        cr_assert_not_null(b, "case %zu", k);
        cr_expect_eq(b->quant != NULL, cases[k].grid, "case %zu", k);
        cr_expect_float_eq(pq_f32(b->value)[0],
                           (float)cases[k].code * cases[k].scale * beta, 1e-2, "case %zu",
                           k);
        pq_graph_free(&g);
    }
}

Test(onnx_grids, codes_of_int8_keep_their_grid)
{
    const int8_t    code[]  = {1, -2, 3, 100, -127, 7};
    const float     scale[] = {0.5F, 0.25F}, step = 0.125F;
    const int64_t   in[] = {-1, 3}, out[] = {-1, 2};
    const int8_t    zero[] = {0, 0}, middle = 5;
    const pq_quant *q;
    pq_graph       *g   = NULL;
    double          x[] = {1.0, 0.0, 0.06}, y[2];

    put_raw("w", 3, PQ_SHAPE(2, 3), code, sizeof code);
    put_raw("s", 1, PQ_SHAPE(2), scale, sizeof scale);
    put_raw("z", 3, PQ_SHAPE(2), zero, sizeof zero);
    put_raw("t", 1, (pq_shape){0}, &step, 4);
    put_raw("m", 3, (pq_shape){0}, &middle, 1);
    plain_node("QuantizeLinear", "x t m", "xq");
    plain_node("DequantizeLinear", "xq t m", "xd");
    begin_node("DequantizeLinear", "w s z", "wd");
    put_int("axis", 0);
    end_node();
    begin_node("Gemm", "xd wd", "y");
    put_int("transB", 1);
    end_node();
    put_port(11, "x", 2, in);
    put_port(12, "y", 2, out);
    snprintf(path, sizeof path, "%s/q.onnx", folder);
    write_onnx(path, 13, "test");
    OK(pq_model_load(path, NULL, &g, err));
    q = g->nodes[0].quant;
    cr_assert(q != NULL && q->bits == 8 && q->is_signed && q->zero_point[0] == 5);
    q = pq_layer_weight(g->nodes[1].layer, "kernel")->quant;
    cr_assert(q != NULL && q->bits == 8 && q->axis == 0 && q->n == 2);
    run_graph(g, x, y); /* without the grid of the input: 1 0.5 + 0.06 1.5 */
    cr_assert_float_eq(y[0], 0.59, 1e-9);
    cr_assert_float_eq(y[1], 25.0 + 0.06 * 1.75, 1e-6);
    pq_graph_free(&g);
}
