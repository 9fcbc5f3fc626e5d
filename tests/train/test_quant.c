/* Quantizers in training: gradients against plain formulas, and whole runs. */
#include "support.h"
#include "train/net.h"

enum { EVENTS = 40 };

static const double ln2 = 0.69314718055994530942;

static void quantize_kernel(pq_graph *g, const char *node, pq_quant *q)
{
    pq_layer_weight(g->nodes[pq_graph_find(g, node)].layer, "kernel")->quant = q;
}

static void quantize_output(pq_graph *g, const char *node, pq_quant *q)
{
    g->nodes[pq_graph_find(g, node)].quant = q;
}

static pq_quant *whole(int bits, bool is_signed, int axis, size_t n, double lo, double hi)
{
    pq_quant *q = NULL;

    OK(pq_quant_create(PQ_QUANT_INTEGER, bits, is_signed, is_signed, axis, n, &q, err));
    for (size_t i = 0; i < n; i++) {
        (void)pq_quant_set_range(q, i, lo * (1.0 + 0.3 * (double)i),
                                 hi * (1.0 + 0.3 * (double)i), is_signed);
    }
    return q;
}

static pq_quant *fixed(bool is_signed, int axis, size_t n, int integer, int fraction)
{
    pq_quant *q = NULL;

    OK(pq_quant_create_fixed(is_signed, PQ_OVERFLOW_SAT, PQ_ROUND_RND_CONV, axis, n, &q,
                             err));
    for (size_t i = 0; i < n; i++) {
        OK(pq_quant_set_fixed(q, i, integer, fraction, err));
    }
    return q;
}

/* in [4] -> a [6] -> relu -> b [3] */
static pq_graph *small(void)
{
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=4"), NULL);
    add_dense(g, "a", 4, 6);
    add(g, "relu", layer_of("relu"), NULL);
    add_dense(g, "b", 6, 3);
    finish(g, 5);
    return g;
}

/* A net in training on a graph, and one batch whose gradient at the logits is given. */
typedef struct {
    pq_graph *g;
    pq_pool  *pool;
    pq_net   *net;
    float     x[EVENTS * 4], pull[EVENTS * 3], out[EVENTS * 3];
} bench;

static void make(bench *b, pq_graph *g, pq_qat_options qat)
{
    pq_rng rng = pq_rng_stream(3, "bench");

    *b = (bench){.g = g};
    for (size_t i = 0; i < EVENTS * 4; i++) {
        b->x[i] = (float)pq_rng_normal(&rng);
    }
    for (size_t i = 0; i < EVENTS * 3; i++) {
        b->pull[i] = (float)pq_rng_normal(&rng);
    }
    OK(pq_graph_check(g, err));
    OK(pq_pool_create(2, &b->pool, err));
    OK(pq_net_create(g,
                     &(pq_net_options){.batch         = EVENTS,
                                       .training      = true,
                                       .norm_momentum = 0.1,
                                       .qat           = qat,
                                       .pool          = b->pool},
                     &b->net, err));
}

static void drop(bench *b)
{
    pq_net_free(&b->net);
    pq_pool_free(&b->pool);
    pq_graph_free(&b->g);
}

static void fill(void *context, size_t first, size_t rows, float *x)
{
    memcpy(x, ((bench *)context)->x + 4 * first, rows * 4 * sizeof *x);
}

static void pull(void *context, const pq_net_call *c)
{
    bench       *b  = context;
    const size_t at = c->chunk * c->net->chunk * 3;

    memcpy(b->out + at, pq_net_value(c, c->net->logits), c->rows * 3 * sizeof(float));
    memcpy(pq_net_gradient(c, c->net->logits), b->pull + at, c->rows * 3 * sizeof(float));
}

/* Forward and backward of the batch; gradients end in the first chunk's place. */
static void step(bench *b)
{
    const size_t chunks = (EVENTS + b->net->chunk - 1) / b->net->chunk;

    pq_net_prepare(b->net);
    pq_net_train(b->net, &(pq_net_batch){EVENTS, 1, fill, pull, b, NULL});
    for (size_t c = 1; c < chunks; c++) {
        b->net->kernels->add(b->net->n_flat, b->net->gradients + c * b->net->n_flat,
                             b->net->gradients);
    }
    pq_grids_backward(b->net);
}

