#include "exec/words.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "exec/geometry.h"
#include "exec/integer_ops.h"
#include "exec/quantize.h"

enum { CHUNK = 48 /**< rows of a flat operation that are computed together */ };

/* One panel of weights and what belongs to it. */
typedef struct {
    pq_words_kernel kernel;
    pq_words_panel  call;    /* all but in, sum and rows */
    size_t          in_at;   /* first input channel of its group */
    size_t          channel; /* first output channel */
    size_t          n;       /* channels that are stored */
} panel;

typedef struct {
    pq_op             op;
    const pq_kernels *kernels;
    pq_geometry       at;
    pq_words_form     form;
    pq_int_out        out; /* of codes */
    size_t            in_count;
    int32_t           in_zero; /* word = value - in_zero */
    bool              relu;    /* of floats */
    bool              clips; /* the output's codes round half to even and clip: `codes` */
    pq_words_scale    scale;
    size_t            n_panels, widest, frame; /* frame: words */
    panel            *panels;
    int16_t          *weight;
    int32_t          *bias;
    double           *multiplier; /* [outputs] */
    double           *factor;     /* [outputs] multiplier over the output's scale */
    float            *near;       /* [outputs] the same */
} words_op;

bool pq_words_fit(const pq_units *units)
{
    return units->most_weight <= INT16_MAX && units->most_input <= INT16_MAX &&
           units->bound <= INT32_MAX;
}

/* n neighbours of the input as words. */
static void take(const words_op *w, const void *in, size_t first, size_t n, int16_t *to)
{
    if (w->form == PQ_WORDS_CODES) {
        const int32_t *codes = (const int32_t *)in + first;
        for (size_t i = 0; i < n; i++) {
            to[i] = (int16_t)(codes[i] - w->in_zero);
        }
        return;
    }
    const uint8_t *bytes = (const uint8_t *)in + first;
    for (size_t i = 0; i < n; i++) {
        to[i] = (int16_t)(bytes[i] - w->in_zero);
    }
}

/* Lines of one image, in the middle of zeros, and the word behind them. */
static void take_lines(const words_op *w, pq_range lines, const void *in, size_t first,
                       int16_t *frame)
{
    const pq_geometry       *g    = &w->at;
    const pq_window         *v    = &g->window;
    const pq_geometry_inside p    = pq_geometry_place_image(g);
    const size_t             line = g->frame_w * g->channels;

    memset(frame + lines.first * line, 0,
           ((lines.end - lines.first) * line + 1) * sizeof *frame);
    for (size_t y = lines.first; y < lines.end; y++) {
        const size_t from = first + (y - p.above) * v->in_w * v->channels;
        int16_t     *to   = frame + y * line + p.left * g->channels;
        if (y < p.above || y >= p.above + p.lines) {
            continue;
        }
        if (g->channels == v->channels) {
            take(w, in, from, p.columns * v->channels, to);
            continue;
        }
        for (size_t x = 0; x < p.columns; x++) {
            take(w, in, from + x * v->channels, v->channels, to + x * g->channels);
        }
    }
}

/* `rows` rows of a panel's sums to the output, the first at item `to`. */
static void give(const words_op *w, const panel *p, size_t rows, const int32_t *sum,
                 size_t to, void *out)
{
    const double  *m = w->multiplier + p->channel;
    pq_words_scale s = w->scale;

    if (w->clips) {
        s.rows       = rows;
        s.n          = p->n;
        s.width      = p->call.width;
        s.pitch      = w->at.outputs;
        s.multiplier = m;
        s.factor     = w->factor + p->channel;
        s.near       = w->near + p->channel;
        s.sum        = sum;
        if (w->form == PQ_WORDS_CODES) {
            w->kernels->codes(&s, (int32_t *)out + to);
        } else {
            w->kernels->byte_codes(&s, (uint8_t *)out + to);
        }
        return;
    }
    for (size_t r = 0; r < rows; r++, sum += p->call.width, to += w->at.outputs) {
        for (size_t c = 0; c < p->n; c++) {
            const double v = (double)sum[c] * m[c];
            if (w->form == PQ_WORDS_CODES) {
                pq_int_store(&w->out, to + c, v, out);
            } else {
                ((float *)out)[to + c] = (float)(w->relu && v < 0.0 ? 0.0 : v);
            }
        }
    }
}

