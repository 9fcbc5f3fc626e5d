#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "kernels/kernels.h"

/* Sums of at most 60 products of numbers below 1, in float, beside double. */
static const double most_difference = 2e-5;

enum {
    FLOATS        = 1 << 14,
    NETS          = 300,
    MOST_SEGMENTS = 3,
    MOST_ROWS     = 30,
    MOST_COLUMNS  = 80
};

static float  a[FLOATS], b[FLOATS], bias[FLOATS], add[FLOATS], c[2][FLOATS];
static double due[FLOATS];

static size_t below(pq_rng *r, size_t n)
{
    return (size_t)(pq_rng_uniform(r) * (double)n);
}

static void fill(pq_rng *r, float *x)
{
    for (size_t i = 0; i < FLOATS; i++) {
        x[i] = (float)(2.0 * pq_rng_uniform(r) - 1.0);
    }
}

/* The plain loops that the kernel stands for. */
static void reference(const pq_matmul *g)
{
    for (size_t i = 0; i < g->m * g->n; i++) {
        const size_t row = i / g->n, j = i % g->n;
        double       sum = g->bias != NULL ? (double)g->bias[j] : 0.0;
        for (size_t s = 0; s < g->n_segments; s++) {
            const pq_segment *t = &g->segments[s];
            for (size_t p = 0; p < t->k; p++) {
                sum += (double)g->a[t->a + row * g->a_row + p * g->a_col] *
                       (double)g->b[t->b + j / g->panel * g->b_panel + p * g->b_row +
                                    j % g->panel];
            }
        }
        sum += g->add != NULL ? (double)add[row * g->c_row + j] : 0.0;
        if (g->clip != NULL) {
            sum = fmin((double)g->clip->hi, fmax((double)g->clip->lo, sum));
        }
        due[row * g->c_row + j] = sum;
    }
}

/* Products of random shape: rows that overlap or lie apart, a transposed A, segments,
   a last panel that is not full, sums onto C or onto another array, clips. */
static void draw(pq_rng *r, const pq_kernels *k, pq_segment *segments, pq_clip *clip,
                 pq_matmul *g)
{
    size_t rows = 0;

    *clip    = (pq_clip){-(float)pq_rng_uniform(r), (float)pq_rng_uniform(r)};
    *g       = (pq_matmul){.m          = 1 + below(r, MOST_ROWS),
                           .n          = 1 + below(r, MOST_COLUMNS),
                           .a          = a,
                           .b          = b,
                           .segments   = segments,
                           .n_segments = below(r, MOST_SEGMENTS + 1),
                           .bias       = below(r, 2) ? bias : NULL,
                           .clip       = below(r, 2) ? clip : NULL};
    g->panel = k->panel(g->n);
    g->c_row = g->n + below(r, 5);
    g->b_row = g->panel;
    g->a_col = below(r, 3) == 0 ? 40 : 1;
    g->a_row = g->a_col == 40 ? 1 : 1 + below(r, 30);
    for (size_t s = 0; s < g->n_segments; s++) {
        segments[s] = (pq_segment){below(r, 100), rows * g->panel, below(r, 21)};
        rows += segments[s].k;
    }
    g->b_panel = rows * g->panel;
    g->add     = below(r, 2) ? add : NULL;
}

static void check(const pq_kernels *k, uint64_t seed, float *out)
{
    pq_rng     r = pq_rng_stream(seed, "gemm");
    pq_segment segments[MOST_SEGMENTS];
    pq_clip    clip;
    pq_matmul  g;
    bool       onto = below(&r, 2) == 1;

    draw(&r, k, segments, &clip, &g);
    for (size_t i = 0; i < FLOATS; i++) {
        out[i] = onto ? add[i] : 7.0F;
    }
    g.c   = out;
    g.add = g.add != NULL && onto ? out : g.add;
    reference(&g);
    k->gemm(&g);
    for (size_t i = 0; i < g.m * g.c_row; i++) {
        if (i % g.c_row < g.n) {
            cr_assert_float_eq((double)out[i], due[i], most_difference,
                               "%s, product %d, item %zu: %g, not %g",
                               pq_isa_name(k->isa), (int)seed, i, (double)out[i], due[i]);
        } else {
            cr_assert(out[i] == (onto ? add[i] : 7.0F),
                      "%s, product %d: written beside C", pq_isa_name(k->isa), (int)seed);
        }
    }
}

