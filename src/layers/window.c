#include "layers/window.h"

#include "layers/common.h"

const char *const pq_padding_names[] = {"same", "valid", "explicit", NULL};

/* One axis: positions of the window and padding before the input. */
typedef struct {
    size_t in, extent, stride, before, after;
} axis;

static void pad_same(axis *a)
{
    const size_t out = (a->in + a->stride - 1) / a->stride;
    const size_t end = (out - 1) * a->stride + a->extent;

    a->before = end > a->in ? (end - a->in) / 2 : 0;
    a->after  = end > a->in ? end - a->in - a->before : 0;
}

static bool fits(const axis *a)
{
    return a->in + a->before + a->after >= a->extent;
}

static size_t positions(const axis *a)
{
    return (a->in + a->before + a->after - a->extent) / a->stride + 1;
}

pq_status pq_window_place(const pq_window_params *p, const pq_shape *in, pq_window *w,
                          pq_err *err)
{
    axis      h, v;
    char      text[128];
    pq_status st;

    PQ_TRY(pq_image_check(in, err));
    w->in_h     = in->dim[0];
    w->in_w     = in->dim[1];
    w->channels = in->dim[2];
    w->stride_h = p->stride_h == PQ_UNSET ? w->kernel_h : (size_t)p->stride_h;
    w->stride_w = p->stride_w == PQ_UNSET ? w->kernel_w : (size_t)p->stride_w;
    v = (axis){w->in_h, (w->kernel_h - 1) * w->dilation_h + 1, w->stride_h, 0, 0};
    h = (axis){w->in_w, (w->kernel_w - 1) * w->dilation_w + 1, w->stride_w, 0, 0};
    if (p->padding == PQ_PADDING_SAME) {
        pad_same(&v);
        pad_same(&h);
    } else if (p->padding == PQ_PADDING_EXPLICIT) {
        v.before = (size_t)p->pad_top;
        v.after  = (size_t)p->pad_bottom;
        h.before = (size_t)p->pad_left;
        h.after  = (size_t)p->pad_right;
    }
    PQ_CHECK(fits(&v) && fits(&h), PQ_ERR_SHAPE,
             "a window of %zux%zu does not fit the input %s padded to %zux%zu", v.extent,
             h.extent, pq_shape_text(in, text, sizeof text), v.in + v.before + v.after,
             h.in + h.before + h.after);
    w->pad_top  = v.before;
    w->pad_left = h.before;
    w->out_h    = positions(&v);
    w->out_w    = positions(&h);
cleanup:
    return st;
}

void pq_window_patch(const pq_window *w, const float *image, size_t position,
                     size_t first, size_t count, float *patch)
{
    for (size_t a = 0; a < w->kernel_h; a++) {
        for (size_t b = 0; b < w->kernel_w; b++, patch += count) {
            size_t     y = 0, x = 0;
            const bool inside = pq_window_row(w, position / w->out_w, a, &y) &&
                                pq_window_column(w, position % w->out_w, b, &x);
            for (size_t c = 0; c < count; c++) {
                patch[c] =
                    inside ? image[(y * w->in_w + x) * w->channels + first + c] : 0.0f;
            }
        }
    }
}
