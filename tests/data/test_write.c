#include "data/files.h"

#include "data/write.h"

TestSuite(write, .init = setup, .fini = teardown);

/* Imports `path` with options into imported.h5 and opens that; path follows. */
static pq_dataset *import(const pq_dataset_options *o, int gzip)
{
    pq_dataset *d = open_with(o);
    char        out[160];

    snprintf(out, sizeof out, "%s/imported.h5", folder);
    OK(pq_data_import(d, out, gzip, NULL, err));
    pq_dataset_close(&d);
    strcpy(path, out);
    return open_with(NULL);
}

static void text(const char *name, const char *content)
{
    write_file(name, content, strlen(content));
    snprintf(path, sizeof path, "%s/%s", folder, name);
}

static const char csv[] =
    "event_number,a,b,class,weight\n1,1,5,x,1\n2,2,5,y,2\n6,3,5,x,1\n"
    "7,nan,5,y,1\n8,9,5,y,3\n";

Test(write, the_scaler_is_fitted_on_the_training_split_only)
{
    const pq_dataset_options o = {.splits    = "test=0.5:1,train=0:0.5",
                                  .nonfinite = PQ_NONFINITE_DROP};
    pq_dataset              *d;
    const pq_dataset_info   *info;
    float                    x[4], w[2];
    int32_t                  y[2];
    double                   number[2];

    text("a.csv", csv);
    d    = import(&o, 4);
    info = pq_dataset_describe(d);
    cr_expect_str_eq(info->layout, "pquant");
    cr_assert_eq(info->n_splits, 2);
    cr_expect_str_eq(info->splits[0].name, "train");
    cr_expect_eq(info->splits[1].n, 2); /* one of three was dropped */
    cr_expect_float_eq((double)info->scaler_mean[0], 1.5, 1e-6);
    cr_expect_float_eq((double)info->scaler_std[0], 0.5, 1e-6);
    cr_expect_eq(info->scaler_std[1], 1.0F); /* constant */
    cr_expect_str_eq(info->feature_names[1], "b");
    cr_expect_str_eq(info->class_names[0], "x");
    OK(pq_dataset_read(d, 1, 0, 2, &(pq_batch){x, y, w}, err));
    cr_expect_eq(x[0], (3.0F - 1.5F) / 0.5F);
    cr_expect_eq(x[2], (9.0F - 1.5F) / 0.5F);
    cr_expect_eq(x[3], 0.0F);
    cr_expect_eq(y[1], 1);
    cr_expect_eq(w[1], 3.0F);
    OK(pq_dataset_read_aux(d, 1, "event_number", 0, 2, number, err));
    cr_expect_eq(number[1], 8.0);
    pq_dataset_close(&d);
}

/* What is put for a value that is not finite: the mean of the others, which is what they
 * would have given without it; counted once, though it is read more than once. */
Test(write, a_value_that_is_not_finite_becomes_the_mean_and_does_not_shift_it)
{
    const pq_dataset_options o = {.nonfinite = PQ_NONFINITE_ZERO};
    pq_dataset              *d;
    const pq_dataset_info   *info;
    char                     out[160];
    float                    x[10];

    text("a.csv", csv); /* a: 1 2 3 nan 9 */
    d = open_with(&o);
    snprintf(out, sizeof out, "%s/imported.h5", folder);
    OK(pq_data_import(d, out, 0, NULL, err));
    cr_expect_eq(pq_dataset_describe(d)->nonfinite, 1);
    pq_dataset_close(&d);
    strcpy(path, out);
    d    = open_with(NULL);
    info = pq_dataset_describe(d);
    cr_expect_float_eq((double)info->scaler_mean[0], 15.0 / 4.0, 1e-6);
    cr_expect_float_eq((double)info->scaler_std[0], sqrt(95.0 / 4.0 - 225.0 / 16.0),
                       1e-6);
    OK(pq_dataset_read(d, 0, 0, 5, &(pq_batch){.x = x}, err));
    cr_expect_eq(x[6], 0.0F, "%g", (double)x[6]);
    pq_dataset_close(&d);
}

/* Rows of several blocks, some with quotes or a value missing: quantities that are kept
 * when the events are read are those that the source gives when asked for them alone, in
 * double, and the scaler is of the same values. */
