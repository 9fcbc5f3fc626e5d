#include "cli/say.h"

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/visible.h"

/* One conversion of a format. */
typedef struct {
    char   spec[32];       /* "%-16s" */
    size_t bytes;          /* in the format */
    int  width, precision; /* of texts; negative precision: none; INT_MAX: an argument */
    char size, kind;       /* 'z', 'l', 'L' for ll, 0; 's', 'd', … */
} piece;

static piece piece_of(const char *fmt)
{
    piece        p    = {.precision = -1};
    const size_t head = 1 + strspn(fmt + 1, "-+ #0");
    const char  *dot  = fmt + head + strspn(fmt + head, "0123456789*");
    const char  *end  = dot + (*dot == '.' ? 1 + strspn(dot + 1, "0123456789*") : 0);
    const size_t n    = strspn(end, "hlzjt");

    p.size  = n == 2 && end[0] == 'l' ? 'L' : n > 0 ? end[0] : '\0';
    p.kind  = end[n];
    p.bytes = (size_t)(end - fmt) + n + 1;
    p.width = fmt[head] == '*' ? INT_MAX : (int)strtol(fmt + head, NULL, 10);
    if (*dot == '.') {
        p.precision = dot[1] == '*' ? INT_MAX : (int)strtol(dot + 1, NULL, 10);
    }
    memcpy(p.spec, fmt, p.bytes < sizeof p.spec - 1 ? p.bytes : sizeof p.spec - 1);
    return p;
}

/* A text: cut as bytes, escaped, padded as columns. */
static void add_text(pq_text *out, const piece *p, const char *text)
{
    pq_text shown = {0};
    char   *part =
        p->precision < 0 ? pq_strdup(text) : pq_format("%.*s", p->precision, text);
    size_t n;

    pq_visible_add(&shown, part != NULL ? part : "?", false);
    n = shown.text != NULL ? pq_text_columns(shown.text) : 0;
    for (size_t i = n; p->spec[1] != '-' && i < (size_t)p->width; i++) {
        pq_text_add_bytes(out, " ", 1);
    }
    pq_text_add_bytes(out, shown.text != NULL ? shown.text : "", shown.length);
    for (size_t i = n; p->spec[1] == '-' && i < (size_t)p->width; i++) {
        pq_text_add_bytes(out, " ", 1);
    }
    pq_text_free(&shown);
    pq_free(part);
}

/* A number as printf has it, widened to one type. */
static void add_whole(pq_text *out, piece *p, uint64_t value)
{
    char *size = strpbrk(p->spec, "hlzjt");

    if (size != NULL) {
        *size = '\0';
    } else {
        p->spec[strlen(p->spec) - 1] = '\0';
    }
    (void)snprintf(p->spec + strlen(p->spec), 4, "ll%c", p->kind);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    pq_text_add(out, p->spec, (unsigned long long)value);
}

static void add_real(pq_text *out, const piece *p, double value)
{
    pq_text_add(out, p->spec, value);
}
#pragma GCC diagnostic pop

/* The next argument of a whole number; signed ones are extended. */
#define WHOLE(args, p)                                                                   \
    ((p)->size == 'z'                       ? va_arg(args, size_t)                       \
     : (p)->size == 'L'                     ? va_arg(args, unsigned long long)           \
     : (p)->size == 'l'                     ? va_arg(args, unsigned long)                \
     : (p)->kind == 'u' || (p)->kind == 'x' ? va_arg(args, unsigned)                     \
                                            : (uint64_t)(int64_t)va_arg(args, int))

size_t pq_say_columns(const char *text)
{
    pq_text shown = {0};
    size_t  n;

    pq_visible_add(&shown, text, false);
    n = shown.text != NULL ? pq_text_columns(shown.text) : 0;
    pq_text_free(&shown);
    return n;
}

void pq_say(FILE *to, const char *fmt, ...)
{
    pq_text out = {0};
    va_list args;

    va_start(args, fmt);
    while (*fmt != '\0') {
        const size_t plain = strcspn(fmt, "%");
        pq_text_add_bytes(&out, fmt, plain);
        fmt += plain;
        if (*fmt == '\0') {
            break;
        }
        piece p = piece_of(fmt);
        fmt += p.bytes;
        if (p.width == INT_MAX) {
            p.width = va_arg(args, int);
        }
        if (p.precision == INT_MAX) {
            p.precision = va_arg(args, int);
        }
        if (p.kind == '%') {
            pq_text_add_bytes(&out, "%", 1);
        } else if (p.kind == 's') {
            add_text(&out, &p, va_arg(args, const char *));
        } else if (p.kind == 'c') {
            add_text(&out, &p, (const char[2]){(char)va_arg(args, int), '\0'});
        } else if (strchr("diux", p.kind) != NULL) {
            add_whole(&out, &p, WHOLE(args, &p));
        } else {
            add_real(&out, &p, va_arg(args, double));
        }
    }
    va_end(args);
    if (out.text != NULL) {
        pq_say_raw(to, out.text);
    }
    pq_text_free(&out);
}

void pq_say_lines(FILE *to, const char *text)
{
    pq_text out = {0};

    pq_visible_add(&out, text, true);
    pq_say_raw(to, out.text != NULL ? out.text : "");
    pq_text_free(&out);
}

bool pq_say_json(const json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_INDENT(2)) : NULL;

    if (text == NULL) {
        return false;
    }
    pq_say_lines(stdout, text);
    pq_say_raw(stdout, "\n");
    free(text);
    return true;
}

pq_status pq_say_file(const char *folder, const char *name, const pq_text *text,
                      pq_err *err)
{
    char     *path = pq_path_join(folder, name);
    pq_status st;

    PQ_CHECK(path != NULL && !text->failed, PQ_ERR_NOMEM, "cannot allocate a text");
    PQ_TRY(pq_file_write(path, text->text, text->length, err));
    pq_say(stdout, "%s\n", path);
cleanup:
    pq_free(path);
    return st;
}

void pq_say_raw(FILE *to, const char *text)
{
    (void)fputs(text, to);
}
