#include "compress/rounding.h"

#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "linalg/gemm.h"

#define BATCH ((size_t)256) /* rows of a step */

static const double zeta = 1.1, gamma_ = -0.1; /* ends of the stretched sigmoid */
static const double price      = 0.01;         /* of a choice that is not made */
static const double warm_up    = 0.2;          /* part of the steps without it */
static const double first_beta = 20.0, last_beta = 2.0;
static const double rate = 0.01, decay_1 = 0.9, decay_2 = 0.999, tiny = 1e-8; /* Adam */

/* The weights in training. Owns its arrays. */
typedef struct {
    const pq_rounding_rows   *rows;
    const pq_rounding_choice *choice;
    size_t                    n;                  /* weights */
    double                    square;             /* mean of the targets' */
    double                   *v, *first, *second; /* [n] */
    float                    *w, *gradient;       /* [n] */
    float                    *z;                  /* [BATCH, outputs] */
} learner;

static pq_tensor matrix(size_t rows, size_t columns, float *values)
{
    return (pq_tensor){PQ_DTYPE_F32, PQ_SHAPE(rows, columns), rows * columns, values};
}

/* z = f(x w^T + b) - target of n rows from `first` on; the slope of f goes into z where
   `slope` is set. The sum of squares. */
static pq_status residuals(const learner *l, float *w, size_t first, size_t n, bool slope,
                           double *sum, pq_err *err)
{
    const pq_rounding_rows *r       = l->rows;
    pq_tensor               x       = matrix(n, r->inputs, r->x + first * r->inputs);
    pq_tensor               weights = matrix(r->outputs, r->inputs, w);
    pq_tensor               z       = matrix(n, r->outputs, l->z);
    const float            *target  = r->target + first * r->outputs;
    pq_status               st;

    PQ_TRY(pq_gemm((pq_operand){&x, false}, (pq_operand){&weights, true}, 0.0, &z, err));
    *sum = 0.0;
    for (size_t i = 0; i < z.count; i++) {
        const double bias = r->bias != NULL ? (double)r->bias[i % r->outputs] : 0.0;
        const double y    = (double)l->z[i] + bias;
        const double d    = fmin(fmax(y, r->lo), r->hi) - (double)target[i];
        *sum += d * d;
        l->z[i] = slope && (y <= r->lo || y >= r->hi) ? 0.0f : (float)d;
    }
cleanup:
    return st;
}

/* Sum of squares over all rows. */
static pq_status total(const learner *l, float *w, double *sum, pq_err *err)
{
    double    part;
    pq_status st = PQ_OK;

    *sum = 0.0;
    for (size_t first = 0; first < l->rows->rows; first += BATCH) {
        const size_t left = l->rows->rows - first;
        PQ_TRY(residuals(l, w, first, left < BATCH ? left : BATCH, false, &part, err));
        *sum += part;
    }
cleanup:
    return st;
}

static double sigmoid(double v)
{
    return 1.0 / (1.0 + exp(-v));
}

static double stretched(double v)
{
    return (zeta - gamma_) * sigmoid(v) + gamma_;
}

static double clipped(double h)
{
    return fmin(fmax(h, 0.0), 1.0);
}

static void start(learner *l)
{
    const pq_rounding_choice *c     = l->choice;
    const size_t              count = l->rows->rows * l->rows->outputs;

    for (size_t i = 0; i < l->n; i++) {
        const double gap = (double)c->upper[i] - (double)c->lower[i];
        if (gap > 0.0) {
            const double h = clipped(((double)c->from[i] - (double)c->lower[i]) / gap);
            const double s = (h - gamma_) / (zeta - gamma_);
            l->v[i]        = log(s / (1.0 - s));
        }
    }
    for (size_t i = 0; i < count; i++) {
        const double t = (double)l->rows->target[i];
        l->square += t * t / (double)count;
    }
}

/* One step of Adam, the `step`-th from 1 on, on the gradient of the squares by w. beta 0:
   without the second term. */
