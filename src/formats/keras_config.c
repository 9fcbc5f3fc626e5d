/* Values of a configuration, in whatever form Python wrote them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/keras.h"

/* Python writes NaN, Infinity and -Infinity, which JSON does not know: each becomes a
 * text of the same length, so that places in messages stay right. */
static const struct {
    const char *python, *mark;
    double      value;
} specials[] = {
    {"NaN", "\"\x7f\"", (double)NAN},
    {"Infinity", "\"\x7f+infi\"", (double)INFINITY},
    {"-Infinity", "\"\x7f-infin\"", -(double)INFINITY},
};

enum { N_SPECIALS = sizeof specials / sizeof *specials };

static void mark_specials(char *text, size_t n)
{
    bool quoted = false;

    for (size_t i = 0; i < n; i++) {
        if (quoted && text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            quoted = !quoted;
        }
        for (size_t k = 0; !quoted && k < N_SPECIALS; k++) {
            const size_t length = strlen(specials[k].python);
            if (n - i >= length && memcmp(text + i, specials[k].python, length) == 0) {
                memcpy(text + i, specials[k].mark, length);
                i += length - 1;
                break;
            }
        }
    }
}

static bool special_value(const json_t *value, double *out)
{
    const char *text = json_string_value(value);

    for (size_t k = 0; text != NULL && k < N_SPECIALS; k++) {
        const size_t inner = strlen(specials[k].mark) - 2;
        if (strlen(text) == inner && memcmp(text, specials[k].mark + 1, inner) == 0) {
            *out = specials[k].value;
            return true;
        }
    }
    return false;
}

/* What stands in the wrappings of an array of NumPy, a tuple or a shape, or NULL. */
static json_t *content(const json_t *value)
{
    const char *type       = json_string_value(json_object_get(value, "type"));
    const char *class_name = json_string_value(json_object_get(value, "class_name"));

    if (type != NULL && strcmp(type, "ndarray") == 0) {
        return json_object_get(value, "value");
    }
    if (class_name != NULL && (strcmp(class_name, "__tuple__") == 0 ||
                               strcmp(class_name, "TensorShape") == 0)) {
        return json_object_get(value, "items");
    }
    if (class_name != NULL && strcmp(class_name, "__numpy__") == 0) {
        return json_object_get(json_object_get(value, "config"), "value");
    }
    return NULL;
}

/* Takes the wrappings off all values below. */
static void unwrap_values(json_t *json)
{
    json_t     *value, *inner;
    const char *key;
    size_t      i;
    void       *next;

    json_object_foreach_safe(json, next, key, value)
    {
        unwrap_values(value);
        inner = content(value);
        if (inner != NULL) {
            (void)json_object_set(json, key, inner);
        }
    }
    json_array_foreach(json, i, value)
    {
        unwrap_values(value);
        inner = content(value);
        if (inner != NULL) {
            (void)json_array_set(json, i, inner);
        }
    }
}

pq_status pq_keras_parse(char *text, size_t n, const char *name, json_t **out,
                         pq_err *err)
{
    json_error_t where;
    json_t      *json;
    pq_status    st;

    mark_specials(text, n);
    json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    PQ_CHECK(json != NULL, PQ_ERR_FORMAT, "%s: is not valid JSON: line %d, column %d: %s",
             name, where.line, where.column, where.text);
    unwrap_values(json);
    *out = json;
cleanup:
    return st;
}

/* The value as it stood in the file. */
static pq_status wrong(const char *key, const json_t *value, const char *due, pq_err *err)
{
    char *text =
        json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    double number = 0.0;
    char   special[32];

    if (special_value(value, &number)) {
        (void)pq_real_text(number, special, sizeof special);
    }
    (void)pq_err_set(err, PQ_ERR_FORMAT, __FILE__, __LINE__, "%s is %.60s, not %s", key,
                     number != 0.0  ? special
                     : text != NULL ? text
                                    : "no value",
                     due);
    free(text);
    return PQ_ERR_FORMAT;
}

const char *pq_keras_text(const json_t *config, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(config, key));

    return text != NULL ? text : fallback;
}

/* Value of a key, NULL where it is missing or null. */
static const json_t *given(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);

    return json_is_null(value) ? NULL : value;
}

