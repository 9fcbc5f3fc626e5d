#include "report/number.h"
#include "core/text.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/visible.h"

enum { DECIMALS_MAX = 12 };

#define THIN_SPACE "\xe2\x80\xaf" /* U+202F, does not break */
#define MINUS      "\xe2\x88\x92"
#define PLUS_MINUS "\xc2\xb1"
#define DASH       "\xe2\x80\x93"

/* Decimals that keep two digits of an uncertainty; negative for hundreds and more. */
static int decimals_of(double error)
{
    const int power = (int)floor(log10(error));

    return error / pow(10.0, power) >= 9.95 ? -power : 1 - power;
}

/* One long side says nothing of the digits that the value deserves: they follow from the
 * short one, up to four, and are two at least. */
static int decimals_of_lopsided(double value, double shorter, double mean)
{
    const int power  = value == 0.0 ? 0 : (int)floor(log10(fabs(value)));
    const int coarse = decimals_of(mean);
    const int most   = coarse > 3 - power ? coarse : 3 - power;
    int       wanted = shorter > 0.0 ? decimals_of(shorter) : coarse;

    wanted = wanted > most ? most : wanted;
    return wanted < 1 - power ? 1 - power : wanted;
}

static double round_at(double x, int decimals)
{
    const double unit = pow(10.0, decimals);

    return decimals >= 0 ? x : round(x * unit) / unit;
}

static const char *minus_of(pq_style style)
{
    return style == PQ_STYLE_TEX ? "$-$" : MINUS;
}

static void add_fixed(pq_text *out, double x, int decimals, pq_style style)
{
    char digits[512];

    (void)pq_snprintf(digits, sizeof digits, "%.*f", decimals > 0 ? decimals : 0,
                      fabs(round_at(x, decimals)));
    if (x < 0.0 && strpbrk(digits, "123456789") != NULL) {
        pq_text_add(out, "%s", minus_of(style));
    }
    pq_text_add(out, "%s", digits);
}

/* Plain notation where it is short, else m × 10^e, as a paper prints it. */
static void add_significant(pq_text *out, double x, int digits, pq_style style)
{
    const int power = x == 0.0 ? 0 : (int)floor(log10(fabs(x)));
    double    mantissa;

    if (digits < 0) {
        add_fixed(out, x, -digits, style);
        return;
    }
    if (power >= -4 && power < 7) {
        const int decimals = digits - 1 - power;
        add_fixed(out, x, decimals > DECIMALS_MAX ? DECIMALS_MAX : decimals, style);
        return;
    }
    mantissa = x / pow(10.0, power);
    add_fixed(out, mantissa, digits - 1, style);
    pq_text_add(out, style == PQ_STYLE_TEX ? "$\\times10^{%d}$" : "e%d", power);
}

static void add_sides(pq_text *out, double up, double down, int decimals, pq_style style)
{
    static const char *const marks[][3] = {
        [PQ_STYLE_TEXT]     = {" +", " " MINUS, ""},
        [PQ_STYLE_MARKDOWN] = {" +", " " MINUS, ""},
        [PQ_STYLE_TEX]      = {"$^{+", "}_{-", "}$"},
        [PQ_STYLE_HTML]     = {" <span class=\"pm\"><sup>+", "</sup><sub>" MINUS,
                               "</sub></span>"},
    };

    pq_text_add(out, "%s", marks[style][0]);
    add_fixed(out, up, decimals, style);
    pq_text_add(out, "%s", marks[style][1]);
    add_fixed(out, down, decimals, style);
    pq_text_add(out, "%s", marks[style][2]);
}

void pq_number_add(pq_text *out, pq_number number, double scale, int digits,
                   pq_style style)
{
    const double value = number.value * scale;
    const double up    = (number.hi - number.value) * scale;
    const double down  = (number.value - number.lo) * scale;
    const double mean  = (up + down) / 2.0;
    int          decimals;

    if (!isfinite(value)) {
        pq_text_add(out, style == PQ_STYLE_TEX ? "--" : DASH);
        return;
    }
    if (!isfinite(mean) || up < 0.0 || down < 0.0 || mean < 1e-12 * fabs(value) ||
        mean < 1e-12) {
        add_significant(out, value, digits, style);
        return;
    }
    decimals = fabs(up - down) > mean ? decimals_of_lopsided(value, fmin(up, down), mean)
                                      : decimals_of(mean);
    decimals = decimals > DECIMALS_MAX ? DECIMALS_MAX : decimals;
    add_fixed(out, value, decimals, style);
    if (fabs(up - down) > 0.1 * mean) {
        add_sides(out, up, down, decimals, style);
    } else {
        pq_text_add(out, style == PQ_STYLE_TEX ? " $\\pm$ " : " " PLUS_MINUS " ");
        add_fixed(out, mean, decimals, style);
    }
}

