/**
 * @file
 * Whether a text is well-formed XML, as far as pictures need it: tags nest,
 * attributes are quoted, no bare `<` or `&`.
 */
#ifndef PQ_TESTS_REPORT_XML_H
#define PQ_TESTS_REPORT_XML_H

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline bool xml_entity(const char *s)
{
    const size_t n = strcspn(s, ";");

    return s[n] == ';' && n > 1 && n < 10;
}

/* End of a tag's attributes, or NULL. */
static inline const char *xml_attributes(const char *s)
{
    for (;;) {
        s += strspn(s, " \t\r\n");
        if (*s == '>' || *s == '/' || *s == '\0') {
            return *s == '\0' ? NULL : s;
        }
        s += strcspn(s, "=<>\"' \t\n");
        s += strspn(s, " ");
        if (*s != '=') {
            return NULL;
        }
        s += 1 + strspn(s + 1, " ");
        const char quote = *s;
        if (quote != '"' && quote != '\'') {
            return NULL;
        }
        for (s++; *s != quote; s++) {
            if (*s == '\0' || *s == '<' || (*s == '&' && !xml_entity(s))) {
                return NULL;
            }
        }
        s++;
    }
}

static inline bool xml_is_well_formed(const char *s)
{
    enum { DEEPEST = 256, LONGEST = 64 };
    static char names[DEEPEST][LONGEST];
    size_t      depth = 0;

    for (; *s != '\0'; s++) {
        if (*s == '&' && !xml_entity(s)) {
            return false;
        }
        if (*s != '<') {
            continue;
        }
        if (strncmp(s, "<!--", 4) == 0 || strncmp(s, "<![CDATA[", 9) == 0) {
            s = strstr(s, s[2] == '-' ? "-->" : "]]>");
        } else if (s[1] == '?' || s[1] == '!') {
            s = strchr(s, '>');
        } else if (s[1] == '/') {
            const size_t n = strcspn(s + 2, "> \t\n");
            if (depth == 0 || strlen(names[depth - 1]) != n ||
                strncmp(names[depth - 1], s + 2, n) != 0) {
                return false;
            }
            depth--;
            s = strchr(s, '>');
        } else {
            const size_t n = strcspn(s + 1, "/> \t\n");
            if (!isalpha((unsigned char)s[1]) || n >= LONGEST || depth == DEEPEST) {
                return false;
            }
            memcpy(names[depth], s + 1, n);
            names[depth++][n] = '\0';
            s                 = xml_attributes(s + 1 + n);
            if (s != NULL && *s == '/') {
                depth--;
                s++;
            }
        }
        if (s == NULL) {
            return false;
        }
    }
    return depth == 0;
}

#endif
