#include "exec/rows.h"

#include <string.h>

#include "core/memory.h"
#include "layers/kinds.h"

typedef struct {
    pq_op  op;
    size_t rows, columns; /* of one sample of input 0 */
    size_t from, part;    /* slice: columns taken */
    int    mode;          /* masked_pool */
} rows_op;

static void slice_run(const pq_op *op, size_t n, const void *const *in, void *out,
                      void *scratch)
{
    const rows_op *r = (const rows_op *)op;
    const float   *x = (const float *)in[0] + r->from;
    float         *y = out;

    (void)scratch;
    for (size_t i = 0; i < n * r->rows; i++, x += r->columns, y += r->part) {
        memcpy(y, x, r->part * sizeof *y);
    }
}

/* One more row; the first of a sample is copied. */
static void take(const rows_op *r, const float *x, bool first, float *y)
{
    if (first) {
        memcpy(y, x, r->columns * sizeof *y);
    } else if (r->mode == PQ_MASKED_MAX) {
        for (size_t c = 0; c < r->columns; c++) {
            y[c] = x[c] > y[c] ? x[c] : y[c];
        }
    } else {
        for (size_t c = 0; c < r->columns; c++) {
            y[c] += x[c];
        }
    }
}

static void masked_run(const pq_op *op, size_t n, const void *const *in, void *out,
                       void *scratch)
{
    const rows_op *r    = (const rows_op *)op;
    const float   *x    = in[0];
    const float   *mask = in[1];
    float         *y    = out;

    (void)scratch;
    for (size_t s = 0; s < n; s++, y += r->columns, mask += r->rows) {
        size_t taken = 0;
        memset(y, 0, r->columns * sizeof *y);
        for (size_t i = 0; i < r->rows; i++, x += r->columns) {
            if (mask[i] > 0.0F) {
                take(r, x, taken == 0, y);
                taken++;
            }
        }
        for (size_t c = 0; r->mode == PQ_MASKED_MEAN && taken > 1 && c < r->columns;
             c++) {
            y[c] /= (float)taken;
        }
    }
}

static void rows_release(pq_op *op)
{
    pq_free(op);
}

bool pq_rows_has(const char *kind)
{
    return strcmp(kind, "slice") == 0 || strcmp(kind, "masked_pool") == 0;
}

pq_status pq_rows_prepare(const pq_step *step, pq_op **out, pq_err *err)
{
    const pq_node  *node = &step->graph->nodes[step->node];
    const pq_shape *in   = &step->graph->nodes[step->in[0]].shape;
    rows_op        *r    = NULL;
    pq_status       st;

    PQ_NEW(r, 1);
    r->op.release = rows_release;
    r->op.kernel  = "float32:plain rows";
    r->columns    = in->dim[in->ndim - 1];
    r->rows       = pq_node_count(step->graph, step->in[0]) / r->columns;
    if (strcmp(node->layer->kind->name, "slice") == 0) {
        r->op.run = slice_run;
        r->from   = (size_t)((const pq_slice_params *)node->layer->params)->from;
        r->part   = node->shape.dim[node->shape.ndim - 1];
    } else {
        r->op.run = masked_run;
        r->mode   = ((const pq_masked_pool_params *)node->layer->params)->mode;
    }
    *out = &r->op;
cleanup:
    return st;
}
