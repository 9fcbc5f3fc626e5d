/**
 * @file
 * For tests: a YAML tree as block YAML that reads back the same.
 */
#ifndef PQ_TESTS_IO_PRINT_H
#define PQ_TESTS_IO_PRINT_H

#include <stdbool.h>
#include <string.h>

#include "core/text.h"
#include "io/yaml.h"

/* Plain where that reads back the same, else in double quotes. */
static inline void print_text(const char *text, bool quoted, pq_text *out)
{
    static const char special[] = ":#,[]{}&*!|>'\"%@`\\";
    const size_t      n         = strlen(text);
    bool              plain = !quoted && n > 0 && text[0] != ' ' && text[n - 1] != ' ' &&
                 text[0] != '-' && text[0] != '?' && strcspn(text, special) == n;

    for (size_t i = 0; i < n; i++) {
        plain = plain && (unsigned char)text[i] >= 0x20 && (unsigned char)text[i] < 0x7f;
    }
    if (plain || (!quoted && n == 0)) {
        pq_text_add(out, "%s", text);
        return;
    }
    pq_text_add(out, "\"");
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            pq_text_add(out, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            pq_text_add(out, "\\x%02x", c);
        } else {
            pq_text_add_bytes(out, &text[i], 1);
        }
    }
    pq_text_add(out, "\"");
}

static inline void print_yaml(const pq_yaml *node, size_t indent, pq_text *out)
{
    if (node->kind == PQ_YAML_SCALAR || node->n == 0) {
        if (node->kind == PQ_YAML_SCALAR) {
            print_text(node->text, node->quoted, out);
        } else {
            pq_text_add(out, "%s", node->kind == PQ_YAML_LIST ? "[]" : "{}");
        }
        pq_text_add(out, "\n");
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        const pq_yaml *item   = node->items[i];
        const bool     nested = item->kind != PQ_YAML_SCALAR && item->n > 0;
        pq_text_add(out, "%*s", (int)indent, "");
        if (node->kind == PQ_YAML_LIST) {
            pq_text_add(out, "-");
        } else {
            print_text(item->key, item->key[0] == '\0', out);
            pq_text_add(out, ":");
        }
        pq_text_add(out, nested ? "\n" : " ");
        print_yaml(item, indent + 2, out);
    }
}

#endif
