#include "data/files.h"

#include "core/clock.h"
#include "core/threads.h"

#define SHARED PQ_TEST_SOURCE_ROOT "/../shared/data/jsc-openml-1000/jets.h5"

TestSuite(dataset, .init = setup, .fini = teardown);

static const char *const classes[]  = {"g", "q"};
static const char *const features[] = {"pt", "eta", "mass"};
static const float       mean[]     = {1.0F, 2.0F, 3.0F};
static const float       std[]      = {2.0F, 4.0F, 0.5F};

/* What differs between the files of these tests. */
typedef struct {
    int   standardized; /* -1 = attribute absent */
    float label;        /* of event 1 */
    float value;        /* feature 1 of event 2 */
    bool  flat, no_scaler, no_classes, weighted, leak, padded;
} variant;

static const variant usual = {.standardized = -1, .label = 1.0F, .value = 5.0F};

/* Splits train (4 events) and test (2); x[i][k] = 10 i + k. */
static void write(const variant *v)
{
    static const char *const names[] = {"test", "train"};
    pq_h5                   *file    = NULL;
    float x[12], y[] = {0.0F, v->label, 0.0F, 1.0F}, w[] = {1.0F, 2.0F, 3.0F, 4.0F};

    for (size_t i = 0; i < 12; i++) {
        x[i] = (float)(10 * (i / 3) + i % 3);
    }
    x[7] = v->value;
    OK(pq_h5_create(path, &file, err));
    OK(pq_h5_set_text(file, "/", "format", "pquant-dataset", err));
    for (size_t s = v->flat ? 1 : 0; s < 2; s++) {
        const size_t n         = s == 0 ? 2 : 4;
        const float  numbers[] = {100.0F, 101.0F, v->leak && s == 0 ? 100.0F : 102.0F,
                                  103.0F};
        char         prefix[32], name[64];
        snprintf(prefix, sizeof prefix, "%s%s", v->flat ? "" : names[s],
                 v->flat ? "" : "/");
        snprintf(name, sizeof name, "%sx", prefix);
        put(file, name, PQ_DTYPE_F32, PQ_SHAPE(n, 3), x);
        snprintf(name, sizeof name, "%sy", prefix);
        put(file, name, s == 0 ? PQ_DTYPE_F32 : PQ_DTYPE_U8, PQ_SHAPE(n), y);
        snprintf(name, sizeof name, "%saux/pt", prefix);
        put(file, name, PQ_DTYPE_F64, PQ_SHAPE(n), w);
        snprintf(name, sizeof name, "%saux/event_number", prefix);
        put(file, name, PQ_DTYPE_I64, PQ_SHAPE(n),
            s == 0 ? numbers + (v->leak ? 1 : 2) : (const float[]){100, 100, 500, 900});
        if (v->weighted) {
            snprintf(name, sizeof name, "%sweight", prefix);
            put(file, name, PQ_DTYPE_F32, PQ_SHAPE(n), w);
        }
    }
    if (!v->no_classes) {
        OK(pq_h5_set_texts(file, "/", "class_names", classes, 2, err));
    }
    OK(pq_h5_set_texts(file, "/", "feature_names", features, 3, err));
    if (!v->no_scaler) {
        OK(pq_h5_set_numbers(file, "/", "scaler_mean", PQ_DTYPE_F32, mean, 3, err));
        OK(pq_h5_set_numbers(file, "/", "scaler_std", PQ_DTYPE_F32, std, 3, err));
    }
    if (v->standardized >= 0) {
        const int8_t flag = (int8_t)v->standardized;
        OK(pq_h5_set_numbers(file, "/", "standardized", PQ_DTYPE_I8, &flag, 1, err));
    }
    if (v->padded) {
        OK(pq_h5_set_numbers(file, "/", "padded", PQ_DTYPE_I8, (int8_t[]){1}, 1, err));
    }
    OK(pq_h5_set_text(file, "/", "licence", "CC0", err));
    OK(pq_h5_commit(&file, err));
}

Test(dataset, tells_what_it_is)
{
    const pq_dataset_info *i;
    pq_dataset            *d;

    write(&usual);
    d = open_with(NULL);
    i = pq_dataset_describe(d);
    cr_expect_str_eq(i->layout, "pquant");
    cr_expect(pq_shape_equal(&i->sample, &PQ_SHAPE(3)));
    cr_expect_eq(i->n_classes, 2);
    cr_expect_str_eq(i->class_names[1], "q");
    cr_expect_str_eq(i->feature_names[2], "mass");
    cr_expect_eq(i->scaler_std[1], 4.0F);
    cr_expect_not(i->standardized);
    cr_assert_eq(i->n_splits, 2);
    cr_expect_str_eq(i->splits[0].name, "train");
    cr_expect_eq(i->splits[0].n, 4);
    cr_expect_eq(i->splits[1].n, 2);
    cr_expect_str_eq(i->licence, "CC0");
    cr_expect_null(i->source);
    pq_dataset_close(&d);
}

