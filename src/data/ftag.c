/*
 * The layout of ATLAS flavour tagging: compound datasets `jets` [n] and `tracks`
 * (or `consts`) [n, most], padded tracks marked by `valid`. Energies in MeV.
 *
 * Source: atlas-ftag-tools and puma; Salt's tutorial for the other names.
 */
#include <stdio.h>
#include <string.h>

#include "core/memory.h"
#include "data/layout.h"
#include "io/hdf5.h"

enum { MAX_COLUMNS = 512, ALIASES = 4, PREFIX = 7 /* of "tracks." */ };

typedef struct {
    pq_h5 *file;
    char  *tracks; /* name of the dataset of tracks, or NULL */
    char **jet_columns;
    size_t n_jet_columns;
    char **track_columns;
    size_t n_track_columns;
    bool   by_track; /* features are those of tracks */
    size_t n_inputs; /* columns read; of tracks, the last one is `valid` */
    char **inputs;   /* [n_inputs] */
    char  *label;
    char  *weight; /* or NULL */
} ftag;

/* Names of one quantity in different files, where none is asked for by name. */
static const char *const aliases[][ALIASES] = {
    {"HadronConeExclTruthLabelID", "HadronGhostTruthLabelID", "flavour", "flavor"},
    {"weight", "mcEventWeight", NULL, NULL},
};

static const char *find(char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            return names[i];
        }
    }
    return NULL;
}

/* The column that holds a quantity under this or another of its names, or NULL. */
static const char *resolve(char *const *names, size_t n, const char *name)
{
    const char *found = find(names, n, name);

    for (size_t a = 0; found == NULL && a < sizeof aliases / sizeof *aliases; a++) {
        bool same = false;
        for (size_t k = 0; k < ALIASES && aliases[a][k] != NULL; k++) {
            same = same || strcmp(aliases[a][k], name) == 0;
        }
        for (size_t k = 0; same && found == NULL && k < ALIASES && aliases[a][k] != NULL;
             k++) {
            found = find(names, n, aliases[a][k]);
        }
    }
    return found;
}

static bool recognises(const char *path)
{
    pq_h5 *file = NULL;
    bool   yes;

    yes = pq_h5_is_file(path) && pq_h5_open(path, &file, NULL) == PQ_OK &&
          pq_h5_kind(file, "jets") == PQ_H5_COMPOUND;
    pq_h5_close(&file);
    return yes;
}

/* GN2_pb, DL1dv01_pu, GN2v01_pghostb, GN3_phbb, GN2_ptau, dipsLoose_pc: a tagger, an
 * underscore, p and one or several flavours. Not X_pt, X_phi, X_ptrel. */
static bool is_score(const char *name)
{
    static const char *const flavours[] = {
        "ghost", "tau", "light", "qcd", "top", "inc", "hadr", "el", "mu", "had",
        "b",     "c",   "u",     "d",   "s",   "g",   "l",    "h",  "q"};
    const char *p = strrchr(name, '_');

    if (p == NULL || p == name || p[1] != 'p' || p[2] == '\0') {
        return false;
    }
    for (p += 2; *p != '\0';) {
        size_t k = 0, n = sizeof flavours / sizeof *flavours;
        while (k < n && strncmp(p, flavours[k], strlen(flavours[k])) != 0) {
            k++;
        }
        if (k == n) {
            return false;
        }
        p += strlen(flavours[k]);
    }
    return true;
}

/* Columns that say the answer, count events or are another tagger's: never features
 * unless named. */
static bool is_no_feature(const char *name)
{
    static const char *const parts[] = {"Truth", "truth", "flavour", "flavor", "Number",
                                        "event", "Hash",  "eight",   "valid"};

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strstr(name, parts[i]) != NULL) {
            return true;
        }
    }
    return is_score(name);
}

static pq_status add_input(ftag *f, const char *name, pq_err *err)
{
    pq_status st;

    PQ_CHECK(f->n_inputs < MAX_COLUMNS, PQ_ERR_FORMAT, "more than %d features",
             MAX_COLUMNS);
    PQ_STRDUP(f->inputs[f->n_inputs], name);
    f->n_inputs++;
cleanup:
    return st;
}

/* Whether columns hold a number in each row: texts and lists within a row cannot be read.
 * The reader looks at types before rows, of which none are asked for. */
static bool hold_numbers(const ftag *f, const char *dataset, const char *const *names,
                         size_t n)
{
    double none;

    return pq_h5_read_columns(f->file, dataset, (pq_rows){0, 0}, names, n, PQ_DTYPE_F64,
                              &none, NULL) == PQ_OK;
}

