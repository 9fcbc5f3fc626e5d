#include "graph/json_keys.h"

#include <string.h>

#include "core/text.h"

pq_status pq_json_known(const json_t *object, const char *what, const char *const *keys,
                        pq_err *err)
{
    json_t *seen =
        (json_t *)object; /* iteration takes no const object but changes nothing */
    const char *key, *near;
    json_t     *value;
    size_t      n  = 0;
    pq_status   st = PQ_OK;

    while (keys[n] != NULL) {
        n++;
    }
    json_object_foreach(seen, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(keys[i], key) != 0) {
            i++;
        }
        near = i == n ? pq_nearest(key, keys, n) : NULL;
        PQ_CHECK(i < n, PQ_ERR_FORMAT, "unknown key '%.64s' in %s%s%s%s", key, what,
                 near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                 near != NULL ? "'?" : "");
    }
cleanup:
    return st;
}

pq_status pq_json_text(const json_t *object, const char *key, const char **out,
                       pq_err *err)
{
    const json_t *value = json_object_get(object, key);
    pq_status     st;

    PQ_CHECK(json_is_string(value), PQ_ERR_FORMAT, "'%s' is missing or no text", key);
    *out = json_string_value(value);
cleanup:
    return st;
}

pq_status pq_json_whole(const json_t *object, const char *key, int64_t lo, int64_t hi,
                        int64_t *out, pq_err *err)
{
    const json_t *value = json_object_get(object, key);
    pq_status     st;

    PQ_CHECK(json_is_integer(value) && json_integer_value(value) >= lo &&
                 json_integer_value(value) <= hi,
             PQ_ERR_FORMAT, "'%s' is missing or no whole number in %lld..%lld", key,
             (long long)lo, (long long)hi);
    *out = json_integer_value(value);
cleanup:
    return st;
}

pq_status pq_json_array(const json_t *object, const char *key, const json_t **out,
                        pq_err *err)
{
    const json_t *value = json_object_get(object, key);
    pq_status     st;

    PQ_CHECK(json_is_array(value), PQ_ERR_FORMAT, "'%s' is missing or no array", key);
    *out = value;
cleanup:
    return st;
}
