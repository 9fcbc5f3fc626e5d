/**
 * @file
 * From ONNX's values to nodes of ours. For formats/onnx*.c only.
 *
 * A value is a constant, or activations whose axes of one sample may stand in another
 * order than ONNX says: an image [batch, channels, height, width] is held as [height,
 * width, channels], and an image flattened channel by channel as its items lie. So most
 * transpositions cost nothing, and kernels take the order that their inputs have.
 */
#ifndef PQ_FORMATS_ONNX_IMPORT_H
#define PQ_FORMATS_ONNX_IMPORT_H

#include "formats/onnx_model.h"
#include "graph/graph.h"

enum {
    PQ_ONNX_NO_AXIS = -1, /**< of ours, 1 long, that ONNX's value does not have */
};

/** Entry of a constant shape that is the number of events, times rows of each. */
#define PQ_ONNX_BATCH(rows) (INT64_MIN + (int64_t)(rows)-1)

/** Rows of each event that such an entry means; 0: it is a plain number. */
static inline size_t pq_onnx_rows(int64_t entry)
{
    return entry < INT64_MIN + INT32_MAX ? (size_t)(entry - INT64_MIN) + 1 : 0;
}

/** A part of what one kind is written as in several operators (onnx_formula.c); nothing
 * else may read it. `node` is x then. */
typedef enum {
    PQ_ONNX_WHOLE = 0,
    PQ_ONNX_ERF,         /**< erf(x / sqrt 2) */
    PQ_ONNX_MINUS_ERF,   /**< -erf(x / sqrt 2) */
    PQ_ONNX_ERF_1,       /**< 1 + erf */
    PQ_ONNX_HALF_ERF_1,  /**< (1 + erf) / 2 */
    PQ_ONNX_TWICE_GELU,  /**< x (1 + erf) */
    PQ_ONNX_EXP,         /**< exp(x) */
    PQ_ONNX_EXP_1,       /**< factor (exp(x) - 1) */
    PQ_ONNX_ABOVE,       /**< whether x > 0, as 1 and 0 */
    PQ_ONNX_BELOW,       /**< whether x <= 0 */
    PQ_ONNX_WHERE_ABOVE, /**< node `other` where x > 0, else 0 */
    PQ_ONNX_WHERE_BELOW, /**< node `other` where x <= 0, else 0 */
    /* Of LayerNormalization, over the last axis, along which they lie as x does. */
    PQ_ONNX_MEAN,            /**< m, the mean of x */
    PQ_ONNX_CENTERED,        /**< x - m */
    PQ_ONNX_CENTERED_SQUARE, /**< (x - m)^2 */
    PQ_ONNX_MEAN_SQUARED,    /**< m^2 */
    PQ_ONNX_MEAN_OF_SQUARES, /**< the mean of x^2 */
    PQ_ONNX_VARIANCE,        /**< v + factor */
    PQ_ONNX_DEVIATION,       /**< sqrt(v + factor) */
    PQ_ONNX_INVERSE,         /**< 1 / sqrt(v + factor) */
} pq_onnx_part;

/** What a name stands for; owns folded, order, quant and wide. */
typedef struct {
    const pq_onnx_tensor *raw;    /**< a constant in the file */
    pq_tensor            *folded; /**< a computed constant: float32, float64 or int64 */
    bool                  active; /**< activations: all below */
    pq_onnx_part          part;
    size_t                node;             /**< of the graph */
    size_t                other;            /**< of the graph, for some parts */
    double                factor;           /**< for some parts */
    size_t                ndim;             /**< ONNX's axes */
    size_t                dim[PQ_MAX_DIMS]; /**< [ndim]; of the batch: 1, or how many rows
                                               of each event lie along it */
    size_t    batch;                        /**< ONNX's axis that is the batch */
    size_t    n_axes;                       /**< of our sample */
    int       axis[PQ_MAX_DIMS];            /**< [n_axes] which of ONNX's it is */
    size_t   *order; /**< [items] our item i is ONNX's order[i]; or NULL */
    size_t    readers;
    pq_quant *quant; /**< of a constant: its grid; of activations: the value is codes */
    pq_quant *wide;  /**< of a constant that is codes of int32, of which a grid may hold
                        too  few: its scales */
} pq_onnx_value;

/** One reading. */
typedef struct {
    pq_onnx_model      *model;
    pq_graph           *graph;
    pq_onnx_value      *values; /**< [model->n_names] */
    const pq_onnx_node *node;   /**< at hand */
    size_t              batch;  /**< as the file fixes it, 0: a name */
    bool                images; /**< an input is held with its channels last */
} pq_onnx_import;

