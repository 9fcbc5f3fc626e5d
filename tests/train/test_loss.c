/* Losses against their definitions, gradients against finite differences. */
#include "support.h"
#include "train/loss.h"

enum { WIDTH = 5, ROWS = 3 };

static const float   logits[ROWS * WIDTH]  = {0.3F,  -1.2F, 2.0F, 0.1F,  0.9F,
                                              -0.4F, 0.0F,  1.1F, -2.0F, 0.7F,
                                              3.0F,  -3.0F, 0.2F, 0.4F,  -0.6F};
static const float   teacher[ROWS * WIDTH] = {1.3F, -0.2F, 1.0F, 0.6F,  -0.9F,
                                              0.4F, 0.3F,  2.1F, -1.0F, 0.0F,
                                              1.0F, -2.0F, 0.5F, 0.4F,  0.6F};
static const int32_t labels[ROWS]          = {2, 0, 4};
static const float   weights[ROWS]         = {1.0F, 0.5F, 2.0F};

static double loss_at(const pq_loss *l, const float *z, bool taught, float *gradient)
{
    return pq_loss_run(l, &(pq_loss_chunk){.kernels  = pq_kernels_find(pq_cpu_isa()),
                                           .rows     = ROWS,
                                           .logits   = z,
                                           .teacher  = taught ? teacher : NULL,
                                           .labels   = labels,
                                           .weights  = weights,
                                           .scale    = 1.0 / 3.5,
                                           .gradient = gradient});
}

static void check_gradient(const pq_loss *l, bool taught, const char *what)
{
    float z[ROWS * WIDTH], g[ROWS * WIDTH];

    OK(pq_loss_check(l, err));
    (void)loss_at(l, logits, taught, g);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        const float h = 0.01F;
        double      up, down;
        memcpy(z, logits, sizeof z);
        z[i] += h;
        up = loss_at(l, z, taught, NULL);
        z[i] -= 2.0F * h;
        down = loss_at(l, z, taught, NULL);
        cr_expect_float_eq((double)g[i], (up - down) / (2.0 * (double)h), 2e-4,
                           "%s: gradient %zu is %g, not %g", what, i, (double)g[i],
                           (up - down) / (2.0 * (double)h));
    }
}

Test(loss, every_form_has_the_gradient_of_its_value)
{
    check_gradient(&(pq_loss){.width = WIDTH}, false, "cross-entropy");
    check_gradient(&(pq_loss){.width = WIDTH, .label_smoothing = 0.2F}, false,
                   "smoothed");
    check_gradient(&(pq_loss){.width = WIDTH, .focal_gamma = 2.0F}, false, "focal");
    check_gradient(&(pq_loss){.width = WIDTH, .focal_gamma = 0.5F}, false, "focal 0.5");
    check_gradient(
        &(pq_loss){.width = WIDTH, .focal_gamma = 2.0F, .label_smoothing = 0.2F}, false,
        "focal, smoothed");
    check_gradient(&(pq_loss){.width = WIDTH, .squared = true}, false,
                   "squared, softmax");
    check_gradient(&(pq_loss){.width = WIDTH, .squared = true, .link = PQ_LINK_NONE},
                   false, "squared, no link");
    check_gradient(&(pq_loss){.width = WIDTH, .squared = true, .link = PQ_LINK_SIGMOID},
                   false, "squared, sigmoid");
    check_gradient(&(pq_loss){.width = WIDTH, .link = PQ_LINK_SIGMOID}, false, "binary");
    check_gradient(&(pq_loss){.width = WIDTH, .temperature = 3.0F, .alpha = 0.7F}, true,
                   "distillation");
    check_gradient(
        &(pq_loss){
            .width = WIDTH, .link = PQ_LINK_SIGMOID, .temperature = 3.0F, .alpha = 0.7F},
        true, "distillation, sigmoid");
    check_gradient(
        &(pq_loss){
            .width = WIDTH, .temperature = 1.0F, .alpha = 1.0F, .label_smoothing = 0.1F},
        true, "teacher alone");
}

