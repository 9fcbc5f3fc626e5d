#include "data/files.h"

#include <hdf5.h>
#include <zlib.h>

TestSuite(particles, .init = setup, .fini = teardown);

/* n jets of 3 particles: value = 1000 class + 12 jet + place. */
static void write_jetnet(const char *name, size_t class, size_t n, size_t features)
{
    pq_h5 *file = NULL;
    float *x    = calloc(n * 3 * features, sizeof *x);
    char   full[200];

    for (size_t i = 0; i < n * 3 * features; i++) {
        x[i] = (float)(1000 * class + i);
    }
    snprintf(full, sizeof full, "%s/%s.hdf5", folder, name);
    OK(pq_h5_create(full, &file, err));
    put(file, "particle_features", PQ_DTYPE_F32, PQ_SHAPE(n, 3, features), x);
    OK(pq_h5_commit(&file, err));
    strcpy(path, folder);
    free(x);
}

Test(particles, jetnet_classes_take_turns_and_none_is_lost)
{
    static const size_t    sizes[] = {4, 2, 3};
    pq_dataset            *d;
    const pq_dataset_info *info;
    float                  x[9 * 12], again[12];
    int32_t                y[9];
    const int32_t          turns[] = {0, 1, 2, 0, 1, 2, 0, 2, 0};
    size_t                 row[3]  = {0};

    write_jetnet("g", 0, sizes[0], 4);
    write_jetnet("t", 1, sizes[1], 4);
    write_jetnet("z", 2, sizes[2], 4);
    d    = open_with(NULL);
    info = pq_dataset_describe(d);
    cr_expect_str_eq(info->layout, "jetnet");
    cr_expect_str_eq(info->class_names[1], "t");
    cr_expect(pq_shape_equal(&info->sample, &PQ_SHAPE(3, 4)));
    cr_assert_eq(info->splits[0].n, 9);
    OK(pq_dataset_read(d, 0, 0, 9, &(pq_batch){x, y, NULL}, err));
    for (size_t i = 0; i < 9; i++) {
        cr_expect_eq(y[i], turns[i]);
        cr_expect_eq(x[12 * i], (float)(1000 * (size_t)turns[i] + 12 * row[turns[i]]++));
        OK(pq_dataset_read(d, 0, i, 1, &(pq_batch){.x = again}, err));
        cr_expect_arr_eq(again, x + 12 * i, sizeof again);
    }
    pq_dataset_close(&d);
}

Test(particles, jetnet_refusals_name_the_file)
{
    char want[300];

    write_jetnet("g", 0, 2, 4);
    write_jetnet("q", 1, 2, 3);
    snprintf(path, sizeof path, "%s", folder);
    {
        pq_dataset *d   = NULL;
        pq_err      err = {0};
        cr_expect_eq(pq_dataset_open(path, NULL, &d, &err), PQ_ERR_SHAPE);
        snprintf(want, sizeof want,
                 "%s/q.hdf5: particle_features is not [jets, particles, 4]", folder);
        cr_expect_str_eq(err.message, want);
    }
    refused(&(pq_dataset_options){.layout = "zenodo"}, PQ_ERR_FORMAT,
            ": holds no .h5 files");
}

static void write_guest(const char *name, const char *content)
{
    char   full[200];
    gzFile file;

    snprintf(full, sizeof full, "%s/%s", folder, name);
    file = gzopen(full, strstr(name, ".gz") != NULL ? "wb" : "wbT");
    cr_assert_gt(gzputs(file, content), 0);
    cr_assert_eq(gzclose(file), Z_OK);
    strcpy(path, full);
}

#define LINE(pt, flavour, third)                                                         \
    "[" pt ", -0.5, " flavour ", [1,2," third ",4,5,6,7,8], [11,12,13,14,15,16], "       \
    "[[1]]]\n"

Test(particles, guest_lines_are_read_plain_and_gzipped)
{
    static const char *const files[] = {"dataset.json", "dataset.json.gz"};

    for (int i = 0; i < 2; i++) {
        pq_dataset            *d;
        const pq_dataset_info *info;
        float                  x[3 * 16];
        int32_t                y[3];

        write_guest(files[i], LINE("25.5", "5", "3") LINE("30", "0", "-inf")
                                  LINE("40", "4", "\"NaN\""));
        d    = open_with(&(pq_dataset_options){.nonfinite = PQ_NONFINITE_ZERO});
        info = pq_dataset_describe(d);
        cr_expect_str_eq(info->layout, "guest");
        cr_expect_str_eq(info->feature_names[7], "jet_prob");
        cr_expect_str_eq(info->class_names[0], "b");
        cr_assert_eq(info->splits[0].n, 3);
        OK(pq_dataset_read(d, 0, 0, 3, &(pq_batch){x, y, NULL}, err));
        cr_expect_eq(x[0], 25.5F);
        cr_expect_eq(x[4], 3.0F);
        cr_expect_eq(x[16 + 4], 0.0F);
        cr_expect_eq(x[32 + 15], 16.0F);
        cr_expect_eq(y[0], 0);
        cr_expect_eq(y[1], 2);
        cr_expect_eq(y[2], 1);
        cr_expect_eq(info->nonfinite, 2);
        pq_dataset_close(&d);
    }
}