/** An operation: its conversion, and the attributes that are known. */
typedef struct {
    const char *name;
    size_t      min_in, max_in;
    pq_status (*convert)(pq_onnx_import *im, pq_err *err);
    const char *attributes; /**< names between blanks, "*" for all, or NULL */
} pq_onnx_operation;

/** Tables of operations; the last of each has no name. */
extern const pq_onnx_operation pq_onnx_linear[], pq_onnx_pointwise[],
    pq_onnx_arithmetic[], pq_onnx_formulas[], pq_onnx_norms[], pq_onnx_shapes[],
    pq_onnx_parts[], pq_onnx_pools[], pq_onnx_quantizers[], pq_onnx_of_qonnx[];

/** Appends an input of the graph, and says how its values lie. */
pq_status pq_onnx_add_input(pq_onnx_import *im, const pq_onnx_port *port, pq_err *err);

/** Computes a node whose inputs are constants, or that only asks for a shape.
 * @param[out] done  false: it is none of these */
pq_status pq_onnx_fold(pq_onnx_import *im, bool *done, pq_err *err);

/** Conversion of what changes nothing: output 0 is input 0, or input k. */
pq_status pq_onnx_same(pq_onnx_import *im, pq_err *err);
pq_status pq_onnx_same_as(pq_onnx_import *im, size_t k, pq_err *err);

/* Inputs of the node at hand. */

bool pq_onnx_given(const pq_onnx_import *im, size_t k);
bool pq_onnx_is_constant(const pq_onnx_import *im, size_t k);

/** Value of input k. @retval PQ_ERR_UNSUPPORTED  It is a constant, or not there. */
pq_status pq_onnx_active(const pq_onnx_import *im, size_t k, const pq_onnx_value **out,
                         pq_err *err);

/** The same, also where rows of events lie along the batch: for what treats each row, or
 * item, alike. Our axes of rows are PQ_ONNX_NO_AXIS then. */
pq_status pq_onnx_active_rows(const pq_onnx_import *im, size_t k,
                              const pq_onnx_value **out, pq_err *err);

/** Input k as a new tensor, axes reordered as pq_tensor_permute does (or NULL).
 * @retval PQ_ERR_UNSUPPORTED  It is no constant. */
pq_status pq_onnx_constant(const pq_onnx_import *im, size_t k, pq_dtype dtype,
                           const size_t *axis, pq_tensor **out, pq_err *err);

/** Shape of constant k, borrowed. @retval PQ_ERR_UNSUPPORTED  It is no constant. */
pq_status pq_onnx_constant_shape(const pq_onnx_import *im, size_t k, const pq_shape **out,
                                 pq_err *err);

/** Input k as whole numbers, those of PQ_ONNX_BATCH among them. @param[out] out  [most]
 */
pq_status pq_onnx_numbers(const pq_onnx_import *im, size_t k, size_t most, int64_t *out,
                          size_t *n, pq_err *err);

/** Input k as one number. */
pq_status pq_onnx_number(const pq_onnx_import *im, size_t k, double *out, pq_err *err);

/** Axes of the node at hand: input 1, or the attribute of older opsets.
 * @param[out] axes  [PQ_MAX_DIMS] */
pq_status pq_onnx_axes(const pq_onnx_import *im, int64_t *axes, size_t *n, pq_err *err);

/** Axis of a value from 0, its batch not. @retval PQ_ERR_FORMAT  There is none such. */
pq_status pq_onnx_axis(const pq_onnx_value *v, int64_t axis, size_t *out, pq_err *err);

/** Which of our axes holds one of ONNX's, or SIZE_MAX. */
size_t pq_onnx_held(const pq_onnx_value *v, size_t axis);

/** Whether our items lie in the order of ONNX's. */
bool pq_onnx_is_straight(const pq_onnx_value *v);

/* Outputs of the node at hand. */

/** Appends a layer over nodes, named as the ONNX node (plus `suffix`). Takes *layer,
 * also on failure, and makes it NULL. */
pq_status pq_onnx_add(pq_onnx_import *im, const char *suffix, pq_layer **layer,
                      size_t n_inputs, const size_t *inputs, size_t *node, pq_err *err);

/** Appends a kind with up to one attribute over a node. */
pq_status pq_onnx_add_plain(pq_onnx_import *im, const char *suffix, const char *kind,
                            const char *attribute, double value, size_t input,
                            size_t *node, pq_err *err);