/* Whether a column of jets is the label or the weight. */
static bool is_chosen(const ftag *f, const char *name)
{
    return !f->by_track && (strcmp(name, f->label) == 0 ||
                            (f->weight != NULL && strcmp(name, f->weight) == 0));
}

/* All columns of jets, or of tracks, that may be features. */
static pq_status add_all(ftag *f, pq_err *err)
{
    char *const *names   = f->by_track ? f->track_columns : f->jet_columns;
    const size_t n       = f->by_track ? f->n_track_columns : f->n_jet_columns;
    const char  *dataset = f->by_track ? f->tracks : "jets";
    const bool   all     = hold_numbers(f, dataset, (const char *const *)names, n);
    pq_status    st      = PQ_OK;

    for (size_t i = 0; i < n; i++) {
        const char *name = names[i];
        if (!is_no_feature(name) && !is_chosen(f, name) &&
            (all || hold_numbers(f, dataset, &name, 1))) {
            PQ_TRY(add_input(f, name, err));
        }
    }
cleanup:
    return st;
}

static pq_status add_named(const pq_source *s, const char *name, pq_err *err)
{
    ftag        *f      = s->state;
    const bool   tracks = strncmp(name, "tracks.", PREFIX) == 0;
    char *const *names  = tracks ? f->track_columns : f->jet_columns;
    const size_t n      = tracks ? f->n_track_columns : f->n_jet_columns;
    const char  *wanted = tracks ? name + PREFIX : name;
    const char  *found  = find(names, n, wanted);
    const char  *near;
    pq_status    st;

    PQ_CHECK(tracks == f->by_track, PQ_ERR_CONFIG,
             "%s: inputs are either columns of jets or of tracks (tracks.NAME), not both",
             s->path);
    near = found == NULL ? pq_nearest(wanted, (const char *const *)names, n) : NULL;
    PQ_CHECK(found != NULL, PQ_ERR_NOT_FOUND, "%s: %s has no column '%s'%s%s%s", s->path,
             tracks ? f->tracks : "jets", wanted, near != NULL ? "; did you mean '" : "",
             near != NULL ? near : "", near != NULL ? "'?" : "");
    PQ_TRY(add_input(f, found, err));
cleanup:
    return st;
}

/* The mask of the tracks that are there is always read, and stands last. */
static pq_status add_valid(const pq_source *s, pq_err *err)
{
    ftag     *f     = s->state;
    bool      named = false;
    pq_status st;

    PQ_CHECK(find(f->track_columns, f->n_track_columns, "valid") != NULL, PQ_ERR_FORMAT,
             "%s: %s has no column 'valid'", s->path, f->tracks);
    for (size_t i = 0; i < f->n_inputs; i++) {
        PQ_CHECK(!named, PQ_ERR_CONFIG,
                 "%s: tracks.valid marks the tracks that are there: it stands last among "
                 "the inputs, not before tracks.%s",
                 s->path, f->inputs[i]);
        named = strcmp(f->inputs[i], "valid") == 0;
    }
    if (!named) {
        PQ_TRY(add_input(f, "valid", err));
    }
cleanup:
    return st;
}

/* "a,b" of jets; "tracks" or "tracks.a,tracks.b". */
static pq_status choose_inputs(pq_source *s, const char *inputs, pq_err *err)
{
    ftag     *f     = s->state;
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st;

    PQ_NEW(f->inputs, MAX_COLUMNS);
    f->by_track = inputs != NULL && (strcmp(inputs, "tracks") == 0 ||
                                     strncmp(inputs, "tracks.", PREFIX) == 0);
    PQ_CHECK(!f->by_track || f->tracks != NULL, PQ_ERR_NOT_FOUND,
             "%s: has neither tracks nor consts", s->path);
    if (inputs == NULL || strcmp(inputs, "tracks") == 0) {
        PQ_TRY(add_all(f, err));
    } else {
        PQ_TRY(pq_texts_split(inputs, &names, &n, err));
        for (size_t i = 0; i < n; i++) {
            PQ_TRY(add_named(s, names[i], err));
        }
    }
    PQ_CHECK(f->n_inputs > 0, PQ_ERR_FORMAT, "%s: has no columns of features", s->path);
    if (f->by_track) {
        PQ_TRY(add_valid(s, err));
        s->padded = true;
    }
cleanup:
    pq_texts_free(&names, n);
    return st;
}

