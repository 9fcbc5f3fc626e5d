#include "onnx_file.h"

#include <math.h>
#include <unistd.h>

#include "core/map.h"
#include "core/memory.h"
#include "formats/model.h"
#include "layers/kinds.h"

TestSuite(onnx, .init = setup, .fini = teardown);

static const double close_to = 1e-5;

enum { H = 4, W = 5, C = 3, OUT = 2, CLASSES = 3 };

/* ONNX's own order: image [C, H, W], kernel [OUT, C, 3, 3] with one cell of padding, then
 * items channel by channel into [CLASSES, OUT H W]. */
static void plain_net(const double *x, const pq_tensor *k, const pq_tensor *b,
                      const pq_tensor *d, double *y)
{
    double flat[OUT * H * W];

    for (int o = 0; o < OUT; o++) {
        for (int p = 0; p < H; p++) {
            for (int q = 0; q < W; q++) {
                double sum = (double)pq_f32(b)[o];
                for (int c = 0; c < C; c++) {
                    for (int i = 0; i < 9; i++) {
                        const int r = p + i / 3 - 1, s = q + i % 3 - 1;
                        if (r >= 0 && r < H && s >= 0 && s < W) {
                            sum += (double)pq_f32(k)[(o * C + c) * 9 + i] *
                                   x[(c * H + r) * W + s];
                        }
                    }
                }
                flat[(o * H + p) * W + q] = sum > 0.0 ? sum : 0.0;
            }
        }
    }
    for (int n = 0; n < CLASSES; n++) {
        y[n] = 0.0;
        for (int i = 0; i < OUT * H * W; i++) {
            y[n] += (double)pq_f32(d)[n * OUT * H * W + i] * flat[i];
        }
    }
}

/* Conv, Relu, Flatten and Gemm, with weights of noise; kept for the oracle. */
static pq_tensor *kernel, *bias, *dense;

static void write_net(void)
{
    const int64_t pads[] = {1, 1, 1, 1}, in[] = {-1, C, H, W}, out[] = {-1, CLASSES};

    kernel = noise(PQ_SHAPE(OUT, C, 3, 3), 1);
    bias   = noise(PQ_SHAPE(OUT), 2);
    dense  = noise(PQ_SHAPE(CLASSES, OUT * H * W), 3);
    put_floats("k", kernel);
    put_floats("b", bias);
    put_floats("d", dense);
    begin_node("Conv", "x k b", "conv");
    put_ints("pads", 4, pads);
    end_node();
    plain_node("Relu", "conv", "act");
    plain_node("Flatten", "act", "flat");
    begin_node("Gemm", "flat d", "y");
    put_int("transB", 1);
    end_node();
    put_port(11, "x", 4, in);
    put_port(12, "y", 2, out);
    write_onnx(path, 17, "test");
}

static void free_net(void)
{
    pq_tensor_free(&kernel);
    pq_tensor_free(&bias);
    pq_tensor_free(&dense);
}

Test(onnx, an_image_flattened_channel_by_channel_gives_what_onnx_means)
{
    double    x[C * H * W], turned[C * H * W], due[CLASSES], y[CLASSES];
    pq_graph *g = NULL;

    snprintf(path, sizeof path, "%s/net.onnx", folder);
    write_net();
    OK(pq_model_load(path, NULL, &g, err));
    cr_assert(pq_shape_equal(&g->nodes[0].shape, &PQ_SHAPE(H, W, C)));
    for (int i = 0; i < C * H * W; i++) {
        x[i]                                  = sin(1.0 + i);
        turned[i % (H * W) * C + i / (H * W)] = x[i];
    }
    plain_net(x, kernel, bias, dense, due);
    run_graph(g, turned, y);
    for (int n = 0; n < CLASSES; n++) {
        cr_assert_float_eq(y[n], due[n], close_to, "%d: %g, not %g", n, y[n], due[n]);
    }
    pq_graph_free(&g);
    free_net();
    cr_assert_eq(pq_memory_live(), 0);
}

