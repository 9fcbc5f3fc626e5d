/*
 * dense and conv2d on codes: sums in int32 where no sum can leave it, else in int64.
 */
#include <string.h>

#include "core/memory.h"
#include "exec/codes.h"
#include "exec/integer_ops.h"
#include "layers/kinds.h"

typedef struct {
    pq_op      op;
    pq_int_out out;
    pq_units  *units;  /* owned */
    int16_t   *narrow; /* [outputs, length] weights, or NULL: they or inputs are wider */
    size_t     in_count, tile;
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

static int64_t dot_narrow(const int16_t *a, const int16_t *b, size_t n)
{
    int32_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (int32_t)a[i] * (int32_t)b[i];
    }
    return sum;
}

static int64_t dot_wide(const int32_t *a, const int32_t *b, size_t n)
{
    int64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (int64_t)a[i] * (int64_t)b[i];
    }
    return sum;
}

/* Output channels [first, first + n) of one patch. */
static void run_patch(const linear *l, int32_t *patch, size_t first, size_t n,
                      size_t item, void *to)
{
    const pq_units *u     = l->units;
    int16_t        *words = (int16_t *)(patch + u->length);

    for (size_t i = 0; l->narrow != NULL && i < u->length; i++) {
        words[i] = (int16_t)patch[i];
    }
    for (size_t o = first; o < first + n; o++) {
        const int64_t sum = l->narrow != NULL
                                ? dot_narrow(words, l->narrow + o * u->length, u->length)
                                : dot_wide(patch, u->weight + o * u->length, u->length);
        pq_int_store(&l->out, item + o, (double)(sum + u->bias[o]) * u->multiplier[o],
                     to);
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
    pq_free(l->narrow);
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

/* Words of 16 bits and sums of 32 where that is exact. */
static pq_status narrow(linear *l, pq_err *err)
{
    const pq_units *u     = l->units;
    const size_t    count = u->outputs * u->length;
    pq_status       st    = PQ_OK;

    if (u->most_weight > INT16_MAX || u->most_input > INT16_MAX || u->bound > INT32_MAX) {
        l->op.weight_bytes = count * sizeof *u->weight;
        l->op.kernel       = "int32 words, int64 sums";
        return PQ_OK;
    }
    PQ_NEW(l->narrow, count);
    for (size_t i = 0; i < count; i++) {
        l->narrow[i] = (int16_t)u->weight[i];
    }
    l->op.weight_bytes = count * sizeof *l->narrow;
    l->op.kernel       = "int16 words, int32 sums";
cleanup:
    return st;
}

pq_status pq_int_linear(const pq_step *step, pq_units *units, pq_op **out, pq_err *err)
{
    const size_t input = step->in[0];
    linear      *l     = NULL;
    pq_status    st;

    PQ_NEW(l, 1);
    l->units            = units;
    units               = NULL;
    l->op.run           = run;
    l->op.release       = release;
    l->op.scratch_bytes = l->units->length * (sizeof(int32_t) + sizeof(int16_t));
    l->out              = pq_int_out_of(step);
    l->in_count         = pq_node_count(step->graph, input);
    l->zero             = pq_code_grid(step->graph, input)->zero_point[0];
    PQ_TRY(place(step, l, err));
    PQ_TRY(narrow(l, err));
    *out = &l->op;
    l    = NULL;
cleanup:
    pq_units_free(&units);
    if (l != NULL) {
        release(&l->op);
    }
    return st;
}