pq_status pq_keras_word(const json_t *config, const char *key, const char *fallback,
                        const char **out, pq_err *err)
{
    const json_t *value = given(config, key);
    pq_status     st    = PQ_OK;

    *out = value != NULL ? json_string_value(value) : fallback;
    if (value != NULL && *out == NULL) {
        PQ_TRY(wrong(key, value, "a text", err));
    }
cleanup:
    return st;
}

pq_status pq_keras_real(const json_t *config, const char *key, double fallback,
                        double *out, pq_err *err)
{
    const json_t *value = given(config, key);
    pq_status     st    = PQ_OK;

    *out = value != NULL ? json_number_value(value) : fallback;
    if (value != NULL && !json_is_number(value)) {
        PQ_TRY(wrong(key, value, "a finite number", err));
    }
cleanup:
    return st;
}

pq_status pq_keras_limit(const json_t *config, const char *key, double *out, pq_err *err)
{
    double value = 0.0;

    *out = HUGE_VAL;
    if (special_value(json_object_get(config, key), &value) && value == HUGE_VAL) {
        return PQ_OK;
    }
    return pq_keras_real(config, key, HUGE_VAL, out, err);
}

pq_status pq_keras_bool(const json_t *config, const char *key, bool fallback, bool *out,
                        pq_err *err)
{
    const json_t *value = given(config, key);
    pq_status     st    = PQ_OK;

    *out = value != NULL ? json_is_true(value) : fallback;
    if (value != NULL && !json_is_boolean(value)) {
        PQ_TRY(wrong(key, value, "true or false", err));
    }
cleanup:
    return st;
}

static bool whole(const json_t *value, int64_t *out)
{
    *out = (int64_t)json_integer_value(value);
    return json_is_integer(value);
}

pq_status pq_keras_size(const json_t *config, const char *key, size_t *out, pq_err *err)
{
    const json_t *value = given(config, key);
    int64_t       n     = 0;
    pq_status     st    = PQ_OK;

    *out = 0;
    if (value != NULL) {
        if (!whole(value, &n) || n < 1) {
            PQ_TRY(wrong(key, value, "a whole number above 0", err));
        }
        *out = (size_t)n;
    }
cleanup:
    return st;
}

pq_status pq_keras_pair(const json_t *config, const char *key, int64_t fallback,
                        int64_t out[2], pq_err *err)
{
    const json_t *value = given(config, key);
    pq_status     st    = PQ_OK;

    out[0] = out[1] = fallback;
    if (value == NULL) {
        return PQ_OK;
    }
    if (whole(value, &out[0])) {
        out[1] = out[0];
        return PQ_OK;
    }
    PQ_CHECK(json_array_size(value) == 2 && whole(json_array_get(value, 0), &out[0]) &&
                 whole(json_array_get(value, 1), &out[1]),
             PQ_ERR_FORMAT, "'%s' is not a pair of whole numbers", key);
cleanup:
    return st;
}

pq_status pq_keras_axis(const json_t *config, size_t ndim, size_t *out, pq_err *err)
{
    const json_t *value = given(config, "axis");
    const int64_t n     = (int64_t)ndim + 1; /* Keras counts the batch as axis 0 */
    int64_t       axis  = -1;
    pq_status     st    = PQ_OK;

    PQ_CHECK(json_array_size(value) < 2, PQ_ERR_UNSUPPORTED,
             "%zu axes at once are not read, only one", json_array_size(value));
    value = json_is_array(value) ? json_array_get(value, 0) : value;
    if (json_object_get(config, "axis") != NULL && !whole(value, &axis)) {
        PQ_TRY(wrong("axis", json_object_get(config, "axis"), "a whole number", err));
    }
    PQ_CHECK(axis >= -n && axis < n, PQ_ERR_FORMAT,
             "axis %lld is not in %lld..%lld of an input with %lld axes", (long long)axis,
             (long long)-n, (long long)n - 1, (long long)n);
    axis = axis < 0 ? axis + n : axis;
    PQ_CHECK(axis > 0, PQ_ERR_UNSUPPORTED, "axis 0, the batch, is not read");
    *out = (size_t)axis - 1;
cleanup:
    return st;
}

/* A policy of Keras 2 or 3, or a type. */
static const char *dtype_name(const json_t *dtype)
{
    return json_is_object(dtype)
               ? pq_keras_text(json_object_get(dtype, "config"), "name", "")
               : json_string_value(dtype);
}

