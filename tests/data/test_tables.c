#include "data/files.h"

#include <zlib.h>

TestSuite(tables, .init = setup, .fini = teardown);

static void text(const char *name, const char *content)
{
    write_file(name, content, strlen(content));
    snprintf(path, sizeof path, "%s/%s", folder, name);
}

Test(tables, csv_columns_classes_and_weights_are_found)
{
    pq_dataset            *d;
    const pq_dataset_info *info;
    float                  x[6], w[3];
    int32_t                y[3];
    double                 number[3];

    text("a.csv",
         "event_number,\"pt\",class,eta,weight\r\n"
         "7,1.5,quark,-2e-1,1\n# a comment\n\n8,2,gluon,0.5,2\n9, 3 ,\"quark\",1,0.5\n");
    d    = open_with(NULL);
    info = pq_dataset_describe(d);
    cr_expect_str_eq(info->layout, "csv");
    cr_expect_eq(info->splits[0].n, 3);
    cr_expect(pq_shape_equal(&info->sample, &PQ_SHAPE(2)));
    cr_expect_str_eq(info->feature_names[1], "eta");
    cr_expect_eq(info->n_classes, 2);
    cr_expect_str_eq(info->class_names[0], "gluon");
    OK(pq_dataset_read(d, 0, 0, 3, &(pq_batch){x, y, w}, err));
    cr_expect_eq(x[1], -0.2F);
    cr_expect_eq(x[4], 3.0F);
    cr_expect_eq(y[0], 1);
    cr_expect_eq(y[1], 0);
    cr_expect_eq(w[2], 0.5F);
    OK(pq_dataset_read_aux(d, 0, "event_number", 1, 2, number, err));
    cr_expect_eq(number[1], 9.0);
    pq_dataset_close(&d);
    d = open_with(&(pq_dataset_options){.inputs = "eta", .labels = "q=quark"});
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 2);
    OK(pq_dataset_read(d, 0, 1, 1, &(pq_batch){x, y, NULL}, err));
    cr_expect_eq(x[0], 1.0F);
    cr_expect_eq(y[0], 0);
    pq_dataset_close(&d);
}

/* A line of names may be a comment, as NumPy writes it, or missing; blanks may be many.
 */
Test(tables, columns_are_named_by_a_line_by_a_comment_or_by_numbers)
{
    static const struct {
        const char *text, *label, *feature;
    } files[] = {{"a b  class\n1 2   5 \n3\t4 \t6\n", NULL, "b"},
                 {"# by hand\n# a b class\n1 2 5\n\n3 4 6\n", NULL, "b"},
                 {"#a;b;class\n1;2;5\n3;4;6\n", NULL, "b"},
                 {"  # a b class\n1 2 5\n \t# between\n3 4 6\n", NULL, "b"},
                 {"1 2 5\n  3 4 6\n", "2", NULL},
                 {"# no names\n1,2,5\n3,4,6\n", "2", NULL},
                 {"5%,95%,class\n1,2,5\n3,4,6\n", NULL, "95%"}};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        pq_dataset            *d;
        const pq_dataset_info *info;
        float                  x[4];
        int32_t                y[2];
        text("a.dat", files[i].text);
        d    = open_with(&(pq_dataset_options){.label = files[i].label});
        info = pq_dataset_describe(d);
        cr_assert_eq(info->splits[0].n, 2, "file %zu", i);
        cr_assert_eq(info->sample.dim[0], 2, "file %zu", i);
        cr_expect_eq(info->feature_names == NULL, files[i].feature == NULL);
        if (files[i].feature != NULL) {
            cr_expect_str_eq(info->feature_names[1], files[i].feature);
        }
        OK(pq_dataset_read(d, 0, 0, 2, &(pq_batch){x, y, NULL}, err));
        for (size_t k = 0; k < 4; k++) {
            cr_expect_eq(x[k], (float)(k + 1), "file %zu", i);
        }
        cr_expect_eq(y[0], 0);
        cr_expect_eq(y[1], 1);
        pq_dataset_close(&d);
    }
}

