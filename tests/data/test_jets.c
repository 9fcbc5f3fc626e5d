#include "data/files.h"

#include "data/write.h"

#include <hdf5.h>
#include <math.h>

#define DATASETS PQ_TEST_SOURCE_ROOT "/datasets"

TestSuite(jets, .init = setup, .fini = teardown);

typedef struct {
    float   pt, eta;
    int32_t label, flavour_label;
    int64_t event;
    float   tagger_pb;
} jet;

typedef struct {
    float  d0, significance;
    int8_t valid;
} track;

enum { N_JETS = 6, N_TRACKS = 3 };

/* What differs between the files of these tests. */
typedef struct {
    const char  *label;     /* name of the label's column */
    const char  *tracks;    /* name of the dataset of tracks */
    bool         attribute; /* names of flavour_label */
    bool         no_valid;
    H5Z_filter_t filter; /* compression of both, 0 = none */
} variant;

static const variant usual = {"HadronConeExclTruthLabelID", "tracks", false, false, 0};

static hid_t bool_type(void)
{
    const hid_t  type = H5Tenum_create(H5T_NATIVE_INT8);
    const int8_t no = 0, yes = 1;

    H5Tenum_insert(type, "FALSE", &no);
    H5Tenum_insert(type, "TRUE", &yes);
    return type;
}

/* A compression that libhdf5 knows while the test writes, and no more when it reads. */
static size_t pass(unsigned flags, size_t n, const unsigned values[], size_t bytes,
                   size_t *size, void **buffer)
{
    (void)flags;
    (void)n;
    (void)values;
    (void)size;
    (void)buffer;
    return bytes;
}

