/* Sums and lines by column give the bits of plain loops, whatever the vectors' width. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "kernels/kernels.h"

enum { ROWS = 7, MOST = 150, FLOATS = ROWS * MOST };

/* What the kernels read, and what they give: [0] theirs, [1] that of plain loops. */
static float x[FLOATS], y[FLOATS], a[MOST], b[MOST], c[MOST];
static float d[2][FLOATS], s1[2][MOST], s2[2][MOST];

static void draw(uint64_t seed)
{
    pq_rng rng = pq_rng_stream(seed, "columns");

    for (size_t i = 0; i < FLOATS; i++) {
        x[i]    = (float)pq_rng_normal(&rng);
        y[i]    = fmaxf((float)pq_rng_normal(&rng), 0.0F);
        d[0][i] = d[1][i] = (float)pq_rng_normal(&rng);
    }
    y[3]    = NAN;
    d[0][5] = d[1][5] = INFINITY; /* masked or not, never 0 * infinity */
    for (size_t j = 0; j < MOST; j++) {
        a[j]     = (float)pq_rng_normal(&rng);
        b[j]     = (float)pq_rng_normal(&rng);
        c[j]     = (float)pq_rng_normal(&rng);
        s1[0][j] = s1[1][j] = (float)pq_rng_normal(&rng);
        s2[0][j] = s2[1][j] = (float)pq_rng_normal(&rng);
    }
}

static void expect_same(const char *what, const char *isa, size_t columns)
{
    cr_expect_arr_eq(d[0], d[1], sizeof d[0], "%s, %s: %zu columns", what, isa, columns);
    cr_expect_arr_eq(s1[0], s1[1], sizeof s1[0], "%s, %s: first sums of %zu columns",
                     what, isa, columns);
    cr_expect_arr_eq(s2[0], s2[1], sizeof s2[0], "%s, %s: second sums of %zu columns",
                     what, isa, columns);
}

static void check_sums(const pq_kernels *k, size_t columns, bool masked)
{
    const char *isa = pq_isa_name(k->isa);

    draw(columns);
    k->column_sum(ROWS, columns, masked ? y : NULL, d[0], s1[0]);
    for (size_t i = 0; i < ROWS * columns; i++) {
        d[1][i] = masked && !(y[i] > 0.0F) ? 0.0F : d[1][i];
        s1[1][i % columns] += d[1][i];
    }
    expect_same("sums", isa, columns);

    draw(columns);
    k->grad_moments(ROWS, columns, x, masked ? y : NULL, d[0], a, s1[0], s2[0]);
    for (size_t i = 0; i < ROWS * columns; i++) {
        d[1][i] = masked && !(y[i] > 0.0F) ? 0.0F : d[1][i];
        s1[1][i % columns] += d[1][i];
        s2[1][i % columns] += d[1][i] * (x[i] - a[i % columns]);
    }
    expect_same("moments of gradients", isa, columns);

    draw(columns);
    k->moments(ROWS, columns, x, a, s1[0], s2[0]);
    for (size_t i = 0; i < ROWS * columns; i++) {
        const float off = x[i] - a[i % columns];
        s1[1][i % columns] += off;
        s2[1][i % columns] += off * off;
    }
    expect_same("moments", isa, columns);
}

static void check_lines(const pq_kernels *k, size_t columns, bool flag)
{
    const char *isa = pq_isa_name(k->isa);

    draw(columns);
    k->scale_shift(ROWS, columns, x, a, b, flag, d[0]);
    for (size_t i = 0; i < ROWS * columns; i++) {
        const float s = x[i] * a[i % columns] + b[i % columns];
        d[1][i]       = flag && s < 0.0F ? 0.0F : s;
    }
    expect_same("lines", isa, columns);

    draw(columns);
    k->norm_grad(ROWS, columns, x, y, (const float *const[3]){a, b, c}, flag, d[0]);
    for (size_t i = 0; i < ROWS * columns; i++) {
        const size_t j = i % columns;
        const float  s = a[j] * y[i] + b[j] * x[i] + c[j];
        d[1][i]        = flag ? d[1][i] + s : s;
    }
    expect_same("gradients", isa, columns);
}

Test(columns, sums_and_lines_are_those_of_plain_loops_to_the_bit)
{
    for (pq_isa isa = PQ_ISA_PORTABLE; isa < PQ_ISA_COUNT; isa++) {
        const pq_kernels *k = pq_kernels_find(isa);
        for (size_t columns = 1; k != NULL && columns <= MOST; columns++) {
            for (int flag = 0; flag < 2; flag++) {
                check_sums(k, columns, flag != 0);
                check_lines(k, columns, flag != 0);
            }
        }
    }
}
