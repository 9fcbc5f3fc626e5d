#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "core/visible.h"

void pq_err_fill(pq_err *err, pq_status code, const char *file, int line, const char *fmt,
                 ...)
{
    va_list args;

    if (err == NULL || err->code != PQ_OK) {
        return;
    }
    err->code = code;
    err->file = file;
    err->line = line;
    va_start(args, fmt);
    (void)pq_vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    pq_visible_fit(err->message, sizeof err->message);
}

void pq_err_context(pq_err *err, const char *fmt, ...)
{
    char    head[512];
    char    tail[sizeof err->message];
    va_list args;

    if (err == NULL || err->code == PQ_OK) {
        return;
    }
    va_start(args, fmt);
    (void)pq_vsnprintf(head, sizeof head, fmt, args);
    va_end(args);
    memcpy(tail, err->message, sizeof tail);
    if (snprintf(err->message, sizeof err->message, "%s: %s", head, tail) < 0) {
        err->message[0] = '\0';
    }
    pq_visible_fit(err->message, sizeof err->message);
}

void pq_err_hint(pq_err *err, const char *fmt, ...)
{
    va_list args;

    if (err == NULL || err->code == PQ_OK) {
        return;
    }
    va_start(args, fmt);
    (void)pq_vsnprintf(err->hint, sizeof err->hint, fmt, args);
    va_end(args);
    pq_visible_fit(err->hint, sizeof err->hint);
}
