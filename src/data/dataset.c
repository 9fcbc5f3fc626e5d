#include "data/dataset.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/budget.h"
#include "core/file.h"
#include "core/foreign.h"
#include "core/memory.h"
#include "data/arrays.h"
#include "data/dataset_inside.h"
#include "data/fetch.h"
#include "io/hdf5.h"

static void source_free(pq_source *s)
{
    if (s->layout != NULL) {
        s->layout->close(s);
    }
    pq_texts_free(&s->feature_names, s->n_features);
    pq_texts_free(&s->class_names, s->n_classes);
    for (size_t i = 0; i < s->n_splits; i++) {
        pq_free(s->splits[i].name);
    }
    pq_free(s->path);
    pq_texts_free(&s->files, s->n_files);
    pq_free(s->label_values);
    pq_free(s->mean);
    pq_free(s->std);
    pq_free(s->licence);
    pq_free(s->unlabelled);
    pq_free(s->source);
    *s = (pq_source){0};
}

static pq_status find_layout(const char *path, const char *name, const pq_layout **out,
                             pq_err *err)
{
    const char *names[64];
    size_t      n     = 0;
    pq_text     known = {0};
    const char *near;
    pq_status   st;

    for (; pq_layouts[n] != NULL && n < 64; n++) {
        names[n] = pq_layouts[n]->name;
        pq_text_add(&known, "%s%s", n == 0 ? "" : ", ", names[n]);
        if (name == NULL ? pq_layouts[n]->recognises(path)
                         : strcmp(names[n], name) == 0) {
            *out = pq_layouts[n];
            st   = PQ_OK;
            goto cleanup;
        }
    }
    if (name == NULL) {
        st = pq_err_set(err, PQ_ERR_FORMAT, __FILE__, __LINE__,
                        "%s: is in none of the layouts known (%s)", path, known.text);
        if (pq_foreign_way(path, false) != NULL) {
            pq_err_hint(err, "%s", pq_foreign_way(path, false));
        }
        goto cleanup;
    }
    near = pq_nearest(name, names, n);
    PQ_FAIL(PQ_ERR_CONFIG, "layout '%s' is not one of %s%s%s%s", name, known.text,
            near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'?" : "");
cleanup:
    pq_text_free(&known);
    return st;
}

/* Value in the file that "name=value" means: that of a class of the source called so, or
 * a number. */
static bool label_value(const pq_source *s, const char *text, double *out)
{
    for (size_t i = 0; i < s->n_classes; i++) {
        if (strcmp(s->class_names[i], text) == 0) {
            *out = s->label_values != NULL ? s->label_values[i] : (double)i;
            return true;
        }
    }
    return pq_parse_real(text, PQ_UNIT_NONE, out);
}

/* "b=5,c=4,light=0": replaces the classes of the source. */
static pq_status apply_labels(pq_dataset *d, const char *text, pq_err *err)
{
    pq_source *s      = &d->source;
    char     **pairs  = NULL;
    double    *values = NULL;
    size_t     n      = 0;
    pq_status  st;

    PQ_TRY(pq_texts_split(text, &pairs, &n, err));
    PQ_NEW(values, n);
    for (size_t i = 0; i < n; i++) {
        char *equal = strchr(pairs[i], '=');
        PQ_CHECK(
            equal != NULL && equal > pairs[i] && label_value(s, equal + 1, &values[i]),
            PQ_ERR_CONFIG, "label '%s' is not written name=value, e.g. b=5", pairs[i]);
        *equal = '\0';
        for (size_t k = 0; k < i; k++) {
            PQ_CHECK(strcmp(pairs[i], pairs[k]) != 0 && values[i] != values[k],
                     PQ_ERR_CONFIG, "labels '%s' and '%s' are the same", pairs[k],
                     pairs[i]);
        }
    }
    pq_texts_free(&s->class_names, s->n_classes);
    pq_free(s->label_values);
    s->class_names    = pairs;
    s->n_classes      = n;
    s->label_values   = values;
    d->partial_labels = true;
    pairs             = NULL;
    values            = NULL;
cleanup:
    pq_texts_free(&pairs, n);
    pq_free(values);
    return st;
}

static pq_status pick_column(pq_dataset *d, const char *name, size_t *out, pq_err *err)
{
    const pq_source   *s     = &d->source;
    const size_t       n     = s->sample.dim[s->sample.ndim - 1];
    const char *const *names = (const char *const *)s->feature_names;
    const char        *near;
    pq_status          st;

    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return PQ_OK;
        }
    }
    near = pq_nearest(name, names, n);
    PQ_FAIL(PQ_ERR_NOT_FOUND, "%s: has no feature '%s'%s%s%s", s->path, name,
            near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'?" : "");
cleanup:
    return st;
}

