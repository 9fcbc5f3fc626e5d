#include "codegen/text.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void pq_c_string(pq_text *out, const char *text)
{
    pq_text_add(out, "\"");
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p >= 0x20 && *p < 0x7f && strchr("\"\\?", *p) == NULL) {
            pq_text_add(out, "%c", *p);
        } else {
            pq_text_add(out, "\\%03o", *p);
        }
    }
    pq_text_add(out, "\"");
}

void pq_c_comment(pq_text *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        const bool plain = *p < 0x80 && (isalnum(*p) || strchr("._-", *p) != NULL);
        pq_text_add(out, "%c", plain ? *p : '_');
    }
}

const char *pq_c_number(double value, char text[PQ_C_NUMBER])
{
    const float v = (float)value;

    if (isfinite(v)) {
        (void)pq_snprintf(text, PQ_C_NUMBER, "%af", (double)v);
    } else {
        (void)snprintf(text, PQ_C_NUMBER, "%s",
                       isnan(v)   ? "NAN"
                       : v > 0.0f ? "HUGE_VALF"
                                  : "-HUGE_VALF");
    }
    return text;
}

const char *pq_c_real(double value, char text[PQ_C_NUMBER])
{
    (void)pq_snprintf(text, PQ_C_NUMBER,
                      isinf(value) ? (value > 0.0 ? "HUGE_VAL" : "-HUGE_VAL") : "%a",
                      value);
    return text;
}

void pq_c_strings(pq_text *out, const char *name, const char *const *texts, size_t n)
{
    if (n == 0) {
        return;
    }
    pq_text_add(out, "static const char *const %s[] = {", name);
    for (size_t i = 0; i < n; i++) {
        pq_text_add(out, i == 0 ? "" : ", ");
        pq_c_string(out, texts[i]);
    }
    pq_text_add(out, "};\n");
}

void pq_c_floats(pq_text *out, const char *name, const float *values, size_t n)
{
    char number[PQ_C_NUMBER];

    pq_text_add(out, "static const float %s[] = {", name);
    for (size_t i = 0; i < n; i++) {
        pq_text_add(out, i % 8 == 0 ? "\n    %s," : " %s,",
                    pq_c_number((double)values[i], number));
    }
    pq_text_add(out, "\n};\n\n");
}
