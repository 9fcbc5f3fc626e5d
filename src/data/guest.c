/*
 * The jets of Guest et al. 2016: one JSON array a line, plain or gzip,
 * [pT, eta, flavour, [8 of tracks], [6 of vertices], …]. Missing values stand as
 * "NaN" or -inf.
 *
 * Source: Guest et al., Phys. Rev. D 94 (2016), arXiv:1607.08633.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "data/lines.h"

enum { N_TRACK = 8, N_VERTEX = 6, N_FEATURES = 2 + N_TRACK + N_VERTEX };

static const char *const names[N_FEATURES] = {
    "pt",
    "eta",
    "track_2_d0_significance",
    "track_3_d0_significance",
    "track_2_z0_significance",
    "track_3_z0_significance",
    "n_tracks_over_d0_threshold",
    "jet_prob",
    "jet_width_eta",
    "jet_width_phi",
    "vertex_significance",
    "n_secondary_vertices",
    "n_secondary_vertex_tracks",
    "delta_r_vertex",
    "vertex_mass",
    "vertex_energy_fraction",
};

static bool recognises(const char *path)
{
    pq_lines lines = {0};
    bool     there = false, yes = false;
    size_t   n;

    if (pq_folder_exists(path) || strstr(pq_path_base(path), ".json") == NULL ||
        pq_lines_open(path, &lines, NULL) != PQ_OK) {
        return false;
    }
    if (pq_lines_next(&lines, &there, NULL) == PQ_OK && there) {
        n   = strspn(lines.text, " ");
        yes = lines.text[n] == '[';
    }
    pq_lines_close(&lines);
    return yes;
}

static pq_status open_guest(pq_source *s, const pq_dataset_options *options, pq_err *err)
{
    static const char *const classes[] = {"b", "c", "light"};
    static const double      values[]  = {5.0, 4.0, 0.0};
    pq_lines                *lines     = NULL;
    bool                     there     = true;
    pq_status                st;

    (void)options;
    PQ_NEW(lines, 1);
    s->state = lines;
    PQ_TRY(pq_lines_open(s->path, lines, err));
    for (;;) {
        const z_off_t place = pq_lines_place(lines);
        PQ_TRY(pq_lines_next(lines, &there, err));
        if (!there) {
            break;
        }
        PQ_TRY(pq_lines_mark(lines, place, err));
    }
    PQ_CHECK(lines->n_rows > 0, PQ_ERR_FORMAT, "%s: holds no events", s->path);
    s->sample     = PQ_SHAPE(N_FEATURES);
    s->n_features = N_FEATURES;
    PQ_TRY(pq_texts_copy(names, N_FEATURES, &s->feature_names, err));
    PQ_TRY(pq_texts_copy(classes, 3, &s->class_names, err));
    s->n_classes = 3;
    PQ_NEW(s->label_values, 3);
    memcpy(s->label_values, values, sizeof values);
    PQ_TRY(pq_source_add_split(s, "", lines->n_rows, err));
cleanup:
    return st;
}

/* A number, or text that stands for one that is not finite. */
static float value_of(const json_t *json)
{
    return json_is_number(json) ? (float)json_number_value(json) : (float)NAN;
}

/* JSON has no NaN or infinity of its own: bare words become {} (which is no number), in
 * place. */
static void blank_words(char *line)
{
    bool quoted = false;

    for (char *p = line; *p != '\0'; p++) {
        const size_t minus = *p == '-' ? 1 : 0;
        const size_t n     = strspn(p + minus, "NaninfIty");

        quoted = *p == '"' ? !quoted : quoted;
        if (!quoted && n >= 3) { /* no other word of JSON is spelt with these letters:
                                    null, true, false */
            memset(p, ' ', minus + n);
            memcpy(p, "{}", 2);
        }
    }
}

static pq_status parse(const pq_source *s, size_t row, json_t **out, pq_err *err)
{
    pq_lines    *lines = s->state;
    json_error_t where;
    pq_status    st;

    blank_words(lines->text);
    *out = json_loads(lines->text, JSON_REJECT_DUPLICATES, &where);
    PQ_CHECK(*out != NULL, PQ_ERR_FORMAT,
             "%s: event %zu: is not valid JSON: column %d: %s", s->path, row,
             where.column, where.text);
    PQ_CHECK(json_array_size(*out) >= 5 &&
                 json_array_size(json_array_get(*out, 3)) == N_TRACK &&
                 json_array_size(json_array_get(*out, 4)) == N_VERTEX,
             PQ_ERR_FORMAT,
             "%s: event %zu: is not [pT, eta, flavour, [%d values], [%d values], …]",
             s->path, row, N_TRACK, N_VERTEX);
cleanup:
    return st;
}

static void fill(const json_t *json, size_t i, const pq_raw *out)
{
    for (size_t k = 0; out->x != NULL && k < N_FEATURES; k++) {
        const json_t *from =
            k < 2             ? json_array_get(json, k)
            : k < 2 + N_TRACK ? json_array_get(json_array_get(json, 3), k - 2)
                              : json_array_get(json_array_get(json, 4), k - 2 - N_TRACK);
        out->x[i * N_FEATURES + k] = value_of(from);
    }
    if (out->y != NULL) {
        out->y[i] = json_number_value(json_array_get(json, 2));
    }
    if (out->weight != NULL) {
        out->weight[i] = 1.0F;
    }
}

static pq_status read_events(pq_source *s, size_t split, size_t first, size_t n,
                             const pq_raw *out, pq_err *err)
{
    pq_lines *lines = s->state;
    json_t   *json  = NULL;
    bool      there = true;
    pq_status st    = PQ_OK;

    (void)split;
    for (size_t i = 0; i < n; i++) {
        PQ_TRY(pq_lines_seek(lines, first + i, err));
        do {
            PQ_TRY(pq_lines_next(lines, &there, err));
            PQ_CHECK(there, PQ_ERR_IO, "%s: got shorter while it was read", s->path);
        } while (lines->row++ < first + i);
        json_decref(json);
        json = NULL;
        PQ_TRY(parse(s, first + i, &json, err));
        fill(json, i, out);
    }
cleanup:
    json_decref(json);
    return st;
}

static void close_guest(pq_source *s)
{
    pq_lines *lines = s->state;

    if (lines != NULL) {
        pq_lines_close(lines);
        pq_free(lines);
    }
}

const pq_layout pq_layout_guest = {
    .name       = "guest",
    .summary    = "JSON lines of Guest et al. 2016, plain or gzip",
    .recognises = recognises,
    .open       = open_guest,
    .read       = read_events,
    .close      = close_guest,
};
