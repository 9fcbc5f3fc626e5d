/* Pools in float32, all channels of a position together. */
#include <string.h>

#include "core/memory.h"
#include "layers/kinds.h"
#include "train/net.h"

typedef struct {
    pq_window w; /* global pools have one as large as the image */
    bool      mean, count_padding;
} state;

static pq_status setup(pq_net *net, pq_op *op, pq_err *err)
{
    const char     *kind = op->layer->kind->name;
    const pq_shape *in   = &op->in_shape[0];
    state          *s    = pq_calloc(1, sizeof *s);
    pq_status       st;

    PQ_CHECK(s != NULL, PQ_ERR_NOMEM, "cannot allocate the state of a layer");
    op->state = s;
    s->mean   = strstr(kind, "avg") != NULL;
    if (strncmp(kind, "global", 6) == 0) {
        const size_t channels = in->dim[in->ndim - 1];
        const size_t cells    = net->values[op->in[0]].count / channels;
        s->w                  = (pq_window){.kernel_h   = 1,
                                            .kernel_w   = cells,
                                            .dilation_h = 1,
                                            .dilation_w = 1,
                                            .stride_h   = 1,
                                            .stride_w   = 1,
                                            .in_h       = 1,
                                            .in_w       = cells,
                                            .channels   = channels,
                                            .out_h      = 1,
                                            .out_w      = 1};
    } else {
        PQ_TRY(pq_pool_window(op->layer, in, &s->w, err));
        s->count_padding = ((const pq_pool_params *)op->layer->params)->count_padding;
    }
    op->scratch_bytes = s->w.channels * (sizeof(float) + sizeof(uint32_t));
    PQ_CHECK(s->w.in_h * s->w.in_w <= UINT32_MAX, PQ_ERR_UNSUPPORTED,
             "layer '%s': an image of %zu x %zu cannot be pooled in training", op->name,
             s->w.in_h, s->w.in_w);
cleanup:
    return st;
}

/* A position of the window, and the cell under it that is at work. */
typedef struct {
    const pq_window *w;
    size_t           row, column; /* of the output */
    size_t           next;        /* cell of the window */
} walk;

/* The next cell under the window that is no padding. */
static bool step(walk *at, size_t *cell)
{
    while (at->next < at->w->kernel_h * at->w->kernel_w) {
        size_t       y, x;
        const size_t k = at->next++;
        if (pq_window_row(at->w, at->row, k / at->w->kernel_w, &y) &&
            pq_window_column(at->w, at->column, k % at->w->kernel_w, &x)) {
            *cell = y * at->w->in_w + x;
            return true;
        }
    }
    return false;
}

static float share(const state *s, size_t cells)
{
    return 1.0F / (float)(s->count_padding ? s->w.kernel_h * s->w.kernel_w : cells);
}

static void pool_position(const pq_net_call *c, walk at, const float *image, float *y)
{
    const state *s     = c->op->state;
    const size_t n     = s->w.channels;
    size_t       cells = 0, cell;

    for (; step(&at, &cell); cells++) {
        const float *x = image + cell * n;
        if (cells == 0) {
            memcpy(y, x, n * sizeof *y);
        } else if (s->mean) {
            c->net->kernels->add(n, x, y);
        } else {
            for (size_t i = 0; i < n; i++) {
                y[i] = x[i] > y[i] ? x[i] : y[i];
            }
        }
    }
    for (size_t i = 0; s->mean && i < n; i++) {
        y[i] *= share(s, cells);
    }
}

static void forward(const pq_net_call *c)
{
    const state *s         = c->op->state;
    const size_t positions = s->w.out_h * s->w.out_w, n = s->w.channels;
    const float *image = pq_net_value(c, c->op->in[0]);
    float       *y     = pq_net_value(c, c->op->out);

    for (size_t i = 0; i < c->rows; i++, image += s->w.in_h * s->w.in_w * n) {
        for (size_t p = 0; p < positions; p++, y += n) {
            pool_position(c, (walk){&s->w, p / s->w.out_w, p % s->w.out_w, 0}, image, y);
        }
    }
}

/* To all cells alike. */
static void spread_mean(const pq_net_call *c, walk at, const float *dy, float *dx)
{
    const state *s     = c->op->state;
    const size_t n     = s->w.channels;
    walk         count = at;
    size_t       cells = 0, cell;

    while (step(&count, &cell)) {
        cells++;
    }
    const float part = share(s, cells);

    while (step(&at, &cell)) {
        for (size_t i = 0; i < n; i++) {
            dx[cell * n + i] += dy[i] * part;
        }
    }
}

/* To the first of the largest cells, channel by channel. */
static void spread_largest(const pq_net_call *c, walk at, const float *image,
                           const float *dy, float *dx)
{
    const size_t n     = ((const state *)c->op->state)->w.channels;
    float       *most  = c->scratch;
    uint32_t    *where = (uint32_t *)(most + n);
    size_t       cell;
    bool         first = true;

    for (; step(&at, &cell); first = false) {
        const float *x = image + cell * n;
        for (size_t i = 0; i < n; i++) {
            const bool more = first || x[i] > most[i];
            most[i]         = more ? x[i] : most[i];
            where[i]        = more ? (uint32_t)cell : where[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        dx[where[i] * n + i] += dy[i];
    }
}

static void backward(const pq_net_call *c)
{
    const state *s         = c->op->state;
    const size_t positions = s->w.out_h * s->w.out_w, n = s->w.channels;
    const size_t size  = s->w.in_h * s->w.in_w * n;
    const float *image = pq_net_value(c, c->op->in[0]);
    const float *dy    = pq_net_gradient(c, c->op->out);
    float       *dx;

    if (!c->op->wants[0]) {
        return;
    }
    dx = pq_net_gradient_to_add(c, 0);
    for (size_t i = 0; i < c->rows; i++, image += size, dx += size) {
        for (size_t p = 0; p < positions; p++, dy += n) {
            const walk at = {&s->w, p / s->w.out_w, p % s->w.out_w, 0};
            if (s->mean) {
                spread_mean(c, at, dy, dx);
            } else {
                spread_largest(c, at, image, dy, dx);
            }
        }
    }
}

#define POOL(name, reads_input)                                                          \
    const pq_op_class pq_op_##name = {.kind     = #name,                                 \
                                      .setup    = setup,                                 \
                                      .forward  = forward,                               \
                                      .backward = backward,                              \
                                      .needs_in = reads_input}

POOL(max_pool, true);
POOL(avg_pool, false);
POOL(global_max_pool, true);
POOL(global_avg_pool, false);