static double loss(bench *b)
{
    double sum = 0.0;

    pq_net_prepare(b->net);
    pq_net_train(b->net, &(pq_net_batch){EVENTS, 1, fill, pull, b, NULL});
    for (size_t i = 0; i < EVENTS * 3; i++) {
        sum += (double)b->out[i] * (double)b->pull[i];
    }
    return sum;
}

/* The grid of a kernel or, with output, of a node. */
static const pq_grid *grid_of(const bench *b, const char *node, bool output)
{
    const size_t at = pq_graph_find(b->g, node);

    for (size_t i = 0; i < b->net->n_grids; i++) {
        if (b->net->grids[i].node == at &&
            (b->net->grids[i].weight == SIZE_MAX) == output) {
            return &b->net->grids[i];
        }
    }
    cr_assert_fail("no grid of %s", node);
    return NULL;
}

static float *place(const bench *b, float *array, size_t row)
{
    return array + b->net->weights[row].offset;
}

/* Random gradients at a kernel's rounded weights, some weights beyond the grid. */
static void randomise(bench *b, const pq_grid *g, float *due)
{
    pq_rng               rng = pq_rng_stream(9, "gradient");
    const pq_net_weight *w   = &b->net->weights[g->weight];

    for (size_t i = 0; i < w->count; i++) {
        due[i] = (float)pq_rng_normal(&rng);
        b->net->flat[w->offset + i] *= 1.5F;
        b->net->gradients[w->offset + i] = due[i];
    }
}

Test(quant, lsq_moves_scales_of_kernels_by_the_rounding_error_inside_and_the_ends_outside)
{
    bench     b;
    pq_graph *g = small();
    float     due[24];

    quantize_kernel(g, "a", whole(3, true, 0, 6, -0.5, 0.5));
    make(&b, g, (pq_qat_options){.rule = PQ_QAT_LSQ});
    const pq_grid *grid    = grid_of(&b, "a", false);
    const float   *v       = place(&b, b.net->flat, grid->weight);
    const float   *s       = place(&b, b.net->flat, grid->row);
    size_t         clipped = 0;

    for (size_t o = 0; o < 6; o++) { /* starts at 2 mean|v| / sqrt(Qp) */
        double mean = 0.0;
        for (size_t i = 0; i < 4; i++) {
            mean += fabs((double)v[4 * o + i]) / 4.0;
        }
        cr_assert_float_eq((double)s[o], 2.0 * mean / sqrt(3.0), 1e-6);
    }
    randomise(&b, grid, due);
    place(&b, b.net->flat, grid->weight)[5] *= 8.0F;
    pq_net_round_weights(b.net);
    pq_grids_backward(b.net);
    for (size_t o = 0; o < 6; o++) {
        double sum = 0.0;
        for (size_t i = 4 * o; i < 4 * o + 4; i++) {
            const double at = (double)v[i] / (double)s[o];
            const bool   in = at >= -3.0 && at <= 3.0;
            sum += (double)due[i] * (in ? rint(at) - at : at < 0.0 ? -3.0 : 3.0);
            cr_expect_eq(place(&b, b.net->gradients, grid->weight)[i],
                         in ? due[i] : 0.0F);
            clipped += in ? 0 : 1;
        }
        cr_expect_float_eq((double)place(&b, b.net->gradients, grid->row)[o],
                           sum / sqrt(4.0 * 3.0), 1e-6);
    }
    cr_expect(clipped > 0 && clipped < 20, "%zu clipped", clipped);
    drop(&b);
}