/* "a,b,c": features by name, in this order. */
static pq_status apply_inputs(pq_dataset *d, const char *text, pq_err *err)
{
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st;

    PQ_CHECK(d->source.feature_names != NULL, PQ_ERR_CONFIG,
             "%s: its features have no names, so none can be picked", d->source.path);
    PQ_TRY(pq_texts_split(text, &names, &n, err));
    PQ_NEW(d->columns, n);
    d->n_columns = n;
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pick_column(d, names[i], &d->columns[i], err));
    }
cleanup:
    pq_texts_free(&names, n);
    return st;
}

static bool has_all(const pq_source *s, const pq_dataset_options *o)
{
    const size_t n = s->sample.dim[s->sample.ndim - 1];

    if (s->feature_names == NULL || o->n_wanted == 0 || o->n_wanted >= n) {
        return false;
    }
    for (size_t i = 0; i < o->n_wanted; i++) {
        size_t at = 0;
        while (at < n && strcmp(s->feature_names[at], o->wanted[i]) != 0) {
            at++;
        }
        if (at == n) {
            return false;
        }
    }
    return true;
}

/* Of a file with more features than a model takes, those of the model. */
static pq_status apply_wanted(pq_dataset *d, const pq_dataset_options *o, pq_err *err)
{
    pq_status st = PQ_OK;

    if (!has_all(&d->source, o)) {
        return PQ_OK;
    }
    PQ_NEW(d->columns, o->n_wanted);
    d->n_columns = o->n_wanted;
    for (size_t i = 0; i < o->n_wanted; i++) {
        PQ_TRY(pick_column(d, o->wanted[i], &d->columns[i], err));
    }
cleanup:
    return st;
}

static pq_status check_unique(const char *path, const char *what, char *const *names,
                              size_t n, pq_err *err)
{
    size_t    twice = SIZE_MAX;
    pq_status st;

    if (names != NULL) {
        PQ_TRY(pq_repeated((const char *const *)names, n, &twice, err));
    }
    PQ_CHECK(twice == SIZE_MAX, PQ_ERR_FORMAT, "%s: %s '%s' is there twice", path, what,
             names[twice]);
cleanup:
    return st;
}

pq_status pq_source_check_names(const pq_source *s, pq_err *err)
{
    char     *splits[PQ_SOURCE_SPLITS];
    pq_status st;

    for (size_t i = 0; i < s->n_splits; i++) {
        splits[i] = s->splits[i].name;
    }
    PQ_TRY(check_unique(s->path, "class", s->class_names, s->n_classes, err));
    PQ_TRY(check_unique(s->path, "feature", s->feature_names, s->n_features, err));
    PQ_TRY(check_unique(s->path, "split", splits, s->n_splits, err));
cleanup:
    return st;
}

/* Names and scaler of the features that are handed out. */
static pq_status make_features(pq_dataset *d, pq_err *err)
{
    const pq_source *s = &d->source;
    pq_status        st;

    if (s->mean != NULL) {
        PQ_NEW(d->mean, d->features);
        PQ_NEW(d->std, d->features);
    }
    if (s->feature_names != NULL) {
        PQ_NEW(d->feature_names, d->features);
    }
    for (size_t i = 0; i < d->features; i++) {
        const size_t from = d->columns != NULL ? d->columns[i] : i;
        if (s->feature_names != NULL) {
            PQ_STRDUP(d->feature_names[i], s->feature_names[from]);
        }
        if (s->mean != NULL) {
            d->mean[i] = s->mean[from];
            d->std[i]  = s->std[from];
            PQ_CHECK(
                isfinite(d->mean[i]) && isfinite(d->std[i]) && d->std[i] > 0.0F,
                PQ_ERR_FORMAT,
                "%s: the scaler of feature %zu has mean %g and std %g, not finite ones "
                "with std > 0",
                s->path, from, (double)d->mean[i], (double)d->std[i]);
        }
    }
    st = PQ_OK;
cleanup:
    return st;
}

