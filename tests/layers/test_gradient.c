/* Every kind's backward against central differences of its forward, in double. */
#include "layers/cases.h"
#include "layers/run.h"

#include <math.h>
#include <stdio.h>

/* Largest relative error allowed (against the larger of both and `floor`), and the step.
 */
static const struct {
    double relative, floor, step;
} tolerance = {1e-6, 1e-2, 1e-5};

static void fill(double *values, size_t n, pq_rng *rng)
{
    for (size_t i = 0; i < n; i++) {
        do { /* away from the kinks of relu and clip */
            values[i] = pq_rng_normal(rng);
        } while (fabs(values[i]) < 1e-3 || fabs(values[i] + 0.5) < 1e-3 ||
                 fabs(values[i] - 0.7) < 1e-3);
    }
}

static run prepare(const layer_case *c, pq_rng *rng)
{
    pq_layer *layer = run_layer(c->kind, c->attributes);
    run       r;

    for (size_t k = 0; k < RUN_MAX && c->weights[k].name != NULL; k++) {
        run_weight(layer, c->weights[k].name, c->weights[k].shape, NULL);
    }
    r = run_create(layer, 3, c->n_in, c->in);
    for (size_t k = 0; k < c->n_in; k++) {
        fill(r.in[k], r.batch * run_items(&c->in[k]), rng);
    }
    for (size_t k = 0; k < layer->n_weights; k++) {
        const size_t n = layer->weights[k].value->count;
        fill(r.weight[k], n, rng);
        for (size_t i = 0; strcmp(layer->weights[k].name, "variance") == 0 && i < n;
             i++) {
            r.weight[k][i] = 0.3 + fabs(r.weight[k][i]);
        }
    }
    return r;
}

/* The scalar whose gradient is taken: a weighted sum of the outputs. */
static double loss(const run *r, const double *coefficients)
{
    const size_t n   = r->batch * run_items(&r->out_shape);
    double       sum = 0.0;

    run_forward(r);
    for (size_t i = 0; i < n; i++) {
        sum += coefficients[i] * r->out[i];
    }
    return sum;
}

static void compare(const run *r, const char *what, double *values, size_t n,
                    const double *analytic, const double *coefficients)
{
    for (size_t i = 0; i < n; i++) {
        const double kept = values[i];
        double       numeric, error, size;
        values[i] = kept + tolerance.step;
        numeric   = loss(r, coefficients);
        values[i] = kept - tolerance.step;
        numeric   = (numeric - loss(r, coefficients)) / (2.0 * tolerance.step);
        values[i] = kept;
        error     = fabs(numeric - (analytic[i] - 1.0)); /* gradients were started at 1 */
        size      = fmax(fmax(fabs(numeric), fabs(analytic[i] - 1.0)), tolerance.floor);
        cr_expect_leq(error / size, tolerance.relative,
                      "%s: d/d%s[%zu] is %.12g, differences give %.12g",
                      r->layer->kind->name, what, i, analytic[i] - 1.0, numeric);
    }
}

static double *ones(size_t n)
{
    double *x = pq_calloc(n, sizeof *x);

    for (size_t i = 0; i < n; i++) {
        x[i] = 1.0;
    }
    return x;
}

static void check_case(const layer_case *c, pq_rng *rng)
{
    run          r            = prepare(c, rng);
    const size_t n_out        = r.batch * run_items(&r.out_shape);
    double      *coefficients = pq_calloc(n_out, sizeof(double));
    double *grad_in[RUN_MAX] = {0}, *grad_weight[RUN_MAX] = {0}, *none[RUN_MAX] = {0};
    pq_layer_call call = run_call(&r);

    fill(coefficients, n_out, rng);
    for (size_t k = 0; k < r.n_in; k++) {
        grad_in[k] = ones(r.batch * run_items(&r.in_shape[k]));
    }
    for (size_t k = 0; k < r.layer->n_weights; k++) {
        grad_weight[k] = ones(r.layer->weights[k].value->count);
    }
    run_forward(&r);
    call.grad_out    = coefficients;
    call.grad_in     = none;
    call.grad_weight = none;
    r.layer->kind->backward(&call); /* nothing wanted, nothing touched */
    call.grad_in     = grad_in;
    call.grad_weight = grad_weight;
    r.layer->kind->backward(&call);
    for (size_t k = 0; k < r.n_in; k++) {
        compare(&r, "input", r.in[k], r.batch * run_items(&r.in_shape[k]), grad_in[k],
                coefficients);
        pq_free(grad_in[k]);
    }
    for (size_t k = 0; k < r.layer->n_weights; k++) {
        compare(&r, r.layer->weights[k].name, r.weight[k],
                r.layer->weights[k].value->count, grad_weight[k], coefficients);
        pq_free(grad_weight[k]);
    }
    pq_free(coefficients);
    run_free(&r);
}