static void update(learner *l, size_t step, double beta)
{
    const pq_rounding_choice *c         = l->choice;
    const double              correct_1 = 1.0 - pow(decay_1, (double)step);
    const double              correct_2 = 1.0 - pow(decay_2, (double)step);

    for (size_t i = 0; i < l->n; i++) {
        const double gap = (double)c->upper[i] - (double)c->lower[i];
        const double s = sigmoid(l->v[i]), h = (zeta - gamma_) * s + gamma_;
        if (gap <= 0.0) {
            continue;
        }
        double by_h = (double)l->gradient[i] * gap;
        if (beta > 0.0) {
            const double side = 2.0 * clipped(h) - 1.0;
            by_h -= price * 2.0 * beta * copysign(pow(fabs(side), beta - 1.0), side);
        }
        const double g =
            h > 0.0 && h < 1.0 ? by_h * (zeta - gamma_) * s * (1.0 - s) : 0.0;
        l->first[i] += (1.0 - decay_1) * (g - l->first[i]);
        l->second[i] += (1.0 - decay_2) * (g * g - l->second[i]);
        l->v[i] -=
            rate * l->first[i] / correct_1 / (sqrt(l->second[i] / correct_2) + tiny);
    }
}

/* The weights that v stands for; hard: one of the neighbours each. */
static void fill(const learner *l, bool hard, float *w)
{
    const pq_rounding_choice *c = l->choice;

    for (size_t i = 0; i < l->n; i++) {
        const double lower = (double)c->lower[i], upper = (double)c->upper[i];
        const double h = clipped(stretched(l->v[i]));
        if (upper > lower) {
            w[i] = hard ? (h >= 0.5 ? c->upper[i] : c->lower[i])
                        : (float)(lower + (upper - lower) * h);
        }
    }
}

static double beta_at(size_t step, size_t steps)
{
    const double done = ((double)step / (double)steps - warm_up) / (1.0 - warm_up);

    return done < 0.0 ? 0.0
                      : last_beta + (first_beta - last_beta) * 0.5 *
                                        (1.0 + cos(3.14159265358979323846 * done));
}

/* Rows are taken in turn: their order is random. */
static pq_status train(learner *l, size_t steps, pq_err *err)
{
    const pq_rounding_rows *r = l->rows;
    const size_t            n = r->rows < BATCH ? r->rows : BATCH, batches = r->rows / n;
    pq_tensor               gradient = matrix(r->outputs, r->inputs, l->gradient);
    double                  sum;
    pq_status               st = PQ_OK;

    for (size_t step = 0; step < steps; step++) {
        const size_t first = step % batches * n;
        pq_tensor    x     = matrix(n, r->inputs, r->x + first * r->inputs);
        pq_tensor    z     = matrix(n, r->outputs, l->z);
        fill(l, false, l->w);
        PQ_TRY(residuals(l, l->w, first, n, true, &sum, err));
        for (size_t i = 0; i < z.count; i++) {
            l->z[i] = (float)(2.0 * (double)l->z[i] / ((double)n * l->square));
        }
        PQ_TRY(pq_gemm((pq_operand){&z, true}, (pq_operand){&x, false}, 0.0, &gradient,
                       err));
        update(l, step + 1, beta_at(step, steps));
    }
cleanup:
    return st;
}

pq_status pq_learn_rounding(const pq_rounding_rows   *rows,
                            const pq_rounding_choice *choice, size_t steps, float *w,
                            double error[2], pq_err *err)
{
    learner   l = {.rows = rows, .choice = choice, .n = rows->inputs * rows->outputs};
    pq_status st;

    PQ_NEW(l.v, l.n);
    PQ_NEW(l.first, l.n);
    PQ_NEW(l.second, l.n);
    PQ_NEW(l.w, l.n);
    PQ_NEW(l.gradient, l.n);
    PQ_NEW(l.z, BATCH * rows->outputs);
    start(&l);
    memcpy(l.w, w, l.n * sizeof *w);
    PQ_TRY(total(&l, w, &error[0], err));
    error[1] = error[0];
    if (l.square > 0.0 && error[0] > 0.0) {
        PQ_TRY(train(&l, steps, err));
        fill(&l, true, l.w);
        PQ_TRY(total(&l, l.w, &error[1], err));
    }
    if (error[1] < error[0]) {
        memcpy(w, l.w, l.n * sizeof *w);
    }
    error[1] = fmin(error[0], error[1]);
    for (int i = 0; i < 2 && l.square > 0.0; i++) {
        error[i] /= l.square * (double)(rows->rows * rows->outputs);
    }
cleanup:
    pq_free(l.v);
    pq_free(l.first);
    pq_free(l.second);
    pq_free(l.w);
    pq_free(l.gradient);
    pq_free(l.z);
    return st;
}
