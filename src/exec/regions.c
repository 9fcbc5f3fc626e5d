#include "exec/regions.h"

#include "core/memory.h"

enum {
    MOST_BANDS = 5, /* of an axis: kernels of 5 */
    LEAST_SIDE = 6, /* of the inside: rows that a product is to have at least */
};

/* Outputs of one axis that see the same part [lo, hi) of the kernel. */
typedef struct {
    size_t from, n, lo, hi;
} band;

typedef struct {
    size_t out, stride, pad, kernel, dilation, in;
} axis;

/* Cells of the kernel that lie before position `end` of the image, for output i. */
static size_t cells_before(const axis *a, size_t i, size_t end)
{
    const size_t to = end + a->pad, from = i * a->stride;
    const size_t n = to > from ? (to - from + a->dilation - 1) / a->dilation : 0;

    return n < a->kernel ? n : a->kernel;
}

/* Number of bands, or MOST_BANDS + 1 for more. */
static size_t split(const axis *a, band *bands)
{
    size_t n = 0;

    for (size_t i = 0; i < a->out; i++) {
        const size_t lo = cells_before(a, i, 0), hi = cells_before(a, i, a->in);
        if (n == 0 || bands[n - 1].lo != lo || bands[n - 1].hi != hi) {
            if (n == MOST_BANDS) {
                return MOST_BANDS + 1;
            }
            bands[n++] = (band){i, 0, lo, hi};
        }
        bands[n - 1].n++;
    }
    return n;
}

static size_t longest(const band *bands, size_t n)
{
    size_t most = 0;

    for (size_t i = 0; i < n; i++) {
        most = bands[i].n > most ? bands[i].n : most;
    }
    return most;
}

/* All outputs and all taps. */
static void place_whole(const pq_geometry *g, size_t panel, pq_regions *r)
{
    for (size_t t = 0; t < g->taps; t++) {
        r->segments[t] = (pq_segment){g->tap[t], t * g->length * panel, g->length};
    }
    r->n         = 1;
    r->region[0] = (pq_region){
        .ny = g->lines, .nx = g->rows, .n_segments = g->taps, .segments = r->segments};
}

/* Taps of one region: a run for each row of the kernel, or for each cell. */
static void place_region(const pq_geometry *g, size_t panel, const band *v, const band *h,
                         pq_segment *segments, pq_region *r)
{
    const pq_window *w     = &g->window;
    const bool       apart = g->groups > 1 || w->dilation_w > 1;
    const size_t     line  = w->in_w * w->channels;

    *r = (pq_region){
        .y = v->from, .x = h->from, .ny = v->n, .nx = h->n, .segments = segments};
    if (v->lo >= v->hi || h->lo >= h->hi) {
        return;
    }
    r->at = (v->from * w->stride_h + v->lo * w->dilation_h - w->pad_top) * line +
            (h->from * w->stride_w + h->lo * w->dilation_w - w->pad_left) * w->channels;
    for (size_t y = v->lo; y < v->hi; y++) {
        for (size_t x = h->lo; x < (apart ? h->hi : h->lo + 1); x++) {
            segments[r->n_segments++] =
                (pq_segment){(y - v->lo) * w->dilation_h * line +
                                 (x - h->lo) * w->dilation_w * w->channels,
                             (y * w->kernel_w + x) * g->group_in * panel,
                             apart ? g->group_in : (h->hi - h->lo) * w->channels};
        }
    }
}

pq_status pq_regions_place(const pq_geometry *g, size_t panel, pq_regions *out,
                           pq_err *err)
{
    const pq_window *w = &g->window;
    const axis       y = {w->out_h,    w->stride_h,   w->pad_top,
                          w->kernel_h, w->dilation_h, w->in_h};
    const axis       x = {w->out_w,    w->stride_w,   w->pad_left,
                          w->kernel_w, w->dilation_w, w->in_w};
    band             down[MOST_BANDS], across[MOST_BANDS];
    size_t           n_down = 1, n_across = 1;
    pq_status        st;

    *out = (pq_regions){
        .framed = g->framed, .row_step = g->row_step, .line_step = g->line_step};
    if (g->framed) {
        n_down      = split(&y, down);
        n_across    = split(&x, across);
        out->framed = n_down > MOST_BANDS || n_across > MOST_BANDS ||
                      (longest(down, n_down) < LEAST_SIDE &&
                       longest(across, n_across) < LEAST_SIDE);
    }
    const size_t n = g->framed && !out->framed ? n_down * n_across : 1;
    PQ_NEW(out->region, n);
    PQ_NEW(out->segments, n * g->taps);
    if (out->framed || !g->framed) {
        place_whole(g, panel, out);
        return PQ_OK;
    }
    out->row_step  = w->stride_w * w->channels;
    out->line_step = w->stride_h * w->in_w * w->channels;
    for (; out->n < n; out->n++) {
        place_region(g, panel, &down[out->n / n_across], &across[out->n % n_across],
                     out->segments + out->n * g->taps, &out->region[out->n]);
    }
cleanup:
    return st;
}

void pq_regions_free(pq_regions *r)
{
    pq_free(r->region);
    pq_free(r->segments);
    *r = (pq_regions){0};
}
