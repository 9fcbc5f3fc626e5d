/*
 * dense and conv2d on codes: in words of 16 bits and sums of 32 where those are exact
 * (words.c), else by the plain loops here, with sums in int64.
 */
#include <string.h>

#include "core/memory.h"
#include "exec/codes.h"
#include "exec/integer_ops.h"
#include "exec/words.h"
#include "layers/kinds.h"

typedef struct {
    pq_op      op;
    pq_int_out out;
    pq_units  *units; /* owned */
    size_t     in_count;
    int32_t    zero; /* of the input's codes */
    bool       conv;
    pq_window  w;
    size_t     group_in, group_out; /* channels */
} linear;

/* Differences from the zero point under the window at (p, q), channels of one group;
   padding is 0. */
static void gather(const linear *l, const int32_t *image, size_t p, size_t q,
                   size_t group, int32_t *patch)
{
    for (size_t a = 0; a < l->w.kernel_h; a++) {
        for (size_t b = 0; b < l->w.kernel_w; b++, patch += l->group_in) {
            size_t y = 0, x = 0;
            if (!pq_window_row(&l->w, p, a, &y) || !pq_window_column(&l->w, q, b, &x)) {
                memset(patch, 0, l->group_in * sizeof *patch);
                continue;
            }
            const int32_t *from =
                image + (y * l->w.in_w + x) * l->w.channels + group * l->group_in;
            for (size_t c = 0; c < l->group_in; c++) {
                patch[c] = from[c] - l->zero;
            }
        }
    }
}

static int64_t dot(const int32_t *a, const int32_t *b, size_t n)
{
    int64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (int64_t)a[i] * (int64_t)b[i];
    }
    return sum;
}

/* Output channels [first, first + n) of one patch. */
static void run_patch(const linear *l, const int32_t *patch, size_t first, size_t n,
                      size_t item, void *to)
{
    const pq_units *u = l->units;

    for (size_t o = first; o < first + n; o++) {
        const int64_t sum = dot(patch, u->weight + o * u->length, u->length) + u->bias[o];
        pq_int_store(&l->out, item + o, (double)sum * u->multiplier[o], to);
    }
}

static void run_conv(const linear *l, size_t n, const int32_t *in, void *out,
                     int32_t *patch)
{
    size_t item = 0;

    for (size_t s = 0; s < n; s++) {
        for (size_t p = 0; p < l->w.out_h; p++) {
            for (size_t q = 0; q < l->w.out_w; q++, item += l->units->outputs) {
                for (size_t g = 0; g < l->units->outputs / l->group_out; g++) {
                    gather(l, in + s * l->in_count, p, q, g, patch);
                    run_patch(l, patch, g * l->group_out, l->group_out, item, out);
                }
            }
        }
    }
}

static void run(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch)
{
    const linear  *l     = (const linear *)op;
    const int32_t *codes = in[0];
    int32_t       *patch = scratch;

    if (l->conv) {
        run_conv(l, n, codes, out, patch);
        return;
    }
    for (size_t r = 0; r < n * l->in_count / l->units->length; r++) {
        for (size_t i = 0; i < l->units->length; i++) {
            patch[i] = codes[r * l->units->length + i] - l->zero;
        }
        run_patch(l, patch, 0, l->units->outputs, r * l->units->outputs, out);
    }
}

static void release(pq_op *op)
{
    linear *l = (linear *)op;

    pq_units_free(&l->units);
    pq_free(l);
}

static pq_status place(const pq_step *step, linear *l, pq_err *err)
{
    const pq_node  *node  = &step->graph->nodes[step->node];
    const pq_layer *layer = node->layer;
    pq_status       st    = PQ_OK;

    l->conv = strcmp(layer->kind->name, "conv2d") == 0;
    if (l->conv) {
        const size_t groups = (size_t)((const pq_conv2d_params *)layer->params)->groups;
        PQ_TRY(pq_conv2d_window(layer, &step->graph->nodes[node->inputs[0]].shape, &l->w,
                                err));
        l->group_in  = l->w.channels / groups;
        l->group_out = l->units->outputs / groups;
    }
cleanup:
    return st;
}

static pq_status prepare_plain(const pq_step *step, pq_units *units, pq_op **out,
                               pq_err *err)
{
    linear   *l = NULL;
    pq_status st;

    PQ_NEW(l, 1);
    l->units            = units;
    units               = NULL;
    l->op.run           = run;
    l->op.release       = release;
    l->op.kernel        = "int32 words, int64 sums";
    l->op.scratch_bytes = l->units->length * sizeof(int32_t);
    l->op.weight_bytes  = l->units->outputs * l->units->length * sizeof(int32_t);
    l->out              = pq_int_out_of(step);
    l->in_count         = pq_node_count(step->graph, step->in[0]);
    l->zero             = pq_code_grid(step->graph, step->in[0])->zero_point[0];
    PQ_TRY(place(step, l, err));
    *out = &l->op;
    l    = NULL;
cleanup:
    pq_units_free(&units);
    if (l != NULL) {
        release(&l->op);
    }
    return st;
}

pq_status pq_int_linear(const pq_step *step, pq_units *units, pq_op **out, pq_err *err)
{
    pq_status st;

    if (!pq_words_fit(units)) {
        return prepare_plain(step, units, out, err);
    }
    st = pq_words_prepare(step, units, pq_kernels_find(pq_cpu_isa()), PQ_WORDS_CODES,
                          pq_code_grid(step->graph, step->in[0]),
                          pq_code_grid(step->graph, step->last), out, err);
    pq_units_free(&units);
    return st;
}