/* Rows of one line; the first gives items from `to` on. */
static void run_rows(const words_op *w, const int16_t *in, size_t rows, size_t to,
                     void *out, int32_t *sum)
{
    for (size_t first = 0; first < rows; first += CHUNK) {
        const size_t n = rows - first < CHUNK ? rows - first : CHUNK;
        for (size_t i = 0; i < w->n_panels; i++) {
            const panel   *p    = &w->panels[i];
            pq_words_panel call = p->call;

            call.rows = n;
            call.in   = in + first * w->at.row_step + p->in_at;
            call.sum  = sum;
            p->kernel(&call);
            give(w, p, n, sum, to + first * w->at.outputs + p->channel, out);
        }
    }
}

static void run_part(const pq_op *op, pq_part part, size_t n, const void *const *in,
                     void *out, void *scratch)
{
    const words_op    *w     = (const words_op *)op;
    const pq_geometry *g     = &w->at;
    const pq_range     mine  = pq_part_of(part, g->flat ? n * g->rows : g->lines);
    int32_t           *sum   = scratch;
    int16_t           *frame = (int16_t *)(sum + CHUNK * w->widest);

    if (mine.first == mine.end) {
        return;
    }
    for (size_t r = mine.first; g->flat && r < mine.end; r += CHUNK) {
        const size_t rows = mine.end - r < CHUNK ? mine.end - r : CHUNK;
        take(w, in[0], r * g->row_step, rows * g->row_step, frame);
        frame[rows * g->row_step] = 0;
        run_rows(w, frame, rows, r * g->outputs, out, sum);
    }
    for (size_t s = 0; !g->flat && s < n; s++) {
        take_lines(w, pq_geometry_read(g, mine), in[0], s * w->in_count, frame);
        for (size_t y = mine.first; y < mine.end; y++) {
            run_rows(w, frame + y * g->line_step, g->rows,
                     (s * g->lines + y) * g->rows * g->outputs, out, sum);
        }
    }
}

static void run(const pq_op *op, size_t n, const void *const *in, void *out,
                void *scratch)
{
    run_part(op, PQ_WHOLE, n, in, out, scratch);
}

static void release(pq_op *op)
{
    words_op *w = (words_op *)op;

    pq_geometry_free(&w->at);
    pq_free(w->panels);
    pq_free(w->weight);
    pq_free(w->bias);
    pq_free(w->multiplier);
    pq_free(w->factor);
    pq_free(w->near);
    pq_free(w);
}

/* Words of one tap in a panel: an odd tap has one more, 0. */
static size_t tap_words(const pq_geometry *g)
{
    return g->depthwise ? 1 : (g->length + 1) / 2 * 2;
}

static void fill_panel(const words_op *w, const pq_units *u, const panel *p,
                       int16_t *weight, int32_t *bias)
{
    const pq_geometry *g    = &w->at;
    const size_t       pair = g->depthwise ? 1 : 2, words = tap_words(g);

    for (size_t c = 0; c < p->n; c++) {
        const size_t o = p->channel + c;
        for (size_t k = 0; k < g->sum; k++) {
            const size_t i = k / g->length * words + k % g->length;
            weight[(i / pair * p->call.width + c) * pair + i % pair] =
                (int16_t)u->weight[o * g->sum + k];
        }
        bias[c] = (int32_t)u->bias[o];
    }
}

