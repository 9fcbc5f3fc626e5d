/**
 * @file
 * For tests of ONNX: nets that several of them read, and what a file that is refused
 * says.
 */
#ifndef PQ_TESTS_FORMATS_ONNX_NETS_H
#define PQ_TESTS_FORMATS_ONNX_NETS_H

#include "core/memory.h"
#include "formats/model.h"
#include "onnx_file.h"

enum { H = 4, W = 5, C = 3, OUT = 2, CLASSES = 3 };

/* Conv, Relu, Flatten and Gemm, with weights of noise; kept for the oracle. */
static pq_tensor *kernel, *bias, *dense;

static inline void write_net(void)
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

static inline void free_net(void)
{
    pq_tensor_free(&kernel);
    pq_tensor_free(&bias);
    pq_tensor_free(&dense);
}

enum { WIDTH = 8 };

/* Dense layers and ELUs in functions that call each other, with an attribute that is
 * given, one that is passed on and one by default; a second output is the input. */
static inline void write_functions(void)
{
    const int64_t ports[] = {-1, WIDTH};

    kernel = noise(PQ_SHAPE(WIDTH, WIDTH), 4);
    dense  = noise(PQ_SHAPE(WIDTH, WIDTH), 5);
    bias   = noise(PQ_SHAPE(WIDTH), 6);
    put_floats("k", kernel);
    put_floats("d", dense);
    put_floats("b", bias);

    begin_function("Act", "x", "y", "", 17);
    put_real(&onnx_function, 11, "alpha", 1.0F);
    begin_node("Elu", "x", "y");
    put_reference("alpha", "alpha");
    end_inner();
    end_function();

    begin_function("Lin", "x w b", "y", "", 18);
    begin_node("MatMul", "x w", "m");
    end_inner();
    begin_node("Add", "m b", "y");
    end_inner();
    end_function();

    begin_function("Block", "x w b", "y x", "slope", 0);
    begin_call("Lin", "x w b", "h");
    end_inner();
    begin_call("Act", "h", "y");
    put_reference("alpha", "slope");
    end_inner();
    end_function();

    begin_call("Block", "x k b", "m same");
    put_real(&onnx_node, 5, "slope", 0.5F);
    end_node();
    begin_call("Block", "m d b", "h");
    end_node();
    begin_call("Act", "h", "a");
    end_node();
    plain_node("Add", "a same", "y");
    put_port(11, "x", 2, ports);
    put_port(12, "y", 2, ports);
    write_onnx(path, 17, "test");
}

/* Nets that hostile changes are made to. */
static void (*const nets[])(void) = {write_net, write_functions};
enum { NETS = sizeof nets / sizeof *nets };

static inline void put_number(const char *name, float value)
{
    put_raw(name, 1, (pq_shape){0}, &value, sizeof value);
}

/* Loads what was put, over an input x. */
static inline pq_graph *read_of(const int64_t *in, size_t n_in, const int64_t *out,
                                size_t n_out)
{
    pq_graph *g = NULL;

    put_port(11, "x", n_in, in);
    put_port(12, "y", n_out, out);
    snprintf(path, sizeof path, "%s/read.onnx", folder);
    write_onnx(path, 17, "test");
    OK(pq_model_load(path, NULL, &g, err));
    return g;
}

/* Loads what was put, over an input x of [batch, n]; the message of the failure. */
static inline const char *refusal(int64_t opset, const int64_t *in, size_t axes)
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

static inline void expect(const char *message, const char *part)
{
    cr_assert_not_null(strstr(message, part), "'%s' does not say '%s'", message, part);
}

static const int64_t flat8[] = {-1, 8};

#endif
