/* Pools in float32. */
#include <string.h>

#include "layers/pool.h"

enum { MOST_CHANNELS = 128 /* whose places are kept at a time */ };

pq_pool_float pq_pool_window32(const pq_float_call *call, bool mean)
{
    pq_pool_float p = {.mean = mean};

    (void)pq_pool_window(call->layer, &call->in_shape[0], &p.w, NULL);
    p.count_padding = ((const pq_pool_params *)call->layer->params)->count_padding;
    return p;
}

pq_pool_float pq_pool_whole32(const pq_float_call *call, bool mean)
{
    return (pq_pool_float){.mean = mean, .w = pq_pool_whole(&call->in_shape[0])};
}

/* The cells of an image under one position, padding left out. */
typedef struct {
    size_t top, bottom, left, right;
} under;

static void overlap(size_t start, size_t kernel, size_t pad, size_t in, size_t *first,
                    size_t *end)
{
    *first = start > pad ? start - pad : 0;
    *end   = start + kernel - pad < in ? start + kernel - pad : in;
}

static under locate(const pq_window *w, size_t position)
{
    under u;

    overlap(position / w->out_w * w->stride_h, w->kernel_h, w->pad_top, w->in_h, &u.top,
            &u.bottom);
    overlap(position % w->out_w * w->stride_w, w->kernel_w, w->pad_left, w->in_w, &u.left,
            &u.right);
    return u;
}

static float cells_of(const pq_pool_float *p, const under *u)
{
    return (float)(p->count_padding ? p->w.kernel_h * p->w.kernel_w
                                    : (u->bottom - u->top) * (u->right - u->left));
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
        out[c] = ((x[c] > out[c]) | (x[c] != x[c])) ? x[c] : out[c]; /* a NaN stays */
    }
}

static void pool_position(const pq_pool_float *p, const float *image, size_t position,
                          float *out)
{
    const pq_window *w = &p->w;
    const size_t     n = w->channels;
    const under      u = locate(w, position);

    memcpy(out, image + (u.top * w->in_w + u.left) * n, n * sizeof *out);
    for (size_t y = u.top; y < u.bottom; y++) {
        for (size_t x = y == u.top ? u.left + 1 : u.left; x < u.right; x++) {
            take(p->mean, n, image + (y * w->in_w + x) * n, out);
        }
    }
    if (p->mean) {
        const float cells = cells_of(p, &u);
        for (size_t c = 0; c < n; c++) {
            out[c] /= cells;
        }
    }
}

void pq_pool_forward32(const pq_float_call *call, const pq_pool_float *p)
{
    const pq_window *w     = &p->w;
    const float     *image = call->in[0];
    float           *out   = call->out;

    for (size_t s = 0; s < call->batch; s++, image += w->in_h * w->in_w * w->channels) {
        for (size_t k = 0; k < w->out_h * w->out_w; k++, out += w->channels) {
            pool_position(p, image, k, out);
        }
    }
}

/* To all cells alike. */
static void spread_mean(const pq_pool_float *p, const under *u, const float *dy,
                        float *dx)
{
    const size_t n    = p->w.channels;
    const float  part = 1.0f / cells_of(p, u);

    for (size_t y = u->top; y < u->bottom; y++) {
        for (size_t x = u->left; x < u->right; x++) {
            float *to = dx + (y * p->w.in_w + x) * n;
            for (size_t c = 0; c < n; c++) {
                to[c] += dy[c] * part;
            }
        }
    }
}

/* To the first of the largest cells, for channels first .. first + n - 1. */
static void spread_largest(const pq_window *w, const under *u, size_t first, size_t n,
                           const float *image, const float *dy, float *dx)
{
    float  most[MOST_CHANNELS];
    size_t where[MOST_CHANNELS];

    for (size_t y = u->top; y < u->bottom; y++) {
        for (size_t x = u->left; x < u->right; x++) {
            const size_t at    = (y * w->in_w + x) * w->channels + first;
            const bool   start = y == u->top && x == u->left;
            for (size_t c = 0; c < n; c++) {
                const bool more = start || image[at + c] > most[c];
                most[c]         = more ? image[at + c] : most[c];
                where[c]        = more ? at + c : where[c];
            }
        }
    }
    for (size_t c = 0; c < n; c++) {
        dx[where[c]] += dy[first + c];
    }
}

void pq_pool_backward32(const pq_float_call *call, const pq_pool_float *p)
{
    const pq_window *w     = &p->w;
    const size_t     size  = w->in_h * w->in_w * w->channels;
    const float     *image = call->in[0], *dy = call->grad_out;
    float           *dx = call->grad_in[0];

    for (size_t s = 0; dx != NULL && s < call->batch; s++, image += size, dx += size) {
        for (size_t k = 0; k < w->out_h * w->out_w; k++, dy += w->channels) {
            const under u = locate(w, k);
            if (p->mean) {
                spread_mean(p, &u, dy, dx);
                continue;
            }
            for (size_t c = 0; c < w->channels; c += MOST_CHANNELS) {
                const size_t left = w->channels - c;
                spread_largest(w, &u, c, left < MOST_CHANNELS ? left : MOST_CHANNELS,
                               image, dy, dx);
            }
        }
    }
}
