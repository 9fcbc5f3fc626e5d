#include "sweep/history.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "metrics/tests.h"
#include "store/json.h"
#include "sweep/snapshot.h"

static const double TIMES_LEAST = 0.05, NOISES = 3.0;

/* Snapshots as they are read. */
typedef struct {
    size_t   n, room;
    json_t **all; /* owned */
} pile;

static pq_status add_snapshot(pile *p, const char *path, pq_err *err)
{
    pq_status st;

    if (p->n == p->room) {
        json_t **all = pq_recalloc(p->all, p->room, 2 * p->room + 16, sizeof *all);
        PQ_CHECK(all != NULL, PQ_ERR_NOMEM, "cannot allocate a history");
        p->all  = all;
        p->room = 2 * p->room + 16;
    }
    PQ_CHECK(p->n < PQ_STEP_VALUES_MAX, PQ_ERR_CONFIG, "%s: more than %d nights", path,
             PQ_STEP_VALUES_MAX);
    PQ_TRY(pq_snapshot_read(path, &p->all[p->n], err));
    p->n++;
cleanup:
    return st;
}

static bool is_results(const char *path)
{
    char      *plan = pq_path_join(path, "plan.json");
    const bool is   = plan != NULL && pq_file_exists(plan);

    pq_free(plan);
    return is;
}

/* A snapshot, a folder of results, or one of snapshots. */
static pq_status add_path(pile *p, const char *path, pq_err *err)
{
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st;

    if (!pq_folder_exists(path) || is_results(path)) {
        return add_snapshot(p, path, err);
    }
    PQ_TRY(pq_folder_list(path, ".json", &names, &n, err));
    PQ_CHECK(n > 0, PQ_ERR_CONFIG,
             "%s: holds neither results nor baselines (*.json of pquant baseline set)",
             path);
    for (size_t i = 0; i < n; i++) {
        char *file = pq_path_join(path, names[i]);
        st         = file != NULL ? add_snapshot(p, file, err) : PQ_ERR_NOMEM;
        pq_free(file);
        PQ_TRY(st);
    }
cleanup:
    for (size_t i = 0; i < n; i++) {
        pq_free(names[i]);
    }
    pq_free(names);
    return st;
}

static int by_date(const void *a, const void *b)
{
    return strcmp(pq_json_get_text(*(json_t *const *)a, "made"),
                  pq_json_get_text(*(json_t *const *)b, "made"));
}

static pq_status take_nights(const pile *p, pq_history *h, pq_err *err)
{
    pq_status st;

    PQ_CHECK(p->n > 0, PQ_ERR_CONFIG, "no nights are given");
    h->nights = p->n;
    PQ_NEW(h->made, p->n);
    PQ_NEW(h->program, p->n);
    PQ_STRDUP(h->name, pq_json_get_text(p->all[0], "name"));
    for (size_t i = 0; i < p->n; i++) {
        PQ_STRDUP(h->made[i], pq_json_get_text(p->all[i], "made"));
        PQ_STRDUP(h->program[i], pq_json_get_text(p->all[i], "pquant"));
        PQ_CHECK(
            strcmp(h->name, pq_json_get_text(p->all[i], "name")) == 0, PQ_ERR_CONFIG,
            "the night of %s is of '%s', that of %s of '%s': one experiment at a time",
            h->made[0], h->name, h->made[i], pq_json_get_text(p->all[i], "name"));
    }
cleanup:
    return st;
}

/* The series of a value of a cell, a new one if need be. */
static pq_status find_series(pq_history *h, json_t *places, const char *cell,
                             const char *metric, pq_series **out, pq_err *err)
{
    char         *key = pq_format("%s\n%s", cell, metric);
    const json_t *place;
    pq_series    *s;
    pq_status     st;

    PQ_CHECK(key != NULL, PQ_ERR_NOMEM, "cannot allocate a series");
    place = json_object_get(places, key);
    if (place != NULL) {
        *out = &h->series[json_integer_value(place)];
        st   = PQ_OK;
        goto cleanup;
    }
    s = pq_recalloc(h->series, h->n, h->n + 1, sizeof *s);
    PQ_CHECK(s != NULL &&
                 json_object_set_new(places, key, json_integer((json_int_t)h->n)) == 0,
             PQ_ERR_NOMEM, "cannot allocate a series");
    h->series = s;
    s         = &h->series[h->n++];
    PQ_STRDUP(s->cell, cell);
    PQ_STRDUP(s->metric, metric);
    PQ_NEW(s->value, h->nights);
    PQ_NEW(s->noisy, h->nights);
    for (size_t i = 0; i < h->nights; i++) {
        s->value[i] = (double)NAN;
    }
    *out = s;
cleanup:
    pq_free(key);
    return st;
}

/* What is read of one cell of one night. */
typedef struct {
    pq_history *h;
    json_t     *places;
    const char *metrics; /* glob */
    size_t      night;
} reading;

static pq_status read_metrics(const reading *r, const json_t *cell, const char *label,
                              pq_err *err)
{
    const char *name;
    json_t     *metric;
    pq_status   st = PQ_OK;

    json_object_foreach(json_object_get(cell, "metrics"), name, metric)
    {
        const char   *better = pq_json_get_text(metric, "better");
        const json_t *value  = json_object_get(metric, "value");
        pq_series    *s;
        if (!json_is_number(value) ||
            (r->metrics != NULL && !pq_glob_match(r->metrics, name))) {
            continue;
        }
        PQ_TRY(find_series(r->h, r->places, label, name, &s, err));
        s->value[r->night] = json_number_value(value);
        s->better = strcmp(better, "higher") == 0 ? 1 : -(strcmp(better, "lower") == 0);
    }
cleanup:
    return st;
}

