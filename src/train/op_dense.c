#include <string.h>

#include "core/memory.h"
#include "train/net.h"

typedef struct {
    size_t in, out, per_event; /* features, and rows of one event */
    size_t panel_forward, panel_backward, panel_in;
    float *forward, *backward; /* packed kernel, transposed and as it is */
    size_t kernel, bias;       /* offsets; bias SIZE_MAX = none */
} state;

static void free_state(void *s)
{
    pq_free(((state *)s)->forward);
    pq_free(((state *)s)->backward);
}

static pq_status setup(pq_net *net, pq_op *op, pq_err *err)
{
    const size_t kernel = pq_layer_weight_index(op->layer, "kernel");
    const size_t bias   = pq_layer_weight_index(op->layer, "bias");
    state       *s      = pq_calloc(1, sizeof *s);
    pq_status    st;

    PQ_CHECK(s != NULL, PQ_ERR_NOMEM, "cannot allocate the state of a layer");
    op->state         = s;
    op->free_state    = free_state;
    s->out            = op->layer->weights[kernel].value->shape.dim[0];
    s->in             = op->layer->weights[kernel].value->shape.dim[1];
    s->per_event      = net->values[op->out].count / s->out;
    s->kernel         = op->weight[kernel];
    s->bias           = bias != SIZE_MAX ? op->weight[bias] : SIZE_MAX;
    s->panel_forward  = net->kernels->panel(s->out);
    s->panel_backward = net->kernels->panel(s->in);
    s->forward =
        pq_calloc(pq_panel_floats(s->in, s->out, s->panel_forward), sizeof(float));
    s->backward =
        pq_calloc(pq_panel_floats(s->out, s->in, s->panel_backward), sizeof(float));
    PQ_CHECK(s->forward != NULL && s->backward != NULL, PQ_ERR_NOMEM,
             "layer '%s': cannot allocate packed weights", op->name);
cleanup:
    return st;
}

static void prepare(const pq_net *net, pq_op *op)
{
    const state *s = op->state;
    const float *w = net->used + s->kernel;

    pq_pack_panels(s->in, s->out, w, 1, s->in, s->panel_forward, s->forward);
    if (op->wants[0]) {
        pq_pack_panels(s->out, s->in, w, s->in, 1, s->panel_backward, s->backward);
    }
}

static void forward(const pq_net_call *c)
{
    const state     *s   = c->op->state;
    const pq_segment all = {.k = s->in};

    c->net->kernels->gemm(
        &(pq_matmul){.m          = c->rows * s->per_event,
                     .n          = s->out,
                     .a          = pq_net_value(c, c->op->in[0]),
                     .a_row      = s->in,
                     .a_col      = 1,
                     .b          = s->forward,
                     .b_row      = s->panel_forward,
                     .b_panel    = s->in * s->panel_forward,
                     .panel      = s->panel_forward,
                     .c          = pq_net_value(c, c->op->out),
                     .c_row      = s->out,
                     .n_segments = 1,
                     .segments   = &all,
                     .bias       = s->bias != SIZE_MAX ? c->net->used + s->bias : NULL,
                     .clip       = pq_net_clip(c)});
}

/* dW = dY^T X */
static void weight_gradient(const pq_net_call *c, const float *dy)
{
    const state     *s    = c->op->state;
    const size_t     rows = c->rows * s->per_event;
    const pq_segment all  = {.k = rows};

    c->net->kernels->gemm(&(pq_matmul){.m          = s->out,
                                       .n          = s->in,
                                       .a          = dy,
                                       .a_row      = 1,
                                       .a_col      = s->out,
                                       .b          = pq_net_value(c, c->op->in[0]),
                                       .b_row      = s->in,
                                       .b_panel    = s->panel_backward,
                                       .panel      = s->panel_backward,
                                       .c          = c->gradients + s->kernel,
                                       .c_row      = s->in,
                                       .n_segments = 1,
                                       .segments   = &all});
}

static void backward(const pq_net_call *c)
{
    const state     *s    = c->op->state;
    const pq_segment all  = {.k = s->out};
    const size_t     rows = c->rows * s->per_event;
    float           *dy   = pq_net_gradient_behind(c, s->out, s->bias);

    if (!c->op->frozen) {
        weight_gradient(c, dy);
    }
    if (c->op->wants[0]) {
        float *dx = pq_net_gradient(c, c->op->in[0]);
        c->net->kernels->gemm(&(pq_matmul){.m          = rows,
                                           .n          = s->in,
                                           .a          = dy,
                                           .a_row      = s->out,
                                           .a_col      = 1,
                                           .b          = s->backward,
                                           .b_row      = s->panel_backward,
                                           .b_panel    = s->out * s->panel_backward,
                                           .panel      = s->panel_backward,
                                           .c          = dx,
                                           .c_row      = s->in,
                                           .n_segments = 1,
                                           .segments   = &all,
                                           .add = c->op->accumulate[0] ? dx : NULL});
    }
}

const pq_op_class pq_op_dense = {.kernel     = "float32:products",
                                 .setup      = setup,
                                 .prepare    = prepare,
                                 .forward    = forward,
                                 .backward   = backward,
                                 .needs_in   = true,
                                 .takes_relu = true};
