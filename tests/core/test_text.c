#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "core/text.h"

Test(text, numbers_with_units_are_read_and_others_refused)
{
    static const struct {
        const char *text;
        pq_unit     unit;
        double      value;
    } good[] = {
        {"1e-5", PQ_UNIT_NONE, 1e-5}, {"10", PQ_UNIT_NONE, 10},
        {"-0.5", PQ_UNIT_NONE, -0.5}, {"1%", PQ_UNIT_NONE, 0.01},
        {"10ms", PQ_UNIT_TIME, 0.01}, {"2h", PQ_UNIT_TIME, 7200},
        {"30m", PQ_UNIT_TIME, 1800},  {"0.2", PQ_UNIT_TIME, 0.2},
        {"4GB", PQ_UNIT_BYTES, 4e9},  {"1KiB", PQ_UNIT_BYTES, 1024},
        {"012", PQ_UNIT_NONE, 12},    {"inf", PQ_UNIT_NONE, (double)INFINITY},
    };
    static const struct {
        const char *text;
        pq_unit     unit;
    } bad[] = {{"", PQ_UNIT_NONE},      {"no", PQ_UNIT_NONE},   {"0x10", PQ_UNIT_NONE},
               {"1 0", PQ_UNIT_NONE},   {"10ms", PQ_UNIT_NONE}, {"10kB", PQ_UNIT_TIME},
               {"12:30", PQ_UNIT_TIME}, {"1e", PQ_UNIT_NONE},   {"64k", PQ_UNIT_NONE},
               {" 1", PQ_UNIT_NONE}};
    double value;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect(pq_parse_real(good[i].text, good[i].unit, &value), "%s", good[i].text);
        cr_expect(value == good[i].value ||
                      fabs(value - good[i].value) < 1e-12 * good[i].value,
                  "%s -> %g", good[i].text, value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_not(pq_parse_real(bad[i].text, bad[i].unit, &value), "'%s'",
                      bad[i].text);
    }
}

Test(text, whole_numbers_do_not_take_fractions_or_overflow)
{
    int64_t value;

    cr_expect(pq_parse_int("-12", &value));
    cr_expect_eq(value, -12);
    cr_expect_not(pq_parse_int("1.5", &value));
    cr_expect_not(pq_parse_int("99999999999999999999", &value));
    cr_expect_not(pq_parse_int("", &value));
}

Test(text, truth_is_told_as_yaml_has_it)
{
    static const struct {
        const char *text;
        int         value; /* -1: refused */
    } cases[] = {{"true", 1},  {"True", 1},  {"TRUE", 1},   {"yes", 1},  {"Yes", 1},
                 {"YES", 1},   {"on", 1},    {"On", 1},     {"ON", 1},   {"1", 1},
                 {"false", 0}, {"False", 0}, {"FALSE", 0},  {"no", 0},   {"No", 0},
                 {"NO", 0},    {"off", 0},   {"Off", 0},    {"OFF", 0},  {"0", 0},
                 {"tRUE", -1}, {"TRue", -1}, {"truee", -1}, {"tru", -1}, {"y", -1},
                 {"none", -1}, {"", -1},     {" true", -1}, {"2", -1},   {"1.0", -1},
                 {"oN", -1},   {"falsE", -1}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool       value = cases[i].value == 0;
        const bool known = pq_parse_bool(cases[i].text, &value);
        cr_expect_eq(known, cases[i].value >= 0, "%s", cases[i].text);
        cr_expect(!known || value == (cases[i].value == 1), "%s", cases[i].text);
    }
    cr_expect_not(pq_parse_bool(NULL, NULL));
}

Test(text, globs_match_whole_names_and_take_alternatives)
{
    cr_expect(pq_glob_match("dense_*", "dense_12"));
    cr_expect(pq_glob_match("fc?", "fc1"));
    cr_expect(pq_glob_match("a, fc*", "fc12"));
    cr_expect(pq_glob_match("*", ""));
    cr_expect(pq_glob_match("*conv*1", "layer3.conv.1"));
    cr_expect_not(pq_glob_match("fc?", "fc12"));
    cr_expect_not(pq_glob_match("fc", "fc1"));
    cr_expect_not(pq_glob_match("a,b", "c"));
    cr_expect(pq_glob_match("fc[1-3]", "fc2"));
    cr_expect(pq_glob_match("fc[13], x", "fc3"));
    cr_expect(pq_glob_match("*[!0-9]", "conv2_relu"));
    cr_expect(pq_glob_match("fc[", "fc["));
    cr_expect(pq_glob_match("a[]]b", "a]b"));
    cr_expect_not(pq_glob_match("fc[1-3]", "fc4"));
    cr_expect_not(pq_glob_match("fc[!1-3]", "fc2"));
    cr_expect_not(pq_glob_match("*[!0-9]", "conv2"));
}

