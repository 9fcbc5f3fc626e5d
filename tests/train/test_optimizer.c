/* Steps of the optimisers against their formulas in double, and courses of the rate. */
#include "kernels/kernels.h"
#include "support.h"
#include "train/optimizer.h"

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
    const double m = (1.0 - (double)u->take1) * (double)x->a[i] + (double)u->take1 * d;
    const double v =
        (1.0 - (double)u->take2) * (double)x->b[i] + (double)u->take2 * d * d;

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
                         .take1        = 0.1F,
                         .take2        = 0.01F,
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
                pq_kernels_find(isa)->sgd(&k, N, x.g, x.w, x.a);
            } else {
                pq_kernels_find(isa)->adam(&k, N, x.g, x.w, x.a, x.b);
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

/* At so many epochs of ten steps. */
static double rate_at(const pq_train_params *p, double epoch)
{
    return pq_learning_rate(p,
                            &(pq_course){epoch, 10.0 * epoch, 10.0 * (double)p->epochs});
}

Test(optimizer, the_rate_follows_its_schedule)
{
    pq_train_params p = defaults();

    cr_expect_float_eq(rate_at(&p, 7.5), 1.0, 1e-12);
    p.schedule  = PQ_SCHEDULE_STEP;
    p.step_size = 3;
    cr_expect_float_eq(rate_at(&p, 2.9), 1.0, 1e-12);
    cr_expect_float_eq(rate_at(&p, 6.0), 0.01, 1e-12);
    p.min_lr = 0.05;
    cr_expect_float_eq(rate_at(&p, 6.0), 0.05, 1e-12);
    p.schedule = PQ_SCHEDULE_COSINE;
    cr_expect_float_eq(rate_at(&p, 0.0), 1.0, 1e-12);
    cr_expect_float_eq(rate_at(&p, 5.0), 0.525, 1e-12);
    cr_expect_float_eq(rate_at(&p, 10.0), 0.05, 1e-12);
    p.min_lr        = 0.0;
    p.warmup_epochs = 2.0;
    cr_expect_float_eq(rate_at(&p, 1.0), 0.5, 1e-12);
    cr_expect_float_eq(rate_at(&p, 6.0), 0.5, 1e-12);
    p.warmup_epochs = 0.0;
    p.schedule      = PQ_SCHEDULE_ONE_CYCLE;
    cr_expect_float_eq(rate_at(&p, 0.0), 0.04, 1e-12);
    cr_expect_float_eq(rate_at(&p, 2.9), 1.0, 1e-12);  /* step 0.3 * 100 - 1 */
    cr_expect_float_eq(rate_at(&p, 9.9), 4e-6, 1e-12); /* the last step */
}

/* OneCycleLR(max_lr=1, total_steps=n) of PyTorch 2.13, at each step. */
Test(optimizer, one_cycle_is_that_of_pytorch_for_few_steps_too)
{
    static const double due[][5] = {
        {4e-06},
        {0.811745653949763, 4e-06},
        {0.9944154354509117, 0.46263710266697505, 4e-06},
        {0.04, 0.9504846320134737, 0.6112620219362893, 0.18825834605023697, 4e-06},
    };
    static const size_t n[] = {1, 2, 3, 5};
    pq_train_params     p   = defaults();

    p.schedule = PQ_SCHEDULE_ONE_CYCLE;
    for (size_t k = 0; k < 4; k++) {
        for (size_t s = 0; s < n[k]; s++) {
            const double lr =
                pq_learning_rate(&p, &(pq_course){10.0 * (double)s / (double)n[k],
                                                  (double)s, (double)n[k]});
            cr_expect_float_eq(lr, due[k][s], 1e-9, "step %zu of %zu: %.15g, not %.15g",
                               s, n[k], lr, due[k][s]);
        }
    }
}

enum { IN = 3, OUT = 2, CHUNKS = 2 };

/* A dense layer whose gradients the test writes itself. */
typedef struct {
    pq_graph    *graph;
    pq_pool     *pool;
    pq_net      *net;
    pq_optimizer o;
    size_t       kernel, bias; /* where they lie in the flat array */
} bench;

static void set_up(bench *b, const pq_train_params *p, bool pruned)
{
    pq_weight *w;

    OK(pq_graph_create(&b->graph, err));
    add(b->graph, "in", layer_of("input shape=3"), NULL);
    add_dense(b->graph, "fc", IN, OUT);
    finish(b->graph, 3);
    w = pq_layer_weight(b->graph->nodes[1].layer, "kernel");
    if (pruned) {
        pq_f32(w->value)[2] = 0.0F;
        OK(pq_weight_prune_zeros(w, err));
        pq_f32(w->value)[0] = 0.0F; /* rounded, not pruned */
    }
    OK(pq_pool_create(1, &b->pool, err));
    OK(pq_net_create(b->graph,
                     &(pq_net_options){.batch = 64, .training = true, .pool = b->pool},
                     &b->net, err));
    for (size_t i = 0; i < b->net->n_weights; i++) {
        const bool is_kernel = b->net->weights[i].role == PQ_WEIGHT_KERNEL;
        *(is_kernel ? &b->kernel : &b->bias) = b->net->weights[i].offset;
    }
    OK(pq_optimizer_create(p, b->net, &b->o, err));
}

static void tear_down(bench *b)
{
    pq_optimizer_free(&b->o);
    pq_net_free(&b->net);
    pq_pool_free(&b->pool);
    pq_graph_free(&b->graph);
}

/* Gradient k of a chunk; the step sees their sum. */
static double gradient(size_t k, size_t chunk, size_t step)
{
    return 0.1 * (double)(k + 1) - 0.3 * (double)chunk + 0.05 * (double)step;
}

static void write_gradients(bench *b, size_t step)
{
    memset(b->net->gradients, 0, b->net->chunks * b->net->n_flat * sizeof(float));
    for (size_t c = 0; c < CHUNKS; c++) {
        float *g = b->net->gradients + c * b->net->n_flat;
        for (size_t k = 0; k < IN * OUT; k++) {
            g[b->kernel + k] = (float)gradient(k, c, step);
        }
        for (size_t k = 0; k < OUT; k++) {
            g[b->bias + k] = (float)gradient(IN * OUT + k, c, step);
        }
    }
}

/* AdamW by its formulas in double, all weights in a row. */
Test(optimizer, a_step_clips_corrects_and_decays_kernels_only)
{
    enum { ALL = IN * OUT + OUT };
    pq_train_params p = defaults();
    bench           b = {0};
    double          w[ALL], m[ALL] = {0}, v[ALL] = {0};

    p.optimizer    = PQ_OPTIMIZER_ADAMW;
    p.weight_decay = 0.1;
    p.clip_norm    = 0.5;
    set_up(&b, &p, false);
    cr_assert_geq(b.net->chunks, CHUNKS);
    for (size_t k = 0; k < ALL; k++) {
        w[k] = (double)b.net->flat[k < IN * OUT ? b.kernel + k : b.bias + k - IN * OUT];
    }
    for (size_t step = 1; step <= 3; step++) {
        double g[ALL], square = 0.0;
        write_gradients(&b, step);
        cr_expect(pq_optimizer_step(&b.o, b.net, CHUNKS, 0.01));
        for (size_t k = 0; k < ALL; k++) {
            g[k] = gradient(k, 0, step) + gradient(k, 1, step);
            square += g[k] * g[k];
        }
        cr_assert_gt(sqrt(square), 0.5, "nothing to clip");
        for (size_t k = 0; k < ALL; k++) {
            const double d = g[k] * 0.5 / sqrt(square), t = (double)step;
            m[k] = 0.9 * m[k] + 0.1 * d;
            v[k] = 0.999 * v[k] + 0.001 * d * d;
            w[k] *= k < IN * OUT ? 1.0 - 0.01 * 0.1 : 1.0;
            w[k] -= 0.01 * m[k] / (1.0 - pow(0.9, t)) /
                    (sqrt(v[k] / (1.0 - pow(0.999, t))) + 1e-8);
            cr_expect_float_eq(
                (double)b.net->flat[k < IN * OUT ? b.kernel + k : b.bias + k - IN * OUT],
                w[k], 1e-5, "step %zu, weight %zu", step, k);
        }
    }
    tear_down(&b);
}

Test(optimizer, the_average_has_a_short_memory_at_first)
{
    pq_train_params p = defaults();
    bench           b = {0};
    double          due;

    p.optimizer = PQ_OPTIMIZER_SGD;
    p.momentum  = 0.0;
    p.ema       = 0.3;
    set_up(&b, &p, false);
    due = (double)b.net->flat[b.kernel];
    for (size_t step = 1; step <= 5; step++) {
        const double t    = (double)step;
        const double keep = fmin(0.3, (1.0 + t) / (10.0 + t));
        write_gradients(&b, step);
        cr_expect(pq_optimizer_step(&b.o, b.net, CHUNKS, 0.1));
        due = keep * due + (1.0 - keep) * (double)b.net->flat[b.kernel];
        cr_expect_float_eq((double)b.o.average[b.kernel], due, 1e-6, "step %zu", step);
    }
    tear_down(&b);
}

Test(optimizer, the_average_of_what_does_not_move_stays_to_the_last_bit)
{
    pq_train_params p = defaults();
    bench           b = {0};

    p.optimizer = PQ_OPTIMIZER_SGD;
    p.ema       = 0.999;
    set_up(&b, &p, false);
    for (size_t i = 0; i < b.net->n_flat; i++) {
        b.net->flat[i] = b.o.average[i] = 0.1F + (float)i;
    }
    for (size_t step = 1; step <= 10000; step++) {
        memset(b.net->gradients, 0, CHUNKS * b.net->n_flat * sizeof(float));
        cr_assert(pq_optimizer_step(&b.o, b.net, CHUNKS, 0.1));
    }
    for (size_t i = 0; i < b.net->n_flat; i++) {
        cr_expect_eq(b.o.average[i], 0.1F + (float)i, "%zu: %.9g", i,
                     (double)b.o.average[i]);
    }
    tear_down(&b);
}

/* With beta2 = 0.99999 in float32, 1 - beta2 would be 3e-3 off, and so would the steps.
 */
Test(optimizer, a_memory_of_nearly_1_is_taken_in_double)
{
    pq_train_params p = defaults();
    bench           b = {0};

    p.beta2 = 0.99999;
    set_up(&b, &p, false);
    const double start = (double)b.net->flat[b.kernel];
    double       w = start, m = 0.0, v = 0.0;
    for (size_t step = 1; step <= 3; step++) {
        write_gradients(&b, 1);
        double g = 0.0;
        for (size_t c = 0; c < CHUNKS; c++) {
            g += (double)b.net->gradients[c * b.net->n_flat + b.kernel];
        }
        cr_assert(pq_optimizer_step(&b.o, b.net, CHUNKS, 0.1));
        const double t = (double)step;
        m              = p.beta1 * m + (1.0 - p.beta1) * g;
        v              = p.beta2 * v + (1.0 - p.beta2) * g * g;
        w -= 0.1 * m / (1.0 - pow(p.beta1, t)) /
             (sqrt(v / (1.0 - pow(p.beta2, t))) + p.epsilon);
        cr_expect_float_eq((double)b.net->flat[b.kernel], w, 1e-6,
                           "step %zu: %.9g, not %.9g", step,
                           (double)b.net->flat[b.kernel], w);
    }
    tear_down(&b);
}

Test(optimizer, pruned_weights_stay_and_rounded_ones_move)
{
    pq_train_params p = defaults();
    bench           b = {0};

    p.optimizer = PQ_OPTIMIZER_SGD;
    p.momentum  = 0.0;
    set_up(&b, &p, true);
    cr_expect_float_eq((double)b.net->flat[b.kernel], 0.0, 0.0);
    write_gradients(&b, 1);
    cr_expect(pq_optimizer_step(&b.o, b.net, CHUNKS, 0.1));
    cr_expect_float_eq((double)b.net->flat[b.kernel + 2], 0.0, 0.0);
    cr_expect_float_eq((double)b.net->flat[b.kernel],
                       -0.1 * (gradient(0, 0, 1) + gradient(0, 1, 1)), 1e-6);
    tear_down(&b);
}