void pq_count_add(pq_text *out, double count, pq_style style)
{
    char   digits[512];
    size_t n;

    if (!isfinite(count)) {
        pq_text_add(out, style == PQ_STYLE_TEX ? "--" : DASH);
        return;
    }
    (void)pq_snprintf(digits, sizeof digits, "%.0f", fabs(count));
    n = strlen(digits);
    if (count < 0.0 && digits[0] != '0') {
        pq_text_add(out, "%s", minus_of(style));
    }
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && n > 4 && (n - i) % 3 == 0) {
            pq_text_add(out, style == PQ_STYLE_TEX ? "\\," : THIN_SPACE);
        }
        pq_text_add_bytes(out, &digits[i], 1);
    }
}

static const char *escape_of(char c, pq_style style)
{
    static const struct {
        char        c;
        const char *markdown, *tex, *html;
    } escapes[] = {
        {'<', "&lt;", "\\textless{}", "&lt;"},
        {'>', "&gt;", "\\textgreater{}", "&gt;"},
        {'&', "&amp;", "\\&", "&amp;"},
        {'"', NULL, "\\char34{}", "&quot;"}, /* \\textquotedbl wants T1 */
        {'\'', NULL, NULL, "&#39;"},
        {'|', "\\|", "\\textbar{}", NULL},
        {'`', "\\`", "\\char96{}", NULL},
        {'*', "\\*", NULL, NULL},
        {'_', "\\_", "\\_", NULL},
        {'[', "\\[", "{[}", NULL},
        {']', "\\]", "{]}", NULL},
        {'\\', "\\\\", "\\textbackslash{}", NULL},
        {'~', "\\~", "\\textasciitilde{}", NULL},
        {'^', NULL, "\\textasciicircum{}", NULL},
        {'%', NULL, "\\%", NULL},
        {'$', "\\$", "\\$", NULL}, /* GitHub takes $…$ for mathematics */
        {'#', "\\#", "\\#", NULL},
        {'{', NULL, "\\{", NULL},
        {'}', NULL, "\\}", NULL},
    };

    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (escapes[i].c == c) {
            return style == PQ_STYLE_MARKDOWN ? escapes[i].markdown
                   : style == PQ_STYLE_TEX    ? escapes[i].tex
                   : style == PQ_STYLE_HTML   ? escapes[i].html
                                              : NULL;
        }
    }
    return NULL;
}

/* What pdflatex, which reads UTF-8 since 2018 but knows few characters, makes of one: our
 * own headings, letters of Latin-1; else \pqchar with its code (tables.c). */
static void add_tex_character(pq_text *out, const unsigned char *s, size_t n)
{
    static const struct {
        const char *utf8, *tex;
    } known[] = {
        {"\xce\x94", "$\\Delta$"}, {"\xc2\xb5", "$\\mu$"}, {"\xc3\x97", "$\\times$"},
        {"\xe2\x88\x92", "$-$"},   {DASH, "--"},           {PLUS_MINUS, "$\\pm$"},
        {THIN_SPACE, "\\,"},
    };
    uint32_t   code = s[0] & (0x7fu >> n);
    const bool latin =
        n == 2 && s[0] == 0xc3 && strchr("\x90\x97\x9e\xb0\xb7\xbe", s[1]) == NULL;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].utf8) == n && memcmp(known[i].utf8, s, n) == 0) {
            pq_text_add(out, "%s", known[i].tex);
            return;
        }
    }
    for (size_t i = 1; i < n; i++) {
        code = code << 6 | (s[i] & 0x3fu);
    }
    if (latin) {
        pq_text_add_bytes(out, (const char *)s, n);
    } else {
        pq_text_add(out, "\\pqchar{%04X}", (unsigned)code);
    }
}

/* A hidden character as \u202e, the backslash escaped in its turn. */
static void add_hidden(pq_text *out, const char *s, size_t n, pq_style style)
{
    const char one[5]  = {s[0], n > 1 ? s[1] : 0, n > 2 ? s[2] : 0, n > 3 ? s[3] : 0, 0};
    pq_text    visible = {0};

    if (isspace((unsigned char)*s)) {
        pq_text_add(out, " "); /* breaks of lines */
        return;
    }
    pq_visible_add(&visible, one, false);
    pq_escape_add(out, visible.text != NULL ? visible.text : "?", style);
    out->failed = out->failed || visible.failed;
    pq_text_free(&visible);
}

void pq_escape_add(pq_text *out, const char *text, pq_style style)
{
    size_t n;

    for (const char *s = text; *s != '\0'; s += n > 0 ? n : 1) {
        uint32_t code;
        n                  = pq_utf8_read(s, &code);
        const char *escape = n == 1 ? escape_of(*s, style) : NULL;
        if (n == 0) {
            pq_text_add_bytes(out, "?", 1);
        } else if (pq_is_hidden(code)) {
            add_hidden(out, s, n, style);
        } else if (escape != NULL) {
            pq_text_add(out, "%s", escape);
        } else if (n > 1 && style == PQ_STYLE_TEX) {
            add_tex_character(out, (const unsigned char *)s, n);
        } else if (*s == '-' && s[1] == '-' && style == PQ_STYLE_TEX) {
            pq_text_add(out, "-{}"); /* two hyphens, not a dash */
        } else {
            pq_text_add_bytes(out, s, n);
        }
    }
}
