#include "store/schema.h"

#include <string.h>

#include "core/file.h"

/* More constraints than metrics make no sense, and each costs time for every cell. */
enum { CONSTRAINTS_MAX = 256, WORD_MAX = 32, MEMBERS_MAX = 1 << 16 };

typedef enum {
    TEXT,
    WORD,   /* a few lower-case letters: what is compared and printed as it is */
    WHOLE,  /* whole number */
    NUMBER, /* or null */
    FLAG,
    MAP,      /* anything by name */
    TEXTS,    /* list of texts */
    TEXT_MAP, /* texts by name */
    MAPS,     /* list of maps */
    MAP_MAP,  /* maps by name */
    LISTS,    /* list of lists */
    PLACE,    /* file of the folder: "arrays/x.h5", or "" */
} type;

static const char *const type_texts[] = {"a text",
                                         "a word",
                                         "a whole number",
                                         "a number or null",
                                         "true or false",
                                         "an object",
                                         "a list of texts",
                                         "an object of texts",
                                         "a list of objects",
                                         "an object of objects",
                                         "a list of lists",
                                         "a file in arrays/ or models/"};

typedef struct {
    const char *name;
    type        type;
} field;

static const field record_fields[] = {
    {"schema", TEXT},       {"key", TEXT},          {"phase", WORD},
    {"experiment", TEXT},   {"pipeline", TEXT},     {"label", TEXT},
    {"order", WHOLE},       {"axes", TEXT_MAP},     {"repeat", WHOLE},
    {"status", WORD},       {"error", TEXT_MAP},    {"stages", TEXTS},
    {"keys", TEXT_MAP},     {"metrics", MAP_MAP},   {"layers", MAPS},
    {"confusion", LISTS},   {"class_names", TEXTS}, {"model_file", PLACE},
    {"arrays_file", PLACE}, {"timing", MAP},        {"seeds", MAP},
    {"provenance", MAP},    {"seconds", NUMBER},    {"quantization", MAP},
    {"unreached", TEXTS},   {"correct", TEXT},      {NULL, TEXT},
};

static const field plan_fields[] = {
    {"schema", TEXT},   {"name", TEXT},       {"config", TEXT},
    {"resolved", TEXT}, {"output", TEXT_MAP}, {"constraints", MAP_MAP},
    {"gates", MAP_MAP}, {"cells", MAPS},      {"published", MAPS},
    {NULL, TEXT},
};

static const field cell_fields[] = {
    {"order", WHOLE},   {"pipeline", TEXT},  {"label", TEXT},
    {"axes", TEXT_MAP}, {"repeat", WHOLE},   {"eval", TEXT},
    {"latency", TEXTS}, {"reference", FLAG}, {NULL, TEXT},
};

static bool is_word(const json_t *value)
{
    const char  *text = json_string_value(value);
    const size_t n    = text != NULL ? strlen(text) : 0;

    return n > 0 && n <= WORD_MAX && strspn(text, "abcdefghijklmnopqrstuvwxyz-_") == n;
}

static bool is_place(const json_t *value)
{
    const char *text = json_string_value(value);
    size_t      n;

    if (text == NULL || *text == '\0') {
        return text != NULL;
    }
    n = strncmp(text, "arrays/", 7) == 0 || strncmp(text, "models/", 7) == 0 ? 7 : 0;
    return n > 0 && pq_is_file_name(text + n);
}

/* Whether all members of a list or an object are of a JSON type. */
static bool all_are(const json_t *value, bool listed, json_type due)
{
    const json_t *item;
    const char   *name;
    size_t        i;

    if (listed ? !json_is_array(value) : !json_is_object(value)) {
        return false;
    }
    if (json_object_size(value) > MEMBERS_MAX) {
        return false;
    }
    json_array_foreach((json_t *)value, i, item)
    {
        if (json_typeof(item) != due) {
            return false;
        }
    }
    json_object_foreach((json_t *)value, name, item)
    {
        if (json_typeof(item) != due) {
            return false;
        }
    }
    return true;
}

static bool is_of(const json_t *value, type due)
{
    switch (due) {
    case TEXT:
        return json_is_string(value);
    case WORD:
        return is_word(value);
    case WHOLE:
        return json_is_integer(value);
    case NUMBER:
        return json_is_number(value) || json_is_null(value);
    case FLAG:
        return json_is_boolean(value);
    case MAP:
        return json_is_object(value);
    case TEXTS:
        return all_are(value, true, JSON_STRING);
    case TEXT_MAP:
        return all_are(value, false, JSON_STRING);
    case MAPS:
        return all_are(value, true, JSON_OBJECT);
    case MAP_MAP:
        return all_are(value, false, JSON_OBJECT);
    case LISTS:
        return all_are(value, true, JSON_ARRAY);
    case PLACE:
        return is_place(value);
    }
    return false;
}

static pq_status check(const json_t *object, const field *fields, pq_err *err)
{
    pq_status st;

    PQ_CHECK(json_is_object(object), PQ_ERR_FORMAT, "is not a JSON object");
    for (const field *f = fields; f->name != NULL; f++) {
        const json_t *value = json_object_get(object, f->name);
        PQ_CHECK(value == NULL || is_of(value, f->type), PQ_ERR_FORMAT, "'%s' is not %s",
                 f->name, type_texts[f->type]);
    }
cleanup:
    return st;
}

pq_status pq_schema_record(const json_t *record, pq_err *err)
{
    return check(record, record_fields, err);
}

pq_status pq_schema_plan(const json_t *plan, pq_err *err)
{
    const json_t *cell;
    size_t        i;
    pq_status     st;

    PQ_TRY(check(plan, plan_fields, err));
    PQ_CHECK(json_object_size(json_object_get(plan, "constraints")) <= CONSTRAINTS_MAX,
             PQ_ERR_FORMAT, "has %zu constraints; at most %d are read",
             json_object_size(json_object_get(plan, "constraints")), CONSTRAINTS_MAX);
    json_array_foreach(json_object_get(plan, "cells"), i, cell)
    {
        st = check(cell, cell_fields, err);
        if (st != PQ_OK) {
            pq_err_context(err, "cell %zu", i);
            goto cleanup;
        }
    }
cleanup:
    return st;
}
