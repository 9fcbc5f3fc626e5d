#include <math.h>

#include "core/memory.h"
#include "exec/codes.h"
#include "exec/units.h"

/* A layer computed by its kind's own forward. */
typedef struct {
    pq_op           op;
    const pq_layer *layer; /* of the plan's graph */
    size_t          n_in;
    pq_shape        in_shape[PQ_STEP_INPUTS];
    size_t          in_count[PQ_STEP_INPUTS]; /* of one sample */
    pq_shape        out_shape;
    size_t          out_count;
    size_t          tile;
    double        **weight;     /* [n_weights] */
    double          unit;       /* of the input, where the layer is in whole numbers */
    double         *multiplier; /* [outputs] then, else NULL */
    size_t          outputs;
} forward_op;

static void call_forward(const forward_op *f, size_t n, const double *const *in,
                         double *out)
{
    const pq_layer_call call = {
        .layer     = f->layer,
        .batch     = n,
        .n_in      = f->n_in,
        .in_shape  = f->in_shape,
        .in        = in,
        .out_shape = f->out_shape,
        .out       = out,
        .weight    = (const double *const *)f->weight,
    };

    f->layer->kind->forward(&call);
}

static void run_double(const pq_op *op, size_t n, const void *const *in, void *out,
                       void *scratch)
{
    const double     *values[PQ_STEP_INPUTS] = {NULL};
    const forward_op *f                      = (const forward_op *)op;

    (void)scratch;
    for (size_t i = 0; i < f->n_in; i++) {
        values[i] = in[i];
    }
    call_forward(f, n, values, out);
}

/* A quantized layer in units of its scales: sums are whole numbers, and exact. */
static void run_units(const pq_op *op, size_t n, const void *const *in, void *out,
                      void *scratch)
{
    const forward_op   *f         = (const forward_op *)op;
    const double       *x         = in[0];
    double             *units     = scratch;
    const double *const values[1] = {units};
    double             *y         = out;

    for (size_t i = 0; i < n * f->in_count[0]; i++) {
        units[i] = rint(x[i] / f->unit);
    }
    call_forward(f, n, values, y);
    for (size_t i = 0; i < n * f->out_count; i++) {
        y[i] *= f->multiplier[i % f->outputs];
    }
}

static void run_float(const pq_op *op, size_t n, const void *const *in, void *out,
                      void *scratch)
{
    const forward_op *f                      = (const forward_op *)op;
    double           *next                   = scratch;
    float            *result                 = out;
    const double     *values[PQ_STEP_INPUTS] = {NULL};

    for (size_t i = 0; i < f->n_in; i++) {
        const float *from = in[i];
        for (size_t k = 0; k < n * f->in_count[i]; k++) {
            next[k] = (double)from[k];
        }
        values[i] = next;
        next += f->tile * f->in_count[i];
    }
    call_forward(f, n, values, next);
    for (size_t k = 0; k < n * f->out_count; k++) {
        result[k] = (float)next[k];
    }
}

static void forward_release(pq_op *op)
{
    forward_op *f = (forward_op *)op;

    for (size_t w = 0; f->weight != NULL && w < f->layer->n_weights; w++) {
        pq_free(f->weight[w]);
    }
    pq_free(f->weight);
    pq_free(f->multiplier);
    pq_free(f);
}

/* Puts whole numbers in place of kernel and bias. */
static pq_status take_units(const pq_step *step, forward_op *f, pq_err *err)
{
    const size_t kernel = pq_layer_weight_index(f->layer, "kernel");
    const size_t bias   = pq_layer_weight_index(f->layer, "bias");
    pq_units    *u      = NULL;
    pq_status    st;

    PQ_TRY(pq_units_create(step->graph, step->node, &u, NULL, err));
    if (u == NULL) {
        return PQ_OK;
    }
    for (size_t i = 0; i < u->outputs * u->length; i++) {
        f->weight[kernel][i] = (double)u->weight[i];
    }
    for (size_t o = 0; bias != SIZE_MAX && o < u->outputs; o++) {
        f->weight[bias][o] = (double)u->bias[o];
    }
    f->unit             = (double)pq_code_grid(step->graph, step->in[0])->scale[0];
    f->outputs          = u->outputs;
    f->multiplier       = u->multiplier;
    u->multiplier       = NULL;
    f->op.run           = run_units;
    f->op.scratch_bytes = f->tile * f->in_count[0] * sizeof(double);
cleanup:
    pq_units_free(&u);
    return st;
}

static pq_status widen_weights(forward_op *f, pq_err *err)
{
    pq_status st;

    PQ_NEW(f->weight, f->layer->n_weights);
    for (size_t w = 0; w < f->layer->n_weights; w++) {
        const pq_tensor *value = f->layer->weights[w].value;
        PQ_NEW(f->weight[w], value->count);
        for (size_t i = 0; i < value->count; i++) {
            f->weight[w][i] = pq_tensor_get(value, i);
        }
        f->op.weight_bytes += value->count * sizeof(double);
    }
cleanup:
    return st;
}

pq_status pq_forward_prepare(const pq_step *step, size_t tile, size_t item_bytes,
                             pq_op **out, pq_err *err)
{
    const pq_node *nodes = step->graph->nodes;
    forward_op    *f     = NULL;
    size_t         items = 0;
    pq_status      st;

    PQ_NEW(f, 1);
    f->op.run     = item_bytes == sizeof(double) ? run_double : run_float;
    f->op.release = forward_release;
    f->op.kernel  = "plain loops in double";
    f->layer      = nodes[step->node].layer;
    f->n_in       = step->n_in;
    f->tile       = tile;
    f->out_shape  = nodes[step->node].shape;
    f->out_count  = pq_node_count(step->graph, step->node);
    for (size_t i = 0; i < step->n_in; i++) {
        f->in_shape[i] = nodes[step->in[i]].shape;
        f->in_count[i] = pq_node_count(step->graph, step->in[i]);
        items += f->in_count[i];
    }
    if (item_bytes != sizeof(double)) {
        f->op.scratch_bytes = tile * (items + f->out_count) * sizeof(double);
    }
    PQ_TRY(widen_weights(f, err));
    PQ_TRY(item_bytes == sizeof(double) ? take_units(step, f, err) : PQ_OK);
    *out = &f->op;
    f    = NULL;
cleanup:
    if (f != NULL) {
        forward_release(&f->op);
    }
    return st;
}