Test(dataset, features_are_standardized_unless_they_are_already)
{
    for (int flag = -1; flag <= 1; flag++) {
        variant     v = usual;
        pq_dataset *d;
        float       x[6], w[2];
        int32_t     y[2];

        v.standardized = flag;
        write(&v);
        d = open_with(NULL);
        OK(pq_dataset_read(d, 0, 1, 2, &(pq_batch){x, y, w}, err));
        for (size_t i = 0; i < 6; i++) {
            const float raw = i == 4 ? 5.0F : (float)(10 * (i / 3 + 1) + i % 3);
            cr_expect_eq(x[i], flag == 1 ? raw : (raw - mean[i % 3]) / std[i % 3]);
        }
        cr_expect_eq(y[0], 1);
        cr_expect_eq(y[1], 0);
        cr_expect_eq(w[0], 1.0F);
        pq_dataset_close(&d);
    }
}

Test(dataset, weights_and_auxiliary_quantities_are_read)
{
    variant     v = usual;
    pq_dataset *d;
    float       w[4];
    double      pt[2];
    pq_err      err = {0};
    char        want[300];

    v.weighted = true;
    write(&v);
    d = open_with(NULL);
    OK(pq_dataset_read(d, 0, 0, 4, &(pq_batch){.weight = w}, err));
    cr_expect_eq(w[3], 4.0F);
    OK(pq_dataset_read_aux(d, 0, "pt", 1, 2, pt, err));
    cr_expect_eq(pt[0], 2.0);
    cr_expect_eq(pt[1], 3.0);
    cr_expect_eq(pq_dataset_read_aux(d, 0, "phi", 0, 1, pt, &err), PQ_ERR_NOT_FOUND);
    snprintf(want, sizeof want,
             "%s: has no auxiliary quantity 'phi'; it has: event_number, pt", path);
    cr_expect_str_eq(err.message, want);
    pq_dataset_close(&d);
}

Test(dataset, splits_are_found_by_name_with_advice)
{
    pq_dataset *d;
    size_t      split = 9;
    pq_err      err   = {0};
    char        want[400];

    write(&usual);
    d = open_with(NULL);
    OK(pq_dataset_split(d, "test", &split, err));
    cr_expect_eq(split, 1);
    cr_expect_eq(pq_dataset_split(d, "tset", &split, &err), PQ_ERR_NOT_FOUND);
    snprintf(want, sizeof want,
             "%s: has no split 'tset' (train, test); did you mean 'test'?", path);
    cr_expect_str_eq(err.message, want);
    err = (pq_err){0};
    cr_expect_eq(pq_dataset_split(d, NULL, &split, &err), PQ_ERR_NOT_FOUND);
    snprintf(want, sizeof want, "%s: has 2 splits (train, test); say which: %s:train",
             path, path);
    cr_expect_str_eq(err.message, want);
    pq_dataset_close(&d);
}

Test(dataset, a_flat_file_is_one_unnamed_split)
{
    variant     v = usual;
    pq_dataset *d;
    size_t      split = 9;
    pq_err      err   = {0};

    v.flat = true;
    write(&v);
    d = open_with(NULL);
    cr_expect_eq(pq_dataset_describe(d)->n_splits, 1);
    OK(pq_dataset_split(d, "", &split, err));
    cr_expect_eq(split, 0);
    cr_expect_eq(pq_dataset_split(d, "test", &split, &err), PQ_ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.message, ": has no splits, so none is called 'test'"));
    pq_dataset_close(&d);
}

Test(dataset, columns_are_picked_by_name)
{
    const pq_dataset_options o = {.inputs = "mass, pt"};
    pq_dataset              *d;
    float                    x[8];

    write(&usual);
    d = open_with(&o);
    cr_expect(pq_shape_equal(&pq_dataset_describe(d)->sample, &PQ_SHAPE(2)));
    cr_expect_str_eq(pq_dataset_describe(d)->feature_names[0], "mass");
    cr_expect_eq(pq_dataset_describe(d)->scaler_mean[0], 3.0F);
    OK(pq_dataset_read(d, 0, 0, 4, &(pq_batch){.x = x}, err));
    cr_expect_eq(x[2], (12.0F - 3.0F) / 0.5F);
    cr_expect_eq(x[3], (10.0F - 1.0F) / 2.0F);
    pq_dataset_close(&d);
    refused(&(pq_dataset_options){.inputs = "pt,masss"}, PQ_ERR_NOT_FOUND,
            ": has no feature 'masss'; did you mean 'mass'?");
}

