#include "compress/rounding.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"

enum { INPUTS = 10, OUTPUTS = 3, ROWS = 600, WEIGHTS = INPUTS * OUTPUTS };

/* Inputs that depend on each other, weights between whole numbers times 0.2, and what
   they give. */
typedef struct {
    float            x[ROWS * INPUTS], y[ROWS * OUTPUTS], bias[OUTPUTS];
    float            from[WEIGHTS], lower[WEIGHTS], upper[WEIGHTS], near[WEIGHTS];
    pq_rounding_rows rows;
} problem;

static double output(const problem *p, const float *w, size_t row, size_t o)
{
    double y = (double)p->bias[o];

    for (size_t i = 0; i < INPUTS; i++) {
        y += (double)w[o * INPUTS + i] * (double)p->x[row * INPUTS + i];
    }
    return fmin(fmax(y, p->rows.lo), p->rows.hi);
}

static void make(problem *p, uint64_t seed, double lo)
{
    pq_rng rng = pq_rng_stream(seed, "rows");

    p->rows = (pq_rounding_rows){.rows    = ROWS,
                                 .inputs  = INPUTS,
                                 .outputs = OUTPUTS,
                                 .x       = p->x,
                                 .target  = p->y,
                                 .bias    = p->bias,
                                 .lo      = lo,
                                 .hi      = HUGE_VAL};
    for (size_t r = 0; r < ROWS; r++) {
        const double shared = 0.5 + pq_rng_normal(&rng);
        for (size_t i = 0; i < INPUTS; i++) {
            p->x[r * INPUTS + i] = (float)(shared + 0.5 * pq_rng_normal(&rng));
        }
    }
    for (size_t i = 0; i < WEIGHTS; i++) {
        const double step = 0.2, w = pq_rng_normal(&rng) / step;
        p->from[i]  = (float)(w * step);
        p->lower[i] = (float)(floor(w) * step);
        p->upper[i] = (float)((floor(w) + 1.0) * step);
        p->near[i]  = w - floor(w) >= 0.5 ? p->upper[i] : p->lower[i];
    }
    for (size_t o = 0; o < OUTPUTS; o++) {
        p->bias[o] = (float)(0.3 * pq_rng_normal(&rng));
    }
    for (size_t k = 0; k < ROWS * OUTPUTS; k++) {
        p->y[k] = (float)output(p, p->from, k / OUTPUTS, k % OUTPUTS);
    }
}

/* Sum of squares of output o, or of all. */
static double loss_of(const problem *p, const float *w, size_t o)
{
    double sum = 0.0;

    for (size_t r = 0; r < ROWS; r++) {
        const double d = output(p, w, r, o) - (double)p->y[r * OUTPUTS + o];
        sum += d * d;
    }
    return sum;
}

static double loss(const problem *p, const float *w)
{
    double sum = 0.0;

    for (size_t o = 0; o < OUTPUTS; o++) {
        sum += loss_of(p, w, o);
    }
    return sum;
}

/* The least loss of all 2^INPUTS choices of each output. */
static double best(const problem *p)
{
    double sum = 0.0;
    float  w[WEIGHTS];

    for (size_t o = 0; o < OUTPUTS; o++) {
        double least = HUGE_VAL;
        for (size_t choice = 0; choice < (size_t)1 << INPUTS; choice++) {
            for (size_t i = 0; i < INPUTS; i++) {
                const size_t at = o * INPUTS + i;
                w[at]           = choice >> i & 1 ? p->upper[at] : p->lower[at];
            }
            least = fmin(least, loss_of(p, w, o));
        }
        sum += least;
    }
    return sum;
}

static void learn(const problem *p, size_t steps, float *w, double error[2])
{
    const pq_rounding_choice choice = {p->from, p->lower, p->upper};
    pq_err                   err    = {0};

    memcpy(w, p->near, sizeof p->near);
    cr_assert_eq(pq_learn_rounding(&p->rows, &choice, steps, w, error, &err), PQ_OK, "%s",
                 err.message);
}

/* Against all choices there are: nearly as good as the best, far better than nearest. */
Test(rounding, comes_close_to_the_best_of_all_choices)
{
    static problem p;
    double         near = 0.0, learnt = 0.0, least = 0.0;

    for (uint64_t seed = 0; seed < 4; seed++) {
        for (int relu = 0; relu < 2; relu++) {
            float  w[WEIGHTS];
            double error[2], square = 0.0;
            make(&p, seed, relu == 1 ? 0.0 : -HUGE_VAL);
            learn(&p, 2000, w, error);
            for (size_t k = 0; k < ROWS * OUTPUTS; k++) {
                square += (double)p.y[k] * (double)p.y[k];
            }
            cr_expect_float_eq(error[0], loss(&p, p.near) / square, 1e-5 * error[0]);
            cr_expect_float_eq(error[1], loss(&p, w) / square, 1e-5 * error[0]);
            for (size_t i = 0; i < WEIGHTS; i++) {
                cr_expect(w[i] == p.lower[i] || w[i] == p.upper[i]);
            }
            near += error[0];
            learnt += error[1];
            least += best(&p) / square;
            cr_log_info("near %g learnt %g best %g", error[0], error[1],
                        best(&p) / square);
        }
    }
    cr_expect_lt(learnt, 1.3 * least, "%g, the best is %g, nearest %g", learnt, least,
                 near);
    cr_expect_gt(near, 3.0 * learnt);
}