/* pandas counts columns that have no name: such a line is no event. */
Test(tables, columns_that_are_counted_have_a_line_of_names)
{
    static const struct {
        const char *text, *label;
        size_t      features;
    } files[] = {{"0,1,2,3,label\n5,6,7,8,b\n1,2,3,4,c\n", NULL, 4},
                 {",0,1,2,3,label\n0,5,6,7,8,b\n1,1,2,3,4,c\n", NULL, 4},
                 {"0,1,flavour\n5,6,b\n1,2,c\n", "flavour", 2},
                 {"0,1,Class\n5,6,b\n1,2,c\n", NULL, 2},
                 {"0,1,2,3,4\n5,6,7,8,1\n1,2,3,4,2\n", "4", 4}};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        pq_dataset            *d;
        const pq_dataset_info *info;
        float                  x[8];
        text("a.csv", files[i].text);
        d    = open_with(&(pq_dataset_options){.label = files[i].label});
        info = pq_dataset_describe(d);
        cr_assert_eq(info->splits[0].n, 2, "file %zu", i);
        cr_assert_eq(info->sample.dim[0], files[i].features, "file %zu", i);
        cr_expect_eq(info->n_classes, 2, "file %zu", i);
        cr_expect_null(info->feature_names);
        OK(pq_dataset_read(d, 0, 0, 2, &(pq_batch){.x = x}, err));
        cr_expect(x[0] == 5.0F && x[files[i].features] == 1.0F, "file %zu", i);
        pq_dataset_close(&d);
    }
    /* Values that happen to count, of a file without names. */
    pq_dataset *d;
    text("a.csv", "0,1,b\n2,3,c\n");
    d = open_with(&(pq_dataset_options){.label = "2"});
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 2);
    pq_dataset_close(&d);
}

Test(tables, classes_that_are_numbers_are_sorted_as_numbers)
{
    pq_dataset *d;
    int32_t     y[4];

    text("a.csv", "a,label\n1,10\n1,5\n1,0\n1,5\n");
    d = open_with(NULL);
    cr_expect_str_eq(pq_dataset_describe(d)->class_names[2], "10");
    OK(pq_dataset_read(d, 0, 0, 4, &(pq_batch){.y = y}, err));
    cr_expect_eq(y[0], 2);
    cr_expect_eq(y[1], 1);
    pq_dataset_close(&d);
    d = open_with(&(pq_dataset_options){.labels = "b=5,light=0"});
    OK(pq_dataset_read(d, 0, 0, 3, &(pq_batch){.y = y}, err));
    cr_expect_eq(y[0], 0);
    cr_expect_eq(y[1], 1);
    pq_dataset_close(&d);
}

Test(tables, whole_numbers_written_as_reals_are_the_classes_they_are)
{
    pq_dataset *d;
    int32_t     y[7];

    text("a.csv", "a,label\n1,1.000000000000000000e+00\n1,1\n1,-0.0\n1,1.0\n1,0\n1,0.5\n"
                  "1,1e9\n");
    d                           = open_with(NULL);
    const pq_dataset_info *info = pq_dataset_describe(d);
    cr_assert_eq(info->n_classes, 4);
    cr_expect_str_eq(info->class_names[0], "0");
    cr_expect_str_eq(info->class_names[1], "0.5");
    cr_expect_str_eq(info->class_names[2], "1");
    cr_expect_str_eq(info->class_names[3], "1e9");
    OK(pq_dataset_read(d, 0, 0, 7, &(pq_batch){.y = y}, err));
    static const int32_t right[] = {2, 2, 0, 2, 0, 1, 3};
    for (size_t i = 0; i < 7; i++) {
        cr_expect_eq(y[i], right[i], "event %zu is of class %d", i, y[i]);
    }
    pq_dataset_close(&d);
    /* Declared classes are texts. */
    text("a.arff", "@attribute a real\n@attribute class {1.0, 1}\n@data\n1,1\n1,1.0\n");
    d = open_with(NULL);
    OK(pq_dataset_read(d, 0, 0, 2, &(pq_batch){.y = y}, err));
    cr_expect(y[0] == 1 && y[1] == 0);
    pq_dataset_close(&d);
}