static void write_compound(hid_t file, const char *name, hid_t type, int ndim,
                           H5Z_filter_t filter, const void *rows)
{
    const H5Z_class2_t known = {H5Z_CLASS_T_VERS, filter, 1, 1, "f", NULL, NULL, pass};
    const hsize_t      dim[] = {N_JETS, N_TRACKS};
    const hid_t        space = H5Screate_simple(ndim, dim, NULL);
    const hid_t        list  = H5Pcreate(H5P_DATASET_CREATE);
    hid_t              id;

    if (filter != 0) {
        H5Zregister(&known);
        H5Pset_chunk(list, ndim, dim);
        H5Pset_filter(list, filter, H5Z_FLAG_MANDATORY, 0, NULL);
    }
    id = H5Dcreate2(file, name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    cr_assert(H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    H5Dclose(id);
    H5Pclose(list);
    H5Sclose(space);
    if (filter != 0) {
        H5Fflush(file, H5F_SCOPE_GLOBAL);
        H5Zunregister(filter);
    }
}

static void write_ftag(const variant *v)
{
    static const int32_t labels[N_JETS] = {5, 4, 0, 15, 5, 0};
    static const char    names[3][8]    = {"light", "c", "b"};
    const hid_t          file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t          j    = H5Tcreate(H5T_COMPOUND, sizeof(jet)),
                t             = H5Tcreate(H5T_COMPOUND, sizeof(track));
    jet   jets[N_JETS];
    track tracks[N_JETS][N_TRACKS];

    for (int i = 0; i < N_JETS; i++) {
        jets[i] = (jet){
            1000.0F * (float)i, 0.1F * (float)i, labels[i], i % 3, 100 + i / 2, 0.5F};
        for (int k = 0; k < N_TRACKS; k++) {
            tracks[i][k] =
                k < i % 4 ? (track){(float)i, (float)k, 1} : (track){NAN, NAN, 0};
        }
    }
    H5Tinsert(j, "pt", HOFFSET(jet, pt), H5T_NATIVE_FLOAT);
    H5Tinsert(j, "eta", HOFFSET(jet, eta), H5T_NATIVE_FLOAT);
    H5Tinsert(j, v->label, HOFFSET(jet, label), H5T_NATIVE_INT32);
    H5Tinsert(j, "flavour_label", HOFFSET(jet, flavour_label), H5T_NATIVE_INT32);
    H5Tinsert(j, "eventNumber", HOFFSET(jet, event), H5T_NATIVE_INT64);
    H5Tinsert(j, "GN2_pb", HOFFSET(jet, tagger_pb), H5T_NATIVE_FLOAT);
    H5Tinsert(t, "d0", HOFFSET(track, d0), H5T_NATIVE_FLOAT);
    H5Tinsert(t, "lifetimeSignedD0Significance", HOFFSET(track, significance),
              H5T_NATIVE_FLOAT);
    H5Tinsert(t, v->no_valid ? "used" : "valid", HOFFSET(track, valid), bool_type());
    write_compound(file, "jets", j, 1, v->filter, jets);
    write_compound(file, v->tracks, t, 2, v->filter, tracks);
    if (v->attribute) {
        const hsize_t three = 3;
        const hid_t   id = H5Dopen2(file, "jets", H5P_DEFAULT), s = H5Tcopy(H5T_C_S1);
        const hid_t   space = H5Screate_simple(1, &three, NULL);
        hid_t         a;
        H5Tset_size(s, 8);
        a = H5Acreate2(id, "flavour_label", s, space, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(a, s, names);
        H5Aclose(a);
        H5Dclose(id);
    }
    H5Fclose(file);
}

Test(jets, ftag_features_leave_out_labels_numbers_and_scores)
{
    pq_dataset            *d;
    const pq_dataset_info *info;
    float                  x[12];
    int32_t                y[N_JETS];
    double                 number;

    write_ftag(&usual);
    d    = open_with(NULL);
    info = pq_dataset_describe(d);
    cr_expect_str_eq(info->layout, "ftag");
    cr_expect(pq_shape_equal(&info->sample, &PQ_SHAPE(2)));
    cr_expect_str_eq(info->feature_names[1], "eta");
    cr_expect_eq(info->n_classes, 4);
    cr_expect_str_eq(info->class_names[0], "b");
    OK(pq_dataset_read(d, 0, 0, N_JETS, &(pq_batch){x, y, NULL}, err));
    cr_expect_eq(x[4], 2000.0F);
    cr_expect_eq(y[0], 0);
    cr_expect_eq(y[1], 1);
    cr_expect_eq(y[2], 2);
    cr_expect_eq(y[3], 3);
    OK(pq_dataset_read_aux(d, 0, "GN2_pb", 3, 1, &number, err));
    cr_expect_eq(number, 0.5);
    pq_dataset_close(&d);
}

/* One jet with these columns of floats beside a label: names of the features chosen. */
static void write_columns(const char *const *names, size_t n)
{
    const hid_t   file  = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t   j     = H5Tcreate(H5T_COMPOUND, (n + 1) * sizeof(float));
    const hsize_t one   = 2;
    const hid_t   space = H5Screate_simple(1, &one, NULL);
    float         rows[2][32];
    hid_t         id;

    cr_assert_leq(n, 31);
    H5Tinsert(j, "HadronConeExclTruthLabelID", 0, H5T_NATIVE_FLOAT);
    for (size_t i = 0; i < n; i++) {
        H5Tinsert(j, names[i], (i + 1) * sizeof(float), H5T_NATIVE_FLOAT);
    }
    for (size_t i = 0; i < 2 * (n + 1); i++) {
        ((float *)rows)[i] = i % (n + 1) == 0 ? 5.0F : (float)i;
    }
    id = H5Dcreate2(file, "jets", j, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert(H5Dwrite(id, j, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    H5Tclose(j);
    H5Fclose(file);
}

Test(jets, ftag_scores_of_other_taggers_and_hashes_are_no_features)
{
    static const char *const names[] = {
        "pt_btagJes",  "GN2v01_pb",     "GN2v01_pghostb",
        "GN3_phbb",    "GN3_phcc",      "GN3_pqcd",
        "GN2_ptau",    "DL1dv01_pu",    "jetFoldHash",
        "n_pt",        "SV_phi",        "track_ptrel",
        "softMuon_pb", "mcEventWeight", "SV1_energyfrac",
        "dips_pc",     "SV_pz",         "GN3EPCLV01_plightghost"};
    static const char *const kept[] = {"pt_btagJes",  "n_pt",           "SV_phi",
                                       "track_ptrel", "SV1_energyfrac", "SV_pz"};
    const size_t             n      = sizeof names / sizeof *names;
    pq_dataset              *d;
    float                    w[2];

    write_columns(names, n);
    d = open_with(NULL);
    cr_assert(pq_shape_equal(&pq_dataset_describe(d)->sample, &PQ_SHAPE(6)));
    for (size_t i = 0; i < 6; i++) {
        cr_expect_str_eq(pq_dataset_describe(d)->feature_names[i], kept[i]);
    }
    OK(pq_dataset_read(d, 0, 0, 2, &(pq_batch){.weight = w}, err));
    cr_expect_eq(w[0], 14.0F); /* mcEventWeight is the fourteenth column */
    pq_dataset_close(&d);
    /* Named, anything may be one. */
    d = open_with(&(pq_dataset_options){.inputs = "GN2v01_pb,pt_btagJes"});
    cr_expect(pq_shape_equal(&pq_dataset_describe(d)->sample, &PQ_SHAPE(2)));
    pq_dataset_close(&d);
}

Test(jets, ftag_labels_may_be_chosen_and_named)
{
    variant     v = usual;
    pq_dataset *d;
    int32_t     y[5];

    write_ftag(&v);
    d = open_with(&(pq_dataset_options){.labels = "u=0,b=5", .inputs = "eta"});
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 4);
    OK(pq_dataset_read(d, 0, 0, 4, &(pq_batch){.y = y}, err));
    cr_expect_eq(y[0], 1);
    cr_expect_eq(y[1], 0);
    pq_dataset_close(&d);
    v.label = "flavour"; /* found where none is named */
    write_ftag(&v);
    d = open_with(NULL);
    OK(pq_dataset_read(d, 0, 0, 1, &(pq_batch){.y = y}, err));
    cr_expect_eq(y[0], 0);
    pq_dataset_close(&d);
    v.attribute = true;
    write_ftag(&v);
    d = open_with(NULL);
    cr_expect_eq(pq_dataset_describe(d)->n_classes, 3);
    cr_expect_str_eq(pq_dataset_describe(d)->class_names[0], "light");
    OK(pq_dataset_read(d, 0, 0, 5, &(pq_batch){.y = y}, err));
    cr_expect_eq(y[4], 1);
    pq_dataset_close(&d);
}

Test(jets, ftag_tracks_are_zero_where_they_are_not_valid)
{
    static const char *const inputs[] = {
        "tracks", "tracks.d0,tracks.lifetimeSignedD0Significance",
        "tracks.d0, tracks.lifetimeSignedD0Significance, tracks.valid"};

    for (int i = 0; i < 3; i++) {
        variant                v = usual;
        pq_dataset            *d;
        const pq_dataset_info *info;
        float                  x[N_JETS * N_TRACKS * 3];

        v.tracks = i == 0 ? "tracks" : "consts";
        write_ftag(&v);
        d    = open_with(&(pq_dataset_options){.inputs = inputs[i]});
        info = pq_dataset_describe(d);
        cr_expect(pq_shape_equal(&info->sample, &PQ_SHAPE(N_TRACKS, 3)));
        cr_expect_str_eq(info->feature_names[1], "lifetimeSignedD0Significance");
        cr_expect_str_eq(info->feature_names[2], "valid");
        cr_expect(info->padded);
        OK(pq_dataset_read(d, 0, 0, N_JETS, &(pq_batch){.x = x}, err));
        for (int k = 0; k < N_JETS * N_TRACKS; k++) {
            const bool valid = k % N_TRACKS < k / N_TRACKS % 4;
            cr_expect_eq(x[3 * k], valid ? (float)(k / N_TRACKS) : 0.0F);
            cr_expect_eq(x[3 * k + 1], valid ? (float)(k % N_TRACKS) : 0.0F);
            cr_expect_eq(x[3 * k + 2], valid ? 1.0F : 0.0F);
        }
        pq_dataset_close(&d);
    }
}

Test(jets, ftag_splits_keep_the_jets_of_an_event_together)
{
    pq_dataset *d;
    double      number[N_JETS];

    write_ftag(&usual); /* events 100 100 101 101 102 102 */
    d = open_with(&(pq_dataset_options){.splits = "train=0:0.2,test=0.2:1"});
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 4);
    cr_expect_eq(pq_dataset_describe(d)->splits[1].n, 2);
    OK(pq_dataset_read_aux(d, 1, "eventNumber", 0, 2, number, err));
    cr_expect_eq(number[0], 102.0);
    cr_expect_eq(number[1], 102.0);
    pq_dataset_close(&d);
    d = open_with(&(pq_dataset_options){.splits = "train=0.1:0.3,test=0:0.1"});
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 4); /* 1 and 2 modulo 10 */
    OK(pq_dataset_read_aux(d, 1, "eventNumber", 0, 2, number, err));
    cr_expect_eq(number[0], 100.0);
    cr_expect_eq(number[1], 100.0);
    pq_dataset_close(&d);
}

Test(jets, a_scaler_of_tracks_is_fitted_on_those_that_are_there)
{
    char                   made[128];
    pq_dataset            *d;
    const pq_dataset_info *info;
    float                  x[N_JETS * N_TRACKS * 3], plain[N_JETS * N_TRACKS * 3];
    double                 sum[2] = {0, 0}, square[2] = {0, 0}, n = 0.0;

    write_ftag(&usual);
    snprintf(made, sizeof made, "%s/made.h5", folder);
    d = open_with(&(pq_dataset_options){.inputs = "tracks"});
    OK(pq_dataset_read(d, 0, 0, N_JETS, &(pq_batch){.x = plain}, err));
    OK(pq_data_import(d, made, 0, NULL, err));
    pq_dataset_close(&d);
    OK(pq_dataset_open(made, NULL, &d, err));
    info = pq_dataset_describe(d);
    cr_assert(info->padded);
    OK(pq_dataset_read(d, 0, 0, N_JETS, &(pq_batch){.x = x}, err));
    for (size_t r = 0; r < N_JETS * N_TRACKS; r++) {
        const bool there = plain[3 * r + 2] > 0.0F;
        cr_expect_eq(x[3 * r + 2], there ? 1.0F : 0.0F);
        n += there ? 1.0 : 0.0;
        for (size_t k = 0; k < 2; k++) {
            cr_expect(there || x[3 * r + k] == 0.0F);
            cr_expect(!there ||
                      fabs((double)(x[3 * r + k] * info->scaler_std[k] +
                                    info->scaler_mean[k] - plain[3 * r + k])) < 1e-5);
            sum[k] += (double)x[3 * r + k];
            square[k] += (double)x[3 * r + k] * (double)x[3 * r + k];
        }
    }
    cr_expect_eq(info->scaler_mean[2], 0.0F);
    cr_expect_eq(info->scaler_std[2], 1.0F);
    for (size_t k = 0; k < 2; k++) {
        cr_expect_float_eq(sum[k] / n, 0.0, 1e-6);
        cr_expect_float_eq(square[k] / n, 1.0, 1e-6);
    }
    pq_dataset_close(&d);
    OK(pq_dataset_open(made, &(pq_dataset_options){.inputs = "d0"}, &d, err));
    cr_expect(!pq_dataset_describe(d)->padded); /* without its mask: numbers as others */
    pq_dataset_close(&d);
}

/* Shares of the classes in a split, and the least and largest last digit of its events.
 */
typedef struct {
    double share[4];
    double low, high;
} digest;

static digest digest_of(pq_dataset *d, size_t split)
{
    const size_t n = pq_dataset_describe(d)->splits[split].n;
    const char  *name[4];
    digest       out    = {{0}, 9.0, 0.0};
    int32_t     *y      = pq_calloc(n, sizeof *y);
    double      *number = pq_calloc(n, sizeof *number);

    for (size_t c = 0; c < 4; c++) {
        name[c] = pq_dataset_describe(d)->class_names[c];
    }
    OK(pq_dataset_read(d, split, 0, n, &(pq_batch){.y = y}, err));
    OK(pq_dataset_read_aux(d, split, "eventNumber", 0, n, number, err));
    for (size_t i = 0; i < n; i++) {
        const char  *letter = strchr("lcbt", name[y[i]][0]);
        const double last   = fmod(number[i], 10.0);
        out.share[letter - strchr("lcbt", 'l')] += 1.0 / (double)n;
        out.low  = last < out.low ? last : out.low;
        out.high = last > out.high ? last : out.high;
    }
    pq_free(y);
    pq_free(number);
    return out;
}

/* Our two b-tag samples: the same events in the same split, all processes in each. */
Test(jets, the_tracks_sample_splits_as_the_features_sample)
{
    static const double low[] = {0.0, 4.0, 5.0}, high[] = {3.0, 4.0, 9.0};
    pq_dataset         *d[2] = {NULL, NULL};

    OK(pq_dataset_open(DATASETS "/jets-btag.h5", NULL, &d[0], err));
    OK(pq_dataset_open(
        DATASETS "/jets-btag-tracks.h5",
        &(pq_dataset_options){.splits = "train=0:0.4,val=0.4:0.5,test=0.5:1"}, &d[1],
        err));
    cr_expect_eq(pq_dataset_describe(d[1])->splits[0].n, 9871);
    cr_expect_eq(pq_dataset_describe(d[1])->splits[1].n, 2490);
    cr_expect_eq(pq_dataset_describe(d[1])->splits[2].n, 12330);
    for (size_t k = 0; k < 3; k++) {
        const char  *name   = pq_dataset_describe(d[1])->splits[k].name;
        size_t       own    = 0;
        const digest tracks = digest_of(d[1], k);
        digest       features;
        OK(pq_dataset_split(d[0], name, &own, err));
        features = digest_of(d[0], own);
        cr_expect_eq(features.low, low[k], "%s", name);
        cr_expect_eq(features.high, high[k], "%s", name);
        cr_expect_eq(tracks.low, low[k], "%s", name);
        cr_expect_eq(tracks.high, high[k], "%s", name);
        for (size_t c = 0; c < 4; c++) { /* 2490 jets: one sigma is at most 0.01 */
            cr_expect_float_eq(tracks.share[c], features.share[c], 0.04, "%s class %zu",
                               name, c);
        }
    }
    pq_dataset_close(&d[0]);
    pq_dataset_close(&d[1]);
}

/* The published files are compressed with what libhdf5 does not come with. */
Test(jets, ftag_compressed_with_a_filter_that_is_missing_names_it)
{
    variant     v    = usual;
    pq_err      why  = {0};
    pq_dataset *none = NULL;

    v.filter = 32004;
    write_ftag(&v);
    refused(NULL, PQ_ERR_UNSUPPORTED,
            ": jets is compressed with filter 32004 (LZ4), which this libhdf5 does not "
            "have");
    cr_expect_eq(pq_dataset_open(path, NULL, &none, &why), PQ_ERR_UNSUPPORTED);
    cr_expect(strstr(why.hint, "h5repack -f GZIP=4 IN OUT") != NULL, "%s", why.hint);
}

Test(jets, ftag_refusals_name_column_and_dataset)
{
    variant v = usual;

    write_ftag(&v);
    refused(&(pq_dataset_options){.inputs = "ptt"}, PQ_ERR_NOT_FOUND,
            ": jets has no column 'ptt'; did you mean 'pt'?");
    refused(&(pq_dataset_options){.inputs = "tracks.d1"}, PQ_ERR_NOT_FOUND,
            ": tracks has no column 'd1'; did you mean 'd0'?");
    refused(&(pq_dataset_options){.inputs = "tracks.d0,pt"}, PQ_ERR_CONFIG,
            ": inputs are either columns of jets or of tracks (tracks.NAME), not both");
    refused(&(pq_dataset_options){.inputs = "tracks.valid,tracks.d0"}, PQ_ERR_CONFIG,
            ": tracks.valid marks the tracks that are there: it stands last among the "
            "inputs, not before tracks.d0");
    v.no_valid = true;
    write_ftag(&v);
    refused(&(pq_dataset_options){.inputs = "tracks"}, PQ_ERR_FORMAT,
            ": tracks has no column 'valid'");
    v.label = "answer";
    write_ftag(&v);
    refused(NULL, PQ_ERR_FORMAT,
            ": jets has no label: neither HadronConeExclTruthLabelID nor flavour_label "
            "with names");
    v        = usual;
    v.tracks = "hits";
    write_ftag(&v);
    refused(&(pq_dataset_options){.inputs = "tracks"}, PQ_ERR_NOT_FOUND,
            ": has neither tracks nor consts");
}

enum { COLUMNS = 59, ROWS = 5, MOST = 4 };

/* A file of Zenodo: jets[i][c] = 100 (first + i) + c, labels one-hot by row; names as
 * published. */
static void write_zenodo(const char *name, int first, bool no_label, int bad_row)
{
    static const char *const groomed[] = {
        "c1_b0",    "c1_b1",    "c1_b2", "c2_b1", "c2_b2", "d2_b1", "d2_b2",
        "d2_a1_b1", "d2_a1_b2", "m2_b1", "m2_b2", "n2_b1", "n2_b2"};
    static const char *const classes[] = {"g", "q", "w", "z", "t", "undef"};
    char                     names[COLUMNS][24];
    float                    rows[ROWS][COLUMNS], constituents[ROWS * MOST * 16];
    char                     full[200];
    pq_h5                   *file = NULL;
    hsize_t                  dim  = COLUMNS;
    hid_t                    raw, type, space, id;

    for (int c = 0; c < COLUMNS; c++) {
        snprintf(names[c], sizeof names[c], "j_f%d", c);
        for (int i = 0; i < ROWS; i++) {
            rows[i][c] = c >= 53 ? (c - 53 == (first + i) % 5 ? 1.0F : 0.0F)
                                 : (float)(100 * (first + i) + c);
        }
    }
    if (bad_row >= 0) {
        rows[bad_row][53] = rows[bad_row][54] = 1.0F;
    }
    strcpy(names[1], "j_pt");
    strcpy(names[12], "j_zlogz");
    strcpy(names[48], "j_mass_mmdt");
    strcpy(names[52], "j_multiplicity");
    for (int k = 0; k < 13; k++) {
        snprintf(names[34 + k], sizeof names[0], "j_%s_mmdt", groomed[k]);
    }
    for (int k = 0; k < 6; k++) {
        snprintf(names[53 + k], sizeof names[0], no_label && k == 2 ? "j_v" : "j_%s",
                 classes[k]);
    }
    for (int i = 0; i < ROWS * MOST * 16; i++) {
        constituents[i] = (float)(i + first);
    }
    snprintf(full, sizeof full, "%s/%s", folder, name);
    OK(pq_h5_create(full, &file, err));
    put(file, "jets", PQ_DTYPE_F64, PQ_SHAPE(ROWS, COLUMNS), &rows[0][0]);
    put(file, "jetConstituentList", PQ_DTYPE_F64, PQ_SHAPE(ROWS, MOST, 16), constituents);
    OK(pq_h5_commit(&file, err));
    raw  = H5Fopen(full, H5F_ACC_RDWR, H5P_DEFAULT);
    type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, sizeof names[0]);
    space = H5Screate_simple(1, &dim, NULL);
    id    = H5Dcreate2(raw, "jetFeatureNames", type, space, H5P_DEFAULT, H5P_DEFAULT,
                       H5P_DEFAULT);
    cr_assert(H5Dwrite(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, names) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    H5Fclose(raw);
    strcpy(path, full);
}

Test(jets, zenodo_columns_are_the_documented_ones)
{
    static const int       columns[] = {12, 34, 35, 36, 37, 38, 39, 40,
                                        41, 42, 43, 44, 45, 46, 48, 52};
    pq_dataset            *d;
    const pq_dataset_info *info;
    float                  x[ROWS * 16];
    int32_t                y[ROWS];
    double                 pt[2];

    write_zenodo("jetImage_0_150p_0_10000.h5", 0, false, -1);
    d    = open_with(NULL);
    info = pq_dataset_describe(d);
    cr_expect_str_eq(info->layout, "zenodo");
    cr_expect_str_eq(info->class_names[4], "t");
    cr_expect_str_eq(info->feature_names[14], "mass_mmdt");
    OK(pq_dataset_read(d, 0, 0, ROWS, &(pq_batch){x, y, NULL}, err));
    for (int i = 0; i < ROWS; i++) {
        cr_expect_eq(y[i], i % 5);
        for (int k = 0; k < 16; k++) {
            cr_expect_eq(x[16 * i + k], (float)(100 * i + columns[k]));
        }
    }
    OK(pq_dataset_read_aux(d, 0, "pt", 2, 2, pt, err));
    cr_expect_eq(pt[1], 301.0);
    pq_dataset_close(&d);
    d = open_with(&(pq_dataset_options){.inputs = "j_pt,zlogz"});
    OK(pq_dataset_read(d, 0, 1, 1, &(pq_batch){.x = x}, err));
    cr_expect_eq(x[0], 101.0F);
    cr_expect_eq(x[1], 112.0F);
    pq_dataset_close(&d);
    d = open_with(&(pq_dataset_options){.inputs = "constituents"});
    cr_expect(pq_shape_equal(&pq_dataset_describe(d)->sample, &PQ_SHAPE(MOST, 16)));
    pq_dataset_close(&d);
}

Test(jets, zenodo_folders_are_splits_of_many_files)
{
    pq_dataset *d;
    float       x[8 * 16];
    char        inner[128];

    snprintf(inner, sizeof inner, "%s/train", folder);
    OK(pq_folder_make(inner, err));
    snprintf(inner, sizeof inner, "%s/val", folder);
    OK(pq_folder_make(inner, err));
    write_zenodo("train/a.h5", 0, false, -1);
    write_zenodo("train/b.h5", ROWS, false, -1);
    write_zenodo("val/c.h5", 2 * ROWS, false, -1);
    strcpy(path, folder);
    d = open_with(NULL);
    cr_assert_eq(pq_dataset_describe(d)->n_splits, 2);
    cr_expect_eq(pq_dataset_describe(d)->splits[0].n, 2 * ROWS);
    OK(pq_dataset_read(d, 0, 1, 8, &(pq_batch){.x = x}, err));
    for (int i = 0; i < 8; i++) {
        cr_expect_eq(x[16 * i], (float)(100 * (i + 1) + 12));
    }
    pq_dataset_close(&d);
}

Test(jets, zenodo_without_label_or_column_is_refused)
{
    pq_dataset *d;
    int32_t     y[ROWS];
    pq_err      err = {0};

    write_zenodo("a.h5", 0, true, -1);
    refused(NULL, PQ_ERR_FORMAT, ": jetFeatureNames has no 'j_w': the label is missing");
    write_zenodo("a.h5", 0, false, 3);
    refused(&(pq_dataset_options){.inputs = "zlog"}, PQ_ERR_NOT_FOUND,
            ": has no column 'zlog'; did you mean 'zlogz'?");
    d = open_with(NULL);
    cr_expect_eq(pq_dataset_read(d, 0, 0, ROWS, &(pq_batch){.y = y}, &err),
                 PQ_ERR_FORMAT);
    cr_expect_not_null(
        strstr(err.message, ": event 3: label -1 is none of the 5 classes"));
    pq_dataset_close(&d);
}