Test(text, misspellings_find_their_word_and_strangers_do_not)
{
    static const char *const words[] = {"rank", "energy", "granularity"};

    cr_expect_eq(pq_edit_distance("rnak", "rank"), 1);
    cr_expect_eq(pq_edit_distance("", "abc"), 3);
    cr_expect_str_eq(pq_nearest("rnk", words, 3), "rank");
    cr_expect_str_eq(pq_nearest("granularty", words, 3), "granularity");
    cr_expect_null(pq_nearest("banana", words, 3));
}

Test(text, reals_print_shortest_and_read_back_the_same)
{
    static const double values[] = {
        0.1, 1e-5, 1.0 / 3.0, 123456789.0, -0.0, 5e-324, 1.7976931348623157e308};
    char   buffer[32];
    double back;

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        cr_expect(pq_parse_real(pq_real_text(values[i], buffer, sizeof buffer),
                                PQ_UNIT_NONE, &back));
        cr_expect_eq(back, values[i]);
    }
    cr_expect_str_eq(pq_real_text(0.1, buffer, sizeof buffer), "0.1");
    cr_expect_str_eq(pq_real_text(1e-5, buffer, sizeof buffer), "1e-05");
    cr_expect_str_eq(pq_real_text(5e-324, buffer, sizeof buffer), "5e-324");
}

Test(text, no_text_of_a_real_has_a_digit_too_many)
{
    pq_rng rng = pq_rng_stream(5, "reals");
    char   buffer[32], plain[32];

    for (size_t i = 0; i < 60000; i++) {
        const uint64_t bits  = pq_rng_bits(&rng);
        double         value = (double)(bits % 100000) / 1000.0;
        if (i % 3 == 1) {
            value = ldexp((double)(bits >> 40), (int)(bits % 2000) - 1000);
        } else if (i % 3 == 2) {
            memcpy(&value, &bits, sizeof value);
        }
        if (!isfinite(value) || value == floor(value)) {
            continue; /* whole numbers are written as such */
        }
        for (int digits = 1; digits <= 17; digits++) {
            (void)snprintf(plain, sizeof plain, "%.*g", digits, value);
            if (strtod(plain, NULL) == value) {
                break;
            }
        }
        cr_assert_str_eq(pq_real_text(value, buffer, sizeof buffer), plain);
    }
}

Test(text, people_get_bytes_and_seconds_with_units)
{
    char b[32];

    cr_expect_str_eq(pq_bytes_text(740, b, sizeof b), "740 B");
    cr_expect_str_eq(pq_bytes_text(17556, b, sizeof b), "17.6 kB");
    cr_expect_str_eq(pq_seconds_text(2.1e-6, b, sizeof b), "2.1 us");
    cr_expect_str_eq(pq_seconds_text(200, b, sizeof b), "3 min 20 s");
}

Test(text, the_buffer_grows_and_gives_its_text_away)
{
    pq_text t   = {0};
    char   *out = NULL;

    for (int i = 0; i < 1000; i++) {
        pq_text_add(&t, "%d,", i);
    }
    pq_text_add_bytes(&t, NULL, 0);
    cr_expect_eq(t.length, 10 * 2 + 90 * 3 + 900 * 4);
    cr_assert_eq(pq_text_take(&t, &out, NULL), PQ_OK);
    cr_expect_eq(strncmp(out, "0,1,2,", 6), 0);
    pq_free(out);
    cr_assert_eq(pq_text_take(&t, &out, NULL), PQ_OK);
    cr_expect_str_eq(out, "");
    pq_free(out);
}

Test(text, a_failed_allocation_is_kept_until_asked_for)
{
    pq_text t   = {0};
    char   *out = NULL;
    pq_err  err = {0};

    pq_memory_fail_after(0);
    pq_text_add(&t, "lost");
    pq_text_add(&t, "more");
    cr_expect_eq(pq_text_take(&t, &out, &err), PQ_ERR_NOMEM);
    pq_text_free(&t);
}

Test(text, splitting_keeps_empty_names)
{
    char **names;
    size_t n;

    cr_assert_eq(pq_text_split("g,q,,t", ',', &names, &n, NULL), PQ_OK);
    cr_assert_eq(n, 4);
    cr_expect_str_eq(names[0], "g");
    cr_expect_str_eq(names[2], "");
    cr_expect_str_eq(names[3], "t");
    pq_free(names);
    cr_assert_eq(pq_text_split("", ',', &names, &n, NULL), PQ_OK);
    cr_expect_eq(n, 1);
    pq_free(names);
}