static pq_status set_sample(pq_source *s, pq_err *err)
{
    ftag      *f = s->state;
    pq_h5_info jets, tracks;
    pq_status  st;

    PQ_TRY(pq_h5_describe(f->file, "jets", &jets, err));
    PQ_CHECK(jets.shape.ndim == 1, PQ_ERR_SHAPE, "%s: jets has %zu dimensions, not 1",
             s->path, jets.shape.ndim);
    PQ_CHECK(jets.shape.dim[0] > 0, PQ_ERR_FORMAT, "%s: jets holds no events", s->path);
    s->sample = PQ_SHAPE(f->n_inputs);
    if (f->by_track) {
        PQ_TRY(pq_h5_describe(f->file, f->tracks, &tracks, err));
        PQ_CHECK(tracks.shape.ndim == 2 && tracks.shape.dim[0] == jets.shape.dim[0] &&
                     tracks.shape.dim[1] > 0,
                 PQ_ERR_SHAPE,
                 "%s: %s does not have a list of tracks for each of the %zu jets",
                 s->path, f->tracks, jets.shape.dim[0]);
        s->sample = PQ_SHAPE(tracks.shape.dim[1], f->n_inputs);
    }
    s->n_features = f->n_inputs;
    PQ_TRY(pq_texts_copy((const char *const *)f->inputs, f->n_inputs, &s->feature_names,
                         err));
    PQ_TRY(pq_source_add_split(s, "", jets.shape.dim[0], err));
cleanup:
    return st;
}

/* The column named, else flavour_label with its names, else the hadron label; values are
 * 5, 4, 0, 15 where the file names none. */
static pq_status choose_label(pq_source *s, const char *named, pq_err *err)
{
    static const char *const names[]  = {"b", "c", "light", "tau"};
    static const double      values[] = {5.0, 4.0, 0.0, 15.0};
    ftag                    *f        = s->state;
    const char              *label;
    pq_status                st;

    if ((named == NULL || strcmp(named, "flavour_label") == 0) &&
        find(f->jet_columns, f->n_jet_columns, "flavour_label") != NULL &&
        pq_h5_has_attr(f->file, "jets", "flavour_label")) {
        PQ_STRDUP(f->label, "flavour_label");
        PQ_TRY(pq_h5_attr_texts(f->file, "jets", "flavour_label", &s->class_names,
                                &s->n_classes, err));
        PQ_CHECK(s->n_classes > 0, PQ_ERR_FORMAT,
                 "%s: attribute 'flavour_label' of jets names no classes", s->path);
        goto cleanup;
    }
    label = named != NULL
                ? find(f->jet_columns, f->n_jet_columns, named)
                : resolve(f->jet_columns, f->n_jet_columns, "HadronConeExclTruthLabelID");
    PQ_CHECK(label != NULL || named == NULL, PQ_ERR_NOT_FOUND,
             "%s: jets has no column '%s' of labels", s->path, named);
    PQ_CHECK(label != NULL, PQ_ERR_FORMAT,
             "%s: jets has no label: neither HadronConeExclTruthLabelID nor "
             "flavour_label with "
             "names",
             s->path);
    PQ_STRDUP(f->label, label);
    PQ_TRY(pq_texts_copy(names, 4, &s->class_names, err));
    s->n_classes = 4;
    PQ_NEW(s->label_values, 4);
    memcpy(s->label_values, values, sizeof values);
cleanup:
    return st;
}

static pq_status open_ftag(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    ftag       *f = NULL;
    const char *weight;
    pq_status   st;

    PQ_NEW(f, 1);
    s->state = f;
    PQ_TRY(pq_h5_open(s->path, &f->file, err));
    PQ_TRY(pq_h5_columns(f->file, "jets", &f->jet_columns, &f->n_jet_columns, err));
    if (pq_h5_has(f->file, "tracks") || pq_h5_has(f->file, "consts")) {
        PQ_STRDUP(f->tracks, pq_h5_has(f->file, "tracks") ? "tracks" : "consts");
        PQ_TRY(pq_h5_columns(f->file, f->tracks, &f->track_columns, &f->n_track_columns,
                             err));
    }
    PQ_TRY(choose_label(s, options->label, err));
    weight = options->weight == NULL
                 ? resolve(f->jet_columns, f->n_jet_columns, "weight")
                 : find(f->jet_columns, f->n_jet_columns, options->weight);
    PQ_CHECK(weight != NULL || options->weight == NULL ||
                 strcmp(options->weight, "none") == 0,
             PQ_ERR_NOT_FOUND, "%s: jets has no column '%s' of weights", s->path,
             options->weight);
    if (weight != NULL) {
        PQ_STRDUP(f->weight, weight);
    }
    PQ_TRY(choose_inputs(s, options->inputs, err));
    PQ_TRY(set_sample(s, err));
    if (pq_h5_has_attr(f->file, "/", "licence")) {
        PQ_TRY(pq_h5_attr_text(f->file, "/", "licence", &s->licence, err));
    }
    if (pq_h5_has_attr(f->file, "/", "source")) {
        PQ_TRY(pq_h5_attr_text(f->file, "/", "source", &s->source, err));
    }
cleanup:
    return st;
}

