#include <criterion/criterion.h>
#include <math.h>

#include "core/memory.h"
#include "report/number.h"

static const double none = (double)NAN;

static void expect_number(pq_number number, double scale, int digits, pq_style style,
                          const char *want)
{
    pq_text text = {0};

    pq_number_add(&text, number, scale, digits, style);
    cr_expect_str_eq(text.text, want, "'%s' is not '%s'", text.text, want);
    pq_text_free(&text);
}

static void expect_escape(const char *from, pq_style style, const char *want)
{
    pq_text text = {0};

    pq_escape_add(&text, from, style);
    cr_expect_str_eq(text.text, want, "'%s' is not '%s'", text.text, want);
    pq_text_free(&text);
}

static void expect_count(double count, pq_style style, const char *want)
{
    pq_text text = {0};

    pq_count_add(&text, count, style);
    cr_expect_str_eq(text.text, want, "'%s' is not '%s'", text.text, want);
    pq_text_free(&text);
}

Test(number, an_uncertainty_keeps_two_digits_and_the_value_as_many_decimals)
{
    expect_number((pq_number){0.7548, 0.7505, 0.7591}, 100.0, 3, PQ_STYLE_TEXT,
                  "75.48 ± 0.43");
    expect_number((pq_number){0.94263, 0.94123, 0.94403}, 1.0, 3, PQ_STYLE_TEXT,
                  "0.9426 ± 0.0014");
    expect_number((pq_number){2.1e-6, 2.07e-6, 2.13e-6}, 1e6, 3, PQ_STYLE_TEXT,
                  "2.100 ± 0.030");
    expect_number((pq_number){12345.0, 12003.0, 12687.0}, 1.0, 3, PQ_STYLE_TEXT,
                  "12350 ± 340");
}

Test(number, an_uncertainty_that_rounds_up_to_ten_keeps_two_digits)
{
    expect_number((pq_number){1.0, 1.0 - 0.0996, 1.0 + 0.0996}, 1.0, 3, PQ_STYLE_TEXT,
                  "1.00 ± 0.10");
    expect_number((pq_number){1.0, 1.0 - 0.0991, 1.0 + 0.0991}, 1.0, 3, PQ_STYLE_TEXT,
                  "1.000 ± 0.099");
}

Test(number, sides_that_differ_are_written_apart)
{
    const pq_number skewed = {0.995, 0.985, 0.999};

    expect_number(skewed, 100.0, 3, PQ_STYLE_TEXT, "99.50 +0.40 −1.00");
    expect_number(skewed, 100.0, 3, PQ_STYLE_TEX, "99.50$^{+0.40}_{-1.00}$");
    expect_number(skewed, 100.0, 3, PQ_STYLE_HTML,
                  "99.50 <span class=\"pm\"><sup>+0.40</sup><sub>−1.00</sub></span>");
    expect_number((pq_number){0.735, 0.73246, 0.73762}, 100.0, 3, PQ_STYLE_TEXT,
                  "73.50 ± 0.26"); /* 0.26 and 0.25 */
    expect_number((pq_number){1.0, 0.99, 1.0}, 100.0, 3, PQ_STYLE_TEXT,
                  "100.00 +0.00 −1.00");
}

Test(number, a_value_without_interval_keeps_its_digits)
{
    expect_number((pq_number){3.578, none, none}, 1.0, 3, PQ_STYLE_TEXT, "3.58");
    expect_number((pq_number){0.5664, none, none}, 1.0, 3, PQ_STYLE_TEXT, "0.566");
    expect_number((pq_number){1234.6, none, none}, 1.0, 3, PQ_STYLE_TEXT, "1230");
    expect_number((pq_number){0.0, none, none}, 1.0, 3, PQ_STYLE_TEXT, "0.00");
    expect_number((pq_number){-0.0023, none, none}, 100.0, -2, PQ_STYLE_TEXT, "−0.23");
    expect_number((pq_number){-0.00001, none, none}, 100.0, -2, PQ_STYLE_TEXT, "0.00");
    expect_number((pq_number){1.5e-7, none, none}, 1.0, 3, PQ_STYLE_TEXT, "1.50e-7");
    expect_number((pq_number){1.5e-7, none, none}, 1.0, 3, PQ_STYLE_TEX,
                  "1.50$\\times10^{-7}$");
    expect_number((pq_number){0.5, 0.5, 0.5}, 1.0, 3, PQ_STYLE_TEXT, "0.500");
}

Test(number, what_is_not_a_number_is_a_dash)
{
    expect_number((pq_number){none, none, none}, 1.0, 3, PQ_STYLE_TEXT, "–");
    expect_number((pq_number){(double)INFINITY, 0.0, 1.0}, 1.0, 3, PQ_STYLE_TEX, "--");
    expect_count(none, PQ_STYLE_MARKDOWN, "–");
}

