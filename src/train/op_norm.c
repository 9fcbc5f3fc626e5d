/*
 * Batch normalisation with the statistics of the whole batch, all chunks
 * together, and moving averages for inference.
 *
 * Source: Ioffe & Szegedy, arXiv:1502.03167.
 */
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "layers/kinds.h"
#include "train/net.h"

enum {
    BLOCK_ROWS = 1024, /* rows summed in float before they go into doubles */
    LOOKED_AT  = 64    /* rows of a chunk whose mean its moments are taken about */
};

typedef struct {
    size_t channels, per_event; /* rows of one event */
    double epsilon;
    size_t mean, variance, gamma, beta; /* offsets, SIZE_MAX = none */
    /* [chunks][2][channels] of the forward and the backward pass: a chunk may start
       backward while another still reads the sums of forward. */
    double *forward_sums, *backward_sums;
    /* [chunks][channels] near the mean of the chunk: its moments are taken about that,
       as those about 0 cancel where the mean is far from it. */
    float *shift;
    /* [chunks][channels] of this batch. Each chunk keeps its own, since it may be back
       here before another one has come by. */
    float *now_mean, *now_inverse;
} state;

static void free_state(void *s)
{
    pq_free(((state *)s)->forward_sums);
    pq_free(((state *)s)->shift);
}

static size_t offset_of(const pq_op *op, const char *name)
{
    const size_t i = pq_layer_weight_index(op->layer, name);

    return i == SIZE_MAX ? SIZE_MAX : op->weight[i];
}

static pq_status setup(pq_net *net, pq_op *op, pq_err *err)
{
    state    *s = pq_calloc(1, sizeof *s);
    pq_status st;

    PQ_CHECK(s != NULL, PQ_ERR_NOMEM, "cannot allocate the state of a layer");
    op->state         = s;
    op->free_state    = free_state;
    s->channels       = pq_layer_weight(op->layer, "mean")->value->count;
    s->per_event      = net->values[op->out].count / s->channels;
    s->epsilon        = ((const pq_batch_norm_params *)op->layer->params)->epsilon;
    s->mean           = offset_of(op, "mean");
    s->variance       = offset_of(op, "variance");
    s->gamma          = offset_of(op, "gamma");
    s->beta           = offset_of(op, "beta");
    s->forward_sums   = pq_calloc(net->chunks * 4 * s->channels, sizeof(double));
    s->shift          = pq_calloc(3 * net->chunks * s->channels, sizeof(float));
    op->scratch_bytes = 4 * s->channels * sizeof(float);
    PQ_CHECK(s->forward_sums != NULL && s->shift != NULL, PQ_ERR_NOMEM,
             "layer '%s': cannot allocate its statistics", op->name);
    s->backward_sums = s->forward_sums + net->chunks * 2 * s->channels;
    s->now_mean      = s->shift + net->chunks * s->channels;
    s->now_inverse   = s->now_mean + net->chunks * s->channels;
cleanup:
    return st;
}

typedef void (*row_sums)(const pq_net_call *c, size_t first, size_t rows, float *s1,
                         float *s2);

/* Both sums of this chunk: float within blocks of rows, double over blocks. */
static void sum_blocks(const pq_net_call *c, row_sums sum, double *all)
{
    const state *s    = c->op->state;
    const size_t rows = c->rows * s->per_event;
    float       *part = c->scratch;
    double      *sums = all + c->chunk * 2 * s->channels;

    memset(sums, 0, 2 * s->channels * sizeof *sums);
    for (size_t first = 0; first < rows; first += BLOCK_ROWS) {
        const size_t n = rows - first < BLOCK_ROWS ? rows - first : BLOCK_ROWS;
        memset(part, 0, 2 * s->channels * sizeof *part);
        sum(c, first, n, part, part + s->channels);
        for (size_t j = 0; j < 2 * s->channels; j++) {
            sums[j] += (double)part[j];
        }
    }
}

/* Mean over the batch of sum k (0 or 1), chunks in order. */
static double batch_mean(const pq_net_call *c, const double *all, size_t k,
                         size_t channel)
{
    const state *s   = c->op->state;
    double       sum = 0.0;

    for (size_t i = 0; i < c->chunks; i++) {
        sum += all[(2 * i + k) * s->channels + channel];
    }
    return sum / ((double)c->batch * (double)s->per_event);
}

