/**
 * @file
 * Numbers for people: as many digits as their uncertainty deserves.
 *
 * An uncertainty keeps two digits, and the value is cut at the same place. An
 * interval whose two sides differ by less than a tenth is written with one ±.
 */
#ifndef PQ_REPORT_NUMBER_H
#define PQ_REPORT_NUMBER_H

#include "core/text.h"

/** Where a text is going: decides on signs, spaces and escapes. */
typedef enum {
    PQ_STYLE_TEXT,     /**< UTF-8 terminal */
    PQ_STYLE_MARKDOWN, /**< GitHub Markdown table cell */
    PQ_STYLE_TEX,      /**< LaTeX, text mode */
    PQ_STYLE_HTML,     /**< element content or a quoted attribute */
} pq_style;

/** A value and its interval; NAN where there is none. */
typedef struct {
    double value, lo, hi;
} pq_number;

/**
 * Appends "75.48 ± 0.43", "75.5 +0.4 −0.6" or, without an interval, the value
 * with `digits` significant digits; "–" for a value that is not finite.
 *
 * @param[in] scale   Multiplies all three, > 0: 100 for per cent.
 * @param[in] digits  For values without an interval: 1 .. 12 significant digits, or
 *                    -12 .. -1: so many decimals.
 */
void pq_number_add(pq_text *out, pq_number number, double scale, int digits,
                   pq_style style);

/** Appends a whole number with thin spaces between thousands: "17 556". */
void pq_count_add(pq_text *out, double count, pq_style style);

/** Appends a text with what the style cannot take escaped; breaks of lines become
 * spaces, hidden characters \\u202e (core/visible.h), broken UTF-8 "?". */
void pq_escape_add(pq_text *out, const char *text, pq_style style);

#endif
