/* Pools on codes: maxima are codes, means are whole sums times scale over cells. */
#include <string.h>

#include "core/memory.h"
#include "exec/codes.h"
#include "exec/integer_ops.h"
#include "layers/kinds.h"

typedef struct {
    pq_op           op;
    pq_int_out      out;
    const pq_quant *grid; /* of the input, borrowed from the graph */
    bool            mean, count_padding;
    pq_window       w;
} pool;

/* Largest code, or sum of differences from the zero point, under a window. */
static int64_t reduce(const pool *l, const int32_t *image, size_t p, size_t q,
                      size_t *cells)
{
    int64_t largest = INT64_MIN, sum = 0;

    *cells = 0;
    for (size_t a = 0; a < l->w.kernel_h; a++) {
        for (size_t b = 0; b < l->w.kernel_w; b++) {
            size_t y, x;
            if (pq_window_row(&l->w, p, a, &y) && pq_window_column(&l->w, q, b, &x)) {
                const int32_t code = image[(y * l->w.in_w + x) * l->w.channels];
                largest            = code > largest ? code : largest;
                sum += code - l->grid->zero_point[0];
                ++*cells;
            }
        }
    }
    return l->mean ? sum : largest;
}

static void run(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch)
{
    const pool    *l     = (const pool *)op;
    const double   scale = (double)l->grid->scale[0];
    const int32_t *image = in[0];
    size_t         item  = 0, cells;

    (void)scratch;
    for (size_t s = 0; s < n; s++, image += l->w.in_h * l->w.in_w * l->w.channels) {
        for (size_t k = 0; k < l->w.out_h * l->w.out_w * l->w.channels; k++, item++) {
            const size_t  c = k % l->w.channels, at = k / l->w.channels;
            const int64_t value =
                reduce(l, image + c, at / l->w.out_w, at % l->w.out_w, &cells);
            cells = l->count_padding ? l->w.kernel_h * l->w.kernel_w : cells;
            if (l->mean) {
                pq_int_store(&l->out, item, (double)value * scale / (double)cells, out);
            } else if (l->out.grid == l->grid) {
                ((int32_t *)out)[item] = (int32_t)value;
            } else {
                pq_int_store(&l->out, item, pq_quant_value(l->grid, 0, (int32_t)value),
                             out);
            }
        }
    }
}

static void release(pq_op *op)
{
    pq_free(op);
}

pq_status pq_int_pool(const pq_step *step, pq_op **out, pq_err *err)
{
    const pq_layer *layer  = step->graph->nodes[step->node].layer;
    const char     *kind   = layer->kind->name;
    const bool      global = strncmp(kind, "global_", 7) == 0;
    const char     *name   = global ? kind + 7 : kind;
    pool           *l      = NULL;
    pq_status       st     = PQ_OK;

    *out = NULL;
    if (strcmp(name, "max_pool") != 0 && strcmp(name, "avg_pool") != 0) {
        return PQ_OK;
    }
    PQ_NEW(l, 1);
    l->op.run     = run;
    l->op.release = release;
    l->op.kernel  = "windows of codes";
    l->out        = pq_int_out_of(step);
    l->grid       = pq_code_grid(step->graph, step->in[0]);
    l->mean       = strcmp(name, "avg_pool") == 0;
    if (global) {
        l->w = pq_pool_whole(&step->graph->nodes[step->in[0]].shape);
    } else {
        l->count_padding = ((const pq_pool_params *)layer->params)->count_padding;
        PQ_TRY(pq_pool_window(layer, &step->graph->nodes[step->in[0]].shape, &l->w, err));
    }
    if (l->grid != NULL && l->w.kernel_h * l->w.kernel_w <= PQ_CODES_CELLS) {
        *out = &l->op;
        l    = NULL;
    }
cleanup:
    pq_free(l);
    return st;
}