Test(particles, broken_guest_lines_are_refused_with_their_event)
{
    static const char *const bad[] = {"[1, 2\n", "[1, 2, 5, [1], [2], []]\n"};
    static const char *const why[] = {
        ": event 1: is not valid JSON: column 5: ']' expected near end of file",
        ": event 1: is not [pT, eta, flavour, [8 values], [6 values], …]"};

    for (int i = 0; i < 2; i++) {
        pq_dataset *d;
        pq_err      err = {0};
        float       x[32];
        char        text[400], want[400];

        snprintf(text, sizeof text, "%s%s", LINE("1", "5", "3"), bad[i]);
        write_guest("dataset.json", text);
        d = open_with(NULL);
        cr_expect_eq(pq_dataset_read(d, 0, 0, 2, &(pq_batch){.x = x}, &err),
                     PQ_ERR_FORMAT);
        snprintf(want, sizeof want, "%s%s", path, why[i]);
        cr_expect_str_eq(err.message, want);
        pq_dataset_close(&d);
    }
}

enum { JETS = 3000, COLUMNS = 23 };

/* Each jet stands 1 + jet % 3 times; every 500th jet comes again at the end. */
static void write_cernbox(bool no_label)
{
    static const char *const names[COLUMNS] = {"j_zlogz",
                                               "j_c1_b0_mmdt",
                                               "j_c1_b1_mmdt",
                                               "j_c1_b2_mmdt",
                                               "j_c2_b1_mmdt",
                                               "j_c2_b2_mmdt",
                                               "j_d2_b1_mmdt",
                                               "j_d2_b2_mmdt",
                                               "j_d2_a1_b1_mmdt",
                                               "j_d2_a1_b2_mmdt",
                                               "j_m2_b1_mmdt",
                                               "j_m2_b2_mmdt",
                                               "j_n2_b1_mmdt",
                                               "j_n2_b2_mmdt",
                                               "j_mass_mmdt",
                                               "j_multiplicity",
                                               "j_g",
                                               "j_q",
                                               "j_w",
                                               "j_z",
                                               "j_t",
                                               "j1_pt",
                                               "index"};
    float(*rows)[COLUMNS]                   = calloc(3 * JETS, sizeof *rows);
    hsize_t n                               = 0;
    hid_t   file, type, space, id;

    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t jet = 0; jet < JETS; jet += pass == 0 ? 1 : 500) {
            for (size_t k = 0; k < 1 + jet % 3; k++) {
                for (size_t c = 0; c < 16; c++) {
                    rows[n][c] = (float)jet + 0.01F * (float)c;
                }
                rows[n][16 + jet % 5] = 1.0F;
                rows[n][21]           = (float)k;
                rows[n][22]           = (float)n;
                n++;
            }
        }
    }
    file  = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    type  = H5Tcreate(H5T_COMPOUND, sizeof *rows);
    space = H5Screate_simple(1, &n, NULL);
    for (size_t c = 0; c < COLUMNS; c++) {
        H5Tinsert(type, no_label && c == 18 ? "j_v" : names[c], c * sizeof(float),
                  H5T_NATIVE_FLOAT);
    }
    id = H5Dcreate2(file, "t_allpar_new", type, space, H5P_DEFAULT, H5P_DEFAULT,
                    H5P_DEFAULT);
    cr_assert(H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    H5Dclose(id);
    H5Fclose(file);
    free(rows);
}

Test(particles, cernbox_rows_are_jets_once_each)
{
    pq_dataset            *d;
    const pq_dataset_info *info;
    float                 *x = calloc(JETS, 16 * sizeof *x);
    int32_t                y[JETS];

    write_cernbox(false);
    d    = open_with(NULL);
    info = pq_dataset_describe(d);
    cr_expect_str_eq(info->layout, "cernbox");
    cr_assert_eq(info->splits[0].n, JETS);
    cr_expect_str_eq(info->class_names[2], "w");
    cr_expect_str_eq(info->feature_names[0], "zlogz");
    OK(pq_dataset_read(d, 0, 0, JETS, &(pq_batch){x, y, NULL}, err));
    for (size_t i = 0; i < JETS; i++) {
        cr_assert_eq(x[16 * i + 15], (float)i + 0.01F * 15.0F);
        cr_assert_eq(y[i], (int32_t)(i % 5));
    }
    pq_dataset_close(&d);
    write_cernbox(true);
    refused(NULL, PQ_ERR_NOT_FOUND,
            ": t_allpar_new has no column 'j_w'; did you mean 'j_g'?");
    free(x);
}