/* OpenML's header, as 42468 has it. */
static const char arff[] = "% a comment\n@RELATION hls4ml_lhc_jets_hlf\n\n"
                           "@ATTRIBUTE zlogz REAL\n@attribute 'c1 b0' numeric\n"
                           "@attribute class {g, q, t, w, z}\n@DATA\n"
                           "-2.9,0.4,t\n-3.5,?,'g'\n% in between\n-1.5,0.1,z\n";

Test(tables, arff_declares_its_classes_in_their_order)
{
    pq_dataset            *d;
    const pq_dataset_info *info;
    float                  x[2];
    int32_t                y[3];
    pq_err                 err = {0};
    char                   want[300];

    text("a.arff", arff);
    d    = open_with(NULL);
    info = pq_dataset_describe(d);
    cr_expect_str_eq(info->layout, "arff");
    cr_expect_eq(info->n_classes, 5);
    cr_expect_str_eq(info->class_names[2], "t");
    cr_expect_str_eq(info->feature_names[1], "c1 b0");
    OK(pq_dataset_read(d, 0, 0, 3, &(pq_batch){.y = y}, err));
    cr_expect_eq(y[0], 2);
    cr_expect_eq(y[1], 0);
    cr_expect_eq(y[2], 4);
    cr_expect_eq(pq_dataset_read(d, 0, 1, 1, &(pq_batch){.x = x}, &err), PQ_ERR_FORMAT);
    snprintf(want, sizeof want,
             "%s: event 1: feature 'c1 b0' is nan; only finite values are read unless "
             "`nonfinite` is drop or zero",
             path);
    cr_expect_str_eq(err.message, want);
    pq_dataset_close(&d);
    d = open_with(&(pq_dataset_options){.nonfinite = PQ_NONFINITE_DROP});
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 2);
    pq_dataset_close(&d);
}

Test(tables, any_rows_are_read_in_any_order_plain_and_gzipped)
{
    enum { N = 5000 };
    char full[200];

    for (int gz = 0; gz < 2; gz++) {
        pq_dataset *d;
        gzFile      file;
        snprintf(full, sizeof full, "%s/b.csv%s", folder, gz == 1 ? ".gz" : "");
        file = gzopen(full, gz == 1 ? "wb" : "wbT");
        gzprintf(file, "a,b,class\n");
        for (int i = 0; i < N; i++) {
            gzprintf(file, "%d,%d,%d\n", i, 2 * i, i % 3);
        }
        cr_assert_eq(gzclose(file), Z_OK);
        strcpy(path, full);
        d = open_with(&(pq_dataset_options){.splits = "train=0:0.5,test=0.5:1"});
        for (size_t k = 0; k < 200; k++) {
            const size_t first = k * 7919 % (N / 2 - 3);
            float        x[6];
            int32_t      y[3];
            OK(pq_dataset_read(d, k % 2, first, 3, &(pq_batch){x, y, NULL}, err));
            for (size_t i = 0; i < 3; i++) {
                const size_t row = first + i + (k % 2 == 1 ? N / 2 : 0);
                cr_assert_eq(x[2 * i], (float)row);
                cr_assert_eq(x[2 * i + 1], (float)(2 * row));
                cr_assert_eq(y[i], (int32_t)(row % 3));
            }
        }
        pq_dataset_close(&d);
    }
}

