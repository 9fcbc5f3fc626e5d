/* ONNX files that are refused: cut off, broken, hostile, or with what is not read. */
#include "onnx_nets.h"

#include <unistd.h>

#include "core/map.h"

TestSuite(onnx_refused, .init = setup, .fini = teardown);

static const int64_t open_axes[] = {-1, -1}, image[] = {-1, 2, 4, 4};

/* Without the sync of pq_file_write, for many files. */
static void write_quickly(const char *to, const void *bytes, size_t n)
{
    FILE *f = fopen(to, "wb");

    cr_assert_not_null(f);
    cr_assert_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

Test(onnx_refused, a_file_cut_off_anywhere_is_refused_or_whole)
{
    pq_map whole = {0};
    char   cut[200];
    size_t read = 0;

    snprintf(path, sizeof path, "%s/net.onnx", folder);
    snprintf(cut, sizeof cut, "%s/cut.onnx", folder);
    for (size_t k = 0; k < NETS; k++) {
        nets[k]();
        free_net();
        OK(pq_map_open(path, &whole, err));
        for (size_t n = 0; n < whole.n; n++) {
            pq_graph *g     = NULL;
            pq_err    error = {0};
            write_quickly(cut, whole.at, n);
            if (pq_model_load(cut, NULL, &g, &error) == PQ_OK) {
                read++; /* the opset and functions come last: never */
            } else {
                cr_assert_neq(error.message[0], '\0');
            }
            pq_graph_free(&g);
        }
        pq_map_close(&whole);
    }
    cr_assert_eq(read, 0, "%zu files that are cut off are read", read);
    cr_assert_eq(pq_memory_live(), 0);
}

Test(onnx_refused, no_flipped_bit_crashes_or_leaks)
{
    snprintf(path, sizeof path, "%s/net.onnx", folder);
    for (size_t k = 0; k < NETS; k++) {
        pq_map   whole = {0};
        uint8_t *bytes;
        size_t   n, refused = 0;
        nets[k]();
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
    }
    cr_assert_eq(pq_memory_live(), 0);
}

Test(onnx_refused, every_failed_allocation_is_told_and_nothing_is_left)
{
    snprintf(path, sizeof path, "%s/net.onnx", folder);
    for (size_t k = 0; k < NETS; k++) {
        pq_status st = PQ_ERR_NOMEM;
        nets[k]();
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
}

Test(onnx_refused, what_is_not_read_is_named)
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

Test(onnx_refused, weights_of_a_norm_that_do_not_fit_are_named_by_their_shape)
{
    const float g[16] = {1.0F};

    put_raw("g", 1, PQ_SHAPE(8, 1), g, 8 * sizeof *g);
    plain_node("LayerNormalization", "x g", "y");
    expect(refusal(17, flat8, 2), "its gamma is [8, 1], but the channels are [8]");
    put_raw("g", 1, PQ_SHAPE(7), g, 7 * sizeof *g);
    plain_node("LayerNormalization", "x g", "y");
    expect(refusal(17, flat8, 2), "its gamma is [7], but the channels are [8]");
}

Test(onnx_refused, a_graph_that_reads_itself_or_what_is_not_there_is_refused)
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

Test(onnx_refused, sizes_that_lie_are_refused_before_they_are_allocated)
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

Test(onnx_refused, data_beside_are_read_from_the_folder_only)
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

Test(onnx_refused, scales_that_no_grid_can_have_are_named)
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

Test(onnx_refused, messages_within_messages_are_not_followed)
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