Test(dataset, labels_may_be_named_and_others_are_left_out)
{
    const pq_dataset_options o = {.labels = "quark=1"};
    pq_dataset              *d;
    int32_t                  y[2];
    float                    x[6];

    write(&usual);
    d = open_with(&o);
    cr_expect_eq(pq_dataset_describe(d)->n_classes, 1);
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 2);
    OK(pq_dataset_read(d, 0, 0, 2, &(pq_batch){x, y, NULL}, err));
    cr_expect_eq(y[1], 0);
    cr_expect_eq(x[0], (10.0F - 1.0F) / 2.0F);
    cr_expect_eq(x[3], (30.0F - 1.0F) / 2.0F);
    pq_dataset_close(&d);
}

Test(dataset, malformed_options_are_said)
{
    const pq_dataset_options bad[]   = {{.labels = "q:1"},
                                        {.labels = "a=1,b=1"},
                                        {.layout = "pquent"},
                                        {.splits = "a=0:2"}};
    const char *const        words[] = {
               "label 'q:1' is not written name=value, e.g. b=5",
               "labels 'a' and 'b' are the same", "layout 'pquent' is not one of ",
               "split 'a=0:2' does not go from a smaller to a larger fraction in 0..1"};
    variant v = usual;

    v.flat = true;
    write(&v);
    for (size_t i = 0; i < 4; i++) {
        pq_dataset *d   = NULL;
        pq_err      err = {0};
        cr_expect_eq(pq_dataset_open(path, &bad[i], &d, &err), PQ_ERR_CONFIG);
        cr_expect_not_null(strstr(err.message, words[i]), "%s", err.message);
    }
}

Test(dataset, a_label_outside_the_classes_is_refused_with_its_event)
{
    variant     v = usual;
    pq_dataset *d;
    int32_t     y[4];
    pq_err      err = {0};
    char        want[300];

    v.label = 7.0F;
    write(&v);
    d = open_with(NULL);
    OK(pq_dataset_read(d, 0, 2, 2, &(pq_batch){.y = y}, err));
    cr_expect_eq(pq_dataset_read(d, 0, 0, 4, &(pq_batch){.y = y}, &err), PQ_ERR_FORMAT);
    snprintf(want, sizeof want,
             "%s:train: event 1: label 7 is none of the 2 classes (g, q)", path);
    cr_expect_str_eq(err.message, want);
    pq_dataset_close(&d);
}

Test(dataset, values_that_are_not_finite_follow_the_policy)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};

    for (size_t i = 0; i < 3; i++) {
        variant     v = usual;
        pq_dataset *d;
        float       x[12];
        pq_err      err = {0};
        char        want[300];

        v.value = bad[i];
        write(&v);
        d = open_with(NULL);
        cr_expect_eq(pq_dataset_read(d, 0, 0, 4, &(pq_batch){.x = x}, &err),
                     PQ_ERR_FORMAT);
        snprintf(
            want, sizeof want,
            "%s:train: event 2: feature 'eta' is %g; only finite values are read unless "
            "`nonfinite` is drop or zero",
            path, (double)bad[i]);
        cr_expect_str_eq(err.message, want);
        pq_dataset_close(&d);
        d = open_with(&(pq_dataset_options){.nonfinite = PQ_NONFINITE_ZERO});
        OK(pq_dataset_read(d, 0, 0, 4, &(pq_batch){.x = x}, err));
        cr_expect_eq(x[7], 0.0F);
        cr_expect_eq(x[6], (20.0F - 1.0F) / 2.0F);
        cr_expect_eq(pq_dataset_describe(d)->nonfinite, 1);
        pq_dataset_close(&d);
        d = open_with(&(pq_dataset_options){.nonfinite = PQ_NONFINITE_DROP});
        cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 3);
        cr_expect_eq(pq_dataset_describe(d)->splits[1].n, 2);
        cr_expect_eq(pq_dataset_describe(d)->nonfinite, 1);
        OK(pq_dataset_read(d, 0, 0, 3, &(pq_batch){.x = x}, err));
        cr_expect_eq(x[6], (30.0F - 1.0F) / 2.0F);
        pq_dataset_close(&d);
    }
}

Test(dataset, one_event_number_in_two_splits_is_a_leak)
{
    variant v = usual;

    v.leak = true;
    write(&v);
    refused(NULL, PQ_ERR_FORMAT, ": event 100 is in split 'train' and in split 'test'");
}