pq_status pq_keras_dtype(const json_t *config, const char **out, pq_err *err)
{
    static const char *const known[] = {"float32", "float16",       "bfloat16",
                                        "float64", "mixed_float16", "mixed_bfloat16",
                                        "floatx"};
    const json_t            *dtype   = given(config, "dtype");
    const char              *name    = dtype != NULL ? dtype_name(dtype) : "float32";
    pq_status                st;

    *out = NULL;
    for (size_t i = 0; name != NULL && i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i]) == 0) {
            *out = i > 0 && i < 6 ? name : NULL;
            return PQ_OK;
        }
    }
    if (name == NULL || name[0] == '\0') {
        PQ_TRY(wrong("dtype", dtype, "a type or a policy with a name", err));
    }
    PQ_FAIL(PQ_ERR_UNSUPPORTED,
            "dtype '%s' is not read, only floats: float32, float16, bfloat16, float64, "
            "mixed_float16, mixed_bfloat16",
            name);
cleanup:
    return st;
}

static bool listed(const char *list, const char *key)
{
    const size_t n = strlen(key);

    for (const char *p = list; p != NULL && *p != '\0'; p += strspn(p, " ")) {
        const size_t length = strcspn(p, " ");
        if (length == n && memcmp(p, key, n) == 0) {
            return true;
        }
        p += length;
    }
    return false;
}

const pq_keras_keys pq_keras_common = {
    "name dtype", "trainable batch_input_shape batch_shape activity_regularizer",
    "dynamic"};

pq_status pq_keras_check_origin(const json_t *object, pq_err *err)
{
    const char *const own[]  = {"keras", "tf_keras", "tensorflow", "builtins", "qkeras"};
    const char       *module = pq_keras_text(object, "module", "keras");
    const char       *registered = pq_keras_text(object, "registered_name", "");
    const bool        hgq        = strncmp(module, "hgq.", 4) == 0;
    bool              ours =
        strchr(registered, '>') == NULL || (hgq && strncmp(registered, "hgq>", 4) == 0);
    /* Keras 3 saves a class of the user's script so, whatever its name */
    const bool nowhere =
        json_is_null(json_object_get(object, "module")) && *registered != '\0';
    bool      known = hgq;
    pq_status st;

    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        const size_t n = strlen(own[i]);
        known          = known || (strncmp(module, own[i], n) == 0 &&
                          (module[n] == '\0' || module[n] == '.'));
    }
    PQ_CHECK(
        !nowhere, PQ_ERR_UNSUPPORTED,
        "'%s' is a class of the one who saved the model, not of Keras, QKeras or HGQ",
        registered);
    PQ_CHECK(ours && known, PQ_ERR_UNSUPPORTED,
             "'%s' is not of Keras, QKeras or HGQ (module '%s', registered as '%s')",
             pq_keras_text(object, "class_name", ""), module, registered);
cleanup:
    return st;
}

/* Null, false, or, of a model with several inputs, null for each. */
static bool is_off(const json_t *value)
{
    const size_t n    = json_array_size(value);
    size_t       null = 0;

    while (null < n && json_is_null(json_array_get(value, null))) {
        null++;
    }
    return json_is_null(value) || json_is_false(value) || (n > 0 && null == n);
}

pq_status pq_keras_without_activation(const json_t *config, json_t **out, pq_err *err)
{
    pq_status st;

    *out = json_copy((json_t *)(uintptr_t)config);
    PQ_CHECK(*out != NULL && json_object_set_new(*out, "activation", json_null()) == 0,
             PQ_ERR_NOMEM, "cannot allocate a table");
cleanup:
    return st;
}

pq_status pq_keras_check_keys(const json_t *object, const char *what,
                              const pq_keras_keys *keys, size_t n, pq_err *err)
{
    const char *key;
    json_t     *value;
    pq_status   st = PQ_OK;

    json_object_foreach((json_t *)object, key, value)
    {
        bool known = false, on = false;
        for (size_t i = 0; i < n && !known; i++) {
            known = listed(keys[i].read, key) || listed(keys[i].idle, key);
            on    = on || listed(keys[i].off, key);
        }
        if (known || (on && is_off(value))) {
            continue;
        }
        PQ_CHECK(!on, PQ_ERR_UNSUPPORTED,
                 "'%s' of %s is set; it is read only where it is null or false", key,
                 what);
        PQ_FAIL(PQ_ERR_UNSUPPORTED,
                "key '%s' of %s is not known, so neither is what it computes", key, what);
    }
cleanup:
    return st;
}
