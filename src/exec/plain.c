#include "exec/plain.h"

#include "core/memory.h"
#include "exec/fold.h"
#include "layers/moves.h"

typedef struct {
    pq_op         op;
    pq_float_call call;
    pq_shape      in_shape[PQ_STEP_INPUTS];
    pq_moves      moves;
    float         constant; /* between what moves */
    pq_affine     norm;
    size_t        count; /* items of a sample */
} plain_op;

static void run_kind(const pq_op *op, size_t n, const void *const *in, void *out,
                     void *scratch)
{
    const plain_op *p                      = (const plain_op *)op;
    pq_float_call   call                   = p->call;
    const float    *values[PQ_STEP_INPUTS] = {NULL};

    (void)scratch;
    for (size_t i = 0; i < call.n_in; i++) {
        values[i] = in[i];
    }
    call.batch = n;
    call.in    = values;
    call.out   = out;
    call.layer->kind->forward32(&call);
}

static void run_moves(const pq_op *op, size_t n, const void *const *in, void *out,
                      void *scratch)
{
    const plain_op *p = (const plain_op *)op;

    (void)scratch;
    pq_moves_run(&p->moves, n, sizeof(float), in, &p->constant, out);
}

static void run_norm(const pq_op *op, size_t n, const void *const *in, void *out,
                     void *scratch)
{
    const plain_op *p     = (const plain_op *)op;
    const size_t    width = p->call.out_shape.dim[p->call.out_shape.ndim - 1];
    const float    *x     = in[0];
    float          *y     = out;

    (void)scratch;
    for (size_t row = 0; row < n * p->count; row += width) {
        for (size_t c = 0; c < width; c++) {
            y[row + c] =
                (float)((double)x[row + c] * p->norm.scale[c] + p->norm.shift[c]);
        }
    }
}

static void plain_release(pq_op *op)
{
    plain_op *p = (plain_op *)op;

    pq_moves_free(&p->moves);
    pq_affine_free(&p->norm);
    pq_free(p);
}

bool pq_plain_has(const pq_layer *layer)
{
    return layer->kind->form == PQ_FORM_NORM || pq_layer_is(layer, PQ_TRAIT_MOVES) ||
           layer->kind->forward32 != NULL;
}

const char *pq_plain_kernel(const pq_layer *layer)
{
    return pq_layer_is(layer, PQ_TRAIT_MOVES)  ? "float32:moves"
           : layer->kind->form == PQ_FORM_NORM ? "float32:plain lines"
                                               : "float32:plain loops";
}

/* Chooses what runs. */
static pq_status choose(const pq_step *step, plain_op *p, pq_err *err)
{
    const pq_layer *layer = p->call.layer;
    const size_t    width = p->call.out_shape.ndim == 0
                                ? 1
                                : p->call.out_shape.dim[p->call.out_shape.ndim - 1];
    pq_status       st    = PQ_OK;

    p->op.kernel = pq_plain_kernel(layer);
    if (pq_layer_is(layer, PQ_TRAIT_MOVES)) {
        p->op.run = run_moves;
        PQ_TRY(pq_moves_create(layer, step->n_in, p->in_shape, &p->call.out_shape,
                               &p->moves, err));
        p->constant = (float)p->moves.constant;
    } else if (layer->kind->form == PQ_FORM_NORM) {
        p->op.run = run_norm;
        PQ_TRY(pq_affine_create(width, &p->norm, err));
        pq_affine_normalise(&p->norm, layer);
        p->op.weight_bytes = 2 * width * sizeof(double);
    } else {
        p->op.run = run_kind;
    }
cleanup:
    return st;
}

pq_status pq_plain_prepare(const pq_step *step, pq_op **out, pq_err *err)
{
    const pq_node *nodes = step->graph->nodes;
    plain_op      *p     = NULL;
    pq_status      st;

    PQ_NEW(p, 1);
    p->op.release = plain_release;
    p->count      = pq_node_count(step->graph, step->node);
    p->call       = (pq_float_call){.kernels   = pq_kernels_find(pq_cpu_isa()),
                                    .layer     = nodes[step->node].layer,
                                    .n_in      = step->n_in,
                                    .in_shape  = p->in_shape,
                                    .out_shape = nodes[step->node].shape};
    for (size_t i = 0; i < step->n_in; i++) {
        p->in_shape[i] = nodes[step->in[i]].shape;
    }
    PQ_TRY(choose(step, p, err));
    *out = &p->op;
    p    = NULL;
cleanup:
    if (p != NULL) {
        plain_release(&p->op);
    }
    return st;
}