Test(write, quantities_beside_the_events_are_what_the_source_gives_alone)
{
    enum { ROWS = 9000 };
    static double      have[ROWS], want[ROWS];
    static const char *names[]   = {"a", "b", "weight", "event_number"};
    static const char *weights[] = {NULL, "none"};
    static char        csv_rows[ROWS * 64];

    for (size_t w = 0; w < 2; w++) {
        const pq_dataset_options o = {.nonfinite = PQ_NONFINITE_ZERO,
                                      .weight    = weights[w]};
        pq_dataset              *d, *source;
        char                     from[160];
        size_t n   = (size_t)sprintf(csv_rows, "event_number,a,b,class,weight\n");
        double sum = 0.0;
        for (size_t i = 0; i < ROWS; i++) {
            const double a = (double)((i * 7919) % 1000) / 7.0;
            n += (size_t)sprintf(csv_rows + n,
                                 i % 500 == 3    ? "%zu,\"%.17g\",%d,\"k%zu\",%.3f\n"
                                 : i % 700 == 11 ? "%zu,%.17g,?%.0d,k%zu,%.3f\n"
                                                 : "%zu,%.17g,%d,k%zu,%.3f\n",
                                 i, a, i % 700 == 11 ? 0 : (int)i, i % 3,
                                 0.5 + (double)(i % 5));
            sum += (double)(float)a;
        }
        text("a.csv", csv_rows);
        strcpy(from, path);
        d = import(&o, 0);
        cr_expect_float_eq((double)pq_dataset_describe(d)->scaler_mean[0], sum / ROWS,
                           1e-4);
        strcpy(path, from);
        source = open_with(&o);
        for (size_t k = 0; k < 4; k++) {
            OK(pq_dataset_read_aux(d, 0, names[k], 0, ROWS, have, err));
            OK(pq_dataset_read_aux(source, 0, names[k], 0, ROWS, want, err));
            for (size_t i = 0; i < ROWS; i++) {
                cr_assert(memcmp(&have[i], &want[i], sizeof have[i]) == 0 ||
                              (isnan(have[i]) && isnan(want[i])),
                          "%s of row %zu: %.17g, alone %.17g", names[k], i, have[i],
                          want[i]);
            }
        }
        cr_expect(want[ROWS - 1] == ROWS - 1.0);
        pq_dataset_close(&d);
        pq_dataset_close(&source);
    }
}

Test(write, event_numbers_stay_whole)
{
    pq_dataset *d;
    double      number[2];
    int64_t     whole[2];
    pq_h5      *file = NULL;

    text("a.csv", "id,b,c,class,pt\n9007199254740993,1,2,x,3\n4,5,6,y,7.5\n");
    d = import(NULL, 0);
    OK(pq_dataset_read_aux(d, 0, "pt", 0, 2, number, err));
    cr_expect_eq(number[1], 7.5);
    OK(pq_dataset_read_aux(d, 0, "c", 0, 2, number, err));
    cr_expect_eq(number[0], 2.0);
    pq_dataset_close(&d);
    OK(pq_h5_open(path, &file, err));
    OK(pq_h5_read_rows(file, "aux/id", (pq_rows){0, 2}, PQ_DTYPE_I64, whole, err));
    cr_expect_eq(whole[0], 9007199254740993);
    pq_h5_close(&file);
}

Test(write, importing_our_own_file_changes_nothing_that_is_read)
{
    static const float mean[] = {1.0F, 2.0F}, std[] = {0.3F, 0.7F};
    char               a[65], b[65];
    float              x[40], y[20];
    pq_h5             *file = NULL;

    for (int standardized = 0; standardized < 2; standardized++) {
        const int8_t flag = (int8_t)standardized;
        pq_dataset  *d;
        for (size_t i = 0; i < 40; i++) {
            x[i] = 0.1F * (float)i;
        }
        for (size_t i = 0; i < 20; i++) {
            y[i] = (float)(i % 3);
        }
        snprintf(path, sizeof path, "%s/d.h5", folder);
        OK(pq_h5_create(path, &file, err));
        put(file, "x", PQ_DTYPE_F32, PQ_SHAPE(20, 2), x);
        put(file, "y", PQ_DTYPE_F32, PQ_SHAPE(20), y);
        OK(pq_h5_set_numbers(file, "/", "scaler_mean", PQ_DTYPE_F32, mean, 2, err));
        OK(pq_h5_set_numbers(file, "/", "scaler_std", PQ_DTYPE_F32, std, 2, err));
        OK(pq_h5_set_numbers(file, "/", "standardized", PQ_DTYPE_I8, &flag, 1, err));
        OK(pq_h5_commit(&file, err));
        d = open_with(NULL);
        OK(pq_dataset_hash(d, 0, a, err));
        pq_dataset_close(&d);
        d = import(NULL, 0);
        OK(pq_dataset_hash(d, 0, b, err));
        cr_expect_str_eq(a, b);
        cr_expect_eq(pq_dataset_describe(d)->standardized, standardized == 1);
        pq_dataset_close(&d);
    }
}