Test(tables, what_is_wrong_is_said_with_its_line)
{
    text("a.csv", "");
    refused(NULL, PQ_ERR_FORMAT, ": is empty");
    text("a.csv", "a,class\n");
    refused(NULL, PQ_ERR_FORMAT, ": holds no events");
    text("a.csv", "1.5,2\n3,4\n");
    refused(NULL, PQ_ERR_FORMAT,
            ":1: gives no names but values, so the columns are called 0 to 1: say which "
            "holds the class with label");
    text("a.csv", "1.5,a,b\n3,4,5\n");
    refused(NULL, PQ_ERR_FORMAT,
            ":1: column 1 is called '1.5': the first line must give names");
    text("a.csv", "a,a\n3,4\n");
    refused(NULL, PQ_ERR_FORMAT, ":1: columns 1 and 2 are both called 'a'");
    text("a.csv", "a\n3\n");
    refused(NULL, PQ_ERR_FORMAT, ": has 1 columns; features and a class need at least 2");
    text("a.csv", "a,b,class\n1,2,x\n1,2\n");
    refused(NULL, PQ_ERR_FORMAT, ":3: has 2 values, but there are 3 columns");
    text("a.csv", "a,b,class\n1,2,x\n1,2,x,7\n");
    refused(NULL, PQ_ERR_FORMAT, ":3: has more than 3 values, but there are 3 columns");
    text("a.csv", "a,b,class\n1,2,\n");
    refused(NULL, PQ_ERR_FORMAT, ":2: column 'class' holds no class");
    text("a.csv", "alpha,beta,class\n1,2,x\n");
    refused(&(pq_dataset_options){.inputs = "alpa"}, PQ_ERR_NOT_FOUND,
            ": has no column 'alpa'; did you mean 'alpha'?");
    text("a.arff", "@relation r\n@attribute a real\n");
    refused(NULL, PQ_ERR_FORMAT, ": has no @data");
    text("a.arff", "@relation r\n@attribut a real\n");
    refused(NULL, PQ_ERR_FORMAT, ":2: is neither @relation, @attribute nor @data");
    text("a.arff", "@attribute a\n@data\n");
    refused(NULL, PQ_ERR_FORMAT, ":1: is not written @attribute NAME TYPE");
    text("a.arff", "@attribute a real\n@attribute class {x,y}\n@data\n1,w\n");
    refused(NULL, PQ_ERR_FORMAT, ":4: class 'w' is not declared");
    text("a.arff", "@attribute a real\n@attribute class {x,y\n@data\n1,w\n");
    refused(NULL, PQ_ERR_FORMAT, ":2: the list of values does not end with }");
}

Test(tables, a_label_is_named_or_at_least_looks_like_one)
{
    pq_dataset *d;
    int32_t     y[3];

    text("a.csv", "a,eta\n1,2\n2,0.25\n");
    refused(NULL, PQ_ERR_FORMAT,
            ":3: no column is called class, label, target or y, and the last, 'eta', "
            "holds 0.25, which is no class: name the column with `label`");
    text("a.arff", "@attribute a real\n@attribute b real\n@data\n1,nan\n");
    refused(NULL, PQ_ERR_FORMAT,
            ":4: no column is called class, label, target or y, and the last, 'b', holds "
            "nan, which is no class: name the column with `label`");
    text("a.csv", "kind,a,b\n0.5,2,3\n1.5,4,5\n0.5,6,7\n");
    d = open_with(&(pq_dataset_options){.label = "kind"});
    cr_expect_eq(pq_dataset_describe(d)->n_classes, 2);
    cr_expect_str_eq(pq_dataset_describe(d)->class_names[1], "1.5");
    cr_expect_str_eq(pq_dataset_describe(d)->feature_names[0], "a");
    OK(pq_dataset_read(d, 0, 0, 3, &(pq_batch){.y = y}, err));
    cr_expect(y[0] == 0 && y[1] == 1 && y[2] == 0);
    pq_dataset_close(&d);
    refused(&(pq_dataset_options){.label = "knd"}, PQ_ERR_NOT_FOUND,
            ": has no column 'knd'; did you mean 'kind'?");
    text("a.csv", "a,b\n1,2\n1,3\n"); /* whole numbers may be classes */
    d = open_with(NULL);
    cr_expect_eq(pq_dataset_describe(d)->n_classes, 2);
    pq_dataset_close(&d);
}

