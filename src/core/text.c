#include "core/text.h"

#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <nettle/base64.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "core/memory.h"

/* A host program may have set a locale with a decimal comma: numbers are read and
 * written with a point in this thread for the while. */
static locale_t decimal_point(void)
{
    static _Atomic(locale_t) plain;
    locale_t                 have = plain, none = (locale_t)0;

    if (have == none) {
        have = newlocale(LC_ALL_MASK, "C", none);
        if (!atomic_compare_exchange_strong(&plain, &none, have)) {
            freelocale(have); /* another thread was first */
            have = none;
        }
    }
    return uselocale(have);
}

int pq_vsnprintf(char *out, size_t size, const char *fmt, va_list args)
{
    const locale_t old = decimal_point();
    const int      n   = vsnprintf(out, size, fmt, args);

    (void)uselocale(old);
    return n;
}

int pq_snprintf(char *out, size_t size, const char *fmt, ...)
{
    va_list args;
    int     n;

    va_start(args, fmt);
    n = pq_vsnprintf(out, size, fmt, args);
    va_end(args);
    return n;
}

static bool reserve(pq_text *t, size_t extra)
{
    const size_t need = t->length + extra + 1;
    size_t       size = t->capacity == 0 ? 128 : t->capacity;
    char        *grown;

    if (t->failed) {
        return false;
    }
    if (need <= t->capacity) {
        return true;
    }
    while (size < need) {
        size *= 2;
    }
    grown = pq_alloc_packed(size, 1);
    if (grown == NULL) {
        t->failed = true;
        return false;
    }
    if (t->text != NULL) {
        memcpy(grown, t->text, t->length);
        pq_free(t->text);
    }
    grown[t->length] = '\0';
    t->text          = grown;
    t->capacity      = size;
    return true;
}

void pq_text_reserve(pq_text *t, size_t n)
{
    if (n > t->length) {
        (void)reserve(t, n - t->length);
    }
}

void pq_text_add_bytes(pq_text *t, const char *bytes, size_t n)
{
    if (reserve(t, n) && n > 0) { /* bytes may be NULL where there are none */
        memcpy(t->text + t->length, bytes, n);
        t->length += n;
        t->text[t->length] = '\0';
    }
}

/* Whether texts alone are put in. */
static bool is_texts(const char *fmt)
{
    while ((fmt = strchr(fmt, '%')) != NULL) {
        if (fmt[1] != 's') {
            return false;
        }
        fmt += 2;
    }
    return true;
}

static void add_texts(pq_text *t, const char *fmt, va_list args)
{
    for (const char *end; (end = strchr(fmt, '%')) != NULL; fmt = end + 2) {
        const char *text = va_arg(args, const char *);
        pq_text_add_bytes(t, fmt, (size_t)(end - fmt));
        pq_text_add_bytes(t, text, strlen(text));
    }
    pq_text_add_bytes(t, fmt, strlen(fmt));
}