/* The index that pandas writes has no name; "/" and "." are no names in HDF5. */
Test(write, quantities_that_hdf5_cannot_name_are_left_out_and_stay_features)
{
    pq_dataset            *d;
    const pq_dataset_info *info;
    double                 pt[2];
    float                  x[8];

    text("a.csv", ",pt,a,a/b,.,class,weight\n0,1.5,2,3,4,x,2\n1,2.5,3,4,5,y,2\n");
    for (int again = 0; again < 2; again++) {
        d    = import(NULL, 0);
        info = pq_dataset_describe(d);
        cr_assert_eq(info->sample.dim[0], 4);
        cr_expect_str_eq(info->feature_names[2], "a/b");
        OK(pq_dataset_read_unscaled(d, 0, 0, 2, &(pq_batch){.x = x}, err));
        cr_expect_eq(x[6], 4.0F);
        OK(pq_dataset_read_aux(d, 0, "pt", 0, 2, pt, err));
        cr_expect_eq(pt[1], 2.5);
        pq_dataset_close(&d);
    }
}

Test(write, pixels_stay_bytes)
{
    uint8_t     record[3073 * 3];
    pq_dataset *d;
    float       x[3 * 3072];
    pq_h5      *file = NULL;
    pq_h5_info  info;

    for (size_t i = 0; i < sizeof record; i++) {
        record[i] = i % 3073 == 0 ? (uint8_t)(i / 3073) : (uint8_t)(i * 7);
    }
    write_file("test_batch.bin", record, sizeof record);
    strcpy(path, folder);
    d = import(NULL, 4);
    cr_expect(pq_shape_equal(&pq_dataset_describe(d)->sample, &PQ_SHAPE(32, 32, 3)));
    cr_expect_null(pq_dataset_describe(d)->scaler_mean);
    OK(pq_dataset_read(d, 0, 0, 3, &(pq_batch){.x = x}, err));
    for (size_t i = 0; i < 3 * 3072; i++) {
        const size_t n = i / 3072, p = i % 3072 / 3, c = i % 3;
        cr_assert_eq(x[i], (float)record[n * 3073 + 1 + c * 1024 + p]);
    }
    pq_dataset_close(&d);
    OK(pq_h5_open(path, &file, err));
    OK(pq_h5_describe(file, "test/x", &info, err));
    cr_expect_eq(info.item_bytes, 1);
    pq_h5_close(&file);
}

Test(write, a_failure_leaves_no_file)
{
    pq_dataset *d;
    char        out[160];
    char      **names = NULL;
    size_t      n     = 0;
    pq_err      err   = {0};

    text("a.csv", csv);
    d = open_with(NULL); /* refuses NaN */
    snprintf(out, sizeof out, "%s/out/b.h5", folder);
    cr_expect_eq(pq_data_import(d, out, 0, NULL, &err), PQ_ERR_NOT_FOUND);
    snprintf(out, sizeof out, "%s/b.h5", folder);
    err = (pq_err){0};
    cr_expect_eq(pq_data_import(d, out, 0, NULL, &err), PQ_ERR_FORMAT);
    cr_expect_not_null(strstr(err.message, "a.csv: event 3: feature 'a' is nan"));
    OK(pq_folder_list(folder, "", &names, &n, err));
    cr_expect_eq(n, 1);
    pq_h5_free_texts(&names, n);
    pq_dataset_close(&d);
}

Test(write, every_failed_allocation_leaves_nothing_behind)
{
    size_t      live;
    pq_status   st = PQ_ERR_NOMEM;
    char        out[160];
    pq_dataset *d;

    text("a.csv", csv);
    d = open_with(&(pq_dataset_options){.nonfinite = PQ_NONFINITE_ZERO});
    snprintf(out, sizeof out, "%s/b.h5", folder);
    live = pq_memory_live();
    for (size_t i = 0; st != PQ_OK && i < 5000; i++) {
        pq_memory_fail_after(i);
        st = pq_data_import(d, out, 0, NULL, NULL);
        pq_memory_fail_after(SIZE_MAX);
        cr_assert_eq(pq_memory_live(), live, "after failure %zu", i);
        cr_assert_eq(pq_file_exists(out), st == PQ_OK);
    }
    cr_expect_eq(st, PQ_OK);
    pq_dataset_close(&d);
}
