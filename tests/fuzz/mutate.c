/* Changes to bundles: records, their fields, their bodies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { MOST_LISTED = 512, MOST_BODY = 1 << 16 };

/* A small generator of its own: libFuzzer gives each change a seed. */
static unsigned draw(unsigned *state, unsigned n)
{
    *state = *state * 1664525U + 1013904223U;
    return n == 0 ? 0 : (*state >> 8) % n;
}

static const char *const numbers[] = {
    "0",       "1",          "2",   "3",          "7",
    "16",      "255",        "256", "65535",      "65536",
    "1048576", "2147483647", "-1",  "4294967296", "4611686018427387904"};

static const char *const types[] = {
    "i1",  "i4", "i8", "u1", "u2b",          "u8",         "f2", "f4",
    "f8b", "b",  "s8", "v",  "c(a f4,b i4)", "c(x f4[2])", "o3", "r"};

static const char *const kinds[] = {"hard", "soft", "external"};

#define PICK(state, list) ((list)[draw(state, sizeof(list) / sizeof *(list))])

/* A record in the making. */
typedef struct {
    char   text[MOST_BODY + 4096];
    size_t n;
} draft;

static void put(draft *d, const void *bytes, size_t n)
{
    const size_t left = sizeof d->text - d->n;

    memcpy(d->text + d->n, bytes, n < left ? n : left);
    d->n += n < left ? n : left;
}

static void put_record(draft *d, char kind, size_t n_fields, const char *const *fields,
                       const void *body, size_t n)
{
    put(d, fuzz_mark, FUZZ_MARK);
    put(d, &kind, 1);
    for (size_t i = 0; i < n_fields; i++) {
        put(d, "\t", 1);
        put(d, fields[i], strlen(fields[i]));
    }
    put(d, "\n", 1);
    put(d, body, n);
}

static void put_same(draft *d, const fuzz_record *r, const void *body, size_t n)
{
    const char *fields[FUZZ_FIELDS];

    for (size_t i = 0; i < r->n_fields; i++) {
        fields[i] = r->fields[i];
    }
    put_record(d, r->kind, r->n_fields, fields, body, n);
}

/* One number of "3x4" becomes another, or a dimension comes or goes. */
static void change_dims(char *field, unsigned *state)
{
    char        copy[FUZZ_FIELD], *save = NULL;
    char       *parts[8];
    size_t      n = 0, at;
    const char *number =
        draw(state, 3) > 0 ? numbers[draw(state, 7)] : PICK(state, numbers);

    (void)snprintf(copy, sizeof copy, "%s", field);
    for (char *p = strtok_r(copy, "x", &save); p != NULL && n < 8;
         p       = strtok_r(NULL, "x", &save)) {
        parts[n++] = p;
    }
    at       = draw(state, (unsigned)n + 1);
    field[0] = '\0';
    for (size_t i = 0; i <= n; i++) {
        const char *p = i == at ? number : i < n ? parts[i] : NULL;
        if (p == NULL || (i < n && i != at && draw(state, 12) == 0) || p[0] == '-' ||
            p[0] == '.') {
            continue;
        }
        (void)snprintf(field + strlen(field), FUZZ_FIELD - strlen(field), "%s%s",
                       field[0] != '\0' ? "x" : "", p);
    }
    if (field[0] == '\0') {
        (void)snprintf(field, FUZZ_FIELD, "%s", draw(state, 2) == 0 ? "." : "-");
    }
}

static void change_text(char *field, unsigned *state)
{
    const size_t n = strlen(field);

    switch (draw(state, 5)) {
    case 0:
        field[draw(state, (unsigned)n + 1)] = '\0';
        break;
    case 1:
        (void)snprintf(field + n, FUZZ_FIELD - n, "%s", PICK(state, numbers));
        break;
    case 2:
        (void)snprintf(field, FUZZ_FIELD, "%s", PICK(state, numbers));
        break;
    case 3:
        (void)snprintf(field + n, FUZZ_FIELD - n, "/%s", PICK(state, numbers));
        break;
    default:
        if (n > 0) {
            field[draw(state, (unsigned)n)] = "ab01_/."[draw(state, 7)];
        }
    }
}

