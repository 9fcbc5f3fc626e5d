#include <criterion/criterion.h>
#include <math.h>

#include "core/text.h"
#include "report/sheet.h"

static const pq_sheet_column columns[] = {
    {"model", "model", PQ_SHEET_TEXT, 1.0, 0},
    {"point", "point / %", PQ_SHEET_NUMBER, 100.0, 3},
    {"rejection", "rejection", PQ_SHEET_INTERVAL, 1.0, 3},
    {"nothing", "nothing", PQ_SHEET_INTERVAL, 1.0, 3},
};

static pq_sheet filled(void)
{
    static const struct {
        const char *model;
        double      point, value, lo, hi;
    } rows[]   = {{"a_b, \"c\"", 0.7, 290.0, 265.0, 315.0},
                  {"a_b, \"c\"", 0.6, (double)INFINITY, 1234.0, (double)INFINITY},
                  {"d", 0.7, 17424.0, (double)NAN, (double)NAN},
                  {"d", 0.6, (double)NAN, (double)NAN, (double)NAN}};
    pq_sheet s = {.columns = columns, .n_columns = 4};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pq_sheet_add_text(&s, rows[i].model);
        pq_sheet_add_number(&s, rows[i].point, (double)NAN, (double)NAN);
        pq_sheet_add_number(&s, rows[i].value, rows[i].lo, rows[i].hi);
        pq_sheet_add_number(&s, (double)NAN, (double)NAN, (double)NAN);
    }
    return s;
}

static void expect_print(pq_style style, const char *due)
{
    pq_sheet s   = filled();
    pq_text  out = {0};

    pq_sheet_print(&s, style, &out);
    cr_expect(!out.failed);
    cr_expect_str_eq(out.text, due);
    pq_text_free(&out);
    pq_sheet_free(&s);
}

/* U+202F and U+2013 are the thin space of counts and the dash of what is not there. */
Test(sheet, every_style_shows_the_same_rows_and_no_empty_column)
{
    expect_print(PQ_STYLE_TEXT, "model     point / %  rejection\n"
                                "a_b, \"c\"       70.0   290 ± 25\n"
                                "               60.0     > 1230\n"
                                "d              70.0     17\u202f424\n"
                                "               60.0          –\n");
    expect_print(PQ_STYLE_MARKDOWN, "| model | point / % | rejection |\n"
                                    "| :-- | --: | --: |\n"
                                    "| a\\_b, \"c\" | 70.0 | 290 ± 25 |\n"
                                    "| a\\_b, \"c\" | 60.0 | > 1230 |\n"
                                    "| d | 70.0 | 17\u202f424 |\n"
                                    "| d | 60.0 | – |\n");
    expect_print(PQ_STYLE_TEX,
                 "\\begin{tabular}{lrr}\n\\toprule\n"
                 "model & point / \\% & rejection \\\\\n\\midrule\n"
                 "a\\_b, \\char34{}c\\char34{} & 70.0 & 290 $\\pm$ 25 \\\\\n"
                 " & 60.0 & $>$ 1230 \\\\\n"
                 "d & 70.0 & 17\\,424 \\\\\n"
                 " & 60.0 & -- \\\\\n"
                 "\\bottomrule\n\\end{tabular}\n");
    expect_print(
        PQ_STYLE_HTML,
        "<div class=\"scroll\"><table>\n<thead>\n"
        "<tr><th scope=\"col\" class=\"text\">model</th><th scope=\"col\">point / %</th>"
        "<th scope=\"col\">rejection</th></tr>\n</thead>\n<tbody>\n"
        "<tr><td class=\"text\">a_b, &quot;c&quot;</td><td>70.0</td><td>290 ± "
        "25</td></tr>\n"
        "<tr><td class=\"text\">a_b, &quot;c&quot;</td><td>60.0</td><td>&gt; "
        "1230</td></tr>\n"
        "<tr><td class=\"text\">d</td><td>70.0</td><td>17\u202f424</td></tr>\n"
        "<tr><td class=\"text\">d</td><td>60.0</td><td>–</td></tr>\n"
        "</tbody>\n</table></div>\n");
}

Test(sheet, csv_has_all_columns_with_their_ends)
{
    pq_sheet s   = filled();
    pq_text  out = {0};

    pq_sheet_csv(&s, &out);
    cr_expect_str_eq(out.text,
                     "model,point,rejection,rejection_lo,rejection_hi,nothing,nothing_lo,"
                     "nothing_hi\n"
                     "\"a_b, \"\"c\"\"\",0.7,290,265,315,,,\n"
                     "\"a_b, \"\"c\"\"\",0.6,inf,1234,inf,,,\n"
                     "d,0.7,17424,,,,,\n"
                     "d,0.6,,,,,,\n");
    cr_expect(pq_sheet_has(&s, 2));
    cr_expect(!pq_sheet_has(&s, 3));
    pq_text_free(&out);
    pq_sheet_free(&s);
}