static pq_status pack(words_op *w, const pq_units *u, pq_err *err)
{
    const pq_geometry *g     = &w->at;
    const size_t       words = g->taps * tap_words(g), lanes = w->kernels->lanes;
    size_t             n = 0, widths = 0, at = 0;
    pq_status          st;

    for (size_t c = 0; c < g->outputs; c += n) {
        widths += pq_geometry_panel(g, lanes, c, &n);
        w->n_panels++;
    }
    PQ_NEW(w->panels, w->n_panels);
    PQ_NEW(w->weight, widths * words);
    PQ_NEW(w->bias, widths);
    w->op.weight_bytes = widths * (words * sizeof *w->weight + sizeof *w->bias);
    for (size_t c = 0, i = 0; c < g->outputs; c += n, i++) {
        panel       *p     = &w->panels[i];
        const size_t width = pq_geometry_panel(g, lanes, c, &n);
        p->kernel          = g->depthwise     ? w->kernels->words_depthwise
                             : width == lanes ? w->kernels->words_narrow
                                              : w->kernels->words_wide;
        p->in_at           = g->depthwise ? 0 : c / g->group_out * g->group_in;
        p->channel         = c;
        p->n               = n;
        p->call            = (pq_words_panel){.taps     = g->taps,
                                              .length   = g->length,
                                              .in_pitch = g->row_step,
                                              .tap      = g->tap,
                                              .weight   = w->weight + at * words,
                                              .bias     = w->bias + at,
                                              .width    = width};
        fill_panel(w, u, p, w->weight + at * words, w->bias + at);
        w->widest = width > w->widest ? width : w->widest;
        at += width;
    }
cleanup:
    return st;
}

/* How sums become values of the output. */
static void set_output(const pq_step *step, const pq_quant *to, words_op *w)
{
    const bool relu = step->activation != PQ_NO_NODE;

    w->out  = pq_int_out_of(step);
    w->relu = relu;
    if (to == NULL || !pq_quant_clips(to) || to->rounding != PQ_ROUND_RND_CONV) {
        return;
    }
    w->clips = true;
    w->scale = (pq_words_scale){.scale = (double)to->scale[0],
                                .zero  = (double)to->zero_point[0],
                                .lo    = (double)pq_quant_least(to, 0),
                                .hi    = (double)pq_quant_most(to, 0),
                                .doubt = pq_words_doubt((double)to->scale[0])};
    if (w->form == PQ_WORDS_BYTES) { /* a byte is the code minus the lowest */
        w->scale.zero -= w->scale.lo;
        w->scale.hi -= w->scale.lo;
        w->scale.lo = relu ? w->scale.zero : 0.0;
    }
}

pq_status pq_words_prepare(const pq_step *step, const pq_units *units,
                           const pq_kernels *kernels, pq_words_form form,
                           const pq_quant *from, const pq_quant *to, pq_op **out,
                           pq_err *err)
{
    static const char *const names[PQ_ISA_COUNT] = {
        "int16 words:portable" PQ_KERNEL_EMULATED, "int16 words:avx2" PQ_KERNEL_EMULATED,
        "int16 words:avx512" PQ_KERNEL_EMULATED};
    words_op *w = NULL;
    size_t    sums;
    pq_status st;

    PQ_NEW(w, 1);
    w->op.run     = run;
    w->op.release = release;
    w->op.kernel  = names[kernels->isa];
    w->kernels    = kernels;
    w->form       = form;
    w->in_count   = pq_node_count(step->graph, step->in[0]);
    w->in_zero =
        from->zero_point[0] - (form == PQ_WORDS_BYTES ? pq_quant_least(from, 0) : 0);
    PQ_TRY(pq_geometry_place(step, step->graph->nodes[step->node].layer, kernels->lanes,
                             0, &w->at, err));
    set_output(step, to, w);
    PQ_NEW(w->multiplier, units->outputs);
    PQ_NEW(w->factor, units->outputs);
    PQ_NEW(w->near, units->outputs);
    for (size_t o = 0; o < units->outputs; o++) {
        w->multiplier[o] = units->multiplier[o];
        w->factor[o] = units->multiplier[o] / (to != NULL ? (double)to->scale[0] : 1.0);
        w->near[o]   = (float)w->factor[o];
    }
    PQ_TRY(pack(w, units, err));
    w->op.run_part = run_part;
    w->op.products = pq_geometry_products(&w->at);
    w->frame       = (w->at.flat ? CHUNK * w->at.row_step : w->at.frame_count) + 1;
    PQ_CHECK(!__builtin_mul_overflow(CHUNK, w->widest * sizeof(int32_t), &sums) &&
                 !__builtin_add_overflow(sums, w->frame * sizeof(int16_t),
                                         &w->op.scratch_bytes),
             PQ_ERR_RANGE, "the values of the layer do not fit into memory");
    *out = &w->op;
    w    = NULL;
cleanup:
    if (w != NULL) {
        release(&w->op);
    }
    return st;
}