Test(gradient, backward_is_the_derivative_of_forward_for_every_case)
{
    pq_rng rng = pq_rng_stream(7, "gradient");

    for (size_t i = 0; i < N_LAYER_CASES; i++) {
        if (strcmp(layer_cases[i].kind, "sign") != 0) { /* below */
            check_case(&layer_cases[i], &rng);
        }
    }
}

/* What has no slope passes gradients on, between -1 and 1; and its values at the edges.
 */
Test(gradient, sign_gives_its_values_and_passes_gradients_straight_through)
{
    static const struct {
        const char *attributes;
        double      out[9];
    } cases[]                   = {{"", {-1, -1, -1, -1, 0, 1, 1, 1, 1}},
                                   {"zero=1", {-1, -1, -1, -1, 1, 1, 1, 1, 1}},
                                   {"zero=-1", {-1, -1, -1, -1, -1, 1, 1, 1, 1}},
                                   {"threshold=0.5", {-1, -1, -1, 0, 0, 0, 1, 1, 1}}};
    static const double x[9]    = {-2, -1, -0.5, -0.4999, 0, 0.4999, 0.5, 1, 2};
    static const double slope[] = {0, 1, 1, 1, 1, 1, 1, 1, 0};

    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const layer_case c   = {"sign", cases[k].attributes, 1, {S(9)}, {{0}}};
        pq_rng           rng = pq_rng_stream(7, "sign");
        run              r   = prepare(&c, &rng);
        double           out[9 * 8], given[9 * 8], got[9 * 8] = {0};
        pq_layer_call    call    = run_call(&r);
        double          *grad[1] = {got};
        cr_assert_leq(r.batch, 8);
        for (size_t i = 0; i < 9 * r.batch; i++) {
            r.in[0][i] = x[i % 9];
            given[i]   = 2.0;
        }
        run_forward(&r);
        call          = run_call(&r);
        call.grad_out = given;
        call.grad_in  = grad;
        memcpy(out, r.out, 9 * r.batch * sizeof *out);
        r.layer->kind->backward(&call);
        for (size_t i = 0; i < 9 * r.batch; i++) {
            cr_expect_eq(out[i], cases[k].out[i % 9], "%s, %g", cases[k].attributes,
                         x[i % 9]);
            cr_expect_eq(got[i], 2.0 * slope[i % 9]);
        }
        run_free(&r);
    }
}

Test(gradient, every_kind_that_computes_is_covered)
{
    for (size_t k = 0; pq_layer_kinds[k] != NULL; k++) {
        bool covered = strcmp(pq_layer_kinds[k]->name, "input") == 0;
        for (size_t i = 0; i < N_LAYER_CASES; i++) {
            covered =
                covered || strcmp(layer_cases[i].kind, pq_layer_kinds[k]->name) == 0;
        }
        cr_expect(covered, "%s", pq_layer_kinds[k]->name);
    }
}

/* Random convolutions: sizes, strides, dilations, padding and groups all drawn. */
Test(gradient, holds_for_random_convolutions)
{
    static const char *const paddings[] = {"same", "valid", "explicit"};
    pq_rng                   rng        = pq_rng_stream(8, "gradient");

    for (int trial = 0; trial < 40; trial++) {
        const size_t groups = 1 + pq_rng_below(&rng, 3),
                     in     = groups * (1 + pq_rng_below(&rng, 2));
        const size_t out    = groups * (1 + pq_rng_below(&rng, 4));
        const size_t kh = 1 + pq_rng_below(&rng, 3), kw = 1 + pq_rng_below(&rng, 3);
        char         attributes[256];
        layer_case   c = {"conv2d",
                          attributes,
                          1,
                          {S(5 + pq_rng_below(&rng, 4), 5 + pq_rng_below(&rng, 4), in)},
                          {{"kernel", S(out, kh, kw, in / groups)}, {"bias", S(out)}}};
        snprintf(
            attributes, sizeof attributes,
            "stride_h=%zu; stride_w=%zu; dilation_h=%zu; dilation_w=%zu; groups=%zu; "
            "padding=%s; pad_top=%zu; pad_right=%zu",
            1 + pq_rng_below(&rng, 3), 1 + pq_rng_below(&rng, 3),
            1 + pq_rng_below(&rng, 2), 1 + pq_rng_below(&rng, 2), groups,
            paddings[trial % 3], pq_rng_below(&rng, 3), pq_rng_below(&rng, 3));
        check_case(&c, &rng);
    }
}