static void fill_all(void)
{
    pq_rng r = pq_rng_stream(1, "operands");

    fill(&r, a);
    fill(&r, b);
    fill(&r, bias);
    fill(&r, add);
}

Test(gemm, is_its_plain_loops_on_every_instruction_set)
{
    fill_all();
    for (int isa = 0; isa < PQ_ISA_COUNT; isa++) {
        const pq_kernels *k = pq_kernels_find((pq_isa)isa);
        for (uint64_t seed = 0; k != NULL && seed < NETS; seed++) {
            check(k, seed, c[0]);
        }
    }
}

/* One output, whose panel is one vector on both: a chain of fused multiply-adds. */
Test(gemm, has_the_same_bits_on_avx2_and_avx512)
{
    const pq_kernels *k[2] = {pq_kernels_find(PQ_ISA_AVX2),
                              pq_kernels_find(PQ_ISA_AVX512)};

    if (k[0] == NULL || k[1] == NULL) {
        cr_skip_test("one of them is not there");
    }
    fill_all();
    for (size_t rows = 1; rows <= MOST_ROWS; rows++) {
        for (int i = 0; i < 2; i++) {
            static float packed[FLOATS];
            const size_t panel = k[i]->panel(5);
            pq_pack_panels(40, 5, b, 1, 40, panel, packed);
            k[i]->gemm(&(pq_matmul){.m          = rows,
                                    .n          = 5,
                                    .a          = a,
                                    .a_row      = 40,
                                    .a_col      = 1,
                                    .b          = packed,
                                    .b_row      = panel,
                                    .panel      = panel,
                                    .c          = c[i],
                                    .c_row      = 5,
                                    .n_segments = 1,
                                    .segments   = &(pq_segment){.k = 40},
                                    .bias       = bias});
        }
        cr_assert_arr_eq(c[0], c[1], rows * 5 * sizeof(float), "%zu rows", rows);
    }
}

Test(gemm, keeps_a_nan_through_its_clip)
{
    static const float in[1] = {NAN};

    fill_all();
    for (int isa = 0; isa < PQ_ISA_COUNT; isa++) {
        const pq_kernels *k = pq_kernels_find((pq_isa)isa);
        for (size_t n = 1; k != NULL && n < MOST_COLUMNS; n++) {
            k->gemm(&(pq_matmul){.m          = 1,
                                 .n          = n,
                                 .a          = in,
                                 .a_col      = 1,
                                 .b          = b,
                                 .b_row      = k->panel(n),
                                 .b_panel    = k->panel(n),
                                 .panel      = k->panel(n),
                                 .c          = c[0],
                                 .c_row      = n,
                                 .n_segments = 1,
                                 .segments   = &(pq_segment){.k = 1},
                                 .clip       = &pq_clip_relu});
            for (size_t j = 0; j < n; j++) {
                cr_assert(isnan(c[0][j]), "%s, %zu of %zu", pq_isa_name(k->isa), j, n);
            }
        }
    }
}

Test(depthwise, is_its_plain_loops_on_every_instruction_set)
{
    static const size_t tap[3] = {0, 50, 130};

    fill_all();
    for (int isa = 0; isa < PQ_ISA_COUNT; isa++) {
        const pq_kernels *k = pq_kernels_find((pq_isa)isa);
        for (size_t n = 1; k != NULL && n <= 40; n++) {
            const size_t width = (n + k->lanes - 1) / k->lanes * k->lanes,
                         rows  = n % 7 + 1;
            const pq_clip clip = {-0.3F, 0.4F};
            k->depthwise(&(pq_depthwise){rows, 3, a, 48, tap, b, bias,
                                         n % 2 == 0 ? add : NULL, c[0], n, n, &clip});
            for (size_t i = 0; i < rows * n; i++) {
                double sum = (double)bias[i % n] + (n % 2 == 0 ? (double)add[i] : 0.0);
                for (size_t t = 0; t < 3; t++) {
                    sum += (double)a[i / n * 48 + tap[t] + i % n] *
                           (double)b[t * width + i % n];
                }
                sum = fmin((double)clip.hi, fmax((double)clip.lo, sum));
                cr_assert_float_eq((double)c[0][i], sum, most_difference);
            }
        }
    }
}