Test(dataset, padding_takes_rows_of_features)
{
    variant v = usual;

    v.padded = true;
    write(&v);
    refused(NULL, PQ_ERR_FORMAT,
            ": attribute 'padded' is 1, but events have 1 axes, not 2");
}

/* Three splits of two events each, with numbers where they are not NULL. */
static void write_three(const float *const numbers[3], const float x[6])
{
    static const char *const names[] = {"train", "val", "test"};
    pq_h5                   *file    = NULL;
    char                     at[64];

    OK(pq_h5_create(path, &file, err));
    for (size_t k = 0; k < 3; k++) {
        const float y[] = {0.0F, 1.0F};
        snprintf(at, sizeof at, "%s/x", names[k]);
        put(file, at, PQ_DTYPE_F32, PQ_SHAPE(2, 1), x + 2 * k);
        snprintf(at, sizeof at, "%s/y", names[k]);
        put(file, at, PQ_DTYPE_F32, PQ_SHAPE(2), y);
        snprintf(at, sizeof at, "%s/aux/EventNumber", names[k]);
        if (numbers[k] != NULL) {
            put(file, at, PQ_DTYPE_I64, PQ_SHAPE(2), numbers[k]);
        }
    }
    OK(pq_h5_commit(&file, err));
}

Test(dataset, leaks_are_found_between_any_two_splits)
{
    static const float a[] = {1.0F, 2.0F}, b[] = {3.0F, 4.0F}, c[] = {4.0F, 5.0F},
                       x[6] = {0};
    pq_dataset *d;

    write_three((const float *const[]){a, b, c}, x);
    refused(NULL, PQ_ERR_FORMAT, ": event 4 is in split 'val' and in split 'test'");
    write_three((const float *const[]){NULL, b, c}, x);
    refused(NULL, PQ_ERR_FORMAT, ": event 4 is in split 'val' and in split 'test'");
    write_three((const float *const[]){c, b, NULL}, x);
    refused(NULL, PQ_ERR_FORMAT, ": event 4 is in split 'train' and in split 'val'");
    write_three((const float *const[]){a, b, NULL}, x);
    d = open_with(NULL);
    pq_dataset_close(&d);
}

Test(dataset, events_of_the_same_values_in_two_splits_are_counted)
{
    static const float *const none[3] = {NULL};
    static const struct {
        float  x[6];
        size_t repeats;
    } cases[] = {{{1, 2, 3, 4, 5, 6}, 0},
                 {{1, 1, 2, 2, 3, 3}, 0}, /* within a split is no leak */
                 {{1, 2, 3, 1, 5, 6}, 2},
                 {{1, 2, 3, 4, 1, 1}, 3},
                 {{1, 2, 1, 2, 1, 2}, 6}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pq_dataset *d;
        size_t      n       = 99;
        bool        counted = false;
        write_three(none, cases[i].x);
        d = open_with(NULL);
        OK(pq_dataset_count_repeats(d, 6, &n, &counted, err));
        cr_expect(counted);
        cr_expect_eq(n, cases[i].repeats, "case %zu: %zu", i, n);
        OK(pq_dataset_count_repeats(d, 5, &n, &counted, err));
        cr_expect_not(counted);
        pq_dataset_close(&d);
    }
}

Test(dataset, splitting_by_event_number_keeps_events_together)
{
    variant     v = usual;
    pq_dataset *d;
    float       x[9];
    double      number[3];

    v.flat      = true;
    v.no_scaler = true;
    write(&v); /* events 100, 100, 500, 900: 0.001, 0.001, 0.005, 0.009 */
    d = open_with(&(pq_dataset_options){.splits = "train=0:0.004,test=0.004:1"});
    cr_assert_eq(pq_dataset_describe(d)->n_splits, 2);
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 2);
    cr_expect_eq(pq_dataset_describe(d)->splits[1].n, 2);
    OK(pq_dataset_read(d, 1, 0, 2, &(pq_batch){.x = x}, err));
    cr_expect_eq(x[0], 20.0F);
    cr_expect_eq(x[3], 30.0F);
    OK(pq_dataset_read_aux(d, 1, "event_number", 0, 2, number, err));
    cr_expect_eq(number[1], 900.0);
    pq_dataset_close(&d);
    refused(&(pq_dataset_options){.splits = "a=0.5:0.6,b=0:0.1"}, PQ_ERR_CONFIG,
            ": split 'a' gets no events");
}

