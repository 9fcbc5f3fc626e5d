#include "core/visible.h"

#include <string.h>

size_t pq_utf8_read(const char *text, uint32_t *code)
{
    const unsigned char *s = (const unsigned char *)text;
    const size_t         n = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : *s >= 0x80 ? 2 : 1;

    *code = n == 1 ? *s : *s & (0xffu >> (n + 1));
    if (*s == 0 || (*s >= 0x80 && *s < 0xc2) || *s > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        *code = *code << 6 | (s[i] & 0x3fu);
    }
    if ((n == 3 && (*code < 0x800 || (*code >= 0xd800 && *code < 0xe000))) ||
        (n == 4 && (*code < 0x10000 || *code > 0x10ffff))) {
        return 0;
    }
    return n;
}

void pq_utf8_cut(char *text)
{
    uint32_t code;
    size_t   n;

    while ((n = pq_utf8_read(text, &code)) != 0) {
        text += n;
    }
    *text = '\0';
}

bool pq_is_hidden(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},
        {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},
        {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (code >= ranges[i].first && code <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* As JSON has it too: two surrogates above U+FFFF. */
static void add_code(pq_text *out, uint32_t code)
{
    if (code > 0xffff) {
        pq_text_add(out, "\\u%04x", 0xd800 + (unsigned)((code - 0x10000) >> 10));
        code = 0xdc00 + ((code - 0x10000) & 0x3ff);
    }
    pq_text_add(out, "\\u%04x", (unsigned)code);
}

void pq_visible_add(pq_text *out, const char *text, bool lines)
{
    while (*text != '\0') {
        uint32_t     code;
        const size_t n = pq_utf8_read(text, &code);
        if (n == 0) {
            pq_text_add(out, "\\x%02x", (unsigned)(unsigned char)*text);
        } else if (pq_is_hidden(code) && !(lines && (code == '\n' || code == '\t'))) {
            add_code(out, code);
        } else {
            pq_text_add_bytes(out, text, n);
        }
        text += n == 0 ? 1 : n;
    }
}

static bool has_hidden(const char *word)
{
    uint32_t code;
    size_t   n;

    for (; *word != '\0'; word += n) {
        n = pq_utf8_read(word, &code);
        if (n == 0 || pq_is_hidden(code)) {
            return true;
        }
    }
    return false;
}

size_t pq_char_columns(uint32_t code)
{
    static const struct {
        uint32_t first, last;
        size_t   columns;
    } ranges[] = {
        {0x0300, 0x036f, 0},   {0x0483, 0x0489, 0},   {0x0591, 0x05bd, 0},
        {0x0610, 0x061a, 0},   {0x064b, 0x065f, 0},   {0x0e34, 0x0e3a, 0},
        {0x0e47, 0x0e4e, 0},   {0x1100, 0x115f, 2},   {0x1ab0, 0x1aff, 0},
        {0x1dc0, 0x1dff, 0},   {0x20d0, 0x20ff, 0},   {0x2e80, 0x303e, 2},
        {0x3041, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},
        {0xfe00, 0xfe0f, 0},   {0xfe20, 0xfe2f, 0},   {0xfe30, 0xfe6f, 2},
        {0xff01, 0xff60, 2},   {0xffe0, 0xffe6, 2},   {0x1f300, 0x1f64f, 2},
        {0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges && ranges[i].first <= code;
         i++) {
        if (code <= ranges[i].last) {
            return ranges[i].columns;
        }
    }
    return 1;
}

size_t pq_text_columns(const char *text)
{
    size_t columns = 0;

    while (*text != '\0') {
        uint32_t     code;
        const size_t n = pq_utf8_read(text, &code);
        columns += n > 0 ? pq_char_columns(code) : 1;
        text += n > 0 ? n : 1;
    }
    return columns;
}

void pq_visible_fit(char *text, size_t size)
{
    pq_text  shown = {0};
    size_t   kept  = 0, n;
    uint32_t code;

    if (!has_hidden(text)) {
        return;
    }
    pq_visible_add(&shown, text, false);
    for (char *s = text; shown.failed && *s != '\0'; s++) {
        *s = *s >= ' ' && *s < 0x7f ? *s : '?';
    }
    if (shown.failed) {
        pq_text_free(&shown);
        return;
    }
    while (shown.text[kept] != '\0' &&
           (n = pq_utf8_read(shown.text + kept, &code)) != 0 && kept + n < size) {
        kept += n;
    }
    memcpy(text, shown.text, kept);
    text[kept] = '\0';
    pq_text_free(&shown);
}

static bool is_plain_word(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_@%+=:,./-";

    return *word != '\0' && word[strspn(word, plain)] == '\0';
}

void pq_shell_add(pq_text *out, const char *word)
{
    const bool  escaped = has_hidden(word);
    uint32_t    code;
    const char *quote = escaped ? "\\'" : "'\\''";

    if (is_plain_word(word)) {
        pq_text_add(out, "%s", word);
        return;
    }
    pq_text_add(out, "%s", escaped ? "$'" : "'");
    for (const char *s = word; *s != '\0';) {
        const size_t n = pq_utf8_read(s, &code), bytes = n == 0 ? 1 : n;
        for (size_t i = 0; i < bytes; i++) {
            if (n == 0 || pq_is_hidden(code)) {
                pq_text_add(out, "\\x%02x", (unsigned)(unsigned char)s[i]);
            } else if (s[i] == '\'') {
                pq_text_add(out, "%s", quote);
            } else if (s[i] == '\\' && escaped) {
                pq_text_add(out, "\\\\");
            } else {
                pq_text_add_bytes(out, s + i, 1);
            }
        }
        s += bytes;
    }
    pq_text_add(out, "'");
}