Test(quant, lsq_moves_scales_of_activations_by_the_sum_over_all_chunks)
{
    bench     b;
    pq_graph *g   = small();
    double    sum = 0.0;

    quantize_output(g, "in", whole(3, true, PQ_QUANT_PER_TENSOR, 1, -1.2, 1.2));
    make(&b, g, (pq_qat_options){.rule = PQ_QAT_LSQ});
    const pq_grid *grid = grid_of(&b, "in", true);
    const double   s    = (double)place(&b, b.net->flat, grid->row)[0];
    const float   *wa   = pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value);
    const float   *ba   = pq_f32(pq_layer_weight(g->nodes[1].layer, "bias")->value);
    const float   *wb   = pq_f32(pq_layer_weight(g->nodes[3].layer, "kernel")->value);

    cr_assert_float_eq(s, 0.4, 1e-6); /* where calibration put it */
    step(&b);
    for (size_t e = 0; e < EVENTS; e++) {
        for (size_t j = 0; j < 6; j++) {
            double hidden = (double)ba[j], d = 0.0;
            for (size_t i = 0; i < 4; i++) {
                hidden += (double)wa[4 * j + i] * s *
                          fmax(-3.0, fmin(rint((double)b.x[4 * e + i] / s), 3.0));
            }
            for (size_t o = 0; o < 3 && hidden > 0.0; o++) {
                d += (double)b.pull[3 * e + o] * (double)wb[6 * o + j];
            }
            for (size_t i = 0; i < 4; i++) {
                const double at = (double)b.x[4 * e + i] / s;
                sum += d * (double)wa[4 * j + i] *
                       (at > 3.0    ? 3.0
                        : at < -3.0 ? -3.0
                                    : rint(at) - at);
            }
        }
    }
    cr_expect_float_eq((double)place(&b, b.net->gradients, grid->row)[0],
                       sum / sqrt(4.0 * 3.0), 1e-4 * (1.0 + fabs(sum)));
    drop(&b);
}

Test(quant, pact_moves_the_level_as_finite_differences_say_and_decays_it)
{
    bench     b;
    pq_graph *g = small();

    quantize_output(g, "relu", whole(16, false, PQ_QUANT_PER_TENSOR, 1, 0.0, 0.7));
    make(&b, g, (pq_qat_options){.rule = PQ_QAT_PACT, .decay = 0.25});
    const pq_grid *grid  = grid_of(&b, "relu", true);
    float         *alpha = place(&b, b.net->flat, grid->row);
    const float    at    = alpha[0];
    double         ends[2];

    cr_assert_float_eq((double)at, 0.7, 1e-6);
    step(&b);
    const double got = (double)place(&b, b.net->gradients, grid->row)[0];
    for (int side = 0; side < 2; side++) {
        alpha[0]   = at + (side == 0 ? -0.002F : 0.002F);
        ends[side] = loss(&b);
    }
    cr_expect_float_eq(got, (ends[1] - ends[0]) / 0.004 + 0.25 * 0.7,
                       0.03 * (1.0 + fabs(got)));
    drop(&b);
}

Test(quant, dorefa_has_the_gradient_of_finite_differences_with_the_largest_weight)
{
    bench     b;
    pq_graph *g = small();
    float     due[24];

    quantize_kernel(g, "a", whole(16, true, 0, 6, -0.9, 0.9));
    make(&b, g, (pq_qat_options){.rule = PQ_QAT_DOREFA});
    const pq_grid *grid = grid_of(&b, "a", false);
    float         *v    = place(&b, b.net->flat, grid->weight);
    const float   *used = place(&b, b.net->used, grid->weight);

    randomise(&b, grid, due);
    pq_net_round_weights(b.net);
    pq_grids_backward(b.net);
    for (size_t k = 0; k < 24; k++) {
        const float  keep = v[k], h = 0.01F;
        const double got   = (double)place(&b, b.net->gradients, grid->weight)[k];
        double       due_d = 0.0;
        bool         same  = true; /* the largest weight stays the largest */
        for (int side = -1; side <= 1; side += 2) {
            v[k] = keep + (float)side * h;
            pq_net_round_weights(b.net);
            size_t top = 0, was = 0;
            for (size_t i = 0; i < 4; i++) {
                const size_t r = k / 4 * 4;
                top            = fabsf(v[r + i]) > fabsf(v[r + top]) ? i : top;
                const float a  = r + i == k ? keep : v[r + i];
                const float c  = r + was == k ? keep : v[r + was];
                was            = fabsf(a) > fabsf(c) ? i : was;
            }
            same = same && top == was;
            for (size_t i = 0; i < 24; i++) {
                due_d += (double)side * (double)due[i] * (double)used[i] / 0.02;
            }
        }
        v[k] = keep;
        cr_expect(!same || fabs(got - due_d) < 0.01 * (1.0 + fabs(due_d)),
                  "weight %zu: %g, not %g", k, got, due_d);
    }
    drop(&b);
}