/* Numbers from first to first + 99, five splits of which two are tenths. */
static void check_shares(double first)
{
    static const size_t due[] = {40, 10, 5, 15, 30};
    pq_h5              *file  = NULL;
    float               x[100], y[100] = {0}, numbers[100];
    double              number[100];
    pq_dataset         *d;

    for (size_t i = 0; i < 100; i++) {
        x[i]       = (float)i;
        numbers[i] = (float)(first + (double)i);
    }
    y[0] = 1.0F;
    OK(pq_h5_create(path, &file, err));
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(100, 1), x);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(100), y);
    put(file, "aux/eventNumber", PQ_DTYPE_I64, PQ_SHAPE(100), numbers);
    OK(pq_h5_commit(&file, err));
    d = open_with(&(pq_dataset_options){
        .splits = "a=0:0.4,b=0.4:0.5,c=0.5:0.55,d=0.55:0.7,e=0.7:1"});
    for (size_t k = 0; k < 5; k++) {
        cr_assert_eq(pq_dataset_describe(d)->splits[k].n, due[k], "split %zu", k);
    }
    OK(pq_dataset_read_aux(d, 0, "eventNumber", 0, 40, number, err));
    for (size_t i = 0; i < 40; i++) {
        cr_expect(fmod(number[i], 10.0) < 4.0, "%g", number[i]);
    }
    OK(pq_dataset_read_aux(d, 1, "eventNumber", 0, 10, number, err));
    for (size_t i = 0; i < 10; i++) {
        cr_expect_eq(fmod(number[i], 10.0), 4.0, "%g", number[i]);
    }
    OK(pq_dataset_read_aux(d, 2, "eventNumber", 0, 5, number, err));
    for (size_t i = 0; i < 5; i++) { /* 5, 15, 25, 35, 45 of each hundred */
        cr_expect_eq(fmod(number[i], 10.0), 5.0, "%g", number[i]);
        cr_expect(fmod(number[i], 100.0) < 50.0, "%g", number[i]);
    }
    pq_dataset_close(&d);
}

Test(dataset, tenths_are_the_event_number_modulo_ten)
{
    check_shares(0.0);
    check_shares(12300.0);
    check_shares(8765400.0);
}

Test(dataset, splitting_by_row_covers_every_event_once)
{
    pq_h5      *file = NULL;
    float       x[20], y[10] = {0};
    pq_dataset *d;

    for (size_t i = 0; i < 20; i++) {
        x[i] = (float)i;
    }
    y[3] = 1.0F;
    OK(pq_h5_create(path, &file, err));
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(10, 2), x);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(10), y);
    OK(pq_h5_commit(&file, err));
    d = open_with(&(pq_dataset_options){.splits = "train=0:0.75,test=0.75:1"});
    cr_expect_eq(pq_dataset_describe(d)->n_classes, 2);
    cr_expect_str_eq(pq_dataset_describe(d)->class_names[1], "1");
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 8);
    cr_expect_eq(pq_dataset_describe(d)->splits[1].n, 2);
    OK(pq_dataset_read(d, 1, 0, 2, &(pq_batch){.x = x}, err));
    cr_expect_eq(x[0], 16.0F);
    pq_dataset_close(&d);
    refused(&(pq_dataset_options){.inputs = "a"}, PQ_ERR_CONFIG,
            ": its features have no names, so none can be picked");
    write(&usual);
    refused(&(pq_dataset_options){.splits = "a=0:1"}, PQ_ERR_FORMAT,
            ": has 2 splits of its own and is not split again");
}

Test(dataset, planes_come_out_as_pixels)
{
    pq_h5      *file = NULL;
    float       x[24], y[2] = {0.0F, 1.0F}, got[24];
    pq_dataset *d;

    for (size_t i = 0; i < 24; i++) {
        x[i] = (float)i; /* [2, 3, 2, 2] */
    }
    OK(pq_h5_create(path, &file, err));
    put(file, "x", PQ_DTYPE_U8, PQ_SHAPE(2, 3, 2, 2), x);
    put(file, "y", PQ_DTYPE_I32, PQ_SHAPE(2), y);
    OK(pq_h5_set_text(file, "x", "layout", "nchw", err));
    OK(pq_h5_commit(&file, err));
    d = open_with(NULL);
    cr_expect(pq_shape_equal(&pq_dataset_describe(d)->sample, &PQ_SHAPE(2, 2, 3)));
    OK(pq_dataset_read(d, 0, 0, 2, &(pq_batch){.x = got}, err));
    for (size_t i = 0; i < 24; i++) {
        const size_t n = i / 12, p = i % 12 / 3, c = i % 3;
        cr_expect_eq(got[i], x[n * 12 + c * 4 + p]);
    }
    pq_dataset_close(&d);
}