/* Without the sync of pq_file_write, for many files. */
static void write_quickly(const char *to, const void *bytes, size_t n)
{
    FILE *f = fopen(to, "wb");

    cr_assert_not_null(f);
    cr_assert_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

Test(onnx, a_file_cut_off_anywhere_is_refused_or_whole)
{
    pq_map whole = {0};
    char   cut[200];
    size_t read = 0;

    snprintf(path, sizeof path, "%s/net.onnx", folder);
    snprintf(cut, sizeof cut, "%s/cut.onnx", folder);
    write_net();
    free_net();
    OK(pq_map_open(path, &whole, err));
    for (size_t n = 0; n < whole.n; n++) {
        pq_graph *g     = NULL;
        pq_err    error = {0};
        write_quickly(cut, whole.at, n);
        if (pq_model_load(cut, NULL, &g, &error) == PQ_OK) {
            read++; /* all but the opset is there: never, as it has no default */
        } else {
            cr_assert_neq(error.message[0], '\0');
        }
        pq_graph_free(&g);
    }
    pq_map_close(&whole);
    cr_assert_eq(read, 0, "%zu files that are cut off are read", read);
    cr_assert_eq(pq_memory_live(), 0);
}

Test(onnx, no_flipped_bit_crashes_or_leaks)
{
    pq_map   whole = {0};
    uint8_t *bytes;
    size_t   n, refused = 0;

    snprintf(path, sizeof path, "%s/net.onnx", folder);
    write_net();
    free_net();
    OK(pq_map_open(path, &whole, err));
    n     = whole.n;
    bytes = malloc(n);
    memcpy(bytes, whole.at, n);
    pq_map_close(&whole);
    for (size_t i = 0; i < n; i++) {
        pq_graph *g = NULL;
        bytes[i] ^= (uint8_t)(1U << i % 8);
        write_quickly(path, bytes, n);
        refused += pq_model_load(path, NULL, &g, NULL) != PQ_OK ? 1 : 0;
        pq_graph_free(&g);
        bytes[i] ^= (uint8_t)(1U << i % 8);
    }
    free(bytes);
    cr_assert_gt(refused, 0);
    cr_assert_eq(pq_memory_live(), 0);
}

Test(onnx, every_failed_allocation_is_told_and_nothing_is_left)
{
    pq_status st = PQ_ERR_NOMEM;

    snprintf(path, sizeof path, "%s/net.onnx", folder);
    write_net();
    free_net();
    for (size_t n = 0; st != PQ_OK; n++) {
        pq_graph *g = NULL;
        pq_memory_fail_after(n);
        st = pq_model_load(path, NULL, &g, NULL);
        pq_memory_fail_after(SIZE_MAX);
        pq_graph_free(&g);
        cr_assert(st == PQ_OK || st == PQ_ERR_NOMEM, "after %zu: %d", n, (int)st);
        cr_assert_lt(n, 4096);
        cr_assert_eq(pq_memory_live(), 0, "after %zu", n);
    }
}

Test(onnx, what_is_written_is_read_again_and_failed_allocations_write_nothing)
{
    pq_graph              *g = NULL, *again = NULL;
    const pq_model_format *onnx = NULL;
    char                   out[200];
    double                 x[C * H * W], y[2][CLASSES];
    pq_status              st = PQ_ERR_NOMEM;

    snprintf(path, sizeof path, "%s/net.onnx", folder);
    snprintf(out, sizeof out, "%s/out.onnx", folder);
    write_net();
    free_net();
    for (size_t i = 0; pq_formats[i] != NULL; i++) {
        onnx = strcmp(pq_formats[i]->name, "onnx") == 0 ? pq_formats[i] : onnx;
    }
    OK(pq_model_load(path, NULL, &g, err));
    const size_t live = pq_memory_live();
    for (size_t n = 0; st != PQ_OK; n++) {
        pq_memory_fail_after(n);
        st = onnx->save(g, out, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert_eq(pq_memory_live(), live, "after %zu", n);
        cr_assert_eq(pq_file_exists(out), st == PQ_OK, "after %zu", n);
        cr_assert_lt(n, 4096);
    }
    OK(pq_model_load(out, NULL, &again, err));
    for (int i = 0; i < C * H * W; i++) {
        x[i] = sin(1.0 + i);
    }
    run_graph(g, x, y[0]);
    run_graph(again, x, y[1]);
    for (int n = 0; n < CLASSES; n++) {
        cr_assert_float_eq(y[0][n], y[1][n], 1e-12);
    }
    pq_graph_free(&g);
    pq_graph_free(&again);
}

/* Loads what was put, over an input x of [batch, n]; the message of the failure. */
static const char *refusal(int64_t opset, const int64_t *in, size_t axes)
{
    static pq_err error;
    pq_graph     *g = NULL;

    error = (pq_err){0};
    snprintf(path, sizeof path, "%s/bad.onnx", folder);
    put_port(11, "x", axes, in);
    put_port(12, "y", axes, in);
    write_onnx(path, opset, "test");
    cr_assert_neq(pq_model_load(path, NULL, &g, &error), PQ_OK);
    cr_assert_eq(pq_memory_live(), 0);
    return error.message;
}

static void expect(const char *message, const char *part)
{
    cr_assert_not_null(strstr(message, part), "'%s' does not say '%s'", message, part);
}

static const int64_t flat8[] = {-1, 8}, open_axes[] = {-1, -1}, image[] = {-1, 2, 4, 4};

Test(onnx, what_is_not_read_is_named)
{
    const float   w[64] = {0};
    const int64_t one[] = {1};

    plain_node("Mish", "x", "y");
    expect(refusal(17, flat8, 2), "node 'y': Mish: the operator is not read");

    begin_node("Relu", "x", "y");
    pq_wire_put_text(&onnx_node, 7, "com.example");
    end_node();
    expect(refusal(17, flat8, 2), "node 'y': com.example.Relu: the operator is not read");

    begin_node("Relu", "x", "y");
    put_int("beta", 1);
    end_node();
    expect(refusal(17, flat8, 2), "node 'y': Relu: attribute 'beta' is not known");

    plain_node("Relu", "x", "y");
    expect(refusal(5, flat8, 2), "opset 5 of the operators is not in 6..25");
    plain_node("Relu", "x", "y");
    expect(refusal(99, flat8, 2), "opset 99 of the operators is not in 6..25");
    plain_node("Relu", "x", "y");
    expect(refusal(17, open_axes, 2), "input 'x': axis 1 is not fixed");

    begin_node("Concat", "x x", "y");
    put_int("axis", 0);
    end_node();
    expect(refusal(17, flat8, 2), "axis 0 is that of the batch: events would mix");

    plain_node("MatMul", "x x", "y");
    expect(refusal(17, flat8, 2), "both factors are activations");

    put_raw("w", 1, PQ_SHAPE(8, 8), w, sizeof w);
    plain_node("Erf", "x", "y");
    expect(refusal(17, flat8, 2), "only as a part of GELU");

    begin_node("Transpose", "x", "y");
    put_ints("perm", 1, one);
    end_node();
    expect(refusal(17, flat8, 2), "'perm' has 1 numbers, but its input 2 axes");

    put_raw("w", 1, PQ_SHAPE(8), w, 8 * sizeof *w);
    begin_node("Concat", "w -", "c");
    put_int("axis", 0);
    end_node();
    plain_node("Add", "x c", "y");
    expect(refusal(17, flat8, 2), "input '' (1) is not a constant");

    put_raw("w", 1, PQ_SHAPE(8), w, 8 * sizeof *w);
    plain_node("Add", "w -", "c");
    plain_node("Add", "x c", "y");
    expect(refusal(17, flat8, 2), "input '' (1) is not a constant");
}

/* Constants in nodes, whose arrays have names that nothing else has: exporters write
 * them, and they are no values. */
Test(onnx, names_of_arrays_within_nodes_are_no_values)
{
    static const float one = 1.0f;
    pq_graph          *g   = NULL;
    char               out[16], name[32];
    double             x[8] = {0.0}, y[8];

    for (int i = 0; i < 100; i++) {
        pq_text t = {0}, a = {0};
        (void)snprintf(name, sizeof name, "const_fold_opt__%d", i);
        pq_wire_put_int(&t, 2, 1);
        pq_wire_put_text(&t, 8, i == 1 ? "x" : i == 2 ? "y0" : name);
        pq_wire_put_bytes(&t, 9, &one, sizeof one);
        pq_wire_put_text(&a, 1, "value");
        pq_wire_put_message(&a, 5, &t);
        pq_wire_put_int(&a, 20, 4);
        (void)snprintf(out, sizeof out, "c%d", i);
        begin_node("Constant", "", out);
        pq_wire_put_message(&onnx_node, 5, &a);
        end_node();
        (void)snprintf(out, sizeof out, i < 99 ? "y%d" : "y", i);
        (void)snprintf(name, sizeof name, i == 0 ? "x c0" : "y%d c%d", i - 1, i);
        plain_node("Add", name, out);
    }
    snprintf(path, sizeof path, "%s/named.onnx", folder);
    put_port(11, "x", 2, flat8);
    put_port(12, "y", 2, flat8);
    write_onnx(path, 17, "test");
    OK(pq_model_load(path, NULL, &g, err));
    run_graph(g, x, y);
    for (size_t i = 0; i < 8; i++) {
        cr_expect_float_eq(y[i], 100.0, 1e-9);
    }
    pq_graph_free(&g);
    cr_expect_eq(pq_memory_live(), 0);
}

Test(onnx, weights_of_a_norm_that_do_not_fit_are_named_by_their_shape)
{
    const int64_t flat8[] = {-1, 8};
    const float   g[16]   = {1.0F};

    put_raw("g", 1, PQ_SHAPE(8, 1), g, 8 * sizeof *g);
    plain_node("LayerNormalization", "x g", "y");
    expect(refusal(17, flat8, 2), "its gamma is [8, 1], but the channels are [8]");
    put_raw("g", 1, PQ_SHAPE(7), g, 7 * sizeof *g);
    plain_node("LayerNormalization", "x g", "y");
    expect(refusal(17, flat8, 2), "its gamma is [7], but the channels are [8]");
}

Test(onnx, a_graph_that_reads_itself_or_what_is_not_there_is_refused)
{
    plain_node("Add", "x b", "a");
    plain_node("Relu", "a", "b");
    plain_node("Relu", "b", "y");
    expect(refusal(17, flat8, 2), "input 'b' is given by no earlier node");

    plain_node("Relu", "nothing", "y");
    expect(refusal(17, flat8, 2), "the output depends on no input of the model");

    plain_node("Relu", "x", "y");
    plain_node("Sigmoid", "x", "y");
    expect(refusal(17, flat8, 2), "value 'y' is given twice");
}

Test(onnx, sizes_that_lie_are_refused_before_they_are_allocated)
{
    const float w[64] = {0};

    put_raw("w", 1, PQ_SHAPE(8, 9), w, sizeof w);
    plain_node("MatMul", "x w", "y");
    expect(refusal(17, flat8, 2), "constant 'w': has 256 bytes, but its shape means 288");

    put_raw("w", 1, PQ_SHAPE((size_t)1 << 31, (size_t)1 << 30), w, sizeof w);
    plain_node("MatMul", "x w", "y");
    expect(refusal(17, flat8, 2),
           "says to have 2305843009213693952 items, more than the file is worth");

    put_raw("w", 1, PQ_SHAPE((size_t)1 << 62, 8), w, sizeof w);
    plain_node("MatMul", "x w", "y");
    expect(refusal(17, flat8, 2), "array 'w' has too many items");

    put_raw("w", 17, PQ_SHAPE(8, 8), w, sizeof w);
    plain_node("MatMul", "x w", "y");
    expect(refusal(17, flat8, 2), "constant 'w': has items of type 17");

    put_raw("w", 1, PQ_SHAPE(7, 8), w, 224);
    plain_node("MatMul", "x w", "y");
    expect(refusal(17, flat8, 2), "its kernel takes 7 features, but the input has 8");

    put_raw("w", 1, PQ_SHAPE(2, 3, 1, 1), w, 24);
    plain_node("Conv", "x w", "y");
    expect(refusal(17, image, 4),
           "kernel is [2, 1, 1, 3] in 1 groups but the input is [4, 4, 2]");
}

/* A constant whose items are in a file beside. */
static void put_beside(const char *name, const char *location, const char *offset)
{
    pq_text t = {0}, entry = {0};

    pq_wire_put_int(&t, 1, 8);
    pq_wire_put_int(&t, 1, 8);
    pq_wire_put_int(&t, 2, 1);
    pq_wire_put_text(&t, 8, name);
    pq_wire_put_text(&entry, 1, "location");
    pq_wire_put_text(&entry, 2, location);
    pq_wire_put_message(&t, 13, &entry);
    pq_wire_put_text(&entry, 1, "offset");
    pq_wire_put_text(&entry, 2, offset);
    pq_wire_put_message(&t, 13, &entry);
    pq_wire_put_int(&t, 14, 1);
    pq_wire_put_message(&onnx_graph, 5, &t);
}

Test(onnx, data_beside_are_read_from_the_folder_only)
{
    float     w[72];
    double    x[8] = {0, 0, 1}, y[8];
    pq_graph *g    = NULL;
    char      name[200];

    for (size_t i = 0; i < 72; i++) {
        w[i] = (float)i;
    }
    snprintf(name, sizeof name, "%s/w.bin", folder);
    OK(pq_file_write(name, w, sizeof w, err));
    put_beside("w", "w.bin", "32");
    plain_node("MatMul", "x w", "y");
    put_port(11, "x", 2, flat8);
    put_port(12, "y", 2, flat8);
    snprintf(path, sizeof path, "%s/good.onnx", folder);
    write_onnx(path, 17, "test");
    OK(pq_model_load(path, NULL, &g, err));
    run_graph(g, x, y);
    for (int i = 0; i < 8; i++) {
        cr_assert_float_eq(y[i], 8.0 + 16.0 + i, 1e-12);
    }
    pq_graph_free(&g);
    static const char *const outside[] = {"../w.bin", "/etc/hostname", "", "a/../w.bin"};
    for (size_t i = 0; i < 4; i++) {
        put_beside("w", outside[i], "32");
        plain_node("MatMul", "x w", "y");
        expect(refusal(17, flat8, 2), "which is not in the folder of the model");
    }
    put_beside("w", "w.bin", "4000");
    plain_node("MatMul", "x w", "y");
    expect(refusal(17, flat8, 2), "its data end beyond the 288 bytes");
    put_beside("w", "w.bin", "-8");
    plain_node("MatMul", "x w", "y");
    expect(refusal(17, flat8, 2), "the offset of its data, '-8', is no number of bytes");
    snprintf(name, sizeof name, "%s/link.bin", folder);
    cr_assert_eq(symlink("/etc/hostname", name), 0);
    put_beside("w", "link.bin", "0");
    plain_node("MatMul", "x w", "y");
    expect(refusal(17, flat8, 2), "which is not in the folder of the model");
}

Test(onnx, a_sum_over_positions_is_that_of_each_channel)
{
    const int64_t in[] = {-1, 2, 2, 3}, out[] = {-1, 2}, axes[] = {2, -1};
    const float   one[4] = {1.0F, 0.0F, 0.0F, 1.0F};
    double        x[12], y[2], due[2] = {0.0, 0.0};
    pq_graph     *g = NULL;

    for (int i = 0; i < 12; i++) { /* ours: [height, width, channels] */
        x[i] = sin(1.0 + i);
        due[i % 2] += x[i];
    }
    put_raw("k", 1, PQ_SHAPE(2, 2, 1, 1), one, sizeof one);
    put_raw("a", 7, PQ_SHAPE(2), axes, sizeof axes);
    plain_node("Conv", "x k", "c");
    begin_node("ReduceSum", "c a", "y");
    put_int("keepdims", 0);
    end_node();
    put_port(11, "x", 4, in);
    put_port(12, "y", 2, out);
    snprintf(path, sizeof path, "%s/sum.onnx", folder);
    write_onnx(path, 17, "test");
    OK(pq_model_load(path, NULL, &g, err));
    run_graph(g, x, y);
    for (int c = 0; c < 2; c++) {
        cr_expect_float_eq(y[c], due[c], 1e-12, "%d: %g, not %g", c, y[c], due[c]);
    }
    pq_graph_free(&g);
}

/* A node of QONNX over the constants w [2, 8], s [2], zero 0 and bits 4. */
static void qonnx_node(const char *op, const char *in, const char *out)
{
    const float w[16] = {0}, s[] = {0.5F, 0.25F}, zero = 0.0F, bits = 4.0F;

    put_raw("w", 1, PQ_SHAPE(2, 8), w, sizeof w);
    put_raw("s", 1, PQ_SHAPE(2), s, sizeof s);
    put_raw("zero", 1, (pq_shape){0}, &zero, sizeof zero);
    put_raw("bits", 1, (pq_shape){0}, &bits, sizeof bits);
    begin_node(op, in, out);
    pq_wire_put_text(&onnx_node, 7, "qonnx.custom_op.general");
    end_node();
}

Test(onnx, scales_that_no_grid_can_have_are_named)
{
    const int8_t zero[] = {0, 0};

    qonnx_node("Quant", "x s zero bits", "y");
    expect(refusal(17, flat8, 2), "activations with 2 scales; one for all is read");
    qonnx_node("Quant", "w x zero bits", "y");
    expect(refusal(17, flat8, 2), "input 'x' (1) is not a constant");
    qonnx_node("BipolarQuant", "w x", "y");
    expect(refusal(17, flat8, 2), "input 'x' (1) is not a constant");

    qonnx_node("Quant", "w - zero bits", "q");
    plain_node("Add", "x q", "y");
    expect(refusal(17, flat8, 2), "input '' (1) is not a constant");
    qonnx_node("BipolarQuant", "w -", "q");
    plain_node("Add", "x q", "y");
    expect(refusal(17, flat8, 2), "input '' (1) is not a constant");

    for (int64_t axis = 1; axis <= 7; axis += 6) {
        const float s[] = {0.5F, 0.25F};
        put_raw("s", 1, PQ_SHAPE(2), s, sizeof s);
        put_raw("z", 3, PQ_SHAPE(2), zero, sizeof zero);
        begin_node("QuantizeLinear", "x s z", "y");
        put_int("axis", axis);
        end_node();
        expect(refusal(17, flat8, 2), "activations with 2 scales; one for all is read");
    }
}

Test(onnx, messages_within_messages_are_not_followed)
{
    pq_text deep = {0}, outer = {0};

    pq_wire_put_int(&deep, 1, 1);
    for (int i = 0; i < 1000; i++) { /* AttributeProto.g > GraphProto.node > … */
        pq_wire_put_message(&outer, 6, &deep);
        deep  = outer;
        outer = (pq_text){0};
    }
    begin_node("Relu", "x", "y");
    pq_wire_put_message(&onnx_node, 5, &deep);
    end_node();
    expect(refusal(17, flat8, 2), "attribute '' is not known");
}