/* Weights that share the largest |tanh v| move together in the gradient of the maximum.
 */
Test(quant, dorefa_shares_the_gradient_of_the_maximum_among_ties)
{
    bench     b;
    pq_graph *g = small();
    float     due[24];

    quantize_kernel(g, "a", whole(16, true, 0, 6, -0.9, 0.9));
    make(&b, g, (pq_qat_options){.rule = PQ_QAT_DOREFA});
    const pq_grid *grid = grid_of(&b, "a", false);
    float         *v    = place(&b, b.net->flat, grid->weight);
    const float   *used = place(&b, b.net->used, grid->weight);

    randomise(&b, grid, due);
    for (size_t o = 0; o < 6; o++) { /* two or three of four are the largest */
        for (size_t i = 0; i < 4; i++) {
            v[4 * o + i] = i < 2 + o % 2 ? (i == 1 ? -0.8F : 0.8F) : 0.3F;
        }
    }
    pq_net_round_weights(b.net);
    pq_grids_backward(b.net);
    const float *got = place(&b, b.net->gradients, grid->weight);
    for (size_t o = 0; o < 6; o++) { /* all that tie, along their signs */
        double sum = 0.0, ends[2] = {0.0};
        for (size_t i = 0; i < 4; i++) {
            sum += fabsf(v[4 * o + i]) > 0.5F
                       ? (double)got[4 * o + i] * copysign(1.0, (double)v[4 * o + i])
                       : 0.0;
        }
        for (int side = 0; side < 2; side++) {
            float keep[4];
            memcpy(keep, v + 4 * o, sizeof keep);
            for (size_t i = 0; i < 4; i++) {
                const float out =
                    fabsf(keep[i]) > 0.5F ? copysignf(0.01F, keep[i]) : 0.0F;
                v[4 * o + i] += side == 0 ? -out : out;
            }
            pq_net_round_weights(b.net);
            for (size_t i = 0; i < 4; i++) {
                ends[side] += (double)due[4 * o + i] * (double)used[4 * o + i];
            }
            memcpy(v + 4 * o, keep, sizeof keep);
        }
        const double slope = (ends[1] - ends[0]) / 0.02;
        cr_expect(fabs(sum - slope) < 0.01 * (1.0 + fabs(slope)),
                  "channel %zu: %g, not %g", o, sum, slope);
    }
    drop(&b);
}

Test(quant, dorefa_starts_at_the_weights_that_were_there)
{
    bench        b;
    pq_graph    *g = small();
    const float *kernel;
    float        before[24];

    quantize_kernel(g, "a", whole(8, true, 0, 6, -2.5, 2.5));
    kernel = pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value);
    OK(pq_quant_apply(pq_layer_weight(g->nodes[1].layer, "kernel")->quant,
                      pq_layer_weight(g->nodes[1].layer, "kernel")->value, err));
    pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value)[0] = 2.5F;
    for (size_t o = 1; o < 6; o++) { /* each channel reaches its end */
        const pq_quant *q = pq_layer_weight(g->nodes[1].layer, "kernel")->quant;
        pq_f32(pq_layer_weight(g->nodes[1].layer, "kernel")->value)[4 * o] =
            -127.0F * q->scale[o];
    }
    memcpy(before, kernel, sizeof before);
    make(&b, g, (pq_qat_options){.rule = PQ_QAT_DOREFA});
    for (size_t i = 0; i < 24; i++) {
        cr_expect_float_eq(
            (double)place(&b, b.net->used, grid_of(&b, "a", false)->weight)[i],
            (double)before[i], 1e-6);
    }
    drop(&b);
}

