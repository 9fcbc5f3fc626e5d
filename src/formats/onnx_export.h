/**
 * @file
 * From nodes of ours to ONNX. For formats/onnx_export*.c only.
 *
 * A value of three axes is held as [height, width, channels], as ours, or as [channels,
 * height, width], as ONNX's operators of images want; either is made of the other where
 * it is first asked for.
 */
#ifndef PQ_FORMATS_ONNX_EXPORT_H
#define PQ_FORMATS_ONNX_EXPORT_H

#include "formats/onnx_model.h"
#include "graph/graph.h"

enum { PQ_ONNX_OURS, PQ_ONNX_IMAGE, PQ_ONNX_LAYOUTS };

/** How grids are written. */
typedef enum {
    PQ_ONNX_AS_CODES,    /**< QuantizeLinear and DequantizeLinear */
    PQ_ONNX_AS_QONNX,    /**< Quant */
    PQ_ONNX_AS_INTEGERS, /**< MatMulInteger and ConvInteger where layers have bytes */
} pq_onnx_form;

#define PQ_ONNX_QONNX_DOMAIN "qonnx.custom_op.general"

/** One writing. */
typedef struct {
    const pq_graph *graph;
    pq_onnx_form    form;
    bool            grids;           /**< some values of the graph lie on grids */
    size_t          at;              /**< node at hand */
    pq_text         out;             /**< GraphProto so far */
    pq_text         node;            /**< NodeProto that is begun */
    size_t          made;            /**< names made up so far */
    char *(*value)[PQ_ONNX_LAYOUTS]; /**< [n_nodes] names of values, or NULL */
} pq_onnx_export;

/** A fresh name; caller frees with pq_free; NULL when out of memory. */
char *pq_onnx_name(pq_onnx_export *ex, const char *what);

/** Name of input k of the node at hand in a layout, borrowed. */
pq_status pq_onnx_input(pq_onnx_export *ex, size_t k, int layout, const char **out,
                        pq_err *err);

/** Begins a NodeProto over n inputs; attributes follow. */
void pq_onnx_begin(pq_onnx_export *ex, const char *op, size_t n, const char *const *in,
                   const char *out);
void pq_onnx_put_domain(pq_onnx_export *ex, const char *domain);
void pq_onnx_put_int(pq_onnx_export *ex, const char *name, int64_t value);
void pq_onnx_put_real(pq_onnx_export *ex, const char *name, double value);
void pq_onnx_put_text(pq_onnx_export *ex, const char *name, const char *value);
void pq_onnx_put_ints(pq_onnx_export *ex, const char *name, size_t n,
                      const int64_t *values);
void pq_onnx_end(pq_onnx_export *ex);

/** Adds a constant of a type from its bytes. */
void pq_onnx_put_constant(pq_onnx_export *ex, const char *name, int type,
                          const pq_shape *shape, const void *bytes, size_t n);

/** Adds a float32 constant under a fresh name (caller frees). */
pq_status pq_onnx_put_floats(pq_onnx_export *ex, const char *what, const pq_tensor *t,
                             char **name, pq_err *err);
pq_status pq_onnx_put_number(pq_onnx_export *ex, const char *what, float value,
                             char **name, pq_err *err);
pq_status pq_onnx_put_list(pq_onnx_export *ex, const char *what, size_t n,
                           const int64_t *values, char **name, pq_err *err);

/** The value of the node at hand has this name in a layout; takes the name. */
void pq_onnx_gives(pq_onnx_export *ex, int layout, char *name);

/** Kernel of the node at hand as a constant, axes reordered, as int8 codes behind a
 * DequantizeLinear where it has such a grid. @param[in] axis  place of the outputs'
 * axis after that */
pq_status pq_onnx_put_kernel(pq_onnx_export *ex, const pq_weight *w, const pq_tensor *t,
                             size_t axis, char **name, pq_err *err);

/** Bias of the node at hand as it is added (pq_bias_value), on a grid where the form has
 * one. */
pq_status pq_onnx_put_bias(pq_onnx_export *ex, const pq_weight *kernel,
                           const pq_weight *bias, char **name, pq_err *err);

/** Whether codes of a grid fit int8 or uint8 with its scales. */
bool pq_onnx_has_bytes(const pq_quant *q);

/** Codes of a kernel as bytes; caller frees with pq_free. @param[in] axis  as
 * pq_onnx_put_kernel */
pq_status pq_onnx_kernel_codes(const pq_quant *q, const pq_tensor *t, size_t axis,
                               uint8_t **out, pq_err *err);

/* QONNX (onnx_export_qonnx.c). */

/** Whether a weight has a grid that a Quant can have. */
bool pq_onnx_has_codes(const pq_weight *w);

/** A weight as a constant behind a Quant. @param[in] axis  place of the outputs' axis */
pq_status pq_onnx_quant_weight(pq_onnx_export *ex, const pq_quant *q, const pq_tensor *t,
                               size_t axis, char **name, pq_err *err);

/** A bias as it is added (pq_bias_value): behind a Quant where the scale of the sums is a
 * power of two, else as floats. */
pq_status pq_onnx_quant_bias(pq_onnx_export *ex, const pq_weight *kernel,
                             const pq_tensor *bias, char **name, pq_err *err);

/** A Quant of activations. @retval PQ_ERR_UNSUPPORTED  QONNX has no such grid. */
pq_status pq_onnx_quant_value(pq_onnx_export *ex, const pq_quant *q, const char *value,
                              const char *out, pq_err *err);

/* Whole numbers (onnx_export_integer.c). */

/** Whether the node at hand, with this kernel, sums codes of bytes. */
bool pq_onnx_in_integers(const pq_onnx_export *ex, const pq_weight *w);

/** Begins MatMulInteger or ConvInteger over codes of the input and the kernel (axes
 * reordered); attributes follow. */
pq_status pq_onnx_begin_integers(pq_onnx_export *ex, const char *op, int layout,
                                 const pq_weight *w, const pq_tensor *t, size_t axis,
                                 pq_err *err);

/** Ends it, and makes of its sums what the layer gives. */
pq_status pq_onnx_end_integers(pq_onnx_export *ex, int layout, const pq_weight *w,
                               const pq_weight *bias, pq_err *err);

/** Puts the node's value on its quantizer's grid, if it has one. */
pq_status pq_onnx_put_grid(pq_onnx_export *ex, pq_err *err);

/** Appends the node at hand. @retval PQ_ERR_UNSUPPORTED  ONNX has no such layer. */
pq_status pq_onnx_put_layer(pq_onnx_export *ex, pq_err *err);

/** Writes a model, atomically. */
pq_status pq_onnx_save_as(const pq_graph *graph, pq_onnx_form form, const char *path,
                          pq_err *err);
pq_status pq_onnx_save(const pq_graph *graph, const char *path, pq_err *err);

/** Read a model: the format's `load` and `load_output`. */
pq_status pq_onnx_load_output(const char *path, const char *arch, const char *output,
                              pq_graph **out, pq_err *err);
pq_status pq_onnx_load(const char *path, const char *arch, pq_graph **out, pq_err *err);

#endif
