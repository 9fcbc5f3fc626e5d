#include "report/script.h"

#include <math.h>
#include <string.h>

const pq_picture_format pq_picture_formats[PQ_N_FORMATS] = {
    {"png",
     "pngcairo enhanced size 1600,1000 font 'DejaVu Sans,24' linewidth 2.4 "
     "dashlength 0.6 pointscale 1.9",
     20, 1.05, "IEND"},
    {"svg",
     "svg enhanced size 800,500 dynamic font 'DejaVu Sans,15' linewidth 1.5 "
     "dashlength 0.6 background '#ffffff'",
     13, 0.7, "</svg>"},
    {"pdf",
     "pdfcairo enhanced size 9.6in,6in font 'DejaVu Sans,16' linewidth 2 "
     "dashlength 0.6 pointscale 0.9",
     13, 1.05, "%%EOF"},
};

static void add_labels(const pq_view *v, pq_text *out)
{
    pq_text right = {0};

    if (*v->dataset != '\0') {
        pq_label_cut(&right, v->dataset, 20);
    }
    if (isfinite(v->events)) {
        pq_text_add(&right, "%sn = ", *v->dataset != '\0' ? ", " : "");
        pq_count_add(&right, v->events, PQ_STYLE_TEXT);
        pq_text_add(&right, "%s", isfinite(v->effective) ? ", weighted" : "");
    }
    pq_text_add(out, "set label 1 '{/:Bold pQuant}' at graph 0, graph 1.045 left\n"
                     "set label 2 noenhanced ");
    pq_plot_quote_cut(out, v->name, 34);
    pq_text_add(out, " at graph 0, graph 1.045 left offset character 8.2, 0\n"
                     "set label 3 noenhanced ");
    pq_plot_quote(out, right.text != NULL ? right.text : "");
    pq_text_add(out, " at screen 0.98, graph 1.045 right\n");
    out->failed = out->failed || right.failed;
    pq_text_free(&right);
}

void pq_script_add(const pq_plot *p, size_t n_formats, const char *name, pq_text *out)
{
    pq_text_add(out, "# Run by gnuplot 5.4 or newer in this folder.\n");
    for (size_t f = 0; f < n_formats; f++) {
        const pq_picture_format *form = &pq_picture_formats[f];
        pq_text_add(out, "\nreset\nset encoding utf8\nset terminal %s", form->terminal);
        if (strcmp(form->suffix, "svg") == 0) {
            /* makes the ids of its elements unique in a page with several pictures */
            pq_text_add(out, " name '%s'", name);
        }
        pq_text_add(out, "\nset output '%s.%s.tmp'\nsmall = ',%d'\ntiny = ',%d'\n", name,
                    form->suffix, form->small, form->small * 3 / 4);
        pq_text_add(
            out, "set border 15 linecolor rgb '#404040' linewidth 0.7\n"
                 "set tics in textcolor rgb '#202020'\nset grid linecolor rgb '#dcdcdc' "
                 "linetype 1 linewidth 0.4\n"
                 "set key outside right top vertical Left reverse noenhanced "
                 "samplen 2.6 spacing 1.25 width 1 font small\nset tmargin 3\n"
                 "set errorbars small linewidth 1\n");
        pq_text_add(out, "set pointsize %g\n", form->point_size);
        add_labels(p->v, out);
        pq_text_add(out, "%sset output\n", p->body.text);
    }
}