Test(quant, hgq_moves_fraction_bits_by_ln2_times_the_rounding_error)
{
    bench     b;
    pq_graph *g = small();
    float     due[24];

    quantize_kernel(g, "a", fixed(true, PQ_QUANT_PER_ITEM, 24, 0, 3));
    make(&b, g, (pq_qat_options){.rule = PQ_QAT_HGQ});
    const pq_grid *grid = grid_of(&b, "a", false);
    const float   *v    = place(&b, b.net->flat, grid->weight);

    randomise(&b, grid, due);
    place(&b, b.net->flat, grid->row)[7] = 2.6F; /* counts as 3 */
    place(&b, b.net->flat, grid->row)[8] = -2.0F;
    pq_net_round_weights(b.net);
    pq_grids_backward(b.net);
    for (size_t i = 0; i < 24; i++) {
        const double s = i == 8 ? 4.0 : 0.125, q = s * rint((double)v[i] / s);
        cr_expect_float_eq((double)place(&b, b.net->used, grid->weight)[i], q, 0.0);
        cr_expect_float_eq((double)place(&b, b.net->gradients, grid->row)[i],
                           (double)due[i] * ln2 * ((double)v[i] - q), 1e-6);
        cr_expect_eq(place(&b, b.net->gradients, grid->weight)[i], due[i]);
    }
    drop(&b);
}

static pq_graph *small_fixed(void)
{
    pq_graph *g = small();

    quantize_output(g, "in", fixed(true, PQ_QUANT_PER_TENSOR, 1, 2, 4));
    quantize_kernel(g, "a", fixed(true, 0, 6, 1, 5));
    quantize_output(g, "relu", fixed(false, PQ_QUANT_PER_TENSOR, 1, 2, 4));
    quantize_kernel(g, "b", fixed(true, PQ_QUANT_PER_TENSOR, 1, 1, 5));
    return g;
}

/* The penalty leaves biases out: their widths are not trained. */
static double bits_of_biases(const pq_graph *g)
{
    double sum = 0.0;

    for (size_t n = 0; n < g->n_nodes; n++) {
        const pq_weight *bias = pq_layer_weight(g->nodes[n].layer, "bias");
        for (size_t i = 0; bias != NULL && i < bias->value->count; i++) {
            sum += pq_bias_bits(g, n, i);
        }
    }
    return sum;
}

Test(quant, hgq_adds_what_one_bit_more_costs_and_counts_as_the_metric_does)
{
    const double   beta = 1e-3, gamma = 0.01;
    bench          with, without;
    pq_qat_options qat = {.rule = PQ_QAT_HGQ, .beta = beta, .gamma = gamma};

    make(&with, small_fixed(), qat);
    qat.beta = qat.gamma = 0.0;
    make(&without, small_fixed(), qat);
    for (size_t n = 0; n < 2; n++) { /* whole powers: one bit more is one bit more */
        bench *b = n == 0 ? &with : &without;
        for (size_t i = 0; i < b->net->n_weights; i++) {
            for (size_t k = 0;
                 b->net->weights[i].grid != NULL && k < b->net->weights[i].count; k++) {
                b->net->flat[b->net->weights[i].offset + k] = k % 5 == 4 ? 0.0F : 0.75F;
            }
        }
        step(b);
    }
    const double here = pq_grids_penalty(with.net);
    for (size_t i = 0; i < with.net->n_grids; i++) {
        const pq_grid *grid = &with.net->grids[i];
        for (size_t k = 0; k < grid->quant->n; k++) {
            float *f = place(&with, with.net->flat, grid->row) + k;
            *f += 1.0F;
            pq_net_round_weights(with.net);
            const double due = pq_grids_penalty(with.net) - here;
            *f -= 1.0F;
            const double got =
                (double)place(&with, with.net->gradients, grid->row)[k] -
                (double)place(&without, without.net->gradients, grid->row)[k];
            cr_expect_float_eq(got, due, 1e-4, "grid %zu, %zu: %g, not %g", i, k, got,
                               due);
            cr_expect_gt(due, 0.0);
        }
    }
    pq_net_round_weights(with.net);
    double bits = 0.0;
    for (size_t i = 0; i < with.net->n_grids; i++) {
        const pq_quant *q = with.net->grids[i].quant;
        for (size_t k = 0; k < q->n; k++) {
            bits += q->width[k] - (q->is_signed ? 1 : 0);
        }
    }
    pq_net_store(with.net, with.net->flat, with.g);
    cr_expect_float_eq(here - gamma * bits,
                       beta * (pq_graph_ebops(with.g) - bits_of_biases(with.g)), 1e-9);
    drop(&with);
    drop(&without);
}

