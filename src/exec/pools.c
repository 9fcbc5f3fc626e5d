#include "exec/pools.h"

#include <string.h>

#include "core/memory.h"
#include "layers/kinds.h"

typedef struct {
    pq_op     op;
    pq_window window; /* global pools have one as large as the image */
    bool      mean, count_padding;
} pool_op;

/* First input cell and one past the last under `kernel` cells from `start`, padding left
 * out. */
static void overlap(size_t start, size_t kernel, size_t pad, size_t in, size_t *first,
                    size_t *end)
{
    *first = start > pad ? start - pad : 0;
    *end   = start + kernel - pad < in ? start + kernel - pad : in;
}

static void take(bool mean, size_t channels, const float *x, float *out)
{
    if (mean) {
        for (size_t c = 0; c < channels; c++) {
            out[c] += x[c];
        }
        return;
    }
    for (size_t c = 0; c < channels; c++) {
        out[c] = x[c] > out[c] ? x[c] : out[c];
    }
}

/* One position of the window. */
static void pool_position(const pool_op *p, const float *image, size_t row, size_t column,
                          float *out)
{
    const pq_window *w = &p->window;
    const size_t     n = w->channels;
    size_t           top, bottom, left, right, cells;

    overlap(row * w->stride_h, w->kernel_h, w->pad_top, w->in_h, &top, &bottom);
    overlap(column * w->stride_w, w->kernel_w, w->pad_left, w->in_w, &left, &right);
    memcpy(out, image + (top * w->in_w + left) * n, n * sizeof *out);
    for (size_t y = top; y < bottom; y++) {
        for (size_t x = y == top ? left + 1 : left; x < right; x++) {
            take(p->mean, n, image + (y * w->in_w + x) * n, out);
        }
    }
    if (p->mean) {
        cells = p->count_padding ? w->kernel_h * w->kernel_w
                                 : (bottom - top) * (right - left);
        for (size_t c = 0; c < n; c++) {
            out[c] /= (float)cells;
        }
    }
}

static void pools_run(const pq_op *op, size_t n, const void *const *in, void *out,
                      void *scratch)
{
    const pool_op   *p      = (const pool_op *)op;
    const pq_window *w      = &p->window;
    const float     *image  = in[0];
    float           *result = out;

    (void)scratch;
    for (size_t s = 0; s < n; s++, image += w->in_h * w->in_w * w->channels) {
        for (size_t row = 0; row < w->out_h; row++) {
            for (size_t column = 0; column < w->out_w; column++, result += w->channels) {
                pool_position(p, image, row, column, result);
            }
        }
    }
}

static void pools_release(pq_op *op)
{
    pq_free(op);
}

bool pq_pools_has(const char *kind)
{
    return strcmp(kind, "max_pool") == 0 || strcmp(kind, "avg_pool") == 0 ||
           strcmp(kind, "global_max_pool") == 0 || strcmp(kind, "global_avg_pool") == 0;
}

pq_status pq_pools_prepare(const pq_step *step, pq_op **out, pq_err *err)
{
    const pq_layer *layer = step->graph->nodes[step->node].layer;
    const pq_shape *in    = &step->graph->nodes[step->in[0]].shape;
    const char     *kind  = layer->kind->name;
    pool_op        *p     = NULL;
    pq_status       st;

    PQ_NEW(p, 1);
    p->op.run     = pools_run;
    p->op.release = pools_release;
    p->op.kernel  = "float32:plain windows";
    p->mean       = strstr(kind, "avg") != NULL;
    if (strncmp(kind, "global", 6) == 0) {
        const size_t channels = in->dim[in->ndim - 1];
        const size_t cells    = pq_node_count(step->graph, step->in[0]) / channels;
        p->window             = (pq_window){.kernel_h = 1,
                                            .kernel_w = cells,
                                            .in_h     = 1,
                                            .in_w     = cells,
                                            .channels = channels,
                                            .out_h    = 1,
                                            .out_w    = 1};
    } else {
        PQ_TRY(pq_pool_window(layer, in, &p->window, err));
        p->count_padding = ((const pq_pool_params *)layer->params)->count_padding;
    }
    *out = &p->op;
    p    = NULL;
cleanup:
    pq_free(p);
    return st;
}
