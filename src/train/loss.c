#include "train/loss.h"

#include <math.h>
#include <string.h>

enum { ROWS = 64 /* of one block */ };

pq_status pq_loss_check(const pq_loss *l, pq_err *err)
{
    pq_status st;

    PQ_CHECK(l->width >= 1 && l->width <= PQ_CLASSES_MAX, PQ_ERR_UNSUPPORTED,
             "the graph has %zu outputs, a classifier has 1 to %d", l->width,
             (int)PQ_CLASSES_MAX);
    PQ_CHECK(
        l->width >= 2 || l->link == PQ_LINK_SIGMOID, PQ_ERR_UNSUPPORTED,
        "a graph with one output must be a sigmoid or a logit to be trained (head binary "
        "or logits)");
    PQ_CHECK(l->focal_gamma == 0.0F || (!l->squared && l->link != PQ_LINK_SIGMOID),
             PQ_ERR_CONFIG, "focal_gamma needs cross-entropy over a softmax");
cleanup:
    return st;
}

int32_t pq_loss_decision(const pq_loss *l, const float *logits)
{
    size_t best = 0;

    if (l->width == 1) {
        return logits[0] > 0.0F ? 1 : 0;
    }
    for (size_t j = 1; j < l->width; j++) {
        best = logits[j] > logits[best] ? j : best;
    }
    return (int32_t)best;
}

/* p = (z - top) / t, whose exponentials are to be taken; returns the top of z. A NaN
   makes one of their sum, top or not. */
static float below_top(const float *z, size_t n, float t, float *p)
{
    float top = z[0];

    for (size_t j = 1; j < n; j++) {
        top = z[j] > top ? z[j] : top;
    }
    for (size_t j = 0; j < n; j++) {
        p[j] = (z[j] - top) / t;
    }
    return top;
}

/* Divides by the sum; returns its logarithm. */
static float normalize(size_t n, float *p)
{
    float sum = 0.0F;

    for (size_t j = 0; j < n; j++) {
        sum += p[j];
    }
    for (size_t j = 0; j < n; j++) {
        p[j] /= sum;
    }
    return logf(sum);
}

/* p = softmax(z / t); returns log sum exp(z / t). */
static float softmax(const pq_kernels *kernels, const float *z, size_t n, float t,
                     float *p)
{
    const float top = below_top(z, n, t, p);

    kernels->exponentials(n, p);
    return top / t + normalize(n, p);
}

static float target(const pq_loss *l, int32_t label, size_t j)
{
    const float hit = l->width == 1 ? (float)label : (size_t)label == j ? 1.0F : 0.0F;
    const float n   = l->width == 1 ? 2.0F : (float)l->width;

    return (1.0F - l->label_smoothing) * hit + l->label_smoothing / n;
}

/* Cross-entropy over a softmax: p on entry, dz on return. */
static float cross_entropy(const pq_loss *l, const float *z, int32_t label, float log_sum,
                           float *p)
{
    float loss = 0.0F;

    if (l->label_smoothing == 0.0F) {
        p[label] -= 1.0F;
        return log_sum - z[label];
    }
    for (size_t j = 0; j < l->width; j++) {
        const float t = target(l, label, j);
        loss += t * (log_sum - z[j]);
        p[j] -= t;
    }
    return loss;
}

/* -sum t_j (1 - p_j)^gamma log p_j: p on entry, dz on return. */
static float focal(const pq_loss *l, const float *z, int32_t label, float log_sum,
                   float *p)
{
    float pull[PQ_CLASSES_MAX], loss = 0.0F, sum = 0.0F;

    for (size_t j = 0; j < l->width; j++) {
        const float t = target(l, label, j), log_p = z[j] - log_sum, miss = 1.0F - p[j];
        const float power = miss > 0.0F ? powf(miss, l->focal_gamma) : 0.0F;
        pull[j]           = 0.0F;
        if (t > 0.0F) {
            const float slope =
                miss > 0.0F ? l->focal_gamma * p[j] * power / miss * log_p : 0.0F;
            pull[j] = t * (power - slope);
            loss -= t * power * log_p;
            sum += pull[j];
        }
    }
    for (size_t j = 0; j < l->width; j++) {
        p[j] = p[j] * sum - pull[j];
    }
    return loss;
}

/* Mean over the outputs of (y - t)^2, through the link. */
static float squared(const pq_loss *l, const float *z, int32_t label, float *p)
{
    float loss = 0.0F, pull = 0.0F, q[PQ_CLASSES_MAX];

    memcpy(q, p, l->width * sizeof *q);
    for (size_t j = 0; j < l->width; j++) {
        const float y = l->link == PQ_LINK_NONE      ? z[j]
                        : l->link == PQ_LINK_SIGMOID ? 1.0F / (1.0F + expf(-z[j]))
                                                     : q[j];
        const float d = y - target(l, label, j);
        const float g = 2.0F * d / (float)l->width;
        loss += d * d / (float)l->width;
        pull += g * y;
        p[j] = l->link == PQ_LINK_SIGMOID ? g * y * (1.0F - y) : g;
    }
    for (size_t j = 0; l->link == PQ_LINK_SOFTMAX && j < l->width; j++) {
        p[j] = q[j] * (p[j] - pull);
    }
    return loss;
}