/* A file with what one call of `fill` writes. */
static void broken(void (*fill)(pq_h5 *file), pq_status status, const char *text)
{
    pq_h5 *file = NULL;

    OK(pq_h5_create(path, &file, err));
    fill(file);
    OK(pq_h5_commit(&file, err));
    refused(NULL, status, text);
}

static const float zeros[12] = {0.0F};

static void empty(pq_h5 *file)
{
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(0, 3), zeros);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(0), zeros);
}

static void no_labels(pq_h5 *file)
{
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(2, 3), zeros);
}

static void few_labels(pq_h5 *file)
{
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(3, 3), zeros);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(2), zeros);
}

static void one_dimension(pq_h5 *file)
{
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(3), zeros);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(3), zeros);
}

static void odd_splits(pq_h5 *file)
{
    put(file, "train/x", PQ_DTYPE_F32, PQ_SHAPE(2, 3), zeros);
    put(file, "train/y", PQ_DTYPE_F32, PQ_SHAPE(2), zeros);
    put(file, "test/x", PQ_DTYPE_F32, PQ_SHAPE(2, 4), zeros);
    put(file, "test/y", PQ_DTYPE_F32, PQ_SHAPE(2), zeros);
}

static void negative_label(pq_h5 *file)
{
    const float y[] = {-1.0F, -1.0F};

    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(2, 3), zeros);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(2), y);
}

static void few_names(pq_h5 *file)
{
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(2, 2), zeros);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(2), zeros);
    OK(pq_h5_set_texts(file, "x", "feature_names", features, 3, err));
}

static void short_scaler(pq_h5 *file)
{
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(2, 3), zeros);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(2), zeros);
    OK(pq_h5_set_numbers(file, "x", "scaler_mean", PQ_DTYPE_F32, mean, 2, err));
}

static void zero_std(pq_h5 *file)
{
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(2, 3), zeros);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(2), zeros);
    OK(pq_h5_set_numbers(file, "x", "scaler_mean", PQ_DTYPE_F32, mean, 3, err));
    OK(pq_h5_set_numbers(file, "x", "scaler_std", PQ_DTYPE_F32, zeros, 3, err));
}

static void odd_layout(pq_h5 *file)
{
    put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(2, 3), zeros);
    put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(2), zeros);
    OK(pq_h5_set_text(file, "x", "layout", "nchw", err));
}

Test(dataset, a_split_without_events_bars_only_itself)
{
    const float numbers[] = {7.0F, 9.0F}, y[] = {0.0F, 1.0F};
    float       x[6];
    pq_h5      *file = NULL;
    pq_dataset *d;
    pq_err      err = {0};
    char        want[256];
    size_t      split = 9;

    OK(pq_h5_create(path, &file, err));
    put(file, "train/x", PQ_DTYPE_F32, PQ_SHAPE(0, 3), zeros);
    put(file, "train/y", PQ_DTYPE_F32, PQ_SHAPE(0), zeros);
    put(file, "train/aux/eventNumber", PQ_DTYPE_F32, PQ_SHAPE(0), zeros);
    put(file, "test/x", PQ_DTYPE_F32, PQ_SHAPE(2, 3), zeros);
    put(file, "test/y", PQ_DTYPE_F32, PQ_SHAPE(2), y);
    put(file, "test/aux/eventNumber", PQ_DTYPE_F32, PQ_SHAPE(2), numbers);
    OK(pq_h5_commit(&file, err));
    d = open_with(&(pq_dataset_options){.nonfinite = PQ_NONFINITE_DROP});
    OK(pq_dataset_split(d, "test", &split, err));
    cr_expect_eq(pq_dataset_describe(d)->splits[split].n, 2);
    OK(pq_dataset_read(d, split, 0, 2, &(pq_batch){.x = x}, err));
    cr_expect_eq(pq_dataset_split(d, "train", &split, &err), PQ_ERR_FORMAT);
    snprintf(want, sizeof want, "%s:train: holds no events", path);
    cr_expect_str_eq(err.message, want);
    pq_dataset_close(&d);
}

