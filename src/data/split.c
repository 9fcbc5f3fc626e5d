#include "data/split.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "core/memory.h"

enum { BLOCK = 65536, SHARE_DIGITS = 9 };

/* Best first; upper and lower case are the same. */
static const char *const event_names[] = {
    "event_number", "eventNumber", "event", "event_id", "eventID", "evt", "id"};

enum { N_EVENT_NAMES = sizeof event_names / sizeof *event_names };

bool pq_is_event_name(const char *name)
{
    for (size_t k = 0; k < N_EVENT_NAMES; k++) {
        if (strcasecmp(name, event_names[k]) == 0) {
            return true;
        }
    }
    return false;
}

void pq_splits_free(pq_splits *splits)
{
    for (size_t i = 0; splits->items != NULL && i < splits->n; i++) {
        pq_free(splits->items[i].name);
        pq_free(splits->items[i].rows);
    }
    pq_free(splits->items);
    *splits = (pq_splits){0};
}

pq_status pq_split_keep(pq_split *split, const bool *keep, pq_err *err)
{
    uint32_t *rows = NULL;
    size_t    n    = 0;
    pq_status st;

    for (size_t i = 0; i < split->n; i++) {
        n += keep[i] ? 1 : 0;
    }
    if (n == split->n) {
        return PQ_OK;
    }
    PQ_NEW(rows, n);
    n = 0;
    for (size_t i = 0; i < split->n; i++) {
        if (keep[i]) {
            rows[n++] =
                split->rows != NULL ? split->rows[i] : (uint32_t)(split->first + i);
        }
    }
    pq_free(split->rows);
    split->rows = rows;
    split->n    = n;
cleanup:
    return st;
}

pq_status pq_source_event_name(pq_source *source, size_t split, char **out, pq_err *err)
{
    char    **names = NULL;
    size_t    n     = 0;
    pq_status st    = PQ_OK;

    *out = NULL;
    if (source->layout->list_aux == NULL) {
        return PQ_OK;
    }
    PQ_TRY(source->layout->list_aux(source, split, &names, &n, err));
    for (size_t k = 0; k < N_EVENT_NAMES && *out == NULL; k++) {
        for (size_t i = 0; i < n && *out == NULL; i++) {
            if (strcasecmp(names[i], event_names[k]) == 0) {
                PQ_STRDUP(*out, names[i]);
            }
        }
    }
cleanup:
    pq_texts_free(&names, n);
    return st;
}

/* One part of "name=from:to". */
typedef struct {
    char   name[64];
    double from, to;
} part;

static pq_status parse_part(const char *text, part *out, pq_err *err)
{
    const char *equal = strchr(text, '=');
    const char *colon = equal == NULL ? NULL : strchr(equal, ':');
    char        from[32];
    pq_status   st;

    PQ_CHECK(colon != NULL && equal > text && (size_t)(equal - text) < sizeof out->name &&
                 (size_t)(colon - equal) <= sizeof from,
             PQ_ERR_CONFIG, "split '%s' is not written name=from:to, e.g. train=0:0.8",
             text);
    *out = (part){0};
    memcpy(out->name, text, (size_t)(equal - text));
    memset(from, 0, sizeof from);
    memcpy(from, equal + 1, (size_t)(colon - equal - 1));
    PQ_CHECK(pq_parse_real(from, PQ_UNIT_NONE, &out->from) &&
                 pq_parse_real(colon + 1, PQ_UNIT_NONE, &out->to) && out->from >= 0.0 &&
                 out->from < out->to && out->to <= 1.0,
             PQ_ERR_CONFIG,
             "split '%s' does not go from a smaller to a larger fraction in 0..1", text);
cleanup:
    return st;
}

static pq_status parse_parts(const char *text, part **out, size_t *n, pq_err *err)
{
    char    **texts = NULL;
    part     *parts = NULL;
    size_t    count = 0;
    pq_status st;

    PQ_TRY(pq_texts_split(text, &texts, &count, err));
    PQ_NEW(parts, count);
    for (size_t i = 0; i < count; i++) {
        PQ_TRY(parse_part(texts[i], &parts[i], err));
        for (size_t k = 0; k < i; k++) {
            PQ_CHECK(strcmp(parts[i].name, parts[k].name) != 0, PQ_ERR_CONFIG,
                     "split '%s' is given twice", parts[i].name);
            PQ_CHECK(parts[i].from >= parts[k].to || parts[k].from >= parts[i].to,
                     PQ_ERR_CONFIG, "splits '%s' and '%s' share events", parts[k].name,
                     parts[i].name);
        }
    }
    *out  = parts;
    *n    = count;
    parts = NULL;
cleanup:
    pq_free(parts);
    pq_texts_free(&texts, count);
    return st;
}

