/**
 * @file
 * Functions of a model's own: FunctionProto as it stands. For onnx_function.c, which
 * reads them, and onnx_inline.c, which puts their nodes in place of the calls.
 *
 * Source: onnx/onnx.proto, onnx/docs/IR.md, "Functions".
 */
#ifndef PQ_FORMATS_ONNX_FUNCTION_H
#define PQ_FORMATS_ONNX_FUNCTION_H

#include "formats/onnx_model.h"

/** One function; its values are numbers of its own names. Its memory is the model's, but
 * for the names. */
typedef struct {
    const char        *domain, *name, *overload;
    int64_t            opset; /**< of the standard operators; 0: it names none */
    pq_onnx_names      names;
    size_t             n_in, n_out, n_attributes, n_defaults, n_nodes;
    size_t            *in, *out;
    const char       **attributes; /**< those without a default */
    pq_onnx_attribute *defaults;
    pq_onnx_node      *nodes;
    bool               running; /**< its nodes are being put in place */
} pq_onnx_function;

/** All of a model; owns both. */
typedef struct {
    pq_onnx_model    *m; /**< borrowed */
    size_t            n;
    pq_onnx_function *list;
    json_t           *index;
} pq_onnx_functions;

/** Reads all functions of `m`. @retval PQ_ERR_FORMAT  One is there twice, or broken. */
pq_status pq_onnx_read_functions(pq_onnx_functions *in, pq_err *err);
void      pq_onnx_functions_free(pq_onnx_functions *in);

/** The function that a node calls, or NULL: it is an operator. A standard operator means
 * what the standard says, whatever the file defines. */
pq_onnx_function *pq_onnx_called(const pq_onnx_functions *in, const pq_onnx_node *node);

/** Whether a function has an attribute, with or without a default. */
bool pq_onnx_declares(const pq_onnx_function *f, const char *name);

/** Attribute of a name in a list, or NULL. */
const pq_onnx_attribute *pq_onnx_find_attribute(const pq_onnx_attribute *list, size_t n,
                                                const char *name);

#endif
