/**
 * @file
 * For tests of ONNX: files built from nodes and constants.
 */
#ifndef PQ_TESTS_FORMATS_ONNX_FILE_H
#define PQ_TESTS_FORMATS_ONNX_FILE_H

#include "core/file.h"
#include "formats/onnx_wire.h"
#include "run.h"

/* A file being written: node, tensor and attribute are messages until they are put into
 * the one above. */
static pq_text onnx_graph, onnx_node, onnx_function, onnx_functions;

/* Names between blanks, "-" for the empty one, as fields of a message. */
static inline void put_names(pq_text *to, unsigned field, const char *names)
{
    char copy[128];

    snprintf(copy, sizeof copy, "%s", names);
    for (char *name = strtok(copy, " "); name != NULL; name = strtok(NULL, " ")) {
        pq_wire_put_text(to, field, strcmp(name, "-") == 0 ? "" : name);
    }
}

static inline void begin_node(const char *op, const char *in, const char *out)
{
    put_names(&onnx_node, 1, in);
    put_names(&onnx_node, 2, out);
    pq_wire_put_text(&onnx_node, 3, out);
    pq_wire_put_text(&onnx_node, 4, op);
}

/* A node that calls a function of the domain "local". */
static inline void begin_call(const char *function, const char *in, const char *out)
{
    begin_node(function, in, out);
    pq_wire_put_text(&onnx_node, 7, "local");
}

/* Function of the domain "local"; its nodes are put by end_inner. */
static inline void begin_function(const char *name, const char *in, const char *out,
                                  const char *attributes, int64_t opset)
{
    pq_text set = {0};

    pq_wire_put_text(&onnx_function, 1, name);
    pq_wire_put_text(&onnx_function, 10, "local");
    put_names(&onnx_function, 4, in);
    put_names(&onnx_function, 5, out);
    put_names(&onnx_function, 6, attributes);
    if (opset != 0) {
        pq_wire_put_text(&set, 1, "");
        pq_wire_put_int(&set, 2, opset);
        pq_wire_put_message(&onnx_function, 9, &set);
    }
}

static inline void end_inner(void)
{
    pq_wire_put_message(&onnx_function, 7, &onnx_node);
}

static inline void end_function(void)
{
    pq_wire_put_message(&onnx_functions, 25, &onnx_function);
}

static inline void end_node(void)
{
    pq_wire_put_message(&onnx_graph, 1, &onnx_node);
}

static inline void plain_node(const char *op, const char *in, const char *out)
{
    begin_node(op, in, out);
    end_node();
}

static inline void put_ints(const char *name, size_t n, const int64_t *values)
{
    pq_text a = {0};

    pq_wire_put_text(&a, 1, name);
    for (size_t i = 0; i < n; i++) {
        pq_wire_put_int(&a, 8, values[i]);
    }
    pq_wire_put_int(&a, 20, 7);
    pq_wire_put_message(&onnx_node, 5, &a);
}

static inline void put_int(const char *name, int64_t value)
{
    pq_text a = {0};

    pq_wire_put_text(&a, 1, name);
    pq_wire_put_int(&a, 3, value);
    pq_wire_put_int(&a, 20, 2);
    pq_wire_put_message(&onnx_node, 5, &a);
}

static inline void put_real(pq_text *to, unsigned field, const char *name, float value)
{
    pq_text a = {0};

    pq_wire_put_text(&a, 1, name);
    pq_wire_put_float(&a, 2, value);
    pq_wire_put_int(&a, 20, 1);
    pq_wire_put_message(to, field, &a);
}

/* An attribute that is one of the function's, a float. */
static inline void put_reference(const char *name, const char *of)
{
    pq_text a = {0};

    pq_wire_put_text(&a, 1, name);
    pq_wire_put_int(&a, 20, 1);
    pq_wire_put_text(&a, 21, of);
    pq_wire_put_message(&onnx_node, 5, &a);
}

/* A constant of a type (TensorProto.DataType) from raw bytes. */
static inline void put_raw(const char *name, int type, pq_shape shape, const void *bytes,
                           size_t n)
{
    pq_text t = {0};

    for (size_t i = 0; i < shape.ndim; i++) {
        pq_wire_put_int(&t, 1, (int64_t)shape.dim[i]);
    }
    pq_wire_put_int(&t, 2, type);
    pq_wire_put_text(&t, 8, name);
    pq_wire_put_bytes(&t, 9, bytes, n);
    pq_wire_put_message(&onnx_graph, 5, &t);
}

static inline void put_floats(const char *name, const pq_tensor *x)
{
    put_raw(name, 1, x->shape, x->data, 4 * x->count);
}

/* Input or output; dim 0 is open where it is the batch. */
static inline void put_port(unsigned field, const char *name, size_t n,
                            const int64_t *dim)
{
    pq_text port = {0}, type = {0}, tensor = {0}, shape = {0}, d = {0};

    for (size_t i = 0; i < n; i++) {
        if (dim[i] > 0) {
            pq_wire_put_int(&d, 1, dim[i]);
        } else {
            pq_wire_put_text(&d, 2, "batch");
        }
        pq_wire_put_message(&shape, 1, &d);
    }
    pq_wire_put_int(&tensor, 1, 1);
    pq_wire_put_message(&tensor, 2, &shape);
    pq_wire_put_message(&type, 1, &tensor);
    pq_wire_put_text(&port, 1, name);
    pq_wire_put_message(&port, 2, &type);
    pq_wire_put_message(&onnx_graph, field, &port);
}

/* Writes the file and begins a new one. */
static inline void write_onnx(const char *to, int64_t opset, const char *producer)
{
    pq_text model = {0}, set = {0};

    pq_wire_put_int(&model, 1, 8);
    pq_wire_put_text(&model, 2, producer);
    pq_wire_put_message(&model, 7, &onnx_graph);
    pq_wire_put_text(&set, 1, "");
    pq_wire_put_int(&set, 2, opset);
    pq_wire_put_message(&model, 8, &set);
    if (onnx_functions.length > 0) {
        pq_text_add_bytes(&model, onnx_functions.text, onnx_functions.length);
        pq_text_free(&onnx_functions);
    }
    OK(pq_file_write(to, model.text, model.length, err));
    pq_text_free(&model);
}

#endif
