/* Decimal numbers against strtod: millions of random texts of every shape. */
#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "core/rng.h"
#include "core/text.h"

enum { TEXTS = 1000000 };

static size_t taken; /* by the fast way */

/* The same value, to the last bit, and the same end; where it gives up, nothing. */
static void compare(const char *text)
{
    char        *stop;
    const double want = strtod(text, &stop);
    const char  *end  = "untouched";
    double       have = 0.5;

    if (!pq_decimal(text, &end, &have)) {
        cr_assert_eq(have, 0.5);
        cr_assert_str_eq(end, "untouched");
        return;
    }
    taken++;
    if (strstr(text, "0x") != NULL) { /* hexadecimal for strtod, 0 here */
        return;
    }
    cr_assert(end == stop && memcmp(&have, &want, sizeof have) == 0,
              "'%s': %a up to '%s', by strtod %a up to '%s'", text, have, end, want,
              stop);
}

/* Doubles of any bits, and those that files hold, in the formats that programs write. */
Test(decimal, numbers_as_programs_write_them_are_strtods, .timeout = 300)
{
    static const char *const formats[] = {"%.17g", "%.16g", "%.15g", "%.9g", "%.8g", "%g",
                                          "%.18e", "%.7e",  "%.3f",  "%.6f", "%.12f"};
    enum { FORMATS = sizeof formats / sizeof *formats };
    pq_rng rng = pq_rng_stream(1, "decimal");
    char   text[512];

    for (size_t i = 0; i < TEXTS; i++) {
        const uint64_t bits = pq_rng_bits(&rng);
        double         x    = pq_rng_normal(&rng) * exp(8.0 * pq_rng_normal(&rng));
        if (i % 4 == 0) {
            memcpy(&x, &bits, sizeof x);
        } else if (i % 4 == 1) {
            x = (double)(float)x;
        }
        (void)snprintf(text, sizeof text, formats[i % FORMATS], x);
        compare(text);
    }
    cr_expect_gt(taken, TEXTS * 7 / 10, "only %zu of %d went the fast way", taken, TEXTS);
}

/* Digits, points, exponents and rubbish at random. */
Test(decimal, random_texts_are_read_as_far_as_strtod_does, .timeout = 300)
{
    static const char letters[] = "00123456789999....eE+-+- ,x";
    pq_rng            rng       = pq_rng_stream(2, "decimal");
    char              text[40];

    for (size_t i = 0; i < 2 * (size_t)TEXTS; i++) {
        const size_t n = 1 + pq_rng_below(&rng, sizeof text - 2);
        for (size_t k = 0; k < n; k++) {
            text[k] = letters[pq_rng_below(&rng, sizeof letters - 1)];
        }
        text[n] = '\0';
        if (text[0] != ' ') { /* which strtod skips */
            compare(text);
        }
    }
}

/* Numbers that lie on a tie between two doubles, and a digit to each side. */
Test(decimal, ties_are_rounded_to_even, .timeout = 300)
{
    pq_rng rng = pq_rng_stream(3, "decimal");
    char   text[64];

    for (size_t i = 0; i < TEXTS / 2; i++) {
        /* 54 bits, the last one set: half-way between two doubles */
        const uint64_t odd = (pq_rng_bits(&rng) >> 10) | (uint64_t)1 << 53 | 1;
        for (int away = -1; away <= 1; away++) {
            (void)snprintf(text, sizeof text, "%llu",
                           (unsigned long long)(odd + (uint64_t)(int64_t)away));
            compare(text);
            (void)snprintf(text, sizeof text, "%llu.%de%d", (unsigned long long)odd,
                           away + 1, (int)pq_rng_below(&rng, 20));
            compare(text);
            (void)snprintf(text, sizeof text, "%llu5e-1",
                           (unsigned long long)((odd >> 4) + (uint64_t)(int64_t)away));
            compare(text);
        }
    }
}

Test(decimal, corners)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "+0",
        "0.0",
        "-0.000e5",
        "1.",
        ".5",
        "-.5e1",
        "1e",
        "1e+",
        "1e5",
        "1E5",
        "1e-27",
        "1e27",
        "1e28",
        "1.5",
        "00012",
        "0.1",
        "1e22",
        "1e23",
        "9007199254740993",
        "18446744073709551615",
        "9999999999999999999",
        "9999999999999999999e-27",
        "9999999999999999999e27",
        "4.35",
        "0.3",
        "1e400",
        "1e-400",
        "2.2250738585072014e-308",
        "0x10",
        "-0x10",
        "5e-324",
        "1e99999999999",
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        compare(texts[i]);
    }
    for (const char *const *bad = (const char *const[]){"", "-", ".", "e5", "nan", "inf",
                                                        "-.e1", "+-1", " 1", NULL};
         *bad != NULL; bad++) {
        const char *end;
        double      value;
        cr_expect(!pq_decimal(*bad, &end, &value), "'%s' is no number", *bad);
    }
}

/* A host program may have set a locale with a decimal comma. */
Test(decimal, does_not_follow_the_locale)
{
    double x = 0.0;

    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL) {
        cr_skip_test("skipped: no locale with a decimal comma");
    }
    cr_expect(pq_parse_real("1.25", PQ_UNIT_NONE, &x) && x == 1.25);
    cr_expect(pq_parse_real("1.2345678901234567890123", PQ_UNIT_NONE, &x) && x > 1.234 &&
              x < 1.235);
    cr_expect(!pq_parse_real("1,25", PQ_UNIT_NONE, &x));
}
