/* Pruning in training: what a kernel is used as, its gradients, and whole stages. */
#include "../train/support.h"
#include "compress/sparse_training.h"

enum { ROWS = 4, ROW = 6, COUNT = ROWS * ROW };

static const double slack = 2e-3; /* of a finite difference in float, against its size */

/* A kernel without a net, as methods see one. */
typedef struct {
    pq_sparse_run    run;
    pq_sparse_kernel k;
    pq_stage         stage;
    pq_net_weight    rows[1];
    float v[COUNT], w[COUNT], m[COUNT], p[COUNT], s[2 * ROWS + 2], d[COUNT], dp[COUNT],
        scratch[2 * COUNT];
} bench;

static void make(bench *b, const pq_sparse_method *method, const char *text)
{
    pq_rng rng = pq_rng_stream(3, "kernel");

    memset(b, 0, sizeof *b);
    OK(pq_stage_parse(text, &b->stage, err));
    b->k   = (pq_sparse_kernel){.count   = COUNT,
                                .rows    = ROWS,
                                .row     = ROW,
                                .v       = b->v,
                                .w       = b->w,
                                .m       = b->m,
                                .p       = b->p,
                                .s       = b->s,
                                .d       = b->d,
                                .dp      = b->dp,
                                .scratch = b->scratch};
    b->run = (pq_sparse_run){.method  = method,
                             .params  = b->stage.params,
                             .n       = 1,
                             .kernels = &b->k,
                             .phase   = PQ_SPARSE_TRAIN,
                             .epochs  = 10,
                             .steps   = 1000};
    for (size_t i = 0; i < COUNT; i++) {
        b->v[i] = 0.5F * (float)pq_rng_normal(&rng);
        b->m[i] = 1.0F;
    }
    b->k.n_p = method->parameters != NULL ? method->parameters(b->run.params, &b->k) : 0;
    b->k.n_s = method->state != NULL ? method->state(b->run.params, &b->k) : 0;
    if (method->start != NULL) {
        method->start(&b->run, &b->k);
    }
    if (method->begin != NULL) {
        OK(method->begin(&b->run, err));
    }
}

static void shape(bench *b)
{
    memcpy(b->w, b->v, sizeof b->w);
    b->run.method->shape(&b->run, &b->k);
}

/* sum c w' + penalty, c a fixed pull at each item. */
static double loss(bench *b)
{
    double sum = 0.0;

    shape(b);
    for (size_t i = 0; i < COUNT; i++) {
        sum += cos((double)i) * (double)b->w[i];
    }
    return sum + (b->run.method->penalty != NULL ? b->run.method->penalty(&b->run, &b->k)
                                                 : 0.0);
}

static void backward(bench *b)
{
    for (size_t i = 0; i < COUNT; i++) {
        b->d[i]  = (float)cos((double)i);
        b->dp[i] = 0.0F;
    }
    b->run.method->backward(&b->run, &b->k);
}

static double slope(bench *b, float *x)
{
    const float at = *x, step = 0x1p-9F;
    double      up, down;

    *x   = at + step;
    up   = loss(b);
    *x   = at - step;
    down = loss(b);
    *x   = at;
    return (up - down) / (2.0 * (double)step);
}

/* Methods whose gradient is the true one. */
static const struct {
    const pq_sparse_method *method;
    const char             *text;
    size_t                  epoch;
} smooth[] = {
    {&pq_sparse_cs, "cs:final_temp=8,threshold_decay=0.01", 0},
    {&pq_sparse_cs, "cs:final_temp=8,threshold_decay=0.01,threshold_init=-1", 6},
    {&pq_sparse_pdp, "pdp:temperature=0.05,epsilon=1,target_sparsity=0.5", 0},
    {&pq_sparse_pdp,
     "pdp:temperature=0.5,epsilon=1,target_sparsity=0.5,structured_pruning=true", 3},
    {&pq_sparse_mdmm, "mdmm:l0_mode=smooth,target_sparsity=0.7", 0},
    {&pq_sparse_mdmm, "mdmm:target_sparsity=0.7,constraint_type=LessThanOrEqual", 0},
    {&pq_sparse_mdmm,
     "mdmm:target_sparsity=0.7,constraint_type=GreaterThanOrEqual,target_value=1", 0},
    {&pq_sparse_mdmm,
     "mdmm:metric_type=StructuredSparsity,rf=4,l0_mode=smooth,scale_mode=sum,scale=1", 0},
    {&pq_sparse_autosparse, "autosparse:alpha=0,threshold_init=-1", 0},
    {&pq_sparse_autosparse,
     "autosparse:alpha=0,threshold_init=-1,threshold_type=layerwise", 0},
    {&pq_sparse_autosparse,
     "autosparse:alpha=0,threshold_init=-1,threshold_type=weightwise", 0},
};