static pq_status read_times(const reading *r, const json_t *cell, const char *label,
                            pq_err *err)
{
    const char *batch;
    json_t     *timing;
    pq_status   st = PQ_OK;

    if (json_is_true(json_object_get(cell, "reference"))) {
        return PQ_OK; /* against itself it is 1 */
    }
    json_object_foreach(json_object_get(cell, "timings"), batch, timing)
    {
        char      *name = pq_format("%s.ratio", batch);
        pq_series *s;
        if (name == NULL || (r->metrics != NULL && !pq_glob_match(r->metrics, name))) {
            pq_free(name);
            continue;
        }
        st = find_series(r->h, r->places, label, name, &s, err);
        pq_free(name);
        PQ_TRY(st);
        PQ_TRY(pq_snapshot_ratio(timing, &s->value[r->night], err));
        s->noisy[r->night] = json_is_true(json_object_get(timing, "noisy"));
        s->timed           = true;
        s->better          = -1;
    }
cleanup:
    return st;
}

static pq_status read_night(const reading *r, const json_t *snapshot, const char *cells,
                            pq_err *err)
{
    const json_t *cell;
    size_t        i;
    pq_status     st = PQ_OK;

    json_array_foreach(json_object_get(snapshot, "cells"), i, cell)
    {
        const char *label  = pq_json_get_text(cell, "label");
        const long  repeat = (long)json_integer_value(json_object_get(cell, "repeat"));
        char       *name;
        if (cells != NULL && !pq_glob_match(cells, label)) {
            continue;
        }
        name = repeat > 0 ? pq_format("%s, repeat %ld", label, repeat) : pq_strdup(label);
        st   = name != NULL ? read_metrics(r, cell, name, err) : PQ_ERR_NOMEM;
        st   = st == PQ_OK ? read_times(r, cell, name, err) : st;
        pq_free(name);
        PQ_TRY(st);
    }
cleanup:
    return st;
}

static bool counts(const pq_series *s, const pq_stretch *a, const pq_stretch *b)
{
    const double change = fabs(b->level - a->level);

    return change > NOISES * fmax(a->noise, b->noise) &&
           (!s->timed || change > TIMES_LEAST * fabs(a->level));
}

/* Steps of one series, over the nights that have a value. */
static pq_status find_steps(pq_history *h, size_t series, double *y, size_t *nights,
                            pq_err *err)
{
    const pq_series *s = &h->series[series];
    pq_stretch       segments[PQ_STEPS_MAX + 1];
    size_t           n = 0, k = 0;
    pq_status        st;

    for (size_t i = 0; i < h->nights; i++) {
        if (isfinite(s->value[i])) {
            nights[n] = i;
            y[n++]    = s->value[i];
        }
    }
    PQ_TRY(pq_steps_find(y, n, segments, &k, err));
    for (size_t i = 1; i < k; i++) {
        const pq_stretch *a = &segments[i - 1], *b = &segments[i];
        pq_history_step  *steps;
        if (!counts(s, a, b)) {
            continue;
        }
        steps = pq_recalloc(h->steps, h->n_steps, h->n_steps + 1, sizeof *steps);
        PQ_CHECK(steps != NULL, PQ_ERR_NOMEM, "cannot allocate steps");
        h->steps = steps;
        h->steps[h->n_steps++] =
            (pq_history_step){series, nights[b->first], a->level, b->level};
    }
cleanup:
    return st;
}

static pq_status find_all_steps(pq_history *h, pq_err *err)
{
    double   *y      = NULL;
    size_t   *nights = NULL;
    pq_status st;

    PQ_NEW(y, h->nights);
    PQ_NEW(nights, h->nights);
    for (size_t i = 0; i < h->n; i++) {
        PQ_TRY(find_steps(h, i, y, nights, err));
    }
cleanup:
    pq_free(y);
    pq_free(nights);
    return st;
}

pq_status pq_history_read(size_t n, const char *const *paths, const char *cells,
                          const char *metrics, pq_history *out, pq_err *err)
{
    pile       p      = {0};
    pq_history h      = {0};
    json_t    *places = json_object();
    pq_status  st     = PQ_OK;

    PQ_CHECK(places != NULL, PQ_ERR_NOMEM, "cannot allocate a history");
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(add_path(&p, paths[i], err));
    }
    qsort(p.all, p.n, sizeof *p.all, by_date);
    PQ_TRY(take_nights(&p, &h, err));
    for (size_t i = p.n; i-- > 0;) { /* the last night first: its order counts */
        const reading r = {&h, places, metrics, i};
        PQ_TRY(read_night(&r, p.all[i], cells, err));
    }
    PQ_TRY(find_all_steps(&h, err));
    *out = h;
    h    = (pq_history){0};
cleanup:
    for (size_t i = 0; i < p.n; i++) {
        json_decref(p.all[i]);
    }
    pq_free(p.all);
    json_decref(places);
    pq_history_free(&h);
    return st;
}

void pq_history_free(pq_history *h)
{
    for (size_t i = 0; i < h->nights; i++) {
        pq_free(h->made != NULL ? h->made[i] : NULL);
        pq_free(h->program != NULL ? h->program[i] : NULL);
    }
    for (size_t i = 0; i < h->n; i++) {
        pq_free(h->series[i].cell);
        pq_free(h->series[i].metric);
        pq_free(h->series[i].value);
        pq_free(h->series[i].noisy);
    }
    pq_free(h->made);
    pq_free(h->program);
    pq_free(h->name);
    pq_free(h->series);
    pq_free(h->steps);
    *h = (pq_history){0};
}
