#include "report/plot.h"

#include <math.h>
#include <string.h>

void pq_plot_free(pq_plot *p)
{
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

static size_t length_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

void pq_plot_cut(pq_text *out, const char *text, size_t longest)
{
    pq_text      clean = {0};
    size_t       n     = 0, length;
    const size_t head = (longest - 1) / 2, tail = longest - 1 - head;

    pq_escape_add(&clean, text, PQ_STYLE_TEXT);
    length = clean.text != NULL ? length_of(clean.text) : 0;
    for (const char *s = clean.text; s != NULL && *s != '\0'; s++) {
        const bool first = ((unsigned char)*s & 0xc0) != 0x80;
        n += first;
        if (length <= longest || n <= head || n > length - tail) {
            pq_text_add_bytes(out, s, 1);
        } else if (first && n == head + 1) {
            pq_text_add(out, "\xe2\x80\xa6");
        }
    }
    out->failed = out->failed || clean.failed;
    pq_text_free(&clean);
}

void pq_plot_quote(pq_text *out, const char *text, size_t longest)
{
    pq_text cut = {0};

    pq_plot_cut(&cut, text, longest);
    pq_text_add(out, "'");
    for (const char *s = cut.text; s != NULL && *s != '\0'; s++) {
        pq_text_add_bytes(out, *s == '\'' ? "''" : s, *s == '\'' ? 2 : 1);
    }
    pq_text_add(out, "'");
    out->failed = out->failed || cut.failed;
    pq_text_free(&cut);
}

void pq_plot_log_axis(pq_text *out, char axis, double lo, double hi)
{
    static const double steps[] = {1.0, 2.0, 5.0};
    const double        first = lo / 1.25, last = hi * 1.25;
    const bool          wide = last / first > 1e4;
    bool                any  = false;

    pq_text_add(out, "set logscale %c\nset %crange [%.6g:%.6g]\nset %ctics (", axis, axis,
                first, last, axis);
    for (int power = (int)floor(log10(first)); power <= (int)ceil(log10(last)); power++) {
        for (size_t s = 0; s < (wide ? 1 : 3); s++) {
            const double x = steps[s] * pow(10.0, power);
            if (x >= first && x <= last) {
                pq_text_add(out, "%s'%.10g' %.10g", any ? ", " : "", x, x);
                any = true;
            }
        }
    }
    pq_text_add(out, ")\n");
}