Test(dataset, broken_files_are_refused_with_the_place)
{
    refused(NULL, PQ_ERR_NOT_FOUND, ": no such file or folder");
    write_file("d.h5", "x,y\n", 4);
    refused(&(pq_dataset_options){.layout = "pquant"}, PQ_ERR_FORMAT,
            ": is not an HDF5 file");
    broken(empty, PQ_ERR_FORMAT, ": holds no events");
    broken(no_labels, PQ_ERR_FORMAT, ": x has no y beside it: labels are needed");
    broken(few_labels, PQ_ERR_SHAPE, ": y has 2 values, but there are 3 events");
    broken(few_names, PQ_ERR_SHAPE, ": there are 3 feature_names, but 2 features");
    broken(one_dimension, PQ_ERR_SHAPE,
           ": x has 1 dimensions; events and features need at least 2");
    broken(odd_splits, PQ_ERR_SHAPE,
           ": the events of test/x have another shape than those of train/x");
    broken(negative_label, PQ_ERR_FORMAT,
           ": the largest label is -1, not in 0..99999, and there are no class_names");
    broken(short_scaler, PQ_ERR_SHAPE,
           ": scaler_mean has 2 values, but there are 3 features");
    broken(
        zero_std, PQ_ERR_FORMAT,
        ": the scaler of feature 0 has mean 1 and std 0, not finite ones with std > 0");
    broken(odd_layout, PQ_ERR_SHAPE,
           ": layout is 'nchw', but an event has 1 dimensions, not 3");
}

