/**
 * @file
 * An ONNX file as it stands: nodes, constants and shapes, before any of it has a
 * meaning. For formats/onnx*.c only.
 *
 * The wire format is read by our own bounded reader, in place, not by protobuf-c:
 * unpacking would copy every array twice before it is a weight, and follows nested
 * messages as deep as a file says.
 *
 * Source: onnx/onnx.proto (field numbers), onnx/docs/IR.md.
 */
#ifndef PQ_FORMATS_ONNX_MODEL_H
#define PQ_FORMATS_ONNX_MODEL_H

#include <jansson.h>

#include "core/map.h"
#include "formats/onnx_wire.h"
#include "tensor/tensor.h"

enum {
    PQ_ONNX_NODES       = 65536, /**< most nodes, inputs, outputs or constants */
    PQ_ONNX_TEXT_BYTES  = 4096,  /**< most in a name */
    PQ_ONNX_NONE        = 0,     /**< value that is not given: the empty name */
    PQ_ONNX_OPSET_LEAST = 6,     /**< versions of the operators that are read */
    PQ_ONNX_OPSET_MOST  = 25,
};

/** TensorProto.DataType */
typedef enum {
    PQ_ONNX_FLOAT    = 1,
    PQ_ONNX_UINT8    = 2,
    PQ_ONNX_INT8     = 3,
    PQ_ONNX_UINT16   = 4,
    PQ_ONNX_INT16    = 5,
    PQ_ONNX_INT32    = 6,
    PQ_ONNX_INT64    = 7,
    PQ_ONNX_BOOL     = 9,
    PQ_ONNX_FLOAT16  = 10,
    PQ_ONNX_DOUBLE   = 11,
    PQ_ONNX_UINT32   = 12,
    PQ_ONNX_BFLOAT16 = 16,
    PQ_ONNX_UINT4    = 21,
    PQ_ONNX_INT4     = 22,
} pq_onnx_type;

/** A constant in the file, unread. */
typedef struct {
    size_t   name; /**< value, or PQ_ONNX_NONE */
    int      type; /**< pq_onnx_type, or another number */
    pq_shape shape;
    size_t   count;
    pq_span  message; /**< TensorProto */
    bool     external;
} pq_onnx_tensor;

typedef struct {
    const char *name;
    const char *reference; /**< in a function: the function's attribute it is; or NULL */
    pq_span     message;   /**< AttributeProto */
} pq_onnx_attribute;

/** An operation; values are numbers of names. */
typedef struct {
    const char              *name, *op, *domain, *overload;
    int64_t                  opset; /**< version of the standard operators */
    size_t                   n_in, n_out, n_attributes;
    const size_t            *in, *out;
    const pq_onnx_attribute *attributes;
} pq_onnx_node;

/** Texts and their numbers; owns both lists, not the texts. */
typedef struct {
    size_t       n, room;
    const char **text; /**< [n] */
    json_t      *numbers;
} pq_onnx_names;

/** An input or output of the graph. */
typedef struct {
    size_t  name;
    int     type;
    bool    shaped; /**< the file says how many axes there are */
    size_t  ndim;
    int64_t dim[PQ_MAX_DIMS]; /**< -1: a name, or nothing */
} pq_onnx_port;

/** The file; owns all that hangs on it. */
typedef struct {
    const char     *path; /**< borrowed */
    pq_map          map;
    int64_t         ir_version, opset;
    const char     *producer, *producer_version;
    json_t         *metadata; /**< texts by name */
    size_t          n_nodes, n_tensors, n_inputs, n_outputs;
    pq_onnx_node   *nodes;
    pq_onnx_tensor *tensors; /**< initializers */
    pq_onnx_port   *inputs, *outputs;
    pq_onnx_names   names;  /**< of values; PQ_ONNX_NONE is "" */
    json_t         *beside; /**< names of files beside it that were read */
    struct block   *blocks;
} pq_onnx_model;

/** Reads all but the constants' items. @retval PQ_ERR_FORMAT  With the place.
 * @retval PQ_ERR_UNSUPPORTED  An opset or part of a graph that is not read, by name. */
pq_status pq_onnx_open(const char *path, pq_onnx_model *out, pq_err *err);
void      pq_onnx_close(pq_onnx_model *model);

/** Header of a constant within a node, in memory that lives as long as the model; its
 * name is none of the graph's. */
pq_status pq_onnx_tensor_keep(pq_onnx_model *model, pq_span message,
                              const pq_onnx_tensor **out, pq_err *err);

/**
 * Items of a constant. Floats and whole numbers become float32, float64 or int64.
 * @param[in]  axis  as pq_tensor_permute, or NULL
 * @param[out] out   new; caller frees
 * @retval PQ_ERR_UNSUPPORTED  A type or place of its items that is not read.
 */
pq_status pq_onnx_tensor_items(pq_onnx_model *model, const pq_onnx_tensor *t,
                               pq_dtype dtype, const size_t *axis, pq_tensor **out,
                               pq_err *err);

/** Name of a type, "float16" or "type 17". */
const char *pq_onnx_type_name(int type);

/* Attributes. What is not given leaves the fallback; what has another type fails. */

pq_status pq_onnx_int(const pq_onnx_node *node, const char *name, int64_t fallback,
                      int64_t *out, pq_err *err);
pq_status pq_onnx_real(const pq_onnx_node *node, const char *name, double fallback,
                       double *out, pq_err *err);

/** @param[out] out  [size] */
pq_status pq_onnx_text(const pq_onnx_node *node, const char *name, const char *fallback,
                       char *out, size_t size, pq_err *err);

/** @param[out] out  [most]; *n = 0 where it is not given */
pq_status pq_onnx_ints(const pq_onnx_node *node, const char *name, size_t most,
                       int64_t *out, size_t *n, pq_err *err);

/** Floats of an attribute as float64 [n]; NULL where it is not given. */
pq_status pq_onnx_reals(const pq_onnx_node *node, const char *name, pq_tensor **out,
                        pq_err *err);

/** Message of a tensor attribute; n = 0 where it is not given. */
pq_status pq_onnx_attribute_tensor(const pq_onnx_node *node, const char *name,
                                   pq_span *out, pq_err *err);

bool pq_onnx_has(const pq_onnx_node *node, const char *name);

#endif
