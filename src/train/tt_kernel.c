#include "train/tt_kernel.h"

#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "layers/tt.h"

/* One core [r, s, r'], the window first. */
typedef struct {
    size_t r, columns; /* columns: s r' */
    size_t items;      /* of the modes before it: rows of W_k */
    size_t weight;     /* offset */
    size_t panel, panel_back;
    float *behind;     /* W_{k+1} [items, columns] */
    float *transposed; /* packed, [columns, r] */
} core;

struct pq_tt_kernel {
    pq_tt_modes t;
    size_t      d, count, largest; /* cores, values of the kernel, of the largest W */
    core        cores[PQ_MAX_DIMS];
    size_t     *place; /* [count] in the kernel */
    float      *kernel;
};

void pq_tt_kernel_free(pq_tt_kernel **kernel)
{
    pq_tt_kernel *k = *kernel;

    if (k == NULL) {
        return;
    }
    for (size_t i = 0; i < k->d; i++) {
        pq_free(k->cores[i].behind);
        pq_free(k->cores[i].transposed);
    }
    pq_free(k->place);
    pq_free(k->kernel);
    pq_free(k);
    *kernel = NULL;
}

static pq_status add_core(pq_net *net, const pq_op *op, const char *name, pq_tt_kernel *k,
                          pq_err *err)
{
    const size_t    w     = pq_layer_weight_index(op->layer, name);
    const pq_shape *shape = &op->layer->weights[w].value->shape;
    core           *c     = &k->cores[k->d++];
    pq_status       st;

    *c         = (core){.r = shape->dim[0], .items = k->count, .weight = op->weight[w]};
    c->columns = shape->dim[1] * shape->dim[2] * shape->dim[3];
    c->panel   = net->kernels->panel(c->columns);
    c->panel_back = net->kernels->panel(c->r);
    k->count *= shape->dim[1] * shape->dim[2];
    k->largest = c->items * c->columns > k->largest ? c->items * c->columns : k->largest;
    c->behind  = pq_calloc(c->items * c->columns + PQ_KERNELS_SLACK, sizeof(float));
    c->transposed =
        pq_calloc(pq_panel_floats(c->columns, c->r, c->panel_back), sizeof(float));
    PQ_CHECK(c->behind != NULL && c->transposed != NULL, PQ_ERR_NOMEM,
             "layer '%s': cannot allocate a rebuilt kernel", op->name);
cleanup:
    return st;
}

pq_status pq_tt_kernel_create(pq_net *net, const pq_op *op, pq_tt_kernel **out,
                              pq_err *err)
{
    pq_tt_kernel *k = pq_calloc(1, sizeof *k);
    char          name[32];
    pq_status     st;

    *out = k;
    PQ_CHECK(k != NULL, PQ_ERR_NOMEM, "cannot allocate the state of a layer");
    PQ_TRY(pq_tt_modes_of(op->layer, &k->t, err));
    k->count = 1;
    PQ_TRY(add_core(net, op, "window", k, err));
    for (size_t i = 0; i < k->t.d; i++) {
        (void)snprintf(name, sizeof name, "core%zu", i + 1);
        PQ_TRY(add_core(net, op, name, k, err));
    }
    k->place  = pq_calloc(k->count, sizeof *k->place);
    k->kernel = pq_calloc(k->count + PQ_KERNELS_SLACK, sizeof(float));
    PQ_CHECK(k->place != NULL && k->kernel != NULL, PQ_ERR_NOMEM,
             "layer '%s': cannot allocate a rebuilt kernel", op->name);
    for (size_t i = 0; i < k->count; i++) {
        k->place[i] = pq_tt_place(&k->t, i);
    }
cleanup:
    return st;
}

size_t pq_tt_kernel_outputs(const pq_tt_kernel *k)
{
    return k->t.outputs;
}

/* Parts of the scratch memory: operands may be read a little beyond their end. */
static size_t part(size_t floats)
{
    return (floats + PQ_KERNELS_SLACK + 15) / 16 * 16;
}

size_t pq_tt_kernel_scratch(const pq_tt_kernel *k)
{
    return part(k->count) + 2 * part(k->largest);
}

/* W_k, the first core's being its values. */
static const float *before(const pq_net *net, const pq_tt_kernel *k, size_t i)
{
    return i == 1 ? net->used + k->cores[0].weight : k->cores[i - 1].behind;
}

const float *pq_tt_kernel_rebuild(const pq_net *net, pq_tt_kernel *k)
{
    const float *whole;

    for (size_t i = 1; i < k->d; i++) {
        const core      *c   = &k->cores[i];
        const float     *w   = net->used + c->weight;
        const pq_segment all = {.k = c->r};
        net->kernels->gemm(&(pq_matmul){.m          = c->items,
                                        .n          = c->columns,
                                        .a          = before(net, k, i),
                                        .a_row      = c->r,
                                        .a_col      = 1,
                                        .b          = w,
                                        .b_row      = c->columns,
                                        .b_panel    = c->panel,
                                        .panel      = c->panel,
                                        .c          = c->behind,
                                        .c_row      = c->columns,
                                        .n_segments = 1,
                                        .segments   = &all});
        pq_pack_panels(c->columns, c->r, w, 1, c->columns, c->panel_back, c->transposed);
    }
    whole = k->cores[k->d - 1].behind;
    for (size_t i = 0; i < k->count; i++) {
        k->kernel[k->place[i]] = whole[i];
    }
    return k->kernel;
}

/* From dW_{k+1} the gradients of core k and of W_k. */
static void step_back(const pq_net_call *call, const pq_tt_kernel *k, size_t i,
                      const float *from, float *to)
{
    const core      *c     = &k->cores[i];
    const pq_segment items = {.k = c->items}, columns = {.k = c->columns};

    call->net->kernels->gemm(&(pq_matmul){.m          = c->r,
                                          .n          = c->columns,
                                          .a          = before(call->net, k, i),
                                          .a_row      = 1,
                                          .a_col      = c->r,
                                          .b          = from,
                                          .b_row      = c->columns,
                                          .b_panel    = c->panel,
                                          .panel      = c->panel,
                                          .c          = call->gradients + c->weight,
                                          .c_row      = c->columns,
                                          .n_segments = 1,
                                          .segments   = &items});
    call->net->kernels->gemm(&(pq_matmul){.m          = c->items,
                                          .n          = c->r,
                                          .a          = from,
                                          .a_row      = c->columns,
                                          .a_col      = 1,
                                          .b          = c->transposed,
                                          .b_row      = c->panel_back,
                                          .b_panel    = c->columns * c->panel_back,
                                          .panel      = c->panel_back,
                                          .c          = to,
                                          .c_row      = c->r,
                                          .n_segments = 1,
                                          .segments   = &columns});
}

void pq_tt_kernel_spread(const pq_net_call *c, const pq_tt_kernel *k, float *scratch)
{
    const float *kernel  = scratch;
    float       *grad[2] = {scratch + part(k->count),
                            scratch + part(k->count) + part(k->largest)};

    for (size_t i = 0; i < k->count; i++) {
        grad[0][i] = kernel[k->place[i]];
    }
    for (size_t i = k->d; i-- > 1;) {
        const size_t turn = (k->d - 1 - i) % 2;
        step_back(c, k, i, grad[turn],
                  i == 1 ? c->gradients + k->cores[0].weight : grad[1 - turn]);
    }
}