Test(quant, straight_masks_what_was_clipped_and_keeps_the_grid)
{
    bench     b;
    pq_graph *g = small();
    float     due[24];
    size_t    masked = 0;

    quantize_kernel(g, "a", whole(4, true, PQ_QUANT_PER_TENSOR, 1, -0.4, 0.4));
    make(&b, g, (pq_qat_options){.rule = PQ_QAT_STRAIGHT});
    const pq_grid *grid = grid_of(&b, "a", false);
    const float    s    = grid->quant->scale[0];

    cr_assert_eq(grid->row, SIZE_MAX);
    randomise(&b, grid, due);
    pq_net_round_weights(b.net);
    pq_grids_backward(b.net);
    for (size_t i = 0; i < 24; i++) {
        const double at   = (double)place(&b, b.net->flat, grid->weight)[i] / (double)s;
        const bool   gone = fabs(at) > 7.5;
        cr_expect_eq(place(&b, b.net->gradients, grid->weight)[i], gone ? 0.0F : due[i]);
        masked += gone ? 1 : 0;
    }
    cr_expect(masked > 0 && masked < 24);
    pq_net_store(b.net, b.net->flat, g);
    cr_expect_eq(pq_layer_weight(g->nodes[1].layer, "kernel")->quant->scale[0], s);
    drop(&b);
}

Test(quant, batch_norm_by_running_statistics_has_the_gradient_of_a_line)
{
    bench     b;
    pq_graph *g = NULL;

    OK(pq_graph_create(&g, err));
    add(g, "in", layer_of("input shape=4"), NULL);
    add_dense(g, "a", 4, 6);
    add_norm(g, "norm", 6);
    add_dense(g, "b", 6, 3);
    finish(g, 5);
    make(&b, g, (pq_qat_options){0});
    b.net->norms_fixed = true;
    step(&b);
    float *gradient = pq_calloc(b.net->n_flat, sizeof *gradient);
    memcpy(gradient, b.net->gradients, b.net->n_flat * sizeof *gradient);
    for (size_t i = 0; i < b.net->n_weights; i++) {
        const pq_net_weight *w = &b.net->weights[i];
        for (size_t k = 0; k < w->count; k++) {
            float       *v    = b.net->flat + w->offset + k;
            const float  keep = *v;
            const double got  = (double)gradient[w->offset + k];
            double       ends[2];
            for (int side = 0; side < 2; side++) {
                *v         = keep + (side == 0 ? -0.01F : 0.01F);
                ends[side] = loss(&b);
            }
            *v = keep;
            cr_expect(w->role == PQ_WEIGHT_STATISTIC ||
                          fabs(got - (ends[1] - ends[0]) / 0.02) < 2e-2,
                      "weight %zu, %zu: %g, not %g", i, k, got,
                      (ends[1] - ends[0]) / 0.02);
        }
    }
    pq_free(gradient);
    for (size_t i = 0; i < 6; i++) { /* and what ran stays */
        const pq_layer *norm = g->nodes[2].layer;
        const size_t    at   = pq_layer_weight_index(norm, "mean");
        cr_expect_eq(b.net->flat[b.net->ops[1].weight[at] + i],
                     pq_f32(norm->weights[at].value)[i]);
    }
    drop(&b);
}