Test(loss, cross_entropy_is_the_weighted_mean_of_minus_log_p)
{
    double due = 0.0;

    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0.0;
        for (size_t j = 0; j < WIDTH; j++) {
            sum += exp((double)logits[r * WIDTH + j]);
        }
        due += (double)weights[r] / 3.5 *
               (log(sum) - (double)logits[r * WIDTH + (size_t)labels[r]]);
    }
    cr_expect_float_eq(loss_at(&(pq_loss){.width = WIDTH}, logits, false, NULL), due,
                       1e-6);
}

/* The definitions, in double. */
Test(loss, focal_with_smoothed_labels_and_a_sigmoids_teacher_have_their_values)
{
    const pq_loss focal  = {.width = WIDTH, .focal_gamma = 2.0F, .label_smoothing = 0.2F};
    const pq_loss taught = {
        .width = WIDTH, .link = PQ_LINK_SIGMOID, .temperature = 2.0F, .alpha = 1.0F};
    double due_focal = 0.0, due_taught = 0.0;

    for (size_t r = 0; r < ROWS; r++) {
        const float *z = logits + r * WIDTH, *u = teacher + r * WIDTH;
        double       sum = 0.0;
        for (size_t j = 0; j < WIDTH; j++) {
            sum += exp((double)z[j]);
        }
        for (size_t j = 0; j < WIDTH; j++) {
            const double p = exp((double)z[j]) / sum;
            const double t = (j == (size_t)labels[r] ? 0.8 : 0.0) + 0.2 / WIDTH;
            const double a = 1.0 / (1.0 + exp(-(double)z[j] / 2.0));
            const double b = 1.0 / (1.0 + exp(-(double)u[j] / 2.0));
            due_focal -= (double)weights[r] / 3.5 * t * (1.0 - p) * (1.0 - p) * log(p);
            due_taught += (double)weights[r] / 3.5 * 4.0 *
                          (b * log(b / a) + (1.0 - b) * log((1.0 - b) / (1.0 - a)));
        }
    }
    cr_expect_float_eq(loss_at(&focal, logits, false, NULL), due_focal, 1e-6);
    cr_expect_float_eq(loss_at(&taught, logits, true, NULL), due_taught, 2e-6);
}

Test(loss, a_perfect_student_has_no_distance_from_its_teacher)
{
    const pq_loss l = {.width = WIDTH, .temperature = 4.0F, .alpha = 1.0F};
    float         g[ROWS * WIDTH];

    cr_expect_float_eq(loss_at(&l, teacher, true, g), 0.0, 1e-6);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        cr_expect_float_eq((double)g[i], 0.0, 1e-6);
    }
}

Test(loss, stays_finite_for_huge_logits_and_not_for_nan)
{
    const float wide[ROWS * WIDTH] = {1e30F, -1e30F};
    float       bad[ROWS * WIDTH]  = {0};
    float       g[ROWS * WIDTH];

    cr_expect(isfinite(loss_at(&(pq_loss){.width = WIDTH}, wide, false, g)));
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        cr_expect(isfinite((double)g[i]));
    }
    bad[7] = NAN;
    cr_expect(!isfinite(loss_at(&(pq_loss){.width = WIDTH}, bad, false, g)));
}

Test(loss, refuses_what_has_no_meaning)
{
    static const struct {
        pq_loss     l;
        pq_status   st;
        const char *part;
    } cases[] = {
        {{.width = 1, .link = PQ_LINK_SOFTMAX}, PQ_ERR_UNSUPPORTED, "one output"},
        {{.width = PQ_CLASSES_MAX + 1}, PQ_ERR_UNSUPPORTED, "outputs"},
        {{.width = 3, .focal_gamma = 1.0F, .squared = true},
         PQ_ERR_CONFIG,
         "focal_gamma"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_err e = {0};
        cr_expect_eq(pq_loss_check(&cases[i].l, &e), cases[i].st, "case %zu", i);
        cr_expect(strstr(e.message, cases[i].part) != NULL, "case %zu: %s", i, e.message);
    }
}
