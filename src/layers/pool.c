#include "layers/pool.h"

pq_status pq_pool_window(const pq_layer *layer, const pq_shape *in, pq_window *out,
                         pq_err *err)
{
    const pq_pool_params *p = layer->params;

    *out = (pq_window){.kernel_h   = (size_t)p->kernel_h,
                       .kernel_w   = (size_t)p->kernel_w,
                       .dilation_h = 1,
                       .dilation_w = 1};
    return pq_window_place(&p->window, in, out, err);
}

pq_window pq_pool_whole(const pq_shape *in)
{
    const size_t channels = in->dim[in->ndim - 1], cells = pq_items(in) / channels;

    return (pq_window){.kernel_h   = 1,
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
}

pq_status pq_pool_shape(const pq_layer *layer, size_t n_in, const pq_shape *in,
                        pq_shape *out, pq_err *err)
{
    const pq_pool_params   *p   = layer->params;
    const pq_window_params *pad = &p->window;
    pq_window               w;
    pq_status               st;

    (void)n_in;
    PQ_TRY(pq_pool_window(layer, in, &w, err));
    PQ_CHECK(pad->padding != PQ_PADDING_EXPLICIT ||
                 (pad->pad_top < p->kernel_h && pad->pad_bottom < p->kernel_h &&
                  pad->pad_left < p->kernel_w && pad->pad_right < p->kernel_w),
             PQ_ERR_SHAPE,
             "padding [%lld, %lld, %lld, %lld] is not less than the window %zux%zu",
             (long long)pad->pad_top, (long long)pad->pad_bottom,
             (long long)pad->pad_left, (long long)pad->pad_right, w.kernel_h, w.kernel_w);
    *out = PQ_SHAPE(w.out_h, w.out_w, w.channels);
cleanup:
    return st;
}

/* First input index and number of them under `kernel` cells from `start` (before
 * subtracting the padding). */
static void overlap(size_t start, size_t kernel, size_t pad, size_t in, size_t *first,
                    size_t *n)
{
    const size_t end = start + kernel - pad;

    *first = start > pad ? start - pad : 0;
    *n     = (end < in ? end : in) - *first;
}

void pq_pool_locate(const pq_layer_call *call, size_t i, pq_pool_at *at)
{
    const size_t channel = i % at->w.channels, position = i / at->w.channels;
    const size_t column = position % at->w.out_w,
                 row    = position / at->w.out_w % at->w.out_h;
    const size_t sample = position / at->w.out_w / at->w.out_h;

    overlap(row * at->w.stride_h, at->w.kernel_h, at->w.pad_top, at->w.in_h, &at->row,
            &at->rows);
    overlap(column * at->w.stride_w, at->w.kernel_w, at->w.pad_left, at->w.in_w,
            &at->column, &at->columns);
    at->base = sample * pq_items(&call->in_shape[0]) + channel;
}
