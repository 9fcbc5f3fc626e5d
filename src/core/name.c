#include "core/name.h"

#include <string.h>

#include "core/memory.h"
#include "core/text.h"

char *pq_name_metric(const char *metric, const char *class_name)
{
    const bool taken =
        strcmp(class_name, "macro") == 0 || strncmp(class_name, "class.", 6) == 0;

    return pq_format("%s.%s%s", metric, taken ? "class." : "", class_name);
}

char *pq_name_curve(const char *class_name, const char *what)
{
    pq_text path = {0};
    char   *out  = NULL;

    pq_text_add(&path, "/roc/%s", *class_name == '\0' ? "%" : "");
    for (const char *s = class_name; *s != '\0'; s++) {
        const bool keep = *s != '/' && *s != '%' && (*s != '.' || s > class_name);
        pq_text_add(&path, keep ? "%c" : "%%%02X", (unsigned char)*s);
    }
    pq_text_add(&path, "/%s", what);
    if (pq_text_take(&path, &out, NULL) != PQ_OK) {
        out = NULL;
    }
    return out;
}