/* This chunk's copy of a statistic of the batch. */
static float *own(const pq_net_call *c, float *of_chunks)
{
    return of_chunks + c->chunk * ((const state *)c->op->state)->channels;
}

/* Mean of rows spread over the chunk. */
static void find_shift(const pq_net_call *c)
{
    const state *s    = c->op->state;
    const size_t rows = c->rows * s->per_event;
    const size_t n    = rows < LOOKED_AT ? rows : LOOKED_AT;
    const float *x    = pq_net_value(c, c->op->in[0]);
    float       *mean = own(c, s->shift);

    memset(mean, 0, s->channels * sizeof *mean);
    for (size_t i = 0; i < n; i++) {
        const float *row = x + i * rows / n * s->channels;
        for (size_t j = 0; j < s->channels; j++) {
            mean[j] += row[j] / (float)n;
        }
    }
}

static void forward_rows(const pq_net_call *c, size_t first, size_t rows, float *s1,
                         float *s2)
{
    const state *s = c->op->state;

    c->net->kernels->moments(rows, s->channels,
                             pq_net_value(c, c->op->in[0]) + first * s->channels,
                             own(c, s->shift), s1, s2);
}

static void forward_sums(const pq_net_call *c)
{
    find_shift(c);
    sum_blocks(c, forward_rows, ((const state *)c->op->state)->forward_sums);
}

/* Moving averages; the variance with Bessel's correction. */
static void remember(const pq_net_call *c, size_t j, double mean, double variance)
{
    const state *s     = c->op->state;
    const double n     = (double)c->batch * (double)s->per_event;
    const double keep  = 1.0 - c->net->norm_momentum;
    const double fair  = n > 1.0 ? variance * n / (n - 1.0) : variance;
    float       *means = c->net->flat + s->mean, *vars = c->net->flat + s->variance;

    means[j] = (float)(keep * (double)means[j] + c->net->norm_momentum * mean);
    vars[j]  = (float)(keep * (double)vars[j] + c->net->norm_momentum * fair);
}

static float weight_at(const pq_net_call *c, size_t offset, size_t j, float otherwise)
{
    return offset == SIZE_MAX ? otherwise : c->net->used[offset + j];
}

/* Whether a pass goes by the statistics of the batch, not by the running ones: those of
   one value have no variance. So a last batch of one event is trained on, but left out
   of the running statistics. */
static bool by_batch(const pq_net_call *c)
{
    const state *s = c->op->state;

    return c->training && !c->op->frozen && !c->net->norms_fixed &&
           c->batch * s->per_event > 1;
}

/*
 * Mean and variance over all chunks: of chunk c with n_c values about its shift k_c,
 * s1 = sum (x - k_c), s2 = sum (x - k_c)^2, m_c = k_c + s1 / n_c,
 * n var = sum_c s2 - s1^2 / n_c + n_c (m_c - mean)^2.
 * Source: Chan, Golub & LeVeque, Am. Stat. 37 (1983), doi:10.1080/00031305.1983.10483115.
 */
static void find_moments(const pq_net_call *c, size_t j, double *mean, double *variance)
{
    const state *s   = c->op->state;
    double       all = 0.0, middle = 0.0, sum = 0.0;

    for (size_t i = 0; i < c->chunks; i++) {
        const size_t left = c->batch - i * c->net->chunk;
        const double n =
            (double)(left < c->net->chunk ? left : c->net->chunk) * (double)s->per_event;
        const double s1      = s->forward_sums[2 * i * s->channels + j];
        const double s2      = s->forward_sums[(2 * i + 1) * s->channels + j];
        const double m       = (double)s->shift[i * s->channels + j] + s1 / n;
        const double d       = m - middle;
        const double own_sum = s2 - s1 * s1 / n;
        sum += (own_sum < 0.0 ? 0.0 : own_sum) + d * d * all * n / (all + n);
        middle += d * n / (all + n);
        all += n;
    }
    *mean     = middle;
    *variance = sum / all;
}

