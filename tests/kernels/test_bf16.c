#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "kernels/bf16.h"

/* Of a float32 sum to the same in another order, to the sum of magnitudes. */
static const double TOL_SUM = 1e-5;

static void *room(size_t n, size_t size)
{
    void *block = pq_calloc(n, size);

    cr_assert_not_null(block);
    return block;
}

static void fill(pq_rng *rng, const pq_bf16_kernels *kernels, size_t n, uint16_t *to)
{
    for (size_t i = 0; i < n; i++) {
        const float x = (float)pq_rng_normal(rng);
        kernels->round(1, &x, &to[i]);
    }
}

/* One panel of `taps` runs of `length`, by both kernels. */
static void compare(const pq_bf16_kernels *kernels, pq_rng *rng, size_t across,
                    size_t taps, size_t length, size_t n)
{
    const size_t lines = 1 + across % 4, rows = lines * across;
    const size_t width = (n + PQ_BF16_LANES - 1) / PQ_BF16_LANES * PQ_BF16_LANES;
    const size_t pairs = (length + 1) / 2, pitch = length + 3, stride = 2 * pitch;
    const size_t line = across * pitch + 5;
    const size_t items =
        (lines - 1) * line + (across - 1) * pitch + (taps - 1) * stride + length;
    uint16_t *in = room(items, 2), *weight = room(taps * pairs * width * 2, 2);
    float    *bias = room(width, sizeof *bias), *add = room(rows * n, sizeof *add);
    float    *due = room(rows * n + 16, sizeof *due),
          *got    = room(rows * n + 16, sizeof *got);
    size_t tap[4];

    fill(rng, &pq_bf16_plain, items, in);
    for (size_t t = 0; t < taps; t++) {
        tap[t] = t * stride;
        for (size_t i = 0; i < length; i++) {
            for (size_t c = 0; c < n; c++) {
                fill(rng, &pq_bf16_plain, 1,
                     &weight[((t * pairs + i / 2) * width + c) * 2 + i % 2]);
            }
        }
    }
    for (size_t i = 0; i < rows * n; i++) {
        add[i]      = (float)pq_rng_normal(rng);
        bias[i % n] = (float)pq_rng_normal(rng);
    }
    pq_bf16_panel p = {.rows      = rows,
                       .taps      = taps,
                       .length    = length,
                       .in        = in,
                       .in_line   = line,
                       .in_pitch  = pitch,
                       .tap       = tap,
                       .weight    = weight,
                       .bias      = bias,
                       .width     = width,
                       .n         = n,
                       .out_pitch = n,
                       .clip      = {-INFINITY, INFINITY}};
    for (int how = 0; how < 3; how++) {
        p.residual = how > 0 ? add : NULL;
        p.clip     = how == 2 ? (pq_clip){0.0F, 6.0F} : (pq_clip){-INFINITY, INFINITY};
        p.out      = due;
        pq_bf16_plain.panel(&p);
        p.out = got;
        kernels->panel(&p);
        for (size_t i = 0; i < rows * n; i++) {
            cr_assert_float_eq(got[i], due[i], TOL_SUM * (10.0 + (double)(taps * length)),
                               "%zu rows, %zu x %zu to %zu, item %zu", across, taps,
                               length, n, i);
        }
        for (size_t i = rows * n; i < rows * n + 16; i++) {
            cr_assert_eq(got[i], 0.0F, "written beyond");
        }
    }
    pq_free(in);
    pq_free(weight);
    pq_free(bias);
    pq_free(add);
    pq_free(due);
    pq_free(got);
}

/* What this processor has beside the plain loops. */
static size_t find_all(const pq_bf16_kernels *all[2])
{
    size_t n = 0;

#if defined(__x86_64__)
    if (pq_bf16_find() != NULL) {
        all[n++] = &pq_bf16_avx512;
        if (pq_bf16_amx() != NULL) {
            all[n++] = pq_bf16_amx();
        }
    }
#else
    (void)all;
#endif
    return n;
}

Test(bf16, kernel_gives_what_the_plain_loops_give)
{
    static const size_t    lengths[] = {1, 2, 5, 16, 33, 50, 64, 96};
    static const size_t    widths[]  = {1, 15, 16, 17, 32, 48, 50, 64};
    pq_rng                 rng       = pq_rng_stream(1, "bf16");
    const pq_bf16_kernels *all[2]    = {NULL};
    const size_t           n         = find_all(all);

    if (n == 0) {
        cr_skip_test("this processor has no products of bfloat16");
    }
    for (size_t a = 0; a < sizeof lengths / sizeof lengths[0]; a++) {
        for (size_t b = 0; b < sizeof widths / sizeof widths[0]; b++) {
            for (size_t rows = 1; rows < 40; rows += rows < 20 ? 1 : 6) {
                for (size_t k = 0; k < n; k++) {
                    compare(all[k], &rng, rows, 1 + rows % 3, lengths[a], widths[b]);
                }
            }
        }
    }
}

/* Every float that is a tie, its neighbours, the ends, and what is no number. */
Test(bf16, rounds_to_the_nearest_and_ties_to_even)
{
    static const struct {
        float    x;
        uint16_t due;
    } cases[] = {{1.0F, 0x3f80},
                 {0x1.01p0F, 0x3f80},
                 {0x1.010002p0F, 0x3f81},
                 {0x1.03p0F, 0x3f82},
                 {0x1.02fffep0F, 0x3f81},
                 {-0x1.03p0F, 0xbf82},
                 {0.0F, 0},
                 {-0.0F, 0x8000},
                 {INFINITY, 0x7f80},
                 {-INFINITY, 0xff80},
                 {0x1.fffffep127F, 0x7f80},
                 {0x1.fefffep127F, 0x7f7f},
                 {0x1p-126F, 0x0080},
                 {0x1p-130F, 0},
                 {-0x1p-130F, 0x8000}};
    enum { N = sizeof cases / sizeof cases[0] };
    const pq_bf16_kernels *both[] = {&pq_bf16_plain, pq_bf16_find()};

    for (int k = 0; k < 2 && both[k] != NULL; k++) {
        float    x[N + 1];
        uint16_t y[N + 2] = {0};
        for (size_t i = 0; i < N; i++) {
            x[i] = cases[i].x;
        }
        x[N] = NAN;
        both[k]->round(N + 1, x, y);
        for (size_t i = 0; i < N; i++) {
            cr_expect_eq(y[i], cases[i].due, "%s: %a is %x, not %x", both[k]->name, x[i],
                         y[i], cases[i].due);
        }
        cr_expect((y[N] & 0x7f80) == 0x7f80 && (y[N] & 0x7f) != 0);
        cr_expect_eq(y[N + 1], 0);
    }
}
