#include "train/loss.h"

#include <math.h>

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

/* p = softmax(z / t); returns log sum exp(z / t). */
static float softmax(const float *z, size_t n, float t, float *p)
{
    float top = z[0], sum = 0.0F;

    for (size_t j = 1; j < n; j++) {
        top = z[j] > top || isnan(z[j]) ? z[j] : top;
    }
    for (size_t j = 0; j < n; j++) {
        p[j] = expf((z[j] - top) / t);
        sum += p[j];
    }
    for (size_t j = 0; j < n; j++) {
        p[j] /= sum;
    }
    return top / t + logf(sum);
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
    float loss = 0.0F, pull = 0.0F;

    for (size_t j = 0; j < l->width; j++) {
        const float y = l->link == PQ_LINK_NONE      ? z[j]
                        : l->link == PQ_LINK_SIGMOID ? 1.0F / (1.0F + expf(-z[j]))
                                                     : p[j];
        const float d = y - target(l, label, j);
        const float g = 2.0F * d / (float)l->width;
        loss += d * d / (float)l->width;
        pull += g * y;
        p[j] = l->link == PQ_LINK_SIGMOID ? g * y * (1.0F - y) : g;
    }
    if (l->link == PQ_LINK_SOFTMAX) {
        float q[PQ_CLASSES_MAX];
        (void)softmax(z, l->width, 1.0F, q);
        for (size_t j = 0; j < l->width; j++) {
            p[j] = q[j] * (p[j] - pull);
        }
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

static float on_labels(const pq_loss *l, const float *z, int32_t label, float *dz)
{
    float log_sum;

    if (l->link == PQ_LINK_SIGMOID) {
        return l->squared ? squared(l, z, label, dz) : binary(l, z, label, dz);
    }
    log_sum = softmax(z, l->width, 1.0F, dz);
    if (l->squared) {
        return squared(l, z, label, dz);
    }
    return l->focal_gamma > 0.0F ? focal(l, z, label, log_sum, dz)
                                 : cross_entropy(l, z, label, log_sum, dz);
}

/* KL(teacher || student) at temperature t; p and q become their probabilities. */
static float divergence(const pq_loss *l, const float *z, const float *teacher, float *p,
                        float *q)
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
    const float log_p = softmax(z, l->width, t, p);
    const float log_q = softmax(teacher, l->width, t, q);
    for (size_t j = 0; j < l->width; j++) {
        kl += q[j] * (teacher[j] / t - log_q - z[j] / t + log_p);
    }
    return kl;
}

/* Mixes the teacher in: dz holds the gradient on the labels. */
static float with_teacher(const pq_loss *l, const float *z, const float *teacher,
                          float loss, float *dz)
{
    const float t = l->temperature;
    float       p[PQ_CLASSES_MAX], q[PQ_CLASSES_MAX];
    const float kl = divergence(l, z, teacher, p, q);

    for (size_t j = 0; j < l->width; j++) {
        dz[j] = l->alpha * t * (p[j] - q[j]) + (1.0F - l->alpha) * dz[j];
    }
    return l->alpha * t * t * kl + (1.0F - l->alpha) * loss;
}

double pq_loss_run(const pq_loss *l, const pq_loss_chunk *c)
{
    double sum = 0.0;
    float  spare[PQ_CLASSES_MAX];

    for (size_t i = 0; i < c->rows; i++) {
        const float *z      = c->logits + i * l->width;
        float       *dz     = c->gradient != NULL ? c->gradient + i * l->width : spare;
        const double factor = (double)c->weights[i] * c->scale;
        float        loss   = on_labels(l, z, c->labels[i], dz);
        if (c->teacher != NULL) {
            loss = with_teacher(l, z, c->teacher + i * l->width, loss, dz);
        }
        sum += factor * (double)loss;
        for (size_t j = 0; j < l->width && c->gradient != NULL; j++) {
            dz[j] *= (float)factor;
        }
    }
    return sum;
}