Test(dataset, a_file_in_no_known_layout_is_refused)
{
    pq_h5      *file = NULL;
    pq_dataset *d    = NULL;
    pq_err      err  = {0};

    OK(pq_h5_create(path, &file, err));
    OK(pq_h5_make_group(file, "g", err));
    OK(pq_h5_commit(&file, err));
    cr_expect_eq(pq_dataset_open(path, NULL, &d, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(
        strstr(err.message, "d.h5: none of its arrays is called x; its arrays are none"),
        "%s", err.message);
    err = (pq_err){0};
    write_file("d.bin", "nothing known", 13);
    snprintf(path, sizeof path, "%s/d.bin", folder);
    cr_expect_eq(pq_dataset_open(path, NULL, &d, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(
        strstr(err.message, "d.bin: is in none of the layouts known (pquant, "));
}

Test(dataset, the_hash_follows_the_content_and_nothing_else)
{
    variant     v = usual;
    pq_dataset *d;
    char        a[65], b[65];

    write(&v);
    d = open_with(NULL);
    OK(pq_dataset_hash(d, 0, a, err));
    OK(pq_dataset_hash(d, 0, b, err));
    cr_expect_str_eq(a, b);
    pq_dataset_close(&d);
    d = open_with(NULL);
    OK(pq_dataset_hash(d, 0, b, err));
    cr_expect_str_eq(a, b);
    OK(pq_dataset_hash(d, 1, b, err));
    cr_expect_str_neq(a, b);
    pq_dataset_close(&d);
    v.value = 5.0001F;
    write(&v);
    d = open_with(NULL);
    OK(pq_dataset_hash(d, 0, b, err));
    cr_expect_str_neq(a, b);
    pq_dataset_close(&d);
}

Test(dataset, a_spec_is_a_path_and_a_split)
{
    char *file = NULL, *split = NULL;

    write(&usual);
    OK(pq_dataset_spec("jets.h5:test", &file, &split, err));
    cr_expect_str_eq(file, "jets.h5");
    cr_expect_str_eq(split, "test");
    pq_free(file);
    pq_free(split);
    OK(pq_dataset_spec("a:b/jets.h5", &file, &split, err));
    cr_expect_str_eq(file, "a:b/jets.h5");
    cr_expect_str_eq(split, "");
    pq_free(file);
    pq_free(split);
    write_file("x:test", "", 0);
    snprintf(path, sizeof path, "%s/x:test", folder);
    OK(pq_dataset_spec(path, &file, &split, err));
    cr_expect_str_eq(file, path);
    cr_expect_str_eq(split, "");
    pq_free(file);
    pq_free(split);
}

typedef struct {
    pq_dataset *d;
    float       x[8][3];
} shared_read;

static pq_status read_one(void *context, size_t piece, size_t thread, pq_err *err)
{
    shared_read *s = context;
    float        x[3];
    pq_status    st = pq_dataset_read(s->d, 0, piece % 4, 1, &(pq_batch){.x = x}, err);

    (void)thread;
    return st == PQ_OK && memcmp(x, s->x[piece % 4], sizeof x) != 0 ? PQ_ERR_NUMERIC : st;
}

Test(dataset, may_be_read_from_several_threads)
{
    shared_read s = {0};

    write(&usual);
    s.d = open_with(NULL);
    OK(pq_dataset_read(s.d, 0, 0, 4, &(pq_batch){.x = &s.x[0][0]}, err));
    OK(pq_threads_run(4, 400, read_one, &s, err));
    pq_dataset_close(&s.d);
}

Test(dataset, every_failed_allocation_leaves_nothing_behind)
{
    const pq_dataset_options o = {
        .nonfinite = PQ_NONFINITE_DROP, .inputs = "pt,eta", .labels = "a=0,b=1"};
    const size_t live = pq_memory_live();
    pq_status    st   = PQ_ERR_NOMEM;

    write(&usual);
    for (size_t i = 0; st != PQ_OK && i < 5000; i++) {
        pq_dataset *d = NULL;
        char        hash[65];
        pq_memory_fail_after(i);
        st = pq_dataset_open(path, &o, &d, NULL);
        st = st == PQ_OK ? pq_dataset_hash(d, 0, hash, NULL) : st;
        pq_memory_fail_after(SIZE_MAX);
        pq_dataset_close(&d);
        cr_assert_eq(pq_memory_live(), live, "after failure %zu", i);
    }
    cr_expect_eq(st, PQ_OK);
}

/* Against libhdf5 alone on the same file: a machine's speed is not ours to test. */
Test(dataset, a_million_events_are_read_and_scaled_at_the_speed_of_the_file)
{
    enum { N = 1000000, BLOCK = 65536 };
    float      *x    = calloc(N, 16 * sizeof *x);
    int32_t    *y    = calloc(N, sizeof *y);
    pq_h5      *file = NULL;
    pq_dataset *d;
    double      start, seconds, plain;

    OK(pq_h5_create(path, &file, err));
    OK(pq_h5_make_rows(file, "x", PQ_DTYPE_F32, PQ_SHAPE(16), 0, err));
    OK(pq_h5_make_rows(file, "y", PQ_DTYPE_I32, (pq_shape){0}, 0, err));
    for (size_t i = 0; i < (size_t)N * 16; i++) {
        x[i] = (float)(i % 1013) * 0.01F;
    }
    OK(pq_h5_write_rows(file, "x", (pq_rows){0, N}, PQ_DTYPE_F32, x, err));
    OK(pq_h5_write_rows(file, "y", (pq_rows){0, N}, PQ_DTYPE_I32, y, err));
    OK(pq_h5_set_numbers(file, "x", "scaler_mean", PQ_DTYPE_F32, x, 16, err));
    OK(pq_h5_set_numbers(file, "x", "scaler_std", PQ_DTYPE_F32, x + 16, 16, err));
    OK(pq_h5_commit(&file, err));
    start = pq_clock_wall_s();
    d     = open_with(NULL);
    for (size_t first = 0; first < N; first += BLOCK) {
        const size_t n = N - first < BLOCK ? N - first : BLOCK;
        OK(pq_dataset_read(d, 0, first, n, &(pq_batch){x, y, NULL}, err));
    }
    seconds = pq_clock_wall_s() - start;
    start   = pq_clock_wall_s();
    OK(pq_h5_open(path, &file, err));
    for (size_t first = 0; first < N; first += BLOCK) {
        const pq_rows rows = {first, N - first < BLOCK ? N - first : BLOCK};
        OK(pq_h5_read_rows(file, "x", rows, PQ_DTYPE_F32, x, err));
        OK(pq_h5_read_rows(file, "y", rows, PQ_DTYPE_I32, y, err));
    }
    pq_h5_close(&file);
    plain = pq_clock_wall_s() - start;
    cr_log_info("1M x 16 floats in %.3f s, %.3f s unscaled", seconds, plain);
    cr_expect_lt(seconds, 10.0 * plain, "%.3f s, %.3f s unscaled", seconds, plain);
    pq_dataset_close(&d);
    free(x);
    free(y);
}

Test(dataset, the_real_jets_are_standardized_and_name_their_classes)
{
    pq_dataset            *d = NULL;
    const pq_dataset_info *i;
    float                  x[1000 * 16];
    double                 sum = 0.0;

    if (!pq_file_exists(SHARED)) {
        cr_skip_test("skipped: no real data at %s", SHARED);
    }
    OK(pq_dataset_open(SHARED, NULL, &d, err));
    i = pq_dataset_describe(d);
    cr_expect(i->standardized);
    cr_expect_eq(i->splits[0].n, 1000);
    cr_expect_str_eq(i->class_names[2], "t");
    cr_expect_str_eq(i->feature_names[15], "multiplicity");
    OK(pq_dataset_read(d, 0, 0, 1000, &(pq_batch){.x = x}, err));
    for (size_t k = 0; k < 1000; k++) {
        sum += (double)x[k * 16 + 15];
    }
    cr_expect_lt(fabs(sum / 1000.0), 0.1); /* of unit spread, mean 0 within 3 sigma */
    pq_dataset_close(&d);
}