Test(tables, an_input_is_named_once_and_the_mark_of_utf_8_is_no_name)
{
    pq_dataset *d    = NULL;
    pq_err      err  = {0};
    float       x[4] = {0};

    text("a.csv", "\xef\xbb\xbfpt,class\n1,x\n2,y\n");
    d = open_with(NULL);
    cr_expect_str_eq(pq_dataset_describe(d)->feature_names[0], "pt");
    OK(pq_dataset_read(d, 0, 0, 2, &(pq_batch){.x = x}, err));
    cr_expect_eq(x[1], 2.0F);
    pq_dataset_close(&d);
    cr_expect_eq(
        pq_dataset_open(path, &(pq_dataset_options){.inputs = "pt,pt"}, &d, &err),
        PQ_ERR_CONFIG);
    cr_expect_str_eq(err.message, "input 'pt' is named twice");
}

/* Numbers beyond 2^53, which a double would round: the last digit says the part. */
Test(tables, event_numbers_are_known_by_their_names_and_read_whole)
{
    static const char *const names[] = {"id", "EventNumber", "event_id", "Event", "evt"};

    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char        content[300];
        float       x[4];
        pq_dataset *d;
        snprintf(content, sizeof content,
                 "a,%s,class\n1,9007199254740993,x\n2,9007199254740991,y\n"
                 "3,9007199254740996,x\n4,9007199254740993,y\n",
                 names[k]);
        text("a.csv", content);
        d = open_with(&(pq_dataset_options){.splits = "odd=0:0.4,even=0.4:1"});
        cr_expect(pq_shape_equal(&pq_dataset_describe(d)->sample, &PQ_SHAPE(1)));
        cr_assert_eq(pq_dataset_describe(d)->splits[0].n, 3, "%s", names[k]);
        OK(pq_dataset_read(d, 0, 0, 3, &(pq_batch){.x = x}, err));
        cr_expect(x[0] == 1.0F && x[1] == 2.0F && x[2] == 4.0F);
        pq_dataset_close(&d);
    }
}

Test(tables, a_cell_that_is_no_number_is_said_with_its_event)
{
    pq_dataset *d;
    float       x[3];
    pq_err      err = {0};
    char        want[300];

    text("a.csv", "a,class\n1,x\n2,y\nthree,x\n");
    d = open_with(NULL);
    cr_expect_eq(pq_dataset_read(d, 0, 0, 3, &(pq_batch){.x = x}, &err), PQ_ERR_FORMAT);
    snprintf(want, sizeof want, "%s: event 2: column 'a' holds 'three', not a number",
             path);
    cr_expect_str_eq(err.message, want);
    OK(pq_dataset_read(d, 0, 0, 2, &(pq_batch){.x = x}, err));
    cr_expect_eq(x[1], 2.0F);
    pq_dataset_close(&d);
}

/* A number in one of the shapes that files have; quoted ones are cut into cells, the
 * others are read from the line as it is. */
static void add_number(pq_text *to, size_t shape, bool quoted, double value)
{
    static const char *const formats[] = {"%.9g", "%.17g", "%.3e",  "%+.6f",
                                          "%g",   "%g",    "%.25f", "%G"};

    pq_text_add(to, "%s%s", shape % 8 == 4 ? "  " : "", quoted ? "\"" : "");
    pq_text_add(to, formats[shape % 8], value);
    pq_text_add(to, "%s%s", quoted ? "\"" : "", shape % 8 == 5 ? " " : "");
}

/* Every shape of numbers, line ends, separators, places of the class, unused columns, and
 * lines longer than what is read at a time: quoted and plain files hold the same. */
