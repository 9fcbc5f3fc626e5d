#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "kernels/fours.h"

/* Sums of at most 70 products of numbers below 1, in float, beside double. */
static const double most_difference = 1e-5;

enum { MOST = 140 /* inputs and outputs */, BESIDE = 8 /* floats after an array */ };

static const size_t widths[] = {4, 5, 6, 7, 8, 16, 33, 64, 67, 131};

static float kernel[MOST * MOST], x[MOST], add[MOST];

static float number(pq_rng *r)
{
    return (float)(2.0 * pq_rng_uniform(r) - 1.0);
}

/* Of every four at most `few` are not 0, at random places; of some none. */
static void draw(pq_rng *r, size_t outputs, size_t inputs, size_t few)
{
    memset(kernel, 0, sizeof kernel);
    for (size_t j = 0; j < outputs; j++) {
        for (size_t i = 0; i < inputs; i += 4) {
            const size_t left = inputs - i < 4 ? inputs - i : 4;
            for (size_t k = 0; k < few; k++) {
                const size_t place = (size_t)(pq_rng_uniform(r) * (double)left);
                kernel[j * inputs + i + place] = number(r);
            }
        }
    }
    for (size_t i = 0; i < MOST; i++) {
        x[i]   = number(r);
        add[i] = number(r);
    }
}

/* The plain loops that the kernel stands for. */
static double due(const pq_fours *f, size_t j)
{
    double sum = (double)f->bias[j];

    for (size_t i = 0; i < f->inputs; i++) {
        sum += (double)kernel[j * f->inputs + i] * (double)x[i];
    }
    sum += f->add != NULL ? (double)add[j] : 0.0;
    return fmin((double)f->clip->hi, fmax((double)f->clip->lo, sum));
}

/* The same by the product of all weights. */
static void dense(const pq_kernels *k, const pq_fours *f, float *y)
{
    const size_t panel  = k->panel(f->n);
    const size_t floats = pq_panel_floats(f->inputs, f->n, panel);
    float       *packed = pq_calloc(floats, sizeof *packed);
    float       *bias   = pq_calloc(f->n + panel, sizeof *bias); /* read in panels */

    memcpy(bias, f->bias, f->n * sizeof *bias);
    pq_pack_panels(f->inputs, f->n, kernel, 1, f->inputs, panel, packed);
    k->gemm(&(pq_matmul){.m          = 1,
                         .n          = f->n,
                         .a          = f->x,
                         .a_col      = 1,
                         .b          = packed,
                         .b_row      = panel,
                         .b_panel    = f->inputs * panel,
                         .panel      = panel,
                         .c          = y,
                         .c_row      = f->n,
                         .n_segments = 1,
                         .segments   = &(pq_segment){.k = f->inputs},
                         .bias       = bias,
                         .add        = f->add,
                         .clip       = f->clip});
    pq_free(bias);
    pq_free(packed);
}

static void check(const pq_kernels *k, pq_rng *r, size_t outputs, size_t inputs,
                  size_t few)
{
    const pq_clip clip   = {-(float)pq_rng_uniform(r), INFINITY};
    float        *y      = pq_calloc(outputs + BESIDE, sizeof *y);
    float        *all    = pq_calloc(outputs + PQ_KERNELS_SLACK, sizeof *all);
    float        *bias   = NULL;
    float        *inside = pq_calloc(inputs, sizeof *inside);
    pq_fours      f      = {.few = few};

    draw(r, outputs, inputs, few);
    memcpy(inside, x, inputs * sizeof *x); /* where no more may be read */
    cr_assert_eq(pq_fours_pack(k, outputs, inputs, kernel, &f, NULL), PQ_OK);
    bias   = f.bias;
    f.x    = inside;
    f.add  = pq_rng_uniform(r) < 0.5 ? add : NULL;
    f.clip = &clip;
    f.y    = y;
    for (size_t j = 0; j < outputs; j++) {
        bias[j] = number(r);
    }
    k->fours(&f);
    dense(k, &f, all);
    for (size_t j = 0; j < outputs; j++) {
        cr_assert_float_eq((double)y[j], due(&f, j), most_difference,
                           "%s, %zu of 4, %zu to %zu, output %zu: %g, not %g",
                           pq_isa_name(k->isa), few, inputs, outputs, j, (double)y[j],
                           due(&f, j));
        cr_assert(y[j] == all[j], "%s, %zu of 4, %zu to %zu, output %zu: other bits",
                  pq_isa_name(k->isa), few, inputs, outputs, j);
    }
    for (size_t j = outputs; j < outputs + BESIDE; j++) {
        cr_assert(y[j] == 0.0F, "%s: written beside", pq_isa_name(k->isa));
    }
    pq_fours_free(&f);
    pq_free(inside);
    pq_free(all);
    pq_free(y);
}

