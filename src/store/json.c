#include "store/json.h"

#include <math.h>

#include "core/visible.h"

const char *pq_json_get_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

json_t *pq_json_shown(const char *text)
{
    json_t *json  = json_string(text);
    pq_text shown = {0};

    if (json == NULL) {
        pq_visible_add(&shown, text, false);
        json = shown.failed ? NULL : json_string(shown.text);
        pq_text_free(&shown);
    }
    return json;
}

json_t *pq_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static int add_bytes(const char *bytes, size_t n, void *text)
{
    pq_text_add_bytes(text, bytes, n);
    return 0;
}

bool pq_json_add(const json_t *value, pq_text *out)
{
    return json_dump_callback(value, add_bytes, out, JSON_INDENT(1)) == 0 && !out->failed;
}
