/**
 * @file
 * Strings: a growing buffer, numbers with units, globs, "did you mean".
 */
#ifndef PQ_CORE_TEXT_H
#define PQ_CORE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

/** Growing text; {0} is an empty one. After an allocation fails, `failed` stays set and
 * text is what fitted. */
typedef struct {
    char  *text;     /**< NUL-terminated, or NULL while empty; owned */
    size_t length;   /**< bytes without the NUL */
    size_t capacity; /**< bytes allocated */
    bool   failed;   /**< an allocation failed: contents are incomplete */
} pq_text;

/** Appends formatted text. */
void pq_text_add(pq_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** Appends n bytes as they are; of none, the pointer may be NULL. */
void pq_text_add_bytes(pq_text *t, const char *bytes, size_t n);

/** Makes room for n bytes in all, so that a long text need not move as it grows. */
void pq_text_reserve(pq_text *t, size_t n);

/** Appends n bytes as base64 (RFC 4648). */
void pq_base64_add(pq_text *t, const char *bytes, size_t n);

/** Appends a field of CSV (RFC 4180): in quotes where a comma, a quote, a carriage return
 * or a line end stands in it. */
void pq_csv_add(pq_text *t, const char *field);

/** Frees and zeroes. */
void pq_text_free(pq_text *t);

/** As snprintf, but numbers have a point also where a host program has set a locale with
 * a decimal comma; so do all functions here. */
int pq_snprintf(char *out, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int pq_vsnprintf(char *out, size_t size, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

/** Moves the text out (caller frees with pq_free; "" when empty) or fails with
 * PQ_ERR_NOMEM. */
pq_status pq_text_take(pq_text *t, char **out, pq_err *err);

/** New string from a format; NULL when out of memory; caller frees with pq_free. */
char *pq_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/** What a number in a text may stand for. */
typedef enum {
    PQ_UNIT_NONE,  /**< plain number; "1%" is 0.01; 64k = 64000 is refused */
    PQ_UNIT_TIME,  /**< ns us ms s m h d, result in seconds */
    PQ_UNIT_BYTES, /**< B kB MB GB TB (1000) KiB MiB GiB (1024), result in bytes */
} pq_unit;

/** Parses a whole text as a number with an optional unit suffix; false when it is none
 * (locale-independent). */
bool pq_parse_real(const char *text, pq_unit unit, double *out);

/** Parses a whole text as a decimal integer; false when it is none or does not fit. */
bool pq_parse_int(const char *text, int64_t *out);

/** true/false, yes/no, on/off, 1/0; words also as Word and WORD, as YAML 1.1 has them. */
bool pq_parse_bool(const char *text, bool *out);

/**
 * Cuts a text at a separator: "a,b,c" -> 3 names; "" is one empty name.
 * @param[out] out  [*n], one block with the names in it: caller frees with pq_free
 */
pq_status pq_text_split(const char *text, char separator, char ***out, size_t *n,
                        pq_err *err);

/** Matches `*` (any run), `?` (one character) and `[a-c]` or `[!a-c]` (one of these, one
 * that is none of them; a `[` that is not closed stands for itself); a comma separates
 * alternatives: "dense_*,fc?,block[1-3].*". */
bool pq_glob_match(const char *pattern, const char *name);

/** Index of the first of n names that stands earlier already, or SIZE_MAX, in n log n
 * comparisons. @retval PQ_ERR_NOMEM  Out of memory. */
pq_status pq_repeated(const char *const *names, size_t n, size_t *out, pq_err *err);

/** Levenshtein distance, transpositions count one. */
size_t pq_edit_distance(const char *a, const char *b);

/** The candidate nearest to `word` if it is close enough to be a misspelling, else NULL.
 */
const char *pq_nearest(const char *word, const char *const *candidates, size_t n);

/** Shortest decimal text that reads back as the same double: 0.1, 1e-05, nan, inf. Buffer
 * of at least 32 bytes. */
char *pq_real_text(double value, char *buffer, size_t size);

/** "1.2 kB", "740 B": bytes for people. Buffer of at least 32 bytes. */
char *pq_bytes_text(double bytes, char *buffer, size_t size);

/** "2.1 us", "3 min 20 s": seconds for people. Buffer of at least 32 bytes. */
char *pq_seconds_text(double seconds, char *buffer, size_t size);

#endif