Test(fours, are_the_plain_loops_and_the_product_of_all_on_every_instruction_set)
{
    pq_rng       r = pq_rng_stream(1, "fours");
    const size_t n = sizeof widths / sizeof *widths;

    for (int isa = 0; isa < PQ_ISA_COUNT; isa++) {
        const pq_kernels *k = pq_kernels_find((pq_isa)isa);
        for (size_t i = 0; k != NULL && i < n * n * 2; i++) {
            const size_t outputs = widths[i / 2 % n] - 3; /* from 1 */
            check(k, &r, outputs, widths[i / 2 / n], 1 + i % 2);
        }
    }
}

/* The first group of four that is fuller decides, and so does one of the last, odd
 * inputs. */
Test(fours, few_are_found_where_they_are_and_where_they_pay)
{
    static const struct {
        const char *what;
        size_t      inputs, few;
        float       row[10];
    } cases[] = {{"two of four", 8, 2, {1, 0, 0, 2, 0, 3, 0, 0}},
                 {"one of four", 8, 1, {0, 0, 0, 2, 0, 3, 0, 0}},
                 {"three of four", 8, 0, {0, 1, 1, 2, 0, 3, 0, 0}},
                 {"two in a row over a border", 8, 1, {0, 0, 0, 2, 3, 0, 0, 0}},
                 {"a rest of two", 10, 2, {0, 0, 0, 0, 0, 0, 0, 0, 1, 1}},
                 {"nothing", 8, 0, {0}},
                 {"fewer than four inputs", 3, 0, {1, 0, 0}}};
    float rows[2][10];

    for (int isa = 0; isa < PQ_ISA_COUNT; isa++) {
        const pq_kernels *k = pq_kernels_find((pq_isa)isa);
        for (size_t i = 0; k != NULL && i < sizeof cases / sizeof *cases; i++) {
            const size_t n   = cases[i].inputs;
            const size_t few = isa == PQ_ISA_PORTABLE ? 0 : cases[i].few;
            memset(rows, 0, sizeof rows);
            memcpy((float *)rows + n, cases[i].row, n * sizeof(float));
            cr_expect_eq(pq_fours_few(k, 2, n, (const float *)rows), few, "%s, %s",
                         pq_isa_name(k->isa), cases[i].what);
        }
    }
}

/* 16 to 64, 2 of 4: 8 weights of each output, 8 places in a word, a bias. */
Test(fours, bytes_are_those_of_weights_places_and_biases)
{
    for (int isa = 0; isa < PQ_ISA_COUNT; isa++) {
        const pq_kernels *k = pq_kernels_find((pq_isa)isa);
        pq_fours          f = {.few = 2};
        memset(kernel, 0, sizeof kernel);
        if (k != NULL) {
            cr_assert_eq(pq_fours_pack(k, 64, 16, kernel, &f, NULL), PQ_OK);
            cr_expect_eq(pq_fours_bytes(&f), 64 * (8 + 1 + 1) * 4);
            pq_fours_free(&f);
        }
    }
}