/** Appends a reshape. */
pq_status pq_onnx_add_reshape(pq_onnx_import *im, const char *suffix, const pq_shape *to,
                              size_t input, size_t *node, pq_err *err);

/** Output k is a node whose axes are those of `like`, in new lengths.
 * @param[in] like  may be replaced meanwhile */
pq_status pq_onnx_give_like(pq_onnx_import *im, size_t k, const pq_onnx_value *like,
                            size_t node, pq_err *err);

/** Output k is this value; takes folded, order, quant and wide. */
pq_status pq_onnx_give(pq_onnx_import *im, size_t k, pq_onnx_value *value, pq_err *err);

/** Node that holds a value's axes in this order, PQ_ONNX_NO_AXIS being 1 long: itself, or
 * a reshape of it. @retval PQ_ERR_UNSUPPORTED  A transposition would be needed. */
pq_status pq_onnx_want(pq_onnx_import *im, const pq_onnx_value *v, size_t n,
                       const int *axis, size_t *node, pq_err *err);

/** The same for an image or sequence [batch, channels, …]: channels last; a sequence
 * becomes an image of one row. */
pq_status pq_onnx_want_image(pq_onnx_import *im, const pq_onnx_value *v, size_t *node,
                             pq_err *err);

/** Output 0 is a node that pq_onnx_want_image's is turned into. */
pq_status pq_onnx_give_image(pq_onnx_import *im, const pq_onnx_value *v, size_t node,
                             pq_err *err);

/** Sets an attribute from a number. */
pq_status pq_onnx_set(pq_layer *layer, const char *attribute, double value, pq_err *err);

/** Output 0 shows input k, if that is one node: then only what reads the output reads the
 * node. */
void pq_onnx_show(pq_onnx_import *im, size_t k);

/** Whether nothing else reads a value's node, so that it may be changed. */
bool pq_onnx_is_alone(const pq_onnx_import *im, const pq_onnx_value *v);

/** Window of the node at hand into a layer's stride, padding and kernel's size.
 * @param[in] in      [height, width] of the input
 * @param[in] kernel  [height, width]
 * @param[in] dims    window's axes that ONNX gives: 1 (a sequence) or 2 */
pq_status pq_onnx_window(const pq_onnx_import *im, pq_layer *layer, const size_t *in,
                         const int64_t *kernel, const int64_t *dilation, size_t dims,
                         pq_err *err);

/** What codes are. */
typedef struct {
    int  bits;
    bool is_signed, narrow;
} pq_onnx_codes;

/** Gives a weight that was multiplied by a factor the grid of that many times its own
 * values, and puts it there: with its codes, or their mirror image. Without codes (fixed
 * point becomes whole numbers), or times 0, it has none. */
pq_status pq_onnx_scale_grid(pq_weight *w, double factor, pq_err *err);

/**
 * Gives a layer's bias [outputs] the grid of constant k, which it is times a factor, of
 * one scale or one an output: engines of whole numbers take its codes as they are, or
 * compute the layer in double. A bias of int32 in units of the layer's sums, as QDQ has
 * it, needs none, and floats stay floats, which those engines round to that unit.
 *
 * @param[in] input  node that the layer reads, with its grid
 * @retval PQ_ERR_UNSUPPORTED  Codes of int32 in other units that no grid of 16 bits
 * holds.
 */
pq_status pq_onnx_take_bias_grid(const pq_onnx_import *im, size_t k, double factor,
                                 pq_layer *layer, size_t input, pq_err *err);

/** Quantizer of scales (input 1) and zero points (input 2, or none). */
pq_status pq_onnx_make_grid(const pq_onnx_import *im, pq_onnx_codes c, int axis,
                            pq_quant **out, pq_err *err);

/** The same of activations. @retval PQ_ERR_UNSUPPORTED  Several scales. */
pq_status pq_onnx_make_one(const pq_onnx_import *im, pq_onnx_codes c, pq_quant **out,
                           pq_err *err);

/** Puts activations on a grid, taken: that of their node, or of one that does nothing
 * else. */
pq_status pq_onnx_put_on_grid(pq_onnx_import *im, const pq_onnx_value *v, pq_quant **q,
                              size_t *node, pq_err *err);

/** Appends gamma x + beta for each channel. Takes both. */
pq_status pq_onnx_add_affine(pq_onnx_import *im, const char *suffix, pq_tensor *gamma,
                             pq_tensor *beta, size_t input, size_t *node, pq_err *err);

#endif
