#include "layers/moves.h"

#include <string.h>

#include "core/memory.h"
#include "layers/common.h"

void pq_moves_free(pq_moves *m)
{
    pq_free(m->runs);
    *m = (pq_moves){0};
}

/* Places in the inputs, counted through all of them from 1; without a list, the runs are
   only counted. */
static void list_runs(pq_moves *m, const double *place, const double *moved)
{
    pq_move now = {0};

    m->n = 0;
    for (size_t i = 0; i < m->out_count; i++) {
        size_t at, input = 0;
        if (!(moved[i] > place[i])) { /* the same whatever the inputs are */
            m->has_constants = true;
            m->constant      = place[i];
            continue;
        }
        at = (size_t)place[i] - 1;
        while (at >= m->in_count[input]) {
            at -= m->in_count[input++];
        }
        if (m->n > 0 && now.input == input && now.from + now.n == at &&
            now.to + now.n == i) {
            now.n++;
        } else {
            now = (pq_move){input, at, i, 1};
            m->n++;
        }
        if (m->runs != NULL) {
            m->runs[m->n - 1] = now;
        }
    }
}

/* The layer's forward on the numbers of places plus `shift`. */
static void number_places(const pq_moves *m, pq_layer_call *call, double shift,
                          double *const *in)
{
    double next = 1.0 + shift;

    for (size_t k = 0; k < m->n_in; k++) {
        for (size_t i = 0; i < m->in_count[k]; i++) {
            in[k][i] = next++;
        }
    }
    m->layer->kind->forward(call);
}

pq_status pq_moves_create(const pq_layer *layer, size_t n_in, const pq_shape *in_shape,
                          const pq_shape *out_shape, pq_moves *out, pq_err *err)
{
    pq_moves      m = {.n_in = n_in, .layer = layer, .out_count = pq_items(out_shape)};
    double       *in[PQ_LAYER_INPUTS] = {NULL}, *place = NULL, *moved = NULL;
    pq_layer_call call = {.layer     = layer,
                          .batch     = 1,
                          .n_in      = n_in,
                          .in_shape  = in_shape,
                          .in        = (const double *const *)in,
                          .out_shape = *out_shape};
    pq_status     st;

    for (size_t k = 0; k < n_in; k++) {
        m.in_count[k] = pq_items(&in_shape[k]);
        PQ_NEW(in[k], m.in_count[k]);
    }
    PQ_NEW(place, m.out_count);
    PQ_NEW(moved, m.out_count);
    call.out = place;
    number_places(&m, &call, 0.0, in);
    call.out = moved;
    number_places(&m, &call, 1.0, in);
    list_runs(&m, place, moved);
    PQ_NEW(m.runs, m.n);
    list_runs(&m, place, moved);
    *out = m;
    m    = (pq_moves){0};
cleanup:
    for (size_t k = 0; k < n_in; k++) {
        pq_free(in[k]);
    }
    pq_free(place);
    pq_free(moved);
    pq_moves_free(&m);
    return st;
}

static void fill(size_t n, size_t bytes, const void *value, char *to)
{
    for (size_t i = 0; i < n; i++) {
        memcpy(to + i * bytes, value, bytes);
    }
}

void pq_moves_run(const pq_moves *m, size_t batch, size_t item_bytes,
                  const void *const *in, const void *constant, void *out)
{
    if (m->has_constants) {
        fill(batch * m->out_count, item_bytes, constant, out);
    }
    for (size_t s = 0; s < batch; s++) {
        char *to = (char *)out + s * m->out_count * item_bytes;
        for (size_t r = 0; r < m->n; r++) {
            const pq_move *run  = &m->runs[r];
            const char    *from = in[run->input];
            memcpy(to + run->to * item_bytes,
                   from + (s * m->in_count[run->input] + run->from) * item_bytes,
                   run->n * item_bytes);
        }
    }
}

void pq_moves_back(const pq_moves *m, const pq_kernels *kernels, size_t batch,
                   size_t input, const float *grad_out, float *grad_in)
{
    for (size_t s = 0; s < batch; s++) {
        for (size_t r = 0; r < m->n; r++) {
            const pq_move *run = &m->runs[r];
            if (run->input == input) {
                kernels->add(run->n, grad_out + s * m->out_count + run->to,
                             grad_in + s * m->in_count[input] + run->from);
            }
        }
    }
}
