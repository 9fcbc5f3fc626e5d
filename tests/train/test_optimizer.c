/* Steps of the optimisers against their formulas in double, and courses of the rate. */
#include "support.h"
#include "train/optimizer.h"
#include "train/simd.h"

enum { N = 37 };

typedef struct {
    float g[N], w[N], a[N], b[N];
} arrays;

static void draw(arrays *x)
{
    pq_rng rng = pq_rng_stream(4, "optimizer");

    for (size_t i = 0; i < N; i++) {
        x->g[i] = (float)pq_rng_normal(&rng);
        x->w[i] = i == 5 ? 0.0F : (float)pq_rng_normal(&rng);
        x->a[i] = (float)pq_rng_normal(&rng);
        x->b[i] = (float)pq_rng_uniform(&rng);
    }
}

static double sign(double x)
{
    return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0;
}

static double adam_weight(const pq_update *u, const arrays *x, size_t i)
{
    const double w = (double)x->w[i], lr = (double)u->lr, wd = (double)u->weight_decay;
    const double d = (double)u->scale * (double)x->g[i] + (u->decoupled ? 0.0 : wd * w) +
                     (double)u->l1 * sign(w);
    const double m = (double)u->beta1 * (double)x->a[i] + (1.0 - (double)u->beta1) * d;
    const double v =
        (double)u->beta2 * (double)x->b[i] + (1.0 - (double)u->beta2) * d * d;

    return w * (u->decoupled ? 1.0 - lr * wd : 1.0) -
           lr * m * (double)u->correct1 /
               (sqrt(v * (double)u->correct2) + (double)u->epsilon);
}

static double sgd_weight(const pq_update *u, const arrays *x, size_t i)
{
    const double w = (double)x->w[i];
    const double d = (double)u->scale * (double)x->g[i] + (double)u->weight_decay * w +
                     (double)u->l1 * sign(w);
    const double v = (double)u->momentum * (double)x->a[i] + d;

    return w - (double)u->lr * (u->nesterov ? d + (double)u->momentum * v : v);
}

Test(optimizer, steps_follow_their_formulas_on_every_instruction_set)
{
    const pq_update u = {.scale        = 0.7F,
                         .lr           = 0.05F,
                         .weight_decay = 0.02F,
                         .l1           = 0.01F,
                         .momentum     = 0.9F,
                         .beta1        = 0.9F,
                         .beta2        = 0.99F,
                         .correct1     = 1.0F / 0.19F,
                         .correct2     = 1.0F / 0.0199F,
                         .epsilon      = 1e-6F};

    for (pq_isa isa = PQ_ISA_PORTABLE; isa <= pq_cpu_isa(); isa++) {
        for (int form = 0; form < 4; form++) {
            arrays    before, x;
            pq_update k = u;
            k.nesterov  = form == 1;
            k.decoupled = form == 3;
            draw(&before);
            x = before;
            if (form < 2) {
                pq_simd_find(isa)->sgd(&k, N, x.g, x.w, x.a);
            } else {
                pq_simd_find(isa)->adam(&k, N, x.g, x.w, x.a, x.b);
            }
            for (size_t i = 0; i < N; i++) {
                const double due =
                    form < 2 ? sgd_weight(&k, &before, i) : adam_weight(&k, &before, i);
                cr_expect_float_eq((double)x.w[i], due, 2e-6,
                                   "isa %d, form %d, %zu: %g not %g", (int)isa, form, i,
                                   (double)x.w[i], due);
            }
        }
    }
}

static pq_train_params defaults(void)
{
    pq_train_params p = {0};

    OK(pq_params_default(pq_train_param_table, &p, err));
    p.lr     = 1.0;
    p.epochs = 10;
    return p;
}

Test(optimizer, the_rate_follows_its_schedule)
{
    pq_train_params p = defaults();

    cr_expect_float_eq(pq_learning_rate(&p, 7.5), 1.0, 1e-12);
    p.schedule  = PQ_SCHEDULE_STEP;
    p.step_size = 3;
    cr_expect_float_eq(pq_learning_rate(&p, 2.9), 1.0, 1e-12);
    cr_expect_float_eq(pq_learning_rate(&p, 6.0), 0.01, 1e-12);
    p.min_lr = 0.05;
    cr_expect_float_eq(pq_learning_rate(&p, 6.0), 0.05, 1e-12);
    p.schedule = PQ_SCHEDULE_COSINE;
    cr_expect_float_eq(pq_learning_rate(&p, 0.0), 1.0, 1e-12);
    cr_expect_float_eq(pq_learning_rate(&p, 5.0), 0.525, 1e-12);
    cr_expect_float_eq(pq_learning_rate(&p, 10.0), 0.05, 1e-12);
    p.min_lr        = 0.0;
    p.warmup_epochs = 2.0;
    cr_expect_float_eq(pq_learning_rate(&p, 1.0), 0.5, 1e-12);
    cr_expect_float_eq(pq_learning_rate(&p, 6.0), 0.5, 1e-12);
    p.warmup_epochs = 0.0;
    p.schedule      = PQ_SCHEDULE_ONE_CYCLE;
    cr_expect_float_eq(pq_learning_rate(&p, 0.0), 0.04, 1e-12);
    cr_expect_float_eq(pq_learning_rate(&p, 3.0), 1.0, 1e-12);
    cr_expect_float_eq(pq_learning_rate(&p, 10.0), 4e-6, 1e-12);
}
