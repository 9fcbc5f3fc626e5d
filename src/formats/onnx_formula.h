/**
 * @file
 * Kinds that exporters write as several operators, read step by step: each value of such
 * a formula is a part of it, and the last step makes the kind. For onnx_formula.c and
 * onnx_norm.c, and the operators that may belong to a formula.
 */
#ifndef PQ_FORMATS_ONNX_FORMULA_H
#define PQ_FORMATS_ONNX_FORMULA_H

#include "formats/onnx_import.h"

/** An Add, Sub, Mul or Div of a part and something else. */
typedef struct {
    char                 op;
    size_t               at; /**< input that is the part */
    const pq_onnx_value *part, *other;
    double               c; /**< the constant that the other is; NaN: it is none */
} pq_onnx_step;

/** Goes on with a formula that an Add, Sub, Mul or Div (`op`) belongs to.
 * @param[out] done  false: it belongs to none */
pq_status pq_onnx_go_on(pq_onnx_import *im, char op, bool *done, pq_err *err);

/** Goes on with a formula through a Cast. */
pq_status pq_onnx_cast_part(pq_onnx_import *im, bool *done, pq_err *err);

/** The same of LayerNormalization: through a ReduceMean, through a Max with 0. */
pq_status pq_onnx_mean_part(pq_onnx_import *im, bool *done, pq_err *err);
pq_status pq_onnx_max_part(pq_onnx_import *im, bool *done, pq_err *err);

/** Whether a value is a part of LayerNormalization; then the step that it is read by. */
bool      pq_onnx_is_norm(const pq_onnx_value *v);
pq_status pq_onnx_go_on_norm(pq_onnx_import *im, const pq_onnx_step *s, pq_err *err);

/** Makes a product with channels, or a sum, the scale or bias of a norm before it that
 * has none. @param[in] x  [channels] @param[out] done  false: there is none such */
pq_status pq_onnx_join_norm(pq_onnx_import *im, const pq_onnx_value *v, const double *x,
                            bool factor, bool *done, pq_err *err);

/** Whether two values lie alike, item by item. */
bool pq_onnx_lie_alike(const pq_onnx_import *im, const pq_onnx_value *a,
                       const pq_onnx_value *b);

/** Output 0 is a part, of the node x, that lies as a value does. */
pq_status pq_onnx_give_part(pq_onnx_import *im, const pq_onnx_value *like, size_t x,
                            pq_onnx_value part, pq_err *err);

/** A kind with up to one attribute over x, where the node at hand ends a formula. */
pq_status pq_onnx_finish(pq_onnx_import *im, const pq_onnx_value *like, const char *kind,
                         const char *attribute, double value, pq_err *err);

#endif
