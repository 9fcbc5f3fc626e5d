#include "exec/elements.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/fold.h"
#include "layers/kinds.h"

typedef struct element_op element_op;

/* `items` values of each input into as many of the output. */
typedef void (*element_function)(const element_op *e, size_t items,
                                 const float *const *in, float *out);

struct element_op {
    pq_op             op;
    const pq_kernels *kernels;
    element_function  function;
    size_t            n_in, count; /* items of a sample */
    size_t            width;       /* of the last axis */
    float             a, b;        /* attributes */
    pq_affine         norm;        /* of batch_norm */
};

static void relu(const element_op *e, size_t items, const float *const *in, float *out)
{
    const float *x = in[0];

    (void)e;
    for (size_t i = 0; i < items; i++) {
        out[i] = x[i] > 0.0f ? x[i] : 0.0f;
    }
}

/* Two loops, as gcc does not vectorize two comparisons in a row. */
static void clip(const element_op *e, size_t items, const float *const *in, float *out)
{
    const float *x = in[0], lo = e->a, hi = e->b;

    for (size_t i = 0; i < items; i++) {
        out[i] = x[i] < lo ? lo : x[i];
    }
    for (size_t i = 0; i < items; i++) {
        out[i] = out[i] > hi ? hi : out[i];
    }
}

static void leaky_relu(const element_op *e, size_t items, const float *const *in,
                       float *out)
{
    const float *x = in[0], slope = e->a;

    for (size_t i = 0; i < items; i++) {
        out[i] = x[i] > 0.0f ? x[i] : slope * x[i];
    }
}

static void scale(const element_op *e, size_t items, const float *const *in, float *out)
{
    const float *x = in[0], factor = e->a;

    for (size_t i = 0; i < items; i++) {
        out[i] = factor * x[i];
    }
}

static void elu(const element_op *e, size_t items, const float *const *in, float *out)
{
    const float *x = in[0], alpha = e->a;

    memcpy(out, x, items * sizeof *out);
    e->kernels->exponentials(items, out);
    for (size_t i = 0; i < items; i++) {
        const float y = alpha * (out[i] - 1.0f);
        out[i]        = x[i] > 0.0f ? x[i] : y;
    }
}

static void sigmoid(const element_op *e, size_t items, const float *const *in, float *out)
{
    const float *x = in[0];

    for (size_t i = 0; i < items; i++) {
        out[i] = -x[i];
    }
    e->kernels->exponentials(items, out);
    for (size_t i = 0; i < items; i++) {
        out[i] = 1.0f / (1.0f + out[i]);
    }
}

static void hyperbolic_tangent(const element_op *e, size_t items, const float *const *in,
                               float *out)
{
    const float *x = in[0];

    for (size_t i = 0; i < items; i++) {
        out[i] = 2.0f * x[i];
    }
    e->kernels->exponentials(items, out);
    for (size_t i = 0; i < items; i++) {
        out[i] = 1.0f - 2.0f / (1.0f + out[i]);
    }
}

/* Exponentials of the whole tile in one go: rows are often shorter than a vector. */
static void softmax(const element_op *e, size_t items, const float *const *in, float *out)
{
    const size_t width = e->width;

    for (size_t row = 0; row < items; row += width) {
        const float *x    = in[0] + row;
        float        most = x[0];
        for (size_t i = 1; i < width; i++) {
            most = x[i] > most ? x[i] : most;
        }
        for (size_t i = 0; i < width; i++) {
            out[row + i] = x[i] - most;
        }
    }
    e->kernels->exponentials(items, out);
    for (size_t row = 0; row < items; row += width) {
        float sum = 0.0f;
        for (size_t i = 0; i < width; i++) {
            sum += out[row + i];
        }
        sum = 1.0f / sum;
        for (size_t i = 0; i < width; i++) {
            out[row + i] *= sum;
        }
    }
}