/* Inputs that the layers before have made smaller by a fifth: weights go up in size. */
Test(rounding, makes_up_for_what_the_inputs_lost)
{
    static problem p;
    float          w[WEIGHTS];
    double         error[2], sum = 0.0, sum_near = 0.0;

    make(&p, 11, -HUGE_VAL);
    for (size_t i = 0; i < ROWS * INPUTS; i++) {
        p.x[i] *= 0.8f;
    }
    learn(&p, 1000, w, error);
    cr_expect_lt(error[1], 0.5 * error[0]);
    for (size_t i = 0; i < WEIGHTS; i++) {
        const double sign = copysign(1.0, (double)p.from[i]);
        sum += sign * (double)w[i];
        sum_near += sign * (double)p.near[i];
    }
    cr_expect_gt(sum, sum_near);
}

/* Events and weights in other units, powers of two: the same choice to the last bit. */
Test(rounding, does_not_depend_on_units)
{
    static problem p, q;
    float          a[WEIGHTS], b[WEIGHTS];
    double         error[2], other[2];

    make(&p, 5, 0.0);
    q             = p;
    q.rows.x      = q.x;
    q.rows.target = q.y;
    q.rows.bias   = q.bias;
    for (size_t i = 0; i < ROWS * INPUTS; i++) {
        q.x[i] *= 1024.0f;
    }
    for (size_t i = 0; i < ROWS * OUTPUTS; i++) {
        q.y[i] *= 1024.0f;
    }
    for (size_t o = 0; o < OUTPUTS; o++) {
        q.bias[o] *= 1024.0f;
    }
    learn(&p, 500, a, error);
    learn(&q, 500, b, other);
    cr_expect_eq(memcmp(a, b, sizeof a), 0);
    cr_expect_eq(error[1], other[1]);
}

/* Where the relu lets nothing through any rounding is right, and nothing moves; one
   output of three here. Weights without a choice stay. */
Test(rounding, leaves_what_does_not_matter_and_what_has_no_choice)
{
    static problem p;
    float          w[WEIGHTS];
    double         error[2];

    make(&p, 6, 0.0);
    p.bias[1] = -1e3f;
    for (size_t r = 0; r < ROWS; r++) {
        p.y[r * OUTPUTS + 1] = 0.0f;
    }
    p.lower[3] = p.upper[3] = p.near[3];
    learn(&p, 500, w, error);
    cr_expect_lt(error[1], error[0]);
    cr_expect_eq(w[3], p.near[3]);
    cr_expect_eq(loss_of(&p, w, 1), 0.0);
}

Test(rounding, keeps_what_cannot_be_better)
{
    static problem p;
    float          w[WEIGHTS];
    double         error[2];

    make(&p, 7, -HUGE_VAL);
    memcpy(p.lower, p.from, sizeof p.from); /* the weights are on the grid */
    memcpy(p.near, p.from, sizeof p.from);
    learn(&p, 200, w, error);
    cr_expect_lt(error[0], 1e-10);
    cr_expect_eq(memcmp(w, p.from, sizeof w), 0);
    p.rows.lo = 0.0;
    for (size_t o = 0; o < OUTPUTS; o++) {
        p.bias[o] = -1e6f;
    }
    memset(p.y, 0, sizeof p.y); /* nothing to be seen */
    learn(&p, 200, w, error);
    cr_expect_eq(memcmp(w, p.from, sizeof w), 0);
    cr_expect(error[0] == 0.0 && error[1] == 0.0);
}

/* Fewer rows than a step takes. */
Test(rounding, one_row_is_enough_to_run)
{
    static problem p;
    float          w[WEIGHTS];
    double         error[2];

    make(&p, 8, -HUGE_VAL);
    p.rows.rows = 1;
    learn(&p, 300, w, error);
    cr_expect_leq(error[1], error[0]);
}

Test(rounding, survives_every_failed_allocation)
{
    static problem           p;
    const pq_rounding_choice choice = {p.from, p.lower, p.upper};
    const size_t             live   = pq_memory_live();
    float                    w[WEIGHTS];
    double                   error[2];
    pq_status                st = PQ_ERR_NOMEM;

    make(&p, 9, 0.0);
    for (size_t n = 0; st != PQ_OK; n++) {
        memcpy(w, p.near, sizeof w);
        pq_memory_fail_after(n);
        st = pq_learn_rounding(&p.rows, &choice, 3, w, error, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert(st == PQ_OK ||
                  (st == PQ_ERR_NOMEM && memcmp(w, p.near, sizeof w) == 0));
        cr_assert_eq(pq_memory_live(), live);
    }
}