void pq_text_add(pq_text *t, const char *fmt, ...)
{
    va_list args, again;
    size_t  room;
    int     n;

    if (is_texts(fmt)) { /* most are, and printf is slow once libquadmath is loaded */
        va_start(args, fmt);
        add_texts(t, fmt, args);
        va_end(args);
        return;
    }
    if (!reserve(t, 0)) {
        return;
    }
    room = t->capacity - t->length;
    va_start(args, fmt);
    va_copy(again, args);
    n = pq_vsnprintf(t->text + t->length, room, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n >= room && reserve(t, (size_t)n)) {
        (void)pq_vsnprintf(t->text + t->length, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    if (n >= 0 && !t->failed) {
        t->length += (size_t)n;
    }
    t->text[t->length] = '\0'; /* where it did not fit */
}

void pq_csv_add(pq_text *t, const char *field)
{
    if (strpbrk(field, ",\"\r\n") == NULL) {
        pq_text_add_bytes(t, field, strlen(field));
        return;
    }
    pq_text_add(t, "\"");
    for (; *field != '\0'; field++) {
        pq_text_add_bytes(t, field, 1);
        if (*field == '"') {
            pq_text_add(t, "\"");
        }
    }
    pq_text_add(t, "\"");
}

void pq_base64_add(pq_text *t, const char *bytes, size_t n)
{
    const size_t size = BASE64_ENCODE_RAW_LENGTH(n);

    if (reserve(t, size)) {
        base64_encode_raw(t->text + t->length, n, (const uint8_t *)bytes);
        t->length += size;
        t->text[t->length] = '\0';
    }
}

void pq_text_free(pq_text *t)
{
    pq_free(t->text);
    *t = (pq_text){0};
}

pq_status pq_text_take(pq_text *t, char **out, pq_err *err)
{
    pq_status st;

    pq_text_add_bytes(t, "", 0);
    PQ_CHECK(!t->failed, PQ_ERR_NOMEM, "cannot allocate a text of %zu bytes", t->length);
    *out = t->text;
    *t   = (pq_text){0};
cleanup:
    return st;
}

char *pq_format(const char *fmt, ...)
{
    va_list args, again;
    char    small[256];
    int     n;
    char   *out = NULL;

    va_start(args, fmt);
    va_copy(again, args);
    n = pq_vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n >= 0 && (out = pq_calloc_packed((size_t)n + 1, 1)) != NULL) {
        if ((size_t)n < sizeof small) {
            memcpy(out, small, (size_t)n);
        } else {
            (void)pq_vsnprintf(out, (size_t)n + 1, fmt, again);
        }
    }
    va_end(again);
    return out;
}

pq_status pq_text_split(const char *text, char separator, char ***out, size_t *n,
                        pq_err *err)
{
    const size_t length = strlen(text) + 1;
    size_t       count  = 1;
    char       **names;
    char        *copy;
    pq_status    st;

    for (const char *p = text; *p != '\0'; p++) {
        count += *p == separator;
    }
    names = pq_calloc(count * sizeof *names + length, 1);
    PQ_CHECK(names != NULL, PQ_ERR_NOMEM, "cannot allocate a list of names");
    copy = memcpy(names + count, text, length);
    for (size_t i = 0; i < count; i++) {
        names[i] = copy;
        while (*copy != separator && *copy != '\0') {
            copy++;
        }
        *copy++ = '\0';
    }
    *out = names;
    *n   = count;
cleanup:
    return st;
}

static bool unit_factor(const char *suffix, pq_unit unit, double *factor)
{
    static const struct {
        const char *suffix;
        pq_unit     unit;
        double      factor;
    } units[] = {
        {"ns", PQ_UNIT_TIME, 1e-9},
        {"us", PQ_UNIT_TIME, 1e-6},
        {"ms", PQ_UNIT_TIME, 1e-3},
        {"s", PQ_UNIT_TIME, 1.0},
        {"m", PQ_UNIT_TIME, 60.0},
        {"h", PQ_UNIT_TIME, 3600.0},
        {"d", PQ_UNIT_TIME, 86400.0},
        {"B", PQ_UNIT_BYTES, 1.0},
        {"kB", PQ_UNIT_BYTES, 1e3},
        {"MB", PQ_UNIT_BYTES, 1e6},
        {"GB", PQ_UNIT_BYTES, 1e9},
        {"TB", PQ_UNIT_BYTES, 1e12},
        {"KiB", PQ_UNIT_BYTES, 1024.0},
        {"MiB", PQ_UNIT_BYTES, 1048576.0},
        {"GiB", PQ_UNIT_BYTES, 1073741824.0},
        {"%", PQ_UNIT_NONE, 0.01},
    };

    if (*suffix == '\0') {
        *factor = 1.0;
        return true;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (units[i].unit == unit && strcmp(units[i].suffix, suffix) == 0) {
            *factor = units[i].factor;
            return true;
        }
    }
    return false;
}

bool pq_parse_real(const char *text, pq_unit unit, double *out)
{
    const char *end;
    double      value, factor;

    if (text == NULL || *text == '\0' || strchr("+-.0123456789in", *text) == NULL) {
        return false;
    }
    if (!pq_decimal(text, &end, &value)) {
        const locale_t old = decimal_point();
        char          *stop;
        value = strtod(text, &stop);
        (void)uselocale(old);
        end = stop;
    }
    if (end == text || strpbrk(text, "xX") != NULL || !unit_factor(end, unit, &factor)) {
        return false;
    }
    *out = value * factor;
    return true;
}

bool pq_parse_int(const char *text, int64_t *out)
{
    char     *end;
    long long value;

    if (text == NULL || *text == '\0' || strchr("+-0123456789", *text) == NULL) {
        return false;
    }
    errno = 0;
    value = strtoll(text, &end, 10);
    if (*end != '\0' || errno != 0 || end == text) {
        return false;
    }
    *out = value;
    return true;
}

bool pq_parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes",
                                      "YES",  "on",   "On",   "ON",  "1"};
    static const char *const no[]  = {"false", "False", "FALSE", "no",  "No",
                                      "NO",    "off",   "Off",   "OFF", "0"};

    for (size_t i = 0; text != NULL && i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

char *pq_real_text(double value, char *buffer, size_t size)
{
    locale_t old;

    if (fabs(value) < 1e15 && value == floor(value) &&
        !(value == 0.0 && signbit(value))) {
        (void)snprintf(buffer, size, "%lld", (long long)value);
        return buffer;
    }
    old = decimal_point();
    /* Fifteen digits of a normal number come back as they were, and %g leaves off the
     * zeros at their end: fewer need not be tried. */
    for (int digits = isnormal(value) ? DBL_DIG : 1; digits <= 17; digits++) {
        (void)pq_snprintf(buffer, size, "%.*g", digits, value);
        if (!isfinite(value) || strtod(buffer, NULL) == value) {
            break;
        }
    }
    (void)uselocale(old);
    return buffer;
}

char *pq_bytes_text(double bytes, char *buffer, size_t size)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
    size_t                   u      = 0;

    while (bytes >= 1000.0 && u < 4) {
        bytes /= 1000.0;
        u++;
    }
    (void)pq_snprintf(buffer, size, u == 0 || bytes >= 100.0 ? "%.0f %s" : "%.1f %s",
                      bytes, unit[u]);
    return buffer;
}

char *pq_seconds_text(double seconds, char *buffer, size_t size)
{
    if (seconds < 0.0 || !isfinite(seconds)) {
        (void)snprintf(buffer, size, "?");
    } else if (seconds < 1e-6) {
        (void)pq_snprintf(buffer, size, "%.0f ns", seconds * 1e9);
    } else if (seconds < 1e-3) {
        (void)pq_snprintf(buffer, size, "%.3g us", seconds * 1e6);
    } else if (seconds < 1.0) {
        (void)pq_snprintf(buffer, size, "%.3g ms", seconds * 1e3);
    } else if (seconds < 100.0) {
        (void)pq_snprintf(buffer, size, "%.1f s", seconds);
    } else if (seconds < 7200.0) {
        (void)pq_snprintf(buffer, size, "%.0f min %02.0f s", floor(seconds / 60.0),
                          fmod(seconds, 60.0));
    } else {
        (void)pq_snprintf(buffer, size, "%.0f h %02.0f min", floor(seconds / 3600.0),
                          fmod(seconds, 3600.0) / 60.0);
    }
    return buffer;
}