static float log_1p_exp(float z)
{
    return fmaxf(z, 0.0F) + log1pf(expf(-fabsf(z)));
}

/* Sum over the outputs of binary cross-entropies. */
static float binary(const pq_loss *l, const float *z, int32_t label, float *dz)
{
    float loss = 0.0F;

    for (size_t j = 0; j < l->width; j++) {
        const float t = target(l, label, j);
        loss += log_1p_exp(z[j]) - z[j] * t;
        dz[j] = 1.0F / (1.0F + expf(-z[j])) - t;
    }
    return loss;
}

/* Behind a softmax: exponentials of what is below the top of z on entry. */
static float on_labels(const pq_loss *l, const float *z, float top, int32_t label,
                       float *dz)
{
    float log_sum;

    if (l->link == PQ_LINK_SIGMOID) {
        return l->squared ? squared(l, z, label, dz) : binary(l, z, label, dz);
    }
    log_sum = top + normalize(l->width, dz);
    if (l->squared) {
        return squared(l, z, label, dz);
    }
    return l->focal_gamma > 0.0F ? focal(l, z, label, log_sum, dz)
                                 : cross_entropy(l, z, label, log_sum, dz);
}

/* KL(teacher || student) at temperature t; p and q become their probabilities. */
static float divergence(const pq_loss *l, const pq_kernels *kernels, const float *z,
                        const float *teacher, float *p, float *q)
{
    const float t  = l->temperature;
    float       kl = 0.0F;

    if (l->link == PQ_LINK_SIGMOID) { /* each output a coin of its own */
        for (size_t j = 0; j < l->width; j++) {
            p[j] = 1.0F / (1.0F + expf(-z[j] / t));
            q[j] = 1.0F / (1.0F + expf(-teacher[j] / t));
            kl += q[j] * (teacher[j] - z[j]) / t - log_1p_exp(teacher[j] / t) +
                  log_1p_exp(z[j] / t);
        }
        return kl;
    }
    const float log_p = softmax(kernels, z, l->width, t, p);
    const float log_q = softmax(kernels, teacher, l->width, t, q);
    for (size_t j = 0; j < l->width; j++) {
        kl += q[j] * (teacher[j] / t - log_q - z[j] / t + log_p);
    }
    return kl;
}

/* Mixes the teacher in: dz holds the gradient on the labels. */
static float with_teacher(const pq_loss *l, const pq_kernels *kernels, const float *z,
                          const float *teacher, float loss, float *dz)
{
    const float t = l->temperature;
    float       p[PQ_CLASSES_MAX], q[PQ_CLASSES_MAX];
    const float kl = divergence(l, kernels, z, teacher, p, q);

    for (size_t j = 0; j < l->width; j++) {
        dz[j] = l->alpha * t * (p[j] - q[j]) + (1.0F - l->alpha) * dz[j];
    }
    return l->alpha * t * t * kl + (1.0F - l->alpha) * loss;
}

/* Rows of one block: exponentials are taken of all their items at once. dz [n, width]. */
static double run_rows(const pq_loss *l, const pq_loss_chunk *c, size_t first, size_t n,
                       float *dz)
{
    const float *z = c->logits + first * l->width;
    float        tops[ROWS];
    double       sum = 0.0;

    for (size_t i = 0; l->link != PQ_LINK_SIGMOID && i < n; i++) {
        tops[i] = below_top(z + i * l->width, l->width, 1.0F, dz + i * l->width);
    }
    if (l->link != PQ_LINK_SIGMOID) {
        c->kernels->exponentials(n * l->width, dz);
    }
    for (size_t i = 0; i < n; i++, z += l->width, dz += l->width) {
        const size_t row    = first + i;
        const double factor = (double)c->weights[row] * c->scale;
        const float  top    = l->link != PQ_LINK_SIGMOID ? tops[i] : 0.0F;
        float        loss   = on_labels(l, z, top, c->labels[row], dz);
        if (c->teacher != NULL) {
            loss = with_teacher(l, c->kernels, z, c->teacher + row * l->width, loss, dz);
        }
        sum += factor * (double)loss;
        for (size_t j = 0; j < l->width; j++) {
            dz[j] *= (float)factor;
        }
    }
    return sum;
}

double pq_loss_run(const pq_loss *l, const pq_loss_chunk *c)
{
    const size_t most = l->width * ROWS <= PQ_CLASSES_MAX ? ROWS : 1;
    double       sum  = 0.0;
    float        spare[PQ_CLASSES_MAX];

    for (size_t i = 0, n; i < c->rows; i += n) {
        n = c->rows - i < most ? c->rows - i : most;
        sum += run_rows(l, c, i, n,
                        c->gradient != NULL ? c->gradient + i * l->width : spare);
    }
    return sum;
}
