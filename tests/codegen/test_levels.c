/* From sums to codes without a division: every sum of a step function, one by one. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "codegen/levels.h"
#include "core/rng.h"

enum { STEPS = 400 };

static pq_err err;

#define OK(call) cr_assert_eq((call), PQ_OK, "%s", err.message)

/* round(s m) + zero between two codes; `truncates`: downwards instead. */
typedef struct {
    double multiplier;
    int    zero, most;
    bool   truncates;
} step;

static int code_of(const void *context, int64_t sum)
{
    const step  *t = context;
    const double v = (double)sum * t->multiplier;
    const double c = (t->truncates ? floor(v) : rint(v)) + t->zero;

    return c < 0.0 ? 0 : c > t->most ? t->most : (int)c;
}

static step draw(pq_rng *rng)
{
    step t;

    t.most       = (1 << (2 + (int)(7.0 * pq_rng_uniform(rng)))) - 1;
    t.zero       = pq_rng_uniform(rng) < 0.5 ? 0 : (int)(t.most * pq_rng_uniform(rng));
    t.multiplier = exp2(-2.0 - 11.0 * pq_rng_uniform(rng));
    t.truncates  = pq_rng_uniform(rng) < 0.3;
    return t;
}

/* What a vector does with a sum: levels.h. */
static int line_code(float factor, float summand, int64_t start, pq_clamp clamp)
{
    const int32_t bits = (int32_t)(PQ_LINE_BITS + start);
    int32_t       code;
    float         x;

    memcpy(&x, &bits, sizeof x);
    x = fmaf(x, factor, summand);
    memcpy(&code, &x, sizeof code);
    code = code < PQ_LINE_BITS + clamp.least ? PQ_LINE_BITS + clamp.least : code;
    code = code > PQ_LINE_BITS + clamp.most ? PQ_LINE_BITS + clamp.most : code;
    return code & 255;
}

Test(levels, a_line_gives_the_code_of_every_sum)
{
    pq_rng rng   = pq_rng_stream(5, "levels");
    size_t found = 0;

    for (size_t i = 0; i < STEPS; i++) {
        const step    t     = draw(&rng);
        const int64_t bound = 1 + (int64_t)(200000.0 * pq_rng_uniform(&rng));
        pq_levels     l     = {0};
        float         factor, summand;
        int64_t       rounding;
        OK(pq_levels_find(code_of, &t, bound, t.most, t.multiplier, &l, &err));
        const pq_clamp clamp = {l.below, l.above};
        if (pq_levels_line(&l, clamp, &factor, &summand, &rounding)) {
            found++;
            for (int64_t s = -bound; s <= bound; s++) {
                cr_assert_eq(line_code(factor, summand, s + rounding, clamp),
                             code_of(&t, s), "step %zu, sum %lld", i, (long long)s);
            }
        }
        pq_levels_free(&l);
    }
    cr_expect_gt(found, STEPS * 9 / 10, "only %zu of %d were found", found, STEPS);
}

/* Sums whose bits are those of no float near 2^23 + 2^22 have no line. */
Test(levels, a_line_takes_sums_below_two_to_the_22)
{
    const step    t         = {1.0 / 16384.0, 0, 255, false};
    const int64_t bounds[2] = {4100000, 4200000};

    for (size_t i = 0; i < 2; i++) {
        pq_levels l = {0};
        float     factor, summand;
        int64_t   rounding;
        OK(pq_levels_find(code_of, &t, bounds[i], t.most, t.multiplier, &l, &err));
        cr_expect_eq(pq_levels_line(&l, (pq_clamp){0, 255}, &factor, &summand, &rounding),
                     i == 0);
        pq_levels_free(&l);
    }
}

/* Of both signs; the part that is rounded before it is added is that of a product with
 * bits that begin at 2^23 + 2^22. */
Test(levels, a_product_is_the_float_of_the_double_for_every_sum)
{
    pq_rng rng   = pq_rng_stream(6, "levels");
    size_t found = 0;

    for (size_t i = 0; i < STEPS; i++) {
        const double  m     = exp2(-20.0 * pq_rng_uniform(&rng));
        const int64_t bound = 1 + (int64_t)(50000.0 * pq_rng_uniform(&rng));
        float         high, low;
        if (pq_levels_product(m, bound, &high, &low)) {
            const float start = -12582912.0f * low;
            found++;
            cr_assert_eq((double)start, -12582912.0 * (double)low);
            for (int64_t s = -bound; s <= bound; s++) {
                const float bits = (float)(12582912 + s);
                cr_assert_eq(fmaf(bits - 12582912.0f, high, fmaf(bits, low, start)),
                             (float)((double)s * m), "m %a, sum %lld", m, (long long)s);
            }
        }
    }
    cr_expect_gt(found, STEPS * 3 / 4, "only %zu of %d were found", found, STEPS);
}