static void sum_of(const element_op *e, size_t items, const float *const *in, float *out)
{
    const float *x = in[0], *y = in[1];

    for (size_t i = 0; i < items; i++) {
        out[i] = x[i] + y[i];
    }
    for (size_t k = 2; k < e->n_in; k++) {
        for (size_t i = 0; i < items; i++) {
            out[i] += in[k][i];
        }
    }
}

static void product_of(const element_op *e, size_t items, const float *const *in,
                       float *out)
{
    const float *x = in[0], *y = in[1];

    for (size_t i = 0; i < items; i++) {
        out[i] = x[i] * y[i];
    }
    for (size_t k = 2; k < e->n_in; k++) {
        for (size_t i = 0; i < items; i++) {
            out[i] *= in[k][i];
        }
    }
}

static void normalise(const element_op *e, size_t items, const float *const *in,
                      float *out)
{
    for (size_t row = 0; row < items; row += e->width) {
        for (size_t c = 0; c < e->width; c++) {
            out[row + c] =
                (float)((double)in[0][row + c] * e->norm.scale[c] + e->norm.shift[c]);
        }
    }
}

static const struct {
    const char      *kind;
    element_function function;
} functions[] = {
    {"relu", relu},
    {"clip", clip},
    {"leaky_relu", leaky_relu},
    {"scale", scale},
    {"elu", elu},
    {"sigmoid", sigmoid},
    {"tanh", hyperbolic_tangent},
    {"softmax", softmax},
    {"add", sum_of},
    {"multiply", product_of},
    {"batch_norm", normalise},
};

static element_function function_of(const char *kind)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (strcmp(functions[i].kind, kind) == 0) {
            return functions[i].function;
        }
    }
    return NULL;
}

bool pq_elements_has(const char *kind)
{
    return function_of(kind) != NULL;
}

static void elements_run(const pq_op *op, size_t n, const void *const *in, void *out,
                         void *scratch)
{
    const element_op *e                      = (const element_op *)op;
    const float      *values[PQ_STEP_INPUTS] = {NULL};

    (void)scratch;
    for (size_t i = 0; i < e->n_in; i++) {
        values[i] = in[i];
    }
    e->function(e, n * e->count, values, out);
}

static void elements_release(pq_op *op)
{
    element_op *e = (element_op *)op;

    pq_affine_free(&e->norm);
    pq_free(e);
}

static void set_attributes(const pq_layer *layer, element_op *e)
{
    if (e->function == clip) {
        e->a = (float)((const pq_clip_params *)layer->params)->lo;
        e->b = (float)((const pq_clip_params *)layer->params)->hi;
    } else if (e->function == leaky_relu) {
        e->a = (float)((const pq_leaky_relu_params *)layer->params)->slope;
    } else if (e->function == scale) {
        e->a = (float)((const pq_scale_params *)layer->params)->factor;
    } else if (e->function == elu) {
        e->a = (float)((const pq_elu_params *)layer->params)->alpha;
    }
}

pq_status pq_elements_prepare(const pq_step *step, const pq_kernels *kernels, pq_op **out,
                              pq_err *err)
{
    const pq_node *node = &step->graph->nodes[step->node];
    element_op    *e    = NULL;
    pq_status      st;

    PQ_NEW(e, 1);
    e->op.run     = elements_run;
    e->op.release = elements_release;
    e->op.kernel  = "float32:plain elements";
    e->kernels    = kernels;
    e->function   = function_of(node->layer->kind->name);
    e->n_in       = step->n_in;
    e->count      = pq_node_count(step->graph, step->node);
    e->width      = node->shape.ndim == 0 ? 1 : node->shape.dim[node->shape.ndim - 1];
    set_attributes(node->layer, e);
    if (e->function == normalise) {
        PQ_TRY(pq_affine_create(e->width, &e->norm, err));
        pq_affine_normalise(&e->norm, node->layer);
        e->op.weight_bytes = 2 * e->width * sizeof(double);
    }
    *out = &e->op;
    e    = NULL;
cleanup:
    if (e != NULL) {
        elements_release(&e->op);
    }
    return st;
}