/* y = a x + b for each channel; a and b go to the scratch memory. */
static void find_line(const pq_net_call *c, float *a, float *b)
{
    const state *s          = c->op->state;
    const bool   from_batch = by_batch(c);

    for (size_t j = 0; j < s->channels; j++) {
        double mean, variance;
        if (from_batch) {
            find_moments(c, j, &mean, &variance);
        } else {
            mean     = (double)c->net->used[s->mean + j];
            variance = (double)c->net->used[s->variance + j];
        }
        if (c->training) {
            own(c, s->now_mean)[j]    = (float)mean;
            own(c, s->now_inverse)[j] = (float)(1.0 / sqrt(variance + s->epsilon));
        }
        if (from_batch && c->chunk == 0) { /* one chunk does it for all */
            remember(c, j, mean, variance);
        }
        const double slope =
            (double)weight_at(c, s->gamma, j, 1.0F) / sqrt(variance + s->epsilon);
        a[j] = (float)slope;
        b[j] = (float)((double)weight_at(c, s->beta, j, 0.0F) - mean * slope);
    }
}

static void forward(const pq_net_call *c)
{
    const state *s = c->op->state;
    float       *a = c->scratch, *b = a + s->channels;

    find_line(c, a, b);
    c->net->kernels->scale_shift(c->rows * s->per_event, s->channels,
                                 pq_net_value(c, c->op->in[0]), a, b, c->op->relu,
                                 pq_net_value(c, c->op->out));
}

static void backward_rows(const pq_net_call *c, size_t first, size_t rows, float *s1,
                          float *s2)
{
    const state *s  = c->op->state;
    const size_t at = first * s->channels;

    c->net->kernels->grad_moments(rows, s->channels, pq_net_value(c, c->op->in[0]) + at,
                                  c->op->relu ? pq_net_value(c, c->op->out) + at : NULL,
                                  pq_net_gradient(c, c->op->out) + at,
                                  own(c, s->now_mean), s1, s2);
}

static void mask_relu(const pq_net_call *c)
{
    if (c->op->relu) {
        c->net->kernels->relu_grad(c->rows * c->net->values[c->op->out].count,
                                   pq_net_value(c, c->op->out),
                                   pq_net_gradient(c, c->op->out));
    }
}

static void backward_sums(const pq_net_call *c)
{
    const state  *s       = c->op->state;
    const double *sums    = s->backward_sums + c->chunk * 2 * s->channels;
    const float  *inverse = own(c, s->now_inverse);

    sum_blocks(c, backward_rows, s->backward_sums);
    for (size_t j = 0; j < s->channels; j++) {
        if (s->beta != SIZE_MAX) {
            c->gradients[s->beta + j] = (float)sums[j];
        }
        if (s->gamma != SIZE_MAX) {
            c->gradients[s->gamma + j] =
                (float)(sums[s->channels + j] * (double)inverse[j]);
        }
    }
}

/* dx = a dy + b x + c; by running statistics the line stays, so b = c = 0. */
static void find_gradient_line(const pq_net_call *call, float *a, float *b, float *c)
{
    const state *s        = call->op->state;
    const float *now_mean = own(call, s->now_mean);
    const float *inverses = own(call, s->now_inverse);

    for (size_t j = 0; j < s->channels; j++) {
        const float  gamma   = weight_at(call, s->gamma, j, 1.0F);
        const double inverse = (double)inverses[j];
        const double slope   = (double)gamma * inverse;
        const double mean    = batch_mean(call, s->backward_sums, 0, j);
        const double pull =
            slope * inverse * inverse * batch_mean(call, s->backward_sums, 1, j);
        a[j] = (float)slope;
        b[j] = (float)-pull;
        c[j] = (float)(pull * (double)now_mean[j] - slope * mean);
    }
}

static void backward(const pq_net_call *c)
{
    const state *s = c->op->state;
    float       *a = c->scratch, *b = a + s->channels, *k = b + s->channels;

    if (!by_batch(c)) {
        mask_relu(c);
        find_line(c, a, b);
        memset(b, 0, 2 * s->channels * sizeof *b);
    } else {
        find_gradient_line(c, a, b, k);
    }
    if (c->op->wants[0]) {
        c->net->kernels->norm_grad(
            c->rows * s->per_event, s->channels, pq_net_value(c, c->op->in[0]),
            pq_net_gradient(c, c->op->out), (const float *const[3]){a, b, k},
            c->op->accumulate[0], pq_net_gradient(c, c->op->in[0]));
    }
}

const pq_op_class pq_op_batch_norm = {.kernel        = "float32:sums and lines",
                                      .setup         = setup,
                                      .forward_sums  = forward_sums,
                                      .forward       = forward,
                                      .backward_sums = backward_sums,
                                      .backward      = backward,
                                      .needs_in      = true,
                                      .takes_relu    = true};
