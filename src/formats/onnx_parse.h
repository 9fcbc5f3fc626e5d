/**
 * @file
 * Messages of an ONNX file as they stand, for what reads a model (onnx_model.c), its
 * functions (onnx_function.c) and its constants.
 */
#ifndef PQ_FORMATS_ONNX_PARSE_H
#define PQ_FORMATS_ONNX_PARSE_H

#include "formats/onnx_model.h"

/** Memory of zeros that lives as long as the model. @return NULL: there is none. */
void *pq_onnx_take(pq_onnx_model *m, size_t count, size_t bytes);

/** Frees all that was taken. */
void pq_onnx_give_back(pq_onnx_model *m);

/** Takes `count` items for a pointer; needs `st`, `err` and `cleanup`. */
#define PQ_ONNX_TAKE(m, pointer, count)                                                  \
    do {                                                                                 \
        (pointer) = pq_onnx_take((m), (count), sizeof *(pointer));                       \
        PQ_CHECK((pointer) != NULL, PQ_ERR_NOMEM, "cannot allocate %zu items",           \
                 (size_t)(count));                                                       \
    } while (0)

/** A message of the file as fields, whose errors tell the byte. */
pq_wire pq_onnx_message(const pq_onnx_model *m, pq_span message);

/** Counts the fields of some numbers. @param[out] counts  [n]
 * @retval PQ_ERR_FORMAT  One is there more than PQ_ONNX_NODES times. */
pq_status pq_onnx_count(const pq_onnx_model *m, pq_span message, size_t n,
                        const unsigned *fields, size_t *counts, pq_err *err);

/** Text of the field at hand, in memory of the model. */
pq_status pq_onnx_keep_text(pq_onnx_model *m, const pq_wire *w, const char **out,
                            pq_err *err);

/** Name of a domain: "" for that of the standard operators. */
const char *pq_onnx_domain(const char *name);

/** A new number for a text that lives as long as the names; it is not found by it. */
pq_status pq_onnx_new_name(pq_onnx_names *names, const char *text, size_t *out,
                           pq_err *err);

/** Number of a text, a new one where it is met first. */
pq_status pq_onnx_number_of(pq_onnx_names *names, const char *text, size_t *out,
                            pq_err *err);
void      pq_onnx_names_free(pq_onnx_names *names);

/** Number of the text of the field at hand. */
pq_status pq_onnx_keep_name(pq_onnx_model *m, pq_onnx_names *names, const pq_wire *w,
                            size_t *out, pq_err *err);

/** AttributeProto */
pq_status pq_onnx_read_attribute(pq_onnx_model *m, pq_span message,
                                 pq_onnx_attribute *out, pq_err *err);

/** NodeProto; its values become numbers of `names`. */
pq_status pq_onnx_read_node(pq_onnx_model *m, pq_onnx_names *names, pq_span message,
                            pq_onnx_node *out, pq_err *err);

/** OperatorSetIdProto. @param[in,out] version  set where it is the standard operators' */
pq_status pq_onnx_read_opset(pq_onnx_model *m, pq_span message, int64_t *version,
                             pq_err *err);

/** Header of a TensorProto. Only an initializer's name is one of the graph's: that of a
 * constant within a node is a text, and gets no number among the values. */
pq_status pq_onnx_read_tensor(pq_onnx_model *m, pq_span message, bool named,
                              pq_onnx_tensor *out, pq_err *err);

/**
 * Puts the nodes of functions in place of the nodes that call them, so that only
 * operators are left. A value of a function is a new one at each call.
 *
 * @retval PQ_ERR_FORMAT       A call that does not fit its function, by name; functions
 *                             that call themselves.
 * @retval PQ_ERR_UNSUPPORTED  Calls that lie too deep or make too many nodes.
 */
pq_status pq_onnx_inline(pq_onnx_model *m, pq_err *err);

#endif