Test(number, an_interval_that_does_not_hold_the_value_is_not_shown)
{
    expect_number((pq_number){1.0, 1.2, 1.4}, 1.0, 3, PQ_STYLE_TEXT, "1.00");
    expect_number((pq_number){1.0, 0.5, (double)INFINITY}, 1.0, 3, PQ_STYLE_TEXT, "1.00");
}

Test(number, counts_have_thin_spaces_from_five_digits_on)
{
    expect_count(4389.0, PQ_STYLE_TEXT, "4389");
    expect_count(17556.0, PQ_STYLE_TEXT, "17\u202f556");
    expect_count(1234567.0, PQ_STYLE_TEX, "1\\,234\\,567");
    expect_count(0.0, PQ_STYLE_TEXT, "0");
    expect_count(-12345.0, PQ_STYLE_TEXT, "−12\u202f345");
}

Test(number, html_takes_nothing_for_markup)
{
    expect_escape("<script>alert('x')</script> & \"", PQ_STYLE_HTML,
                  "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;");
}

Test(number, markdown_and_tex_take_nothing_for_markup)
{
    expect_escape("a|b_c*d`<i>\\", PQ_STYLE_MARKDOWN, "a\\|b\\_c\\*d\\`&lt;i&gt;\\\\");
    expect_escape("50 % of $x_1^2$ {#1} \\input~&", PQ_STYLE_TEX,
                  "50 \\% of \\$x\\_1\\textasciicircum{}2\\$ \\{\\#1\\} "
                  "\\textbackslash{}input\\textasciitilde{}\\&");
    expect_escape("Δ µ × − –", PQ_STYLE_TEX, "$\\Delta$ $\\mu$ $\\times$ $-$ --");
}

Test(number, control_characters_and_broken_utf8_do_not_get_through)
{
    expect_escape("a\nb\x1b[31m\x7f", PQ_STYLE_TEXT, "a b\\u001b[31m\\u007f");
    expect_escape("\xff\xc3(\xe2\x82 \xed\xa0\x80 \xf4\x90\x80\x80", PQ_STYLE_HTML,
                  "?\?(\?\? \?\?\? \?\?\?\?");
    expect_escape("\xc2\x9b"
                  "31m",
                  PQ_STYLE_TEXT, "\\u009b31m");
    expect_escape("Größe 東京 \xf0\x9f\x98\x80", PQ_STYLE_HTML,
                  "Größe 東京 \xf0\x9f\x98\x80");
}

/* A time of 0.27 us with an interval up to 26 us is not 0. */
Test(number, of_a_lopsided_interval_keeps_its_own_digits)
{
    static const struct {
        pq_number   number;
        const char *text;
    } cases[] = {
        {{0.272, 0.261, 26.3},
         "0.272 +26.028 \xe2\x88\x92"
         "0.011"},
        {{0.827, 0.05, 75.0},
         "0.83 +74.17 \xe2\x88\x92"
         "0.78"},
        {{15.3, 15.3, 90.0},
         "15 +75 \xe2\x88\x92"
         "0"},
        {{0.75, 0.71, 0.78},
         "0.750 +0.030 \xe2\x88\x92"
         "0.040"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_text text = {0};
        pq_number_add(&text, cases[i].number, 1.0, 3, PQ_STYLE_TEXT);
        cr_expect_str_eq(text.text, cases[i].text);
        pq_text_free(&text);
    }
}

/* What users call things, in every language that we write. */
Test(number, escapes_hold_whatever_a_name_does)
{
    static const struct {
        const char *name;
        pq_style    style;
        const char *text;
    } cases[] = {
        {"a--b \"q\" `x`", PQ_STYLE_TEX,
         "a-{}-b \\char34{}q\\char34{} \\char96{}x\\char96{}"},
        {"\xe4\xb8\xad \xc3\xa9 \xc3\x9e", PQ_STYLE_TEX,
         "\\pqchar{4E2D} \xc3\xa9 \\pqchar{00DE}"},
        {"50 % {x}^2 _ \\ ~ # $ &", PQ_STYLE_TEX,
         "50 \\% \\{x\\}\\textasciicircum{}2 \\_ \\textbackslash{} "
         "\\textasciitilde{} \\# \\$ \\&"},
        {"a|b\n# $x$ <i>", PQ_STYLE_MARKDOWN, "a\\|b \\# \\$x\\$ &lt;i&gt;"},
        {"<b a='1'>&\"", PQ_STYLE_HTML, "&lt;b a=&#39;1&#39;&gt;&amp;&quot;"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_text text = {0};
        pq_escape_add(&text, cases[i].name, cases[i].style);
        cr_expect_str_eq(text.text, cases[i].text);
        pq_text_free(&text);
    }
}