/* What the k-th field of a kind of record says decides what it may become. */
static void change_field(fuzz_record *r, const fuzz_record *other, unsigned *state)
{
    const size_t k    = draw(state, (unsigned)r->n_fields);
    char        *f    = r->fields[k];
    const size_t type = r->kind == 'D' ? 1 : r->kind == 'A' ? 2 : SIZE_MAX;

    if (k == type) {
        (void)snprintf(f, FUZZ_FIELD, "%s", PICK(state, types));
    } else if (type != SIZE_MAX && k > type && k < type + 3) {
        change_dims(f, state);
    } else if (r->kind == 'D' && k == 4) {
        (void)snprintf(f, FUZZ_FIELD, "%.*s", (int)draw(state, 4),
                       &"gsfu"[draw(state, 4)]);
    } else if (r->kind == 'L' && k == 1) {
        (void)snprintf(f, FUZZ_FIELD, "%s", PICK(state, kinds));
    } else if (k < other->n_fields && draw(state, 2) == 0) {
        (void)snprintf(f, FUZZ_FIELD, "%s", other->fields[k]);
    } else {
        change_text(f, state);
    }
}

static void change_body(draft *d, const fuzz_record *r, unsigned *state)
{
    static uint8_t body[MOST_BODY];
    size_t         n    = r->n < sizeof body ? r->n : sizeof body;
    char          *json = NULL;

    if (n > 1 && (r->body[0] == '{' || r->body[0] == '[') && draw(state, 4) > 0) {
        json = fuzz_mutate_json((const char *)r->body, n, draw(state, 1U << 24), &n);
    }
    if (json != NULL) {
        put_same(d, r, json, n);
        free(json);
        return;
    }
    memcpy(body, r->body, n);
    n = LLVMFuzzerMutate(body, n, n + 256 < sizeof body ? n + 256 : sizeof body);
    put_same(d, r, body, n);
}

/* A record that was not there, about what another is about. */
static void put_new(draft *d, const fuzz_record *about, unsigned *state)
{
    const char *path                = about->fields[0],
               *fields[FUZZ_FIELDS] = {path, "new", "4", "-", "-"};

    switch (draw(state, 4)) {
    case 0:
        fields[1] = PICK(state, kinds);
        fields[2] = path;
        fields[0] = PICK(state, numbers);
        put_record(d, 'L', 3, fields, "", 0);
        break;
    case 1:
        fields[2] = PICK(state, types);
        fields[3] = draw(state, 2) == 0 ? "." : "3";
        put_record(d, 'A', 4, fields, "1234567", 7);
        break;
    case 2:
        fields[1] = PICK(state, types);
        put_record(d, 'D', 5, fields, "1234567", 7);
        break;
    default:
        put_record(d, 'G', 1, fields, "", 0);
    }
}

/* What becomes of a record; `other` is any of the bundle. */
static void change_record(draft *d, fuzz_record *r, const fuzz_record *other,
                          unsigned *state)
{
    const unsigned how = draw(state, 16);

    if (how == 0) { /* it goes */
        return;
    }
    if (how == 1) { /* another in its place, or both */
        put_same(d, other, other->body, other->n);
        if (draw(state, 2) == 0) {
            put_same(d, r, r->body, r->n);
        }
    } else if (how == 2) {
        put_same(d, r, r->body, r->n);
        put_new(d, draw(state, 2) == 0 ? r : other, state);
    } else if (how < 8 && r->n_fields > 0) {
        change_field(r, other, state);
        put_same(d, r, r->body, r->n);
    } else if (r->n == 0 && r->n_fields > 0) {
        change_field(r, other, state);
        put_same(d, r, "", 0);
    } else {
        change_body(d, r, state);
    }
}

size_t fuzz_mutate(uint8_t *bytes, size_t n, size_t room, unsigned seed)
{
    static fuzz_record list[MOST_LISTED];
    static draft       d;
    size_t             listed = 0, end = 0;
    unsigned           state = seed;

    for (size_t at = 0;
         listed < MOST_LISTED && fuzz_next(bytes, n, &at, &list[listed]);) {
        listed++;
    }
    if (listed == 0 || draw(&state, 20) == 0) {
        return LLVMFuzzerMutate(bytes, n, room);
    }
    fuzz_record r = list[draw(&state, (unsigned)listed)];
    d.n           = 0;
    change_record(&d, &r, &list[draw(&state, (unsigned)listed)], &state);
    end                = (size_t)(r.body + r.n - bytes);
    const size_t first = (size_t)(r.start - bytes), rest = n - end;
    if (first + d.n + rest > room || first + d.n + rest == 0) {
        return n;
    }
    memmove(bytes + first + d.n, bytes + end, rest);
    memcpy(bytes + first, d.text, d.n);
    return first + d.n + rest;
}