/* Where in 0..1 an event number lies: its last decimal digit is the first after the
 * point, and so on, so that tenths are the number modulo 10 and numbers that follow each
 * other spread. Numbers have 64 bits and no sign. The result is the double nearest to the
 * decimal fraction, as parsed bounds are. */
static double share_of(uint64_t number)
{
    uint64_t rest = number;
    double   top = 0.0, scale = 1.0;

    for (int i = 0; i < SHARE_DIGITS; i++) {
        top = 10.0 * top + (double)(rest % 10);
        scale *= 10.0;
        rest /= 10;
    }
    return top / scale;
}

/* Parts of all rows by the number of the event each belongs to. */
static pq_status by_number(pq_source *s, const char *aux, const part *parts,
                           pq_splits *out, pq_err *err)
{
    const pq_aux numbered = {1, &aux, PQ_DTYPE_I64};
    const size_t n        = s->splits[0].n;
    int64_t     *numbers  = NULL;
    pq_status    st;

    PQ_NEW(numbers, BLOCK);
    PQ_CHECK(n <= UINT32_MAX, PQ_ERR_FORMAT,
             "%s: has %zu events; at most %u can be split", s->path, n, UINT32_MAX);
    for (size_t p = 0; p < out->n; p++) {
        PQ_NEW(out->items[p].rows, n);
        out->items[p].n = 0;
    }
    for (size_t first = 0; first < n; first += BLOCK) {
        const size_t m = n - first < BLOCK ? n - first : BLOCK;
        PQ_TRY(s->layout->read_aux(s, 0, &numbered, first, m, numbers, err));
        for (size_t i = 0; i < m; i++) {
            const double at = share_of((uint64_t)numbers[i]);
            PQ_CHECK(numbers[i] != INT64_MAX, PQ_ERR_FORMAT,
                     "%s: event %zu: its %s is beyond 64 bits", s->path, first + i, aux);
            for (size_t p = 0; p < out->n; p++) {
                pq_split *item = &out->items[p];
                if (at >= parts[p].from && at < parts[p].to) {
                    item->rows[item->n++] = (uint32_t)(first + i);
                }
            }
        }
    }
cleanup:
    pq_free(numbers);
    return st;
}

static void by_row(size_t n, const part *parts, pq_splits *out)
{
    for (size_t p = 0; p < out->n; p++) {
        const size_t from   = (size_t)llround(parts[p].from * (double)n);
        out->items[p].first = from;
        out->items[p].n     = (size_t)llround(parts[p].to * (double)n) - from;
    }
}

static pq_status split_up(pq_source *s, const char *text, pq_splits *out, pq_err *err)
{
    part     *parts = NULL;
    char     *aux   = NULL;
    size_t    n     = 0;
    pq_status st;

    PQ_CHECK(s->n_splits == 1, PQ_ERR_FORMAT,
             "%s: has %zu splits of its own and is not split again", s->path,
             s->n_splits);
    PQ_TRY(parse_parts(text, &parts, &n, err));
    PQ_NEW(out->items, n);
    out->n = n;
    for (size_t p = 0; p < n; p++) {
        PQ_STRDUP(out->items[p].name, parts[p].name);
    }
    PQ_TRY(pq_source_event_name(s, 0, &aux, err));
    if (aux != NULL) {
        PQ_TRY(by_number(s, aux, parts, out, err));
    } else {
        by_row(s->splits[0].n, parts, out);
    }
    for (size_t p = 0; p < n; p++) {
        PQ_CHECK(out->items[p].n > 0, PQ_ERR_CONFIG, "%s: split '%s' gets no events",
                 s->path, parts[p].name);
    }
cleanup:
    pq_free(parts);
    pq_free(aux);
    return st;
}

pq_status pq_splits_create(pq_source *s, const char *text, pq_splits *out, pq_err *err)
{
    pq_splits splits = {0};
    pq_status st;

    if (text != NULL) {
        PQ_TRY(split_up(s, text, &splits, err));
    } else {
        PQ_NEW(splits.items, s->n_splits);
        splits.n = s->n_splits;
        for (size_t i = 0; i < s->n_splits; i++) {
            PQ_STRDUP(splits.items[i].name, s->splits[i].name);
            splits.items[i].base = i;
            splits.items[i].n    = s->splits[i].n;
        }
    }
    *out   = splits;
    splits = (pq_splits){0};
cleanup:
    pq_splits_free(&splits);
    return st;
}