Test(tables, plain_rows_and_rows_cut_into_cells_hold_the_same)
{
    enum { ROWS = 700, WIDE = 60 };
    static const char separators[] = {',', ';', '\t'};
    static float      x[2][ROWS * (WIDE + 2)], w[2][ROWS];
    static int32_t    y[2][ROWS];
    static double     aux[2][ROWS];

    for (size_t variant = 0; variant < 9; variant++) {
        const char   cut    = separators[variant % 3];
        const size_t label  = variant / 3 * (WIDE / 2);
        const char  *ending = variant % 2 == 0 ? "\r\n" : "\n";
        for (int quoted = 0; quoted < 2; quoted++) {
            pq_text     t = {0};
            pq_dataset *d;
            for (size_t c = 0; c <= WIDE; c++) {
                if (c == label) {
                    pq_text_add(&t, "class%c", cut);
                } else {
                    pq_text_add(&t, "f%zu%c", c, cut);
                }
            }
            pq_text_add(&t, "weight%s", ending);
            for (size_t r = 0; r < ROWS; r++) {
                for (size_t c = 0; c <= WIDE; c++) {
                    if (c == label) {
                        pq_text_add(&t, quoted == 1 ? "'k %zu'" : "k %zu", r * 7 % 3);
                    } else {
                        add_number(&t, r + c, quoted == 1 && (r + c) % 3 == 0,
                                   sin((double)(r * WIDE + c)) * exp((double)(c % 40)));
                    }
                    pq_text_add(&t, "%c", cut);
                }
                add_number(&t, r % 4, quoted == 1, 0.5 + (double)(r % 5));
                pq_text_add(&t, "%s", r + 1 == ROWS ? "" : ending);
            }
            text("a.csv", t.text);
            pq_text_free(&t);
            d = open_with(NULL);
            cr_assert_eq(pq_dataset_describe(d)->splits[0].n, ROWS);
            cr_assert_eq(pq_dataset_describe(d)->n_classes, 3);
            cr_assert_eq(pq_dataset_describe(d)->sample.dim[0], WIDE);
            OK(pq_dataset_read(d, 0, 0, ROWS,
                               &(pq_batch){x[quoted], y[quoted], w[quoted]}, err));
            OK(pq_dataset_read_aux(d, 0, "f3", 0, ROWS, aux[quoted], err));
            pq_dataset_close(&d);
        }
        for (size_t r = 0; r < ROWS; r++) {
            cr_assert_eq(y[0][r], (int32_t)(r * 7 % 3));
            cr_assert_eq(y[1][r], y[0][r]);
        }
        cr_expect_eq(memcmp(w[0], w[1], sizeof w[0]), 0);
        cr_expect_eq(memcmp(x[0], x[1], ROWS * WIDE * sizeof **x), 0, "variant %zu",
                     variant);
        cr_expect_eq(memcmp(aux[0], aux[1], sizeof aux[0]), 0);
    }
}

/* One line of more than what is read at a time, and one that is too long. */
Test(tables, long_lines_are_read_and_too_long_ones_refused)
{
    enum { COLUMNS = 4000 };
    static float x[2 * COLUMNS];
    pq_text      t = {0};
    pq_dataset  *d;

    for (size_t c = 0; c < COLUMNS; c++) {
        pq_text_add(&t,
                    "feature_with_a_long_name_so_that_the_line_is_long_%zu_"
                    "and_longer_than_a_block_of_the_file,",
                    c);
    }
    pq_text_add(&t, "class\n");
    for (size_t r = 0; r < 2; r++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            pq_text_add(&t, "%zu.%090d,", r * COLUMNS + c, 0);
        }
        pq_text_add(&t, "k%zu\n", r);
    }
    text("a.csv", t.text);
    d = open_with(NULL);
    OK(pq_dataset_read(d, 0, 0, 2, &(pq_batch){.x = x}, err));
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        cr_assert_eq(x[i], (float)i);
    }
    pq_dataset_close(&d);
    for (size_t i = 0; i < 50000; i++) {
        pq_text_add(&t, "%0100d", 1);
    }
    text("a.csv", t.text);
    pq_text_free(&t);
    refused(NULL, PQ_ERR_FORMAT, ":4: the line is longer than 4194304 bytes");
}