static pq_status describe(pq_dataset *d, pq_err *err)
{
    const pq_source *s      = &d->source;
    const size_t     last   = s->sample.dim[s->sample.ndim - 1] - 1;
    size_t           events = 0;
    pq_status        st;

    d->info = (pq_dataset_info){
        .path          = s->path,
        .n_files       = s->n_files,
        .files         = (const char *const *)s->files,
        .layout        = s->layout->name,
        .sample        = s->sample,
        .n_classes     = s->n_classes,
        .class_names   = (const char *const *)s->class_names,
        .feature_names = (const char *const *)d->feature_names,
        .scaler_mean   = d->mean,
        .scaler_std    = d->std,
        .standardized  = s->standardized,
        .padded =
            s->padded && (d->columns == NULL || d->columns[d->n_columns - 1] == last),
        .n_splits   = d->splits.n,
        .licence    = s->licence,
        .source     = s->source,
        .nonfinite  = d->info.nonfinite,
        .left_out   = d->info.left_out,
        .unlabelled = s->unlabelled,
    };
    d->info.sample.dim[s->sample.ndim - 1] = d->features;
    PQ_NEW(d->split_infos, d->splits.n);
    PQ_NEW(d->hashes, d->splits.n);
    PQ_NEW(d->met, d->splits.n);
    for (size_t i = 0; i < d->splits.n; i++) {
        if (d->nonfinite == PQ_NONFINITE_ZERO) { /* else met once at most */
            PQ_NEW(d->met[i], d->splits.items[i].n / 8 + 1);
        }
        d->split_infos[i] =
            (pq_split_info){d->splits.items[i].name, d->splits.items[i].n};
        events += d->splits.items[i].n;
    }
    PQ_CHECK(events > 0, PQ_ERR_FORMAT, "%s: holds no events", s->path);
    d->info.splits = d->split_infos;
cleanup:
    return st;
}

/* Names from the manifest for classes that are only numbers in the files. */
static pq_status name_classes(pq_source *s, const pq_set *set, pq_err *err)
{
    char    **names = NULL;
    char      number[32];
    pq_status st = PQ_OK;

    for (size_t i = 0; i < s->n_classes; i++) {
        (void)snprintf(number, sizeof number, "%zu", i);
        if (set->n_classes != s->n_classes || strcmp(s->class_names[i], number) != 0) {
            return PQ_OK;
        }
    }
    PQ_TRY(pq_texts_copy((const char *const *)set->classes, set->n_classes, &names, err));
    pq_texts_free(&s->class_names, s->n_classes);
    s->class_names = names;
cleanup:
    return st;
}

static pq_status check_inputs(const char *inputs, pq_err *err)
{
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st    = PQ_OK;

    if (inputs == NULL) {
        return PQ_OK;
    }
    PQ_TRY(pq_texts_split(inputs, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            PQ_CHECK(strcmp(names[i], names[k]) != 0, PQ_ERR_CONFIG,
                     "input '%s' is named twice", names[i]);
        }
    }
cleanup:
    pq_texts_free(&names, n);
    return st;
}

/* Layout that is asked for, or NULL: whoever names arrays means the layout of arrays. */
static const char *layout_name(const char *path, const pq_dataset_options *o,
                               const char *of_set)
{
    return o->layout != NULL                                        ? o->layout
           : (o->x != NULL || o->y != NULL) && pq_arrays_look(path) ? "arrays"
                                                                    : of_set;
}