Test(sparse_training, gradients_are_those_of_finite_differences)
{
    for (size_t n = 0; n < sizeof smooth / sizeof *smooth; n++) {
        bench b;
        float d[COUNT], dp[COUNT];

        make(&b, smooth[n].method, smooth[n].text);
        b.run.epoch = smooth[n].epoch;
        for (size_t i = 0; smooth[n].method == &pq_sparse_cs && i < COUNT; i++) {
            b.p[i] += 0.3F * (float)sin((double)i);
        }
        shape(&b);
        backward(&b);
        memcpy(d, b.d, sizeof d);
        memcpy(dp, b.dp, sizeof dp);
        for (size_t i = 0; i < COUNT; i++) {
            const double due = slope(&b, &b.v[i]);
            cr_expect(fabs((double)d[i] - due) < slack * (1.0 + fabs(due)) + 2e-3,
                      "%s: item %zu %g, not %g", smooth[n].text, i, (double)d[i], due);
        }
        for (size_t i = 0; i < b.k.n_p; i++) {
            const double due = slope(&b, &b.p[i]);
            cr_expect(fabs((double)dp[i] - due) < slack * (1.0 + fabs(due)) + 2e-3,
                      "%s: parameter %zu %g, not %g", smooth[n].text, i, (double)dp[i],
                      due);
        }
        pq_stage_free(&b.stage);
    }
}

/* m = 1 at first; at the end of a round 1 / sigmoid(s_0) = 2, or 0. */
Test(sparse_training, masks_of_cs_begin_at_1_and_end_at_0_or_2)
{
    bench b;

    make(&b, &pq_sparse_cs, "cs");
    shape(&b);
    cr_expect_eq(memcmp(b.w, b.v, sizeof b.w), 0);
    for (size_t i = 0; i < COUNT; i++) {
        b.p[i] = i % 2 == 0 ? 0.5F : -0.5F;
    }
    b.run.epoch = 9;
    shape(&b);
    for (size_t i = 0; i < COUNT; i++) {
        cr_expect_eq(b.w[i], i % 2 == 0 ? 2.0F * b.v[i] : b.w[i]);
        cr_expect(i % 2 == 0 || fabsf(b.w[i]) < 1e-40F);
    }
    b.run.epoch = 0;
    b.run.method->round(&b.run, &b.k);
    for (size_t i = 0; i < COUNT; i++) {
        cr_expect(i % 2 == 0 ? b.p[i] == 0.0F : b.p[i] < -100.0F);
    }
    pq_stage_free(&b.stage);
}

/* step'(x) = 2 - 4 |x|, 0.4, 0; values worked out by hand. */
Test(sparse_training, dst_passes_gradients_through_its_step)
{
    static const float v[]   = {0.1F, -0.3F, 0.9F, -1.5F},
                       due[] = {0.16F, 0.24F, 0.36F, 0.0F};
    bench b;

    make(&b, &pq_sparse_dst, "dst:alpha=0,threshold_init=0");
    memcpy(b.v, v, sizeof v);
    shape(&b);
    for (size_t i = 0; i < COUNT; i++) {
        b.d[i]  = 1.0F;
        b.dp[i] = 0.0F;
    }
    b.run.method->backward(&b.run, &b.k);
    for (size_t i = 0; i < 4; i++) { /* d |v| step'(|v|) is what w adds, and T takes */
        cr_expect_float_eq(b.d[i] - 1.0F, due[i], 1e-6F, "%zu: %g", i, (double)b.d[i]);
        cr_expect_float_eq(b.dp[i], v[i] > 0.0F ? -due[i] : due[i], 1e-6F);
    }
    pq_stage_free(&b.stage);
}