static pq_status read_column(const ftag *f, pq_rows rows, const char *name,
                             pq_dtype dtype, void *out, pq_err *err)
{
    return pq_h5_read_columns(f->file, "jets", rows, &name, 1, dtype, out, err);
}

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    const ftag   *f    = s->state;
    const pq_rows rows = {first, n};
    pq_status     st   = PQ_OK;

    (void)split;
    if (out->x != NULL) {
        PQ_TRY(pq_h5_read_columns(f->file, f->by_track ? f->tracks : "jets", rows,
                                  (const char *const *)f->inputs, f->n_inputs,
                                  PQ_DTYPE_F32, out->x, err));
    }
    for (size_t i = 0; out->x != NULL && f->by_track && i < n * s->sample.dim[0]; i++) {
        float *track = out->x + i * f->n_inputs;
        if (!(track[f->n_inputs - 1] > 0.0F)) { /* padding may hold anything, NaN too */
            memset(track, 0, f->n_inputs * sizeof *track);
        }
    }
    if (out->y != NULL) {
        PQ_TRY(read_column(f, rows, f->label, PQ_DTYPE_F64, out->y, err));
    }
    if (out->weight != NULL && f->weight != NULL) {
        PQ_TRY(read_column(f, rows, f->weight, PQ_DTYPE_F32, out->weight, err));
    }
    for (size_t i = 0; out->weight != NULL && f->weight == NULL && i < n; i++) {
        out->weight[i] = 1.0F;
    }
cleanup:
    return st;
}

static pq_status list_aux(pq_source *s, size_t split, char ***names, size_t *n,
                          pq_err *err)
{
    const ftag        *f       = s->state;
    const char *const *columns = (const char *const *)f->jet_columns;
    const bool         all     = hold_numbers(f, "jets", columns, f->n_jet_columns);
    const char        *kept[MAX_COLUMNS];
    size_t             n_kept = 0;

    (void)split;
    if (all) {
        *n = f->n_jet_columns;
        return pq_texts_copy(columns, f->n_jet_columns, names, err);
    }
    for (size_t i = 0; i < f->n_jet_columns && n_kept < MAX_COLUMNS; i++) {
        if (hold_numbers(f, "jets", &columns[i], 1)) {
            kept[n_kept++] = columns[i];
        }
    }
    *n = n_kept;
    return pq_texts_copy(kept, n_kept, names, err);
}

static pq_status read_aux(pq_source *s, size_t split, const pq_aux *aux, size_t first,
                          size_t n, void *out, pq_err *err)
{
    const ftag *f = s->state;

    (void)split;
    return pq_h5_read_columns(f->file, "jets", (pq_rows){first, n}, aux->names,
                              aux->n_names, aux->dtype, out, err);
}

static void close_ftag(pq_source *s)
{
    ftag *f = s->state;

    if (f != NULL) {
        pq_h5_close(&f->file);
        pq_texts_free(&f->jet_columns, f->n_jet_columns);
        pq_texts_free(&f->track_columns, f->n_track_columns);
        pq_texts_free(&f->inputs, f->n_inputs);
        pq_free(f->tracks);
        pq_free(f->label);
        pq_free(f->weight);
        pq_free(f);
    }
}

const pq_layout pq_layout_ftag = {
    .name    = "ftag",
    .summary = "ATLAS flavour tagging: compounds jets and tracks; inputs a,b of jets or "
               "tracks or tracks.a,tracks.b, with tracks.valid last",
    .recognises   = recognises,
    .open         = open_ftag,
    .read         = read_events,
    .read_aux     = read_aux,
    .list_aux     = list_aux,
    .close        = close_ftag,
    .takes_inputs = true,
    .takes_label  = true,
};