static pq_status open_source(pq_dataset *d, const char *name, const pq_dataset_options *o,
                             pq_err *err)
{
    pq_source       *s      = &d->source;
    const pq_layout *layout = NULL;
    char            *path   = NULL;
    pq_h5           *held   = NULL; /* opened once for all that look at it */
    pq_set           set    = {0};
    pq_status        st;

    PQ_TRY(pq_data_resolve(name, &set, &path, err));
    if (o->layout == NULL && set.layout != NULL && strcmp(set.layout, "none") == 0) {
        st = pq_err_set(err, PQ_ERR_UNSUPPORTED, __FILE__, __LINE__,
                        "%s: the set '%s' is not read in place", path, set.name);
        pq_err_hint(err, "%s", set.note != NULL ? set.note : set.title);
        goto cleanup;
    }
    PQ_TRY(pq_h5_hold(path, &held, err));
    PQ_TRY(find_layout(path, layout_name(path, o, set.layout), &layout, err));
    PQ_CHECK((o->x == NULL && o->y == NULL) || layout->takes_names, PQ_ERR_CONFIG,
             "%s: holds no arrays by names (layout %s), so %s '%s' names none", path,
             layout->name, o->x != NULL ? "x" : "y", o->x != NULL ? o->x : o->y);
    PQ_CHECK(o->label == NULL || layout->takes_label, PQ_ERR_CONFIG,
             "%s: has no columns (layout %s), so label '%s' names none", path,
             layout->name, o->label);
    d->unweighted = o->weight != NULL && strcmp(o->weight, "none") == 0;
    PQ_CHECK(
        o->weight == NULL || d->unweighted || layout->takes_label || layout->takes_names,
        PQ_ERR_CONFIG,
        "%s: has no columns (layout %s), so weight '%s' names none; 'none' leaves its "
        "weights out",
        path, layout->name, o->weight);
    PQ_TRY(check_inputs(o->inputs, err));
    PQ_STRDUP(s->path, path);
    s->layout = layout;
    PQ_TRY(layout->open(s, o, err));
    assert(s->n_files > 0 || !pq_folder_exists(path));
    if (s->n_files == 0) {
        PQ_TRY(pq_source_note(s, path, err));
    }
    PQ_CHECK(s->sample.ndim > 0 && s->n_splits > 0, PQ_ERR_FORMAT, "%s: holds no events",
             path);
    if (set.n_classes > 0) {
        PQ_TRY(name_classes(s, &set, err));
    }
    PQ_TRY(pq_source_check_names(s, err));
    if (o->labels != NULL) {
        PQ_TRY(apply_labels(d, o->labels, err));
    }
    if (o->inputs != NULL && !layout->takes_inputs) {
        PQ_TRY(apply_inputs(d, o->inputs, err));
    }
    if (o->inputs == NULL) {
        PQ_TRY(apply_wanted(d, o, err));
    }
cleanup:
    pq_h5_close(&held);
    pq_set_free(&set);
    pq_free(path);
    return st;
}

/* Values that are promised and nowhere stored, or counted again in each split that links
 * to them, would cost memory and time when they are read. */
static pq_status check_worth(const pq_source *s, size_t items, pq_err *err)
{
    size_t    events = 0, bytes = 0;
    pq_status st = PQ_OK;

    for (size_t i = 0; i < s->n_splits; i++) {
        events += s->splits[i].n;
    }
    PQ_CHECK(!__builtin_mul_overflow(events, items * sizeof(float), &bytes) &&
                 pq_budget_fits(bytes),
             PQ_ERR_FORMAT,
             "%s: its %zu events of %zu values are more than so small a file can hold",
             s->path, events, items);
cleanup:
    if (st != PQ_OK) {
        pq_err_hint(err, "if you trust it, PQUANT_READ_LIMIT=8GB lets it have so much");
    }
    return st;
}

pq_status pq_dataset_finish(pq_dataset *d, const pq_dataset_options *o, pq_err *err)
{
    const pq_source *s = &d->source;
    pq_status        st;

    d->nonfinite = o->nonfinite;
    d->features  = d->columns != NULL ? d->n_columns : s->sample.dim[s->sample.ndim - 1];
    PQ_CHECK(pq_shape_count(&s->sample, &d->source_items) && d->source_items > 0,
             PQ_ERR_FORMAT, "%s: its events hold no values", s->path);
    PQ_TRY(check_worth(s, d->source_items, err));
    d->items = d->source_items / s->sample.dim[s->sample.ndim - 1] * d->features;
    d->block = PQ_BLOCK_BYTES / sizeof(float) / d->source_items;
    d->block = d->block < 1 ? 1 : d->block > PQ_BLOCK_EVENTS ? PQ_BLOCK_EVENTS : d->block;
    PQ_TRY(make_features(d, err));
    PQ_TRY(pq_splits_create(&d->source, o->splits, &d->splits, err));
    PQ_TRY(pq_dataset_check_leaks(d, err));
    PQ_TRY(pq_dataset_filter(d, err));
    PQ_TRY(describe(d, err));
cleanup:
    return st;
}