Test(sparse_training, dst_lets_a_layer_that_is_almost_gone_begin_anew)
{
    bench b;

    make(&b, &pq_sparse_dst, "dst:threshold_init=9,threshold_type=layerwise");
    b.run.method->step(&b.run);
    cr_expect_eq(b.p[0], 0.0F);
    b.p[0] = 0.2F;
    b.run.method->step(&b.run);
    cr_expect_eq(b.p[0], 0.2F);
    pq_stage_free(&b.stage);
}

/* alpha_e = 0.5 max((1 + cos(pi e / 10)) / 2, 1 - 1 / (1 + exp(6 - 1.2 e))); 0 from 7. */
Test(sparse_training, autosparse_lets_less_and_less_through_to_what_is_0)
{
    static const double due[] = {0.5,         0.495918714, 0.486701503, 0.458413652,
                                 0.384262392, 0.25,        0.172745751, 0.0};

    for (size_t e = 0; e < 8; e++) {
        bench b;
        make(&b, &pq_sparse_autosparse,
             "autosparse:threshold_init=9,alpha_reset_epoch=7");
        b.run.epoch = e;
        shape(&b);
        backward(&b);
        cr_expect_eq(b.w[0], 0.0F);
        cr_expect_float_eq(b.d[0], (float)due[e], 1e-6F, "%zu: %g", e, (double)b.d[0]);
        pq_stage_free(&b.stage);
    }
}

/* s_t = 0.9 - 0.9 (1 - t / 1000)^3 of 24 weights. */
Test(sparse_training, gradual_follows_the_cube)
{
    bench b;

    make(&b, &pq_sparse_gradual, "gradual:target_sparsity=0.9,t_delta=1");
    for (size_t t = 0; t <= 1000; t += 50) {
        const double left = 1.0 - (double)t / 1000.0;
        size_t       gone = 0;
        b.run.step        = t;
        b.run.method->step(&b.run);
        shape(&b);
        for (size_t i = 0; i < COUNT; i++) {
            gone += b.w[i] == 0.0F ? 1 : 0;
        }
        cr_expect_eq(gone, (size_t)round((0.9 - 0.9 * left * left * left) * COUNT));
    }
    pq_stage_free(&b.stage);
}

/* inf = |(0.81 - 0.25) mean|w|| of (0, 0, 1, -1), twice: lambda is 1 + 2 * 0.01 inf. */
Test(sparse_training, the_multiplier_of_mdmm_rises_with_what_is_lacking)
{
    bench b;

    make(&b, &pq_sparse_mdmm, "mdmm");
    for (size_t i = 0; i < COUNT; i++) {
        b.v[i] = i % 4 < 2 ? 0.0F : i % 4 == 2 ? 1.0F : -1.0F;
    }
    cr_expect_float_eq(b.run.method->penalty(&b.run, &b.k),
                       10.0 * (0.28 + 0.28 * 0.28 / 2.0), 1e-6);
    for (size_t i = 0; i < 2; i++) {
        backward(&b);
        b.run.method->step(&b.run);
    }
    cr_expect_float_eq(b.s[0], 1.0F + 2.0F * 0.01F * 0.28F, 1e-6F, "%g", (double)b.s[0]);
    pq_stage_free(&b.stage);
}

Test(sparse_training, neighbours_are_those_of_the_sorted_list)
{
    pq_rng rng = pq_rng_stream(1, "select");

    for (size_t round = 0; round < 500; round++) {
        const size_t n = 2 + pq_rng_below(&rng, 40), k = 1 + pq_rng_below(&rng, n - 1);
        float        x[64], y[64], upper, lower;
        for (size_t i = 0; i < n; i++) {
            x[i] = y[i] = (float)pq_rng_below(&rng, 12);
        }
        for (size_t i = 0; i < n; i++) {
            for (size_t j = i + 1; j < n; j++) {
                const float t = y[i];
                if (y[j] > y[i]) {
                    y[i] = y[j];
                    y[j] = t;
                }
            }
        }
        pq_sparse_neighbours(x, n, k, &upper, &lower);
        cr_assert_eq(upper, y[k - 1], "%zu of %zu", k, n);
        cr_assert_eq(lower, y[k]);
    }
}
