#include "report/plot.h"

#include <math.h>
#include <string.h>

void pq_plot_free(pq_plot *p)
{
    pq_chart_free(&p->chart);
    pq_text_free(&p->data);
    pq_text_free(&p->body);
    pq_text_free(&p->caption);
}

/* Okabe & Ito (2008) without black and, for contrast on white, without yellow; then
 * grey, wine and olive of Tol's "muted" scheme. */
const char *pq_plot_color(size_t i)
{
    static const char *const colors[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                         "#E69F00", "#56B4E9", "#777777", "#882255",
                                         "#999933", "#332288"};

    return colors[i % (sizeof colors / sizeof *colors)];
}

/* Between double quotes, where gnuplot reads octal codes: all but letters, digits and
 * what is known to be harmless becomes one, so that no character is a command, a
 * backquote or an end of the text. */
static void add_quoted(pq_text *out, const char *text, bool is_format)
{
    pq_text_add(out, "\"");
    for (const char *s = text; *s != '\0'; s++) {
        const unsigned char c     = (unsigned char)*s;
        const bool          plain = c >= 0x80 || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') ||
                           strchr(" 0123456789=.,:;+-_()[]/<>#", c) != NULL;
        if (plain) {
            pq_text_add_bytes(out, s, 1);
        } else {
            pq_text_add(out, c == '%' && is_format ? "\\%03o\\%03o" : "\\%03o", c, c);
        }
    }
    pq_text_add(out, "\"");
}

void pq_plot_quote(pq_text *out, const char *text)
{
    add_quoted(out, text, false);
}

void pq_plot_quote_tick(pq_text *out, const char *text)
{
    add_quoted(out, text, true);
}

void pq_plot_quote_cut(pq_text *out, const char *text, size_t longest)
{
    pq_text cut = {0};

    pq_label_cut(&cut, text, longest);
    pq_plot_quote(out, cut.text != NULL ? cut.text : "");
    out->failed = out->failed || cut.failed;
    pq_text_free(&cut);
}

static void add_tick(pq_text *out, bool after, double x, bool numbered)
{
    pq_text_add(out, "%s'", after ? ", " : "");
    if (numbered) {
        pq_text_add(out, "%.10g", x);
    }
    pq_text_add(out, "' %.10g", x);
}

double pq_plot_step(double range)
{
    const double raw = range / 4.0, power = pow(10.0, floor(log10(raw)));

    return raw / power < 1.5   ? power
           : raw / power < 3.5 ? 2.0 * power
           : raw / power < 7.5 ? 5.0 * power
                               : 10.0 * power;
}

/* For ranges in which 1, 2, 5, 10, … leave fewer than three. */
static void add_even_ticks(pq_text *out, double first, double last, bool numbered)
{
    const double step = pq_plot_step(last - first), start = ceil(first / step);

    for (double k = start; k * step <= last; k += 1.0) {
        add_tick(out, k > start, k * step, numbered);
    }
}

void pq_plot_log_axis(pq_text *out, char axis, double lo, double hi, bool numbered)
{
    static const double few[] = {1.0, 3.0}, all[] = {1.0, 2.0, 5.0};
    const double        first = lo / 1.25, last = hi * 1.25, span = last / first;
    /* numbers stand side by side on x, below each other on y */
    const bool    sparse = axis == 'x' && span > 1e2;
    const double *steps  = sparse ? few : all;
    const size_t  count  = span > (axis == 'x' ? 1e3 : 1e4) ? 1 : sparse ? 2 : 3;
    size_t        n      = 0;
    pq_text       ticks  = {0};

    pq_text_add(out, "set logscale %c\nset %crange [%.6g:%.6g]\nset %ctics (", axis, axis,
                first, last, axis);
    for (int power = (int)floor(log10(first)); power <= (int)ceil(log10(last)); power++) {
        for (size_t s = 0; s < count; s++) {
            const double x = steps[s] * pow(10.0, power);
            if (x >= first && x <= last) {
                add_tick(&ticks, n++ > 0, x, numbered);
            }
        }
    }
    if (n < 3) {
        add_even_ticks(out, first, last, numbered);
    } else {
        pq_text_add(out, "%s", ticks.text != NULL ? ticks.text : "");
    }
    pq_text_add(out, ")\n");
    out->failed = out->failed || ticks.failed;
    pq_text_free(&ticks);
}