pq_status pq_dataset_start(pq_dataset **out, pq_err *err)
{
    pq_dataset *d = NULL;
    pq_status   st;

    PQ_NEW(d, 1);
    (void)pthread_mutex_init(&d->lock, NULL);
    *out = d;
cleanup:
    return st;
}

static pq_status open_any(const char *path, const pq_dataset_options *o, pq_dataset **out,
                          pq_err *err)
{
    pq_dataset *d = NULL;
    pq_status   st;

    PQ_TRY(pq_dataset_start(&d, err));
    PQ_TRY(open_source(d, path, o, err));
    PQ_TRY(pq_dataset_finish(d, o, err));
    *out = d;
    d    = NULL;
cleanup:
    pq_dataset_close(&d);
    return st;
}

pq_status pq_dataset_open(const char *path, const pq_dataset_options *options,
                          pq_dataset **out, pq_err *err)
{
    static const pq_dataset_options usual = {0};
    pq_set                          set   = {0};
    char                           *where = NULL;
    pq_budget                       budget;
    pq_status                       st;

    PQ_TRY(pq_data_resolve(path, &set, &where, err));
    pq_budget_start(&budget, where);
    st = pq_budget_end(&budget, where,
                       open_any(path, options != NULL ? options : &usual, out, err), err);
cleanup:
    pq_set_free(&set);
    pq_free(where);
    return st;
}

void pq_dataset_close(pq_dataset **dataset)
{
    pq_dataset *d = *dataset;

    if (d == NULL) {
        return;
    }
    pq_texts_free(&d->feature_names, d->features);
    pq_free(d->mean);
    pq_free(d->std);
    pq_free(d->columns);
    pq_free(d->split_infos);
    pq_free(d->hashes);
    for (size_t i = 0; d->met != NULL && i < d->splits.n; i++) {
        pq_free(d->met[i]);
    }
    pq_free(d->met);
    pq_splits_free(&d->splits);
    source_free(&d->source);
    (void)pthread_mutex_destroy(&d->lock);
    pq_free(d);
    *dataset = NULL;
}

const pq_dataset_info *pq_dataset_describe(const pq_dataset *dataset)
{
    return &dataset->info;
}

pq_status pq_dataset_split(const pq_dataset *d, const char *name, size_t *split,
                           pq_err *err)
{
    const char *names[PQ_SOURCE_SPLITS];
    size_t      n     = 0;
    pq_text     known = {0};
    const char *near  = NULL;
    pq_status   st    = PQ_OK;

    for (; n < d->splits.n && n < PQ_SOURCE_SPLITS; n++) {
        names[n] = d->splits.items[n].name;
        pq_text_add(&known, "%s%s", n == 0 ? "" : ", ", names[n]);
        if (name != NULL && strcmp(names[n], name) == 0) {
            PQ_CHECK(d->splits.items[n].n > 0, PQ_ERR_FORMAT, "%s%s%s: holds no events",
                     d->source.path, name[0] != '\0' ? ":" : "", name);
            *split = n;
            goto cleanup;
        }
    }
    if ((name == NULL || name[0] == '\0') && n == 1) {
        *split = 0;
        goto cleanup;
    }
    PQ_CHECK(name != NULL && name[0] != '\0', PQ_ERR_NOT_FOUND,
             "%s: has %zu splits (%s); say which: %s:%s", d->source.path, n, known.text,
             d->source.path, names[0]);
    PQ_CHECK(n > 1 || names[0][0] != '\0', PQ_ERR_NOT_FOUND,
             "%s: has no splits, so none is called '%s'", d->source.path, name);
    near = pq_nearest(name, names, n);
    PQ_FAIL(PQ_ERR_NOT_FOUND, "%s: has no split '%s' (%s)%s%s%s", d->source.path, name,
            known.text, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'?" : "");
cleanup:
    pq_text_free(&known);
    return st;
}
